/* SPDX-License-Identifier: MIT */
/* The walk: which folders there are, and which of their files matter. What a folder says is in root.c. */
#include "conf/discover.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "conf/root.h"

#define DISCOVER_ARGS_DEPTH 2 /* how far below its block a file of arguments may lie */

struct walk {
	struct discovery *d;
	size_t            entries;
	bool              full; /* a limit was reached, and told: no more is looked at */
	bool              deep; /* the same of depth, which ends no other branch */
};

struct entry {
	char *name;  /* owned */
	bool  folder;
};

struct entries {
	struct entry *items;
	size_t        n;
};

/* "FILE:LINE:COLUMN: message", or "FILE: message", where FILE is path or its end: the message alone. */
static const char *
discover_message(const char *msg, const char *path, unsigned *line)
{
	const char *file = strncmp(msg, "...", 3) == 0 ? msg + 3 : msg, *end = strstr(file, ": "), *colon;
	size_t      n = strlen(path), len;
	int         used = 0;
	unsigned    at, column;

	for (colon = strchr(file, ':'); end != NULL && colon != NULL && colon <= end; colon = strchr(colon + 1, ':')) {
		len = (size_t)(colon - file);
		if (len > n || len == 0 || memcmp(path + n - len, file, len) != 0)
			continue;
		/* NOLINTNEXTLINE(cert-err34-c): conf_error() wrote these numbers */
		if (sscanf(colon, ":%u:%u: %n", &at, &column, &used) == 2 && used > 0) {
			*line = at;
			return colon + used;
		}
		if (colon == end && file == msg)
			return end + 2;
	}
	return msg;
}

void
discover_not(struct discovery *d, const char *path, unsigned line, const struct err *why)
{
	const char *message = discover_message(why->msg, path, &line);

	if (d->nunread == DISCOVER_FOUND_MAX)
		return;
	d->unread = conf_grow(d->conf, d->unread, d->nunread, sizeof(*d->unread));
	d->unread[d->nunread++] = (struct discover_unread){ path, line, arena_strdup(d->conf->arena, message),
		arena_strdup(d->conf->arena, why->hint) };
}

static void
walk_limit(struct walk *w, bool *told, const char *path, const char *what, unsigned max, const char *name)
{
	struct err e;

	if (*told)
		return;
	*told = true;
	err_set(&e, ERR_CONFIG, 0, "more than %u %s (%s); not looked at any further", max, what, name);
	err_hint(&e, "name a folder further down");
	discover_not(w->d, path, 0, &e);
}

/* --- the names in a folder ------------------------------------------------------------------------------------------- */

static bool
walk_is_skipped(const char *name, const char *data_dir)
{
	static const char *const names[] = { ".", "..", ".git", ".terraform", "node_modules", "terraform.tfstate.d", NULL };

	for (size_t i = 0; names[i] != NULL; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return data_dir != NULL && strcmp(name, data_dir) == 0;
}

static bool
walk_is_args(struct span name)
{
	char *text = span_dup(name);
	bool  is = span_ends(name, ".tfbackend") || span_ends(name, ".tfbackend.json") || (strstr(text, "backend") != NULL &&
	     (span_ends(name, ".hcl") || span_ends(name, ".conf") || span_ends(name, ".tfvars")));

	free(text);
	return is;
}

static struct discover_names *
walk_kind(struct root *r, const char *name)
{
	static const char *const code[] = { ".tf", ".tofu", ".tf.json", ".tofu.json", NULL };
	struct span              s = span_str(name);

	for (size_t i = 0; code[i] != NULL; i++)
		if (s.p[0] != '.' && s.p[0] != '#' && span_ends(s, code[i]))
			return &r->code;
	if (walk_is_args(s))
		return &r->args;
	return s.p[0] != '.' && span_ends(s, ".hcl") && strcmp(name, "stateferry.hcl") != 0 ? &r->terragrunt : NULL;
}

/* A link to a file is as good as the file; one to a folder is none, so that no walk goes in circles. */
static bool
walk_sort(const char *path, const struct dirent *e, bool *ret_folder)
{
	struct stat st;
	char       *full;
	bool        ok = true;

	*ret_folder = e->d_type == DT_DIR;
	if (e->d_type == DT_DIR || e->d_type == DT_REG)
		return true;
	full = xasprintf("%s/%s", path, e->d_name);
	if (e->d_type == DT_UNKNOWN && lstat(full, &st) == 0 && S_ISDIR(st.st_mode))
		*ret_folder = true;
	else
		ok = stat(full, &st) == 0 && S_ISREG(st.st_mode);
	free(full);
	return ok;
}

static int
walk_order(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static const char *
discover_next(int errnum)
{
	return errnum == EACCES ? "run it as a user who may read it" : "name a folder that is there";
}

/* false: told. */
static bool
walk_read(struct walk *w, const char *path, struct entries *ret)
{
	DIR           *dir = opendir(path);
	int            errnum = errno;
	struct dirent *e;
	struct err     why;
	bool           folder;
	const char    *data_dir = conf_env(w->d->conf, "TF_DATA_DIR");

	if (dir == NULL) {
		err_errno(&why, errnum, "cannot read the folder");
		err_hint(&why, "%s", discover_next(errnum));
		discover_not(w->d, path, 0, &why);
		return false;
	}
	while ((e = readdir(dir)) != NULL) {
		if (walk_is_skipped(e->d_name, data_dir) || !walk_sort(path, e, &folder))
			continue;
		if (w->entries == DISCOVER_ENTRIES_MAX) {
			walk_limit(w, &w->full, path, "files and folders", DISCOVER_ENTRIES_MAX, "DISCOVER_ENTRIES_MAX");
			break;
		}
		w->entries++;
		ret->items = xreallocarray(ret->items, ret->n + 1, sizeof(*ret->items));
		ret->items[ret->n++] = (struct entry){ xstrdup(e->d_name), folder };
	}
	closedir(dir);
	if (ret->n > 0)
		qsort(ret->items, ret->n, sizeof(*ret->items), walk_order);
	return true;
}

/* --- one folder ------------------------------------------------------------------------------------------------------ */

/* Its own states by name: a workspace's, where the default one has none. */
static void
walk_states(struct root *r)
{
	struct arena  *a = r->d->conf->arena;
	const char    *file = arena_printf(a, "%s/terraform.tfstate", r->dir), *folder = arena_printf(a, "%s.d", file);
	DIR           *dir;
	struct dirent *e;
	struct stat    st;

	if (stat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		r->state = file;
	if (r->state != NULL || (dir = opendir(folder)) == NULL)
		return;
	while (r->state == NULL && (e = readdir(dir)) != NULL) {
		file = arena_printf(a, "%s/%s/terraform.tfstate", folder, e->d_name);
		if (e->d_name[0] != '.' && stat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
			r->state = file;
	}
	closedir(dir);
}

/* Sorts the files of the folder. */
static void
walk_files(struct root *r, const struct entries *in)
{
	for (size_t i = 0; i < in->n; i++) {
		struct discover_names *kind = in->items[i].folder ? NULL : walk_kind(r, in->items[i].name);

		if (kind != NULL)
			root_name(r->d, kind, arena_printf(r->d->conf->arena, "%s/%s", strcmp(r->dir, "/") == 0 ? "" : r->dir, in->items[i].name));
	}
}

static void
walk_free(struct entries *in)
{
	for (size_t i = 0; i < in->n; i++)
		free(in->items[i].name);
	free(in->items);
}

enum err_code
root_file(struct conf *c, const char *dir, const char **ret, struct err *reterr)
{
	struct discovery              d = { .conf = c, .dir = dir };
	struct walk                   w = { .d = &d };
	struct root                   r = { .d = &d, .dir = dir };
	struct entries                in = { .n = 0 };
	const struct discover_unread *u;

	if (walk_read(&w, dir, &in)) {
		walk_files(&r, &in);
		walk_free(&in);
		root_look(&r);
		r.args.n = r.terragrunt.n = 0;
		root_tell(&r, 0);
	}
	u = d.unread;
	if (d.nfound > 0 && d.found[0].pos.line == 0)
		return err_set(reterr, ERR_CONFIG, 0, "%s: no backend is in this folder but a state; expected path = \"%s\" in a local backend", dir,
		    d.found[0].pos.file);
	*ret = d.nfound > 0 ? d.found[0].pos.file : NULL;
	if (*ret != NULL)
		return ERR_OK;
	if (u == NULL)
		return err_set(reterr, ERR_CONFIG, 0, "%s: neither a backend block nor what \"terraform init\" records is in this folder", dir);
	err_set(reterr, ERR_CONFIG, 0, "%s: %s", u->path, u->message);
	return err_hint(reterr, "%s", u->hint);
}

static void
walk_folder(struct walk *w, const char *path, unsigned depth, struct root *above)
{
	struct root    r = { .d = w->d, .above = above, .dir = path, .depth = depth };
	struct entries in = { .n = 0 };
	size_t         before = w->d->nfound;

	if (!walk_read(w, path, &in))
		return;
	w->d->folders++;
	walk_files(&r, &in);
	walk_states(&r);
	root_look(&r);
	for (size_t i = 0; r.file == NULL && above != NULL && depth - above->depth <= DISCOVER_ARGS_DEPTH && i < r.args.n; i++)
		root_name(w->d, &above->args, r.args.items[i]);
	for (size_t i = 0; i < in.n && !w->full; i++) {
		if (!in.items[i].folder)
			continue;
		if (depth == DISCOVER_DEPTH_MAX)
			walk_limit(w, &w->deep, path, "folders below each other", DISCOVER_DEPTH_MAX, "DISCOVER_DEPTH_MAX");
		else
			walk_folder(w, arena_printf(w->d->conf->arena, "%s/%s", strcmp(path, "/") == 0 ? "" : path, in.items[i].name), depth + 1,
			    r.file != NULL ? &r : above);
	}
	if (w->d->nfound == DISCOVER_FOUND_MAX)
		walk_limit(w, &w->full, path, "states", DISCOVER_FOUND_MAX, "DISCOVER_FOUND_MAX");
	else
		root_tell(&r, before);
	walk_free(&in);
}

/* --- the whole ------------------------------------------------------------------------------------------------------- */

static int
discover_order(const void *a, const void *b)
{
	const struct discover_found *x = a, *y = b;
	int                          by_dir = strcmp(x->dir, y->dir);

	if (by_dir != 0)
		return by_dir;
	return strcmp(x->args != NULL ? x->args : "", y->args != NULL ? y->args : "");
}

static enum err_code
discover_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	(void)arg;
	return conf_read(path, false, ret, reterr);
}

enum err_code
discover(const char *dir, const struct conf_source *src, struct discovery **ret, struct err *reterr)
{
	char             *full = realpath(dir, NULL);
	DIR              *open = full != NULL ? opendir(full) : NULL;
	int               errnum = errno;
	struct walk       w = { .entries = 0 };
	struct conf_source source = { .env = NULL };
	struct discovery *d;

	if (open == NULL) {
		err_errno(reterr, errnum, "%s: cannot read the folder", dir);
		free(full);
		return err_hint(reterr, "%s", discover_next(errnum));
	}
	closedir(open);
	w.d = d = xcalloc(1, sizeof(*d));
	if (src != NULL)
		source = *src;
	if (source.file == NULL)
		source.file = discover_file;
	d->conf = conf_new(&source, full);
	d->dir = d->conf->dir;
	free(full);
	walk_folder(&w, d->dir, 0, NULL);
	if (d->nfound > 0)
		qsort(d->found, d->nfound, sizeof(*d->found), discover_order);
	*ret = d;
	return ERR_OK;
}

void
discovery_free(struct discovery *d)
{
	if (d == NULL)
		return;
	conf_free(d->conf);
	free(d);
}
