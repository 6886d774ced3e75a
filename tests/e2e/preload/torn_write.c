/* SPDX-License-Identifier: MIT */
/* Preloaded: while the file TORN_GATE exists, a write to a file whose path contains TORN_WRITE breaks off after half a piece. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
breaks(int fd)
{
	const char *part = getenv("TORN_WRITE"), *gate = getenv("TORN_GATE");
	char        link[64], path[4096];
	ssize_t     n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0 || !part || !gate || access(gate, F_OK) != 0)
		return 0;
	path[n] = '\0';
	return strstr(path, part) != NULL;
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (!breaks(fd))
		return syscall(SYS_pwrite64, fd, p, n, off);
	if (off == 0 && n > 1)
		return syscall(SYS_pwrite64, fd, p, n / 2, off);
	errno = EIO;
	return -1;
}
