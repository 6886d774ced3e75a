/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/json.h"
#include "../../lib/test.h"

/* Events as text, so that a test can say what it expects in one line: depth, kind and text of each. */
struct record {
	struct buf  out;
	const char *body;           /* to compare the raw bytes with */
	const char *skip;           /* answer JSON_SKIP_TEXT to this key ... */
	bool        skip_containers; /* ... or to containers below the first */
	bool        stop;           /* at the first string */
	uint64_t    at;             /* the end of the last token */
};

static const char marks[] = {
	[JSON_EV_OBJECT] = '{', [JSON_EV_OBJECT_END] = '}', [JSON_EV_ARRAY] = '[', [JSON_EV_ARRAY_END] = ']',
	[JSON_EV_KEY] = 'k', [JSON_EV_STRING] = 's', [JSON_EV_NUMBER] = 'n', [JSON_EV_TRUE] = 't', [JSON_EV_FALSE] = 'f',
	[JSON_EV_NULL] = '0',
};

static enum json_want
record_event(void *arg, const struct json_token *t)
{
	struct record *r = arg;
	bool           text = t->event == JSON_EV_KEY || t->event == JSON_EV_STRING || t->event == JSON_EV_NUMBER;

	buf_printf(&r->out, "%u%c", t->depth, marks[t->event]);
	if (text) {
		buf_put(&r->out, t->text.p, t->text.n);
		buf_puts(&r->out, t->cut ? "~" : "");
	}
	buf_putc(&r->out, ' ');
	CHECK(t->start >= r->at && t->end > t->start);
	r->at = t->end;
	if (r->body != NULL && (t->event == JSON_EV_KEY || t->event == JSON_EV_STRING))
		CHECK(r->body[t->start] == '"' && r->body[t->end - 1] == '"');
	if (r->body != NULL && t->event == JSON_EV_NUMBER && !t->cut) {
		CHECK_U64(t->text.n, t->end - t->start);
		CHECK(memcmp(r->body + t->start, t->text.p, t->text.n) == 0);
	}
	if (r->stop && t->event == JSON_EV_STRING)
		return JSON_STOP;
	if (r->skip != NULL && t->event == JSON_EV_KEY && span_is(t->text, r->skip))
		return JSON_SKIP_TEXT;
	if (r->skip_containers && t->depth > 0 && (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY))
		return JSON_SKIP_TEXT;
	return JSON_WANT;
}

/* Feeds body in pieces that end at the given offsets, each in memory of its own: sanitizers see every step outside. */
static enum err_code
read_cut(struct record *r, const char *body, size_t n, const size_t *cuts, size_t ncuts, struct err *e)
{
	struct json_reader *reader = json_reader_new(record_event, r);
	size_t              from = 0;
	enum err_code       rc = ERR_OK;

	if (r->out.max == 0)
		buf_init(&r->out, 0);
	buf_reset(&r->out);
	r->at = 0;
	r->body = body;
	for (size_t i = 0; i <= ncuts && rc == ERR_OK; i++) {
		size_t to = i < ncuts ? cuts[i] : n;
		char  *piece = malloc(to - from + 1);

		memcpy(piece, body + from, to - from);
		rc = json_feed(reader, piece, to - from, e);
		free(piece);
		from = to;
	}
	if (rc == ERR_OK)
		rc = json_end(reader, e);
	json_reader_free(reader);
	return rc;
}

static enum err_code
read_all(struct record *r, const char *body, size_t n, struct err *e)
{
	return read_cut(r, body, n, NULL, 0, e);
}

static uint64_t
next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Events, verdict and message must not depend on how the body is cut. */
static void
check_cuts(const char *body, size_t n)
{
	struct record whole = { 0 }, cut = { 0 };
	struct err    e1 = { 0 }, e2 = { 0 };
	enum err_code rc = read_all(&whole, body, n, &e1);
	uint64_t      seed = 88172645463325252u + n;
	size_t       *cuts = malloc((n + 1) * sizeof(*cuts));

	for (size_t at = 0; at <= n; at++) {
		memset(&e2, 0, sizeof(e2));
		CHECK_U64(read_cut(&cut, body, n, &at, 1, &e2), rc);
		CHECK_STR(buf_str(&cut.out), buf_str(&whole.out));
		CHECK_STR(e2.msg, e1.msg);
	}
	for (int round = 0; round < 20; round++) {
		uint64_t every = round == 0 ? 1 : 2 + next_random(&seed) % 20;
		size_t   k = 0;

		for (size_t at = 1; at < n; at++)
			if (next_random(&seed) % every == 0)
				cuts[k++] = at;
		CHECK_U64(read_cut(&cut, body, n, cuts, k, &e2), rc);
		CHECK_STR(buf_str(&cut.out), buf_str(&whole.out));
		CHECK(rc == ERR_OK || strcmp(e2.msg, e1.msg) == 0);
	}
	free(cuts);
	buf_free(&whole.out);
	buf_free(&cut.out);
}

static void
check_events(const char *body, const char *expected)
{
	struct record r = { 0 };
	struct err    e = { 0 };

	CHECK_OK(read_all(&r, body, strlen(body), &e), e);
	CHECK_STR(buf_str(&r.out), expected);
	buf_free(&r.out);
	check_cuts(body, strlen(body));
}

static void
tells_events(void)
{
	check_events("{}", "0{ 0} ");
	check_events(" \t\r\n[ ] ", "0[ 0] ");
	check_events("null", "00 ");
	check_events("\"\"", "0s ");
	check_events("-0.5e+10", "0n-0.5e+10 ");
	check_events("{\"a\":1,\"b\":[true,false,null,\"x\",{}],\"c\":{\"d\":-1}}",
	    "0{ 1ka 1n1 1kb 1[ 2t 2f 20 2sx 2{ 2} 1] 1kc 1{ 2kd 2n-1 1} 0} ");
	check_events("{ \"a\" : [ 0 , 10 , 1e5 , 0.0 ] }\n", "0{ 1ka 1[ 2n0 2n10 2n1e5 2n0.0 1] 0} ");
	check_events("{\"a\":1,\"a\":2}", "0{ 1ka 1n1 1ka 1n2 0} ");
}

static void
decodes_strings(void)
{
	check_events("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "0s\"\\/\b\f\n\r\t ");
	check_events("\"a\\u00e9\\u20AC\\ud83d\\uDE00z\"", "0sa\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z ");
	/* Half a pair is U+FFFD, whatever follows. */
	check_events("[\"\\ud83d\",\"\\ude00\",\"\\ud83dx\",\"\\ud83d\\n\",\"\\ud83d\\u0041\",\"\\ud83d\\ud83d\\ude00\"]",
	    "0[ 1s\xef\xbf\xbd 1s\xef\xbf\xbd 1s\xef\xbf\xbdx 1s\xef\xbf\xbd\n "
	    "1s\xef\xbf\xbd" "A 1s\xef\xbf\xbd\xf0\x9f\x98\x80 0] ");
	/* Bytes that are no UTF-8 stay as they are. */
	check_events("\"\xff\xc0\xaf\xe2\x82\x7f\"", "0s\xff\xc0\xaf\xe2\x82\x7f ");
	check_events("{\"k\\u0065y\":1}", "0{ 1kkey 1n1 0} ");
}

static void
keeps_nul(void)
{
	struct record r = { 0 };
	struct err    e = { 0 };

	CHECK_OK(read_all(&r, "\"a\\u0000b\"", 10, &e), e);
	CHECK_U64(r.out.len, 6);
	CHECK(memcmp(r.out.data, "0sa\0b ", 6) == 0);
	buf_free(&r.out);
}

static void
refuses(void)
{
	static const struct {
		const char *body;
		const char *msg;
	} rows[] = {
		{ "", "cut off after 0 bytes" },
		{ " \n", "cut off after 2 bytes" },
		{ "{", "cut off after 1 bytes" },
		{ "[1", "cut off after 2 bytes" },
		{ "\"a", "cut off after 2 bytes" },
		{ "\"a\\", "cut off after 3 bytes" },
		{ "\"\\u12", "cut off after 5 bytes" },
		{ "-", "cut off after 1 bytes" },
		{ "1.", "cut off after 2 bytes" },
		{ "1e", "cut off after 2 bytes" },
		{ "1e+", "cut off after 3 bytes" },
		{ "tru", "cut off after 3 bytes" },
		{ "{\"a\":", "cut off after 5 bytes" },
		{ "{\"a\"", "cut off after 4 bytes" },
		{ "[1,]", "byte 3: expected a value" },
		{ "[,1]", "byte 1: expected a value" },
		{ "{,}", "byte 1: expected a key in quotes" },
		{ "{\"a\":1,}", "byte 7: expected a key in quotes" },
		{ "{a:1}", "byte 1: expected a key in quotes" },
		{ "{'a':1}", "byte 1: expected a key in quotes" },
		{ "{1:1}", "byte 1: expected a key in quotes" },
		{ "{\"a\" 1}", "byte 5: expected a colon" },
		{ "{\"a\",1}", "byte 4: expected a colon" },
		{ "{\"a\":}", "byte 5: expected a value" },
		{ "{\"a\":1 \"b\":2}", "byte 7: expected a comma or }" },
		{ "{\"a\":1]", "byte 6: expected a comma or }" },
		{ "[1 2]", "byte 3: expected a comma or ]" },
		{ "[1}", "byte 2: expected a comma or ]" },
		{ "]", "byte 0: expected a value" },
		{ "{}}", "byte 2: more bytes behind the value" },
		{ "{}{}", "byte 2: more bytes behind the value" },
		{ "1 1", "byte 2: more bytes behind the value" },
		{ "null,", "byte 4: more bytes behind the value" },
		{ "01", "byte 1: more bytes behind the value" },
		{ "-01", "byte 2: more bytes behind the value" },
		{ "+1", "byte 0: expected a value" },
		{ ".5", "byte 0: expected a value" },
		{ "[-]", "byte 2: expected a digit" },
		{ "[1.]", "byte 3: expected a digit" },
		{ "[1.e1]", "byte 3: expected a digit" },
		{ "[1e]", "byte 3: expected a digit" },
		{ "[1e+]", "byte 4: expected a digit" },
		{ "[1.5.5]", "byte 4: expected a comma or ]" },
		{ "[0x10]", "byte 2: expected a comma or ]" },
		{ "[NaN]", "byte 1: expected a value" },
		{ "[Infinity]", "byte 1: expected a value" },
		{ "True", "byte 0: expected a value" },
		{ "nul1", "byte 3: expected true, false or null" },
		{ "truex", "byte 4: more bytes behind the value" },
		{ "\"\\x\"", "byte 2: no such escape in a string" },
		{ "\"\\u12g4\"", "byte 5: expected a hexadecimal digit" },
		{ "\"\\U0041\"", "byte 2: no such escape in a string" },
		{ "\"a\nb\"", "byte 2: control character in a string" },
		{ "\"\t\"", "byte 1: control character in a string" },
		{ "\xef\xbb\xbf{}", "byte 0: expected a value" },
		{ "[\x0c]", "byte 1: expected a value" },
		{ "[1]\x0b", "byte 3: more bytes behind the value" },
		{ "[\xc2\xa0]", "byte 1: expected a value" },
		{ "/* */{}", "byte 0: expected a value" },
		{ "<html>", "byte 0: expected a value" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct record r = { 0 };
		struct err    e = { 0 };

		CHECK_U64(read_all(&r, rows[i].body, strlen(rows[i].body), &e), ERR_CORRUPT);
		CHECK_STR(e.msg, rows[i].msg);
		buf_free(&r.out);
		check_cuts(rows[i].body, strlen(rows[i].body));
	}
}

static void
refuses_nul_bytes(void)
{
	static const char body[] = "[\"a\0b\"]", outside[] = "[\0]", escaped[] = "\"\\\0\"";
	struct record     r = { 0 };
	struct err        e;

	CHECK_U64(read_all(&r, body, sizeof(body) - 1, &e), ERR_CORRUPT);
	CHECK_U64(read_all(&r, outside, sizeof(outside) - 1, &e), ERR_CORRUPT);
	CHECK_U64(read_all(&r, escaped, sizeof(escaped) - 1, &e), ERR_CORRUPT);
	buf_free(&r.out);
	check_cuts(body, sizeof(body) - 1);
}

/* A special byte at every place of a run, before and behind what is looked at eight bytes at a time. */
static void
finds_every_byte(void)
{
	static const uint8_t special[] = { '"', '\\', 0x1F, 0x00, 0x20, 0x21, 0x5B, 0x5D, 0x7F, 0x80, 0x9F, 0xA2, 0xDC, 0xFF };
	struct record        r = { 0 };
	struct err           e;
	char                 body[64];

	for (size_t k = 0; k < sizeof(special); k++)
		for (size_t n = 1; n < 40; n++)
			for (size_t at = 0; at < n; at++) {
				bool ok = special[k] >= 0x20 && special[k] != '"' && special[k] != '\\';

				memset(body, 'x', sizeof(body));
				body[0] = body[n + 1] = '"';
				body[at + 1] = (char)special[k];
				if (special[k] == '\\' && at + 1 < n)
					continue; /* "\x" is refused for another reason */
				CHECK_U64(read_all(&r, body, n + 2, &e), ok ? ERR_OK : ERR_CORRUPT);
			}
	for (size_t n = 0; n < 40; n++)
		for (size_t at = 0; at < 40; at++) {
			memset(body, ' ', sizeof(body));
			body[at] = "\n\t\rx"[n % 4];
			body[at + n / 4] = '1';
			CHECK_U64(read_all(&r, body, at + n / 4 + 1, &e), n % 4 == 3 && n >= 4 ? ERR_CORRUPT : ERR_OK);
		}
	buf_free(&r.out);
}

static void
limits_depth(void)
{
	struct record r = { 0 };
	struct err    e = { 0 };
	char          body[2 * JSON_DEPTH_MAX + 4];

	memset(body, '[', JSON_DEPTH_MAX);
	memset(body + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	CHECK_OK(read_all(&r, body, 2 * JSON_DEPTH_MAX, &e), e);
	memset(body, '[', JSON_DEPTH_MAX + 1);
	memset(body + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	CHECK_U64(read_all(&r, body, 2 * JSON_DEPTH_MAX + 2, &e), ERR_UNSUPPORTED);
	CHECK_STR(e.msg, "byte 200: nested deeper than JSON_DEPTH_MAX (200)");
	buf_free(&r.out);
}

/* The end of the text that the reader tells of a string or number of this length, 0: not cut. */
static size_t
text_of(const char *prefix, char fill, size_t n, const char *suffix, bool *ret_cut)
{
	struct record r = { 0 };
	struct err    e = { 0 };
	struct buf    body;
	size_t        len;

	buf_init(&body, 0);
	buf_puts(&body, prefix);
	for (size_t i = 0; i < n; i++)
		buf_putc(&body, fill);
	buf_puts(&body, suffix);
	CHECK_OK(read_all(&r, buf_str(&body), body.len, &e), e);
	*ret_cut = r.out.data[r.out.len - 2] == '~';
	len = r.out.len - 3 - *ret_cut; /* "0s", the text, "~", " " */
	for (size_t at = n; at < body.len; at++) {
		struct record cut = { 0 };

		CHECK_OK(read_cut(&cut, buf_str(&body), body.len, &at, 1, &e), e);
		CHECK_STR(buf_str(&cut.out), buf_str(&r.out));
		buf_free(&cut.out);
	}
	buf_free(&body);
	buf_free(&r.out);
	return len;
}

static void
limits_text(void)
{
	bool cut;

	CHECK_U64(text_of("\"", 'x', JSON_TEXT_MAX, "\"", &cut), JSON_TEXT_MAX);
	CHECK(!cut);
	CHECK_U64(text_of("\"", 'x', JSON_TEXT_MAX + 1, "\"", &cut), JSON_TEXT_MAX);
	CHECK(cut);
	CHECK_U64(text_of("\"\\n", 'x', JSON_TEXT_MAX - 1, "\"", &cut), JSON_TEXT_MAX);
	CHECK(!cut);
	CHECK_U64(text_of("\"\\n", 'x', JSON_TEXT_MAX, "\"", &cut), JSON_TEXT_MAX);
	CHECK(cut);
	/* A decoded character that does not fit is left out whole, and everything behind it. */
	CHECK_U64(text_of("\"", 'x', JSON_TEXT_MAX - 2, "\\u20acyy\"", &cut), JSON_TEXT_MAX - 2);
	CHECK(cut);
	CHECK_U64(text_of("", '1', JSON_NUMBER_MAX, "", &cut), JSON_NUMBER_MAX);
	CHECK(!cut);
	CHECK_U64(text_of("", '1', JSON_NUMBER_MAX + 1, "", &cut), JSON_NUMBER_MAX);
	CHECK(cut);
	CHECK_U64(text_of("-0.", '0', JSON_NUMBER_MAX, " ", &cut), JSON_NUMBER_MAX);
	CHECK(cut);
}

static void
skips_values(void)
{
	static const char body[] =
	    "{\"a\":{\"skip\":{\"x\":[1,{\"y\":\"\\n\"}]},\"b\":1},"
	    "\"skip\":[[],{}],\"c\":[{\"skip\":\"\\u0041\",\"d\":2}],\"skip\":1}";
	struct record r = { .skip = "skip" };
	struct err    e = { 0 };

	CHECK_OK(read_all(&r, body, sizeof(body) - 1, &e), e);
	CHECK_STR(buf_str(&r.out), "0{ 1ka 1{ 2kskip 2kb 2n1 1} 1kskip 1kc 1[ 2{ 3kskip 3kd 3n2 2} 1] 1kskip 0} ");
	r.skip = NULL;
	r.skip_containers = true;
	CHECK_OK(read_all(&r, body, sizeof(body) - 1, &e), e);
	CHECK_STR(buf_str(&r.out), "0{ 1ka 1{ 1kskip 1[ 1kc 1[ 1kskip 1n1 0} ");
	buf_free(&r.out);
}

/* What is skipped is checked all the same. */
static void
checks_what_it_skips(void)
{
	static const char *const bad[] = {
		"{\"s\":[1,]}", "{\"s\":{\"a\" 1}}", "{\"s\":\"\\x\"}", "{\"s\":01}", "{\"s\":{\"a\":1]}",
		"{\"s\":\"\n\"}", "{\"s\":\"\\u00g0\"}", "{\"s\":tru}",
	};
	struct record            r = { .skip = "s" };
	struct err               e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_U64(read_all(&r, bad[i], strlen(bad[i]), &e), ERR_CORRUPT);
		for (size_t at = 0; at < strlen(bad[i]); at++)
			CHECK_U64(read_cut(&r, bad[i], strlen(bad[i]), &at, 1, &e), ERR_CORRUPT);
	}
	buf_free(&r.out);
}

static void
stops(void)
{
	struct record       r = { .stop = true };
	struct err          e;
	struct json_reader *reader = json_reader_new(record_event, &r);

	buf_init(&r.out, 0);
	CHECK_U64(json_feed(reader, "[1,\"a\",2", 8, &e), ERR_CANCELLED);
	CHECK_STR(buf_str(&r.out), "0[ 1n1 1sa ");
	CHECK_U64(json_feed(reader, "]", 1, NULL), ERR_CANCELLED);
	CHECK_U64(json_end(reader, NULL), ERR_CANCELLED);
	json_reader_free(reader);
	buf_free(&r.out);
}

static void
keeps_its_error(void)
{
	struct json_reader *reader = json_reader_new(NULL, NULL);
	struct err          e1, e2;

	CHECK_U64(json_feed(reader, "[1,", 3, &e1), ERR_OK);
	CHECK_U64(json_feed(reader, "x", 1, &e1), ERR_CORRUPT);
	CHECK_U64(json_feed(reader, "1]", 2, &e2), ERR_CORRUPT);
	CHECK_STR(e2.msg, "byte 3: expected a value");
	CHECK_U64(json_end(reader, &e2), ERR_CORRUPT);
	CHECK_STR(e2.msg, e1.msg);
	json_reader_free(reader);
	json_reader_free(NULL);
}

static void
only_checks(void)
{
	struct json_reader *reader = json_reader_new(NULL, NULL);
	struct err          e;

	CHECK_OK(json_feed(reader, "{\"a\":[1,\"\\u00", 13, &e), e);
	CHECK_OK(json_feed(reader, NULL, 0, &e), e);
	CHECK_OK(json_feed(reader, "e9\"]}", 5, &e), e);
	CHECK_OK(json_end(reader, &e), e);
	json_reader_free(reader);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "tells events", tells_events },
	    { "decodes strings", decodes_strings },
	    { "keeps NUL", keeps_nul },
	    { "refuses what is no JSON", refuses },
	    { "refuses NUL bytes", refuses_nul_bytes },
	    { "finds every byte", finds_every_byte },
	    { "limits depth", limits_depth },
	    { "limits text", limits_text },
	    { "skips values", skips_values },
	    { "checks what it skips", checks_what_it_skips },
	    { "stops", stops },
	    { "keeps its error", keeps_its_error },
	    { "only checks", only_checks },
	    { NULL, NULL },
	});
}
