/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_S3_H
#define SRC_PROVIDER_S3_H

#include "base/map.h"
#include "net/sigv4.h"
#include "net/url.h"
#include "provider/s3/s3_aws.h"
#include "provider/s3/s3_cred.h"
#include "provider/send.h"

/*
 * The S3 driver (docs/protocol/s3.md). One topic per file: s3_fields.c and s3.c configuration and driver table, s3_request.c one signed
 * request (../send.c), s3_list.c, s3_object.c, s3_probe.c with ../scratch.c, s3_create.c; locks: s3_lock.c which, s3_tflock.c objects
 * (../lock_object.c), s3_row.c and s3_table.c rows; s3_records.c leases in such a table; s3_aws.c requests to other services;
 * credentials: s3_cred.c, which of them s3_chain.c with s3_profile.c, s3_ini.c, s3_process.c and s3_role.c; asked for s3_metadata.c, s3_sts.c.
 */
#define S3_KEY_MAX     1024           /* bytes of an object key */
#define S3_LOCK_SUFFIX ".tflock"
#define S3_PAGE_KEYS   1000           /* asked for in one page of a listing; S3 gives no more */
#define S3_SSE_HEADERS 4
#define S3_WORKSPACES  "env:"

struct s3_conf {
	const char      *bucket, *key, *workspace_key_prefix, *region;
	bool             use_lockfile, encrypt, skip_s3_checksum, use_path_style, force_path_style;
	const char      *kms_key_id, *acl;
	struct secret   *sse_customer_key;
	struct conf_map  endpoints;
	const char      *endpoint;
	bool             use_fips_endpoint, use_dualstack_endpoint;
	int64_t          max_retries;
	int              retry_mode;
	const char      *access_key, *profile, *shared_credentials_file;
	struct secret   *secret_key, *token;
	struct conf_strs shared_credentials_files, shared_config_files;
	bool             skip_credentials_validation, skip_requesting_account_id, skip_metadata_api_check, skip_region_validation;
	const char      *metadata_endpoint, *metadata_mode;
	const char      *custom_ca_bundle, *http_proxy, *https_proxy, *no_proxy;
	bool             insecure;
	const char      *dynamodb_table, *dynamodb_endpoint;
	const char      *iam_endpoint;      /* of a service that is never asked */
	const char      *sts_endpoint, *sts_region;
	struct conf_value *assume_role, *assume_role_with_web_identity;
	const char      *role_arn, *session_name, *external_id, *assume_role_policy; /* the older form of assume_role */
	int64_t          assume_role_duration_seconds;
	struct conf_strs assume_role_policy_arns, assume_role_transitive_tag_keys;
	struct conf_map  assume_role_tags;
	struct conf_strs allowed_account_ids, forbidden_account_ids;
	struct conf_map  state_tags, lock_tags;
};

struct s3 {
	struct backend             b;
	const struct provider_env *env;
	const struct s3_conf      *conf;
	struct s3_cred            *cred;
	struct s3_role             role, web;  /* of the block; arn NULL: none */
	struct url                 endpoint;   /* custom; scheme NULL: AWS, whose host follows from region */
	char                      *region;     /* as configured, then as learned */
	char                      *table_region, *table_endpoint; /* of the lock table; the endpoint as a URL */
	struct map                *held;       /* states whose lock row is ours, by name; NULL: none so far */
	char                      *place;      /* endpoint, bucket and prefix: where all names begin */
	bool                       path_style, aws, checksum_mode;
	struct aws_net             net;        /* its clock is that of S3 too */
	struct http_header         sse_write[S3_SSE_HEADERS], sse_read[S3_SSE_HEADERS]; /* values owned, wiped on close */
	size_t                     nsse_write, nsse_read;
};

static inline struct s3 *
s3_of(const struct backend *b)
{
	return container_of((struct backend *)(uintptr_t)b, struct s3, b);
}

/* An argument that is written, and not empty; terraform treats "" as absent almost everywhere. */
static inline bool
s3_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

extern const struct conf_field s3_fields[];
/* The last of them: how AWS is reached, and who signs. */
const struct conf_field *s3_aws_fields(void);
/* s3.c: of what those arguments say, and region and dynamodb_table: cred, table and STS of a zeroed s that has env and conf. */
enum err_code s3_set_aws(struct s3 *s, struct conf *c, struct conf_block *block, struct s3_profile *profile, struct err *reterr);
void        s3_clear(struct s3 *s);     /* contents */

/* --- s3_name.c: names and keys; those of struct provider are told in provider/provider.h ------------------------------ */
#define S3_STATE ".tfstate"

/* prefix + name, owned. */
char       *s3_key_of(const struct s3 *s, const char *name);
/* For a listed object: is it a state of this backend? Its name then is key + the prefix's length. */
bool        s3_key_is_state(const struct s3 *s, const char *key);
void        s3_workspace(const struct backend *b, const char *name, struct buf *ret);
void        s3_path(const struct backend *b, const char *name, struct buf *ret);
void        s3_named(const struct backend *b, const char *path, const char *workspace, struct buf *ret);
bool        s3_fixed(const struct backend *b, const char *workspace, struct buf *ret);
void        s3_address(const struct backend *b, const char *name, provider_argument_fn *put, void *arg);

/* s3_role.c: the roles that the block names. */
enum err_code s3_roles_read(struct s3 *s, struct conf *c, struct conf_block *block, struct err *reterr);

/* --- s3_request.c: one request, signed; repeated where that can do no harm ------------------------------------------- */

/* What a write of an object needs beside its body: type, encryption, acl, checksum. */
void       s3_request_write(const struct s3 *s, struct send_request *r, const char *type, struct body *body, const struct digest *d);
void       s3_request_tags(const struct conf_map *tags, struct send_request *r); /* x-amz-tagging; without tags nothing */
void       s3_request_sse_read(const struct s3 *s, struct send_request *r);
/*
 * As send.h says; any answer below 500, and 501, is the caller's but for those that say "not now". A wrong region, a clock that is off and
 * credentials that expired are learned, and the request is sent again, once each.
 */
struct op *s3_send(struct s3 *s, struct send_request *r, struct send_answer *ret);
/* What an answer means that is no success, in one sentence about what ("state a/b", "the bucket"): ERR_AUTH with the permission
 * that is missing, ERR_NOT_FOUND of the bucket with what to do, ERR_UNSUPPORTED ... Returns the code. */
enum err_code s3_refused(const struct s3 *s, const struct send_request *r, const struct send_answer *a, const char *what,
    struct err *reterr);
bool       s3_no_such_object(const struct send_request *r, const struct send_answer *a);
bool       s3_answer_is(const struct send_answer *a, int status, const char *code);
/* 412, and what some stores answer instead of it. */
bool       s3_precondition_failed(const struct send_answer *a);
/* 409 of two writes at once: a definite refusal that may be repeated. */
bool       s3_raced(const struct send_answer *a);
/* The store does not know conditional writes. */
bool       s3_no_conditions(const struct send_answer *a);
/* Change tags without quotes, as all functions here store them; one that is too long becomes "". */
void       s3_etag(const char *header, char ret[ETAG_MAX]);
/* The form that If-Match wants; freed by the caller. */
char      *s3_etag_quoted(const char *etag);
int64_t    s3_now(const struct s3 *s); /* the server's wall clock as far as known */
#define S3_BACKOFF_MS 100
#define S3_OTHER_HINT "check endpoints and proxy: something other than S3 may listen there"

/* --- operations of the driver --------------------------------------------------------------------------------------- */

struct op *s3_list(struct backend *b, state_seen_fn *seen, void *arg);
struct op *s3_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret);
struct op *s3_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
struct op *s3_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret);
struct op *s3_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg);
struct op *s3_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX]);
struct op *s3_del(struct backend *b, const struct state_ref *ref, const char *if_etag);
struct op *s3_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *s3_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *s3_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret);
struct op *s3_seal(struct backend *b, const struct state_ref *ref, const struct snapshot *body);
struct op *s3_probe(struct backend *b, probe_fn *seen, void *arg);
struct op *s3_create(struct backend *b);

/* --- s3_tflock.c, s3_row.c: the two kinds of locks, each as the calls above ------------------------------------------ */

struct op *s3_object_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *s3_object_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *s3_object_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret);
struct op *s3_row_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *s3_row_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *s3_row_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret);

/* --- s3_table.c: the lock table, and the digests in it --------------------------------------------------------------- */

bool       s3_has_table(const struct s3 *s);
/* Makes it when it is missing, as terraform needs it, and waits until it can be used. */
struct op *s3_table_create(struct s3 *s);
/* Does that name have a row with its digest? Only states have. */
bool       s3_has_digest(const struct s3 *s, const char *name);
/* *ret, owned: what the row says, "": there is none. */
struct op *s3_digest_read(struct s3 *s, const char *name, char **ret);
/* Do bytes with that MD5 agree with what the row says? Otherwise ERR_CORRUPT, with the value to set. */
bool       s3_digest_fits(struct s3 *s, const char *name, const char *row, const uint8_t md5[MD5_LEN], struct err *reterr);
/* The row goes with its state. */
struct op *s3_unseal(struct s3 *s, const char *name);
/* From lock to unlock: what the row said, and which of our bytes it does not know yet. Names that are not held are ignored. */
void       s3_held_begin(struct s3 *s, const char *name);
void       s3_held_end(struct s3 *s, const char *name);
void       s3_held_free_all(struct s3 *s);
void       s3_held_wrote(struct s3 *s, const char *name, const struct digest *d);
bool       s3_is_unsealed(const struct s3 *s, const char *name, const struct digest *d);
bool       s3_wants_digest(const struct s3 *s, const char *name); /* held, and not read since */

/* A listing below prefix, page by page: for list, probe and create. */
struct s3_entry {
	const char *key;           /* decoded; as listed when broken */
	char        etag[ETAG_MAX];
	uint64_t    size;
	int64_t     modified;
	bool        broken;        /* key cannot be decoded, or holds a NUL */
	const char *version;       /* of a listing of versions, as the two below */
	bool        latest, deleted;
};

struct s3_pages;
struct s3_pages *s3_pages_new(struct s3 *s, const char *prefix, unsigned max_keys);
/* The versions of all keys that begin with prefix: newest first for each. */
struct s3_pages *s3_pages_new_versions(struct s3 *s, const char *prefix, unsigned max_keys);
void             s3_pages_free(struct s3_pages *p);
/* Asks for the next page, at first the first one. Ends OK with any answer. */
struct op       *s3_pages_read(struct s3_pages *p);
/* Was that a listing? Otherwise ERR_AUTH and so on, see s3_refused(). */
enum err_code    s3_pages_check(struct s3_pages *p, struct err *reterr);
/* The entries of that page in the order of the answer; false: no more. Valid until the next read. */
bool             s3_pages_next(struct s3_pages *p, struct s3_entry *ret);
bool             s3_pages_more(const struct s3_pages *p);
const struct send_answer *s3_pages_answer(const struct s3_pages *p);

#endif
