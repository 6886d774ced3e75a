/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../lib/fuzz.h"
#include "base/mem.h"
#include "net/http_impl.h"

/*
 * The input is the raw header lines of an answer, an empty one, then its body. The first byte chooses the method
 * and the limit. Whatever comes: limits hold, names are lower case, and a complete answer has sane members.
 */
static void
check_headers(const struct http_response *r)
{
	size_t bytes = 0;

	FUZZ_CHECK(r->nheaders <= HTTP_HEADERS_MAX);
	for (size_t i = 0; i < r->nheaders; i++) {
		for (const char *p = r->headers[i].name; *p != '\0'; p++)
			FUZZ_CHECK(*p < 'A' || *p > 'Z');
		FUZZ_CHECK(strchr(r->headers[i].value, '\n') == NULL);
		bytes += strlen(r->headers[i].name);
	}
	FUZZ_CHECK(bytes <= HTTP_HEADER_BYTES_MAX);
}

static bool
feed(struct http_exchange *x, const uint8_t *p, size_t n)
{
	while (n > 0 && !x->head_done) {
		const uint8_t *end = memchr(p, '\n', n);
		size_t         line = end != NULL ? (size_t)(end - p) + 1 : n;

		if (!http_exchange_line(x, span_of(p, line)))
			return false;
		p += line;
		n -= line;
	}
	while (n > 0 && x->head_done) {
		size_t piece = n < 1000 ? n : 1000;

		if (!http_exchange_data(x, p, piece))
			return false;
		p += piece;
		n -= piece;
	}
	return true;
}

static void
finish(struct http_exchange *x, bool ok)
{
	struct http_response *r = x->ret;
	struct err            e;

	FUZZ_CHECK(ok == (x->broken.code == ERR_OK));
	check_headers(r);
	if (ok && x->head_done) {
		http_exchange_answered(x, NULL, &e);
		FUZZ_CHECK(e.code == ERR_OK && r->status >= 200 && r->body_size <= x->limit);
		FUZZ_CHECK((r->body == NULL ? 0 : body_size(r->body)) == r->body_size &&
		    r->retry_after_ms <= 24 * 3600 * 1000);
	} else {
		http_exchange_failed(x, &x->broken, &e);
		FUZZ_CHECK(r->status == 0 && r->nheaders == 0 && r->body == NULL);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct loop         *loop;
	struct http_client   client = { NULL, NULL, NULL, 0, 0, 0, 0 };
	struct http_request  req = { .method = "GET", .url = "http://h/", .max_body = 2000 };
	struct http_response answer;
	struct http_exchange x;

	if (n == 0)
		return 0;
	client.loop = loop = loop_new_virtual(1, 0);
	req.method = data[0] % 3 == 0 ? "HEAD" : "GET";
	req.changing = data[0] % 2 == 0;
	http_response_init(&answer);
	http_exchange_init(&x, &client, &req, &answer);
	FUZZ_CHECK(http_exchange_check(&x, NULL) == ERR_OK);
	finish(&x, feed(&x, data + 1, n - 1));
	http_response_free(&answer);
	http_exchange_free(&x);
	loop_free(loop);
	return 0;
}
