/* SPDX-License-Identifier: MIT */
#include "store_rig.h"

#include <stdlib.h>

#include "base/mem.h"
#include "run_op.h"
#include "test.h"

#define RIG_WAIT_MS 120000

const char *
rig_dir(const char *name)
{
	static char *paths[64];
	static size_t n;

	if (n == ARRAY_LEN(paths))
		test_fail(__FILE__, __LINE__, "too many folders");
	paths[n] = xasprintf("%s/%s", test_tmpdir(), name);
	return paths[n++];
}

static enum err_code
rig_open_on(struct rig *r, struct loop *l, const struct store_conf *conf, struct err *reterr)
{
	struct store_conf c = *conf;
	enum err_code     code;

	if (c.free_min == 0)
		c.free_min = 1;
	if (c.map_size == 0)
		c.map_size = (uint64_t)1 << 30;
	r->store = NULL;
	r->loop = l;
	r->work = work_new(l);
	code = store_open(r->loop, r->work, &c, &r->store, reterr);
	if (code != ERR_OK)
		rig_close(r);
	return code;
}

enum err_code
rig_try_open(struct rig *r, const struct store_conf *conf, struct err *reterr)
{
	struct loop *l = loop_new(reterr);

	if (l == NULL)
		test_fail(__FILE__, __LINE__, "no loop: %s", reterr->msg);
	return rig_open_on(r, l, conf, reterr);
}

void
rig_open(struct rig *r, const struct store_conf *conf)
{
	struct err e = { 0 };

	if (rig_try_open(r, conf, &e) != ERR_OK)
		test_fail(__FILE__, __LINE__, "open: %s", e.msg);
}

enum err_code
rig_try_open_virtual(struct rig *r, const struct store_conf *conf, uint64_t seed, struct err *reterr)
{
	return rig_open_on(r, loop_new_virtual(seed, 1700000000000), conf, reterr);
}

void
rig_open_virtual(struct rig *r, const struct store_conf *conf, uint64_t seed)
{
	struct err e = { 0 };

	if (rig_try_open_virtual(r, conf, seed, &e) != ERR_OK)
		test_fail(__FILE__, __LINE__, "open: %s", e.msg);
}

void
rig_close(struct rig *r)
{
	store_close(r->store);
	if (r->work != NULL)
		work_free(r->work);
	if (r->loop != NULL)
		loop_free(r->loop);
	*r = (struct rig){ NULL, NULL, NULL };
}

enum err_code
rig_run(struct rig *r, struct op *op, struct err *reterr)
{
	struct err e = run_op(r->loop, op, RIG_WAIT_MS);

	if (e.code != ERR_OK && reterr != NULL)
		*reterr = e;
	return e.code;
}

enum err_code
rig_try_apply(struct rig *r, struct batch *b, struct err *reterr)
{
	return rig_run(r, store_apply(r->store, b), reterr);
}

void
rig_apply(struct rig *r, struct batch *b)
{
	struct err e = { 0 };

	if (rig_try_apply(r, b, &e) != ERR_OK)
		test_fail(__FILE__, __LINE__, "apply: %s", e.msg);
}

struct store_txn *
rig_read(struct rig *r)
{
	struct store_txn *t = NULL;
	struct err        e = { 0 };

	if (store_read(r->store, &t, &e) != ERR_OK)
		test_fail(__FILE__, __LINE__, "read: %s", e.msg);
	return t;
}

struct digest
rig_digest(struct span bytes)
{
	struct digest d;

	sha256_of(bytes.p, bytes.n, &d);
	return d;
}

bool
rig_holds(struct rig *r, struct span bytes)
{
	struct store_txn *t = rig_read(r);
	struct digest     d = rig_digest(bytes);
	struct buf        got;
	bool              same;

	buf_init(&got, SIZE_MAX / 2);
	same = store_body(t, &d, &got, NULL) == ERR_OK && span_eq(buf_span(&got), bytes);
	store_end(t);
	buf_free(&got);
	return same;
}

struct batch *
rig_put_batch(struct rig *r, const char *backend, const char *name, struct span bytes, uint64_t serial)
{
	struct store_txn *t = rig_read(r);
	struct state_rec  st = { 0 };
	struct batch     *b = batch_new(r->store);
	struct body      *body = body_copy(bytes);
	struct digest     d = rig_digest(bytes);
	bool              has = store_state(t, backend, name, &st) && st.head != 0;
	struct version_rec v = { .digest = d, .serial = serial, .size = bytes.n, .lineage = "6f0a-lineage",
	    .writer = "1.11.4", .kind = STATE_V4,
		.verdict = has ? VERDICT_ADVANCE : VERDICT_FIRST, .run = "d9c2c1b4-5a1f-7a0e-3f8e-0d7c8a3b1e55",
		    .who = "ci@runner-7",
		.operation = "OperationTypeApply", .added = -1, .changed = -1, .removed = -1 };

	batch_body(b, body, &d, has ? &st.head_digest : NULL);
	batch_version(b, backend, name, &v);
	batch_head(b, backend, name, has ? &st.head_digest : NULL, &d);
	batch_seen(b, backend, name, &(struct sighting){ .etag = "\"5d41402abc4b2a76b9719d911017c592\"", .digest = &d,
	    .read = 1 });
	body_unref(body);
	store_end(t);
	return b;
}

void
rig_put(struct rig *r, const char *backend, const char *name, struct span bytes, uint64_t serial)
{
	rig_apply(r, rig_put_batch(r, backend, name, bytes, serial));
}

static void
rig_on_problem(void *arg, const char *text)
{
	buf_printf(arg, "%s\n", text);
}

void
rig_check(struct rig *r, struct buf *ret, struct store_check *ret_counts)
{
	struct store_check c = { .problem = rig_on_problem, .arg = ret };
	struct err         e = { 0 };

	if (rig_run(r, store_check(r->store, &c), &e) != ERR_OK)
		test_fail(__FILE__, __LINE__, "check: %s", e.msg);
	if (ret_counts != NULL)
		*ret_counts = c;
}

void
rig_check_clean(struct rig *r)
{
	struct store_check c;
	struct buf         text;

	buf_init(&text, 0);
	rig_check(r, &text, &c);
	if (c.problems != 0)
		test_fail(__FILE__, __LINE__, "check finds %llu problems: %s", (unsigned long long)c.problems,
		    buf_str(&text));
	buf_free(&text);
}

/* ---------------------------------------------------------------- series of versions */

static void
series_scramble(struct series *s, size_t from, size_t n)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = from; i < from + n && i < s->text.len; i++) {
		uint8_t c = s->text.data[i];

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))
			s->text.data[i] = (uint8_t)hex[rand_below(&s->rand, 16)];
	}
}

static void
series_splice(struct series *s, size_t at, size_t del, struct span add)
{
	struct buf out;

	buf_init(&out, SIZE_MAX / 2);
	buf_put(&out, s->text.data, at);
	if (add.n > 0)
		buf_put(&out, add.p, add.n);
	buf_put(&out, s->text.data + at + del, s->text.len - at - del);
	buf_free(&s->text);
	s->text = out;
}

static void
series_set_serial(struct series *s)
{
	static const char key[] = "\"serial\": ";
	char              text[32];
	uint8_t          *p = memmem(s->text.data, s->text.len, key, sizeof(key) - 1);
	size_t            at, n = 0;

	if (p == NULL)
		return;
	at = (size_t)(p - s->text.data) + sizeof(key) - 1;
	while (s->text.data[at + n] >= '0' && s->text.data[at + n] <= '9')
		n++;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)s->serial);
	series_splice(s, at, n, span_str(text));
}

void
series_init(struct series *s, size_t size, uint64_t seed)
{
	static const char *golden;
	static size_t      n;

	if (golden == NULL)
		golden = test_read("golden/state/large.tfstate", &n);
	rand_seeded(&s->rand, seed);
	buf_init(&s->text, SIZE_MAX / 2);
	while (s->text.len < size) {
		size_t from = s->text.len, take = size - from < n ? size - from : n;

		buf_put(&s->text, golden, take);
		if (from > 0)
			series_scramble(s, from, take);
	}
	s->serial = 1;
	s->size = size;
	series_set_serial(s);
}

/* Where a value may be edited: far enough from both ends. */
static size_t
series_place(struct series *s)
{
	return 512 + (size_t)rand_below(&s->rand, s->text.len - 2048);
}

void
series_next(struct series *s)
{
	uint64_t edits = 1 + rand_below(&s->rand, 3);

	s->serial++;
	series_set_serial(s);
	while (edits-- > 0)
		series_scramble(s, series_place(s), 36);
	if (rand_below(&s->rand, 6) != 0)
		return;
	if (s->text.len <= s->size)
		series_splice(s, series_place(s), 0, span_of(s->text.data + series_place(s), 700));
	else
		series_splice(s, series_place(s), 700, span_of(NULL, 0));
}

void
series_scramble_all(struct series *s)
{
	for (size_t i = 0; i < s->text.len; i++)
		s->text.data[i] = (uint8_t)(' ' + rand_below(&s->rand, 90));
}

void
series_free(struct series *s)
{
	buf_free(&s->text);
}
