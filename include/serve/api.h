/* SPDX-License-Identifier: MIT */
#ifndef SERVE_API_H
#define SERVE_API_H

#include "base/buf.h"
#include "loop/body.h"
#include "sync/engine.h"

/*
 * The interface as calls: what a command asks, over the socket or in-process as owner of the store, and what comes back. One
 * table of routes (src/serve/routes.c) serves both. Arguments are strings by name, as in a query; several
 * values of one name are allowed ("edge"). Answers are the JSON documents that --json prints, or exact bytes.
 *
 *	GET  status                                   verdict, agent, states, replicas, problems
 *	GET  list        [backend]                    states with their replicas
 *	GET  log         state                        versions, newest first
 *	GET  runs        [state]                      who had the lock of a source's state, and which versions came of it
 *	GET  cat         state                        the bytes, application/octet-stream
 *	GET  show        state [address] [reveal=1]   resources, outputs, metadata; sensitive values masked
 *	GET  locks       [backend]
 *	GET  quarantine
 *	GET  events      [limit]
 *	GET  ops                                      running operations, what each waits for, since when; and the pass, restore, migration
 *	GET  metrics                                  Prometheus text format, version 0.0.4; also at /metrics
 *	GET  adopt                                    what adopt would change: "changes":[...]
 *	GET  resolve     edge state                   what would be overwritten: "held":[{backend, name, serial, reason}]
 *	GET  restore     state path                   a version that is to lie in a file of the caller's: its "result", not its bytes
 *	POST sync        [edge...] [dry_run=1] [max_age=DURATION]
 *	POST restore     state [at=TIME] [all=1] [to=BACKEND:NAME] [keep_serial=1] [dry_run=1]
 *	POST migrate     from=BACKEND[:NAME] to=BACKEND[:NAME] [dry_run=1] [yes=1]
 *	POST release     state
 *	POST drop        state
 *	POST resolve     edge state [target]
 *	POST unlock      state [id]
 *	POST adopt
 *	POST probe       backend
 *	POST check
 *
 * state is an address as typed, BACKEND:NAME[@V] (docs: man page, "Addresses"), or name= a raw name with backend=.
 * An error is {"format_version","error":{"code","kind","where","message","hint"}}; code is the exit code. A document
 * whose success still means another exit code than 0 says so in its member "exit_code".
 */
struct api_arg {
	const char *name, *value;
};

struct api_request {
	const char           *method;    /* GET, POST */
	const char           *route;     /* "status": what follows /api/v1/ */
	const struct api_arg *args;
	size_t                nargs;
};

struct api_reply {
	int          status;             /* HTTP */
	int          exit;               /* of the command */
	const char  *type;               /* static */
	struct body *body;               /* the caller's reference */
};

/* Copies the request. Ends OK whenever there is a reply, errors of the command included. */
struct op *api_call(struct engine *e, const struct api_request *req, struct api_reply *ret);
void       api_reply_free(struct api_reply *r);

/* An error as the document above, for those who fail before there is an engine. */
void       api_error_json(const struct err *e, const char *where, struct buf *ret);

/* BACKEND:NAME[@V] against the plan and the store. raw: NAME has no BACKEND: and no @V (backend may be NULL). */
struct address {
	char    *backend, *name;
	uint64_t version;                /* 0: head (none given) */
	bool     has_version, has_serial;
	uint64_t serial;                 /* has_serial: which version that is has not been looked for; calls have replaced it by a number */
};
enum err_code address_resolve(struct engine *e, const char *text, const char *backend, bool raw,
    struct address *ret, struct err *reterr);
void          address_free(struct address *a);
/* How long the text before @serial=N is; 0: it does not end so. */
size_t        address_is_serial(const char *text);
/* Bytes of the name of NAME[@V]. */
size_t        address_name_len(const char *text);

/* /healthz: the process and its store answer. /readyz: recovered, and looked at every source once. */
bool health_ready(struct engine *e);

/* The HTTP side: serves /healthz /readyz /metrics /api/v1/... on a listening socket (net/http_server.h). */
struct api_server;
enum err_code api_server_new(struct engine *e, int fd_owned, struct api_server **ret, struct err *reterr);
void          api_server_quiesce(struct api_server *s);
bool          api_server_idle(const struct api_server *s);
void          api_server_free(struct api_server *s);

#endif
