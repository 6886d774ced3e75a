/* SPDX-License-Identifier: MIT */
#include "api_rig.h"

#include <stdlib.h>

#include "test.h"

#define API_RIG_MS 3600000

static void
api_take(struct api_answer *a, const struct api_reply *reply)
{
	size_t n = 0;

	a->status = reply->status;
	a->exit = reply->exit;
	a->size = (size_t)body_size(reply->body);
	a->bytes = xcalloc(1, a->size + 1);
	for (size_t at = 0; at < a->size; at += n) {
		struct err e;

		CHECK_OK(body_read(reply->body, at, a->bytes + at, a->size - at, &n, &e), e);
		CHECK(n > 0);
	}
	if (strcmp(reply->type, "application/json") == 0) {
		json_error_t e;

		/* serials up to 2^64-1 are more than its integers hold */
		a->doc = json_loadb(a->bytes, a->size, JSON_REJECT_DUPLICATES, &e);
		if (a->doc == NULL && json_error_code(&e) == json_error_numeric_overflow)
			a->doc = json_loadb(a->bytes, a->size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e);
		if (a->doc == NULL)
			test_fail(__FILE__, __LINE__, "%s at %d: %s", e.text, e.position, a->bytes);
	}
}

void
api_rig_call(struct agent_rig *r, struct api_answer *a, const char *method, const char *route, const char *const *args)
{
	struct api_arg     pairs[8];
	struct api_request req = { method, route, pairs, 0 };
	struct api_reply   reply;
	char              *copies[8];

	api_answer_free(a);
	for (; args[req.nargs] != NULL; req.nargs++) {
		char *eq, *copy = xstrdup(args[req.nargs]);

		CHECK(req.nargs < ARRAY_LEN(pairs) && (eq = strchr(copy, '=')) != NULL);
		*eq = '\0';
		copies[req.nargs] = copy;
		pairs[req.nargs] = (struct api_arg){ copy, eq + 1 };
	}
	CHECK_OK(agent_rig_run(r, api_call(r->engine, &req, &reply), API_RIG_MS), r->err);
	api_take(a, &reply);
	api_reply_free(&reply);
	for (size_t i = 0; i < req.nargs; i++)
		free(copies[i]);
	if (a->doc != NULL)
		CHECK_STR(api_text(a, "format_version"), "1.0");
	if (getenv("RIG_LOG") != NULL)
		fprintf(stderr, "%s %s: %d %d %s\n", method, route, a->status, a->exit, a->bytes);
}

void
api_answer_free(struct api_answer *a)
{
	json_decref(a->doc);
	free(a->bytes);
	memset(a, 0, sizeof(*a));
}

json_t *
api_at(const struct api_answer *a, const char *path)
{
	json_t *at = a->doc;
	char   *copy = xstrdup(path), *save = NULL;

	for (char *key = strtok_r(copy, ".", &save); key != NULL && at != NULL; key = strtok_r(NULL, ".", &save))
		at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10)) : json_object_get(at, key);
	free(copy);
	return at;
}

const char *
api_text(const struct api_answer *a, const char *path)
{
	static char     text[8][1024];
	static unsigned turn;
	char           *out = text[turn++ % 8];
	json_t         *at = api_at(a, path);
	char           *dump;

	if (at == NULL)
		return "(absent)";
	if (json_is_string(at)) {
		snprintf(out, sizeof(text[0]), "%s", json_string_value(at));
		return out;
	}
	dump = json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT);
	snprintf(out, sizeof(text[0]), "%s", dump);
	free(dump);
	return out;
}
