/* SPDX-License-Identifier: MIT */
#include "base/time.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t
clock_read(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t
clock_mono(const struct clock *c)
{
	(void)c;
	return clock_read(CLOCK_BOOTTIME);
}

static int64_t
clock_wall(const struct clock *c)
{
	(void)c;
	return clock_read(CLOCK_REALTIME);
}

const struct clock clock_system = { clock_mono, clock_wall, NULL };

/* --- calendar: days since 1970-01-01 in the proleptic Gregorian calendar --- */

static const char date_weekdays[] = "SunMonTueWedThuFriSat", date_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

struct date {
	int year, month, day, hour, minute, second, ms;
};

static int64_t
date_days(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year; /* years begin in March, so that a leap day comes last */
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void
date_of(int64_t ms, struct date *ret)
{
	int64_t days = ms / 86400000, rest = ms % 86400000, era, doe, yoe, doy, mp;

	if (rest < 0) {
		rest += 86400000;
		days--;
	}
	days += 719468;
	era = (days >= 0 ? days : days - 146096) / 146097;
	doe = days - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	ret->day = (int)(doy - (153 * mp + 2) / 5 + 1);
	ret->month = (int)(mp < 10 ? mp + 3 : mp - 9);
	ret->year = (int)(yoe + era * 400 + (ret->month <= 2));
	ret->hour = (int)(rest / 3600000);
	ret->minute = (int)(rest / 60000 % 60);
	ret->second = (int)(rest / 1000 % 60);
	ret->ms = (int)(rest % 1000);
}

char *
time_format(int64_t wall_ms, char ret[TIME_TEXT_MAX])
{
	struct date d;

	date_of(wall_ms, &d);
	snprintf(ret, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", d.year, d.month, d.day, d.hour, d.minute,
	    d.second, d.ms);
	return ret;
}

char *
time_format_s(int64_t wall_ms, char ret[TIME_TEXT_MAX])
{
	struct date d;

	date_of(wall_ms, &d);
	snprintf(ret, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02dZ", d.year, d.month, d.day, d.hour, d.minute,
	    d.second);
	return ret;
}

char *
time_format_basic(int64_t wall_ms, char ret[TIME_TEXT_MAX])
{
	struct date d;

	date_of(wall_ms, &d);
	snprintf(ret, TIME_TEXT_MAX, "%04d%02d%02dT%02d%02d%02dZ", d.year, d.month, d.day, d.hour, d.minute, d.second);
	return ret;
}

char *
time_format_http(int64_t wall_ms, char ret[TIME_TEXT_MAX])
{
	struct date d;
	int64_t     weekday;

	date_of(wall_ms, &d);
	weekday = (date_days(d.year, d.month, d.day) % 7 + 7 + 4) % 7; /* 1970 began on a Thursday */
	snprintf(ret, TIME_TEXT_MAX, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", date_weekdays + 3 * weekday, d.day,
	    date_months + 3 * (size_t)(d.month - 1), d.year, d.hour, d.minute, d.second);
	return ret;
}

/* --- reading --- */

static bool
digits(const char **s, int n, int *ret)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return false;
		v = v * 10 + (**s - '0');
	}
	*ret = v;
	return true;
}

static bool
expect(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

static int
month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool             leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

static bool
date_valid(const struct date *d)
{
	return d->month >= 1 && d->month <= 12 && d->day >= 1 && d->day <= month_days(d->year, d->month) &&
	    d->hour <= 23 && d->minute <= 59 && d->second <= 60; /* a leap second is the next second */
}

static int64_t
date_ms(const struct date *d)
{
	int64_t minutes = (date_days(d->year, d->month, d->day) * 24 + d->hour) * 60 + d->minute;

	return minutes * 60000 + d->second * INT64_C(1000) + d->ms;
}

/* ".123456789": milliseconds count, the rest is checked and dropped. */
static bool
parse_fraction(const char **s, int *ret_ms)
{
	int n = 0, ms = 0;

	*ret_ms = 0;
	if (**s != '.')
		return true;
	for ((*s)++; **s >= '0' && **s <= '9'; (*s)++, n++)
		if (n < 3)
			ms = ms * 10 + (**s - '0');
	for (int i = n; i < 3; i++)
		ms *= 10;
	*ret_ms = ms;
	return n >= 1 && n <= 9;
}

static bool
parse_zone(const char **s, int64_t *ret_ms)
{
	int  hour, minute;
	char sign = **s;

	*ret_ms = 0;
	if (sign == 'Z' || sign == 'z') {
		(*s)++;
		return true;
	}
	if (sign != '+' && sign != '-')
		return false;
	(*s)++;
	if (!digits(s, 2, &hour) || !expect(s, ':') || !digits(s, 2, &minute) || hour > 23 || minute > 59)
		return false;
	*ret_ms = (sign == '-' ? -1 : 1) * (hour * 60 + minute) * INT64_C(60000);
	return true;
}

/* "12:00:00" */
static bool
parse_clock(const char **s, struct date *d)
{
	return digits(s, 2, &d->hour) && expect(s, ':') && digits(s, 2, &d->minute) && expect(s, ':') &&
	    digits(s, 2, &d->second);
}

bool
time_parse(const char *s, int64_t *ret_wall_ms)
{
	struct date d;
	int64_t     zone;

	if (!digits(&s, 4, &d.year) || !expect(&s, '-') || !digits(&s, 2, &d.month) || !expect(&s, '-') ||
	    !digits(&s, 2, &d.day))
		return false;
	if (*s != 'T' && *s != 't' && *s != ' ')
		return false;
	s++;
	if (!parse_clock(&s, &d) || !parse_fraction(&s, &d.ms) || !parse_zone(&s, &zone) || *s != '\0' ||
	    !date_valid(&d))
		return false;
	*ret_wall_ms = date_ms(&d) - zone;
	return true;
}

/* Which of the three-letter names s begins with; -1: none. */
static int
parse_word(const char **s, const char *names)
{
	for (int i = 0; names[3 * i] != '\0'; i++)
		if (strncmp(*s, names + (size_t)i * 3, 3) == 0) {
			*s += 3;
			return i;
		}
	return -1;
}

bool
time_parse_http(const char *s, int64_t *ret_wall_ms)
{
	struct date d = { .ms = 0 };

	/* The name of the day is checked, not whether it is that day's. */
	if (parse_word(&s, date_weekdays) < 0 || !expect(&s, ',') || !expect(&s, ' ') ||
	    !digits(&s, 2, &d.day) || !expect(&s, ' '))
		return false;
	d.month = parse_word(&s, date_months) + 1;
	if (!expect(&s, ' ') || !digits(&s, 4, &d.year) || !expect(&s, ' ') || !parse_clock(&s, &d) ||
	    strcmp(s, " GMT") != 0 || !date_valid(&d))
		return false;
	*ret_wall_ms = date_ms(&d);
	return true;
}

/* --- durations --- */

#define DURATION_MAX_MS (INT64_C(100) * 365 * 86400000)

static int64_t
duration_unit(const char **s)
{
	static const struct {
		const char *name;
		int64_t     ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t n = strlen(units[i].name);

		if (strncmp(*s, units[i].name, n) == 0) {
			*s += n;
			return units[i].ms;
		}
	}
	return 0;
}

bool
duration_parse(const char *s, int64_t *ret_ms)
{
	int64_t total = 0, n, unit;

	if (*s == '\0')
		return false;
	while (*s != '\0') {
		const char *start = s;

		for (n = 0; *s >= '0' && *s <= '9'; s++)
			if ((n = n * 10 + (*s - '0')) > DURATION_MAX_MS)
				return false;
		if (s == start || (unit = duration_unit(&s)) == 0 || n > DURATION_MAX_MS / unit)
			return false;
		total += n * unit;
		if (total > DURATION_MAX_MS)
			return false;
	}
	*ret_ms = total;
	return true;
}

char *
duration_format(int64_t ms, char ret[TIME_TEXT_MAX])
{
	int64_t s = ms / 1000 + (ms % 1000 >= 500);

	if (ms < 1000)
		snprintf(ret, TIME_TEXT_MAX, "%lld ms", (long long)(ms < 0 ? 0 : ms));
	else if (s < 120)
		snprintf(ret, TIME_TEXT_MAX, "%lld s", (long long)s);
	else if (s < 7200)
		snprintf(ret, TIME_TEXT_MAX, "%lld min", (long long)(s / 60));
	else if (s < 172800)
		snprintf(ret, TIME_TEXT_MAX, "%lld h", (long long)(s / 3600));
	else
		snprintf(ret, TIME_TEXT_MAX, "%lld d", (long long)(s / 86400));
	return ret;
}
