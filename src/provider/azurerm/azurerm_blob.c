/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "azurerm.h"
#include "base/encode.h"
#include "provider/object.h"

/*
 * Blobs: read, looked at, written, deleted. A blob of zero bytes is terraform's place holder for a lock: as a state it is not there. A
 * write looks first: it needs the metadata, which it has to repeat, and the ETag of the content that it means to replace.
 */
#define AZURERM_MD5_TEXT       25  /* base64, and a NUL */

struct azurerm_blob {
	struct object        obj;
	struct azurerm      *z;
	char                *blob;
	struct azurerm_props props;
	bool                 absent;     /* as a state: also a place holder */
	bool                 remembered; /* props are what we left under our lease, not what a look showed */
	struct md5          *md5;        /* of what comes in */
	char                 sum[AZURERM_MD5_TEXT]; /* of what came in, or goes out */
	char                 lease[sizeof(((struct lock_info *)NULL)->id)]; /* "": we hold none */
};

static struct azurerm_blob *
azurerm_blob(const struct object *o)
{
	return container_of((struct object *)(uintptr_t)o, struct azurerm_blob, obj);
}

static void
azurerm_sum_end(struct azurerm_blob *o)
{
	uint8_t    sum[MD5_LEN];
	struct buf text;

	if (o->md5 == NULL)
		return;
	md5_end(o->md5, sum);
	o->md5 = NULL;
	buf_init(&text, 0);
	base64_encode(span_of(sum, sizeof(sum)), &text);
	snprintf(o->sum, sizeof(o->sum), "%s", buf_str(&text));
	buf_free(&text);
}

static void
azurerm_sum_begin(struct object *b)
{
	azurerm_sum_end(azurerm_blob(b));
	azurerm_blob(b)->md5 = md5_new();
}

static void
azurerm_sum_add(struct object *b, const void *p, size_t n)
{
	md5_add(azurerm_blob(b)->md5, p, n);
}

/* The tag that is known stands in the headers: no more of it than its first piece. */
static enum err_code
azurerm_blob_piece(struct object *b, struct err *reterr)
{
	const char *etag = http_header_get(&b->ans.http, "etag");
	char        text[ETAG_MAX], now[ETAG_MAX];

	if (b->etag[0] == '\0' || etag == NULL || reader_size(b->reader) > 0)
		return ERR_OK;
	azurerm_etag(etag, text);
	azurerm_tag(http_header_get(&b->ans.http, "content-md5"), text, now);
	return strcmp(now, b->etag) == 0 ? err_set(reterr, ERR_UNCHANGED, 200, "unchanged") : ERR_OK;
}

static bool
azurerm_blob_is_absent(const struct object *b)
{
	return azurerm_no_such_blob(&b->ans);
}

static void
azurerm_blob_refuse(struct object *b, const char *what, struct err *reterr)
{
	azurerm_refused(azurerm_blob(b)->z, &b->ans, what, reterr);
}

static void
azurerm_blob_free(struct object *b)
{
	struct azurerm_blob *o = azurerm_blob(b);

	azurerm_sum_end(o);
	azurerm_props_free(&o->props);
	free(o->blob);
}

static const struct object_driver azurerm_blob_driver = { .place = "container", .tag = "ETag or type", .hint = AZURERM_OTHER_HINT,
	.is_absent = azurerm_blob_is_absent, .refuse = azurerm_blob_refuse, .sum_begin = azurerm_sum_begin, .sum_add = azurerm_sum_add,
	.piece = azurerm_blob_piece, .free = azurerm_blob_free };

static struct azurerm_blob *
azurerm_blob_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct azurerm_blob *o = xcalloc(1, sizeof(*o));

	o->z = azurerm_of(b);
	object_init(&o->obj, &azurerm_blob_driver, b, class, o->z->conf->container_name, ref);
	o->blob = azurerm_blob_of(o->z, ref->name);
	return o;
}

static enum op_turn
azurerm_blob_lost(struct azurerm_blob *o)
{
	err_set(&o->obj.op.res, ERR_CONFLICT, 412, "container %s: our lock on %.100s is gone (412 %s)", o->z->conf->container_name, o->obj.name,
	    o->obj.ans.code);
	return op_fail(&o->obj.op);
}

static struct op *
azurerm_look(struct azurerm_blob *o)
{
	azurerm_to_blob(o->z, &o->obj.req, "HEAD", o->blob, NULL);
	if (o->lease[0] != '\0')
		send_header(&o->obj.req, "x-ms-lease-id", "%s", o->lease);
	return azurerm_send(o->z, &o->obj.req, &o->obj.ans);
}

/* After a look; false: it failed, and the op has ended. absent and props are known. */
static bool
azurerm_looked(struct azurerm_blob *o)
{
	struct op *op = &o->obj.op;

	o->absent = true;
	azurerm_props_free(&o->props);
	if (op_failed(op) || (o->obj.ans.http.status == 200 && azurerm_props_read(o->z, &o->obj.ans, &o->props, &op->res) != ERR_OK)) {
		op_fail(op);
	} else if (azurerm_lease_is_lost(&o->obj.ans)) {
		azurerm_blob_lost(o);
	} else if (o->obj.ans.http.status != 200 && !azurerm_no_such_blob(&o->obj.ans)) {
		object_unreadable(&o->obj, "looking at");
	} else {
		o->absent = o->props.size == 0;
		return true;
	}
	return false;
}

/* ---------------------------------------------------------------- get */

enum azurerm_get_state { GET_READ, GET_ANSWERED };

static const char *const azurerm_get_states[] = { "read", "answered" };

static struct op *
azurerm_get_send(struct azurerm_blob *o)
{
	azurerm_to_blob(o->z, &o->obj.req, "GET", o->blob, NULL);
	if (o->obj.version != NULL)
		send_query(&o->obj.req, "versionid", o->obj.version);
	object_reads(&o->obj);
	return azurerm_send(o->z, &o->obj.req, &o->obj.ans);
}

/* Do the bytes fit what the headers say of them? */
static bool
azurerm_get_whole(struct azurerm_blob *o, struct err *reterr)
{
	const char *md5 = http_header_get(&o->obj.ans.http, "content-md5");

	azurerm_sum_end(o);
	if (azurerm_props_read(o->z, &o->obj.ans, &o->props, reterr) != ERR_OK || !object_is_whole(&o->obj, reterr))
		return false;
	if (md5 == NULL || strcmp(md5, o->sum) == 0)
		return true;
	err_set(reterr, ERR_CORRUPT, 200, "container %s: %.120s does not fit its own MD5", o->z->conf->container_name, o->obj.name);
	return false;
}

static void
azurerm_get_version_told(struct azurerm_blob *o)
{
	const char *id = http_header_get(&o->obj.ans.http, "x-ms-version-id");

	if (id != NULL && strlen(id) < VERSION_ID_MAX)
		snprintf(o->obj.ret->version, VERSION_ID_MAX, "%s", id);
}

static enum op_turn
azurerm_get_answered(struct azurerm_blob *o)
{
	struct op *op = &o->obj.op;

	if (op_failed(op))
		return op_fail(op);
	if (o->obj.ans.http.status != 200)
		return object_unreadable(&o->obj, "reading");
	if (!azurerm_get_whole(o, &op->res))
		return object_read_again(&o->obj, GET_READ);
	if (reader_size(o->obj.reader) == 0)
		return object_absent(&o->obj);
	if (strcmp(o->obj.etag, o->props.tag) == 0)
		return object_unchanged(&o->obj);
	object_read_end(&o->obj);
	memcpy(o->obj.ret->etag, o->props.tag, ETAG_MAX);
	azurerm_get_version_told(o);
	return op_ok(op);
}

/* The service compares ETags alone, so a tag is compared here. */
static enum op_turn
azurerm_get_step(struct op *op)
{
	struct azurerm_blob *o = container_of(op, struct azurerm_blob, obj.op);

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

static const struct op_class azurerm_get_class = { "azurerm get", azurerm_get_step, NULL, object_free, azurerm_get_states,
	ARRAY_LEN(azurerm_get_states) };

struct op *
azurerm_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct azurerm_blob *o = azurerm_blob_new(b, &azurerm_get_class, ref);

	o->obj.ret = ret;
	object_want(&o->obj, unless_etag);
	return &o->obj.op;
}

struct op *
azurerm_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	struct azurerm_blob *o = azurerm_blob_new(b, &azurerm_get_class, ref);

	o->obj.ret = ret;
	object_want_version(&o->obj, version);
	return &o->obj.op;
}

/* ---------------------------------------------------------------- head */

enum azurerm_head_state { HEAD_START, HEAD_LOOKED };

static const char *const azurerm_head_states[] = { "start", "looked" };

static enum op_turn
azurerm_head_step(struct op *op)
{
	struct azurerm_blob *o = container_of(op, struct azurerm_blob, obj.op);

	switch ((enum azurerm_head_state)op->state) {
	case HEAD_START:
		return op_await(op, HEAD_LOOKED, azurerm_look(o));
	case HEAD_LOOKED:
		if (!azurerm_looked(o))
			return OP_DONE;
		if (o->absent)
			return object_absent(&o->obj);
		*o->obj.ret_tag = (struct state_tag){ .size = o->props.size, .modified = o->props.modified };
		memcpy(o->obj.ret_tag->etag, o->props.tag, ETAG_MAX);
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class azurerm_head_class = { "azurerm head", azurerm_head_step, NULL, object_free, azurerm_head_states,
	ARRAY_LEN(azurerm_head_states) };

struct op *
azurerm_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct azurerm_blob *o = azurerm_blob_new(b, &azurerm_head_class, ref);

	o->obj.ret_tag = ret;
	return &o->obj.op;
}

/* ---------------------------------------------------------------- put */

enum azurerm_put_state { PUT_START, PUT_SUMMED, PUT_LOOKED, PUT_KEPT, PUT_ANSWERED };

static const char *const azurerm_put_states[] = { "start", "summed", "looked", "snapshot", "answered" };

/* snapshot = true: the content that is replaced stays readable, as terraform has it. Once more than needed does no harm. */
static struct op *
azurerm_put_snapshot(struct azurerm_blob *o)
{
	azurerm_to_blob(o->z, &o->obj.req, "PUT", o->blob, "snapshot");
	o->obj.req.changing = false;
	send_header(&o->obj.req, "x-ms-lease-id", "%s", o->lease);
	return azurerm_send(o->z, &o->obj.req, &o->obj.ans);
}

static struct op *
azurerm_put_send(struct azurerm_blob *o)
{
	const char *type = object_type(&o->obj);

	azurerm_to_blob(o->z, &o->obj.req, "PUT", o->blob, NULL);
	o->obj.req.body = body_ref(o->obj.body);
	send_header(&o->obj.req, "content-type", "%s", type);
	send_header(&o->obj.req, "content-md5", "%s", o->sum);
	send_header(&o->obj.req, "x-ms-blob-type", "BlockBlob");
	send_header(&o->obj.req, "x-ms-blob-content-type", "%s", type);
	if (o->lease[0] != '\0')
		send_header(&o->obj.req, "x-ms-lease-id", "%s", o->lease);
	if (o->props.etag[0] != '\0')
		send_header(&o->obj.req, "if-match", "\"%s\"", o->props.etag);
	else
		send_header(&o->obj.req, "if-none-match", "*");
	azurerm_props_keep(&o->props, o->props.lock, &o->obj.req);
	return azurerm_send(o->z, &o->obj.req, &o->obj.ans);
}

static bool
azurerm_put_may(const struct azurerm_blob *o)
{
	switch (o->obj.when) {
	case PUT_ABSENT:
		return o->absent;
	case PUT_MATCH:
		return !o->absent && strcmp(o->obj.etag, o->props.tag) == 0;
	case PUT_UNDER_LOCK:
		break;
	}
	return true;
}

/* Also of a snapshot and a deletion: refused, and nothing was done. */
static enum op_turn
azurerm_change_refused(struct azurerm_blob *o, const char *doing)
{
	const struct send_answer *a = &o->obj.ans;

	if (azurerm_answer_is(a, 412, "ConditionNotMet") || azurerm_answer_is(a, 409, "BlobAlreadyExists") ||
	    azurerm_no_such_blob(a))
		return object_changed(&o->obj);
	if (azurerm_lease_is_lost(a))
		return azurerm_blob_lost(o);
	if (!azurerm_answer_is(a, 412, "LeaseIdMissing"))
		return object_unreadable(&o->obj, doing);
	err_set(&o->obj.op.res, ERR_LOCKED, 412, "container %s: %.120s is locked (412 LeaseIdMissing)", o->z->conf->container_name, o->obj.name);
	return op_fail(&o->obj.op);
}

static enum op_turn
azurerm_put_go(struct azurerm_blob *o)
{
	if (!o->z->conf->snapshot || o->absent || o->lease[0] == '\0')
		return op_await(&o->obj.op, PUT_ANSWERED, azurerm_put_send(o));
	return op_await(&o->obj.op, PUT_KEPT, azurerm_put_snapshot(o));
}

/* Where nothing was done for certain, what is known still holds. */
static enum op_turn
azurerm_put_failed(struct azurerm_blob *o)
{
	struct op *op = &o->obj.op;
	bool       known = o->remembered && op->res.code != ERR_UNCERTAIN && !(op->res.code == ERR_OK && azurerm_lease_is_lost(&o->obj.ans));

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
	const char *md5 = http_header_get(&o->obj.ans.http, "content-md5"), *etag = http_header_get(&o->obj.ans.http, "etag");

	azurerm_tag(md5 != NULL ? md5 : o->sum, "", o->obj.ret_etag);
	azurerm_etag(etag != NULL ? etag : "", o->props.etag);
	memcpy(o->props.tag, o->obj.ret_etag, ETAG_MAX);
	o->props.size = body_size(o->obj.body);
	o->props.placed = false;
	if (o->lease[0] != '\0')
		azurerm_hold(o->z, o->blob, o->lease, &o->props);
	return op_ok(&o->obj.op);
}

static enum op_turn
azurerm_put_step(struct op *op)
{
	struct azurerm_blob *o = container_of(op, struct azurerm_blob, obj.op);

	switch ((enum azurerm_put_state)op->state) {
	case PUT_START:
		return op_await(op, PUT_SUMMED, object_sum(&o->obj));
	case PUT_SUMMED:
		azurerm_sum_end(o);
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
			return object_changed(&o->obj);
		if (azurerm_props_whole(&o->props, o->obj.name, &op->res) != ERR_OK)
			return op_fail(op);
		return azurerm_put_go(o);
	case PUT_KEPT:
		if (op_failed(op))
			return op_fail(op);
		if (o->obj.ans.http.status != 201)
			return azurerm_change_refused(o, "making a snapshot of");
		return op_await(op, PUT_ANSWERED, azurerm_put_send(o));
	case PUT_ANSWERED:
		if (op_failed(op))
			return azurerm_put_failed(o);
		if (o->remembered && azurerm_answer_is(&o->obj.ans, 412, "ConditionNotMet")) { /* then what a look shows counts */
			o->remembered = false;
			return op_await(op, PUT_LOOKED, azurerm_look(o));
		}
		return o->obj.ans.http.status == 201 ? azurerm_put_done(o) : azurerm_put_failed(o);
	}
	return OP_DONE;
}

static const struct op_class azurerm_put_class = { "azurerm put", azurerm_put_step, NULL, object_free, azurerm_put_states,
	ARRAY_LEN(azurerm_put_states) };

struct op *
azurerm_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct azurerm_blob *o = azurerm_blob_new(b, &azurerm_put_class, ref);

	object_write(&o->obj, body, when, ret_etag);
	snprintf(o->lease, sizeof(o->lease), "%s", when->lock != NULL ? when->lock->id : "");
	return &o->obj.op;
}

/* ---------------------------------------------------------------- delete */

enum azurerm_del_state { DEL_START, DEL_LOOKED, DEL_ANSWERED };

static const char *const azurerm_del_states[] = { "start", "looked", "answered" };

/* A place holder goes, too. */
static enum op_turn
azurerm_del_step(struct op *op)
{
	struct azurerm_blob *o = container_of(op, struct azurerm_blob, obj.op);

	switch ((enum azurerm_del_state)op->state) {
	case DEL_START:
		return op_await(op, DEL_LOOKED, azurerm_look(o));
	case DEL_LOOKED:
		if (!azurerm_looked(o))
			return OP_DONE;
		if (o->props.etag[0] == '\0')
			return object_absent(&o->obj);
		if (o->obj.etag[0] != '\0' && strcmp(o->obj.etag, o->props.tag) != 0)
			return object_changed(&o->obj);
		azurerm_to_blob(o->z, &o->obj.req, "DELETE", o->blob, NULL);
		send_header(&o->obj.req, "if-match", "\"%s\"", o->props.etag);
		return op_await(op, DEL_ANSWERED, azurerm_send(o->z, &o->obj.req, &o->obj.ans));
	case DEL_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (o->obj.ans.http.status == 202)
			return op_ok(op);
		return azurerm_no_such_blob(&o->obj.ans) ? object_absent(&o->obj) : azurerm_change_refused(o, "deleting");
	}
	return OP_DONE;
}

static const struct op_class azurerm_del_class = { "azurerm delete", azurerm_del_step, NULL, object_free, azurerm_del_states,
	ARRAY_LEN(azurerm_del_states) };

struct op *
azurerm_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct azurerm_blob *o = azurerm_blob_new(b, &azurerm_del_class, ref);

	object_want(&o->obj, if_etag);
	return &o->obj.op;
}
