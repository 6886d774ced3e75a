/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_GOOGLE_H
#define TESTS_LIB_FAKE_GOOGLE_H

#include "base/map.h"
#include "provider/gcs/gcs_cred.h"
#include "scripted_http.h"

/*
 * A whole gcs backend in front of issuers that check what they get: signature, claims, secrets, the token before. What the store is sent
 * at last says which way was taken. CANARY is part of every secret, and must never be of an error.
 */
#define GOOGLE_WALL    ((int64_t)1795309443000)
#define GOOGLE_EMAIL   "tf-agent@proj-1.iam.gserviceaccount.com"
#define GOOGLE_POOL    "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/prov"
#define GOOGLE_SUBJECT "CANARY.subject.c2ln" /* another issuer's token */

struct fake_google {
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
};
extern struct fake_google google;

void          google_begin(void);
void          google_var(const char *name, const char *value);  /* of the environment; both borrowed */
void          google_file(const char *path, const char *text);
/* Opens the backend: args stand in its block. */
enum err_code google_try(const char *args);
void          google_begun(const char *args);
enum err_code google_run(struct op *op);
enum err_code google_run_cancelled(struct op *op, unsigned turns); /* after so many turns of the loop */
enum err_code google_get(void);
void          google_end(void);
/* The scope of a signed claim, whose signature, times and names are right; aud NULL: for the service itself. */
const char   *google_check_claims(const char *jwt, const char *aud);
const char   *google_scope_word(const char *scope);             /* "storage", "cloud" */

#endif
