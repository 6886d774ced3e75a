/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "sim.h"

#include "provider/lock_object.h"

/*
 * The backend that an engine sees: each call is a request on the simulated network. Locks of object stores are the very state
 * machine that the drivers of S3 and GCS use (provider/lock_object.h); those of Azure and HTTP are one request, repeated when
 * nobody answered.
 */
#define CALL_LOCK_TRIES 3
#define CALL_RETRY_MS   500

struct call {
	struct op           op;
	struct backend     *b;
	struct sim_message *m;         /* until it is answered or forgotten */
	struct timer        deadline;
	struct err          outcome;
	/* outputs, of which each verb has some */
	struct snapshot    *snap;
	struct state_tag   *tag;
	char               *ret_etag;
	state_seen_fn      *seen;
	void               *seen_arg;
	struct lock_info   *there;     /* of a lock that was refused, or looked at */
	bool               *gone;      /* of a removal: nothing was there */
};

static struct sim_agent *
agent_of(const struct backend *b)
{
	return container_of(b->env, struct sim_agent, env);
}

static struct sim_server *
server_of(const struct backend *b)
{
	struct sim *s = agent_of(b)->sim;

	for (unsigned i = 0; i < s->nservers; i++)
		if (strcmp(s->servers[i].label, b->label) == 0)
			return &s->servers[i];
	sim_fail(s, "setup", "no server %s", b->label);
}

/* --- one request --- */

enum { CALL_START, CALL_ENDED };

static const char *const call_states[] = { "start", "ended" };

static void
call_end(struct call *c, const struct err *e)
{
	timer_stop(&c->deadline);
	if (c->m != NULL)
		message_forget(c->m);
	c->m = NULL;
	c->op.res = *e;
	c->op.state = CALL_ENDED;
	op_wake(&c->op);
}

static void
call_give_up(struct call *c, enum err_code code, const char *why)
{
	struct err e;

	if (c->m->sent && verb_writes(c->m->verb))
		code = ERR_UNCERTAIN;
	err_set(&e, code, 0, "%s", why);
	call_end(c, &e);
}

static void
call_expired(void *arg)
{
	call_give_up(arg, ERR_TIMEOUT, "no answer in time");
}

static void
call_cancel(struct op *op)
{
	call_give_up(container_of(op, struct call, op), ERR_CANCELLED, "cancelled");
}

static void
call_list(struct call *c)
{
	const struct sim_message *m = c->m;
	size_t                    n = m->outcome.code == ERR_OK ? m->nlist : m->nlist / 2;

	for (size_t i = 0; i < n; i++)
		c->seen(c->seen_arg, &(struct state_seen){ .name = m->list[i].name, .etag = m->list[i].tag, .size = m->list[i].size,
		    .locked = m->list[i].locked });
}

static void
call_got(struct call *c, struct err *e)
{
	const struct sim_message *m = c->m;

	if (c->snap != NULL && snapshot_of(c->snap, m->got, e) == ERR_OK)
		memcpy(c->snap->etag, m->got_tag, sizeof(m->got_tag));
	if (c->tag != NULL) {
		memcpy(c->tag->etag, m->got_tag, sizeof(m->got_tag));
		c->tag->size = body_size(m->got);
	}
}

static void
call_answered(void *arg)
{
	struct call              *c = arg;
	const struct sim_message *m = c->m;
	struct err                e = m->outcome;

	if (c->seen != NULL)
		call_list(c);
	if (e.code == ERR_OK && m->got != NULL)
		call_got(c, &e);
	if (e.code == ERR_OK && c->ret_etag != NULL)
		memcpy(c->ret_etag, m->got_tag, sizeof(m->got_tag));
	if (c->there != NULL && m->got_lock != NULL)
		lock_info_parse(span_str(m->got_lock), c->there, NULL);
	call_end(c, &e);
}

static enum op_turn
call_step(struct op *op)
{
	struct call *c = container_of(op, struct call, op);

	if (op->state == CALL_ENDED)
		return op_finish(op);
	timer_set(&c->deadline, c->b->common.timeout_ms);
	message_send(c->m, call_answered, c);
	return OP_WAIT;
}

static void
call_free(struct op *op)
{
	struct call *c = container_of(op, struct call, op);

	if (c->m != NULL)
		message_forget(c->m);
	free(c);
}

static const struct op_class call_class = { "wire", call_step, call_cancel, call_free, call_states, ARRAY_LEN(call_states) };

static struct call *
call_new(struct backend *b, enum sim_verb verb, const char *name)
{
	struct call *c = xcalloc(1, sizeof(*c));

	op_init(&c->op, &call_class, b->env->loop);
	timer_init(&c->deadline, b->env->loop, call_expired, c);
	c->b = b;
	c->m = message_new(agent_of(b), server_of(b), verb, name);
	provider_sent(b);
	return c;
}

/* --- states --- */

static struct op *
driver_create(struct backend *b)
{
	return op_result(b->env->loop, &(struct err){ .code = ERR_OK });
}

static struct op *
driver_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct call *c = call_new(b, VERB_LIST, NULL);

	c->seen = seen;
	c->seen_arg = arg;
	return &c->op;
}

static struct op *
driver_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct call *c = call_new(b, VERB_HEAD, ref->name);

	memset(ret, 0, sizeof(*ret));
	c->tag = ret;
	return &c->op;
}

static struct op *
driver_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct call *c = call_new(b, VERB_GET, ref->name);

	snprintf(c->m->tag, sizeof(c->m->tag), "%s", unless_etag != NULL ? unless_etag : "");
	c->snap = ret;
	return &c->op;
}

static struct call *
driver_write(struct backend *b, const char *name, struct body *body, enum put_if when, const char *etag)
{
	struct call *c = call_new(b, VERB_PUT, name);

	c->m->body = body_ref(body);
	c->m->when = when;
	snprintf(c->m->tag, sizeof(c->m->tag), "%s", etag != NULL ? etag : "");
	return c;
}

static struct op *
driver_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct call *c = driver_write(b, ref->name, body->body, when->when, when->etag);

	check_is_led(b, c->m);
	if (when->lock != NULL)
		snprintf(c->m->lock_id, sizeof(c->m->lock_id), "%s", when->lock->id);
	c->ret_etag = ret_etag;
	return &c->op;
}

/* --- locks that are objects --- */

struct object_lock {
	struct lock_object k;
	struct snapshot    snap;
	char               etag[ETAG_MAX];
	enum err_code      code;       /* of the last request: OK, NOT_FOUND or CONFLICT */
};

/* What the driver of S3 sees as a status is an outcome here: it ends OK and answer() tells. */
struct object_ask {
	struct op           op;
	struct object_lock *l;
};

enum { ASK_START, ASK_ANSWERED };

static struct op *
object_request_op(struct object_lock *l)
{
	struct backend *b = l->k.b;
	struct state_ref ref = { l->k.object };
	struct body    *body;
	struct call    *c;

	snapshot_free(&l->snap);
	switch (l->k.asked) {
	case LOCK_OBJECT_PUT:
		body = body_copy(span_str(l->k.body));
		c = driver_write(b, ref.name, body, PUT_ABSENT, NULL);
		body_unref(body);
		c->ret_etag = l->etag;
		return &c->op;
	case LOCK_OBJECT_READ:
		return driver_get(b, &ref, NULL, &l->snap);
	case LOCK_OBJECT_REMOVE:
		c = call_new(b, VERB_DEL, ref.name);
		snprintf(c->m->tag, sizeof(c->m->tag), "%s", l->k.there.generation);
		return &c->op;
	}
	return NULL;
}

static enum op_turn
object_ask_step(struct op *op)
{
	struct object_ask *a = container_of(op, struct object_ask, op);

	if (op->state == ASK_START)
		return op_await(op, ASK_ANSWERED, object_request_op(a->l));
	a->l->code = op->res.code;
	if (op->res.code != ERR_OK && op->res.code != ERR_NOT_FOUND && op->res.code != ERR_CONFLICT)
		return op_fail(op);
	return op_ok(op);
}

static void
object_ask_free(struct op *op)
{
	free(container_of(op, struct object_ask, op));
}

static const struct op_class object_ask_class = { "lock request", object_ask_step, NULL, object_ask_free, call_states,
	ARRAY_LEN(call_states) };

static struct op *
object_request(struct lock_object *k)
{
	struct object_ask *a = xcalloc(1, sizeof(*a));

	op_init(&a->op, &object_ask_class, k->b->env->loop);
	a->l = container_of(k, struct object_lock, k);
	return &a->op;
}

static enum lock_object_answer
object_answer(struct lock_object *k)
{
	struct object_lock *l = container_of(k, struct object_lock, k);

	switch (l->code) {
	case ERR_OK:
		break;
	case ERR_NOT_FOUND:
		return LOCK_OBJECT_ABSENT;
	default:
		return LOCK_OBJECT_UNMET;
	}
	if (k->asked == LOCK_OBJECT_READ) {
		lock_object_read(k, body_span(l->snap.body));
		snprintf(k->there.generation, sizeof(k->there.generation), "%.127s", l->snap.etag);
		return LOCK_OBJECT_THERE;
	}
	if (k->asked == LOCK_OBJECT_PUT)
		snprintf(k->there.generation, sizeof(k->there.generation), "%.127s", l->etag);
	return LOCK_OBJECT_DONE;
}

static void
object_refused(struct lock_object *k, const char *doing, struct err *reterr)
{
	err_set(reterr, ERR_UNSUPPORTED, 0, "%s of %s was refused", doing, k->object);
}

static void
object_vanishing(struct lock_object *k, struct err *reterr)
{
	err_set(reterr, ERR_BUSY, 0, "%s comes and goes", k->object);
}

static void
object_release(struct lock_object *k)
{
	snapshot_free(&container_of(k, struct object_lock, k)->snap);
}

static const struct lock_object_driver object_driver = { .store = "sim", .request = object_request, .answer = object_answer,
	.refused = object_refused, .vanishing = object_vanishing, .release = object_release };

static struct lock_object *
object_lock_new(struct backend *b, const struct state_ref *ref)
{
	struct object_lock *l = xcalloc(1, sizeof(*l));

	lock_object_init(&l->k, &object_driver, b, ref, xasprintf("%s.tflock", ref->name));
	return &l->k;
}

static struct op *
object_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	return lock_object_lock(object_lock_new(b, ref), l, ret_holder);
}

static struct op *
object_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	return lock_object_unlock(object_lock_new(b, ref), l);
}

static struct op *
object_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	return lock_object_peek(object_lock_new(b, ref), ret);
}

/* --- locks of one request: the same again after no answer, and then it is known or stays in doubt --- */

struct locking {
	struct op         op;
	struct backend   *b;
	char             *name;
	struct lock_info *mine, *holder;
	struct lock_info  of;          /* an unlock's */
	bool              unlock, doubt;
	unsigned          tries;
};

enum { LOCKING_SEND, LOCKING_ANSWERED };

static struct op *
locking_send(struct locking *k)
{
	const struct lock_info *l = k->unlock ? &k->of : k->mine;
	struct call            *c = call_new(k->b, k->unlock ? VERB_UNLOCK : VERB_LOCK, k->name);
	struct buf              body;

	snprintf(c->m->lock_id, sizeof(c->m->lock_id), "%s", l->id);
	c->there = k->unlock ? NULL : k->holder;
	if (!k->unlock) {
		buf_init(&body, LOCK_BODY_MAX);
		lock_info_body(l, &body);
		c->m->lock = buf_take(&body);
	}
	return &c->op;
}

static enum op_turn
locking_ended(struct locking *k)
{
	struct op *op = &k->op;

	if (!k->unlock)
		k->mine->late = k->doubt;
	if (op->res.code == ERR_LOCKED)
		lock_info_refuse(k->holder, ERR_LOCKED, 423, k->name, &op->res);
	else if (k->unlock && (op->res.code == ERR_NOT_FOUND || op->res.code == ERR_CONFLICT))
		return op_ok(op);
	else if (op_failed(op) && k->doubt)
		op->res.code = ERR_UNCERTAIN;
	return op_failed(op) ? op_fail(op) : op_ok(op);
}

static enum op_turn
locking_step(struct op *op)
{
	struct locking *k = container_of(op, struct locking, op);

	if (op->state == LOCKING_SEND && !op_failed(op))
		return op_await(op, LOCKING_ANSWERED, locking_send(k));
	if (op->state == LOCKING_SEND) /* cancelled in between */
		return locking_ended(k);
	k->doubt |= op->res.code == ERR_UNCERTAIN;
	if (op->res.code != ERR_UNCERTAIN || op->cancelled || ++k->tries >= CALL_LOCK_TRIES)
		return locking_ended(k);
	return op_await(op, LOCKING_SEND, op_sleep(op->loop, CALL_RETRY_MS));
}

static void
locking_free(struct op *op)
{
	struct locking *k = container_of(op, struct locking, op);

	free(k->name);
	free(k);
}

static const struct op_class locking_class = { "lock by request", locking_step, NULL, locking_free, call_states, ARRAY_LEN(call_states) };

static struct locking *
locking_new(struct backend *b, const struct state_ref *ref)
{
	struct locking *k = xcalloc(1, sizeof(*k));

	op_init(&k->op, &locking_class, b->env->loop);
	k->b = b;
	k->name = xstrdup(ref->name);
	return k;
}

static struct op *
request_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct locking *k = locking_new(b, ref);

	k->mine = l;
	k->holder = ret_holder;
	return &k->op;
}

static struct op *
request_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	struct locking *k = locking_new(b, ref);

	k->of = *l;
	k->unlock = true;
	return &k->op;
}

static struct op *
request_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct call *c = call_new(b, VERB_PEEK, ref->name);

	c->there = ret;
	return &c->op;
}

/* --- the tables --- */

static unsigned
driver_caps(const struct backend *b)
{
	return server_caps(server_of(b)->kind);
}

static void
driver_close(struct backend *b)
{
	provider_mem.close(b);
}

#define DRIVER_STATES .name = "mem", .summary = "simulated", .close = driver_close, .caps = driver_caps, .create = driver_create, \
	.list = driver_list, .head = driver_head, .get = driver_get, .put = driver_put

static const struct provider driver_tables[SIM_KINDS] = {
	[SIM_S3] = { DRIVER_STATES, .lock = object_lock, .unlock = object_unlock, .lock_peek = object_peek },
	[SIM_GCS] = { DRIVER_STATES, .lock = object_lock, .unlock = object_unlock, .lock_peek = object_peek },
	[SIM_AZURE] = { DRIVER_STATES, .lock = request_lock, .unlock = request_unlock, .lock_peek = request_peek },
	[SIM_HTTP] = { DRIVER_STATES, .lock = request_lock, .unlock = request_unlock },
	[SIM_BARE] = { DRIVER_STATES },
};

void
driver_attach(struct backend *b, struct sim_agent *a)
{
	(void)a;
	b->provider = &driver_tables[server_of(b)->kind];
	b->caps = driver_caps(b);
}
