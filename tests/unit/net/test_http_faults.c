/* SPDX-License-Identifier: MIT */
#include "http_client_rig.h"

/* The curl client against servers that misbehave: outcomes, and that nothing is sent twice. */

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
	struct body       *body = body_bytes > 0 ? web_body(body_bytes) : NULL;
	bool               changing = strcmp(method, "GET") != 0;
	bool               stalls = matrix[row].read == ERR_TIMEOUT;
	enum err_code      expect = changing ? matrix[row].change : matrix[row].read;

	web_setup();
	if (reused && s != NULL)
		CHECK_U64(web_ask("GET", web_url(port, "/warm"), NULL), ERR_OK);
	before = s != NULL ? raw_server_connections(s) : 0;
	web_ask_for(method, web_url(port, "/x?sig=canary"), body, stalls ? 150 : 10000);
	body_unref(body);
	if (web.outcome.code != expect || (expect != ERR_OK && !reused &&
	    strstr(web.outcome.msg, matrix[row].says) == NULL) || web.answer.sent != matrix[row].sent)
		test_fail(__FILE__, __LINE__, "fault %d, %s %zu, reused %d: code %d, expected %d, sent %d, \"%s\"",
		    (int)fault, method, body_bytes,
		    reused, (int)web.outcome.code, (int)expect, web.answer.sent, web.outcome.msg);
	CHECK(strstr(web.outcome.msg, "canary") == NULL);
	if (expect != ERR_OK)
		CHECK(strstr(web.outcome.msg, "127.0.0.1:") == web.outcome.msg && web.answer.status == 0 && web.answer.body == NULL);
	if (changing)
		CHECK(atomic_load(&f.whole) <= 1);
	if (changing && s != NULL && (atomic_load(&f.begun) != 1 || raw_server_connections(s) != before + !reused))
		test_fail(__FILE__, __LINE__, "fault %d, %s %zu, reused %d: begun %u times, %u connections, %s",
		    (int)fault, method, body_bytes,
		    reused, atomic_load(&f.begun), raw_server_connections(s), web.outcome.msg);
	if (fault == BUSY)
		CHECK(web.answer.status == 503 && web.answer.retry_after_ms == 3000 && span_is(body_span(web.answer.body), "busy"));
	if (fault == TOO_LONG)
		CHECK(span_is(body_span(web.answer.body), "hello"));
	raw_server_free(s);
	web_teardown();
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
	struct body       *body = web_body(5000);
	struct http_request query = { .method = "POST", .body = body, .timeout_ms = 2000 };

	web_setup();
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/warm"), NULL), ERR_OK);
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/x"), NULL), ERR_OK);
	CHECK_U64(atomic_load(&f.whole), 2);
	CHECK_U64(raw_server_connections(s), 2);
	raw_server_free(s);

	atomic_store(&f.whole, 0);
	s = raw_server_new(serve_faulty, &f); /* also with a body, when the request changes nothing */
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/warm"), NULL), ERR_OK);
	query.url = web_url(raw_server_port(s), "/x");
	web_begin(&query);
	CHECK_U64(web_finish(), ERR_OK);
	CHECK_U64(atomic_load(&f.whole), 2);
	raw_server_free(s);
	body_unref(body);
	web_teardown();
}

/* Closed while idle, before we send: libcurl notices, and a changing request is sent once, on a new connection. */
static void
idle_close(void)
{
	struct faulty      f = { .fault = CLOSE_NOW, .good = 1, .once = true };
	struct raw_server *s = raw_server_new(serve_faulty, &f);

	web_setup();
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/warm"), NULL), ERR_OK);
	usleep(50000);
	CHECK_U64(web_ask("DELETE", web_url(raw_server_port(s), "/x"), NULL), ERR_OK);
	CHECK_U64(atomic_load(&f.whole), 1);
	CHECK_U64(raw_server_connections(s), 2);
	raw_server_free(s);
	web_teardown();
}

/* --- cancel --- */

static void
cancels(void)
{
	struct faulty       f = { .fault = STALL };
	struct raw_server  *s = raw_server_new(serve_faulty, &f);
	struct http_request req = { .url = web_url(raw_server_port(s), "/") };

	web_setup();
	for (int changing = 0; changing < 2; changing++) {
		req.method = changing ? "DELETE" : "GET";
		req.changing = changing;
		web_begin(&req);
		op_cancel(web_begin(&req)); /* before its first step; the other goes on */
		CHECK_U64(web_finish(), ERR_CANCELLED);
		op_cancel_all(web.loop);
		while (op_count(web.loop) > 0)
			loop_turn(web.loop, true);

		atomic_store(&f.whole, 0);
		web_begin(&req);
		while (atomic_load(&f.whole) == 0) /* it is there */
			loop_run_until(web.loop, web_ended, NULL, 5);
		op_cancel_all(web.loop);
		CHECK_U64(web_finish(), changing ? ERR_UNCERTAIN : ERR_CANCELLED);
		CHECK(web.answer.sent);
	}
	raw_server_free(s);
	web_teardown();
}

/* A listener that does not accept more: no connection, so nothing is sent. */
static void
cancel_unsent(void)
{
	struct faulty       f = { .fault = STALL };
	struct raw_server  *s = raw_server_new(serve_faulty, &f);
	struct http_request req = { .method = "DELETE", .url = web_url(raw_server_port(s), "/"), .changing = true };
	struct op          *op;

	web_setup();
	op = web_begin(&req);
	loop_turn(web.loop, false); /* its first step: libcurl has it, and has done nothing */
	op_cancel(op);
	CHECK_U64(web_finish(), ERR_CANCELLED);
	CHECK(!web.answer.sent);
	raw_server_free(s);
	web_teardown();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "faults, read and change", fault_matrix }, { "faults, large body", fault_matrix_large_body },
		{ "faults on a reused connection", fault_matrix_reused }, { "reads are repeated", reads_are_repeated },
		{ "closed while idle", idle_close }, { "cancel", cancels },
		{ "cancel before it is sent", cancel_unsent },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
