/* SPDX-License-Identifier: MIT */
/* Preloaded: syncing a file whose path contains SLOW_SYNC takes two seconds, so that a test sees the write. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void
linger(int fd)
{
	const char *part = getenv("SLOW_SYNC");
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0 || !part)
		return;
	path[n] = '\0';
	if (strstr(path, part))
		sleep(2);
}

int
fsync(int fd)
{
	linger(fd);
	return (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	linger(fd);
	return (int)syscall(SYS_fdatasync, fd);
}
