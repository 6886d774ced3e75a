/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdlib.h>

#include "../../lib/test.h"

static void
copies(void)
{
	char *s = xstrdup("abc"), *t = xstrndup("abcdef", 4), *u = xasprintf("%d-%s", 7, "x"), *v = xmemdup("a\0b", 3);
	char *w = xstrndup("ab", 9);

	CHECK_STR(s, "abc");
	CHECK_STR(t, "abcd");
	CHECK_STR(u, "7-x");
	CHECK_STR(w, "ab");
	CHECK(memcmp(v, "a\0b", 3) == 0);
	CHECK(xstrdup(NULL) == NULL);
	free(s), free(t), free(u), free(v), free(w);
}

/* Nothing is something too: a pointer that can be freed and told from NULL. */
static void
nothing_is_not_null(void)
{
	void *a = xmalloc(0), *b = xcalloc(0, 8), *c = xmemdup(NULL, 0), *d = xrealloc(NULL, 0);

	CHECK(a != NULL && b != NULL && c != NULL && d != NULL);
	free(a), free(b), free(c), free(d);
}

static void
grows(void)
{
	uint32_t *p = NULL;

	for (size_t n = 1; n <= 1000; n++) {
		p = xreallocarray(p, n, sizeof(*p));
		p[n - 1] = (uint32_t)n;
	}
	for (size_t n = 1; n <= 1000; n++)
		CHECK_U64(p[n - 1], n);
	free(p);
}

static volatile size_t huge = SIZE_MAX / 2;

static void
overflow_realloc(void)
{
	free(xreallocarray(NULL, huge, 3));
}

static void
overflow_calloc(void)
{
	free(xcalloc(huge, 3));
}

static void
beyond_memory(void)
{
	free(xmalloc(huge));
}

static void
exhaustion_ends_the_process(void)
{
	CHECK(test_dies(overflow_realloc));
	CHECK(test_dies(overflow_calloc));
	CHECK(test_dies(beyond_memory));
}

static void
wipes(void)
{
	char s[] = "secret!";

	mem_wipe(s, 6);
	CHECK(memcmp(s, "\0\0\0\0\0\0!", 8) == 0);
	mem_wipe(NULL, 0);
}

static void
compares(void)
{
	char a[64], b[64];

	memset(a, 'x', sizeof(a));
	memset(b, 'x', sizeof(b));
	CHECK(mem_equal_ct(a, b, sizeof(a)));
	CHECK(mem_equal_ct(a, NULL, 0));
	for (size_t i = 0; i < sizeof(a); i++)
		for (int bit = 0; bit < 8; bit++) {
			b[i] = (char)(b[i] ^ (1 << bit));
			CHECK(!mem_equal_ct(a, b, sizeof(a)));
			CHECK(mem_equal_ct(a, b, i));
			b[i] = a[i];
		}
}

struct outer {
	int  before;
	char inner[4];
};

static void
finds_the_container(void)
{
	struct outer o;
	int          list[] = { 1, 2, 3 };

	CHECK(container_of(&o.inner, struct outer, inner) == &o);
	CHECK_U64(ARRAY_LEN(list), 3);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "copies", copies },
		{ "nothing is not NULL", nothing_is_not_null },
		{ "grows", grows },
		{ "exhaustion ends the process", exhaustion_ends_the_process },
		{ "wipes", wipes },
		{ "compares", compares },
		{ "finds the container", finds_the_container },
		{ NULL, NULL },
	    });
}
