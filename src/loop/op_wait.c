/* SPDX-License-Identifier: MIT */
/* Leaves: a wait with a deadline, a pause, an outcome that is known already. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop/loop.h"
#include "loop/op.h"

/* --- a wait with a deadline --- */

struct op_deadline {
	struct op    op;
	struct op   *unstarted;
	struct timer timer;
	int64_t      ms;
	bool         expired;
};

enum op_deadline_state { DEADLINE_START, DEADLINE_ENDED };
static const char *const op_deadline_states[] = { "start", "ended" };

static void
op_deadline_expired(void *arg)
{
	struct op_deadline *d = arg;

	d->expired = !d->op.cancelled;
	op_cancel(d->op.child);
}

static enum op_turn
op_deadline_step(struct op *op)
{
	struct op_deadline *d = container_of(op, struct op_deadline, op);
	struct op          *child = d->unstarted;

	switch ((enum op_deadline_state)op->state) {
	case DEADLINE_START:
		d->unstarted = NULL;
		timer_set(&d->timer, d->ms);
		return op_await(op, DEADLINE_ENDED, child);
	case DEADLINE_ENDED:
		timer_stop(&d->timer);
		if (d->expired && op->res.code == ERR_CANCELLED)
			err_set(&op->res, ERR_TIMEOUT, 0, "no answer within %lld ms", (long long)d->ms);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
op_deadline_free(struct op *op)
{
	struct op_deadline *d = container_of(op, struct op_deadline, op);

	op_free(d->unstarted);
	free(d);
}

static const struct op_class op_deadline_class = {
	"deadline", op_deadline_step, NULL, op_deadline_free, op_deadline_states, ARRAY_LEN(op_deadline_states),
};

enum op_turn
op_await_for(struct op *op, int next, struct op *child, int64_t ms)
{
	struct op_deadline *d;

	if (child == NULL)
		return op_await(op, next, NULL);
	d = xcalloc(1, sizeof(*d));
	op_init(&d->op, &op_deadline_class, op->loop);
	timer_init(&d->timer, op->loop, op_deadline_expired, d);
	d->unstarted = child;
	d->ms = ms;
	return op_await(op, next, &d->op);
}

/* --- sleep --- */

struct op_sleep {
	struct op    op;
	struct timer timer;
	int64_t      ms;
};

enum op_sleep_state { SLEEP_START, SLEEPING };
static const char *const op_sleep_states[] = { "start", "sleeping" };

static void
op_sleep_over(void *arg)
{
	op_wake(arg);
}

static enum op_turn
op_sleep_step(struct op *op)
{
	struct op_sleep *s = container_of(op, struct op_sleep, op);

	switch ((enum op_sleep_state)op->state) {
	case SLEEP_START:
		timer_set(&s->timer, s->ms);
		op->state = SLEEPING;
		return OP_WAIT;
	case SLEEPING:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
op_sleep_cancel(struct op *op)
{
	struct op_sleep *s = container_of(op, struct op_sleep, op);

	timer_stop(&s->timer);
	err_set(&op->res, ERR_CANCELLED, 0, "sleep: cancelled");
	op_wake(op);
}

static void
op_sleep_free(struct op *op)
{
	free(container_of(op, struct op_sleep, op));
}

static const struct op_class op_sleep_class = {
	"sleep", op_sleep_step, op_sleep_cancel, op_sleep_free, op_sleep_states, ARRAY_LEN(op_sleep_states),
};

struct op *
op_sleep(struct loop *l, int64_t ms)
{
	struct op_sleep *s = xcalloc(1, sizeof(*s));

	op_init(&s->op, &op_sleep_class, l);
	timer_init(&s->timer, l, op_sleep_over, &s->op);
	s->ms = ms;
	return &s->op;
}

/* --- a known outcome --- */

static enum op_turn
op_result_step(struct op *op)
{
	return op_finish(op);
}

static void
op_result_free(struct op *op)
{
	free(op);
}

static const struct op_class op_result_class = { "result", op_result_step, NULL, op_result_free, NULL, 0 };

struct op *
op_result(struct loop *l, const struct err *e)
{
	struct op *op = xcalloc(1, sizeof(*op));

	op_init(op, &op_result_class, l);
	op_shield(op); /* it says what is so, cancelled or not */
	op->err = *e;
	return op;
}

struct op *
op_error(struct loop *l, enum err_code code, int detail, const char *fmt, ...)
{
	struct err e;
	va_list    ap;

	va_start(ap, fmt);
	err_vset(&e, code, detail, fmt, ap);
	va_end(ap);
	return op_result(l, &e);
}
