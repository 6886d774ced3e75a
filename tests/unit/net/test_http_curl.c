/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/raw_server.h"
#include "../../lib/test.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/http_client.h"

/* The curl client against servers that misbehave: outcomes, what is sent, and that nothing is sent twice. */
static struct loop          *loop;
static struct work          *work;
static struct http_client   *client;
static struct http_response  answer;
static struct err            e, outcome;
static bool                  ended;

static void
setup(void)
{
	if (loop != NULL)
		return; /* left by a test that failed */
	loop = loop_new(&e);
	work = work_new(loop);
	CHECK_OK(http_client_curl(loop, work, test_tmpdir(), &client, &e), e);
	http_response_init(&answer);
}

static void
teardown(void)
{
	http_response_free(&answer);
	http_client_free(client);
	work_free(work);
	loop_free(loop);
	loop = NULL;
}

static void
on_done(struct op *op, void *arg)
{
	(void)arg;
	outcome = op->err;
	ended = true;
	op_free(op);
}

static bool
is_ended(void *arg)
{
	(void)arg;
	return ended;
}

static struct op *
begin(const struct http_request *req)
{
	struct op *op;

	http_response_free(&answer);
	op = http_request(client, req, &answer);
	ended = false;
	op_start(op, on_done, NULL);
	return op;
}

static enum err_code
finish(void)
{
	CHECK(loop_run_until(loop, is_ended, NULL, 20000));
	return outcome.code;
}

static const char *
url_of(unsigned port, const char *path)
{
	static char url[300];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);
	return url;
}

static struct body *
body_of(size_t n)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < n; i++)
		buf_putc(&b, (char)('a' + i % 23));
	return body_new(&b);
}

static enum err_code
ask_for(const char *method, const char *url, struct body *body, int64_t ms)
{
	struct http_request req = { .method = method, .url = url, .body = body, .timeout_ms = ms };

	req.changing = strcmp(method, "GET") != 0;
	begin(&req);
	return finish();
}

static enum err_code
ask(const char *method, const char *url, struct body *body)
{
	return ask_for(method, url, body, 10000);
}

/* --- faults --- */

enum fault {
	CLOSE_NOW, REFUSE, CLOSE_UNREAD, RESET_UNREAD, CLOSE_HALF_REQUEST, CLOSE_FULL_REQUEST, RESET_FULL_REQUEST,
	HALF_HEADERS, HALF_ANSWER,
	CUT_CHUNKS, STALL, STALL_IN_ANSWER, TOO_SHORT, TOO_LONG, TWO_LENGTHS, BUSY, NOT_HTTP, SILENT_HALF_REQUEST,
};

struct faulty {
	enum fault   fault;
	unsigned     good;     /* that many requests before are answered well, on the same connection */
	bool         once;     /* later connections are good */
	atomic_uint  begun;    /* requests of which a byte came, without those that are answered well */
	atomic_uint  whole;    /* that were read to their end */
};

static void
serve_fault(struct raw_conn *c, struct faulty *f)
{
	struct raw_request r;

	if (f->fault == CLOSE_NOW)
		return;
	if (raw_wait_readable(c)) /* then it was sent for sure */
		atomic_fetch_add(&f->begun, 1);
	switch (f->fault) {
	case RESET_UNREAD:
		raw_reset(c);
		return;
	case CLOSE_UNREAD:
		return;
	case CLOSE_HALF_REQUEST:
		raw_read(c, (char[20]){ 0 }, 20);
		return;
	case SILENT_HALF_REQUEST:
		raw_read(c, (char[20]){ 0 }, 20);
		raw_wait_closed(c);
		return;
	default:
		break;
	}
	if (!raw_read_request(c, &r)) {
		raw_request_free(&r);
		return;
	}
	raw_request_free(&r);
	atomic_fetch_add(&f->whole, 1);
	switch (f->fault) {
	case RESET_FULL_REQUEST:
		raw_reset(c);
		break;
	case HALF_HEADERS:
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Le");
		break;
	case HALF_ANSWER:
	case TOO_SHORT:
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
		break;
	case CUT_CHUNKS:
		raw_print(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo");
		break;
	case STALL:
		raw_wait_closed(c);
		break;
	case STALL_IN_ANSWER:
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
		raw_wait_closed(c);
		break;
	case TOO_LONG:
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more");
		break;
	case TWO_LENGTHS:
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello");
		break;
	case BUSY:
		raw_print(c, "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy");
		break;
	case NOT_HTTP:
		raw_print(c, "SSH-2.0-OpenSSH_9.2\r\n");
		break;
	default:
		break;
	}
}

static void
serve_faulty(struct raw_conn *c, void *arg)
{
	struct faulty     *f = arg;
	struct raw_request r = { .body = NULL };
	unsigned           good = f->once && c->number > 1 ? 1000 : f->good;

	while (good-- > 0 && raw_read_request(c, &r)) {
		if (strcmp(r.target, "/warm") != 0)
			atomic_fetch_add(&f->whole, 1);
		raw_request_free(&r);
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	}
	raw_request_free(&r);
	if (!f->once || c->number == 1)
		serve_fault(c, f);
}

static const struct {
	enum fault    fault;
	enum err_code read, change;
	bool          sent;
	const char   *says;
} matrix[] = {
	{ REFUSE, ERR_NETWORK, ERR_NETWORK, false, ": connection refused" },
	{ CLOSE_UNREAD, ERR_NETWORK, ERR_UNCERTAIN, true, "" },
	{ RESET_UNREAD, ERR_NETWORK, ERR_UNCERTAIN, true, "" },
	{ CLOSE_HALF_REQUEST, ERR_NETWORK, ERR_UNCERTAIN, true, "" },
	{ SILENT_HALF_REQUEST, ERR_TIMEOUT, ERR_UNCERTAIN, true, "no complete answer within" },
	{ CLOSE_FULL_REQUEST, ERR_NETWORK, ERR_UNCERTAIN, true, "closed without an answer" },
	{ RESET_FULL_REQUEST, ERR_NETWORK, ERR_UNCERTAIN, true, "connection reset by peer" },
	{ HALF_HEADERS, ERR_NETWORK, ERR_UNCERTAIN, true, "" },
	{ HALF_ANSWER, ERR_NETWORK, ERR_UNCERTAIN, true, "cut off after 5 of 10 bytes" },
	{ CUT_CHUNKS, ERR_NETWORK, ERR_UNCERTAIN, true, "cut off" },
	{ STALL, ERR_TIMEOUT, ERR_UNCERTAIN, true, "no complete answer within" },
	{ STALL_IN_ANSWER, ERR_TIMEOUT, ERR_UNCERTAIN, true, "no complete answer within" },
	{ TOO_SHORT, ERR_NETWORK, ERR_UNCERTAIN, true, "cut off after 5 of 10 bytes" },
	{ TOO_LONG, ERR_OK, ERR_OK, true, "" },
	{ TWO_LENGTHS, ERR_UNSUPPORTED, ERR_UNCERTAIN, true, "two lengths" },
	{ BUSY, ERR_OK, ERR_OK, true, "" },
	{ NOT_HTTP, ERR_NETWORK, ERR_UNCERTAIN, true, "not HTTP" },
};

static void
check_row(size_t row, const char *method, size_t body_bytes, bool reused)
{
	struct faulty      f = { .fault = matrix[row].fault, .good = reused ? 1 : 0 };
	enum fault         fault = f.fault;
	struct raw_server *s = fault == REFUSE ? NULL : raw_server_new(serve_faulty, &f);
	unsigned           port = s != NULL ? raw_server_port(s) : raw_closed_port(), before;
	struct body       *body = body_bytes > 0 ? body_of(body_bytes) : NULL;
	bool               changing = strcmp(method, "GET") != 0;
	bool               stalls = matrix[row].read == ERR_TIMEOUT;
	enum err_code      expect = changing ? matrix[row].change : matrix[row].read;

	setup();
	if (reused && s != NULL)
		CHECK_U64(ask("GET", url_of(port, "/warm"), NULL), ERR_OK);
	before = s != NULL ? raw_server_connections(s) : 0;
	ask_for(method, url_of(port, "/x?sig=canary"), body, stalls ? 150 : 10000);
	body_unref(body);
	if (outcome.code != expect || (expect != ERR_OK && !reused &&
	    strstr(outcome.msg, matrix[row].says) == NULL) || answer.sent != matrix[row].sent)
		test_fail(__FILE__, __LINE__, "fault %d, %s %zu, reused %d: code %d, expected %d, sent %d, \"%s\"",
		    (int)fault, method, body_bytes,
		    reused, (int)outcome.code, (int)expect, answer.sent, outcome.msg);
	CHECK(strstr(outcome.msg, "canary") == NULL);
	if (expect != ERR_OK)
		CHECK(strstr(outcome.msg, "127.0.0.1:") == outcome.msg && answer.status == 0 && answer.body == NULL);
	if (changing)
		CHECK(atomic_load(&f.whole) <= 1);
	if (changing && s != NULL && (atomic_load(&f.begun) != 1 || raw_server_connections(s) != before + !reused))
		test_fail(__FILE__, __LINE__, "fault %d, %s %zu, reused %d: begun %u times, %u connections, %s",
		    (int)fault, method, body_bytes,
		    reused, atomic_load(&f.begun), raw_server_connections(s), outcome.msg);
	if (fault == BUSY)
		CHECK(answer.status == 503 && answer.retry_after_ms == 3000 && span_is(body_span(answer.body), "busy"));
	if (fault == TOO_LONG)
		CHECK(span_is(body_span(answer.body), "hello"));
	raw_server_free(s);
	teardown();
}

static void
fault_matrix(void)
{
	for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
		check_row(i, "GET", 0, false);
		check_row(i, "PUT", 5000, false);
		check_row(i, "DELETE", 0, false);
	}
}

static void
fault_matrix_large_body(void)
{
	for (size_t i = 0; i < ARRAY_LEN(matrix); i++)
		/* where the send may break off first */
		if (matrix[i].fault != RESET_UNREAD && matrix[i].fault != CLOSE_UNREAD)
			check_row(i, "PUT", 900000, false);
}

/* On a connection that was used before: libcurl would send again what got no answer. */
static void
fault_matrix_reused(void)
{
	for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
		if (matrix[i].fault == REFUSE)
			continue;
		check_row(i, "PUT", 5000, true);
		check_row(i, "PUT", 0, true);
		check_row(i, "POST", 0, true);
		check_row(i, "DELETE", 0, true);
		check_row(i, "UNLOCK", 0, true);
		check_row(i, "LOCK", 300, true);
	}
}

/* A read may be repeated, and is: nobody sees that the idle connection was dead. */
static void
reads_are_repeated(void)
{
	struct faulty      f = { .fault = CLOSE_FULL_REQUEST, .good = 1, .once = true };
	struct raw_server *s = raw_server_new(serve_faulty, &f);
	struct body       *body = body_of(5000);
	struct http_request query = { .method = "POST", .body = body, .timeout_ms = 2000 };

	setup();
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/warm"), NULL), ERR_OK);
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/x"), NULL), ERR_OK);
	CHECK_U64(atomic_load(&f.whole), 2);
	CHECK_U64(raw_server_connections(s), 2);
	raw_server_free(s);

	atomic_store(&f.whole, 0);
	s = raw_server_new(serve_faulty, &f); /* also with a body, when the request changes nothing */
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/warm"), NULL), ERR_OK);
	query.url = url_of(raw_server_port(s), "/x");
	begin(&query);
	CHECK_U64(finish(), ERR_OK);
	CHECK_U64(atomic_load(&f.whole), 2);
	raw_server_free(s);
	body_unref(body);
	teardown();
}

/* Closed while idle, before we send: libcurl notices, and a changing request is sent once, on a new connection. */
static void
idle_close(void)
{
	struct faulty      f = { .fault = CLOSE_NOW, .good = 1, .once = true };
	struct raw_server *s = raw_server_new(serve_faulty, &f);

	setup();
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/warm"), NULL), ERR_OK);
	usleep(50000);
	CHECK_U64(ask("DELETE", url_of(raw_server_port(s), "/x"), NULL), ERR_OK);
	CHECK_U64(atomic_load(&f.whole), 1);
	CHECK_U64(raw_server_connections(s), 2);
	raw_server_free(s);
	teardown();
}

/* --- what is sent --- */

struct echo {
	atomic_uint conns, requests;
};

/* Answers with the head of the request, then a blank line, then length and sum of the body. */
static void
serve_echo(struct raw_conn *c, void *arg)
{
	struct echo       *echo = arg;
	struct raw_request r;

	atomic_fetch_add(&echo->conns, 1);
	while (raw_read_request(c, &r)) {
		char     text[20000];
		unsigned sum = 0;
		int      n;

		atomic_fetch_add(&echo->requests, 1);
		for (size_t i = 0; i < r.length; i++)
			sum = sum * 31 + (unsigned char)r.body[i];
		n = snprintf(text, sizeof(text), "%s%zu %u", r.head, r.length, sum);
		raw_print(c, "HTTP/1.1 200 OK\r\nX-Number: %u\r\nContent-Length: %d\r\n\r\n%s", c->number, n,
		    strcmp(r.method, "HEAD") == 0 ? "" : text);
		raw_request_free(&r);
	}
	raw_request_free(&r);
}

static const char *
echoed(void)
{
	static char text[20000];
	struct span s = body_span(answer.body);

	snprintf(text, sizeof(text), "%.*s", (int)s.n, (const char *)s.p);
	return text;
}

static void
check_sent(const char *method, struct body *body, const char *line, const char *has, const char *has_not)
{
	CHECK_U64(ask(method, line, body), ERR_OK);
	if (strstr(echoed(), has) == NULL)
		test_fail(__FILE__, __LINE__, "no \"%s\" in:\n%s", has, echoed());
	if (strcasestr(echoed(), has_not) != NULL)
		test_fail(__FILE__, __LINE__, "\"%s\" in:\n%s", has_not, echoed());
}

static void
requests(void)
{
	struct echo        echo = { 0 };
	struct raw_server *s = raw_server_new(serve_echo, &echo);
	struct body       *small = body_copy(SPAN_LIT("hello")), *none = body_copy(SPAN_LIT("")),
	    *large = body_of(3 << 20);
	const char        *url = url_of(raw_server_port(s), "/a/../b//c%2F?q=1&r");

	setup();
	check_sent("GET", NULL, url, "GET /a/../b//c%2F?q=1&r HTTP/1.1\r\n", "Content-Length");
	CHECK(strstr(echoed(), "\r\nUser-Agent: stateferry/") != NULL);
	check_sent("PUT", small, url, "\r\nContent-Length: 5\r\n", "Expect");
	check_sent("PUT", large, url, "\r\nContent-Length: 3145728\r\n", "Expect");
	check_sent("PUT", none, url, "\r\nContent-Length: 0\r\n", "Expect");
	check_sent("PUT", NULL, url, "\r\nContent-Length: 0\r\n", "Transfer-Encoding");
	check_sent("POST", NULL, url, "\r\nContent-Length: 0\r\n", "Content-Type");
	check_sent("POST", small, url, "POST /a/../b//c%2F?q=1&r HTTP/1.1\r\n", "Content-Type");
	check_sent("DELETE", NULL, url, "DELETE /a/../b//c%2F?q=1&r HTTP/1.1\r\n", "Content-Length");
	check_sent("LOCK", small, url, "LOCK /a/../b//c%2F?q=1&r HTTP/1.1\r\n", "Transfer-Encoding");
	check_sent("UNLOCK", NULL, url, "UNLOCK /a/../b//c%2F?q=1&r HTTP/1.1\r\n", "Content-Length");
	check_sent("DELETE", small, url, "\r\nContent-Length: 5\r\n", "Expect");
	CHECK_U64(ask("HEAD", url, NULL), ERR_OK);
	CHECK(answer.body == NULL && answer.body_size == 0 &&
	    strcmp(http_header_get(&answer, "content-length"), "0") != 0);
	CHECK_U64(atomic_load(&echo.conns), 1); /* all on one connection */
	body_unref(small);
	body_unref(none);
	body_unref(large);
	raw_server_free(s);
	teardown();
}

static void
headers(void)
{
	struct echo         echo = { 0 };
	struct raw_server  *s = raw_server_new(serve_echo, &echo);
	char                v1[] = "Bearer x", v2[] = "", v3[] = "agent/1";
	struct http_header  h[] = { { "Authorization", v1 }, { "X-Empty", v2 }, { "User-Agent", v3 } };
	struct http_request req = { .method = "GET", .url = url_of(raw_server_port(s), "/"), .headers = h,
	    .nheaders = 3 };

	setup();
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	CHECK(strstr(echoed(), "\r\nAuthorization: Bearer x\r\n") != NULL);
	CHECK(strstr(echoed(), "\r\nX-Empty:\r\n") != NULL || strstr(echoed(), "\r\nX-Empty: \r\n") != NULL);
	CHECK(strstr(echoed(), "\r\nUser-Agent: agent/1\r\n") != NULL && strstr(echoed(), "stateferry/") == NULL);
	raw_server_free(s);
	teardown();
}

/* A file is read in pieces, and a spooled answer goes back into one. */
static void
files(void)
{
	size_t              n = (size_t)BODY_SPOOL_ABOVE + 12345;
	struct echo         echo = { 0 };
	struct raw_server  *s = raw_server_new(serve_echo, &echo);
	struct body        *memory = body_of(n);
	char                path[300], first[100];
	FILE               *f;
	struct http_request req = { .method = "PUT", .url = url_of(raw_server_port(s), "/"), .changing = true };

	setup();
	snprintf(path, sizeof(path), "%s/upload", test_tmpdir());
	f = fopen(path, "w+");
	CHECK(f != NULL && fwrite(body_span(memory).p, 1, n, f) == n && fflush(f) == 0);
	req.body = memory;
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	snprintf(first, sizeof(first), "%s", strstr(echoed(), "\r\n\r\n"));
	req.body = body_from_fd(dup(fileno(f)), n);
	fclose(f);
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	CHECK_STR(strstr(echoed(), "\r\n\r\n"), first);
	body_unref(req.body);
	body_unref(memory);
	raw_server_free(s);
	teardown();
}

/* --- 100-continue --- */

struct expecting {
	int         status;   /* answered before the body; 0: 100, then 200 */
	atomic_uint heads;
	atomic_uint bodies;
};

static void
serve_expect(struct raw_conn *c, void *arg)
{
	struct expecting  *x = arg;
	struct raw_request r;
	char               expect[32];

	while (raw_read_head(c, &r)) {
		atomic_fetch_add(&x->heads, 1);
		if (x->status != 0) {
			raw_print(c, "HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno", x->status);
			raw_wait_closed(c);
			return;
		}
		if (raw_header(&r, "expect", expect, sizeof(expect)))
			raw_print(c, "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n");
		if (!raw_read_body(c, &r))
			return;
		raw_request_free(&r);
		atomic_fetch_add(&x->bodies, 1);
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	}
}

static void
expect_continue(void)
{
	static const int statuses[] = { 0, 412, 417, 403 };

	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		struct expecting    x = { .status = statuses[i] };
		struct raw_server  *s = raw_server_new(serve_expect, &x);
		struct http_request req = { .method = "PUT", .url = url_of(raw_server_port(s), "/"), .changing = true,
		    .expect_continue = true,
			.body = body_of(2 << 20), .timeout_ms = 5000 };

		setup();
		begin(&req);
		CHECK_U64(finish(), ERR_OK);
		CHECK_U64((uint64_t)answer.status, statuses[i] == 0 ? 200 : (unsigned)statuses[i]);
		CHECK_U64(atomic_load(&x.heads), 1);
		CHECK_U64(atomic_load(&x.bodies), statuses[i] == 0);
		CHECK(http_header_get(&answer, "x-interim") == NULL);
		if (statuses[i] != 0 && statuses[i] != 417) /* of that libcurl drops the body */
			CHECK(span_is(body_span(answer.body), "no"));
		body_unref(req.body);
		raw_server_free(s);
		teardown();
	}
}

/* --- answers --- */

struct fixed {
	const char *head;
	size_t      body;     /* bytes of 'x', in pieces */
	bool        chunked;
};

static void
serve_fixed(struct raw_conn *c, void *arg)
{
	const struct fixed *f = arg;
	struct raw_request  r;
	char                piece[10000];

	memset(piece, 'x', sizeof(piece));
	while (raw_read_request(c, &r)) {
		raw_request_free(&r);
		raw_print(c, "%s", f->head);
		for (size_t left = f->body, n; left > 0; left -= n) {
			n = left < sizeof(piece) ? left : sizeof(piece);
			if (f->chunked)
				raw_print(c, "%zx\r\n", n);
			if (!raw_write(c, piece, n))
				break;
			if (f->chunked)
				raw_print(c, "\r\n");
		}
		if (f->chunked)
			raw_print(c, "0\r\nX-Trailer: evil\r\nETag: \"evil\"\r\n\r\n");
	}
	raw_request_free(&r);
}

static void
answers(void)
{
	static const char  head[] = "HTTP/1.1 200 OK\r\nETag:   \"a\"  \r\nX-Fold: a\r\n  \r\n  b\r\nX-EMPTY:\r\n"
	                            "Date: Tue, 24 Nov 2026 10:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n";
	struct fixed       f = { head, 25000, true };
	struct raw_server *s = raw_server_new(serve_fixed, &f);

	setup();
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_STR(http_header_get(&answer, "etag"), "\"a\"");
	CHECK_STR(http_header_get(&answer, "x-fold"), "a b");
	CHECK_STR(http_header_get(&answer, "x-empty"), "");
	CHECK(http_header_get(&answer, "x-trailer") == NULL);
	CHECK(answer.date_ms == INT64_C(1795514400000));
	CHECK(answer.body_size == 25000 && body_size(answer.body) == 25000);
	raw_server_free(s);

	f = (struct fixed){ "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 0,
	    false };
	s = raw_server_new(serve_fixed, &f);
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_U64((uint64_t)answer.status, 301); /* not followed */
	raw_server_free(s);

	f = (struct fixed){ "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n", 3, false };
	s = raw_server_new(serve_fixed, &f);
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK(span_is(body_span(answer.body), "xxx")); /* bytes as they are */
	raw_server_free(s);
	teardown();
}

static void
check_limit(const struct fixed *f, const char *method, bool changing, enum err_code expect)
{
	struct raw_server  *s = raw_server_new(serve_fixed, (void *)f);
	struct http_request req = { .method = method, .url = url_of(raw_server_port(s), "/"), .max_body = 1000,
	    .changing = changing };

	begin(&req);
	if (finish() != expect)
		test_fail(__FILE__, __LINE__, "%.20s, %s: %d, %s", f->head, method, (int)outcome.code, outcome.msg);
	if (expect != ERR_OK)
		CHECK(strstr(outcome.msg, "larger than 1000 bytes") != NULL);
	raw_server_free(s);
}

static void
limits(void)
{
	struct fixed       exact = { "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 1000, false };
	struct fixed       above = { "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", 1001, false };
	struct fixed       chunks = { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 50000, true };
	struct fixed       head = { "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", 0, false };
	struct fixed       many = { NULL, 0, false };
	struct buf         b;
	struct raw_server *s;

	setup();
	check_limit(&exact, "GET", false, ERR_OK);
	check_limit(&above, "GET", false, ERR_UNSUPPORTED);
	check_limit(&above, "POST", true, ERR_UNCERTAIN);
	check_limit(&chunks, "GET", false, ERR_UNSUPPORTED);
	check_limit(&head, "HEAD", false, ERR_OK);
	buf_init(&b, 0);
	buf_puts(&b, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
	for (unsigned i = 0; i < HTTP_HEADERS_MAX; i++)
		buf_printf(&b, "X-%u: 1\r\n", i);
	buf_puts(&b, "\r\n");
	many.head = buf_str(&b);
	s = raw_server_new(serve_fixed, &many);
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/"), NULL), ERR_UNSUPPORTED);
	CHECK(strstr(outcome.msg, "more than 64 headers") != NULL);
	raw_server_free(s);
	buf_free(&b);
	teardown();
}

struct sink {
	size_t     n, largest, turn, refuse_at;
	struct op *cancel;
};

static enum err_code
take(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct sink *k = arg;

	(void)p;
	k->n += n;
	k->turn += n;
	if (n > k->largest)
		k->largest = n;
	if (k->refuse_at > 0 && k->n >= k->refuse_at)
		return err_set(reterr, ERR_CORRUPT, 5, "not what I want");
	if (k->cancel != NULL)
		op_cancel(k->cancel);
	return ERR_OK;
}

static void
streams(void)
{
	struct fixed        f = { "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n", 5000000, false };
	struct raw_server  *s = raw_server_new(serve_fixed, &f);
	struct sink         k = { 0 };
	struct http_request req = { .method = "GET", .url = url_of(raw_server_port(s), "/"), .on_body = take,
	    .on_body_arg = &k,
		.max_body = 5000000 };

	setup();
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	CHECK(k.n == 5000000 && k.largest <= 65536 && answer.body == NULL && answer.body_size == 5000000);
	k = (struct sink){ .refuse_at = 100000 };
	begin(&req);
	CHECK_U64(finish(), ERR_CORRUPT);
	CHECK_STR(outcome.msg, "not what I want");
	CHECK(k.n >= 100000 && k.n < 200000);
	k = (struct sink){ 0 };
	k.cancel = begin(&req); /* from inside libcurl */
	CHECK_U64(finish(), ERR_CANCELLED);
	CHECK(k.n < 1000000);
	raw_server_free(s);

	f = (struct fixed){ "HTTP/1.1 404 No\r\nContent-Length: 500\r\n\r\n", 500, false };
	s = raw_server_new(serve_fixed, &f);
	req.url = url_of(raw_server_port(s), "/");
	k = (struct sink){ 0 };
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	CHECK(k.n == 0 && body_size(answer.body) == 500);
	raw_server_free(s);
	teardown();
}

/* However fast the peer sends: the loop turns between bites. */
static void
bites(void)
{
	struct fixed        f = { "HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n", 30000000, false };
	struct raw_server  *s = raw_server_new(serve_fixed, &f);
	struct sink         k = { 0 };
	size_t              most = 0;
	struct http_request req = { .method = "GET", .url = url_of(raw_server_port(s), "/"), .on_body = take,
	    .on_body_arg = &k,
		.max_body = 30000000 };

	setup();
	begin(&req);
	while (!ended) {
		usleep(300); /* the socket is always full */
		k.turn = 0;
		loop_turn(loop, true);
		if (k.turn > most)
			most = k.turn;
	}
	CHECK(outcome.code == ERR_OK && k.n == 30000000);
	printf("# most in one turn: %zu bytes\n", most);
	CHECK(most < 800000);
	raw_server_free(s);
	teardown();
}

/* --- spooling --- */

static bool
all_x(const struct body *b)
{
	char   piece[65536];
	size_t n = 0;

	for (uint64_t at = 0; at < body_size(b); at += n) {
		CHECK_OK(body_read(b, at, piece, sizeof(piece), &n, &e), e);
		for (size_t i = 0; i < n; i++)
			if (piece[i] != 'x')
				return false;
	}
	return true;
}

static void
check_spool(bool chunked, size_t n, bool in_file)
{
	char                head[100];
	struct fixed        f = { head, n, chunked };
	struct raw_server  *s;
	struct http_request req = { .method = "GET", .spool = true, .max_body = n };
	struct loop_delay   d;

	setup();
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n%s%zu\r\n\r\n", chunked
	    ? "Transfer-Encoding: chunked\r\nX-Size: " : "Content-Length: ", n);
	s = raw_server_new(serve_fixed, &f);
	req.url = url_of(raw_server_port(s), "/");
	begin(&req);
	CHECK_OK(finish(), outcome);
	CHECK_U64(body_size(answer.body), n);
	CHECK_U64(answer.body_size, n);
	CHECK(body_in_memory(answer.body) == !in_file);
	CHECK(all_x(answer.body));
	loop_delay(loop, &d);
	printf("# %s%zu bytes: longest turn %.1f ms\n", chunked ? "chunked " : "", n, d.max_s * 1e3);
	raw_server_free(s);
	teardown();
}

static void
spooled(void)
{
	check_spool(false, (size_t)BODY_SPOOL_ABOVE, false);
	check_spool(false, (size_t)BODY_SPOOL_ABOVE + 1, true);
	check_spool(false, 60000000, true);
	check_spool(true, (size_t)BODY_SPOOL_ABOVE, false);
	check_spool(true, (size_t)BODY_SPOOL_ABOVE + 1, true);
}

static void
spool_fails(void)
{
	struct fixed        f = { "HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n", 60000000, false };
	struct raw_server  *s = raw_server_new(serve_fixed, &f);
	struct http_request req = { .method = "GET", .url = url_of(raw_server_port(s), "/"), .spool = true,
	    .max_body = 60000000 };
	struct http_client *lost;
	struct op          *op;

	setup();
	CHECK_OK(http_client_curl(loop, work, "/nonexistent/folder", &lost, &e), e);
	http_response_free(&answer);
	op = http_request(lost, &req, &answer);
	ended = false;
	op_start(op, on_done, NULL);
	CHECK_U64(finish(), ERR_IO);
	CHECK(strstr(outcome.msg, "cannot spool a body in /nonexistent/folder: No such file") != NULL);
	http_client_free(lost);
	raw_server_free(s);
	teardown();
}

static void
cancel_while_spooling(void)
{
	struct fixed        f = { "HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n", 60000000, false };
	struct raw_server  *s = raw_server_new(serve_fixed, &f);
	struct http_request req = { .method = "GET", .url = url_of(raw_server_port(s), "/"), .spool = true,
	    .max_body = 60000000 };

	setup();
	for (unsigned turns = 1; turns < 600; turns += 61) {
		struct op *op = begin(&req);

		for (unsigned i = 0; i < turns && !ended; i++)
			loop_turn(loop, true);
		if (!ended)
			op_cancel(op);
		finish();
		CHECK(outcome.code == ERR_CANCELLED || outcome.code == ERR_OK);
	}
	raw_server_free(s);
	teardown();
}

/* --- cancel --- */

static void
cancels(void)
{
	struct faulty       f = { .fault = STALL };
	struct raw_server  *s = raw_server_new(serve_faulty, &f);
	struct http_request req = { .url = url_of(raw_server_port(s), "/") };

	setup();
	for (int changing = 0; changing < 2; changing++) {
		req.method = changing ? "DELETE" : "GET";
		req.changing = changing;
		begin(&req);
		op_cancel(begin(&req)); /* before its first step; the other goes on */
		CHECK_U64(finish(), ERR_CANCELLED);
		op_cancel_all(loop);
		while (op_count(loop) > 0)
			loop_turn(loop, true);

		atomic_store(&f.whole, 0);
		begin(&req);
		while (atomic_load(&f.whole) == 0) /* it is there */
			loop_run_until(loop, is_ended, NULL, 5);
		op_cancel_all(loop);
		CHECK_U64(finish(), changing ? ERR_UNCERTAIN : ERR_CANCELLED);
		CHECK(answer.sent);
	}
	raw_server_free(s);
	teardown();
}

/* A listener that does not accept more: no connection, so nothing is sent. */
static void
cancel_unsent(void)
{
	struct faulty       f = { .fault = STALL };
	struct raw_server  *s = raw_server_new(serve_faulty, &f);
	struct http_request req = { .method = "DELETE", .url = url_of(raw_server_port(s), "/"), .changing = true };
	struct op          *op;

	setup();
	op = begin(&req);
	loop_turn(loop, false); /* its first step: libcurl has it, and has done nothing */
	op_cancel(op);
	CHECK_U64(finish(), ERR_CANCELLED);
	CHECK(!answer.sent);
	raw_server_free(s);
	teardown();
}

/* --- many at once --- */

struct gauge {
	atomic_int now, most;
};

static void
serve_slow(struct raw_conn *c, void *arg)
{
	struct gauge      *g = arg;
	struct raw_request r;

	while (raw_read_request(c, &r)) {
		int now = atomic_fetch_add(&g->now, 1) + 1, most = atomic_load(&g->most);

		raw_request_free(&r);
		while (now > most && !atomic_compare_exchange_weak(&g->most, &most, now))
			;
		usleep(2000);
		atomic_fetch_sub(&g->now, 1);
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	}
	raw_request_free(&r);
}

#define MANY 600

static void
many(void)
{
	test_not_under_valgrind("threads at once");

	struct gauge          g[2] = { { 0 }, { 0 } };
	struct raw_server    *s[2] = { raw_server_new(serve_slow, &g[0]), raw_server_new(serve_slow, &g[1]) };
	struct op            *ops[MANY];
	struct http_response *answers = calloc(MANY, sizeof(*answers));
	struct op            *all;

	setup();
	for (size_t i = 0; i < MANY; i++) {
		struct http_request req = { .method = "GET", .url = url_of(raw_server_port(s[i % 2]), "/") };

		ops[i] = http_request(client, &req, &answers[i]);
	}
	all = op_all(loop, ops, MANY, 0, NULL);
	ended = false;
	op_start(all, on_done, NULL);
	CHECK_OK(finish(), outcome);
	for (size_t i = 0; i < MANY; i++) {
		CHECK_U64((uint64_t)answers[i].status, 200);
		http_response_free(&answers[i]);
	}
	free(answers);
	for (size_t i = 0; i < 2; i++) {
		CHECK(atomic_load(&g[i].most) > HTTP_PER_HOST_MAX / 2 && atomic_load(&g[i].most) <= HTTP_PER_HOST_MAX);
		CHECK(raw_server_connections(s[i]) <= HTTP_PER_HOST_MAX + 1);
		raw_server_free(s[i]);
	}
	CHECK_U64(client->requests, MANY);
	teardown();
}

/* Cancelled in the middle, waiting or not: each op ends once, and nothing is left. */
static void
many_cancelled(void)
{
	struct gauge          g = { 0 };
	struct raw_server    *s = raw_server_new(serve_slow, &g);
	struct op            *ops[MANY];
	struct http_response *answers = calloc(MANY, sizeof(*answers));
	struct op            *all;

	setup();
	for (size_t i = 0; i < MANY; i++) {
		struct http_request req = { .method = "DELETE", .url = url_of(raw_server_port(s), "/"),
		    .changing = true };

		ops[i] = http_request(client, &req, &answers[i]);
	}
	all = op_all(loop, ops, MANY, 0, NULL);
	ended = false;
	op_start(all, on_done, NULL);
	loop_run_until(loop, is_ended, NULL, 30);
	op_cancel(all);
	CHECK(finish() != ERR_OK);
	for (size_t i = 0; i < MANY; i++)
		http_response_free(&answers[i]);
	free(answers);
	raw_server_free(s);
	teardown();
}

/* --- routes --- */

static void
unix_socket(void)
{
	struct echo         echo = { 0 };
	char                path[200];
	struct raw_server  *s;
	struct http_request req = { .method = "GET", .url = "http://some.host/x", .unix_socket = path };

	setup();
	snprintf(path, sizeof(path), "%s/sock", test_tmpdir());
	s = raw_server_unix(path, serve_echo, &echo);
	begin(&req);
	CHECK_OK(finish(), outcome);
	CHECK(strstr(echoed(), "GET /x HTTP/1.1\r\nHost: some.host\r\n") == echoed());
	raw_server_free(s);
	unlink(path);
	begin(&req);
	CHECK_U64(finish(), ERR_NETWORK);
	CHECK(strstr(outcome.msg, "unix:") == outcome.msg && strstr(outcome.msg, "no such file or directory") != NULL);
	teardown();
}

static void
proxies(void)
{
	struct echo         echo = { 0 };
	struct raw_server  *proxy = raw_server_new(serve_echo, &echo), *direct = raw_server_new(serve_echo, &echo);
	char                proxy_url[100], host_url[100];
	struct http_request req = { .method = "GET", .url = host_url };

	setup();
	snprintf(proxy_url, sizeof(proxy_url), "http://127.0.0.1:%u", raw_server_port(proxy));
	snprintf(host_url, sizeof(host_url), "http://127.0.0.1:%u/x", raw_server_port(direct));
	req.proxy = proxy_url;
	begin(&req);
	CHECK_OK(finish(), outcome);
	CHECK(strstr(echoed(), "GET http://127.0.0.1:") == echoed());
	req.proxy = NULL;
	setenv("http_proxy", proxy_url, 1);
	begin(&req);
	CHECK_OK(finish(), outcome);
	CHECK(strstr(echoed(), "GET http://127.0.0.1:") == echoed());
	req.no_proxy = true;
	begin(&req);
	CHECK_OK(finish(), outcome);
	CHECK(strstr(echoed(), "GET /x") == echoed());
	unsetenv("http_proxy");
	req.no_proxy = false;
	snprintf(proxy_url, sizeof(proxy_url), "http://localhost:%u", raw_closed_port());
	req.proxy = proxy_url;
	begin(&req);
	CHECK_U64(finish(), ERR_NETWORK);
	CHECK(strstr(outcome.msg, "the proxy localhost: connection refused") != NULL);
	raw_server_free(proxy);
	raw_server_free(direct);
	teardown();
}

/* A tunnel that is refused: the CONNECT was sent, the request was not. */
static void
tunnels(void)
{
	struct fixed        f = { "HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", 0, false };
	struct raw_server  *s = raw_server_new(serve_fixed, &f);
	char                proxy_url[100];
	struct http_request req = { .method = "DELETE", .url = "https://storage.example/x?sig=canary",
	    .proxy = proxy_url, .changing = true };

	setup();
	snprintf(proxy_url, sizeof(proxy_url), "http://127.0.0.1:%u", raw_server_port(s));
	begin(&req);
	CHECK_U64(finish(), ERR_AUTH);
	CHECK_STR(outcome.msg, "storage.example: the proxy refused the connection (407)");
	CHECK(!answer.sent);
	raw_server_free(s);
	f.head = "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n";
	s = raw_server_new(serve_fixed, &f);
	snprintf(proxy_url, sizeof(proxy_url), "http://127.0.0.1:%u", raw_server_port(s));
	begin(&req);
	CHECK_U64(finish(), ERR_NETWORK);
	CHECK(!answer.sent);
	raw_server_free(s);
	teardown();
}

/* --- the rest --- */

static char log_text[20000];

static void
to_text(void *arg, const char *line)
{
	(void)arg;
	snprintf(log_text + strlen(log_text), sizeof(log_text) - strlen(log_text), "%s\n", line);
}

static void
log_has_no_secrets(void)
{
	struct echo         echo = { 0 };
	struct raw_server  *s = raw_server_new(serve_echo, &echo);
	char                value[] = "Bearer canary";
	struct http_header  h = { "Authorization", value };
	struct http_request req = { .method = "PUT", .url = url_of(raw_server_port(s), "/canary/path?sig=canary"),
	    .headers = &h, .nheaders = 1,
		.body = body_copy(SPAN_LIT("canary")) };

	setup();
	log_setup(LOG_DEBUG, false, NULL);
	log_sink(to_text, NULL);
	begin(&req);
	CHECK_OK(finish(), outcome);
	raw_server_free(s);
	begin(&req);
	CHECK(finish() != ERR_OK);
	log_sink(NULL, NULL);
	log_setup(LOG_INFO, false, NULL);
	CHECK(strstr(log_text, "answered method=PUT host=127.0.0.1:") != NULL &&
	    strstr(log_text, "status=200") != NULL);
	CHECK(strstr(log_text, "no answer") != NULL && strstr(log_text, "canary") == NULL);
	body_unref(req.body);
	teardown();
}

static void
trim(void)
{
	struct echo        echo = { 0 };
	struct raw_server *s = raw_server_new(serve_echo, &echo);

	setup();
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_U64(atomic_load(&echo.conns), 1);
	http_client_trim(client);
	CHECK_U64(ask("GET", url_of(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_U64(atomic_load(&echo.conns), 2);
	CHECK(client->bytes_in > 100 && client->bytes_out > 100 && client->requests == 3 && client->failures == 0);
	raw_server_free(s);
	teardown();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "faults, read and change", fault_matrix }, { "faults, large body", fault_matrix_large_body },
		{ "faults on a reused connection", fault_matrix_reused }, { "reads are repeated", reads_are_repeated },
		{ "closed while idle", idle_close }, { "requests as sent", requests }, { "headers as sent", headers },
		{ "bodies from files", files }, { "expect continue", expect_continue }, { "answers", answers },
		{ "limits", limits },
		{ "streams", streams }, { "bites", bites }, { "spooled bodies", spooled },
		{ "a spool that fails", spool_fails },
		{ "cancel while spooling", cancel_while_spooling }, { "cancel", cancels },
		{ "cancel before it is sent", cancel_unsent },
		{ "many at once", many }, { "many cancelled", many_cancelled }, { "unix socket", unix_socket },
		{ "proxies", proxies },
		{ "tunnels", tunnels }, { "a log without secrets", log_has_no_secrets }, { "trim", trim },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
