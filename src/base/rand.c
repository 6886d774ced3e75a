/* SPDX-License-Identifier: MIT */
#include "base/rand.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/encode.h"

static void
rand_fill_system(struct rand *r, void *p, size_t n)
{
	uint8_t *out = p;

	(void)r;
	while (n > 0) {
		ssize_t got = getrandom(out, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) /* no kernel we run on does this: going on without randomness would be worse */
			abort();
		out += got;
		n -= (size_t)got;
	}
}

static uint64_t
rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

/* xoshiro256** 1.0 (Blackman and Vigna, public domain algorithm). */
static uint64_t
rand_next(uint64_t s[4])
{
	uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

static void
rand_fill_seeded(struct rand *r, void *p, size_t n)
{
	uint8_t *out = p;

	while (n > 0) {
		uint8_t v[8];
		size_t  part = n < sizeof(v) ? n : sizeof(v);

		be64_put(v, rand_next(r->s));
		memcpy(out, v, part);
		out += part;
		n -= part;
	}
}

void
rand_system(struct rand *r)
{
	memset(r, 0, sizeof(*r));
	r->fill = rand_fill_system;
}

void
rand_seeded(struct rand *r, uint64_t seed)
{
	r->fill = rand_fill_seeded;
	for (int i = 0; i < 4; i++) { /* SplitMix64 spreads small seeds */
		uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		r->s[i] = z ^ z >> 31;
	}
}

void
rand_bytes(struct rand *r, void *p, size_t n)
{
	r->fill(r, p, n);
}

uint64_t
rand_u64(struct rand *r)
{
	uint8_t v[8];

	r->fill(r, v, sizeof(v));
	return be64_get(v); /* a seed gives the same numbers whatever the byte order */
}

uint64_t
rand_below(struct rand *r, uint64_t n)
{
	uint64_t v, limit;

	assert(n > 0);
	limit = UINT64_MAX - UINT64_MAX % n;
	do
		v = rand_u64(r);
	while (v >= limit);
	return v % n;
}

int64_t
rand_jitter(struct rand *r, int64_t ms, unsigned percent)
{
	int64_t span, v;

	if (ms <= 0)
		return ms;
	span = ms / 100 * (int64_t)percent + ms % 100 * (int64_t)percent / 100;
	if (span == 0)
		return ms;
	v = ms - span + (int64_t)rand_below(r, (uint64_t)(2 * span + 1));
	return v < 1 ? 1 : v;
}

int64_t
rand_backoff_ms(struct rand *r, unsigned n, int64_t base_ms, int64_t most_ms)
{
	int64_t ms = n < 16 && base_ms << n < most_ms ? base_ms << n : most_ms;

	return ms / 2 + (int64_t)rand_below(r, (uint64_t)(ms / 2 + 1));
}

char *
rand_uuid(struct rand *r, char ret[37])
{
	uint8_t b[16];
	char    hex[33];

	rand_bytes(r, b, sizeof(b));
	hex_encode(b, sizeof(b), hex);
	for (int i = 0, j = 0; i < 32; i++) {
		if (i == 8 || i == 12 || i == 16 || i == 20)
			ret[j++] = '-';
		ret[j++] = hex[i];
	}
	ret[36] = '\0';
	return ret;
}
