/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdlib.h>

#include "base/rand.h"
#include "../../lib/test.h"

static struct err e;

static void
spans(void)
{
	struct span none = { NULL, 0 }, abc = SPAN_LIT("abc");

	CHECK(span_eq(none, span_str(NULL)) && span_eq(none, SPAN_LIT("")) && !span_eq(none, abc));
	CHECK(span_is(abc, "abc") && !span_is(abc, "abd") && !span_is(abc, "ab") && span_is(none, ""));
	CHECK(span_starts(abc, "") && span_starts(abc, "ab") && !span_starts(abc, "abcd") && !span_starts(abc, "b"));
	CHECK(span_ends(abc, "") && span_ends(abc, "bc") && !span_ends(abc, "abcd") && !span_ends(abc, "b"));
	CHECK(span_starts(none, "") && span_ends(none, "") && !span_starts(none, "a") && !span_ends(none, "a"));
	CHECK_U64(SPAN_LIT("a\0b").n, 3);
}

static void
spans_are_ordered(void)
{
	static const struct span sorted[] = { { NULL, 0 }, SPAN_LIT("\0"), SPAN_LIT("\0\0"), SPAN_LIT("a"),
		SPAN_LIT("a\0"),
		SPAN_LIT("ab"), SPAN_LIT("b"), SPAN_LIT("\x7f"), SPAN_LIT("\x80"), SPAN_LIT("\xff") };
	int n = (int)(sizeof(sorted) / sizeof(sorted[0]));

	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++) {
			int c = span_cmp(sorted[i], sorted[j]);

			CHECK(i < j ? c < 0 : i > j ? c > 0 : c == 0);
		}
}

static void
duplicates(void)
{
	char *s = span_dup(span_of("abcdef", 3)), *t = span_dup(span_of(NULL, 0));

	CHECK_STR(s, "abc");
	CHECK_STR(t, "");
	free(s), free(t);
}

static void
writes_text(void)
{
	struct buf b;
	char      *s;

	buf_init(&b, 0);
	CHECK_STR(buf_str(&b), "");
	CHECK(b.data == NULL && buf_span(&b).n == 0);
	buf_puts(&b, "a");
	buf_putc(&b, '=');
	buf_printf(&b, "%d%s", 12, "");
	buf_printf(&b, "%s", "");
	buf_put(&b, NULL, 0);
	CHECK_STR(buf_str(&b), "a=12");
	CHECK_U64(b.len, 4);
	buf_reset(&b);
	CHECK(b.len == 0 && b.cap > 0);
	CHECK_STR(buf_str(&b), "");
	buf_puts(&b, "again");
	s = buf_take(&b);
	CHECK_STR(s, "again");
	CHECK(b.data == NULL && b.len == 0 && b.cap == 0);
	free(s);
	s = buf_take(&b);
	CHECK_STR(s, "");
	free(s);
	buf_puts(&b, "usable after take");
	buf_wipe_free(&b);
	buf_free(&b);
	CHECK(b.data == NULL);
}

static void
keeps_its_limit(void)
{
	struct buf b;

	buf_init(&b, 5);
	CHECK_OK(buf_add(&b, "abc", 3, &e), e);
	CHECK(buf_add(&b, "def", 3, &e) == ERR_UNSUPPORTED);
	CHECK(strstr(e.msg, "5 bytes") != NULL);
	CHECK_STR(buf_str(&b), "abc");
	CHECK_U64(b.len, 3);
	CHECK(buf_reserve(&b, SIZE_MAX, &e) == ERR_UNSUPPORTED);
	CHECK(buf_reserve(&b, SIZE_MAX - 2, NULL) == ERR_UNSUPPORTED);
	CHECK_OK(buf_add(&b, "de", 2, &e), e);
	CHECK_STR(buf_str(&b), "abcde");
	CHECK(b.cap <= 6);
	CHECK_OK(buf_reserve(&b, 0, &e), e);
	CHECK(buf_reserve(&b, 1, &e) == ERR_UNSUPPORTED);
	buf_free(&b);
	buf_init(&b, SIZE_MAX);
	CHECK(buf_reserve(&b, SIZE_MAX, &e) == ERR_UNSUPPORTED);
	CHECK_OK(buf_add(&b, "x", 1, &e), e);
	CHECK(buf_reserve(&b, SIZE_MAX - 1, &e) == ERR_UNSUPPORTED);
	buf_free(&b);
}

/* A state is read into a buf of its size: not into twice its size. */
static void
one_big_piece_is_exact(void)
{
	struct buf b;

	buf_init(&b, 0);
	CHECK_OK(buf_reserve(&b, 3000000, &e), e);
	CHECK_U64(b.cap, 3000001);
	CHECK_U64(b.len, 0);
	CHECK_STR(buf_str(&b), "");
	buf_free(&b);
}

static void
put_beyond(void)
{
	struct buf b;

	buf_init(&b, 3);
	buf_puts(&b, "abcd");
}

static void
printf_beyond(void)
{
	struct buf b;

	buf_init(&b, 3);
	buf_printf(&b, "%d", 1234);
}

static void
own_text_beyond_the_limit_ends_the_process(void)
{
	CHECK(test_dies(put_beyond));
	CHECK(test_dies(printf_beyond));
}

/* Against a plain array, with additions of any size and resets in between. */
static void
property_same_as_an_array(void)
{
	enum { MAX = 3000 };
	static uint8_t model[MAX], piece[MAX];
	struct rand    r;
	struct buf     b;
	size_t         n = 0, k;
	bool           fits;

	rand_seeded(&r, 1);
	buf_init(&b, MAX);
	for (int i = 0; i < 20000; i++) {
		k = (size_t)rand_below(&r, rand_below(&r, 8) == 0 ? MAX : 40);
		rand_bytes(&r, piece, k);
		fits = n + k <= MAX;
		CHECK(buf_add(&b, piece, k, &e) == (fits ? ERR_OK : ERR_UNSUPPORTED));
		if (fits && k > 0) {
			memcpy(model + n, piece, k);
			n += k;
		}
		CHECK_U64(b.len, n);
		CHECK(n == 0 || memcmp(b.data, model, n) == 0);
		CHECK(b.data == NULL || b.data[n] == '\0');
		CHECK(b.cap <= MAX + 1);
		if (!fits) {
			buf_reset(&b);
			n = 0;
		}
	}
	buf_free(&b);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "spans", spans },
		{ "spans are ordered", spans_are_ordered },
		{ "duplicates", duplicates },
		{ "writes text", writes_text },
		{ "keeps its limit", keeps_its_limit },
		{ "one big piece is exact", one_big_piece_is_exact },
		{ "own text beyond the limit ends the process", own_text_beyond_the_limit_ends_the_process },
		{ "property: same as an array", property_same_as_an_array },
		{ NULL, NULL },
	    });
}
