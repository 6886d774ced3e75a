/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/*
 * One change on its way, with each request in turn failing: before it had its effect, after it, or without an answer. Whatever
 * happens, later passes bring the replica up to date, nothing goes back in time, no lock remains, and no version is lost.
 */
static const char *const texts[] = {
	/* lock and preconditions; lock only; preconditions only */
	"backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n",
	"backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  if_match = false\n}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n",
	"backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  lock = false\n}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n",
	"backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {\n  list = false\n}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n",
};

static const struct {
	enum err_code code;
	bool          after;
} faults[] = { { ERR_UNCERTAIN, true }, { ERR_UNCERTAIN, false }, { ERR_BUSY, false }, { ERR_CONFLICT, false }, { ERR_TIMEOUT, false },
	{ ERR_AUTH, false } };

static struct agent_rig r;

static uint64_t
serial_at(struct mem_world *w, const char *name)
{
	struct state_info i;
	struct span       body;

	if (!mem_world_get(w, name, &body))
		return 0;
	state_scan_all(body, &i);
	return i.serial;
}

static bool
same(struct mem_world *a, struct mem_world *b)
{
	struct span x, y;

	return mem_world_get(a, "x.tfstate", &x) && mem_world_get(b, "x.tfstate", &y) && span_eq(x, y);
}

/* One run; which: 0 the source's world fails, 1 the target's. false: the n-th call was never made. */
static bool
one_run(const char *text, uint64_t n, int which, size_t fault, uint64_t seed)
{
	struct mem_world  *a = mem_world_new(), *b = mem_world_new(), *w = which == 0 ? a : b;
	struct pass_result p;
	uint64_t           calls;
	char               what[80];

	snprintf(what, sizeof(what), "call %" PRIu64 " of %s, fault %zu, seed %" PRIu64, n, which == 0 ? "source" : "target", fault,
	    seed);
	agent_rig_open(&r, seed, NULL, text);
	agent_rig_world(&r, "a", a);
	agent_rig_world(&r, "b", b);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 3, "one"));
	agent_rig_sync(&r, &p);
	pass_result_free(&p);
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 3, "two"));
	calls = mem_world_calls(w);
	mem_world_fault(w, n, faults[fault].code, faults[fault].after);
	agent_rig_sync(&r, &p);
	pass_result_free(&p);
	calls = mem_world_calls(w) - calls;
	mem_world_fault(w, 0, ERR_OK, false); /* one that was never reached */
	if (serial_at(b, "x.tfstate") < 1)
		test_fail(__FILE__, __LINE__, "%s: the replica went back", what);
	for (int i = 0; i < 6 && (!same(a, b) || mem_world_locks(b) > 0); i++) {
		agent_rig_wait(&r, 120000);
		agent_rig_sync(&r, &p);
		pass_result_free(&p);
	}
	if (!same(a, b))
		test_fail(__FILE__, __LINE__, "%s: the replica has serial %" PRIu64, what, serial_at(b, "x.tfstate"));
	if (mem_world_locks(a) + mem_world_locks(b) != 0)
		test_fail(__FILE__, __LINE__, "%s: a lock remains", what);
	agent_rig_sync(&r, &p);
	if (p.edges[0].unchanged != 1 || p.nproblems != 0)
		test_fail(__FILE__, __LINE__, "%s: does not settle: %s", what, p.nproblems > 0 ? p.problems[0].message : "?");
	pass_result_free(&p);
	agent_rig_close(&r);
	mem_world_free(a);
	mem_world_free(b);
	return n <= calls;
}

static void
each_request_fails(void)
{
	uint64_t runs = 0;

	for (size_t t = 0; t < ARRAY_LEN(texts); t++)
		for (int which = 0; which < 2; which++)
			for (size_t f = 0; f < ARRAY_LEN(faults); f++)
				for (uint64_t n = 1; one_run(texts[t], n, which, f, n); n++)
					runs++;
	printf("# %" PRIu64 " runs\n", runs);
	CHECK(runs > 100);
}

/* Two agents without a lease, a source that moves, targets that fail now and then: never backwards, equal at the end. lines: NULL, or the
 * log goes there. */
static void
one_life(uint64_t seed, struct buf *lines)
{
	struct mem_world *a = mem_world_new(), *b = mem_world_new();
	struct agent_rig  two;
	struct rand       rand;
	uint64_t          serial = 1, high = 0;

	rand_seeded(&rand, seed);
	agent_rig_open(&r, seed, NULL, texts[seed % 3]);
	if (lines != NULL)
		log_setup(LOG_DEBUG, false, loop_clock(r.loop));
	agent_rig_join(&two, r.loop, NULL, texts[seed % 3]);
	agent_rig_world(&r, "a", a);
	agent_rig_world(&r, "b", b);
	agent_rig_world(&two, "a", a);
	agent_rig_world(&two, "b", b);
	mem_world_put(a, "x.tfstate", rig_state(serial, "L", 3, "s"));
	engine_start(r.engine);
	engine_start(two.engine);
	for (int i = 0; i < 120; i++) {
		agent_rig_wait(&r, (int64_t)rand_below(&rand, 20000));
		if (serial_at(b, "x.tfstate") < high)
			test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": back from %" PRIu64, seed, high);
		high = serial_at(b, "x.tfstate");
		if (rand_below(&rand, 3) == 0)
			mem_world_put(a, "x.tfstate", rig_state(++serial, "L", 3, "s"));
		if (rand_below(&rand, 4) == 0) { /* only an uncertain end may have had its effect */
			size_t f = rand_below(&rand, ARRAY_LEN(faults));

			mem_world_fault(rand_below(&rand, 4) == 0 ? a : b, 1 + rand_below(&rand, 5), faults[f].code,
			    faults[f].after);
		}
	}
	agent_rig_wait(&r, 3600000);
	if (!same(a, b) || mem_world_locks(b) != 0)
		test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": source %" PRIu64 ", replica %" PRIu64 ", %zu locks", seed, serial,
		    serial_at(b, "x.tfstate"), mem_world_locks(b));
	engine_stop(two.engine);
	engine_stop(r.engine);
	agent_rig_wait(&r, 60000);
	agent_rig_close(&two);
	agent_rig_close(&r);
	mem_world_free(a);
	mem_world_free(b);
}

static void
agents_and_terraform(void)
{
	for (uint64_t seed = 1; seed <= 40; seed++)
		one_life(seed, NULL);
}

static void
keep_line(void *arg, const char *line)
{
	struct buf *lines = arg;

	buf_puts(lines, line);
	buf_puts(lines, "\n");
}

static void
log_of_life(uint64_t seed, struct buf *ret)
{
	buf_init(ret, 0);
	log_sink(keep_line, ret);
	one_life(seed, ret);
	log_sink(NULL, NULL);
}

/* A failure can be replayed: each event of a run, and when it was, follows from the seed. */
static void
one_seed_one_log(void)
{
	struct buf first, again, other;

	for (uint64_t seed = 1; seed <= 3; seed++) {
		size_t at = 0;

		log_of_life(seed, &first);
		log_of_life(seed, &again);
		log_of_life(seed + 100, &other);
		while (at < first.len && at < again.len && first.data[at] == again.data[at])
			at++;
		if (!span_eq(buf_span(&first), buf_span(&again)))
			test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": the runs part at byte %zu of %zu and %zu: %.200s", seed, at, first.len,
			    again.len, buf_str(&first) + at);
		CHECK(first.len > 10000 && !span_eq(buf_span(&first), buf_span(&other)));
		buf_free(&first);
		buf_free(&again);
		buf_free(&other);
	}
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "each_request_fails", each_request_fails },
		{ "agents_and_terraform", agents_and_terraform },
		{ "one_seed_one_log", one_seed_one_log },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
