/* SPDX-License-Identifier: MIT */
#include "outside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUTSIDE_PIECE 4096

const char *
outside_env(const struct provider_env *env, const char *name)
{
	const struct conf_source *src = env->source;
	const char               *text = src != NULL && src->env != NULL ? src->env(src->arg, name) : getenv(name);

	return text == NULL || text[0] == '\0' ? NULL : text;
}

char *
outside_path(const struct provider_env *env, const char *dir, const char *path)
{
	const char    *home = outside_env(env, "HOME");
	struct passwd  pw, *found = NULL;
	char           text[OUTSIDE_PIECE]; /* of the user's entry; on the pool getpwuid() is not safe */

	if (home == NULL && path[0] == '~' && getpwuid_r(geteuid(), &pw, text, sizeof(text), &found) == 0 && found != NULL)
		home = pw.pw_dir;
	if (path[0] == '~' && path[1] == '/' && home != NULL)
		return xasprintf("%s%s", home, path + 1);
	if (path[0] == '/' || path[0] == '~' || dir == NULL)
		return xstrdup(path);
	return xasprintf("%s/%s", dir, path);
}

static bool
outside_is_loose(int fd)
{
	struct stat st;

	return fstat(fd, &st) != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0 || (st.st_uid != 0 && st.st_uid != geteuid());
}

enum err_code
outside_read(const struct conf_source *src, const char *path, struct buf *ret, bool *found, bool *loose, struct err *reterr)
{
	int     fd;
	ssize_t n = 1;

	*found = true;
	*loose = false;
	if (src != NULL && src->file != NULL) {
		*found = src->file(src->arg, path, ret, reterr) == ERR_OK || reterr->detail != ENOENT;
		return !*found || reterr->code == ERR_OK ? ERR_OK : reterr->code;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	*found = fd >= 0 || (errno != ENOENT && errno != ENOTDIR);
	if (fd < 0)
		return *found ? err_errno(reterr, errno, "cannot open %s", path) : ERR_OK;
	while (n > 0 && buf_reserve(ret, OUTSIDE_PIECE, reterr) == ERR_OK) {
		n = read(fd, ret->data + ret->len, OUTSIDE_PIECE);
		ret->len += n > 0 ? (size_t)n : 0;
	}
	*loose = outside_is_loose(fd);
	close(fd);
	if (n < 0)
		return err_errno(reterr, errno, "cannot read %s", path);
	return n == 0 ? ERR_OK : err_prefix(reterr, "%s", path);
}

enum err_code
outside_path_or_text(const struct provider_env *env, const char *dir, const char *text, struct buf *ret, struct err *reterr)
{
	char         *path;
	bool          found = false, loose;
	enum err_code rc = ERR_OK;
	struct err    e = { .code = ERR_OK };

	if (strlen(text) < PATH_MAX && text[0] != '{') {
		path = outside_path(env, dir, text);
		rc = outside_read(env->source, path, ret, &found, &loose, &e);
		free(path);
	}
	if (rc != ERR_OK)
		return err_set(reterr, rc, e.detail, "the file that it names %s%s", e.detail != 0 ? "cannot be read: " : "is too large",
		    e.detail != 0 ? strerror(e.detail) : "");
	return found ? ERR_OK : buf_add(ret, text, strlen(text), reterr);
}
