/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdalign.h>

#include "base/rand.h"
#include "../../lib/test.h"

static void
copies(void)
{
	struct arena *a = arena_new();

	CHECK_STR(arena_strdup(a, "abc"), "abc");
	CHECK(arena_strdup(a, NULL) == NULL);
	CHECK_STR(arena_span(a, span_of("abcdef", 2)), "ab");
	CHECK_STR(arena_span(a, span_of(NULL, 0)), "");
	CHECK_STR(arena_printf(a, "%s=%d", "k", 7), "k=7");
	CHECK_STR(arena_printf(a, "%s", ""), "");
	arena_free(a);
	arena_free(NULL);
}

static void
counts_what_it_takes(void)
{
	struct arena *a = arena_new();

	CHECK_U64(arena_bytes(a), 0);
	for (int i = 0; i < 10; i++)
		arena_alloc(a, 16);
	CHECK_U64(arena_bytes(a), 4096);
	arena_alloc(a, 100000);
	CHECK(arena_bytes(a) >= 104096 && arena_bytes(a) < 105000);
	for (int i = 0; i < 10; i++) /* the room of the block before is still in use */
		arena_alloc(a, 16);
	CHECK(arena_bytes(a) < 105000);
	arena_free(a);
	a = arena_new();
	arena_alloc(a, 100000);
	CHECK(arena_bytes(a) < 101000);
	arena_free(a);
}

/* Zeroed, aligned, apart from each other, and as it was left until the end. */
static void
property_pieces_are_apart(void)
{
	enum { N = 3000 };
	static unsigned char *p[N];
	static size_t         size[N];
	struct arena         *a = arena_new();
	struct rand           r;

	rand_seeded(&r, 6);
	for (int i = 0; i < N; i++) {
		size[i] = (size_t)rand_below(&r, rand_below(&r, 20) == 0 ? 9000 : 100);
		p[i] = arena_alloc(a, size[i]);
		CHECK((uintptr_t)p[i] % alignof(max_align_t) == 0);
		CHECK(i == 0 || p[i] != p[i - 1]);
		for (size_t k = 0; k < size[i]; k++)
			CHECK(p[i][k] == 0);
		memset(p[i], i % 255 + 1, size[i]);
	}
	for (int i = 0; i < N; i++)
		for (size_t k = 0; k < size[i]; k++)
			CHECK(p[i][k] == i % 255 + 1);
	arena_free(a);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "copies", copies },
		{ "counts what it takes", counts_what_it_takes },
		{ "property: pieces are apart", property_pieces_are_apart },
		{ NULL, NULL },
	    });
}
