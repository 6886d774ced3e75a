/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "pass.h"

/* sync --dry-run: which writes a pass would make, and what would come of each. */

static char *
pass_plan_key(const struct lane *l, const char *name)
{
	return xasprintf("%zu %s", l->index, name);
}

void
pass_note_fine(struct pass *p, const struct lane *l, const char *state)
{
	char *key = pass_plan_key(l, state);

	map_put(p->fine, span_str(key), p);
	free(key);
}

bool
pass_plans(const struct pass *p, const struct lane *l, const char *name)
{
	char *key = pass_plan_key(l, name);
	bool  yes = map_get(p->plans, span_str(key)) != NULL;

	free(key);
	return yes;
}

void
pass_would_write(struct pass *p, const struct lane *l, uint64_t state, const char *name, struct snapshot *next)
{
	struct would_write *w;
	char               *key = pass_plan_key(l, name);
	uintptr_t           at = (uintptr_t)map_get(p->plans, span_str(key));

	/* A place that is source and target compares what it holds while its source is still read: what is read last counts, once. */
	if (map_get(p->fine, span_str(key)) != NULL && pass_edge(p, l->edge) != NULL)
		pass_edge(p, l->edge)->unchanged--;
	map_del(p->fine, span_str(key));
	if (at == 0) {
		p->would = xreallocarray(p->would, p->nwould + 1, sizeof(*p->would));
		at = ++p->nwould;
		map_put(p->plans, span_str(key), (void *)at); /* NOLINT(performance-no-int-to-ptr) */
	} else {
		free(p->would[at - 1].name);
		snapshot_free(&p->would[at - 1].next);
	}
	free(key);
	w = &p->would[at - 1];
	memset(w, 0, sizeof(*w));
	w->lane = &l->edge->lanes[l - l->edge->lanes];
	w->state = state;
	w->name = xstrdup(name);
	if (next == NULL)
		return;
	w->next = *next;
	body_ref(w->next.body);
}

/* A snapshot: nothing is there to be compared with. */
static struct op *
pass_would_keep(struct pass *p, struct would_write *w)
{
	struct version_rec v;
	struct state_rec   s;
	struct store_txn  *t;

	w->result.outcome = history_is_due(p->e, w->lane, w->name) ? PUSH_WRITTEN : PUSH_CURRENT;
	w->result.serial = w->next.info.serial;
	w->result.bytes = w->next.info.size;
	if (w->state != 0 && store_read(p->e->store, &t, NULL) == ERR_OK) {
		if (store_state_by_id(t, w->state, &s) && store_version(t, s.id, s.head, &v)) {
			w->result.serial = v.serial;
			w->result.bytes = v.size;
		}
		store_end(t);
	}
	return op_result(p->e->loop, &(struct err){ .code = ERR_OK });
}

/* Two states that would get one name: the second one of a dry run would be held. */
static bool
pass_would_clash(struct pass *p, struct would_write *w)
{
	const struct would_write *first = NULL;
	struct buf                at;
	struct err                err;

	buf_init(&at, 0);
	if (lane_map(p->e->plan, w->lane, w->name, &at, &err) == MAP_YES) {
		buf_printf(&at, " %s", w->lane->to->label);
		first = map_get(p->targets, buf_span(&at));
		if (first == NULL)
			map_put(p->targets, buf_span(&at), w);
	}
	if (first != NULL && (first->lane->edge->from != w->lane->edge->from || strcmp(first->name, w->name) != 0)) {
		w->result.outcome = PUSH_HELD;
		err_set(&w->result.err, ERR_CONFLICT, 0, "%.*s would be the replica of %s:%s", (int)(at.len - strlen(w->lane->to->label) - 1),
		    buf_str(&at), first->lane->edge->from->label, first->name);
		err_hint(&w->result.err, "give one of the two another key in the configuration");
	} else {
		first = NULL;
	}
	buf_free(&at);
	return first != NULL;
}

struct op *
pass_next_would(void *arg)
{
	struct pass        *p = arg;
	struct would_write *w;
	struct op          *push;

	if (p->next == p->nwould)
		return NULL;
	w = &p->would[p->next++];
	if (w->lane->edge->kind == EDGE_SNAPSHOT)
		return pass_would_keep(p, w);
	if (pass_would_clash(p, w))
		return op_result(p->e->loop, &(struct err){ .code = ERR_OK });
	push = push_op(p->e, w->lane, w->state, &(struct push_options){ .dry = true, .next = w->state == 0 ? &w->next : NULL,
	    .name = w->name }, &w->result);
	push->tally = &engine_track(p->e, w->lane)->requests;
	return push;
}

void
pass_count_would(struct pass *p)
{
	struct pass_result *r = p->ret;

	r->planned = xcalloc(p->nwould + 1, sizeof(*r->planned));
	for (size_t i = 0; i < p->nwould; i++) {
		struct would_write *w = &p->would[i];

		pass_replica(p, w->lane, w->result.outcome, w->name, w->result.bytes, &w->result.err);
		if (w->result.outcome == PUSH_WRITTEN)
			r->planned[r->nplanned++] = (struct planned){ .edge = xstrdup(w->lane->edge->name), .state = xstrdup(w->name),
				.target = xstrdup(w->lane->to->label), .serial = w->result.serial, .bytes = w->result.bytes,
				.probe = w->result.probe };
	}
}
