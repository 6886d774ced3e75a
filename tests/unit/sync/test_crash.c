/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/*
 * Death at every turn of the loop: a child runs a pass between two folders and ends without a word after k turns, as by kill -9
 * (descriptors, locks and memory go, files stay as they are). Its successor must find every acknowledged version, bring the
 * replica up to date, and leave no lock behind. One turn is one step of one operation, so every boundary of an intent is hit.
 */
static char dirs[3][512];

static void
write_file(const char *dir, const char *name, struct span body)
{
	char  path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	CHECK(f != NULL && fwrite(body.p, 1, body.n, f) == body.n && fclose(f) == 0);
}

static bool
read_file(const char *dir, const char *name, struct buf *ret)
{
	char   path[1024], piece[4096];
	FILE  *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "rb");
	buf_init(ret, 0);
	if (f == NULL)
		return false;
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
		buf_put(ret, piece, n);
	fclose(f);
	return true;
}

static const char *
conf_text(void)
{
	static char text[4096];

	snprintf(text, sizeof(text), "backend \"local\" \"a\" {\n  dir = \"%s\"\n}\nbackend \"local\" \"b\" {\n  dir = \"%s\"\n}\n"
	    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n", dirs[0], dirs[1]);
	return text;
}

static void
fresh_dirs(unsigned n)
{
	static const char *const names[] = { "source", "target", "store" };

	for (size_t i = 0; i < 3; i++) {
		snprintf(dirs[i], sizeof(dirs[i]), "%s/%s-%u", test_tmpdir(), names[i], n);
		CHECK(mkdir(dirs[i], 0700) == 0);
	}
}

static void
ignore_op(struct op *op, void *arg)
{
	*(bool *)arg = true;
	op_free(op);
}

/* In the child: one pass, or a restore of the first version; dead after k turns (0: never). Exit 0: it ended by itself. */
static void __attribute__((noreturn))
child(uint64_t k, bool restores)
{
	struct agent_rig       r = { .http = NULL };
	struct restore_options first = { .backend = "a", .name = "x.tfstate", .version = 1 };
	struct restore_result  res;
	struct pass_result     p;
	bool                   done = false;

	agent_rig_open(&r, k, dirs[2], conf_text());
	op_start(restores ? engine_restore(r.engine, &first, &res) : engine_pass(r.engine, &(struct pass_options){ .nedges = 0 }, &p),
	    ignore_op, &done);
	for (uint64_t i = 0; !done && loop_turn(r.loop, false);)
		if (++i == k)
			_exit(9);
	_exit(done ? 0 : 8);
}

static int
run_child(uint64_t k, bool restores)
{
	pid_t pid;
	int   status;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		child(k, restores);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool
count_version(void *arg, const struct version_rec *v)
{
	(void)v;
	++*(uint64_t *)arg;
	return true;
}

static void
note_problem(void *arg, const char *text)
{
	(void)arg;
	printf("# %s\n", text);
}

static void
check_after(uint64_t k)
{
	struct agent_rig   r = { .http = NULL };
	struct store_check check = { .problem = note_problem };
	struct buf         x, y;
	struct store_txn  *t;
	struct state_rec   s;
	uint64_t           versions = 0;
	char               info[1024];

	agent_rig_open(&r, k, dirs[2], conf_text());
	for (int i = 0; i < 5; i++) {
		agent_rig_sync_counts(&r);
		if (read_file(dirs[0], "x.tfstate", &x) && read_file(dirs[1], "x.tfstate", &y) && span_eq(buf_span(&x), buf_span(&y)))
			break;
		buf_free(&x);
		buf_free(&y);
		agent_rig_wait(&r, 120000);
	}
	if (!span_eq(buf_span(&x), buf_span(&y)) || x.len == 0)
		test_fail(__FILE__, __LINE__, "turn %" PRIu64 ": the replica is not right: %s", k, agent_rig_sync_counts(&r));
	buf_free(&x);
	buf_free(&y);
	agent_rig_sync_counts(&r);
	snprintf(info, sizeof(info), "%s/.x.tfstate.lock.info", dirs[1]);
	if (access(info, F_OK) == 0)
		test_fail(__FILE__, __LINE__, "turn %" PRIu64 ": a lock remains", k);
	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x.tfstate", &s));
	store_versions(t, s.id, count_version, &versions);
	store_end(t);
	CHECK(versions >= 2);
	CHECK_OK(agent_rig_run(&r, store_check(r.store, &check), 60000), r.err);
	CHECK_U64(check.problems, 0);
	agent_rig_close(&r);
}

static bool
note_phase(void *arg, const struct intent_rec *i)
{
	*(bool *)arg |= !digest_is_zero(&i->replaces);
	return true;
}

/* Had the write begun, as far as the journal says? */
static bool
was_writing(void)
{
	struct agent_rig  r = { .http = NULL };
	struct store_txn *t;
	bool              writing = false;
	char              info[1024];

	agent_rig_open(&r, 1, dirs[2], conf_text());
	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	store_intents(t, note_phase, &writing);
	store_end(t);
	agent_rig_close(&r);
	snprintf(info, sizeof(info), "%s/.x.tfstate.lock.info", dirs[1]);
	return writing && access(info, F_OK) == 0;
}

/* Death in the middle of a write in place: the new bytes up to the middle, then the old ones. */
static bool
tear(void)
{
	struct buf x, y;

	if (!was_writing())
		return false;
	CHECK(read_file(dirs[0], "x.tfstate", &x) && read_file(dirs[1], "x.tfstate", &y));
	memcpy(y.data, x.data, y.len / 2);
	write_file(dirs[1], "x.tfstate", buf_span(&y));
	buf_free(&x);
	buf_free(&y);
	return true;
}

/* serial 1 is in place, then serial 3 is under way when death comes. */
static int
one_death(uint64_t k, bool torn, unsigned *ret_torn)
{
	int code;

	fresh_dirs((unsigned)k + (torn ? 1000 : 0));
	write_file(dirs[0], "x.tfstate", rig_state(1, "L", 20, "one"));
	CHECK(run_child(0, false) == 0);
	write_file(dirs[0], "x.tfstate", rig_state(3, "L", 60, "three"));
	code = run_child(k, false);
	if (code == 9 && torn)
		*ret_torn += tear();
	if (code == 9)
		check_after(k);
	return code;
}

static unsigned
every_turn(bool torn)
{
	unsigned deaths = 0, torn_ones = 0;
	int      code = 9;

	for (uint64_t k = 1; code == 9; k++) {
		code = one_death(k, torn, &torn_ones);
		deaths += code == 9;
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
	CHECK(every_turn(true) > 5);
}

/* The restore takes most of the resources away: what it wrote is a person's decision, whenever death came. */
static void
death_during_a_restore(void)
{
	unsigned deaths = 0, written = 0;
	int      code = 9;

	for (uint64_t k = 1; code == 9; k++) {
		struct buf x;

		fresh_dirs((unsigned)k + 2000);
		write_file(dirs[0], "x.tfstate", rig_state(1, "L", 20, "one"));
		CHECK(run_child(0, false) == 0);
		write_file(dirs[0], "x.tfstate", rig_state(3, "L", 60, "three"));
		CHECK(run_child(0, false) == 0);
		code = run_child(k, true);
		check_after(k);
		CHECK(read_file(dirs[0], "x.tfstate", &x));
		written += span_eq(buf_span(&x), rig_state(4, "L", 20, "one"));
		buf_free(&x);
		deaths += code == 9;
	}
	CHECK_U64((uint64_t)code, 0);
	printf("# %u deaths, %u of them after the write\n", deaths, written - 1);
	CHECK(deaths > 20 && written > 3);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "death_at_every_turn", death_at_every_turn },
		{ "death_in_the_middle_of_a_write", death_in_the_middle_of_a_write },
		{ "death_during_a_restore", death_during_a_restore },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
