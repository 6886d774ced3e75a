/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_GCS_H
#define SRC_PROVIDER_GCS_H

#include "base/json.h"
#include "net/url.h"
#include "provider/gcs/gcs_cred.h"
#include "provider/list_page.h"
#include "provider/send.h"

/*
 * The driver of Google Cloud Storage (docs/protocol/gcs.md). One topic per file: gcs.c configuration and driver table,
 * gcs_request.c one request (../send.c), gcs_list.c and gcs_page.c, gcs_object.c, gcs_upload.c, gcs_lock.c (../lock_object.c),
 * gcs_create.c, gcs_probe.c (../scratch.c); gcs_cred.h what it signs in with. The change tag of an object is its generation, a
 * decimal number that is compared for equality only.
 */
#define GCS_NAME_MAX    1024          /* bytes of an object's name */
#define GCS_STATE       ".tfstate"
#define GCS_LOCK        ".tflock"

struct gcs_conf {
	const char    *bucket;
	struct secret *access_token, *credentials, *encryption_key;
	const char    *kms_encryption_key, *storage_custom_endpoint, *project, *location, *universe_domain;
	const char    *impersonate_service_account;
	struct conf_strs impersonate_service_account_delegates;
};

struct gcs {
	struct backend             b;
	const struct provider_env *env;
	const struct gcs_conf     *conf;
	struct gcs_cred           *cred;
	char                      *base;      /* "https://storage.googleapis.com/" */
	bool                       google;    /* no storage_custom_endpoint: it does what Google says */
	char                      *prefix;    /* as terraform cleans it: "" or with a "/" at its end */
	char                      *place;     /* where all names begin */
	struct http_header         csek[3];   /* values owned, wiped on close */
	size_t                     ncsek;
};

static inline struct gcs *
gcs_of(const struct backend *b)
{
	return container_of((struct backend *)(uintptr_t)b, struct gcs, b);
}

/* gcs.c: the object of a name, and of its lock, which takes the place of ".tfstate"; owned. */
char *gcs_object_of(const struct gcs *g, const char *name);
char *gcs_lock_of(const struct gcs *g, const char *name);

/* --- gcs_request.c ---------------------------------------------------------------------------------------------------- */

/* Path and query of: one object; an upload of one; all objects of the bucket; the bucket itself. */
void gcs_to_object(const struct gcs *g, struct send_request *r, const char *method, const char *object);
void gcs_to_upload(const struct gcs *g, struct send_request *r, const char *object, const char *type, struct body *body);
/* A session for one in pieces, of bytes with this sum. */
void gcs_to_session(const struct gcs *g, struct send_request *r, const char *object, const char *type, struct body *body, uint32_t crc32c);
void gcs_to_objects(const struct gcs *g, struct send_request *r, const char *method);
void gcs_to_bucket(const struct gcs *g, struct send_request *r, const char *method);
/* States are encrypted with the customer's key, if there is one; locks never are. */
void gcs_with_csek(const struct gcs *g, struct send_request *r);
/* As send.h says; any answer below 500 is the caller's but for those that say "not now". Its code is the reason that an error names. */
struct op *gcs_send(struct gcs *g, struct send_request *r, struct send_answer *ret);
/* body in pieces, first being gcs_to_session()'s with its condition; ends as gcs_send() of the whole would. All outlive the op. */
struct op *gcs_upload(struct gcs *g, struct send_request *first, struct body *body, struct send_answer *ret);
/* What an answer means that is no success, in one sentence about what. */
enum err_code gcs_refused(const struct gcs *g, const struct send_request *r, const struct send_answer *a, const char *what,
    struct err *reterr);
/* Fills code and message of a refusal from its body. */
void       gcs_answer_parse(struct send_answer *a);
/* 404 of an object, not of its bucket; and of a bucket, where that was asked for. */
bool       gcs_no_such_object(const struct send_answer *a);
bool       gcs_no_such_bucket(const struct send_answer *a);
/* One member of the answer's JSON object, text or number, at its top; false: it has none. */
bool       gcs_member(const struct send_answer *a, const char *name, char *ret, size_t size);
#define GCS_OTHER_HINT "check storage_custom_endpoint and proxy: something other than Cloud Storage may listen there"

/* --- gcs_page.c ------------------------------------------------------------------------------------------------------- */

#define GCS_TOKEN_MAX 2048

/* One page of a listing, whose entries have their generation as ETag. */
struct gcs_page {
	struct list_page    page;
	struct json_reader *json;
	char                key[24];
	bool                in_items;
	char                token[GCS_TOKEN_MAX]; /* of the next one; "": this is the last */
	struct err          broken;               /* what its reader stopped for */
};

void          gcs_page_init(struct gcs_page *p);
void          gcs_page_begin(struct gcs_page *p); /* forgets what it has read */
enum err_code gcs_page_feed(struct gcs_page *p, const void *bytes, size_t n, struct err *reterr);
bool          gcs_page_end(struct gcs_page *p);   /* false: that was no whole listing */
void          gcs_page_free(struct gcs_page *p);  /* contents */

/* --- operations of the driver ----------------------------------------------------------------------------------------- */

struct op *gcs_list(struct backend *b, state_seen_fn *seen, void *arg);
struct op *gcs_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret);
struct op *gcs_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
struct op *gcs_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret);
struct op *gcs_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg);
struct op *gcs_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX]);
struct op *gcs_del(struct backend *b, const struct state_ref *ref, const char *if_etag);
struct op *gcs_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *gcs_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *gcs_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret);
struct op *gcs_create(struct backend *b);
struct op *gcs_probe(struct backend *b, probe_fn *seen, void *arg);
/* One page of whatever lies below a name, locks too, at most so many keys ("1000"). *ret_date: the time of the answer, 0: it tells none;
 * GCS_NO_ANSWER: there was none. */
#define GCS_NO_ANSWER ((int64_t)-1)
struct op *gcs_list_page(struct gcs *g, const char *below, const char *keys, int64_t *ret_date, state_seen_fn *seen, void *arg);
/* The value of x-goog-hash; owned. */
char      *gcs_sum_text(uint32_t crc32c);

#endif
