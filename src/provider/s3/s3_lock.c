/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "s3.h"

/*
 * Which locks: the object, the row of a table, or both, as terraform takes them: the object first, then the row, and released in the
 * same order, the second one whatever became of the first (docs/protocol/s3.md, "Both locks").
 */
struct s3_both {
	struct op         op;
	struct s3        *s;
	char             *name;
	struct lock_info *l, *ret_holder; /* of the caller */
	struct lock_info  mine;           /* unlock: a copy */
	bool              late;           /* of the object's lock */
};

static void
s3_both_free(struct op *op)
{
	struct s3_both *x = container_of(op, struct s3_both, op);

	free(x->name);
	free(x);
}

static struct s3_both *
s3_both_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct s3_both *x = xcalloc(1, sizeof(*x));

	x->s = s3_of(b);
	op_init(&x->op, class, x->s->env->loop);
	x->name = xstrdup(ref->name);
	return x;
}

/* ---------------------------------------------------------------- lock */

enum s3_both_lock_state { BOTH_OBJECT, BOTH_ROW, BOTH_ROWED, BOTH_GIVEN_BACK };

static const char *const s3_both_lock_states[] = { "object", "row", "row asked", "object given back" };

/* Refused, so we hold nothing of it: the object's lock goes back. If that fails the whole lock is in doubt, and the caller tries. */
static enum op_turn
s3_both_given_back(struct s3_both *x)
{
	struct op *op = &x->op;

	if (!op_failed(op))
		return op_finish(op);
	err_set(&op->err, ERR_UNCERTAIN, op->res.detail, "the row of %.80s is not ours, and its lock object could not be given back: %s",
	    x->name, op->res.msg);
	return op_finish(op);
}

static enum op_turn
s3_both_lock_step(struct op *op)
{
	struct s3_both  *x = container_of(op, struct s3_both, op);
	struct state_ref ref = { x->name };

	switch ((enum s3_both_lock_state)op->state) {
	case BOTH_OBJECT:
		return op_await(op, BOTH_ROW, s3_object_lock(&x->s->b, &ref, x->l, x->ret_holder));
	case BOTH_ROW:
		if (op_failed(op))
			return op_fail(op);
		x->late = x->l->late;
		return op_await(op, BOTH_ROWED, s3_row_lock(&x->s->b, &ref, x->l, x->ret_holder));
	case BOTH_ROWED:
		x->l->late |= x->late;
		if (!op_failed(op))
			return op_ok(op);
		if (op->res.code == ERR_UNCERTAIN) /* the caller unlocks both by their id */
			return op_fail(op);
		op->err = op->res;
		op_shield(op);
		return op_await(op, BOTH_GIVEN_BACK, s3_object_unlock(&x->s->b, &ref, x->l));
	case BOTH_GIVEN_BACK:
		return s3_both_given_back(x);
	}
	return OP_DONE;
}

static const struct op_class s3_both_lock_class = { "s3 both locks", s3_both_lock_step, NULL, s3_both_free, s3_both_lock_states,
	ARRAY_LEN(s3_both_lock_states) };

struct op *
s3_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct s3      *s = s3_of(b);
	struct s3_both *x;

	if (!s3_has_table(s))
		return s3_object_lock(b, ref, l, ret_holder);
	if (!s->conf->use_lockfile)
		return s3_row_lock(b, ref, l, ret_holder);
	x = s3_both_new(b, &s3_both_lock_class, ref);
	x->l = l;
	x->ret_holder = ret_holder;
	return &x->op;
}

/* ---------------------------------------------------------------- unlock */

enum s3_both_unlock_state { BOTH_UNLOCK, BOTH_UNLOCKED, BOTH_END };

static const char *const s3_both_unlock_states[] = { "start", "object", "row" };

static enum op_turn
s3_both_unlock_step(struct op *op)
{
	struct s3_both  *x = container_of(op, struct s3_both, op);
	struct state_ref ref = { x->name };

	switch ((enum s3_both_unlock_state)op->state) {
	case BOTH_UNLOCK:
		return op_await(op, BOTH_UNLOCKED, s3_object_unlock(&x->s->b, &ref, &x->mine));
	case BOTH_UNLOCKED:
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		op->err = op->res;
		return op_await(op, BOTH_END, s3_row_unlock(&x->s->b, &ref, &x->mine));
	case BOTH_END:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class s3_both_unlock_class = { "s3 both unlocks", s3_both_unlock_step, NULL, s3_both_free,
	s3_both_unlock_states, ARRAY_LEN(s3_both_unlock_states) };

struct op *
s3_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	struct s3      *s = s3_of(b);
	struct s3_both *x;

	if (!s3_has_table(s))
		return s3_object_unlock(b, ref, l);
	if (!s->conf->use_lockfile)
		return s3_row_unlock(b, ref, l);
	x = s3_both_new(b, &s3_both_unlock_class, ref);
	x->mine = *l;
	return &x->op;
}

/* ---------------------------------------------------------------- peek */

enum s3_both_peek_state { BOTH_PEEK, BOTH_PEEKED, BOTH_PEEK_END };

static const char *const s3_both_peek_states[] = { "start", "object", "row" };

static enum op_turn
s3_both_peek_step(struct op *op)
{
	struct s3_both  *x = container_of(op, struct s3_both, op);
	struct state_ref ref = { x->name };

	switch ((enum s3_both_peek_state)op->state) {
	case BOTH_PEEK:
		return op_await(op, BOTH_PEEKED, s3_object_lock_peek(&x->s->b, &ref, x->l));
	case BOTH_PEEKED:
		if (op->res.code != ERR_NOT_FOUND)
			return op_finish(op);
		return op_await(op, BOTH_PEEK_END, s3_row_lock_peek(&x->s->b, &ref, x->l));
	case BOTH_PEEK_END:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class s3_both_peek_class = { "s3 both peeks", s3_both_peek_step, NULL, s3_both_free, s3_both_peek_states,
	ARRAY_LEN(s3_both_peek_states) };

struct op *
s3_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct s3      *s = s3_of(b);
	struct s3_both *x;

	if (!s3_has_table(s))
		return s3_object_lock_peek(b, ref, ret);
	if (!s->conf->use_lockfile)
		return s3_row_lock_peek(b, ref, ret);
	x = s3_both_new(b, &s3_both_peek_class, ref);
	x->l = ret;
	return &x->op;
}
