/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_AGENT_RIG_H
#define TESTS_LIB_AGENT_RIG_H

#include "provider/mem.h"
#include "sync/engine.h"

/*
 * A whole agent in virtual time: real plan, engine and store, backends of any kind, no thread and no socket. Several of them
 * may share one loop (agent_rig_join) and the same mem worlds.
 */
struct agent_rig {
	struct loop        *loop;
	struct work        *work;
	struct store       *store;
	struct engine      *engine;
	struct provider_env env;
	struct http_client *http;      /* set before opening when backends need one */
	char               *dir;       /* of the store */
	bool                own_loop;
	struct err          err;
};

#define RIG_WALL INT64_C(1790000000000) /* when every run begins */

/* text: configuration; "agent { store = ... }" is added. dir NULL: a fresh folder. Fails the test unless it opens. */
void agent_rig_open(struct agent_rig *r, uint64_t seed, const char *dir, const char *text);
/* As agent_rig_open, with new worlds behind the mem backends "a" and "b"; their end, at which no lock may be left in them. */
void agent_rig_pair(struct agent_rig *r, const char *text, struct mem_world **ret_a, struct mem_world **ret_b);
void agent_rig_pair_end(struct agent_rig *r, struct mem_world *a, struct mem_world *b);
/* Fails the test unless both hold that name, with the same bytes. */
void agent_rig_pair_equal(struct mem_world *a, struct mem_world *b, const char *name);
/* As agent_rig_open, on an existing loop: another agent. */
void agent_rig_join(struct agent_rig *r, struct loop *loop, const char *dir, const char *text);
/* Only reads and opens the plan: what is wrong with it, as one message (static). NULL: nothing. */
const char *agent_rig_plan_error(const char *text);
/* The plan of another configuration, for engine_reload(). */
struct plan *agent_rig_plan(struct agent_rig *r, const char *text);
void agent_rig_close(struct agent_rig *r);

/* Runs op (NULL: time only) to its end; its outcome in r->err. Fails the test when it does not end within virtual ms. */
enum err_code agent_rig_run(struct agent_rig *r, struct op *op, int64_t ms);
void agent_rig_wait(struct agent_rig *r, int64_t ms);
/* One pass over all edges; the caller frees ret. */
void agent_rig_sync(struct agent_rig *r, struct pass_result *ret);
/* Of a pass: the counts of its first edge as "written unchanged held failed" (static). */
const char *agent_rig_counts(const struct pass_result *p);
const char *agent_rig_sync_counts(struct agent_rig *r); /* of one that is made now */

struct mem_world *agent_rig_world(struct agent_rig *r, const char *label, struct mem_world *w); /* attaches w, returns it */
/* A v4 state of n instances; serial and lineage given; tweak changes one attribute. Static, rotating over 16 buffers. */
struct span rig_state(uint64_t serial, const char *lineage, unsigned n, const char *tweak);

#endif
