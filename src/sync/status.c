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
			.since = p->since, .last_ok = p->last_ok, .last_try = p->last_try, .next_try = p->next_try, .moved = p->moved,
			.refused = p->refused, .unread = p->unread, .proof = &p->proof };

		err_unprefix(&h.trouble, h.label);
		if (p->moved)
			place_may_act(p, &h.trouble);
		fn(arg, &h);
	}
}

bool
engine_is_outrun(const struct engine *e)
{
	return e->outrun;
}

bool
engine_in_trouble(const struct engine *e)
{
	bool trouble = store_trouble(e->store)[0] != '\0' || !engine_acts(e);

	for (size_t i = 0; i < e->plan->nbackends; i++)
		trouble |= (e->places[i].failing || e->places[i].moved) && (e->places[i].source || e->places[i].target);
	return trouble;
}

bool
state_quarantined(struct store_txn *t, const struct state_rec *s, struct version_rec *ret)
{
	return s->seen_version != 0 && s->seen_version != s->head && !digest_eq(&s->seen_digest, &s->head_digest) &&
	    store_version(t, s->id, s->seen_version, ret) && !verdict_is_head(ret->verdict) &&
	    !digest_eq(&s->released, &s->seen_digest);
}

/* ---------------------------------------------------------------- replicas */

void
replica_settle(struct replica_rec *r, enum replica_status status, int64_t now)
{
	if (status != REPLICA_HELD && status != REPLICA_FAILED)
		r->troubled = 0;
	else if (r->status != status || r->troubled == 0)
		r->troubled = now;
	r->status = status;
}

/* One state while its replicas are looked at. */
struct viewing {
	struct engine          *e;
	struct store_txn       *t;
	const struct state_rec *s;
	bool                    quarantined;
	struct err              why;       /* of the quarantine */
};

static enum replica_status
view_of_record(const struct viewing *x, const struct lane *l, const struct replica_rec *r)
{
	const struct place *to = engine_place(x->e, l->to);

	if (r->status == REPLICA_HELD && r->version == x->s->head)
		return REPLICA_HELD;
	if (to->failing || to->moved)
		return REPLICA_UNKNOWN;
	if (r->status == REPLICA_FAILED)
		return REPLICA_FAILED;
	if (l->edge->kind == EDGE_SNAPSHOT && r->version >= x->s->head && x->s->head != 0)
		return REPLICA_CURRENT;
	if (r->status == REPLICA_CURRENT && digest_eq(&r->digest, &x->s->head_digest))
		return REPLICA_CURRENT;
	return digest_is_zero(&r->digest) ? REPLICA_PENDING : REPLICA_BEHIND;
}

static void
view_read(const struct viewing *x, struct replica_view *v)
{
	bool have = store_replica(x->t, v->lane->edge->name, v->lane->to->label, x->s->id, &v->rec);

	if (!have)
		v->rec = (struct replica_rec){ .edge = v->lane->edge->name, .target = v->lane->to->label, .state = x->s->id,
			.name = "", .etag = "", .error = "", .hint = "" };
	if (have)
		v->status = view_of_record(x, v->lane, &v->rec);
	else
		v->status = engine_place(x->e, v->lane->to)->failing ? REPLICA_UNKNOWN : REPLICA_PENDING;
	if (v->rec.error[0] != '\0') {
		err_set(&v->why, v->status == REPLICA_HELD ? ERR_CONFLICT : (enum err_code)v->rec.error_code, 0, "%s", v->rec.error);
		err_hint(&v->why, "%s", v->rec.hint);
	}
}

/* A replica of the head is as it should be; but what the source holds now waits for a person, and the replica with it. */
static void
view_quarantine(const struct viewing *x, struct replica_view *v)
{
	if (!x->quarantined || (v->status != REPLICA_CURRENT && (x->s->head != 0 || v->status != REPLICA_PENDING)))
		return;
	v->status = REPLICA_HELD;
	v->quarantined = true;
	v->why = x->why;
}

static void
view_decide(const struct viewing *x, enum mapping m, const struct err *no_name, struct replica_view *v)
{
	int64_t lag = loop_wall(x->e->loop) - x->s->last_changed;

	err_clear(&v->why);
	view_read(x, v);
	v->lag_ms = v->status == REPLICA_CURRENT || lag < 0 ? 0 : lag;
	if (m == MAP_ERROR) {
		v->status = REPLICA_HELD;
		v->why = *no_name;
	} else {
		view_quarantine(x, v);
	}
	if (m == MAP_PAUSED || !engine_acts(x->e))
		v->status = REPLICA_PAUSED;
	if (v->status == REPLICA_PAUSED || x->s->head == 0)
		v->lag_ms = -1;
}

void
engine_replicas(struct engine *e, struct store_txn *t, const struct state_rec *s,
    void (*fn)(void *arg, const struct replica_view *v), void *arg)
{
	struct plan   *plan = e->plan;
	struct viewing x = { .e = e, .t = t, .s = s };

	x.quarantined = look_is_quarantined(t, s, &x.why);
	for (size_t i = 0; i < plan->nedges; i++) {
		struct edge *edge = &plan->edges[i];

		if (strcmp(edge->from->label, s->backend) != 0 || !edge_selects(edge, s->name))
			continue;
		for (size_t j = 0; j < edge->nlanes; j++) {
			struct replica_view v = { .lane = &edge->lanes[j] };
			struct err          err = { .code = ERR_OK };
			struct buf          name;
			enum mapping        m;

			buf_init(&name, 0);
			m = lane_map(plan, v.lane, s->name, &name, &err);
			if (m != MAP_NO) {
				view_decide(&x, m, &err, &v);
				v.name = v.rec.name[0] != '\0' ? v.rec.name : buf_str(&name);
				fn(arg, &v);
			}
			buf_free(&name);
		}
	}
}

/* ---------------------------------------------------------------- totals */

void
totals_begin(const struct engine *e, struct engine_totals *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->plan = e->plan;
	ret->edges = xcalloc(e->plan->nedges + 1, sizeof(*ret->edges));
}

void
totals_free(struct engine_totals *n)
{
	free(n->edges);
	n->edges = NULL;
}

bool
state_counts(const struct plan *p, const struct state_rec *s)
{
	const struct backend *b = plan_backend(p, s->backend);

	return (s->flags & STATE_TARGET) == 0 && b != NULL && plan_is_source(p, b);
}

void
totals_state(struct engine_totals *n, struct store_txn *t, const struct state_rec *s)
{
	struct version_rec v;

	n->states++;
	n->unusable += (s->flags & (STATE_UNCOVERED | STATE_INVENTORY)) == STATE_UNCOVERED;
	n->uncovered += (s->flags & STATE_INVENTORY) != 0;
	n->quarantined += state_quarantined(t, s, &v);
}

/* Classes of lag, eight to each doubling: what falls into one differs by an eighth at most. */
static size_t
totals_lag_class(int64_t ms)
{
	uint64_t v = ms < 1 ? 1 : (uint64_t)ms;
	unsigned top = 63 - (unsigned)__builtin_clzll(v);

	return top < 3 ? (size_t)v : (top - 2) * 8 + (size_t)(v >> (top - 3)) - 8;
}

static int64_t
totals_lag_bound(size_t class)
{
	size_t top = class / 8 + 2;

	return class < 8 ? (int64_t)class : (int64_t)((class % 8 + 9) << (top - 3)) - 1;
}

void
totals_replica(struct engine_totals *n, const struct state_rec *s, const struct replica_view *v)
{
	struct edge_totals *edge = &n->edges[v->lane->edge - n->plan->edges];

	if (s->head == 0 && !v->quarantined) /* there is nothing that it could be a replica of */
		return;
	n->by_status[v->status]++;
	edge->by_status[v->status]++;
	if (v->rec.verified > edge->last_ok)
		edge->last_ok = v->rec.verified;
	if (v->lag_ms < 0)
		return;
	edge->with_lag++;
	edge->lags[totals_lag_class(v->lag_ms)] += v->lag_ms > 0;
	edge->max_lag_ms = v->lag_ms > edge->max_lag_ms ? v->lag_ms : edge->max_lag_ms;
	n->oldest_lag_ms = v->lag_ms > n->oldest_lag_ms ? v->lag_ms : n->oldest_lag_ms;
}

int64_t
totals_lag_ms(const struct edge_totals *n, unsigned percent)
{
	uint64_t above = n->with_lag - (n->with_lag * percent + 99) / 100, seen = 0;

	if (percent >= 100)
		return n->max_lag_ms;
	for (size_t i = TOTALS_LAGS; i-- > 0;) {
		seen += n->lags[i];
		if (seen > above)
			return totals_lag_bound(i) < n->max_lag_ms ? totals_lag_bound(i) : n->max_lag_ms;
	}
	return 0;
}
