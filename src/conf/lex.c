/* SPDX-License-Identifier: MIT */
#include "conf/lex.h"

#include <assert.h>
#include <string.h>

#include "base/encode.h"
#include "base/utf8.h"

void
conf_lex_init(struct conf_lex *lx, struct conf *c, struct span text, struct conf_pos pos)
{
	*lx = (struct conf_lex){ .c = c, .p = text.p, .end = text.p + text.n, .pos = pos };
}

static bool
conf_lex_at(const struct conf_lex *lx, const char *s)
{
	return span_starts(span_of(lx->p, (size_t)(lx->end - lx->p)), s);
}

/* Past n bytes, counting lines and characters. */
static void
conf_lex_skip(struct conf_lex *lx, size_t n)
{
	assert(n <= (size_t)(lx->end - lx->p));
	for (; n > 0; n--, lx->p++) {
		if (*lx->p == '\n') {
			lx->pos.line++;
			lx->pos.column = 1;
		} else if ((*lx->p & 0xc0) != 0x80) {
			lx->pos.column++;
		}
	}
}

/* The last byte before the end of the line is skipped, the end is not. */
static void
conf_lex_skip_line(struct conf_lex *lx)
{
	while (lx->p < lx->end && *lx->p != '\n' && !conf_lex_at(lx, "\r\n"))
		conf_lex_skip(lx, 1);
}

static enum err_code
conf_lex_blanks(struct conf_lex *lx, struct err *reterr)
{
	struct conf_pos start;

	for (;;) {
		if (conf_lex_at(lx, " ") || conf_lex_at(lx, "\t")) {
			conf_lex_skip(lx, 1);
		} else if (conf_lex_at(lx, "#") || conf_lex_at(lx, "//")) {
			conf_lex_skip_line(lx);
		} else if (conf_lex_at(lx, "/*")) {
			start = lx->pos;
			for (conf_lex_skip(lx, 2); !conf_lex_at(lx, "*/"); conf_lex_skip(lx, 1))
				if (lx->p == lx->end)
					return conf_error(reterr, start, "this comment is never closed; expected */");
			conf_lex_skip(lx, 2);
		} else {
			return ERR_OK;
		}
	}
}

/* The "$" or "%" at lx: text, an escape ("$${" is "${", and each "$" more stands for itself), or a template. */
static enum err_code
conf_lex_dollar(struct conf_lex *lx, struct buf *out, struct err *reterr)
{
	uint8_t c = *lx->p;
	size_t  run = 0;

	while (lx->p + run < lx->end && lx->p[run] == c)
		run++;
	if (lx->p + run == lx->end || lx->p[run] != '{') {
		buf_put(out, lx->p, run);
	} else if (run > 1) {
		buf_put(out, lx->p, run - 1);
	} else {
		conf_error(reterr, lx->pos, "%s not supported; expected plain text (%c%c{ is a literal %c{)",
		    c == '$' ? "interpolation ${...} is" : "template directives %{...} are", c, c, c);
		return lx->foreign ? err_hint(reterr, CONF_FOREIGN_HINT) : ERR_CONFIG;
	}
	conf_lex_skip(lx, run);
	return ERR_OK;
}

/* \uNNNN and \UNNNNNNNN, lx at the backslash. */
static enum err_code
conf_lex_unicode(struct conf_lex *lx, struct buf *out, struct err *reterr)
{
	size_t   digits = lx->p[1] == 'u' ? 4 : 8;
	uint32_t u = 0;
	uint8_t  utf8[4];

	for (size_t i = 0; i < digits; i++) {
		int value = lx->p + 2 + i < lx->end ? hex_digit(lx->p[2 + i]) : -1;

		if (value < 0)
			return conf_error(reterr, lx->pos, "expected %zu hexadecimal digits after \\%c", digits, lx->p[1]);
		u = u << 4 | (uint32_t)value;
	}
	if (u == 0 || u > 0x10ffff || (u >= 0xd800 && u <= 0xdfff))
		return conf_error(reterr, lx->pos, "expected the number of a character after \\%c, which %X is not", lx->p[1], u);
	buf_put(out, utf8, utf8_put(utf8, u));
	conf_lex_skip(lx, 2 + digits);
	return ERR_OK;
}

static enum err_code
conf_lex_escape(struct conf_lex *lx, struct buf *out, struct err *reterr)
{
	static const char names[] = "nrt\"\\", values[] = "\n\r\t\"\\";
	const char       *at;

	if (lx->p + 1 < lx->end && (lx->p[1] == 'u' || lx->p[1] == 'U'))
		return conf_lex_unicode(lx, out, reterr);
	at = lx->p + 1 < lx->end && lx->p[1] != '\0' ? strchr(names, lx->p[1]) : NULL;
	if (at == NULL)
		return conf_error(reterr, lx->pos, "expected one of \\n \\r \\t \\\" \\\\ \\uNNNN \\UNNNNNNNN after the backslash");
	buf_putc(out, values[at - names]);
	conf_lex_skip(lx, 2);
	return ERR_OK;
}

static enum err_code
conf_lex_string_body(struct conf_lex *lx, struct buf *out, struct err *reterr)
{
	struct conf_pos start = lx->pos;
	enum err_code   code = ERR_OK;

	for (conf_lex_skip(lx, 1); code == ERR_OK && !conf_lex_at(lx, "\"");) {
		size_t n;

		if (lx->p == lx->end || *lx->p == '\n' || *lx->p == '\r')
			return conf_error(reterr, start, "this string is never closed; expected \" before the end of the line");
		if (*lx->p == '\\') {
			code = conf_lex_escape(lx, out, reterr);
		} else if (*lx->p == '$' || *lx->p == '%') {
			code = conf_lex_dollar(lx, out, reterr);
		} else {
			n = conf_char(lx->p);
			buf_put(out, lx->p, n);
			conf_lex_skip(lx, n);
		}
	}
	if (code == ERR_OK)
		conf_lex_skip(lx, 1);
	return code;
}

static enum err_code
conf_lex_string(struct conf_lex *lx, struct conf_token *t, struct err *reterr)
{
	struct buf    out;
	enum err_code code;

	buf_init(&out, CONF_FILE_MAX + 1);
	code = conf_lex_string_body(lx, &out, reterr);
	if (code == ERR_OK) {
		t->kind = TOKEN_STRING;
		t->text = conf_keep(lx->c, buf_span(&out));
	}
	buf_wipe_free(&out);
	return code;
}

/* --- heredocs ------------------------------------------------------------------------------------------------------ */

/* One line with its newline; an empty span at the end of the text. */
static struct span
conf_line(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *nl = p == end ? NULL : memchr(p, '\n', (size_t)(end - p));

	return span_of(p, (size_t)((nl == NULL ? end : nl + 1) - p));
}

/* Blanks at the start of a line: bytes, and in *ret_chars characters. */
static size_t
conf_indent(struct span line, size_t *ret_chars)
{
	size_t n = 0, more;

	for (*ret_chars = 0; (more = conf_space(line.p + n, line.p + line.n)) > 0; n += more)
		(*ret_chars)++;
	return n;
}

static bool
conf_is_closer(struct span line, const char *word)
{
	size_t chars, n = conf_indent(line, &chars), len = strlen(word);

	if (line.n - n < len || memcmp(line.p + n, word, len) != 0)
		return false;
	line = span_of(line.p + n + len, line.n - n - len);
	return conf_indent(line, &chars) == line.n;
}

/* How many blanks "<<-" takes off each line: the fewest that a line with text has. */
static size_t
conf_margin(struct span body)
{
	size_t min = SIZE_MAX, chars;

	for (struct span line = conf_line(body.p, body.p + body.n); line.n > 0;
	    line = conf_line(line.p + line.n, body.p + body.n))
		if (conf_indent(line, &chars) < line.n && chars < min)
			min = chars;
	return min;
}

/* Up to body's end: lines without their margin, templates refused. */
static enum err_code
conf_lex_heredoc_body(struct conf_lex *lx, struct span body, bool strip, struct buf *out, struct err *reterr)
{
	size_t         margin = strip ? conf_margin(body) : 0, chars, n;
	const uint8_t *end = body.p + body.n;

	while (lx->p < end) {
		struct span line = conf_line(lx->p, end);

		if (conf_indent(line, &chars) < line.n)
			for (size_t i = 0; i < margin; i++)
				conf_lex_skip(lx, conf_space(lx->p, end));
		while (lx->p < line.p + line.n) {
			n = conf_char(lx->p);
			if (*lx->p != '$' && *lx->p != '%') {
				buf_put(out, lx->p, n);
				conf_lex_skip(lx, n);
			} else if (conf_lex_dollar(lx, out, reterr) != ERR_OK) {
				return ERR_CONFIG;
			}
		}
	}
	return ERR_OK;
}

/* lx stands after "<<WORD" and its newline. Leaves it at the newline after the closing word. */
static enum err_code
conf_lex_heredoc_lines(struct conf_lex *lx, struct conf_pos start, const char *word, bool strip, struct buf *out,
    struct err *reterr)
{
	struct span line = conf_line(lx->p, lx->end), body;

	while (line.n > 0 && !(line.p[line.n - 1] == '\n' && conf_is_closer(line, word)))
		line = conf_line(line.p + line.n, lx->end);
	if (line.n == 0)
		return conf_error(reterr, start, "this heredoc is never closed; expected a line with %.40s alone, ended by a newline",
		    word);
	body = span_of(lx->p, (size_t)(line.p - lx->p));
	if (conf_lex_heredoc_body(lx, body, strip, out, reterr) != ERR_OK)
		return ERR_CONFIG;
	conf_lex_skip(lx, line.n - (line.n > 1 && line.p[line.n - 2] == '\r' ? 2 : 1));
	return ERR_OK;
}

static size_t
conf_lex_name_length(const struct conf_lex *lx)
{
	size_t n = 0, max = (size_t)(lx->end - lx->p);

	while (n < max && (lx->p[n] == '_' || (lx->p[n] >= 'a' && lx->p[n] <= 'z') || (lx->p[n] >= 'A' && lx->p[n] <= 'Z') ||
	    (n > 0 && (lx->p[n] == '-' || (lx->p[n] >= '0' && lx->p[n] <= '9')))))
		n++;
	return n;
}

static enum err_code
conf_lex_heredoc(struct conf_lex *lx, struct conf_token *t, struct err *reterr)
{
	bool          strip = conf_lex_at(lx, "<<-");
	const char   *word;
	size_t        n;
	struct buf    out;
	enum err_code code;

	conf_lex_skip(lx, strip ? 3 : 2);
	n = conf_lex_name_length(lx);
	word = arena_span(lx->c->arena, span_of(lx->p, n));
	conf_lex_skip(lx, n);
	if (n == 0 || !(conf_lex_at(lx, "\n") || conf_lex_at(lx, "\r\n")))
		return conf_error(reterr, lx->pos, "expected %s after %s of a heredoc", n == 0 ? "a word" : "a newline",
		    n == 0 ? "<<" : "the opening word");
	conf_lex_skip(lx, *lx->p == '\r' ? 2 : 1);
	buf_init(&out, CONF_FILE_MAX + 1);
	code = conf_lex_heredoc_lines(lx, t->pos, word, strip, &out, reterr);
	if (code == ERR_OK) {
		t->kind = TOKEN_HEREDOC;
		t->text = conf_keep(lx->c, buf_span(&out));
	}
	buf_wipe_free(&out);
	return code;
}

/* --- the rest -------------------------------------------------------------------------------------------------------- */

static enum err_code
conf_lex_number(struct conf_lex *lx, struct conf_token *t, struct err *reterr)
{
	size_t n = conf_number((const char *)lx->p, (size_t)(lx->end - lx->p));

	t->kind = TOKEN_NUMBER;
	t->text = conf_keep(lx->c, span_of(lx->p, n)); /* may be a password without quotes */
	conf_lex_skip(lx, n);
	if (conf_lex_name_length(lx) > 0 || conf_lex_at(lx, ".") || (lx->p < lx->end && *lx->p >= 0x80))
		return conf_error(reterr, t->pos, "expected a number such as 30, -1.5 or 1e3, or a string in quotes");
	if (conf_number_plain(lx->c, t->text) == NULL)
		return conf_error(reterr, t->pos, "expected a number of at most %d digits and an exponent up to %d (CONF_NUMBER_MAX)",
		    CONF_NUMBER_MAX, CONF_EXP_MAX);
	return ERR_OK;
}

/* Operators are whole tokens, so that "==" is no "=" and can be named. */
static void
conf_lex_mark(struct conf_lex *lx, struct conf_token *t)
{
	static const char *const marks[] = { "...", "==", "!=", "<=", ">=", "=>", "&&", "||", "::", ".*" };
	size_t                   n = conf_char(lx->p);

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (conf_lex_at(lx, marks[i])) {
			n = strlen(marks[i]);
			break;
		}
	t->kind = TOKEN_MARK;
	t->text = arena_span(lx->c->arena, span_of(lx->p, n));
	conf_lex_skip(lx, n);
}

static void
conf_lex_newline(struct conf_lex *lx, struct conf_token *t)
{
	t->kind = TOKEN_NEWLINE;
	t->text = "";
	conf_lex_skip(lx, *lx->p == '\r' ? 2 : 1);
}

enum err_code
conf_lex_next(struct conf_lex *lx, struct conf_token *ret, struct err *reterr)
{
	size_t n;

	if (conf_lex_blanks(lx, reterr) != ERR_OK)
		return ERR_CONFIG;
	*ret = (struct conf_token){ .kind = TOKEN_END, .pos = lx->pos, .text = "" };
	if (lx->p == lx->end)
		return ERR_OK;
	if (*lx->p == '\n' || *lx->p == '\r') {
		conf_lex_newline(lx, ret);
		return ERR_OK;
	}
	if (*lx->p == '"')
		return conf_lex_string(lx, ret, reterr);
	if (conf_lex_at(lx, "<<"))
		return conf_lex_heredoc(lx, ret, reterr);
	if (*lx->p >= '0' && *lx->p <= '9')
		return conf_lex_number(lx, ret, reterr);
	n = conf_lex_name_length(lx);
	if (n == 0) {
		conf_lex_mark(lx, ret);
		return ERR_OK;
	}
	ret->kind = TOKEN_NAME;
	ret->text = conf_keep(lx->c, span_of(lx->p, n)); /* may be a password without quotes */
	conf_lex_skip(lx, n);
	return ERR_OK;
}
