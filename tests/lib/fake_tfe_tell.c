/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/json.h"
#include "fake_tfe_impl.h"
#include "loop/body.h"
#include "test.h"

void
fake_tfe_refuse(struct scripted_answer *a, int status, const char *detail)
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
	struct tfe_version *v = fake_tfe_current(w);

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

static void
put_version(struct fake_tfe *f, struct json_writer *j, struct tfe_version *v)
{
	char url[200];

	fake_tfe_settle(f, v);
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
	json_key(j, "relationships");
	json_obj(j);
	link_to(j, "run", "runs", v->run);
	json_obj_end(j);
	json_obj_end(j);
}

/* One of both. */
void
fake_tfe_one(struct fake_tfe *f, struct scripted_answer *a, int status, struct tfe_workspace *w, struct tfe_version *v)
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

void
fake_tfe_list(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a)
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

void
fake_tfe_history(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	char                  *org = scripted_query(rq, "filter[organization][name]"), *name = scripted_query(rq, "filter[workspace][name]");
	struct tfe_workspace *w;

	CHECK(org != NULL && strcmp(org, "acme") == 0 && name != NULL);
	w = map_get(f->workspaces, span_str(name));
	if (w == NULL)
		fake_tfe_refuse(a, 404, "not found");
	else
		put_page(f, rq, a, NULL, w->n, w);
	free(org);
	free(name);
}
