/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* Requests that got no answer, and are carried out minutes later: for a lock, and of a write under it. */
#define BACKENDS "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\n"
#define EDGE(more) "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n" more "}\n"
#define RECORD ".stateferry/lease/e"
#define RECOVERED_MS 1700000 /* it looks after 1, 5 and 20 minutes */

static struct agent_rig  r;
static struct mem_world *a, *b;
static struct provider   late;                /* mem, of whose requests for locks the first `lates` are granted when asked for again */
static unsigned          lates, locked;
static char              body[LOCK_BODY_MAX]; /* of the last such */

static void
begin(const char *text)
{
	agent_rig_pair(&r, text, &a, &b);
}

static struct op *
late_lock(struct backend *target, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct buf text;

	locked++;
	l->late = lates > 0;
	if (l->late) {
		lates--;
		buf_init(&text, sizeof(body) - 1);
		lock_info_body(l, &text);
		snprintf(body, sizeof(body), "%s", buf_str(&text));
		buf_free(&text);
	}
	return provider_mem.lock(target, ref, l, ret_holder);
}

static void
begin_late(const char *text, unsigned n)
{
	struct backend *target;

	begin(text);
	target = plan_backend(engine_plan(r.engine), "b");
	late = *target->provider;
	late.lock = late_lock;
	target->provider = &late;
	lates = n;
	locked = 0;
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "a"));
}

static void
end(void)
{
	agent_rig_pair_end(&r, a, b);
}

static void
check_equal(const char *name)
{
	struct span x, y;

	CHECK(mem_world_get(a, name, &x));
	CHECK(mem_world_get(b, name, &y));
	CHECK(span_eq(x, y));
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

	loop_wall_shift(r.loop, 3600000);
	agent_rig_sync_counts(&r);
	agent_rig_wait(&r, 100000);
	mem_world_lock(b, "x.tfstate", lock);
	agent_rig_wait(&r, RECOVERED_MS);
	CHECK_U64(mem_world_locks(b), 0);
	check_equal("x.tfstate");
	end();
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
	    "\"counter\":9,\"epoch\":7,\"transitions\":2,\"ttl_ms\":60000,\"since\":null}"));
	mem_world_lock(b, "x.tfstate", "{\"ID\":\"left\",\"Operation\":\"stateferry\",\"Info\":\"replicate e to b, epoch 7; gone\","
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
		{ "a lock that comes twice is released twice", a_lock_that_comes_twice_is_released_twice },
		{ "nothing is written under a lock that may return", nothing_is_written_under_one_that_may_return },
		{ "a lock behind an orphan is remembered", one_behind_an_orphan_is_remembered },
		{ NULL, NULL } });
}
