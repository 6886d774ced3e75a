/* SPDX-License-Identifier: MIT */
#ifndef SRC_BASE_STATE_HASH_H
#define SRC_BASE_STATE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * 64 bits over bytes that arrive in pieces, the same for any pieces and any byte order. Fast, good enough
 * to tell objects apart, no defence against somebody who wants a collision. Each word of eight bytes is
 * multiplied, folded and multiplied into the sum; the length closes it.
 */
#define STATE_HASH_ODD UINT64_C(0x9E3779B97F4A7C15)

struct state_hash {
	uint64_t sum, n;
	uint8_t  tail[8]; /* n % 8 bytes that are no word yet */
};

static inline void
state_hash_begin(struct state_hash *h)
{
	memset(h, 0, sizeof(*h));
	h->sum = STATE_HASH_ODD;
}

static inline void
state_hash_word(struct state_hash *h, const uint8_t *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap64(x);
#endif
	x *= STATE_HASH_ODD;
	x ^= x >> 47;
	h->sum = (h->sum ^ x * STATE_HASH_ODD) * STATE_HASH_ODD;
}

static inline void
state_hash_add(struct state_hash *h, const uint8_t *p, size_t n)
{
	size_t had = h->n % 8, take;

	if (n == 0)
		return;
	h->n += n;
	if (had > 0) {
		take = n < 8 - had ? n : 8 - had;
		memcpy(h->tail + had, p, take);
		if (had + take < 8)
			return;
		state_hash_word(h, h->tail);
		p += take;
		n -= take;
	}
	for (; n >= 8; p += 8, n -= 8)
		state_hash_word(h, p);
	memcpy(h->tail, p, n);
}

static inline uint64_t
state_hash_end(const struct state_hash *h)
{
	struct state_hash last = *h;
	uint64_t          x;

	memset(last.tail + h->n % 8, 0, 8 - h->n % 8);
	state_hash_word(&last, last.tail);
	x = last.sum ^ h->n;
	x = (x ^ x >> 32) * STATE_HASH_ODD;
	x = (x ^ x >> 29) * STATE_HASH_ODD;
	return x ^ x >> 32;
}

#endif
