/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "local.h"
#include "provider/reader.h"

/*
 * Reading and writing one file. An existing file is written in place on the locked descriptor: terraform keeps the inode open
 * while it waits for the lock, so a rename would lose its write. New names come by temporary file and link.
 */
#define LOCAL_PIECE ((size_t)64 << 10)
#define LOCAL_TRIES 3  /* reads of a file that changes while it is read */

/* ---------------------------------------------------------------- reading */

static enum err_code
local_keep(struct local_call *c, struct buf *mem, uint64_t off, const void *p, size_t n, struct err *reterr)
{
	if (c->spool_fd < 0)
		return buf_add(mem, p, n, reterr);
	for (size_t done = 0; done < n;) {
		ssize_t w = pwrite(c->spool_fd, (const uint8_t *)p + done, n - done, (off_t)(off + done));

		if (w < 0)
			return err_errno(reterr, errno, "a temporary file in the folder of the store");
		done += (size_t)w;
	}
	return ERR_OK;
}

/* What was read; the spool belongs to it then. */
static struct body *
local_body(struct local_call *c, struct buf *mem)
{
	struct body *body = c->spool_fd < 0 ? body_new(mem) : body_from_fd(c->spool_fd, c->now.info.size);

	c->spool_fd = -1;
	body_free_on(body, c->l->env->work);
	return body;
}

/* One attempt. *ret_torn: the file changed meanwhile, and nothing is kept. */
static enum err_code
local_read_once(struct local_call *c, int fd, bool *ret_torn, struct err *reterr)
{
	struct reader *r = reader_new();
	uint8_t       *piece = xmalloc(LOCAL_PIECE);
	struct stat    before, after;
	struct buf     mem;
	enum err_code  rc = ERR_OK;
	ssize_t        n = 0;

	buf_init(&mem, SIZE_MAX);
	fstat(fd, &before);
	while (rc == ERR_OK && (n = pread(fd, piece, LOCAL_PIECE, (off_t)reader_size(r))) > 0) {
		if (reader_size(r) + (uint64_t)n > c->max_size)
			rc = err_set(reterr, ERR_UNSUPPORTED, 0, "%s is larger than max_state_size (%llu bytes)", c->name,
			    (unsigned long long)c->max_size);
		else
			rc = local_keep(c, &mem, reader_size(r), piece, (size_t)n, reterr);
		reader_feed(r, piece, (size_t)n);
	}
	if (rc == ERR_OK && n < 0)
		rc = err_errno(reterr, errno, "%s", c->name);
	fstat(fd, &after);
	mem_wipe(piece, LOCAL_PIECE);
	free(piece);
	local_etag(&after, c->now.etag);
	c->now.modified = (int64_t)after.st_mtim.tv_sec * 1000 + after.st_mtim.tv_nsec / 1000000;
	*ret_torn = before.st_ctim.tv_sec != after.st_ctim.tv_sec || before.st_ctim.tv_nsec != after.st_ctim.tv_nsec ||
	    reader_size(r) != (uint64_t)after.st_size;
	reader_end(r, &c->now);
	if (rc == ERR_OK && !*ret_torn)
		c->now.body = local_body(c, &mem);
	else
		buf_wipe_free(&mem);
	return rc;
}

enum err_code
local_read_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct local_call *c = arg;
	struct stat        st;
	char               etag[ETAG_MAX];
	bool               torn = true;
	int                fd;
	enum err_code      rc = local_open_file(c->l, c->path, O_RDONLY, &fd, reterr);

	(void)job;
	if (rc != ERR_OK)
		return rc;
	fstat(fd, &st);
	local_etag(&st, etag);
	if (c->etag[0] != '\0' && strcmp(etag, c->etag) == 0)
		rc = err_set(reterr, ERR_UNCHANGED, 0, "unchanged");
	else if ((uint64_t)st.st_size > BODY_SPOOL_ABOVE && c->l->env->spool != NULL &&
	    (c->spool_fd = c->l->env->spool(c->l->env->spool_arg, reterr)) < 0)
		rc = reterr->code;
	for (int i = 0; rc == ERR_OK && torn && i < LOCAL_TRIES; i++)
		rc = local_read_once(c, fd, &torn, reterr);
	if (rc == ERR_OK && torn)
		rc = err_set(reterr, ERR_BUSY, 0, "%s changes while it is read", c->name);
	close(fd);
	if (c->spool_fd >= 0)
		close(c->spool_fd);
	c->spool_fd = -1;
	return rc;
}

enum err_code
local_head_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct local_call *c = arg;
	struct stat        st;
	int                fd;

	(void)job;
	if (local_open_file(c->l, c->path, O_RDONLY, &fd, reterr) != ERR_OK)
		return reterr->code;
	fstat(fd, &st);
	close(fd);
	local_etag(&st, c->tag.etag);
	c->tag.size = (uint64_t)st.st_size;
	c->tag.modified = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	return ERR_OK;
}

/* ---------------------------------------------------------------- writing */

static enum err_code
local_write_all(int fd, const struct body *body, const char *name, struct err *reterr)
{
	uint8_t      *piece = xmalloc(LOCAL_PIECE);
	uint64_t      off = 0;
	size_t        n = 0;
	enum err_code rc;

	while ((rc = body_read(body, off, piece, LOCAL_PIECE, &n, reterr)) == ERR_OK && n > 0) {
		for (size_t done = 0; rc == ERR_OK && done < n;) {
			ssize_t w = pwrite(fd, piece + done, n - done, (off_t)(off + done));

			if (w < 0 && errno != EINTR)
				rc = err_errno(reterr, errno, "%s", name);
			else if (w > 0)
				done += (size_t)w;
		}
		if (rc != ERR_OK)
			break;
		off += n;
	}
	mem_wipe(piece, LOCAL_PIECE);
	free(piece);
	return rc;
}

static bool
local_is_no_room(int errnum)
{
	return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG;
}

/* Room for all of it before the first byte is overwritten, or a full disk or a limit would tear what is there. A file system that
 * cannot promise it is taken at its word when it comes to writing. */
static enum err_code
local_reserve(int fd, const struct body *body, const char *name, struct err *reterr)
{
	struct stat   st;
	struct rlimit most;

	if (getrlimit(RLIMIT_FSIZE, &most) == 0 && body_size(body) > most.rlim_cur)
		return err_errno(reterr, EFBIG, "%s", name);
	if (body_size(body) == 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)body_size(body)) == 0 || !local_is_no_room(errno))
		return ERR_OK;
	err_errno(reterr, errno, "%s", name);
	if (fstat(fd, &st) == 0 && ftruncate(fd, st.st_size) != 0) /* what was reserved of it is given back */
		return err_errno(reterr, errno, "%s", name);
	return ERR_IO;
}

/* Longer first, then cut, then on the disk: a reader without the lock sees a mixture for as short as can be. What goes wrong
 * from the first byte on leaves the file in doubt. */
static enum err_code
local_write_in_place(struct local_call *c, int fd, struct err *reterr)
{
	struct stat st;
	struct err  why;

	if (local_reserve(fd, c->body, c->name, reterr) != ERR_OK)
		return reterr->code;
	if (local_write_all(fd, c->body, c->name, &why) != ERR_OK)
		return err_set(reterr, ERR_UNCERTAIN, why.detail, "writing in place failed: %s", why.msg);
	if (ftruncate(fd, (off_t)body_size(c->body)) != 0 || fsync(fd) != 0 || fstat(fd, &st) != 0)
		return err_set(reterr, ERR_UNCERTAIN, errno, "%s: writing in place failed: %s", c->name, strerror(errno));
	local_etag(&st, c->tag.etag);
	return ERR_OK;
}

static enum err_code
local_check_etag(struct local_call *c, int fd, struct err *reterr)
{
	struct stat st;
	char        etag[ETAG_MAX];

	fstat(fd, &st);
	local_etag(&st, etag);
	if (c->when.when == PUT_MATCH && strcmp(etag, c->etag) != 0)
		return err_set(reterr, ERR_CONFLICT, 0, "%s has changed", c->name);
	if (c->when.when == PUT_ABSENT && st.st_size != 0)
		return err_set(reterr, ERR_CONFLICT, 0, "%s exists", c->name);
	return ERR_OK;
}

#define LOCAL_FD_PATH "/proc/self/fd/%d"

/*
 * A file in the folder of path that has no name yet, so that a process that is killed leaves nothing there. Where the file system
 * cannot do that (or there is no /proc to give it a name by), *ret_temp is its name, and the caller's to remove and free.
 */
static int
local_nameless(const char *path, char **ret_temp)
{
	int   length = (int)(strrchr(path, '/') - path), fd;
	char *folder = xasprintf("%.*s/", length, path), self[64];

	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	free(folder);
	if (fd >= 0) {
		snprintf(self, sizeof(self), LOCAL_FD_PATH, fd);
		if (access(self, F_OK) == 0)
			return fd;
		close(fd);
	}
	*ret_temp = xasprintf("%.*s/.stateferry-XXXXXX", length, path);
	return mkostemp(*ret_temp, O_CLOEXEC);
}

static int
local_give_name(int fd, const char *temp, const char *path)
{
	char self[64];

	if (temp != NULL)
		return link(temp, path);
	snprintf(self, sizeof(self), LOCAL_FD_PATH, fd);
	return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

/* The folder has changed already: whether that stays is all that can be in doubt. */
static enum err_code
local_keep_names(struct local_call *c, struct err *reterr)
{
	struct err why;

	if (local_sync_folder(c->path, &why) == ERR_OK)
		return ERR_OK;
	return err_set(reterr, ERR_UNCERTAIN, why.detail, "%s: done, but its folder could not be flushed: %s", c->name, why.msg);
}

/* A new name: nobody can have it open, so it appears whole or not at all. */
static enum err_code
local_write_new(struct local_call *c, struct err *reterr)
{
	char         *temp = NULL;
	struct stat   st;
	int           fd;
	enum err_code rc;

	if ((rc = local_make_parents(c->l, c->path, reterr)) != ERR_OK)
		return rc;
	fd = local_nameless(c->path, &temp);
	if (fd < 0) {
		rc = err_errno(reterr, errno, "%s", c->name);
		free(temp);
		return rc;
	}
	rc = local_write_all(fd, c->body, c->name, reterr);
	if (rc == ERR_OK && fsync(fd) != 0)
		rc = err_errno(reterr, errno, "%s", c->name);
	if (rc == ERR_OK && local_give_name(fd, temp, c->path) != 0)
		rc = errno == EEXIST ? err_set(reterr, ERR_CONFLICT, 0, "%s exists", c->name) : err_errno(reterr, errno, "%s", c->name);
	if (temp != NULL)
		unlink(temp);
	fstat(fd, &st);
	close(fd);
	free(temp);
	if (rc == ERR_OK && (rc = local_keep_names(c, reterr)) == ERR_OK)
		local_etag(&st, c->tag.etag);
	return rc;
}

/* The lock that a write without one takes for its own duration. */
static enum err_code
local_brief_lock(int fd, const char *name, struct err *reterr)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return ERR_OK;
	return err_set(reterr, ERR_LOCKED, errno, "%s is locked by another process", name);
}

static enum err_code
local_write(struct local_call *c, struct err *reterr)
{
	int           fd = -1;
	enum err_code rc;

	if (c->held_fd >= 0) {
		rc = local_check_etag(c, c->held_fd, reterr);
		return rc == ERR_OK ? local_write_in_place(c, c->held_fd, reterr) : rc;
	}
	rc = local_open_file(c->l, c->path, O_RDWR, &fd, reterr);
	if (rc == ERR_NOT_FOUND && c->when.when != PUT_MATCH)
		return local_write_new(c, reterr);
	if (rc == ERR_NOT_FOUND)
		return err_set(reterr, ERR_CONFLICT, 0, "%s is gone", c->name);
	if (rc != ERR_OK)
		return rc;
	if ((rc = local_brief_lock(fd, c->name, reterr)) == ERR_OK && (rc = local_check_etag(c, fd, reterr)) == ERR_OK)
		rc = local_write_in_place(c, fd, reterr);
	close(fd);
	return rc;
}

enum err_code
local_write_job(struct work_job *job, void *arg, struct err *reterr)
{
	enum err_code rc = local_write(arg, reterr);

	(void)job;
	if (rc != ERR_OK && local_is_no_room(reterr->detail))
		err_hint(reterr, "%s: then it is written at the next try",
		    reterr->detail == EFBIG ? "raise the limit of the size of files" : "free space there");
	return rc;
}

enum err_code
local_delete_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct local_call *c = arg;
	int                fd = -1;
	enum err_code      rc = local_open_file(c->l, c->path, O_RDWR, &fd, reterr);

	(void)job;
	if (rc != ERR_OK)
		return rc;
	c->when.when = c->etag[0] != '\0' ? PUT_MATCH : PUT_UNDER_LOCK;
	if (c->held_fd < 0)
		rc = local_brief_lock(fd, c->name, reterr);
	if (rc == ERR_OK && (rc = local_check_etag(c, fd, reterr)) == ERR_OK && unlink(c->path) != 0)
		rc = err_errno(reterr, errno, "%s", c->name);
	close(fd);
	return rc == ERR_OK ? local_keep_names(c, reterr) : rc;
}

/* The root with all that is missing above it. */
enum err_code
local_create_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct local_call *c = arg;
	char              *path = xasprintf("%s/", c->l->root);
	enum err_code      rc = ERR_OK;

	(void)job;
	for (char *p = path + 1; rc == ERR_OK && (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			rc = err_errno(reterr, errno, "%s", path);
		*p = '/';
	}
	free(path);
	return rc == ERR_OK ? local_sync_folder(c->l->root, reterr) : rc;
}
