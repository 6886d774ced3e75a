/* SPDX-License-Identifier: MIT */
#include "state_server.h"

#include <stdlib.h>

#include "base/encode.h"
#include "base/map.h"
#include "provider/lock_info.h"
#include "test.h"

struct served {
	struct body *body;
	char        *lock;
};

struct state_server {
	struct map *states;
	bool        locks_nobody;
	unsigned    lockings;
};

static struct served *
served_at(struct state_server *v, const char *path)
{
	struct served *s = map_get(v->states, span_str(path));

	if (s == NULL) {
		s = xcalloc(1, sizeof(*s));
		map_put(v->states, span_str(path), s);
	}
	return s;
}

static bool
served_is_holder(const struct served *s, const char *id)
{
	struct lock_info l;

	return s->lock != NULL && id != NULL && lock_info_parse(span_str(s->lock), &l, NULL) == ERR_OK && strcmp(l.id, id) == 0;
}

static void
served_busy(const struct served *s, struct scripted_answer *a)
{
	a->status = 423;
	scripted_set_body(a, span_str(s->lock));
}

static void
served_get(const struct served *s, const struct scripted_request *rq, struct scripted_answer *a)
{
	const char   *unless = scripted_header(rq, "If-None-Match");
	struct digest d;
	char          hex[DIGEST_HEX], tag[DIGEST_HEX + 2];

	a->status = 404;
	if (s->body == NULL)
		return;
	sha256_of(body_span(s->body).p, body_span(s->body).n, &d);
	snprintf(tag, sizeof(tag), "\"%s\"", digest_hex(&d, hex));
	scripted_add_header(a, "ETag", "%s", tag);
	a->status = unless != NULL && strcmp(unless, tag) == 0 ? 304 : 200;
	if (a->status == 200)
		scripted_set_body(a, body_span(s->body));
}

static void
served_post(struct served *s, const struct scripted_request *rq, struct scripted_answer *a)
{
	char      *id = scripted_query(rq, "ID");
	uint8_t    sum[MD5_LEN];
	struct buf text;

	buf_init(&text, 0);
	md5_of(rq->body.p, rq->body.n, sum);
	base64_encode(span_of(sum, sizeof(sum)), &text);
	CHECK_STR(scripted_header(rq, "Content-MD5"), buf_str(&text));
	buf_free(&text);
	if (s->lock != NULL && !served_is_holder(s, id)) {
		served_busy(s, a);
	} else {
		body_unref(s->body);
		s->body = body_copy(rq->body);
		a->status = 200;
	}
	free(id);
}

static void
served_lock(struct state_server *v, struct served *s, const struct scripted_request *rq, struct scripted_answer *a)
{
	struct lock_info l;
	bool             unlock = strcmp(rq->method, "UNLOCK") == 0;

	v->lockings += !unlock;
	a->status = 400;
	if (lock_info_parse(rq->body, &l, NULL) != ERR_OK)
		return;
	a->status = 200;
	if (v->locks_nobody)
		return;
	if (s->lock != NULL && !served_is_holder(s, l.id)) {
		served_busy(s, a);
	} else if (unlock) {
		a->status = s->lock != NULL ? 200 : 404;
		free(s->lock);
		s->lock = NULL;
	} else if (s->lock == NULL) {
		s->lock = span_dup(rq->body);
	}
}

static void
state_server_answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	struct served *s = served_at(arg, rq->at.path);

	if (strcmp(rq->method, "GET") == 0)
		served_get(s, rq, a);
	else if (strcmp(rq->method, "POST") == 0)
		served_post(s, rq, a);
	else if (strcmp(rq->method, "LOCK") == 0 || strcmp(rq->method, "UNLOCK") == 0)
		served_lock(arg, s, rq, a);
	else if (strcmp(rq->method, "DELETE") == 0) {
		a->status = s->body != NULL ? 200 : 404;
		body_unref(s->body);
		s->body = NULL;
	} else {
		a->status = 405;
	}
}

struct state_server *
state_server_new(struct scripted_http *s)
{
	struct state_server *v = xcalloc(1, sizeof(*v));

	v->states = map_new();
	scripted_handle(s, state_server_answer, v);
	return v;
}

void
state_server_put(struct state_server *v, const char *path, struct span body)
{
	struct served *s = served_at(v, path);

	body_unref(s->body);
	s->body = body_copy(body);
}

struct span
state_server_get(struct state_server *v, const char *path)
{
	const struct served *s = served_at(v, path);

	return s->body != NULL ? body_span(s->body) : span_of(NULL, 0);
}

void
state_server_lock_nobody(struct state_server *v, bool yes)
{
	v->locks_nobody = yes;
}

unsigned
state_server_lockings(struct state_server *v)
{
	return v->lockings;
}

size_t
state_server_locks(struct state_server *v)
{
	size_t n = 0;
	void  *s;

	for (size_t i = 0; map_next(v->states, &i, NULL, &s);)
		n += ((struct served *)s)->lock != NULL;
	return n;
}

void
state_server_free(struct state_server *v)
{
	void *s;

	for (size_t i = 0; map_next(v->states, &i, NULL, &s);) {
		body_unref(((struct served *)s)->body);
		free(((struct served *)s)->lock);
		free(s);
	}
	map_free(v->states);
	free(v);
}
