/* SPDX-License-Identifier: MIT */
/* Replicas: one record per edge, target and source state, and who writes to a name at a target. */
#include <string.h>

#include "store/batch.h"

static const char *const replica_statuses[] = {
	[REPLICA_PENDING] = "pending",
	[REPLICA_CURRENT] = "current",
	[REPLICA_BEHIND] = "behind",
	[REPLICA_HELD] = "held",
	[REPLICA_FAILED] = "failed",
	[REPLICA_UNKNOWN] = "unknown",
	[REPLICA_PAUSED] = "paused",
};

const char *
replica_status_name(enum replica_status s)
{
	return (unsigned)s < REPLICA_STATUSES ? replica_statuses[s] : "?";
}

bool
store_replica(struct store_txn *t, const char *edge, const char *target, uint64_t state, struct replica_rec *ret)
{
	struct key k = key_target(t, edge, target, state);

	return rec_get(t, DB_REPLICAS, &k, &rec_replica, ret);
}

struct replica_walk {
	bool (*fn)(void *arg, const struct replica_rec *r);
	void  *arg;
};

static bool
replica_walk_one(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct replica_walk *w = arg;
	struct replica_rec   r;

	return !rec_open(t, DB_REPLICAS, key, value, &rec_replica, &r) || w->fn(w->arg, &r);
}

void
store_replicas(struct store_txn *t, const char *edge, bool (*fn)(void *arg, const struct replica_rec *r), void *arg)
{
	struct replica_walk w = { fn, arg };
	struct key          k = { .n = 0 };

	if (edge != NULL)
		k = key_target(t, edge, "", 0);
	rec_walk(t, &(struct walk){ .db = DB_REPLICAS, .prefix = span_of(k.b, edge == NULL ? 0 : KEY_HASH),
	    .fn = replica_walk_one, .arg = &w });
}

static bool
replica_owner(struct store_txn *t, const char *target, const char *name, struct owner_rec *ret)
{
	struct key k = key_target_name(t->s, target, name);

	return rec_get(t, DB_REPLICA_NAMES, &k, &rec_owner, ret);
}

uint64_t
store_replica_owner(struct store_txn *t, const char *target, const char *name)
{
	struct owner_rec o;

	return replica_owner(t, target, name, &o) ? o.state : 0;
}

/* A replica that had the name has it no more. */
static bool
replica_give_up_name(struct store_txn *t, const struct replica_rec *old)
{
	struct key       k = key_target_name(t->s, old->target, old->name);
	struct owner_rec o;

	if (!replica_owner(t, old->target, old->name, &o) || o.state != old->state)
		return !txn_failed(t);
	if (o.holders <= 1)
		return rec_del(t, DB_REPLICA_NAMES, &k);
	o.holders--;
	return rec_put(t, DB_REPLICA_NAMES, &k, &rec_owner, &o);
}

/* The first state that writes there keeps the name, as long as a replica of it does. */
static bool
replica_take_name(struct store_txn *t, const struct replica_rec *r, bool had_it)
{
	struct key       k = key_target_name(t->s, r->target, r->name);
	struct owner_rec o;

	if (!replica_owner(t, r->target, r->name, &o)) {
		if (txn_failed(t))
			return false;
		o = (struct owner_rec){ r->state, 1 };
	} else if (o.state == r->state && !had_it) {
		o.holders++;
	} else {
		return true;
	}
	return rec_put(t, DB_REPLICA_NAMES, &k, &rec_owner, &o);
}

bool
replica_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct replica_rec r = op->u.replica, old;
	struct key         k;
	bool               had, same;

	(void)b;
	if (!batch_resolve(t, op, &r.state))
		return false;
	had = store_replica(t, r.edge, r.target, r.state, &old);
	if (txn_failed(t))
		return false;
	same = had && strcmp(old.name, r.name) == 0;
	if (had && !same && !replica_give_up_name(t, &old))
		return false;
	k = key_target(t, r.edge, r.target, r.state);
	return replica_take_name(t, &r, same) && rec_put(t, DB_REPLICAS, &k, &rec_replica, &r);
}

bool
replica_put_del(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct replica_rec r = op->u.replica, old;
	struct key         k;

	(void)b;
	if (!batch_resolve(t, op, &r.state))
		return false;
	if (!store_replica(t, r.edge, r.target, r.state, &old))
		return !txn_failed(t);
	k = key_target(t, r.edge, r.target, r.state);
	return replica_give_up_name(t, &old) && rec_del(t, DB_REPLICAS, &k);
}
