/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "remote.h"

/* One request with its token, at the rate that the server allows, and what an answer means. */
#define REMOTE_TRIES       8
#define REMOTE_PAUSE_MS    700
#define REMOTE_RATE_SHARE  0.66  /* of the limit, which all tokens of a user share */
#define REMOTE_BURST_MS    500   /* so much of it at once: a third of a second's */
#define REMOTE_RESET_MS    100   /* the shortest pause after a refusal for the load */
#define REMOTE_ANSWER_MAX  ((uint64_t)1 << 20)

struct remote_sending {
	struct send send;
	bool        signs; /* the last attempt had our token */
};

/* ---------------------------------------------------------------- requests */

void
remote_to(struct remote_ask *a, const char *method, const char *path_fmt, ...)
{
	char   *path = NULL;
	va_list ap;

	send_request_free(&a->req);
	va_start(ap, path_fmt);
	if (vasprintf(&path, path_fmt, ap) < 0)
		mem_exhausted(0);
	va_end(ap);
	a->req = (struct send_request){ .method = method, .path = path, .changing = strcmp(method, "GET") != 0,
		.max_body = REMOTE_ANSWER_MAX };
}

void
remote_body(struct remote_ask *a, struct buf *json)
{
	a->req.body = body_new(json);
	send_header(&a->req, "Content-Type", "application/vnd.api+json");
}

char *
remote_escaped(const char *text)
{
	struct buf out;

	buf_init(&out, 0);
	url_escape(URL_SEGMENT, span_str(text), &out);
	return buf_take(&out);
}

static bool
remote_is_whole(const struct send_request *r)
{
	return strncmp(r->path, "http", 4) == 0 && strstr(r->path, "://") != NULL;
}

/* Only the API itself gets the token: scheme, host and port as they are there. An upload's address says all that it needs. */
static bool
remote_signs(const struct remote_access *a, const struct send_request *r)
{
	struct url base, to;
	bool       same = false;

	if (!remote_is_whole(r))
		return true;
	if (strcmp(r->method, "GET") != 0 || url_parse(a->base, &base, NULL) != ERR_OK)
		return false;
	if (url_parse(r->path, &to, NULL) == ERR_OK) {
		same = url_same_origin(&base, &to);
		url_free(&to);
	}
	url_free(&base);
	return same;
}

static struct op *
remote_attempt(struct send *x, const struct send_request *r, struct send_answer *ret)
{
	struct remote_sending      *s = container_of(x, struct remote_sending, send);
	struct remote              *rem = remote_of(x->b);
	const struct remote_access *a = token_value(rem->access);
	struct http_header          own[2] = { { "Accept", xstrdup(remote_is_whole(r) ? "*/*" : "application/vnd.api+json") } };
	size_t                      n = 1;
	struct buf                  url;
	struct op                  *op;

	x->generation = token_generation(rem->access);
	s->signs = remote_signs(a, r);
	if (s->signs)
		own[n++] = (struct http_header){ "Authorization", xasprintf("Bearer %s", secret_str(a->token)) };
	buf_init(&url, 0);
	buf_printf(&url, "%s%s%s%s", remote_is_whole(r) ? "" : a->base, r->path, r->query != NULL ? "?" : "", r->query != NULL ? r->query : "");
	op = send_attempt(x, r, &(struct http_request){ .url = buf_str(&url), .headers = own, .nheaders = n, .tls = &rem->tls }, ret);
	buf_wipe_free(&url);
	return op;
}

/* The server's own limit of requests per second, kept from its answers. */
static int64_t
remote_wait(struct remote *r)
{
	int64_t now = loop_now(r->env->loop), at = r->slot_at > now ? r->slot_at : now;

	r->slot_at = at + r->slot_ms;
	return at - REMOTE_BURST_MS - now;
}

static struct op *
remote_ready(struct send *x)
{
	struct remote *r = remote_of(x->b);
	int64_t        wait = remote_is_whole(x->r) ? 0 : remote_wait(r);

	if (wait > 0 && token_value(r->access) != NULL)
		return op_sleep(x->op.loop, wait);
	return token_ready(r->access, loop_wall(x->op.loop));
}

static bool
remote_renew(struct send *x)
{
	if (!container_of(x, struct remote_sending, send)->signs)
		return false;
	token_reject(remote_of(x->b)->access, x->generation);
	return true;
}

/* ---------------------------------------------------------------- answers */

static void
remote_limit(struct remote *r, struct http_response *h)
{
	const char *limit = http_header_get(h, "x-ratelimit-limit"), *reset = http_header_get(h, "x-ratelimit-reset");
	double      n = limit != NULL ? strtod(limit, NULL) : 0, wait = reset != NULL ? strtod(reset, NULL) * 1000 : 0;

	if (n >= 1)
		r->slot_ms = (int64_t)(1000 / (REMOTE_RATE_SHARE * n));
	if (h->status == 429 && wait >= 0 && wait < 86400e3 && wait > h->retry_after_ms)
		h->retry_after_ms = (uint32_t)wait;
	if (h->status == 429 && h->retry_after_ms < REMOTE_RESET_MS)
		h->retry_after_ms = REMOTE_RESET_MS;
}

/* Every answer of the API says whose it is, so that no request is needed to ask. */
static void
remote_introduced(struct remote *r, const struct http_response *h)
{
	const char *app = http_header_get(h, "tfp-appname"), *version = http_header_get(h, "x-tfe-version"),
	           *api = http_header_get(h, "tfp-api-version");
	struct buf  text;

	if (r->server[0] != '\0' || (app == NULL && version == NULL && api == NULL))
		return;
	buf_init(&text, 0);
	buf_printf(&text, "%.40s%s%.30s", app != NULL ? app : "a server", version != NULL ? " " : "", version != NULL ? version : "");
	if (api != NULL)
		buf_printf(&text, ", API %.20s", api);
	span_text(r->server, sizeof(r->server), buf_span(&text));
	buf_free(&text);
}

/* What an error says of itself. */
static void
remote_answer_parse(struct send_answer *a)
{
	struct remote_doc *d;
	struct span        text;

	a->code[0] = a->message[0] = '\0';
	if (a->http.status < 400 || a->http.body == NULL || !body_in_memory(a->http.body))
		return;
	d = xcalloc(1, sizeof(*d));
	text = body_span(a->http.body);
	remote_doc_begin(d);
	if (remote_doc_feed(d, text.p, text.n, NULL) == ERR_OK && remote_doc_end(d)) {
		memcpy(a->code, d->title, sizeof(a->code));
		memcpy(a->message, d->detail, sizeof(a->message));
	}
	remote_doc_free(d);
	free(d);
}

bool
remote_says(const struct send_answer *a, const char *text)
{
	return strcasestr(a->message, text) != NULL || strcasestr(a->code, text) != NULL;
}

/* An answer of 5xx that says which of its rules the request broke is a refusal: so some servers tell of a conflict, and of a lock that
 * cannot go while a version is on its way. */
static bool
remote_is_told(const struct send_answer *a)
{
	static const char *const texts[] = { "still pending", "serial", "lineage", "MD5 hash", "param is missing" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (remote_says(a, texts[i]))
			return true;
	return false;
}

static enum send_verdict
remote_judge(struct send *x)
{
	struct send_answer *a = x->ret;

	remote_limit(remote_of(x->b), &a->http);
	remote_introduced(remote_of(x->b), &a->http);
	remote_answer_parse(a);
	if (a->http.status == 429)
		return SEND_LATER;
	if (a->http.status == 401)
		return SEND_RENEW;
	return a->http.status >= 500 && !remote_is_told(a) ? SEND_DOWN : SEND_DONE;
}

static const struct send_driver remote_driver = { .pause_ms = REMOTE_PAUSE_MS, .ready = remote_ready, .attempt = remote_attempt,
	.judge = remote_judge, .renew = remote_renew };

static const struct op_class remote_send_class = { "remote", SEND_OP_CLASS };

struct op *
remote_send(struct remote *r, struct send_request *req, struct send_answer *ans)
{
	struct remote_sending *s = xcalloc(1, sizeof(*s));

	s->send = (struct send){ .driver = &remote_driver, .b = &r->b, .where = xstrdup(r->b.where), .most = REMOTE_TRIES };
	return send_init(&s->send, &remote_send_class, req, ans);
}

/* ---------------------------------------------------------------- refusals */

static enum err_code
remote_refused_other(const struct remote *r, const struct send_answer *a, const char *about, struct err *reterr)
{
	int status = a->http.status;

	if (status == 407) {
		err_set(reterr, ERR_AUTH, 407, "%s: %s: the proxy on the way wants credentials (407)", r->b.where, about);
		return err_hint(reterr, PROVIDER_PROXY_HINT);
	}
	if (a->message[0] != '\0')
		return err_set(reterr, ERR_UNSUPPORTED, status, "%s: %s: %d: %.100s", r->b.where, about, status, a->message);
	err_set(reterr, ERR_UNSUPPORTED, status, "%s: %s: the answer %d is none of this API", r->b.where, about, status);
	return err_hint(reterr, REMOTE_OTHER_HINT);
}

enum err_code
remote_refused(const struct remote *r, const struct remote_ask *a, struct err *reterr)
{
	int   status = a->ans.http.status;
	char *about = xasprintf("%s%s%.90s", a->what, a->name[0] != '\0' ? " " : "", a->name);

	switch (status) {
	case 401:
		err_set(reterr, ERR_AUTH, 401, "%s: the token is refused (401): %s", r->b.where, remote_token_source(r));
		remote_token_hint(r, remote_token_source(r), reterr);
		break;
	case 403:
	case 404: /* what may not be seen is not there, too */
		err_set(reterr, ERR_AUTH, status, "%s: %s: it is not there, or not permitted (%d)", r->b.where, about, status);
		err_hint(reterr, "check organization and names; the token (%s) has to be allowed to %s", remote_token_source(r), a->needs);
		break;
	default:
		remote_refused_other(r, &a->ans, about, reterr);
	}
	free(about);
	return reterr->code;
}

/* ---------------------------------------------------------------- a question, and its document */

struct remote_asking {
	struct op          op;
	struct remote     *r;
	struct remote_ask *a;
};

enum remote_asking_state { ASK_START, ASK_ANSWERED };

static const char *const remote_asking_states[] = { "start", "answered" };

static void
remote_ask_restart(void *arg)
{
	remote_doc_begin(&((struct remote_ask *)arg)->doc);
}

static enum err_code
remote_ask_piece(void *arg, const void *p, size_t n, struct err *reterr)
{
	return remote_doc_feed(&((struct remote_ask *)arg)->doc, p, n, reterr);
}

/* The body of a 200 has passed by, that of a 201 is kept. */
static bool
remote_ask_is_whole(struct remote_ask *a)
{
	struct body *b = a->ans.http.body;

	if (b != NULL && (!body_in_memory(b) || remote_doc_feed(&a->doc, body_span(b).p, body_span(b).n, NULL) != ERR_OK))
		return false;
	return remote_doc_end(&a->doc);
}

static enum op_turn
remote_asking_step(struct op *op)
{
	struct remote_asking *x = container_of(op, struct remote_asking, op);
	struct remote_ask    *a = x->a;
	int                   status = a->ans.http.status;

	switch ((enum remote_asking_state)op->state) {
	case ASK_START:
		a->req.on_body = remote_ask_piece;
		a->req.restart = remote_ask_restart;
		a->req.arg = a;
		return op_await(op, ASK_ANSWERED, remote_send(x->r, &a->req, &a->ans));
	case ASK_ANSWERED: /* a page of a proxy in the answer's place: what was asked for may be done */
		if (op_failed(op) && a->req.changing && a->ans.http.sent && (op->res.code == ERR_UNSUPPORTED || op->res.code == ERR_CORRUPT))
			op->res.code = ERR_UNCERTAIN;
		if (op_failed(op))
			return op_fail(op);
		if (status == 200 || status == 201) {
			if (remote_ask_is_whole(a))
				return op_ok(op);
			err_set(&op->res, a->req.changing ? ERR_UNCERTAIN : ERR_UNSUPPORTED, status, "%s: %s%s%.90s: the answer is none of this API",
			    x->r->b.where, a->what, a->name[0] != '\0' ? " " : "", a->name);
			err_hint(&op->res, REMOTE_OTHER_HINT);
			return op_fail(op);
		}
		if (a->refused || status == 404 || status == 204)
			return op_ok(op);
		remote_refused(x->r, a, &op->res);
		return op_fail(op);
	}
	return OP_DONE;
}

static void
remote_asking_free(struct op *op)
{
	free(container_of(op, struct remote_asking, op));
}

static const struct op_class remote_asking_class = { "remote question", remote_asking_step, NULL, remote_asking_free,
	remote_asking_states, ARRAY_LEN(remote_asking_states) };

struct op *
remote_ask(struct remote *r, struct remote_ask *a)
{
	struct remote_asking *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &remote_asking_class, r->env->loop);
	x->r = r;
	x->a = a;
	return &x->op;
}

void
remote_ask_free(struct remote_ask *a)
{
	send_request_free(&a->req);
	send_answer_free(&a->ans);
	remote_doc_free(&a->doc);
}
