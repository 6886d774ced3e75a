/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "gcs.h"

/* One request with its token, and what an answer means. */
#define GCS_TRIES        6
#define GCS_BACKOFF_MS   250
#define GCS_ERROR_MAX    65536
#define GCS_BYTES_PER_MS 1000  /* what a transfer has to reach beside the timeout of a request */

void
gcs_request_free(struct gcs_request *r)
{
	for (size_t i = 0; i < r->nheaders; i++)
		free(r->headers[i].value);
	body_unref(r->body);
	free(r->path);
	free(r->query);
	memset(r, 0, sizeof(*r));
}

void
gcs_answer_free(struct gcs_answer *a)
{
	http_response_free(&a->http);
	a->reason[0] = a->message[0] = '\0';
}

void
gcs_request_header(struct gcs_request *r, const char *name, const char *fmt, ...)
{
	va_list ap;
	char   *text;

	if (r->nheaders == GCS_HEADERS)
		abort();
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	r->headers[r->nheaders++] = (struct http_header){ name, text };
}

/* ---------------------------------------------------------------- addresses */

static void
gcs_to(const struct gcs *g, struct gcs_request *r, const char *method, const char *root, const char *below, const char *object)
{
	struct buf path;

	gcs_request_free(r);
	buf_init(&path, 0);
	buf_printf(&path, "%s/b/", root);
	url_escape(URL_SEGMENT, span_str(g->conf->bucket), &path);
	buf_puts(&path, below);
	if (object != NULL) {
		buf_putc(&path, '/');
		url_escape(URL_SEGMENT, span_str(object), &path);
	}
	r->method = method;
	r->path = buf_take(&path);
}

void
gcs_query(struct gcs_request *r, const char *name, const char *value)
{
	struct buf query;

	buf_init(&query, 0);
	if (r->query != NULL)
		buf_puts(&query, r->query);
	url_query_add(&query, name, value);
	free(r->query);
	r->query = buf_take(&query);
}

void
gcs_to_object(const struct gcs *g, struct gcs_request *r, const char *method, const char *object)
{
	gcs_to(g, r, method, "storage/v1", "/o", object);
	r->object = object;
	r->changing = strcmp(method, "GET") != 0;
}

/* uploadType=media: the bytes as they are; what it may replace stands in the query. */
void
gcs_to_upload(const struct gcs *g, struct gcs_request *r, const char *object, const char *type, struct body *body)
{
	gcs_to(g, r, "POST", "upload/storage/v1", "/o", NULL);
	gcs_query(r, "uploadType", "media");
	gcs_query(r, "name", object);
	gcs_query(r, "fields", "generation");
	gcs_request_header(r, "content-type", "%s", type);
	r->object = object;
	r->body = body_ref(body);
	r->changing = true;
}

void
gcs_to_objects(const struct gcs *g, struct gcs_request *r, const char *method)
{
	gcs_to(g, r, method, "storage/v1", "/o", NULL);
}

void
gcs_to_bucket(const struct gcs *g, struct gcs_request *r, const char *method)
{
	gcs_to(g, r, method, "storage/v1", "", NULL);
}

/* ---------------------------------------------------------------- bodies */

struct gcs_reading {
	const char *name;    /* of the member that is wanted, at depth 1; NULL: reason and message of an error */
	char        key[32];
	char       *ret;
	size_t      size;
	bool        found;
	struct gcs_answer *a;
};

/* { "error": { "message": ..., "errors": [ { "reason": ... } ] } } */
static enum json_want
gcs_error_event(void *arg, const struct json_token *t)
{
	struct gcs_reading *r = arg;

	if (t->event == JSON_EV_KEY)
		span_text(r->key, sizeof(r->key), t->text);
	else if (t->event == JSON_EV_STRING && strcmp(r->key, "reason") == 0 && r->a->reason[0] == '\0')
		span_text(r->a->reason, sizeof(r->a->reason), t->text);
	else if (t->event == JSON_EV_STRING && strcmp(r->key, "message") == 0 && r->a->message[0] == '\0')
		span_text(r->a->message, sizeof(r->a->message), t->text);
	return JSON_WANT;
}

static enum json_want
gcs_member_event(void *arg, const struct json_token *t)
{
	struct gcs_reading *r = arg;

	if (t->event == JSON_EV_KEY && t->depth == 1)
		span_text(r->key, sizeof(r->key), t->text);
	else if (t->depth == 1 && (t->event == JSON_EV_STRING || t->event == JSON_EV_NUMBER) && strcmp(r->key, r->name) == 0 && !t->cut) {
		span_text(r->ret, r->size, t->text);
		r->found = t->text.n < r->size;
	} else if (t->depth >= 1 && (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY))
		return JSON_SKIP_TEXT;
	return JSON_WANT;
}

static bool
gcs_read(const struct gcs_answer *a, json_event_fn *fn, struct gcs_reading *r)
{
	struct json_reader *json;
	struct span         text;
	bool                whole;

	if (a->http.body == NULL || !body_in_memory(a->http.body))
		return false;
	text = body_span(a->http.body);
	json = json_reader_new(fn, r);
	whole = json_feed(json, text.p, text.n < GCS_ERROR_MAX ? text.n : GCS_ERROR_MAX, NULL) == ERR_OK && json_end(json, NULL) == ERR_OK;
	json_reader_free(json);
	return whole;
}

bool
gcs_member(const struct gcs_answer *a, const char *name, char *ret, size_t size)
{
	struct gcs_reading r = { .name = name, .ret = ret, .size = size };

	ret[0] = '\0';
	return gcs_read(a, gcs_member_event, &r) && r.found;
}

/* Reads of content are refused in one line of plain text: "No such object: BUCKET/NAME". What else comes is a page of somebody else. */
static void
gcs_answer_parse(struct gcs_answer *a)
{
	struct gcs_reading r = { .a = a };
	const char        *type = http_header_get(&a->http, "content-type");
	struct span        text;

	a->reason[0] = a->message[0] = '\0';
	if (a->http.status < 300 || gcs_read(a, gcs_error_event, &r) || a->http.body == NULL || !body_in_memory(a->http.body))
		return;
	text = body_span(a->http.body);
	if (type != NULL && strncmp(type, "text/plain", 10) == 0 && text.n < sizeof(a->message) && memchr(text.p, '<', text.n) == NULL)
		span_text(a->message, sizeof(a->message), text);
}

/* An absent bucket is told by the message. */
bool
gcs_no_such_object(const struct gcs_answer *a)
{
	return a->http.status == 404 && (a->reason[0] != '\0' || a->message[0] != '\0') && strstr(a->message, "bucket does not exist") == NULL;
}

/* ---------------------------------------------------------------- sending */

struct gcs_send {
	struct op           op;
	struct gcs         *g;
	struct gcs_request *r;
	struct gcs_answer  *ret;
	struct timer        stall;       /* no piece of a body for too long */
	bool                stalled;
	unsigned            tries;
	int64_t             begun;
};

enum gcs_send_state { SEND_START, SEND_ANSWERED };

static const char *const gcs_send_states[] = { "start", "answered" };

static void
gcs_send_free(struct op *op)
{
	struct gcs_send *x = container_of(op, struct gcs_send, op);

	timer_stop(&x->stall);
	free(x);
}

static void
gcs_stalled(void *arg)
{
	struct gcs_send *x = arg;

	x->stalled = true;
	op_cancel(x->op.child);
}

/* In front of the caller's own: every piece is a sign of life. */
static enum err_code
gcs_piece(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct gcs_send *x = arg;

	timer_set(&x->stall, x->g->b.common.timeout_ms);
	return x->r->on_body(x->r->arg, p, n, reterr);
}

static int64_t
gcs_timeout_ms(const struct gcs *g, const struct gcs_request *r)
{
	uint64_t most = r->body != NULL ? body_size(r->body) : 0;

	if (r->on_body != NULL && r->max_body > most)
		most = r->max_body;
	return g->b.common.timeout_ms + (int64_t)(most / GCS_BYTES_PER_MS);
}

/* One time on the wire. */
static struct op *
gcs_attempt(struct gcs_send *x)
{
	struct gcs               *g = x->g;
	const struct gcs_request *r = x->r;
	struct http_header        headers[GCS_HEADERS + 6];
	size_t                    n = r->nheaders;
	char                     *url = xasprintf("%s%s%s%s", g->base, r->path, r->query != NULL ? "?" : "", r->query != NULL ? r->query : "");
	struct buf                auth;
	struct op                *op;
	struct http_request       h = { .method = r->method, .url = url, .headers = headers, .body = r->body, .changing = r->changing,
		.max_body = r->max_body, .max_body_name = r->max_body_name, .keep = r->keep, .spool = r->spool,
		.timeout_ms = gcs_timeout_ms(g, r) };

	memcpy(headers, r->headers, n * sizeof(*headers));
	for (size_t i = 0; r->csek && i < g->ncsek; i++)
		headers[n++] = g->csek[i];
	buf_init(&auth, 0);
	gcs_cred_bearer(g->conf, &auth);
	headers[n++] = (struct http_header){ "authorization", (char *)auth.data };
	h.nheaders = n;
	if (r->on_body != NULL) {
		h.on_body = gcs_piece;
		h.on_body_arg = x;
		timer_set(&x->stall, g->b.common.timeout_ms);
	}
	if (r->restart != NULL)
		r->restart(r->arg);
	gcs_answer_free(x->ret);
	op = http_request(g->env->http, &h, &x->ret->http);
	provider_sent(&g->b);
	buf_wipe_free(&auth);
	free(url);
	return op;
}

/* ---------------------------------------------------------------- and what is done about the answer */

/* Refused for the load: nothing was done. Should a 503 that names a time have been carried out all the same, the condition of the second
 * try says so, and what is there is read. */
static bool
gcs_throttled(const struct gcs_answer *a)
{
	switch (a->http.status) {
	case 408:
	case 429:
		return true;
	case 503:
		return a->http.retry_after_ms > 0;
	case 403:
		return strstr(a->reason, "ateLimitExceeded") != NULL; /* userRate..., rate... */
	default:
		return false;
	}
}

/* Can it be sent again after wait, within the time one request has? A change only when it was refused for certain. */
static bool
gcs_may_repeat(struct gcs_send *x, int64_t *ret_wait)
{
	bool    answered = x->op.res.code == ERR_OK;
	bool    harmless = !x->r->changing || (answered && gcs_throttled(x->ret));
	int64_t left = x->begun + x->g->b.common.timeout_ms - loop_now(x->op.loop);
	int64_t asked = answered ? x->ret->http.retry_after_ms : 0;

	*ret_wait = provider_backoff_ms(&x->g->b, x->tries > 0 ? x->tries - 1 : 0, GCS_BACKOFF_MS);
	if (asked > *ret_wait)
		*ret_wait = asked;
	return harmless && !op_stopped(&x->op) && x->tries < GCS_TRIES && *ret_wait <= left;
}

static enum op_turn
gcs_send_busy(struct gcs_send *x)
{
	const struct gcs_answer *a = x->ret;
	bool                     unsure = x->r->changing && !gcs_throttled(a);

	err_set(&x->op.res, unsure ? ERR_UNCERTAIN : ERR_BUSY, a->http.status, "bucket %s: the server answers %d%s%s%s",
	    x->g->conf->bucket, a->http.status, a->reason[0] != '\0' ? " " : "", a->reason,
	    unsure ? "; the write may have been carried out" : "");
	x->op.res.retry_after_ms = a->http.retry_after_ms;
	return op_fail(&x->op);
}

static enum op_turn
gcs_send_judge(struct gcs_send *x)
{
	struct op               *op = &x->op;
	const struct gcs_answer *a = x->ret;
	bool                     failing = !op_failed(op) && (gcs_throttled(a) || a->http.status >= 500);
	int64_t                  wait;

	if (failing || op->res.code == ERR_NETWORK || op->res.code == ERR_TIMEOUT) {
		if (gcs_may_repeat(x, &wait))
			return op_await(op, SEND_START, op_sleep(op->loop, wait));
		if (failing)
			return gcs_send_busy(x);
	}
	if (op_failed(op) && op->res.code != ERR_CANCELLED)
		err_prefix(&op->res, "bucket %s", x->g->conf->bucket);
	return op_finish(op);
}

static enum op_turn
gcs_send_step(struct op *op)
{
	struct gcs_send *x = container_of(op, struct gcs_send, op);

	switch ((enum gcs_send_state)op->state) {
	case SEND_START:
		if (op_failed(op)) /* cancelled in a pause between two tries */
			return op_fail(op);
		if (x->tries == 0)
			x->begun = loop_now(op->loop);
		x->tries++;
		x->stalled = false;
		return op_await(op, SEND_ANSWERED, gcs_attempt(x));
	case SEND_ANSWERED:
		timer_stop(&x->stall);
		if (x->stalled && op->res.code == ERR_CANCELLED && !op->cancelled)
			err_set(&op->res, ERR_TIMEOUT, 0, "no more of the answer within %lld ms", (long long)x->g->b.common.timeout_ms);
		if (op_failed(op))
			return gcs_send_judge(x);
		gcs_answer_parse(x->ret);
		return gcs_send_judge(x);
	}
	return OP_DONE;
}

static const struct op_class gcs_send_class = { "gcs", gcs_send_step, NULL, gcs_send_free, gcs_send_states, ARRAY_LEN(gcs_send_states) };

struct op *
gcs_send(struct gcs *g, struct gcs_request *r, struct gcs_answer *ret)
{
	struct gcs_send *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &gcs_send_class, g->env->loop);
	timer_init(&x->stall, g->env->loop, gcs_stalled, x);
	x->g = g;
	x->r = r;
	x->ret = ret;
	return &x->op;
}

/* ---------------------------------------------------------------- refusals */

static const char *
gcs_permission(const struct gcs_request *r)
{
	if (r->object == NULL)
		return strcmp(r->method, "POST") == 0 ? "storage.buckets.create" : "storage.objects.list";
	if (strcmp(r->method, "POST") == 0)
		return "storage.objects.create and storage.objects.delete";
	return strcmp(r->method, "DELETE") == 0 ? "storage.objects.delete" : "storage.objects.get";
}

static enum err_code
gcs_refused_denied(const struct gcs *g, const struct gcs_request *r, const struct gcs_answer *a, const char *what, struct err *reterr)
{
	err_set(reterr, ERR_AUTH, a->http.status, "bucket %s: %s is not allowed (403%s%s)", g->conf->bucket, what,
	    a->reason[0] != '\0' ? " " : "", a->reason);
	if (strcmp(a->reason, "retentionPolicyNotMet") == 0 || strcasestr(a->message, "retention") != NULL)
		return err_hint(reterr, "a retention policy or hold of the bucket forbids it: terraform could not release its lock there either");
	if (strcasestr(a->message, "encryption") != NULL || strstr(a->message, "KMS") != NULL)
		return err_hint(reterr, "check encryption_key or kms_encryption_key, and that the key is enabled");
	return err_hint(reterr, "the credentials from %s need %s on it, e.g. by the role Storage Object User", gcs_cred_source(g->conf),
	    gcs_permission(r));
}

enum err_code
gcs_refused(const struct gcs *g, const struct gcs_request *r, const struct gcs_answer *a, const char *what, struct err *reterr)
{
	const char *bucket = g->conf->bucket;
	int         status = a->http.status;

	switch (status) {
	case 401:
		err_set(reterr, ERR_AUTH, 401, "bucket %s: the credentials from %s are refused (401)", bucket, gcs_cred_source(g->conf));
		return err_hint(reterr, "the token is wrong or has expired: renew it, and check the clock here");
	case 403:
		return gcs_refused_denied(g, r, a, what, reterr);
	case 404:
		err_set(reterr, ERR_NOT_FOUND, 404, "bucket %s does not exist (404)", bucket);
		return err_hint(reterr, "check bucket and storage_custom_endpoint; create = true makes a missing bucket of a target");
	case 407:
		err_set(reterr, ERR_AUTH, 407, "bucket %s: %s: the proxy on the way wants credentials (407)", bucket, what);
		return err_hint(reterr, PROVIDER_PROXY_HINT);
	case 400:
		err_set(reterr, ERR_UNSUPPORTED, 400, "bucket %s: %s: 400 %s%s%.80s", bucket, what, a->reason,
		    a->message[0] != '\0' ? ": " : "", a->message);
		if (strcasestr(a->message, "encrypt") != NULL)
			return err_hint(reterr, "an object is read under the encryption_key that it was written with, or without one if it has none");
		return ERR_UNSUPPORTED;
	default:
		if (a->reason[0] != '\0')
			return err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: %d %s: %.80s", bucket, what, status, a->reason, a->message);
		err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: the answer %d is none of Cloud Storage", bucket, what, status);
		return err_hint(reterr, GCS_OTHER_HINT);
	}
}
