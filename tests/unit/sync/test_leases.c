/* SPDX-License-Identifier: MIT */
#include "sync/core.h"

#include "../../lib/lease_rig.h"
#include "../../lib/test.h"

/* Agents with the same configuration, which share an edge through the lease at its target: who writes, and when another one goes on. */

static void
one_of_two_replicates(void)
{
	fleet_begin_at_work();
	CHECK(fleet_equal("x.tfstate"));
	for (uint64_t serial = 6; serial < 26; serial++) {
		mem_world_put(fleet_a, "x.tfstate", rig_state(serial, "L", 3, "a"));
		agent_rig_wait(&fleet[0], 30000);
		CHECK(fleet_equal("x.tfstate"));
	}
	CHECK_U64(engine_counters(fleet[fleet_leader()].engine)->pushes_ok, 21);
	CHECK_U64(engine_counters(fleet[1 - fleet_leader()].engine)->pushes_ok, 0);
	CHECK_U64(engine_counters(fleet[1 - fleet_leader()].engine)->pulls, engine_counters(fleet[fleet_leader()].engine)->pulls);
	CHECK_U64(fleet_who(1 - fleet_leader()).standing, LEASE_THEIRS);
	fleet_end();
}

static void
who_stops_hands_over(void)
{
	unsigned first;

	fleet_begin_at_work();
	first = fleet_leader();
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	engine_stop(fleet[first].engine);
	agent_rig_wait(&fleet[0], 1500);
	CHECK(engine_idle(fleet[first].engine));
	CHECK_U64(fleet_who(1 - first).standing, LEASE_OURS);
	CHECK_U64(fleet_who(1 - first).epoch, 2);
	agent_rig_wait(&fleet[0], 20000);
	CHECK(fleet_equal("x.tfstate"));
	fleet_end();
}

/* As the process does that is told to end, at any moment of a write: whoever has the lease next may release the lock that is under it. */
static void
who_stops_ends_its_write_first(void)
{
	for (unsigned n = 0; n < 40; n++) {
		fleet_begin(1);
		engine_start(fleet[0].engine);
		fleet_end_in_a_write(n);
	}
}

static void
holder_whose_target_fails_leaves_it(void)
{
	unsigned first;

	fleet_begin_at_work();
	first = fleet_leader();
	for (unsigned n = 0; n < 5; n++)
		mem_world_put(fleet_a, "x.tfstate", rig_state(6 + n, "L", 3, "b"));
	mem_world_down(fleet_b, ERR_NETWORK);
	agent_rig_wait(&fleet[0], 10 * TTL);
	CHECK_U64(fleet_who(first).standing, LEASE_UNREAD);
	mem_world_down(fleet_b, ERR_OK);
	agent_rig_wait(&fleet[0], 12 * TTL);
	CHECK(fleet_equal("x.tfstate"));
	fleet_leader();
	fleet_end();
}

/* Its own network, its own rights: whoever reaches the source goes on, and when nobody does, nobody holds it. */
static void
holder_without_its_source_leaves_it(void)
{
	struct mem_world *gone = mem_world_new();
	unsigned          first;

	fleet_begin_at_work();
	first = fleet_leader();
	mem_world_down(gone, ERR_NETWORK);
	agent_rig_world(&fleet[first], "a", gone);
	agent_rig_wait(&fleet[0], 10 * TTL);
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_wait(&fleet[0], TTL);
	CHECK_U64(fleet_leader(), 1 - first);
	CHECK(fleet_equal("x.tfstate"));
	agent_rig_world(&fleet[1 - first], "a", gone);
	agent_rig_wait(&fleet[0], 20 * TTL);
	CHECK(fleet_who(0).standing == LEASE_YIELDED && fleet_who(1).standing == LEASE_YIELDED);
	mem_world_put(fleet_a, "x.tfstate", rig_state(7, "L", 3, "c"));
	agent_rig_world(&fleet[0], "a", fleet_a);
	agent_rig_wait(&fleet[0], 10 * TTL);
	CHECK_U64(fleet_leader(), 0);
	CHECK(fleet_equal("x.tfstate"));
	fleet_end();
	mem_world_free(gone);
}

/* What waits for the target needs no source: it is not given up before it is done. */
static void
work_that_waits_needs_no_source(void)
{
	struct mem_world *gone = mem_world_new();
	unsigned          first;

	fleet_begin_at_work();
	first = fleet_leader();
	mem_world_lock(fleet_b, "x.tfstate", "{\"ID\":\"1\",\"Operation\":\"OperationTypeApply\",\"Who\":\"u@h\"}");
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_wait(&fleet[0], 30000);
	mem_world_down(gone, ERR_NETWORK);
	agent_rig_world(&fleet[0], "a", gone);
	agent_rig_world(&fleet[1], "a", gone);
	agent_rig_wait(&fleet[0], 10 * TTL);
	CHECK_U64(fleet_leader(), first);
	mem_world_lock(fleet_b, "x.tfstate", NULL);
	agent_rig_wait(&fleet[0], 10 * TTL);
	CHECK(fleet_equal("x.tfstate"));
	fleet_end();
	mem_world_free(gone);
}

/* What waits for its turn at a target that is asked rarely does not keep the lease from being renewed. */
static void
work_that_waits_does_not_cost_the_lease(void)
{
	char name[40];

	fleet_begin(0);
	agent_rig_join(&fleet[0], fleet_loop, NULL, "backend \"mem\" \"a\" {\n  poll = \"10s\"\n}\nbackend \"mem\" \"b\" {\n  poll = \"10s\"\n"
	    "  requests_per_second = 1\n}\n" EDGE("  lease {\n    ttl = \"60s\"\n  }\n"));
	agent_rig_world(&fleet[0], "a", fleet_a);
	agent_rig_world(&fleet[0], "b", fleet_b);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "s%u.tfstate", i);
		mem_world_put(fleet_a, name, rig_state(1, name, 3, "a"));
	}
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], 5000);
	for (unsigned i = 0; i < 600; i++) {
		agent_rig_wait(&fleet[0], 1000);
		CHECK_U64(fleet_who(0).standing, LEASE_OURS);
	}
	CHECK_U64(fleet_who(0).epoch, 1);
	CHECK(fleet_equal("s59.tfstate"));
	fleet_end();
}

/* Its lane is closed, and something is left that it would have read as a follower: it does not turn on the spot. */
static void
who_lost_it_while_the_target_was_down_rests(void)
{
	struct engine *e;
	unsigned       turns = 0;
	int64_t        until;

	fleet_begin_at_work();
	e = fleet[fleet_leader()].engine;
	bits_set(&e->tracks[0].unread, 1);
	for (unsigned n = 0; n < 5; n++) {
		char name[16];

		snprintf(name, sizeof(name), "y%u.tfstate", n);
		mem_world_put(fleet_a, name, rig_state(1, "L", 3, "b"));
	}
	mem_world_down(fleet_b, ERR_NETWORK);
	for (until = loop_now(fleet_loop) + 5 * TTL; turns < 200000 && loop_now(fleet_loop) < until; turns++) {
		if (turns % 100 == 0)
			mem_world_put(fleet_a, "x.tfstate", rig_state(6 + turns, "L", 3, "b"));
		loop_turn(fleet_loop, false);
	}
	CHECK(loop_now(fleet_loop) >= until);
	CHECK(!track_is_ours(&e->tracks[0]));
	mem_world_down(fleet_b, ERR_OK);
	agent_rig_wait(&fleet[0], 12 * TTL);
	CHECK(fleet_equal("y4.tfstate"));
	fleet_end();
}

static void
pass_takes_it_and_hands_it_over(void)
{
	fleet_begin(1);
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	CHECK(fleet_record_says("\"holder\":\"\"") && fleet_record_says("\"epoch\":1"));
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	CHECK(fleet_record_says("\"epoch\":2") && fleet_record_says("\"transitions\":0"));
	CHECK(fleet_equal("x.tfstate"));
	fleet_end();
}

static void
pass_beside_another_holder_ends_with_11(void)
{
	struct pass_result p;
	int64_t            begun;

	fleet_begin(2);
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	mem_world_down(fleet_a, ERR_OK);
	begun = loop_now(fleet_loop);
	agent_rig_sync(&fleet[1], &p);
	CHECK(loop_now(fleet_loop) - begun < TTL); /* it saw the other renew */
	CHECK_U64((uint64_t)pass_result_exit(&p), 11);
	CHECK_U64(p.edges[0].written, 0);
	CHECK(strstr(p.problems[0].message, "the lease at b is held by") != NULL);
	CHECK(p.problems[0].hint[0] != '\0');
	pass_result_free(&p);
	CHECK_U64(engine_counters(fleet[1].engine)->pushes_ok, 0);
	fleet_end();
}

static void
dead_holder_is_followed_in_one_pass(void)
{
	int64_t begun;

	fleet_begin(1);
	mem_world_put(fleet_b, RECORD, span_str(DEAD("7")));
	begun = loop_now(fleet_loop);
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	CHECK(loop_now(fleet_loop) - begun >= TTL + TTL / 2 && loop_now(fleet_loop) - begun < 2 * TTL);
	CHECK(fleet_record_says("\"epoch\":8") && fleet_record_says("\"transitions\":3"));
	CHECK(fleet_equal("x.tfstate"));
	fleet_end();
}

static void
what_cannot_be_a_lease(void)
{
	CHECK(agent_rig_plan_error(SHARED) == NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  ttl = \"1s\"\n}\n")), "ttl is at least 2s") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  ttl = \"25h\"\n}\n")), "ttl is at most 24h") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  coordinator = \"etcd\"\n}\n")), "needs a block `etcd") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  coordinator = \"etcd\"\n  dynamodb {\n}\n}\n")), "stands beside") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  etcd {\n}\n}\n")), "beside coordinator = \"target\"") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  coordinator = \"etcd\"\n" ETCD ETCD "}\n")), "a second block") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n}\nlease {\n}\n")), "a second lease block") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease \"target\" {\n}\n")), "lease takes no label") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  max_failures = -1\n}\n")), "from 0 to") != NULL);
	CHECK(strstr(agent_rig_plan_error("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  if_match = false\n}\n"
	    EDGE("lease {\n}\n")), "cannot carry a lease") != NULL);
	CHECK(agent_rig_plan_error("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  if_match = false\n}\n"
	    EDGE("lease {\n  coordinator = \"etcd\"\n" ETCD "}\n")) == NULL);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "one of two replicates", one_of_two_replicates },
		{ "who stops hands over", who_stops_hands_over },
		{ "who stops ends its write first", who_stops_ends_its_write_first },
		{ "a holder whose target fails leaves it", holder_whose_target_fails_leaves_it },
		{ "a holder without its source leaves it", holder_without_its_source_leaves_it },
		{ "work that waits needs no source", work_that_waits_needs_no_source },
		{ "work that waits does not cost the lease", work_that_waits_does_not_cost_the_lease },
		{ "who lost it while the target was down rests", who_lost_it_while_the_target_was_down_rests },
		{ "a pass takes it and hands it over", pass_takes_it_and_hands_it_over },
		{ "a pass beside another holder ends with 11", pass_beside_another_holder_ends_with_11 },
		{ "a dead holder is followed in one pass", dead_holder_is_followed_in_one_pass },
		{ "what cannot be a lease", what_cannot_be_a_lease },
		{ NULL, NULL } });
}
