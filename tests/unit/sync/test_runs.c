/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"
#include "base/time.h"

/* Which run wrote a version: terraform locks, writes and unlocks at the source, and an agent, or a pass now and then, looks on. */
#define TEXT(more) "backend \"mem\" \"a\" {\n  poll = \"60s\"\n" more "}\nbackend \"mem\" \"b\" {\n  poll = \"30d\"\n}\n" \
    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n"
static const char text[] = TEXT("");
static const char dated[] = TEXT("  history = true\n  backfill = 10\n"); /* tells when what is there was made, and keeps older ones */

static struct agent_rig  r;
static struct mem_world *a, *b;
static uint64_t          serial;

static void
begin_with(const char *conf, bool runs)
{
	serial = 0;
	agent_rig_pair(&r, conf, &a, &b);
	mem_world_put(a, "x", rig_state(++serial, "l", 1, ""));
	if (!runs) {
		CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
		return;
	}
	engine_start(r.engine);
	agent_rig_wait(&r, 300000);
}

static void
begin(bool runs)
{
	begin_with(text, runs);
}

static void
end(void)
{
	mem_world_lock(a, "x", NULL);
	agent_rig_pair_end(&r, a, b);
}

static void
lock_since(const char *id, int64_t wall)
{
	char body[200], at[TIME_TEXT_MAX];

	snprintf(body, sizeof(body), "{\"ID\":\"%s\",\"Who\":\"ann@%s\",\"Operation\":\"OperationTypeApply\",\"Created\":\"%s\"}", id, id,
	    time_format(wall, at));
	mem_world_lock(a, "x", body);
}

static void
lock_it(const char *id)
{
	lock_since(id, loop_wall(r.loop));
}

static void
write_it(void)
{
	mem_world_date(a, loop_wall(r.loop));
	mem_world_put(a, "x", rig_state(++serial, "l", 1, ""));
}

static void
unlock_it(void)
{
	mem_world_lock(a, "x", NULL);
}

static bool
print(void *arg, const struct run_rec *run)
{
	buf_printf(arg, "%s%s %" PRIu64 ":%" PRIu64 "-%" PRIu64 "\n", run->lock, run_lasts(run) ? " lasts" : "", run->versions, run->first_serial,
	    run->last_serial);
	return true;
}

/* Each as "LOCK [lasts] VERSIONS:FIRST-LAST", newest first. */
static void
check_runs(const char *want)
{
	struct store_txn *t;
	struct state_rec  s;
	struct buf        all;

	buf_init(&all, 0);
	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x", &s));
	store_runs(t, s.id, 0, print, &all);
	store_end(t);
	CHECK_STR(buf_str(&all), want);
	buf_free(&all);
}

/* Who wrote the newest version. */
static const char *
author(void)
{
	static char        run[64];
	struct store_txn  *t;
	struct state_rec   s;
	struct version_rec v;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x", &s) && store_version(t, s.id, s.versions, &v));
	CHECK_U64(v.serial, serial);
	CHECK(v.run[0] == '\0' || strncmp(v.who, "stateferry", 10) == 0 ||
	    (strstr(v.who, v.run) != NULL && strcmp(v.operation, "OperationTypeApply") == 0));
	snprintf(run, sizeof(run), "%s", strncmp(v.who, "stateferry", 10) == 0 ? v.who : v.run);
	store_end(t);
	return run;
}

static void
what_is_written_under_a_lock_is_its_run(void)
{
	begin(true);
	check_runs("");
	lock_it("t1");
	agent_rig_wait(&r, 70000);
	check_runs("t1 lasts 0:0-0\n");
	write_it();
	agent_rig_wait(&r, 2100);
	CHECK_STR(author(), "t1");
	write_it();
	agent_rig_wait(&r, 2100);
	check_runs("t1 lasts 2:2-3\n");
	write_it(); /* and gone before the next look */
	unlock_it();
	agent_rig_wait(&r, 2100);
	CHECK_STR(author(), "t1");
	check_runs("t1 3:2-4\n");
	write_it();
	agent_rig_wait(&r, 70000);
	CHECK_STR(author(), "");
	check_runs("t1 3:2-4\n");
	end();
}

/* Written, then locked by the next one, between two looks: it was there before. */
static void
what_is_older_than_the_lock_is_not_of_it(void)
{
	begin_with(dated, true);
	write_it();
	agent_rig_wait(&r, 5);
	lock_since("t1", loop_wall(r.loop) + 2000);
	agent_rig_wait(&r, 70000);
	CHECK_STR(author(), "");
	check_runs("t1 lasts 0:0-0\n");
	unlock_it();
	agent_rig_wait(&r, 70000);
	lock_it("t2");
	agent_rig_wait(&r, 10);
	write_it();
	agent_rig_wait(&r, 70000);
	CHECK_STR(author(), "t2");
	check_runs("t2 lasts 1:3-3\nt1 0:0-0\n");
	end();
}

/* Of those between two looks each goes by when it was made. */
static void
older_versions_go_by_their_time(void)
{
	begin_with(dated, false);
	agent_rig_wait(&r, 60000);
	write_it();
	agent_rig_wait(&r, 60000);
	lock_it("t1");
	for (int i = 0; i < 3; i++) {
		agent_rig_wait(&r, 60000);
		write_it();
	}
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(author(), "t1");
	check_runs("t1 lasts 3:3-5\n");
	end();
}

/* The last version of one run is found when the next one has the lock already. */
static void
a_lock_that_changes_hands(void)
{
	begin(true);
	lock_it("t1");
	agent_rig_wait(&r, 70000);
	write_it();
	lock_it("t2");
	agent_rig_wait(&r, 2100);
	CHECK_STR(author(), "t1");
	check_runs("t2 lasts 0:0-0\nt1 1:2-2\n");
	write_it();
	agent_rig_wait(&r, 2100);
	CHECK_STR(author(), "t2");
	unlock_it();
	agent_rig_wait(&r, 2100);
	check_runs("t2 1:3-3\nt1 1:2-2\n");
	end();
}

/* Of two runs an hour apart nobody knows which of them wrote, or whether a third one did. */
static void
passes_now_and_then(void)
{
	begin(false);
	lock_it("t1");
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	check_runs("t1 lasts 0:0-0\n");
	agent_rig_wait(&r, 3600000);
	write_it();
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(author(), "t1");
	agent_rig_wait(&r, 3600000);
	write_it();
	unlock_it();
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(author(), "t1");
	check_runs("t1 2:2-3\n");
	lock_it("t2");
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	agent_rig_wait(&r, 3600000);
	write_it();
	lock_it("t3");
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(author(), "");
	unlock_it(); /* with nothing new, by what the listing shows alone */
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	check_runs("t3 0:0-0\nt2 0:0-0\nt1 2:2-3\n");
	end();
}

/* One request for a lock that is listed; none for one that is not, nor by a pass that only shows what it would do. */
static void
what_it_costs(void)
{
	struct pass_result p;
	uint64_t           calls;

	begin(false);
	calls = mem_world_calls(a);
	agent_rig_sync_counts(&r);
	CHECK_U64(mem_world_calls(a) - calls, 1);
	lock_it("t1");
	calls = mem_world_calls(a);
	CHECK_OK(agent_rig_run(&r, engine_pass(r.engine, &(struct pass_options){ .dry_run = true }, &p), 60000), r.err);
	pass_result_free(&p);
	CHECK_U64(mem_world_calls(a) - calls, 1);
	check_runs("");
	calls = mem_world_calls(a);
	agent_rig_sync_counts(&r);
	CHECK_U64(mem_world_calls(a) - calls, 2);
	unlock_it();
	calls = mem_world_calls(a);
	agent_rig_sync_counts(&r);
	CHECK_U64(mem_world_calls(a) - calls, 1);
	check_runs("t1 0:0-0\n");
	end();
}

/* The next agent goes on with what the store says. */
static void
a_run_survives_the_agent(void)
{
	char *dir;

	begin(true);
	lock_it("t1");
	agent_rig_wait(&r, 70000);
	dir = xstrdup(r.dir);
	agent_rig_close(&r);
	agent_rig_open(&r, 2, dir, text);
	agent_rig_world(&r, "a", a);
	agent_rig_world(&r, "b", b);
	check_runs("t1 lasts 0:0-0\n");
	write_it();
	unlock_it();
	engine_start(r.engine);
	agent_rig_wait(&r, 2100);
	CHECK_STR(author(), "t1");
	check_runs("t1 1:2-2\n");
	free(dir);
	end();
}

/* Not known: the lock could not be looked at. What is there is read all the same, and the run goes on. */
static void
a_look_that_fails_ends_no_run(void)
{
	begin(false);
	lock_it("t1");
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	write_it();
	mem_world_fault(a, 2, ERR_NETWORK, false); /* list, lock */
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(author(), "t1");
	check_runs("t1 lasts 1:2-2\n");
	end();
}

/* What this agent does itself under its own lock is no run of others. */
static void
our_own_lock_is_no_run(void)
{
	struct restore_result res;

	begin(true);
	lock_it("t1");
	agent_rig_wait(&r, 70000);
	write_it();
	unlock_it();
	agent_rig_wait(&r, 2100);
	CHECK_OK(agent_rig_run(&r, engine_restore(r.engine, &(struct restore_options){ .backend = "a", .name = "x", .version = 1 }, &res),
	    60000), r.err);
	agent_rig_wait(&r, 70000);
	serial = res.serial_after;
	CHECK_STR(author(), "stateferry@rig");
	check_runs("t1 1:2-2\n");
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "what_is_written_under_a_lock_is_its_run", what_is_written_under_a_lock_is_its_run },
	    { "what_is_older_than_the_lock_is_not_of_it", what_is_older_than_the_lock_is_not_of_it },
	    { "older_versions_go_by_their_time", older_versions_go_by_their_time },
	    { "a_lock_that_changes_hands", a_lock_that_changes_hands },
	    { "passes_now_and_then", passes_now_and_then },
	    { "what_it_costs", what_it_costs },
	    { "a_run_survives_the_agent", a_run_survives_the_agent },
	    { "a_look_that_fails_ends_no_run", a_look_that_fails_ends_no_run },
	    { "our_own_lock_is_no_run", our_own_lock_is_no_run },
	    { NULL, NULL },
	});
}
