/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/* Another plan in place of the running one: everything ends first, and begins again with what the new one says.
 * Only leases that are the same in both are kept. */

struct reload {
	struct op      op;
	struct engine *e;
	struct plan   *plan;
	bool           was_started;
};

enum reload_state { RELOAD_START, RELOAD_WAITED, RELOAD_PAUSED };

static const char *const reload_states[] = { "start", "waited", "leases paused" };

static void
reload_free(struct op *op)
{
	struct reload *r = container_of(op, struct reload, op);

	r->e->reloading = false;
	plan_free(r->plan);
	free(r);
}

/* Counters of a label go on where they were: what they feed watches for jumps. */
static void
reload_counters(struct reload *r)
{
	for (size_t i = 0; i < r->plan->nbackends; i++) {
		const struct backend *before = plan_backend(r->e->plan, r->plan->backends[i]->label);

		if (before != NULL)
			provider_go_on(r->plan->backends[i], before);
	}
}

static enum op_turn
reload_step(struct op *op)
{
	struct reload *r = container_of(op, struct reload, op);

	switch ((enum reload_state)op->state) {
	case RELOAD_START:
		r->was_started = r->e->started;
		r->e->reloading = true;
		op_shield(op);
		leases_keep(r->e, r->plan);
		engine_stop(r->e);
		return op_await(op, RELOAD_WAITED, op_sleep(op->loop, 0));
	case RELOAD_WAITED:
		if (!engine_idle(r->e))
			return op_await(op, RELOAD_WAITED, op_sleep(op->loop, ENDED_LOOK_MS));
		return op_go(op, RELOAD_PAUSED);
	case RELOAD_PAUSED:
		if (op->cancelled) { /* the process ends: nothing begins again */
			leases_keep(r->e, NULL);
			leases_leave(r->e);
			err_set(&op->res, ERR_CANCELLED, 0, "cancelled");
			return op_fail(op);
		}
		if (!leases_paused(r->e) || !engine_idle(r->e)) /* a person may have asked for something meanwhile */
			return op_await(op, RELOAD_PAUSED, op_sleep(op->loop, ENDED_LOOK_MS));
		reload_counters(r);
		engine_replan(r->e, r->plan);
		r->plan = NULL;
		r->e->stopping = false;
		if (r->was_started)
			engine_start(r->e);
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class reload_class = { "reload", reload_step, NULL, reload_free, reload_states,
	ARRAY_LEN(reload_states) };

struct op *
engine_reload(struct engine *e, struct plan *owned)
{
	struct reload *r = xcalloc(1, sizeof(*r));

	op_init(&r->op, &reload_class, e->loop);
	r->e = e;
	r->plan = owned;
	return &r->op;
}
