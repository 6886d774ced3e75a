/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "local.h"

/*
 * With `path` the names are the file itself and DIR/WORKSPACE/terraform.tfstate for each workspace, DIR being the last segment
 * of workspace_dir, as terraform's local backend lays them out; with `dir` every path below it.
 */
#define LOCAL_STATE          ".tfstate"
#define LOCAL_WORKSPACE_FILE "terraform" LOCAL_STATE
#define LOCAL_WORKSPACES     LOCAL_STATE ".d"

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

/* Below `dir`, where terraform keeps the workspaces of the state X.tfstate if told so, and of terraform.tfstate by itself:
 * "X.tfstate.d/W/terraform.tfstate". X is n bytes. */
static bool
local_split_dir(const char *name, size_t *ret_n, const char **ret, size_t *ret_w)
{
	const char *slash = strrchr(name, '/'), *dir;
	size_t      n;

	if (slash == NULL || strcmp(slash + 1, LOCAL_WORKSPACE_FILE) != 0)
		return false;
	for (dir = slash; dir > name && dir[-1] != '/'; dir--)
		;
	if (dir == slash || !span_ends(span_of(name, (size_t)(dir - name)), LOCAL_WORKSPACES "/"))
		return false;
	n = (size_t)(dir - name) - strlen(LOCAL_WORKSPACES "/");
	if (n == 0 || name[n - 1] == '/')
		return false;
	*ret_n = n;
	*ret = dir;
	*ret_w = (size_t)(slash - dir);
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

/* A path without "//", "." and "..": by its spelling alone, because links are for the jobs to follow. */
static void
local_tidy(const char *path, struct buf *ret)
{
	for (const char *p = path, *end; *p != '\0'; p = end) {
		p += strspn(p, "/");
		end = p + strcspn(p, "/");
		if (end == p || (end - p == 1 && *p == '.'))
			continue;
		if (end - p == 2 && p[0] == '.' && p[1] == '.') {
			while (ret->len > 0 && buf_str(ret)[--ret->len] != '/')
				;
			continue;
		}
		buf_putc(ret, '/');
		buf_put(ret, p, (size_t)(end - p));
	}
}

void
local_locate(const struct backend *b, const char *name, struct buf *ret)
{
	const struct local *l = container_of(b, const struct local, b);
	char               *path = name[0] == '\0' ? xstrdup(l->root) : local_path_of(l, name);

	if (path != NULL)
		local_tidy(path, ret);
	if (name[0] == '\0')
		buf_putc(ret, '/');
	free(path);
}

void
local_workspace(const struct backend *b, const char *name, struct buf *ret)
{
	const struct local *l = container_of(b, const struct local, b);
	const char         *w;
	size_t              n, x;

	if (l->file != NULL ? local_split_workspace(l, name, &w, &n) : local_split_dir(name, &x, &w, &n))
		buf_put(ret, w, n);
	else
		buf_puts(ret, "default");
}

void
local_path(const struct backend *b, const char *name, struct buf *ret)
{
	const char *w;
	size_t      n, x = strlen(name);

	(void)b; /* with `path` there is one only */
	if (!local_split_dir(name, &x, &w, &n) && span_ends(span_str(name), LOCAL_STATE))
		x -= strlen(LOCAL_STATE);
	buf_put(ret, name, x);
}

void
local_address(const struct backend *b, const char *name, provider_argument_fn *put, void *arg)
{
	const struct local *l = container_of(b, const struct local, b);
	struct buf          path;
	char               *file, *dir;

	buf_init(&path, 0);
	local_path(b, name, &path);
	file = l->file != NULL ? xasprintf("%s/%s", l->root, l->file) : xasprintf("%s/%s" LOCAL_STATE, l->root, buf_str(&path));
	dir = l->file != NULL ? xstrdup(l->workspace_dir) : xasprintf("%s/%s" LOCAL_WORKSPACES, l->root, buf_str(&path));
	put(arg, "path", file, false);
	put(arg, "workspace_dir", dir, false);
	buf_free(&path);
	free(file);
	free(dir);
}

void
local_named(const struct backend *b, const char *path, const char *workspace, struct buf *ret)
{
	const char *x = path[0] != '\0' ? path : "terraform";

	(void)b;
	if (strcmp(workspace, "default") == 0)
		buf_printf(ret, "%s" LOCAL_STATE, x);
	else
		buf_printf(ret, "%s" LOCAL_WORKSPACES "/%s/" LOCAL_WORKSPACE_FILE, x, workspace);
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

/* Which of our two folders a path is in, by its spelling. */
static const char *
local_base_of(const struct local *l, const char *path)
{
	size_t n = l->workspace_dir != NULL ? strlen(l->workspace_dir) : 0;

	return n > 0 && strncmp(path, l->workspace_dir, n) == 0 && path[n] == '/' ? l->workspace_dir : l->root;
}

static bool
local_is_below(const char *real, const char *folder)
{
	char  *root = folder != NULL ? realpath(folder, NULL) : NULL;
	size_t n = root != NULL ? strlen(root) : 0;
	bool   below = n > 0 && strncmp(real, root, n) == 0 && (real[n] == '/' || real[n] == '\0' || root[n - 1] == '/');

	free(root);
	return below;
}

/* Is the real path of what lies there, or of the folder where it would be made, still below the root or the workspaces'
 * folder? */
static bool
local_is_inside(const struct local *l, const char *path)
{
	size_t base = strlen(local_base_of(l, path));
	char  *at = xstrdup(path), *real, *slash;
	bool   inside;

	while ((real = realpath(at, NULL)) == NULL && (slash = strrchr(at, '/')) != NULL && (size_t)(slash - at) > base)
		*slash = '\0';
	inside = real == NULL || local_is_below(real, l->root) || local_is_below(real, l->workspace_dir); /* NULL: opening says why */
	free(real);
	free(at);
	return inside;
}

/* A link to nothing: to make the file would follow it. */
static bool
local_is_dangling(const char *path)
{
	struct stat link, file;

	return lstat(path, &link) == 0 && S_ISLNK(link.st_mode) && stat(path, &file) != 0;
}

static const char *
local_relative(const struct local *l, const char *path)
{
	size_t n = strlen(l->root);

	return strncmp(path, l->root, n) == 0 && path[n] == '/' ? path + n + 1 : path;
}

static enum err_code
local_leaves(const struct local *l, const char *path, struct err *reterr)
{
	return err_set(reterr, ERR_UNSUPPORTED, 0, "%s is a symbolic link that leaves the folder", local_relative(l, path));
}

enum err_code
local_open_file(const struct local *l, const char *path, int flags, int *ret_fd, struct err *reterr)
{
	struct stat st;
	int         fd;

	if (!local_is_inside(l, path) || ((flags & O_CREAT) != 0 && local_is_dangling(path)))
		return local_leaves(l, path, reterr);
	if ((flags & O_CREAT) != 0 && local_make_parents(l, path, reterr) != ERR_OK)
		return reterr->code;
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

/* Why a folder of the configuration cannot be used, by errno. */
enum err_code
local_no_folder(const struct local *l, const char *path, struct err *reterr)
{
	if (errno == EACCES)
		return err_set(reterr, ERR_AUTH, errno, "%s: %s", path, strerror(errno));
	if (errno != ENOENT)
		return err_errno(reterr, errno, "%s", path);
	err_set(reterr, ERR_NOT_FOUND, errno, "the folder %s does not exist", path);
	return provider_make_hint(&l->b, "make it", reterr);
}

enum err_code
local_make_parents(const struct local *l, const char *path, struct err *reterr)
{
	const char   *base = local_base_of(l, path);
	char         *copy;
	enum err_code rc = ERR_OK;

	if (access(base, F_OK) != 0 && base == l->root)
		return local_no_folder(l, base, reterr);
	copy = xstrdup(path);
	for (char *p = copy + strlen(base); rc == ERR_OK && (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		if (mkdir(copy, 0700) == 0)
			rc = local_sync_folder(copy, reterr);
		else if (errno != EEXIST)
			rc = err_errno(reterr, errno, "%s", local_relative(l, copy));
		*p = '/';
	}
	free(copy);
	return rc;
}
