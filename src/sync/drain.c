/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/*
 * The queue entries of one lane, a few at a time and in order of due. A target that fails by itself closes its lane for a
 * while instead of being asked once for every state; locks that others hold are waited for in the queue, so that
 * no slot is blocked by them.
 */
enum drain_state { START, EMPTIED, WAITED };

static const char *const drain_states[] = { "start", "emptied", "waited" };

struct drain {
	struct op      op;
	struct engine *e;
	struct track  *track;
	struct pass   *pass;       /* NULL: the agent's own, due entries only */
	bool           follow;     /* another agent's lane: reads alone */
	struct bits    tried;      /* pass: each state once, and again while it waits for a lock */
	int64_t        began;      /* pass: wall ms; it waits for each lock as long as lock_timeout says, however long others have */
	int64_t        lock_due;   /* pass: when the first waiting entry is tried again; 0: none */
};

static void
drain_free(struct op *op)
{
	struct drain *d = container_of(op, struct drain, op);

	if (d->track->drain == op) {
		d->track->drain = NULL;
		d->track->follows = false;
	}
	bits_free(&d->tried);
	free(d);
}

/* --- choosing --- */

struct drain_pick {
	struct drain *d;
	int64_t       now;
	uint64_t      state;       /* 0: none found */
};

static bool
drain_pick_one(void *arg, const struct queue_rec *q)
{
	struct drain_pick *p = arg;
	struct drain      *d = p->d;

	if (d->pass == NULL && q->due > p->now)
		return false;
	if (bits_get(&d->tried, q->state))
		return true;
	p->state = q->state;
	return false;
}

static uint64_t
drain_next_state(struct drain *d)
{
	struct drain_pick p = { .d = d, .now = loop_wall(d->e->loop) };
	struct store_txn *t;

	if (store_read(d->e->store, &t, NULL) != ERR_OK)
		return 0;
	store_queue(t, d->track->lane->edge->name, d->track->lane->to->label, drain_pick_one, &p);
	store_end(t);
	return p.state;
}

bool
track_closed(const struct track *t)
{
	return t->strikes >= LANE_STRIKES;
}

/* --- one after the other --- */

struct drain_child {
	struct op          op;
	struct drain      *d;
	uint64_t           state;
	uint64_t           bytes;  /* its share of what is on its way there */
	bool               left;   /* it may be there only for a lock: as a replica it is counted already */
	struct push_result result;
};

enum drain_child_state { CHILD_START, CHILD_ADMITTED, CHILD_DONE };

static enum op_turn
drain_child_step(struct op *op)
{
	struct drain_child *c = container_of(op, struct drain_child, op);
	struct lane        *l = c->d->track->lane;

	switch ((enum drain_child_state)op->state) {
	case CHILD_START:
		return op_await(op, CHILD_ADMITTED, quota_take(&engine_place(c->d->e, l->to)->writing, c->bytes));
	case CHILD_ADMITTED:
		if (op_failed(op)) {
			c->bytes = 0;
			return op_go(op, CHILD_DONE);
		}
		if (l->edge->kind == EDGE_SNAPSHOT)
			return op_await(op, CHILD_DONE, history_op(c->d->e, l, c->state, &c->result));
		return op_await(op, CHILD_DONE, push_op(c->d->e, l, c->state, &(struct push_options){ .follow = c->d->follow }, &c->result));
	case CHILD_DONE:
		quota_give(&engine_place(c->d->e, l->to)->writing, c->bytes);
		if (op_failed(op) && c->result.outcome != PUSH_HELD && c->result.outcome != PUSH_WAITING && c->result.err.code == ERR_OK) {
			c->result.outcome = op->res.code == ERR_CANCELLED ? PUSH_SKIPPED : PUSH_FAILED;
			c->result.err = op->res;
		}
		return op_ok(op);
	}
	return OP_DONE;
}

static void
drain_child_free(struct op *op)
{
	free(container_of(op, struct drain_child, op));
}

static const char *const drain_child_states[] = { "start", "admitted", "done" };
static const struct op_class drain_child_class = { "lane entry", drain_child_step, NULL, drain_child_free, drain_child_states,
	ARRAY_LEN(drain_child_states) };

/* Of its head. */
static uint64_t
drain_bytes(struct drain *d, uint64_t state)
{
	struct store_txn *t;
	struct state_rec  s;
	uint64_t          n = 0;

	if (store_read(d->e->store, &t, NULL) != ERR_OK)
		return n;
	if (store_state_by_id(t, state, &s))
		n = store_body_size(t, &s.head_digest);
	store_end(t);
	return n;
}

static uint64_t
drain_next_unread(struct drain *d)
{
	uint64_t state = bits_next(&d->track->unread, 0);

	bits_clear(&d->track->unread, state);
	return state;
}

static struct op *
drain_next(void *arg)
{
	struct drain       *d = arg;
	struct drain_child *c;
	uint64_t            state;

	if (d->op.cancelled || (track_closed(d->track) && !d->follow) || track_is_ours(d->track) == d->follow || (d->pass == NULL && d->e->passes > 0) ||
	    (state = d->follow ? drain_next_unread(d) : drain_next_state(d)) == 0)
		return NULL;
	bits_set(&d->tried, state);
	c = xcalloc(1, sizeof(*c));
	op_init(&c->op, &drain_child_class, d->e->loop);
	c->d = d;
	c->state = state;
	c->bytes = drain_bytes(d, state);
	c->left = bits_get(&d->track->left, state);
	return &c->op;
}

/* In a pass a held lock is waited for: the entry is tried again soon, until lock_timeout. Not in an agent, which neither looks nor
 * writes by itself while a pass is there: it goes on waiting after it. */
static bool
drain_waits(struct drain *d, const struct drain_child *c)
{
	struct store_txn *t;
	struct queue_rec  q;
	bool              wait = false;
	int64_t           now = loop_wall(d->e->loop), since, due;
	const char       *edge = d->track->lane->edge->name;

	if (c->result.outcome != PUSH_WAITING || d->pass == NULL || d->e->started || store_read(d->e->store, &t, NULL) != ERR_OK)
		return false;
	if (store_queued(t, edge, d->track->lane->to->label, c->state, &q) && q.waiting_since != 0) {
		since = q.waiting_since > d->began ? q.waiting_since : d->began;
		due = now + retry_lock_wait_ms(d->e, now - since);
		wait = due - since < d->track->lane->to->common.lock_timeout_ms;
		if (wait && (d->lock_due == 0 || due < d->lock_due))
			d->lock_due = due;
	}
	store_end(t);
	if (wait)
		bits_clear(&d->tried, c->state);
	return wait;
}

/* Longer from closing to closing, and at least what the target asked for. */
static void
track_close(struct track *t, const struct err *why)
{
	struct loop *l = t->engine->loop;
	int64_t      hold = LANE_HOLD_MIN_MS << (t->closings > LANE_HOLD_DOUBLINGS ? LANE_HOLD_DOUBLINGS : t->closings);

	hold = hold > LANE_HOLD_MAX_MS ? LANE_HOLD_MAX_MS : hold;
	if (hold < (int64_t)why->retry_after_ms)
		hold = why->retry_after_ms;
	t->closings++;
	t->closed = *why;
	t->hold_until = loop_now(l) + rand_jitter(loop_rand(l), hold, 20);
}

/* Those that were under way when it closed say nothing new by failing too. */
static void
drain_strike(struct drain *d, const struct push_result *r)
{
	struct track *t = d->track;

	if (r->outcome == PUSH_SKIPPED || r->outcome == PUSH_WAITING)
		return;
	if (r->target_down && t->strikes >= LANE_STRIKES)
		return;
	if (t->lease != NULL && (r->target_down || r->err.code == ERR_UNCERTAIN)) /* answers that do not come are of our way to the target */
		lease_failed(t->lease);
	else if (t->lease != NULL && r->outcome != PUSH_FAILED)
		lease_worked(t->lease);
	if (!r->target_down)
		t->strikes = t->closings = 0;
	else if (++t->strikes == LANE_STRIKES)
		track_close(t, &r->err);
}

/* A replica of the head is as it should be, maybe only now; but what the source holds may wait for a person. */
static void
drain_see_quarantine(struct drain *d, struct drain_child *c)
{
	struct store_txn *t;
	struct state_rec  s;

	if ((c->result.outcome != PUSH_CURRENT && c->result.outcome != PUSH_WRITTEN) || store_read(d->e->store, &t, NULL) != ERR_OK)
		return;
	if (store_state_by_id(t, c->state, &s) && look_is_quarantined(t, &s, &c->result.err))
		c->result.outcome = PUSH_HELD;
	store_end(t);
}

static void
drain_ended(struct op *op, void *arg)
{
	struct drain       *d = arg;
	struct drain_child *c = container_of(op, struct drain_child, op);

	if (d->follow)
		return;
	drain_strike(d, &c->result);
	if (drain_waits(d, c))
		return;
	if (c->left && c->result.outcome == PUSH_CURRENT)
		return;
	if (d->pass != NULL)
		drain_see_quarantine(d, c);
	if (d->pass != NULL && c->result.outcome != PUSH_SKIPPED)
		pass_replica(d->pass, d->track->lane, c->result.outcome, c->result.name, c->result.bytes, &c->result.err);
}

/* --- the end --- */

static bool
drain_count_left(void *arg, const struct queue_rec *q)
{
	struct drain *d = arg;

	if (!bits_get(&d->tried, q->state)) /* one problem of the edge, not one for each state */
		pass_replica(d->pass, d->track->lane, PUSH_FAILED, "", 0, &d->track->closed);
	return true;
}

/* What a closed lane did not even try has failed for the same reason. */
static void
drain_report_left(struct drain *d)
{
	struct store_txn *t;

	if (d->pass == NULL || !track_closed(d->track) || store_read(d->e->store, &t, NULL) != ERR_OK)
		return;
	store_queue(t, d->track->lane->edge->name, d->track->lane->to->label, drain_count_left, d);
	store_end(t);
}

static enum op_turn
drain_step(struct op *op)
{
	struct drain *d = container_of(op, struct drain, op);
	int64_t       wait;

	switch ((enum drain_state)op->state) {
	case START:
	case WAITED:
		if (op_failed(op))
			return op_fail(op);
		d->lock_due = 0;
		return op_await(op, EMPTIED, op_each_of(op->loop, drain_next, drain_ended, d, LANE_PUSHES));
	case EMPTIED:
		if (op_failed(op))
			return op_fail(op);
		if (d->lock_due != 0 && !track_closed(d->track)) {
			wait = d->lock_due - loop_wall(op->loop);
			return op_await(op, WAITED, op_sleep(op->loop, wait < 1 ? 1 : wait));
		}
		drain_report_left(d);
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class drain_class = { "lane", drain_step, NULL, drain_free, drain_states, ARRAY_LEN(drain_states) };

struct op *
drain_op(struct engine *e, struct track *t, struct pass *pass)
{
	struct drain *d = xcalloc(1, sizeof(*d));
	struct place *to = engine_place(e, t->lane->to);

	op_init(&d->op, &drain_class, e->loop);
	d->op.tally = &t->requests;
	d->e = e;
	d->track = t;
	d->op.about = t->lane->edge->name;
	d->pass = pass;
	d->began = loop_wall(e->loop);
	if (pass != NULL || loop_now(e->loop) >= t->hold_until) /* a pass does not care about earlier trouble */
		t->strikes = pass != NULL ? 0 : t->strikes >= LANE_STRIKES ? LANE_STRIKES - 1 : t->strikes;
	if (pass != NULL && to->failing && retry_target_down(to, to->why.code)) { /* the pass has just asked it for its list */
		t->strikes = LANE_STRIKES;
		t->closed = to->why;
	}
	t->drain = &d->op;
	return &d->op;
}

struct op *
drain_follow_op(struct engine *e, struct track *t)
{
	struct op *op = drain_op(e, t, NULL);

	container_of(op, struct drain, op)->follow = t->follows = true;
	return op;
}
