/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/utf8.h"
#include "internal.h"
#include "serve/document.h"

/* Documents that the API answers with, for commands that tell them to people. */

json_t *
cli_load(const struct api_reply *r)
{
	size_t  size = (size_t)body_size(r->body), n = 0, at = 0;
	char   *text = xmalloc(size + 1);
	json_t *doc;

	while (at < size && body_read(r->body, at, text + at, size - at, &n, NULL) == ERR_OK && n > 0)
		at += n;
	doc = document_load(text, at);
	free(text);
	return doc;
}

json_t *
cli_string(const char *text)
{
	struct span s = span_str(text);
	struct buf  b;
	uint8_t     utf8[4];
	uint32_t    c;
	json_t     *ret;

	buf_init(&b, 0);
	for (size_t n; s.n > 0; s = span_of(s.p + n, s.n - n)) {
		n = utf8_next(s.p, s.n, &c);
		buf_put(&b, utf8, utf8_put(utf8, c));
	}
	ret = json_string(buf_str(&b));
	buf_free(&b);
	return ret;
}

const char *
cli_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

double
cli_num(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

bool
cli_bool(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

const char *
cli_digits(const json_t *o, const char *key, char ret[CLI_DIGITS_MAX])
{
	const json_t *v = json_object_get(o, key);

	if (json_is_string(v))
		snprintf(ret, CLI_DIGITS_MAX, "%s", json_string_value(v));
	else
		snprintf(ret, CLI_DIGITS_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	return ret;
}

bool
cli_has(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return v != NULL && !json_is_null(v);
}
