/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "reach.h"

/*
 * Checks that need nothing of a driver but the contract: can it be reached, listed and read, without a write; and for a probe
 * of a provider that has none of its own, whether its lock excludes another one.
 */
#define REACH_CLOCK_MS ((int64_t)2000) /* a Date header has whole seconds, and an answer takes its time */
#define REACH_SKEW_MS  ((int64_t)5 * 60 * 1000)

const char *const probe_conditions[PROBE_CONDITIONS] = { "create_only", "if_match", "racing_writes", "delete_create" };

enum reach_state { REACH_START, REACH_LISTED, REACH_READ, REACH_PEEKED, REACH_LOCKED, REACH_LOCKED_AGAIN, REACH_UNLOCKED,
	REACH_SWEPT };

static const char *const reach_states[] = { "start", "listed", "read", "peeked", "locked", "locked again", "unlocked",
	"swept" };

struct reach {
	struct op        op;
	struct backend  *b;
	probe_fn        *seen;
	void            *arg;
	bool             locks;      /* try the lock, too */
	uint64_t         states, size;
	char            *name;       /* the smallest state; NULL: none was listed */
	struct snapshot  got;
	struct buf       state;      /* whose own lock is tried, for want of another name; empty: none */
	struct probe_locks own, *locked; /* locked: the caller's, else own */
	struct lock_info holder;
	struct err       partly;     /* what the listing went on without */
	struct err       second;     /* outcome of the second lock */
	bool             granted;    /* the second lock */
	bool             peeks;      /* the place of locks is read */
};

void
probe_say(probe_fn *seen, void *arg, const char *check, bool ok, bool useless, const char *fmt, ...)
{
	char    detail[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	seen(arg, &(struct probe_check){ check, ok, detail, useless });
}

#define reach_say(r, check, ok, ...) probe_say((r)->seen, (r)->arg, check, ok, (r)->granted, __VA_ARGS__)

/* ---------------------------------------------------------------- reach, auth, list, read */

static void
reach_listed_one(void *arg, const struct state_seen *s)
{
	struct reach *r = arg;

	if (s->name[0] == '\0' && s->problem != NULL) {
		err_set(&r->partly, s->why != ERR_OK ? s->why : ERR_UNSUPPORTED, 0, "%s", s->problem);
		err_hint(&r->partly, "%s", s->hint != NULL ? s->hint : "");
	}
	r->states += s->name[0] != '\0' && s->uncovered == NULL;
	if (s->uncovered != NULL || s->problem != NULL || (r->name != NULL && s->size >= r->size))
		return;
	free(r->name);
	r->name = xstrdup(s->name);
	r->size = s->size;
}

/* ", with the credentials from ..."; "" where there are none to tell of. */
static const char *
reach_credentials(const struct backend *b, char ret[ERR_MSG_MAX])
{
	const char *from = b->provider->signed_in != NULL ? b->provider->signed_in(b) : NULL;

	snprintf(ret, ERR_MSG_MAX, "%s%s", from != NULL ? ", with credentials from " : "", from != NULL ? from : "");
	return ret;
}

/* What the answers tell of the time: signatures and tokens are refused when clocks are too far apart. */
static void
reach_say_clock(struct reach *r)
{
	int64_t off = r->b->server_off;
	char    text[TIME_TEXT_MAX];

	if (!r->b->heard)
		return;
	if (off > -REACH_CLOCK_MS && off < REACH_CLOCK_MS)
		reach_say(r, "clock", true, "within %s of the server's", duration_format(REACH_CLOCK_MS, text));
	else
		reach_say(r, "clock", off > -REACH_SKEW_MS && off < REACH_SKEW_MS, "ours is %s %s the server's",
		    duration_format((off < 0 ? -off : off) + 500, text), off < 0 ? "before" : "behind");
}

/* What the first answer tells of the way there; an http backend's listing is no request, so the read may be the first. */
static void
reach_say_way(struct reach *r, const struct err *got)
{
	const struct err *e = got->code == ERR_OK && r->partly.code == ERR_AUTH ? &r->partly : got; /* an inventory has its own token */
	char        by[ERR_MSG_MAX];
	bool        there = e->code != ERR_NETWORK && e->code != ERR_TIMEOUT && e->code != ERR_CANCELLED;
	const char *server = there && r->b->provider->server != NULL ? r->b->provider->server(r->b) : NULL;

	reach_say(r, "reach", there, "%s%s%s", there ? r->b->where : e->msg, server != NULL ? ": " : "", server != NULL ? server : "");
	if (!there || e->code == ERR_BUSY)
		reach_say(r, "auth", false, "not tried");
	else
		reach_say(r, "auth", e->code != ERR_AUTH, "%s%s", e->code == ERR_AUTH ? e->msg : "not refused",
		    e->code == ERR_AUTH ? "" : reach_credentials(r->b, by));
}

static enum op_turn
reach_listed(struct reach *r)
{
	struct op *op = &r->op;

	if (op_failed(op)) {
		reach_say_way(r, &op->res);
		reach_say(r, "list", false, "%s", op->res.msg);
		reach_say(r, "read", false, "not tried");
		reach_say_clock(r);
		return op_fail(op);
	}
	return op_await(op, REACH_READ, r->name == NULL ? NULL : provider_get(r->b, &(struct state_ref){ r->name }, NULL, &r->got));
}

/* A state that is not there is an answer: an http backend's before the first apply, or one deleted since the listing. */
static bool
reach_read(struct reach *r)
{
	struct err e = r->op.res;
	bool       absent = r->name == NULL || e.code == ERR_NOT_FOUND;

	if (absent)
		err_clear(&e);
	r->op.res = e;
	reach_say_way(r, &e);
	if (r->partly.code == ERR_AUTH && e.code == ERR_OK)
		reach_say(r, "list", false, "%llu state%s without what was refused", (unsigned long long)r->states, r->states == 1 ? "" : "s");
	else if (r->partly.code != ERR_OK)
		reach_say(r, "list", false, "%s", r->partly.msg);
	else
		reach_say(r, "list", true, "%llu state%s", (unsigned long long)r->states, r->states == 1 ? "" : "s");
	if (e.code != ERR_OK)
		reach_say(r, "read", false, "%s", e.msg);
	else if (absent)
		reach_say(r, "read", true, "there is no state to read");
	else
		reach_say(r, "read", true, "a state of %llu bytes", (unsigned long long)r->got.info.size);
	reach_say_clock(r);
	return e.code == ERR_OK;
}

/* Where locks lie, which may be elsewhere than the states, is read too; not where none is ever to be taken. */
static struct op *
reach_peek(struct reach *r)
{
	struct state_ref ref = { r->b->provider->no_scratch ? r->name : REACH_SCRATCH };

	r->peeks = ref.name != NULL && !r->b->common.read_only && (provider_caps(r->b) & PROVIDER_LOCK) != 0 && provider_shows_locks(r->b);
	return r->peeks ? provider_lock_peek(r->b, &ref, &r->holder) : NULL;
}

static bool
reach_peeked(struct reach *r)
{
	const struct err *e = &r->op.res;
	bool              there = e->code == ERR_OK || e->code == ERR_NOT_FOUND;

	if (r->peeks)
		reach_say(r, "lock", there, "%s", there ? "its place can be read" : e->msg);
	return there;
}

/* ---------------------------------------------------------------- what it enforces, as far as the contract shows it */

static struct state_ref
reach_scratch(const struct reach *r)
{
	return (struct state_ref){ r->state.len > 0 ? buf_str(&r->state) : REACH_SCRATCH };
}

static void
reach_say_conditions(struct reach *r)
{
	unsigned    caps = provider_caps(r->b);
	bool        kept = (caps & PROVIDER_IF_MATCH) != 0;
	const char *how = !kept ? "has no preconditions" : (caps & PROVIDER_IN_PLACE) != 0 ?
	    "compares under its lock, by itself: nothing remote to try" : "promises it; its lock rests on the same, and is tried";

	for (size_t i = 0; i < PROBE_CONDITIONS; i++)
		reach_say(r, probe_conditions[i], kept, "%s %s", r->b->provider->name, how);
}

/* Is there a lock that can be tried? That of a state only when somebody would release it should this process die. */
static bool
reach_can_lock(struct reach *r)
{
	bool state = r->state.len > 0 || provider_probe_state(r->b, &r->state);

	if ((provider_caps(r->b) & PROVIDER_LOCK) == 0)
		reach_say(r, "lock", false, "none is configured");
	else if (!state && r->b->provider->no_scratch)
		reach_say(r, "lock", false, "not tried: it would be that of a state, and there are several; a backend with one of them tries its own");
	else if (state && r->locked == &r->own)
		reach_say(r, "lock", false, "not tried: it would be that of the state itself, and could not be noted in the store before");
	else
		return true;
	return false;
}

static struct op *
reach_lock(struct reach *r, size_t i)
{
	struct state_ref ref = reach_scratch(r);

	if (r->locked == &r->own)
		provider_lock_new(r->b, &ref, "probe", &r->own.lock[i]);
	r->locked->sent = true;
	return provider_lock(r->b, &ref, &r->locked->lock[i], &r->holder);
}

static struct op *
reach_unlock(struct reach *r)
{
	struct state_ref ref = reach_scratch(r);
	struct op       *ops[2] = { provider_unlock(r->b, &ref, &r->locked->lock[0]),
		r->granted || r->locked->lock[1].late ? provider_unlock(r->b, &ref, &r->locked->lock[1]) : NULL };

	return op_all(r->op.loop, ops, 2, 1, NULL);
}

/* The lock could not be taken. What is held on a state by somebody at work is a lock that works as far as one can see. */
static void
reach_say_refused(struct reach *r)
{
	if (r->op.res.code == ERR_LOCKED && r->state.len > 0)
		reach_say(r, "lock", true, "refused to us, for somebody holds it now, so that no more could be tried: %s", r->op.res.msg);
	else
		reach_say(r, "lock", false, "%s", r->op.res.msg);
}

static void
reach_say_lock(struct reach *r)
{
	if (r->granted)
		reach_say(r, "lock", false, "a second lock was granted while the first was held");
	else if (r->second.code != ERR_LOCKED)
		reach_say(r, "lock", false, "a second lock was answered by an error: %s", r->second.msg);
	else if (r->op.res.code != ERR_OK)
		reach_say(r, "lock", false, "it could not be released: %s", r->op.res.msg);
	else
		reach_say(r, "lock", true, "held by one, refused to another, released%s", r->state.len > 0 ? "; it was that of the state itself" :
		    "");
}

/* ---------------------------------------------------------------- the operation */

static enum op_turn
reach_step(struct op *op)
{
	struct reach *r = container_of(op, struct reach, op);

	switch ((enum reach_state)op->state) {
	case REACH_START:
		return op_await(op, REACH_LISTED, provider_list(r->b, reach_listed_one, r));
	case REACH_LISTED:
		return reach_listed(r);
	case REACH_READ:
		if (!reach_read(r))
			return op_fail(op);
		if (!r->locks)
			return op_await(op, REACH_PEEKED, reach_peek(r));
		reach_say_conditions(r);
		if (!reach_can_lock(r))
			return op_ok(op);
		return op_await(op, REACH_LOCKED, reach_lock(r, 0));
	case REACH_PEEKED:
		if (!reach_peeked(r))
			return op_fail(op);
		op->res = r->partly;
		return op_failed(op) ? op_fail(op) : op_ok(op);
	case REACH_LOCKED:
		if (op_failed(op))
			reach_say_refused(r);
		if (op_failed(op) && op->res.code != ERR_UNCERTAIN)
			return op->res.code == ERR_LOCKED ? op_ok(op) : op_fail(op);
		if (op_failed(op))
			return op_unwind(op, REACH_LOCKED_AGAIN);
		op_shield(op);
		return op_await(op, REACH_LOCKED_AGAIN, reach_lock(r, 1));
	case REACH_LOCKED_AGAIN: /* after an uncertain first lock op->err says so */
		r->granted = op->err.code == ERR_OK && !op_failed(op);
		r->second = op->res;
		r->locked->lock[1].late |= op->err.code == ERR_OK && op->res.code == ERR_UNCERTAIN;
		return op_await(op, REACH_UNLOCKED, reach_unlock(r));
	case REACH_UNLOCKED:
		if (op->err.code == ERR_OK)
			reach_say_lock(r);
		if (op_failed(op) || op->err.code != ERR_OK || r->state.len > 0 || r->b->provider->sweep == NULL)
			return op_finish(op);
		return op_await(op, REACH_SWEPT, r->b->provider->sweep(r->b));
	case REACH_SWEPT:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
reach_free(struct op *op)
{
	struct reach *r = container_of(op, struct reach, op);

	snapshot_free(&r->got);
	buf_free(&r->state);
	free(r->name);
	free(r);
}

static const struct op_class reach_class = { "reach", reach_step, NULL, reach_free, reach_states, ARRAY_LEN(reach_states) };

static struct op *
reach_new(struct backend *b, bool locks, struct probe_locks *locked, probe_fn *seen, void *arg)
{
	struct reach *r = xcalloc(1, sizeof(*r));

	op_init(&r->op, &reach_class, b->env->loop);
	r->b = b;
	r->locks = locks;
	r->locked = locked != NULL ? locked : &r->own;
	buf_init(&r->state, 0);
	if (locked != NULL)
		buf_puts(&r->state, locked->name);
	r->seen = seen;
	r->arg = arg;
	return &r->op;
}

struct op *
provider_reach(struct backend *b, probe_fn *seen, void *arg)
{
	return reach_new(b, false, NULL, seen, arg);
}

struct op *
reach_probe(struct backend *b, struct probe_locks *locks, probe_fn *seen, void *arg)
{
	return reach_new(b, true, locks, seen, arg);
}
