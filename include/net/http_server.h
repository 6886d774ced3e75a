/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "loop/body.h"
#include "loop/op.h"

/*
 * An HTTP/1.1 server by libmicrohttpd on the (real) loop, on a socket that the caller opened
 * (TCP or Unix). Requests that could be read two ways (docs/protocol/http-server.md) are refused
 * before the handler sees them. Bodies are bounded per route before they are read. One request per
 * connection: every answer says "Connection: close".
 */
struct http_server;
struct http_call;

/* First sight of a request, before its body: authorise and route here. Returns the most body bytes that
 * are accepted (0: none; more: 413), or answers at once with http_reply() and returns 0. */
typedef uint64_t http_accept_fn(void *arg, struct http_call *call);
/* The request is complete. Must lead to exactly one http_reply(), now or later. */
typedef void     http_handle_fn(void *arg, struct http_call *call);
/* Once per call that was accepted, after the answer went out or the peer left: forget call (cancel what runs for it).
 * None of the three may free the server. */
typedef void     http_gone_fn(void *arg, struct http_call *call);

struct http_server_conf {
	int             fd_owned;      /* a listening socket; closed by _quiesce() or _free(), or when _new() fails */
	bool            unlink;        /* a Unix socket whose file goes with it: not one that was handed to us */
	http_accept_fn *accept;
	http_handle_fn *handle;
	http_gone_fn   *gone;
	void           *arg;
	unsigned        connections;   /* 0: 256 */
};

enum err_code http_server_new(struct loop *l, const struct http_server_conf *conf, struct http_server **ret,
    struct err *reterr);
/* Takes whose request has begun to arrive and no more; the calls go on. */
void          http_server_quiesce(struct http_server *s);
bool          http_server_idle(const struct http_server *s); /* nobody waits for an answer */
void          http_server_free(struct http_server *s); /* drops what is left */

const char   *http_call_method(const struct http_call *c);
const char   *http_call_path(const struct http_call *c);                       /* decoded, begins with "/" */
const char   *http_call_query(const struct http_call *c, const char *name);    /* the first, decoded; NULL: absent */
typedef void  http_query_fn(void *arg, const char *name, const char *value);
void          http_call_query_each(const struct http_call *c, http_query_fn *fn, void *arg); /* in order */
const char   *http_call_header(const struct http_call *c, const char *name);
struct span   http_call_body(const struct http_call *c);
bool          http_call_local(const struct http_call *c, uid_t *ret_uid);      /* a Unix socket, and whose process */
void          http_call_set(struct http_call *c, void *data);
void         *http_call_get(const struct http_call *c);
/* A field more for the answer, before it. */
void          http_reply_field(struct http_call *c, const char *name, const char *value);
/* type NULL: no Content-Type. body may be NULL; a reference is taken. The call stays until gone(). */
void          http_reply(struct http_call *c, int status, const char *type, struct body *body);

/* A listening Unix socket, mode 0600: a stale file is replaced, one that answers is not (ERR_LOCKED). */
enum err_code http_listen_unix(const char *path, int *ret_fd, struct err *reterr);
/* "127.0.0.1:8420", "[::1]:8420". */
enum err_code http_listen_tcp(const char *address, int *ret_fd, struct err *reterr);

#endif
