/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/http_server.h"
#include "../../lib/test.h"

static struct err e;

static const char *
path_of(const char *name)
{
	static char path[400];

	snprintf(path, sizeof(path), "%s/%s", test_tmpdir(), name);
	return path;
}

static int
connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int                fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, path);
	CHECK(fd >= 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
a_unix_socket_is_ours_alone(void)
{
	mode_t      mask = umask(0);
	const char *path = path_of("mode");
	struct stat st;
	int         fd, peer;

	CHECK_OK(http_listen_unix(path, &fd, &e), e);
	umask(mask);
	CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode));
	CHECK_U64(st.st_mode & 07777, 0600);
	CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	peer = connect_to(path);
	CHECK(peer >= 0);
	close(peer);
	close(fd);
}

static void
a_stale_one_is_replaced(void)
{
	const char *path = path_of("stale");
	int         fd, peer;

	CHECK_OK(http_listen_unix(path, &fd, &e), e);
	close(fd);
	CHECK(connect_to(path) < 0);
	CHECK_OK(http_listen_unix(path, &fd, &e), e);
	peer = connect_to(path);
	CHECK(peer >= 0);
	close(peer);
	close(fd);
}

static void
a_live_one_is_refused(void)
{
	const char *path = path_of("live");
	int         fd, other, peer;

	CHECK_OK(http_listen_unix(path, &fd, &e), e);
	CHECK(http_listen_unix(path, &other, &e) == ERR_LOCKED);
	CHECK(strstr(e.msg, path) != NULL);
	peer = connect_to(path); /* still the first */
	CHECK(peer >= 0);
	close(peer);
	close(fd);
}

/* A backlog that is full does not look like nobody. */
static void
a_busy_one_is_refused(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char        *path = path_of("busy");
	int                fd = socket(AF_UNIX, SOCK_STREAM, 0), other, peer;

	strcpy(addr.sun_path, path);
	CHECK(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 0) == 0);
	peer = connect_to(path);
	CHECK(peer >= 0);
	CHECK(http_listen_unix(path, &other, &e) == ERR_LOCKED);
	close(peer);
	close(fd);
}

static void
what_is_no_socket_stays(void)
{
	const char *path = path_of("file");
	int         fd = open(path, O_CREAT | O_WRONLY, 0600), other;
	struct stat st;

	CHECK(fd >= 0 && write(fd, "x", 1) == 1);
	close(fd);
	CHECK(http_listen_unix(path, &other, &e) == ERR_CONFIG);
	CHECK(strstr(e.msg, "socket") != NULL && strstr(e.msg, path) != NULL);
	CHECK(stat(path, &st) == 0 && st.st_size == 1);
}

static void
a_link_is_not_followed(void)
{
	char target[400];
	int  fd;

	strcpy(target, path_of("elsewhere"));
	CHECK(symlink(target, path_of("link")) == 0);
	CHECK(http_listen_unix(path_of("link"), &fd, &e) == ERR_CONFIG);
	CHECK(access(target, F_OK) != 0);
}

static void
a_long_path_names_the_argument(void)
{
	char path[110];
	int  fd;

	memset(path, 'a', sizeof(path));
	path[108] = '\0';
	CHECK(http_listen_unix(path, &fd, &e) == ERR_CONFIG);
	CHECK(strstr(e.msg, "socket") != NULL && strstr(e.msg, "107") != NULL);
	CHECK(http_listen_unix("", &fd, &e) == ERR_CONFIG);
}

static void
a_path_of_107_bytes_is_fine(void)
{
	char path[108];
	int  fd, home = open(".", O_RDONLY | O_DIRECTORY);

	CHECK(home >= 0 && chdir(test_tmpdir()) == 0);
	memset(path, 'a', sizeof(path));
	path[107] = '\0';
	CHECK_OK(http_listen_unix(path, &fd, &e), e);
	CHECK(access(path, F_OK) == 0);
	CHECK(fchdir(home) == 0);
	close(home);
	close(fd);
}

static void
a_missing_folder_is_an_error(void)
{
	int fd;

	CHECK(http_listen_unix(path_of("no/such"), &fd, &e) == ERR_IO);
	CHECK_U64(e.detail, ENOENT);
}

/* Two that start at once over one stale file: exactly one gets it. */
static void
a_race_has_one_winner(void)
{
	const char *path = path_of("race");
	int         fd, go[2], won = 0;
	char        byte;

	CHECK_OK(http_listen_unix(path, &fd, &e), e);
	close(fd);
	CHECK(pipe(go) == 0);
	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid > 0)
			continue;
		close(go[1]);
		if (read(go[0], &byte, 1) != 0) /* all of them wake when the parent closes it */
			_exit(2);
		if (http_listen_unix(path, &fd, &e) == ERR_OK) {
			usleep(300000);
			_exit(0);
		}
		_exit(e.code == ERR_LOCKED ? 1 : 2);
	}
	close(go[0]);
	close(go[1]);
	for (int i = 0; i < 8; i++) {
		int status;

		CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) < 2);
		won += WEXITSTATUS(status) == 0;
	}
	CHECK_U64(won, 1);
}

static void
tcp_addresses(void)
{
	static const char *const bad[] = { "", "8420", ":8420", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
		"127.0.0.1:-1", "127.0.0.1: 1", "localhost:1", "::1:8420", "[::1]", "[::1:1", "[127.0.0.1]:1", "[]:1",
		"127.0.0.1:99999999999999999999", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1" };
	struct sockaddr_in       own;
	socklen_t                n = sizeof(own);
	char                     taken[40];
	int                      fd, other;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(http_listen_tcp(bad[i], &fd, &e) == ERR_CONFIG);
		CHECK(strstr(e.msg, "listen") != NULL);
	}
	CHECK_OK(http_listen_tcp("127.0.0.1:0", &fd, &e), e);
	CHECK(getsockname(fd, (struct sockaddr *)&own, &n) == 0);
	CHECK(own.sin_family == AF_INET && own.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", ntohs(own.sin_port));
	CHECK(http_listen_tcp(taken, &other, &e) == ERR_IO);
	CHECK_U64(e.detail, EADDRINUSE);
	close(fd);
}

static void
tcp_version_6(void)
{
	struct sockaddr_in6 own;
	socklen_t           n = sizeof(own);
	int                 fd;

	if (http_listen_tcp("[::1]:0", &fd, &e) != ERR_OK)
		test_skip("no IPv6 here: %s", e.msg);
	CHECK(getsockname(fd, (struct sockaddr *)&own, &n) == 0 && own.sin6_family == AF_INET6);
	close(fd);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "a Unix socket is ours alone", a_unix_socket_is_ours_alone },
	    { "a stale one is replaced", a_stale_one_is_replaced },
	    { "a live one is refused", a_live_one_is_refused },
	    { "a busy one is refused", a_busy_one_is_refused },
	    { "what is no socket stays", what_is_no_socket_stays },
	    { "a link is not followed", a_link_is_not_followed },
	    { "a long path names the argument", a_long_path_names_the_argument },
	    { "a path of 107 bytes is fine", a_path_of_107_bytes_is_fine },
	    { "a missing folder is an error", a_missing_folder_is_an_error },
	    { "a race has one winner", a_race_has_one_winner },
	    { "TCP addresses", tcp_addresses },
	    { "TCP version 6", tcp_version_6 },
	    { NULL, NULL } });
}
