/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

/* Open addressing over indices into an array that keeps the order of insertion; a deleted entry keeps its place, without a
 * key, until the next rebuild. Keys come from configurations and listings: FNV-1a is enough, and the same in every run. */
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
};

static uint64_t
map_hash(struct span key)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < key.n; i++)
		h = (h ^ key.p[i]) * UINT64_C(1099511628211);
	return h ^ h >> 29;
}

struct map *
map_new(void)
{
	return xcalloc(1, sizeof(struct map));
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

/* Room for one more, without the deleted ones. Only map_put() gets here, so an iteration that deletes is not disturbed. */
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
	i = map_find(m, key, map_hash(key));
	return i == SIZE_MAX ? NULL : m->entries[i].value;
}

void *
map_put(struct map *m, struct span key, void *value)
{
	uint64_t hash = map_hash(key);
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
	size_t i = m->live == 0 ? SIZE_MAX : map_find(m, key, map_hash(key));
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
