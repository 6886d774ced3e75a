/* SPDX-License-Identifier: MIT */
#include "mem_world.h"

#include <stdlib.h>

#include "base/mem.h"

struct mem_world *
mem_world_new(void)
{
	struct mem_world *w = xcalloc(1, sizeof(*w));

	w->states = map_new();
	w->versions = map_new();
	return w;
}

static void
mem_state_free(struct mem_state *s)
{
	if (s == NULL)
		return;
	body_unref(s->body);
	free(s->lock);
	free(s);
}

static void
mem_versions_cut(struct mem_versions *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		body_unref(x->v[i].body);
	x->n -= n;
	memmove(x->v, x->v + n, x->n * sizeof(*x->v));
}

static void
mem_versions_free(struct mem_versions *x)
{
	mem_versions_cut(x, x->n);
	free(x->v);
	free(x);
}

void
mem_world_free(struct mem_world *w)
{
	void *s;

	if (w == NULL)
		return;
	for (size_t i = 0; map_next(w->states, &i, NULL, &s);)
		mem_state_free(s);
	map_free(w->states);
	for (size_t i = 0; map_next(w->versions, &i, NULL, &s);)
		mem_versions_free(s);
	map_free(w->versions);
	free(w);
}

struct mem_state *
mem_state(struct mem_world *w, const char *name)
{
	return map_get(w->states, span_str(name));
}

static struct mem_state *
mem_state_make(struct mem_world *w, const char *name)
{
	struct mem_state *s = mem_state(w, name);

	if (s == NULL) {
		s = xcalloc(1, sizeof(*s));
		map_put(w->states, span_str(name), s);
	}
	return s;
}

/* A state that is neither written nor locked is not there. */
static void
mem_state_tidy(struct mem_world *w, const char *name)
{
	struct mem_state *s = mem_state(w, name);

	if (s != NULL && s->body == NULL && s->lock == NULL)
		mem_state_free(map_del(w->states, span_str(name)));
}

struct mem_versions *
mem_versions(struct mem_world *w, const char *name)
{
	return map_get(w->versions, span_str(name));
}

static void
mem_versions_add(struct mem_world *w, const char *name, struct body *body)
{
	struct mem_versions *x = mem_versions(w, name);

	if (x == NULL) {
		x = xcalloc(1, sizeof(*x));
		map_put(w->versions, span_str(name), x);
	}
	x->v = xreallocarray(x->v, x->n + 1, sizeof(*x->v));
	x->v[x->n++] = (struct mem_version){ body_ref(body), w->tags, w->date };
}

void
mem_store(struct mem_world *w, const char *name, struct body *body)
{
	struct mem_state *s = mem_state_make(w, name);

	body_unref(s->body);
	s->body = body == NULL ? NULL : body_ref(body);
	s->tag = ++w->tags;
	w->writes++;
	if (body != NULL)
		mem_versions_add(w, name, body);
	mem_state_tidy(w, name);
}

void
mem_world_put(struct mem_world *w, const char *name, struct span body)
{
	struct body *copy = body.p == NULL ? NULL : body_copy(body);

	mem_store(w, name, copy);
	body_unref(copy);
}

bool
mem_world_get(struct mem_world *w, const char *name, struct span *ret)
{
	struct mem_state *s = mem_state(w, name);

	if (s == NULL || s->body == NULL)
		return false;
	*ret = body_span(s->body);
	return true;
}

void
mem_world_lock(struct mem_world *w, const char *name, const char *body)
{
	struct mem_state *s = mem_state_make(w, name);

	free(s->lock);
	s->lock = xstrdup(body);
	mem_state_tidy(w, name);
}

const char *
mem_world_locked(struct mem_world *w, const char *name)
{
	struct mem_state *s = mem_state(w, name);

	return s == NULL ? NULL : s->lock;
}

size_t
mem_world_locks(struct mem_world *w)
{
	size_t n = 0;
	void  *s;

	for (size_t i = 0; map_next(w->states, &i, NULL, &s);)
		n += ((struct mem_state *)s)->lock != NULL;
	return n;
}

void
mem_world_date(struct mem_world *w, int64_t wall_ms)
{
	w->date = wall_ms;
}

void
mem_world_lose(struct mem_world *w, const char *name, size_t n)
{
	struct mem_versions *x = mem_versions(w, name);

	body_unref(x->v[n - 1].body);
	x->v[n - 1].body = NULL;
}

void
mem_world_expire(struct mem_world *w, const char *name, size_t keep)
{
	struct mem_versions *x = mem_versions(w, name);

	if (x != NULL && x->n > keep)
		mem_versions_cut(x, x->n - keep);
}

void
mem_world_deny(struct mem_world *w, enum err_code list, enum err_code read)
{
	w->deny_list = list;
	w->deny_read = read;
}

uint64_t
mem_world_writes(struct mem_world *w)
{
	return w->writes;
}

void
mem_world_each(struct mem_world *w, void (*fn)(void *arg, const char *name, struct span body), void *arg)
{
	struct span name;
	void       *s;
	char       *text;

	for (size_t i = 0; map_next(w->states, &i, &name, &s);) {
		if (((struct mem_state *)s)->body == NULL)
			continue;
		text = span_dup(name);
		fn(arg, text, body_span(((struct mem_state *)s)->body));
		free(text);
	}
}

void
mem_world_down(struct mem_world *w, enum err_code code)
{
	w->down = code;
}

void
mem_world_fault(struct mem_world *w, uint64_t n, enum err_code code, bool after)
{
	w->fault_at = w->calls + n;
	w->fault = code;
	w->fault_after = after;
}

void
mem_world_retry_after(struct mem_world *w, uint32_t ms)
{
	w->retry_after_ms = ms;
}

uint64_t
mem_world_calls(struct mem_world *w)
{
	return w->calls;
}
