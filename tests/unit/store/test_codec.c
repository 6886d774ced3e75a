/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/rand.h"
#include "store/codec.h"
#include "store/store.h"
#include "../../lib/test.h"

/* A record of every kind, and a newer one of the same. */
struct sample {
	uint64_t        u;
	int64_t         i;
	unsigned        flags;
	int             code;
	enum verdict    verdict;
	bool            yes;
	const char     *text;
	struct digest   digest;
	struct rec_list list;
	uint64_t        late;
	const char     *late_text;
};

static const struct rec_field sample_fields[] = {
	{ REC_U64, offsetof(struct sample, u), 0, 1 },
	{ REC_I64, offsetof(struct sample, i), 0, 1 },
	{ REC_UINT, offsetof(struct sample, flags), 0, 1 },
	{ REC_INT, offsetof(struct sample, code), 0, 1 },
	{ REC_ENUM, offsetof(struct sample, verdict), VERDICT_COUNT, 1 },
	{ REC_BOOL, offsetof(struct sample, yes), 0, 1 },
	{ REC_STR, offsetof(struct sample, text), 0, 1 },
	{ REC_DIGEST, offsetof(struct sample, digest), 0, 1 },
	{ REC_LIST, offsetof(struct sample, list), 0, 1 },
	{ REC_U64, offsetof(struct sample, late), 0, 2 },
	{ REC_STR, offsetof(struct sample, late_text), 0, 2 },
};
static const struct rec_type sample_old = { "sample", 1, sizeof(struct sample), sample_fields, 9 };
static const struct rec_type sample_new = { "sample", 2, sizeof(struct sample), sample_fields, 11 };

static const struct sample sample = {
	.u = UINT64_MAX,
	.i = INT64_MIN,
	.flags = 0xfffffffe,
	.code = -7,
	.verdict = VERDICT_UNREADABLE,
	.yes = true,
	.text = "prod/vpc \xc3\xbc",
	.digest = { { 1, 2, 3 } },
	.list = { 3, { 1, 128, UINT64_MAX } },
	.late = 300,
	.late_text = "later",
};

static void
check_same(const struct sample *got, bool late)
{
	CHECK_U64(got->u, sample.u);
	CHECK(got->i == sample.i);
	CHECK_U64(got->flags, sample.flags);
	CHECK(got->code == sample.code);
	CHECK(got->verdict == sample.verdict && got->yes);
	CHECK_STR(got->text, sample.text);
	CHECK(digest_eq(&got->digest, &sample.digest));
	CHECK_U64(got->list.n, 3);
	CHECK_U64(got->list.v[2], UINT64_MAX);
	CHECK_U64(got->late, late ? 300 : 0);
	CHECK_STR(got->late_text, late ? "later" : "");
}

static void
round_trip(void)
{
	struct sample got;
	struct buf    out;

	buf_init(&out, 0);
	rec_encode(&sample_new, &sample, &out);
	CHECK(rec_decode(&sample_new, 2, buf_span(&out), &got));
	check_same(&got, true);
	buf_free(&out);
}

static void
an_older_record_is_read(void)
{
	struct sample got;
	struct buf    out;

	buf_init(&out, 0);
	rec_encode(&sample_old, &sample, &out);
	CHECK(rec_decode(&sample_new, 1, buf_span(&out), &got));
	got.late_text = got.late_text == NULL ? "(null)" : got.late_text;
	check_same(&got, false);
	CHECK(!rec_decode(&sample_old, 2, buf_span(&out), &got));
	CHECK(!rec_decode(&sample_new, 0, buf_span(&out), &got));
	buf_free(&out);
}

/* Cut anywhere, or with a byte too many: no record. */
static void
a_cut_record_is_refused(void)
{
	struct sample got;
	struct buf    out;

	buf_init(&out, 0);
	rec_encode(&sample_new, &sample, &out);
	for (size_t n = 0; n < out.len; n++) {
		void *exact = xmemdup(out.data, n + (n == 0));

		CHECK(!rec_decode(&sample_new, 2, span_of(exact, n), &got));
		free(exact);
	}
	buf_putc(&out, 0);
	CHECK(!rec_decode(&sample_new, 2, buf_span(&out), &got));
	buf_free(&out);
}

/* The format page says which bytes these are. */
static void
bytes_on_disk(void)
{
	const struct queue_rec q = { .due = -2, .edge = "e", .target = "", .state = 300, .attempt = 0,
	    .waiting_since = 127 };
	struct buf             out;
	char                   hex[64];

	buf_init(&out, 0);
	rec_encode(&rec_queue, &q, &out);
	CHECK_STR(hex_encode(out.data, out.len, hex), "03" "016500" "0000" "ac02" "00" "fe01");
	buf_free(&out);
}

static void
wrong_values_are_refused(void)
{
	static const struct rec_field one[] = { { REC_U64, offsetof(struct sample, u), 0, 1 } };
	static const struct rec_type  u64 = { "u64", 1, sizeof(struct sample), one, 1 };
	static const struct rec_field text[] = { { REC_STR, offsetof(struct sample, text), 0, 1 } };
	static const struct rec_type  str = { "str", 1, sizeof(struct sample), text, 1 };
	static const struct rec_field verdict[] = { { REC_ENUM, offsetof(struct sample, verdict), VERDICT_COUNT, 1 } };
	static const struct rec_type  en = { "enum", 1, sizeof(struct sample), verdict, 1 };
	static const struct rec_field list[] = { { REC_LIST, offsetof(struct sample, list), 0, 1 } };
	static const struct rec_type  li = { "list", 1, sizeof(struct sample), list, 1 };
	struct sample                 got;

	CHECK(rec_decode(&u64, 1, SPAN_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &got));
	CHECK_U64(got.u, UINT64_MAX);
	CHECK(!rec_decode(&u64, 1, SPAN_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), &got));
	CHECK(!rec_decode(&u64, 1, SPAN_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &got));
	CHECK(rec_decode(&str, 1, SPAN_LIT("\x02hi\0"), &got));
	CHECK_STR(got.text, "hi");
	CHECK(!rec_decode(&str, 1, SPAN_LIT("\x02hix"), &got));
	CHECK(!rec_decode(&str, 1, SPAN_LIT("\x02h\0\0"), &got));
	CHECK(!rec_decode(&str, 1, SPAN_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hi\0"), &got));
	CHECK(!rec_decode(&en, 1, span_of((uint8_t[]){ VERDICT_COUNT }, 1), &got));
	CHECK(!rec_decode(&li, 1, span_of((uint8_t[]){ REC_LIST_MAX + 1 }, 1), &got));
}

/* Noise, and good records with a byte changed: nothing but a refusal or a record. */
static void
noise(void)
{
	struct rand r;
	uint8_t     bytes[256], big[4096];

	rand_seeded(&r, 7);
	for (int i = 0; i < 20000; i++) {
		size_t n = (size_t)rand_below(&r, sizeof(bytes));

		rand_bytes(&r, bytes, n);
		for (const struct rec_type *const *t = rec_types; *t != NULL; t++) {
			CHECK((*t)->size <= sizeof(big));
			rec_decode(*t, 1, span_of(bytes, n), big);
		}
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "round_trip", round_trip },
	    { "an_older_record_is_read", an_older_record_is_read },
	    { "a_cut_record_is_refused", a_cut_record_is_refused },
	    { "bytes_on_disk", bytes_on_disk },
	    { "wrong_values_are_refused", wrong_values_are_refused },
	    { "noise", noise },
	    { NULL, NULL } });
}
