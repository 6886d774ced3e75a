/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/time.h"
#include "core.h"

/*
 * Whose lock a source's state is under: asked where the listing shows one, or where one was known; kept as a run, to which versions are
 * ascribed that are seen meanwhile. An agent looks at such a state every two seconds, as long as there is news of it.
 */

/* --- asking --- */

struct watch {
	struct op         op;
	struct place     *place;
	char             *name;
	struct lock_look *ret;
};

enum watch_state { START, PEEKED, NOTED };

static const char *const watch_states[] = { "start", "peeked", "noted" };

static void
watch_free(struct op *op)
{
	struct watch *w = container_of(op, struct watch, op);

	free(w->name);
	free(w);
}

/* Both together: what is known of the lock of a state. */
struct known {
	struct state_rec s;
	struct run_rec   run;
	bool             has, lasts;
};

static struct store_txn *
watch_recall(const struct place *p, const char *name, struct known *ret)
{
	struct store_txn *t;

	memset(ret, 0, sizeof(*ret));
	if (store_read(p->engine->store, &t, NULL) != ERR_OK)
		return NULL;
	ret->has = store_state(t, p->backend->label, name, &ret->s);
	ret->lasts = ret->has && store_run(t, &ret->s, &ret->run);
	return t;
}

static void
watch_note(const struct place *p, struct batch *b, const char *name, const struct lock_info *l)
{
	batch_run(b, p->backend->label, name, &(struct run_rec){ .lock = l->id, .who = l->who, .operation = l->operation, .created = l->created,
	    .program = l->version, .seen = loop_wall(p->engine->loop) });
}

static void
watch_log(const struct place *p, const char *name, const struct lock_info *l)
{
	struct buf text;

	buf_init(&text, 0);
	lock_info_print(l, &text);
	log_at(LOG_INFO, p->backend->label, "%s: locked by %s", name, buf_str(&text));
	buf_free(&text);
}

/* A run that nobody knew of is noted before anything is read under it. */
static struct op *
watch_begin(struct watch *w)
{
	struct known      k;
	struct store_txn *t = watch_recall(w->place, w->name, &k);
	struct batch     *b;

	if (t == NULL)
		return NULL;
	store_end(t);
	w->ret->first = !w->ret->ours && !k.lasts;
	if (!w->ret->first)
		return NULL;
	watch_log(w->place, w->name, &w->ret->lock);
	b = batch_new(w->place->engine->store);
	watch_note(w->place, b, w->name, &w->ret->lock);
	return store_apply(w->place->engine->store, b);
}

static enum op_turn
watch_peeked(struct watch *w)
{
	struct op *op = &w->op;

	switch (op->res.code) {
	case ERR_OK:
		w->ret->now = LOCK_HELD;
		w->ret->ours = lock_is_own(w->place->engine, &w->ret->lock);
		return op_await(op, NOTED, watch_begin(w));
	case ERR_NOT_FOUND:
		w->ret->now = LOCK_FREE;
		return op_ok(op);
	case ERR_CANCELLED:
	case ERR_BUSY: /* nor will the state be had */
		return op_fail(op);
	default: /* the state itself may be had all the same */
		log_at(LOG_DEBUG, w->place->backend->label, "%s: its lock cannot be looked at: %s", w->name, op->res.msg);
		return op_ok(op);
	}
}

static enum op_turn
watch_step(struct op *op)
{
	struct watch *w = container_of(op, struct watch, op);

	switch ((enum watch_state)op->state) {
	case START:
		return op_await(op, PEEKED, provider_lock_peek(w->place->backend, &(struct state_ref){ w->name }, &w->ret->lock));
	case PEEKED:
		return watch_peeked(w);
	case NOTED:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class watch_class = { "lock look", watch_step, NULL, watch_free, watch_states, ARRAY_LEN(watch_states) };

struct op *
watch_op(struct place *p, const char *name, struct lock_look *ret)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	op_init(&w->op, &watch_class, p->engine->loop);
	w->op.about = w->name = xstrdup(name);
	w->place = p;
	w->ret = ret;
	memset(ret, 0, sizeof(*ret));
	return &w->op;
}

/* --- what follows --- */

static bool
watch_is(const struct known *k, const struct lock_info *l)
{
	return k->lasts && strcmp(k->run.lock, l->id) == 0;
}

static void
watch_mark(const struct place *p, struct batch *b, const struct state_rec *s, bool locked)
{
	struct sighting g = { .etag = s->etag, .flags = locked ? s->flags | STATE_IS_LOCKED : s->flags & ~(unsigned)STATE_IS_LOCKED,
		.problem = s->problem };

	batch_seen(b, p->backend->label, s->name, &g);
}

static struct batch *
watch_settle_batch(const struct place *p, const char *name, const struct lock_look *l, const struct known *k)
{
	bool          marked = (k->s.flags & STATE_IS_LOCKED) != 0;
	struct batch *b;

	if (!k->has || l->now == LOCK_AS_BEFORE || (l->now == LOCK_FREE && !marked))
		return NULL;
	if (l->now == LOCK_HELD && (l->ours ? marked && !k->lasts :
	    watch_is(k, &l->lock) && loop_wall(p->engine->loop) - k->run.seen < LOCK_NOTE_MS))
		return NULL;
	b = batch_new(p->engine->store);
	if (l->now == LOCK_FREE || l->ours)
		watch_mark(p, b, &k->s, false); /* somebody else's has ended, if there was one */
	if (l->now == LOCK_HELD && l->ours) {
		watch_mark(p, b, &k->s, true);
	} else if (l->now == LOCK_HELD) {
		if (!watch_is(k, &l->lock))
			watch_log(p, name, &l->lock);
		watch_note(p, b, name, &l->lock);
	}
	return b;
}

struct op *
watch_settle(const struct place *p, const char *name, const struct lock_look *l)
{
	struct known      k;
	struct store_txn *t = watch_recall(p, name, &k);
	struct batch     *b;

	if (t == NULL)
		return NULL;
	b = watch_settle_batch(p, name, l, &k);
	store_end(t);
	return b != NULL ? store_apply(p->engine->store, b) : NULL;
}

bool
watch_asks(const struct place *p, const char *name, const struct digest *d)
{
	struct known      k;
	struct store_txn *t = watch_recall(p, name, &k);

	if (t != NULL)
		store_end(t);
	return k.has && k.s.last_read != 0 && !digest_eq(&k.s.seen_digest, d);
}

bool
watch_is_close(const struct place *p, const char *name, const struct lock_look *l)
{
	struct known      k;
	struct store_txn *t;
	int64_t           news;

	if (l->now != LOCK_HELD || l->ours || p->backend->common.poll_ms <= LOCK_POLL_MS || (t = watch_recall(p, name, &k)) == NULL)
		return false;
	news = k.run.changed > k.run.begun ? k.run.changed : k.run.begun;
	store_end(t);
	return k.lasts && loop_wall(p->engine->loop) - news < LOCK_CLOSE_MS;
}

/* Clocks of two hosts: good enough to tell a version that was there before the run from one that came of it. */
static bool
watch_is_older(const struct run_rec *r, int64_t made)
{
	int64_t taken;

	return time_parse(r->created, &taken) && made + WATCH_DATE_MS < taken;
}

bool
watch_author(const struct place *p, struct store_txn *t, const struct state_rec *s, const struct lock_look *l, int64_t made,
    struct run_rec *ret)
{
	if (!store_run(t, s, ret) || (l != NULL && l->ours))
		return false;
	if (l != NULL && l->now == LOCK_HELD && strcmp(l->lock.id, ret->lock) != 0) /* there may have been others between the two */
		return loop_wall(p->engine->loop) - ret->seen < 2 * LOCK_NOTE_MS;
	return l == NULL || !l->first || made == 0 || !watch_is_older(ret, made);
}

bool
watch_wants(const struct place *p, const char *name)
{
	struct known      k;
	struct store_txn *t;

	if (!provider_shows_locks(p->backend))
		return false;
	if ((provider_caps(p->backend) & PROVIDER_WATCH) != 0) /* it costs no request, and the notice may be of the lock's end */
		return true;
	if ((t = watch_recall(p, name, &k)) == NULL)
		return false;
	store_end(t);
	return (k.s.flags & STATE_IS_LOCKED) != 0;
}
