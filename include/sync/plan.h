/* SPDX-License-Identifier: MIT */
#ifndef SYNC_PLAN_H
#define SYNC_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "conf/conf.h"
#include "provider/provider.h"

/*
 * What the configuration asks for: settings of the agent, opened backends, and edges between them. Immutable once
 * loaded; a reload loads another one and swaps. Everything that can be wrong without asking a remote is found here.
 */
struct settings {
	const char    *store;          /* folder, absolute */
	const char    *socket;         /* default STORE/agent.sock */
	const char    *name;           /* shown in locks; default: host name */
	bool           name_given;     /* then the store is bound to it */
	enum log_level log;
	bool           log_json;
	const struct secret *encryption_key; /* as written; NULL: none */
};

enum edge_kind { EDGE_REPLICATE, EDGE_SNAPSHOT };
enum edge_compress { COMPRESS_ZSTD, COMPRESS_NONE };

/* state "NAME" { } inside an edge. */
struct edge_override {
	const char      *name;
	struct conf_strs to;           /* n 0: the edge's */
	const char      *key;          /* NULL: the edge's */
	bool             paused;
};

/* lease { } inside an edge. */
struct edge_lease {
	bool    on;
	int64_t ttl_ms, max_failures;
	struct records *records;       /* where they are kept (provider/records.h); NULL: at each target */
};

/* Nothing that was agreed under the one has changed in the other. */
bool edge_lease_same(const struct edge_lease *a, const struct edge_lease *b);

/* One target of one edge: what the queue, the limits and the results are kept for. */
struct lane {
	struct edge    *edge;
	struct backend *to;
	size_t          index;         /* within the plan: dense, for arrays of run-time data */
};

struct edge {
	enum edge_kind   kind;
	const char      *name;
	struct conf_pos  pos;
	struct backend  *from;
	struct lane     *lanes;        /* targets of the edge and of its overrides, each label once */
	size_t           nlanes;
	size_t           nto;          /* the first nto lanes are the edge's own `to` */
	struct conf_strs include, exclude;
	const char      *key;          /* replicate: template, "{name}" */
	struct edge_override *overrides;
	size_t           noverrides;
	struct edge_lease lease;
	const char      *prefix;       /* snapshot: below the target's own prefix, ends with "/" or is "" */
	int64_t          every_ms;     /* snapshot: 0 every change */
	enum edge_compress compress;
};

/* state "NAME" { } inside a backend. */
struct state_setting {
	const char *backend, *name, *alias; /* alias NULL: none */
	int64_t     max_shrink;             /* percent; -1: the backend's */
};

struct plan {
	struct conf          *conf;
	const char           *path;
	struct settings       settings;
	struct backend      **backends;
	size_t                nbackends;
	struct edge          *edges;
	size_t                nedges, nlanes;
	struct state_setting *states;
	size_t                nstates;
};

/* Two steps, because the backends need the store's folder and the loop: settings first, then everything.
 * path NULL: looks where the interface says; ERR_NOT_FOUND names the places looked at. */
enum err_code plan_read(const char *path, const struct conf_source *src, struct plan **ret, struct err *reterr);
/* Of a text that is in no file yet; paths in it are relative to dir. */
enum err_code plan_parse(const char *name, const char *dir, struct span text, const struct conf_source *src, struct plan **ret,
    struct err *reterr);
enum err_code plan_open(struct plan *p, const struct provider_env *env, struct err *reterr);
void          plan_free(struct plan *p);

struct backend *plan_backend(const struct plan *p, const char *label);   /* NULL: not configured */
struct edge    *plan_edge(const struct plan *p, const char *name);
bool            edge_goes_to(const struct edge *e, const struct backend *b); /* is it one of its targets, of overrides too? */
bool            plan_is_source(const struct plan *p, const struct backend *b);
bool            plan_is_target(const struct plan *p, const struct backend *b);
const struct state_setting *plan_state(const struct plan *p, const char *backend, const char *name);
int64_t         plan_max_shrink(const struct plan *p, const struct backend *b, const char *name);
/* What people call it: as configured, or as the backend's inventory has it. NULL: nothing. */
const char     *plan_alias(const struct plan *p, const char *backend, const char *name);
/* The name behind an alias, else name itself, in the one form that it has there; owned by the caller. */
char           *plan_unalias(const struct plan *p, const char *backend, const char *name);

/* Does the lane carry this state, and under which name at the target. */
enum mapping { MAP_NO, MAP_YES, MAP_PAUSED, MAP_ERROR };
/* ret gets the name (YES and PAUSED); MAP_ERROR says in reterr why the name cannot be (too long, "..", a fixed target). Snapshot
 * lanes: the folder of the state's history, without the file name. */
enum mapping    lane_map(const struct plan *p, const struct lane *l, const char *name, struct buf *ret, struct err *reterr);
/* Would the edge take the state at all (include, exclude)? */
bool            edge_selects(const struct edge *e, const char *name);

/* What is allowed and perhaps not meant, as names that terraform would look for elsewhere: one sentence each, and a hint. */
void            plan_advise(const struct plan *p, void (*say)(void *arg, const struct err *advice), void *arg);

/* The tables of the blocks, for help, config show and the man page. */
extern const struct conf_field agent_fields[], replicate_fields[], snapshot_fields[], override_fields[], lease_fields[], state_fields[];
void            plan_print(const struct plan *p, struct buf *ret);      /* effective configuration, secrets masked */

#endif
