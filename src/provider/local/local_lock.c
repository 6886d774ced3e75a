/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "local.h"

/*
 * Terraform's lock on a local state: a write lock by fcntl over the whole file, which is made when it is missing, and a
 * description beside it. Ours is an open-file-description lock, because a POSIX lock vanishes when any descriptor of the file is
 * closed in this process; the two kinds exclude each other.
 */
enum err_code
local_read_lock_info(const char *path, struct lock_info *ret, struct err *reterr)
{
	char         *info = local_lock_path(path);
	char          text[4096];
	int           fd = open(info, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t       n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	enum err_code rc;

	if (fd >= 0)
		close(fd);
	free(info);
	memset(ret, 0, sizeof(*ret));
	if (n < 0)
		return err_set(reterr, ERR_NOT_FOUND, errno, "no lock description");
	rc = lock_info_parse(span_of(text, (size_t)n), ret, reterr);
	return rc;
}

static void
local_write_lock_info(const char *path, const struct lock_info *l)
{
	char      *info = local_lock_path(path);
	struct buf body;
	int        fd = open(info, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	buf_init(&body, 0);
	lock_info_body(l, &body);
	/* The lock itself is the kernel's; a description that cannot be written only makes messages poorer. */
	if (fd >= 0 && write(fd, body.data, body.len) != (ssize_t)body.len)
		unlink(info);
	if (fd >= 0)
		close(fd);
	buf_free(&body);
	free(info);
}

static bool
local_try_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool
local_is_locked(int fd, pid_t *ret_pid)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK)
		return false;
	*ret_pid = lock.l_pid;
	return true;
}

/* As far as the kernel tells: not of an open-file-description lock, nor from outside the holder's PID namespace. */
static void
local_name_holder(struct local_call *c, pid_t pid)
{
	if (pid > 0)
		snprintf(c->holder.who, sizeof(c->holder.who), "process %ld", (long)pid);
	else
		snprintf(c->holder.who, sizeof(c->holder.who), "another process");
}

/* The name may have got another file between open and lock. */
static bool
local_same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static enum err_code
local_say_locked(struct local_call *c, int fd, struct err *reterr)
{
	pid_t pid = 0;

	if (local_read_lock_info(c->path, &c->holder, NULL) != ERR_OK) {
		local_is_locked(fd, &pid);
		local_name_holder(c, pid);
	}
	return lock_info_refuse(&c->holder, ERR_LOCKED, 0, c->name, reterr);
}

enum err_code
local_lock_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct local_call *c = arg;
	int                fd;
	enum err_code      rc;

	while (!work_cancelled(job)) {
		if ((rc = local_open_file(c->l, c->path, O_RDWR | O_CREAT, &fd, reterr)) != ERR_OK)
			return rc;
		if (!local_try_lock(fd)) {
			rc = local_say_locked(c, fd, reterr);
			close(fd);
			return rc;
		}
		if (local_same_file(fd, c->path)) {
			local_write_lock_info(c->path, &c->lock);
			c->fd = fd;
			return ERR_OK;
		}
		close(fd);
	}
	return err_set(reterr, ERR_CANCELLED, 0, "cancelled");
}

/* Ours by id, whether this process holds the descriptor or an earlier one died with it. A file that the lock made and nobody
 * wrote goes again, as terraform does it. */
enum err_code
local_unlock_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct local_call *c = arg;
	struct lock_info   there;
	struct stat        st;
	struct err         e = { 0 };
	enum err_code      rc = local_read_lock_info(c->path, &there, &e);
	bool               unread = rc == ERR_NOT_FOUND && e.detail != ENOENT && e.detail != ELOOP;
	char              *info;
	int                fd = c->held_fd;

	(void)job;
	if (rc == ERR_OK && strcmp(there.id, c->lock.id) != 0 && fd < 0)
		return ERR_OK; /* another one's: ours is gone */
	if (unread && fd < 0)
		return err_errno(reterr, e.detail, "%s: its lock's description", c->name);
	if (fd < 0 && local_open_file(c->l, c->path, O_RDWR, &fd, NULL) == ERR_OK && !local_try_lock(fd)) {
		close(fd);
		err_set(reterr, ERR_LOCKED, 0, "%s is locked by a process that still runs", c->name);
		return err_hint(reterr, "end that process: the lock goes with it");
	}
	if (unread || strcmp(there.id, c->lock.id) == 0) { /* while we hold the lock, nobody else describes his */
		info = local_lock_path(c->path);
		unlink(info);
		free(info);
	}
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0 && local_same_file(fd, c->path))
		unlink(c->path);
	if (fd >= 0)
		close(fd);
	return ERR_OK;
}

enum err_code
local_peek_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct local_call *c = arg;
	int                fd = -1;
	pid_t              pid = 0;
	bool               locked;

	(void)job;
	if (local_open_file(c->l, c->path, O_RDONLY, &fd, reterr) == ERR_AUTH)
		return ERR_AUTH;
	locked = fd >= 0 && local_is_locked(fd, &pid);
	if (fd >= 0)
		close(fd);
	if (local_read_lock_info(c->path, &c->holder, NULL) != ERR_OK && !locked)
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s is not locked", c->name);
	/* Without the kernel's lock a description is litter: shown only when it is our own, so that it gets cleaned up. */
	if (!locked && !lock_info_is_ours(&c->holder))
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s is not locked", c->name);
	if (c->holder.who[0] == '\0')
		local_name_holder(c, pid);
	return ERR_OK;
}
