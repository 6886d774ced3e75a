/* SPDX-License-Identifier: MIT */
#ifndef SYNC_PUSH_H
#define SYNC_PUSH_H

#include "core.h"

/*
 * One guarded write: what is common to a replication, a restore and a migration. They differ in what they write after they saw
 * what is there (weigh), and in what the store learns at the end (settle).
 */
struct push;

struct push_kind {
	enum intent_kind intent;
	const char      *verb;                     /* begins the prefix of log lines */
	/* p->cur (when !p->absent) was read; sets p->cmp, and p->next if that depends on it. An error holds the write back. */
	enum err_code  (*weigh)(struct push *p, struct err *reterr);
	bool           (*needs_meaning)(struct push *p);
	/* After weigh, before anything is kept or written: makes p->next and p->want what weigh decided on. NULL: they are. */
	struct op     *(*change)(struct push *p);
	/* What the store learns, in the batch that also settles the intent. p->op.err is the outcome. */
	void           (*settle)(struct push *p, struct batch *b);
	void           (*free)(struct push *p);
};

struct push {
	struct op               op;
	const struct push_kind *kind;
	struct engine          *e;
	struct backend         *dst;
	const char             *edge;              /* "" for a restore or a migration */
	struct lane            *lane;              /* NULL for them */
	uint64_t                state;             /* source state id */
	char                   *backend, *source;  /* label and name of the source state */
	char                   *name;              /* at dst */
	struct snapshot         next, cur;
	struct body            *next_body;         /* where the store loads the head into */
	struct digest           want, before;      /* before: what was there under our lock; zero: nothing, or not looked at yet */
	uint64_t                want_version;
	bool                    absent;            /* the target has nothing there */
	bool                    released, resolved;/* a person decided: see compare() */
	struct err              refused;           /* known before the first request; OK: go on */
	struct comparison       cmp;
	struct meaning          meaning;
	bool                    prelook, dry, follow;
	struct lock_info        lock, holder;
	bool                    lock_held, lock_doubt, lock_left;
	uint64_t                intent;            /* 0: none open */
	uint64_t                epoch;             /* of the lease under which that was made; 0: none */
	bool                    inherited;         /* the lock of an earlier holder of our lease was released */
	bool                    late;              /* a request for our lock, of the one before that or after, may still be carried out */
	unsigned                nlocks;            /* that were given back, because they may come to be once more */
	bool                    admitted;          /* one of the target's PLACE_LOCKS */
	bool                    put_ok, reencoded, wrote, uncertain;
	bool                    torn;     /* our own half-written bytes are there */
	bool                    unsealed; /* our bytes are there, but their sidecar does not say so */
	struct err              put_err;           /* how the write ended */
	char                    etag[ETAG_MAX];
	struct push_result     *ret;
	void                   *arg;               /* the kind's own */
};

struct push *push_new(struct engine *e, const struct push_kind *kind, struct backend *dst, const char *name);
/* What it waits for, for people; static. */
const char  *push_doing(const struct op *op);
/* Is what was read at the target a version of the source state? own: other than as evidence of what a target held. */
bool         push_knows_current(struct push *p, bool own);
/* The bytes at the target become a version of the source state, before they are replaced or as evidence. false: they are one, or
 * there are none. */
bool         push_keep_current(struct push *p, struct batch *b);
/* For needs_meaning: asks for no more than how many instances change. false: that cannot be known. And how many did, once it is. */
bool         push_can_count(struct push *p);
uint64_t     push_changes(const struct push *p);
/* To an error that says who holds the lock: what to do about it. */
void         push_lock_hint(struct push *p);
/* Another state, of this edge or another, already writes to that name. */
bool         push_is_of_another(const struct push *p, struct store_txn *t, struct err *ret);
/* Of a replication: another state was written to that name (ERR_CONFLICT), or is being written there now (ERR_LOCKED): then it is known
 * who keeps the name once that has ended. */
bool         push_meets_another(const struct push *p, struct err *ret);

#endif
