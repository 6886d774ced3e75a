/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* A reload swaps the plan only when nothing uses the old one. */
static const char text[] = "backend \"mem\" \"a\" { latency = \"10s\" }\n"
    "backend \"mem\" \"b\" { latency = \"10s\" }\n"
    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n";

static struct agent_rig  r;
static struct mem_world *source, *target;

static void
begin(void)
{
	agent_rig_open(&r, 1, NULL, text);
	source = agent_rig_world(&r, "a", mem_world_new());
	target = agent_rig_world(&r, "b", mem_world_new());
	mem_world_put(source, "x", rig_state(2, "L", 3, "one"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(target, "x", rig_state(2, "L", 3, "two"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
}

static void
end(void)
{
	agent_rig_close(&r);
	mem_world_free(source);
	mem_world_free(target);
}

static void
seen_lock(void *arg, const struct lock_seen *l)
{
	(void)arg, (void)l;
}

static void
seen_check(void *arg, const struct probe_check *c)
{
	(void)arg, (void)c;
}

enum { RESTORE, RELEASE, RESOLVE, LOCKS, UNLOCK, PROBE, COMMANDS };

static struct op *
command(int which)
{
	static struct restore_result restored;
	static struct lock_seen      lock;
	static struct proof          proof;

	switch (which) {
	case RESTORE:
		return engine_restore(r.engine, &(struct restore_options){ .backend = "a", .name = "x", .version = 1,
		    .to_backend = "b", .to_name = "y" }, &restored);
	case RELEASE:
		return engine_release(r.engine, "a", "x", 0);
	case RESOLVE:
		return engine_resolve(r.engine, "e", "x", NULL);
	case LOCKS:
		return engine_locks(r.engine, NULL, seen_lock, NULL);
	case UNLOCK:
		return engine_unlock(r.engine, "a", "x", NULL, &lock, NULL);
	default:
		return engine_probe(r.engine, "b", seen_check, NULL, &proof);
	}
}

static void
ended(struct op *op, void *arg)
{
	++*(unsigned *)arg;
	op_free(op);
}

static void
reload_waits_for(int which)
{
	unsigned n = 0;

	begin();
	op_start(command(which), ended, &n);
	agent_rig_wait(&r, 1000);
	op_start(engine_reload(r.engine, agent_rig_plan(&r, text)), ended, &n);
	agent_rig_wait(&r, 2000);
	CHECK_U64(engine_generation(r.engine), 0);
	CHECK_U64(n, 0);
	agent_rig_wait(&r, 3600000);
	CHECK_U64(engine_generation(r.engine), 1);
	CHECK_U64(n, 2);
	end();
}

static void
waits_for_what_a_person_asked(void)
{
	for (int i = 0; i < COMMANDS; i++)
		reload_waits_for(i);
}

/* The process ends: what runs is cancelled, and nothing begins again. */
static void
ends_with_the_agent(void)
{
	unsigned   n = 0;
	struct op *reload;

	begin();
	engine_start(r.engine);
	agent_rig_wait(&r, 1000);
	reload = engine_reload(r.engine, agent_rig_plan(&r, text));
	op_start(reload, ended, &n);
	while (reload->state == 0) /* until it waits for what runs to end */
		CHECK(loop_turn(r.loop, false));
	engine_stop(r.engine);
	op_cancel_all(r.loop);
	agent_rig_wait(&r, 60000);
	CHECK_U64(n, 1);
	CHECK_U64(engine_generation(r.engine), 0);
	CHECK(engine_idle(r.engine));
	end();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "waits_for_what_a_person_asked", waits_for_what_a_person_asked },
		{ "ends_with_the_agent", ends_with_the_agent },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
