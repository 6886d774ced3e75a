/* SPDX-License-Identifier: MIT */
/* Many children at a time: op_all(), op_each_of(). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "loop/op_impl.h"

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
