/* SPDX-License-Identifier: MIT */
#include "../../lib/fake_google.h"
#include "../../lib/test.h"

/* Signing in: which way is taken, what is said of it, and that a token stays fresh. */
#define MINUTE   ((int64_t)60 * 1000)
#define TARGET   "target@proj-1.iam.gserviceaccount.com"
#define MIDDLE   "middle@proj-1.iam.gserviceaccount.com"
#define IAM      "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
#define ADC      "/home/u/.config/gcloud/application_default_credentials.json"

/* A read by this way, whose token came along path. */
static void
expect(const char *args, const char *path)
{
	google_begun(args);
	if (google_get() != ERR_OK)
		test_fail(__FILE__, __LINE__, "%s; %s", google.err.msg, google.err.hint);
	CHECK_STR(google.path, path);
	google_end();
}

static const char user[] = "{\"client_id\":\"cid.apps.googleusercontent.com\",\"client_secret\":\"CANARY+csec\",\"refresh_token\":\"1//CANARY\","
    "\"type\":\"authorized_user\",\"quota_project_id\":\"payer\"}";

#define FEDERATED(more) "{\"type\":\"external_account\",\"audience\":\"" GOOGLE_POOL "\",\"subject_token_type\":" \
    "\"urn:ietf:params:oauth:token-type:jwt\",\"token_url\":\"https://sts.googleapis.com/v1/token\"," more "}"
#define AS_EMAIL "\"service_account_impersonation_url\":\"" IAM GOOGLE_EMAIL ":generateAccessToken\","

/* ---------------------------------------------------------------- the order */

static void
takes_what_comes_first(void)
{
	google_begin();
	google_file("/etc/sf/key.json", google.key);
	google_var("GOOGLE_CREDENTIALS", user);
	google_var("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere");
	google_begun("  access_token = \"CANARY-given\"\n  credentials = \"key.json\"\n");
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.token, "CANARY-given");
	CHECK_U64(google.issued, 0);
	google_end();
	google_begin();
	google_file("/etc/sf/key.json", google.key);
	google_var("GOOGLE_CREDENTIALS", user);
	expect("  credentials = \"key.json\"\n", "service(storage)");
	google_begin();
	google_file("/etc/sf/key.json", google.key);
	google_var("GOOGLE_BACKEND_CREDENTIALS", "key.json");
	google_var("GOOGLE_CREDENTIALS", user);
	expect("", "service(storage)");
	google_begin();
	google_var("GOOGLE_CREDENTIALS", user);
	google_var("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere");
	expect("", "user(-)");
	google_begin();
	google_file("/run/adc.json", google.key);
	google_file(ADC, user);
	google_var("GOOGLE_APPLICATION_CREDENTIALS", "/run/adc.json");
	expect("", "service(storage)");
	google_begin();
	google_file(ADC, user);
	expect("", "user(-)");
	google_begin();
	expect("", "machine(storage)");
	google_begin();
	google_var("GOOGLE_OAUTH_ACCESS_TOKEN", "CANARY-var");
	google_begun("");
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.token, "CANARY-var");
	google_end();
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
		google_begin();
		google_var("GOOGLE_CREDENTIALS", rows[i].json);
		if (google_try("") != ERR_CONFIG || strstr(google.err.msg, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i, google.err.msg);
		google_end();
	}
	google_begin();
	google_var("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json");
	CHECK_U64(google_try(""), ERR_CONFIG);
	CHECK(strstr(google.err.msg, "GOOGLE_APPLICATION_CREDENTIALS: there is no file /nowhere.json") != NULL);
	google_end();
	google_begin();
	google.silent = true;
	google_begun("");
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK(strstr(google.err.msg, "no credentials") != NULL && strstr(google.err.hint, "application-default login") != NULL);
	google_end();
}

/* ---------------------------------------------------------------- other accounts */

static void
acts_as_other_accounts(void)
{
	static const char nested[] = "{\"type\":\"impersonated_service_account\",\"delegates\":[\"" MIDDLE "\"],\"service_account_impersonation_url\":"
	    "\"" IAM TARGET ":generateAccessToken\",\"source_credentials\":{\"client_id\":\"cid.apps.googleusercontent.com\",\"client_secret\":"
	    "\"CANARY+csec\",\"refresh_token\":\"1//CANARY\",\"type\":\"authorized_user\"},\"quota_project_id\":\"payer\"}";

	google_begin();
	google_var("GOOGLE_CREDENTIALS", google.key);
	expect("  impersonate_service_account = \"" TARGET "\"\n", "service(cloud) > " TARGET "(storage)");
	google_begin();
	google_var("GOOGLE_CREDENTIALS", google.key);
	google_var("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", "other@p");
	google_var("GOOGLE_BACKEND_IMPERSONATE_SERVICE_ACCOUNT", TARGET);
	expect("  impersonate_service_account_delegates = [\"" MIDDLE "\", \"projects/-/serviceAccounts/b@p\"]\n", "service(cloud) > " TARGET
	    " by projects/-/serviceAccounts/" MIDDLE " by projects/-/serviceAccounts/b@p(storage)");
	google_begin();
	google_begun("  access_token = \"CANARY-given\"\n  impersonate_service_account = \"" TARGET "\"\n");
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.path, " > " TARGET "(storage)");
	google_end();
	google_begin();
	google_file("/f.json", nested);
	google_var("GOOGLE_APPLICATION_CREDENTIALS", "/f.json");
	expect("", "user(-) > " TARGET " by projects/-/serviceAccounts/" MIDDLE "(storage)");
	google_begin();
	google_file("/f.json", nested);
	google_var("GOOGLE_APPLICATION_CREDENTIALS", "/f.json");
	expect("  impersonate_service_account = \"last@p\"\n", "user(-) > " TARGET " by projects/-/serviceAccounts/" MIDDLE
	    "(cloud) > last@p(storage)");
}

static void
says_who_pays(void)
{
	google_begin();
	google_file(ADC, user);
	google_begun("");
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.project, "payer");
	google_end();
	google_begin();
	google_file(ADC, user);
	google_begun("  impersonate_service_account = \"" TARGET "\"\n");
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.project, "iam:payer"); /* the user's project for acting as another; that one pays for itself */
	google_end();
	google_begin();
	google_var("GOOGLE_CREDENTIALS", google.key);
	google_var("GOOGLE_CLOUD_QUOTA_PROJECT", "mine");
	google_begun("");
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.project, "mine");
	google_end();
}

/* ---------------------------------------------------------------- federation */

static void
exchanges_a_token_of_a_file(void)
{
	static const char text[] = FEDERATED("\"credential_source\":{\"file\":\"/var/run/token\"}");
	static const char json[] = FEDERATED(AS_EMAIL "\"credential_source\":{\"file\":\"/var/run/token\",\"format\":{\"type\":\"json\","
	    "\"subject_token_field_name\":\"id_token\"}}");

	google_begin();
	google_file("/var/run/token", GOOGLE_SUBJECT "\n");
	google_var("GOOGLE_CREDENTIALS", text);
	expect("", "sts(storage)");
	google_begin();
	google_file("/var/run/token", "{\"id_token\":\"" GOOGLE_SUBJECT "\"}");
	google_var("GOOGLE_CREDENTIALS", json);
	expect("", "sts(cloud) > " GOOGLE_EMAIL "(storage)");
	google_begin();
	google_var("GOOGLE_CREDENTIALS", text);
	google_begun("");
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK(strstr(google.err.msg, "/var/run/token is not there") != NULL && google.err.hint[0] != '\0');
	google_end();
	google_begin();
	google_file("/var/run/token", "{\"other\":\"CANARY\"}");
	google_var("GOOGLE_CREDENTIALS", json);
	google_begun("");
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK(strstr(google.err.msg, "holds none as its member id_token") != NULL);
	google_end();
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
		google_begin();
		google.direct = rows[i].direct;
		google_var("GOOGLE_CREDENTIALS", rows[i].json);
		expect("", "sts(storage)");
	}
	google_begin();
	google_var("GOOGLE_CREDENTIALS", FEDERATED("\"credential_source\":{\"url\":\"https://ci.example/metadata/identity\"}"));
	google_begun("");
	scripted_expect(google.http, "GET", "https://ci.example/metadata/identity", 404, NULL, "nothing");
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK_STR(google.err.msg, "b: the token to exchange: it answers 404");
	google_end();
}

#define AWS FEDERATED("\"subject_token_type\":\"urn:ietf:params:aws:token-type:aws4_request\",\"credential_source\":{\"environment_id\":\"aws1\"," \
    "\"region_url\":\"http://169.254.169.254/latest/meta-data/placement/availability-zone\",\"url\":" \
    "\"http://169.254.169.254/latest/meta-data/iam/security-credentials\",\"regional_cred_verification_url\":" \
    "\"https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15\"}")

static void
exchanges_an_identity_of_aws(void)
{
	google_begin();
	google_var("GOOGLE_CREDENTIALS", AWS);
	google_var("AWS_ACCESS_KEY_ID", "AKIDENV");
	google_var("AWS_SECRET_ACCESS_KEY", "CANARY");
	google_var("AWS_REGION", "eu-west-3");
	expect("", "sts(storage)");
	google_begin();
	google_var("GOOGLE_CREDENTIALS", AWS);
	google_begun("");
	scripted_expect(google.http, "PUT", "http://169.254.169.254/latest/api/token", 200, NULL, "session==");
	scripted_expect(google.http, "GET", "http://169.254.169.254/latest/meta-data/placement/availability-zone", 200, NULL, "eu-west-3b\n");
	scripted_expect(google.http, "PUT", "http://169.254.169.254/latest/api/token", 200, NULL, "session==");
	scripted_expect(google.http, "GET", "http://169.254.169.254/latest/meta-data/iam/security-credentials/", 200, NULL, "my-role");
	scripted_expect(google.http, "GET", "http://169.254.169.254/latest/meta-data/iam/security-credentials/my-role", 200, NULL,
	    "{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA\",\"SecretAccessKey\":\"CANARY\",\"Token\":\"CANARY\","
	    "\"Expiration\":\"2026-11-22T06:00:00Z\"}");
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.path, "sts(storage)");
	scripted_http_check(google.http);
	google_end();
	google_begin();
	google_var("GOOGLE_CREDENTIALS", FEDERATED("\"credential_source\":{\"environment_id\":\"aws1\",\"regional_cred_verification_url\":\"https://x\"}"));
	google_begun("");
	CHECK_U64(google_get(), ERR_CONFIG);
	CHECK(strstr(google.err.msg, "no credentials of AWS") != NULL && strstr(google.err.hint, "AWS_ACCESS_KEY_ID") != NULL);
	google_end();
}

/* ---------------------------------------------------------------- other clouds, the machine */

static void
goes_to_the_cloud_of_the_block(void)
{
	char key[4200];

	google_begin();
	snprintf(key, sizeof(key), "{\"universe_domain\":\"cloud.example\",%s", google.key + 1);
	google_var("GOOGLE_CREDENTIALS", key);
	google_begun("  universe_domain = \"cloud.example\"\n");
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google_scope_word(google_check_claims(google.token, NULL)), "storage"); /* the signed claim itself */
	CHECK_U64(google.issued, 0);
	CHECK(strstr(scripted_http_trace(google.http), "https://storage.cloud.example/") != NULL);
	CHECK(strstr(google.b->where, "cloud.example") != NULL);
	google_end();
	google_begin();
	CHECK_U64(google_try("  universe_domain = \"x/y?\"\n"), ERR_CONFIG);
	google_end();
}

static void
asks_the_machine(void)
{
	google_begin();
	google_var("GCE_METADATA_HOST", "127.0.0.1:8080");
	google_begun("");
	CHECK_OK(google_get(), google.err);
	CHECK(strstr(scripted_http_trace(google.http), "http://127.0.0.1:8080/computeMetadata/v1/instance/service-accounts/default/token?scopes=") != NULL);
	google_end();
	google_begin();
	google_begun("");
	scripted_expect(google.http, "GET", "/computeMetadata/", 200, NULL, "{\"access_token\":\"CANARY\"}");
	CHECK_U64(google_get(), ERR_AUTH); /* another cloud's service at the same address */
	CHECK(strstr(google.err.msg, "something else answers there") != NULL);
	google_end();
	google_begin();
	google_begun("");
	scripted_expect(google.http, "GET", "/computeMetadata/", 404, "Metadata-Flavor: Google", "none");
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK(strstr(google.err.hint, "no service account") != NULL);
	google_end();
}

/* ---------------------------------------------------------------- refusals */

static void
says_why_it_is_refused(void)
{
	google_begin();
	google_var("GOOGLE_CREDENTIALS", user);
	google.down = 400;
	google_begun("");
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK_STR(google.err.msg, "b: a token for the login of gcloud: it answers 400");
	CHECK(strstr(google.err.hint, "gcloud auth application-default login") != NULL);
	google_end();
	google_begin();
	google_var("GOOGLE_CREDENTIALS", google.key);
	google.down = 503;
	google_begun("");
	CHECK_U64(google_get(), ERR_BUSY);
	google_end();
	google_begin();
	google_var("GOOGLE_CREDENTIALS", google.key);
	google_begun("  impersonate_service_account = \"" TARGET "\"\n");
	scripted_expect(google.http, "POST", "https://oauth2.googleapis.com/token", 200, NULL, "{\"access_token\":\"CANARY-t\",\"expires_in\":3599}");
	scripted_expect(google.http, "POST", IAM TARGET ":generateAccessToken", 403, NULL, "{\"error\":{\"code\":403,\"message\":\"Permission "
	    "'iam.serviceAccounts.getAccessToken' denied\",\"status\":\"PERMISSION_DENIED\"}}");
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK(strstr(google.err.msg, "acting as service account " TARGET ": it answers 403, PERMISSION_DENIED") != NULL);
	CHECK(strstr(google.err.hint, "Service Account Token Creator on " TARGET) != NULL);
	google_end();
	google_begin();
	google_var("GOOGLE_CREDENTIALS", google.key);
	google.skew = -60 * MINUTE;
	google_begun("");
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK_STR(google.err.hint, "the clock here is 60 min fast: set it, e.g. by NTP");
	google_end();
}

/* ---------------------------------------------------------------- staying fresh */

static void
pass(int64_t ms)
{
	google_run(op_sleep(google.loop, ms));
}

struct many {
	size_t          n;
	struct snapshot got[20];
};

static struct op *
next_get(void *arg)
{
	struct many *m = arg;

	return m->n == ARRAY_LEN(m->got) ? NULL : provider_get(google.b, &(struct state_ref){ "a.tfstate" }, NULL, &m->got[m->n++]);
}

static void
fetches_once_for_many_and_renews_beside_them(void)
{
	struct many m = { .n = 0 };
	char        first[2000];

	google_begin();
	google_var("GOOGLE_CREDENTIALS", google.key);
	google_begun("");
	CHECK_OK(google_run(op_each_of(google.loop, next_get, NULL, &m, 0)), google.err);
	for (size_t i = 0; i < ARRAY_LEN(m.got); i++)
		snapshot_free(&m.got[i]);
	CHECK_U64(google.issued, 1);
	CHECK_U64(google.b->requests, 20);
	snprintf(first, sizeof(first), "%s", google.token);
	pass(50 * MINUTE);
	CHECK_OK(google_get(), google.err);
	CHECK_U64(google.issued, 1);
	pass(6 * MINUTE);
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.token, first); /* the next one is fetched beside it */
	pass(1000);
	CHECK_OK(google_get(), google.err);
	CHECK_U64(google.issued, 2);
	CHECK(strcmp(google.token, first) != 0);
	google_end();
}

static void
renews_once_what_the_store_refuses(void)
{
	google_begin();
	google_var("GOOGLE_CREDENTIALS", google.key);
	google_begun("");
	CHECK_OK(google_get(), google.err);
	google.refused = 1;
	CHECK_OK(google_get(), google.err);
	CHECK_U64(google.issued, 2);
	google.refused = 2;
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK_U64(google.issued, 3);
	CHECK(strstr(google.err.msg, "credentials, " GOOGLE_EMAIL) != NULL && strstr(google.err.hint, "refused too") != NULL);
	google_end();
	google_begin();
	google.refused = 1;
	google_begun("  access_token = \"CANARY-given\"\n");
	CHECK_U64(google_get(), ERR_AUTH);
	CHECK_U64(google.b->requests, 1);
	CHECK(strstr(google.err.hint, "renew it") != NULL);
	google_end();
}

static void
reads_a_rotated_key(void)
{
	google_begin();
	google_file("/etc/sf/key.json", user);
	google_begun("  credentials = \"key.json\"\n");
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.path, "user(-)");
	google_file("/etc/sf/key.json", google.key);
	google.refused = 1;
	CHECK_OK(google_get(), google.err);
	CHECK_STR(google.path, "service(storage)");
	google_end();
}

static void
is_cancelled_while_it_waits(void)
{
	struct snapshot s = { .body = NULL };

	google_begin();
	google_var("GOOGLE_CREDENTIALS", google.key);
	google_begun("");
	google_run_cancelled(provider_get(google.b, &(struct state_ref){ "a.tfstate" }, NULL, &s), 8);
	CHECK_U64(google.err.code, ERR_CANCELLED);
	google_end(); /* the backend goes while its token is still being fetched */
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
