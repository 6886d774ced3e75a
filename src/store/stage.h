/* SPDX-License-Identifier: MIT */
#ifndef STORE_STAGE_H
#define STORE_STAGE_H

#include <stdint.h>

#include "base/err.h"

/*
 * Bodies above STORE_STAGE_ABOVE come into the store in several commits, so that no transaction holds them whole: first
 * their pieces under a number of their own, noted in the database "staged"; the batch's commit then links them. What
 * was never linked is swept when the store is opened.
 */
struct stage {
	uint64_t id;                   /* the blob's number; 0: nothing staged */
	uint64_t raw, stored, pieces;
};

struct store;
struct batch;

/* Stages what b brings that is large and new. On failure nothing of it is left. */
enum err_code stage_bodies(struct store *s, struct batch *b, struct err *reterr);
/* Takes back what b did not link. */
void          stage_discard(struct store *s, struct batch *b);
/* At open: all that a crash left. */
enum err_code stage_sweep(struct store *s, struct err *reterr);

#endif
