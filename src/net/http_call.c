/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/http_server_impl.h"

/* One request inside libmicrohttpd: its body, its handler, its answer. */

#define HTTP_PIECE_MAX ((size_t)32 << 10) /* of an answer, read at once */

/* --- into libmicrohttpd and out --- */

void
http_call_notify(void *cls, struct MHD_Connection *conn, void **socket_context,
    enum MHD_ConnectionNotificationCode what)
{
	struct http_server *s = cls;
	struct http_call   *c = *socket_context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		c = s->handed;
		assert(c != NULL);
		s->handed = NULL;
		c->conn = conn;
		*socket_context = c;
		return;
	}
	c->conn = NULL;
	http_call_ended(c);
}

void
http_call_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why)
{
	struct http_server *s = cls;
	struct http_call   *c =
	    MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

	(void)con_cls;
	(void)why;
	if (!c->accepted)
		return;
	c->accepted = false;
	s->conf.gone(s->conf.arg, c);
}

void
http_call_clear(struct http_call *c)
{
	for (size_t i = 0; i < c->nfields; i++) {
		free(c->fields[i].name);
		free(c->fields[i].value);
	}
	c->nfields = 0;
	if (c->response != NULL)
		MHD_destroy_response(c->response);
	c->response = NULL;
	body_unref(c->answer);
	c->answer = NULL;
	buf_wipe_free(&c->body);
}

static void
http_call_resume(struct http_call *c)
{
	c->suspended = false;
	MHD_resume_connection(c->conn);
	http_server_kick(c->server);
}

void
http_call_cut(struct http_call *c)
{
	c->cut = true;
	shutdown(c->fd, SHUT_RDWR); /* wakes libmicrohttpd, unless it does not look */
	if (c->suspended)
		http_call_resume(c);
}

/* --- the handler --- */

static enum MHD_Result
http_call_queue(struct http_call *c)
{
	enum MHD_Result ok = MHD_queue_response(c->conn, c->status, c->response);

	MHD_destroy_response(c->response); /* it holds one of its own */
	c->response = NULL;
	return ok;
}

static void
http_call_text(struct http_call *c, int status, const char *text)
{
	struct body *body = body_copy(span_str(text));

	http_reply(c, status, "text/plain", body);
	body_unref(body);
}

/* Nothing of the body was asked for yet: who waits for "100 Continue" never gets it. */
static enum MHD_Result
http_call_first(struct http_call *c, const char *method, const char *path)
{
	struct http_server *s = c->server;

	c->method = method;
	c->path = path;
	c->accepted = true;
	c->max = s->conf.accept(s->conf.arg, c);
	if (!c->replied && c->head.length > c->max)
		http_call_text(c, 413, "the body is too large\n");
	if (c->replied)
		return http_call_queue(c);
	/* 0 would be a default there: http_call_piece() asks max itself. */
	buf_init(&c->body, c->max < SIZE_MAX ? (size_t)c->max : SIZE_MAX);
	return MHD_YES;
}

/* A chunked body says only by coming how long it is; in its middle libmicrohttpd takes no answer. */
static enum MHD_Result
http_call_piece(struct http_call *c, const char *p, size_t n)
{
	if (n > c->max - c->body.len || buf_add(&c->body, p, n, NULL) != ERR_OK) {
		http_call_refuse(c, 413, "the body is too large");
		return MHD_NO;
	}
	http_call_moved(c, n);
	return MHD_YES;
}

/* The first time when the body is there, again after each resume. */
static enum MHD_Result
http_call_complete(struct http_call *c)
{
	struct http_server *s = c->server;

	if (!c->complete) {
		c->complete = true;
		http_call_enter(c, HTTP_RUN);
		s->conf.handle(s->conf.arg, c);
	}
	if (c->cut)
		return MHD_NO;
	if (c->replied)
		return http_call_queue(c);
	if (c->left)
		return MHD_NO;
	c->suspended = true;
	MHD_suspend_connection(c->conn);
	return MHD_YES;
}

enum MHD_Result
http_call_handler(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
    const char *upload, size_t *upload_n, void **con_cls)
{
	struct http_call *c =
	    MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	enum MHD_Result   ret;

	(void)cls;
	(void)version;
	(void)con_cls;
	c->in_handler = true;
	if (!c->accepted)
		ret = http_call_first(c, method, url);
	else if (*upload_n > 0)
		ret = http_call_piece(c, upload, *upload_n);
	else
		ret = http_call_complete(c);
	*upload_n = 0;
	c->in_handler = false;
	return ret;
}

/* --- the answer --- */

static ssize_t
http_call_read(void *cls, uint64_t pos, char *p, size_t max)
{
	struct http_call *c = cls;
	struct err        e;
	size_t            n;

	if (body_read(c->answer, pos, p, max, &n, &e) != ERR_OK) {
		log_at(LOG_ERROR, "http", "cannot answer: %s", e.msg);
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	if (n == 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	http_call_moved(c, n);
	return (ssize_t)n;
}

static struct MHD_Response *
http_call_response(struct http_call *c)
{
	uint64_t             size = c->answer != NULL ? body_size(c->answer) : 0;
	struct MHD_Response *r;

	if (size == 0)
		r = MHD_create_response_from_buffer(0, (void *)(uintptr_t)"", MHD_RESPMEM_PERSISTENT);
	else
		r = MHD_create_response_from_callback(size, size < HTTP_PIECE_MAX ? (size_t)size : HTTP_PIECE_MAX,
		    http_call_read, c, NULL);
	if (r == NULL)
		mem_exhausted(0);
	return r;
}

static void
http_call_add_field(struct MHD_Response *r, const char *name, const char *value)
{
	enum MHD_Result ok = MHD_add_response_header(r, name, value);

	assert(ok == MHD_YES);
	(void)ok;
}

/* Answers hold states: no cache keeps them, and no browser takes one for a page with rights of ours. */
static void
http_call_add_fields(struct http_call *c, const char *type)
{
	http_call_add_field(c->response, "Connection", "close");
	http_call_add_field(c->response, "Cache-Control", "no-store");
	http_call_add_field(c->response, "X-Content-Type-Options", "nosniff");
	http_call_add_field(c->response, "Content-Security-Policy", "default-src 'none'");
	if (type != NULL)
		http_call_add_field(c->response, "Content-Type", type);
	for (size_t i = 0; i < c->nfields; i++)
		http_call_add_field(c->response, c->fields[i].name, c->fields[i].value);
}

void
http_reply_field(struct http_call *c, const char *name, const char *value)
{
	assert(!c->replied && c->nfields < HTTP_REPLY_FIELDS_MAX);
	c->fields[c->nfields++] = (struct http_field){ xstrdup(name), xstrdup(value) };
}

void
http_reply(struct http_call *c, int status, const char *type, struct body *body)
{
	assert(!c->replied && status >= 200 && status < 600);
	assert(c->in_handler || c->suspended || c->cut);
	c->replied = true;
	if (c->cut)
		return;
	c->status = (unsigned)status;
	c->answer = body != NULL ? body_ref(body) : NULL;
	c->response = http_call_response(c);
	http_call_add_fields(c, type);
	http_call_enter(c, HTTP_ANSWER);
	if (c->suspended)
		http_call_resume(c);
}

/* --- looking --- */

const char *
http_call_method(const struct http_call *c)
{
	return c->method;
}

const char *
http_call_path(const struct http_call *c)
{
	return c->path;
}

const char *
http_call_query(const struct http_call *c, const char *name)
{
	const char *value = NULL;
	size_t      n = 0;

	if (MHD_lookup_connection_value_n(c->conn, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, &n) != MHD_YES)
		return NULL;
	return value != NULL ? value : "";
}

struct http_each {
	http_query_fn *fn;
	void          *arg;
};

static enum MHD_Result
http_call_each(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	const struct http_each *each = cls;

	(void)kind;
	each->fn(each->arg, name, value != NULL ? value : "");
	return MHD_YES;
}

void
http_call_query_each(const struct http_call *c, http_query_fn *fn, void *arg)
{
	struct http_each each = { fn, arg };

	MHD_get_connection_values(c->conn, MHD_GET_ARGUMENT_KIND, http_call_each, &each);
}

const char *
http_call_header(const struct http_call *c, const char *name)
{
	return MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, name);
}

struct span
http_call_body(const struct http_call *c)
{
	return buf_span(&c->body);
}

bool
http_call_local(const struct http_call *c, uid_t *ret_uid)
{
	if (c->is_local)
		*ret_uid = c->uid;
	return c->is_local;
}

void
http_call_set(struct http_call *c, void *data)
{
	c->data = data;
}

void *
http_call_get(const struct http_call *c)
{
	return c->data;
}
