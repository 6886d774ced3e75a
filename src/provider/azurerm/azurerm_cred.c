/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "azurerm.h"
#include "azurerm_signin.h"
#include "net/sharedkey.h"

/*
 * In terraform's order: the account's key, a shared access signature, a token of Entra ID (use_azuread_auth), and the account's key as
 * the management API gives it (resource_group_name). The last two are fetched, as is whatever says where the account's blobs are.
 */
#define AZURERM_KEY_MAX 1024

enum azurerm_way { WAY_KEY, WAY_SAS, WAY_TOKEN, WAY_LISTED_KEY };

/* A value of the token: what is fetched at once, and counts as long as its bearer does. */
struct azurerm_value {
	struct bearer  bearer;
	struct secret *key;      /* of the account, decoded */
	char          *endpoint; /* NULL: the configuration's */
};

/* A fetch may outlive the backend and its configuration: all is copied. */
struct azurerm_cred {
	const struct provider_env *env;
	enum azurerm_way           way;
	bool                       fetches;
	char                      *account;
	struct secret             *key, *sas;     /* of the configuration; key: decoded */
	char                      *metadata_host; /* NULL: cloud is known */
	bool                       own_endpoint;  /* the configuration says where, whatever else says so */
	struct azurerm_cloud       cloud;
	struct azurerm_identity    id;
	char                      *subscription, *group; /* NULL: the management API is not asked */
	struct token              *token;
};

static int64_t
azurerm_value_ends(const void *value)
{
	return bearer_ends(&((const struct azurerm_value *)value)->bearer);
}

static void
azurerm_value_wipe(void *value)
{
	struct azurerm_value *v = value;

	bearer_wipe(&v->bearer);
	secret_free(v->key);
	free(v->endpoint);
	*v = (struct azurerm_value){ .key = NULL };
}

static void
azurerm_cred_release(void *arg)
{
	struct azurerm_cred *c = arg;

	free(c->account);
	secret_free(c->key);
	secret_free(c->sas);
	free(c->metadata_host);
	azurerm_cloud_clear(&c->cloud);
	azurerm_identity_clear(&c->id);
	free(c->subscription);
	free(c->group);
	free(c);
}

void
azurerm_cred_free(struct azurerm_cred *c)
{
	if (c != NULL)
		token_free(c->token);
}

/* --- from the configuration --------------------------------------------------------------------------------------------- */

static bool
azurerm_cred_given(const struct secret *s)
{
	return s != NULL && secret_len(s) > 0;
}

static enum err_code
azurerm_cred_key(struct azurerm_cred *c, const struct azurerm_conf *conf, struct err *reterr)
{
	struct buf    raw;
	enum err_code rc = ERR_OK;

	if (conf->use_azuread_auth) {
		err_set(reterr, ERR_CONFIG, 0, "access_key (ARM_ACCESS_KEY) and use_azuread_auth (ARM_USE_AZUREAD) exclude each other");
		return err_hint(reterr, "remove one of them: requests are signed by the key of the account, or by a token of Entra ID");
	}
	buf_init(&raw, AZURERM_KEY_MAX);
	buf_reserve(&raw, AZURERM_KEY_MAX, NULL);
	c->way = WAY_KEY;
	if (!azurerm_base64(span_str(secret_str(conf->access_key)), &raw) || raw.len == 0)
		rc = err_set(reterr, ERR_CONFIG, 0, "access_key: expected the account's key, in base64");
	else
		c->key = secret_new(buf_span(&raw));
	buf_wipe_free(&raw);
	return rc;
}

static enum err_code
azurerm_cred_sas(struct azurerm_cred *c, const struct azurerm_conf *conf, struct err *reterr)
{
	const char *text = secret_str(conf->sas_token);

	text += text[0] == '?';
	if (strstr(text, "sig=") == NULL || text[strcspn(text, " #\r\n")] != '\0')
		return err_set(reterr, ERR_CONFIG, 0, "sas_token: expected a shared access signature, such as \"sv=...&sig=...\"");
	c->way = WAY_SAS;
	c->sas = secret_new(span_str(text));
	return ERR_OK;
}

/* What the management API is asked for. */
static enum err_code
azurerm_cred_account(struct azurerm_cred *c, const struct azurerm_conf *conf, const char *why, struct err *reterr)
{
	c->subscription = azurerm_given(conf->subscription_id) ? xstrdup(conf->subscription_id) : NULL;
	c->group = azurerm_given(conf->resource_group_name) ? xstrdup(conf->resource_group_name) : NULL;
	if (c->subscription != NULL && c->group != NULL)
		return ERR_OK;
	err_set(reterr, ERR_CONFIG, 0, "%s without %s", why, c->group == NULL ? "resource_group_name" :
	    "subscription_id (ARM_SUBSCRIPTION_ID)");
	return err_hint(reterr, "the management API finds the account by subscription, resource group and name");
}

static enum err_code
azurerm_cred_identity(struct azurerm_cred *c, const struct azurerm_conf *conf, const char *dir, const char *why, struct err *reterr)
{
	if (azurerm_identity_init(&c->id, c->env, conf, dir, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (c->id.method != AZURERM_NOBODY)
		return ERR_OK;
	err_set(reterr, ERR_CONFIG, 0, "%s needs a way to sign in to Entra ID, and none is complete", why);
	return err_hint(reterr, "tenant_id and client_id with client_secret, client_certificate or use_oidc; or use_msi, or use_cli");
}

static enum err_code
azurerm_cred_way(struct azurerm_cred *c, const struct azurerm_conf *conf, struct err *reterr)
{
	if (azurerm_cred_given(conf->access_key))
		return azurerm_cred_key(c, conf, reterr);
	if (azurerm_cred_given(conf->sas_token))
		return azurerm_cred_sas(c, conf, reterr);
	if (conf->use_azuread_auth) {
		c->way = WAY_TOKEN;
		return ERR_OK;
	}
	if (azurerm_given(conf->resource_group_name)) {
		c->way = WAY_LISTED_KEY;
		return ERR_OK;
	}
	err_set(reterr, ERR_CONFIG, 0, "nothing says how to sign in: expected access_key (ARM_ACCESS_KEY), sas_token (ARM_SAS_TOKEN), "
	    "use_azuread_auth (ARM_USE_AZUREAD) or resource_group_name");
	return err_hint(reterr, "use_azuread_auth = true signs in by Entra ID; resource_group_name lets the account's key be looked up");
}

static enum err_code
azurerm_cred_open(struct azurerm_cred *c, const struct azurerm_conf *conf, const char *dir, struct err *reterr)
{
	const char *why;

	if (azurerm_cred_way(c, conf, reterr) != ERR_OK)
		return ERR_CONFIG;
	why = c->way == WAY_TOKEN ? "use_azuread_auth" : c->way == WAY_LISTED_KEY ? "resource_group_name" : "lookup_blob_endpoint";
	c->account = xstrdup(conf->storage_account_name);
	c->own_endpoint = azurerm_given(conf->blob_endpoint);
	c->metadata_host = azurerm_given(conf->metadata_host) ? xstrdup(conf->metadata_host) : NULL;
	if (c->metadata_host == NULL)
		azurerm_cloud_init(&c->cloud, conf->environment);
	if ((c->way == WAY_LISTED_KEY || conf->lookup_blob_endpoint) && azurerm_cred_account(c, conf, c->way == WAY_LISTED_KEY ? why :
	        "lookup_blob_endpoint", reterr) != ERR_OK)
		return ERR_CONFIG;
	if ((c->way == WAY_TOKEN || c->group != NULL) && azurerm_cred_identity(c, conf, dir, why, reterr) != ERR_OK)
		return ERR_CONFIG;
	c->fetches = c->way == WAY_TOKEN || c->group != NULL || (c->metadata_host != NULL && !c->own_endpoint);
	return ERR_OK;
}

static struct op *azurerm_cred_fetch(void *arg, void *ret);

static const struct token_class azurerm_token_class = { "the sign-in to Azure", sizeof(struct azurerm_value), azurerm_cred_fetch,
	azurerm_value_ends, azurerm_value_wipe, azurerm_cred_release };

enum err_code
azurerm_cred_new(const struct provider_env *env, const struct azurerm_conf *conf, const char *dir, struct azurerm_cred **ret,
    struct err *reterr)
{
	struct azurerm_cred *c = xcalloc(1, sizeof(*c));
	enum err_code        rc;

	c->env = env;
	c->token = token_new(env->loop, &azurerm_token_class, c, "azurerm");
	rc = azurerm_cred_open(c, conf, dir, reterr);
	if (rc == ERR_OK)
		*ret = c;
	else
		azurerm_cred_free(c);
	return rc;
}

/* --- fetching ------------------------------------------------------------------------------------------------------------ */

struct azurerm_fetch {
	struct op              op;
	struct azurerm_cred   *c;
	struct azurerm_value  *ret;
	struct azurerm_cloud   asked;
	struct bearer          manager;  /* for the management API */
	struct azurerm_account account;
};

enum azurerm_fetch_state { FETCH_START, FETCH_CLOUD, FETCH_MANAGER, FETCH_ACCOUNT, FETCH_SIGNED_IN };

static const char *const azurerm_fetch_states[] = { "start", "cloud known", "manager", "account known", "signed in" };

static const struct azurerm_cloud *
azurerm_fetch_cloud(const struct azurerm_fetch *f)
{
	return f->c->metadata_host != NULL ? &f->asked : &f->c->cloud;
}

static enum op_turn
azurerm_fetch_account(struct azurerm_fetch *f)
{
	const struct azurerm_cred *c = f->c;

	f->account.subscription = xstrdup(c->subscription);
	f->account.group = xstrdup(c->group);
	f->account.name = xstrdup(c->account);
	f->account.wants_key = c->way == WAY_LISTED_KEY;
	return op_await(&f->op, FETCH_ACCOUNT, azurerm_account_ask(c->env, azurerm_fetch_cloud(f)->arm, f->manager.text, &f->account));
}

/* What the management API said, or the suffix of the cloud. */
static void
azurerm_fetch_place(struct azurerm_fetch *f)
{
	const struct azurerm_cred *c = f->c;

	if (f->account.endpoint != NULL) {
		f->ret->endpoint = f->account.endpoint;
		f->account.endpoint = NULL;
	} else if (c->metadata_host != NULL) {
		f->ret->endpoint = xasprintf("https://%s.blob.%s", c->account, f->asked.suffix);
	}
	f->ret->key = f->account.key;
	f->account.key = NULL;
}

static enum op_turn
azurerm_fetch_step(struct op *op)
{
	struct azurerm_fetch      *f = container_of(op, struct azurerm_fetch, op);
	const struct azurerm_cred *c = f->c;

	switch ((enum azurerm_fetch_state)op->state) {
	case FETCH_START:
		return op_await(op, FETCH_CLOUD, c->metadata_host != NULL ? azurerm_cloud_ask(c->env, c->metadata_host, &f->asked) : NULL);
	case FETCH_CLOUD:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, FETCH_MANAGER, c->group == NULL ? NULL : azurerm_token(c->env, &c->id, azurerm_fetch_cloud(f)->login,
		    azurerm_fetch_cloud(f)->arm, &f->manager));
	case FETCH_MANAGER:
		if (op_failed(op))
			return op_fail(op);
		return c->group != NULL ? azurerm_fetch_account(f) : op_go(op, FETCH_ACCOUNT);
	case FETCH_ACCOUNT:
		if (op_failed(op))
			return op_fail(op);
		azurerm_fetch_place(f);
		return op_await(op, FETCH_SIGNED_IN, c->way != WAY_TOKEN ? NULL : azurerm_token(c->env, &c->id, azurerm_fetch_cloud(f)->login,
		    AZURERM_STORAGE_RESOURCE, &f->ret->bearer));
	case FETCH_SIGNED_IN:
		return op_failed(op) ? op_fail(op) : op_ok(op);
	}
	return OP_DONE;
}

static void
azurerm_fetch_free(struct op *op)
{
	struct azurerm_fetch *f = container_of(op, struct azurerm_fetch, op);

	azurerm_cloud_clear(&f->asked);
	bearer_wipe(&f->manager);
	azurerm_account_clear(&f->account);
	free(f);
}

static const struct op_class azurerm_fetch_class = { "sign in", azurerm_fetch_step, NULL, azurerm_fetch_free, azurerm_fetch_states,
	ARRAY_LEN(azurerm_fetch_states) };

static struct op *
azurerm_cred_fetch(void *arg, void *ret)
{
	struct azurerm_cred  *c = arg;
	struct azurerm_fetch *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &azurerm_fetch_class, c->env->loop);
	f->c = c;
	f->ret = ret;
	return &f->op;
}

/* --- using it ------------------------------------------------------------------------------------------------------------ */

struct op *
azurerm_cred_ready(struct azurerm_cred *c)
{
	return c->fetches ? token_ready(c->token, loop_wall(c->env->loop)) : NULL;
}

const char *
azurerm_cred_endpoint(const struct azurerm_cred *c)
{
	const struct azurerm_value *v = token_value(c->token);

	return v != NULL && !c->own_endpoint ? v->endpoint : NULL;
}

void
azurerm_cred_sign(const struct azurerm_cred *c, const struct azurerm_signing *s, struct buf *ret_header, struct buf *ret_query)
{
	const struct azurerm_value *v = token_value(c->token);
	const struct secret        *key = c->way == WAY_LISTED_KEY ? v->key : c->key;

	if (c->way == WAY_SAS) {
		buf_puts(ret_query, secret_str(c->sas));
	} else if (c->way == WAY_TOKEN) {
		buf_puts(ret_header, "Bearer ");
		buf_puts(ret_header, secret_str(v->bearer.text));
	} else {
		sharedkey_sign(c->account, span_of(secret_str(key), secret_len(key)), &(struct sharedkey_request){ .method = s->method,
		    .path = s->path, .query = s->query, .headers = s->headers, .nheaders = s->nheaders, .content_length = s->content_length },
		    ret_header);
	}
}

unsigned
azurerm_cred_generation(const struct azurerm_cred *c)
{
	return token_generation(c->token);
}

bool
azurerm_cred_renew(struct azurerm_cred *c, unsigned generation)
{
	bool others = c->way == WAY_TOKEN || c->way == WAY_LISTED_KEY;

	if (others)
		token_reject(c->token, generation);
	return others;
}

const char *
azurerm_cred_source(const struct azurerm_cred *c)
{
	switch (c->way) {
	case WAY_KEY:
		return "access_key";
	case WAY_SAS:
		return "sas_token";
	case WAY_LISTED_KEY:
		return "resource_group_name";
	default:
		return azurerm_method_name(c->id.method);
	}
}
