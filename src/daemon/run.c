/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "internal.h"
#include "store/store.h"

/* The background agent: signals, reload, and what the service manager is told. */

struct run {
	struct agent *a;
	struct op    *reload;      /* runs */
	bool          stop, again; /* again: SIGHUP came meanwhile */
	struct timer  watchdog;
	struct op    *ping;        /* runs through the store's thread */
};

static void
run_told(enum err_code code, const struct err *e)
{
	if (code != ERR_OK)
		log_at(LOG_WARN, "run", "%s", e->msg);
}

static void
run_ready(struct run *r)
{
	struct err e;

	run_told(notify_ready(r->a->notify, NULL, &e), &e);
}

/* ---------------------------------------------------------------- watchdog */

static void
run_ping_done(struct op *op, void *arg)
{
	struct run *r = arg;
	struct err  e;

	/* Whatever it said: an answer is a sign of life of both threads. */
	op_free(op);
	r->ping = NULL;
	if (!r->stop)
		run_told(notify_watchdog(r->a->notify, &e), &e);
}

/* A batch with nothing in it goes through the store's thread and commits nothing. */
static void
run_watchdog(void *arg)
{
	struct run   *r = arg;
	struct store *s = engine_store(r->a->engine);

	timer_set(&r->watchdog, notify_watchdog_ms(r->a->notify));
	if (r->ping != NULL)
		return;
	r->ping = store_apply(s, batch_new(s));
	op_start(r->ping, run_ping_done, r);
}

static void
run_watchdog_start(struct run *r)
{
	timer_init(&r->watchdog, r->a->loop, run_watchdog, r);
	if (notify_watchdog_ms(r->a->notify) > 0)
		run_watchdog(r);
}

/* ---------------------------------------------------------------- reload */

static void run_reload(struct run *r);

static void
run_refused(const struct err *e)
{
	char text[ERR_TEXT_MAX];

	log_at(LOG_ERROR, "reload", "the old configuration stays: %s", err_text(e, text));
}

static void
run_reloaded(struct op *op, void *arg)
{
	struct run *r = arg;

	if (op->err.code == ERR_OK) {
		agent_log_setup(r->a, agent_settings(r->a));
		log_at(LOG_INFO, "reload", "the new configuration is in use");
	} else {
		run_refused(&op->err);
	}
	op_free(op);
	r->reload = NULL;
	run_ready(r);
	if (r->again && !r->stop) {
		r->again = false;
		run_reload(r);
	}
}

/* What lies open cannot move under a running agent. */
static enum err_code
run_may_swap(const struct agent *a, const struct plan *p, struct err *reterr)
{
	const struct settings *old = agent_settings(a), *new = &p->settings;
	const char            *what = strcmp(old->store, new->store) != 0 ? "store" : strcmp(old->socket, new->socket) != 0 ? "socket" :
	    strcmp(old->name, new->name) != 0 || old->name_given != new->name_given ? "name" : NULL;

	if (what == NULL)
		return agent_keeps_key(a, new, reterr);
	err_set(reterr, ERR_CONFIG, 0, "%s changes only with a restart", what);
	return err_hint(reterr, "restart the agent, or put the old %s back", what);
}

static void
run_reload(struct run *r)
{
	struct plan *p = NULL;
	struct err   e = { .code = ERR_OK };

	if (r->reload != NULL) {
		r->again = true;
		return;
	}
	run_told(notify_reloading(r->a->notify, &e), &e);
	if (agent_read_plan(r->a, &p, &e) == ERR_OK && run_may_swap(r->a, p, &e) == ERR_OK) {
		r->reload = engine_reload(r->a->engine, p);
		op_start(r->reload, run_reloaded, r);
		return;
	}
	plan_free(p);
	run_refused(&e);
	run_ready(r);
}

/* ---------------------------------------------------------------- run */

static void
run_signal(int signo, void *arg)
{
	struct run *r = arg;

	if (signo == SIGHUP) {
		if (!r->stop)
			run_reload(r);
		return;
	}
	log_at(LOG_INFO, NULL, "ending: signal %d", signo);
	r->stop = true;
}

int
agent_run(struct agent *a)
{
	static const int     signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct signal_watch *w[ARRAY_LEN(signals)];
	struct run          *r = xcalloc(1, sizeof(*r));
	struct err           e;
	bool                 ended;

	r->a = a;
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		w[i] = signal_watch_new(a->loop, signals[i], run_signal, r);
	engine_start(a->engine);
	log_event(LOG_INFO, NULL, "ready", { "pid", log_i64(getpid()) }, { "version", log_str(SF_VERSION) },
	    { "store", log_str(agent_settings(a)->store) });
	run_ready(r);
	run_watchdog_start(r);
	while (!r->stop)
		loop_turn(a->loop, true);
	run_told(notify_stopping(a->notify, &e), &e);
	timer_stop(&r->watchdog);
	ended = agent_end(a);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		signal_watch_free(w[i]);
		signal(signals[i], SIG_IGN); /* told once more, it still ends as it should */
	}
	if (ended) /* else an operation may still call us */
		free(r);
	return 0;
}
