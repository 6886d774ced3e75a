/* SPDX-License-Identifier: MIT */
/* The journal of events. */
#include "store/batch.h"

struct event_walk {
	bool (*fn)(void *arg, const struct event_rec *r);
	void  *arg;
};

static bool
event_walk_one(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct event_walk *w = arg;
	struct event_rec   r;

	if (key.n != 8 || !rec_open(t, DB_EVENTS, key, value, &rec_event, &r))
		return true;
	r.seq = be64_get(key.p);
	return w->fn(w->arg, &r);
}

void
store_events(struct store_txn *t, uint64_t before, bool (*fn)(void *arg, const struct event_rec *r), void *arg)
{
	struct event_walk w = { fn, arg };
	struct key        from = key_u64(before - 1);

	if (before != 1)
		rec_walk(t, &(struct walk){ .db = DB_EVENTS, .from = before > 0 ? &from : NULL, .down = true, .fn = event_walk_one,
		    .arg = &w });
}

static bool
event_first(void *arg, struct store_txn *t, struct span key, struct span value)
{
	(void)t, (void)value;
	*(uint64_t *)arg = key.n == 8 ? be64_get(key.p) : 0;
	return false;
}

/* The journal is a window on the newest: each event that comes pushes one out, and one more where there are too many
 * (a store of a time when more were kept). */
#define EVENT_PUSHES 2

static bool
event_prune(struct store_txn *t)
{
	for (int i = 0; i < EVENT_PUSHES; i++) {
		uint64_t   first = 0;
		struct key k;

		rec_walk(t, &(struct walk){ .db = DB_EVENTS, .fn = event_first, .arg = &first });
		if (txn_failed(t))
			return false;
		if (first == 0 || t->n.event_seq - first < t->s->events_max)
			return true;
		k = key_u64(first);
		if (!rec_del(t, DB_EVENTS, &k))
			return false;
	}
	return true;
}

bool
event_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct event_rec r = op->u.event;
	struct key       k = key_u64(++t->n.event_seq);

	if (r.time == 0)
		r.time = b->now;
	return rec_put(t, DB_EVENTS, &k, &rec_event, &r) && event_prune(t);
}
