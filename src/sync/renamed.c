/* SPDX-License-Identifier: MIT */
#include "renamed.h"

#include <stdlib.h>

#define RENAMED_CHUNK 256 /* marks in one commit */

/* The states of one lineage. */
struct renamed_line {
	char    *come;         /* the last one that is new; NULL: none */
	unsigned ngone, ncome; /* of several nobody knows which one became which */
};

struct renamed_lost {
	char              *name;
	struct renamed_line *line; /* NULL: it never had a head */
};

void
renamed_free(struct renamed *m)
{
	void *line;

	for (size_t i = 0; i < m->n; i++)
		free(m->lost[i].name);
	free(m->lost);
	for (size_t i = 0; m->lines != NULL && map_next(m->lines, &i, NULL, &line);) {
		free(((struct renamed_line *)line)->come);
		free(line);
	}
	map_free(m->lines);
	memset(m, 0, sizeof(*m));
}

/* That of its head. NULL: it has none, or no lineage. */
static struct renamed_line *
renamed_line_of(struct renamed *m, struct store_txn *t, const struct state_rec *r, bool make)
{
	struct version_rec v;
	struct renamed_line *line;

	if (r->head == 0 || !store_version(t, r->id, r->head, &v) || v.lineage[0] == '\0')
		return NULL;
	if (m->lines == NULL)
		m->lines = map_new();
	line = map_get(m->lines, span_str(v.lineage));
	if (line == NULL && make) {
		line = xcalloc(1, sizeof(*line));
		map_put(m->lines, span_str(v.lineage), line);
	}
	return line;
}

void
renamed_gone(struct renamed *m, struct store_txn *t, const struct state_rec *r)
{
	struct renamed_line *line = renamed_line_of(m, t, r, true);

	if (m->n == m->cap) {
		m->cap = m->cap == 0 ? 16 : 2 * m->cap;
		m->lost = xreallocarray(m->lost, m->cap, sizeof(*m->lost));
	}
	m->lost[m->n++] = (struct renamed_lost){ xstrdup(r->name), line };
	if (line != NULL)
		line->ngone++;
}

void
renamed_come(struct renamed *m, struct engine *e, const char *backend, const char *name)
{
	struct store_txn  *t;
	struct state_rec   r;
	struct renamed_line *line = NULL;

	if (m->n == 0 || store_read(e->store, &t, NULL) != ERR_OK)
		return;
	if (store_state(t, backend, name, &r))
		line = renamed_line_of(m, t, &r, false);
	if (line != NULL) {
		free(line->come);
		line->come = xstrdup(name);
		line->ncome++;
	}
	store_end(t);
}

static void
renamed_mark(struct engine *e, struct batch *b, const char *backend, const struct renamed_lost *x)
{
	struct sighting          gone = { .etag = "", .flags = STATE_GONE, .problem = "" };
	const struct renamed_line *line = x->line;

	batch_seen(b, backend, x->name, &gone);
	if (line == NULL || line->ngone != 1 || line->ncome != 1) {
		engine_event(b, e, "gone", backend, x->name, "", "no longer listed; its versions and replicas stay");
		log_at(LOG_WARN, backend, "%s: no longer listed; its versions and replicas stay", x->name);
		return;
	}
	engine_event(b, e, "gone", backend, x->name, "", "it is called %s now, by its lineage; its versions and replicas stay under this name",
	    line->come);
	engine_event(b, e, "renamed", backend, line->come, "", "was %s before, by its lineage; its older versions are kept under that name", x->name);
	log_at(LOG_INFO, backend, "%s: it is called %s now; its versions and replicas stay under the old name", x->name, line->come);
}

struct op *
renamed_settle(struct renamed *m, struct engine *e, const char *backend)
{
	struct batch *b;

	if (m->next == m->n)
		return NULL;
	b = batch_new(e->store);
	for (size_t i = 0; i < RENAMED_CHUNK && m->next < m->n; i++)
		renamed_mark(e, b, backend, &m->lost[m->next++]);
	return store_apply(e->store, b);
}
