/* SPDX-License-Identifier: MIT */
/* What is left in memory of a request's credentials when it is over: nothing, not even in memory that libcurl has given back. */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "http_client_rig.h"

#define CANARY_LEN 48
#define MASK       0x5a

static uint8_t masked[CANARY_LEN]; /* the token is nowhere but where it is put for a request */

static void
plant(char ret[CANARY_LEN + 1])
{
	for (size_t i = 0; i < CANARY_LEN; i++)
		ret[i] = (char)(masked[i] ^ MASK);
	ret[CANARY_LEN] = '\0';
}

/* A process of its own, whose memory is not searched: answers each connection, and keeps it. *ret_port: where. */
static pid_t
serve(unsigned *ret_port)
{
	static const char  answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t          n = sizeof(at);
	int                fd = socket(AF_INET, SOCK_STREAM, 0), c;
	pid_t              pid;
	char               text[8192];
	ssize_t            got;

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, n) == 0 && listen(fd, 8) == 0 && getsockname(fd, (struct sockaddr *)&at, &n) == 0);
	*ret_port = ntohs(at.sin_port);
	pid = fork();
	CHECK(pid >= 0);
	if (pid > 0) {
		close(fd);
		return pid;
	}
	alarm(20);
	while ((c = accept(fd, NULL, NULL)) >= 0) {
		while ((got = read(c, text, sizeof(text) - 1)) > 0) {
			text[got] = '\0';
			if (strstr(text, "\r\n\r\n") != NULL && write(c, answer, sizeof(answer) - 1) < 0)
				break;
		}
		close(c);
	}
	_exit(0);
}

static bool
holds(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i + CANARY_LEN <= n; i++) {
		size_t k = 0;

		while (k < CANARY_LEN && (p[i + k] ^ MASK) == masked[k])
			k++;
		if (k == CANARY_LEN)
			return true;
	}
	return false;
}

/* How many writable regions of this process hold the token. Each is copied first, so that the search finds no copy of its own. */
static unsigned
copies(void)
{
	FILE         *maps = fopen("/proc/self/maps", "r");
	int           fd = open("/proc/self/mem", O_RDONLY);
	char          line[512], mode[8];
	unsigned long from, to;
	unsigned      found = 0;
	static uint8_t piece[65536 + CANARY_LEN];

	CHECK(maps != NULL && fd >= 0);
	while (fgets(line, sizeof(line), maps) != NULL) {
		/* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[0] != 'r' || mode[1] != 'w')
			continue;
		for (unsigned long at = from; at < to; at += 65536) {
			ssize_t n;

			if (at <= (unsigned long)piece + sizeof(piece) && at + sizeof(piece) >= (unsigned long)piece)
				continue; /* our own */
			n = pread(fd, piece, sizeof(piece), (off_t)at);
			found += n > 0 && holds(piece, (size_t)n);
			mem_wipe(piece, sizeof(piece));
		}
	}
	fclose(maps);
	close(fd);
	return found;
}

static void
get(unsigned port)
{
	char               value[CANARY_LEN + 16] = "Bearer ";
	struct http_header header = { "Authorization", value };

	plant(value + 7);
	web_begin(&(struct http_request){ .method = "GET", .url = web_url(port, "/"), .headers = &header, .nheaders = 1 });
	mem_wipe(value, sizeof(value));
	CHECK_OK(web_finish(), web.outcome);
	CHECK_U64(web.answer.status, 200);
}

static void
nothing_is_left(void)
{
	unsigned port;
	pid_t    server;
	int      status;

	if (TEST_SANITIZED)
		test_skip("the memory of a sanitizer is too large to be searched");
	test_not_under_valgrind("freed memory");
	for (size_t i = 0; i < CANARY_LEN; i++)
		masked[i] = (uint8_t)('a' + i * 7 % 26 + i / 26) ^ MASK;
	server = serve(&port);
	web_setup();
	{
		char seen[CANARY_LEN + 1];

		plant(seen);
		CHECK(copies() > 0); /* the search finds what is there */
		mem_wipe(seen, sizeof(seen));
		CHECK_U64(copies(), 0);
	}
	for (int i = 0; i < 3; i++)
		get(port);
	CHECK_U64(copies(), 0);
	web_teardown();
	CHECK_U64(copies(), 0);
	kill(server, SIGKILL);
	CHECK(waitpid(server, &status, 0) == server);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "nothing is left of a token", nothing_is_left }, { NULL, NULL } });
}
