/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_STORE_RIG_H
#define TESTS_LIB_STORE_RIG_H

#include "base/rand.h"
#include "loop/loop.h"
#include "loop/work.h"
#include "store/store.h"

/* A store with its loop and work pool, for tests and benchmarks. A failure ends the test. */
struct rig {
	struct loop  *loop;
	struct work  *work;
	struct store *store;
};

/* A folder below test_tmpdir() that is not there yet; the text lives until the program ends. */
const char *rig_dir(const char *name);
/* free_min 0 becomes 1: tests do not depend on the machine's disk. */
void rig_open(struct rig *r, const struct store_conf *conf);
/* On a virtual loop. */
void rig_open_virtual(struct rig *r, const struct store_conf *conf, uint64_t seed);
enum err_code rig_try_open_virtual(struct rig *r, const struct store_conf *conf, uint64_t seed, struct err *reterr);
enum err_code rig_try_open(struct rig *r, const struct store_conf *conf, struct err *reterr);
void rig_close(struct rig *r);

/* Runs op to its end; its outcome. */
enum err_code rig_run(struct rig *r, struct op *op, struct err *reterr);
/* Applies it; anything but OK ends the test. */
void rig_apply(struct rig *r, struct batch *b);
enum err_code rig_try_apply(struct rig *r, struct batch *b, struct err *reterr);

struct store_txn *rig_read(struct rig *r);
struct digest     rig_digest(struct span bytes);
/* Is this what the store holds under its digest? */
bool              rig_holds(struct rig *r, struct span bytes);
/* Adds bytes as a version of backend:name, its like is the head's digest, and makes it the head. */
void              rig_put(struct rig *r, const char *backend, const char *name, struct span bytes, uint64_t serial);
struct batch     *rig_put_batch(struct rig *r, const char *backend, const char *name, struct span bytes,
    uint64_t serial);
/* Runs store_check() and returns the problems, one a line, as text of a buf. */
void              rig_check(struct rig *r, struct buf *ret, struct store_check *ret_counts);
/* The test fails with the first problem. */
void              rig_check_clean(struct rig *r);

/* A text like a state of about size bytes, cut and repeated from a real one, and small edits of it as an apply makes
 * them: the serial, one to three values, now and then a whole resource. */
struct series {
	struct rand rand;
	struct buf  text;
	uint64_t    serial;
	size_t      size; /* it stays near this */
};
void series_init(struct series *s, size_t size, uint64_t seed);
void series_next(struct series *s);
void series_scramble_all(struct series *s); /* a text that has nothing in common with any other */
void series_free(struct series *s);

#endif
