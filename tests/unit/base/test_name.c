/* SPDX-License-Identifier: MIT */
#include "base/name.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "../../lib/test.h"

static struct err e;

static void
accepts_names(void)
{
	static const char *const good[] = { "terraform.tfstate", "prod/vpc.tfstate", "a//b", "a/", " ", "with space",
		"\xc3\xbc", "#", "%2F",
		"a+b", "...", "a/.../b", ".hidden", "..a", "a..", "env:/prod/x", "\xf0\x9f\x94\x92", "x\\y",
		"9b2e0c1a-6f0e" };
	char longest[NAME_MAX_LEN + 1];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		CHECK_OK(name_check(span_str(good[i]), &e), e);
	memset(longest, 'n', sizeof(longest));
	CHECK_OK(name_check(span_of(longest, NAME_MAX_LEN), &e), e);
	CHECK(name_check(span_of(longest, NAME_MAX_LEN + 1), &e) == ERR_UNSUPPORTED);
	CHECK_STR(e.msg, "the name is longer than 1024 bytes");
}

static void
refuses_names(void)
{
	static const struct {
		struct span name;
		const char *why;
	} bad[] = {
		{ { NULL, 0 }, "the name is empty" },
		{ SPAN_LIT("/a"), "the name begins with \"/\"" },
		{ SPAN_LIT("."), "the name holds a \".\" segment" },
		{ SPAN_LIT(".."), "the name holds a \"..\" segment" },
		{ SPAN_LIT("../a"), "the name holds a \"..\" segment" },
		{ SPAN_LIT("a/.."), "the name holds a \"..\" segment" },
		{ SPAN_LIT("a/../b"), "the name holds a \"..\" segment" },
		{ SPAN_LIT("a/./b"), "the name holds a \".\" segment" },
		{ SPAN_LIT("a\nb"), "the name holds a control character" },
		{ SPAN_LIT("a\0b"), "the name holds a control character" },
		{ SPAN_LIT("\x7f"), "the name holds a control character" },
		{ SPAN_LIT("\xc2\x85"), "the name holds a control character" },
		{ SPAN_LIT("\xc2\x9f"), "the name holds a control character" },
		{ SPAN_LIT("a\xff"), "the name is not UTF-8" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK(name_check(bad[i].name, &e) == ERR_UNSUPPORTED);
		CHECK_STR(e.msg, bad[i].why);
	}
	CHECK_OK(name_check(SPAN_LIT("\xc2\xa0"), &e), e);
}

static void
knows_what_is_never_a_state(void)
{
	static const char *const never[] = { ".terraform.tfstate.lock.info", "a/.x.lock.info",
		"prod/vpc.tfstate.tflock", ".tflock",
		"errored.tfstate", "a/b/errored.tfstate", ".terraform/terraform.tfstate",
		"a/.terraform/modules/x.tfstate",
		".terragrunt-cache/x/terraform.tfstate", "a/.terragrunt-cache/b", ".stateferry/lease/edge",
		"p/.stateferry/x.tfstate",
		"terraform.tfstate.backup", "a/terraform.tfstate.1700000000.backup", "crash.log", "a/crash.log",
		"history/a.tfstate/00000000000000000012-20261123T120000Z-ab12cd34ef56.tfstate" };
	static const char *const maybe[] = { "terraform.tfstate", "lock.info", "a.lock.info", "tflock",
		"errored.tfstate/x", "my-errored.tfstate",
		"errored.tfstate2", ".terraform", "a/.terraform", "a.terraform/b", ".terraform2/b", "a/.terraformx/b",
		".terragrunt-cache",
		".stateferry", "stateferry/x", "backup", "x.backup/terraform.tfstate", "crash.log/x", "a-crash.log",
		".x.lock.info/y", "00000000000000000012-20261123T120000Z-AB12cd34ef56.tfstate",
		"0000000000000000012-20261123T120000Z-ab12cd34ef56.tfstate" };

	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (!name_is_never_state(span_str(never[i])))
			test_fail(__FILE__, __LINE__, "%s passes", never[i]);
	for (size_t i = 0; i < ARRAY_LEN(maybe); i++)
		if (name_is_never_state(span_str(maybe[i])))
			test_fail(__FILE__, __LINE__, "%s is refused", maybe[i]);
	CHECK(!name_is_never_state(span_of(NULL, 0)));
}

static void
globs(void)
{
	static const struct {
		const char *pattern, *name;
		bool        yes;
	} rows[] = {
		{ "**", "", true }, { "**", "a/b/c", true }, { "", "", true }, { "", "a", false }, { "a", "a", true },
		{ "a", "ab", false },
		{ "*", "ab", true }, { "*", "", true }, { "*", "a/b", false }, { "*/*", "a/b", true },
		{ "*/*", "a/b/c", false },
		{ "prod/**", "prod/vpc", true }, { "prod/**", "prod/a/b", true }, { "prod/**", "prod", false },
		{ "prod/**", "prodx/a", false },
		{ "prod/*", "prod/a/b", false }, { "**/*.tfstate", "x.tfstate", true },
		{ "**/*.tfstate", "a/b/x.tfstate", true },
		{ "**/*.tfstate", "a/b/x.tf", false }, { "*.tfstate", "a/x.tfstate", false },
		{ "**/test.tfstate", "mytest.tfstate", false }, { "**/test.tfstate", "a/test.tfstate", true },
		{ "**/test.tfstate", "a/mytest.tfstate", false }, { "prod/**/x", "prod/x", true },
		{ "prod/**/x", "prod/a/b/x", true },
		{ "prod/**/x", "prod/yx", false }, { "prod/**/x", "prodx", false }, { "a**b", "a/x/b", true },
		{ "a**b", "ab", true },
		{ "a**/b", "a/b", true }, { "a**/b", "ax/y/b", true }, { "a**/b", "ab", false },
		{ "**/a/**/b", "x/a/y/a/z/b", true },
		{ "?", "a", true }, { "?", "", false }, { "?", "/", false }, { "?", "\xc3\xbc", true },
		{ "??", "\xc3\xbc", false },
		{ "*??", "\xe2\x82\xac", false }, { "*?", "\xe2\x82\xac", true }, { "[ab]", "a", false },
		{ "[ab]", "[ab]", true },
		{ "a\\*", "a\\x", true }, { "*a*a*a", "aaa", true }, { "*a*a*a", "aa", false },
		{ "a//b", "a//b", true },
		{ "a/**/b", "a//b", true }, { "**/", "a/", true }, { "**/", "a", false }, { "***", "a/b", true },
		{ "env:/*/k", "env:/prod/k", true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (glob_match(rows[i].pattern, span_str(rows[i].name)) != rows[i].yes)
			test_fail(__FILE__, __LINE__, "%s %s %s", rows[i].pattern, rows[i].yes ? "misses" : "matches",
			    rows[i].name);
}

/* The meaning, tried exhaustively: every star in every way. */
static bool
naive(const char *pattern, const char *p, const char *s)
{
	if (*p == '\0')
		return *s == '\0';
	if (p[0] == '*' && p[1] == '*' && p[2] == '/' && (p == pattern || p[-1] == '/')) {
		if (naive(pattern, p + 3, s))
			return true;
		for (; *s != '\0'; s++)
			if (*s == '/' && naive(pattern, p + 3, s + 1))
				return true;
		return false;
	}
	if (*p == '*') {
		bool        crosses = p[1] == '*';
		const char *rest = p + (crosses ? 2 : 1);

		for (;; s++) {
			if (naive(pattern, rest, s))
				return true;
			if (*s == '\0' || (*s == '/' && !crosses))
				return false;
		}
	}
	return *s != '\0' && (*p == '?' ? *s != '/' : *p == *s) && naive(pattern, p + 1, s + 1);
}

static void
random_text(struct rand *r, const char *alphabet, size_t max, char *ret)
{
	size_t n = (size_t)rand_below(r, max + 1), k = strlen(alphabet);

	for (size_t i = 0; i < n; i++)
		ret[i] = alphabet[rand_below(r, k)];
	ret[n] = '\0';
}

static void
property_globs_mean_what_they_say(void)
{
	struct rand r;
	char        pattern[12], name[14];
	size_t      hits = 0;

	rand_seeded(&r, 3);
	for (int i = 0; i < 300000; i++) {
		random_text(&r, "ab/***?", sizeof(pattern) - 1, pattern);
		random_text(&r, "aab/", sizeof(name) - 1, name);
		bool want = naive(pattern, pattern, name);

		hits += want;
		if (glob_match(pattern, span_str(name)) != want)
			test_fail(__FILE__, __LINE__, "%s %s %s", pattern, want ? "misses" : "matches", name);
	}
	CHECK(hits > 10000);
}

/* Any bytes: no verdict is wrong about what it let through. */
static void
property_accepted_names_are_clean(void)
{
	struct rand r;
	char        name[20];
	size_t      taken = 0;

	rand_seeded(&r, 4);
	for (int i = 0; i < 100000; i++) {
		random_text(&r, "a.../\xc3\xa9\x85\x1f", sizeof(name) - 1, name);
		if (name_check(span_str(name), &e) != ERR_OK)
			continue;
		taken++;
		CHECK(name[0] != '\0' && name[0] != '/' && utf8_valid(span_str(name)));
		CHECK(strchr(name, 0x1f) == NULL && strstr(name, "\xc2\x85") == NULL);
		for (char *part = strtok(name, "/"); part != NULL; part = strtok(NULL, "/"))
			CHECK(strcmp(part, ".") != 0 && strcmp(part, "..") != 0);
	}
	CHECK(taken > 1000);
}

/* A pattern made to backtrack stays polynomial: this ends at once or never. */
static void
hostile_pattern_ends(void)
{
	char pattern[202], name[NAME_MAX_LEN];

	memset(name, 'a', sizeof(name));
	for (size_t i = 0; i < 200; i += 2)
		memcpy(pattern + i, "*a", 2);
	memcpy(pattern + 200, "b", 2);
	CHECK(!glob_match(pattern, span_of(name, sizeof(name))));
	for (size_t i = 0; i < 198; i += 3)
		memcpy(pattern + i, "**a", 3);
	memcpy(pattern + 198, "b", 2);
	CHECK(!glob_match(pattern, span_of(name, sizeof(name))));
}

static void
means_the_closest(void)
{
	static const char *const keys[] = { "bucket", "region", "use_lockfile", "key", "endpoint", NULL };
	char                     giant[200];

	CHECK_STR(name_closest("buckett", keys), "bucket");
	CHECK_STR(name_closest("bukcet", keys), "bucket");
	CHECK_STR(name_closest("use_lock_file", keys), "use_lockfile");
	CHECK_STR(name_closest("lockfile", keys), NULL);
	CHECK_STR(name_closest("kye", keys), "key");
	CHECK_STR(name_closest("endpoints", keys), "endpoint");
	CHECK_STR(name_closest("x", keys), NULL);
	CHECK_STR(name_closest("", keys), NULL);
	CHECK_STR(name_closest("zzzzzz", keys), NULL);
	memset(giant, 'k', sizeof(giant) - 1);
	giant[sizeof(giant) - 1] = '\0';
	CHECK_STR(name_closest(giant, keys), NULL);
}

static const char *
uuid_of(const char *name)
{
	static char uuid[UUID_LEN + 1];

	return name_uuid(span_str(name), uuid) ? uuid : "none";
}

static void
finds_uuids(void)
{
#define U "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f"
	CHECK_STR(uuid_of(U), U);
	CHECK_STR(uuid_of("9B2E0C1A-6F0E-4C8E-9D5B-0A8F3C1D2E4F"), U);
	CHECK_STR(uuid_of("a/b/" U "/terraform.tfstate"), U);
	CHECK_STR(uuid_of(U ".tfstate"), U);
	CHECK_STR(uuid_of("a//" U), U);
	CHECK_STR(uuid_of("x" U), "none");
	CHECK_STR(uuid_of(U "x"), "none");
	CHECK_STR(uuid_of("9b2e0c1a+6f0e-4c8e-9d5b-0a8f3c1d2e4f"), "none");
	CHECK_STR(uuid_of(""), "none");
#undef U
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "accepts names", accepts_names },
		{ "refuses names", refuses_names },
		{ "knows what is never a state", knows_what_is_never_a_state },
		{ "globs", globs },
		{ "property: globs mean what they say", property_globs_mean_what_they_say },
		{ "property: accepted names are clean", property_accepted_names_are_clean },
		{ "a hostile pattern ends", hostile_pattern_ends },
		{ "means the closest", means_the_closest },
		{ "finds UUIDs", finds_uuids },
		{ NULL, NULL },
	    });
}
