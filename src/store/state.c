/* SPDX-License-Identifier: MIT */
/* States: found by the hash of (backend, name), numbered from 1. */
#include <string.h>

#include "base/name.h"
#include "store/batch.h"

bool
store_state_by_id(struct store_txn *t, uint64_t id, struct state_rec *ret)
{
	struct key k = key_u64(id);

	if (!rec_get(t, DB_STATES, &k, &rec_state, ret))
		return false;
	ret->id = id;
	return true;
}

bool
state_load(struct store_txn *t, const char *backend, const char *name, struct state_rec *ret)
{
	struct key        k = key_name(t->s, backend, name);
	struct number_rec id;

	if (!rec_get(t, DB_STATE_NAMES, &k, &rec_number, &id))
		return false;
	if (!store_state_by_id(t, id.v, ret))
		return txn_fail(t, ERR_CORRUPT, 0, "store: state %llu is in the index, but not there",
		    (unsigned long long)id.v);
	if (strcmp(ret->backend, backend) != 0 || strcmp(ret->name, name) != 0)
		return txn_fail(t, ERR_CORRUPT, 0, "store: the index of names leads to another state");
	return true;
}

bool
store_state(struct store_txn *t, const char *backend, const char *name, struct state_rec *ret)
{
	return state_load(t, backend, name, ret);
}

struct state_walk {
	bool (*fn)(void *arg, const struct state_rec *r);
	void  *arg;
};

/* A record that cannot be read is noted in t, and the walk goes on: one must not hide the others. */
static bool
state_walk_one(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct state_walk *w = arg;
	struct state_rec   r;

	if (key.n != 8 || !rec_open(t, DB_STATES, key, value, &rec_state, &r))
		return true;
	r.id = be64_get(key.p);
	return w->fn(w->arg, &r);
}

static bool
state_walk_backend(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct state_walk *w = arg;
	struct state_rec   r;

	(void)value;
	if (key.n != KEY_HASH + 8 || !store_state_by_id(t, be64_get(key.p + KEY_HASH), &r))
		return true;
	return w->fn(w->arg, &r);
}

void
store_states(struct store_txn *t, const char *backend, uint64_t after, bool (*fn)(void *arg, const struct state_rec *r),
    void *arg)
{
	struct state_walk w = { fn, arg };
	struct key        from;

	if (after == UINT64_MAX)
		return;
	if (backend == NULL) {
		from = key_u64(after + 1);
		rec_walk(t, &(struct walk){ .db = DB_STATES, .from = &from, .fn = state_walk_one, .arg = &w });
		return;
	}
	from = key_backend(t, backend, after + 1);
	rec_walk(t, &(struct walk){ .db = DB_STATE_BACKENDS, .prefix = span_of(from.b, KEY_HASH), .from = &from,
	    .fn = state_walk_backend, .arg = &w });
}

uint64_t
store_state_count(struct store_txn *t)
{
	return rec_count(t, DB_STATES);
}

uint64_t
store_state_last_id(struct store_txn *t)
{
	struct counters n;

	return txn_read_counters(t, &n) ? n.state_id : 0;
}

/* ---------------------------------------------------------------- writing */

bool
state_save(struct store_txn *t, const struct state_rec *r)
{
	struct key k = key_u64(r->id);

	return rec_put(t, DB_STATES, &k, &rec_state, r);
}

static bool
state_create(struct store_txn *t, int64_t now, const char *backend, const char *name, struct state_rec *ret)
{
	struct key        by_name = key_name(t->s, backend, name), by_backend;
	struct number_rec id;

	*ret = (struct state_rec){ .id = ++t->n.state_id, .backend = backend, .name = name, .etag = "", .problem = "",
		.first_seen = now };
	by_backend = key_backend(t, backend, ret->id);
	id.v = ret->id;
	return state_save(t, ret) && rec_put(t, DB_STATE_NAMES, &by_name, &rec_number, &id) &&
	    rec_put_bytes(t, DB_STATE_BACKENDS, &by_backend, span_of(NULL, 0));
}

bool
state_load_or_new(struct store_txn *t, struct batch *b, const char *backend, const char *name, struct state_rec *ret)
{
	if (state_load(t, backend, name, ret))
		return true;
	return !txn_failed(t) && state_create(t, b->now, backend, name, ret);
}

bool
state_check_name(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct err e = { 0 };

	(void)b;
	return name_check(span_str(op->name), &e) == ERR_OK || txn_fail_err(t, &e);
}

/* What batch_for() named must be there, or come with this batch. */
bool
state_check_for(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct state_rec r;

	if (op->name == NULL || state_load(t, op->backend, op->name, &r))
		return true;
	if (txn_failed(t))
		return false;
	return batch_makes_state(b, op->backend, op->name) ||
	    txn_fail(t, ERR_NOT_FOUND, 0, "store: %s:%s is not known", op->backend, op->name);
}

bool
state_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct state_rec r;

	return state_load_or_new(t, b, op->backend, op->name, &r);
}

bool
state_put_seen(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	const struct sighting *s = &op->u.seen.s;
	struct state_rec       r;

	if (!state_load_or_new(t, b, op->backend, op->name, &r))
		return false;
	if ((s->flags & STATE_IS_LOCKED) == 0 && !run_end(t, &r, b->now))
		return false;
	r.etag = s->etag;
	r.problem = s->problem;
	r.flags = (r.flags & STATE_TARGET) | s->flags;
	if (s->read != 0)
		r.last_read = s->read;
	if (s->digest != NULL) {
		r.seen_digest = *s->digest;
		r.seen_version = version_by_digest(t, r.id, s->digest);
	}
	return state_save(t, &r);
}

bool
state_put_release(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct state_rec r;

	if (!state_load_or_new(t, b, op->backend, op->name, &r))
		return false;
	r.released = op->u.release.set ? op->u.release.d : (struct digest){ { 0 } };
	return state_save(t, &r);
}

bool
state_put_high_serial(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct state_rec r;

	if (!state_load_or_new(t, b, op->backend, op->name, &r))
		return false;
	if (op->u.at.number <= r.high_serial)
		return true;
	r.high_serial = op->u.at.number;
	return state_save(t, &r);
}
