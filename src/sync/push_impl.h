/* SPDX-License-Identifier: MIT */
#ifndef SYNC_PUSH_IMPL_H
#define SYNC_PUSH_IMPL_H

#include "push.h"

/* What push_step() is made of. Where a bool says no, p->op.res says why, unless that is told otherwise. */

/* --- push_look.c: what is there --- */
struct op *push_look(struct push *p);             /* into p->cur */
/* After a look: absent is an answer. So are bytes that contradict their sidecar, where they are of this state's own versions: a write was
 * cut off before it. */
bool       push_seen(struct push *p);
bool       push_needs_meaning(struct push *p);    /* and p->meaning is set up */
bool       push_may_write(struct push *p);        /* no: nothing will be written; OK when that is fine */

/* --- push_lock.c: intent, turn and lock --- */
bool                push_locks(const struct push *p);  /* does the target have locks? */
const struct lease *push_lease(const struct push *p);  /* of the lane; NULL: it is ours without one */
bool                push_is_led(struct push *p);       /* still: to be asked before the write */
bool                push_is_remote(const struct push *p);
/* Sets p->intent: its operation runs from now on. */
struct batch       *push_intend(struct push *p);
void                push_intent_rec(struct push *p, struct batch *b, bool uncertain); /* as p is now */
void                push_forget_intent(struct push *p); /* whose commit failed */
bool                push_takes_turn(struct push *p);   /* after quota_take(): op.res is its outcome */
void                push_give_turn(struct push *p);    /* twice: no-op */
struct op          *push_lock(struct push *p);
struct op          *push_unlock(struct push *p);       /* NULL: none was asked for */
bool                push_unlock_is_safe(const struct push *p); /* although it may be another's */
void                push_note_lock_left(struct push *p); /* after push_unlock() */
bool                push_lock_is_orphaned(const struct push *p);
struct op          *push_inherit(struct push *p);      /* releases that one: once */
bool                push_lock_may_return(const struct push *p);
bool                push_locks_anew(struct push *p);   /* that one is released; no: there were enough of them */
struct batch       *push_intend_anew(struct push *p);  /* another lock, another intent */

/* --- push_write.c: the write --- */
struct op *push_keep(struct push *p);             /* NULL: there is nothing to be kept */
struct op *push_put(struct push *p);
/* Is what was read back ours? ask: by its meaning, which is still to be compared. No: p->op.err says what. */
bool       push_is_ours(struct push *p, bool *ask);
bool       push_is_ours_by_meaning(struct push *p);
struct op *push_seal(struct push *p, const struct snapshot *body); /* its sidecars; NULL: none */

#endif
