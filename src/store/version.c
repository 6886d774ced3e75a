/* SPDX-License-Identifier: MIT */
/* Versions of a state, numbered from 1; and the head, which is one of them. */
#include <string.h>

#include "base/log.h"
#include "base/name.h"
#include "store/batch.h"

static const char *const version_verdicts[VERDICT_COUNT] = {
	[VERDICT_FIRST] = "first",
	[VERDICT_ADVANCE] = "advance",
	[VERDICT_SAME] = "same",
	[VERDICT_REENCODED] = "reencoded",
	[VERDICT_OLDER] = "older",
	[VERDICT_FORK] = "fork",
	[VERDICT_UNRELATED] = "unrelated",
	[VERDICT_EMPTY] = "empty",
	[VERDICT_DAMAGED] = "damaged",
	[VERDICT_SHRUNK] = "shrunk",
	[VERDICT_UNREADABLE] = "unreadable",
};

const char *
verdict_name(enum verdict v)
{
	return (unsigned)v < VERDICT_COUNT ? version_verdicts[v] : "?";
}

bool
store_version(struct store_txn *t, uint64_t state, uint64_t number, struct version_rec *ret)
{
	struct key k = key_u64_u64(state, number);

	if (!rec_get(t, DB_VERSIONS, &k, &rec_version, ret))
		return false;
	ret->number = number;
	return true;
}

uint64_t
version_by_digest(struct store_txn *t, uint64_t state, const struct digest *d)
{
	struct key        k = key_version_digest(t->s, state, d);
	struct number_rec number;

	return rec_get(t, DB_VERSION_DIGESTS, &k, &rec_number, &number) ? number.v : 0;
}

bool
store_version_find(struct store_txn *t, uint64_t state, const struct digest *d, struct version_rec *ret)
{
	uint64_t number = version_by_digest(t, state, d);

	if (number == 0)
		return false;
	if (!store_version(t, state, number, ret) || !digest_eq(&ret->digest, d))
		return txn_fail(t, ERR_CORRUPT, 0, "store: version %llu is in the index of digests, but not there",
		    (unsigned long long)number);
	return true;
}

bool
version_is_evidence(const struct version_rec *v)
{
	return strncmp(v->origin, VERSION_FROM_TARGET, sizeof(VERSION_FROM_TARGET) - 1) == 0;
}

struct version_walk {
	bool (*fn)(void *arg, const struct version_rec *r);
	void  *arg;
};

static bool
version_walk_one(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct version_walk *w = arg;
	struct version_rec   r;

	if (key.n != 16 || !rec_open(t, DB_VERSIONS, key, value, &rec_version, &r))
		return true;
	r.number = be64_get(key.p + 8);
	return w->fn(w->arg, &r);
}

void
store_versions(struct store_txn *t, uint64_t state, bool (*fn)(void *arg, const struct version_rec *r), void *arg)
{
	struct version_walk w = { fn, arg };
	struct key          k = key_u64(state);

	rec_walk(t, &(struct walk){ .db = DB_VERSIONS, .prefix = span_of(k.b, k.n), .down = true,
	    .fn = version_walk_one, .arg = &w });
}

/* ---------------------------------------------------------------- adding */

static bool
version_save(struct store_txn *t, uint64_t state, const struct version_rec *v)
{
	struct key k = key_u64_u64(state, v->number);

	return rec_put(t, DB_VERSIONS, &k, &rec_version, v);
}

/* Its bytes must be in the store or in the batch. */
bool
version_check(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	const struct version_rec *v = &op->u.version;
	struct key                k = key_digest(t->s, &v->digest);
	struct state_rec          r;

	if (!state_check_name(t, b, op))
		return false;
	if (batch_find_body(b, &v->digest) == NULL && !rec_has(t, DB_DIGESTS, &k))
		return txn_fail(t, ERR_NOT_FOUND, 0,
		    "store: %s:%s: the bytes of the version are neither stored nor given", op->backend,
		    op->name);
	if (v->number != 0 && state_load(t, op->backend, op->name, &r) && r.versions >= v->number)
		return txn_fail(t, ERR_CONFLICT, 0, "store: %s:%s already has version %llu", op->backend, op->name,
		    (unsigned long long)r.versions);
	return !txn_failed(t);
}

static bool
version_is(struct store_txn *t, uint64_t state, uint64_t number, const struct version_rec *v)
{
	struct version_rec old;

	return number != 0 && store_version(t, state, number, &old) && digest_eq(&old.digest, &v->digest) &&
	    old.verdict == v->verdict && !old.dropped && strcmp(old.origin, v->origin) == 0;
}

/* Is it there already? From the source: what was seen last. Found elsewhere: ever, for it is kept as evidence, and
 * once is enough. */
static bool
version_is_kept(struct store_txn *t, const struct state_rec *r, const struct version_rec *v)
{
	if (v->number != 0)
		return false;
	if (v->origin[0] != '\0')
		return version_is(t, r->id, version_by_digest(t, r->id, &v->digest), v);
	return version_is(t, r->id, r->seen_version != 0 ? r->seen_version : r->versions, v);
}

static bool
version_raise_serial(struct store_txn *t, struct state_rec *r, const struct version_rec *v)
{
	struct version_rec head;

	if (r->head == 0 || v->serial <= r->high_serial)
		return true;
	if (!store_version(t, r->id, r->head, &head))
		return !txn_failed(t);
	if (strcmp(head.lineage, v->lineage) == 0)
		r->high_serial = v->serial;
	return true;
}

static bool
version_keep_bytes(struct store_txn *t, struct batch *b, const struct digest *d)
{
	const struct batch_body *body = batch_find_body(b, d);
	struct key               k = key_digest(t->s, d);

	if (body != NULL && body->stage.id != 0 && !rec_has(t, DB_DIGESTS, &k))
		return blob_link(t, d, &body->stage);
	return blob_ref(t, t->s->writer.coder, d, body == NULL ? NULL : body->body,
	    body != NULL && body->has_like ? &body->like : NULL);
}

bool
version_put(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct version_rec v = op->u.version;
	struct number_rec  number;
	struct state_rec   r;
	struct key         k;

	if (!state_load_or_new(t, b, op->backend, op->name, &r))
		return false;
	if (version_is_kept(t, &r, &v))
		return true;
	if (txn_failed(t) || !version_keep_bytes(t, b, &v.digest))
		return false;
	if (v.number == 0)
		v.number = r.versions + 1;
	if (v.number > r.versions)
		r.versions = v.number;
	if (v.parent == 0)
		v.parent = r.head;
	if (v.seen == 0)
		v.seen = b->now;
	number.v = v.number;
	k = key_version_digest(t->s, r.id, &v.digest);
	return version_save(t, r.id, &v) && rec_put(t, DB_VERSION_DIGESTS, &k, &rec_number, &number) &&
	    run_count_version(t, r.id, &v) && version_raise_serial(t, &r, &v) && state_save(t, &r);
}

/* ---------------------------------------------------------------- the head */

static bool
version_same_state(const struct batch_op *a, const struct batch_op *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->backend, b->backend) == 0;
}

/* The head that op finds: what an earlier op of its batch made of it, else the store's. false: none. */
static bool
version_head_before(struct batch *b, const struct batch_op *op, const struct state_rec *r, struct digest *ret)
{
	bool has = r->head != 0;

	*ret = r->head_digest;
	for (const struct batch_op *o = b->first; o != op; o = o->next) {
		if (o->kind != BATCH_HEAD || !version_same_state(o, op))
			continue;
		has = true;
		*ret = o->u.head.to;
	}
	return has;
}

static bool
version_in_batch(const struct batch *b, const struct batch_op *head)
{
	for (const struct batch_op *o = b->first; o != NULL; o = o->next)
		if (o->kind == BATCH_VERSION && version_same_state(o, head) &&
		    digest_eq(&o->u.version.digest, &head->u.head.to))
			return true;
	return false;
}

bool
version_check_head(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct state_rec r = { 0 };
	struct digest    now;
	bool             has;

	if (!state_load(t, op->backend, op->name, &r) && txn_failed(t))
		return false;
	has = version_head_before(b, op, &r, &now);
	if (has && digest_eq(&now, &op->u.head.to)) /* somebody else has seen it too */
		return true;
	if (has != op->u.head.has_from || (has && !digest_eq(&now, &op->u.head.from)))
		return txn_fail(t, ERR_CONFLICT, 0, "store: %s:%s: the head has moved meanwhile", op->backend,
		    op->name);
	if (version_in_batch(b, op) || (r.id != 0 && version_by_digest(t, r.id, &op->u.head.to) != 0))
		return true;
	return txn_fail(t, ERR_NOT_FOUND, 0, "store: %s:%s: the new head is no version of it", op->backend, op->name);
}

struct version_serials {
	const char *lineage;
	uint64_t    high;
};

static bool
version_see_serial(void *arg, const struct version_rec *v)
{
	struct version_serials *s = arg;

	if (v->serial > s->high && strcmp(v->lineage, s->lineage) == 0)
		s->high = v->serial;
	return true;
}

/* Within a lineage the highest serial only rises; another lineage has its own. */
static bool
version_head_serial(struct store_txn *t, struct state_rec *r, const struct version_rec *to)
{
	struct version_serials s = { to->lineage, to->serial };
	struct version_rec     old;

	if (r->head != 0 && store_version(t, r->id, r->head, &old) && strcmp(old.lineage, to->lineage) == 0) {
		if (to->serial > r->high_serial)
			r->high_serial = to->serial;
		return true;
	}
	if (txn_failed(t))
		return false;
	store_versions(t, r->id, version_see_serial, &s);
	r->high_serial = s.high;
	return !txn_failed(t);
}

bool
version_put_head(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct version_rec to;
	struct state_rec   r;

	if (!state_load_or_new(t, b, op->backend, op->name, &r))
		return false;
	if (!store_version_find(t, r.id, &op->u.head.to, &to))
		return txn_fail(t, ERR_CORRUPT, 0, "store: %s:%s: the new head is no version of it", op->backend,
		    op->name);
	if (!version_head_serial(t, &r, &to))
		return false;
	if (r.head != to.number)
		r.last_changed = b->now;
	r.head = to.number;
	r.head_digest = to.digest;
	return state_save(t, &r);
}

/* ---------------------------------------------------------------- changing one */

static bool
version_load(struct store_txn *t, const struct batch_op *op, struct state_rec *r, struct version_rec *ret)
{
	if (state_load(t, op->backend, op->name, r) && store_version(t, r->id, op->u.at.number, ret))
		return true;
	return txn_fail(t, ERR_NOT_FOUND, 0, "store: %s:%s has no version %llu", op->backend, op->name,
	    (unsigned long long)op->u.at.number);
}

bool
version_check_drop(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct version_rec v;
	struct state_rec   r;

	(void)b;
	if (!version_load(t, op, &r, &v))
		return false;
	if (r.head == v.number)
		return txn_fail(t, ERR_CONFLICT, 0, "store: %s:%s: version %llu is the head", op->backend, op->name,
		    (unsigned long long)v.number);
	return true;
}

bool
version_put_drop(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct version_rec v;
	struct state_rec   r;

	(void)b;
	if (!version_load(t, op, &r, &v))
		return false;
	if (v.dropped)
		return true;
	v.dropped = true;
	return version_save(t, r.id, &v) && blob_unref(t, t->s->writer.coder, &v.digest);
}

bool
version_check_semantic(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct version_rec v;
	struct state_rec   r;

	(void)b;
	return version_load(t, op, &r, &v);
}

bool
version_put_semantic(struct store_txn *t, struct batch *b, struct batch_op *op)
{
	struct version_rec v;
	struct state_rec   r;

	(void)b;
	if (!version_load(t, op, &r, &v))
		return false;
	v.semantic = op->u.at.d;
	return version_save(t, r.id, &v);
}
