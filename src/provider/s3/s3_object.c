/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "provider/object.h"
#include "s3.h"

/* Objects: read, looked at, written, deleted. */
#define S3_RACED_AGAIN    4    /* a write that met another one in the act is sent so often again */
#define S3_RACED_PAUSE_MS 100
#define S3_DIGEST_PAUSE_MS 2000  /* a digest that does not fit: somebody writes just now, so both are read again */
#define S3_DIGEST_WAIT_MS  10000 /* as long as terraform waits */

struct s3_object {
	struct object obj;
	struct s3    *s;
	/* get */
	struct md5   *md5;    /* where a table has digests; NULL: none */
	uint8_t       sum[MD5_LEN];
	char         *row;    /* what the table says */
	int64_t       misfit; /* loop_now() when it first did not fit; 0: it has not */
	/* put */
	struct digest digest;
	/* del */
	bool          headed;
};

static struct s3_object *
s3_object(const struct object *o)
{
	return container_of((struct object *)(uintptr_t)o, struct s3_object, obj);
}

/* Ends the sum of what was read. */
static void
s3_object_sum(struct s3_object *o)
{
	if (o->md5 != NULL)
		md5_end(o->md5, o->sum);
	o->md5 = NULL;
}

static void
s3_object_sum_begin(struct object *b)
{
	struct s3_object *o = s3_object(b);

	s3_object_sum(o);
	o->md5 = b->version == NULL && s3_has_digest(o->s, b->name) ? md5_new() : NULL;
}

static void
s3_object_sum_add(struct object *b, const void *p, size_t n)
{
	if (s3_object(b)->md5 != NULL)
		md5_add(s3_object(b)->md5, p, n);
}

static bool
s3_object_is_absent(const struct object *b)
{
	return s3_no_such_object(&b->req, &b->ans);
}

static void
s3_object_refuse(struct object *b, const char *what, struct err *reterr)
{
	s3_refused(s3_object(b)->s, &b->req, &b->ans, what, reterr);
}

static void
s3_object_free(struct object *b)
{
	s3_object_sum(s3_object(b));
	free(s3_object(b)->row);
}

static const struct object_driver s3_object_driver = { .place = "bucket", .store = "S3", .name_max = S3_KEY_MAX, .tag = "ETag",
	.hint = S3_OTHER_HINT, .is_absent = s3_object_is_absent, .refuse = s3_object_refuse, .sum_begin = s3_object_sum_begin,
	.sum_add = s3_object_sum_add, .free = s3_object_free };

static struct s3_object *
s3_object_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct s3_object *o = xcalloc(1, sizeof(*o));

	o->s = s3_of(b);
	object_init(&o->obj, &s3_object_driver, b, class, o->s->conf->bucket, ref);
	return o;
}

static void
s3_object_request(struct s3_object *o, const char *method)
{
	send_request_free(&o->obj.req);
	o->obj.req.method = method;
	o->obj.req.object = s3_key_of(o->s, o->obj.name);
}

/* ---------------------------------------------------------------- get */

enum s3_get_state { GET_START, GET_ANSWERED, GET_DIGEST, GET_ABSENT };

static const char *const s3_get_states[] = { "start", "answered", "digest read", "digest of nothing read" };

static struct op *
s3_get_send(struct s3_object *o)
{
	char *tag;

	s3_object_request(o, "GET");
	object_reads(&o->obj);
	if (o->obj.version != NULL)
		send_query(&o->obj.req, "versionId", o->obj.version);
	s3_request_sse_read(o->s, &o->obj.req);
	if (o->s->checksum_mode)
		send_header(&o->obj.req, "x-amz-checksum-mode", "ENABLED");
	if (o->obj.etag[0] != '\0') {
		tag = s3_etag_quoted(o->obj.etag);
		send_header(&o->obj.req, "if-none-match", "%s", tag);
		free(tag);
	}
	return s3_send(o->s, &o->obj.req, &o->obj.ans);
}

/* A checksum of parts ("...-3") says nothing about the whole. */
static bool
s3_checksum_fits(const struct send_answer *a, const struct digest *d)
{
	const char *text = http_header_get(&a->http, "x-amz-checksum-sha256");
	struct buf  want;
	bool        fits;

	if (text == NULL || strchr(text, '-') != NULL)
		return true;
	buf_init(&want, 0);
	base64_encode(span_of(d->b, DIGEST_LEN), &want);
	fits = strcmp(text, buf_str(&want)) == 0;
	buf_free(&want);
	return fits;
}

/* Do the bytes fit what the headers say of them? A login page in the server's place has no ETag. */
static bool
s3_get_whole(struct s3_object *o, struct err *reterr)
{
	if (!object_is_object(&o->obj, http_header_get(&o->obj.ans.http, "etag") != NULL, reterr) || !object_is_whole(&o->obj, reterr))
		return false;
	object_read_end(&o->obj);
	if (s3_checksum_fits(&o->obj.ans, &o->obj.ret->digest))
		return true;
	snapshot_free(o->obj.ret);
	err_set(reterr, ERR_CORRUPT, 200, "bucket %s: %.120s does not fit its own x-amz-checksum-sha256", o->s->conf->bucket, o->obj.name);
	return false;
}

/* "null" is whatever was written without versioning: no name of these bytes. */
static void
s3_get_version_told(struct s3_object *o)
{
	const char *id = http_header_get(&o->obj.ans.http, "x-amz-version-id");

	if (id != NULL && strcmp(id, "null") != 0 && strlen(id) < VERSION_ID_MAX)
		snprintf(o->obj.ret->version, VERSION_ID_MAX, "%s", id);
}

static enum op_turn
s3_get_done(struct s3_object *o)
{
	struct snapshot *ret = o->obj.ret;

	s3_etag(http_header_get(&o->obj.ans.http, "etag"), ret->etag);
	s3_get_version_told(o);
	if (o->obj.version != NULL || !s3_has_digest(o->s, o->obj.name) || s3_is_unsealed(o->s, o->obj.name, &ret->digest))
		return op_ok(&o->obj.op);
	s3_object_sum(o);
	return op_await(&o->obj.op, GET_DIGEST, s3_digest_read(o->s, o->obj.name, &o->row));
}

/* What does not fit for 10 seconds is an error, with what was read. */
static enum op_turn
s3_get_judged(struct s3_object *o)
{
	struct op *op = &o->obj.op;

	if (op_failed(op)) {
		snapshot_free(o->obj.ret);
		return op_fail(op);
	}
	if (s3_digest_fits(o->s, o->obj.name, o->row, o->sum, &op->res))
		return op_ok(op);
	if (o->misfit == 0)
		o->misfit = loop_now(op->loop);
	if (loop_now(op->loop) - o->misfit >= S3_DIGEST_WAIT_MS || op_stopped(op))
		return op_fail(op);
	snapshot_free(o->obj.ret);
	return op_await(op, GET_START, op_sleep(op->loop, S3_DIGEST_PAUSE_MS));
}

static enum op_turn
s3_get_step(struct op *op)
{
	struct s3_object *o = container_of(op, struct s3_object, obj.op);

	switch ((enum s3_get_state)op->state) {
	case GET_START:
		if (op_failed(op)) /* cancelled before reading again */
			return op_fail(op);
		return op_await(op, GET_ANSWERED, s3_get_send(o));
	case GET_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->obj.ans.http.status == 304 && o->obj.etag[0] != '\0')
			return object_unchanged(&o->obj);
		if (o->obj.ans.http.status != 200 && s3_no_such_object(&o->obj.req, &o->obj.ans) && o->obj.version == NULL &&
		    s3_wants_digest(o->s, o->obj.name))
			return op_await(op, GET_ABSENT, s3_digest_read(o->s, o->obj.name, &o->row));
		if (o->obj.ans.http.status != 200)
			return object_unreadable(&o->obj, "reading");
		return s3_get_whole(o, &op->res) ? s3_get_done(o) : object_read_again(&o->obj, GET_START);
	case GET_DIGEST:
		return s3_get_judged(o);
	case GET_ABSENT: /* only to know what our own will replace: the rest of a deleted state hinders nobody who writes anew */
		return op_failed(op) ? op_fail(op) : object_absent(&o->obj);
	}
	return OP_DONE;
}

static const struct op_class s3_get_class = { "s3 get", s3_get_step, NULL, object_free, s3_get_states,
    ARRAY_LEN(s3_get_states) };

struct op *
s3_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct s3_object *o = s3_object_new(b, &s3_get_class, ref);

	o->obj.ret = ret;
	object_want(&o->obj, unless_etag);
	return object_op(&o->obj, strlen(o->s->b.common.prefix) + strlen(o->obj.name));
}

/* The row of a table speaks of the current version alone. */
struct op *
s3_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	struct s3_object *o = s3_object_new(b, &s3_get_class, ref);

	o->obj.ret = ret;
	object_want_version(&o->obj, version);
	return object_op(&o->obj, strlen(o->s->b.common.prefix) + strlen(o->obj.name));
}

/* ---------------------------------------------------------------- head */

enum s3_head_state { HEAD_START, HEAD_ANSWERED };

static const char *const s3_head_states[] = { "start", "answered" };

static struct op *
s3_head_send(struct s3_object *o)
{
	s3_object_request(o, "HEAD");
	s3_request_sse_read(o->s, &o->obj.req);
	return s3_send(o->s, &o->obj.req, &o->obj.ans);
}

static enum op_turn
s3_head_step(struct op *op)
{
	struct s3_object *o = container_of(op, struct s3_object, obj.op);
	struct state_tag *ret = o->obj.ret_tag;

	switch ((enum s3_head_state)op->state) {
	case HEAD_START:
		return op_await(op, HEAD_ANSWERED, s3_head_send(o));
	case HEAD_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->obj.ans.http.status != 200)
			return object_unreadable(&o->obj, "looking at");
		memset(ret, 0, sizeof(*ret));
		s3_etag(http_header_get(&o->obj.ans.http, "etag"), ret->etag);
		ret->modified = object_modified(&o->obj.ans);
		if (object_length(&o->obj.ans) != UINT64_MAX)
			ret->size = object_length(&o->obj.ans);
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class s3_head_class = { "s3 head", s3_head_step, NULL, object_free, s3_head_states,
	ARRAY_LEN(s3_head_states) };

struct op *
s3_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct s3_object *o = s3_object_new(b, &s3_head_class, ref);

	o->obj.ret_tag = ret;
	return object_op(&o->obj, strlen(o->s->b.common.prefix) + strlen(o->obj.name));
}

/* ---------------------------------------------------------------- put */

enum s3_put_state { PUT_START, PUT_ANSWERED, PUT_LOOKED };

static const char *const s3_put_states[] = { "start", "answered", "looked" };

static struct op *
s3_put_send(struct s3_object *o)
{
	char *tag;

	s3_held_wrote(o->s, o->obj.name, &o->digest);
	s3_object_request(o, "PUT");
	s3_request_write(o->s, &o->obj.req, object_type(&o->obj), o->obj.body, &o->digest);
	s3_request_tags(&o->s->conf->state_tags, &o->obj.req);
	if (o->obj.when == PUT_ABSENT)
		send_header(&o->obj.req, "if-none-match", "*");
	if (o->obj.when == PUT_MATCH) {
		tag = s3_etag_quoted(o->obj.etag);
		send_header(&o->obj.req, "if-match", "%s", tag);
		free(tag);
	}
	return s3_send(o->s, &o->obj.req, &o->obj.ans);
}

/* Whatever says that what is there is not what it should be. */
static bool
s3_put_lost(const struct s3_object *o)
{
	if (o->obj.when == PUT_UNDER_LOCK)
		return false;
	return s3_precondition_failed(&o->obj.ans) || s3_raced(&o->obj.ans) ||
	    (o->obj.when == PUT_MATCH && s3_no_such_object(&o->obj.req, &o->obj.ans));
}

static enum op_turn
s3_put_done(struct s3_object *o)
{
	struct op *op = &o->obj.op;
	int        status = o->obj.ans.http.status;

	if (status == 200 || status == 201 || status == 204) {
		s3_etag(http_header_get(&o->obj.ans.http, "etag"), o->obj.ret_etag);
		return op_ok(op);
	}
	if (s3_put_lost(o)) {
		object_changed(&o->obj);
		return o->obj.when != PUT_ABSENT ? OP_DONE : op_await(op, PUT_LOOKED, s3_head_send(o)); /* is it there at all? */
	}
	if (strcmp(o->obj.ans.code, "ObjectParentIsFile") == 0) {
		err_set(&op->res, ERR_UNSUPPORTED, status, "bucket %s: %.120s cannot be below an object (%d %s)",
		    o->s->conf->bucket, o->obj.name, status, o->obj.ans.code);
		return op_fail(op);
	}
	return object_refused(&o->obj, "writing");
}

/* A store for which a delete marker is an object refuses to create it for ever. */
static enum op_turn
s3_put_looked(struct s3_object *o)
{
	if (!op_failed(&o->obj.op) && s3_no_such_object(&o->obj.req, &o->obj.ans)) {
		err_set(&o->obj.op.err, ERR_CONFLICT, 412,
		    "bucket %s: %.120s is not there (404), but the store refuses to create it (412)",
		    o->s->conf->bucket, o->obj.name);
		err_hint(&o->obj.op.err, "somebody deleted it just now, or the store counts a delete marker as an object: remove the marker, "
		    "or turn versioning off");
	}
	return op_finish(&o->obj.op);
}

static enum op_turn
s3_put_step(struct op *op)
{
	struct s3_object *o = container_of(op, struct s3_object, obj.op);

	switch ((enum s3_put_state)op->state) {
	case PUT_START:
		if (op_failed(op)) /* cancelled before sending again what was refused */
			return op_fail(op);
		return op_await(op, PUT_ANSWERED, s3_put_send(o));
	case PUT_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (s3_raced(&o->obj.ans) && o->obj.again++ < S3_RACED_AGAIN) /* refused, nothing was written */
			return op_await(op, PUT_START, op_sleep(op->loop, provider_backoff_ms(&o->s->b, o->obj.again, S3_RACED_PAUSE_MS)));
		return s3_put_done(o);
	case PUT_LOOKED:
		return s3_put_looked(o);
	}
	return OP_DONE;
}

static const struct op_class s3_put_class = { "s3 put", s3_put_step, NULL, object_free, s3_put_states,
    ARRAY_LEN(s3_put_states) };

struct op *
s3_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct s3_object *o = s3_object_new(b, &s3_put_class, ref);

	object_write(&o->obj, body, when, ret_etag);
	o->digest = body->digest;
	return object_op(&o->obj, strlen(o->s->b.common.prefix) + strlen(o->obj.name));
}

/* ---------------------------------------------------------------- delete */

enum s3_del_state { DEL_START, DEL_LOOKED, DEL_ANSWERED, DEL_UNSEALED };

static const char *const s3_del_states[] = { "start", "looked", "answered", "digest deleted" };

static struct op *
s3_del_send(struct s3_object *o)
{
	char *tag;

	s3_object_request(o, "DELETE");
	o->obj.req.changing = true;
	if (o->obj.etag[0] != '\0' && !o->headed) {
		tag = s3_etag_quoted(o->obj.etag);
		send_header(&o->obj.req, "if-match", "%s", tag);
		free(tag);
	}
	return s3_send(o->s, &o->obj.req, &o->obj.ans);
}

/* Some stores ignore If-Match on DELETE, and all of them answer 204 for what is not there: it is looked at first. */
static enum op_turn
s3_del_step(struct op *op)
{
	struct s3_object *o = container_of(op, struct s3_object, obj.op);
	char              tag[ETAG_MAX];

	switch ((enum s3_del_state)op->state) {
	case DEL_START:
		return op_await(op, DEL_LOOKED, s3_head_send(o));
	case DEL_LOOKED:
		if (op_failed(op))
			return op_fail(op);
		if (o->obj.ans.http.status != 200)
			return object_unreadable(&o->obj, "looking at");
		s3_etag(http_header_get(&o->obj.ans.http, "etag"), tag);
		if (o->obj.etag[0] != '\0' && strcmp(o->obj.etag, tag) != 0)
			return object_changed(&o->obj);
		return op_await(op, DEL_ANSWERED, s3_del_send(o));
	case DEL_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (s3_no_conditions(&o->obj.ans) && o->obj.etag[0] != '\0' && !o->headed) {
			o->headed = true;
			return op_await(op, DEL_ANSWERED, s3_del_send(o));
		}
		if (s3_precondition_failed(&o->obj.ans) || s3_raced(&o->obj.ans))
			return object_changed(&o->obj);
		if (s3_no_such_object(&o->obj.req, &o->obj.ans))
			return object_absent(&o->obj);
		if (o->obj.ans.http.status / 100 != 2)
			return object_refused(&o->obj, "deleting");
		return op_await(op, DEL_UNSEALED, s3_has_digest(o->s, o->obj.name) ? s3_unseal(o->s, o->obj.name) : NULL);
	case DEL_UNSEALED:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class s3_del_class = { "s3 delete", s3_del_step, NULL, object_free, s3_del_states,
    ARRAY_LEN(s3_del_states) };

struct op *
s3_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct s3_object *o = s3_object_new(b, &s3_del_class, ref);

	object_want(&o->obj, if_etag);
	return object_op(&o->obj, strlen(o->s->b.common.prefix) + strlen(o->obj.name));
}
