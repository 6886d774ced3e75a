/* SPDX-License-Identifier: MIT */
#include "fake_google.h"

#include <errno.h>
#include <jansson.h>
#include <psa/crypto.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/log.h"
#include "test.h"
#include "test_key.h"

struct fake_google google;

static const char *
rig_env(void *arg, const char *name)
{
	(void)arg;
	return map_get(google.vars, span_str(name));
}

static enum err_code
rig_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	const char *text = map_get(google.files, span_str(path));

	(void)arg;
	if (text == NULL)
		return err_set(reterr, ERR_CONFIG, ENOENT, "%s: there is no such file", path);
	buf_puts(ret, text);
	return ERR_OK;
}

void
google_var(const char *name, const char *value)
{
	map_put(google.vars, span_str(name), (void *)(uintptr_t)value);
}

void
google_file(const char *path, const char *text)
{
	map_put(google.files, span_str(path), (void *)(uintptr_t)text);
}

/* ---------------------------------------------------------------- issuers */

static void
say(struct scripted_answer *a, int status, const char *json)
{
	a->status = status;
	scripted_add_header(a, "Content-Type", "application/json");
	scripted_set_body(a, span_str(json));
}

/* One member of a form; "": it has none. Valid until the next call but seven. */
static const char *
form(const struct scripted_request *rq, const char *name)
{
	static char texts[8][8192];
	static int  next;
	char       *to = texts[next++ % 8];
	char       *body = span_dup(rq->body);
	struct buf  value;

	to[0] = '\0';
	buf_init(&value, 0);
	for (char *save = NULL, *p = strtok_r(body, "&", &save); p != NULL; p = strtok_r(NULL, "&", &save))
		if (strncmp(p, name, strlen(name)) == 0 && p[strlen(name)] == '=') {
			CHECK(url_unescape(span_str(p + strlen(name) + 1), true, &value));
			snprintf(to, sizeof(texts[0]), "%s", buf_str(&value));
		}
	buf_free(&value);
	free(body);
	return to;
}

static void
decode(const char *base64url, size_t n, struct buf *ret)
{
	struct buf text;

	buf_init(&text, 0);
	for (size_t i = 0; i < n; i++)
		buf_putc(&text, base64url[i] == '-' ? '+' : base64url[i] == '_' ? '/' : base64url[i]);
	while (text.len % 4 != 0)
		buf_putc(&text, '=');
	buf_init(ret, 0);
	CHECK(base64_decode(buf_span(&text), ret));
	buf_free(&text);
}

/* RSASSA-PKCS1-v1_5 with SHA-256 by the test's key. */
static void
check_signature(const char *jwt, size_t n_signed, const char *signature)
{
	psa_key_attributes_t a = psa_key_attributes_init();
	psa_key_id_t         id;
	struct buf           pem, der, sig;

	buf_init(&pem, 0);
	for (const char *p = strchr(TEST_KEY_PKCS1, '\n'); strncmp(p, "\n-", 2) != 0; p++)
		if (*p != '\n')
			buf_putc(&pem, *p);
	buf_init(&der, 0);
	CHECK(base64_decode(buf_span(&pem), &der));
	decode(signature, strlen(signature), &sig);
	psa_set_key_type(&a, PSA_KEY_TYPE_RSA_KEY_PAIR);
	psa_set_key_algorithm(&a, PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_SHA_256));
	psa_set_key_usage_flags(&a, PSA_KEY_USAGE_VERIFY_MESSAGE);
	CHECK(psa_import_key(&a, der.data, der.len, &id) == PSA_SUCCESS);
	CHECK(psa_verify_message(id, PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_SHA_256), (const uint8_t *)jwt, n_signed, sig.data, sig.len) ==
	    PSA_SUCCESS);
	psa_destroy_key(id);
	buf_free(&pem);
	buf_free(&der);
	buf_free(&sig);
}

/* The claims of a signed one; aud NULL: for the service itself. Returns its scope. */
const char *
google_check_claims(const char *jwt, const char *aud)
{
	static char scope[100];
	const char *dot = strchr(jwt, '.'), *dot2;
	struct buf  head, text;
	json_t     *header, *claims;
	json_int_t  iat, exp, now = (loop_wall(google.loop) + google.skew) / 1000;

	CHECK(dot != NULL && (dot2 = strchr(dot + 1, '.')) != NULL);
	check_signature(jwt, (size_t)(dot2 - jwt), dot2 + 1);
	decode(jwt, (size_t)(dot - jwt), &head);
	decode(dot + 1, (size_t)(dot2 - dot) - 1, &text);
	header = json_loads(buf_str(&head), 0, NULL);
	claims = json_loads(buf_str(&text), 0, NULL);
	CHECK_STR(json_string_value(json_object_get(header, "alg")), "RS256");
	CHECK_STR(json_string_value(json_object_get(header, "kid")), "0123abcd");
	CHECK_STR(json_string_value(json_object_get(claims, "iss")), GOOGLE_EMAIL);
	CHECK_STR(json_string_value(json_object_get(claims, "aud")), aud);
	CHECK_STR(json_string_value(json_object_get(claims, "sub")), aud == NULL ? GOOGLE_EMAIL : NULL);
	iat = json_integer_value(json_object_get(claims, "iat"));
	exp = json_integer_value(json_object_get(claims, "exp"));
	CHECK(exp - iat == 3600);
	if (google.skew == 0)
		CHECK(iat <= now && exp > now);
	snprintf(scope, sizeof(scope), "%s", json_string_value(json_object_get(claims, "scope")));
	json_decref(header);
	json_decref(claims);
	buf_free(&head);
	buf_free(&text);
	return scope;
}

/* "storage" or "cloud", whatever is said of them. */
const char *
google_scope_word(const char *scope)
{
	return strcmp(scope, GCS_SCOPE_STORAGE) == 0 ? "storage" : strcmp(scope, GCS_SCOPE_CLOUD) == 0 ? "cloud" : scope;
}

static void
issue(struct scripted_answer *a, const char *what, const char *scope)
{
	char text[300];

	snprintf(google.path, sizeof(google.path), "%s(%s)", what, google_scope_word(scope));
	snprintf(text, sizeof(text), "{\"access_token\":\"CANARY-%s-%u\",\"expires_in\":3599,\"token_type\":\"Bearer\"}", what, ++google.issued);
	say(a, 200, text);
}

static void
google_token(const struct scripted_request *rq, struct scripted_answer *a)
{
	const char *grant = form(rq, "grant_type");

	CHECK_STR(scripted_header(rq, "content-type"), URL_FORM_TYPE);
	if (strcmp(grant, "refresh_token") == 0) {
		CHECK_STR(form(rq, "client_id"), "cid.apps.googleusercontent.com");
		CHECK_STR(form(rq, "client_secret"), "CANARY+csec");
		CHECK_STR(form(rq, "refresh_token"), "1//CANARY");
		issue(a, "user", "-");
		return;
	}
	CHECK_STR(grant, "urn:ietf:params:oauth:grant-type:jwt-bearer");
	if (google.skew != 0) {
		google_check_claims(form(rq, "assertion"), "https://oauth2.googleapis.com/token");
		scripted_add_header(a, "Date", "Sun, 22 Nov 2026 00:04:03 GMT");
		say(a, 400, "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT\"}");
		return;
	}
	issue(a, "service", google_check_claims(form(rq, "assertion"), "https://oauth2.googleapis.com/token"));
}

static void
sts_token(const struct scripted_request *rq, struct scripted_answer *a)
{
	const char *type = form(rq, "subject_token_type"), *subject = form(rq, "subject_token");

	CHECK_STR(form(rq, "grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
	CHECK_STR(form(rq, "requested_token_type"), "urn:ietf:params:oauth:token-type:access_token");
	CHECK_STR(form(rq, "audience"), GOOGLE_POOL);
	if (strstr(type, "aws4_request") != NULL) {
		struct buf text;

		buf_init(&text, 0);
		CHECK(url_unescape(span_str(subject), true, &text));
		CHECK(strstr(buf_str(&text), "\"url\":\"https://sts.eu-west-3.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15\"") != NULL);
		CHECK(strstr(buf_str(&text), "/eu-west-3/sts/aws4_request, SignedHeaders=host;x-amz-date;") != NULL);
		CHECK(strstr(buf_str(&text), "{\"key\":\"x-goog-cloud-target-resource\",\"value\":\"" GOOGLE_POOL "\"}") != NULL);
		CHECK(strstr(buf_str(&text), "{\"key\":\"host\",\"value\":\"sts.eu-west-3.amazonaws.com\"}") != NULL);
		buf_free(&text);
	} else {
		CHECK_STR(subject, GOOGLE_SUBJECT);
	}
	issue(a, "sts", form(rq, "scope"));
}

/* With the token before, and what is asked for: "> GOOGLE_EMAIL [DELEGATE ...](SCOPE)". */
static void
iam_token(const struct scripted_request *rq, struct scripted_answer *a)
{
	char       *body = span_dup(rq->body), email[100], text[300], was[400];
	json_t     *o = json_loads(body, 0, NULL), *d;
	const char *auth = scripted_header(rq, "authorization");
	size_t      i, n;

	snprintf(was, sizeof(was), "%s", google.path);
	CHECK(auth != NULL && strncmp(auth, "Bearer CANARY-", 14) == 0);
	CHECK_STR(json_string_value(json_object_get(o, "lifetime")), "3600s");
	snprintf(email, sizeof(email), "%s", strrchr(rq->at.path, '/') + 1);
	*strchr(email, ':') = '\0';
	CHECK_STR(strrchr(rq->at.path, ':'), ":generateAccessToken");
	n = (size_t)snprintf(google.path, sizeof(google.path), "%.250s > %s", was, email);
	json_array_foreach(json_object_get(o, "delegates"), i, d)
		n += (size_t)snprintf(google.path + n, sizeof(google.path) - n, " by %s", json_string_value(d));
	snprintf(google.path + n, sizeof(google.path) - n, "(%s)", google_scope_word(json_string_value(json_array_get(json_object_get(o, "scope"), 0))));
	snprintf(text, sizeof(text), "{\"accessToken\":\"CANARY-%u\",\"expireTime\":\"2026-11-22T02:04:03Z\"}", ++google.issued);
	if (scripted_header(rq, "x-goog-user-project") != NULL)
		snprintf(google.project, sizeof(google.project), "iam:%s", scripted_header(rq, "x-goog-user-project"));
	say(a, 200, text);
	json_decref(o);
	free(body);
}

static void
other_token(const struct scripted_request *rq, struct scripted_answer *a)
{
	CHECK_STR(scripted_header(rq, "metadata"), "True");
	CHECK(rq->no_proxy == google.direct);
	say(a, 200, "{\"access_token\":\"" GOOGLE_SUBJECT "\"}");
}

static void
metadata_token(const struct scripted_request *rq, struct scripted_answer *a)
{
	char *scope = scripted_query(rq, "scopes");

	CHECK_STR(scripted_header(rq, "metadata-flavor"), "Google");
	CHECK(rq->no_proxy);
	scripted_add_header(a, "Metadata-Flavor", "Google");
	if (!google.silent)
		issue(a, "machine", scope);
	free(scope);
}

static void
store(const struct scripted_request *rq, struct scripted_answer *a)
{
	const char *auth = scripted_header(rq, "authorization"), *project = scripted_header(rq, "x-goog-user-project");

	CHECK(auth != NULL && strncmp(auth, "Bearer ", 7) == 0);
	snprintf(google.token, sizeof(google.token), "%.1990s", auth + 7);
	if (project != NULL)
		snprintf(google.project, sizeof(google.project), "%s", project);
	if (google.refused > 0) {
		google.refused--;
		say(a, 401, "{\"error\":{\"code\":401,\"message\":\"Invalid Credentials\",\"errors\":[{\"reason\":\"authError\"}]}}");
		return;
	}
	scripted_add_header(a, "X-Goog-Generation", "7");
	say(a, 200, "{}");
}

static void
answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	const char *host = rq->at.host;

	(void)arg;
	if (strncmp(host, "storage.", 8) == 0)
		store(rq, a);
	else if (google.down != 0)
		say(a, google.down, google.down >= 500 ? "<html>" : "{\"error\":\"invalid_grant\",\"error_description\":\"1//CANARY\"}");
	else if (strcmp(rq->url, "https://oauth2.googleapis.com/token") == 0)
		google_token(rq, a);
	else if (strcmp(rq->url, "https://sts.googleapis.com/v1/token") == 0)
		sts_token(rq, a);
	else if (strcmp(host, "iamcredentials.googleapis.com") == 0)
		iam_token(rq, a);
	else if (strcmp(rq->at.path, "/metadata/identity") == 0)
		other_token(rq, a);
	else if (strstr(rq->at.path, "/computeMetadata/") != NULL)
		metadata_token(rq, a);
	else
		test_fail(__FILE__, __LINE__, "nobody knows %s %s", rq->method, rq->url);
}

/* ---------------------------------------------------------------- the rig */

void
google_begin(void)
{
	struct json_writer w;
	struct buf         text;

	memset(&google, 0, sizeof(google));
	CHECK_OK(crypto_init(&google.err), google.err);
	google.loop = loop_new_virtual(7, GOOGLE_WALL);
	log_setup(LOG_ERROR, false, loop_clock(google.loop));
	google.work = work_new(google.loop);
	google.http = scripted_http_new(google.loop);
	scripted_handle(google.http, answer, NULL);
	google.vars = map_new();
	google.files = map_new();
	google_var("HOME", "/home/u");
	google.source = (struct conf_source){ .env = rig_env, .file = rig_file };
	google.env = (struct provider_env){ .loop = google.loop, .work = google.work, .http = scripted_http_client(google.http), .source = &google.source,
		.agent_name = "edge-7" };
	buf_init(&text, 0);
	json_begin(&w, &text);
	json_obj(&w);
	json_kv_str(&w, "type", "service_account");
	json_kv_str(&w, "project_id", "proj-1");
	json_kv_str(&w, "private_key_id", "0123abcd");
	json_kv_str(&w, "private_key", TEST_KEY_PKCS8);
	json_kv_str(&w, "client_email", GOOGLE_EMAIL);
	json_kv_str(&w, "token_uri", "https://oauth2.googleapis.com/token");
	json_obj_end(&w);
	snprintf(google.key, sizeof(google.key), "%s", buf_str(&text));
	buf_free(&text);
}

enum err_code
google_try(const char *args)
{
	char *text = xasprintf("backend \"gcs\" \"b\" {\n  bucket = \"acme\"\n%s}\n", args);

	if (conf_parse("t.hcl", "/etc/sf", span_str(text), false, &google.source, &google.conf, &google.err) == ERR_OK &&
	    provider_open(&google.env, google.conf, &conf_root(google.conf)->blocks[0], &google.b, &google.err) == ERR_OK)
		err_clear(&google.err);
	free(text);
	CHECK(strstr(google.err.msg, "CANARY") == NULL && strstr(google.err.msg, "MIIEv") == NULL);
	return google.err.code;
}

void
google_begun(const char *args)
{
	CHECK_OK(google_try(args), google.err);
}

static void
google_done(struct op *op, void *arg)
{
	google.err = op->err;
	*(bool *)arg = true;
	op_free(op);
}

enum err_code
google_run_cancelled(struct op *op, unsigned turns)
{
	unsigned turn = 0;
	bool     ended = false;

	op_start(op, google_done, &ended);
	while (!ended) {
		CHECK(loop_turn(google.loop, false));
		if (++turn == turns && !ended)
			op_cancel(op);
	}
	CHECK(strstr(google.err.msg, "CANARY") == NULL && strstr(google.err.hint, "CANARY") == NULL);
	return google.err.code;
}

enum err_code
google_run(struct op *op)
{
	return google_run_cancelled(op, 0);
}

enum err_code
google_get(void)
{
	struct snapshot s = { .body = NULL };
	enum err_code   rc = google_run(provider_get(google.b, &(struct state_ref){ "a.tfstate" }, NULL, &s));

	snapshot_free(&s);
	return rc;
}

void
google_end(void)
{
	if (google.b != NULL)
		provider_close(google.b);
	while (loop_turn(google.loop, false))
		continue;
	conf_free(google.conf);
	map_free(google.vars);
	map_free(google.files);
	scripted_http_free(google.http);
	work_free(google.work);
	loop_free(google.loop);
}
