/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "s3_table.h"

/*
 * Terraform's lock row: made by a conditional PutItem, removed by a conditional DeleteItem (docs/protocol/s3.md, "The lock table").
 * As with the lock object a refusal may be the answer to our own first try, so ids are compared before anybody is said to hold it.
 */
#define ROW_INFO     "Info"
#define ROW_RACED    4    /* again after a conflict with another write in the act */
#define ROW_BOUNCED  6    /* again after a refusal for a row that is not there */
#define ROW_PAUSE_MS 50   /* 50 to 200 ms between tries that meet others */

struct s3_row {
	struct op          op;
	struct s3         *s;
	char              *name, *id;
	struct s3_row_call call;
	struct lock_info  *ret, *ret_holder; /* lock: ours; peek: the holder */
	struct lock_info   mine, there;
	char              *info;             /* lock: our body; unlock: that of the row that is to go */
	unsigned           tries, raced, bounced;
	bool               doubt;            /* a request is out whose outcome is unknown */
};

static void
s3_row_free(struct op *op)
{
	struct s3_row *k = container_of(op, struct s3_row, op);

	s3_row_call_free(&k->call);
	free(k->name);
	free(k->id);
	free(k->info);
	free(k);
}

static struct s3_row *
s3_row_new(struct backend *b, const struct op_class *class, const struct state_ref *ref, const struct lock_info *mine)
{
	struct s3_row *k = xcalloc(1, sizeof(*k));
	struct buf     text;

	k->s = s3_of(b);
	op_init(&k->op, class, k->s->env->loop);
	k->name = xstrdup(ref->name);
	k->id = s3_row_id(k->s, ref->name, "");
	if (mine != NULL) {
		buf_init(&text, LOCK_BODY_MAX);
		lock_info_body(mine, &text);
		k->mine = *mine;
		k->info = buf_take(&text);
	}
	return k;
}

static struct op *
s3_row_look(struct s3_row *k)
{
	return s3_row_get(k->s, &k->call, k->id, ROW_INFO);
}

/* Of an answer with the item: false when there is none. A row that describes no lock locks too, as terraform sees it. */
static bool
s3_row_parse(struct s3_row *k, const char **info)
{
	if (!s3_row_item(&k->call, ROW_INFO, info))
		return false;
	if (lock_info_parse(span_str(*info), &k->there, NULL) != ERR_OK)
		snprintf(k->there.who, sizeof(k->there.who), "a lock row that cannot be read");
	return true;
}

static void
s3_row_blame(struct s3_row *k, const char *doing, const char *permission)
{
	char *what = xasprintf("%s the lock of %.80s", doing, k->name);

	s3_row_refused(k->s, &k->call, what, permission, &k->op.res);
	free(what);
}

/* With a request of ours out there, no later failure says that we do not hold it. */
static enum op_turn
s3_row_failed(struct s3_row *k)
{
	struct err why = k->op.res;

	if (k->doubt && why.code != ERR_UNCERTAIN) {
		err_set(&k->op.res, ERR_UNCERTAIN, why.detail, "%s; what became of the lock row of %.60s is unknown", why.msg, k->name);
		if (why.hint[0] != '\0')
			err_hint(&k->op.res, "%s", why.hint);
	}
	return op_fail(&k->op);
}

static enum op_turn
s3_row_pause(struct s3_row *k, int next)
{
	return op_await(&k->op, next, op_sleep(k->op.loop, ROW_PAUSE_MS +
	    (int64_t)rand_below(loop_rand(k->op.loop), 3 * ROW_PAUSE_MS + 1)));
}

/* ---------------------------------------------------------------- lock */

enum s3_row_lock_state { ROW_PUT, ROW_ANSWERED, ROW_LOOK, ROW_LOOKED };

static const char *const s3_row_lock_states[] = { "put", "answered", "look", "looked" };

static enum op_turn
s3_row_held(struct s3_row *k)
{
	k->ret->late = k->doubt;
	s3_held_begin(k->s, k->name);
	return op_ok(&k->op);
}

static enum op_turn
s3_row_taken(struct s3_row *k)
{
	struct buf text;

	if (k->there.id[0] != '\0' && strcmp(k->there.id, k->mine.id) == 0)
		return s3_row_held(k);
	buf_init(&text, 0);
	*k->ret_holder = k->there;
	k->ret->late = k->doubt;
	lock_info_print(&k->there, &text);
	err_set(&k->op.res, ERR_LOCKED, k->call.ans.http.status, "%.80s is locked in table %.40s by %s", k->name,
	    k->s->conf->dynamodb_table, buf_str(&text));
	buf_free(&text);
	return op_fail(&k->op);
}

/* No answer, or none that says what happened. */
static enum op_turn
s3_row_unknown(struct s3_row *k)
{
	struct op *op = &k->op;

	k->doubt |= op->res.code == ERR_UNCERTAIN;
	if (!k->doubt || op->cancelled || op->res.code == ERR_BUSY)
		return s3_row_failed(k);
	if (++k->tries < ROW_TRIES)
		return op_await(op, ROW_PUT, op_sleep(op->loop, provider_backoff_ms(&k->s->b, k->tries, ROW_RETRY_MS)));
	return op_go(op, ROW_LOOK);
}

static enum op_turn
s3_row_answered(struct s3_row *k)
{
	const char *info;

	if (op_failed(&k->op))
		return s3_row_unknown(k);
	if (k->call.ans.http.status == 200)
		return s3_row_held(k);
	if (s3_row_raced(&k->call) && k->raced++ < ROW_RACED)
		return s3_row_pause(k, ROW_PUT);
	if (s3_row_condition_failed(&k->call) && s3_row_parse(k, &info))
		return s3_row_taken(k);
	if (s3_row_condition_failed(&k->call) || s3_row_raced(&k->call))
		return op_go(&k->op, ROW_LOOK);
	s3_row_blame(k, "writing", "PutItem");
	return s3_row_failed(k);
}

static enum op_turn
s3_row_looked(struct s3_row *k)
{
	struct op  *op = &k->op;
	const char *info;

	if (op_failed(op))
		return s3_row_failed(k);
	if (k->call.ans.http.status != 200 || k->call.ans.json == NULL) {
		s3_row_blame(k, "reading", "GetItem");
		return s3_row_failed(k);
	}
	if (s3_row_parse(k, &info))
		return s3_row_taken(k);
	if (k->tries >= ROW_TRIES) { /* it may still arrive */
		err_set(&op->res, ERR_UNCERTAIN, 0, "table %s: no answer to %u tries to lock %.80s", k->s->conf->dynamodb_table, k->tries,
		    k->name);
		return op_fail(op);
	}
	if (k->bounced++ < ROW_BOUNCED)
		return s3_row_pause(k, ROW_PUT);
	err_set(&op->res, ERR_BUSY, 0, "table %s: the lock of %.80s is refused, but nobody holds it", k->s->conf->dynamodb_table, k->name);
	return s3_row_failed(k);
}

static enum op_turn
s3_row_lock_step(struct op *op)
{
	struct s3_row *k = container_of(op, struct s3_row, op);

	switch ((enum s3_row_lock_state)op->state) {
	case ROW_PUT:
		if (op_failed(op))
			return s3_row_failed(k);
		return op_await(op, ROW_ANSWERED, s3_row_put(k->s, &k->call, k->id, ROW_INFO, k->info, "attribute_not_exists(LockID)",
		    NULL));
	case ROW_ANSWERED:
		return s3_row_answered(k);
	case ROW_LOOK:
		err_clear(&op->res);
		return op_await(op, ROW_LOOKED, s3_row_look(k));
	case ROW_LOOKED:
		return s3_row_looked(k);
	}
	return OP_DONE;
}

static const struct op_class s3_row_lock_class = { "s3 row lock", s3_row_lock_step, NULL, s3_row_free, s3_row_lock_states,
	ARRAY_LEN(s3_row_lock_states) };

struct op *
s3_row_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct s3_row *k = s3_row_new(b, &s3_row_lock_class, ref, l);

	k->ret = l;
	k->ret_holder = ret_holder;
	return &k->op;
}

/* ---------------------------------------------------------------- unlock: only the row with these very bytes */

enum s3_row_unlock_state { UNROW_DELETE, UNROW_ANSWERED, UNROW_LOOK, UNROW_LOOKED };

static const char *const s3_row_unlock_states[] = { "delete", "answered", "look", "looked" };

static enum op_turn
s3_row_gone(struct s3_row *k)
{
	s3_held_end(k->s, k->name);
	return op_ok(&k->op);
}

/* Whatever came of it: a look tells. */
static enum op_turn
s3_row_unlock_again(struct s3_row *k)
{
	struct op *op = &k->op;
	int64_t    pause = provider_backoff_ms(&k->s->b, k->tries, ROW_RETRY_MS);

	if (op->res.code == ERR_BUSY && op->res.retry_after_ms > pause)
		pause = op->res.retry_after_ms;
	if (op->res.code == ERR_CANCELLED || ++k->tries >= ROW_TRIES || pause > k->s->b.common.timeout_ms) {
		if (!op_failed(op))
			s3_row_blame(k, "deleting", "DeleteItem");
		return s3_row_failed(k);
	}
	return op_await(op, UNROW_LOOK, op_sleep(op->loop, pause));
}

static enum op_turn
s3_row_unlock_answered(struct s3_row *k)
{
	struct op *op = &k->op;

	k->doubt |= op->res.code == ERR_UNCERTAIN;
	if (op_failed(op) || s3_row_raced(&k->call))
		return s3_row_unlock_again(k);
	if (k->call.ans.http.status == 200)
		return s3_row_gone(k);
	if (s3_row_condition_failed(&k->call)) /* gone, another one, or the same lock in another spelling */
		return ++k->tries < ROW_TRIES ? op_go(op, UNROW_LOOK) : s3_row_unlock_again(k);
	s3_row_blame(k, "deleting", "DeleteItem");
	return s3_row_failed(k);
}

static enum op_turn
s3_row_unlock_looked(struct s3_row *k)
{
	struct op  *op = &k->op;
	const char *info;

	if (op_failed(op))
		return s3_row_failed(k);
	if (k->call.ans.http.status != 200 || k->call.ans.json == NULL) {
		s3_row_blame(k, "reading", "GetItem");
		return s3_row_failed(k);
	}
	if (!s3_row_parse(k, &info) || info == NULL || strcmp(k->there.id, k->mine.id) != 0)
		return s3_row_gone(k);
	free(k->info);
	k->info = xstrdup(info);
	return op_go(op, UNROW_DELETE);
}

static enum op_turn
s3_row_unlock_step(struct op *op)
{
	struct s3_row *k = container_of(op, struct s3_row, op);

	switch ((enum s3_row_unlock_state)op->state) {
	case UNROW_DELETE:
		return op_await(op, UNROW_ANSWERED, s3_row_delete(k->s, &k->call, k->id, ROW_INFO " = :expected", k->info));
	case UNROW_ANSWERED:
		return s3_row_unlock_answered(k);
	case UNROW_LOOK:
		if (op_failed(op))
			return s3_row_failed(k);
		return op_await(op, UNROW_LOOKED, s3_row_look(k));
	case UNROW_LOOKED:
		return s3_row_unlock_looked(k);
	}
	return OP_DONE;
}

static const struct op_class s3_row_unlock_class = { "s3 row unlock", s3_row_unlock_step, NULL, s3_row_free,
	s3_row_unlock_states, ARRAY_LEN(s3_row_unlock_states) };

struct op *
s3_row_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	return &s3_row_new(b, &s3_row_unlock_class, ref, l)->op;
}

/* ---------------------------------------------------------------- peek */

enum s3_row_peek_state { ROW_PEEK, ROW_PEEKED };

static const char *const s3_row_peek_states[] = { "start", "answered" };

static enum op_turn
s3_row_peek_step(struct op *op)
{
	struct s3_row *k = container_of(op, struct s3_row, op);
	const char    *info;

	switch ((enum s3_row_peek_state)op->state) {
	case ROW_PEEK:
		return op_await(op, ROW_PEEKED, s3_row_look(k));
	case ROW_PEEKED:
		if (op_failed(op))
			return op_fail(op);
		if (k->call.ans.http.status != 200 || k->call.ans.json == NULL) {
			s3_row_blame(k, "reading", "GetItem");
			return op_fail(op);
		}
		if (!s3_row_parse(k, &info)) {
			err_set(&op->res, ERR_NOT_FOUND, 404, "%.120s is not locked", k->name);
			return op_fail(op);
		}
		*k->ret = k->there;
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class s3_row_peek_class = { "s3 row peek", s3_row_peek_step, NULL, s3_row_free, s3_row_peek_states,
	ARRAY_LEN(s3_row_peek_states) };

struct op *
s3_row_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct s3_row *k = s3_row_new(b, &s3_row_peek_class, ref, NULL);

	k->ret = ret;
	return &k->op;
}
