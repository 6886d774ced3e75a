/* SPDX-License-Identifier: MIT */
#include "loop/op.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/test.h"

/* The rules of op.h, each on both kinds of loop. */

static struct loop *loop;
static int          frees; /* of questions and flows */

/* --- a leaf, as every leaf is written: somebody answers later --- */

struct question {
	struct op op;
	int      *ret_asked, *ret_cancels; /* may be NULL */
	bool      deaf;                    /* a cancel changes nothing */
};

static enum op_turn
question_step(struct op *op)
{
	struct question *q = container_of(op, struct question, op);

	if (op->state == 1)
		return op_finish(op); /* woken: the answer is in op->res */
	if (q->ret_asked != NULL)
		(*q->ret_asked)++;
	op->state = 1;
	return OP_WAIT;
}

static void
question_cancel(struct op *op)
{
	struct question *q = container_of(op, struct question, op);

	if (q->ret_cancels != NULL)
		(*q->ret_cancels)++;
	if (q->deaf)
		return;
	err_set(&op->res, ERR_CANCELLED, 0, "never mind");
	op_wake(op);
}

static void
question_free(struct op *op)
{
	frees++;
	free(container_of(op, struct question, op));
}

static const char *const     question_states[] = { "start", "asked" };
static const struct op_class question_class = {
	"question", question_step, question_cancel, question_free, question_states, ARRAY_LEN(question_states),
};

static struct question *
question_new(int *ret_asked, int *ret_cancels)
{
	struct question *q = xcalloc(1, sizeof(*q));

	op_init(&q->op, &question_class, loop);
	q->ret_asked = ret_asked;
	q->ret_cancels = ret_cancels;
	return q;
}

static void
question_answer(struct question *q, enum err_code code)
{
	err_set(&q->op.res, code, 7, "answer");
	op_wake(&q->op);
}

/* --- an op of several steps, whose switch the test brings --- */

struct flow {
	struct op     op;
	enum op_turn (*fn)(struct flow *f);
	struct op    *child;   /* taken by the first await */
	struct op    *cleanup;
	struct err    seen;    /* what the first wait ended with */
	int           steps;
};

static enum op_turn
flow_step(struct op *op)
{
	struct flow *f = container_of(op, struct flow, op);

	f->steps++;
	return f->fn(f);
}

static void
flow_free(struct op *op)
{
	struct flow *f = container_of(op, struct flow, op);

	frees++;
	op_free(f->child);
	op_free(f->cleanup);
	free(f);
}

static const struct op_class flow_class = { "flow", flow_step, NULL, flow_free, NULL, 0 };

static struct flow *
flow_new(enum op_turn (*fn)(struct flow *f), struct op *child)
{
	struct flow *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &flow_class, loop);
	f->fn = fn;
	f->child = child;
	return f;
}

static enum op_turn
flow_await(struct flow *f, int next)
{
	struct op *child = f->child;

	f->child = NULL;
	return op_await(&f->op, next, child);
}

/* --- the end of an op --- */

struct end {
	int           calls;
	enum err_code code;
	struct err    err;
};

static void
ended(struct op *op, void *arg)
{
	struct end *end = arg;

	end->calls++;
	end->err = op->err;
	end->code = op->err.code;
	op_free(op);
}

static bool
end_seen(void *arg)
{
	return ((struct end *)arg)->calls > 0;
}

static bool
not_zero(void *arg)
{
	return *(int *)arg != 0;
}

static void
wait_for(struct end *end)
{
	CHECK(loop_run_until(loop, end_seen, end, 5000));
	CHECK_U64(end->calls, 1);
	while (loop_turn(loop, false)) /* and no second time */
		CHECK_U64(end->calls, 1);
	CHECK_U64(op_count(loop), 0);
}

static void
wait_for_int(int *n)
{
	CHECK(loop_run_until(loop, not_zero, n, 5000));
}

static void
loop_begin(bool virtual)
{
	struct err e;

	frees = 0;
	loop = virtual ? loop_new_virtual(1, 1790000000000) : loop_new(&e);
	CHECK(loop != NULL);
}

static void
on_both(void (*fn)(void))
{
	for (int virtual = 0; virtual < 2; virtual++) {
		loop_begin(virtual);
		fn();
		loop_free(loop);
	}
}

/* --- rule 1 and 2: start, done, free --- */

static void
begins_from_the_loop(void)
{
	struct end       end = { 0 };
	int              asked = 0;
	struct question *q = question_new(&asked, NULL);

	op_start(&q->op, ended, &end);
	CHECK_U64(asked, 0); /* not from inside the call */
	CHECK_U64(op_count(loop), 1);
	wait_for_int(&asked);
	question_answer(q, ERR_OK);
	op_wake(&q->op); /* several wakes are one */
	CHECK_U64(end.calls, 0);
	wait_for(&end);
	CHECK(end.code == ERR_OK && asked == 1 && frees == 1);
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
	wait_for_int(&asked);
	question_answer(q, ERR_BUSY);
	wait_for_int(&calls);
	CHECK(q->op.finished && q->op.err.code == ERR_BUSY && q->op.err.detail == 7 && frees == 0);
	op_cancel(&q->op); /* no-op */
	CHECK_U64(op_count(loop), 0);
	op_free(&q->op);
	CHECK_U64(frees, 1);
}

static void
what_never_ran_can_be_freed(void)
{
	struct flow *f = flow_new(NULL, &question_new(NULL, NULL)->op);

	op_cancel(&f->op); /* no-op: never started */
	CHECK(!f->op.cancelled);
	op_free(&f->op);
	CHECK_U64(frees, 2);
	op_free(NULL);
	op_cancel(NULL);
}

static void
without_done_it_frees_itself(void)
{
	int              asked = 0;
	struct question *q = question_new(&asked, NULL);

	op_start(&q->op, NULL, NULL);
	wait_for_int(&asked);
	question_answer(q, ERR_OK);
	wait_for_int(&frees);
	CHECK_U64(op_count(loop), 0);
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
	loop_free(loop);
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
	while (loop_turn(loop, false))
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

	loop_defer(loop, &d, runs_the_loop_in_a_callback, loop);
	loop_defer(loop, &e, runs_the_loop_in_a_callback, loop);
	while (loop_turn(loop, false))
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

	op_start(&f->op, ended, &end);
	CHECK(f->steps == 0);
	wait_for_int(&asked);
	CHECK(f->steps == 1 && f->op.child == &q->op && q->op.parent == &f->op);
	CHECK_U64(op_count(loop), 1); /* top-level ops only */
	question_answer(q, ERR_LOCKED);
	wait_for(&end);
	CHECK(end.code == ERR_LOCKED && end.err.detail == 7 && frees == 2);
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
		return op_await(&f->op, 3, op_error(loop, ERR_BUSY, 503, "slow %s", "down"));
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

	op_start(&f->op, ended, &end);
	wait_for(&end);
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

	op_start(&f->op, ended, &end);
	wait_for_int(&asked);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, false);
	CHECK_U64(f->steps, 1);
	question_answer(q, ERR_LOCKED);
	wait_for(&end);
	CHECK(end.code == ERR_LOCKED && frees == 2);
}

/* --- rule 3: cancel --- */

static void
cancel_reaches_the_leaf_through_the_chain(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);
	struct flow     *inner = flow_new(flow_plain, &q->op), *f = flow_new(flow_plain, &inner->op);

	op_start(&f->op, ended, &end);
	wait_for_int(&asked);
	op_cancel(&f->op);
	op_cancel(&f->op);
	CHECK(f->op.cancelled && inner->op.cancelled && q->op.cancelled && cancels == 1);
	CHECK_U64(end.calls, 0); /* a request, no end */
	wait_for(&end);
	CHECK(end.code == ERR_CANCELLED && frees == 3);
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
	op_start(&f->op, ended, &end);
	wait_for_int(&asked);
	op_cancel(&f->op);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, false);
	CHECK(end.calls == 0 && cancels == 1 && f->steps == 1);
	question_answer(q, ERR_OK);
	wait_for(&end);
	CHECK(end.code == ERR_OK); /* it did happen */
}

static void
an_answer_on_its_way_beats_cancel(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);

	op_start(&q->op, ended, &end);
	wait_for_int(&asked);
	question_answer(q, ERR_OK);
	op_cancel(&q->op);
	CHECK_U64(cancels, 0);
	wait_for(&end);
	CHECK(end.code == ERR_OK && cancels == 0);
}

static void
cancelled_before_the_first_step_nothing_runs(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);
	struct flow     *f = flow_new(flow_plain, &q->op);

	op_start(&f->op, ended, &end);
	op_cancel(&f->op);
	CHECK_U64(end.calls, 0);
	wait_for(&end);
	CHECK(end.code == ERR_CANCELLED && asked == 0 && cancels == 0 && frees == 2);
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
	op_start(&f->op, ended, &end);
	wait_for_int(&asked);
	op_cancel(&f->op);
	question_answer(q, ERR_OK);
	wait_for(&end);
	CHECK(end.code == ERR_CANCELLED && asked_too == 0 && frees == 3);
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
	op_start(&q->op, ended, &end);
	CHECK(loop_turn(loop, false));
	question_answer(q, ERR_OK);
	op_cancel(&q->op);
	CHECK_U64(cancels, 0);
	wait_for(&end);
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
	op_start(&f->op, ended, &end);
	wait_for_int(&asked);
	op_cancel(&f->op);
	CHECK(f->op.cancelled && !op_stopped(&f->op) && cancels == 0);
	question_answer(q, ERR_OK);
	wait_for_int(&asked_too); /* shield beats cancel in op_await() too */
	question_answer(cleanup, ERR_OK);
	wait_for(&end);
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
	op_start(&f->op, ended, &end);
	wait_for_int(&asked);
	question_answer(q, first);
	wait_for_int(&asked_too);
	op_cancel(&f->op); /* an unwinding op is shielded */
	question_answer(cleanup, second);
	wait_for(&end);
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
	op_start(&f->op, ended, &end);
	wait_for_int(&asked);
	op_cancel(&f->op);
	question_answer(q, ERR_OK);
	wait_for_int(&asked_too); /* cleaning up goes on */
	question_answer(cleanup, ERR_OK);
	wait_for(&end);
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

	op_start(&flow_new(flow_forgives_itself, NULL)->op, ended, &end);
	wait_for(&end);
	CHECK(end.code == ERR_OK && end.err.msg[0] == '\0');
}

static void
an_earlier_error_is_kept(void)
{
	struct end   end = { 0 };
	struct flow *f = flow_new(flow_sets_its_own_error, op_error(loop, ERR_NETWORK, 0, "no answer"));

	op_start(&f->op, ended, &end);
	wait_for(&end);
	CHECK(end.code == ERR_UNCERTAIN);
	CHECK_STR(end.err.msg, "written, not yet read back");
}

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
	int64_t     t0 = loop_now(loop);

	flow_ms = 20;
	op_start(&flow_new(flow_with_deadline, &question_new(NULL, &cancels)->op)->op, ended, &end);
	wait_for(&end);
	CHECK(end.code == ERR_TIMEOUT && cancels == 1 && frees == 2);
	CHECK_STR(end.err.msg, "no answer within 20 ms");
	CHECK(loop_now(loop) >= t0 + 20 && loop_now(loop) < t0 + 2000);
}

static void
an_answer_in_time_has_no_deadline(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);

	flow_ms = 60000;
	op_start(&flow_new(flow_with_deadline, &q->op)->op, ended, &end);
	wait_for_int(&asked);
	question_answer(q, ERR_NOT_FOUND);
	wait_for(&end); /* checks that no timer is left */
	CHECK(end.code == ERR_NOT_FOUND && cancels == 0);
	CHECK(!loop_turn(loop, false));
}

static void
a_leaf_may_answer_a_deadline_its_own_way(void)
{
	struct end       end = { 0 };
	int              asked = 0, cancels = 0;
	struct question *q = question_new(&asked, &cancels);

	q->deaf = true;
	flow_ms = 1;
	op_start(&flow_new(flow_with_deadline, &q->op)->op, ended, &end);
	wait_for_int(&cancels);
	question_answer(q, ERR_UNCERTAIN);
	wait_for(&end);
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
	op_start(&f->op, ended, &end);
	wait_for_int(&asked);
	op_cancel(&f->op);
	wait_for(&end);
	CHECK(end.code == ERR_CANCELLED && cancels == 1 && frees == 2);
}

static bool
later_than(void *arg)
{
	return loop_now(loop) > *(int64_t *)arg;
}

static void
a_deadline_after_a_cancel_changes_nothing(void)
{
	struct end       end = { 0 };
	int              asked = 0;
	int64_t          due = loop_now(loop) + 30;
	struct question *q = question_new(&asked, NULL);
	struct flow     *f = flow_new(flow_with_deadline, &q->op);

	flow_ms = 10;
	f->op.state = 10;
	q->deaf = true;
	op_start(&f->op, ended, &end);
	wait_for_int(&asked);
	op_cancel(&f->op);
	loop_run_until(loop, later_than, &due, 5000);
	question_answer(q, ERR_CANCELLED);
	wait_for(&end);
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

	op_start(&flow_new(flow_with_nothing_to_wait_for, NULL)->op, ended, &end);
	wait_for(&end);
	CHECK(end.code == ERR_OK);
}

/* --- sleep and result --- */

static void
sleeps(void)
{
	struct end end = { 0 }, cut = { 0 };
	int64_t    t0 = loop_now(loop);
	struct op *op = op_sleep(loop, 15), *long_one = op_sleep(loop, 3600000);

	op_start(op, ended, &end);
	op_start(long_one, ended, &cut);
	CHECK(loop_run_until(loop, end_seen, &end, 5000));
	CHECK(end.code == ERR_OK && loop_now(loop) >= t0 + 15);
	op_cancel(long_one);
	wait_for(&cut);
	CHECK(cut.code == ERR_CANCELLED && loop_now(loop) < t0 + 5000);
	CHECK(!loop_turn(loop, false));
}

static void
results_are_what_they_are(void)
{
	struct end end = { 0 };
	struct err e = { .code = ERR_BUSY, .detail = 429, .retry_after_ms = 1500, .msg = "slow down", .hint = "wait" };
	struct op *op = op_result(loop, &e);

	op_start(op, ended, &end);
	op_cancel(op); /* too late for what is known already */
	wait_for(&end);
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
	return op_all(loop, children, MANY, limit, outcomes);
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
	CHECK(loop_run_until(loop, many_run, &n, 5000));
	for (int i = 0; i < 20; i++)
		loop_turn(loop, false);
	CHECK_U64(many_running(), n);
}

static void
all_runs_everything_and_keeps_outcomes(void)
{
	struct err outcomes[MANY];
	struct end end = { 0 };

	op_start(all_new(0, outcomes), ended, &end);
	CHECK_U64(op_count(loop), 1);
	wait_for_many(MANY);
	for (int i = MANY - 1; i >= 0; i--)
		question_answer(many[i], i == 2 ? ERR_AUTH : i == 4 ? ERR_BUSY : ERR_OK);
	wait_for(&end);
	CHECK(end.code == ERR_AUTH && frees == MANY); /* first by index, not by time */
	for (int i = 0; i < MANY; i++)
		CHECK(outcomes[i].code == (i == 2 ? ERR_AUTH : i == 4 ? ERR_BUSY : ERR_OK));
	CHECK_STR(outcomes[4].msg, "answer");
}

static void
all_keeps_its_limit(void)
{
	struct end end = { 0 };

	op_start(all_new(2, NULL), ended, &end);
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
	wait_for(&end);
	CHECK(end.code == ERR_IO && frees == MANY);
}

static void
cancelling_all_cancels_each(void)
{
	struct err outcomes[MANY];
	struct end end = { 0 };
	struct op *op = all_new(3, outcomes);

	op_start(op, ended, &end);
	wait_for_many(3);
	many[1]->deaf = true;
	op_cancel(op);
	CHECK(many_cancels[0] == 1 && many_cancels[1] == 1 && many_cancels[2] == 1);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, false);
	CHECK_U64(end.calls, 0);
	question_answer(many[1], ERR_OK);
	wait_for(&end);
	CHECK(end.code == ERR_CANCELLED && many_running() == 3 && frees == MANY);
	for (int i = 0; i < MANY; i++)
		CHECK(outcomes[i].code == (i == 1 ? ERR_OK : ERR_CANCELLED));
}

static void
a_cancel_that_comes_too_late_for_all(void)
{
	struct end end = { 0 };
	struct op *op = all_new(MANY, NULL);

	op_start(op, ended, &end);
	wait_for_many(MANY);
	for (int i = 0; i < MANY; i++)
		many[i]->deaf = true;
	op_cancel(op);
	for (int i = 0; i < MANY; i++)
		question_answer(many[i], ERR_OK);
	wait_for(&end);
	CHECK(end.code == ERR_OK); /* everything happened */
}

static void
all_that_never_ran_frees_its_children(void)
{
	struct end end = { 0 };
	struct op *op = all_new(3, NULL);

	op_free(op);
	CHECK_U64(frees, MANY);
	op = all_new(3, NULL);
	op_start(op, ended, &end);
	op_cancel(op);
	wait_for(&end);
	CHECK(end.code == ERR_CANCELLED && many_running() == 0 && frees == 2 * MANY);
}

static void
all_of_nothing_is_ok(void)
{
	struct end end = { 0 }, holes = { 0 };
	struct op *children[] = { NULL, op_error(loop, ERR_IO, 0, "the only one"), NULL };
	struct err outcomes[3];

	op_start(op_all(loop, NULL, 0, 0, NULL), ended, &end);
	wait_for(&end);
	CHECK(end.code == ERR_OK);
	op_start(op_all(loop, children, 3, 1, outcomes), ended, &holes);
	wait_for(&holes);
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
		return op_error(loop, ERR_CORRUPT, 7, "the seventh");
	return op_sleep(loop, 1);
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

	op_start(op_each_of(loop, producer_next, producer_ended, &p, 10), ended, &end);
	wait_for(&end);
	CHECK(end.code == ERR_CORRUPT && end.err.detail == 7);
	CHECK(p.left == 0 && p.running == 0 && p.peak == 10 && p.started == 300 && p.failed == 1);
	p = (struct producer){ .left = 300 };
	memset(&end, 0, sizeof(end));
	op_start(op_each_of(loop, producer_next, NULL, &p, 0), ended, &end);
	CHECK_U64(p.started, 0);
	wait_for(&end);
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
	struct op      *op = op_each_of(loop, producer_next, producer_ended, &p, 5);
	int             started;

	op_start(op, ended, &end);
	CHECK(loop_run_until(loop, producer_busy, &p, 5000));
	op_cancel(op);
	started = p.started;
	wait_for(&end);
	CHECK(end.code == ERR_CORRUPT); /* the first error, else ERR_CANCELLED */
	CHECK(p.started == started && p.running == 0);
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

	op_start(op_sleep(loop, 60000), ended, &ends[0]);
	op_start(&q->op, ended, &ends[1]);
	op_start(&flow_new(flow_plain, op_sleep(loop, 60000))->op, ended, &ends[2]);
	op_list(loop, list_add, list);
	CHECK_STR(list, "sleep:start question:start flow:? ");
	while (!asked || op_count(loop) != 3)
		loop_turn(loop, false);
	CHECK(q->op.since <= loop_now(loop));
	list[0] = '\0';
	op_list(loop, list_add, list);
	CHECK(strstr(list, "question:asked flow:? ") != NULL);
	op_cancel_all(loop);
	for (int i = 0; i < 3; i++) {
		CHECK(loop_run_until(loop, end_seen, &ends[i], 5000));
		CHECK(ends[i].code == ERR_CANCELLED);
	}
	CHECK_U64(op_count(loop), 0);
}

#define ON_BOTH(fn) \
	static void \
	both_##fn(void) \
	{ \
		on_both(fn); \
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
	X(cancelling_each_asks_for_no_more) \
	X(ops_are_listed_and_cancelled_together)

TESTS(ON_BOTH)

#define ROW(fn) { #fn, both_##fn },

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ TESTS(ROW) { NULL, NULL } });
}
