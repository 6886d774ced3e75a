/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "http_server_rig.h"

/* What is accepted, and the end of the server. */

/* --- what is accepted --- */

static void
a_unix_socket_says_who_asks(void)
{
	const char *text;

	served_start(false);
	text = peer_ask("GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(text, 200);
	CHECK(served.seen_local && served.seen_uid == getuid());
	CHECK(strstr(text, "\r\nConnection: close\r\n") != NULL);
	CHECK(strstr(text, "\r\nContent-Length: 13\r\n") != NULL);
	CHECK(strstr(text, "\r\nContent-Type: text/plain\r\n") != NULL);
	CHECK(strstr(text, "\r\nCache-Control: no-store\r\n") != NULL);
	CHECK(strstr(text, "\r\n\r\nGET /now x 0:") != NULL);
	served_stop();
}

static void
a_tcp_socket_does_not(void)
{
	served_start(true);
	CHECK_STATUS(peer_ask("GET /now HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	CHECK(!served.seen_local);
	served_stop();
}

static void
any_method_and_its_body(void)
{
	static const char *const methods[] = { "LOCK", "UNLOCK", "POST", "PUT", "DELETE", "PROPFIND" };
	char                     text[300], want[100];

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		served_start(over_tcp);
		for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
			snprintf(text, sizeof(text), "%s /now?ID=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{\"a\":\"b\"",
			    methods[i]);
			CHECK_STATUS(peer_ask(text), 200);
			snprintf(want, sizeof(want), "%s /now x 8:{\"a\":\"b\" ID=[1]", methods[i]);
			CHECK_STR(served.seen, want);
		}
		CHECK_U64(served.handles, ARRAY_LEN(methods));
		served_stop();
	}
}

static void
chunks_are_one_body(void)
{
	served_start(true);
	CHECK_STATUS(peer_ask(SERVED_CHUNKED "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
	    200);
	CHECK_STR(served.seen, "PUT /now x 13:abc0123456789");
	/* fields after the body are fields of nothing */
	CHECK_STATUS(peer_ask(SERVED_CHUNKED "1\r\na\r\n0\r\nHost: y\r\n\r\n"), 200);
	CHECK_STR(served.seen, "PUT /now x 1:a");
	CHECK_STATUS(peer_ask(SERVED_CHUNKED "0\r\n\r\n"), 200);
	CHECK_STR(served.seen, "PUT /now x 0:");
	served_stop();
}

static void
paths_and_queries_are_decoded(void)
{
	served_start(false);
	CHECK_STATUS(peer_ask("GET /a%20%C3%BC+b?x=%2F..%2f&y=1+2%2B&y=&z&%61=b%3Dc HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	CHECK_STR(served.seen, "GET /a \xc3\xbc+b x 0: x=[/../] y=[1 2+] y=[] z=[] a=[b=c]");
	served_stop();
}

static void
head_is_get_without_the_body(void)
{
	const char *text;

	served_start(true);
	text = peer_ask("HEAD /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(text, 200);
	CHECK(strstr(text, "\r\nContent-Length: 14\r\n") != NULL);
	CHECK_STR(strstr(text, "\r\n\r\n"), "\r\n\r\n");
	text = peer_ask("HEAD /a/../b HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(text, 400);
	CHECK_STR(strstr(text, "\r\n\r\n"), "\r\n\r\n");
	served_stop();
}

static void
an_answer_may_be_empty(void)
{
	const char *text;

	served_start(true);
	text = peer_ask("GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_STATUS(text, 204);
	CHECK(strstr(text, "\r\nContent-Type") == NULL);
	served_stop();
}

static void
an_old_client_is_served(void)
{
	served_start(true);
	CHECK_STATUS(peer_ask("GET /now HTTP/1.0\r\n\r\n"), 200);
	CHECK_STR(served.seen, "GET /now - 0:");
	served_stop();
}

static void
a_head_may_come_in_any_pieces(void)
{
	static const char text[] = "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct http_limits l = served_limits();
		struct peer       *p;

		l.head_ms = l.body_ms = 5000;
		served_start_with(over_tcp, &l);
		p = peer_new();
		for (size_t i = 0; i < sizeof(text) - 1; i++) {
			peer_send_n(p, text + i, 1);
			served_wait_ms(1);
		}
		CHECK_STATUS(peer_answer(p), 200);
		CHECK_STR(served.seen, "PUT /now x 3:abc");
		served_stop();
	}
}

static void
the_largest_head_fits(void)
{
	struct buf b;

	served_start(true);
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
	CHECK_STATUS(peer_ask(buf_str(&b)), 200);
	CHECK_U64(served.handles, 1);
	buf_free(&b);
	served_stop();
}

/* --- the end --- */

static void
quiesce_lets_calls_finish(void)
{
	struct peer *p, *silent;

	served_start(false);
	p = peer_new();
	silent = peer_new();
	peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	served_until(&served.late_count, 1);
	CHECK(access(served.sock, F_OK) == 0);
	peer_send(peer_new(), "GET /now HTTP/1.1\r\nHost: x\r\n\r\n"); /* connected, not yet accepted */
	http_server_quiesce(served.server);
	http_server_quiesce(served.server);
	CHECK(access(served.sock, F_OK) != 0);
	CHECK_STATUS(peer_answer(&peers[2]), 200);
	CHECK(loop_run_until(served.loop, peer_is_done, silent, 5000));
	CHECK(!http_server_idle(served.server));
	CHECK_U64(served.gones, 1);
	served_answer(served.late[0], 200, "done\n");
	CHECK_STATUS(peer_answer(p), 200);
	served_until(&served.gones, 2);
	served_wait_ms(10);
	CHECK(http_server_idle(served.server));
	served_stop();
}

static void
quiesce_refuses_the_next(void)
{
	int fd;

	served_start(true);
	http_server_quiesce(served.server);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(fd, (struct sockaddr *)&served.addr, sizeof(served.addr)) != 0 && errno == ECONNREFUSED);
	close(fd);
	CHECK(http_server_idle(served.server));
	served_stop();
}

static void
free_drops_calls_of_any_phase(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct http_limits l = served_limits();

		l.linger_ms = 5000;
		served_start_with(over_tcp, &l);
		served_make_big(true);
		peer_new();
		peer_send(peer_new(), "GET /now HT");
		peer_send(peer_new(), "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
		peer_send(peer_new(), "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		peer_send(peer_new(), "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		peer_send(peer_new(), "GET / HTTP/1.1\n\n");
		peer_new();
		fd_watch_set(peers[6].watch, 0);
		peer_send(&peers[6], "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
		served_until(&served.accepts, 4);
		served_until(&served.late_count, 2);
		served_wait_ms(20);
		served_answer(served.late[0], 200, ""); /* and its answer has not begun */
		CHECK_U64(served.gones, 0);
		http_server_free(served.server);
		served.server = NULL;
		CHECK_U64(served.gones, 4);
		CHECK_U64(served.late_count, 0);
		served_stop();
	}
}

static void
a_socket_that_does_not_listen(void)
{
	struct http_server_conf conf = { .unlink = false };
	struct http_server     *s;
	int                     fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	served_handlers(&conf);
	conf.fd_owned = fd;
	served.loop = loop_new(&served.e);
	CHECK(http_server_new(served.loop, &conf, &s, &served.e) == ERR_IO);
	CHECK(fcntl(fd, F_GETFD) < 0);
	loop_free(served.loop);
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
		served_wait_ms(5);
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

	served_start(false);
	text = curl((const char *const[]){ "--unix-socket", served.sock, "http://localhost/now?a=b", NULL });
	if (text == NULL)
		test_skip("no curl here");
	CHECK_STR(text, "GET /now localhost 0: a=[b]\n200");
	CHECK(served.seen_local && served.seen_uid == getuid());
	buf_free(&peers[0].got);
	served_stop();

	served_start(true);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/now", ntohs(served.addr.sin_port));
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
	served.body_max = 4 << 20;
	text = curl((const char *const[]){ "-X", "PUT", "--data-binary", data, url, NULL });
	CHECK(strstr(text, " 2097152:0123456701234567") != NULL && strstr(text, "\n200") != NULL);
	buf_free(&peers[0].got);
	served_stop();
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
	    { "quiesce lets calls finish", quiesce_lets_calls_finish },
	    { "quiesce refuses the next", quiesce_refuses_the_next },
	    { "free drops calls of any phase", free_drops_calls_of_any_phase },
	    { "a socket that does not listen", a_socket_that_does_not_listen },
	    { "curl is understood", curl_is_understood },
	    { NULL, NULL } });
}
