/* SPDX-License-Identifier: MIT */
#include "daemon/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/test.h"

static struct err e;

/* A manager's socket, bound to name ("@": abstract) and named in the environment. */
static int
manager(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t             n = strlen(name);
	int                fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	memcpy(addr.sun_path, name, n);
	if (name[0] == '@')
		addr.sun_path[0] = '\0';
	CHECK(fd >= 0);
	CHECK(bind(fd, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) == 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

/* The next datagram; "" when there is none. */
static const char *
heard(int fd)
{
	static char text[4096];
	ssize_t     n = recv(fd, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static const char *
path_of(const char *name)
{
	static char path[300];

	snprintf(path, sizeof(path), "%s/%s", test_tmpdir(), name);
	return path;
}

static void
all_messages(void)
{
	int            fd = manager(path_of("all"));
	struct notify *n;
	long long      us;
	struct timespec t;

	CHECK_OK(notify_open(&n, &e), e);
	CHECK(getenv("NOTIFY_SOCKET") == NULL);
	CHECK_STR(heard(fd), "");
	CHECK_OK(notify_ready(n, NULL, &e), e);
	CHECK_STR(heard(fd), "READY=1\n");
	CHECK_OK(notify_ready(n, "312 states", &e), e);
	CHECK_STR(heard(fd), "READY=1\nSTATUS=312 states\n");
	CHECK_OK(notify_status(n, "a\nREADY=1\tb", &e), e);
	CHECK_STR(heard(fd), "STATUS=a READY=1 b\n");
	CHECK_OK(notify_watchdog(n, &e), e);
	CHECK_STR(heard(fd), "WATCHDOG=1\n");
	CHECK_OK(notify_reloading(n, &e), e);
	CHECK(sscanf(heard(fd), "RELOADING=1\nMONOTONIC_USEC=%lld\n", &us) == 1);
	clock_gettime(CLOCK_MONOTONIC, &t);
	CHECK(us <= (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
	CHECK(us > (long long)t.tv_sec * 1000000 - 60000000);
	CHECK_OK(notify_stopping(n, &e), e);
	CHECK_STR(heard(fd), "STOPPING=1\n");
	CHECK_STR(heard(fd), "");
	notify_close(n);
	close(fd);
}

static void
an_abstract_name(void)
{
	char           name[60];
	struct notify *n;
	int            fd;

	snprintf(name, sizeof(name), "@stateferry-test-%ld", (long)getpid());
	fd = manager(name);
	CHECK_OK(notify_open(&n, &e), e);
	CHECK_OK(notify_ready(n, NULL, &e), e);
	CHECK_STR(heard(fd), "READY=1\n");
	notify_close(n);
	close(fd);
}

static void
nobody_listens(void)
{
	struct notify *n;

	unsetenv("NOTIFY_SOCKET");
	setenv("WATCHDOG_USEC", "30000000", 1);
	CHECK_OK(notify_open(&n, &e), e);
	CHECK(notify_watchdog_ms(n) == 0);
	CHECK_OK(notify_ready(n, "x", &e), e);
	CHECK_OK(notify_watchdog(n, &e), e);
	CHECK_OK(notify_reloading(n, &e), e);
	CHECK_OK(notify_stopping(n, &e), e);
	notify_close(n);
	notify_close(NULL);
}

static void
a_name_that_is_none(void)
{
	static char long_name[120];
	const char *bad[] = { "relative/path", "/", "@", "vsock:2:1", long_name };

	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[0] = '/';
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct notify *n;

		setenv("NOTIFY_SOCKET", bad[i], 1);
		CHECK(notify_open(&n, &e) == ERR_CONFIG);
		CHECK(strstr(e.msg, "NOTIFY_SOCKET") != NULL);
		CHECK(getenv("NOTIFY_SOCKET") == NULL);
		CHECK_OK(notify_ready(n, NULL, &e), e);
		notify_close(n);
	}
}

static void
the_watchdog(void)
{
	static const struct {
		const char *us, *pid;
		int64_t     ms;
	} rows[] = { { "30000000", NULL, 15000 }, { "30000000", "own", 15000 }, { "30000000", "1", 0 }, { "1", NULL, 1 },
		{ "0", NULL, 0 }, { "-1", NULL, 0 }, { "30s", NULL, 0 }, { "", NULL, 0 }, { NULL, NULL, 0 },
		{ "99999999999999999999999", NULL, 0 }, { "30000000", "x", 0 } };
	char own[30];
	int  fd = manager(path_of("watchdog"));

	snprintf(own, sizeof(own), "%ld", (long)getpid());
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct notify *n;

		setenv("NOTIFY_SOCKET", path_of("watchdog"), 1);
		if (rows[i].us != NULL)
			setenv("WATCHDOG_USEC", rows[i].us, 1);
		if (rows[i].pid != NULL)
			setenv("WATCHDOG_PID", strcmp(rows[i].pid, "own") == 0 ? own : rows[i].pid, 1);
		CHECK_OK(notify_open(&n, &e), e);
		if (notify_watchdog_ms(n) != rows[i].ms)
			test_fail(__FILE__, __LINE__, "row %zu: %lld", i, (long long)notify_watchdog_ms(n));
		CHECK(getenv("WATCHDOG_USEC") == NULL && getenv("WATCHDOG_PID") == NULL);
		notify_close(n);
	}
	close(fd);
}

static void
a_manager_that_does_not_read(void)
{
	int            fd = manager(path_of("full"));
	struct notify *n;
	enum err_code  code = ERR_OK;

	CHECK_OK(notify_open(&n, &e), e);
	for (int i = 0; i < 100000 && code == ERR_OK; i++)
		code = notify_watchdog(n, &e);
	CHECK(code == ERR_BUSY);
	close(fd);
	CHECK(notify_watchdog(n, &e) == ERR_IO);
	CHECK_U64(e.detail, ECONNREFUSED);
	notify_close(n);
}

static void
a_long_status_is_cut(void)
{
	static char    status[5000];
	int            fd = manager(path_of("long"));
	struct notify *n;

	memset(status, 'x', sizeof(status) - 1);
	CHECK_OK(notify_open(&n, &e), e);
	CHECK_OK(notify_status(n, status, &e), e);
	CHECK_U64(strlen(heard(fd)), strlen("STATUS=\n") + 1024);
	memcpy(status + 1022, "\xe2\x82\xac", 3); /* a euro sign across the end */
	CHECK_OK(notify_status(n, status, &e), e);
	CHECK_U64(strlen(heard(fd)), strlen("STATUS=\n") + 1022);
	notify_close(n);
	close(fd);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "all messages", all_messages },
	    { "an abstract name", an_abstract_name },
	    { "nobody listens", nobody_listens },
	    { "a name that is none", a_name_that_is_none },
	    { "the watchdog", the_watchdog },
	    { "a manager that does not read", a_manager_that_does_not_read },
	    { "a long status is cut", a_long_status_is_cut },
	    { NULL, NULL } });
}
