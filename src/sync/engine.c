/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "base/encode.h"
#include "push.h"

/*
 * When things happen: lanes whose entries are due, intents that are due again, and the beginning and end of everything; place.c has when
 * a backend is looked at. What happens then is in look.c, drain.c and recover.c.
 */

/* --- journal --- */

void
engine_event(struct batch *b, struct engine *e, const char *kind, const char *backend, const char *name, const char *edge,
    const char *fmt, ...)
{
	char             text[512];
	struct event_rec ev = { .time = loop_wall(e->loop), .kind = kind, .backend = backend != NULL ? backend : "",
		.name = name != NULL ? name : "", .edge = edge, .text = text };
	va_list          ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	batch_event(b, &ev);
}

static void
engine_forget_op(struct op *op, void *arg)
{
	(void)arg;
	if (op->err.code != ERR_OK)
		log_at(LOG_ERROR, "store", "%s", op->err.msg);
	op_free(op);
}

/* A record that nobody waits for. */
void
engine_note(struct engine *e, struct batch *b)
{
	op_start(store_apply(e->store, b), engine_forget_op, NULL);
}

/* --- lanes --- */

static bool
track_first_due(void *arg, const struct queue_rec *q)
{
	*(int64_t *)arg = q->due;
	return false;
}

static void track_drained(struct op *op, void *arg);
static void track_kick(struct track *t);

/* What was done under the lease has ended. */
static void
track_rested(struct track *t)
{
	track_lease_rested(t);
	track_kick(t);
}

static void
track_inherited(struct op *op, void *arg)
{
	op_free(op);
	track_rested(arg);
}

static void
track_kick(struct track *t)
{
	struct engine    *e = t->engine;
	struct store_txn *txn;
	int64_t           due = -1, wait;
	bool              ours = track_is_ours(t);

	if (!e->started || e->stopping || e->passes > 0 || !engine_acts(e))
		return;
	if (ours && inherit_is_due(t))
		op_start(inherit_op(t), track_inherited, t);
	if (t->drain != NULL) {
		t->again = true;
		if (ours && t->follows) /* there is more to do now */
			op_cancel(t->drain);
		return;
	}
	if (!ours) {
		if (bits_next(&t->unread, 0) != 0)
			op_start(drain_follow_op(e, t), track_drained, t);
		return;
	}
	if (store_read(e->store, &txn, NULL) != ERR_OK)
		return;
	store_queue(txn, t->lane->edge->name, t->lane->to->label, track_first_due, &due);
	store_end(txn);
	if (due < 0)
		return;
	wait = due - loop_wall(e->loop);
	if (wait < t->hold_until - loop_now(e->loop))
		wait = t->hold_until - loop_now(e->loop);
	timer_set(&t->due, wait < 0 ? 0 : wait);
}

static void
track_drained(struct op *op, void *arg)
{
	struct track *t = arg;

	op_free(op);
	t->again = false;
	track_rested(t);
}

static void
track_due(void *arg)
{
	struct track *t = arg;

	if (t->drain == NULL && t->engine->started && !t->engine->stopping && t->engine->passes == 0)
		op_start(drain_op(t->engine, t, NULL), track_drained, t);
}

void
engine_enqueue(struct engine *e, struct batch *b, const struct backend *from, const char *name)
{
	struct buf target;
	struct err err;

	for (size_t i = 0; i < e->plan->nlanes; i++) {
		struct lane     *l = e->tracks[i].lane;
		struct queue_rec q = { .due = loop_wall(e->loop), .edge = l->edge->name, .target = l->to->label };

		if (l->edge->from != from)
			continue;
		buf_init(&target, 0);
		batch_for(b, from->label, name);
		if (lane_map(e->plan, l, name, &target, &err) == MAP_YES)
			batch_enqueue(b, &q);
		buf_free(&target);
	}
}

void
engine_kick(struct engine *e, const struct backend *from)
{
	for (size_t i = 0; i < e->plan->nlanes; i++)
		if (from == NULL || e->tracks[i].lane->edge->from == from || e->tracks[i].lane->to == from)
			track_kick(&e->tracks[i]);
}

/* --- recovery --- */

static void engine_recover(void *arg);

struct engine_recovery {
	struct engine *e;
	int64_t        next;
};

static void
engine_recovered(struct op *op, void *arg)
{
	struct engine_recovery *r = arg;
	struct engine          *e = r->e;

	op_free(op);
	if (e->started && !e->stopping) {
		if (map_count(e->met) > 0)
			timer_sooner(&e->recover_due, RETRY_MIN_MS);
		if (r->next != 0)
			timer_sooner(&e->recover_due, r->next > engine_steady(e) ? r->next - engine_steady(e) : RETRY_MIN_MS);
		engine_kick(e, NULL);
	}
	free(r);
}

static void
engine_recover_some(struct engine *e, bool all)
{
	struct engine_recovery *r;

	if (e->recover != NULL || !engine_acts(e))
		return;
	if (e->passes > 0) { /* a pass recovers by itself */
		timer_sooner(&e->recover_due, RETRY_MIN_MS);
		return;
	}
	r = xcalloc(1, sizeof(*r));
	r->e = e;
	e->recover = recover_op(e, all, &r->next);
	op_start(e->recover, engine_recovered, r);
}

static void
engine_recover(void *arg)
{
	engine_recover_some(arg, false);
}

void
engine_recover_soon(struct engine *e)
{
	e->open_intents = true;
	if (e->started && !e->stopping && e->recover == NULL)
		timer_sooner(&e->recover_due, RETRY_MIN_MS);
}

static struct span
engine_live_key(uint64_t intent, uint8_t key[8])
{
	be64_put(key, intent);
	return span_of(key, 8);
}

void
engine_live(struct engine *e, uint64_t intent, struct push *runs)
{
	uint8_t key[8];

	if (runs != NULL)
		map_put(e->live, engine_live_key(intent, key), runs);
	else
		map_del(e->live, engine_live_key(intent, key));
}

void
engine_live_alone(struct engine *e, uint64_t intent)
{
	uint8_t key[8];

	map_put(e->live, engine_live_key(intent, key), e);
}

const struct push *
engine_live_other(const struct engine *e, const struct backend *dst, const char *name, uint64_t state)
{
	void *live;

	for (size_t i = 0; map_next(e->live, &i, NULL, &live);) {
		const struct push *p = live != e ? live : NULL;

		if (p != NULL && p->state != state && p->lane != NULL && p->dst == dst && strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

bool
engine_live_in(const struct engine *e, const struct lane *l)
{
	void *live;

	for (size_t i = 0; map_next(e->live, &i, NULL, &live);)
		if (live != e && ((const struct push *)live)->lane == l)
			return true;
	return false;
}

bool
engine_is_live(const struct engine *e, uint64_t intent)
{
	uint8_t key[8];

	return map_get(e->live, engine_live_key(intent, key)) != NULL;
}

void
engine_recover_met(struct engine *e, uint64_t intent)
{
	uint8_t key[8];

	map_put(e->met, engine_live_key(intent, key), e);
	engine_recover_soon(e);
}

bool
engine_was_met(struct engine *e, uint64_t intent)
{
	uint8_t key[8];

	return map_del(e->met, engine_live_key(intent, key)) != NULL;
}

/* --- life --- */

static void
engine_build(struct engine *e)
{
	struct store_txn *t;
	struct plan      *plan = e->plan;
	bool              read = store_read(e->store, &t, NULL) == ERR_OK;
	size_t            n = 0;

	e->places = xcalloc(plan->nbackends + 1, sizeof(*e->places));
	e->tracks = xcalloc(plan->nlanes + 1, sizeof(*e->tracks));
	for (size_t i = 0; i < plan->nbackends; i++)
		place_init(&e->places[i], e, i, read ? t : NULL);
	for (size_t i = 0; i < plan->nedges; i++) {
		for (size_t j = 0; j < plan->edges[i].nlanes; j++, n++) {
			struct track *track = &e->tracks[plan->edges[i].lanes[j].index];

			track->engine = e;
			track->lane = &plan->edges[i].lanes[j];
			timer_init(&track->due, e->loop, track_due, track);
			engine_place(e, track->lane->to)->target = true;
			track_lease_init(track);
		}
	}
	assert(n == plan->nlanes);
	if (read)
		store_end(t);
}

/* Where each label points is remembered, so that a change is noticed once something was read or written there. */
static void
engine_note_places(struct engine *e)
{
	struct batch     *b = NULL;
	struct store_txn *t;
	struct span       value;
	struct buf        key;

	if (!engine_acts(e) || store_read(e->store, &t, NULL) != ERR_OK)
		return;
	for (size_t i = 0; i < e->plan->nbackends; i++) {
		const struct place *p = &e->places[i];

		if (p->moved || (place_noted(p, t, "where", &value) && span_is(value, p->backend->where)))
			continue;
		place_key(&e->places[i], "where", &key);
		b = b != NULL ? b : batch_new(e->store);
		batch_meta(b, buf_str(&key), span_str(e->places[i].backend->where));
		buf_free(&key);
	}
	store_end(t);
	if (b != NULL)
		engine_note(e, b);
}

static void
engine_unbuild(struct engine *e)
{
	for (size_t i = 0; i < e->plan->nbackends; i++)
		place_free(&e->places[i]);
	for (size_t i = 0; i < e->plan->nlanes; i++) {
		timer_stop(&e->tracks[i].due);
		track_lease_free(&e->tracks[i]);
		bits_free(&e->tracks[i].present);
		bits_free(&e->tracks[i].unread);
		bits_free(&e->tracks[i].doubted);
		bits_free(&e->tracks[i].locked);
		bits_free(&e->tracks[i].judged);
		bits_free(&e->tracks[i].left);
	}
	free(e->places);
	free(e->tracks);
	plan_free(e->plan);
}

void
engine_replan(struct engine *e, struct plan *owned)
{
	struct lease **kept = leases_carry(e, owned);

	engine_unbuild(e);
	e->plan = owned;
	e->generation++;
	engine_build(e);
	leases_carried(e, kept);
	engine_note_places(e);
}

struct engine *
engine_new(const struct engine_conf *conf)
{
	struct engine *e = xcalloc(1, sizeof(*e));

	e->loop = conf->loop;
	e->work = conf->work;
	e->store = conf->store;
	e->plan = conf->plan;
	e->live = map_new();
	e->met = map_new();
	recover_clock_begin(e);
	timer_init(&e->recover_due, e->loop, engine_recover, e);
	engine_build(e);
	engine_note_places(e);
	return e;
}

void
engine_free(struct engine *e)
{
	if (e == NULL)
		return;
	assert(engine_idle(e));
	timer_stop(&e->recover_due);
	engine_unbuild(e);
	map_free(e->live);
	map_free(e->met);
	free(e);
}

uint64_t
engine_generation(const struct engine *e)
{
	return e->generation;
}

int64_t
engine_since(const struct engine *e)
{
	return e->since;
}

void
engine_start(struct engine *e)
{
	e->started = true;
	if (e->since == 0)
		e->since = loop_wall(e->loop);
	e->stopping = false;
	if (!engine_acts(e)) {
		log_at(LOG_WARN, "agent", "this store belongs to another host or a backup was put back: nothing is written; "
		    "if it shall be active here: stateferry adopt");
	}
	engine_recover_some(e, true);
	for (size_t i = 0; i < e->plan->nbackends; i++)
		place_start(&e->places[i]);
	leases_start(e);
	engine_kick(e, NULL);
}

void
engine_stop(struct engine *e)
{
	e->stopping = true;
	timer_stop(&e->recover_due);
	for (size_t i = 0; i < e->plan->nbackends; i++)
		place_stop(&e->places[i]);
	for (size_t i = 0; i < e->plan->nlanes; i++) {
		timer_stop(&e->tracks[i].due);
		op_cancel(e->tracks[i].drain);
		op_cancel(e->tracks[i].inherit);
	}
	op_cancel(e->recover);
	leases_leave(e);
}

void
engine_hurry(struct engine *e)
{
	void *push;

	e->hurried = true;
	for (size_t i = 0; map_next(e->live, &i, NULL, &push);)
		if (push != e)
			push_hurry(push);
}

bool
engine_idle(const struct engine *e)
{
	for (size_t i = 0; i < e->plan->nbackends; i++)
		if (e->places[i].look != NULL)
			return false;
	for (size_t i = 0; i < e->plan->nlanes; i++)
		if (e->tracks[i].drain != NULL || e->tracks[i].inherit != NULL)
			return false;
	return e->recover == NULL && e->passes == 0 && e->held == 0 && leases_idle(e);
}

struct plan *
engine_plan(struct engine *e)
{
	return e->plan;
}

struct store *
engine_store(struct engine *e)
{
	return e->store;
}

struct loop *
engine_loop(struct engine *e)
{
	return e->loop;
}

struct work *
engine_work(struct engine *e)
{
	return e->work;
}

const struct engine_counters *
engine_counters(const struct engine *e)
{
	return &e->counters;
}
