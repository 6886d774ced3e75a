/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_ETCD_H
#define TESTS_LIB_FAKE_ETCD_H

#include <jansson.h>

#include "scripted_http.h"

/* The JSON gateway of etcd 3.4 in memory: range, a transaction of one comparison and one put, and signing in, strictly. */
struct fake_etcd {
	json_t     *kvs;          /* base64 of the key -> { value, mod_revision } */
	uint64_t    revision;
	const char *user, *password; /* NULL: it has no users */
	unsigned    logins;       /* the token of the last one is the only one that counts */
	const char *denied;       /* what a user may do begins with it; NULL: everything */
	int         status, code; /* status 0, else the next answer is this refusal */
	const char *refusal;      /* its text, without "etcdserver: "; NULL: no JSON */
	unsigned    refusals;     /* how many of them */
	bool        plain;        /* errors without "error", as version 3.6 */
	unsigned    txns, ranges;
};

struct fake_etcd *fake_etcd_new(void);
void              fake_etcd_free(struct fake_etcd *e);
void              fake_etcd_answer(struct fake_etcd *e, const struct scripted_request *rq, struct scripted_answer *ret);
/* What a key holds, decoded, owned by the caller; NULL: nothing. */
char             *fake_etcd_get(const struct fake_etcd *e, const char *key);
void              fake_etcd_put(struct fake_etcd *e, const char *key, const char *value);

#endif
