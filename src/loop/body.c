/* SPDX-License-Identifier: MIT */
#include "loop/body.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#define BODY_HEAVY ((uint64_t)1 << 20) /* above: letting go of it is worth a job */

struct body {
	atomic_size_t refs;
	uint64_t      size;
	struct buf    bytes; /* in memory */
	int           fd;    /* in a file; -1: in memory */
	struct work  *pool;  /* where it is let go of; NULL: where the last reference is dropped */
};

static struct body *
body_alloc(uint64_t size)
{
	struct body *b = xcalloc(1, sizeof(*b));

	atomic_init(&b->refs, 1);
	b->size = size;
	b->fd = -1;
	return b;
}

struct body *
body_new(struct buf *owned)
{
	struct body *b = body_alloc(owned->len);

	b->bytes = *owned;
	buf_init(owned, owned->max);
	return b;
}

struct body *
body_copy(struct span bytes)
{
	struct body *b = body_alloc(bytes.n);

	buf_init(&b->bytes, bytes.n > 0 ? bytes.n : 1);
	buf_put(&b->bytes, bytes.p, bytes.n);
	return b;
}

struct body *
body_from_fd(int fd_owned, uint64_t size)
{
	struct body *b = body_alloc(size);

	assert(fd_owned >= 0);
	b->fd = fd_owned;
	return b;
}

/* Without a name from the start where the file system can do that. */
int
body_file(const char *dir, struct err *reterr)
{
	char *path;
	int   fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		path = xasprintf("%s/body.XXXXXX", dir);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
		free(path);
	}
	if (fd < 0)
		err_errno(reterr, errno, "cannot spool a body in %s", dir);
	return fd;
}

enum err_code
body_file_add(int fd, uint64_t *size, struct span bytes, struct err *reterr)
{
	for (size_t done = 0; done < bytes.n;) {
		ssize_t n = pwrite(fd, bytes.p + done, bytes.n - done, (off_t)*size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_errno(reterr, n < 0 ? errno : EIO, "cannot spool a body");
		done += (size_t)n;
		*size += (uint64_t)n;
	}
	return ERR_OK;
}

struct body *
body_ref(struct body *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void
body_free_on(struct body *b, struct work *w)
{
	if (b->pool == NULL && b->size > BODY_HEAVY)
		b->pool = work_ref(w);
}

static void
body_end(void *arg)
{
	struct body *b = arg;
	struct work *pool = b->pool;

	if (b->fd >= 0)
		close(b->fd);
	else
		buf_wipe_free(&b->bytes);
	free(b);
	if (pool != NULL)
		work_unref(pool);
}

void
body_unref(struct body *b)
{
	/* What other threads did with their references comes before the free. */
	if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) > 1)
		return;
	if (b->pool != NULL)
		work_later(b->pool, body_end, b);
	else
		body_end(b);
}

uint64_t
body_size(const struct body *b)
{
	return b->size;
}

bool
body_in_memory(const struct body *b)
{
	return b->fd < 0;
}

struct span
body_span(const struct body *b)
{
	assert(b->fd < 0);
	return buf_span(&b->bytes);
}

static enum err_code
body_read_file(const struct body *b, uint64_t off, void *p, size_t n, struct err *reterr)
{
	size_t got = 0;

	while (got < n) {
		ssize_t more = pread(b->fd, (char *)p + got, n - got, (off_t)(off + got));

		if (more < 0 && errno == EINTR)
			continue;
		if (more < 0)
			return err_errno(reterr, errno, "cannot read a spooled body");
		if (more == 0)
			return err_set(reterr, ERR_IO, 0, "a spooled body ends at %" PRIu64 " of %" PRIu64 " bytes",
			    off + got, b->size);
		got += (size_t)more;
	}
	return ERR_OK;
}

enum err_code
body_read(const struct body *b, uint64_t off, void *p, size_t n, size_t *ret_n, struct err *reterr)
{
	enum err_code code = ERR_OK;

	if (off >= b->size)
		n = 0;
	else if (n > b->size - off)
		n = (size_t)(b->size - off);
	if (n > 0 && b->fd < 0)
		memcpy(p, b->bytes.data + off, n);
	else if (n > 0)
		code = body_read_file(b, off, p, n, reterr);
	if (code == ERR_OK)
		*ret_n = n;
	return code;
}
