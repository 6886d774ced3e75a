/* SPDX-License-Identifier: MIT */
#ifndef SYNC_LEASE_H
#define SYNC_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/op.h"
#include "provider/records.h"

/*
 * Leases: which of several agents with the same configuration runs a replication. A lease is a small record that is changed
 * by compare-and-set only. Each renewal changes its bytes; whoever watches it takes it over when it stayed the same for 1.5 ttl
 * of the watcher's own CLOCK_BOOTTIME. No wall clock takes part: two hosts may disagree about the time by years.
 *
 * A lease saves work, it protects nothing: a process that is frozen in front of a write wakes up with a lease that is another's
 * by now. What protects a replica is that a write is conditional on what was compared (push.c).
 */
#define LEASE_TTL_MIN_MS     2000
#define LEASE_TTL_MAX_MS     (24 * 60 * 60 * 1000)
#define LEASE_FAILURES_MAX   1000
#define LEASE_HOLDER_MAX     64
#define LEASE_NAME_MAX       128
#define LEASE_NONCE_MAX      40
#define LEASE_STORES         8     /* agents whose stores a record knows of */
#define LEASE_FOLDER         "lease/" /* of the keys of its records */
#define LEASE_EXPIRES(ttl)   ((ttl) + (ttl) / 2) /* unchanged for so long: free for everybody */
#define LEASE_HOLDS(ttl)     ((ttl) / 2)         /* since the request of the last renewal began: so long a holder acts */

/* An agent that had the lease, and how far its store had come when it last wrote the record. */
struct lease_store {
	char     agent[LEASE_HOLDER_MAX];
	uint64_t commits;
};

struct lease_record {
	char     holder[LEASE_HOLDER_MAX]; /* agent id; "": handed over, free for everybody */
	char     name[LEASE_NAME_MAX];     /* of that agent, for people */
	char     nonce[LEASE_NONCE_MAX];   /* of its process */
	uint64_t counter;                  /* of its renewals: with the nonce, no two records are alike */
	uint64_t epoch;                    /* raised by each take-over */
	uint64_t transitions;              /* how often it went from one agent to another */
	uint64_t given;                    /* leases that the holder's process has handed over, this one or others */
	int64_t  ttl_ms;                   /* the holder's */
	int64_t  since;                    /* wall ms by the holder's clock, for people only; 0: unknown */
	struct lease_store stores[LEASE_STORES]; /* the last that wrote it first; agent "": no more */
};
/* How far that agent's store had come at least; 0: it does not say. */
uint64_t      lease_record_commits(const struct lease_record *r, const char *agent_id);

/* One JSON object, members in a fixed order. */
void          lease_record_write(const struct lease_record *r, struct buf *ret);
/* Unknown members are ignored. ERR_CORRUPT: no record of a lease. */
enum err_code lease_record_read(struct span json, struct lease_record *ret, struct err *reterr);

/* A record as it was read, and which one it was. */
struct lease_seen {
	struct lease_record record;
	char                revision[ETAG_MAX];
};

struct lease;

/* The leases of one agent. Those that another agent keeps are looked at in turn, for what it hands over it tells in all of them; when one
 * of its leases was handed over, or taken from it, the others are looked at at once. Zeroed at first; outlives them. */
struct lease_group {
	struct lease *first;
	uint64_t      given;
};

struct lease_conf {
	struct loop        *loop;
	struct records     *coordinator;  /* borrowed */
	const char         *key;          /* copied, as are the ids; the record's is LEASE_FOLDER KEY */
	const char         *target;       /* of the work that it stands for, for people; copied; NULL: none */
	const char         *agent_id, *agent_name;
	int64_t             ttl_ms;       /* LEASE_TTL_MIN_MS to LEASE_TTL_MAX_MS */
	unsigned            max_failures; /* in a row, then it is given up for a while; 0: never */
	struct lease_group *group;        /* NULL: it is the only one */
	void              (*changed)(void *arg); /* held or not any more; from the loop; NULL: nobody asks */
	/* Another holds it, and we may have to take it soon: what intend will need is found out meanwhile, asked after each look at
	 * its record. Where that fails intend says so. NULL: there is nothing. */
	struct op        *(*prepare)(void *arg);
	/* Before it is taken: was is the record that lies there (epoch 0: none), *epoch the one that ours will have, which may be raised.
	 * The op notes that durably; when it fails nothing is sent. NULL: nothing is noted. */
	struct op        *(*intend)(void *arg, const struct lease_record *was, uint64_t *epoch);
	uint64_t         (*commits)(void *arg); /* how far our store has come, for the record. NULL: it does not say */
	/* Work begun under it still runs: it is kept until lease_work_ended(). NULL: never. */
	bool              (*busy)(void *arg);
	void               *arg;
	uint64_t           *requests;     /* what it asks is counted there; outlives it. NULL: nowhere */
};

struct lease *lease_new(const struct lease_conf *c);
void          lease_free(struct lease *l);   /* idle */
/* Takes it when it is free or has expired, and keeps it, until lease_leave(). */
void          lease_start(struct lease *l);
/* Hands over what is held, so that a successor need not wait for it to expire, and ends. What was being done under the lease has
 * ended by now. */
void          lease_leave(struct lease *l);
bool          lease_idle(const struct lease *l);
/* Ends without handing over: what is held stays so until it expires, or lease_start() goes on with it, maybe at another coordinator. One
 * that does not run reads the record once. */
void          lease_pause(struct lease *l);
void          lease_move(struct lease *l, struct records *to, void *arg, uint64_t *requests); /* idle */
void          lease_belongs_to(struct lease *l, const char *agent_id);         /* copied; what was another agent's is not ours */
/* By a person: it is handed over once nothing runs under it, and not taken again until the same with false. */
void          lease_release(struct lease *l, bool released);
void          lease_work_ended(struct lease *l);
bool          lease_is_held(const struct lease *l); /* also one that is not acted under any more, because it is about to be handed over */

/* May we act now? To be asked again before each write. */
bool          lease_holds(const struct lease *l);
bool          lease_is_ours_alone(const struct lease *l); /* whether we may act or not: nobody else has it */
uint64_t      lease_epoch(const struct lease *l);  /* of the last time that it was ours; 0: never */
/* Is that the id of a lock (provider/lock_info.h) of an agent that has held this very lease, as far as its record tells? */
bool          lease_was_of(const struct lease *l, const char *lock_id);
/* What came of the work that it stands for. After max_failures in a row it is handed over and left to others for a while. */
void          lease_worked(struct lease *l);
void          lease_failed(struct lease *l);
/* Can we do that work at all? Who cannot neither takes it nor keeps it. True until it is said. */
void          lease_able(struct lease *l, bool able);

enum lease_standing {
	LEASE_WATCHING,  /* another's record, not seen to change yet; or not read yet */
	LEASE_OURS,
	LEASE_THEIRS,    /* and it was renewed while we watched */
	LEASE_YIELDED,   /* given up after failures, for a while, or as long as the work cannot be done here */
	LEASE_RELEASED,  /* given up by a person, until that person takes it back */
	LEASE_UNREAD,    /* the coordinator does not answer, or refuses us */
};
const char   *lease_standing_name(enum lease_standing s); /* static */
struct lease_view {
	enum lease_standing standing;
	struct lease_seen   seen;     /* the last record that was read or written; epoch 0: none */
	int64_t             expires_ms; /* another's: so long without a change, and it is free; -1: ours, or nobody's */
	struct err          why;      /* UNREAD */
};
void          lease_look(const struct lease *l, struct lease_view *ret);

#endif
