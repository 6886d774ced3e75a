/* SPDX-License-Identifier: MIT */
#include "sync/judge.h"

#include "../../lib/test.h"

/* One row per rule: the verdict of what is read, and what may happen to a target. */
static struct state_info
state(uint64_t serial, const char *lineage, uint64_t instances)
{
	struct state_info i = { .kind = STATE_V4, .version = 4, .serial = serial, .has_serial = true, .instances = instances,
		.resources = instances, .size = 1000 };

	snprintf(i.lineage, sizeof(i.lineage), "%s", lineage);
	return i;
}

static struct digest
dig(uint8_t n)
{
	struct digest d = { { n } };

	return d;
}

struct row {
	const char  *what;
	uint64_t     serial, instances;
	const char  *lineage;
	uint8_t      digest;
	bool         same_meaning, released;
	int64_t      max_shrink;
	enum verdict want;
};

static void
verdicts(void)
{
	static const struct row rows[] = {
		{ "the same bytes", 5, 10, "a", 1, false, false, 50, VERDICT_SAME },
		{ "a higher serial", 6, 10, "a", 2, false, false, 50, VERDICT_ADVANCE },
		{ "a lower serial", 4, 10, "a", 2, false, false, 50, VERDICT_OLDER },
		{ "the same serial, other meaning", 5, 10, "a", 2, false, false, 50, VERDICT_FORK },
		{ "the same serial, same meaning", 5, 10, "a", 2, true, false, 50, VERDICT_REENCODED },
		{ "another lineage", 6, 10, "b", 2, false, false, 50, VERDICT_UNRELATED },
		{ "another lineage, same content", 6, 10, "b", 2, true, false, 50, VERDICT_UNRELATED },
		{ "half is gone: not more than 50 %", 6, 5, "a", 2, false, false, 50, VERDICT_ADVANCE },
		{ "more than half is gone", 6, 4, "a", 2, false, false, 50, VERDICT_SHRUNK },
		{ "all is gone", 6, 0, "a", 2, false, false, 50, VERDICT_SHRUNK },
		{ "all is gone, guard off", 6, 0, "a", 2, false, false, 100, VERDICT_ADVANCE },
		{ "any loss with 0 %", 6, 9, "a", 2, false, false, 0, VERDICT_SHRUNK },
		{ "released by a person", 4, 0, "b", 2, false, true, 50, VERDICT_ADVANCE },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row  *r = &rows[i];
		struct state_info  now = state(r->serial, r->lineage, r->instances);
		struct digest      d = dig(r->digest);
		struct version_rec head = { .number = 1, .digest = dig(1), .serial = 5, .instances = 10, .lineage = "a", .kind = STATE_V4 };
		struct judge_facts f = { .now = &now, .digest = &d, .head = &head, .released = r->released,
			.same_meaning = r->same_meaning, .max_shrink = r->max_shrink };
		struct judgement   j;

		judge(&f, &j);
		if (j.verdict != r->want)
			test_fail(__FILE__, __LINE__, "%s: %s, not %s", r->what, verdict_name(j.verdict), verdict_name(r->want));
	}
}

static void
small_heads_never_shrink(void)
{
	struct state_info  now = state(6, "a", 0);
	struct digest      d = dig(2);
	struct version_rec head = { .digest = dig(1), .serial = 5, .instances = JUDGE_SHRINK_MIN - 1, .lineage = "a", .kind = STATE_V4 };
	struct judge_facts f = { .now = &now, .digest = &d, .head = &head, .max_shrink = 50 };
	struct judgement   j;

	judge(&f, &j);
	CHECK_STR(verdict_name(j.verdict), "advance");
	head.instances = JUDGE_SHRINK_MIN;
	judge(&f, &j);
	CHECK_STR(verdict_name(j.verdict), "shrunk");
	now.kind = STATE_ENCRYPTED; /* nothing can be counted */
	judge(&f, &j);
	CHECK_STR(verdict_name(j.verdict), "advance");
}

static void
without_a_head(void)
{
	struct state_info  now = state(1, "a", 3);
	struct digest      d = dig(2);
	struct judge_facts f = { .now = &now, .digest = &d, .max_shrink = 50 };
	struct judgement   j;

	judge(&f, &j);
	CHECK_STR(verdict_name(j.verdict), "first");
	now.kind = STATE_EMPTY;
	judge(&f, &j);
	CHECK_STR(verdict_name(j.verdict), "empty");
	now.kind = STATE_DAMAGED;
	judge(&f, &j);
	CHECK_STR(verdict_name(j.verdict), "damaged");
	now.kind = STATE_UNREADABLE;
	judge(&f, &j);
	CHECK_STR(verdict_name(j.verdict), "unreadable");
}

static enum compare_action
act(struct state_info *now, uint8_t digest, bool released, bool known, bool resolved, bool same)
{
	struct state_info    next = state(5, "a", 10);
	struct digest        n = dig(1), d = dig(digest);
	struct compare_facts f = { .next = &next, .next_digest = &n, .now = now, .now_digest = now == NULL ? NULL : &d,
		.released = released, .known = known, .resolved = resolved, .same_meaning = same };
	struct comparison    c;

	compare(&f, &c);
	return c.action;
}

static void
targets(void)
{
	struct state_info now;

	CHECK(act(NULL, 0, false, false, false, false) == COMPARE_WRITE);
	now = state(5, "a", 10);
	CHECK(act(&now, 1, false, false, false, false) == COMPARE_CURRENT);
	CHECK(act(&now, 2, false, false, false, true) == COMPARE_LEAVE);
	CHECK(act(&now, 2, false, true, false, false) == COMPARE_HOLD);
	CHECK(act(&now, 2, false, true, true, false) == COMPARE_WRITE);
	now = state(4, "a", 10);
	CHECK(act(&now, 2, false, false, false, false) == COMPARE_WRITE);
	now = state(6, "a", 10);
	CHECK(act(&now, 2, false, true, false, false) == COMPARE_HOLD);
	CHECK(act(&now, 2, true, false, false, false) == COMPARE_HOLD);
	CHECK(act(&now, 2, true, true, false, false) == COMPARE_WRITE);
	now = state(1, "b", 3);
	CHECK(act(&now, 2, false, true, false, false) == COMPARE_HOLD);
	now = state(1, "b", 0);
	CHECK(act(&now, 2, false, false, false, false) == COMPARE_WRITE);
	now.outputs = 1;
	CHECK(act(&now, 2, false, false, false, false) == COMPARE_HOLD);
	now = (struct state_info){ .kind = STATE_DAMAGED };
	CHECK(act(&now, 2, true, true, false, false) == COMPARE_HOLD);
	now = (struct state_info){ .kind = STATE_EMPTY };
	CHECK(act(&now, 2, false, false, false, false) == COMPARE_WRITE);
	now.size = 3;
	CHECK(act(&now, 2, false, false, false, false) == COMPARE_HOLD);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "verdicts", verdicts },
		{ "small_heads_never_shrink", small_heads_never_shrink },
		{ "without_a_head", without_a_head },
		{ "targets", targets },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
