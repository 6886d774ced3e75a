/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "azurerm_signin.h"
#include "base/json.h"
#include "net/cert.h"
#include "net/url.h"
#include "provider/outside.h"

/*
 * A token of Entra ID for an application (OAuth 2.0, client credentials). What proves the application is made first: on the pool from
 * files, the certificate's key and the clock, or by a request to the issuer of another token.
 */
#define ENTRA_FILE_MAX       ((size_t)64 << 10)
#define ENTRA_FORM_ROOM      1024      /* more than all but the proof takes */
#define ENTRA_ASSERTION_LIFE ((int64_t)3600) /* seconds, as terraform asks */
#define ENTRA_ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#define ENTRA_GITHUB_FOR     "api://AzureADTokenExchange"
#define ENTRA_DEVOPS_VERSION "7.1"

static char entra_json[] = "application/json", entra_form[] = URL_FORM_TYPE;

struct entra {
	struct op                      op;
	const struct provider_env     *env;
	const struct azurerm_identity *id;
	const char                    *login, *resource;
	struct bearer                 *ret;
	char                          *client_id, *token_url, *who;
	int64_t                        wall_s;      /* of an assertion */
	char                           jti[37];
	struct secret                 *proof;       /* client secret or assertion */
	struct bearer                  other;       /* of another issuer */
	struct bearer_request          rq;
	char                          *url, *authorization;
};

enum entra_state { ENTRA_START, ENTRA_LOADED, ENTRA_ASKED, ENTRA_ANSWERED };

static const char *const entra_states[] = { "start", "loaded", "asked", "answered" };

/* --- on the pool: what lies in files --------------------------------------------------------------------------------------- */

static bool
entra_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

enum err_code
azurerm_file(const struct provider_env *env, const char *what, const char *path, struct secret **ret, struct err *reterr)
{
	struct buf    text;
	struct span   t;
	bool          found = false, loose;
	enum err_code rc;

	buf_init(&text, ENTRA_FILE_MAX);
	buf_reserve(&text, ENTRA_FILE_MAX / 4, NULL);
	rc = outside_read(env->source, path, &text, &found, &loose, reterr);
	if (rc != ERR_OK)
		err_prefix(reterr, "%s", what);
	t = buf_span(&text);
	while (t.n > 0 && entra_blank(t.p[t.n - 1]))
		t.n--;
	while (t.n > 0 && entra_blank(t.p[0]))
		t = span_of(t.p + 1, t.n - 1);
	if (rc == ERR_OK && (!found || t.n == 0))
		rc = err_set(reterr, ERR_CONFIG, 0, "%s: the file %.120s %s", what, path, found ? "is empty" : "is not there");
	if (rc == ERR_OK)
		*ret = secret_new(t);
	buf_wipe_free(&text);
	return rc;
}

static enum err_code
entra_client_id(struct entra *x, struct err *reterr)
{
	const struct azurerm_identity *i = x->id;
	struct secret                 *text;

	if (i->client_id_file == NULL) {
		x->client_id = xstrdup(i->client_id);
		return ERR_OK;
	}
	if (azurerm_file(x->env, "client_id_file_path", i->client_id_file, &text, reterr) != ERR_OK)
		return reterr->code;
	x->client_id = xstrdup(secret_str(text));
	secret_free(text);
	if (i->client_id != NULL && strcmp(i->client_id, x->client_id) != 0)
		return err_set(reterr, ERR_CONFIG, 0, "client_id and the file of client_id_file_path differ: give one of them");
	return ERR_OK;
}

/* A secret or a token, given or in a file that is read each time, because its issuer renews it. */
static enum err_code
entra_text(struct entra *x, const char *argument, const char *file_argument, struct err *reterr)
{
	const struct azurerm_identity *i = x->id;
	const char                    *text;

	if (i->proof_file == NULL) {
		x->proof = secret_new(span_str(secret_str(i->proof)));
		return ERR_OK;
	}
	if (azurerm_file(x->env, file_argument, i->proof_file, &x->proof, reterr) != ERR_OK)
		return reterr->code;
	text = secret_str(i->proof);
	if (text != NULL && strcmp(text, secret_str(x->proof)) != 0)
		return err_set(reterr, ERR_CONFIG, 0, "%s and the file of %s differ: give one of them", argument, file_argument);
	return ERR_OK;
}

static enum err_code
entra_assert(struct entra *x, const struct cert *cert, struct err *reterr)
{
	struct jwt_header  h = { .x5t = cert_x5t(cert), .x5t_s256 = cert_x5t_s256(cert) };
	struct json_writer w;
	struct buf         claims, jwt;
	enum err_code      rc;

	buf_init(&claims, JWT_CLAIMS_MAX);
	buf_init(&jwt, 0);
	json_begin(&w, &claims);
	json_obj(&w);
	json_kv_str(&w, "aud", x->token_url);
	json_kv_i64(&w, "exp", x->wall_s + ENTRA_ASSERTION_LIFE);
	json_kv_str(&w, "iss", x->client_id);
	json_kv_str(&w, "jti", x->jti);
	json_kv_i64(&w, "nbf", x->wall_s);
	json_kv_str(&w, "sub", x->client_id);
	json_obj_end(&w);
	rc = jwt_sign(cert_key(cert), &h, buf_span(&claims), &jwt, reterr);
	if (rc == ERR_OK)
		x->proof = secret_new(buf_span(&jwt));
	buf_free(&claims);
	buf_wipe_free(&jwt);
	return rc;
}

/* Into raw: the archive or PEM, whichever way it is given. */
static enum err_code
entra_cert_bytes(struct entra *x, struct buf *raw, struct err *reterr)
{
	const struct azurerm_identity *i = x->id;
	bool                           found, loose;

	if (i->proof_file != NULL) {
		if (outside_read(x->env->source, i->proof_file, raw, &found, &loose, reterr) != ERR_OK)
			return err_prefix(reterr, "client_certificate_path");
		return found ? ERR_OK : err_set(reterr, ERR_CONFIG, 0, "client_certificate_path: there is no file %.120s", i->proof_file);
	}
	if (strstr(secret_str(i->proof), "-----BEGIN ") != NULL)
		return buf_add(raw, secret_str(i->proof), secret_len(i->proof), reterr);
	if (!azurerm_base64(span_of(secret_str(i->proof), secret_len(i->proof)), raw))
		return err_set(reterr, ERR_CONFIG, 0, "client_certificate: expected an archive (PKCS #12, PFX) in base64, or PEM");
	return ERR_OK;
}

static enum err_code
entra_certificate(struct entra *x, struct err *reterr)
{
	struct cert  *cert = NULL;
	struct buf    raw;
	enum err_code rc;

	buf_init(&raw, CERT_MAX);
	buf_reserve(&raw, CERT_MAX / 4, NULL);
	rc = entra_cert_bytes(x, &raw, reterr);
	if (rc == ERR_OK && cert_new(buf_span(&raw), x->id->password, &cert, reterr) != ERR_OK)
		rc = err_prefix(reterr, "%s", x->id->proof_file != NULL ? "client_certificate_path" : "client_certificate");
	if (rc == ERR_OK)
		rc = entra_assert(x, cert, reterr);
	cert_free(cert);
	buf_wipe_free(&raw);
	return rc;
}

static enum err_code
entra_load(struct work_job *job, void *arg, struct err *reterr)
{
	struct entra *x = arg;

	(void)job;
	if (entra_client_id(x, reterr) != ERR_OK)
		return reterr->code;
	switch (x->id->method) {
	case AZURERM_CERTIFICATE:
		return entra_certificate(x, reterr);
	case AZURERM_SECRET:
		return entra_text(x, "client_secret", "client_secret_file_path", reterr);
	case AZURERM_TOKEN:
		return entra_text(x, "oidc_token", "oidc_token_file_path", reterr);
	default:
		return ERR_OK;
	}
}

/* --- the token of another issuer ------------------------------------------------------------------------------------------- */

static void
entra_request_clear(struct entra *x)
{
	body_unref(x->rq.body);
	mem_free_secret(x->authorization);
	free(x->url);
	x->authorization = x->url = NULL;
	memset(&x->rq, 0, sizeof(x->rq));
}

/* name=value behind a query that may be there already, unless it has that name. */
static void
entra_query(struct buf *url, const char *name, const char *value)
{
	const char *query = strchr(buf_str(url), '?'), *at = query;
	size_t      n = strlen(name);

	while (at != NULL && !(strncmp(at + 1, name, n) == 0 && at[1 + n] == '='))
		at = strchr(at + 1, '&');
	if (at != NULL)
		return;
	buf_putc(url, query == NULL ? '?' : '&');
	buf_puts(url, name);
	buf_putc(url, '=');
	url_escape(URL_QUERY, span_str(value), url);
}

/* The token that it is asked with must not travel in clear. */
static enum err_code
entra_url_check(const char *text, struct err *reterr)
{
	struct url u;
	bool       ok;

	if (url_parse(text, &u, reterr) != ERR_OK)
		return err_prefix(reterr, "oidc_request_url");
	ok = strcmp(u.scheme, "https") == 0 || url_is_loopback(&u);
	url_free(&u);
	return ok ? ERR_OK : err_set(reterr, ERR_CONFIG, 0, "oidc_request_url: only https, or http on loopback, may carry oidc_request_token");
}

static enum op_turn
entra_ask(struct entra *x)
{
	bool       devops = x->id->method == AZURERM_DEVOPS;
	struct buf url;

	if (entra_url_check(x->id->url, &x->op.res) != ERR_OK)
		return op_fail(&x->op);
	buf_init(&url, 2 * URL_MAX);
	buf_puts(&url, x->id->url);
	if (devops) {
		entra_query(&url, "api-version", ENTRA_DEVOPS_VERSION);
		entra_query(&url, "serviceConnectionId", x->id->connection);
	} else {
		entra_query(&url, "audience", ENTRA_GITHUB_FOR);
	}
	x->url = buf_take(&url);
	x->authorization = xasprintf("Bearer %s", secret_str(x->id->url_token));
	x->rq = (struct bearer_request){ .who = devops ? "the issuer of the pipeline (oidc_request_url)" : "the issuer at oidc_request_url",
		.method = devops ? "POST" : "GET", .url = x->url, .headers = { { "accept", entra_json },
		{ "authorization", x->authorization }, { "content-type", entra_json } },
		.nheaders = devops ? 3 : 2, .body = devops ? body_copy(SPAN_LIT("")) : NULL, .member = devops ? "oidcToken" : "value",
		.secrets = { x->id->url_token } };
	return op_await(&x->op, ENTRA_ASKED, bearer_fetch(x->env, &x->rq, &x->other));
}

static enum op_turn
entra_not_given(struct entra *x)
{
	struct err *e = &x->op.res;

	if (e->code == ERR_AUTH && x->id->method == AZURERM_DEVOPS)
		err_hint(e, "the job needs System.AccessToken as SYSTEM_ACCESSTOKEN, and the service connection has to be allowed for it");
	else if (e->code == ERR_AUTH)
		err_hint(e, "the job needs the permission id-token: write, and the token of oidc_request_token ends with the job");
	return op_fail(&x->op);
}

/* --- Entra ID -------------------------------------------------------------------------------------------------------------- */

static enum op_turn
entra_send(struct entra *x)
{
	struct buf form, scope;

	entra_request_clear(x);
	buf_init(&scope, 0);
	buf_printf(&scope, "%s/.default", x->resource);
	buf_init(&form, 0);
	buf_reserve(&form, ENTRA_FORM_ROOM + 3 * secret_len(x->proof), NULL); /* at once: growing would leave pieces of it behind */
	if (x->id->method != AZURERM_SECRET) {
		url_form_add(&form, "client_assertion", secret_str(x->proof));
		url_form_add(&form, "client_assertion_type", ENTRA_ASSERTION_TYPE);
	}
	url_form_add(&form, "client_id", x->client_id);
	if (x->id->method == AZURERM_SECRET)
		url_form_add(&form, "client_secret", secret_str(x->proof));
	url_form_add(&form, "grant_type", "client_credentials");
	url_form_add(&form, "scope", buf_str(&scope));
	buf_free(&scope);
	x->rq = (struct bearer_request){ .who = x->who, .method = "POST", .url = x->token_url,
		.headers = { { "accept", entra_json }, { "content-type", entra_form } }, .nheaders = 2, .body = body_new(&form),
		.secrets = { x->proof } };
	return op_await(&x->op, ENTRA_ANSWERED, bearer_fetch(x->env, &x->rq, x->ret));
}

/* What is known of its refusals: none of them goes away by itself. */
static const struct {
	const char *code, *what, *hint;
} entra_codes[] = {
	{ "7000215", "the client secret is wrong",
	    "give the value of the secret, not its id; \"az ad app credential reset --id CLIENT_ID\" makes another" },
	{ "7000222", "the client secret has expired", "\"az ad app credential reset --id CLIENT_ID\" makes another" },
	{ "7000112", "the application is disabled", "enable it in Entra ID, or use another one" },
	{ "700016", "the tenant does not know the application", "check client_id and tenant_id" },
	{ "700024", "the assertion is not valid at this time", "check the clock of this machine" },
	{ "700027", "the certificate is none of the application's, or has expired",
	    "upload it to the application: \"az ad app credential reset --cert\"" },
	{ "7002381", "the token of the other issuer is not accepted", "check that its issuer is the one of the federated credential" },
	{ "700211", "no federated credential fits the issuer of the token", "compare iss with those of the application" },
	{ "700212", "no federated credential fits the audience of the token", "compare aud with those of the application" },
	{ "700213", "no federated credential fits the subject of the token",
	    "compare sub with those of the application: branch, environment, service account" },
	{ "70021", "no federated credential fits the token", "compare iss, sub and aud with those of the application" },
	{ "900023", "there is no such tenant", "check tenant_id (ARM_TENANT_ID)" },
	{ "90002", "there is no such tenant", "check tenant_id (ARM_TENANT_ID)" },
	{ "500011", "the tenant does not know what the token is for", "check environment or metadata_host: another cloud may be meant" },
	{ "53003", "a rule of conditional access forbids it", "ask who keeps the rules of the tenant for this application" },
};

static enum op_turn
entra_refused(struct entra *x)
{
	struct err *e = &x->op.res;
	const char *at = strstr(e->msg, "AADSTS"), *digits = at != NULL ? at + 6 : "";
	size_t      n = strspn(digits, "0123456789");
	int         status = e->detail;
	char        code[16] = "";

	if (e->code != ERR_AUTH)
		return op_fail(&x->op);
	if (n > 0 && n < sizeof(code))
		memcpy(code, digits, n);
	for (size_t i = 0; i < ARRAY_LEN(entra_codes); i++) {
		if (strcmp(code, entra_codes[i].code) != 0)
			continue;
		err_set(e, ERR_AUTH, status, "Entra ID: application %.40s in tenant %.40s: %s (AADSTS%s)", x->client_id, x->id->tenant_id,
		    entra_codes[i].what, code);
		err_hint(e, "%s", entra_codes[i].hint);
		return op_fail(&x->op);
	}
	err_hint(e, code[0] != '\0' ? "%s/error?code=%s explains it" : "check tenant_id, client_id and %s%s", code[0] != '\0' ? x->login :
	    azurerm_method_name(x->id->method), code);
	return op_fail(&x->op);
}

/* --- the operation --------------------------------------------------------------------------------------------------------- */

static enum op_turn
entra_step(struct op *op)
{
	struct entra *x = container_of(op, struct entra, op);

	switch ((enum entra_state)op->state) {
	case ENTRA_START:
		x->wall_s = loop_wall(op->loop) / 1000;
		rand_uuid(loop_rand(op->loop), x->jti);
		return op_await(op, ENTRA_LOADED, work_run(x->env->work, entra_load, x));
	case ENTRA_LOADED:
		if (op_failed(op))
			return op_fail(op);
		return x->id->method == AZURERM_DEVOPS || x->id->method == AZURERM_GITHUB ? entra_ask(x) : entra_send(x);
	case ENTRA_ASKED:
		if (op_failed(op))
			return entra_not_given(x);
		x->proof = x->other.text;
		x->other.text = NULL;
		return entra_send(x);
	case ENTRA_ANSWERED:
		return op_failed(op) ? entra_refused(x) : op_ok(op);
	}
	return OP_DONE;
}

static void
entra_free(struct op *op)
{
	struct entra *x = container_of(op, struct entra, op);

	entra_request_clear(x);
	bearer_wipe(&x->other);
	secret_free(x->proof);
	free(x->client_id);
	free(x->token_url);
	free(x->who);
	free(x);
}

static const struct op_class entra_class = { "sign in to Entra ID", entra_step, NULL, entra_free, entra_states,
	ARRAY_LEN(entra_states) };

struct op *
azurerm_entra_token(const struct provider_env *env, const struct azurerm_identity *i, const char *login, const char *resource,
    struct bearer *ret)
{
	struct entra *x = xcalloc(1, sizeof(*x));
	struct buf    url;

	op_init(&x->op, &entra_class, env->loop);
	x->env = env;
	x->id = i;
	x->login = login;
	x->resource = resource;
	x->ret = ret;
	buf_init(&url, 0);
	buf_printf(&url, "%s/", login);
	url_escape(URL_SEGMENT, span_str(i->tenant_id), &url);
	buf_puts(&url, "/oauth2/v2.0/token");
	x->token_url = buf_take(&url);
	x->who = xasprintf("Entra ID at %.80s", login);
	return &x->op;
}
