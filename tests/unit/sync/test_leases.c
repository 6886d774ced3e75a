/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/log.h"
#include "sync/core.h"

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* Agents with the same configuration, which share an edge through the lease at its target. In virtual time, on one loop. */
#define BACKENDS "backend \"mem\" \"a\" {\n  poll = \"10s\"\n}\nbackend \"mem\" \"b\" {\n  poll = \"10s\"\n}\n"
#define EDGE(lease) "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n" lease "}\n"
#define SHARED BACKENDS EDGE("  lease {\n    ttl = \"60s\"\n  }\n")
#define ETCD "etcd {\n  endpoints = [\"http://127.0.0.1:2379\"]\n}\n"
#define TTL INT64_C(60000)
#define RECORD ".stateferry/lease/e"

#define DEAD(epoch) "{\"stateferry_lease\":1,\"holder\":\"dead\",\"name\":\"edge-dead\",\"nonce\":\"n\",\"counter\":9,\"epoch\":" epoch \
    ",\"transitions\":2,\"ttl_ms\":60000,\"since\":null,\"stores\":{\"dead\":4}}"
#define LEFT_ID "00000000-0000-0000-9b93-6e5108a0fc75" /* of an agent that is called "dead" */
#define LEFT(epoch, operation) LEFT_BY(LEFT_ID, epoch, operation)
#define LEFT_BY(id, epoch, operation) "{\"ID\":\"" id "\",\"Operation\":\"" operation "\",\"Info\":\"replicate e to b, epoch " epoch \
    "; if that host is gone, \\\"terraform force-unlock ID\\\" is safe\",\"Who\":\"stateferry@edge-dead\",\"Version\":\"1\"," \
    "\"Created\":\"2026-11-23T12:00:00Z\",\"Path\":\"\"}"

static struct agent_rig  r[2];
static struct mem_world *a, *b;
static struct loop      *loop;

static void
begin(unsigned agents)
{
	loop = loop_new_virtual(5, RIG_WALL);
	log_setup(LOG_ERROR, false, loop_clock(loop));
	memset(r, 0, sizeof(r));
	a = mem_world_new();
	b = mem_world_new();
	mem_world_put(a, "x.tfstate", rig_state(5, "L", 3, "a"));
	for (unsigned i = 0; i < agents; i++) {
		agent_rig_join(&r[i], loop, NULL, SHARED);
		agent_rig_world(&r[i], "a", a);
		agent_rig_world(&r[i], "b", b);
	}
}

static void
end(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(r); i++)
		if (r[i].engine != NULL)
			engine_stop(r[i].engine);
	for (unsigned i = 0; i < ARRAY_LEN(r); i++)
		if (r[i].engine != NULL)
			agent_rig_close(&r[i]);
	CHECK_U64(mem_world_locks(a) + mem_world_locks(b), 0);
	mem_world_free(a);
	mem_world_free(b);
	loop_free(loop);
}

/* The process ends, and another one goes on with its store. */
static void
reborn(unsigned i)
{
	char *dir = xstrdup(r[i].dir);

	agent_rig_close(&r[i]);
	agent_rig_join(&r[i], loop, dir, SHARED);
	agent_rig_world(&r[i], "a", a);
	agent_rig_world(&r[i], "b", b);
	free(dir);
}

static bool
equal(const char *name)
{
	struct span x, y;

	return mem_world_get(a, name, &x) && mem_world_get(b, name, &y) && span_eq(x, y);
}

static bool
record_says(const char *what)
{
	struct span s;

	return mem_world_get(b, RECORD, &s) && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

struct who {
	enum lease_standing standing;
	uint64_t            epoch, n;
};

static void
see_lease(void *arg, const struct lane *l, const struct lease_view *v)
{
	struct who *w = arg;

	CHECK_STR(l->edge->name, "e");
	w->standing = v->standing;
	w->epoch = v->seen.record.epoch;
	w->n++;
}

static struct who
who(unsigned agent)
{
	struct who w = { .n = 0 };

	engine_leases(r[agent].engine, see_lease, &w);
	CHECK_U64(w.n, 1);
	return w;
}

static unsigned
leader(void)
{
	CHECK((who(0).standing == LEASE_OURS) != (who(1).standing == LEASE_OURS));
	return who(0).standing == LEASE_OURS ? 0 : 1;
}

/* --- agents that run --- */

static void
one_of_two_replicates(void)
{
	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	CHECK(equal("x.tfstate"));
	for (uint64_t serial = 6; serial < 26; serial++) {
		mem_world_put(a, "x.tfstate", rig_state(serial, "L", 3, "a"));
		agent_rig_wait(&r[0], 30000);
		CHECK(equal("x.tfstate"));
	}
	CHECK_U64(engine_counters(r[leader()].engine)->pushes_ok, 21);
	CHECK_U64(engine_counters(r[1 - leader()].engine)->pushes_ok, 0);
	CHECK_U64(engine_counters(r[1 - leader()].engine)->pulls, engine_counters(r[leader()].engine)->pulls);
	CHECK_U64(who(1 - leader()).standing, LEASE_THEIRS);
	end();
}

static void
who_stops_hands_over(void)
{
	unsigned first;

	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	first = leader();
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	engine_stop(r[first].engine);
	agent_rig_wait(&r[0], 1500);
	CHECK(engine_idle(r[first].engine));
	CHECK_U64(who(1 - first).standing, LEASE_OURS);
	CHECK_U64(who(1 - first).epoch, 2);
	agent_rig_wait(&r[0], 20000);
	CHECK(equal("x.tfstate"));
	end();
}

static void
holder_whose_target_fails_leaves_it(void)
{
	unsigned first;

	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	first = leader();
	for (unsigned n = 0; n < 5; n++)
		mem_world_put(a, "x.tfstate", rig_state(6 + n, "L", 3, "b"));
	mem_world_down(b, ERR_NETWORK);
	agent_rig_wait(&r[0], 10 * TTL);
	CHECK_U64(who(first).standing, LEASE_UNREAD);
	mem_world_down(b, ERR_OK);
	agent_rig_wait(&r[0], 12 * TTL);
	CHECK(equal("x.tfstate"));
	leader();
	end();
}

/* Its own network, its own rights: whoever reaches the source goes on, and when nobody does, nobody holds it. */
static void
holder_without_its_source_leaves_it(void)
{
	struct mem_world *gone = mem_world_new();
	unsigned          first;

	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	first = leader();
	mem_world_down(gone, ERR_NETWORK);
	agent_rig_world(&r[first], "a", gone);
	agent_rig_wait(&r[0], 10 * TTL);
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_wait(&r[0], TTL);
	CHECK_U64(leader(), 1 - first);
	CHECK(equal("x.tfstate"));
	agent_rig_world(&r[1 - first], "a", gone);
	agent_rig_wait(&r[0], 20 * TTL);
	CHECK(who(0).standing == LEASE_YIELDED && who(1).standing == LEASE_YIELDED);
	mem_world_put(a, "x.tfstate", rig_state(7, "L", 3, "c"));
	agent_rig_world(&r[0], "a", a);
	agent_rig_wait(&r[0], 10 * TTL);
	CHECK_U64(leader(), 0);
	CHECK(equal("x.tfstate"));
	end();
	mem_world_free(gone);
}

/* What waits for the target needs no source: it is not given up before it is done. */
static void
work_that_waits_needs_no_source(void)
{
	struct mem_world *gone = mem_world_new();
	unsigned          first;

	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	first = leader();
	mem_world_lock(b, "x.tfstate", "{\"ID\":\"1\",\"Operation\":\"OperationTypeApply\",\"Who\":\"u@h\"}");
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_wait(&r[0], 30000);
	mem_world_down(gone, ERR_NETWORK);
	agent_rig_world(&r[0], "a", gone);
	agent_rig_world(&r[1], "a", gone);
	agent_rig_wait(&r[0], 10 * TTL);
	CHECK_U64(leader(), first);
	mem_world_lock(b, "x.tfstate", NULL);
	agent_rig_wait(&r[0], 10 * TTL);
	CHECK(equal("x.tfstate"));
	end();
	mem_world_free(gone);
}

/* What waits for its turn at a target that is asked rarely does not keep the lease from being renewed. */
static void
work_that_waits_does_not_cost_the_lease(void)
{
	char name[40];

	begin(0);
	agent_rig_join(&r[0], loop, NULL, "backend \"mem\" \"a\" {\n  poll = \"10s\"\n}\nbackend \"mem\" \"b\" {\n  poll = \"10s\"\n"
	    "  requests_per_second = 1\n}\n" EDGE("  lease {\n    ttl = \"60s\"\n  }\n"));
	agent_rig_world(&r[0], "a", a);
	agent_rig_world(&r[0], "b", b);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "s%u.tfstate", i);
		mem_world_put(a, name, rig_state(1, name, 3, "a"));
	}
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], 5000);
	for (unsigned i = 0; i < 600; i++) {
		agent_rig_wait(&r[0], 1000);
		CHECK_U64(who(0).standing, LEASE_OURS);
	}
	CHECK_U64(who(0).epoch, 1);
	CHECK(equal("s59.tfstate"));
	end();
}

/* --- who follows --- */

static enum replica_status followed_as;

static void
see_replica(void *arg, const struct replica_view *v)
{
	(void)arg;
	followed_as = v->status;
}

/* How that agent says that the replica of x.tfstate stands. */
static enum replica_status
says(unsigned agent)
{
	struct store_txn *t;
	struct state_rec  s;
	struct err        e;

	CHECK_OK(store_read(r[agent].store, &t, &e), e);
	CHECK(store_state(t, "a", "x.tfstate", &s));
	engine_replicas(r[agent].engine, t, &s, see_replica, NULL);
	store_end(t);
	return followed_as;
}

static uint64_t
asked(unsigned agent, enum request_kind kind)
{
	return request_total(&plan_backend(engine_plan(r[agent].engine), "b")->stats[kind]);
}

static void
never_wrote(unsigned agent)
{
	static const enum request_kind kinds[] = { REQUEST_CREATE, REQUEST_WRITE, REQUEST_DELETE, REQUEST_LOCK, REQUEST_UNLOCK, REQUEST_SEAL, REQUEST_PROBE };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		CHECK_U64(asked(agent, kinds[i]), 0);
}

static void
follower_sees_what_the_holder_wrote(void)
{
	uint64_t reads, renewals;

	begin(2);
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	CHECK_U64(says(1), REPLICA_CURRENT);
	for (uint64_t serial = 6; serial < 12; serial++) {
		mem_world_put(a, "x.tfstate", rig_state(serial, "L", 3, "a"));
		agent_rig_wait(&r[0], TTL);
		CHECK(says(0) == REPLICA_CURRENT && says(1) == REPLICA_CURRENT);
	}
	renewals = asked(1, REQUEST_READ); /* of the lease's record, for the most part */
	agent_rig_wait(&r[0], TTL);
	reads = asked(1, REQUEST_READ) - renewals;
	agent_rig_wait(&r[0], TTL);
	CHECK(asked(1, REQUEST_READ) - renewals - reads <= reads + 10); /* nothing is read again */
	never_wrote(1);
	CHECK_U64(r[1].engine != NULL && engine_counters(r[1].engine)->pushes_failed, 0);
	end();
}

static void
follower_tells_what_the_holder_cannot_write(void)
{
	begin(2);
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	mem_world_put(b, "x.tfstate", rig_state(9, "L", 4, "somebody")); /* ahead of the source */
	agent_rig_wait(&r[0], 2 * TTL);
	CHECK(says(0) == REPLICA_HELD && says(1) == REPLICA_HELD);
	mem_world_put(a, "x.tfstate", rig_state(10, "L", 5, "c"));
	agent_rig_wait(&r[0], TTL);
	CHECK(says(0) == REPLICA_CURRENT && says(1) == REPLICA_CURRENT);
	mem_world_lock(b, "x.tfstate", LEFT("9", "OperationTypeApply")); /* in the holder's way */
	mem_world_put(a, "x.tfstate", rig_state(11, "L", 5, "d"));
	agent_rig_wait(&r[0], TTL);
	CHECK_U64(says(1), REPLICA_BEHIND);
	mem_world_lock(b, "x.tfstate", NULL);
	agent_rig_wait(&r[0], 2 * TTL);
	CHECK(says(0) == REPLICA_CURRENT && says(1) == REPLICA_CURRENT);
	mem_world_put(b, "x.tfstate", span_of(NULL, 0));
	mem_world_lock(b, "x.tfstate", LEFT("9", "OperationTypeApply"));
	agent_rig_wait(&r[0], TTL);
	CHECK_U64(says(1), REPLICA_PENDING);
	mem_world_lock(b, "x.tfstate", NULL);
	agent_rig_wait(&r[0], 2 * TTL);
	CHECK_U64(says(1), REPLICA_CURRENT);
	never_wrote(1);
	end();
}

/* The replica may be newer than what the follower has read of the source. */
static void
follower_that_reads_late_holds_nothing(void)
{
	begin(1);
	agent_rig_join(&r[1], loop, NULL, "backend \"mem\" \"a\" {\n  poll = \"10m\"\n}\nbackend \"mem\" \"b\" {\n  poll = \"10s\"\n}\n"
	    EDGE("  lease {\n    ttl = \"60s\"\n  }\n"));
	agent_rig_world(&r[1], "a", a);
	agent_rig_world(&r[1], "b", b);
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	for (uint64_t serial = 6; serial < 12; serial++) {
		mem_world_put(a, "x.tfstate", rig_state(serial, "L", 3, "a"));
		for (unsigned i = 0; i < 60; i++) {
			agent_rig_wait(&r[0], 1000);
			CHECK(says(1) != REPLICA_HELD);
		}
		CHECK_U64(says(1), REPLICA_CURRENT);
	}
	end();
}

/* What was followed need not be read again. */
static void
takeover_starts_warm(void)
{
	uint64_t locks, gets;
	char     name[40];

	begin(2);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "s%u.tfstate", i);
		mem_world_put(a, name, rig_state(1, name, 3, "a"));
	}
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], 2 * TTL);
	never_wrote(1);
	engine_stop(r[0].engine);
	gets = asked(1, REQUEST_READ);
	agent_rig_wait(&r[0], 5000);
	CHECK_U64(who(1).standing, LEASE_OURS);
	agent_rig_wait(&r[0], TTL);
	locks = asked(1, REQUEST_LOCK);
	CHECK_U64(locks, 0);
	CHECK(asked(1, REQUEST_READ) - gets < 20);
	CHECK_U64(says(1), REPLICA_CURRENT);
	end();
}

/* Its lane is closed, and something is left that it would have read as a follower: it does not turn on the spot. */
static void
who_lost_it_while_the_target_was_down_rests(void)
{
	struct engine *e;
	unsigned       turns = 0;
	int64_t        until;

	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	e = r[leader()].engine;
	bits_set(&e->tracks[0].unread, 1);
	for (unsigned n = 0; n < 5; n++) {
		char name[16];

		snprintf(name, sizeof(name), "y%u.tfstate", n);
		mem_world_put(a, name, rig_state(1, "L", 3, "b"));
	}
	mem_world_down(b, ERR_NETWORK);
	for (until = loop_now(loop) + 5 * TTL; turns < 200000 && loop_now(loop) < until; turns++) {
		if (turns % 100 == 0)
			mem_world_put(a, "x.tfstate", rig_state(6 + turns, "L", 3, "b"));
		loop_turn(loop, false);
	}
	CHECK(loop_now(loop) >= until);
	CHECK(!track_is_ours(&e->tracks[0]));
	mem_world_down(b, ERR_OK);
	agent_rig_wait(&r[0], 12 * TTL);
	CHECK(equal("y4.tfstate"));
	end();
}

/* --- passes --- */

static void
pass_takes_it_and_hands_it_over(void)
{
	begin(1);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(record_says("\"holder\":\"\"") && record_says("\"epoch\":1"));
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(record_says("\"epoch\":2") && record_says("\"transitions\":0"));
	CHECK(equal("x.tfstate"));
	end();
}

static void
pass_beside_another_holder_ends_with_11(void)
{
	struct pass_result p;
	int64_t            begun;

	begin(2);
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	mem_world_down(a, ERR_OK);
	begun = loop_now(loop);
	agent_rig_sync(&r[1], &p);
	CHECK(loop_now(loop) - begun < TTL); /* it saw the other renew */
	CHECK_U64((uint64_t)pass_result_exit(&p), 11);
	CHECK_U64(p.edges[0].written, 0);
	CHECK(strstr(p.problems[0].message, "the lease at b is held by") != NULL);
	CHECK(p.problems[0].hint[0] != '\0');
	pass_result_free(&p);
	CHECK_U64(engine_counters(r[1].engine)->pushes_ok, 0);
	end();
}

static void
dead_holder_is_followed_in_one_pass(void)
{
	int64_t begun;

	begin(1);
	mem_world_put(b, RECORD, span_str(DEAD("7")));
	begun = loop_now(loop);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(loop_now(loop) - begun >= TTL + TTL / 2 && loop_now(loop) - begun < 2 * TTL);
	CHECK(record_says("\"epoch\":8") && record_says("\"transitions\":3"));
	CHECK(equal("x.tfstate"));
	end();
}

/* As one that was killed leaves it. */
static void
record_of(const char *holder, unsigned epoch)
{
	char text[400];

	snprintf(text, sizeof(text), "{\"stateferry_lease\":1,\"holder\":\"%s\",\"name\":\"before\",\"nonce\":\"n\",\"counter\":9,\"epoch\":%u,"
	    "\"transitions\":2,\"ttl_ms\":60000,\"since\":null}", holder, epoch);
	mem_world_put(b, RECORD, span_str(text));
}

/* --- locks that a dead agent left --- */

static void
lock_of_a_dead_agent_is_released(void)
{
	begin(1);
	mem_world_put(b, RECORD, span_str(DEAD("7")));
	mem_world_lock(b, "x.tfstate", LEFT("7", "stateferry"));
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(equal("x.tfstate"));
	end();
}

static void
other_locks_stay(void)
{
	static const char *const locks[] = { LEFT("8", "stateferry"), LEFT("9", "stateferry"), LEFT("7", "OperationTypeApply"),
		LEFT_BY("00000000-0000-0000-9b93-6e5108a0fc76", "6", "stateferry"), /* of no agent that held this lease */
		"{\"ID\":\"" LEFT_ID "\",\"Operation\":\"stateferry\",\"Info\":\"replicate e to c, epoch 1\",\"Who\":\"stateferry@x\"}",
		"{\"ID\":\"" LEFT_ID "\",\"Operation\":\"stateferry\",\"Info\":\"replicate e to b\",\"Who\":\"stateferry@x\"}" };

	for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
		begin(1);
		mem_world_put(b, RECORD, span_str(DEAD("7")));
		mem_world_lock(b, "x.tfstate", locks[i]);
		CHECK_STR(agent_rig_sync_counts(&r[0]), "0 0 0 1");
		CHECK_STR(mem_world_locked(b, "x.tfstate"), locks[i]);
		mem_world_lock(b, "x.tfstate", NULL);
		end();
	}
}

/* The replica is as it should be, and nothing new comes: the lock is in terraform's way all the same. caps: what listings do not show. */
static void
left_lock_needs_no_new_version(unsigned caps)
{
	begin(2);
	for (unsigned i = 0; i < 2; i++)
		plan_backend(engine_plan(r[i].engine), "b")->caps |= caps;
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], 2 * TTL);
	CHECK(equal("x.tfstate") && says(0) == REPLICA_CURRENT && says(1) == REPLICA_CURRENT);
	mem_world_put(b, RECORD, span_str(DEAD("7")));
	mem_world_lock(b, "x.tfstate", LEFT("7", "stateferry"));
	agent_rig_wait(&r[0], 2 * TTL);
	CHECK_U64(who(leader()).epoch, 8);
	CHECK(mem_world_locked(b, "x.tfstate") == NULL);
	mem_world_lock(b, "x.tfstate", LEFT("6", "stateferry")); /* asked for by one that is long gone, and late on its way */
	agent_rig_wait(&r[0], caps == 0 ? TTL : 30 * TTL);
	CHECK(mem_world_locked(b, "x.tfstate") == NULL);
	agent_rig_wait(&r[0], TTL);
	CHECK(says(0) == REPLICA_CURRENT && says(1) == REPLICA_CURRENT);
	end();
}

static void
left_lock_is_released_by_itself(void)
{
	left_lock_needs_no_new_version(0);
}

static void
left_lock_that_no_listing_shows(void)
{
	left_lock_needs_no_new_version(PROVIDER_LOCK_UNLISTED);
}

static void
left_lock_that_nobody_can_look_at(void)
{
	left_lock_needs_no_new_version(PROVIDER_LOCK_HIDDEN);
}

/* Between two listings terraform's lock ends, and one that a dead agent asked for comes in its place. */
static void
left_lock_behind_a_living_one(void)
{
	begin(1);
	mem_world_put(b, RECORD, span_str(DEAD("7")));
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], 3 * TTL);
	CHECK(equal("x.tfstate"));
	mem_world_lock(b, "x.tfstate", LEFT("7", "OperationTypeApply"));
	agent_rig_wait(&r[0], TTL);
	mem_world_lock(b, "x.tfstate", LEFT("7", "stateferry"));
	agent_rig_wait(&r[0], 11 * TTL);
	CHECK(mem_world_locked(b, "x.tfstate") == NULL);
	mem_world_lock(b, "x.tfstate", NULL);
	end();
}

/* What a process of ours held, its store knows of: nobody's states are locked to find out. */
static void
own_locks_are_not_looked_for(void)
{
	begin(1);
	plan_backend(engine_plan(r[0].engine), "b")->caps |= PROVIDER_LOCK_HIDDEN;
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	CHECK_U64(asked(0, REQUEST_LOCK), 1);
	record_of(store_agent_id(r[0].store), 1);
	agent_rig_wait(&r[0], 40 * TTL);
	CHECK_U64(who(0).epoch, 2);
	CHECK_U64(asked(0, REQUEST_LOCK), 1);
	end();
}

static void
left_lock_is_released_by_a_pass(void)
{
	begin(1);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	reborn(0);
	mem_world_put(b, RECORD, span_str(DEAD("7")));
	mem_world_lock(b, "x.tfstate", LEFT("7", "stateferry"));
	CHECK_STR(agent_rig_sync_counts(&r[0]), "0 1 0 0");
	end(); /* which counts locks */
}

/* A lock that could not be released is tried again, and so is one that could not be read. */
static void
left_lock_survives_faults(void)
{
	for (uint64_t n = 1; n < 40; n++) {
		begin(1);
		engine_start(r[0].engine);
		agent_rig_wait(&r[0], TTL);
		mem_world_put(b, RECORD, span_str(DEAD("7")));
		mem_world_lock(b, "x.tfstate", LEFT("7", "stateferry"));
		agent_rig_wait(&r[0], TTL + TTL / 2 - 2000);
		mem_world_fault(b, n, ERR_UNCERTAIN, n % 2 == 0);
		agent_rig_wait(&r[0], 4 * TTL);
		CHECK_U64(who(0).standing, LEASE_OURS);
		CHECK(mem_world_locked(b, "x.tfstate") == NULL);
		agent_rig_wait(&r[0], 40 * TTL);
		end();
	}
}

/* Looked at once in ten minutes, and left alone as long as the listing shows it. */
static void
lock_of_others_is_seldom_looked_at(void)
{
	static const char *const locks[] = { LEFT("8", "stateferry"), LEFT("9", "stateferry"), LEFT("7", "OperationTypeApply") };
	uint64_t                 asked_before;

	for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
		begin(1);
		engine_start(r[0].engine);
		agent_rig_wait(&r[0], TTL);
		mem_world_put(b, RECORD, span_str(DEAD("7")));
		mem_world_lock(b, "x.tfstate", locks[i]);
		agent_rig_wait(&r[0], 3 * TTL);
		CHECK_U64(who(0).epoch, 8);
		CHECK_STR(mem_world_locked(b, "x.tfstate"), locks[i]);
		asked_before = asked(0, REQUEST_LOCK_PEEK);
		agent_rig_wait(&r[0], 10 * TTL);
		CHECK(asked(0, REQUEST_LOCK_PEEK) <= asked_before + 1);
		CHECK_STR(mem_world_locked(b, "x.tfstate"), locks[i]);
		mem_world_lock(b, "x.tfstate", NULL);
		agent_rig_wait(&r[0], TTL);
		mem_world_lock(b, "x.tfstate", LEFT("3", "stateferry"));
		agent_rig_wait(&r[0], TTL);
		CHECK(mem_world_locked(b, "x.tfstate") == NULL);
		end();
	}
}

/* --- what a process before us held --- */

static void
own_process_that_died_is_followed_at_once(void)
{
	int64_t begun;

	begin(1);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	reborn(0);
	record_of(store_agent_id(r[0].store), 1);
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	begun = loop_now(loop);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(loop_now(loop) - begun < 5000);
	CHECK(record_says("\"epoch\":2") && record_says("\"transitions\":2"));
	end();
}

static void
older_store_waits_for_a_person(void)
{
	struct pass_result p;

	begin(1);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0"); /* it knows of epoch 1 */
	reborn(0);
	record_of(store_agent_id(r[0].store), 2);
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_sync(&r[0], &p);
	CHECK_U64((uint64_t)pass_result_exit(&p), 10);
	CHECK(strstr(p.problems[0].message, "put back from a backup") != NULL && strstr(p.problems[0].hint, "stateferry adopt") != NULL);
	pass_result_free(&p);
	CHECK(!equal("x.tfstate") && record_says("\"epoch\":2"));
	CHECK_U64(agent_rig_run(&r[0], engine_adopt(r[0].engine), 1000), ERR_OK);
	CHECK(!record_says(store_agent_id(r[0].store)));
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0"); /* after the time of the one that it was */
	CHECK(equal("x.tfstate") && record_says("\"epoch\":3"));
	end();
}

/* Handed over, maybe to another agent that holds it now: what the record knows of our store is older than that itself. */
static void
store_put_back_is_seen_behind_a_hand_over(bool other)
{
	struct pass_result p;
	char              *dir, *copy, *command;

	begin(2);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	dir = xstrdup(r[0].dir);
	copy = xasprintf("%s.copy", dir);
	agent_rig_close(&r[0]);
	command = xasprintf("rm -rf '%s' && cp -a '%s' '%s'", copy, dir, copy);
	CHECK_U64((uint64_t)system(command), 0);
	free(command);
	agent_rig_join(&r[0], loop, dir, SHARED);
	agent_rig_world(&r[0], "a", a);
	agent_rig_world(&r[0], "b", b);
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	CHECK(equal("x.tfstate"));
	agent_rig_close(&r[0]);
	CHECK(record_says("\"holder\":\"\""));
	if (other)
		CHECK_STR(agent_rig_sync_counts(&r[1]), "0 1 0 0");
	command = xasprintf("rm -rf '%s' && mv '%s' '%s'", dir, copy, dir);
	CHECK_U64((uint64_t)system(command), 0);
	free(command);
	agent_rig_join(&r[0], loop, dir, SHARED);
	agent_rig_world(&r[0], "a", a);
	agent_rig_world(&r[0], "b", b);
	mem_world_put(a, "x.tfstate", rig_state(7, "L", 3, "b"));
	agent_rig_sync(&r[0], &p);
	CHECK_U64((uint64_t)pass_result_exit(&p), 10);
	CHECK(strstr(p.problems[0].message, "put back from a backup") != NULL && strstr(p.problems[0].hint, "stateferry adopt") != NULL);
	pass_result_free(&p);
	CHECK(!equal("x.tfstate"));
	CHECK_U64(agent_rig_run(&r[0], engine_adopt(r[0].engine), 1000), ERR_OK);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	CHECK(equal("x.tfstate"));
	free(dir);
	free(copy);
	end();
}

static void
store_put_back_after_a_hand_over(void)
{
	store_put_back_is_seen_behind_a_hand_over(false);
}

static void
store_put_back_after_another_holder(void)
{
	store_put_back_is_seen_behind_a_hand_over(true);
}

static void
agent_that_was_overtaken_stops_until_adopted(void)
{
	begin(1);
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	record_of(store_agent_id(r[0].store), 9); /* a copy of its store runs elsewhere */
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_wait(&r[0], 3 * TTL);
	CHECK(!equal("x.tfstate") && who(0).standing == LEASE_UNREAD);
	CHECK_U64(agent_rig_run(&r[0], engine_adopt(r[0].engine), 1000), ERR_OK);
	agent_rig_wait(&r[0], 3 * TTL);
	CHECK(equal("x.tfstate") && who(0).standing == LEASE_OURS);
	CHECK_U64(who(0).epoch, 10);
	end();
}

static void
epochs_go_on_where_the_record_was_lost(void)
{
	begin(1);
	for (unsigned i = 0; i < 3; i++)
		agent_rig_sync_counts(&r[0]);
	CHECK(record_says("\"epoch\":3"));
	mem_world_put(b, RECORD, span_of(NULL, 0));
	agent_rig_sync_counts(&r[0]);
	CHECK(record_says("\"epoch\":4"));
	end();
}

static bool
see_intent(void *arg, const struct intent_rec *i)
{
	CHECK(i->epoch == 1 && strstr(i->lock_body, "epoch 1;") != NULL);
	++*(unsigned *)arg;
	return true;
}

static void
intent_says_under_which_epoch(void)
{
	struct store_txn *t;
	unsigned          found = 0;

	for (uint64_t n = 1; n < 12; n++) {
		begin(1);
		mem_world_fault(b, n, ERR_UNCERTAIN, true); /* an answer is lost: of the lease, the lock, the write, or the unlock */
		agent_rig_sync_counts(&r[0]);
		CHECK(store_read(r[0].store, &t, NULL) == ERR_OK);
		store_intents(t, see_intent, &found);
		store_end(t);
		agent_rig_wait(&r[0], 2000000);
		agent_rig_sync_counts(&r[0]);
		end();
	}
	CHECK(found > 0);
}

/* --- handed over by a person --- */

static void
released_lease_stays_away(void)
{
	struct lease_released what;
	unsigned              first;

	begin(2);
	engine_start(r[0].engine);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	first = leader();
	CHECK_U64(agent_rig_run(&r[0], engine_lease_release(r[first].engine, "e", false, &what), 5000), ERR_OK);
	CHECK_U64(what.done, 1);
	agent_rig_wait(&r[0], 1000);
	CHECK(who(first).standing == LEASE_RELEASED && who(1 - first).standing == LEASE_OURS);
	engine_stop(r[1 - first].engine); /* now nobody has it, and it still stays away */
	mem_world_put(a, "x.tfstate", rig_state(6, "L", 3, "b"));
	agent_rig_wait(&r[0], 5 * TTL);
	CHECK(!equal("x.tfstate") && record_says("\"holder\":\"\""));
	CHECK_U64(agent_rig_run(&r[0], engine_lease_release(r[first].engine, "e", true, &what), 1000), ERR_OK);
	agent_rig_wait(&r[0], TTL);
	CHECK(equal("x.tfstate") && who(first).standing == LEASE_OURS);
	end();
}

static void
only_its_holder_releases_it(void)
{
	struct lease_released what;

	begin(2);
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	CHECK_U64(agent_rig_run(&r[1], engine_lease_release(r[1].engine, "e", false, &what), 1000), ERR_LOCKED);
	CHECK(strstr(r[1].err.msg, "only that agent can hand it over") != NULL && strstr(r[1].err.hint, "has not changed for ") != NULL);
	CHECK_U64(who(0).standing, LEASE_OURS);
	CHECK_U64(agent_rig_run(&r[1], engine_lease_release(r[1].engine, "nowhere", false, &what), 1000), ERR_USAGE);
	end();
}

static void
what_a_dead_process_held_is_given_up_for_it(void)
{
	struct lease_released what;

	begin(1);
	CHECK_STR(agent_rig_sync_counts(&r[0]), "1 0 0 0");
	reborn(0);
	record_of(store_agent_id(r[0].store), 1);
	CHECK_U64(agent_rig_run(&r[0], engine_leases_read(r[0].engine), 1000), ERR_OK);
	CHECK(who(0).epoch == 1 && record_says("\"counter\":9")); /* a look changes nothing */
	CHECK_U64(agent_rig_run(&r[0], engine_lease_release(r[0].engine, "e", false, &what), 5000), ERR_OK);
	CHECK_U64(what.done, 1);
	CHECK(record_says("\"holder\":\"\"") && record_says("\"epoch\":2"));
	end();
}

/* --- decided by a person --- */

static void
only_who_writes_resolves(void)
{
	begin(2);
	mem_world_put(b, "x.tfstate", rig_state(9, "another", 4, "somebody"));
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	CHECK(says(0) == REPLICA_HELD && says(1) == REPLICA_HELD);
	CHECK_U64(agent_rig_run(&r[1], engine_resolve(r[1].engine, "e", "x.tfstate", NULL), TTL), ERR_LOCKED);
	CHECK(strstr(r[1].err.msg, "the lease at b is held by") != NULL);
	CHECK(!equal("x.tfstate"));
	CHECK_U64(agent_rig_run(&r[0], engine_resolve(r[0].engine, "e", "x.tfstate", NULL), TTL), ERR_OK);
	CHECK(equal("x.tfstate"));
	agent_rig_wait(&r[0], TTL);
	CHECK(says(0) == REPLICA_CURRENT && says(1) == REPLICA_CURRENT);
	end();
}

static void
decision_without_an_agent_takes_the_lease_for_it(void)
{
	begin(1);
	mem_world_put(b, "x.tfstate", rig_state(9, "another", 4, "somebody"));
	CHECK_STR(agent_rig_sync_counts(&r[0]), "0 0 1 0");
	CHECK_U64(agent_rig_run(&r[0], engine_resolve(r[0].engine, "e", "x.tfstate", NULL), TTL), ERR_OK);
	CHECK(equal("x.tfstate") && record_says("\"epoch\":2"));
	reborn(0); /* what it took is handed over when the process ends */
	CHECK(record_says("\"holder\":\"\""));
	end();
}

/* --- reload --- */

static void
reload_with(const char *text)
{
	struct plan *plan = agent_rig_plan(&r[0], text);

	mem_attach(plan_backend(plan, "a"), a);
	mem_attach(plan_backend(plan, "b"), b);
	CHECK_U64(agent_rig_run(&r[0], engine_reload(r[0].engine, plan), 60000), ERR_OK);
}

static void
reload_keeps_what_did_not_change(void)
{
	begin(2);
	engine_start(r[0].engine);
	agent_rig_wait(&r[0], TTL);
	engine_start(r[1].engine);
	agent_rig_wait(&r[0], TTL);
	for (unsigned i = 0; i < 3; i++) {
		reload_with(SHARED "backend \"mem\" \"c\" {}\nreplicate \"f\" {\n  from = \"a\"\n  to = [\"c\"]\n}\n");
		CHECK_U64(who(0).standing, LEASE_OURS);
		mem_world_put(a, "x.tfstate", rig_state(6 + i, "L", 3, "b"));
		agent_rig_wait(&r[0], 2 * TTL);
		CHECK(equal("x.tfstate"));
		CHECK_U64(who(0).epoch, 1);
	}
	CHECK_U64(engine_counters(r[1].engine)->pushes_ok, 0);
	reload_with(BACKENDS EDGE("  lease {\n    ttl = \"30s\"\n  }\n")); /* another agreement: it begins anew */
	agent_rig_wait(&r[0], TTL);
	leader();
	CHECK_U64(who(0).epoch, 2);
	end();
}

/* --- configuration --- */

static void
what_cannot_be_a_lease(void)
{
	CHECK(agent_rig_plan_error(SHARED) == NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  ttl = \"1s\"\n}\n")), "ttl is at least 2s") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  coordinator = \"etcd\"\n}\n")), "needs a block `etcd") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  coordinator = \"etcd\"\n  dynamodb {\n}\n}\n")), "stands beside") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  etcd {\n}\n}\n")), "beside coordinator = \"target\"") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  coordinator = \"etcd\"\n" ETCD ETCD "}\n")), "a second block") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n}\nlease {\n}\n")), "a second lease block") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease \"target\" {\n}\n")), "lease takes no label") != NULL);
	CHECK(strstr(agent_rig_plan_error(BACKENDS EDGE("lease {\n  max_failures = -1\n}\n")), "from 0 to") != NULL);
	CHECK(strstr(agent_rig_plan_error("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  if_match = false\n}\n"
	    EDGE("lease {\n}\n")), "cannot carry a lease") != NULL);
	CHECK(agent_rig_plan_error("backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  if_match = false\n}\n"
	    EDGE("lease {\n  coordinator = \"etcd\"\n" ETCD "}\n")) == NULL);
}

static void
reload_ended(struct op *op, void *arg)
{
	CHECK_OK(op->err.code, op->err);
	op_free(op);
	*(bool *)arg = true;
}

/* Who asks at any time while the plan changes has an answer, and of one plan. */
static void
a_question_in_a_reload_is_answered(void)
{
	for (int64_t ms = 0; ms < 120; ms += 3) {
		bool         over = false;
		struct plan *plan;

		begin(1);
		engine_start(r[0].engine);
		agent_rig_wait(&r[0], TTL);
		plan = agent_rig_plan(&r[0], SHARED);
		mem_attach(plan_backend(plan, "a"), a);
		mem_attach(plan_backend(plan, "b"), b);
		op_start(engine_reload(r[0].engine, plan), reload_ended, &over);
		agent_rig_wait(&r[0], ms);
		CHECK_OK(agent_rig_run(&r[0], engine_leases_read(r[0].engine), 60000), r[0].err);
		agent_rig_wait(&r[0], 1000);
		CHECK(over);
		end();
	}
}

/* By a person, at any time while the plan changes: it is handed over, and stays away under the new plan. */
static void
a_release_in_a_reload_is_carried_out(void)
{
	for (int64_t ms = 0; ms < 120; ms += 3) {
		struct lease_released what;
		bool                  over = false;
		struct plan          *plan;

		begin(1);
		engine_start(r[0].engine);
		agent_rig_wait(&r[0], TTL);
		plan = agent_rig_plan(&r[0], ms % 2 == 0 ? SHARED : BACKENDS EDGE("  lease {\n    ttl = \"30s\"\n  }\n"));
		mem_attach(plan_backend(plan, "a"), a);
		mem_attach(plan_backend(plan, "b"), b);
		op_start(engine_reload(r[0].engine, plan), reload_ended, &over);
		agent_rig_wait(&r[0], ms);
		CHECK_OK(agent_rig_run(&r[0], engine_lease_release(r[0].engine, "e", false, &what), 60000), r[0].err);
		CHECK_U64(what.done, 1);
		agent_rig_wait(&r[0], TTL);
		CHECK(over && record_says("\"holder\":\"\""));
		CHECK_U64(who(0).standing, LEASE_RELEASED);
		end();
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "one of two replicates", one_of_two_replicates },
		{ "who stops hands over", who_stops_hands_over },
		{ "a holder whose target fails leaves it", holder_whose_target_fails_leaves_it },
		{ "a holder without its source leaves it", holder_without_its_source_leaves_it },
		{ "work that waits needs no source", work_that_waits_needs_no_source },
		{ "work that waits does not cost the lease", work_that_waits_does_not_cost_the_lease },
		{ "who follows sees what the holder wrote", follower_sees_what_the_holder_wrote },
		{ "who follows tells what the holder cannot write", follower_tells_what_the_holder_cannot_write },
		{ "who reads the source late holds nothing back", follower_that_reads_late_holds_nothing },
		{ "a take-over starts warm", takeover_starts_warm },
		{ "who lost it while the target was down rests", who_lost_it_while_the_target_was_down_rests },
		{ "a pass takes it and hands it over", pass_takes_it_and_hands_it_over },
		{ "a pass beside another holder ends with 11", pass_beside_another_holder_ends_with_11 },
		{ "a dead holder is followed in one pass", dead_holder_is_followed_in_one_pass },
		{ "the lock of a dead agent is released", lock_of_a_dead_agent_is_released },
		{ "other locks stay", other_locks_stay },
		{ "the lock of a dead agent is released without a new version", left_lock_is_released_by_itself },
		{ "the same where listings do not show locks", left_lock_that_no_listing_shows },
		{ "the same where nobody can look at locks", left_lock_that_nobody_can_look_at },
		{ "the lock of a dead agent is released behind a living one", left_lock_behind_a_living_one },
		{ "locks of a process of ours are not looked for", own_locks_are_not_looked_for },
		{ "the lock of a dead agent is released by a pass", left_lock_is_released_by_a_pass },
		{ "the lock of a dead agent is released whatever is lost", left_lock_survives_faults },
		{ "somebody's lock is seldom looked at", lock_of_others_is_seldom_looked_at },
		{ "an own process that died is followed at once", own_process_that_died_is_followed_at_once },
		{ "a store older than what its agent held waits for a person", older_store_waits_for_a_person },
		{ "the same behind a hand-over", store_put_back_after_a_hand_over },
		{ "the same behind another holder", store_put_back_after_another_holder },
		{ "an agent whose name another one goes by stops until it is adopted", agent_that_was_overtaken_stops_until_adopted },
		{ "epochs go on where the record was lost", epochs_go_on_where_the_record_was_lost },
		{ "an intent says under which epoch it was made", intent_says_under_which_epoch },
		{ "what is released stays away until it is taken back", released_lease_stays_away },
		{ "only its holder releases it", only_its_holder_releases_it },
		{ "what a dead process held is given up for it", what_a_dead_process_held_is_given_up_for_it },
		{ "only who writes resolves", only_who_writes_resolves },
		{ "a decision without an agent takes the lease for it", decision_without_an_agent_takes_the_lease_for_it },
		{ "a reload keeps what did not change", reload_keeps_what_did_not_change },
		{ "a question in a reload is answered", a_question_in_a_reload_is_answered },
		{ "a release in a reload is carried out", a_release_in_a_reload_is_carried_out },
		{ "what cannot be a lease", what_cannot_be_a_lease },
		{ NULL, NULL } });
}
