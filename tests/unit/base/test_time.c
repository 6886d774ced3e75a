/* SPDX-License-Identifier: MIT */
#include "base/time.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rand.h"
#include "../../lib/test.h"

static void
clocks_run(void)
{
	int64_t         mono = clock_system.mono_ms(&clock_system), wall = clock_system.wall_ms(&clock_system), later;
	struct timespec pause = { 0, 20000000 };

	CHECK(wall / 1000 >= time(NULL) - 1 && wall / 1000 <= time(NULL) + 1);
	nanosleep(&pause, NULL);
	later = clock_system.mono_ms(&clock_system);
	CHECK(later >= mono + 20 && later < mono + 60000);
}

static void
formats(void)
{
	char t[TIME_TEXT_MAX];

	CHECK_STR(time_format(0, t), "1970-01-01T00:00:00.000Z");
	CHECK_STR(time_format(INT64_C(1795435200123), t), "2026-11-23T12:00:00.123Z");
	CHECK_STR(time_format_s(INT64_C(1795435200999), t), "2026-11-23T12:00:00Z");
	CHECK_STR(time_format_basic(INT64_C(1795435200123), t), "20261123T120000Z");
	CHECK_STR(time_format(-1, t), "1969-12-31T23:59:59.999Z");
	CHECK_STR(time_format_s(INT64_C(951782400000), t), "2000-02-29T00:00:00Z");
	CHECK(strlen(time_format(INT64_MAX, t)) < TIME_TEXT_MAX && strlen(time_format(INT64_MIN, t)) < TIME_TEXT_MAX);
}

static void
parses(void)
{
	static const struct {
		const char *text;
		int64_t     ms;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-11-23T12:00:00.123Z", INT64_C(1795435200123) },
		{ "2026-11-23T12:00:00.123456789Z", INT64_C(1795435200123) },
		{ "2026-11-23T12:00:00.999999999Z", INT64_C(1795435200999) },
		{ "2026-11-23T12:00:00.1Z", INT64_C(1795435200100) },
		{ "2026-11-23T12:00:00.05Z", INT64_C(1795435200050) },
		{ "2026-11-23t12:00:00z", INT64_C(1795435200000) },
		{ "2026-11-23 12:00:00Z", INT64_C(1795435200000) },
		{ "2026-11-23T13:30:00+01:30", INT64_C(1795435200000) },
		{ "2026-11-22T18:00:00-18:00", INT64_C(1795435200000) },
		{ "2026-11-23T12:00:00-00:00", INT64_C(1795435200000) },
		{ "2026-11-24T11:59:00+23:59", INT64_C(1795435200000) },
		{ "2016-12-31T23:59:60Z", INT64_C(1483228800000) },
		{ "2000-02-29T00:00:00Z", INT64_C(951782400000) },
		{ "0001-01-01T00:00:00Z", INT64_C(-62135596800000) },
		{ "9999-12-31T23:59:59.999Z", INT64_C(253402300799999) },
	};
	int64_t ms;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!time_parse(rows[i].text, &ms))
			test_fail(__FILE__, __LINE__, "%s is refused", rows[i].text);
		CHECK_U64(ms, rows[i].ms);
	}
}

static void
refuses(void)
{
	static const char *const bad[] = { "", "2026", "2026-11-23", "2026-11-23T12:00:00", "2026-11-23T12:00Z",
		"2026-11-23T24:00:00Z",
		"2026-11-23T12:60:00Z", "2026-11-23T12:00:61Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
		"2026-11-31T00:00:00Z",
		"2026-11-00T00:00:00Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-11-23T12:00:00.Z",
		"2026-11-23T12:00:00.1234567890Z", "2026-11-23T12:00:00,5Z", "2026-11-23T12:00:00+0100",
		"2026-11-23T12:00:00+1:00",
		"2026-11-23T12:00:00+24:00", "2026-11-23T12:00:00+01:60", "2026-11-23T12:00:00Zx",
		"2026-11-23T12:00:00Z ",
		" 2026-11-23T12:00:00Z", "26-11-23T12:00:00Z", "-026-11-23T12:00:00Z", "2026/11/23T12:00:00Z",
		"2026-11-23X12:00:00Z",
		"+2026-11-23T12:00:00Z", "20261123T120000Z" };
	int64_t ms = 42;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (time_parse(bad[i], &ms))
			test_fail(__FILE__, __LINE__, "%s was taken", bad[i]);
	CHECK_U64(ms, 42);
}

static void
http_dates(void)
{
	static const char *const bad[] = { "", "Tue, 24 Nov 2026 10:00:00", "Tue, 24 Nov 2026 10:00:00 UTC",
		"Tue, 4 Nov 2026 10:00:00 GMT",
		"Tue, 24 Nox 2026 10:00:00 GMT", "Tue, 31 Nov 2026 10:00:00 GMT", "Tuesday, 24-Nov-26 10:00:00 GMT",
		"Tue Nov 24 10:00:00 2026", "Xyz, 24 Nov 2026 10:00:00 GMT", "Tue, 24 ovD 2026 10:00:00 GMT",
		"ueW, 24 Nov 2026 10:00:00 GMT" };
	int64_t ms = 0;

	CHECK(time_parse_http("Tue, 24 Nov 2026 10:00:00 GMT", &ms));
	CHECK_U64(ms, INT64_C(1795514400000));
	CHECK(time_parse_http("Sun, 06 Nov 1994 08:49:37 GMT", &ms)); /* the example of RFC 9110 */
	CHECK_U64(ms, INT64_C(784111777000));
	CHECK(time_parse_http("Thu, 01 Jan 1970 00:00:00 GMT", &ms));
	CHECK_U64(ms, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (time_parse_http(bad[i], &ms))
			test_fail(__FILE__, __LINE__, "%s was taken", bad[i]);
}

static void
durations(void)
{
	static const struct {
		const char *text;
		int64_t     ms;
	} good[] = { { "90s", 90000 }, { "500ms", 500 }, { "6h", 21600000 }, { "7d", 604800000 }, { "1h30m", 5400000 },
		{ "0s", 0 },
		{ "1m", 60000 }, { "1m1ms", 60001 }, { "36500d", INT64_C(3153600000000) } };
	static const char *const bad[] = { "", "90", "s", "-1s", "+1s", "1.5h", "1 s", " 1s", "1s ", "1w", "1S", "h1",
		"36501d", "36500d1ms",
		"99999999999999999999s", "3153600000000001ms", "1h30" };
	int64_t ms = 7;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		CHECK(duration_parse(good[i].text, &ms));
		CHECK_U64(ms, good[i].ms);
	}
	ms = 7;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (duration_parse(bad[i], &ms))
			test_fail(__FILE__, __LINE__, "%s was taken", bad[i]);
	CHECK_U64(ms, 7);
}

static void
durations_for_people(void)
{
	char t[TIME_TEXT_MAX];

	CHECK_STR(duration_format(0, t), "0 ms");
	CHECK_STR(duration_format(-5, t), "0 ms");
	CHECK_STR(duration_format(999, t), "999 ms");
	CHECK_STR(duration_format(8000, t), "8 s");
	CHECK_STR(duration_format(8499, t), "8 s");
	CHECK_STR(duration_format(119000, t), "119 s");
	CHECK_STR(duration_format(120000, t), "2 min");
	CHECK_STR(duration_format(3 * 3600000, t), "3 h");
	CHECK_STR(duration_format(2 * 86400000, t), "2 d");
	CHECK_STR(duration_format(INT64_MAX, t), "106751991167 d");
	CHECK_STR(duration_format(INT64_MIN, t), "0 ms");
}

/* Against the C library's calendar, years 1 to 9999, and back through each parser, also in any zone. */
static void
property_round_trip(void)
{
	struct rand r;
	char        t[TIME_TEXT_MAX], want[64];
	int64_t     ms, back;
	struct tm   tm;

	rand_seeded(&r, 7);
	for (int i = 0; i < 100000; i++) {
		ms = INT64_C(-62135596800000) + (int64_t)rand_below(&r, UINT64_C(315537897600000));
		time_t s = (time_t)(ms >= 0 ? ms / 1000 : (ms - 999) / 1000);

		CHECK(gmtime_r(&s, &tm) != NULL);
		snprintf(want, sizeof(want), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
		    tm.tm_mday, tm.tm_hour,
		    tm.tm_min, tm.tm_sec, (int)(ms - s * 1000));
		CHECK_STR(time_format(ms, t), want);
		CHECK(time_parse(t, &back));
		CHECK_U64(back, ms);
		CHECK(time_parse(time_format_s(ms, t), &back));
		CHECK_U64(back, s * 1000);
		int zone = (int)rand_below(&r, 2 * 1439 + 1) - 1439, abs = zone < 0 ? -zone : zone;

		snprintf(want, sizeof(want), "%.23s%c%02d:%02d", time_format(ms, t), zone < 0 ? '-' : '+', abs / 60,
		    abs % 60);
		CHECK(time_parse(want, &back));
		CHECK_U64(back, ms - zone * INT64_C(60000));
		strftime(want, sizeof(want), "%a, %d %b ", &tm);
		snprintf(want + 12, sizeof(want) - 12, "%04d %02d:%02d:%02d GMT", tm.tm_year + 1900, tm.tm_hour,
		    tm.tm_min, tm.tm_sec);
		CHECK(time_parse_http(want, &back));
		CHECK_U64(back, s * 1000);
		CHECK_STR(time_format_http(back, t), want);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "clocks run", clocks_run },
		{ "formats", formats },
		{ "parses", parses },
		{ "refuses", refuses },
		{ "HTTP dates", http_dates },
		{ "durations", durations },
		{ "durations for people", durations_for_people },
		{ "property: round trip", property_round_trip },
		{ NULL, NULL },
	    });
}
