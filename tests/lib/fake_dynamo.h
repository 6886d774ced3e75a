/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_DYNAMO_H
#define TESTS_LIB_FAKE_DYNAMO_H

#include <jansson.h>

#include "scripted_http.h"

/* One lock table of DynamoDB in memory: the calls that locks and digests need, strictly; behind fake_s3, which checks signatures. */
#define FAKE_DYNAMO_HOST  "dynamodb.test:8000"
#define FAKE_DYNAMO_TABLE "locks"

struct fake_dynamo {
	json_t     *items;      /* LockID -> item */
	bool        missing;    /* no such table */
	bool        creating;   /* there, but not ACTIVE at the next look */
	bool        other_key;  /* its key is not LockID */
	bool        bare;       /* errors without prefix, item, and with "Message", as some servers of the same protocol */
	const char *denies;     /* call that is not allowed; NULL: none */
};

struct fake_dynamo *fake_dynamo_new(void);
void                fake_dynamo_free(struct fake_dynamo *d);
void                fake_dynamo_answer(struct fake_dynamo *d, const struct scripted_request *rq, struct scripted_answer *ret);
/* An attribute of a row, NULL: not there. */
const char         *fake_dynamo_get(const struct fake_dynamo *d, const char *id, const char *attribute);
void                fake_dynamo_put(struct fake_dynamo *d, const char *id, const char *attribute, const char *value);
void                fake_dynamo_del(struct fake_dynamo *d, const char *id);
size_t              fake_dynamo_count(const struct fake_dynamo *d);

#endif
