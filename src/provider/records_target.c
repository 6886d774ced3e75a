/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider/records.h"

/*
 * Records at a target itself, as small objects beside its states. The provider's own preconditions are the compare-and-set: without them
 * there are none (provider.h, PROVIDER_CAS, and what a probe proved of it).
 */
struct target {
	struct records  r;
	struct backend *b;
};

struct target_op {
	struct op       op;
	struct backend *b;
	char           *name;
	struct record  *ret;            /* a read's; NULL: a swap */
	char           *ret_revision;
	char            was[ETAG_MAX];
	struct snapshot snap;
};

enum target_state { START, ANSWERED };

static const char *const target_states[] = { "start", "answered" };

static struct op *
target_send(struct target_op *o)
{
	struct state_ref     ref = { o->name };
	struct put_condition when = { .when = o->was[0] == '\0' ? PUT_ABSENT : PUT_MATCH, .etag = o->was };

	return o->ret != NULL ? provider_get(o->b, &ref, NULL, &o->snap) : provider_put(o->b, &ref, &o->snap, &when, o->ret_revision);
}

static enum op_turn
target_step(struct op *op)
{
	struct target_op *o = container_of(op, struct target_op, op);

	switch ((enum target_state)op->state) {
	case START:
		return op_await(op, ANSWERED, target_send(o));
	case ANSWERED:
		if (op->res.code == ERR_LOCKED) /* a file, in whose place another is written at this moment */
			op->res.code = ERR_CONFLICT;
		if (op_failed(op) || o->ret == NULL)
			return op_finish(op);
		if (!body_in_memory(o->snap.body) || body_span(o->snap.body).n > sizeof(o->ret->text)) {
			err_set(&op->res, ERR_CORRUPT, 0, "%s is none of a lease", o->name);
			return op_finish(op);
		}
		o->ret->n = body_span(o->snap.body).n;
		memcpy(o->ret->text, body_span(o->snap.body).p, o->ret->n);
		snprintf(o->ret->revision, sizeof(o->ret->revision), "%s", o->snap.etag);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
target_op_free(struct op *op)
{
	struct target_op *o = container_of(op, struct target_op, op);

	snapshot_free(&o->snap);
	free(o->name);
	free(o);
}

static const struct op_class target_class = { "record at the target", target_step, NULL, target_op_free, target_states,
	ARRAY_LEN(target_states) };

static struct target_op *
target_new(struct records *r, const char *key)
{
	struct target_op *o = xcalloc(1, sizeof(*o));

	op_init(&o->op, &target_class, r->env->loop);
	o->b = container_of(r, struct target, r)->b;
	o->op.about = o->name = xasprintf(RECORD_PREFIX "%s", key);
	return o;
}

static struct op *
target_read(struct records *r, const char *key, struct record *ret)
{
	struct target_op *o = target_new(r, key);

	o->ret = ret;
	return &o->op;
}

static struct op *
target_swap(struct records *r, const char *key, struct span text, const char *revision, char ret_revision[ETAG_MAX])
{
	struct target_op *o = target_new(r, key);
	struct body      *body;
	struct buf        copy;

	buf_init(&copy, 0);
	buf_put(&copy, text.p, text.n);
	body = body_new(&copy);
	snapshot_of(&o->snap, body, NULL); /* in memory: it cannot fail */
	body_unref(body);
	snprintf(o->was, sizeof(o->was), "%s", revision);
	o->ret_revision = ret_revision;
	return &o->op;
}

static void
target_close(struct records *r)
{
	free(container_of(r, struct target, r));
}

static const struct records_class target_records = { "target", NULL, target_close, target_read, target_swap };

struct records *
records_target(struct backend *b)
{
	struct target *t = xcalloc(1, sizeof(*t));

	t->r = (struct records){ &target_records, b->env, b->where };
	t->b = b;
	return &t->r;
}
