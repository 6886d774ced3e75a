/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/*
 * Looking at locks. A lock is this agent's own only when an open intent carries its id.
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

bool
lock_is_own(struct engine *e, const struct lock_info *l)
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
lock_intend(struct batch *b, struct engine *e, uint64_t id, const struct backend *at, const char *name, const struct lock_info *l,
    bool uncertain)
{
	struct buf        body;
	struct intent_rec r = { .id = id, .kind = INTENT_UNLOCK, .edge = "", .target = at->label, .name = name, .lock_id = l->id, .etag = "",
		.created = loop_wall(e->loop), .retry_at = engine_steady(e), .uncertain = uncertain, .agent = store_agent_id(e->store) };

	buf_init(&body, LOCK_BODY_MAX);
	lock_info_body(l, &body);
	r.lock_body = buf_str(&body);
	batch_intent(b, &r);
	buf_free(&body);
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

bool
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
	enum here      here;
	struct err     trouble;    /* the first backend that did not answer */
};

enum locks_state { LOCKS_START, LOCKS_LOOKED_HERE, LOCKS_LISTED, LOCKS_ASKED };

static const char *const locks_states[] = { "start", "this host looked at", "listed", "asked" };

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
			seen.here = c->l->here;
			c->l->fn(c->l->arg, &seen);
		}
		return op_ok(op);
	case CHILD_DONE:
		if (op->res.code == ERR_NOT_FOUND)
			return op_ok(op);
		if (op_failed(op))
			return op_fail(op);
		seen = (struct lock_seen){ b->label, name, c->lock, lock_is_own(c->l->e, &c->lock), 0, c->l->here };
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
		return op_await(op, LOCKS_LOOKED_HERE, suspect_look_here(l->e, &l->here));
	case LOCKS_LOOKED_HERE:
		return op->res.code == ERR_CANCELLED ? op_fail(op) : locks_next_place(l);
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
