/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/*
 * Looking at locks, and breaking one by its id. A lock is this agent's own only when an open intent carries its id.
 *
 * Where a protocol cannot show a lock nobody locks just to look. What is known then is our own, from the intents, and whom a
 * refused lock named; that is kept in the store until a lock there is ours or broken.
 */
#define LOCK_RECALL_MS ((int64_t)24 * 3600 * 1000) /* older news of somebody's lock is not told */

struct own_lock {
	const char       *target, *name; /* target NULL: by id */
	struct lock_info  lock;
	bool              found;
	int64_t           since;
};

static bool
locks_match(void *arg, const struct intent_rec *i)
{
	struct own_lock *o = arg;

	if (i->lock_id[0] == '\0' || (o->target != NULL && i->uncertain && i->tries > 0)) /* not there when last looked */
		return true;
	o->found = o->target == NULL ? strcmp(i->lock_id, o->lock.id) == 0 :
	    strcmp(i->target, o->target) == 0 && strcmp(i->name, o->name) == 0;
	if (o->found && o->target != NULL) {
		lock_info_parse(span_str(i->lock_body), &o->lock, NULL);
		snprintf(o->lock.id, sizeof(o->lock.id), "%s", i->lock_id);
		o->since = i->created;
	}
	return !o->found;
}

/* The intents of a copied store are another agent's. */
static bool
locks_find_own(struct engine *e, struct own_lock *o)
{
	struct store_txn *t;

	if (!engine_acts(e) || store_read(e->store, &t, NULL) != ERR_OK)
		return false;
	store_intents(t, locks_match, o);
	store_end(t);
	return o->found;
}

static bool
locks_is_own(struct engine *e, const struct lock_info *l)
{
	struct own_lock o = { .lock = *l };

	return l->id[0] != '\0' && locks_find_own(e, &o);
}

/* ---------------------------------------------------------------- what a refusal told */

static char *
lock_key(const struct backend *b, const char *name)
{
	return xasprintf("lock/%s/%s", b->label, name);
}

static bool
lock_recall(struct engine *e, const struct backend *b, const char *name, struct lock_seen *ret)
{
	struct lock_seen  known = { .ours = false };
	struct store_txn *t;
	struct span       value;
	char             *key, *text = NULL, *body;

	if (store_read(e->store, &t, NULL) != ERR_OK)
		return false;
	key = lock_key(b, name);
	if (store_meta(t, key, &value))
		text = span_dup(value);
	store_end(t);
	free(key);
	if (text == NULL)
		return false;
	known.as_of = strtoll(text, &body, 10);
	lock_info_parse(span_str(body), &known.lock, NULL);
	free(text);
	if (known.lock.id[0] == '\0' || loop_wall(e->loop) - known.as_of >= LOCK_RECALL_MS)
		return false;
	*ret = known;
	return true;
}

void
lock_note(struct batch *b, struct engine *e, const struct backend *at, const char *name, const struct lock_info *holder)
{
	struct buf value;
	char      *key;

	if (provider_shows_locks(at) || (holder != NULL && holder->id[0] == '\0'))
		return;
	key = lock_key(at, name);
	buf_init(&value, 0);
	if (holder != NULL) {
		buf_printf(&value, "%lld ", (long long)loop_wall(e->loop));
		lock_info_body(holder, &value);
	}
	batch_meta(b, key, holder != NULL ? buf_span(&value) : (struct span){ NULL, 0 });
	buf_free(&value);
	free(key);
}

/* All that is known of a lock that cannot be read. */
static bool
lock_known(struct engine *e, const struct backend *b, const char *name, struct lock_seen *ret)
{
	struct own_lock o = { .target = b->label, .name = name };

	if (!locks_find_own(e, &o))
		return lock_recall(e, b, name, ret);
	*ret = (struct lock_seen){ .lock = o.lock, .ours = true, .as_of = o.since };
	return true;
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

static void
locks_add(struct locks *l, const char *name)
{
	l->names = xreallocarray(l->names, l->nnames + 1, sizeof(*l->names));
	l->names[l->nnames++] = xstrdup(name);
}

/* Where the listing shows locks only those are asked for; elsewhere every state is. */
static void
locks_listed(void *arg, const struct state_seen *s)
{
	struct locks         *l = arg;
	const struct backend *b = l->e->plan->backends[l->place];
	bool                  shown = (provider_caps(b) & (PROVIDER_LIST | PROVIDER_LOCK_UNLISTED)) == PROVIDER_LIST;

	if (s->problem == NULL && (!shown || s->locked))
		locks_add(l, s->name);
}

static bool
locks_replica(void *arg, const struct replica_rec *r)
{
	struct locks *l = arg;

	if (strcmp(r->target, l->e->plan->backends[l->place]->label) == 0 && r->name[0] != '\0')
		locks_add(l, r->name);
	return true;
}

static bool
locks_intent(void *arg, const struct intent_rec *i)
{
	struct locks *l = arg;

	if (strcmp(i->target, l->e->plan->backends[l->place]->label) == 0)
		locks_add(l, i->name);
	return true;
}

struct locks_queued {
	struct locks      *l;
	struct store_txn  *t;
	const struct lane *lane;
};

static bool
locks_queue(void *arg, const struct queue_rec *q)
{
	struct locks_queued *x = arg;
	struct state_rec     s;
	struct buf           name;

	if (provider_shows_locks(x->lane->to) && q->waiting_since == 0)
		return true;
	buf_init(&name, 0);
	if (store_state_by_id(x->t, q->state, &s) && lane_map(x->l->e->plan, x->lane, s.name, &name, NULL) == MAP_YES)
		locks_add(x->l, buf_str(&name));
	buf_free(&name);
	return true;
}

/* What was refused for a lock waits in the queue. */
static void
locks_add_queued(struct locks *l, struct store_txn *t)
{
	const struct plan *plan = l->e->plan;

	for (size_t i = 0; i < plan->nedges; i++)
		for (size_t j = 0; j < plan->edges[i].nlanes; j++) {
			const struct lane  *lane = &plan->edges[i].lanes[j];
			struct locks_queued x = { l, t, lane };

			if (lane->to == plan->backends[l->place] && plan->edges[i].kind == EDGE_REPLICATE)
				store_queue(t, plan->edges[i].name, lane->to->label, locks_queue, &x);
		}
}

static int
locks_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names that the listing does not show: one that is locked before it is first written; and at a target that cannot show a lock
 * all that we write there. */
static void
locks_add_ours(struct locks *l)
{
	struct store_txn *t;
	size_t            n = 0;

	if (store_read(l->e->store, &t, NULL) != ERR_OK)
		return;
	if (!provider_shows_locks(l->e->plan->backends[l->place]))
		store_replicas(t, NULL, locks_replica, l);
	store_intents(t, locks_intent, l);
	locks_add_queued(l, t);
	store_end(t);
	if (l->nnames > 0)
		qsort(l->names, l->nnames, sizeof(*l->names), locks_order);
	for (size_t i = 0; i < l->nnames; i++) {
		if (n > 0 && strcmp(l->names[i], l->names[n - 1]) == 0)
			free(l->names[i]);
		else
			l->names[n++] = l->names[i];
	}
	l->nnames = n;
}

struct locks_child {
	struct op        op;
	struct locks    *l;
	size_t           index;
	struct lock_info lock;
};

enum locks_child_state { CHILD_START, CHILD_DONE };

static const char *const locks_child_states[] = { "start", "done" };

static enum op_turn
locks_child_step(struct op *op)
{
	struct locks_child *c = container_of(op, struct locks_child, op);
	struct backend     *b = c->l->e->plan->backends[c->l->place];
	const char         *name = c->l->names[c->index];
	struct lock_seen    seen;

	switch ((enum locks_child_state)op->state) {
	case CHILD_START:
		if (provider_shows_locks(b))
			return op_await(op, CHILD_DONE, provider_lock_peek(b, &(struct state_ref){ name }, &c->lock));
		if (lock_known(c->l->e, b, name, &seen)) {
			seen.backend = b->label;
			seen.name = name;
			c->l->fn(c->l->arg, &seen);
		}
		return op_ok(op);
	case CHILD_DONE:
		if (op->res.code == ERR_NOT_FOUND)
			return op_ok(op);
		if (op_failed(op))
			return op_fail(op);
		seen = (struct lock_seen){ b->label, name, c->lock, locks_is_own(c->l->e, &c->lock), 0 };
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

static const struct op_class locks_child_class = { "lock", locks_child_step, NULL, locks_child_free, locks_child_states,
	ARRAY_LEN(locks_child_states) };

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
	struct err moved;

	locks_forget(l);
	for (; l->place < l->e->plan->nbackends; l->place++) {
		struct backend *b = l->e->plan->backends[l->place];

		if (l->backend != NULL && strcmp(l->backend, b->label) != 0)
			continue;
		if ((provider_caps(b) & PROVIDER_LOCK) == 0)
			continue;
		if (place_may_act(&l->e->places[l->place], &moved))
			return op_await(&l->op, LOCKS_LISTED, provider_list(b, locks_listed, l));
		if (l->trouble.code == ERR_OK)
			l->trouble = moved;
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
		locks_add_ours(l);
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
	return hold_op(e, &l->op);
}

/* ---------------------------------------------------------------- breaking one */

struct unlock {
	struct op         op;
	struct engine    *e;
	struct backend   *b;
	char             *name, *id;    /* id NULL: only one of ours */
	bool              look;         /* nothing is broken, only shown */
	struct lock_info  holder;       /* another one, that stood in the way */
	struct lock_seen *ret;
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
	struct buf name;

	if (u->id == NULL ? u->ret->ours : strcmp(u->id, u->ret->lock.id) == 0)
		return ERR_OK;
	buf_init(&name, 0);
	buf_printf(&name, "%s:%s", u->b->label, u->name);
	lock_info_refuse(&u->ret->lock, ERR_CONFLICT, 0, buf_str(&name), reterr);
	buf_free(&name);
	if (u->ret->lock.id[0] == '\0') /* held, and nothing says by whom: no ID could name it */
		err_hint(reterr, "end the process that holds it: the lock goes with it");
	else
		err_hint(reterr, "if that run is really gone: stateferry unlock %s:%s %s", u->b->label, u->name, u->ret->lock.id);
	return reterr->code;
}

/* A body that every server takes: all members are there, and say who unlocks. */
static void
unlock_make(struct unlock *u)
{
	struct state_ref ref = { u->name };

	memset(u->ret, 0, sizeof(*u->ret));
	provider_lock_new(u->b, &ref, "unlocked by a person", &u->ret->lock);
	snprintf(u->ret->lock.id, sizeof(u->ret->lock.id), "%s", u->id);
}

/* The remote cannot show its lock: it compares the id itself, and says whose another one is. */
static enum op_turn
unlock_unseen(struct unlock *u)
{
	struct op       *op = &u->op;
	struct state_ref ref = { u->name };
	bool             known = lock_known(u->e, u->b, u->name, u->ret);

	if (u->look)
		return op_ok(op);
	if (u->id == NULL && !(known && u->ret->ours)) {
		err_set(&op->res, ERR_NOT_FOUND, 0, "no lock on %s:%s is known", u->b->label, u->name);
		err_hint(&op->res, "this protocol cannot show a lock; one of somebody else is broken by its id");
		return op_fail(op);
	}
	op_shield(op);
	if (u->id == NULL)
		return op_await(op, UNLOCK_GONE, provider_unlock(u->b, &ref, &u->ret->lock));
	if (!known || strcmp(u->ret->lock.id, u->id) != 0)
		unlock_make(u);
	return op_await(op, UNLOCK_GONE, provider_lock_break(u->b, &ref, &u->ret->lock, &u->holder));
}

static enum op_turn
unlock_peeked(struct unlock *u)
{
	struct op *op = &u->op;

	if (op->res.code == ERR_NOT_FOUND)
		err_set(&op->res, ERR_NOT_FOUND, 0, "%s:%s is not locked", u->b->label, u->name);
	if (op_failed(op))
		return op_fail(op);
	u->ret->ours = locks_is_own(u->e, &u->ret->lock);
	if (unlock_may(u, &op->res) != ERR_OK)
		return op_fail(op);
	if (u->look)
		return op_ok(op);
	if (u->b->common.read_only && !u->ret->ours) {
		err_set(&op->res, ERR_UNSUPPORTED, 0, "%s is read_only", u->b->label);
		return op_fail(op);
	}
	op_shield(op);
	return op_await(op, UNLOCK_GONE, provider_unlock(u->b, &(struct state_ref){ u->name }, &u->ret->lock));
}

struct unlock_waiting {
	struct unlock     *u;
	struct batch      *b;
	struct store_txn  *t;
	const struct lane *lane;
};

static bool
unlock_wake(void *arg, const struct queue_rec *q)
{
	struct unlock_waiting *w = arg;
	struct queue_rec       now = { .due = loop_wall(w->u->e->loop), .edge = q->edge, .target = q->target, .state = q->state };
	struct state_rec       s;
	struct buf             name;
	struct err             err;

	buf_init(&name, 0);
	if (q->waiting_since != 0 && store_state_by_id(w->t, q->state, &s) &&
	    lane_map(w->u->e->plan, w->lane, s.name, &name, &err) == MAP_YES && span_is(buf_span(&name), w->u->name))
		batch_enqueue(w->b, &now);
	buf_free(&name);
	return true;
}

/* The writes that waited for it are due. */
static void
unlock_wake_all(struct unlock *u, struct batch *b)
{
	const struct plan    *p = u->e->plan;
	struct unlock_waiting w = { u, b, NULL, NULL };

	if (store_read(u->e->store, &w.t, NULL) != ERR_OK)
		return;
	for (size_t i = 0; i < p->nlanes; i++) {
		w.lane = u->e->tracks[i].lane;
		if (w.lane->to == u->b && w.lane->edge->kind == EDGE_REPLICATE)
			store_queue(w.t, w.lane->edge->name, u->b->label, unlock_wake, &w);
	}
	store_end(w.t);
}

static struct batch *
unlock_batch(struct unlock *u)
{
	struct batch *b = batch_new(u->e->store);
	struct buf    text;

	if (u->op.err.code != ERR_OK) {
		lock_note(b, u->e, u->b, u->name, &u->holder);
		return b;
	}
	lock_note(b, u->e, u->b, u->name, NULL);
	unlock_wake_all(u, b);
	buf_init(&text, 0);
	lock_info_print(&u->ret->lock, &text);
	engine_event(b, u->e, "unlocked", u->b->label, u->name, "", "by a person: %s", buf_str(&text));
	buf_free(&text);
	return b;
}

static enum op_turn
unlock_step(struct op *op)
{
	struct unlock *u = container_of(op, struct unlock, op);

	switch ((enum unlock_state)op->state) {
	case UNLOCK_START:
		if (!place_may_act(engine_place(u->e, u->b), &op->res)) /* a lock there is nobody's that this label knew */
			return op_fail(op);
		if (!provider_shows_locks(u->b) && (provider_caps(u->b) & PROVIDER_LOCK) != 0)
			return unlock_unseen(u);
		return op_await(op, UNLOCK_PEEKED, provider_lock_peek(u->b, &(struct state_ref){ u->name }, &u->ret->lock));
	case UNLOCK_PEEKED:
		return unlock_peeked(u);
	case UNLOCK_GONE: /* a refusal may have named the holder: that is worth keeping */
		op->err = op->res;
		return op_await(op, UNLOCK_NOTED, store_apply(u->e->store, unlock_batch(u)));
	case UNLOCK_NOTED:
		engine_kick(u->e, u->b);
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class unlock_class = { "unlock", unlock_step, NULL, unlock_free, unlock_states,
	ARRAY_LEN(unlock_states) };

static struct op *
unlock_new(struct engine *e, const char *backend, const char *name, const char *id, bool look, struct lock_seen *ret)
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
	u->look = look;
	u->ret = ret;
	memset(ret, 0, sizeof(*ret));
	return hold_op(e, &u->op);
}

struct op *
engine_unlock(struct engine *e, const char *backend, const char *name, const char *id, struct lock_seen *ret)
{
	return unlock_new(e, backend, name, id, false, ret);
}

struct op *
engine_unlock_look(struct engine *e, const char *backend, const char *name, const char *id, struct lock_seen *ret)
{
	return unlock_new(e, backend, name, id, true, ret);
}
