/* SPDX-License-Identifier: MIT */
#include "../../lib/lease_rig.h"
#include "../../lib/test.h"

/* What a person asks for where agents share an edge: a lease is handed over, a replica is decided on, the configuration changes. */

static void
released_lease_stays_away(void)
{
	struct lease_released what;
	unsigned              first;

	fleet_begin_at_work();
	first = fleet_leader();
	CHECK_U64(agent_rig_run(&fleet[0], engine_lease_release(fleet[first].engine, "e", false, &what), 5000), ERR_OK);
	CHECK_U64(what.done, 1);
	agent_rig_wait(&fleet[0], 1000);
	CHECK(fleet_who(first).standing == LEASE_RELEASED && fleet_who(1 - first).standing == LEASE_OURS);
	engine_stop(fleet[1 - first].engine); /* now nobody has it, and it still stays away */
	mem_world_put(fleet_a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_wait(&fleet[0], 5 * TTL);
	CHECK(!fleet_equal("x.tfstate") && fleet_record_says("\"holder\":\"\""));
	CHECK_U64(agent_rig_run(&fleet[0], engine_lease_release(fleet[first].engine, "e", true, &what), 1000), ERR_OK);
	agent_rig_wait(&fleet[0], TTL);
	CHECK(fleet_equal("x.tfstate") && fleet_who(first).standing == LEASE_OURS);
	fleet_end();
}

static void
only_its_holder_releases_it(void)
{
	struct lease_released what;

	fleet_begin(2);
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	CHECK_U64(agent_rig_run(&fleet[1], engine_lease_release(fleet[1].engine, "e", false, &what), 1000), ERR_LOCKED);
	CHECK(strstr(fleet[1].err.msg, "only that agent can hand it over") != NULL && strstr(fleet[1].err.hint, "has not changed for ") != NULL);
	CHECK_U64(fleet_who(0).standing, LEASE_OURS);
	CHECK_U64(agent_rig_run(&fleet[1], engine_lease_release(fleet[1].engine, "nowhere", false, &what), 1000), ERR_USAGE);
	fleet_end();
}

static void
what_a_dead_process_held_is_given_up_for_it(void)
{
	struct lease_released what;

	fleet_begin(1);
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "1 0 0 0");
	fleet_reborn(0);
	fleet_record_of(store_agent_id(fleet[0].store), 1);
	CHECK_U64(agent_rig_run(&fleet[0], engine_leases_read(fleet[0].engine), 1000), ERR_OK);
	CHECK(fleet_who(0).epoch == 1 && fleet_record_says("\"counter\":9")); /* a look changes nothing */
	CHECK_U64(agent_rig_run(&fleet[0], engine_lease_release(fleet[0].engine, "e", false, &what), 5000), ERR_OK);
	CHECK_U64(what.done, 1);
	CHECK(fleet_record_says("\"holder\":\"\"") && fleet_record_says("\"epoch\":2"));
	fleet_end();
}

static void
only_who_writes_resolves(void)
{
	fleet_begin(2);
	mem_world_put(fleet_b, "x.tfstate", rig_state(9, "another", 4, "somebody"));
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	engine_start(fleet[1].engine);
	agent_rig_wait(&fleet[0], TTL);
	CHECK(fleet_says(0) == REPLICA_HELD && fleet_says(1) == REPLICA_HELD);
	CHECK_U64(agent_rig_run(&fleet[1], engine_resolve(fleet[1].engine, "e", "x.tfstate", NULL), TTL), ERR_LOCKED);
	CHECK(strstr(fleet[1].err.msg, "the lease at b is held by") != NULL);
	CHECK(!fleet_equal("x.tfstate"));
	CHECK_U64(agent_rig_run(&fleet[0], engine_resolve(fleet[0].engine, "e", "x.tfstate", NULL), TTL), ERR_OK);
	CHECK(fleet_equal("x.tfstate"));
	agent_rig_wait(&fleet[0], TTL);
	CHECK(fleet_says(0) == REPLICA_CURRENT && fleet_says(1) == REPLICA_CURRENT);
	fleet_end();
}

static void
resolve_ended(struct op *op, void *arg)
{
	(void)arg;
	op_free(op);
}

/* The process is told to end at any moment of the write. */
static void
decision_that_is_carried_out_keeps_the_lease(void)
{
	for (unsigned n = 0; n < 40; n++) {
		fleet_begin(1);
		mem_world_put(fleet_b, "x.tfstate", rig_state(9, "another", 4, "somebody"));
		engine_start(fleet[0].engine);
		agent_rig_wait(&fleet[0], TTL);
		op_start(engine_resolve(fleet[0].engine, "e", "x.tfstate", NULL), resolve_ended, NULL);
		fleet_end_in_a_write(n);
	}
}

static void
decision_without_an_agent_takes_the_lease_for_it(void)
{
	fleet_begin(1);
	mem_world_put(fleet_b, "x.tfstate", rig_state(9, "another", 4, "somebody"));
	CHECK_STR(agent_rig_sync_counts(&fleet[0]), "0 0 1 0");
	CHECK_U64(agent_rig_run(&fleet[0], engine_resolve(fleet[0].engine, "e", "x.tfstate", NULL), TTL), ERR_OK);
	CHECK(fleet_equal("x.tfstate") && fleet_record_says("\"epoch\":2"));
	fleet_reborn(0); /* what it took is handed over when the process ends */
	CHECK(fleet_record_says("\"holder\":\"\""));
	fleet_end();
}

static void
reload_with(const char *text)
{
	struct plan *plan = agent_rig_plan(&fleet[0], text);

	mem_attach(plan_backend(plan, "a"), fleet_a);
	mem_attach(plan_backend(plan, "b"), fleet_b);
	CHECK_U64(agent_rig_run(&fleet[0], engine_reload(fleet[0].engine, plan), 60000), ERR_OK);
}

static void
reload_keeps_what_did_not_change(void)
{
	fleet_begin(2);
	engine_start(fleet[0].engine);
	agent_rig_wait(&fleet[0], TTL);
	engine_start(fleet[1].engine);
	agent_rig_wait(&fleet[0], TTL);
	for (unsigned i = 0; i < 3; i++) {
		reload_with(SHARED "backend \"mem\" \"c\" {}\nreplicate \"f\" {\n  from = \"a\"\n  to = [\"c\"]\n}\n");
		CHECK_U64(fleet_who(0).standing, LEASE_OURS);
		mem_world_put(fleet_a, "x.tfstate", rig_state(6 + i, "L", 3, "b"));
		agent_rig_wait(&fleet[0], 2 * TTL);
		CHECK(fleet_equal("x.tfstate"));
		CHECK_U64(fleet_who(0).epoch, 1);
	}
	CHECK_U64(engine_counters(fleet[1].engine)->pushes_ok, 0);
	reload_with(BACKENDS EDGE("  lease {\n    ttl = \"30s\"\n  }\n")); /* another agreement: it begins anew */
	agent_rig_wait(&fleet[0], TTL);
	fleet_leader();
	CHECK_U64(fleet_who(0).epoch, 2);
	fleet_end();
}

static void
reload_ended(struct op *op, void *arg)
{
	CHECK_OK(op->err.code, op->err);
	op_free(op);
	*(bool *)arg = true;
}

/* Who asks at any time while the plan changes has an answer, and of one plan. */
static void
a_question_in_a_reload_is_answered(void)
{
	for (int64_t ms = 0; ms < 120; ms += 3) {
		bool         over = false;
		struct plan *plan;

		fleet_begin(1);
		engine_start(fleet[0].engine);
		agent_rig_wait(&fleet[0], TTL);
		plan = agent_rig_plan(&fleet[0], SHARED);
		mem_attach(plan_backend(plan, "a"), fleet_a);
		mem_attach(plan_backend(plan, "b"), fleet_b);
		op_start(engine_reload(fleet[0].engine, plan), reload_ended, &over);
		agent_rig_wait(&fleet[0], ms);
		CHECK_OK(agent_rig_run(&fleet[0], engine_leases_read(fleet[0].engine), 60000), fleet[0].err);
		agent_rig_wait(&fleet[0], 1000);
		CHECK(over);
		fleet_end();
	}
}

/* By a person, at any time while the plan changes: it is handed over, and stays away under the new plan. */
static void
a_release_in_a_reload_is_carried_out(void)
{
	for (int64_t ms = 0; ms < 120; ms += 3) {
		struct lease_released what;
		bool                  over = false;
		struct plan          *plan;

		fleet_begin(1);
		engine_start(fleet[0].engine);
		agent_rig_wait(&fleet[0], TTL);
		plan = agent_rig_plan(&fleet[0], ms % 2 == 0 ? SHARED : BACKENDS EDGE("  lease {\n    ttl = \"30s\"\n  }\n"));
		mem_attach(plan_backend(plan, "a"), fleet_a);
		mem_attach(plan_backend(plan, "b"), fleet_b);
		op_start(engine_reload(fleet[0].engine, plan), reload_ended, &over);
		agent_rig_wait(&fleet[0], ms);
		CHECK_OK(agent_rig_run(&fleet[0], engine_lease_release(fleet[0].engine, "e", false, &what), 60000), fleet[0].err);
		CHECK_U64(what.done, 1);
		agent_rig_wait(&fleet[0], TTL);
		CHECK(over && fleet_record_says("\"holder\":\"\""));
		CHECK_U64(fleet_who(0).standing, LEASE_RELEASED);
		fleet_end();
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "what is released stays away until it is taken back", released_lease_stays_away },
		{ "only its holder releases it", only_its_holder_releases_it },
		{ "what a dead process held is given up for it", what_a_dead_process_held_is_given_up_for_it },
		{ "only who writes resolves", only_who_writes_resolves },
		{ "a decision that is carried out keeps the lease", decision_that_is_carried_out_keeps_the_lease },
		{ "a decision without an agent takes the lease for it", decision_without_an_agent_takes_the_lease_for_it },
		{ "a reload keeps what did not change", reload_keeps_what_did_not_change },
		{ "a question in a reload is answered", a_question_in_a_reload_is_answered },
		{ "a release in a reload is carried out", a_release_in_a_reload_is_carried_out },
		{ NULL, NULL } });
}
