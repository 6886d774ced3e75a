/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/encode.h"
#include "base/log.h"
#include "net/xml.h"
#include "s3.h"

/* One request to S3: where it goes, its signature, what its answer teaches, and what may be sent again. */
#define S3_SKEW_MS      ((int64_t)5 * 60 * 1000) /* a clock that is further off may be why a request was refused */
#define S3_EXPECT_ABOVE ((uint64_t)2 << 20)      /* a larger conditional write asks before it sends its body */
#define S3_ERROR_MAX    ((size_t)64 << 10)       /* of an error body that is looked at */

/* ---------------------------------------------------------------- requests and answers */

static void
s3_request_headers(struct send_request *r, const struct http_header *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		send_header(r, list[i].name, "%s", list[i].value);
}

void
s3_request_sse_read(const struct s3 *s, struct send_request *r)
{
	s3_request_headers(r, s->sse_read, s->nsse_read);
}

void
s3_request_tags(const struct conf_map *tags, struct send_request *r)
{
	struct buf text;

	buf_init(&text, 0);
	for (size_t i = 0; i < tags->n; i++) {
		if (i > 0)
			buf_putc(&text, '&');
		url_escape(URL_QUERY, span_str(tags->keys[i]), &text);
		buf_putc(&text, '=');
		url_escape(URL_QUERY, span_str(tags->values[i]), &text);
	}
	if (tags->n > 0)
		send_header(r, "x-amz-tagging", "%s", buf_str(&text));
	buf_free(&text);
}

void
s3_request_write(const struct s3 *s, struct send_request *r, const char *type, struct body *body, const struct digest *d)
{
	struct buf sum;

	r->method = "PUT";
	r->changing = true;
	r->body = body_ref(body);
	r->digest = *d;
	send_header(r, "content-type", "%s", type);
	s3_request_headers(r, s->sse_write, s->nsse_write);
	if (s->conf->acl != NULL && s->conf->acl[0] != '\0')
		send_header(r, "x-amz-acl", "%s", s->conf->acl);
	if (s->conf->skip_s3_checksum)
		return;
	buf_init(&sum, 0);
	base64_encode(span_of(d->b, DIGEST_LEN), &sum);
	send_header(r, "x-amz-checksum-sha256", "%s", buf_str(&sum));
	buf_free(&sum);
}

void
s3_etag(const char *header, char ret[ETAG_MAX])
{
	size_t n = header == NULL ? 0 : strlen(header);

	if (n >= 2 && header[0] == '"' && header[n - 1] == '"') {
		header++;
		n -= 2;
	}
	if (n >= ETAG_MAX)
		n = 0;
	if (n > 0)
		memcpy(ret, header, n);
	ret[n] = '\0';
}

char *
s3_etag_quoted(const char *etag)
{
	return strncmp(etag, "W/", 2) == 0 ? xstrdup(etag) : xasprintf("\"%s\"", etag);
}

int64_t
s3_now(const struct s3 *s)
{
	return loop_wall(s->env->loop) + s->net.clock_offset_ms;
}

/* ---------------------------------------------------------------- error bodies */

struct s3_error {
	char    code[SEND_CODE_MAX], message[SEND_MESSAGE_MAX], region[64], endpoint[256];
	int64_t server_time;
};

static enum err_code
s3_error_element(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct s3_error *e = arg;
	char             time[TIME_TEXT_MAX];

	(void)reterr;
	if (strncmp(path, "Error/", 6) != 0)
		return ERR_OK;
	path += 6;
	if (strcmp(path, "Code") == 0)
		span_text(e->code, sizeof(e->code), text);
	else if (strcmp(path, "Message") == 0)
		span_text(e->message, sizeof(e->message), text);
	else if (strcmp(path, "Region") == 0)
		span_text(e->region, sizeof(e->region), text);
	else if (strcmp(path, "Endpoint") == 0)
		span_text(e->endpoint, sizeof(e->endpoint), text);
	else if (strcmp(path, "ServerTime") == 0) {
		span_text(time, sizeof(time), text);
		if (!time_parse(time, &e->server_time))
			e->server_time = 0;
	}
	return ERR_OK;
}

/* What is no XML leaves code empty: a proxy's page, a HEAD. */
static void
s3_error_parse(const struct send_answer *a, struct s3_error *ret)
{
	struct xml_reader *x;
	struct span        text;

	*ret = (struct s3_error){ 0 };
	if (a->http.status < 300 || a->http.body == NULL || !body_in_memory(a->http.body))
		return;
	text = body_span(a->http.body);
	x = xml_reader_new(s3_error_element, ret);
	xml_feed(x, text.p, text.n < S3_ERROR_MAX ? text.n : S3_ERROR_MAX, NULL);
	xml_reader_free(x);
}

bool
s3_answer_is(const struct send_answer *a, int status, const char *code)
{
	return a->http.status == status && strcmp(a->code, code) == 0;
}

/* Of a HEAD, or the same with a body that says so: somebody else's page is no proof of absence. */
bool
s3_no_such_object(const struct send_request *r, const struct send_answer *a)
{
	return a->http.status == 404 && (strcmp(a->code, "NoSuchKey") == 0 || strcmp(a->code, "NotFound") == 0 ||
	    strcmp(a->code, "NoSuchVersion") == 0 ||
	    (a->code[0] == '\0' && strcmp(r->method, "HEAD") == 0));
}

bool
s3_precondition_failed(const struct send_answer *a)
{
	return a->http.status == 412 || a->http.status == 304;
}

bool
s3_raced(const struct send_answer *a)
{
	return a->http.status == 409 && (strcmp(a->code, "ConditionalRequestConflict") == 0 ||
	    strcmp(a->code, "OperationAborted") == 0);
}

bool
s3_no_conditions(const struct send_answer *a)
{
	return a->http.status == 501 || (a->http.status == 400 && strcmp(a->code, "NotImplemented") == 0);
}

static bool
s3_code_in(const struct send_answer *a, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(a->code, *list) == 0)
			return true;
	return false;
}

static bool
s3_expired(const struct send_answer *a)
{
	static const char *const codes[] = { "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken",
	    NULL };

	return s3_code_in(a, codes);
}

static bool
s3_unknown_keys(const struct send_answer *a)
{
	static const char *const codes[] = { "InvalidAccessKeyId", "XAdminUserNotFound", "InvalidClientTokenId", NULL };

	return s3_code_in(a, codes);
}

/* Refused for the load: nothing was done. */
static bool
s3_throttled(const struct send_answer *a)
{
	static const char *const codes[] = { "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded",
	    "TooManyRequests", "RequestTimeout", NULL };

	return a->http.status == 429 || s3_code_in(a, codes);
}

/* ---------------------------------------------------------------- addresses */

/* "host:port" as it is sent and signed; the URL without a path. */
static void
s3_request_address(const struct s3 *s, struct buf *host, struct buf *url)
{
	char *aws = s->endpoint.scheme == NULL ? aws_host(s->conf, "s3", s->region) : NULL;

	if (!s->path_style)
		buf_printf(host, "%s.", s->conf->bucket);
	if (aws != NULL)
		buf_puts(host, aws);
	else
		url_host_header(&s->endpoint, host);
	buf_printf(url, "%s://%s", aws != NULL ? "https" : s->endpoint.scheme, buf_str(host));
	free(aws);
}

static void
s3_request_path(const struct s3 *s, const char *key, struct buf *ret)
{
	const char *base = s->endpoint.path != NULL ? s->endpoint.path : "";
	size_t      n = strlen(base);

	while (n > 0 && base[n - 1] == '/')
		n--;
	buf_put(ret, base, n);
	if (s->path_style)
		buf_printf(ret, "/%s", s->conf->bucket);
	if (key == NULL && ret->len > 0)
		return;
	buf_putc(ret, '/');
	if (key != NULL)
		url_escape(URL_S3_PATH, span_str(key), ret);
}

/* ---------------------------------------------------------------- sending */

struct s3_send {
	struct send send;
	bool        region_learned, clock_learned;
	char        region[64]; /* signed for */
	int64_t     offset;     /* signed with */
};

static struct op *
s3_ready(struct send *send)
{
	struct s3 *s = s3_of(send->b);

	return s3_cred_ready(s->cred, s3_now(s));
}

static bool
s3_renew(struct send *send)
{
	return s3_cred_reject(s3_of(send->b)->cred, send->generation);
}

static void
s3_sign(struct s3_send *x, const struct send_request *r, const char *host, const char *path, struct http_header *ret, size_t *ret_n)
{
	static const struct digest empty = { { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f,
		0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 } };
	struct s3       *s = s3_of(x->send.b);
	char             hex[DIGEST_HEX];
	struct sigv4_key key;

	s3_cred_key(s->cred, &key);
	x->send.generation = s3_cred_generation(s->cred);
	x->offset = s->net.clock_offset_ms;
	snprintf(x->region, sizeof(x->region), "%s", s->region);
	sigv4_sign(&key, &(struct sigv4_request){ .method = r->method, .host = host, .path = path, .query = r->query,
	    .headers = r->headers, .nheaders = r->nheaders, .payload_hash = digest_hex(r->body != NULL ? &r->digest : &empty, hex),
	    .region = x->region, .service = "s3", .wall_ms = s3_now(s), .content_sha256 = true }, ret, ret_n);
}

static bool
s3_is_conditional(const struct send_request *r)
{
	for (size_t i = 0; i < r->nheaders; i++)
		if (strncmp(r->headers[i].name, "if-", 3) == 0)
			return true;
	return false;
}

static struct op *
s3_attempt(struct send *send, const struct send_request *r, struct send_answer *ret)
{
	struct s3_send     *x = container_of(send, struct s3_send, send);
	struct s3          *s = s3_of(x->send.b);
	struct http_header  own[SIGV4_HEADERS_MAX];
	struct buf          host, url, path;
	struct op          *op;
	bool                tls = s->endpoint.scheme == NULL || strcmp(s->endpoint.scheme, "https") == 0;
	struct http_request h = { .headers = own, .tls = &s->net.tls, .proxy = aws_proxy(s->conf, tls) };

	buf_init(&host, 0);
	buf_init(&url, 0);
	buf_init(&path, 0);
	s3_request_address(s, &host, &url);
	s3_request_path(s, r->object, &path);
	buf_printf(&url, "%s%s%s", buf_str(&path), r->query != NULL ? "?" : "", r->query != NULL ? r->query : "");
	s3_sign(x, r, buf_str(&host), buf_str(&path), own, &h.nheaders);
	h.url = buf_str(&url);
	h.no_proxy = aws_direct(s->conf, buf_str(&host));
	h.expect_continue = r->body != NULL && body_size(r->body) > S3_EXPECT_ABOVE && s3_is_conditional(r);
	op = send_attempt(send, r, &h, ret);
	buf_free(&host);
	buf_free(&url);
	buf_free(&path);
	return op;
}

/* ---------------------------------------------------------------- what an answer teaches */

static bool
s3_region_plausible(const char *text)
{
	return text[0] != '\0' && strlen(text) < 64 && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* "bucket.s3.eu-west-1.amazonaws.com", "bucket.s3-eu-west-1.amazonaws.com" */
static void
s3_region_of_endpoint(struct s3_error *e)
{
	const char *at = strstr(e->endpoint, ".s3");
	size_t      n;

	at = at != NULL ? at + 3 : strncmp(e->endpoint, "s3", 2) == 0 ? e->endpoint + 2 : NULL;
	if (at == NULL || (*at != '.' && *at != '-'))
		return;
	n = strcspn(++at, ".");
	if (n < sizeof(e->region) && strncmp(at + n, ".amazonaws.", 11) == 0)
		span_text(e->region, sizeof(e->region), span_of(at, n));
}

static bool
s3_learn_region(struct s3_send *x, const struct send_answer *a, struct s3_error *e)
{
	struct s3  *s = s3_of(x->send.b);
	const char *region = http_header_get(&a->http, "x-amz-bucket-region");
	int         status = a->http.status;

	if (status != 301 && status != 307 && status != 400 && status != 403)
		return false;
	if (region == NULL && e->region[0] == '\0')
		s3_region_of_endpoint(e);
	if (region == NULL)
		region = e->region;
	if (!s3_region_plausible(region) || strcmp(region, x->region) == 0 || x->region_learned)
		return false;
	x->region_learned = true;
	if (strcmp(region, s->region) == 0) /* another request was faster */
		return true;
	log_at(LOG_WARN, s->b.label, "bucket %s is in region %s, not %s: write that into its block", s->conf->bucket, region,
	    s->region);
	free(s->region);
	s->region = xstrdup(region);
	return true;
}

static bool
s3_learn_clock(struct s3_send *x, const struct send_answer *a, const struct s3_error *e)
{
	struct s3 *s = s3_of(x->send.b);
	int64_t    there = a->http.date_ms != 0 ? a->http.date_ms : e->server_time, offset = there - loop_wall(s->env->loop);
	bool       said = strcmp(a->code, "RequestTimeTooSkewed") == 0;
	bool       silent = a->code[0] == '\0' || strcmp(a->code, "SignatureDoesNotMatch") == 0 ||
	    strcmp(a->code, "AccessDenied") == 0;
	int64_t    wrong = offset - x->offset;
	char       text[TIME_TEXT_MAX];

	if ((a->http.status != 403 && a->http.status != 400) || there == 0 || (!said && !silent) || x->clock_learned)
		return false;
	if (!said && wrong < S3_SKEW_MS && wrong > -S3_SKEW_MS)
		return false;
	x->clock_learned = true;
	s->net.clock_offset_ms = offset;
	log_at(LOG_WARN, s->b.label, "the clock here is %s %s: requests are signed with the server's time",
	    duration_format(offset < 0 ? -offset : offset, text), offset < 0 ? "fast" : "slow");
	return true;
}

/* ---------------------------------------------------------------- and what is done about it */

static enum send_verdict
s3_verdict(struct s3_send *x, struct send_answer *a)
{
	struct s3_error e;
	int             status = a->http.status;

	s3_error_parse(a, &e);
	memcpy(a->code, e.code, sizeof(a->code));
	memcpy(a->message, e.message, sizeof(a->message));
	if (status >= 300 && (s3_learn_region(x, a, &e) || s3_learn_clock(x, a, &e)))
		return SEND_AGAIN;
	if (status >= 400 && (s3_expired(a) || s3_unknown_keys(a) || s3_answer_is(a, status, "SignatureDoesNotMatch")))
		return SEND_RENEW;
	if (s3_throttled(a))
		return SEND_LATER;
	return status >= 500 && status != 501 ? SEND_DOWN : SEND_DONE;
}

/* An answer without a body does not say why: asks for the bucket's place, whose refusal has one. */
static enum send_verdict
s3_judge(struct send *send)
{
	enum send_verdict   verdict = s3_verdict(container_of(send, struct s3_send, send), send->ret);
	struct send_answer *a = send->ret;

	if (verdict != SEND_DONE || strcmp(send->r->method, "HEAD") != 0 || a->code[0] != '\0' ||
	    (a->http.status != 400 && a->http.status != 403))
		return verdict;
	send->side.method = "GET";
	free(send->side.query);
	send->side.query = xstrdup("location=");
	return SEND_ASK;
}

static enum send_verdict
s3_told(struct send *send)
{
	enum send_verdict verdict = s3_verdict(container_of(send, struct s3_send, send), &send->told);

	if (send->told.http.status == send->ret->http.status)
		memcpy(send->ret->code, send->told.code, sizeof(send->ret->code));
	if (verdict == SEND_AGAIN || verdict == SEND_RENEW)
		return verdict;
	return s3_throttled(send->ret) ? SEND_LATER : SEND_DONE;
}

static const struct send_driver s3_driver = { .pause_ms = S3_BACKOFF_MS, .ready = s3_ready, .attempt = s3_attempt, .judge = s3_judge,
	.told = s3_told, .renew = s3_renew };

static const struct op_class s3_send_class = { "s3", SEND_OP_CLASS };

struct op *
s3_send(struct s3 *s, struct send_request *r, struct send_answer *ret)
{
	struct s3_send *x = xcalloc(1, sizeof(*x));

	x->send = (struct send){ .driver = &s3_driver, .b = &s->b, .where = xasprintf("bucket %s", s->conf->bucket),
		.most = s->conf->max_retries };
	return send_init(&x->send, &s3_send_class, r, ret);
}

/* ---------------------------------------------------------------- refusals */

static const char *
s3_permission(const struct send_request *r)
{
	bool object = r->object != NULL;

	if (strcmp(r->method, "PUT") == 0)
		return object ? "s3:PutObject" : "s3:CreateBucket";
	if (strcmp(r->method, "DELETE") == 0)
		return "s3:DeleteObject";
	if (r->query != NULL && strstr(r->query, "version") != NULL)
		return object ? "s3:GetObjectVersion" : "s3:ListBucketVersions";
	return object ? "s3:GetObject" : "s3:ListBucket";
}

static enum err_code
s3_refused_keys(const struct s3 *s, const struct send_answer *a, struct err *reterr)
{
	const char *source = s3_cred_source(s->cred);

	err_set(reterr, ERR_AUTH, a->http.status, "bucket %s: the credentials from %s are refused (%d %s)", s->conf->bucket, source,
	    a->http.status, a->code);
	if (s3_expired(a))
		return err_hint(reterr, "they have expired: renew them");
	if (s3_unknown_keys(a))
		return err_hint(reterr, "the server does not know this access key: check access_key and the endpoint");
	if (strcmp(a->code, "SignatureDoesNotMatch") == 0)
		return err_hint(reterr, "check secret_key, and that no proxy on the way changes requests");
	return ERR_AUTH;
}

#define S3_KEY_HINT "an object is read as it was written: under its sse_customer_key, or without one if it has none"

/* An object that wants a customer's key, or does not want the one that came. */
static bool
s3_refused_key(const struct send_request *r, const struct send_answer *a)
{
	return r->object != NULL && !r->changing && (a->http.status == 400 || a->http.status == 403) &&
	    strcasestr(a->message, "encryption") != NULL;
}

static enum err_code
s3_refused_denied(const struct s3 *s, const struct send_request *r, const struct send_answer *a, const char *what, struct err *reterr)
{
	bool kms = s->conf->encrypt && s->conf->kms_key_id != NULL;

	err_set(reterr, ERR_AUTH, a->http.status, "bucket %s: %s is not allowed (%d%s%s)", s->conf->bucket, what, a->http.status,
	    SEND_CODE(a));
	if (s3_refused_key(r, a))
		return err_hint(reterr, S3_KEY_HINT);
	if (strstr(a->message, "kms:") != NULL) /* S3 itself would allow it */
		return err_hint(reterr, "the credentials from %s need %s on the KMS key that encrypts it", s3_cred_source(s->cred),
		    r->changing ? "kms:GenerateDataKey" : "kms:Decrypt");
	return err_hint(reterr, "the credentials from %s need %s on arn:aws:s3:::%s%s%s%s%s", s3_cred_source(s->cred),
	    s3_permission(r), s->conf->bucket, r->object != NULL ? "/" : "", r->object != NULL ? r->object : "",
	    r->object != NULL && !r->changing ? ", and s3:ListBucket to tell a missing object from a forbidden one" : "",
	    kms && r->changing ? ", and kms:GenerateDataKey" : "");
}

static enum err_code
s3_refused_place(const struct s3 *s, const struct send_answer *a, struct err *reterr)
{
	struct s3_error e;

	s3_error_parse(a, &e);
	err_set(reterr, ERR_CONFIG, a->http.status, "bucket %s is not at this endpoint (%d %s)", s->conf->bucket, a->http.status,
	    a->code);
	if (e.endpoint[0] != '\0')
		return err_hint(reterr, "it is at %s: check region and endpoints", e.endpoint);
	return err_hint(reterr, "check region and endpoints");
}

enum err_code
s3_refused(const struct s3 *s, const struct send_request *r, const struct send_answer *a, const char *what, struct err *reterr)
{
	static const char *const keys[] = { "InvalidAccessKeyId", "XAdminUserNotFound", "InvalidClientTokenId",
		"SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken",
		"AuthorizationHeaderMalformed", "InvalidSecurity", "NotSignedUp", "AccountProblem", NULL };
	const char *bucket = s->conf->bucket;
	int         status = a->http.status;

	if (s3_code_in(a, keys))
		return s3_refused_keys(s, a, reterr);
	if (strcmp(a->code, "NoSuchBucket") == 0 || (status == 404 && r->object == NULL && a->code[0] == '\0' &&
	        strcmp(r->method, "HEAD") == 0)) {
		err_set(reterr, ERR_NOT_FOUND, status, "bucket %s does not exist (%d NoSuchBucket)", bucket, status);
		return provider_make_hint(&s->b, "check bucket and endpoint", reterr);
	}
	if (strcmp(a->code, "RequestTimeTooSkewed") == 0) {
		err_set(reterr, ERR_AUTH, status, "bucket %s: the clock here is too far off (%d %s)", bucket, status, a->code);
		return err_hint(reterr, "set the clock, e.g. by NTP");
	}
	if (status == 301 || status == 307 || status == 308)
		return s3_refused_place(s, a, reterr);
	if (strncmp(a->code, "KMS.", 4) == 0) {
		err_set(reterr, ERR_CONFIG, status, "bucket %s: %s: its KMS key cannot be used (%d %s)", bucket, what, status, a->code);
		return err_hint(reterr, "check kms_key_id, that the key is enabled, and that it is in the bucket's region");
	}
	if (strcmp(a->code, "InvalidObjectState") == 0)
		return err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: the object is archived (%d %s)", bucket, what,
		    status, a->code);
	if (status == 407) {
		err_set(reterr, ERR_AUTH, status, "bucket %s: %s: the proxy on the way wants credentials (407)", bucket, what);
		return err_hint(reterr, PROVIDER_PROXY_HINT);
	}
	if (status == 401 || status == 403 || s3_refused_key(r, a))
		return s3_refused_denied(s, r, a, what, reterr);
	if (s3_no_conditions(a)) {
		err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: the store does not know this kind of request (%d %s)",
		    bucket, what, status, a->code);
		return err_hint(reterr, "it may lack conditional writes: stateferry probe %s shows it", s->b.label);
	}
	if (a->code[0] == '\0') {
		err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: the answer %d is none of S3", bucket, what, status);
		return err_hint(reterr, S3_OTHER_HINT);
	}
	return err_set(reterr, ERR_UNSUPPORTED, status, "bucket %s: %s: %d %s: %.80s", bucket, what, status, a->code, a->message);
}
