/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "gcs.h"
#include "provider/outside.h"
#include "provider/token.h"

/*
 * Where the token comes from, in terraform's order: access_token, credentials, then what Google calls the application default: a file that
 * a variable names, the login of gcloud, the machine's own account. The first that is there is used.
 */
#define GCS_ADC_FILE "~/.config/gcloud/application_default_credentials.json"

/* A value of the token. */
struct gcs_signer {
	struct bearer bearer;
	char         *project;    /* who pays; NULL: the account itself */
	char          source[160];
};

struct gcs_cred {
	const struct provider_env *env;
	bool                       fixed;     /* there is nowhere to get another one from */
	/* A fetch may outlive the backend and its configuration: what it reads of these is copied. */
	char                      *dir, *universe;
	struct secret             *access_token, *credentials;
	struct gcs_hop             hop;       /* url NULL: none */
	struct token              *token;
};

static int64_t
gcs_signer_ends(const void *value)
{
	return ((const struct gcs_signer *)value)->bearer.ends;
}

static void
gcs_signer_wipe(void *value)
{
	struct gcs_signer *v = value;

	bearer_wipe(&v->bearer);
	free(v->project);
	memset(v, 0, sizeof(*v));
}

static void
gcs_cred_release(void *arg)
{
	struct gcs_cred *c = arg;

	free(c->dir);
	free(c->universe);
	secret_free(c->access_token);
	secret_free(c->credentials);
	gcs_hop_free(&c->hop);
	free(c);
}

/* ---------------------------------------------------------------- where it is */

static bool
gcs_has(const struct secret *s)
{
	return s != NULL && secret_len(s) > 0;
}

/* What can only be meant as a path: any other text may be a secret, and is not repeated. */
static bool
gcs_means_file(const char *text)
{
	size_t n = strlen(text);

	return n > 5 && (text[0] == '/' || text[0] == '.' || text[0] == '~') && strcmp(text + n - 5, ".json") == 0;
}

/* name: what says so, for messages. text: a path or the JSON itself; NULL: only a path. */
static enum err_code
gcs_find_text(const struct gcs_cred *c, const char *name, const char *text, const char *path, struct gcs_account *ret, struct err *reterr)
{
	struct buf    json;
	bool          found = true, loose;
	enum err_code rc;

	buf_init(&json, 2 * GCS_ACCOUNT_MAX);
	buf_reserve(&json, GCS_ACCOUNT_MAX, NULL);
	if (text != NULL)
		rc = outside_path_or_text(c->env, c->dir, text, &json, reterr);
	else
		rc = outside_read(c->env->source, path, &json, &found, &loose, reterr);
	if (rc == ERR_OK && !found)
		rc = err_set(reterr, ERR_CONFIG, 0, "there is no file %s", path);
	else if (rc == ERR_OK && text != NULL && gcs_means_file(text) && strcmp(buf_str(&json), text) == 0)
		rc = err_set(reterr, ERR_CONFIG, 0, "there is no file %s", text);
	if (rc == ERR_OK)
		rc = gcs_account_parse(buf_span(&json), ret, reterr);
	buf_wipe_free(&json);
	return rc == ERR_OK ? ERR_OK : err_prefix(reterr, "%s", name);
}

/* What Google calls the application default. */
static enum err_code
gcs_find_default(const struct gcs_cred *c, struct gcs_account *ret, const char **name, struct err *reterr)
{
	const char   *named = outside_env(c->env, "GOOGLE_APPLICATION_CREDENTIALS");
	char         *path;
	struct buf    text;
	bool          found, loose;
	enum err_code rc;

	if (named != NULL) {
		*name = "GOOGLE_APPLICATION_CREDENTIALS";
		path = outside_path(c->env, c->dir, named);
		rc = gcs_find_text(c, *name, NULL, path, ret, reterr);
		free(path);
		return rc;
	}
	*name = "the login of gcloud";
	path = outside_path(c->env, NULL, GCS_ADC_FILE);
	buf_init(&text, 2 * GCS_ACCOUNT_MAX);
	buf_reserve(&text, GCS_ACCOUNT_MAX, NULL);
	rc = outside_read(c->env->source, path, &text, &found, &loose, reterr);
	if (rc == ERR_OK && found)
		rc = gcs_account_parse(buf_span(&text), ret, reterr) == ERR_OK ? ERR_OK : err_prefix(reterr, "%s", path);
	buf_wipe_free(&text);
	free(path);
	if (rc == ERR_OK && !found)
		*name = "the metadata server";
	return rc;
}

/* Reads; blocks. ret is zeroed. */
static enum err_code
gcs_find(const struct gcs_cred *c, struct gcs_account *ret, const char **name, struct err *reterr)
{
	*name = gcs_has(c->access_token) ? "access_token" : "credentials";
	if (gcs_has(c->access_token)) {
		ret->kind = GCS_TOKEN;
		return ERR_OK;
	}
	if (gcs_has(c->credentials))
		return gcs_find_text(c, *name, secret_str(c->credentials), NULL, ret, reterr);
	return gcs_find_default(c, ret, name, reterr);
}

/* A key of one cloud is none of another. */
static enum err_code
gcs_find_universe(const struct gcs_cred *c, const struct gcs_account *a, const char *name, struct err *reterr)
{
	const char *want = c->universe != NULL ? c->universe : GCS_UNIVERSE, *has = a->universe != NULL ? a->universe : GCS_UNIVERSE;

	if (a->kind == GCS_MACHINE || a->kind == GCS_TOKEN || strcmp(want, has) == 0)
		return ERR_OK;
	err_set(reterr, ERR_CONFIG, 0, "%s: these credentials are of %.60s, the block is of %.60s", name, has, want);
	return err_hint(reterr, "set universe_domain to that of the credentials");
}

static void
gcs_source_text(const struct gcs_account *a, const char *name, char *ret, size_t size)
{
	char email[100];

	if (a->nhops > 0) {
		gcs_hop_email(&a->hops[a->nhops - 1], email, sizeof(email));
		snprintf(ret, size, "%s, acting as %s", name, email);
	} else if (a->kind == GCS_SERVICE) {
		snprintf(ret, size, "%s, %.100s", name, a->email);
	} else {
		snprintf(ret, size, "%s", name);
	}
}

/* ---------------------------------------------------------------- keeping it */

static struct op *gcs_cred_fetch(void *arg, void *ret);

static const struct token_class gcs_token_class = { "the access token", sizeof(struct gcs_signer), gcs_cred_fetch, gcs_signer_ends,
	gcs_signer_wipe, gcs_cred_release };

static struct secret *
gcs_secret_dup(const struct secret *s)
{
	return s != NULL ? secret_new(span_str(secret_str(s))) : NULL;
}

static enum err_code
gcs_cred_hop(struct gcs_cred *c, const struct gcs_conf *conf, struct err *reterr)
{
	const char             *email = conf->impersonate_service_account;
	const struct conf_strs *delegates = &conf->impersonate_service_account_delegates;
	struct buf              url;

	if (email == NULL || email[0] == '\0')
		return ERR_OK;
	buf_init(&url, 0);
	buf_printf(&url, "https://iamcredentials.%s/v1/projects/-/serviceAccounts/", c->universe != NULL ? c->universe : GCS_UNIVERSE);
	buf_puts(&url, email);
	buf_puts(&url, ":generateAccessToken");
	c->hop.url = buf_take(&url);
	c->hop.seconds = 3600;
	for (size_t i = 0; i < delegates->n; i++)
		if (!gcs_hop_delegate(&c->hop, span_str(delegates->items[i])))
			return err_set(reterr, ERR_CONFIG, 0, "impersonate_service_account_delegates: at most %d", GCS_DELEGATES);
	return ERR_OK;
}

/* access_token alone is used as it is; everything else is read once now, so that an error in it is one of the configuration. */
static enum err_code
gcs_cred_check(struct gcs_cred *c, struct err *reterr)
{
	struct gcs_account a = { .kind = GCS_MACHINE };
	struct gcs_signer  first = { .project = NULL };
	const char        *name;
	enum err_code      rc = gcs_find(c, &a, &name, reterr);

	if (rc == ERR_OK)
		rc = gcs_find_universe(c, &a, name, reterr);
	c->fixed = rc == ERR_OK && a.kind == GCS_TOKEN && c->hop.url == NULL;
	if (c->fixed) {
		first.bearer.text = gcs_secret_dup(c->access_token);
		first.project = xstrdup(outside_env(c->env, "GOOGLE_CLOUD_QUOTA_PROJECT"));
		snprintf(first.source, sizeof(first.source), "%s", name);
		token_set(c->token, &first, loop_wall(c->env->loop));
	}
	gcs_account_free(&a);
	return rc;
}

enum err_code
gcs_cred_new(const struct provider_env *env, const struct gcs_conf *conf, const char *dir, struct gcs_cred **ret, struct err *reterr)
{
	struct gcs_cred *c = xcalloc(1, sizeof(*c));
	enum err_code    rc;

	c->env = env;
	c->dir = xstrdup(dir);
	c->universe = conf->universe_domain != NULL && conf->universe_domain[0] != '\0' ? xstrdup(conf->universe_domain) : NULL;
	c->access_token = gcs_secret_dup(conf->access_token);
	c->credentials = gcs_secret_dup(conf->credentials);
	c->token = token_new(env->loop, &gcs_token_class, c, "gcs");
	rc = gcs_cred_hop(c, conf, reterr);
	if (rc == ERR_OK)
		rc = gcs_cred_check(c, reterr);
	if (rc == ERR_OK)
		*ret = c;
	else
		gcs_cred_free(c);
	return rc;
}

void
gcs_cred_free(struct gcs_cred *c)
{
	if (c != NULL)
		token_free(c->token);
}

struct op *
gcs_cred_ready(struct gcs_cred *c, int64_t wall_ms)
{
	return token_ready(c->token, wall_ms);
}

size_t
gcs_cred_headers(const struct gcs_cred *c, struct http_header ret[GCS_CRED_HEADERS])
{
	const struct gcs_signer *v = token_value(c->token);
	size_t                   n = 0;

	ret[n++] = (struct http_header){ "authorization", xasprintf("Bearer %s", secret_str(v->bearer.text)) };
	if (v->project != NULL)
		ret[n++] = (struct http_header){ "x-goog-user-project", xstrdup(v->project) };
	return n;
}

unsigned
gcs_cred_generation(const struct gcs_cred *c)
{
	return token_generation(c->token);
}

bool
gcs_cred_reject(struct gcs_cred *c, unsigned generation)
{
	if (!c->fixed)
		token_reject(c->token, generation);
	return !c->fixed;
}

bool
gcs_cred_is_fixed(const struct gcs_cred *c)
{
	return c->fixed;
}

const char *
gcs_cred_source(const struct gcs_cred *c)
{
	const struct gcs_signer *v = token_value(c->token);

	return v != NULL ? v->source : "nowhere";
}

/* ---------------------------------------------------------------- fetching */

struct gcs_fetch {
	struct op          op;
	struct gcs_cred   *c;       /* outlives the op */
	struct gcs_account account;
	const char        *name;
	char              *project; /* who pays for what the account asks for */
	struct bearer      with;    /* with which the next hop is made */
	size_t             hop;
	struct gcs_signer *ret;
};

enum gcs_fetch_state { FETCH_START, FETCH_FOUND, FETCH_FIRST, FETCH_HOPPED };

static const char *const gcs_fetch_states[] = { "start", "credentials read", "first token", "token of another account" };

static enum err_code
gcs_fetch_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct gcs_fetch *f = arg;

	(void)job;
	if (gcs_find(f->c, &f->account, &f->name, reterr) != ERR_OK)
		return reterr->code;
	return gcs_find_universe(f->c, &f->account, f->name, reterr);
}

/* The block's own account comes last, behind those of the credentials. */
static void
gcs_fetch_hops(struct gcs_fetch *f)
{
	struct gcs_account   *a = &f->account;
	const struct gcs_hop *own = &f->c->hop;
	const char           *project = outside_env(f->c->env, "GOOGLE_CLOUD_QUOTA_PROJECT");

	f->project = xstrdup(project != NULL ? project : a->project);
	f->ret->project = xstrdup(own->url == NULL ? f->project : project);
	if (own->url == NULL)
		return;
	a->hops[a->nhops] = (struct gcs_hop){ .url = xstrdup(own->url), .seconds = own->seconds };
	for (size_t i = 0; i < own->ndelegates; i++)
		gcs_hop_delegate(&a->hops[a->nhops], span_str(own->delegates[i]));
	a->nhops++;
}

static struct op *
gcs_fetch_first(struct gcs_fetch *f)
{
	const struct provider_env *env = f->c->env;
	const struct gcs_account  *a = &f->account;
	const char                *scope = a->nhops > 0 ? GCS_SCOPE_CLOUD : GCS_SCOPE_STORAGE;

	switch (a->kind) {
	case GCS_TOKEN:
		f->with.text = gcs_secret_dup(f->c->access_token);
		return NULL;
	case GCS_SERVICE:
		return gcs_service_token(env, a, scope, &f->with);
	case GCS_USER:
		return gcs_user_token(env, a, &f->with);
	case GCS_MACHINE:
		return gcs_machine_token(env, scope, &f->with);
	case GCS_FEDERATED_FILE:
	case GCS_FEDERATED_URL:
	case GCS_FEDERATED_AWS:
		break;
	}
	return gcs_federated_token(env, a, scope, &f->with);
}

/* Where nobody answers now, but somebody did before, the reason is the network. */
static enum op_turn
gcs_fetch_none(struct gcs_fetch *f)
{
	struct op *op = &f->op;
	bool       silent = op->res.code == ERR_NETWORK || op->res.code == ERR_TIMEOUT;

	if (silent && f->account.kind == GCS_MACHINE && token_value(f->c->token) == NULL && !op->cancelled) {
		err_set(&op->res, ERR_AUTH, 0, "no credentials: none in the block or the environment, no login of gcloud, and no metadata server "
		    "answers");
		err_hint(&op->res, "set credentials, GOOGLE_CREDENTIALS or GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login");
	}
	return op_fail(op);
}

static enum op_turn
gcs_fetch_next(struct gcs_fetch *f)
{
	struct op                *op = &f->op;
	const struct gcs_account *a = &f->account;
	bool                      last = f->hop + 1 == a->nhops;

	if (f->hop < a->nhops) {
		return op_await(op, FETCH_HOPPED, gcs_hop_token(f->c->env, &a->hops[f->hop], &f->with, f->project,
		    last ? GCS_SCOPE_STORAGE : GCS_SCOPE_CLOUD, &f->ret->bearer));
	}
	f->ret->bearer = f->with;
	f->with = (struct bearer){ NULL, 0 };
	gcs_source_text(a, f->name, f->ret->source, sizeof(f->ret->source));
	return op_ok(op);
}

static enum op_turn
gcs_fetch_step(struct op *op)
{
	struct gcs_fetch *f = container_of(op, struct gcs_fetch, op);

	switch ((enum gcs_fetch_state)op->state) {
	case FETCH_START:
		return op_await(op, FETCH_FOUND, work_run(f->c->env->work, gcs_fetch_job, f));
	case FETCH_FOUND:
		if (op_failed(op))
			return op_fail(op);
		gcs_fetch_hops(f);
		return op_await(op, FETCH_FIRST, gcs_fetch_first(f));
	case FETCH_FIRST:
		return op_failed(op) ? gcs_fetch_none(f) : gcs_fetch_next(f);
	case FETCH_HOPPED:
		if (op_failed(op))
			return op_fail(op);
		bearer_wipe(&f->with);
		f->with = f->ret->bearer;
		f->ret->bearer = (struct bearer){ NULL, 0 };
		f->hop++;
		return gcs_fetch_next(f);
	}
	return OP_DONE;
}

static void
gcs_fetch_free(struct op *op)
{
	struct gcs_fetch *f = container_of(op, struct gcs_fetch, op);

	gcs_account_free(&f->account);
	bearer_wipe(&f->with);
	free(f->project);
	free(f);
}

static const struct op_class gcs_fetch_class = { "credentials", gcs_fetch_step, NULL, gcs_fetch_free, gcs_fetch_states,
	ARRAY_LEN(gcs_fetch_states) };

static struct op *
gcs_cred_fetch(void *arg, void *ret)
{
	struct gcs_cred  *c = arg;
	struct gcs_fetch *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &gcs_fetch_class, c->env->loop);
	f->c = c;
	f->ret = ret;
	return &f->op;
}
