/* SPDX-License-Identifier: MIT */
#ifndef SYNC_CORE_H
#define SYNC_CORE_H

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/map.h"
#include "base/name.h"
#include "loop/quota.h"
#include "sync/engine.h"
#include "sync/judge.h"
#include "sync/lease.h"

/*
 * The engine's insides, shared by the files of this folder. Nothing here lives longer than the
 * plan; what must survive is in the store.
 */
#define LOOK_PULLS      64     /* states read at once from one backend: more than there are requests at once, because they also wait for commits */
#define LANE_PUSHES     64     /* entries at once in one lane, likewise */
#define PLACE_LOCKS     16     /* of them, over all lanes, those that lock and write there: what a death leaves to clean up */
#define PLACE_BYTES     ((uint64_t)32 << 20) /* of states on their way from a backend, and to it; a larger one goes alone */
#define PLACE_SIZE_UNKNOWN (PLACE_BYTES / 16) /* what a state counts whose listing tells no size */
#define SWEEP_CHUNK     200    /* states looked at in one turn of the loop */
#define LANE_STRIKES    3      /* failures of the target itself in a row that close the lane for a while */
#define LANE_HOLD_MIN_MS 5000
#define LANE_HOLD_MAX_MS 300000
#define LANE_HOLD_DOUBLINGS 6
#define RETRY_LOCK_WAIT_MAX_MS 16000 /* between two tries for a lock that others hold */
#define RETRY_MIN_MS    2000   /* back-off of one replica */
#define RETRY_MAX_MS    600000
#define TORN_WAIT_MS    2000   /* an empty or unparsable read is read again after this */
#define POLL_FAST_DIV   6      /* adaptive polling: poll / 6 after a change, then slower until poll */
#define POLL_FAIL_MUL   8      /* a backend that fails is asked less and less, at least every poll × 8 */
#define LOCK_POLL_MS    2000   /* a state that others have locked is looked at again after this, in an agent; */
#define LOCK_POLL_STATES 32    /* so many of them at one place; where there are more, less often */
#define LOCK_CLOSE_MS   ((int64_t)3600 * 1000) /* not longer than this after its last news: then like all the others */
#define LOCK_NOTE_MS    60000  /* a run that lasts is noted as still there after this */
#define WATCH_DATE_MS   1000   /* dates of HTTP are cut to the second */
#define HINT_WAIT_MS    20     /* several notices of one change are one look */
#define ENDED_LOOK_MS   20     /* between two looks whether what has to end first has: writes, a probe, all of it for a reload */
#define UNTAGGED_LOOKS  10     /* a target without change tags is read back at every tenth poll */

/* One bit for each state id. */
struct bits {
	uint8_t *p;
	size_t   n;  /* bytes */
};
bool bits_get(const struct bits *b, uint64_t id);
void bits_set(struct bits *b, uint64_t id);
void bits_clear(struct bits *b, uint64_t id);
uint64_t bits_next(const struct bits *b, uint64_t after); /* 0: there is none */
void bits_free(struct bits *b);

struct pass;
struct push;

/* What a look found. */
struct look_result {
	uint64_t seen, changed, failed, requests;
	uint64_t unkept;                /* states that were read, and could not be kept */
	uint64_t uncovered;             /* of those seen: their bytes are out of reach */
	bool     locked;                /* somebody holds a lock that cannot be watched: a change is near */
};

/* Where states of a place really lie, as far as a probe is concerned: each promises its own. */
struct ground {
	struct backend *backend;
	char           *only;           /* the one name that the place has there; NULL: any */
	struct proof    proof;          /* what the last probe found, of where it points now */
	bool            proving;        /* a probe runs */
};

/* A configured backend at run time. */
struct place {
	struct engine  *engine;
	struct backend *backend;
	size_t          index;
	bool            source, target, moved;
	bool            where_unread;   /* moved, because nobody knows where it pointed before */
	struct timer    poll;
	struct op      *look;           /* running, top level */
	bool            look_again;
	unsigned        nlooks;         /* of the agent's own */
	struct map     *hints;          /* names to be read when hint is due; NULL: none */
	struct timer    hint;
	struct look_result looked;      /* of the running or last look */
	bool            watching;       /* the provider tells of changes */
	int64_t         interval_ms;    /* adaptive */
	bool            failing;
	struct err      why;
	int64_t         since, last_ok, last_try, next_try;
	struct tally    refused;        /* names that the last listing showed and that cannot be used */
	struct tally    unread;         /* states that the last look could not read, or not keep */
	unsigned        failures;       /* looks in a row */
	struct proof    proof;          /* what the last probes of all of these found */
	struct ground  *grounds;        /* ngrounds: itself, or each that it keeps its states in */
	size_t          ngrounds;
	bool            fill_failed;    /* older versions could not be listed, last time */
	int64_t         fill_after;     /* loop_now(): not tried before, it was refused */
	struct quota    locks;          /* PLACE_LOCKS */
	struct quota    reading, writing; /* PLACE_BYTES each */
};

/* A lane at run time. */
struct track {
	struct engine *engine;
	struct lane   *lane;
	struct timer   due;
	struct op     *drain;           /* running, top level or a pass's child */
	uint64_t       requests;        /* of its writes and its lease */
	bool           again;           /* something was queued meanwhile */
	unsigned       strikes;         /* the target itself failed, in a row; LANE_STRIKES: closed */
	unsigned       closings;        /* in a row */
	struct err     closed;          /* why it closed */
	int64_t        hold_until;      /* loop_now(): closed after strikes */
	struct records *coordinator;    /* NULL: no lease, it is always ours */
	struct lease  *lease;
	bool           keeps_lease;     /* over the reload that runs */
	struct err     unproven;        /* why it cannot be taken; OK: nothing is known against it */
	int64_t        prove_after;     /* loop_now(): not probed again before, for a take only while it is unproven */
	bool           follows;         /* the drain only reads what the holder of the lease wrote */
	struct bits    unread;          /* not ours: states under whose name the target shows what was not read yet */
	struct bits    doubted;         /* not ours: their replica was newer than the head; perhaps the source has not been read since */
	struct bits    present;         /* the target lists something under the name of a state that we never wrote there */
	struct op     *inherit;         /* running, top level or a pass's child */
	bool           handed_over;     /* by whoever had the lease before us; what a process of ours left, its intents tell */
	struct bits    locked;          /* with a lease: states on which a lock of an earlier holder may lie, which is to be looked at */
	struct bits    judged;          /* states on which the target lists a lock that is none */
	struct bits    left;            /* states on which one lies, or may lie where nobody can look: the next push sees to it */
	int64_t        judged_until;    /* loop_now(): then they are to be judged again */
	bool           inherit_all;     /* no listing tells of locks: all states are to be asked for */
	bool           inherit_late;    /* for the last time */
	int64_t        inherit_due;     /* loop_now(): not before */
};


struct engine {
	struct loop  *loop;
	struct work  *work;
	struct store *store;
	struct plan  *plan;
	struct place *places;           /* plan->nbackends */
	struct track *tracks;           /* plan->nlanes */
	uint64_t      generation;       /* of the plan */
	bool          started, stopping, reloading;
	int64_t       since;           /* wall ms of the first start; 0: never */
	struct op    *recover;          /* running, top level */
	struct timer  recover_due;
	unsigned      passes;           /* running; lanes are theirs meanwhile */
	unsigned      held;             /* running, asked for by a person: see hold.c */
	struct pass  *pass;             /* the running one */
	int64_t       clock_off;        /* engine_steady() minus loop_now() */
	bool          clock_unnoted;    /* which the store does not know yet */
	bool          open_intents;     /* since the last recovery a push could not settle its own */
	struct map   *met;              /* intents (be64 id) whose lock was met: looked after out of turn, which shortens no wait */
	struct map   *live;             /* intents (be64 id) and the push that runs, or e for a lock alone: nobody else's business */
	struct lease_group leases;
	bool          outrun;           /* the record of a lease shows that our agent did more than our store knows of */
	bool          hurried;          /* the end is near: what was sent is left as it is, locks are given back */
	struct engine_counters counters;
};

static inline struct place *
engine_place(struct engine *e, const struct backend *b)
{
	for (size_t i = 0; i < e->plan->nbackends; i++)
		if (e->places[i].backend == b)
			return &e->places[i];
	return NULL;
}

static inline struct track *
engine_track(struct engine *e, const struct lane *l)
{
	return &e->tracks[l->index];
}

/* May the engine change anything: the store is ours, and as new as what we did. */
static inline bool
engine_acts(const struct engine *e)
{
	return !store_is_foreign(e->store) && !e->outrun;
}

/* Everything of the old plan, which is freed, has ended (engine_idle()); takes the new one. */
void engine_replan(struct engine *e, struct plan *owned);

/* --- prove.c: what a backend enforces --- */
void prove_init(struct place *p);
void prove_free_grounds(struct place *p);
void prove_recall(struct place *p, struct store_txn *t);
/* provider_writable(), and what is known from a probe: ERR_CONFLICT for a target whose preconditions do not hold where that name lies;
 * NULL: wherever. No request. */
enum err_code place_writable(const struct place *p, const char *name, struct err *reterr);
/* Will a probe come before the next write of that name? */
bool place_asks_probe(const struct place *p, const char *name);
/* Before a write of name: probes a target that has nothing but preconditions, or nothing but a lock, once; other writes to it wait. NULL:
 * it may be written. Ends with ERR_CONFLICT when it does not enforce them, else with what kept the probe from finding out. */
struct op *prove_op(struct place *p, const char *name);

/* A probe before the first lease there, of a backend that only promises preconditions. NULL: nothing is to be found out. Ends with
 * ERR_CONFLICT when it does not enforce them. */
struct op *prove_conditions_op(struct place *p);

/* --- leases.c: which lanes are this agent's --- */
void track_lease_init(struct track *t);
void track_lease_free(struct track *t);        /* idle */
/* May replicas of that lane be written now? To be asked again before each write. */
bool track_is_ours(const struct track *t);
/* Why not, once leases_settled_op() has ended; false: it is ours. */
bool track_lease_refused(const struct track *t, struct err *ret);
void track_lease_rested(struct track *t);      /* something that ran under it has ended */
void leases_start(struct engine *e);
void leases_leave(struct engine *e);           /* those under which nothing runs: handed over. To be called again when that has ended */
bool leases_idle(const struct engine *e);      /* but for those that a reload keeps */
void leases_looked(const struct place *p);     /* after a look of the agent's own */
void leases_adopted(struct engine *e);         /* the agent has another id by now */
/* Over a reload: those of lanes that the next plan has too are not handed over. Marked (next NULL: none is) before the rest is left;
 * then paused, asked until true; taken out of the old plan and put into the new one, by index of its lanes. */
void leases_keep(struct engine *e, const struct plan *next);
bool leases_paused(struct engine *e);
struct lease **leases_carry(struct engine *e, const struct plan *next);
void leases_carried(struct engine *e, struct lease **owned);
/* Until each lease of the pass's edges is ours, or seen to be kept by another. pass NULL: until all are idle. */
struct op *leases_settled_op(struct engine *e, const struct pass *pass);
/* The same of one lane, for what a person asked for. Without an agent it is taken for as long as the process lasts. NULL: it is ours. */
struct op *track_settled_op(struct track *t);

/* --- inherit.c: locks that earlier holders of a lane's lease left at its target --- */
/* Was that lock taken under an earlier epoch of the lease than the one that was ours last? */
bool inherit_is_left(const struct track *t, const struct lock_info *holder);
void inherit_begin(struct track *t, bool handed_over); /* the lease has become ours */
/* A listing of the target shows that state's replica, and a lock on it or none. */
void inherit_see(struct track *t, uint64_t state, bool locked);
/* There may be some: inherit_op() is to run, once at a time, while the lease is ours. */
bool inherit_is_due(const struct track *t);
struct op *inherit_op(struct track *t);
struct op *inherit_lanes_op(struct engine *e, const struct pass *pass); /* of the pass's lanes */
/* A push of that state is to take its lock whatever it knows of the replica: asked once. */
bool inherit_by_push(struct track *t, uint64_t state);

/* Queue entries came in for lanes of this source (NULL: any): start what is due. */
void engine_kick(struct engine *e, const struct backend *from);
/* The head of that state moves in this batch: every lane that carries it has something to do. */
void engine_enqueue(struct engine *e, struct batch *b, const struct backend *from, const char *name);
/* An intent stayed open: look after it soon. */
void engine_recover_soon(struct engine *e);
/* The operation of that intent runs, or has ended: recovery is for those whose operation is no more. */
void engine_live(struct engine *e, uint64_t intent, struct push *runs); /* NULL: ended */
/* The write under way to that name of dst for another state than state; NULL: none. */
const struct push *engine_live_other(const struct engine *e, const struct backend *dst, const char *name, uint64_t state);
bool engine_live_in(const struct engine *e, const struct lane *l); /* does any write of that lane run? */
void engine_live_alone(struct engine *e, uint64_t intent);              /* the same for a lock alone: of a probe, of what is migrated */
bool engine_is_live(const struct engine *e, uint64_t intent);
void engine_recover_met(struct engine *e, uint64_t intent);
bool engine_was_met(struct engine *e, uint64_t intent); /* since this was asked last */
/* What open intents wait by: about the wall clock, but nobody sets it, and it is never ahead of the time that passed. */
static inline int64_t
engine_steady(const struct engine *e)
{
	return loop_now(e->loop) + e->clock_off;
}

/* One more; true: it was the first, whose reason is that. */
bool tally_add(struct tally *t, const struct err *why);

/* --- place.c --- */
/* t: what is known from earlier; NULL: the store cannot be read. */
void place_init(struct place *p, struct engine *e, size_t index, struct store_txn *t);
void place_free(struct place *p);              /* no look runs any more */
void place_start(struct place *p);             /* of an agent: watches and polls */
void place_stop(struct place *p);              /* cancels the running look, whose end is to be awaited */
void place_result(struct place *p, const struct err *err);     /* of a look: health, remembered in the store when it changes */
/* Of what the store keeps on a place; ret is initialised here. */
void place_key(const struct place *p, const char *what, struct buf *ret);
bool place_noted(const struct place *p, struct store_txn *t, const char *what, struct span *ret); /* false: nothing is kept */
/* Beside health, remembered in the store when it changes: what of a whole listing cannot be used, what a look failed for. */
void place_refused(struct place *p, const struct tally *now);
void place_unread(struct place *p, const struct tally *now);
void place_keep_aliases(struct place *p); /* with the store, when the last listing changed them */
void place_follow(struct place *p, const char *name); /* it is read again when place_follows() comes */
void place_follows(struct place *p, size_t n); /* in an agent: so many of those names are locked by others */
void place_read_again(struct place *p, const char *name, int64_t wait); /* in an agent: that state alone, after so long */
void place_wake(struct place *p);            /* in an agent: it is looked at now, not at its next poll */
/* A label that points elsewhere than before: nothing is read or written until a person adopts it. */
bool place_may_act(const struct place *p, struct err *reterr);

/* A line of the journal, in that batch. */
void engine_event(struct batch *b, struct engine *e, const char *kind, const char *backend, const char *name, const char *edge,
    const char *fmt, ...) __attribute__((format(printf, 7, 8)));
void engine_note(struct engine *e, struct batch *owned); /* commits it by itself, whoever asked; a failure is only logged */

/* --- hold.c: what a person asked for; the plan stays as it is until that has ended --- */
struct op *hold_op(struct engine *e, struct op *asked);
/* The same of what has taken nothing from the plan yet: a reload that runs already is waited for. */
struct op *hold_later_op(struct engine *e, struct op *asked);

/* --- locks.c --- */
bool lock_is_own(struct engine *e, const struct lock_info *l);
/* All that is known of a lock that cannot be read; false: nothing. */
bool lock_known(struct engine *e, const struct backend *b, const char *name, struct lock_seen *ret);
/* The intent of a lock without a write. uncertain: it may come to be, whatever is known now. */
void lock_intend(struct batch *b, struct engine *e, uint64_t id, const struct backend *at, const char *name, const struct lock_info *l,
    bool uncertain);
/* Of a backend that cannot show locks: who holds that one, as a refusal said; NULL: nobody does any more. Goes into b. */
void lock_note(struct batch *b, struct engine *e, const struct backend *at, const char *name, const struct lock_info *holder);

/* --- watch.c: the locks of a source's states, and the runs that hold them --- */
enum lock_now { LOCK_AS_BEFORE, LOCK_FREE, LOCK_HELD }; /* AS_BEFORE: nothing was seen of it */
struct lock_look {
	enum lock_now    now;
	bool             ours;          /* held by this agent */
	bool             first;         /* held, and no run was known before: what is there may be older than the lock */
	struct lock_info lock;          /* held: what its body says; empty when only a listing shows it */
};
/* One look, which may cost a request. A run that was not known is kept then; that another one has it by now is left to watch_settle().
 * Ends OK when nothing could be found out, too, unless it shall be asked later (ERR_BUSY). */
struct op *watch_op(struct place *p, const char *name, struct lock_look *ret);
/* After what was there was read: keeps what was seen. NULL: there is nothing to keep. */
struct op *watch_settle(const struct place *p, const char *name, const struct lock_look *l);
/* Bytes of that digest were read: does the store know others, so that somebody may be writing? */
bool watch_asks(const struct place *p, const char *name, const struct digest *d);
/* Is it to be looked at soon again? */
bool watch_is_close(const struct place *p, const char *name, const struct lock_look *l);
/* Of a state that a notice names: is its lock to be looked at before it is read? */
bool watch_wants(const struct place *p, const char *name);
/* The run that wrote what is new there, as far as that can be told; l NULL: nothing was seen of the lock. made: wall ms, 0: unknown. */
bool watch_author(const struct place *p, struct store_txn *t, const struct state_rec *s, const struct lock_look *l, int64_t made,
    struct run_rec *ret);

/* --- suspect.c --- */
/* Does a terraform run on this host? NULL: nobody can tell. */
struct op *suspect_look_here(struct engine *e, enum here *ret);

/* --- evidence.c: what a target holds, kept before it goes --- */
/* Compared with the head, of that lineage and serial; lineage NULL: there is none. ret borrows from there, which outlives it, and from origin,
 * which is filled. The caller sets a reason, and the run if there was one. */
void evidence_make(struct version_rec *ret, const struct engine *e, const struct snapshot *there, const char *lineage, uint64_t serial,
    const char *edge, const struct backend *at, char origin[ERR_MSG_MAX]);

/* --- meaning.c: comparing two bodies, on the work pool when they are large --- */
struct meaning {
	struct body *a, *b;             /* borrowed; a before, b after */
	bool         want_semantic, want_counts;
	bool         same;              /* both semantic digests known and equal */
	struct digest semantic_b;       /* zero: not known */
	int64_t      added, changed, removed; /* -1: not known */
};
struct op *meaning_run(struct work *w, struct meaning *m);

/* --- backfill.c: what the remote kept between two looks --- */
/* How far the versions of a state are known that the remote keeps: a mark of the store, moved in the commit that keeps a version. */
struct fill_mark {
	char     id[VERSION_ID_MAX];    /* the remote's name of the newest one that is known; "" : none is */
	uint64_t number;                /* of the newest version here when it became known; 0: nobody knows */
	/* open: older ones are being read. */
	bool     open;
	uint64_t last;                  /* what came last of them; 0: none that was kept */
	uint64_t best, from;            /* the newest good one, and the head before all of them; 0: none */
	uint64_t base, top;             /* versions above base and up to top were seen without being found there: they come again */
};
bool fill_recall(const struct place *p, const char *name, struct store_txn *t, struct fill_mark *ret); /* false: none; zeroed */
void fill_note(const struct place *p, const char *name, struct batch *b, const struct fill_mark *m);
/* May the remote have kept what was not seen here, now that it holds other bytes? */
bool fill_is_due(const struct place *p, const char *name, const struct snapshot *now);
/* Reads them, oldest first; each becomes a version. Whatever fails, what the source holds now can be taken: ends OK unless it was
 * cancelled. now outlives the op. *ret_whole: nothing was left out for a reason that may pass. */
struct op *fill_op(struct engine *e, struct place *p, const char *name, const struct snapshot *now, bool *ret_whole);

/* --- pull.c: one state from its source into the store --- */
struct pull_result {
	bool         changed;           /* the head moved, or something was held back for the first time */
	bool         kept;              /* as a version of its own */
	enum verdict verdict;
	bool         judged;            /* verdict is set */
	bool         gone;
	char         reason[160];
	struct snapshot now;            /* keep = true: what was read */
};
struct pull_options {
	bool force;                     /* read although the change tag is the known one */
	bool release;                   /* a person's decision: what is read becomes the head if it is a state at all */
	uint64_t must_be;               /* release: only this version; 0: any */
	bool dry;                       /* nothing is committed */
	bool keep;                      /* hand the snapshot out */
	struct lock_look *lock;         /* what was seen of its lock, outlives the op; NULL: nothing */
	bool ask;                       /* if other bytes are read, its lock is looked at then */
	bool fill;                      /* what the remote kept since the last look is read first */
	const char *version;            /* that one of them is read: it becomes a version, never the head. NULL: what is there now */
	int64_t made;                   /* version: wall ms, 0: unknown */
	struct fill_mark *mark;         /* version: how far they are known before it, and afterwards */
	const char *uncovered;          /* nothing is read: its bytes are out of reach, and why; outlives the op. NULL: it is */
};
struct op *pull_op(struct engine *e, struct place *p, const char *name, const struct pull_options *o, struct pull_result *ret);

/* --- migrate.c --- */
/* What is asked for by name and is not there. Returns reterr->code. */
enum err_code migrate_no_state(const struct backend *from, const struct backend *to, struct err *reterr);

/* --- look.c: one listing of a backend, as source and as target --- */
/* pass NULL: the agent's own look. */
struct op *look_op(struct engine *e, struct place *p, struct pass *pass, struct look_result *ret);

/* Reads only the named states of p->hints, which it takes. */
struct op *look_hinted_op(struct engine *e, struct place *p, struct look_result *ret);
/* Does the source hold something that waits for a person; *ret says what and what to do. */
bool look_is_quarantined(struct store_txn *t, const struct state_rec *r, struct err *ret);
/* The backend that a look looks at. */
const struct backend *look_place(const struct op *look);

/* --- status.c --- */
/* What came of a write, in its record: the status, and since when it is a bad one. */
void replica_settle(struct replica_rec *r, enum replica_status status, int64_t now);

/* --- retry.c --- */
/* The back-off of one replica after its attempt-th failure, at least what the peer asked for. */
int64_t retry_wait_ms(struct engine *e, uint64_t attempt, const struct err *err);
/* Until a lock that others hold is asked for again: terraform's own schedule, so that nobody is crowded out. */
int64_t retry_lock_wait_ms(struct engine *e, int64_t waited_ms);
/* Is that the target's failure, and not one state's? */
bool retry_target_down(const struct place *to, enum err_code code);

/* --- push.c: one head to one target --- */
enum push_outcome { PUSH_WRITTEN, PUSH_CURRENT, PUSH_HELD, PUSH_WAITING, PUSH_FAILED, PUSH_SKIPPED };
struct push_result {
	enum push_outcome outcome;
	uint64_t          bytes, serial;/* WRITTEN */
	bool              probe;        /* dry: a probe would come first */
	bool              target_down;  /* the failure is the target's, not this state's */
	char              name[NAME_MAX_LEN + 1]; /* the source state's */
	struct err        err;          /* HELD, WAITING, FAILED */
};
struct push_options {
	bool   dry;
	bool   follow;                  /* reads alone: the replica is another agent's to write */
	struct snapshot *next;          /* dry: what would be the head of the source state called name; NULL: the store's */
	const char      *name;
};
struct op *push_op(struct engine *e, struct lane *l, uint64_t state, const struct push_options *o, struct push_result *ret);

/* Gives up waiting for the answer to its write, or for what the target holds now: then there is time to release the lock. */
void push_hurry(struct push *p);

/* --- history.c: one version to a snapshot target --- */
struct op *history_op(struct engine *e, struct lane *l, uint64_t state, struct push_result *ret);
/* Would a new head of the state of that name be written now: carried by the lane, and the interval has passed. */
bool history_is_due(struct engine *e, const struct lane *l, const char *name);

/* --- drain.c: the due entries of one lane --- */
/* pass: every entry of the lane, whatever its due; NULL: the agent's own, what is due. */
struct op *drain_op(struct engine *e, struct track *t, struct pass *pass);
/* Of a lane that another agent writes: t->unread is read and compared. */
struct op *drain_follow_op(struct engine *e, struct track *t);
/* The target fails by itself, as t->closed says: nothing more is asked of it for a while. */
bool track_closed(const struct track *t);

/* --- recover.c: intents that an earlier life left open --- */
void recover_clock_begin(struct engine *e); /* engine_steady() goes on from where an earlier process left it */
/* A write to that name met this lock. One that an earlier write of ours left behind is looked after now; b: where that is journalled, if it
 * is not yet. */
void recover_met(struct batch *b, struct engine *e, const struct backend *dst, const char *name, const struct lock_info *holder);
/* now: all that are due and the rest too; else only the due ones. *ret_next: when the next one is due (engine_steady()), 0: none. */
struct op *recover_op(struct engine *e, bool now, int64_t *ret_next);

/* --- pass.c: where the parts report to --- */
void pass_seen(struct pass *p, const struct place *source, const struct look_result *found);
bool pass_has_edge(const struct pass *p, const struct edge *e);
bool pass_is_dry(const struct pass *p);
void pass_replica(struct pass *p, const struct lane *l, enum push_outcome o, const char *state, uint64_t bytes,
    const struct err *err);
/* What to do about it: its own hint, else one by its kind. */
const char *pass_hint(const struct err *err);
/* A state of the source that an edge cannot carry (bad name, unreadable, quarantined ...): held or failed on each lane. */
void pass_problem(struct pass *p, const struct edge *e, const char *state, bool held, const struct err *err);
/* Of a dry run: next would be the head of that state; NULL: the head of state waits for that lane. */
void pass_would_write(struct pass *p, const struct lane *l, uint64_t state, const char *name, struct snapshot *next);
/* Was that already said of it? */
bool pass_plans(const struct pass *p, const struct lane *l, const char *name);

#endif
