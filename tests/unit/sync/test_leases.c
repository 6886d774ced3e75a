/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/log.h"

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* Agents with the same configuration, which share an edge through the lease at its target. In virtual time, on one loop. */
#define BACKENDS "backend \"mem\" \"a\" {\n  poll = \"10s\"\n}\nbackend \"mem\" \"b\" {\n  poll = \"10s\"\n}\n"
#define EDGE(lease) "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n" lease "}\n"
#define SHARED BACKENDS EDGE("  lease {\n    ttl = \"60s\"\n  }\n")
#define TTL INT64_C(60000)
#define RECORD ".stateferry/lease/e"

#define DEAD(epoch) "{\"stateferry_lease\":1,\"holder\":\"dead\",\"name\":\"edge-dead\",\"nonce\":\"n\",\"counter\":9,\"epoch\":" epoch \
    ",\"transitions\":2,\"ttl_ms\":60000,\"since\":null}"
#define LEFT(epoch, operation) "{\"ID\":\"left\",\"Operation\":\"" operation "\",\"Info\":\"replicate e to b, epoch " epoch \
    "; if that host is gone, \\\"terraform force-unlock ID\\\" is safe\",\"Who\":\"stateferry@edge-dead\",\"Version\":\"1\"," \
    "\"Created\":\"2026-11-23T12:00:00Z\",\"Path\":\"\"}"

static struct agent_rig  r[2];
static struct mem_world *a, *b;
static struct loop      *loop;

static void
begin(unsigned agents)
{
	loop = loop_new_virtual(5, RIG_WALL);
	log_setup(LOG_ERROR, false, loop_clock(loop));
	memset(r, 0, sizeof(r));
	a = mem_world_new();
	b = mem_world_new();
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 3, "a"));
	for (unsigned i = 0; i < agents; i++) {
		agent_rig_join(&r[i], loop, NULL, SHARED);
		agent_rig_world(&r[i], "a", a);
		agent_rig_world(&r[i], "b", b);
	}
}

static void
end(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(r); i++)
		if (r[i].engine != NULL)
			engine_stop(r[i].engine);
	for (unsigned i = 0; i < ARRAY_LEN(r); i++)
		if (r[i].engine != NULL)
			agent_rig_close(&r[i]);
	CHECK_U64(mem_world_locks(a) + mem_world_locks(b), 0);
	mem_world_free(a);
	mem_world_free(b);
	loop_free(loop);
}

static bool
equal(const char *name)
{
	struct span x, y;

	return mem_world_get(a, name, &x) && mem_world_get(b, name, &y) && span_eq(x, y);
}

static bool
record_says(const char *what)
{
	struct span s;

	return mem_world_get(b, RECORD, &s) && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

struct who {
	enum lease_standing standing;
	uint64_t            epoch, n;
};

static void
see_lease(void *arg, const struct lane *l, const struct lease_view *v)
{
	struct who *w = arg;

	CHECK_STR(l->edge->name, "e");
	w->standing = v->standing;
	w->epoch = v->seen.record.epoch;
	w->n++;
}

static struct who
who(unsigned agent)
{
	struct who w = { .n = 0 };

	engine_leases(r[agent].engine, see_lease, &w);
	CHECK_U64(w.n, 1);
	return w;
}

static unsigned
leader(void)
{
	CHECK((who(0).standing == LEASE_OURS) != (who(1).standing == LEASE_OURS));
	return who(0).standing == LEASE_OURS ? 0 : 1;
}

/* --- agents that run --- */

static void
one_of_two_replicates(void)
{
	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	CHECK(equal("x.tfstate"));
	for (uint64_t serial = 6; serial < 26; serial++) {
		mem_world_put(a, "x.tfstate", rig_state(serial, "L", 3, "a"));
		agent_rig_wait(&r[0], 30000);
		CHECK(equal("x.tfstate"));
	}
	CHECK_U64(engine_counters(r[leader()].engine)->pushes_ok, 21);
	CHECK_U64(engine_counters(r[1 - leader()].engine)->pushes_ok, 0);
	CHECK_U64(engine_counters(r[1 - leader()].engine)->pulls, engine_counters(r[leader()].engine)->pulls);
	CHECK_U64(who(1 - leader()).standing, LEASE_THEIRS);
	end();
}

static void
who_stops_hands_over(void)
{
	unsigned first;

	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	first = leader();
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	engine_stop(r[first].engine);
	agent_rig_wait(&r[0], 1500);
	CHECK(engine_idle(r[first].engine));
	CHECK_U64(who(1 - first).standing, LEASE_OURS);
	CHECK_U64(who(1 - first).epoch, 2);
	agent_rig_wait(&r[0], 20000);
	CHECK(equal("x.tfstate"));
	end();
}

static void
holder_whose_target_fails_leaves_it(void)
{
	unsigned first;

	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	first = leader();
	for (unsigned n = 0; n < 5; n++)
		mem_world_put(a, "x.tfstate", rig_state(6 + n, "L", 3, "b"));
	mem_world_down(b, ERR_NETWORK);
	agent_rig_wait(&r[0], 10 * TTL);
	CHECK_U64(who(first).standing, LEASE_UNREAD);
	mem_world_down(b, ERR_OK);
	agent_rig_wait(&r[0], 12 * TTL);
	CHECK(equal("x.tfstate"));
	leader();
	end();
}

/* --- passes --- */

static void
pass_takes_it_and_hands_it_over(void)
{
	begin(1);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(record_says("\"holder\":\"\"") && record_says("\"epoch\":1"));
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(record_says("\"epoch\":2") && record_says("\"transitions\":0"));
	CHECK(equal("x.tfstate"));
	end();
}

static void
pass_beside_another_holder_ends_with_11(void)
{
	struct pass_result p;
	int64_t            begun;

	begin(2);
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	mem_world_down(a, ERR_OK);
	begun = loop_now(loop);
	agent_rig_sync(&r[1], &p);
	CHECK(loop_now(loop) - begun < TTL); /* it saw the other renew */
	CHECK_U64((uint64_t)pass_result_exit(&p), 11);
	CHECK_U64(p.edges[0].written, 0);
	CHECK(strstr(p.problems[0].message, "the lease at b is held by") != NULL);
	CHECK(p.problems[0].hint[0] != '\0');
	pass_result_free(&p);
	CHECK_U64(engine_counters(r[1].engine)->pushes_ok, 0);
	end();
}

static void
dead_holder_is_followed_in_one_pass(void)
{
	int64_t begun;

	begin(1);
	mem_world_put(b, RECORD, span_str(DEAD("7")));
	begun = loop_now(loop);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(loop_now(loop) - begun >= TTL + TTL / 2 && loop_now(loop) - begun < 2 * TTL);
	CHECK(record_says("\"epoch\":8") && record_says("\"transitions\":3"));
	CHECK(equal("x.tfstate"));
	end();
}

/* --- locks that a dead agent left --- */

static void
lock_of_a_dead_agent_is_released(void)
{
	begin(1);
	mem_world_put(b, RECORD, span_str(DEAD("7")));
	mem_world_lock(b, "x.tfstate", LEFT("7", "stateferry"));
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(equal("x.tfstate"));
	end();
}

static void
other_locks_stay(void)
{
	static const char *const locks[] = { LEFT("8", "stateferry"), LEFT("9", "stateferry"), LEFT("7", "OperationTypeApply"),
		"{\"ID\":\"left\",\"Operation\":\"stateferry\",\"Info\":\"replicate e to c, epoch 1\",\"Who\":\"stateferry@x\"}",
		"{\"ID\":\"left\",\"Operation\":\"stateferry\",\"Info\":\"replicate e to b\",\"Who\":\"stateferry@x\"}" };

	for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
		begin(1);
		mem_world_put(b, RECORD, span_str(DEAD("7")));
		mem_world_lock(b, "x.tfstate", locks[i]);
		CHECK_STR(agent_rig_sync_counts(&r[0]), "0 0 0 1");
		CHECK_STR(mem_world_locked(b, "x.tfstate"), locks[i]);
		mem_world_lock(b, "x.tfstate", NULL);
		end();
	}
}

/* --- configuration --- */

static void
what_cannot_be_a_lease(void)
{
	CHECK(agent_rig_plan_error(SHARED) == NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  ttl = \"1s\"\n}\n")), "ttl is at least 2s") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  coordinator = \"etcd\"\n}\n")), "later version") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n}\nlease {\n}\n")), "a second lease block") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  max_failures = -1\n}\n")), "from 0 to") != NULL);
	CHECK(strstr(agent_rig_plan_error("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  if_match = false\n}\n"
	    EDGE("lease {\n}\n")), "cannot carry a lease") != NULL);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "one of two replicates", one_of_two_replicates },
		{ "who stops hands over", who_stops_hands_over },
		{ "a holder whose target fails leaves it", holder_whose_target_fails_leaves_it },
		{ "a pass takes it and hands it over", pass_takes_it_and_hands_it_over },
		{ "a pass beside another holder ends with 11", pass_beside_another_holder_ends_with_11 },
		{ "a dead holder is followed in one pass", dead_holder_is_followed_in_one_pass },
		{ "the lock of a dead agent is released", lock_of_a_dead_agent_is_released },
		{ "other locks stay", other_locks_stay },
		{ "what cannot be a lease", what_cannot_be_a_lease },
		{ NULL, NULL } });
}
