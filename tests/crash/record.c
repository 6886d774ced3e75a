/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"

static struct recording *into;

void
record_into(struct recording *r)
{
	into = r;
}

static struct record *
record_add(enum record_kind kind)
{
	if (into->n == into->cap) {
		into->cap = into->cap == 0 ? 1024 : 2 * into->cap;
		into->all = xreallocarray(into->all, into->cap, sizeof(*into->all));
	}
	into->all[into->n] = (struct record){ .kind = kind };
	return &into->all[into->n++];
}

void
record_ack(uint64_t number)
{
	record_add(REC_ACK)->off = (off_t)number;
}

void
record_free(struct recording *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->all[i].data);
	free(r->all);
	*r = (struct recording){ 0 };
}

size_t
record_count(const struct recording *r, enum record_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += r->all[i].kind == kind;
	return n;
}

/* Nobody is recording, or the file's name is another one. */
static bool
is_not(int fd, const char *name)
{
	char    link[64], to[512];
	size_t  n = strlen(name);
	ssize_t len;

	if (into == NULL)
		return true;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, to, sizeof(to) - 1);
	return len < (ssize_t)n || memcmp(to + (size_t)len - n, name, n) != 0;
}

static void
record_write(int fd, const void *p, size_t n, off_t off)
{
	struct record *w;

	if (is_not(fd, "/data.mdb"))
		return;
	w = record_add(REC_WRITE);
	w->off = off;
	w->n = n;
	w->data = xmemdup(p, n);
	w->durable = (fcntl(fd, F_GETFL) & O_DSYNC) == O_DSYNC;
}

/* ---------------------------------------------------------------- in place of the C library's */

ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	record_write(fd, p, n, off);
	return syscall(SYS_pwrite64, fd, p, n, off);
}

ssize_t
writev(int fd, const struct iovec *v, int count)
{
	off_t off = lseek(fd, 0, SEEK_CUR);

	for (int i = 0; i < count; i++) {
		record_write(fd, v[i].iov_base, v[i].iov_len, off);
		off += (off_t)v[i].iov_len;
	}
	return syscall(SYS_writev, fd, v, count);
}

ssize_t
write(int fd, const void *p, size_t n)
{
	if (!is_not(fd, "/host.new") && n < sizeof(into->host)) {
		memcpy(into->host, p, n);
		into->host[n] = '\0';
		record_add(REC_HOST_WRITE);
		into->all[into->n - 1].data = xmemdup(into->host, n + 1);
		into->all[into->n - 1].n = n;
	}
	record_write(fd, p, n, into != NULL ? lseek(fd, 0, SEEK_CUR) : 0);
	return syscall(SYS_write, fd, p, n);
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (into != NULL && strcmp(from, "host.new") == 0)
		record_add(REC_HOST_RENAME);
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

static int
flushed(int fd)
{
	if (!is_not(fd, "/data.mdb"))
		record_add(REC_FLUSH);
	else if (!is_not(fd, "/host.new"))
		record_add(REC_HOST_SYNC);
	else if (!is_not(fd, "/recorded"))
		record_add(REC_DIR_SYNC);
	return 0;
}

int
fdatasync(int fd)
{
	return flushed(fd);
}

int
fsync(int fd)
{
	return flushed(fd);
}
