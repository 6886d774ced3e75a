/* SPDX-License-Identifier: MIT */
/* Batches: collected on the loop, everything copied. What each op does stands with its topic. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/batch.h"

struct batch *
batch_new(struct store *s)
{
	struct batch *b = xcalloc(1, sizeof(*b));

	b->s = s;
	b->arena = arena_new();
	b->last = &b->first;
	b->last_body = &b->bodies;
	return b;
}

void
batch_free(struct batch *b)
{
	if (b == NULL)
		return;
	for (struct batch_body *body = b->bodies; body != NULL; body = body->next)
		body_unref(body->body);
	arena_free(b->arena);
	free(b);
}

static const char *
batch_str(struct batch *b, const char *s)
{
	return s == NULL ? "" : arena_strdup(b->arena, s);
}

/* A record with texts of its own: each text is a member of its table. */
static void
batch_copy(struct batch *b, const struct rec_type *type, void *to, const void *from)
{
	memcpy(to, from, type->size);
	for (size_t i = 0; i < type->nfields; i++) {
		const char **s = (const char **)((char *)to + type->fields[i].off);

		if (type->fields[i].kind == REC_STR)
			*s = batch_str(b, *s);
	}
}

static struct batch_op *
batch_add(struct batch *b, enum batch_kind kind, const char *backend, const char *name)
{
	struct batch_op *op = arena_alloc(b->arena, sizeof(*op));

	op->kind = kind;
	op->backend = backend == NULL ? NULL : arena_strdup(b->arena, backend);
	op->name = name == NULL ? NULL : arena_strdup(b->arena, name);
	*b->last = op;
	b->last = &op->next;
	return op;
}

static struct batch_op *
batch_add_state(struct batch *b, enum batch_kind kind, const char *backend, const char *name)
{
	assert(backend != NULL && name != NULL && backend[0] != '\0');
	return batch_add(b, kind, backend, name);
}

static struct batch_op *
batch_add_for(struct batch *b, enum batch_kind kind, uint64_t state)
{
	return state == 0 ? batch_add(b, kind, b->for_backend, b->for_name) : batch_add(b, kind, NULL, NULL);
}

void
batch_body(struct batch *b, struct body *body, const struct digest *d, const struct digest *like)
{
	struct batch_body *add;

	if (batch_find_body(b, d) != NULL)
		return;
	add = arena_alloc(b->arena, sizeof(*add));
	add->body = body_ref(body);
	add->digest = *d;
	add->has_like = like != NULL;
	if (like != NULL)
		add->like = *like;
	*b->last_body = add;
	b->last_body = &add->next;
	b->bytes += body_size(body);
	b->big = b->big || body_size(body) > STORE_STAGE_ABOVE;
}

struct batch_body *
batch_find_body(const struct batch *b, const struct digest *d)
{
	struct batch_body *body = b->bodies;

	while (body != NULL && !digest_eq(&body->digest, d))
		body = body->next;
	return body;
}

void
batch_for(struct batch *b, const char *backend, const char *name)
{
	b->for_backend = arena_strdup(b->arena, backend);
	b->for_name = arena_strdup(b->arena, name);
}

void
batch_state(struct batch *b, const char *backend, const char *name)
{
	batch_add_state(b, BATCH_STATE, backend, name);
}

void
batch_version(struct batch *b, const char *backend, const char *name, const struct version_rec *v)
{
	batch_copy(b, &rec_version, &batch_add_state(b, BATCH_VERSION, backend, name)->u.version, v);
}

void
batch_head(struct batch *b, const char *backend, const char *name, const struct digest *from, const struct digest *to)
{
	struct batch_op *op = batch_add_state(b, BATCH_HEAD, backend, name);

	op->u.head.has_from = from != NULL;
	if (from != NULL)
		op->u.head.from = *from;
	op->u.head.to = *to;
}

void
batch_seen(struct batch *b, const char *backend, const char *name, const struct sighting *s)
{
	struct batch_op *op = batch_add_state(b, BATCH_SEEN, backend, name);

	op->u.seen.s = *s;
	op->u.seen.s.etag = batch_str(b, s->etag);
	op->u.seen.s.problem = batch_str(b, s->problem);
	if (s->digest == NULL)
		return;
	op->u.seen.digest = *s->digest;
	op->u.seen.s.digest = &op->u.seen.digest;
}

void
batch_release(struct batch *b, const char *backend, const char *name, const struct digest *d)
{
	struct batch_op *op = batch_add_state(b, BATCH_RELEASE, backend, name);

	op->u.release.set = d != NULL;
	if (d != NULL)
		op->u.release.d = *d;
}

void
batch_drop(struct batch *b, const char *backend, const char *name, uint64_t version)
{
	batch_add_state(b, BATCH_DROP, backend, name)->u.at.number = version;
}

void
batch_semantic(struct batch *b, const char *backend, const char *name, uint64_t version, const struct digest *d)
{
	struct batch_op *op = batch_add_state(b, BATCH_SEMANTIC, backend, name);

	op->u.at.number = version;
	op->u.at.d = *d;
}

void
batch_high_serial(struct batch *b, const char *backend, const char *name, uint64_t serial)
{
	batch_add_state(b, BATCH_HIGH_SERIAL, backend, name)->u.at.number = serial;
}

void
batch_replica(struct batch *b, const struct replica_rec *r)
{
	batch_copy(b, &rec_replica, &batch_add_for(b, BATCH_REPLICA, r->state)->u.replica, r);
}

void
batch_replica_del(struct batch *b, const char *edge, const char *target, uint64_t state)
{
	batch_copy(b, &rec_replica, &batch_add_for(b, BATCH_REPLICA_DEL, state)->u.replica,
	    &(struct replica_rec){ .edge = edge, .target = target, .state = state });
}

void
batch_intent(struct batch *b, const struct intent_rec *i)
{
	assert(i->id != 0);
	batch_copy(b, &rec_intent, &batch_add_for(b, BATCH_INTENT, i->state)->u.intent, i);
}

void
batch_settle(struct batch *b, uint64_t intent_id)
{
	batch_add(b, BATCH_SETTLE, NULL, NULL)->u.intent.id = intent_id;
}

void
batch_queue(struct batch *b, const struct queue_rec *q)
{
	batch_copy(b, &rec_queue, &batch_add_for(b, BATCH_QUEUE, q->state)->u.queue, q);
}

void
batch_enqueue(struct batch *b, const struct queue_rec *q)
{
	batch_copy(b, &rec_queue, &batch_add_for(b, BATCH_ENQUEUE, q->state)->u.queue, q);
}

void
batch_unqueue(struct batch *b, const char *edge, const char *target, uint64_t state)
{
	batch_copy(b, &rec_queue, &batch_add_for(b, BATCH_UNQUEUE, state)->u.queue,
	    &(struct queue_rec){ .edge = edge, .target = target, .state = state });
}

void
batch_unqueue_if(struct batch *b, const char *edge, const char *target, uint64_t state, const struct digest *head)
{
	struct batch_op *op = batch_add_for(b, BATCH_UNQUEUE_IF, state);

	batch_copy(b, &rec_queue, &op->u.unqueue.queue, &(struct queue_rec){ .edge = edge, .target = target, .state = state });
	op->u.unqueue.head = *head;
}

void
batch_run(struct batch *b, const char *backend, const char *name, const struct run_rec *r)
{
	batch_copy(b, &rec_run, &batch_add_state(b, BATCH_RUN, backend, name)->u.run, r);
}

void
batch_event(struct batch *b, const struct event_rec *e)
{
	batch_copy(b, &rec_event, &batch_add(b, BATCH_EVENT, NULL, NULL)->u.event, e);
}

void
batch_meta(struct batch *b, const char *key, struct span value)
{
	struct batch_op *op = batch_add(b, BATCH_META, NULL, NULL);

	op->u.meta.key = arena_strdup(b->arena, key);
	op->u.meta.del = value.p == NULL;
	if (value.p != NULL)
		op->u.meta.value = span_of(arena_span(b->arena, value), value.n);
}

void
batch_adopt(struct batch *b, const char agent[37])
{
	memcpy(batch_add(b, BATCH_ADOPT, NULL, NULL)->u.adopt.agent, agent, 37);
}

uint64_t
intent_new_id(struct store *s)
{
	uint64_t id;

	do
		id = rand_u64(loop_rand(s->loop));
	while (id == 0);
	return id;
}

/* ---------------------------------------------------------------- all ops of a batch */

/* What refers to something of the same batch comes after it, whatever the order of the calls. */
enum batch_rank { RANK_RUN, RANK_VERSION, RANK_HEAD, RANK_REST, RANKS };

static const struct batch_rule {
	enum batch_rank rank;
	batch_fn       *check; /* NULL: no precondition */
	batch_fn       *put;
} batch_rules[BATCH_KINDS] = {
	[BATCH_STATE] = { RANK_VERSION, state_check_name, state_put },
	[BATCH_VERSION] = { RANK_VERSION, version_check, version_put },
	[BATCH_HEAD] = { RANK_HEAD, version_check_head, version_put_head },
	[BATCH_SEEN] = { RANK_REST, state_check_name, state_put_seen },
	[BATCH_RELEASE] = { RANK_REST, state_check_name, state_put_release },
	[BATCH_DROP] = { RANK_REST, version_check_drop, version_put_drop },
	[BATCH_SEMANTIC] = { RANK_REST, version_check_semantic, version_put_semantic },
	[BATCH_HIGH_SERIAL] = { RANK_REST, state_check_name, state_put_high_serial },
	[BATCH_REPLICA] = { RANK_REST, state_check_for, replica_put },
	[BATCH_REPLICA_DEL] = { RANK_REST, state_check_for, replica_put_del },
	[BATCH_INTENT] = { RANK_REST, state_check_for, intent_put },
	[BATCH_SETTLE] = { RANK_REST, NULL, intent_put_settle },
	[BATCH_QUEUE] = { RANK_REST, state_check_for, queue_put },
	[BATCH_ENQUEUE] = { RANK_REST, state_check_for, queue_put_soon },
	[BATCH_UNQUEUE] = { RANK_REST, state_check_for, queue_put_del },
	[BATCH_UNQUEUE_IF] = { RANK_REST, state_check_for, queue_put_del_if },
	[BATCH_RUN] = { RANK_RUN, state_check_name, run_put },
	[BATCH_EVENT] = { RANK_REST, NULL, event_put },
	[BATCH_META] = { RANK_REST, NULL, mark_put },
	[BATCH_ADOPT] = { RANK_REST, NULL, adopt_put },
};

bool
batch_makes_state(const struct batch *b, const char *backend, const char *name)
{
	for (const struct batch_op *op = b->first; op != NULL; op = op->next)
		if ((op->kind <= BATCH_RELEASE || op->kind == BATCH_HIGH_SERIAL || op->kind == BATCH_RUN) &&
		    strcmp(op->name, name) == 0 &&
		    strcmp(op->backend, backend) == 0)
			return true;
	return false;
}

/* Bodies that are new need room: their own, and as much again for whatever else the file needs meanwhile. */
static bool
batch_check_room(struct store_txn *t, const struct batch *b)
{
	uint64_t fresh = 0;

	for (const struct batch_body *body = b->bodies; body != NULL; body = body->next) {
		struct key k = key_digest(t->s, &body->digest);

		if (body->stage.id == 0 && !rec_has(t, DB_DIGESTS, &k))
			fresh += body_size(body->body) + 1;
	}
	if (fresh == 0)
		return !txn_failed(t);
	return host_check_room(t->s, fresh, &t->err) == ERR_OK;
}

bool
batch_check(struct store_txn *t, struct batch *b)
{
	for (struct batch_op *op = b->first; op != NULL; op = op->next) {
		batch_fn *check = batch_rules[op->kind].check;

		if (check != NULL && !check(t, b, op))
			return false;
	}
	return batch_check_room(t, b);
}

bool
batch_put(struct store_txn *t, struct batch *b)
{
	for (int rank = 0; rank < RANKS; rank++)
		for (struct batch_op *op = b->first; op != NULL; op = op->next)
			if ((int)batch_rules[op->kind].rank == rank && !batch_rules[op->kind].put(t, b, op))
				return false;
	return true;
}

bool
batch_resolve(struct store_txn *t, const struct batch_op *op, uint64_t *id)
{
	struct state_rec r;

	if (*id != 0 || op->name == NULL)
		return true;
	if (!state_load(t, op->backend, op->name, &r))
		return txn_fail(t, ERR_NOT_FOUND, 0, "store: %s:%s is not known", op->backend, op->name);
	*id = r.id;
	return true;
}
