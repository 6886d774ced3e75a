/* SPDX-License-Identifier: MIT */
#ifndef LOOP_WORK_H
#define LOOP_WORK_H

#include <stdbool.h>

#include "loop/op.h"

/*
 * Blocking jobs (local files, decoding or diffing more than 256 KB, spooling) as
 * operations, on at most WORK_THREADS threads that share nothing but the job.
 * With a virtual loop there are no threads: the job runs in a turn of the loop.
 */
#define WORK_THREADS 2
#define WORK_SMALL   ((size_t)256 << 10) /* up to this size a decode or hash may run on the loop */

struct work;
struct work_job;

struct work *work_new(struct loop *l);
void         work_free(struct work *w); /* no job may be left; the threads end, the rest goes with the last reference */
struct work *work_ref(struct work *w);  /* from any thread, as work_unref() */
void         work_unref(struct work *w);

/* On a thread of the pool. arg is the job's alone until the op ends. */
typedef enum err_code work_fn(struct work_job *job, void *arg, struct err *reterr);

/* Ends with what fn returned. Cancelled before it began: ERR_CANCELLED, fn never ran; cancelled while it runs: the op ends
 * when fn returns, which may ask work_cancelled(). */
struct op *work_run(struct work *w, work_fn *fn, void *arg);
/* As work_run() when there are more than WORK_SMALL bytes to go through. Up to that fn runs at once, with job NULL; the result is
 * then NULL (done: as op_await() takes it), or an op with its error. */
struct op *work_by_size(struct work *w, uint64_t size, work_fn *fn, void *arg);
/* Runs fn on the pool, and nobody waits for it: for what takes long to let go of. At once where waiting is allowed (on any thread but
 * the loop's), without threads, and after work_free(). */
void       work_later(struct work *w, void (*fn)(void *arg), void *arg);
bool       work_cancelled(const struct work_job *job);

#endif
