/* SPDX-License-Identifier: MIT */
#include "loop/op.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop_impl.h"

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

static void
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

/* --- many at a time --- */

/* A burst of starts per step: building ten thousand children must not hold up the loop. */
#define OP_FAN_BURST 64

/* What op_all() and op_each_of() share: next() gives children until NULL, ended() takes each outcome. */
struct op_fan {
	struct op      op;
	struct op   *(*next)(struct op_fan *f, size_t *ret_index);
	void         (*ended)(struct op_fan *f, struct op *child, size_t index);
	size_t         limit;
	size_t         live;
	struct op_fan_slot *first; /* ring without head of those that run; NULL: none */
	bool           exhausted;

	/* op_all */
	struct op    **children;       /* a copy; NULL once started */
	size_t         n, at;
	struct err    *outcomes;
	size_t         first_failed;   /* index of op.err */

	/* op_each_of */
	struct op   *(*each_next)(void *arg);
	void         (*each_ended)(struct op *child, void *arg);
	void          *arg;
};

struct op_fan_slot {
	struct op_fan      *fan;
	struct op          *child;
	size_t              index;
	struct op_fan_slot *prev, *next;
};

enum op_fan_state { FAN_START, FAN_RUNNING };
static const char *const op_fan_states[] = { "start", "running" };

static void
op_fan_link(struct op_fan_slot *s)
{
	struct op_fan_slot *first = s->fan->first;

	s->next = s->prev = s;
	if (first != NULL) {
		s->next = first;
		s->prev = first->prev;
		s->prev->next = first->prev = s;
	} else {
		s->fan->first = s;
	}
	s->fan->live++;
}

static void
op_fan_unlink(struct op_fan_slot *s)
{
	s->next->prev = s->prev;
	s->prev->next = s->next;
	if (s->fan->first == s)
		s->fan->first = s->next != s ? s->next : NULL;
	s->fan->live--;
}

static void
op_fan_done(struct op *child, void *arg)
{
	struct op_fan_slot *s = arg;
	struct op_fan      *f = s->fan;

	op_fan_unlink(s);
	f->ended(f, child, s->index);
	op_free(child);
	free(s);
	op_wake(&f->op);
}

static void
op_fan_begin(struct op_fan *f, struct op *child, size_t index)
{
	struct op_fan_slot *s = xcalloc(1, sizeof(*s));

	assert(child->loop == f->op.loop);
	s->fan = f;
	s->child = child;
	s->index = index;
	op_fan_link(s);
	op_launch(child, &f->op, op_fan_done, s);
}

static enum op_turn
op_fan_step(struct op *op)
{
	struct op_fan *f = container_of(op, struct op_fan, op);
	size_t         index = 0, burst = 0;

	op->state = FAN_RUNNING;
	while (!f->exhausted && !op_stopped(op) && (f->limit == 0 || f->live < f->limit)) {
		struct op *child;

		if (burst++ == OP_FAN_BURST) {
			op_wake(op);
			return OP_WAIT;
		}
		child = f->next(f, &index);
		if (child != NULL)
			op_fan_begin(f, child, index);
		else
			f->exhausted = true;
	}
	if (f->live > 0)
		return OP_WAIT;
	if (!f->exhausted && op->err.code == ERR_OK)
		err_set(&op->err, ERR_CANCELLED, 0, "%s: cancelled", op->class->name);
	return OP_DONE;
}

static void
op_fan_cancel(struct op *op)
{
	struct op_fan      *f = container_of(op, struct op_fan, op);
	struct op_fan_slot *s = f->first;

	for (size_t left = f->live; left > 0; left--, s = s->next)
		op_cancel(s->child);
	op_wake(op);
}

/* The next that is an op; none: exhausted, which decides whether a cancel left anything out. */
static void
op_all_skip(struct op_fan *f)
{
	while (f->at < f->n && f->children[f->at] == NULL)
		f->at++;
	f->exhausted = f->at == f->n;
}

static struct op *
op_all_next(struct op_fan *f, size_t *ret_index)
{
	struct op *child = f->children[f->at];

	f->children[f->at] = NULL;
	*ret_index = f->at;
	op_all_skip(f);
	return child;
}

static void
op_all_ended(struct op_fan *f, struct op *child, size_t index)
{
	if (f->outcomes != NULL)
		f->outcomes[index] = child->err;
	if (child->err.code != ERR_OK && (f->op.err.code == ERR_OK || index < f->first_failed)) {
		f->op.err = child->err;
		f->first_failed = index;
	}
}

static void
op_fan_free(struct op *op)
{
	struct op_fan *f = container_of(op, struct op_fan, op);

	for (size_t i = 0; i < f->n; i++)
		op_free(f->children[i]);
	free(f->children);
	free(f);
}

static const struct op_class op_all_class = {
	"all", op_fan_step, op_fan_cancel, op_fan_free, op_fan_states, ARRAY_LEN(op_fan_states),
};

struct op *
op_all(struct loop *l, struct op **children, size_t n, size_t limit, struct err *outcomes)
{
	struct op_fan *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &op_all_class, l);
	f->next = op_all_next;
	f->ended = op_all_ended;
	f->limit = limit;
	f->children = n > 0 ? xmemdup(children, n * sizeof(struct op *)) : NULL;
	f->n = n;
	op_all_skip(f);
	f->outcomes = outcomes;
	for (size_t i = 0; i < n && outcomes != NULL; i++) {
		err_clear(&outcomes[i]);
		if (children[i] != NULL) /* until it runs: what a cancel leaves */
			err_set(&outcomes[i], ERR_CANCELLED, 0, "%s: cancelled before it began", children[i]->class->name);
	}
	return &f->op;
}

static struct op *
op_each_of_next(struct op_fan *f, size_t *ret_index)
{
	(void)ret_index;
	return f->each_next(f->arg);
}

static void
op_each_of_ended(struct op_fan *f, struct op *child, size_t index)
{
	(void)index;
	if (f->op.err.code == ERR_OK)
		f->op.err = child->err;
	if (f->each_ended != NULL)
		f->each_ended(child, f->arg);
}

static const struct op_class op_each_of_class = {
	"each", op_fan_step, op_fan_cancel, op_fan_free, op_fan_states, ARRAY_LEN(op_fan_states),
};

struct op *
op_each_of(struct loop *l, struct op *(*next)(void *arg), void (*ended)(struct op *child, void *arg), void *arg,
    size_t limit)
{
	struct op_fan *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &op_each_of_class, l);
	f->next = op_each_of_next;
	f->ended = op_each_of_ended;
	f->limit = limit;
	f->each_next = next;
	f->each_ended = ended;
	f->arg = arg;
	return &f->op;
}

/* --- looking down --- */

void
op_children(const struct op *op, void (*fn)(const struct op *child, void *arg), void *arg)
{
	const struct op_fan_slot *s;

	if (op->child != NULL)
		fn(op->child, arg);
	if (op->class != &op_all_class && op->class != &op_each_of_class)
		return;
	s = container_of((struct op *)(uintptr_t)op, struct op_fan, op)->first;
	for (size_t left = container_of((struct op *)(uintptr_t)op, struct op_fan, op)->live; left > 0; left--, s = s->next)
		fn(s->child, arg);
}
