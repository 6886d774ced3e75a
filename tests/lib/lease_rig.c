/* SPDX-License-Identifier: MIT */
#include "lease_rig.h"

#include <stdlib.h>

#include "base/log.h"
#include "test.h"

struct agent_rig  fleet[2];
struct mem_world *fleet_a, *fleet_b;
struct loop      *fleet_loop;

void
fleet_join(unsigned agent, const char *dir)
{
	agent_rig_join(&fleet[agent], fleet_loop, dir, SHARED);
	agent_rig_world(&fleet[agent], "a", fleet_a);
	agent_rig_world(&fleet[agent], "b", fleet_b);
}

void
fleet_begin(unsigned agents)
{
	fleet_loop = loop_new_virtual(5, RIG_WALL);
	log_setup(LOG_ERROR, false, loop_clock(fleet_loop));
	memset(fleet, 0, sizeof(fleet));
	fleet_a = mem_world_new();
	fleet_b = mem_world_new();
	mem_world_put(fleet_a, "x.tfstate", rig_state(5, "L", 3, "a"));
	for (unsigned i = 0; i < agents; i++)
		fleet_join(i, NULL);
}

void
fleet_begin_at_work(void)
{
	fleet_begin(2);
	engine_start(fleet[0].engine);
	engine_start(fleet[1].engine);
	agent_rig_wait(&fleet[0], TTL);
}

void
fleet_end(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(fleet); i++)
		if (fleet[i].engine != NULL)
			engine_stop(fleet[i].engine);
	for (unsigned i = 0; i < ARRAY_LEN(fleet); i++)
		if (fleet[i].engine != NULL)
			agent_rig_close(&fleet[i]);
	CHECK_U64(mem_world_locks(fleet_a) + mem_world_locks(fleet_b), 0);
	mem_world_free(fleet_a);
	mem_world_free(fleet_b);
	loop_free(fleet_loop);
}

void
fleet_end_in_a_write(unsigned turns)
{
	unsigned waited = 0;

	while (mem_world_locks(fleet_b) == 0)
		CHECK(loop_turn(fleet_loop, false) && ++waited < 100000);
	for (unsigned i = 0; i < turns && mem_world_locks(fleet_b) > 0; i++)
		loop_turn(fleet_loop, false);
	engine_stop(fleet[0].engine);
	op_cancel_all(fleet_loop);
	while (mem_world_locks(fleet_b) > 0) {
		CHECK(!fleet_record_says("\"holder\":\"\""));
		CHECK(loop_turn(fleet_loop, false));
	}
	agent_rig_wait(&fleet[0], 1000);
	CHECK(engine_idle(fleet[0].engine) && fleet_record_says("\"holder\":\"\""));
	fleet_end();
}

void
fleet_reborn(unsigned i)
{
	char *dir = xstrdup(fleet[i].dir);

	agent_rig_close(&fleet[i]);
	fleet_join(i, dir);
	free(dir);
}

bool
fleet_equal(const char *name)
{
	struct span x, y;

	return mem_world_get(fleet_a, name, &x) && mem_world_get(fleet_b, name, &y) && span_eq(x, y);
}

bool
fleet_record_says(const char *what)
{
	struct span s;

	return mem_world_get(fleet_b, RECORD, &s) && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static void
fleet_see_lease(void *arg, const struct lane *l, const struct lease_view *v)
{
	struct fleet_who *w = arg;

	CHECK_STR(l->edge->name, "e");
	w->standing = v->standing;
	w->epoch = v->seen.record.epoch;
	w->n++;
}

struct fleet_who
fleet_who(unsigned agent)
{
	struct fleet_who w = { .n = 0 };

	engine_leases(fleet[agent].engine, fleet_see_lease, &w);
	CHECK_U64(w.n, 1);
	return w;
}

unsigned
fleet_leader(void)
{
	CHECK((fleet_who(0).standing == LEASE_OURS) != (fleet_who(1).standing == LEASE_OURS));
	return fleet_who(0).standing == LEASE_OURS ? 0 : 1;
}

static enum replica_status fleet_followed_as;

static void
fleet_see_replica(void *arg, const struct replica_view *v)
{
	(void)arg;
	fleet_followed_as = v->status;
}

/* How that agent says that the replica of x.tfstate stands. */
enum replica_status
fleet_says(unsigned agent)
{
	struct store_txn *t;
	struct state_rec  s;
	struct err        e;

	CHECK_OK(store_read(fleet[agent].store, &t, &e), e);
	CHECK(store_state(t, "a", "x.tfstate", &s));
	engine_replicas(fleet[agent].engine, t, &s, fleet_see_replica, NULL);
	store_end(t);
	return fleet_followed_as;
}

uint64_t
fleet_asked(unsigned agent, enum request_kind kind)
{
	return request_total(&plan_backend(engine_plan(fleet[agent].engine), "b")->stats[kind]);
}

/* As one that was killed leaves it. */
void
fleet_record_of(const char *holder, unsigned epoch)
{
	char text[400];

	snprintf(text, sizeof(text), "{\"stateferry_lease\":1,\"holder\":\"%s\",\"name\":\"before\",\"nonce\":\"n\",\"counter\":9,\"epoch\":%u,"
	    "\"transitions\":2,\"ttl_ms\":60000,\"since\":null}", holder, epoch);
	mem_world_put(fleet_b, RECORD, span_str(text));
}
