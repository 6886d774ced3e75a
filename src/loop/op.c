/* SPDX-License-Identifier: MIT */
#include "loop/op.h"

#include <assert.h>

#include "loop/loop_impl.h"
#include "loop/op_impl.h"

void
op_init(struct op *op, const struct op_class *class, struct loop *loop)
{
	assert(class->step != NULL && class->free != NULL && loop != NULL);
	op->class = class;
	op->loop = loop;
}

/* --- the list of top-level ops --- */

static void
op_link(struct op *op)
{
	struct loop *l = op->loop;

	op->prev = l->ops_last;
	op->next = NULL;
	if (l->ops_last != NULL)
		l->ops_last->next = op;
	else
		l->ops_first = op;
	l->ops_last = op;
	l->nops++;
}

static void
op_unlink(struct op *op)
{
	struct loop *l = op->loop;

	if (op->prev != NULL)
		op->prev->next = op->next;
	else
		l->ops_first = op->next;
	if (op->next != NULL)
		op->next->prev = op->prev;
	else
		l->ops_last = op->prev;
	op->prev = op->next = NULL;
	l->nops--;
}

/* --- running --- */

/* A leaf hears of a cancel only while it waits: an answer that is on its way to it beats the cancel. */
static void
op_pass_cancel(struct op *op)
{
	if (!op_stopped(op) || op->stepping)
		return;
	if (op->child != NULL) {
		op_cancel(op->child);
	} else if (op->class->cancel != NULL && !op->told && !deferred_pending(&op->call)) {
		op->told = true;
		op->class->cancel(op);
	}
}

static _Thread_local struct op *op_now; /* in its step */

void
op_counts_one(void)
{
	const struct op *op = op_now;

	while (op != NULL && op->tally == NULL)
		op = op->parent;
	if (op != NULL)
		++*op->tally;
}

/* Until the next wait; true: it is done. */
static bool
op_steps(struct op *op)
{
	enum op_turn turn;
	struct op   *outer = op_now;

	if (!op->begun && op_stopped(op)) {
		err_set(&op->err, ERR_CANCELLED, 0, "%s: cancelled before it began", op->class->name);
		return true;
	}
	op->begun = op->stepping = true;
	op_now = op;
	do
		turn = op->class->step(op);
	while (turn == OP_AGAIN);
	op_now = outer;
	op->stepping = false;
	if (turn == OP_WAIT)
		op_pass_cancel(op);
	return turn == OP_DONE;
}

/* Hands the outcome to whoever waits; the parent to go on with, or NULL. */
static struct op *
op_end(struct op *op)
{
	struct op *parent = op->parent;

	assert(op->child == NULL);
	loop_undefer(op->loop, &op->call);
	op->finished = true;
	if (parent != NULL && parent->child == op) {
		parent->res = op->err;
		parent->child = NULL;
		op_free(op);
		return parent;
	}
	if (parent == NULL)
		op_unlink(op);
	if (op->done != NULL)
		op->done(op, op->arg);
	else
		op_free(op);
	return NULL;
}

static void
op_run(void *arg)
{
	struct op *op = arg;

	while (op != NULL && op_steps(op))
		op = op_end(op);
}

void
op_launch(struct op *op, struct op *parent, void (*done)(struct op *op, void *arg), void *arg)
{
	assert(!op->started);
	op->started = true;
	op->parent = parent;
	op->done = done;
	op->arg = arg;
	op->since = loop_now(op->loop);
	if (parent == NULL)
		op_link(op);
	loop_defer(op->loop, &op->call, op_run, op);
}

void
op_start(struct op *op, void (*done)(struct op *op, void *arg), void *arg)
{
	op_launch(op, NULL, done, arg);
}

void
op_cancel(struct op *op)
{
	if (op == NULL || !op->started || op->finished || op->cancelled)
		return;
	op->cancelled = true;
	op_pass_cancel(op);
}

void
op_free(struct op *op)
{
	if (op == NULL)
		return;
	assert(!op->started || op->finished);
	op->class->free(op);
}

void
op_wake(struct op *op)
{
	assert(op->started && !op->finished && op->child == NULL);
	loop_defer(op->loop, &op->call, op_run, op);
}

/* --- what a step returns --- */

enum op_turn
op_await(struct op *op, int next, struct op *child)
{
	assert(op->stepping && op->child == NULL);
	op->state = next;
	if (child == NULL) {
		err_clear(&op->res);
		return OP_AGAIN;
	}
	assert(child->loop == op->loop);
	if (op_stopped(op)) {
		op_free(child);
		err_set(&op->res, ERR_CANCELLED, 0, "%s: cancelled", op->class->name);
		return OP_AGAIN;
	}
	loop_undefer(op->loop, &op->call); /* a wake of the wait before this one */
	op->child = child;
	op_launch(child, op, NULL, NULL);
	return OP_WAIT;
}

enum op_turn
op_go(struct op *op, int next)
{
	op->state = next;
	return OP_AGAIN;
}

enum op_turn
op_finish(struct op *op)
{
	if (op->err.code == ERR_OK)
		op->err = op->res;
	return OP_DONE;
}

enum op_turn
op_fail(struct op *op)
{
	assert(op->res.code != ERR_OK);
	return op_finish(op);
}

enum op_turn
op_ok(struct op *op)
{
	err_clear(&op->err);
	return OP_DONE;
}

enum op_turn
op_unwind(struct op *op, int next)
{
	if (op->err.code == ERR_OK)
		op->err = op->res;
	/* Under a shield everything was done as if nobody had cancelled: ERR_CANCELLED would be a lie. */
	if (op->err.code == ERR_OK && op_stopped(op))
		err_set(&op->err, ERR_CANCELLED, 0, "%s: cancelled", op->class->name);
	op->shielded = true;
	return op_go(op, next);
}

void
op_shield(struct op *op)
{
	op->shielded = true;
}

bool
op_failed(const struct op *op)
{
	return op->res.code != ERR_OK;
}

bool
op_stopped(const struct op *op)
{
	return op->cancelled && !op->shielded;
}

/* --- looking --- */

const char *
op_state_name(const struct op *op)
{
	const struct op_class *c = op->class;

	return c->states != NULL && op->state >= 0 && op->state < c->nstates ? c->states[op->state] : "?";
}

void
op_list(struct loop *l, void (*fn)(const struct op *op, void *arg), void *arg)
{
	for (const struct op *op = l->ops_first; op != NULL; op = op->next)
		fn(op, arg);
}

size_t
op_count(const struct loop *l)
{
	return l->nops;
}

void
op_cancel_all(struct loop *l)
{
	for (struct op *op = l->ops_first; op != NULL; op = op->next)
		op_cancel(op);
}
