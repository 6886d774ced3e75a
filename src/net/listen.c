/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http_server.h"

/* Sockets that listen: made before there is a server, or handed over by whoever started us. */

#define LISTEN_BACKLOG       128
#define LISTEN_PATH_MAX      (sizeof(((struct sockaddr_un *)0)->sun_path) - 1) /* 107 */
#define LISTEN_LOCK_TRIES    40
#define LISTEN_LOCK_PAUSE_NS (25L * 1000 * 1000)
#define LISTEN_PORT_MAX      65535

static int
listen_socket(int family)
{
	return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* --- Unix --- */

/* Between "nobody answers there" and the new socket nobody else may come to the same conclusion. The lock is on the
 * folder, so that it leaves nothing behind; where it cannot be had we go on without. */
static int
listen_lock(const char *path)
{
	const struct timespec pause = { 0, LISTEN_LOCK_PAUSE_NS };
	const char           *slash = strrchr(path, '/');
	char *dir = slash == NULL ? xstrdup(".") : xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
	int   fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	free(dir);
	for (int i = 0; fd >= 0 && i < LISTEN_LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++)
		nanosleep(&pause, NULL);
	return fd;
}

/* Something is there already: ERR_OK when it was the file of a socket that nobody holds open, and is gone now. */
static enum err_code
listen_replace(const struct sockaddr_un *addr, struct err *reterr)
{
	const char *path = addr->sun_path;
	struct stat st;
	int         fd, errnum;

	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(reterr, ERR_CONFIG, EADDRINUSE, "socket: %s exists and is no socket", path);
	fd = listen_socket(AF_UNIX);
	if (fd < 0)
		return err_errno(reterr, errno, "socket: cannot make a Unix socket");
	errnum = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ? 0 : errno;
	close(fd);
	if (errnum == ECONNREFUSED && unlink(path) != 0 && errno != ENOENT)
		return err_errno(reterr, errno, "socket: cannot remove %s, which nobody listens on", path);
	if (errnum == ECONNREFUSED || errnum == ENOENT)
		return ERR_OK;
	if (errnum == EACCES || errnum == EPERM)
		return err_set(reterr, ERR_AUTH, errnum, "socket: %s belongs to another user", path);
	return err_set(reterr, ERR_LOCKED, EADDRINUSE, "socket: another process answers on %s", path);
}

static enum err_code
listen_bind(int fd, const struct sockaddr_un *addr, struct err *reterr)
{
	const struct sockaddr *sa = (const struct sockaddr *)addr;
	enum err_code          code;

	if (bind(fd, sa, sizeof(*addr)) == 0)
		return ERR_OK;
	if (errno == EADDRINUSE) {
		code = listen_replace(addr, reterr);
		if (code != ERR_OK)
			return code;
		if (bind(fd, sa, sizeof(*addr)) == 0)
			return ERR_OK;
	}
	return err_errno(reterr, errno, "socket: cannot make %s", addr->sun_path);
}

enum err_code
http_listen_unix(const char *path, int *ret_fd, struct err *reterr)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t             n = strlen(path);
	enum err_code      code = ERR_OK;
	int                lock, fd;

	if (n == 0)
		return err_set(reterr, ERR_CONFIG, 0, "socket: the path is empty");
	if (n > LISTEN_PATH_MAX)
		return err_set(reterr, ERR_CONFIG, ENAMETOOLONG,
		    "socket: the path has %zu bytes, and a Unix socket's at most %zu", n, LISTEN_PATH_MAX);
	memcpy(addr.sun_path, path, n + 1);
	fd = listen_socket(AF_UNIX);
	if (fd < 0)
		return err_errno(reterr, errno, "socket: cannot make a Unix socket");
	lock = listen_lock(path);
	/* The mode of the socket is the mode of its file: there is no moment with a wider one. */
	if (fchmod(fd, S_IRUSR | S_IWUSR) != 0)
		code = err_errno(reterr, errno, "socket: cannot set the mode of %s", path);
	if (code == ERR_OK)
		code = listen_bind(fd, &addr, reterr);
	if (code == ERR_OK && listen(fd, LISTEN_BACKLOG) != 0)
		code = err_errno(reterr, errno, "socket: cannot listen on %s", path);
	if (lock >= 0)
		close(lock);
	if (code == ERR_OK)
		*ret_fd = fd;
	else
		close(fd);
	return code;
}

/* --- TCP --- */

union listen_addr {
	struct sockaddr     sa;
	struct sockaddr_in  v4;
	struct sockaddr_in6 v6;
};

static bool
listen_parse_port(const char *s, in_port_t *ret)
{
	unsigned long port = 0;

	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9' || port > LISTEN_PORT_MAX)
			return false;
		port = port * 10 + (unsigned long)(*s - '0');
	}
	*ret = htons((uint16_t)port);
	return port <= LISTEN_PORT_MAX;
}

/* ADDRESS:PORT or [ADDRESS]:PORT; a name could mean more than one socket. */
static bool
listen_parse(const char *text, union listen_addr *ret, socklen_t *ret_n)
{
	const char *colon = strrchr(text, ':');
	char        host[INET6_ADDRSTRLEN + 2];
	in_port_t   port;
	size_t      n;

	if (colon == NULL || (size_t)(colon - text) >= sizeof(host) || !listen_parse_port(colon + 1, &port))
		return false;
	n = (size_t)(colon - text);
	memcpy(host, text, n);
	host[n] = '\0';
	memset(ret, 0, sizeof(*ret));
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = port;
		*ret_n = sizeof(ret->v6);
		return inet_pton(AF_INET6, host + 1, &ret->v6.sin6_addr) == 1;
	}
	ret->v4.sin_family = AF_INET;
	ret->v4.sin_port = port;
	*ret_n = sizeof(ret->v4);
	return inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1;
}

enum err_code
http_listen_tcp(const char *address, int *ret_fd, struct err *reterr)
{
	union listen_addr addr;
	socklen_t         n;
	enum err_code     code;
	int               fd, on = 1;

	if (!listen_parse(address, &addr, &n)) {
		code = err_set(reterr, ERR_CONFIG, 0, "listen: \"%s\" is no address with a port", address);
		err_hint(reterr, "write it as 127.0.0.1:8420 or [::1]:8420");
		return code;
	}
	fd = listen_socket(addr.sa.sa_family);
	if (fd < 0)
		return err_errno(reterr, errno, "listen: cannot make a socket for %s", address);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    (addr.sa.sa_family == AF_INET || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
	    bind(fd, &addr.sa, n) == 0 && listen(fd, LISTEN_BACKLOG) == 0) {
		*ret_fd = fd;
		return ERR_OK;
	}
	code = err_errno(reterr, errno, "listen: cannot listen on %s", address);
	close(fd);
	return code;
}
