/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* Requests that got no answer, and are carried out minutes later: for a lock, and of a write under it. */
#define BACKENDS "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\n"
#define EDGE(more) "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n" more "}\n"
#define RECORD ".stateferry/lease/e"
#define RECOVERED_MS 1700000 /* it looks after 1, 5 and 20 minutes */

static struct loop      *loop;
static struct agent_rig  r;
static struct mem_world *a, *b;
static struct provider   late;                /* mem, of whose requests for locks the first `lates` are granted when asked for again */
static unsigned          lates, locked;
static char              body[LOCK_BODY_MAX]; /* of the last such */
static char              last[LOCK_BODY_MAX]; /* of the last of all */

static struct op *
late_lock(struct backend *target, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct buf text;

	locked++;
	l->late = lates > 0;
	lates -= l->late;
	buf_init(&text, sizeof(last) - 1);
	lock_info_body(l, &text);
	snprintf(last, sizeof(last), "%s", buf_str(&text));
	if (l->late)
		memcpy(body, last, sizeof(body));
	buf_free(&text);
	return provider_mem.lock(target, ref, l, ret_holder);
}

static void
start(const char *dir, const char *text)
{
	struct backend *target;

	agent_rig_join(&r, loop, dir, text);
	agent_rig_world(&r, "a", a);
	agent_rig_world(&r, "b", b);
	target = plan_backend(engine_plan(r.engine), "b");
	late = *target->provider;
	late.lock = late_lock;
	target->provider = &late;
}

static void
begin(const char *text)
{
	loop = loop_new_virtual(7, RIG_WALL);
	log_setup(LOG_ERROR, false, loop_clock(loop));
	a = mem_world_new();
	b = mem_world_new();
	lates = locked = 0;
	start(NULL, text);
}

static void
begin_late(const char *text, unsigned n)
{
	begin(text);
	lates = n;
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
}

static void
end(void)
{
	agent_rig_close(&r);
	CHECK_U64(mem_world_locks(a) + mem_world_locks(b), 0);
	mem_world_free(a);
	mem_world_free(b);
	loop_free(loop);
}

static void
check_equal(const char *name)
{
	agent_rig_pair_equal(a, b, name);
}

static bool
keep_lock(void *arg, const struct intent_rec *i)
{
	snprintf(arg, LOCK_BODY_MAX, "%s", i->lock_body);
	return true;
}

/* The first write ends without an answer to its lock, which is then under way. Its body. */
static const char *
begin_with_a_lock_under_way(void)
{
	static char       lock[LOCK_BODY_MAX];
	struct store_txn *t;

	begin(BACKENDS EDGE(""));
	lock[0] = '\0';
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
	mem_world_fault(b, 2, ERR_UNCERTAIN, false); /* list, lock */
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 0 1");
	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	store_intents(t, keep_lock, lock);
	store_end(t);
	CHECK(lock[0] != '\0');
	engine_start(r.engine);
	agent_rig_wait(&r, 500000);
	return lock;
}

/* Meanwhile a time service sets the clock. */
static void
a_clock_that_is_set_settles_nothing_early(void)
{
	const char *lock = begin_with_a_lock_under_way();

	loop_wall_shift(loop, 3600000);
	agent_rig_sync_counts(&r);
	agent_rig_wait(&r, 100000);
	mem_world_lock(b, "x.tfstate", lock);
	agent_rig_wait(&r, RECOVERED_MS);
	CHECK_U64(mem_world_locks(b), 0);
	check_equal("x.tfstate");
	end();
}

/* The process ends, its wall clock is set, and another one goes on with its store; anew: after the host was started again. */
static void
reborn(int64_t set_ms, bool anew)
{
	char   *dir = xstrdup(r.dir);
	int64_t wall = loop_wall(loop) + set_ms;

	agent_rig_close(&r);
	if (anew) {
		loop_free(loop);
		loop = loop_new_virtual(8, wall);
		log_setup(LOG_ERROR, false, loop_clock(loop));
	} else {
		loop_wall_shift(loop, set_ms);
	}
	start(dir, BACKENDS EDGE(""));
	free(dir);
	engine_start(r.engine);
}

static void
a_clock_that_is_set_between_processes_settles_nothing_early(void)
{
	static const int64_t set_ms[] = { -3600000, 0, 3600000 };

	for (size_t i = 0; i < 2 * ARRAY_LEN(set_ms); i++) {
		const char *lock = begin_with_a_lock_under_way();

		reborn(set_ms[i / 2], i % 2 != 0);
		agent_rig_wait(&r, 100000);
		reborn(0, false);
		agent_rig_wait(&r, 500000);
		mem_world_lock(b, "x.tfstate", lock);
		agent_rig_wait(&r, RECOVERED_MS);
		CHECK_U64(mem_world_locks(b), 0);
		check_equal("x.tfstate");
		end();
	}
}

static bool
count_intent(void *arg, const struct intent_rec *i)
{
	(void)i;
	++*(unsigned *)arg;
	return true;
}

static unsigned
intents(void)
{
	struct store_txn *t;
	unsigned          n = 0;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	store_intents(t, count_intent, &n);
	store_end(t);
	return n;
}

/* Nor does one that was begun before wait for as long as a clock is behind: the wall clock, or that of the host since it was started. */
static void
a_clock_that_is_behind_makes_no_wait_longer_than_the_longest(void)
{
	for (unsigned anew = 0; anew < 2; anew++) {
		begin(BACKENDS EDGE(""));
		engine_start(r.engine);
		agent_rig_wait(&r, 3 * 3600000);
		if (anew != 0)
			reborn(-60000, false);
		lates = 1;
		mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
		agent_rig_wait(&r, 500000);
		CHECK_U64(intents(), 1);
		reborn(anew != 0 ? 0 : -4 * 3600000, anew != 0);
		agent_rig_wait(&r, RECOVERED_MS);
		CHECK_U64(intents(), 0);
		end();
	}
}

/* Of several requests for one lock more than one may be late: that the first was met says nothing of the second. */
static void
a_lock_that_comes_twice_is_released_twice(void)
{
	const char *lock = begin_with_a_lock_under_way();

	mem_world_lock(b, "x.tfstate", lock);
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "a"));
	agent_rig_wait(&r, 120000);
	CHECK_U64(mem_world_locks(b), 0);
	check_equal("x.tfstate");
	mem_world_lock(b, "x.tfstate", lock);
	agent_rig_wait(&r, RECOVERED_MS);
	CHECK_U64(mem_world_locks(b), 0);
	end();
}

/* All was settled when the network delivers a request for a lock once more: nothing but its id says whose it is. */
static void
one_that_comes_after_all_is_known_by_its_id(void)
{
	char *another;

	begin_late(BACKENDS EDGE(""), 0);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(intents(), 0);
	mem_world_lock(b, "x.tfstate", last);
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "a"));
	engine_start(r.engine);
	agent_rig_wait(&r, 120000);
	check_equal("x.tfstate");
	CHECK_U64(mem_world_locks(b) + intents(), 0);
	another = xstrdup(last); /* who is not us may be another agent, or a store that is gone */
	*strchr(another, '-') = '0';
	mem_world_lock(b, "x.tfstate", another);
	mem_world_put(a, "x.tfstate", rig_state(3, "L", 3, "a"));
	agent_rig_wait(&r, 120000);
	CHECK_U64(mem_world_locks(b), 1);
	mem_world_lock(b, "x.tfstate", NULL);
	free(another);
	end();
}

/* --- one that is granted when it is asked for again --- */

/* The first request is carried out at last, long after the lock was released: recovery gives that back, too. */
static void
check_comes_and_goes(void)
{
	engine_start(r.engine);
	mem_world_lock(b, "x.tfstate", body);
	agent_rig_wait(&r, RECOVERED_MS);
	CHECK_U64(mem_world_locks(b), 0);
	check_equal("x.tfstate");
}

/* Where nothing but the lock guards a write, one that is under way under such a lock would go through once that comes to be again. */
static struct op *
late_put(struct backend *target, const struct state_ref *ref, const struct snapshot *next, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	CHECK(when->lock != NULL && !when->lock->late);
	return provider_mem.put(target, ref, next, when, ret_etag);
}

static void
nothing_is_written_under_one_that_may_return(void)
{
	static const char weak[] = "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  if_match = false\n}\n" EDGE("");

	begin_late(weak, 2);
	late.put = late_put;
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(locked, 3);
	check_comes_and_goes();
	end();
	begin_late(weak, 3);
	late.put = late_put;
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 0 1");
	CHECK_U64(locked, 3);
	CHECK_U64(mem_world_writes(b) + mem_world_locks(b), 0);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	check_comes_and_goes();
	end();
	begin_late(BACKENDS EDGE(""), 1); /* the precondition refuses what is under way */
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(locked, 1);
	check_comes_and_goes();
	end();
}

/* The first request for it met a lock of a dead agent, and the second, once that was released, was answered at once. */
static void
one_behind_an_orphan_is_remembered(void)
{
	begin_late(BACKENDS EDGE("  lease {\n  }\n"), 1);
	mem_world_put(b, RECORD, SPAN_LIT("{\"stateferry_lease\":1,\"holder\":\"dead\",\"name\":\"edge-dead\",\"nonce\":\"n\","
	    "\"counter\":9,\"epoch\":7,\"transitions\":2,\"ttl_ms\":60000,\"since\":null,\"stores\":{\"dead\":4}}"));
	mem_world_lock(b, "x.tfstate", "{\"ID\":\"00000000-0000-0000-9b93-6e5108a0fc75\",\"Operation\":\"stateferry\",\"Info\":\"replicate e to b, epoch 7; gone\","
	    "\"Who\":\"stateferry@edge-dead\",\"Version\":\"1\",\"Created\":\"2026-11-23T12:00:00Z\",\"Path\":\"\"}");
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(locked, 2);
	check_comes_and_goes();
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "a clock that is set settles nothing early", a_clock_that_is_set_settles_nothing_early },
		{ "a clock that is set between processes settles nothing early", a_clock_that_is_set_between_processes_settles_nothing_early },
		{ "a clock that is behind makes no wait longer than the longest", a_clock_that_is_behind_makes_no_wait_longer_than_the_longest },
		{ "a lock that comes twice is released twice", a_lock_that_comes_twice_is_released_twice },
		{ "a lock that comes after all is known by its id", one_that_comes_after_all_is_known_by_its_id },
		{ "nothing is written under a lock that may return", nothing_is_written_under_one_that_may_return },
		{ "a lock behind an orphan is remembered", one_behind_an_orphan_is_remembered },
		{ NULL, NULL } });
}
