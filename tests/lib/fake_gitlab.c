/* SPDX-License-Identifier: MIT */
#include "fake_gitlab.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/state_scan.h"
#include "provider/lock_info.h"
#include "provider/provider.h"
#include "test.h"

static void
fake_say(struct scripted_answer *a, int status, const char *text)
{
	a->status = status;
	if (text != NULL)
		scripted_set_body(a, span_str(text));
}

/* ---------------------------------------------------------------- the API */

static void
fake_node(const struct fake_gitlab_state *s, struct buf *out)
{
	buf_printf(out, "{\"name\":\"%s\",\"lockedAt\":%s,\"lockedByUser\":%s,\"latestVersion\":", s->name,
	    s->lock[0] != '\0' ? "\"2026-11-20T10:00:00Z\"" : "null", s->lock[0] != '\0' ? "{\"username\":\"ann\"}" : "null");
	if (s->body == NULL)
		buf_puts(out, "null}");
	else
		buf_printf(out, "{\"serial\":%llu,\"createdAt\":\"2026-11-20T10:%02u:%02uZ\"}}", (unsigned long long)s->serial,
		    s->created / 60, s->created % 60);
}

/* The text between NAME:" and the next quote, owned; NULL: it is not there. Names of tests have no quotes. */
static char *
fake_argument(const char *query, const char *name)
{
	char       *key = xasprintf("%s:\"", name);
	const char *at = strstr(query, key);
	size_t      n = strlen(key);

	free(key);
	return at != NULL ? xstrndup(at + n, strcspn(at + n, "\"")) : NULL;
}

static void
fake_question(struct fake_gitlab *v, const char *query, struct buf *out)
{
	bool   by_id = span_starts(span_str(query), "query{projects(ids:[\"gid://gitlab/Project/7\"]){nodes{");
	char  *name = strstr(query, "terraformState(") != NULL ? fake_argument(query, "name") : NULL, *after = fake_argument(query, "after");
	size_t i = after != NULL ? strtoul(after, NULL, 10) : 0, end = i + v->page;

	CHECK(by_id || span_starts(span_str(query), "query{project(fullPath:\"acme/net\"){"));
	CHECK(name != NULL || strstr(query, "terraformStates(first:100") != NULL);
	buf_puts(out, by_id ? "{\"data\":{\"projects\":{\"nodes\":[" : "{\"data\":{\"project\":");
	if (v->hides) {
		buf_puts(out, by_id ? "" : "null");
	} else if (name != NULL) {
		buf_puts(out, "{\"terraformState\":");
		for (i = 0; i < v->n && strcmp(v->s[i].name, name) != 0; i++)
			;
		if (i < v->n)
			fake_node(&v->s[i], out);
		buf_puts(out, i < v->n ? "}" : "null}");
	} else {
		buf_puts(out, "{\"terraformStates\":{\"nodes\":[");
		for (; i < v->n && i < end; i++) {
			buf_puts(out, i + v->page > end ? "," : "");
			fake_node(&v->s[i], out);
		}
		buf_printf(out, "],\"pageInfo\":{\"hasNextPage\":%s,\"endCursor\":\"%zu\"}}}", i < v->n ? "true" : "false", i);
	}
	buf_puts(out, by_id ? "]}}}" : "}}");
	free(name);
	free(after);
}

static void
fake_api(struct fake_gitlab *v, const struct scripted_request *rq, struct scripted_answer *a)
{
	const char *token = scripted_header(rq, "PRIVATE-TOKEN");
	json_t     *root = json_loadb((const char *)rq->body.p, rq->body.n, 0, NULL);
	struct buf  out;

	v->asked++;
	CHECK_STR(rq->method, "POST");
	CHECK_STR(scripted_header(rq, "Content-Type"), "application/json");
	CHECK(json_string_value(json_object_get(root, "query")) != NULL);
	CHECK(scripted_header(rq, "Authorization") == NULL); /* it takes no Basic */
	if (token == NULL || strcmp(token, FAKE_GITLAB_TOKEN) != 0) {
		fake_say(a, 401, "{\"message\":\"Invalid token\"}");
	} else {
		buf_init(&out, 0);
		fake_question(v, json_string_value(json_object_get(root, "query")), &out);
		fake_say(a, 200, buf_str(&out));
		buf_free(&out);
	}
	json_decref(root);
}

/* ---------------------------------------------------------------- states and locks */

static void
fake_write(struct fake_gitlab *v, struct fake_gitlab_state *s, const struct scripted_request *rq, struct scripted_answer *a)
{
	char           *id = scripted_query(rq, "ID");
	struct snapshot snap;
	struct body    *body = body_copy(rq->body);

	snapshot_of(&snap, body, NULL);
	if (s->lock[0] != '\0' ? id == NULL || strcmp(id, s->lock) != 0 : id != NULL)
		fake_say(a, 409, "{\"message\":\"409 Conflict\"}");
	else if (!v->any_serial && s->body != NULL && snap.info.serial == s->serial)
		fake_say(a, 422, "{\"message\":\"Version has already been taken\"}");
	else
		fake_say(a, 200, NULL);
	if (a->status == 200 && (v->any_serial || s->body == NULL || snap.info.serial > s->serial))
		fake_gitlab_put(v, s->name, rq->body);
	snapshot_free(&snap);
	body_unref(body);
	free(id);
}

static void
fake_lock(struct fake_gitlab_state *s, const struct scripted_request *rq, struct scripted_answer *a)
{
	json_t          *doc = json_loadb((const char *)rq->body.p, rq->body.n, 0, NULL);
	bool             unlock = strcmp(rq->method, "DELETE") == 0;
	struct lock_info l;
	char            *text;

	CHECK_U64(json_object_size(doc), 7); /* never without all of them: an unlock without ID opens any lock */
	json_decref(doc);
	CHECK(lock_info_parse(rq->body, &l, NULL) == ERR_OK && l.id[0] != '\0');
	CHECK(unlock || strcmp(rq->method, "POST") == 0);
	if (unlock) {
		fake_say(a, strcmp(l.id, s->lock) == 0 ? 200 : 409, NULL); /* also when it is not locked at all */
		if (a->status == 200)
			s->lock[0] = '\0';
		return;
	}
	a->status = s->lock[0] != '\0' ? 409 : 200;
	if (a->status == 200)
		snprintf(s->lock, sizeof(s->lock), "%s", l.id);
	text = xasprintf("{\"ID\":\"%s\",\"Operation\":\"%s\",\"Info\":\"%s\",\"Who\":\"ann\",\"Version\":\"1\",\"Created\":\"2026-11-20T10:00:00Z\","
	    "\"Path\":\"\"}", s->lock, l.operation, l.info);
	scripted_set_body(a, span_str(text));
	free(text);
}

static struct fake_gitlab_state *
fake_find(struct fake_gitlab *v, const char *name)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->s[i].name, name) == 0)
			return &v->s[i];
	return NULL;
}

static void
fake_remove(struct fake_gitlab *v, struct fake_gitlab_state *s)
{
	body_unref(s->body);
	*s = v->s[--v->n];
}

/* Of what is deleted: it is gone a little later. */
static bool
fake_is_going(struct fake_gitlab *v, const char *name, struct scripted_answer *a)
{
	struct fake_gitlab_state *s = fake_find(v, name);

	if (s == NULL || s->going == 0)
		return false;
	if (--s->going > 0) {
		fake_say(a, 422, "{\"message\":\"state is pending deletion\"}");
		return true;
	}
	fake_remove(v, s);
	return false;
}

static void
fake_delete(const struct fake_gitlab *v, struct fake_gitlab_state *s, struct scripted_answer *a)
{
	a->status = v->keeps ? 403 : s != NULL ? 200 : 404;
	if (a->status == 200 && s->lock[0] == '\0')
		s->going = 3;
}

static void
fake_read(struct fake_gitlab *v, const char *name, struct scripted_answer *a)
{
	struct fake_gitlab_state *s = fake_find(v, name);

	v->reads++;
	a->status = s == NULL ? 404 : s->body != NULL ? 200 : 204;
	if (a->status == 200)
		scripted_set_body(a, body_span(s->body));
}

static void
fake_answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	struct fake_gitlab *v = arg;
	const char         *at = strstr(rq->at.path, "/terraform/state/"), *basic = scripted_header(rq, "Authorization"), *end;
	struct buf          name, want;

	CHECK_STR(rq->at.host, "gitlab.example.com");
	if (strcmp(rq->at.path, "/api/graphql") == 0) {
		fake_api(v, rq, a);
		return;
	}
	CHECK(at != NULL && (strncmp(rq->at.path, "/api/v4/projects/acme%2Fnet/", 28) == 0 || strncmp(rq->at.path, "/api/v4/projects/7/", 19) == 0));
	buf_init(&want, 0);
	buf_puts(&want, "Basic ");
	base64_encode(span_str("ann:" FAKE_GITLAB_TOKEN), &want);
	if (basic == NULL || strcmp(basic, buf_str(&want)) != 0)
		fake_say(a, 401, "{\"message\":\"401 Unauthorized\"}");
	buf_free(&want);
	if (a->status != 0)
		return;
	at += strlen("/terraform/state/");
	end = at + strcspn(at, "/");
	buf_init(&name, 0);
	CHECK(url_unescape(span_of(at, (size_t)(end - at)), false, &name));
	if (fake_is_going(v, buf_str(&name), a))
		;
	else if (strcmp(end, "/lock") == 0)
		fake_lock(fake_gitlab_at(v, buf_str(&name)), rq, a); /* a row is made by it */
	else if (strcmp(rq->method, "GET") == 0)
		fake_read(v, buf_str(&name), a);
	else if (strcmp(rq->method, "DELETE") == 0)
		fake_delete(v, fake_find(v, buf_str(&name)), a);
	else if (strcmp(rq->method, "POST") == 0)
		fake_write(v, fake_gitlab_at(v, buf_str(&name)), rq, a);
	else
		test_fail(__FILE__, __LINE__, "%s %s", rq->method, rq->at.path);
	buf_free(&name);
}

struct fake_gitlab *
fake_gitlab_behind(struct scripted_http *h)
{
	struct fake_gitlab *v = xcalloc(1, sizeof(*v));

	v->page = 100;
	scripted_handle(h, fake_answer, v);
	return v;
}

struct fake_gitlab_state *
fake_gitlab_at(struct fake_gitlab *v, const char *name)
{
	struct fake_gitlab_state *s = fake_find(v, name);

	if (s != NULL)
		return s;
	CHECK(v->n < ARRAY_LEN(v->s));
	memset(&v->s[v->n], 0, sizeof(v->s[v->n]));
	snprintf(v->s[v->n].name, sizeof(v->s[v->n].name), "%s", name);
	return &v->s[v->n++];
}

void
fake_gitlab_put(struct fake_gitlab *v, const char *name, struct span body)
{
	struct fake_gitlab_state *s = fake_gitlab_at(v, name);
	struct snapshot           snap;

	body_unref(s->body);
	s->body = body_copy(body);
	snapshot_of(&snap, s->body, NULL);
	s->serial = snap.info.serial;
	s->created = ++v->now;
	snapshot_free(&snap);
}

size_t
fake_gitlab_locks(const struct fake_gitlab *v)
{
	size_t n = 0;

	for (size_t i = 0; i < v->n; i++)
		n += v->s[i].lock[0] != '\0';
	return n;
}

void
fake_gitlab_free(struct fake_gitlab *v)
{
	for (size_t i = 0; i < v->n; i++)
		body_unref(v->s[i].body);
	free(v);
}
