/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#include "../../lib/api_rig.h"
#include "../../lib/test.h"

/* One state with very many versions: whatever looks for one of them leaves the loop to others in between. LONG_LOOP=1 runs on a real
 * loop and tells its longest turn. */
#define VERSIONS   10000
#define PER_BATCH  1000
#define PER_TURN   1000   /* no more are looked at in one turn */
#define SNAPSHOTS \
    "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\n" \
    "snapshot \"s\" {\n  from = \"a\"\n  to = [\"b\"]\n  compress = \"none\"\n}\n"

#define FEW        10

static struct agent_rig  r;
static struct api_answer answer;
static struct mem_world *a, *b;

/* Serials 1, 2, 3 ...; all but the first and the last are forks when bad. */
static void
add_versions(uint64_t count, bool bad)
{
	struct digest first;

	for (uint64_t n = 1; n <= count;) {
		struct batch *batch = batch_new(r.store);

		for (unsigned i = 0; i < PER_BATCH && n <= count; i++, n++) {
			struct span        text = rig_state(n, "L", 1, "x");
			struct body       *body = body_copy(text);
			struct version_rec v = { .serial = n, .size = text.n, .instances = 1, .resources = 1, .lineage = "L", .writer = "1.11.4",
				.kind = STATE_V4, .verdict = n == 1 ? VERDICT_FIRST : VERDICT_ADVANCE, .seen = RIG_WALL + (int64_t)n * 1000,
				.reason = "", .run = "", .who = "", .operation = "", .origin = "source", .added = -1, .changed = -1, .removed = -1 };

			if (bad && n > 1 && n < count)
				v.verdict = VERDICT_FORK;
			sha256_of(text.p, text.n, &v.digest);
			batch_body(batch, body, &v.digest, NULL);
			batch_version(batch, "a", "x.tfstate", &v);
			if (n == 1 || n == count)
				batch_head(batch, "a", "x.tfstate", n == 1 ? NULL : &first, &v.digest);
			if (n == 1)
				first = v.digest;
			body_unref(body);
		}
		CHECK_OK(agent_rig_run(&r, store_apply(r.store, batch), 60000), r.err);
	}
}

static void
join(const char *dir)
{
	struct loop *loop = getenv("LONG_LOOP") != NULL ? loop_new(&r.err) : loop_new_virtual(5, RIG_WALL + 100000000);

	agent_rig_join(&r, loop, dir, SNAPSHOTS);
	agent_rig_world(&r, "a", a);
	agent_rig_world(&r, "b", b);
}

/* The store is opened again, so that what is measured is not how it was made. */
static void
begin(uint64_t count, bool bad)
{
	struct loop *loop;
	char        *dir;

	memset(&r, 0, sizeof(r));
	a = mem_world_new();
	b = mem_world_new();
	join(NULL);
	add_versions(count, bad);
	mem_world_put(a, "x.tfstate", rig_state(count, "L", 1, "x"));
	dir = xstrdup(r.dir);
	loop = r.loop;
	agent_rig_close(&r);
	loop_free(loop);
	join(dir);
	free(dir);
}

static uint64_t
end(const char *what)
{
	struct loop      *loop = r.loop;
	struct loop_delay d;

	loop_delay(loop, &d);
	if (getenv("LONG_LOOP") != NULL)
		printf("# %s: %" PRIu64 " turns, the longest %.2f ms\n", what, d.turns, d.max_s * 1000);
	api_answer_free(&answer);
	agent_rig_close(&r);
	mem_world_free(a);
	mem_world_free(b);
	loop_free(loop);
	return d.turns;
}

static uint64_t
by_serial(uint64_t count)
{
	char state[60];

	begin(count, true);
	snprintf(state, sizeof(state), "state=a:x.tfstate@serial=%" PRIu64, count / 2);
	API_GET(&r, &answer, "cat", state, NULL);
	CHECK(answer.status == 200 && span_is(rig_state(count / 2, "L", 1, "x"), answer.bytes));
	API_GET(&r, &answer, "cat", "state=a:x.tfstate@serial=99999", NULL);
	CHECK_STR(api_text(&answer, "error.kind"), "not_found");
	CHECK_STR(api_text(&answer, "error.where"), "a:x.tfstate@serial=99999");
	return end("by serial");
}

static uint64_t
by_time(uint64_t count)
{
	char at[TIME_TEXT_MAX], arg[TIME_TEXT_MAX + 10];

	begin(count, true);
	snprintf(arg, sizeof(arg), "at=%s", time_format_s(RIG_WALL + 5000, at));
	API_POST(&r, &answer, "restore", "all=1", arg, "dry_run=1", NULL);
	CHECK_STR(api_text(&answer, "plan.0.from"), "1");
	API_POST(&r, &answer, "restore", "state=a:x.tfstate", arg, "dry_run=1", NULL);
	CHECK_STR(api_text(&answer, "plan.0.from"), "1");
	snprintf(arg, sizeof(arg), "at=%s", time_format_s(RIG_WALL - 5000, at));
	API_POST(&r, &answer, "restore", "all=1", arg, "dry_run=1", NULL);
	CHECK_U64(json_array_size(api_at(&answer, "plan")), 0);
	API_POST(&r, &answer, "restore", "state=a:x.tfstate", arg, "dry_run=1", NULL);
	CHECK_STR(api_text(&answer, "error.kind"), "not_found");
	return end("by time");
}

static uint64_t
by_snapshot(uint64_t count)
{
	begin(count, true);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0"); /* the first, the last, nothing between them */
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(mem_world_writes(b), 2);
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	return end("by snapshot");
}

static void
check_turns(uint64_t (*run)(uint64_t count), unsigned scans)
{
	uint64_t few = run(FEW), many = run(VERSIONS);

	if (many < few + scans * (VERSIONS / PER_TURN - 1))
		test_fail(__FILE__, __LINE__, "%" PRIu64 " turns for many, %" PRIu64 " for few", many, few);
}

static void
a_version_by_its_serial(void)
{
	check_turns(by_serial, 2);
}

static void
a_version_by_its_time(void)
{
	check_turns(by_time, 4);
}

static void
the_next_snapshot(void)
{
	check_turns(by_snapshot, 1);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "a_version_by_its_serial", a_version_by_its_serial },
	    { "a_version_by_its_time", a_version_by_its_time },
	    { "the_next_snapshot", the_next_snapshot },
	    { NULL, NULL } });
}
