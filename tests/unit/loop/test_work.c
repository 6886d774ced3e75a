/* SPDX-License-Identifier: MIT */
#include "loop/work.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "../../lib/test.h"

static struct loop *loop;
static struct work *work;

static void
work_begin(bool virtual)
{
	struct err e;

	loop = virtual ? loop_new_virtual(5, 1790000000000) : loop_new(&e);
	CHECK(loop != NULL);
	work = work_new(loop);
}

static void
work_end(void)
{
	CHECK_U64(op_count(loop), 0);
	work_free(work);
	loop_free(loop);
}

struct end {
	int        calls;
	struct err err;
};

static void
ended(struct op *op, void *arg)
{
	struct end *end = arg;

	end->calls++;
	end->err = op->err;
	op_free(op);
}

static bool
end_seen(void *arg)
{
	return ((struct end *)arg)->calls > 0;
}

static void
wait_for(struct end *end)
{
	CHECK(loop_run_until(loop, end_seen, end, 20000));
	CHECK_U64(end->calls, 1);
}

/* --- jobs --- */

struct sum {
	int           from, to, ret;
	enum err_code code;
	bool          silent; /* fails without a sentence */
	pthread_t     thread;
	bool          unmasked, cancelled;
};

static enum err_code
sum_run(struct work_job *job, void *arg, struct err *reterr)
{
	struct sum *s = arg;
	sigset_t    mask;

	s->thread = pthread_self();
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	s->unmasked = !sigismember(&mask, SIGTERM);
	for (int i = s->from; i <= s->to; i++)
		s->ret += i;
	if (s->code == ERR_OK || s->silent)
		return s->code;
	s->cancelled = job != NULL && work_cancelled(job);
	return err_set(reterr, s->code, 28, "no space for %d", s->ret);
}

static void
jobs_end_with_what_they_return(void)
{
	for (int virtual = 0; virtual < 2; virtual++) {
		struct sum ok = { .from = 1, .to = 100 }, bad = { .code = ERR_IO }, silent = { .code = ERR_CORRUPT, .silent = true };
		struct end ends[3] = { 0 };

		work_begin(virtual);
		op_start(work_run(work, sum_run, &ok), ended, &ends[0]);
		op_start(work_run(work, sum_run, &bad), ended, &ends[1]);
		op_start(work_run(work, sum_run, &silent), ended, &ends[2]);
		CHECK_U64(ok.ret, 0); /* not from inside the call */
		for (int i = 0; i < 3; i++)
			wait_for(&ends[i]);
		CHECK(ends[0].err.code == ERR_OK && ok.ret == 5050);
		CHECK(ends[1].err.code == ERR_IO && ends[1].err.detail == 28 && !bad.cancelled);
		CHECK_STR(ends[1].err.msg, "no space for 0");
		CHECK(ends[2].err.code == ERR_CORRUPT && ends[2].err.msg[0] != '\0');
		CHECK(!!pthread_equal(ok.thread, pthread_self()) == virtual);
		if (!virtual)
			CHECK(!ok.unmasked); /* signals are for the loop's thread */
		work_end();
	}
}

static void
few_bytes_are_not_worth_a_thread(void)
{
	struct sum ok = { .from = 1, .to = 100 }, bad = { .code = ERR_IO }, many = { .from = 1, .to = 100 };
	struct end end = { 0 }, later = { 0 };

	work_begin(false);
	CHECK(work_by_size(work, WORK_SMALL, sum_run, &ok) == NULL && ok.ret == 5050);
	op_start(work_by_size(work, 1, sum_run, &bad), ended, &end);
	wait_for(&end);
	CHECK_U64(end.err.code, ERR_IO);
	CHECK_STR(end.err.msg, "no space for 0");
	op_start(work_by_size(work, WORK_SMALL + 1, sum_run, &many), ended, &later);
	CHECK_U64(many.ret, 0);
	wait_for(&later);
	CHECK(many.ret == 5050 && !pthread_equal(many.thread, pthread_self()));
	work_end();
}

static void
a_job_that_never_ran_is_freed(void)
{
	work_begin(false);
	op_free(work_run(work, sum_run, NULL));
	work_end(); /* and no thread was started for it */
}

/* --- many, and no more than two at a time --- */

#define JOBS 200

static atomic_int running, peak, done_jobs;

static enum err_code
busy_run(struct work_job *job, void *arg, struct err *reterr)
{
	int now = atomic_fetch_add(&running, 1) + 1, before = atomic_load(&peak);

	(void)job, (void)reterr;
	while (now > before && !atomic_compare_exchange_weak(&peak, &before, now))
		;
	usleep(200);
	(*(int *)arg)++; /* the job's alone */
	atomic_fetch_sub(&running, 1);
	atomic_fetch_add(&done_jobs, 1);
	return ERR_OK;
}

static void
no_more_than_its_threads_run_at_a_time(void)
{
	static int  touched[JOBS];
	struct op  *jobs[JOBS];
	struct end  end = { 0 };

	work_begin(false);
	for (int i = 0; i < JOBS; i++)
		jobs[i] = work_run(work, busy_run, &touched[i]);
	op_start(op_all(loop, jobs, JOBS, 0, NULL), ended, &end);
	wait_for(&end);
	CHECK(end.err.code == ERR_OK && atomic_load(&done_jobs) == JOBS);
	for (int i = 0; i < JOBS; i++)
		CHECK_U64(touched[i], 1);
	CHECK_U64(atomic_load(&peak), WORK_THREADS);
	work_end();
}

/* --- cancel --- */

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t  changed;
	bool            entered, open;
	bool            saw_cancel;
};

static enum err_code
gate_run(struct work_job *job, void *arg, struct err *reterr)
{
	struct gate *g = arg;

	pthread_mutex_lock(&g->lock);
	g->entered = true;
	pthread_cond_broadcast(&g->changed);
	while (!g->open)
		pthread_cond_wait(&g->changed, &g->lock);
	g->saw_cancel = work_cancelled(job);
	pthread_mutex_unlock(&g->lock);
	return g->saw_cancel ? err_set(reterr, ERR_CANCELLED, 0, "gate: stopped half way, undone") : ERR_OK;
}

static bool
gate_entered(void *arg)
{
	struct gate *g = arg;
	bool         entered;

	pthread_mutex_lock(&g->lock);
	entered = g->entered;
	pthread_mutex_unlock(&g->lock);
	if (!entered)
		loop_turn(loop, false);
	return entered;
}

static void
gate_open(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->open = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static void
cancel_before_and_during_a_job(void)
{
	struct gate gates[2] = {
		{ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false, false },
		{ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false, false },
	};
	struct sum  sums[3] = { { .to = 1 }, { .to = 1 }, { .to = 1 } }, after = { .to = 1 };
	struct end  ends[5] = { 0 }, after_end = { 0 };
	struct op  *ops[5];

	work_begin(false);
	for (int i = 0; i < 5; i++) {
		ops[i] = i < 2 ? work_run(work, gate_run, &gates[i]) : work_run(work, sum_run, &sums[i - 2]);
		op_start(ops[i], ended, &ends[i]);
	}
	while (!gate_entered(&gates[0]) || !gate_entered(&gates[1]))
		usleep(100);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, false);
	CHECK(ends[2].calls == 0); /* both threads are taken */
	op_cancel(ops[4]); /* the last of the queue, then one from its middle */
	op_cancel(ops[2]);
	wait_for(&ends[4]);
	wait_for(&ends[2]);
	CHECK(ends[2].err.code == ERR_CANCELLED && ends[4].err.code == ERR_CANCELLED);
	op_start(work_run(work, sum_run, &after), ended, &after_end); /* the queue is whole */
	op_cancel(ops[0]);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, false);
	CHECK_U64(ends[0].calls, 0); /* ends when the job returns */
	gate_open(&gates[0]);
	gate_open(&gates[1]);
	wait_for(&ends[0]);
	wait_for(&ends[1]);
	wait_for(&ends[3]);
	wait_for(&after_end);
	CHECK(gates[0].saw_cancel && ends[0].err.code == ERR_CANCELLED);
	CHECK(!gates[1].saw_cancel && ends[1].err.code == ERR_OK);
	CHECK(ends[3].err.code == ERR_OK && sums[1].ret == 1 && after.ret == 1);
	CHECK(sums[0].ret == 0 && sums[2].ret == 0);
	work_end();
}

static void
cancel_on_the_virtual_loop(void)
{
	int ran = 0, cancelled = 0;

	for (int turns = 0; turns < 4; turns++) {
		struct sum s = { .to = 3 };
		struct end end = { 0 };
		struct op *op;

		work_begin(true);
		op = work_run(work, sum_run, &s);
		op_start(op, ended, &end);
		for (int i = 0; i < turns; i++)
			loop_turn(loop, false);
		if (end.calls == 0)
			op_cancel(op);
		if (end.calls == 0)
			wait_for(&end);
		CHECK((end.err.code == ERR_CANCELLED) == (s.ret == 0));
		ran += s.ret != 0;
		cancelled += s.ret == 0;
		work_end();
	}
	CHECK(ran > 0 && cancelled == 2); /* before its first step, and queued */
}

/* --- what nobody waits for --- */

struct last {
	atomic_int runs;
	pthread_t  thread;
};

static void
last_run(void *arg)
{
	struct last *last = arg;

	last->thread = pthread_self();
	atomic_fetch_add(&last->runs, 1);
}

static void *
last_elsewhere(void *arg)
{
	work_later(work, last_run, arg);
	CHECK(pthread_equal(((struct last *)arg)->thread, pthread_self()));
	return NULL;
}

static void
what_is_left_for_later_runs_apart_and_before_the_end(void)
{
	struct last many[40];
	pthread_t   thread;

	memset(many, 0, sizeof(many));
	work_begin(false);
	for (size_t i = 0; i < ARRAY_LEN(many) - 1; i++)
		work_later(work, last_run, &many[i]);
	CHECK_U64((uint64_t)pthread_create(&thread, NULL, last_elsewhere, &many[ARRAY_LEN(many) - 1]), 0);
	pthread_join(thread, NULL);
	work_end();
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		CHECK_U64((uint64_t)many[i].runs, 1);
		CHECK(!pthread_equal(many[i].thread, pthread_self()));
	}
}

static void
later_is_at_once_without_threads(void)
{
	struct last  last = { .runs = 0 };
	struct work *kept;

	work_begin(true);
	work_later(work, last_run, &last);
	CHECK_U64((uint64_t)last.runs, 1);
	kept = work_ref(work);
	work_end();
	work_later(kept, last_run, &last);
	CHECK_U64((uint64_t)last.runs, 2);
	work_unref(kept);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "jobs_end_with_what_they_return", jobs_end_with_what_they_return },
	    { "few_bytes_are_not_worth_a_thread", few_bytes_are_not_worth_a_thread },
	    { "a_job_that_never_ran_is_freed", a_job_that_never_ran_is_freed },
	    { "no_more_than_its_threads_run_at_a_time", no_more_than_its_threads_run_at_a_time },
	    { "cancel_before_and_during_a_job", cancel_before_and_during_a_job },
	    { "cancel_on_the_virtual_loop", cancel_on_the_virtual_loop },
	    { "what_is_left_for_later_runs_apart_and_before_the_end", what_is_left_for_later_runs_apart_and_before_the_end },
	    { "later_is_at_once_without_threads", later_is_at_once_without_threads },
	    { NULL, NULL },
	});
}
