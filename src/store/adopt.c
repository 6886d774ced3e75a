/* SPDX-License-Identifier: MIT */
/* A store that came from elsewhere goes on here, as a new agent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/batch.h"

enum adopt_state { ADOPT_START, ADOPT_APPLIED, ADOPT_BOUND, ADOPT_STATES };
static const char *const adopt_states[ADOPT_STATES] = { "start", "applied", "bound" };

struct adopt {
	struct op     op;
	struct store *s;
	char          agent[37];
};

bool
adopt_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	(void)b;
	return store_put_agent(t, op->u.adopt.agent);
}

static struct batch *
adopt_batch(struct adopt *a)
{
	struct batch *b = batch_new(a->s);
	char          text[128];

	snprintf(text, sizeof(text), "this host goes on as agent %s; it was %s", a->agent, a->s->agent_id);
	batch_adopt(b, a->agent);
	batch_event(b, &(struct event_rec){ .kind = "adopted", .text = text });
	return b;
}

static enum err_code
adopt_bind(struct work_job *job, void *arg, struct err *reterr)
{
	(void)job;
	return host_bind(arg, reterr);
}

/* The id first: between the two the store is still foreign, and adopting again is harmless. */
static enum op_turn
adopt_step(struct op *op)
{
	struct adopt *a = container_of(op, struct adopt, op);

	switch ((enum adopt_state)op->state) {
	case ADOPT_START:
		rand_uuid(loop_rand(op->loop), a->agent);
		return op_await(op, ADOPT_APPLIED, store_apply(a->s, adopt_batch(a)));
	case ADOPT_APPLIED:
		if (op_failed(op))
			return op_fail(op);
		memcpy(a->s->agent_id, a->agent, sizeof(a->agent));
		op_shield(op);
		return op_await(op, ADOPT_BOUND, work_run(a->s->work, adopt_bind, a->s));
	case ADOPT_BOUND:
		if (!op_failed(op))
			a->s->foreign = false;
		return op_finish(op);
	case ADOPT_STATES:
		break;
	}
	return OP_DONE;
}

static void
adopt_free(struct op *op)
{
	free(container_of(op, struct adopt, op));
}

static const struct op_class adopt_class = {
	.name = "adopt",
	.step = adopt_step,
	.free = adopt_free,
	.states = adopt_states,
	.nstates = ADOPT_STATES,
};

struct op *
store_adopt(struct store *s)
{
	struct adopt *a = xcalloc(1, sizeof(*a));

	op_init(&a->op, &adopt_class, s->loop);
	a->s = s;
	return &a->op;
}
