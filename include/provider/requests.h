/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_REQUESTS_H
#define PROVIDER_REQUESTS_H

#include <stdint.h>

#include "base/err.h"

/* How the calls of a provider ended and how long they took: counted by the wrappers, shown as metrics. One call is one of
 * these, however many requests it needed (a listing of several pages, a lock that was asked for twice). */
enum request_kind { REQUEST_CREATE, REQUEST_LIST, REQUEST_HEAD, REQUEST_READ, REQUEST_WRITE, REQUEST_DELETE, REQUEST_LOCK,
	REQUEST_UNLOCK, REQUEST_SEAL, REQUEST_LOCK_PEEK, REQUEST_PROBE, REQUEST_HISTORY, REQUEST_READ_VERSION, REQUEST_KINDS };

enum request_result {
	REQUEST_OK,        /* done, or nothing new */
	REQUEST_ABSENT,    /* what it asked for is not there */
	REQUEST_REFUSED,   /* a lock or a precondition stood against it */
	REQUEST_FAILED,
	REQUEST_UNKNOWN,   /* it may have happened: no answer */
	REQUEST_CANCELLED, /* stopped by us before it happened */
	REQUEST_RESULTS,
};

#define REQUEST_BOUNDS 10 /* upper bounds of the classes of duration */
extern const int64_t request_bounds_ms[REQUEST_BOUNDS];

struct request_stats {
	uint64_t results[REQUEST_RESULTS];
	uint64_t took[REQUEST_BOUNDS + 1]; /* at most that bound and above the one before; the last: above all */
	int64_t  took_ms;                  /* all of them */
};

const char         *request_kind_name(enum request_kind k);
const char         *request_result_name(enum request_result r);
enum request_result request_result_of(enum err_code code);
void                request_count(struct request_stats *s, enum err_code code, int64_t took_ms);
uint64_t            request_total(const struct request_stats *s);

#endif
