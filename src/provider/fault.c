/* SPDX-License-Identifier: MIT */
#include "provider/fault.h"

#include <stdlib.h>

struct fault {
	struct backend  b;
	struct provider table;   /* misses what the inner one misses */
	struct backend *inner;
	unsigned        calls, at;
	enum err_code   code;
	bool            after;
};

/* One call that goes wrong: the inner operation, if it is to happen, and then the error. */
struct fault_call {
	struct op        op;
	struct op       *inner;  /* until it is awaited; NULL: nothing happens */
	enum err_code    code;
	struct snapshot *ret;    /* what a read delivered is taken back */
};

enum fault_state { START, HAPPENED };

static const char *const fault_states[] = { "start", "happened" };

static enum op_turn
fault_step(struct op *op)
{
	struct fault_call *c = container_of(op, struct fault_call, op);
	struct op         *inner = c->inner;

	switch ((enum fault_state)op->state) {
	case START:
		c->inner = NULL;
		return op_await(op, HAPPENED, inner);
	case HAPPENED:
		if (op_failed(op))
			return op_fail(op);
		if (c->ret != NULL)
			snapshot_free(c->ret);
		err_set(&op->res, c->code, 0, "a fault on purpose");
		return op_finish(op);
	}
	return OP_DONE;
}

static void
fault_call_free(struct op *op)
{
	struct fault_call *c = container_of(op, struct fault_call, op);

	op_free(c->inner);
	free(c);
}

static const struct op_class fault_class = { "fault", fault_step, NULL, fault_call_free, fault_states, ARRAY_LEN(fault_states) };

static struct fault *
fault_of(const struct backend *b)
{
	return container_of(b, struct fault, b);
}

/* Every call of the driver goes through here. */
static struct op *
fault_pass(struct backend *b, struct op *inner, struct snapshot *ret)
{
	struct fault      *f = fault_of(b);
	struct fault_call *c;

	provider_sent(b);
	if (++f->calls != f->at)
		return inner;
	c = xcalloc(1, sizeof(*c));
	op_init(&c->op, &fault_class, b->env->loop);
	c->code = f->code;
	c->ret = f->after ? ret : NULL;
	if (f->after)
		c->inner = inner;
	else
		op_free(inner);
	return &c->op;
}

#define INNER(b) (fault_of(b)->inner)

static void
fault_close(struct backend *b)
{
	provider_close(INNER(b));
	free(fault_of(b));
}

static unsigned
fault_caps(const struct backend *b)
{
	return provider_caps(INNER(b));
}

static void
fault_workspace(const struct backend *b, const char *name, struct buf *ret)
{
	provider_workspace(INNER(b), name, ret);
}

static bool
fault_fixed(const struct backend *b, const char *workspace, struct buf *ret)
{
	return provider_fixed(INNER(b), workspace, ret);
}

static struct op *
fault_create(struct backend *b)
{
	return fault_pass(b, INNER(b)->provider->create(INNER(b)), NULL);
}

static struct op *
fault_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	return fault_pass(b, INNER(b)->provider->list(INNER(b), seen, arg), NULL);
}

static struct op *
fault_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	return fault_pass(b, INNER(b)->provider->head(INNER(b), ref, ret), NULL);
}

static struct op *
fault_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	return fault_pass(b, INNER(b)->provider->get(INNER(b), ref, unless_etag, ret), ret);
}

static struct op *
fault_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	return fault_pass(b, INNER(b)->provider->put(INNER(b), ref, body, when, ret_etag), NULL);
}

static struct op *
fault_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	return fault_pass(b, INNER(b)->provider->del(INNER(b), ref, if_etag), NULL);
}

static struct op *
fault_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	return fault_pass(b, INNER(b)->provider->lock(INNER(b), ref, l, ret_holder), NULL);
}

static struct op *
fault_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	return fault_pass(b, INNER(b)->provider->unlock(INNER(b), ref, l), NULL);
}

static struct op *
fault_seal(struct backend *b, const struct state_ref *ref, const struct snapshot *body)
{
	return fault_pass(b, INNER(b)->provider->seal(INNER(b), ref, body), NULL);
}

static struct op *
fault_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	return fault_pass(b, INNER(b)->provider->lock_peek(INNER(b), ref, ret), NULL);
}

static enum err_code
fault_findable(const struct backend *b, struct err *reterr)
{
	return provider_findable(INNER(b), reterr);
}

static struct op *
fault_break(struct backend *b, const struct state_ref *ref, const struct lock_info *l, struct lock_info *ret_holder)
{
	return fault_pass(b, INNER(b)->provider->lock_break(INNER(b), ref, l, ret_holder), NULL);
}

static struct op *
fault_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	return fault_pass(b, INNER(b)->provider->history(INNER(b), ref, seen, arg), NULL);
}

static struct op *
fault_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	return fault_pass(b, INNER(b)->provider->get_version(INNER(b), ref, version, ret), ret);
}

static struct op *
fault_probe(struct backend *b, probe_fn *seen, void *arg)
{
	return fault_pass(b, INNER(b)->provider->probe(INNER(b), seen, arg), NULL);
}

static enum err_code
fault_watch(struct backend *b, void (*changed)(void *arg, const char *name), void *arg, struct err *reterr)
{
	return provider_watch(INNER(b), changed, arg, reterr);
}

static void
fault_lock_path(const struct backend *b, const char *name, struct buf *ret)
{
	INNER(b)->provider->lock_path(INNER(b), name, ret);
}

static void
fault_unlock_hint(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret)
{
	provider_unlock_hint(INNER(b), name, l, ret);
}

#define IF_THERE(member, fn) (p->member != NULL ? (fn) : NULL)

static struct provider
fault_table(const struct provider *p)
{
	return (struct provider){ .name = p->name, .summary = p->summary, .suffix = p->suffix, .suits = p->suits,
		.close = fault_close, .caps = fault_caps, .workspace = fault_workspace, .fixed = fault_fixed, .findable = fault_findable,
		.create = IF_THERE(create, fault_create), .list = fault_list,
		.head = fault_head, .get = fault_get, .put = fault_put, .del = IF_THERE(del, fault_del), .lock = fault_lock,
		.unlock = fault_unlock, .seal = IF_THERE(seal, fault_seal), .lock_peek = IF_THERE(lock_peek, fault_peek),
		.lock_break = IF_THERE(lock_break, fault_break), .history = IF_THERE(history, fault_history),
		.get_version = IF_THERE(get_version, fault_get_version), .probe = IF_THERE(probe, fault_probe), .watch = fault_watch,
		.lock_path = IF_THERE(lock_path, fault_lock_path), .unlock_hint = fault_unlock_hint };
}

struct backend *
fault_new(struct backend *inner)
{
	struct fault *f = xcalloc(1, sizeof(*f));

	f->inner = inner;
	f->table = fault_table(inner->provider);
	f->b = *inner;
	f->b.where = xstrdup(inner->where);
	f->b.provider = &f->table;
	f->b.requests = 0;
	return &f->b;
}

void
fault_at(struct backend *b, unsigned n, enum err_code code, bool after)
{
	struct fault *f = fault_of(b);

	f->at = n;
	f->code = code;
	f->after = after;
}

unsigned
fault_calls(const struct backend *b)
{
	return fault_of(b)->calls;
}
