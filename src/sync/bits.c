/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

bool
bits_get(const struct bits *b, uint64_t id)
{
	return id / 8 < b->n && (b->p[id / 8] >> (id % 8) & 1) != 0;
}

void
bits_set(struct bits *b, uint64_t id)
{
	size_t need = (size_t)(id / 8) + 1;

	if (need > b->n) {
		size_t n = need < 64 ? 64 : 2 * need;

		b->p = xrealloc(b->p, n);
		memset(b->p + b->n, 0, n - b->n);
		b->n = n;
	}
	b->p[id / 8] = (uint8_t)(b->p[id / 8] | 1 << (id % 8));
}

void
bits_clear(struct bits *b, uint64_t id)
{
	if (id / 8 < b->n)
		b->p[id / 8] = (uint8_t)(b->p[id / 8] & ~(1 << (id % 8)));
}

uint64_t
bits_next(const struct bits *b, uint64_t after)
{
	for (uint64_t id = after + 1; id / 8 < b->n; id++) {
		if (b->p[id / 8] == 0)
			id |= 7;
		else if (bits_get(b, id))
			return id;
	}
	return 0;
}

void
bits_free(struct bits *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}
