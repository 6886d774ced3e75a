/* SPDX-License-Identifier: MIT */
#include "loop/loop.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "loop/loop_impl.h"

struct loop *
loop_alloc(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));

	l->queue.next = l->queue.prev = &l->queue;
	pthread_mutex_init(&l->post_lock, NULL);
	l->post_fd = l->timer_fd = -1;
	return l;
}

struct loop *
loop_new(struct err *reterr)
{
	struct loop *l = loop_alloc();

	l->clock = clock_system;
	rand_system(&l->rand);
	if (loop_event_open(l, reterr))
		return l;
	loop_free(l);
	return NULL;
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	assert(!l->in_turn);
	assert(!loop_is_pending(l));
	if (!l->is_virtual)
		loop_event_close(l);
	pthread_mutex_destroy(&l->post_lock);
	free(l->heap);
	free(l);
}

bool
loop_is_virtual(const struct loop *l)
{
	return l->is_virtual;
}

bool
loop_is_pending(struct loop *l)
{
	return l->ndeferred > 0 || l->ntimers > 0 || l->nops > 0 || l->nwatches > 0 || loop_post_pending(l);
}

/* --- time --- */

int64_t
loop_now(const struct loop *l)
{
	return l->in_turn ? l->now_ms : l->clock.mono_ms(&l->clock);
}

int64_t
loop_wall(const struct loop *l)
{
	return l->in_turn ? l->wall_ms : l->clock.wall_ms(&l->clock);
}

const struct clock *
loop_clock(const struct loop *l)
{
	return &l->clock;
}

struct rand *
loop_rand(struct loop *l)
{
	return &l->rand;
}

/* --- turns --- */

void
loop_enter(struct loop *l)
{
	assert(!l->in_turn); /* a callback that runs the loop */
	l->in_turn = true;
	l->turn_ns = loop_clock_ns(l);
	l->now_ms = l->turn_ns / LOOP_NS_PER_MS;
	l->wall_ms = l->clock.wall_ms(&l->clock);
}

static void
loop_count_turn(struct loop *l, int64_t now_ns)
{
	int64_t took = now_ns - l->turn_ns, minute = now_ns / (60 * 1000 * LOOP_NS_PER_MS);

	if (minute != l->minute) {
		l->minute_before_max_ns = minute == l->minute + 1 ? l->minute_max_ns : 0;
		l->minute_max_ns = 0;
		l->minute = minute;
	}
	l->turns++;
	if (took > LOOP_TURN_MAX_MS * LOOP_NS_PER_MS)
		l->slow++;
	if (took > l->minute_max_ns)
		l->minute_max_ns = took;
	if (took > l->all_max_ns)
		l->all_max_ns = took;
}

void
loop_leave(struct loop *l)
{
	assert(l->in_turn);
	loop_count_turn(l, loop_clock_ns(l));
	l->in_turn = false;
}

bool
loop_batch_is_over(struct loop *l)
{
	return loop_clock_ns(l) - l->turn_ns >= LOOP_BATCH_NS;
}

void
loop_delay(const struct loop *l, struct loop_delay *ret)
{
	int64_t age = loop_clock_ns(l) / (60 * 1000 * LOOP_NS_PER_MS) - l->minute, last = 0;

	if (age <= 1)
		last = l->minute_max_ns;
	if (age == 0 && l->minute_before_max_ns > last)
		last = l->minute_before_max_ns;
	ret->turns = l->turns;
	ret->slow = l->slow;
	ret->last_max_s = (double)last / 1e9;
	ret->max_s = (double)l->all_max_ns / 1e9;
}

bool
loop_turn(struct loop *l, bool block)
{
	if (!loop_is_pending(l))
		return false;
	if (l->is_virtual)
		loop_virtual_turn(l);
	else
		loop_event_turn(l, block);
	return true;
}

void
loop_run(struct loop *l)
{
	while (!l->stopped) {
		if (!l->is_virtual)
			loop_event_turn(l, true); /* a thread may post, whatever we know of */
		else if (!loop_turn(l, true))
			break;
	}
	l->stopped = false;
}

void
loop_stop(struct loop *l)
{
	l->stopped = true;
}

static void
loop_until_expired(void *arg)
{
	*(bool *)arg = true;
}

bool
loop_run_until(struct loop *l, bool (*done)(void *arg), void *arg, int64_t ms)
{
	struct timer limit;
	bool         expired = false;

	timer_init(&limit, l, loop_until_expired, &expired);
	timer_set(&limit, ms);
	while (!done(arg) && !expired) {
		/* Nobody else can change the answer: do not let time jump to our own limit. */
		if (l->is_virtual && l->ndeferred == 0 && l->ntimers == 1 && !loop_post_pending(l))
			break;
		loop_turn(l, true);
	}
	timer_stop(&limit);
	return done(arg);
}

/* --- deferred calls --- */

void
loop_defer(struct loop *l, struct deferred *d, void (*fn)(void *arg), void *arg)
{
	if (d->next != NULL)
		return;
	d->fn = fn;
	d->arg = arg;
	d->next = &l->queue;
	d->prev = l->queue.prev;
	d->prev->next = d;
	l->queue.prev = d;
	l->ndeferred++;
}

void
loop_undefer(struct loop *l, struct deferred *d)
{
	if (d->next == NULL)
		return;
	d->next->prev = d->prev;
	d->prev->next = d->next;
	d->next = d->prev = NULL;
	l->ndeferred--;
}

bool
deferred_pending(const struct deferred *d)
{
	return d->next != NULL;
}

void
loop_call(struct loop *l, struct deferred *d)
{
	loop_undefer(l, d);
	d->fn(d->arg);
}

/* --- posts --- */

void
loop_post(struct loop *l, struct post *p, void (*fn)(void *arg), void *arg)
{
	bool first;

	p->fn = fn;
	p->arg = arg;
	p->next = NULL;
	pthread_mutex_lock(&l->post_lock);
	first = l->post_first == NULL;
	if (first)
		l->post_first = p;
	else
		l->post_last->next = p;
	l->post_last = p;
	/* Under the lock: when the loop's thread sees p, this thread is through with the loop. */
	if (first && !l->is_virtual)
		loop_event_wake(l);
	pthread_mutex_unlock(&l->post_lock);
}

struct post *
loop_post_pop(struct loop *l)
{
	struct post *p;

	pthread_mutex_lock(&l->post_lock);
	p = l->post_first;
	if (p != NULL)
		l->post_first = p->next;
	pthread_mutex_unlock(&l->post_lock);
	return p;
}

bool
loop_post_pending(struct loop *l)
{
	bool pending;

	pthread_mutex_lock(&l->post_lock);
	pending = l->post_first != NULL;
	pthread_mutex_unlock(&l->post_lock);
	return pending;
}
