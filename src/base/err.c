/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

/* Never ends in the middle of a character: drops an incomplete UTF-8 sequence at the end of a text that fills its
 * room. */
static void
err_trim(char *s, size_t size)
{
	size_t   n = strlen(s), i = n, want;
	unsigned lead;

	if (n + 1 < size)
		return;
	while (i > 0 && n - i < 3 && ((unsigned char)s[i - 1] & 0xc0) == 0x80)
		i--;
	lead = i > 0 ? (unsigned char)s[i - 1] : 0;
	want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
	if (want > n - i + 1)
		s[i - 1] = '\0';
}

enum err_code
err_vset(struct err *e, enum err_code code, int detail, const char *fmt, va_list ap)
{
	struct err new = { .code = code, .detail = detail };

	if (e == NULL)
		return code;
	vsnprintf(new.msg, sizeof(new.msg), fmt, ap); /* the arguments may point into *e */
	err_trim(new.msg, sizeof(new.msg));
	*e = new;
	return code;
}

enum err_code
err_set(struct err *e, enum err_code code, int detail, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(e, code, detail, fmt, ap);
	va_end(ap);
	return code;
}

enum err_code
err_errno(struct err *e, int errnum, const char *fmt, ...)
{
	struct err new;
	va_list    ap;
	size_t     n;

	if (e == NULL)
		return ERR_IO;
	va_start(ap, fmt);
	err_vset(&new, ERR_IO, errnum, fmt, ap);
	va_end(ap);
	n = strlen(new.msg);
	snprintf(new.msg + n, sizeof(new.msg) - n, ": %s", strerror(errnum));
	err_trim(new.msg, sizeof(new.msg));
	*e = new;
	return ERR_IO;
}

enum err_code
err_hint(struct err *e, const char *fmt, ...)
{
	char    hint[ERR_MSG_MAX];
	va_list ap;

	if (e == NULL)
		return ERR_OK;
	va_start(ap, fmt);
	vsnprintf(hint, sizeof(hint), fmt, ap);
	va_end(ap);
	err_trim(hint, sizeof(hint));
	memcpy(e->hint, hint, sizeof(e->hint));
	return e->code;
}

const char *
err_text(const struct err *e, char ret[ERR_TEXT_MAX])
{
	snprintf(ret, ERR_TEXT_MAX, "%s%s%s", e->msg, e->hint[0] != '\0' ? "; " : "", e->hint);
	return ret;
}

enum err_code
err_prefix(struct err *e, const char *fmt, ...)
{
	char    text[2 * ERR_MSG_MAX];
	va_list ap;
	size_t  n;

	if (e == NULL)
		return ERR_OK;
	va_start(ap, fmt);
	vsnprintf(text, ERR_MSG_MAX, fmt, ap);
	va_end(ap);
	n = strlen(text);
	snprintf(text + n, sizeof(text) - n, ": %s", e->msg);
	text[ERR_MSG_MAX - 1] = '\0';
	err_trim(text, ERR_MSG_MAX);
	memcpy(e->msg, text, ERR_MSG_MAX);
	return e->code;
}

void
err_unprefix(struct err *e, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncmp(e->msg, prefix, n) == 0 && strncmp(e->msg + n, ": ", 2) == 0)
		memmove(e->msg, e->msg + n + 2, strlen(e->msg + n + 2) + 1);
}

void
err_clear(struct err *e)
{
	memset(e, 0, sizeof(*e));
}

const char *
err_kind(enum err_code code)
{
	static const char *const kinds[] = { "ok", "cancelled", "timeout", "network", "auth", "not_found", "unchanged",
		"held", "locked", "busy", "uncertain", "corrupt", "unsupported", "config", "usage", "io" };

	return (size_t)code < sizeof(kinds) / sizeof(kinds[0]) ? kinds[code] : "error";
}
