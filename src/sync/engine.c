/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "base/encode.h"
#include "core.h"

/*
 * When things happen: polling and notices of sources, lanes whose entries are due, intents that are due again, reload.
 * What happens then is in look.c, drain.c and recover.c.
 */

/* --- bits --- */

bool
bits_get(const struct bits *b, uint64_t id)
{
	return id / 8 < b->n && (b->p[id / 8] >> (id % 8) & 1) != 0;
}

void
bits_set(struct bits *b, uint64_t id)
{
	size_t need = (size_t)(id / 8) + 1;

	if (need > b->n) {
		size_t n = need < 64 ? 64 : 2 * need;

		b->p = xrealloc(b->p, n);
		memset(b->p + b->n, 0, n - b->n);
		b->n = n;
	}
	b->p[id / 8] = (uint8_t)(b->p[id / 8] | 1 << (id % 8));
}

void
bits_clear(struct bits *b, uint64_t id)
{
	if (id / 8 < b->n)
		b->p[id / 8] = (uint8_t)(b->p[id / 8] & ~(1 << (id % 8)));
}

void
bits_free(struct bits *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

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
static void
engine_note(struct engine *e, struct batch *b)
{
	op_start(store_apply(e->store, b), engine_forget_op, NULL);
}

/* --- health of backends, kept in the store so that cron jobs can tell of the last one's trouble --- */

void
place_key(const struct place *p, const char *what, struct buf *ret)
{
	buf_init(ret, 0);
	buf_printf(ret, "%s/%s", what, p->backend->label);
}

static void
place_save(struct place *p)
{
	struct batch *b = batch_new(p->engine->store);
	struct buf    key, value;

	buf_init(&value, 0);
	buf_printf(&value, "%d %d %lld %lld %s\n%s", p->failing ? (int)p->why.code : 0, p->why.detail, (long long)p->since,
	    (long long)p->last_ok, p->failing ? p->why.msg : "", p->failing ? p->why.hint : "");
	place_key(p, "health", &key);
	batch_meta(b, buf_str(&key), buf_span(&value));
	if (p->failing)
		engine_event(b, p->engine, "unreachable", p->backend->label, "", "", "%s", p->why.msg);
	else
		engine_event(b, p->engine, "reachable", p->backend->label, "", "", "answers again");
	engine_note(p->engine, b);
	buf_free(&key);
	buf_free(&value);
}

static void
place_recall_health(struct place *p, struct span value)
{
	char     *text = span_dup(value), *msg, *hint;
	int       code = 0, detail = 0, used = 0;
	long long since = 0, ok = 0;

	/* NOLINTNEXTLINE(cert-err34-c): we wrote these numbers */
	if (sscanf(text, "%d %d %lld %lld %n", &code, &detail, &since, &ok, &used) == 4 && code > 0 && code <= ERR_IO) {
		msg = text + used;
		hint = strchr(msg, '\n');
		if (hint != NULL)
			*hint++ = '\0';
		err_set(&p->why, (enum err_code)code, detail, "%s", msg);
		if (hint != NULL)
			err_hint(&p->why, "%s", hint);
		p->failing = true;
		p->since = since;
	}
	p->last_ok = ok;
	free(text);
}

/* The store may be what is in trouble: then it is known until this process ends. */
static void
place_note(struct place *p, const char *what, const struct buf *value)
{
	struct batch *b;
	struct buf    key;

	if (!engine_acts(p->engine))
		return;
	b = batch_new(p->engine->store);
	place_key(p, what, &key);
	batch_meta(b, buf_str(&key), buf_span(value));
	engine_note(p->engine, b);
	buf_free(&key);
}

void
place_refused(struct place *p, uint64_t n, const char *why)
{
	struct buf value;

	if (p->refused == n && (n == 0 || strcmp(p->refused_why, why) == 0))
		return;
	p->refused = n;
	snprintf(p->refused_why, sizeof(p->refused_why), "%s", n > 0 ? why : "");
	buf_init(&value, 0);
	buf_printf(&value, "%llu %s", (unsigned long long)n, p->refused_why);
	place_note(p, "refused", &value);
	buf_free(&value);
}

static void
place_recall_refused(struct place *p, struct span value)
{
	char *text = span_dup(value), *why = NULL;

	p->refused = strtoull(text, &why, 10);
	snprintf(p->refused_why, sizeof(p->refused_why), "%s", *why == ' ' ? why + 1 : "");
	free(text);
}

void
place_unread(struct place *p, uint64_t n, const struct err *why)
{
	struct buf value;

	if (p->unread == n && (n == 0 || (p->unread_why.code == why->code && strcmp(p->unread_why.msg, why->msg) == 0)))
		return;
	p->unread = n;
	if (n > 0)
		p->unread_why = *why;
	else
		err_clear(&p->unread_why);
	buf_init(&value, 0);
	buf_printf(&value, "%llu %d %s\n%s", (unsigned long long)n, (int)p->unread_why.code, n > 0 ? why->msg : "", n > 0 ? why->hint : "");
	place_note(p, "unread", &value);
	buf_free(&value);
}

static void
place_recall_unread(struct place *p, struct span value)
{
	char *text = span_dup(value), *msg = NULL, *hint;
	long  code;

	p->unread = strtoull(text, &msg, 10);
	code = strtol(msg, &msg, 10);
	hint = strchr(msg, '\n');
	if (p->unread > 0 && code > 0 && code <= ERR_IO && *msg == ' ' && hint != NULL) {
		*hint++ = '\0';
		err_set(&p->unread_why, (enum err_code)code, 0, "%s", msg + 1);
		err_hint(&p->unread_why, "%s", hint);
	} else {
		p->unread = 0;
	}
	free(text);
}

static void
place_recall(struct place *p, struct store_txn *t)
{
	struct buf  key;
	struct span value;

	place_key(p, "health", &key);
	if (store_meta(t, buf_str(&key), &value))
		place_recall_health(p, value);
	buf_free(&key);
	place_key(p, "refused", &key);
	if (store_meta(t, buf_str(&key), &value))
		place_recall_refused(p, value);
	buf_free(&key);
	place_key(p, "unread", &key);
	if (store_meta(t, buf_str(&key), &value))
		place_recall_unread(p, value);
	buf_free(&key);
	place_key(p, "where", &key);
	p->moved = store_meta(t, buf_str(&key), &value) && !span_is(value, p->backend->where);
	buf_free(&key);
	prove_recall(p, t);
}

bool
place_may_act(const struct place *p, struct err *reterr)
{
	if (!p->moved)
		return true;
	err_set(reterr, ERR_CONFIG, 0, "backend %s points to %s, which is not where it pointed before", p->backend->label,
	    p->backend->where);
	err_hint(reterr, "if that is meant: stateferry adopt");
	return false;
}

void
place_result(struct place *p, const struct err *err)
{
	bool was = p->failing;
	char text[ERR_TEXT_MAX];

	if (err->code == ERR_CANCELLED)
		return;
	p->last_try = loop_wall(p->engine->loop);
	p->failing = err->code != ERR_OK;
	if (!p->failing) {
		p->last_ok = p->last_try;
		p->failures = 0;
	} else {
		p->failures++;
		if (!was)
			p->since = p->last_try;
		if (!was || p->why.code != err->code)
			log_at(LOG_ERROR, p->backend->label, "%s", err_text(err, text));
		p->why = *err;
	}
	if (was && !p->failing)
		log_at(LOG_INFO, p->backend->label, "answers again");
	if (was != p->failing && engine_acts(p->engine))
		place_save(p);
}

/* --- polling --- */

static void place_look_now(void *arg);

static int64_t
place_interval(struct place *p)
{
	int64_t poll = p->backend->common.poll_ms, wait;

	if (p->failing) {
		wait = poll << (p->failures > 3 ? 3 : p->failures > 0 ? p->failures - 1 : 0); /* 0: known from an earlier run */
		if (wait > poll * POLL_FAIL_MUL)
			wait = poll * POLL_FAIL_MUL;
		return wait > (int64_t)p->why.retry_after_ms ? wait : (int64_t)p->why.retry_after_ms;
	}
	if (p->looked.changed > 0 || p->looked.locked)
		p->interval_ms = poll / POLL_FAST_DIV;
	else
		p->interval_ms = p->interval_ms * 2 > poll ? poll : p->interval_ms * 2;
	return p->interval_ms < 1 ? 1 : p->interval_ms;
}

static void
place_schedule(struct place *p, int64_t wait)
{
	wait -= (int64_t)rand_below(loop_rand(p->engine->loop), (uint64_t)(wait / 10 + 1)); /* many agents, one remote */
	p->next_try = loop_wall(p->engine->loop) + wait;
	timer_set(&p->poll, wait);
}

static void
place_looked(struct op *op, void *arg)
{
	struct place *p = arg;
	struct err    err = op->err;

	p->look = NULL;
	op_free(op);
	place_result(p, &err);
	if (!p->engine->started || p->engine->stopping)
		return;
	if (p->hints != NULL)
		timer_set(&p->hint, HINT_WAIT_MS);
	place_schedule(p, p->look_again ? 0 : place_interval(p));
	p->look_again = false;
	engine_kick(p->engine, p->backend);
}

static void
place_look_now(void *arg)
{
	struct place *p = arg;

	if (p->look != NULL || p->engine->passes > 0) {
		p->look_again = true;
		return;
	}
	p->nlooks++;
	p->look = look_op(p->engine, p, NULL, &p->looked);
	op_start(p->look, place_looked, p);
}

static void
place_hint_done(struct op *op, void *arg)
{
	struct place *p = arg;

	p->look = NULL;
	op_free(op);
	if (!p->engine->started || p->engine->stopping)
		return;
	if (p->hints != NULL)
		timer_set(&p->hint, HINT_WAIT_MS);
	if (p->look_again) {
		p->look_again = false;
		timer_set(&p->poll, 0);
	}
}

static void
place_hint_due(void *arg)
{
	struct place *p = arg;

	if (p->hints == NULL)
		return;
	if (p->look != NULL || p->engine->passes > 0) {
		timer_set(&p->hint, HINT_WAIT_MS);
		return;
	}
	p->look = look_hinted_op(p->engine, p, &p->looked);
	op_start(p->look, place_hint_done, p);
}

/* From the provider: a name changed, or (NULL) anything may have. A target's own notices are looked at as a whole, because
 * names of states there are known only through the mapping. */
static void
place_changed(void *arg, const char *name)
{
	struct place *p = arg;

	if (!p->engine->started || p->engine->stopping)
		return;
	if (name == NULL || !p->source) {
		timer_set(&p->poll, HINT_WAIT_MS);
		return;
	}
	if (!provider_selects(p->backend, name))
		return;
	if (p->hints == NULL)
		p->hints = map_new();
	map_put(p->hints, span_str(name), p);
	if (!timer_pending(&p->hint))
		timer_set(&p->hint, HINT_WAIT_MS);
}

static void
place_start(struct place *p)
{
	struct err e;

	if (!p->source && !p->target)
		return;
	p->interval_ms = p->backend->common.poll_ms;
	if ((provider_caps(p->backend) & PROVIDER_WATCH) != 0 && p->source) {
		p->watching = provider_watch(p->backend, place_changed, p, &e) == ERR_OK;
		if (!p->watching)
			log_at(LOG_WARN, p->backend->label, "%s; changes are found by polling", e.msg);
	}
	timer_set(&p->poll, 0);
}

void
place_wake(struct place *p)
{
	if (p->engine->started && (p->source || p->target))
		timer_set(&p->poll, 0);
}

static void
place_stop(struct place *p)
{
	timer_stop(&p->poll);
	timer_stop(&p->hint);
	if (p->watching)
		provider_watch(p->backend, NULL, NULL, NULL);
	p->watching = false;
	op_cancel(p->look);
}

/* --- lanes --- */

static bool
track_first_due(void *arg, const struct queue_rec *q)
{
	*(int64_t *)arg = q->due;
	return false;
}

static void
track_kick(struct track *t)
{
	struct engine    *e = t->engine;
	struct store_txn *txn;
	int64_t           due = -1, wait;

	if (!e->started || e->stopping || e->passes > 0 || !engine_acts(e))
		return;
	if (t->drain != NULL) {
		t->again = true;
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
	track_kick(t);
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

/* The soonest wish wins. */
static void
engine_recover_in(struct engine *e, int64_t ms)
{
	int64_t at = loop_now(e->loop) + ms;

	if (timer_pending(&e->recover_due) && e->recover_at <= at)
		return;
	e->recover_at = at;
	timer_set(&e->recover_due, ms);
}

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
		if (r->next != 0)
			engine_recover_in(e, r->next > loop_wall(e->loop) ? r->next - loop_wall(e->loop) : RETRY_MIN_MS);
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
		engine_recover_in(e, RETRY_MIN_MS);
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
		engine_recover_in(e, RETRY_MIN_MS);
}

void
engine_live(struct engine *e, uint64_t intent, struct push *runs)
{
	uint8_t key[8];

	be64_put(key, intent);
	if (runs != NULL)
		map_put(e->live, span_of(key, sizeof(key)), runs);
	else
		map_del(e->live, span_of(key, sizeof(key)));
}

void
engine_live_probe(struct engine *e, uint64_t intent)
{
	uint8_t key[8];

	be64_put(key, intent);
	map_put(e->live, span_of(key, sizeof(key)), e);
}

bool
engine_is_live(const struct engine *e, uint64_t intent)
{
	uint8_t key[8];

	be64_put(key, intent);
	return map_get(e->live, span_of(key, sizeof(key))) != NULL;
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
	for (size_t i = 0; i < plan->nbackends; i++) {
		struct place *p = &e->places[i];

		p->engine = e;
		p->backend = plan->backends[i];
		p->index = i;
		p->source = plan_is_source(plan, p->backend);
		timer_init(&p->poll, e->loop, place_look_now, p);
		timer_init(&p->hint, e->loop, place_hint_due, p);
		if (read)
			place_recall(p, t);
	}
	for (size_t i = 0; i < plan->nedges; i++) {
		for (size_t j = 0; j < plan->edges[i].nlanes; j++, n++) {
			struct track *track = &e->tracks[plan->edges[i].lanes[j].index];

			track->engine = e;
			track->lane = &plan->edges[i].lanes[j];
			timer_init(&track->due, e->loop, track_due, track);
			engine_place(e, track->lane->to)->target = true;
		}
	}
	assert(n == plan->nlanes);
	if (read)
		store_end(t);
}

/* Where each label points is remembered the first time, so that a change is noticed. */
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
		place_key(&e->places[i], "where", &key);
		if (!store_meta(t, buf_str(&key), &value)) {
			b = b != NULL ? b : batch_new(e->store);
			batch_meta(b, buf_str(&key), span_str(e->places[i].backend->where));
		}
		buf_free(&key);
	}
	store_end(t);
	if (b != NULL)
		engine_note(e, b);
}

static void
engine_unbuild(struct engine *e)
{
	for (size_t i = 0; i < e->plan->nbackends; i++) {
		assert(e->places[i].look == NULL);
		timer_stop(&e->places[i].poll);
		timer_stop(&e->places[i].hint);
		map_free(e->places[i].hints);
	}
	for (size_t i = 0; i < e->plan->nlanes; i++) {
		timer_stop(&e->tracks[i].due);
		bits_free(&e->tracks[i].present);
	}
	free(e->places);
	free(e->tracks);
	plan_free(e->plan);
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
	}
	op_cancel(e->recover);
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
		if (e->tracks[i].drain != NULL)
			return false;
	return e->recover == NULL && e->passes == 0 && e->held == 0;
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

/* --- reload --- */

#define RELOAD_LOOK_MS 20

struct reload {
	struct op      op;
	struct engine *e;
	struct plan   *plan;
	bool           was_started;
};

enum reload_state { RELOAD_START, RELOAD_WAITED };

static const char *const reload_states[] = { "start", "waited" };

static void
reload_free(struct op *op)
{
	struct reload *r = container_of(op, struct reload, op);

	plan_free(r->plan);
	free(r);
}

/* Counters of a label go on where they were: what they feed watches for jumps. */
static void
reload_counters(struct reload *r)
{
	for (size_t i = 0; i < r->plan->nbackends; i++) {
		const struct backend *before = plan_backend(r->e->plan, r->plan->backends[i]->label);

		if (before != NULL)
			provider_go_on(r->plan->backends[i], before);
	}
}

static enum op_turn
reload_step(struct op *op)
{
	struct reload *r = container_of(op, struct reload, op);

	switch ((enum reload_state)op->state) {
	case RELOAD_START:
		r->was_started = r->e->started;
		op_shield(op);
		engine_stop(r->e);
		return op_await(op, RELOAD_WAITED, op_sleep(op->loop, 0));
	case RELOAD_WAITED:
		if (!engine_idle(r->e))
			return op_await(op, RELOAD_WAITED, op_sleep(op->loop, RELOAD_LOOK_MS));
		if (op->cancelled) { /* the process ends: nothing begins again */
			err_set(&op->res, ERR_CANCELLED, 0, "cancelled");
			return op_fail(op);
		}
		reload_counters(r);
		engine_unbuild(r->e);
		r->e->plan = r->plan;
		r->e->generation++;
		r->plan = NULL;
		engine_build(r->e);
		engine_note_places(r->e);
		r->e->stopping = false;
		if (r->was_started)
			engine_start(r->e);
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class reload_class = { "reload", reload_step, NULL, reload_free, reload_states,
	ARRAY_LEN(reload_states) };

struct op *
engine_reload(struct engine *e, struct plan *owned)
{
	struct reload *r = xcalloc(1, sizeof(*r));

	op_init(&r->op, &reload_class, e->loop);
	r->e = e;
	r->plan = owned;
	return &r->op;
}
