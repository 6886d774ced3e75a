/* SPDX-License-Identifier: MIT */
#include "net/sharedkey.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"
#include "net/url.h"

/* A line as it is signed: "name:value". */
struct sharedkey_line {
	struct buf name, value;
};

static int
sharedkey_line_cmp(const void *a, const void *b)
{
	const struct sharedkey_line *x = a, *y = b;

	return strcmp(buf_str(&x->name), buf_str(&y->name));
}

static void
sharedkey_lower(struct span in, struct buf *ret)
{
	for (size_t i = 0; i < in.n; i++)
		buf_putc(ret, (char)tolower(in.p[i]));
}

/* Sorts, appends, frees. */
static void
sharedkey_put_lines(struct sharedkey_line *lines, size_t n, const char *before, const char *after, struct buf *ret)
{
	if (n > 0)
		qsort(lines, n, sizeof(*lines), sharedkey_line_cmp);
	for (size_t i = 0; i < n; i++) {
		buf_printf(ret, "%s%s:", before, buf_str(&lines[i].name));
		buf_put(ret, lines[i].value.data, lines[i].value.len);
		buf_puts(ret, after);
		buf_free(&lines[i].name);
		buf_free(&lines[i].value);
	}
	free(lines);
}

static const char *
sharedkey_header(const struct sharedkey_request *r, const char *name)
{
	for (size_t i = 0; i < r->nheaders; i++)
		if (strcasecmp(r->headers[i].name, name) == 0)
			return r->headers[i].value;
	return "";
}

/* Blanks around a value are dropped, runs of them inside are one. */
static void
sharedkey_value(const char *text, struct buf *ret)
{
	size_t start = ret->len;
	bool   blank = false;

	for (; *text != '\0'; text++) {
		if (*text == ' ' || *text == '\t') {
			blank = ret->len > start;
			continue;
		}
		if (blank)
			buf_putc(ret, ' ');
		blank = false;
		buf_putc(ret, *text);
	}
}

static void
sharedkey_own_headers(const struct sharedkey_request *r, struct buf *ret)
{
	struct sharedkey_line *lines = xcalloc(r->nheaders + 1, sizeof(*lines));
	size_t                 n = 0;

	for (size_t i = 0; i < r->nheaders; i++) {
		if (strncasecmp(r->headers[i].name, "x-ms-", 5) != 0)
			continue;
		buf_init(&lines[n].name, 0);
		buf_init(&lines[n].value, 0);
		sharedkey_lower(span_str(r->headers[i].name), &lines[n].name);
		sharedkey_value(r->headers[i].value, &lines[n++].value);
	}
	sharedkey_put_lines(lines, n, "", "\n", ret);
}

/* What is broken is signed as it is sent. */
static void
sharedkey_decoded(struct span in, struct buf *ret)
{
	struct buf raw;

	buf_init(&raw, 0);
	if (url_unescape(in, true, &raw))
		buf_put(ret, raw.data, raw.len);
	else
		buf_put(ret, in.p, in.n);
	buf_free(&raw);
}

static void
sharedkey_query(const char *query, struct buf *ret)
{
	struct sharedkey_line *lines;
	struct buf             name;
	size_t                 n = 0, most = 1;

	for (const char *p = query; *p != '\0'; p++)
		most += *p == '&';
	lines = xcalloc(most, sizeof(*lines));
	while (*query != '\0') {
		size_t len = strcspn(query, "&"), eq = strcspn(query, "=&");

		if (len > 0) {
			buf_init(&lines[n].name, 0);
			buf_init(&lines[n].value, 0);
			buf_init(&name, 0);
			sharedkey_decoded(span_of(query, eq), &name);
			sharedkey_lower(buf_span(&name), &lines[n].name);
			buf_free(&name);
			if (eq < len)
				sharedkey_decoded(span_of(query + eq + 1, len - eq - 1), &lines[n].value);
			n++;
		}
		query += len + (query[len] == '&');
	}
	sharedkey_put_lines(lines, n, "\n", "", ret);
}

void
sharedkey_text(const char *account, const struct sharedkey_request *r, struct buf *ret)
{
	static const char *const after_length[] = { "Content-MD5", "Content-Type", NULL };
	static const char *const conditions[] = { "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range",
		NULL };

	buf_printf(ret, "%s\n%s\n%s\n", r->method, sharedkey_header(r, "Content-Encoding"), sharedkey_header(r, "Content-Language"));
	if (r->content_length > 0)
		buf_printf(ret, "%llu", (unsigned long long)r->content_length);
	buf_puts(ret, "\n");
	for (const char *const *h = after_length; *h != NULL; h++)
		buf_printf(ret, "%s\n", sharedkey_header(r, *h));
	buf_puts(ret, "\n"); /* Date: x-ms-date stands for it */
	for (const char *const *h = conditions; *h != NULL; h++)
		buf_printf(ret, "%s\n", sharedkey_header(r, *h));
	sharedkey_own_headers(r, ret);
	buf_printf(ret, "/%s%s", account, r->path);
	if (r->query != NULL)
		sharedkey_query(r->query, ret);
}

void
sharedkey_sign(const char *account, struct span key, const struct sharedkey_request *r, struct buf *ret)
{
	uint8_t    mac[DIGEST_LEN];
	struct buf text;

	buf_init(&text, 0);
	sharedkey_text(account, r, &text);
	hmac_sha256(key, buf_span(&text), mac);
	buf_free(&text);
	buf_printf(ret, "SharedKey %s:", account);
	base64_encode(span_of(mac, sizeof(mac)), ret);
}
