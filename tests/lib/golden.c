/* SPDX-License-Identifier: MIT */
#include "golden.h"

#include <stdlib.h>
#include <strings.h>

#include "test.h"

json_t *
golden_load(const char *folder, const char *name)
{
	char        *path = xasprintf("golden/%s/%s.json", folder, name);
	json_error_t e;
	json_t      *root = json_load_file(test_path(path), 0, &e);

	if (root == NULL)
		test_fail(__FILE__, __LINE__, "%s: %s", path, e.text);
	free(path);
	return root;
}

const char *
golden_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

/* Header i of a message: ["Name", "value"], or "Name: value". Both are owned by the caller. */
static struct http_header
golden_header_at(const json_t *headers, size_t i)
{
	const json_t *h = json_array_get(headers, i);
	const char   *line = json_string_value(h);
	size_t        n = line != NULL ? strcspn(line, ":") : 0;

	if (line == NULL)
		return (struct http_header){ xstrdup(json_string_value(json_array_get(h, 0))), xstrdup(json_string_value(json_array_get(h, 1))) };
	CHECK(line[n] == ':' && line[n + 1] == ' ');
	return (struct http_header){ xstrndup(line, n), xstrdup(line + n + 2) };
}

static void
golden_request(const json_t *o, struct scripted_request *ret)
{
	const json_t       *headers = json_object_get(o, "headers");
	const char         *target = golden_text(o, "target"), *host = golden_text(o, "host"), *scheme = golden_text(o, "scheme");
	struct http_header *list = xcalloc(json_array_size(headers) + 1, sizeof(*list));
	struct err          e;

	*ret = (struct scripted_request){ .method = golden_text(o, "method"), .headers = list, .nheaders = json_array_size(headers),
		.body = span_str(golden_text(o, "body")) };
	for (size_t i = 0; i < ret->nheaders; i++)
		list[i] = golden_header_at(headers, i);
	if (host[0] == '\0' && scripted_header(ret, "Host") != NULL)
		host = scripted_header(ret, "Host");
	if (target[0] != '/')
		ret->url = xstrdup(target);
	else
		ret->url = xasprintf("%s://%s%s", scheme[0] != '\0' ? scheme : "http", host, target);
	CHECK_OK(url_parse(ret->url, &ret->at, &e), e);
}

void
golden_open(struct golden *g, const char *folder, const char *name)
{
	const json_t *list;

	memset(g, 0, sizeof(*g));
	g->root = golden_load(folder, name);
	snprintf(g->name, sizeof(g->name), "%s", name);
	list = json_object_get(g->root, "exchanges");
	g->n = json_array_size(list);
	CHECK(g->n > 0);
	g->requests = xcalloc(g->n, sizeof(*g->requests));
	for (size_t i = 0; i < g->n; i++)
		golden_request(json_object_get(json_array_get(list, i), "request"), &g->requests[i]);
}

void
golden_close(struct golden *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct scripted_request *rq = &g->requests[i];

		for (size_t k = 0; k < rq->nheaders; k++) {
			free((char *)(uintptr_t)rq->headers[k].name);
			free(rq->headers[k].value);
		}
		free((struct http_header *)(uintptr_t)rq->headers);
		free((char *)(uintptr_t)rq->url);
		url_free(&rq->at);
	}
	free(g->requests);
	json_decref(g->root);
	memset(g, 0, sizeof(*g));
}

/* Bodies are cut in some recordings: their length is what is left of them, but where there is none, as after a HEAD. */
void
golden_answer(const struct golden *g, size_t i, struct scripted_answer *ret)
{
	const json_t *response = json_object_get(json_array_get(json_object_get(g->root, "exchanges"), i), "response");
	const json_t *headers = json_object_get(response, "headers");

	ret->status = (int)json_integer_value(json_object_get(response, "status"));
	for (size_t k = 0; k < json_array_size(headers); k++) {
		struct http_header h = golden_header_at(headers, k);

		if (strcmp(g->requests[i].method, "HEAD") == 0 || strcasecmp(h.name, "content-length") != 0)
			scripted_add_header(ret, h.name, "%s", h.value);
		free((char *)(uintptr_t)h.name);
		free(h.value);
	}
	scripted_set_body(ret, span_str(golden_text(response, "body")));
}

void
golden_handle(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	struct golden *g = arg;
	size_t         i = g->next;

	while (i < g->n && !g->same(rq, &g->requests[i]))
		i++;
	if (i == g->n)
		test_fail(__FILE__, __LINE__, "%s: not recorded: %s %s", g->name, rq->method, rq->url);
	g->compare(rq, &g->requests[i]);
	golden_answer(g, i, ret);
	g->next = i + 1;
	g->replayed++;
}

const struct scripted_request *
golden_find(const struct golden *g, bool (*fn)(const struct scripted_request *theirs))
{
	for (size_t i = g->next; i < g->n; i++)
		if (fn(&g->requests[i]))
			return &g->requests[i];
	return NULL;
}

void
golden_headers(const struct scripted_request *ours, const struct scripted_request *theirs,
    bool (*matters)(const struct scripted_request *rq, const struct http_header *h))
{
	for (size_t i = 0; i < theirs->nheaders; i++) {
		const struct http_header *h = &theirs->headers[i];
		const char               *value = scripted_header(ours, h->name);

		if (matters(ours, h) && (value == NULL || strcmp(value, h->value) != 0))
			test_fail(__FILE__, __LINE__, "%s %s: %s is %s here, %s there", ours->method, ours->url, h->name,
			    value != NULL ? value : "absent", h->value);
	}
}
