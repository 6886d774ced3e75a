/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/*
 * A store is copied while its agent writes, and a person makes the copy active elsewhere. What that agent had begun may have died with its
 * host, or may still be under way: its lock is not the copy's to release before that is plain.
 */
#define SLOW "{\n  latency = \"5s\"\n}\n"

static const char text[] = "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" " SLOW "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n";

static struct agent_rig   r, copy;
static struct mem_world  *a, *b;
static struct pass_result result;
static bool               ended;

static void
pass_ended(struct op *op, void *arg)
{
	(void)arg;
	ended = true;
	op_free(op);
}

/* In the middle of its write, with the lock in its hand, the agent stands still. */
static void
begin(void)
{
	char *dir, *command;

	agent_rig_pair(&r, text, &a, &b);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "one"));
	ended = false;
	op_start(engine_pass(r.engine, &(struct pass_options){ .nedges = 0 }, &result), pass_ended, NULL);
	while (mem_world_locked(b, "x.tfstate") == NULL)
		CHECK(loop_turn(r.loop, false));
	dir = xasprintf("%s.copy", r.dir);
	command = xasprintf("cp -a '%s' '%s' && rm -f '%s/host' '%s/owner'", r.dir, dir, dir, dir);
	CHECK(system(command) == 0);
	free(command);
	agent_rig_open(&copy, 2, dir, text);
	agent_rig_world(&copy, "a", a);
	agent_rig_world(&copy, "b", b);
	free(dir);
	CHECK(store_is_foreign(copy.store));
	CHECK_OK(agent_rig_run(&copy, engine_adopt(copy.engine), 60000), copy.err);
	engine_start(copy.engine);
}

static void
end(void)
{
	agent_rig_close(&copy);
	agent_rig_pair_equal(a, b, "x.tfstate");
	agent_rig_pair_end(&r, a, b);
}

static void
it_still_lives(void)
{
	begin();
	agent_rig_wait(&copy, 240000);
	CHECK(mem_world_locked(b, "x.tfstate") != NULL);
	CHECK_U64(mem_world_writes(b), 0);
	while (!ended)
		CHECK(loop_turn(r.loop, false));
	CHECK_U64(result.edges[0].written, 1);
	pass_result_free(&result);
	CHECK(mem_world_locked(b, "x.tfstate") == NULL);
	agent_rig_wait(&copy, 3600000);
	CHECK_U64(mem_world_writes(b), 1);
	end();
}

static void
it_died(void)
{
	begin();
	agent_rig_wait(&copy, 600000);
	CHECK(mem_world_locked(b, "x.tfstate") == NULL);
	CHECK_U64(mem_world_writes(b), 1);
	while (!ended)
		CHECK(loop_turn(r.loop, false));
	pass_result_free(&result);
	end();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "it still lives", it_still_lives },
		{ "it died", it_died },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
