/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/fake_entra.h"
#include "../../lib/test.h"
#include "base/digest.h"
#include "base/encode.h"
#include "net/sharedkey.h"
#include "provider/azurerm/azurerm.h"
#include "provider/bearer.h"

/* What the azurerm backend signs in with. The fake issuers check what they are sent: secrets, signatures and claims. */
#define WALL   ((int64_t)1795000000000)
#define MINUTE ((int64_t)60 * 1000)

static struct {
	struct loop          *loop;
	struct work          *work;
	struct scripted_http *http;
	struct fake_entra    *fake;
	struct conf_source    source;
	struct provider_env   env;
	struct azurerm_conf   conf;
	struct azurerm_cred  *cred;
	const char           *vars[8][2], *files[4][2];
	char                  got[2048];    /* Authorization, or what is added to the query */
	struct err            err;
	unsigned              ended;
} r;

static const char *
var(void *arg, const char *name)
{
	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(r.vars) && r.vars[i][0] != NULL; i++)
		if (strcmp(r.vars[i][0], name) == 0)
			return r.vars[i][1];
	return NULL;
}

/* Text, or "golden/...": a file of these tests. */
static enum err_code
file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	size_t      n;
	const char *text;

	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(r.files) && r.files[i][0] != NULL; i++) {
		if (strcmp(r.files[i][0], path) != 0)
			continue;
		text = r.files[i][1];
		n = strlen(text);
		if (strncmp(text, "golden/", 7) == 0)
			text = test_read(text, &n);
		return buf_add(ret, text, n, reterr);
	}
	return err_set(reterr, ERR_IO, ENOENT, "%s: there is no such file", path);
}

static void
begin(void)
{
	memset(&r, 0, sizeof(r));
	CHECK_OK(crypto_init(&r.err), r.err);
	r.loop = loop_new_virtual(7, WALL);
	r.work = work_new(r.loop);
	r.http = scripted_http_new(r.loop);
	r.fake = fake_entra_behind(r.http, r.loop);
	r.source = (struct conf_source){ var, file, NULL };
	r.env = (struct provider_env){ .loop = r.loop, .work = r.work, .http = scripted_http_client(r.http), .source = &r.source };
	r.conf = (struct azurerm_conf){ .storage_account_name = FAKE_ACCOUNT, .container_name = "tfstate", .tenant_id = FAKE_TENANT,
		.client_id = FAKE_CLIENT, .use_azuread_auth = true };
}

static void
turn(void)
{
	while (loop_turn(r.loop, false))
		continue;
}

static void
end(void)
{
	CHECK(strstr(r.err.msg, "CANARY") == NULL && strstr(r.err.hint, "CANARY") == NULL);
	azurerm_cred_free(r.cred);
	turn();
	secret_free(r.conf.access_key);
	secret_free(r.conf.sas_token);
	secret_free(r.conf.client_secret);
	secret_free(r.conf.client_certificate);
	secret_free(r.conf.client_certificate_password);
	secret_free(r.conf.oidc_token);
	secret_free(r.conf.oidc_request_token);
	fake_entra_free(r.fake);
	scripted_http_free(r.http);
	work_free(r.work);
	loop_free(r.loop);
}

static struct secret *
secret(const char *text)
{
	return secret_new(span_str(text));
}

static enum err_code
open_it(void)
{
	err_clear(&r.err);
	return azurerm_cred_new(&r.env, &r.conf, "/conf", &r.cred, &r.err);
}

static void
done(struct op *op, void *arg)
{
	(void)arg;
	r.err = op->err;
	r.ended++;
	op_free(op);
}

static enum err_code
ready(void)
{
	struct op *op = azurerm_cred_ready(r.cred);

	err_clear(&r.err);
	if (op == NULL)
		return ERR_OK;
	op_start(op, done, NULL);
	turn();
	return r.err.code;
}

/* What a request would carry. */
static const char *
signature(void)
{
	struct http_header headers[] = { { "x-ms-date", (char[]){ "Sun, 22 Nov 2026 00:52:03 GMT" } }, { "x-ms-version", (char[]){ "2023-11-03" } },
		{ "content-type", (char[]){ "application/xml; charset=utf-8" } } };
	struct buf         header, query;

	buf_init(&header, 0);
	buf_init(&query, 0);
	azurerm_cred_sign(r.cred, &(struct azurerm_signing){ .method = "GET", .path = "/tfstate", .query =
	    "comp=list&prefix=prod%2Fnet.tfstateenv%3A&restype=container", .headers = headers, .nheaders = 3 }, &header, &query);
	CHECK(header.len == 0 || query.len == 0);
	snprintf(r.got, sizeof(r.got), "%s%s", buf_str(&header), buf_str(&query));
	buf_wipe_free(&header);
	buf_wipe_free(&query);
	return r.got;
}

static void
works(const char *source, const char *scope)
{
	CHECK_OK(open_it(), r.err);
	CHECK_OK(ready(), r.err);
	if (r.fake->wrong > 0)
		test_fail(__FILE__, __LINE__, "%s", r.fake->why);
	CHECK_STR(azurerm_cred_source(r.cred), source);
	CHECK_STR(r.fake->scope, scope);
	CHECK_STR(signature(), "Bearer CANARY-token-1");
	end();
}

static void
refused(enum err_code want, const char *msg, const char *hint)
{
	enum err_code rc = open_it();

	if (rc == ERR_OK)
		rc = ready();
	if (rc != want || strstr(r.err.msg, msg) == NULL || strstr(r.err.hint, hint) == NULL)
		test_fail(__FILE__, __LINE__, "%s: %s; %s", err_kind(rc), r.err.msg, r.err.hint);
	end();
}

/* --- each way ------------------------------------------------------------------------------------------------------------- */

#define STORAGE "https://storage.azure.com/.default"

static void
signs_in_with_a_secret(void)
{
	begin();
	r.conf.client_secret = secret(FAKE_SECRET);
	works("client_secret", STORAGE);
	begin(); /* both in files, with the line end that editors leave */
	r.conf.client_id = NULL;
	r.conf.client_id_file_path = "id";
	r.conf.client_secret_file_path = "/s";
	r.files[0][0] = "/conf/id";
	r.files[0][1] = FAKE_CLIENT "\n";
	r.files[1][0] = "/s";
	r.files[1][1] = " " FAKE_SECRET "\r\n";
	works("client_secret", STORAGE);
}

static void
signs_in_with_a_certificate(void)
{
	static const char *const files[][2] = { { "golden/pfx/aes.pfx", "CANARY-pfx-\xc3\xbc" }, { "golden/pfx/3des.pfx", "CANARY-pfx-\xc3\xbc" },
		{ "golden/pfx/bundle.pem", NULL } };
	struct buf  text, folded;
	size_t      n;
	const char *bytes;

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		begin();
		r.conf.client_certificate_path = "/cert";
		r.conf.client_certificate_password = files[i][1] != NULL ? secret(files[i][1]) : NULL;
		r.files[0][0] = "/cert";
		r.files[0][1] = files[i][0];
		works("client_certificate", STORAGE);
	}
	begin();
	bytes = test_read("golden/pfx/plain.pfx", &n);
	buf_init(&text, 0);
	buf_init(&folded, 0);
	base64_encode(span_of(bytes, n), &folded);
	for (size_t i = 0; i < folded.len; i++) { /* as "base64" prints it */
		buf_putc(&text, (char)folded.data[i]);
		if (i % 76 == 75)
			buf_puts(&text, "\n");
	}
	r.conf.client_certificate = secret(buf_str(&text));
	r.conf.client_secret = secret("CANARY-not-used"); /* comes after it */
	buf_free(&text);
	buf_free(&folded);
	works("client_certificate", STORAGE);
}

static void
signs_in_with_a_token(void)
{
	begin();
	r.conf.use_oidc = true;
	r.conf.oidc_token = secret(FAKE_ASSERTION);
	works("oidc_token", STORAGE);
	begin();
	r.conf.use_oidc = true;
	r.conf.oidc_token_file_path = "/t";
	r.files[0][0] = "/t";
	r.files[0][1] = FAKE_ASSERTION "\n";
	works("oidc_token", STORAGE);
	begin(); /* what the webhook of AKS gives a pod */
	r.conf.use_aks_workload_identity = true;
	r.conf.tenant_id = r.conf.client_id = NULL;
	memcpy(r.vars, (const char *[][2]){ { "AZURE_FEDERATED_TOKEN_FILE", "/var/run/t" }, { "AZURE_CLIENT_ID", FAKE_CLIENT },
	    { "AZURE_TENANT_ID", FAKE_TENANT } }, 6 * sizeof(char *));
	r.files[0][0] = "/var/run/t";
	r.files[0][1] = FAKE_ASSERTION;
	works("oidc_token", STORAGE);
	begin();
	r.conf.use_oidc = true;
	r.conf.oidc_request_url = "https://token.actions.example/tok?api-version=2.0";
	r.conf.oidc_request_token = secret(FAKE_PERMIT);
	works("oidc_request_url", STORAGE);
	begin();
	r.conf.use_oidc = true;
	r.conf.oidc_request_url = "https://dev.example/oidctoken?api-version=7.1";
	r.conf.oidc_request_token = secret(FAKE_PERMIT);
	r.conf.ado_pipeline_service_connection_id = "sc-1";
	works("ado_pipeline_service_connection_id", STORAGE);
}

static void
signs_in_as_the_machine(void)
{
	begin();
	r.conf.use_msi = true;
	r.conf.tenant_id = NULL;
	works("use_msi", "https://storage.azure.com");
	begin();
	r.conf.use_msi = true;
	r.conf.msi_endpoint = "http://msi.example/msi/token";
	r.conf.client_id = NULL;
	r.conf.client_id_file_path = "/id";
	r.files[0][0] = "/id";
	r.files[0][1] = "a&b\n";
	CHECK_OK(open_it(), r.err);
	CHECK_OK(ready(), r.err);
	CHECK_STR(r.fake->target, "http://msi.example/msi/token?api-version=2018-02-01&client_id=a%26b&resource=https%3A%2F%2Fstorage.azure.com");
	end();
	begin();
	r.conf.use_msi = true;
	r.conf.endpoint = "http://msi.example/msi/token"; /* as it was called once */
	works("use_msi", "https://storage.azure.com");
	begin();
	r.conf.use_msi = true;
	r.vars[0][0] = "IDENTITY_ENDPOINT";
	r.vars[0][1] = "http://127.0.0.1:41741/msi/token";
	r.vars[1][0] = "IDENTITY_HEADER";
	r.vars[1][1] = FAKE_HEADER;
	works("use_msi", "https://storage.azure.com");
}

/* A program called az, which says what it was asked. */
static void
fake_az(const char *script)
{
	char *dir = xasprintf("%s/bin", test_tmpdir()), *path = xasprintf("%s/az", dir);
	FILE *f;

	mkdir(dir, 0700);
	f = fopen(path, "w");
	CHECK(f != NULL);
	fprintf(f, "#!/bin/sh\n%s\n", script);
	fclose(f);
	chmod(path, 0700);
	setenv("PATH", dir, 1);
	free(dir);
	free(path);
}

static void
signs_in_by_az(void)
{
	char *path = xstrdup(getenv("PATH"));

	fake_az("[ \"$*\" = 'account get-access-token --output json --scope https://storage.azure.com/.default --tenant " FAKE_TENANT
	    "' ] || exit 9\necho '{\"accessToken\":\"CANARY-token-1\",\"expiresOn\":\"2026-11-18 12:00:00.000000\",\"expires_on\":1795003600,"
	    "\"tenant\":\"t\",\"tokenType\":\"Bearer\"}'");
	begin();
	r.conf.use_cli = true;
	works("use_cli", "");
	fake_az("echo 'ERROR: Please run az login CANARY' >&2; exit 1");
	begin();
	r.conf.use_cli = true;
	refused(ERR_AUTH, "az account get-access-token ended with exit code 1", "az login");
	fake_az("echo CANARY");
	begin();
	r.conf.use_cli = true;
	refused(ERR_CORRUPT, "az account get-access-token", "");
	setenv("PATH", path, 1);
	free(path);
}

static void
says_that_az_is_missing(void)
{
	char *path;

	test_not_under_valgrind("a program that is not there");
	path = xstrdup(getenv("PATH"));
	setenv("PATH", "/nonexistent", 1);
	begin();
	r.conf.use_cli = true;
	refused(ERR_IO, "cannot run az", "install the Azure CLI");
	setenv("PATH", path, 1);
	free(path);
}

#define RECORDED_KEY "SharedKey tfacct1:yVuAarOfUMLnuaz2p3pYun1CRKsuHfnqPkznV3nl80Q="

/* Signed as terraform signed the same request. */
static void
signs_with_the_key_of_the_account(void)
{
	begin();
	r.conf.use_azuread_auth = false;
	r.conf.access_key = secret(FAKE_ACCOUNT_KEY);
	CHECK_OK(open_it(), r.err);
	CHECK(azurerm_cred_ready(r.cred) == NULL && azurerm_cred_endpoint(r.cred) == NULL);
	CHECK_STR(signature(), RECORDED_KEY);
	CHECK(!azurerm_cred_renew(r.cred, azurerm_cred_generation(r.cred)));
	end();
	begin();
	r.conf.use_azuread_auth = false;
	r.conf.sas_token = secret("?sv=2023-11-03&sig=CANARY%3D");
	CHECK_OK(open_it(), r.err);
	CHECK_STR(signature(), "sv=2023-11-03&sig=CANARY%3D");
	end();
}

static void
looks_the_key_up(void)
{
	begin();
	r.conf.use_azuread_auth = false;
	r.conf.resource_group_name = FAKE_GROUP;
	r.conf.subscription_id = FAKE_SUBSCRIPTION;
	r.conf.client_secret = secret(FAKE_SECRET);
	CHECK_OK(open_it(), r.err);
	CHECK_OK(ready(), r.err);
	CHECK_STR(r.fake->scope, "https://management.azure.com/.default");
	CHECK_STR(signature(), RECORDED_KEY);
	CHECK_STR(azurerm_cred_endpoint(r.cred), "https://" FAKE_ACCOUNT ".z1.blob.storage.azure.net");
	CHECK_OK(ready(), r.err);
	CHECK_U64(r.fake->keys, 1);
	CHECK(azurerm_cred_renew(r.cred, azurerm_cred_generation(r.cred))); /* it was rotated */
	CHECK_OK(ready(), r.err);
	CHECK_U64(r.fake->keys, 2);
	end();
	begin(); /* where the blobs are, whatever signs */
	r.conf.lookup_blob_endpoint = true;
	r.conf.resource_group_name = FAKE_GROUP;
	r.conf.subscription_id = FAKE_SUBSCRIPTION;
	r.conf.client_secret = secret(FAKE_SECRET);
	CHECK_OK(open_it(), r.err);
	CHECK_OK(ready(), r.err);
	CHECK_STR(signature(), "Bearer CANARY-token-2");
	CHECK_STR(azurerm_cred_endpoint(r.cred), "https://" FAKE_ACCOUNT ".z1.blob.storage.azure.net");
	CHECK_U64(r.fake->keys, 0);
	end();
}

static void
knows_other_clouds(void)
{
	static const char *const login[] = { "https://login.microsoftonline.com", "https://login.microsoftonline.us", "https://login.chinacloudapi.cn" };
	static const char *const arm[] = { "https://management.azure.com", "https://management.usgovcloudapi.net",
		"https://management.chinacloudapi.cn" };

	for (int i = AZURERM_PUBLIC; i <= AZURERM_CHINA; i++) {
		begin();
		r.conf.environment = i;
		r.fake->login = login[i];
		r.fake->arm = arm[i];
		r.conf.use_azuread_auth = false;
		r.conf.resource_group_name = FAKE_GROUP;
		r.conf.subscription_id = FAKE_SUBSCRIPTION;
		r.conf.client_secret = secret(FAKE_SECRET);
		CHECK_OK(open_it(), r.err);
		CHECK_OK(ready(), r.err);
		CHECK_U64(r.fake->keys, 1);
		end();
	}
	begin(); /* one that describes itself */
	r.conf.metadata_host = "meta.example";
	r.fake->login = "https://login.own.example";
	r.fake->suffix = "own.example:8443";
	r.conf.client_secret = secret(FAKE_SECRET);
	CHECK_OK(open_it(), r.err);
	CHECK_OK(ready(), r.err);
	CHECK_STR(signature(), "Bearer CANARY-token-1");
	CHECK_STR(azurerm_cred_endpoint(r.cred), "https://" FAKE_ACCOUNT ".blob.own.example:8443");
	end();
	begin(); /* the configuration's own endpoint is the last word */
	r.conf.metadata_host = "meta.example";
	r.conf.blob_endpoint = "https://b.example";
	r.conf.client_secret = secret(FAKE_SECRET);
	CHECK_OK(open_it(), r.err);
	CHECK_OK(ready(), r.err);
	CHECK(azurerm_cred_endpoint(r.cred) == NULL);
	end();
	begin(); /* secrets go nowhere but to https */
	r.conf.metadata_host = "meta.example";
	r.conf.client_secret = secret(FAKE_SECRET);
	r.fake->login = "http://login.own.example";
	refused(ERR_CORRUPT, "the metadata service meta.example", "metadata_host");
}

/* --- what terraform sent ---------------------------------------------------------------------------------------------------- */

static struct {
	json_t *exchanges;
	size_t  at;
} recorded;

static char *
unescaped(const char *text)
{
	struct buf b;

	buf_init(&b, 0);
	CHECK(url_unescape(span_str(text), true, &b));
	return buf_take(&b);
}

static void
replay(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	json_t     *x = json_array_get(recorded.exchanges, recorded.at++), *q = json_object_get(x, "request"), *a = json_object_get(x, "response");
	const char *body = json_string_value(json_object_get(q, "body"));
	char       *url = xasprintf("%s://%s%s", json_string_value(json_object_get(q, "scheme")), json_string_value(json_object_get(q, "host")),
	    json_string_value(json_object_get(q, "target"))), *sent = span_dup(rq->body), *ours = unescaped(sent),
	    *theirs = unescaped(body != NULL ? body : "");

	(void)arg;
	CHECK_STR(rq->method, json_string_value(json_object_get(q, "method")));
	CHECK_STR(rq->url, url);
	CHECK_STR(ours, theirs);
	ret->status = (int)json_integer_value(json_object_get(a, "status"));
	scripted_set_body(ret, span_str(json_string_value(json_object_get(a, "body"))));
	free(url);
	free(sent);
	free(ours);
	free(theirs);
}

/* n: requests until a request can be signed. */
static void
check_recorded(const char *name, size_t n, const char *header)
{
	char       *path = xasprintf("golden/azure/sign-in/%s.json", name);
	size_t      size;
	const char *text = test_read(path, &size);
	json_t     *root = json_loadb(text, size, 0, NULL);

	recorded.exchanges = json_object_get(root, "exchanges");
	recorded.at = 0;
	scripted_handle(r.http, replay, NULL);
	CHECK_OK(open_it(), r.err);
	CHECK_OK(ready(), r.err);
	CHECK_U64(recorded.at, n);
	if (strncmp(signature(), header, strlen(header)) != 0)
		test_fail(__FILE__, __LINE__, "%s: %s", name, r.got);
	json_decref(root);
	free(path);
	end();
}

static void
asks_as_terraform_does(void)
{
	begin();
	r.conf.client_secret = secret("s3cr3t~x");
	check_recorded("aad_secret", 1, "Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.");
	begin();
	r.conf.use_oidc = true;
	r.conf.oidc_token = secret("eyJh.eyJz.c2ln");
	check_recorded("oidc", 1, "Bearer eyJ");
	begin();
	r.conf.use_oidc = true;
	r.conf.oidc_request_url = "https://token.actions.example/tok?api-version=2.0";
	r.conf.oidc_request_token = secret("ghtok");
	check_recorded("ghoidc", 2, "Bearer eyJ");
	begin();
	r.conf.use_msi = true;
	r.conf.msi_endpoint = "http://msi-endpoint.example/msi/token";
	check_recorded("msi", 1, "Bearer eyJ");
	begin();
	r.conf.use_azuread_auth = false;
	r.conf.resource_group_name = FAKE_GROUP;
	r.conf.subscription_id = FAKE_SUBSCRIPTION;
	r.conf.client_secret = secret("s3cr3t~x");
	check_recorded("rg_listkeys", 3, RECORDED_KEY);
	begin();
	r.conf.use_azuread_auth = false;
	r.conf.metadata_host = "meta.example";
	r.conf.sas_token = secret("?sv=2023-11-03&sig=x");
	check_recorded("metahost", 1, "sv=2023-11-03&sig=x");
}

/* --- refresh ----------------------------------------------------------------------------------------------------------------- */

static void
renews_once_for_all(void)
{
	begin();
	r.conf.client_secret = secret(FAKE_SECRET);
	CHECK_OK(open_it(), r.err);
	for (int i = 0; i < 20; i++) /* twenty requests that wait for the first one */
		op_start(azurerm_cred_ready(r.cred), done, NULL);
	turn();
	CHECK_U64(r.ended, 20);
	CHECK_U64(r.fake->tokens, 1);
	op_start(op_sleep(r.loop, 56 * MINUTE), done, NULL);
	turn();
	r.fake->refuses = 503; /* the next one is fetched meanwhile: nobody waits, and nobody fails */
	r.fake->error = "temporarily_unavailable";
	r.fake->text = "x";
	CHECK_OK(ready(), r.err);
	CHECK_STR(signature(), "Bearer CANARY-token-1");
	CHECK_U64(r.fake->tokens, 1 + BEARER_TRIES);
	r.fake->refuses = 0;
	op_start(op_sleep(r.loop, TOKEN_PAUSE_MS), done, NULL);
	turn();
	for (int i = 0; i < 20; i++)
		CHECK_OK(ready(), r.err);
	CHECK_U64(r.fake->tokens, 2 + BEARER_TRIES);
	CHECK_STR(signature(), "Bearer CANARY-token-5");
	end();
}

/* A request that was refused with an old token does not throw away the new one. */
static void
fetches_another_when_it_is_refused(void)
{
	unsigned before;

	begin();
	r.conf.client_secret = secret(FAKE_SECRET);
	CHECK_OK(open_it(), r.err);
	CHECK_OK(ready(), r.err);
	before = azurerm_cred_generation(r.cred);
	CHECK(azurerm_cred_renew(r.cred, before));
	CHECK_OK(ready(), r.err);
	CHECK_STR(signature(), "Bearer CANARY-token-2");
	CHECK(azurerm_cred_renew(r.cred, before));
	CHECK_OK(ready(), r.err);
	CHECK_U64(r.fake->tokens, 2);
	end();
}

/* A projected token is renewed by its issuer: what lies in the file counts each time. */
static void
reads_files_anew(void)
{
	begin();
	r.conf.use_oidc = true;
	r.conf.oidc_token_file_path = "/t";
	r.files[0][0] = "/t";
	r.files[0][1] = "CANARY-old";
	CHECK_OK(open_it(), r.err);
	CHECK_U64(ready(), ERR_AUTH);
	r.files[0][1] = FAKE_ASSERTION;
	op_start(op_sleep(r.loop, TOKEN_AGAIN_MS), done, NULL);
	turn();
	CHECK_OK(ready(), r.err);
	end();
}

/* The backend goes away while it signs in. */
static void
ends_in_the_middle(void)
{
	struct op *op;

	for (int turns = 0; turns < 8; turns++) {
		begin();
		r.conf.client_secret = secret(FAKE_SECRET);
		CHECK_OK(open_it(), r.err);
		op = azurerm_cred_ready(r.cred);
		op_start(op, done, NULL);
		for (int i = 0; i < turns; i++)
			loop_turn(r.loop, false);
		if (r.ended == 0)
			op_cancel(op);
		for (int i = 0; r.ended == 0 && i < 50; i++)
			loop_turn(r.loop, false);
		CHECK_U64(r.ended, 1);
		end();
	}
}

/* --- what is wrong ----------------------------------------------------------------------------------------------------------- */

static void
says_what_entra_id_means(void)
{
	static const struct {
		const char *code, *msg, *hint;
	} rows[] = {
		{ "7000215", "the client secret is wrong (AADSTS7000215)", "value of the secret" },
		{ "7000222", "the client secret has expired (AADSTS7000222)", "az ad app credential reset" },
		{ "700016", "the tenant does not know the application (AADSTS700016)", "client_id" },
		{ "90002", "there is no such tenant (AADSTS90002)", "tenant_id" },
		{ "700024", "not valid at this time (AADSTS700024)", "clock" },
		{ "700027", "the certificate is none of the application's", "upload" },
		{ "700213", "fits the subject of the token", "sub" },
		{ "53003", "conditional access", "tenant" },
		{ "99999999", "Entra ID at https://login.microsoftonline.com: it answers 401, invalid_client: AADSTS99999999: ", "error?code=99999999" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *text = xasprintf("AADSTS%s: Something is wrong. Trace ID: 1", rows[i].code);

		begin();
		r.conf.client_secret = secret(FAKE_SECRET);
		r.fake->refuses = 401;
		r.fake->error = "invalid_client";
		r.fake->text = text;
		refused(ERR_AUTH, rows[i].msg, rows[i].hint);
		free(text);
	}
	begin(); /* an issuer that repeats the secret is not quoted */
	r.conf.client_secret = secret(FAKE_SECRET);
	r.fake->refuses = 401;
	r.fake->error = "invalid_client";
	r.fake->text = "no " FAKE_SECRET;
	refused(ERR_AUTH, "it answers 401", "client_secret");
	begin();
	r.conf.client_secret = secret(FAKE_SECRET);
	r.fake->refuses = 503;
	r.fake->error = "x";
	r.fake->text = "y";
	refused(ERR_BUSY, "Entra ID", "");
	begin();
	r.conf.use_oidc = true;
	r.conf.oidc_request_url = "https://token.actions.example/tok?x=1";
	r.conf.oidc_request_token = secret("CANARY-other");
	refused(ERR_AUTH, "the issuer at oidc_request_url", "id-token: write");
}

static void
says_what_the_machine_lacks(void)
{
	begin();
	r.conf.use_msi = true;
	r.fake->refuses = 400;
	r.fake->error = "invalid_request";
	r.fake->text = "Identity not found";
	refused(ERR_AUTH, "the managed identity: it answers 400, invalid_request: Identity not found", "give the machine an identity");
	begin();
	r.conf.use_msi = true;
	for (unsigned i = 1; i <= BEARER_TRIES; i++)
		scripted_fail(r.http, i, SCRIPTED_LOST_BEFORE);
	refused(ERR_NETWORK, "the managed identity", "machines of Azure only");
	begin(); /* not there yet */
	r.conf.use_msi = true;
	r.fake->refuses = 410;
	r.fake->error = "x";
	r.fake->text = "y";
	refused(ERR_BUSY, "it answers 410", "");
}

static void
says_what_the_manager_refuses(void)
{
	static const struct {
		int         status;
		const char *code, *at, *msg, *hint;
	} rows[] = {
		{ 403, "AuthorizationFailed", "listKeys", "account tfacct1 at https://management.azure.com: it answers 403, AuthorizationFailed", "listKeys" },
		{ 403, "AuthorizationFailed", "management", "it answers 403", "Reader" },
		{ 404, "ResourceGroupNotFound", "management", "ResourceGroupNotFound", "resource_group_name" },
		{ 401, "InvalidAuthenticationTokenTenant", "management", "InvalidAuthenticationTokenTenant", "tenant_id" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *body = xasprintf("{\"error\":{\"code\":\"%s\",\"message\":\"no\"}}", rows[i].code);

		begin();
		r.conf.use_azuread_auth = false;
		r.conf.resource_group_name = FAKE_GROUP;
		r.conf.subscription_id = FAKE_SUBSCRIPTION;
		r.conf.client_secret = secret(FAKE_SECRET);
		r.fake->refuses = rows[i].status;
		r.fake->refuses_at = rows[i].at;
		r.fake->error = body;
		refused(ERR_AUTH, rows[i].msg, rows[i].hint);
		free(body);
	}
}

static void
says_what_is_missing(void)
{
	static const struct {
		const char *secret, *key, *tenant, *client, *group;
		bool        aad, oidc, lookup;
		const char *msg, *hint;
	} rows[] = {
		{ .msg = "nothing says how to sign in", .hint = "use_azuread_auth" },
		{ .key = FAKE_ACCOUNT_KEY, .aad = true, .msg = "access_key (ARM_ACCESS_KEY) and use_azuread_auth (ARM_USE_AZUREAD) exclude each other",
		    .hint = "remove one" },
		{ .key = "CANARY!", .msg = "access_key: expected the account's key, in base64", .hint = "" },
		{ .aad = true, .msg = "use_azuread_auth needs a way to sign in", .hint = "client_secret" },
		{ .aad = true, .secret = FAKE_SECRET, .client = FAKE_CLIENT, .msg = "client_secret without tenant_id (ARM_TENANT_ID)", .hint = "" },
		{ .aad = true, .secret = FAKE_SECRET, .tenant = FAKE_TENANT, .msg = "client_secret without client_id (ARM_CLIENT_ID)", .hint = "" },
		{ .aad = true, .oidc = true, .client = FAKE_CLIENT, .tenant = FAKE_TENANT, .msg = "none is complete", .hint = "use_oidc" },
		{ .group = FAKE_GROUP, .secret = FAKE_SECRET, .client = FAKE_CLIENT, .tenant = FAKE_TENANT,
		    .msg = "resource_group_name without subscription_id (ARM_SUBSCRIPTION_ID)", .hint = "" },
		{ .lookup = true, .key = FAKE_ACCOUNT_KEY, .msg = "lookup_blob_endpoint without resource_group_name", .hint = "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		r.conf.tenant_id = rows[i].tenant;
		r.conf.client_id = rows[i].client;
		r.conf.resource_group_name = rows[i].group;
		r.conf.use_azuread_auth = rows[i].aad;
		r.conf.use_oidc = rows[i].oidc;
		r.conf.lookup_blob_endpoint = rows[i].lookup;
		r.conf.access_key = rows[i].key != NULL ? secret(rows[i].key) : NULL;
		r.conf.client_secret = rows[i].secret != NULL ? secret(rows[i].secret) : NULL;
		refused(ERR_CONFIG, rows[i].msg, rows[i].hint);
	}
}

static void
says_what_files_lack(void)
{
	begin();
	r.conf.client_secret_file_path = "/s";
	refused(ERR_CONFIG, "client_secret_file_path: the file /s is not there", "");
	begin();
	r.conf.client_secret = secret("CANARY-1");
	r.conf.client_secret_file_path = "/s";
	r.files[0][0] = "/s";
	r.files[0][1] = "CANARY-2";
	refused(ERR_CONFIG, "client_secret and the file of client_secret_file_path differ", "");
	begin();
	r.conf.client_certificate_path = "/c";
	refused(ERR_CONFIG, "client_certificate_path: there is no file /c", "");
	begin();
	r.conf.client_certificate_path = "/c";
	r.conf.client_certificate_password = secret("CANARY-3");
	r.files[0][0] = "/c";
	r.files[0][1] = "golden/pfx/aes.pfx";
	refused(ERR_CONFIG, "client_certificate_path: the password of the archive (PKCS #12) is wrong", "");
	begin();
	r.conf.client_certificate = secret("CANARY no base64");
	refused(ERR_CONFIG, "client_certificate: expected an archive", "");
	begin();
	r.conf.use_aks_workload_identity = true;
	r.vars[0][0] = "AZURE_CLIENT_ID";
	r.vars[0][1] = "another";
	refused(ERR_CONFIG, "client_id and AZURE_CLIENT_ID, which AKS sets, differ", "use_aks_workload_identity");
	begin();
	r.conf.use_oidc = true;
	r.conf.oidc_request_url = "http://token.actions.example/tok";
	r.conf.oidc_request_token = secret(FAKE_PERMIT);
	refused(ERR_CONFIG, "oidc_request_url: only https", "");
}

/* --- variables ---------------------------------------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct azurerm_conf, member)

static const struct {
	const char    *variable, *argument;
	enum conf_type type;
	size_t         at;
} variables[] = {
	{ "ARM_ACCESS_KEY", "access_key", CONF_SECRET, AT(access_key) },
	{ "ARM_SAS_TOKEN", "sas_token", CONF_SECRET, AT(sas_token) },
	{ "ARM_SNAPSHOT", "snapshot", CONF_BOOL, AT(snapshot) },
	{ "ARM_USE_AZUREAD", "use_azuread_auth", CONF_BOOL, AT(use_azuread_auth) },
	{ "ARM_TENANT_ID", "tenant_id", CONF_STR, AT(tenant_id) },
	{ "ARM_SUBSCRIPTION_ID", "subscription_id", CONF_STR, AT(subscription_id) },
	{ "ARM_CLIENT_ID", "client_id", CONF_STR, AT(client_id) },
	{ "ARM_CLIENT_ID_FILE_PATH", "client_id_file_path", CONF_STR, AT(client_id_file_path) },
	{ "ARM_CLIENT_SECRET", "client_secret", CONF_SECRET, AT(client_secret) },
	{ "ARM_CLIENT_SECRET_FILE_PATH", "client_secret_file_path", CONF_STR, AT(client_secret_file_path) },
	{ "ARM_CLIENT_CERTIFICATE", "client_certificate", CONF_SECRET, AT(client_certificate) },
	{ "ARM_CLIENT_CERTIFICATE_PATH", "client_certificate_path", CONF_STR, AT(client_certificate_path) },
	{ "ARM_CLIENT_CERTIFICATE_PASSWORD", "client_certificate_password", CONF_SECRET, AT(client_certificate_password) },
	{ "ARM_USE_OIDC", "use_oidc", CONF_BOOL, AT(use_oidc) },
	{ "ARM_OIDC_TOKEN", "oidc_token", CONF_SECRET, AT(oidc_token) },
	{ "ARM_OIDC_TOKEN_FILE_PATH", "oidc_token_file_path", CONF_STR, AT(oidc_token_file_path) },
	{ "ARM_OIDC_REQUEST_URL", "oidc_request_url", CONF_STR, AT(oidc_request_url) },
	{ "ACTIONS_ID_TOKEN_REQUEST_URL", "oidc_request_url", CONF_STR, AT(oidc_request_url) },
	{ "SYSTEM_OIDCREQUESTURI", "oidc_request_url", CONF_STR, AT(oidc_request_url) },
	{ "ARM_OIDC_REQUEST_TOKEN", "oidc_request_token", CONF_SECRET, AT(oidc_request_token) },
	{ "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "oidc_request_token", CONF_SECRET, AT(oidc_request_token) },
	{ "SYSTEM_ACCESSTOKEN", "oidc_request_token", CONF_SECRET, AT(oidc_request_token) },
	{ "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID", "ado_pipeline_service_connection_id", CONF_STR, AT(ado_pipeline_service_connection_id) },
	{ "ARM_OIDC_AZURE_SERVICE_CONNECTION_ID", "ado_pipeline_service_connection_id", CONF_STR, AT(ado_pipeline_service_connection_id) },
	{ "ARM_USE_MSI", "use_msi", CONF_BOOL, AT(use_msi) },
	{ "ARM_MSI_ENDPOINT", "msi_endpoint", CONF_STR, AT(msi_endpoint) },
	{ "ARM_USE_AKS_WORKLOAD_IDENTITY", "use_aks_workload_identity", CONF_BOOL, AT(use_aks_workload_identity) },
	{ "ARM_METADATA_HOSTNAME", "metadata_host", CONF_STR, AT(metadata_host) },
	{ "ARM_METADATA_HOST", "metadata_host", CONF_STR, AT(metadata_host) },
	{ "ARM_USE_DNS_ZONE_ENDPOINT", "lookup_blob_endpoint", CONF_BOOL, AT(lookup_blob_endpoint) },
};

/* What the member is when the block says args: "true", a text, or "". */
static const char *
filled(size_t row, const char *args)
{
	struct azurerm_conf conf = { .key = NULL };
	char               *text = xasprintf("backend \"azurerm\" \"x\" {\nstorage_account_name = \"a\"\ncontainer_name = \"c\"\n%s\n}\n", args);
	const void         *member = (const char *)&conf + variables[row].at;
	const char         *value;
	struct conf        *c;

	CHECK_OK(conf_parse("t.hcl", "/conf", span_str(text), false, &r.source, &c, &r.err), r.err);
	CHECK_OK(conf_fields(c, &conf_root(c)->blocks[0], provider_azurerm.fields, &conf, &r.err), r.err);
	if (variables[row].type == CONF_BOOL)
		value = *(const bool *)member ? "true" : "";
	else
		value = variables[row].type == CONF_SECRET ? secret_str(*(struct secret *const *)member) : *(const char *const *)member;
	snprintf(r.got, sizeof(r.got), "%s", value != NULL ? value : "");
	conf_free(c);
	free(text);
	return r.got;
}

/* Where the block says nothing; the block's own word comes first. */
static void
reads_the_variables_that_terraform_reads(void)
{
	for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
		bool  yes = variables[i].type == CONF_BOOL;
		char *args = xasprintf("%s = %s", variables[i].argument, yes ? "false" : "\"own\"");

		begin();
		CHECK_STR(filled(i, ""), "");
		r.vars[0][0] = variables[i].variable;
		r.vars[0][1] = yes ? "true" : "/given";
		CHECK_STR(filled(i, ""), yes ? "true" : "/given");
		CHECK_STR(filled(i, args), yes ? "" : "own");
		free(args);
		end();
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "signs_in_with_a_secret", signs_in_with_a_secret },
	    { "signs_in_with_a_certificate", signs_in_with_a_certificate },
	    { "signs_in_with_a_token", signs_in_with_a_token },
	    { "signs_in_as_the_machine", signs_in_as_the_machine },
	    { "signs_in_by_az", signs_in_by_az },
	    { "says_that_az_is_missing", says_that_az_is_missing },
	    { "signs_with_the_key_of_the_account", signs_with_the_key_of_the_account },
	    { "looks_the_key_up", looks_the_key_up },
	    { "knows_other_clouds", knows_other_clouds },
	    { "asks_as_terraform_does", asks_as_terraform_does },
	    { "renews_once_for_all", renews_once_for_all },
	    { "fetches_another_when_it_is_refused", fetches_another_when_it_is_refused },
	    { "reads_files_anew", reads_files_anew },
	    { "ends_in_the_middle", ends_in_the_middle },
	    { "says_what_entra_id_means", says_what_entra_id_means },
	    { "says_what_the_machine_lacks", says_what_the_machine_lacks },
	    { "says_what_the_manager_refuses", says_what_the_manager_refuses },
	    { "says_what_is_missing", says_what_is_missing },
	    { "says_what_files_lack", says_what_files_lack },
	    { "reads_the_variables_that_terraform_reads", reads_the_variables_that_terraform_reads },
	    { NULL, NULL } });
}
