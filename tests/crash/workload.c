/* SPDX-License-Identifier: MIT */
#include "workload.h"

#include <stdlib.h>

#include "../lib/test.h"
#include "base/mem.h"
#include "store/internal.h"

#define MAP_START  ((uint64_t)256 << 10) /* it grows on the way */
#define EVENTS_MAX 12                    /* the journal forgets on the way */
#define SMALL      3000
#define LARGE      ((size_t)STORE_STAGE_ABOVE + 4096)
#define LARGE_RAW  ((size_t)5 << 19)     /* that much of it does not compress: three pieces */
#define WORKLOAD_RUN "d9c2c1b4-5a1f-7a0e-3f8e-0d7c8a3b1e55" /* which the rig's versions name */
#define WIDE       ((size_t)150 << 10)   /* of one value: pages that follow each other */

static struct rig     r;
static struct rand    rnd;
static struct series  series[WORKLOAD_STATES];
static struct history *h;

struct store_conf
workload_conf(const char *dir, const char *machine)
{
	return (struct store_conf){ .dir = dir, .machine_id = machine, .map_size = MAP_START, .events_max = EVENTS_MAX };
}

const char *
workload_state(size_t i)
{
	static const char *const names[WORKLOAD_STATES] = { "net/prod", "net/test", "dns", "app" };

	return names[i];
}

/* ---------------------------------------------------------------- what was acknowledged */

struct digest
workload_fingerprint(struct store *s)
{
	struct sha256    *sum = sha256_new();
	struct store_txn *t = NULL;
	struct err        e = { 0 };
	struct digest     d;
	MDB_cursor       *c;
	MDB_val           k, v;

	if (store_read(s, &t, &e) != ERR_OK)
		test_fail(__FILE__, __LINE__, "read: %s", e.msg);
	for (int db = 0; db < DB_COUNT; db++) {
		CHECK(mdb_cursor_open(t->txn, s->dbi[db], &c) == 0);
		while (mdb_cursor_get(c, &k, &v, MDB_NEXT) == 0) {
			if (db == DB_META && k.mv_size == 8 && memcmp(k.mv_data, "counters", 8) == 0)
				continue;
			sha256_add(sum, &db, sizeof(db));
			sha256_add(sum, &k.mv_size, sizeof(k.mv_size));
			sha256_add(sum, k.mv_data, k.mv_size);
			sha256_add(sum, &v.mv_size, sizeof(v.mv_size));
			sha256_add(sum, v.mv_data, v.mv_size);
		}
		mdb_cursor_close(c);
	}
	store_end(t);
	sha256_peek(sum, &d);
	sha256_free(sum);
	return d;
}

static void
acknowledge(void)
{
	struct digest d = workload_fingerprint(r.store);

	if (h->n == h->cap) {
		h->cap = h->cap == 0 ? 64 : 2 * h->cap;
		h->after = xreallocarray(h->after, h->cap, sizeof(*h->after));
	}
	h->after[h->n] = d;
	record_ack(h->n++);
}

static void
note_version(size_t state, uint64_t number, const struct digest *d)
{
	if (h->nfacts == h->facts_cap) {
		h->facts_cap = h->facts_cap == 0 ? 64 : 2 * h->facts_cap;
		h->facts = xreallocarray(h->facts, h->facts_cap, sizeof(*h->facts));
	}
	h->facts[h->nfacts++] = (struct fact){ .state = state, .number = number, .digest = *d, .born = h->n,
	    .dropped = WORKLOAD_NEVER };
}

/* A version that may go: not the head, and still there. */
static struct fact *
droppable(void)
{
	for (int tries = 0; tries < 8 && h->nfacts > 0; tries++) {
		struct fact *f = &h->facts[rand_below(&rnd, h->nfacts)];
		bool         head = true;

		for (struct fact *g = f + 1; g < h->facts + h->nfacts; g++)
			head = head && g->state != f->state;
		if (!head && f->dropped == WORKLOAD_NEVER)
			return f;
	}
	return NULL;
}

/* ---------------------------------------------------------------- batches */

static uint64_t
highest(size_t state)
{
	struct store_txn *t = rig_read(&r);
	struct state_rec  st = { 0 };

	store_state(t, "live", workload_state(state), &st);
	store_end(t);
	return st.versions;
}

static void
put_version(size_t state)
{
	struct series *s = &series[state];
	struct batch  *b;
	struct digest  was = rig_digest(buf_span(&s->text)), d;

	do {
		if (rand_below(&rnd, 9) == 0)
			series_scramble_all(s); /* nothing to stand on: a keyframe */
		else
			series_next(s);
		d = rig_digest(buf_span(&s->text));
	} while (digest_eq(&d, &was)); /* a scrambled text has not always something to edit */
	b = rig_put_batch(&r, "live", workload_state(state), buf_span(&s->text), s->serial);
	batch_for(b, "live", workload_state(state));
	batch_enqueue(b, &(struct queue_rec){ .due = (int64_t)rand_below(&rnd, 1000), .edge = "out", .target = "dr" });
	batch_event(b, &(struct event_rec){ .kind = "verdict", .backend = "live", .name = workload_state(state), .text = "advance" });
	note_version(state, highest(state) + 1, &d);
	rig_apply(&r, b);
}

/* What a push leaves: replica, queue entry and intent in one commit. */
static void
push(size_t state)
{
	struct intent_rec i = { .id = 1 + rand_below(&rnd, 5), .kind = INTENT_PUSH, .edge = "out", .target = "dr",
	    .name = workload_state(state), .lock_id = "L", .lock_body = "{\"ID\":\"L\"}", .agent = "a" };
	struct batch     *b = batch_new(r.store);

	batch_for(b, "live", workload_state(state));
	batch_intent(b, &i);
	rig_apply(&r, b);
	acknowledge();
	b = batch_new(r.store);
	batch_for(b, "live", workload_state(state));
	batch_settle(b, i.id);
	batch_unqueue(b, "out", "dr", 0);
	batch_replica(b, &(struct replica_rec){ .edge = "out", .target = "dr", .name = workload_state(state),
	    .status = REPLICA_CURRENT, .version = highest(state), .serial = series[state].serial, .etag = "\"e\"",
	    .error = "", .hint = "" });
	batch_event(b, &(struct event_rec){ .kind = "written", .backend = "live", .name = workload_state(state), .edge = "out", .text = "w" });
	rig_apply(&r, b);
}

static void
drop(void)
{
	struct fact  *f = droppable();
	struct batch *b = batch_new(r.store);

	if (f == NULL) {
		batch_event(b, &(struct event_rec){ .kind = "held", .text = "nothing to drop" });
	} else {
		batch_drop(b, "live", workload_state(f->state), f->number);
		f->dropped = h->n;
	}
	rig_apply(&r, b);
}

static void
mark(void)
{
	struct batch *b = batch_new(r.store);
	struct series s;
	char          key[32];

	snprintf(key, sizeof(key), "health/%llu", (unsigned long long)rand_below(&rnd, 6));
	series_init(&s, rand_below(&rnd, 5) == 0 ? WIDE : 300, rand_u64(&rnd));
	if (rand_below(&rnd, 4) == 0)
		batch_meta(b, key, span_of(NULL, 0));
	else
		batch_meta(b, key, buf_span(&s.text));
	rig_apply(&r, b);
	series_free(&s);
}

static void
look(size_t state)
{
	struct batch *b = batch_new(r.store);
	struct digest d = rig_digest(buf_span(&series[state].text));

	batch_seen(b, "live", workload_state(state), &(struct sighting){ .etag = "\"x\"", .read = (int64_t)rand_below(&rnd, 9999),
	    .flags = rand_below(&rnd, 2) == 0 ? STATE_IS_LOCKED : 0 });
	batch_high_serial(b, "live", workload_state(state), series[state].serial + rand_below(&rnd, 3));
	batch_release(b, "live", workload_state(state), rand_below(&rnd, 2) == 0 ? &d : NULL);
	if (rand_below(&rnd, 2) == 0)
		batch_run(b, "live", workload_state(state), &(struct run_rec){ .lock = rand_below(&rnd, 3) == 0 ? "L" : WORKLOAD_RUN,
		    .who = "ann@host", .operation = "OperationTypeApply", .seen = (int64_t)rand_below(&rnd, 9999) });
	if (rand_below(&rnd, 3) == 0) {
		batch_for(b, "live", workload_state(state));
		batch_replica_del(b, "out", "dr", 0);
	}
	rig_apply(&r, b);
}

/* The folder turns up on another host, and goes on there. */
static void
move(const char *dir)
{
	struct store_conf c = workload_conf(dir, WORKLOAD_AFTER);
	struct err        e = { 0 };

	snprintf(h->agent[0], sizeof(h->agent[0]), "%s", store_agent_id(r.store));
	rig_close(&r);
	rig_open_virtual(&r, &c, rand_u64(&rnd));
	CHECK(store_is_foreign(r.store));
	CHECK_OK(rig_run(&r, store_adopt(r.store), &e), e);
	h->adopted = h->n;
	snprintf(h->agent[1], sizeof(h->agent[1]), "%s", store_agent_id(r.store));
}

static void
put_large(uint64_t n)
{
	struct series s;
	struct digest d;
	struct batch *b;

	series_init(&s, LARGE, n);
	for (size_t i = 0; i < LARGE_RAW; i++)
		s.text.data[i + 4096] = (uint8_t)(' ' + rand_below(&s.rand, 90));
	d = rig_digest(buf_span(&s.text));
	b = rig_put_batch(&r, "live", workload_state(0), buf_span(&s.text), n);
	note_version(0, highest(0) + 1, &d);
	rig_apply(&r, b);
	series_free(&s);
}

/* ---------------------------------------------------------------- in a row */

static void
mixed(size_t i, size_t batches, const char *dir)
{
	size_t state = rand_below(&rnd, WORKLOAD_STATES);

	if (i < WORKLOAD_STATES)
		put_version(i);
	else if (i == batches / 2)
		move(dir);
	else
		switch (rand_below(&rnd, 10)) {
		case 0:
		case 1:
			drop();
			break;
		case 2:
			mark();
			break;
		case 3:
			look(state);
			break;
		case 4:
			push(state);
			break;
		default:
			put_version(state);
		}
	acknowledge();
}

/* Two large bodies, and small things between; the second is dropped by the end. */
static void
large(size_t i)
{
	if (i % 3 == 0)
		put_large(i + 1);
	else if (i % 3 == 1)
		mark();
	else
		drop();
	acknowledge();
}

void
workload_run(enum workload_kind kind, uint64_t seed, size_t batches, const char *dir, struct recording *rec,
    struct history *ret)
{
	struct store_conf c = workload_conf(dir, WORKLOAD_BEFORE);

	h = ret;
	*h = (struct history){ .adopted = WORKLOAD_NEVER };
	rand_seeded(&rnd, seed);
	for (size_t i = 0; i < WORKLOAD_STATES; i++)
		series_init(&series[i], SMALL + 700 * i, seed * WORKLOAD_STATES + i);
	record_into(rec);
	rig_open_virtual(&r, &c, seed);
	acknowledge();
	for (size_t i = 0; i < batches; i++)
		if (kind == WORKLOAD_LARGE)
			large(i);
		else
			mixed(i, batches, dir);
	record_into(NULL);
	rig_check_clean(&r);
	rig_close(&r);
	for (size_t i = 0; i < WORKLOAD_STATES; i++)
		series_free(&series[i]);
}

void
workload_free(struct history *hist)
{
	free(hist->after);
	free(hist->facts);
	*hist = (struct history){ 0 };
}
