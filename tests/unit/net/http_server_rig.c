/* SPDX-License-Identifier: MIT */
#include "http_server_rig.h"

#include <fcntl.h>
#include <sys/un.h>

struct served served;
struct peer   peers[PEERS_MAX];
unsigned      npeers;

/* --- handlers --- */

void
served_answer(struct http_call *c, int status, const char *text)
{
	struct body *b = body_copy(span_str(text));

	http_reply(c, status, "text/plain", b);
	body_unref(b);
}

static uint64_t
served_accept(void *arg, struct http_call *c)
{
	CHECK(arg == &served);
	served.accepts++;
	CHECK(http_call_get(c) == NULL);
	http_call_set(c, served.seen);
	if (strcmp(http_call_path(c), "/deny") == 0) {
		http_reply_field(c, "WWW-Authenticate", "Basic");
		served_answer(c, 401, "who?\n");
		return 0;
	}
	return strcmp(http_call_method(c), "GET") == 0 ? 0 : served.body_max;
}

static void
served_query(void *arg, const char *name, const char *value)
{
	(void)arg;
	snprintf(served.seen + strlen(served.seen), sizeof(served.seen) - strlen(served.seen), " %s=[%s]", name, value);
}

static void
served_handle(void *arg, struct http_call *c)
{
	struct span body = http_call_body(c);
	const char *host = http_call_header(c, "host");

	(void)arg;
	served.handles++;
	CHECK(http_call_get(c) == served.seen);
	served.seen_local = http_call_local(c, &served.seen_uid);
	snprintf(served.seen, sizeof(served.seen), "%s %s %s %zu:%.*s", http_call_method(c), http_call_path(c),
	    host != NULL ? host : "-", body.n, (int)(body.n < 100 ? body.n : 100), body.n > 0 ? (const char *)body.p : "");
	http_call_query_each(c, served_query, NULL);
	if (strcmp(http_call_path(c), "/late") == 0)
		served.late[served.late_count++] = c;
	else if (strcmp(http_call_path(c), "/big") == 0)
		http_reply(c, 200, "application/octet-stream", served.big);
	else if (strcmp(http_call_path(c), "/none") == 0)
		http_reply(c, 204, NULL, NULL);
	else
		served_answer(c, 200, served.seen);
}

static void
served_gone(void *arg, struct http_call *c)
{
	(void)arg;
	CHECK(http_call_get(c) == served.seen);
	served.gones++;
	for (unsigned i = 0; i < served.late_count; i++)
		if (served.late[i] == c)
			served.late[i] = served.late[--served.late_count];
}

void
served_handlers(struct http_server_conf *conf)
{
	conf->accept = served_accept;
	conf->handle = served_handle;
	conf->gone = served_gone;
	conf->arg = &served;
}

/* --- the server --- */

struct http_limits
served_limits(void)
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

void
served_start_with(bool over_tcp, const struct http_limits *l)
{
	struct http_server_conf conf = { .unlink = true };
	static unsigned         starts;
	socklen_t               n = sizeof(served.addr);

	served_handlers(&conf);
	served.tcp = over_tcp;
	served.accepts = served.handles = served.gones = served.late_count = 0;
	served.seen[0] = '\0';
	served.body_max = 64 << 10;
	served.loop = loop_new(&served.e);
	CHECK(served.loop != NULL);
	if (served.tcp) {
		CHECK_OK(http_listen_tcp("127.0.0.1:0", &conf.fd_owned, &served.e), served.e);
		CHECK(getsockname(conf.fd_owned, (struct sockaddr *)&served.addr, &n) == 0);
	} else {
		snprintf(served.sock, sizeof(served.sock), "%s/%u", test_tmpdir(), ++starts);
		CHECK_OK(http_listen_unix(served.sock, &conf.fd_owned, &served.e), served.e);
	}
	CHECK_OK(http_server_new_limited(served.loop, &conf, l, &served.server, &served.e), served.e);
}

void
served_start(bool over_tcp)
{
	struct http_limits l = served_limits();

	served_start_with(over_tcp, &l);
}

void
served_make_big(bool in_file)
{
	uint32_t *p = xmalloc(SERVED_BIG);
	char      path[400];
	int       fd;

	for (size_t i = 0; i < SERVED_BIG / 4; i++)
		p[i] = (uint32_t)i;
	if (in_file) {
		snprintf(path, sizeof(path), "%s/big", test_tmpdir());
		fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
		CHECK(fd >= 0 && write(fd, p, SERVED_BIG) == (ssize_t)SERVED_BIG && unlink(path) == 0);
		served.big = body_from_fd(fd, SERVED_BIG);
	} else {
		served.big = body_copy(span_of(p, SERVED_BIG));
	}
	free(p);
}

static bool
served_never(void *arg)
{
	(void)arg;
	return false;
}

void
served_wait_ms(int64_t ms)
{
	loop_run_until(served.loop, served_never, NULL, ms);
}

bool
served_is_empty(void *arg)
{
	(void)arg;
	return served.server->ncalls == 0;
}

struct goal {
	const unsigned *n;
	unsigned        want;
};

static bool
served_goal(void *arg)
{
	const struct goal *g = arg;

	return *g->n >= g->want;
}

void
served_until(const unsigned *n, unsigned want)
{
	struct goal g = { n, want };

	CHECK(loop_run_until(served.loop, served_goal, &g, 5000));
	CHECK_U64(*n, want);
}

void
served_stop(void)
{
	for (unsigned i = 0; i < npeers; i++) {
		if (peers[i].fd >= 0)
			peer_close(&peers[i]);
		buf_free(&peers[i].got);
	}
	npeers = 0;
	if (served.server != NULL) {
		CHECK(loop_run_until(served.loop, served_is_empty, NULL, 5000));
		CHECK_U64(served.gones, served.accepts);
		http_server_free(served.server);
		served.server = NULL;
	}
	body_unref(served.big);
	served.big = NULL;
	loop_free(served.loop);
}

/* --- peers --- */

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

int
peer_socket(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int                fd = socket(served.tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	strcpy(un.sun_path, served.sock); /* the server listens there: it fits */
	if (served.tcp)
		CHECK(connect(fd, (struct sockaddr *)&served.addr, sizeof(served.addr)) == 0);
	else
		CHECK(connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	return fd;
}

struct peer *
peer_on(int fd)
{
	struct peer *p = &peers[npeers++];

	CHECK(npeers <= PEERS_MAX);
	*p = (struct peer){ .fd = fd };
	buf_init(&p->got, 0);
	p->watch = fd_watch_new(served.loop, fd, LOOP_READ, peer_reads, p);
	return p;
}

struct peer *
peer_new(void)
{
	return peer_on(peer_socket());
}

void
peer_send_n(struct peer *p, const char *text, size_t n)
{
	CHECK(send(p->fd, text, n, MSG_NOSIGNAL) == (ssize_t)n);
}

void
peer_send(struct peer *p, const char *text)
{
	peer_send_n(p, text, strlen(text));
}

void
peer_close(struct peer *p)
{
	fd_watch_free(p->watch);
	p->watch = NULL;
	close(p->fd);
	p->fd = -1;
}

bool
peer_is_done(void *arg)
{
	return ((struct peer *)arg)->eof;
}

const char *
peer_answer(struct peer *p)
{
	CHECK(loop_run_until(served.loop, peer_is_done, p, 5000));
	CHECK(!p->reset);
	return buf_str(&p->got);
}

const char *
peer_ask(const char *request)
{
	struct peer *p = peer_new();

	peer_send(p, request);
	return peer_answer(p);
}

int
peer_status(const char *answer_text)
{
	return strncmp(answer_text, "HTTP/1.1 ", 9) == 0 ? atoi(answer_text + 9) : 0;
}
