/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/name.h"
#include "local.h"

/* Finding the states: every *.tfstate below the folder, or the file of `path` and its workspaces. */
#define LOCAL_DEPTH_MAX 64

static struct local_entry *
local_entry_add(struct local_call *c, const char *name)
{
	struct local_entry *e;

	if ((c->nentries & (c->nentries + 1)) == 0) /* full at 0, 1, 3, 7, 15 ...: twice as much and one */
		c->entries = xreallocarray(c->entries, 2 * c->nentries + 1, sizeof(*c->entries));
	e = &c->entries[c->nentries++];
	memset(e, 0, sizeof(*e));
	e->name = xstrdup(name);
	return e;
}

/* Terraform leaves a description; whoever could not write one, or removed it, holds the lock all the same. */
static bool
local_entry_locked(const struct local *l, const char *path)
{
	char *info = local_lock_path(path);
	bool  locked = access(info, F_OK) == 0;
	pid_t pid;
	int   fd;

	free(info);
	if (locked || local_open_file(l, path, O_RDONLY, &fd, NULL) != ERR_OK)
		return locked;
	locked = local_is_locked(fd, &pid);
	close(fd);
	return locked;
}

static void
local_entry_stat(struct local_call *c, const char *name, const char *path)
{
	struct local_entry *e;
	struct stat         st;
	struct err          why;
	int                 fd;
	enum err_code       rc;

	if (lstat(path, &st) != 0)
		return; /* gone meanwhile */
	if (S_ISLNK(st.st_mode)) {
		rc = local_open_file(c->l, path, O_RDONLY, &fd, &why);
		if (rc == ERR_NOT_FOUND)
			return;
		e = local_entry_add(c, name);
		if (rc != ERR_OK) {
			e->problem = xstrdup(why.msg);
			return;
		}
		fstat(fd, &st);
		close(fd);
	} else if (!S_ISREG(st.st_mode)) {
		return;
	} else {
		e = local_entry_add(c, name);
	}
	local_etag(&st, e->etag);
	e->size = (uint64_t)st.st_size;
	e->modified = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	e->locked = local_entry_locked(c->l, path);
}

static bool
local_is_candidate(const char *name)
{
	return span_ends(span_str(name), ".tfstate") && !name_is_never_state(span_str(name));
}

/* Some file systems do not say what kind of thing an entry is. */
static bool
local_is_folder(const struct dirent *de, const char *path)
{
	struct stat st;

	if (de->d_type != DT_UNKNOWN)
		return de->d_type == DT_DIR;
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* NULL: the end, or *reterr. A listing that broke off must not look like one of fewer states. */
static struct dirent *
local_next(DIR *d, const char *path, enum err_code *rc, struct err *reterr)
{
	struct dirent *de;

	errno = 0;
	do
		de = readdir(d);
	while (de != NULL && (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0));
	if (de == NULL && errno != 0)
		*rc = err_errno(reterr, errno, "%s", path);
	return de;
}

static enum err_code local_walk(struct work_job *job, struct local_call *c, const char *path, const char *prefix, unsigned depth,
    struct err *reterr);

static enum err_code
local_walk_folder(struct work_job *job, struct local_call *c, const char *path, const char *name, unsigned depth, struct err *reterr)
{
	char          *prefix = xasprintf("%s/", name), *inside = xasprintf("%sx.tfstate", prefix);
	enum err_code  rc = ERR_OK;

	if (name_is_never_state(span_str(inside)))
		;
	else if (depth == LOCAL_DEPTH_MAX)
		local_entry_add(c, inside)->problem = xasprintf("more than %d folders deep: nothing there is looked at", LOCAL_DEPTH_MAX);
	else
		rc = local_walk(job, c, path, prefix, depth + 1, reterr);
	free(prefix);
	free(inside);
	return rc;
}

static enum err_code
local_walk(struct work_job *job, struct local_call *c, const char *path, const char *prefix, unsigned depth, struct err *reterr)
{
	DIR           *d = opendir(path);
	struct dirent *de;
	enum err_code  rc = ERR_OK;

	if (d == NULL && depth > 0 && errno == ENOENT)
		return ERR_OK;
	if (d == NULL)
		return local_no_folder(c->l, path, reterr);
	while (rc == ERR_OK && (de = local_next(d, path, &rc, reterr)) != NULL) {
		char *sub = xasprintf("%s/%s", path, de->d_name), *name = xasprintf("%s%s", prefix, de->d_name);

		if (work_cancelled(job))
			rc = err_set(reterr, ERR_CANCELLED, 0, "cancelled");
		else if (local_is_folder(de, sub))
			rc = local_walk_folder(job, c, sub, name, depth, reterr);
		else if (local_is_candidate(name))
			local_entry_stat(c, name, sub);
		free(sub);
		free(name);
	}
	closedir(d);
	return rc;
}

static int
local_entry_cmp(const void *a, const void *b)
{
	return strcmp(((const struct local_entry *)a)->name, ((const struct local_entry *)b)->name);
}

/* The workspaces of `path`: folders of workspace_dir that hold a state. */
static enum err_code
local_list_workspaces(struct local_call *c, struct err *reterr)
{
	DIR           *d = opendir(c->l->workspace_dir);
	struct dirent *de;
	enum err_code  rc = ERR_OK;

	if (d == NULL)
		return errno == ENOENT || errno == ENOTDIR ? ERR_OK : err_errno(reterr, errno, "%s", c->l->workspace_dir);
	while ((de = local_next(d, c->l->workspace_dir, &rc, reterr)) != NULL) {
		struct buf name;
		char      *path;

		if (de->d_name[0] == '.')
			continue;
		buf_init(&name, 0);
		local_fixed(&c->l->b, de->d_name, &name);
		path = local_path_of(c->l, buf_str(&name));
		local_entry_stat(c, buf_str(&name), path);
		free(path);
		buf_free(&name);
	}
	closedir(d);
	return rc;
}

static enum err_code
local_list_path(struct local_call *c, struct err *reterr)
{
	char *path = xasprintf("%s/%s", c->l->root, c->l->file);

	if (access(c->l->root, F_OK) != 0) {
		free(path);
		return local_no_folder(c->l, c->l->root, reterr);
	}
	local_entry_stat(c, c->l->file, path);
	free(path);
	return local_list_workspaces(c, reterr);
}

enum err_code
local_list_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct local_call *c = arg;
	enum err_code      rc;

	if (c->l->file != NULL)
		rc = local_list_path(c, reterr);
	else
		rc = local_walk(job, c, c->l->root, "", 0, reterr);
	if (rc == ERR_OK && c->nentries > 1)
		qsort(c->entries, c->nentries, sizeof(*c->entries), local_entry_cmp);
	return rc;
}
