/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "s3.h"

/*
 * Terraform's lock object, KEY.tflock, made by a conditional write (docs/protocol/s3.md, "The lock object"). A refusal may be
 * the answer to our own first try, so ids are compared before anybody is said to hold it.
 */
#define S3_LOCK_TRIES     4    /* the same body again after an unknown outcome */
#define S3_LOCK_RACED     4    /* again after 409 */
#define S3_LOCK_BOUNCED   6    /* again after 412 for a lock that is not there */
#define S3_LOCK_BUSY      3    /* again after SlowDown */
#define S3_LOCK_PAUSE_MS  50   /* 50 to 200 ms between tries that meet others */
#define S3_UNLOCK_TRIES   4
#define S3_RETRY_PAUSE_MS 250

struct s3_locking {
	struct op           op;
	struct s3          *s;
	char               *name, *lock_name;
	struct send_request req;
	struct send_answer  ans;
	struct lock_info   *ret;         /* lock: ours, its generation is filled; peek: the holder */
	struct lock_info   *ret_holder;
	struct lock_info    mine, there; /* there: as just read */
	struct body        *body;
	struct digest       digest;
	char                etag[ETAG_MAX];
	unsigned            tries, raced, bounced, busy;
	bool                doubt;       /* a request is out whose outcome is unknown */
	bool                marker;      /* a delete marker was seen in the lock's place */
	bool                plain;       /* DELETE without a precondition */
};

static void
s3_locking_free(struct op *op)
{
	struct s3_locking *k = container_of(op, struct s3_locking, op);

	send_request_free(&k->req);
	send_answer_free(&k->ans);
	body_unref(k->body);
	free(k->name);
	free(k->lock_name);
	free(k);
}

static struct s3_locking *
s3_locking_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct s3_locking *k = xcalloc(1, sizeof(*k));

	k->s = s3_of(b);
	op_init(&k->op, class, k->s->env->loop);
	k->name = xstrdup(ref->name);
	k->lock_name = xasprintf("%s%s", ref->name, S3_LOCK_SUFFIX);
	return k;
}

static struct op *
s3_locking_op(struct s3_locking *k)
{
	size_t     n = strlen(k->s->b.common.prefix) + strlen(k->lock_name);
	struct op *op;

	if (n <= S3_KEY_MAX)
		return &k->op;
	op = op_error(k->op.loop, ERR_UNSUPPORTED, 0, "%.60s...: the key of its lock has %zu bytes, S3 takes %d", k->name, n,
	    S3_KEY_MAX);
	op_free(&k->op);
	return op;
}

static void
s3_locking_request(struct s3_locking *k, const char *method)
{
	send_request_free(&k->req);
	k->req.method = method;
	k->req.object = s3_key_of(k->s, k->lock_name);
}

static struct op *
s3_locking_read(struct s3_locking *k)
{
	s3_locking_request(k, "GET");
	k->req.max_body = LOCK_BODY_MAX;
	s3_request_sse_read(k->s, &k->req);
	return s3_send(k->s, &k->req, &k->ans);
}

/* Of a 200: who holds it. A body that is no lock locks too, as terraform sees it. */
static void
s3_locking_parse(struct s3_locking *k)
{
	struct span body = { NULL, 0 };

	if (k->ans.http.body != NULL)
		body = body_span(k->ans.http.body);
	if (lock_info_parse(body, &k->there, NULL) != ERR_OK)
		snprintf(k->there.who, sizeof(k->there.who), "a lock object that cannot be read");
	s3_etag(http_header_get(&k->ans.http, "etag"), k->there.generation);
}

static bool
s3_locking_absent(struct s3_locking *k)
{
	const char *marker = http_header_get(&k->ans.http, "x-amz-delete-marker");

	if (!s3_no_such_object(&k->req, &k->ans))
		return false;
	k->marker |= marker != NULL && strcmp(marker, "true") == 0;
	return true;
}

static enum op_turn
s3_locking_refused(struct s3_locking *k, const char *doing)
{
	char *what = xasprintf("%s %.120s", doing, k->lock_name);

	s3_refused(k->s, &k->req, &k->ans, what, &k->op.res);
	free(what);
	return op_fail(&k->op);
}

static enum op_turn
s3_locking_pause(struct s3_locking *k, int next)
{
	int64_t ms = S3_LOCK_PAUSE_MS + (int64_t)rand_below(loop_rand(k->op.loop), 3 * S3_LOCK_PAUSE_MS + 1);

	return op_await(&k->op, next, op_sleep(k->op.loop, ms));
}

/* ---------------------------------------------------------------- lock */

enum s3_lock_state { LOCK_PUT, LOCK_ANSWERED, LOCK_LOOK, LOCK_LOOKED };

static const char *const s3_lock_states[] = { "put", "answered", "look", "looked" };

static struct op *
s3_lock_send(struct s3_locking *k)
{
	s3_locking_request(k, "PUT");
	s3_request_write(k->s, &k->req, "application/json", k->body, &k->digest);
	send_header(&k->req, "if-none-match", "*");
	return s3_send(k->s, &k->req, &k->ans);
}

/* With a request of ours out there, no later failure says that we do not hold it. */
static enum op_turn
s3_lock_failed(struct s3_locking *k)
{
	struct err why = k->op.res;

	if (k->doubt && why.code != ERR_UNCERTAIN) {
		err_set(&k->op.res, ERR_UNCERTAIN, why.detail, "%s; what became of the lock of %.60s is unknown", why.msg, k->name);
		if (why.hint[0] != '\0')
			err_hint(&k->op.res, "%s", why.hint);
	}
	return op_fail(&k->op);
}

static enum op_turn
s3_lock_held(struct s3_locking *k, const char *etag)
{
	snprintf(k->ret->generation, sizeof(k->ret->generation), "%s", etag);
	k->ret->late = k->doubt;
	return op_ok(&k->op);
}

static enum op_turn
s3_lock_taken(struct s3_locking *k)
{
	struct buf text;

	buf_init(&text, 0);
	*k->ret_holder = k->there;
	k->ret->late = k->doubt;
	lock_info_print(&k->there, &text);
	err_set(&k->op.res, ERR_LOCKED, k->ans.http.status, "%.80s is locked by %s", k->name, buf_str(&text));
	buf_free(&text);
	return op_fail(&k->op);
}

static enum op_turn
s3_lock_trap(struct s3_locking *k)
{
	err_set(&k->op.res, ERR_UNSUPPORTED, 412, "bucket %s: %.80s exists (412) and does not exist (404): this store counts a delete "
	    "marker as an object", k->s->conf->bucket, k->lock_name);
	err_hint(&k->op.res, "%suse_lockfile cannot work with its versioning: turn it off, or remove the marker of that object",
	    k->marker ? "" : "if no other agent locks and unlocks it all the time: ");
	return op_fail(&k->op);
}

/* No answer, or none that says what happened. */
static enum op_turn
s3_lock_unknown(struct s3_locking *k)
{
	struct op *op = &k->op;
	int64_t    pause = provider_backoff_ms(&k->s->b, k->tries, S3_RETRY_PAUSE_MS);

	if (op->res.code == ERR_BUSY && k->busy++ < S3_LOCK_BUSY) {
		if (op->res.retry_after_ms > pause)
			pause = op->res.retry_after_ms;
		if (pause <= k->s->b.common.timeout_ms)
			return op_await(op, LOCK_PUT, op_sleep(op->loop, pause));
	}
	k->doubt |= op->res.code == ERR_UNCERTAIN;
	if (!k->doubt || op->cancelled || op->res.code == ERR_BUSY)
		return s3_lock_failed(k);
	if (++k->tries < S3_LOCK_TRIES)
		return op_await(op, LOCK_PUT, op_sleep(op->loop, pause));
	return op_go(op, LOCK_LOOK);
}

static enum op_turn
s3_lock_answered(struct s3_locking *k)
{
	char etag[ETAG_MAX];

	if (op_failed(&k->op))
		return s3_lock_unknown(k);
	if (k->ans.http.status / 100 == 2) {
		s3_etag(http_header_get(&k->ans.http, "etag"), etag);
		return s3_lock_held(k, etag);
	}
	if (s3_raced(&k->ans) && k->raced++ < S3_LOCK_RACED)
		return s3_locking_pause(k, LOCK_PUT);
	if (s3_precondition_failed(&k->ans) || s3_raced(&k->ans))
		return op_go(&k->op, LOCK_LOOK);
	s3_locking_refused(k, "writing");
	k->op.err = (struct err){ .code = ERR_OK };
	return s3_lock_failed(k);
}

static enum op_turn
s3_lock_looked(struct s3_locking *k)
{
	struct op *op = &k->op;

	if (op->res.code == ERR_UNSUPPORTED) { /* larger than any lock */
		snprintf(k->there.who, sizeof(k->there.who), "an object that is no lock");
		return s3_lock_taken(k);
	}
	if (op_failed(op))
		return s3_lock_failed(k);
	if (k->ans.http.status == 200) {
		s3_locking_parse(k);
		return strcmp(k->there.id, k->mine.id) == 0 ? s3_lock_held(k, k->there.generation) : s3_lock_taken(k);
	}
	if (!s3_locking_absent(k)) {
		s3_locking_refused(k, "reading");
		op->err = (struct err){ .code = ERR_OK };
		return s3_lock_failed(k);
	}
	if (k->tries >= S3_LOCK_TRIES) { /* it may still arrive */
		err_set(&op->res, ERR_UNCERTAIN, 0, "bucket %s: no answer to %u tries to lock %.80s", k->s->conf->bucket, k->tries,
		    k->name);
		return op_fail(op);
	}
	return k->bounced++ < S3_LOCK_BOUNCED ? s3_locking_pause(k, LOCK_PUT) : s3_lock_trap(k);
}

static enum op_turn
s3_lock_step(struct op *op)
{
	struct s3_locking *k = container_of(op, struct s3_locking, op);

	switch ((enum s3_lock_state)op->state) {
	case LOCK_PUT:
		if (op_failed(op))
			return s3_lock_failed(k);
		return op_await(op, LOCK_ANSWERED, s3_lock_send(k));
	case LOCK_ANSWERED:
		return s3_lock_answered(k);
	case LOCK_LOOK:
		return op_await(op, LOCK_LOOKED, s3_locking_read(k));
	case LOCK_LOOKED:
		return s3_lock_looked(k);
	}
	return OP_DONE;
}

static const struct op_class s3_lock_class = { "s3 lock", s3_lock_step, NULL, s3_locking_free, s3_lock_states,
	ARRAY_LEN(s3_lock_states) };

struct op *
s3_object_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct s3_locking *k = s3_locking_new(b, &s3_lock_class, ref);
	struct buf         text;

	k->mine = *l;
	k->ret = l;
	k->ret_holder = ret_holder;
	buf_init(&text, LOCK_BODY_MAX);
	lock_info_body(l, &text);
	sha256_of(text.data, text.len, &k->digest);
	k->body = body_new(&text);
	return s3_locking_op(k);
}

/* ---------------------------------------------------------------- unlock: read, compare, delete */

enum s3_unlock_state { UNLOCK_LOOK, UNLOCK_LOOKED, UNLOCK_DELETE, UNLOCK_DELETED };

static const char *const s3_unlock_states[] = { "look", "looked", "delete", "deleted" };

static struct op *
s3_unlock_send(struct s3_locking *k)
{
	char *tag;

	s3_locking_request(k, "DELETE");
	k->req.changing = true;
	if (!k->plain && k->there.generation[0] != '\0') {
		tag = s3_etag_quoted(k->there.generation);
		send_header(&k->req, "if-match", "%s", tag);
		free(tag);
	}
	return s3_send(k->s, &k->req, &k->ans);
}

/* Whatever came of it: the next look tells. */
static enum op_turn
s3_unlock_again(struct s3_locking *k)
{
	int64_t pause = provider_backoff_ms(&k->s->b, k->tries, S3_RETRY_PAUSE_MS);

	if (k->op.res.code == ERR_BUSY && k->op.res.retry_after_ms > pause)
		pause = k->op.res.retry_after_ms;
	if (k->op.res.code == ERR_CANCELLED || ++k->tries >= S3_UNLOCK_TRIES || pause > k->s->b.common.timeout_ms)
		return op_failed(&k->op) ? s3_lock_failed(k) : s3_locking_refused(k, "deleting");
	return op_await(&k->op, UNLOCK_LOOK, op_sleep(k->op.loop, pause));
}

static enum op_turn
s3_unlock_deleted(struct s3_locking *k)
{
	struct op *op = &k->op;

	k->doubt |= op->res.code == ERR_UNCERTAIN;
	if (op_failed(op))
		return s3_unlock_again(k);
	if (k->ans.http.status / 100 == 2 || s3_locking_absent(k))
		return op_ok(op);
	if (s3_no_conditions(&k->ans) && !k->plain) {
		k->plain = true;
		return op_go(op, UNLOCK_DELETE);
	}
	if (s3_precondition_failed(&k->ans) || s3_raced(&k->ans))
		return s3_unlock_again(k);
	return s3_locking_refused(k, "deleting");
}

static enum op_turn
s3_unlock_step(struct op *op)
{
	struct s3_locking *k = container_of(op, struct s3_locking, op);

	switch ((enum s3_unlock_state)op->state) {
	case UNLOCK_LOOK:
		if (op_failed(op))
			return s3_lock_failed(k);
		return op_await(op, UNLOCK_LOOKED, s3_locking_read(k));
	case UNLOCK_LOOKED:
		if (op->res.code == ERR_UNSUPPORTED) /* larger than any lock: not ours */
			return op_ok(op);
		if (op_failed(op))
			return s3_lock_failed(k);
		if (s3_locking_absent(k))
			return op_ok(op);
		if (k->ans.http.status != 200)
			return s3_locking_refused(k, "reading");
		s3_locking_parse(k);
		if (strcmp(k->there.id, k->mine.id) != 0)
			return op_ok(op);
		__attribute__((fallthrough));
	case UNLOCK_DELETE:
		return op_await(op, UNLOCK_DELETED, s3_unlock_send(k));
	case UNLOCK_DELETED:
		return s3_unlock_deleted(k);
	}
	return OP_DONE;
}

static const struct op_class s3_unlock_class = { "s3 unlock", s3_unlock_step, NULL, s3_locking_free, s3_unlock_states,
	ARRAY_LEN(s3_unlock_states) };

struct op *
s3_object_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	struct s3_locking *k = s3_locking_new(b, &s3_unlock_class, ref);

	k->mine = *l;
	return s3_locking_op(k);
}

/* ---------------------------------------------------------------- peek */

enum s3_peek_state { PEEK_START, PEEK_ANSWERED };

static const char *const s3_peek_states[] = { "start", "answered" };

static enum op_turn
s3_peek_step(struct op *op)
{
	struct s3_locking *k = container_of(op, struct s3_locking, op);

	switch ((enum s3_peek_state)op->state) {
	case PEEK_START:
		return op_await(op, PEEK_ANSWERED, s3_locking_read(k));
	case PEEK_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (s3_locking_absent(k)) {
			err_set(&op->res, ERR_NOT_FOUND, 404, "%.120s is not locked", k->name);
			return op_fail(op);
		}
		if (k->ans.http.status != 200) {
			s3_locking_refused(k, "reading");
			if (op->err.code == ERR_NOT_FOUND) /* the bucket, not the lock */
				op->err.code = ERR_CONFIG;
			return OP_DONE;
		}
		s3_locking_parse(k);
		*k->ret = k->there;
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class s3_peek_class = { "s3 peek", s3_peek_step, NULL, s3_locking_free, s3_peek_states,
	ARRAY_LEN(s3_peek_states) };

struct op *
s3_object_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct s3_locking *k = s3_locking_new(b, &s3_peek_class, ref);

	k->ret = ret;
	return s3_locking_op(k);
}
