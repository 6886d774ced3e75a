/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/entra_rig.h"
#include "../../lib/test.h"
#include "provider/bearer.h"

/* Credentials that end, are refused, or are not there. */

/* --- refresh ----------------------------------------------------------------------------------------------------------------- */

static void
renews_once_for_all(void)
{
	entra_begin();
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	CHECK_OK(entra_open(), entra.err);
	for (int i = 0; i < 20; i++) /* twenty requests that wait for the first one */
		op_start(azurerm_cred_ready(entra.cred), entra_done, NULL);
	entra_turn();
	CHECK_U64(entra.ended, 20);
	CHECK_U64(entra.fake->tokens, 1);
	op_start(op_sleep(entra.loop, 56 * ENTRA_MINUTE), entra_done, NULL);
	entra_turn();
	entra.fake->refuses = 503; /* the next one is fetched meanwhile: nobody waits, and nobody fails */
	entra.fake->error = "temporarily_unavailable";
	entra.fake->text = "x";
	CHECK_OK(entra_ready(), entra.err);
	CHECK_STR(entra_signature(), "Bearer CANARY-token-1");
	CHECK_U64(entra.fake->tokens, 1 + BEARER_TRIES);
	entra.fake->refuses = 0;
	op_start(op_sleep(entra.loop, TOKEN_PAUSE_MS), entra_done, NULL);
	entra_turn();
	for (int i = 0; i < 20; i++)
		CHECK_OK(entra_ready(), entra.err);
	CHECK_U64(entra.fake->tokens, 2 + BEARER_TRIES);
	CHECK_STR(entra_signature(), "Bearer CANARY-token-5");
	entra_end();
}

/* A request that was refused with an old token does not throw away the new one. */
static void
fetches_another_when_it_is_refused(void)
{
	unsigned before;

	entra_begin();
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	CHECK_OK(entra_open(), entra.err);
	CHECK_OK(entra_ready(), entra.err);
	before = azurerm_cred_generation(entra.cred);
	CHECK(azurerm_cred_renew(entra.cred, before));
	CHECK_OK(entra_ready(), entra.err);
	CHECK_STR(entra_signature(), "Bearer CANARY-token-2");
	CHECK(azurerm_cred_renew(entra.cred, before));
	CHECK_OK(entra_ready(), entra.err);
	CHECK_U64(entra.fake->tokens, 2);
	entra_end();
}

/* A projected token is renewed by its issuer: what lies in the file counts each time. */
static void
reads_files_anew(void)
{
	entra_begin();
	entra.conf.use_oidc = true;
	entra.conf.oidc_token_file_path = "/t";
	entra.files[0][0] = "/t";
	entra.files[0][1] = "CANARY-old";
	CHECK_OK(entra_open(), entra.err);
	CHECK_U64(entra_ready(), ERR_AUTH);
	entra.files[0][1] = FAKE_ASSERTION;
	op_start(op_sleep(entra.loop, TOKEN_AGAIN_MS), entra_done, NULL);
	entra_turn();
	CHECK_OK(entra_ready(), entra.err);
	entra_end();
}

/* The backend goes away while it signs in. */
static void
ends_in_the_middle(void)
{
	struct op *op;

	for (int turns = 0; turns < 8; turns++) {
		entra_begin();
		entra.conf.client_secret = entra_secret(FAKE_SECRET);
		CHECK_OK(entra_open(), entra.err);
		op = azurerm_cred_ready(entra.cred);
		op_start(op, entra_done, NULL);
		for (int i = 0; i < turns; i++)
			loop_turn(entra.loop, false);
		if (entra.ended == 0)
			op_cancel(op);
		for (int i = 0; entra.ended == 0 && i < 50; i++)
			loop_turn(entra.loop, false);
		CHECK_U64(entra.ended, 1);
		entra_end();
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

		entra_begin();
		entra.conf.client_secret = entra_secret(FAKE_SECRET);
		entra.fake->refuses = 401;
		entra.fake->error = "invalid_client";
		entra.fake->text = text;
		entra_refused(ERR_AUTH, rows[i].msg, rows[i].hint);
		free(text);
	}
	entra_begin(); /* an issuer that repeats the secret is not quoted */
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	entra.fake->refuses = 401;
	entra.fake->error = "invalid_client";
	entra.fake->text = "no " FAKE_SECRET;
	entra_refused(ERR_AUTH, "it answers 401", "client_secret");
	entra_begin();
	entra.conf.client_secret = entra_secret(FAKE_SECRET);
	entra.fake->refuses = 503;
	entra.fake->error = "x";
	entra.fake->text = "y";
	entra_refused(ERR_BUSY, "Entra ID", "");
	entra_begin();
	entra.conf.use_oidc = true;
	entra.conf.oidc_request_url = "https://token.actions.example/tok?x=1";
	entra.conf.oidc_request_token = entra_secret("CANARY-other");
	entra_refused(ERR_AUTH, "the issuer at oidc_request_url", "id-token: write");
}

static void
says_what_the_machine_lacks(void)
{
	entra_begin();
	entra.conf.use_msi = true;
	entra.fake->refuses = 400;
	entra.fake->error = "invalid_request";
	entra.fake->text = "Identity not found";
	entra_refused(ERR_AUTH, "the managed identity: it answers 400, invalid_request: Identity not found", "give the machine an identity");
	entra_begin();
	entra.conf.use_msi = true;
	for (unsigned i = 1; i <= BEARER_TRIES; i++)
		scripted_fail(entra.http, i, SCRIPTED_LOST_BEFORE);
	entra_refused(ERR_NETWORK, "the managed identity", "machines of Azure only");
	entra_begin(); /* not there yet */
	entra.conf.use_msi = true;
	entra.fake->refuses = 410;
	entra.fake->error = "x";
	entra.fake->text = "y";
	entra_refused(ERR_BUSY, "it answers 410", "");
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

		entra_begin();
		entra.conf.use_azuread_auth = false;
		entra.conf.resource_group_name = FAKE_GROUP;
		entra.conf.subscription_id = FAKE_SUBSCRIPTION;
		entra.conf.client_secret = entra_secret(FAKE_SECRET);
		entra.fake->refuses = rows[i].status;
		entra.fake->refuses_at = rows[i].at;
		entra.fake->error = body;
		entra_refused(ERR_AUTH, rows[i].msg, rows[i].hint);
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
		entra_begin();
		entra.conf.tenant_id = rows[i].tenant;
		entra.conf.client_id = rows[i].client;
		entra.conf.resource_group_name = rows[i].group;
		entra.conf.use_azuread_auth = rows[i].aad;
		entra.conf.use_oidc = rows[i].oidc;
		entra.conf.lookup_blob_endpoint = rows[i].lookup;
		entra.conf.access_key = rows[i].key != NULL ? entra_secret(rows[i].key) : NULL;
		entra.conf.client_secret = rows[i].secret != NULL ? entra_secret(rows[i].secret) : NULL;
		entra_refused(ERR_CONFIG, rows[i].msg, rows[i].hint);
	}
}

static void
says_what_files_lack(void)
{
	entra_begin();
	entra.conf.client_secret_file_path = "/s";
	entra_refused(ERR_CONFIG, "client_secret_file_path: the file /s is not there", "");
	entra_begin();
	entra.conf.client_secret = entra_secret("CANARY-1");
	entra.conf.client_secret_file_path = "/s";
	entra.files[0][0] = "/s";
	entra.files[0][1] = "CANARY-2";
	entra_refused(ERR_CONFIG, "client_secret and the file of client_secret_file_path differ", "");
	entra_begin();
	entra.conf.client_certificate_path = "/c";
	entra_refused(ERR_CONFIG, "client_certificate_path: there is no file /c", "");
	entra_begin();
	entra.conf.client_certificate_path = "/c";
	entra.conf.client_certificate_password = entra_secret("CANARY-3");
	entra.files[0][0] = "/c";
	entra.files[0][1] = "golden/pfx/aes.pfx";
	entra_refused(ERR_CONFIG, "client_certificate_path: the password of the archive (PKCS #12) is wrong", "");
	entra_begin();
	entra.conf.client_certificate = entra_secret("CANARY no base64");
	entra_refused(ERR_CONFIG, "client_certificate: expected an archive", "");
	entra_begin();
	entra.conf.use_aks_workload_identity = true;
	entra.vars[0][0] = "AZURE_CLIENT_ID";
	entra.vars[0][1] = "another";
	entra_refused(ERR_CONFIG, "client_id and AZURE_CLIENT_ID, which AKS sets, differ", "use_aks_workload_identity");
	entra_begin();
	entra.conf.use_oidc = true;
	entra.conf.oidc_request_url = "http://token.actions.example/tok";
	entra.conf.oidc_request_token = entra_secret(FAKE_PERMIT);
	entra_refused(ERR_CONFIG, "oidc_request_url: only https", "");
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "renews_once_for_all", renews_once_for_all },
	    { "fetches_another_when_it_is_refused", fetches_another_when_it_is_refused },
	    { "reads_files_anew", reads_files_anew },
	    { "ends_in_the_middle", ends_in_the_middle },
	    { "says_what_entra_id_means", says_what_entra_id_means },
	    { "says_what_the_machine_lacks", says_what_the_machine_lacks },
	    { "says_what_the_manager_refuses", says_what_the_manager_refuses },
	    { "says_what_is_missing", says_what_is_missing },
	    { "says_what_files_lack", says_what_files_lack },
	    { NULL, NULL } });
}
