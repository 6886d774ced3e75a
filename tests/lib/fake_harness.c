/* SPDX-License-Identifier: MIT */
#include "fake_harness.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/encode.h"
#include "provider/lock_info.h"
#include "test.h"

#define ROOT "/gateway/iacm/api/orgs/acme/projects/net/workspaces"

static void
fake_error(struct scripted_answer *a, int status, const char *name, const char *message)
{
	char *text = xasprintf("{\"name\":\"%s\",\"id\":\"" FAKE_HARNESS_INCIDENT "\",\"message\":\"%s\",\"temporary\":false,"
	    "\"timeout\":false,\"fault\":false}", name, message);

	a->status = status;
	scripted_add_header(a, "Content-Type", "application/vnd.goa.error");
	scripted_set_body(a, span_str(text));
	free(text);
}

static void
fake_wrong(struct fake_harness *v, const struct scripted_request *rq, struct scripted_answer *a, const char *what)
{
	test_fail(__FILE__, __LINE__, "%s %s: %s", rq->method, rq->at.path, what);
	v->wrong++;
	fake_error(a, 400, "bad_request", what);
}

static bool
fake_query_is(const struct scripted_request *rq, const char *name, const char *want)
{
	char *got = scripted_query(rq, name);
	bool  is = got != NULL && strcmp(got, want) == 0;

	free(got);
	return is;
}

static bool
fake_may(const struct scripted_request *rq, struct scripted_answer *a)
{
	const char *key = scripted_header(rq, "x-api-key"), *basic = scripted_header(rq, "Authorization");
	struct buf  want;
	bool        ok;

	buf_init(&want, 0);
	buf_puts(&want, "Basic ");
	base64_encode(span_str("harness:" FAKE_HARNESS_KEY), &want);
	ok = key != NULL ? strcmp(key, FAKE_HARNESS_KEY) == 0 : basic != NULL && strcmp(basic, buf_str(&want)) == 0;
	buf_free(&want);
	if (!ok)
		fake_error(a, 401, "unauthorized", "invalid token");
	else if (!fake_query_is(rq, "accountIdentifier", FAKE_HARNESS_ACCOUNT))
		fake_error(a, 403, "forbidden", "account identifier mismatch");
	return a->status == 0;
}

/* ---------------------------------------------------------------- the API */

static void
fake_describe(const struct fake_workspace *w, bool whole, struct buf *out)
{
	struct digest d;
	char          hex[DIGEST_HEX];

	buf_printf(out, "{\"identifier\":\"%s\",\"name\":\"The %s\",\"tags\":{\"identifier\":\"x\"},\"status\":\"%s\",\"created\":1,\"updated\":%lld",
	    w->name, w->name, w->status, (long long)w->updated);
	if (whole && w->body != NULL) {
		sha256_of(body_span(w->body).p, body_span(w->body).n, &d);
		buf_printf(out, ",\"state_checksum\":\"%s\"", w->odd_sum ? "0badc0de" : digest_hex(&d, hex));
	}
	if (whole)
		buf_printf(out, ",\"backend_locked\":%s,\"prune_sensitive_data\":%s,\"terraform_variables\":{\"a\":{\"status\":\"planning\"}}",
		    w->lock[0] != '\0' ? "true" : "false", w->prunes ? "true" : "false");
	buf_puts(out, "}");
}

static int
fake_newer(const void *a, const void *b)
{
	const struct fake_workspace *const *x = a, *const *y = b;

	return (*x)->updated < (*y)->updated ? 1 : (*x)->updated > (*y)->updated ? -1 : strcmp((*x)->name, (*y)->name);
}

static void
fake_list(struct fake_harness *v, const struct scripted_request *rq, struct scripted_answer *a)
{
	struct fake_workspace *by[ARRAY_LEN(v->w)];
	char                  *page = scripted_query(rq, "page");
	unsigned               n = page != NULL ? (unsigned)strtoul(page, NULL, 10) : 0;
	struct buf             out;

	free(page);
	if (n == 0 || !fake_query_is(rq, "limit", "1000") || !fake_query_is(rq, "sort", "updated,DESC")) {
		fake_wrong(v, rq, a, "no page, limit or sort");
		return;
	}
	for (size_t i = 0; i < v->n; i++)
		by[i] = &v->w[i];
	qsort(by, v->n, sizeof(by[0]), fake_newer);
	buf_init(&out, 0);
	buf_puts(&out, "[");
	for (size_t i = (n - 1) * v->page; i < v->n && i < n * v->page; i++) {
		buf_puts(&out, i > (n - 1) * v->page ? "," : "");
		fake_describe(by[i], false, &out);
	}
	buf_puts(&out, "]");
	a->status = 200;
	scripted_add_header(a, "X-Total-Pages", "%zu", (v->n + v->page - 1) / v->page);
	scripted_set_body(a, buf_span(&out));
	buf_free(&out);
	v->lists++;
	if (v->between != NULL)
		v->between(v);
	v->between = NULL;
}

static void
fake_api(struct fake_harness *v, const struct scripted_request *rq, struct fake_workspace *w, const char *tail, struct scripted_answer *a)
{
	const char *account = scripted_header(rq, "Harness-Account");
	struct buf  out;

	if (account == NULL || strcmp(account, FAKE_HARNESS_ACCOUNT) != 0) {
		fake_wrong(v, rq, a, "no Harness-Account");
	} else if (strcmp(tail, "") == 0 && strcmp(rq->method, "GET") == 0) {
		v->docs++;
		if (v->hides_docs) {
			fake_error(a, 403, "forbidden", "missing permission iac_workspace_view");
			return;
		}
		buf_init(&out, 0);
		fake_describe(w, true, &out);
		a->status = 200;
		scripted_set_body(a, buf_span(&out));
		buf_free(&out);
	} else if (strcmp(tail, "/actions/force-unlock") == 0 && strcmp(rq->method, "POST") == 0) {
		w->lock[0] = '\0';
		a->status = 200;
	} else {
		fake_wrong(v, rq, a, "no such route");
	}
}

/* ---------------------------------------------------------------- states and locks */

static void
fake_push(struct fake_harness *v, const struct scripted_request *rq, struct fake_workspace *w, struct scripted_answer *a)
{
	char      *id = scripted_query(rq, "ID");
	uint8_t    sum[MD5_LEN];
	struct buf text;

	buf_init(&text, 0);
	md5_of(rq->body.p, rq->body.n, sum);
	base64_encode(span_of(sum, sizeof(sum)), &text);
	CHECK_STR(scripted_header(rq, "Content-MD5"), buf_str(&text));
	CHECK_STR(scripted_header(rq, "Content-Type"), "application/json");
	buf_free(&text);
	if (w->lock[0] != '\0' && (id == NULL || strcmp(id, w->lock) != 0)) {
		fake_error(a, 423, "locked", "workspace is locked");
	} else {
		fake_harness_put(v, w->name, rq->body);
		a->status = 200;
	}
	free(id);
}

static void
fake_lock(struct fake_harness *v, const struct scripted_request *rq, struct fake_workspace *w, struct scripted_answer *a)
{
	bool             unlock = strcmp(rq->method, "DELETE") == 0;
	struct lock_info l;
	char            *record;

	if (!unlock && strcmp(rq->method, "POST") != 0) {
		fake_wrong(v, rq, a, "no such method");
	} else if (lock_info_parse(rq->body, &l, NULL) != ERR_OK || l.id[0] == '\0' || l.version[0] == '\0' || l.created[0] == '\0' ||
	    l.operation[0] == '\0') {
		fake_wrong(v, rq, a, "the body of a lock is not whole");
	} else if (unlock && strcmp(l.id, w->lock) == 0) {
		w->lock[0] = '\0';
		a->status = 200;
	} else if (unlock || w->lock[0] != '\0') {
		fake_error(a, w->lock[0] != '\0' ? 423 : 404, "locked", "workspace is locked by a run");
	} else {
		snprintf(w->lock, sizeof(w->lock), "%s", l.id);
		record = xasprintf("{\"account\":\"" FAKE_HARNESS_ACCOUNT "\",\"workspace\":\"%s\",\"id\":\"%s\",\"created\":1795200000000,"
		    "\"manual\":false}", w->name, l.id);
		a->status = 200;
		scripted_set_body(a, span_str(record));
		free(record);
	}
}

static void
fake_state(struct fake_harness *v, const struct scripted_request *rq, struct fake_workspace *w, struct scripted_answer *a)
{
	if (strcmp(rq->method, "POST") == 0) {
		fake_push(v, rq, w, a);
	} else if (strcmp(rq->method, "GET") != 0) {
		fake_wrong(v, rq, a, "no such method");
	} else if (w->body == NULL) {
		v->reads++;
		fake_error(a, 404, "not_found", "no state");
	} else {
		v->reads++;
		a->status = 200;
		scripted_set_body(a, body_span(w->body));
		if (w->prunes) {
			char *text = span_dup(body_span(w->body));

			text[strlen(text) - 1] = ' '; /* a blank for the newline: the same meaning, other bytes */
			memcpy(strstr(text, "\"outputs\""), "\"outputz\"", 9);
			scripted_set_body(a, span_str(text));
			free(text);
		}
	}
}

static void
fake_answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	struct fake_harness   *v = arg;
	const char            *path = rq->at.path + strlen(ROOT), *tail;
	struct fake_workspace *w;
	char                  *name;

	if (strcmp(rq->at.host, "app.harness.io") != 0 || strncmp(rq->at.path, ROOT, strlen(ROOT)) != 0) {
		fake_wrong(v, rq, a, "no such place");
		return;
	}
	if (!fake_may(rq, a))
		return;
	if (path[0] == '\0') {
		fake_list(v, rq, a);
		return;
	}
	path++;
	tail = path + strcspn(path, "/");
	name = xstrndup(path, (size_t)(tail - path));
	w = fake_harness_find(v, name);
	free(name);
	if (w == NULL)
		fake_error(a, 404, "not_found", "workspace not found");
	else if (strcmp(tail, "/terraform-backend") == 0)
		fake_state(v, rq, w, a);
	else if (strcmp(tail, "/terraform-backend/lock") == 0)
		fake_lock(v, rq, w, a);
	else
		fake_api(v, rq, w, tail, a);
}

/* ---------------------------------------------------------------- for tests */

struct fake_harness *
fake_harness_behind(struct scripted_http *s)
{
	struct fake_harness *v = xcalloc(1, sizeof(*v));

	v->page = 1000;
	v->http = s;
	scripted_handle(s, fake_answer, v);
	return v;
}

struct fake_workspace *
fake_harness_add(struct fake_harness *v, const char *name)
{
	struct fake_workspace *w = &v->w[v->n++];

	CHECK(v->n <= ARRAY_LEN(v->w));
	snprintf(w->name, sizeof(w->name), "%s", name);
	snprintf(w->status, sizeof(w->status), "active");
	w->updated = ++v->now;
	return w;
}

struct fake_workspace *
fake_harness_find(struct fake_harness *v, const char *name)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->w[i].name, name) == 0)
			return &v->w[i];
	return NULL;
}

void
fake_harness_put(struct fake_harness *v, const char *name, struct span body)
{
	struct fake_workspace *w = fake_harness_find(v, name);

	body_unref(w->body);
	w->body = body_copy(body);
	w->updated = ++v->now;
}

size_t
fake_harness_locks(const struct fake_harness *v)
{
	size_t n = 0;

	for (size_t i = 0; i < v->n; i++)
		n += v->w[i].lock[0] != '\0';
	return n;
}

void
fake_harness_free(struct fake_harness *v)
{
	for (size_t i = 0; i < v->n; i++)
		body_unref(v->w[i].body);
	free(v);
}
