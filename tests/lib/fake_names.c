/* SPDX-License-Identifier: MIT */
#include "fake_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int
fake_names_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct fake_names
fake_names_of(const struct map *m, const char *prefix)
{
	struct fake_names f = { .list = xcalloc(map_count(m) + 1, sizeof(char *)) };
	struct span       name;
	void             *v;

	for (size_t i = 0; map_next((struct map *)(uintptr_t)m, &i, &name, &v);)
		if (prefix == NULL || span_starts(name, prefix))
			f.list[f.n++] = span_dup(name);
	qsort(f.list, f.n, sizeof(f.list[0]), fake_names_cmp);
	return f;
}

void
fake_names_free(struct fake_names *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->list[i]);
	free(f->list);
}
