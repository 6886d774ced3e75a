/* SPDX-License-Identifier: MIT */
/*
 * The store thread. It takes what waits into one transaction: at once for one that is alone; where several were at it at once
 * it gathers for a moment, because a commit costs the same for one as for many. A batch that is
 * refused was refused before its first put; one that fails in the middle takes the transaction with it, and the
 * others run again without it. Answers go back to the loop after the commit. With inline commits the same runs in a
 * turn of the loop.
 */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/batch.h"

#define WRITER_GROUP_MAX   256                  /* batches in one commit */
#define WRITER_GROUP_BYTES ((uint64_t)32 << 20) /* of their bodies */
#define WRITER_IDLE_MS     2000                 /* then the compressor is freed */
#define WRITER_GATHER_MS   2                    /* the moment; far less than any replica waits for its server */
#define WRITER_GROW_MAX    24                   /* doublings for one commit */

/* Batches of one commit, on their way back to the loop. */
struct writer_group {
	struct post   post;
	struct store *s;
	struct batch *first;
	struct batch *culprit; /* failed in the middle of its puts */
	struct err    trouble; /* of the commit */
};

/* ---------------------------------------------------------------- one commit */

/* After a commit that failed nobody knows whether it happened: the file is opened again and its counter asked. */
static enum err_code
writer_look_up(struct store *s, uint64_t commit, int rc, struct err *reterr)
{
	struct store_txn t;
	struct counters  n = { 0 };
	struct err       e = { 0 };
	bool             read;

	if (gate_ask(s, ASK_REOPEN, &e) != ERR_OK || txn_begin(s, TXN_POOL, &t, &e) != ERR_OK)
		return err_set(reterr, ERR_UNCERTAIN, rc,
		    "store: a commit failed (%s), and the store cannot be opened again",
		    mdb_strerror(rc));
	read = txn_read_counters(&t, &n);
	txn_abort(&t);
	if (!read)
		return err_set(reterr, ERR_UNCERTAIN, rc, "store: a commit failed (%s), and its outcome cannot be read",
		    mdb_strerror(rc));
	if (n.commits >= commit)
		return ERR_OK;
	err_set(reterr, ERR_IO, rc, "store: a commit failed and nothing of it was kept: %s", mdb_strerror(rc));
	return host_explain_full(s, reterr);
}

/* A store that could not be opened again, or that LMDB gave up, gets one more chance with each commit. */
static enum err_code
writer_begin(struct store *s, struct store_txn *t, struct err *reterr)
{
	if (s->env != NULL && txn_begin(s, TXN_WRITE, t, reterr) == ERR_OK)
		return ERR_OK;
	if (gate_ask(s, ASK_REOPEN, reterr) != ERR_OK)
		return ERR_IO;
	return txn_begin(s, TXN_WRITE, t, reterr);
}

enum err_code
writer_commit(struct store *s, writer_fill_fn *fill, void *arg, struct err *reterr)
{
	struct store_txn t;
	enum err_code    code;
	uint64_t         commit;
	int              rc;

	for (int grown = 0;; grown++) {
		err_clear(reterr);
		if ((code = store_env_check(s, reterr)) != ERR_OK || (code = writer_begin(s, &t, reterr)) != ERR_OK)
			return code;
		if (!fill(arg, &t)) {
			rc = t.rc;
			*reterr = t.err;
			txn_abort(&t);
			if (rc != MDB_MAP_FULL)
				return reterr->code;
		} else if (!t.dirty) {
			txn_abort(&t);
			return ERR_OK;
		} else {
			commit = t.n.commits + 1;
			rc = txn_commit(&t);
			if (rc == 0)
				return ERR_OK;
			if (rc != MDB_MAP_FULL)
				return writer_look_up(s, commit, rc, reterr);
		}
		if (grown == WRITER_GROW_MAX)
			return err_set(reterr, ERR_IO, rc, "store: the memory map is full however large it is");
		if ((code = gate_ask(s, ASK_GROW, reterr)) != ERR_OK)
			return code;
	}
}

/* ---------------------------------------------------------------- one group */

static bool
writer_fill_group(void *arg, struct store_txn *t)
{
	struct writer_group *g = arg;

	g->culprit = NULL;
	for (struct batch *b = g->first; b != NULL; b = b->next) {
		if (b->out)
			continue;
		err_clear(&b->err);
		b->refused = !batch_check(t, b);
		if (b->refused) {
			b->err = t->err;
			txn_pardon(t);
			continue;
		}
		if (!batch_put(t, b)) {
			g->culprit = b;
			return false;
		}
	}
	return true;
}

static void
writer_commit_group(struct store *s, struct writer_group *g)
{
	enum err_code code;

	if (s->writer.coder == NULL)
		s->writer.coder = blob_coder_new();
	for (;;) {
		err_clear(&g->trouble);
		code = writer_commit(s, writer_fill_group, g, &g->trouble);
		if (code == ERR_OK || g->culprit == NULL)
			break;
		g->culprit->err = g->trouble;
		g->culprit->out = true;
	}
	for (struct batch *b = g->first; b != NULL; b = b->next)
		if (code != ERR_OK && !b->out && !b->refused)
			b->err = g->trouble;
}

static void
writer_on_answer(void *arg)
{
	struct writer_group *g = arg;
	struct batch        *b, *next;

	memcpy(g->s->trouble, g->trouble.msg, sizeof(g->s->trouble));
	if (g->trouble.code != ERR_OK)
		log_event(LOG_ERROR, "store", "a commit failed", { "reason", log_str(g->trouble.msg) });
	for (b = g->first; b != NULL; b = next) {
		next = b->next;
		b->op->res = b->err;
		op_wake(b->op);
	}
	free(g);
}

static void
writer_run_group(struct store *s, struct batch *first)
{
	struct writer_group *g = xcalloc(1, sizeof(*g));
	uint64_t             n = 0;

	g->s = s;
	g->first = first;
	if (first->big && stage_bodies(s, first, &first->err) != ERR_OK)
		first->out = true;
	writer_commit_group(s, g);
	if (first->big)
		stage_discard(s, first);
	for (struct batch *b = first; b != NULL; b = b->next)
		n++;
	pthread_mutex_lock(&s->writer.lock);
	s->writer.batches += n;
	s->writer.last_group = n;
	s->writer.commits += g->trouble.code == ERR_OK;
	pthread_mutex_unlock(&s->writer.lock);
	if (s->inline_commit)
		writer_on_answer(g);
	else
		loop_post(s->loop, &g->post, writer_on_answer, g);
}

/* ---------------------------------------------------------------- the queue */

/* The next group, in the order of arrival; one that has large bodies is a group of its own. With the lock held. */
static struct batch *
writer_take(struct writer *w, bool small_only)
{
	struct batch *first = w->head, *b = first;
	uint64_t      bytes, n = 1;

	if (first == NULL || (small_only && first->big))
		return NULL;
	for (bytes = b->bytes; !first->big && b->next != NULL && !b->next->big && n < WRITER_GROUP_MAX; n++) {
		bytes += b->next->bytes;
		if (bytes > WRITER_GROUP_BYTES)
			break;
		b = b->next;
	}
	w->head = b->next;
	if (w->head == NULL)
		w->tail = NULL;
	b->next = NULL;
	return first;
}

void
writer_overtake(struct store *s)
{
	struct batch *first;

	pthread_mutex_lock(&s->writer.lock);
	first = writer_take(&s->writer, true);
	pthread_mutex_unlock(&s->writer.lock);
	if (first != NULL)
		writer_run_group(s, first);
}

static void
writer_until(long ms, struct timespec *ret)
{
	clock_gettime(CLOCK_MONOTONIC, ret);
	ret->tv_nsec += ms % 1000 * 1000000;
	ret->tv_sec += ms / 1000 + ret->tv_nsec / 1000000000;
	ret->tv_nsec %= 1000000000;
}

/* Waits for work; when none comes for a while, the compressor's memory goes. */
static void
writer_wait(struct writer *w)
{
	struct timespec until;

	if (w->coder == NULL) {
		pthread_cond_wait(&w->work, &w->lock);
		return;
	}
	writer_until(WRITER_IDLE_MS, &until);
	if (pthread_cond_timedwait(&w->work, &w->lock, &until) == 0)
		return;
	blob_coder_free(w->coder);
	w->coder = NULL;
}

/* Only where the last group was more than one: then others are on their way. Nobody wakes the thread meanwhile but a stop. */
static void
writer_gather(struct writer *w)
{
	struct timespec until;

	if (w->last_group < 2 || w->head == NULL)
		return;
	writer_until(WRITER_GATHER_MS, &until);
	w->gathers = true;
	while (!w->stop && pthread_cond_timedwait(&w->work, &w->lock, &until) == 0)
		;
	w->gathers = false;
}

static void *
writer_main(void *arg)
{
	struct store  *s = arg;
	struct writer *w = &s->writer;
	struct batch  *first;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (w->head == NULL && !w->stop)
			writer_wait(w);
		writer_gather(w);
		if ((first = writer_take(w, false)) == NULL)
			break;
		pthread_mutex_unlock(&w->lock);
		writer_run_group(s, first);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Inline: one group in a turn. */
static void
writer_turn(void *arg)
{
	struct store *s = arg;
	struct batch *first;

	pthread_mutex_lock(&s->writer.lock);
	first = writer_take(&s->writer, false);
	pthread_mutex_unlock(&s->writer.lock);
	if (first == NULL)
		return;
	writer_run_group(s, first);
	loop_defer(s->loop, &s->writer.turn, writer_turn, s);
}

void
writer_submit(struct store *s, struct batch *b)
{
	struct writer *w = &s->writer;

	pthread_mutex_lock(&w->lock);
	assert(!w->stop);
	if (w->tail == NULL)
		w->head = b;
	else
		w->tail->next = b;
	w->tail = b;
	if (!w->gathers)
		pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	if (s->inline_commit)
		loop_defer(s->loop, &w->turn, writer_turn, s);
}

enum err_code
writer_start(struct store *s, struct err *reterr)
{
	struct writer *w = &s->writer;
	sigset_t       all, old;
	int            rc;

	if (s->inline_commit)
		return ERR_OK;
	w->running = true; /* before the thread looks */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the loop's */
	rc = pthread_create(&w->thread, NULL, writer_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		return ERR_OK;
	w->running = false;
	return err_errno(reterr, rc, "store: no thread");
}

void
writer_stop(struct store *s)
{
	struct writer *w = &s->writer;

	pthread_mutex_lock(&w->lock);
	assert(w->head == NULL);
	w->stop = true;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	if (w->running)
		pthread_join(w->thread, NULL);
	w->running = false;
	loop_undefer(s->loop, &w->turn);
	blob_coder_free(w->coder);
	w->coder = NULL;
}

/* ---------------------------------------------------------------- the operation */

enum apply_state { APPLY_START, APPLY_QUEUED, APPLY_STATES };
static const char *const apply_states[APPLY_STATES] = { "start", "queued" };

struct apply {
	struct op     op;
	struct batch *batch;
};

static enum op_turn
apply_step(struct op *op)
{
	struct apply *a = container_of(op, struct apply, op);

	switch ((enum apply_state)op->state) {
	case APPLY_START:
		a->batch->op = op;
		a->batch->now = loop_wall(op->loop);
		op_shield(op); /* it will be committed whatever happens to the caller */
		op->state = APPLY_QUEUED;
		writer_submit(a->batch->s, a->batch);
		return OP_WAIT;
	case APPLY_QUEUED:
		return op_finish(op);
	case APPLY_STATES:
		break;
	}
	return OP_DONE;
}

static void
apply_free(struct op *op)
{
	struct apply *a = container_of(op, struct apply, op);

	batch_free(a->batch);
	free(a);
}

static const struct op_class apply_class = {
	.name = "store",
	.step = apply_step,
	.free = apply_free,
	.states = apply_states,
	.nstates = APPLY_STATES,
};

struct op *
store_apply(struct store *s, struct batch *owned)
{
	struct apply *a = xcalloc(1, sizeof(*a));

	op_init(&a->op, &apply_class, s->loop);
	a->batch = owned;
	return &a->op;
}
