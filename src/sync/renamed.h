/* SPDX-License-Identifier: MIT */
#ifndef SRC_SYNC_RENAMED_H
#define SRC_SYNC_RENAMED_H

#include "core.h"

/*
 * What one look at a source does not find any more, and what it finds for the first time: a state that is gone while another of its
 * lineage appears was renamed. It has a history of its own under each name (docs/decisions.md).
 */
struct renamed {
	struct renamed_lost *lost;      /* in the order of the sweep */
	size_t             n, cap, next;
	struct map        *lines;     /* lineage -> struct renamed_line, owned */
};
void       renamed_free(struct renamed *m);   /* contents; zeroes them */
/* No longer listed. t: a read that sees it. */
void       renamed_gone(struct renamed *m, struct store_txn *t, const struct state_rec *r);
/* Was just read, and was not known before. Nothing is done while nothing is gone. */
void       renamed_come(struct renamed *m, struct engine *e, const char *backend, const char *name);
/* Marks some of those that are gone, with their events; NULL: all are. */
struct op *renamed_settle(struct renamed *m, struct engine *e, const char *backend);

#endif
