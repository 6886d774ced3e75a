/* SPDX-License-Identifier: MIT */
#ifndef TESTS_CRASH_WORKLOAD_H
#define TESTS_CRASH_WORKLOAD_H

#include "../lib/store_rig.h"
#include "record.h"

#define WORKLOAD_STATES 4
#define WORKLOAD_BEFORE "before" /* the host on which a store is made, and that on which it is adopted in the middle */
#define WORKLOAD_AFTER  "after"
#define WORKLOAD_NEVER  SIZE_MAX

enum workload_kind { WORKLOAD_MIXED, WORKLOAD_LARGE };

/* A version: which batch brought it, which one dropped it. */
struct fact {
	size_t   state;
	uint64_t number;
	struct digest digest;
	size_t   born, dropped;
};

/* What was acknowledged, batch after batch; the first is the store's creation. */
struct history {
	size_t         n, cap;
	struct digest *after;     /* of everything that is in the databases after that batch */
	size_t         adopted;   /* the batch by which another host takes the store over; WORKLOAD_NEVER: none does */
	struct fact   *facts;
	size_t         nfacts, facts_cap;
	char           agent[2][40];
};

/* Every key and value but the counters, which a sweep at start moves on. */
struct digest workload_fingerprint(struct store *s);
const char   *workload_state(size_t i);
/* Batches of all kinds in an order that follows from seed; recorded. A failure ends the test. */
void workload_run(enum workload_kind kind, uint64_t seed, size_t batches, const char *dir, struct recording *rec,
    struct history *ret);
void workload_free(struct history *h);
struct store_conf workload_conf(const char *dir, const char *machine);

#endif
