/* SPDX-License-Identifier: MIT */
#include "fake_azure.h"

#include <stdlib.h>
#include <strings.h>

#include "base/encode.h"
#include "base/digest.h"
#include "net/sharedkey.h"
#include "net/xml.h"
#include "fake_names.h"
#include "test.h"

#define META      "x-ms-meta-"
#define META_MAX  44

struct meta {
	char *name, *value;
};

struct blob {
	struct body *body;
	char         etag[32], lease[64];
	struct meta  meta[META_MAX];
	size_t       nmeta;
};

static void
forget_meta(struct blob *b)
{
	for (size_t i = 0; i < b->nmeta; i++) {
		free(b->meta[i].name);
		free(b->meta[i].value);
	}
	b->nmeta = 0;
}

static void
blob_free(struct blob *b)
{
	if (b == NULL)
		return;
	forget_meta(b);
	body_unref(b->body);
	free(b);
}

static void
touch(struct fake_azure *f, struct blob *b)
{
	f->etag = f->etag * 6364136223846793005u + 1442695040888963407u; /* no order */
	snprintf(b->etag, sizeof(b->etag), "0x%llX", (unsigned long long)f->etag);
}

static void
add_meta(struct blob *b, const char *name, const char *value)
{
	CHECK(b->nmeta < META_MAX);
	b->meta[b->nmeta++] = (struct meta){ xstrdup(name), xstrdup(value) };
}

static struct blob *
find(struct fake_azure *f, const char *name)
{
	return map_get(f->blobs, span_str(name));
}

static struct blob *
store(struct fake_azure *f, const char *name, struct span body)
{
	struct blob *b = find(f, name);

	if (b == NULL) {
		b = xcalloc(1, sizeof(*b));
		map_put(f->blobs, span_str(name), b);
	}
	body_unref(b->body);
	b->body = body_copy(body);
	touch(f, b);
	return b;
}

void
fake_azure_put(struct fake_azure *f, const char *name, struct span body)
{
	store(f, name, body);
}

bool
fake_azure_get(struct fake_azure *f, const char *name, struct span *ret)
{
	struct blob *b = find(f, name);

	if (b != NULL)
		*ret = body_span(b->body);
	return b != NULL;
}

const char *
fake_azure_meta(struct fake_azure *f, const char *name, const char *key)
{
	struct blob *b = find(f, name);

	for (size_t i = 0; b != NULL && i < b->nmeta; i++)
		if (strcasecmp(b->meta[i].name + strlen(META), key) == 0)
			return b->meta[i].value;
	return "";
}

void
fake_azure_set_meta(struct fake_azure *f, const char *name, const char *key, const char *value)
{
	char *whole = xasprintf(META "%s", key);

	add_meta(find(f, name), whole, value);
	touch(f, find(f, name));
	free(whole);
}

const char *
fake_azure_lease(struct fake_azure *f, const char *name)
{
	struct blob *b = find(f, name);

	return b != NULL ? b->lease : "";
}

void
fake_azure_set_lease(struct fake_azure *f, const char *name, const char *id)
{
	snprintf(find(f, name)->lease, sizeof(find(f, name)->lease), "%s", id);
}

size_t
fake_azure_leases(struct fake_azure *f)
{
	struct span name;
	void       *v;
	size_t      n = 0;

	for (size_t i = 0; map_next(f->blobs, &i, &name, &v);)
		n += ((struct blob *)v)->lease[0] != '\0';
	return n;
}

/* ---------------------------------------------------------------- answers */

static void
refuse(const struct scripted_request *rq, struct scripted_answer *a, int status, const char *code)
{
	char text[300];

	a->status = status;
	scripted_add_header(a, "x-ms-error-code", "%s", code);
	if (strcmp(rq->method, "HEAD") == 0)
		return;
	snprintf(text, sizeof(text), "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>It says no.\nRequestId:1\nTime:2</Message></Error>",
	    code);
	scripted_add_header(a, "Content-Type", "application/xml");
	scripted_set_body(a, span_str(text));
}

static void
md5_text(struct span s, char ret[32])
{
	uint8_t    sum[MD5_LEN];
	struct buf text;

	md5_of(s.p, s.n, sum);
	buf_init(&text, 0);
	base64_encode(span_of(sum, sizeof(sum)), &text);
	snprintf(ret, 32, "%s", buf_str(&text));
	buf_free(&text);
}

static bool
is(const struct scripted_request *rq, const char *header, const char *value)
{
	const char *text = scripted_header(rq, header);

	return text != NULL && strcasecmp(text, value) == 0;
}

/* Does the lease that the request names fit? Changing ones need one where there is one. */
static bool
lease_fits(const struct fake_azure *f, const struct scripted_request *rq, struct scripted_answer *a, const struct blob *b, bool change)
{
	const char *named = scripted_header(rq, "x-ms-lease-id");

	if (f->lets_all_in)
		return true;
	if (named != NULL && b->lease[0] == '\0')
		refuse(rq, a, 412, "LeaseNotPresentWithBlobOperation");
	else if (named != NULL && strcasecmp(named, b->lease) != 0)
		refuse(rq, a, 412, "LeaseIdMismatchWithBlobOperation");
	else if (named == NULL && change && b->lease[0] != '\0')
		refuse(rq, a, 412, "LeaseIdMissing");
	else
		return true;
	return false;
}

static bool
matches(const struct scripted_request *rq, struct scripted_answer *a, const struct blob *b)
{
	const char *want = scripted_header(rq, "if-match");
	char        etag[40];

	snprintf(etag, sizeof(etag), "\"%s\"", b->etag);
	if (want == NULL || strcmp(want, etag) == 0)
		return true;
	refuse(rq, a, 412, "ConditionNotMet");
	return false;
}

static void
show(const struct fake_azure *f, struct scripted_answer *a, const struct blob *b)
{
	char sum[32];

	md5_text(body_span(b->body), sum);
	a->status = 200;
	scripted_add_header(a, "ETag", "\"%s\"", b->etag);
	scripted_add_header(a, "Last-Modified", "Sun, 22 Nov 2026 00:45:53 GMT");
	scripted_add_header(a, "x-ms-blob-type", "BlockBlob");
	if (!f->without_md5)
		scripted_add_header(a, "Content-MD5", "%s", sum);
	scripted_add_header(a, "x-ms-lease-status", "%s", b->lease[0] != '\0' ? "locked" : "unlocked");
	for (size_t i = 0; i < b->nmeta; i++)
		scripted_add_header(a, b->meta[i].name, "%s", b->meta[i].value);
}

static void
take_meta(const struct scripted_request *rq, struct blob *b)
{
	forget_meta(b);
	for (size_t i = 0; i < rq->nheaders; i++)
		if (strncasecmp(rq->headers[i].name, META, strlen(META)) == 0)
			add_meta(b, rq->headers[i].name, rq->headers[i].value);
}

static void
changed(struct scripted_answer *a, const struct blob *b, int status)
{
	a->status = status;
	scripted_add_header(a, "ETag", "\"%s\"", b->etag);
}

/* ---------------------------------------------------------------- requests */

static void
put(struct fake_azure *f, const struct scripted_request *rq, struct scripted_answer *a, const char *name)
{
	struct blob *b = find(f, name);
	char         sum[32];

	md5_text(rq->body, sum);
	CHECK(is(rq, "x-ms-blob-type", "BlockBlob"));
	if (scripted_header(rq, "content-md5") != NULL && !is(rq, "content-md5", sum)) {
		refuse(rq, a, 400, "Md5Mismatch");
	} else if (b != NULL && is(rq, "if-none-match", "*")) {
		refuse(rq, a, 409, "BlobAlreadyExists");
	} else if (b == NULL && scripted_header(rq, "if-match") != NULL) {
		refuse(rq, a, 412, "ConditionNotMet");
	} else if (b == NULL || (lease_fits(f, rq, a, b, true) && matches(rq, a, b))) {
		b = store(f, name, rq->body);
		take_meta(rq, b);
		changed(a, b, 201);
		if (!f->without_md5)
			scripted_add_header(a, "Content-MD5", "%s", sum);
	}
}

static void
lease(struct fake_azure *f, const struct scripted_request *rq, struct scripted_answer *a, struct blob *b)
{
	const char *id = scripted_header(rq, "x-ms-lease-id"), *proposed = scripted_header(rq, "x-ms-proposed-lease-id");

	if (is(rq, "x-ms-lease-action", "acquire")) {
		CHECK(is(rq, "x-ms-lease-duration", "-1"));
		if (b->lease[0] != '\0' && (f->asks_once || strcasecmp(b->lease, proposed) != 0) && !f->lets_all_in) {
			refuse(rq, a, 409, "LeaseAlreadyPresent");
			return;
		}
		snprintf(b->lease, sizeof(b->lease), "%s", proposed);
		changed(a, b, 201);
	} else if (is(rq, "x-ms-lease-action", "release")) {
		if (strcasecmp(b->lease, id) != 0) {
			refuse(rq, a, 409, "LeaseIdMismatchWithLeaseOperation");
			return;
		}
		b->lease[0] = '\0';
		changed(a, b, 200);
	} else if (is(rq, "x-ms-lease-action", "break")) {
		if (!matches(rq, a, b))
			return;
		if (b->lease[0] == '\0') {
			refuse(rq, a, 409, "LeaseNotPresentWithLeaseOperation");
			return;
		}
		b->lease[0] = '\0';
		changed(a, b, 202);
	} else {
		test_fail(__FILE__, __LINE__, "nobody knows that lease action");
	}
}

static void
part(struct fake_azure *f, const struct scripted_request *rq, struct scripted_answer *a, struct blob *b, const char *comp)
{
	if (strcmp(comp, "lease") == 0) {
		lease(f, rq, a, b);
	} else if (strcmp(comp, "metadata") == 0 && lease_fits(f, rq, a, b, true)) {
		take_meta(rq, b);
		touch(f, b);
		changed(a, b, 200);
	} else if (strcmp(comp, "snapshot") == 0 && lease_fits(f, rq, a, b, false)) {
		f->snapshots++;
		changed(a, b, 201);
	} else if (a->status == 0) {
		test_fail(__FILE__, __LINE__, "nobody knows comp=%s", comp);
	}
}

static void
object(struct fake_azure *f, const struct scripted_request *rq, struct scripted_answer *a, const char *name)
{
	struct blob *b = find(f, name);
	char        *comp = scripted_query(rq, "comp");

	if (strcmp(rq->method, "PUT") == 0 && comp == NULL) {
		put(f, rq, a, name);
	} else if (b == NULL) {
		refuse(rq, a, 404, "BlobNotFound");
	} else if (strcmp(rq->method, "PUT") == 0) {
		part(f, rq, a, b, comp);
	} else if (strcmp(rq->method, "DELETE") == 0) {
		if (lease_fits(f, rq, a, b, true) && matches(rq, a, b)) {
			blob_free(map_del(f->blobs, span_str(name)));
			a->status = 202;
		}
	} else if (lease_fits(f, rq, a, b, false)) {
		show(f, a, b);
		if (strcmp(rq->method, "HEAD") == 0)
			scripted_add_header(a, "Content-Length", "%llu", (unsigned long long)body_size(b->body));
		else
			scripted_set_body(a, body_span(b->body));
	}
	free(comp);
}

static void
list_entry(struct fake_azure *f, const char *name, struct buf *text)
{
	struct blob *b = find(f, name);
	char         sum[32];

	md5_text(body_span(b->body), sum);
	buf_puts(text, "<Blob><Name>");
	xml_escape(span_str(name), text);
	buf_printf(text, "</Name><Properties><Last-Modified>Sun, 22 Nov 2026 00:45:53 GMT</Last-Modified><Etag>%s</Etag><Content-Length>%llu"
	    "</Content-Length>", b->etag, (unsigned long long)body_size(b->body));
	if (!f->without_md5)
		buf_printf(text, "<Content-MD5>%s</Content-MD5>", sum);
	buf_printf(text, "<LeaseStatus>%s</LeaseStatus></Properties></Blob>", b->lease[0] != '\0' ? "locked" : "unlocked");
}

static void
list(struct fake_azure *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	char             *prefix = scripted_query(rq, "prefix"), *from = scripted_query(rq, "marker");
	struct fake_names names = fake_names_of(f->blobs, prefix);
	size_t            given = 0;
	struct buf        text;
	const char       *next = "";

	buf_init(&text, 0);
	buf_puts(&text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><EnumerationResults><Blobs>");
	for (size_t i = 0; i < names.n; i++) {
		if (from != NULL && strcmp(names.list[i], from) < 0)
			continue;
		if (f->page != 0 && given++ == f->page) {
			next = names.list[i];
			break;
		}
		list_entry(f, names.list[i], &text);
	}
	buf_puts(&text, "</Blobs><NextMarker>");
	xml_escape(span_str(next), &text);
	buf_puts(&text, "</NextMarker></EnumerationResults>");
	a->status = 200;
	scripted_set_body(a, buf_span(&text));
	buf_free(&text);
	fake_names_free(&names);
	free(prefix);
	free(from);
}

static void
check_signature(const struct fake_azure *f, const struct scripted_request *rq)
{
	struct buf key, want;

	CHECK(is(rq, "x-ms-version", "2023-11-03"));
	if (f->signs_by_sas) {
		CHECK(scripted_header(rq, "Authorization") == NULL);
		CHECK(strstr(rq->at.query, "sig=") != NULL);
		return;
	}
	buf_init(&key, 0);
	buf_init(&want, 0);
	CHECK(base64_decode(span_str(FAKE_AZURE_KEY), &key));
	sharedkey_sign(FAKE_AZURE_ACCOUNT, buf_span(&key), &(struct sharedkey_request){ .method = rq->method, .path = rq->at.path,
	    .query = rq->at.query, .headers = rq->headers, .nheaders = rq->nheaders, .content_length = rq->body.n }, &want);
	CHECK_STR(scripted_header(rq, "Authorization"), buf_str(&want));
	buf_free(&key);
	buf_free(&want);
}

static void
fake_azure_answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	static const char  container[] = "/" FAKE_AZURE_CONTAINER;
	struct fake_azure *f = arg;
	size_t             n = sizeof(container) - 1;
	char              *restype = scripted_query(rq, "restype");
	struct buf         name;

	check_signature(f, rq);
	CHECK_STR(rq->at.host, FAKE_AZURE_ACCOUNT ".blob.core.windows.net");
	CHECK(strncmp(rq->at.path, container, n) == 0);
	buf_init(&name, 0);
	if (restype != NULL && strcmp(rq->method, "PUT") == 0) {
		f->missing = false;
		a->status = 201;
	} else if (f->missing) {
		refuse(rq, a, 404, "ContainerNotFound");
	} else if (restype != NULL) {
		list(f, rq, a);
	} else if (rq->at.path[n] == '/' && url_unescape(span_str(rq->at.path + n + 1), false, &name)) {
		object(f, rq, a, buf_str(&name));
	} else {
		test_fail(__FILE__, __LINE__, "nobody knows %s %s", rq->method, rq->url);
	}
	buf_free(&name);
	free(restype);
}

struct fake_azure *
fake_azure_behind(struct scripted_http *http)
{
	struct fake_azure *f = xcalloc(1, sizeof(*f));

	f->blobs = map_new();
	f->etag = 1;
	scripted_handle(http, fake_azure_answer, f);
	return f;
}

void
fake_azure_free(struct fake_azure *f)
{
	struct span name;
	void       *v;

	for (size_t i = 0; map_next(f->blobs, &i, &name, &v);)
		blob_free(v);
	map_free(f->blobs);
	free(f);
}
