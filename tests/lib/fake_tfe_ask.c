/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>

#include "base/encode.h"
#include "fake_tfe_impl.h"
#include "test.h"

static void
create(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	json_t     *doc = json_loadb((const char *)rq->body.p, rq->body.n, 0, NULL);
	const char *name = json_string_value(json_object_get(json_object_get(json_object_get(doc, "data"), "attributes"), "name"));

	CHECK(name != NULL);
	snprintf(f->created, sizeof(f->created), "%.*s", (int)rq->body.n, (const char *)rq->body.p);
	if (map_get(f->workspaces, span_str(name)) != NULL)
		fake_tfe_refuse(a, 422, "Name has already been taken");
	else
		fake_tfe_one(f, a, 201, fake_tfe_workspace(f, name), NULL);
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
	struct tfe_version *now = fake_tfe_current(w), *v;
	struct buf           bytes;
	char                 sum[33];

	CHECK(json_is_integer(json_object_get(at, "serial")) && md5 != NULL && strlen(md5) == 32);
	CHECK_U64(json_object_size(at), 2U + (lineage != NULL) + (state != NULL)); /* nothing that a server may not know; force never */
	buf_init(&bytes, 0);
	if (f->one_step && state == NULL)
		fake_tfe_refuse(a, 400, "param is missing or the value is empty: state");
	else if (!f->lax && (!w->locked || w->foreign))
		fake_tfe_refuse(a, 409, "The workspace is not locked. State can only be uploaded to a locked workspace");
	else if (!f->lax && now != NULL && strcmp(lineage != NULL ? lineage : "", now->lineage) != 0)
		fake_tfe_refuse(a, 409, "The lineage does not match");
	else if (now != NULL && serial < now->serial)
		fake_tfe_refuse(a, f->lax ? 500 : 412, "serial 1 is not greater than the serial 2");
	else if (now != NULL && serial == now->serial && strcmp(md5, now->md5) != 0)
		fake_tfe_refuse(a, f->lax ? 500 : 409, "A state with a different MD5 hash and the same serial number exists");
	else {
		v = fake_tfe_announce(f, w);
		f->announced++;
		v->serial = serial;
		snprintf(v->md5, sizeof(v->md5), "%s", md5);
		snprintf(v->lineage, sizeof(v->lineage), "%s", lineage != NULL ? lineage : "");
		if (state != NULL) {
			CHECK(base64_decode(span_str(state), &bytes));
			fake_tfe_md5(buf_span(&bytes), sum);
			CHECK_STR(sum, md5);
			fake_tfe_receive(f, w, v, buf_span(&bytes));
		}
		fake_tfe_one(f, a, 201, NULL, v);
	}
	buf_free(&bytes);
	json_decref(doc);
}

static void
lock(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a, struct tfe_workspace *w)
{
	json_t *doc = json_loadb((const char *)rq->body.p, rq->body.n, 0, NULL);

	if (w->locked) {
		fake_tfe_refuse(a, 409, "already locked");
	} else {
		w->locked = true;
		w->foreign = false;
		snprintf(w->reason, sizeof(w->reason), "%s", json_string_value(json_object_get(doc, "reason")));
		fake_tfe_one(f, a, 200, w, NULL);
	}
	json_decref(doc);
}

static void
unlock(struct fake_tfe *f, struct scripted_answer *a, struct tfe_workspace *w, bool force)
{
	for (size_t i = 0; i < w->n; i++)
		fake_tfe_settle(f, &w->versions[i]);
	if (force && f->no_force)
		fake_tfe_refuse(a, 404, "not found");
	else if (!w->locked)
		fake_tfe_refuse(a, 409, "already unlocked");
	else if (w->foreign && !force)
		fake_tfe_refuse(a, 409, "The workspace is locked by User other");
	else if (!force && w->n > 0 && strcmp(w->versions[w->n - 1].status, "pending") == 0)
		fake_tfe_refuse(a, 503, "The latest state version is still pending");
	else {
		f->forced += force;
		w->locked = false;
		fake_tfe_one(f, a, 200, w, NULL);
	}
}

static void
of_workspace(struct fake_tfe *f, const struct scripted_request *rq, struct scripted_answer *a, struct tfe_workspace *w, const char *what)
{
	bool get = strcmp(rq->method, "GET") == 0;

	if (get && what[0] == '\0') {
		fake_tfe_one(f, a, 200, w, NULL);
	} else if (get && strcmp(what, "/current-state-version") == 0) {
		if (fake_tfe_current(w) != NULL)
			fake_tfe_one(f, a, 200, NULL, fake_tfe_current(w));
		else
			fake_tfe_refuse(a, 404, "not found");
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
	fake_tfe_md5(rq->body, sum);
	if (strcmp(rq->method, "GET") == 0 && v != NULL && v->body != NULL) {
		a->status = 200;
		scripted_set_body(a, body_span(v->body));
	} else if (strcmp(rq->method, "PUT") == 0 && v != NULL && !v->linked && strcmp(sum, v->md5) == 0) {
		v->linked = true;
		fake_tfe_receive(f, w, v, rq->body);
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
		(strcmp(rq->method, "POST") == 0 ? create : fake_tfe_list)(f, rq, a);
	} else if (strncmp(path, org, n) == 0 && path[n] == '/') {
		w = map_get(f->workspaces, span_str(path + n + 1));
		if (w == NULL)
			fake_tfe_refuse(a, 404, "not found");
		else
			of_workspace(f, rq, a, w, "");
	} else if (strcmp(path, "/api/v2/organizations/acme/projects") == 0) {
		a->status = 200;
		scripted_set_body(a, span_str("{\"data\":[{\"id\":\"prj-1\",\"attributes\":{\"name\":\"nets\"}},"
		    "{\"id\":\"prj-2\",\"attributes\":{\"name\":\"net\"}}]}"));
	} else if (strcmp(path, "/api/v2/state-versions") == 0) {
		fake_tfe_history(f, rq, a);
	} else if (strncmp(path, "/api/v2/workspaces/", 19) == 0 && (w = find(f, path + 19, &v)) != NULL) {
		of_workspace(f, rq, a, w, path + 19 + strlen(w->id));
	} else if (strncmp(path, "/api/v2/state-versions/", 23) == 0 && find(f, path + 23, &v) != NULL) {
		fake_tfe_one(f, a, 200, NULL, v);
	} else if (strncmp(path, "/api/state-versions/", 20) == 0 && find(f, path + 20, &v) != NULL && strstr(path, "/hosted_state") != NULL) {
		a->status = 302;
		scripted_add_header(a, "Location", FAKE_TFE_BLOBS "get/%s?secret=canary", v->id);
	} else if (strncmp(path, "/api/", 5) == 0) {
		fake_tfe_refuse(a, 404, "not found");
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
		fake_tfe_workspace_free(w);
	map_free(f->workspaces);
	free(f->tags);
	free(f->search);
	free(f->project);
	free(f);
}
