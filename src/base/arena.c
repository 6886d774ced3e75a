/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct block {
	struct block *next;
	size_t        used, cap;
	alignas(max_align_t) unsigned char data[];
};

#define ARENA_BLOCK ((size_t)4096 - sizeof(struct block))
#define ARENA_BIG   ((size_t)1024)

struct arena {
	struct block *blocks;
	size_t        bytes;
};

struct arena *
arena_new(void)
{
	return xcalloc(1, sizeof(struct arena));
}

void
arena_free(struct arena *a)
{
	struct block *next;

	if (a == NULL)
		return;
	for (struct block *b = a->blocks; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
}

static struct block *
arena_block(struct arena *a, size_t cap)
{
	struct block *b;

	assert(cap < SIZE_MAX / 2);
	b = xcalloc(1, sizeof(*b) + cap);
	b->cap = cap;
	a->bytes += sizeof(*b) + cap;
	return b;
}

/* What is big gets a block of its own, behind the current one, whose room stays in use. */
static void *
arena_alloc_big(struct arena *a, size_t need)
{
	struct block *b = arena_block(a, need);

	b->used = need;
	if (a->blocks == NULL) {
		a->blocks = b;
	} else {
		b->next = a->blocks->next;
		a->blocks->next = b;
	}
	return b->data;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	struct block *b = a->blocks;
	size_t        need;
	void         *p;

	assert(n < SIZE_MAX / 2);
	/* Nothing gets a place of its own too. */
	need = (n + alignof(max_align_t) - (n > 0)) & ~(alignof(max_align_t) - 1);
	if (b == NULL || b->cap - b->used < need) {
		if (need > ARENA_BIG)
			return arena_alloc_big(a, need);
		b = arena_block(a, ARENA_BLOCK);
		b->next = a->blocks;
		a->blocks = b;
	}
	p = b->data + b->used;
	b->used += need;
	return p;
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return s == NULL ? NULL : arena_span(a, span_str(s));
}

char *
arena_span(struct arena *a, struct span s)
{
	char *copy = arena_alloc(a, s.n + 1);

	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	return copy;
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char   *s;
	int     n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	s = arena_alloc(a, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return s;
}

size_t
arena_bytes(const struct arena *a)
{
	return a->bytes;
}
