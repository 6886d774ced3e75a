/* SPDX-License-Identifier: MIT */
/* Files, folders, and the environment: the only part of conf that does I/O. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "conf/tree.h"

/* A file or folder that others could change may make us run their programs. */
static enum err_code
conf_guard(const char *path, const struct stat *st, struct err *reterr)
{
	if (st->st_uid != 0 && st->st_uid != geteuid()) {
		err_set(reterr, ERR_CONFIG, 0, "%s: belongs to user %u; expected root or the user who runs this", path,
		    (unsigned)st->st_uid);
		err_hint(reterr, "chown it to root");
		return ERR_CONFIG;
	}
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		err_set(reterr, ERR_CONFIG, 0, "%s: is writable by its group or by everybody (mode %04o)", path,
		    (unsigned)st->st_mode & 07777U);
		err_hint(reterr, "chmod go-w %s", path);
		return ERR_CONFIG;
	}
	return ERR_OK;
}

static enum err_code
conf_read_all(int fd, const char *path, struct buf *ret, struct err *reterr)
{
	uint8_t piece[8192];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(reterr, errno, "%s: cannot read", path);
		if (ret->len + (size_t)n > CONF_FILE_MAX)
			return err_set(reterr, ERR_CONFIG, 0, "%s: expected at most %zu bytes (CONF_FILE_MAX)", path, CONF_FILE_MAX);
		buf_put(ret, piece, (size_t)n);
		mem_wipe(piece, (size_t)n);
	}
	return ERR_OK;
}

enum err_code
conf_read(const char *path, bool guarded, struct buf *ret, struct err *reterr)
{
	int           fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not stop us */
	struct stat   st;
	enum err_code code;

	if (fd < 0 && errno == ENOENT)
		return err_set(reterr, ERR_CONFIG, ENOENT, "%s: there is no such file", path);
	if (fd < 0)
		return err_set(reterr, ERR_CONFIG, errno, "%s: cannot open: %s", path, strerror(errno));
	if (fstat(fd, &st) != 0)
		code = err_errno(reterr, errno, "%s: cannot stat", path);
	else if (!S_ISREG(st.st_mode))
		code = err_set(reterr, ERR_CONFIG, 0, "%s: expected a regular file", path);
	else
		code = guarded ? conf_guard(path, &st, reterr) : ERR_OK;
	if (code == ERR_OK)
		code = conf_read_all(fd, path, ret, reterr);
	close(fd);
	return code;
}

const char *
conf_env(const struct conf *c, const char *name)
{
	return c->src.env != NULL ? c->src.env(c->src.arg, name) : getenv(name);
}

const char *
conf_absolute(struct conf *c, const char *path)
{
	if (path[0] == '/' || path[0] == '\0' || c->dir == NULL)
		return path;
	return arena_printf(c->arena, "%s/%s", strcmp(c->dir, "/") == 0 ? "" : c->dir, path);
}

enum err_code
conf_read_source(const struct conf *c, const char *path, bool guarded, struct buf *ret, struct err *reterr)
{
	return c->src.file != NULL ? c->src.file(c->src.arg, path, ret, reterr) : conf_read(path, guarded, ret, reterr);
}

enum err_code
conf_file(struct conf *c, struct conf_pos pos, const char *path, const char **ret, struct err *reterr)
{
	const char   *full = conf_absolute(c, path);
	struct buf    b;
	struct span   s;
	struct err    e;
	enum err_code code;

	buf_init(&b, CONF_FILE_MAX);
	err_clear(&e);
	code = conf_read_source(c, full, false, &b, &e);
	s = buf_span(&b);
	if (span_ends(s, "\n"))
		s.n -= span_ends(s, "\r\n") ? 2 : 1;
	if (code != ERR_OK)
		code = conf_error(reterr, pos, "%s", e.msg);
	else if (!utf8_valid(s) || (s.n > 0 && memchr(s.p, '\0', s.n) != NULL))
		code = conf_error(reterr, pos, "%.80s: expected text in UTF-8", path);
	else
		*ret = conf_keep(c, s);
	buf_wipe_free(&b);
	return code;
}

/* --- one text, one file, one folder ---------------------------------------------------------------------------------- */

static enum err_code
conf_add_text(struct conf *c, const char *name, struct span text, bool json, struct conf_body *root, struct err *reterr)
{
	if (text.n == 0)
		text = SPAN_LIT(""); /* pointers below are compared and moved */
	return json ? conf_parse_json(c, name, text, root, reterr) : conf_parse_hcl(c, name, text, root, reterr);
}

enum err_code
conf_parse(const char *name, const char *dir, struct span text, bool json, const struct conf_source *src,
    struct conf **ret, struct err *reterr)
{
	struct conf     *c = conf_new(src, dir);
	struct conf_body root = { 0 };

	c->root.pos.file = arena_strdup(c->arena, name);
	if (conf_add_text(c, name, text, json, &root, reterr) != ERR_OK) {
		conf_free(c);
		return ERR_CONFIG;
	}
	conf_link(c, &root);
	*ret = c;
	return ERR_OK;
}

static enum err_code
conf_add_file(struct conf *c, const char *path, struct conf_body *root, struct err *reterr)
{
	struct buf    b;
	enum err_code code;

	buf_init(&b, CONF_FILE_MAX);
	code = conf_read(path, true, &b, reterr);
	if (code == ERR_OK)
		code = conf_add_text(c, path, buf_span(&b), span_ends(span_str(path), ".json"), root, reterr);
	buf_wipe_free(&b);
	return code;
}

/* As terraform reads a module: no hidden files, no leavings of editors. */
static int
conf_wanted(const struct dirent *d)
{
	struct span s = span_str(d->d_name);

	return s.p[0] != '.' && s.p[0] != '#' && (span_ends(s, ".hcl") || span_ends(s, ".hcl.json"));
}

static int
conf_by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static enum err_code
conf_add_dir(struct conf *c, const char *path, struct conf_body *root, struct err *reterr)
{
	struct dirent **names;
	int             n = scandir(path, &names, conf_wanted, conf_by_name), files = 0;
	enum err_code   code = ERR_OK;

	if (n < 0)
		return err_set(reterr, ERR_CONFIG, errno, "%s: cannot read the folder: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		char       *file = xasprintf("%s%s%s", path, span_ends(span_str(path), "/") ? "" : "/", names[i]->d_name);
		struct stat st;

		if (code == ERR_OK && !(stat(file, &st) == 0 && S_ISDIR(st.st_mode))) {
			code = conf_add_file(c, file, root, reterr);
			files++;
		}
		free(file);
		free(names[i]);
	}
	free(names);
	if (code == ERR_OK && files == 0)
		return err_set(reterr, ERR_CONFIG, 0, "%s: expected a file *.hcl or *.hcl.json in this folder, found none", path);
	return code;
}

/* The absolute folder of path, which is itself one or a file in it. Symbolic links stay as they are written. */
static char *
conf_dir_of(const char *path, bool is_dir)
{
	const char *slash = strrchr(path, '/');
	char       *dir, *cwd, *full;

	if (is_dir)
		dir = xstrdup(path);
	else if (slash == NULL)
		dir = xstrdup(".");
	else
		dir = xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
	for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
		dir[n - 1] = '\0';
	if (dir[0] == '/' || (cwd = getcwd(NULL, 0)) == NULL)
		return dir;
	full = strcmp(dir, ".") == 0 ? xstrdup(cwd) : xasprintf("%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, dir);
	free(cwd);
	free(dir);
	return full;
}

static enum err_code
conf_load_into(struct conf *c, const char *path, const struct stat *st, struct err *reterr)
{
	struct conf_body root = { 0 };
	enum err_code    code;

	c->root.pos.file = arena_strdup(c->arena, path);
	if (S_ISDIR(st->st_mode)) {
		code = conf_guard(path, st, reterr);
		if (code == ERR_OK)
			code = conf_add_dir(c, path, &root, reterr);
	} else {
		code = conf_add_file(c, path, &root, reterr);
	}
	if (code == ERR_OK)
		conf_link(c, &root);
	return code;
}

enum err_code
conf_load(const char *path, const struct conf_source *src, struct conf **ret, struct err *reterr)
{
	struct conf  *c;
	struct stat   st;
	char         *dir;
	enum err_code code;

	if (stat(path, &st) != 0)
		return err_set(reterr, ERR_CONFIG, errno, "%s: %s", path, errno == ENOENT ? "there is no such file" : strerror(errno));
	dir = conf_dir_of(path, S_ISDIR(st.st_mode));
	c = conf_new(src, dir);
	free(dir);
	code = conf_load_into(c, path, &st, reterr);
	if (code != ERR_OK) {
		conf_free(c);
		return code;
	}
	*ret = c;
	return ERR_OK;
}
