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
store_events(struct store_txn *t, bool (*fn)(void *arg, const struct event_rec *r), void *arg)
{
	struct event_walk w = { fn, arg };

	rec_walk(t, &(struct walk){ .db = DB_EVENTS, .down = true, .fn = event_walk_one, .arg = &w });
}

bool
event_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct event_rec r = op->u.event;
	struct key       k = key_u64(++t->n.event_seq);

	if (r.time == 0)
		r.time = b->now;
	return rec_put(t, DB_EVENTS, &k, &rec_event, &r);
}
