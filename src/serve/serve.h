/* SPDX-License-Identifier: MIT */
#ifndef SRC_SERVE_SERVE_H
#define SRC_SERVE_SERVE_H

#include "base/json.h"
#include "base/mem.h"
#include "serve/api.h"

#define API_REPLY_MAX    ((size_t)1 << 30) /* a document of ours: a million states fit */
#define API_TURN_RECORDS 1000              /* looked at in one turn of the loop, */
#define API_TURN_MS      2                 /* and no new one after so long */
#define API_PROBLEMS_MAX 1000              /* printed; the rest is counted */

/* One request while it runs: what a handler reads its arguments from and writes its document to. */
struct call {
	struct op           op;
	struct engine      *e;
	const struct route *route;
	struct api_arg     *args;     /* owned, like their strings */
	size_t              nargs;
	struct api_reply   *ret;
	struct buf          out;
	struct json_writer  w;        /* inside the top object, after format_version */
	int                 exit;     /* of a document that succeeded */
	struct body        *body;     /* instead of a document: exact bytes */
	const char         *type;     /* of body */
	char                where[300]; /* of an error; the route's name unless a handler knows better */
	struct err          refused;  /* found before anything ran */
	bool                asks_alias; /* call_ask(): only an answer can tell which state is meant */
};

/*
 * A handler returns what has to be waited for; NULL: the document is complete, or *reterr says why not. Whatever it writes
 * before that op ended badly is thrown away.
 */
typedef struct op *route_fn(struct call *c, struct err *reterr);

#define ROUTE_ARGS 10

struct route {
	const char *method, *name;
	route_fn   *fn;
	const char *args[ROUTE_ARGS]; /* names it knows; others are refused */
};
extern const struct route routes[];

route_fn api_status, api_agent, api_list, api_log, api_runs, api_cat, api_show, api_sync, api_restore, api_restore_out, api_migrate,
    api_locks, api_lease, api_lease_release, api_unlock, api_unlock_look, api_quarantine, api_release, api_drop, api_resolve, api_resolve_plan,
    api_adopt, api_adopt_plan, api_check, api_probe, api_events, api_ops, api_metrics;

/* The first value; NULL: absent. call_need(): it is an error when that is missing or empty. */
const char   *call_arg(const struct call *c, const char *name);
bool          call_flag(const struct call *c, const char *name);    /* "1", "true" or empty */
enum err_code call_need(const struct call *c, const char *name, const char **ret, struct err *reterr);
/* "state", or name= with backend=, as an address; where follows it. */
enum err_code call_address(struct call *c, struct address *ret, struct err *reterr);
/* What a person calls a state and nobody here knows: asks the inventory of its backend. NULL: there is nothing to ask. */
struct op    *call_ask(struct call *c);
/* Of a "state" that ends in @serial=N: finds the version and puts its number there. NULL: there is none, or *reterr. */
struct op    *call_serial(struct call *c, struct err *reterr);
/* RFC 3339, or an age before now. */
enum err_code call_time(const struct call *c, const char *text, int64_t *ret_wall, struct err *reterr);

/* Work on the store in turns of the loop, each with a read of its own. fn is called again while it left more set; it asks
 * turn_room() before each record, which sets that when it says no. arg is freed with the op. ERR_BUSY: the plan was replaced
 * meanwhile. */
struct turn {
	struct call      *c;
	struct store_txn *t;
	bool              more;
	unsigned          n;          /* records so far */
	int64_t           begun;
};
bool turn_room(struct turn *t);
/* Calls fn for the versions of that state from number *next down, *next being where to go on; true: the end, or fn said false. */
bool turn_versions(struct turn *t, uint64_t state, uint64_t *next, bool (*fn)(void *arg, const struct version_rec *v), void *arg);
struct turns {
	enum err_code (*fn)(void *arg, struct turn *t, struct err *reterr);
	void (*free)(void *arg);
	void  *arg;
};
struct op *turns_op(struct call *c, const struct turns *t);

/* Calls fn for every state, in turns; backend NULL: all. ended (may be NULL) completes the document. */
struct walk {
	bool (*fn)(void *arg, struct store_txn *t, const struct state_rec *s); /* false: no more */
	enum err_code (*ended)(void *arg, struct err *reterr);
	void (*free)(void *arg);
	void  *arg;
};
struct op *walk_op(struct call *c, const char *backend, const struct walk *w);

/* A child with an end: done writes the document after child ended OK; it may also turn an error into a document by changing
 * *res. */
struct op *then_op(struct call *c, struct op *child, void (*done)(struct call *c, void *arg, struct err *res),
    void (*release)(void *arg), void *arg);

/* --- pieces of documents --- */
void put_digest(struct json_writer *w, const char *key, const struct digest *d);         /* zero: null */
void put_text(struct json_writer *w, const char *key, const char *s);                    /* "": null */
void put_count(struct json_writer *w, const char *key, int64_t n);                       /* negative: null */
void put_state(struct json_writer *w, const char *key, const char *backend, const char *name); /* BACKEND:NAME */
void put_error(struct json_writer *w, const struct err *e, const char *where);           /* members of "error" */
/* How far a restore or a migration is, if op is one. */
struct restore_progress {
	const char *kind;           /* "restore", "migrate" */
	const char *step;           /* of the first that runs; static */
	uint64_t    total, done, failed; /* states; total 0: not known yet */
};
bool api_restore_progress(const struct op *op, struct restore_progress *ret);
/* A member "leases". edge NULL: of all. */
void put_leases(struct call *c, const char *edge);
/* For then_op(): a copied struct address. */
void address_release(void *arg);
struct place_health api_health_of(struct engine *e, const char *label);

#endif
