/* SPDX-License-Identifier: MIT */
#include "fake_brainboard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "test.h"

const char *
fake_brainboard_uuid(char kind, unsigned n)
{
	static char     text[8][40];
	static unsigned next;
	char           *ret = text[next++ % 8];

	snprintf(ret, sizeof(text[0]), "%c0000000-0000-4000-8000-%012x", kind == 'p' ? 'b' : kind, n);
	return ret;
}

const char *
fake_brainboard_put(struct fake_brainboard *f, unsigned n, unsigned environment, const char *name)
{
	struct fake_architecture *a = &f->arch[n];

	a->there = true;
	a->environment = environment;
	snprintf(a->name, sizeof(a->name), "%s", name);
	if (a->status[0] == '\0')
		snprintf(a->status, sizeof(a->status), "Deployed");
	return fake_brainboard_uuid('a', n);
}

static void
fake_item(struct json_writer *w, char kind, unsigned n, const char *name)
{
	json_obj(w);
	json_kv_str(w, "uuid", fake_brainboard_uuid(kind, n));
	json_kv_str(w, "name", name);
	json_kv_str(w, "updated_at", "2026-08-01T10:00:00Z");
}

static void
fake_environments(const struct fake_brainboard *f, struct json_writer *w, unsigned project)
{
	char name[24];

	json_arr(w);
	for (unsigned e = 0; e < f->environments; e++) {
		if (e % f->projects != project)
			continue;
		snprintf(name, sizeof(name), "env-%u", e);
		fake_item(w, 'e', e, name);
		json_obj_end(w);
	}
	json_arr_end(w);
}

static void
fake_projects(const struct fake_brainboard *f, struct json_writer *w)
{
	char name[24];

	json_arr(w);
	for (unsigned p = 0; p < f->projects; p++) {
		snprintf(name, sizeof(name), "project/%u", p);
		fake_item(w, 'p', p, name);
		if (f->embedded) {
			json_key(w, "environments");
			fake_environments(f, w, p);
		}
		json_obj_end(w);
	}
	json_arr_end(w);
}

static void
fake_architectures(const struct fake_brainboard *f, struct json_writer *w, unsigned environment)
{
	json_arr(w);
	for (unsigned n = 0; n < FAKE_BRAINBOARD_MAX; n++) {
		if (!f->arch[n].there || f->arch[n].environment != environment)
			continue;
		fake_item(w, 'a', n, f->arch[n].name);
		json_kv_str(w, "status", f->arch[n].status);
		json_key(w, "terraform_config");
		json_obj(w);
		json_obj_end(w);
		json_obj_end(w);
	}
	json_arr_end(w);
}

static void
fake_refuse(const struct fake_brainboard *f, struct scripted_answer *a, int status, const char *code)
{
	char text[200];

	a->status = status;
	snprintf(text, sizeof(text), f->older_errors ? "{\"error\":\"%s\",\"details\":\"no more\"}" :
	    "{\"error_code\":\"%s\",\"content\":{\"message\":\"no more\"}}", code);
	scripted_set_body(a, span_str(text));
	if (f->retry_after > 0)
		scripted_add_header(a, "retry-after", "%u", f->retry_after);
}

static bool
fake_signed(struct fake_brainboard *f, const struct scripted_request *rq)
{
	const char *key = scripted_header(rq, "authorization");

	if (key == NULL)
		test_fail(__FILE__, __LINE__, "no Authorization: %s", rq->url);
	else if (strcmp(key, FAKE_BRAINBOARD_TOKEN) == 0)
		return f->raw_seen++, f->raw;
	else if (strcmp(key, "Bearer " FAKE_BRAINBOARD_TOKEN) == 0)
		return f->bearer_seen++, f->bearer;
	return false;
}

/* "/BEFORE/uuid of kind/AFTER" */
static bool
fake_path(const char *path, const char *before, char kind, const char *after, unsigned *ret)
{
	char head[40], tail[40];

	if (strncmp(path, before, strlen(before)) != 0 || strlen(path) != strlen(before) + 36 + strlen(after))
		return false;
	path += strlen(before);
	*ret = (unsigned)strtoul(path + 24, NULL, 16);
	snprintf(head, sizeof(head), "%.36s", path);
	snprintf(tail, sizeof(tail), "%s", path + 36);
	return strcmp(head, fake_brainboard_uuid(kind, *ret)) == 0 && strcmp(tail, after) == 0;
}

static void
fake_answer(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	struct fake_brainboard *f = arg;
	struct json_writer      w;
	struct buf              out;
	unsigned                n;

	f->requests++;
	if (strcmp(rq->at.host, FAKE_BRAINBOARD_HOST) != 0 || strcmp(rq->at.scheme, "https") != 0 || strcmp(rq->method, "GET") != 0 ||
	    rq->at.query != NULL)
		test_fail(__FILE__, __LINE__, "unexpected: %s %s", rq->method, rq->url);
	if (!fake_signed(f, rq)) {
		fake_refuse(f, ret, 401, "PERMISSION_DENIED");
		return;
	}
	if (f->refuse != 0) {
		fake_refuse(f, ret, f->refuse, "INTERNAL_ERROR");
		return;
	}
	buf_init(&out, 0);
	json_begin(&w, &out);
	if (f->garbage != NULL)
		buf_puts(&out, f->garbage);
	else if (strcmp(rq->at.path, "/projects") == 0)
		fake_projects(f, &w);
	else if (fake_path(rq->at.path, "/projects/", 'p', "/environments", &n))
		fake_environments(f, &w, n);
	else if (fake_path(rq->at.path, "/environments/", 'e', "/architectures", &n))
		fake_architectures(f, &w, n);
	else
		test_fail(__FILE__, __LINE__, "unexpected: %s", rq->url);
	ret->status = 200;
	scripted_add_header(ret, "content-type", "application/json");
	scripted_set_body(ret, buf_span(&out));
	buf_free(&out);
}

void
fake_brainboard_init(struct fake_brainboard *f, struct scripted_http *http)
{
	memset(f, 0, sizeof(*f));
	f->projects = f->environments = 1;
	f->embedded = f->raw = f->bearer = true;
	scripted_handle(http, fake_answer, f);
}
