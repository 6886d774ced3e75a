/* SPDX-License-Identifier: MIT */
#include "lock_object.h"

#include <stdio.h>
#include <stdlib.h>

#define LOCK_TRIES    4   /* the same body again after an unknown outcome */
#define LOCK_RACED    4   /* again after another write in the act */
#define LOCK_BOUNCED  6   /* again after a refusal for a lock that is not there */
#define LOCK_BUSY     3   /* again when refused for the load */
#define LOCK_PAUSE_MS 50  /* 50 to 200 ms between tries that meet others */
#define LOCK_RETRY_MS 250 /* between other tries, doubled */

static struct op *
lock_object_ask(struct lock_object *k, enum lock_object_request what)
{
	k->asked = what;
	return k->driver->request(k);
}

void
lock_object_read(struct lock_object *k, struct span body)
{
	k->unread = lock_info_parse(body, &k->there, NULL) != ERR_OK;
	if (!k->unread)
		return;
	snprintf(k->there.who, sizeof(k->there.who), "a lock that cannot be read");
	k->there.unnamed = true;
}

void
lock_object_name(struct lock_object *k, const char *tag)
{
	if (k->there.id[0] == '\0')
		snprintf(k->there.id, sizeof(k->there.id), "%s", tag);
}

/* A person may name it by its generation, where terraform does. */
static bool
lock_object_is_mine(const struct lock_object *k)
{
	return strcmp(k->there.id, k->mine.id) == 0 || strcmp(k->there.generation, k->mine.id) == 0;
}

/* With a request of ours out there, no later failure says that we do not hold it; nor where a refusal met a lock that may be that of the
 * same request, delivered twice. */
static enum op_turn
lock_object_failed(struct lock_object *k)
{
	struct err why = k->op.res;

	if ((k->doubt || k->met) && why.code != ERR_UNCERTAIN) {
		err_set(&k->op.res, ERR_UNCERTAIN, why.detail, "%s; what became of the lock of %.60s is unknown", why.msg, k->name);
		if (why.hint[0] != '\0')
			err_hint(&k->op.res, "%s", why.hint);
	}
	return op_fail(&k->op);
}

static enum op_turn
lock_object_refused(struct lock_object *k)
{
	static const char *const doing[] = { "writing", "reading", "deleting" };
	char                    *what = xasprintf("%s %.120s", doing[k->asked], k->object);

	k->driver->refused(k, what, &k->op.res);
	if (k->op.res.code == ERR_NOT_FOUND) /* the bucket, not the lock */
		k->op.res.code = ERR_CONFIG;
	free(what);
	return lock_object_failed(k);
}

static enum op_turn
lock_object_pause(struct lock_object *k, int next)
{
	int64_t ms = LOCK_PAUSE_MS + (int64_t)rand_below(loop_rand(k->op.loop), 3 * LOCK_PAUSE_MS + 1);

	return op_await(&k->op, next, op_sleep(k->op.loop, ms));
}

/* Before another try after a failure; or what the remote asks for, when it does. */
static int64_t
lock_object_wait_ms(const struct lock_object *k)
{
	int64_t ms = provider_backoff_ms(k->b, k->tries, LOCK_RETRY_MS);

	return k->op.res.code == ERR_BUSY && k->op.res.retry_after_ms > ms ? k->op.res.retry_after_ms : ms;
}

/* ---------------------------------------------------------------- lock */

enum lock_state { LOCK_START, LOCK_ANSWERED, LOCK_LOOK, LOCK_LOOKED };

static const char *const lock_states[] = { "put", "answered", "look", "looked" };

static enum op_turn
lock_object_held(struct lock_object *k)
{
	if (k->there.generation[0] != '\0') /* a row has none: that of the object beside it stays */
		memcpy(k->ret->generation, k->there.generation, sizeof(k->ret->generation));
	k->ret->late = k->doubt;
	if (k->driver->held != NULL)
		k->driver->held(k, true);
	return op_ok(&k->op);
}

/* There is one. */
static enum op_turn
lock_object_taken(struct lock_object *k)
{
	if (lock_object_is_mine(k))
		return lock_object_held(k);
	*k->ret_holder = k->there;
	k->ret->late = k->doubt;
	lock_info_refuse(&k->there, ERR_LOCKED, 0, k->name, &k->op.res);
	return op_fail(&k->op);
}

/* No answer, or none that says what happened. */
static enum op_turn
lock_object_unknown(struct lock_object *k)
{
	struct op *op = &k->op;
	int64_t    ms = lock_object_wait_ms(k);

	if (op->res.code == ERR_BUSY && k->busy++ < LOCK_BUSY && ms <= k->b->common.timeout_ms)
		return op_await(op, LOCK_START, op_sleep(op->loop, ms));
	k->doubt |= op->res.code == ERR_UNCERTAIN;
	if (!k->doubt || op->cancelled || op->res.code == ERR_BUSY)
		return lock_object_failed(k);
	if (++k->tries < LOCK_TRIES)
		return op_await(op, LOCK_START, op_sleep(op->loop, ms));
	return op_go(op, LOCK_LOOK);
}

static enum op_turn
lock_object_answered(struct lock_object *k)
{
	enum lock_object_answer a = k->driver->answer(k);

	switch (a) {
	case LOCK_OBJECT_DONE:
		return lock_object_held(k);
	case LOCK_OBJECT_THERE:
		return lock_object_taken(k);
	case LOCK_OBJECT_RACED:
	case LOCK_OBJECT_UNMET:
		if (a == LOCK_OBJECT_RACED && k->raced++ < LOCK_RACED)
			return lock_object_pause(k, LOCK_START);
		k->met = true;
		return op_go(&k->op, LOCK_LOOK);
	default:
		return lock_object_refused(k);
	}
}

static enum op_turn
lock_object_looked(struct lock_object *k)
{
	struct op *op = &k->op;

	switch (k->driver->answer(k)) {
	case LOCK_OBJECT_THERE:
		return lock_object_taken(k);
	case LOCK_OBJECT_ABSENT:
		k->met = false;
		break;
	default:
		return lock_object_refused(k);
	}
	if (k->tries >= LOCK_TRIES) { /* it may still arrive */
		err_set(&op->res, ERR_UNCERTAIN, 0, "no answer to %u tries to write %.120s", k->tries, k->object);
		return op_fail(op);
	}
	if (k->bounced++ < LOCK_BOUNCED) /* released in between */
		return lock_object_pause(k, LOCK_START);
	k->driver->vanishing(k, &op->res);
	return lock_object_failed(k);
}

static enum op_turn
lock_object_lock_step(struct op *op)
{
	struct lock_object *k = container_of(op, struct lock_object, op);

	switch ((enum lock_state)op->state) {
	case LOCK_START:
		if (op_failed(op)) /* cancelled in a pause between two tries */
			return lock_object_failed(k);
		return op_await(op, LOCK_ANSWERED, lock_object_ask(k, LOCK_OBJECT_PUT));
	case LOCK_ANSWERED:
		return op_failed(op) ? lock_object_unknown(k) : lock_object_answered(k);
	case LOCK_LOOK:
		return op_await(op, LOCK_LOOKED, lock_object_ask(k, LOCK_OBJECT_READ));
	case LOCK_LOOKED:
		if (op->res.code == ERR_UNSUPPORTED) { /* larger than any lock */
			k->there = (struct lock_info){ .who = "an object that is no lock" };
			return lock_object_taken(k);
		}
		return op_failed(op) ? lock_object_failed(k) : lock_object_looked(k);
	}
	return OP_DONE;
}

/* ---------------------------------------------------------------- unlock: read, compare, remove that one */

enum unlock_state { UNLOCK_START, UNLOCK_LOOK, UNLOCK_LOOKED, UNLOCK_REMOVE, UNLOCK_REMOVED };

static const char *const unlock_states[] = { "start", "look", "looked", "delete", "deleted" };

static enum op_turn
lock_object_gone(struct lock_object *k)
{
	if (k->driver->held != NULL)
		k->driver->held(k, false);
	return op_ok(&k->op);
}

/* Whatever came of it: the next look tells. */
static enum op_turn
lock_object_unlock_again(struct lock_object *k)
{
	int64_t ms = lock_object_wait_ms(k);

	if (k->op.res.code == ERR_CANCELLED || ++k->tries >= LOCK_TRIES || ms > k->b->common.timeout_ms)
		return op_failed(&k->op) ? lock_object_failed(k) : lock_object_refused(k);
	return op_await(&k->op, UNLOCK_LOOK, op_sleep(k->op.loop, ms));
}

/* What cannot be read may be ours, behind a page that a proxy put in its place: nothing is over. */
static enum op_turn
lock_object_met(struct lock_object *k)
{
	if (lock_object_is_mine(k))
		return op_go(&k->op, UNLOCK_REMOVE);
	if (!k->unread)
		return lock_object_gone(k);
	err_set(&k->op.res, ERR_UNCERTAIN, 0, "the lock of %.120s cannot be read: %.120s is no lock of terraform's", k->name, k->object);
	return lock_object_unlock_again(k);
}

static enum op_turn
lock_object_removed(struct lock_object *k)
{
	k->doubt |= k->op.res.code == ERR_UNCERTAIN;
	if (op_failed(&k->op))
		return lock_object_unlock_again(k);
	switch (k->driver->answer(k)) {
	case LOCK_OBJECT_DONE:
	case LOCK_OBJECT_ABSENT:
		return lock_object_gone(k);
	case LOCK_OBJECT_UNMET:
	case LOCK_OBJECT_RACED:
		return lock_object_unlock_again(k);
	case LOCK_OBJECT_AGAIN:
		return op_go(&k->op, UNLOCK_REMOVE);
	default:
		return lock_object_refused(k);
	}
}

static enum op_turn
lock_object_unlock_step(struct op *op)
{
	struct lock_object *k = container_of(op, struct lock_object, op);

	switch ((enum unlock_state)op->state) {
	case UNLOCK_START:
		return op_go(op, k->driver->compares ? UNLOCK_REMOVE : UNLOCK_LOOK);
	case UNLOCK_LOOK:
		if (op_failed(op)) /* cancelled in a pause between two tries */
			return lock_object_failed(k);
		return op_await(op, UNLOCK_LOOKED, lock_object_ask(k, LOCK_OBJECT_READ));
	case UNLOCK_LOOKED:
		if (op_failed(op))
			return lock_object_failed(k);
		switch (k->driver->answer(k)) {
		case LOCK_OBJECT_THERE:
			return lock_object_met(k);
		case LOCK_OBJECT_ABSENT:
			return lock_object_gone(k);
		default:
			return lock_object_refused(k);
		}
	case UNLOCK_REMOVE:
		return op_await(op, UNLOCK_REMOVED, lock_object_ask(k, LOCK_OBJECT_REMOVE));
	case UNLOCK_REMOVED:
		return lock_object_removed(k);
	}
	return OP_DONE;
}

/* ---------------------------------------------------------------- peek */

enum peek_state { PEEK_START, PEEK_LOOKED };

static const char *const peek_states[] = { "start", "looked" };

static enum op_turn
lock_object_peek_step(struct op *op)
{
	struct lock_object *k = container_of(op, struct lock_object, op);

	switch ((enum peek_state)op->state) {
	case PEEK_START:
		return op_await(op, PEEK_LOOKED, lock_object_ask(k, LOCK_OBJECT_READ));
	case PEEK_LOOKED:
		if (op_failed(op))
			return op_fail(op);
		switch (k->driver->answer(k)) {
		case LOCK_OBJECT_THERE:
			*k->ret = k->there;
			return op_ok(op);
		case LOCK_OBJECT_ABSENT:
			err_set(&op->res, ERR_NOT_FOUND, 404, "%.120s is not locked", k->name);
			return op_fail(op);
		default:
			return lock_object_refused(k);
		}
	}
	return OP_DONE;
}

/* ---------------------------------------------------------------- all three */

static void
lock_object_free(struct op *op)
{
	struct lock_object *k = container_of(op, struct lock_object, op);

	k->driver->release(k);
	free(k->name);
	free(k->object);
	free(k->body);
	free(k);
}

static const struct op_class lock_object_lock_class = { "lock object", lock_object_lock_step, NULL, lock_object_free, lock_states,
	ARRAY_LEN(lock_states) };
static const struct op_class lock_object_unlock_class = { "unlock object", lock_object_unlock_step, NULL, lock_object_free, unlock_states,
	ARRAY_LEN(unlock_states) };
static const struct op_class lock_object_peek_class = { "peek object", lock_object_peek_step, NULL, lock_object_free, peek_states,
	ARRAY_LEN(peek_states) };

void
lock_object_init(struct lock_object *k, const struct lock_object_driver *driver, struct backend *b, const struct state_ref *ref,
    char *object)
{
	k->driver = driver;
	k->b = b;
	k->name = xstrdup(ref->name);
	k->object = object;
}

static struct op *
lock_object_op(struct lock_object *k, const struct op_class *class, const struct lock_info *mine)
{
	size_t     n = strlen(k->object), max = k->driver->name_max;
	struct buf text;
	struct op *op;

	op_init(&k->op, class, k->b->env->loop);
	if (mine != NULL) {
		buf_init(&text, LOCK_BODY_MAX);
		lock_info_body(mine, &text);
		k->mine = *mine;
		k->body = buf_take(&text);
	}
	if (max == 0 || n <= max)
		return &k->op;
	op = op_error(k->op.loop, ERR_UNSUPPORTED, 0, "%.60s...: the name of its lock has %zu bytes, %s takes %zu", k->name, n,
	    k->driver->store, max);
	op_free(&k->op);
	return op;
}

struct op *
lock_object_lock(struct lock_object *k, struct lock_info *l, struct lock_info *ret_holder)
{
	k->ret = l;
	k->ret_holder = ret_holder;
	return lock_object_op(k, &lock_object_lock_class, l);
}

struct op *
lock_object_unlock(struct lock_object *k, const struct lock_info *l)
{
	return lock_object_op(k, &lock_object_unlock_class, l);
}

struct op *
lock_object_peek(struct lock_object *k, struct lock_info *ret)
{
	k->ret = ret;
	return lock_object_op(k, &lock_object_peek_class, NULL);
}
