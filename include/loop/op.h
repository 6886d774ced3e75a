/* SPDX-License-Identifier: MIT */
#ifndef LOOP_OP_H
#define LOOP_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "loop/loop.h"

/*
 * Asynchronous operations. A multi-step operation is one switch over its
 * state, one wait per case; state is named after what has just finished.
 *
 *  1. Building an op does nothing; op_start() or op_await() runs it, first from
 *     the loop, never from inside the call.
 *  2. done is called exactly once, from the loop, and may free the op. op_free()
 *     is for ops that are done or never ran (an assert says so).
 *  3. op_cancel() is a request that reaches the leaf; it comes back as an
 *     ordinary failure of the current wait. op_await() in a cancelled op that is not
 *     shielded frees the child unstarted and continues with res ERR_CANCELLED.
 *  4. ERR_CANCELLED promises that nothing happened; a write that may have
 *     happened ends with ERR_UNCERTAIN.
 *  5. op_unwind() keeps the first error and shields; op_shield() masks cancel,
 *     never the deadline that each leaf has. op_finish() ends with err, else res.
 *  6. Outputs live in the parent, which outlives the child.
 *  7. An op that is cancelled before its first step ends with ERR_CANCELLED, and no step ever runs.
 *
 * A leaf waits for something that is no op. Its step is called first to begin
 * and returns OP_WAIT; later whoever has the answer sets op->res and calls
 * op_wake(); the step runs again and ends by op_finish(). cancel() is called at
 * most once, only between those two steps and never when a wake is on its way: so it
 * may set op->res to ERR_CANCELLED and wake without looking whether the answer is
 * there already. A leaf that waits several times in a row asks op_stopped() instead, or is told at its next wait.
 */
enum op_turn { OP_AGAIN, OP_WAIT, OP_DONE };

struct op;

struct op_class {
	const char        *name;
	enum op_turn     (*step)(struct op *op);   /* run until the next wait */
	void             (*cancel)(struct op *op); /* leaves only; must lead to op_wake(), at once or later */
	void             (*free)(struct op *op);   /* releases the whole object, op included */
	const char *const *states;                 /* names for people, by state number; may be NULL */
	int                nstates;
};

struct op {                             /* first member of every operation */
	const struct op_class *class;
	struct loop *loop;
	struct op   *child;             /* what we wait for; owned */
	int          state;             /* named after what has just finished */
	bool         started, finished, cancelled, shielded;
	bool         begun, stepping, told; /* first step taken; inside step; the leaf's cancel was called */
	struct err   res;               /* outcome of the last wait */
	struct err   err;               /* first failure: outcome of this op */
	void       (*done)(struct op *op, void *arg);
	void        *arg;
	struct deferred call;           /* the loop's bookkeeping */
	struct op   *parent;            /* who awaits us */
	int64_t      since;             /* loop_now() of the start */
	uint64_t    *tally;             /* of what it and all below it count; outlives it. NULL: that of whoever awaits us */
	const char  *about;             /* what it is at, for people, no secrets: the owner's text, at least as long as op; NULL */
	struct op   *prev, *next;       /* top-level ops of the loop, for op_each() */
};

/* op is zeroed memory of the caller's; state starts at 0. */
void op_init(struct op *op, const struct op_class *class, struct loop *loop);
/* Runs it from the loop. The outcome is op->err when done is called. done NULL: the op frees itself at the end. */
void op_start(struct op *op, void (*done)(struct op *op, void *arg), void *arg);
void op_cancel(struct op *op);          /* NULL, finished, or never started: no-op */
void op_free(struct op *op);            /* NULL: no-op */

/* --- what a step returns --- */
/* Takes child (its done is the op's own); the next step runs in state next with the outcome in op->res. A NULL child counts
 * as one that ended OK. The child is freed before that step. */
enum op_turn op_await(struct op *op, int next, struct op *child);
/* As op_await, and the child is cancelled after ms; it then ends with ERR_TIMEOUT if it reports ERR_CANCELLED. */
enum op_turn op_await_for(struct op *op, int next, struct op *child, int64_t ms);
/* Continues in state next, in this turn. */
enum op_turn op_go(struct op *op, int next);
/* Ends with op->err, else with op->res. */
enum op_turn op_finish(struct op *op);
/* Ends with op->res as failure (asserts that it is one), unless an earlier error is kept. */
enum op_turn op_fail(struct op *op);
/* Ends OK whatever res is. */
enum op_turn op_ok(struct op *op);
/* Keeps the first error (op->res; in a cancelled op without one: ERR_CANCELLED, unless a shield let it see things
 * through), shields, continues in state next. */
enum op_turn op_unwind(struct op *op, int next);
/* From here on cancel is remembered but not passed on. */
void op_shield(struct op *op);
bool op_failed(const struct op *op);    /* op->res is an error */
bool op_stopped(const struct op *op);   /* cancelled, and not shielded */
/* One more, in the tally of the operation that is in its step: nothing, where there is none. */
void op_counts_one(void);

/* --- for leaves: they return OP_WAIT from step, and whoever has the answer sets op->res and calls this --- */
void op_wake(struct op *op);            /* the step runs again from the loop; several wakes are one */

/* --- ready-made --- */
struct op *op_sleep(struct loop *l, int64_t ms);        /* ERR_CANCELLED when cancelled */
/* An op with a known outcome: code and message are copied. */
struct op *op_result(struct loop *l, const struct err *e);
struct op *op_error(struct loop *l, enum err_code code, int detail, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Runs all children, at most limit at a time (0: all), whatever each of them ends with; takes the array's
 * ops, not the array (NULL counts as one that ended OK). Afterwards each child's outcome is in
 * outcomes[i] (may be NULL). Ends with the first error by
 * index, else OK. Cancelling it cancels all. */
struct op *op_all(struct loop *l, struct op **children, size_t n, size_t limit, struct err *outcomes);
/* A producer instead of an array: next() gives one op after the other, NULL when there are no more;
 * ended() (may be NULL) sees each child before it is freed. Ends with the first error, else OK. Cancelling it cancels those
 * that run and asks for no more: then it ends with the first error, else with ERR_CANCELLED, whatever ended() saw happen. */
struct op *op_each_of(struct loop *l, struct op *(*next)(void *arg), void (*ended)(struct op *child, void *arg), void *arg,
    size_t limit);

/* --- looking --- */
const char *op_state_name(const struct op *op); /* "?" without names */
/* Top-level ops that run, oldest first; fn may not start or free any. */
void op_list(struct loop *l, void (*fn)(const struct op *op, void *arg), void *arg);
size_t op_count(const struct loop *l);
/* What op waits for: the ops that run below it, none for a leaf; fn may not start or free any. */
void op_children(const struct op *op, void (*fn)(const struct op *child, void *arg), void *arg);
/* Cancels every top-level op of the loop. */
void op_cancel_all(struct loop *l);

#endif
