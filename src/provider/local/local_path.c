/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "local.h"

/*
 * With `path` the names are the file itself and DIR/WORKSPACE/terraform.tfstate for each workspace, DIR being the last segment
 * of workspace_dir, as terraform's local backend lays them out; with `dir` every path below it.
 */
#define LOCAL_WORKSPACE_FILE "terraform.tfstate"

/* "DIR/W/terraform.tfstate": where W begins and how long it is. */
static bool
local_split_workspace(const struct local *l, const char *name, const char **ret, size_t *ret_n)
{
	size_t      label = strlen(l->workspace_label);
	const char *w = name + label + 1, *slash;

	if (strncmp(name, l->workspace_label, label) != 0 || name[label] != '/')
		return false;
	slash = strchr(w, '/');
	if (slash == NULL || slash == w || strcmp(slash + 1, LOCAL_WORKSPACE_FILE) != 0)
		return false;
	*ret = w;
	*ret_n = (size_t)(slash - w);
	return true;
}

char *
local_path_of(const struct local *l, const char *name)
{
	const char *w;
	size_t      n;

	if (l->file == NULL)
		return xasprintf("%s/%s", l->root, name);
	if (strcmp(name, l->file) == 0)
		return xasprintf("%s/%s", l->root, name);
	if (local_split_workspace(l, name, &w, &n))
		return xasprintf("%s/%.*s/%s", l->workspace_dir, (int)n, w, LOCAL_WORKSPACE_FILE);
	return NULL;
}

void
local_workspace(const struct backend *b, const char *name, struct buf *ret)
{
	const struct local *l = container_of(b, const struct local, b);
	const char         *w;
	size_t              n;

	if (l->file != NULL && local_split_workspace(l, name, &w, &n))
		buf_put(ret, w, n);
	else
		buf_puts(ret, "default");
}

bool
local_fixed(const struct backend *b, const char *workspace, struct buf *ret)
{
	const struct local *l = container_of(b, const struct local, b);

	if (l->file == NULL)
		return false;
	if (strcmp(workspace, "default") == 0)
		buf_puts(ret, l->file);
	else
		buf_printf(ret, "%s/%s/%s", l->workspace_label, workspace, LOCAL_WORKSPACE_FILE);
	return true;
}

char *
local_lock_path(const char *path)
{
	const char *slash = strrchr(path, '/');

	return xasprintf("%.*s/.%s.lock.info", (int)(slash - path), path, slash + 1);
}

/* ctime, because nothing can set it back. */
void
local_etag(const struct stat *st, char ret[ETAG_MAX])
{
	snprintf(ret, ETAG_MAX, "%lld.%09ld-%lld-%llu", (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec, (long long)st->st_size,
	    (unsigned long long)st->st_ino);
}

/* Is the real path of what lies there still below the root (or the workspaces' folder)? */
static bool
local_is_inside(const struct local *l, const char *path)
{
	char *real = realpath(path, NULL), *roots[2];
	bool  inside = false;

	if (real == NULL)
		return true; /* opening it says why */
	roots[0] = realpath(l->root, NULL);
	roots[1] = l->workspace_dir != NULL ? realpath(l->workspace_dir, NULL) : NULL;
	for (size_t i = 0; i < 2; i++) {
		size_t n = roots[i] != NULL ? strlen(roots[i]) : 0;

		inside |= n > 0 && strncmp(real, roots[i], n) == 0 && (real[n] == '/' || roots[i][n - 1] == '/');
		free(roots[i]);
	}
	free(real);
	return inside;
}

static const char *
local_relative(const struct local *l, const char *path)
{
	size_t n = strlen(l->root);

	return strncmp(path, l->root, n) == 0 && path[n] == '/' ? path + n + 1 : path;
}

enum err_code
local_open_file(const struct local *l, const char *path, int flags, int *ret_fd, struct err *reterr)
{
	struct stat st;
	int         fd;

	if (!local_is_inside(l, path))
		return err_set(reterr, ERR_UNSUPPORTED, 0, "%s is a symbolic link that leaves the folder", local_relative(l, path));
	fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return err_set(reterr, ERR_NOT_FOUND, errno, "there is no %s", local_relative(l, path));
	if (fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS))
		return err_set(reterr, ERR_AUTH, errno, "%s: %s", local_relative(l, path), strerror(errno));
	if (fd < 0)
		return err_errno(reterr, errno, "%s", local_relative(l, path));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(reterr, ERR_UNSUPPORTED, 0, "%s is no regular file", local_relative(l, path));
	}
	*ret_fd = fd;
	return ERR_OK;
}

enum err_code
local_sync_folder(const char *path, struct err *reterr)
{
	char *folder = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	int   fd = open(folder[0] != '\0' ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int   rc = fd < 0 ? -1 : fsync(fd), saved = errno;

	if (fd >= 0)
		close(fd);
	if (rc != 0)
		err_errno(reterr, saved, "%s", folder);
	free(folder);
	return rc == 0 ? ERR_OK : ERR_IO;
}

/* Folders between the root and the file; the root itself only by provider_create(). */
enum err_code
local_make_parents(const struct local *l, const char *path, struct err *reterr)
{
	const char *base = l->workspace_dir != NULL && strncmp(path, l->workspace_dir, strlen(l->workspace_dir)) == 0 ?
	    l->workspace_dir : l->root;
	char       *copy = xstrdup(path);
	struct err  e = { .code = ERR_OK };

	if (access(base, F_OK) != 0 && base == l->root) {
		err_set(&e, ERR_NOT_FOUND, errno, "the folder %s does not exist", base);
		err_hint(&e, "make it, or set create = true");
	}
	for (char *p = copy + strlen(base); e.code == ERR_OK && (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		if (mkdir(copy, 0700) == 0)
			local_sync_folder(copy, &e);
		else if (errno != EEXIST)
			err_errno(&e, errno, "%s", local_relative(l, copy));
		*p = '/';
	}
	free(copy);
	if (e.code != ERR_OK && reterr != NULL)
		*reterr = e;
	return e.code;
}
