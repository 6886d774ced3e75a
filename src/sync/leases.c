/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/*
 * Which lanes are this agent's, where an edge has a lease: each of its lanes has one of its own, kept at the coordinator that the edge
 * names. An agent keeps them as long as it runs; a pass of its own takes them for as long as it lasts.
 */
#define LEASES_LOOK_MS   100
#define LEASES_SLACK_MS  10000  /* beyond the time in which a dead holder's lease expires */
#define LEASES_PROVE_MS  60000  /* until a target that could not be probed is probed again */

/* --- one lane --- */

static void track_lease_start(void *arg);

static void
track_lease_changed(void *arg)
{
	struct track *t = arg;

	if (lease_holds(t->lease))
		engine_kick(t->engine, t->lane->edge->from);
}

void
track_lease_init(struct track *t)
{
	const struct edge *e = t->lane->edge;
	struct lease_conf  c = { .loop = t->engine->loop, .key = e->name, .agent_id = store_agent_id(t->engine->store),
		.agent_name = t->engine->plan->settings.name, .ttl_ms = e->lease.ttl_ms, .max_failures = (unsigned)e->lease.max_failures,
		.changed = track_lease_changed, .arg = t };

	if (!e->lease.on)
		return;
	timer_init(&t->prove_due, t->engine->loop, track_lease_start, t);
	c.coordinator = t->coordinator = coordinator_target(t->lane->to);
	t->lease = lease_new(&c);
}

void
track_lease_free(struct track *t)
{
	timer_stop(&t->prove_due);
	lease_free(t->lease);
	coordinator_free(t->coordinator);
}

bool
track_is_ours(const struct track *t)
{
	return t->lease == NULL || lease_holds(t->lease);
}

/* What a lease rests on is proven first. */
static void
track_proven(struct op *op, void *arg)
{
	struct track *t = arg;

	t->proving = NULL;
	t->unproven = op->err;
	op_free(op);
	if (t->engine->stopping || !t->wants_lease)
		return;
	if (t->unproven.code == ERR_OK)
		lease_start(t->lease);
	else
		timer_set(&t->prove_due, LEASES_PROVE_MS);
}

static void
track_lease_start(void *arg)
{
	struct track *t = arg;
	struct op    *prove;

	if (t->lease == NULL || t->proving != NULL)
		return;
	t->wants_lease = true;
	prove = prove_conditions_op(engine_place(t->engine, t->lane->to));
	if (prove == NULL) {
		lease_start(t->lease);
		return;
	}
	t->proving = prove;
	op_start(prove, track_proven, t);
}

/* Nothing may be under way under it. */
static void
track_lease_leave(struct track *t)
{
	if (t->lease == NULL || t->drain != NULL)
		return;
	t->wants_lease = false;
	timer_stop(&t->prove_due);
	op_cancel(t->proving);
	lease_leave(t->lease);
}

/* --- all of them --- */

void
leases_start(struct engine *e)
{
	for (size_t i = 0; i < e->plan->nlanes && engine_acts(e); i++)
		track_lease_start(&e->tracks[i]);
}

void
leases_leave(struct engine *e)
{
	for (size_t i = 0; i < e->plan->nlanes; i++)
		track_lease_leave(&e->tracks[i]);
}

bool
leases_idle(const struct engine *e)
{
	for (size_t i = 0; i < e->plan->nlanes; i++)
		if (e->tracks[i].proving != NULL || (e->tracks[i].lease != NULL && !lease_idle(e->tracks[i].lease)))
			return false;
	return true;
}

/* --- of a pass --- */

struct leases_wait {
	struct op           op;
	struct engine      *e;
	const struct pass  *pass;   /* NULL: until all are idle */
	int64_t             begun;
};

/* Is it known by now whose it is? A dead holder's expires within 1.5 of its own ttl. */
static bool
leases_is_decided(const struct leases_wait *w, const struct track *t)
{
	struct lease_view v;
	int64_t           ttl = t->lane->edge->lease.ttl_ms;

	if (t->lease == NULL || !pass_has_edge(w->pass, t->lane->edge) || t->unproven.code != ERR_OK)
		return true;
	lease_look(t->lease, &v);
	if (v.seen.record.ttl_ms > ttl)
		ttl = v.seen.record.ttl_ms;
	return v.standing == LEASE_OURS || v.standing == LEASE_THEIRS || v.standing == LEASE_YIELDED ||
	    loop_now(w->e->loop) - w->begun > LEASE_EXPIRES(ttl) + LEASES_SLACK_MS;
}

static bool
leases_wait_is_over(const struct leases_wait *w)
{
	if (w->pass == NULL)
		return leases_idle(w->e);
	for (size_t i = 0; i < w->e->plan->nlanes; i++)
		if (!leases_is_decided(w, &w->e->tracks[i]))
			return false;
	return true;
}

static enum op_turn
leases_wait_step(struct op *op)
{
	struct leases_wait *w = container_of(op, struct leases_wait, op);

	if (op->res.code == ERR_CANCELLED)
		return op_fail(op);
	return leases_wait_is_over(w) ? op_ok(op) : op_await(op, 0, op_sleep(op->loop, LEASES_LOOK_MS));
}

static void
leases_wait_free(struct op *op)
{
	free(container_of(op, struct leases_wait, op));
}

static const char *const      leases_wait_states[] = { "waiting" };
static const struct op_class leases_wait_class = { "leases", leases_wait_step, NULL, leases_wait_free, leases_wait_states, 1 };

struct op *
leases_settled_op(struct engine *e, const struct pass *pass)
{
	struct leases_wait *w = xcalloc(1, sizeof(*w));

	op_init(&w->op, &leases_wait_class, e->loop);
	w->e = e;
	w->pass = pass;
	w->begun = loop_now(e->loop);
	return &w->op;
}

/* --- who has them --- */

bool
track_lease_refused(const struct track *t, struct err *ret)
{
	struct lease_view v;

	if (track_is_ours(t))
		return false;
	lease_look(t->lease, &v);
	if (t->unproven.code != ERR_OK) {
		*ret = t->unproven;
	} else if (v.standing == LEASE_UNREAD) {
		*ret = v.why;
		err_prefix(ret, "the lease at %s", t->lane->to->label);
	} else if (v.standing == LEASE_YIELDED) {
		err_set(ret, ERR_LOCKED, 0, "the lease at %s is left to other agents for a while, because writes there kept failing",
		    t->lane->to->label);
	} else {
		err_set(ret, ERR_LOCKED, 0, "the lease at %s is held by %s (epoch %llu)", t->lane->to->label,
		    v.seen.record.holder[0] != '\0' ? v.seen.record.name : "nobody yet", (unsigned long long)v.seen.record.epoch);
		err_hint(ret, "that agent replicates it, and hands it over when it ends");
	}
	return true;
}

void
engine_leases(struct engine *e, void (*fn)(void *arg, const struct lane *l, const struct lease_view *v), void *arg)
{
	struct lease_view v;

	for (size_t i = 0; i < e->plan->nlanes; i++) {
		const struct track *t = &e->tracks[i];

		if (t->lease == NULL)
			continue;
		lease_look(t->lease, &v);
		if (t->unproven.code != ERR_OK) {
			v.standing = LEASE_UNREAD;
			v.why = t->unproven;
		}
		fn(arg, t->lane, &v);
	}
}
