/* SPDX-License-Identifier: MIT */
/* The check finds what is planted, each kind of damage by its sentence, and nothing else. */
#include <stdlib.h>

#include "../../lib/store_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/internal.h"

static struct rig r;

/* ---------------------------------------------------------------- planting */

static struct store_txn *
plant_begin(struct store_txn *t)
{
	struct err e = { 0 };

	CHECK_OK(txn_begin(r.store, TXN_WRITE, t, &e), e);
	return t;
}

static void
plant_end(struct store_txn *t)
{
	CHECK(!txn_failed(t));
	CHECK(txn_commit(t) == 0);
}

static void
flip(struct store_txn *t, enum db db, struct key k, size_t at)
{
	MDB_val  key = { k.n, k.b }, value;
	uint8_t *copy;

	CHECK(mdb_get(t->txn, r.store->dbi[db], &key, &value) == 0);
	CHECK(at < value.mv_size);
	copy = xmemdup(value.mv_data, value.mv_size);
	copy[at] ^= 0x10;
	value.mv_data = copy;
	CHECK(mdb_put(t->txn, r.store->dbi[db], &key, &value, 0) == 0);
	free(copy);
	t->dirty = true;
}

static void
remove_rec(struct store_txn *t, enum db db, struct key k)
{
	CHECK(rec_has(t, db, &k));
	CHECK(rec_del(t, db, &k));
}

static void
change_refs(struct store_txn *t, uint64_t id, uint64_t refs)
{
	struct blob b;
	struct key  k = key_u64(id);

	CHECK(blob_get(t, id, &b));
	b.refs = refs;
	CHECK(rec_put(t, DB_BLOBS, &k, &rec_blob, &b));
}

static void
change_prefix(struct store_txn *t, uint64_t id, uint64_t prefix)
{
	struct blob b;
	struct key  k = key_u64(id);

	CHECK(blob_get(t, id, &b));
	b.prefix = prefix;
	CHECK(rec_put(t, DB_BLOBS, &k, &rec_blob, &b));
}

static void
change_head(struct store_txn *t, uint64_t state, uint64_t head)
{
	struct state_rec s;
	struct key       k = key_u64(state);

	CHECK(store_state_by_id(t, state, &s));
	s.head = head;
	CHECK(rec_put(t, DB_STATES, &k, &rec_state, &s));
}

static struct digest
digest_of_version(struct store_txn *t, uint64_t number)
{
	struct version_rec v;

	CHECK(store_version(t, 1, number, &v));
	return v.digest;
}

static void piece_flipped(struct store_txn *t) { flip(t, DB_PIECES, key_piece(2, 0), 9); }
static void piece_missing(struct store_txn *t) { remove_rec(t, DB_PIECES, key_piece(3, 0)); }
static void blob_missing(struct store_txn *t) { remove_rec(t, DB_BLOBS, key_u64(4)); }
static void blob_damaged(struct store_txn *t) { flip(t, DB_BLOBS, key_u64(4), 0); }
static void refs_wrong(struct store_txn *t) { change_refs(t, 2, 7); }
static void prefix_lost(struct store_txn *t) { change_prefix(t, 3, 1); }
static void version_damaged(struct store_txn *t) { flip(t, DB_VERSIONS, key_u64_u64(1, 2), 1); }
static void version_missing(struct store_txn *t) { remove_rec(t, DB_VERSIONS, key_u64_u64(1, 3)); }
static void head_wrong(struct store_txn *t) { change_head(t, 1, 2); }
static void head_nowhere(struct store_txn *t) { change_head(t, 1, 9); }
static void state_missing(struct store_txn *t) { remove_rec(t, DB_STATES, key_u64(1)); }
static void name_missing(struct store_txn *t) { remove_rec(t, DB_STATE_NAMES, key_name(r.store, "live", "x")); }
static void backend_missing(struct store_txn *t) { remove_rec(t, DB_STATE_BACKENDS, key_backend(t, "live", 1)); }
static void queue_key_missing(struct store_txn *t) { remove_rec(t, DB_QUEUE_KEYS, key_target(t, "e", "t", 1)); }
static void intent_damaged(struct store_txn *t) { flip(t, DB_INTENTS, key_u64(5), 0); }
static void event_damaged(struct store_txn *t) { flip(t, DB_EVENTS, key_u64(1), 0); }

static void
owner_missing(struct store_txn *t)
{
	struct key       k = key_target_name(r.store, "t", "n");
	struct owner_rec o = { 99, 1 };

	CHECK(rec_has(t, DB_REPLICA_NAMES, &k));
	CHECK(rec_put(t, DB_REPLICA_NAMES, &k, &rec_owner, &o));
}

static void
digest_missing(struct store_txn *t)
{
	struct digest d = digest_of_version(t, 2);

	remove_rec(t, DB_DIGESTS, key_digest(r.store, &d));
}

static void
version_digest_missing(struct store_txn *t)
{
	struct digest d = digest_of_version(t, 2);

	remove_rec(t, DB_VERSION_DIGESTS, key_version_digest(r.store, 1, &d));
}

static void
orphan_piece(struct store_txn *t)
{
	struct key k = key_piece(77, 0);

	CHECK(rec_put_bytes(t, DB_PIECES, &k, SPAN_LIT("orphan")));
}

static void
key_cut(struct store_txn *t)
{
	struct key k = key_u64(5);

	k.n = 5;
	CHECK(rec_put(t, DB_INTENTS, &k, &rec_intent, &(struct intent_rec){ .kind = INTENT_PUSH }));
}

static const struct damage {
	const char *name;
	void      (*plant)(struct store_txn *t);
	const char *says;
} damages[] = {
	{ "a piece with a flipped byte", piece_flipped, "blob 2" },
	{ "a piece that is missing", piece_missing, "blob 3 lacks a piece" },
	{ "a blob that is missing", blob_missing, "the bytes of version 4 are missing" },
	{ "a blob with an unknown format", blob_damaged, "blob 4: store: a record of blobs" },
	{ "a wrong count of references", refs_wrong, "blob 2: counts 7 references, and has 1" },
	{ "a prefix that does not know", prefix_lost, "blob 3: its prefix 1 is missing or does not know of it" },
	{ "a damaged version", version_damaged, "version" },
	{ "a missing version", version_missing, "blob 3: counts 1 references, and has 0" },
	{ "a head with another digest", head_wrong, "live:x: the digest of its head is not that of version 2" },
	{ "a head that is missing", head_nowhere, "live:x: its head, version 9, is missing" },
	{ "a missing state", state_missing, "belongs to state 1, which is missing" },
	{ "a name that is not indexed", name_missing, "live:x: the index of names does not lead to it" },
	{ "a backend that is not indexed", backend_missing, "live:x: not in the index of its backend" },
	{ "a name of a state that is missing", owner_missing, "a name at a target belongs to state 99" },
	{ "a queue entry that is not indexed", queue_key_missing, "queue: the entry of e t is not in the index" },
	{ "a damaged intent", intent_damaged, "intent 5: " },
	{ "a damaged event", event_damaged, "event 1: " },
	{ "a key that is too short", key_cut, "intent: a key of 5 bytes" },
	{ "a digest that is not indexed", digest_missing, "blob 2: the index of digests does not lead to it" },
	{ "a version that is not indexed", version_digest_missing, "version 2 is not in the index of digests" },
	{ "a piece of nobody", orphan_piece, "blob 77: pieces without a record" },
};

/* ---------------------------------------------------------------- finding */

static void
fill(void)
{
	struct series s;
	struct batch *b;

	series_init(&s, 5000, 1);
	for (int i = 0; i < 5; i++) {
		rig_put(&r, "live", "x", buf_span(&s.text), s.serial);
		series_next(&s);
	}
	series_free(&s);
	b = batch_new(r.store);
	batch_replica(b, &(struct replica_rec){ .edge = "e", .target = "t", .state = 1, .name = "n" });
	batch_queue(b, &(struct queue_rec){ .edge = "e", .target = "t", .state = 1 });
	batch_intent(b, &(struct intent_rec){ .id = 5, .kind = INTENT_PUSH });
	batch_event(b, &(struct event_rec){ .kind = "held", .text = "x" });
	batch_meta(b, "m", SPAN_LIT("v"));
	rig_apply(&r, b);
}

static void
one_damage(const struct damage *d, size_t i, const struct crypt_key *key)
{
	char              *dir = xasprintf("%s/damage-%zu-%d", test_tmpdir(), i, key != NULL);
	struct store_conf  c = { .dir = dir, .inline_commit = true, .key = key };
	struct store_check counts;
	struct store_txn   t;
	struct buf         text;

	buf_init(&text, 0);
	rig_open(&r, &c);
	fill();
	rig_check_clean(&r);
	d->plant(plant_begin(&t));
	plant_end(&t);
	rig_check(&r, &text, &counts);
	if (counts.problems == 0 || strstr(buf_str(&text), d->says) == NULL)
		test_fail(__FILE__, __LINE__, "%s: found \"%s\"", d->name, buf_str(&text));
	rig_close(&r);
	buf_free(&text);
	free(dir);
}

static void
planted_damage(void)
{
	for (size_t i = 0; i < ARRAY_LEN(damages); i++)
		one_damage(&damages[i], i, NULL);
}

static void
planted_damage_encrypted(void)
{
	struct crypt_key *k = crypt_key_new((const uint8_t[CRYPT_KEY_LEN]){ 1 });

	for (size_t i = 0; i < ARRAY_LEN(damages); i++)
		if (damages[i].plant != event_damaged && damages[i].plant != intent_damaged &&
		    damages[i].plant != blob_damaged)
			one_damage(&damages[i], i, k);
	crypt_key_free(k);
}

/* Reading damaged bytes is an error, never other bytes. A new version on top of them is kept all the same. */
static void
damage_does_not_spread(void)
{
	struct store_conf c = { .dir = rig_dir("spread"), .inline_commit = true };
	struct store_txn  t, *read;
	struct series     s;
	struct digest     d;
	struct buf        got;
	struct err        e = { 0 };

	rig_open(&r, &c);
	series_init(&s, 5000, 1);
	rig_put(&r, "live", "x", buf_span(&s.text), 1);
	series_next(&s);
	rig_put(&r, "live", "x", buf_span(&s.text), 2);
	d = rig_digest(buf_span(&s.text));
	flip(plant_begin(&t), DB_PIECES, key_piece(1, 0), 700);
	plant_end(&t);
	read = rig_read(&r);
	buf_init(&got, 0);
	CHECK_U64(store_body(read, &d, &got, &e), ERR_CORRUPT);
	CHECK_U64(got.len, 0);
	store_end(read);
	series_next(&s);
	rig_put(&r, "live", "x", buf_span(&s.text), 3);
	CHECK(rig_holds(&r, buf_span(&s.text)));
	buf_free(&got);
	series_free(&s);
	rig_close(&r);
}

#define CHECK_ROUNDS 20

/* The check does not keep the store from being written. */
struct both {
	bool checked;
	int  written;
};

static void
both_checked(struct op *op, void *arg)
{
	((struct both *)arg)->checked = true;
	op_free(op);
}

static void
check_while_writing(struct series *s, struct store_check *k, struct both *both)
{
	struct batch *b;

	*both = (struct both){ false, 0 };
	op_start(store_check(r.store, k), both_checked, both);
	while (!both->checked) {
		rig_put(&r, "live", "x", buf_span(&s->text), s->serial);
		series_next(s);
		if (++both->written % 3 == 0) {
			b = batch_new(r.store);
			batch_drop(b, "live", "x", (uint64_t)both->written);
			rig_apply(&r, b);
		}
	}
	CHECK_U64(k->problems, 0);
}

static void
check_beside_writes(void)
{
	struct store_conf  c = { .dir = rig_dir("beside") };
	struct store_check k = { .problem = NULL };
	struct both        both = { false, 0 };
	struct series      s;

	rig_open(&r, &c);
	series_init(&s, 200 << 10, 1);
	for (int i = 0; i < 40; i++) {
		rig_put(&r, "live", "x", buf_span(&s.text), s.serial);
		series_next(&s);
	}
	for (int round = 0; round < CHECK_ROUNDS && both.written < 2; round++) /* a slow disk may let none end beside it */
		check_while_writing(&s, &k, &both);
	CHECK(k.blobs > 20 && both.written > 1);
	rig_check_clean(&r);
	series_free(&s);
	rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "planted_damage", planted_damage },
	    { "planted_damage_encrypted", planted_damage_encrypted },
	    { "damage_does_not_spread", damage_does_not_spread },
	    { "check_beside_writes", check_beside_writes },
	    { NULL, NULL } });
}
