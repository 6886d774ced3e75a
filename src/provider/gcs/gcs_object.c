/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/encode.h"
#include "gcs.h"
#include "provider/object.h"

/* Objects: read, looked at, written, deleted. One read gives bytes, generation and checksum together. */
#define GCS_WHOLE_MAX  ((uint64_t)8 << 20) /* what is larger goes in pieces, so that a lost connection does not cost all of it */

struct gcs_object {
	struct object obj;
	struct gcs   *g;
	char         *object;
	uint32_t      crc;
};

static struct gcs_object *
gcs_object(const struct object *o)
{
	return container_of((struct object *)(uintptr_t)o, struct gcs_object, obj);
}

static bool
gcs_object_is_absent(const struct object *o)
{
	return gcs_no_such_object(&o->ans);
}

static void
gcs_object_refuse(struct object *o, const char *what, struct err *reterr)
{
	gcs_refused(gcs_object(o)->g, &o->req, &o->ans, what, reterr);
}

static void
gcs_object_sum_begin(struct object *o)
{
	gcs_object(o)->crc = 0;
}

static void
gcs_object_sum_add(struct object *o, const void *p, size_t n)
{
	gcs_object(o)->crc = crc32c_add(gcs_object(o)->crc, p, n);
}

static void
gcs_object_free(struct object *o)
{
	free(gcs_object(o)->object);
}

static const struct object_driver gcs_object_driver = { .place = "bucket", .store = "Cloud Storage", .name_max = GCS_NAME_MAX,
	.tag = "generation", .hint = GCS_OTHER_HINT, .is_absent = gcs_object_is_absent, .refuse = gcs_object_refuse,
	.sum_begin = gcs_object_sum_begin, .sum_add = gcs_object_sum_add, .free = gcs_object_free };

static struct gcs_object *
gcs_object_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct gcs_object *o = xcalloc(1, sizeof(*o));

	o->g = gcs_of(b);
	object_init(&o->obj, &gcs_object_driver, b, class, o->g->conf->bucket, ref);
	o->object = gcs_object_of(o->g, ref->name);
	return o;
}

/* ---------------------------------------------------------------- get */

enum gcs_get_state { GET_START, GET_ANSWERED };

static const char *const gcs_get_states[] = { "start", "answered" };

static struct op *
gcs_get_send(struct gcs_object *o)
{
	gcs_to_object(o->g, &o->obj.req, "GET", o->object);
	send_query(&o->obj.req, "alt", "media");
	if (o->obj.version != NULL)
		send_query(&o->obj.req, "generation", o->obj.version);
	if (o->obj.etag[0] != '\0')
		send_query(&o->obj.req, "ifGenerationNotMatch", o->obj.etag);
	gcs_with_csek(o->g, &o->obj.req);
	object_reads(&o->obj);
	return gcs_send(o->g, &o->obj.req, &o->obj.ans);
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
	const char *generation = http_header_get(&o->obj.ans.http, "x-goog-generation");

	if (!object_is_object(&o->obj, generation != NULL && strlen(generation) < ETAG_MAX, reterr) || !object_is_whole(&o->obj, reterr))
		return false;
	if (gcs_sum_fits(&o->obj.ans, o->crc))
		return true;
	err_set(reterr, ERR_CORRUPT, 200, "bucket %s: %.120s does not fit its own CRC32C", o->g->conf->bucket, o->obj.name);
	return false;
}

static enum op_turn
gcs_get_answered(struct gcs_object *o)
{
	struct op  *op = &o->obj.op;
	const char *generation;

	if (op_failed(op))
		return op_fail(op);
	if (o->obj.ans.http.status == 304 && o->obj.etag[0] != '\0')
		return object_unchanged(&o->obj);
	if (o->obj.ans.http.status != 200)
		return object_unreadable(&o->obj, "reading");
	if (!gcs_get_whole(o, &op->res))
		return object_read_again(&o->obj, GET_START);
	generation = http_header_get(&o->obj.ans.http, "x-goog-generation");
	if (o->obj.etag[0] != '\0' && strcmp(o->obj.etag, generation) == 0) /* a server that ignores the condition */
		return object_unchanged(&o->obj);
	object_read_end(&o->obj);
	snprintf(o->obj.ret->etag, ETAG_MAX, "%s", generation);
	snprintf(o->obj.ret->version, VERSION_ID_MAX, "%s", generation);
	return op_ok(op);
}

static enum op_turn
gcs_get_step(struct op *op)
{
	struct gcs_object *o = container_of(op, struct gcs_object, obj.op);

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

static const struct op_class gcs_get_class = { "gcs get", gcs_get_step, NULL, object_free, gcs_get_states, ARRAY_LEN(gcs_get_states) };

struct op *
gcs_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct gcs_object *o = gcs_object_new(b, &gcs_get_class, ref);

	o->obj.ret = ret;
	object_want(&o->obj, unless_etag);
	return object_op(&o->obj, strlen(o->object));
}

struct op *
gcs_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	struct gcs_object *o = gcs_object_new(b, &gcs_get_class, ref);

	o->obj.ret = ret;
	object_want_version(&o->obj, version);
	return object_op(&o->obj, strlen(o->object));
}

/* ---------------------------------------------------------------- head: the metadata, no bytes */

enum gcs_head_state { HEAD_START, HEAD_ANSWERED };

static const char *const gcs_head_states[] = { "start", "answered" };

static struct op *
gcs_head_send(struct gcs_object *o)
{
	gcs_to_object(o->g, &o->obj.req, "GET", o->object);
	send_query(&o->obj.req, "fields", "generation,size,updated");
	gcs_with_csek(o->g, &o->obj.req);
	return gcs_send(o->g, &o->obj.req, &o->obj.ans);
}

static bool
gcs_head_read(struct gcs_object *o, struct state_tag *ret)
{
	char text[TIME_TEXT_MAX];

	memset(ret, 0, sizeof(*ret));
	if (!gcs_member(&o->obj.ans, "generation", ret->etag, sizeof(ret->etag)))
		return false;
	if (gcs_member(&o->obj.ans, "size", text, sizeof(text)))
		ret->size = strtoull(text, NULL, 10);
	if (gcs_member(&o->obj.ans, "updated", text, sizeof(text)) && !time_parse(text, &ret->modified))
		ret->modified = 0;
	return true;
}

static enum op_turn
gcs_no_metadata(struct gcs_object *o)
{
	err_set(&o->obj.op.res, ERR_CORRUPT, 200, "bucket %s: what is said of %.120s has no generation", o->g->conf->bucket, o->obj.name);
	err_hint(&o->obj.op.res, GCS_OTHER_HINT);
	return op_fail(&o->obj.op);
}

static enum op_turn
gcs_head_step(struct op *op)
{
	struct gcs_object *o = container_of(op, struct gcs_object, obj.op);

	switch ((enum gcs_head_state)op->state) {
	case HEAD_START:
		return op_await(op, HEAD_ANSWERED, gcs_head_send(o));
	case HEAD_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->obj.ans.http.status != 200)
			return object_unreadable(&o->obj, "looking at");
		return gcs_head_read(o, o->obj.ret_tag) ? op_ok(op) : gcs_no_metadata(o);
	}
	return OP_DONE;
}

static const struct op_class gcs_head_class = { "gcs head", gcs_head_step, NULL, object_free, gcs_head_states,
	ARRAY_LEN(gcs_head_states) };

struct op *
gcs_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct gcs_object *o = gcs_object_new(b, &gcs_head_class, ref);

	o->obj.ret_tag = ret;
	return object_op(&o->obj, strlen(o->object));
}

/* ---------------------------------------------------------------- put */

enum gcs_put_state { PUT_START, PUT_SUMMED, PUT_ANSWERED };

static const char *const gcs_put_states[] = { "start", "summed", "answered" };

static struct op *
gcs_put_send(struct gcs_object *o)
{
	const char *type = object_type(&o->obj);
	bool        large = body_size(o->obj.body) > GCS_WHOLE_MAX;
	char       *sum = gcs_sum_text(o->crc);

	if (large)
		gcs_to_session(o->g, &o->obj.req, o->object, type, o->obj.body, o->crc);
	else
		gcs_to_upload(o->g, &o->obj.req, o->object, type, o->obj.body);
	if (o->obj.when != PUT_UNDER_LOCK)
		send_query(&o->obj.req, "ifGenerationMatch", o->obj.when == PUT_ABSENT ? "0" : o->obj.etag);
	if (o->g->conf->kms_encryption_key != NULL && o->g->conf->kms_encryption_key[0] != '\0')
		send_query(&o->obj.req, "kmsKeyName", o->g->conf->kms_encryption_key);
	gcs_with_csek(o->g, &o->obj.req);
	if (!large)
		send_header(&o->obj.req, "x-goog-hash", "%s", sum);
	free(sum);
	return large ? gcs_upload(o->g, &o->obj.req, o->obj.body, &o->obj.ans) : gcs_send(o->g, &o->obj.req, &o->obj.ans);
}

static enum op_turn
gcs_put_answered(struct gcs_object *o)
{
	struct op *op = &o->obj.op;
	int        status = o->obj.ans.http.status;

	if (op_failed(op))
		return op_fail(op);
	if (status == 200 || status == 201) {
		if (gcs_member(&o->obj.ans, "generation", o->obj.ret_etag, ETAG_MAX))
			return op_ok(op);
		err_set(&op->res, ERR_UNCERTAIN, 200, "bucket %s: the answer to writing %.120s has no generation", o->g->conf->bucket, o->obj.name);
		err_hint(&op->res, GCS_OTHER_HINT);
		return op_fail(op);
	}
	if (o->obj.when != PUT_UNDER_LOCK && (status == 412 || status == 409 || (o->obj.when == PUT_MATCH && gcs_no_such_object(&o->obj.ans))))
		return object_changed(&o->obj);
	return object_refused(&o->obj, "writing");
}

static enum op_turn
gcs_put_step(struct op *op)
{
	struct gcs_object *o = container_of(op, struct gcs_object, obj.op);

	switch ((enum gcs_put_state)op->state) {
	case PUT_START:
		return op_await(op, PUT_SUMMED, object_sum(&o->obj));
	case PUT_SUMMED:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, PUT_ANSWERED, gcs_put_send(o));
	case PUT_ANSWERED:
		return gcs_put_answered(o);
	}
	return OP_DONE;
}

static const struct op_class gcs_put_class = { "gcs put", gcs_put_step, NULL, object_free, gcs_put_states, ARRAY_LEN(gcs_put_states) };

struct op *
gcs_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct gcs_object *o = gcs_object_new(b, &gcs_put_class, ref);

	object_write(&o->obj, body, when, ret_etag);
	return object_op(&o->obj, strlen(o->object));
}

/* ---------------------------------------------------------------- delete */

enum gcs_del_state { DEL_START, DEL_LOOKED, DEL_ANSWERED };

static const char *const gcs_del_states[] = { "start", "looked", "answered" };

/* Some servers ignore the condition of a DELETE: what is there is compared before. */
static enum op_turn
gcs_del_step(struct op *op)
{
	struct gcs_object *o = container_of(op, struct gcs_object, obj.op);
	struct state_tag   tag;

	switch ((enum gcs_del_state)op->state) {
	case DEL_START:
		return op_await(op, DEL_LOOKED, gcs_head_send(o));
	case DEL_LOOKED:
		if (op_failed(op))
			return op_fail(op);
		if (o->obj.ans.http.status != 200)
			return object_unreadable(&o->obj, "looking at");
		if (!gcs_head_read(o, &tag))
			return gcs_no_metadata(o);
		if (o->obj.etag[0] != '\0' && strcmp(o->obj.etag, tag.etag) != 0)
			return object_changed(&o->obj);
		gcs_to_object(o->g, &o->obj.req, "DELETE", o->object);
		send_query(&o->obj.req, "ifGenerationMatch", tag.etag);
		return op_await(op, DEL_ANSWERED, gcs_send(o->g, &o->obj.req, &o->obj.ans));
	case DEL_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->obj.ans.http.status / 100 == 2)
			return op_ok(op);
		if (o->obj.ans.http.status == 412)
			return object_changed(&o->obj);
		return gcs_no_such_object(&o->obj.ans) ? object_absent(&o->obj) : object_refused(&o->obj, "deleting");
	}
	return OP_DONE;
}

static const struct op_class gcs_del_class = { "gcs delete", gcs_del_step, NULL, object_free, gcs_del_states, ARRAY_LEN(gcs_del_states) };

struct op *
gcs_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct gcs_object *o = gcs_object_new(b, &gcs_del_class, ref);

	object_want(&o->obj, if_etag);
	return object_op(&o->obj, strlen(o->object));
}
