/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "base/utf8.h"
#include "core.h"

/*
 * A lock that stays: may its run be gone? Judged by its age, by what came of it, and by the host that it names; nothing is asked of any
 * other host, and nothing is ever broken for it.
 */

/* --- this host --- */

static bool
suspect_is_terraform(const char *pid)
{
	char    path[64], comm[16] = "";
	int     fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return false;
	n = read(fd, comm, sizeof(comm) - 1);
	close(fd);
	return n > 0 && (strncmp(comm, "terraform", 9) == 0 || strncmp(comm, "tofu", 4) == 0);
}

/* Where processes of others are hidden, nobody knows. */
static enum err_code
suspect_job(struct work_job *job, void *arg, struct err *reterr)
{
	enum here     *ret = arg;
	DIR           *d = opendir("/proc");
	struct dirent *de;

	(void)reterr;
	if (d == NULL || access("/proc/1/comm", R_OK) != 0) {
		if (d != NULL)
			closedir(d);
		return ERR_OK;
	}
	*ret = HERE_NONE;
	while (*ret == HERE_NONE && !work_cancelled(job) && (de = readdir(d)) != NULL)
		if (de->d_name[0] >= '1' && de->d_name[0] <= '9' && suspect_is_terraform(de->d_name))
			*ret = HERE_SOME;
	closedir(d);
	return ERR_OK;
}

struct op *
suspect_look_here(struct engine *e, enum here *ret)
{
	*ret = HERE_UNKNOWN;
	return loop_is_virtual(e->loop) ? NULL : work_run(e->work, suspect_job, ret);
}

/* --- the lock --- */

/* USER@HOST; "" : it names none. */
static const char *
suspect_host(const struct lock_info *l)
{
	const char *at = strrchr(l->who, '@');

	return at != NULL && !lock_info_is_ours(l) ? at + 1 : "";
}

static bool
suspect_is_here(const char *host)
{
	char here[256] = "";

	return host[0] != '\0' && gethostname(here, sizeof(here) - 1) == 0 && strcmp(here, host) == 0;
}

/* What is known of its run; false: nothing. */
static bool
suspect_run(struct store_txn *t, const struct lock_seen *l, struct run_rec *ret)
{
	struct state_rec s;

	return t != NULL && store_state(t, l->backend, l->name, &s) && store_run(t, &s, ret) && strcmp(ret->lock, l->lock.id) == 0;
}

static void
suspect_say_host(const struct lock_seen *l, struct buf *ret)
{
	const char *host = suspect_host(&l->lock);

	buf_puts(ret, "; ");
	if (host[0] == '\0') {
		buf_puts(ret, "on which host it was taken is not told");
	} else if (!suspect_is_here(host)) {
		buf_puts(ret, "whether its run is at work is to be seen on ");
		utf8_visible(ret, span_str(host), false);
	} else {
		buf_puts(ret, l->here == HERE_NONE ? "it was taken on this host, where no terraform is running" :
		    l->here == HERE_SOME ? "it was taken on this host, where a terraform is running" : "it was taken on this host");
	}
}

static void
suspect_say(const struct lock_seen *l, const struct lock_view *v, const struct run_rec *run, int64_t now, struct buf *ret)
{
	char age[TIME_TEXT_MAX], patience[TIME_TEXT_MAX];

	duration_format(v->patience_ms, patience);
	if (l->ours) {
		buf_puts(ret, "it is this agent's own, which gives it back");
	} else if (lock_info_is_ours(&l->lock)) {
		buf_puts(ret, "it is another agent's; where both share a lease, its successor gives it back");
	} else if (v->alive) {
		buf_puts(ret, "a process holds it, says the kernel");
	} else if (v->age_ms < 0) {
		buf_puts(ret, "since when it is held is not told");
	} else if (!v->over && !v->suspect) {
		buf_printf(ret, "it is held for %s, within the %s that a write waits for one", duration_format(v->age_ms, age), patience);
	} else if (!v->suspect && run != NULL) {
		buf_printf(ret, "its run is at work: serial %llu came %s ago", (unsigned long long)run->last_serial,
		    duration_format(now - run->changed, age));
	} else {
		buf_printf(ret, "it is held for %s, %s than the %s that a write waits for one%s", duration_format(v->age_ms, age),
		    v->over ? "longer" : "less", patience, run == NULL ? "" : run->versions > 0 ? ", and nothing came of it lately" :
		    ", and nothing has come of it");
		suspect_say_host(l, ret);
	}
}

void
engine_lock_view(struct engine *e, struct store_txn *t, const struct lock_seen *l, struct lock_view *ret)
{
	const struct backend *b = plan_backend(e->plan, l->backend);
	int64_t               now = loop_wall(e->loop), since = 0;
	struct run_rec        run;
	bool                  has = suspect_run(t, l, &run), here = suspect_is_here(suspect_host(&l->lock));
	struct buf            text;

	memset(ret, 0, sizeof(*ret));
	if (!time_parse(l->lock.created, &since) || since > now)
		since = has ? run.begun : 0;
	ret->age_ms = since > 0 ? now - since : -1;
	ret->patience_ms = b != NULL ? b->common.lock_timeout_ms : 0;
	ret->over = ret->age_ms > ret->patience_ms;
	ret->alive = b != NULL && b->provider == &provider_local;
	if (!l->ours && !lock_info_is_ours(&l->lock) && !ret->alive)
		ret->suspect = (here && l->here == HERE_NONE) || (ret->over && (!has || now - run.changed > ret->patience_ms));
	buf_init(&text, sizeof(ret->text) - 1);
	suspect_say(l, ret, has ? &run : NULL, now, &text);
	snprintf(ret->text, sizeof(ret->text), "%s", buf_str(&text));
	buf_free(&text);
}
