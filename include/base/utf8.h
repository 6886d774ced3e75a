/* SPDX-License-Identifier: MIT */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* One code point at a time, by RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF. */
#define UTF8_BAD 0xFFFDu

/*
 * Reads the code point at p (n >= 1 bytes are there) and returns how many bytes it takes. Each byte that
 * belongs to no valid sequence counts alone and reads as UTF8_BAD, as in Go; a valid U+FFFD takes 3 bytes.
 */
static inline size_t
utf8_next(const uint8_t *p, size_t n, uint32_t *ret)
{
	uint32_t c = p[0], min;
	size_t   len;

	*ret = c;
	if (c < 0x80)
		return 1;
	*ret = UTF8_BAD;
	if (c >= 0xC2 && c <= 0xDF)
		len = 2, min = 0x80, c &= 0x1F;
	else if (c >= 0xE0 && c <= 0xEF)
		len = 3, min = 0x800, c &= 0x0F;
	else if (c >= 0xF0 && c <= 0xF4)
		len = 4, min = 0x10000, c &= 0x07;
	else
		return 1;
	if (n < len)
		return 1;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 1;
		c = c << 6 | (p[i] & 0x3F);
	}
	if (c < min || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 1;
	*ret = c;
	return len;
}

/* Writes a code point that is no surrogate; returns its length, 1 to 4. */
static inline size_t
utf8_put(uint8_t out[4], uint32_t c)
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xC0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xE0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
		out[2] = (uint8_t)(0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (uint8_t)(0xF0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
	out[3] = (uint8_t)(0x80 | (c & 0x3F));
	return 4;
}

/* C0, DEL and C1. */
static inline bool
utf8_is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

bool utf8_valid(struct span s);
/* Appends s so that it cannot forge a line or move the cursor of a terminal: control characters and bytes that are no UTF-8 are
 * escaped as \xNN; quoted: the quote and the backslash by a backslash too. */
void utf8_visible(struct buf *out, struct span s, bool quoted);

#endif
