/* SPDX-License-Identifier: MIT */
#include "serve/document.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* jansson has neither integers above 2^63-1, which serials may be, nor numbers beyond a double, which a state may hold. */
static bool
document_fits(const char *number)
{
	errno = 0;
	if (number[strcspn(number, ".eE")] == '\0') {
		strtoll(number, NULL, 10);
		return errno == 0;
	}
	return isfinite(strtod(number, NULL)) != 0;
}

/* Appends the string or number that begins at p; its end. */
static const char *
document_token(const char *p, const char *end, struct buf *ret)
{
	const char *begin = p;
	char       *number;
	bool        fits;

	if (*p == '"') {
		for (p++; p < end && *p != '"'; p++)
			p += *p == '\\' && p + 1 < end;
		p += p < end;
		buf_put(ret, begin, (size_t)(p - begin));
		return p;
	}
	while (p < end && strchr("0123456789+-.eE", *p) != NULL && *p != '\0')
		p++;
	number = span_dup(span_of(begin, (size_t)(p - begin)));
	fits = document_fits(number);
	buf_printf(ret, fits ? "%s" : "\"%s\"", number);
	free(number);
	return p;
}

/* Numbers that jansson cannot hold become strings of their digits. */
static void
document_quote(const char *text, size_t n, struct buf *ret)
{
	const char *p = text, *end = text + n;

	while (p < end)
		if (*p == '"' || *p == '-' || (*p >= '0' && *p <= '9'))
			p = document_token(p, end, ret);
		else
			buf_putc(ret, *p++);
}

json_t *
document_load(const char *text, size_t n)
{
	json_t    *doc = json_loadb(text, n, 0, NULL);
	struct buf quoted;

	if (doc != NULL)
		return doc;
	buf_init(&quoted, SIZE_MAX);
	document_quote(text, n, &quoted);
	doc = json_loadb(buf_str(&quoted), quoted.len, 0, NULL);
	buf_wipe_free(&quoted);
	return doc;
}
