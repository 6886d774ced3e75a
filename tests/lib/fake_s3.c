/* SPDX-License-Identifier: MIT */
#include "fake_s3.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/encode.h"
#include "base/time.h"
#include "net/sigv4.h"
#include "net/url.h"
#include "net/xml.h"

#define FAKE_PIECE 7000
#define FAKE_SKEW  ((int64_t)15 * 60 * 1000)

struct fake_s3_entry {
	struct fake_s3_entry *next;
	struct fake_s3_rule   r;
	unsigned              left;
};

/* ---------------------------------------------------------------- the store */

static void
fake_object_free(struct fake_s3_object *o)
{
	if (o == NULL)
		return;
	body_unref(o->body);
	free(o);
}

static void
fake_store(struct fake_s3 *f, const char *key, struct body *body, bool marker)
{
	struct fake_s3_object *o = xcalloc(1, sizeof(*o));
	uint8_t                md5[MD5_LEN];

	o->body = body_ref(body);
	o->marker = marker;
	o->modified = loop_wall(f->c.loop) + f->clock_ms;
	md5_of(body_span(body).p, body_size(body), md5);
	hex_encode(md5, sizeof(md5), o->etag);
	fake_object_free(map_put(f->objects, span_str(key), o));
}

void
fake_s3_put(struct fake_s3 *f, const char *key, const char *text)
{
	struct body *body = body_copy(span_str(text));

	fake_store(f, key, body, false);
	body_unref(body);
}

const struct fake_s3_object *
fake_s3_get(struct fake_s3 *f, const char *key)
{
	struct fake_s3_object *o = map_get(f->objects, span_str(key));

	return o == NULL || o->marker ? NULL : o;
}

const char *
fake_s3_text(struct fake_s3 *f, const char *key)
{
	static char                  text[4096];
	const struct fake_s3_object *o = fake_s3_get(f, key);

	if (o == NULL)
		return NULL;
	snprintf(text, sizeof(text), "%.*s", (int)body_size(o->body), (const char *)body_span(o->body).p);
	return text;
}

void
fake_s3_del(struct fake_s3 *f, const char *key)
{
	if (f->versioned && fake_s3_get(f, key) != NULL) {
		struct body *empty = body_copy(SPAN_LIT(""));

		fake_store(f, key, empty, true);
		body_unref(empty);
	} else if (!f->versioned) {
		fake_object_free(map_del(f->objects, span_str(key)));
	}
}

size_t
fake_s3_count(struct fake_s3 *f)
{
	size_t n = 0;
	void  *o;

	for (size_t i = 0; map_next(f->objects, &i, NULL, &o);)
		n += !((struct fake_s3_object *)o)->marker;
	return n;
}

/* ---------------------------------------------------------------- one request */

struct fake_call {
	struct op             op;
	struct fake_s3       *f;
	struct http_request   req;        /* shallow, strings copied below */
	char                 *url, *method;
	struct http_header   *headers;
	struct http_response *ret;
	struct url            u;
	char                 *key;        /* decoded; "" : the bucket */
	struct fake_s3_rule   rule;
	bool                  ruled;
	struct buf            body;       /* of the answer */
	bool                  cut;
};

static const char *
fake_header(const struct fake_call *x, const char *name)
{
	for (size_t i = 0; i < x->req.nheaders; i++)
		if (strcasecmp(x->headers[i].name, name) == 0)
			return x->headers[i].value;
	return NULL;
}

static void
fake_set(struct fake_call *x, const char *name, const char *value)
{
	assert(x->ret->nheaders < HTTP_HEADERS_MAX);
	x->ret->headers[x->ret->nheaders++] = (struct http_header){ xstrdup(name), xstrdup(value) };
}

static void
fake_error(struct fake_call *x, int status, const char *code, const char *more)
{
	x->ret->status = status;
	if (strcmp(x->method, "HEAD") == 0)
		return;
	buf_printf(&x->body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>told so</Message>%s</Error>", code,
	    more);
}

/* "20261122T005045Z" */
static int64_t
fake_date(const char *s)
{
	char    text[32];
	int64_t ms = 0;

	if (s != NULL && strlen(s) == 16) {
		snprintf(text, sizeof(text), "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", s, s + 4, s + 6, s + 9, s + 11, s + 13);
		time_parse(text, &ms);
	}
	return ms;
}

static bool
fake_listed(const char *names, size_t n, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < n; i += strcspn(names + i, ";") + 1)
		if (strncasecmp(names + i, name, len) == 0 && (names[i + len] == ';' || i + len == n))
			return true;
	return false;
}

/* Signs what arrived with what it says it was signed with. */
static bool
fake_signature_fits(struct fake_call *x, const char *auth, const char *region)
{
	static const char *const own[] = { "host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "authorization" };
	const char              *signed_at = strstr(auth, "SignedHeaders="), *token = fake_header(x, "x-amz-security-token");
	size_t                   n = 0, nsigned, out;
	struct http_header       list[HTTP_HEADERS_MAX], ret[SIGV4_HEADERS_MAX];
	struct buf               host;
	struct secret           *secret = secret_new(span_str(x->f->secret)), *session = token ? secret_new(span_str(token)) : NULL;
	struct sigv4_key         key = { x->f->access, secret, session };
	bool                     fits;

	assert(signed_at != NULL);
	signed_at += strlen("SignedHeaders=");
	nsigned = strcspn(signed_at, ",");
	for (size_t i = 0; i < x->req.nheaders; i++) {
		bool ours = false;

		for (size_t k = 0; k < ARRAY_LEN(own); k++)
			ours |= strcasecmp(own[k], x->headers[i].name) == 0;
		if (!ours && fake_listed(signed_at, nsigned, x->headers[i].name))
			list[n++] = x->headers[i];
		assert(ours || strncasecmp(x->headers[i].name, "x-amz-", 6) != 0 || fake_listed(signed_at, nsigned, x->headers[i].name));
	}
	buf_init(&host, 0);
	url_host_header(&x->u, &host);
	sigv4_sign(&key, &(struct sigv4_request){ .method = x->method, .host = buf_str(&host), .path = x->u.path, .query = x->u.query,
	    .headers = list, .nheaders = n, .payload_hash = fake_header(x, "x-amz-content-sha256"), .region = region, .service = "s3",
	    .wall_ms = fake_date(fake_header(x, "x-amz-date")), .content_sha256 = true }, ret, &out);
	fits = strcmp(ret[0].value, auth) == 0;
	for (size_t i = 0; i < out; i++)
		free(ret[i].value);
	buf_free(&host);
	secret_free(secret);
	secret_free(session);
	return fits;
}

static bool
fake_wrong_region(struct fake_call *x, const char *region)
{
	char more[128];

	if (strcmp(region, x->f->region) == 0)
		return false;
	snprintf(more, sizeof(more), "<Region>%s</Region>", x->f->region);
	if (x->f->region_301 || (strcmp(x->method, "HEAD") == 0 && !x->f->silent_head))
		fake_set(x, "x-amz-bucket-region", x->f->region);
	fake_error(x, x->f->region_301 ? 301 : 400, x->f->region_301 ? "PermanentRedirect" : "AuthorizationHeaderMalformed",
	    x->f->region_301 ? "" : more);
	return true;
}

/* true: refused, and answered. */
static bool
fake_refuses(struct fake_call *x)
{
	struct fake_s3 *f = x->f;
	const char     *auth = fake_header(x, "authorization"), *hash = fake_header(x, "x-amz-content-sha256");
	const char     *token = fake_header(x, "x-amz-security-token"), *sum = fake_header(x, "x-amz-checksum-sha256");
	int64_t         skew = fake_date(fake_header(x, "x-amz-date")) - (loop_wall(f->c.loop) + f->clock_ms);
	char            access[128], region[64], hex[DIGEST_HEX];
	struct digest   d;
	struct span     body = x->req.body != NULL ? body_span(x->req.body) : (struct span){ (const uint8_t *)"", 0 };
	struct buf      b64;
	bool            bad;

	if (auth == NULL || hash == NULL ||
	    sscanf(auth, "AWS4-HMAC-SHA256 Credential=%127[^/]/%*8[0-9]/%63[^/]/s3/aws4_request,", access, region) != 2)
		return fake_error(x, 403, "AccessDenied", ""), true;
	if (strcmp(access, f->access) != 0)
		return fake_error(x, 403, "InvalidAccessKeyId", ""), true;
	if (fake_wrong_region(x, region))
		return true;
	if (skew > FAKE_SKEW || skew < -FAKE_SKEW)
		return fake_error(x, 403, "RequestTimeTooSkewed", ""), true;
	if (f->session_token != NULL && (token == NULL || strcmp(token, f->session_token) != 0))
		return fake_error(x, 400, "ExpiredToken", ""), true;
	if (!fake_signature_fits(x, auth, region)) {
		f->wrong++;
		return fake_error(x, 403, "SignatureDoesNotMatch", ""), true;
	}
	sha256_of(body.p, body.n, &d);
	if (strcmp(digest_hex(&d, hex), hash) != 0)
		return fake_error(x, 400, "XAmzContentSHA256Mismatch", ""), true;
	buf_init(&b64, 0);
	base64_encode(span_of(d.b, DIGEST_LEN), &b64);
	bad = sum != NULL && strcmp(sum, buf_str(&b64)) != 0 && !f->ignores_checksum;
	buf_free(&b64);
	if (bad)
		fake_error(x, 400, "BadDigest", "");
	return bad;
}

/* ---------------------------------------------------------------- listing */

static char *
fake_query(const struct fake_call *x, const char *name)
{
	const char *q = x->u.query;
	size_t      n = strlen(name);

	while (q != NULL && *q != '\0') {
		size_t len = strcspn(q, "&");

		if (strncmp(q, name, n) == 0 && q[n] == '=') {
			struct buf b;

			buf_init(&b, 0);
			url_unescape(span_of(q + n + 1, len - n - 1), true, &b);
			return buf_take(&b);
		}
		q += len + (q[len] == '&');
	}
	return NULL;
}

static int
fake_key_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Form style, "/" left alone. */
static void
fake_list_key(struct fake_call *x, const char *key, bool encode)
{
	struct buf  b;
	struct span s = span_str(key);

	buf_init(&b, 0);
	for (size_t i = 0; encode && i < s.n; i++) {
		if (s.p[i] == ' ')
			buf_putc(&b, '+');
		else
			url_escape(URL_S3_PATH, span_of(s.p + i, 1), &b);
	}
	xml_escape(encode ? buf_span(&b) : s, &x->body);
	buf_free(&b);
}

static void
fake_list_entry(struct fake_call *x, const char *key, const struct fake_s3_object *o, bool encode)
{
	char time[TIME_TEXT_MAX];

	buf_puts(&x->body, "<Contents><Key>");
	fake_list_key(x, key, encode);
	buf_printf(&x->body, "</Key><LastModified>%s</LastModified><ETag>&quot;%s&quot;</ETag><Size>%llu</Size>"
	    "<StorageClass>STANDARD</StorageClass></Contents>", time_format(o->modified, time), o->etag,
	    (unsigned long long)body_size(o->body));
}

static void
fake_list(struct fake_call *x)
{
	struct fake_s3 *f = x->f;
	char           *prefix = fake_query(x, "prefix"), *token = fake_query(x, "continuation-token"), *max = fake_query(x, "max-keys");
	char           *encoding = fake_query(x, "encoding-type");
	char          **keys = xcalloc(map_count(f->objects) + 1, sizeof(*keys));
	size_t          n = 0, limit = f->page != 0 ? f->page : 1000, i = 0, shown = 0;
	bool            encode = encoding != NULL && strcmp(encoding, "url") == 0 && !f->plain_list;
	struct span     key;

	for (size_t pos = 0; map_next(f->objects, &pos, &key, NULL);)
		if (span_starts(key, prefix))
			keys[n++] = span_dup(key);
	qsort(keys, n, sizeof(*keys), fake_key_cmp);
	if (max != NULL && strtoul(max, NULL, 10) < limit)
		limit = strtoul(max, NULL, 10);
	while (token != NULL && i < n && strcmp(keys[i], token + strlen("after:")) <= 0)
		i++;
	x->ret->status = 200;
	buf_puts(&x->body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (; i < n && shown < limit; i++)
		if (fake_s3_get(f, keys[i]) != NULL) {
			fake_list_entry(x, keys[i], fake_s3_get(f, keys[i]), encode);
			shown++;
		}
	buf_printf(&x->body, "<IsTruncated>%s</IsTruncated>", i < n ? "true" : "false");
	if (encode)
		buf_puts(&x->body, "<EncodingType>url</EncodingType>");
	if (i < n) {
		buf_puts(&x->body, "<NextContinuationToken>after:");
		xml_escape(span_str(keys[i - 1]), &x->body);
		buf_puts(&x->body, "</NextContinuationToken>");
	}
	buf_puts(&x->body, "</ListBucketResult>");
	while (n > 0)
		free(keys[--n]);
	free(keys);
	free(prefix);
	free(token);
	free(max);
	free(encoding);
}

/* ---------------------------------------------------------------- objects */

static bool
fake_same_tag(const char *header, const char *etag)
{
	size_t n = strlen(etag);

	return header[0] == '"' && strncmp(header + 1, etag, n) == 0 && strcmp(header + 1 + n, "\"") == 0;
}

static void
fake_object_headers(struct fake_call *x, const struct fake_s3_object *o)
{
	static const char *const days[] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	char                     text[64], t[TIME_TEXT_MAX];

	snprintf(text, sizeof(text), "\"%s\"", o->etag);
	fake_set(x, "etag", text);
	time_format_s(o->modified, t);
	snprintf(text, sizeof(text), "%s, %.2s %s %.4s %.8s GMT", days[o->modified / 86400000 % 7], t + 8,
	    months[(t[5] - '0') * 10 + (t[6] - '0') - 1], t, t + 11);
	fake_set(x, "last-modified", text);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)body_size(o->body));
	fake_set(x, "content-length", text);
}

static void
fake_get(struct fake_call *x, struct fake_s3_object *o)
{
	const char   *unless = fake_header(x, "if-none-match"), *mode = fake_header(x, "x-amz-checksum-mode");
	struct digest d;
	struct buf    b64;

	if (o == NULL || o->marker) {
		if (o != NULL)
			fake_set(x, "x-amz-delete-marker", "true");
		fake_error(x, 404, "NoSuchKey", "");
		return;
	}
	fake_object_headers(x, o);
	if (unless != NULL && fake_same_tag(unless, o->etag)) {
		x->ret->status = 304;
		return;
	}
	x->ret->status = 200;
	if (mode != NULL) {
		sha256_of(body_span(o->body).p, body_size(o->body), &d);
		buf_init(&b64, 0);
		base64_encode(span_of(d.b, DIGEST_LEN), &b64);
		fake_set(x, "x-amz-checksum-sha256", buf_str(&b64));
		buf_free(&b64);
	}
	if (strcmp(x->method, "HEAD") != 0)
		buf_put(&x->body, body_span(o->body).p, body_size(o->body));
}

/* 0: it holds; else it is answered. */
static int
fake_precondition(struct fake_call *x, const struct fake_s3_object *o)
{
	struct fake_s3 *f = x->f;
	const char     *none = fake_header(x, "if-none-match"), *match = fake_header(x, "if-match");
	bool            there = o != NULL && (!o->marker || f->marker_exists);

	if (f->ignores_conditions || (none == NULL && match == NULL))
		return 0;
	if (f->no_conditions)
		fake_error(x, 501, "NotImplemented", "");
	else if (none != NULL && there)
		fake_error(x, 412, "PreconditionFailed", "");
	else if (match != NULL && (o == NULL || o->marker))
		fake_error(x, o == NULL ? 404 : 412, o == NULL ? "NoSuchKey" : "PreconditionFailed", "");
	else if (match != NULL && !fake_same_tag(match, o->etag))
		fake_error(x, 412, "PreconditionFailed", "");
	return x->ret->status;
}

static void
fake_write(struct fake_call *x, const struct fake_s3_object *o)
{
	struct body *empty = body_copy(SPAN_LIT(""));

	if (fake_precondition(x, o) == 0) {
		fake_store(x->f, x->key, x->req.body != NULL ? x->req.body : empty, false);
		fake_object_headers(x, fake_s3_get(x->f, x->key));
		free(x->ret->headers[x->ret->nheaders - 1].value);
		x->ret->headers[x->ret->nheaders - 1].value = xstrdup("0");
		x->ret->status = 200;
	}
	body_unref(empty);
}

static void
fake_object(struct fake_call *x)
{
	struct fake_s3        *f = x->f;
	struct fake_s3_object *o = map_get(f->objects, span_str(x->key));
	bool                   get = strcmp(x->method, "GET") == 0 || strcmp(x->method, "HEAD") == 0;

	if ((get && f->denies_get) || (strcmp(x->method, "PUT") == 0 && f->denies_put) ||
	    (strcmp(x->method, "DELETE") == 0 && f->denies_delete)) {
		fake_error(x, 403, "AccessDenied", "");
	} else if (get) {
		fake_get(x, o);
	} else if (strcmp(x->method, "PUT") == 0) {
		fake_write(x, o);
	} else if (f->ignores_delete_match || fake_precondition(x, o) == 0) {
		fake_s3_del(f, x->key);
		x->ret->status = 204;
	}
}

static void
fake_bucket(struct fake_call *x)
{
	struct fake_s3 *f = x->f;

	if (strcmp(x->method, "PUT") == 0) {
		if (!f->bucket_missing) {
			fake_error(x, 409, "BucketAlreadyOwnedByYou", "");
			return;
		}
		f->bucket_missing = false;
		x->ret->status = 200;
	} else if (f->bucket_missing) {
		fake_error(x, 404, "NoSuchBucket", "");
	} else if (strcmp(x->method, "HEAD") == 0) {
		x->ret->status = 200;
	} else if (f->denies_list) {
		fake_error(x, 403, "AccessDenied", "");
	} else {
		fake_list(x);
	}
}

/* ---------------------------------------------------------------- the client */

static void
fake_log(struct fake_call *x)
{
	struct buf line;

	buf_init(&line, 0);
	buf_printf(&line, "%s %s", x->method, x->url);
	for (size_t i = 0; i < x->req.nheaders; i++)
		buf_printf(&line, "\n%s: %s", x->headers[i].name, x->headers[i].value);
	x->f->log = xreallocarray(x->f->log, x->f->nlog + 1, sizeof(*x->f->log));
	x->f->log[x->f->nlog++] = buf_take(&line);
}

static void
fake_find_rule(struct fake_call *x)
{
	for (struct fake_s3_entry **at = &x->f->rules, *e = *at; e != NULL; at = &e->next, e = *at) {
		if ((e->r.method != NULL && strcmp(e->r.method, x->method) != 0) ||
		    (e->r.what != NULL && strstr(x->url, e->r.what) == NULL))
			continue;
		if (e->r.skip > 0) {
			e->r.skip--;
			continue;
		}
		x->rule = e->r;
		x->ruled = true;
		if (--e->left == 0) {
			*at = e->next;
			free(e);
		}
		return;
	}
}

/* The key of a request to the store; false: to somebody else. */
static bool
fake_is_store(struct fake_call *x)
{
	struct buf  host, path;
	const char *rest = NULL;
	char       *prefix = xasprintf("/%s", x->f->bucket), *vhost = xasprintf("%s.", x->f->bucket);

	buf_init(&host, 0);
	buf_init(&path, 0);
	url_host_header(&x->u, &host);
	url_unescape(span_str(x->u.path), false, &path);
	if (strncmp(buf_str(&path), prefix, strlen(prefix)) == 0)
		rest = buf_str(&path) + strlen(prefix);
	if (strncmp(buf_str(&host), vhost, strlen(vhost)) == 0)
		rest = buf_str(&path);
	if (rest != NULL && (*rest == '/' || *rest == '\0') && strncmp(buf_str(&host), "169.", 4) != 0)
		x->key = xstrdup(*rest == '/' ? rest + 1 : rest);
	buf_free(&host);
	buf_free(&path);
	free(prefix);
	free(vhost);
	return x->key != NULL;
}

static void
fake_serve(struct fake_call *x)
{
	if (fake_refuses(x))
		return;
	if (x->key[0] == '\0')
		fake_bucket(x);
	else if (x->f->bucket_missing)
		fake_error(x, 404, "NoSuchBucket", "");
	else
		fake_object(x);
}

static void
fake_ruled_answer(struct fake_call *x)
{
	const char *h = x->rule.headers;
	int64_t     date;

	http_response_free(x->ret);
	buf_reset(&x->body);
	x->ret->status = x->rule.status;
	while (h != NULL && *h != '\0') {
		size_t n = strcspn(h, "\n"), name = strcspn(h, ":");
		char  *k = xstrndup(h, name), *v = xstrndup(h + name + 2, n - name - 2);

		fake_set(x, k, v);
		if (strcmp(k, "retry-after") == 0)
			x->ret->retry_after_ms = (uint32_t)strtoul(v, NULL, 10) * 1000;
		if (strcmp(k, "date") == 0 && time_parse_http(v, &date))
			x->ret->date_ms = date;
		free(k);
		free(v);
		h += n + (h[n] == '\n');
	}
	if (x->rule.body != NULL)
		buf_puts(&x->body, x->rule.body);
}

enum fake_state { FAKE_START, FAKE_ARRIVED, FAKE_BACK };

static bool
fake_deliver(struct fake_call *x)
{
	size_t len = x->body.len;
	bool   wanted = (x->ret->status == 200 || x->ret->status == 206) && x->req.on_body != NULL;

	if (x->ruled && (x->rule.how == FAKE_SHORT || x->rule.how == FAKE_CUT))
		len /= 2;
	x->ret->body_size = len;
	if (len > (x->req.max_body != 0 && (wanted || x->req.on_body == NULL) ? x->req.max_body : HTTP_BODY_DEFAULT)) {
		err_set(&x->op.res, ERR_UNSUPPORTED, x->ret->status, "the answer is too large");
		return false;
	}
	for (size_t i = 0; wanted && i < len; i += FAKE_PIECE)
		if (x->req.on_body(x->req.on_body_arg, x->body.data + i, len - i < FAKE_PIECE ? len - i : FAKE_PIECE, &x->op.res) != ERR_OK)
			return false;
	if (len > 0 && (!wanted || x->req.keep))
		x->ret->body = body_copy(span_of(x->body.data, len));
	return true;
}

static void
fake_no_answer(struct fake_call *x, enum err_code code, const char *why)
{
	http_response_free(x->ret);
	err_set(&x->op.res, x->req.changing ? ERR_UNCERTAIN : code, 0, "%s: %s", x->u.host, why);
}

static void
fake_arrive(struct fake_call *x)
{
	struct err   e;
	enum fake_s3_how how = x->ruled ? x->rule.how : FAKE_APPLY;

	if (url_parse(x->url, &x->u, &e) != ERR_OK) {
		x->op.res = e;
		return;
	}
	fake_log(x);
	x->f->c.requests++;
	if (how == FAKE_REFUSED || (!fake_is_store(x) && how != FAKE_ANSWER && how != FAKE_HANGS)) {
		err_set(&x->op.res, ERR_NETWORK, 0, "%s: connection refused", x->u.host);
		return;
	}
	if (how != FAKE_ANSWER && how != FAKE_LOST_BEFORE && how != FAKE_HANGS)
		fake_serve(x);
	if (x->ret->status != 0 && x->f->clock_ms != 0)
		x->ret->date_ms = loop_wall(x->op.loop) + x->f->clock_ms;
	if (x->ruled && (how == FAKE_ANSWER || how == FAKE_APPLY))
		fake_ruled_answer(x);
}

static enum op_turn
fake_step(struct op *op)
{
	struct fake_call *x = container_of(op, struct fake_call, op);

	switch ((enum fake_state)op->state) {
	case FAKE_START:
		fake_find_rule(x);
		return op_await(op, FAKE_ARRIVED, op_sleep(op->loop, x->f->latency_ms / 2));
	case FAKE_ARRIVED:
		if (op_failed(op))
			return op_fail(op);
		fake_arrive(x);
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, FAKE_BACK, op_sleep(op->loop, x->ruled && x->rule.how == FAKE_HANGS ? x->req.timeout_ms :
		    x->f->latency_ms - x->f->latency_ms / 2));
	case FAKE_BACK:
		if (op_failed(op))
			fake_no_answer(x, ERR_CANCELLED, "cancelled");
		else if (x->ruled && x->rule.how == FAKE_HANGS)
			fake_no_answer(x, ERR_TIMEOUT, "no answer");
		else if (x->ruled && (x->rule.how == FAKE_LOST || x->rule.how == FAKE_LOST_BEFORE))
			fake_no_answer(x, ERR_NETWORK, "connection reset");
		else if (fake_deliver(x) && x->ruled && x->rule.how == FAKE_CUT)
			fake_no_answer(x, ERR_NETWORK, "the answer broke off");
		return op_finish(op);
	}
	return OP_DONE;
}

static void
fake_call_free(struct op *op)
{
	struct fake_call *x = container_of(op, struct fake_call, op);

	for (size_t i = 0; i < x->req.nheaders; i++) {
		free((char *)x->headers[i].name);
		free(x->headers[i].value);
	}
	free(x->headers);
	free(x->url);
	free(x->method);
	free(x->key);
	url_free(&x->u);
	buf_free(&x->body);
	body_unref(x->req.body);
	free(x);
}

static const char *const fake_states[] = { "start", "arrived", "back" };
static const struct op_class fake_class = { "fake s3", fake_step, NULL, fake_call_free, fake_states, ARRAY_LEN(fake_states) };

static struct op *
fake_request(struct http_client *c, const struct http_request *req, struct http_response *ret)
{
	struct fake_call *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &fake_class, c->loop);
	x->f = container_of(c, struct fake_s3, c);
	x->req = *req;
	x->url = xstrdup(req->url);
	x->method = xstrdup(req->method);
	x->headers = xcalloc(req->nheaders + 1, sizeof(*x->headers));
	for (size_t i = 0; i < req->nheaders; i++)
		x->headers[i] = (struct http_header){ xstrdup(req->headers[i].name), xstrdup(req->headers[i].value) };
	if (req->body != NULL)
		body_ref(req->body);
	x->ret = ret;
	buf_init(&x->body, 0);
	return &x->op;
}

static void
fake_client_free(struct http_client *c)
{
	fake_s3_free(container_of(c, struct fake_s3, c));
}

struct fake_s3 *
fake_s3_new(struct loop *l)
{
	struct fake_s3 *f = xcalloc(1, sizeof(*f));

	f->c = (struct http_client){ .request = fake_request, .free = fake_client_free, .loop = l };
	f->objects = map_new();
	f->bucket = "acme";
	f->region = "us-east-1";
	f->access = FAKE_S3_ACCESS;
	f->secret = FAKE_S3_SECRET;
	f->latency_ms = 10;
	return f;
}

void
fake_s3_no_rules(struct fake_s3 *f)
{
	struct fake_s3_entry *e;

	while ((e = f->rules) != NULL) {
		f->rules = e->next;
		free(e);
	}
}

void
fake_s3_free(struct fake_s3 *f)
{
	void *o;

	fake_s3_no_rules(f);
	for (size_t i = 0; map_next(f->objects, &i, NULL, &o);)
		fake_object_free(o);
	map_free(f->objects);
	fake_s3_forget(f);
	free(f);
}

void
fake_s3_rule(struct fake_s3 *f, const struct fake_s3_rule *r)
{
	struct fake_s3_entry *e = xcalloc(1, sizeof(*e)), **at = &f->rules;

	e->r = *r;
	e->left = r->times != 0 ? r->times : 1;
	while (*at != NULL)
		at = &(*at)->next;
	*at = e;
}

size_t
fake_s3_seen(const struct fake_s3 *f, const char *what)
{
	size_t n = 0;

	for (size_t i = 0; i < f->nlog; i++) {
		char *line = xstrndup(f->log[i], strcspn(f->log[i], "\n"));

		n += strstr(line, what) != NULL;
		free(line);
	}
	return n;
}

const char *
fake_s3_header(const struct fake_s3 *f, size_t i, const char *name)
{
	static char text[1024];
	char       *want = xasprintf("\n%s: ", name);
	const char *at = i < f->nlog ? strstr(f->log[i], want) : NULL;

	if (at != NULL)
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(at + strlen(want), "\n"), at + strlen(want));
	free(want);
	return at != NULL ? text : NULL;
}

void
fake_s3_forget(struct fake_s3 *f)
{
	for (size_t i = 0; i < f->nlog; i++)
		free(f->log[i]);
	free(f->log);
	f->log = NULL;
	f->nlog = 0;
}
