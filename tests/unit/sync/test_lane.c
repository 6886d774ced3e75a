/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sync/core.h"
#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* One lane: whose failure closes it, and what opens it again. From memory to a folder. */
#define ODD  20  /* more than are written at once */
#define FINE 20

static struct agent_rig  r;
static struct mem_world *source;
static char              dir[512];

static void
begin(void)
{
	static unsigned n;
	char            text[1024];

	snprintf(dir, sizeof(dir), "%s/target-%u", test_tmpdir(), n++);
	CHECK(mkdir(dir, 0700) == 0);
	snprintf(text, sizeof(text), "backend \"mem\" \"a\" {}\nbackend \"local\" \"b\" {\n  dir = \"%s\"\n}\n"
	    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n", dir);
	agent_rig_open(&r, 1, NULL, text);
	source = agent_rig_world(&r, "a", mem_world_new());
}

static void
end(void)
{
	agent_rig_close(&r);
	mem_world_free(source);
}

static void
states(const char *word, unsigned n)
{
	char name[64];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s-%02u.tfstate", word, i);
		mem_world_put(source, name, rig_state(1, "L", 3, "one"));
	}
}

/* How many of these states the target has. */
static unsigned
there(const char *word, unsigned n)
{
	char        path[600];
	unsigned    have = 0;
	struct stat st;

	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s-%02u.tfstate", dir, word, i);
		have += stat(path, &st) == 0 && S_ISREG(st.st_mode);
	}
	return have;
}

/* Where these states would go the target has links to outside of the folder. */
static void
obstruct(const char *word, unsigned n)
{
	char path[600];

	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s-%02u.tfstate", dir, word, i);
		CHECK(symlink("/nowhere/at-all", path) == 0);
	}
}

static void
odd_states_close_no_lane(void)
{
	begin();
	states("a-odd", ODD);
	states("b-fine", FINE);
	obstruct("a-odd", ODD);
	CHECK_STR(agent_rig_sync_counts(&r), "20 0 0 20");
	CHECK_U64(there("b-fine", FINE), FINE);
	end();
}

static void
odd_states_close_no_lane_of_the_agent(void)
{
	begin();
	states("a-odd", ODD);
	states("b-fine", FINE);
	obstruct("a-odd", ODD);
	engine_start(r.engine);
	agent_rig_wait(&r, 1500);
	CHECK_U64(there("b-fine", FINE), FINE);
	end();
}

static void
a_missing_target_closes_it(void)
{
	struct pass_result p;

	begin();
	states("x", ODD + FINE);
	CHECK(rmdir(dir) == 0);
	agent_rig_sync(&r, &p);
	CHECK_U64(p.edges[0].failed, ODD + FINE);
	CHECK_U64(p.nproblems, 1); /* of the target, not of each state */
	pass_result_free(&p);
	CHECK(mkdir(dir, 0700) == 0);
	CHECK_STR(agent_rig_sync_counts(&r), "40 0 0 0");
	end();
}

/* --- a target that fails while many are on their way --- */

#define MANY 200

static struct mem_world *target;

static void
begin_in_memory(void)
{
	agent_rig_open(&r, 1, NULL, "backend \"mem\" \"a\" {\n  poll = \"1s\"\n}\nbackend \"mem\" \"b\" {\n  poll = \"1h\"\n}\n"
	    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n");
	source = agent_rig_world(&r, "a", mem_world_new());
	target = agent_rig_world(&r, "b", mem_world_new());
	engine_start(r.engine);
	agent_rig_wait(&r, 1000); /* both were looked at */
}

static void
end_in_memory(void)
{
	agent_rig_close(&r);
	mem_world_free(source);
	mem_world_free(target);
}

/* All of them want to write at once; no more are sent than may lock there. */
static void
a_dead_target_is_asked_by_few(void)
{
	uint64_t before, asked;

	begin_in_memory();
	mem_world_down(target, ERR_TIMEOUT);
	before = mem_world_calls(target);
	states("x", MANY);
	agent_rig_wait(&r, LANE_HOLD_MIN_MS / 2);
	asked = mem_world_calls(target) - before;
	CHECK(asked >= LANE_STRIKES && asked < 2 * PLACE_LOCKS);
	end_in_memory();
}

/* Those under way fail with the one that closed it: that is one failure of the target, and not many in a row. */
static void
a_closed_lane_is_tried_again_soon(void)
{
	begin_in_memory();
	mem_world_down(target, ERR_TIMEOUT);
	states("x", MANY);
	agent_rig_wait(&r, LANE_HOLD_MIN_MS / 2);
	mem_world_down(target, ERR_OK);
	agent_rig_wait(&r, 2 * LANE_HOLD_MIN_MS);
	CHECK_U64(mem_world_writes(target), MANY);
	CHECK_U64(mem_world_locks(target), 0);
	end_in_memory();
}

/* From closing to closing it is asked less often. */
static void
a_target_that_stays_dead_is_asked_less_and_less(void)
{
	uint64_t before, early, late;

	begin_in_memory();
	mem_world_down(target, ERR_TIMEOUT);
	states("x", MANY);
	before = mem_world_calls(target);
	agent_rig_wait(&r, 20 * LANE_HOLD_MIN_MS);
	early = mem_world_calls(target) - before;
	agent_rig_wait(&r, 2 * LANE_HOLD_MAX_MS);
	before = mem_world_calls(target);
	agent_rig_wait(&r, 20 * LANE_HOLD_MIN_MS);
	late = mem_world_calls(target) - before;
	CHECK(early >= 3 && late < early / 2);
	end_in_memory();
}

/* --- large states --- */

static uint64_t most;

static void
on_its_way(const struct op *op, void *arg)
{
	if (strcmp(op->class->name, "push") == 0)
		++*(uint64_t *)arg;
	op_children(op, on_its_way, arg);
}

static void
watch(void *arg)
{
	uint64_t n = 0;

	op_list(r.loop, on_its_way, &n);
	most = n > most ? n : most;
	timer_set(arg, 1);
}

/* What lies in memory is bounded, not only how many. */
static void
large_states_go_a_few_at_a_time(void)
{
	char         name[64], *big = malloc(PLACE_BYTES / 4 + 4096);
	struct span  s = rig_state(1, "L", 3, "one");
	struct timer t;

	begin_in_memory();
	memset(big, ' ', PLACE_BYTES / 4 + 4096);
	memcpy(big, s.p, s.n);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "big-%u.tfstate", i);
		big[s.n + i] = '\n';
		mem_world_put(source, name, (struct span){ (uint8_t *)big, PLACE_BYTES / 4 + 4096 });
	}
	most = 0;
	timer_init(&t, r.loop, watch, &t);
	timer_set(&t, 0);
	agent_rig_wait(&r, 60000);
	timer_stop(&t);
	CHECK_U64(mem_world_writes(target), 8);
	CHECK(most >= 1 && most <= 3);
	free(big);
	end_in_memory();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "odd_states_close_no_lane", odd_states_close_no_lane },
		{ "odd_states_close_no_lane_of_the_agent", odd_states_close_no_lane_of_the_agent },
		{ "a_missing_target_closes_it", a_missing_target_closes_it },
		{ "a_dead_target_is_asked_by_few", a_dead_target_is_asked_by_few },
		{ "a_closed_lane_is_tried_again_soon", a_closed_lane_is_tried_again_soon },
		{ "a_target_that_stays_dead_is_asked_less_and_less", a_target_that_stays_dead_is_asked_less_and_less },
		{ "large_states_go_a_few_at_a_time", large_states_go_a_few_at_a_time },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
