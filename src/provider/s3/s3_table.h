/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_S3_TABLE_H
#define SRC_PROVIDER_S3_TABLE_H

#include "provider/records.h"
#include "s3.h"

/* Rows of the lock table, as s3_table.c (calls, digests), s3_row.c (locks), s3_records.c (leases) and s3_table_make.c share them. */
#define ROW_KEY      "LockID"
#define ROW_RETRY_MS 250  /* between tries, doubled */
#define ROW_TRIES    4    /* the same row again after an unknown outcome */

struct s3_row_call {
	struct aws_request req;
	struct aws_answer  ans;
};

void       s3_row_call_free(struct s3_row_call *c);
/* Any call of that table. Takes body; ends as aws_send() does. */
struct op *s3_table_send(struct s3 *s, struct s3_row_call *c, const char *target, json_t *body, bool changing);
/* The answer says that there is no table, and the block that it is to be made: by the first lock. Until then it has no rows. */
bool       s3_table_comes(const struct s3 *s, const struct s3_row_call *c);
/* Adds to the body of a write what has to hold before it. */
void       s3_row_condition(json_t *body, const char *condition, const char *expected);
/* "BUCKET/KEY" + suffix, owned. */
char      *s3_row_id(const struct s3 *s, const char *name, const char *suffix);
/* All end as aws_send() does. attribute: the one that is asked for beside the key. */
struct op *s3_row_get(struct s3 *s, struct s3_row_call *c, const char *id, const char *attribute);
/* condition NULL: whatever is there; expected: its :expected, NULL: it has none. */
struct op *s3_row_put(struct s3 *s, struct s3_row_call *c, const char *id, const char *attribute, const char *value,
    const char *condition, const char *expected);
struct op *s3_row_delete(struct s3 *s, struct s3_row_call *c, const char *id, const char *condition, const char *expected);
/* Of an answer that holds the item: is there one? *ret: that attribute, NULL: without it; borrowed from the answer. */
bool       s3_row_item(const struct s3_row_call *c, const char *attribute, const char **ret);
bool       s3_row_condition_failed(const struct s3_row_call *c);
/* Another write in the act: refused for certain. */
bool       s3_row_raced(const struct s3_row_call *c);
enum err_code s3_row_refused(const struct s3 *s, const struct s3_row_call *c, const char *doing, const char *permission,
    struct err *reterr);
/* s3_records.c: what an answer to GetItem holds of a lease. ERR_NOT_FOUND, ERR_CORRUPT. */
enum err_code s3_record_of(json_t *answer, struct record *ret, struct err *reterr);

#endif
