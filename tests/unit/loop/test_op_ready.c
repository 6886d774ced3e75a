/* SPDX-License-Identifier: MIT */
#include "op_rig.h"

/* The ready-made ops of op.h: deadlines, sleep, result, and many at a time. */

/* --- deadlines --- */

static int64_t flow_ms;

static enum op_turn
flow_with_deadline(struct flow *f)
{
	struct op *child = f->child;

	switch (f->op.state) {
	case 0:
		op_shield(&f->op); /* masks cancel, never a deadline */
		__attribute__((fallthrough));
	case 10:
		f->child = NULL;
		return op_await_for(&f->op, 1, child, flow_ms);
	case 1:
		return op_finish(&f->op);
	}
	abort();
}

static void
a_deadline_ends_a_wait(void)
{
	struct end  end = { 0 };
	int         cancels = 0;
	int64_t     t0 = loop_now(rig_loop);

	flow_ms = 20;
	op_start(&flow_new(flow_with_deadline, &question_new(NULL, &cancels)->op)->op, rig_ended, &end);
	rig_wait(&end);
	CHECK(end.code == ERR_TIMEOUT && cancels == 1 && rig_frees == 2);
	CHECK_STR(end.err.msg, "no answer within 20 ms");
	CHECK(loop_now(rig_loop) >= t0 + 20 && loop_now(rig_loop) < t0 + 2000);
}

static void
an_answer_in_time_has_no_deadline(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);

	flow_ms = 60000;
	op_start(&flow_new(flow_with_deadline, &q->op)->op, rig_ended, &end);
	rig_wait_int(&asked);
	question_answer(q, ERR_NOT_FOUND);
	rig_wait(&end); /* checks that no timer is left */
	CHECK(end.code == ERR_NOT_FOUND && cancels == 0);
	CHECK(!loop_turn(rig_loop, false));
}

static void
a_leaf_may_answer_a_deadline_its_own_way(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);

	q->deaf = true;
	flow_ms = 1;
	op_start(&flow_new(flow_with_deadline, &q->op)->op, rig_ended, &end);
	rig_wait_int(&cancels);
	question_answer(q, ERR_UNCERTAIN);
	rig_wait(&end);
	CHECK(end.code == ERR_UNCERTAIN); /* a write may have happened: no timeout */
}

static void
a_cancel_is_no_timeout(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);
	struct flow     *f = flow_new(flow_with_deadline, &q->op);

	flow_ms = 60000;
	f->op.state = 10;
	op_start(&f->op, rig_ended, &end);
	rig_wait_int(&asked);
	op_cancel(&f->op);
	rig_wait(&end);
	CHECK(end.code == ERR_CANCELLED && cancels == 1 && rig_frees == 2);
}

static bool
later_than(void *arg)
{
	return loop_now(rig_loop) > *(int64_t *)arg;
}

static void
a_deadline_after_a_cancel_changes_nothing(void)
{
	struct end       end = { 0 };
	int              asked = 0;
	int64_t          due = loop_now(rig_loop) + 30;
	struct question *q = question_new(&asked, NULL);
	struct flow     *f = flow_new(flow_with_deadline, &q->op);

	flow_ms = 10;
	f->op.state = 10;
	q->deaf = true;
	op_start(&f->op, rig_ended, &end);
	rig_wait_int(&asked);
	op_cancel(&f->op);
	loop_run_until(rig_loop, later_than, &due, 5000);
	question_answer(q, ERR_CANCELLED);
	rig_wait(&end);
	CHECK(end.code == ERR_CANCELLED);
}

static enum op_turn
flow_with_nothing_to_wait_for(struct flow *f)
{
	if (f->op.state == 0)
		return op_await_for(&f->op, 1, NULL, 5);
	return op_finish(&f->op);
}

static void
a_deadline_without_a_child_is_no_wait(void)
{
	struct end end = { 0 };

	op_start(&flow_new(flow_with_nothing_to_wait_for, NULL)->op, rig_ended, &end);
	rig_wait(&end);
	CHECK(end.code == ERR_OK);
}

/* --- sleep and result --- */

static void
sleeps(void)
{
	struct end end = { 0 }, cut = { 0 };
	int64_t    t0 = loop_now(rig_loop);
	struct op *op = op_sleep(rig_loop, 15), *long_one = op_sleep(rig_loop, 3600000);

	op_start(op, rig_ended, &end);
	op_start(long_one, rig_ended, &cut);
	CHECK(loop_run_until(rig_loop, rig_end_seen, &end, 5000));
	CHECK(end.code == ERR_OK && loop_now(rig_loop) >= t0 + 15);
	op_cancel(long_one);
	rig_wait(&cut);
	CHECK(cut.code == ERR_CANCELLED && loop_now(rig_loop) < t0 + 5000);
	CHECK(!loop_turn(rig_loop, false));
}

static void
results_are_what_they_are(void)
{
	struct end end = { 0 };
	struct err e = { .code = ERR_BUSY, .detail = 429, .retry_after_ms = 1500, .msg = "slow down", .hint = "wait" };
	struct op *op = op_result(rig_loop, &e);

	op_start(op, rig_ended, &end);
	op_cancel(op); /* too late for what is known already */
	rig_wait(&end);
	CHECK(end.code == ERR_BUSY && end.err.detail == 429 && end.err.retry_after_ms == 1500);
	CHECK_STR(end.err.msg, "slow down");
	CHECK_STR(end.err.hint, "wait");
}

/* --- many at a time --- */

#define MANY 6

static struct question *many[MANY];
static int              many_asked[MANY], many_cancels[MANY];

static struct op *
all_new(size_t limit, struct err *outcomes)
{
	struct op *children[MANY];

	memset(many_asked, 0, sizeof(many_asked));
	memset(many_cancels, 0, sizeof(many_cancels));
	for (int i = 0; i < MANY; i++) {
		many[i] = question_new(&many_asked[i], &many_cancels[i]);
		children[i] = &many[i]->op;
	}
	return op_all(rig_loop, children, MANY, limit, outcomes);
}

static int
many_running(void)
{
	int n = 0;

	for (int i = 0; i < MANY; i++)
		n += many_asked[i];
	return n;
}

static bool
many_run(void *arg)
{
	return many_running() >= *(int *)arg;
}

static void
wait_for_many(int n)
{
	CHECK(loop_run_until(rig_loop, many_run, &n, 5000));
	for (int i = 0; i < 20; i++)
		loop_turn(rig_loop, false);
	CHECK_U64(many_running(), n);
}

static void
all_runs_everything_and_keeps_outcomes(void)
{
	struct err outcomes[MANY];
	struct end end = { 0 };

	op_start(all_new(0, outcomes), rig_ended, &end);
	CHECK_U64(op_count(rig_loop), 1);
	wait_for_many(MANY);
	for (int i = MANY - 1; i >= 0; i--)
		question_answer(many[i], i == 2 ? ERR_AUTH : i == 4 ? ERR_BUSY : ERR_OK);
	rig_wait(&end);
	CHECK(end.code == ERR_AUTH && rig_frees == MANY); /* first by index, not by time */
	for (int i = 0; i < MANY; i++)
		CHECK(outcomes[i].code == (i == 2 ? ERR_AUTH : i == 4 ? ERR_BUSY : ERR_OK));
	CHECK_STR(outcomes[4].msg, "answer");
}

static void
all_keeps_its_limit(void)
{
	struct end end = { 0 };

	op_start(all_new(2, NULL), rig_ended, &end);
	wait_for_many(2);
	question_answer(many[1], ERR_IO);
	wait_for_many(3); /* a failure does not stop the others */
	question_answer(many[0], ERR_OK);
	question_answer(many[2], ERR_OK);
	wait_for_many(5);
	question_answer(many[3], ERR_OK);
	wait_for_many(6);
	question_answer(many[4], ERR_OK);
	question_answer(many[5], ERR_OK);
	rig_wait(&end);
	CHECK(end.code == ERR_IO && rig_frees == MANY);
}

static void
cancelling_all_cancels_each(void)
{
	struct err outcomes[MANY];
	struct end end = { 0 };
	struct op *op = all_new(3, outcomes);

	op_start(op, rig_ended, &end);
	wait_for_many(3);
	many[1]->deaf = true;
	op_cancel(op);
	CHECK(many_cancels[0] == 1 && many_cancels[1] == 1 && many_cancels[2] == 1);
	for (int i = 0; i < 20; i++)
		loop_turn(rig_loop, false);
	CHECK_U64(end.calls, 0);
	question_answer(many[1], ERR_OK);
	rig_wait(&end);
	CHECK(end.code == ERR_CANCELLED && many_running() == 3 && rig_frees == MANY);
	for (int i = 0; i < MANY; i++)
		CHECK(outcomes[i].code == (i == 1 ? ERR_OK : ERR_CANCELLED));
}

static void
a_cancel_that_comes_too_late_for_all(void)
{
	struct end end = { 0 };
	struct op *op = all_new(MANY, NULL);

	op_start(op, rig_ended, &end);
	wait_for_many(MANY);
	for (int i = 0; i < MANY; i++)
		many[i]->deaf = true;
	op_cancel(op);
	for (int i = 0; i < MANY; i++)
		question_answer(many[i], ERR_OK);
	rig_wait(&end);
	CHECK(end.code == ERR_OK); /* everything happened */
}

static void
all_that_never_ran_frees_its_children(void)
{
	struct end end = { 0 };
	struct op *op = all_new(3, NULL);

	op_free(op);
	CHECK_U64(rig_frees, MANY);
	op = all_new(3, NULL);
	op_start(op, rig_ended, &end);
	op_cancel(op);
	rig_wait(&end);
	CHECK(end.code == ERR_CANCELLED && many_running() == 0 && rig_frees == 2 * MANY);
}

static void
all_of_nothing_is_ok(void)
{
	struct end end = { 0 }, holes = { 0 };
	struct op *children[] = { NULL, op_error(rig_loop, ERR_IO, 0, "the only one"), NULL };
	struct err outcomes[3];

	op_start(op_all(rig_loop, NULL, 0, 0, NULL), rig_ended, &end);
	rig_wait(&end);
	CHECK(end.code == ERR_OK);
	op_start(op_all(rig_loop, children, 3, 1, outcomes), rig_ended, &holes);
	rig_wait(&holes);
	CHECK(holes.code == ERR_IO);
	CHECK(outcomes[0].code == ERR_OK && outcomes[1].code == ERR_IO && outcomes[2].code == ERR_OK);
}

struct producer {
	int left, running, peak, started, failed;
};

static struct op *
producer_next(void *arg)
{
	struct producer *p = arg;

	if (p->left == 0)
		return NULL;
	p->left--;
	p->started++;
	if (++p->running > p->peak)
		p->peak = p->running;
	if (p->started == 7)
		return op_error(rig_loop, ERR_CORRUPT, 7, "the seventh");
	return op_sleep(rig_loop, 1);
}

static void
producer_ended(struct op *child, void *arg)
{
	struct producer *p = arg;

	p->running--;
	p->failed += child->err.code != ERR_OK;
}

static void
each_runs_what_is_produced(void)
{
	struct producer p = { .left = 300 };
	struct end      end = { 0 };

	op_start(op_each_of(rig_loop, producer_next, producer_ended, &p, 10), rig_ended, &end);
	rig_wait(&end);
	CHECK(end.code == ERR_CORRUPT && end.err.detail == 7);
	CHECK(p.left == 0 && p.running == 0 && p.peak == 10 && p.started == 300 && p.failed == 1);
	p = (struct producer){ .left = 300 };
	memset(&end, 0, sizeof(end));
	op_start(op_each_of(rig_loop, producer_next, NULL, &p, 0), rig_ended, &end);
	CHECK_U64(p.started, 0);
	rig_wait(&end);
	CHECK(p.started == 300 && p.peak == 300);
}

static bool
producer_busy(void *arg)
{
	return ((struct producer *)arg)->started >= 20;
}

static void
cancelling_each_asks_for_no_more(void)
{
	struct producer p = { .left = 300 };
	struct end      end = { 0 };
	struct op      *op = op_each_of(rig_loop, producer_next, producer_ended, &p, 5);
	int             started;

	op_start(op, rig_ended, &end);
	CHECK(loop_run_until(rig_loop, producer_busy, &p, 5000));
	op_cancel(op);
	started = p.started;
	rig_wait(&end);
	CHECK(end.code == ERR_CORRUPT); /* the first error, else ERR_CANCELLED */
	CHECK(p.started == started && p.running == 0);
}

#define TESTS(X) \
	X(a_deadline_ends_a_wait) \
	X(an_answer_in_time_has_no_deadline) \
	X(a_leaf_may_answer_a_deadline_its_own_way) \
	X(a_cancel_is_no_timeout) \
	X(a_deadline_after_a_cancel_changes_nothing) \
	X(a_deadline_without_a_child_is_no_wait) \
	X(sleeps) \
	X(results_are_what_they_are) \
	X(all_runs_everything_and_keeps_outcomes) \
	X(all_keeps_its_limit) \
	X(cancelling_all_cancels_each) \
	X(a_cancel_that_comes_too_late_for_all) \
	X(all_that_never_ran_frees_its_children) \
	X(all_of_nothing_is_ok) \
	X(each_runs_what_is_produced) \
	X(cancelling_each_asks_for_no_more)

TESTS(RIG_ON_BOTH)

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ TESTS(RIG_ROW) { NULL, NULL } });
}
