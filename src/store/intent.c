/* SPDX-License-Identifier: MIT */
/* Intents: what is about to be done remotely. */
#include "store/batch.h"

bool
store_intent(struct store_txn *t, uint64_t id, struct intent_rec *ret)
{
	struct key k = key_u64(id);

	if (!rec_get(t, DB_INTENTS, &k, &rec_intent, ret))
		return false;
	ret->id = id;
	return true;
}

struct intent_walk {
	bool (*fn)(void *arg, const struct intent_rec *r);
	void  *arg;
};

static bool
intent_walk_one(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct intent_walk *w = arg;
	struct intent_rec   r;

	if (key.n != 8 || !rec_open(t, DB_INTENTS, key, value, &rec_intent, &r))
		return true;
	r.id = be64_get(key.p);
	return w->fn(w->arg, &r);
}

void
store_intents(struct store_txn *t, bool (*fn)(void *arg, const struct intent_rec *r), void *arg)
{
	struct intent_walk w = { fn, arg };

	rec_walk(t, &(struct walk){ .db = DB_INTENTS, .fn = intent_walk_one, .arg = &w });
}

bool
intent_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct intent_rec r = op->u.intent;
	struct key        k = key_u64(r.id);

	(void)b;
	return batch_resolve(t, op, &r.state) && rec_put(t, DB_INTENTS, &k, &rec_intent, &r);
}

bool
intent_put_settle(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct key k = key_u64(op->u.intent.id);

	(void)b;
	return rec_del(t, DB_INTENTS, &k);
}
