/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "base/mem.h"
#include "loop/loop_impl.h"

/*
 * The twin for tests. Each turn runs one thing, drawn from all that could run
 * now: so every order that the real loop can produce comes up under some seed,
 * and many that it only produces under load.
 */

/* Drawn from the first so many of each kind: a turn costs the same however long the queue is. */
#define LOOP_VIRTUAL_WINDOW 64

static int64_t
loop_virtual_mono(const struct clock *c)
{
	return ((const struct loop *)c->arg)->mono_ms;
}

static int64_t
loop_virtual_wall(const struct clock *c)
{
	const struct loop *l = c->arg;

	return l->wall_start_ms + l->mono_ms + l->wall_shift_ms;
}

struct loop *
loop_new_virtual(uint64_t seed, int64_t wall_ms)
{
	struct loop *l = loop_alloc();

	l->is_virtual = true;
	l->wall_start_ms = wall_ms;
	l->clock = (struct clock){ loop_virtual_mono, loop_virtual_wall, l };
	rand_seeded(&l->rand, seed);
	rand_seeded(&l->order, ~seed);
	return l;
}

void
loop_wall_shift(struct loop *l, int64_t ms)
{
	assert(l->is_virtual);
	l->wall_shift_ms += ms;
}

static void
loop_virtual_call(struct loop *l, size_t index)
{
	struct deferred *d = l->queue.next;

	while (index-- > 0)
		d = d->next;
	loop_call(l, d);
}

void
loop_virtual_turn(struct loop *l)
{
	struct timer *due[LOOP_VIRTUAL_WINDOW];
	size_t        calls = l->ndeferred < LOOP_VIRTUAL_WINDOW ? l->ndeferred : LOOP_VIRTUAL_WINDOW;
	size_t        posts = loop_post_pending(l) ? 1 : 0; /* only the first: they keep their order */
	size_t        timers, pick;

	if (calls == 0 && posts == 0 && l->ntimers > 0 && timer_top(l)->due > l->mono_ms)
		l->mono_ms = timer_top(l)->due;
	timers = timer_due(l, l->mono_ms, due, LOOP_VIRTUAL_WINDOW);
	if (calls + posts + timers == 0)
		return;
	pick = (size_t)rand_below(&l->order, calls + posts + timers);
	loop_enter(l);
	if (pick < calls) {
		loop_virtual_call(l, pick);
	} else if (pick < calls + posts) {
		struct post *p = loop_post_pop(l);

		p->fn(p->arg);
	} else {
		timer_fire(due[pick - calls - posts]);
	}
	loop_leave(l);
}
