/* SPDX-License-Identifier: MIT */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

/*
 * Randomness enters through this struct, so that a seed replays a run.
 * rand_system() draws from the kernel; rand_seeded() is xoshiro256** and is
 * for tests only: it is no source of keys.
 */
struct rand {
	void    (*fill)(struct rand *r, void *p, size_t n);
	uint64_t  s[4];
};

void     rand_system(struct rand *r);
void     rand_seeded(struct rand *r, uint64_t seed);
void     rand_bytes(struct rand *r, void *p, size_t n);
uint64_t rand_u64(struct rand *r);
uint64_t rand_below(struct rand *r, uint64_t n);              /* 0 .. n-1 without bias; n > 0 */
/* ms changed by up to ±percent, never below 1 when ms > 0. */
int64_t  rand_jitter(struct rand *r, int64_t ms, unsigned percent);
/* The wait before repetition n (from 0): doubled from base, at most that, half of it drawn. */
int64_t  rand_backoff_ms(struct rand *r, unsigned n, int64_t base_ms, int64_t most_ms);
/* 16 random bytes printed 8-4-4-4-12 as terraform prints lock ids (no version bits). Returns ret. */
char    *rand_uuid(struct rand *r, char ret[37]);

#endif
