/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_AGENT_H
#define DAEMON_AGENT_H

#include "loop/work.h"
#include "serve/api.h"

/*
 * Assembly: loop, work pool, HTTP client, store, plan and engine of one process, and the socket on which others ask it. run, sync
 * and every command that finds no owner are built by this.
 */
struct agent;

struct agent_options {
	const char *config;          /* -c; NULL: searched */
	int         log_level;       /* -1: as configured */
	int         log_json;        /* -1: as configured */
	bool        must_exist;      /* a command that only reads: no store is made */
	bool        serve_socket;    /* run and sync: others may ask while we live */
	bool        no_store;        /* stops when the configuration is opened: no store, no engine */
	int64_t     wait_ms;         /* for an owner to go */
	struct conf_errors *errors;  /* all that is wrong with the configuration; NULL: the first is enough */
};

/* Everything up to a stopped engine. ERR_LOCKED: another process owns the store, its pid in detail. *ret is set whenever the
 * configuration could be read, even on failure, so that its socket is known; free it then too. */
enum err_code agent_open(const struct agent_options *o, struct agent **ret, struct err *reterr);
void          agent_close(struct agent *a);         /* runs the loop until what is left has ended, at most AGENT_GRACE_MS */
#define AGENT_GRACE_MS 10000

struct engine *agent_engine(struct agent *a);       /* NULL: not the owner */
struct loop   *agent_loop(struct agent *a);
const struct settings *agent_settings(const struct agent *a);
const struct plan *agent_plan(const struct agent *a);

/* The background agent until SIGTERM or SIGINT; SIGHUP reloads. Exit code. */
int            agent_run(struct agent *a);
/* What is asked again and again while a call runs, and who hears the answers. Copied. */
struct agent_watch {
	struct api_request req;
	int64_t            every_ms;
	void             (*seen)(void *arg, const struct api_reply *r);
	void              *arg;
};
/* One API call in-process: turns the loop until it ended. SIGINT cancels it (exit 130). watch NULL: nobody looks on. */
enum err_code  agent_call(struct agent *a, const struct api_request *req, const struct agent_watch *watch, struct api_reply *ret,
    struct err *reterr);
/* Runs op to its end; SIGINT and SIGTERM cancel it. *ret_signal (may be NULL): the one that came, 0. */
void           agent_await(struct loop *l, struct op *op, struct err *ret, int *ret_signal);
/* The same over the owner's socket. ERR_NOT_FOUND: nobody listens there. */
enum err_code  agent_ask(const char *socket_path, const struct api_request *req, const struct agent_watch *watch, struct api_reply *ret,
    struct err *reterr);

#endif
