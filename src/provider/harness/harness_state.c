/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "harness.h"
#include "net/url.h"

/*
 * Calls of the state protocol, with what Harness's API adds: the checksum of a state saves reading it, a run that is under way keeps us
 * from writing, and whether there is a lock can be seen, though not whose it is.
 */
#define HARNESS_SUMS_TRIED 3         /* so many that are something else, and none that is not: it is no use */
#define HARNESS_SLOW_MS    ((int64_t)10 * 60 * 1000) /* a workspace of which the listing tells nothing new is asked about all the same */
#define HARNESS_LOCK       "unnamed" /* what a lock goes by here whose id nobody tells */

struct harness_state {
	struct op                op;
	struct harness          *x;
	char                    *name, etag[ETAG_MAX];
	struct harness_workspace now;
	bool                     asked;
	struct snapshot         *ret;
	struct lock_info        *lock, *holder;
};

enum harness_state_state { START, ASKED, DONE, MISSED };

static const char *const harness_state_states[] = { "start", "asked", "done", "missed" };

static void
harness_state_free(struct op *op)
{
	struct harness_state *s = container_of(op, struct harness_state, op);

	free(s->name);
	free(s);
}

static struct harness_state *
harness_state(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct harness_state *s = xcalloc(1, sizeof(*s));

	s->x = harness_of(b);
	op_init(&s->op, class, s->x->h.env->loop);
	s->name = xstrdup(ref->name);
	return s;
}

static void
harness_hold(struct lock_info *l, const char *who)
{
	memset(l, 0, sizeof(*l));
	snprintf(l->id, sizeof(l->id), HARNESS_LOCK);
	snprintf(l->who, sizeof(l->who), "%s", who);
	l->unnamed = true;
}

/* ---------------------------------------------------------------- reading */

/* Is it the SHA-256 of the state, as far as it was compared? */
static bool
harness_trusts_sums(const struct harness *x)
{
	return x->sums > 0 || x->other_sums < HARNESS_SUMS_TRIED;
}

/* The listing says that nothing of it has changed, and it is not long ago that this was so. */
static bool
harness_is_quiet(const struct harness_state *s)
{
	const struct harness_known *k = map_get(s->x->known, span_str(s->name));

	return k != NULL && !s->x->silent && k->asked != 0 && k->listed == k->asked && strcasecmp(k->checksum, s->etag) == 0 &&
	    loop_now(s->op.loop) - k->when < HARNESS_SLOW_MS;
}

/* An answer about a workspace, beside what the listing said: a push that does not show there is found out. */
static void
harness_compare(struct harness_state *s)
{
	struct harness_known *k = map_get(s->x->known, span_str(s->name));

	if (k == NULL || op_failed(&s->op))
		return;
	s->x->silent |= k->asked != 0 && k->asked == s->now.updated && strcasecmp(s->now.checksum, k->checksum) != 0;
	memcpy(k->checksum, s->now.checksum, sizeof(k->checksum));
	k->asked = s->now.updated;
	k->when = loop_now(s->op.loop);
}

static enum op_turn
harness_unchanged(struct op *op)
{
	err_set(&op->res, ERR_UNCHANGED, 0, "unchanged");
	return op_finish(op);
}

static enum err_code
harness_no_workspace(const struct harness_state *s, struct err *reterr)
{
	err_set(reterr, ERR_CONFIG, 404, "there is no workspace %s in %s, or the API key does not show it", s->name, s->x->place);
	return err_hint(reterr, "make the workspace in Harness, with its repository: that is never done from here; or give it another name there");
}

/* 404 is the answer for a workspace without a state, and for none: of those that were listed it is known which. */
static bool
harness_may_be_missing(const struct harness_state *s)
{
	return s->op.res.code == ERR_NOT_FOUND && !s->asked && map_get(s->x->known, span_str(s->name)) == NULL;
}

static enum op_turn
harness_got(struct harness_state *s)
{
	struct op      *op = &s->op;
	struct harness *x = s->x;
	char            sum[DIGEST_HEX];

	if (op_failed(op))
		return op_fail(op);
	digest_hex(&s->ret->digest, sum);
	if (s->asked && s->now.checksum[0] != '\0') {
		x->sums += strcasecmp(sum, s->now.checksum) == 0;
		x->other_sums += strcasecmp(sum, s->now.checksum) != 0;
	}
	snprintf(s->ret->etag, ETAG_MAX, "%s", sum);
	if (s->asked && strcasecmp(sum, s->now.checksum) == 0)
		snprintf(s->ret->version, VERSION_ID_MAX, "%s", s->now.state);
	if (strcmp(sum, s->etag) != 0)
		return op_ok(op);
	snapshot_free(s->ret);
	return harness_unchanged(op);
}

static enum op_turn
harness_get_step(struct op *op)
{
	struct harness_state *s = container_of(op, struct harness_state, op);
	struct state_ref      ref = { s->name };

	switch ((enum harness_state_state)op->state) {
	case START:
		if (s->etag[0] == '\0' || !harness_trusts_sums(s->x))
			return op_await(op, DONE, hb_get(&s->x->h.b, &ref, NULL, s->ret));
		if (harness_is_quiet(s))
			return harness_unchanged(op);
		return op_await(op, ASKED, harness_ask(s->x, s->name, &s->now));
	case ASKED: /* who may read states may not see workspaces, perhaps */
		s->asked = !op_failed(op);
		harness_compare(s);
		if (!s->asked || strcasecmp(s->now.checksum, s->etag) != 0)
			return op_await(op, DONE, hb_get(&s->x->h.b, &ref, NULL, s->ret));
		return harness_unchanged(op);
	case DONE:
		if (harness_may_be_missing(s))
			return op_await(op, MISSED, harness_ask(s->x, s->name, &s->now));
		return harness_got(s);
	case MISSED:
		if (op->res.code == ERR_NOT_FOUND)
			harness_no_workspace(s, &op->res);
		else if (!op_failed(op) || op->res.code == ERR_AUTH)
			err_set(&op->res, ERR_NOT_FOUND, 404, "%s has no state", s->name);
		return op_fail(op);
	}
	return OP_DONE;
}

static const struct op_class harness_get_class = { "harness read", harness_get_step, NULL, harness_state_free, harness_state_states,
	ARRAY_LEN(harness_state_states) };

struct op *
harness_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct harness_state *s = harness_state(b, &harness_get_class, ref);

	snprintf(s->etag, sizeof(s->etag), "%s", unless_etag != NULL ? unless_etag : "");
	s->ret = ret;
	return &s->op;
}

struct op *
harness_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	const struct harness *x = harness_of(b);
	struct buf            address;

	buf_init(&address, 0);
	buf_printf(&address, "%s/workspaces/{name}/data/", x->project);
	url_escape(URL_SEGMENT, span_str(version), &address);
	buf_puts(&address, x->query);
	return hb_get_at(b, ref, buf_take(&address), ret);
}

/* ---------------------------------------------------------------- locks */

/* "provisioning", "destroying": a run is at it, even while it has not taken its lock yet. */
static bool
harness_is_running(const struct harness_workspace *w)
{
	return span_ends(span_str(w->status), "ing");
}

/* May it be locked to be written? op.res says why not. */
static bool
harness_may_lock(struct harness_state *s)
{
	struct err *e = &s->op.res;

	if (e->code == ERR_NOT_FOUND) {
		harness_no_workspace(s, e);
	} else if (e->code == ERR_OK && harness_is_running(&s->now)) {
		harness_hold(s->holder, "a run of Harness");
		err_set(e, ERR_LOCKED, 0, "%s has a run in progress (%s)", s->name, s->now.status);
		err_hint(e, "%s", hb_harness.busy);
	}
	return e->code == ERR_OK;
}

static enum op_turn
harness_lock_step(struct op *op)
{
	struct harness_state *s = container_of(op, struct harness_state, op);
	struct state_ref      ref = { s->name };

	switch ((enum harness_state_state)op->state) {
	case START:
		if (hb_name_check(&s->x->h, s->name, &op->res) != ERR_OK)
			return op_finish(op);
		return op_await(op, ASKED, harness_ask(s->x, s->name, &s->now));
	case ASKED:
		if (!harness_may_lock(s))
			return op_finish(op);
		return op_await(op, DONE, hb_lock(&s->x->h.b, &ref, s->lock, s->holder));
	case DONE:
		if (op->res.code == ERR_LOCKED)
			harness_hold(s->holder, "somebody that Harness does not tell");
		return op_finish(op);
	case MISSED:
		break;
	}
	return OP_DONE;
}

static const struct op_class harness_lock_class = { "harness lock", harness_lock_step, NULL, harness_state_free, harness_state_states,
	ARRAY_LEN(harness_state_states) };

struct op *
harness_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct harness_state *s = harness_state(b, &harness_lock_class, ref);

	s->lock = l;
	s->holder = ret_holder;
	return &s->op;
}

/* A person breaks what lock_peek showed; everything else is the body of a lock that we know. */
struct op *
harness_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	if (l->unnamed)
		return harness_force_unlock(harness_of(b), ref->name);
	return hb_unlock(b, ref, l);
}

static enum op_turn
harness_peek_step(struct op *op)
{
	struct harness_state *s = container_of(op, struct harness_state, op);

	if ((enum harness_state_state)op->state == START)
		return op_await(op, ASKED, harness_ask(s->x, s->name, &s->now));
	if (!op_failed(op) && s->now.locked)
		harness_hold(s->holder, "somebody that Harness does not tell");
	else if (!op_failed(op))
		err_set(&op->res, ERR_NOT_FOUND, 0, "%s is not locked", s->name);
	return op_finish(op);
}

static const struct op_class harness_peek_class = { "harness lock look", harness_peek_step, NULL, harness_state_free,
	harness_state_states, ARRAY_LEN(harness_state_states) };

struct op *
harness_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct harness_state *s = harness_state(b, &harness_peek_class, ref);

	s->holder = ret;
	return &s->op;
}

const char *
harness_remark(const struct backend *b, const char *name)
{
	return map_get(harness_of(b)->pruned, span_str(name)) != NULL ? hb_harness.remark : NULL;
}
