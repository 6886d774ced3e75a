/* SPDX-License-Identifier: MIT */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

/* Borrowed bytes: valid as long as the comment of whoever hands it out says. */
struct span {
	const uint8_t *p;
	size_t         n;
};

#define SPAN_LIT(s) ((struct span){ (const uint8_t *)(s), sizeof(s) - 1 })

static inline struct span
span_of(const void *p, size_t n)
{
	return (struct span){ (const uint8_t *)p, n };
}

static inline struct span
span_str(const char *s) /* NULL gives the empty span */
{
	return (struct span){ (const uint8_t *)s, s == NULL ? 0 : strlen(s) };
}

bool span_eq(struct span a, struct span b);
bool span_is(struct span a, const char *s);
bool span_starts(struct span a, const char *prefix);
/* Into ret, cut to fit, with a NUL; control bytes become blanks: what a server says of an error. */
void span_text(char *ret, size_t size, struct span s);
bool span_ends(struct span a, const char *suffix);
/* Bytewise, shorter first: <0, 0, >0. */
int  span_cmp(struct span a, struct span b);
/* A NUL-terminated copy, owned by the caller. */
char *span_dup(struct span a);

/*
 * A growing byte string with a limit. data is NULL until something is added
 * and is always NUL-terminated afterwards (the NUL is not counted in len).
 */
struct buf {
	uint8_t *data;
	size_t   len, cap;
	size_t   max;  /* limit of len, fixed at buf_init() */
};

#define BUF_MAX_DEFAULT ((size_t)64 << 20)

/* max 0 means BUF_MAX_DEFAULT. */
void          buf_init(struct buf *b, size_t max);
void          buf_free(struct buf *b);      /* also ends a buf that was only initialised; wipes nothing */
/* For secrets and states. Wipes what it holds now; growing moves and leaves bytes behind: buf_reserve() first. */
void          buf_wipe_free(struct buf *b);
void          buf_reset(struct buf *b);     /* keeps the memory */
/* Grows so that n more bytes fit; ERR_UNSUPPORTED beyond max, and nothing has changed. */
enum err_code buf_reserve(struct buf *b, size_t n, struct err *reterr);
enum err_code buf_add(struct buf *b, const void *p, size_t n, struct err *reterr);
/* For text whose size we decide: reaching max is a programmer's error and ends the process. */
void          buf_put(struct buf *b, const void *p, size_t n);
void          buf_puts(struct buf *b, const char *s);
void          buf_putc(struct buf *b, char c);
void          buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The text so far, "" when empty; valid until the next change. */
const char   *buf_str(const struct buf *b);
/* Gives the memory to the caller (free()), and leaves an empty buf. Never NULL. */
char         *buf_take(struct buf *b);

static inline struct span
buf_span(const struct buf *b)
{
	return (struct span){ b->data, b->len };
}

#endif
