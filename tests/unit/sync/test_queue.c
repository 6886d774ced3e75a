/* SPDX-License-Identifier: MIT */
#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* What is queued and is not to be written, or cannot be: it leaves the queue, and no agent tries it again and again. */
#define BACKENDS "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\n"
#define EDGE     "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n"
#define SNAPSHOT "snapshot \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n  compress = \"none\"\n"
#define TURNS    3000 /* within a minute */

static struct agent_rig  r;
static struct mem_world *a, *b;

static void
enqueue(void)
{
	struct queue_rec q = { .due = RIG_WALL, .edge = "e", .target = "b", .state = 1 };
	struct batch    *batch = batch_new(r.store);

	batch_enqueue(batch, &q);
	CHECK_OK(agent_rig_run(&r, store_apply(r.store, batch), 1000), r.err);
}

static void
configure(const char *text)
{
	CHECK_OK(agent_rig_run(&r, engine_reload(r.engine, agent_rig_plan(&r, text)), 60000), r.err);
	agent_rig_world(&r, "a", a);
	agent_rig_world(&r, "b", b);
}

/* A state that was replicated has an entry for a newer head, and then the configuration is that. */
static void
begin(const char *first, const char *then)
{
	agent_rig_pair(&r, first, &a, &b);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "one"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "two"));
	configure(then);
	enqueue();
}

static void
end(void)
{
	agent_rig_pair_end(&r, a, b);
}

/* The agent by itself, for a minute. */
static void
run(void)
{
	int64_t until = loop_now(r.loop) + 60000;

	engine_start(r.engine);
	for (unsigned i = 0; i < TURNS && loop_now(r.loop) < until; i++)
		CHECK(loop_turn(r.loop, false));
	CHECK(loop_now(r.loop) >= until);
}

static uint64_t
queued(void)
{
	struct store_txn *t;
	uint64_t          n;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	n = store_queue_length(t);
	store_end(t);
	return n;
}

static void
leaves(const char *first, const char *then)
{
	begin(first, then);
	run();
	CHECK_U64(queued(), 0);
	end();
}

/* Once the edge carries it again it is queued again. */
static void
what_the_edge_does_not_carry(void)
{
	static const char *const then[] = { BACKENDS EDGE "  exclude = [\"x.tfstate\"]\n}\n",
		BACKENDS EDGE "  state \"x.tfstate\" {\n    paused = true\n  }\n}\n" };

	for (size_t i = 0; i < 2; i++) {
		begin(BACKENDS EDGE "}\n", then[i]);
		run();
		CHECK_U64(queued(), 0);
		CHECK_U64(mem_world_writes(b), 1);
		configure(BACKENDS EDGE "}\n");
		agent_rig_wait(&r, 60000);
		agent_rig_pair_equal(a, b, "x.tfstate");
		end();
	}
}

static void
what_a_snapshot_does_not_carry(void)
{
	leaves(BACKENDS SNAPSHOT "}\n", BACKENDS SNAPSHOT "  exclude = [\"x.tfstate\"]\n}\n");
}

static void
a_name_that_cannot_be(void)
{
	leaves(BACKENDS EDGE "}\n", BACKENDS EDGE "  key = \"{uuid}\"\n}\n");
}

static void
a_name_that_is_another_states(void)
{
	begin(BACKENDS EDGE "}\n", BACKENDS EDGE "  state \"y.tfstate\" {\n    key = \"x.tfstate\"\n  }\n}\n");
	mem_world_put(a, "y.tfstate", rig_state(1, "M", 3, "one"));
	run();
	CHECK_U64(queued(), 0);
	agent_rig_pair_equal(a, b, "x.tfstate");
	end();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "what the edge does not carry", what_the_edge_does_not_carry },
		{ "what a snapshot does not carry", what_a_snapshot_does_not_carry },
		{ "a name that cannot be", a_name_that_cannot_be },
		{ "a name that is another state's", a_name_that_is_another_states },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
