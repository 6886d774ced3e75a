/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_BEARER_H
#define SRC_PROVIDER_BEARER_H

#include "base/secret.h"
#include "provider/provider.h"
#include "provider/token.h"

/* Bearer tokens as issuers hand them out: the value of a struct token, and the request that gets one. */
struct bearer {
	struct secret *text;
	int64_t        ends; /* wall ms; 0: never */
};

int64_t bearer_ends(const void *value);
void    bearer_wipe(void *value);

/* One request to an issuer: a read in every respect, so it is tried BEARER_TRIES times when nobody answers, or says "later". */
#define BEARER_TRIES      3
#define BEARER_TRIES_LATER 8      /* a minute in all, where the answer is one of "later" below */
#define BEARER_PAUSE_MS   500    /* doubled each time; or what Retry-After asks for */
#define BEARER_TIMEOUT_MS 10000
#define BEARER_HEADERS    8
#define BEARER_SECRETS    4
#define BEARER_LATER      2
#define BEARER_MAX        65536  /* of the answer */
#define BEARER_MEMBER_MAX 64     /* of a name; a longer one is never found */

struct bearer_request {
	const char        *who;         /* "the token endpoint of ...": begins the message of a failure */
	const char        *method, *url;
	struct http_header headers[BEARER_HEADERS];
	size_t             nheaders;
	struct body       *body;        /* may be NULL */
	bool               no_proxy;    /* a service of the machine */
	int64_t            timeout_ms;  /* 0: BEARER_TIMEOUT_MS */
	const struct http_tls *tls;
	const char        *needs_header; /* of the answer, with this value: else somebody else answered; NULL: none */
	const char        *needs_value;
	const char        *member;      /* of the answer, that holds the token; "": the text is it; NULL: access_token or accessToken */
	int                later[BEARER_LATER]; /* statuses that mean "later" too; 0: none */
	int64_t           *ret_date;    /* when the last answer was given, by the issuer's clock; NULL: not wanted. It says nothing: 0 */
	const struct secret *secrets[BEARER_SECRETS]; /* in body or headers: an answer that repeats one is not quoted; NULL: none */
};

/*
 * r with all it points to and ret outlive the op. Understands OAuth 2.0 (access_token, expires_in, expires_on; error,
 * error_description), Google's accessToken with expireTime and error { status, message }, and Microsoft's { code, message }. Ends
 * with ERR_AUTH when the issuer refuses, ERR_CORRUPT when the answer holds no token; messages never hold what was sent, nor any
 * part of a token.
 */
struct op    *bearer_fetch(const struct provider_env *env, const struct bearer_request *r, struct bearer *ret);
/* The same request for something else: ends OK with 200, and ret, zeroed before, is that answer, freed by the caller in any case. */
struct op    *bearer_ask(const struct provider_env *env, const struct bearer_request *r, struct http_response *ret);
/* The answer alone. member: as above. wall_ms: now; date_ms: now for the issuer, whose expireTime counts from there; 0: unknown. */
enum err_code bearer_parse(struct span json, const char *member, int64_t wall_ms, int64_t date_ms, struct bearer *ret, struct err *reterr);
/* What an error body says, made visible and cut: "invalid_grant: ...". false: nothing. */
bool          bearer_refusal(struct span json, char *ret, size_t size);

#endif
