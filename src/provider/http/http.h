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
	const char     *unix_socket;
};

/* What one kind of server does its own way (docs/protocol/http-state.md, "Dialects"). All members but name may be zero. */
struct hb_dialect {
	const char *name;            /* for people */
	bool      (*fits)(const char *name); /* can a state have this name there? NULL: any */
	const char *names;           /* in words: what fits */
	bool        mute;            /* a refused lock does not tell whose it is: an id in that answer is one of an error */
	bool        echoes;          /* of the holder it tells ID, Who and Created; all else in that answer is what we sent */
	bool        id_front;        /* the parameter ID comes first: as terraform sorts it there */
	bool        id_401;          /* 401 to a write may mean that its lock is not on it */
	bool        explains;        /* a refusal is JSON with a message for people */
	const char *sign_in, *permit, *nothing, *busy; /* what to do after 401, 403, 404 and another's lock; NULL: the common advice */
	const char *no_credentials;  /* what to do after a 401 when none are configured; NULL: sign_in */
	const char *no_place;        /* stands in a 404 that is no missing state: where states could be is not there; NULL: nobody knows */
	const char *remark;          /* why it may show other bytes than it took; NULL: no idea */
};
extern const struct hb_dialect hb_plain, hb_harness, hb_gitlab, hb_gitea;
/* By the address alone. */
const struct hb_dialect *hb_dialect_of(const char *address);

#define HB_HARNESS_ACCOUNT "Harness-Account" /* a header that says whose, no credential */
#define HB_HEADERS_MAX 48 /* of the argument headers */

struct hb {
	struct backend             b;
	const struct provider_env *env;
	const struct hb_conf      *conf;
	const struct hb_dialect   *dialect;
	char                      *address, *lock_address, *unlock_address; /* without user and password; NULL: no lock */
	bool                       free_names;  /* {name} in the addresses */
	struct secret             *basic;       /* "Basic ..."; NULL: none */
	const struct secret       *api_token;   /* GitLab: what its API takes in place of it; NULL: the same */
	char                      *api, *project; /* GitLab: address of its API, and the project as a query names it; NULL: another server */
	char                      *state;       /* GitLab: the name behind a fixed address */
	bool                       lists;       /* by that API */
	struct http_tls            tls;
};

struct hb *hb_of(const struct backend *b);
/* All of h, zeroed memory, but b.where, from hc, which outlives it. Where hc stems from other arguments than those of an http backend,
 * what it holds is right. After an error hb_free(). */
enum err_code hb_init(struct hb *h, const struct provider_env *env, struct conf_block *block, const struct hb_conf *hc,
    const struct backend_common *common, struct err *reterr);
void       hb_free(struct hb *h); /* contents */
struct secret *hb_basic(const char *user, const char *password); /* "Basic ..." */
unsigned   hb_caps(const struct backend *b);
/* Lists the names that the configuration gives: no request. */
struct op *hb_list_given(struct hb *h, const struct conf_strs *names, state_seen_fn *seen, void *arg);

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
	/* Not about a state, but about the place (an API beside the protocol): the answer's body is not scanned. It goes to on_body as it
	 * arrives, restart() before each attempt; NULL: into the answer, HTTP_BODY_DEFAULT at most. arg outlives the op. */
	bool           api;
	enum err_code (*on_body)(void *arg, const void *p, size_t n, struct err *reterr);
	void         (*restart)(void *arg);
	void          *arg;
};

/* {name} becomes the name as one path segment: "/" is %2F. id: of a lock, NULL: none; front: it is the first parameter. */
char *hb_url(const char *address, const char *name, const char *id, bool front);
/* Ends OK with an answer of any status, or as http_client.h says; ERR_UNCERTAIN also when a later attempt failed harmlessly. */
struct op *hb_send(struct hb *h, const struct hb_request *r, struct hb_answer *ret);
/* base64 of the MD5, on the pool when the body is large. ret holds HB_MD5_TEXT bytes. */
#define HB_MD5_TEXT 32
struct op *hb_md5(struct hb *h, struct body *body, char *ret);

/* Do requests carry what could be a credential? */
bool hb_is_signed(const struct hb *h);
/* A status that leaves open whether a change was carried out. */
bool hb_may_be_done(int status);
/* What a status means where the caller has no rule of its own; what: "reading", "locking" ... */
enum err_code hb_refused(const struct hb *h, const struct http_response *r, const char *what, const char *name, bool write, struct err *reterr);
/* Appends what the server says of a refusal, if it explains itself. */
void          hb_explain(const struct hb *h, const struct http_response *r, struct err *reterr);
/* Is this a name that the configured addresses can carry? */
enum err_code hb_name_check(const struct hb *h, const char *name, struct err *reterr);

/* --- GitLab's own (http_gitlab.c) --- */

struct hb_gitlab_state {
	char     etag[ETAG_MAX]; /* of the version that is shown: "SERIAL@CREATED"; "": there is none */
	uint64_t serial;
	char     locked_by[128], locked_at[48]; /* "": not locked */
};
/* After hb_init(): which project it is, and what it is asked with. */
void       hb_gitlab_init(struct hb *h);
/* ERR_NOT_FOUND: no such state. */
struct op *hb_gitlab_ask(struct hb *h, const char *name, struct hb_gitlab_state *ret);
struct op *hb_gitlab_list(struct hb *h, state_seen_fn *seen, void *arg);
/* Deletes the row that a lock of REACH_SCRATCH has made, and sees it gone. */
struct op *hb_gitlab_sweep(struct hb *h);
/* hb_get() with the change tag that the listing shows. */
/* Nobody lists them: every serial below the current one may be there, which a read tells. */
struct op *hb_gitlab_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg);
struct op *hb_gitlab_get(struct hb *h, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);

/* --- the calls --- */

struct op *hb_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret);
struct op *hb_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
/* GitLab: the version of that serial. */
struct op *hb_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret);
/* The state of that name at another address; ERR_NOT_FOUND also when what is there is none. */
struct op *hb_get_at(struct backend *b, const struct state_ref *ref, char *address_owned, struct snapshot *ret);
struct op *hb_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body,
    const struct put_condition *when, char ret_etag[ETAG_MAX]);
struct op *hb_del(struct backend *b, const struct state_ref *ref, const char *if_etag);
struct op *hb_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *hb_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *hb_lock_break(struct backend *b, const struct state_ref *ref, const struct lock_info *l, struct lock_info *ret_holder);

#endif
