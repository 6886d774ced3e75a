/* SPDX-License-Identifier: MIT */
#ifndef SRC_BASE_STATE_TWINS_H
#define SRC_BASE_STATE_TWINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Has this instance been seen before? A set of hashes with an end: after STATE_TWINS_MAX it starts afresh,
 * so that memory stays bounded (4 MiB); states with more instances are checked in parts.
 */
#define STATE_TWINS_MAX ((size_t)1 << 18)

struct state_twins {
	uint64_t *slots; /* open addressing, a power of two, 0: free */
	size_t    n, cap;
};

/* false: it was there already. */
bool state_twins_add(struct state_twins *t, uint64_t hash);
void state_twins_clear(struct state_twins *t);
void state_twins_free(struct state_twins *t);

#endif
