/* SPDX-License-Identifier: MIT */
#include "net/http_spool.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

struct http_spool {
	struct work *work;
	char        *dir;
	void       (*moved)(void *arg);
	void        *arg;
	struct op   *job;
	struct buf   filling, writing; /* writing is the job's while it runs */
	int          fd;
	uint64_t     size;             /* written */
	bool         ended, cancelled;
	struct err   err;
};

struct http_spool *
http_spool_new(struct work *w, const char *dir, void (*moved)(void *arg), void *arg)
{
	struct http_spool *s = xcalloc(1, sizeof(*s));

	s->work = w;
	s->dir = xstrdup(dir);
	s->moved = moved;
	s->arg = arg;
	s->fd = -1;
	buf_init(&s->filling, SIZE_MAX - 1);
	buf_init(&s->writing, SIZE_MAX - 1);
	return s;
}

void
http_spool_free(struct http_spool *s)
{
	if (s == NULL)
		return;
	assert(s->job == NULL);
	if (s->fd >= 0)
		close(s->fd);
	buf_wipe_free(&s->filling);
	buf_wipe_free(&s->writing);
	free(s->dir);
	free(s);
}

/* --- on the work pool --- */

static enum err_code
http_spool_write(struct work_job *job, void *arg, struct err *reterr)
{
	struct http_spool *s = arg;
	struct span        bytes = buf_span(&s->writing);
	size_t             n;

	if (s->fd < 0 && (s->fd = body_file(s->dir, reterr)) < 0)
		return ERR_IO;
	for (; bytes.n > 0; bytes = span_of(bytes.p + n, bytes.n - n)) {
		n = bytes.n < HTTP_SPOOL_PIECE ? bytes.n : HTTP_SPOOL_PIECE;
		if (work_cancelled(job))
			return err_set(reterr, ERR_CANCELLED, 0, "cancelled");
		if (body_file_add(s->fd, &s->size, span_of(bytes.p, n), reterr) != ERR_OK)
			return reterr->code;
	}
	if (s->writing.cap > 2 * HTTP_SPOOL_PIECE)
		/* what lay in memory before: not kept for the next pieces, and slow to wipe */
		buf_wipe_free(&s->writing);
	return ERR_OK;
}

/* --- on the loop --- */

static void http_spool_next(struct http_spool *s);

static void
http_spool_done(struct op *op, void *arg)
{
	struct http_spool *s = arg;

	s->job = NULL;
	if (op->err.code != ERR_OK && s->err.code == ERR_OK)
		s->err = op->err;
	op_free(op);
	buf_reset(&s->writing);
	http_spool_next(s);
	s->moved(s->arg);
}

static void
http_spool_next(struct http_spool *s)
{
	struct buf full = s->filling;

	if (s->job != NULL || s->err.code != ERR_OK || s->cancelled || full.len == 0)
		return;
	if (full.len < HTTP_SPOOL_PIECE / 2 && !s->ended)
		return;
	s->filling = s->writing;
	s->writing = full;
	s->job = work_run(s->work, http_spool_write, s);
	op_start(s->job, http_spool_done, s);
}

void
http_spool_begin(struct http_spool *s, struct buf *owned)
{
	assert(s->job == NULL && s->size == 0 && s->filling.len == 0);
	buf_free(&s->filling);
	s->filling = *owned;
	s->filling.max = SIZE_MAX - 1;
	buf_init(owned, owned->max);
	http_spool_next(s);
}

bool
http_spool_add(struct http_spool *s, const void *p, size_t n)
{
	assert(n <= HTTP_SPOOL_PIECE && !s->ended);
	if (s->job != NULL && s->filling.len + n > HTTP_SPOOL_PIECE)
		return false;
	buf_put(&s->filling, p, n);
	http_spool_next(s);
	return true;
}

void
http_spool_end(struct http_spool *s)
{
	s->ended = true;
	http_spool_next(s);
}

void
http_spool_cancel(struct http_spool *s)
{
	s->cancelled = true;
	op_cancel(s->job);
}

bool
http_spool_busy(const struct http_spool *s)
{
	return s->job != NULL;
}

enum err_code
http_spool_error(const struct http_spool *s, struct err *reterr)
{
	if (s->err.code != ERR_OK && reterr != NULL)
		*reterr = s->err;
	return s->err.code;
}

struct body *
http_spool_take(struct http_spool *s)
{
	struct body *b;

	assert(s->ended && s->job == NULL && s->err.code == ERR_OK && s->filling.len == 0 && s->fd >= 0);
	b = body_from_fd(s->fd, s->size);
	s->fd = -1;
	return b;
}
