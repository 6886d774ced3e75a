/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_SCRATCH_H
#define SRC_PROVIDER_SCRATCH_H

#include "reach.h"

/*
 * What a store really does, shown by requests on objects of our own below .stateferry/probe/, where no state is looked for. A driver's
 * probe is a plan of steps, some of them its own, the others those below, which know nothing but the driver's calls. The objects are
 * deleted at the end, whatever happens; what a probe left that was killed in the middle is deleted by the next one: of this agent at
 * once, as it makes one at a time, of another when it is old.
 */
#define SCRATCH_FOLDER   ".stateferry/probe/"
#define SCRATCH_RACERS   8
#define SCRATCH_SKEW_MS  ((int64_t)5 * 60 * 1000)
#define SCRATCH_STALE_MS ((int64_t)15 * 60 * 1000) /* no probe takes that long: older objects are nobody's */
#define SCRATCH_DELETES  8                          /* at once */

enum scratch_name { SCRATCH_A, SCRATCH_RACE, SCRATCH_SUM, SCRATCH_LOCKED, SCRATCH_LOCK, SCRATCHES };

/* After a step: the next one; the next one of another check; no more; no more, and nothing was written that has to be deleted. */
enum scratch_verdict { SCRATCH_NEXT, SCRATCH_OTHER, SCRATCH_CLEAN, SCRATCH_END };

struct scratch;

struct scratch_step {
	const char           *check;
	struct op           *(*act)(struct scratch *s);   /* NULL: nothing to do */
	enum scratch_verdict (*judge)(struct scratch *s); /* its outcome is op.res; NULL: it goes on, whatever that is */
};

struct scratch_plan {
	const struct scratch_step *const *steps;          /* the first one judges also what is no answer */
	size_t             nsteps;
	const char        *wrong_etag;                    /* of no object, but of the form that change tags have */
	const char        *lock_suffix;                   /* of the lock object of a name; NULL: it is no object of its own */
};

struct scratch {
	struct op         op;         /* of the driver's class: scratch_run() is its step */
	struct backend   *b;
	const struct scratch_plan *plan;
	probe_fn         *seen;
	void             *arg;
	size_t            step;
	unsigned          said;       /* bits of checks */
	char             *folder, *own; /* of all probes, and of those of this agent, as names */
	char             *names[SCRATCHES];
	struct snapshot   bodies[2 + 2 * SCRATCH_RACERS], got; /* of ours; of each writer in the two races */
	char              etag[ETAG_MAX], etags[SCRATCH_RACERS][ETAG_MAX];
	struct err        outcomes[SCRATCH_RACERS]; /* of a race, or of cleaning */
	size_t            winner;     /* whose body */
	int               winners;
	struct lock_info  locks[2], holder;
	bool              locking;    /* one of them may be held */
	const char       *lock_remark; /* static, told with a lock that works; NULL: nothing */
};

/* dir: where the folder lies, "" or up to a "/". class has scratch_states as its names of states. */
void scratch_init(struct scratch *s, const struct op_class *class, struct backend *b, const struct scratch_plan *plan,
    struct span dir, probe_fn *seen, void *arg);
void scratch_free(struct scratch *s); /* contents */
enum op_turn scratch_run(struct op *op);
#define SCRATCH_STATES 5
extern const char *const scratch_states[SCRATCH_STATES];

/* For steps of a driver. */
void scratch_tell(void *scratch, const struct probe_check *c);
#define scratch_say(s, check, ok, ...) probe_say(scratch_tell, s, check, ok, false, __VA_ARGS__)
void scratch_say_failed(struct scratch *s, const char *check);
void scratch_say_clock(struct scratch *s, int64_t date_ms); /* what the server said; 0: nothing */
/* What the first listing showed of the way there, of the credentials and of itself. Who may not list may write all the same. */
struct scratch_reach {
	struct err  e;        /* of the listing, as its answer was understood */
	bool        answered, denied; /* denied: to list, not to come in */
	int64_t     date_ms;  /* of the answer; 0: it has none */
	const char *source;   /* of the credentials */
	const char *call;     /* the provider's name for a listing */
};
enum scratch_verdict scratch_reached(struct scratch *s, const struct scratch_reach *r);
/* A listed name below folder: may it be deleted? modified and now by the server's own clock; modified 0: unknown. */
bool scratch_is_leftover(const struct scratch *s, const char *name, int64_t modified, int64_t now);

/* Steps, in the order in which they build on each other. A driver's list_after_write is between read and if_match. */
extern const struct scratch_step scratch_create, scratch_create_again, scratch_read, scratch_match_wrong, scratch_match,
    scratch_race_create, scratch_race_created, scratch_race_replace, scratch_race_replaced, scratch_delete, scratch_recreate,
    scratch_lock_left, scratch_lock_sweep, scratch_lock, scratch_lock_again, scratch_unlock, scratch_unlocked;

#endif
