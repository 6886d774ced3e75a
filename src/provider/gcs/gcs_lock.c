/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "gcs.h"

/*
 * Terraform's lock object, made by ifGenerationMatch=0 (docs/protocol/gcs.md, "The lock object"). Its generation is what terraform calls
 * the lock's ID; the ID inside its body tells whether it is ours. A refusal may be the answer to our own first try, so ids are compared
 * before anybody is said to hold it.
 */
#define GCS_LOCK_TRIES     4   /* the same body again after an unknown outcome */
#define GCS_LOCK_BOUNCED   6   /* again after 412 for a lock that is not there */
#define GCS_LOCK_PAUSE_MS  100
#define GCS_RETRY_PAUSE_MS 250

struct gcs_locking {
	struct op           op;
	struct gcs         *g;
	char               *name, *object;
	struct send_request req;
	struct send_answer  ans;
	struct lock_info   *ret, *ret_holder;
	struct lock_info    mine, there; /* there: as just read */
	struct body        *body;
	unsigned            tries, bounced;
	bool                doubt;       /* a request is out whose outcome is unknown */
};

static void
gcs_locking_free(struct op *op)
{
	struct gcs_locking *k = container_of(op, struct gcs_locking, op);

	send_request_free(&k->req);
	send_answer_free(&k->ans);
	body_unref(k->body);
	free(k->name);
	free(k->object);
	free(k);
}

static struct gcs_locking *
gcs_locking_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct gcs_locking *k = xcalloc(1, sizeof(*k));

	k->g = gcs_of(b);
	op_init(&k->op, class, k->g->env->loop);
	k->name = xstrdup(ref->name);
	k->object = gcs_lock_of(k->g, ref->name);
	return k;
}

static struct op *
gcs_locking_op(struct gcs_locking *k)
{
	struct op *op;
	size_t     n = strlen(k->object);

	if (n <= GCS_NAME_MAX)
		return &k->op;
	op = op_error(k->op.loop, ERR_UNSUPPORTED, 0, "%.60s...: the name of its lock has %zu bytes, Cloud Storage takes %d", k->name, n,
	    GCS_NAME_MAX);
	op_free(&k->op);
	return op;
}

static struct op *
gcs_locking_read(struct gcs_locking *k)
{
	gcs_to_object(k->g, &k->req, "GET", k->object);
	gcs_query(&k->req, "alt", "media");
	k->req.max_body = LOCK_BODY_MAX;
	return gcs_send(k->g, &k->req, &k->ans);
}

/* Of a 200: who holds it, under the ID that terraform shows; only of our fleet's locks the body's own is kept. A body that is no lock
 * locks too. false: that was no object. */
static bool
gcs_locking_parse(struct gcs_locking *k)
{
	const char *generation = http_header_get(&k->ans.http, "x-goog-generation");
	struct span body = { NULL, 0 };

	if (generation == NULL || strlen(generation) >= sizeof(k->there.generation))
		return false;
	if (k->ans.http.body != NULL)
		body = body_span(k->ans.http.body);
	if (lock_info_parse(body, &k->there, NULL) != ERR_OK)
		snprintf(k->there.who, sizeof(k->there.who), "a lock object that cannot be read");
	snprintf(k->there.generation, sizeof(k->there.generation), "%s", generation);
	if (!lock_info_is_ours(&k->there))
		snprintf(k->there.id, sizeof(k->there.id), "%s", generation);
	return true;
}

static enum op_turn
gcs_locking_refused(struct gcs_locking *k, const char *doing)
{
	char *what = xasprintf("%s %.120s", doing, k->object);

	gcs_refused(k->g, &k->req, &k->ans, what, &k->op.res);
	if (k->op.res.code == ERR_NOT_FOUND) /* the bucket, not the lock */
		k->op.res.code = ERR_CONFIG;
	free(what);
	return op_fail(&k->op);
}

static enum op_turn
gcs_locking_odd(struct gcs_locking *k)
{
	err_set(&k->op.res, ERR_UNSUPPORTED, 200, "bucket %s: %.120s: the answer is no object, it has no generation", k->g->conf->bucket,
	    k->object);
	err_hint(&k->op.res, GCS_OTHER_HINT);
	return op_fail(&k->op);
}

/* ---------------------------------------------------------------- lock */

enum gcs_lock_state { LOCK_PUT, LOCK_ANSWERED, LOCK_LOOK, LOCK_LOOKED };

static const char *const gcs_lock_states[] = { "put", "answered", "look", "looked" };

/* Never under the states' keys: terraform would not find it. */
static struct op *
gcs_lock_send(struct gcs_locking *k)
{
	gcs_to_upload(k->g, &k->req, k->object, "application/json", k->body);
	gcs_query(&k->req, "ifGenerationMatch", "0");
	return gcs_send(k->g, &k->req, &k->ans);
}

/* With a request of ours out there, no later failure says that we do not hold it. */
static enum op_turn
gcs_lock_failed(struct gcs_locking *k)
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
gcs_lock_held(struct gcs_locking *k, const char *generation)
{
	snprintf(k->ret->generation, sizeof(k->ret->generation), "%s", generation);
	k->ret->late = k->doubt;
	return op_ok(&k->op);
}

static enum op_turn
gcs_lock_taken(struct gcs_locking *k)
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
gcs_lock_answered(struct gcs_locking *k)
{
	struct op *op = &k->op;
	char       generation[sizeof(k->ret->generation)];

	if (op_failed(op)) {
		k->doubt |= op->res.code == ERR_UNCERTAIN;
		if (!k->doubt || op->cancelled || op->res.code == ERR_BUSY)
			return gcs_lock_failed(k);
		if (++k->tries < GCS_LOCK_TRIES)
			return op_await(op, LOCK_PUT, op_sleep(op->loop, provider_backoff_ms(&k->g->b, k->tries, GCS_RETRY_PAUSE_MS)));
		return op_go(op, LOCK_LOOK);
	}
	if (k->ans.http.status == 200 && gcs_member(&k->ans, "generation", generation, sizeof(generation)))
		return gcs_lock_held(k, generation);
	if (k->ans.http.status == 412 || k->ans.http.status == 200)
		return op_go(op, LOCK_LOOK);
	gcs_locking_refused(k, "writing");
	op->err = (struct err){ .code = ERR_OK };
	return gcs_lock_failed(k);
}

static enum op_turn
gcs_lock_looked(struct gcs_locking *k)
{
	struct op *op = &k->op;

	if (op->res.code == ERR_UNSUPPORTED) { /* larger than any lock */
		snprintf(k->there.who, sizeof(k->there.who), "an object that is no lock");
		return gcs_lock_taken(k);
	}
	if (op_failed(op))
		return gcs_lock_failed(k);
	if (k->ans.http.status == 200 && gcs_locking_parse(k))
		return strcmp(k->there.id, k->mine.id) == 0 ? gcs_lock_held(k, k->there.generation) : gcs_lock_taken(k);
	if (k->ans.http.status == 200)
		return gcs_locking_odd(k);
	if (!gcs_no_such_object(&k->ans)) {
		gcs_locking_refused(k, "reading");
		op->err = (struct err){ .code = ERR_OK };
		return gcs_lock_failed(k);
	}
	if (k->tries < GCS_LOCK_TRIES && k->bounced++ < GCS_LOCK_BOUNCED) /* released in between */
		return op_await(op, LOCK_PUT, op_sleep(op->loop, provider_backoff_ms(&k->g->b, 1, GCS_LOCK_PAUSE_MS)));
	err_set(&op->res, k->doubt ? ERR_UNCERTAIN : ERR_BUSY, 0, "bucket %s: %.80s could not be made in %u tries", k->g->conf->bucket, k->object,
	    k->tries + k->bounced);
	return op_fail(op);
}

static enum op_turn
gcs_lock_step(struct op *op)
{
	struct gcs_locking *k = container_of(op, struct gcs_locking, op);

	switch ((enum gcs_lock_state)op->state) {
	case LOCK_PUT:
		if (op_failed(op))
			return gcs_lock_failed(k);
		return op_await(op, LOCK_ANSWERED, gcs_lock_send(k));
	case LOCK_ANSWERED:
		return gcs_lock_answered(k);
	case LOCK_LOOK:
		return op_await(op, LOCK_LOOKED, gcs_locking_read(k));
	case LOCK_LOOKED:
		return gcs_lock_looked(k);
	}
	return OP_DONE;
}

static const struct op_class gcs_lock_class = { "gcs lock", gcs_lock_step, NULL, gcs_locking_free, gcs_lock_states,
	ARRAY_LEN(gcs_lock_states) };

struct op *
gcs_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct gcs_locking *k = gcs_locking_new(b, &gcs_lock_class, ref);
	struct buf          text;

	k->mine = *l;
	k->ret = l;
	k->ret_holder = ret_holder;
	buf_init(&text, LOCK_BODY_MAX);
	lock_info_body(l, &text);
	k->body = body_new(&text);
	return gcs_locking_op(k);
}

/* ---------------------------------------------------------------- unlock: read, compare, delete that generation */

enum gcs_unlock_state { UNLOCK_LOOK, UNLOCK_LOOKED, UNLOCK_DELETED };

static const char *const gcs_unlock_states[] = { "look", "looked", "deleted" };

/* Whatever came of it: the next look tells. */
static enum op_turn
gcs_unlock_again(struct gcs_locking *k)
{
	int64_t pause = provider_backoff_ms(&k->g->b, k->tries, GCS_RETRY_PAUSE_MS);

	if (k->op.res.code == ERR_BUSY && k->op.res.retry_after_ms > pause)
		pause = k->op.res.retry_after_ms;
	if (k->op.res.code == ERR_CANCELLED || ++k->tries >= GCS_LOCK_TRIES || pause > k->g->b.common.timeout_ms)
		return op_failed(&k->op) ? gcs_lock_failed(k) : gcs_locking_refused(k, "deleting");
	return op_await(&k->op, UNLOCK_LOOK, op_sleep(k->op.loop, pause));
}

/* A person may name it by the generation, as terraform does. */
static bool
gcs_unlock_is_meant(const struct gcs_locking *k)
{
	return strcmp(k->there.id, k->mine.id) == 0 || strcmp(k->there.generation, k->mine.id) == 0;
}

static enum op_turn
gcs_unlock_step(struct op *op)
{
	struct gcs_locking *k = container_of(op, struct gcs_locking, op);

	switch ((enum gcs_unlock_state)op->state) {
	case UNLOCK_LOOK:
		if (op_failed(op))
			return gcs_lock_failed(k);
		return op_await(op, UNLOCK_LOOKED, gcs_locking_read(k));
	case UNLOCK_LOOKED:
		if (op->res.code == ERR_UNSUPPORTED) /* larger than any lock: not ours */
			return op_ok(op);
		if (op_failed(op))
			return gcs_lock_failed(k);
		if (gcs_no_such_object(&k->ans))
			return op_ok(op);
		if (k->ans.http.status != 200)
			return gcs_locking_refused(k, "reading");
		if (!gcs_locking_parse(k))
			return gcs_locking_odd(k);
		if (!gcs_unlock_is_meant(k))
			return op_ok(op);
		gcs_to_object(k->g, &k->req, "DELETE", k->object);
		gcs_query(&k->req, "ifGenerationMatch", k->there.generation);
		return op_await(op, UNLOCK_DELETED, gcs_send(k->g, &k->req, &k->ans));
	case UNLOCK_DELETED:
		k->doubt |= op->res.code == ERR_UNCERTAIN;
		if (op_failed(op) || k->ans.http.status == 412)
			return gcs_unlock_again(k);
		return k->ans.http.status / 100 == 2 || gcs_no_such_object(&k->ans) ? op_ok(op) : gcs_locking_refused(k, "deleting");
	}
	return OP_DONE;
}

static const struct op_class gcs_unlock_class = { "gcs unlock", gcs_unlock_step, NULL, gcs_locking_free, gcs_unlock_states,
	ARRAY_LEN(gcs_unlock_states) };

struct op *
gcs_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	struct gcs_locking *k = gcs_locking_new(b, &gcs_unlock_class, ref);

	k->mine = *l;
	return gcs_locking_op(k);
}

/* ---------------------------------------------------------------- peek */

enum gcs_peek_state { PEEK_START, PEEK_ANSWERED };

static const char *const gcs_peek_states[] = { "start", "answered" };

static enum op_turn
gcs_peek_step(struct op *op)
{
	struct gcs_locking *k = container_of(op, struct gcs_locking, op);

	switch ((enum gcs_peek_state)op->state) {
	case PEEK_START:
		return op_await(op, PEEK_ANSWERED, gcs_locking_read(k));
	case PEEK_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (gcs_no_such_object(&k->ans)) {
			err_set(&op->res, ERR_NOT_FOUND, 404, "%.120s is not locked", k->name);
			return op_fail(op);
		}
		if (k->ans.http.status != 200)
			return gcs_locking_refused(k, "reading");
		if (!gcs_locking_parse(k))
			return gcs_locking_odd(k);
		*k->ret = k->there;
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class gcs_peek_class = { "gcs peek", gcs_peek_step, NULL, gcs_locking_free, gcs_peek_states,
	ARRAY_LEN(gcs_peek_states) };

struct op *
gcs_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct gcs_locking *k = gcs_locking_new(b, &gcs_peek_class, ref);

	k->ret = ret;
	return gcs_locking_op(k);
}
