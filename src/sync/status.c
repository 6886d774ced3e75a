/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/* How things stand: derived from records and the plan each time, never kept. */

void
engine_health(struct engine *e, void (*fn)(void *arg, const struct place_health *h), void *arg)
{
	for (size_t i = 0; i < e->plan->nbackends; i++) {
		const struct place *p = &e->places[i];
		struct place_health h = { .label = p->backend->label, .ok = !p->failing && !p->moved, .trouble = p->why,
			.since = p->since, .last_ok = p->last_ok, .last_try = p->last_try, .next_try = p->next_try, .moved = p->moved };

		if (p->moved)
			place_may_act(p, &h.trouble);
		fn(arg, &h);
	}
}

static enum replica_status
status_of_record(const struct engine *e, const struct lane *l, const struct state_rec *s, const struct replica_rec *r)
{
	const struct place *to = engine_place((struct engine *)(uintptr_t)e, l->to);

	if (r->status == REPLICA_HELD && r->version == s->head)
		return REPLICA_HELD;
	if (to->failing || to->moved)
		return REPLICA_UNKNOWN;
	if (r->status == REPLICA_FAILED)
		return REPLICA_FAILED;
	if (l->edge->kind == EDGE_SNAPSHOT && r->version >= s->head && s->head != 0)
		return REPLICA_CURRENT;
	if (r->status == REPLICA_CURRENT && digest_eq(&r->digest, &s->head_digest))
		return REPLICA_CURRENT;
	return digest_is_zero(&r->digest) ? REPLICA_PENDING : REPLICA_BEHIND;
}

enum replica_status
engine_replica_status(struct engine *e, struct store_txn *t, const struct lane *l, const struct state_rec *s,
    struct replica_rec *ret)
{
	struct buf   name;
	struct err   err = { .code = ERR_OK };
	enum mapping m;
	bool         have;

	buf_init(&name, 0);
	m = lane_map(e->plan, l, s->name, &name, &err);
	buf_free(&name);
	have = store_replica(t, l->edge->name, l->to->label, s->id, ret);
	if (!have)
		*ret = (struct replica_rec){ .edge = l->edge->name, .target = l->to->label, .state = s->id, .name = "", .etag = "",
			.error = "", .hint = "" };
	if (m == MAP_PAUSED)
		return REPLICA_PAUSED;
	if (m == MAP_ERROR)
		return REPLICA_HELD;
	if (!have && engine_place(e, l->to)->failing)
		return REPLICA_UNKNOWN;
	return have ? status_of_record(e, l, s, ret) : REPLICA_PENDING;
}

struct totals {
	struct engine        *e;
	struct store_txn     *t;
	struct engine_totals *ret;
};

static void
totals_lane(struct totals *x, const struct lane *l, const struct state_rec *s)
{
	struct replica_rec r;
	int64_t            lag;

	switch (engine_replica_status(x->e, x->t, l, s, &r)) {
	case REPLICA_CURRENT:
		x->ret->current++;
		return;
	case REPLICA_PAUSED:
		x->ret->paused++;
		return;
	case REPLICA_HELD:
		x->ret->held++;
		break;
	case REPLICA_FAILED:
		x->ret->failed++;
		break;
	case REPLICA_UNKNOWN:
		x->ret->unknown++;
		break;
	case REPLICA_PENDING:
		x->ret->pending++;
		break;
	case REPLICA_BEHIND:
		x->ret->behind++;
		break;
	}
	lag = loop_wall(x->e->loop) - s->last_changed;
	if (lag > x->ret->oldest_lag_ms)
		x->ret->oldest_lag_ms = lag;
}

static bool
totals_state(void *arg, const struct state_rec *s)
{
	struct totals     *x = arg;
	struct plan       *plan = x->e->plan;
	struct version_rec v;

	if ((s->flags & STATE_TARGET) != 0)
		return true;
	x->ret->states++;
	x->ret->unusable += (s->flags & STATE_UNCOVERED) != 0;
	if (s->seen_version != 0 && s->seen_version != s->head && store_version(x->t, s->id, s->seen_version, &v) &&
	    !verdict_is_head(v.verdict) && !digest_eq(&s->released, &s->seen_digest))
		x->ret->quarantined++;
	for (size_t i = 0; s->head != 0 && i < plan->nedges; i++) {
		const struct edge *edge = &plan->edges[i];

		if (strcmp(edge->from->label, s->backend) != 0 || !edge_selects(edge, s->name))
			continue;
		for (size_t j = 0; j < edge->nlanes; j++) {
			struct buf name;
			struct err err;

			buf_init(&name, 0);
			if (lane_map(plan, &edge->lanes[j], s->name, &name, &err) != MAP_NO)
				totals_lane(x, &edge->lanes[j], s);
			buf_free(&name);
		}
	}
	return true;
}

void
engine_totals(struct engine *e, struct engine_totals *ret)
{
	struct totals x = { .e = e, .ret = ret };

	memset(ret, 0, sizeof(*ret));
	ret->trouble = store_trouble(e->store)[0] != '\0' || !engine_acts(e);
	for (size_t i = 0; i < e->plan->nbackends; i++)
		ret->trouble |= (e->places[i].failing || e->places[i].moved) && (e->places[i].source || e->places[i].target);
	if (store_read(e->store, &x.t, NULL) != ERR_OK) {
		ret->trouble = true;
		return;
	}
	store_states(x.t, NULL, 0, totals_state, &x);
	store_end(x.t);
}
