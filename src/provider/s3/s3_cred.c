/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/arena.h"
#include "provider/outside.h"
#include "provider/token.h"
#include "s3.h"

/*
 * One set of credentials for a backend. What is fixed (block, environment) is there from the start; the rest is fetched, kept and
 * renewed by token.h.
 */
#define S3_CRED_TIMEOUT_MS  ((int64_t)30 * 1000) /* of one request to STS or SSO */
#define S3_CONTAINER_HOST   "http://169.254.170.2"
#define S3_INSTANCE_HOST    "http://169.254.169.254"
#define S3_INSTANCE_HOST_V6 "http://[fd00:ec2::254]"

/* A value of the token. */
struct s3_signer {
	struct s3_keys   keys;
	struct sigv4_day day; /* of these keys */
	char             source[96];
};

struct s3_cred {
	const struct provider_env *env;
	bool                       fixed; /* there is nowhere to get others from */
	struct s3_files            files;
	struct s3_metadata         meta;
	struct s3_sources          sources;
	struct aws_net             net;
	struct s3_sts              sts;
	/* A fetch may outlive the backend and its configuration: what it reads of these is copied. */
	struct arena              *arena;
	struct s3_conf             conf;  /* only what s3_cred_copy() names */
	struct s3_role             web, role;
	struct token              *token;
};

static int64_t
s3_signer_ends(const void *value)
{
	return ((const struct s3_signer *)value)->keys.expires;
}

static void
s3_signer_wipe(void *value)
{
	struct s3_signer *v = value;

	s3_keys_free(&v->keys);
	mem_wipe(v, sizeof(*v));
}

static void
s3_cred_release(void *arg)
{
	struct s3_cred *c = arg;

	s3_files_free(&c->files);
	s3_metadata_free(&c->meta);
	free(c->sts.region);
	free(c->sts.endpoint);
	free(c->sts.sso_endpoint);
	secret_free(c->conf.secret_key);
	secret_free(c->conf.token);
	secret_free((struct secret *)(uintptr_t)c->web.token);
	arena_free(c->arena);
	free(c);
}

/* --- copies ----------------------------------------------------------------------------------------------------------- */

static struct conf_strs
s3_copy_list(struct arena *a, const struct conf_strs *list)
{
	struct conf_strs ret = { arena_alloc(a, (list->n + 1) * sizeof(*ret.items)), list->n };

	for (size_t i = 0; i < list->n; i++)
		ret.items[i] = arena_strdup(a, list->items[i]);
	return ret;
}

static struct s3_role
s3_copy_role(struct arena *a, const struct s3_role *r)
{
	struct conf_strs keys = s3_copy_list(a, &(struct conf_strs){ r->tags.keys, r->tags.n });
	struct conf_strs values = s3_copy_list(a, &(struct conf_strs){ r->tags.values, r->tags.n });

	return (struct s3_role){ .arn = arena_strdup(a, r->arn), .session_name = arena_strdup(a, r->session_name),
		.external_id = arena_strdup(a, r->external_id), .policy = arena_strdup(a, r->policy),
		.source_identity = arena_strdup(a, r->source_identity), .seconds = r->seconds,
		.policy_arns = s3_copy_list(a, &r->policy_arns), .transitive_tag_keys = s3_copy_list(a, &r->transitive_tag_keys),
		.tags = { keys.items, values.items, r->tags.n }, .token_file = arena_strdup(a, r->token_file),
		.token = r->token != NULL ? secret_new(span_str(secret_str(r->token))) : NULL };
}

static struct secret *
s3_copy_secret(const struct secret *s)
{
	return s != NULL ? secret_new(span_str(secret_str(s))) : NULL;
}

static void
s3_cred_copy(struct s3_cred *c, const struct s3_conf *conf, const struct s3_role *web, const struct s3_role *role)
{
	struct arena *a = c->arena = arena_new();

	c->conf = (struct s3_conf){ .profile = arena_strdup(a, conf->profile), .access_key = arena_strdup(a, conf->access_key),
		.secret_key = s3_copy_secret(conf->secret_key), .token = s3_copy_secret(conf->token),
		.http_proxy = arena_strdup(a, conf->http_proxy), .https_proxy = arena_strdup(a, conf->https_proxy),
		.no_proxy = arena_strdup(a, conf->no_proxy), .custom_ca_bundle = arena_strdup(a, conf->custom_ca_bundle),
		.insecure = conf->insecure, .max_retries = conf->max_retries, .use_fips_endpoint = conf->use_fips_endpoint,
		.use_dualstack_endpoint = conf->use_dualstack_endpoint,
		.allowed_account_ids = s3_copy_list(a, &conf->allowed_account_ids),
		.forbidden_account_ids = s3_copy_list(a, &conf->forbidden_account_ids) };
	if (web != NULL)
		c->web = s3_copy_role(a, web);
	if (role != NULL)
		c->role = s3_copy_role(a, role);
	c->sources = (struct s3_sources){ c->env, &c->files, &c->conf, web != NULL ? &c->web : NULL, role != NULL ? &c->role : NULL, 0 };
	aws_net_init(&c->net, c->env, &c->conf, S3_CRED_TIMEOUT_MS);
}

/* --- from the configuration ------------------------------------------------------------------------------------------- */

static struct secret *
s3_env_secret(const struct provider_env *env, const char *name)
{
	const char *text = outside_env(env, name);

	return text == NULL ? NULL : secret_new(span_str(text));
}

static const char *
s3_env2(const struct provider_env *env, const char *a, const char *b)
{
	const char *text = outside_env(env, a);

	return text != NULL ? text : outside_env(env, b);
}

static enum err_code
s3_files_set(const struct provider_env *env, const char *dir, const char *what, const struct conf_strs *list, const char *one,
    char *to[S3_SHARED_FILES], size_t *n, struct err *reterr)
{
	if (list->n > S3_SHARED_FILES)
		return err_set(reterr, ERR_CONFIG, 0, "%s: at most %d files", what, S3_SHARED_FILES);
	for (*n = 0; *n < list->n; (*n)++)
		to[*n] = outside_path(env, dir, list->items[*n]);
	if (list->items == NULL)
		to[(*n)++] = outside_path(env, dir, one);
	return ERR_OK;
}

static enum err_code
s3_cred_files(struct s3_cred *c, const struct s3_conf *conf, const char *dir, struct err *reterr)
{
	const struct provider_env *env = c->env;
	const char                *one = outside_env(env, "AWS_SHARED_CREDENTIALS_FILE");
	const char                *config = s3_env2(env, "AWS_CONFIG_FILE", "AWS_SHARED_CONFIG_FILE");
	const char                *profile = conf->profile;

	if (conf->shared_credentials_file != NULL)
		one = conf->shared_credentials_file;
	if (profile == NULL || profile[0] == '\0')
		profile = s3_env2(env, "AWS_PROFILE", "AWS_DEFAULT_PROFILE");
	c->files.named = profile != NULL;
	c->files.profile = xstrdup(c->files.named ? profile : "default");
	if (s3_files_set(env, dir, "shared_credentials_files", &conf->shared_credentials_files,
	        one != NULL ? one : "~/.aws/credentials", c->files.credentials, &c->files.ncredentials, reterr) != ERR_OK)
		return reterr->code;
	return s3_files_set(env, dir, "shared_config_files", &conf->shared_config_files, config != NULL ? config : "~/.aws/config",
	    c->files.config, &c->files.nconfig, reterr);
}

static void
s3_cred_metadata(struct s3_cred *c, const struct s3_conf *conf)
{
	const struct provider_env *env = c->env;
	const char                *relative = outside_env(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char                *full = outside_env(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char                *off = outside_env(env, "AWS_EC2_METADATA_DISABLED");
	const char                *base = conf->metadata_endpoint;
	bool                       v6;
	size_t                     n;

	if (relative != NULL)
		c->meta.container_url = xasprintf("%s%s", S3_CONTAINER_HOST, relative);
	else
		c->meta.container_url = xstrdup(full);
	c->meta.container_token_file = xstrdup(outside_env(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
	c->meta.container_token = s3_env_secret(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	if (conf->skip_metadata_api_check || (off != NULL && strcasecmp(off, "true") == 0))
		return;
	v6 = conf->metadata_mode != NULL && strcasecmp(conf->metadata_mode, "ipv6") == 0;
	if (base == NULL)
		base = v6 ? S3_INSTANCE_HOST_V6 : S3_INSTANCE_HOST;
	n = strlen(base);
	c->meta.instance_url = xstrndup(base, n > 0 && base[n - 1] == '/' ? n - 1 : n);
}

static enum err_code
s3_cred_half(const char *id, const struct secret *key, const char *what, const char *other, struct err *reterr)
{
	bool a = id != NULL && id[0] != '\0', b = key != NULL && secret_len(key) > 0;

	if (a == b)
		return ERR_OK;
	return err_set(reterr, ERR_CONFIG, 0, "%s without %s", a ? what : other, a ? other : what);
}

/* Must the account be asked for? */
static bool
s3_cred_asks_account(const struct s3_cred *c)
{
	return c->conf.allowed_account_ids.n > 0 || c->conf.forbidden_account_ids.n > 0;
}

/* What is known without asking: keys of the block, the environment or a profile, that are used as they are. */
static enum err_code
s3_cred_open(struct s3_cred *c, const struct s3_conf *conf, const char *dir, struct s3_signer *ret, struct s3_profile *ret_profile,
    struct err *reterr)
{
	struct s3_chain       chain;
	bool                  plain;
	enum err_code         rc;

	if (s3_cred_half(conf->access_key, conf->secret_key, "access_key", "secret_key", reterr) != ERR_OK ||
	    s3_cred_files(c, conf, dir, reterr) != ERR_OK)
		return reterr->code;
	s3_cred_metadata(c, conf);
	s3_profile_read(c->env->source, &c->files, c->files.profile, ret_profile, NULL); /* for the region */
	rc = s3_chain_find(&c->sources, &chain, reterr);
	plain = rc == ERR_OK && chain.base == BASE_KEYS && chain.nroles == 0 && !s3_cred_asks_account(c);
	c->fixed = plain && chain.last == NULL;
	if (plain) {
		ret->keys = chain.keys;
		chain.keys = (struct s3_keys){ 0 };
		memcpy(ret->source, chain.source, sizeof(ret->source));
	}
	s3_chain_free(&chain);
	return rc;
}

static struct op *s3_cred_fetch(void *arg, void *ret);

static const struct token_class s3_token_class = { "the set of credentials", sizeof(struct s3_signer), s3_cred_fetch,
	s3_signer_ends, s3_signer_wipe, s3_cred_release };

enum err_code
s3_cred_new(const struct provider_env *env, const struct s3_conf *conf, const char *dir, const struct s3_role *web,
    const struct s3_role *role, struct s3_cred **ret, struct s3_profile *ret_profile, struct err *reterr)
{
	struct s3_cred  *c = xcalloc(1, sizeof(*c));
	struct s3_signer first = { .source = "" };
	enum err_code    rc;

	c->env = env;
	s3_cred_copy(c, conf, web, role);
	c->token = token_new(env->loop, &s3_token_class, c, "s3");
	memset(ret_profile, 0, sizeof(*ret_profile));
	rc = s3_cred_open(c, conf, dir, &first, ret_profile, reterr);
	if (rc == ERR_OK && first.keys.access_key != NULL)
		token_set(c->token, &first, loop_wall(env->loop));
	if (rc == ERR_OK)
		*ret = c;
	else
		s3_cred_free(c);
	s3_signer_wipe(&first);
	return rc;
}

void
s3_cred_free(struct s3_cred *c)
{
	if (c != NULL)
		token_free(c->token);
}

void
s3_cred_place(struct s3_cred *c, struct s3_sts *owned)
{
	c->sts = *owned;
	c->sts.net = &c->net;
	c->sts.agent_name = c->env->agent_name;
	memset(owned, 0, sizeof(*owned));
}

void
s3_cred_key(struct s3_cred *c, struct sigv4_key *ret)
{
	struct s3_signer *v = token_value(c->token);

	*ret = (struct sigv4_key){ v->keys.access_key, v->keys.secret_key, v->keys.token, &v->day };
}

unsigned
s3_cred_generation(const struct s3_cred *c)
{
	return token_generation(c->token);
}

bool
s3_cred_reject(struct s3_cred *c, unsigned generation)
{
	if (!c->fixed)
		token_reject(c->token, generation);
	return !c->fixed;
}

const char *
s3_cred_source(const struct s3_cred *c)
{
	const struct s3_signer *v = token_value(c->token);

	return v != NULL ? v->source : "nowhere";
}

struct op *
s3_cred_ready(struct s3_cred *c, int64_t wall_ms)
{
	return token_ready(c->token, wall_ms);
}

/* --- fetching --------------------------------------------------------------------------------------------------------- */

struct s3_fetch {
	struct op         op;
	struct s3_cred   *c;        /* outlives the op */
	struct s3_chain   chain;
	struct s3_keys    from;     /* with which the next role is taken */
	size_t            role;
	char              account[S3_ACCOUNT_MAX];
	struct s3_signer *ret;
};

enum s3_fetch_state { FETCH_START, FETCH_LOADED, FETCH_BASE, FETCH_BASED, FETCH_KNOWN };

static const char *const s3_fetch_states[] = { "start", "files read", "first credentials", "role", "account" };

static enum err_code
s3_fetch_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct s3_fetch *f = arg;

	if (s3_chain_find(&f->c->sources, &f->chain, reterr) != ERR_OK)
		return reterr->code;
	return s3_chain_load(&f->c->sources, &f->chain, job, reterr);
}

static enum op_turn
s3_fetch_none(struct s3_fetch *f)
{
	struct op *op = &f->op;
	bool       silent = !op_failed(op) || op->res.code == ERR_NETWORK || op->res.code == ERR_TIMEOUT;

	/* Where nobody answers now, but somebody did before, the reason is the network. */
	if (silent && f->chain.base == BASE_MACHINE && token_value(f->c->token) == NULL && !op->cancelled) {
		err_set(&op->res, ERR_AUTH, 0, "no credentials: neither in the block nor the environment, none in profile \"%s\"%s",
		    f->c->files.profile, f->c->meta.instance_url != NULL ? ", and no instance metadata answers" : "");
		err_hint(&op->res, "set access_key and secret_key, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or profile");
	}
	return op_fail(op);
}

static struct op *
s3_fetch_machine(struct s3_fetch *f)
{
	struct s3_cred *c = f->c;

	if (f->chain.base != BASE_INSTANCE && c->meta.container_url != NULL) {
		snprintf(f->chain.source, sizeof(f->chain.source), "the container's endpoint");
		return s3_container_keys(c->env, &c->meta, &f->from);
	}
	if (f->chain.base == BASE_CONTAINER)
		return op_error(f->op.loop, ERR_CONFIG, 0, "credential_source is EcsContainer, but no variable AWS_CONTAINER_CREDENTIALS_* is set");
	if (c->meta.instance_url == NULL) {
		f->chain.base = BASE_MACHINE;
		return op_error(f->op.loop, ERR_NETWORK, 0, "the instance's metadata is turned off");
	}
	snprintf(f->chain.source, sizeof(f->chain.source), "the instance's metadata");
	return s3_instance_keys(c->env, &c->meta, &f->from);
}

static enum op_turn
s3_fetch_base(struct s3_fetch *f)
{
	struct op *op = &f->op;

	if (op_failed(op))
		return op_fail(op);
	switch (f->chain.base) {
	case BASE_KEYS:
	case BASE_PROCESS:
		f->from = f->chain.keys;
		f->chain.keys = (struct s3_keys){ 0 };
		return op_go(op, FETCH_BASE);
	case BASE_WEB:
		return op_await(op, FETCH_BASE, s3_take_role(&f->c->sts, &f->chain.web, NULL, f->chain.token, &f->from));
	case BASE_SSO:
		return op_await(op, FETCH_BASE, s3_sso_keys(&f->c->sts, &f->chain, &f->from));
	case BASE_MACHINE:
	case BASE_CONTAINER:
	case BASE_INSTANCE:
		break;
	}
	return op_await(op, FETCH_BASE, s3_fetch_machine(f));
}

/* The next role, the account, or the end. */
static enum op_turn
s3_fetch_next(struct s3_fetch *f)
{
	struct op            *op = &f->op;
	const struct s3_role *role;

	if (f->role < f->chain.nroles) {
		role = &f->chain.roles[f->role++];
		snprintf(f->ret->source, sizeof(f->ret->source), "role %.80s", role->arn);
		s3_keys_free(&f->ret->keys);
		return op_await(op, FETCH_BASED, s3_take_role(&f->c->sts, role, &f->from, NULL, &f->ret->keys));
	}
	f->ret->keys = f->from;
	f->from = (struct s3_keys){ 0 };
	if (f->role == 0)
		snprintf(f->ret->source, sizeof(f->ret->source), "%s", f->chain.source);
	if (!s3_cred_asks_account(f->c))
		return op_ok(op);
	return op_await(op, FETCH_KNOWN, s3_account_of(&f->c->sts, &f->ret->keys, f->account));
}

static bool
s3_account_in(const struct conf_strs *list, const char *account)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->items[i], account) == 0)
			return true;
	return false;
}

static enum op_turn
s3_fetch_known(struct s3_fetch *f)
{
	const struct s3_conf *conf = &f->c->conf;
	struct op            *op = &f->op;

	if (op_failed(op))
		return op_fail(op);
	if (s3_account_in(&conf->forbidden_account_ids, f->account) ||
	    (conf->allowed_account_ids.n > 0 && !s3_account_in(&conf->allowed_account_ids, f->account))) {
		err_set(&op->res, ERR_AUTH, 0, "the credentials from %s are of account %s, which this backend may not use", f->ret->source,
		    f->account);
		err_hint(&op->res, "check profile and environment; %s says so", conf->allowed_account_ids.n > 0 ? "allowed_account_ids" :
		    "forbidden_account_ids");
		return op_fail(op);
	}
	return op_ok(op);
}

static enum op_turn
s3_fetch_step(struct op *op)
{
	struct s3_fetch *f = container_of(op, struct s3_fetch, op);

	switch ((enum s3_fetch_state)op->state) {
	case FETCH_START:
		f->c->sources.now = loop_wall(op->loop);
		return op_await(op, FETCH_LOADED, work_run(f->c->env->work, s3_fetch_job, f));
	case FETCH_LOADED:
		return s3_fetch_base(f);
	case FETCH_BASE:
		return op_failed(op) ? s3_fetch_none(f) : s3_fetch_next(f);
	case FETCH_BASED:
		if (op_failed(op))
			return op_fail(op);
		s3_keys_free(&f->from);
		f->from = f->ret->keys;
		f->ret->keys = (struct s3_keys){ 0 };
		return s3_fetch_next(f);
	case FETCH_KNOWN:
		return s3_fetch_known(f);
	}
	return OP_DONE;
}

static void
s3_fetch_free(struct op *op)
{
	struct s3_fetch *f = container_of(op, struct s3_fetch, op);

	s3_chain_free(&f->chain);
	s3_keys_free(&f->from);
	free(f);
}

static const struct op_class s3_fetch_class = { "credentials", s3_fetch_step, NULL, s3_fetch_free, s3_fetch_states,
	ARRAY_LEN(s3_fetch_states) };

static struct op *
s3_cred_fetch(void *arg, void *ret)
{
	struct s3_cred  *c = arg;
	struct s3_fetch *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &s3_fetch_class, c->env->loop);
	f->c = c;
	f->ret = ret;
	return &f->op;
}
