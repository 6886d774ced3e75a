/* SPDX-License-Identifier: MIT */
#include "fake_gcs.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/encode.h"
#include "base/json.h"
#include "fake_names.h"
#include "test.h"

struct stored {
	struct body *body;
	char         generation[24];
	char         key[64];         /* SHA-256 of the customer's key; "": none */
};

static void
stored_free(struct stored *s)
{
	if (s != NULL)
		body_unref(s->body);
	free(s);
}

static void
store(struct fake_gcs *f, const char *name, struct span body, const char *key)
{
	struct stored *s = xcalloc(1, sizeof(*s));

	s->body = body_copy(body);
	f->generation = f->generation * 6364136223846793005u % 9000000000000000u + 1000000000000000u; /* no order */
	snprintf(s->generation, sizeof(s->generation), "%llu", (unsigned long long)f->generation);
	snprintf(s->key, sizeof(s->key), "%s", key != NULL ? key : "");
	stored_free(map_put(f->objects, span_str(name), s));
}

void
fake_gcs_put(struct fake_gcs *f, const char *name, struct span body)
{
	store(f, name, body, NULL);
}

bool
fake_gcs_get(struct fake_gcs *f, const char *name, struct span *ret)
{
	struct stored *s = map_get(f->objects, span_str(name));

	if (s != NULL)
		*ret = body_span(s->body);
	return s != NULL;
}

const char *
fake_gcs_key(struct fake_gcs *f, const char *name)
{
	const struct stored *s = map_get(f->objects, span_str(name));

	return s->key;
}

static void
refuse(struct scripted_answer *a, int status, const char *reason)
{
	char text[200];

	a->status = status;
	snprintf(text, sizeof(text), "{\"error\":{\"code\":%d,\"message\":\"%s\",\"errors\":[{\"reason\":\"%s\"}]}}", status, reason, reason);
	scripted_add_header(a, "Content-Type", "application/json");
	scripted_set_body(a, span_str(text));
}

/* Does the condition of the request hold? */
static bool
holds(const struct fake_gcs *f, const struct scripted_request *rq, const struct stored *s)
{
	char *want = scripted_query(rq, "ifGenerationMatch");
	bool  ok = want == NULL || f->ignores_conditions ||
	    (f->ignores_conditions_of_deletes && strcmp(rq->method, "DELETE") == 0) || strcmp(want, s != NULL ? s->generation : "0") == 0;

	free(want);
	return ok;
}

static void
sum_of(struct span s, char ret[16])
{
	uint8_t    b[4];
	struct buf text;

	be32_put(b, crc32c_add(0, s.p, s.n));
	buf_init(&text, 0);
	base64_encode(span_of(b, sizeof(b)), &text);
	snprintf(ret, 16, "%s", buf_str(&text));
	buf_free(&text);
}

/* Has the name been changed less than a second ago? What is not refused counts as a change. */
static bool
is_throttled(struct fake_gcs *f, const char *name, struct scripted_answer *a)
{
	int64_t *at = map_get(f->changed, span_str(name));

	if (f->clock == NULL)
		return false;
	if (at != NULL && loop_now(f->clock) < *at + 1000) {
		f->throttled++;
		refuse(a, 429, "rateLimitExceeded");
		return true;
	}
	if (at == NULL) {
		at = xcalloc(1, sizeof(*at));
		map_put(f->changed, span_str(name), at);
	}
	*at = loop_now(f->clock);
	return false;
}

static void
upload(struct fake_gcs *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	char          *name = scripted_query(rq, "name"), sum[16], text[80];
	const char    *given = scripted_header(rq, "X-Goog-Hash");
	struct stored *s = map_get(f->objects, span_str(name));

	snprintf(f->last_query, sizeof(f->last_query), "%s", rq->at.query);
	sum_of(rq->body, sum);
	if (given != NULL && (strncmp(given, "crc32c=", 7) != 0 || strcmp(given + 7, sum) != 0)) {
		refuse(a, 400, "invalid");
	} else if (!holds(f, rq, s)) {
		refuse(a, 412, "conditionNotMet");
	} else if (!is_throttled(f, name, a)) {
		store(f, name, rq->body, scripted_header(rq, "X-Goog-Encryption-Key-Sha256"));
		s = map_get(f->objects, span_str(name));
		snprintf(text, sizeof(text), "{\"generation\": \"%s\"}", s->generation);
		a->status = 200;
		scripted_set_body(a, span_str(text));
	}
	free(name);
}

/* --- uploads in pieces --- */

static void
begin_pieces(struct fake_gcs *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	char       *name = scripted_query(rq, "name"), *want = scripted_query(rq, "ifGenerationMatch");
	const char *key = scripted_header(rq, "X-Goog-Encryption-Key-Sha256"), *sum;
	char       *text = span_dup(rq->body);

	snprintf(f->last_query, sizeof(f->last_query), "%s", rq->at.query);
	if (!holds(f, rq, map_get(f->objects, span_str(name)))) {
		refuse(a, 412, "conditionNotMet");
	} else {
		sum = strstr(text, "\"crc32c\":\"");
		CHECK(sum != NULL && strstr(text, "\"contentType\":") != NULL && scripted_header(rq, "X-Upload-Content-Length") != NULL);
		buf_reset(&f->pieces);
		f->session_done[0] = '\0';
		snprintf(f->session_name, sizeof(f->session_name), "%s", name);
		snprintf(f->session_if, sizeof(f->session_if), "%s", want != NULL ? want : "");
		snprintf(f->session_sum, sizeof(f->session_sum), "%.8s", sum + strlen("\"crc32c\":\""));
		snprintf(f->session_key, sizeof(f->session_key), "%s", key != NULL ? key : "");
		a->status = 200;
		scripted_add_header(a, "Location", "https://elsewhere.test/upload/storage/v1/b/" FAKE_GCS_BUCKET "/o?uploadType=resumable&upload_id=7");
	}
	free(name);
	free(want);
	free(text);
}

static void
end_pieces(struct fake_gcs *f, struct scripted_answer *a)
{
	struct stored *s = map_get(f->objects, span_str(f->session_name));
	char           sum[16], text[80];

	sum_of(buf_span(&f->pieces), sum);
	if (f->session_done[0] == '\0' && strcmp(sum, f->session_sum) != 0) {
		refuse(a, 400, "invalid");
		return;
	}
	if (f->session_done[0] == '\0' && f->session_if[0] != '\0' && strcmp(f->session_if, s != NULL ? s->generation : "0") != 0) {
		refuse(a, 412, "conditionNotMet");
		return;
	}
	if (f->session_done[0] == '\0' && is_throttled(f, f->session_name, a))
		return;
	if (f->session_done[0] == '\0') {
		store(f, f->session_name, buf_span(&f->pieces), f->session_key);
		s = map_get(f->objects, span_str(f->session_name));
		snprintf(f->session_done, sizeof(f->session_done), "%s", s->generation);
	}
	snprintf(text, sizeof(text), "{\"generation\": \"%s\"}", f->session_done);
	a->status = 200;
	scripted_set_body(a, span_str(text));
}

/* "bytes 0-4194303/9437184", or a question: the same with "*" for the bytes. What is there already is passed over. */
static void
piece(struct fake_gcs *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	const char *range = scripted_header(rq, "Content-Range");
	uint64_t    from = f->pieces.len, total = strtoull(strchr(range, '/') + 1, NULL, 10), n = rq->body.n;

	if (f->session_is_over) {
		a->status = 410;
		return;
	}
	if (range[6] != '*')
		from = strtoull(range + 6, NULL, 10);
	else
		f->questions++;
	CHECK(from <= f->pieces.len && from + n <= total && (n == 0 || from + n == total || n % (256 << 10) == 0));
	n = from + n > f->pieces.len ? from + n - f->pieces.len : 0;
	if (f->takes != 0 && n > f->takes)
		n = f->takes;
	buf_put(&f->pieces, rq->body.p + (f->pieces.len - from), (size_t)n);
	if (f->pieces.len == total) {
		end_pieces(f, a);
		return;
	}
	a->status = 308;
	if (f->pieces.len > 0)
		scripted_add_header(a, "Range", "bytes=0-%zu", f->pieces.len - 1);
}

static void
content(const struct scripted_request *rq, struct scripted_answer *a, const struct stored *s)
{
	char       *unless = scripted_query(rq, "ifGenerationNotMatch"), sum[16];
	const char *key = scripted_header(rq, "X-Goog-Encryption-Key-Sha256");

	if (s->key[0] != '\0' && (key == NULL || strcmp(key, s->key) != 0)) {
		refuse(a, 400, "resourceIsEncryptedWithCustomerEncryptionKey");
	} else if (unless != NULL && strcmp(unless, s->generation) == 0) {
		a->status = 304;
	} else {
		sum_of(body_span(s->body), sum);
		a->status = 200;
		scripted_add_header(a, "X-Goog-Generation", "%s", s->generation);
		scripted_add_header(a, "X-Goog-Hash", "crc32c=%s,md5=x", sum);
		scripted_set_body(a, body_span(s->body));
	}
	free(unless);
}

static void
object(struct fake_gcs *f, const struct scripted_request *rq, struct scripted_answer *a, const char *name)
{
	struct stored *s = map_get(f->objects, span_str(name));
	char          *alt = scripted_query(rq, "alt"), text[160];

	if (s == NULL && alt != NULL) {
		a->status = 404;
		scripted_add_header(a, "Content-Type", "text/plain");
		scripted_set_body(a, span_str("No such object"));
	} else if (s == NULL) {
		refuse(a, 404, "notFound");
	} else if (strcmp(rq->method, "DELETE") == 0 && holds(f, rq, s)) {
		if (!is_throttled(f, name, a)) {
			stored_free(map_del(f->objects, span_str(name)));
			a->status = 204;
		}
	} else if (strcmp(rq->method, "DELETE") == 0) {
		refuse(a, 412, "conditionNotMet");
	} else if (alt != NULL) {
		content(rq, a, s);
	} else {
		snprintf(text, sizeof(text), "{\"generation\":\"%s\",\"size\":\"%llu\",\"updated\":\"2026-11-22T00:44:48.9Z\"}", s->generation,
		    (unsigned long long)body_size(s->body));
		a->status = 200;
		scripted_set_body(a, span_str(text));
	}
	free(alt);
}

static void
list(struct fake_gcs *f, const struct scripted_request *rq, struct scripted_answer *a)
{
	char              *prefix = scripted_query(rq, "prefix"), *from = scripted_query(rq, "pageToken");
	struct fake_names  all = fake_names_of(f->objects, prefix);
	char             **names = all.list;
	size_t             n = all.n, given = 0;
	struct json_writer w;
	struct buf         text;

	buf_init(&text, 0);
	json_begin(&w, &text);
	json_obj(&w);
	json_key(&w, "items");
	json_arr(&w);
	for (size_t i = 0; i < n && (f->page == 0 || given < f->page); i++) {
		struct stored *s = map_get(f->objects, span_str(names[i]));

		if (from != NULL && strcmp(names[i], from) <= 0)
			continue;
		json_obj(&w);
		json_kv_str(&w, "name", names[i]);
		json_kv_str(&w, "generation", s->generation);
		json_kv_str(&w, "size", "1");
		json_obj_end(&w);
		if (++given == f->page && i + 1 < n) {
			free(from);
			from = xstrdup(names[i]);
			given = f->page;
			break;
		}
	}
	json_arr_end(&w);
	if (f->page != 0 && given == f->page && from != NULL && strcmp(from, names[n - 1]) < 0)
		json_kv_str(&w, "nextPageToken", from);
	json_obj_end(&w);
	a->status = 200;
	scripted_set_body(a, buf_span(&text));
	buf_free(&text);
	fake_names_free(&all);
	free(prefix);
	free(from);
}

static void
fake_gcs_answer(void *arg, const struct scripted_request *rq, struct scripted_answer *a)
{
	static const char objects[] = "/storage/v1/b/" FAKE_GCS_BUCKET "/o";
	struct fake_gcs  *f = arg;
	struct buf        name;

	CHECK_STR(scripted_header(rq, "Authorization"), "Bearer " FAKE_GCS_TOKEN);
	buf_init(&name, 0);
	if (strcmp(rq->method, "POST") == 0 && strcmp(rq->at.path, "/upload/storage/v1/b/" FAKE_GCS_BUCKET "/o") == 0)
		(strstr(rq->at.query, "uploadType=resumable") != NULL ? begin_pieces : upload)(f, rq, a);
	else if (strcmp(rq->method, "PUT") == 0 && strstr(rq->url, "/upload/") != NULL && strstr(rq->url, "upload_id=7") != NULL)
		piece(f, rq, a);
	else if (strcmp(rq->method, "GET") == 0 && strcmp(rq->at.path, objects) == 0)
		list(f, rq, a);
	else if (strncmp(rq->at.path, objects, sizeof(objects) - 1) == 0 && rq->at.path[sizeof(objects) - 1] == '/' &&
	    strchr(rq->at.path + sizeof(objects), '/') == NULL && url_unescape(span_str(rq->at.path + sizeof(objects)), false, &name))
		object(f, rq, a, buf_str(&name));
	else
		test_fail(__FILE__, __LINE__, "nobody knows %s %s", rq->method, rq->url);
	buf_free(&name);
}

struct fake_gcs *
fake_gcs_behind(struct scripted_http *http)
{
	struct fake_gcs *f = xcalloc(1, sizeof(*f));

	f->objects = map_new();
	f->changed = map_new();
	buf_init(&f->pieces, (size_t)64 << 20);
	f->generation = 1732320148842169;
	scripted_handle(http, fake_gcs_answer, f);
	return f;
}

void
fake_gcs_free(struct fake_gcs *f)
{
	struct span name;
	void       *v;

	for (size_t i = 0; map_next(f->objects, &i, &name, &v);)
		stored_free(v);
	map_free(f->objects);
	for (size_t i = 0; map_next(f->changed, &i, &name, &v);)
		free(v);
	map_free(f->changed);
	buf_free(&f->pieces);
	free(f);
}
