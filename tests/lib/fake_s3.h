/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_S3_H
#define TESTS_LIB_FAKE_S3_H

#include "base/map.h"
#include "fake_dynamo.h"
#include "scripted_http.h"

/*
 * An S3 store in memory, behind the scripted HTTP client. It checks what AWS checks (signature, date, region,
 * keys, payload digest, checksum, preconditions), pages its listings, and can be told to answer the next request in another way.
 * Every way takes 5 ms. Requests to any other place end with ERR_NETWORK unless a rule answers them.
 */
#define FAKE_S3_HOST   "s3.test:9000" /* path style: http://s3.test:9000/BUCKET/KEY */
#define FAKE_STS_HOST  "sts.test"     /* takes FAKE_S3_ACCESS and what it gave itself; the n-th role is ASIAROLEn, token roleN */
#define FAKE_S3_ACCESS "AKIDEXAMPLE"
#define FAKE_S3_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

enum fake_s3_how {
	FAKE_ANSWER,      /* the rule's answer; the store is not touched */
	FAKE_APPLY,       /* the store does it, and the rule's answer is sent */
	FAKE_LOST,        /* the store does it, and the answer is lost */
	FAKE_LOST_BEFORE, /* sent, but it never arrived, which nobody knows */
	FAKE_REFUSED,     /* no connection */
	FAKE_HANGS,       /* no answer until the request's timeout */
	FAKE_CUT,         /* a read: the store's answer breaks off in the middle */
	FAKE_SHORT,       /* a read: half of the body, although Content-Length says more */
};

struct fake_s3_rule {
	const char       *method;  /* NULL: any */
	const char       *what;    /* part of "http://host/path?query", or of X-Amz-Target; NULL: any */
	enum fake_s3_how  how;
	int               status;
	const char       *headers; /* "name: value\n" ... */
	const char       *body;
	unsigned          skip;    /* matching requests to leave alone first */
	unsigned          times;   /* 0: once */
};

struct fake_s3_object {
	struct body *body;
	char         etag[48];
	int64_t      modified;
	bool         marker;       /* deleted in a versioned bucket */
};

struct fake_s3 {
	struct scripted_http *http;
	bool               own_http;
	struct loop       *loop;
	struct map        *objects;      /* by key */
	struct fake_dynamo *dynamo;      /* at FAKE_DYNAMO_HOST, for the same keys */
	const char        *bucket, *region, *session_token, *access, *secret; /* session_token NULL: none wanted */
	bool               bucket_missing;
	char               settings[1024]; /* "NAME=body" of the settings of the bucket, one a line */
	const char        *denies_setting; /* name; NULL: none */
	const char        *sts_refuses;  /* code of its answer; NULL: it does not */
	unsigned           roles;        /* that it gave */
	char               sts_form[2048]; /* of its last request */
	int64_t            clock_ms;     /* the server's clock minus the loop's */
	bool               versioned;    /* deleting leaves a marker ... */
	bool               marker_exists;/* ... which counts as an object for If-None-Match */
	bool               ignores_conditions, no_conditions, ignores_delete_match, ignores_checksum;
	bool               plain_list;   /* does not know encoding-type */
	bool               silent_head;  /* a wrong region at HEAD: 400 without headers */
	bool               region_301;   /* wrong region: 301 with x-amz-bucket-region; else 400 */
	bool               denies_list, denies_get, denies_put, denies_delete;
	unsigned           page;         /* keys of a page; 0: 1000 */
	/* every request as "METHOD url", headers as "\nname: value" after it */
	char             **log;
	size_t             nlog;
	unsigned           wrong;        /* signatures that did not fit */
	struct fake_s3_entry *rules, *taken; /* taken: of requests that are under way */
};

struct fake_s3 *fake_s3_new(struct loop *l);                       /* with a client of its own */
struct fake_s3 *fake_s3_behind(struct scripted_http *http, struct loop *l);
void            fake_s3_free(struct fake_s3 *f);
void            fake_s3_rule(struct fake_s3 *f, const struct fake_s3_rule *r); /* strings are borrowed */
void            fake_s3_no_rules(struct fake_s3 *f);
void            fake_s3_put(struct fake_s3 *f, const char *key, const char *body);
/* NULL: not there. */
const struct fake_s3_object *fake_s3_get(struct fake_s3 *f, const char *key);
const char     *fake_s3_text(struct fake_s3 *f, const char *key); /* until the next call; NULL: not there */
void            fake_s3_del(struct fake_s3 *f, const char *key);
size_t          fake_s3_count(struct fake_s3 *f);                 /* objects that are there */
/* Requests whose line contains what. */
size_t          fake_s3_seen(const struct fake_s3 *f, const char *what);
/* The value of a header of logged request i; NULL: not sent. Valid until the next call. */
const char     *fake_s3_header(const struct fake_s3 *f, size_t i, const char *name);
void            fake_s3_forget(struct fake_s3 *f);                /* the log */

#endif
