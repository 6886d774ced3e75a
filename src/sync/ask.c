/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/* A name that a person gave, and that is not known: the inventory of its backend is asked, and the aliases that it gives are kept. */
struct ask {
	struct op     op;
	struct place *place;
	struct op    *asked; /* until it is awaited */
};

enum ask_state { START, ASKED };

static const char *const ask_states[] = { "start", "asked" };

static enum op_turn
ask_step(struct op *op)
{
	struct ask *a = container_of(op, struct ask, op);
	struct op  *asked = a->asked;

	switch ((enum ask_state)op->state) {
	case START:
		a->asked = NULL;
		return op_await(op, ASKED, asked);
	case ASKED:
		place_keep_aliases(a->place);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
ask_free(struct op *op)
{
	struct ask *a = container_of(op, struct ask, op);

	op_free(a->asked);
	free(a);
}

static const struct op_class ask_class = { "ask", ask_step, NULL, ask_free, ask_states, ARRAY_LEN(ask_states) };

struct op *
engine_ask(struct engine *e, struct backend *b, const char *name)
{
	struct op  *asked = provider_ask(b, name);
	struct ask *a;

	if (asked == NULL)
		return NULL;
	a = xcalloc(1, sizeof(*a));
	op_init(&a->op, &ask_class, e->loop);
	a->op.about = b->label;
	a->place = engine_place(e, b);
	a->asked = asked;
	return hold_op(e, &a->op);
}
