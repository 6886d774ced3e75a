/* SPDX-License-Identifier: MIT */
#include "scripted_http.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http_impl.h"
#include "test.h"

#define SCRIPTED_FAIL_MAX 64

struct expectation {
	char                  *method, *url;
	struct scripted_answer answer;
	struct expectation    *next;
};

struct scripted_http {
	struct http_client     client;
	struct expectation    *expected, *last;
	scripted_handler      *handler;
	void                  *handler_arg;
	struct { unsigned number; enum scripted_fault fault; } fail[SCRIPTED_FAIL_MAX];
	size_t                 nfail;
	unsigned               per_mille, mask;
	enum scripted_fault  (*decide)(void *arg, const struct scripted_request *rq);
	void                  *decide_arg;
	struct rand            chaos, latency;
	int64_t                min_ms, max_ms, late_ms;
	uint64_t               spool_above;
	unsigned               count, arrived;
	size_t                 waiting;      /* ops under way */
	struct buf             trace;
	struct flight         *flights;
};

/* A request on its way. It may live longer than the op that sent it. */
struct flight {
	struct scripted_http   *s;
	struct scripted_op     *op;          /* NULL: nobody waits */
	struct scripted_request rq;
	struct http_header      headers[HTTP_HEADERS_MAX];
	struct body            *body;
	struct buf              bytes;
	enum scripted_fault     fault;
	struct scripted_answer  answer;
	bool                    from_list;   /* answer is an expectation's */
	struct timer            timer;       /* arrives, or is answered. A flight without one ends with its op */
	struct flight          *prev, *next;
};

struct scripted_op {
	struct op             op;
	struct http_exchange  x;
	struct scripted_http *s;
	struct flight        *flight;
	struct timer          deadline, leave;
	bool                  delivering, cancelled;
};

const char *
scripted_fault_name(enum scripted_fault f)
{
	static const char *const names[] = {
		"ok", "lost_before", "lost_request", "lost_answer", "timeout", "timeout_applied", "late", "cut", "busy", "twice",
	};

	return f < SCRIPTED_FAULTS ? names[f] : "?";
}

/* --- requests and answers as the test sees them --- */

const char *
scripted_header(const struct scripted_request *rq, const char *name)
{
	for (size_t i = 0; i < rq->nheaders; i++)
		if (strcasecmp(rq->headers[i].name, name) == 0)
			return rq->headers[i].value;
	return NULL;
}

char *
scripted_query(const struct scripted_request *rq, const char *name)
{
	const char *p = rq->at.query != NULL ? rq->at.query : "";
	struct buf  found, value;

	for (size_t n; *p != '\0'; p += n + (p[n] == '&')) {
		size_t eq = strcspn(p, "=&");
		bool   hit;

		n = strcspn(p, "&");
		buf_init(&found, 0);
		hit = url_unescape(span_of(p, eq), true, &found) && strcmp(buf_str(&found), name) == 0;
		buf_free(&found);
		if (!hit)
			continue;
		buf_init(&value, 0);
		if (eq < n && !url_unescape(span_of(p + eq + 1, n - eq - 1), true, &value))
			test_fail(__FILE__, __LINE__, "broken escape in %s", rq->url);
		return buf_take(&value);
	}
	return NULL;
}

void
scripted_add_header(struct scripted_answer *a, const char *name, const char *fmt, ...)
{
	char    value[2048];
	va_list ap;

	assert(a->nheaders < HTTP_HEADERS_MAX);
	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	a->headers[a->nheaders++] = (struct http_header){ xstrdup(name), xstrdup(value) };
}

void
scripted_set_body(struct scripted_answer *a, struct span body)
{
	body_unref(a->body);
	a->body = body_copy(body);
}

static void
answer_free(struct scripted_answer *a)
{
	for (size_t i = 0; i < a->nheaders; i++) {
		free((char *)a->headers[i].name);
		free(a->headers[i].value);
	}
	body_unref(a->body);
	memset(a, 0, sizeof(*a));
}

static size_t
answer_size(const struct scripted_answer *a)
{
	return a->body != NULL ? (size_t)body_size(a->body) : 0;
}

/* --- expectations --- */

static void
expectation_free(struct expectation *e)
{
	answer_free(&e->answer);
	free(e->method);
	free(e->url);
	free(e);
}

struct scripted_answer *
scripted_expect(struct scripted_http *s, const char *method, const char *url, int status, const char *headers,
    const char *body)
{
	struct expectation *e = xcalloc(1, sizeof(*e));

	e->method = xstrdup(method);
	e->url = xstrdup(url);
	e->answer.status = status;
	for (const char *p = headers != NULL ? headers : ""; *p != '\0';) {
		size_t n = strcspn(p, "\n"), name = strcspn(p, ":");
		char  *copy = xstrndup(p, name);

		assert(name < n);
		scripted_add_header(&e->answer, copy, "%.*s", (int)(n - name - 1 - strspn(p + name + 1, " ")),
		    p + name + 1 + strspn(p + name + 1, " "));
		free(copy);
		p += n + (p[n] == '\n');
	}
	if (body != NULL)
		scripted_set_body(&e->answer, span_str(body));
	if (s->last != NULL)
		s->last->next = e;
	else
		s->expected = e;
	s->last = e;
	return &e->answer;
}

static bool
expectation_fits(const struct expectation *e, const struct scripted_request *rq)
{
	if (strcmp(e->method, rq->method) != 0)
		return false;
	return strncmp(e->url, "http", 4) == 0 ? strcmp(e->url, rq->url) == 0 : strstr(rq->url, e->url) != NULL;
}

/* The answer of the next expectation, or none of the list when a handler is there. */
static bool
expectation_take(struct scripted_http *s, const struct scripted_request *rq, struct scripted_answer *ret)
{
	struct expectation *e = s->expected;

	if (e == NULL || !expectation_fits(e, rq)) {
		if (s->handler != NULL)
			return false;
		test_fail(__FILE__, __LINE__, "unexpected request #%u %s %s; expected %s %s\n# so far:\n%s",
		    rq->number, rq->method, rq->url,
		    e != NULL ? e->method : "no more", e != NULL ? e->url : "requests", buf_str(&s->trace));
	}
	s->expected = e->next;
	if (s->expected == NULL)
		s->last = NULL;
	*ret = e->answer;
	memset(&e->answer, 0, sizeof(e->answer));
	expectation_free(e);
	return true;
}

void
scripted_http_check(const struct scripted_http *s)
{
	if (s->expected != NULL)
		test_fail(__FILE__, __LINE__, "never requested: %s %s\n# so far:\n%s", s->expected->method,
		    s->expected->url, buf_str(&s->trace));
}

/* --- faults --- */

static enum scripted_fault
fault_of_chaos(struct scripted_http *s)
{
	unsigned f;

	if (s->per_mille == 0 || rand_below(&s->chaos, 1000) >= s->per_mille)
		return SCRIPTED_OK;
	do
		f = 1 + (unsigned)rand_below(&s->chaos, SCRIPTED_FAULTS - 1);
	while ((s->mask & 1u << f) == 0);
	return f;
}

static enum scripted_fault
fault_of(struct scripted_http *s, const struct scripted_request *rq)
{
	enum scripted_fault f = s->decide != NULL ? s->decide(s->decide_arg, rq) : SCRIPTED_OK;

	for (size_t i = 0; i < s->nfail && f == SCRIPTED_OK; i++)
		if (s->fail[i].number == rq->number)
			f = s->fail[i].fault;
	return f != SCRIPTED_OK ? f : fault_of_chaos(s);
}

static int64_t
latency_of(struct scripted_http *s)
{
	uint64_t span = s->max_ms > s->min_ms ? (uint64_t)(s->max_ms - s->min_ms) : 0;

	return span > 0 ? s->min_ms + (int64_t)rand_below(&s->latency, span + 1) : s->min_ms;
}

/* --- the trace --- */

static void
trace_line(struct scripted_http *s, const struct scripted_request *rq, const char *outcome, size_t size)
{
	buf_printf(&s->trace, "%lld ms #%u %s %s %zu -> %s", (long long)loop_now(s->client.loop), rq->number,
	    rq->method, rq->url, rq->body.n,
	    outcome);
	if (size != SIZE_MAX)
		buf_printf(&s->trace, " %zu", size);
	buf_putc(&s->trace, '\n');
}

static void
trace_status(const struct flight *f, const char *before)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%d", before, f->answer.status);
	trace_line(f->s, &f->rq, text, answer_size(&f->answer));
}

/* --- flights --- */

static void flight_arrive(void *arg);

static void
flight_body(struct flight *f)
{
	uint64_t   size = f->body != NULL ? body_size(f->body) : 0;
	size_t     got;
	struct err e;

	buf_init(&f->bytes, SIZE_MAX - 1);
	if (size == 0)
		return;
	CHECK_OK(buf_reserve(&f->bytes, (size_t)size, &e), e);
	CHECK_OK(body_read(f->body, 0, f->bytes.data, (size_t)size, &got, &e), e);
	CHECK_U64(got, size);
	f->bytes.len = (size_t)size;
	f->rq.body = buf_span(&f->bytes);
}

static struct flight *
flight_new(struct scripted_op *o)
{
	struct flight             *f = xcalloc(1, sizeof(*f));
	const struct http_request *req = &o->x.req;
	struct err                 e;

	f->s = o->s;
	f->op = o;
	f->rq.number = ++o->s->count;
	timer_init(&f->timer, o->x.client->loop, flight_arrive, f);
	f->rq.method = xstrdup(req->method);
	f->rq.url = xstrdup(req->url);
	CHECK_OK(url_parse(req->url, &f->rq.at, &e), e);
	CHECK(req->nheaders <= HTTP_HEADERS_MAX);
	for (size_t i = 0; i < req->nheaders; i++)
		f->headers[i] = (struct http_header){ xstrdup(req->headers[i].name), xstrdup(req->headers[i].value) };
	f->rq.headers = f->headers;
	f->rq.nheaders = req->nheaders;
	f->rq.tls = req->tls;
	f->rq.no_proxy = req->no_proxy;
	f->body = req->body != NULL ? body_ref(req->body) : NULL;
	flight_body(f);
	f->next = o->s->flights;
	if (f->next != NULL)
		f->next->prev = f;
	o->s->flights = f;
	return f;
}

static void
flight_free(struct flight *f)
{
	if (f->prev != NULL)
		f->prev->next = f->next;
	else
		f->s->flights = f->next;
	if (f->next != NULL)
		f->next->prev = f->prev;
	if (f->op != NULL)
		f->op->flight = NULL;
	timer_stop(&f->timer);
	answer_free(&f->answer);
	for (size_t i = 0; i < f->rq.nheaders; i++) {
		free((char *)f->headers[i].name);
		free(f->headers[i].value);
	}
	url_free(&f->rq.at);
	body_unref(f->body);
	buf_free(&f->bytes);
	free((char *)f->rq.method);
	free((char *)f->rq.url);
	free(f);
}

/* --- how an op ends --- */

enum { SCRIPTED_UNDER_WAY, SCRIPTED_ENDED };
static const char *const scripted_states[] = { "under way", "ended" };

static void
scripted_end(struct scripted_op *o)
{
	struct flight *f = o->flight;

	timer_stop(&o->deadline);
	timer_stop(&o->leave);
	if (f != NULL && timer_pending(&f->timer))
		f->op = NULL;
	else if (f != NULL)
		flight_free(f);
	o->flight = NULL;
	o->op.state = SCRIPTED_ENDED;
	op_wake(&o->op);
}

static void
scripted_lose(struct scripted_op *o, enum err_code code, const char *what)
{
	struct err why;

	err_set(&why, code, 0, "%s", what);
	http_exchange_failed(&o->x, &why, &o->op.res);
	scripted_end(o);
}

static void
scripted_expired(void *arg)
{
	struct scripted_op *o = arg;

	trace_line(o->s, &o->flight->rq, "timeout", SIZE_MAX);
	scripted_lose(o, ERR_TIMEOUT, "no complete answer in time");
}

/* As a spooled one: a file without a name. */
static struct body *
scripted_spooled(struct scripted_op *o)
{
	struct buf *b = &o->x.body;
	int         fd;

	if (!o->x.req.spool || b->len <= o->s->spool_above)
		return NULL;
	fd = memfd_create("scripted", MFD_CLOEXEC);
	CHECK(fd >= 0 && write(fd, b->data, b->len) == (ssize_t)b->len);
	return body_from_fd(fd, b->len);
}

static bool
scripted_feed_head(struct http_exchange *x, const struct scripted_answer *a)
{
	char length[32];
	bool has_length = false;

	http_exchange_status(x, a->status);
	for (size_t i = 0; i < a->nheaders; i++) {
		has_length = has_length || strcasecmp(a->headers[i].name, "content-length") == 0;
		if (!http_exchange_header(x, span_str(a->headers[i].name), span_str(a->headers[i].value)))
			return false;
	}
	snprintf(length, sizeof(length), "%zu", answer_size(a));
	if (!has_length && !http_exchange_header(x, SPAN_LIT("content-length"), span_str(length)))
		return false;
	return http_exchange_head_end(x);
}

/* In pieces; cut: half of it. false: refused, cut or cancelled on the way. */
static bool
scripted_feed_body(struct scripted_op *o, const struct scripted_answer *a, bool cut)
{
	size_t      n = answer_size(a), end = cut ? n / 2 : n;
	struct span all = n > 0 ? body_span(a->body) : span_of("", 0);
	bool        none = strcmp(o->x.req.method, "HEAD") == 0 || a->status == 204 || a->status == 304;

	for (size_t at = 0, piece; at < end && !none; at += piece) {
		piece = end - at < HTTP_PIECE_MAX ? end - at : HTTP_PIECE_MAX;
		if (!http_exchange_data(&o->x, all.p + at, piece))
			return false;
		if (o->cancelled && at + piece < end)
			return false;
	}
	return !cut;
}

static void
scripted_deliver(struct scripted_op *o, const struct scripted_answer *a, bool cut)
{
	struct body *spooled;
	bool         whole;

	o->delivering = true;
	whole = scripted_feed_head(&o->x, a) && scripted_feed_body(o, a, cut);
	o->delivering = false;
	if (whole) {
		spooled = scripted_spooled(o);
		http_exchange_answered(&o->x, spooled, &o->op.res);
		scripted_end(o);
	} else if (o->x.broken.code != ERR_OK) {
		http_exchange_failed(&o->x, &o->x.broken, &o->op.res);
		scripted_end(o);
	} else if (o->cancelled) {
		scripted_lose(o, ERR_CANCELLED, "cancelled");
	} else {
		scripted_lose(o, ERR_NETWORK, "the answer was cut off");
	}
}

/* --- what happens to a flight --- */

static void
flight_answer(void *arg)
{
	struct flight      *f = arg;
	struct scripted_op *o = f->op;
	bool                cut = f->fault == SCRIPTED_CUT;

	if (o == NULL) {
		flight_free(f);
	} else if (f->fault == SCRIPTED_LOST_ANSWER) {
		trace_line(f->s, &f->rq, "lost_answer", SIZE_MAX);
		scripted_lose(o, ERR_NETWORK, "the connection was closed without an answer");
	} else {
		trace_status(f, cut ? "cut " : f->fault == SCRIPTED_TWICE ? "twice " : "");
		scripted_deliver(o, &f->answer, cut);
	}
}

/* From here on it is applied. */
static void
flight_arrive(void *arg)
{
	struct flight *f = arg;

	f->s->arrived++;
	if (!f->from_list)
		f->s->handler(f->s->handler_arg, &f->rq, &f->answer);
	if (!f->from_list && f->fault == SCRIPTED_TWICE) {
		answer_free(&f->answer);
		f->s->handler(f->s->handler_arg, &f->rq, &f->answer);
	}
	if (f->op == NULL) {
		trace_status(f, f->fault == SCRIPTED_LATE ? "late " : "unseen ");
		flight_free(f);
		return;
	}
	if (f->answer.status == 0 || f->fault == SCRIPTED_TIMEOUT_APPLIED)
		return; /* the deadline comes */
	timer_init(&f->timer, f->s->client.loop, flight_answer, f);
	timer_set(&f->timer, f->answer.delay_ms + latency_of(f->s));
}

/* Nobody sees it: not applied, answered 503. */
static void
flight_busy(struct flight *f)
{
	answer_free(&f->answer);
	f->answer.status = 503;
	scripted_add_header(&f->answer, "Retry-After", "1");
	f->from_list = true;
	timer_init(&f->timer, f->s->client.loop, flight_answer, f);
	timer_set(&f->timer, latency_of(f->s));
}

/* The first byte leaves, or does not. */
static void
scripted_leave(void *arg)
{
	struct scripted_op *o = arg;
	struct flight      *f = o->flight;

	o->x.ret->sent = f->fault != SCRIPTED_LOST_BEFORE;
	switch (f->fault) {
	case SCRIPTED_LOST_BEFORE:
		trace_line(o->s, &f->rq, "lost_before", SIZE_MAX);
		scripted_lose(o, ERR_NETWORK, "connection refused");
		break;
	case SCRIPTED_LOST_REQUEST:
		trace_line(o->s, &f->rq, "lost_request", SIZE_MAX);
		scripted_lose(o, ERR_NETWORK, "the connection broke off: connection reset by peer");
		break;
	case SCRIPTED_TIMEOUT: /* the deadline comes */
		break;
	case SCRIPTED_LATE:
		trace_line(o->s, &f->rq, "lost, late", SIZE_MAX);
		timer_set(&f->timer, o->s->late_ms);
		scripted_lose(o, ERR_NETWORK, "the connection was closed without an answer");
		break;
	case SCRIPTED_BUSY:
		flight_busy(f);
		break;
	default:
		timer_set(&f->timer, latency_of(o->s));
	}
}

/* --- the operation --- */

static enum op_turn
scripted_begin(struct scripted_op *o)
{
	struct scripted_http *s = o->s;
	struct flight        *f;

	if (http_exchange_check(&o->x, &o->op.res) != ERR_OK)
		return op_fail(&o->op);
	f = o->flight = flight_new(o);
	f->from_list = expectation_take(s, &f->rq, &f->answer);
	f->fault = fault_of(s, &f->rq);
	if (f->fault == SCRIPTED_OK && f->from_list)
		f->fault = f->answer.fault;
	timer_set(&o->deadline, http_exchange_timeout_ms(&o->x));
	timer_set(&o->leave, latency_of(s));
	return OP_WAIT;
}

static enum op_turn
scripted_step(struct op *op)
{
	struct scripted_op *o = container_of(op, struct scripted_op, op);

	return op->state == SCRIPTED_ENDED ? op_finish(op) : scripted_begin(o);
}

static void
scripted_cancel(struct op *op)
{
	struct scripted_op *o = container_of(op, struct scripted_op, op);

	o->cancelled = true;
	if (o->delivering)
		return; /* scripted_deliver() sees it */
	trace_line(o->s, &o->flight->rq, o->x.ret->sent ? "cancelled" : "cancelled before it left", SIZE_MAX);
	scripted_lose(o, ERR_CANCELLED, "cancelled");
}

static void
scripted_op_free(struct op *op)
{
	struct scripted_op *o = container_of(op, struct scripted_op, op);

	o->s->waiting--;
	http_exchange_free(&o->x);
	free(o);
}

static const struct op_class scripted_class = {
	"http", scripted_step, scripted_cancel, scripted_op_free, scripted_states, ARRAY_LEN(scripted_states),
};

static struct op *
scripted_request(struct http_client *client, const struct http_request *req, struct http_response *ret)
{
	struct scripted_http *s = container_of(client, struct scripted_http, client);
	struct scripted_op   *o = xcalloc(1, sizeof(*o));

	op_init(&o->op, &scripted_class, client->loop);
	o->s = s;
	s->waiting++;
	timer_init(&o->deadline, client->loop, scripted_expired, o);
	timer_init(&o->leave, client->loop, scripted_leave, o);
	http_exchange_init(&o->x, client, req, ret);
	return &o->op;
}

/* --- the client --- */

static void
scripted_client_free(struct http_client *client)
{
	struct scripted_http *s = container_of(client, struct scripted_http, client);
	struct expectation   *next;

	assert(s->waiting == 0);
	while (s->flights != NULL)
		flight_free(s->flights);
	for (struct expectation *e = s->expected; e != NULL; e = next) {
		next = e->next;
		expectation_free(e);
	}
	buf_free(&s->trace);
	free(s);
}

struct scripted_http *
scripted_http_new(struct loop *l)
{
	struct scripted_http *s = xcalloc(1, sizeof(*s));

	s->client.loop = l;
	s->client.request = scripted_request;
	s->client.free = scripted_client_free;
	s->late_ms = 60000;
	s->spool_above = BODY_SPOOL_ABOVE;
	buf_init(&s->trace, 0);
	return s;
}

void
scripted_http_free(struct scripted_http *s)
{
	if (s != NULL)
		scripted_client_free(&s->client);
}

struct http_client *
scripted_http_client(struct scripted_http *s)
{
	return &s->client;
}

void
scripted_handle(struct scripted_http *s, scripted_handler *fn, void *arg)
{
	s->handler = fn;
	s->handler_arg = arg;
}

void
scripted_fail(struct scripted_http *s, unsigned number, enum scripted_fault f)
{
	assert(s->nfail < SCRIPTED_FAIL_MAX);
	s->fail[s->nfail].number = number;
	s->fail[s->nfail++].fault = f;
}

void
scripted_chaos(struct scripted_http *s, unsigned per_mille, unsigned mask, uint64_t seed)
{
	unsigned all = (1u << SCRIPTED_FAULTS) - 2;

	s->per_mille = per_mille;
	s->mask = (mask & all) != 0 ? mask & all : all;
	rand_seeded(&s->chaos, seed);
}

void
scripted_decide(struct scripted_http *s, enum scripted_fault (*fn)(void *arg, const struct scripted_request *rq),
    void *arg)
{
	s->decide = fn;
	s->decide_arg = arg;
}

void
scripted_latency(struct scripted_http *s, int64_t min_ms, int64_t max_ms, uint64_t seed)
{
	s->min_ms = min_ms;
	s->max_ms = max_ms;
	rand_seeded(&s->latency, seed);
}

void
scripted_late(struct scripted_http *s, int64_t late_ms)
{
	s->late_ms = late_ms;
}

void
scripted_spool_above(struct scripted_http *s, uint64_t n)
{
	s->spool_above = n;
}

unsigned
scripted_http_count(const struct scripted_http *s)
{
	return s->count;
}

unsigned
scripted_http_arrived(const struct scripted_http *s)
{
	return s->arrived;
}

const char *
scripted_http_trace(const struct scripted_http *s)
{
	return buf_str(&s->trace);
}
