/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"
#include "base/name.h"
#include "local.h"

/*
 * Notices by inotify: a name as soon as its file was closed after writing, or moved here, or its lock came or went. Watches are
 * set by a job, folder by folder; a new folder, a lost notice or a failure is "look at all". The slow re-scan of the agent finds whatever
 * slips through.
 */
struct local_watch {
	struct local    *l;
	int              fd;
	struct fd_watch *events;
	void           (*changed)(void *arg, const char *name);
	void            *arg;
	struct map      *folders;     /* watch descriptor as text -> name prefix (owned) */
	struct op       *job;         /* running */
	bool             again, closing;
	/* of the running job: what it found, merged on the loop */
	struct local_watch_found {
		int   wd;
		char *prefix;
	}               *found;
	size_t           nfound;
	bool             full;        /* the kernel's limit of watches is reached */
};

#define LOCAL_WATCH_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR | IN_EXCL_UNLINK)

static void
local_watch_key(int wd, char ret[16])
{
	snprintf(ret, 16, "%d", wd);
}

/* --- the job: every folder below the root --- */

static void
local_watch_add(struct local_watch *w, const char *path, const char *prefix)
{
	int wd = inotify_add_watch(w->fd, path, LOCAL_WATCH_EVENTS);

	if (wd < 0) {
		w->full |= errno == ENOSPC;
		return;
	}
	w->found = xreallocarray(w->found, w->nfound + 1, sizeof(*w->found));
	w->found[w->nfound++] = (struct local_watch_found){ wd, xstrdup(prefix) };
}

#define LOCAL_WATCH_DEPTH 64

static void
local_watch_walk(struct work_job *job, struct local_watch *w, const char *path, const char *prefix, unsigned depth)
{
	DIR           *d;
	struct dirent *de;

	local_watch_add(w, path, prefix);
	d = opendir(path);
	while (d != NULL && !work_cancelled(job) && (de = readdir(d)) != NULL) {
		char *sub, *deeper, *probe;

		if (de->d_type != DT_DIR || strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		sub = xasprintf("%s/%s", path, de->d_name);
		deeper = xasprintf("%s%s/", prefix, de->d_name);
		probe = xasprintf("%sx.tfstate", deeper);
		if (depth < LOCAL_WATCH_DEPTH && !name_is_never_state(span_str(probe)))
			local_watch_walk(job, w, sub, deeper, depth + 1);
		free(sub);
		free(deeper);
		free(probe);
	}
	if (d != NULL)
		closedir(d);
}

static enum err_code
local_watch_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct local_watch *w = arg;

	(void)reterr;
	if (w->l->file == NULL) {
		local_watch_walk(job, w, w->l->root, "", 0);
		return ERR_OK;
	}
	local_watch_add(w, w->l->root, "");
	if (access(w->l->workspace_dir, F_OK) == 0) {
		char *prefix = xasprintf("%s/", w->l->workspace_label);

		local_watch_walk(job, w, w->l->workspace_dir, prefix, 0);
		free(prefix);
	}
	return ERR_OK;
}

static void local_watch_scan(struct local_watch *w);

static void
local_watch_free(struct local_watch *w)
{
	void *prefix;

	for (size_t i = 0; map_next(w->folders, &i, NULL, &prefix);)
		free(prefix);
	map_free(w->folders);
	for (size_t i = 0; i < w->nfound; i++)
		free(w->found[i].prefix);
	free(w->found);
	close(w->fd);
	free(w);
}

static void
local_watch_scanned(struct op *op, void *arg)
{
	struct local_watch *w = arg;
	char                key[16];

	op_free(op);
	w->job = NULL;
	if (w->closing) {
		local_watch_free(w);
		return;
	}
	for (size_t i = 0; i < w->nfound; i++) {
		local_watch_key(w->found[i].wd, key);
		free(map_put(w->folders, span_str(key), w->found[i].prefix));
	}
	w->nfound = 0;
	if (w->full)
		log_at(LOG_WARN, w->l->b.label, "the kernel's limit of inotify watches is reached (fs.inotify.max_user_watches); "
		    "the rest is found by polling");
	w->full = false;
	w->changed(w->arg, NULL); /* whatever came before the watch was there */
	if (w->again)
		local_watch_scan(w);
}

static void
local_watch_scan(struct local_watch *w)
{
	w->again = w->job != NULL;
	if (w->job != NULL)
		return;
	w->job = work_run(w->l->env->work, local_watch_job, w);
	op_start(w->job, local_watch_scanned, w);
}

/* --- events --- */

/* Is it a lock's description, ".NAME.lock.info"? Of which state: ret. */
static bool
local_watch_lock(const char *file, struct span *ret)
{
	static const char end[] = ".lock.info";
	size_t            n = strlen(file);

	if (file[0] != '.' || n < sizeof(end) + 1 || strcmp(file + n - (sizeof(end) - 1), end) != 0)
		return false;
	*ret = span_of(file + 1, n - sizeof(end));
	return true;
}

static void
local_watch_event(struct local_watch *w, const struct inotify_event *e)
{
	char        key[16], *name;
	char       *prefix;
	struct span state;
	bool        lock;

	if ((e->mask & IN_Q_OVERFLOW) != 0) {
		w->changed(w->arg, NULL);
		return;
	}
	local_watch_key(e->wd, key);
	prefix = map_get(w->folders, span_str(key));
	if ((e->mask & IN_IGNORED) != 0) {
		free(map_del(w->folders, span_str(key)));
		return;
	}
	if (prefix == NULL || e->len == 0)
		return;
	if ((e->mask & IN_ISDIR) != 0) {
		local_watch_scan(w);
		return;
	}
	state = span_str(e->name);
	lock = local_watch_lock(e->name, &state);
	if (!span_ends(state, ".tfstate"))
		return;
	name = xasprintf("%s%.*s", prefix, (int)state.n, (const char *)state.p);
	if ((e->mask & (IN_CLOSE_WRITE | (lock ? IN_DELETE : IN_MOVED_TO))) != 0)
		w->changed(w->arg, name);
	else if (!lock && (e->mask & (IN_DELETE | IN_MOVED_FROM)) != 0)
		w->changed(w->arg, NULL);
	free(name);
}

#define LOCAL_WATCH_READ ((size_t)16384) /* of events in one turn */

static void
local_watch_ready(int fd, int ready, void *arg)
{
	struct local_watch *w = arg;
	_Alignas(struct inotify_event) char text[LOCAL_WATCH_READ];
	ssize_t n = read(fd, text, sizeof(text));

	(void)ready;
	for (ssize_t off = 0; off < n;) {
		const struct inotify_event *e = (const struct inotify_event *)(const void *)(text + off);

		local_watch_event(w, e);
		off += (ssize_t)(sizeof(*e) + e->len);
	}
}

enum err_code
local_watch_start(struct local *l, void (*changed)(void *arg, const char *name), void *arg, struct err *reterr)
{
	struct local_watch *w;
	int                 fd;

	if (loop_is_virtual(l->env->loop))
		return err_set(reterr, ERR_UNSUPPORTED, 0, "no notices in virtual time");
	fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd < 0)
		return err_errno(reterr, errno, "inotify");
	w = xcalloc(1, sizeof(*w));
	w->l = l;
	w->fd = fd;
	w->changed = changed;
	w->arg = arg;
	w->folders = map_new();
	w->events = fd_watch_new(l->env->loop, fd, LOOP_READ, local_watch_ready, w);
	l->watch = w;
	local_watch_scan(w);
	return ERR_OK;
}

void
local_watch_stop(struct local *l)
{
	struct local_watch *w = l->watch;

	if (w == NULL)
		return;
	l->watch = NULL;
	fd_watch_free(w->events);
	w->events = NULL;
	w->closing = true;
	if (w->job != NULL)
		op_cancel(w->job); /* frees w when it comes back */
	else
		local_watch_free(w);
}
