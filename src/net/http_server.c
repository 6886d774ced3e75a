/* SPDX-License-Identifier: MIT */
#include "net/http_server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/http_server_impl.h"

#define HTTP_ACCEPTS_PER_TURN 16
#define HTTP_EVENTS_PER_TURN  32
#define HTTP_DRAINS_PER_EVENT 4
#define HTTP_MEMORY_PER_CALL  ((size_t)32 << 10)

const struct http_limits http_limits_default = {
	.head_ms = 10000,
	.body_ms = 10000,
	.answer_ms = 30000,
	.linger_ms = 2000,
	.retry_ms = 1000,
	.rate = 16 << 10,
	.connections = 256,
	.per_address = 32,
};

static void http_server_watch(struct http_server *s);

/* --- libmicrohttpd's turn --- */

static void
http_server_run(struct http_server *s)
{
	MHD_UNSIGNED_LONG_LONG ms;

	assert(!s->running);
	s->running = true;
	MHD_run(s->daemon);
	s->running = false;
	if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
		timer_set(&s->daemon_timer, ms < INT32_MAX ? (int64_t)ms : INT32_MAX);
	else
		timer_stop(&s->daemon_timer);
}

static void
http_server_ready(int fd, int ready, void *arg)
{
	(void)fd;
	(void)ready;
	http_server_run(arg);
}

static void
http_server_due(void *arg)
{
	http_server_run(arg);
}

void
http_server_kick(struct http_server *s)
{
	if (!s->stopping)
		loop_defer(s->loop, &s->daemon_call, http_server_due, s);
}

/* --- one connection --- */

static void
http_call_close(struct http_call *c)
{
	struct http_server *s = c->server;

	timer_stop(&c->timer);
	close(c->fd);
	http_call_clear(c);
	*(c->prev != NULL ? &c->prev->next : &s->first) = c->next;
	*(c->next != NULL ? &c->next->prev : &s->last) = c->prev;
	s->ncalls--;
	free(c);
	http_server_watch(s);
}

/* What the kernel tells us about it in each phase. libmicrohttpd has its own view of its duplicate. */
static uint32_t
http_call_events(const struct http_call *c)
{
	switch (c->phase) {
	case HTTP_HEAD:
		return EPOLLIN | EPOLLRDHUP | EPOLLET;
	case HTTP_LINGER:
		return EPOLLIN;
	case HTTP_BODY:
	case HTTP_RUN:
	case HTTP_ANSWER:
		return EPOLLRDHUP | EPOLLET;
	}
	return 0;
}

static void
http_call_watch(struct http_call *c, int op)
{
	struct epoll_event ev = { .events = http_call_events(c), .data.ptr = c };

	if (epoll_ctl(c->server->epoll_fd, op, c->fd, &ev) != 0) {
		log_at(LOG_ERROR, "http", "cannot watch a connection: %s", strerror(errno));
		abort();
	}
}

/* When the phase has to be over; -1: the handler knows. */
static int64_t
http_call_deadline(const struct http_call *c)
{
	const struct http_limits *l = &c->server->limits;
	int64_t                   moved_ms = (int64_t)(c->moved * 1000 / l->rate);

	switch (c->phase) {
	case HTTP_HEAD:
		return c->since + l->head_ms;
	case HTTP_BODY:
		return c->since + l->body_ms + moved_ms;
	case HTTP_RUN:
		return -1;
	case HTTP_ANSWER:
		return c->since + l->answer_ms + moved_ms;
	case HTTP_LINGER:
		return c->since + l->linger_ms;
	}
	return -1;
}

void
http_call_enter(struct http_call *c, enum http_phase phase)
{
	struct loop *l = c->server->loop;
	uint32_t     before = http_call_events(c);

	c->phase = phase;
	c->since = loop_now(l);
	c->moved = 0;
	if (http_call_events(c) != before)
		http_call_watch(c, EPOLL_CTL_MOD);
	if (http_call_deadline(c) < 0)
		timer_stop(&c->timer);
	else
		timer_set(&c->timer, http_call_deadline(c) - c->since);
}

/* The timer finds out for itself that there is more time now. */
void
http_call_moved(struct http_call *c, uint64_t bytes)
{
	c->moved += bytes;
}

void
http_call_refuse(struct http_call *c, int status, const char *reason)
{
	char text[512];
	int  n = snprintf(text, sizeof(text),
	    "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s%s",
	    status, MHD_get_reason_phrase_for((unsigned)status), strlen(reason) + 1, c->head.is_head ? "" : reason,
	    c->head.is_head ? "" : "\n");

	assert(n > 0 && (size_t)n < sizeof(text));
	log_at(LOG_DEBUG, "http", "a request is refused with %d: %s", status, reason);
	/* The first bytes of a connection: there is room for them, or nobody to read them. */
	(void)send(c->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(c->fd, SHUT_WR);
}

static void
http_call_drain(struct http_call *c)
{
	uint8_t *p = c->server->peek;
	ssize_t  n = 0;

	for (int i = 0; i < HTTP_DRAINS_PER_EVENT; i++) {
		n = recv(c->fd, p, sizeof(c->server->peek), MSG_DONTWAIT);
		if (n <= 0)
			break;
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		http_call_close(c);
}

/* A connection that is closed with bytes unread is reset by the kernel, and the answer may be lost with it. */
void
http_call_ended(struct http_call *c)
{
	uint8_t byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	bool    more = n > 0 || (n < 0 && errno == EAGAIN && !c->complete && (c->head.chunked || c->head.length > 0));

	http_call_clear(c);
	if (c->server->stopping || !more) {
		http_call_close(c);
		return;
	}
	shutdown(c->fd, SHUT_WR);
	http_call_enter(c, HTTP_LINGER);
}

static void
http_call_late(void *arg)
{
	struct http_call *c = arg;
	int64_t           left = http_call_deadline(c) - loop_now(c->server->loop);

	if (left > 0) {
		timer_set(&c->timer, left);
		return;
	}
	switch (c->phase) {
	case HTTP_HEAD:
		http_call_refuse(c, 408, "the head of the request took too long");
		http_call_enter(c, HTTP_LINGER);
		return;
	case HTTP_BODY:
		http_call_refuse(c, 408, "the body of the request took too long");
		http_call_cut(c);
		return;
	case HTTP_ANSWER:
		http_call_cut(c);
		return;
	case HTTP_LINGER:
		http_call_close(c);
		return;
	case HTTP_RUN: /* has no timer */
		return;
	}
}

/* --- the head --- */

static void
http_call_hand_over(struct http_call *c)
{
	struct http_server *s = c->server;
	int                 fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0) {
		http_call_refuse(c, 503, "out of file descriptors");
		http_call_enter(c, HTTP_LINGER);
		return;
	}
	http_call_enter(c, HTTP_BODY);
	s->handed = c;
	/* On failure it closes fd, and tells us so if it had begun. */
	if (MHD_add_connection(s->daemon, fd, &c->peer.sa, c->peer_n) != MHD_YES && s->handed == c) {
		s->handed = NULL;
		http_call_close(c);
	}
}

/* The bytes stay in the socket: libmicrohttpd reads them again. events: EPOLLRDHUP means that no more will come. */
static void
http_call_look(struct http_call *c, uint32_t events)
{
	struct http_server *s = c->server;
	ssize_t             n = recv(c->fd, s->peek, sizeof(s->peek), MSG_PEEK | MSG_DONTWAIT);
	enum http_verdict   v;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	v = n > 0 ? http_check(span_of(s->peek, (size_t)n), &c->head) : HTTP_MORE;
	if (v == HTTP_FINE) {
		http_call_hand_over(c);
	} else if (v == HTTP_REFUSE) {
		http_call_refuse(c, c->head.status, c->head.reason);
		http_call_enter(c, HTTP_LINGER);
	} else if (n <= 0 || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
		http_call_close(c);
	} else {
		assert((size_t)n < sizeof(s->peek)); /* a full head that is not complete is refused */
	}
}

/* The end of what a TCP peer sends is how its going looks; a Unix socket tells the two apart. */
static void
http_call_peer_left(struct http_call *c, uint32_t events)
{
	if ((events & (EPOLLHUP | EPOLLERR)) == 0 && c->server->is_unix)
		return;
	c->left = true;
	if (c->phase == HTTP_RUN && !c->in_handler)
		http_call_cut(c);
}

static bool
http_server_event(struct http_server *s)
{
	struct epoll_event ev;
	struct http_call  *c;

	/* One at a time: what happens for one may close another. */
	if (epoll_wait(s->epoll_fd, &ev, 1, 0) != 1)
		return false;
	c = ev.data.ptr;
	switch (c->phase) {
	case HTTP_HEAD:
		http_call_look(c, ev.events);
		break;
	case HTTP_LINGER:
		http_call_drain(c);
		break;
	case HTTP_BODY:
	case HTTP_RUN:
	case HTTP_ANSWER:
		http_call_peer_left(c, ev.events);
		break;
	}
	return true;
}

static void
http_server_events(int fd, int ready, void *arg)
{
	int n = HTTP_EVENTS_PER_TURN;

	(void)fd;
	(void)ready;
	while (n-- > 0 && http_server_event(arg))
		continue;
}

/* --- accepting --- */

static bool
http_address_eq(const union http_address *a, const union http_address *b)
{
	const struct sockaddr_in  *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
}

static bool
http_server_has_too_many(const struct http_server *s, const union http_address *peer)
{
	unsigned n = 0;

	if (s->is_unix)
		return false;
	for (const struct http_call *c = s->first; c != NULL; c = c->next)
		n += http_address_eq(&c->peer, peer);
	return n >= s->limits.per_address;
}

static void
http_server_add(struct http_server *s, int fd, const union http_address *peer, socklen_t peer_n)
{
	struct http_call *c = xcalloc(1, sizeof(*c));
	struct ucred      cred;
	socklen_t         cred_n = sizeof(cred);

	c->server = s;
	c->fd = fd;
	c->peer = *peer;
	c->peer_n = peer_n;
	if (s->is_unix && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_n) == 0) {
		c->is_local = true;
		c->uid = cred.uid;
	}
	timer_init(&c->timer, s->loop, http_call_late, c);
	c->prev = s->last;
	*(c->prev != NULL ? &c->prev->next : &s->first) = c;
	s->last = c;
	s->ncalls++;
	http_call_watch(c, EPOLL_CTL_ADD);
	http_call_enter(c, HTTP_HEAD);
}

/* Whatever it was, trying again at once would only burn the processor. */
static void
http_server_pause(struct http_server *s, int errnum)
{
	if (!s->told)
		log_at(LOG_WARN, "http", "cannot accept a connection: %s", strerror(errnum));
	s->told = true;
	s->paused = true;
	timer_set(&s->retry, s->limits.retry_ms);
}

static bool
http_server_accept(struct http_server *s)
{
	union http_address peer;
	socklen_t          n = sizeof(peer);
	int                fd;

	memset(&peer, 0, sizeof(peer));
	fd = accept4(s->listen_fd, &peer.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
		return true;
	if (fd < 0) {
		if (errno != EAGAIN)
			http_server_pause(s, errno);
		return false;
	}
	s->told = false;
	if (http_server_has_too_many(s, &peer)) {
		log_at(LOG_DEBUG, "http", "more than %u connections from one address", s->limits.per_address);
		close(fd);
		return true;
	}
	http_server_add(s, fd, &peer, n);
	return true;
}

static bool
http_server_is_full(const struct http_server *s)
{
	return s->ncalls >= s->limits.connections;
}

static void
http_server_listens(int fd, int ready, void *arg)
{
	struct http_server *s = arg;
	int                 n = HTTP_ACCEPTS_PER_TURN;

	(void)fd;
	(void)ready;
	while (n-- > 0 && !http_server_is_full(s) && http_server_accept(s))
		continue;
	http_server_watch(s);
}

static void
http_server_retry(void *arg)
{
	struct http_server *s = arg;

	s->paused = false;
	http_server_watch(s);
}

/* Whom we cannot take waits in the kernel's queue. */
static void
http_server_watch(struct http_server *s)
{
	if (s->listen_watch != NULL)
		fd_watch_set(s->listen_watch, http_server_is_full(s) || s->paused ? 0 : LOOP_READ);
}

/* --- the server --- */

static void http_server_log(void *cls, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static void
http_server_log(void *cls, const char *fmt, va_list ap)
{
	char   text[256];
	size_t n;

	(void)cls;
	if (!log_on(LOG_DEBUG))
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	log_at(LOG_DEBUG, "http", "libmicrohttpd: %s", text);
}

static void
http_server_panic(void *cls, const char *file, unsigned line, const char *reason)
{
	(void)cls;
	log_at(LOG_ERROR, "http", "libmicrohttpd gave up at %s:%u: %s", file, line, reason != NULL ? reason : "-");
	abort();
}

/* It counts connections that we have left already: its own limit must never be the one that is reached. */
static struct MHD_Daemon *
http_server_daemon(struct http_server *s)
{
	const unsigned        flags =
	    MHD_USE_NO_LISTEN_SOCKET | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	unsigned              seconds = (unsigned)((s->limits.answer_ms + 999) / 1000);
	struct MHD_OptionItem options[] = {
		{ MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)http_call_notify, s },
		{ MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)http_call_completed, s },
		{ MHD_OPTION_CONNECTION_LIMIT, (intptr_t)s->limits.connections * 2, NULL },
		{ MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)HTTP_MEMORY_PER_CALL, NULL },
		{ MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)seconds, NULL },
#if MHD_VERSION >= 0x00097701
		{ MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1, NULL },
#else
		{ MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL },
#endif
		{ MHD_OPTION_END, 0, NULL },
	};

	MHD_set_panic_func(http_server_panic, NULL);
	return MHD_start_daemon(flags, 0, NULL, NULL, http_call_handler, s, MHD_OPTION_EXTERNAL_LOGGER, http_server_log,
	    NULL, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static enum err_code
http_server_open(struct http_server *s, struct err *reterr)
{
	union http_address own = { .sa = { .sa_family = AF_UNSPEC } };
	socklen_t          n = sizeof(own);
	int                flags = fcntl(s->listen_fd, F_GETFL), fd;

	if (getsockname(s->listen_fd, &own.sa, &n) != 0 || flags < 0 ||
	    fcntl(s->listen_fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return err_errno(reterr, errno, "cannot serve on a socket that does not listen");
	s->is_unix = own.sa.sa_family == AF_UNIX;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		return err_errno(reterr, errno, "cannot make the HTTP server");
	s->daemon = http_server_daemon(s);
	if (s->daemon == NULL)
		return err_set(reterr, ERR_IO, 0, "libmicrohttpd cannot start");
	fd = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	s->daemon_watch = fd_watch_new(s->loop, fd, LOOP_READ, http_server_ready, s);
	s->epoll_watch = fd_watch_new(s->loop, s->epoll_fd, LOOP_READ, http_server_events, s);
	s->listen_watch = fd_watch_new(s->loop, s->listen_fd, LOOP_READ, http_server_listens, s);
	return ERR_OK;
}

enum err_code
http_server_new_limited(struct loop *l, const struct http_server_conf *conf, const struct http_limits *limits,
    struct http_server **ret, struct err *reterr)
{
	struct http_server *s = xcalloc(1, sizeof(*s));
	enum err_code       code;

	s->loop = l;
	s->conf = *conf;
	s->limits = *limits;
	s->listen_fd = conf->fd_owned;
	s->epoll_fd = -1;
	timer_init(&s->retry, l, http_server_retry, s);
	timer_init(&s->daemon_timer, l, http_server_due, s);
	code = http_server_open(s, reterr);
	if (code == ERR_OK)
		*ret = s;
	else
		http_server_free(s);
	return code;
}

enum err_code
http_server_new(struct loop *l, const struct http_server_conf *conf, struct http_server **ret, struct err *reterr)
{
	struct http_limits limits = http_limits_default;

	if (conf->connections != 0)
		limits.connections = conf->connections;
	return http_server_new_limited(l, conf, &limits, ret, reterr);
}

static void
http_server_unlisten(struct http_server *s)
{
	struct sockaddr_un own = { 0 };
	socklen_t          n = sizeof(own);

	if (s->listen_fd < 0)
		return;
	/* Before it is closed: as long as we answer nobody else takes the name. */
	if (s->conf.unlink && getsockname(s->listen_fd, (struct sockaddr *)&own, &n) == 0 && own.sun_family == AF_UNIX)
		unlink(own.sun_path);
	fd_watch_free(s->listen_watch);
	s->listen_watch = NULL;
	timer_stop(&s->retry);
	close(s->listen_fd);
	s->listen_fd = -1;
}

/* Nobody who connected is turned away, and nobody who says nothing is waited for. */
void
http_server_quiesce(struct http_server *s)
{
	struct http_call *next;

	if (s->quiet)
		return;
	s->quiet = true;
	while (!http_server_is_full(s) && http_server_accept(s))
		continue;
	http_server_unlisten(s);
	for (struct http_call *c = s->first; c != NULL; c = next) {
		uint8_t byte;

		next = c->next;
		if (c->phase == HTTP_HEAD && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
			http_call_close(c);
	}
}

bool
http_server_idle(const struct http_server *s)
{
	for (const struct http_call *c = s->first; c != NULL; c = c->next)
		if (c->phase != HTTP_LINGER)
			return false;
	return true;
}

void
http_server_free(struct http_server *s)
{
	if (s == NULL)
		return;
	assert(!s->running);
	s->stopping = true;
	s->running = true;
	http_server_unlisten(s);
	fd_watch_free(s->daemon_watch);
	for (struct http_call *c = s->first; c != NULL; c = c->next)
		if (c->conn != NULL)
			http_call_cut(c);
	if (s->daemon != NULL)
		MHD_stop_daemon(s->daemon); /* ends each of its connections, and so each of those calls */
	for (struct http_call *c; (c = s->first) != NULL;) {
		http_call_close(c);
		assert(s->first != c);
	}
	fd_watch_free(s->epoll_watch);
	timer_stop(&s->daemon_timer);
	loop_undefer(s->loop, &s->daemon_call);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	free(s);
}
