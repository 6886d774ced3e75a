/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/encode.h"
#include "net/sharedkey.h"
#include "../../lib/test.h"

#define HEADERS 16

static const char *
text(const json_t *v, const char *name)
{
	const char *s = json_string_value(json_object_get(v, name));

	CHECK(s != NULL);
	return s;
}

/* The request of a vector; header values stay the vector's. */
static void
request_of(json_t *v, struct http_header headers[HEADERS], struct sharedkey_request *ret)
{
	const char *name;
	json_t     *value;

	*ret = (struct sharedkey_request){ text(v, "method"), text(v, "path"), text(v, "query"), headers, 0, 0 };
	json_object_foreach(json_object_get(v, "headers"), name, value) {
		CHECK(ret->nheaders < HEADERS);
		if (strcmp(name, "Content-Length") == 0)
			ret->content_length = strtoull(json_string_value(value), NULL, 10);
		else
			headers[ret->nheaders++] = (struct http_header){ name, (char *)(uintptr_t)json_string_value(value) };
	}
}

static void
check_vector(json_t *v)
{
	struct http_header       headers[HEADERS];
	struct sharedkey_request r;
	struct buf               got, key;
	char                     want[256];

	request_of(v, headers, &r);
	buf_init(&got, 0);
	buf_init(&key, 0);
	sharedkey_text(text(v, "account"), &r, &got);
	CHECK_STR(buf_str(&got), text(v, "string_to_sign"));
	buf_reset(&got);
	CHECK(base64_decode(span_str(text(v, "key")), &key));
	sharedkey_sign(text(v, "account"), buf_span(&key), &r, &got);
	snprintf(want, sizeof(want), "SharedKey %s:%s", text(v, "account"), text(v, "signature"));
	CHECK_STR(buf_str(&got), want);
	buf_free(&got);
	buf_free(&key);
}

static void
vectors(void)
{
	size_t      n;
	const char *file = test_read("golden/azure/sharedkey-vectors.json", &n);
	json_t     *root = json_loadb(file, n, 0, NULL), *all = json_object_get(root, "vectors");

	CHECK_U64(json_array_size(all), 20);
	for (size_t i = 0; i < json_array_size(all); i++)
		check_vector(json_array_get(all, i));
	json_decref(root);
}

static void
check_text(struct sharedkey_request *r, const char *want)
{
	struct buf got;

	buf_init(&got, 0);
	sharedkey_text("acct", r, &got);
	CHECK_STR(buf_str(&got), want);
	buf_free(&got);
}

static void
blanks(void)
{
	char               value[] = "  a \t b  ";
	struct http_header h = { "X-Ms-Meta-Who", value };

	check_text(&(struct sharedkey_request){ "GET", "/c/b", NULL, &h, 1, 0 }, "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-meta-who:a b\n/acct/c/b");
}

static void
queries(void)
{
	check_text(&(struct sharedkey_request){ "GET", "/c", "Prefix=a%zz&comp=list&&marker", NULL, 0, 0 },
	    "GET\n\n\n\n\n\n\n\n\n\n\n\n/acct/c\ncomp:list\nmarker:\nprefix:a%zz");
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "recorded vectors", vectors }, { "blanks inside a value are one", blanks },
		{ "a query is sorted, and a broken escape stands for itself", queries }, { NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
