/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_NAMES_H
#define TESTS_LIB_FAKE_NAMES_H

#include "base/map.h"

/* The keys of a map that begin with prefix (NULL: all), sorted by their bytes, as stores of objects list them. */
struct fake_names {
	char  **list; /* each owned */
	size_t  n;
};

struct fake_names fake_names_of(const struct map *m, const char *prefix);
void              fake_names_free(struct fake_names *f); /* contents */

#endif
