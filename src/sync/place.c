/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/*
 * A backend at run time: how it is, kept in the store so that cron jobs can tell of the last one's trouble, and when it is looked
 * at. What a look does is in look.c.
 */

void
place_key(const struct place *p, const char *what, struct buf *ret)
{
	buf_init(ret, 0);
	buf_printf(ret, "%s/%s", what, p->backend->label);
}

bool
place_noted(const struct place *p, struct store_txn *t, const char *what, struct span *ret)
{
	struct buf key;
	bool       has;

	place_key(p, what, &key);
	has = store_meta(t, buf_str(&key), ret);
	buf_free(&key);
	return has;
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

bool
tally_add(struct tally *t, const struct err *why)
{
	if (t->n++ > 0)
		return false;
	t->first = *why;
	return true;
}

static void
place_tally(struct place *p, const char *what, struct tally *known, const struct tally *now)
{
	struct buf value;

	if (known->n == now->n && (now->n == 0 || (known->first.code == now->first.code && strcmp(known->first.msg, now->first.msg) == 0)))
		return;
	*known = *now;
	buf_init(&value, 0);
	if (now->n > 0)
		buf_printf(&value, "%llu %d %s\n%s", (unsigned long long)now->n, (int)now->first.code, now->first.msg, now->first.hint);
	place_note(p, what, &value);
	buf_free(&value);
}

void
place_refused(struct place *p, const struct tally *now)
{
	place_tally(p, "refused", &p->refused, now);
}

void
place_unread(struct place *p, const struct tally *now)
{
	place_tally(p, "unread", &p->unread, now);
}

void
place_keep_aliases(struct place *p)
{
	struct buf text;

	if (!p->backend->aliases_new)
		return;
	p->backend->aliases_new = false;
	buf_init(&text, 0);
	provider_aliases_write(p->backend, &text);
	place_note(p, "aliases", &text);
	buf_free(&text);
}

/* What is written otherwise is as good as nothing: the next look counts again. */
static void
place_recall_tally(struct place *p, struct store_txn *t, const char *what, struct tally *ret)
{
	struct span value;
	char       *text, *msg = NULL, *hint;
	uint64_t    n;
	long        code;

	if (!place_noted(p, t, what, &value))
		return;
	text = span_dup(value);
	n = strtoull(text, &msg, 10);
	code = strtol(msg, &msg, 10);
	hint = strchr(msg, '\n');
	if (n > 0 && code > 0 && code <= ERR_IO && *msg == ' ' && hint != NULL) {
		*hint++ = '\0';
		ret->n = n;
		err_set(&ret->first, (enum err_code)code, 0, "%s", msg + 1);
		err_hint(&ret->first, "%s", hint);
	}
	free(text);
}

static void
place_recall(struct place *p, struct store_txn *t)
{
	struct span value;

	if (place_noted(p, t, "health", &value))
		place_recall_health(p, value);
	if (place_noted(p, t, "aliases", &value))
		provider_aliases_read(p->backend, value);
	place_recall_tally(p, t, "refused", &p->refused);
	place_recall_tally(p, t, "unread", &p->unread);
	prove_recall(p, t);
}

struct place_past {
	const struct place *place;
	bool                is;
};

static bool
place_past_state(void *arg, const struct state_rec *r)
{
	((struct place_past *)arg)->is = r->versions > 0;
	return r->versions == 0;
}

static bool
place_past_replica(void *arg, const struct replica_rec *r)
{
	struct place_past *x = arg;

	x->is = strcmp(r->target, x->place->backend->label) == 0 && !digest_is_zero(&r->digest);
	return !x->is;
}

static bool
place_past_intent(void *arg, const struct intent_rec *r)
{
	struct place_past *x = arg;

	x->is = strcmp(r->target, x->place->backend->label) == 0;
	return !x->is;
}

/* Was anything ever read or written there? Else a label that points elsewhere now was misspelt. */
static bool
place_has_past(const struct place *p, struct store_txn *t)
{
	struct place_past x = { .place = p };

	store_states(t, p->backend->label, 0, place_past_state, &x);
	if (!x.is)
		store_replicas(t, NULL, place_past_replica, &x);
	if (!x.is)
		store_intents(t, place_past_intent, &x);
	return x.is;
}

/* A record that cannot be read is none that says "here": in a transaction of its own, for an error of the store stays in its
 * transaction. */
static void
place_recall_where(struct place *p)
{
	struct store_txn *t;
	struct span       value;
	bool              noted;

	p->where_unread = true;
	if (store_read(p->engine->store, &t, NULL) == ERR_OK) {
		noted = place_noted(p, t, "where", &value);
		p->moved = noted && !span_is(value, p->backend->where) && place_has_past(p, t);
		p->where_unread = store_txn_error(t, NULL) != ERR_OK;
		store_end(t);
	}
	p->moved |= p->where_unread;
}

bool
place_may_act(const struct place *p, struct err *reterr)
{
	if (!p->moved)
		return true;
	err_set(reterr, ERR_CONFIG, 0, p->where_unread ? "backend %s points to %s, and where it pointed before cannot be read in the store" :
	    "backend %s points to %s, which is not where it pointed before", p->backend->label, p->backend->where);
	err_hint(reterr, "if that is meant: stateferry adopt");
	return false;
}

void
place_result(struct place *p, const struct err *err)
{
	bool       was = p->failing;
	struct err why = *err;
	char       text[ERR_TEXT_MAX];

	if (err->code == ERR_CANCELLED)
		return;
	err_unprefix(&why, p->backend->label);
	p->last_try = loop_wall(p->engine->loop);
	p->failing = err->code != ERR_OK;
	if (!p->failing) {
		p->last_ok = p->last_try;
		p->failures = 0;
	} else {
		p->failures++;
		if (!was)
			p->since = p->last_try;
		if (!was || p->why.code != err->code) /* without an agent whoever asked is told */
			log_at(p->engine->started ? LOG_ERROR : LOG_WARN, p->backend->label, "%s", err_text(&why, text));
		p->why = *err;
	}
	if (was && !p->failing)
		log_at(LOG_INFO, p->backend->label, "answers again");
	if (was != p->failing && engine_acts(p->engine))
		place_save(p);
}

/* --- polling --- */

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
	leases_looked(p);
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

void
place_follow(struct place *p, const char *name)
{
	if (p->hints == NULL)
		p->hints = map_new();
	map_put(p->hints, span_str(name), p);
}

void
place_read_again(struct place *p, const char *name, int64_t wait)
{
	place_follow(p, name);
	timer_sooner(&p->hint, wait);
}

void
place_follows(struct place *p, size_t n)
{
	int64_t wait = LOCK_POLL_MS * (int64_t)(1 + n / LOCK_POLL_STATES);

	if (n > 0)
		timer_sooner(&p->hint, wait - (int64_t)rand_below(loop_rand(p->engine->loop), (uint64_t)(wait / 10)));
}

static void
place_hint_done(struct op *op, void *arg)
{
	struct place *p = arg;

	p->look = NULL;
	op_free(op);
	if (!p->engine->started || p->engine->stopping)
		return;
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
	place_read_again(p, name, HINT_WAIT_MS);
}

void
place_init(struct place *p, struct engine *e, size_t index, struct store_txn *t)
{
	p->engine = e;
	p->backend = e->plan->backends[index];
	p->index = index;
	p->source = plan_is_source(e->plan, p->backend);
	quota_init(&p->locks, e->loop, PLACE_LOCKS);
	quota_init(&p->reading, e->loop, PLACE_BYTES);
	quota_init(&p->writing, e->loop, PLACE_BYTES);
	timer_init(&p->poll, e->loop, place_look_now, p);
	timer_init(&p->hint, e->loop, place_hint_due, p);
	prove_init(p);
	if (t != NULL)
		place_recall(p, t);
	place_recall_where(p);
}

void
place_free(struct place *p)
{
	assert(p->look == NULL);
	timer_stop(&p->poll);
	timer_stop(&p->hint);
	map_free(p->hints);
	prove_free_grounds(p);
}

void
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

void
place_stop(struct place *p)
{
	timer_stop(&p->poll);
	timer_stop(&p->hint);
	if (p->watching)
		provider_watch(p->backend, NULL, NULL, NULL);
	p->watching = false;
	op_cancel(p->look);
}
