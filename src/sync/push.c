/* SPDX-License-Identifier: MIT */
#include "push.h"

#include <assert.h>
#include <stdlib.h>

/*
 * The push path: a head, or a version that is being restored, on its way to a backend. Read the switch in push_step()
 * from top to bottom; what makes it safe is said at each case.
 */
#define PUSH_PURPOSE_MAX 400
#define PUSH_LOCKS       3   /* with an ID of its own each, until one is answered at once */

enum push_state { START, EXPECTED, LOADED, PEEKED, PEEK_MEANT, PEEK_CHANGED, INTENT, PROVEN, INTENDED, ADMITTED, INHERITED, LOCKED,
	GIVEN_BACK, RENEWED, LOOKED, LOOK_MEANT, CHANGED, KEPT, WRITTEN, READ_BACK, BACK_MEANT, SEALED, RELEASE, RELEASED, SETTLE, SETTLED };

static const char *const push_states[] = { "start", "expected", "loaded", "peeked", "compared", "changed", "intent", "proven", "intended",
	"admitted", "inherited", "locked", "given back", "renewed", "looked", "compared", "changed", "kept", "written", "read back", "compared",
	"sealed", "release", "released", "settle", "settled" };

const char *
push_doing(const struct op *op)
{
	static const char *const doing[] = { "starting", "asking the backend", "reading the store", "looking at what is there", "comparing",
		"raising the serial", "probing the backend", "probing the backend", "noting what is to come", "waiting for its turn", "locking", "locking",
		"locking", "locking", "looking at what is there", "comparing", "raising the serial", "keeping what is there", "writing",
		"reading back", "comparing",
		"completing the write", "unlocking", "unlocking", "noting what came of it", "noting what came of it" };

	_Static_assert(ARRAY_LEN(doing) == SETTLED + 1, "a word for each wait");
	return doing[op->state];
}

static struct state_ref
push_ref(const struct push *p)
{
	return (struct state_ref){ p->name };
}

static void
push_give_turn(struct push *p)
{
	if (p->admitted)
		quota_give(&engine_place(p->e, p->dst)->locks, 1);
	p->admitted = false;
}

static void
push_free(struct op *op)
{
	struct push *p = container_of(op, struct push, op);

	if (p->kind->free != NULL)
		p->kind->free(p);
	if (p->intent != 0)
		engine_live(p->e, p->intent, NULL);
	push_give_turn(p);
	snapshot_free(&p->next);
	snapshot_free(&p->cur);
	body_unref(p->next_body);
	free(p->backend);
	free(p->source);
	free(p->name);
	free(p);
}

/* --- before the first request --- */

static bool
push_locks(const struct push *p)
{
	return (provider_caps(p->dst) & PROVIDER_LOCK) != 0;
}

/* Of the lane; NULL: it is ours without one. */
static const struct lease *
push_lease(const struct push *p)
{
	return p->lane != NULL ? engine_track(p->e, p->lane)->lease : NULL;
}

/* false: another agent has its lane by now, or had it in between and may have released our lock: this one goes no further. */
static bool
push_is_led(struct push *p)
{
	if (p->lane == NULL || (track_is_ours(engine_track(p->e, p->lane)) && (push_lease(p) == NULL || lease_epoch(push_lease(p)) == p->epoch)))
		return true;
	err_set(&p->op.res, ERR_CANCELLED, 0, "the lease of %s at %s is not ours any more", p->edge, p->dst->label);
	return false;
}

/* What our locks say they are for, and with a lease up to the number of its epoch. Returns ret. */
static const char *
push_purpose(const struct push *p, char ret[PUSH_PURPOSE_MAX])
{
	snprintf(ret, PUSH_PURPOSE_MAX, "%s%s%s to %s%s", p->kind->verb, p->edge[0] != '\0' ? " " : "", p->edge, p->dst->label,
	    push_lease(p) != NULL ? ", epoch " : "");
	return ret;
}

/* The lock that is in the way was taken under an earlier epoch of our lease: whoever took it has lost the lease since, and what it
 * may still send is refused by its precondition. */
static bool
push_lock_is_orphaned(const struct push *p)
{
	char   what[PUSH_PURPOSE_MAX];
	size_t n;

	if (push_lease(p) == NULL || p->inherited || !lock_info_is_ours(&p->holder) || (provider_caps(p->dst) & PROVIDER_LOCK_ID) == 0)
		return false;
	n = strlen(push_purpose(p, what));
	return strncmp(p->holder.info, what, n) == 0 && strtoull(p->holder.info + n, NULL, 10) < lease_epoch(push_lease(p));
}

static struct op *
push_inherit(struct push *p)
{
	p->inherited = true;
	log_event(LOG_WARN, p->edge, "a lock that an earlier holder of the lease left is released", { "target", log_str(p->dst->label) },
	    { "state", log_str(p->name) }, { "id", log_str(p->holder.id) }, { "who", log_str(p->holder.who) });
	return provider_unlock(p->dst, &(struct state_ref){ p->name }, &p->holder);
}

static void
push_make_lock(struct push *p)
{
	char             info[512], what[PUSH_PURPOSE_MAX], epoch[40] = "";
	struct state_ref ref = push_ref(p);

	if (push_lease(p) != NULL)
		snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long)p->epoch);
	snprintf(info, sizeof(info), "%s%s; if that host is gone, \"terraform force-unlock ID\" is safe", push_purpose(p, what), epoch);
	provider_lock_new(p->dst, &ref, info, &p->lock);
}

/* A request to a folder dies with us. */
static bool
push_is_remote(const struct push *p)
{
	return (provider_caps(p->dst) & PROVIDER_IN_PLACE) == 0;
}

static void
push_intent_rec(struct push *p, struct batch *b, bool uncertain)
{
	struct buf        body;
	struct intent_rec i = { .id = p->intent, .kind = p->kind->intent, .edge = p->edge, .target = p->dst->label,
		.state = p->state, .name = p->name, .lock_id = p->lock.id, .digest = p->want, .etag = p->cur.etag,
		.created = loop_wall(p->e->loop), .retry_at = engine_steady(p->e), .agent = store_agent_id(p->e->store), .epoch = p->epoch };

	buf_init(&body, LOCK_BODY_MAX);
	if (p->lock.id[0] != '\0')
		lock_info_body(&p->lock, &body);
	i.lock_body = buf_str(&body);
	if (p->cur.body != NULL)
		i.replaces = p->cur.digest;
	i.uncertain = uncertain;
	batch_intent(b, &i);
	buf_free(&body);
}

/* The lock's id and body, the target and our digest are on the disk before they are on the wire. Until the end is known the record
 * says so: a request outlives its process where a network lies between. */
static struct batch *
push_intend(struct push *p)
{
	struct batch *b = batch_new(p->e->store);

	p->intent = intent_new_id(p->e->store);
	engine_live(p->e, p->intent, p);
	p->epoch = push_lease(p) != NULL ? lease_epoch(push_lease(p)) : 0;
	if (push_locks(p))
		push_make_lock(p);
	push_intent_rec(p, b, push_is_remote(p));
	return b;
}

/* The lock was granted when it was asked for again: the request that got no answer may grant it once more, long after we have released it.
 * Where nothing but the lock guards a write, one that is under way under it then goes through, whatever was written since. */
static bool
push_lock_may_return(const struct push *p)
{
	unsigned caps = provider_caps(p->dst);

	return p->lock.late && (caps & PROVIDER_LOCK_ID) != 0 && (caps & (PROVIDER_IF_MATCH | PROVIDER_SERIALS)) == 0;
}

/* That one is released; whether there is to be another. */
static bool
push_locks_anew(struct push *p)
{
	p->lock_held = false;
	if (++p->nlocks < PUSH_LOCKS)
		return true;
	err_set(&p->op.res, ERR_NETWORK, 0, "%s: no request for a lock is answered at once, and nothing is written under one that may come to be "
	    "once more", p->name);
	return false;
}

/* The intent of the old lock is recovery's from now on, which releases it whenever it comes to be. The new one is on the disk before it is
 * on the wire. */
static struct batch *
push_intend_anew(struct push *p)
{
	struct batch *b = batch_new(p->e->store);

	engine_live(p->e, p->intent, NULL);
	engine_recover_soon(p->e);
	p->intent = intent_new_id(p->e->store);
	engine_live(p->e, p->intent, p);
	p->late = false;
	push_make_lock(p);
	push_intent_rec(p, b, push_is_remote(p));
	return b;
}

/* Nothing of it is on the disk. */
static void
push_forget_intent(struct push *p)
{
	engine_live(p->e, p->intent, NULL);
	p->intent = 0;
}

/* Its turn has come; but the lane may have closed while it waited. op->res says why it goes no further. */
static bool
push_takes_turn(struct push *p)
{
	const struct track *t = p->lane != NULL ? engine_track(p->e, p->lane) : NULL;

	p->admitted = p->op.res.code == ERR_OK;
	if (p->admitted && t != NULL && track_closed(t))
		p->op.res = t->closed;
	return p->op.res.code == ERR_OK && push_is_led(p);
}

/* --- what is there now --- */

static struct op *
push_look(struct push *p)
{
	struct state_ref ref = push_ref(p);

	snapshot_free(&p->cur);
	p->absent = p->unsealed = false;
	return provider_get(p->dst, &ref, NULL, &p->cur);
}

bool
push_knows_current(struct push *p, bool own)
{
	struct store_txn  *t;
	struct version_rec v;
	bool               known;

	if (store_read(p->e->store, &t, NULL) != ERR_OK)
		return false;
	known = store_version_find(t, p->state, &p->cur.digest, &v) && !v.dropped && !(own && version_is_evidence(&v));
	store_end(t);
	return known;
}

/* After a look: false when it failed; absent is an answer. So are bytes that contradict their sidecar when they are of this state's
 * own versions: a write of ours was cut off before it. Or one of an earlier holder of our lease, whose lock was still there. */
static bool
push_seen(struct push *p)
{
	if (p->op.res.code == ERR_CORRUPT && p->cur.body != NULL &&
	    (p->inherited || digest_eq(&p->cur.digest, &p->next.digest) || push_knows_current(p, true))) {
		p->unsealed = true;
		err_clear(&p->op.res);
	}
	if (p->op.res.code == ERR_NOT_FOUND) {
		p->absent = true;
		err_clear(&p->op.res);
	}
	return p->op.res.code == ERR_OK;
}

static bool
push_needs_meaning(struct push *p)
{
	p->meaning = (struct meaning){ .a = p->cur.body, .b = p->next.body, .want_semantic = true };
	return p->kind->needs_meaning != NULL && !p->absent && p->kind->needs_meaning(p);
}

/* The decision, from what was just read. false: nothing will be written; op->res is OK when that is fine. */
static bool
push_may_write(struct push *p)
{
	if (p->op.cancelled && !p->op.shielded) {
		err_set(&p->op.res, ERR_CANCELLED, 0, "cancelled");
		return false;
	}
	if (p->kind->weigh(p, &p->op.res) != ERR_OK)
		return false;
	if (p->cmp.action == COMPARE_HOLD)
		err_set(&p->op.res, ERR_CONFLICT, 0, "%s", p->cmp.reason);
	return p->cmp.action == COMPARE_WRITE;
}

bool
push_can_count(struct push *p)
{
	p->meaning.want_semantic = false;
	p->meaning.want_counts = true;
	p->meaning.added = p->meaning.changed = p->meaning.removed = -1;
	return state_is_good(&p->cur.info) && p->cur.info.kind != STATE_ENCRYPTED && p->next.info.kind != STATE_ENCRYPTED;
}

uint64_t
push_changes(const struct push *p)
{
	int64_t n = p->meaning.added + p->meaning.changed + p->meaning.removed;

	return p->absent || !state_is_good(&p->cur.info) ? p->next.info.instances : n > 0 ? (uint64_t)n : 0;
}

static struct op *
push_change(struct push *p)
{
	return p->kind->change != NULL ? p->kind->change(p) : NULL;
}

/* --- keeping and writing --- */

bool
push_keep_current(struct push *p, struct batch *b)
{
	char               origin[ERR_MSG_MAX];
	struct version_rec v = { .digest = p->cur.digest, .serial = p->cur.info.serial, .size = p->cur.info.size,
		.instances = p->cur.info.instances, .resources = p->cur.info.resources, .lineage = p->cur.info.lineage,
		.writer = p->cur.info.writer, .kind = p->cur.info.kind, .reason = p->cmp.reason, .seen = loop_wall(p->e->loop),
		.run = "", .who = "", .operation = "", .origin = origin, .added = -1, .changed = -1, .removed = -1 };

	if (p->absent || p->cur.body == NULL || p->cur.info.size == 0 || push_knows_current(p, false))
		return false;
	snprintf(origin, sizeof(origin), VERSION_FROM_TARGET " %s %s", p->edge, p->dst->label);
	v.verdict = !state_is_good(&p->cur.info) ? VERDICT_DAMAGED :
	    strcmp(p->cur.info.lineage, p->next.info.lineage) != 0 ? VERDICT_UNRELATED :
	    p->cur.info.serial < p->next.info.serial ? VERDICT_OLDER : VERDICT_FORK;
	batch_body(b, p->cur.body, &p->cur.digest, &p->want);
	batch_version(b, p->backend, p->source, &v);
	return true;
}

/* What we replace is a version first. NULL: there is nothing that the store does not have. Where a crash can tear the write the
 * intent says what it began with, so that its own torn bytes can be told from another's; where the bytes were made only now, which
 * they are; and where the place was made with its lock, and may be renamed, which one that is. */
static struct op *
push_keep(struct push *p)
{
	struct batch *b = batch_new(p->e->store);
	bool          keep = push_keep_current(p, b), made = p->absent && (provider_caps(p->dst) & PROVIDER_LOCK_MOVES) != 0;

	if (!keep && !made && (provider_caps(p->dst) & PROVIDER_IN_PLACE) == 0 && p->kind->change == NULL) {
		batch_free(b);
		return NULL;
	}
	push_intent_rec(p, b, push_is_remote(p));
	return store_apply(p->e->store, b);
}

static struct op *
push_put(struct push *p)
{
	struct state_ref     ref = push_ref(p);
	struct put_condition when = { .when = PUT_UNDER_LOCK, .lock = p->lock_held ? &p->lock : NULL };

	if ((provider_caps(p->dst) & PROVIDER_IF_MATCH) != 0) {
		when.when = p->absent ? PUT_ABSENT : PUT_MATCH;
		when.etag = p->cur.etag;
	}
	return provider_put(p->dst, &ref, &p->next, &when, p->etag);
}

/* --- after the write --- */

/* What was read back is what was there before. */
static bool
push_is_unchanged(const struct push *p)
{
	return p->absent ? digest_is_zero(&p->before) : digest_eq(&p->cur.digest, &p->before);
}

/* A write was answered as done, and what is there is not it. */
static void
push_say_else(struct push *p, const char *what)
{
	const char *why = provider_remark(p->dst, p->name);

	err_set(&p->op.err, ERR_CONFLICT, 0, "%s%s%s%s", p->name, what, why != NULL ? ": " : "", why != NULL ? why : "");
}

static void
push_say_unchanged(struct push *p)
{
	struct err *e = &p->op.err;

	if (p->put_ok)
		push_say_else(p, ": the write was answered as done, but what is there did not change");
	else if (p->uncertain)
		err_set(e, ERR_UNCERTAIN, e->detail, "%s: no certain answer to the write (%s), and nothing has changed there yet", p->name,
		    p->put_err.msg);
	else
		*e = p->put_err;
}

/* A write in place broke off, and our lock was on it all the time: what is there now is half of it. */
static bool
push_is_torn(const struct push *p)
{
	return p->lock_held && (provider_caps(p->dst) & PROVIDER_IN_PLACE) != 0 && p->put_err.code == ERR_UNCERTAIN && !p->absent &&
	    !push_is_unchanged(p);
}

/* Is what was read back ours? true: done, or (ask) equal bytes have to be told from equal meaning. Otherwise op->err says what. */
static bool
push_is_ours(struct push *p, bool *ask)
{
	bool seen = push_seen(p);

	*ask = false;
	if (seen && !p->absent && digest_eq(&p->cur.digest, &p->next.digest)) {
		err_clear(&p->op.err);
		p->wrote = true;
		return true;
	}
	if (!seen) { /* no answer: the write stays unknown, and so does its intent */
		p->uncertain = true;
		return false;
	}
	if (p->put_ok && !p->absent && p->cur.info.kind == STATE_V4 && p->cur.info.serial == p->next.info.serial) {
		*ask = true;
		return true;
	}
	p->torn = push_is_torn(p);
	p->uncertain = !p->torn && !p->put_ok && p->op.err.code == ERR_UNCERTAIN;
	if (p->torn) {
		p->op.err = p->put_err;
		p->op.err.code = ERR_IO;
	} else if (push_is_unchanged(p))
		push_say_unchanged(p);
	else if (!p->uncertain)
		err_set(&p->op.err, ERR_CONFLICT, 0, "%s was changed by somebody else meanwhile", p->name);
	return false;
}

static enum op_turn
push_back_meant(struct push *p)
{
	if (!op_failed(&p->op) && p->meaning.same) { /* a server that stores its own formatting */
		err_clear(&p->op.err);
		p->wrote = p->reencoded = true;
		return op_await(&p->op, SEALED, provider_seal(p->dst, &(struct state_ref){ p->name }, &p->next));
	}
	push_say_else(p, " does not hold what was written");
	return op_unwind(&p->op, RELEASE);
}

static struct op *
push_unlock(struct push *p)
{
	struct state_ref ref = push_ref(p);

	return p->lock_held || p->lock_doubt ? provider_unlock(p->dst, &ref, &p->lock) : NULL;
}

static bool
push_unlock_is_safe(const struct push *p)
{
	return (provider_caps(p->dst) & PROVIDER_LOCK_ID) != 0;
}

static void
push_note_lock_left(struct push *p)
{
	struct err why = p->op.res;

	p->lock_left = (p->lock_held || p->lock_doubt) && why.code != ERR_OK;
	if (!p->lock_left || p->op.err.code != ERR_OK)
		return;
	err_set(&p->op.err, why.code, why.detail, "%s: written, but its lock %s could not be released: %s", p->name, p->lock.id,
	    why.msg);
	err_hint(&p->op.err, "it is tried again; by hand: stateferry unlock %s:%s", p->dst->label, p->name);
}

void
push_lock_hint(struct push *p)
{
	struct buf how;

	if (p->op.err.code != ERR_LOCKED || p->op.err.hint[0] != '\0' || p->holder.id[0] == '\0')
		return;
	buf_init(&how, 0);
	provider_unlock_hint(p->dst, p->name, &p->holder, &how);
	err_hint(&p->op.err, "wait for that run; if it is really gone: %s", buf_str(&how));
	buf_free(&how);
}

/* Replica, queue entry and intent in one commit. An intent that may still have an effect stays open for recover. */
static struct batch *
push_result_batch(struct push *p)
{
	struct batch *b = batch_new(p->e->store);
	bool          locked = p->lock_left || p->lock_doubt || p->lock.late; /* or it may come to be */

	if (p->intent != 0 && (locked || p->uncertain)) {
		if (!locked)
			p->lock.id[0] = '\0'; /* released: of this write only the bytes are in doubt */
		push_intent_rec(p, b, p->uncertain || p->lock_doubt || p->lock.late);
		engine_recover_soon(p->e);
	} else if (p->intent != 0)
		batch_settle(b, p->intent);
	if (p->op.err.code == ERR_LOCKED)
		recover_met(b, p->e, p->dst, p->name, &p->holder);
	lock_note(b, p->e, p->dst, p->name, p->lock_held ? NULL : &p->holder);
	p->kind->settle(p, b);
	return b;
}

/* Under the lock, with nothing to write: a write of ours that was cut off before its sidecar is completed. */
static enum op_turn
push_leave(struct push *p)
{
	struct op *op = &p->op;

	if (!p->unsealed || op_failed(op))
		return op_unwind(op, RELEASE);
	op_shield(op);
	return op_await(op, SEALED, provider_seal(p->dst, &(struct state_ref){ p->name }, &p->cur));
}

/* Without a lock: what would be written is made only to tell of it. */
static enum op_turn
push_decide(struct push *p)
{
	if (!push_may_write(p) || p->follow)
		return p->unsealed && !p->dry && !p->follow && !op_failed(&p->op) ? op_go(&p->op, INTENT) : op_unwind(&p->op, SETTLE);
	return p->dry ? op_await(&p->op, PEEK_CHANGED, push_change(p)) : op_go(&p->op, INTENT);
}

static enum op_turn
push_step(struct op *op)
{
	struct push *p = container_of(op, struct push, op);
	bool         ask;

	switch ((enum push_state)op->state) {
	case START: /* a name that would not be written is not looked at either, so that a dry run says what the write would */
		op->res = p->refused;
		if (op_failed(op))
			return op_unwind(op, SETTLE);
		return op_await(op, EXPECTED, provider_expect(p->dst, &(struct state_ref){ p->name }));
	case EXPECTED: /* the bytes to write, verified against their digest */
		if (op_failed(op))
			return op_unwind(op, SETTLE);
		if (p->next.body != NULL)
			return op_go(op, p->prelook ? LOADED : INTENT);
		return op_await(op, LOADED, store_body_load(p->e->store, &p->want, &p->next_body));
	case LOADED:
		if (op_failed(op))
			return op_unwind(op, SETTLE);
		if (p->next.body == NULL)
			return op_await(op, LOADED, snapshot_read(p->e->work, &p->next, p->next_body));
		if (!p->prelook)
			return op_go(op, INTENT);
		return op_await(op, PEEKED, push_look(p));
	case PEEKED: /* without a lock: enough to find it current or held, never to write */
		if (!push_seen(p) && (op->res.code != ERR_CORRUPT || push_lease(p) == NULL || p->dry || p->follow))
			return op_unwind(op, SETTLE);
		if (op_failed(op)) /* the lock may tell who was cut off */
			return op_go(op, INTENT);
		if (push_needs_meaning(p))
			return op_await(op, PEEK_MEANT, meaning_run(p->e->work, &p->meaning));
		return push_decide(p);
	case PEEK_MEANT:
		if (op_failed(op))
			return op_unwind(op, SETTLE);
		return push_decide(p);
	case PEEK_CHANGED:
		return op_failed(op) ? op_unwind(op, SETTLE) : op_go(op, SETTLE);
	case INTENT: /* a target whose lock or preconditions are only promised is probed once; nothing was sent to this state yet */
		return op_await(op, PROVEN, prove_op(engine_place(p->e, p->dst), p->name));
	case PROVEN: /* from here on to push_intend() nothing is awaited: of two writes to one name the second sees the first */
		if (op_failed(op) || push_meets_another(p, &op->res)) {
			p->refused = op->res;
			return op_unwind(op, SETTLE);
		}
		return op_await(op, INTENDED, store_apply(p->e->store, push_intend(p)));
	case INTENDED:
		if (op_failed(op)) {
			push_forget_intent(p);
			return op_unwind(op, SETTLE);
		}
		return op_await(op, ADMITTED, quota_take(&engine_place(p->e, p->dst)->locks, 1));
	case ADMITTED:
		if (!push_takes_turn(p))
			return op_unwind(op, SETTLE);
		if (!push_locks(p))
			return op_await(op, LOOKED, push_look(p));
		return op_await(op, LOCKED, provider_lock(p->dst, &(struct state_ref){ p->name }, &p->lock, &p->holder));
	case INHERITED: /* by an earlier holder of our lease, who is gone: its id was compared */
		if (op_failed(op)) {
			op->res = p->put_err;
			return op_unwind(op, SETTLE);
		}
		return op_await(op, LOCKED, provider_lock(p->dst, &(struct state_ref){ p->name }, &p->lock, &p->holder));
	case LOCKED: /* held by others, or in doubt: no state was touched. An earlier request for the same lock may still be under way */
		p->lock.late |= p->late;
		p->late = p->lock.late;
		if (op->res.code == ERR_LOCKED && push_lock_is_orphaned(p)) {
			p->put_err = op->res;
			return op_await(op, INHERITED, push_inherit(p));
		}
		p->lock_held = op->res.code == ERR_OK;
		p->lock_doubt = op->res.code == ERR_UNCERTAIN;
		if (!p->lock_held)
			return op_unwind(op, p->lock_doubt && push_unlock_is_safe(p) ? RELEASE : SETTLE);
		if (push_lock_may_return(p))
			return op_await(op, GIVEN_BACK, push_unlock(p));
		return op_await(op, LOOKED, push_look(p));
	case GIVEN_BACK:
		if (op_failed(op))
			return op_unwind(op, RELEASE);
		if (!push_locks_anew(p))
			return op_unwind(op, SETTLE);
		return op_await(op, RENEWED, store_apply(p->e->store, push_intend_anew(p)));
	case RENEWED:
		if (op_failed(op)) {
			push_forget_intent(p);
			return op_unwind(op, SETTLE);
		}
		return op_await(op, LOCKED, provider_lock(p->dst, &(struct state_ref){ p->name }, &p->lock, &p->holder));
	case LOOKED: /* absent, older, same, newer, forked? */
		if (!push_seen(p))
			return op_unwind(op, RELEASE);
		if (push_needs_meaning(p))
			return op_await(op, LOOK_MEANT, meaning_run(p->e->work, &p->meaning));
		if (!push_may_write(p))
			return push_leave(p);
		return op_await(op, CHANGED, push_change(p));
	case LOOK_MEANT:
		if (op_failed(op) || !push_may_write(p))
			return push_leave(p);
		return op_await(op, CHANGED, push_change(p));
	case CHANGED:
		if (op_failed(op))
			return op_unwind(op, RELEASE);
		return op_await(op, KEPT, push_keep(p));
	case KEPT:
		if (op_failed(op) || op->cancelled || !push_is_led(p))
			return op_unwind(op, RELEASE);
		if (!p->absent)
			p->before = p->cur.digest;
		op_shield(op); /* from here on, see it through */
		return op_await(op, WRITTEN, push_put(p));
	case WRITTEN: /* a conflict may be our own first try; only a plain refusal is certain */
		p->put_ok = op->res.code == ERR_OK;
		if (!p->put_ok && op->res.code != ERR_UNCERTAIN && op->res.code != ERR_CONFLICT)
			return op_unwind(op, RELEASE);
		p->put_err = op->res;
		err_set(&op->err, op->res.code == ERR_CONFLICT ? ERR_CONFLICT : ERR_UNCERTAIN, op->res.detail,
		    "%s: written, not yet read back", p->name);
		if (p->e->hurried) { /* the lock is more urgent */
			p->uncertain = true;
			if (!p->put_ok)
				op->err = p->put_err;
			return op_unwind(op, RELEASE);
		}
		return op_await(op, READ_BACK, push_look(p));
	case READ_BACK: /* our bytes clear op->err; no answer stays uncertain; anything else is a conflict */
		if (!push_is_ours(p, &ask))
			return op_unwind(op, RELEASE);
		if (!ask)
			return op_await(op, SEALED, provider_seal(p->dst, &(struct state_ref){ p->name }, &p->next));
		p->meaning = (struct meaning){ .a = p->next.body, .b = p->cur.body, .want_semantic = true };
		return op_await(op, BACK_MEANT, meaning_run(p->e->work, &p->meaning));
	case BACK_MEANT:
		return push_back_meant(p);
	case SEALED: /* a failure leaves its intent open */
		p->uncertain = op_failed(op);
		return op_unwind(op, RELEASE);
	case RELEASE:
		return op_await(op, RELEASED, push_unlock(p));
	case RELEASED:
		push_note_lock_left(p);
		__attribute__((fallthrough));
	case SETTLE:
		push_give_turn(p);
		if (p->dry) {
			p->kind->settle(p, NULL);
			return op_finish(op);
		}
		return op_await(op, SETTLED, store_apply(p->e->store, push_result_batch(p)));
	case SETTLED: /* op->err, else the commit's own error */
		return op_finish(op);
	}
	return OP_DONE;
}

void
push_hurry(struct push *p)
{
	if (p->op.state == LOOKED || p->op.state == WRITTEN || p->op.state == READ_BACK)
		op_cancel(p->op.child);
}

static const struct op_class push_class = { "push", push_step, NULL, push_free, push_states, ARRAY_LEN(push_states) };

struct push *
push_new(struct engine *e, const struct push_kind *kind, struct backend *dst, const char *name)
{
	struct push *p = xcalloc(1, sizeof(*p));

	op_init(&p->op, &push_class, e->loop);
	p->kind = kind;
	p->e = e;
	p->dst = dst;
	p->edge = "";
	p->op.about = p->name = xstrdup(name);
	return p;
}
