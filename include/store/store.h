/* SPDX-License-Identifier: MIT */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/crypt.h"
#include "base/digest.h"
#include "base/state_scan.h"
#include "loop/body.h"
#include "loop/op.h"
#include "loop/work.h"

/*
 * Everything the agent knows, in one LMDB environment (src/store/FORMAT.md). Reads are
 * short transactions on the loop thread, never held across a wait; writes are batches that the
 * store thread commits, many at a time. A batch whose operation ended OK is on the disk.
 *
 * A digest in this interface is always the SHA-256 of the plain bytes; with encryption at rest the file
 * holds HMACs of digests and names, and every record is sealed.
 */
#define STORE_MAP_DEFAULT  ((uint64_t)16 << 30)
#define STORE_CHUNK        ((size_t)1 << 20)   /* larger frames are split */
#define STORE_CHAIN_MAX    40                  /* frames between keyframes */
#define STORE_STAGE_ABOVE  ((uint64_t)32 << 20) /* larger bodies: several commits, no prefix */
#define STORE_FREE_MIN     ((uint64_t)256 << 20) /* below this much free disk nothing new is accepted, */
#define STORE_FREE_SHARE   10                   /* on a small disk: below a tenth of it */
#define STORE_EVENTS_MAX   100000              /* the newest are kept */
#define STORE_RUNS_MAX     1000                /* of each state, likewise */

struct store;
struct store_txn;
struct batch;

struct store_conf {
	const char *dir;                 /* created 0700; refused on NFS, CIFS, 9p, FUSE, or with group or other bits */
	const char *agent_name;          /* binds the store instead of the machine-id; NULL: machine-id */
	const struct crypt_key *key;     /* NULL: not encrypted. A store is created with or without, and stays so */
	uint64_t    map_size;            /* 0: STORE_MAP_DEFAULT, capped on 32 bits */
	uint64_t    free_min;            /* 0: STORE_FREE_MIN or STORE_FREE_SHARE; tests need less */
	uint64_t    events_max;          /* 0: STORE_EVENTS_MAX; tests need less */
	bool        inline_commit;       /* no store thread: commits happen in a turn of the loop (virtual loops) */
	bool        must_exist;          /* ERR_NOT_FOUND instead of a new store */
	const char *machine_id;          /* for tests; NULL: /etc/machine-id, else the host name */
};

/* Takes STORE/owner by flock: ERR_LOCKED names the owner's pid in detail. ERR_CORRUPT, ERR_UNSUPPORTED (newer format),
 * ERR_CONFIG (wrong or missing key). Kept open until store_close(), which needs every operation to have ended. */
enum err_code store_open(struct loop *l, struct work *w, const struct store_conf *conf, struct store **ret,
    struct err *reterr);
void          store_close(struct store *s);
const char   *store_dir(const struct store *s);
const char   *store_agent_id(const struct store *s);        /* UUID text */
/* The store came from another host or a backup, or is a copy: show, do not act, until adopted. */
bool          store_is_foreign(const struct store *s);
struct op    *store_adopt(struct store *s);                 /* a new agent id, bound to this host */
/* As seen by everybody: why the last commit failed, "" when it did not. */
const char   *store_trouble(const struct store *s);

/* ---------------------------------------------------------------- records */

/* A state is (backend label, name). Strings of records that a read returns live until store_end(). */
enum verdict { VERDICT_FIRST, VERDICT_ADVANCE, VERDICT_SAME, VERDICT_REENCODED, VERDICT_OLDER, VERDICT_FORK,
	VERDICT_UNRELATED, VERDICT_EMPTY, VERDICT_DAMAGED, VERDICT_SHRUNK, VERDICT_UNREADABLE, VERDICT_COUNT };
const char *verdict_name(enum verdict v);
static inline bool
verdict_is_head(enum verdict v)
{
	return v <= VERDICT_REENCODED;
}

enum state_flag {
	STATE_GONE      = 1 << 0,  /* the source lost it */
	STATE_UNCOVERED = 1 << 1,  /* listed, but its bytes cannot be had */
	STATE_IS_LOCKED = 1 << 2,  /* terraform held the lock when we last looked */
	STATE_INVENTORY = 1 << 4,  /* with STATE_UNCOVERED: known from an inventory alone, which is no failure */
	STATE_TARGET    = 1 << 3,  /* known only because we write there: versions found at a target */
};

struct state_rec {
	uint64_t    id;            /* dense, from 1, never reused */
	const char *backend, *name;
	uint64_t    head;          /* version number; 0: none yet */
	struct digest head_digest;
	uint64_t    versions;      /* highest version number */
	uint64_t    high_serial;   /* the highest serial ever seen or written under the head's lineage */
	const char *etag;          /* change tag at the last read; "" unknown */
	struct digest seen_digest; /* bytes at the last read, head or not */
	uint64_t    seen_version;  /* which version those are; 0: none (empty before any head) */
	int64_t     first_seen, last_changed, last_read;
	unsigned    flags;
	struct digest released;    /* a person let this digest go although judged otherwise; zero: none */
	const char *problem;       /* why the source cannot be read or used; "" */
};

struct version_rec {
	uint64_t      number;      /* from 1 within the state; assigned by the store when 0 */
	struct digest digest, semantic; /* semantic zero: not computed */
	uint64_t      serial, size, instances, resources;
	const char   *lineage, *writer; /* writer: terraform_version */
	enum state_kind kind;
	enum verdict  verdict;
	const char   *reason;      /* one clause for a person, "" for plain heads */
	int64_t       seen;        /* wall ms */
	const char   *run, *who, *operation; /* the terraform lock it was written under, "" unknown; it is counted in that run */
	const char   *origin;      /* "" source; VERSION_FROM_TARGET " EDGE BACKEND", VERSION_FROM_HISTORY or "restore": how it came here */
	int64_t       added, changed, removed; /* instances against the head before; -1: not known */
	bool          dropped;     /* a person removed its bytes (quarantine drop) */
	uint64_t      parent;      /* head before this version; 0: none */
};

#define VERSION_FROM_TARGET "target"
#define VERSION_FROM_HISTORY "history" /* the source kept it: it was read after it had been replaced there */
/* Kept because a target held it: never the head. */
bool version_is_evidence(const struct version_rec *v);

enum replica_status { REPLICA_PENDING, REPLICA_CURRENT, REPLICA_BEHIND, REPLICA_HELD, REPLICA_FAILED, REPLICA_UNKNOWN,
	REPLICA_PAUSED, REPLICA_STATUSES };
const char *replica_status_name(enum replica_status s);

struct replica_rec {
	const char   *edge, *target;  /* edge name, backend label */
	uint64_t      state;          /* source state id */
	const char   *name;           /* at the target */
	enum replica_status status;   /* as last settled; BEHIND and CURRENT are derived from the head by readers */
	struct digest digest;         /* verified bytes there; zero: never */
	uint64_t      version, serial;
	const char   *etag;
	int64_t       written, verified;
	const char   *error, *hint;   /* "" none */
	int           error_code;     /* enum err_code of error */
	bool          reencoded;      /* the target holds equal meaning in other bytes */
	struct digest resolved;       /* resolve --overwrite: bytes there that a person lets go; zero: none */
	int64_t       troubled;       /* wall ms since when it is held, fails or waits for a lock; 0: it does not, or nobody knows */
};

/* What we are about to do remotely: committed before the first request, settled with the result. */
enum intent_kind { INTENT_PUSH = 1, INTENT_SNAPSHOT, INTENT_RESTORE, INTENT_UNLOCK, INTENT_MIGRATE };
struct intent_rec {
	uint64_t      id;             /* from intent_new_id() */
	enum intent_kind kind;
	const char   *edge, *target;  /* edge "" for a restore or a migration */
	uint64_t      state;          /* source state id */
	const char   *name;           /* at the target */
	const char   *lock_id;        /* "" : no lock is taken */
	const char   *lock_body;      /* the exact bytes sent as lock body */
	struct digest digest;         /* what we want there */
	struct digest replaces;       /* what was there; zero: absent or not looked at yet */
	const char   *etag;
	int64_t       created, retry_at;
	uint64_t      tries;          /* looks of recovery that found nothing, each after its wait */
	bool          uncertain;      /* a lock or write may still arrive late */
	const char   *agent;          /* agent id that made it */
	uint64_t      epoch;          /* of the lease under which it was made; 0: none */
};

struct queue_rec {
	int64_t     due;              /* wall ms */
	const char *edge, *target;
	uint64_t    state;
	uint64_t    attempt;          /* failures so far */
	int64_t     waiting_since;    /* wall ms: a lock held by others is waited for since; 0: not */
};

/* What is known of one lock on a state: terraform's runs, and whoever else takes that lock. */
struct run_rec {
	uint64_t    number;           /* from 1 within the state; assigned */
	const char *lock;             /* its ID */
	const char *who, *operation, *created, *program; /* as its body says; "" unknown. program: terraform's version */
	int64_t     begun, seen;      /* wall ms: when it was seen first and last (to within a minute) */
	int64_t     ended;            /* wall ms when it was found gone; 0: it was held when last looked */
	int64_t     changed;          /* wall ms when its last version was seen; 0: none */
	uint64_t    versions;         /* how many of its are known */
	uint64_t    first_version, last_version, first_serial, last_serial; /* 0: none */
};
bool run_lasts(const struct run_rec *r);

struct event_rec {
	uint64_t    seq;              /* assigned */
	int64_t     time;
	const char *kind;             /* "verdict" "written" "held" "released" "restored" "lock" "adopted" ... */
	const char *backend, *name, *edge;
	const char *text;
};

/* ---------------------------------------------------------------- writing */

/* Collects changes; nothing happens before the operation is started. All of a batch or nothing of it. Strings and
 * records are copied. */
struct batch *batch_new(struct store *s);
void          batch_free(struct batch *b);                            /* one that was never applied */
/* Done = durable. ERR_CONFLICT: a precondition did not hold; ERR_IO: no room, or the disk failed; ERR_UNCERTAIN: the
 * commit's outcome could not even be found by reopening. Cannot be cancelled once queued. */
struct op    *store_apply(struct store *s, struct batch *owned);

/* Bodies are immutable, named by SHA-256; putting one twice costs nothing. It is stored when a version of the same
 * batch has that digest (a body that no version names would be nobody's). like: a body it probably resembles (its
 * previous version), NULL: none. Keeps a reference to body until the batch's operation is freed. ERR_CORRUPT from
 * store_apply(): the bytes are not those of d. */
void batch_body(struct batch *b, struct body *body, const struct digest *d, const struct digest *like);
/* Creates the state when it is new, as all that names a state by (backend, name) does but batch_drop, batch_semantic
 * and batch_for: those end with ERR_NOT_FOUND. The order of calls within a batch does not matter to versions, heads
 * and what refers to them. */
void batch_state(struct batch *b, const char *backend, const char *name);
/* Adds a version; one with the same digest, verdict and no gap since (it is what was seen last) is not added again;
 * nor one with an origin when the newest with its digest has the same verdict and origin. Its body must be in the
 * store or in this batch. seen 0: now; parent 0: the head before. Raises high_serial when it is of the head's
 * lineage. */
void batch_version(struct batch *b, const char *backend, const char *name, const struct version_rec *v);
/* Moves the head to the version with that digest. Precondition: the head is still *from (NULL: no head yet). */
void batch_head(struct batch *b, const char *backend, const char *name, const struct digest *from,
    const struct digest *to);
/* What the last look at the source gave. flags replaces all but STATE_TARGET, which stays once it was given. digest
 * NULL: keeps what was seen. */
struct sighting {
	const char          *etag;
	const struct digest *digest;
	int64_t              read;     /* wall ms; 0: not read, only listed */
	unsigned             flags;
	const char          *problem;
};
void batch_seen(struct batch *b, const char *backend, const char *name, const struct sighting *s);
/* d NULL: takes it back. */
void batch_release(struct batch *b, const char *backend, const char *name, const struct digest *d);
/* Its bytes go (unless another version has the same), the record stays. ERR_CONFLICT: it is the head. */
void batch_drop(struct batch *b, const char *backend, const char *name, uint64_t version);
void batch_semantic(struct batch *b, const char *backend, const char *name, uint64_t version, const struct digest *d);
void batch_high_serial(struct batch *b, const char *backend, const char *name, uint64_t serial); /* max() */
/* Of two states, the first keeps the name at the target. */
void batch_replica(struct batch *b, const struct replica_rec *r);
void batch_replica_del(struct batch *b, const char *edge, const char *target, uint64_t state);
void batch_intent(struct batch *b, const struct intent_rec *i);       /* adds or replaces */
void batch_settle(struct batch *b, uint64_t intent_id);               /* no precondition: one that is gone is fine */
/* One entry per edge, target and state: replaces it. */
void batch_queue(struct batch *b, const struct queue_rec *q);
/* When the entry exists only an earlier due is taken over and attempt is kept: "something changed". */
void batch_enqueue(struct batch *b, const struct queue_rec *q);
void batch_unqueue(struct batch *b, const char *edge, const char *target, uint64_t state);
/* Only if the state's head still is *head; otherwise, a newer head came meanwhile: due at once, attempt 0. */
void batch_unqueue_if(struct batch *b, const char *edge, const char *target, uint64_t state, const struct digest *head);
/* That lock is held, as of r->seen; of the rest what its body says is taken. The state is marked as locked from then on; a run of another
 * lock ends. It ends with the mark: batch_seen() without it. A version of the batch may name it. */
void batch_run(struct batch *b, const char *backend, const char *name, const struct run_rec *r);
void batch_event(struct batch *b, const struct event_rec *e);
void batch_meta(struct batch *b, const char *key, struct span value); /* value.p NULL: deletes */
uint64_t intent_new_id(struct store *s);                              /* random, never 0 */
/* Ids of states created in this batch are known only after the commit: replicas and queue entries for them name the
 * state by (backend, name) through this instead, and state in the record is 0. Applies to the calls that follow. */
void batch_for(struct batch *b, const char *backend, const char *name);

/* ---------------------------------------------------------------- reading */

/* A read lasts less than one turn of the loop. ERR_IO after a failed reopen. */
enum err_code store_read(struct store *s, struct store_txn **ret, struct err *reterr);
void          store_end(struct store_txn *t);
/* Functions below that find nothing return false, or 0, also when a record could not be read (changed on the disk,
 * or damaged): then this says so, ERR_OK otherwise. To be asked where "absent" would lead to an action. */
enum err_code store_txn_error(const struct store_txn *t, struct err *reterr);

bool store_state(struct store_txn *t, const char *backend, const char *name, struct state_rec *ret);
bool store_state_by_id(struct store_txn *t, uint64_t id, struct state_rec *ret);
/* In order of id, beginning after id after; fn returns false to stop. backend NULL: all. */
void store_states(struct store_txn *t, const char *backend, uint64_t after,
    bool (*fn)(void *arg, const struct state_rec *r), void *arg);
uint64_t store_state_count(struct store_txn *t);
uint64_t store_state_last_id(struct store_txn *t);

bool store_version(struct store_txn *t, uint64_t state, uint64_t number, struct version_rec *ret);
/* The newest version of the state with that digest. */
bool store_version_find(struct store_txn *t, uint64_t state, const struct digest *d, struct version_rec *ret);
/* Newest first. */
void store_versions(struct store_txn *t, uint64_t state, bool (*fn)(void *arg, const struct version_rec *r), void *arg);

/* The one that lasts, of a state that is locked; false: none is known. */
bool store_run(struct store_txn *t, const struct state_rec *s, struct run_rec *ret);
/* Newest first, only those with a lower number than before; 0: all. */
void store_runs(struct store_txn *t, uint64_t state, uint64_t before, bool (*fn)(void *arg, const struct run_rec *r), void *arg);

bool store_replica(struct store_txn *t, const char *edge, const char *target, uint64_t state, struct replica_rec *ret);
/* edge NULL: all. */
void store_replicas(struct store_txn *t, const char *edge, bool (*fn)(void *arg, const struct replica_rec *r),
    void *arg);
/* Which source state is written to that name of the target, by whichever edge? 0: none. */
uint64_t store_replica_owner(struct store_txn *t, const char *target, const char *name);

void store_intents(struct store_txn *t, bool (*fn)(void *arg, const struct intent_rec *r), void *arg);
bool store_intent(struct store_txn *t, uint64_t id, struct intent_rec *ret);
/* Entries of one edge and target, in order of due; edge NULL: all, one edge and target after the other. */
void store_queue(struct store_txn *t, const char *edge, const char *target,
    bool (*fn)(void *arg, const struct queue_rec *r), void *arg);
bool store_queued(struct store_txn *t, const char *edge, const char *target, uint64_t state, struct queue_rec *ret);
uint64_t store_queue_length(struct store_txn *t);
uint64_t store_commits(struct store_txn *t); /* since it was made: also a copy goes on from there; 0: it cannot be read */
/* Newest first, only those with a lower number than before; 0: all. */
void store_events(struct store_txn *t, uint64_t before, bool (*fn)(void *arg, const struct event_rec *r), void *arg);
bool store_meta(struct store_txn *t, const char *key, struct span *ret);   /* valid until store_end() */

bool store_has_body(struct store_txn *t, const struct digest *d);
/* Decodes into ret, which the caller frees; verified against d (ERR_CORRUPT). Above WORK_SMALL use the op. */
enum err_code store_body(struct store_txn *t, const struct digest *d, struct buf *ret, struct err *reterr);
uint64_t      store_body_size(struct store_txn *t, const struct digest *d);  /* raw size; 0: absent */
/* On the work pool; *ret is a reference the caller drops. Bodies above BODY_SPOOL_ABOVE come as files. */
struct op    *store_body_load(struct store *s, const struct digest *d, struct body **ret);

/* ---------------------------------------------------------------- care */

struct store_stats {
	uint64_t states, versions, blobs, blob_bytes, raw_bytes, file_bytes, map_bytes, commits, batches;
};
void          store_stats(struct store *s, struct store_stats *ret);
/* Every blob decodes to its digest, every reference resolves, counts agree; in steps on the work pool, so that the loop
 * goes on. problem sees one sentence each; ends OK however many there were. */
struct store_check {
	uint64_t versions, blobs, bytes, problems;
	void   (*problem)(void *arg, const char *text);
	void    *arg;
};
struct op    *store_check(struct store *s, struct store_check *ret);
/* An unlinked file for a large body in the store's folder: -1 and reterr when it cannot be had. */
int           store_spool_open(struct store *s, struct err *reterr);

#endif
