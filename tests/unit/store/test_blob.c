/* SPDX-License-Identifier: MIT */
/* Bodies at rest: chains and keyframes, references, removal, large bodies in stages. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/store_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/internal.h"

static struct rig              r;
static const struct crypt_key *key; /* of the stores that open_at() makes */

static void
open_at(const char *name)
{
	static int        n;
	char             *dir = xasprintf("%s/%s-%d", test_tmpdir(), name, n++);
	struct store_conf c = { .dir = dir, .key = key };

	rig_open(&r, &c);
	free(dir);
}

/* ---------------------------------------------------------------- looking inside */

static bool
blob_of(struct span bytes, struct blob *ret)
{
	struct store_txn *t = rig_read(&r);
	struct digest     d = rig_digest(bytes);
	bool              found = blob_find(t, &d, ret);

	store_end(t);
	return found;
}

static uint64_t
count(enum db db)
{
	struct store_txn *t = rig_read(&r);
	uint64_t          n = rec_count(t, db);

	store_end(t);
	return n;
}

static void
drop(const char *name, uint64_t version)
{
	struct batch *b = batch_new(r.store);

	batch_drop(b, "live", name, version);
	rig_apply(&r, b);
}

/* A version without a head, which names its predecessor itself. */
static enum err_code
add(const char *name, struct span bytes, struct body *body, const struct digest *like, struct err *reterr)
{
	struct batch *b = batch_new(r.store);
	struct digest d = rig_digest(bytes);
	struct body  *own = body == NULL ? body_copy(bytes) : NULL;

	batch_body(b, body == NULL ? own : body, &d, like);
	batch_version(b, "live", name, &(struct version_rec){ .digest = d, .size = bytes.n, .verdict = VERDICT_FORK,
	    .origin = "test" });
	body_unref(own);
	return rig_try_apply(&r, b, reterr);
}

static void
add_like(const char *name, struct span bytes, struct span like)
{
	struct digest d = rig_digest(like);
	struct err    e = { 0 };

	CHECK_OK(add(name, bytes, NULL, &d, &e), e);
}

static struct buf
noise(size_t n, uint64_t seed)
{
	struct rand rand;
	struct buf  b;

	rand_seeded(&rand, seed);
	buf_init(&b, SIZE_MAX / 2);
	CHECK(buf_reserve(&b, n + 1, NULL) == ERR_OK);
	rand_bytes(&rand, b.data, n);
	b.len = n;
	return b;
}

/* ---------------------------------------------------------------- chains */

/* Every version comes back, also from a chain that has grown over a keyframe, and frames take 1 % of the raw bytes. */
static void
chain(void)
{
	struct series s;
	struct buf    all[100];
	uint64_t      stored = 0, raw = 0;
	unsigned      keyframes = 0;

	open_at("chain");
	series_init(&s, 50 << 10, 1);
	for (int i = 0; i < 100; i++) {
		struct blob b;

		buf_init(&all[i], 0);
		buf_put(&all[i], s.text.data, s.text.len);
		rig_put(&r, "live", "x", buf_span(&all[i]), s.serial);
		CHECK(blob_of(buf_span(&all[i]), &b));
		CHECK(b.depth <= STORE_CHAIN_MAX && b.cost <= BLOB_COST_MAX);
		keyframes += b.prefix == 0;
		stored += b.stored;
		raw += b.raw;
		series_next(&s);
	}
	CHECK_U64(keyframes, (100 + STORE_CHAIN_MAX) / (STORE_CHAIN_MAX + 1));
	CHECK(stored * 100 <= raw);
	for (int i = 0; i < 100; i++) {
		CHECK(rig_holds(&r, buf_span(&all[i])));
		buf_free(&all[i]);
	}
	rig_check_clean(&r);
	series_free(&s);
	rig_close(&r);
}

/* A predecessor that has nothing in common brings nothing. */
static void
unlike_is_a_keyframe(void)
{
	struct series s, t;
	struct blob   b;

	open_at("unlike");
	series_init(&s, 50 << 10, 1);
	series_init(&t, 50 << 10, 2);
	series_scramble_all(&t);
	add_like("x", buf_span(&s.text), SPAN_LIT("nothing"));
	add_like("x", buf_span(&t.text), buf_span(&s.text));
	CHECK(blob_of(buf_span(&t.text), &b));
	CHECK_U64(b.prefix, 0);
	series_next(&t);
	add_like("x", buf_span(&t.text), buf_span(&s.text));
	CHECK(blob_of(buf_span(&t.text), &b));
	CHECK_U64(b.prefix, 0);
	rig_check_clean(&r);
	series_free(&s);
	series_free(&t);
	rig_close(&r);
}

/* What decoding costs is bounded in bytes, too: 20 MB on 20 MB on 20 MB, then a keyframe. */
static void
cost_is_bounded(void)
{
	struct series s;
	struct blob   b;
	struct digest like = { { 0 } };
	uint64_t      prefixes[5];

	open_at("cost");
	series_init(&s, 20 << 20, 1);
	for (int i = 0; i < 5; i++) {
		struct err e = { 0 };

		CHECK_OK(add("x", buf_span(&s.text), NULL, &like, &e), e);
		CHECK(blob_of(buf_span(&s.text), &b));
		prefixes[i] = b.prefix;
		CHECK(b.cost <= BLOB_COST_MAX);
		if (i == 2)
			CHECK(b.stored < 100000 && rig_holds(&r, buf_span(&s.text)));
		like = b.digest;
		series_next(&s);
	}
	CHECK(prefixes[0] == 0 && prefixes[1] != 0 && prefixes[2] != 0 && prefixes[3] == 0 && prefixes[4] != 0);
	series_free(&s);
	rig_check_clean(&r);
	rig_close(&r);
}

/* More than REC_LIST_MAX versions of the same one: the surplus stands alone. */
static void
many_users(void)
{
	struct series base, s;
	struct blob   b;

	open_at("users");
	series_init(&base, 8 << 10, 1);
	add_like("x", buf_span(&base.text), SPAN_LIT("nothing"));
	for (uint64_t i = 0; i < REC_LIST_MAX + 6; i++) {
		series_init(&s, 8 << 10, 1);
		s.serial = 100 + i;
		series_next(&s);
		add_like("x", buf_span(&s.text), buf_span(&base.text));
		CHECK(blob_of(buf_span(&s.text), &b));
		CHECK((b.prefix != 0) == (i < REC_LIST_MAX));
		series_free(&s);
	}
	rig_check_clean(&r);
	drop("x", 1); /* all that stand on it are written anew */
	CHECK(!rig_holds(&r, buf_span(&base.text)));
	rig_check_clean(&r);
	series_free(&base);
	rig_close(&r);
}

static void
odd_sizes(void)
{
	static const size_t sizes[] = { 0, 1, 2, 100, 2000, 4000, 4080, 4100, 5000, 6500, 8170, 9000, BLOB_PIECE - 1,
	    BLOB_PIECE, BLOB_PIECE + 1, 3 * BLOB_PIECE };
	struct err          e = { 0 };

	open_at("odd");
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct buf    b = noise(sizes[i], i);
		struct digest d = rig_digest(buf_span(&b));
		struct blob   blob;

		CHECK_OK(add("x", buf_span(&b), NULL, NULL, &e), e);
		CHECK(rig_holds(&r, buf_span(&b)));
		CHECK(blob_of(buf_span(&b), &blob));
		CHECK_U64(blob.raw, sizes[i]);
		CHECK(blob.pieces >= blob.stored / BLOB_PIECE && blob.pieces <= blob.stored / BLOB_PIECE + 2);
		CHECK_OK(add("y", buf_span(&b), NULL, &d, &e), e); /* like itself */
		buf_free(&b);
	}
	rig_check_clean(&r);
	rig_close(&r);
}

/* ---------------------------------------------------------------- references */

static void
shared_bytes(void)
{
	struct blob b;
	struct err  e = { 0 };

	open_at("shared");
	CHECK_OK(add("x", SPAN_LIT("same"), NULL, NULL, &e), e);
	CHECK_OK(add("y", SPAN_LIT("same"), NULL, NULL, &e), e);
	CHECK_OK(add("y", SPAN_LIT("same"), NULL, NULL, &e), e); /* kept already */
	CHECK(blob_of(SPAN_LIT("same"), &b));
	CHECK_U64(b.refs, 2);
	CHECK_U64(count(DB_BLOBS), 1);
	drop("x", 1);
	drop("x", 1); /* again: nothing */
	CHECK(rig_holds(&r, SPAN_LIT("same")));
	rig_check_clean(&r);
	drop("y", 1);
	CHECK(!rig_holds(&r, SPAN_LIT("same")));
	CHECK_U64(count(DB_BLOBS) + count(DB_DIGESTS) + count(DB_PIECES), 0);
	rig_check_clean(&r);
	CHECK_OK(add("x", SPAN_LIT("same"), NULL, NULL, &e), e); /* and it may come again */
	CHECK(rig_holds(&r, SPAN_LIT("same")));
	rig_check_clean(&r);
	rig_close(&r);
}

/* Versions go one after the other in a random order: what is left is whole at every step. */
static void
drop_from_chains(void)
{
	struct series s;
	struct buf    all[40];
	bool          gone[40] = { false };
	struct rand   rand;

	open_at("drop");
	rand_seeded(&rand, 5);
	series_init(&s, 6 << 10, 1);
	for (int i = 0; i < 40; i++) {
		buf_init(&all[i], 0);
		buf_put(&all[i], s.text.data, s.text.len);
		rig_put(&r, "live", "x", buf_span(&all[i]), s.serial);
		series_next(&s);
	}
	for (int n = 0; n < 39; n++) {
		uint64_t i = rand_below(&rand, 39);

		while (gone[i])
			i = (i + 1) % 39;
		gone[i] = true;
		drop("x", i + 1);
		for (int k = 0; k < 40; k++)
			CHECK(rig_holds(&r, buf_span(&all[k])) == !gone[k]);
		rig_check_clean(&r);
	}
	CHECK_U64(count(DB_BLOBS), 1);
	for (int i = 0; i < 40; i++)
		buf_free(&all[i]);
	series_free(&s);
	rig_close(&r);
}

/* ---------------------------------------------------------------- large bodies */

static struct body *
body_in_file(struct span bytes)
{
	struct err e = { 0 };
	int        fd = store_spool_open(r.store, &e);

	CHECK(fd >= 0);
	for (size_t off = 0; off < bytes.n;) {
		ssize_t n = write(fd, bytes.p + off, bytes.n - off);

		CHECK(n > 0);
		off += (size_t)n;
	}
	return body_from_fd(fd, bytes.n);
}

static bool
loads(struct span bytes, bool in_memory)
{
	struct body  *body = NULL;
	struct digest d = rig_digest(bytes);
	struct err    e = { 0 };
	struct buf    part;
	bool          same = true;
	size_t        n;

	if (rig_run(&r, store_body_load(r.store, &d, &body), &e) != ERR_OK)
		return false;
	same = body_size(body) == bytes.n && body_in_memory(body) == in_memory;
	buf_init(&part, 0);
	CHECK(buf_reserve(&part, 1 << 20, &e) == ERR_OK);
	for (size_t off = 0; same && off < bytes.n; off += n) {
		CHECK_OK(body_read(body, off, part.data, 1 << 20, &n, &e), e);
		same = n > 0 && memcmp(part.data, bytes.p + off, n) == 0;
	}
	buf_free(&part);
	body_unref(body);
	return same;
}

/* 40 MB of a state, half of it noise, from memory and from a file: several commits, linked by the last. */
static void
staged(void)
{
	struct buf         text = noise(20 << 20, 9);
	struct store_stats before, after;
	struct series      s;
	struct body       *file;
	struct blob        b;
	struct err         e = { 0 };

	open_at("staged");
	series_init(&s, 20 << 20, 1);
	CHECK(buf_add(&text, s.text.data, s.text.len, &e) == ERR_OK);
	store_stats(r.store, &before);
	file = body_in_file(buf_span(&text));
	CHECK_OK(add("x", buf_span(&text), file, NULL, &e), e);
	store_stats(r.store, &after);
	CHECK(blob_of(buf_span(&text), &b));
	CHECK(b.pieces > 20 && b.prefix == 0 && b.refs == 1 && b.raw == text.len);
	CHECK_U64(after.blob_bytes, b.stored);
	CHECK_U64(count(DB_STAGED), 0);
	CHECK(rig_holds(&r, buf_span(&text)) && loads(buf_span(&text), false));
	CHECK_OK(add("y", buf_span(&text), NULL, NULL, &e), e);
	CHECK(blob_of(buf_span(&text), &b));
	CHECK_U64(b.refs, 2);
	rig_check_clean(&r);
	drop("x", 1);
	drop("y", 1);
	CHECK_U64(count(DB_PIECES), 0);
	rig_check_clean(&r);
	body_unref(file);
	buf_free(&text);
	series_free(&s);
	rig_close(&r);
}

struct race {
	int large, small; /* in which order they ended; 0: not yet */
	int ended;
};

static void
large_done(struct op *op, void *arg)
{
	struct race *race = arg;

	if (op->err.code == ERR_OK)
		race->large = ++race->ended;
	op_free(op);
}

static void
small_done(struct op *op, void *arg)
{
	struct race *race = arg;

	if (op->err.code == ERR_OK)
		race->small = ++race->ended;
	op_free(op);
}

static bool
race_over(void *arg)
{
	return ((struct race *)arg)->ended == 2;
}

/* Who comes while a large body is being staged does not wait for it. */
static void
small_overtakes_large(void)
{
	struct buf    text = noise(48 << 20, 4);
	struct race   race = { 0, 0, 0 };
	struct batch *b;

	open_at("overtake");
	op_start(store_apply(r.store, rig_put_batch(&r, "live", "large", buf_span(&text), 1)), large_done, &race);
	loop_turn(r.loop, false);
	b = batch_new(r.store);
	batch_event(b, &(struct event_rec){ .kind = "held", .text = "meanwhile" });
	op_start(store_apply(r.store, b), small_done, &race);
	CHECK(loop_run_until(r.loop, race_over, &race, 60000));
	CHECK(race.small == 1 && race.large == 2);
	CHECK(rig_holds(&r, buf_span(&text)));
	rig_check_clean(&r);
	buf_free(&text);
	rig_close(&r);
}

/* Refused, or not what it says: no piece is left, and small batches went on meanwhile. */
static void
staged_for_nothing(void)
{
	struct buf    text = noise(36 << 20, 9);
	struct digest d = rig_digest(buf_span(&text)), wrong = { { 7 } };
	struct body  *body = body_copy(buf_span(&text));
	struct batch *b;
	struct err    e = { 0 };

	open_at("nothing");
	b = batch_new(r.store);
	batch_body(b, body, &wrong, NULL);
	batch_version(b, "live", "x", &(struct version_rec){ .digest = wrong, .size = text.len });
	CHECK(rig_try_apply(&r, b, &e) == ERR_CORRUPT);
	CHECK_U64(count(DB_PIECES) + count(DB_STAGED) + count(DB_STATES), 0);
	b = batch_new(r.store);
	batch_body(b, body, &d, NULL);
	batch_version(b, "live", "x", &(struct version_rec){ .digest = d, .size = text.len });
	batch_head(b, "live", "x", &wrong, &d);
	CHECK(rig_try_apply(&r, b, &e) == ERR_CONFLICT);
	CHECK_U64(count(DB_PIECES) + count(DB_STAGED) + count(DB_STATES), 0);
	rig_check_clean(&r);
	body_unref(body);
	buf_free(&text);
	rig_close(&r);
}

/* What a crash left of a staged body goes when the store is opened. */
static bool
leave_staged(void *arg, struct store_txn *t)
{
	struct number_rec raw = { 1 };
	struct key        k;

	(void)arg;
	t->n.blob_id = 100;
	for (uint64_t id = 90; id < 93; id++) {
		k = key_u64(id);
		if (!rec_put(t, DB_STAGED, &k, &rec_number, &raw))
			return false;
		for (uint32_t i = 0; i < 100; i++) {
			k = key_piece(id, i);
			if (!rec_put_bytes(t, DB_PIECES, &k, SPAN_LIT("piece")))
				return false;
		}
	}
	return true;
}

static void
orphans_are_swept(void)
{
	struct store_conf c = { .dir = rig_dir("orphans"), .inline_commit = true };
	struct store_txn  t;
	struct err        e = { 0 };

	rig_open(&r, &c);
	rig_put(&r, "live", "x", SPAN_LIT("one"), 1);
	CHECK_OK(txn_begin(r.store, TXN_WRITE, &t, &e), e);
	CHECK(leave_staged(NULL, &t));
	CHECK(txn_commit(&t) == 0);
	CHECK_U64(count(DB_PIECES), 301);
	rig_close(&r);
	rig_open(&r, &c);
	CHECK_U64(count(DB_PIECES), 1);
	CHECK_U64(count(DB_STAGED), 0);
	CHECK(rig_holds(&r, SPAN_LIT("one")));
	rig_check_clean(&r);
	rig_close(&r);
}

static void
load(void)
{
	struct series s;
	struct body  *body = NULL;
	struct digest none = { { 3 } };
	struct err    e = { 0 };

	open_at("load");
	series_init(&s, 1 << 20, 1);
	for (int i = 0; i < 5; i++) {
		series_next(&s);
		rig_put(&r, "live", "x", buf_span(&s.text), s.serial);
	}
	CHECK(loads(buf_span(&s.text), true));
	CHECK(rig_run(&r, store_body_load(r.store, &none, &body), &e) == ERR_NOT_FOUND);
	CHECK(body == NULL);
	series_free(&s);
	rig_close(&r);
}

/* The same with every value sealed. */
static void
encrypted(void)
{
	struct crypt_key *k = crypt_key_new((const uint8_t[CRYPT_KEY_LEN]){ 5 });

	key = k;
	chain();
	odd_sizes();
	shared_bytes();
	drop_from_chains();
	staged();
	staged_for_nothing();
	key = NULL;
	crypt_key_free(k);
}

/* ---------------------------------------------------------------- frames */

static void
frames_are_checked(void)
{
	struct blob_coder    *c = blob_coder_new();
	struct frame_decoder *d = frame_decoder_new();
	struct buf            frame, out;
	struct err            e = { 0 };
	struct span           src = SPAN_LIT("hello hello hello hello"), prefix = SPAN_LIT("hello hello");

	buf_init(&frame, 0);
	buf_init(&out, 64);
	CHECK_OK(frame_encode(c, prefix, src, &frame, &e), e);
	CHECK_OK(frame_decode(d, buf_span(&frame), prefix, src.n, &out, &e), e);
	CHECK(span_eq(buf_span(&out), src));
	CHECK(frame_decode(d, buf_span(&frame), prefix, src.n + 1, &out, &e) == ERR_CORRUPT);
	CHECK(frame_decode(d, span_of(frame.data, frame.len - 1), prefix, src.n, &out, &e) == ERR_CORRUPT);
	buf_putc(&frame, 'x');
	CHECK(frame_decode(d, buf_span(&frame), prefix, src.n, &out, &e) == ERR_CORRUPT);
	CHECK(frame_decode(d, SPAN_LIT(""), prefix, 0, &out, &e) == ERR_CORRUPT);
	CHECK(span_eq(buf_span(&out), src));
	CHECK(frame_decode(d, SPAN_LIT("\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f"), prefix, INT64_MAX, &out,
	    &e) != ERR_OK);
	buf_free(&frame);
	buf_free(&out);
	blob_coder_free(c);
	frame_decoder_free(d);
}

/* A frame that grows to more than the record says is stopped there. */
static bool
swallow(void *arg, struct span part, struct err *reterr)
{
	(void)reterr;
	*(uint64_t *)arg += part.n;
	return true;
}

static void
a_bomb_is_stopped(void)
{
	struct blob_coder    *c = blob_coder_new();
	struct frame_decoder *d = frame_decoder_new();
	struct buf            zeros, frame;
	struct err            e = { 0 };
	uint64_t              seen = 0;
	bool                  ended = false;

	buf_init(&zeros, 0);
	buf_init(&frame, 0);
	CHECK_OK(buf_reserve(&zeros, 32 << 20, &e), e);
	memset(zeros.data, 0, 32 << 20);
	CHECK_OK(frame_encode(c, span_of(NULL, 0), span_of(zeros.data, 32 << 20), &frame, &e), e);
	CHECK(frame.len < 8192);
	CHECK(frame_feed(d, buf_span(&frame), 1 << 20, swallow, &seen, &ended, &e) == ERR_CORRUPT);
	CHECK(seen <= 1 << 20);
	buf_free(&zeros);
	buf_free(&frame);
	blob_coder_free(c);
	frame_decoder_free(d);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "chain", chain },
	    { "unlike_is_a_keyframe", unlike_is_a_keyframe },
	    { "cost_is_bounded", cost_is_bounded },
	    { "many_users", many_users },
	    { "odd_sizes", odd_sizes },
	    { "shared_bytes", shared_bytes },
	    { "drop_from_chains", drop_from_chains },
	    { "staged", staged },
	    { "small_overtakes_large", small_overtakes_large },
	    { "staged_for_nothing", staged_for_nothing },
	    { "orphans_are_swept", orphans_are_swept },
	    { "load", load },
	    { "encrypted", encrypted },
	    { "frames_are_checked", frames_are_checked },
	    { "a_bomb_is_stopped", a_bomb_is_stopped },
	    { NULL, NULL } });
}
