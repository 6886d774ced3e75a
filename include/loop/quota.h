/* SPDX-License-Identifier: MIT */
#ifndef LOOP_QUOTA_H
#define LOOP_QUOTA_H

#include <stdint.h>

#include "loop/op.h"

/*
 * So much of something that operations have between them. Whoever takes waits until there is enough, first come, first served;
 * and gives back the same number. More than all of it is lent too: alone, when everything else was given back.
 */
struct quota_wait;

struct quota {
	struct loop       *loop;
	uint64_t           limit, lent;
	struct quota_wait *first, *last;   /* who waits, oldest first */
};

void       quota_init(struct quota *q, struct loop *l, uint64_t limit);
/* Ended OK: n are the caller's, who gives them back; else (ERR_CANCELLED) nothing is. q outlives the op. */
struct op *quota_take(struct quota *q, uint64_t n);
void       quota_give(struct quota *q, uint64_t n);

#endif
