/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "azurerm.h"
#include "base/encode.h"
#include "provider/reader.h"

/*
 * Blobs: read, looked at, written, deleted. A blob of zero bytes is terraform's place holder for a lock: as a state it is not there. A
 * write looks first: it needs the metadata, which it has to repeat, and the ETag of the content that it means to replace.
 */
#define AZURERM_READ_AGAIN     2   /* a body that does not fit its headers is read so often again */
#define AZURERM_READ_PAUSE_MS  100
#define AZURERM_MD5_TEXT       25  /* base64, and a NUL */

struct azurerm_blob {
	struct op            op;
	struct azurerm      *z;
	char                *name, *blob;
	struct send_request  req;
	struct send_answer   ans;
	struct azurerm_props props;
	bool                 absent;     /* as a state: also a place holder */
	bool                 remembered; /* props are what we left under our lease, not what a look showed */
	unsigned             again;
	struct reader       *reader;
	struct md5          *md5;        /* of what comes in */
	char                 sum[AZURERM_MD5_TEXT]; /* of what came in, or goes out */
	struct snapshot     *ret;
	struct state_tag    *ret_tag;
	enum put_if          when;
	char                 lease[sizeof(((struct lock_info *)NULL)->id)]; /* "": we hold none */
	struct body         *body;
	char                *ret_etag;
	char                 etag[ETAG_MAX];
};

static void
azurerm_blob_free(struct op *op)
{
	struct azurerm_blob *o = container_of(op, struct azurerm_blob, op);
	uint8_t              sum[MD5_LEN];

	reader_free(o->reader);
	if (o->md5 != NULL)
		md5_end(o->md5, sum);
	send_request_free(&o->req);
	send_answer_free(&o->ans);
	azurerm_props_free(&o->props);
	body_unref(o->body);
	free(o->name);
	free(o->blob);
	free(o);
}

static struct azurerm_blob *
azurerm_blob_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct azurerm_blob *o = xcalloc(1, sizeof(*o));

	o->z = azurerm_of(b);
	op_init(&o->op, class, o->z->env->loop);
	o->name = xstrdup(ref->name);
	o->blob = azurerm_blob_of(o->z, ref->name);
	return o;
}

static enum op_turn
azurerm_blob_refused(struct azurerm_blob *o, const char *doing)
{
	char *what = xasprintf("%s %.120s", doing, o->name);

	azurerm_refused(o->z, &o->ans, what, &o->op.res);
	if (o->op.res.code == ERR_NOT_FOUND) /* the container's absence is no absence of a state */
		o->op.res.code = ERR_CONFIG;
	free(what);
	return op_fail(&o->op);
}

static enum op_turn
azurerm_blob_absent(struct azurerm_blob *o)
{
	err_set(&o->op.res, ERR_NOT_FOUND, 404, "container %s has no %.120s", o->z->conf->container_name, o->name);
	return op_fail(&o->op);
}

static enum op_turn
azurerm_blob_changed(struct azurerm_blob *o)
{
	err_set(&o->op.res, ERR_CONFLICT, o->ans.http.status, "container %s: %.120s was changed by somebody else", o->z->conf->container_name,
	    o->name);
	return op_fail(&o->op);
}

static enum op_turn
azurerm_blob_unchanged(struct azurerm_blob *o)
{
	err_set(&o->op.res, ERR_UNCHANGED, o->ans.http.status, "unchanged");
	return op_fail(&o->op);
}

static enum op_turn
azurerm_blob_lost(struct azurerm_blob *o)
{
	err_set(&o->op.res, ERR_CONFLICT, 412, "container %s: our lock on %.100s is gone (412 %s)", o->z->conf->container_name, o->name,
	    o->ans.code);
	return op_fail(&o->op);
}

static void
azurerm_sum_end(struct azurerm_blob *o)
{
	uint8_t    sum[MD5_LEN];
	struct buf text;

	md5_end(o->md5, sum);
	o->md5 = NULL;
	buf_init(&text, 0);
	base64_encode(span_of(sum, sizeof(sum)), &text);
	snprintf(o->sum, sizeof(o->sum), "%s", buf_str(&text));
	buf_free(&text);
}

static struct op *
azurerm_look(struct azurerm_blob *o)
{
	azurerm_to_blob(o->z, &o->req, "HEAD", o->blob, NULL);
	if (o->lease[0] != '\0')
		send_header(&o->req, "x-ms-lease-id", "%s", o->lease);
	return azurerm_send(o->z, &o->req, &o->ans);
}

/* After a look; false: it failed, and the op has ended. absent and props are known. */
static bool
azurerm_looked(struct azurerm_blob *o)
{
	struct op *op = &o->op;

	o->absent = true;
	azurerm_props_free(&o->props);
	if (op_failed(op) || (o->ans.http.status == 200 && azurerm_props_read(o->z, &o->ans, &o->props, &op->res) != ERR_OK)) {
		op_fail(op);
	} else if (azurerm_lease_is_lost(&o->ans)) {
		azurerm_blob_lost(o);
	} else if (o->ans.http.status != 200 && !azurerm_no_such_blob(&o->ans)) {
		azurerm_blob_refused(o, "looking at");
	} else {
		o->absent = o->props.size == 0;
		return true;
	}
	return false;
}

/* ---------------------------------------------------------------- get */

enum azurerm_get_state { GET_READ, GET_ANSWERED };

static const char *const azurerm_get_states[] = { "read", "answered" };

static void
azurerm_get_restart(void *arg)
{
	struct azurerm_blob *o = arg;

	reader_free(o->reader);
	o->reader = reader_new();
	if (o->md5 != NULL)
		azurerm_sum_end(o);
	o->md5 = md5_new();
}

static enum err_code
azurerm_get_piece(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct azurerm_blob *o = arg;
	const char          *etag = http_header_get(&o->ans.http, "etag");
	char                 text[ETAG_MAX], now[ETAG_MAX];

	if (o->etag[0] != '\0' && etag != NULL && reader_size(o->reader) == 0) { /* known: no more of it than this piece */
		azurerm_etag(etag, text);
		azurerm_tag(http_header_get(&o->ans.http, "content-md5"), text, now);
		if (strcmp(now, o->etag) == 0)
			return err_set(reterr, ERR_UNCHANGED, 200, "unchanged");
	}
	reader_feed(o->reader, p, n);
	md5_add(o->md5, p, n);
	return ERR_OK;
}

static struct op *
azurerm_get_send(struct azurerm_blob *o)
{
	azurerm_to_blob(o->z, &o->req, "GET", o->blob, NULL);
	o->req.max_body = o->z->b.common.max_state_size;
	o->req.max_body_name = "max_state_size";
	o->req.keep = o->req.spool = true;
	o->req.on_body = azurerm_get_piece;
	o->req.restart = azurerm_get_restart;
	o->req.arg = o;
	return azurerm_send(o->z, &o->req, &o->ans);
}

/* Do the bytes fit what the headers say of them? */
static bool
azurerm_get_whole(struct azurerm_blob *o, struct err *reterr)
{
	const char *md5 = http_header_get(&o->ans.http, "content-md5"), *container = o->z->conf->container_name;
	uint64_t    got = reader_size(o->reader);

	azurerm_sum_end(o);
	if (azurerm_props_read(o->z, &o->ans, &o->props, reterr) != ERR_OK)
		return false;
	if (http_header_get(&o->ans.http, "content-length") != NULL && o->props.size != got) {
		err_set(reterr, ERR_NETWORK, 200, "container %s: %.120s broke off after %llu of %llu bytes", container, o->name,
		    (unsigned long long)got, (unsigned long long)o->props.size);
		return false;
	}
	if (md5 != NULL && strcmp(md5, o->sum) != 0) {
		err_set(reterr, ERR_CORRUPT, 200, "container %s: %.120s does not fit its own MD5", container, o->name);
		return false;
	}
	reader_end(o->reader, o->ret);
	o->reader = NULL;
	snprintf(o->ret->etag, ETAG_MAX, "%s", o->props.tag);
	o->ret->modified = o->props.modified;
	return true;
}

static enum op_turn
azurerm_get_answered(struct azurerm_blob *o)
{
	struct op *op = &o->op;

	if (op_failed(op))
		return op_fail(op);
	if (azurerm_no_such_blob(&o->ans))
		return azurerm_blob_absent(o);
	if (o->ans.http.status != 200)
		return azurerm_blob_refused(o, "reading");
	if (!azurerm_get_whole(o, &op->res)) {
		if (op->res.code == ERR_UNSUPPORTED || o->again++ == AZURERM_READ_AGAIN)
			return op_fail(op);
		return op_await(op, GET_READ, op_sleep(op->loop, provider_backoff_ms(&o->z->b, o->again, AZURERM_READ_PAUSE_MS)));
	}
	if (o->ret->info.size == 0 || strcmp(o->etag, o->ret->etag) == 0) {
		snapshot_free(o->ret);
		return o->props.size == 0 ? azurerm_blob_absent(o) : azurerm_blob_unchanged(o);
	}
	o->ret->body = o->ans.http.body != NULL ? body_ref(o->ans.http.body) : body_copy((struct span){ NULL, 0 });
	return op_ok(op);
}

/* The service compares ETags alone, so a tag is compared here. */
static enum op_turn
azurerm_get_step(struct op *op)
{
	struct azurerm_blob *o = container_of(op, struct azurerm_blob, op);

	switch ((enum azurerm_get_state)op->state) {
	case GET_READ:
		if (op_failed(op)) /* cancelled before reading again */
			return op_fail(op);
		return op_await(op, GET_ANSWERED, azurerm_get_send(o));
	case GET_ANSWERED:
		return azurerm_get_answered(o);
	}
	return OP_DONE;
}

static const struct op_class azurerm_get_class = { "azurerm get", azurerm_get_step, NULL, azurerm_blob_free, azurerm_get_states,
	ARRAY_LEN(azurerm_get_states) };

struct op *
azurerm_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct azurerm_blob *o = azurerm_blob_new(b, &azurerm_get_class, ref);

	o->ret = ret;
	snprintf(o->etag, sizeof(o->etag), "%s", unless_etag != NULL ? unless_etag : "");
	return &o->op;
}

/* ---------------------------------------------------------------- head */

enum azurerm_head_state { HEAD_START, HEAD_LOOKED };

static const char *const azurerm_head_states[] = { "start", "looked" };

static enum op_turn
azurerm_head_step(struct op *op)
{
	struct azurerm_blob *o = container_of(op, struct azurerm_blob, op);

	switch ((enum azurerm_head_state)op->state) {
	case HEAD_START:
		return op_await(op, HEAD_LOOKED, azurerm_look(o));
	case HEAD_LOOKED:
		if (!azurerm_looked(o))
			return OP_DONE;
		if (o->absent)
			return azurerm_blob_absent(o);
		*o->ret_tag = (struct state_tag){ .size = o->props.size, .modified = o->props.modified };
		memcpy(o->ret_tag->etag, o->props.tag, ETAG_MAX);
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class azurerm_head_class = { "azurerm head", azurerm_head_step, NULL, azurerm_blob_free, azurerm_head_states,
	ARRAY_LEN(azurerm_head_states) };

struct op *
azurerm_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct azurerm_blob *o = azurerm_blob_new(b, &azurerm_head_class, ref);

	o->ret_tag = ret;
	return &o->op;
}

/* ---------------------------------------------------------------- put */

enum azurerm_put_state { PUT_START, PUT_SUMMED, PUT_LOOKED, PUT_KEPT, PUT_ANSWERED };

static const char *const azurerm_put_states[] = { "start", "summed", "looked", "snapshot", "answered" };

static enum err_code
azurerm_put_sum(struct work_job *job, void *arg, struct err *reterr)
{
	struct azurerm_blob *o = arg;
	uint8_t              piece[16384];
	uint64_t             off = 0;
	size_t               n;

	(void)job;
	o->md5 = md5_new();
	do {
		if (body_read(o->body, off, piece, sizeof(piece), &n, reterr) != ERR_OK)
			return reterr->code;
		md5_add(o->md5, piece, n);
		off += n;
	} while (n > 0);
	azurerm_sum_end(o);
	return ERR_OK;
}

/* snapshot = true: the content that is replaced stays readable, as terraform has it. Once more than needed does no harm. */
static struct op *
azurerm_put_snapshot(struct azurerm_blob *o)
{
	azurerm_to_blob(o->z, &o->req, "PUT", o->blob, "snapshot");
	o->req.changing = false;
	send_header(&o->req, "x-ms-lease-id", "%s", o->lease);
	return azurerm_send(o->z, &o->req, &o->ans);
}

static struct op *
azurerm_put_send(struct azurerm_blob *o)
{
	const char *type = span_ends(span_str(o->name), ".zst") ? "application/zstd" : "application/json";

	azurerm_to_blob(o->z, &o->req, "PUT", o->blob, NULL);
	o->req.body = body_ref(o->body);
	send_header(&o->req, "content-type", "%s", type);
	send_header(&o->req, "content-md5", "%s", o->sum);
	send_header(&o->req, "x-ms-blob-type", "BlockBlob");
	send_header(&o->req, "x-ms-blob-content-type", "%s", type);
	if (o->lease[0] != '\0')
		send_header(&o->req, "x-ms-lease-id", "%s", o->lease);
	if (o->props.etag[0] != '\0')
		send_header(&o->req, "if-match", "\"%s\"", o->props.etag);
	else
		send_header(&o->req, "if-none-match", "*");
	azurerm_props_keep(&o->props, o->props.lock, &o->req);
	return azurerm_send(o->z, &o->req, &o->ans);
}

static bool
azurerm_put_may(const struct azurerm_blob *o)
{
	switch (o->when) {
	case PUT_ABSENT:
		return o->absent;
	case PUT_MATCH:
		return !o->absent && strcmp(o->etag, o->props.tag) == 0;
	case PUT_UNDER_LOCK:
		break;
	}
	return true;
}

/* Also of a snapshot and a deletion: refused, and nothing was done. */
static enum op_turn
azurerm_change_refused(struct azurerm_blob *o, const char *doing)
{
	const struct send_answer *a = &o->ans;

	if (azurerm_answer_is(a, 412, "ConditionNotMet") || azurerm_answer_is(a, 409, "BlobAlreadyExists"))
		return azurerm_blob_changed(o);
	if (azurerm_lease_is_lost(a))
		return azurerm_blob_lost(o);
	if (!azurerm_answer_is(a, 412, "LeaseIdMissing"))
		return azurerm_blob_refused(o, doing);
	err_set(&o->op.res, ERR_LOCKED, 412, "container %s: %.120s is locked (412 LeaseIdMissing)", o->z->conf->container_name, o->name);
	return op_fail(&o->op);
}

static enum op_turn
azurerm_put_go(struct azurerm_blob *o)
{
	if (!o->z->conf->snapshot || o->absent || o->lease[0] == '\0')
		return op_await(&o->op, PUT_ANSWERED, azurerm_put_send(o));
	return op_await(&o->op, PUT_KEPT, azurerm_put_snapshot(o));
}

/* Where nothing was done for certain, what is known still holds. */
static enum op_turn
azurerm_put_failed(struct azurerm_blob *o)
{
	struct op *op = &o->op;
	bool       known = o->remembered && op->res.code != ERR_UNCERTAIN && !(op->res.code == ERR_OK && azurerm_lease_is_lost(&o->ans));

	if (op_failed(op))
		op_fail(op);
	else
		azurerm_change_refused(o, "writing");
	if (known)
		azurerm_hold(o->z, o->blob, o->lease, &o->props);
	return OP_DONE;
}

static enum op_turn
azurerm_put_done(struct azurerm_blob *o)
{
	const char *md5 = http_header_get(&o->ans.http, "content-md5"), *etag = http_header_get(&o->ans.http, "etag");

	azurerm_tag(md5 != NULL ? md5 : o->sum, "", o->ret_etag);
	azurerm_etag(etag != NULL ? etag : "", o->props.etag);
	memcpy(o->props.tag, o->ret_etag, ETAG_MAX);
	o->props.size = body_size(o->body);
	o->props.placed = false;
	if (o->lease[0] != '\0')
		azurerm_hold(o->z, o->blob, o->lease, &o->props);
	return op_ok(&o->op);
}

static enum op_turn
azurerm_put_step(struct op *op)
{
	struct azurerm_blob *o = container_of(op, struct azurerm_blob, op);

	switch ((enum azurerm_put_state)op->state) {
	case PUT_START:
		if (azurerm_name_check(o->blob, &op->res) != ERR_OK)
			return op_fail(op);
		return op_await(op, PUT_SUMMED, work_by_size(o->z->env->work, body_size(o->body), azurerm_put_sum, o));
	case PUT_SUMMED:
		if (op_failed(op))
			return op_fail(op);
		o->remembered = azurerm_take(o->z, o->blob, o->lease, &o->props);
		o->absent = o->props.size == 0;
		if (o->remembered && azurerm_put_may(o))
			return azurerm_put_go(o);
		return op_await(op, PUT_LOOKED, azurerm_look(o));
	case PUT_LOOKED:
		if (!azurerm_looked(o))
			return OP_DONE;
		if (!azurerm_put_may(o))
			return azurerm_blob_changed(o);
		if (azurerm_props_whole(&o->props, o->name, &op->res) != ERR_OK)
			return op_fail(op);
		return azurerm_put_go(o);
	case PUT_KEPT:
		if (op_failed(op))
			return op_fail(op);
		if (o->ans.http.status != 201)
			return azurerm_change_refused(o, "making a snapshot of");
		return op_await(op, PUT_ANSWERED, azurerm_put_send(o));
	case PUT_ANSWERED:
		if (op_failed(op))
			return azurerm_put_failed(o);
		if (o->remembered && azurerm_answer_is(&o->ans, 412, "ConditionNotMet")) { /* then what a look shows counts */
			o->remembered = false;
			return op_await(op, PUT_LOOKED, azurerm_look(o));
		}
		return o->ans.http.status == 201 ? azurerm_put_done(o) : azurerm_put_failed(o);
	}
	return OP_DONE;
}

static const struct op_class azurerm_put_class = { "azurerm put", azurerm_put_step, NULL, azurerm_blob_free, azurerm_put_states,
	ARRAY_LEN(azurerm_put_states) };

struct op *
azurerm_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct azurerm_blob *o = azurerm_blob_new(b, &azurerm_put_class, ref);

	assert(body->body != NULL);
	o->body = body_ref(body->body);
	o->when = when->when;
	snprintf(o->etag, sizeof(o->etag), "%s", when->etag != NULL ? when->etag : "");
	snprintf(o->lease, sizeof(o->lease), "%s", when->lock != NULL ? when->lock->id : "");
	o->ret_etag = ret_etag;
	return &o->op;
}

/* ---------------------------------------------------------------- delete */

enum azurerm_del_state { DEL_START, DEL_LOOKED, DEL_ANSWERED };

static const char *const azurerm_del_states[] = { "start", "looked", "answered" };

/* A place holder goes, too. */
static enum op_turn
azurerm_del_step(struct op *op)
{
	struct azurerm_blob *o = container_of(op, struct azurerm_blob, op);

	switch ((enum azurerm_del_state)op->state) {
	case DEL_START:
		return op_await(op, DEL_LOOKED, azurerm_look(o));
	case DEL_LOOKED:
		if (!azurerm_looked(o))
			return OP_DONE;
		if (o->props.etag[0] == '\0')
			return azurerm_blob_absent(o);
		if (o->etag[0] != '\0' && strcmp(o->etag, o->props.tag) != 0)
			return azurerm_blob_changed(o);
		azurerm_to_blob(o->z, &o->req, "DELETE", o->blob, NULL);
		send_header(&o->req, "if-match", "\"%s\"", o->props.etag);
		return op_await(op, DEL_ANSWERED, azurerm_send(o->z, &o->req, &o->ans));
	case DEL_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->ans.http.status == 202)
			return op_ok(op);
		return azurerm_no_such_blob(&o->ans) ? azurerm_blob_absent(o) : azurerm_change_refused(o, "deleting");
	}
	return OP_DONE;
}

static const struct op_class azurerm_del_class = { "azurerm delete", azurerm_del_step, NULL, azurerm_blob_free, azurerm_del_states,
	ARRAY_LEN(azurerm_del_states) };

struct op *
azurerm_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct azurerm_blob *o = azurerm_blob_new(b, &azurerm_del_class, ref);

	snprintf(o->etag, sizeof(o->etag), "%s", if_etag != NULL ? if_etag : "");
	return &o->op;
}
