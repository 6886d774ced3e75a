/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/entra_rig.h"
#include "../../lib/golden.h"
#include "../../lib/test.h"

/* Recordings of terraform's ways to a token or key of Azure (tests/golden/azure/sign-in): ours asks the same, and sends what it was given. */
static struct golden golden;

static char *
unescaped(const char *text)
{
	struct buf b;

	buf_init(&b, 0);
	CHECK(url_unescape(span_str(text), true, &b));
	return buf_take(&b);
}

static bool
same_call(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	return strcmp(ours->method, theirs->method) == 0 && strcmp(ours->url, theirs->url) == 0;
}

static void
compare(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	char *text = span_dup(ours->body), *a = unescaped(text), *b = unescaped((const char *)theirs->body.p);

	CHECK_STR(a, b);
	free(text);
	free(a);
	free(b);
}

/* n: requests until a request can be signed, the first ones that are recorded. */
static void
check_recorded(const char *name, size_t n, const char *header)
{
	golden_open(&golden, "azure/sign-in", name);
	golden.same = same_call;
	golden.compare = compare;
	scripted_handle(entra.http, golden_handle, &golden);
	CHECK_OK(entra_open(), entra.err);
	CHECK_OK(entra_ready(), entra.err);
	CHECK_U64(golden.replayed, n);
	CHECK_U64(golden.next, n);
	if (strncmp(entra_signature(), header, strlen(header)) != 0)
		test_fail(__FILE__, __LINE__, "%s: %s", name, entra.got);
	golden_close(&golden);
	entra_end();
}

static void
asks_as_terraform_does(void)
{
	entra_begin();
	entra.conf.client_secret = entra_secret("s3cr3t~x");
	check_recorded("aad_secret", 1, "Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.");
	entra_begin();
	entra.conf.use_oidc = true;
	entra.conf.oidc_token = entra_secret("eyJh.eyJz.c2ln");
	check_recorded("oidc", 1, "Bearer eyJ");
	entra_begin();
	entra.conf.use_oidc = true;
	entra.conf.oidc_request_url = "https://token.actions.example/tok?api-version=2.0";
	entra.conf.oidc_request_token = entra_secret("ghtok");
	check_recorded("ghoidc", 2, "Bearer eyJ");
	entra_begin();
	entra.conf.use_msi = true;
	entra.conf.msi_endpoint = "http://msi-endpoint.example/msi/token";
	check_recorded("msi", 1, "Bearer eyJ");
	entra_begin();
	entra.conf.use_azuread_auth = false;
	entra.conf.resource_group_name = FAKE_GROUP;
	entra.conf.subscription_id = FAKE_SUBSCRIPTION;
	entra.conf.client_secret = entra_secret("s3cr3t~x");
	check_recorded("rg_listkeys", 3, ENTRA_SIGNED_KEY);
	entra_begin();
	entra.conf.use_azuread_auth = false;
	entra.conf.metadata_host = "meta.example";
	entra.conf.sas_token = entra_secret("?sv=2023-11-03&sig=x");
	check_recorded("metahost", 1, "sv=2023-11-03&sig=x");
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "asks_as_terraform_does", asks_as_terraform_does },
	    { NULL, NULL } });
}
