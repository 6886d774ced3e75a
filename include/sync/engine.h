/* SPDX-License-Identifier: MIT */
#ifndef SYNC_ENGINE_H
#define SYNC_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "loop/work.h"
#include "store/store.h"
#include "sync/lease.h"
#include "sync/plan.h"

/*
 * The agent itself: the store, the plan, and what runs between them. Lives on one loop. It draws time and randomness from
 * the loop and reaches remotes only through the plan's backends, so that many of them can live in one test.
 */
struct engine;

struct engine_conf {
	struct loop  *loop;
	struct work  *work;
	struct store *store;
	struct plan  *plan;           /* owned from here on */
};

struct engine *engine_new(const struct engine_conf *conf);
void           engine_free(struct engine *e);          /* stopped; no op may be left */
struct plan   *engine_plan(struct engine *e);
struct store  *engine_store(struct engine *e);
struct loop   *engine_loop(struct engine *e);
struct work   *engine_work(struct engine *e);

/* Watches sources, drains lanes, keeps on until engine_stop(): then nothing new begins and what runs is cancelled;
 * engine_idle() tells when the last has ended. Without engine_start() only what is asked for happens. */
void engine_start(struct engine *e);
void engine_stop(struct engine *e);
/* After engine_stop(), for the last seconds of the process: writes whose answers are waited for are given up as uncertain, so that their
 * locks can be released. */
void engine_hurry(struct engine *e);
bool engine_idle(const struct engine *e);
/* Another number after each reload: what was taken from the plan before is gone. */
uint64_t       engine_generation(const struct engine *e);
/* Wall ms of engine_start(); 0: only what is asked for happens. */
int64_t        engine_since(const struct engine *e);
/* Swaps the plan when nothing runs on the old one: stops, waits, swaps, starts again. The old plan is freed. */
struct op *engine_reload(struct engine *e, struct plan *owned);

/* ---------------------------------------------------------------- one pass (sync) */

struct pass_options {
	const char *const *edges;     /* NULL: all; copied */
	size_t      nedges;
	bool        dry_run;          /* reads, judges and compares; neither store nor heads nor targets change */
};

struct problem {
	char         *edge, *state, *message, *hint; /* "" when not of one */
	enum err_code code;
	int           exit;           /* the interface's exit code of it */
};

struct edge_result {
	const char *name, *kind;
	uint64_t    seen, changed;    /* states */
	uint64_t    uncovered;        /* of those seen: their bytes are out of reach */
	uint64_t    written, unchanged, held, failed, bytes, requests; /* state × target */
	double      seconds;
};

struct planned {
	char    *edge, *state, *target;
	uint64_t serial, bytes;
	bool     probe;               /* the target would be probed first, and nothing written if that finds it unfit */
};

struct pass_result {
	struct edge_result *edges;
	size_t              nedges;
	struct problem     *problems;
	size_t              nproblems;
	struct planned     *planned;  /* of a dry run: each write it would make */
	size_t              nplanned;
};

/* Recovers what an earlier run left open, looks at the sources, then works off the queue of the edges once, whatever its
 * back-off says. Ends OK when it came to its end: results say how. ERR_USAGE: no such edge. */
struct op *engine_pass(struct engine *e, const struct pass_options *o, struct pass_result *ret);
void       pass_result_free(struct pass_result *r);
/* How far the running pass is; false: none runs. */
struct pass_progress {
	const char *step;             /* what it does, for people; static */
	uint64_t    seen, changed;    /* states */
	uint64_t    total, done;      /* state × target; total 0: not known yet */
	uint64_t    written, held, failed, bytes;
};
bool       engine_progress(const struct engine *e, struct pass_progress *ret);
/* The exit code of the interface: 0, 3, or the one reason for which all failed. */
int        pass_result_exit(const struct pass_result *r);

/* The exit code that the interface gives to an error. */
int        err_exit(enum err_code code);
/* The exit code of several items: 0 when nothing failed, 3 when some were done, the one reason for which all failed, else 1. */
struct exit_tally {
	uint64_t done, failed;
	int      reason;              /* exit code of the last one that failed; 0: none was told */
	bool     mixed;
};
void       exit_tally_add(struct exit_tally *t, int exit_code);   /* 0: done */
int        exit_tally_code(const struct exit_tally *t);

/* ---------------------------------------------------------------- commands on one state */

struct restore_options {
	const char *backend, *name;   /* the state whose version is taken */
	uint64_t    version;
	const char *to_backend, *to_name; /* NULL: where it came from */
	bool        keep_serial, dry_run;
};
struct restore_result {
	uint64_t      from, serial_before, serial_after; /* from: version number; before: what was there */
	bool          had_before, probe; /* probe: of a dry run: the backend would be probed first */
	struct digest digest;
	uint64_t      changed_resources;
	char          to[1200];       /* BACKEND:NAME */
	/* of a migration */
	bool          writes, written; /* writes: there is something to do, or was; written: it is done */
	bool          unlocked;       /* the source has no lock, or may not be locked */
};
/* Under the backend's lock and precondition; what is there becomes a version first. */
struct op *engine_restore(struct engine *e, const struct restore_options *o, struct restore_result *ret);
/* What it does while it runs, for people; static. */
const char *engine_restore_doing(const struct op *op);

/* Moves what a source holds now to another place, under the locks of both; the source stays. Newer, unrelated or unknown content
 * is never replaced: ERR_CONFLICT. ret as of a restore, from: the version that the store has of it by then. */
struct migrate_options {
	struct backend *from, *to;    /* of the engine's plan */
	const char     *name, *to_name;
	bool            dry_run, yes; /* yes: also when the source cannot be locked */
};
struct op *engine_migrate(struct engine *e, const struct migrate_options *o, struct restore_result *ret);
const char *engine_migrate_doing(const struct op *op);
/* A name, or an alias, that a person gave: provider_ask(), and the aliases that came of it are kept. NULL: there is nothing to ask. */
struct op *engine_ask(struct engine *e, struct backend *b, const char *name);
/* What there is to migrate, after whatever an earlier run left open was settled and, with create = true, the target was made (neither
 * in a dry run): every state of from, by fn once the listing is complete, with its name at to, or why it cannot be there. name not NULL:
 * that one alone. */
typedef void migrate_fn(void *arg, const char *name, const char *to_name, const struct err *why);
struct op *engine_migrate_look(struct engine *e, const struct migrate_options *o, migrate_fn *fn, void *arg);

/* Takes what the source holds now as head, by a person's decision. ERR_CONFLICT (exit 13) for what is no state. version 0: whatever
 * it holds; else it must hold that version now. */
struct op *engine_release(struct engine *e, const char *backend, const char *name, uint64_t version);
/* Removes the bytes of a quarantined version. ERR_CONFLICT for a head. */
struct op *engine_drop(struct engine *e, const char *backend, const char *name, uint64_t version);
/* resolve EDGE STATE --overwrite: keeps the target's bytes as a version, then writes. target NULL: the lanes that are held. */
struct op *engine_resolve(struct engine *e, const char *edge, const char *name, const char *target);
/* A copied store, or backend labels that point elsewhere, become active again. label NULL: all. */
struct op *engine_adopt(struct engine *e);
/* What adopt would change, one sentence each. */
void       engine_adopt_plan(struct engine *e, void (*fn)(void *arg, const char *sentence), void *arg);

/* Locks held now. backend NULL: every backend with locks. fn is called from the loop for each; its state's names that could not be
 * asked are reported through problems. */
struct lock_seen {
	const char       *backend, *name;
	struct lock_info  lock;
	bool              ours;       /* this agent's own, by its intent */
	int64_t           as_of;      /* wall ms when it was last known to be there; 0: just read */
	enum here { HERE_UNKNOWN, HERE_NONE, HERE_SOME } here; /* does a terraform run on this host, as far as can be seen? */
};
typedef void lock_seen_fn(void *arg, const struct lock_seen *l);
struct op *engine_locks(struct engine *e, const char *backend, lock_seen_fn *fn, void *arg);
/* What can be said of one, without asking anybody: how long it is held, and whether its run may be gone. t NULL: without what is known
 * of its run. */
struct lock_view {
	int64_t age_ms, patience_ms;  /* age -1: nobody knows; patience: how long a write waits for a lock there */
	bool    over;                 /* the patience is */
	bool    alive;                /* its holder is, beyond doubt */
	bool    suspect;              /* it may be left by a run that is gone: over, and nothing came of it for as long; or there is none here */
	char    text[ERR_TEXT_MAX];   /* that, as a sentence without a full stop */
};
void engine_lock_view(struct engine *e, struct store_txn *t, const struct lock_seen *l, struct lock_view *ret);
/* id NULL: only a lock of this agent. ERR_NOT_FOUND not locked; ERR_CONFLICT another id. *ret (but backend and name): the
 * lock that was broken. Of a foreign one, what the state holds is kept first: which version that is, and of which state. */
struct kept {
	char     state[1200];         /* BACKEND:NAME as the store has it: of what is replicated, its source's; "" : nothing is kept */
	uint64_t version;
};
struct op *engine_unlock(struct engine *e, const char *backend, const char *name, const char *id, struct lock_seen *ret,
    struct kept *ret_kept);
/* The lock that it would break, nothing more. OK and an empty lock where locks cannot be read and none is known. */
struct op *engine_unlock_look(struct engine *e, const char *backend, const char *name, const char *id, struct lock_seen *ret);

/* What is known of the preconditions of a backend. */
struct proof {
	bool    known, holds;         /* holds: a write without a lock is safe there */
	bool    no_lock;              /* its lock excludes nobody: a second one was granted, or it is an object and creations are not refused */
	int64_t when;                 /* wall ms of the probe */
	char    why[ERR_MSG_MAX];     /* !holds: the first check that failed */
};
/* Requests that prove what the backend enforces; fn is called for each check. The result is kept in the store, and a first write
 * to a target without a lock rests on it. ret is written on success. */
struct op *engine_probe(struct engine *e, const char *backend, probe_fn *fn, void *arg, struct proof *ret);
/* Would a write there be refused, as far as is known by now? It asks what a write asks. ret_locks: it would take a lock first. */
enum err_code engine_writable(struct engine *e, const char *backend, bool *ret_locks, struct err *reterr);

/* ---------------------------------------------------------------- looking */

/* What a look met more than once. */
struct tally {
	uint64_t   n;
	struct err first;             /* what and why, the first time; n > 0 */
};

/* A backend at run time. */
struct place_health {
	const char  *label;
	bool         ok;
	struct err   trouble;         /* !ok: the last failure */
	int64_t      since;           /* wall ms: of the trouble */
	int64_t      last_ok, last_try, next_try;
	bool         moved;           /* the label points elsewhere than before: paused until adopt */
	struct tally refused;         /* listed names that cannot be used */
	struct tally unread;          /* states that could not be read or kept */
	const struct proof *proof;    /* what the last probe found */
};
void engine_health(struct engine *e, void (*fn)(void *arg, const struct place_health *h), void *arg);

/* The record of a lease shows that our agent did more than our store knows of: nothing is written until a person adopts the store. */
bool engine_is_outrun(const struct engine *e);

/* A source or target cannot be reached or refuses us, or the store is in trouble. */
bool engine_in_trouble(const struct engine *e);

/* What the source holds now is not the head and waits for a person: that version. */
bool state_quarantined(struct store_txn *t, const struct state_rec *s, struct version_rec *ret);

/* How a replica stands now, derived from its record, the head and the plan: for everybody who shows or counts it. */
struct replica_view {
	const struct lane  *lane;
	const char         *name;        /* at the target */
	enum replica_status status;
	bool                quarantined; /* held only because what the source holds now waits for a person */
	int64_t             lag_ms;      /* how long it has not been the head; -1: paused, or there is no head */
	struct err          why;         /* held, failed: the reason; code ERR_OK: none is known */
	struct replica_rec  rec;         /* zero and "" when it was never tried */
};
/* Every replica of a state, by its source's edges. What is handed to fn lives until it returns. */
void engine_replicas(struct engine *e, struct store_txn *t, const struct state_rec *s,
    void (*fn)(void *arg, const struct replica_view *v), void *arg);

/* Totals for status and metrics, added up state by state while one goes over them. */
#define TOTALS_LAGS 496
struct edge_totals {
	uint64_t by_status[REPLICA_STATUSES];
	uint64_t with_lag, lags[TOTALS_LAGS]; /* how many; by class of lag, without those of lag 0 */
	int64_t  max_lag_ms, last_ok;         /* last_ok: wall ms of the newest verification; 0: none */
};
struct engine_totals {
	uint64_t states, quarantined, unusable;
	uint64_t uncovered;                   /* known from an inventory, out of reach */
	uint64_t by_status[REPLICA_STATUSES];
	int64_t  oldest_lag_ms;               /* of replicas that should be current; 0: none */
	const struct plan  *plan;             /* as it was at totals_begin(): it must still be this one */
	struct edge_totals *edges;            /* by index of the plan */
};
void    totals_begin(const struct engine *e, struct engine_totals *ret);
/* Does it say how things stand? What is left of targets, and of backends that are no source any more, does not. */
bool    state_counts(const struct plan *p, const struct state_rec *s);
void    totals_state(struct engine_totals *n, struct store_txn *t, const struct state_rec *s);
void    totals_replica(struct engine_totals *n, const struct state_rec *s, const struct replica_view *v);
void    totals_free(struct engine_totals *n);  /* contents */
/* So many percent of the edge's replicas wait no longer than this; exact to an eighth below 100. */
int64_t totals_lag_ms(const struct edge_totals *n, unsigned percent);

/* Who has the lease of each lane whose edge has one, as far as this agent has seen; l and v until fn returns. */
void engine_leases(struct engine *e, void (*fn)(void *arg, const struct lane *l, const struct lease_view *v), void *arg);
/* The records of those that no agent here keeps or watches, so that engine_leases() knows them. */
struct op *engine_leases_read(struct engine *e);
struct lease_released {
	unsigned   done, others;      /* targets of the edge: ours or nobody's, and those of other agents */
	struct err first;             /* others > 0: the first */
};
/* The edge's leases are handed over, once what was begun under them has ended, and left to others until the same with back, or until the
 * agent starts again. ERR_LOCKED if all are held by others. Without an agent: those that a dead process of it held. */
struct op *engine_lease_release(struct engine *e, const char *edge, bool back, struct lease_released *ret);

/* Counters since start, for metrics. */
struct engine_counters {
	uint64_t verdicts[VERDICT_COUNT];
	uint64_t pushes_ok, pushes_failed, pulls;
};
const struct engine_counters *engine_counters(const struct engine *e);

#endif
