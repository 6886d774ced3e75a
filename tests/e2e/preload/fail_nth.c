/* SPDX-License-Identifier: MIT */
/*
 * Preloaded: the FAIL_NTH-th call of the kind FAIL_CALL fails, and with FAIL_EVER each one after it. Kinds are those
 * below, and alloc in fail_alloc.c. When the process ends, the number of calls of that kind stands in the file FAIL_COUNT.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char   *call;
static unsigned long nth;
static int           ever;
static unsigned long seen;

static __attribute__((constructor)) void
begin(void)
{
	const char *n = getenv("FAIL_NTH");

	nth = n ? strtoul(n, NULL, 10) : 0;
	ever = getenv("FAIL_EVER") != NULL;
	call = getenv("FAIL_CALL");
}

static __attribute__((destructor)) void
tell(void)
{
	const char *path = getenv("FAIL_COUNT");
	char        text[32];
	int         fd, n = snprintf(text, sizeof(text), "%lu\n", seen);

	call = NULL;
	if (!path || (fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600)) < 0)
		return;
	if (syscall(SYS_write, fd, text, (size_t)n) != n)
		abort();
	syscall(SYS_close, fd);
}

static int
fails(const char *kind, int with)
{
	unsigned long n;

	if (!call || strcmp(call, kind) != 0)
		return 0;
	n = __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED);
	if (nth == 0 || n < nth || (n > nth && !ever))
		return 0;
	errno = with;
	return 1;
}

int
fdatasync(int fd)
{
	return fails("fdatasync", EIO) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int
fsync(int fd)
{
	return fails("fsync", EIO) ? -1 : (int)syscall(SYS_fsync, fd);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	return fails("pwrite", EIO) ? -1 : syscall(SYS_pwrite64, fd, p, n, off);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off_t off)
{
	return pwrite(fd, p, n, off);
}

int
ftruncate(int fd, off_t n)
{
	return fails("ftruncate", EIO) ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

int
rename(const char *from, const char *to)
{
	return fails("rename", EIO) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
renameat(int a, const char *from, int b, const char *to)
{
	return fails("rename", EIO) ? -1 : (int)syscall(SYS_renameat2, a, from, b, to, 0);
}

int
linkat(int a, const char *from, int b, const char *to, int flags)
{
	return fails("rename", EIO) ? -1 : (int)syscall(SYS_linkat, a, from, b, to, flags);
}

static int
opens(int dir, const char *path, int flags, mode_t mode)
{
	return fails("open", EMFILE) ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

#define OPENS(dir) \
	va_list ap; \
	int     fd; \
	va_start(ap, flags); \
	fd = opens(dir, path, flags, (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0); \
	va_end(ap); \
	return fd

int
open(const char *path, int flags, ...)
{
	OPENS(AT_FDCWD);
}

int
open64(const char *path, int flags, ...)
{
	OPENS(AT_FDCWD);
}

int
openat(int dir, const char *path, int flags, ...)
{
	OPENS(dir);
}

int
openat64(int dir, const char *path, int flags, ...)
{
	OPENS(dir);
}
