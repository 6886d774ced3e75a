/* SPDX-License-Identifier: MIT */
#include "loop/quota.h"

#include <assert.h>
#include <stdlib.h>

struct quota_wait {
	struct op          op;
	struct quota      *q;
	uint64_t           n;
	struct quota_wait *prev, *next;
};

enum quota_state { START, TAKEN };

static const char *const quota_states[] = { "start", "taken" };

void
quota_init(struct quota *q, struct loop *l, uint64_t limit)
{
	assert(limit > 0);
	*q = (struct quota){ .loop = l, .limit = limit };
}

static void
quota_unlink(struct quota_wait *w)
{
	struct quota *q = w->q;

	*(w->prev != NULL ? &w->prev->next : &q->first) = w->next;
	*(w->next != NULL ? &w->next->prev : &q->last) = w->prev;
	w->prev = w->next = NULL;
}

/* Those at the head for whom there is enough. A large one is not overtaken: it would wait for ever. */
static void
quota_lend(struct quota *q)
{
	struct quota_wait *w;

	while ((w = q->first) != NULL && (q->lent == 0 || (w->n <= q->limit && q->lent <= q->limit - w->n))) {
		quota_unlink(w);
		q->lent += w->n;
		op_wake(&w->op);
	}
}

void
quota_give(struct quota *q, uint64_t n)
{
	assert(n <= q->lent);
	q->lent -= n;
	quota_lend(q);
}

static enum op_turn
quota_step(struct op *op)
{
	struct quota_wait *w = container_of(op, struct quota_wait, op);
	struct quota      *q = w->q;

	switch ((enum quota_state)op->state) {
	case START:
		op->state = TAKEN;
		w->prev = q->last;
		*(q->last != NULL ? &q->last->next : &q->first) = w;
		q->last = w;
		quota_lend(q);
		return OP_WAIT;
	case TAKEN:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
quota_cancel(struct op *op)
{
	struct quota_wait *w = container_of(op, struct quota_wait, op);

	quota_unlink(w);
	err_set(&op->res, ERR_CANCELLED, 0, "quota: cancelled");
	op_wake(op);
	quota_lend(w->q); /* a smaller one behind it may have its turn */
}

static void
quota_free(struct op *op)
{
	free(container_of(op, struct quota_wait, op));
}

static const struct op_class quota_class = { "quota", quota_step, quota_cancel, quota_free, quota_states, ARRAY_LEN(quota_states) };

struct op *
quota_take(struct quota *q, uint64_t n)
{
	struct quota_wait *w = xcalloc(1, sizeof(*w));

	op_init(&w->op, &quota_class, q->loop);
	w->q = q;
	w->n = n;
	return &w->op;
}
