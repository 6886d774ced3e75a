/* SPDX-License-Identifier: MIT */
#include "alias.h"

#include <stdlib.h>

/* Aliases of a backend's names: one line each in the store, the name, a tab, the alias. Neither holds control characters. */

/* A value of the map: the name, NUL, the alias, NUL. */
static const char *
alias_of(const char *entry)
{
	return entry + strlen(entry) + 1;
}

static char *
alias_entry(const char *name, const char *alias)
{
	size_t n = strlen(name) + 1, m = strlen(alias) + 1;
	char  *entry = xmalloc(n + m);

	memcpy(entry, name, n);
	memcpy(entry + n, alias, m);
	return entry;
}

const char *
provider_alias(const struct backend *b, const char *name)
{
	const char *entry = b->aliases != NULL ? map_get(b->aliases, span_str(name)) : NULL;

	return entry != NULL ? alias_of(entry) : NULL;
}

const char *
provider_unalias(const struct backend *b, const char *alias)
{
	const char *found = NULL;
	void       *entry;

	for (size_t i = 0; b->aliases != NULL && map_next(b->aliases, &i, NULL, &entry);) {
		if (strcmp(alias_of(entry), alias) != 0)
			continue;
		if (found != NULL)
			return NULL;
		found = entry;
	}
	return found;
}

void
provider_set_alias(struct backend *b, const char *name, const char *alias)
{
	const char *known = provider_alias(b, name);

	if (alias == known || (alias != NULL && known != NULL && strcmp(alias, known) == 0))
		return;
	if (b->aliases == NULL)
		b->aliases = map_new();
	free(alias != NULL ? map_put(b->aliases, span_str(name), alias_entry(name, alias)) : map_del(b->aliases, span_str(name)));
	b->aliases_new = true;
}

void
provider_aliases_write(const struct backend *b, struct buf *ret)
{
	void *entry;

	for (size_t i = 0; b->aliases != NULL && map_next(b->aliases, &i, NULL, &entry);)
		buf_printf(ret, "%s\t%s\n", (const char *)entry, alias_of(entry));
}

void
provider_aliases_read(struct backend *b, struct span text)
{
	char *all = span_dup(text), *rest = all, *line, *tab;
	bool  was = b->aliases_new;

	while ((line = strsep(&rest, "\n")) != NULL)
		if ((tab = strchr(line, '\t')) != NULL) {
			*tab = '\0';
			if (provider_alias(b, line) == NULL)
				provider_set_alias(b, line, tab + 1);
		}
	b->aliases_new = was;
	free(all);
}

void
aliases_free(struct map *m)
{
	void *v;

	for (size_t i = 0; m != NULL && map_next(m, &i, NULL, &v);)
		free(v);
	map_free(m);
}

void
aliases_copy(struct backend *to, const struct backend *from)
{
	struct buf text;

	buf_init(&text, 0);
	provider_aliases_write(from, &text);
	provider_aliases_read(to, buf_span(&text));
	buf_free(&text);
}
