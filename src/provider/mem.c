/* SPDX-License-Identifier: MIT */
#include "provider/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem_world.h"
#include "reader.h"

struct mem_conf {
	bool    lock, if_match, list, history;
	int64_t latency_ms;
};

struct mem {
	struct backend         b;
	struct mem_world      *world;
	bool                   own;
	const struct mem_conf *conf;
	struct loop           *loop;
};

static const struct conf_field mem_fields[] = {
	{ "lock", CONF_BOOL, offsetof(struct mem_conf, lock), "true", "has locks", NULL, NULL, false, NULL },
	{ "if_match", CONF_BOOL, offsetof(struct mem_conf, if_match), "true", "enforces preconditions", NULL, NULL, false, NULL },
	{ "list", CONF_BOOL, offsetof(struct mem_conf, list), "true", "lists change tags", NULL, NULL, false, NULL },
	{ "history", CONF_BOOL, offsetof(struct mem_conf, history), "false", "lets older versions be read", NULL, NULL, false, NULL },
	{ "latency", CONF_MS, offsetof(struct mem_conf, latency_ms), "1ms", "of each call, in loop time", NULL, NULL, false, NULL },
	{ .name = NULL },
};

void
mem_attach(struct backend *b, struct mem_world *w)
{
	struct mem *m = container_of(b, struct mem, b);

	if (m->own)
		mem_world_free(m->world);
	m->own = false;
	m->world = w;
}

/* ---------------------------------------------------------------- one call: it happens in the middle of its latency */

enum mem_kind { MEM_CREATE, MEM_LIST, MEM_HEAD, MEM_GET, MEM_PUT, MEM_DEL, MEM_LOCK, MEM_UNLOCK, MEM_PEEK, MEM_PROBE, MEM_HISTORY,
	MEM_GET_VERSION };

struct mem_call {
	struct op            op;
	struct mem          *m;
	enum mem_kind        kind;
	char                *name;
	char                 etag[ETAG_MAX];
	struct put_condition when;
	struct lock_info     lock;
	struct body         *body;
	void                *ret, *ret2;
	state_seen_fn       *seen;
	version_seen_fn     *version_seen;
	probe_fn            *probe;
	void                *arg;
	struct err           outcome;
};

static void
mem_tag(uint64_t tag, char ret[ETAG_MAX])
{
	snprintf(ret, ETAG_MAX, "%" PRIu64, tag);
}

static void
mem_list(struct mem_call *c)
{
	struct span name;
	void       *v;
	char        tag[ETAG_MAX], *text;

	for (size_t i = 0; map_next(c->m->world->states, &i, &name, &v);) {
		struct mem_state *s = v;

		if (s->body == NULL)
			continue;
		mem_tag(s->tag, tag);
		text = span_dup(name);
		c->seen(c->arg, &(struct state_seen){ .name = text, .etag = c->m->conf->list ? tag : "",
		    .size = body_size(s->body), .locked = s->lock != NULL });
		free(text);
	}
}

static void
mem_head(struct mem_call *c, const struct mem_state *s)
{
	struct state_tag *ret = c->ret;

	if (s == NULL || s->body == NULL) {
		err_set(&c->outcome, ERR_NOT_FOUND, 0, "no state %s", c->name);
		return;
	}
	mem_tag(s->tag, ret->etag);
	ret->size = body_size(s->body);
}

/* What is there now is the last that was written. */
static void
mem_version_told(struct mem_world *w, const char *name, struct snapshot *ret)
{
	struct mem_versions *x = mem_versions(w, name);

	memcpy(ret->version, ret->etag, sizeof(ret->etag));
	ret->modified = x != NULL && x->n > 0 ? x->v[x->n - 1].made : 0;
}

static void
mem_get(struct mem_call *c, const struct mem_state *s)
{
	struct snapshot *ret = c->ret;
	char             tag[ETAG_MAX];

	if (s == NULL || s->body == NULL) {
		err_set(&c->outcome, ERR_NOT_FOUND, 0, "no state %s", c->name);
		return;
	}
	mem_tag(s->tag, tag);
	if (strcmp(tag, c->etag) == 0) {
		err_set(&c->outcome, ERR_UNCHANGED, 0, "unchanged");
		return;
	}
	if (snapshot_of(ret, s->body, &c->outcome) != ERR_OK)
		return;
	memcpy(ret->etag, tag, sizeof(tag));
	if (c->m->conf->history)
		mem_version_told(c->m->world, c->name, ret);
}

static void
mem_history(struct mem_call *c)
{
	struct mem_versions *x = mem_versions(c->m->world, c->name);
	char                 id[ETAG_MAX];

	if (c->m->world->deny_list != ERR_OK) {
		err_set(&c->outcome, c->m->world->deny_list, 403, "%s: its versions may not be listed", c->name);
		return;
	}
	for (size_t i = x != NULL ? x->n : 0; i-- > 0;) {
		mem_tag(x->v[i].tag, id);
		if (!c->version_seen(c->arg, &(struct version_seen){ .id = id, .etag = id, .modified = x->v[i].made, .latest = i + 1 == x->n }))
			break;
	}
}

static void
mem_get_version(struct mem_call *c)
{
	struct mem_versions *x = mem_versions(c->m->world, c->name);
	struct snapshot     *ret = c->ret;
	char                 id[ETAG_MAX];

	if (c->m->world->deny_read != ERR_OK) {
		err_set(&c->outcome, c->m->world->deny_read, 403, "%s: its versions may not be read", c->name);
		return;
	}
	for (size_t i = 0; x != NULL && i < x->n; i++) {
		mem_tag(x->v[i].tag, id);
		if (strcmp(id, c->etag) != 0 || x->v[i].body == NULL)
			continue;
		if (snapshot_of(ret, x->v[i].body, &c->outcome) == ERR_OK)
			memcpy(ret->version, id, sizeof(id));
		return;
	}
	err_set(&c->outcome, ERR_NOT_FOUND, 404, "%s has no version %s", c->name, c->etag);
}

static void
mem_put(struct mem_call *c, const struct mem_state *s)
{
	bool present = s != NULL && s->body != NULL;
	char tag[ETAG_MAX] = "";

	if (present)
		mem_tag(s->tag, tag);
	if ((c->when.when == PUT_ABSENT && present) || (c->when.when == PUT_MATCH && (!present || strcmp(tag, c->etag) != 0))) {
		err_set(&c->outcome, ERR_CONFLICT, 412, "%s: the precondition does not hold", c->name);
		return;
	}
	mem_store(c->m->world, c->name, c->body);
	mem_tag(c->m->world->tags, c->ret);
}

static void
mem_del(struct mem_call *c, const struct mem_state *s)
{
	char tag[ETAG_MAX] = "";

	if (s == NULL || s->body == NULL) {
		err_set(&c->outcome, ERR_NOT_FOUND, 0, "no state %s", c->name);
		return;
	}
	mem_tag(s->tag, tag);
	if (c->etag[0] != '\0' && strcmp(c->etag, tag) != 0)
		err_set(&c->outcome, ERR_CONFLICT, 412, "%s: the precondition does not hold", c->name);
	else
		mem_store(c->m->world, c->name, NULL);
}

static void
mem_lock(struct mem_call *c, struct mem_state *s)
{
	struct lock_info *mine = c->ret, *holder = c->ret2;
	struct buf        body;

	if (s != NULL && s->lock != NULL) {
		lock_info_parse(span_str(s->lock), holder, NULL);
		if (strcmp(holder->id, mine->id) == 0)
			return;
		lock_info_refuse(holder, ERR_LOCKED, 423, c->name, &c->outcome);
		return;
	}
	buf_init(&body, 0);
	lock_info_body(mine, &body);
	mem_world_lock(c->m->world, c->name, buf_str(&body));
	buf_free(&body);
}

static void
mem_unlock(struct mem_call *c, struct mem_state *s)
{
	struct lock_info holder;

	if (s == NULL || s->lock == NULL)
		return;
	lock_info_parse(span_str(s->lock), &holder, NULL);
	if (strcmp(holder.id, c->lock.id) == 0)
		mem_world_lock(c->m->world, c->name, NULL);
}

static void
mem_peek(struct mem_call *c, const struct mem_state *s)
{
	if (s == NULL || s->lock == NULL)
		err_set(&c->outcome, ERR_NOT_FOUND, 0, "%s is not locked", c->name);
	else
		lock_info_parse(span_str(s->lock), c->ret, NULL);
}

static void
mem_apply(struct mem_call *c)
{
	struct mem_state *s = c->name == NULL ? NULL : mem_state(c->m->world, c->name);

	if (c->m->world->down != ERR_OK) {
		err_set(&c->outcome, c->m->world->down, 0, "the world is down");
		return;
	}
	switch (c->kind) {
	case MEM_CREATE:
		break;
	case MEM_LIST:
		mem_list(c);
		break;
	case MEM_HEAD:
		mem_head(c, s);
		break;
	case MEM_GET:
		mem_get(c, s);
		break;
	case MEM_PUT:
		mem_put(c, s);
		break;
	case MEM_DEL:
		mem_del(c, s);
		break;
	case MEM_LOCK:
		mem_lock(c, s);
		break;
	case MEM_UNLOCK:
		mem_unlock(c, s);
		break;
	case MEM_PEEK:
		mem_peek(c, s);
		break;
	case MEM_PROBE:
		for (size_t i = 0; i < PROBE_CONDITIONS; i++)
			c->probe(c->arg, &(struct probe_check){ probe_conditions[i], c->m->conf->if_match, "by configuration", false });
		c->probe(c->arg, &(struct probe_check){ "lock", c->m->conf->lock, "by configuration", false });
		break;
	case MEM_HISTORY:
		mem_history(c);
		break;
	case MEM_GET_VERSION:
		mem_get_version(c);
		break;
	}
}

static bool mem_is_write(enum mem_kind k);

static void
mem_fault(struct mem_call *c)
{
	struct mem_world *w = c->m->world;
	bool              here = ++w->calls == w->fault_at;

	if (!here || w->fault_after)
		mem_apply(c);
	if (!here)
		return;
	err_set(&c->outcome, w->fault == ERR_UNCERTAIN && !mem_is_write(c->kind) ? ERR_NETWORK : w->fault, 0, "an injected fault");
	c->outcome.retry_after_ms = w->fault == ERR_BUSY ? w->retry_after_ms : 0;
}

enum mem_call_state { START, ARRIVED, BACK };

static const char *const mem_call_states[] = { "start", "arrived", "back" };

static bool
mem_is_write(enum mem_kind k)
{
	return k == MEM_PUT || k == MEM_DEL || k == MEM_LOCK || k == MEM_UNLOCK;
}

static enum op_turn
mem_call_step(struct op *op)
{
	struct mem_call *c = container_of(op, struct mem_call, op);

	switch ((enum mem_call_state)op->state) {
	case START:
		return op_await(op, ARRIVED, op_sleep(op->loop, c->m->conf->latency_ms / 2));
	case ARRIVED:
		if (op_failed(op))
			return op_fail(op);
		mem_fault(c);
		return op_await(op, BACK, op_sleep(op->loop, c->m->conf->latency_ms - c->m->conf->latency_ms / 2));
	case BACK: /* cancelled on the way back: a write has happened, and whoever asked cannot know */
		if (op_failed(op) && mem_is_write(c->kind))
			err_set(&op->res, ERR_UNCERTAIN, 0, "cancelled while the answer was under way");
		if (op_failed(op))
			return op_fail(op);
		op->res = c->outcome;
		return op_finish(op);
	}
	return OP_DONE;
}

static void
mem_call_free(struct op *op)
{
	struct mem_call *c = container_of(op, struct mem_call, op);

	body_unref(c->body);
	free(c->name);
	free(c);
}

static const struct op_class mem_call_class = { "mem", mem_call_step, NULL, mem_call_free, mem_call_states,
	ARRAY_LEN(mem_call_states) };

static struct mem_call *
mem_call(struct backend *b, enum mem_kind kind, const struct state_ref *ref)
{
	struct mem_call *c = xcalloc(1, sizeof(*c));

	c->m = container_of(b, struct mem, b);
	op_init(&c->op, &mem_call_class, c->m->loop);
	c->kind = kind;
	c->name = ref != NULL ? xstrdup(ref->name) : NULL;
	provider_sent(b);
	return c;
}

static struct op *
mem_op_create(struct backend *b)
{
	return &mem_call(b, MEM_CREATE, NULL)->op;
}

static struct op *
mem_op_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct mem_call *c = mem_call(b, MEM_LIST, NULL);

	c->seen = seen;
	c->arg = arg;
	return &c->op;
}

static struct op *
mem_op_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct mem_call *c = mem_call(b, MEM_HEAD, ref);

	memset(ret, 0, sizeof(*ret));
	c->ret = ret;
	return &c->op;
}

static struct op *
mem_op_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct mem_call *c = mem_call(b, MEM_GET, ref);

	snprintf(c->etag, sizeof(c->etag), "%s", unless_etag != NULL ? unless_etag : "");
	c->ret = ret;
	return &c->op;
}

static struct op *
mem_op_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct mem_call *c = mem_call(b, MEM_PUT, ref);

	c->body = body_ref(body->body);
	c->when.when = when->when;
	snprintf(c->etag, sizeof(c->etag), "%s", when->etag != NULL ? when->etag : "");
	c->ret = ret_etag;
	return &c->op;
}

static struct op *
mem_op_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct mem_call *c = mem_call(b, MEM_DEL, ref);

	snprintf(c->etag, sizeof(c->etag), "%s", if_etag != NULL ? if_etag : "");
	return &c->op;
}

static struct op *
mem_op_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct mem_call *c = mem_call(b, MEM_LOCK, ref);

	c->ret = l;
	c->ret2 = ret_holder;
	return &c->op;
}

static struct op *
mem_op_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	struct mem_call *c = mem_call(b, MEM_UNLOCK, ref);

	c->lock = *l;
	return &c->op;
}

static struct op *
mem_op_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct mem_call *c = mem_call(b, MEM_PEEK, ref);

	c->ret = ret;
	return &c->op;
}

static struct op *
mem_op_probe(struct backend *b, probe_fn *seen, void *arg)
{
	struct mem_call *c = mem_call(b, MEM_PROBE, NULL);

	c->probe = seen;
	c->arg = arg;
	return &c->op;
}

static struct op *
mem_op_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	struct mem_call *c = mem_call(b, MEM_HISTORY, ref);

	c->version_seen = seen;
	c->arg = arg;
	return &c->op;
}

static struct op *
mem_op_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	struct mem_call *c = mem_call(b, MEM_GET_VERSION, ref);

	snprintf(c->etag, sizeof(c->etag), "%s", version);
	c->ret = ret;
	return &c->op;
}

/* ---------------------------------------------------------------- the driver */

static unsigned
mem_caps(const struct backend *b)
{
	const struct mem_conf *c = container_of(b, struct mem, b)->conf;

	return (c->lock ? PROVIDER_LOCK | PROVIDER_LOCK_ID : 0u) | (c->if_match ? PROVIDER_IF_MATCH | PROVIDER_CAS : 0u) |
	    (c->list ? (unsigned)PROVIDER_LIST : 0u) | (c->history ? (unsigned)PROVIDER_HISTORY : 0u);
}

static enum err_code
mem_open(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
    const struct backend_common *common, struct backend **ret, struct err *reterr)
{
	struct mem *m = xcalloc(1, sizeof(*m));

	(void)c, (void)common, (void)reterr;
	m->loop = env->loop;
	m->conf = conf;
	m->world = mem_world_new();
	m->own = true;
	m->b.where = xasprintf("mem:%s", block->labels[1]);
	*ret = &m->b;
	return ERR_OK;
}

static void
mem_close(struct backend *b)
{
	struct mem *m = container_of(b, struct mem, b);

	if (m->own)
		mem_world_free(m->world);
	free(m);
}

const struct provider provider_mem = {
	.name = "mem",
	.summary = "states in memory, for tests",
	.fields = mem_fields,
	.conf_size = sizeof(struct mem_conf),
	.open = mem_open,
	.close = mem_close,
	.caps = mem_caps,
	.create = mem_op_create,
	.list = mem_op_list,
	.head = mem_op_head,
	.get = mem_op_get,
	.put = mem_op_put,
	.del = mem_op_del,
	.lock = mem_op_lock,
	.unlock = mem_op_unlock,
	.lock_peek = mem_op_peek,
	.history = mem_op_history,
	.get_version = mem_op_get_version,
	.probe = mem_op_probe,
	.backfill = 100,
};
