/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/*
 * What a person asks of leases: who has them, and that an edge's are handed over for planned maintenance. An agent that runs knows them;
 * without one the records are read, and what a process of this agent held that is no more is given up for it.
 */
enum handover_state { START, LOOKED, TAKEN, GIVEN };

static const char *const handover_states[] = { "start", "looked", "taken", "given" };

struct handover {
	struct op      op;
	struct engine *e;
	char          *edge;           /* NULL: only a look, at all of them */
	bool           back;
	bool           read;           /* the records that nobody keeps were asked for */
	struct lease_released *ret;
};

static bool
handover_is_about(const struct handover *h, const struct track *t)
{
	return t->lease != NULL && (h->edge == NULL || strcmp(t->lane->edge->name, h->edge) == 0);
}

/* Is any of them still at it? */
static bool
handover_any(const struct handover *h, bool (*is)(const struct lease *l))
{
	for (size_t i = 0; i < h->e->plan->nlanes; i++)
		if (handover_is_about(h, &h->e->tracks[i]) && is(h->e->tracks[i].lease))
			return true;
	return false;
}

static bool
lease_is_busy(const struct lease *l)
{
	return !lease_idle(l);
}

static enum op_turn
handover_wait(struct handover *h)
{
	return op_await(&h->op, h->op.state, op_sleep(h->op.loop, ENDED_LOOK_MS));
}

static enum err_code
handover_check(const struct handover *h, struct err *reterr)
{
	const struct edge *edge = h->edge != NULL ? plan_edge(h->e->plan, h->edge) : NULL;

	if (h->edge != NULL && store_is_foreign(h->e->store)) { /* what its record says of this agent is the doing of the original */
		err_set(reterr, ERR_CONFIG, 0, "this store is not active on this host");
		return err_hint(reterr, "stateferry adopt");
	}
	if (h->edge == NULL || (edge != NULL && edge->lease.on))
		return ERR_OK;
	if (edge == NULL)
		return err_set(reterr, ERR_USAGE, 0, "no edge is called \"%s\"", h->edge);
	err_set(reterr, ERR_USAGE, 0, "\"%s\" has no lease block: no other agent waits for it", h->edge);
	return err_hint(reterr, "to stop writing, stop the agent");
}

/* --- one lane --- */

static bool
handover_is_ours(const struct track *t, const struct lease_view *v)
{
	const char *holder = v->seen.record.holder;

	return lease_is_held(t->lease) || strcmp(holder, store_agent_id(t->engine->store)) == 0;
}

static void
handover_refuse(struct handover *h, const struct track *t, const struct lease_view *v)
{
	const char *at = t->lane->to->label, *who = v->seen.record.name;
	char        text[TIME_TEXT_MAX];

	if (h->ret->others++ > 0)
		return;
	err_set(&h->ret->first, ERR_LOCKED, 0, "the lease of %s at %s is held by %s (epoch %llu): only that agent can hand it over", h->edge, at,
	    who, (unsigned long long)v->seen.record.epoch);
	err_hint(&h->ret->first, "there: stateferry lease release %s; if it is dead, others take the lease over once its record has not changed for %s",
	    h->edge, duration_format(v->expires_ms, text));
}

/* Without an agent of ours there is something to give only where a process of ours died. */
static void
handover_one(struct handover *h, struct track *t)
{
	struct lease_view v;

	lease_look(t->lease, &v);
	if (h->back) {
		lease_release(t->lease, false);
		h->ret->done++;
	} else if (v.standing == LEASE_UNREAD && v.seen.record.epoch == 0) {
		if (h->ret->others++ == 0)
			h->ret->first = v.why;
	} else if (v.seen.record.holder[0] != '\0' && !handover_is_ours(t, &v)) {
		handover_refuse(h, t, &v);
	} else {
		h->ret->done++;
		if (h->e->started)
			lease_release(t->lease, true);
		else if (handover_is_ours(t, &v))
			lease_start(t->lease);
	}
}

static void
handover_each(struct handover *h, void (*fn)(struct handover *h, struct track *t))
{
	for (size_t i = 0; i < h->e->plan->nlanes; i++)
		if (handover_is_about(h, &h->e->tracks[i]))
			fn(h, &h->e->tracks[i]);
}

static void
handover_read(struct handover *h, struct track *t)
{
	if (lease_idle(t->lease)) {
		lease_pause(t->lease);
		h->read = true;
	}
}

static void
handover_leave(struct handover *h, struct track *t)
{
	struct lease_view v;

	lease_look(t->lease, &v);
	if (v.standing == LEASE_UNREAD && !lease_idle(t->lease)) {
		h->ret->done--;
		if (h->ret->others++ == 0)
			h->ret->first = v.why;
	}
	lease_leave(t->lease);
}

/* Of those of a dead process: taken, or it is known that they cannot be. */
static bool
lease_is_being_taken(const struct lease *l)
{
	struct lease_view v;

	lease_look(l, &v);
	return !lease_idle(l) && v.standing == LEASE_WATCHING;
}

static enum op_turn
handover_step(struct op *op)
{
	struct handover *h = container_of(op, struct handover, op);

	if (op->res.code == ERR_CANCELLED)
		return op_fail(op);
	switch ((enum handover_state)op->state) {
	case START:
		if (handover_check(h, &op->res) != ERR_OK)
			return op_fail(op);
		handover_each(h, handover_read);
		return op_go(op, LOOKED);
	case LOOKED:
		if (h->read && handover_any(h, lease_is_busy))
			return handover_wait(h);
		if (h->edge == NULL)
			return op_ok(op);
		handover_each(h, handover_one);
		return op_go(op, TAKEN);
	case TAKEN:
		if (!h->e->started && !h->back) {
			if (handover_any(h, lease_is_being_taken))
				return handover_wait(h);
			handover_each(h, handover_leave);
		}
		return op_go(op, GIVEN);
	case GIVEN: /* what was begun under it ends first */
		if (!h->back && handover_any(h, h->e->started ? lease_is_held : lease_is_busy))
			return handover_wait(h);
		op->res = h->ret->first;
		return h->ret->done == 0 && op_failed(op) ? op_fail(op) : op_ok(op);
	}
	return OP_DONE;
}

static void
handover_free(struct op *op)
{
	struct handover *h = container_of(op, struct handover, op);

	free(h->edge);
	free(h);
}

static const struct op_class handover_class = { "lease", handover_step, NULL, handover_free, handover_states, ARRAY_LEN(handover_states) };

static struct handover *
handover_new(struct engine *e)
{
	struct handover *h = xcalloc(1, sizeof(*h));

	op_init(&h->op, &handover_class, e->loop);
	h->e = e;
	return h;
}

struct op *
engine_leases_read(struct engine *e)
{
	return hold_op(e, &handover_new(e)->op);
}

struct op *
engine_lease_release(struct engine *e, const char *edge, bool back, struct lease_released *ret)
{
	struct handover *h = handover_new(e);

	memset(ret, 0, sizeof(*ret));
	h->edge = xstrdup(edge);
	h->back = back;
	h->ret = ret;
	return hold_later_op(e, &h->op);
}
