/* SPDX-License-Identifier: MIT */
#include "object.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define OBJECT_READ_AGAIN 2     /* a body that does not fit its headers is read so often again */
#define OBJECT_PAUSE_MS   100
#define OBJECT_PIECE      16384 /* bytes summed at once */

void
object_init(struct object *o, const struct object_driver *driver, struct backend *b, const struct op_class *class, const char *where,
    const struct state_ref *ref)
{
	op_init(&o->op, class, b->env->loop);
	o->driver = driver;
	o->b = b;
	o->where = where;
	o->name = xstrdup(ref->name);
}

void
object_free(struct op *op)
{
	struct object *o = container_of(op, struct object, op);

	o->driver->free(o);
	reader_free(o->reader);
	send_request_free(&o->req);
	send_answer_free(&o->ans);
	body_unref(o->body);
	free(o->name);
	free(o->version);
	free(o);
}

struct op *
object_op(struct object *o, size_t n)
{
	struct op *op;

	if (n <= o->driver->name_max)
		return &o->op;
	op = op_error(o->op.loop, ERR_UNSUPPORTED, 0, "%.60s...: an object name of %zu bytes, %s takes %zu", o->name, n, o->driver->store,
	    o->driver->name_max);
	op_free(&o->op);
	return op;
}

void
object_want(struct object *o, const char *etag)
{
	snprintf(o->etag, sizeof(o->etag), "%s", etag != NULL ? etag : "");
}

void
object_want_version(struct object *o, const char *version)
{
	o->version = xstrdup(version);
}

void
object_write(struct object *o, const struct snapshot *body, const struct put_condition *when, char ret_etag[ETAG_MAX])
{
	assert(body->body != NULL);
	o->body = body_ref(body->body);
	o->when = when->when;
	object_want(o, when->etag);
	o->ret_etag = ret_etag;
}

/* ---------------------------------------------------------------- ends */

enum op_turn
object_refused(struct object *o, const char *doing)
{
	char *what = xasprintf("%s %.120s", doing, o->name);

	o->driver->refuse(o, what, &o->op.res);
	free(what);
	return op_fail(&o->op);
}

enum op_turn
object_unreadable(struct object *o, const char *doing)
{
	if (o->driver->is_absent(o))
		return object_absent(o);
	object_refused(o, doing);
	if (o->op.err.code == ERR_NOT_FOUND && !o->b->common.create) /* with it, a place that is not there is an empty one */
		o->op.err.code = ERR_CONFIG;
	return OP_DONE;
}

enum op_turn
object_absent(struct object *o)
{
	err_set(&o->op.res, ERR_NOT_FOUND, 404, "%s %s has no %s%.120s", o->driver->place, o->where, o->version != NULL ? "such version of " : "",
	    o->name);
	return op_fail(&o->op);
}

enum op_turn
object_changed(struct object *o)
{
	int status = o->ans.http.status;

	if (status < 300)
		err_set(&o->op.res, ERR_CONFLICT, 412, "%s %s: %.120s was changed by somebody else", o->driver->place, o->where, o->name);
	else
		err_set(&o->op.res, ERR_CONFLICT, status, "%s %s: %.120s was changed by somebody else (%d%s%s)", o->driver->place, o->where,
		    o->name, status, SEND_CODE(&o->ans));
	return op_fail(&o->op);
}

enum op_turn
object_unchanged(struct object *o)
{
	err_set(&o->op.res, ERR_UNCHANGED, o->ans.http.status, "unchanged");
	return op_fail(&o->op);
}

/* ---------------------------------------------------------------- reading */

static void
object_restart(void *arg)
{
	struct object *o = arg;

	reader_free(o->reader);
	o->reader = reader_new();
	o->driver->sum_begin(o);
}

static enum err_code
object_piece(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct object *o = arg;

	if (o->driver->piece != NULL && o->driver->piece(o, reterr) != ERR_OK)
		return reterr->code;
	reader_feed(o->reader, p, n);
	o->driver->sum_add(o, p, n);
	return ERR_OK;
}

void
object_reads(struct object *o)
{
	o->req.max_body = o->b->common.max_state_size;
	o->req.max_body_name = "max_state_size";
	o->req.keep = o->req.spool = true;
	o->req.on_body = object_piece;
	o->req.restart = object_restart;
	o->req.arg = o;
}

uint64_t
object_length(const struct send_answer *a)
{
	const char *text = http_header_get(&a->http, "content-length");
	char       *end;
	uint64_t    n;

	if (text == NULL || *text < '0' || *text > '9')
		return UINT64_MAX;
	n = strtoull(text, &end, 10);
	return *end == '\0' ? n : UINT64_MAX;
}

int64_t
object_modified(const struct send_answer *a)
{
	const char *text = http_header_get(&a->http, "last-modified");
	int64_t     ms;

	return text != NULL && time_parse_http(text, &ms) ? ms : 0;
}

bool
object_is_object(struct object *o, bool tagged, struct err *reterr)
{
	if (tagged)
		return true;
	err_set(reterr, ERR_UNSUPPORTED, o->ans.http.status, "%s %s: %.120s: the answer is no object, it has no %s", o->driver->place, o->where,
	    o->name, o->driver->tag);
	err_hint(reterr, "%s", o->driver->hint);
	return false;
}

bool
object_is_whole(struct object *o, struct err *reterr)
{
	uint64_t length = object_length(&o->ans), got = reader_size(o->reader);

	if (length == UINT64_MAX || length == got)
		return true;
	err_set(reterr, ERR_NETWORK, 200, "%s %s: %.120s broke off after %llu of %llu bytes", o->driver->place, o->where, o->name,
	    (unsigned long long)got, (unsigned long long)length);
	return false;
}

void
object_read_end(struct object *o)
{
	reader_end(o->reader, o->ret);
	o->reader = NULL;
	o->ret->modified = object_modified(&o->ans);
	o->ret->body = o->ans.http.body != NULL ? body_ref(o->ans.http.body) : body_copy((struct span){ NULL, 0 });
}

enum op_turn
object_read_again(struct object *o, int state)
{
	if (o->op.res.code == ERR_UNSUPPORTED || o->again++ == OBJECT_READ_AGAIN)
		return op_fail(&o->op);
	return op_await(&o->op, state, op_sleep(o->op.loop, provider_backoff_ms(o->b, o->again, OBJECT_PAUSE_MS)));
}

/* ---------------------------------------------------------------- writing */

static enum err_code
object_sum_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct object *o = arg;
	uint8_t        piece[OBJECT_PIECE];
	uint64_t       off = 0;
	size_t         n;

	(void)job;
	o->driver->sum_begin(o);
	do {
		if (body_read(o->body, off, piece, sizeof(piece), &n, reterr) != ERR_OK)
			return reterr->code;
		o->driver->sum_add(o, piece, n);
		off += n;
	} while (n > 0);
	return ERR_OK;
}

struct op *
object_sum(struct object *o)
{
	return work_by_size(o->b->env->work, body_size(o->body), object_sum_job, o);
}

const char *
object_type(const struct object *o)
{
	return span_ends(span_str(o->name), ".zst") ? "application/zstd" : "application/json";
}
