/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>

#include "../lib/fuzz.h"
#include "net/http_check.h"

/*
 * What http_check() lets through is looked at again in the plainest way: by lines, and by counting. And whom it
 * refuses after the first part it also refuses after the whole.
 */

struct counted {
	unsigned hosts, lengths, encodings, lines;
};

static void
check_line(struct counted *c, const char *p, size_t n)
{
	FUZZ_CHECK(memchr(p, '\n', n) == NULL && memchr(p, '\r', n) == NULL && memchr(p, '\0', n) == NULL);
	FUZZ_CHECK(n > 0 && p[0] != ' ' && p[0] != '\t');
	if (c->lines++ == 0) {
		FUZZ_CHECK(memcmp(p + n - 9, " HTTP/1.", 8) == 0);
		FUZZ_CHECK(memmem(p, n, "/../", 4) == NULL || memchr(p, '?', n) != NULL);
		return;
	}
	FUZZ_CHECK(memchr(p, ':', n) != NULL && ((const char *)memchr(p, ':', n))[-1] != ' ');
	c->hosts += n >= 5 && strncasecmp(p, "host:", 5) == 0;
	c->lengths += n >= 15 && strncasecmp(p, "content-length:", 15) == 0;
	c->encodings += n >= 18 && strncasecmp(p, "transfer-encoding:", 18) == 0;
}

static void
check_fine(const char *p, const struct http_head *head)
{
	struct counted c = { 0 };
	const char    *end = p + head->size - 2;

	FUZZ_CHECK(head->size <= HTTP_HEAD_MAX && memcmp(end - 2, "\r\n\r\n", 4) == 0);
	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));

		FUZZ_CHECK(lf != NULL && lf > p && lf[-1] == '\r');
		check_line(&c, p, (size_t)(lf - 1 - p));
		p = lf + 1;
	}
	FUZZ_CHECK(c.hosts <= 1 && c.lengths + c.encodings <= 1 && c.lines <= HTTP_FIELDS_MAX + 1);
	FUZZ_CHECK(head->chunked == (c.encodings == 1));
	FUZZ_CHECK(head->length == 0 || c.lengths == 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct http_head  head, part;
	enum http_verdict v = http_check(span_of(data, n), &head), before;

	if (v == HTTP_FINE)
		check_fine((const char *)data, &head);
	if (v == HTTP_REFUSE)
		FUZZ_CHECK(head.status >= 400 && head.status < 600 && head.reason != NULL);
	if (v == HTTP_MORE)
		FUZZ_CHECK(n < HTTP_HEAD_MAX);
	for (size_t cut = n / 2; cut < n; cut += 1 + n / 8) {
		before = http_check(span_of(data, cut), &part);
		if (before == HTTP_MORE)
			continue;
		FUZZ_CHECK(before == v); /* for another reason perhaps: too long, before the line ends wrongly too */
		FUZZ_CHECK(v != HTTP_FINE || part.size == head.size);
	}
	return 0;
}
