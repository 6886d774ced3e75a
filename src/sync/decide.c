/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core.h"

/*
 * What only a person may decide: letting a held version go, dropping one, overwriting a held replica, making a copied store
 * active. Each is an event in the journal.
 */

static enum err_code
decide_active(struct engine *e, struct err *reterr)
{
	if (engine_acts(e))
		return ERR_OK;
	err_set(reterr, ERR_CONFIG, 0, "this store is not active on this host");
	return err_hint(reterr, "stateferry adopt");
}

/* ---------------------------------------------------------------- release */

enum release_state { RELEASE_START, RELEASE_PULLED, RELEASE_NOTED };

static const char *const release_states[] = { "start", "pulled", "noted" };

struct release {
	struct op          op;
	struct engine     *e;
	struct place      *place;
	char              *backend, *name;
	uint64_t           version;
	struct pull_result result;
};

static void
release_free(struct op *op)
{
	struct release *r = container_of(op, struct release, op);

	free(r->backend);
	free(r->name);
	free(r);
}

static enum op_turn
release_step(struct op *op)
{
	struct release     *r = container_of(op, struct release, op);
	struct pull_options o = { .force = true, .release = true, .must_be = r->version };
	struct batch       *b;

	switch ((enum release_state)op->state) {
	case RELEASE_START:
		r->place = engine_place(r->e, plan_backend(r->e->plan, r->backend));
		if (r->place == NULL) {
			err_set(&op->res, ERR_USAGE, 0, "no backend is called \"%s\"", r->backend);
			return op_fail(op);
		}
		if (decide_active(r->e, &op->res) != ERR_OK || !place_may_act(r->place, &op->res))
			return op_fail(op);
		return op_await(op, RELEASE_PULLED, pull_op(r->e, r->place, r->name, &o, &r->result));
	case RELEASE_PULLED:
		if (!op_failed(op) && r->result.gone)
			err_set(&op->res, ERR_NOT_FOUND, 0, "%s has no state %s now", r->backend, r->name);
		if (op_failed(op))
			return op_fail(op);
		b = batch_new(r->e->store);
		engine_event(b, r->e, "released", r->backend, r->name, "", "by a person");
		return op_await(op, RELEASE_NOTED, store_apply(r->e->store, b));
	case RELEASE_NOTED:
		engine_kick(r->e, r->place->backend);
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class release_class = { "release", release_step, NULL, release_free, release_states,
	ARRAY_LEN(release_states) };

struct op *
engine_release(struct engine *e, const char *backend, const char *name, uint64_t version)
{
	struct release *r = xcalloc(1, sizeof(*r));

	op_init(&r->op, &release_class, e->loop);
	r->e = e;
	r->backend = xstrdup(backend);
	r->name = xstrdup(name);
	r->version = version;
	return hold_op(e, &r->op);
}

/* ---------------------------------------------------------------- drop */

struct op *
engine_drop(struct engine *e, const char *backend, const char *name, uint64_t version)
{
	struct store_txn  *t;
	struct state_rec   s;
	struct version_rec v;
	struct batch      *b;
	struct err         err;
	bool               have;

	if (store_read(e->store, &t, &err) != ERR_OK)
		return op_result(e->loop, &err);
	have = store_state(t, backend, name, &s) && store_version(t, s.id, version, &v);
	err_clear(&err);
	if (!have || v.dropped)
		err_set(&err, ERR_NOT_FOUND, 0, "%s:%s has no version %" PRIu64, backend, name, version);
	else if (verdict_is_head(v.verdict) || s.head == version)
		err_set(&err, ERR_CONFLICT, 0, "version %" PRIu64 " of %s:%s is not in quarantine", version, backend, name);
	store_end(t);
	if (err.code != ERR_OK)
		return op_result(e->loop, &err);
	b = batch_new(e->store);
	batch_drop(b, backend, name, version);
	engine_event(b, e, "dropped", backend, name, "", "version %" PRIu64 ", by a person", version);
	return store_apply(e->store, b);
}

/* ---------------------------------------------------------------- resolve */

enum resolve_state { RESOLVE_START, RESOLVE_LED, RESOLVE_LOOKED, RESOLVE_MARKED, RESOLVE_PUSHED };

static const char *const resolve_states[] = { "start", "led", "looked", "marked", "pushed" };

struct resolve_one {
	struct op          op;
	struct engine     *e;
	struct lane       *lane;
	uint64_t           state;
	char              *backend, *source, *name;
	struct snapshot    now;
	struct push_result result;
};

static void
resolve_one_free(struct op *op)
{
	struct resolve_one *r = container_of(op, struct resolve_one, op);

	snapshot_free(&r->now);
	free(r->backend);
	free(r->source);
	free(r->name);
	free(r);
}

/* Exactly the bytes seen now may be replaced; they are a version before anything else happens. */
static struct op *
resolve_mark(struct resolve_one *r)
{
	struct store_txn  *t;
	struct replica_rec rep;
	struct batch      *b = batch_new(r->e->store);
	struct queue_rec   q = { .due = loop_wall(r->e->loop), .edge = r->lane->edge->name, .target = r->lane->to->label,
		.state = r->state };
	struct err         err;

	if (store_read(r->e->store, &t, &err) != ERR_OK) {
		batch_free(b);
		return op_result(r->e->loop, &err);
	}
	if (!store_replica(t, q.edge, q.target, r->state, &rep))
		rep = (struct replica_rec){ .edge = q.edge, .target = q.target, .state = r->state, .etag = "", .error = "", .hint = "" };
	rep.name = r->name;
	rep.status = REPLICA_PENDING;
	rep.resolved = r->now.body != NULL ? r->now.digest : (struct digest){ { 0 } };
	batch_replica(b, &rep);
	batch_queue(b, &q);
	engine_event(b, r->e, "resolved", r->backend, r->source, q.edge, "%s: a person allowed to overwrite serial %" PRIu64, q.target,
	    r->now.info.serial);
	store_end(t);
	return store_apply(r->e->store, b);
}

static enum op_turn
resolve_one_step(struct op *op)
{
	struct resolve_one *r = container_of(op, struct resolve_one, op);

	switch ((enum resolve_state)op->state) {
	case RESOLVE_START:
		if (!place_may_act(engine_place(r->e, r->lane->to), &op->res))
			return op_fail(op);
		return op_await(op, RESOLVE_LED, track_settled_op(engine_track(r->e, r->lane)));
	case RESOLVE_LED: /* whoever writes there decides: two at once would only be in each other's way */
		if (op_failed(op) || track_lease_refused(engine_track(r->e, r->lane), &op->res))
			return op_fail(op);
		return op_await(op, RESOLVE_LOOKED, provider_get(r->lane->to, &(struct state_ref){ r->name }, NULL, &r->now));
	case RESOLVE_LOOKED:
		if (op_failed(op) && op->res.code != ERR_NOT_FOUND)
			return op_fail(op);
		return op_await(op, RESOLVE_MARKED, resolve_mark(r));
	case RESOLVE_MARKED:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, RESOLVE_PUSHED,
		    push_op(r->e, r->lane, r->state, &(struct push_options){ .dry = false }, &r->result));
	case RESOLVE_PUSHED:
		if (!op_failed(op) && r->result.err.code != ERR_OK)
			op->res = r->result.err;
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class resolve_class = { "resolve", resolve_one_step, NULL, resolve_one_free, resolve_states,
	ARRAY_LEN(resolve_states) };

static struct op *
resolve_one_new(struct engine *e, struct lane *l, const struct state_rec *s, const char *name)
{
	struct resolve_one *r = xcalloc(1, sizeof(*r));

	op_init(&r->op, &resolve_class, e->loop);
	r->e = e;
	r->lane = l;
	r->state = s->id;
	r->backend = xstrdup(s->backend);
	r->source = xstrdup(s->name);
	r->name = xstrdup(name);
	return &r->op;
}

static size_t
resolve_lanes(struct engine *e, struct store_txn *t, struct edge *edge, const struct state_rec *s, const char *target,
    struct op **ret)
{
	struct replica_rec rep;
	struct buf         name;
	struct err         err;
	size_t             n = 0;

	for (size_t i = 0; i < edge->nlanes; i++) {
		struct lane *l = &edge->lanes[i];
		bool         held = store_replica(t, edge->name, l->to->label, s->id, &rep) && rep.status == REPLICA_HELD;

		if (target != NULL ? strcmp(target, l->to->label) != 0 : !held)
			continue;
		buf_init(&name, 0);
		if (lane_map(e->plan, l, s->name, &name, &err) == MAP_YES)
			ret[n++] = resolve_one_new(e, l, s, buf_str(&name));
		buf_free(&name);
	}
	return n;
}

struct op *
engine_resolve(struct engine *e, const char *edge_name, const char *name, const char *target)
{
	struct edge      *edge = plan_edge(e->plan, edge_name);
	struct store_txn *t;
	struct state_rec  s;
	struct op       **ones, *all;
	struct err        err;
	size_t            n = 0;

	if (edge == NULL || edge->kind != EDGE_REPLICATE)
		return op_error(e->loop, ERR_USAGE, 0, "no replication is called \"%s\"", edge_name);
	if (decide_active(e, &err) != ERR_OK || store_read(e->store, &t, &err) != ERR_OK)
		return op_result(e->loop, &err);
	ones = xcalloc(edge->nlanes + 1, sizeof(*ones));
	if (!store_state(t, edge->from->label, name, &s))
		err_set(&err, ERR_NOT_FOUND, 0, "%s:%s is not known", edge->from->label, name);
	else if ((n = resolve_lanes(e, t, edge, &s, target, ones)) == 0)
		err_set(&err, ERR_NOT_FOUND, 0, "%s: nothing of %s is held", edge_name, name);
	store_end(t);
	all = n == 0 ? op_result(e->loop, &err) : hold_op(e, op_all(e->loop, ones, n, 0, NULL));
	free(ones);
	return all;
}

/* ---------------------------------------------------------------- adopt */

void
engine_adopt_plan(struct engine *e, void (*fn)(void *arg, const char *sentence), void *arg)
{
	char text[512];

	if (!engine_acts(e))
		fn(arg, "this store came from another host or from a backup: it gets a new agent id and acts from here; a lock that its agent "
		    "held there is released after six minutes");
	for (size_t i = 0; i < e->plan->nbackends; i++) {
		if (!e->places[i].moved)
			continue;
		snprintf(text, sizeof(text), "backend %s points to %s now%s: what is there is compared before anything is written",
		    e->places[i].backend->label, e->places[i].backend->where,
		    e->places[i].where_unread ? ", and where it pointed before cannot be read" : "");
		fn(arg, text);
	}
}

enum adopt_state { ADOPT_START, ADOPT_BOUND, ADOPT_NOTED };

static const char *const adopt_states[] = { "start", "bound", "noted" };

struct adopt {
	struct op      op;
	struct engine *e;
};

static struct batch *
adopt_batch(struct engine *e)
{
	struct batch *b = batch_new(e->store);
	struct buf    key;

	for (size_t i = 0; i < e->plan->nbackends; i++) {
		place_key(&e->places[i], "where", &key);
		batch_meta(b, buf_str(&key), span_str(e->places[i].backend->where));
		buf_free(&key);
	}
	engine_event(b, e, "adopted", "", "", "", "by a person");
	return b;
}

static enum op_turn
adopt_step(struct op *op)
{
	struct adopt *a = container_of(op, struct adopt, op);

	switch ((enum adopt_state)op->state) {
	case ADOPT_START:
		return op_await(op, ADOPT_BOUND, engine_acts(a->e) ? NULL : store_adopt(a->e->store));
	case ADOPT_BOUND:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, ADOPT_NOTED, store_apply(a->e->store, adopt_batch(a->e)));
	case ADOPT_NOTED:
		if (!op_failed(op))
			leases_adopted(a->e);
		for (size_t i = 0; !op_failed(op) && i < a->e->plan->nbackends; i++) {
			a->e->places[i].moved = a->e->places[i].where_unread = false;
			place_wake(&a->e->places[i]);
		}
		return op_finish(op);
	}
	return OP_DONE;
}

static void
adopt_free(struct op *op)
{
	free(container_of(op, struct adopt, op));
}

static const struct op_class adopt_class = { "adopt", adopt_step, NULL, adopt_free, adopt_states, ARRAY_LEN(adopt_states) };

struct op *
engine_adopt(struct engine *e)
{
	struct adopt *a = xcalloc(1, sizeof(*a));

	op_init(&a->op, &adopt_class, e->loop);
	a->e = e;
	return &a->op;
}
