/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdio.h>

#include "base/map.h"
#include "base/rand.h"
#include "loop/loop_impl.h"
#include "provider/provider.h"
#include "sync/engine.h"

/*
 * A world in virtual time: agents with the same configuration, each the real engine on a store of its own, and servers in memory
 * that they reach through a network that loses, delays, repeats and cuts. Terraform and an operator work beside them. One seed
 * is one run, and the same seed is the same run. After the faults everything is healed, and the agents must bring every replica up
 * to date. A broken invariant ends the process: each seed has one of its own.
 */
#define SIM_AGENTS   5
#define SIM_SERVERS  3          /* "a" is the source, the others are targets */
#define SIM_OBJECTS  24         /* of one server: states, their locks, leases */
#define SIM_STATES   3
#define SIM_GRANTS   4096       /* locks that were ever taken */
#define SIM_WALL     INT64_C(1790000000000)
#define SIM_EDGE     "e"
#define SIM_LEASE    ".stateferry/lease/" SIM_EDGE
#define SIM_CANARY   "sim-canary-5ecret"

/* What can go wrong; each can be turned off, so that a failing seed can be made smaller. */
enum sim_fault {
	FAULT_REFUSED, FAULT_LOST_REQUEST, FAULT_LOST_ANSWER, FAULT_LATE, FAULT_TWICE, FAULT_CUT, FAULT_BUSY, FAULT_RACED,
	FAULT_PARTITION, FAULT_DOWN, FAULT_DRIFT, FAULT_WALL, FAULT_FREEZE, FAULT_KILL, FAULT_OLD_STORE, FAULT_NO_STORE, FAULT_STOP,
	FAULT_TF_CRASH, FAULT_TF_HALF, FAULT_TF_LATE, FAULT_TF_FORCE, FAULT_TF_TARGET, FAULT_OPERATOR, FAULT_COUNT
};
extern const char *const sim_fault_names[FAULT_COUNT];

/* What servers enforce. Locks of S3 and GCS are objects; Azure leases its blobs; HTTP compares the ID of a lock, and has no
 * preconditions; a store without locks has nothing but preconditions. */
enum sim_kind { SIM_S3, SIM_GCS, SIM_AZURE, SIM_HTTP, SIM_BARE, SIM_KINDS };

struct sim_object {
	char        *name;
	struct body *body;              /* NULL: nothing is there */
	char         tag[ETAG_MAX];
	struct digest digest;
	uint64_t     serial, resources;
	char         lineage[64];
	char        *lock;              /* Azure, HTTP: its body */
	char         lock_id[256];
};

struct sim_server {
	const char       *label;
	enum sim_kind     kind;
	struct sim_object objects[SIM_OBJECTS];
	size_t            nobjects;
	uint64_t          generation;
	int64_t           down_until;
	bool              stalls;       /* while it is down: no answer, instead of a refusal */
	uint64_t          epoch;        /* the highest that was ever written to its lease */
};

/* A lock that somebody took. */
struct sim_grant {
	struct sim_server *at;
	char               id[64];
	int                agent;       /* -1: terraform */
	uint64_t           epoch;       /* of the lease, as its Info says; 0: none */
};

struct sim_agent {
	struct sim        *sim;
	unsigned           index;
	unsigned           life;        /* raised by each start */
	bool               up, stopping;
	struct loop       *loop;
	struct work       *work;
	struct store      *store;
	struct engine     *engine;
	struct provider_env env;
	char               name[24], *dir;
	int64_t            base_local, base_world, rate;   /* of its monotonic clock: rate / 10000 */
	int64_t            wall_off;
	bool               wall_set;    /* once at least */
	int64_t            frozen_until;
	bool               freezing;    /* once what it is in the middle of is done: a request is on its way, or was not begun */
	int64_t            cut_until;   /* partitioned, from the servers in cut_mask */
	unsigned           cut_mask;
	bool               holds[SIM_SERVERS];
	int64_t            held_at[SIM_SERVERS]; /* last */
	struct op         *asked;       /* of a person; NULL: none */
	struct digest     *kept;        /* versions that its store has acknowledged, as of its last death */
	size_t             nkept;
	struct timer       again, term; /* on the world's loop: it starts again; it has had its time to stop */
	struct timer       struck;      /* likewise: killed or frozen, in the middle of a write */
	bool               copied;      /* there is a copy of its store */
};

struct sim {
	uint64_t           seed;
	unsigned           faults;      /* bits 1 << FAULT_... that are on */
	bool               trace;
	uint64_t           hash;        /* of everything that happened */
	struct rand        rand, luck;  /* what happens; what befalls a message */
	struct loop       *world;       /* its clock is the time of all */
	bool               healed, ended;
	int64_t            heal_at, bound_at;
	bool               odd;         /* something happened that only a person can decide */
	bool               lease;
	int64_t            ttl_ms;
	unsigned           trouble;     /* per mille of messages */
	struct sim_agent   agents[SIM_AGENTS];
	unsigned           nagents;
	struct sim_server  servers[SIM_SERVERS];
	unsigned           nservers;
	const char        *states[SIM_STATES];
	unsigned           nstates;
	struct sim_grant   grants[SIM_GRANTS];
	size_t             ngrants;
	struct map        *written;     /* digests of what terraform ever wrote */
	struct map        *released, *resolved; /* digests that a person let go, and let be overwritten */
	bool               late_for_long; /* healing hurries nothing that is under way */
	bool               lock_again;  /* a lock may come to be long after it was released ... */
	bool               locked_again; /* ... and has: the next write meets it */
	bool               lost;        /* an agent forgot what it had done: its locks are a person's business */
	char              *conf;
	struct sim_message *messages;
	char              *dir;
	struct timer       tick;        /* of the healed world */
	int64_t            quiet_since;
	uint64_t           turns, sent, hits[FAULT_COUNT];
	struct sim_stats  *stats;
};

/* Shared with the parent. */
struct sim_stats {
	uint64_t hash, turns, sent, virtual_ms, versions, writes;
	uint64_t hits[FAULT_COUNT], kinds[SIM_KINDS];
};

/* --- sim.c: time, and who runs next --- */
/* Ends the process when an invariant is broken. */
void     sim_run(uint64_t seed, unsigned faults, bool trace, const char *dir, struct sim_stats *stats);
int64_t  sim_now(const struct sim *s);
bool     sim_on(const struct sim *s, enum sim_fault f);      /* may it happen now? */
void     sim_hit(struct sim *s, enum sim_fault f);           /* it did */
uint64_t sim_below(struct sim *s, uint64_t n);
bool     sim_chance(struct sim *s, unsigned per_mille);
void     sim_strike(struct sim_agent *a);                     /* it is writing: perhaps this is its end */
int64_t  sim_local(const struct sim_agent *a, int64_t world);
/* Everything that happens goes through here: into the hash, and to stdout when it is traced. */
void     sim_say(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void     sim_fail(struct sim *s, const char *invariant, const char *fmt, ...) __attribute__((format(printf, 3, 4), noreturn));

/* --- agent.c --- */
void agent_open(struct sim_agent *a);
void agent_kill(struct sim_agent *a);                         /* -9 */
void agent_back(struct sim_agent *a, int64_t ms);             /* it starts again after so long */
void agent_stop(struct sim_agent *a);                         /* SIGTERM; agent_turned() closes it when it has ended */
void agent_turned(struct sim_agent *a);                       /* after each of its turns */
void agent_keep_copy(struct sim_agent *a);                    /* of its store, as a backup does */
bool agent_put_back(struct sim_agent *a);                     /* not running; false: there is no copy */
void agent_lose_store(struct sim_agent *a);                   /* not running */
void agent_check_store(struct sim_agent *a);                  /* I1: running */

/* --- server.c --- */
struct sim_object *server_find(struct sim_server *v, const char *name);  /* NULL: neither there nor locked */
void        server_put(struct sim *s, struct sim_server *v, const char *name, struct body *body);   /* NULL: removes */
bool        server_locks(const struct sim_server *v);
/* Body of the lock on that state; NULL: not locked. id: of it. */
const char *server_lock_of(struct sim_server *v, const char *name, char id[256]);
void        server_lock(struct sim *s, struct sim_server *v, const char *name, const char *body, const char *id);
void        server_unlock(struct sim *s, struct sim_server *v, const char *name);
unsigned    server_caps(enum sim_kind k);
const char *sim_kind_name(enum sim_kind k);

/* --- net.c: one request on its way, and its answer --- */
enum sim_verb { VERB_LIST, VERB_HEAD, VERB_GET, VERB_PUT, VERB_DEL, VERB_LOCK, VERB_UNLOCK, VERB_PEEK };

struct sim_listed {
	char     *name, tag[ETAG_MAX];
	uint64_t  size;
	bool      locked;
};

struct sim_message {
	struct sim        *sim;
	struct sim_agent  *from;
	unsigned           life;
	struct sim_server *at;
	enum sim_verb      verb;
	char              *name, *lock;      /* lock: body of a lock */
	char               tag[ETAG_MAX], lock_id[256];
	struct body       *body;
	enum put_if        when;
	/* the answer */
	struct err         outcome;
	struct body       *got;
	char               got_tag[ETAG_MAX];
	char              *got_lock;
	struct sim_listed *list;
	size_t             nlist;
	/* its way */
	bool               sent, cut, reset; /* reset: instead of an answer the connection breaks off */
	bool               again;            /* it arrives a second time before it is answered */
	bool               told;             /* that it broke off, before it arrives */
	bool               forced;           /* sent while a person asked for something */
	unsigned           refs;             /* timers, and who waits */
	void             (*answered)(void *arg);
	void              *arg;              /* NULL: nobody waits */
	struct timer       arrives, twice, answers;
	struct deferred    deferred;
	struct sim_message *prev, *next;
};

bool                verb_writes(enum sim_verb v);
struct sim_message *message_new(struct sim_agent *a, struct sim_server *v, enum sim_verb verb, const char *name);
/* answered is called on the agent's loop, unless message_forget() comes first. */
void                message_send(struct sim_message *m, void (*answered)(void *arg), void *arg);
void                message_forget(struct sim_message *m);   /* nobody waits any more; what is under way goes on */
void                net_heal(struct sim *s);                 /* what is late arrives soon, in most worlds */
bool                net_is_late(const struct sim *s);        /* something is under way that nobody waits for */

/* --- apply.c: what a server does with it --- */
void message_apply(struct sim_message *m);

/* --- driver.c: the backend that the engine sees --- */
void driver_attach(struct backend *b, struct sim_agent *a);

/* --- check.c --- */
void check_put(struct sim_message *m, const struct sim_object *before, const struct body *after);  /* before NULL: nothing is there */
void check_is_led(const struct backend *b, const struct sim_message *m);   /* before a write of a state leaves */
void check_lock_goes(struct sim_message *m, const char *name, const char *id);
void check_grant(struct sim *s, struct sim_server *v, int agent, const char *body);
void check_turn(struct sim_agent *a);
void check_heal_begin(struct sim *s);
void check_end(struct sim *s);

/* --- actors.c --- */
bool person_asks(const struct sim *s);    /* some agent to do something */
void actors_begin(struct sim *s);
void actors_heal(struct sim *s);
void actors_write(struct sim *s, bool all);   /* terraform at the source; else where chance will have it, and nothing is there */
void operator_helps(struct sim *s);   /* in a healed world, where only a person can decide */
void operator_unlocks(struct sim *s); /* what an agent forgot with its store, and no lease tells whose it was */

#endif
