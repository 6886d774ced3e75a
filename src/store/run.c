/* SPDX-License-Identifier: MIT */
/*
 * Runs: what was seen of one lock on a state, from when it was met to when it was found gone. Numbered from 1 within the state. The newest
 * one lasts as long as the state is marked as locked; a version that names its lock is counted in it by the commit that keeps it.
 */
#include <string.h>

#include "store/batch.h"

#define RUN_BACK 8 /* a version belongs to one of the newest: an older run of that id is another's */

bool
run_lasts(const struct run_rec *r)
{
	return r->ended == 0;
}

struct run_walk {
	bool (*fn)(void *arg, const struct run_rec *r);
	void  *arg;
};

static bool
run_walk_one(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct run_walk *w = arg;
	struct run_rec   r;

	if (key.n != 16 || !rec_open(t, DB_RUNS, key, value, &rec_run, &r))
		return true;
	r.number = be64_get(key.p + 8);
	return w->fn(w->arg, &r);
}

void
store_runs(struct store_txn *t, uint64_t state, uint64_t before, bool (*fn)(void *arg, const struct run_rec *r), void *arg)
{
	struct run_walk w = { fn, arg };
	struct key      k = key_u64(state), from = key_u64_u64(state, before - 1);

	if (before != 1)
		rec_walk(t, &(struct walk){ .db = DB_RUNS, .prefix = span_of(k.b, k.n), .from = before != 0 ? &from : NULL, .down = true,
		    .fn = run_walk_one, .arg = &w });
}

static bool
run_take(void *arg, const struct run_rec *r)
{
	*(struct run_rec *)arg = *r;
	return false;
}

static bool
run_newest(struct store_txn *t, uint64_t state, struct run_rec *ret)
{
	ret->number = 0;
	store_runs(t, state, 0, run_take, ret);
	return ret->number != 0;
}

/* A mark that an older program took away leaves the run behind. */
bool
store_run(struct store_txn *t, const struct state_rec *s, struct run_rec *ret)
{
	return (s->flags & STATE_IS_LOCKED) != 0 && run_newest(t, s->id, ret) && run_lasts(ret);
}

/* ---------------------------------------------------------------- writing */

static bool
run_save(struct store_txn *t, uint64_t state, const struct run_rec *r)
{
	struct key k = key_u64_u64(state, r->number);

	return rec_put(t, DB_RUNS, &k, &rec_run, r);
}

bool
run_end(struct store_txn *t, const struct state_rec *s, int64_t now)
{
	struct run_rec r;

	if (!store_run(t, s, &r))
		return !txn_failed(t);
	r.ended = now;
	return run_save(t, s->id, &r);
}

/* A new one; the oldest beyond RUNS_MAX goes. */
static bool
run_add(struct store_txn *t, uint64_t state, uint64_t number, const struct run_rec *seen)
{
	struct run_rec r = *seen;
	struct key     old = key_u64_u64(state, number - STORE_RUNS_MAX);

	r.number = number;
	r.begun = seen->seen;
	return run_save(t, state, &r) && (number <= STORE_RUNS_MAX || rec_del(t, DB_RUNS, &old));
}

bool
run_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	const struct run_rec *seen = &op->u.run;
	struct run_rec        last;
	struct state_rec      s;
	bool                  has;

	if (!state_load_or_new(t, b, op->backend, op->name, &s))
		return false;
	has = run_newest(t, s.id, &last);
	if (txn_failed(t))
		return false;
	if (has && run_lasts(&last) && (s.flags & STATE_IS_LOCKED) != 0 && strcmp(last.lock, seen->lock) == 0) {
		last.seen = seen->seen;
		return run_save(t, s.id, &last);
	}
	if (has && run_lasts(&last)) {
		last.ended = seen->seen;
		if (!run_save(t, s.id, &last))
			return false;
	}
	s.flags |= STATE_IS_LOCKED;
	return run_add(t, s.id, has ? last.number + 1 : 1, seen) && state_save(t, &s);
}

struct run_search {
	const char    *lock;
	unsigned       n;
	struct run_rec found;
};

static bool
run_is(void *arg, const struct run_rec *r)
{
	struct run_search *x = arg;

	if (strcmp(r->lock, x->lock) == 0)
		x->found = *r;
	return x->found.number == 0 && ++x->n < RUN_BACK;
}

bool
run_count_version(struct store_txn *t, uint64_t state, const struct version_rec *v)
{
	struct run_search x = { .lock = v->run };
	struct run_rec   *r = &x.found;

	if (v->run[0] == '\0')
		return true;
	store_runs(t, state, 0, run_is, &x);
	if (r->number == 0)
		return !txn_failed(t);
	if (r->versions++ == 0) {
		r->first_version = v->number;
		r->first_serial = v->serial;
	}
	r->last_version = v->number;
	r->last_serial = v->serial;
	r->changed = v->seen;
	return run_save(t, state, r);
}
