/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* Versions that a source keeps become versions here: which, in which order, from when, and that none of them travels. */
#define DAY (INT64_C(24) * 3600 * 1000)

static const char one_edge[] =
    "backend \"mem\" \"a\" {\n  history = true\n}\n"
    "backend \"mem\" \"b\" {}\n"
    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n";

static struct agent_rig  r;
static struct mem_world *a, *b;

static void
begin(const char *text)
{
	a = mem_world_new();
	b = mem_world_new();
	agent_rig_open(&r, 1, NULL, text);
	agent_rig_world(&r, "a", a);
	agent_rig_world(&r, "b", b);
}

static void
end(void)
{
	agent_rig_close(&r);
	CHECK_U64(mem_world_locks(a) + mem_world_locks(b), 0);
	mem_world_free(a);
	mem_world_free(b);
}

static void
put(uint64_t serial)
{
	mem_world_put(a, "x.tfstate", rig_state(serial, "L", 3, "x"));
}

static void
put_at(uint64_t serial, int64_t when)
{
	mem_world_date(a, when);
	put(serial);
}

static bool
note_version(void *arg, const struct version_rec *v)
{
	struct buf *out = arg, all;

	if (version_is_evidence(v))
		return true;
	buf_init(&all, 0);
	buf_printf(&all, "%" PRIu64 ":%s ", v->serial, verdict_name(v->verdict));
	buf_puts(&all, buf_str(out));
	buf_free(out);
	*out = all;
	return true;
}

/* "1:first 2:advance ", oldest first. Static. */
static const char *
versions(void)
{
	static char       text[4096];
	struct store_txn *t;
	struct state_rec  s;
	struct buf        out;

	buf_init(&out, 0);
	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x.tfstate", &s));
	store_versions(t, s.id, note_version, &out);
	store_end(t);
	snprintf(text, sizeof(text), "%s", buf_str(&out));
	buf_free(&out);
	return text;
}

static uint64_t
version_count(void)
{
	struct store_txn *t;
	struct state_rec  s;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x.tfstate", &s));
	store_end(t);
	return s.versions;
}

static struct version_rec
version(uint64_t n)
{
	struct store_txn  *t;
	struct state_rec   s;
	struct version_rec v;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x.tfstate", &s));
	CHECK(store_version(t, s.id, n, &v));
	store_end(t);
	return v;
}

static uint64_t
head(void)
{
	struct store_txn *t;
	struct state_rec  s;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x.tfstate", &s));
	store_end(t);
	return s.head;
}

static void
check_replica(struct span want)
{
	struct span got;

	CHECK(mem_world_get(b, "x.tfstate", &got));
	CHECK(span_eq(got, want));
}

static bool
count_event(void *arg, const struct event_rec *e)
{
	*(uint64_t *)arg += strcmp(e->kind, "backfill") == 0;
	return true;
}

static uint64_t
events(void)
{
	struct store_txn *t;
	uint64_t          n = 0;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	store_events(t, 0, count_event, &n);
	store_end(t);
	return n;
}

/* ---------------------------------------------------------------- which, and in which order */

static void
first_contact(void)
{
	begin(one_edge);
	for (uint64_t i = 1; i <= 5; i++)
		put_at(i, RIG_WALL - (6 - (int64_t)i) * DAY);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 2:advance 3:advance 4:advance 5:advance ");
	CHECK_U64(head(), 5);
	CHECK_U64(mem_world_writes(b), 1); /* the newest alone has travelled */
	check_replica(rig_state(5, "L", 3, "x"));
	for (uint64_t i = 1; i <= 5; i++) {
		CHECK_U64((uint64_t)version(i).seen, (uint64_t)(RIG_WALL - (6 - (int64_t)i) * DAY));
		CHECK_U64(version(i).parent, i - 1);
	}
	CHECK_U64(events(), 1);
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 0 0");
	CHECK_U64(events(), 1);
	end();
}

static void
between_two_looks(void)
{
	begin(one_edge);
	put(1);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	put(2);
	put(3);
	put(4);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 2:advance 3:advance 4:advance ");
	CHECK_U64(mem_world_writes(b), 2);
	put(5);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 2:advance 3:advance 4:advance 5:advance ");
	end();
}

/* The same bytes come back in between: the last one that is known is told by its name, not by its bytes. */
static void
there_and_back(void)
{
	begin(one_edge);
	put(1);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	put(2);
	put(1);
	put(3);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 2:advance 1:older 3:advance ");
	put(4);
	put(3);
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0"); /* the newest good one travels, the return waits for a person */
	CHECK_STR(versions(), "1:first 2:advance 1:older 3:advance 4:advance 3:older ");
	CHECK_U64(head(), 5);
	check_replica(rig_state(4, "L", 3, "x"));
	end();
}

/* As much as is allowed, the newest of them; the others stay where they are. */
static void
no_more_than_asked_for(void)
{
	begin("backend \"mem\" \"a\" {\n  history = true\n  backfill = 2\n}\nbackend \"mem\" \"b\" {}\n"
	      "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n");
	for (uint64_t i = 1; i <= 6; i++)
		put(i);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "4:first 5:advance 6:advance ");
	for (uint64_t i = 7; i <= 10; i++)
		put(i);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "4:first 5:advance 6:advance 8:advance 9:advance 10:advance ");
	end();
}

static void
not_where_it_is_off(void)
{
	uint64_t calls;

	begin("backend \"mem\" \"a\" {\n  history = true\n  backfill = 0\n}\nbackend \"mem\" \"b\" {}\n"
	      "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n");
	put(1);
	put(2);
	agent_rig_sync_counts(&r);
	calls = mem_world_calls(a);
	put(3);
	put(4);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(mem_world_calls(a) - calls, 2); /* a listing and a read */
	CHECK_STR(versions(), "2:first 4:advance ");
	end();
}

/* ---------------------------------------------------------------- judged as always, but for what was before anybody watched */

static void
another_lineage_before(void)
{
	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(8, "old", 40, "x"));
	mem_world_put(a, "x.tfstate", rig_state(9, "old", 40, "x"));
	mem_world_put(a, "x.tfstate", rig_state(1, "new", 40, "x"));
	mem_world_put(a, "x.tfstate", rig_state(2, "new", 4, "x"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "8:first 9:advance 1:first 2:advance ");
	CHECK_U64(head(), 4);
	check_replica(rig_state(2, "new", 4, "x"));
	end();
}

/* What the source holds at first contact is taken, whatever was there before it. */
static void
a_lower_serial_now(void)
{
	begin(one_edge);
	put(5);
	put(7);
	put(3);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "5:first 7:advance 3:first ");
	check_replica(rig_state(3, "L", 3, "x"));
	end();
}

/* From then on it is as if it had been looked at each time. */
static void
what_shrank_in_between_is_held(void)
{
	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 20, "x"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 2, "x"));
	mem_world_put(a, "x.tfstate", rig_state(3, "M", 20, "x"));
	mem_world_put(a, "x.tfstate", SPAN_LIT("<html>"));
	mem_world_put(a, "x.tfstate", rig_state(4, "L", 19, "x"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 2:shrunk 3:unrelated 0:damaged 4:advance ");
	check_replica(rig_state(4, "L", 19, "x"));
	end();
}

static void
a_good_one_before_damage(void)
{
	begin(one_edge);
	put(1);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	put(2);
	put(3);
	mem_world_put(a, "x.tfstate", SPAN_LIT(""));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	CHECK_STR(versions(), "1:first 2:advance 3:advance 0:empty ");
	CHECK_U64(head(), 3);
	check_replica(rig_state(3, "L", 3, "x"));
	put(4);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 2:advance 3:advance 0:empty 4:advance ");
	end();
}

static void
time_is_monotone(void)
{
	begin(one_edge);
	put_at(1, RIG_WALL - 3 * DAY);
	put_at(2, RIG_WALL - 5 * DAY);
	put_at(3, RIG_WALL + 5 * DAY);
	put_at(4, 0);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64((uint64_t)version(1).seen, (uint64_t)(RIG_WALL - 3 * DAY));
	CHECK_U64((uint64_t)version(2).seen, (uint64_t)(RIG_WALL - 3 * DAY));
	CHECK(version(3).seen >= RIG_WALL && version(3).seen < RIG_WALL + 60000);
	CHECK(version(4).seen >= version(3).seen && version(4).seen < RIG_WALL + 60000);
	end();
}

/* ---------------------------------------------------------------- what cannot be had */

static void
unreadable_ones_are_left_out(void)
{
	begin(one_edge);
	for (uint64_t i = 1; i <= 5; i++)
		put(i);
	mem_world_lose(a, "x.tfstate", 2);
	mem_world_lose(a, "x.tfstate", 4);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 3:advance 5:advance ");
	CHECK_U64(events(), 1);
	put(6);
	put(7);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 3:advance 5:advance 6:advance 7:advance ");
	end();
}

/* Nothing that fails there keeps what is there now from being taken; one event; and not one question for each state. */
static void
a_refused_history_stops_nothing(void)
{
	uint64_t calls;

	begin(one_edge);
	mem_world_deny(a, ERR_AUTH, ERR_OK);
	put(1);
	put(2);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "2:first ");
	CHECK_U64(events(), 1);
	calls = mem_world_calls(a);
	put(3);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(mem_world_calls(a) - calls, 2);
	CHECK_U64(events(), 1);
	mem_world_deny(a, ERR_OK, ERR_OK);
	agent_rig_wait(&r, 11 * 60 * 1000);
	put(4);
	put(5);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "2:first 3:advance 4:advance 5:advance "); /* from the change tag that was read last */
	CHECK_U64(events(), 2);
	mem_world_deny(a, ERR_AUTH, ERR_OK); /* again, and told again */
	put(6);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(events(), 3);
	end();
}

static void
those_that_may_not_be_read_come_later(void)
{
	begin(one_edge);
	put(1);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_deny(a, ERR_OK, ERR_NETWORK);
	put(2);
	put(3);
	put(4);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 4:advance ");
	mem_world_deny(a, ERR_OK, ERR_OK);
	put(5);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 4:advance 2:older 3:older 5:advance ");
	check_replica(rig_state(5, "L", 3, "x"));
	put(6);
	put(7);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 4:advance 2:older 3:older 5:advance 6:advance 7:advance ");
	end();
}

/* The remote has dropped the one that was known: what is younger is told by its time, what is the same by its bytes. */
static void
the_known_one_expired(void)
{
	begin(one_edge);
	for (uint64_t i = 1; i <= 3; i++)
		put_at(i, RIG_WALL - (10 - (int64_t)i) * DAY);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	for (uint64_t i = 4; i <= 8; i++)
		put_at(i, RIG_WALL - (10 - (int64_t)i) * DAY);
	mem_world_expire(a, "x.tfstate", 3);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 2:advance 3:advance 6:advance 7:advance 8:advance ");
	end();
}

/* ---------------------------------------------------------------- others that write to the same state */

static void
what_a_restore_wrote_is_known(void)
{
	struct restore_options o = { .backend = "a", .name = "x.tfstate", .version = 1 };
	struct restore_result  res;

	begin(one_edge);
	put(1);
	put(2);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_OK(agent_rig_run(&r, engine_restore(r.engine, &o, &res), 60000), r.err);
	CHECK_STR(versions(), "1:first 2:advance 3:advance ");
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	put(4);
	put(5);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 2:advance 3:advance 4:advance 5:advance ");
	end();
}

static void
a_released_one_is_the_next_known(void)
{
	begin(one_edge);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 20, "x"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 2, "x"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 1 0");
	CHECK_OK(agent_rig_run(&r, engine_release(r.engine, "a", "x.tfstate", 0), 60000), r.err);
	mem_world_put(a, "x.tfstate", rig_state(3, "L", 2, "x"));
	mem_world_put(a, "x.tfstate", rig_state(4, "L", 2, "x"));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_STR(versions(), "1:first 2:shrunk 2:advance 3:advance 4:advance ");
	end();
}

/* ---------------------------------------------------------------- snapshots */

static void
count_object(void *arg, const char *name, struct span body)
{
	(void)name, (void)body;
	++*(unsigned *)arg;
}

static void
each_becomes_a_snapshot(void)
{
	unsigned n = 0;

	begin("backend \"mem\" \"a\" {\n  history = true\n}\nbackend \"mem\" \"b\" {}\n"
	      "snapshot \"s\" {\n  from = \"a\"\n  to = [\"b\"]\n  every = \"change\"\n}\n");
	for (uint64_t i = 1; i <= 5; i++)
		put_at(i, RIG_WALL - (6 - (int64_t)i) * DAY);
	for (int i = 0; i < 6; i++)
		agent_rig_sync_counts(&r);
	mem_world_each(b, count_object, &n);
	CHECK_U64(n, 5);
	end();
}

/* ---------------------------------------------------------------- any sequence */

/*
 * An agent that looks after every write, at a source that keeps nothing, and one that looks now and then at a source that keeps all:
 * afterwards they know the same.
 */
static const char without_history[] =
    "backend \"mem\" \"a\" {}\n"
    "backend \"mem\" \"b\" {}\n"
    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n";

/* Damage, another lineage, a lower serial, the same serial, a loss, what was there before the last one; else the next serial. */
static struct span
random_state(struct rand *rnd, uint64_t *serial, unsigned *lineage, int n, struct span before)
{
	static const char *const lineages[] = { "K", "L", "M" };
	uint64_t                 what = rand_below(rnd, 12), s = *serial;
	char                     tweak[16];

	snprintf(tweak, sizeof(tweak), "%d", n);
	if (what == 5 && before.n > 0)
		return before;
	if (what == 0)
		return s == 1 || rand_below(rnd, 2) == 0 ? SPAN_LIT("<html>") : SPAN_LIT("");
	if (what == 1)
		*lineage = (*lineage + 1) % 3;
	if (what == 2 && s > 2)
		s -= 2;
	else if (what != 3)
		s = *serial += 1 + rand_below(rnd, 2);
	return rig_state(s, lineages[*lineage], what == 4 ? 2 : 12, tweak);
}

static bool
note_digest(void *arg, const struct version_rec *v)
{
	char hex[DIGEST_HEX];

	buf_printf(arg, "%" PRIu64 " %s %s, ", v->number, verdict_name(v->verdict), digest_hex(&v->digest, hex));
	return true;
}

/* Every version of a state, and which is the head. */
static void
tell_all(struct agent_rig *of, struct buf *ret)
{
	struct store_txn *t;
	struct state_rec  s;

	buf_init(ret, 0);
	CHECK_OK(store_read(of->store, &t, &of->err), of->err);
	CHECK(store_state(t, "a", "x.tfstate", &s));
	store_versions(t, s.id, note_digest, ret);
	buf_printf(ret, "head %" PRIu64, s.head);
	store_end(t);
}

static void
check_same(struct agent_rig *other, uint64_t seed)
{
	struct buf mine, theirs;

	tell_all(&r, &mine);
	tell_all(other, &theirs);
	if (strcmp(buf_str(&mine), buf_str(&theirs)) != 0)
		test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": %s\nnot %s", seed, buf_str(&mine), buf_str(&theirs));
	buf_free(&mine);
	buf_free(&theirs);
}

static void
check_times(uint64_t seed)
{
	int64_t before = 0;

	for (uint64_t i = 1; i <= version_count(); i++) {
		if (version(i).seen < before)
			test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": version %" PRIu64 " is older than the one before", seed, i);
		before = version(i).seen;
	}
}

static void
one_sequence(uint64_t seed)
{
	struct agent_rig  other = { .http = NULL };
	struct mem_world *c = mem_world_new(), *d = mem_world_new();
	struct span       last[2] = { { .n = 0 }, { .n = 0 } };
	struct rand       rnd;
	uint64_t          serial = 1, looks = 0;
	unsigned          lineage = 0;

	rand_seeded(&rnd, seed);
	begin(one_edge);
	agent_rig_join(&other, r.loop, NULL, without_history);
	agent_rig_world(&other, "a", c);
	agent_rig_world(&other, "b", d);
	for (int i = 0; i < 25; i++) {
		struct span body = random_state(&rnd, &serial, &lineage, i, last[1]);

		mem_world_date(a, rand_below(&rnd, 3) == 0 ? 0 : RIG_WALL - DAY + i * 1000);
		mem_world_put(a, "x.tfstate", body);
		mem_world_put(c, "x.tfstate", body);
		agent_rig_sync_counts(&other);
		last[1] = last[0];
		last[0] = body;
		if (rand_below(&rnd, 3) > 0 && i > 0 && i < 24)
			continue;
		agent_rig_sync_counts(&r);
		check_same(&other, seed);
		looks++;
	}
	check_times(seed);
	CHECK(mem_world_writes(b) <= looks);
	agent_rig_close(&other);
	mem_world_free(c);
	mem_world_free(d);
	end();
}

static void
any_sequence(void)
{
	for (uint64_t seed = 1; seed <= 100; seed++)
		one_sequence(seed);
}

/* ---------------------------------------------------------------- death at every turn */

static char dirs[2][512];

static const char *
folder_text(void)
{
	static char text[2048];

	snprintf(text, sizeof(text), "backend \"mem\" \"a\" {\n  history = true\n}\nbackend \"local\" \"b\" {\n  dir = \"%s\"\n}\n"
	    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n", dirs[0]);
	return text;
}

static void
ignore_op(struct op *op, void *arg)
{
	*(bool *)arg = true;
	op_free(op);
}

/* One pass, dead after k turns. Exit 0: it ended by itself. */
static void __attribute__((noreturn))
child(uint64_t k)
{
	struct pass_result p;
	bool               done = false;

	agent_rig_open(&r, k, dirs[1], folder_text());
	agent_rig_world(&r, "a", a);
	op_start(engine_pass(r.engine, &(struct pass_options){ .nedges = 0 }, &p), ignore_op, &done);
	for (uint64_t i = 0; !done && loop_turn(r.loop, false);)
		if (++i == k)
			_exit(9);
	_exit(done ? 0 : 8);
}

static int
run_child(uint64_t k)
{
	pid_t pid;
	int   status;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		child(k);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Is the replica, if there is one, the newest that the source holds? */
static void
check_folder(uint64_t k, uint64_t serial, bool must)
{
	struct span want = rig_state(serial, "L", 3, "x");
	char        path[1024], got[4096];
	FILE       *f;
	size_t      n = 0;

	snprintf(path, sizeof(path), "%s/x.tfstate", dirs[0]);
	if ((f = fopen(path, "rb")) != NULL) {
		n = fread(got, 1, sizeof(got), f);
		fclose(f);
	}
	if ((must || n > 0) && !span_eq(span_of(got, n), want) && n > 0 && strstr(got, "\"serial\": 1,") == NULL)
		test_fail(__FILE__, __LINE__, "after turn %" PRIu64 " the replica holds %.*s", k, (int)n, got);
	CHECK(!must || span_eq(span_of(got, n), want));
}

/* A first version has travelled; then four more, and death while they are read. */
static void
death_at_every_turn(void)
{
	int      code = 9;
	uint64_t deaths = 0;

	for (uint64_t k = 1; code == 9; k++) {
		a = mem_world_new();
		for (int i = 0; i < 2; i++) {
			snprintf(dirs[i], sizeof(dirs[i]), "%s/%c-%" PRIu64, test_tmpdir(), "ds"[i], k);
			CHECK(mkdir(dirs[i], 0700) == 0);
		}
		put(1);
		CHECK(run_child(0) == 0);
		for (uint64_t i = 2; i <= 5; i++)
			put(i);
		code = run_child(k);
		check_folder(k, 5, code == 0);
		deaths += code == 9;
		agent_rig_open(&r, k, dirs[1], folder_text());
		agent_rig_world(&r, "a", a);
		for (int i = 0; i < 3; i++) {
			agent_rig_sync_counts(&r);
			agent_rig_wait(&r, 120000);
		}
		agent_rig_sync_counts(&r);
		CHECK_STR(versions(), "1:first 2:advance 3:advance 4:advance 5:advance ");
		CHECK_U64(head(), 5);
		agent_rig_close(&r);
		check_folder(k, 5, true);
		mem_world_free(a);
	}
	CHECK_U64((uint64_t)code, 0);
	printf("# %" PRIu64 " deaths\n", deaths);
	CHECK(deaths > 60);
}

/* ---------------------------------------------------------------- the argument */

static void
the_argument_is_checked(void)
{
	static const struct {
		const char *block, *says;
	} bad[] = {
		{ "backend \"mem\" \"a\" {\n  backfill = 5\n}\n", "keeps no older versions" },
		{ "backend \"mem\" \"a\" {\n  history = true\n  backfill = -1\n}\n", "from 0 to 10000" },
		{ "backend \"mem\" \"a\" {\n  history = true\n  backfill = 10001\n}\n", "from 0 to 10000" },
		{ "backend \"mem\" \"a\" {\n  history = true\n  backfill = \"many\"\n}\n", "backfill" },
		{ "backend \"local\" \"a\" {\n  dir = \"/tmp\"\n  backfill = 1\n}\n", "keeps no older versions" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *e = agent_rig_plan_error(bad[i].block);

		if (e == NULL || strstr(e, bad[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "%s: %s", bad[i].block, e != NULL ? e : "taken");
	}
	CHECK(agent_rig_plan_error("backend \"mem\" \"a\" {\n  backfill = 0\n}\n") == NULL);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "first_contact", first_contact },
		{ "between_two_looks", between_two_looks },
		{ "there_and_back", there_and_back },
		{ "no_more_than_asked_for", no_more_than_asked_for },
		{ "not_where_it_is_off", not_where_it_is_off },
		{ "another_lineage_before", another_lineage_before },
		{ "a_lower_serial_now", a_lower_serial_now },
		{ "what_shrank_in_between_is_held", what_shrank_in_between_is_held },
		{ "a_good_one_before_damage", a_good_one_before_damage },
		{ "time_is_monotone", time_is_monotone },
		{ "unreadable_ones_are_left_out", unreadable_ones_are_left_out },
		{ "a_refused_history_stops_nothing", a_refused_history_stops_nothing },
		{ "those_that_may_not_be_read_come_later", those_that_may_not_be_read_come_later },
		{ "the_known_one_expired", the_known_one_expired },
		{ "what_a_restore_wrote_is_known", what_a_restore_wrote_is_known },
		{ "a_released_one_is_the_next_known", a_released_one_is_the_next_known },
		{ "each_becomes_a_snapshot", each_becomes_a_snapshot },
		{ "any_sequence", any_sequence },
		{ "death_at_every_turn", death_at_every_turn },
		{ "the_argument_is_checked", the_argument_is_checked },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
