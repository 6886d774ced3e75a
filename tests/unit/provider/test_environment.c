/* SPDX-License-Identifier: MIT */
/* The variables that terraform reads when an argument is absent, for every provider: an empty block takes them too. */
#include <stdlib.h>

#include "base/mem.h"
#include "provider/provider.h"
#include "../../lib/test.h"

static const struct row {
	const char *provider, *argument, *variables; /* the first that is set counts */
} rows[] = {
	{ "azurerm", "access_key", "ARM_ACCESS_KEY" },
	{ "azurerm", "sas_token", "ARM_SAS_TOKEN" },
	{ "azurerm", "snapshot", "ARM_SNAPSHOT" },
	{ "azurerm", "environment", "ARM_ENVIRONMENT" },
	{ "azurerm", "subscription_id", "ARM_SUBSCRIPTION_ID" },
	{ "azurerm", "lookup_blob_endpoint", "ARM_USE_DNS_ZONE_ENDPOINT" },
	{ "azurerm", "metadata_host", "ARM_METADATA_HOSTNAME ARM_METADATA_HOST" },
	{ "azurerm", "use_azuread_auth", "ARM_USE_AZUREAD" },
	{ "azurerm", "tenant_id", "ARM_TENANT_ID" },
	{ "azurerm", "client_id", "ARM_CLIENT_ID" },
	{ "azurerm", "client_id_file_path", "ARM_CLIENT_ID_FILE_PATH" },
	{ "azurerm", "client_secret", "ARM_CLIENT_SECRET" },
	{ "azurerm", "client_secret_file_path", "ARM_CLIENT_SECRET_FILE_PATH" },
	{ "azurerm", "client_certificate", "ARM_CLIENT_CERTIFICATE" },
	{ "azurerm", "client_certificate_path", "ARM_CLIENT_CERTIFICATE_PATH" },
	{ "azurerm", "client_certificate_password", "ARM_CLIENT_CERTIFICATE_PASSWORD" },
	{ "azurerm", "use_oidc", "ARM_USE_OIDC" },
	{ "azurerm", "oidc_token", "ARM_OIDC_TOKEN" },
	{ "azurerm", "oidc_token_file_path", "ARM_OIDC_TOKEN_FILE_PATH" },
	{ "azurerm", "oidc_request_url", "ARM_OIDC_REQUEST_URL ACTIONS_ID_TOKEN_REQUEST_URL SYSTEM_OIDCREQUESTURI" },
	{ "azurerm", "oidc_request_token", "ARM_OIDC_REQUEST_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN SYSTEM_ACCESSTOKEN" },
	{ "azurerm", "ado_pipeline_service_connection_id", "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID ARM_OIDC_AZURE_SERVICE_CONNECTION_ID" },
	{ "azurerm", "use_msi", "ARM_USE_MSI" },
	{ "azurerm", "msi_endpoint", "ARM_MSI_ENDPOINT" },
	{ "azurerm", "use_aks_workload_identity", "ARM_USE_AKS_WORKLOAD_IDENTITY" },
	{ "azurerm", "use_cli", "ARM_USE_CLI" },
	{ "azurerm", "timeout_seconds", "ARM_TIMEOUT_SECONDS" },
	{ "azurerm", "encryption_scope", "ARM_ENCYRPTION_SCOPE" }, /* as OpenTofu spells it */
	{ "cloud", "hostname", "TF_CLOUD_HOSTNAME" },
	{ "cloud", "organization", "TF_CLOUD_ORGANIZATION" },
	{ "gcs", "access_token", "GOOGLE_OAUTH_ACCESS_TOKEN" },
	{ "gcs", "credentials", "GOOGLE_BACKEND_CREDENTIALS GOOGLE_CREDENTIALS" },
	{ "gcs", "impersonate_service_account", "GOOGLE_BACKEND_IMPERSONATE_SERVICE_ACCOUNT GOOGLE_IMPERSONATE_SERVICE_ACCOUNT" },
	{ "gcs", "encryption_key", "GOOGLE_ENCRYPTION_KEY" },
	{ "gcs", "kms_encryption_key", "GOOGLE_KMS_ENCRYPTION_KEY" },
	{ "gcs", "storage_custom_endpoint", "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT GOOGLE_STORAGE_CUSTOM_ENDPOINT" },
	{ "gcs", "universe_domain", "GOOGLE_BACKEND_UNIVERSE_DOMAIN" },
	{ "harness", "endpoint", "HARNESS_ENDPOINT" },
	{ "harness", "account_id", "HARNESS_ACCOUNT_ID" },
	{ "harness", "api_key", "HARNESS_PLATFORM_API_KEY HARNESS_API_KEY" },
	{ "harness", "password", "TF_HTTP_PASSWORD" },
	{ "http", "address", "TF_HTTP_ADDRESS" },
	{ "http", "update_method", "TF_HTTP_UPDATE_METHOD" },
	{ "http", "lock_address", "TF_HTTP_LOCK_ADDRESS" },
	{ "http", "lock_method", "TF_HTTP_LOCK_METHOD" },
	{ "http", "unlock_address", "TF_HTTP_UNLOCK_ADDRESS" },
	{ "http", "unlock_method", "TF_HTTP_UNLOCK_METHOD" },
	{ "http", "username", "TF_HTTP_USERNAME" },
	{ "http", "password", "TF_HTTP_PASSWORD" },
	{ "http", "client_ca_certificate_pem", "TF_HTTP_CLIENT_CA_CERTIFICATE_PEM" },
	{ "http", "client_certificate_pem", "TF_HTTP_CLIENT_CERTIFICATE_PEM" },
	{ "http", "client_private_key_pem", "TF_HTTP_CLIENT_PRIVATE_KEY_PEM" },
	{ "http", "retry_max", "TF_HTTP_RETRY_MAX" },
	{ "http", "retry_wait_min", "TF_HTTP_RETRY_WAIT_MIN" },
	{ "http", "retry_wait_max", "TF_HTTP_RETRY_WAIT_MAX" },
	{ "s3", "region", "AWS_REGION AWS_DEFAULT_REGION" },
	{ "s3", "sse_customer_key", "AWS_SSE_CUSTOMER_KEY" },
	{ "s3", "endpoint", "AWS_ENDPOINT_URL_S3 AWS_S3_ENDPOINT AWS_ENDPOINT_URL" },
	{ "s3", "use_fips_endpoint", "AWS_USE_FIPS_ENDPOINT" },
	{ "s3", "use_dualstack_endpoint", "AWS_USE_DUALSTACK_ENDPOINT" },
	{ "s3", "retry_mode", "AWS_RETRY_MODE" },
	{ "s3", "ec2_metadata_service_endpoint", "AWS_EC2_METADATA_SERVICE_ENDPOINT" },
	{ "s3", "ec2_metadata_service_endpoint_mode", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE" },
	{ "s3", "custom_ca_bundle", "AWS_CA_BUNDLE" },
	{ "s3", "sts_endpoint", "AWS_ENDPOINT_URL_STS AWS_STS_ENDPOINT AWS_ENDPOINT_URL" },
	{ "s3", "dynamodb_endpoint", "AWS_ENDPOINT_URL_DYNAMODB AWS_DYNAMODB_ENDPOINT AWS_ENDPOINT_URL" },
};

/* --- the environment of the test -------------------------------------------------------------------------------------- */

#define SET_MAX 4
static struct {
	char        name[80];
	const char *value;
} set[SET_MAX];

static const char *
env(void *arg, const char *name)
{
	(void)arg;
	for (size_t i = 0; i < SET_MAX; i++)
		if (strcmp(set[i].name, name) == 0)
			return set[i].value;
	return NULL;
}

/* The n-th of names (all, when n is -1) has that value, the others are unset. */
static size_t
assign(const char *names, int n, const char *value)
{
	size_t count = 0;

	memset(set, 0, sizeof(set));
	for (; *names != '\0'; names += strspn(names, " "), count++) {
		size_t len = strcspn(names, " ");

		CHECK(count < SET_MAX && len < sizeof(set[0].name));
		if (n == -1 || (size_t)n == count) {
			memcpy(set[count].name, names, len);
			set[count].value = value;
		}
		names += len;
	}
	return count;
}

static const struct conf_field *
field(const struct row *r)
{
	const struct provider *p = provider_find(r->provider);

	CHECK(p != NULL);
	for (const struct conf_field *f = p->fields; f->name != NULL; f++)
		if (strcmp(f->name, r->argument) == 0)
			return f;
	test_fail(__FILE__, __LINE__, "%s has no argument %s", r->provider, r->argument);
}

static const char *
sample(const struct conf_field *f)
{
	switch (f->type) {
	case CONF_BOOL:    return "true";
	case CONF_INT:
	case CONF_SECONDS: return "7";
	case CONF_ENUM:    return f->choices[1];
	case CONF_STRS:    return "a, b";
	default:           return "some-text";
	}
}

/* The block as it is filled: *ret to be freed. Text inside goes before the variables. */
static enum err_code
fill(const struct row *r, const char *inside, struct conf **ret, void **ret_values, struct err *reterr)
{
	const struct conf_source source = { .env = env };
	const struct provider   *p = provider_find(r->provider);
	char                    *text = xasprintf("backend \"%s\" \"x\" {\n%s}\n", p->name, inside);
	struct conf_field        optional[128];
	size_t                   n = 0;
	enum err_code            rc;

	for (; p->fields[n].name != NULL; n++) { /* what is required is another test's business */
		CHECK(n + 1 < ARRAY_LEN(optional));
		optional[n] = p->fields[n];
		optional[n].required = false;
	}
	optional[n].name = NULL;
	CHECK_OK(conf_parse("x.hcl", "/", span_str(text), false, &source, ret, reterr), *reterr);
	*ret_values = arena_alloc(conf_arena(*ret), p->conf_size);
	rc = conf_fields(*ret, &conf_root(*ret)->blocks[0], optional, *ret_values, reterr);
	free(text);
	return rc;
}

/* The name of the variable that filled it; NULL: none did. */
static const char *
filled(struct conf *c, const struct row *r)
{
	const struct conf_block *b = &conf_root(c)->blocks[0];

	for (size_t i = 0; i < b->nfilled; i++)
		if (strcmp(b->filled[i].field->name, r->argument) == 0)
			return b->filled[i].env;
	return NULL;
}

static const char *
as_text(const struct conf_field *f, const void *values)
{
	static char number[32];
	const char *at = (const char *)values + f->offset;

	switch (f->type) {
	case CONF_BOOL:   return *(const bool *)at ? "true" : "false";
	case CONF_INT:    snprintf(number, sizeof(number), "%lld", (long long)*(const int64_t *)(const void *)at); return number;
	case CONF_SECONDS:
		snprintf(number, sizeof(number), "%lld", (long long)*(const int64_t *)(const void *)at / 1000);
		return number;
	case CONF_ENUM:   return f->choices[*(const int *)(const void *)at];
	case CONF_SECRET: return secret_str(*(struct secret *const *)(const void *)at);
	case CONF_PATH:   return *(const char *const *)(const void *)at + 1; /* made absolute against "/" */
	default:          return *(const char *const *)(const void *)at;
	}
}

/* --- the tests --------------------------------------------------------------------------------------------------------- */

static void
table(void)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct conf_field *f = field(&rows[i]);

		if (f->env == NULL || strcmp(f->env, rows[i].variables) != 0)
			test_fail(__FILE__, __LINE__, "%s: %s reads %s, not %s", rows[i].provider, f->name, f->env, rows[i].variables);
	}
	for (size_t i = 0; provider_all[i] != NULL; i++)
		for (const struct conf_field *f = provider_all[i]->fields; f->name != NULL; f++) {
			bool known = f->env == NULL;

			for (size_t k = 0; k < ARRAY_LEN(rows) && !known; k++)
				known = strcmp(rows[k].provider, provider_all[i]->name) == 0 && strcmp(rows[k].argument, f->name) == 0;
			if (!known)
				test_fail(__FILE__, __LINE__, "%s: no row for %s, which reads %s", provider_all[i]->name, f->name, f->env);
		}
}

static void
each_fills_an_empty_block(void)
{
	struct conf *c;
	struct err   e;
	void        *values;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row        *r = &rows[i];
		const struct conf_field *f = field(r);

		for (int n = 0; (size_t)n < assign(r->variables, n, sample(f)); n++) {
			if (f->later != NULL) {
				CHECK(fill(r, "", &c, &values, &e) == ERR_CONFIG);
				CHECK(strstr(e.msg, "needs a later version of stateferry") != NULL);
			} else {
				CHECK_OK(fill(r, "", &c, &values, &e), e);
				CHECK_STR(filled(c, r), set[n].name);
				CHECK_STR(as_text(f, values), sample(f));
			}
			conf_free(c);
		}
	}
}

/* The block comes first, then the variables in their order; one that is empty is none. */
static void
order(void)
{
	struct conf *c;
	struct err   e;
	void        *values;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row        *r = &rows[i];
		const struct conf_field *f = field(r);
		char                    *inside;

		inside = xasprintf("  %s = \"%s\"\n", r->argument, f->type == CONF_ENUM ? f->choices[0] : f->type == CONF_BOOL ? "false" :
		    f->type == CONF_INT || f->type == CONF_SECONDS ? "3" : "other");
		if (f->later == NULL) {
			assign(r->variables, -1, sample(f));
			CHECK_OK(fill(r, "", &c, &values, &e), e);
			CHECK_STR(filled(c, r), set[0].name);
			conf_free(c);
			CHECK_OK(fill(r, inside, &c, &values, &e), e);
			CHECK(filled(c, r) == NULL && strcmp(as_text(f, values), sample(f)) != 0);
			conf_free(c);
		}
		assign(r->variables, -1, "");
		CHECK_OK(fill(r, "", &c, &values, &e), e);
		CHECK(filled(c, r) == NULL);
		conf_free(c);
		free(inside);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "every variable is in the table, and nothing else", table },
		{ "each fills an empty block", each_fills_an_empty_block },
		{ "what comes first", order },
		{ NULL, NULL },
	});
}
