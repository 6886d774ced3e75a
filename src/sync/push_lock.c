/* SPDX-License-Identifier: MIT */
#include "push_impl.h"

#include <stdlib.h>

/*
 * The lock of a write, and its intent, which is on the disk before anything of it is on the wire; and whose turn it is.
 */
#define PUSH_PURPOSE_MAX 400
#define PUSH_LOCKS       3   /* with an ID of its own each, until one is answered at once */

bool
push_locks(const struct push *p)
{
	return (provider_caps(p->dst) & PROVIDER_LOCK) != 0;
}

/* Of the lane; NULL: it is ours without one. */
const struct lease *
push_lease(const struct push *p)
{
	return p->lane != NULL ? engine_track(p->e, p->lane)->lease : NULL;
}

/* false: another agent has its lane by now, or had it in between and may have released our lock: this one goes no further. */
bool
push_is_led(struct push *p)
{
	if (p->lane == NULL || (track_is_ours(engine_track(p->e, p->lane)) && (push_lease(p) == NULL || lease_epoch(push_lease(p)) == p->epoch)))
		return true;
	err_set(&p->op.res, ERR_CANCELLED, 0, "the lease of %s at %s is not ours any more", p->edge, p->dst->label);
	return false;
}

/* What our locks say they are for, and with a lease up to the number of its epoch: inherit_is_left() reads it. Returns ret. */
static const char *
push_purpose(const struct push *p, char ret[PUSH_PURPOSE_MAX])
{
	snprintf(ret, PUSH_PURPOSE_MAX, "%s%s%s to %s%s", p->kind->verb, p->edge[0] != '\0' ? " " : "", p->edge, p->dst->label,
	    push_lease(p) != NULL ? ", epoch " : "");
	return ret;
}

/* --- what an earlier holder of our lease left --- */

/* The lock that is in the way is one of those. */
bool
push_lock_is_orphaned(const struct push *p)
{
	return p->lane != NULL && !p->inherited && inherit_is_left(engine_track(p->e, p->lane), &p->holder);
}

struct op *
push_inherit(struct push *p)
{
	p->inherited = true;
	log_event(LOG_WARN, p->edge, "a lock that an earlier holder of the lease left is released", { "target", log_str(p->dst->label) },
	    { "state", log_str(p->name) }, { "id", log_str(p->holder.id) }, { "who", log_str(p->holder.who) });
	return provider_unlock(p->dst, &(struct state_ref){ p->name }, &p->holder);
}

/* --- intents --- */

static void
push_make_lock(struct push *p)
{
	char             info[512], what[PUSH_PURPOSE_MAX], epoch[40] = "";
	struct state_ref ref = { p->name };

	if (push_lease(p) != NULL)
		snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long)p->epoch);
	snprintf(info, sizeof(info), "%s%s; if that host is gone, \"terraform force-unlock ID\" is safe", push_purpose(p, what), epoch);
	provider_lock_new(p->dst, &ref, info, &p->lock);
}

/* A request to a folder dies with us. */
bool
push_is_remote(const struct push *p)
{
	return (provider_caps(p->dst) & PROVIDER_IN_PLACE) == 0;
}

void
push_intent_rec(struct push *p, struct batch *b, bool uncertain)
{
	struct buf        body;
	struct intent_rec i = { .id = p->intent, .kind = p->kind->intent, .edge = p->edge, .target = p->dst->label,
		.state = p->state, .name = p->name, .lock_id = p->lock.id, .digest = p->want, .etag = p->cur.etag,
		.created = loop_wall(p->e->loop), .retry_at = engine_steady(p->e), .agent = store_agent_id(p->e->store), .epoch = p->epoch };

	buf_init(&body, LOCK_BODY_MAX);
	if (p->lock.id[0] != '\0')
		lock_info_body(&p->lock, &body);
	i.lock_body = buf_str(&body);
	if (p->cur.body != NULL)
		i.replaces = p->cur.digest;
	i.uncertain = uncertain;
	batch_intent(b, &i);
	buf_free(&body);
}

static struct batch *
push_new_intent(struct push *p)
{
	struct batch *b = batch_new(p->e->store);

	p->intent = intent_new_id(p->e->store);
	engine_live(p->e, p->intent, p);
	if (push_locks(p))
		push_make_lock(p);
	push_intent_rec(p, b, push_is_remote(p));
	return b;
}

/* The lock's id and body, the target and our digest are on the disk before they are on the wire. Until the end is known the record
 * says so: a request outlives its process where a network lies between. */
struct batch *
push_intend(struct push *p)
{
	p->epoch = push_lease(p) != NULL ? lease_epoch(push_lease(p)) : 0;
	return push_new_intent(p);
}

/* Nothing of it is on the disk. */
void
push_forget_intent(struct push *p)
{
	engine_live(p->e, p->intent, NULL);
	p->intent = 0;
}

/* --- a lock that may come to be once more --- */

/* The lock was granted when it was asked for again: the request that got no answer may grant it once more, long after we have released it.
 * Where nothing but the lock guards a write, one that is under way under it then goes through, whatever was written since. */
bool
push_lock_may_return(const struct push *p)
{
	unsigned caps = provider_caps(p->dst);

	return p->lock.late && (caps & PROVIDER_LOCK_ID) != 0 && (caps & (PROVIDER_IF_MATCH | PROVIDER_SERIALS)) == 0;
}

/* That one is released; whether there is to be another. */
bool
push_locks_anew(struct push *p)
{
	p->lock_held = false;
	if (++p->nlocks < PUSH_LOCKS)
		return true;
	err_set(&p->op.res, ERR_NETWORK, 0, "%s: no request for a lock is answered at once, and nothing is written under one that may come to be "
	    "once more", p->name);
	return false;
}

/* The intent of the old lock is recovery's from now on, which releases it whenever it comes to be. The new one is on the disk before it is
 * on the wire. */
struct batch *
push_intend_anew(struct push *p)
{
	engine_live(p->e, p->intent, NULL);
	engine_recover_soon(p->e);
	p->late = false;
	return push_new_intent(p);
}

/* --- its turn --- */

void
push_give_turn(struct push *p)
{
	if (p->admitted)
		quota_give(&engine_place(p->e, p->dst)->locks, 1);
	p->admitted = false;
}

/* Its turn has come; but the lane may have closed while it waited. op->res says why it goes no further. */
bool
push_takes_turn(struct push *p)
{
	const struct track *t = p->lane != NULL ? engine_track(p->e, p->lane) : NULL;

	p->admitted = p->op.res.code == ERR_OK;
	if (p->admitted && t != NULL && track_closed(t))
		p->op.res = t->closed;
	return p->op.res.code == ERR_OK && push_is_led(p);
}

/* --- locking and unlocking --- */

struct op *
push_lock(struct push *p)
{
	return provider_lock(p->dst, &(struct state_ref){ p->name }, &p->lock, &p->holder);
}

struct op *
push_unlock(struct push *p)
{
	struct state_ref ref = { p->name };

	return p->lock_held || p->lock_doubt ? provider_unlock(p->dst, &ref, &p->lock) : NULL;
}

bool
push_unlock_is_safe(const struct push *p)
{
	return (provider_caps(p->dst) & PROVIDER_LOCK_ID) != 0;
}

void
push_note_lock_left(struct push *p)
{
	struct err why = p->op.res;

	p->lock_left = (p->lock_held || p->lock_doubt) && why.code != ERR_OK;
	if (!p->lock_left || p->op.err.code != ERR_OK)
		return;
	err_set(&p->op.err, why.code, why.detail, "%s: written, but its lock %s could not be released: %s", p->name, p->lock.id,
	    why.msg);
	err_hint(&p->op.err, "it is tried again; by hand: stateferry unlock %s:%s", p->dst->label, p->name);
}

void
push_lock_hint(struct push *p)
{
	struct buf how;

	if (p->op.err.code != ERR_LOCKED || p->op.err.hint[0] != '\0' || p->holder.id[0] == '\0')
		return;
	buf_init(&how, 0);
	provider_unlock_hint(p->dst, p->name, &p->holder, &how);
	err_hint(&p->op.err, "wait for that run; if it is really gone: %s", buf_str(&how));
	buf_free(&how);
}
