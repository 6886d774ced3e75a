/* SPDX-License-Identifier: MIT */
#include "raw_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct raw_thread {
	struct raw_conn    conn;
	pthread_t          thread;
	bool               closed;   /* fd is no longer ours: under the lock */
	struct raw_thread *next;
};

struct raw_server {
	raw_serve_fn      *fn;
	void              *arg;
	int                fd;
	unsigned           port;
	pthread_t          thread;
	pthread_mutex_t    lock;      /* the rest */
	struct raw_thread *threads;
	unsigned           connections;
	bool               stopping;
};

static void
raw_must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

/* --- the server --- */

static void *
raw_serve(void *arg)
{
	struct raw_thread *t = arg;
	struct raw_server *s = t->conn.server;

	s->fn(&t->conn, s->arg);
	pthread_mutex_lock(&s->lock);
	close(t->conn.fd);
	t->closed = true;
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void
raw_accepted(struct raw_server *s, int fd)
{
	struct raw_thread *t = calloc(1, sizeof(*t));
	int                one = 1;

	raw_must(t != NULL, "calloc");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	t->conn.server = s;
	t->conn.fd = fd;
	pthread_mutex_lock(&s->lock);
	t->conn.number = ++s->connections;
	t->next = s->threads;
	s->threads = t;
	if (s->stopping)
		shutdown(fd, SHUT_RDWR);
	raw_must(pthread_create(&t->thread, NULL, raw_serve, t) == 0, "pthread_create");
	pthread_mutex_unlock(&s->lock);
}

static void *
raw_listen(void *arg)
{
	struct raw_server *s = arg;

	for (;;) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			raw_accepted(s, fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			return NULL; /* shut down */
	}
}

static struct raw_server *
raw_server_start(int fd, raw_serve_fn *fn, void *arg)
{
	struct raw_server *s = calloc(1, sizeof(*s));

	raw_must(s != NULL && listen(fd, 128) == 0, "listen");
	s->fn = fn;
	s->arg = arg;
	s->fd = fd;
	pthread_mutex_init(&s->lock, NULL);
	raw_must(pthread_create(&s->thread, NULL, raw_listen, s) == 0, "pthread_create");
	return s;
}

static int
raw_bind(unsigned *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t          n = sizeof(a);
	int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	raw_must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0, "bind");
	raw_must(getsockname(fd, (struct sockaddr *)&a, &n) == 0, "getsockname");
	*ret_port = ntohs(a.sin_port);
	return fd;
}

struct raw_server *
raw_server_new(raw_serve_fn *fn, void *arg)
{
	unsigned           port;
	int                fd = raw_bind(&port);
	struct raw_server *s = raw_server_start(fd, fn, arg);

	s->port = port;
	return s;
}

struct raw_server *
raw_server_unix(const char *path, raw_serve_fn *fn, void *arg)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	raw_must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0, path);
	return raw_server_start(fd, fn, arg);
}

void
raw_server_free(struct raw_server *s)
{
	struct raw_thread *t, *next;

	if (s == NULL)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	for (t = s->threads; t != NULL; t = t->next)
		if (!t->closed)
			shutdown(t->conn.fd, SHUT_RDWR);
	pthread_mutex_unlock(&s->lock);
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	for (t = s->threads; t != NULL; t = next) {
		next = t->next;
		pthread_join(t->thread, NULL);
		free(t);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

unsigned
raw_server_port(const struct raw_server *s)
{
	return s->port;
}

unsigned
raw_server_connections(struct raw_server *s)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->connections;
	pthread_mutex_unlock(&s->lock);
	return n;
}

unsigned
raw_closed_port(void)
{
	unsigned port;

	close(raw_bind(&port));
	return port;
}

/* --- a connection --- */

static bool
raw_fill(struct raw_conn *c)
{
	ssize_t n;

	if (c->nheld == sizeof(c->held))
		return false;
	do
		n = recv(c->fd, c->held + c->nheld, sizeof(c->held) - c->nheld, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		c->nheld += (size_t)n;
	return n > 0;
}

static void
raw_use(struct raw_conn *c, size_t n)
{
	memmove(c->held, c->held + n, c->nheld - n);
	c->nheld -= n;
}

bool
raw_read(struct raw_conn *c, void *p, size_t n)
{
	char *to = p;

	while (n > 0) {
		size_t now = c->nheld < n ? c->nheld : n;

		if (now == 0 && !raw_fill(c))
			return false;
		memcpy(to, c->held, now);
		raw_use(c, now);
		to += now;
		n -= now;
	}
	return true;
}

bool
raw_read_head(struct raw_conn *c, struct raw_request *ret)
{
	const char *end;
	size_t      n;

	memset(ret, 0, sizeof(*ret));
	while ((end = memmem(c->held, c->nheld, "\r\n\r\n", 4)) == NULL)
		if (!raw_fill(c))
			return false;
	n = (size_t)(end - c->held) + 4;
	if (n >= sizeof(ret->head))
		return false;
	memcpy(ret->head, c->held, n);
	raw_use(c, n);
	return sscanf(ret->head, "%15s %1023s", ret->method, ret->target) == 2;
}

bool
raw_header(const struct raw_request *r, const char *name, char *ret, size_t size)
{
	size_t n = strlen(name);

	for (const char *p = strstr(r->head, "\r\n"); p != NULL && p[2] != '\0'; p = strstr(p + 2, "\r\n")) {
		if (strncasecmp(p + 2, name, n) != 0 || p[2 + n] != ':')
			continue;
		p += 3 + n + strspn(p + 3 + n, " ");
		snprintf(ret, size, "%.*s", (int)strcspn(p, "\r"), p);
		return true;
	}
	return false;
}

bool
raw_read_body(struct raw_conn *c, struct raw_request *r)
{
	char length[32];

	r->length = raw_header(r, "content-length", length, sizeof(length)) ? strtoul(length, NULL, 10) : 0;
	r->body = calloc(1, r->length + 1);
	raw_must(r->body != NULL, "calloc");
	return raw_read(c, r->body, r->length);
}

bool
raw_read_request(struct raw_conn *c, struct raw_request *ret)
{
	char expect[32];

	if (!raw_read_head(c, ret))
		return false;
	if (raw_header(ret, "expect", expect, sizeof(expect)))
		raw_print(c, "HTTP/1.1 100 Continue\r\n\r\n");
	return raw_read_body(c, ret);
}

void
raw_request_free(struct raw_request *r)
{
	free(r->body);
	r->body = NULL;
}

bool
raw_write(struct raw_conn *c, const void *p, size_t n)
{
	const char *from = p;

	while (n > 0) {
		ssize_t now = send(c->fd, from, n, MSG_NOSIGNAL);

		if (now < 0 && errno == EINTR)
			continue;
		if (now <= 0)
			return false;
		from += now;
		n -= (size_t)now;
	}
	return true;
}

bool
raw_print(struct raw_conn *c, const char *fmt, ...)
{
	char    text[65536];
	va_list ap;
	int     n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return raw_write(c, text, (size_t)n);
}

bool
raw_wait_readable(struct raw_conn *c)
{
	char    byte;
	ssize_t n;

	if (c->nheld > 0)
		return true;
	do
		n = recv(c->fd, &byte, 1, MSG_PEEK);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

void
raw_wait_closed(struct raw_conn *c)
{
	do
		c->nheld = 0;
	while (raw_fill(c));
}

void
raw_reset(struct raw_conn *c)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}
