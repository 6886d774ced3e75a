/* SPDX-License-Identifier: MIT */
#include "send.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/url.h"

#define SEND_BYTES_PER_MS 1000 /* what a transfer has to reach beside the timeout of a request */

/* ---------------------------------------------------------------- requests and answers */

static void
send_headers_free(const struct http_header *headers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mem_free_secret(headers[i].value);
}

void
send_request_free(struct send_request *r)
{
	send_headers_free(r->headers, r->nheaders);
	free(r->object);
	mem_free_secret(r->path);
	mem_free_secret(r->query); /* a session's, where an upload goes in pieces */
	body_unref(r->body);
	memset(r, 0, sizeof(*r));
}

void
send_answer_free(struct send_answer *a)
{
	http_response_free(&a->http);
	memset(a, 0, sizeof(*a));
}

void
send_header(struct send_request *r, const char *name, const char *fmt, ...)
{
	char   *text = NULL;
	va_list ap;

	assert(r->nheaders < SEND_HEADERS);
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		mem_exhausted(0);
	va_end(ap);
	r->headers[r->nheaders++] = (struct http_header){ name, text };
}

void
send_query(struct send_request *r, const char *name, const char *value)
{
	struct buf query;

	buf_init(&query, 0);
	if (r->query != NULL)
		buf_puts(&query, r->query);
	url_query_add(&query, name, value);
	free(r->query);
	r->query = buf_take(&query);
}

/* ---------------------------------------------------------------- one attempt */

static void
send_stalled(void *arg)
{
	struct send *x = arg;

	x->stalled = true;
	op_cancel(x->op.child);
}

/* In front of the caller's own: every piece is a sign of life. */
static enum err_code
send_piece(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct send *x = arg;

	timer_set(&x->stall, x->timeout_ms);
	return x->r->on_body(x->r->arg, p, n, reterr);
}

static int64_t
send_timeout_ms(const struct send *x, const struct send_request *r)
{
	uint64_t most = r->body != NULL ? body_size(r->body) : 0;

	if (r->on_body != NULL && r->max_body > most)
		most = r->max_body;
	return x->timeout_ms + (int64_t)(most / SEND_BYTES_PER_MS);
}

struct op *
send_attempt(struct send *x, const struct send_request *r, struct http_request *h, struct send_answer *ret)
{
	struct http_header        headers[SEND_OWN_HEADERS + SEND_HEADERS];
	const struct http_header *own = h->headers;
	size_t                    nown = h->nheaders, n = 0;
	struct op                *op;

	assert(nown <= SEND_OWN_HEADERS);
	for (size_t i = 0; i < nown; i++)
		headers[n++] = own[i];
	for (size_t i = 0; i < r->nheaders; i++)
		headers[n++] = r->headers[i];
	h->headers = headers;
	h->nheaders = n;
	h->method = r->method;
	h->body = r->body;
	h->changing = r->changing;
	h->max_body = r->max_body;
	h->max_body_name = r->max_body_name;
	h->keep = r->keep;
	h->spool = r->spool;
	h->timeout_ms = send_timeout_ms(x, r);
	if (r->on_body != NULL) {
		h->on_body = send_piece;
		h->on_body_arg = x;
		timer_set(&x->stall, x->timeout_ms);
	}
	if (r->restart != NULL)
		r->restart(r->arg);
	send_answer_free(ret);
	op = http_request(x->env->http, h, &ret->http);
	if (x->b != NULL)
		provider_sent(x->b);
	send_headers_free(own, nown);
	return op;
}

/* ---------------------------------------------------------------- again, or over */

enum send_state { SEND_START, SEND_READY, SEND_ANSWERED, SEND_ASKED };

const char *const send_states[SEND_STATES] = { "start", "credentials", "answered", "asked" };

/* Within the time that one request has, and the attempts; wait: before the next one. */
static bool
send_may_repeat(struct send *x, int64_t *ret_wait)
{
	int64_t left = x->begun + x->timeout_ms - loop_now(x->op.loop);
	int64_t asked = op_failed(&x->op) ? 0 : x->ret->http.retry_after_ms;

	*ret_wait = rand_backoff_ms(loop_rand(x->op.loop), x->tries > 0 ? (unsigned)x->tries - 1 : 0, x->driver->pause_ms,
	    PROVIDER_BACKOFF_MAX_MS);
	if (asked > *ret_wait)
		*ret_wait = asked;
	return !op_stopped(&x->op) && x->tries < x->most && *ret_wait <= left;
}

static enum op_turn
send_repeat(struct send *x, int64_t wait)
{
	return op_await(&x->op, SEND_START, op_sleep(x->op.loop, wait));
}

/* There is an answer, and it says that the server cannot; refused: nothing was done. */
static enum op_turn
send_busy(struct send *x, bool refused)
{
	const struct send_answer *a = x->ret;
	bool                      unsure = x->r->changing && !refused;
	int64_t                   wait;

	if (!unsure && send_may_repeat(x, &wait))
		return send_repeat(x, wait);
	err_set(&x->op.res, unsure ? ERR_UNCERTAIN : ERR_BUSY, a->http.status, "%s: the server answers %d%s%s%s", x->where,
	    a->http.status, SEND_CODE(a), unsure ? "; the write may have been carried out" : "");
	x->op.res.retry_after_ms = a->http.retry_after_ms;
	return op_fail(&x->op);
}

static enum op_turn
send_unanswered(struct send *x)
{
	struct err *e = &x->op.res;
	int64_t     wait;

	if (x->stalled && e->code == ERR_CANCELLED && !x->op.cancelled)
		err_set(e, ERR_TIMEOUT, 0, "no more of the answer within %lld ms", (long long)x->timeout_ms);
	if ((e->code == ERR_NETWORK || e->code == ERR_TIMEOUT) && (!x->r->changing || x->driver->elsewhere) && send_may_repeat(x, &wait))
		return send_repeat(x, wait);
	if (e->code != ERR_CANCELLED)
		err_prefix(e, "%s", x->where);
	return op_fail(&x->op);
}

static enum op_turn
send_judged(struct send *x, enum send_verdict verdict)
{
	struct op *op = &x->op;

	switch (verdict) {
	case SEND_AGAIN:
		return op_go(op, SEND_START);
	case SEND_RENEW:
		if (x->renewed || !x->driver->renew(x))
			return op_ok(op);
		x->renewed = true;
		return op_go(op, SEND_START);
	case SEND_LATER:
		return send_busy(x, true);
	case SEND_DOWN:
		return send_busy(x, false);
	case SEND_ASK:
		if (x->asked)
			return op_ok(op);
		x->asked = true;
		return op_await(op, SEND_ASKED, x->driver->attempt(x, &x->side, &x->told));
	case SEND_DONE:
		return op_ok(op);
	}
	return OP_DONE;
}

enum op_turn
send_step(struct op *op)
{
	struct send *x = container_of(op, struct send, op);

	switch ((enum send_state)op->state) {
	case SEND_START:
		if (op_failed(op)) /* cancelled in a pause between two attempts */
			return op_fail(op);
		if (x->tries == 0)
			x->begun = loop_now(op->loop);
		return op_await(op, SEND_READY, x->driver->ready != NULL ? x->driver->ready(x) : NULL);
	case SEND_READY:
		if (op_failed(op))
			return op_fail(op);
		x->tries++;
		x->stalled = false;
		return op_await(op, SEND_ANSWERED, x->driver->attempt(x, x->r, x->ret));
	case SEND_ANSWERED:
		timer_stop(&x->stall);
		if (x->b != NULL)
			provider_heard(x->b, x->ret->http.date_ms);
		return op_failed(op) ? send_unanswered(x) : send_judged(x, x->driver->judge(x));
	case SEND_ASKED: /* without an answer to that, the first one stays as it is */
		return op_failed(op) ? op_ok(op) : send_judged(x, x->driver->told(x));
	}
	return OP_DONE;
}

void
send_free(struct op *op)
{
	struct send *x = container_of(op, struct send, op);

	timer_stop(&x->stall);
	send_request_free(&x->side);
	send_answer_free(&x->told);
	free(x->where);
	free(x);
}

struct op *
send_init(struct send *x, const struct op_class *class, struct send_request *r, struct send_answer *ret)
{
	if (x->b != NULL) {
		x->env = x->b->env;
		x->timeout_ms = x->b->common.timeout_ms;
	}
	op_init(&x->op, class, x->env->loop);
	timer_init(&x->stall, x->op.loop, send_stalled, x);
	x->r = r;
	x->ret = ret;
	return &x->op;
}
