/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/lease_rig.h"
#include "../../lib/test.h"

/* What the record of a lease and the store of an agent know of each other: a process before it, a store that was put back. */

static void
own_process_that_died_is_followed_at_once(void)
{
	int64_t begun;

	fleet_begin(1);
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	fleet_reborn(0);
	fleet_record_of(store_agent_id(fleet[0].store), 1);
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	begun = loop_now(fleet_loop);
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	CHECK(loop_now(fleet_loop) - begun < 5000);
	CHECK(fleet_record_says("\"epoch\":2") && fleet_record_says("\"transitions\":2"));
	fleet_end();
}

/* An agent that takes again what it handed over itself is no other one. */
static void
from_one_agent_to_another_is_a_transition(void)
{
	static const struct {
		unsigned    agent;
		const char *transitions;
	} turns[] = { { 0, "\"transitions\":0" }, { 0, "\"transitions\":0" }, { 1, "\"transitions\":1" }, { 1, "\"transitions\":1" },
		{ 0, "\"transitions\":2" } };

	fleet_begin(2);
	for (unsigned i = 0; i < ARRAY_LEN(turns); i++) {
		fleet_reborn(turns[i].agent);
		mem_world_put(fleet_a, "x.tfstate", rig_state(6 + i, "L", 3, "b"));
		CHECK_STR(agent_rig_sync_counts(&fleet[turns[i].agent]), "1 0 0 0");
		CHECK(fleet_record_says("\"holder\":\"\"") && fleet_record_says(turns[i].transitions));
	}
	fleet_end();
}

/* What is no record does not become one while a pass waits. */
static void
pass_does_not_wait_for_what_is_no_record(void)
{
	struct pass_result p;
	int64_t            begun;

	fleet_begin(1);
	mem_world_put(fleet_b, RECORD, span_str("<html>"));
	begun = loop_now(fleet_loop);
	agent_rig_sync(&fleet[0], &p);
	CHECK_U64((uint64_t)pass_result_exit(&p), 14);
	CHECK(loop_now(fleet_loop) - begun < 2000 && !fleet_equal("x.tfstate"));
	pass_result_free(&p);
	fleet_end();
}

static void
older_store_waits_for_a_person(void)
{
	struct pass_result p;

	fleet_begin(1);
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0"); /* it knows of epoch 1 */
	fleet_reborn(0);
	fleet_record_of(store_agent_id(fleet[0].store), 2);
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_sync(&fleet[0], &p);
	CHECK_U64((uint64_t)pass_result_exit(&p), 10);
	CHECK(strstr(p.problems[0].message, "put back from a backup") != NULL && strstr(p.problems[0].hint, "stateferry adopt") != NULL);
	pass_result_free(&p);
	CHECK(!fleet_equal("x.tfstate") && fleet_record_says("\"epoch\":2"));
	CHECK_U64(agent_rig_run(&fleet[0], engine_adopt(fleet[0].engine), 1000), ERR_OK);
	CHECK(!fleet_record_says(store_agent_id(fleet[0].store)));
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0"); /* after the time of the one that it was */
	CHECK(fleet_equal("x.tfstate") && fleet_record_says("\"epoch\":3"));
	fleet_end();
}

/* Handed over, maybe to another agent that holds it now: what the record knows of our store is older than that itself. */
static void
store_put_back_is_seen_behind_a_hand_over(bool other)
{
	struct pass_result p;
	char              *dir, *copy, *command;

	fleet_begin(2);
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	dir = xstrdup(fleet[0].dir);
	copy = xasprintf("%s.copy", dir);
	agent_rig_close(&fleet[0]);
	command = xasprintf("rm -rf '%s' && cp -a '%s' '%s'", copy, dir, copy);
	CHECK_U64((uint64_t)system(command), 0);
	free(command);
	fleet_join(0, dir);
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	CHECK(fleet_equal("x.tfstate"));
	agent_rig_close(&fleet[0]);
	CHECK(fleet_record_says("\"holder\":\"\""));
	if (other)
		CHECK_STR(agent_rig_sync_counts(&fleet[1]), "0 1 0 0");
	command = xasprintf("cp '%s/data.mdb' '%s/data.mdb'", copy, dir);
	CHECK_U64((uint64_t)system(command), 0);
	free(command);
	fleet_join(0, dir);
	mem_world_put(fleet_a, "x.tfstate", rig_state(7, "L", 3, "b"));
	agent_rig_sync(&fleet[0], &p);
	CHECK_U64((uint64_t)pass_result_exit(&p), 10);
	CHECK(strstr(p.problems[0].message, "put back from a backup") != NULL && strstr(p.problems[0].hint, "stateferry adopt") != NULL);
	pass_result_free(&p);
	CHECK(!fleet_equal("x.tfstate"));
	CHECK_U64(agent_rig_run(&fleet[0], engine_adopt(fleet[0].engine), 1000), ERR_OK);
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	CHECK(fleet_equal("x.tfstate"));
	free(dir);
	free(copy);
	fleet_end();
}

static void
store_put_back_after_a_hand_over(void)
{
	store_put_back_is_seen_behind_a_hand_over(false);
}

static void
store_put_back_after_another_holder(void)
{
	store_put_back_is_seen_behind_a_hand_over(true);
}

static void
agent_that_was_overtaken_stops_until_adopted(void)
{
	fleet_begin(1);
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	fleet_record_of(store_agent_id(fleet[0].store), 9); /* a copy of its store runs elsewhere */
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_wait(&fleet[0], 3 * TTL);
	CHECK(!fleet_equal("x.tfstate") && fleet_who(0).standing == LEASE_UNREAD);
	CHECK_U64(agent_rig_run(&fleet[0], engine_adopt(fleet[0].engine), 1000), ERR_OK);
	agent_rig_wait(&fleet[0], 3 * TTL);
	CHECK(fleet_equal("x.tfstate") && fleet_who(0).standing == LEASE_OURS);
	CHECK_U64(fleet_who(0).epoch, 10);
	fleet_end();
}

static void
epochs_go_on_where_the_record_was_lost(void)
{
	fleet_begin(1);
	for (unsigned i = 0; i < 3; i++)
		agent_rig_sync_counts(&fleet[0]);
	CHECK(fleet_record_says("\"epoch\":3"));
	mem_world_put(fleet_b, RECORD, span_of(NULL, 0));
	agent_rig_sync_counts(&fleet[0]);
	CHECK(fleet_record_says("\"epoch\":4"));
	fleet_end();
}

static bool
see_intent(void *arg, const struct intent_rec *i)
{
	CHECK(i->epoch == 1 && strstr(i->lock_body, "epoch 1;") != NULL);
	++*(unsigned *)arg;
	return true;
}

static void
intent_says_under_which_epoch(void)
{
	struct store_txn *t;
	unsigned          found = 0;

	for (uint64_t n = 1; n < 12; n++) {
		fleet_begin(1);
		mem_world_fault(fleet_b, n, ERR_UNCERTAIN, true); /* an answer is lost: of the lease, the lock, the write, or the unlock */
		agent_rig_sync_counts(&fleet[0]);
		CHECK(store_read(fleet[0].store, &t, NULL) == ERR_OK);
		store_intents(t, see_intent, &found);
		store_end(t);
		agent_rig_wait(&fleet[0], 2000000);
		agent_rig_sync_counts(&fleet[0]);
		fleet_end();
	}
	CHECK(found > 0);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "an own process that died is followed at once", own_process_that_died_is_followed_at_once },
		{ "from one agent to another is a transition", from_one_agent_to_another_is_a_transition },
		{ "a pass does not wait for what is no record", pass_does_not_wait_for_what_is_no_record },
		{ "a store older than what its agent held waits for a person", older_store_waits_for_a_person },
		{ "the same behind a hand-over", store_put_back_after_a_hand_over },
		{ "the same behind another holder", store_put_back_after_another_holder },
		{ "an agent whose name another one goes by stops until it is adopted", agent_that_was_overtaken_stops_until_adopted },
		{ "epochs go on where the record was lost", epochs_go_on_where_the_record_was_lost },
		{ "an intent says under which epoch it was made", intent_says_under_which_epoch },
		{ NULL, NULL } });
}
