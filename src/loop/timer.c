/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "loop/loop_impl.h"

/* A binary heap of pointers; every timer knows its slot, so that stopping one costs no search. */

static bool
timer_before(const struct timer *a, const struct timer *b)
{
	return a->due != b->due ? a->due < b->due : a->seq < b->seq;
}

static void
timer_place(struct loop *l, struct timer *t, size_t i)
{
	l->heap[i] = t;
	t->slot = i + 1;
}

/* Moves t from the hole i towards the root. */
static void
timer_sift_up(struct loop *l, struct timer *t, size_t i)
{
	while (i > 0) {
		size_t up = (i - 1) / 2;

		if (!timer_before(t, l->heap[up]))
			break;
		timer_place(l, l->heap[up], i);
		i = up;
	}
	timer_place(l, t, i);
}

static void
timer_sift_down(struct loop *l, struct timer *t, size_t i)
{
	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid >= l->ntimers)
			break;
		if (kid + 1 < l->ntimers && timer_before(l->heap[kid + 1], l->heap[kid]))
			kid++;
		if (!timer_before(l->heap[kid], t))
			break;
		timer_place(l, l->heap[kid], i);
		i = kid;
	}
	timer_place(l, t, i);
}

static void
timer_remove(struct timer *t)
{
	struct loop  *l = t->loop;
	size_t        i = t->slot - 1;
	struct timer *last = l->heap[--l->ntimers];

	t->slot = 0;
	if (last == t)
		return;
	if (i > 0 && timer_before(last, l->heap[(i - 1) / 2]))
		timer_sift_up(l, last, i);
	else
		timer_sift_down(l, last, i);
}

void
timer_init(struct timer *t, struct loop *l, void (*fn)(void *arg), void *arg)
{
	memset(t, 0, sizeof(*t));
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
}

void
timer_set(struct timer *t, int64_t ms)
{
	struct loop *l = t->loop;

	assert(t->fn != NULL);
	timer_stop(t);
	/* Not the cached time: after a long callback the timer would fire early. */
	t->due = loop_clock_ns(l) / LOOP_NS_PER_MS + (ms > 0 ? ms : 0);
	t->seq = l->timer_seq++;
	if (l->ntimers == l->heap_cap) {
		l->heap_cap = l->heap_cap == 0 ? 16 : 2 * l->heap_cap;
		l->heap = xreallocarray(l->heap, l->heap_cap, sizeof(struct timer *));
	}
	timer_sift_up(l, t, l->ntimers++);
}

void
timer_sooner(struct timer *t, int64_t ms)
{
	if (!timer_pending(t) || t->due > loop_clock_ns(t->loop) / LOOP_NS_PER_MS + (ms > 0 ? ms : 0))
		timer_set(t, ms);
}

void
timer_stop(struct timer *t)
{
	if (t->slot != 0)
		timer_remove(t);
}

bool
timer_pending(const struct timer *t)
{
	return t->slot != 0;
}

struct timer *
timer_top(const struct loop *l)
{
	return l->ntimers > 0 ? l->heap[0] : NULL;
}

/* What is due hangs together at the root: a walk that stops below the first that is not. ret is the walk's own queue. */
size_t
timer_due(const struct loop *l, int64_t now, struct timer **ret, size_t max)
{
	size_t n = 0;

	if (l->ntimers > 0 && l->heap[0]->due <= now && max > 0)
		ret[n++] = l->heap[0];
	for (size_t i = 0; i < n; i++) {
		size_t first = 2 * (ret[i]->slot - 1) + 1;

		for (size_t kid = first; kid < first + 2 && kid < l->ntimers && n < max; kid++) {
			if (l->heap[kid]->due <= now)
				ret[n++] = l->heap[kid];
		}
	}
	return n;
}

void
timer_fire(struct timer *t)
{
	timer_remove(t);
	t->fn(t->arg);
}
