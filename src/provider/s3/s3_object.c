/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "provider/reader.h"
#include "s3.h"

/* Objects: read, looked at, written, deleted. */
#define S3_READ_AGAIN     2    /* a body that does not fit its headers is read so often again */
#define S3_RACED_AGAIN    4    /* a write that met another one in the act is sent so often again */
#define S3_RACED_PAUSE_MS 100
#define S3_DIGEST_PAUSE_MS 2000  /* a digest that does not fit: somebody writes just now, so both are read again */
#define S3_DIGEST_WAIT_MS  10000 /* as long as terraform waits */

struct s3_object {
	struct op            op;
	struct s3           *s;
	char                *name;
	struct send_request  req;
	struct send_answer   ans;
	unsigned             again;
	/* get */
	struct reader       *reader;
	struct md5          *md5;    /* where a table has digests; NULL: none */
	uint8_t              sum[MD5_LEN];
	char                *row;    /* what the table says */
	int64_t              misfit; /* loop_now() when it first did not fit; 0: it has not */
	struct snapshot     *ret;
	/* head */
	struct state_tag    *ret_tag;
	/* put */
	struct put_condition when;
	struct body         *body;
	struct digest        digest;
	char                *ret_etag;
	/* put, del */
	char                 etag[ETAG_MAX];
	bool                 headed;
};

/* Ends the sum of what was read. */
static void
s3_object_sum(struct s3_object *o)
{
	if (o->md5 != NULL)
		md5_end(o->md5, o->sum);
	o->md5 = NULL;
}

static void
s3_object_free(struct op *op)
{
	struct s3_object *o = container_of(op, struct s3_object, op);

	reader_free(o->reader);
	s3_object_sum(o);
	send_request_free(&o->req);
	send_answer_free(&o->ans);
	body_unref(o->body);
	free(o->row);
	free(o->name);
	free(o);
}

static struct s3_object *
s3_object_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct s3_object *o = xcalloc(1, sizeof(*o));

	o->s = s3_of(b);
	op_init(&o->op, class, o->s->env->loop);
	o->name = xstrdup(ref->name);
	return o;
}

static void
s3_object_request(struct s3_object *o, const char *method)
{
	send_request_free(&o->req);
	o->req.method = method;
	o->req.object = s3_key_of(o->s, o->name);
}

static enum op_turn
s3_object_refused(struct s3_object *o, const char *doing)
{
	char *what = xasprintf("%s %.120s", doing, o->name);

	s3_refused(o->s, &o->req, &o->ans, what, &o->op.res);
	free(what);
	return op_fail(&o->op);
}

static enum op_turn
s3_object_absent(struct s3_object *o)
{
	err_set(&o->op.res, ERR_NOT_FOUND, 404, "bucket %s has no %.120s", o->s->conf->bucket, o->name);
	return op_fail(&o->op);
}

/* The bucket's absence is no absence of a state. */
static enum op_turn
s3_object_unreadable(struct s3_object *o, const char *doing)
{
	if (s3_no_such_object(&o->req, &o->ans))
		return s3_object_absent(o);
	s3_object_refused(o, doing);
	if (o->op.err.code == ERR_NOT_FOUND)
		o->op.err.code = ERR_CONFIG;
	return OP_DONE;
}

static int64_t
s3_modified(const struct send_answer *a)
{
	const char *text = http_header_get(&a->http, "last-modified");
	int64_t     ms;

	return text != NULL && time_parse_http(text, &ms) ? ms : 0;
}

static bool
s3_length(const struct send_answer *a, uint64_t *ret)
{
	const char        *text = http_header_get(&a->http, "content-length");
	char              *end;
	unsigned long long n;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	n = strtoull(text, &end, 10);
	*ret = n;
	return *end == '\0';
}

/* A key longer than S3 takes cannot be there, and cannot be made. */
static struct op *
s3_object_op(struct s3_object *o)
{
	size_t     n = strlen(o->s->b.common.prefix) + strlen(o->name);
	struct op *op;

	if (n <= S3_KEY_MAX)
		return &o->op;
	op = op_error(o->op.loop, ERR_UNSUPPORTED, 0, "%.60s...: an object key of %zu bytes, S3 takes %d", o->name, n, S3_KEY_MAX);
	op_free(&o->op);
	return op;
}

/* ---------------------------------------------------------------- get */

enum s3_get_state { GET_START, GET_ANSWERED, GET_DIGEST, GET_ABSENT };

static const char *const s3_get_states[] = { "start", "answered", "digest read", "digest of nothing read" };

static void
s3_get_restart(void *arg)
{
	struct s3_object *o = arg;

	reader_free(o->reader);
	o->reader = reader_new();
	s3_object_sum(o);
	o->md5 = s3_has_digest(o->s, o->name) ? md5_new() : NULL;
}

static enum err_code
s3_get_piece(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct s3_object *o = arg;

	(void)reterr;
	reader_feed(o->reader, p, n);
	if (o->md5 != NULL)
		md5_add(o->md5, p, n);
	return ERR_OK;
}

static struct op *
s3_get_send(struct s3_object *o)
{
	char *tag;

	s3_object_request(o, "GET");
	o->req.max_body = o->s->b.common.max_state_size;
	o->req.max_body_name = "max_state_size";
	o->req.keep = o->req.spool = true;
	o->req.on_body = s3_get_piece;
	o->req.restart = s3_get_restart;
	o->req.arg = o;
	s3_request_sse_read(o->s, &o->req);
	if (o->s->checksum_mode)
		send_header(&o->req, "x-amz-checksum-mode", "ENABLED");
	if (o->etag[0] != '\0') {
		tag = s3_etag_quoted(o->etag);
		send_header(&o->req, "if-none-match", "%s", tag);
		free(tag);
	}
	return s3_send(o->s, &o->req, &o->ans);
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

/* Do the bytes fit what the headers say of them? */
static bool
s3_get_whole(struct s3_object *o, struct err *reterr)
{
	uint64_t length, got = reader_size(o->reader);

	if (http_header_get(&o->ans.http, "etag") == NULL) { /* every object has one; a login page in the server's place has not */
		err_set(reterr, ERR_UNSUPPORTED, 200, "bucket %s: %.120s: the answer is no object, it has no ETag", o->s->conf->bucket, o->name);
		err_hint(reterr, S3_OTHER_HINT);
		return false;
	}
	if (s3_length(&o->ans, &length) && length != got) {
		err_set(reterr, ERR_NETWORK, 200, "bucket %s: %.120s broke off after %llu of %llu bytes", o->s->conf->bucket,
		    o->name, (unsigned long long)got, (unsigned long long)length);
		return false;
	}
	reader_end(o->reader, o->ret);
	o->reader = NULL;
	if (!s3_checksum_fits(&o->ans, &o->ret->digest)) {
		snapshot_free(o->ret);
		err_set(reterr, ERR_CORRUPT, 200, "bucket %s: %.120s does not fit its own x-amz-checksum-sha256",
		    o->s->conf->bucket, o->name);
		return false;
	}
	return true;
}

static enum op_turn
s3_get_done(struct s3_object *o)
{
	struct snapshot *ret = o->ret;

	ret->body = o->ans.http.body != NULL ? body_ref(o->ans.http.body) : body_copy((struct span){ NULL, 0 });
	s3_etag(http_header_get(&o->ans.http, "etag"), ret->etag);
	ret->modified = s3_modified(&o->ans);
	if (!s3_has_digest(o->s, o->name) || s3_is_unsealed(o->s, o->name, &ret->digest))
		return op_ok(&o->op);
	s3_object_sum(o);
	return op_await(&o->op, GET_DIGEST, s3_digest_read(o->s, o->name, &o->row));
}

/* What does not fit for 10 seconds is an error, with what was read. */
static enum op_turn
s3_get_judged(struct s3_object *o)
{
	struct op *op = &o->op;

	if (op_failed(op)) {
		snapshot_free(o->ret);
		return op_fail(op);
	}
	if (s3_digest_fits(o->s, o->name, o->row, o->sum, &op->res))
		return op_ok(op);
	if (o->misfit == 0)
		o->misfit = loop_now(op->loop);
	if (loop_now(op->loop) - o->misfit >= S3_DIGEST_WAIT_MS || op_stopped(op))
		return op_fail(op);
	snapshot_free(o->ret);
	return op_await(op, GET_START, op_sleep(op->loop, S3_DIGEST_PAUSE_MS));
}

static enum op_turn
s3_get_step(struct op *op)
{
	struct s3_object *o = container_of(op, struct s3_object, op);

	switch ((enum s3_get_state)op->state) {
	case GET_START:
		if (op_failed(op)) /* cancelled before reading again */
			return op_fail(op);
		return op_await(op, GET_ANSWERED, s3_get_send(o));
	case GET_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->ans.http.status == 304 && o->etag[0] != '\0') {
			err_set(&op->res, ERR_UNCHANGED, 304, "unchanged");
			return op_fail(op);
		}
		if (o->ans.http.status != 200 && s3_no_such_object(&o->req, &o->ans) && s3_wants_digest(o->s, o->name))
			return op_await(op, GET_ABSENT, s3_digest_read(o->s, o->name, &o->row));
		if (o->ans.http.status != 200)
			return s3_object_unreadable(o, "reading");
		if (s3_get_whole(o, &op->res))
			return s3_get_done(o);
		if (o->again++ < S3_READ_AGAIN)
			return op_await(op, GET_START, op_sleep(op->loop, provider_backoff_ms(&o->s->b, o->again, S3_BACKOFF_MS)));
		return op_fail(op);
	case GET_DIGEST:
		return s3_get_judged(o);
	case GET_ABSENT: /* only to know what our own will replace: the rest of a deleted state hinders nobody who writes anew */
		return op_failed(op) ? op_fail(op) : s3_object_absent(o);
	}
	return OP_DONE;
}

static const struct op_class s3_get_class = { "s3 get", s3_get_step, NULL, s3_object_free, s3_get_states,
    ARRAY_LEN(s3_get_states) };

struct op *
s3_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct s3_object *o = s3_object_new(b, &s3_get_class, ref);

	o->ret = ret;
	snprintf(o->etag, sizeof(o->etag), "%s", unless_etag != NULL ? unless_etag : "");
	return s3_object_op(o);
}

/* ---------------------------------------------------------------- head */

enum s3_head_state { HEAD_START, HEAD_ANSWERED };

static const char *const s3_head_states[] = { "start", "answered" };

static struct op *
s3_head_send(struct s3_object *o)
{
	s3_object_request(o, "HEAD");
	s3_request_sse_read(o->s, &o->req);
	return s3_send(o->s, &o->req, &o->ans);
}

static enum op_turn
s3_head_step(struct op *op)
{
	struct s3_object *o = container_of(op, struct s3_object, op);
	struct state_tag *ret = o->ret_tag;

	switch ((enum s3_head_state)op->state) {
	case HEAD_START:
		return op_await(op, HEAD_ANSWERED, s3_head_send(o));
	case HEAD_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->ans.http.status != 200)
			return s3_object_unreadable(o, "looking at");
		memset(ret, 0, sizeof(*ret));
		s3_etag(http_header_get(&o->ans.http, "etag"), ret->etag);
		ret->modified = s3_modified(&o->ans);
		if (!s3_length(&o->ans, &ret->size))
			ret->size = 0;
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class s3_head_class = { "s3 head", s3_head_step, NULL, s3_object_free, s3_head_states,
	ARRAY_LEN(s3_head_states) };

struct op *
s3_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct s3_object *o = s3_object_new(b, &s3_head_class, ref);

	o->ret_tag = ret;
	return s3_object_op(o);
}

/* ---------------------------------------------------------------- put */

enum s3_put_state { PUT_START, PUT_ANSWERED, PUT_LOOKED };

static const char *const s3_put_states[] = { "start", "answered", "looked" };

static struct op *
s3_put_send(struct s3_object *o)
{
	bool  packed = span_ends(span_str(o->name), ".zst");
	char *tag;

	s3_held_wrote(o->s, o->name, &o->digest);
	s3_object_request(o, "PUT");
	s3_request_write(o->s, &o->req, packed ? "application/zstd" : "application/json", o->body, &o->digest);
	if (o->when.when == PUT_ABSENT)
		send_header(&o->req, "if-none-match", "*");
	if (o->when.when == PUT_MATCH) {
		tag = s3_etag_quoted(o->etag);
		send_header(&o->req, "if-match", "%s", tag);
		free(tag);
	}
	return s3_send(o->s, &o->req, &o->ans);
}

/* Whatever says that what is there is not what it should be. */
static bool
s3_put_lost(const struct s3_object *o)
{
	if (o->when.when == PUT_UNDER_LOCK)
		return false;
	return s3_precondition_failed(&o->ans) || s3_raced(&o->ans) ||
	    (o->when.when == PUT_MATCH && s3_no_such_object(&o->req, &o->ans));
}

static enum op_turn
s3_put_done(struct s3_object *o)
{
	struct op *op = &o->op;
	int        status = o->ans.http.status;

	if (status == 200 || status == 201 || status == 204) {
		s3_etag(http_header_get(&o->ans.http, "etag"), o->ret_etag);
		return op_ok(op);
	}
	if (s3_put_lost(o)) {
		err_set(&op->res, ERR_CONFLICT, status, "bucket %s: %.120s was changed by somebody else (%d%s%s)",
		    o->s->conf->bucket, o->name, status, o->ans.code[0] != '\0' ? " " : "", o->ans.code);
		if (o->when.when != PUT_ABSENT)
			return op_fail(op);
		op->err = op->res; /* is it there at all? */
		return op_await(op, PUT_LOOKED, s3_head_send(o));
	}
	if (strcmp(o->ans.code, "ObjectParentIsFile") == 0) {
		err_set(&op->res, ERR_UNSUPPORTED, status, "bucket %s: %.120s cannot be below an object (%d %s)",
		    o->s->conf->bucket, o->name, status, o->ans.code);
		return op_fail(op);
	}
	return s3_object_refused(o, "writing");
}

/* A store for which a delete marker is an object refuses to create it for ever. */
static enum op_turn
s3_put_looked(struct s3_object *o)
{
	if (!op_failed(&o->op) && s3_no_such_object(&o->req, &o->ans)) {
		err_set(&o->op.err, ERR_CONFLICT, 412,
		    "bucket %s: %.120s is not there (404), but the store refuses to create it (412)",
		    o->s->conf->bucket, o->name);
		err_hint(&o->op.err, "somebody deleted it just now, or the store counts a delete marker as an object: remove the marker, "
		    "or turn versioning off");
	}
	return op_finish(&o->op);
}

static enum op_turn
s3_put_step(struct op *op)
{
	struct s3_object *o = container_of(op, struct s3_object, op);

	switch ((enum s3_put_state)op->state) {
	case PUT_START:
		if (op_failed(op)) /* cancelled before sending again what was refused */
			return op_fail(op);
		return op_await(op, PUT_ANSWERED, s3_put_send(o));
	case PUT_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (s3_raced(&o->ans) && o->again++ < S3_RACED_AGAIN) /* refused, nothing was written */
			return op_await(op, PUT_START, op_sleep(op->loop, provider_backoff_ms(&o->s->b, o->again, S3_RACED_PAUSE_MS)));
		return s3_put_done(o);
	case PUT_LOOKED:
		return s3_put_looked(o);
	}
	return OP_DONE;
}

static const struct op_class s3_put_class = { "s3 put", s3_put_step, NULL, s3_object_free, s3_put_states,
    ARRAY_LEN(s3_put_states) };

struct op *
s3_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct s3_object *o = s3_object_new(b, &s3_put_class, ref);

	assert(body->body != NULL);
	o->body = body_ref(body->body);
	o->digest = body->digest;
	o->when.when = when->when;
	snprintf(o->etag, sizeof(o->etag), "%s", when->etag != NULL ? when->etag : "");
	o->ret_etag = ret_etag;
	return s3_object_op(o);
}

/* ---------------------------------------------------------------- delete */

enum s3_del_state { DEL_START, DEL_LOOKED, DEL_ANSWERED, DEL_UNSEALED };

static const char *const s3_del_states[] = { "start", "looked", "answered", "digest deleted" };

static struct op *
s3_del_send(struct s3_object *o)
{
	char *tag;

	s3_object_request(o, "DELETE");
	o->req.changing = true;
	if (o->etag[0] != '\0' && !o->headed) {
		tag = s3_etag_quoted(o->etag);
		send_header(&o->req, "if-match", "%s", tag);
		free(tag);
	}
	return s3_send(o->s, &o->req, &o->ans);
}

static enum op_turn
s3_del_changed(struct s3_object *o)
{
	err_set(&o->op.res, ERR_CONFLICT, 412, "bucket %s: %.120s was changed by somebody else", o->s->conf->bucket, o->name);
	return op_fail(&o->op);
}

/* Some stores ignore If-Match on DELETE, and all of them answer 204 for what is not there: it is looked at first. */
static enum op_turn
s3_del_step(struct op *op)
{
	struct s3_object *o = container_of(op, struct s3_object, op);
	char              tag[ETAG_MAX];

	switch ((enum s3_del_state)op->state) {
	case DEL_START:
		return op_await(op, DEL_LOOKED, s3_head_send(o));
	case DEL_LOOKED:
		if (op_failed(op))
			return op_fail(op);
		if (o->ans.http.status != 200)
			return s3_object_unreadable(o, "looking at");
		s3_etag(http_header_get(&o->ans.http, "etag"), tag);
		if (o->etag[0] != '\0' && strcmp(o->etag, tag) != 0)
			return s3_del_changed(o);
		return op_await(op, DEL_ANSWERED, s3_del_send(o));
	case DEL_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (s3_no_conditions(&o->ans) && o->etag[0] != '\0' && !o->headed) {
			o->headed = true;
			return op_await(op, DEL_ANSWERED, s3_del_send(o));
		}
		if (s3_precondition_failed(&o->ans) || s3_raced(&o->ans))
			return s3_del_changed(o);
		if (s3_no_such_object(&o->req, &o->ans))
			return s3_object_absent(o);
		if (o->ans.http.status / 100 != 2)
			return s3_object_refused(o, "deleting");
		return op_await(op, DEL_UNSEALED, s3_has_digest(o->s, o->name) ? s3_unseal(o->s, o->name) : NULL);
	case DEL_UNSEALED:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class s3_del_class = { "s3 delete", s3_del_step, NULL, s3_object_free, s3_del_states,
    ARRAY_LEN(s3_del_states) };

struct op *
s3_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct s3_object *o = s3_object_new(b, &s3_del_class, ref);

	snprintf(o->etag, sizeof(o->etag), "%s", if_etag != NULL ? if_etag : "");
	return s3_object_op(o);
}
