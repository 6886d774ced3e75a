/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define BUF_MAX_EVER (SIZE_MAX / 4) /* so that sums and doubling cannot overflow */

bool
span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
span_is(struct span a, const char *s)
{
	return span_eq(a, span_str(s));
}

void
span_text(char *ret, size_t size, struct span s)
{
	size_t n = s.n < size ? s.n : size - 1;

	for (size_t i = 0; i < n; i++)
		ret[i] = s.p[i] < ' ' || s.p[i] == 0x7f ? ' ' : (char)s.p[i];
	ret[n] = '\0';
}

bool
span_starts(struct span a, const char *prefix)
{
	size_t n = strlen(prefix);

	return a.n >= n && (n == 0 || memcmp(a.p, prefix, n) == 0);
}

bool
span_ends(struct span a, const char *suffix)
{
	size_t n = strlen(suffix);

	return a.n >= n && (n == 0 || memcmp(a.p + a.n - n, suffix, n) == 0);
}

int
span_cmp(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int    d = n == 0 ? 0 : memcmp(a.p, b.p, n);

	return d != 0 ? d : a.n < b.n ? -1 : a.n > b.n;
}

char *
span_dup(struct span a)
{
	char *s = xmalloc(a.n + 1);

	if (a.n > 0)
		memcpy(s, a.p, a.n);
	s[a.n] = '\0';
	return s;
}

void
buf_init(struct buf *b, size_t max)
{
	memset(b, 0, sizeof(*b));
	b->max = max == 0 ? BUF_MAX_DEFAULT : max < BUF_MAX_EVER ? max : BUF_MAX_EVER;
}

void
buf_free(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}

void
buf_wipe_free(struct buf *b)
{
	mem_wipe(b->data, b->cap);
	buf_free(b);
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->data != NULL)
		b->data[0] = '\0';
}

/* Doubles, so that n additions cost O(n), but never beyond max; one big piece gets exactly what it needs. */
static void
buf_grow(struct buf *b, size_t need)
{
	size_t cap = b->cap < 32 ? 64 : 2 * b->cap;

	if (cap > b->max + 1)
		cap = b->max + 1;
	if (cap < need)
		cap = need;
	b->data = xrealloc(b->data, cap);
	b->data[b->len] = '\0';
	b->cap = cap;
}

enum err_code
buf_reserve(struct buf *b, size_t n, struct err *reterr)
{
	if (n > b->max || b->len > b->max - n)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "more than %zu bytes", b->max);
	if (b->len + n + 1 > b->cap)
		buf_grow(b, b->len + n + 1);
	return ERR_OK;
}

enum err_code
buf_add(struct buf *b, const void *p, size_t n, struct err *reterr)
{
	if (buf_reserve(b, n, reterr) != ERR_OK)
		return ERR_UNSUPPORTED;
	if (n > 0)
		memcpy(b->data + b->len, p, n);
	b->len += n;
	b->data[b->len] = '\0';
	return ERR_OK;
}

/* Also without asserts: what follows would write past the end. */
static void
buf_must(enum err_code rc, size_t max)
{
	if (rc == ERR_OK)
		return;
	fprintf(stderr, "stateferry: a text of ours exceeds %zu bytes\n", max);
	abort();
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
	buf_must(buf_add(b, p, n, NULL), b->max);
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void
buf_putc(struct buf *b, char c)
{
	buf_put(b, &c, 1);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int     n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	buf_must(buf_reserve(b, (size_t)n, NULL), b->max);
	va_start(ap, fmt);
	vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

const char *
buf_str(const struct buf *b)
{
	return b->data == NULL ? "" : (const char *)b->data;
}

char *
buf_take(struct buf *b)
{
	char *s = b->data != NULL ? (char *)b->data : xstrdup("");

	b->data = NULL;
	b->len = b->cap = 0;
	return s;
}
