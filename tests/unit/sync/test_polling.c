/* SPDX-License-Identifier: MIT */
#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* How often a source is looked at, in virtual time: seldom while quiet, often after a change and under a lock, seldom again when it fails. */
#define POLL_MS    60000
#define FAST_MS    (POLL_MS / 6)  /* after a change, then doubled until POLL_MS */
#define LOCKED_MS  2000
#define FAIL_MS    (POLL_MS * 8)  /* at most, between two looks at what fails */
#define LOOKS_MAX  400
#define JITTER(ms) ((ms) - (ms) / 10 - 1)

static struct agent_rig  r;
static struct mem_world *source, *target;
static int64_t           waits[LOOKS_MAX]; /* between looks that are apart */

static void
begin(void)
{
	agent_rig_open(&r, 7, NULL, "backend \"mem\" \"a\" {\n  poll = \"60s\"\n}\nbackend \"mem\" \"b\" {\n  poll = \"30d\"\n}\n"
	    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n");
	source = agent_rig_world(&r, "a", mem_world_new());
	target = agent_rig_world(&r, "b", mem_world_new());
	mem_world_put(source, "x", rig_state(1, "l", 1, ""));
	engine_start(r.engine);
	agent_rig_wait(&r, 20 * POLL_MS); /* what the beginning hurried has calmed down */
}

static void
end(void)
{
	agent_rig_close(&r);
	mem_world_free(source);
	mem_world_free(target);
}

/* The waits between the looks of the next ms; requests of one look lie within a second. */
static size_t
looks(int64_t ms)
{
	uint64_t calls = mem_world_calls(source);
	int64_t  quiet = 0;
	size_t   n = 0;

	for (int64_t at = 0; at < ms; at += 100) {
		agent_rig_wait(&r, 100);
		quiet += 100;
		if (mem_world_calls(source) == calls)
			continue;
		calls = mem_world_calls(source);
		if (quiet > 1000) {
			CHECK(n < LOOKS_MAX);
			waits[n++] = quiet;
		}
		quiet = 0;
	}
	return n;
}

static void
check_wait(int64_t got, int64_t want)
{
	if (got < JITTER(want) - 100 || got > want + 1100)
		test_fail(__FILE__, __LINE__, "waited %lld ms, not %lld", (long long)got, (long long)want);
}

static void
a_quiet_source_is_looked_at_once_in_poll(void)
{
	size_t n;
	bool   differ = false;

	begin();
	n = looks(50 * POLL_MS);
	CHECK(n >= 50 && n <= 56); /* jitter shortens a wait, by at most a tenth */
	for (size_t i = 1; i < n; i++) {
		check_wait(waits[i], POLL_MS);
		differ |= waits[i] != waits[1];
	}
	CHECK(differ);
	end();
}

static void
a_change_is_followed_closely_for_a_while(void)
{
	size_t n;

	begin();
	mem_world_put(source, "x", rig_state(2, "l", 1, ""));
	n = looks(5 * POLL_MS);
	CHECK(n >= 6);
	check_wait(waits[1], FAST_MS);
	check_wait(waits[2], 2 * FAST_MS);
	check_wait(waits[3], 4 * FAST_MS);
	check_wait(waits[4], POLL_MS);
	check_wait(waits[5], POLL_MS);
	end();
}

/* Somebody is at work: that state is looked at every two seconds, as long as it lasts; but not for ever, when nothing comes of it. */
static void
a_held_lock_is_followed_closely(void)
{
	size_t n;

	begin();
	mem_world_lock(source, "x", "{\"ID\":\"t-1\",\"Who\":\"ann@host\"}");
	looks(2 * POLL_MS);
	n = looks(2 * POLL_MS);
	CHECK(n >= 55 && n <= 75);
	for (size_t i = 1; i < n; i++)
		CHECK(waits[i] <= LOCKED_MS + 100);
	mem_world_lock(source, "x", NULL);
	looks(5 * POLL_MS);
	n = looks(10 * POLL_MS);
	CHECK(n >= 9 && n <= 12);
	mem_world_lock(source, "x", "{\"ID\":\"t-2\",\"Who\":\"ann@host\"}");
	agent_rig_wait(&r, 50 * POLL_MS);
	CHECK(looks(POLL_MS) >= 25);
	mem_world_put(source, "x", rig_state(2, "l", 1, "")); /* that is news */
	agent_rig_wait(&r, 50 * POLL_MS);
	CHECK(looks(POLL_MS) >= 25);
	looks(10 * POLL_MS);
	n = looks(10 * POLL_MS);
	CHECK(n >= 9 && n <= 12);
	mem_world_lock(source, "x", NULL);
	end();
}

/* None faster than what the source says it bears, and many are not looked at as often as one. */
static void
many_locks_are_followed_less_closely(void)
{
	uint64_t calls;
	char     name[16];

	begin();
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		mem_world_put(source, name, rig_state(1, name, 1, ""));
		mem_world_lock(source, name, "{\"ID\":\"t-1\",\"Who\":\"ann@host\"}");
	}
	agent_rig_wait(&r, 2 * POLL_MS);
	calls = mem_world_calls(source);
	agent_rig_wait(&r, 10 * LOCKED_MS * 4);
	calls = mem_world_calls(source) - calls; /* two for each state and turn */
	CHECK(calls >= 10 * 200 && calls <= 13 * 200 + 200);
	mem_world_retry_after(source, 30000);
	mem_world_down(source, ERR_BUSY);
	agent_rig_wait(&r, 2 * POLL_MS);
	calls = mem_world_calls(source);
	agent_rig_wait(&r, 5 * POLL_MS);
	CHECK(mem_world_calls(source) - calls <= 12);
	end();
}

static void
a_failing_source_is_asked_less_and_less(void)
{
	size_t n;

	begin();
	mem_world_down(source, ERR_NETWORK);
	looks(20 * POLL_MS);
	n = looks(80 * POLL_MS);
	CHECK(n >= 9 && n <= 12);
	for (size_t i = 1; i < n; i++)
		check_wait(waits[i], FAIL_MS);
	mem_world_down(source, ERR_OK); /* and when it answers again, as before */
	looks(FAIL_MS + 2 * POLL_MS);
	n = looks(10 * POLL_MS);
	CHECK(n >= 9 && n <= 12);
	end();
}

static bool
arrived(unsigned serial)
{
	struct span got, want = rig_state(serial, "l", 1, "");

	return mem_world_get(target, "x", &got) && got.n == want.n && memcmp(got.p, want.p, want.n) == 0;
}

/* A read that was throttled is made when the server said that it may be, not with the next look; and again, when it said so again. */
static void
a_busy_read_is_made_when_it_may_be(void)
{
	uint64_t calls;

	begin();
	mem_world_retry_after(source, 5000);
	mem_world_put(source, "x", rig_state(2, "l", 1, ""));
	calls = mem_world_calls(source);
	mem_world_fault(source, 2, ERR_BUSY, false); /* a list, and the read that follows it */
	while (mem_world_calls(source) < calls + 2)
		agent_rig_wait(&r, 10);
	mem_world_fault(source, 1, ERR_BUSY, false);
	agent_rig_wait(&r, 4900);
	CHECK_U64(mem_world_calls(source), calls + 2);
	agent_rig_wait(&r, 200);
	CHECK_U64(mem_world_calls(source), calls + 3); /* that state alone: no listing */
	mem_world_retry_after(source, 0);
	mem_world_fault(source, 1, ERR_BUSY, false);
	agent_rig_wait(&r, 5000);
	CHECK_U64(mem_world_calls(source), calls + 4);
	CHECK(!arrived(2));
	agent_rig_wait(&r, 2100); /* nothing was said this time */
	CHECK_U64(mem_world_calls(source), calls + 6); /* and whether somebody is writing */
	CHECK(arrived(2));
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "a_quiet_source_is_looked_at_once_in_poll", a_quiet_source_is_looked_at_once_in_poll },
	    { "a_change_is_followed_closely_for_a_while", a_change_is_followed_closely_for_a_while },
	    { "a_held_lock_is_followed_closely", a_held_lock_is_followed_closely },
	    { "many_locks_are_followed_less_closely", many_locks_are_followed_less_closely },
	    { "a_busy_read_is_made_when_it_may_be", a_busy_read_is_made_when_it_may_be },
	    { "a_failing_source_is_asked_less_and_less", a_failing_source_is_asked_less_and_less },
	    { NULL, NULL },
	});
}
