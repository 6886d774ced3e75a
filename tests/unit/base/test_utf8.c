/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

#include "base/mem.h"
#include "../../lib/test.h"

static void
validity(void)
{
	static const struct span good[] = { SPAN_LIT(""), SPAN_LIT("a\0b"), SPAN_LIT("\x7f"), SPAN_LIT("\xc2\x80"),
		SPAN_LIT("\xdf\xbf"),
		SPAN_LIT("\xe0\xa0\x80"), SPAN_LIT("\xed\x9f\xbf"), SPAN_LIT("\xee\x80\x80"), SPAN_LIT("\xef\xbf\xbd"),
		SPAN_LIT("\xef\xbf\xbf"), SPAN_LIT("\xf0\x90\x80\x80"), SPAN_LIT("\xf4\x8f\xbf\xbf"),
		SPAN_LIT("caf\xc3\xa9") };
	static const struct span bad[] = { SPAN_LIT("\x80"), SPAN_LIT("\xbf"), SPAN_LIT("\xc0\x80"),
		SPAN_LIT("\xc1\xbf"), SPAN_LIT("\xc2"),
		SPAN_LIT("\xc2\x20"), SPAN_LIT("\xe0\x9f\xbf"), SPAN_LIT("\xed\xa0\x80"), SPAN_LIT("\xed\xbf\xbf"),
		SPAN_LIT("\xe2\x82"),
		SPAN_LIT("\xf0\x8f\xbf\xbf"), SPAN_LIT("\xf4\x90\x80\x80"), SPAN_LIT("\xf5\x80\x80\x80"),
		SPAN_LIT("\xff"),
		SPAN_LIT("ok\xf0\x9f\x94") };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		CHECK(utf8_valid(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(!utf8_valid(bad[i]));
}

static void
visible(void)
{
	static const struct {
		const char *text, *plain, *quoted;
	} cases[] = {
		{ "caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80" },
		{ "a\r\n\tb\x7f", "a\\x0d\\x0a\\x09b\\x7f", "a\\x0d\\x0a\\x09b\\x7f" },
		{ "\x1b[2J", "\\x1b[2J", "\\x1b[2J" },
		{ "\xc2\x9b""2J\xc2\xa0", "\\xc2\\x9b2J\xc2\xa0", "\\xc2\\x9b2J\xc2\xa0" }, /* a C1 control; a blank that is none */
		{ "\x9b""2J\xff", "\\x9b2J\\xff", "\\x9b2J\\xff" },
		{ "say \"a\\b\"", "say \"a\\b\"", "say \\\"a\\\\b\\\"" },
		{ "", "", "" },
	};
	struct buf out;

	buf_init(&out, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_reset(&out);
		utf8_visible(&out, span_str(cases[i].text), false);
		CHECK_STR(buf_str(&out), cases[i].plain);
		buf_reset(&out);
		utf8_visible(&out, span_str(cases[i].text), true);
		CHECK_STR(buf_str(&out), cases[i].quoted);
	}
	buf_free(&out);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "validity", validity }, { "visible", visible }, { NULL, NULL } });
}
