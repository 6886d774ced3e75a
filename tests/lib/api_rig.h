/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_API_RIG_H
#define TESTS_LIB_API_RIG_H

#include <jansson.h>

#include "agent_rig.h"
#include "serve/api.h"

/* Calls of the API on a rig. args: "name=value" strings, the last is NULL. Each answer is parsed by jansson, or kept as bytes; the
 * earlier one is freed. */
struct api_answer {
	int     status, exit;
	json_t *doc;          /* NULL: exact bytes */
	char   *bytes;        /* NUL-terminated */
	size_t  size;
};
void api_rig_call(struct agent_rig *r, struct api_answer *a, const char *method, const char *route, const char *const *args);
void api_answer_free(struct api_answer *a);
#define API_GET(r, a, route, ...)  api_rig_call(r, a, "GET", route, (const char *const[]){ __VA_ARGS__ })
#define API_POST(r, a, route, ...) api_rig_call(r, a, "POST", route, (const char *const[]){ __VA_ARGS__ })

/* By path: "replicas.current", "states.0.name". NULL: absent. */
json_t     *api_at(const struct api_answer *a, const char *path);
/* Its text: strings as they are, numbers, true, false and null as JSON; "(absent)". Static, rotating over 8. */
const char *api_text(const struct api_answer *a, const char *path);

#endif
