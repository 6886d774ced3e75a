/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/*
 * Open addressing over indices into an array that keeps the order of insertion; a deleted entry keeps its place,
 * without a key, until the next rebuild. The order of the slots never shows.
 */
struct entry {
	uint8_t *key; /* NULL: deleted */
	size_t   n;
	uint64_t hash;
	void    *value;
};

struct map {
	struct entry *entries;
	size_t        used, cap, live;
	uint32_t     *slots; /* index + 1, 0: free */
	size_t        nslots;
	uint64_t      seed[2];
};

static inline uint64_t
map_rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

static void
map_rounds(uint64_t v[4], int n)
{
	while (n-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = map_rotl(v[1], 13) ^ v[0];
		v[3] = map_rotl(v[3], 16) ^ v[2];
		v[0] = map_rotl(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = map_rotl(v[1], 17) ^ v[2];
		v[3] = map_rotl(v[3], 21) ^ v[0];
		v[2] = map_rotl(v[2], 32);
	}
}

/* SipHash-1-3 (Aumasson, Bernstein): whoever may write to a listed bucket chooses the names that end up here. */
static uint64_t
map_hash(const struct map *m, struct span key)
{
	uint64_t v[4] = { m->seed[0] ^ UINT64_C(0x736f6d6570736575), m->seed[1] ^ UINT64_C(0x646f72616e646f6d),
		m->seed[0] ^ UINT64_C(0x6c7967656e657261), m->seed[1] ^ UINT64_C(0x7465646279746573) };
	uint64_t word;
	size_t   i = 0;

	for (; i + 8 <= key.n; i += 8) {
		memcpy(&word, key.p + i, 8); /* in the order of this machine: no hash leaves it */
		v[3] ^= word;
		map_rounds(v, 1);
		v[0] ^= word;
	}
	word = (uint64_t)key.n << 56;
	for (size_t shift = 0; i < key.n; i++, shift += 8)
		word |= (uint64_t)key.p[i] << shift;
	v[3] ^= word;
	map_rounds(v, 1);
	v[0] ^= word;
	v[2] ^= 0xff;
	map_rounds(v, 3);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct map *
map_new(void)
{
	struct map *m = xcalloc(1, sizeof(*m));

	/* Where things lie differs from run to run and is unknown outside: enough of a key, and no run looks
	 * different for it. */
	m->seed[0] = (uint64_t)(uintptr_t)m;
	m->seed[1] = (uint64_t)(uintptr_t)&m;
	return m;
}

void
map_free(struct map *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->used; i++)
		free(m->entries[i].key);
	free(m->entries);
	free(m->slots);
	free(m);
}

static size_t
map_find(const struct map *m, struct span key, uint64_t hash)
{
	for (size_t i = (size_t)hash & (m->nslots - 1);; i = (i + 1) & (m->nslots - 1)) {
		const struct entry *e;

		if (m->slots[i] == 0)
			return SIZE_MAX;
		e = &m->entries[m->slots[i] - 1];
		if (e->key != NULL && e->hash == hash && span_eq(span_of(e->key, e->n), key))
			return m->slots[i] - 1;
	}
}

static void
map_place(struct map *m, size_t index)
{
	size_t i = (size_t)m->entries[index].hash & (m->nslots - 1);

	while (m->slots[i] != 0)
		i = (i + 1) & (m->nslots - 1);
	m->slots[i] = (uint32_t)index + 1;
}

/* Room for one more, without the deleted ones. Only map_put() gets here, so an iteration that deletes is not
 * disturbed. */
static void
map_rebuild(struct map *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->used; i++)
		if (m->entries[i].key != NULL)
			m->entries[n++] = m->entries[i];
	m->used = n;
	m->nslots = 16;
	while (m->nslots < 4 * (n + 1))
		m->nslots *= 2;
	m->cap = m->nslots / 2;
	assert(m->cap < UINT32_MAX);
	m->entries = xreallocarray(m->entries, m->cap, sizeof(*m->entries));
	free(m->slots);
	m->slots = xcalloc(m->nslots, sizeof(*m->slots));
	for (size_t i = 0; i < n; i++)
		map_place(m, i);
}

void *
map_get(const struct map *m, struct span key)
{
	size_t i;

	if (m->live == 0)
		return NULL;
	i = map_find(m, key, map_hash(m, key));
	return i == SIZE_MAX ? NULL : m->entries[i].value;
}

void *
map_put(struct map *m, struct span key, void *value)
{
	uint64_t hash = map_hash(m, key);
	size_t   i = m->live == 0 ? SIZE_MAX : map_find(m, key, hash);
	void    *old;

	assert(value != NULL);
	if (i != SIZE_MAX) {
		old = m->entries[i].value;
		m->entries[i].value = value;
		return old;
	}
	if (m->used == m->cap)
		map_rebuild(m);
	m->entries[m->used] = (struct entry){ xmemdup(key.p, key.n), key.n, hash, value };
	map_place(m, m->used++);
	m->live++;
	return NULL;
}

void *
map_del(struct map *m, struct span key)
{
	size_t i = m->live == 0 ? SIZE_MAX : map_find(m, key, map_hash(m, key));
	void  *old;

	if (i == SIZE_MAX)
		return NULL;
	old = m->entries[i].value;
	free(m->entries[i].key);
	m->entries[i].key = NULL;
	m->live--;
	return old;
}

size_t
map_count(const struct map *m)
{
	return m->live;
}

bool
map_next(const struct map *m, size_t *pos, struct span *key, void **value)
{
	while (*pos < m->used && m->entries[*pos].key == NULL)
		(*pos)++;
	if (*pos >= m->used)
		return false;
	if (key != NULL)
		*key = span_of(m->entries[*pos].key, m->entries[*pos].n);
	if (value != NULL)
		*value = m->entries[*pos].value;
	(*pos)++;
	return true;
}
