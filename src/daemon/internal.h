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
};

/* The configuration, read and opened for this agent. */
enum err_code agent_read_plan(struct agent *a, struct plan **ret, struct err *reterr);
/* ERR_CONFIG: another encryption key than the store was opened with, or none where there was one. */
enum err_code agent_keeps_key(const struct agent *a, const struct settings *s, struct err *reterr);
void          agent_log_setup(const struct agent *a, const struct settings *s);
/* Stops everything; false: something is left after the grace period. */
bool          agent_end(struct agent *a);

#endif
