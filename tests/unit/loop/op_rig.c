/* SPDX-License-Identifier: MIT */
#include "op_rig.h"

struct loop *rig_loop;
int          rig_frees;

/* --- a leaf, as every leaf is written: somebody answers later --- */

static enum op_turn
question_step(struct op *op)
{
	struct question *q = container_of(op, struct question, op);

	if (op->state == 1)
		return op_finish(op); /* woken: the answer is in op->res */
	if (q->ret_asked != NULL)
		(*q->ret_asked)++;
	op->state = 1;
	return OP_WAIT;
}

void
question_cancel(struct op *op)
{
	struct question *q = container_of(op, struct question, op);

	if (q->ret_cancels != NULL)
		(*q->ret_cancels)++;
	if (q->deaf)
		return;
	err_set(&op->res, ERR_CANCELLED, 0, "never mind");
	op_wake(op);
}

void
question_free(struct op *op)
{
	rig_frees++;
	free(container_of(op, struct question, op));
}

static const char *const     question_states[] = { "start", "asked" };
static const struct op_class question_class = {
	"question", question_step, question_cancel, question_free, question_states, ARRAY_LEN(question_states),
};

struct question *
question_new(int *ret_asked, int *ret_cancels)
{
	struct question *q = xcalloc(1, sizeof(*q));

	op_init(&q->op, &question_class, rig_loop);
	q->ret_asked = ret_asked;
	q->ret_cancels = ret_cancels;
	return q;
}

void
question_answer(struct question *q, enum err_code code)
{
	err_set(&q->op.res, code, 7, "answer");
	op_wake(&q->op);
}

/* --- an op of several steps, whose switch the test brings --- */

static enum op_turn
flow_step(struct op *op)
{
	struct flow *f = container_of(op, struct flow, op);

	f->steps++;
	return f->fn(f);
}

static void
flow_free(struct op *op)
{
	struct flow *f = container_of(op, struct flow, op);

	rig_frees++;
	op_free(f->child);
	op_free(f->cleanup);
	free(f);
}

static const struct op_class flow_class = { "flow", flow_step, NULL, flow_free, NULL, 0 };

struct flow *
flow_new(enum op_turn (*fn)(struct flow *f), struct op *child)
{
	struct flow *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &flow_class, rig_loop);
	f->fn = fn;
	f->child = child;
	return f;
}

enum op_turn
flow_await(struct flow *f, int next)
{
	struct op *child = f->child;

	f->child = NULL;
	return op_await(&f->op, next, child);
}

/* --- the end of an op --- */

void
rig_ended(struct op *op, void *arg)
{
	struct end *end = arg;

	end->calls++;
	end->err = op->err;
	end->code = op->err.code;
	op_free(op);
}

bool
rig_end_seen(void *arg)
{
	return ((struct end *)arg)->calls > 0;
}

bool
rig_not_zero(void *arg)
{
	return *(int *)arg != 0;
}

void
rig_wait(struct end *end)
{
	CHECK(loop_run_until(rig_loop, rig_end_seen, end, 5000));
	CHECK_U64(end->calls, 1);
	while (loop_turn(rig_loop, false)) /* and no second time */
		CHECK_U64(end->calls, 1);
	CHECK_U64(op_count(rig_loop), 0);
}

void
rig_wait_int(int *n)
{
	CHECK(loop_run_until(rig_loop, rig_not_zero, n, 5000));
}

void
rig_begin(bool virtual)
{
	struct err e;

	rig_frees = 0;
	rig_loop = virtual ? loop_new_virtual(1, 1790000000000) : loop_new(&e);
	CHECK(rig_loop != NULL);
}

void
rig_on_both(void (*fn)(void))
{
	for (int virtual = 0; virtual < 2; virtual++) {
		rig_begin(virtual);
		fn();
		loop_free(rig_loop);
	}
}
