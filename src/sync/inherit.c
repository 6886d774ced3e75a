/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/*
 * Locks that an earlier holder of a lane's lease left at the target: terraform there waits for them, and their holder may never come back.
 * The next push of such a state releases its lock by the ID and sees to what was cut off under it (push.c), also where nothing is to be
 * written. Which states these are, listings that show locks tell; elsewhere each state of the lane is asked for, after a take-over from an
 * agent that did not hand the lease over, and once more when none of its requests can still be on the way. A protocol that cannot show a
 * lock tells of one by a refusal: there every state is pushed.
 */
#define INHERIT_LATE_MS   ((int64_t)26 * 60 * 1000) /* as long as an intent of ours is looked after: see recover.c */
#define INHERIT_JUDGED_MS ((int64_t)10 * 60 * 1000) /* then a lock that stays is looked at again: it may be another by now */
#define INHERIT_AGAIN_MS  60000                     /* after a lock that could not be read */
#define INHERIT_PEEKS     4                         /* at once */

static bool
inherit_lists(const struct track *t)
{
	return (provider_caps(t->lane->to) & (PROVIDER_LIST | PROVIDER_LOCK_UNLISTED)) == PROVIDER_LIST && provider_shows_locks(t->lane->to);
}

/* Of push_make_lock(): "VERB EDGE to TARGET, epoch N; ...". Whoever took it has lost the lease since, and what it may still send is
 * refused by its precondition. Edges and labels of another fleet may be called the same: that it held this lease its lock's id tells. */
bool
inherit_is_left(const struct track *t, const struct lock_info *holder)
{
	const char *info = strchr(holder->info, ' ');
	char       *what;
	size_t      n;
	bool        left;

	if (t->lease == NULL || info == NULL || !lock_info_is_ours(holder) || (provider_caps(t->lane->to) & PROVIDER_LOCK_ID) == 0)
		return false;
	what = xasprintf(" %s to %s, epoch ", t->lane->edge->name, t->lane->to->label);
	n = strlen(what);
	left = strncmp(info, what, n) == 0 && strtoull(info + n, NULL, 10) < lease_epoch(t->lease) &&
	    lease_was_of(t->lease, holder->id);
	free(what);
	return left;
}

void
inherit_begin(struct track *t, bool handed_over)
{
	bits_free(&t->judged);
	t->inherit_all = !handed_over && !inherit_lists(t) && (provider_caps(t->lane->to) & PROVIDER_LOCK) != 0;
	t->inherit_late = false;
	t->inherit_due = loop_now(t->engine->loop);
	if (!handed_over)
		place_wake(engine_place(t->engine, t->lane->to));
}

void
inherit_see(struct track *t, uint64_t state, bool locked)
{
	if (t->lease == NULL || !inherit_lists(t))
		return;
	if (loop_now(t->engine->loop) >= t->judged_until) {
		bits_free(&t->judged);
		t->judged_until = loop_now(t->engine->loop) + INHERIT_JUDGED_MS;
	}
	if (locked && !bits_get(&t->judged, state))
		bits_set(&t->locked, state);
	if (locked)
		return;
	bits_clear(&t->locked, state);
	bits_clear(&t->judged, state);
}

bool
inherit_is_due(const struct track *t)
{
	if (t->lease == NULL || t->inherit != NULL || t->lane->edge->kind != EDGE_REPLICATE || lease_epoch(t->lease) <= 1 || track_closed(t))
		return false;
	return inherit_lists(t) ? bits_next(&t->locked, 0) != 0 : t->inherit_all && loop_now(t->engine->loop) >= t->inherit_due;
}

/* --- one lock --- */

struct inherit_one {
	struct op        op;
	struct track    *t;
	uint64_t         state;
	char            *name;         /* at the target; NULL: the lane does not carry it */
	struct lock_info holder;
};

enum inherit_one_state { ONE_START, ONE_PEEKED, ONE_QUEUED };

static const char *const inherit_one_states[] = { "start", "peeked", "queued" };

static void
inherit_one_free(struct op *op)
{
	struct inherit_one *o = container_of(op, struct inherit_one, op);

	free(o->name);
	free(o);
}

static void
inherit_enqueue(struct track *t, struct batch *b, uint64_t state)
{
	struct queue_rec q = { .due = loop_wall(t->engine->loop), .edge = t->lane->edge->name, .target = t->lane->to->label, .state = state };

	bits_set(&t->left, state);
	batch_enqueue(b, &q);
}

static enum op_turn
inherit_one_step(struct op *op)
{
	struct inherit_one *o = container_of(op, struct inherit_one, op);
	struct batch       *b;

	switch ((enum inherit_one_state)op->state) {
	case ONE_START:
		return o->name == NULL ? op_ok(op) :
		    op_await(op, ONE_PEEKED, provider_lock_peek(o->t->lane->to, &(struct state_ref){ o->name }, &o->holder));
	case ONE_PEEKED:
		if (op_failed(op) && op->res.code != ERR_NOT_FOUND)
			return op_fail(op);
		if (op_failed(op) || !inherit_is_left(o->t, &o->holder)) {
			bits_set(&o->t->judged, o->state);
			return op_ok(op);
		}
		b = batch_new(o->t->engine->store);
		inherit_enqueue(o->t, b, o->state);
		return op_await(op, ONE_QUEUED, store_apply(o->t->engine->store, b));
	case ONE_QUEUED:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class inherit_one_class = { "left lock", inherit_one_step, NULL, inherit_one_free, inherit_one_states,
	ARRAY_LEN(inherit_one_states) };

/* --- all of a lane --- */

struct inherit {
	struct op     op;
	struct track *t;
	uint64_t      after;           /* the state that was looked up last */
	bool          all;
	bool          failed;
};

enum inherit_state { START, ENDED };

static const char *const inherit_states[] = { "start", "ended" };

struct inherit_walk {
	struct inherit *i;
	struct batch   *b;             /* NULL: locks can be read */
	unsigned        n;
	uint64_t        last;
};

static char *
inherit_name(const struct track *t, const char *state)
{
	struct buf name;
	struct err e;

	buf_init(&name, 0);
	if (lane_map(t->engine->plan, t->lane, state, &name, &e) == MAP_YES)
		return buf_take(&name);
	buf_free(&name);
	return NULL;
}

static bool
inherit_visit(void *arg, const struct state_rec *r)
{
	struct inherit_walk *w = arg;
	struct track        *t = w->i->t;
	char                *name = r->head != 0 ? inherit_name(t, r->name) : NULL;

	w->last = r->id;
	if (name != NULL && w->b != NULL)
		inherit_enqueue(t, w->b, r->id);
	else if (name != NULL)
		bits_set(&t->locked, r->id);
	free(name);
	return ++w->n < SWEEP_CHUNK;
}

/* The next of its states, where no listing tells which ones are locked. */
static struct op *
inherit_walk(struct inherit *i)
{
	struct engine      *e = i->t->engine;
	struct inherit_walk w = { .i = i };
	struct store_txn   *txn;
	struct err          err;

	if (store_read(e->store, &txn, &err) != ERR_OK)
		return op_result(e->loop, &err);
	w.b = provider_shows_locks(i->t->lane->to) ? NULL : batch_new(e->store);
	store_states(txn, i->t->lane->edge->from->label, i->after, inherit_visit, &w);
	store_end(txn);
	i->after = w.last;
	i->all = w.n == SWEEP_CHUNK;
	return w.b != NULL ? store_apply(e->store, w.b) : op_sleep(e->loop, 0);
}

static struct op *
inherit_next(void *arg)
{
	struct inherit     *i = arg;
	struct inherit_one *o;
	struct store_txn   *txn;
	struct state_rec    s;
	uint64_t            state = bits_next(&i->t->locked, 0);

	if (state == 0 || i->op.cancelled || !track_is_ours(i->t))
		return NULL;
	bits_clear(&i->t->locked, state);
	o = xcalloc(1, sizeof(*o));
	op_init(&o->op, &inherit_one_class, i->op.loop);
	o->t = i->t;
	o->state = state;
	if (store_read(i->t->engine->store, &txn, NULL) == ERR_OK) {
		if (store_state_by_id(txn, state, &s))
			o->name = inherit_name(i->t, s.name);
		store_end(txn);
	}
	return &o->op;
}

/* The next listing, or walk, tells of it again. */
static void
inherit_one_ended(struct op *op, void *arg)
{
	struct inherit *i = arg;

	if (op->err.code == ERR_OK || op->err.code == ERR_CANCELLED)
		return;
	i->failed = true;
	log_at(LOG_WARN, i->t->lane->edge->name, "a lock that an earlier holder of the lease may have left: %s", op->err.msg);
}

static enum op_turn
inherit_step(struct op *op)
{
	struct inherit *i = container_of(op, struct inherit, op);
	struct track   *t = i->t;

	switch ((enum inherit_state)op->state) {
	case START:
		if (op_failed(op))
			return op_fail(op);
		if (i->all)
			return op_await(op, START, inherit_walk(i));
		return op_await(op, ENDED, provider_shows_locks(t->lane->to) ?
		    op_each_of(op->loop, inherit_next, inherit_one_ended, i, INHERIT_PEEKS) : NULL);
	case ENDED:
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		if (t->inherit_all && !i->failed) {
			t->inherit_all = !t->inherit_late;
			t->inherit_late = true;
			t->inherit_due += INHERIT_LATE_MS - INHERIT_AGAIN_MS;
		}
		return op_ok(op);
	}
	return OP_DONE;
}

static void
inherit_free(struct op *op)
{
	struct inherit *i = container_of(op, struct inherit, op);

	i->t->inherit = NULL;
	free(i);
}

static const struct op_class inherit_class = { "left locks", inherit_step, NULL, inherit_free, inherit_states, ARRAY_LEN(inherit_states) };

struct op *
inherit_op(struct track *t)
{
	struct inherit *i = xcalloc(1, sizeof(*i));

	op_init(&i->op, &inherit_class, t->engine->loop);
	i->op.about = t->lane->edge->name;
	i->op.tally = &t->requests;
	i->t = t;
	i->all = t->inherit_all;
	t->inherit_due = loop_now(t->engine->loop) + INHERIT_AGAIN_MS; /* unless it all goes well */
	return t->inherit = &i->op;
}

struct op *
inherit_lanes_op(struct engine *e, const struct pass *pass)
{
	struct op **ops = xcalloc(e->plan->nlanes + 1, sizeof(*ops)), *all;

	for (size_t i = 0; i < e->plan->nlanes; i++) {
		struct track *t = &e->tracks[i];

		if (pass_has_edge(pass, t->lane->edge) && track_is_ours(t) && inherit_is_due(t))
			ops[i] = inherit_op(t);
	}
	all = op_all(e->loop, ops, e->plan->nlanes, 0, NULL);
	free(ops);
	return all;
}

bool
inherit_by_push(struct track *t, uint64_t state)
{
	bool left = bits_get(&t->left, state);

	bits_clear(&t->left, state);
	return left;
}
