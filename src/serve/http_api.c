/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unistd.h>

#include "net/http_server.h"
#include "serve.h"

/*
 * The HTTP side of the interface. Arguments are those of the query; no route takes a body. What changes something is for the
 * Unix socket alone, from a process of the same user or of root.
 */
#define HTTP_API_PREFIX "/api/v1/"

struct api_server {
	struct engine      *e;
	struct http_server *http;
};

/* A call while its op runs; whichever of the two ends last frees it. */
struct api_serving {
	struct http_call *http;        /* NULL: the peer left */
	struct op        *op;          /* NULL: ended */
	struct api_reply  reply;
};

static void
http_api_text(struct http_call *c, int status, const char *type, const char *text)
{
	struct body *b = body_copy(span_str(text));

	http_reply(c, status, type, b);
	body_unref(b);
}

static void
http_api_error(struct http_call *c, int status, enum err_code code, const char *what, const char *hint)
{
	struct buf   out;
	struct err   e;
	struct body *b;

	err_set(&e, code, status, "%s", what);
	err_hint(&e, "%s", hint);
	buf_init(&out, 0);
	api_error_json(&e, http_call_path(c), &out);
	b = body_new(&out);
	http_reply(c, status, "application/json", b);
	body_unref(b);
}

static bool
http_api_may_change(struct http_call *c)
{
	uid_t uid;

	return http_call_local(c, &uid) && (uid == geteuid() || uid == 0);
}

static uint64_t
http_api_accept(void *arg, struct http_call *c)
{
	const char *method = http_call_method(c);

	(void)arg;
	if (strcmp(method, "GET") == 0)
		return 0;
	if (strcmp(method, "POST") != 0)
		http_api_error(c, 405, ERR_UNSUPPORTED, "only GET and POST are known here", "");
	else if (!http_api_may_change(c))
		http_api_error(c, 403, ERR_AUTH, "what changes something is asked over the socket, by the agent's user or root", "");
	return 0;
}

/* ---------------------------------------------------------------- /api/v1/ */

static void
http_api_done(struct op *op, void *arg)
{
	struct api_serving *s = arg;
	struct http_call   *c = s->http;

	if (c != NULL && op->err.code != ERR_OK)
		http_api_error(c, 503, op->err.code, op->err.msg, "");
	else if (c != NULL)
		http_reply(c, s->reply.status, s->reply.type, s->reply.body);
	api_reply_free(&s->reply);
	op_free(op);
	s->op = NULL;
	if (s->http == NULL)
		free(s);
}

static void
http_api_gone(void *arg, struct http_call *c)
{
	struct api_serving *s = http_call_get(c);

	(void)arg;
	if (s == NULL)
		return;
	s->http = NULL;
	if (s->op == NULL)
		free(s);
	else
		op_cancel(s->op);
}

/* What a network listener shows; bytes and contents of states are for the socket alone. */
static bool
http_api_is_public(const char *route)
{
	static const char *const names[] = { "status", "states", "versions", "locks", "events", "ops", "metrics" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], route) == 0)
			return true;
	return false;
}

#define HTTP_API_ARGS 64

struct http_api_args {
	struct api_arg args[HTTP_API_ARGS];
	size_t         n;
	bool           too_many;
};

static void
http_api_arg(void *arg, const char *name, const char *value)
{
	struct http_api_args *a = arg;

	if (a->n == HTTP_API_ARGS)
		a->too_many = true;
	else
		a->args[a->n++] = (struct api_arg){ name, value != NULL ? value : "" };
}

static void
http_api_route(struct api_server *s, struct http_call *c, const char *route)
{
	struct http_api_args args = { .n = 0 };
	struct api_request   req = { http_call_method(c), route, args.args, 0 };
	struct api_serving  *x;

	if (!http_api_may_change(c) && !http_api_is_public(route)) {
		http_api_error(c, 403, ERR_AUTH, "this is answered over the socket only, to the agent's user or root", "");
		return;
	}
	http_call_query_each(c, http_api_arg, &args);
	if (args.too_many) {
		http_api_error(c, 400, ERR_USAGE, "too many arguments", "");
		return;
	}
	req.nargs = args.n;
	x = xcalloc(1, sizeof(*x));
	x->http = c;
	x->op = api_call(s->e, &req, &x->reply);
	http_call_set(c, x);
	op_start(x->op, http_api_done, x);
}

static void
http_api_handle(void *arg, struct http_call *c)
{
	struct api_server *s = arg;
	const char        *path = http_call_path(c), *text = "text/plain; charset=utf-8";
	bool               well = store_trouble(engine_store(s->e))[0] == '\0', ready;

	if (strncmp(path, HTTP_API_PREFIX, sizeof(HTTP_API_PREFIX) - 1) == 0) {
		http_api_route(s, c, path + sizeof(HTTP_API_PREFIX) - 1);
		return;
	}
	if (strcmp(http_call_method(c), "GET") != 0) {
		http_api_error(c, 405, ERR_UNSUPPORTED, "only GET is known here", "");
	} else if (strcmp(path, "/healthz") == 0) {
		http_api_text(c, well ? 200 : 503, text, well ? "ok\n" : "the store is in trouble\n");
	} else if (strcmp(path, "/readyz") == 0) {
		ready = health_ready(s->e);
		http_api_text(c, ready ? 200 : 503, text, ready ? "ready\n" : "not every source was looked at yet\n");
	} else if (strcmp(path, "/metrics") == 0) {
		http_api_route(s, c, "metrics");
	} else {
		http_api_error(c, 404, ERR_NOT_FOUND, "there is nothing of that name", "see /api/v1/status");
	}
}

/* ---------------------------------------------------------------- the server */

enum err_code
api_server_new(struct engine *e, int fd_owned, struct api_server **ret, struct err *reterr)
{
	struct api_server      *s = xcalloc(1, sizeof(*s));
	struct http_server_conf conf = { .fd_owned = fd_owned, .accept = http_api_accept, .handle = http_api_handle,
		.gone = http_api_gone, .arg = s };

	s->e = e;
	if (http_server_new(engine_loop(e), &conf, &s->http, reterr) != ERR_OK) {
		free(s);
		return reterr->code;
	}
	*ret = s;
	return ERR_OK;
}

void
api_server_quiesce(struct api_server *s)
{
	http_server_quiesce(s->http);
}

bool
api_server_idle(const struct api_server *s)
{
	return http_server_idle(s->http);
}

void
api_server_free(struct api_server *s)
{
	if (s == NULL)
		return;
	http_server_free(s->http);
	free(s);
}
