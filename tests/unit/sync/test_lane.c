/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "odd_states_close_no_lane", odd_states_close_no_lane },
		{ "odd_states_close_no_lane_of_the_agent", odd_states_close_no_lane_of_the_agent },
		{ "a_missing_target_closes_it", a_missing_target_closes_it },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
