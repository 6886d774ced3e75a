/* SPDX-License-Identifier: MIT */
/* The queue of work: read from the database in order of due, so that its length costs no memory. */
#include "store/batch.h"

bool
store_queued(struct store_txn *t, const char *edge, const char *target, uint64_t state, struct queue_rec *ret)
{
	struct key        k = key_target(t, edge, target, state), due;
	struct number_rec at;

	if (!rec_get(t, DB_QUEUE_KEYS, &k, &rec_number, &at))
		return false;
	due = key_due((int64_t)at.v, &k);
	return rec_get(t, DB_QUEUE, &due, &rec_queue, ret) ||
	    txn_fail(t, ERR_CORRUPT, 0, "store: an entry of the queue is in the index, but not there");
}

struct queue_walk {
	bool (*fn)(void *arg, const struct queue_rec *r);
	void  *arg;
};

static bool
queue_walk_one(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct queue_walk *w = arg;
	struct queue_rec   r;

	return !rec_open(t, DB_QUEUE, key, value, &rec_queue, &r) || w->fn(w->arg, &r);
}

void
store_queue(struct store_txn *t, const char *edge, const char *target, bool (*fn)(void *arg, const struct queue_rec *r),
    void *arg)
{
	struct queue_walk w = { fn, arg };
	struct key        k = { .n = 0 };

	if (edge != NULL)
		k = key_target(t, edge, target, 0);
	rec_walk(t, &(struct walk){ .db = DB_QUEUE, .prefix = span_of(k.b, edge == NULL ? 0 : 2 * KEY_HASH),
	    .fn = queue_walk_one, .arg = &w });
}

uint64_t
store_queue_length(struct store_txn *t)
{
	return rec_count(t, DB_QUEUE);
}

static bool
queue_remove(struct store_txn *t, const struct queue_rec *q)
{
	struct key k = key_target(t, q->edge, q->target, q->state), due = key_due(q->due, &k);

	return rec_del(t, DB_QUEUE, &due) && rec_del(t, DB_QUEUE_KEYS, &k);
}

/* In place of old (NULL: there is none). */
static bool
queue_save(struct store_txn *t, const struct queue_rec *old, const struct queue_rec *q)
{
	struct key        k = key_target(t, q->edge, q->target, q->state), due = key_due(q->due, &k);
	struct number_rec at = { (uint64_t)q->due };

	if (old != NULL && !queue_remove(t, old))
		return false;
	return rec_put(t, DB_QUEUE, &due, &rec_queue, q) && rec_put(t, DB_QUEUE_KEYS, &k, &rec_number, &at);
}

bool
queue_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct queue_rec q = op->u.queue, old;
	bool             has;

	(void)b;
	if (!batch_resolve(t, op, &q.state))
		return false;
	has = store_queued(t, q.edge, q.target, q.state, &old);
	return !txn_failed(t) && queue_save(t, has ? &old : NULL, &q);
}

bool
queue_put_soon(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct queue_rec q = op->u.queue, old;

	(void)b;
	if (!batch_resolve(t, op, &q.state))
		return false;
	if (!store_queued(t, q.edge, q.target, q.state, &old))
		return !txn_failed(t) && queue_save(t, NULL, &q);
	if (q.due >= old.due)
		return true;
	q.attempt = old.attempt;
	q.waiting_since = old.waiting_since;
	return queue_save(t, &old, &q);
}

bool
queue_put_del(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct queue_rec q = op->u.queue, old;

	(void)b;
	if (!batch_resolve(t, op, &q.state))
		return false;
	if (!store_queued(t, q.edge, q.target, q.state, &old))
		return !txn_failed(t);
	return queue_remove(t, &old);
}

/* The entry was worked off for that head: gone, unless a newer head came meanwhile. */
bool
queue_put_del_if(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct queue_rec q = op->u.unqueue.queue, old;
	struct state_rec s;

	if (!batch_resolve(t, op, &q.state))
		return false;
	if (!store_queued(t, q.edge, q.target, q.state, &old))
		return !txn_failed(t);
	if (!store_state_by_id(t, q.state, &s))
		return !txn_failed(t) && queue_remove(t, &old);
	if (digest_eq(&s.head_digest, &op->u.unqueue.head))
		return queue_remove(t, &old);
	q.due = b->now;
	return queue_save(t, &old, &q);
}
