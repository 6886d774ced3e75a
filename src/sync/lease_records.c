/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "provider/records.h"
#include "sync/lease.h"

/* Leases among the records of a table or a key-value store, which many targets, edges and agents share. */
#define RECORDS_FOLDER "lease/"

struct shared {
	struct coordinator c;
	struct records    *r;
};

struct shared_op {
	struct op          op;
	struct records    *r;
	char              *key;
	struct lease_seen *seen;         /* a read's; NULL: a swap */
	struct record      record;       /* that was read */
	struct buf         text;         /* to be written */
	char               was[LEASE_REVISION_MAX];
	char              *revision;     /* a swap's result */
};

enum shared_state { START, ANSWERED };

static const char *const shared_states[] = { "start", "answered" };

static enum op_turn
shared_step(struct op *op)
{
	struct shared_op *o = container_of(op, struct shared_op, op);

	switch ((enum shared_state)op->state) {
	case START:
		return op_await(op, ANSWERED, o->seen != NULL ? o->r->class->read(o->r, o->key, &o->record) :
		    o->r->class->swap(o->r, o->key, buf_span(&o->text), o->was, o->revision));
	case ANSWERED:
		if (op_failed(op) || o->seen == NULL)
			return op_finish(op);
		if (lease_record_read(span_of(o->record.text, o->record.n), &o->seen->record, &op->res) == ERR_OK)
			snprintf(o->seen->revision, sizeof(o->seen->revision), "%s", o->record.revision);
		else
			err_prefix(&op->res, "%s", o->key);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
shared_op_free(struct op *op)
{
	struct shared_op *o = container_of(op, struct shared_op, op);

	buf_free(&o->text);
	free(o->key);
	free(o);
}

static const struct op_class shared_class = { "lease among records", shared_step, NULL, shared_op_free, shared_states,
	ARRAY_LEN(shared_states) };

static struct shared_op *
shared_new(struct coordinator *c, const char *key)
{
	struct shared_op *o = xcalloc(1, sizeof(*o));

	o->r = container_of(c, struct shared, c)->r;
	op_init(&o->op, &shared_class, o->r->env->loop);
	o->op.about = o->key = xasprintf(RECORDS_FOLDER "%s", key);
	buf_init(&o->text, 0);
	return o;
}

static struct op *
shared_read(struct coordinator *c, const char *key, struct lease_seen *ret)
{
	struct shared_op *o = shared_new(c, key);

	o->seen = ret;
	return &o->op;
}

static struct op *
shared_swap(struct coordinator *c, const char *key, const struct lease_record *next, const char *revision,
    char ret_revision[LEASE_REVISION_MAX])
{
	struct shared_op *o = shared_new(c, key);

	lease_record_write(next, &o->text);
	snprintf(o->was, sizeof(o->was), "%s", revision);
	o->revision = ret_revision;
	return &o->op;
}

static void
shared_free(struct coordinator *c)
{
	free(container_of(c, struct shared, c));
}

static const struct coordinator_class shared_coordinator = { "records", shared_read, shared_swap, shared_free };

struct coordinator *
coordinator_records(struct records *r)
{
	struct shared *s = xcalloc(1, sizeof(*s));

	s->c.class = &shared_coordinator;
	s->r = r;
	return &s->c;
}
