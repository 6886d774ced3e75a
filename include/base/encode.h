/* SPDX-License-Identifier: MIT */
#ifndef BASE_ENCODE_H
#define BASE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* RFC 4648. ret of hex_encode holds 2n+1 bytes, NUL-terminated, lower case. */
char *hex_encode(const void *p, size_t n, char *ret);
/* Exactly 2n digits of either case; false: ret unchanged. */
bool  hex_decode(struct span hex, uint8_t *ret, size_t n);
int   hex_digit(uint8_t c); /* its value, -1: none */
void  base64_encode(struct span in, struct buf *ret);
void  base64url_encode(struct span in, struct buf *ret); /* section 5, without padding */
/* Padding demanded, no blanks; false: not base64, ret unchanged. */
bool  base64_decode(struct span in, struct buf *ret);

/* Big-endian integers: LMDB keys sort by them. */
static inline void
be64_put(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static inline uint64_t
be64_get(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

static inline void
be32_put(uint8_t *p, uint32_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static inline uint32_t
be32_get(const uint8_t *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++)
		v = v << 8 | p[i];
	return v;
}

#endif
