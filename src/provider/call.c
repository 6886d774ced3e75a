/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/name.h"
#include "base/time.h"
#include "provider/records.h"
#include "reach.h"

/*
 * The wrappers. Each call is an operation around the driver's own that first waits for a free slot (requests_per_second,
 * Retry-After) and afterwards adds the backend's label to errors and logs.
 */

/* Everything of the arguments is copied but bodies, which are referenced. */
struct call {
	struct op             op;
	struct backend       *b;
	enum request_kind     kind;
	char                 *about;       /* "read BACKEND:NAME" */
	const char           *name;        /* in about; NULL: of the whole backend */
	struct state_ref      ref;
	char                  etag[ETAG_MAX];
	struct put_condition  when;
	struct lock_info      lock;        /* unlock, put */
	struct snapshot       body;
	void                 *ret, *ret2;  /* the caller's outputs */
	state_seen_fn        *seen;
	version_seen_fn      *version_seen;
	char                 *version;     /* which one is read */
	probe_fn             *probe;
	void                 *arg;
	int64_t               begun;
};

enum call_state { START, WAITED, ANSWERED };

static const char *const call_states[] = { "start", "waited", "answered" };

static void
call_free(struct op *op)
{
	struct call *c = container_of(op, struct call, op);

	body_unref(c->body.body);
	free(c->about);
	free(c->version);
	free(c);
}

/* The remote wants to be left alone for longer than one request may take: so it is, but for a lock of ours that others wait for. */
static bool
call_is_off(struct call *c)
{
	struct backend *b = c->b;
	int64_t         wait = b->busy_until - loop_now(c->op.loop);
	char            text[TIME_TEXT_MAX];

	if (wait <= b->common.timeout_ms || c->kind == REQUEST_UNLOCK)
		return false;
	err_set(&c->op.res, ERR_BUSY, 0, "%s: the server asked not to be asked for %s", b->label, duration_format(wait, text));
	c->op.res.retry_after_ms = wait > UINT32_MAX ? UINT32_MAX : (uint32_t)wait;
	return true;
}

/* Nothing is written, nor locked for it, under a name that the backend does not hold as it is; a driver knows that of a probe. */
static bool
call_cannot_hold(struct call *c)
{
	if ((c->kind != REQUEST_WRITE && c->kind != REQUEST_LOCK) || strcmp(c->ref.name, REACH_SCRATCH) == 0 ||
	    provider_holds_name(c->b, c->ref.name, &c->op.res) == ERR_OK)
		return false;
	err_prefix(&c->op.res, "%s", c->b->label);
	return true;
}

/* How long this call has to wait, and its place in the queue behind others. Who has a lease would lose it behind them, and with it what
 * they are for: its record comes first. */
static int64_t
call_wait(struct call *c)
{
	struct backend *b = c->b;
	int64_t         now = loop_now(c->op.loop), at = now;
	bool            first = c->ref.name != NULL && strncmp(c->ref.name, RECORD_PREFIX, strlen(RECORD_PREFIX)) == 0;

	if (b->busy_until > at)
		at = b->busy_until - now < b->common.timeout_ms ? b->busy_until : now + b->common.timeout_ms;
	if (b->common.requests_per_second > 0) {
		if (b->next_slot < at)
			b->next_slot = at;
		if (!first)
			at = b->next_slot;
		b->next_slot += (1000 + b->common.requests_per_second - 1) / b->common.requests_per_second;
	}
	return at - now;
}

/* Lists only what the configuration selects; a name that nobody could use is handed on with its problem. */
static void
call_seen(void *arg, const struct state_seen *s)
{
	struct call      *c = arg;
	struct state_seen out = *s;
	struct err        e;

	if (s->name[0] != '\0' && !provider_selects(c->b, s->name))
		return;
	if (out.problem == NULL && name_check(span_str(s->name), &e) != ERR_OK)
		out.problem = e.msg;
	c->seen(c->arg, &out);
}

/* What has no name cannot be asked for. */
static bool
call_seen_version(void *arg, const struct version_seen *v)
{
	struct call *c = arg;

	return v->id[0] == '\0' || strlen(v->id) >= VERSION_ID_MAX || c->version_seen(c->arg, v);
}

static struct op *
call_driver(struct call *c)
{
	const struct provider *p = c->b->provider;

	switch (c->kind) {
	case REQUEST_CREATE:
		return p->create(c->b);
	case REQUEST_LIST:
		return p->list(c->b, call_seen, c);
	case REQUEST_HEAD:
		return p->head(c->b, &c->ref, c->ret);
	case REQUEST_READ:
		return p->get(c->b, &c->ref, c->etag[0] != '\0' ? c->etag : NULL, c->ret);
	case REQUEST_WRITE:
		return p->put(c->b, &c->ref, &c->body, &c->when, c->ret);
	case REQUEST_DELETE:
		return p->del(c->b, &c->ref, c->etag[0] != '\0' ? c->etag : NULL);
	case REQUEST_LOCK:
		return p->lock(c->b, &c->ref, c->ret, c->ret2);
	case REQUEST_UNLOCK:
		return c->ret != NULL ? p->lock_break(c->b, &c->ref, &c->lock, c->ret) : p->unlock(c->b, &c->ref, &c->lock);
	case REQUEST_SEAL:
		return p->seal(c->b, &c->ref, &c->body);
	case REQUEST_LOCK_PEEK:
		return p->lock_peek(c->b, &c->ref, c->ret);
	case REQUEST_PROBE:
		return p->probe(c->b, c->probe, c->arg);
	case REQUEST_HISTORY:
		return p->history(c->b, &c->ref, call_seen_version, c);
	case REQUEST_READ_VERSION:
		return p->get_version(c->b, &c->ref, c->version, c->ret);
	case REQUEST_KINDS:
		break;
	}
	return NULL;
}

static void
call_log(const struct call *c)
{
	char op[ERR_MSG_MAX];

	if (!log_on(LOG_DEBUG))
		return;
	snprintf(op, sizeof(op), "%s %s", c->b->label, request_kind_name(c->kind));
	log_event(LOG_DEBUG, op, c->op.res.code == ERR_OK ? "ok" : err_kind(c->op.res.code), { "name", log_str(c->name) },
	    { "took", log_ms(loop_now(c->op.loop) - c->begun) },
	    { "reason", log_str(c->op.res.code != ERR_OK ? c->op.res.msg : NULL) });
}

static enum op_turn
call_step(struct op *op)
{
	struct call *c = container_of(op, struct call, op);
	int64_t      wait;

	switch ((enum call_state)op->state) {
	case START:
		if (call_is_off(c) || call_cannot_hold(c))
			return op_fail(op);
		wait = call_wait(c);
		if (wait > 0)
			return op_await(op, WAITED, op_sleep(op->loop, wait));
		return op_go(op, WAITED);
	case WAITED:
		if (op_failed(op))
			return op_fail(op);
		c->begun = loop_now(op->loop);
		return op_await(op, ANSWERED, call_driver(c));
	case ANSWERED:
		request_count(&c->b->stats[c->kind], op->res.code, loop_now(op->loop) - c->begun);
		call_log(c);
		if (op->res.code == ERR_BUSY && op->res.retry_after_ms > 0 && c->b->provider->behind == NULL) /* else one of several behind it */
			c->b->busy_until = loop_now(op->loop) + op->res.retry_after_ms;
		if (op_failed(op) && op->res.code != ERR_CANCELLED && op->res.code != ERR_UNCHANGED) {
			err_unprefix(&op->res, c->b->label); /* of a probe, which makes calls of this kind itself */
			err_prefix(&op->res, "%s", c->b->label);
		}
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class call_class = { "request", call_step, NULL, call_free, call_states, ARRAY_LEN(call_states) };

/* By hand: it is put together for each request, and shown for few. */
static void
call_about(struct call *c, const char *name)
{
	const char *kind = request_kind_name(c->kind), *label = c->b->label;
	size_t      n = strlen(kind) + strlen(label) + (name != NULL ? strlen(name) : 0) + sizeof(" :");
	char       *p = c->about = xmalloc(n);

	p = stpcpy(stpcpy(stpcpy(p, kind), " "), label);
	c->op.about = c->about;
	if (name == NULL)
		return;
	assert(name_check(span_str(name), NULL) == ERR_OK);
	p = stpcpy(p, ":");
	memcpy(p, name, strlen(name) + 1);
	c->ref.name = c->name = p;
}

static struct call *
call_new(struct backend *b, enum request_kind kind, const struct state_ref *ref)
{
	struct call *c = xcalloc(1, sizeof(*c));

	op_init(&c->op, &call_class, b->env->loop);
	c->b = b;
	c->kind = kind;
	call_about(c, ref != NULL ? ref->name : NULL);
	return c;
}

static struct op *
call_refused(struct backend *b, const char *what)
{
	return op_error(b->env->loop, ERR_UNSUPPORTED, 0, "%s: %s cannot %s", b->label, b->provider->name, what);
}

static struct op *
call_read_only(struct backend *b)
{
	return op_error(b->env->loop, ERR_UNSUPPORTED, 0, "%s is read_only", b->label);
}

/* ---------------------------------------------------------------- the calls */

struct op *
provider_create(struct backend *b)
{
	if (b->common.read_only)
		return call_read_only(b);
	if (b->provider->create == NULL)
		return call_refused(b, "be created");
	return &call_new(b, REQUEST_CREATE, NULL)->op;
}

struct op *
provider_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct call *c = call_new(b, REQUEST_LIST, NULL);

	c->seen = seen;
	c->arg = arg;
	return &c->op;
}

struct op *
provider_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct call *c = call_new(b, REQUEST_HEAD, ref);

	c->ret = ret;
	return &c->op;
}

struct op *
provider_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct call *c = call_new(b, REQUEST_READ, ref);

	memset(ret, 0, sizeof(*ret));
	if (unless_etag != NULL)
		snprintf(c->etag, sizeof(c->etag), "%s", unless_etag);
	c->ret = ret;
	return &c->op;
}

struct op *
provider_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct call *c;

	if (b->common.read_only)
		return call_read_only(b);
	if (when->when != PUT_UNDER_LOCK && (b->caps & PROVIDER_IF_MATCH) == 0)
		return call_refused(b, "enforce a precondition");
	c = call_new(b, REQUEST_WRITE, ref);
	c->body = *body;
	body_ref(c->body.body);
	c->when = *when;
	if (when->etag != NULL) {
		snprintf(c->etag, sizeof(c->etag), "%s", when->etag);
		c->when.etag = c->etag;
	}
	if (when->lock != NULL) {
		c->lock = *when->lock;
		c->when.lock = &c->lock;
	}
	ret_etag[0] = '\0';
	c->ret = ret_etag;
	return &c->op;
}

struct op *
provider_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct call *c;

	if (b->common.read_only)
		return call_read_only(b);
	if (b->provider->del == NULL)
		return call_refused(b, "delete");
	c = call_new(b, REQUEST_DELETE, ref);
	if (if_etag != NULL)
		snprintf(c->etag, sizeof(c->etag), "%s", if_etag);
	return &c->op;
}

struct op *
provider_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct call *c;

	if (b->common.read_only)
		return call_read_only(b);
	if ((b->caps & PROVIDER_LOCK) == 0)
		return call_refused(b, "lock");
	assert(l->id[0] != '\0');
	c = call_new(b, REQUEST_LOCK, ref);
	c->ret = l;
	c->ret2 = ret_holder != NULL ? ret_holder : &c->lock;
	memset(c->ret2, 0, sizeof(struct lock_info));
	return &c->op;
}

struct op *
provider_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	struct call *c;

	if ((b->caps & PROVIDER_LOCK) == 0)
		return call_refused(b, "unlock");
	c = call_new(b, REQUEST_UNLOCK, ref);
	c->lock = *l;
	return &c->op;
}

struct op *
provider_seal(struct backend *b, const struct state_ref *ref, const struct snapshot *body)
{
	struct call *c;

	if (b->provider->seal == NULL)
		return op_result(b->env->loop, &(struct err){ .code = ERR_OK });
	c = call_new(b, REQUEST_SEAL, ref);
	c->body = *body;
	body_ref(c->body.body);
	return &c->op;
}

struct op *
provider_lock_break(struct backend *b, const struct state_ref *ref, const struct lock_info *l, struct lock_info *ret_holder)
{
	struct call *c;

	if ((b->caps & PROVIDER_LOCK) == 0 || b->provider->lock_break == NULL)
		return call_refused(b, "break a lock that it cannot show");
	if (b->common.read_only)
		return call_read_only(b);
	c = call_new(b, REQUEST_UNLOCK, ref);
	c->lock = *l;
	memset(ret_holder, 0, sizeof(*ret_holder));
	c->ret = ret_holder;
	return &c->op;
}

struct op *
provider_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct call *c;

	if (!provider_shows_locks(b))
		return call_refused(b, "show locks");
	c = call_new(b, REQUEST_LOCK_PEEK, ref);
	memset(ret, 0, sizeof(*ret));
	c->ret = ret;
	return &c->op;
}

struct op *
provider_expect(struct backend *b, const struct state_ref *ref)
{
	return b->provider->expect != NULL ? b->provider->expect(b, ref) : NULL;
}

struct op *
provider_ask(struct backend *b, const char *name)
{
	return b->provider->ask != NULL ? b->provider->ask(b, name) : NULL;
}

struct op *
provider_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	struct call *c;

	if ((b->caps & PROVIDER_HISTORY) == 0)
		return call_refused(b, "show older versions");
	c = call_new(b, REQUEST_HISTORY, ref);
	c->version_seen = seen;
	c->arg = arg;
	return &c->op;
}

struct op *
provider_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	struct call *c;

	memset(ret, 0, sizeof(*ret));
	if ((b->caps & PROVIDER_HISTORY) == 0)
		return call_refused(b, "read older versions");
	assert(version[0] != '\0');
	c = call_new(b, REQUEST_READ_VERSION, ref);
	c->version = xstrdup(version);
	c->ret = ret;
	return &c->op;
}

bool
provider_probe_state(const struct backend *b, struct buf *ret)
{
	return b->provider->probe == NULL && (provider_caps(b) & PROVIDER_LOCK) != 0 && provider_fixed(b, "default", ret);
}

struct op *
provider_probe(struct backend *b, probe_fn *seen, void *arg)
{
	return provider_probe_locking(b, NULL, seen, arg);
}

struct op *
provider_probe_locking(struct backend *b, struct probe_locks *locks, probe_fn *seen, void *arg)
{
	struct call *c;
	struct err   e;

	if (b->common.read_only) {
		err_set(&e, ERR_UNSUPPORTED, 0, "%s is read_only, and a probe writes", b->label);
		err_hint(&e, "\"stateferry config check --probe\" reaches it without writing");
		return op_result(b->env->loop, &e);
	}
	if (b->provider->probe == NULL)
		return reach_probe(b, locks, seen, arg);
	c = call_new(b, REQUEST_PROBE, NULL);
	c->probe = seen;
	c->arg = arg;
	return &c->op;
}

enum err_code
provider_watch(struct backend *b, void (*changed)(void *arg, const char *name), void *arg, struct err *reterr)
{
	if ((b->caps & PROVIDER_WATCH) == 0)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "%s does not tell of changes", b->label);
	return b->provider->watch(b, changed, arg, reterr);
}
