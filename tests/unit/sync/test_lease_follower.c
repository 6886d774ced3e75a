/* SPDX-License-Identifier: MIT */
#include "../../lib/lease_rig.h"
#include "../../lib/test.h"

/* An agent whose edge another one has the lease of: what it tells, and that it writes nothing. */

static void
never_wrote(unsigned agent)
{
	static const enum request_kind kinds[] = { REQUEST_CREATE, REQUEST_WRITE, REQUEST_DELETE, REQUEST_LOCK, REQUEST_UNLOCK, REQUEST_SEAL, REQUEST_PROBE };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		CHECK_U64(fleet_asked(agent, kinds[i]), 0);
}

static void
follower_sees_what_the_holder_wrote(void)
{
	uint64_t reads, renewals;

	fleet_begin(2);
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	engine_start(fleet[1].engine);
	agent_rig_wait(&fleet[0], TTL);
	CHECK_U64(fleet_says(1), REPLICA_CURRENT);
	for (uint64_t serial = 6; serial < 12; serial++) {
		mem_world_put(fleet_a, "x.tfstate", rig_state(serial, "L", 3, "a"));
		agent_rig_wait(&fleet[0], TTL);
		CHECK(fleet_says(0) == REPLICA_CURRENT && fleet_says(1) == REPLICA_CURRENT);
	}
	renewals = fleet_asked(1, REQUEST_READ); /* of the lease's record, for the most part */
	agent_rig_wait(&fleet[0], TTL);
	reads = fleet_asked(1, REQUEST_READ) - renewals;
	agent_rig_wait(&fleet[0], TTL);
	CHECK(fleet_asked(1, REQUEST_READ) - renewals - reads <= reads + 10); /* nothing is read again */
	never_wrote(1);
	CHECK_U64(fleet[1].engine != NULL && engine_counters(fleet[1].engine)->pushes_failed, 0);
	fleet_end();
}

static void
follower_tells_what_the_holder_cannot_write(void)
{
	fleet_begin(2);
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	engine_start(fleet[1].engine);
	agent_rig_wait(&fleet[0], TTL);
	mem_world_put(fleet_b, "x.tfstate", rig_state(9, "L", 4, "somebody")); /* ahead of the source */
	agent_rig_wait(&fleet[0], 2 * TTL);
	CHECK(fleet_says(0) == REPLICA_HELD && fleet_says(1) == REPLICA_HELD);
	mem_world_put(fleet_a, "x.tfstate", rig_state(10, "L", 5, "c"));
	agent_rig_wait(&fleet[0], TTL);
	CHECK(fleet_says(0) == REPLICA_CURRENT && fleet_says(1) == REPLICA_CURRENT);
	mem_world_lock(fleet_b, "x.tfstate", LEFT("9", "OperationTypeApply")); /* in the holder's way */
	mem_world_put(fleet_a, "x.tfstate", rig_state(11, "L", 5, "d"));
	agent_rig_wait(&fleet[0], TTL);
	CHECK_U64(fleet_says(1), REPLICA_BEHIND);
	mem_world_lock(fleet_b, "x.tfstate", NULL);
	agent_rig_wait(&fleet[0], 2 * TTL);
	CHECK(fleet_says(0) == REPLICA_CURRENT && fleet_says(1) == REPLICA_CURRENT);
	mem_world_put(fleet_b, "x.tfstate", span_of(NULL, 0));
	mem_world_lock(fleet_b, "x.tfstate", LEFT("9", "OperationTypeApply"));
	agent_rig_wait(&fleet[0], TTL);
	CHECK_U64(fleet_says(1), REPLICA_PENDING);
	mem_world_lock(fleet_b, "x.tfstate", NULL);
	agent_rig_wait(&fleet[0], 2 * TTL);
	CHECK_U64(fleet_says(1), REPLICA_CURRENT);
	never_wrote(1);
	fleet_end();
}

/* The replica may be newer than what the follower has read of the source. */
static void
follower_that_reads_late_holds_nothing(void)
{
	fleet_begin(1);
	agent_rig_join(&fleet[1], fleet_loop, NULL, "backend \"mem\" \"a\" {\n  poll = \"10m\"\n}\nbackend \"mem\" \"b\" {\n  poll = \"10s\"\n}\n"
	    EDGE("  lease {\n    ttl = \"60s\"\n  }\n"));
	agent_rig_world(&fleet[1], "a", fleet_a);
	agent_rig_world(&fleet[1], "b", fleet_b);
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	engine_start(fleet[1].engine);
	agent_rig_wait(&fleet[0], TTL);
	for (uint64_t serial = 6; serial < 12; serial++) {
		mem_world_put(fleet_a, "x.tfstate", rig_state(serial, "L", 3, "a"));
		for (unsigned i = 0; i < 60; i++) {
			agent_rig_wait(&fleet[0], 1000);
			CHECK(fleet_says(1) != REPLICA_HELD);
		}
		CHECK_U64(fleet_says(1), REPLICA_CURRENT);
	}
	fleet_end();
}

/* What was followed need not be read again. */
static void
takeover_starts_warm(void)
{
	uint64_t locks, gets;
	char     name[40];

	fleet_begin(2);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "s%u.tfstate", i);
		mem_world_put(fleet_a, name, rig_state(1, name, 3, "a"));
	}
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	engine_start(fleet[1].engine);
	agent_rig_wait(&fleet[0], 2 * TTL);
	never_wrote(1);
	engine_stop(fleet[0].engine);
	gets = fleet_asked(1, REQUEST_READ);
	agent_rig_wait(&fleet[0], 5000);
	CHECK_U64(fleet_who(1).standing, LEASE_OURS);
	agent_rig_wait(&fleet[0], TTL);
	locks = fleet_asked(1, REQUEST_LOCK);
	CHECK_U64(locks, 0);
	CHECK(fleet_asked(1, REQUEST_READ) - gets < 20);
	CHECK_U64(fleet_says(1), REPLICA_CURRENT);
	fleet_end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "who follows sees what the holder wrote", follower_sees_what_the_holder_wrote },
		{ "who follows tells what the holder cannot write", follower_tells_what_the_holder_cannot_write },
		{ "who reads the source late holds nothing back", follower_that_reads_late_holds_nothing },
		{ "a take-over starts warm", takeover_starts_warm },
		{ NULL, NULL } });
}
