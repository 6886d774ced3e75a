/* SPDX-License-Identifier: MIT */
#include "daemon/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define NOTIFY_TEXT_MAX   1024 /* of a status: more is nothing for people */
#define NOTIFY_US_PER_MS  1000

struct notify {
	int                fd; /* -1: nobody listens */
	struct sockaddr_un addr;
	socklen_t          addr_n;
	int64_t            watchdog_ms;
};

/* An absolute path, or "@" and a name in the abstract namespace. */
static enum err_code
notify_address(struct notify *n, const char *name, struct err *reterr)
{
	size_t len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || len < 2)
		return err_set(reterr, ERR_CONFIG, 0, "NOTIFY_SOCKET: neither an absolute path nor an abstract name");
	if (len >= sizeof(n->addr.sun_path))
		return err_set(reterr, ERR_CONFIG, ENAMETOOLONG, "NOTIFY_SOCKET: longer than a socket's path can be");
	n->addr.sun_family = AF_UNIX;
	memcpy(n->addr.sun_path, name, len);
	n->addr_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (name[0] == '@')
		n->addr.sun_path[0] = '\0'; /* here the length counts, not a NUL */
	else
		n->addr_n++;
	return ERR_OK;
}

/* The whole text as a number; -1: none. */
static long long
notify_number(const char *text)
{
	long long value;
	char     *end;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	value = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' ? value : -1;
}

static int64_t
notify_interval(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	long long   us = notify_number(getenv("WATCHDOG_USEC"));

	if (us <= 0 || (pid != NULL && notify_number(pid) != getpid()))
		return 0;
	return us < 2 * NOTIFY_US_PER_MS ? 1 : us / 2 / NOTIFY_US_PER_MS;
}

enum err_code
notify_open(struct notify **ret, struct err *reterr)
{
	struct notify *n = xcalloc(1, sizeof(*n));
	const char    *name = getenv("NOTIFY_SOCKET");
	enum err_code  code = ERR_OK;

	n->fd = -1;
	*ret = n;
	if (name != NULL && name[0] != '\0')
		code = notify_address(n, name, reterr);
	if (n->addr_n > 0) {
		n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (n->fd < 0)
			code = err_errno(reterr, errno, "NOTIFY_SOCKET: cannot make a socket");
		else
			n->watchdog_ms = notify_interval();
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return code;
}

void
notify_close(struct notify *n)
{
	if (n == NULL)
		return;
	if (n->fd >= 0)
		close(n->fd);
	free(n);
}

static enum err_code
notify_send(struct notify *n, const char *text, struct err *reterr)
{
	size_t  len = strlen(text);
	ssize_t sent;

	if (n->fd < 0)
		return ERR_OK;
	do
		sent = sendto(n->fd, text, len, MSG_NOSIGNAL, (const struct sockaddr *)&n->addr, n->addr_n);
	while (sent < 0 && errno == EINTR);
	if (sent == (ssize_t)len)
		return ERR_OK;
	if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS))
		return err_set(reterr, ERR_BUSY, errno, "the service manager does not read what we tell it");
	return err_errno(reterr, sent < 0 ? errno : EIO, "cannot tell the service manager");
}

/* A status is one line: a second one would be an assignment of its own. */
static enum err_code
notify_send_status(struct notify *n, const char *before, const char *status, struct err *reterr)
{
	size_t        len = status != NULL ? strnlen(status, NOTIFY_TEXT_MAX + 1) : 0;
	struct buf    b;
	enum err_code code;

	if (len > NOTIFY_TEXT_MAX)
		for (len--; len > 0 && ((unsigned char)status[len] & 0xc0) == 0x80; len--)
			continue; /* a character that is cut in two would make all of it no text */
	buf_init(&b, 2 * NOTIFY_TEXT_MAX);
	buf_puts(&b, before);
	if (status != NULL)
		buf_puts(&b, "STATUS=");
	for (size_t i = 0; i < len; i++)
		buf_putc(&b, (unsigned char)status[i] < ' ' ? ' ' : status[i]);
	if (status != NULL)
		buf_puts(&b, "\n");
	code = notify_send(n, buf_str(&b), reterr);
	buf_free(&b);
	return code;
}

enum err_code
notify_ready(struct notify *n, const char *status, struct err *reterr)
{
	return notify_send_status(n, "READY=1\n", status, reterr);
}

enum err_code
notify_status(struct notify *n, const char *status, struct err *reterr)
{
	return notify_send_status(n, "", status, reterr);
}

/* Type=notify-reload compares the time with its own CLOCK_MONOTONIC, which no other clock of ours is. */
enum err_code
notify_reloading(struct notify *n, struct err *reterr)
{
	struct timespec t;
	struct buf      b;
	enum err_code   code;

	clock_gettime(CLOCK_MONOTONIC, &t);
	buf_init(&b, NOTIFY_TEXT_MAX);
	buf_printf(&b, "RELOADING=1\nMONOTONIC_USEC=%lld%06ld\n", (long long)t.tv_sec, t.tv_nsec / 1000);
	code = notify_send(n, buf_str(&b), reterr);
	buf_free(&b);
	return code;
}

enum err_code
notify_stopping(struct notify *n, struct err *reterr)
{
	return notify_send(n, "STOPPING=1\n", reterr);
}

int64_t
notify_watchdog_ms(const struct notify *n)
{
	return n->watchdog_ms;
}

enum err_code
notify_watchdog(struct notify *n, struct err *reterr)
{
	return notify_send(n, "WATCHDOG=1\n", reterr);
}
