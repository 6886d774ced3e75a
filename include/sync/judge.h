/* SPDX-License-Identifier: MIT */
#ifndef SYNC_JUDGE_H
#define SYNC_JUDGE_H

#include <stdbool.h>

#include "base/digest.h"
#include "base/state_scan.h"
#include "store/store.h"

/*
 * The two decisions that keep damage and the past from travelling; pure functions of what was read.
 *
 * judge() compares what a source holds now with the head of that state. Only first, advance, same and
 * reencoded may be a head; everything else is kept as evidence and waits for a person.
 */
#define JUDGE_SHRINK_MIN 5 /* heads with fewer instances are never called shrunk */

struct judge_facts {
	const struct state_info *now;
	const struct digest     *digest;         /* of the bytes read */
	const struct version_rec *head;          /* NULL: none yet */
	const struct version_rec *seen_before;   /* the newest version with these bytes, NULL: none */
	bool                     released;       /* a person let exactly these bytes go */
	bool                     same_meaning;   /* semantic digests are equal and known */
	bool                     unwatched;      /* head is from before anybody watched: what came of it is as it is, and judged from here on */
	bool                     current;        /* it is what the source holds */
	int64_t                  max_shrink;     /* percent; 100: never shrunk */
};

struct judgement {
	enum verdict verdict;
	char         reason[160];                /* one clause, "" for first, advance and same */
};

void judge(const struct judge_facts *f, struct judgement *ret);
/* Is the semantic digest worth computing before judging: the serials and lineages are equal, the bytes are not. */
bool judge_needs_meaning(const struct judge_facts *f);

/* What a person can do about version v of s, which is held back; now: the source holds it still. */
void judge_advice(const struct state_rec *s, const struct version_rec *v, bool now, struct buf *ret);
/* That the source holds it now and why that waits for a person, as ERR_CONFLICT, with the advice as its hint. */
void judge_held(const struct state_rec *s, const struct version_rec *v, struct err *ret);

/* An empty or unparsable read may be a write in progress: it is read again before any verdict. */
static inline bool
judge_is_torn(const struct state_info *i)
{
	return i->kind == STATE_EMPTY || i->kind == STATE_DAMAGED;
}

/*
 * compare() decides what may happen to a target, from what it holds now, read under its lock.
 */
enum compare_action {
	COMPARE_CURRENT,    /* the same bytes */
	COMPARE_LEAVE,      /* equal meaning in other bytes: current, flagged */
	COMPARE_WRITE,      /* absent, zero bytes, older, or empty of resources: keep what is there, then write */
	COMPARE_HOLD,       /* a person decides; reason and hint say what */
};

struct compare_facts {
	const struct state_info *next;           /* the head we want there */
	const struct digest     *next_digest;
	const struct state_info *now;            /* NULL: the target has no such state */
	const struct digest     *now_digest;
	bool                     released;       /* the head is there by a person's decision (release, restore) */
	bool                     known;          /* the target's bytes are a version of this state, or we wrote them */
	bool                     resolved;       /* a person allowed to replace exactly these bytes */
	bool                     same_meaning;
};

struct comparison {
	enum compare_action action;
	char                reason[160];         /* HOLD: one clause; WRITE over something: what it replaces */
};

void compare(const struct compare_facts *f, struct comparison *ret);
bool compare_needs_meaning(const struct compare_facts *f);

#endif
