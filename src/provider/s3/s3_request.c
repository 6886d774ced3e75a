/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/encode.h"
#include "base/log.h"
#include "net/xml.h"
#include "s3.h"

/* One request to S3: where it goes, its signature, what its answer teaches, and what may be sent again. */
#define S3_SKEW_MS      ((int64_t)5 * 60 * 1000) /* a clock that is further off may be why a request was refused */
#define S3_BYTES_PER_MS 1000                     /* what a transfer has to reach beside the timeout of a request */
#define S3_EXPECT_ABOVE ((uint64_t)2 << 20)      /* a larger conditional write asks before it sends its body */
#define S3_ERROR_MAX    ((size_t)64 << 10)       /* of an error body that is looked at */

/* ---------------------------------------------------------------- requests and answers */

void
s3_request_free(struct s3_request *r)
{
	for (size_t i = 0; i < r->nheaders; i++) {
		mem_wipe(r->headers[i].value, strlen(r->headers[i].value));
		free(r->headers[i].value);
	}
	free(r->key);
	free(r->query);
	body_unref(r->body);
	memset(r, 0, sizeof(*r));
}

void
s3_answer_free(struct s3_answer *a)
{
	http_response_free(&a->http);
	memset(a, 0, sizeof(*a));
}

void
s3_request_header(struct s3_request *r, const char *name, const char *fmt, ...)
{
	char   *text = NULL;
	va_list ap;

	assert(r->nheaders < S3_REQUEST_HEADERS);
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	r->headers[r->nheaders++] = (struct http_header){ name, text };
}

static void
s3_request_headers(struct s3_request *r, const struct http_header *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s3_request_header(r, list[i].name, "%s", list[i].value);
}

void
s3_request_sse_read(const struct s3 *s, struct s3_request *r)
{
	s3_request_headers(r, s->sse_read, s->nsse_read);
}

void
s3_request_write(const struct s3 *s, struct s3_request *r, const char *type, struct body *body, const struct digest *d)
{
	struct buf sum;

	r->method = "PUT";
	r->changing = true;
	r->body = body_ref(body);
	r->digest = *d;
	s3_request_header(r, "content-type", "%s", type);
	s3_request_headers(r, s->sse_write, s->nsse_write);
	if (s->conf->acl != NULL && s->conf->acl[0] != '\0')
		s3_request_header(r, "x-amz-acl", "%s", s->conf->acl);
	if (s->conf->skip_s3_checksum)
		return;
	buf_init(&sum, 0);
	base64_encode(span_of(d->b, DIGEST_LEN), &sum);
	s3_request_header(r, "x-amz-checksum-sha256", "%s", buf_str(&sum));
	buf_free(&sum);
}

void
s3_etag(const char *header, char ret[ETAG_MAX])
{
	size_t n = header == NULL ? 0 : strlen(header);

	if (n >= 2 && header[0] == '"' && header[n - 1] == '"') {
		header++;
		n -= 2;
	}
	if (n >= ETAG_MAX)
		n = 0;
	if (n > 0)
		memcpy(ret, header, n);
	ret[n] = '\0';
}

char *
s3_etag_quoted(const char *etag)
{
	return strncmp(etag, "W/", 2) == 0 ? xstrdup(etag) : xasprintf("\"%s\"", etag);
}

int64_t
s3_now(const struct s3 *s)
{
	return loop_wall(s->env->loop) + s->net.clock_offset_ms;
}

/* ---------------------------------------------------------------- error bodies */

static enum err_code
s3_error_element(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct s3_answer *a = arg;
	char              time[TIME_TEXT_MAX];

	(void)reterr;
	if (strncmp(path, "Error/", 6) != 0)
		return ERR_OK;
	path += 6;
	if (strcmp(path, "Code") == 0)
		span_text(a->code, sizeof(a->code), text);
	else if (strcmp(path, "Message") == 0)
		span_text(a->message, sizeof(a->message), text);
	else if (strcmp(path, "Region") == 0)
		span_text(a->region, sizeof(a->region), text);
	else if (strcmp(path, "Endpoint") == 0)
		span_text(a->endpoint, sizeof(a->endpoint), text);
	else if (strcmp(path, "ServerTime") == 0) {
		span_text(time, sizeof(time), text);
		if (!time_parse(time, &a->server_time))
			a->server_time = 0;
	}
	return ERR_OK;
}

/* What is no XML leaves code empty: a proxy's page, a HEAD. */
static void
s3_answer_parse(struct s3_answer *a)
{
	struct xml_reader *x;
	struct span        text;

	a->code[0] = a->message[0] = a->region[0] = a->endpoint[0] = '\0';
	a->server_time = 0;
	if (a->http.status < 300 || a->http.body == NULL || !body_in_memory(a->http.body))
		return;
	text = body_span(a->http.body);
	x = xml_reader_new(s3_error_element, a);
	xml_feed(x, text.p, text.n < S3_ERROR_MAX ? text.n : S3_ERROR_MAX, NULL);
	xml_reader_free(x);
}

bool
s3_answer_is(const struct s3_answer *a, int status, const char *code)
{
	return a->http.status == status && strcmp(a->code, code) == 0;
}

/* Of a HEAD, or the same with a body that says so: somebody else's page is no proof of absence. */
bool
s3_no_such_object(const struct s3_request *r, const struct s3_answer *a)
{
	return a->http.status == 404 && (strcmp(a->code, "NoSuchKey") == 0 || strcmp(a->code, "NotFound") == 0 ||
	    (a->code[0] == '\0' && strcmp(r->method, "HEAD") == 0));
}

bool
s3_precondition_failed(const struct s3_answer *a)
{
	return a->http.status == 412 || a->http.status == 304;
}

bool
s3_raced(const struct s3_answer *a)
{
	return a->http.status == 409 && (strcmp(a->code, "ConditionalRequestConflict") == 0 ||
	    strcmp(a->code, "OperationAborted") == 0);
}

bool
s3_no_conditions(const struct s3_answer *a)
{
	return a->http.status == 501 || (a->http.status == 400 && strcmp(a->code, "NotImplemented") == 0);
}

static bool
s3_code_in(const struct s3_answer *a, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(a->code, *list) == 0)
			return true;
	return false;
}

static bool
s3_expired(const struct s3_answer *a)
{
	static const char *const codes[] = { "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken",
	    NULL };

	return s3_code_in(a, codes);
}

static bool
s3_unknown_keys(const struct s3_answer *a)
{
	static const char *const codes[] = { "InvalidAccessKeyId", "XAdminUserNotFound", "InvalidClientTokenId", NULL };

	return s3_code_in(a, codes);
}

/* Refused for the load: nothing was done. */
static bool
s3_throttled(const struct s3_answer *a)
{
	static const char *const codes[] = { "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded",
	    "TooManyRequests", "RequestTimeout", NULL };

	return a->http.status == 429 || s3_code_in(a, codes);
}

/* ---------------------------------------------------------------- addresses */

/* "host:port" as it is sent and signed; the URL without a path. */
static void
s3_address(const struct s3 *s, struct buf *host, struct buf *url)
{
	char *aws = s->endpoint.scheme == NULL ? aws_host(s->conf, "s3", s->region) : NULL;

	if (!s->path_style)
		buf_printf(host, "%s.", s->conf->bucket);
	if (aws != NULL)
		buf_puts(host, aws);
	else
		url_host_header(&s->endpoint, host);
	buf_printf(url, "%s://%s", aws != NULL ? "https" : s->endpoint.scheme, buf_str(host));
	free(aws);
}

static void
s3_path(const struct s3 *s, const char *key, struct buf *ret)
{
	const char *base = s->endpoint.path != NULL ? s->endpoint.path : "";
	size_t      n = strlen(base);

	while (n > 0 && base[n - 1] == '/')
		n--;
	buf_put(ret, base, n);
	if (s->path_style)
		buf_printf(ret, "/%s", s->conf->bucket);
	if (key == NULL && ret->len > 0)
		return;
	buf_putc(ret, '/');
	if (key != NULL)
		url_escape(URL_S3_PATH, span_str(key), ret);
}

/* ---------------------------------------------------------------- sending */

struct s3_send {
	struct op         op;
	struct s3        *s;
	struct s3_request *r;
	struct s3_answer *ret;
	struct s3_request locate;     /* asks where the bucket is, when an answer without a body does not say why */
	struct s3_answer  located;
	struct timer      stall;      /* no piece of a body for too long */
	bool              stalled, region_learned, clock_learned, renewed, asked;
	char              region[64]; /* signed for */
	int64_t           offset;     /* signed with */
	unsigned          tries, generation;
	int64_t           begun;
};

enum s3_send_state { SEND_START, SEND_KEYED, SEND_ANSWERED, SEND_LOCATED };

static const char *const s3_send_states[] = { "start", "credentials", "answered", "located" };

static void
s3_send_free(struct op *op)
{
	struct s3_send *x = container_of(op, struct s3_send, op);

	timer_stop(&x->stall);
	s3_request_free(&x->locate);
	s3_answer_free(&x->located);
	free(x);
}

static void
s3_stalled(void *arg)
{
	struct s3_send *x = arg;

	x->stalled = true;
	op_cancel(x->op.child);
}

/* In front of the caller's own: every piece is a sign of life. */
static enum err_code
s3_piece(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct s3_send *x = arg;

	timer_set(&x->stall, x->s->b.common.timeout_ms);
	return x->r->on_body(x->r->arg, p, n, reterr);
}

static void
s3_sign(struct s3_send *x, const struct s3_request *r, const char *host, const char *path, struct http_header *ret, size_t *ret_n)
{
	static const struct digest empty = { { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f,
		0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 } };
	char             hex[DIGEST_HEX];
	struct sigv4_key key;

	s3_cred_key(x->s->cred, &key);
	x->generation = s3_cred_generation(x->s->cred);
	x->offset = x->s->net.clock_offset_ms;
	snprintf(x->region, sizeof(x->region), "%s", x->s->region);
	sigv4_sign(&key, &(struct sigv4_request){ .method = r->method, .host = host, .path = path, .query = r->query,
	    .headers = r->headers, .nheaders = r->nheaders, .payload_hash = digest_hex(r->body != NULL ? &r->digest : &empty, hex),
	    .region = x->region, .service = "s3", .wall_ms = s3_now(x->s), .content_sha256 = true }, ret, ret_n);
}

static int64_t
s3_timeout_ms(const struct s3 *s, const struct s3_request *r)
{
	uint64_t most = r->body != NULL ? body_size(r->body) : 0;

	if (r->on_body != NULL && r->max_body > most)
		most = r->max_body;
	return s->b.common.timeout_ms + (int64_t)(most / S3_BYTES_PER_MS);
}

static bool
s3_is_conditional(const struct s3_request *r)
{
	for (size_t i = 0; i < r->nheaders; i++)
		if (strncmp(r->headers[i].name, "if-", 3) == 0)
			return true;
	return false;
}

/* One time on the wire. */
static struct op *
s3_attempt(struct s3_send *x, const struct s3_request *r, struct s3_answer *ret)
{
	struct s3          *s = x->s;
	struct http_header  headers[S3_REQUEST_HEADERS + SIGV4_HEADERS_MAX];
	size_t              n = 0;
	struct buf          host, url, path;
	struct op          *op;
	bool                tls = s->endpoint.scheme == NULL || strcmp(s->endpoint.scheme, "https") == 0;
	struct http_request h = { .method = r->method, .headers = headers, .body = r->body, .changing = r->changing,
		.max_body = r->max_body, .max_body_name = r->max_body_name, .tls = &s->net.tls, .proxy = aws_proxy(s->conf, tls),
		.keep = r->keep, .spool = r->spool };

	buf_init(&host, 0);
	buf_init(&url, 0);
	buf_init(&path, 0);
	s3_address(s, &host, &url);
	s3_path(s, r->key, &path);
	buf_printf(&url, "%s%s%s", buf_str(&path), r->query != NULL ? "?" : "", r->query != NULL ? r->query : "");
	s3_sign(x, r, buf_str(&host), buf_str(&path), headers, &n);
	memcpy(headers + n, r->headers, r->nheaders * sizeof(*headers));
	h.url = buf_str(&url);
	h.nheaders = n + r->nheaders;
	h.timeout_ms = s3_timeout_ms(s, r);
	h.no_proxy = aws_direct(s->conf, buf_str(&host));
	h.expect_continue = r->body != NULL && body_size(r->body) > S3_EXPECT_ABOVE && s3_is_conditional(r);
	if (r->on_body != NULL) {
		h.on_body = s3_piece;
		h.on_body_arg = x;
		timer_set(&x->stall, s->b.common.timeout_ms);
	}
	if (r->restart != NULL)
		r->restart(r->arg);
	s3_answer_free(ret);
	op = http_request(s->env->http, &h, &ret->http);
	provider_sent(&s->b);
	for (size_t i = 0; i < n; i++) {
		mem_wipe(headers[i].value, strlen(headers[i].value));
		free(headers[i].value);
	}
	buf_free(&host);
	buf_free(&url);
	buf_free(&path);
	return op;
}

/* ---------------------------------------------------------------- what an answer teaches */

static bool
s3_region_plausible(const char *text)
{
	return text[0] != '\0' && strlen(text) < 64 && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* "bucket.s3.eu-west-1.amazonaws.com", "bucket.s3-eu-west-1.amazonaws.com" */
static void
s3_region_of_endpoint(struct s3_answer *a)
{
	const char *at = strstr(a->endpoint, ".s3");
	size_t      n;

	at = at != NULL ? at + 3 : strncmp(a->endpoint, "s3", 2) == 0 ? a->endpoint + 2 : NULL;
	if (at == NULL || (*at != '.' && *at != '-'))
		return;
	n = strcspn(++at, ".");
	if (n < sizeof(a->region) && strncmp(at + n, ".amazonaws.", 11) == 0)
		span_text(a->region, sizeof(a->region), span_of(at, n));
}

static bool
s3_learn_region(struct s3_send *x, struct s3_answer *a)
{
	struct s3  *s = x->s;
	const char *region = http_header_get(&a->http, "x-amz-bucket-region");
	int         status = a->http.status;

	if (status != 301 && status != 307 && status != 400 && status != 403)
		return false;
	if (region == NULL && a->region[0] == '\0')
		s3_region_of_endpoint(a);
	if (region == NULL)
		region = a->region;
	if (!s3_region_plausible(region) || strcmp(region, x->region) == 0 || x->region_learned)
		return false;
	x->region_learned = true;
	if (strcmp(region, s->region) == 0) /* another request was faster */
		return true;
	log_at(LOG_WARN, s->b.label, "bucket %s is in region %s, not %s: write that into its block", s->conf->bucket, region,
	    s->region);
	free(s->region);
	s->region = xstrdup(region);
	return true;
}

static bool
s3_learn_clock(struct s3_send *x, const struct s3_answer *a)
{
	struct s3 *s = x->s;
	int64_t    there = a->http.date_ms != 0 ? a->http.date_ms : a->server_time, offset = there - loop_wall(s->env->loop);
	bool       said = strcmp(a->code, "RequestTimeTooSkewed") == 0;
	bool       silent = a->code[0] == '\0' || strcmp(a->code, "SignatureDoesNotMatch") == 0 ||
	    strcmp(a->code, "AccessDenied") == 0;
	int64_t    wrong = offset - x->offset;
	char       text[TIME_TEXT_MAX];

	if ((a->http.status != 403 && a->http.status != 400) || there == 0 || (!said && !silent) || x->clock_learned)
		return false;
	if (!said && wrong < S3_SKEW_MS && wrong > -S3_SKEW_MS)
		return false;
	x->clock_learned = true;
	s->net.clock_offset_ms = offset;
	log_at(LOG_WARN, s->b.label, "the clock here is %s %s: requests are signed with the server's time",
	    duration_format(offset < 0 ? -offset : offset, text), offset < 0 ? "fast" : "slow");
	return true;
}

static bool
s3_learn_keys(struct s3_send *x, const struct s3_answer *a)
{
	bool refused = s3_expired(a) || s3_unknown_keys(a) || strcmp(a->code, "SignatureDoesNotMatch") == 0;

	if (a->http.status < 400 || !refused || x->renewed)
		return false;
	x->renewed = true;
	return s3_cred_reject(x->s->cred, x->generation);
}

/* All of these are refusals before anything was done: a write may be sent again too. */
static bool
s3_learn(struct s3_send *x, struct s3_answer *a)
{
	return a->http.status >= 300 && (s3_learn_region(x, a) || s3_learn_clock(x, a) || s3_learn_keys(x, a));
}

/* ---------------------------------------------------------------- and what is done about it */

/* Can it be sent again after wait, within the time one request has? A change only when it was refused for certain. */
static bool
s3_may_repeat(struct s3_send *x, int64_t *ret_wait)
{
	bool    answered = x->op.res.code == ERR_OK;
	bool    harmless = !x->r->changing || (answered && s3_throttled(x->ret));
	int64_t left = x->begun + x->s->b.common.timeout_ms - loop_now(x->op.loop);
	int64_t asked = answered ? x->ret->http.retry_after_ms : 0;

	*ret_wait = provider_backoff_ms(&x->s->b, x->tries > 0 ? x->tries - 1 : 0, S3_BACKOFF_MS);
	if (asked > *ret_wait)
		*ret_wait = asked;
	return harmless && !op_stopped(&x->op) && (int64_t)x->tries < x->s->conf->max_retries && *ret_wait <= left;
}

static enum op_turn
s3_send_busy(struct s3_send *x)
{
	const struct s3_answer *a = x->ret;
	bool                    unsure = x->r->changing && !s3_throttled(a);

	err_set(&x->op.res, unsure ? ERR_UNCERTAIN : ERR_BUSY, a->http.status, "bucket %s: the server answers %d%s%s%s",
	    x->s->conf->bucket, a->http.status, a->code[0] != '\0' ? " " : "", a->code,
	    unsure ? "; the write may have been carried out" : "");
	x->op.res.retry_after_ms = a->http.retry_after_ms;
	return op_fail(&x->op);
}

static enum op_turn
s3_send_judge(struct s3_send *x)
{
	struct op              *op = &x->op;
	const struct s3_answer *a = x->ret;
	bool                    failing = !op_failed(op) && (s3_throttled(a) || (a->http.status >= 500 && a->http.status != 501));
	int64_t                 wait;

	if (failing || op->res.code == ERR_NETWORK || op->res.code == ERR_TIMEOUT) {
		if (s3_may_repeat(x, &wait))
			return op_await(op, SEND_START, op_sleep(op->loop, wait));
		if (failing)
			return s3_send_busy(x);
	}
	if (op_failed(op) && op->res.code != ERR_CANCELLED)
		err_prefix(&op->res, "bucket %s", x->s->conf->bucket);
	return op_finish(op);
}

/* An answer without a body does not say why: asks for the bucket's place, whose refusal has one. */
static bool
s3_send_asks(struct s3_send *x)
{
	int status = x->ret->http.status;

	if (x->asked || strcmp(x->r->method, "HEAD") != 0 || x->ret->code[0] != '\0' || (status != 400 && status != 403))
		return false;
	x->asked = true;
	s3_request_free(&x->locate);
	x->locate.method = "GET";
	x->locate.query = xstrdup("location=");
	return true;
}

static enum op_turn
s3_send_step(struct op *op)
{
	struct s3_send *x = container_of(op, struct s3_send, op);

	switch ((enum s3_send_state)op->state) {
	case SEND_START:
		if (op_failed(op)) /* cancelled in a pause between two tries */
			return op_fail(op);
		if (x->tries == 0)
			x->begun = loop_now(op->loop);
		return op_await(op, SEND_KEYED, s3_cred_ready(x->s->cred, s3_now(x->s)));
	case SEND_KEYED:
		if (op_failed(op))
			return op_fail(op);
		x->tries++;
		x->stalled = false;
		return op_await(op, SEND_ANSWERED, s3_attempt(x, x->r, x->ret));
	case SEND_ANSWERED:
		timer_stop(&x->stall);
		if (x->stalled && op->res.code == ERR_CANCELLED && !op->cancelled)
			err_set(&op->res, ERR_TIMEOUT, 0, "no more of the answer within %lld ms",
			    (long long)x->s->b.common.timeout_ms);
		if (op_failed(op))
			return s3_send_judge(x);
		s3_answer_parse(x->ret);
		if (s3_learn(x, x->ret))
			return op_go(op, SEND_START);
		if (s3_send_asks(x))
			return op_await(op, SEND_LOCATED, s3_attempt(x, &x->locate, &x->located));
		return s3_send_judge(x);
	case SEND_LOCATED:
		if (op_failed(op)) {
			err_clear(&op->res);
			return s3_send_judge(x);
		}
		s3_answer_parse(&x->located);
		if (s3_learn(x, &x->located))
			return op_go(op, SEND_START);
		if (x->located.http.status == x->ret->http.status)
			memcpy(x->ret->code, x->located.code, sizeof(x->ret->code));
		return s3_send_judge(x);
	}
	return OP_DONE;
}

static const struct op_class s3_send_class = { "s3", s3_send_step, NULL, s3_send_free, s3_send_states, ARRAY_LEN(s3_send_states) };

struct op *
s3_send(struct s3 *s, struct s3_request *r, struct s3_answer *ret)
{
	struct s3_send *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &s3_send_class, s->env->loop);
	timer_init(&x->stall, s->env->loop, s3_stalled, x);
	x->s = s;
	x->r = r;
	x->ret = ret;
	return &x->op;
}

/* ---------------------------------------------------------------- refusals */

static const char *
s3_permission(const struct s3_request *r)
{
	bool object = r->key != NULL;

	if (strcmp(r->method, "PUT") == 0)
		return object ? "s3:PutObject" : "s3:CreateBucket";
	if (strcmp(r->method, "DELETE") == 0)
		return "s3:DeleteObject";
	return object ? "s3:GetObject" : "s3:ListBucket";
}

static enum err_code
s3_refused_keys(const struct s3 *s, const struct s3_answer *a, struct err *reterr)
{
	const char *source = s3_cred_source(s->cred);

	err_set(reterr, ERR_AUTH, a->http.status, "bucket %s: the credentials from %s are refused (%d %s)", s->conf->bucket, source,
	    a->http.status, a->code);
	if (s3_expired(a))
		return err_hint(reterr, "they have expired: renew them");
	if (s3_unknown_keys(a))
		return err_hint(reterr, "the server does not know this access key: check access_key and the endpoint");
	if (strcmp(a->code, "SignatureDoesNotMatch") == 0)
		return err_hint(reterr, "check secret_key, and that no proxy on the way changes requests");
	return ERR_AUTH;
}

#define S3_KEY_HINT "an object is read as it was written: under its sse_customer_key, or without one if it has none"

/* An object that wants a customer's key, or does not want the one that came. */
static bool
s3_refused_key(const struct s3_request *r, const struct s3_answer *a)
{
	return r->key != NULL && !r->changing && (a->http.status == 400 || a->http.status == 403) &&
	    strcasestr(a->message, "encryption") != NULL;
}

static enum err_code
s3_refused_denied(const struct s3 *s, const struct s3_request *r, const struct s3_answer *a, const char *what, struct err *reterr)
{
	bool kms = s->conf->encrypt && s->conf->kms_key_id != NULL;

	err_set(reterr, ERR_AUTH, a->http.status, "bucket %s: %s is not allowed (%d%s%s)", s->conf->bucket, what, a->http.status,
	    a->code[0] != '\0' ? " " : "", a->code);
	if (s3_refused_key(r, a))
		return err_hint(reterr, S3_KEY_HINT);
	if (strstr(a->message, "kms:") != NULL) /* S3 itself would allow it */
		return err_hint(reterr, "the credentials from %s need %s on the KMS key that encrypts it", s3_cred_source(s->cred),
		    r->changing ? "kms:GenerateDataKey" : "kms:Decrypt");
	return err_hint(reterr, "the credentials from %s need %s on arn:aws:s3:::%s%s%s%s%s", s3_cred_source(s->cred),
	    s3_permission(r), s->conf->bucket, r->key != NULL ? "/" : "", r->key != NULL ? r->key : "",
	    r->key != NULL && !r->changing ? ", and s3:ListBucket to tell a missing object from a forbidden one" : "",
	    kms && r->changing ? ", and kms:GenerateDataKey" : "");
}

static enum err_code
s3_refused_place(const struct s3 *s, const struct s3_answer *a, struct err *reterr)
{
	err_set(reterr, ERR_CONFIG, a->http.status, "bucket %s is not at this endpoint (%d %s)", s->conf->bucket, a->http.status,
	    a->code);
	if (a->endpoint[0] != '\0')
		return err_hint(reterr, "it is at %s: check region and endpoints", a->endpoint);
	return err_hint(reterr, "check region and endpoints");
}

enum err_code
s3_refused(const struct s3 *s, const struct s3_request *r, const struct s3_answer *a, const char *what, struct err *reterr)
{
	static const char *const keys[] = { "InvalidAccessKeyId", "XAdminUserNotFound", "InvalidClientTokenId",
		"SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken",
		"AuthorizationHeaderMalformed", "InvalidSecurity", "NotSignedUp", "AccountProblem", NULL };
	const char *bucket = s->conf->bucket;
	int         status = a->http.status;

	if (s3_code_in(a, keys))
		return s3_refused_keys(s, a, reterr);
	if (strcmp(a->code, "NoSuchBucket") == 0 || (status == 404 && r->key == NULL && a->code[0] == '\0' &&
	        strcmp(r->method, "HEAD") == 0)) {
		err_set(reterr, ERR_NOT_FOUND, status, "bucket %s does not exist (%d NoSuchBucket)", bucket, status);
		return err_hint(reterr, "check bucket and endpoint; create = true makes a missing bucket of a target");
	}
	if (strcmp(a->code, "RequestTimeTooSkewed") == 0) {
		err_set(reterr, ERR_AUTH, status, "bucket %s: the clock here is too far off (%d %s)", bucket, status, a->code);
		return err_hint(reterr, "set the clock, e.g. by NTP");
	}
	if (status == 301 || status == 307 || status == 308)
		return s3_refused_place(s, a, reterr);
	if (strncmp(a->code, "KMS.", 4) == 0) {
		err_set(reterr, ERR_CONFIG, status, "bucket %s: %s: its KMS key cannot be used (%d %s)", bucket, what, status, a->code);
		return err_hint(reterr, "check kms_key_id, that the key is enabled, and that it is in the bucket's region");
	}
	if (strcmp(a->code, "InvalidObjectState") == 0)
		return err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: the object is archived (%d %s)", bucket, what,
		    status, a->code);
	if (status == 407) {
		err_set(reterr, ERR_AUTH, status, "bucket %s: %s: the proxy on the way wants credentials (407)", bucket, what);
		return err_hint(reterr, PROVIDER_PROXY_HINT);
	}
	if (status == 401 || status == 403 || s3_refused_key(r, a))
		return s3_refused_denied(s, r, a, what, reterr);
	if (s3_no_conditions(a)) {
		err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: the store does not know this kind of request (%d %s)",
		    bucket, what, status, a->code);
		return err_hint(reterr, "it may lack conditional writes: stateferry probe %s shows it", s->b.label);
	}
	if (a->code[0] == '\0') {
		err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: the answer %d is none of S3", bucket, what, status);
		return err_hint(reterr, S3_OTHER_HINT);
	}
	return err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: %d %s: %.80s", bucket, what, status, a->code, a->message);
}
