/* SPDX-License-Identifier: MIT */
#include "fake_tfe.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/state_scan.h"
#include "provider/provider.h"
#include "test.h"

/* ---------------------------------------------------------------- what there is */

static void
new_id(struct fake_tfe *f, const char *kind, char ret[24])
{
	snprintf(ret, 24, "%s-%08u", kind, ++f->ids);
}

struct tfe_workspace *
fake_tfe_workspace(struct fake_tfe *f, const char *name)
{
	struct tfe_workspace *w = map_get(f->workspaces, span_str(name));

	if (w != NULL)
		return w;
	w = xcalloc(1, sizeof(*w));
	new_id(f, "ws", w->id);
	snprintf(w->name, sizeof(w->name), "%s", name);
	w->order = ++f->order;
	map_put(f->workspaces, span_str(name), w);
	return w;
}

static void
workspace_free(struct tfe_workspace *w)
{
	for (size_t i = 0; i < w->n; i++)
		body_unref(w->versions[i].body);
	free(w);
}

void
fake_tfe_drop(struct fake_tfe *f, const char *name)
{
	workspace_free(map_del(f->workspaces, span_str(name)));
}

static struct tfe_version *
current(struct tfe_workspace *w)
{
	for (size_t i = w->n; i > 0; i--)
		if (strcmp(w->versions[i - 1].status, "finalized") == 0)
			return &w->versions[i - 1];
	return NULL;
}

static struct tfe_version *
announce(struct fake_tfe *f, struct tfe_workspace *w)
{
	struct tfe_version *v = &w->versions[w->n++];

	CHECK(w->n <= FAKE_TFE_VERSIONS);
	new_id(f, "sv", v->id);
	v->status = "pending";
	return v;
}

static void
receive(struct fake_tfe *f, struct tfe_workspace *w, struct tfe_version *v, struct span body)
{
	v->body = body_copy(body);
	v->status = f->pending > 0 ? "pending" : "finalized";
	w->order = ++f->order;
}

static void
md5_hex(struct span s, char ret[33])
{
	uint8_t sum[MD5_LEN];

	md5_of(s.p, s.n, sum);
	hex_encode(sum, sizeof(sum), ret);
}

struct tfe_version *
fake_tfe_put(struct fake_tfe *f, const char *name, struct span body)
{
	struct tfe_workspace *w = fake_tfe_workspace(f, name);
	struct tfe_version   *v = announce(f, w);
	struct body           *bytes = body_copy(body);
	struct snapshot        s;

	snapshot_of(&s, bytes, NULL);
	v->serial = s.info.serial;
	snprintf(v->lineage, sizeof(v->lineage), "%.63s", s.info.lineage);
	md5_hex(body, v->md5);
	v->body = body_ref(bytes);
	v->status = "finalized";
	w->order = ++f->order;
	snapshot_free(&s);
	body_unref(bytes);
	return v;
}

bool
fake_tfe_get(struct fake_tfe *f, const char *name, struct span *ret)
{
	struct tfe_workspace *w = map_get(f->workspaces, span_str(name));
	struct tfe_version   *v = w != NULL ? current(w) : NULL;

	if (v != NULL)
		*ret = body_span(v->body);
	return v != NULL;
}

unsigned
fake_tfe_locks(struct fake_tfe *f)
{
	unsigned n = 0;
	void    *w;

	for (size_t i = 0; map_next(f->workspaces, &i, NULL, &w);)
		n += ((struct tfe_workspace *)w)->locked;
	return n;
}

/* ---------------------------------------------------------------- answers */

static void
refuse(struct scripted_answer *a, int status, const char *detail)
{
	char text[400];

	a->status = status;
	snprintf(text, sizeof(text), "{\"errors\":[{\"status\":\"%d\",\"title\":\"refused\",\"detail\":\"%s\"}]}", status, detail);
	scripted_add_header(a, "Content-Type", "application/vnd.api+json");
	scripted_set_body(a, span_str(text));
}

static void
link_to(struct json_writer *w, const char *name, const char *type, const char *id)
{
	json_key(w, name);
	json_obj(w);
	json_key(w, "data");
	if (id == NULL) {
		json_nil(w);
	} else {
		json_obj(w);
		json_kv_str(w, "id", id);
		json_kv_str(w, "type", type);
		json_obj_end(w);
	}
	json_obj_end(w);
}

static void
put_workspace(struct fake_tfe *f, struct json_writer *j, struct tfe_workspace *w)
{
	struct tfe_version *v = current(w);

	json_obj(j);
	json_kv_str(j, "id", w->id);
	json_kv_str(j, "type", "workspaces");
	json_key(j, "attributes");
	json_obj(j);
	json_kv_str(j, "name", w->name);
	json_kv_bool(j, "locked", w->locked);
	if (!f->silent)
		json_kv_str(j, "locked-reason", w->locked ? w->reason : NULL);
	if (f->denied != NULL) {
		json_key(j, "permissions");
		json_obj(j);
		json_kv_bool(j, f->denied, false);
		json_obj_end(j);
	}
	json_kv_str(j, "latest-change-at", "2026-11-22T00:44:48.925Z");
	json_obj_end(j);
	json_key(j, "relationships");
	json_obj(j);
	if (!f->silent) {
		link_to(j, "current-state-version", "state-versions", v != NULL ? v->id : NULL);
		link_to(j, "locked-by", "users", !w->locked ? NULL : w->foreign ? "user-other" : "user-me");
	}
	json_obj_end(j);
	json_obj_end(j);
}

/* A look takes its time with it further. */
static void
settle(struct fake_tfe *f, struct tfe_version *v)
{
	if (v->body != NULL && strcmp(v->status, "pending") == 0 && (f->pending == 0 || --f->pending == 0))
		v->status = "finalized";
}

static void
put_version(struct fake_tfe *f, struct json_writer *j, struct tfe_version *v)
{
	char url[200];

	settle(f, v);
	json_obj(j);
	json_kv_str(j, "id", v->id);
	json_kv_str(j, "type", "state-versions");
	json_key(j, "attributes");
	json_obj(j);
	json_kv_u64(j, "serial", v->serial);
	json_kv_str(j, "status", v->status);
	json_kv_str(j, "created-at", "2026-11-22T00:44:48.925Z");
	if (v->body != NULL) {
		json_kv_u64(j, "size", body_size(v->body));
		snprintf(url, sizeof(url), "/api/state-versions/%s/hosted_state", v->id);
		json_kv_str(j, "hosted-state-download-url", url);
	} else if (!v->linked && !f->one_step) {
		snprintf(url, sizeof(url), FAKE_TFE_BLOBS "put/%s?secret=canary", v->id);
		json_kv_str(j, "hosted-state-upload-url", url);
	}
	json_obj_end(j);
	json_obj_end(j);
}

/* One of both. */
static void
answer(struct fake_tfe *f, struct scripted_answer *a, int status, struct tfe_workspace *w, struct tfe_version *v)
{
	struct json_writer j;
	struct buf         text;

	buf_init(&text, 0);
	json_begin(&j, &text);
	json_obj(&j);
	json_key(&j, "data");
	if (v != NULL)
		put_version(f, &j, v);
	else
		put_workspace(f, &j, w);
	json_obj_end(&j);
	a->status = status;
	scripted_set_body(a, buf_span(&text));
	buf_free(&text);
}

/* ---------------------------------------------------------------- pages */

static int
by_change(const void *a, const void *b)
{
	const struct tfe_workspace *x = *(struct tfe_workspace *const *)a, *y = *(struct tfe_workspace *const *)b;

	return x->order < y->order ? 1 : -1;
}

static void
put_page(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a, struct tfe_workspace **all, size_t n,
    struct tfe_workspace *of)
{
	char              *number = scripted_query(rq, "page[number]"), *size = scripted_query(rq, "page[size]");
	size_t             page = number != NULL ? strtoul(number, NULL, 10) : 1, most = size != NULL ? strtoul(size, NULL, 10) : 20, pages;
	struct json_writer j;
	struct buf         text;

	CHECK(page > 0 && most > 0 && most <= 100);
	if (f->page != 0)
		most = f->page;
	pages = (n + most - 1) / most;
	buf_init(&text, 0);
	json_begin(&j, &text);
	json_obj(&j);
	json_key(&j, "data");
	json_arr(&j);
	for (size_t i = (page - 1) * most; i < n && i < page * most; i++)
		if (of != NULL)
			put_version(f, &j, &of->versions[of->n - 1 - i]);
		else
			put_workspace(f, &j, all[i]);
	json_arr_end(&j);
	json_key(&j, "meta");
	json_obj(&j);
	json_key(&j, "pagination");
	json_obj(&j);
	json_kv_u64(&j, "current-page", page);
	json_key(&j, "next-page");
	if (page < pages)
		json_u64(&j, page + 1);
	else
		json_nil(&j);
	if (!f->no_totals) {
		json_kv_u64(&j, "total-pages", pages);
		json_kv_u64(&j, "total-count", n);
	}
	json_obj_end(&j);
	json_obj_end(&j);
	json_obj_end(&j);
	a->status = 200;
	scripted_set_body(a, buf_span(&text));
	buf_free(&text);
	free(number);
	free(size);
}

static void
keep_query(const struct scripted_request *rq, const char *name, char **ret)
{
	free(*ret);
	*ret = scripted_query(rq, name);
}

static void
list(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	struct tfe_workspace **all = xcalloc(map_count(f->workspaces) + 1, sizeof(*all));
	size_t                  n = 0;
	void                   *w;

	keep_query(rq, "search[tags]", &f->tags);
	keep_query(rq, "search[name]", &f->search);
	keep_query(rq, "filter[project][id]", &f->project);
	CHECK(strstr(rq->at.query, "sort=-latest-change-at") != NULL);
	for (size_t i = 0; map_next(f->workspaces, &i, NULL, &w);)
		if (f->search == NULL || strstr(((struct tfe_workspace *)w)->name, f->search) != NULL)
			all[n++] = w;
	qsort(all, n, sizeof(all[0]), by_change);
	put_page(f, rq, a, all, n, NULL);
	if (++f->listings == f->touch_at)
		fake_tfe_workspace(f, f->touched)->order = ++f->order;
	free(all);
}

static void
history(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	char                  *org = scripted_query(rq, "filter[organization][name]"), *name = scripted_query(rq, "filter[workspace][name]");
	struct tfe_workspace *w;

	CHECK(org != NULL && strcmp(org, "acme") == 0 && name != NULL);
	w = map_get(f->workspaces, span_str(name));
	if (w == NULL)
		refuse(a, 404, "not found");
	else
		put_page(f, rq, a, NULL, w->n, w);
	free(org);
	free(name);
}

/* ---------------------------------------------------------------- one workspace */

static void
create(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	json_t     *doc = json_loadb((const char *)rq->body.p, rq->body.n, 0, NULL);
	const char *name = json_string_value(json_object_get(json_object_get(json_object_get(doc, "data"), "attributes"), "name"));

	CHECK(name != NULL);
	snprintf(f->created, sizeof(f->created), "%.*s", (int)rq->body.n, (const char *)rq->body.p);
	if (map_get(f->workspaces, span_str(name)) != NULL)
		refuse(a, 422, "Name has already been taken");
	else
		answer(f, a, 201, fake_tfe_workspace(f, name), NULL);
	json_decref(doc);
}

static void
write_version(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a, struct tfe_workspace *w)
{
	json_t              *doc = json_loadb((const char *)rq->body.p, rq->body.n, 0, NULL);
	json_t              *at = json_object_get(json_object_get(doc, "data"), "attributes");
	const char          *md5 = json_string_value(json_object_get(at, "md5")), *lineage = json_string_value(json_object_get(at, "lineage"));
	const char          *state = json_string_value(json_object_get(at, "state"));
	uint64_t             serial = (uint64_t)json_integer_value(json_object_get(at, "serial"));
	struct tfe_version *now = current(w), *v;
	struct buf           bytes;
	char                 sum[33];

	CHECK(json_is_integer(json_object_get(at, "serial")) && md5 != NULL && strlen(md5) == 32);
	CHECK_U64(json_object_size(at), 2U + (lineage != NULL) + (state != NULL)); /* nothing that a server may not know; force never */
	buf_init(&bytes, 0);
	if (f->one_step && state == NULL)
		refuse(a, 400, "param is missing or the value is empty: state");
	else if (!f->lax && (!w->locked || w->foreign))
		refuse(a, 409, "The workspace is not locked. State can only be uploaded to a locked workspace");
	else if (!f->lax && now != NULL && strcmp(lineage != NULL ? lineage : "", now->lineage) != 0)
		refuse(a, 409, "The lineage does not match");
	else if (now != NULL && serial < now->serial)
		refuse(a, f->lax ? 500 : 412, "serial 1 is not greater than the serial 2");
	else if (now != NULL && serial == now->serial && strcmp(md5, now->md5) != 0)
		refuse(a, f->lax ? 500 : 409, "A state with a different MD5 hash and the same serial number exists");
	else {
		v = announce(f, w);
		f->announced++;
		v->serial = serial;
		snprintf(v->md5, sizeof(v->md5), "%s", md5);
		snprintf(v->lineage, sizeof(v->lineage), "%s", lineage != NULL ? lineage : "");
		if (state != NULL) {
			CHECK(base64_decode(span_str(state), &bytes));
			md5_hex(buf_span(&bytes), sum);
			CHECK_STR(sum, md5);
			receive(f, w, v, buf_span(&bytes));
		}
		answer(f, a, 201, NULL, v);
	}
	buf_free(&bytes);
	json_decref(doc);
}

static void
lock(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a, struct tfe_workspace *w)
{
	json_t *doc = json_loadb((const char *)rq->body.p, rq->body.n, 0, NULL);

	if (w->locked) {
		refuse(a, 409, "already locked");
	} else {
		w->locked = true;
		w->foreign = false;
		snprintf(w->reason, sizeof(w->reason), "%s", json_string_value(json_object_get(doc, "reason")));
		answer(f, a, 200, w, NULL);
	}
	json_decref(doc);
}

static void
unlock(struct fake_tfe *f, struct scripted_answer *a, struct tfe_workspace *w, bool force)
{
	for (size_t i = 0; i < w->n; i++)
		settle(f, &w->versions[i]);
	if (force && f->no_force)
		refuse(a, 404, "not found");
	else if (!w->locked)
		refuse(a, 409, "already unlocked");
	else if (w->foreign && !force)
		refuse(a, 409, "The workspace is locked by User other");
	else if (!force && w->n > 0 && strcmp(w->versions[w->n - 1].status, "pending") == 0)
		refuse(a, 503, "The latest state version is still pending");
	else {
		f->forced += force;
		w->locked = false;
		answer(f, a, 200, w, NULL);
	}
}

static void
of_workspace(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a, struct tfe_workspace *w, const char *what)
{
	bool get = strcmp(rq->method, "GET") == 0;

	if (get && what[0] == '\0') {
		answer(f, a, 200, w, NULL);
	} else if (get && strcmp(what, "/current-state-version") == 0) {
		if (current(w) != NULL)
			answer(f, a, 200, NULL, current(w));
		else
			refuse(a, 404, "not found");
	} else if (strcmp(rq->method, "POST") == 0 && strcmp(what, "/state-versions") == 0) {
		write_version(f, rq, a, w);
	} else if (strcmp(rq->method, "POST") == 0 && strcmp(what, "/actions/lock") == 0) {
		lock(f, rq, a, w);
	} else if (strcmp(rq->method, "POST") == 0 && (strcmp(what, "/actions/unlock") == 0 || strcmp(what, "/actions/force-unlock") == 0)) {
		unlock(f, a, w, what[9] == 'f');
	} else if (strcmp(rq->method, "DELETE") == 0 && what[0] == '\0') {
		fake_tfe_drop(f, w->name);
		a->status = 204;
	} else {
		test_fail(__FILE__, __LINE__, "nobody knows %s %s", rq->method, rq->url);
	}
}

static struct tfe_workspace *
find(struct fake_tfe *f, const char *id, struct tfe_version **ret)
{
	void *v;

	for (size_t i = 0; map_next(f->workspaces, &i, NULL, &v);) {
		struct tfe_workspace *w = v;

		if (strncmp(id, w->id, strlen(w->id)) == 0)
			return w;
		for (size_t k = 0; k < w->n; k++)
			if (strncmp(id, w->versions[k].id, strlen(w->versions[k].id)) == 0) {
				*ret = &w->versions[k];
				return w;
			}
	}
	return NULL;
}

/* ---------------------------------------------------------------- who is asked */

/* Uploads once for each link, and reads; whoever comes here shows no token. */
static void
blobs(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	const char            *id = strrchr(rq->at.path, '/') + 1;
	struct tfe_version   *v = NULL;
	struct tfe_workspace *w = find(f, id, &v);
	char                   sum[33];

	CHECK(scripted_header(rq, "Authorization") == NULL && scripted_header(rq, "Referer") == NULL);
	CHECK_STR(rq->at.query, "secret=canary");
	md5_hex(rq->body, sum);
	if (strcmp(rq->method, "GET") == 0 && v != NULL && v->body != NULL) {
		a->status = 200;
		scripted_set_body(a, body_span(v->body));
	} else if (strcmp(rq->method, "PUT") == 0 && v != NULL && !v->linked && strcmp(sum, v->md5) == 0) {
		v->linked = true;
		receive(f, w, v, rq->body);
		a->status = 200;
	} else {
		a->status = 404;
	}
}

static void
fake_tfe_answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	static const char      org[] = "/api/v2/organizations/acme/workspaces";
	struct fake_tfe       *f = arg;
	const char            *path = rq->at.path;
	struct tfe_version   *v = NULL;
	struct tfe_workspace *w;
	size_t                 n = sizeof(org) - 1;

	if (strncmp(rq->url, FAKE_TFE_BLOBS, strlen(FAKE_TFE_BLOBS)) == 0) {
		blobs(f, rq, a);
		return;
	}
	CHECK_STR(scripted_header(rq, "Authorization"), "Bearer " FAKE_TFE_TOKEN);
	if (strcmp(path, org) == 0) {
		(strcmp(rq->method, "POST") == 0 ? create : list)(f, rq, a);
	} else if (strncmp(path, org, n) == 0 && path[n] == '/') {
		w = map_get(f->workspaces, span_str(path + n + 1));
		if (w == NULL)
			refuse(a, 404, "not found");
		else
			of_workspace(f, rq, a, w, "");
	} else if (strcmp(path, "/api/v2/organizations/acme/projects") == 0) {
		a->status = 200;
		scripted_set_body(a, span_str("{\"data\":[{\"id\":\"prj-1\",\"attributes\":{\"name\":\"nets\"}},"
		    "{\"id\":\"prj-2\",\"attributes\":{\"name\":\"net\"}}]}"));
	} else if (strcmp(path, "/api/v2/state-versions") == 0) {
		history(f, rq, a);
	} else if (strncmp(path, "/api/v2/workspaces/", 19) == 0 && (w = find(f, path + 19, &v)) != NULL) {
		of_workspace(f, rq, a, w, path + 19 + strlen(w->id));
	} else if (strncmp(path, "/api/v2/state-versions/", 23) == 0 && find(f, path + 23, &v) != NULL) {
		answer(f, a, 200, NULL, v);
	} else if (strncmp(path, "/api/state-versions/", 20) == 0 && find(f, path + 20, &v) != NULL && strstr(path, "/hosted_state") != NULL) {
		a->status = 302;
		scripted_add_header(a, "Location", FAKE_TFE_BLOBS "get/%s?secret=canary", v->id);
	} else if (strncmp(path, "/api/", 5) == 0) {
		refuse(a, 404, "not found");
	} else {
		test_fail(__FILE__, __LINE__, "nobody knows %s %s", rq->method, rq->url);
	}
}

struct fake_tfe *
fake_tfe_behind(struct scripted_http *http)
{
	struct fake_tfe *f = xcalloc(1, sizeof(*f));

	f->workspaces = map_new();
	scripted_handle(http, fake_tfe_answer, f);
	return f;
}

void
fake_tfe_free(struct fake_tfe *f)
{
	void *w;

	for (size_t i = 0; map_next(f->workspaces, &i, NULL, &w);)
		workspace_free(w);
	map_free(f->workspaces);
	free(f->tags);
	free(f->search);
	free(f->project);
	free(f);
}
