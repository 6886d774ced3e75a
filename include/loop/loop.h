/* SPDX-License-Identifier: MIT */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rand.h"
#include "base/time.h"

/*
 * The one thread that decides. Real: libevent. Virtual: no file descriptors, no
 * threads, time that jumps to the next timer, and an order of simultaneous
 * work drawn from a seed, so that days pass in milliseconds and every run can
 * be replayed. Both have the same interface. All functions belong to the
 * loop's thread; loop_post() alone may be called from any.
 *
 * No callback may take longer than LOOP_TURN_MAX_MS: see loop_delay().
 */
#define LOOP_TURN_MAX_MS 5

struct loop;

struct loop *loop_new(struct err *reterr);
struct loop *loop_new_virtual(uint64_t seed, int64_t wall_ms); /* starts at that wall time, mono 0 */
void         loop_free(struct loop *l);                         /* nothing may be pending in it */
bool         loop_is_virtual(const struct loop *l);

/* Cached per turn on the real loop. */
int64_t             loop_now(const struct loop *l);   /* monotonic ms */
int64_t             loop_wall(const struct loop *l);  /* wall ms */
const struct clock *loop_clock(const struct loop *l); /* uncached; lives as long as l */
struct rand        *loop_rand(struct loop *l);        /* the kernel's, or seeded on the virtual loop */

/* Until loop_stop(), which only sets a flag. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* One turn: everything that is due (virtual: one thing; when none is, time jumps to the next timer).
 * false: nothing is pending at all. block: wait for something (real loop). */
bool loop_turn(struct loop *l, bool block);
/* Turns until done(arg), at most ms; false: time is up, or nothing is pending (virtual). */
bool loop_run_until(struct loop *l, bool (*done)(void *arg), void *arg, int64_t ms);
/* Virtual only: a wall clock that is wrong by ms from now on. */
void loop_wall_shift(struct loop *l, int64_t ms);

/* A call in a later turn, never from inside loop_defer(). Embedded by its owner, zeroed before first use. */
struct deferred {
	void           (*fn)(void *arg);
	void            *arg;
	struct deferred *next, *prev; /* the loop's; next NULL: not queued */
};
void loop_defer(struct loop *l, struct deferred *d, void (*fn)(void *arg), void *arg); /* queued already: no-op */
void loop_undefer(struct loop *l, struct deferred *d);                                 /* not queued: no-op */
bool deferred_pending(const struct deferred *d);

/* One-shot. Embedded by its owner; timer_stop() before the memory goes. */
struct timer {
	struct loop *loop;
	void       (*fn)(void *arg);
	void        *arg;
	int64_t      due;
	uint64_t     seq;
	size_t       slot; /* the loop's heap: index + 1, 0: not set */
};
void timer_init(struct timer *t, struct loop *l, void (*fn)(void *arg), void *arg);
void timer_set(struct timer *t, int64_t ms); /* from now; set again: moves */
void timer_sooner(struct timer *t, int64_t ms); /* the same, unless it is set and due earlier */
void timer_stop(struct timer *t);
bool timer_pending(const struct timer *t);

/* File descriptors and signals: real loop only (assert). fn sees which of LOOP_READ | LOOP_WRITE are ready. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct fd_watch;
struct fd_watch *fd_watch_new(struct loop *l, int fd, int what, void (*fn)(int fd, int ready, void *arg), void *arg);
void             fd_watch_set(struct fd_watch *w, int what); /* 0 pauses */
void             fd_watch_free(struct fd_watch *w);          /* does not close fd */
struct signal_watch;
struct signal_watch *signal_watch_new(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg);
void                 signal_watch_free(struct signal_watch *w);

/* From any thread: fn(arg) runs on the loop's thread, in order of posting. The virtual loop calls it like any
 * deferred work. */
struct post {
	void       (*fn)(void *arg);
	void        *arg;
	struct post *next;
};
void loop_post(struct loop *l, struct post *p, void (*fn)(void *arg), void *arg); /* p is the caller's until fn runs */

/* How long turns took: what is measured is the time from the start of a callback batch to its end. */
struct loop_delay {
	uint64_t turns, slow;          /* slow: longer than LOOP_TURN_MAX_MS */
	double   last_max_s, max_s;    /* of the running minute and the one before; of all time */
};
void loop_delay(const struct loop *l, struct loop_delay *ret);

#endif
