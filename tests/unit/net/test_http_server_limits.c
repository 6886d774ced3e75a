/* SPDX-License-Identifier: MIT */
#include <sys/resource.h>

#include "http_server_rig.h"

/* Who is refused: ambiguous requests, large bodies, slow peers, too many of them. */

/* --- what is refused --- */

static const struct refusal {
	const char *what, *head;
	int         status;
} refusals[] = {
	{ "HEAD with a length", "HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n", 400 },
	{ "GET with a length", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n", 400 },
	{ "GET with chunks", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "CL and TE", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "two lengths", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", 400 },
	{ "two hosts", "PUT / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400 },
	{ "two encodings",
	    "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "a sign", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\n", 400 },
	{ "gzip, chunked", "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501 },
	{ "a folded field", "PUT / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400 },
	{ "a bare LF", "PUT / HTTP/1.1\nHost: x\n\n", 400 },
	{ "a blank before the colon", "PUT / HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n", 400 },
	{ "no host", "PUT / HTTP/1.1\r\n\r\n", 400 },
	{ "..", "GET /../../a%2f..%2fb HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
	{ "NUL", "GET /a%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
};

/* None of them runs what looks like the next request, and the answer arrives although that stays unread. */
static void
ambiguous_requests_are_refused(void)
{
	char text[400];

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		served_start(over_tcp);
		for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
			struct peer *p = peer_new();

			snprintf(text, sizeof(text), "%sPOST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
			    refusals[i].head);
			peer_send(p, text);
			if (peer_status(peer_answer(p)) != refusals[i].status)
				test_fail(__FILE__, __LINE__, "%s: %s", refusals[i].what, buf_str(&p->got));
			CHECK(strstr(buf_str(&p->got), "\r\nConnection: close\r\n") != NULL);
			peer_close(p);
			buf_free(&p->got);
			npeers--;
		}
		CHECK_U64(served.accepts, 0);
		served_stop();
	}
}

static void
a_broken_chunk_is_refused(void)
{
	served_start(true);
	CHECK_STATUS(peer_ask(SERVED_CHUNKED "0x3\r\nabc\r\n0\r\n\r\n"), 400);
	CHECK_STATUS(peer_ask(SERVED_CHUNKED "-3\r\nabc\r\n0\r\n\r\n"), 400);
	CHECK_STATUS(peer_ask(SERVED_CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n"), 413);
	CHECK_U64(served.handles, 0);
	served_stop();
}

static void
a_second_request_is_not_run(void)
{
	const char *text;

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		served_start(over_tcp);
		text = peer_ask("GET /now HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\nGET /now HTTP/1.1\r\nHost: x\r\n\r\n");
		CHECK_STATUS(text, 200);
		CHECK(strstr(text + 1, "HTTP/1.1 ") == NULL);
		CHECK_U64(served.handles, 1);
		served_stop();
	}
}

static void
bodies_have_a_limit(void)
{
	served_start(true);
	served.body_max = 10;
	CHECK_STATUS(peer_ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"), 200);
	CHECK_STATUS(peer_ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n0123456789a"), 413);
	CHECK_STATUS(peer_ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999\r\n\r\n"), 413);
	CHECK_STATUS(peer_ask(SERVED_CHUNKED "a\r\n0123456789\r\n0\r\n\r\n"), 200);
	CHECK_STATUS(peer_ask(SERVED_CHUNKED "5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n"), 413);
	CHECK_U64(served.handles, 2);
	served.body_max = 0;
	CHECK_STATUS(peer_ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), 200);
	CHECK_STATUS(peer_ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"), 413);
	CHECK_STATUS(peer_ask(SERVED_CHUNKED "1\r\na\r\n0\r\n\r\n"), 413);
	CHECK_U64(served.handles, 3);
	served_stop();
}

/* The answer comes instead of the body, not after it, and is not lost when the peer sends on. */
static void
a_refused_body_is_not_waited_for(void)
{
	static char body[256 << 10];
	struct peer *p;

	memset(body, 'x', sizeof(body));
	served_start(true);
	p = peer_new();
	peer_send(p, "PUT /deny HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
	served_until(&served.gones, 1);
	CHECK(served.server->ncalls == 1 && served.server->first->phase == HTTP_LINGER);
	peer_send_n(p, body, sizeof(body));
	CHECK_STATUS(peer_answer(p), 401);
	CHECK(strstr(buf_str(&p->got), "\r\nWWW-Authenticate: Basic\r\n") != NULL);
	CHECK_U64(served.handles, 0);
	served_stop();
}

static bool
peer_has_something(void *arg)
{
	return ((struct peer *)arg)->got.len > 0;
}

static void
who_waits_for_continue_gets_it_after_accept(void)
{
	struct peer *p;

	served_start(true);
	p = peer_new();
	peer_send(p, "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	CHECK(loop_run_until(served.loop, peer_has_something, p, 5000));
	CHECK_STR(buf_str(&p->got), "HTTP/1.1 100 Continue\r\n\r\n");
	CHECK_U64(served.accepts, 1);
	peer_send(p, "abc");
	CHECK_STATUS(strstr(peer_answer(p), "\r\n\r\n") + 4, 200);
	CHECK_STATUS(peer_ask("PUT /deny HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"), 401);
	CHECK_STATUS(peer_ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n"), 413);
	served_stop();
}

/* --- slow peers --- */

static void
a_slow_head_is_cut(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p, *silent;
		int64_t      t0;

		served_start(over_tcp);
		silent = peer_new();
		p = peer_new();
		t0 = loop_now(served.loop);
		peer_send(p, "GET /now HTTP/1.1\r\nHost: x\r\nA: ");
		while (!p->eof && loop_now(served.loop) - t0 < 2000) {
			(void)send(p->fd, "a", 1, MSG_NOSIGNAL); /* one byte is no sign of life */
			served_wait_ms(20);
		}
		CHECK_STATUS(peer_answer(p), 408);
		CHECK_STATUS(peer_answer(silent), 408);
		CHECK(loop_now(served.loop) - t0 >= 200 && loop_now(served.loop) - t0 < 1500);
		CHECK_U64(served.accepts, 0);
		served_stop();
	}
}

static void
a_slow_body_is_cut(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;
		int64_t      t0;

		served_start(over_tcp);
		p = peer_new();
		t0 = loop_now(served.loop);
		peer_send(p, "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
		while (served.gones == 0 && loop_now(served.loop) - t0 < 2000) {
			(void)send(p->fd, "a", 1, MSG_NOSIGNAL);
			served_wait_ms(20);
		}
		CHECK(loop_now(served.loop) - t0 >= 200 && loop_now(served.loop) - t0 < 1500);
		CHECK(loop_run_until(served.loop, peer_is_done, p, 5000));
		CHECK(p->reset || peer_status(buf_str(&p->got)) == 408);
		CHECK_U64(served.handles, 0);
		CHECK_U64(served.gones, 1);
		served_stop();
	}
}

static void
a_body_that_keeps_the_rate_is_not(void)
{
	struct http_limits l = served_limits();
	struct peer       *p;

	l.rate = 2000;
	served_start_with(true, &l);
	p = peer_new();
	peer_send(p, "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n");
	for (int i = 0; i < 50; i++) { /* ten times the time that silence has */
		char piece[100];

		memset(piece, 'a', sizeof(piece));
		peer_send_n(p, piece, sizeof(piece));
		served_wait_ms(20);
	}
	CHECK_STATUS(peer_answer(p), 200);
	served_stop();
}

/* Some progress is not enough. */
static void
who_reads_too_slowly_is_cut(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;
		int64_t      t0;

		served_start(over_tcp);
		served_make_big(false);
		p = peer_new();
		fd_watch_set(p->watch, 0);
		peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
		served_until(&served.handles, 1);
		t0 = loop_now(served.loop);
		while (served.gones == 0 && loop_now(served.loop) - t0 < 3000) {
			static char piece[64 << 10];

			(void)recv(p->fd, piece, sizeof(piece), MSG_DONTWAIT);
			served_wait_ms(20);
		}
		CHECK(loop_now(served.loop) - t0 >= 250 && loop_now(served.loop) - t0 < 2000);
		CHECK_U64(served.gones, 1);
		served_stop();
	}
}

static void
who_does_not_read_is_cut(void)
{
	struct http_limits l = served_limits();
	struct peer       *p;

	l.rate = 1; /* what the kernel took gives time enough: only standing still counts */
	served_start_with(true, &l);
	served_make_big(false);
	p = peer_new();
	fd_watch_set(p->watch, 0);
	peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
	served_until(&served.gones, 1);
	served_stop();
}

/* --- many --- */

static void
more_than_the_limit_wait(void)
{
	struct http_limits l = served_limits();
	struct peer       *p[6];

	l.connections = 3;
	l.head_ms = 5000;
	served_start_with(true, &l);
	for (int i = 0; i < 6; i++) {
		p[i] = peer_new();
		peer_send(p[i], "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	}
	served_until(&served.late_count, 3);
	served_wait_ms(50);
	CHECK_U64(served.handles, 3);
	CHECK_U64(served.server->ncalls, 3);
	served_answer(served.late[0], 200, "");
	served_until(&served.handles, 4);
	while (served.gones < 6) {
		while (served.late_count > 0 && !served.late[0]->replied)
			served_answer(served.late[0], 200, "");
		CHECK(loop_turn(served.loop, true));
	}
	for (int i = 0; i < 6; i++)
		CHECK_STATUS(peer_answer(p[i]), 200);
	served_stop();
}

static void
one_address_has_fewer(void)
{
	struct http_limits l = served_limits();
	struct peer       *p[3];

	l.per_address = 2;
	served_start_with(true, &l);
	for (int i = 0; i < 3; i++)
		p[i] = peer_new();
	CHECK(loop_run_until(served.loop, peer_is_done, p[2], 150));
	CHECK_U64(p[2]->got.len, 0);
	peer_send(p[0], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(peer_answer(p[0]), 200);
	peer_send(p[1], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(peer_answer(p[1]), 200);
	served_stop();
}

/* Descriptors are used up. Nothing spins, nobody is lost. */
static void
no_descriptors_no_spinning(void)
{
	struct rlimit few = { 64, 0 }, before;
	struct peer  *p;
	int           fds[64], n = 0, fd, turns = 0;
	int64_t       t0;

	test_not_under_valgrind("the limit of descriptors");
	served_start(false);
	fd = peer_socket();
	p = peer_on(fd);
	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
	few.rlim_max = before.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (n < 64 && (fds[n] = dup(0)) >= 0)
		n++;
	peer_send(p, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	t0 = loop_now(served.loop);
	while (loop_now(served.loop) - t0 < 400 && turns < 10000) {
		loop_turn(served.loop, true);
		turns++;
	}
	while (n > 0)
		close(fds[--n]);
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
	CHECK(turns < 30);
	CHECK_U64(served.accepts, 0);
	CHECK_STATUS(peer_answer(p), 200);
	served_stop();
}

/* Room for the connection, none for the duplicate that libmicrohttpd gets. */
static void
no_second_descriptor_is_an_answer(void)
{
	struct rlimit few = { 64, 0 }, before;
	struct peer  *p;
	int           fds[64], n = 0;

	test_not_under_valgrind("the limit of descriptors");
	served_start(false);
	p = peer_new();
	served_wait_ms(20);
	CHECK_U64(served.server->ncalls, 1);
	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
	few.rlim_max = before.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (n < 64 && (fds[n] = dup(0)) >= 0)
		n++;
	peer_send(p, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	loop_run_until(served.loop, peer_is_done, p, 1000);
	while (n > 0)
		close(fds[--n]);
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
	CHECK_STATUS(peer_answer(p), 503);
	CHECK_U64(served.accepts, 0);
	served_stop();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "ambiguous requests are refused", ambiguous_requests_are_refused },
	    { "a broken chunk is refused", a_broken_chunk_is_refused },
	    { "a second request is not run", a_second_request_is_not_run },
	    { "bodies have a limit", bodies_have_a_limit },
	    { "a refused body is not waited for", a_refused_body_is_not_waited_for },
	    { "who waits for Continue gets it after accept", who_waits_for_continue_gets_it_after_accept },
	    { "a slow head is cut", a_slow_head_is_cut },
	    { "a slow body is cut", a_slow_body_is_cut },
	    { "a body that keeps the rate is not", a_body_that_keeps_the_rate_is_not },
	    { "who reads too slowly is cut", who_reads_too_slowly_is_cut },
	    { "who does not read is cut", who_does_not_read_is_cut },
	    { "more than the limit wait", more_than_the_limit_wait },
	    { "one address has fewer", one_address_has_fewer },
	    { "no descriptors, no spinning", no_descriptors_no_spinning },
	    { "no second descriptor is an answer", no_second_descriptor_is_an_answer },
	    { NULL, NULL } });
}
