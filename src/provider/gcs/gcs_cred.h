/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_GCS_CRED_H
#define SRC_PROVIDER_GCS_CRED_H

#include "net/jwt.h"
#include "provider/bearer.h"
#include "provider/provider.h"

/*
 * What requests to Google sign in with: a bearer token, for which something else is exchanged (docs/protocol/gcs.md, "Signing in").
 * The first token is that of an account; each hop then takes the one of another account with it.
 */
#define GCS_SCOPE_STORAGE "https://www.googleapis.com/auth/devstorage.read_write"
#define GCS_SCOPE_CLOUD   "https://www.googleapis.com/auth/cloud-platform" /* before a hop */
#define GCS_UNIVERSE      "googleapis.com"
#define GCS_ACCOUNT_MAX   ((size_t)64 << 10) /* bytes of a file of credentials */
#define GCS_HOPS          3
#define GCS_DELEGATES     16
#define GCS_SOURCE_HEADERS 4

/* --- gcs_account.c: credentials as JSON ------------------------------------------------------------------------------- */

/* Act as another account. */
struct gcs_hop {
	char   *url;                       /* "https://iamcredentials...:generateAccessToken" */
	char   *delegates[GCS_DELEGATES];  /* "projects/-/serviceAccounts/EMAIL" */
	size_t  ndelegates;
	int64_t seconds;
};

enum gcs_kind {
	GCS_MACHINE,       /* the metadata server's: no JSON at all */
	GCS_TOKEN,         /* access_token */
	GCS_SERVICE,       /* the key of a service account */
	GCS_USER,          /* a login of gcloud */
	GCS_FEDERATED_FILE, GCS_FEDERATED_URL, GCS_FEDERATED_AWS, /* another issuer's token */
};

struct gcs_account {
	enum gcs_kind      kind;
	struct gcs_hop     hops[GCS_HOPS];
	size_t             nhops;
	char              *universe, *project; /* NULL: says nothing; project: who pays (quota_project_id) */
	char              *token_url;
	/* service account */
	char              *email, *key_id;
	struct jwt_key    *key;
	/* user, and what may go with a federation */
	char              *client_id;
	struct secret     *client_secret, *refresh_token;
	/* federation */
	char              *audience, *subject_type, *user_project;
	char              *source, *member; /* file or URL, and which member of its text: "" the whole */
	struct http_header headers[GCS_SOURCE_HEADERS]; /* names and values owned */
	size_t             nheaders;
	char              *region_url, *verify_url;  /* AWS; source is that of its keys, or NULL */
};

void          gcs_account_free(struct gcs_account *a); /* contents */
/* ERR_CONFIG: no JSON, of a kind that is not taken, or incomplete; the message holds nothing of it but names. */
enum err_code gcs_account_parse(struct span json, struct gcs_account *ret, struct err *reterr);
void          gcs_hop_free(struct gcs_hop *h);
/* email with or without the path before it. false: there are GCS_DELEGATES. */
bool          gcs_hop_delegate(struct gcs_hop *h, struct span email);
/* The account of a hop, for messages: "tf@p.iam.gserviceaccount.com", cut to fit. */
void          gcs_hop_email(const struct gcs_hop *h, char *ret, size_t size);

/* --- gcs_exchange.c, gcs_federation.c, gcs_aws.c: one token ------------------------------------------------------------ */

/* The first token of an account. a and env outlive the op; scope is static. ret is filled on success. */
struct op *gcs_service_token(const struct provider_env *env, const struct gcs_account *a, const char *scope, struct bearer *ret);
struct op *gcs_user_token(const struct provider_env *env, const struct gcs_account *a, struct bearer *ret);
struct op *gcs_machine_token(const struct provider_env *env, const char *scope, struct bearer *ret);
struct op *gcs_federated_token(const struct provider_env *env, const struct gcs_account *a, const char *scope, struct bearer *ret);
/* The token that another issuer gives: for AWS a signed request, URL-encoded. */
struct op *gcs_aws_subject(const struct provider_env *env, const struct gcs_account *a, struct bearer *ret);
/* The token of the hop's account, with the one before it; project: who pays for the request, NULL: the account of that token. */
struct op *gcs_hop_token(const struct provider_env *env, const struct gcs_hop *h, const struct bearer *with, const char *project,
    const char *scope, struct bearer *ret);

/* --- gcs_cred.c: which of them, and keeping it fresh ------------------------------------------------------------------ */

struct gcs_conf;
struct gcs_cred;

/* Reads and checks the credentials that the block and the environment name; dir: what relative paths are relative to. Nothing of the
 * arguments is needed afterwards but env. */
enum err_code gcs_cred_new(const struct provider_env *env, const struct gcs_conf *conf, const char *dir, struct gcs_cred **ret,
    struct err *reterr);
void          gcs_cred_free(struct gcs_cred *c);
/* Ends OK when there is a token; it is renewed as token.h says. */
struct op    *gcs_cred_ready(struct gcs_cred *c, int64_t wall_ms);
/* After that, until the next turn of the loop: the headers to send, values owned by the caller. */
#define GCS_CRED_HEADERS 2
size_t        gcs_cred_headers(const struct gcs_cred *c, struct http_header ret[GCS_CRED_HEADERS]);
unsigned      gcs_cred_generation(const struct gcs_cred *c);
/* The server refused the token of that generation: the next gcs_cred_ready() gets another one. false: there is nowhere to get one from. */
bool          gcs_cred_reject(struct gcs_cred *c, unsigned generation);
bool          gcs_cred_is_fixed(const struct gcs_cred *c);
/* "access_token", "credentials, tf@p.iam.gserviceaccount.com": for messages. */
const char   *gcs_cred_source(const struct gcs_cred *c);

#endif
