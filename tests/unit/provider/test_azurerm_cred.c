/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/stat.h>

#include "../../lib/entra_rig.h"
#include "../../lib/test.h"
#include "base/encode.h"

/* What the azurerm backend signs in with, each way. The fake issuers check what they are sent: secrets, signatures and claims. */

/* --- each way ------------------------------------------------------------------------------------------------------------- */

#define STORAGE "https://storage.azure.com/.default"

static void
signs_in_with_a_secret(void)
{
	entra_begin();
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	entra_works("client_secret", STORAGE);
	entra_begin(); /* both in files, with the line end that editors leave */
	entra.conf.client_id = NULL;
	entra.conf.client_id_file_path = "id";
	entra.conf.client_secret_file_path = "/s";
	entra.files[0][0] = "/conf/id";
	entra.files[0][1] = FAKE_CLIENT "\n";
	entra.files[1][0] = "/s";
	entra.files[1][1] = " " FAKE_SECRET "\r\n";
	entra_works("client_secret", STORAGE);
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
		entra_begin();
		entra.conf.client_certificate_path = "/cert";
		entra.conf.client_certificate_password = files[i][1] != NULL ? entra_secret(files[i][1]) : NULL;
		entra.files[0][0] = "/cert";
		entra.files[0][1] = files[i][0];
		entra_works("client_certificate", STORAGE);
	}
	entra_begin();
	bytes = test_read("golden/pfx/plain.pfx", &n);
	buf_init(&text, 0);
	buf_init(&folded, 0);
	base64_encode(span_of(bytes, n), &folded);
	for (size_t i = 0; i < folded.len; i++) { /* as "base64" prints it */
		buf_putc(&text, (char)folded.data[i]);
		if (i % 76 == 75)
			buf_puts(&text, "\n");
	}
	entra.conf.client_certificate = entra_secret(buf_str(&text));
	entra.conf.client_secret = entra_secret("CANARY-not-used"); /* comes after it */
	buf_free(&text);
	buf_free(&folded);
	entra_works("client_certificate", STORAGE);
}

static void
signs_in_with_a_token(void)
{
	entra_begin();
	entra.conf.use_oidc = true;
	entra.conf.oidc_token = entra_secret(FAKE_ASSERTION);
	entra_works("oidc_token", STORAGE);
	entra_begin();
	entra.conf.use_oidc = true;
	entra.conf.oidc_token_file_path = "/t";
	entra.files[0][0] = "/t";
	entra.files[0][1] = FAKE_ASSERTION "\n";
	entra_works("oidc_token", STORAGE);
	entra_begin(); /* what the webhook of AKS gives a pod */
	entra.conf.use_aks_workload_identity = true;
	entra.conf.tenant_id = entra.conf.client_id = NULL;
	memcpy(entra.vars, (const char *[][2]){ { "AZURE_FEDERATED_TOKEN_FILE", "/var/run/t" }, { "AZURE_CLIENT_ID", FAKE_CLIENT },
	    { "AZURE_TENANT_ID", FAKE_TENANT } }, 6 * sizeof(char *));
	entra.files[0][0] = "/var/run/t";
	entra.files[0][1] = FAKE_ASSERTION;
	entra_works("oidc_token", STORAGE);
	entra_begin();
	entra.conf.use_oidc = true;
	entra.conf.oidc_request_url = "https://token.actions.example/tok?api-version=2.0";
	entra.conf.oidc_request_token = entra_secret(FAKE_PERMIT);
	entra_works("oidc_request_url", STORAGE);
	entra_begin();
	entra.conf.use_oidc = true;
	entra.conf.oidc_request_url = "https://dev.example/oidctoken?api-version=7.1";
	entra.conf.oidc_request_token = entra_secret(FAKE_PERMIT);
	entra.conf.ado_pipeline_service_connection_id = "sc-1";
	entra_works("ado_pipeline_service_connection_id", STORAGE);
}

static void
signs_in_as_the_machine(void)
{
	entra_begin();
	entra.conf.use_msi = true;
	entra.conf.tenant_id = NULL;
	entra_works("use_msi", "https://storage.azure.com");
	entra_begin();
	entra.conf.use_msi = true;
	entra.conf.msi_endpoint = "http://msi.example/msi/token";
	entra.conf.client_id = NULL;
	entra.conf.client_id_file_path = "/id";
	entra.files[0][0] = "/id";
	entra.files[0][1] = "a&b\n";
	CHECK_OK(entra_open(), entra.err);
	CHECK_OK(entra_ready(), entra.err);
	CHECK_STR(entra.fake->target, "http://msi.example/msi/token?api-version=2018-02-01&client_id=a%26b&resource=https%3A%2F%2Fstorage.azure.com");
	entra_end();
	entra_begin();
	entra.conf.use_msi = true;
	entra.conf.endpoint = "http://msi.example/msi/token"; /* as it was called once */
	entra_works("use_msi", "https://storage.azure.com");
	entra_begin();
	entra.conf.use_msi = true;
	entra.vars[0][0] = "IDENTITY_ENDPOINT";
	entra.vars[0][1] = "http://127.0.0.1:41741/msi/token";
	entra.vars[1][0] = "IDENTITY_HEADER";
	entra.vars[1][1] = FAKE_HEADER;
	entra_works("use_msi", "https://storage.azure.com");
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
	entra_begin();
	entra.conf.use_cli = true;
	entra_works("use_cli", "");
	fake_az("echo 'ERROR: Please run az login CANARY' >&2; exit 1");
	entra_begin();
	entra.conf.use_cli = true;
	entra_refused(ERR_AUTH, "az account get-access-token ended with exit code 1", "az login");
	fake_az("echo CANARY");
	entra_begin();
	entra.conf.use_cli = true;
	entra_refused(ERR_CORRUPT, "az account get-access-token", "");
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
	entra_begin();
	entra.conf.use_cli = true;
	entra_refused(ERR_IO, "cannot run az", "install the Azure CLI");
	setenv("PATH", path, 1);
	free(path);
}

/* Signed as terraform signed the same request. */
static void
signs_with_the_key_of_the_account(void)
{
	entra_begin();
	entra.conf.use_azuread_auth = false;
	entra.conf.access_key = entra_secret(FAKE_ACCOUNT_KEY);
	CHECK_OK(entra_open(), entra.err);
	CHECK(azurerm_cred_ready(entra.cred) == NULL && azurerm_cred_endpoint(entra.cred) == NULL);
	CHECK_STR(entra_signature(), ENTRA_SIGNED_KEY);
	CHECK(!azurerm_cred_renew(entra.cred, azurerm_cred_generation(entra.cred)));
	entra_end();
	entra_begin();
	entra.conf.use_azuread_auth = false;
	entra.conf.sas_token = entra_secret("?sv=2023-11-03&sig=CANARY%3D");
	CHECK_OK(entra_open(), entra.err);
	CHECK_STR(entra_signature(), "sv=2023-11-03&sig=CANARY%3D");
	entra_end();
}

static void
looks_the_key_up(void)
{
	entra_begin();
	entra.conf.use_azuread_auth = false;
	entra.conf.resource_group_name = FAKE_GROUP;
	entra.conf.subscription_id = FAKE_SUBSCRIPTION;
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	CHECK_OK(entra_open(), entra.err);
	CHECK_OK(entra_ready(), entra.err);
	CHECK_STR(entra.fake->scope, "https://management.azure.com/.default");
	CHECK_STR(entra_signature(), ENTRA_SIGNED_KEY);
	CHECK_STR(azurerm_cred_endpoint(entra.cred), "https://" FAKE_ACCOUNT ".z1.blob.storage.azure.net");
	CHECK_OK(entra_ready(), entra.err);
	CHECK_U64(entra.fake->keys, 1);
	CHECK(azurerm_cred_renew(entra.cred, azurerm_cred_generation(entra.cred))); /* it was rotated */
	CHECK_OK(entra_ready(), entra.err);
	CHECK_U64(entra.fake->keys, 2);
	entra_end();
	entra_begin(); /* where the blobs are, whatever signs */
	entra.conf.lookup_blob_endpoint = true;
	entra.conf.resource_group_name = FAKE_GROUP;
	entra.conf.subscription_id = FAKE_SUBSCRIPTION;
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	CHECK_OK(entra_open(), entra.err);
	CHECK_OK(entra_ready(), entra.err);
	CHECK_STR(entra_signature(), "Bearer CANARY-token-2");
	CHECK_STR(azurerm_cred_endpoint(entra.cred), "https://" FAKE_ACCOUNT ".z1.blob.storage.azure.net");
	CHECK_U64(entra.fake->keys, 0);
	entra_end();
}

static void
knows_other_clouds(void)
{
	static const char *const login[] = { "https://login.microsoftonline.com", "https://login.microsoftonline.us", "https://login.chinacloudapi.cn" };
	static const char *const arm[] = { "https://management.azure.com", "https://management.usgovcloudapi.net",
		"https://management.chinacloudapi.cn" };

	for (int i = AZURERM_PUBLIC; i <= AZURERM_CHINA; i++) {
		entra_begin();
		entra.conf.environment = i;
		entra.fake->login = login[i];
		entra.fake->arm = arm[i];
		entra.conf.use_azuread_auth = false;
		entra.conf.resource_group_name = FAKE_GROUP;
		entra.conf.subscription_id = FAKE_SUBSCRIPTION;
		entra.conf.client_secret = entra_secret(FAKE_SECRET);
		CHECK_OK(entra_open(), entra.err);
		CHECK_OK(entra_ready(), entra.err);
		CHECK_U64(entra.fake->keys, 1);
		entra_end();
	}
	entra_begin(); /* one that describes itself */
	entra.conf.metadata_host = "meta.example";
	entra.fake->login = "https://login.own.example";
	entra.fake->suffix = "own.example:8443";
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	CHECK_OK(entra_open(), entra.err);
	CHECK_OK(entra_ready(), entra.err);
	CHECK_STR(entra_signature(), "Bearer CANARY-token-1");
	CHECK_STR(azurerm_cred_endpoint(entra.cred), "https://" FAKE_ACCOUNT ".blob.own.example:8443");
	entra_end();
	entra_begin(); /* the configuration's own endpoint is the last word */
	entra.conf.metadata_host = "meta.example";
	entra.conf.blob_endpoint = "https://b.example";
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	CHECK_OK(entra_open(), entra.err);
	CHECK_OK(entra_ready(), entra.err);
	CHECK(azurerm_cred_endpoint(entra.cred) == NULL);
	entra_end();
	entra_begin(); /* secrets go nowhere but to https */
	entra.conf.metadata_host = "meta.example";
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	entra.fake->login = "http://login.own.example";
	entra_refused(ERR_CORRUPT, "the metadata service meta.example", "metadata_host");
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

	CHECK_OK(conf_parse("t.hcl", "/conf", span_str(text), false, &entra.source, &c, &entra.err), entra.err);
	CHECK_OK(conf_fields(c, &conf_root(c)->blocks[0], provider_azurerm.fields, &conf, &entra.err), entra.err);
	if (variables[row].type == CONF_BOOL)
		value = *(const bool *)member ? "true" : "";
	else
		value = variables[row].type == CONF_SECRET ? secret_str(*(struct secret *const *)member) : *(const char *const *)member;
	snprintf(entra.got, sizeof(entra.got), "%s", value != NULL ? value : "");
	conf_free(c);
	free(text);
	return entra.got;
}

/* Where the block says nothing; the block's own word comes first. */
static void
reads_the_variables_that_terraform_reads(void)
{
	for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
		bool  yes = variables[i].type == CONF_BOOL;
		char *args = xasprintf("%s = %s", variables[i].argument, yes ? "false" : "\"own\"");

		entra_begin();
		CHECK_STR(filled(i, ""), "");
		entra.vars[0][0] = variables[i].variable;
		entra.vars[0][1] = yes ? "true" : "/given";
		CHECK_STR(filled(i, ""), yes ? "true" : "/given");
		CHECK_STR(filled(i, args), yes ? "" : "own");
		free(args);
		entra_end();
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
	    { "reads_the_variables_that_terraform_reads", reads_the_variables_that_terraform_reads },
	    { NULL, NULL } });
}
