/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_HTTP_HTTP_H
#define PROVIDER_HTTP_HTTP_H

#include "provider/provider.h"

/*
 * Terraform's "http" backend: GET and POST on one address, LOCK and UNLOCK on two more (docs/protocol/http-state.md).
 */
struct hb_conf {
	const char     *address, *lock_address, *unlock_address;
	const char     *update_method, *lock_method, *unlock_method;
	const char     *username;
	struct secret  *password;
	bool            insecure;
	const char     *ca_pem, *cert_pem;
	struct secret  *key_pem;
	int64_t         retry_max, retry_wait_min_ms, retry_wait_max_ms;
	struct conf_map headers;
	struct conf_strs states;
};

#define HB_HEADERS_MAX 48 /* of the argument headers */

struct hb {
	struct backend             b;
	const struct provider_env *env;
	const struct hb_conf      *conf;
	char                      *address, *lock_address, *unlock_address; /* without user and password; NULL: no lock */
	bool                       free_names;  /* {name} in the addresses */
	struct secret             *basic;       /* "Basic ..."; NULL: none */
	struct http_tls            tls;
};

struct hb *hb_of(const struct backend *b);

/* --- one request, sent again where that is safe --- */

enum hb_again {
	HB_ONCE,        /* an update: again only when the server refused it for the time being */
	HB_READ,        /* retried, and redirects to the same host are followed */
	HB_IDEMPOTENT,  /* LOCK, UNLOCK: the same body again is harmless, and tells what became of the first one */
};

struct hb_answer {
	struct http_response res;
	struct snapshot      now;       /* of a read with status 200; body NULL: it was empty */
	bool                 doubt;     /* an earlier attempt may have had an effect */
};
void hb_answer_free(struct hb_answer *a);

struct hb_request {
	const char    *method;
	const char    *address;         /* template of the backend's */
	const char    *name;
	const char    *id;              /* becomes the parameter ID; NULL: none */
	const char    *unless_etag;     /* NULL: unconditional */
	struct body   *body;            /* NULL: none */
	enum hb_again  again;
};

/* Ends OK with an answer of any status, or as http_client.h says; ERR_UNCERTAIN also when a later attempt failed harmlessly. */
struct op *hb_send(struct hb *h, const struct hb_request *r, struct hb_answer *ret);
/* base64 of the MD5, on the pool when the body is large. ret holds HB_MD5_TEXT bytes. */
#define HB_MD5_TEXT 32
struct op *hb_md5(struct hb *h, struct body *body, char *ret);

/* What a status means where the caller has no rule of its own; what: "reading", "locking" ... */
enum err_code hb_refused(const struct http_response *r, const char *what, const char *name, bool write, struct err *reterr);
/* Is this a name that the configured addresses can carry? */
enum err_code hb_name_check(const struct hb *h, const char *name, struct err *reterr);

/* --- the calls --- */

struct op *hb_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret);
struct op *hb_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
struct op *hb_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body,
    const struct put_condition *when, char ret_etag[ETAG_MAX]);
struct op *hb_del(struct backend *b, const struct state_ref *ref, const char *if_etag);
struct op *hb_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *hb_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *hb_lock_break(struct backend *b, const struct state_ref *ref, const struct lock_info *l, struct lock_info *ret_holder);

#endif
