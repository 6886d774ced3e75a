/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/time.h"
#include "base/utf8.h"

void
json_begin(struct json_writer *w, struct buf *out)
{
	memset(w, 0, sizeof(*w));
	w->out = out;
}

/* Before any value: the comma, unless a key has just been written. */
static void
json_item(struct json_writer *w)
{
	if (!w->after_key && w->comma[w->depth])
		buf_putc(w->out, ',');
	w->after_key = false;
	w->comma[w->depth] = true;
}

static void
json_open(struct json_writer *w, char bracket)
{
	json_item(w);
	assert(w->depth < JSON_WRITE_DEPTH);
	w->comma[++w->depth] = false;
	buf_putc(w->out, bracket);
}

static void
json_close(struct json_writer *w, char bracket)
{
	assert(w->depth > 0 && !w->after_key);
	w->depth--;
	buf_putc(w->out, bracket);
}

void
json_obj(struct json_writer *w)
{
	json_open(w, '{');
}

void
json_obj_end(struct json_writer *w)
{
	json_close(w, '}');
}

void
json_arr(struct json_writer *w)
{
	json_open(w, '[');
}

void
json_arr_end(struct json_writer *w)
{
	json_close(w, ']');
}

/* ---- strings ---- */

/* The escape of c with two characters, 0: it has none. Go writes \b and \f so since 1.22. */
static char
json_short_escape(uint32_t c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return 0;
	}
}

static bool
json_go_escapes(uint32_t c, size_t len)
{
	return c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029 || (c == UTF8_BAD && len == 1);
}

static void
json_quote(struct buf *out, struct span s, bool as_go)
{
	size_t   len, from = 0;
	uint32_t c;

	buf_putc(out, '"');
	for (size_t i = 0; i < s.n; i += len) {
		len = utf8_next(s.p + i, s.n - i, &c);
		if (c >= 0x20 && c != '"' && c != '\\' && !(c == UTF8_BAD && len == 1) &&
		    !(as_go && json_go_escapes(c, len)))
			continue;
		buf_put(out, s.p + from, i - from);
		from = i + len;
		if (json_short_escape(c) != 0)
			buf_put(out, (char[2]){ '\\', json_short_escape(c) }, 2);
		else if (c < 0x20 || as_go)
			buf_printf(out, "\\u%04" PRIx32, c);
		else
			buf_put(out, "\xEF\xBF\xBD", 3);
	}
	buf_put(out, s.p + from, s.n - from);
	buf_putc(out, '"');
}

void
json_go_string(struct buf *out, struct span s)
{
	json_quote(out, s, true);
}

void
json_key(struct json_writer *w, const char *key)
{
	assert(!w->after_key && w->depth > 0);
	json_item(w);
	json_quote(w->out, span_str(key), false);
	buf_putc(w->out, ':');
	w->after_key = true;
}

void
json_span(struct json_writer *w, struct span s)
{
	json_item(w);
	json_quote(w->out, s, false);
}

void
json_str(struct json_writer *w, const char *s)
{
	if (s == NULL)
		json_nil(w);
	else
		json_span(w, span_str(s));
}

/* ---- other values ---- */

void
json_u64(struct json_writer *w, uint64_t v)
{
	json_item(w);
	buf_printf(w->out, "%" PRIu64, v);
}

void
json_i64(struct json_writer *w, int64_t v)
{
	json_item(w);
	buf_printf(w->out, "%" PRId64, v);
}

/* Doubles beyond this have no fraction left to print. */
#define JSON_F64_PLAIN 1e15

void
json_f64(struct json_writer *w, double v)
{
	char   text[64];
	size_t n;

	if (!isfinite(v)) {
		json_nil(w);
		return;
	}
	json_item(w);
	if (fabs(v) >= JSON_F64_PLAIN) {
		buf_printf(w->out, "%.17g", v);
		return;
	}
	n = (size_t)snprintf(text, sizeof(text), "%.3f", v);
	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	if (n == 2 && text[0] == '-' && text[1] == '0')
		buf_putc(w->out, '0');
	else
		buf_put(w->out, text, n);
}

void
json_bool(struct json_writer *w, bool v)
{
	json_item(w);
	buf_puts(w->out, v ? "true" : "false");
}

void
json_nil(struct json_writer *w)
{
	json_item(w);
	buf_puts(w->out, "null");
}

void
json_time(struct json_writer *w, int64_t wall_ms)
{
	char text[TIME_TEXT_MAX];

	if (wall_ms == 0)
		json_nil(w);
	else
		json_str(w, time_format(wall_ms, text));
}

void
json_raw(struct json_writer *w, struct span json)
{
	json_item(w);
	buf_put(w->out, json.p, json.n);
}

/* ---- "key": value ---- */

void
json_kv_str(struct json_writer *w, const char *key, const char *s)
{
	json_key(w, key);
	json_str(w, s);
}

void
json_kv_u64(struct json_writer *w, const char *key, uint64_t v)
{
	json_key(w, key);
	json_u64(w, v);
}

void
json_kv_i64(struct json_writer *w, const char *key, int64_t v)
{
	json_key(w, key);
	json_i64(w, v);
}

void
json_kv_bool(struct json_writer *w, const char *key, bool v)
{
	json_key(w, key);
	json_bool(w, v);
}

void
json_kv_time(struct json_writer *w, const char *key, int64_t wall_ms)
{
	json_key(w, key);
	json_time(w, wall_ms);
}
