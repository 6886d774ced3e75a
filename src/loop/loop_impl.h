/* SPDX-License-Identifier: MIT */
#ifndef LOOP_LOOP_IMPL_H
#define LOOP_LOOP_IMPL_H

#include <pthread.h>

#include "loop/loop.h"
#include "loop/op.h"

/*
 * What both kinds of loop share. loop.c keeps the queues, timer.c the heap,
 * loop_event.c and loop_virtual.c decide what runs when.
 */
struct event;
struct event_base;

/* A batch of callbacks ends after so long, so that descriptors are looked at between many small calls. */
#define LOOP_BATCH_NS ((int64_t)2 * 1000 * 1000)
#define LOOP_NS_PER_MS ((int64_t)1000 * 1000)

struct loop {
	bool            is_virtual, stopped, in_turn;
	struct clock    clock;
	struct rand     rand;

	struct deferred queue;          /* head of a ring */
	size_t          ndeferred;      /* in queue, and in the batch that runs */
	struct timer  **heap;           /* by due, then seq */
	size_t          ntimers, heap_cap;
	uint64_t        timer_seq;
	struct op      *ops_first, *ops_last;
	size_t          nops;
	size_t          nwatches;       /* descriptors and signals */

	pthread_mutex_t post_lock;      /* the two pointers below */
	struct post    *post_first, *post_last;

	int64_t         turn_ns;        /* start of the batch that runs */
	int64_t         now_ms, wall_ms; /* as of then */
	uint64_t        turns, slow;
	int64_t         minute;         /* of the two below */
	int64_t         minute_max_ns, minute_before_max_ns, all_max_ns;

	/* real */
	struct event_base *base;
	struct event   *post_event, *timer_event;
	int             post_fd, timer_fd;
	int64_t         timer_armed;    /* what timer_fd waits for; -1: nothing */

	/* virtual */
	struct rand     order;          /* apart from rand: a draw more somewhere does not reorder everything */
	int64_t         mono_ms, wall_start_ms, wall_shift_ms;
};

struct loop *loop_alloc(void);
/* Anything at all that could still call somebody. */
bool         loop_is_pending(struct loop *l);

/* Every call into other layers lies between these two. */
void         loop_enter(struct loop *l);
void         loop_leave(struct loop *l);
/* The batch has run for LOOP_BATCH_NS. */
bool         loop_batch_is_over(struct loop *l);

/* Takes one out of the queue; it counts as not queued when its fn is called. */
void         loop_call(struct loop *l, struct deferred *d);
/* NULL: none. From any thread. */
struct post *loop_post_pop(struct loop *l);
bool         loop_post_pending(struct loop *l);

/* The earliest, or NULL. */
struct timer *timer_top(const struct loop *l);
/* Up to max of those due at now, in no order; returns how many. */
size_t       timer_due(const struct loop *l, int64_t now, struct timer **ret, size_t max);
void         timer_fire(struct timer *t);

bool         loop_event_open(struct loop *l, struct err *reterr);
void         loop_event_close(struct loop *l);
void         loop_event_wake(struct loop *l); /* from any thread: a post is there */
void         loop_event_turn(struct loop *l, bool block);
void         loop_virtual_turn(struct loop *l);
int64_t      loop_clock_ns(const struct loop *l); /* uncached monotonic time */

#endif
