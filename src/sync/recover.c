/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core.h"

/*
 * Intents that were never settled: a crash, a lost answer, a lock that could not be released. Nothing is repeated
 * blindly: first the lock by the id that was journalled, then what the target holds. One that is uncertain, as all are that a
 * crash left behind on a remote, may still have an effect, so it is looked at again after 1, 5 and 20 minutes before it is forgotten.
 * These are minutes by a clock that nobody sets, and that goes on from one process to the next: see recover_clock_begin().
 */
#define RECOVER_CLOCK    "clock" /* mark of the store: that clock, the monotonic and the wall clock at one moment */
#define RECOVER_SPARES   2       /* looks at what another agent began, before the one that releases its lock */
#define RECOVER_SLACK_MS 1000    /* two clocks that differ by more than before: one was set, or the host was started anew */

enum recover_state { START, PEEKED, LOOKED, SEALED, UNLOCKED, SETTLED };

static const char *const recover_states[] = { "start", "peeked", "looked", "sealed", "unlocked", "settled" };

static const int64_t recover_waits_ms[] = { 60000, 300000, 1200000 };

struct recover_one {
	struct op        op;
	struct engine   *e;
	struct backend  *dst;
	uint64_t         id, state, tries, epoch;
	char            *edge, *target, *name, *source, *source_backend;
	struct digest    want, replaces;
	struct lock_info lock, there;
	bool             uncertain, locked_by_us, moved, unseen, look_failed, unlock_failed, effect;
	bool             spared;       /* its lock stays for now */
	bool             known;        /* the store has it that the target holds what this write wanted there */
	int64_t          created, retry_at;
	struct snapshot  now;
	uint64_t         head;         /* version number of want, 0: not a version */
	enum intent_kind kind;
};

struct recover {
	struct op      op;
	struct engine *e;
	uint64_t      *ids;
	size_t         n, next;
	bool           now;          /* all, not only those that are due */
	int64_t       *ret_next;
};

static void
recover_one_free(struct op *op)
{
	struct recover_one *r = container_of(op, struct recover_one, op);

	snapshot_free(&r->now);
	free(r->edge);
	free(r->target);
	free(r->name);
	free(r->source);
	free(r->source_backend);
	free(r);
}

/* What it asks is asked for that edge. */
static void
recover_count_for(struct recover_one *r)
{
	const struct edge *e = r->dst != NULL ? plan_edge(r->e->plan, r->edge) : NULL;

	for (size_t i = 0; e != NULL && i < e->nlanes; i++)
		if (e->lanes[i].to == r->dst)
			r->op.tally = &engine_track(r->e, &e->lanes[i])->requests;
}

/* The agent that the store was copied from may still be at it. Its lock has gone by the third look in turn, or it has died. */
static bool
recover_is_spared(const struct engine *e, const struct intent_rec *i)
{
	if (i->lock_id[0] == '\0' || strcmp(i->agent, store_agent_id(e->store)) == 0)
		return false;
	return i->tries < RECOVER_SPARES || (i->tries == RECOVER_SPARES && i->retry_at > engine_steady(e));
}

static bool
recover_load(struct recover_one *r, struct err *reterr)
{
	struct store_txn  *t;
	struct intent_rec  i;
	struct state_rec   s;
	struct version_rec v;
	struct replica_rec rep;
	bool               have;

	if (store_read(r->e->store, &t, reterr) != ERR_OK)
		return false;
	have = store_intent(t, r->id, &i);
	if (have) {
		r->kind = i.kind;
		r->edge = xstrdup(i.edge);
		r->target = xstrdup(i.target);
		r->name = xstrdup(i.name);
		r->state = i.state;
		r->tries = i.tries;
		r->epoch = i.epoch;
		r->want = i.digest;
		r->replaces = i.replaces;
		r->uncertain = i.uncertain;
		r->created = i.created;
		r->retry_at = i.retry_at;
		if (i.lock_body[0] != '\0')
			lock_info_parse(span_str(i.lock_body), &r->lock, NULL);
		snprintf(r->lock.id, sizeof(r->lock.id), "%s", i.lock_id);
		r->spared = recover_is_spared(r->e, &i);
		if (store_state_by_id(t, i.state, &s)) {
			r->source = xstrdup(s.name);
			r->source_backend = xstrdup(s.backend);
			if (store_version_find(t, s.id, &i.digest, &v))
				r->head = v.number;
		}
		r->dst = plan_backend(r->e->plan, i.target);
		r->known = store_replica(t, i.edge, i.target, i.state, &rep) && rep.status == REPLICA_CURRENT &&
		    digest_eq(&rep.digest, &i.digest);
	}
	store_end(t);
	recover_count_for(r);
	return have;
}

static struct op *
recover_peek(struct recover_one *r)
{
	return r->lock.id[0] == '\0' ? NULL : provider_lock_peek(r->dst, &(struct state_ref){ r->name }, &r->there);
}

/* Of two locks on one state the one that is shown may be another's, while the other is still ours; and a crash between the two halves of
 * one lock leaves it without a name. Unlocking compares ids. */
static bool
recover_may_hold_half(const struct recover_one *r)
{
	if (r->lock.id[0] == '\0' || r->look_failed)
		return false;
	return r->there.unnamed || (r->there.id[0] != '\0' && (provider_caps(r->dst) & PROVIDER_LOCK_UNLISTED) != 0);
}

/* Nothing of ours is seen under the name, but where a state can be renamed the lock went with it. */
static bool
recover_may_have_moved(const struct recover_one *r)
{
	return r->lock.id[0] != '\0' && !r->locked_by_us && !r->look_failed && (provider_caps(r->dst) & PROVIDER_LOCK_MOVES) != 0;
}

static struct op *
recover_unlock(struct recover_one *r)
{
	if (r->spared)
		return NULL;
	r->moved = recover_may_have_moved(r);
	return r->locked_by_us || r->moved || recover_may_hold_half(r) ? provider_unlock(r->dst, &(struct state_ref){ r->name }, &r->lock) : NULL;
}

/* A write that was cut off before its sidecar: it is completed while our lock is still on it, else by the next push. */
static struct op *
recover_seal(struct recover_one *r)
{
	bool unsealed = r->op.res.code == ERR_CORRUPT && r->now.body != NULL && digest_eq(&r->now.digest, &r->want);

	if (!unsealed)
		return NULL;
	r->look_failed = false;
	r->effect = r->locked_by_us;
	return r->locked_by_us ? provider_seal(r->dst, &(struct state_ref){ r->name }, &r->now) : NULL;
}

/* A crash in the middle of a write in place: our lock is still on it, and it holds neither what was there nor what we wanted. */
static bool
recover_is_torn(const struct recover_one *r)
{
	return r->locked_by_us && (provider_caps(r->dst) & PROVIDER_IN_PLACE) != 0 && !r->effect && r->now.body != NULL &&
	    !digest_is_zero(&r->replaces) && !digest_eq(&r->now.digest, &r->replaces);
}

/* Back where it came from: a person decided on what is there now, whatever it would be judged as. */
static void
recover_release(struct recover_one *r, struct batch *b)
{
	if (r->kind == INTENT_RESTORE && r->effect && r->source != NULL && strcmp(r->source, r->name) == 0 &&
	    strcmp(r->source_backend, r->target) == 0)
		batch_release(b, r->source_backend, r->source, &r->want);
}

/* Did the write arrive? The lane then has its replica; anything else is for the queue to plan anew. */
static void
recover_replica(struct recover_one *r, struct batch *b)
{
	struct replica_rec rep = { .edge = r->edge, .target = r->target, .state = r->state, .name = r->name,
		.status = REPLICA_CURRENT, .digest = r->want, .version = r->head, .serial = r->now.info.serial, .etag = r->now.etag,
		.written = r->created, .verified = loop_wall(r->e->loop), .error = "", .hint = "" };

	if ((r->kind != INTENT_PUSH && r->kind != INTENT_MIGRATE) || r->source == NULL)
		return;
	if (recover_is_torn(r)) { /* our own half-written bytes may be overwritten; push.c keeps them as a version first */
		rep.status = REPLICA_PENDING;
		rep.resolved = r->now.digest;
		rep.digest = (struct digest){ { 0 } };
		rep.version = rep.serial = 0;
		batch_replica(b, &rep);
	}
	if (!r->effect || r->known || r->kind != INTENT_PUSH)
		return;
	batch_replica(b, &rep);
	engine_event(b, r->e, "written", r->source_backend, r->source, r->edge, "%s: serial %llu, found after an interruption",
	    r->target, (unsigned long long)r->now.info.serial);
}

/* A replication whose outcome is known now goes through the queue again, whatever it was: that is cheap and never wrong. */
static void
recover_requeue(struct recover_one *r, struct batch *b)
{
	struct queue_rec q = { .due = loop_wall(r->e->loop), .edge = r->edge, .target = r->target, .state = r->state };

	if (r->kind == INTENT_PUSH && r->state != 0 && plan_edge(r->e->plan, r->edge) != NULL)
		batch_enqueue(b, &q);
}

/* What is there says nothing of a lock that is still on its way. */
static bool
recover_is_over(const struct recover_one *r)
{
	if (r->look_failed || r->unlock_failed || r->spared)
		return false;
	return !r->uncertain || (r->effect && r->lock.id[0] == '\0') ||
	    (r->tries >= ARRAY_LEN(recover_waits_ms) && r->retry_at <= engine_steady(r->e));
}

/* A remote that does not answer, or keeps our lock, is asked less and less. */
static int64_t
recover_wait_ms(int64_t age)
{
	int64_t most = recover_waits_ms[ARRAY_LEN(recover_waits_ms) - 1];

	return age < recover_waits_ms[0] ? recover_waits_ms[0] : age > most ? most : age;
}

static struct batch *
recover_batch(struct recover_one *r)
{
	struct batch      *b = batch_new(r->e->store);
	struct store_txn  *t;
	struct intent_rec  i;
	uint64_t           n = r->tries < ARRAY_LEN(recover_waits_ms) ? r->tries : ARRAY_LEN(recover_waits_ms) - 1;
	int64_t            wall = engine_steady(r->e);

	recover_replica(r, b);
	recover_release(r, b);
	if (recover_is_over(r)) {
		batch_settle(b, r->id);
		recover_requeue(r, b);
	} else if (store_read(r->e->store, &t, NULL) == ERR_OK) {
		if (store_intent(t, r->id, &i) && i.retry_at <= wall) { /* a look out of turn, by a pass, shortens nothing */
			i.retry_at = wall + (r->look_failed || r->unlock_failed ? recover_wait_ms(wall - i.created) : recover_waits_ms[n]);
			i.tries += !r->look_failed && !r->unlock_failed;
			batch_intent(b, &i);
		}
		store_end(t);
	}
	return b;
}

static void
recover_log(struct recover_one *r)
{
	char op[ERR_MSG_MAX];

	snprintf(op, sizeof(op), "recover %s %s", r->target, r->name);
	if (r->locked_by_us && !r->unseen && !r->unlock_failed)
		log_event(LOG_INFO, op, "released our lock", { "id", log_str(r->lock.id) });
	if (r->unlock_failed)
		log_event(LOG_WARN, op, "our lock could not be released", { "id", log_str(r->lock.id) },
		    { "reason", log_str(r->op.res.msg) });
	if (r->effect && !r->known)
		log_event(LOG_INFO, op, "the write had arrived", { "serial", log_u64(r->now.info.serial) },
		    { "epoch", r->epoch != 0 ? log_u64(r->epoch) : log_str(NULL) });
}

/* Without the place that the write went to nobody can be asked, and a lock would stay: the intent is kept for a person to see. */
static bool
recover_has_place(struct recover_one *r, struct err *reterr)
{
	struct err moved;

	if (r->dst != NULL && place_may_act(engine_place(r->e, r->dst), &moved))
		return true;
	err_set(reterr, ERR_CONFIG, 0, "an interrupted write to %s:%s cannot be settled: %s", r->target, r->name,
	    r->dst == NULL ? "no such backend is configured" : moved.msg);
	r->look_failed = true;
	return false;
}

/* A protocol that cannot show a lock, as terraform's http. */
static bool
recover_unseen(const struct recover_one *r)
{
	return r->lock.id[0] != '\0' && r->op.res.code == ERR_UNSUPPORTED && (provider_caps(r->dst) & PROVIDER_LOCK_ID) != 0;
}

static enum op_turn
recover_one_step(struct op *op)
{
	struct recover_one *r = container_of(op, struct recover_one, op);

	switch ((enum recover_state)op->state) {
	case START:
		if (!recover_load(r, &op->res))
			return op_finish(op);
		if (!recover_has_place(r, &op->res))
			return op_unwind(op, UNLOCKED);
		return op_await(op, PEEKED, recover_peek(r));
	case PEEKED: /* ours only by the id that was on the disk before it was on the wire */
		r->locked_by_us = r->lock.id[0] != '\0' && !op_failed(op) && strcmp(r->there.id, r->lock.id) == 0;
		r->look_failed = op_failed(op) && op->res.code != ERR_NOT_FOUND;
		if (recover_unseen(r)) { /* the remote compares ids: an unlock releases this very lock, or nothing */
			r->locked_by_us = r->unseen = true;
			r->look_failed = false;
		} else if (r->locked_by_us)
			snprintf(r->lock.generation, sizeof(r->lock.generation), "%s", r->there.generation);
		r->locked_by_us &= !r->spared;
		return op_await(op, LOOKED, provider_get(r->dst, &(struct state_ref){ r->name }, NULL, &r->now));
	case LOOKED:
		r->look_failed |= op_failed(op) && op->res.code != ERR_NOT_FOUND;
		r->effect = !op_failed(op) && digest_eq(&r->now.digest, &r->want);
		return op_await(op, SEALED, recover_seal(r));
	case SEALED:
		r->look_failed |= op_failed(op);
		r->effect &= !op_failed(op);
		return op_await(op, UNLOCKED, recover_unlock(r));
	case UNLOCKED:
		r->unlock_failed = (r->locked_by_us || r->moved || r->there.unnamed) && op_failed(op);
		recover_log(r);
		return op_await(op, SETTLED, store_apply(r->e->store, recover_batch(r)));
	case SETTLED:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class recover_one_class = { "recover", recover_one_step, NULL, recover_one_free, recover_states,
	ARRAY_LEN(recover_states) };

/* --- the clock that intents wait by --- */

struct recover_clock {
	int64_t steady, mono, wall;
};

static bool
recover_clock_read(struct engine *e, struct recover_clock *ret)
{
	int64_t          *const parts[] = { &ret->steady, &ret->mono, &ret->wall };
	struct store_txn *t;
	struct span       v;
	char             *text = NULL, *at, *end;
	size_t            n = 0;

	if (store_read(e->store, &t, NULL) != ERR_OK)
		return false;
	if (store_meta(t, RECOVER_CLOCK, &v))
		text = span_dup(v);
	store_end(t);
	for (at = text; at != NULL && n < ARRAY_LEN(parts); at = end, n++) {
		*parts[n] = strtoll(at, &end, 10);
		if (end == at)
			break;
	}
	free(text);
	return n == ARRAY_LEN(parts);
}

/*
 * How long nobody ran is not known for sure: the wall clock may have been set meanwhile, and the monotonic one tells nothing once the host was
 * started anew, or is another one. Both together are never ahead: a wait may come out longer, never shorter.
 */
static int64_t
recover_clock_passed(const struct recover_clock *since, int64_t mono, int64_t wall)
{
	int64_t by_mono = mono >= since->mono ? mono - since->mono : mono, by_wall = wall - since->wall;

	if (by_wall + RECOVER_SLACK_MS >= by_mono)
		return by_mono;
	return by_wall > 0 ? by_wall : 0;
}

void
recover_clock_begin(struct engine *e)
{
	int64_t              mono = loop_now(e->loop), wall = loop_wall(e->loop);
	struct recover_clock was;

	e->clock_off = wall - mono;
	e->clock_unnoted = true;
	if (!recover_clock_read(e, &was))
		return;
	e->clock_off = was.steady + recover_clock_passed(&was, mono, wall) - mono;
	e->clock_unnoted = e->clock_off != was.steady - was.mono;
}

struct recover_waits {
	struct engine *e;
	struct batch  *b;
};

/* No wait is longer than the longest. One that is was begun when this clock was ahead of what it is now: it begins again. */
static bool
recover_wait_anew(void *arg, const struct intent_rec *i)
{
	struct recover_waits *w = arg;
	struct intent_rec     anew = *i;
	uint64_t              n = i->tries < ARRAY_LEN(recover_waits_ms) ? i->tries : ARRAY_LEN(recover_waits_ms);

	if (i->retry_at <= engine_steady(w->e) + recover_waits_ms[ARRAY_LEN(recover_waits_ms) - 1] || engine_is_live(w->e, i->id))
		return true;
	anew.retry_at = engine_steady(w->e) + (n > 0 ? recover_waits_ms[n - 1] : 0);
	batch_intent(w->b, &anew);
	return true;
}

/* NULL: the store has it, or says nothing now. */
static struct op *
recover_clock_note(struct engine *e)
{
	struct recover_waits w = { .e = e };
	struct store_txn    *t;
	char                 text[80];

	if (!e->clock_unnoted || store_read(e->store, &t, NULL) != ERR_OK)
		return NULL;
	w.b = batch_new(e->store);
	store_intents(t, recover_wait_anew, &w);
	store_end(t);
	snprintf(text, sizeof(text), "%" PRId64 " %" PRId64 " %" PRId64, engine_steady(e), loop_now(e->loop), loop_wall(e->loop));
	batch_meta(w.b, RECOVER_CLOCK, span_str(text));
	return store_apply(e->store, w.b);
}

/* --- all of them --- */

static bool
recover_collect(void *arg, const struct intent_rec *i)
{
	struct recover *r = arg;
	bool            met = engine_was_met(r->e, i->id);

	if (engine_is_live(r->e, i->id) || (!r->now && !met && i->retry_at > engine_steady(r->e)))
		return true;
	r->ids = xreallocarray(r->ids, r->n + 1, sizeof(*r->ids));
	r->ids[r->n++] = i->id;
	return true;
}

static void
recover_gather(struct recover *r)
{
	struct store_txn *t;

	if (store_read(r->e->store, &t, NULL) != ERR_OK)
		return;
	store_intents(t, recover_collect, r);
	store_end(t);
}

static struct op *
recover_next(void *arg)
{
	struct recover     *r = arg;
	struct recover_one *one;

	if (r->next == r->n)
		return NULL;
	one = xcalloc(1, sizeof(*one));
	op_init(&one->op, &recover_one_class, r->e->loop);
	one->e = r->e;
	one->id = r->ids[r->next++];
	return &one->op;
}

static void
recover_ended(struct op *child, void *arg)
{
	(void)arg;
	if (child->err.code != ERR_OK && child->err.code != ERR_CANCELLED)
		log_at(LOG_WARN, "recover", "%s", child->err.msg);
}

/* What is open after this round is due again at the time its record says. */
static bool
recover_soonest(void *arg, const struct intent_rec *i)
{
	int64_t *next = arg;

	if (*next == 0 || i->retry_at < *next)
		*next = i->retry_at;
	return true;
}

enum recover_all_state { ALL_START, ALL_NOTED, ALL_DONE };

static enum op_turn
recover_step(struct op *op)
{
	struct recover   *r = container_of(op, struct recover, op);
	struct store_txn *t;

	switch ((enum recover_all_state)op->state) {
	case ALL_START:
		return op_await(op, ALL_NOTED, recover_clock_note(r->e));
	case ALL_NOTED:
		if (op_failed(op))
			return op_fail(op);
		r->e->clock_unnoted = false;
		recover_gather(r);
		return op_await(op, ALL_DONE, op_each_of(op->loop, recover_next, recover_ended, r, PLACE_LOCKS));
	case ALL_DONE:
		*r->ret_next = 0;
		if (store_read(r->e->store, &t, NULL) == ERR_OK) {
			store_intents(t, recover_soonest, r->ret_next);
			store_end(t);
		}
		return op_finish(op);
	}
	return OP_DONE;
}

static void
recover_free(struct op *op)
{
	struct recover *r = container_of(op, struct recover, op);

	if (r->e->recover == op)
		r->e->recover = NULL;
	free(r->ids);
	free(r);
}

static const char *const recover_all_states[] = { "start", "noted", "done" };
static const struct op_class recover_class = { "recover all", recover_step, NULL, recover_free, recover_all_states,
	ARRAY_LEN(recover_all_states) };

struct recover_meeting {
	struct engine          *e;
	const char             *target, *name;
	const struct lock_info *holder;
	bool                    known;    /* to an intent */
};

/* One without a name may be that of any write there. */
static bool
recover_may_be_of(const struct recover_meeting *m, const struct intent_rec *i)
{
	if (m->holder->unnamed)
		return i->lock_id[0] != '\0' && strcmp(i->target, m->target) == 0 && strcmp(i->name, m->name) == 0;
	return strcmp(i->lock_id, m->holder->id) == 0;
}

static bool
recover_meet(void *arg, const struct intent_rec *i)
{
	struct recover_meeting *m = arg;

	if (!recover_may_be_of(m, i))
		return true;
	m->known = true;
	if (!engine_is_live(m->e, i->id))
		engine_recover_met(m->e, i->id);
	return true;
}

/* By its id it is ours, and of all that we mean to do nothing knows of it: a request for it was delivered twice, and the second time after
 * the lock was released. */
static void
recover_claim(const struct recover_meeting *m, struct batch *b, const struct backend *dst)
{
	log_event(LOG_WARN, m->target, "a lock of this agent that it has released before is there again; it is released", { "state", log_str(m->name) },
	    { "id", log_str(m->holder->id) });
	lock_intend(b, m->e, intent_new_id(m->e->store), dst, m->name, m->holder, false);
	engine_recover_soon(m->e);
}

void
recover_met(struct batch *b, struct engine *e, const struct backend *dst, const char *name, const struct lock_info *holder)
{
	struct recover_meeting m = { e, dst->label, name, holder, false };
	struct store_txn      *t;

	if ((holder->id[0] == '\0' && !holder->unnamed) || store_read(e->store, &t, NULL) != ERR_OK)
		return;
	store_intents(t, recover_meet, &m);
	store_end(t);
	if (!m.known && lock_id_is_of(holder->id, store_agent_id(e->store)))
		recover_claim(&m, b, dst);
}

struct op *
recover_op(struct engine *e, bool now, int64_t *ret_next)
{
	struct recover *r = xcalloc(1, sizeof(*r));

	op_init(&r->op, &recover_class, e->loop);
	e->open_intents = false;
	r->e = e;
	r->now = now;
	r->ret_next = ret_next;
	return &r->op;
}
