/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/state_twins.h"

#define STATE_TWINS_FIRST 64

static bool
state_twins_put(struct state_twins *t, uint64_t hash)
{
	size_t at = (size_t)hash & (t->cap - 1);

	while (t->slots[at] != 0) {
		if (t->slots[at] == hash)
			return false;
		at = (at + 1) & (t->cap - 1);
	}
	t->slots[at] = hash;
	t->n++;
	return true;
}

static void
state_twins_grow(struct state_twins *t)
{
	struct state_twins larger = { .cap = t->cap == 0 ? STATE_TWINS_FIRST : 2 * t->cap };

	larger.slots = xcalloc(larger.cap, sizeof(*larger.slots));
	for (size_t i = 0; i < t->cap; i++)
		if (t->slots[i] != 0)
			state_twins_put(&larger, t->slots[i]);
	free(t->slots);
	*t = larger;
}

bool
state_twins_add(struct state_twins *t, uint64_t hash)
{
	if (t->n == STATE_TWINS_MAX)
		state_twins_clear(t);
	if (2 * (t->n + 1) > t->cap)
		state_twins_grow(t);
	return state_twins_put(t, hash == 0 ? 1 : hash);
}

void
state_twins_clear(struct state_twins *t)
{
	if (t->n > 0)
		memset(t->slots, 0, t->cap * sizeof(*t->slots));
	t->n = 0;
}

void
state_twins_free(struct state_twins *t)
{
	free(t->slots);
	memset(t, 0, sizeof(*t));
}
