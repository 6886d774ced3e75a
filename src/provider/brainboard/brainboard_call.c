/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "brainboard.h"

/*
 * One call: which storage holds the architecture's state, under which name, then the same call there. What the caller lends lives until
 * the op has ended, as the wrapper around it promises.
 */
struct bb_call {
	struct op                op;
	struct brainboard       *bb;
	enum request_kind        kind;
	const char              *name;
	const char              *etag;
	const struct snapshot   *body;
	const struct put_condition *when;
	const struct lock_info  *lock;
	void                    *ret, *ret2;
	bool                     only;    /* a lock: to learn whether it may be asked for */
	version_seen_fn         *seen;
	const char              *version;
	void                    *arg;
	size_t                   at;      /* create: storage */
	struct backend          *storage;
	char                    *there;   /* the name in it */
};

enum bb_call_state { CALL_START, CALL_ASKED, CALL_SCANNED, CALL_ANSWERED };

static const char *const bb_call_states[] = { "start", "asked", "scanned", "answered" };

static bool
bb_call_writes(const struct bb_call *c)
{
	return c->kind == REQUEST_WRITE || c->kind == REQUEST_LOCK;
}

/* Is it known where the state is, as far as that has to be found? What was not there at the last listing may have come since. */
static bool
bb_call_must_scan(const struct bb_call *c)
{
	struct brainboard *bb = c->bb;
	struct buf         there;
	bool               known;

	if (brainboard_storage_of(bb, c->name)->b == NULL)
		return false;
	buf_init(&there, 0);
	known = brainboard_behind(&bb->b, c->name, &there) != NULL;
	buf_free(&there);
	return !known && (bb->objects == NULL || loop_now(c->op.loop) - bb->scanned >= bb->b.common.poll_ms);
}

/* ---------------------------------------------------------------- is there such an architecture? */

/* Nothing is made under a name that is nobody's: an inventory that does not show it is asked again, unless it is quite new. */
static bool
bb_call_must_ask(const struct bb_call *c)
{
	const struct brainboard *bb = c->bb;

	return bb_call_writes(c) && bb->api != NULL && bb->conf->architectures.n == 0 && !brainboard_known(bb, c->name) &&
	    loop_now(c->op.loop) - bb->asked >= BRAINBOARD_ASK_MS;
}

/* Of one state: that the API does not answer is no reason to stop for those that are known, which ERR_AUTH and the like would be. */
static enum err_code
bb_call_unknown(const struct bb_call *c, struct err *reterr)
{
	const struct brainboard *bb = c->bb;

	if (bb->conf->architectures.n > 0) {
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s is not one of the architectures of this backend", c->name);
		return err_hint(reterr, "check the UUID, or add it to architectures");
	}
	if (bb->trouble.code != ERR_OK) {
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s is not known, and the inventory cannot be asked: %s", c->name, bb->trouble.msg);
		return err_hint(reterr, "%s", bb->trouble.hint[0] != '\0' ? bb->trouble.hint : "try again when Brainboard's API answers");
	}
	err_set(reterr, ERR_UNSUPPORTED, 0, "%s is no architecture that Brainboard shows%s", c->name, bb->selects ? " and select takes" : "");
	return err_hint(reterr, "check the UUID in its information panel; one that the token may not see: architecture \"%s\" { key = ... }", c->name);
}

static enum err_code
bb_call_may(const struct bb_call *c, struct err *reterr)
{
	return !bb_call_writes(c) || brainboard_known(c->bb, c->name) ? ERR_OK : bb_call_unknown(c, reterr);
}

/* ---------------------------------------------------------------- where is it? */

static enum err_code
bb_call_resolve(struct bb_call *c, struct err *reterr)
{
	struct brainboard              *bb = c->bb;
	const struct brainboard_object *o = bb->objects != NULL ? map_get(bb->objects, span_str(c->name)) : NULL;
	struct buf                      there;

	if (brainboard_storage_of(bb, c->name)->b == NULL) {
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s: Brainboard keeps it in its managed storage, which nothing outside can reach", c->name);
		return err_hint(reterr, "give the architecture or the organization storage of its own in Brainboard, and name it here");
	}
	buf_init(&there, 0);
	c->storage = brainboard_behind(&bb->b, c->name, &there);
	c->there = buf_take(&there);
	if (c->storage == NULL && o != NULL && o->trouble != NULL) {
		*reterr = *o->trouble;
		return reterr->code;
	}
	if (c->storage == NULL && bb_call_writes(c)) {
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s has no state yet, and nothing says under which name Brainboard looks for it", c->name);
		return err_hint(reterr, "set key in the backend, such as \"{uuid}\" or \"{uuid}/terraform.tfstate\", as other architectures have it there");
	}
	if (c->storage == NULL)
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s: there is no state of it in its storage", c->name);
	if (bb_call_writes(c) && o != NULL && o->other != NULL && strcmp(o->name, c->there) == 0) {
		err_set(reterr, ERR_CONFLICT, 0, "%s: both %s and %s may be its state", c->name, o->name, o->other);
		return err_hint(reterr, "remove the one that Brainboard does not use, or say with key which it is");
	}
	return ERR_OK;
}

/* Of several storages one may be without locks: there Brainboard's runner takes none either. */
static struct op *
bb_call_unlockable(struct bb_call *c)
{
	struct loop *l = c->op.loop;
	struct err   e;

	if (c->kind == REQUEST_LOCK_PEEK)
		return op_error(l, ERR_NOT_FOUND, 0, "%s: its storage has no locks", c->name);
	if (c->kind == REQUEST_UNLOCK || provider_writable_in(&c->bb->b, c->storage, &e) == ERR_OK)
		return op_result(l, &(struct err){ .code = ERR_OK });
	err_unprefix(&e, c->bb->b.label);
	return op_result(l, &e);
}

static struct op *
bb_call_break(struct bb_call *c, const struct state_ref *ref)
{
	if (provider_shows_locks(c->storage)) /* compares the id itself */
		return provider_unlock(c->storage, ref, c->lock);
	return provider_lock_break(c->storage, ref, c->lock, c->ret);
}

static struct op *
bb_call_forward(struct bb_call *c)
{
	struct backend  *s = c->storage;
	struct state_ref ref = { c->there };
	bool             locks = (provider_caps(s) & PROVIDER_LOCK) != 0;

	if (!locks && (c->kind == REQUEST_LOCK || c->kind == REQUEST_UNLOCK || c->kind == REQUEST_LOCK_PEEK))
		return bb_call_unlockable(c);
	if (c->only)
		return NULL;
	if (c->kind == REQUEST_HISTORY && (provider_caps(s) & PROVIDER_HISTORY) == 0) /* of several storages one may keep none */
		return op_result(c->op.loop, &(struct err){ .code = ERR_OK });
	switch (c->kind) {
	case REQUEST_HEAD:
		return provider_head(s, &ref, c->ret);
	case REQUEST_READ:
		return provider_get(s, &ref, c->etag, c->ret);
	case REQUEST_WRITE:
		return provider_put(s, &ref, c->body, c->when, c->ret);
	case REQUEST_DELETE:
		return provider_del(s, &ref, c->etag);
	case REQUEST_LOCK:
		return provider_lock(s, &ref, c->ret, c->ret2);
	case REQUEST_UNLOCK:
		return c->ret != NULL ? bb_call_break(c, &ref) : provider_unlock(s, &ref, c->lock);
	case REQUEST_SEAL:
		return provider_seal(s, &ref, c->body);
	case REQUEST_LOCK_PEEK:
		return provider_lock_peek(s, &ref, c->ret);
	case REQUEST_HISTORY:
		return provider_history(s, &ref, c->seen, c->arg);
	case REQUEST_READ_VERSION:
		return provider_get_version(s, &ref, c->version, c->ret);
	default:
		return NULL;
	}
}

/* The wrapper around a call says whose error it is; around expect() there is none. */
static enum op_turn
bb_call_fail(struct bb_call *c)
{
	if (c->only)
		err_prefix(&c->op.res, "%s", c->bb->b.label);
	return op_fail(&c->op);
}

static enum op_turn
bb_call_step(struct op *op)
{
	struct bb_call *c = container_of(op, struct bb_call, op);

	switch ((enum bb_call_state)op->state) {
	case CALL_START:
		if (provider_holds_name(&c->bb->b, c->name, &op->res) != ERR_OK)
			return bb_call_fail(c);
		return op_await(op, CALL_ASKED, bb_call_must_ask(c) ? brainboard_refresh(c->bb) : NULL);
	case CALL_ASKED: /* an inventory that could not be had is no failure of itself */
		if (op_failed(op) || bb_call_may(c, &op->res) != ERR_OK)
			return bb_call_fail(c);
		if (bb_call_must_scan(c))
			return op_await(op, CALL_SCANNED, brainboard_scan(c->bb));
		__attribute__((fallthrough));
	case CALL_SCANNED:
		if (op_failed(op)) {
			err_unprefix(&op->res, c->bb->b.label);
			return bb_call_fail(c);
		}
		if (bb_call_resolve(c, &op->res) != ERR_OK)
			return bb_call_fail(c);
		return op_await(op, CALL_ANSWERED, bb_call_forward(c));
	case CALL_ANSWERED:
		err_unprefix(&op->res, c->bb->b.label);
		return op_failed(op) ? bb_call_fail(c) : op_finish(op);
	}
	return OP_DONE;
}

static void
bb_call_free(struct op *op)
{
	struct bb_call *c = container_of(op, struct bb_call, op);

	free(c->there);
	free(c);
}

static const struct op_class bb_call_class = { "brainboard", bb_call_step, NULL, bb_call_free, bb_call_states, ARRAY_LEN(bb_call_states) };

static struct op *
bb_call_new(struct backend *b, struct bb_call with, const struct op_class *class)
{
	struct bb_call *c = xmalloc(sizeof(*c));

	*c = with;
	c->bb = brainboard_of(b);
	op_init(&c->op, class, b->env->loop);
	return &c->op;
}

#define BB_CALL(b, ...) bb_call_new(b, (struct bb_call){ __VA_ARGS__ }, &bb_call_class)

struct op *
brainboard_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	return BB_CALL(b, .kind = REQUEST_HEAD, .name = ref->name, .ret = ret);
}

struct op *
brainboard_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	return BB_CALL(b, .kind = REQUEST_READ, .name = ref->name, .etag = unless_etag, .ret = ret);
}

struct op *
brainboard_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	return BB_CALL(b, .kind = REQUEST_WRITE, .name = ref->name, .body = body, .when = when, .ret = ret_etag);
}

struct op *
brainboard_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	return BB_CALL(b, .kind = REQUEST_DELETE, .name = ref->name, .etag = if_etag);
}

struct op *
brainboard_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	return BB_CALL(b, .kind = REQUEST_LOCK, .name = ref->name, .ret = l, .ret2 = ret_holder);
}

struct op *
brainboard_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	return BB_CALL(b, .kind = REQUEST_UNLOCK, .name = ref->name, .lock = l);
}

struct op *
brainboard_seal(struct backend *b, const struct state_ref *ref, const struct snapshot *body)
{
	return BB_CALL(b, .kind = REQUEST_SEAL, .name = ref->name, .body = body);
}

struct op *
brainboard_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	return BB_CALL(b, .kind = REQUEST_LOCK_PEEK, .name = ref->name, .ret = ret);
}

struct op *
brainboard_lock_break(struct backend *b, const struct state_ref *ref, const struct lock_info *l, struct lock_info *ret_holder)
{
	return BB_CALL(b, .kind = REQUEST_UNLOCK, .name = ref->name, .lock = l, .ret = ret_holder);
}

struct op *
brainboard_expect(struct backend *b, const struct state_ref *ref)
{
	return BB_CALL(b, .kind = REQUEST_LOCK, .name = ref->name, .only = true);
}

/* ---------------------------------------------------------------- what a person asks for */

static enum op_turn
bb_ask_step(struct op *op)
{
	struct brainboard *bb = container_of(op, struct bb_call, op)->bb;

	switch ((enum bb_call_state)op->state) {
	case CALL_START:
		return op_await(op, CALL_ASKED, brainboard_refresh(bb));
	default:
		if (!op_failed(op))
			op->res = bb->trouble;
		if (!op_failed(op))
			return op_ok(op);
		err_prefix(&op->res, "%s", bb->b.label);
		return op_fail(op);
	}
}

static const struct op_class bb_ask_class = { "brainboard ask", bb_ask_step, NULL, bb_call_free, bb_call_states, ARRAY_LEN(bb_call_states) };

struct op *
brainboard_ask(struct backend *b, const char *name)
{
	struct brainboard *bb = brainboard_of(b);

	if (bb->api == NULL || brainboard_known(bb, name) || provider_unalias(b, name) != NULL)
		return NULL;
	return bb_call_new(b, (struct bb_call){ .kind = REQUEST_LIST }, &bb_ask_class);
}

struct op *
brainboard_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	return BB_CALL(b, .kind = REQUEST_HISTORY, .name = ref->name, .seen = seen, .arg = arg);
}

struct op *
brainboard_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	return BB_CALL(b, .kind = REQUEST_READ_VERSION, .name = ref->name, .version = version, .ret = ret);
}

/* ---------------------------------------------------------------- of every storage */

static enum op_turn
bb_create_step(struct op *op)
{
	struct bb_call    *c = container_of(op, struct bb_call, op);
	struct brainboard *bb = c->bb;
	struct backend    *s;

	if (op_failed(op)) {
		err_unprefix(&op->res, bb->b.label);
		return op_fail(op);
	}
	while (c->at < bb->nstorages) {
		s = bb->storages[c->at++].b;
		if (s != NULL && s->provider->create != NULL)
			return op_await(op, CALL_START, provider_create(s));
	}
	return op_ok(op);
}

static const struct op_class bb_create_class = { "brainboard create", bb_create_step, NULL, bb_call_free, bb_call_states,
	ARRAY_LEN(bb_call_states) };

struct op *
brainboard_create(struct backend *b)
{
	return bb_call_new(b, (struct bb_call){ .kind = REQUEST_CREATE }, &bb_create_class);
}
