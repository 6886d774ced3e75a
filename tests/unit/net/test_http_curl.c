/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "http_client_rig.h"

/* The curl client: what is sent, what an answer becomes, and the ways there. */

/* --- what is sent --- */

static void
check_sent(const char *method, struct body *body, const char *line, const char *has, const char *has_not)
{
	CHECK_U64(web_ask(method, line, body), ERR_OK);
	if (strstr(web_echoed(), has) == NULL)
		test_fail(__FILE__, __LINE__, "no \"%s\" in:\n%s", has, web_echoed());
	if (strcasestr(web_echoed(), has_not) != NULL)
		test_fail(__FILE__, __LINE__, "\"%s\" in:\n%s", has_not, web_echoed());
}

static void
requests(void)
{
	struct echo        echo = { 0 };
	struct raw_server *s = raw_server_new(serve_echo, &echo);
	struct body       *small = body_copy(SPAN_LIT("hello")), *none = body_copy(SPAN_LIT("")),
	    *large = web_body(3 << 20);
	const char        *url = web_url(raw_server_port(s), "/a/../b//c%2F?q=1&r");

	web_setup();
	check_sent("GET", NULL, url, "GET /a/../b//c%2F?q=1&r HTTP/1.1\r\n", "Content-Length");
	CHECK(strstr(web_echoed(), "\r\nUser-Agent: stateferry/") != NULL);
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
	CHECK_U64(web_ask("HEAD", url, NULL), ERR_OK);
	CHECK(web.answer.body == NULL && web.answer.body_size == 0 &&
	    strcmp(http_header_get(&web.answer, "content-length"), "0") != 0);
	CHECK_U64(atomic_load(&echo.conns), 1); /* all on one connection */
	body_unref(small);
	body_unref(none);
	body_unref(large);
	raw_server_free(s);
	web_teardown();
}

static void
headers(void)
{
	struct echo         echo = { 0 };
	struct raw_server  *s = raw_server_new(serve_echo, &echo);
	char                v1[] = "Bearer x", v2[] = "", v3[] = "agent/1";
	struct http_header  h[] = { { "Authorization", v1 }, { "X-Empty", v2 }, { "User-Agent", v3 } };
	struct http_request req = { .method = "GET", .url = web_url(raw_server_port(s), "/"), .headers = h,
	    .nheaders = 3 };

	web_setup();
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_OK);
	CHECK(strstr(web_echoed(), "\r\nAuthorization: Bearer x\r\n") != NULL);
	CHECK(strstr(web_echoed(), "\r\nX-Empty:\r\n") != NULL || strstr(web_echoed(), "\r\nX-Empty: \r\n") != NULL);
	CHECK(strstr(web_echoed(), "\r\nUser-Agent: agent/1\r\n") != NULL && strstr(web_echoed(), "stateferry/") == NULL);
	raw_server_free(s);
	web_teardown();
}

/* A file is read in pieces, and a spooled answer goes back into one. */
static void
files(void)
{
	size_t              n = (size_t)BODY_SPOOL_ABOVE + 12345;
	struct echo         echo = { 0 };
	struct raw_server  *s = raw_server_new(serve_echo, &echo);
	struct body        *memory = web_body(n);
	char                path[300], first[100];
	FILE               *f;
	struct http_request req = { .method = "PUT", .url = web_url(raw_server_port(s), "/"), .changing = true };

	web_setup();
	snprintf(path, sizeof(path), "%s/upload", test_tmpdir());
	f = fopen(path, "w+");
	CHECK(f != NULL && fwrite(body_span(memory).p, 1, n, f) == n && fflush(f) == 0);
	req.body = memory;
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_OK);
	snprintf(first, sizeof(first), "%s", strstr(web_echoed(), "\r\n\r\n"));
	req.body = body_from_fd(dup(fileno(f)), n);
	fclose(f);
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_OK);
	CHECK_STR(strstr(web_echoed(), "\r\n\r\n"), first);
	body_unref(req.body);
	body_unref(memory);
	raw_server_free(s);
	web_teardown();
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
		struct http_request req = { .method = "PUT", .url = web_url(raw_server_port(s), "/"), .changing = true,
		    .expect_continue = true,
			.body = web_body(2 << 20), .timeout_ms = 5000 };

		web_setup();
		web_begin(&req);
		CHECK_U64(web_finish(), ERR_OK);
		CHECK_U64((uint64_t)web.answer.status, statuses[i] == 0 ? 200 : (unsigned)statuses[i]);
		CHECK_U64(atomic_load(&x.heads), 1);
		CHECK_U64(atomic_load(&x.bodies), statuses[i] == 0);
		CHECK(http_header_get(&web.answer, "x-interim") == NULL);
		if (statuses[i] != 0 && statuses[i] != 417) /* of that libcurl drops the body */
			CHECK(span_is(body_span(web.answer.body), "no"));
		body_unref(req.body);
		raw_server_free(s);
		web_teardown();
	}
}

/* --- answers --- */

static void
answers(void)
{
	static const char  head[] = "HTTP/1.1 200 OK\r\nETag:   \"a\"  \r\nX-Fold: a\r\n  \r\n  b\r\nX-EMPTY:\r\n"
	                            "Date: Tue, 24 Nov 2026 10:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n";
	struct fixed       f = { head, 25000, true };
	struct raw_server *s = raw_server_new(serve_fixed, &f);

	web_setup();
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_STR(http_header_get(&web.answer, "etag"), "\"a\"");
	CHECK_STR(http_header_get(&web.answer, "x-fold"), "a b");
	CHECK_STR(http_header_get(&web.answer, "x-empty"), "");
	CHECK(http_header_get(&web.answer, "x-trailer") == NULL);
	CHECK(web.answer.date_ms == INT64_C(1795514400000));
	CHECK(web.answer.body_size == 25000 && body_size(web.answer.body) == 25000);
	raw_server_free(s);

	f = (struct fixed){ "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 0,
	    false };
	s = raw_server_new(serve_fixed, &f);
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_U64((uint64_t)web.answer.status, 301); /* not followed */
	raw_server_free(s);

	f = (struct fixed){ "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n", 3, false };
	s = raw_server_new(serve_fixed, &f);
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK(span_is(body_span(web.answer.body), "xxx")); /* bytes as they are */
	raw_server_free(s);
	web_teardown();
}

static void
check_limit(const struct fixed *f, const char *method, bool changing, enum err_code expect)
{
	struct raw_server  *s = raw_server_new(serve_fixed, (void *)f);
	struct http_request req = { .method = method, .url = web_url(raw_server_port(s), "/"), .max_body = 1000,
	    .changing = changing };

	web_begin(&req);
	if (web_finish() != expect)
		test_fail(__FILE__, __LINE__, "%.20s, %s: %d, %s", f->head, method, (int)web.outcome.code, web.outcome.msg);
	if (expect != ERR_OK)
		CHECK(strstr(web.outcome.msg, "larger than 1000 bytes") != NULL);
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

	web_setup();
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
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/"), NULL), ERR_UNSUPPORTED);
	CHECK(strstr(web.outcome.msg, "more than 64 headers") != NULL);
	raw_server_free(s);
	buf_free(&b);
	web_teardown();
}

/* --- routes --- */

static void
unix_socket(void)
{
	struct echo         echo = { 0 };
	char                path[200];
	struct raw_server  *s;
	struct http_request req = { .method = "GET", .url = "http://some.host/x", .unix_socket = path };

	web_setup();
	snprintf(path, sizeof(path), "%s/sock", test_tmpdir());
	s = raw_server_unix(path, serve_echo, &echo);
	web_begin(&req);
	CHECK_OK(web_finish(), web.outcome);
	CHECK(strstr(web_echoed(), "GET /x HTTP/1.1\r\nHost: some.host\r\n") == web_echoed());
	raw_server_free(s);
	unlink(path);
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_NETWORK);
	CHECK(strstr(web.outcome.msg, "unix:") == web.outcome.msg && strstr(web.outcome.msg, "no such file or directory") != NULL);
	web_teardown();
}

static void
proxies(void)
{
	struct echo         echo = { 0 };
	struct raw_server  *proxy = raw_server_new(serve_echo, &echo), *direct = raw_server_new(serve_echo, &echo);
	char                proxy_url[100], host_url[100];
	struct http_request req = { .method = "GET", .url = host_url };

	web_setup();
	snprintf(proxy_url, sizeof(proxy_url), "http://127.0.0.1:%u", raw_server_port(proxy));
	snprintf(host_url, sizeof(host_url), "http://127.0.0.1:%u/x", raw_server_port(direct));
	req.proxy = proxy_url;
	web_begin(&req);
	CHECK_OK(web_finish(), web.outcome);
	CHECK(strstr(web_echoed(), "GET http://127.0.0.1:") == web_echoed());
	req.proxy = NULL;
	setenv("http_proxy", proxy_url, 1);
	web_begin(&req);
	CHECK_OK(web_finish(), web.outcome);
	CHECK(strstr(web_echoed(), "GET http://127.0.0.1:") == web_echoed());
	req.no_proxy = true;
	web_begin(&req);
	CHECK_OK(web_finish(), web.outcome);
	CHECK(strstr(web_echoed(), "GET /x") == web_echoed());
	unsetenv("http_proxy");
	req.no_proxy = false;
	snprintf(proxy_url, sizeof(proxy_url), "http://localhost:%u", raw_closed_port());
	req.proxy = proxy_url;
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_NETWORK);
	CHECK(strstr(web.outcome.msg, "the proxy localhost: connection refused") != NULL);
	raw_server_free(proxy);
	raw_server_free(direct);
	web_teardown();
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

	web_setup();
	snprintf(proxy_url, sizeof(proxy_url), "http://127.0.0.1:%u", raw_server_port(s));
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_AUTH);
	CHECK_STR(web.outcome.msg, "storage.example: the proxy refused the connection (407)");
	CHECK(!web.answer.sent);
	raw_server_free(s);
	f.head = "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n";
	s = raw_server_new(serve_fixed, &f);
	snprintf(proxy_url, sizeof(proxy_url), "http://127.0.0.1:%u", raw_server_port(s));
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_NETWORK);
	CHECK(!web.answer.sent);
	raw_server_free(s);
	web_teardown();
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
	struct http_request req = { .method = "PUT", .url = web_url(raw_server_port(s), "/canary/path?sig=canary"),
	    .headers = &h, .nheaders = 1,
		.body = body_copy(SPAN_LIT("canary")) };

	web_setup();
	log_setup(LOG_DEBUG, false, NULL);
	log_sink(to_text, NULL);
	web_begin(&req);
	CHECK_OK(web_finish(), web.outcome);
	raw_server_free(s);
	web_begin(&req);
	CHECK(web_finish() != ERR_OK);
	log_sink(NULL, NULL);
	log_setup(LOG_INFO, false, NULL);
	CHECK(strstr(log_text, "answered method=PUT host=127.0.0.1:") != NULL &&
	    strstr(log_text, "status=200") != NULL);
	CHECK(strstr(log_text, "no answer") != NULL && strstr(log_text, "canary") == NULL);
	body_unref(req.body);
	web_teardown();
}

static void
trim(void)
{
	struct echo        echo = { 0 };
	struct raw_server *s = raw_server_new(serve_echo, &echo);

	web_setup();
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_U64(atomic_load(&echo.conns), 1);
	http_client_trim(web.client);
	CHECK_U64(web_ask("GET", web_url(raw_server_port(s), "/"), NULL), ERR_OK);
	CHECK_U64(atomic_load(&echo.conns), 2);
	CHECK(web.client->bytes_in > 100 && web.client->bytes_out > 100 && web.client->requests == 3 && web.client->failures == 0);
	raw_server_free(s);
	web_teardown();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "requests as sent", requests }, { "headers as sent", headers }, { "bodies from files", files },
		{ "expect continue", expect_continue }, { "answers", answers }, { "limits", limits },
		{ "unix socket", unix_socket }, { "proxies", proxies }, { "tunnels", tunnels },
		{ "a log without secrets", log_has_no_secrets }, { "trim", trim },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
