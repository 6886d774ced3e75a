/* SPDX-License-Identifier: MIT */
#ifndef SRC_DAEMON_INTERNAL_H
#define SRC_DAEMON_INTERNAL_H

#include "daemon/agent.h"
#include "daemon/notify.h"
#include "net/http_client.h"

struct agent {
	struct agent_options o;
	struct loop         *loop;
	struct work         *work;
	struct http_client  *http;
	struct store        *store;
	struct crypt_key    *key;
	struct plan         *plan;     /* until the engine owns it */
	struct engine       *engine;
	struct api_server   *server;
	struct provider_env  env;
	struct notify       *notify;
	char                *socket;   /* where we listen; NULL: not */
	char                *config;   /* absolute: a reload reads the same file */
	int64_t              ending;   /* loop_now() when the end was first asked for; 0: not yet */
	char                *name;     /* outlives every plan: no reload changes it */
};

/* The configuration, read and opened for this agent. */
enum err_code agent_read_plan(struct agent *a, struct plan **ret, struct err *reterr);
/* ERR_CONFIG: another encryption key than the store was opened with, or none where there was one. */
enum err_code agent_keeps_key(const struct agent *a, const struct settings *s, struct err *reterr);
void          agent_log_setup(const struct agent *a, const struct settings *s);
/* Stops everything; false: something is left after the grace period. */
bool          agent_end(struct agent *a);
/* A question asked every so often beside a call. ask starts nothing, it only makes the op; answered is called when that ended
 * OK, and before the next ask. */
struct agent_poll {
	int64_t       every_ms;
	struct op  *(*ask)(struct agent_poll *p);
	void        (*answered)(struct agent_poll *p);
	struct timer  timer;     /* agent_await_beside()'s from here on */
	struct op    *op;
	bool          over;
};
/* As agent_await(), with a poll beside it that has ended too when this returns; NULL: none. e: whose writes are hurried some seconds
 * after a signal; NULL: no engine's. */
void          agent_await_beside(struct loop *l, struct op *op, struct engine *e, struct agent_poll *poll, struct err *ret,
    int *ret_signal);

#endif
