/* SPDX-License-Identifier: MIT */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * Byte strings to pointers. Iteration is in order of insertion, never of the
 * hash, so that a run can be repeated. Keys are copied; values are borrowed.
 */
struct map;

struct map *map_new(void);
void        map_free(struct map *m);
void       *map_get(const struct map *m, struct span key);          /* NULL: not there */
void       *map_put(struct map *m, struct span key, void *value);   /* value not NULL; returns the one replaced */
void       *map_del(struct map *m, struct span key);                /* returns what was there */
size_t      map_count(const struct map *m);
/* for (size_t i = 0; map_next(m, &i, &key, &value);) — key and value may be NULL; deleting the entry just seen is
 * allowed. */
bool        map_next(const struct map *m, size_t *pos, struct span *key, void **value);

#endif
