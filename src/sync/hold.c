/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/* What a person asked for while it runs. It may hold places, lanes and backends of the plan, so a reload waits for it. */
struct hold {
	struct op      op;
	struct engine *e;
	struct op     *asked; /* until it is awaited */
	bool           holds; /* is counted */
	struct place  *heard; /* whose inventory answers: the aliases that it gives are kept; NULL: nobody's */
};

enum hold_state { START, ENDED };

static const char *const hold_states[] = { "start", "ended" };

static void
hold_begin(struct hold *h)
{
	h->e->held += !h->holds;
	h->holds = true;
}

static enum op_turn
hold_step(struct op *op)
{
	struct hold *h = container_of(op, struct hold, op);
	struct op   *asked = h->asked;

	switch ((enum hold_state)op->state) {
	case START:
		if (op_failed(op))
			return op_fail(op);
		if (!h->holds && h->e->reloading)
			return op_await(op, START, op_sleep(op->loop, ENDED_LOOK_MS));
		hold_begin(h);
		h->asked = NULL;
		return op_await(op, ENDED, asked);
	case ENDED:
		if (h->heard != NULL)
			place_keep_aliases(h->heard);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
hold_free(struct op *op)
{
	struct hold *h = container_of(op, struct hold, op);

	op_free(h->asked);
	h->e->held -= h->holds;
	free(h);
}

static const struct op_class hold_class = { "asked", hold_step, NULL, hold_free, hold_states, ARRAY_LEN(hold_states) };

struct op *
hold_later_op(struct engine *e, struct op *asked)
{
	struct hold *h = xcalloc(1, sizeof(*h));

	op_init(&h->op, &hold_class, e->loop);
	h->e = e;
	h->asked = asked;
	return &h->op;
}

struct op *
hold_op(struct engine *e, struct op *asked)
{
	struct op *op = hold_later_op(e, asked);

	hold_begin(container_of(op, struct hold, op));
	return op;
}

struct op *
engine_ask(struct engine *e, struct backend *b, const char *name)
{
	struct op *asked = provider_ask(b, name), *op;

	if (asked == NULL)
		return NULL;
	op = hold_op(e, asked);
	op->about = b->label;
	container_of(op, struct hold, op)->heard = engine_place(e, b);
	return op;
}
