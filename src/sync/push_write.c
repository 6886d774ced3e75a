/* SPDX-License-Identifier: MIT */
#include "push_impl.h"

/* The write itself, and what is read back after it. */

/* What we replace is a version first. NULL: there is nothing that the store does not have. Where a crash can tear the write the
 * intent says what it began with, so that its own torn bytes can be told from another's; where the bytes were made only now, which
 * they are; and where the place was made with its lock, and may be renamed, which one that is. */
struct op *
push_keep(struct push *p)
{
	struct batch *b = batch_new(p->e->store);
	bool          keep = push_keep_current(p, b), made = p->absent && (provider_caps(p->dst) & PROVIDER_LOCK_MOVES) != 0;

	if (!keep && !made && (provider_caps(p->dst) & PROVIDER_IN_PLACE) == 0 && p->kind->change == NULL) {
		batch_free(b);
		return NULL;
	}
	push_intent_rec(p, b, push_is_remote(p));
	return store_apply(p->e->store, b);
}

struct op *
push_put(struct push *p)
{
	struct state_ref     ref = { p->name };
	struct put_condition when = { .when = PUT_UNDER_LOCK, .lock = p->lock_held ? &p->lock : NULL };

	if ((provider_caps(p->dst) & PROVIDER_IF_MATCH) != 0) {
		when.when = p->absent ? PUT_ABSENT : PUT_MATCH;
		when.etag = p->cur.etag;
	}
	return provider_put(p->dst, &ref, &p->next, &when, p->etag);
}

/* What was read back is what was there before. */
static bool
push_is_unchanged(const struct push *p)
{
	return p->absent ? digest_is_zero(&p->before) : digest_eq(&p->cur.digest, &p->before);
}

/* A write was answered as done, and what is there is not it. */
static void
push_say_else(struct push *p, const char *what)
{
	const char *why = provider_remark(p->dst, p->name);

	err_set(&p->op.err, ERR_CONFLICT, 0, "%s%s%s%s", p->name, what, why != NULL ? ": " : "", why != NULL ? why : "");
}

static void
push_say_unchanged(struct push *p)
{
	struct err *e = &p->op.err;

	if (p->put_ok)
		push_say_else(p, ": the write was answered as done, but what is there did not change");
	else if (p->uncertain)
		err_set(e, ERR_UNCERTAIN, e->detail, "%s: no certain answer to the write (%s), and nothing has changed there yet", p->name,
		    p->put_err.msg);
	else
		*e = p->put_err;
}

/* A write in place broke off, and our lock was on it all the time: what is there now is half of it. */
static bool
push_is_torn(const struct push *p)
{
	return p->lock_held && (provider_caps(p->dst) & PROVIDER_IN_PLACE) != 0 && p->put_err.code == ERR_UNCERTAIN && !p->absent &&
	    !push_is_unchanged(p);
}

/* Without an answer, what is there may be by whoever has had the lease since. */
static bool
push_is_by_us(const struct push *p)
{
	const struct lease *l = push_lease(p);

	return p->put_ok || l == NULL || (lease_is_ours_alone(l) && lease_epoch(l) == p->epoch);
}

/* Is what was read back ours? true: done, or (ask) equal bytes have to be told from equal meaning. Otherwise op->err says what. */
bool
push_is_ours(struct push *p, bool *ask)
{
	bool seen = push_seen(p);

	*ask = false;
	if (seen && !p->absent && digest_eq(&p->cur.digest, &p->next.digest)) {
		err_clear(&p->op.err);
		p->wrote = push_is_by_us(p);
		return true;
	}
	if (!seen) { /* no answer: the write stays unknown, and so does its intent */
		p->uncertain = true;
		return false;
	}
	if (p->put_ok && !p->absent && p->cur.info.kind == STATE_V4 && p->cur.info.serial == p->next.info.serial) {
		*ask = true;
		return true;
	}
	p->torn = push_is_torn(p);
	p->uncertain = !p->torn && !p->put_ok && p->op.err.code == ERR_UNCERTAIN;
	if (p->torn) {
		p->op.err = p->put_err;
		p->op.err.code = ERR_IO;
	} else if (push_is_unchanged(p))
		push_say_unchanged(p);
	else if (!p->uncertain)
		err_set(&p->op.err, ERR_CONFLICT, 0, "%s was changed by somebody else meanwhile", p->name);
	return false;
}

bool
push_is_ours_by_meaning(struct push *p)
{
	if (!op_failed(&p->op) && p->meaning.same) {
		err_clear(&p->op.err);
		p->wrote = p->reencoded = true;
		return true;
	}
	push_say_else(p, " does not hold what was written");
	return false;
}

struct op *
push_seal(struct push *p, const struct snapshot *body)
{
	return provider_seal(p->dst, &(struct state_ref){ p->name }, body);
}
