/* SPDX-License-Identifier: MIT */
/*
 * The check of a whole store, on the work pool. First the records, which must agree with each other, so that one
 * transaction sees them all (a few microseconds each); then the bytes of every blob, in steps with a transaction
 * each, so that nothing pins old pages while the store goes on being written.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/batch.h"

#define CHECK_STEP_BYTES ((uint64_t)16 << 20) /* decoded in one step, more or less */
#define CHECK_TEXT_MAX   ((size_t)256 << 10)  /* of sentences kept from one step; more are only counted */
#define CHECK_IDS_MAX    ((uint64_t)1 << 30)

union check_rec {
	struct state_rec   state;
	struct version_rec version;
	struct blob        blob;
	struct replica_rec replica;
	struct owner_rec   owner;
	struct queue_rec   queue;
	struct intent_rec  intent;
	struct event_rec   event;
	struct run_rec     run;
	struct span        bytes;
};

struct check {
	struct op           op;
	struct store       *s;
	struct store_check *ret;

	/* the job's, until the loop takes it over between two steps */
	struct work_job    *job;
	struct store_txn    t;
	struct buf          text;      /* sentences, each with its NUL */
	uint64_t            problems, versions, blobs, bytes;
	const struct check_table *table; /* that is walked */
	uint32_t           *refs;      /* references counted, by blob */
	uint64_t            nrefs;
	uint64_t            last;      /* blob decoded last */
	uint64_t            step_bytes;
	uint64_t            piece_blob;
	bool                piece_known;
	bool                more;
};

/* ---------------------------------------------------------------- problems */

__attribute__((format(printf, 2, 3))) static void
check_problem(struct check *c, const char *fmt, ...)
{
	char    text[2 * ERR_MSG_MAX];
	va_list ap;

	c->problems++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c->text.len + strlen(text) + 1 <= CHECK_TEXT_MAX)
		buf_put(&c->text, text, strlen(text) + 1);
}

/* What the transaction noted becomes a problem, and the check goes on. */
static void
check_noted(struct check *c, const char *what, uint64_t id)
{
	if (txn_failed(&c->t))
		check_problem(c, "%s %llu: %s", what, (unsigned long long)id, c->t.err.msg);
	txn_pardon(&c->t);
}

static bool
check_goes_on(const struct check *c)
{
	return !work_cancelled(c->job);
}

/* ---------------------------------------------------------------- states and versions */

static void
check_head(struct check *c, const struct state_rec *r)
{
	struct version_rec v;

	if (r->head == 0)
		return;
	if (!store_version(&c->t, r->id, r->head, &v)) {
		check_noted(c, "state", r->id);
		check_problem(c, "%s:%s: its head, version %llu, is missing", r->backend, r->name,
		    (unsigned long long)r->head);
	} else if (!digest_eq(&v.digest, &r->head_digest)) {
		check_problem(c, "%s:%s: the digest of its head is not that of version %llu", r->backend, r->name,
		    (unsigned long long)r->head);
	}
}

static void
check_state(struct check *c, struct span key, union check_rec *rec)
{
	struct state_rec *r = &rec->state, found;
	struct key        k;

	r->id = be64_get(key.p);
	if (!state_load(&c->t, r->backend, r->name, &found) || found.id != r->id) {
		check_noted(c, "state", r->id);
		check_problem(c, "%s:%s: the index of names does not lead to it", r->backend, r->name);
	}
	k = key_backend(&c->t, r->backend, r->id);
	if (!rec_has(&c->t, DB_STATE_BACKENDS, &k))
		check_problem(c, "%s:%s: not in the index of its backend", r->backend, r->name);
	check_head(c, r);
}

static void
check_version_bytes(struct check *c, uint64_t state, const struct version_rec *v)
{
	struct blob b;

	if (v->dropped)
		return;
	if (!blob_find(&c->t, &v->digest, &b)) {
		check_noted(c, "state", state);
		check_problem(c, "state %llu: the bytes of version %llu are missing", (unsigned long long)state,
		    (unsigned long long)v->number);
		return;
	}
	if (b.id < c->nrefs)
		c->refs[b.id]++;
	if (b.raw != v->size)
		check_problem(c, "state %llu: version %llu is recorded with %llu bytes, and has %llu",
		    (unsigned long long)state,
		    (unsigned long long)v->number, (unsigned long long)v->size, (unsigned long long)b.raw);
}

static void
check_version(struct check *c, struct span key, union check_rec *rec)
{
	struct version_rec *v = &rec->version;
	struct state_rec    r;
	uint64_t            state = be64_get(key.p);

	v->number = be64_get(key.p + 8);
	if (!store_state_by_id(&c->t, state, &r)) {
		check_noted(c, "state", state);
		check_problem(c, "version %llu belongs to state %llu, which is missing", (unsigned long long)v->number,
		    (unsigned long long)state);
	} else if (v->number > r.versions) {
		check_problem(c, "%s:%s: version %llu is above its count of versions", r.backend, r.name,
		    (unsigned long long)v->number);
	}
	if (version_by_digest(&c->t, state, &v->digest) < v->number) {
		check_noted(c, "state", state);
		check_problem(c, "state %llu: version %llu is not in the index of digests", (unsigned long long)state,
		    (unsigned long long)v->number);
	}
	check_version_bytes(c, state, v);
}

/* ---------------------------------------------------------------- blobs and pieces */

static bool
check_has_user(const struct blob *p, uint64_t id)
{
	for (uint64_t i = 0; i < p->users.n; i++)
		if (p->users.v[i] == id)
			return true;
	return false;
}

static void
check_blob_links(struct check *c, const struct blob *b)
{
	struct blob other;

	if (b->prefix != 0 && (!blob_get(&c->t, b->prefix, &other) || !check_has_user(&other, b->id))) {
		check_noted(c, "blob", b->id);
		check_problem(c, "blob %llu: its prefix %llu is missing or does not know of it",
		    (unsigned long long)b->id, (unsigned long long)b->prefix);
	}
	for (uint64_t i = 0; i < b->users.n; i++) {
		if (blob_get(&c->t, b->users.v[i], &other) && other.prefix == b->id)
			continue;
		check_noted(c, "blob", b->id);
		check_problem(c, "blob %llu: its user %llu is missing or does not stand on it",
		    (unsigned long long)b->id, (unsigned long long)b->users.v[i]);
	}
}

static void
check_blob(struct check *c, struct span key, union check_rec *rec)
{
	struct blob      *b = &rec->blob;
	struct key        k = key_digest(c->s, &b->digest);
	struct number_rec id;

	b->id = be64_get(key.p);
	if (!rec_get(&c->t, DB_DIGESTS, &k, &rec_number, &id) || id.v != b->id) {
		check_noted(c, "blob", b->id);
		check_problem(c, "blob %llu: the index of digests does not lead to it", (unsigned long long)b->id);
	}
	if (b->id >= c->nrefs || c->refs[b->id] != b->refs)
		check_problem(c, "blob %llu: counts %llu references, and has %u", (unsigned long long)b->id,
		    (unsigned long long)b->refs, b->id < c->nrefs ? c->refs[b->id] : 0);
	check_blob_links(c, b);
}

static bool
check_piece(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct check *c = arg;
	struct key    k;
	uint64_t      id = key.n == 12 ? be64_get(key.p) : 0;

	(void)value;
	if (id != 0 && id == c->piece_blob)
		return true;
	c->piece_blob = id;
	k = key_u64(id);
	if (!rec_has(t, DB_BLOBS, &k) && !rec_has(t, DB_STAGED, &k))
		check_problem(c, "blob %llu: pieces without a record", (unsigned long long)id);
	return check_goes_on(c);
}

/* ---------------------------------------------------------------- the rest */

static void
check_replica(struct check *c, struct span key, union check_rec *rec)
{
	const struct replica_rec *r = &rec->replica;
	struct state_rec          state;

	(void)key;
	if (store_state_by_id(&c->t, r->state, &state))
		return;
	check_noted(c, "state", r->state);
	check_problem(c, "replica %s %s: its state %llu is missing", r->edge, r->target, (unsigned long long)r->state);
}

static void
check_owner(struct check *c, struct span key, union check_rec *rec)
{
	const struct owner_rec *o = &rec->owner;
	struct state_rec        state;

	(void)key;
	if (o->holders != 0 && store_state_by_id(&c->t, o->state, &state))
		return;
	check_noted(c, "state", o->state);
	check_problem(c, "a name at a target belongs to state %llu, which is missing", (unsigned long long)o->state);
}

static void
check_queue(struct check *c, struct span key, union check_rec *rec)
{
	const struct queue_rec *q = &rec->queue;
	struct queue_rec        found;

	(void)key;
	if (store_queued(&c->t, q->edge, q->target, q->state, &found) && found.due == q->due)
		return;
	check_noted(c, "queue of state", q->state);
	check_problem(c, "queue: the entry of %s %s is not in the index", q->edge, q->target);
}

static void
check_counts(struct check *c)
{
	static const struct {
		enum db of, index;
	} pairs[] = { { DB_STATES, DB_STATE_NAMES }, { DB_STATES, DB_STATE_BACKENDS }, { DB_BLOBS, DB_DIGESTS },
		{ DB_QUEUE, DB_QUEUE_KEYS } };

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if (rec_count(&c->t, pairs[i].of) != rec_count(&c->t, pairs[i].index))
			check_problem(c, "%s and %s do not have as many entries", store_db_names[pairs[i].of],
			    store_db_names[pairs[i].index]);
}

static void
check_run(struct check *c, struct span key, union check_rec *rec)
{
	const struct run_rec *r = &rec->run;
	uint64_t              state = be64_get(key.p), number = be64_get(key.p + 8);
	struct state_rec      s;

	if (!store_state_by_id(&c->t, state, &s)) {
		check_noted(c, "state", state);
		check_problem(c, "run %llu belongs to state %llu, which is missing", (unsigned long long)number, (unsigned long long)state);
	} else if (r->last_version > s.versions) {
		check_problem(c, "%s:%s: run %llu ends with version %llu, which is above its count of versions", s.backend, s.name,
		    (unsigned long long)number, (unsigned long long)r->last_version);
	}
}

/* What each table holds. */
static const struct check_table {
	enum db                db;
	const char            *what;
	size_t                 key_size; /* a number at its beginning; 0: a hash */
	const struct rec_type *type;     /* NULL: bytes */
	void                 (*fn)(struct check *c, struct span key, union check_rec *rec); /* NULL: that it can be read is all */
} check_tables[] = {
	{ DB_STATES, "state", 8, &rec_state, check_state },
	{ DB_VERSIONS, "a version of state", 16, &rec_version, check_version },
	{ DB_BLOBS, "blob", 8, &rec_blob, check_blob },
	{ DB_REPLICAS, "a replica", 0, &rec_replica, check_replica },
	{ DB_REPLICA_NAMES, "a name at a target", 0, &rec_owner, check_owner },
	{ DB_QUEUE, "an entry of the queue", 0, &rec_queue, check_queue },
	{ DB_INTENTS, "intent", 8, &rec_intent, NULL },
	{ DB_RUNS, "a run of state", 16, &rec_run, check_run },
	{ DB_EVENTS, "event", 8, &rec_event, NULL },
	{ DB_MARKS, "a mark", 0, NULL, NULL },
};

static bool
check_record(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct check             *c = arg;
	const struct check_table *table = c->table;
	union check_rec           rec;

	c->versions += table->db == DB_VERSIONS;
	if (table->key_size != 0 && key.n != table->key_size)
		check_problem(c, "%s: a key of %zu bytes", table->what, key.n);
	else if (table->type != NULL ? !rec_open(t, table->db, key, value, table->type, &rec) :
	                               !rec_open_bytes(t, table->db, key, value, &rec.bytes))
		check_noted(c, table->what, table->key_size != 0 ? be64_get(key.p) : 0);
	else if (table->fn != NULL)
		table->fn(c, key, &rec);
	return check_goes_on(c);
}

static void
check_all_records(struct check *c)
{
	for (size_t i = 0; i < ARRAY_LEN(check_tables) && check_goes_on(c); i++) {
		c->table = &check_tables[i];
		rec_walk(&c->t, &(struct walk){ .db = c->table->db, .fn = check_record, .arg = c });
		check_noted(c, store_db_names[c->table->db], 0);
	}
	rec_walk(&c->t, &(struct walk){ .db = DB_PIECES, .fn = check_piece, .arg = c });
	check_noted(c, store_db_names[DB_PIECES], 0);
	check_counts(c);
}

static enum err_code
check_records_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct check   *c = arg;
	struct counters n;
	enum err_code   code;

	c->job = job;
	if ((code = txn_begin(c->s, TXN_POOL, &c->t, reterr)) != ERR_OK)
		return code;
	if (!txn_read_counters(&c->t, &n) || n.blob_id >= CHECK_IDS_MAX) {
		check_noted(c, "counters", 0);
		check_problem(c, "the counters are damaged");
		n.blob_id = 0;
	}
	c->t.forget = true;
	c->nrefs = n.blob_id + 1;
	c->refs = xcalloc((size_t)c->nrefs, sizeof(*c->refs));
	check_all_records(c);
	txn_abort(&c->t);
	return ERR_OK;
}

/* ---------------------------------------------------------------- bytes */

static bool
check_sink(void *arg, struct span part, struct err *reterr)
{
	(void)arg, (void)part, (void)reterr;
	return true;
}

static bool
check_renew(void *arg, struct store_txn *t, struct err *reterr)
{
	struct check *c = arg;

	if (!check_goes_on(c)) {
		err_set(reterr, ERR_CANCELLED, 0, "store: the check was stopped");
		return false;
	}
	return txn_renew(t, reterr) == ERR_OK;
}

static void
check_decode(struct check *c, const struct blob *b)
{
	struct blob_sink sink = { check_sink, check_renew, c };
	struct err       e = { 0 };
	struct buf       raw;
	enum err_code    code;

	buf_init(&raw, SIZE_MAX / 2);
	code = b->raw > BODY_SPOOL_ABOVE ? blob_stream(&c->t, b, &sink, &e) : blob_decode(&c->t, b, &raw, &e);
	buf_wipe_free(&raw);
	txn_pardon(&c->t);
	c->blobs++;
	c->bytes += b->raw;
	c->step_bytes += b->cost;
	if (code != ERR_OK && code != ERR_CANCELLED)
		check_problem(c, "%s", e.msg);
}

/* The number of the next blob: the walk itself must not decode, for a large one begins other transactions. */
static bool
check_next_blob(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct check *c = arg;

	(void)t, (void)value;
	if (key.n != 8)
		return true;
	c->last = be64_get(key.p);
	c->more = true;
	return false;
}

static enum err_code
check_bytes_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct check *c = arg;
	struct blob   b;
	struct key    from;
	enum err_code code;

	c->job = job;
	c->step_bytes = 0;
	if ((code = txn_begin(c->s, TXN_POOL, &c->t, reterr)) != ERR_OK)
		return code;
	do {
		from = key_u64(c->last + 1);
		c->more = false;
		rec_walk(&c->t, &(struct walk){ .db = DB_BLOBS, .from = &from, .fn = check_next_blob, .arg = c });
		if (c->more && blob_get(&c->t, c->last, &b))
			check_decode(c, &b);
		txn_pardon(&c->t); /* an unreadable record was reported with the records */
	} while (c->more && c->step_bytes < CHECK_STEP_BYTES && check_goes_on(c));
	txn_abort(&c->t);
	return ERR_OK;
}

/* ---------------------------------------------------------------- the operation */

/* On the loop, between two steps. */
static void
check_hand_over(struct check *c)
{
	struct store_check *r = c->ret;

	for (size_t i = 0; i < c->text.len; i += strlen((char *)c->text.data + i) + 1)
		if (r->problem != NULL)
			r->problem(r->arg, (char *)c->text.data + i);
	buf_reset(&c->text);
	r->versions = c->versions;
	r->blobs = c->blobs;
	r->bytes = c->bytes;
	r->problems = c->problems;
}

enum check_state_name { CHECK_START, CHECK_RECORDS, CHECK_BYTES, CHECK_STATES };
static const char *const check_states[CHECK_STATES] = { "start", "records", "bytes" };

static enum op_turn
check_step(struct op *op)
{
	struct check *c = container_of(op, struct check, op);

	switch ((enum check_state_name)op->state) {
	case CHECK_START:
		return op_await(op, CHECK_RECORDS, work_run(c->s->work, check_records_job, c));
	case CHECK_RECORDS:
	case CHECK_BYTES:
		check_hand_over(c);
		if (op_failed(op))
			return op_fail(op);
		if (op->state == CHECK_BYTES && !c->more)
			return op_finish(op);
		return op_await(op, CHECK_BYTES, work_run(c->s->work, check_bytes_job, c));
	case CHECK_STATES:
		break;
	}
	return OP_DONE;
}

static void
check_free(struct op *op)
{
	struct check *c = container_of(op, struct check, op);

	buf_free(&c->text);
	free(c->refs);
	free(c);
}

static const struct op_class check_class = {
	.name = "check",
	.step = check_step,
	.free = check_free,
	.states = check_states,
	.nstates = CHECK_STATES,
};

struct op *
store_check(struct store *s, struct store_check *ret)
{
	struct check *c = xcalloc(1, sizeof(*c));

	op_init(&c->op, &check_class, s->loop);
	c->s = s;
	c->ret = ret;
	buf_init(&c->text, CHECK_TEXT_MAX + 1);
	return &c->op;
}
