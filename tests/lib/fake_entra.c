/* SPDX-License-Identifier: MIT */
#include "fake_entra.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/mem.h"
#include "net/jwt.h"
#include "test.h"
#include "test_key.h"

static struct fake_entra *
fake_entra_new(struct loop *l)
{
	struct fake_entra *f = xcalloc(1, sizeof(*f));

	f->loop = l;
	f->login = "https://login.microsoftonline.com";
	f->arm = "https://management.azure.com";
	f->suffix = "core.windows.net";
	f->life_s = 3599;
	return f;
}

void
fake_entra_free(struct fake_entra *f)
{
	free(f);
}

static void
fake_answer(struct scripted_answer *ret, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void
fake_answer(struct scripted_answer *ret, int status, const char *fmt, ...)
{
	char    text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ret->status = status;
	scripted_add_header(ret, "Content-Type", "application/json");
	scripted_set_body(ret, span_str(text));
}

static void
fake_wrong(struct fake_entra *f, struct scripted_answer *ret, const char *why)
{
	f->wrong++;
	snprintf(f->why, sizeof(f->why), "%s", why);
	fake_answer(ret, 400, "{\"error\":\"invalid_request\",\"error_description\":\"%s\"}", why);
}

/* --- what is sent ------------------------------------------------------------------------------------------------------- */

/* One field of the form, decoded; owned. */
static char *
fake_field(const char *form, const char *name)
{
	size_t     n = strlen(name);
	struct buf value;

	for (const char *at = form; at != NULL; at = strchr(at, '&') != NULL ? strchr(at, '&') + 1 : NULL)
		if (strncmp(at, name, n) == 0 && at[n] == '=') {
			buf_init(&value, 0);
			if (!url_unescape(span_of(at + n + 1, strcspn(at + n + 1, "&")), true, &value))
				test_fail(__FILE__, __LINE__, "%s is not escaped well", name);
			return buf_take(&value);
		}
	return NULL;
}

static bool
fake_is(const char *text, const char *want)
{
	return text != NULL && strcmp(text, want) == 0;
}

static void
fake_unbase64url(struct span in, struct buf *ret)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < in.n; i++)
		buf_putc(&b, in.p[i] == '-' ? '+' : in.p[i] == '_' ? '/' : (char)in.p[i]);
	while (b.len % 4 != 0)
		buf_putc(&b, '=');
	buf_init(ret, 0);
	if (!base64_decode(buf_span(&b), ret))
		test_fail(__FILE__, __LINE__, "an assertion is no base64url");
	buf_free(&b);
}

static const char *
fake_claims(const struct fake_entra *f, struct span claims)
{
	json_t     *root = json_loadb((const char *)claims.p, claims.n, JSON_REJECT_DUPLICATES, NULL);
	const char *aud = json_string_value(json_object_get(root, "aud")), *jti = json_string_value(json_object_get(root, "jti"));
	int64_t     nbf = json_integer_value(json_object_get(root, "nbf")), exp = json_integer_value(json_object_get(root, "exp"));
	int64_t     now = loop_wall(f->loop) / 1000;
	char       *want = xasprintf("%s/" FAKE_TENANT "/oauth2/v2.0/token", f->login);
	const char *why = NULL;

	if (!fake_is(aud, want))
		why = "aud of the assertion";
	else if (!fake_is(json_string_value(json_object_get(root, "iss")), FAKE_CLIENT) ||
	    !fake_is(json_string_value(json_object_get(root, "sub")), FAKE_CLIENT))
		why = "iss or sub of the assertion";
	else if (nbf > now || nbf < now - 60 || exp != nbf + 3600)
		why = "the times of the assertion";
	else if (jti == NULL || strlen(jti) != 36)
		why = "jti of the assertion";
	free(want);
	json_decref(root);
	return why;
}

/* RS256 gives the same bytes for the same claims, so that signing them again proves the signature. */
static const char *
fake_assertion(const struct fake_entra *f, const char *jwt)
{
	static const struct jwt_header header = { .x5t = FAKE_X5T, .x5t_s256 = FAKE_X5T_S256 };
	const char     *dot = strchr(jwt, '.'), *end = dot != NULL ? strchr(dot + 1, '.') : NULL, *why;
	struct jwt_key *k;
	struct buf      claims, again;
	struct err      e;

	if (end == NULL)
		return "the assertion is no JWT";
	fake_unbase64url(span_of(dot + 1, (size_t)(end - dot - 1)), &claims);
	CHECK_OK(jwt_key_new(span_str(TEST_KEY_PKCS8), &k, &e), e);
	buf_init(&again, 0);
	CHECK_OK(jwt_sign(k, &header, buf_span(&claims), &again, &e), e);
	why = fake_is(jwt, buf_str(&again)) ? fake_claims(f, buf_span(&claims)) : "header or signature of the assertion";
	jwt_key_free(k);
	buf_free(&claims);
	buf_free(&again);
	return why;
}

static const char *
fake_proof(const struct fake_entra *f)
{
	char       *secret = fake_field(f->form, "client_secret"), *jwt = fake_field(f->form, "client_assertion");
	char       *type = fake_field(f->form, "client_assertion_type");
	const char *why = NULL;

	if (secret != NULL && !fake_is(secret, FAKE_SECRET))
		why = "client_secret";
	else if (secret == NULL && !fake_is(type, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"))
		why = "client_assertion_type";
	else if (secret == NULL && !fake_is(jwt, FAKE_ASSERTION))
		why = jwt == NULL ? "no proof" : fake_assertion(f, jwt);
	free(secret);
	free(jwt);
	free(type);
	return why;
}

/* --- those who answer --------------------------------------------------------------------------------------------------- */

static void
fake_login(struct fake_entra *f, const struct scripted_request *rq, struct scripted_answer *ret)
{
	char       *client, *grant, *scope;
	const char *why;

	snprintf(f->form, sizeof(f->form), "%.*s", (int)rq->body.n, (const char *)rq->body.p);
	client = fake_field(f->form, "client_id");
	grant = fake_field(f->form, "grant_type");
	scope = fake_field(f->form, "scope");
	snprintf(f->scope, sizeof(f->scope), "%s", scope != NULL ? scope : "");
	why = !fake_is(client, FAKE_CLIENT) ? "client_id" : !fake_is(grant, "client_credentials") ? "grant_type" : fake_proof(f);
	f->tokens++;
	if (strcmp(rq->method, "POST") != 0 || !fake_is(scripted_header(rq, "content-type"), URL_FORM_TYPE) ||
	    strcmp(rq->at.path, "/" FAKE_TENANT "/oauth2/v2.0/token") != 0)
		why = "method, content-type or path";
	if (why != NULL)
		fake_wrong(f, ret, why);
	else
		fake_answer(ret, 200, "{\"token_type\":\"Bearer\",\"expires_in\":%lld,\"access_token\":\"CANARY-token-%u\"}", (long long)f->life_s,
		    f->tokens);
	free(client);
	free(grant);
	free(scope);
}

static void
fake_managed(struct fake_entra *f, const struct scripted_request *rq, struct scripted_answer *ret, bool service)
{
	char *version = scripted_query(rq, "api-version"), *resource = scripted_query(rq, "resource");

	f->managed++;
	snprintf(f->scope, sizeof(f->scope), "%s", resource != NULL ? resource : "");
	if (service ? !fake_is(version, "2019-08-01") || !fake_is(scripted_header(rq, "X-IDENTITY-HEADER"), FAKE_HEADER) :
	        !fake_is(version, "2018-02-01") || !fake_is(scripted_header(rq, "Metadata"), "true"))
		fake_wrong(f, ret, "version or header of a managed identity");
	else
		fake_answer(ret, 200, "{\"access_token\":\"CANARY-token-%u\",\"expires_in\":\"%lld\",\"expires_on\":\"1\",\"resource\":\"r\","
		    "\"token_type\":\"Bearer\"}", f->managed, (long long)f->life_s);
	free(version);
	free(resource);
}

/* GitHub's and Azure DevOps's. */
static void
fake_permit(struct fake_entra *f, const struct scripted_request *rq, struct scripted_answer *ret, bool devops)
{
	char *audience = scripted_query(rq, "audience"), *version = scripted_query(rq, "api-version");
	char *connection = scripted_query(rq, "serviceConnectionId");

	f->permits++;
	if (!fake_is(scripted_header(rq, "authorization"), "Bearer " FAKE_PERMIT) ||
	    strcmp(rq->method, devops ? "POST" : "GET") != 0 ||
	    (devops ? !fake_is(version, "7.1") || !fake_is(connection, "sc-1") : !fake_is(audience, "api://AzureADTokenExchange")))
		fake_wrong(f, ret, "the request for an assertion");
	else
		fake_answer(ret, 200, "{\"%s\":\"" FAKE_ASSERTION "\",\"count\":1}", devops ? "oidcToken" : "value");
	free(audience);
	free(version);
	free(connection);
}

static void
fake_cloud(struct fake_entra *f, const struct scripted_request *rq, struct scripted_answer *ret)
{
	f->clouds++;
	if (strcmp(rq->url, "https://meta.example/metadata/endpoints?api-version=2022-09-01") != 0)
		fake_wrong(f, ret, "the request for a cloud");
	else
		fake_answer(ret, 200, "{\"authentication\":{\"loginEndpoint\":\"%s/\",\"tenant\":\"common\"},\"resourceManager\":\"%s/\","
		    "\"suffixes\":{\"storage\":\"%s\"}}", f->login, f->arm, f->suffix);
}

static void
fake_manager(struct fake_entra *f, const struct scripted_request *rq, struct scripted_answer *ret)
{
	static const char account[] = "/subscriptions/" FAKE_SUBSCRIPTION "/resourceGroups/" FAKE_GROUP
	    "/providers/Microsoft.Storage/storageAccounts/" FAKE_ACCOUNT;
	const char       *auth = scripted_header(rq, "authorization");

	if (auth == NULL || strncmp(auth, "Bearer CANARY-token-", 20) != 0 || strncmp(rq->at.path, account, sizeof(account) - 1) != 0)
		fake_wrong(f, ret, "the request to the management API");
	else if (strcmp(rq->at.path + sizeof(account) - 1, "/listKeys") == 0 && strcmp(rq->method, "POST") == 0 &&
	    fake_is(rq->at.query, "%24expand=kerb&api-version=2023-01-01") && ++f->keys > 0)
		fake_answer(ret, 200, "{\"keys\":[{\"keyName\":\"key1\",\"permissions\":\"READ\",\"value\":\"AAAA\"},{\"keyName\":\"key2\","
		    "\"permissions\":\"FULL\",\"value\":\"" FAKE_ACCOUNT_KEY "\"}]}");
	else if (rq->at.path[sizeof(account) - 1] == '\0' && fake_is(rq->at.query, "api-version=2023-01-01") && ++f->accounts > 0)
		fake_answer(ret, 200, "{\"properties\":{\"primaryEndpoints\":{\"blob\":\"https://" FAKE_ACCOUNT ".z1.blob.storage.azure.net/\"}}}");
	else
		fake_wrong(f, ret, "the request to the management API");
}

static bool
fake_at(const struct scripted_request *rq, const char *base)
{
	return strncmp(rq->url, base, strlen(base)) == 0;
}

static void
fake_entra_handle(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	struct fake_entra *f = arg;

	snprintf(f->target, sizeof(f->target), "%s", rq->url);
	if (f->refuses != 0 && (f->refuses_at == NULL || strstr(rq->url, f->refuses_at) != NULL)) {
		f->tokens += fake_at(rq, f->login);
		if (strchr(f->error, '{') != NULL)
			fake_answer(ret, f->refuses, "%s", f->error);
		else
			fake_answer(ret, f->refuses, "{\"error\":\"%s\",\"error_description\":\"%s\"}", f->error, f->text);
	} else if (fake_at(rq, f->login)) {
		fake_login(f, rq, ret);
	} else if (fake_at(rq, f->arm)) {
		fake_manager(f, rq, ret);
	} else if (fake_at(rq, "http://169.254.169.254/metadata/identity/oauth2/token?") || fake_at(rq, "http://msi.example/msi/token?")) {
		fake_managed(f, rq, ret, false);
	} else if (fake_at(rq, "http://127.0.0.1:41741/msi/token?")) {
		fake_managed(f, rq, ret, true);
	} else if (fake_at(rq, "https://token.actions.example/tok?")) {
		fake_permit(f, rq, ret, false);
	} else if (fake_at(rq, "https://dev.example/oidctoken?")) {
		fake_permit(f, rq, ret, true);
	} else if (fake_at(rq, "https://meta.example/")) {
		fake_cloud(f, rq, ret);
	} else {
		test_fail(__FILE__, __LINE__, "nobody expects %s", rq->url);
	}
}

struct fake_entra *
fake_entra_behind(struct scripted_http *http, struct loop *l)
{
	struct fake_entra *f = fake_entra_new(l);

	scripted_handle(http, fake_entra_handle, f);
	return f;
}
