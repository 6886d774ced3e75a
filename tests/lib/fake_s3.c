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
#include "fake_names.h"
#include "net/xml.h"

#define FAKE_WAY   5
#define FAKE_SKEW  ((int64_t)15 * 60 * 1000)

struct fake_s3_entry {
	struct fake_s3_entry *next;
	struct fake_s3_rule   r;
	unsigned              left;
	unsigned              number; /* taken: of the request */
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
	o->modified = loop_wall(f->loop) + f->clock_ms;
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
	struct fake_s3                *f;
	const struct scripted_request *rq;
	struct scripted_answer        *ret;
	const char                    *key;  /* decoded; "" : the bucket */
	struct buf                     body; /* of the answer */
};

static const char *
fake_header(const struct fake_call *x, const char *name)
{
	return scripted_header(x->rq, name);
}

static bool
fake_is(const struct fake_call *x, const char *method)
{
	return strcmp(x->rq->method, method) == 0;
}

static void
fake_error(struct fake_call *x, int status, const char *code, const char *more)
{
	x->ret->status = status;
	if (fake_is(x, "HEAD"))
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
fake_signature_fits(struct fake_call *x, const char *access, const char *auth, const char *region, const char *service, const char *hash)
{
	static const char *const own[] = { "host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "authorization" };
	const char              *signed_at = strstr(auth, "SignedHeaders="), *token = fake_header(x, "x-amz-security-token");
	size_t                   n = 0, nsigned, out;
	struct http_header       list[HTTP_HEADERS_MAX], ret[SIGV4_HEADERS_MAX];
	struct buf               host;
	struct secret           *secret = secret_new(span_str(x->f->secret)), *session = token ? secret_new(span_str(token)) : NULL;
	struct sigv4_key         key = { access, secret, session, NULL };
	bool                     fits;

	assert(signed_at != NULL);
	signed_at += strlen("SignedHeaders=");
	nsigned = strcspn(signed_at, ",");
	for (size_t i = 0; i < x->rq->nheaders; i++) {
		bool ours = false;

		for (size_t k = 0; k < ARRAY_LEN(own); k++)
			ours |= strcasecmp(own[k], x->rq->headers[i].name) == 0;
		if (!ours && fake_listed(signed_at, nsigned, x->rq->headers[i].name))
			list[n++] = x->rq->headers[i];
		assert(ours || strncasecmp(x->rq->headers[i].name, "x-amz-", 6) != 0 || fake_listed(signed_at, nsigned, x->rq->headers[i].name));
	}
	buf_init(&host, 0);
	url_host_header(&x->rq->at, &host);
	sigv4_sign(&key, &(struct sigv4_request){ .method = x->rq->method, .host = buf_str(&host), .path = x->rq->at.path, .query = x->rq->at.query,
	    .headers = list, .nheaders = n, .payload_hash = hash, .region = region, .service = service,
	    .wall_ms = fake_date(fake_header(x, "x-amz-date")), .content_sha256 = strcmp(service, "s3") == 0 }, ret, &out);
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
	if (x->f->region_301 || (fake_is(x, "HEAD") && !x->f->silent_head))
		scripted_add_header(x->ret, "x-amz-bucket-region", "%s", x->f->region);
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
	int64_t         skew = fake_date(fake_header(x, "x-amz-date")) - (loop_wall(f->loop) + f->clock_ms);
	char            access[128], region[64], hex[DIGEST_HEX];
	struct digest   d;
	struct span     body = x->rq->body;
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
	if (!fake_signature_fits(x, access, auth, region, "s3", hash)) {
		f->wrong++;
		return fake_error(x, 403, "SignatureDoesNotMatch", ""), true;
	}
	sha256_of(body.n > 0 ? body.p : (const uint8_t *)"", body.n, &d);
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

static bool
fake_to_dynamo(const struct scripted_request *rq)
{
	return strncmp(rq->url, "http://" FAKE_DYNAMO_HOST "/", strlen("http://" FAKE_DYNAMO_HOST "/")) == 0;
}

static void
fake_dynamo_error(struct fake_call *x, const char *code, const char *message)
{
	x->ret->status = 400;
	buf_printf(&x->body, "{\"__type\":\"com.amazon.coral.service#%s\",\"message\":\"%s\"}", code, message);
}

/* Signed for this service, by keys that are known, in time. */
static void
fake_dynamo_serve(struct fake_call *x)
{
	struct fake_s3 *f = x->f;
	const char     *auth = fake_header(x, "authorization"), *token = fake_header(x, "x-amz-security-token");
	int64_t         skew = fake_date(fake_header(x, "x-amz-date")) - (loop_wall(f->loop) + f->clock_ms);
	char            access[128], region[64], hex[DIGEST_HEX];
	struct digest   d;

	if (auth == NULL || sscanf(auth, "AWS4-HMAC-SHA256 Credential=%127[^/]/%*8[0-9]/%63[^/]/dynamodb/aws4_request,", access,
	        region) != 2) {
		fake_dynamo_error(x, "MissingAuthenticationTokenException", "no signature");
	} else if (strcmp(access, f->access) != 0) {
		fake_dynamo_error(x, "UnrecognizedClientException", "The security token included in the request is invalid.");
	} else if (f->session_token != NULL && (token == NULL || strcmp(token, f->session_token) != 0)) {
		fake_dynamo_error(x, "ExpiredTokenException", "The security token included in the request is expired");
	} else if (skew > FAKE_SKEW / 3 || skew < -FAKE_SKEW / 3) {
		fake_dynamo_error(x, "InvalidSignatureException", "Signature expired: told so");
	} else {
		sha256_of(x->rq->body.p, x->rq->body.n, &d);
		if (fake_signature_fits(x, access, auth, region, "dynamodb", digest_hex(&d, hex))) {
			fake_dynamo_answer(f->dynamo, x->rq, x->ret);
			return;
		}
		f->wrong++;
		fake_dynamo_error(x, "InvalidSignatureException", "The request signature we calculated does not match");
	}
}

/* ---------------------------------------------------------------- STS */

static bool
fake_to_sts(const struct scripted_request *rq)
{
	return strncmp(rq->url, "http://" FAKE_STS_HOST "/", strlen("http://" FAKE_STS_HOST "/")) == 0;
}

static void
fake_sts_error(struct fake_call *x, int status, const char *code)
{
	x->ret->status = status;
	buf_printf(&x->body, "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>%s</Code>"
	    "<Message>told so</Message></Error></ErrorResponse>", code);
}

/* Keys that it knows, with the session that belongs to them, and a signature that fits. */
static bool
fake_sts_knows(struct fake_call *x)
{
	const char   *auth = fake_header(x, "authorization"), *token = fake_header(x, "x-amz-security-token");
	char          access[128], region[64], hex[DIGEST_HEX], want[32];
	struct digest d;
	unsigned      role = 0;

	if (auth == NULL || sscanf(auth, "AWS4-HMAC-SHA256 Credential=%127[^/]/%*8[0-9]/%63[^/]/sts/aws4_request,", access, region) != 2)
		return false;
	snprintf(want, sizeof(want), "%s", "");
	if (strncmp(access, "ASIAROLE", 8) == 0) {
		role = (unsigned)strtoul(access + 8, NULL, 10);
		snprintf(want, sizeof(want), "role%u", role);
	}
	if (role > x->f->roles || (role == 0 && strcmp(access, FAKE_S3_ACCESS) != 0) || strcmp(token != NULL ? token : "", want) != 0)
		return false;
	sha256_of(x->rq->body.p, x->rq->body.n, &d);
	return fake_signature_fits(x, access, auth, region, "sts", digest_hex(&d, hex));
}

static void
fake_sts_serve(struct fake_call *x)
{
	struct fake_s3 *f = x->f;
	char           *form = span_dup(x->rq->body), time[TIME_TEXT_MAX];
	bool            web = strstr(form, "Action=AssumeRoleWithWebIdentity&") != NULL, who = strstr(form, "GetCallerIdentity") != NULL;
	const char     *what = web ? "AssumeRoleWithWebIdentity" : "AssumeRole";

	snprintf(f->sts_form, sizeof(f->sts_form), "%s", form);
	free(form);
	if (f->sts_refuses != NULL) {
		fake_sts_error(x, strcmp(f->sts_refuses, "AccessDenied") == 0 ? 403 : 400, f->sts_refuses);
	} else if (web ? fake_header(x, "authorization") != NULL : !fake_sts_knows(x)) {
		fake_sts_error(x, 403, "InvalidClientTokenId");
	} else if (who) {
		x->ret->status = 200;
		buf_puts(&x->body, "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult>"
		    "</GetCallerIdentityResponse>");
	} else {
		x->ret->status = 200;
		f->roles++;
		buf_printf(&x->body, "<%sResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><%sResult><Credentials><AccessKeyId>ASIAROLE%u"
		    "</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>role%u</SessionToken><Expiration>%s</Expiration></Credentials>"
		    "</%sResult></%sResponse>", what, what, f->roles, f->secret, f->roles, time_format(loop_wall(f->loop) + 3600 * 1000, time), what,
		    what);
	}
}

/* ---------------------------------------------------------------- listing */

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
	char           *prefix = scripted_query(x->rq, "prefix"), *token = scripted_query(x->rq, "continuation-token"), *max = scripted_query(x->rq, "max-keys");
	char           *encoding = scripted_query(x->rq, "encoding-type");
	struct fake_names names = fake_names_of(f->objects, prefix);
	char          **keys = names.list;
	size_t          n = names.n, limit = f->page != 0 ? f->page : 1000, i = 0, shown = 0;
	bool            encode = encoding != NULL && strcmp(encoding, "url") == 0 && !f->plain_list;

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
	fake_names_free(&names);
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

static const char *
fake_http_date(int64_t ms, char ret[64])
{
	static const char *const days[] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	char                     t[TIME_TEXT_MAX];

	time_format_s(ms, t);
	snprintf(ret, 64, "%s, %.2s %s %.4s %.8s GMT", days[ms / 86400000 % 7], t + 8, months[(t[5] - '0') * 10 + (t[6] - '0') - 1], t,
	    t + 11);
	return ret;
}

static void
fake_object_headers(struct fake_call *x, const struct fake_s3_object *o)
{
	char date[64];

	scripted_add_header(x->ret, "etag", "\"%s\"", o->etag);
	scripted_add_header(x->ret, "last-modified", "%s", fake_http_date(o->modified, date));
	scripted_add_header(x->ret, "content-length", "%llu", (unsigned long long)body_size(o->body));
}

static void
fake_get(struct fake_call *x, struct fake_s3_object *o)
{
	const char   *unless = fake_header(x, "if-none-match"), *mode = fake_header(x, "x-amz-checksum-mode");
	struct digest d;
	struct buf    b64;

	if (o == NULL || o->marker) {
		if (o != NULL)
			scripted_add_header(x->ret, "x-amz-delete-marker", "true");
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
		scripted_add_header(x->ret, "x-amz-checksum-sha256", "%s", buf_str(&b64));
		buf_free(&b64);
	}
	if (!fake_is(x, "HEAD"))
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
	struct body *body;

	if (fake_precondition(x, o) != 0)
		return;
	body = body_copy(x->rq->body);
	fake_store(x->f, x->key, body, false);
	body_unref(body);
	scripted_add_header(x->ret, "etag", "\"%s\"", fake_s3_get(x->f, x->key)->etag);
	x->ret->status = 200;
}

static void
fake_object(struct fake_call *x)
{
	struct fake_s3        *f = x->f;
	struct fake_s3_object *o = map_get(f->objects, span_str(x->key));
	bool                   get = fake_is(x, "GET") || fake_is(x, "HEAD");

	if ((get && f->denies_get) || (fake_is(x, "PUT") && f->denies_put) ||
	    (fake_is(x, "DELETE") && f->denies_delete)) {
		fake_error(x, 403, "AccessDenied", "");
	} else if (get) {
		fake_get(x, o);
	} else if (fake_is(x, "PUT")) {
		fake_write(x, o);
	} else if (f->ignores_delete_match || fake_precondition(x, o) == 0) {
		fake_s3_del(f, x->key);
		x->ret->status = 204;
	}
}

/* A setting has its own checksum. */
static void
fake_setting(struct fake_call *x, const char *name)
{
	struct fake_s3 *f = x->f;
	size_t          n = strlen(f->settings);
	const char     *sum = fake_header(x, "content-md5");
	uint8_t         md5[MD5_LEN];
	struct buf      want;

	md5_of(x->rq->body.p, x->rq->body.n, md5);
	buf_init(&want, 0);
	base64_encode(span_of(md5, sizeof(md5)), &want);
	assert(sum != NULL && strcmp(sum, buf_str(&want)) == 0 && !f->bucket_missing);
	buf_free(&want);
	if (f->denies_setting != NULL && strncmp(name, f->denies_setting, strlen(f->denies_setting)) == 0) {
		fake_error(x, 403, "AccessDenied", "");
		return;
	}
	snprintf(f->settings + n, sizeof(f->settings) - n, "%s%.*s\n", name, (int)x->rq->body.n, (const char *)x->rq->body.p);
	x->ret->status = 200;
}

static void
fake_bucket(struct fake_call *x)
{
	struct fake_s3 *f = x->f;

	if (fake_is(x, "PUT") && x->rq->at.query != NULL) {
		fake_setting(x, x->rq->at.query);
	} else if (fake_is(x, "PUT")) {
		if (!f->bucket_missing) {
			fake_error(x, 409, "BucketAlreadyOwnedByYou", "");
			return;
		}
		f->bucket_missing = false;
		x->ret->status = 200;
	} else if (f->bucket_missing) {
		fake_error(x, 404, "NoSuchBucket", "");
	} else if (fake_is(x, "HEAD")) {
		x->ret->status = 200;
	} else if (f->denies_list) {
		fake_error(x, 403, "AccessDenied", "");
	} else {
		fake_list(x);
	}
}

/* ---------------------------------------------------------------- the client */

static void
fake_log(struct fake_s3 *f, const struct scripted_request *rq)
{
	struct buf line;

	buf_init(&line, 0);
	buf_printf(&line, "%s %s", rq->method, rq->url);
	if (scripted_header(rq, "x-amz-target") != NULL)
		buf_printf(&line, " %s", scripted_header(rq, "x-amz-target"));
	for (size_t i = 0; i < rq->nheaders; i++)
		buf_printf(&line, "\n%s: %s", rq->headers[i].name, rq->headers[i].value);
	f->log = xreallocarray(f->log, f->nlog + 1, sizeof(*f->log));
	f->log[f->nlog++] = buf_take(&line);
}

/* The rule for a request that leaves, noted until it arrives; NULL: none. */
static const struct fake_s3_rule *
fake_take_rule(struct fake_s3 *f, const struct scripted_request *rq)
{
	struct fake_s3_entry *taken;
	const char           *target = scripted_header(rq, "x-amz-target");

	for (struct fake_s3_entry **at = &f->rules, *e = *at; e != NULL; at = &e->next, e = *at) {
		if ((e->r.method != NULL && strcmp(e->r.method, rq->method) != 0) ||
		    (e->r.what != NULL && strstr(rq->url, e->r.what) == NULL &&
		        (target == NULL || strstr(target, e->r.what) == NULL)))
			continue;
		if (e->r.skip > 0) {
			e->r.skip--;
			continue;
		}
		taken = xmemdup(e, sizeof(*e));
		taken->number = rq->number;
		taken->next = f->taken;
		f->taken = taken;
		if (--e->left == 0) {
			*at = e->next;
			free(e);
		}
		return &taken->r;
	}
	return NULL;
}

static const struct fake_s3_rule *
fake_rule_of(struct fake_s3 *f, const struct scripted_request *rq)
{
	for (struct fake_s3_entry *e = f->taken; e != NULL; e = e->next)
		if (e->number == rq->number)
			return &e->r;
	return NULL;
}

/* The key of a request to the store, owned; NULL: to somebody else. */
static char *
fake_key_of(const struct fake_s3 *f, const struct scripted_request *rq)
{
	struct buf  host, path;
	const char *rest = NULL;
	char       *prefix = xasprintf("/%s", f->bucket), *vhost = xasprintf("%s.", f->bucket), *key = NULL;

	buf_init(&host, 0);
	buf_init(&path, 0);
	url_host_header(&rq->at, &host);
	url_unescape(span_str(rq->at.path), false, &path);
	if (strncmp(buf_str(&path), prefix, strlen(prefix)) == 0)
		rest = buf_str(&path) + strlen(prefix);
	if (strncmp(buf_str(&host), vhost, strlen(vhost)) == 0)
		rest = buf_str(&path);
	if (rest != NULL && (*rest == '/' || *rest == '\0'))
		key = xstrdup(*rest == '/' ? rest + 1 : rest);
	buf_free(&host);
	buf_free(&path);
	free(prefix);
	free(vhost);
	return key;
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

/* Instead of whatever the store has said. */
static void
fake_ruled_answer(struct fake_call *x, const struct fake_s3_rule *r)
{
	for (size_t i = 0; i < x->ret->nheaders; i++) {
		free((char *)x->ret->headers[i].name);
		free(x->ret->headers[i].value);
	}
	x->ret->nheaders = 0;
	x->ret->status = r->status;
	for (const char *h = r->headers != NULL ? r->headers : ""; *h != '\0'; h += strcspn(h, "\n") + 1) {
		char *name = xstrndup(h, strcspn(h, ":"));

		scripted_add_header(x->ret, name, "%.*s", (int)(strcspn(h, "\n") - strlen(name) - 2), h + strlen(name) + 2);
		free(name);
	}
	buf_reset(&x->body);
	buf_puts(&x->body, r->body != NULL ? r->body : "");
}

static void
fake_arrived(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	struct fake_s3            *f = arg;
	struct fake_call           x = { .f = f, .rq = rq, .ret = ret };
	const struct fake_s3_rule *r = fake_rule_of(f, rq);
	char                      *key = fake_key_of(f, rq), date[64];

	x.key = key;
	buf_init(&x.body, 0);
	if (fake_to_dynamo(rq) && (r == NULL || r->how != FAKE_ANSWER))
		fake_dynamo_serve(&x);
	else if (fake_to_sts(rq) && (r == NULL || r->how != FAKE_ANSWER))
		fake_sts_serve(&x);
	else if (r == NULL || r->how != FAKE_ANSWER)
		fake_serve(&x);
	if (r != NULL && (r->how == FAKE_ANSWER || r->how == FAKE_APPLY))
		fake_ruled_answer(&x, r);
	else if (f->clock_ms != 0)
		scripted_add_header(ret, "date", "%s", fake_http_date(loop_wall(f->loop) + f->clock_ms, date));
	if (r != NULL && r->how == FAKE_SHORT) {
		scripted_add_header(ret, "content-length", "%zu", x.body.len);
		x.body.len /= 2;
	}
	if (x.body.len > 0 || !fake_to_dynamo(rq) || (r != NULL && r->how == FAKE_APPLY))
		scripted_set_body(ret, buf_span(&x.body));
	buf_free(&x.body);
	free(key);
}

/* Before a request leaves. */
static enum scripted_fault
fake_decides(void *arg, const struct scripted_request *rq)
{
	static const enum scripted_fault faults[] = { [FAKE_LOST] = SCRIPTED_LOST_ANSWER, [FAKE_LOST_BEFORE] = SCRIPTED_LOST_REQUEST,
		[FAKE_REFUSED] = SCRIPTED_LOST_BEFORE, [FAKE_HANGS] = SCRIPTED_TIMEOUT, [FAKE_CUT] = SCRIPTED_CUT, [FAKE_SHORT] = SCRIPTED_OK };
	struct fake_s3            *f = arg;
	const struct fake_s3_rule *r = fake_take_rule(f, rq);
	char                      *key = fake_key_of(f, rq);
	bool                       ours = key != NULL || fake_to_dynamo(rq) || fake_to_sts(rq);

	free(key);
	fake_log(f, rq);
	if (r != NULL && (ours || r->how == FAKE_ANSWER || r->how == FAKE_HANGS))
		return faults[r->how];
	return ours ? SCRIPTED_OK : SCRIPTED_LOST_BEFORE;
}

struct fake_s3 *
fake_s3_behind(struct scripted_http *http, struct loop *l)
{
	struct fake_s3 *f = xcalloc(1, sizeof(*f));

	f->http = http;
	f->loop = l;
	scripted_handle(f->http, fake_arrived, f);
	scripted_decide(f->http, fake_decides, f);
	scripted_latency(f->http, FAKE_WAY, FAKE_WAY, 1);
	f->objects = map_new();
	f->dynamo = fake_dynamo_new();
	f->bucket = "acme";
	f->region = "us-east-1";
	f->access = FAKE_S3_ACCESS;
	f->secret = FAKE_S3_SECRET;
	return f;
}

struct fake_s3 *
fake_s3_new(struct loop *l)
{
	struct fake_s3 *f = fake_s3_behind(scripted_http_new(l), l);

	f->own_http = true;
	return f;
}

static void
fake_rules_free(struct fake_s3_entry **list)
{
	struct fake_s3_entry *e;

	while ((e = *list) != NULL) {
		*list = e->next;
		free(e);
	}
}

void
fake_s3_no_rules(struct fake_s3 *f)
{
	fake_rules_free(&f->rules);
}

void
fake_s3_free(struct fake_s3 *f)
{
	void *o;

	if (f->own_http)
		scripted_http_free(f->http);
	fake_rules_free(&f->rules);
	fake_rules_free(&f->taken);
	for (size_t i = 0; map_next(f->objects, &i, NULL, &o);)
		fake_object_free(o);
	map_free(f->objects);
	fake_dynamo_free(f->dynamo);
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
