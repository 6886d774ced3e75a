/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../lib/fuzz.h"
#include "base/digest.h"
#include "base/mem.h"
#include "net/sigv4.h"

#define HEADERS 8

/*
 * The input is a query, then lines of headers. A canonical query is sorted, has one spelling for each
 * text, and is its own canonical form; the order in which query and headers come makes no difference.
 */
static char *
line(const char *text, unsigned number)
{
	for (; number > 0; number--) {
		text = strchr(text, '\n');
		if (text == NULL)
			return NULL;
		text++;
	}
	return xstrndup(text, strcspn(text, "\n"));
}

static char *
canonical(const struct sigv4_request *r, struct secret *secret)
{
	struct sigv4_key key = { "AK", secret, NULL, NULL };
	struct buf       text, names;

	buf_init(&text, 0);
	buf_init(&names, 0);
	sigv4_canonical(r, &key, &text, &names);
	for (size_t i = 0; i < names.len; i++)
		FUZZ_CHECK(names.data[i] < 'A' || names.data[i] > 'Z');
	buf_free(&names);
	return buf_take(&text);
}

/* Every part, split at "&", compares by name, then by value. */
static int
pair_cmp(const char *a, size_t na, const char *b, size_t nb)
{
	size_t ka = strcspn(a, "="), kb = strcspn(b, "=");
	int    by_name = memcmp(a, b, ka < kb ? ka : kb);

	FUZZ_CHECK(ka < na && kb < nb);
	if (by_name == 0 && ka != kb)
		return ka < kb ? -1 : 1;
	if (by_name != 0)
		return by_name;
	by_name = memcmp(a + ka, b + kb, na - ka < nb - kb ? na - ka : nb - kb);
	return by_name != 0 ? by_name : (na > nb) - (na < nb);
}

static void
check_sorted(const char *query)
{
	const char *before = NULL;
	size_t      nbefore = 0;

	for (size_t n; *query != '\0'; query += n + (query[n] == '&')) {
		n = strcspn(query, "&");
		FUZZ_CHECK(before == NULL || pair_cmp(before, nbefore, query, n) <= 0);
		before = query;
		nbefore = n;
	}
	FUZZ_CHECK(strpbrk(before != NULL ? before : "", "+ /:") == NULL);
}

/* The same parameters, last first. */
static char *
reversed(const char *query)
{
	struct buf  b;
	const char *end = query + strlen(query), *p = end;

	buf_init(&b, 0);
	while (p > query) {
		for (p = end; p > query && p[-1] != '&'; p--)
			;
		if (b.len > 0)
			buf_putc(&b, '&');
		buf_put(&b, p, (size_t)(end - p));
		end = p > query ? p - 1 : query;
	}
	return buf_take(&b);
}

static size_t
headers_of(const char *text, struct http_header *h)
{
	size_t n = 0;

	for (unsigned i = 1; n < HEADERS; i++) {
		char *one = line(text, i), *colon = one != NULL ? strchr(one, ':') : NULL;

		if (one == NULL)
			break;
		if (colon == NULL || colon == one) {
			free(one);
			continue;
		}
		*colon = '\0';
		h[n++] = (struct http_header){ one, colon + 1 };
	}
	return n;
}

static void
check(const char *text, struct secret *secret)
{
	struct http_header   h[HEADERS], out[SIGV4_HEADERS_MAX];
	char                *query = line(text, 0), *back = reversed(query), *first, *second, *only;
	struct sigv4_request r = { .method = "GET", .host = "h", .path = "/", .query = query, .headers = h,
	    .nheaders = headers_of(text, h),
		.payload_hash = "00", .region = "r", .service = "s3" };
	struct sigv4_key     key = { "AK", secret, NULL, NULL };
	size_t               n = 0;

	first = canonical(&r, secret);
	only = line(first, 2);
	check_sorted(only);
	r.query = only;
	second = canonical(&r, secret);
	FUZZ_CHECK(strcmp(first, second) == 0);
	free(second);
	r.query = back;
	second = canonical(&r, secret);
	FUZZ_CHECK(strcmp(first, second) == 0);
	sigv4_sign(&key, &r, out, &n);
	FUZZ_CHECK(n == 2 && strlen(strstr(out[0].value, "Signature=")) == 10 + 2 * DIGEST_LEN);
	for (size_t i = 0; i < n; i++)
		free(out[i].value);
	for (size_t i = 0; i < r.nheaders; i++)
		free((char *)h[i].name);
	free(first);
	free(second);
	free(only);
	free(back);
	free(query);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct secret *secret;
	char                 *text;

	if (secret == NULL) {
		if (crypto_init(NULL) != ERR_OK)
			abort();
		secret = secret_new(SPAN_LIT("secret"));
	}
	text = xstrndup((const char *)data, n < 16384 ? n : 16384);
	check(text, secret);
	free(text);
	return 0;
}
