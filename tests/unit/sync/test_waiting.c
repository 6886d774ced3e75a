/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* Waiting for a lock that somebody else holds at the target, in virtual time. */
#define FOREIGN "{\"ID\":\"foreign\",\"Who\":\"tf@ci\"}"

static const char waiting[] = "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  lock_timeout = \"60s\"\n}\n"
    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n";

static struct agent_rig  r;
static struct mem_world *a, *b;

static void
begin(void)
{
	agent_rig_pair(&r, waiting, &a, &b);
}

static void
end(void)
{
	agent_rig_pair_end(&r, a, b);
}

static void
check_equal(const char *name)
{
	agent_rig_pair_equal(a, b, name);
}

static void
a_foreign_lock_is_waited_for(void)
{
	struct pass_result p;

	begin();
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_lock(b, "x.tfstate", FOREIGN);
	agent_rig_sync(&r, &p);
	CHECK_U64(p.edges[0].failed, 1);
	CHECK_U64((uint64_t)pass_result_exit(&p), 11);
	CHECK(strstr(p.problems[0].message, "tf@ci") != NULL);
	pass_result_free(&p);
	CHECK_STR(mem_world_locked(b, "x.tfstate"), FOREIGN);
	mem_world_lock(b, "x.tfstate", NULL);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	end();
}

static void
let_go(void *arg)
{
	(void)arg;
	mem_world_lock(b, "x.tfstate", NULL);
}

static void
each_pass_waits_for_itself(void)
{
	struct timer t;

	begin();
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_lock(b, "x.tfstate", FOREIGN);
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 0 1");
	agent_rig_wait(&r, 3600000);
	timer_init(&t, r.loop, let_go, NULL);
	timer_set(&t, 5000);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	end();
}

static void
a_pass_of_an_agent_waits_for_no_lock(void)
{
	int64_t begun;

	begin();
	engine_start(r.engine);
	mem_world_lock(b, "x.tfstate", FOREIGN);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
	agent_rig_wait(&r, 40000);
	begun = loop_now(r.loop);
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 0 1");
	CHECK(loop_now(r.loop) - begun < 10000);
	mem_world_put(a, "y.tfstate", rig_state(1, "L", 3, "a"));
	agent_rig_wait(&r, 40000);
	check_equal("y.tfstate");
	mem_world_lock(b, "x.tfstate", NULL);
	agent_rig_wait(&r, 40000);
	check_equal("x.tfstate");
	end();
}

/* Whoever waits since a moment that is still to come must not ask again and again. */
static void
a_clock_that_is_set_back_crowds_nobody(void)
{
	uint64_t calls;

	begin();
	engine_start(r.engine);
	mem_world_lock(b, "x.tfstate", FOREIGN);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
	agent_rig_wait(&r, 40000);
	loop_wall_shift(r.loop, -INT64_C(7200000));
	calls = mem_world_calls(b);
	agent_rig_wait(&r, 300000);
	CHECK(mem_world_calls(b) - calls < 200);
	mem_world_lock(b, "x.tfstate", NULL);
	agent_rig_wait(&r, 40000);
	check_equal("x.tfstate");
	end();
}

static void
count_lock(void *arg, const struct lock_seen *l)
{
	CHECK_STR(l->name, "x.tfstate");
	CHECK_STR(l->lock.id, "foreign");
	(*(unsigned *)arg)++;
}

static void
a_lock_that_is_waited_for_is_shown_before_there_is_a_state(void)
{
	unsigned n = 0;

	begin();
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_put(a, "y.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_lock(b, "x.tfstate", FOREIGN);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 1");
	CHECK_OK(agent_rig_run(&r, engine_locks(r.engine, "b", count_lock, &n), 60000), r.err);
	CHECK_U64(n, 1);
	mem_world_lock(b, "x.tfstate", NULL);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "a_foreign_lock_is_waited_for", a_foreign_lock_is_waited_for },
	    { "each_pass_waits_for_itself", each_pass_waits_for_itself },
	    { "a_pass_of_an_agent_waits_for_no_lock", a_pass_of_an_agent_waits_for_no_lock },
	    { "a_clock_that_is_set_back_crowds_nobody", a_clock_that_is_set_back_crowds_nobody },
	    { "a_lock_that_is_waited_for_is_shown_before_there_is_a_state", a_lock_that_is_waited_for_is_shown_before_there_is_a_state },
	    { NULL, NULL } });
}
