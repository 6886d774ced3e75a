/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "provider/lock_object.h"
#include "provider/scratch.h"
#include "s3_table.h"

/* Terraform's lock row: made by a conditional PutItem, removed by a conditional DeleteItem (docs/protocol/s3.md, "The lock table"). */
#define ROW_INFO "Info"

struct s3_row {
	struct lock_object lock;
	struct s3_row_call call;
	char              *id;
	char              *info; /* of the row that was read, when it has one */
};

/* Takes the lock, in a table that is made for it where the block says so. */
struct s3_row_taking {
	struct op      op;
	struct s3_row *k;
	bool           made;
};

enum s3_row_taking_state { ROW_PUT, ROW_ANSWERED, ROW_TABLED };

static const char *const s3_row_taking_states[] = { "start", "answered", "table" };

static enum op_turn
s3_row_taking_step(struct op *op)
{
	struct s3_row_taking *t = container_of(op, struct s3_row_taking, op);
	struct s3_row        *k = t->k;
	struct s3            *s = s3_of(k->lock.b);

	switch ((enum s3_row_taking_state)op->state) {
	case ROW_PUT:
		return op_await(op, ROW_ANSWERED,
		    s3_row_put(s, &k->call, k->id, ROW_INFO, k->lock.body, "attribute_not_exists(" ROW_KEY ")", NULL));
	case ROW_ANSWERED: /* a probe leaves nothing behind */
		if (op_failed(op) || t->made || !s3_table_comes(s, &k->call) || strstr(k->lock.name, SCRATCH_FOLDER) != NULL)
			return op_finish(op);
		t->made = true;
		return op_await(op, ROW_TABLED, s3_table_create(s));
	case ROW_TABLED:
		return op_failed(op) ? op_fail(op) : op_go(op, ROW_PUT);
	}
	return OP_DONE;
}

static void
s3_row_taking_free(struct op *op)
{
	free(container_of(op, struct s3_row_taking, op));
}

static const struct op_class s3_row_taking_class = { "s3 row", s3_row_taking_step, NULL, s3_row_taking_free, s3_row_taking_states,
	ARRAY_LEN(s3_row_taking_states) };

static struct op *
s3_row_take(struct s3_row *k)
{
	struct s3_row_taking *t = xcalloc(1, sizeof(*t));

	op_init(&t->op, &s3_row_taking_class, k->lock.op.loop);
	t->k = k;
	return &t->op;
}

static struct op *
s3_row_request(struct lock_object *lock)
{
	struct s3_row *k = container_of(lock, struct s3_row, lock);
	struct s3     *s = s3_of(lock->b);

	switch (lock->asked) {
	case LOCK_OBJECT_PUT:
		return s3_row_take(k);
	case LOCK_OBJECT_READ:
		return s3_row_get(s, &k->call, k->id, ROW_INFO);
	case LOCK_OBJECT_REMOVE: /* as we wrote it; after a look: the same lock in another spelling */
		return s3_row_delete(s, &k->call, k->id, ROW_INFO " = :expected", k->info != NULL ? k->info : lock->body);
	}
	return NULL;
}

/* Of an answer that holds the item. */
static bool
s3_row_parse(struct s3_row *k)
{
	const char   *info;
	struct digest d;
	char          hex[DIGEST_HEX];

	if (!s3_row_item(&k->call, ROW_INFO, &info))
		return false;
	lock_object_read(&k->lock, span_str(info));
	free(k->info);
	k->info = info != NULL ? xstrdup(info) : NULL;
	if (info != NULL) {
		sha256_of(info, strlen(info), &d);
		lock_object_name(&k->lock, digest_hex(&d, hex));
	}
	return true;
}

static enum lock_object_answer
s3_row_answer(struct lock_object *lock)
{
	struct s3_row *k = container_of(lock, struct s3_row, lock);
	bool           read = lock->asked == LOCK_OBJECT_READ;

	if (k->call.ans.send.http.status == 200 && !read)
		return LOCK_OBJECT_DONE;
	if (k->call.ans.send.http.status == 200 && k->call.ans.json != NULL)
		return s3_row_parse(k) ? LOCK_OBJECT_THERE : LOCK_OBJECT_ABSENT;
	if (read && s3_table_comes(s3_of(lock->b), &k->call))
		return LOCK_OBJECT_ABSENT;
	if (s3_row_raced(&k->call))
		return LOCK_OBJECT_RACED;
	if (!s3_row_condition_failed(&k->call))
		return LOCK_OBJECT_REFUSED;
	return lock->asked == LOCK_OBJECT_PUT && s3_row_parse(k) ? LOCK_OBJECT_THERE : LOCK_OBJECT_UNMET;
}

static void
s3_row_blame(struct lock_object *lock, const char *doing, struct err *reterr)
{
	static const char *const permissions[] = { "PutItem", "GetItem", "DeleteItem" };

	s3_row_refused(s3_of(lock->b), &container_of(lock, struct s3_row, lock)->call, doing, permissions[lock->asked], reterr);
}

static void
s3_row_vanishing(struct lock_object *lock, struct err *reterr)
{
	err_set(reterr, ERR_BUSY, 0, "table %s: %.80s is refused, but nobody holds it", s3_of(lock->b)->conf->dynamodb_table, lock->object);
}

static void
s3_row_held(struct lock_object *lock, bool held)
{
	if (held)
		s3_held_begin(s3_of(lock->b), lock->name);
	else
		s3_held_end(s3_of(lock->b), lock->name);
}

static void
s3_row_release(struct lock_object *lock)
{
	struct s3_row *k = container_of(lock, struct s3_row, lock);

	s3_row_call_free(&k->call);
	free(k->id);
	free(k->info);
}

static const struct lock_object_driver s3_row_driver = { .compares = true, .request = s3_row_request, .answer = s3_row_answer,
	.refused = s3_row_blame, .vanishing = s3_row_vanishing, .held = s3_row_held, .release = s3_row_release };

static struct lock_object *
s3_row_new(struct backend *b, const struct state_ref *ref)
{
	struct s3_row *k = xcalloc(1, sizeof(*k));

	k->id = s3_row_id(s3_of(b), ref->name, "");
	lock_object_init(&k->lock, &s3_row_driver, b, ref, xasprintf("the lock of %s", ref->name));
	return &k->lock;
}

struct op *
s3_row_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	return lock_object_lock(s3_row_new(b, ref), l, ret_holder);
}

struct op *
s3_row_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	return lock_object_unlock(s3_row_new(b, ref), l);
}

struct op *
s3_row_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	return lock_object_peek(s3_row_new(b, ref), ret);
}
