/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/encode.h"
#include "gcs.h"
#include "provider/reader.h"

/* Objects: read, looked at, written, deleted. One read gives bytes, generation and checksum together. */
#define GCS_WHOLE_MAX  ((uint64_t)8 << 20) /* what is larger goes in pieces, so that a lost connection does not cost all of it */
#define GCS_READ_AGAIN 2   /* a body that does not fit its headers is read so often again */

struct gcs_object {
	struct op            op;
	struct gcs          *g;
	char                *name, *object;
	struct send_request  req;
	struct send_answer   ans;
	unsigned             again;
	struct reader       *reader;
	uint32_t             crc;
	struct snapshot     *ret;
	struct state_tag    *ret_tag;
	struct put_condition when;
	struct body         *body;
	char                *ret_etag;
	char                 etag[ETAG_MAX];
};

static void
gcs_object_free(struct op *op)
{
	struct gcs_object *o = container_of(op, struct gcs_object, op);

	reader_free(o->reader);
	send_request_free(&o->req);
	send_answer_free(&o->ans);
	body_unref(o->body);
	free(o->name);
	free(o->object);
	free(o);
}

static struct gcs_object *
gcs_object_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct gcs_object *o = xcalloc(1, sizeof(*o));

	o->g = gcs_of(b);
	op_init(&o->op, class, o->g->env->loop);
	o->name = xstrdup(ref->name);
	o->object = gcs_object_of(o->g, ref->name);
	return o;
}

/* A name longer than an object's cannot be there, and cannot be made. */
static struct op *
gcs_object_op(struct gcs_object *o)
{
	size_t     n = strlen(o->object);
	struct op *op;

	if (n <= GCS_NAME_MAX)
		return &o->op;
	op = op_error(o->op.loop, ERR_UNSUPPORTED, 0, "%.60s...: an object name of %zu bytes, Cloud Storage takes %d", o->name, n, GCS_NAME_MAX);
	op_free(&o->op);
	return op;
}

static enum op_turn
gcs_object_refused(struct gcs_object *o, const char *doing)
{
	char *what = xasprintf("%s %.120s", doing, o->name);

	gcs_refused(o->g, &o->req, &o->ans, what, &o->op.res);
	free(what);
	return op_fail(&o->op);
}

static enum op_turn
gcs_object_absent(struct gcs_object *o)
{
	err_set(&o->op.res, ERR_NOT_FOUND, 404, "bucket %s has no %.120s", o->g->conf->bucket, o->name);
	return op_fail(&o->op);
}

/* The bucket's absence is no absence of a state. */
static enum op_turn
gcs_object_unreadable(struct gcs_object *o, const char *doing)
{
	if (gcs_no_such_object(&o->ans))
		return gcs_object_absent(o);
	gcs_object_refused(o, doing);
	if (o->op.err.code == ERR_NOT_FOUND)
		o->op.err.code = ERR_CONFIG;
	return OP_DONE;
}

/* ---------------------------------------------------------------- get */

enum gcs_get_state { GET_START, GET_ANSWERED };

static const char *const gcs_get_states[] = { "start", "answered" };

static void
gcs_get_restart(void *arg)
{
	struct gcs_object *o = arg;

	reader_free(o->reader);
	o->reader = reader_new();
	o->crc = 0;
}

static enum err_code
gcs_get_piece(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct gcs_object *o = arg;

	(void)reterr;
	reader_feed(o->reader, p, n);
	o->crc = crc32c_add(o->crc, p, n);
	return ERR_OK;
}

static struct op *
gcs_get_send(struct gcs_object *o)
{
	gcs_to_object(o->g, &o->req, "GET", o->object);
	send_query(&o->req, "alt", "media");
	if (o->etag[0] != '\0')
		send_query(&o->req, "ifGenerationNotMatch", o->etag);
	gcs_with_csek(o->g, &o->req);
	o->req.max_body = o->g->b.common.max_state_size;
	o->req.max_body_name = "max_state_size";
	o->req.keep = o->req.spool = true;
	o->req.on_body = gcs_get_piece;
	o->req.restart = gcs_get_restart;
	o->req.arg = o;
	return gcs_send(o->g, &o->req, &o->ans);
}

char *
gcs_sum_text(uint32_t crc32c)
{
	uint8_t    b[4];
	struct buf text;

	buf_init(&text, 0);
	buf_puts(&text, "crc32c=");
	be32_put(b, crc32c);
	base64_encode(span_of(b, sizeof(b)), &text);
	return buf_take(&text);
}

/* "crc32c=n03x6A==,md5=...", in one header or in several. The sum is that of the stored bytes: of a packed object it says nothing here. */
static bool
gcs_sum_fits(const struct send_answer *a, uint32_t crc)
{
	const char *packed = http_header_get(&a->http, "x-goog-stored-content-encoding");
	char       *want;
	bool        fits = true;

	if (packed != NULL && strcmp(packed, "identity") != 0)
		return true;
	want = gcs_sum_text(crc);
	for (size_t i = 0; i < a->http.nheaders; i++) {
		const char *at = strcmp(a->http.headers[i].name, "x-goog-hash") == 0 ? strstr(a->http.headers[i].value, "crc32c=") : NULL;

		if (at != NULL)
			fits = strncmp(at, want, strlen(want)) == 0;
	}
	free(want);
	return fits;
}

/* Do the bytes fit what the headers say of them? */
static bool
gcs_get_whole(struct gcs_object *o, struct err *reterr)
{
	const char *generation = http_header_get(&o->ans.http, "x-goog-generation");
	const char *length = http_header_get(&o->ans.http, "content-length");
	uint64_t    got = reader_size(o->reader);

	if (generation == NULL || strlen(generation) >= ETAG_MAX) {
		err_set(reterr, ERR_UNSUPPORTED, 200, "bucket %s: %.120s: the answer is no object, it has no generation", o->g->conf->bucket, o->name);
		err_hint(reterr, GCS_OTHER_HINT);
		return false;
	}
	if (length != NULL && strtoull(length, NULL, 10) != got) {
		err_set(reterr, ERR_NETWORK, 200, "bucket %s: %.120s broke off after %llu of %.20s bytes", o->g->conf->bucket, o->name,
		    (unsigned long long)got, length);
		return false;
	}
	if (!gcs_sum_fits(&o->ans, o->crc)) {
		err_set(reterr, ERR_CORRUPT, 200, "bucket %s: %.120s does not fit its own CRC32C", o->g->conf->bucket, o->name);
		return false;
	}
	reader_end(o->reader, o->ret);
	o->reader = NULL;
	snprintf(o->ret->etag, ETAG_MAX, "%s", generation);
	return true;
}

static int64_t
gcs_modified(const struct send_answer *a)
{
	const char *text = http_header_get(&a->http, "last-modified");
	int64_t     ms;

	return text != NULL && time_parse_http(text, &ms) ? ms : 0;
}

static enum op_turn
gcs_get_answered(struct gcs_object *o)
{
	struct op *op = &o->op;

	if (op_failed(op))
		return op_fail(op);
	if (o->ans.http.status == 304 && o->etag[0] != '\0') {
		err_set(&op->res, ERR_UNCHANGED, 304, "unchanged");
		return op_fail(op);
	}
	if (o->ans.http.status != 200)
		return gcs_object_unreadable(o, "reading");
	if (!gcs_get_whole(o, &op->res)) {
		if (op->res.code == ERR_UNSUPPORTED || o->again++ == GCS_READ_AGAIN)
			return op_fail(op);
		return op_await(op, GET_START, op_sleep(op->loop, provider_backoff_ms(&o->g->b, o->again, 100)));
	}
	if (o->etag[0] != '\0' && strcmp(o->etag, o->ret->etag) == 0) { /* a server that ignores the condition */
		snapshot_free(o->ret);
		err_set(&op->res, ERR_UNCHANGED, 200, "unchanged");
		return op_fail(op);
	}
	o->ret->body = o->ans.http.body != NULL ? body_ref(o->ans.http.body) : body_copy((struct span){ NULL, 0 });
	o->ret->modified = gcs_modified(&o->ans);
	return op_ok(op);
}

static enum op_turn
gcs_get_step(struct op *op)
{
	struct gcs_object *o = container_of(op, struct gcs_object, op);

	switch ((enum gcs_get_state)op->state) {
	case GET_START:
		if (op_failed(op)) /* cancelled before reading again */
			return op_fail(op);
		return op_await(op, GET_ANSWERED, gcs_get_send(o));
	case GET_ANSWERED:
		return gcs_get_answered(o);
	}
	return OP_DONE;
}

static const struct op_class gcs_get_class = { "gcs get", gcs_get_step, NULL, gcs_object_free, gcs_get_states, ARRAY_LEN(gcs_get_states) };

struct op *
gcs_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct gcs_object *o = gcs_object_new(b, &gcs_get_class, ref);

	o->ret = ret;
	snprintf(o->etag, sizeof(o->etag), "%s", unless_etag != NULL ? unless_etag : "");
	return gcs_object_op(o);
}

/* ---------------------------------------------------------------- head: the metadata, no bytes */

enum gcs_head_state { HEAD_START, HEAD_ANSWERED };

static const char *const gcs_head_states[] = { "start", "answered" };

static struct op *
gcs_head_send(struct gcs_object *o)
{
	gcs_to_object(o->g, &o->req, "GET", o->object);
	send_query(&o->req, "fields", "generation,size,updated");
	gcs_with_csek(o->g, &o->req);
	return gcs_send(o->g, &o->req, &o->ans);
}

static bool
gcs_head_read(struct gcs_object *o, struct state_tag *ret)
{
	char text[TIME_TEXT_MAX];

	memset(ret, 0, sizeof(*ret));
	if (!gcs_member(&o->ans, "generation", ret->etag, sizeof(ret->etag)))
		return false;
	if (gcs_member(&o->ans, "size", text, sizeof(text)))
		ret->size = strtoull(text, NULL, 10);
	if (gcs_member(&o->ans, "updated", text, sizeof(text)) && !time_parse(text, &ret->modified))
		ret->modified = 0;
	return true;
}

static enum op_turn
gcs_no_metadata(struct gcs_object *o)
{
	err_set(&o->op.res, ERR_CORRUPT, 200, "bucket %s: what is said of %.120s has no generation", o->g->conf->bucket, o->name);
	err_hint(&o->op.res, GCS_OTHER_HINT);
	return op_fail(&o->op);
}

static enum op_turn
gcs_head_step(struct op *op)
{
	struct gcs_object *o = container_of(op, struct gcs_object, op);

	switch ((enum gcs_head_state)op->state) {
	case HEAD_START:
		return op_await(op, HEAD_ANSWERED, gcs_head_send(o));
	case HEAD_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->ans.http.status != 200)
			return gcs_object_unreadable(o, "looking at");
		return gcs_head_read(o, o->ret_tag) ? op_ok(op) : gcs_no_metadata(o);
	}
	return OP_DONE;
}

static const struct op_class gcs_head_class = { "gcs head", gcs_head_step, NULL, gcs_object_free, gcs_head_states,
	ARRAY_LEN(gcs_head_states) };

struct op *
gcs_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct gcs_object *o = gcs_object_new(b, &gcs_head_class, ref);

	o->ret_tag = ret;
	return gcs_object_op(o);
}

/* ---------------------------------------------------------------- put */

enum gcs_put_state { PUT_START, PUT_SUMMED, PUT_ANSWERED };

static const char *const gcs_put_states[] = { "start", "summed", "answered" };

static enum err_code
gcs_put_sum(struct work_job *job, void *arg, struct err *reterr)
{
	struct gcs_object *o = arg;
	uint8_t            piece[16384];
	uint64_t           off = 0;
	size_t             n;

	(void)job;
	do {
		if (body_read(o->body, off, piece, sizeof(piece), &n, reterr) != ERR_OK)
			return reterr->code;
		o->crc = crc32c_add(o->crc, piece, n);
		off += n;
	} while (n > 0);
	return ERR_OK;
}

static struct op *
gcs_put_send(struct gcs_object *o)
{
	const char *type = span_ends(span_str(o->name), ".zst") ? "application/zstd" : "application/json";
	bool        large = body_size(o->body) > GCS_WHOLE_MAX;
	char       *sum = gcs_sum_text(o->crc);

	if (large)
		gcs_to_session(o->g, &o->req, o->object, type, o->body, o->crc);
	else
		gcs_to_upload(o->g, &o->req, o->object, type, o->body);
	if (o->when.when != PUT_UNDER_LOCK)
		send_query(&o->req, "ifGenerationMatch", o->when.when == PUT_ABSENT ? "0" : o->etag);
	if (o->g->conf->kms_encryption_key != NULL && o->g->conf->kms_encryption_key[0] != '\0')
		send_query(&o->req, "kmsKeyName", o->g->conf->kms_encryption_key);
	gcs_with_csek(o->g, &o->req);
	if (!large)
		send_header(&o->req, "x-goog-hash", "%s", sum);
	free(sum);
	return large ? gcs_upload(o->g, &o->req, o->body, &o->ans) : gcs_send(o->g, &o->req, &o->ans);
}

static enum op_turn
gcs_put_answered(struct gcs_object *o)
{
	struct op *op = &o->op;
	int        status = o->ans.http.status;

	if (op_failed(op))
		return op_fail(op);
	if (status == 200 || status == 201) {
		if (gcs_member(&o->ans, "generation", o->ret_etag, ETAG_MAX))
			return op_ok(op);
		err_set(&op->res, ERR_UNCERTAIN, 200, "bucket %s: the answer to writing %.120s has no generation", o->g->conf->bucket, o->name);
		err_hint(&op->res, GCS_OTHER_HINT);
		return op_fail(op);
	}
	if (o->when.when != PUT_UNDER_LOCK && (status == 412 || status == 409 || (o->when.when == PUT_MATCH && gcs_no_such_object(&o->ans)))) {
		err_set(&op->res, ERR_CONFLICT, status, "bucket %s: %.120s was changed by somebody else (%d%s%s)", o->g->conf->bucket, o->name,
		    status, SEND_CODE(&o->ans));
		return op_fail(op);
	}
	return gcs_object_refused(o, "writing");
}

static enum op_turn
gcs_put_step(struct op *op)
{
	struct gcs_object *o = container_of(op, struct gcs_object, op);

	switch ((enum gcs_put_state)op->state) {
	case PUT_START:
		return op_await(op, PUT_SUMMED, work_by_size(o->g->env->work, body_size(o->body), gcs_put_sum, o));
	case PUT_SUMMED:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, PUT_ANSWERED, gcs_put_send(o));
	case PUT_ANSWERED:
		return gcs_put_answered(o);
	}
	return OP_DONE;
}

static const struct op_class gcs_put_class = { "gcs put", gcs_put_step, NULL, gcs_object_free, gcs_put_states, ARRAY_LEN(gcs_put_states) };

struct op *
gcs_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct gcs_object *o = gcs_object_new(b, &gcs_put_class, ref);

	assert(body->body != NULL);
	o->body = body_ref(body->body);
	o->when.when = when->when;
	snprintf(o->etag, sizeof(o->etag), "%s", when->etag != NULL ? when->etag : "");
	o->ret_etag = ret_etag;
	return gcs_object_op(o);
}

/* ---------------------------------------------------------------- delete */

enum gcs_del_state { DEL_START, DEL_LOOKED, DEL_ANSWERED };

static const char *const gcs_del_states[] = { "start", "looked", "answered" };

static enum op_turn
gcs_del_changed(struct gcs_object *o)
{
	err_set(&o->op.res, ERR_CONFLICT, 412, "bucket %s: %.120s was changed by somebody else", o->g->conf->bucket, o->name);
	return op_fail(&o->op);
}

/* Some servers ignore the condition of a DELETE: what is there is compared before. */
static enum op_turn
gcs_del_step(struct op *op)
{
	struct gcs_object *o = container_of(op, struct gcs_object, op);
	struct state_tag   tag;

	switch ((enum gcs_del_state)op->state) {
	case DEL_START:
		return op_await(op, DEL_LOOKED, gcs_head_send(o));
	case DEL_LOOKED:
		if (op_failed(op))
			return op_fail(op);
		if (o->ans.http.status != 200)
			return gcs_object_unreadable(o, "looking at");
		if (!gcs_head_read(o, &tag))
			return gcs_no_metadata(o);
		if (o->etag[0] != '\0' && strcmp(o->etag, tag.etag) != 0)
			return gcs_del_changed(o);
		gcs_to_object(o->g, &o->req, "DELETE", o->object);
		send_query(&o->req, "ifGenerationMatch", tag.etag);
		return op_await(op, DEL_ANSWERED, gcs_send(o->g, &o->req, &o->ans));
	case DEL_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->ans.http.status / 100 == 2)
			return op_ok(op);
		if (o->ans.http.status == 412)
			return gcs_del_changed(o);
		return gcs_no_such_object(&o->ans) ? gcs_object_absent(o) : gcs_object_refused(o, "deleting");
	}
	return OP_DONE;
}

static const struct op_class gcs_del_class = { "gcs delete", gcs_del_step, NULL, gcs_object_free, gcs_del_states, ARRAY_LEN(gcs_del_states) };

struct op *
gcs_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct gcs_object *o = gcs_object_new(b, &gcs_del_class, ref);

	snprintf(o->etag, sizeof(o->etag), "%s", if_etag != NULL ? if_etag : "");
	return gcs_object_op(o);
}
