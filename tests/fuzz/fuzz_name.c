/* SPDX-License-Identifier: MIT */
#include "base/name.h"
#include "base/utf8.h"
#include "../lib/fuzz.h"

/* The input is a pattern, a zero byte, and a name. What is accepted keeps its rules, and a glob means the same
 * however it is said. */
static void
check_name(struct span name)
{
	struct err  e = { 0 };
	struct span part = name;

	if (name_check(name, &e) != ERR_OK) {
		FUZZ_CHECK(e.code == ERR_UNSUPPORTED && e.msg[0] != '\0' && utf8_valid(span_str(e.msg)));
		return;
	}
	FUZZ_CHECK(name.n > 0 && name.n <= NAME_MAX_LEN && name.p[0] != '/' && utf8_valid(name));
	for (size_t i = 0; i <= name.n; i++) {
		FUZZ_CHECK(i == name.n || (name.p[i] >= 0x20 && name.p[i] != 0x7f));
		if (i < name.n && name.p[i] != '/')
			continue;
		part.n = (size_t)(name.p + i - part.p);
		FUZZ_CHECK(!span_is(part, ".") && !span_is(part, ".."));
		part.p = name.p + i + 1;
	}
}

static char *
joined(const char *before, const char *middle, const char *after)
{
	struct buf b;

	buf_init(&b, 0);
	buf_printf(&b, "%s%s%s", before, middle, after);
	return buf_take(&b);
}

static void
check_glob(const char *pattern, const char *name)
{
	bool  yes = glob_match(pattern, span_str(name)), wild = strpbrk(pattern, "*?") != NULL;
	char *below = joined("**/", pattern, ""), *deep = joined("x/y/", name, ""), *all = joined(pattern, "**", "");

	FUZZ_CHECK(glob_match("**", span_str(name)));
	FUZZ_CHECK(wild || yes == (strcmp(pattern, name) == 0));
	FUZZ_CHECK(!yes || glob_match(below, span_str(name)));
	FUZZ_CHECK(!yes || glob_match(below, span_str(deep)));
	FUZZ_CHECK(!yes || pattern[0] == '\0' || pattern[strlen(pattern) - 1] == '*' ||
	    glob_match(all, span_str(name)));
	free(below), free(deep), free(all);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *zero = n == 0 ? NULL : memchr(data, 0, n);
	char          *pattern, *name;

	check_name(span_of(data, n));
	(void)name_is_never_state(span_of(data, n));
	if (zero == NULL || n > 4096)
		return 0;
	pattern = span_dup(span_of(data, (size_t)(zero - data)));
	name = span_dup(span_of(zero + 1, n - (size_t)(zero - data) - 1));
	check_glob(pattern, name);
	(void)name_closest(pattern, (const char *const[]){ name, "bucket", NULL });
	free(pattern), free(name);
	return 0;
}
