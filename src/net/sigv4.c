/* SPDX-License-Identifier: MIT */
#include "net/sigv4.h"

#include <assert.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/time.h"
#include "net/url.h"

#define SIGV4_MAX      ((size_t)1 << 18) /* canonical request: two URLs and the headers of one request */
#define SIGV4_DATE_LEN 8          /* "20261123" of "20261123T120000Z" */
#define SIGV4_OWN      4          /* host and the three that are added */

/* --- canonical query --- */

struct sigv4_pair {
	struct buf name, value; /* escaped */
};

static int
sigv4_pair_cmp(const void *a, const void *b)
{
	const struct sigv4_pair *x = a, *y = b;
	int                      by_name = strcmp(buf_str(&x->name), buf_str(&y->name));

	return by_name != 0 ? by_name : strcmp(buf_str(&x->value), buf_str(&y->value));
}

/* One spelling for each text, whatever was sent; a "%" that begins no escape stands for itself. */
static void
sigv4_respell(struct span in, struct buf *ret)
{
	struct buf raw;
	bool       ok;

	buf_init(&raw, SIGV4_MAX);
	ok = url_unescape(in, true, &raw);
	url_escape(URL_QUERY, ok ? buf_span(&raw) : in, ret);
	buf_wipe_free(&raw);
}

static void
sigv4_pair_parse(struct span text, struct sigv4_pair *ret)
{
	const uint8_t *eq = text.n > 0 ? memchr(text.p, '=', text.n) : NULL;
	size_t         n = eq != NULL ? (size_t)(eq - text.p) : text.n;

	buf_init(&ret->name, SIGV4_MAX);
	buf_init(&ret->value, SIGV4_MAX);
	sigv4_respell(span_of(text.p, n), &ret->name);
	if (eq != NULL)
		sigv4_respell(span_of(eq + 1, text.n - n - 1), &ret->value);
}

static size_t
sigv4_count(const char *s, char c)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += *s == c;
	return n;
}

static void
sigv4_add_query(const char *query, struct buf *ret)
{
	struct sigv4_pair *pairs;
	size_t             n = 0;

	if (query == NULL)
		return;
	pairs = xcalloc(sigv4_count(query, '&') + 1, sizeof(*pairs));
	for (const char *end; *query != '\0'; query = *end == '&' ? end + 1 : end) {
		end = strchrnul(query, '&');
		if (end > query)
			sigv4_pair_parse(span_of(query, (size_t)(end - query)), &pairs[n++]);
	}
	qsort(pairs, n, sizeof(*pairs), sigv4_pair_cmp);
	for (size_t i = 0; i < n; i++) {
		buf_puts(ret, i > 0 ? "&" : "");
		buf_puts(ret, buf_str(&pairs[i].name));
		buf_putc(ret, '=');
		buf_puts(ret, buf_str(&pairs[i].value));
		buf_wipe_free(&pairs[i].name);
		buf_wipe_free(&pairs[i].value);
	}
	free(pairs);
}

/* --- canonical headers --- */

struct sigv4_header {
	char       *name; /* lower case, owned */
	const char *value;
	size_t      seq;
};

static int
sigv4_header_cmp(const void *a, const void *b)
{
	const struct sigv4_header *x = a, *y = b;
	int                        by_name = strcmp(x->name, y->name);

	return by_name != 0 ? by_name : (x->seq > y->seq) - (x->seq < y->seq);
}

static void
sigv4_header_set(struct sigv4_header *list, size_t *n, const char *name, const char *value)
{
	struct sigv4_header *h = &list[*n];

	h->name = xstrdup(name);
	for (char *p = h->name; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + ('a' - 'A'));
	h->value = value;
	h->seq = (*n)++;
}

static bool
sigv4_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Without blanks at the ends, one for each run inside. */
static void
sigv4_add_value(const char *s, struct buf *ret)
{
	while (sigv4_blank(*s))
		s++;
	while (*s != '\0') {
		size_t word = strcspn(s, " \t");

		buf_put(ret, s, word);
		s += word;
		while (sigv4_blank(*s))
			s++;
		if (*s != '\0')
			buf_putc(ret, ' ');
	}
}

/* The lines and the list of names; equal names become one line, in the order given. */
static void
sigv4_add_headers(struct sigv4_header *list, size_t n, struct buf *ret, struct buf *ret_names)
{
	qsort(list, n, sizeof(*list), sigv4_header_cmp);
	for (size_t i = 0; i < n; i++) {
		bool again = i > 0 && strcmp(list[i - 1].name, list[i].name) == 0;

		if (again) {
			buf_putc(ret, ',');
		} else {
			buf_puts(ret, list[i].name);
			buf_putc(ret, ':');
			buf_puts(ret_names, i > 0 ? ";" : "");
			buf_puts(ret_names, list[i].name);
		}
		sigv4_add_value(list[i].value, ret);
		if (i + 1 == n || strcmp(list[i].name, list[i + 1].name) != 0)
			buf_putc(ret, '\n');
	}
	for (size_t i = 0; i < n; i++)
		free(list[i].name);
}

/* --- canonical request --- */

void
sigv4_canonical(const struct sigv4_request *r, const struct sigv4_key *key, struct buf *ret,
    struct buf *ret_signed_headers)
{
	struct sigv4_header *list = xcalloc(r->nheaders + SIGV4_OWN, sizeof(*list));
	char                 date[TIME_TEXT_MAX];
	size_t               n = 0;

	buf_printf(ret, "%s\n", r->method);
	if (strcmp(r->service, "s3") == 0)
		buf_puts(ret, r->path);
	else
		url_escape(URL_S3_PATH, span_str(r->path), ret);
	buf_putc(ret, '\n');
	sigv4_add_query(r->query, ret);
	buf_putc(ret, '\n');
	sigv4_header_set(list, &n, "host", r->host);
	sigv4_header_set(list, &n, "x-amz-date", time_format_basic(r->wall_ms, date));
	if (r->content_sha256)
		sigv4_header_set(list, &n, "x-amz-content-sha256", r->payload_hash);
	if (key->session_token != NULL)
		sigv4_header_set(list, &n, "x-amz-security-token", secret_str(key->session_token));
	for (size_t i = 0; i < r->nheaders; i++)
		sigv4_header_set(list, &n, r->headers[i].name, r->headers[i].value);
	sigv4_add_headers(list, n, ret, ret_signed_headers);
	buf_printf(ret, "\n%s\n%s", buf_str(ret_signed_headers), r->payload_hash);
	free(list);
}

/* --- signature --- */

/* HMAC chain over date, region, service: a key that is good for one day there. */
static void
sigv4_derive(const struct sigv4_key *key, const struct sigv4_request *r, struct span day, uint8_t ret[DIGEST_LEN])
{
	struct buf  first;
	const char *secret = secret_str(key->secret_key);

	buf_init(&first, strlen(secret) + 4);
	buf_printf(&first, "AWS4%s", secret);
	hmac_sha256(buf_span(&first), day, ret);
	hmac_sha256(span_of(ret, DIGEST_LEN), span_str(r->region), ret);
	hmac_sha256(span_of(ret, DIGEST_LEN), span_str(r->service), ret);
	hmac_sha256(span_of(ret, DIGEST_LEN), SPAN_LIT("aws4_request"), ret);
	buf_wipe_free(&first);
}

static void
sigv4_day_key(const struct sigv4_key *key, const struct sigv4_request *r, const char *scope, uint8_t ret[DIGEST_LEN])
{
	struct sigv4_day *kept = key->day;

	if (kept != NULL && strcmp(kept->scope, scope) == 0) {
		memcpy(ret, kept->key, DIGEST_LEN);
		return;
	}
	sigv4_derive(key, r, span_of(scope, SIGV4_DATE_LEN), ret);
	if (kept == NULL || strlen(scope) >= sizeof(kept->scope))
		return;
	memcpy(kept->scope, scope, strlen(scope) + 1);
	memcpy(kept->key, ret, DIGEST_LEN);
}

static void
sigv4_signature(const struct sigv4_key *key, const struct sigv4_request *r, const char *date, const char *scope,
    const struct buf *canonical, char ret[DIGEST_HEX])
{
	struct digest d;
	struct buf    text;
	uint8_t       day_key[DIGEST_LEN], mac[DIGEST_LEN];
	char          hex[DIGEST_HEX];

	sha256_of(canonical->data, canonical->len, &d);
	buf_init(&text, SIGV4_MAX);
	buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, digest_hex(&d, hex));
	sigv4_day_key(key, r, scope, day_key);
	hmac_sha256(span_of(day_key, sizeof(day_key)), buf_span(&text), mac);
	hex_encode(mac, sizeof(mac), ret);
	mem_wipe(day_key, sizeof(day_key));
	buf_free(&text);
}

void
sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *r, struct http_header *ret, size_t *ret_n)
{
	struct buf canonical, names;
	char       date[TIME_TEXT_MAX], signature[DIGEST_HEX], *scope;
	size_t     n = 0;

	assert(r->path[0] == '/' && key->access_key != NULL && key->secret_key != NULL);
	buf_init(&canonical, SIGV4_MAX);
	buf_init(&names, SIGV4_MAX);
	sigv4_canonical(r, key, &canonical, &names);
	time_format_basic(r->wall_ms, date);
	scope = xasprintf("%.*s/%s/%s/aws4_request", SIGV4_DATE_LEN, date, r->region, r->service);
	sigv4_signature(key, r, date, scope, &canonical, signature);
	ret[n++] = (struct http_header){ "authorization",
		xasprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", key->access_key, scope,
		    buf_str(&names), signature) };
	ret[n++] = (struct http_header){ "x-amz-date", xstrdup(date) };
	if (r->content_sha256)
		ret[n++] = (struct http_header){ "x-amz-content-sha256", xstrdup(r->payload_hash) };
	if (key->session_token != NULL)
		ret[n++] = (struct http_header){ "x-amz-security-token", xstrdup(secret_str(key->session_token)) };
	assert(n <= SIGV4_HEADERS_MAX);
	*ret_n = n;
	free(scope);
	buf_wipe_free(&canonical);
	buf_free(&names);
}
