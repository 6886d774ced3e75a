/* SPDX-License-Identifier: MIT */
/* What batches write is what reads give, on both loops, plain and encrypted. */
#include <stdlib.h>

#include "base/mem.h"
#include "../../lib/store_rig.h"
#include "../../lib/test.h"

static struct rig r;

/* The same test in every way a store can run. */
static void
in_every_store(const char *name, void (*fn)(void))
{
	static const uint8_t key[CRYPT_KEY_LEN] = { 42 };
	struct crypt_key    *k = crypt_key_new(key);
	char                *dirs[4];

	for (int i = 0; i < 4; i++) {
		dirs[i] = xasprintf("%s/%s-%d", test_tmpdir(), name, i);
		struct store_conf c = { .dir = dirs[i], .key = (i & 1) != 0 ? k : NULL };

		if ((i & 2) != 0)
			rig_open_virtual(&r, &c, 1);
		else
			rig_open(&r, &c);
		fn();
		rig_check_clean(&r);
		rig_close(&r);
		free(dirs[i]);
	}
	crypt_key_free(k);
}

static void
put_text(const char *backend, const char *name, const char *text, uint64_t serial)
{
	rig_put(&r, backend, name, span_str(text), serial);
}

/* ---------------------------------------------------------------- states and versions */

static void
states_fn(void)
{
	struct store_txn  *t;
	struct state_rec   s;
	struct version_rec v;
	struct digest      d1 = rig_digest(span_str("one")), d2 = rig_digest(span_str("two"));

	put_text("live", "prod/vpc", "one", 7);
	put_text("live", "prod/vpc", "two", 8);
	t = rig_read(&r);
	CHECK(store_state(t, "live", "prod/vpc", &s));
	CHECK_U64(s.id, 1);
	CHECK_STR(s.backend, "live");
	CHECK_STR(s.name, "prod/vpc");
	CHECK_U64(s.head, 2);
	CHECK_U64(s.versions, 2);
	CHECK_U64(s.high_serial, 8);
	CHECK_U64(s.seen_version, 2);
	CHECK(digest_eq(&s.head_digest, &d2) && digest_eq(&s.seen_digest, &d2));
	CHECK(s.first_seen != 0 && s.last_changed != 0 && s.last_read == 1);
	CHECK(!store_state(t, "live", "prod/vpc2", &s) && !store_state(t, "liv", "eprod/vpc", &s));
	CHECK(store_state_by_id(t, 1, &s) && !store_state_by_id(t, 2, &s));
	CHECK(store_version(t, 1, 2, &v));
	CHECK_U64(v.parent, 1);
	CHECK_U64(v.serial, 8);
	CHECK(v.verdict == VERDICT_ADVANCE && v.kind == STATE_V4 && v.seen != 0 && v.added == -1);
	CHECK_STR(v.who, "ci@runner-7");
	CHECK_STR(v.origin, "");
	CHECK(store_version_find(t, 1, &d1, &v));
	CHECK_U64(v.number, 1);
	CHECK(!store_version(t, 1, 3, &v));
	CHECK(store_txn_error(t, NULL) == ERR_OK);
	store_end(t);
	CHECK(rig_holds(&r, span_str("one")) && rig_holds(&r, span_str("two")) && !rig_holds(&r, span_str("three")));
}

static void
states(void)
{
	in_every_store("states", states_fn);
}

struct seen_states {
	uint64_t ids[64];
	char     names[64][32];
	size_t   n, stop_at;
};

static bool
see_state(void *arg, const struct state_rec *s)
{
	struct seen_states *seen = arg;

	seen->ids[seen->n] = s->id;
	snprintf(seen->names[seen->n++], 32, "%s:%s", s->backend, s->name);
	return seen->n != seen->stop_at;
}

static void
walk_states_fn(void)
{
	struct seen_states seen = { .n = 0 };
	struct store_txn  *t;

	for (int i = 0; i < 20; i++) {
		struct batch *b = batch_new(r.store);
		char          name[16];

		snprintf(name, sizeof(name), "s%d", i);
		batch_state(b, i % 3 == 0 ? "a" : "b", name);
		batch_state(b, i % 3 == 0 ? "a" : "b", name);
		rig_apply(&r, b);
	}
	t = rig_read(&r);
	CHECK_U64(store_state_count(t), 20);
	CHECK_U64(store_state_last_id(t), 20);
	store_states(t, NULL, 0, see_state, &seen);
	CHECK_U64(seen.n, 20);
	for (size_t i = 0; i < 20; i++)
		CHECK_U64(seen.ids[i], i + 1);
	seen.n = 0;
	store_states(t, "a", 4, see_state, &seen); /* ids 1 4 7 10 ... */
	CHECK_U64(seen.n, 5);
	CHECK_STR(seen.names[0], "a:s6");
	CHECK_STR(seen.names[4], "a:s18");
	seen = (struct seen_states){ .stop_at = 3 };
	store_states(t, "b", 0, see_state, &seen);
	CHECK_U64(seen.n, 3);
	seen.n = 0;
	store_states(t, "c", 0, see_state, &seen);
	CHECK_U64(seen.n, 0);
	store_end(t);
}

static void
walk_states(void)
{
	in_every_store("walk", walk_states_fn);
}

static bool
see_version(void *arg, const struct version_rec *v)
{
	struct seen_states *seen = arg;

	seen->ids[seen->n++] = v->number;
	return seen->n != seen->stop_at;
}

static void
walk_versions_fn(void)
{
	struct seen_states seen = { .n = 0 };
	struct store_txn  *t;
	char               text[16];

	for (uint64_t i = 1; i <= 10; i++) {
		snprintf(text, sizeof(text), "v%d", (int)i);
		put_text("live", "x", text, i);
		put_text("live", "y", text, i);
	}
	t = rig_read(&r);
	store_versions(t, 1, see_version, &seen);
	CHECK_U64(seen.n, 10);
	CHECK_U64(seen.ids[0], 10);
	CHECK_U64(seen.ids[9], 1);
	seen = (struct seen_states){ .stop_at = 2 };
	store_versions(t, 2, see_version, &seen);
	CHECK_U64(seen.n, 2);
	CHECK_U64(seen.ids[1], 9);
	seen.n = 0;
	store_versions(t, 3, see_version, &seen);
	CHECK_U64(seen.n, 0);
	store_end(t);
}

static void
walk_versions(void)
{
	in_every_store("versions", walk_versions_fn);
}

static void
add_version(const char *text, enum verdict verdict, uint64_t serial, const char *lineage, const char *origin)
{
	struct batch      *b = batch_new(r.store);
	struct digest      d = rig_digest(span_str(text));
	struct body       *body = body_copy(span_str(text));
	struct version_rec v = { .digest = d, .size = strlen(text), .verdict = verdict, .serial = serial,
	    .lineage = lineage, .origin = origin, .kind = STATE_V4 };

	batch_body(b, body, &d, NULL);
	if (origin == NULL)
		/* before the version: no matter */
		batch_seen(b, "live", "x", &(struct sighting){ .digest = &d, .read = 5 });
	batch_version(b, "live", "x", &v);
	body_unref(body);
	rig_apply(&r, b);
}

static uint64_t
count_versions(void)
{
	struct store_txn *t = rig_read(&r);
	struct state_rec  s;
	uint64_t          n;

	CHECK(store_state(t, "live", "x", &s));
	n = s.versions;
	store_end(t);
	return n;
}

/* What was seen last is not added again; what comes back after something else is. */
static void
seen_again_fn(void)
{
	add_version("a", VERDICT_FIRST, 1, "L", NULL);
	add_version("a", VERDICT_FIRST, 1, "L", NULL);
	CHECK_U64(count_versions(), 1);
	add_version("b", VERDICT_FORK, 1, "L", NULL);
	add_version("b", VERDICT_FORK, 1, "L", NULL);
	CHECK_U64(count_versions(), 2);
	add_version("a", VERDICT_OLDER, 1, "L", NULL);
	CHECK_U64(count_versions(), 3);
	add_version("a", VERDICT_OLDER, 1, "L", NULL);
	CHECK_U64(count_versions(), 3);
	add_version("b", VERDICT_FORK, 1, "L", NULL);
	CHECK_U64(count_versions(), 4);
	/* the same bytes with another verdict are another version */
	add_version("b", VERDICT_SHRUNK, 1, "L", NULL);
	CHECK_U64(count_versions(), 5);
	/* found at a target: once */
	add_version("z", VERDICT_OLDER, 1, "L", "target e t");
	add_version("y", VERDICT_OLDER, 1, "L", "target e t");
	add_version("z", VERDICT_OLDER, 1, "L", "target e t");
	CHECK_U64(count_versions(), 7);
	add_version("z", VERDICT_OLDER, 1, "L", "target e other");
	CHECK_U64(count_versions(), 8);
}

static void
seen_again(void)
{
	in_every_store("again", seen_again_fn);
}

static uint64_t
high_serial(void)
{
	struct store_txn *t = rig_read(&r);
	struct state_rec  s;
	uint64_t          n;

	CHECK(store_state(t, "live", "x", &s));
	n = s.high_serial;
	store_end(t);
	return n;
}

static void
move_head(const char *from, const char *to)
{
	struct batch *b = batch_new(r.store);
	struct digest f = rig_digest(span_str(from == NULL ? "" : from)), d = rig_digest(span_str(to));

	batch_head(b, "live", "x", from == NULL ? NULL : &f, &d);
	rig_apply(&r, b);
}

/* The highest serial belongs to the head's lineage. */
static void
high_serials_fn(void)
{
	struct batch *b;

	add_version("a", VERDICT_FIRST, 5, "L", NULL);
	CHECK_U64(high_serial(), 0);
	move_head(NULL, "a");
	CHECK_U64(high_serial(), 5);
	add_version("b", VERDICT_FORK, 9, "L", NULL);
	CHECK_U64(high_serial(), 9);
	add_version("c", VERDICT_UNRELATED, 30, "M", NULL);
	add_version("d", VERDICT_UNRELATED, 20, "M", NULL);
	CHECK_U64(high_serial(), 9);
	move_head("a", "d");
	CHECK_U64(high_serial(), 30);
	move_head("d", "a");
	CHECK_U64(high_serial(), 9);
	b = batch_new(r.store);
	batch_high_serial(b, "live", "x", 12);
	batch_high_serial(b, "live", "x", 11);
	rig_apply(&r, b);
	CHECK_U64(high_serial(), 12);
}

static void
high_serials(void)
{
	in_every_store("serials", high_serials_fn);
}

static void
sightings_fn(void)
{
	struct digest     d = rig_digest(span_str("one")), other = rig_digest(span_str("lost"));
	struct batch     *b = batch_new(r.store);
	struct store_txn *t;
	struct state_rec  s;

	batch_seen(b, "live", "x", &(struct sighting){ .etag = "e1", .read = 7, .flags = STATE_TARGET | STATE_IS_LOCKED,
	    .problem = "p" });
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK(store_state(t, "live", "x", &s));
	CHECK_STR(s.etag, "e1");
	CHECK_STR(s.problem, "p");
	CHECK(s.flags == (STATE_TARGET | STATE_IS_LOCKED) && s.seen_version == 0 && s.last_read == 7 &&
	    digest_is_zero(&s.seen_digest));
	store_end(t);

	put_text("live", "x", "one", 1);
	b = batch_new(r.store);
	batch_seen(b, "live", "x", &(struct sighting){ .etag = "e2", .flags = STATE_GONE });
	batch_release(b, "live", "x", &other);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK(store_state(t, "live", "x", &s));
	CHECK(s.flags == (STATE_TARGET | STATE_GONE) && s.seen_version == 1 && s.last_read == 1 &&
	    digest_eq(&s.seen_digest, &d));
	CHECK(digest_eq(&s.released, &other));
	CHECK_STR(s.problem, "");
	store_end(t);

	b = batch_new(r.store);
	batch_release(b, "live", "x", NULL);
	batch_seen(b, "live", "x", &(struct sighting){ .digest = &other, .read = 9 });
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK(store_state(t, "live", "x", &s));
	CHECK(digest_is_zero(&s.released) && s.seen_version == 0 && digest_eq(&s.seen_digest, &other));
	store_end(t);
}

static void
sightings(void)
{
	in_every_store("sightings", sightings_fn);
}

static void
semantic_fn(void)
{
	struct batch      *b;
	struct digest      d = rig_digest(span_str("meaning"));
	struct store_txn  *t;
	struct version_rec v;

	put_text("live", "x", "one", 1);
	b = batch_new(r.store);
	batch_semantic(b, "live", "x", 1, &d);
	rig_apply(&r, b);
	b = batch_new(r.store);
	batch_semantic(b, "live", "x", 2, &d);
	CHECK(rig_try_apply(&r, b, NULL) == ERR_NOT_FOUND);
	t = rig_read(&r);
	CHECK(store_version(t, 1, 1, &v) && digest_eq(&v.semantic, &d));
	store_end(t);
}

static void
semantic(void)
{
	in_every_store("semantic", semantic_fn);
}

/* ---------------------------------------------------------------- replicas, intents, queue */

static struct replica_rec
replica_of(uint64_t state, const char *target, const char *name)
{
	return (struct replica_rec){ .edge = "live-to-dr", .target = target, .state = state, .name = name,
	    .status = REPLICA_HELD,
		.serial = 9, .etag = "\"e\"", .error = "no", .hint = "resolve", .error_code = ERR_CONFLICT,
		    .written = 5, .reencoded = true, .troubled = 7 };
}

static bool
see_replica(void *arg, const struct replica_rec *p)
{
	struct seen_states *seen = arg;

	snprintf(seen->names[seen->n++], 32, "%s:%s", p->target, p->name);
	return true;
}

static void
replicas_fn(void)
{
	struct batch      *b = batch_new(r.store);
	struct seen_states seen = { .n = 0 };
	struct replica_rec p = replica_of(0, "dr", "a"), q;
	struct store_txn  *t;

	batch_for(b, "live", "x");
	batch_replica(b, &p);
	batch_state(b, "live", "x");
	batch_state(b, "live", "y");
	batch_for(b, "live", "y");
	p = replica_of(0, "dr", "b");
	batch_replica(b, &p);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK(store_replica(t, "live-to-dr", "dr", 1, &q));
	CHECK(q.state == 1 && q.status == REPLICA_HELD && q.error_code == ERR_CONFLICT && q.reencoded && q.troubled == 7);
	CHECK_STR(q.name, "a");
	CHECK_STR(q.hint, "resolve");
	CHECK_U64(store_replica_owner(t, "dr", "b"), 2);
	CHECK_U64(store_replica_owner(t, "cold", "b"), 0);
	store_replicas(t, "live-to-dr", see_replica, &seen);
	CHECK_U64(seen.n, 2);
	store_replicas(t, "other", see_replica, &seen);
	CHECK_U64(seen.n, 2);
	store_replicas(t, NULL, see_replica, &seen);
	CHECK_U64(seen.n, 4);
	store_end(t);

	/* the first keeps the name; a new name frees the old one */
	b = batch_new(r.store);
	p = replica_of(2, "dr", "a");
	batch_replica(b, &p);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK_U64(store_replica_owner(t, "dr", "a"), 1);
	CHECK_U64(store_replica_owner(t, "dr", "b"), 0);
	store_end(t);
	b = batch_new(r.store);
	batch_replica_del(b, "live-to-dr", "dr", 1);
	batch_replica_del(b, "live-to-dr", "dr", 1);
	batch_replica(b, &p);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK(!store_replica(t, "live-to-dr", "dr", 1, &q));
	CHECK_U64(store_replica_owner(t, "dr", "a"), 2);
	store_end(t);
}

/* A name belongs to the state as long as any edge of it writes there. */
static void
shared_names_fn(void)
{
	struct batch      *b = batch_new(r.store);
	struct replica_rec p = replica_of(0, "dr", "a"), other = p;
	struct store_txn  *t;

	other.edge = "renamed";
	batch_state(b, "live", "x");
	batch_for(b, "live", "x");
	batch_replica(b, &p);
	batch_replica(b, &other);
	batch_replica(b, &p); /* again: counts once */
	rig_apply(&r, b);
	b = batch_new(r.store);
	batch_replica_del(b, "live-to-dr", "dr", 1);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK_U64(store_replica_owner(t, "dr", "a"), 1);
	store_end(t);
	b = batch_new(r.store);
	batch_replica_del(b, "renamed", "dr", 1);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK_U64(store_replica_owner(t, "dr", "a"), 0);
	store_end(t);
}

static void
shared_names(void)
{
	in_every_store("shared-names", shared_names_fn);
}

static void
replicas(void)
{
	in_every_store("replicas", replicas_fn);
}

static bool
see_intent(void *arg, const struct intent_rec *i)
{
	*(uint64_t *)arg += i->id;
	return true;
}

static void
intents_fn(void)
{
	uint64_t          id = intent_new_id(r.store), sum = 0;
	struct batch     *b = batch_new(r.store);
	struct intent_rec i = { .id = id, .kind = INTENT_PUSH, .edge = "e", .target = "t", .state = 4, .name = "n",
	    .lock_id = "l",
		.lock_body = "{\"ID\":\"l\"}", .created = 10, .uncertain = true, .agent = store_agent_id(r.store) },
		    got;
	struct store_txn *t;

	CHECK(id != 0 && id != intent_new_id(r.store));
	batch_intent(b, &i);
	rig_apply(&r, b);
	b = batch_new(r.store);
	i.tries = 2;
	batch_intent(b, &i);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK(store_intent(t, id, &got));
	CHECK(got.kind == INTENT_PUSH && got.uncertain && got.tries == 2 && got.id == id && got.state == 4);
	CHECK_STR(got.lock_body, "{\"ID\":\"l\"}");
	CHECK_STR(got.agent, store_agent_id(r.store));
	store_intents(t, see_intent, &sum);
	CHECK_U64(sum, id);
	store_end(t);
	b = batch_new(r.store);
	batch_settle(b, id);
	batch_settle(b, id);
	batch_settle(b, 12345);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK(!store_intent(t, id, &got));
	store_end(t);
}

static void
intents(void)
{
	in_every_store("intents", intents_fn);
}

static bool
see_queue(void *arg, const struct queue_rec *q)
{
	struct seen_states *seen = arg;

	seen->ids[seen->n] = (uint64_t)q->due;
	snprintf(seen->names[seen->n++], 32, "%s/%llu", q->target, (unsigned long long)q->state);
	return true;
}

static void
queue_fn(void)
{
	struct batch      *b = batch_new(r.store);
	struct seen_states seen = { .n = 0 };
	struct store_txn  *t;
	struct queue_rec   q;

	batch_queue(b, &(struct queue_rec){ .due = 50, .edge = "e", .target = "t1", .state = 1, .attempt = 3,
	    .waiting_since = 8 });
	batch_enqueue(b, &(struct queue_rec){ .due = 20, .edge = "e", .target = "t2", .state = 1 });
	batch_enqueue(b, &(struct queue_rec){ .due = -5, .edge = "e", .target = "t3", .state = 1 });
	batch_enqueue(b, &(struct queue_rec){ .due = 60, .edge = "e", .target = "t1", .state = 1 });
	rig_apply(&r, b);
	t = rig_read(&r);
	store_queue(t, NULL, NULL, see_queue, &seen);
	CHECK_U64(seen.n, 3);
	seen.n = 0;
	store_queue(t, "e", "t2", see_queue, &seen);
	CHECK_U64(seen.n, 1);
	CHECK_STR(seen.names[0], "t2/1");
	CHECK_U64(store_queue_length(t), 3);
	CHECK(store_queued(t, "e", "t1", 1, &q) && q.due == 50 && q.attempt == 3 && q.waiting_since == 8);
	CHECK(!store_queued(t, "e", "t1", 2, &q));
	store_end(t);

	b = batch_new(r.store);
	/* earlier: taken */
	batch_enqueue(b, &(struct queue_rec){ .due = 1, .edge = "e", .target = "t1", .state = 1 });
	batch_queue(b, &(struct queue_rec){ .due = 99, .edge = "e", .target = "t3", .state = 1 });       /* replaces */
	batch_unqueue(b, "e", "t2", 1);
	batch_unqueue(b, "e", "t2", 1);
	rig_apply(&r, b);
	t = rig_read(&r);
	seen.n = 0;
	store_queue(t, NULL, NULL, see_queue, &seen);
	CHECK_U64(seen.n, 2);
	CHECK_U64(seen.ids[0] + seen.ids[1], 1 + 99);
	CHECK(store_queued(t, "e", "t1", 1, &q) && q.due == 1 && q.attempt == 3 && q.waiting_since == 8);
	store_end(t);
}

/* Worked off for one head: gone, unless a newer one came meanwhile; then it is due at once. */
static void
unqueue_if_fn(void)
{
	struct digest     one = rig_digest(span_str("one")), two = rig_digest(span_str("two"));
	struct batch     *b;
	struct store_txn *t;
	struct queue_rec  q;

	put_text("live", "x", "one", 1);
	put_text("live", "x", "two", 2);
	b = batch_new(r.store);
	batch_queue(b, &(struct queue_rec){ .due = INT64_MAX, .edge = "e", .target = "t", .state = 1, .attempt = 3 });
	batch_queue(b, &(struct queue_rec){ .due = 5, .edge = "e", .target = "gone", .state = 77 });
	batch_unqueue_if(b, "e", "t", 1, &one);
	batch_unqueue_if(b, "e", "gone", 77, &one);
	batch_unqueue_if(b, "e", "never", 1, &one);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK(store_queued(t, "e", "t", 1, &q) && q.attempt == 0 && q.due != 0 && q.due < INT64_MAX);
	CHECK(!store_queued(t, "e", "gone", 77, &q));
	CHECK_U64(store_queue_length(t), 1);
	store_end(t);
	b = batch_new(r.store);
	batch_unqueue_if(b, "e", "t", 1, &two);
	rig_apply(&r, b);
	t = rig_read(&r);
	CHECK_U64(store_queue_length(t), 0);
	store_end(t);
}

static void
unqueue_if(void)
{
	in_every_store("unqueue-if", unqueue_if_fn);
}

static void
queue(void)
{
	in_every_store("queue", queue_fn);
}

/* ---------------------------------------------------------------- events and marks */

static bool
see_event(void *arg, const struct event_rec *e)
{
	struct seen_states *seen = arg;

	seen->ids[seen->n] = e->seq;
	snprintf(seen->names[seen->n++], 32, "%s", e->text);
	return seen->n != seen->stop_at;
}

static void
events_fn(void)
{
	struct batch      *b = batch_new(r.store);
	struct seen_states seen = { .stop_at = 2 };
	struct store_txn  *t;
	struct span        v;

	for (int i = 0; i < 3; i++) {
		char text[8];

		snprintf(text, sizeof(text), "t%d", i);
		batch_event(b, &(struct event_rec){ .kind = "held", .text = text });
	}
	batch_meta(b, "probe/dr", SPAN_LIT("yes\0no"));
	batch_meta(b, "gone", SPAN_LIT("x"));
	rig_apply(&r, b);
	b = batch_new(r.store);
	batch_meta(b, "gone", span_of(NULL, 0));
	batch_meta(b, "empty", span_of("", 0));
	rig_apply(&r, b);
	t = rig_read(&r);
	store_events(t, 0, see_event, &seen);
	CHECK_U64(seen.n, 2);
	CHECK_STR(seen.names[0], "t2");
	CHECK_U64(seen.ids[0], 3);
	CHECK(store_meta(t, "probe/dr", &v) && span_eq(v, SPAN_LIT("yes\0no")));
	CHECK(!store_meta(t, "gone", &v));
	CHECK(store_meta(t, "empty", &v) && v.n == 0);
	store_end(t);
}

static void
events(void)
{
	in_every_store("events", events_fn);
}

struct window {
	uint64_t first, last, n;
};

static bool
see_window(void *arg, const struct event_rec *e)
{
	struct window *w = arg;

	w->last = w->n == 0 ? e->seq : w->last;
	w->first = e->seq;
	w->n++;
	return true;
}

static struct window
window(uint64_t before)
{
	struct store_txn *t = rig_read(&r);
	struct window     w = { .n = 0 };

	store_events(t, before, see_window, &w);
	store_end(t);
	return w;
}

static void
put_events(unsigned n)
{
	struct batch *b = batch_new(r.store);

	for (unsigned i = 0; i < n; i++)
		batch_event(b, &(struct event_rec){ .kind = "held", .text = "x" });
	rig_apply(&r, b);
}

/* The newest stay; a store that kept more comes down to fewer as new ones are added. */
static void
events_are_a_window(void)
{
	struct store_conf c = { .dir = rig_dir("window"), .events_max = 20 };
	struct window     w;

	rig_open(&r, &c);
	put_events(15);
	CHECK_U64(window(0).n, 15);
	put_events(30);
	w = window(0);
	CHECK_U64(w.n, 20);
	CHECK_U64(w.first, 26);
	CHECK_U64(w.last, 45);
	w = window(30);
	CHECK_U64(w.n, 4);
	CHECK_U64(w.last, 29);
	CHECK_U64(window(1).n, 0);
	CHECK_U64(window(26).n, 0);
	rig_check_clean(&r);
	rig_close(&r);
	c.events_max = 8;
	rig_open(&r, &c);
	put_events(1);
	CHECK_U64(window(0).n, 19);
	for (int i = 0; i < 20; i++)
		put_events(1);
	w = window(0);
	CHECK_U64(w.n, 8);
	CHECK_U64(w.last, 66);
	rig_close(&r);
}

static void
names(void)
{
	for (int i = 0; i < VERDICT_COUNT; i++)
		CHECK(strcmp(verdict_name((enum verdict)i), "?") != 0);
	CHECK_STR(verdict_name(VERDICT_SHRUNK), "shrunk");
	CHECK_STR(verdict_name(VERDICT_COUNT), "?");
	for (int i = 0; i <= REPLICA_PAUSED; i++)
		CHECK(strcmp(replica_status_name((enum replica_status)i), "?") != 0);
}

struct first_due {
	int64_t last;
	size_t  n;
	bool    ordered;
};

static bool
see_due(void *arg, const struct queue_rec *q)
{
	struct first_due *f = arg;

	f->ordered = f->ordered && q->due >= f->last;
	f->last = q->due;
	return ++f->n < 5000;
}

/* A queue of 100,000 is read in order of due, as far as one likes. */
static void
a_long_queue(void)
{
	struct store_conf c = { .dir = rig_dir("long") };
	struct first_due  f = { .last = INT64_MIN, .ordered = true };
	struct store_txn *t;

	rig_open(&r, &c);
	for (int n = 0; n < 100; n++) {
		struct batch *b = batch_new(r.store);

		for (int i = 0; i < 1000; i++)
			batch_queue(b, &(struct queue_rec){ .due = (i * 7919 + n * 104729) % 1000003, .edge = "e",
			    .target = "t", .state = (uint64_t)(n * 1000 + i + 1) });
		rig_apply(&r, b);
	}
	t = rig_read(&r);
	CHECK_U64(store_queue_length(t), 100000);
	store_queue(t, NULL, NULL, see_due, &f);
	CHECK(f.ordered);
	CHECK_U64(f.n, 5000);
	store_end(t);
	rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "states", states },
	    { "walk_states", walk_states },
	    { "walk_versions", walk_versions },
	    { "seen_again", seen_again },
	    { "high_serials", high_serials },
	    { "sightings", sightings },
	    { "semantic", semantic },
	    { "replicas", replicas },
	    { "shared_names", shared_names },
	    { "intents", intents },
	    { "queue", queue },
	    { "unqueue_if", unqueue_if },
	    { "events", events },
	    { "events_are_a_window", events_are_a_window },
	    { "names", names },
	    { "a_long_queue", a_long_queue },
	    { NULL, NULL } });
}
