/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/*
 * Looking at locks, and breaking one by its id. A lock is this agent's own only when an open intent carries its id.
 */
struct own_lock {
	const char *id;
	bool        found;
};

static bool
locks_match(void *arg, const struct intent_rec *i)
{
	struct own_lock *o = arg;

	o->found = strcmp(i->lock_id, o->id) == 0;
	return !o->found;
}

static bool
locks_is_own(struct engine *e, const char *id)
{
	struct own_lock   o = { .id = id };
	struct store_txn *t;

	if (id[0] == '\0' || store_read(e->store, &t, NULL) != ERR_OK)
		return false;
	store_intents(t, locks_match, &o);
	store_end(t);
	return o.found;
}

/* ---------------------------------------------------------------- what is locked */

struct locks {
	struct op      op;
	struct engine *e;
	char          *backend;    /* NULL: all */
	lock_seen_fn  *fn;
	void          *arg;
	size_t         place, ask; /* which backend, which of its names */
	char         **names;
	size_t         nnames;
	struct err     trouble;    /* the first backend that did not answer */
};

enum locks_state { LOCKS_START, LOCKS_LISTED, LOCKS_ASKED };

static const char *const locks_states[] = { "start", "listed", "asked" };

static void
locks_forget(struct locks *l)
{
	for (size_t i = 0; i < l->nnames; i++)
		free(l->names[i]);
	free(l->names);
	l->names = NULL;
	l->nnames = l->ask = 0;
}

static void
locks_free(struct op *op)
{
	struct locks *l = container_of(op, struct locks, op);

	locks_forget(l);
	free(l->backend);
	free(l);
}

/* Where the listing shows locks only those are asked for; elsewhere every state is. */
static void
locks_listed(void *arg, const struct state_seen *s)
{
	struct locks         *l = arg;
	const struct backend *b = l->e->plan->backends[l->place];

	if (s->problem != NULL || ((provider_caps(b) & PROVIDER_LIST) != 0 && !s->locked))
		return;
	l->names = xreallocarray(l->names, l->nnames + 1, sizeof(*l->names));
	l->names[l->nnames++] = xstrdup(s->name);
}

struct locks_child {
	struct op        op;
	struct locks    *l;
	size_t           index;
	struct lock_info lock;
};

enum locks_child_state { CHILD_START, CHILD_DONE };

static enum op_turn
locks_child_step(struct op *op)
{
	struct locks_child *c = container_of(op, struct locks_child, op);
	struct backend     *b = c->l->e->plan->backends[c->l->place];
	struct lock_seen    seen;

	switch ((enum locks_child_state)op->state) {
	case CHILD_START:
		return op_await(op, CHILD_DONE, provider_lock_peek(b, &(struct state_ref){ c->l->names[c->index] }, &c->lock));
	case CHILD_DONE:
		if (op->res.code == ERR_NOT_FOUND)
			return op_ok(op);
		if (op_failed(op))
			return op_fail(op);
		seen = (struct lock_seen){ b->label, c->l->names[c->index], c->lock, locks_is_own(c->l->e, c->lock.id) };
		c->l->fn(c->l->arg, &seen);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
locks_child_free(struct op *op)
{
	free(container_of(op, struct locks_child, op));
}

static const struct op_class locks_child_class = { "lock", locks_child_step, NULL, locks_child_free, locks_states, 2 };

static struct op *
locks_next(void *arg)
{
	struct locks       *l = arg;
	struct locks_child *c;

	if (l->ask == l->nnames)
		return NULL;
	c = xcalloc(1, sizeof(*c));
	op_init(&c->op, &locks_child_class, l->e->loop);
	c->l = l;
	c->index = l->ask++;
	return &c->op;
}

static void
locks_ended(struct op *child, void *arg)
{
	struct locks *l = arg;

	if (child->err.code != ERR_OK && l->trouble.code == ERR_OK)
		l->trouble = child->err;
}

static enum op_turn
locks_next_place(struct locks *l)
{
	locks_forget(l);
	for (; l->place < l->e->plan->nbackends; l->place++) {
		struct backend *b = l->e->plan->backends[l->place];

		if (l->backend != NULL && strcmp(l->backend, b->label) != 0)
			continue;
		if ((provider_caps(b) & PROVIDER_LOCK) != 0)
			return op_await(&l->op, LOCKS_LISTED, provider_list(b, locks_listed, l));
	}
	l->op.res = l->trouble;
	return op_finish(&l->op);
}

static enum op_turn
locks_step(struct op *op)
{
	struct locks *l = container_of(op, struct locks, op);

	switch ((enum locks_state)op->state) {
	case LOCKS_START:
		if (l->backend != NULL && plan_backend(l->e->plan, l->backend) == NULL) {
			err_set(&op->res, ERR_USAGE, 0, "no backend is called \"%s\"", l->backend);
			return op_fail(op);
		}
		return locks_next_place(l);
	case LOCKS_LISTED:
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		if (op_failed(op) && l->trouble.code == ERR_OK)
			l->trouble = op->res;
		return op_await(op, LOCKS_ASKED, op_each_of(op->loop, locks_next, locks_ended, l, LOOK_PULLS));
	case LOCKS_ASKED:
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		l->place++;
		return locks_next_place(l);
	}
	return OP_DONE;
}

static const struct op_class locks_class = { "locks", locks_step, NULL, locks_free, locks_states, ARRAY_LEN(locks_states) };

struct op *
engine_locks(struct engine *e, const char *backend, lock_seen_fn *fn, void *arg)
{
	struct locks *l = xcalloc(1, sizeof(*l));

	op_init(&l->op, &locks_class, e->loop);
	l->e = e;
	l->backend = xstrdup(backend);
	l->fn = fn;
	l->arg = arg;
	return &l->op;
}

/* ---------------------------------------------------------------- breaking one */

struct unlock {
	struct op        op;
	struct engine   *e;
	struct backend  *b;
	char            *name, *id;
	struct lock_info lock;
};

enum unlock_state { UNLOCK_START, UNLOCK_PEEKED, UNLOCK_GONE, UNLOCK_NOTED };

static const char *const unlock_states[] = { "start", "peeked", "gone", "noted" };

static void
unlock_free(struct op *op)
{
	struct unlock *u = container_of(op, struct unlock, op);

	free(u->name);
	free(u->id);
	free(u);
}

static enum err_code
unlock_may(struct unlock *u, struct err *reterr)
{
	struct buf text;

	if (u->id == NULL && locks_is_own(u->e, u->lock.id))
		return ERR_OK;
	if (u->id != NULL && strcmp(u->id, u->lock.id) == 0)
		return ERR_OK;
	buf_init(&text, 0);
	lock_info_print(&u->lock, &text);
	err_set(reterr, ERR_CONFLICT, 0, "%s:%s is locked by %s", u->b->label, u->name, buf_str(&text));
	err_hint(reterr, "if that run is really gone: stateferry unlock %s:%s %s", u->b->label, u->name, u->lock.id);
	buf_free(&text);
	return reterr->code;
}

static struct batch *
unlock_batch(struct unlock *u)
{
	struct batch *b = batch_new(u->e->store);
	struct buf    text;

	buf_init(&text, 0);
	lock_info_print(&u->lock, &text);
	engine_event(b, u->e, "unlocked", u->b->label, u->name, "", "by a person: %s", buf_str(&text));
	buf_free(&text);
	return b;
}

static enum op_turn
unlock_step(struct op *op)
{
	struct unlock   *u = container_of(op, struct unlock, op);
	struct state_ref ref = { u->name };

	switch ((enum unlock_state)op->state) {
	case UNLOCK_START:
		return op_await(op, UNLOCK_PEEKED, provider_lock_peek(u->b, &ref, &u->lock));
	case UNLOCK_PEEKED:
		if (op->res.code == ERR_NOT_FOUND)
			err_set(&op->res, ERR_NOT_FOUND, 0, "%s:%s is not locked", u->b->label, u->name);
		if (op_failed(op) || unlock_may(u, &op->res) != ERR_OK)
			return op_fail(op);
		return op_await(op, UNLOCK_GONE, provider_unlock(u->b, &ref, &u->lock));
	case UNLOCK_GONE:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, UNLOCK_NOTED, store_apply(u->e->store, unlock_batch(u)));
	case UNLOCK_NOTED:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class unlock_class = { "unlock", unlock_step, NULL, unlock_free, unlock_states,
	ARRAY_LEN(unlock_states) };

struct op *
engine_unlock(struct engine *e, const char *backend, const char *name, const char *id)
{
	struct backend *b = plan_backend(e->plan, backend);
	struct unlock  *u;

	if (b == NULL)
		return op_error(e->loop, ERR_USAGE, 0, "no backend is called \"%s\"", backend);
	u = xcalloc(1, sizeof(*u));
	op_init(&u->op, &unlock_class, e->loop);
	u->e = e;
	u->b = b;
	u->name = xstrdup(name);
	u->id = xstrdup(id);
	return &u->op;
}
