/* SPDX-License-Identifier: MIT */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "provider/token.h"
#include "s3.h"

/*
 * One set of credentials for a backend. What is fixed (block, environment) is there from the start; the rest is fetched, kept and
 * renewed by token.h.
 */
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
	free(c);
}

/* --- from the configuration ------------------------------------------------------------------------------------------- */

static struct secret *
s3_secret_copy(const struct secret *s)
{
	return s == NULL || secret_len(s) == 0 ? NULL : secret_new(span_str(secret_str(s)));
}

static struct secret *
s3_env_secret(const struct provider_env *env, const char *name)
{
	const char *text = s3_env(env, name);

	return text == NULL ? NULL : secret_new(span_str(text));
}

static const char *
s3_env2(const struct provider_env *env, const char *a, const char *b)
{
	const char *text = s3_env(env, a);

	return text != NULL ? text : s3_env(env, b);
}

/* "~/x" below the home folder, other relative paths below dir. */
static char *
s3_path(const struct provider_env *env, const char *dir, const char *path)
{
	const char          *home = s3_env(env, "HOME");
	const struct passwd *pw = home == NULL && path[0] == '~' ? getpwuid(geteuid()) : NULL;

	if (pw != NULL)
		home = pw->pw_dir;
	if (path[0] == '~' && path[1] == '/' && home != NULL)
		return xasprintf("%s%s", home, path + 1);
	if (path[0] == '/' || path[0] == '~' || dir == NULL)
		return xstrdup(path);
	return xasprintf("%s/%s", dir, path);
}

static enum err_code
s3_files_set(const struct provider_env *env, const char *dir, const char *what, const struct conf_strs *list, const char *one,
    char *to[S3_SHARED_FILES], size_t *n, struct err *reterr)
{
	if (list->n > S3_SHARED_FILES)
		return err_set(reterr, ERR_CONFIG, 0, "%s: at most %d files", what, S3_SHARED_FILES);
	for (*n = 0; *n < list->n; (*n)++)
		to[*n] = s3_path(env, dir, list->items[*n]);
	if (list->items == NULL)
		to[(*n)++] = s3_path(env, dir, one);
	return ERR_OK;
}

static enum err_code
s3_cred_files(struct s3_cred *c, const struct s3_conf *conf, const char *dir, struct err *reterr)
{
	const struct provider_env *env = c->env;
	const char                *one = s3_env(env, "AWS_SHARED_CREDENTIALS_FILE");
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
	const char                *relative = s3_env(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char                *full = s3_env(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char                *off = s3_env(env, "AWS_EC2_METADATA_DISABLED");
	const char                *base = conf->metadata_endpoint;
	bool                       v6;
	size_t                     n;

	if (relative != NULL)
		c->meta.container_url = xasprintf("%s%s", S3_CONTAINER_HOST, relative);
	else
		c->meta.container_url = xstrdup(full);
	c->meta.container_token_file = xstrdup(s3_env(env, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
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

/* The block, its profile, the environment: when they have keys, these are known for good. */
static enum err_code
s3_cred_fixed(struct s3_cred *c, const struct s3_conf *conf, struct s3_signer *ret, struct err *reterr)
{
	const struct provider_env *env = c->env;
	const char                *id = s3_env2(env, "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY");
	const char                *key = s3_env2(env, "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY");
	bool                       profile = conf->profile != NULL && conf->profile[0] != '\0';

	if (s3_cred_half(conf->access_key, conf->secret_key, "access_key", "secret_key", reterr) != ERR_OK)
		return reterr->code;
	if (conf->access_key != NULL && conf->access_key[0] != '\0') {
		ret->keys = (struct s3_keys){ xstrdup(conf->access_key), s3_secret_copy(conf->secret_key),
		    s3_secret_copy(conf->token), 0 };
		snprintf(ret->source, sizeof(ret->source), "the backend block");
	} else if (!profile && id != NULL && key != NULL) {
		ret->keys = (struct s3_keys){ xstrdup(id), secret_new(span_str(key)), s3_env_secret(env, "AWS_SESSION_TOKEN"), 0 };
		snprintf(ret->source, sizeof(ret->source), "the environment");
	}
	c->fixed = ret->keys.access_key != NULL;
	if (!c->fixed && !profile && s3_env(env, "AWS_WEB_IDENTITY_TOKEN_FILE") != NULL) {
		err_set(reterr, ERR_CONFIG, 0, "AWS_WEB_IDENTITY_TOKEN_FILE: taking a role by a web identity needs a later version of "
		    "stateferry");
		return err_hint(reterr, "give access_key and secret_key or a profile, or use EKS Pod Identity");
	}
	return ERR_OK;
}

/* What is known without asking: fixed keys, or those of a profile. */
static enum err_code
s3_cred_open(struct s3_cred *c, const struct s3_conf *conf, const char *dir, struct s3_signer *ret, struct s3_profile *ret_profile,
    struct err *reterr)
{
	if (s3_cred_fixed(c, conf, ret, reterr) != ERR_OK || s3_cred_files(c, conf, dir, reterr) != ERR_OK)
		return reterr->code;
	s3_cred_metadata(c, conf);
	if (c->fixed) { /* the profile may still say which region */
		if (conf->region == NULL)
			s3_profile_read(c->env->source, &c->files, ret_profile, NULL);
		return ERR_OK;
	}
	if (s3_profile_read(c->env->source, &c->files, ret_profile, reterr) != ERR_OK)
		return reterr->code;
	if (ret_profile->keys.access_key != NULL) {
		ret->keys = ret_profile->keys;
		ret_profile->keys = (struct s3_keys){ 0 };
		snprintf(ret->source, sizeof(ret->source), "profile \"%s\"", c->files.profile);
	}
	return ERR_OK;
}

static struct op *s3_cred_fetch(void *arg, void *ret);

static const struct token_class s3_token_class = { "the set of credentials", sizeof(struct s3_signer), s3_cred_fetch,
	s3_signer_ends, s3_signer_wipe, s3_cred_release };

enum err_code
s3_cred_new(const struct provider_env *env, const struct s3_conf *conf, const char *dir, struct s3_cred **ret,
    struct s3_profile *ret_profile, struct err *reterr)
{
	struct s3_cred  *c = xcalloc(1, sizeof(*c));
	struct s3_signer first = { .source = "" };
	enum err_code    rc;

	c->env = env;
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
	struct s3_profile profile;
	struct s3_signer *ret;
};

enum s3_fetch_state { FETCH_START, FETCH_READ, FETCH_CONTAINER, FETCH_INSTANCE };

static const char *const s3_fetch_states[] = { "start", "files read", "container", "instance" };

static enum err_code
s3_fetch_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct s3_fetch *f = arg;

	(void)job;
	return s3_profile_read(f->c->env->source, &f->c->files, &f->profile, reterr);
}

static enum op_turn
s3_fetch_none(struct s3_fetch *f)
{
	struct op *op = &f->op;
	bool       silent = !op_failed(op) || op->res.code == ERR_NETWORK || op->res.code == ERR_TIMEOUT;

	/* Where nobody answers now, but somebody did before, the reason is the network. */
	if (silent && token_value(f->c->token) == NULL && !op->cancelled) {
		err_set(&op->res, ERR_AUTH, 0, "no credentials: neither in the block nor the environment, none in profile \"%s\"%s",
		    f->c->files.profile, f->c->meta.instance_url != NULL ? ", and no instance metadata answers" : "");
		err_hint(&op->res, "set access_key and secret_key, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or profile");
	}
	return op_fail(op);
}

static enum op_turn
s3_fetch_step(struct op *op)
{
	struct s3_fetch *f = container_of(op, struct s3_fetch, op);
	struct s3_cred  *c = f->c;

	switch ((enum s3_fetch_state)op->state) {
	case FETCH_START:
		return op_await(op, FETCH_READ, work_run(c->env->work, s3_fetch_job, f));
	case FETCH_READ:
		if (op_failed(op))
			return op_fail(op);
		f->ret->keys = f->profile.keys;
		f->profile.keys = (struct s3_keys){ 0 };
		snprintf(f->ret->source, sizeof(f->ret->source), "profile \"%s\"", c->files.profile);
		if (f->ret->keys.access_key != NULL)
			return op_ok(op);
		snprintf(f->ret->source, sizeof(f->ret->source), "the container's endpoint");
		if (c->meta.container_url != NULL)
			return op_await(op, FETCH_CONTAINER, s3_container_keys(c->env, &c->meta, &f->ret->keys));
		snprintf(f->ret->source, sizeof(f->ret->source), "the instance's metadata");
		if (c->meta.instance_url == NULL)
			return s3_fetch_none(f);
		return op_await(op, FETCH_INSTANCE, s3_instance_keys(c->env, &c->meta, &f->ret->keys));
	case FETCH_CONTAINER:
		return op_finish(op);
	case FETCH_INSTANCE:
		return op_failed(op) ? s3_fetch_none(f) : op_ok(op);
	}
	return OP_DONE;
}

static void
s3_fetch_free(struct op *op)
{
	struct s3_fetch *f = container_of(op, struct s3_fetch, op);

	s3_profile_free(&f->profile);
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
