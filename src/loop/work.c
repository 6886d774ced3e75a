/* SPDX-License-Identifier: MIT */
#include "loop/work.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"

/* Also where the C library's default is far smaller. */
#define WORK_STACK ((size_t)1 << 20)

struct work {
	struct loop     *loop;
	atomic_size_t    refs;
	pthread_t        owner;         /* the loop's thread */
	size_t           jobs;          /* begun and not ended; the loop's */
	pthread_t        threads[WORK_THREADS];
	size_t           nthreads;      /* the loop's */

	pthread_mutex_t  lock;          /* everything below */
	pthread_cond_t   wanted;
	struct work_job *first, *last;
	size_t           waiting;       /* jobs in the list */
	size_t           idle;          /* threads that wait for one */
	bool             stopping;
};

struct work_job {
	struct op        op;
	struct work     *work;
	work_fn         *fn;
	void           (*later)(void *arg); /* not NULL: nothing else here but arg and next */
	void            *arg;
	struct err       outcome;       /* the thread's until it posts */
	struct post      post;
	struct work_job *next;
	atomic_bool      cancelled;
};

enum work_state { WORK_START, WORK_QUEUED, WORK_ENDED };
static const char *const work_states[] = { "start", "queued", "ended" };

static enum err_code
work_call(work_fn *fn, struct work_job *job, void *arg, struct err *ret)
{
	enum err_code code = fn(job, arg, ret);

	if (code == ERR_OK)
		err_clear(ret);
	else if (ret->code != code)
		err_set(ret, code, 0, "a job failed (%s)", err_kind(code));
	return code;
}

/* --- threads --- */

static void
work_done(void *arg)
{
	struct work_job *job = arg;

	job->op.res = job->outcome;
	job->op.state = WORK_ENDED;
	op_wake(&job->op);
}

/* NULL: the pool ends. */
static struct work_job *
work_take(struct work *w)
{
	struct work_job *job;

	pthread_mutex_lock(&w->lock);
	w->idle++;
	while (w->first == NULL && !w->stopping)
		pthread_cond_wait(&w->wanted, &w->lock);
	w->idle--;
	job = w->first;
	if (job != NULL) {
		w->first = job->next;
		w->waiting--;
	}
	pthread_mutex_unlock(&w->lock);
	return job;
}

static void *
work_thread(void *arg)
{
	struct work     *w = arg;
	struct work_job *job;

	while ((job = work_take(w)) != NULL) {
		if (job->later != NULL) {
			job->later(job->arg);
			free(job);
			continue;
		}
		work_call(job->fn, job, job->arg, &job->outcome);
		loop_post(w->loop, &job->post, work_done, job);
	}
	return NULL;
}

static int
work_spawn(struct work *w)
{
	pthread_attr_t attr;
	sigset_t       all, before;
	int            rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORK_STACK);
	sigfillset(&all); /* signals are the loop's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&w->threads[w->nthreads], &attr, work_thread, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc != 0)
		return rc;
	pthread_setname_np(w->threads[w->nthreads], "stateferry-work");
	w->nthreads++;
	return 0;
}

/* False: it has begun. */
static bool
work_unqueue(struct work *w, struct work_job *job)
{
	struct work_job **at, *before = NULL;
	bool              found = false;

	pthread_mutex_lock(&w->lock);
	for (at = &w->first; *at != NULL && *at != job; at = &(*at)->next)
		before = *at;
	if (*at != NULL) {
		*at = job->next;
		if (w->last == job)
			w->last = before;
		w->waiting--;
		found = true;
	}
	pthread_mutex_unlock(&w->lock);
	return found;
}

/* Queues a job; true: all threads are taken and there may be one more. */
static bool
work_queue(struct work *w, struct work_job *job)
{
	bool more;

	pthread_mutex_lock(&w->lock);
	job->next = NULL;
	if (w->first == NULL)
		w->first = job;
	else
		w->last->next = job;
	w->last = job;
	w->waiting++;
	more = w->waiting > w->idle && w->nthreads < WORK_THREADS;
	pthread_cond_signal(&w->wanted);
	pthread_mutex_unlock(&w->lock);
	return more;
}

/* --- the operation --- */

static enum op_turn
work_begin(struct work_job *job)
{
	struct work *w = job->work;
	int          rc;

	job->op.state = WORK_QUEUED;
	w->jobs++;
	if (loop_is_virtual(w->loop)) {
		op_wake(&job->op);
		return OP_WAIT;
	}
	if (!work_queue(w, job) || (rc = work_spawn(w)) == 0 || w->nthreads > 0)
		return OP_WAIT;
	work_unqueue(w, job);
	err_errno(&job->op.res, rc, "cannot start a thread");
	job->op.state = WORK_ENDED;
	return OP_AGAIN;
}

static enum op_turn
work_step(struct op *op)
{
	struct work_job *job = container_of(op, struct work_job, op);

	switch ((enum work_state)op->state) {
	case WORK_START:
		return work_begin(job);
	case WORK_QUEUED:
		assert(loop_is_virtual(op->loop)); /* a thread's job comes back as ended */
		if (op_stopped(op)) {
			err_set(&op->res, ERR_CANCELLED, 0, "work: cancelled before it began");
		} else {
			work_call(job->fn, job, job->arg, &job->outcome);
			op->res = job->outcome;
		}
		__attribute__((fallthrough));
	case WORK_ENDED:
		job->work->jobs--;
		return op_finish(op);
	}
	return OP_DONE;
}

static void
work_cancel(struct op *op)
{
	struct work_job *job = container_of(op, struct work_job, op);

	if (work_unqueue(job->work, job)) {
		err_set(&op->res, ERR_CANCELLED, 0, "work: cancelled before it began");
		op->state = WORK_ENDED;
		op_wake(op);
	} else {
		atomic_store(&job->cancelled, true);
	}
}

static void
work_job_free(struct op *op)
{
	free(container_of(op, struct work_job, op));
}

static const struct op_class work_class = {
	"work", work_step, work_cancel, work_job_free, work_states, ARRAY_LEN(work_states),
};

struct op *
work_run(struct work *w, work_fn *fn, void *arg)
{
	struct work_job *job = xcalloc(1, sizeof(*job));

	op_init(&job->op, &work_class, w->loop);
	job->work = w;
	job->fn = fn;
	job->arg = arg;
	atomic_init(&job->cancelled, false);
	return &job->op;
}

struct op *
work_by_size(struct work *w, uint64_t size, work_fn *fn, void *arg)
{
	struct err e = { .code = ERR_OK };

	if (size > WORK_SMALL)
		return work_run(w, fn, arg);
	return work_call(fn, NULL, arg, &e) == ERR_OK ? NULL : op_result(w->loop, &e);
}

void
work_later(struct work *w, void (*fn)(void *arg), void *arg)
{
	struct work_job *job;

	/* Whoever is not the owner's thread does not look at what belongs to it. */
	if (!pthread_equal(pthread_self(), w->owner) || w->stopping || loop_is_virtual(w->loop)) {
		fn(arg);
		return;
	}
	job = xcalloc(1, sizeof(*job));
	job->later = fn;
	job->arg = arg;
	if (!work_queue(w, job) || work_spawn(w) == 0 || w->nthreads > 0)
		return;
	work_unqueue(w, job);
	free(job);
	fn(arg);
}

bool
work_cancelled(const struct work_job *job)
{
	return atomic_load(&job->cancelled);
}

/* --- the pool --- */

struct work *
work_new(struct loop *l)
{
	struct work *w = xcalloc(1, sizeof(*w));

	w->loop = l;
	atomic_init(&w->refs, 1);
	w->owner = pthread_self();
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wanted, NULL);
	return w;
}

void
work_free(struct work *w)
{
	if (w == NULL)
		return;
	assert(w->jobs == 0);
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_broadcast(&w->wanted);
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < w->nthreads; i++)
		pthread_join(w->threads[i], NULL);
	work_unref(w);
}

struct work *
work_ref(struct work *w)
{
	atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
	return w;
}

void
work_unref(struct work *w)
{
	if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) > 1)
		return;
	pthread_cond_destroy(&w->wanted);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
