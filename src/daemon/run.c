/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "internal.h"

/* The background agent: signals, reload, and what the service manager is told. */

struct run {
	struct agent *a;
	struct op    *reload;      /* runs */
	bool          stop, again; /* again: SIGHUP came meanwhile */
	struct timer  watchdog;
	int64_t       every_ms;
};

/* sd_notify(3): one datagram. Nobody there is no error of ours. */
static void
run_notify(const char *text)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char        *path = getenv("NOTIFY_SOCKET");
	size_t             n = path != NULL ? strlen(path) : 0;
	int                fd;

	if (n < 2 || n >= sizeof(sa.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(sa.sun_path, path, n);
	if (path[0] == '@')
		sa.sun_path[0] = '\0';
	if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		return;
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&sa,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		log_at(LOG_DEBUG, "run", "the service manager could not be told \"%s\"", text);
	close(fd);
}

static void
run_watchdog(void *arg)
{
	struct run *r = arg;

	run_notify("WATCHDOG=1");
	timer_set(&r->watchdog, r->every_ms);
}

static void
run_watchdog_start(struct run *r)
{
	const char *usec = getenv("WATCHDOG_USEC");

	timer_init(&r->watchdog, r->a->loop, run_watchdog, r);
	r->every_ms = usec != NULL ? strtoll(usec, NULL, 10) / 2000 : 0;
	if (r->every_ms > 0)
		run_watchdog(r);
}

/* ---------------------------------------------------------------- reload */

static void run_reload(struct run *r);

static void
run_reloaded(struct op *op, void *arg)
{
	struct run *r = arg;

	if (op->err.code == ERR_OK) {
		agent_log_setup(r->a, agent_settings(r->a));
		log_at(LOG_INFO, "reload", "the new configuration is in use");
	} else {
		log_at(LOG_ERROR, "reload", "the old configuration stays: %s", op->err.msg);
	}
	op_free(op);
	r->reload = NULL;
	run_notify("READY=1");
	if (r->again && !r->stop) {
		r->again = false;
		run_reload(r);
	}
}

/* What lies open cannot move under a running agent. */
static bool
run_may_swap(const struct agent *a, const struct plan *p, struct err *reterr)
{
	const struct settings *old = agent_settings(a), *new = &p->settings;

	if (strcmp(old->store, new->store) != 0 || strcmp(old->socket, new->socket) != 0 || strcmp(old->name, new->name) != 0)
		err_set(reterr, ERR_CONFIG, 0, "store, socket and name of the agent change only with a restart");
	else if ((old->encryption_key == NULL) != (new->encryption_key == NULL))
		err_set(reterr, ERR_CONFIG, 0, "encryption_key changes only with a restart");
	else
		return true;
	return false;
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
	run_notify("RELOADING=1");
	if (agent_read_plan(r->a, &p, &e) == ERR_OK && run_may_swap(r->a, p, &e)) {
		r->reload = engine_reload(r->a->engine, p);
		r->a->env.agent_name = p->settings.name;
		op_start(r->reload, run_reloaded, r);
		return;
	}
	plan_free(p);
	r->a->env.agent_name = agent_settings(r->a)->name;
	log_at(LOG_ERROR, "reload", "the old configuration stays: %s", e.msg);
	run_notify("READY=1");
}

/* ---------------------------------------------------------------- run */

static void
run_signal(int signo, void *arg)
{
	struct run *r = arg;

	if (signo == SIGHUP) {
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
	struct run           r = { .a = a };

	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		w[i] = signal_watch_new(a->loop, signals[i], run_signal, &r);
	engine_start(a->engine);
	log_event(LOG_INFO, NULL, "ready", { "pid", log_i64(getpid()) }, { "version", log_str(SF_VERSION) },
	    { "store", log_str(agent_settings(a)->store) });
	run_notify("READY=1");
	run_watchdog_start(&r);
	while (!r.stop)
		loop_turn(a->loop, true);
	run_notify("STOPPING=1");
	timer_stop(&r.watchdog);
	agent_end(a);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		signal_watch_free(w[i]);
	return 0;
}
