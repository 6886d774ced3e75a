/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/api_rig.h"
#include "../../lib/test.h"

/* The documents of migrate, between memory and a folder, in virtual time. */
static struct agent_rig  r;
static struct mem_world *wa, *wb;
static struct api_answer a;

static void
begin(const char *more)
{
	char *text = xasprintf("backend \"mem\" \"a\" {\n  state \"y.tfstate\" {\n    alias = \"why\"\n  }\n}\nbackend \"mem\" \"b\" {}\n"
	    "backend \"local\" \"one\" {\n  path = \"%s/one.tfstate\"\n}\n%s", test_tmpdir(), more);

	agent_rig_pair(&r, text, &wa, &wb);
	free(text);
}

static void
end(void)
{
	api_answer_free(&a);
	agent_rig_pair_end(&r, wa, wb);
}

static void
one_state(void)
{
	begin("replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n  include = [\"none\"]\n}\n");
	mem_world_put(wa, "y.tfstate", rig_state(7, "L", 3, "one"));
	API_POST(&r, &a, "migrate", "from=a:why", "to=one", "dry_run=1", NULL);
	CHECK_U64(a.exit, 0);
	CHECK_STR(api_text(&a, "plan.0.state"), "a:y.tfstate");
	CHECK_STR(api_text(&a, "plan.0.to"), "one:one.tfstate");
	CHECK_STR(api_text(&a, "plan.0.workspace"), "default");
	CHECK_STR(api_text(&a, "plan.0.serial_before"), "null");
	CHECK_STR(api_text(&a, "plan.0.serial_after"), "7");
	CHECK_STR(api_text(&a, "plan.0.changed_resources"), "3");
	CHECK_STR(api_text(&a, "plan.0.writes"), "true");
	CHECK_STR(api_text(&a, "plan.0.source_locked"), "true");
	CHECK_STR(api_text(&a, "commands.0"), "terraform init -reconfigure");
	CHECK_STR(api_text(&a, "commands.1"), "terraform plan");
	CHECK_STR(api_text(&a, "edges_from_source.0"), "e");
	API_POST(&r, &a, "migrate", "from=a:y.tfstate", "to=one", NULL);
	CHECK_U64(a.exit, 0);
	CHECK_STR(api_text(&a, "result.0.from"), "1");
	CHECK(strstr(api_text(&a, "blocks.0.hcl"), "terraform {\n  backend \"local\" {\n    path ") != NULL);
	CHECK_STR(api_text(&a, "blocks.0.workspaces.0"), "default");
	API_POST(&r, &a, "migrate", "from=a:y.tfstate", "to=one:one.tfstate", NULL);
	CHECK_STR(api_text(&a, "result.0.writes"), "false");
	end();
}

static void
what_is_refused(void)
{
	static const struct {
		const char *from, *to;
		unsigned    exit;
		const char *said, *hint; /* hint NULL: what is said is enough */
	} cases[] = {
		{ "from=nope", "to=b", 2, "FROM: no backend is called \"nope\"", NULL },
		{ "from=a", "to=nope:x", 2, "TO: no backend is called \"nope\"", NULL },
		{ "from=a", "to=a", 2, "one backend", "name another one as TO" },
		{ "from=a:x.tfstate", "to=a", 2, "one backend", "stateferry migrate a:x.tfstate a:NAME" },
		{ "from=a", "to=b:x", 2, "a is a whole backend, and b:x is one state", NULL },
		{ "from=a:../x", "to=b", 2, "..", NULL },
		{ "from=a:", "to=b", 2, "empty", NULL },
		{ "from=a:x.tfstate", "to=a:x.tfstate", 2, "is the same place", "another name there" },
		{ "from=a:x.tfstate", "to=one:two.tfstate", 2, "two.tfstate is none of them", "stateferry migrate a:x.tfstate one" },
		{ "from=a:none", "to=b", 1, "no such state", "stateferry migrate a b --dry-run" },
		{ "from=b", "to=a", 1, "b holds no state", NULL },
		{ "from=a:x.tfstate", "to=", 2, "\"to\" is empty", NULL },
	};

	begin("");
	mem_world_put(wa, "x.tfstate", rig_state(7, "L", 3, "one"));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		API_POST(&r, &a, "migrate", cases[i].from, cases[i].to, NULL);
		if (a.exit != (int)cases[i].exit || strstr(api_text(&a, "error.message"), cases[i].said) == NULL ||
		    (cases[i].hint != NULL && strstr(api_text(&a, "error.hint"), cases[i].hint) == NULL))
			test_fail(__FILE__, __LINE__, "%s %s: exit %d: %s", cases[i].from, cases[i].to, a.exit, api_text(&a, "error.message"));
	}
	API_POST(&r, &a, "migrate", "from=a", NULL);
	CHECK_U64((uint64_t)a.exit, 2);
	CHECK_U64(mem_world_writes(wb), 0);
	end();
}

/* Several items: what one of them failed for is told beside the others, and the exit code counts them. */
static void
a_whole_backend(void)
{
	begin("");
	mem_world_put(wa, "w.tfstate", rig_state(7, "L", 3, "one"));
	mem_world_put(wa, "x.tfstate", rig_state(7, "M", 3, "one"));
	mem_world_put(wa, "y.tfstate", span_str("{"));
	mem_world_put(wb, "x", rig_state(8, "M", 3, "newer"));
	API_POST(&r, &a, "migrate", "from=a", "to=b", "dry_run=1", NULL);
	CHECK_U64((uint64_t)a.exit, 3);
	CHECK_U64(mem_world_writes(wb), 1);
	API_POST(&r, &a, "migrate", "from=a", "to=b", NULL);
	CHECK_U64((uint64_t)a.exit, 3);
	CHECK_STR(api_text(&a, "exit_code"), "3");
	CHECK_STR(api_text(&a, "result.0.to"), "b:w");
	CHECK_STR(api_text(&a, "result.0.error"), "null");
	CHECK_STR(api_text(&a, "result.1.error.code"), "13");
	CHECK(strstr(api_text(&a, "result.1.error.message"), "the target is newer: serial 8") != NULL);
	CHECK_STR(api_text(&a, "result.2.error.code"), "13");
	CHECK(strstr(api_text(&a, "result.2.error.message"), "damaged") != NULL);
	CHECK_STR(api_text(&a, "blocks.0.states.0"), "w.tfstate");
	CHECK_STR(api_text(&a, "blocks.1"), "(absent)");
	mem_world_put(wa, "w.tfstate", rig_state(7, "N", 3, "one"));
	API_POST(&r, &a, "migrate", "from=a", "to=b", NULL);
	CHECK_U64((uint64_t)a.exit, 13);
	end();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "one_state", one_state },
		{ "what_is_refused", what_is_refused },
		{ "a_whole_backend", a_whole_backend },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
