/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"

/*
 * The line at the bottom of a terminal that says how far a pass, a restore or a migration is. It is fed with the documents of
 * "ops", by the owner of the store whoever that is. Lines of the log go above it, from any thread; at the end nothing of it is left.
 */
#define PROGRESS_EVERY_MS 200
#define PROGRESS_COLUMNS  80    /* of a terminal that does not say how many it has */
#define PROGRESS_CELLS    20
#define PROGRESS_ERASE    "\r\033[K"

static pthread_mutex_t progress_lock = PTHREAD_MUTEX_INITIALIZER;

static size_t
progress_columns(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : PROGRESS_COLUMNS;
}

static void
progress_bytes(double n, struct buf *ret)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
	size_t                   i = 0;

	for (; n >= 1000 && i + 1 < ARRAY_LEN(units); i++)
		n /= 1000;
	buf_printf(ret, i == 0 || n >= 100 ? "%.0f %s" : "%.1f %s", n, units[i]);
}

static void
progress_bar(double done, double total, struct buf *ret)
{
	int full = done >= total ? PROGRESS_CELLS : (int)(done * PROGRESS_CELLS / total);

	buf_puts(ret, " [");
	for (int i = 0; i < PROGRESS_CELLS; i++)
		buf_putc(ret, i < full ? '#' : '-');
	buf_printf(ret, "] %.0f of %.0f", done, total);
}

/* " 3 held", painted where the terminal may be; nothing of none. */
static void
progress_trouble(const struct progress *p, double n, const char *word, const char *paint, struct buf *ret)
{
	if (n > 0)
		buf_printf(ret, ", %s%.0f %s%s", cli_paint(p->c, paint), n, word, cli_paint(p->c, "\033[0m"));
}

/* What the line takes on the screen: all but the sequences that paint it. */
static size_t
progress_width(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++) {
		if (*s == '\033')
			s += strcspn(s, "m");
		else
			n++;
	}
	return n;
}

static void
progress_pass(struct progress *p, const json_t *pass)
{
	buf_printf(&p->line, "%s %.0f states seen, %.0f changed, %.0f written (", cli_num(pass, "total") > 0 ? "," : "",
	    cli_num(pass, "seen"), cli_num(pass, "changed"), cli_num(pass, "written"));
	progress_bytes(cli_num(pass, "bytes"), &p->line);
	buf_putc(&p->line, ')');
	progress_trouble(p, cli_num(pass, "held"), "held", "\033[33m", &p->line);
}

/* of: the member of "ops" that tells it. */
static void
progress_line(struct progress *p, const json_t *of)
{
	bool   pass = p->of == PROGRESS_PASS;
	double total = cli_num(of, "total"), failed = cli_num(of, "failed");

	buf_reset(&p->line);
	buf_printf(&p->line, "%s: %s", p->c->command->name, cli_str(of, "step"));
	if (total > (pass ? 0 : 1)) /* one state alone is at its step, and that is all */
		progress_bar(cli_num(of, "done") + (pass ? 0 : failed), total, &p->line);
	if (pass)
		progress_pass(p, of);
	progress_trouble(p, failed, "failed", "\033[31m", &p->line);
}

/* One that is too wide would wrap and could not be erased: it is cut, and not painted then. */
static void
progress_draw(struct progress *p)
{
	size_t max = progress_columns() - 1;

	fputs(PROGRESS_ERASE, stderr);
	if (progress_width(buf_str(&p->line)) <= max) {
		fputs(buf_str(&p->line), stderr);
	} else {
		for (const char *s = buf_str(&p->line); *s != '\0' && max > 0; s++) {
			if (*s == '\033') {
				s += strcspn(s, "m");
				continue;
			}
			fputc(*s, stderr);
			max--;
		}
	}
	fflush(stderr);
}

static void
progress_seen(void *arg, const struct api_reply *r)
{
	static const char *const members[] = { "", "pass", "restore", "migrate" };
	struct progress *p = arg;
	json_t          *doc = cli_load(r);
	const json_t    *of = json_object_get(doc, members[p->of]);

	if (json_is_object(of)) {
		pthread_mutex_lock(&progress_lock);
		progress_line(p, of);
		progress_draw(p);
		pthread_mutex_unlock(&progress_lock);
	}
	json_decref(doc);
}

static void
progress_log(void *arg, const char *line)
{
	struct progress *p = arg;

	pthread_mutex_lock(&progress_lock);
	fprintf(stderr, "%s%s\n", p->line.len > 0 ? PROGRESS_ERASE : "", line);
	if (p->line.len > 0)
		progress_draw(p);
	pthread_mutex_unlock(&progress_lock);
}

const struct agent_watch *
progress_begin(struct progress *p, const struct cli *c, enum progress_of of)
{
	const char *term = getenv("TERM");

	memset(p, 0, sizeof(*p));
	p->c = c;
	p->of = of;
	if (of == PROGRESS_NONE || c->json || c->quiet || isatty(STDERR_FILENO) != 1 || term == NULL || strcmp(term, "dumb") == 0)
		return NULL;
	buf_init(&p->line, 0);
	p->on = true;
	p->watch = (struct agent_watch){ .req = { .method = "GET", .route = "ops" }, .every_ms = PROGRESS_EVERY_MS,
		.seen = progress_seen, .arg = p };
	log_sink(progress_log, p);
	return &p->watch;
}

void
progress_end(struct progress *p)
{
	if (!p->on)
		return;
	log_sink(NULL, NULL);
	if (p->line.len > 0) {
		fputs(PROGRESS_ERASE, stderr);
		fflush(stderr);
	}
	buf_free(&p->line);
	p->on = false;
}
