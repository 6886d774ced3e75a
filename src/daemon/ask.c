/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/url.h"
#include "internal.h"

/* A call to the process that owns the store, over its Unix socket. */

#define ASK_TIMEOUT_MS ((int64_t)24 * 3600 * 1000) /* a pass over everything may take hours */
#define ASK_ALIVE_MS   10000                       /* for the first answer: the kernel takes calls for a process that is stopped, too */
#define ASK_BODY_MAX   ((uint64_t)1 << 30)
#define ASK_JSON       "application/json"

/* A connection of our own tells "nobody" from every other failure. */
static enum err_code
ask_is_there(const char *path, struct err *reterr)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), errnum;

	if (fd < 0)
		return err_errno(reterr, errno, "socket");
	if (strlen(path) >= sizeof(sa.sun_path)) {
		close(fd);
		return err_set(reterr, ERR_CONFIG, 0, "%s: too long for a socket", path);
	}
	memcpy(sa.sun_path, path, strlen(path));
	errnum = connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0 ? 0 : errno;
	close(fd);
	if (errnum == ENOENT || errnum == ECONNREFUSED)
		return err_set(reterr, ERR_NOT_FOUND, errnum, "%s: nobody listens there", path);
	if (errnum == EACCES || errnum == EPERM)
		return err_set(reterr, ERR_AUTH, errnum, "%s: permission denied", path);
	return errnum == 0 ? ERR_OK : err_errno(reterr, errnum, "%s", path);
}

static void
ask_url(const struct api_request *req, struct buf *out)
{
	struct buf query;

	buf_init(&query, 0);
	for (size_t i = 0; i < req->nargs; i++)
		url_query_add(&query, req->args[i].name, req->args[i].value);
	buf_printf(out, "http://localhost/api/v1/%s%s%s", req->route, query.len > 0 ? "?" : "", buf_str(&query));
	buf_free(&query);
}

/* The exit code as the document says it. */
static int
ask_exit(const struct http_response *r)
{
	struct span s = r->body != NULL && body_in_memory(r->body) ? body_span(r->body) : span_of(NULL, 0);
	json_t     *doc = s.n > 0 ? json_loadb((const char *)s.p, s.n, JSON_DECODE_INT_AS_REAL, NULL) : NULL;
	json_t     *code = json_object_get(json_object_get(doc, "error"), "code");
	int         ret = r->status < 300 ? 0 : 1;

	if (code == NULL)
		code = json_object_get(doc, "exit_code");
	if (json_is_number(code))
		ret = (int)json_number_value(code);
	json_decref(doc);
	return ret;
}

static void
ask_take(struct http_response *r, struct api_reply *ret)
{
	const char *type = http_header_get(r, "content-type");
	bool        json = type != NULL && strncmp(type, ASK_JSON, strlen(ASK_JSON)) == 0;

	ret->status = r->status;
	ret->type = json ? ASK_JSON : "application/octet-stream";
	ret->exit = json ? ask_exit(r) : r->status < 300 ? 0 : 1;
	ret->body = r->body != NULL ? body_ref(r->body) : body_copy(span_of(NULL, 0));
}

/* One connection's worth: the call itself, and what is asked beside it. */
struct ask {
	struct agent_poll         poll;
	struct loop              *loop;
	struct http_client       *http;
	const char               *path;
	const struct agent_watch *watch;
	struct http_response      seen;   /* of the poll */
};

static struct op *
ask_request(struct ask *x, const struct api_request *req, int64_t timeout_ms, struct http_response *ret)
{
	static const struct http_header none[] = { { "Accept", (char *)(uintptr_t)"*/*" } };
	struct buf                      url;
	struct op                      *op;

	buf_init(&url, 0);
	ask_url(req, &url);
	op = http_request(x->http, &(struct http_request){ .method = req->method, .url = buf_str(&url), .unix_socket = x->path,
	    .headers = none, .nheaders = 1, .timeout_ms = timeout_ms, .max_body = ASK_BODY_MAX, .proxy = "" }, ret);
	buf_free(&url);
	return op;
}

static struct op *
ask_look(struct agent_poll *p)
{
	struct ask *x = container_of(p, struct ask, poll);

	http_response_free(&x->seen);
	return ask_request(x, &x->watch->req, ASK_TIMEOUT_MS, &x->seen);
}

static void
ask_looked(struct agent_poll *p)
{
	struct ask      *x = container_of(p, struct ask, poll);
	struct api_reply r;

	ask_take(&x->seen, &r);
	x->watch->seen(x->watch->arg, &r);
	api_reply_free(&r);
}

/* Something small first: who does not answer that will not answer at all. */
static enum err_code
ask_is_alive(struct ask *x, struct err *reterr)
{
	static const struct api_request small = { "GET", "agent", NULL, 0 };
	struct http_response            r;
	int                             signo;

	http_response_init(&r);
	agent_await_beside(x->loop, ask_request(x, &small, ASK_ALIVE_MS, &r), NULL, NULL, reterr, &signo);
	http_response_free(&r);
	if (signo != 0)
		return err_set(reterr, ERR_CANCELLED, signo, "interrupted");
	if (reterr->code == ERR_TIMEOUT) {
		err_set(reterr, ERR_TIMEOUT, 0, "%s: the agent is there, and has not answered for %d s", x->path, ASK_ALIVE_MS / 1000);
		err_hint(reterr, "is it stopped (SIGSTOP, a debugger), or its disk? systemctl status stateferry, or its log, tells");
	}
	return reterr->code;
}

static enum err_code
ask_send(struct ask *x, const struct api_request *req, struct api_reply *ret, struct err *reterr)
{
	struct http_response r;
	int                  signo;

	http_response_init(&r);
	http_response_init(&x->seen);
	agent_await_beside(x->loop, ask_request(x, req, ASK_TIMEOUT_MS, &r), NULL, x->watch != NULL ? &x->poll : NULL, reterr, &signo);
	if (signo != 0)
		err_set(reterr, ERR_CANCELLED, signo, "interrupted");
	if (reterr->code == ERR_OK)
		ask_take(&r, ret);
	http_response_free(&r);
	http_response_free(&x->seen);
	return reterr->code;
}

enum err_code
agent_ask(const char *socket_path, const struct api_request *req, const struct agent_watch *watch, struct api_reply *ret,
    struct err *reterr)
{
	struct ask   x = { .poll = { .every_ms = watch != NULL ? watch->every_ms : 0, .ask = ask_look, .answered = ask_looked },
		.path = socket_path, .watch = watch };
	struct work *w;

	memset(ret, 0, sizeof(*ret));
	err_clear(reterr);
	if (ask_is_there(socket_path, reterr) != ERR_OK)
		return reterr->code;
	if ((x.loop = loop_new(reterr)) == NULL)
		return reterr->code;
	w = work_new(x.loop);
	if (http_client_curl(x.loop, w, NULL, &x.http, reterr) == ERR_OK) {
		if (ask_is_alive(&x, reterr) == ERR_OK)
			ask_send(&x, req, ret, reterr);
		http_client_free(x.http);
	}
	work_free(w);
	loop_free(x.loop);
	return reterr->code;
}
