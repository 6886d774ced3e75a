/* SPDX-License-Identifier: MIT */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Time enters through this struct, so that tests own it. mono never jumps and
 * counts suspended time (CLOCK_BOOTTIME): deadlines and leases. wall is for
 * people, signatures and names.
 */
struct clock {
	int64_t (*mono_ms)(const struct clock *c);
	int64_t (*wall_ms)(const struct clock *c); /* since 1970-01-01 UTC */
	void     *arg;
};

extern const struct clock clock_system;

#define TIME_TEXT_MAX 40

/* "2026-11-23T12:00:00.123Z", and without the fraction for time_format_s(). Returns ret. */
char *time_format(int64_t wall_ms, char ret[TIME_TEXT_MAX]);
char *time_format_s(int64_t wall_ms, char ret[TIME_TEXT_MAX]);
/* "20261123T120000Z": snapshot names and X-Amz-Date. */
char *time_format_basic(int64_t wall_ms, char ret[TIME_TEXT_MAX]);
/* RFC 3339 with any zone and fraction; false: not one. */
bool  time_parse(const char *s, int64_t *ret_wall_ms);
/* RFC 9110 HTTP-date, the IMF-fixdate form: "Tue, 24 Nov 2026 10:00:00 GMT". */
bool  time_parse_http(const char *s, int64_t *ret_wall_ms);
char *time_format_http(int64_t wall_ms, char ret[TIME_TEXT_MAX]); /* returns ret */
/* "90s" "500ms" "6h" "7d" "1h30m": units ms s m h d; no sign, no bare number. false: not one, or over 100 years. */
bool  duration_parse(const char *s, int64_t *ret_ms);
/* "8 s", "3 h", "2 d": one unit, for people. Returns ret. */
char *duration_format(int64_t ms, char ret[TIME_TEXT_MAX]);

#endif
