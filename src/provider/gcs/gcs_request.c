/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "gcs.h"

/* One request with its token, and what an answer means. */
#define GCS_TRIES     6
#define GCS_PAUSE_MS  1000 /* as Google asks for; a name takes one change per second */
#define GCS_ERROR_MAX 65536

/* ---------------------------------------------------------------- addresses */

static void
gcs_to(const struct gcs *g, struct send_request *r, const char *method, const char *root, const char *below, const char *object)
{
	struct buf path;

	send_request_free(r);
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
gcs_to_object(const struct gcs *g, struct send_request *r, const char *method, const char *object)
{
	gcs_to(g, r, method, "storage/v1", "/o", object);
	r->object = xstrdup(object);
	r->changing = strcmp(method, "GET") != 0;
}

void
gcs_with_csek(const struct gcs *g, struct send_request *r)
{
	for (size_t i = 0; i < g->ncsek; i++)
		send_header(r, g->csek[i].name, "%s", g->csek[i].value);
}

/* uploadType=media: the bytes as they are; what it may replace stands in the query. */
void
gcs_to_upload(const struct gcs *g, struct send_request *r, const char *object, const char *type, struct body *body)
{
	gcs_to(g, r, "POST", "upload/storage/v1", "/o", NULL);
	send_query(r, "uploadType", "media");
	send_query(r, "name", object);
	send_query(r, "fields", "generation");
	send_header(r, "content-type", "%s", type);
	r->object = xstrdup(object);
	r->body = body_ref(body);
	r->changing = true;
}

/* No object changes by it: it may be sent again. The sum stands in what is said of the object, and is compared at the end. */
void
gcs_to_session(const struct gcs *g, struct send_request *r, const char *object, const char *type, struct body *body, uint32_t crc32c)
{
	char              *sum = gcs_sum_text(crc32c);
	struct json_writer w;
	struct buf         text;

	buf_init(&text, 0);
	json_begin(&w, &text);
	json_obj(&w);
	json_kv_str(&w, "contentType", type);
	json_kv_str(&w, "crc32c", strchr(sum, '=') + 1);
	json_obj_end(&w);
	gcs_to(g, r, "POST", "upload/storage/v1", "/o", NULL);
	send_query(r, "uploadType", "resumable");
	send_query(r, "name", object);
	send_query(r, "fields", "generation");
	send_header(r, "content-type", "application/json");
	send_header(r, "x-upload-content-type", "%s", type);
	send_header(r, "x-upload-content-length", "%llu", (unsigned long long)body_size(body));
	r->object = xstrdup(object);
	r->body = body_new(&text);
	free(sum);
}

void
gcs_to_objects(const struct gcs *g, struct send_request *r, const char *method)
{
	gcs_to(g, r, method, "storage/v1", "/o", NULL);
}

void
gcs_to_bucket(const struct gcs *g, struct send_request *r, const char *method)
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
	struct send_answer *a;
};

/* { "error": { "message": ..., "errors": [ { "reason": ... } ] } } */
static enum json_want
gcs_error_event(void *arg, const struct json_token *t)
{
	struct gcs_reading *r = arg;

	if (t->event == JSON_EV_KEY)
		span_text(r->key, sizeof(r->key), t->text);
	else if (t->event == JSON_EV_STRING && strcmp(r->key, "reason") == 0 && r->a->code[0] == '\0')
		span_text(r->a->code, sizeof(r->a->code), t->text);
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
gcs_read(const struct send_answer *a, json_event_fn *fn, struct gcs_reading *r)
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
gcs_member(const struct send_answer *a, const char *name, char *ret, size_t size)
{
	struct gcs_reading r = { .name = name, .ret = ret, .size = size };

	ret[0] = '\0';
	return gcs_read(a, gcs_member_event, &r) && r.found;
}

/* Reads of content are refused in one line of plain text: "No such object: BUCKET/NAME". What else comes is a page of somebody else. */
void
gcs_answer_parse(struct send_answer *a)
{
	struct gcs_reading r = { .a = a };
	const char        *type = http_header_get(&a->http, "content-type");
	struct span        text;

	a->code[0] = a->message[0] = '\0';
	if (a->http.status < 300 || gcs_read(a, gcs_error_event, &r) || a->http.body == NULL || !body_in_memory(a->http.body))
		return;
	text = body_span(a->http.body);
	if (type != NULL && strncmp(type, "text/plain", 10) == 0 && text.n < sizeof(a->message) && memchr(text.p, '<', text.n) == NULL)
		span_text(a->message, sizeof(a->message), text);
}

/* 404 of Cloud Storage; a page of somebody else's says nothing. */
bool
gcs_no_such_bucket(const struct send_answer *a)
{
	return a->http.status == 404 && (a->code[0] != '\0' || a->message[0] != '\0');
}

/* "The specified bucket does not exist.", "Bucket NAME does not exist.": where objects are asked for, the message alone tells which is missing. */
bool
gcs_no_such_object(const struct send_answer *a)
{
	return gcs_no_such_bucket(a) && strstr(a->message, "bucket does not exist") == NULL && strncmp(a->message, "Bucket ", 7) != 0;
}

/* ---------------------------------------------------------------- sending */

static struct op *
gcs_attempt(struct send *x, const struct send_request *r, struct send_answer *ret)
{
	struct gcs        *g = gcs_of(x->b);
	struct http_header own[GCS_CRED_HEADERS];
	size_t             n = gcs_cred_headers(g->cred, own);
	struct buf         url;
	struct op         *op;

	x->generation = gcs_cred_generation(g->cred);
	buf_init(&url, 0);
	buf_printf(&url, "%s%s%s%s", g->base, r->path, r->query != NULL ? "?" : "", r->query != NULL ? r->query : "");
	op = send_attempt(x, r, &(struct http_request){ .url = buf_str(&url), .headers = own, .nheaders = n }, ret);
	buf_wipe_free(&url);
	return op;
}

static struct op *
gcs_ready(struct send *x)
{
	return gcs_cred_ready(gcs_of(x->b)->cred, loop_wall(x->op.loop));
}

static bool
gcs_renew(struct send *x)
{
	return gcs_cred_reject(gcs_of(x->b)->cred, x->generation);
}

/* Refused for the load: nothing was done. Should a 503 that names a time have been carried out all the same, the condition of the second
 * try says so, and what is there is read. */
static bool
gcs_throttled(const struct send_answer *a)
{
	switch (a->http.status) {
	case 408:
	case 429:
		return true;
	case 503:
		return a->http.retry_after_ms > 0;
	case 403:
		return strstr(a->code, "ateLimitExceeded") != NULL; /* userRate..., rate... */
	default:
		return false;
	}
}

static enum send_verdict
gcs_judge(struct send *x)
{
	struct send_answer *a = x->ret;

	gcs_answer_parse(a);
	if (gcs_throttled(a))
		return SEND_LATER;
	if (a->http.status == 401)
		return SEND_RENEW;
	return a->http.status >= 500 ? SEND_DOWN : SEND_DONE;
}

static const struct send_driver gcs_driver = { .pause_ms = GCS_PAUSE_MS, .ready = gcs_ready, .attempt = gcs_attempt, .judge = gcs_judge,
	.renew = gcs_renew };

static const struct op_class gcs_send_class = { "gcs", SEND_OP_CLASS };

struct op *
gcs_send(struct gcs *g, struct send_request *r, struct send_answer *ret)
{
	struct send *x = xcalloc(1, sizeof(*x));

	*x = (struct send){ .driver = &gcs_driver, .b = &g->b, .where = xasprintf("bucket %s", g->conf->bucket), .most = GCS_TRIES };
	return send_init(x, &gcs_send_class, r, ret);
}

/* ---------------------------------------------------------------- refusals */

static const char *
gcs_permission(const struct send_request *r)
{
	if (r->object == NULL)
		return strcmp(r->method, "POST") == 0 ? "storage.buckets.create" : "storage.objects.list";
	if (strcmp(r->method, "POST") == 0)
		return "storage.objects.create and storage.objects.delete";
	return strcmp(r->method, "DELETE") == 0 ? "storage.objects.delete" :
	    "storage.objects.get, and list, without which an object that is absent is refused too,";
}

static enum err_code
gcs_refused_denied(const struct gcs *g, const struct send_request *r, const struct send_answer *a, const char *what, struct err *reterr)
{
	err_set(reterr, ERR_AUTH, a->http.status, "bucket %s: %s is not allowed (403%s%s)", g->conf->bucket, what,
	    SEND_CODE(a));
	if (strcmp(a->code, "retentionPolicyNotMet") == 0 || strcasestr(a->message, "retention") != NULL)
		return err_hint(reterr, "a retention policy or hold of the bucket forbids it: terraform could not release its lock there either");
	if (strcasestr(a->message, "encryption") != NULL || strstr(a->message, "KMS") != NULL)
		return err_hint(reterr, "check encryption_key or kms_encryption_key, and that the key is enabled");
	return err_hint(reterr, "the credentials from %s need %s on it, e.g. by the role Storage Object User", gcs_cred_source(g->cred),
	    gcs_permission(r));
}

enum err_code
gcs_refused(const struct gcs *g, const struct send_request *r, const struct send_answer *a, const char *what, struct err *reterr)
{
	const char *bucket = g->conf->bucket;
	int         status = a->http.status;

	switch (status) {
	case 401:
		err_set(reterr, ERR_AUTH, 401, "bucket %s: the credentials from %s are refused (401)", bucket, gcs_cred_source(g->cred));
		return err_hint(reterr, gcs_cred_is_fixed(g->cred) ? "the token is wrong or has expired: renew it" :
		    "a new token was refused too: check that it is one for this service, and storage_custom_endpoint");
	case 403:
		return gcs_refused_denied(g, r, a, what, reterr);
	case 404:
		if (!gcs_no_such_bucket(a))
			break;
		err_set(reterr, ERR_NOT_FOUND, 404, "bucket %s does not exist (404)", bucket);
		return provider_make_hint(&g->b, "check bucket and storage_custom_endpoint", reterr);
	case 407:
		err_set(reterr, ERR_AUTH, 407, "bucket %s: %s: the proxy on the way wants credentials (407)", bucket, what);
		return err_hint(reterr, PROVIDER_PROXY_HINT);
	case 400:
		err_set(reterr, ERR_UNSUPPORTED, 400, "bucket %s: %s: 400 %s%s%.80s", bucket, what, a->code,
		    a->message[0] != '\0' ? ": " : "", a->message);
		if (strcasestr(a->message, "encrypt") != NULL)
			return err_hint(reterr, "an object is read under the encryption_key that it was written with, or without one if it has none");
		return ERR_UNSUPPORTED;
	}
	if (a->code[0] != '\0')
		return err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: %d %s: %.80s", bucket, what, status, a->code, a->message);
	err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: the answer %d is none of Cloud Storage", bucket, what, status);
	return err_hint(reterr, GCS_OTHER_HINT);
}
