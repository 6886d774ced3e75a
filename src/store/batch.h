/* SPDX-License-Identifier: MIT */
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "store/blob.h"
#include "store/internal.h"
#include "store/stage.h"

enum batch_kind {
	BATCH_STATE, BATCH_VERSION, BATCH_HEAD, BATCH_SEEN, BATCH_RELEASE, BATCH_DROP, BATCH_SEMANTIC,
	BATCH_HIGH_SERIAL, BATCH_REPLICA, BATCH_REPLICA_DEL, BATCH_INTENT, BATCH_SETTLE, BATCH_QUEUE, BATCH_ENQUEUE,
	BATCH_UNQUEUE, BATCH_UNQUEUE_IF, BATCH_RUN, BATCH_EVENT, BATCH_META, BATCH_ADOPT, BATCH_KINDS
};

/* One change, copied into the batch's arena. */
struct batch_op {
	enum batch_kind  kind;
	struct batch_op *next;
	/* the state it names; of replicas, intents and the queue: batch_for(), or NULL */
	const char      *backend, *name;
	union {
		struct version_rec version;
		struct { bool has_from; struct digest from, to; } head;
		struct { struct sighting s; struct digest digest; } seen;
		struct { bool set; struct digest d; } release;
		struct { uint64_t number; struct digest d; } at;   /* drop, semantic; high serial: number */
		struct replica_rec replica;                         /* also del: edge, target, state */
		struct intent_rec  intent;                          /* also settle: id */
		struct queue_rec   queue;                           /* also enqueue, unqueue */
		struct { struct queue_rec queue; struct digest head; } unqueue;
		struct run_rec     run;
		struct event_rec   event;
		struct { const char *key; struct span value; bool del; } meta;
		struct { char agent[37]; } adopt;
	} u;
};

struct batch_body {
	struct batch_body *next;
	struct body       *body;
	struct digest      digest, like;
	bool               has_like;
	struct stage       stage;        /* id 0: not staged */
};

struct batch {
	struct store      *s;
	struct arena      *arena;
	struct batch_op   *first, **last;
	struct batch_body *bodies, **last_body;
	const char        *for_backend, *for_name;
	uint64_t           bytes;   /* of all bodies */
	bool               big;     /* has one above STORE_STAGE_ABOVE */
	int64_t            now;     /* wall ms when it was applied */

	/* the store thread's */
	struct batch      *next;
	struct err         err;     /* outcome */
	bool               refused; /* by a precondition: nothing was put */
	bool               out;     /* failed for itself: the group goes on without it */
	struct op         *op;      /* who waits */
};

struct batch_body *batch_find_body(const struct batch *b, const struct digest *d);
/* Does some op of this batch create that state if it is new? */
bool               batch_makes_state(const struct batch *b, const char *backend, const char *name);

void               batch_adopt(struct batch *b, const char agent[37]); /* the store's new agent id */

/* All preconditions; false: t->err says which one, and nothing was put. */
bool batch_check(struct store_txn *t, struct batch *b);
/* false: t->err; t must be aborted. */
bool batch_put(struct store_txn *t, struct batch *b);

/* The state of a record that may be named by batch_for(): fills *id when it is 0. */
bool batch_resolve(struct store_txn *t, const struct batch_op *op, uint64_t *id);

/* Queues it for the store thread, or for a turn of the loop. */
void writer_submit(struct store *s, struct batch *b);
enum err_code writer_start(struct store *s, struct err *reterr);
void writer_stop(struct store *s);
/* Runs the small batches that wait, while a large one is being staged. */
void writer_overtake(struct store *s);
/*
 * One transaction: fill() puts, then it is committed. A full map grows and fill() runs again; a commit that failed
 * is looked up after opening again. ERR_UNCERTAIN: not even that worked. Otherwise fill()'s own error, or ERR_IO.
 */
typedef bool writer_fill_fn(void *arg, struct store_txn *t);
enum err_code writer_commit(struct store *s, writer_fill_fn *fill, void *arg, struct err *reterr);

/* --- topics: what each kind of op demands and does --- */
typedef bool batch_fn(struct store_txn *t, struct batch *b, struct batch_op *op);
batch_fn state_put, state_put_seen, state_put_release, state_put_high_serial, state_check_name, state_check_for;
batch_fn version_check, version_put, version_check_head, version_put_head, version_check_drop, version_put_drop,
    version_check_semantic, version_put_semantic;
batch_fn replica_put, replica_put_del, intent_put, intent_put_settle;
batch_fn queue_put, queue_put_soon, queue_put_del, queue_put_del_if, run_put, event_put, mark_put, adopt_put;

bool store_put_agent(struct store_txn *t, const char *agent);
bool state_load(struct store_txn *t, const char *backend, const char *name, struct state_rec *ret);
bool state_load_or_new(struct store_txn *t, struct batch *b, const char *backend, const char *name,
    struct state_rec *ret);
bool state_save(struct store_txn *t, const struct state_rec *r);
/* The state is not locked any more, as of now: so has its run ended. s: before its mark goes. */
bool run_end(struct store_txn *t, const struct state_rec *s, int64_t now);
/* Counts it in the run that it names. */
bool run_count_version(struct store_txn *t, uint64_t state, const struct version_rec *v);
/* 0: none, or txn_failed(). */
uint64_t version_by_digest(struct store_txn *t, uint64_t state, const struct digest *d);

#endif
