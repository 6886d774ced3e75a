/* SPDX-License-Identifier: MIT */
#include "push_impl.h"

#include <assert.h>
#include <stdlib.h>

/*
 * The push path: a head, or a version that is being restored, on its way to a backend. Read the switch in push_step()
 * from top to bottom; what makes it safe is said at each case.
 */
enum push_state { START, EXPECTED, LOADED, PEEKED, PEEK_MEANT, PEEK_CHANGED, INTENT, PROVEN, INTENDED, ADMITTED, INHERITED, LOCKED,
	GIVEN_BACK, RENEWED, LOOKED, LOOK_MEANT, CHANGED, KEPT, WRITTEN, READ_BACK, BACK_MEANT, SEALED, RELEASE, RELEASED, SETTLE, SETTLED };

static const char *const push_states[] = { "start", "expected", "loaded", "peeked", "compared", "changed", "intent", "proven", "intended",
	"admitted", "inherited", "locked", "given back", "renewed", "looked", "compared", "changed", "kept", "written", "read back", "compared",
	"sealed", "release", "released", "settle", "settled" };

const char *
push_doing(const struct op *op)
{
	static const char *const doing[] = { "starting", "asking the backend", "reading the store", "looking at what is there", "comparing",
		"raising the serial", "probing the backend", "probing the backend", "noting what is to come", "waiting for its turn", "locking",
		"locking", "locking", "locking", "looking at what is there", "comparing", "raising the serial", "keeping what is there", "writing",
		"reading back", "comparing", "completing the write", "unlocking", "unlocking", "noting what came of it", "noting what came of it" };

	_Static_assert(ARRAY_LEN(doing) == SETTLED + 1, "a word for each wait");
	return doing[op->state];
}

static void
push_free(struct op *op)
{
	struct push *p = container_of(op, struct push, op);

	if (p->kind->free != NULL)
		p->kind->free(p);
	if (p->intent != 0)
		engine_live(p->e, p->intent, NULL);
	if (p->lane != NULL)
		track_lease_rested(engine_track(p->e, p->lane));
	push_give_turn(p);
	snapshot_free(&p->next);
	snapshot_free(&p->cur);
	body_unref(p->next_body);
	free(p->backend);
	free(p->source);
	free(p->name);
	free(p);
}

static struct op *
push_change(struct push *p)
{
	return p->kind->change != NULL ? p->kind->change(p) : NULL;
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

/* --- what follows a wait, where that takes more than a few lines --- */

/* The bytes are there, or on their way into memory. */
static enum op_turn
push_loaded(struct push *p)
{
	struct op *op = &p->op;

	if (op_failed(op))
		return op_unwind(op, SETTLE);
	if (p->next.body == NULL)
		return op_await(op, LOADED, snapshot_read(p->e->work, &p->next, p->next_body));
	if (!p->prelook)
		return op_go(op, INTENT);
	return op_await(op, PEEKED, push_look(p));
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
push_peeked(struct push *p)
{
	struct op *op = &p->op;

	if (!push_seen(p) && (op->res.code != ERR_CORRUPT || push_lease(p) == NULL || p->dry || p->follow))
		return op_unwind(op, SETTLE);
	if (op_failed(op)) /* the lock may tell who was cut off */
		return op_go(op, INTENT);
	if (push_needs_meaning(p))
		return op_await(op, PEEK_MEANT, meaning_run(p->e->work, &p->meaning));
	return push_decide(p);
}

/* An earlier request for the same lock may still be under way. */
static enum op_turn
push_locked(struct push *p)
{
	struct op *op = &p->op;

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
}

/* Under the lock, with nothing to write: a write of ours that was cut off before its sidecar is completed. */
static enum op_turn
push_leave(struct push *p)
{
	struct op *op = &p->op;

	if (!p->unsealed || op_failed(op))
		return op_unwind(op, RELEASE);
	op_shield(op);
	return op_await(op, SEALED, push_seal(p, &p->cur));
}

static enum op_turn
push_written(struct push *p)
{
	struct op *op = &p->op;

	p->put_ok = op->res.code == ERR_OK;
	if (!p->put_ok && op->res.code != ERR_UNCERTAIN && op->res.code != ERR_CONFLICT)
		return op_unwind(op, RELEASE);
	p->put_err = op->res;
	err_set(&op->err, op->res.code == ERR_CONFLICT ? ERR_CONFLICT : ERR_UNCERTAIN, op->res.detail, "%s: written, not yet read back", p->name);
	if (p->e->hurried) { /* the lock is more urgent */
		p->uncertain = true;
		if (!p->put_ok)
			op->err = p->put_err;
		return op_unwind(op, RELEASE);
	}
	return op_await(op, READ_BACK, push_look(p));
}

static enum op_turn
push_read_back(struct push *p)
{
	struct op *op = &p->op;
	bool       ask;

	if (!push_is_ours(p, &ask))
		return op_unwind(op, RELEASE);
	if (!ask)
		return op_await(op, SEALED, push_seal(p, &p->next));
	p->meaning = (struct meaning){ .a = p->next.body, .b = p->cur.body, .want_semantic = true };
	return op_await(op, BACK_MEANT, meaning_run(p->e->work, &p->meaning));
}

static enum op_turn
push_settle(struct push *p)
{
	push_give_turn(p);
	if (!p->dry)
		return op_await(&p->op, SETTLED, store_apply(p->e->store, push_result_batch(p)));
	p->kind->settle(p, NULL);
	return op_finish(&p->op);
}

static enum op_turn
push_step(struct op *op)
{
	struct push *p = container_of(op, struct push, op);

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
		return push_loaded(p);
	case PEEKED: /* without a lock: enough to find it current or held, never to write */
		return push_peeked(p);
	case PEEK_MEANT:
		return op_failed(op) ? op_unwind(op, SETTLE) : push_decide(p);
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
		return push_locks(p) ? op_await(op, LOCKED, push_lock(p)) : op_await(op, LOOKED, push_look(p));
	case INHERITED: /* by an earlier holder of our lease, who is gone: its id was compared */
		if (op_failed(op)) {
			op->res = p->put_err;
			return op_unwind(op, SETTLE);
		}
		return op_await(op, LOCKED, push_lock(p));
	case LOCKED: /* held by others, or in doubt: no state was touched */
		return push_locked(p);
	case GIVEN_BACK: /* one that may come to be once more: another one is taken */
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
		return op_await(op, LOCKED, push_lock(p));
	case LOOKED: /* absent, older, same, newer, forked? */
		if (!push_seen(p))
			return op_unwind(op, RELEASE);
		if (push_needs_meaning(p))
			return op_await(op, LOOK_MEANT, meaning_run(p->e->work, &p->meaning));
		return push_may_write(p) ? op_await(op, CHANGED, push_change(p)) : push_leave(p);
	case LOOK_MEANT:
		return !op_failed(op) && push_may_write(p) ? op_await(op, CHANGED, push_change(p)) : push_leave(p);
	case CHANGED:
		return op_failed(op) ? op_unwind(op, RELEASE) : op_await(op, KEPT, push_keep(p));
	case KEPT:
		if (op_failed(op) || op->cancelled || !push_is_led(p))
			return op_unwind(op, RELEASE);
		if (!p->absent)
			p->before = p->cur.digest;
		op_shield(op); /* from here on, see it through */
		return op_await(op, WRITTEN, push_put(p));
	case WRITTEN: /* a conflict may be our own first try; only a plain refusal is certain */
		return push_written(p);
	case READ_BACK: /* our bytes clear op->err; no answer stays uncertain; anything else is a conflict */
		return push_read_back(p);
	case BACK_MEANT: /* a server that stores its own formatting */
		return push_is_ours_by_meaning(p) ? op_await(op, SEALED, push_seal(p, &p->next)) : op_unwind(op, RELEASE);
	case SEALED: /* a failure leaves its intent open */
		p->uncertain = op_failed(op);
		return op_unwind(op, RELEASE);
	case RELEASE:
		return op_await(op, RELEASED, push_unlock(p));
	case RELEASED:
		push_note_lock_left(p);
		return push_settle(p);
	case SETTLE: /* replica, queue entry and intent in one commit */
		return push_settle(p);
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
