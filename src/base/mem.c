/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
mem_exhausted(size_t n)
{
	if (n > 0)
		fprintf(stderr, "stateferry: out of memory (%zu bytes wanted); the store is safe, start again\n", n);
	else
		fprintf(stderr, "stateferry: out of memory; the store is safe, start again\n");
	abort();
}

void *
xmalloc(size_t n)
{
	void *p = malloc(n == 0 ? 1 : n);

	if (p == NULL)
		mem_exhausted(n);
	return p;
}

void *
xcalloc(size_t count, size_t n)
{
	void *p = calloc(count == 0 ? 1 : count, n == 0 ? 1 : n);

	if (p == NULL)
		mem_exhausted(n);
	return p;
}

void *
xrealloc(void *old, size_t n)
{
	void *p = realloc(old, n == 0 ? 1 : n);

	if (p == NULL)
		mem_exhausted(n);
	return p;
}

void *
xreallocarray(void *old, size_t count, size_t n)
{
	size_t total;

	if (__builtin_mul_overflow(count, n, &total))
		mem_exhausted(count);
	return xrealloc(old, total);
}

void *
xmemdup(const void *p, size_t n)
{
	void *copy = xmalloc(n);

	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

char *
xstrdup(const char *s)
{
	return s == NULL ? NULL : xmemdup(s, strlen(s) + 1);
}

char *
xstrndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char  *copy = xmalloc(len + 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *
xasprintf(const char *fmt, ...)
{
	va_list ap;
	char   *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		mem_exhausted(0);
	va_end(ap);
	return s;
}

void
mem_wipe(void *p, size_t n)
{
	if (p != NULL && n > 0)
		explicit_bzero(p, n);
}

void
mem_forget(void *p)
{
	if (p != NULL)
		mem_wipe(p, malloc_usable_size(p));
	free(p);
}

void
mem_free_secret(char *text)
{
	if (text != NULL)
		mem_wipe(text, strlen(text));
	free(text);
}

int
mem_equal_ct(const void *a, const void *b, size_t n)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned char                 d = 0;

	for (size_t i = 0; i < n; i++)
		d = (unsigned char)(d | (x[i] ^ y[i]));
	return d == 0;
}
