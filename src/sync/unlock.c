/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/*
 * Breaking a lock by its id, for a person. What the state holds is kept as a version first: whoever held the lock may have been in the
 * middle of a write. That takes its time, so the lock is looked at again before it is broken.
 */
struct unlock {
	struct op         op;
	struct engine    *e;
	struct backend   *b;
	char             *name, *id;    /* id NULL: only one of ours */
	bool              look;         /* nothing is broken, only shown */
	struct lock_info  holder;       /* another one, that stood in the way */
	struct lock_seen *ret;
	struct lock_info  now;          /* after what the state holds was kept */
	struct pull_result pulled;       /* of a source */
	struct snapshot   there;        /* of a target: what it holds */
	struct kept       kept, *ret_kept;
};

enum unlock_state { UNLOCK_START, UNLOCK_PEEKED, UNLOCK_READ, UNLOCK_KEPT, UNLOCK_PEEKED_AGAIN, UNLOCK_GONE, UNLOCK_NOTED };

static const char *const unlock_states[] = { "start", "peeked", "read", "kept", "peeked again", "gone", "noted" };

static void
unlock_free(struct op *op)
{
	struct unlock *u = container_of(op, struct unlock, op);

	snapshot_free(&u->there);
	free(u->name);
	free(u->id);
	free(u);
}

/* --- keeping what is there --- */

/* Where the store has what is there: under the source whose replica it is, else under its own name. */
struct unlock_home {
	struct store_txn *t;
	struct state_rec  s;       /* backend and name are always set */
	const char       *edge;    /* "-" : nobody's replica */
};

static bool
unlock_find_home(struct unlock *u, struct unlock_home *h)
{
	const struct plan *p = u->e->plan;
	struct replica_rec r;
	uint64_t           owner;

	if (store_read(u->e->store, &h->t, NULL) != ERR_OK)
		return false;
	h->edge = "-";
	owner = engine_place(u->e, u->b)->source ? 0 : store_replica_owner(h->t, u->b->label, u->name);
	if (owner == 0 || !store_state_by_id(h->t, owner, &h->s)) {
		if (!store_state(h->t, u->b->label, u->name, &h->s))
			h->s = (struct state_rec){ .backend = u->b->label, .name = u->name };
		return true;
	}
	for (size_t i = 0; i < p->nedges; i++)
		if (store_replica(h->t, p->edges[i].name, u->b->label, owner, &r) && strcmp(r.name, u->name) == 0)
			h->edge = p->edges[i].name;
	return true;
}

static struct batch *
unlock_evidence(struct unlock *u, const struct unlock_home *h)
{
	struct version_rec head = { .lineage = "" }, v;
	bool               has = store_version(h->t, h->s.id, h->s.head, &head);
	char               origin[ERR_MSG_MAX];
	struct batch      *b = batch_new(u->e->store);

	evidence_make(&v, u->e, &u->there, has ? head.lineage : NULL, head.serial, h->edge, u->b, origin);
	v.reason = "held by a target whose lock was broken";
	v.run = u->ret->lock.id;
	v.who = u->ret->lock.who;
	v.operation = u->ret->lock.operation;
	batch_body(b, u->there.body, &u->there.digest, has ? &head.digest : NULL);
	batch_version(b, h->s.backend, h->s.name, &v);
	return b;
}

/* NULL: the store has it, or there is nothing. */
static struct op *
unlock_keep_read(struct unlock *u)
{
	struct unlock_home h;
	struct version_rec v;
	struct batch      *b = NULL;

	if (u->there.body == NULL || u->there.info.size == 0 || !unlock_find_home(u, &h))
		return NULL;
	if (!store_version_find(h.t, h.s.id, &u->there.digest, &v) || v.dropped)
		b = unlock_evidence(u, &h);
	store_end(h.t);
	return b != NULL ? store_apply(u->e->store, b) : NULL;
}

static enum op_turn
unlock_keep(struct unlock *u)
{
	struct place    *p = engine_place(u->e, u->b);
	struct state_ref ref = { u->name };

	if (u->ret->ours || !engine_acts(u->e)) /* nobody else wrote; or nothing is ours to keep */
		return op_await(&u->op, UNLOCK_KEPT, NULL);
	if (p->source)
		return op_await(&u->op, UNLOCK_KEPT, pull_op(u->e, p, u->name, &(struct pull_options){ .force = true }, &u->pulled));
	return op_await(&u->op, UNLOCK_READ, provider_get(u->b, &ref, NULL, &u->there));
}

/* It was read, and the store took nothing: whoever takes the lock next may overwrite it. */
static bool
unlock_lost(const struct unlock *u)
{
	return op_failed(&u->op) && (u->pulled.judged || u->there.body != NULL);
}

/* A state that cannot be read shall not stay locked for that. */
static void
unlock_note_kept(struct unlock *u)
{
	const struct digest *d = &u->there.digest;
	struct unlock_home   h;
	struct version_rec   v;

	if (op_failed(&u->op)) {
		if (u->op.res.code != ERR_NOT_FOUND)
			log_at(LOG_WARN, u->b->label, "%s: what it holds could not be kept before its lock is broken: %s", u->name,
			    u->op.res.msg);
		return;
	}
	if (u->ret->ours || !engine_acts(u->e) || !unlock_find_home(u, &h))
		return;
	if (engine_place(u->e, u->b)->source)
		d = &h.s.seen_digest;
	if (!digest_is_zero(d) && store_version_find(h.t, h.s.id, d, &v)) {
		snprintf(u->kept.state, sizeof(u->kept.state), "%s:%s", h.s.backend, h.s.name);
		u->kept.version = v.number;
	}
	store_end(h.t);
}

/* --- the lock --- */

static enum err_code
unlock_may(struct unlock *u, struct err *reterr)
{
	struct buf name, by;

	if (u->id == NULL ? u->ret->ours : strcmp(u->id, u->ret->lock.id) == 0)
		return ERR_OK;
	buf_init(&name, 0);
	buf_printf(&name, "%s:%s", u->b->label, u->name);
	lock_info_refuse(&u->ret->lock, ERR_CONFLICT, 0, buf_str(&name), reterr);
	buf_free(&name);
	if (u->ret->lock.id[0] == '\0') /* held, and nothing says by whom: no ID could name it */
		return err_hint(reterr, "end the process that holds it: the lock goes with it");
	buf_init(&by, 0);
	lock_info_unlock_by(u->b->label, u->name, u->ret->lock.id, &by);
	err_hint(reterr, "if that run is really gone: %s", buf_str(&by));
	buf_free(&by);
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

static bool
unlock_is_unseen(const struct unlock *u)
{
	return !provider_shows_locks(u->b) && (provider_caps(u->b) & PROVIDER_LOCK) != 0;
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
	u->ret->ours = lock_is_own(u->e, &u->ret->lock);
	if (unlock_may(u, &op->res) != ERR_OK)
		return op_fail(op);
	if (u->look)
		return op_ok(op);
	if (u->b->common.read_only && !u->ret->ours) {
		err_set(&op->res, ERR_UNSUPPORTED, 0, "%s is read_only", u->b->label);
		return op_fail(op);
	}
	return unlock_keep(u);
}

/* Another one by now, or none: that is not the lock that a person has decided on. */
static enum op_turn
unlock_peeked_again(struct unlock *u)
{
	struct op *op = &u->op;

	if (op->res.code == ERR_NOT_FOUND)
		err_set(&op->res, ERR_NOT_FOUND, 0, "%s:%s was unlocked meanwhile", u->b->label, u->name);
	if (op_failed(op))
		return op_fail(op);
	if (strcmp(u->now.id, u->ret->lock.id) != 0) {
		u->ret->lock = u->now;
		u->ret->ours = false;
		unlock_may(u, &op->res);
		err_prefix(&op->res, "the lock changed meanwhile");
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
		if (unlock_is_unseen(u))
			return u->look || u->id == NULL ? unlock_unseen(u) : unlock_keep(u);
		return op_await(op, UNLOCK_PEEKED, provider_lock_peek(u->b, &(struct state_ref){ u->name }, &u->ret->lock));
	case UNLOCK_PEEKED:
		return unlock_peeked(u);
	case UNLOCK_READ: /* what contradicts its sidecar is there all the same */
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		return op_failed(op) && u->there.body == NULL ? op_go(op, UNLOCK_KEPT) : op_await(op, UNLOCK_KEPT, unlock_keep_read(u));
	case UNLOCK_KEPT:
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		if (unlock_lost(u)) {
			err_prefix(&op->res, "its lock stays, for what it holds could not be kept");
			return op_fail(op);
		}
		unlock_note_kept(u);
		if (unlock_is_unseen(u))
			return unlock_unseen(u);
		return op_await(op, UNLOCK_PEEKED_AGAIN, provider_lock_peek(u->b, &(struct state_ref){ u->name }, &u->now));
	case UNLOCK_PEEKED_AGAIN:
		return unlock_peeked_again(u);
	case UNLOCK_GONE: /* a refusal may have named the holder: that is worth keeping */
		op->err = op->res;
		return op_await(op, UNLOCK_NOTED, store_apply(u->e->store, unlock_batch(u)));
	case UNLOCK_NOTED:
		engine_kick(u->e, u->b);
		if (u->ret_kept != NULL)
			*u->ret_kept = u->kept;
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class unlock_class = { "unlock", unlock_step, NULL, unlock_free, unlock_states,
	ARRAY_LEN(unlock_states) };

static struct op *
unlock_new(struct engine *e, const char *backend, const char *name, const char *id, bool look, struct lock_seen *ret,
    struct kept *ret_kept)
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
	u->ret_kept = ret_kept;
	memset(ret, 0, sizeof(*ret));
	return hold_op(e, &u->op);
}

struct op *
engine_unlock(struct engine *e, const char *backend, const char *name, const char *id, struct lock_seen *ret, struct kept *ret_kept)
{
	return unlock_new(e, backend, name, id, false, ret, ret_kept);
}

struct op *
engine_unlock_look(struct engine *e, const char *backend, const char *name, const char *id, struct lock_seen *ret)
{
	return unlock_new(e, backend, name, id, true, ret, NULL);
}
