/* SPDX-License-Identifier: MIT */
#include "net/http_client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "net/http_impl.h"
#include "net/url.h"

#define HTTP_TIMEOUT_MS      30000
#define HTTP_BYTES_PER_MS    1000 /* 1 MB/s: what a transfer must reach to end in time */
#define HTTP_RETRY_AFTER_MAX ((int64_t)24 * 3600 * 1000)

/* --- answers --- */

void
http_response_init(struct http_response *r)
{
	memset(r, 0, sizeof(*r));
}

void
http_response_free(struct http_response *r)
{
	for (size_t i = 0; i < r->nheaders; i++) {
		free((char *)r->headers[i].name);
		mem_free_secret(r->headers[i].value); /* Location may be a session's, for whoever knows it */
	}
	body_unref(r->body);
	http_response_init(r);
}

const char *
http_header_get(const struct http_response *r, const char *lower_case_name)
{
	for (size_t i = 0; i < r->nheaders; i++)
		if (strcmp(r->headers[i].name, lower_case_name) == 0)
			return r->headers[i].value;
	return NULL;
}

/* --- clients --- */

struct op *
http_request(struct http_client *c, const struct http_request *req, struct http_response *ret)
{
	assert(req->method != NULL && (req->nheaders == 0 || req->headers != NULL));
	http_response_init(ret);
	return c->request(c, req, ret);
}

void
http_client_free(struct http_client *c)
{
	if (c != NULL)
		c->free(c);
}

/* --- a request --- */

void
http_exchange_init(struct http_exchange *x, struct http_client *c, const struct http_request *req,
    struct http_response *ret)
{
	memset(x, 0, sizeof(*x));
	x->client = c;
	x->ret = ret;
	x->req = *req;
	x->req.method = xstrdup(req->method);
	x->req.url = xstrdup(req->url != NULL ? req->url : "");
	x->req.unix_socket = xstrdup(req->unix_socket);
	x->req.proxy = xstrdup(req->proxy);
	x->headers = xcalloc(req->nheaders + 1, sizeof(*x->headers));
	for (size_t i = 0; i < req->nheaders; i++)
		x->headers[i] = (struct http_header){ xstrdup(req->headers[i].name), xstrdup(req->headers[i].value) };
	x->req.headers = x->headers;
	if (req->body != NULL)
		body_ref(req->body);
	if (x->req.max_body == 0)
		x->req.max_body = HTTP_BODY_DEFAULT;
	x->length = HTTP_LENGTH_UNKNOWN;
	buf_init(&x->body, SIZE_MAX - 1);
}

/* Tokens, signatures and signed URLs do not stay in freed memory. */
void
http_exchange_free(struct http_exchange *x)
{
	for (size_t i = 0; i < x->req.nheaders; i++) {
		free((char *)x->headers[i].name);
		mem_free_secret(x->headers[i].value);
	}
	free(x->headers);
	free((char *)x->req.method);
	mem_free_secret((char *)x->req.url);
	free((char *)x->req.unix_socket);
	mem_free_secret((char *)x->req.proxy);
	body_unref(x->req.body);
	buf_wipe_free(&x->body);
	free(x->where);
	free(x->host);
}

/* RFC 9110, section 5.6.2 */
static bool
http_is_token(const char *s)
{
	size_t n = strspn(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

	return n > 0 && s[n] == '\0';
}

static bool
http_is_value(const char *s)
{
	for (; *s != '\0'; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
			return false;
	return true;
}

static enum err_code
http_exchange_check_headers(const struct http_exchange *x, struct err *reterr)
{
	static const char *const ours[] = { "content-length", "transfer-encoding", "expect", "connection" };

	if (!http_is_token(x->req.method))
		return err_set(reterr, ERR_CONFIG, 0, "%s: the method \"%s\" is not a word", x->where, x->req.method);
	for (size_t i = 0; i < x->req.nheaders; i++) {
		const struct http_header *h = &x->headers[i];

		if (h->name == NULL || !http_is_token(h->name))
			return err_set(reterr, ERR_CONFIG, 0, "%s: a header's name is not a word", x->where);
		if (h->value == NULL || !http_is_value(h->value))
			return err_set(reterr, ERR_CONFIG, 0,
			    "%s: the header %s has a line break or control character", x->where, h->name);
		for (size_t k = 0; k < ARRAY_LEN(ours); k++)
			if (strcasecmp(h->name, ours[k]) == 0)
				return err_set(reterr, ERR_CONFIG, 0, "%s: the header %s cannot be set by hand",
				    x->where, h->name);
	}
	return ERR_OK;
}

enum err_code
http_exchange_check(struct http_exchange *x, struct err *reterr)
{
	struct url    u;
	struct buf    where;
	enum err_code code = url_parse(x->req.url, &u, reterr);

	x->since = loop_now(x->client->loop);
	if (code != ERR_OK)
		return code;
	if (x->req.unix_socket != NULL) {
		x->where = xasprintf("unix:%s", x->req.unix_socket);
	} else {
		buf_init(&where, URL_MAX);
		url_host_header(&u, &where);
		x->where = buf_take(&where);
	}
	x->host = xstrdup(u.host);
	if (u.user != NULL)
		code = err_set(reterr, ERR_CONFIG, 0, "%s: a user name in the URL is not sent", x->where);
	else
		code = http_exchange_check_headers(x, reterr);
	url_free(&u);
	return code;
}

int64_t
http_exchange_timeout_ms(const struct http_exchange *x)
{
	uint64_t most = x->req.body != NULL ? body_size(x->req.body) : 0;

	if (x->req.timeout_ms > 0)
		return x->req.timeout_ms;
	if (x->req.max_body > most)
		most = x->req.max_body;
	if (most > (uint64_t)INT32_MAX * HTTP_BYTES_PER_MS / 2)
		return INT32_MAX / 2;
	return HTTP_TIMEOUT_MS + (int64_t)(most / HTTP_BYTES_PER_MS);
}

/* --- an answer --- */

static bool http_exchange_break(struct http_exchange *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool
http_exchange_break(struct http_exchange *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(&x->broken, ERR_UNSUPPORTED, x->ret->status, fmt, ap);
	va_end(ap);
	return false;
}

static bool
http_exchange_too_large(struct http_exchange *x)
{
	const char *name = x->req.max_body_name;

	return http_exchange_break(x, "the answer is larger than %s%s%" PRIu64 " bytes%s", name != NULL ? name : "",
	    name != NULL ? " (" : "", x->limit, name != NULL ? ")" : "");
}

static void
http_exchange_drop_headers(struct http_exchange *x)
{
	bool sent = x->ret->sent;

	http_response_free(x->ret);
	x->ret->sent = sent;
	x->header_bytes = 0;
}

bool
http_exchange_status(struct http_exchange *x, int status)
{
	http_exchange_drop_headers(x);
	x->ret->status = status;
	return true;
}

bool
http_exchange_header(struct http_exchange *x, struct span name, struct span value)
{
	struct http_response *r = x->ret;
	char                 *lower;

	x->header_bytes += name.n + value.n;
	if (x->header_bytes > HTTP_HEADER_BYTES_MAX)
		return http_exchange_break(x, "the answer has more than %d bytes of headers", HTTP_HEADER_BYTES_MAX);
	if (r->nheaders == HTTP_HEADERS_MAX)
		return http_exchange_break(x, "the answer has more than %d headers", HTTP_HEADERS_MAX);
	lower = span_dup(name);
	for (char *p = lower; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + ('a' - 'A'));
	r->headers[r->nheaders++] = (struct http_header){ lower, span_dup(value) };
	return true;
}

/* A line that begins with a blank goes on with the header before it (RFC 9112, section 5.2). */
static bool
http_exchange_fold(struct http_exchange *x, struct span more)
{
	struct http_response *r = x->ret;
	struct http_header   *h = r->nheaders > 0 ? &r->headers[r->nheaders - 1] : NULL;
	char                 *joined;

	x->header_bytes += more.n;
	if (x->header_bytes > HTTP_HEADER_BYTES_MAX)
		return http_exchange_break(x, "the answer has more than %d bytes of headers", HTTP_HEADER_BYTES_MAX);
	if (h == NULL)
		return true;
	joined = xasprintf("%s %.*s", h->value, (int)more.n, (const char *)more.p);
	free(h->value);
	h->value = joined;
	return true;
}

static struct span
http_trim(struct span s)
{
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '\n'))
		s.n--;
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	return s;
}

/* "HTTP/1.1 200 OK" */
static int
http_parse_status(struct span line)
{
	const uint8_t *blank = memchr(line.p, ' ', line.n);
	size_t         at = blank != NULL ? (size_t)(blank - line.p) + 1 : line.n;
	int            status = 0;

	for (size_t i = at; i < line.n && i < at + 3; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return 0;
		status = status * 10 + (line.p[i] - '0');
	}
	return status;
}

bool
http_exchange_line(struct http_exchange *x, struct span line)
{
	bool           more = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t');
	const uint8_t *colon;

	line = http_trim(line);
	if (x->head_done)
		return true; /* trailers after the body are nobody's */
	if (more) /* of blanks alone too: only a line of nothing ends the head */
		return line.n == 0 || http_exchange_fold(x, line);
	if (line.n == 0)
		return http_exchange_head_end(x);
	if (span_starts(line, "HTTP/"))
		return http_exchange_status(x, http_parse_status(line));
	colon = memchr(line.p, ':', line.n);
	if (colon == NULL || colon == line.p)
		return true;
	return http_exchange_header(x, http_trim(span_of(line.p, (size_t)(colon - line.p))),
	    http_trim(span_of(colon + 1, line.n - (size_t)(colon - line.p) - 1)));
}

static bool
http_parse_u64(const char *s, uint64_t *ret)
{
	uint64_t n = 0;

	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9' || n > (UINT64_MAX - 9) / 10)
			return false;
		n = n * 10 + (uint64_t)(*s - '0');
	}
	*ret = n;
	return true;
}

/* Two lengths that differ: nobody knows where the answer ends (RFC 9112, section 6.3). */
static bool
http_exchange_length(struct http_exchange *x)
{
	uint64_t n = 0;

	for (size_t i = 0; i < x->ret->nheaders; i++) {
		if (strcmp(x->ret->headers[i].name, "content-length") != 0 ||
		    !http_parse_u64(x->ret->headers[i].value, &n))
			continue;
		if (x->length != HTTP_LENGTH_UNKNOWN && x->length != n)
			return http_exchange_break(x, "the answer has two lengths, the second is %" PRIu64 " bytes", n);
		x->length = n;
	}
	return true;
}

static bool
http_exchange_has_body(const struct http_exchange *x)
{
	return strcmp(x->req.method, "HEAD") != 0 && x->ret->status != 204 && x->ret->status != 304;
}

bool
http_exchange_head_end(struct http_exchange *x)
{
	bool wanted = x->ret->status == 200 || x->ret->status == 206;

	if (x->ret->status < 200)
		return true; /* an interim answer: the next status drops it */
	x->head_done = true;
	x->streaming = wanted && x->req.on_body != NULL && !x->req.keep;
	x->tapped = wanted && x->req.on_body != NULL && x->req.keep;
	x->limit = x->req.on_body != NULL && !wanted ? HTTP_BODY_DEFAULT : x->req.max_body;
	if (!http_exchange_length(x))
		return false;
	if (!http_exchange_has_body(x))
		x->length = 0;
	if (x->length != HTTP_LENGTH_UNKNOWN && x->length > x->limit)
		return http_exchange_too_large(x);
	return true;
}

static bool
http_exchange_show(struct http_exchange *x, const void *p, size_t n)
{
	assert(n <= HTTP_PIECE_MAX);
	x->by_caller = x->req.on_body(x->req.on_body_arg, p, n, &x->broken) != ERR_OK;
	assert(!x->by_caller || x->broken.code != ERR_OK);
	return !x->by_caller;
}

bool
http_exchange_pass(struct http_exchange *x, const void *p, size_t n)
{
	x->ret->body_size += n;
	if (x->ret->body_size > x->limit)
		return http_exchange_too_large(x);
	return !x->tapped || http_exchange_show(x, p, n);
}

bool
http_exchange_data(struct http_exchange *x, const void *p, size_t n)
{
	if (!http_exchange_pass(x, p, n))
		return false;
	if (x->streaming)
		return http_exchange_show(x, p, n);
	return buf_add(&x->body, p, n, &x->broken) == ERR_OK;
}

/* --- the end --- */

/* Seconds, or a date that counts from the answer's own. */
static uint32_t
http_retry_after_ms(const char *value, int64_t now_ms)
{
	uint64_t seconds;
	int64_t  ms = 0, at;

	if (value != NULL && http_parse_u64(value, &seconds))
		ms = seconds > (uint64_t)HTTP_RETRY_AFTER_MAX / 1000 ? HTTP_RETRY_AFTER_MAX : (int64_t)seconds * 1000;
	else if (value != NULL && time_parse_http(value, &at))
		ms = at - now_ms;
	if (ms > HTTP_RETRY_AFTER_MAX)
		ms = HTTP_RETRY_AFTER_MAX;
	return ms > 0 ? (uint32_t)ms : 0;
}

static void
http_exchange_log(const struct http_exchange *x, const char *msg, const char *cause)
{
	int64_t took = loop_now(x->client->loop) - x->since;

	if (!log_on(LOG_DEBUG))
		return;
	log_event(LOG_DEBUG, "http", msg, { "method", log_str(x->req.method) }, { "host", log_str(x->where) },
	    { "status", log_i64(x->ret->status) }, { "out", log_u64(x->req.body != NULL ? body_size(x->req.body) : 0) },
	    { "in", log_u64(x->ret->body_size) }, { "took", log_ms(took) }, { "cause", log_str(cause) });
}

/* A body may live long: not with the room that it grew into. */
static void
http_exchange_fit(struct http_exchange *x)
{
	struct buf *b = &x->body;

	if (b->cap - b->len <= HTTP_PIECE_MAX)
		return;
	b->data = xrealloc(b->data, b->len + 1);
	b->cap = b->len + 1;
}

void
http_exchange_answered(struct http_exchange *x, struct body *body_owned, struct err *reterr)
{
	struct http_response *r = x->ret;
	const char           *date = http_header_get(r, "date");

	if (date == NULL || !time_parse_http(date, &r->date_ms))
		r->date_ms = 0;
	r->retry_after_ms = http_retry_after_ms(http_header_get(r, "retry-after"),
	    r->date_ms != 0 ? r->date_ms : loop_wall(x->client->loop));
	r->body = body_owned;
	if (r->body == NULL && x->body.len > 0) {
		http_exchange_fit(x);
		r->body = body_new(&x->body);
	}
	x->client->requests++;
	err_clear(reterr);
	http_exchange_log(x, "answered", NULL);
}

void
http_exchange_failed(struct http_exchange *x, const struct err *why, struct err *reterr)
{
	bool       unsure = x->req.changing && x->ret->sent && !x->by_caller && why->code != ERR_AUTH;
	struct err e = *why;

	if (x->by_caller)
		*reterr = e;
	else
		err_set(reterr, unsure ? ERR_UNCERTAIN : e.code, e.detail, "%s%s%s%s", x->where != NULL ? x->where : "",
		    x->where != NULL ? ": " : "", e.msg, unsure ? "; the request may have been carried out" : "");
	if (e.hint[0] != '\0')
		err_hint(reterr, "%s", e.hint);
	http_exchange_log(x, "no answer", reterr->msg);
	http_exchange_drop_headers(x);
	x->client->requests++;
	x->client->failures++;
}
