/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <psa/crypto.h>
#include <stdlib.h>

#include "../../lib/scripted_http.h"
#include "../../lib/test.h"
#include "../../lib/test_key.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "provider/gcs/gcs_cred.h"

/*
 * Signing in: a whole backend in front of issuers that check what they get: signature, claims, secrets, the token before. What the
 * store is sent at last says which way was taken. CANARY is part of every secret, and never of an error.
 */
#define WALL     ((int64_t)1795309443000)
#define MINUTE   ((int64_t)60 * 1000)
#define EMAIL    "tf-agent@proj-1.iam.gserviceaccount.com"
#define TARGET   "target@proj-1.iam.gserviceaccount.com"
#define MIDDLE   "middle@proj-1.iam.gserviceaccount.com"
#define IAM      "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
#define POOL     "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/prov"
#define SUBJECT  "CANARY.subject.c2ln"
#define ADC      "/home/u/.config/gcloud/application_default_credentials.json"

static struct {
	struct loop          *loop;
	struct work          *work;
	struct scripted_http *http;
	struct map           *vars, *files;
	struct conf_source    source;
	struct provider_env   env;
	struct conf          *conf;
	struct backend       *b;
	struct err            err;
	unsigned              issued;      /* by whom ever */
	unsigned              refused;     /* 401s that the store still has */
	int                   down;        /* status of all issuers; 0: they work */
	int64_t               skew;        /* of their clock */
	bool                  silent;      /* no metadata server */
	bool                  direct;      /* another issuer is asked past any proxy */
	char                  token[2000], project[80]; /* what the store was sent */
	char                  path[400];   /* of tokens: "service(SCOPE) > target" */
	char                  key[4096];   /* JSON of a service account */
} r;

static const char *
rig_env(void *arg, const char *name)
{
	(void)arg;
	return map_get(r.vars, span_str(name));
}

static enum err_code
rig_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	const char *text = map_get(r.files, span_str(path));

	(void)arg;
	if (text == NULL)
		return err_set(reterr, ERR_CONFIG, ENOENT, "%s: there is no such file", path);
	buf_puts(ret, text);
	return ERR_OK;
}

static void
var(const char *name, const char *value)
{
	map_put(r.vars, span_str(name), (void *)(uintptr_t)value);
}

static void
file(const char *path, const char *text)
{
	map_put(r.files, span_str(path), (void *)(uintptr_t)text);
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
static const char *
check_claims(const char *jwt, const char *aud)
{
	static char scope[100];
	const char *dot = strchr(jwt, '.'), *dot2;
	struct buf  head, text;
	json_t     *header, *claims;
	json_int_t  iat, exp, now = (loop_wall(r.loop) + r.skew) / 1000;

	CHECK(dot != NULL && (dot2 = strchr(dot + 1, '.')) != NULL);
	check_signature(jwt, (size_t)(dot2 - jwt), dot2 + 1);
	decode(jwt, (size_t)(dot - jwt), &head);
	decode(dot + 1, (size_t)(dot2 - dot) - 1, &text);
	header = json_loads(buf_str(&head), 0, NULL);
	claims = json_loads(buf_str(&text), 0, NULL);
	CHECK_STR(json_string_value(json_object_get(header, "alg")), "RS256");
	CHECK_STR(json_string_value(json_object_get(header, "kid")), "0123abcd");
	CHECK_STR(json_string_value(json_object_get(claims, "iss")), EMAIL);
	CHECK_STR(json_string_value(json_object_get(claims, "aud")), aud);
	CHECK_STR(json_string_value(json_object_get(claims, "sub")), aud == NULL ? EMAIL : NULL);
	iat = json_integer_value(json_object_get(claims, "iat"));
	exp = json_integer_value(json_object_get(claims, "exp"));
	CHECK(exp - iat == 3600);
	if (r.skew == 0)
		CHECK(iat <= now && exp > now);
	snprintf(scope, sizeof(scope), "%s", json_string_value(json_object_get(claims, "scope")));
	json_decref(header);
	json_decref(claims);
	buf_free(&head);
	buf_free(&text);
	return scope;
}

/* "storage" or "cloud", whatever is said of them. */
static const char *
scope_word(const char *scope)
{
	return strcmp(scope, GCS_SCOPE_STORAGE) == 0 ? "storage" : strcmp(scope, GCS_SCOPE_CLOUD) == 0 ? "cloud" : scope;
}

static void
issue(struct scripted_answer *a, const char *what, const char *scope)
{
	char text[300];

	snprintf(r.path, sizeof(r.path), "%s(%s)", what, scope_word(scope));
	snprintf(text, sizeof(text), "{\"access_token\":\"CANARY-%s-%u\",\"expires_in\":3599,\"token_type\":\"Bearer\"}", what, ++r.issued);
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
	if (r.skew != 0) {
		check_claims(form(rq, "assertion"), "https://oauth2.googleapis.com/token");
		scripted_add_header(a, "Date", "Sun, 22 Nov 2026 00:04:03 GMT");
		say(a, 400, "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT\"}");
		return;
	}
	issue(a, "service", check_claims(form(rq, "assertion"), "https://oauth2.googleapis.com/token"));
}

static void
sts_token(const struct scripted_request *rq, struct scripted_answer *a)
{
	const char *type = form(rq, "subject_token_type"), *subject = form(rq, "subject_token");

	CHECK_STR(form(rq, "grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
	CHECK_STR(form(rq, "requested_token_type"), "urn:ietf:params:oauth:token-type:access_token");
	CHECK_STR(form(rq, "audience"), POOL);
	if (strstr(type, "aws4_request") != NULL) {
		struct buf text;

		buf_init(&text, 0);
		CHECK(url_unescape(span_str(subject), true, &text));
		CHECK(strstr(buf_str(&text), "\"url\":\"https://sts.eu-west-3.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15\"") != NULL);
		CHECK(strstr(buf_str(&text), "/eu-west-3/sts/aws4_request, SignedHeaders=host;x-amz-date;") != NULL);
		CHECK(strstr(buf_str(&text), "{\"key\":\"x-goog-cloud-target-resource\",\"value\":\"" POOL "\"}") != NULL);
		CHECK(strstr(buf_str(&text), "{\"key\":\"host\",\"value\":\"sts.eu-west-3.amazonaws.com\"}") != NULL);
		buf_free(&text);
	} else {
		CHECK_STR(subject, SUBJECT);
	}
	issue(a, "sts", form(rq, "scope"));
}

/* With the token before, and what is asked for: "> EMAIL [DELEGATE ...](SCOPE)". */
static void
iam_token(const struct scripted_request *rq, struct scripted_answer *a)
{
	char       *body = span_dup(rq->body), email[100], text[300], was[400];
	json_t     *o = json_loads(body, 0, NULL), *d;
	const char *auth = scripted_header(rq, "authorization");
	size_t      i, n;

	snprintf(was, sizeof(was), "%s", r.path);
	CHECK(auth != NULL && strncmp(auth, "Bearer CANARY-", 14) == 0);
	CHECK_STR(json_string_value(json_object_get(o, "lifetime")), "3600s");
	snprintf(email, sizeof(email), "%s", strrchr(rq->at.path, '/') + 1);
	*strchr(email, ':') = '\0';
	CHECK_STR(strrchr(rq->at.path, ':'), ":generateAccessToken");
	n = (size_t)snprintf(r.path, sizeof(r.path), "%.250s > %s", was, email);
	json_array_foreach(json_object_get(o, "delegates"), i, d)
		n += (size_t)snprintf(r.path + n, sizeof(r.path) - n, " by %s", json_string_value(d));
	snprintf(r.path + n, sizeof(r.path) - n, "(%s)", scope_word(json_string_value(json_array_get(json_object_get(o, "scope"), 0))));
	snprintf(text, sizeof(text), "{\"accessToken\":\"CANARY-%u\",\"expireTime\":\"2026-11-22T02:04:03Z\"}", ++r.issued);
	if (scripted_header(rq, "x-goog-user-project") != NULL)
		snprintf(r.project, sizeof(r.project), "iam:%s", scripted_header(rq, "x-goog-user-project"));
	say(a, 200, text);
	json_decref(o);
	free(body);
}

static void
other_token(const struct scripted_request *rq, struct scripted_answer *a)
{
	CHECK_STR(scripted_header(rq, "metadata"), "True");
	CHECK(rq->no_proxy == r.direct);
	say(a, 200, "{\"access_token\":\"" SUBJECT "\"}");
}

static void
metadata_token(const struct scripted_request *rq, struct scripted_answer *a)
{
	char *scope = scripted_query(rq, "scopes");

	CHECK_STR(scripted_header(rq, "metadata-flavor"), "Google");
	CHECK(rq->no_proxy);
	scripted_add_header(a, "Metadata-Flavor", "Google");
	if (!r.silent)
		issue(a, "machine", scope);
	free(scope);
}

static void
store(const struct scripted_request *rq, struct scripted_answer *a)
{
	const char *auth = scripted_header(rq, "authorization"), *project = scripted_header(rq, "x-goog-user-project");

	CHECK(auth != NULL && strncmp(auth, "Bearer ", 7) == 0);
	snprintf(r.token, sizeof(r.token), "%.1990s", auth + 7);
	if (project != NULL)
		snprintf(r.project, sizeof(r.project), "%s", project);
	if (r.refused > 0) {
		r.refused--;
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
	else if (r.down != 0)
		say(a, r.down, r.down >= 500 ? "<html>" : "{\"error\":\"invalid_grant\",\"error_description\":\"1//CANARY\"}");
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

static void
begin(void)
{
	struct json_writer w;
	struct buf         text;

	memset(&r, 0, sizeof(r));
	CHECK_OK(crypto_init(&r.err), r.err);
	r.loop = loop_new_virtual(7, WALL);
	log_setup(LOG_ERROR, false, loop_clock(r.loop));
	r.work = work_new(r.loop);
	r.http = scripted_http_new(r.loop);
	scripted_handle(r.http, answer, NULL);
	r.vars = map_new();
	r.files = map_new();
	var("HOME", "/home/u");
	r.source = (struct conf_source){ rig_env, rig_file, NULL };
	r.env = (struct provider_env){ .loop = r.loop, .work = r.work, .http = scripted_http_client(r.http), .source = &r.source,
		.agent_name = "edge-7" };
	buf_init(&text, 0);
	json_begin(&w, &text);
	json_obj(&w);
	json_kv_str(&w, "type", "service_account");
	json_kv_str(&w, "project_id", "proj-1");
	json_kv_str(&w, "private_key_id", "0123abcd");
	json_kv_str(&w, "private_key", TEST_KEY_PKCS8);
	json_kv_str(&w, "client_email", EMAIL);
	json_kv_str(&w, "token_uri", "https://oauth2.googleapis.com/token");
	json_obj_end(&w);
	snprintf(r.key, sizeof(r.key), "%s", buf_str(&text));
	buf_free(&text);
}

static enum err_code
try(const char *args)
{
	char *text = xasprintf("backend \"gcs\" \"b\" {\n  bucket = \"acme\"\n%s}\n", args);

	if (conf_parse("t.hcl", "/etc/sf", span_str(text), false, &r.source, &r.conf, &r.err) == ERR_OK &&
	    provider_open(&r.env, r.conf, &conf_root(r.conf)->blocks[0], &r.b, &r.err) == ERR_OK)
		err_clear(&r.err);
	free(text);
	CHECK(strstr(r.err.msg, "CANARY") == NULL && strstr(r.err.msg, "MIIEv") == NULL);
	return r.err.code;
}

static void
begun(const char *args)
{
	CHECK_OK(try(args), r.err);
}

static void
done(struct op *op, void *arg)
{
	r.err = op->err;
	*(bool *)arg = true;
	op_free(op);
}

static enum err_code
run(struct op *op)
{
	bool ended = false;

	op_start(op, done, &ended);
	while (!ended)
		CHECK(loop_turn(r.loop, false));
	CHECK(strstr(r.err.msg, "CANARY") == NULL && strstr(r.err.hint, "CANARY") == NULL);
	return r.err.code;
}

static enum err_code
get(void)
{
	struct snapshot s = { .body = NULL };
	enum err_code   rc = run(provider_get(r.b, &(struct state_ref){ "a.tfstate" }, NULL, &s));

	snapshot_free(&s);
	return rc;
}

static void
end(void)
{
	if (r.b != NULL)
		provider_close(r.b);
	while (loop_turn(r.loop, false))
		continue;
	conf_free(r.conf);
	map_free(r.vars);
	map_free(r.files);
	scripted_http_free(r.http);
	work_free(r.work);
	loop_free(r.loop);
}

/* A read by this way, whose token came along path. */
static void
expect(const char *args, const char *path)
{
	begun(args);
	if (get() != ERR_OK)
		test_fail(__FILE__, __LINE__, "%s; %s", r.err.msg, r.err.hint);
	CHECK_STR(r.path, path);
	end();
}

static const char user[] = "{\"client_id\":\"cid.apps.googleusercontent.com\",\"client_secret\":\"CANARY+csec\",\"refresh_token\":\"1//CANARY\","
    "\"type\":\"authorized_user\",\"quota_project_id\":\"payer\"}";

#define FEDERATED(more) "{\"type\":\"external_account\",\"audience\":\"" POOL "\",\"subject_token_type\":" \
    "\"urn:ietf:params:oauth:token-type:jwt\",\"token_url\":\"https://sts.googleapis.com/v1/token\"," more "}"
#define AS_EMAIL "\"service_account_impersonation_url\":\"" IAM EMAIL ":generateAccessToken\","

/* ---------------------------------------------------------------- the order */

static void
takes_what_comes_first(void)
{
	begin();
	file("/etc/sf/key.json", r.key);
	var("GOOGLE_CREDENTIALS", user);
	var("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere");
	begun("  access_token = \"CANARY-given\"\n  credentials = \"key.json\"\n");
	CHECK_OK(get(), r.err);
	CHECK_STR(r.token, "CANARY-given");
	CHECK_U64(r.issued, 0);
	end();
	begin();
	file("/etc/sf/key.json", r.key);
	var("GOOGLE_CREDENTIALS", user);
	expect("  credentials = \"key.json\"\n", "service(storage)");
	begin();
	file("/etc/sf/key.json", r.key);
	var("GOOGLE_BACKEND_CREDENTIALS", "key.json");
	var("GOOGLE_CREDENTIALS", user);
	expect("", "service(storage)");
	begin();
	var("GOOGLE_CREDENTIALS", user);
	var("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere");
	expect("", "user(-)");
	begin();
	file("/run/adc.json", r.key);
	file(ADC, user);
	var("GOOGLE_APPLICATION_CREDENTIALS", "/run/adc.json");
	expect("", "service(storage)");
	begin();
	file(ADC, user);
	expect("", "user(-)");
	begin();
	expect("", "machine(storage)");
	begin();
	var("GOOGLE_OAUTH_ACCESS_TOKEN", "CANARY-var");
	begun("");
	CHECK_OK(get(), r.err);
	CHECK_STR(r.token, "CANARY-var");
	end();
}

static void
says_what_is_wrong_with_them(void)
{
	static const struct {
		const char *json, *says;
	} rows[] = { { "CANARY", "neither JSON nor a file" }, { "{\"CANARY\":1", "neither JSON" }, { "{}", "without a type" },
		{ "{\"type\":\"service_account\"}", "without client_email" }, { "{\"type\":\"service_account\",\"client_email\":\"a\"}",
		    "without private_key" },
		{ "{\"type\":\"service_account\",\"client_email\":\"a\",\"private_key\":\"CANARY\"}", "no private key in PEM form" },
		{ "{\"type\":\"authorized_user\",\"client_id\":\"a\"}", "without client_secret" },
		{ "{\"type\":\"gdch_service_account\"}", "type \"gdch_service_account\": expected" },
		{ "{\"type\":\"external_account\",\"audience\":\"a\"}", "without subject_token_type" },
		{ FEDERATED("\"credential_source\":{}"), "without a file, url or environment_id" },
		{ FEDERATED("\"credential_source\":{\"executable\":{\"command\":\"/bin/CANARY\"}}"), "programs are not run" },
		{ FEDERATED("\"credential_source\":{\"certificate\":{}}"), "client certificates" },
		{ FEDERATED("\"credential_source\":{\"file\":\"/t\",\"format\":{\"type\":\"xml\"}}"), "\"text\" or \"json\"" },
		{ FEDERATED("\"credential_source\":{\"file\":\"/t\",\"format\":{\"type\":\"json\"}}"), "subject_token_field_name" },
		{ FEDERATED("\"credential_source\":{\"environment_id\":\"aws2\"}"), "\"aws1\"" },
		{ FEDERATED("\"token_url\":\"http://sts.example/\",\"credential_source\":{\"file\":\"/t\"}"), "token_url: expected an https" },
		{ "{\"type\":\"impersonated_service_account\"}", "without service_account_impersonation_url" },
		{ "{\"type\":\"authorized_user\",\"client_id\":\"a\",\"client_secret\":\"b\",\"refresh_token\":\"c\",\"universe_domain\":\"other.example\"}",
		    "of other.example, the block is of googleapis.com" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		var("GOOGLE_CREDENTIALS", rows[i].json);
		if (try("") != ERR_CONFIG || strstr(r.err.msg, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i, r.err.msg);
		end();
	}
	begin();
	var("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json");
	CHECK_U64(try(""), ERR_CONFIG);
	CHECK(strstr(r.err.msg, "GOOGLE_APPLICATION_CREDENTIALS: there is no file /nowhere.json") != NULL);
	end();
	begin();
	r.silent = true;
	begun("");
	CHECK_U64(get(), ERR_AUTH);
	CHECK(strstr(r.err.msg, "no credentials") != NULL && strstr(r.err.hint, "application-default login") != NULL);
	end();
}

/* ---------------------------------------------------------------- other accounts */

static void
acts_as_other_accounts(void)
{
	static const char nested[] = "{\"type\":\"impersonated_service_account\",\"delegates\":[\"" MIDDLE "\"],\"service_account_impersonation_url\":"
	    "\"" IAM TARGET ":generateAccessToken\",\"source_credentials\":{\"client_id\":\"cid.apps.googleusercontent.com\",\"client_secret\":"
	    "\"CANARY+csec\",\"refresh_token\":\"1//CANARY\",\"type\":\"authorized_user\"},\"quota_project_id\":\"payer\"}";

	begin();
	var("GOOGLE_CREDENTIALS", r.key);
	expect("  impersonate_service_account = \"" TARGET "\"\n", "service(cloud) > " TARGET "(storage)");
	begin();
	var("GOOGLE_CREDENTIALS", r.key);
	var("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", "other@p");
	var("GOOGLE_BACKEND_IMPERSONATE_SERVICE_ACCOUNT", TARGET);
	expect("  impersonate_service_account_delegates = [\"" MIDDLE "\", \"projects/-/serviceAccounts/b@p\"]\n", "service(cloud) > " TARGET
	    " by projects/-/serviceAccounts/" MIDDLE " by projects/-/serviceAccounts/b@p(storage)");
	begin();
	begun("  access_token = \"CANARY-given\"\n  impersonate_service_account = \"" TARGET "\"\n");
	CHECK_OK(get(), r.err);
	CHECK_STR(r.path, " > " TARGET "(storage)");
	end();
	begin();
	file("/f.json", nested);
	var("GOOGLE_APPLICATION_CREDENTIALS", "/f.json");
	expect("", "user(-) > " TARGET " by projects/-/serviceAccounts/" MIDDLE "(storage)");
	begin();
	file("/f.json", nested);
	var("GOOGLE_APPLICATION_CREDENTIALS", "/f.json");
	expect("  impersonate_service_account = \"last@p\"\n", "user(-) > " TARGET " by projects/-/serviceAccounts/" MIDDLE
	    "(cloud) > last@p(storage)");
}

static void
says_who_pays(void)
{
	begin();
	file(ADC, user);
	begun("");
	CHECK_OK(get(), r.err);
	CHECK_STR(r.project, "payer");
	end();
	begin();
	file(ADC, user);
	begun("  impersonate_service_account = \"" TARGET "\"\n");
	CHECK_OK(get(), r.err);
	CHECK_STR(r.project, "iam:payer"); /* the user's project for acting as another; that one pays for itself */
	end();
	begin();
	var("GOOGLE_CREDENTIALS", r.key);
	var("GOOGLE_CLOUD_QUOTA_PROJECT", "mine");
	begun("");
	CHECK_OK(get(), r.err);
	CHECK_STR(r.project, "mine");
	end();
}

/* ---------------------------------------------------------------- federation */

static void
exchanges_a_token_of_a_file(void)
{
	static const char text[] = FEDERATED("\"credential_source\":{\"file\":\"/var/run/token\"}");
	static const char json[] = FEDERATED(AS_EMAIL "\"credential_source\":{\"file\":\"/var/run/token\",\"format\":{\"type\":\"json\","
	    "\"subject_token_field_name\":\"id_token\"}}");

	begin();
	file("/var/run/token", SUBJECT "\n");
	var("GOOGLE_CREDENTIALS", text);
	expect("", "sts(storage)");
	begin();
	file("/var/run/token", "{\"id_token\":\"" SUBJECT "\"}");
	var("GOOGLE_CREDENTIALS", json);
	expect("", "sts(cloud) > " EMAIL "(storage)");
	begin();
	var("GOOGLE_CREDENTIALS", text);
	begun("");
	CHECK_U64(get(), ERR_AUTH);
	CHECK(strstr(r.err.msg, "/var/run/token is not there") != NULL && r.err.hint[0] != '\0');
	end();
	begin();
	file("/var/run/token", "{\"other\":\"CANARY\"}");
	var("GOOGLE_CREDENTIALS", json);
	begun("");
	CHECK_U64(get(), ERR_AUTH);
	CHECK(strstr(r.err.msg, "holds none as its member id_token") != NULL);
	end();
}

/* Of the machine's own service, past any proxy, or of another issuer. */
static void
exchanges_a_token_of_a_url(void)
{
	static const struct {
		const char *json;
		bool        direct;
	} rows[] = { { FEDERATED("\"credential_source\":{\"url\":\"http://169.254.169.254/metadata/identity\",\"headers\":{\"Metadata\":\"True\"},"
	    "\"format\":{\"type\":\"json\",\"subject_token_field_name\":\"access_token\"}}"), true },
		{ FEDERATED("\"credential_source\":{\"url\":\"https://ci.example/metadata/identity\",\"headers\":{\"Metadata\":\"True\"},"
		    "\"format\":{\"type\":\"json\",\"subject_token_field_name\":\"access_token\"}}"), false } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		r.direct = rows[i].direct;
		var("GOOGLE_CREDENTIALS", rows[i].json);
		expect("", "sts(storage)");
	}
	begin();
	var("GOOGLE_CREDENTIALS", FEDERATED("\"credential_source\":{\"url\":\"https://ci.example/metadata/identity\"}"));
	begun("");
	scripted_expect(r.http, "GET", "https://ci.example/metadata/identity", 404, NULL, "nothing");
	CHECK_U64(get(), ERR_AUTH);
	CHECK_STR(r.err.msg, "b: the token to exchange: it answers 404");
	end();
}

#define AWS FEDERATED("\"subject_token_type\":\"urn:ietf:params:aws:token-type:aws4_request\",\"credential_source\":{\"environment_id\":\"aws1\"," \
    "\"region_url\":\"http://169.254.169.254/latest/meta-data/placement/availability-zone\",\"url\":" \
    "\"http://169.254.169.254/latest/meta-data/iam/security-credentials\",\"regional_cred_verification_url\":" \
    "\"https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15\"}")

static void
exchanges_an_identity_of_aws(void)
{
	begin();
	var("GOOGLE_CREDENTIALS", AWS);
	var("AWS_ACCESS_KEY_ID", "AKIDENV");
	var("AWS_SECRET_ACCESS_KEY", "CANARY");
	var("AWS_REGION", "eu-west-3");
	expect("", "sts(storage)");
	begin();
	var("GOOGLE_CREDENTIALS", AWS);
	begun("");
	scripted_expect(r.http, "PUT", "http://169.254.169.254/latest/api/token", 200, NULL, "session==");
	scripted_expect(r.http, "GET", "http://169.254.169.254/latest/meta-data/placement/availability-zone", 200, NULL, "eu-west-3b\n");
	scripted_expect(r.http, "PUT", "http://169.254.169.254/latest/api/token", 200, NULL, "session==");
	scripted_expect(r.http, "GET", "http://169.254.169.254/latest/meta-data/iam/security-credentials/", 200, NULL, "my-role");
	scripted_expect(r.http, "GET", "http://169.254.169.254/latest/meta-data/iam/security-credentials/my-role", 200, NULL,
	    "{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA\",\"SecretAccessKey\":\"CANARY\",\"Token\":\"CANARY\","
	    "\"Expiration\":\"2026-11-22T06:00:00Z\"}");
	CHECK_OK(get(), r.err);
	CHECK_STR(r.path, "sts(storage)");
	scripted_http_check(r.http);
	end();
	begin();
	var("GOOGLE_CREDENTIALS", FEDERATED("\"credential_source\":{\"environment_id\":\"aws1\",\"regional_cred_verification_url\":\"https://x\"}"));
	begun("");
	CHECK_U64(get(), ERR_CONFIG);
	CHECK(strstr(r.err.msg, "no credentials of AWS") != NULL && strstr(r.err.hint, "AWS_ACCESS_KEY_ID") != NULL);
	end();
}

/* ---------------------------------------------------------------- other clouds, the machine */

static void
goes_to_the_cloud_of_the_block(void)
{
	char key[4200];

	begin();
	snprintf(key, sizeof(key), "{\"universe_domain\":\"cloud.example\",%s", r.key + 1);
	var("GOOGLE_CREDENTIALS", key);
	begun("  universe_domain = \"cloud.example\"\n");
	CHECK_OK(get(), r.err);
	CHECK_STR(scope_word(check_claims(r.token, NULL)), "storage"); /* the signed claim itself */
	CHECK_U64(r.issued, 0);
	CHECK(strstr(scripted_http_trace(r.http), "https://storage.cloud.example/") != NULL);
	CHECK(strstr(r.b->where, "cloud.example") != NULL);
	end();
	begin();
	CHECK_U64(try("  universe_domain = \"x/y?\"\n"), ERR_CONFIG);
	end();
}

static void
asks_the_machine(void)
{
	begin();
	var("GCE_METADATA_HOST", "127.0.0.1:8080");
	begun("");
	CHECK_OK(get(), r.err);
	CHECK(strstr(scripted_http_trace(r.http), "http://127.0.0.1:8080/computeMetadata/v1/instance/service-accounts/default/token?scopes=") != NULL);
	end();
	begin();
	begun("");
	scripted_expect(r.http, "GET", "/computeMetadata/", 200, NULL, "{\"access_token\":\"CANARY\"}");
	CHECK_U64(get(), ERR_AUTH); /* another cloud's service at the same address */
	CHECK(strstr(r.err.msg, "something else answers there") != NULL);
	end();
	begin();
	begun("");
	scripted_expect(r.http, "GET", "/computeMetadata/", 404, "Metadata-Flavor: Google", "none");
	CHECK_U64(get(), ERR_AUTH);
	CHECK(strstr(r.err.hint, "no service account") != NULL);
	end();
}

/* ---------------------------------------------------------------- refusals */

static void
says_why_it_is_refused(void)
{
	begin();
	var("GOOGLE_CREDENTIALS", user);
	r.down = 400;
	begun("");
	CHECK_U64(get(), ERR_AUTH);
	CHECK_STR(r.err.msg, "b: a token for the login of gcloud: it answers 400");
	CHECK(strstr(r.err.hint, "gcloud auth application-default login") != NULL);
	end();
	begin();
	var("GOOGLE_CREDENTIALS", r.key);
	r.down = 503;
	begun("");
	CHECK_U64(get(), ERR_BUSY);
	end();
	begin();
	var("GOOGLE_CREDENTIALS", r.key);
	begun("  impersonate_service_account = \"" TARGET "\"\n");
	scripted_expect(r.http, "POST", "https://oauth2.googleapis.com/token", 200, NULL, "{\"access_token\":\"CANARY-t\",\"expires_in\":3599}");
	scripted_expect(r.http, "POST", IAM TARGET ":generateAccessToken", 403, NULL, "{\"error\":{\"code\":403,\"message\":\"Permission "
	    "'iam.serviceAccounts.getAccessToken' denied\",\"status\":\"PERMISSION_DENIED\"}}");
	CHECK_U64(get(), ERR_AUTH);
	CHECK(strstr(r.err.msg, "acting as service account " TARGET ": it answers 403, PERMISSION_DENIED") != NULL);
	CHECK(strstr(r.err.hint, "Service Account Token Creator on " TARGET) != NULL);
	end();
	begin();
	var("GOOGLE_CREDENTIALS", r.key);
	r.skew = -60 * MINUTE;
	begun("");
	CHECK_U64(get(), ERR_AUTH);
	CHECK_STR(r.err.hint, "the clock here is 60 min fast: set it, e.g. by NTP");
	end();
}

/* ---------------------------------------------------------------- staying fresh */

static void
pass(int64_t ms)
{
	run(op_sleep(r.loop, ms));
}

struct many {
	size_t          n;
	struct snapshot got[20];
};

static struct op *
next_get(void *arg)
{
	struct many *m = arg;

	return m->n == ARRAY_LEN(m->got) ? NULL : provider_get(r.b, &(struct state_ref){ "a.tfstate" }, NULL, &m->got[m->n++]);
}

static void
fetches_once_for_many_and_renews_beside_them(void)
{
	struct many m = { .n = 0 };
	char        first[2000];

	begin();
	var("GOOGLE_CREDENTIALS", r.key);
	begun("");
	CHECK_OK(run(op_each_of(r.loop, next_get, NULL, &m, 0)), r.err);
	for (size_t i = 0; i < ARRAY_LEN(m.got); i++)
		snapshot_free(&m.got[i]);
	CHECK_U64(r.issued, 1);
	CHECK_U64(r.b->requests, 20);
	snprintf(first, sizeof(first), "%s", r.token);
	pass(50 * MINUTE);
	CHECK_OK(get(), r.err);
	CHECK_U64(r.issued, 1);
	pass(6 * MINUTE);
	CHECK_OK(get(), r.err);
	CHECK_STR(r.token, first); /* the next one is fetched beside it */
	pass(1000);
	CHECK_OK(get(), r.err);
	CHECK_U64(r.issued, 2);
	CHECK(strcmp(r.token, first) != 0);
	end();
}

static void
renews_once_what_the_store_refuses(void)
{
	begin();
	var("GOOGLE_CREDENTIALS", r.key);
	begun("");
	CHECK_OK(get(), r.err);
	r.refused = 1;
	CHECK_OK(get(), r.err);
	CHECK_U64(r.issued, 2);
	r.refused = 2;
	CHECK_U64(get(), ERR_AUTH);
	CHECK_U64(r.issued, 3);
	CHECK(strstr(r.err.msg, "credentials, " EMAIL) != NULL && strstr(r.err.hint, "refused too") != NULL);
	end();
	begin();
	r.refused = 1;
	begun("  access_token = \"CANARY-given\"\n");
	CHECK_U64(get(), ERR_AUTH);
	CHECK_U64(r.b->requests, 1);
	CHECK(strstr(r.err.hint, "renew it") != NULL);
	end();
}

static void
reads_a_rotated_key(void)
{
	begin();
	file("/etc/sf/key.json", user);
	begun("  credentials = \"key.json\"\n");
	CHECK_OK(get(), r.err);
	CHECK_STR(r.path, "user(-)");
	file("/etc/sf/key.json", r.key);
	r.refused = 1;
	CHECK_OK(get(), r.err);
	CHECK_STR(r.path, "service(storage)");
	end();
}

static void
is_cancelled_while_it_waits(void)
{
	struct snapshot s = { .body = NULL };
	struct op      *op;
	bool            ended = false;

	begin();
	var("GOOGLE_CREDENTIALS", r.key);
	begun("");
	op = provider_get(r.b, &(struct state_ref){ "a.tfstate" }, NULL, &s);
	op_start(op, done, &ended);
	for (int i = 0; i < 8; i++)
		loop_turn(r.loop, false);
	op_cancel(op);
	while (!ended)
		CHECK(loop_turn(r.loop, false));
	CHECK_U64(r.err.code, ERR_CANCELLED);
	end(); /* the backend goes while its token is still being fetched */
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "takes_what_comes_first", takes_what_comes_first },
	    { "says_what_is_wrong_with_them", says_what_is_wrong_with_them },
	    { "acts_as_other_accounts", acts_as_other_accounts },
	    { "says_who_pays", says_who_pays },
	    { "exchanges_a_token_of_a_file", exchanges_a_token_of_a_file },
	    { "exchanges_a_token_of_a_url", exchanges_a_token_of_a_url },
	    { "exchanges_an_identity_of_aws", exchanges_an_identity_of_aws },
	    { "goes_to_the_cloud_of_the_block", goes_to_the_cloud_of_the_block },
	    { "asks_the_machine", asks_the_machine },
	    { "says_why_it_is_refused", says_why_it_is_refused },
	    { "fetches_once_for_many_and_renews_beside_them", fetches_once_for_many_and_renews_beside_them },
	    { "renews_once_what_the_store_refuses", renews_once_what_the_store_refuses },
	    { "reads_a_rotated_key", reads_a_rotated_key },
	    { "is_cancelled_while_it_waits", is_cancelled_while_it_waits },
	    { NULL, NULL } });
}
