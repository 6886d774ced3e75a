/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "../../lib/test.h"

enum mode { MODE_KEEP, MODE_ARCHIVE, MODE_MIRROR };
static const char *const modes[] = { "keep", "archive", "mirror", NULL };

struct all {
	const char     *str, *region, *path;
	struct secret  *secret;
	bool            yes, no;
	int64_t         i, ms, seconds, percent;
	uint64_t        size;
	struct conf_strs strs, other;
	struct conf_map map, tokens;
	int             mode;
	const char     *soon;
};

static const struct conf_field fields[] = {
	{ "str", CONF_STR, offsetof(struct all, str), NULL, "a text", NULL, NULL, false, NULL },
	{ "region", CONF_STR, offsetof(struct all, region), "eu-west-3", "where", "NO_REGION AWS_REGION", NULL, false, NULL },
	{ "path", CONF_PATH, offsetof(struct all, path), NULL, "a file", NULL, NULL, false, NULL },
	{ "secret_key", CONF_SECRET, offsetof(struct all, secret), NULL, "a key", "SECRET_KEY", NULL, false, NULL },
	{ "yes", CONF_BOOL, offsetof(struct all, yes), "true", "on", NULL, NULL, false, NULL },
	{ "no", CONF_BOOL, offsetof(struct all, no), NULL, "off", "NO", NULL, false, NULL },
	{ "count", CONF_INT, offsetof(struct all, i), "-5", "how many", NULL, NULL, false, NULL },
	{ "poll", CONF_MS, offsetof(struct all, ms), "30s", "how often", NULL, NULL, false, NULL },
	{ "retry_wait_min", CONF_SECONDS, offsetof(struct all, seconds), "1", "pause", "WAIT", NULL, false, NULL },
	{ "max_state_size", CONF_SIZE, offsetof(struct all, size), "512MiB", "limit", NULL, NULL, false, NULL },
	{ "max_shrink", CONF_PERCENT, offsetof(struct all, percent), "50%", "limit", NULL, NULL, false, NULL },
	{ "include", CONF_STRS, offsetof(struct all, strs), "[\"**\"]", "globs", NULL, NULL, false, NULL },
	{ "workspaces", CONF_STRS, offsetof(struct all, other), NULL, "names", "WORKSPACES", NULL, false, NULL },
	{ "headers", CONF_MAP, offsetof(struct all, map), NULL, "headers", NULL, NULL, false, NULL },
	{ "tokens", CONF_SECRETS, offsetof(struct all, tokens), NULL, "headers that may be credentials", NULL, NULL, false, NULL },
	{ "deletes", CONF_ENUM, offsetof(struct all, mode), "keep", "what", NULL, modes, false, NULL },
	{ "webhook", CONF_STR, offsetof(struct all, soon), NULL, "push", "WEBHOOK", NULL, false, "pushed hints are planned" },
	{ NULL, CONF_STR, 0, NULL, NULL, NULL, NULL, false, NULL },
};

struct need {
	const char *bucket, *key;
};

static const struct conf_field need_fields[] = {
	{ "bucket", CONF_STR, offsetof(struct need, bucket), NULL, "", NULL, NULL, true, NULL },
	{ "key", CONF_STR, offsetof(struct need, key), NULL, "", "KEY_A KEY_B", NULL, true, NULL },
	{ NULL, CONF_STR, 0, NULL, NULL, NULL, NULL, false, NULL },
};

static const struct conf_field *const tables[] = { fields, NULL };
static const char *const block_types[] = { "lease", "state", NULL };

/* Variables of the test, as NAME=VALUE, NULL-terminated. */
static const char *const *env_now;

static const char *
fake_env(void *arg, const char *name)
{
	size_t n = strlen(name);

	(void)arg;
	for (size_t i = 0; env_now != NULL && env_now[i] != NULL; i++)
		if (strncmp(env_now[i], name, n) == 0 && env_now[i][n] == '=')
			return env_now[i] + n + 1;
	return NULL;
}

static enum err_code
fake_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	(void)arg, (void)path;
	return buf_add(ret, "sesame\n", 7, reterr);
}

static struct conf *last;
static struct all   got;

static enum err_code
load(const char *text, struct err *e)
{
	static const struct conf_source src = { .env = fake_env, .file = fake_file };

	conf_free(last);
	last = NULL;
	memset(&got, 0, sizeof(got));
	CHECK_OK(conf_parse("f", "/etc/sf", span_str(text), false, &src, &last, e), *e);
	return conf_fields(last, conf_root(last), fields, &got, e);
}

static void
good(const char *text)
{
	struct err e;

	CHECK_OK(load(text, &e), e);
}

static void
bad(const char *text, const char *msg)
{
	struct err e;

	err_clear(&e);
	if (load(text, &e) != ERR_CONFIG || strcmp(e.msg, msg) != 0)
		test_fail(__FILE__, __LINE__, "%s\n#   gives   %s\n#   not     %s", text, e.msg, msg);
}

static void
check_list(const struct conf_strs *s, const char *joined)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < s->n; i++)
		buf_printf(&b, "%s|", s->items[i]);
	CHECK(s->items != NULL && s->items[s->n] == NULL);
	CHECK_STR(buf_str(&b), joined);
	buf_free(&b);
}

static void
defaults(void)
{
	env_now = NULL;
	good("");
	CHECK(got.str == NULL && got.path == NULL && got.secret == NULL && got.yes && !got.no);
	CHECK_STR(got.region, "eu-west-3");
	CHECK(got.i == -5 && got.ms == 30000 && got.seconds == 1000 && got.percent == 50);
	CHECK_U64(got.size, 512ULL << 20);
	check_list(&got.strs, "**|");
	CHECK(got.other.items == NULL && got.map.n == 0 && got.mode == MODE_KEEP);
}

static void
written(void)
{
	static const char *const env[] = { "AWS_REGION=us-east-1", "NO=true", NULL };

	env_now = env;
	good("str = \"x\"\nregion = \"r\"\npath = \"a/b\"\nsecret_key = \"k\"\nyes = false\nno = false\ncount = 7\npoll = \"1h30m\"\n"
	    "retry_wait_min = 3\nmax_state_size = \"64KiB\"\nmax_shrink = \"100%\"\ninclude = [\"a\", \"b\"]\nworkspaces = []\n"
	    "headers = { a = \"b\", \"c d\" = 1 }\ndeletes = \"mirror\"");
	CHECK_STR(got.str, "x");
	CHECK_STR(got.region, "r");
	CHECK_STR(got.path, "/etc/sf/a/b");
	CHECK_STR(secret_str(got.secret), "k");
	CHECK(!got.yes && !got.no && got.i == 7 && got.ms == 5400000 && got.seconds == 3000 && got.percent == 100);
	CHECK_U64(got.size, 65536);
	check_list(&got.strs, "a|b|");
	check_list(&got.other, "");
	CHECK_U64(got.map.n, 2);
	CHECK_STR(got.map.keys[1], "c d");
	CHECK_STR(got.map.values[1], "1");
	CHECK_U64(got.mode, MODE_MIRROR);
	CHECK(conf_attr(conf_root(last), "str")->used);
}

static void
environment(void)
{
	static const char *const good_env[] = { "AWS_REGION=us-east-1", "NO_REGION=", "NO=1", "WAIT=9", "SECRET_KEY=s",
		"WORKSPACES= a, b,,c ", NULL };
	static const char *const no_bool[] = { "NO=maybe", NULL }, *const no_utf8[] = { "AWS_REGION=\xff", NULL };
	static const char *const later[] = { "WEBHOOK=x", NULL };

	env_now = good_env;
	good("");
	CHECK_STR(got.region, "us-east-1");
	CHECK(got.no && got.seconds == 9000);
	CHECK_STR(secret_str(got.secret), "s");
	check_list(&got.other, "a|b|c|");
	good("region = null\nno = \"0\"");
	CHECK_STR(got.region, "us-east-1");
	CHECK(!got.no);
	env_now = no_bool;
	bad("", "f:1:1: environment variable NO: expected true or false, found a string");
	env_now = no_utf8;
	bad("", "f:1:1: environment variable AWS_REGION: expected text in UTF-8");
	env_now = later;
	bad("", "f:1:1: environment variable WEBHOOK needs a later version of stateferry: pushed hints are planned");
	env_now = NULL;
}

/* Expected texts were printed by terraform 1.11 (tostring, tonumber, tobool). */
static void
conversions(void)
{
	static const char *const numbers[][2] = { { "5", "5" }, { "5.0", "5" }, { "1e3", "1000" }, { "0.10", "0.1" }, { "007", "7" },
		{ "1.5E-3", "0.0015" }, { "-1e-10", "-0.0000000001" }, { "0e5", "0" }, { "-5.50", "-5.5" }, { "-0", "-0" }, { "100", "100" },
		{ "123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789" }, { "0.05e2", "5" },
		{ "12.34e1", "123.4" }, { "1200e-1", "120" } };

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		char *text = xasprintf("str = %s", numbers[i][0]);

		good(text);
		CHECK_STR(got.str, numbers[i][1]);
		free(text);
	}
	good("str = true\nyes = \"false\"\ncount = \"30\"\nretry_wait_min = \"4\"\nmax_state_size = 100\ninclude = [1, true, \"x\"]");
	CHECK_STR(got.str, "true");
	CHECK(!got.yes && got.i == 30 && got.seconds == 4000 && got.size == 100);
	check_list(&got.strs, "1|true|x|");
	good("count = 9223372036854775807\nsecret_key = 1234");
	CHECK(got.i == INT64_MAX);
	CHECK_STR(secret_str(got.secret), "1234");
	good("count = \"+1e2\"\nmax_state_size = 1e3");
	CHECK(got.i == 100 && got.size == 1000);
}

static void
type_errors(void)
{
	bad("str = []", "f:1:7: argument \"str\": expected a string, found a list");
	bad("\n  path = {}", "f:2:10: argument \"path\": expected a path, found an object");
	bad("secret_key = [1]", "f:1:14: argument \"secret_key\": expected a string, found a list");
	bad("yes = \"True\"", "f:1:7: argument \"yes\": expected true or false, found \"True\"");
	bad("yes = 1", "f:1:7: argument \"yes\": expected true or false, found the number 1");
	bad("count = 1.5", "f:1:9: argument \"count\": expected a whole number, found the number 1.5");
	bad("count = \"0x1F\"", "f:1:9: argument \"count\": expected a whole number, found \"0x1F\"");
	bad("count = \"\"", "f:1:9: argument \"count\": expected a whole number, found \"\"");
	bad("count = 9223372036854775808",
	    "f:1:9: argument \"count\": expected a whole number, found the number 9223372036854775808");
	bad("count = true", "f:1:9: argument \"count\": expected a whole number, found true");
	bad("poll = 30", "f:1:8: argument \"poll\": expected a duration such as \"30s\", \"6h\" or \"7d\", found the number 30");
	bad("poll = \"30\"", "f:1:8: argument \"poll\": expected a duration such as \"30s\", \"6h\" or \"7d\", found \"30\"");
	bad("poll = env(\"X\", \"geheim\")",
	    "f:1:8: argument \"poll\": expected a duration such as \"30s\", \"6h\" or \"7d\", found a string");
	bad("retry_wait_min = -1", "f:1:18: argument \"retry_wait_min\": expected a whole number of seconds, found the number -1");
	bad("retry_wait_min = \"2s\"", "f:1:18: argument \"retry_wait_min\": expected a whole number of seconds, found \"2s\"");
	bad("max_state_size = \"1 GB\"", "f:1:18: argument \"max_state_size\": expected a size such as \"64MiB\", found \"1 GB\"");
	bad("max_shrink = 50",
	    "f:1:14: argument \"max_shrink\": expected a percentage from \"0%\" to \"100%\", found the number 50");
	bad("max_shrink = \"101%\"",
	    "f:1:14: argument \"max_shrink\": expected a percentage from \"0%\" to \"100%\", found \"101%\"");
	bad("include = \"a\"",
	    "f:1:11: argument \"include\": expected a list of strings such as [\"a\", \"b\"], found \"a\"");
	bad("include = [\"a\",\n null]", "f:2:2: an item of argument \"include\": expected a string, found null");
	bad("headers = { a = [] }", "f:1:17: an item of argument \"headers\": expected a string, found a list");
	bad("headers = \"geheim\"",
	    "f:1:11: argument \"headers\": expected an object of strings such as { a = \"b\" }, found a string");
	bad("deletes = \"archiv\"", "f:1:11: argument \"deletes\": expected one of \"keep\", \"archive\", \"mirror\", found \"archiv\", "
	    "did you mean \"archive\"?");
	bad("deletes = \"x\"", "f:1:11: argument \"deletes\": expected one of \"keep\", \"archive\", \"mirror\", found \"x\"");
	bad("webhook = \"x\"", "f:1:1: argument \"webhook\" needs a later version of stateferry: pushed hints are planned");
	good("webhook = null");
}

static void
required(void)
{
	struct need n = { NULL, NULL };
	struct err  e;

	good("b \"x\" {\n key = \"k\"\n}\nb \"x\" {\n bucket = \"y\"\n}");
	CHECK(conf_fields(last, &conf_root(last)->blocks[0], need_fields, &n, &e) == ERR_CONFIG);
	CHECK_STR(e.msg, "f:1:1: expected the argument \"bucket\" in b \"x\"");
	CHECK(conf_fields(last, &conf_root(last)->blocks[1], need_fields, &n, &e) == ERR_CONFIG);
	CHECK_STR(e.msg, "f:4:1: expected the argument \"key\" in b \"x\", or the environment variable KEY_A KEY_B");
}

static void
unknown(const char *text, const char *msg)
{
	struct err e;

	good(text);
	err_clear(&e);
	(void)conf_finish(last, conf_root(last), tables, block_types, &e);
	if (strcmp(e.msg, msg) != 0)
		test_fail(__FILE__, __LINE__, "%s\n#   gives   %s\n#   not     %s", text, e.msg, msg);
}

static void
finish(void)
{
	struct err e;

	unknown("str = \"x\"\nlease {\n}", "");
	unknown("\n max_shrnk = 1", "f:2:2: unknown argument \"max_shrnk\" in the file, did you mean \"max_shrink\"?");
	unknown("zzzzzzzz = 1", "f:1:1: unknown argument \"zzzzzzzz\" in the file; expected \"str\", \"region\", \"path\", "
	    "\"secret_key\", \"yes\", \"no\", \"count\", \"poll\", \"retry_wait_min\", ...");
	unknown("leas {\n}", "f:1:1: unknown block \"leas\" in the file, did you mean \"lease\"?");
	unknown("zzzzzzzz {\n}", "f:1:1: unknown block \"zzzzzzzz\" in the file; expected \"lease\", \"state\"");
	unknown("lease = {}", "f:1:1: \"lease\" is a block; expected lease { ... } without =");
	unknown("headers {\n}", "f:1:1: \"headers\" is an argument; expected headers = and a value");
	unknown("header {\n}", "f:1:1: unknown block \"header\" in the file, did you mean \"headers\"?");
	good("x {\n}\ny = 1");
	CHECK(conf_finish(last, conf_root(last), NULL, NULL, &e) == ERR_CONFIG);
	CHECK_STR(e.msg, "f:3:1: unknown argument \"y\"; expected none in the file");
	good("x {\n}\n");
	CHECK(conf_finish(last, conf_root(last), NULL, NULL, &e) == ERR_CONFIG);
	CHECK_STR(e.msg, "f:1:1: unknown block \"x\"; expected none in the file");
	good("b \"a b\" \"\xc3\xa9" "12345678901234567890123456789012345678901234567890123\xc3\xa9\" {\n y = 1\n}\n");
	CHECK(conf_finish(last, &conf_root(last)->blocks[0], NULL, NULL, &e) == ERR_CONFIG);
	CHECK(strstr(e.msg, "f:2:2: unknown argument \"y\"; expected none in b \"a b\" \"\xc3\xa9" "123") != NULL);
}

static void
printed(const char *text, const char *expected)
{
	struct buf b;

	good(text);
	buf_init(&b, 0);
	conf_print(conf_root(last), NULL, 0, &b);
	if (strcmp(buf_str(&b), expected) != 0)
		test_fail(__FILE__, __LINE__, "%s\n#   prints\n%s\n#   not\n%s", text, buf_str(&b), expected);
	buf_free(&b);
}

static void
print(void)
{
	static const char *const env[] = { "AWS_REGION=us-east-1", "SECRET_KEY=geheim", NULL };

	env_now = env;
	printed("str = \"$${x}\\n\\t\\\"\\\\\\u0001$$\"\ninclude = [env(\"X\", \"d\"), \"b\"]\nheaders = { a-b = 1, \"for\" = \"é\", \"x y\" = -1.50 }\n"
	    "lease {\n ttl = \"60s\"\n n = 5\n x = true\n p = env(\"P\", \"geheim\")\n list = [\"geheim\", 1]\n"
	    "}\nempty \"a\\\"\" {}\n",
	    "str            = \"$${x}\\n\\t\\\"\\\\\\u0001$$\"\n"
	    "include        = [env(\"X\", \"d\"), \"b\"]\n"
	    "headers        = { a-b = 1, \"for\" = \"é\", \"x y\" = -1.50 }\n"
	    "region         = env(\"AWS_REGION\") # environment\n"
	    "secret_key     = env(\"SECRET_KEY\") # environment\n"
	    "yes            = true              # default\n"
	    "count          = -5                # default\n"
	    "poll           = \"30s\"             # default\n"
	    "retry_wait_min = 1                 # default\n"
	    "max_state_size = \"512MiB\"          # default\n"
	    "max_shrink     = \"50%\"             # default\n"
	    "deletes        = \"keep\"            # default\n"
	    "\n"
	    "lease {\n"
	    "  ttl  = \"(sensitive)\"\n"
	    "  n    = \"(sensitive)\"\n"
	    "  x    = true\n"
	    "  p    = env(\"P\", \"(sensitive)\")\n"
	    "  list = [\"(sensitive)\", \"(sensitive)\"]\n"
	    "}\n"
	    "\n"
	    "empty \"a\\\"\" {}\n");
	env_now = NULL;
}

static void
print_secrets(void)
{
	struct buf b;

	good("secret_key = \"geheim\"\nstr = \"https://me:geheim@h/p?sig=geheim\"\nregion = \"https://h/p@x\"\npath = file(\"p\")\n"
	    "headers = { u = \"s3://geheim@b\" }\ntokens = { Authorization = \"Bearer geheim\" }\nwebhook = null");
	CHECK_U64(got.tokens.n, 1);
	CHECK_STR(got.tokens.values[0], "Bearer geheim");
	buf_init(&b, 0);
	conf_print(conf_root(last), tables, 2, &b);
	CHECK(strstr(buf_str(&b), "geheim") == NULL);
	CHECK(strstr(buf_str(&b), "sesame") == NULL);
	CHECK(strstr(buf_str(&b), "  secret_key     = \"(sensitive)\"\n") != NULL);
	CHECK(strstr(buf_str(&b), "  str            = \"https://(sensitive)@h/p?(sensitive)\"\n") != NULL);
	CHECK(strstr(buf_str(&b), "  region         = \"https://h/p@x\"\n") != NULL);
	CHECK(strstr(buf_str(&b), "  path           = file(\"p\")\n") != NULL);
	CHECK(strstr(buf_str(&b), "u = \"s3://(sensitive)@b\"") != NULL);
	CHECK(strstr(buf_str(&b), "tokens         = { Authorization = \"(sensitive)\" }\n") != NULL);
	buf_free(&b);
}

static void
sizes(void)
{
	uint64_t n;

	CHECK(size_parse("0", &n) && n == 0);
	CHECK(size_parse("512MiB", &n) && n == 512ULL << 20);
	CHECK(size_parse("64KiB", &n) && n == 65536);
	CHECK(size_parse("100MB", &n) && n == 100000000);
	CHECK(size_parse("1B", &n) && n == 1);
	CHECK(size_parse("18446744073709551615", &n) && n == UINT64_MAX);
	CHECK(!size_parse("18446744073709551616", &n));
	CHECK(!size_parse("99999999TiB", &n));
	CHECK(!size_parse("", &n) && !size_parse("MiB", &n) && !size_parse("1mib", &n) && !size_parse("-1", &n));
	CHECK(!size_parse("1.5GiB", &n) && !size_parse("1 B", &n));
}

int
main(int argc, char **argv)
{
	int failed = test_main(argc, argv, (struct test[]){
	    { "defaults", defaults },
	    { "written", written },
	    { "environment", environment },
	    { "conversions", conversions },
	    { "type errors", type_errors },
	    { "required", required },
	    { "finish", finish },
	    { "print", print },
	    { "print secrets", print_secrets },
	    { "sizes", sizes },
	    { NULL, NULL },
	});

	conf_free(last);
	return failed;
}
