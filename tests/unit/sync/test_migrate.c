/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/*
 * One state from one backend to another: what may be replaced and what not, both locks, each request failing in turn, and death at
 * every turn of the loop. Whatever happens, running it again ends well, the source is as it was, and no lock remains.
 */
static const char two[] = "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\n";

static struct agent_rig      r;
static struct mem_world     *wa, *wb;
static struct restore_result res;

static void
begin(const char *text)
{
	wa = mem_world_new();
	wb = mem_world_new();
	agent_rig_open(&r, 1, NULL, text);
	agent_rig_world(&r, "a", wa);
	agent_rig_world(&r, "b", wb);
}

static void
end(void)
{
	agent_rig_close(&r);
	mem_world_free(wa);
	mem_world_free(wb);
}

static struct op *
migrate_op(struct agent_rig *rig, const char *name, const char *to_name, bool dry, bool yes)
{
	struct migrate_options o = { .from = plan_backend(engine_plan(rig->engine), "a"), .to = plan_backend(engine_plan(rig->engine), "b"),
		.name = name, .to_name = to_name, .dry_run = dry, .yes = yes };

	return engine_migrate(rig->engine, &o, &res);
}

static enum err_code
migrate(const char *name, const char *to_name, bool dry, bool yes)
{
	return agent_rig_run(&r, migrate_op(&r, name, to_name, dry, yes), 3600000);
}

static bool
holds(struct mem_world *w, const char *name, struct span body)
{
	struct span now;

	return mem_world_get(w, name, &now) && span_eq(now, body);
}

static void
a_state_moves(void)
{
	struct span five = rig_state(5, "L", 3, "five");

	begin(two);
	mem_world_put(wa, "x.tfstate", five);
	CHECK_OK(migrate("x.tfstate", "y.tfstate", true, false), r.err);
	CHECK(res.writes && !res.written && !res.had_before && !res.unlocked);
	CHECK_U64(res.serial_after, 5);
	CHECK_U64(res.changed_resources, 3);
	CHECK_STR(res.to, "b:y.tfstate");
	CHECK(!mem_world_get(wb, "y.tfstate", &five));
	CHECK_U64(mem_world_writes(wb), 0);
	five = rig_state(5, "L", 3, "five");
	CHECK_OK(migrate("x.tfstate", "y.tfstate", false, false), r.err);
	CHECK(res.writes && res.written && !res.had_before);
	CHECK_U64(res.from, 1);
	CHECK(holds(wb, "y.tfstate", five) && holds(wa, "x.tfstate", five));
	CHECK_OK(migrate("x.tfstate", "y.tfstate", false, false), r.err);
	CHECK(!res.writes && !res.written && res.had_before);
	CHECK_U64(res.serial_after, 5);
	CHECK_U64(mem_world_writes(wb), 1);
	CHECK_U64(mem_world_locks(wa) + mem_world_locks(wb), 0);
	end();
}

/* What is there decides: older of the same lineage goes, and is a version first; all else stays. */
static void
only_what_is_older_is_replaced(void)
{
	static const struct {
		uint64_t    serial;
		const char *lineage;
		unsigned    n;
		bool        replaced;
		const char *why;
	} cases[] = {
		{ 4, "L", 3, true, "" },
		{ 6, "L", 3, false, "newer" },
		{ 5, "L", 3, false, "different content" },
		{ 1, "M", 3, false, "another lineage" },
		{ 9, "M", 0, true, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct span       five = rig_state(5, "L", 3, "five"), there = rig_state(cases[i].serial, cases[i].lineage, cases[i].n, "there");
		struct store_txn *t;
		struct state_rec  s;
		struct digest     d;
		struct version_rec v;

		begin(two);
		mem_world_put(wa, "x.tfstate", five);
		mem_world_put(wb, "x.tfstate", there);
		CHECK_U64((uint64_t)migrate("x.tfstate", "x.tfstate", true, false), (uint64_t)(cases[i].replaced ? ERR_OK : ERR_CONFLICT));
		CHECK_U64((uint64_t)migrate("x.tfstate", "x.tfstate", false, false), (uint64_t)(cases[i].replaced ? ERR_OK : ERR_CONFLICT));
		CHECK(strstr(r.err.msg, cases[i].why) != NULL);
		CHECK(cases[i].replaced || strstr(r.err.hint, "restore a:x.tfstate@1 --to b:x.tfstate") != NULL);
		CHECK(holds(wb, "x.tfstate", cases[i].replaced ? five : there));
		CHECK_U64(mem_world_locks(wa) + mem_world_locks(wb), 0);
		CHECK_OK(store_read(r.store, &t, &r.err), r.err);
		sha256_of(there.p, there.n, &d);
		CHECK(store_state(t, "a", "x.tfstate", &s) && store_version_find(t, s.id, &d, &v));
		store_end(t);
		end();
	}
}

static void
damage_does_not_travel(void)
{
	struct span whole = rig_state(5, "L", 8, "whole");

	begin(two);
	mem_world_put(wa, "x.tfstate", span_of(whole.p, whole.n / 2));
	CHECK_U64((uint64_t)migrate("x.tfstate", "x.tfstate", true, false), (uint64_t)(ERR_CONFLICT));
	CHECK_U64((uint64_t)migrate("x.tfstate", "x.tfstate", false, false), (uint64_t)(ERR_CONFLICT));
	CHECK(strstr(r.err.msg, "damaged") != NULL);
	mem_world_put(wa, "x.tfstate", span_str(""));
	CHECK_U64((uint64_t)migrate("x.tfstate", "x.tfstate", false, false), (uint64_t)(ERR_CONFLICT));
	CHECK(strstr(r.err.msg, "empty") != NULL);
	mem_world_put(wa, "x.tfstate", whole);
	CHECK_OK(migrate("x.tfstate", "y.tfstate", false, false), r.err);
	mem_world_put(wa, "x.tfstate", rig_state(6, "L", 1, "shrunk"));
	CHECK_U64((uint64_t)migrate("x.tfstate", "y.tfstate", false, false), (uint64_t)(ERR_CONFLICT));
	CHECK(strstr(r.err.msg, "shrunk") != NULL && strstr(r.err.hint, "quarantine release") != NULL);
	mem_world_put(wa, "x.tfstate", rig_state(4, "L", 8, "older"));
	CHECK_U64((uint64_t)migrate("x.tfstate", "y.tfstate", false, false), (uint64_t)(ERR_CONFLICT));
	CHECK(strstr(r.err.msg, "older") != NULL);
	CHECK(holds(wb, "y.tfstate", whole));
	CHECK_U64((uint64_t)migrate("none.tfstate", "y.tfstate", false, false), (uint64_t)(ERR_NOT_FOUND));
	CHECK_U64(mem_world_writes(wb), 1);
	CHECK_U64(mem_world_locks(wa) + mem_world_locks(wb), 0);
	end();
}

#define FOREIGN "{\"ID\":\"11111111-2222-3333-4444-555555555555\",\"Who\":\"ann@desk\",\"Operation\":\"OperationTypeApply\"," \
	"\"Info\":\"\",\"Version\":\"1.11.4\",\"Created\":\"2026-11-22T00:44:48Z\",\"Path\":\"\"}"

static void
a_foreign_lock_on_either_side(void)
{
	begin(two);
	mem_world_put(wa, "x.tfstate", rig_state(5, "L", 3, "five"));
	for (int i = 0; i < 2; i++) {
		struct mem_world *w = i == 0 ? wa : wb;
		struct span       there;

		mem_world_lock(w, "x.tfstate", FOREIGN);
		CHECK_U64((uint64_t)migrate("x.tfstate", "x.tfstate", false, true), (uint64_t)(ERR_LOCKED));
		CHECK(strstr(r.err.msg, "ann@desk") != NULL && strstr(r.err.hint, "wait for that run") != NULL);
		CHECK_U64(mem_world_locks(wa) + mem_world_locks(wb), 1);
		CHECK(!mem_world_get(wb, "x.tfstate", &there));
		mem_world_lock(w, "x.tfstate", NULL);
	}
	CHECK_OK(migrate("x.tfstate", "x.tfstate", false, false), r.err);
	CHECK_U64(mem_world_locks(wa) + mem_world_locks(wb), 0);
	end();
}

static void
a_source_without_a_lock(void)
{
	static const char *const without[] = { "backend \"mem\" \"a\" {\n  lock = false\n}\nbackend \"mem\" \"b\" {}\n",
		"backend \"mem\" \"a\" {\n  read_only = true\n}\nbackend \"mem\" \"b\" {}\n" };

	for (size_t i = 0; i < ARRAY_LEN(without); i++) {
		begin(without[i]);
		mem_world_put(wa, "x.tfstate", rig_state(5, "L", 3, "five"));
		CHECK_OK(migrate("x.tfstate", "x.tfstate", true, false), r.err);
		CHECK(res.unlocked);
		CHECK_U64((uint64_t)migrate("x.tfstate", "x.tfstate", false, false), (uint64_t)(ERR_USAGE));
		CHECK(strstr(r.err.msg, "cannot be locked") != NULL && strstr(r.err.hint, "--yes") != NULL);
		CHECK_U64(mem_world_writes(wb), 0);
		CHECK_OK(migrate("x.tfstate", "x.tfstate", false, true), r.err);
		CHECK(res.unlocked && res.written);
		CHECK_U64(mem_world_writes(wa), 1); /* the test's own */
		end();
	}
}

struct change {
	bool       done;
	struct err err;
};

static void
note_end(struct op *op, void *arg)
{
	struct change *c = arg;

	c->done = true;
	c->err = op->err;
	op_free(op);
}

/* Somebody who asks for no lock writes to the source at that turn of the loop: the target never holds what nobody is told of. */
static void
the_source_changes_meanwhile(void)
{
	unsigned told = 0, fine = 0;

	for (unsigned k = 0; k < 200; k++) {
		struct change c = { .done = false };
		struct span   x, y;

		begin(two);
		mem_world_put(wa, "x.tfstate", rig_state(5, "L", 3, "five"));
		op_start(migrate_op(&r, "x.tfstate", "x.tfstate", false, false), note_end, &c);
		for (unsigned i = 0; i < k && !c.done; i++)
			CHECK(loop_turn(r.loop, false));
		if (c.done)
			k = 200;
		else
			mem_world_put(wa, "x.tfstate", rig_state(6, "L", 3, "six"));
		while (!c.done)
			CHECK(loop_turn(r.loop, false));
		CHECK(mem_world_get(wa, "x.tfstate", &x) && mem_world_get(wb, "x.tfstate", &y));
		if (c.err.code == ERR_OK) {
			CHECK(span_eq(x, y) || k < 200); /* after it was read the last time the lock is the only thing left to do */
			fine++;
		} else {
			CHECK(c.err.code == ERR_CONFLICT);
			CHECK(strstr(c.err.msg, "while it was migrated") != NULL);
			told++;
			CHECK_OK(migrate("x.tfstate", "x.tfstate", false, false), r.err);
			CHECK(mem_world_get(wb, "x.tfstate", &y) && span_eq(x, y));
		}
		CHECK_U64(mem_world_locks(wa) + mem_world_locks(wb), 0);
		end();
	}
	printf("# %u told, %u fine\n", told, fine);
	CHECK(told > 10 && fine > 2);
}

/* --- each request fails --- */

static const struct {
	enum err_code code;
	bool          after;
} faults[] = { { ERR_UNCERTAIN, true }, { ERR_UNCERTAIN, false }, { ERR_BUSY, false }, { ERR_CONFLICT, false }, { ERR_TIMEOUT, false },
	{ ERR_AUTH, false } };

static const char *const kinds[] = { two, "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  if_match = false\n}\n",
	"backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  lock = false\n}\n",
	"backend \"mem\" \"a\" {\n  lock = false\n}\nbackend \"mem\" \"b\" {}\n" };

static void
look_found(void *arg, const char *name, const char *to_name, const struct err *why)
{
	(void)arg, (void)name, (void)to_name, (void)why;
}

/* As the command does it: what an earlier one left is settled first. */
static void
migrate_as_command(struct agent_rig *rig)
{
	struct migrate_options o = { .from = plan_backend(engine_plan(rig->engine), "a"), .to = plan_backend(engine_plan(rig->engine), "b"),
		.name = "x.tfstate" };

	agent_rig_run(rig, engine_migrate_look(rig->engine, &o, look_found, NULL), 3600000);
	agent_rig_run(rig, migrate_op(rig, "x.tfstate", "x.tfstate", false, true), 3600000);
}

static bool
one_run(const char *text, uint64_t n, int which, size_t fault)
{
	struct span      older = rig_state(4, "L", 3, "four"), five = rig_state(5, "L", 3, "five");
	struct mem_world *w;
	uint64_t          calls;
	char              what[80];
	bool              ok;

	snprintf(what, sizeof(what), "call %" PRIu64 " of %s, fault %zu", n, which == 0 ? "source" : "target", fault);
	begin(text);
	w = which == 0 ? wa : wb;
	mem_world_put(wa, "x.tfstate", five);
	mem_world_put(wb, "x.tfstate", older);
	calls = mem_world_calls(w);
	mem_world_fault(w, n, faults[fault].code, faults[fault].after);
	migrate_as_command(&r);
	ok = r.err.code == ERR_OK;
	calls = mem_world_calls(w) - calls;
	mem_world_fault(w, 0, ERR_OK, false);
	if (ok && !holds(wb, "x.tfstate", five))
		test_fail(__FILE__, __LINE__, "%s: done, but it is not there", what);
	if (!holds(wb, "x.tfstate", five) && !holds(wb, "x.tfstate", older))
		test_fail(__FILE__, __LINE__, "%s: something else is there", what);
	for (int i = 0; i < 5 && (!ok || mem_world_locks(wa) + mem_world_locks(wb) > 0); i++) {
		agent_rig_wait(&r, 120000);
		migrate_as_command(&r);
		ok = r.err.code == ERR_OK;
	}
	if (!ok || !holds(wb, "x.tfstate", five) || !holds(wa, "x.tfstate", five))
		test_fail(__FILE__, __LINE__, "%s: does not end well: %s", what, r.err.msg);
	if (mem_world_locks(wa) + mem_world_locks(wb) != 0)
		test_fail(__FILE__, __LINE__, "%s: a lock remains", what);
	end();
	return n <= calls;
}

static void
each_request_fails(void)
{
	uint64_t runs = 0;

	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (int which = 0; which < 2; which++)
			for (size_t f = 0; f < ARRAY_LEN(faults); f++)
				for (uint64_t n = 1; one_run(kinds[k], n, which, f); n++)
					runs++;
	printf("# %" PRIu64 " runs\n", runs);
	CHECK(runs > 150);
}

/* Whoever interrupts it at any turn leaves no lock, and learns that it did not happen only when it did not. */
static void
cancelled_at_each_turn(void)
{
	unsigned cancelled = 0;

	for (unsigned k = 0; k < 200; k++) {
		struct change c = { .done = false };
		struct op    *op;
		struct span   there;

		begin(two);
		mem_world_put(wa, "x.tfstate", rig_state(5, "L", 3, "five"));
		op = migrate_op(&r, "x.tfstate", "x.tfstate", false, false);
		op_start(op, note_end, &c);
		for (unsigned i = 0; i < k && !c.done; i++)
			CHECK(loop_turn(r.loop, false));
		if (c.done)
			k = 200;
		else
			op_cancel(op);
		while (!c.done)
			CHECK(loop_turn(r.loop, false));
		cancelled += c.err.code != ERR_OK;
		CHECK(c.err.code != ERR_OK || mem_world_get(wb, "x.tfstate", &there));
		CHECK_U64(mem_world_locks(wa) + mem_world_locks(wb), 0);
		CHECK_OK(migrate("x.tfstate", "x.tfstate", false, false), r.err);
		end();
	}
	printf("# %u cancelled\n", cancelled);
	CHECK(cancelled > 10);
}

/* --- death --- */

static char dirs[3][512];

static void
write_file(const char *dir, struct span body)
{
	char *path = xasprintf("%s/x.tfstate", dir);
	FILE *f = fopen(path, "wb");

	CHECK(f != NULL && fwrite(body.p, 1, body.n, f) == body.n && fclose(f) == 0);
	free(path);
}

static bool
file_is(const char *dir, struct span body)
{
	static char now[20000];
	char       *path = xasprintf("%s/x.tfstate", dir);
	FILE       *f = fopen(path, "rb");
	size_t      n = f != NULL ? fread(now, 1, sizeof(now), f) : 0;

	if (f != NULL)
		fclose(f);
	free(path);
	return span_eq(span_of(now, n), body);
}

static bool
is_locked(const char *dir)
{
	char *path = xasprintf("%s/.x.tfstate.lock.info", dir);
	bool  is = access(path, F_OK) == 0;

	free(path);
	return is;
}

static const char *
folders(void)
{
	static char text[2048];

	snprintf(text, sizeof(text), "backend \"local\" \"a\" {\n  dir = \"%s\"\n}\nbackend \"local\" \"b\" {\n  dir = \"%s\"\n}\n", dirs[0],
	    dirs[1]);
	return text;
}

/* In a child that ends without a word after k turns (0: never). Exit 0: it ended by itself. */
static int
run_child(uint64_t k)
{
	struct agent_rig c = { .http = NULL };
	struct change    end_of = { .done = false };
	pid_t            pid;
	int              status;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		agent_rig_open(&c, 1, dirs[2], folders());
		op_start(migrate_op(&c, "x.tfstate", "x.tfstate", false, false), note_end, &end_of);
		for (uint64_t i = 0; !end_of.done && loop_turn(c.loop, false);)
			if (++i == k)
				_exit(9);
		_exit(end_of.done && end_of.err.code == ERR_OK ? 0 : 8);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The new bytes up to the middle, then the old ones: as a write in place is left that death has cut. */
static bool
tear(struct span old, struct span next)
{
	struct buf torn;

	if (!is_locked(dirs[1]) || !file_is(dirs[1], old))
		return false;
	buf_init(&torn, 0);
	buf_put(&torn, next.p, old.n / 2);
	buf_put(&torn, old.p + old.n / 2, old.n - old.n / 2);
	write_file(dirs[1], buf_span(&torn));
	buf_free(&torn);
	return true;
}

struct phase {
	bool writing;
};

static bool
note_phase(void *arg, const struct intent_rec *i)
{
	((struct phase *)arg)->writing |= !digest_is_zero(&i->replaces);
	return true;
}

static void
after_death(uint64_t k, bool torn, unsigned *ret_torn)
{
	struct span       four = rig_state(4, "L", 20, "four"), five = rig_state(5, "L", 60, "five");
	struct agent_rig  c = { .http = NULL };
	struct phase      phase = { false };
	struct store_txn *t;

	agent_rig_open(&c, k, dirs[2], folders());
	CHECK_OK(store_read(c.store, &t, &c.err), c.err);
	store_intents(t, note_phase, &phase);
	store_end(t);
	if (torn && phase.writing)
		*ret_torn += tear(four, five);
	migrate_as_command(&c);
	if (c.err.code != ERR_OK || !file_is(dirs[1], five) || !file_is(dirs[0], five))
		test_fail(__FILE__, __LINE__, "turn %" PRIu64 ": does not go on: %s", k, c.err.msg);
	agent_rig_wait(&c, 120000);
	migrate_as_command(&c);
	CHECK_OK(c.err.code, c.err);
	if (is_locked(dirs[0]) || is_locked(dirs[1]))
		test_fail(__FILE__, __LINE__, "turn %" PRIu64 ": a lock remains", k);
	agent_rig_close(&c);
}

static unsigned
every_turn(bool torn)
{
	static const char *const names[] = { "source", "target", "store" };
	unsigned deaths = 0, torn_ones = 0;
	int      code = 9;

	for (uint64_t k = 1; code == 9; k++) {
		for (size_t i = 0; i < 3; i++) {
			snprintf(dirs[i], sizeof(dirs[i]), "%s/%s-%d-%" PRIu64, test_tmpdir(), names[i], torn, k);
			CHECK(mkdir(dirs[i], 0700) == 0);
		}
		write_file(dirs[0], rig_state(5, "L", 60, "five"));
		write_file(dirs[1], rig_state(4, "L", 20, "four"));
		code = run_child(k);
		deaths += code == 9;
		after_death(k, torn, &torn_ones);
	}
	CHECK_U64((uint64_t)code, 0);
	printf("# %u deaths, %u torn\n", deaths, torn_ones);
	return torn ? torn_ones : deaths;
}

static void
death_at_every_turn(void)
{
	CHECK(every_turn(false) > 20);
}

static void
death_in_the_middle_of_a_write(void)
{
	CHECK(every_turn(true) > 2);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "a_state_moves", a_state_moves },
		{ "only_what_is_older_is_replaced", only_what_is_older_is_replaced },
		{ "damage_does_not_travel", damage_does_not_travel },
		{ "a_foreign_lock_on_either_side", a_foreign_lock_on_either_side },
		{ "a_source_without_a_lock", a_source_without_a_lock },
		{ "the_source_changes_meanwhile", the_source_changes_meanwhile },
		{ "each_request_fails", each_request_fails },
		{ "cancelled_at_each_turn", cancelled_at_each_turn },
		{ "death_at_every_turn", death_at_every_turn },
		{ "death_in_the_middle_of_a_write", death_in_the_middle_of_a_write },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
