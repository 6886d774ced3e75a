/* SPDX-License-Identifier: MIT */
#include "http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "net/url.h"
#include "provider/reader.h"

/*
 * One request of the protocol: the address with name and ID in it, the headers, the schedule of repetitions
 * (docs/protocol/http-state.md), and for reads the redirects, which are followed by hand and only on the same host.
 */
#define HB_REDIRECTS_MAX 5
#define HB_HEADERS_OWN   5 /* see hb_headers() */

struct hb_send {
	struct op          op;
	struct hb         *h;
	char              *method, *url, *name, *etag;
	struct body       *body;
	enum hb_again      again;
	bool               api;
	enum err_code    (*on_body)(void *arg, const void *p, size_t n, struct err *reterr);
	void             (*restart)(void *arg);
	void              *body_arg;
	struct hb_answer  *ret;
	struct http_header headers[HB_HEADERS_OWN + HB_HEADERS_MAX];
	size_t             nheaders;
	char               md5[HB_MD5_TEXT], told_md5[HB_MD5_TEXT];
	struct reader     *reader;     /* of a read under way */
	int64_t            begun, attempt;
	int                redirects;
};

enum hb_send_state { START, SUMMED, SEND, SENT, WAITED, VERIFIED };

static const char *const hb_send_states[] = { "start", "summed", "send", "sent", "waited", "verified" };

void
hb_answer_free(struct hb_answer *a)
{
	http_response_free(&a->res);
	snapshot_free(&a->now);
}

/* ---------------------------------------------------------------- MD5 */

struct hb_md5 {
	struct op    op;
	struct hb   *h;
	struct body *body;
	char        *ret, text[HB_MD5_TEXT];
};

#define HB_PIECE ((size_t)64 << 10)

static enum err_code
hb_md5_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct hb_md5 *m = arg;
	struct md5    *h = md5_new();
	uint8_t       *piece = xmalloc(HB_PIECE), sum[MD5_LEN];
	struct buf     text;
	uint64_t       off = 0;
	size_t         n = 0;
	enum err_code  rc;

	(void)job;
	while ((rc = body_read(m->body, off, piece, HB_PIECE, &n, reterr)) == ERR_OK && n > 0) {
		md5_add(h, piece, n);
		off += n;
	}
	md5_end(h, sum);
	buf_init(&text, HB_MD5_TEXT);
	base64_encode(span_of(sum, sizeof(sum)), &text);
	snprintf(m->text, sizeof(m->text), "%s", buf_str(&text));
	buf_free(&text);
	mem_wipe(piece, HB_PIECE);
	free(piece);
	return rc;
}

static enum op_turn
hb_md5_step(struct op *op)
{
	struct hb_md5 *m = container_of(op, struct hb_md5, op);

	if (op->state == 0)
		return op_await(op, 1, work_by_size(m->h->env->work, body_size(m->body), hb_md5_job, m));
	if (!op_failed(op))
		memcpy(m->ret, m->text, sizeof(m->text));
	return op_finish(op);
}

static void
hb_md5_free(struct op *op)
{
	struct hb_md5 *m = container_of(op, struct hb_md5, op);

	body_unref(m->body);
	free(m);
}

static const struct op_class hb_md5_class = { "http md5", hb_md5_step, NULL, hb_md5_free, NULL, 0 };

struct op *
hb_md5(struct hb *h, struct body *body, char *ret)
{
	struct hb_md5 *m = xcalloc(1, sizeof(*m));

	op_init(&m->op, &hb_md5_class, h->env->loop);
	m->h = h;
	m->body = body_ref(body);
	m->ret = ret;
	return &m->op;
}

/* ---------------------------------------------------------------- what is sent */

char *
hb_url(const char *address, const char *name, const char *id, bool front)
{
	static const char mark[] = "{name}";
	struct buf        url, query;
	const char       *at;

	buf_init(&url, 0);
	for (; (at = strstr(address, mark)) != NULL; address = at + sizeof(mark) - 1) {
		buf_put(&url, address, (size_t)(at - address));
		url_escape(URL_SEGMENT, span_str(name), &url);
	}
	buf_init(&query, 0);
	if (id != NULL)
		url_query_add(&query, "ID", id);
	at = strchr(address, '?');
	if (id != NULL && front && at != NULL) {
		buf_put(&url, address, (size_t)(at + 1 - address));
		buf_printf(&url, "%s&%s", buf_str(&query), at + 1);
		id = NULL;
	} else {
		buf_puts(&url, address);
	}
	if (id != NULL) {
		at = strchr(buf_str(&url), '?');
		if (at == NULL || at[1] != '\0')
			buf_putc(&url, at == NULL ? '?' : '&');
		buf_puts(&url, buf_str(&query));
	}
	buf_free(&query);
	return buf_take(&url);
}

static void
hb_header(struct hb_send *s, const char *name, const char *value)
{
	assert(s->nheaders < ARRAY_LEN(s->headers));
	s->headers[s->nheaders++] = (struct http_header){ name, xstrdup(value) };
}

static void
hb_headers(struct hb_send *s)
{
	const struct conf_map *more = &s->h->conf->headers;

	if (s->nheaders > 0) /* of the attempt before */
		return;
	if (s->api && s->h->api_token != NULL)
		hb_header(s, "PRIVATE-TOKEN", secret_str(s->h->api_token));
	else if (s->h->basic != NULL && (!s->api || s->h->api == NULL))
		hb_header(s, "Authorization", secret_str(s->h->basic));
	hb_header(s, "Accept-Encoding", "identity");
	if (s->body != NULL) {
		hb_header(s, "Content-Type", "application/json");
		hb_header(s, "Content-MD5", s->md5);
	}
	if (s->etag != NULL)
		hb_header(s, "If-None-Match", s->etag);
	for (size_t i = 0; i < more->n; i++)
		hb_header(s, more->keys[i], more->values[i]);
}

static enum err_code
hb_tap(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct hb_send *s = arg;

	(void)reterr;
	reader_feed(s->reader, p, n);
	return ERR_OK;
}

/* An upload may take as long as its size needs at 1 MB/s. */
static int64_t
hb_timeout(const struct hb_send *s)
{
	return s->h->b.common.timeout_ms + (s->body != NULL ? (int64_t)(body_size(s->body) / 1000) : 0);
}

/* Of a state each byte is scanned as it arrives. */
static bool
hb_is_state(const struct hb_send *s)
{
	return s->again == HB_READ && !s->api;
}

static struct op *
hb_exchange(struct hb_send *s)
{
	bool                read = hb_is_state(s);
	struct http_request r = { .method = s->method, .url = s->url, .body = s->body, .changing = s->again != HB_READ,
		.timeout_ms = hb_timeout(s), .tls = &s->h->tls, .unix_socket = s->h->conf->unix_socket, .on_body = s->on_body,
		.on_body_arg = s->body_arg };

	hb_headers(s);
	hb_answer_free(s->ret);
	reader_free(s->reader);
	s->reader = read ? reader_new() : NULL;
	r.headers = s->headers;
	r.nheaders = s->nheaders;
	if (s->restart != NULL)
		s->restart(s->body_arg);
	if (read) {
		r.on_body = hb_tap;
		r.on_body_arg = s;
		r.keep = r.spool = true;
		r.max_body = s->h->b.common.max_state_size;
		r.max_body_name = "max_state_size";
	}
	provider_sent(&s->h->b);
	return http_request(s->h->env->http, &r, &s->ret->res);
}

/* ---------------------------------------------------------------- again, elsewhere, or over */

bool
hb_may_be_done(int status)
{
	return (status >= 500 && status != 501) || status == 408 || status == 499;
}

static bool
hb_is_down(int status)
{
	return status == 429 || hb_may_be_done(status);
}

/* "Not now, come back then": nothing was done. */
static bool
hb_is_throttled(const struct http_response *r)
{
	return r->status == 429 || (r->status == 503 && r->retry_after_ms > 0);
}

/* Before the next attempt: min * 2^n up to max, or what the server asks for (not on 500). -1: no more attempts. */
static int64_t
hb_wait(const struct hb_send *s)
{
	const struct hb_conf *hc = s->h->conf;
	const struct op      *op = &s->op;
	int64_t               ms = hc->retry_wait_min_ms;
	int                   status = op_failed(op) ? 0 : s->ret->res.status;

	if (op_stopped(op) || s->attempt >= hc->retry_max)
		return -1;
	if (s->again == HB_ONCE && (op_failed(op) || !hb_is_throttled(&s->ret->res)))
		return -1;
	if (op_failed(op) ? op->res.code != ERR_NETWORK && op->res.code != ERR_TIMEOUT && op->res.code != ERR_UNCERTAIN :
	    !hb_is_down(status))
		return -1;
	for (int64_t i = 0; i < s->attempt && ms < hc->retry_wait_max_ms; i++)
		ms *= 2;
	if (ms > hc->retry_wait_max_ms)
		ms = hc->retry_wait_max_ms;
	if ((status == 429 || status == 503) && s->ret->res.retry_after_ms > 0)
		ms = s->ret->res.retry_after_ms;
	return loop_now(op->loop) - s->begun + ms < s->h->b.common.timeout_ms ? ms : -1;
}

/* The address of a redirect, when it stays on this host and does not leave TLS; NULL: refused. */
static char *
hb_location(const struct hb_send *s, const char *to)
{
	struct url from, target;
	struct buf out;
	char      *whole, *slash, *ret = NULL;
	bool       near;

	slash = strchr(strstr(s->url, "://") + 3, '/');
	if (to[0] == '/' && to[1] != '/')
		whole = xasprintf("%.*s%s", slash != NULL ? (int)(slash - s->url) : (int)strcspn(s->url, "?"), s->url, to);
	else
		whole = xstrdup(to);
	if (url_parse(s->url, &from, NULL) == ERR_OK) {
		if (url_parse(whole, &target, NULL) == ERR_OK) {
			near = url_same_origin(&from, &target) || (strcmp(from.host, target.host) == 0 &&
			    strcmp(target.scheme, "https") == 0 && from.port == 0 && target.port == 0);
			buf_init(&out, 0);
			url_print(&target, &out);
			ret = near && target.user == NULL ? buf_take(&out) : NULL;
			buf_free(&out);
			url_free(&target);
		}
		url_free(&from);
	}
	free(whole);
	return ret;
}

static bool
hb_is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool
hb_redirected(struct hb_send *s)
{
	const char *to = http_header_get(&s->ret->res, "location");
	char       *url;

	if (s->again != HB_READ || op_failed(&s->op) || op_stopped(&s->op) || !hb_is_redirect(s->ret->res.status) || to == NULL ||
	    s->redirects == HB_REDIRECTS_MAX)
		return false;
	url = hb_location(s, to);
	if (url == NULL)
		return false;
	free(s->url);
	s->url = url;
	s->redirects++;
	return true;
}

/* A 200 of a read becomes a snapshot; a server that promises a digest is held to it. */
static enum op_turn
hb_received(struct hb_send *s)
{
	struct http_response *r = &s->ret->res;
	const char           *coding = http_header_get(r, "content-encoding");
	const char           *etag = http_header_get(r, "etag"), *md5 = http_header_get(r, "content-md5");

	if (coding != NULL && strcmp(coding, "identity") != 0)
		err_set(&s->op.res, ERR_UNSUPPORTED, 0, "%s: the server packs its answer though identity was asked for", s->name);
	if (op_failed(&s->op) || r->status != 200 || r->body_size == 0)
		return op_finish(&s->op);
	assert(r->body != NULL && reader_size(s->reader) == r->body_size);
	s->ret->now.body = body_ref(r->body);
	reader_end(s->reader, &s->ret->now);
	s->reader = NULL;
	if (etag != NULL && etag[0] == '"' && strlen(etag) < ETAG_MAX) /* a weak tag does not promise the same bytes */
		snprintf(s->ret->now.etag, ETAG_MAX, "%s", etag);
	if (md5 != NULL && strlen(md5) == 24)
		return op_await(&s->op, VERIFIED, hb_md5(s->h, r->body, s->told_md5));
	return op_finish(&s->op);
}

static enum op_turn
hb_over(struct hb_send *s)
{
	struct op *op = &s->op;

	if (op_failed(op) && s->ret->doubt && op->res.code != ERR_UNCERTAIN)
		err_set(&op->res, ERR_UNCERTAIN, op->res.detail, "%s: an earlier request may have been carried out", s->name);
	if (hb_is_state(s) && !op_failed(op))
		return hb_received(s);
	return op_finish(op);
}

static enum op_turn
hb_send_step(struct op *op)
{
	struct hb_send *s = container_of(op, struct hb_send, op);
	int64_t         wait;

	switch ((enum hb_send_state)op->state) {
	case START:
		s->begun = loop_now(op->loop);
		return op_await(op, SUMMED, s->body != NULL ? hb_md5(s->h, s->body, s->md5) : NULL);
	case SUMMED:
	case SEND:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, SENT, hb_exchange(s));
	case SENT:
		provider_heard(&s->h->b, s->ret->res.date_ms);
		wait = hb_wait(s);
		if (s->again != HB_READ)
			s->ret->doubt |= op_failed(op) ? op->res.code == ERR_UNCERTAIN : hb_may_be_done(s->ret->res.status);
		if (hb_redirected(s))
			return op_go(op, SEND);
		if (wait < 0)
			return hb_over(s);
		s->attempt++;
		return op_await(op, WAITED, op_sleep(op->loop, wait));
	case WAITED:
		if (op_failed(op))
			return hb_over(s);
		return op_go(op, SEND);
	case VERIFIED:
		if (!op_failed(op) && strcmp(s->told_md5, http_header_get(&s->ret->res, "content-md5")) != 0)
			err_set(&op->res, ERR_CORRUPT, 0, "%s: the bytes do not fit the Content-MD5 that the server sent", s->name);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
hb_send_free(struct op *op)
{
	struct hb_send *s = container_of(op, struct hb_send, op);

	for (size_t i = 0; i < s->nheaders; i++)
		mem_free_secret(s->headers[i].value);
	reader_free(s->reader);
	body_unref(s->body);
	free(s->method);
	free(s->url);
	free(s->name);
	free(s->etag);
	free(s);
}

static const struct op_class hb_send_class = { "http request", hb_send_step, NULL, hb_send_free, hb_send_states,
	ARRAY_LEN(hb_send_states) };

struct op *
hb_send(struct hb *h, const struct hb_request *r, struct hb_answer *ret)
{
	struct hb_send *s = xcalloc(1, sizeof(*s));

	op_init(&s->op, &hb_send_class, h->env->loop);
	s->h = h;
	s->method = xstrdup(r->method);
	s->url = hb_url(r->address, r->name, r->id, h->dialect->id_front);
	s->name = xstrdup(r->name);
	s->etag = r->unless_etag != NULL ? xstrdup(r->unless_etag) : NULL;
	s->body = r->body != NULL ? body_ref(r->body) : NULL;
	s->again = r->again;
	s->api = r->api;
	s->on_body = r->on_body;
	s->restart = r->restart;
	s->body_arg = r->arg;
	s->ret = ret;
	return &s->op;
}
