/* SPDX-License-Identifier: MIT */
#include "net/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http_server_impl.h"
#include "../../lib/test.h"

/* Raw sockets against a server whose deadlines are short. */

#define PEERS_MAX 16
#define CHUNKED   "PUT /now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
#define BIG       ((size_t)8 << 20)

static struct loop        *loop;
static struct http_server *server;
static char                sock[400];
static struct sockaddr_in  addr;
static bool                tcp;
static unsigned            starts;
static struct err          e;

/* what the handlers saw */
static unsigned          accepts, handles, gones, late_count;
static struct http_call *late[PEERS_MAX];
static char              seen[2000];
static uid_t             seen_uid;
static bool              seen_local;
static uint64_t          body_max;
static struct body      *big;

/* --- handlers: /now answers at once, /late when told, /deny before the body, /big with 8 MB --- */

static void
answer(struct http_call *c, int status, const char *text)
{
	struct body *b = body_copy(span_str(text));

	http_reply(c, status, "text/plain", b);
	body_unref(b);
}

static uint64_t
on_accept(void *arg, struct http_call *c)
{
	CHECK(arg == &server);
	accepts++;
	CHECK(http_call_get(c) == NULL);
	http_call_set(c, seen);
	if (strcmp(http_call_path(c), "/deny") == 0) {
		http_reply_field(c, "WWW-Authenticate", "Basic");
		answer(c, 401, "who?\n");
		return 0;
	}
	return strcmp(http_call_method(c), "GET") == 0 ? 0 : body_max;
}

static void
note_query(void *arg, const char *name, const char *value)
{
	(void)arg;
	snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), " %s=[%s]", name, value);
}

static void
on_handle(void *arg, struct http_call *c)
{
	struct span body = http_call_body(c);
	const char *host = http_call_header(c, "host");

	(void)arg;
	handles++;
	CHECK(http_call_get(c) == seen);
	seen_local = http_call_local(c, &seen_uid);
	snprintf(seen, sizeof(seen), "%s %s %s %zu:%.*s", http_call_method(c), http_call_path(c),
	    host != NULL ? host : "-", body.n, (int)(body.n < 100 ? body.n : 100), body.n > 0 ? (const char *)body.p : "");
	http_call_query_each(c, note_query, NULL);
	if (strcmp(http_call_path(c), "/late") == 0)
		late[late_count++] = c;
	else if (strcmp(http_call_path(c), "/big") == 0)
		http_reply(c, 200, "application/octet-stream", big);
	else if (strcmp(http_call_path(c), "/none") == 0)
		http_reply(c, 204, NULL, NULL);
	else
		answer(c, 200, seen);
}

static void
on_gone(void *arg, struct http_call *c)
{
	(void)arg;
	CHECK(http_call_get(c) == seen);
	gones++;
	for (unsigned i = 0; i < late_count; i++)
		if (late[i] == c)
			late[i] = late[--late_count];
}

/* --- the server --- */

static struct http_limits
limits(void)
{
	struct http_limits l = http_limits_default;

	l.head_ms = 200;
	l.body_ms = 200;
	l.answer_ms = 300;
	l.linger_ms = 200;
	l.retry_ms = 150;
	l.rate = 1 << 30;
	return l;
}

static void
start_with(bool over_tcp, const struct http_limits *l)
{
	struct http_server_conf conf = { .accept = on_accept, .handle = on_handle, .gone = on_gone, .arg = &server };
	socklen_t               n = sizeof(addr);

	conf.unlink = true;
	tcp = over_tcp;
	accepts = handles = gones = late_count = 0;
	seen[0] = '\0';
	body_max = 64 << 10;
	loop = loop_new(&e);
	CHECK(loop != NULL);
	if (tcp) {
		CHECK_OK(http_listen_tcp("127.0.0.1:0", &conf.fd_owned, &e), e);
		CHECK(getsockname(conf.fd_owned, (struct sockaddr *)&addr, &n) == 0);
	} else {
		snprintf(sock, sizeof(sock), "%s/%u", test_tmpdir(), ++starts);
		CHECK_OK(http_listen_unix(sock, &conf.fd_owned, &e), e);
	}
	CHECK_OK(http_server_new_limited(loop, &conf, l, &server, &e), e);
}

static void
start(bool over_tcp)
{
	struct http_limits l = limits();

	start_with(over_tcp, &l);
}

/* --- peers: their sockets are on the same loop --- */

struct peer {
	int              fd;
	struct fd_watch *watch;
	struct buf       got;
	bool             eof, reset;
};
static struct peer peers[PEERS_MAX];
static unsigned    npeers;

static void
peer_reads(int fd, int ready, void *arg)
{
	struct peer *p = arg;
	char         buf[65536];
	ssize_t      n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	(void)ready;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		buf_put(&p->got, buf, (size_t)n);
		return;
	}
	p->eof = true;
	p->reset = n < 0;
	fd_watch_set(p->watch, 0);
}

static int
peer_socket(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int                fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	strcpy(un.sun_path, sock); /* the server listens there: it fits */
	if (tcp)
		CHECK(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	else
		CHECK(connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	return fd;
}

static struct peer *
peer_on(int fd)
{
	struct peer *p = &peers[npeers++];

	CHECK(npeers <= PEERS_MAX);
	*p = (struct peer){ .fd = fd };
	buf_init(&p->got, 0);
	p->watch = fd_watch_new(loop, fd, LOOP_READ, peer_reads, p);
	return p;
}

static struct peer *
peer_new(void)
{
	return peer_on(peer_socket());
}

static void
peer_send_n(struct peer *p, const char *text, size_t n)
{
	CHECK(send(p->fd, text, n, MSG_NOSIGNAL) == (ssize_t)n);
}

static void
peer_send(struct peer *p, const char *text)
{
	peer_send_n(p, text, strlen(text));
}

static void
peer_close(struct peer *p)
{
	fd_watch_free(p->watch);
	p->watch = NULL;
	close(p->fd);
	p->fd = -1;
}

static bool
peer_is_done(void *arg)
{
	return ((struct peer *)arg)->eof;
}

static const char *
peer_answer(struct peer *p)
{
	CHECK(loop_run_until(loop, peer_is_done, p, 5000));
	CHECK(!p->reset);
	return buf_str(&p->got);
}

static const char *
ask(const char *request)
{
	struct peer *p = peer_new();

	peer_send(p, request);
	return peer_answer(p);
}

static int
status_of(const char *answer_text)
{
	return strncmp(answer_text, "HTTP/1.1 ", 9) == 0 ? atoi(answer_text + 9) : 0;
}

#define CHECK_STATUS(text, status) \
	do { \
		const char *text_ = (text); \
		if (status_of(text_) != (status)) \
			test_fail(__FILE__, __LINE__, "not %d: %.300s", (status), text_); \
	} while (0)

static bool
never(void *arg)
{
	(void)arg;
	return false;
}

static void
wait_ms(int64_t ms)
{
	loop_run_until(loop, never, NULL, ms);
}

static bool
server_is_empty(void *arg)
{
	(void)arg;
	return server->ncalls == 0;
}

struct goal {
	const unsigned *n;
	unsigned        want;
};

static bool
goal_is_reached(void *arg)
{
	const struct goal *g = arg;

	return *g->n >= g->want;
}

static void
until(const unsigned *n, unsigned want)
{
	struct goal g = { n, want };

	CHECK(loop_run_until(loop, goal_is_reached, &g, 5000));
	CHECK_U64(*n, want);
}

static void
stop(void)
{
	for (unsigned i = 0; i < npeers; i++) {
		if (peers[i].fd >= 0)
			peer_close(&peers[i]);
		buf_free(&peers[i].got);
	}
	npeers = 0;
	if (server != NULL) {
		CHECK(loop_run_until(loop, server_is_empty, NULL, 5000));
		CHECK_U64(gones, accepts);
		http_server_free(server);
		server = NULL;
	}
	body_unref(big);
	big = NULL;
	loop_free(loop);
}

/* --- what is accepted --- */

static void
a_unix_socket_says_who_asks(void)
{
	const char *text;

	start(false);
	text = ask("GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(text, 200);
	CHECK(seen_local && seen_uid == getuid());
	CHECK(strstr(text, "\r\nConnection: close\r\n") != NULL);
	CHECK(strstr(text, "\r\nContent-Length: 13\r\n") != NULL);
	CHECK(strstr(text, "\r\nContent-Type: text/plain\r\n") != NULL);
	CHECK(strstr(text, "\r\nCache-Control: no-store\r\n") != NULL);
	CHECK(strstr(text, "\r\n\r\nGET /now x 0:") != NULL);
	stop();
}

static void
a_tcp_socket_does_not(void)
{
	start(true);
	CHECK_STATUS(ask("GET /now HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	CHECK(!seen_local);
	stop();
}

static void
any_method_and_its_body(void)
{
	static const char *const methods[] = { "LOCK", "UNLOCK", "POST", "PUT", "DELETE", "PROPFIND" };
	char                     text[300], want[100];

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		start(over_tcp);
		for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
			snprintf(text, sizeof(text), "%s /now?ID=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{\"a\":\"b\"",
			    methods[i]);
			CHECK_STATUS(ask(text), 200);
			snprintf(want, sizeof(want), "%s /now x 8:{\"a\":\"b\" ID=[1]", methods[i]);
			CHECK_STR(seen, want);
		}
		CHECK_U64(handles, ARRAY_LEN(methods));
		stop();
	}
}

static void
chunks_are_one_body(void)
{
	start(true);
	CHECK_STATUS(ask(CHUNKED "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
	    200);
	CHECK_STR(seen, "PUT /now x 13:abc0123456789");
	/* fields after the body are fields of nothing */
	CHECK_STATUS(ask(CHUNKED "1\r\na\r\n0\r\nHost: y\r\n\r\n"), 200);
	CHECK_STR(seen, "PUT /now x 1:a");
	CHECK_STATUS(ask(CHUNKED "0\r\n\r\n"), 200);
	CHECK_STR(seen, "PUT /now x 0:");
	stop();
}

static void
paths_and_queries_are_decoded(void)
{
	start(false);
	CHECK_STATUS(ask("GET /a%20%C3%BC+b?x=%2F..%2f&y=1+2%2B&y=&z&%61=b%3Dc HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	CHECK_STR(seen, "GET /a \xc3\xbc+b x 0: x=[/../] y=[1 2+] y=[] z=[] a=[b=c]");
	stop();
}

static void
head_is_get_without_the_body(void)
{
	const char *text;

	start(true);
	text = ask("HEAD /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(text, 200);
	CHECK(strstr(text, "\r\nContent-Length: 14\r\n") != NULL);
	CHECK_STR(strstr(text, "\r\n\r\n"), "\r\n\r\n");
	text = ask("HEAD /a/../b HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(text, 400);
	CHECK_STR(strstr(text, "\r\n\r\n"), "\r\n\r\n");
	stop();
}

static void
an_answer_may_be_empty(void)
{
	const char *text;

	start(true);
	text = ask("GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(text, 204);
	CHECK(strstr(text, "\r\nContent-Type") == NULL);
	stop();
}

static void
an_old_client_is_served(void)
{
	start(true);
	CHECK_STATUS(ask("GET /now HTTP/1.0\r\n\r\n"), 200);
	CHECK_STR(seen, "GET /now - 0:");
	stop();
}

static void
a_head_may_come_in_any_pieces(void)
{
	static const char text[] = "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct http_limits l = limits();
		struct peer       *p;

		l.head_ms = l.body_ms = 5000;
		start_with(over_tcp, &l);
		p = peer_new();
		for (size_t i = 0; i < sizeof(text) - 1; i++) {
			peer_send_n(p, text + i, 1);
			wait_ms(1);
		}
		CHECK_STATUS(peer_answer(p), 200);
		CHECK_STR(seen, "PUT /now x 3:abc");
		stop();
	}
}

static void
the_largest_head_fits(void)
{
	struct buf b;

	start(true);
	buf_init(&b, 0);
	buf_puts(&b, "PUT /?");
	for (int i = 1; i < HTTP_ARGS_MAX; i++)
		buf_puts(&b, "a&");
	while (b.len < 4 + HTTP_TARGET_MAX)
		buf_putc(&b, 'a');
	buf_puts(&b, " HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n");
	for (int i = 2; i < HTTP_FIELDS_MAX; i++) {
		buf_printf(&b, "x%d: ", i);
		for (int j = 0; j < 248; j++)
			buf_putc(&b, 'y');
		buf_puts(&b, "\r\n");
	}
	buf_puts(&b, "\r\n");
	CHECK(b.len > HTTP_HEAD_MAX - 1000);
	for (int i = 0; i < 20000; i++)
		buf_putc(&b, 'z');
	CHECK_STATUS(ask(buf_str(&b)), 200);
	CHECK_U64(handles, 1);
	buf_free(&b);
	stop();
}

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
		start(over_tcp);
		for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
			struct peer *p = peer_new();

			snprintf(text, sizeof(text), "%sPOST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
			    refusals[i].head);
			peer_send(p, text);
			if (status_of(peer_answer(p)) != refusals[i].status)
				test_fail(__FILE__, __LINE__, "%s: %s", refusals[i].what, buf_str(&p->got));
			CHECK(strstr(buf_str(&p->got), "\r\nConnection: close\r\n") != NULL);
			peer_close(p);
			buf_free(&p->got);
			npeers--;
		}
		CHECK_U64(accepts, 0);
		stop();
	}
}

static void
a_broken_chunk_is_refused(void)
{
	start(true);
	CHECK_STATUS(ask(CHUNKED "0x3\r\nabc\r\n0\r\n\r\n"), 400);
	CHECK_STATUS(ask(CHUNKED "-3\r\nabc\r\n0\r\n\r\n"), 400);
	CHECK_STATUS(ask(CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n"), 413);
	CHECK_U64(handles, 0);
	stop();
}

static void
a_second_request_is_not_run(void)
{
	const char *text;

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		start(over_tcp);
		text = ask("GET /now HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\nGET /now HTTP/1.1\r\nHost: x\r\n\r\n");
		CHECK_STATUS(text, 200);
		CHECK(strstr(text + 1, "HTTP/1.1 ") == NULL);
		CHECK_U64(handles, 1);
		stop();
	}
}

static void
bodies_have_a_limit(void)
{
	start(true);
	body_max = 10;
	CHECK_STATUS(ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"), 200);
	CHECK_STATUS(ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n0123456789a"), 413);
	CHECK_STATUS(ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999\r\n\r\n"), 413);
	CHECK_STATUS(ask(CHUNKED "a\r\n0123456789\r\n0\r\n\r\n"), 200);
	CHECK_STATUS(ask(CHUNKED "5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n"), 413);
	CHECK_U64(handles, 2);
	body_max = 0;
	CHECK_STATUS(ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), 200);
	CHECK_STATUS(ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"), 413);
	CHECK_STATUS(ask(CHUNKED "1\r\na\r\n0\r\n\r\n"), 413);
	CHECK_U64(handles, 3);
	stop();
}

/* The answer comes instead of the body, not after it, and is not lost when the peer sends on. */
static void
a_refused_body_is_not_waited_for(void)
{
	static char body[256 << 10];
	struct peer *p;

	memset(body, 'x', sizeof(body));
	start(true);
	p = peer_new();
	peer_send(p, "PUT /deny HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
	until(&gones, 1);
	CHECK(server->ncalls == 1 && server->first->phase == HTTP_LINGER);
	peer_send_n(p, body, sizeof(body));
	CHECK_STATUS(peer_answer(p), 401);
	CHECK(strstr(buf_str(&p->got), "\r\nWWW-Authenticate: Basic\r\n") != NULL);
	CHECK_U64(handles, 0);
	stop();
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

	start(true);
	p = peer_new();
	peer_send(p, "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	CHECK(loop_run_until(loop, peer_has_something, p, 5000));
	CHECK_STR(buf_str(&p->got), "HTTP/1.1 100 Continue\r\n\r\n");
	CHECK_U64(accepts, 1);
	peer_send(p, "abc");
	CHECK_STATUS(strstr(peer_answer(p), "\r\n\r\n") + 4, 200);
	CHECK_STATUS(ask("PUT /deny HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"), 401);
	CHECK_STATUS(ask("PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n"), 413);
	stop();
}

/* --- slow peers --- */

static void
a_slow_head_is_cut(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p, *silent;
		int64_t      t0;

		start(over_tcp);
		silent = peer_new();
		p = peer_new();
		t0 = loop_now(loop);
		peer_send(p, "GET /now HTTP/1.1\r\nHost: x\r\nA: ");
		while (!p->eof && loop_now(loop) - t0 < 2000) {
			(void)send(p->fd, "a", 1, MSG_NOSIGNAL); /* one byte is no sign of life */
			wait_ms(20);
		}
		CHECK_STATUS(peer_answer(p), 408);
		CHECK_STATUS(peer_answer(silent), 408);
		CHECK(loop_now(loop) - t0 >= 200 && loop_now(loop) - t0 < 1500);
		CHECK_U64(accepts, 0);
		stop();
	}
}

static void
a_slow_body_is_cut(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;
		int64_t      t0;

		start(over_tcp);
		p = peer_new();
		t0 = loop_now(loop);
		peer_send(p, "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
		while (gones == 0 && loop_now(loop) - t0 < 2000) {
			(void)send(p->fd, "a", 1, MSG_NOSIGNAL);
			wait_ms(20);
		}
		CHECK(loop_now(loop) - t0 >= 200 && loop_now(loop) - t0 < 1500);
		CHECK(loop_run_until(loop, peer_is_done, p, 5000));
		CHECK(p->reset || status_of(buf_str(&p->got)) == 408);
		CHECK_U64(handles, 0);
		CHECK_U64(gones, 1);
		stop();
	}
}

static void
a_body_that_keeps_the_rate_is_not(void)
{
	struct http_limits l = limits();
	struct peer       *p;

	l.rate = 2000;
	start_with(true, &l);
	p = peer_new();
	peer_send(p, "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n");
	for (int i = 0; i < 50; i++) { /* ten times the time that silence has */
		char piece[100];

		memset(piece, 'a', sizeof(piece));
		peer_send_n(p, piece, sizeof(piece));
		wait_ms(20);
	}
	CHECK_STATUS(peer_answer(p), 200);
	stop();
}

static void
make_big(bool in_file)
{
	uint32_t *p = xmalloc(BIG);
	char      path[400];
	int       fd;

	for (size_t i = 0; i < BIG / 4; i++)
		p[i] = (uint32_t)i;
	if (in_file) {
		snprintf(path, sizeof(path), "%s/big", test_tmpdir());
		fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
		CHECK(fd >= 0 && write(fd, p, BIG) == (ssize_t)BIG && unlink(path) == 0);
		big = body_from_fd(fd, BIG);
	} else {
		big = body_copy(span_of(p, BIG));
	}
	free(p);
}

/* Some progress is not enough. */
static void
who_reads_too_slowly_is_cut(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;
		int64_t      t0;

		start(over_tcp);
		make_big(false);
		p = peer_new();
		fd_watch_set(p->watch, 0);
		peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
		until(&handles, 1);
		t0 = loop_now(loop);
		while (gones == 0 && loop_now(loop) - t0 < 3000) {
			static char piece[64 << 10];

			(void)recv(p->fd, piece, sizeof(piece), MSG_DONTWAIT);
			wait_ms(20);
		}
		CHECK(loop_now(loop) - t0 >= 250 && loop_now(loop) - t0 < 2000);
		CHECK_U64(gones, 1);
		stop();
	}
}

static void
who_does_not_read_is_cut(void)
{
	struct http_limits l = limits();
	struct peer       *p;

	l.rate = 1; /* what the kernel took gives time enough: only standing still counts */
	start_with(true, &l);
	make_big(false);
	p = peer_new();
	fd_watch_set(p->watch, 0);
	peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
	until(&gones, 1);
	stop();
}

/* --- answers --- */

static int64_t
cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Processor time of the longest turn: what else runs on the machine does not count. */
static void
big_answers_stream_and_nothing_blocks(void)
{
	test_not_under_valgrind("how fast a peer reads");
	for (int in_file = 0; in_file < 2; in_file++) {
		struct peer *p;
		int64_t      worst = 0;
		size_t       at;

		start(true);
		make_big(in_file);
		p = peer_new();
		peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
		CHECK(buf_reserve(&p->got, BIG + 10000, &e) == ERR_OK);
		while (!p->eof) {
			int64_t t0 = cpu_us();

			CHECK(loop_turn(loop, true));
			worst = cpu_us() - t0 > worst ? cpu_us() - t0 : worst;
		}
		CHECK_STATUS(buf_str(&p->got), 200);
		CHECK(strstr(buf_str(&p->got), "\r\nContent-Length: 8388608\r\n") != NULL);
		at = (size_t)(strstr(buf_str(&p->got), "\r\n\r\n") - buf_str(&p->got)) + 4;
		CHECK_U64(p->got.len - at, BIG);
		for (size_t i = 0; i < BIG / 4; i++) {
			uint32_t v;

			memcpy(&v, p->got.data + at + 4 * i, 4);
			if (v != i)
				test_fail(__FILE__, __LINE__, "byte %zu", 4 * i);
		}
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		if (worst >= LOOP_TURN_MAX_MS * 1000)
			test_fail(__FILE__, __LINE__, "a turn took %lld us", (long long)worst);
#endif
		stop();
	}
}

static void
a_body_that_cannot_be_read_cuts_the_answer(void)
{
	struct peer *p;
	int          fd = open("/dev/null", O_RDONLY);

	start(true);
	big = body_from_fd(fd, 100000); /* ends at once */
	p = peer_new();
	peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK(loop_run_until(loop, peer_is_done, p, 5000));
	CHECK(p->got.len < 100000);
	CHECK_U64(gones, 1);
	stop();
}

static void
a_late_answer_arrives(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		start(over_tcp);
		p = peer_new();
		peer_send(p, "LOCK /late HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
		until(&late_count, 1);
		wait_ms(600); /* longer than any deadline: this time is the handler's */
		CHECK_U64(gones, 0);
		CHECK_U64(handles, 1);
		answer(late[0], 423, "held\n");
		CHECK_STATUS(peer_answer(p), 423);
		until(&gones, 1);
		CHECK_U64(handles, 1);
		stop();
	}
}

static void
several_late_answers_in_any_order(void)
{
	struct peer *p[4];

	start(false);
	for (int i = 0; i < 4; i++) {
		p[i] = peer_new();
		peer_send(p[i], "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		until(&late_count, (unsigned)i + 1);
	}
	answer(late[2], 202, "");
	answer(late[0], 200, "");
	answer(late[3], 203, "");
	answer(late[1], 201, "");
	for (int i = 0; i < 4; i++)
		CHECK_STATUS(peer_answer(p[i]), 200 + i);
	stop();
}

/* --- peers that leave --- */

static void
one_that_leaves_while_we_work_is_gone_once(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		start(over_tcp);
		p = peer_new();
		peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		until(&late_count, 1);
		peer_close(p);
		until(&gones, 1);
		wait_ms(50);
		CHECK_U64(gones, 1);
		CHECK_U64(late_count, 0);
		stop();
	}
}

/* The handler answers in the moment between our seeing it and gone(). */
static void
an_answer_to_one_that_left_is_dropped(void)
{
	struct http_call *c;
	struct peer      *p;

	start(false);
	p = peer_new();
	peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	until(&late_count, 1);
	c = late[0];
	peer_close(p);
	http_call_cut(c); /* as our look at the socket does */
	CHECK_U64(gones, 0);
	answer(c, 200, "too late");
	until(&gones, 1);
	wait_ms(20);
	CHECK_U64(gones, 1);
	stop();
}

static void
an_answer_before_we_see_it_is_harmless(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		start(over_tcp);
		p = peer_new();
		peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		until(&late_count, 1);
		peer_close(p);
		answer(late[0], 200, "nobody hears it");
		until(&gones, 1);
		wait_ms(50);
		CHECK_U64(gones, 1);
		stop();
	}
}

static void
half_closed_is_not_gone_on_a_unix_socket(void)
{
	struct peer *p;

	start(false);
	p = peer_new();
	peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK(shutdown(p->fd, SHUT_WR) == 0);
	until(&late_count, 1);
	wait_ms(50);
	CHECK_U64(gones, 0);
	answer(late[0], 200, "heard\n");
	CHECK_STATUS(peer_answer(p), 200);
	stop();
}

/* TCP cannot tell it from leaving; an answer that is there at once still arrives. */
static void
half_closed_is_gone_over_tcp(void)
{
	struct peer *p;

	start(true);
	p = peer_new();
	peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK(shutdown(p->fd, SHUT_WR) == 0);
	until(&gones, 1);
	CHECK(loop_run_until(loop, peer_is_done, p, 5000));
	p = peer_new();
	peer_send(p, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK(shutdown(p->fd, SHUT_WR) == 0);
	CHECK_STATUS(peer_answer(p), 200);
	stop();
}

static void
one_that_leaves_in_a_body_is_gone_once(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		start(over_tcp);
		p = peer_new();
		peer_send(p, "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
		until(&accepts, 1);
		peer_close(p);
		until(&gones, 1);
		CHECK_U64(handles, 0);
		stop();
	}
}

static void
one_that_leaves_in_an_answer_is_gone_once(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		start(over_tcp);
		make_big(false);
		p = peer_new();
		fd_watch_set(p->watch, 0);
		peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
		until(&handles, 1);
		wait_ms(20);
		peer_close(p);
		until(&gones, 1);
		stop();
	}
}

static void
one_that_leaves_early_costs_nothing(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct http_limits l = limits();

		l.head_ms = 60000;
		start_with(over_tcp, &l);
		peer_close(peer_new());
		peer_send(peer_new(), "GET /now HT");
		peer_send(peer_new(), "GET /now HTTP/1.1\r\nHost: x\r\n\r\n"); /* does not wait for its answer */
		wait_ms(20);
		peer_close(&peers[1]);
		peer_close(&peers[2]);
		CHECK(loop_run_until(loop, server_is_empty, NULL, 5000));
		CHECK_U64(accepts, 1);
		stop();
	}
}

/* --- many --- */

static void
more_than_the_limit_wait(void)
{
	struct http_limits l = limits();
	struct peer       *p[6];

	l.connections = 3;
	l.head_ms = 5000;
	start_with(true, &l);
	for (int i = 0; i < 6; i++) {
		p[i] = peer_new();
		peer_send(p[i], "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	}
	until(&late_count, 3);
	wait_ms(50);
	CHECK_U64(handles, 3);
	CHECK_U64(server->ncalls, 3);
	answer(late[0], 200, "");
	until(&handles, 4);
	while (gones < 6) {
		while (late_count > 0 && !late[0]->replied)
			answer(late[0], 200, "");
		CHECK(loop_turn(loop, true));
	}
	for (int i = 0; i < 6; i++)
		CHECK_STATUS(peer_answer(p[i]), 200);
	stop();
}

static void
one_address_has_fewer(void)
{
	struct http_limits l = limits();
	struct peer       *p[3];

	l.per_address = 2;
	start_with(true, &l);
	for (int i = 0; i < 3; i++)
		p[i] = peer_new();
	CHECK(loop_run_until(loop, peer_is_done, p[2], 150));
	CHECK_U64(p[2]->got.len, 0);
	peer_send(p[0], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(peer_answer(p[0]), 200);
	peer_send(p[1], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(peer_answer(p[1]), 200);
	stop();
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
	start(false);
	fd = peer_socket();
	p = peer_on(fd);
	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
	few.rlim_max = before.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (n < 64 && (fds[n] = dup(0)) >= 0)
		n++;
	peer_send(p, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	t0 = loop_now(loop);
	while (loop_now(loop) - t0 < 400 && turns < 10000) {
		loop_turn(loop, true);
		turns++;
	}
	while (n > 0)
		close(fds[--n]);
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
	CHECK(turns < 30);
	CHECK_U64(accepts, 0);
	CHECK_STATUS(peer_answer(p), 200);
	stop();
}

/* Room for the connection, none for the duplicate that libmicrohttpd gets. */
static void
no_second_descriptor_is_an_answer(void)
{
	struct rlimit few = { 64, 0 }, before;
	struct peer  *p;
	int           fds[64], n = 0;

	test_not_under_valgrind("the limit of descriptors");
	start(false);
	p = peer_new();
	wait_ms(20);
	CHECK_U64(server->ncalls, 1);
	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
	few.rlim_max = before.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (n < 64 && (fds[n] = dup(0)) >= 0)
		n++;
	peer_send(p, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	loop_run_until(loop, peer_is_done, p, 1000);
	while (n > 0)
		close(fds[--n]);
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
	CHECK_STATUS(peer_answer(p), 503);
	CHECK_U64(accepts, 0);
	stop();
}

/* --- the end --- */

static void
quiesce_lets_calls_finish(void)
{
	struct peer *p, *silent;

	start(false);
	p = peer_new();
	silent = peer_new();
	peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	until(&late_count, 1);
	CHECK(access(sock, F_OK) == 0);
	peer_send(peer_new(), "GET /now HTTP/1.1\r\nHost: x\r\n\r\n"); /* connected, not yet accepted */
	http_server_quiesce(server);
	http_server_quiesce(server);
	CHECK(access(sock, F_OK) != 0);
	CHECK_STATUS(peer_answer(&peers[2]), 200);
	CHECK(loop_run_until(loop, peer_is_done, silent, 5000));
	CHECK(!http_server_idle(server));
	CHECK_U64(gones, 1);
	answer(late[0], 200, "done\n");
	CHECK_STATUS(peer_answer(p), 200);
	until(&gones, 2);
	wait_ms(10);
	CHECK(http_server_idle(server));
	stop();
}

static void
quiesce_refuses_the_next(void)
{
	int fd;

	start(true);
	http_server_quiesce(server);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 && errno == ECONNREFUSED);
	close(fd);
	CHECK(http_server_idle(server));
	stop();
}

static void
free_drops_calls_of_any_phase(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct http_limits l = limits();

		l.linger_ms = 5000;
		start_with(over_tcp, &l);
		make_big(true);
		peer_new();
		peer_send(peer_new(), "GET /now HT");
		peer_send(peer_new(), "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
		peer_send(peer_new(), "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		peer_send(peer_new(), "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		peer_send(peer_new(), "GET / HTTP/1.1\n\n");
		peer_new();
		fd_watch_set(peers[6].watch, 0);
		peer_send(&peers[6], "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
		until(&accepts, 4);
		until(&late_count, 2);
		wait_ms(20);
		answer(late[0], 200, ""); /* and its answer has not begun */
		CHECK_U64(gones, 0);
		http_server_free(server);
		server = NULL;
		CHECK_U64(gones, 4);
		CHECK_U64(late_count, 0);
		stop();
	}
}

static void
a_socket_that_does_not_listen(void)
{
	struct http_server_conf conf = { .accept = on_accept, .handle = on_handle, .gone = on_gone };
	struct http_server     *s;
	int                     fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	conf.fd_owned = fd;
	loop = loop_new(&e);
	CHECK(http_server_new(loop, &conf, &s, &e) == ERR_IO);
	CHECK(fcntl(fd, F_GETFD) < 0);
	loop_free(loop);
}

/* --- a foreign client --- */

struct curl {
	pid_t pid;
	int   status;
};

static bool
curl_is_done(void *arg)
{
	struct curl *c = arg;

	return waitpid(c->pid, &c->status, WNOHANG) == c->pid;
}

/* Its output, with "\nSTATUS" at the end. */
static const char *
curl(const char *const *args)
{
	const char *argv[24] = { "curl", "-sS", "--max-time", "10", "-w", "\n%{http_code}" };
	struct curl c;
	int         out[2], n = 6;

	while (*args != NULL)
		argv[n++] = *args++;
	CHECK(pipe2(out, O_CLOEXEC) == 0);
	fflush(stdout);
	c.pid = fork();
	CHECK(c.pid >= 0);
	if (c.pid == 0) {
		dup2(out[1], 1);
		execvp("curl", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(out[1]);
	peers[0] = (struct peer){ .fd = out[0] };
	while (!curl_is_done(&c))
		loop_run_until(loop, never, NULL, 5);
	CHECK(WIFEXITED(c.status));
	buf_init(&peers[0].got, 0);
	for (;;) {
		char    buf[4096];
		ssize_t got = read(out[0], buf, sizeof(buf));

		if (got <= 0)
			break;
		buf_put(&peers[0].got, buf, (size_t)got);
	}
	if (WEXITSTATUS(c.status) == 127)
		return NULL;
	CHECK_U64(WEXITSTATUS(c.status), 0);
	close(out[0]);
	return buf_str(&peers[0].got);
}

static void
curl_is_understood(void)
{
	char        url[100], file[500], data[510];
	const char *text;
	FILE       *f;

	start(false);
	text = curl((const char *const[]){ "--unix-socket", sock, "http://localhost/now?a=b", NULL });
	if (text == NULL)
		test_skip("no curl here");
	CHECK_STR(text, "GET /now localhost 0: a=[b]\n200");
	CHECK(seen_local && seen_uid == getuid());
	buf_free(&peers[0].got);
	stop();

	start(true);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/now", ntohs(addr.sin_port));
	text = curl((const char *const[]){ "-X", "LOCK", "-d", "{}", url, NULL });
	CHECK(strstr(text, "LOCK /now 127.0.0.1:") == text && strstr(text, " 2:{}\n200") != NULL);
	buf_free(&peers[0].got);
	/* 2 MB: announced with "Expect: 100-continue", refused before it comes */
	snprintf(file, sizeof(file), "%s/upload", test_tmpdir());
	f = fopen(file, "w");
	CHECK(f != NULL);
	for (int i = 0; i < 2 << 17; i++)
		fputs("01234567", f);
	fclose(f);
	snprintf(data, sizeof(data), "@%s", file);
	text = curl((const char *const[]){ "-X", "UNLOCK", "--data-binary", data, url, NULL });
	CHECK_STR(text, "the body is too large\n\n413");
	buf_free(&peers[0].got);
	/* and without announcing it */
	text = curl((const char *const[]){ "-H", "Expect:", "-X", "PUT", "--data-binary", data, url, NULL });
	CHECK_STR(text, "the body is too large\n\n413");
	buf_free(&peers[0].got);
	/* chunked */
	text = curl((const char *const[]){ "-H", "Transfer-Encoding: chunked", "-X", "POST", "-d", "abc", url, NULL });
	CHECK(strstr(text, " 3:abc\n200") != NULL);
	buf_free(&peers[0].got);
	body_max = 4 << 20;
	text = curl((const char *const[]){ "-X", "PUT", "--data-binary", data, url, NULL });
	CHECK(strstr(text, " 2097152:0123456701234567") != NULL && strstr(text, "\n200") != NULL);
	buf_free(&peers[0].got);
	stop();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "a Unix socket says who asks", a_unix_socket_says_who_asks },
	    { "a TCP socket does not", a_tcp_socket_does_not },
	    { "any method and its body", any_method_and_its_body },
	    { "chunks are one body", chunks_are_one_body },
	    { "paths and queries are decoded", paths_and_queries_are_decoded },
	    { "HEAD is GET without the body", head_is_get_without_the_body },
	    { "an answer may be empty", an_answer_may_be_empty },
	    { "an old client is served", an_old_client_is_served },
	    { "a head may come in any pieces", a_head_may_come_in_any_pieces },
	    { "the largest head fits", the_largest_head_fits },
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
	    { "big answers stream and nothing blocks", big_answers_stream_and_nothing_blocks },
	    { "a body that cannot be read cuts the answer", a_body_that_cannot_be_read_cuts_the_answer },
	    { "a late answer arrives", a_late_answer_arrives },
	    { "several late answers in any order", several_late_answers_in_any_order },
	    { "one that leaves while we work is gone once", one_that_leaves_while_we_work_is_gone_once },
	    { "an answer to one that left is dropped", an_answer_to_one_that_left_is_dropped },
	    { "an answer before we see it is harmless", an_answer_before_we_see_it_is_harmless },
	    { "half closed is not gone on a Unix socket", half_closed_is_not_gone_on_a_unix_socket },
	    { "half closed is gone over TCP", half_closed_is_gone_over_tcp },
	    { "one that leaves in a body is gone once", one_that_leaves_in_a_body_is_gone_once },
	    { "one that leaves in an answer is gone once", one_that_leaves_in_an_answer_is_gone_once },
	    { "one that leaves early costs nothing", one_that_leaves_early_costs_nothing },
	    { "more than the limit wait", more_than_the_limit_wait },
	    { "one address has fewer", one_address_has_fewer },
	    { "no descriptors, no spinning", no_descriptors_no_spinning },
	    { "no second descriptor is an answer", no_second_descriptor_is_an_answer },
	    { "quiesce lets calls finish", quiesce_lets_calls_finish },
	    { "quiesce refuses the next", quiesce_refuses_the_next },
	    { "free drops calls of any phase", free_drops_calls_of_any_phase },
	    { "a socket that does not listen", a_socket_that_does_not_listen },
	    { "curl is understood", curl_is_understood },
	    { NULL, NULL } });
}
