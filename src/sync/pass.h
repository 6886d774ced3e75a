/* SPDX-License-Identifier: MIT */
#ifndef SRC_SYNC_PASS_H
#define SRC_SYNC_PASS_H

#include "core.h"

/* One pass, shared by pass.c (the order of things, and what is counted) and pass_dry.c (what it would do). */
struct would_write {
	struct lane        *lane;
	uint64_t            state;     /* the head of which it is; 0: next */
	char               *name;
	struct snapshot     next;
	struct push_result  result;
};

struct pass {
	struct op           op;
	struct engine      *e;
	char              **edges;     /* names asked for, nedges; 0: all */
	size_t              nedges;
	bool                dry;
	struct pass_result *ret;
	size_t             *result_of; /* by index of the plan's edge; SIZE_MAX: not of this pass */
	uint64_t           *requests;  /* by lane: at the start */
	int64_t             begun;
	size_t              next;      /* place or lane to go on with */
	struct look_result *looks;     /* by place */
	struct would_write *would;
	size_t              nwould;
	struct map         *plans;     /* lane and name of each: its index and 1 */
	struct map         *targets;   /* dry: place and name at it: who would be written there */
	struct map         *fine;      /* dry: lane and name of what a sweep found current, perhaps before its source was read */
	int64_t             next_intent;
	uint64_t            total;     /* known when writing begins: state × target to be settled; 0: not yet */
};

/* NULL: not of this pass. */
struct edge_result *pass_edge(const struct pass *p, const struct edge *e);

/* --- pass_dry.c --- */
/* Found current, perhaps before its source was read. */
void pass_note_fine(struct pass *p, const struct lane *l, const char *state);
struct op *pass_next_would(void *pass);      /* compares one planned write after the other */
void pass_count_would(struct pass *p);

#endif
