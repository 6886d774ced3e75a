/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "sync/lease.h"

/*
 * Leases at the target itself, as small objects beside its states. The provider's own preconditions are the compare-and-set:
 * without them there is no lease (provider.h, PROVIDER_IF_MATCH, and what a probe proved of it).
 */
#define TARGET_FOLDER ".stateferry/lease/"

struct target {
	struct coordinator c;
	struct backend    *b;
};

struct target_op {
	struct op          op;
	struct target     *t;
	char              *name;
	struct lease_seen *seen;         /* a read's; NULL: a swap */
	char              *revision;     /* a swap's result */
	char               was[LEASE_REVISION_MAX];
	struct snapshot    snap;
};

enum target_state { START, ANSWERED };

static const char *const target_states[] = { "start", "answered" };

static struct op *
target_send(struct target_op *o)
{
	struct state_ref     ref = { o->name };
	struct put_condition when = { .when = o->was[0] == '\0' ? PUT_ABSENT : PUT_MATCH, .etag = o->was };

	return o->seen != NULL ? provider_get(o->t->b, &ref, NULL, &o->snap) : provider_put(o->t->b, &ref, &o->snap, &when, o->revision);
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
		if (op_failed(op) || o->seen == NULL)
			return op_finish(op);
		if (!body_in_memory(o->snap.body))
			err_set(&op->res, ERR_CORRUPT, 0, "%s is not the record of a lease", o->name);
		else if (lease_record_read(body_span(o->snap.body), &o->seen->record, &op->res) == ERR_OK)
			snprintf(o->seen->revision, sizeof(o->seen->revision), "%s", o->snap.etag);
		else
			err_prefix(&op->res, "%s", o->name);
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

static const struct op_class target_class = { "lease at the target", target_step, NULL, target_op_free, target_states,
	ARRAY_LEN(target_states) };

static struct target_op *
target_new(struct coordinator *c, const char *key)
{
	struct target_op *o = xcalloc(1, sizeof(*o));

	o->t = container_of(c, struct target, c);
	op_init(&o->op, &target_class, o->t->b->env->loop);
	o->op.about = o->name = xasprintf(TARGET_FOLDER "%s", key);
	return o;
}

static struct op *
target_read(struct coordinator *c, const char *key, struct lease_seen *ret)
{
	struct target_op *o = target_new(c, key);

	o->seen = ret;
	return &o->op;
}

static struct op *
target_swap(struct coordinator *c, const char *key, const struct lease_record *next, const char *revision,
    char ret_revision[LEASE_REVISION_MAX])
{
	struct target_op *o = target_new(c, key);
	struct body      *body;
	struct buf        text;

	buf_init(&text, 0);
	lease_record_write(next, &text);
	body = body_new(&text);
	snapshot_of(&o->snap, body, NULL); /* in memory: it cannot fail */
	body_unref(body);
	snprintf(o->was, sizeof(o->was), "%s", revision);
	o->revision = ret_revision;
	return &o->op;
}

static void
target_free(struct coordinator *c)
{
	free(container_of(c, struct target, c));
}

static const struct coordinator_class target_coordinator = { "target", target_read, target_swap, target_free };

struct coordinator *
coordinator_target(struct backend *b)
{
	struct target *t = xcalloc(1, sizeof(*t));

	t->c.class = &target_coordinator;
	t->b = b;
	return &t->c;
}

void
coordinator_free(struct coordinator *c)
{
	if (c != NULL)
		c->class->free(c);
}
