/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "op_rig.h"

/* The rules of op.h: what an op is, how it waits, is cancelled and ends. */

/* --- rule 1 and 2: start, done, free --- */

static void
begins_from_the_loop(void)
{
	struct end       end = { 0 };
	int              asked = 0;
	struct question *q = question_new(&asked, NULL);

	op_start(&q->op, rig_ended, &end);
	CHECK_U64(asked, 0); /* not from inside the call */
	CHECK_U64(op_count(rig_loop), 1);
	rig_wait_int(&asked);
	question_answer(q, ERR_OK);
	op_wake(&q->op); /* several wakes are one */
	CHECK_U64(end.calls, 0);
	rig_wait(&end);
	CHECK(end.code == ERR_OK && asked == 1 && rig_frees == 1);
}

static void
kept(struct op *op, void *arg)
{
	(void)op;
	(*(int *)arg)++;
}

static void
done_may_keep_the_op(void)
{
	int              calls = 0, asked = 0;
	struct question *q = question_new(&asked, NULL);

	op_start(&q->op, kept, &calls);
	rig_wait_int(&asked);
	question_answer(q, ERR_BUSY);
	rig_wait_int(&calls);
	CHECK(q->op.finished && q->op.err.code == ERR_BUSY && q->op.err.detail == 7 && rig_frees == 0);
	op_cancel(&q->op); /* no-op */
	CHECK_U64(op_count(rig_loop), 0);
	op_free(&q->op);
	CHECK_U64(rig_frees, 1);
}

static void
what_never_ran_can_be_freed(void)
{
	struct flow *f = flow_new(NULL, &question_new(NULL, NULL)->op);

	op_cancel(&f->op); /* no-op: never started */
	CHECK(!f->op.cancelled);
	op_free(&f->op);
	CHECK_U64(rig_frees, 2);
	op_free(NULL);
	op_cancel(NULL);
}

static void
without_done_it_frees_itself(void)
{
	int              asked = 0;
	struct question *q = question_new(&asked, NULL);

	op_start(&q->op, NULL, NULL);
	rig_wait_int(&asked);
	question_answer(q, ERR_OK);
	rig_wait_int(&rig_frees);
	CHECK_U64(op_count(rig_loop), 0);
}

static void
frees_a_running_op(void)
{
	struct question *q = question_new(NULL, NULL);

	op_start(&q->op, kept, NULL);
	op_free(&q->op);
}

static void
starts_twice(void)
{
	struct question *q = question_new(NULL, NULL);

	op_start(&q->op, kept, NULL);
	op_start(&q->op, kept, NULL);
}

static void
frees_a_busy_loop(void)
{
	op_start(&question_new(NULL, NULL)->op, kept, NULL);
	loop_free(rig_loop);
}

static enum op_turn
flow_fails_without_an_error(struct flow *f)
{
	return op_fail(&f->op);
}

static void
fails_without_an_error(void)
{
	op_start(&flow_new(flow_fails_without_an_error, NULL)->op, kept, NULL);
	while (loop_turn(rig_loop, false))
		;
}

static void
runs_the_loop_in_a_callback(void *arg)
{
	loop_turn(arg, false);
	loop_turn(arg, false);
}

static void
runs_the_loop_inside(void)
{
	static struct deferred d, e;

	loop_defer(rig_loop, &d, runs_the_loop_in_a_callback, rig_loop);
	loop_defer(rig_loop, &e, runs_the_loop_in_a_callback, rig_loop);
	while (loop_turn(rig_loop, false))
		;
}

static bool
aborts(void (*fn)(void))
{
	pid_t pid = fork();
	int   status;

	CHECK(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(1);
		fn();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void
misuse_is_asserted(void)
{
	CHECK(aborts(frees_a_running_op));
	CHECK(aborts(starts_twice));
	CHECK(aborts(frees_a_busy_loop));
	CHECK(aborts(fails_without_an_error));
	CHECK(aborts(runs_the_loop_inside));
}

/* --- awaiting --- */

static enum op_turn
flow_plain(struct flow *f)
{
	switch (f->op.state) {
	case 0:
		return flow_await(f, 1);
	case 1:
		f->seen = f->op.res;
		return op_finish(&f->op);
	}
	abort();
}

static void
the_outcome_of_a_child_comes_as_res(void)
{
	struct end       end = { 0 };
	int              asked = 0;
	struct question *q = question_new(&asked, NULL);
	struct flow     *f = flow_new(flow_plain, &q->op);

	op_start(&f->op, rig_ended, &end);
	CHECK(f->steps == 0);
	rig_wait_int(&asked);
	CHECK(f->steps == 1 && f->op.child == &q->op && q->op.parent == &f->op);
	CHECK_U64(op_count(rig_loop), 1); /* top-level ops only */
	question_answer(q, ERR_LOCKED);
	rig_wait(&end);
	CHECK(end.code == ERR_LOCKED && end.err.detail == 7 && rig_frees == 2);
	CHECK_STR(end.err.msg, "answer");
}

static enum op_turn
flow_through(struct flow *f)
{
	switch (f->op.state) {
	case 0:
		err_set(&f->op.res, ERR_IO, 0, "left over");
		return op_await(&f->op, 1, NULL);
	case 1:
		CHECK(!op_failed(&f->op)); /* no child: as one that ended OK */
		return op_go(&f->op, 2);
	case 2:
		return op_await(&f->op, 3, op_error(rig_loop, ERR_BUSY, 503, "slow %s", "down"));
	case 3:
		CHECK(op_failed(&f->op) && f->op.res.code == ERR_BUSY && f->op.res.detail == 503);
		CHECK_STR(f->op.res.msg, "slow down");
		return op_ok(&f->op);
	}
	abort();
}

static void
steps_go_on_without_a_wait(void)
{
	struct end   end = { 0 };
	struct flow *f = flow_new(flow_through, NULL);

	op_start(&f->op, rig_ended, &end);
	rig_wait(&end);
	CHECK(end.code == ERR_OK);
}

static enum op_turn
flow_woken_at_odd_times(struct flow *f)
{
	op_wake(&f->op); /* of no use: the step goes on by itself */
	switch (f->op.state) {
	case 0:
		return flow_await(f, 1);
	case 1:
		CHECK(f->op.res.code == ERR_LOCKED);
		return op_finish(&f->op);
	}
	abort();
}

static void
a_wake_does_not_outlive_its_wait(void)
{
	struct end       end = { 0 };
	int              asked = 0;
	struct question *q = question_new(&asked, NULL);
	struct flow     *f = flow_new(flow_woken_at_odd_times, &q->op);

	op_start(&f->op, rig_ended, &end);
	rig_wait_int(&asked);
	for (int i = 0; i < 20; i++)
		loop_turn(rig_loop, false);
	CHECK_U64(f->steps, 1);
	question_answer(q, ERR_LOCKED);
	rig_wait(&end);
	CHECK(end.code == ERR_LOCKED && rig_frees == 2);
}

/* --- rule 3: cancel --- */

static void
cancel_reaches_the_leaf_through_the_chain(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);
	struct flow     *inner = flow_new(flow_plain, &q->op), *f = flow_new(flow_plain, &inner->op);

	op_start(&f->op, rig_ended, &end);
	rig_wait_int(&asked);
	op_cancel(&f->op);
	op_cancel(&f->op);
	CHECK(f->op.cancelled && inner->op.cancelled && q->op.cancelled && cancels == 1);
	CHECK_U64(end.calls, 0); /* a request, no end */
	rig_wait(&end);
	CHECK(end.code == ERR_CANCELLED && rig_frees == 3);
	CHECK_STR(end.err.msg, "never mind");
}

static void
a_deaf_leaf_ends_in_its_own_time(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);
	struct flow     *f = flow_new(flow_plain, &q->op);

	q->deaf = true;
	op_start(&f->op, rig_ended, &end);
	rig_wait_int(&asked);
	op_cancel(&f->op);
	for (int i = 0; i < 20; i++)
		loop_turn(rig_loop, false);
	CHECK(end.calls == 0 && cancels == 1 && f->steps == 1);
	question_answer(q, ERR_OK);
	rig_wait(&end);
	CHECK(end.code == ERR_OK); /* it did happen */
}

static void
an_answer_on_its_way_beats_cancel(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);

	op_start(&q->op, rig_ended, &end);
	rig_wait_int(&asked);
	question_answer(q, ERR_OK);
	op_cancel(&q->op);
	CHECK_U64(cancels, 0);
	rig_wait(&end);
	CHECK(end.code == ERR_OK && cancels == 0);
}

static void
cancelled_before_the_first_step_nothing_runs(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);
	struct flow     *f = flow_new(flow_plain, &q->op);

	op_start(&f->op, rig_ended, &end);
	op_cancel(&f->op);
	CHECK_U64(end.calls, 0);
	rig_wait(&end);
	CHECK(end.code == ERR_CANCELLED && asked == 0 && cancels == 0 && rig_frees == 2);
	CHECK_STR(end.err.msg, "flow: cancelled before it began");
}

static enum op_turn
flow_goes_on(struct flow *f)
{
	switch (f->op.state) {
	case 0:
		return flow_await(f, 1);
	case 1: /* one more wait, whatever came */
		f->seen = f->op.res;
		f->child = f->cleanup;
		f->cleanup = NULL;
		return flow_await(f, 2);
	case 2:
		CHECK(f->op.res.code == ERR_CANCELLED);
		return op_finish(&f->op);
	}
	abort();
}

static void
an_await_in_a_cancelled_op_frees_the_child(void)
{
	struct end       end = { 0 };
	int              asked = 0, asked_too = 0;
	struct question *q = question_new(&asked, NULL);
	struct flow     *f = flow_new(flow_goes_on, &q->op);

	q->deaf = true;
	f->cleanup = &question_new(&asked_too, NULL)->op;
	op_start(&f->op, rig_ended, &end);
	rig_wait_int(&asked);
	op_cancel(&f->op);
	question_answer(q, ERR_OK);
	rig_wait(&end);
	CHECK(end.code == ERR_CANCELLED && asked_too == 0 && rig_frees == 3);
	CHECK_STR(end.err.msg, "flow: cancelled");
}

/* A leaf that waits twice: the cancel that came with its first answer reaches it in the second wait. */
static enum op_turn
twice_step(struct op *op)
{
	return op->state++ < 2 ? OP_WAIT : op_finish(op);
}

static const struct op_class twice_class = { "twice", twice_step, question_cancel, question_free, NULL, 0 };

static void
a_leaf_that_waits_again_is_told_then(void)
{
	struct end       end = { 0 };
	int              cancels = 0;
	struct question *q = question_new(NULL, &cancels);

	q->op.class = &twice_class;
	op_start(&q->op, rig_ended, &end);
	CHECK(loop_turn(rig_loop, false));
	question_answer(q, ERR_OK);
	op_cancel(&q->op);
	CHECK_U64(cancels, 0);
	rig_wait(&end);
	CHECK(end.code == ERR_CANCELLED && cancels == 1);
}

/* --- rule 5: shield, unwind, finish --- */

static enum op_turn
flow_shielded(struct flow *f)
{
	switch (f->op.state) {
	case 0:
		op_shield(&f->op);
		return flow_await(f, 1);
	case 1:
		f->seen = f->op.res;
		return op_unwind(&f->op, 2);
	case 2:
		f->child = f->cleanup;
		f->cleanup = NULL;
		return flow_await(f, 3);
	case 3:
		return op_finish(&f->op);
	}
	abort();
}

static void
a_shield_sees_it_through(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0, asked_too = 0;
	struct question *q = question_new(&asked, &cancels), *cleanup = question_new(&asked_too, &cancels);
	struct flow     *f = flow_new(flow_shielded, &q->op);

	f->cleanup = &cleanup->op;
	op_start(&f->op, rig_ended, &end);
	rig_wait_int(&asked);
	op_cancel(&f->op);
	CHECK(f->op.cancelled && !op_stopped(&f->op) && cancels == 0);
	question_answer(q, ERR_OK);
	rig_wait_int(&asked_too); /* shield beats cancel in op_await() too */
	question_answer(cleanup, ERR_OK);
	rig_wait(&end);
	CHECK(end.code == ERR_OK && cancels == 0); /* all of it happened: no ERR_CANCELLED */
}

static enum op_turn
flow_unwinds(struct flow *f)
{
	if (f->op.state == 0)
		return flow_await(f, 1);
	return flow_shielded(f);
}

static void
unwind_keeps_the_first_error(enum err_code first, enum err_code second, enum err_code expected)
{
	struct end       end = { 0 };
	int              asked = 0, asked_too = 0;
	struct question *q = question_new(&asked, NULL), *cleanup = question_new(&asked_too, NULL);
	struct flow     *f = flow_new(flow_unwinds, &q->op);

	f->cleanup = &cleanup->op;
	op_start(&f->op, rig_ended, &end);
	rig_wait_int(&asked);
	question_answer(q, first);
	rig_wait_int(&asked_too);
	op_cancel(&f->op); /* an unwinding op is shielded */
	question_answer(cleanup, second);
	rig_wait(&end);
	CHECK(end.code == expected);
}

static void
unwind_keeps_what_came_first(void)
{
	unwind_keeps_the_first_error(ERR_AUTH, ERR_BUSY, ERR_AUTH);
	unwind_keeps_the_first_error(ERR_AUTH, ERR_OK, ERR_AUTH);
	unwind_keeps_the_first_error(ERR_OK, ERR_BUSY, ERR_BUSY);
	unwind_keeps_the_first_error(ERR_OK, ERR_OK, ERR_OK);
}

static void
unwind_in_a_cancelled_op_is_a_cancel(void)
{
	struct end       end = { 0 };
	int              asked = 0, asked_too = 0;
	struct question *q = question_new(&asked, NULL), *cleanup = question_new(&asked_too, NULL);
	struct flow     *f = flow_new(flow_unwinds, &q->op);

	q->deaf = true;
	f->cleanup = &cleanup->op;
	op_start(&f->op, rig_ended, &end);
	rig_wait_int(&asked);
	op_cancel(&f->op);
	question_answer(q, ERR_OK);
	rig_wait_int(&asked_too); /* cleaning up goes on */
	question_answer(cleanup, ERR_OK);
	rig_wait(&end);
	CHECK(end.code == ERR_CANCELLED);
}

static enum op_turn
flow_sets_its_own_error(struct flow *f)
{
	switch (f->op.state) {
	case 0:
		err_set(&f->op.err, ERR_UNCERTAIN, 0, "written, not yet read back");
		return flow_await(f, 1);
	case 1:
		return op_fail(&f->op);
	}
	abort();
}

static enum op_turn
flow_forgives_itself(struct flow *f)
{
	err_set(&f->op.err, ERR_IO, 0, "an attempt");
	err_set(&f->op.res, ERR_IO, 0, "another");
	return op_ok(&f->op);
}

static void
op_ok_is_ok(void)
{
	struct end end = { 0 };

	op_start(&flow_new(flow_forgives_itself, NULL)->op, rig_ended, &end);
	rig_wait(&end);
	CHECK(end.code == ERR_OK && end.err.msg[0] == '\0');
}

static void
an_earlier_error_is_kept(void)
{
	struct end   end = { 0 };
	struct flow *f = flow_new(flow_sets_its_own_error, op_error(rig_loop, ERR_NETWORK, 0, "no answer"));

	op_start(&f->op, rig_ended, &end);
	rig_wait(&end);
	CHECK(end.code == ERR_UNCERTAIN);
	CHECK_STR(end.err.msg, "written, not yet read back");
}

/* --- looking --- */

static void
list_add(const struct op *op, void *arg)
{
	strcat(arg, op->class->name);
	strcat(arg, ":");
	strcat(arg, op_state_name(op));
	strcat(arg, " ");
}

static void
ops_are_listed_and_cancelled_together(void)
{
	struct end       ends[3] = { 0 };
	int              asked = 0;
	struct question *q = question_new(&asked, NULL);
	char             list[128] = "";

	op_start(op_sleep(rig_loop, 60000), rig_ended, &ends[0]);
	op_start(&q->op, rig_ended, &ends[1]);
	op_start(&flow_new(flow_plain, op_sleep(rig_loop, 60000))->op, rig_ended, &ends[2]);
	op_list(rig_loop, list_add, list);
	CHECK_STR(list, "sleep:start question:start flow:? ");
	while (!asked || op_count(rig_loop) != 3)
		loop_turn(rig_loop, false);
	CHECK(q->op.since <= loop_now(rig_loop));
	list[0] = '\0';
	op_list(rig_loop, list_add, list);
	CHECK(strstr(list, "question:asked flow:? ") != NULL);
	op_cancel_all(rig_loop);
	for (int i = 0; i < 3; i++) {
		CHECK(loop_run_until(rig_loop, rig_end_seen, &ends[i], 5000));
		CHECK(ends[i].code == ERR_CANCELLED);
	}
	CHECK_U64(op_count(rig_loop), 0);
}

#define TESTS(X) \
	X(begins_from_the_loop) \
	X(done_may_keep_the_op) \
	X(what_never_ran_can_be_freed) \
	X(without_done_it_frees_itself) \
	X(misuse_is_asserted) \
	X(the_outcome_of_a_child_comes_as_res) \
	X(steps_go_on_without_a_wait) \
	X(a_wake_does_not_outlive_its_wait) \
	X(cancel_reaches_the_leaf_through_the_chain) \
	X(a_deaf_leaf_ends_in_its_own_time) \
	X(an_answer_on_its_way_beats_cancel) \
	X(cancelled_before_the_first_step_nothing_runs) \
	X(an_await_in_a_cancelled_op_frees_the_child) \
	X(a_leaf_that_waits_again_is_told_then) \
	X(a_shield_sees_it_through) \
	X(unwind_keeps_what_came_first) \
	X(unwind_in_a_cancelled_op_is_a_cancel) \
	X(op_ok_is_ok) \
	X(an_earlier_error_is_kept) \
	X(ops_are_listed_and_cancelled_together)

TESTS(RIG_ON_BOTH)

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ TESTS(RIG_ROW) { NULL, NULL } });
}
