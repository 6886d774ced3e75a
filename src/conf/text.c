/* SPDX-License-Identifier: MIT */
/* Characters, numbers and quotes: what both parsers and the printer share. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "conf/tree.h"

size_t
conf_char(const uint8_t *p)
{
	return *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
}

size_t
conf_space(const uint8_t *p, const uint8_t *end)
{
	static const char *const spaces[] = { "\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
		"\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000" };

	if (p == end)
		return 0;
	if (*p < 0x80)
		return *p == ' ' || (*p >= '\t' && *p <= '\r');
	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		if (span_starts(span_of(p, (size_t)(end - p)), spaces[i]))
			return strlen(spaces[i]);
	return 0;
}

bool
conf_is_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-");

	return n > 0 && s[n] == '\0' && s[0] != '-' && !(s[0] >= '0' && s[0] <= '9');
}

/* The length of the first character that may not be there; 0: it may. what: what is wrong with it. */
static size_t
conf_bad_char(const uint8_t *p, const uint8_t *end, const char **what)
{
	size_t n = conf_char(p);

	*what = "bytes that are not UTF-8";
	if (n > (size_t)(end - p) || !utf8_valid(span_of(p, n)))
		return 1;
	*what = "a carriage return without a newline";
	if (*p == '\r')
		return p + 1 == end || p[1] != '\n';
	*what = "a control character";
	return (*p < 0x20 && *p != '\t' && *p != '\n') || *p == 0x7f;
}

enum err_code
conf_check_text(struct conf_pos pos, struct span text, struct err *reterr)
{
	const uint8_t  *p = text.p, *end = text.p + text.n;
	const char     *what;

	if (text.n > CONF_FILE_MAX)
		return conf_error(reterr, pos, "expected at most %zu bytes (CONF_FILE_MAX), found %zu", CONF_FILE_MAX, text.n);
	for (; p < end; p += conf_char(p)) {
		if (conf_bad_char(p, end, &what) != 0)
			return conf_error(reterr, pos, "expected text in UTF-8, found %s", what);
		pos.column++;
		if (*p == '\n') {
			pos.line++;
			pos.column = 1;
		}
	}
	return ERR_OK;
}

static size_t
conf_digits(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && s[i] >= '0' && s[i] <= '9')
		i++;
	return i;
}

size_t
conf_number(const char *s, size_t n)
{
	size_t i = conf_digits(s, n), more;

	if (i == 0)
		return 0;
	if (i + 1 < n && s[i] == '.' && (more = conf_digits(s + i + 1, n - i - 1)) > 0)
		i += 1 + more;
	if (i + 1 < n && (s[i] == 'e' || s[i] == 'E')) {
		size_t sign = s[i + 1] == '+' || s[i + 1] == '-';

		if ((more = conf_digits(s + i + 1 + sign, n - i - 1 - sign)) > 0)
			i += 1 + sign + more;
	}
	return i;
}

/* digits with the decimal point after the first point of them, which may lie outside. */
static const char *
conf_decimal(struct conf *c, bool negative, const char *digits, long n, long point)
{
	char out[2 * CONF_NUMBER_MAX + CONF_EXP_MAX + 8], *o = out;

	while (n > 0 && digits[0] == '0')
		digits++, n--, point--;
	while (n > 0 && digits[n - 1] == '0')
		n--;
	if (n == 0)
		point = 0;
	if (negative)
		*o++ = '-';
	for (long i = 0; i < point; i++)
		*o++ = i < n ? digits[i] : '0';
	if (point <= 0)
		*o++ = '0';
	if (n > 0 && n > point)
		*o++ = '.';
	for (long i = point; n > 0 && i < n; i++)
		*o++ = i < 0 ? '0' : digits[i];
	assert((size_t)(o - out) <= sizeof(out));
	return conf_keep(c, span_of(out, (size_t)(o - out)));
}

const char *
conf_number_plain(struct conf *c, const char *token)
{
	char        digits[CONF_NUMBER_MAX];
	bool        negative = *token == '-';
	size_t      n, mantissa;
	long        count = 0, point = -1, exponent = 0;
	const char *e;

	if (*token == '-' || *token == '+')
		token++;
	n = strlen(token);
	if (n > CONF_NUMBER_MAX || n == 0 || conf_number(token, n) != n)
		return NULL;
	e = strpbrk(token, "eE");
	mantissa = e == NULL ? n : (size_t)(e - token);
	for (size_t i = 0; i < mantissa; i++) {
		if (token[i] == '.')
			point = count;
		else
			digits[count++] = token[i];
	}
	if (point < 0)
		point = count;
	if (e != NULL)
		exponent = strtol(e + 1, NULL, 10);
	if (exponent > CONF_EXP_MAX || exponent < -CONF_EXP_MAX)
		return NULL;
	return conf_decimal(c, negative, digits, count, point + exponent);
}

/* A run of "$" before "{" is written with one more, so that it stays text. */
static void
conf_quote_char(struct buf *out, const char *s)
{
	switch (*s) {
	case '\n': buf_puts(out, "\\n"); return;
	case '\r': buf_puts(out, "\\r"); return;
	case '\t': buf_puts(out, "\\t"); return;
	case '"':  buf_puts(out, "\\\""); return;
	case '\\': buf_puts(out, "\\\\"); return;
	default: break;
	}
	if ((uint8_t)*s < 0x20 || *s == 0x7f) {
		buf_printf(out, "\\u%04x", (unsigned)*s);
		return;
	}
	buf_putc(out, *s);
	if ((*s == '$' || *s == '%') && s[1] == '{')
		buf_putc(out, *s);
}

void
conf_quote(struct buf *out, const char *s)
{
	buf_putc(out, '"');
	for (; *s != '\0'; s++)
		conf_quote_char(out, s);
	buf_putc(out, '"');
}
