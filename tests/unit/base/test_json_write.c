/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "../../lib/test.h"

static struct buf         out;
static struct json_writer w;

static void
begin(void)
{
	buf_free(&out);
	buf_init(&out, 0);
	json_begin(&w, &out);
}

static void
nests(void)
{
	begin();
	json_obj(&w);
	json_kv_str(&w, "a", "x");
	json_key(&w, "list");
	json_arr(&w);
	json_u64(&w, 1);
	json_i64(&w, -2);
	json_arr(&w);
	json_arr_end(&w);
	json_obj(&w);
	json_obj_end(&w);
	json_nil(&w);
	json_arr_end(&w);
	json_kv_bool(&w, "yes", true);
	json_kv_bool(&w, "no", false);
	json_kv_str(&w, "none", NULL);
	json_key(&w, "raw");
	json_raw(&w, SPAN_LIT("{\"x\": 1}"));
	json_obj_end(&w);
	CHECK_STR(buf_str(&out),
	    "{\"a\":\"x\",\"list\":[1,-2,[],{},null],\"yes\":true,\"no\":false,\"none\":null,\"raw\":{\"x\": 1}}");
}

static void
goes_deep(void)
{
	begin();
	for (int i = 0; i < JSON_WRITE_DEPTH; i++)
		json_arr(&w);
	json_nil(&w);
	for (int i = 0; i < JSON_WRITE_DEPTH; i++)
		json_arr_end(&w);
	CHECK_U64(out.len, 2 * JSON_WRITE_DEPTH + 4);
}

static void
writes_numbers(void)
{
	begin();
	json_arr(&w);
	json_u64(&w, UINT64_MAX);
	json_i64(&w, INT64_MIN);
	json_f64(&w, 0);
	json_f64(&w, 1.5);
	json_f64(&w, -0.0001);
	json_f64(&w, 0.1239);
	json_f64(&w, 1000);
	json_f64(&w, 1e300);
	json_f64(&w, NAN);
	json_f64(&w, -INFINITY);
	json_arr_end(&w);
	CHECK_STR(buf_str(&out),
	    "[18446744073709551615,-9223372036854775808,0,1.5,0,0.124,1000,1.0000000000000001e+300,null,null]");
}

static void
writes_times(void)
{
	begin();
	json_obj(&w);
	json_kv_time(&w, "never", 0);
	json_kv_time(&w, "at", 1795521600123);
	json_obj_end(&w);
	CHECK_STR(buf_str(&out), "{\"never\":null,\"at\":\"2026-11-24T12:00:00.123Z\"}");
}

static void
escapes_strings(void)
{
	begin();
	json_span(&w, SPAN_LIT("\"\\/<&>\b\f\n\r\t\x01\x1f\x7f\xc3\xa9\xe2\x80\xa8 \xff\xc0\xaf\xed\xa0\x80\0z"));
	CHECK_STR(buf_str(&out), "\"\\\"\\\\/<&>\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\xe2\x80\xa8 "
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\u0000z\"");
}

static void
escapes_as_go(void)
{
	static const struct {
		struct span in;
		const char *expected;
	} rows[] = {
		{ { (const uint8_t *)"", 0 }, "\"\"" },
		{ { (const uint8_t *)"a<b>&c", 6 }, "\"a\\u003cb\\u003e\\u0026c\"" },
		{ { (const uint8_t *)"\"\\/\b\f\n\r\t\x1f", 9 }, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u001f\"" },
		{ { (const uint8_t *)"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", 9 }, "\"\\u2028\\u2029\xe2\x80\xaa\"" },
		{ { (const uint8_t *)"\xc3\xa9\xf0\x9f\x98\x80\x7f", 7 }, "\"\xc3\xa9\xf0\x9f\x98\x80\x7f\"" },
		/* Bad bytes are escaped, the character itself is not. */
		{ { (const uint8_t *)"\xff\xe2\x82", 3 }, "\"\\ufffd\\ufffd\\ufffd\"" },
		{ { (const uint8_t *)"\xef\xbf\xbd", 3 }, "\"\xef\xbf\xbd\"" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		json_go_string(&out, rows[i].in);
		CHECK_STR(buf_str(&out), rows[i].expected);
	}
}

int
main(int argc, char **argv)
{
	int failed = test_main(argc, argv, (struct test[]){
	    { "nests", nests },
	    { "goes deep", goes_deep },
	    { "writes numbers", writes_numbers },
	    { "writes times", writes_times },
	    { "escapes strings", escapes_strings },
	    { "escapes as Go does", escapes_as_go },
	    { NULL, NULL },
	});

	buf_free(&out);
	return failed;
}
