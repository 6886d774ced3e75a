/* SPDX-License-Identifier: MIT */
#ifndef SRC_BASE_JSON_SKIP_H
#define SRC_BASE_JSON_SKIP_H

#include <stdint.h>
#include <string.h>

/*
 * Where the bytes of a state are: strings and indentation. Both are passed eight bytes at a time, in plain
 * C: a word is looked at as eight bytes, lowest address in the lowest bits.
 */
#define JSON_EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))
#define JSON_HIGH_BITS    JSON_EACH_BYTE(0x80)

static inline uint64_t
json_load8(const uint8_t *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap64(x);
#endif
	return x;
}

/* Bit 7 of each byte of x that is below b (b <= 0x80). Bytes above such a one may be marked wrongly: the borrow. */
static inline uint64_t
json_bytes_below(uint64_t x, uint8_t b)
{
	return (x - JSON_EACH_BYTE(b)) & ~x & JSON_HIGH_BITS;
}

/* The first quote, backslash or control character; end: there is none. */
static inline const uint8_t *
json_skip_plain(const uint8_t *p, const uint8_t *end)
{
	for (; end - p >= 8; p += 8) {
		uint64_t x = json_load8(p);
		uint64_t m = json_bytes_below(x, 0x20) | json_bytes_below(x ^ JSON_EACH_BYTE('"'), 1) |
		    json_bytes_below(x ^ JSON_EACH_BYTE('\\'), 1);

		if (m != 0)
			return p + (__builtin_ctzll(m) >> 3);
	}
	while (p < end && *p >= 0x20 && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* The first byte that is none of the four blanks; end: there is none. */
static inline const uint8_t *
json_skip_blanks(const uint8_t *p, const uint8_t *end)
{
	for (; p < end; p++) {
		if (*p > ' ')
			return p;
		if (*p == ' ') {
			for (; end - p >= 8; p += 8) {
				uint64_t x = json_load8(p) ^ JSON_EACH_BYTE(' ');

				if (x != 0) {
					p += __builtin_ctzll(x) >> 3;
					break;
				}
			}
			if (p == end || *p > ' ')
				return p;
		}
		if (*p != ' ' && *p != '\n' && *p != '\r' && *p != '\t')
			return p;
	}
	return p;
}

#endif
