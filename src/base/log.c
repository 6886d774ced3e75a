/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

static struct {
	enum log_level      level;
	bool                json;
	const struct clock *clock;
	void              (*sink)(void *arg, const char *line);
	void               *arg;
} log_state = { LOG_INFO, false, &clock_system, NULL, NULL };

static const char *const log_names[] = { "error", "warn", "info", "debug" };

void
log_setup(enum log_level level, bool json, const struct clock *clock)
{
	log_state.level = level;
	log_state.json = json;
	log_state.clock = clock != NULL ? clock : &clock_system;
}

void
log_sink(void (*sink)(void *arg, const char *line), void *arg)
{
	log_state.sink = sink;
	log_state.arg = arg;
}

bool
log_on(enum log_level level)
{
	return level <= log_state.level;
}

enum log_level
log_level_get(void)
{
	return log_state.level;
}

/* At most LOG_FIELD_MAX bytes of s, whole characters; *ret_cut: there is more. */
static struct span
log_field(const char *s, bool *ret_cut)
{
	size_t   n = strnlen(s, LOG_FIELD_MAX + 4), i = 0, len;
	uint32_t c;

	*ret_cut = n > LOG_FIELD_MAX;
	if (!*ret_cut)
		return span_of(s, n);
	while ((len = utf8_next((const uint8_t *)s + i, n - i, &c)) + i <= LOG_FIELD_MAX)
		i += len;
	return span_of(s, i);
}

static void
log_text(struct buf *out, const char *s, bool quoted)
{
	bool        cut;
	struct span text = log_field(s, &cut);

	utf8_visible(out, text, quoted);
	if (cut)
		buf_puts(out, "...");
}

/* Would a reader who splits at blanks and "=" misread it? */
static bool
log_needs_quotes(const char *s)
{
	uint32_t c;

	if (*s == '\0')
		return true;
	for (size_t n = strlen(s), i = 0, len; i < n; i += len) {
		len = utf8_next((const uint8_t *)s + i, n - i, &c);
		if (c == ' ' || c == '"' || c == '=' || c == '\\' || utf8_is_control(c) || (c == UTF8_BAD && len == 1))
			return true;
	}
	return false;
}

static void
log_quoted(struct buf *out, const char *s)
{
	buf_putc(out, '"');
	log_text(out, s, true);
	buf_putc(out, '"');
}

static bool
log_present(const struct log_pair *p)
{
	return p->value.kind != LOG_V_NONE && !(p->value.kind == LOG_V_STR && p->value.v.s == NULL);
}

static void
log_value_text(struct buf *out, const struct log_value *v)
{
	switch (v->kind) {
	case LOG_V_STR:
		if (log_needs_quotes(v->v.s))
			log_quoted(out, v->v.s);
		else
			log_text(out, v->v.s, false);
		break;
	case LOG_V_U64:
		buf_printf(out, "%" PRIu64, v->v.u);
		break;
	case LOG_V_I64:
		buf_printf(out, "%" PRId64, v->v.i);
		break;
	case LOG_V_MS:
		buf_printf(out, "%" PRId64 "ms", v->v.i);
		break;
	case LOG_V_NONE:
		break;
	}
}

static void
log_line_text(struct buf *out, const char *when, enum log_level level, const char *op, const char *msg,
    const struct log_pair *pairs)
{
	buf_printf(out, "%s %-5s ", when, log_names[level]);
	if (op[0] != '\0') {
		log_text(out, op, false);
		buf_puts(out, ": ");
	}
	log_text(out, msg, false);
	for (; pairs != NULL && pairs->key != NULL; pairs++) {
		if (!log_present(pairs))
			continue;
		buf_printf(out, " %s=", pairs->key);
		log_value_text(out, &pairs->value);
	}
}

static void
log_value_json(struct json_writer *w, const struct log_value *v)
{
	bool cut;

	switch (v->kind) {
	case LOG_V_STR:
		json_span(w, log_field(v->v.s, &cut));
		break;
	case LOG_V_U64:
		json_u64(w, v->v.u);
		break;
	case LOG_V_I64:
	case LOG_V_MS:
		json_i64(w, v->v.i);
		break;
	case LOG_V_NONE:
		json_nil(w);
		break;
	}
}

static void
log_line_json(struct buf *out, const char *when, enum log_level level, const char *op, const char *msg,
    const struct log_pair *pairs)
{
	struct json_writer w;
	bool               cut;

	json_begin(&w, out);
	json_obj(&w);
	json_kv_str(&w, "time", when);
	json_kv_str(&w, "level", log_names[level]);
	json_key(&w, "op");
	json_span(&w, log_field(op, &cut));
	json_key(&w, "msg");
	json_span(&w, log_field(msg, &cut));
	for (; pairs != NULL && pairs->key != NULL; pairs++) {
		if (!log_present(pairs))
			continue;
		json_key(&w, pairs->key);
		log_value_json(&w, &pairs->value);
	}
	json_obj_end(&w);
}

void
log_pairs(enum log_level level, const char *op, const char *msg, const struct log_pair *pairs)
{
	char       when[TIME_TEXT_MAX];
	struct buf line;

	if (!log_on(level))
		return;
	if (op == NULL)
		op = "";
	buf_init(&line, 0);
	time_format(log_state.clock->wall_ms(log_state.clock), when);
	if (log_state.json)
		log_line_json(&line, when, level, op, msg, pairs);
	else
		log_line_text(&line, when, level, op, msg, pairs);
	if (log_state.sink != NULL)
		log_state.sink(log_state.arg, buf_str(&line));
	else
		fprintf(stderr, "%s\n", buf_str(&line));
	buf_free(&line);
}

void
log_at(enum log_level level, const char *op, const char *fmt, ...)
{
	char    msg[LOG_FIELD_MAX + 8]; /* more than a field, so that the cut shows */
	va_list ap;

	if (!log_on(level))
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	log_pairs(level, op, msg, NULL);
}
