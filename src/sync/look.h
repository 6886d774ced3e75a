/* SPDX-License-Identifier: MIT */
#ifndef SRC_SYNC_LOOK_H
#define SRC_SYNC_LOOK_H

#include "renamed.h"

/*
 * One look at a backend, shared by look.c (the listing, and the order of things), look_read.c (states that are read) and sweep.c (what
 * the listing says about states that the store knows).
 */

/* The walks through what the store knows: what is new or gone at a source; after the reads, what was gone, what is held back there; each
 * lane. */
enum sweep_kind { SWEEP_COMPARE, SWEEP_GONE, SWEEP_HELD, SWEEP_LANES };

struct listed {
	uint64_t size; /* 0: the listing does not say */
	bool locked;
	bool was_locked; /* when last looked, as far as the store knows */
	bool known; /* the tag is the one whose bytes were judged */
	bool met; /* it was here before, as far as the store knows */
	const char *uncovered; /* its bytes are out of reach, and why; NULL: they can be read */
	char etag[];
};

struct look_pull {
	char    *name;
	uint64_t size;                 /* 0: not known */
	enum lock_now lock;            /* as the listing shows it */
	bool     ask;                  /* its lock is looked at */
	bool     spare;                /* and it is read only if it is free by now: there is nothing new */
	const char *uncovered;         /* as the listing has it */
};

struct look {
	struct op           op;
	struct engine      *e;
	struct place       *place;
	struct pass        *pass;
	struct look_result *ret;
	struct map         *names;     /* of struct listed: what the backend has now */
	struct arena       *listed;    /* where these lie */
	struct look_pull   *pulls;     /* what to read, npulls */
	size_t              npulls, cap, next;
	size_t              follow;    /* locked by others, and soon to be looked at again */
	/* the sweep: which one, which lane, and the last state id done */
	enum sweep_kind     sweep;
	size_t              lane;
	uint64_t            after;
	bool                headless;  /* some states here have no good version: what holds them back is to be told */
	bool                hinted;    /* only pulls: no listing, nothing to compare, no sweep */
	struct renamed      renamed;   /* what is gone, and what is new */
	struct tally        refused;   /* names that cannot be used */
	struct tally        unread;    /* states that could not be read or kept, and of which no record tells that */
};

/* Does the listing show every lock there is? */
bool look_lists_locks(const struct look *l);
bool look_is_source_of(const struct look *l, const struct edge *e);
/* Every edge that would carry the state hears of what keeps it back. */
void look_tell(struct look *l, const char *name, bool held, const struct err *e);

/* --- look_read.c --- */
void look_want(struct look *l, struct span name, const struct look_pull *x); /* x: but its name */
void look_free_wanted(struct look *l);
/* Reads all that is wanted. Single states may fail: that is told where it happens. */
struct op *look_read(struct look *l);
void look_read_ended(struct look *l);

/* --- sweep.c --- */
/* One chunk of the sweep that is due, at whose end the next one is. What it awaits lets others have a turn. */
struct op *sweep_chunk(struct look *l);
/* The same of the sweeps after the reads; NULL: all are done. */
struct op *sweep_next(struct look *l);

#endif
