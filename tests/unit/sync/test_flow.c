/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* The flow from change to replica, on memory backends in virtual time. */
static const char one_edge[] =
    "backend \"mem\" \"a\" {}\n"
    "backend \"mem\" \"b\" {}\n"
    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n";

static struct agent_rig  r;
static struct mem_world *a, *b;

static void
begin(const char *text)
{
	agent_rig_pair(&r, text, &a, &b);
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

static uint64_t
versions_of(const char *name)
{
	struct store_txn *t;
	struct state_rec  s;
	uint64_t          n = 0;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	if (store_state(t, "a", name, &s))
		n = s.versions;
	store_end(t);
	return n;
}

static void
first_and_next(void)
{
	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "one"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	check_equal("x.tfstate");
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "two"));
	mem_world_put(a, "y.tfstate", rig_state(1, "M", 3, "one"));
	CHECK_STR(agent_rig_sync_counts(&r), "2 0 0 0");
	check_equal("x.tfstate");
	check_equal("y.tfstate");
	CHECK_U64(versions_of("x.tfstate"), 2);
	CHECK_U64(mem_world_writes(b), 3);
	end();
}

static void
damage_does_not_travel(void)
{
	static const char *const bad[] = { "<html>502</html>", "", "{\"version\": 4, \"ser", "{\"message\": \"401\"}", "[]" };
	struct span              before, now;

	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 10, "good"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK(mem_world_get(b, "x.tfstate", &before));
	before = span_of(xmemdup(before.p, before.n), before.n);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		mem_world_put(a, "x.tfstate", span_of(bad[i], strlen(bad[i])));
		CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
		CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
		CHECK(mem_world_get(b, "x.tfstate", &now) && span_eq(before, now));
	}
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 2, "shrunk"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	mem_world_put(a, "x.tfstate", rig_state(4, "L", 10, "older"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 10, "fork"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	mem_world_put(a, "x.tfstate", rig_state(9, "other", 10, "unrelated"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	CHECK(mem_world_get(b, "x.tfstate", &now) && span_eq(before, now));
	mem_world_put(a, "x.tfstate", rig_state(7, "L", 10, "healed"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	check_equal("x.tfstate");
	free((void *)(uintptr_t)before.p);
	end();
}

static void
finish_writing(void *arg)
{
	(void)arg;
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "b"));
}

static void
what_is_being_written_is_read_again(void)
{
	static const struct span halves[] = { { (const uint8_t *)"", 0 }, { (const uint8_t *)"{\"version\": 4, \"ser", 19 } };
	struct timer             t;

	for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
		begin(one_edge);
		mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
		CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
		mem_world_put(a, "x.tfstate", halves[i]);
		timer_init(&t, r.loop, finish_writing, NULL);
		timer_set(&t, 1000);
		CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
		CHECK_U64(versions_of("x.tfstate"), 2);
		check_equal("x.tfstate");
		end();
	}
}

static void
damage_is_told_though_the_head_was_late(void)
{
	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "b"));
	mem_world_down(b, ERR_NETWORK);
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 0 1");
	mem_world_down(b, ERR_OK);
	mem_world_put(a, "x.tfstate", SPAN_LIT("<html>"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	CHECK_U64(mem_world_writes(b), 2); /* what was known to be good went its way */
	end();
}

static void
a_person_releases(void)
{
	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 10, "good"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(a, "x.tfstate", rig_state(3, "L", 1, "rolled back on purpose"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	CHECK_OK(agent_rig_run(&r, engine_release(r.engine, "a", "x.tfstate", 0), 60000), r.err);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	check_equal("x.tfstate");
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	mem_world_put(a, "x.tfstate", SPAN_LIT("<html>"));
	CHECK(agent_rig_run(&r, engine_release(r.engine, "a", "x.tfstate", 0), 60000) == ERR_CONFLICT);
	end();
}

static void
an_answer_is_not_believed(void)
{
	struct pass_result p;

	begin(one_edge);
	for (uint64_t serial = 1; serial <= 2; serial++) { /* where nothing was, and over what was */
		mem_world_put(a, "x.tfstate", rig_state(serial, "L", 3, "a"));
		mem_world_fault(b, 4, ERR_OK, false); /* list, lock, get, put */
		agent_rig_sync(&r, &p);
		CHECK_U64(mem_world_writes(b), serial - 1);
		CHECK_U64(p.edges[0].failed, 1);
		CHECK(strstr(p.problems[0].message, "answered as done") != NULL);
		pass_result_free(&p);
		CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
		check_equal("x.tfstate");
	}
	end();
}

static void
held_targets(void)
{
	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_put(b, "x.tfstate", rig_state(9, "L", 3, "newer at the target"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	CHECK_U64(mem_world_writes(b), 1);
	CHECK_U64(versions_of("x.tfstate"), 2); /* what is held is a version, for whoever decides */
	CHECK_OK(agent_rig_run(&r, engine_resolve(r.engine, "e", "x.tfstate", NULL), 60000), r.err);
	check_equal("x.tfstate");
	CHECK_U64(versions_of("x.tfstate"), 2);
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	end();
}

/* A name that the target cannot have is held like every other reason, alone and beside what could be done. */
static void
a_name_that_cannot_be(void)
{
	struct pass_result p;

	begin("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n  key = \"{uuid}.tfstate\"\n}\n");
	mem_world_put(a, "no-uuid.tfstate", rig_state(1, "L", 3, "one"));
	for (int i = 0; i < 3; i++) {
		CHECK_OK(agent_rig_run(&r, engine_pass(r.engine, &(struct pass_options){ .dry_run = i == 0 }, &p), 60000), r.err);
		CHECK_STR(agent_rig_counts(&p), "0 0 1 0");
		CHECK_U64((uint64_t)pass_result_exit(&p), 13);
		CHECK(p.nproblems == 1 && p.problems[0].exit == 13 && strstr(p.problems[0].hint, "key of its own") != NULL);
		pass_result_free(&p);
	}
	mem_world_put(a, "11111111-2222-3333-4444-555555555555.tfstate", rig_state(1, "M", 3, "one"));
	agent_rig_sync(&r, &p);
	CHECK_STR(agent_rig_counts(&p), "1 0 1 0");
	CHECK_U64((uint64_t)pass_result_exit(&p), 3);
	pass_result_free(&p);
	end();
}

/* Two states of one lineage that the template gives one name: the first one keeps it, whoever comes first, and nothing of the other is
 * ever written; a dry run says so before. */
static void
two_states_one_name(void)
{
	struct pass_result p;

	for (unsigned at_once = 0; at_once < 2; at_once++) {
		begin("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  lock = false\n  exclusive = true\n}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n"
		    "  key = \"{path}\"\n}\n");
		mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "one"));
		if (at_once == 0)
			CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
		mem_world_put(a, "x", rig_state(5, "L", 3, "other"));
		CHECK_OK(agent_rig_run(&r, engine_pass(r.engine, &(struct pass_options){ .dry_run = true }, &p), 60000), r.err);
		CHECK_STR(agent_rig_counts(&p), at_once != 0 ? "1 0 1 0" : "0 1 1 0");
		CHECK_U64(p.nproblems, 1);
		CHECK(strstr(p.problems[0].message, "the replica of a:x") != NULL && strstr(p.problems[0].hint, "another key") != NULL);
		pass_result_free(&p);
		CHECK_U64(mem_world_writes(b), at_once != 0 ? 0 : 1);
		for (int i = 0; i < 3; i++) {
			CHECK_STR(agent_rig_sync_counts(&r), at_once != 0 && i == 0 ? "1 0 1 0" : "0 1 1 0");
			CHECK_U64(mem_world_writes(b), 1);
		}
		end();
	}
}

static void
evidence_is_not_known(void)
{
	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_put(b, "x.tfstate", rig_state(9, "L", 3, "newer at the target"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	mem_world_put(a, "x.tfstate", rig_state(4, "L", 3, "rolled back on purpose"));
	CHECK_OK(agent_rig_run(&r, engine_release(r.engine, "a", "x.tfstate", 0), 60000), r.err);
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0"); /* that decision was about the source */
	CHECK_U64(mem_world_writes(b), 1);
	end();
}

static void
first_contact(void)
{
	begin(one_edge);
	mem_world_put(a, "equal.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_put(b, "equal.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_put(a, "older.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_put(b, "older.tfstate", rig_state(4, "L", 3, "b"));
	mem_world_put(a, "fork.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_put(b, "fork.tfstate", rig_state(5, "L", 3, "b"));
	mem_world_put(a, "unrelated.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_put(b, "unrelated.tfstate", rig_state(50, "M", 3, "b"));
	mem_world_put(a, "bare.tfstate", rig_state(5, "L", 3, "a"));
	mem_world_put(b, "bare.tfstate", rig_state(50, "M", 0, ""));
	CHECK_STR(agent_rig_sync_counts(&r), "2 1 2 0");
	check_equal("equal.tfstate");
	check_equal("older.tfstate");
	check_equal("bare.tfstate");
	CHECK_U64(versions_of("older.tfstate"), 2);
	end();
}

static int64_t
troubled_since(uint64_t state)
{
	struct store_txn  *t;
	struct replica_rec rep;
	int64_t            since;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	since = store_replica(t, "e", "b", state, &rep) ? rep.troubled : -1;
	store_end(t);
	return since;
}

static void
drift_of_a_target(void)
{
	int64_t before;

	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 3, "a"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(b, "x.tfstate", (struct span){ NULL, 0 });
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0"); /* lost: written again */
	CHECK(troubled_since(1) == 0);
	agent_rig_wait(&r, 60000);
	before = loop_wall(r.loop);
	mem_world_put(b, "x.tfstate", rig_state(5, "L", 3, "somebody wrote"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	CHECK(troubled_since(1) >= before);
	agent_rig_wait(&r, 60000);
	mem_world_put(b, "x.tfstate", rig_state(5, "L", 3, "and again"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	CHECK(troubled_since(1) >= before && troubled_since(1) < before + 60000); /* since the first time */
	mem_world_put(b, "x.tfstate", rig_state(5, "L", 3, "a"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0"); /* healed by itself */
	CHECK(troubled_since(1) == 0);
	end();
}

static void
the_agent_by_itself(void)
{
	begin(one_edge);
	engine_start(r.engine);
	agent_rig_wait(&r, 1000);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
	agent_rig_wait(&r, 40000);
	check_equal("x.tfstate");
	mem_world_down(b, ERR_NETWORK);
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "b"));
	agent_rig_wait(&r, 120000);
	mem_world_down(b, ERR_OK);
	agent_rig_wait(&r, 700000);
	check_equal("x.tfstate");
	CHECK_U64(mem_world_writes(b), 2);
	end();
}

static void
a_restore(void)
{
	struct restore_result  res;
	struct restore_options o = { .backend = "a", .name = "x.tfstate", .version = 1 };
	struct span            now;

	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "one"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(a, "x.tfstate", rig_state(7, "L", 4, "two"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	o.dry_run = true;
	CHECK_OK(agent_rig_run(&r, engine_restore(r.engine, &o, &res), 60000), r.err);
	CHECK_U64(res.serial_after, 8);
	CHECK_U64(mem_world_writes(a), 2);
	o.dry_run = false;
	CHECK_OK(agent_rig_run(&r, engine_restore(r.engine, &o, &res), 60000), r.err);
	CHECK_U64(res.serial_before, 7);
	CHECK_U64(res.serial_after, 8);
	CHECK(mem_world_get(a, "x.tfstate", &now) && span_eq(now, rig_state(8, "L", 3, "one")));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	check_equal("x.tfstate");
	CHECK_U64(mem_world_writes(a), 3);
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "somebody put back an old file"));
	CHECK_OK(agent_rig_run(&r, engine_restore(r.engine, &o, &res), 60000), r.err);
	CHECK_U64(res.serial_before, 2);
	CHECK_U64(res.serial_after, 9); /* above all that were ever seen, or terraform would refuse it */
	end();
}

struct both {
	unsigned   ended;
	struct err restore;
};

static void
restore_ended(struct op *op, void *arg)
{
	struct both *x = arg;

	x->restore = op->err;
	x->ended++;
	op_free(op);
}

static void
pass_ended(struct op *op, void *arg)
{
	((struct both *)arg)->ended++;
	op_free(op);
}

/* Two versions, of which the first has a third of the resources, and the restore of that one, so many turns long. */
static void
begin_a_shrinking_restore(struct restore_result *res, struct both *x, unsigned turns)
{
	struct restore_options o = { .backend = "a", .name = "x.tfstate", .version = 1 };

	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 20, "one"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 60, "two"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	memset(x, 0, sizeof(*x));
	op_start(engine_restore(r.engine, &o, res), restore_ended, x);
	for (unsigned i = 0; i < turns && x->ended == 0; i++)
		CHECK(loop_turn(r.loop, false));
}

/* A look may see what a restore wrote before the restore has noted it: at whatever turn it comes, both end well. */
static void
a_restore_beside_a_look(void)
{
	bool alone = false;

	for (unsigned k = 1; !alone; k++) {
		struct restore_result res;
		struct pass_result    pass;
		struct both           x;

		begin_a_shrinking_restore(&res, &x, k);
		alone = x.ended > 0;
		op_start(engine_pass(r.engine, &(struct pass_options){ .nedges = 0 }, &pass), pass_ended, &x);
		while (x.ended < 2)
			CHECK(loop_turn(r.loop, true));
		CHECK_OK(x.restore.code, x.restore);
		CHECK_U64(pass.edges[0].held, 0);
		pass_result_free(&pass);
		agent_rig_sync_counts(&r);
		CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
		check_equal("x.tfstate");
		end();
	}
}

/* As if the process had died after it wrote: nobody read back, and the next one finds the intent. */
static void
a_restore_that_was_cut_off(void)
{
	struct restore_result res;
	struct both           x;
	uint64_t              before;

	begin_a_shrinking_restore(&res, &x, 0);
	before = mem_world_writes(a);
	while (mem_world_writes(a) == before)
		CHECK(loop_turn(r.loop, true));
	engine_hurry(r.engine);
	while (x.ended == 0)
		CHECK(loop_turn(r.loop, true));
	CHECK_U64(x.restore.code, ERR_UNCERTAIN);
	agent_rig_sync_counts(&r); /* still in a hurry */
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	check_equal("x.tfstate");
	end();
}

/* One source, one target in two edges, and a chain: the looks at a place serve each edge there, a write is that of its edge alone. */
static void
requests_of_each_edge(void)
{
	struct pass_result p;
	uint64_t           looks, of_e, quiet;

	begin("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n  include = [\"x*\"]\n}\n"
	    "replicate \"f\" {\n  from = \"a\"\n  to = [\"b\"]\n  include = [\"y*\"]\n  key = \"f/{name}\"\n}\n");
	mem_world_put(a, "y.tfstate", rig_state(1, "M", 3, "one"));
	agent_rig_sync(&r, &p);
	CHECK(p.nedges == 2 && p.edges[0].written == 0 && p.edges[1].written == 1);
	looks = p.edges[0].requests; /* two listings, and a read */
	CHECK_U64(looks, 3);
	CHECK(p.edges[1].requests > looks);
	of_e = p.edges[1].requests - looks; /* what a write takes */
	pass_result_free(&p);
	agent_rig_sync(&r, &p);
	quiet = p.edges[0].requests;
	CHECK_U64(quiet, 2);
	CHECK_U64(p.edges[1].requests, quiet);
	pass_result_free(&p);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "one"));
	mem_world_put(a, "x2.tfstate", rig_state(1, "N", 3, "one"));
	CHECK_OK(agent_rig_run(&r, engine_pass(r.engine, &(struct pass_options){ .dry_run = true }, &p), 60000), r.err);
	CHECK_U64(p.edges[0].requests, quiet + 2 + 2); /* both read, and what is there under their names */
	CHECK_U64(p.edges[1].requests, quiet + 2);
	pass_result_free(&p);
	agent_rig_sync(&r, &p);
	CHECK_U64(p.edges[0].written, 2);
	CHECK_U64(p.edges[0].requests, quiet + 2 + 2 * of_e);
	CHECK_U64(p.edges[1].requests, quiet + 2);
	pass_result_free(&p);
	end();
}

static void
snapshots(void)
{
	struct span now;

	begin("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\n"
	      "snapshot \"s\" {\n  from = \"a\"\n  to = [\"b\"]\n  compress = \"none\"\n}\n");
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "one"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "two"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	CHECK_U64(mem_world_writes(b), 2);
	CHECK(!mem_world_get(b, "x.tfstate", &now));
	end();
}

static void
contradictions(void)
{
	CHECK(strstr(agent_rig_plan_error("backend \"mem\" \"a\" {}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"a\"]\n}\n"),
	    "from itself") != NULL);
	CHECK(strstr(agent_rig_plan_error("backend \"mem\" \"a\" {}\nbackend \"http\" \"h\" {\n  address = \"http://h.example/{name}\"\n}\n"
	    "replicate \"e\" {\n  from = \"h\"\n  to = [\"a\"]\n}\n"), "set states = ") != NULL);
	CHECK(strstr(agent_rig_plan_error("backend \"mem\" \"a\" {}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"z\"]\n}\n"),
	    "no backend is called \"z\"") != NULL);
	CHECK(strstr(agent_rig_plan_error("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\n"
	    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\nreplicate \"f\" {\n  from = \"b\"\n  to = [\"a\"]\n}\n"),
	    "cycle") != NULL);
	CHECK(strstr(agent_rig_plan_error("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\n"
	    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\nreplicate \"f\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n"),
	    "same names") != NULL);
	CHECK(strstr(agent_rig_plan_error("bakend \"mem\" \"a\" {}\n"), "did you mean `backend`?") != NULL);
	CHECK(agent_rig_plan_error(one_edge) == NULL);
}

/* There is nothing to write yet: the entry goes, instead of being tried again and again. */
static void
an_entry_without_a_version_leaves_the_queue(void)
{
	struct queue_rec  q = { .due = RIG_WALL, .edge = "e", .target = "b", .state = 1 };
	struct store_txn *t;
	struct state_rec  s;
	struct batch     *batch;

	begin(one_edge);
	mem_world_put(a, "x.tfstate", SPAN_LIT("no state at all"));
	agent_rig_sync_counts(&r);
	batch = batch_new(r.store);
	batch_enqueue(batch, &q);
	CHECK_OK(agent_rig_run(&r, store_apply(r.store, batch), 1000), r.err);
	agent_rig_sync_counts(&r);
	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x.tfstate", &s) && s.id == q.state && s.head == 0);
	CHECK_U64(store_queue_length(t), 0);
	store_end(t);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	check_equal("x.tfstate");
	end();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "first_and_next", first_and_next },
		{ "damage_does_not_travel", damage_does_not_travel },
		{ "what_is_being_written_is_read_again", what_is_being_written_is_read_again },
		{ "damage_is_told_though_the_head_was_late", damage_is_told_though_the_head_was_late },
		{ "a_person_releases", a_person_releases },
		{ "an_answer_is_not_believed", an_answer_is_not_believed },
		{ "held_targets", held_targets }, { "a name that cannot be", a_name_that_cannot_be }, { "two states, one name", two_states_one_name },
		{ "evidence_is_not_known", evidence_is_not_known },
		{ "first_contact", first_contact },
		{ "drift_of_a_target", drift_of_a_target },
		{ "the_agent_by_itself", the_agent_by_itself },
		{ "a_restore", a_restore },
		{ "a_restore_beside_a_look", a_restore_beside_a_look },
		{ "a_restore_that_was_cut_off", a_restore_that_was_cut_off },
		{ "requests of each edge", requests_of_each_edge },
		{ "snapshots", snapshots },
		{ "contradictions", contradictions },
		{ "an entry without a version leaves the queue", an_entry_without_a_version_leaves_the_queue },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
