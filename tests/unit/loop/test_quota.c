/* SPDX-License-Identifier: MIT */
#include "loop/quota.h"

#include "base/rand.h"
#include "op_rig.h"

static struct quota q;

/* Starts it and lets it begin: who asked first is known then. */
static void
ask(struct end *end, uint64_t n, struct op **ret)
{
	*ret = quota_take(&q, n);
	*end = (struct end){ 0 };
	op_start(*ret, rig_ended, end);
	for (int i = 0; i < 4; i++)
		loop_turn(rig_loop, false);
}

static void
turns(void)
{
	for (int i = 0; i < 8; i++)
		loop_turn(rig_loop, false);
}

static void
what_is_there_is_lent_and_no_more(void)
{
	struct end a, b, c;
	struct op *op;

	quota_init(&q, rig_loop, 3);
	ask(&a, 2, &op);
	ask(&b, 1, &op);
	ask(&c, 1, &op);
	CHECK(a.calls == 1 && a.code == ERR_OK && b.calls == 1 && c.calls == 0);
	quota_give(&q, 1);
	rig_wait(&c);
	CHECK(c.code == ERR_OK);
	quota_give(&q, 2);
	quota_give(&q, 1);
	CHECK_U64(q.lent, 0);
}

static void
none_is_overtaken(void)
{
	struct end a, b, c;
	struct op *op;

	quota_init(&q, rig_loop, 4);
	ask(&a, 3, &op);
	ask(&b, 2, &op);
	ask(&c, 1, &op); /* there would be enough for it */
	CHECK(a.calls == 1 && b.calls == 0 && c.calls == 0);
	quota_give(&q, 3);
	turns();
	CHECK(b.calls == 1 && c.calls == 1);
	quota_give(&q, 2);
	quota_give(&q, 1);
}

static void
more_than_all_of_it_goes_alone(void)
{
	struct end a, b, c;
	struct op *op;

	quota_init(&q, rig_loop, 4);
	ask(&a, 1, &op);
	ask(&b, UINT64_MAX / 2, &op);
	CHECK(a.calls == 1 && b.calls == 0);
	quota_give(&q, 1);
	turns();
	CHECK(b.calls == 1 && b.code == ERR_OK);
	ask(&c, 1, &op);
	CHECK(c.calls == 0);
	quota_give(&q, UINT64_MAX / 2);
	rig_wait(&c);
	quota_give(&q, 1);
}

static void
a_cancelled_one_takes_nothing_and_lets_those_behind_it_pass(void)
{
	struct end a, b, c, d;
	struct op *op, *large;

	quota_init(&q, rig_loop, 4);
	ask(&a, 3, &op);
	ask(&b, 4, &large);
	ask(&c, 1, &op);
	CHECK(a.calls == 1 && b.calls == 0 && c.calls == 0);
	op_cancel(large);
	turns();
	CHECK(b.calls == 1 && b.code == ERR_CANCELLED);
	CHECK(c.calls == 1 && c.code == ERR_OK);
	quota_give(&q, 3);
	quota_give(&q, 1);
	ask(&d, 4, &op);
	CHECK(d.calls == 1 && d.code == ERR_OK);
	quota_give(&q, 4);
}

/* Cancelled when its turn had come already: it has it, and says so. */
static void
a_cancel_that_comes_late_is_none(void)
{
	struct end a, b;
	struct op *op;

	quota_init(&q, rig_loop, 1);
	ask(&a, 1, &op);
	ask(&b, 1, &op);
	quota_give(&q, 1);
	op_cancel(op);
	rig_wait(&b);
	CHECK(b.code == ERR_OK);
	quota_give(&q, 1);
	CHECK_U64(q.lent, 0);
}

/* --- at random --- */

#define MANY 200

static uint64_t out;  /* by our own count */
static uint64_t size[MANY];

static void
took(struct op *op, void *arg)
{
	uint64_t *n = arg;

	if (op->err.code == ERR_OK)
		out += *n;
	else
		*n = 0;
	CHECK(out <= q.limit || out == *n);
	op_free(op);
}

static void
at_random_no_more_is_out_than_there_is(void)
{
	struct rand rnd;

	rand_seeded(&rnd, 7);
	quota_init(&q, rig_loop, 10);
	out = 0;
	for (size_t i = 0; i < MANY; i++) {
		struct op *op = quota_take(&q, size[i] = 1 + rand_below(&rnd, 12));

		op_start(op, took, &size[i]);
		if (rand_below(&rnd, 5) == 0)
			op_cancel(op);
		while (out > 0 && rand_below(&rnd, 2) == 0) {
			uint64_t n = out > q.limit ? out : 1 + rand_below(&rnd, out);

			out -= n;
			quota_give(&q, n);
			turns();
		}
	}
	for (unsigned i = 0; i < MANY; i++) {
		uint64_t n = out;

		out = 0;
		quota_give(&q, n);
		turns();
	}
	CHECK_U64(out, 0);
	CHECK(q.first == NULL && q.last == NULL);
	CHECK_U64(q.lent, 0);
}

#define TESTS(X) \
	X(what_is_there_is_lent_and_no_more) \
	X(none_is_overtaken) \
	X(more_than_all_of_it_goes_alone) \
	X(a_cancelled_one_takes_nothing_and_lets_those_behind_it_pass) \
	X(a_cancel_that_comes_late_is_none) \
	X(at_random_no_more_is_out_than_there_is)

TESTS(RIG_ON_BOTH)

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ TESTS(RIG_ROW) { NULL, NULL } });
}
