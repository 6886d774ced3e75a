/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/time.h"
#include "net/sigv4.h"
#include "../../lib/test.h"

#define HEADERS 32

/* One of golden/s3/sigv4-vectors.json, as our caller would give it: without what sigv4_sign() adds itself. */
struct vector {
	json_t              *v;
	char                *method, *host, *path, *query;
	struct http_header   headers[HEADERS];
	struct sigv4_request r;
};

static const char *
text(const json_t *v, const char *name)
{
	const char *s = json_string_value(json_object_get(v, name));

	CHECK(s != NULL);
	return s;
}

/* "20261122T004448Z" */
static int64_t
date_of(const char *s)
{
	char    rfc[32];
	int64_t ms = 0;

	snprintf(rfc, sizeof(rfc), "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", s, s + 4, s + 6, s + 9, s + 11, s + 13);
	CHECK(time_parse(rfc, &ms));
	return ms;
}

static bool
is_signed(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = list; *p != '\0'; p += strcspn(p, ";"), p += *p == ';')
		if (strcspn(p, ";") == n && strncasecmp(p, name, n) == 0)
			return true;
	return false;
}

static void
vector_header(struct vector *t, const char *line)
{
	char *name = xstrndup(line, strcspn(line, ":"));
	char *value = xstrdup(line + strlen(name) + 2);

	if (strcasecmp(name, "host") == 0)
		t->r.host = t->host = xstrdup(value);
	else if (strcasecmp(name, "x-amz-date") == 0)
		t->r.wall_ms = date_of(value);
	else if (strcasecmp(name, "x-amz-content-sha256") == 0)
		t->r.content_sha256 = true;
	else if (is_signed(text(t->v, "signed_headers"), name)) {
		t->headers[t->r.nheaders++] = (struct http_header){ name, value };
		return;
	}
	free(name);
	free(value);
}

static void
vector_load(struct vector *t, json_t *v, const char *region)
{
	const char *target = text(v, "target"), *canonical = text(v, "canonical_request"), *scope;
	size_t      i, path = strcspn(target, "?");
	json_t     *line;

	memset(t, 0, sizeof(*t));
	t->v = v;
	t->r.method = text(v, "method");
	t->r.path = t->path = xstrndup(target, path);
	t->r.query = t->query = target[path] == '?' ? xstrdup(target + path + 1) : NULL;
	t->r.headers = t->headers;
	t->r.region = region;
	t->r.payload_hash = strrchr(canonical, '\n') + 1;
	scope = strstr(text(v, "string_to_sign"), region) + strlen(region) + 1;
	t->method = xstrndup(scope, strcspn(scope, "/"));
	t->r.service = t->method;
	json_array_foreach(json_object_get(v, "headers"), i, line)
		vector_header(t, json_string_value(line));
}

static void
vector_free(struct vector *t)
{
	for (size_t i = 0; i < t->r.nheaders; i++) {
		free((char *)t->headers[i].name);
		free(t->headers[i].value);
	}
	free(t->method);
	free(t->host);
	free(t->path);
	free(t->query);
}

static void
check_vector(json_t *v, const struct sigv4_key *key, const char *region)
{
	struct vector      t;
	struct buf         canonical, names;
	struct http_header h[SIGV4_HEADERS_MAX];
	size_t             n = 0;
	char              *end;

	vector_load(&t, v, region);
	buf_init(&canonical, 0);
	buf_init(&names, 0);
	sigv4_canonical(&t.r, key, &canonical, &names);
	if (strcmp(buf_str(&canonical), text(v, "canonical_request")) != 0)
		printf("# %s\n", text(v, "name"));
	CHECK_STR(buf_str(&canonical), text(v, "canonical_request"));
	CHECK_STR(buf_str(&names), text(v, "signed_headers"));
	sigv4_sign(key, &t.r, h, &n);
	CHECK_U64(n, t.r.content_sha256 ? 3 : 2);
	CHECK_STR(h[0].name, "authorization");
	end = xasprintf(", SignedHeaders=%s, Signature=%s", text(v, "signed_headers"), text(v, "signature"));
	CHECK(span_ends(span_str(h[0].value), end));
	CHECK(span_starts(span_str(h[0].value), "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/2026"));
	free(end);
	for (size_t i = 0; i < n; i++)
		free(h[i].value);
	buf_free(&canonical);
	buf_free(&names);
	vector_free(&t);
}

static void
vectors(void)
{
	size_t           n, i;
	const char      *file = test_read("golden/s3/sigv4-vectors.json", &n);
	json_t          *root = json_loadb(file, n, 0, NULL), *v;
	struct sigv4_key key;
	struct secret   *secret;

	CHECK(root != NULL);
	secret = secret_new(span_str(text(root, "secret_access_key")));
	key = (struct sigv4_key){ text(root, "access_key_id"), secret, NULL, NULL };
	CHECK_U64(json_array_size(json_object_get(root, "vectors")), 20);
	json_array_foreach(json_object_get(root, "vectors"), i, v)
		check_vector(v, &key, text(root, "region"));
	secret_free(secret);
	json_decref(root);
}

static void
check_canonical(const struct sigv4_request *r, const struct sigv4_key *key, const char *expect,
    const char *expect_names)
{
	struct buf canonical, names;

	buf_init(&canonical, 0);
	buf_init(&names, 0);
	sigv4_canonical(r, key, &canonical, &names);
	CHECK_STR(buf_str(&canonical), expect);
	CHECK_STR(buf_str(&names), expect_names);
	buf_free(&canonical);
	buf_free(&names);
}

static void
spellings(void)
{
	struct secret       *secret = secret_new(SPAN_LIT("s")), *token = secret_new(SPAN_LIT("tok/en=="));
	struct sigv4_key     key = { "AK", secret, token, NULL };
	char                 v1[] = "  a   b\t c ", v2[] = "two", v3[] = "one", v4[] = "";
	struct http_header   h[] = { { "X-B", v2 }, { "if-match", v1 }, { "x-b", v3 }, { "X-A", v4 } };
	struct sigv4_request r = { .method = "GET", .host = "h:9000", .path = "/b/a%2Fb",
	    .query = "b=2&a=%2f&uploads&a=+&a=%20&&b=%zz&A=1",
		.headers = h, .nheaders = 4, .payload_hash = "UNSIGNED-PAYLOAD", .region = "eu", .service = "s3",
		.content_sha256 = true };

	check_canonical(&r, &key,
	    "GET\n/b/a%2Fb\nA=1&a=%20&a=%20&a=%2F&b=%25zz&b=2&uploads=\n"
	    "host:h:9000\nif-match:a b c\nx-a:\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:19700101T000000Z\n"
	    "x-amz-security-token:tok/en==\nx-b:two,one\n\n"
	    "host;if-match;x-a;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-b\nUNSIGNED-PAYLOAD",
	    "host;if-match;x-a;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-b");
	r = (struct sigv4_request){ .method = "POST", .host = "sts", .path = "/a%2Fb", .query = "",
	    .payload_hash = "00", .region = "eu",
		.service = "sts" };
	key.session_token = NULL;
	check_canonical(&r, &key, "POST\n/a%252Fb\n\nhost:sts\nx-amz-date:19700101T000000Z\n\nhost;x-amz-date\n00",
	    "host;x-amz-date");
	secret_free(secret);
	secret_free(token);
}

/* AWS documentation, "Signature calculation examples": GET object with a range, 24 May 2013. */
static void
published_example(void)
{
	static const char    empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	struct secret       *secret = secret_new(SPAN_LIT("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));
	struct sigv4_key     key = { "AKIAIOSFODNN7EXAMPLE", secret, NULL, NULL };
	char                 range[] = "bytes=0-9";
	struct http_header   h[] = { { "Range", range } }, out[SIGV4_HEADERS_MAX];
	struct sigv4_request r = { .method = "GET", .host = "examplebucket.s3.amazonaws.com", .path = "/test.txt",
	    .headers = h, .nheaders = 1,
		.payload_hash = empty, .region = "us-east-1", .service = "s3", .wall_ms = date_of("20130524T000000Z"),
		.content_sha256 = true };
	size_t               n = 0;

	sigv4_sign(&key, &r, out, &n);
	CHECK_STR(out[0].value,
	    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
	    "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
	    "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	CHECK_STR(out[1].value, "20130524T000000Z");
	CHECK_STR(out[2].value, empty);
	for (size_t i = 0; i < n; i++)
		free(out[i].value);
	secret_free(secret);
}

static void
with_token(void)
{
	struct secret       *secret = secret_new(SPAN_LIT("s")), *token = secret_new(SPAN_LIT("tok"));
	struct sigv4_key     key = { "AK", secret, token, NULL };
	struct http_header   out[SIGV4_HEADERS_MAX];
	struct sigv4_request r = { .method = "GET", .host = "h", .path = "/", .payload_hash = "00", .region = "eu",
	    .service = "s3",
		.content_sha256 = true };
	size_t               n = 0;

	sigv4_sign(&key, &r, out, &n);
	CHECK_U64(n, 4);
	CHECK_STR(out[3].name, "x-amz-security-token");
	CHECK_STR(out[3].value, "tok");
	CHECK(strstr(out[0].value, "x-amz-security-token") != NULL);
	for (size_t i = 0; i < n; i++)
		free(out[i].value);
	secret_free(secret);
	secret_free(token);
}

static void
sign_with(struct sigv4_day *day, const struct secret *secret, const char *region, const char *when, char ret[512])
{
	struct sigv4_key     key = { "AK", secret, NULL, day };
	struct http_header   out[SIGV4_HEADERS_MAX];
	struct sigv4_request r = { .method = "GET", .host = "h", .path = "/", .payload_hash = "00", .region = region,
		.service = "s3", .wall_ms = date_of(when) };
	size_t               n = 0;

	sigv4_sign(&key, &r, out, &n);
	snprintf(ret, 512, "%s", out[0].value);
	for (size_t i = 0; i < n; i++)
		free(out[i].value);
}

/* What was kept is used for the day, region and service it was made for, and for nothing else. */
static void
kept_day_key(void)
{
	static const struct {
		const char *region, *when;
	} cases[] = { { "eu", "20261124T000000Z" }, { "eu", "20261124T235959Z" }, { "eu", "20261125T000000Z" },
		{ "us", "20261125T000001Z" }, { "eu", "20261125T000001Z" },
		{ "a-region-whose-name-is-so-long-that-its-scope-does-not-fit-into-what-is-kept-for-a-day-and-is-not-kept",
		    "20261125T000001Z" } };
	struct secret   *secret = secret_new(SPAN_LIT("s"));
	struct sigv4_day day = { "", { 0 } };
	char             kept[512], fresh[512];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		sign_with(&day, secret, cases[i].region, cases[i].when, kept);
		sign_with(NULL, secret, cases[i].region, cases[i].when, fresh);
		CHECK_STR(kept, fresh);
	}
	CHECK_STR(day.scope, "20261125/eu/s3/aws4_request");
	day.key[0] ^= 1; /* so it is what signs */
	sign_with(&day, secret, "eu", "20261125T000001Z", kept);
	sign_with(NULL, secret, "eu", "20261125T000001Z", fresh);
	CHECK(strcmp(kept, fresh) != 0);
	secret_free(secret);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "recorded vectors", vectors }, { "a published example", published_example },
		{ "one spelling", spellings },
		{ "session token", with_token }, { "the key of a day is kept", kept_day_key }, { NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
