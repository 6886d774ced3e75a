/* SPDX-License-Identifier: MIT */
#include "../../lib/lease_rig.h"
#include "../../lib/test.h"

/* Locks that a dead holder of the lease left at the target. */

static void
lock_of_a_dead_agent_is_released(void)
{
	fleet_begin(1);
	mem_world_put(fleet_b, RECORD, span_str(DEAD("7")));
	mem_world_lock(fleet_b, "x.tfstate", LEFT("7", "stateferry"));
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	CHECK(fleet_equal("x.tfstate"));
	fleet_end();
}

static void
other_locks_stay(void)
{
	static const char *const locks[] = { LEFT("8", "stateferry"), LEFT("9", "stateferry"), LEFT("7", "OperationTypeApply"),
		LEFT_BY("00000000-0000-0000-9b93-6e5108a0fc76", "6", "stateferry"), /* of no agent that held this lease */
		"{\"ID\":\"" LEFT_ID "\",\"Operation\":\"stateferry\",\"Info\":\"replicate e to c, epoch 1\",\"Who\":\"stateferry@x\"}",
		"{\"ID\":\"" LEFT_ID "\",\"Operation\":\"stateferry\",\"Info\":\"replicate e to b\",\"Who\":\"stateferry@x\"}" };

	for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
		fleet_begin(1);
		mem_world_put(fleet_b, RECORD, span_str(DEAD("7")));
		mem_world_lock(fleet_b, "x.tfstate", locks[i]);
		CHECK_STR(agent_rig_sync_counts(&fleet[0]), "0 0 0 1");
		CHECK_STR(mem_world_locked(fleet_b, "x.tfstate"), locks[i]);
		mem_world_lock(fleet_b, "x.tfstate", NULL);
		fleet_end();
	}
}

/* The replica is as it should be, and nothing new comes: the lock is in terraform's way all the same. caps: what listings do not show. */
static void
left_lock_needs_no_new_version(unsigned caps)
{
	fleet_begin(2);
	for (unsigned i = 0; i < 2; i++)
		plan_backend(engine_plan(fleet[i].engine), "b")->caps |= caps;
	engine_start(fleet[0].engine);
	engine_start(fleet[1].engine);
	agent_rig_wait(&fleet[0], 2 * TTL);
	CHECK(fleet_equal("x.tfstate") && fleet_says(0) == REPLICA_CURRENT && fleet_says(1) == REPLICA_CURRENT);
	mem_world_put(fleet_b, RECORD, span_str(DEAD("7")));
	mem_world_lock(fleet_b, "x.tfstate", LEFT("7", "stateferry"));
	agent_rig_wait(&fleet[0], 2 * TTL);
	CHECK_U64(fleet_who(fleet_leader()).epoch, 8);
	CHECK(mem_world_locked(fleet_b, "x.tfstate") == NULL);
	mem_world_lock(fleet_b, "x.tfstate", LEFT("6", "stateferry")); /* asked for by one that is long gone, and late on its way */
	agent_rig_wait(&fleet[0], caps == 0 ? TTL : 30 * TTL);
	CHECK(mem_world_locked(fleet_b, "x.tfstate") == NULL);
	agent_rig_wait(&fleet[0], TTL);
	CHECK(fleet_says(0) == REPLICA_CURRENT && fleet_says(1) == REPLICA_CURRENT);
	fleet_end();
}

static void
left_lock_is_released_by_itself(void)
{
	left_lock_needs_no_new_version(0);
}

static void
left_lock_that_no_listing_shows(void)
{
	left_lock_needs_no_new_version(PROVIDER_LOCK_UNLISTED);
}

static void
left_lock_that_nobody_can_look_at(void)
{
	left_lock_needs_no_new_version(PROVIDER_LOCK_HIDDEN);
}

/* Between two listings terraform's lock ends, and one that a dead agent asked for comes in its place. */
static void
left_lock_behind_a_living_one(void)
{
	fleet_begin(1);
	mem_world_put(fleet_b, RECORD, span_str(DEAD("7")));
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], 3 * TTL);
	CHECK(fleet_equal("x.tfstate"));
	mem_world_lock(fleet_b, "x.tfstate", LEFT("7", "OperationTypeApply"));
	agent_rig_wait(&fleet[0], TTL);
	mem_world_lock(fleet_b, "x.tfstate", LEFT("7", "stateferry"));
	agent_rig_wait(&fleet[0], 11 * TTL);
	CHECK(mem_world_locked(fleet_b, "x.tfstate") == NULL);
	mem_world_lock(fleet_b, "x.tfstate", NULL);
	fleet_end();
}

/* What a process of ours held, its store knows of: nobody's states are locked to find out. */
static void
own_locks_are_not_looked_for(void)
{
	fleet_begin(1);
	plan_backend(engine_plan(fleet[0].engine), "b")->caps |= PROVIDER_LOCK_HIDDEN;
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	CHECK_U64(fleet_asked(0, REQUEST_LOCK), 1);
	fleet_record_of(store_agent_id(fleet[0].store), 1);
	agent_rig_wait(&fleet[0], 40 * TTL);
	CHECK_U64(fleet_who(0).epoch, 2);
	CHECK_U64(fleet_asked(0, REQUEST_LOCK), 1);
	fleet_end();
}

static void
left_lock_is_released_by_a_pass(void)
{
	fleet_begin(1);
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	fleet_reborn(0);
	mem_world_put(fleet_b, RECORD, span_str(DEAD("7")));
	mem_world_lock(fleet_b, "x.tfstate", LEFT("7", "stateferry"));
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "0 1 0 0");
	fleet_end(); /* which counts locks */
}

/* A lock that could not be released is tried again, and so is one that could not be read. */
static void
left_lock_survives_faults(void)
{
	for (uint64_t n = 1; n < 40; n++) {
		fleet_begin(1);
		engine_start(fleet[0].engine);
		agent_rig_wait(&fleet[0], TTL);
		mem_world_put(fleet_b, RECORD, span_str(DEAD("7")));
		mem_world_lock(fleet_b, "x.tfstate", LEFT("7", "stateferry"));
		agent_rig_wait(&fleet[0], TTL + TTL / 2 - 2000);
		mem_world_fault(fleet_b, n, ERR_UNCERTAIN, n % 2 == 0);
		agent_rig_wait(&fleet[0], 4 * TTL);
		CHECK_U64(fleet_who(0).standing, LEASE_OURS);
		CHECK(mem_world_locked(fleet_b, "x.tfstate") == NULL);
		agent_rig_wait(&fleet[0], 40 * TTL);
		fleet_end();
	}
}

/* Looked at once in ten minutes, and left alone as long as the listing shows it. */
static void
lock_of_others_is_seldom_looked_at(void)
{
	static const char *const locks[] = { LEFT("8", "stateferry"), LEFT("9", "stateferry"), LEFT("7", "OperationTypeApply") };
	uint64_t                 asked_before;

	for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
		fleet_begin(1);
		engine_start(fleet[0].engine);
		agent_rig_wait(&fleet[0], TTL);
		mem_world_put(fleet_b, RECORD, span_str(DEAD("7")));
		mem_world_lock(fleet_b, "x.tfstate", locks[i]);
		agent_rig_wait(&fleet[0], 3 * TTL);
		CHECK_U64(fleet_who(0).epoch, 8);
		CHECK_STR(mem_world_locked(fleet_b, "x.tfstate"), locks[i]);
		asked_before = fleet_asked(0, REQUEST_LOCK_PEEK);
		agent_rig_wait(&fleet[0], 10 * TTL);
		CHECK(fleet_asked(0, REQUEST_LOCK_PEEK) <= asked_before + 1);
		CHECK_STR(mem_world_locked(fleet_b, "x.tfstate"), locks[i]);
		mem_world_lock(fleet_b, "x.tfstate", NULL);
		agent_rig_wait(&fleet[0], TTL);
		mem_world_lock(fleet_b, "x.tfstate", LEFT("3", "stateferry"));
		agent_rig_wait(&fleet[0], TTL);
		CHECK(mem_world_locked(fleet_b, "x.tfstate") == NULL);
		fleet_end();
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "the lock of a dead agent is released", lock_of_a_dead_agent_is_released },
		{ "other locks stay", other_locks_stay },
		{ "the lock of a dead agent is released without a new version", left_lock_is_released_by_itself },
		{ "the same where listings do not show locks", left_lock_that_no_listing_shows },
		{ "the same where nobody can look at locks", left_lock_that_nobody_can_look_at },
		{ "the lock of a dead agent is released behind a living one", left_lock_behind_a_living_one },
		{ "locks of a process of ours are not looked for", own_locks_are_not_looked_for },
		{ "the lock of a dead agent is released by a pass", left_lock_is_released_by_a_pass },
		{ "the lock of a dead agent is released whatever is lost", left_lock_survives_faults },
		{ "somebody's lock is seldom looked at", lock_of_others_is_seldom_looked_at },
		{ NULL, NULL } });
}
