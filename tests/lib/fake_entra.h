/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_ENTRA_H
#define TESTS_LIB_FAKE_ENTRA_H

#include "scripted_http.h"

/*
 * Who signs in to Azure asks, behind the scripted HTTP client: Entra ID, which checks secrets, and assertions by their signature and
 * claims; the metadata service of a machine and of App Service; the issuers of GitHub and Azure DevOps; the metadata service of a
 * cloud; the management API. A request that is not as it should be is answered 400, and counted. Any other host fails the test.
 */
#define FAKE_TENANT       "72f988bf-0000-4000-8000-000000000001"
#define FAKE_CLIENT       "11111111-aaaa-4000-8000-000000000001"
#define FAKE_SUBSCRIPTION "22222222-0000-4000-8000-000000000001"
#define FAKE_GROUP        "rg1"
#define FAKE_ACCOUNT      "tfacct1"
#define FAKE_SECRET       "CANARY-s3cr3t~x"
#define FAKE_ASSERTION    "eyJh.CANARY-assertion.c2ln"
#define FAKE_PERMIT       "CANARY-request-token"
#define FAKE_HEADER       "CANARY-identity-header"
#define FAKE_X5T          "MuhOz6VQeoDhY7w--ToNOEmaxiU" /* of the certificate in tests/golden/pfx */
#define FAKE_X5T_S256     "2Ua69faTcvdp_2UokUQ2F_2rU7NkV1gcbeMq1z6eL88"
#define FAKE_ACCOUNT_KEY  "dGVycmFmb3JtLWdvbGRlbi1rZXktMDEyMzQ1Njc4OWFiY2RlZi10ZXJyYWZvcm0tZ29sZGVuLWtleS0wMTIz"

struct fake_entra {
	struct loop *loop;
	const char  *login, *arm, *suffix;    /* of the cloud */
	int64_t      life_s;                  /* of tokens */
	unsigned     tokens, managed, permits, clouds, accounts, keys, wrong; /* requests of each kind */
	char         form[8192], scope[128], target[1024]; /* of the last request for a token */
	char         why[160];                /* it was wrong */
	/* Instead of an answer: status, and code and text of the error. */
	int          refuses;
	const char  *error, *text;
	const char  *refuses_at;              /* part of the URL it concerns; NULL: all */
};

struct fake_entra *fake_entra_behind(struct scripted_http *http, struct loop *l);
void               fake_entra_free(struct fake_entra *f);

#endif
