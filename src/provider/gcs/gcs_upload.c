/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "gcs.h"

/*
 * A large object in pieces, each of which may be lost: first a session is asked for, with the condition and the sum of the whole; what
 * Google has got is asked after every doubt, and the upload goes on from there. Other servers may take that question for the end of the
 * upload and keep a part of the object: there it begins again in another session. Before its last piece nothing is there, so only that one
 * leaves the outcome unknown.
 */
#define GCS_PIECE        ((uint64_t)4 << 20) /* a multiple of 256 KiB, as Google wants it */
#define GCS_UPLOAD_TRIES 5                   /* doubts without progress */
#define GCS_UPLOAD_PAUSE 250

struct gcs_uploading {
	struct op            op;
	struct gcs          *g;
	struct send_request *first;     /* the caller's */
	struct send_answer  *ret;
	struct send_request  req;
	struct body         *body;
	struct buf           piece;
	char                *path, *query; /* of the session, which whoever knows it may write */
	uint64_t             off, n;    /* what the server has, and the piece behind it */
	uint64_t             most;      /* that it ever had, in any session: what comes again after a beginning is no progress */
	unsigned             doubts;
	bool                 last_sent; /* the object may be there, or come to be: a lost piece can arrive after what was asked since */
	bool                 last_lost; /* that piece, once, had no answer: a refusal of another try says nothing of it */
};

enum gcs_uploading_state { UPLOAD_START, UPLOAD_BEGUN, UPLOAD_READ, UPLOAD_SENT, UPLOAD_ASK, UPLOAD_ASKED };

static const char *const gcs_uploading_states[] = { "start", "begun", "piece read", "piece sent", "ask", "asked" };

static void
gcs_uploading_free(struct op *op)
{
	struct gcs_uploading *u = container_of(op, struct gcs_uploading, op);

	send_request_free(&u->req);
	body_unref(u->body);
	buf_wipe_free(&u->piece);
	mem_free_secret(u->path);
	mem_free_secret(u->query);
	free(u);
}

/* ---------------------------------------------------------------- the session */

/* At our own base, whatever host the answer names: there may be a proxy in front, and our token goes nowhere else. */
static bool
gcs_session(struct gcs_uploading *u)
{
	const char *location = http_header_get(&u->ret->http, "location");
	struct url  at = { .scheme = NULL }, base = { .scheme = NULL };
	bool        ok = location != NULL && url_parse(location, &at, NULL) == ERR_OK && url_parse(u->g->base, &base, NULL) == ERR_OK;
	size_t      n;

	if (ok) {
		n = strlen(base.path);
		u->path = xstrdup(at.path + (strncmp(at.path, base.path, n) == 0 ? n : 1));
		u->query = xstrdup(at.query);
	}
	url_free(&at);
	url_free(&base);
	return ok;
}

static enum op_turn
gcs_upload_odd(struct gcs_uploading *u, const char *what)
{
	err_set(&u->op.res, u->last_sent ? ERR_UNCERTAIN : ERR_UNSUPPORTED, u->ret->http.status, "bucket %s: an upload in pieces: %s",
	    u->g->conf->bucket, what);
	err_hint(&u->op.res, GCS_OTHER_HINT);
	return op_fail(&u->op);
}

/* ---------------------------------------------------------------- pieces */

static enum err_code
gcs_piece_read(struct work_job *job, void *arg, struct err *reterr)
{
	struct gcs_uploading *u = arg;
	size_t                n;

	(void)job;
	buf_reset(&u->piece);
	buf_reserve(&u->piece, (size_t)u->n, NULL);
	while (u->piece.len < u->n) {
		if (body_read(u->body, u->off + u->piece.len, u->piece.data + u->piece.len, (size_t)u->n - u->piece.len, &n, reterr) != ERR_OK)
			return reterr->code;
		if (n == 0)
			return err_set(reterr, ERR_IO, 0, "the body is shorter than it was");
		u->piece.len += n;
	}
	return ERR_OK;
}

static enum op_turn
gcs_upload_next(struct gcs_uploading *u)
{
	uint64_t left = body_size(u->body) - u->off;

	u->n = left < GCS_PIECE ? left : GCS_PIECE;
	return op_await(&u->op, UPLOAD_READ, work_by_size(u->g->env->work, u->n, gcs_piece_read, u));
}

static struct op *
gcs_upload_send(struct gcs_uploading *u, struct body *owned)
{
	struct send_request *r = &u->req;

	send_request_free(r);
	r->method = "PUT";
	r->object = xstrdup(u->first->object);
	r->path = xstrdup(u->path);
	r->query = xstrdup(u->query);
	r->body = owned;
	r->changing = owned != NULL;
	if (owned != NULL)
		send_header(r, "content-range", "bytes %llu-%llu/%llu", (unsigned long long)u->off, (unsigned long long)(u->off + u->n - 1),
		    (unsigned long long)body_size(u->body));
	else
		send_header(r, "content-range", "bytes */%llu", (unsigned long long)body_size(u->body));
	return gcs_send(u->g, r, u->ret);
}

static struct op *
gcs_upload_piece(struct gcs_uploading *u)
{
	u->last_sent |= u->off + u->n == body_size(u->body);
	return gcs_upload_send(u, body_new(&u->piece));
}

/* "bytes=0-4194303": how much of it has arrived; without it nothing. */
static uint64_t
gcs_upload_got(const struct send_answer *a)
{
	const char *range = http_header_get(&a->http, "range"), *dash = range != NULL ? strchr(range, '-') : NULL;

	return dash != NULL ? strtoull(dash + 1, NULL, 10) + 1 : 0;
}

/* Of a piece, or what was asked after a doubt. */
static enum op_turn
gcs_upload_judge(struct gcs_uploading *u)
{
	struct op *op = &u->op;
	uint64_t   got;

	if (u->ret->http.status == 404 || u->ret->http.status == 410) {
		err_set(&op->res, u->last_sent ? ERR_UNCERTAIN : ERR_BUSY, u->ret->http.status, "bucket %s: an upload in pieces: its session is over",
		    u->g->conf->bucket);
		return op_fail(op);
	}
	if (u->ret->http.status != 308 && u->ret->http.status / 100 != 2 && u->last_lost)
		return gcs_upload_odd(u, "its last piece had no answer, and another try is refused");
	if (u->ret->http.status != 308)
		return op_ok(op);
	got = gcs_upload_got(u->ret);
	if (got > body_size(u->body) || got > u->off + u->n)
		return gcs_upload_odd(u, "the server has more than was sent");
	if (got > u->most) {
		u->most = got;
		u->doubts = 0;
	} else if (got <= u->off && ++u->doubts == GCS_UPLOAD_TRIES) {
		err_set(&op->res, u->last_sent ? ERR_UNCERTAIN : ERR_BUSY, 308, "bucket %s: an upload in pieces makes no progress", u->g->conf->bucket);
		return op_fail(op);
	}
	u->off = got;
	return gcs_upload_next(u);
}

/* Whatever it was, it says nothing of a last piece that was sent before. */
static enum op_turn
gcs_upload_failed(struct gcs_uploading *u)
{
	if (u->last_sent)
		u->op.res.code = ERR_UNCERTAIN;
	return op_fail(&u->op);
}

/* No answer to a piece. Stopped before the last one it did not happen. */
static enum op_turn
gcs_upload_doubt(struct gcs_uploading *u)
{
	struct op *op = &u->op;

	u->last_lost |= u->last_sent && op->res.code == ERR_UNCERTAIN;
	if (op->res.code == ERR_CANCELLED || op_stopped(op)) {
		if (u->last_sent && op->res.code != ERR_CANCELLED)
			return op_fail(op);
		err_set(&op->res, u->last_sent ? ERR_UNCERTAIN : ERR_CANCELLED, 0, "cancelled");
		return op_fail(op);
	}
	if ((op->res.code != ERR_UNCERTAIN && op->res.code != ERR_NETWORK && op->res.code != ERR_TIMEOUT && op->res.code != ERR_BUSY) ||
	    ++u->doubts == GCS_UPLOAD_TRIES) {
		if (op->res.code == ERR_UNCERTAIN && !u->last_sent)
			op->res.code = ERR_BUSY;
		if (u->last_lost)
			op->res.code = ERR_UNCERTAIN;
		return op_fail(op);
	}
	if (!u->g->google && u->last_sent) {
		op->res.code = ERR_UNCERTAIN;
		return op_fail(op);
	}
	return op_await(op, UPLOAD_ASK, op_sleep(op->loop, provider_backoff_ms(&u->g->b, u->doubts, GCS_UPLOAD_PAUSE)));
}

static enum op_turn
gcs_upload_begun(struct gcs_uploading *u)
{
	if (u->ret->http.status != 200)
		return op_ok(&u->op); /* a refusal is the answer */
	if (!gcs_session(u))
		return gcs_upload_odd(u, "the server offers no session");
	return gcs_upload_next(u);
}

static enum op_turn
gcs_upload_anew(struct gcs_uploading *u)
{
	mem_free_secret(u->path);
	mem_free_secret(u->query);
	u->path = u->query = NULL;
	u->off = 0;
	return op_await(&u->op, UPLOAD_BEGUN, gcs_send(u->g, u->first, u->ret));
}

static enum op_turn
gcs_uploading_step(struct op *op)
{
	struct gcs_uploading *u = container_of(op, struct gcs_uploading, op);

	switch ((enum gcs_uploading_state)op->state) {
	case UPLOAD_START:
		return op_await(op, UPLOAD_BEGUN, gcs_send(u->g, u->first, u->ret));
	case UPLOAD_BEGUN:
		return op_failed(op) ? op_fail(op) : gcs_upload_begun(u);
	case UPLOAD_READ:
		return op_failed(op) ? gcs_upload_failed(u) : op_await(op, UPLOAD_SENT, gcs_upload_piece(u));
	case UPLOAD_SENT:
		return op_failed(op) ? gcs_upload_doubt(u) : gcs_upload_judge(u);
	case UPLOAD_ASK:
		if (op_failed(op))
			return gcs_upload_doubt(u);
		return u->g->google ? op_await(op, UPLOAD_ASKED, gcs_upload_send(u, NULL)) : gcs_upload_anew(u);
	case UPLOAD_ASKED:
		return op_failed(op) ? gcs_upload_failed(u) : gcs_upload_judge(u);
	}
	return OP_DONE;
}

static const struct op_class gcs_uploading_class = { "gcs upload", gcs_uploading_step, NULL, gcs_uploading_free, gcs_uploading_states,
	ARRAY_LEN(gcs_uploading_states) };

struct op *
gcs_upload(struct gcs *g, struct send_request *first, struct body *body, struct send_answer *ret)
{
	struct gcs_uploading *u = xcalloc(1, sizeof(*u));

	op_init(&u->op, &gcs_uploading_class, g->env->loop);
	u->g = g;
	u->first = first;
	u->body = body_ref(body);
	u->ret = ret;
	buf_init(&u->piece, (size_t)GCS_PIECE);
	return &u->op;
}
