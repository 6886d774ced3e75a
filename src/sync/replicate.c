/* SPDX-License-Identifier: MIT */
#include "push.h"

#include <assert.h>
#include <stdlib.h>

/*
 * A replication: push.c writes the head of a state to one target; here is what that means for the replica's record, the
 * queue and the results of a pass.
 */

/* --- deciding --- */

static bool
replicate_known(struct push *p, struct store_txn *t)
{
	struct replica_rec r;

	if (push_knows_current(p, true))
		return true;
	return store_replica(t, p->edge, p->dst->label, p->state, &r) && digest_eq(&r.digest, &p->cur.digest);
}

static void
replicate_facts(struct push *p, struct compare_facts *f)
{
	memset(f, 0, sizeof(*f));
	f->next = &p->next.info;
	f->next_digest = &p->next.digest;
	if (!p->absent) {
		f->now = &p->cur.info;
		f->now_digest = &p->cur.digest;
	}
	f->same_meaning = p->meaning.same;
	f->released = p->released;
}

static bool
replicate_needs_meaning(struct push *p)
{
	struct compare_facts f;

	replicate_facts(p, &f);
	return compare_needs_meaning(&f);
}

static enum err_code
replicate_weigh(struct push *p, struct err *reterr)
{
	struct compare_facts f;
	struct store_txn    *t;
	struct replica_rec   r;

	if (push_meets_another(p, &p->refused)) { /* its record came while we waited for the lock */
		*reterr = p->refused;
		return reterr->code;
	}
	replicate_facts(p, &f);
	if (!p->absent) {
		if (store_read(p->e->store, &t, reterr) != ERR_OK)
			return reterr->code;
		f.known = replicate_known(p, t);
		f.resolved = store_replica(t, p->edge, p->dst->label, p->state, &r) && digest_eq(&r.resolved, &p->cur.digest);
		store_end(t);
	}
	compare(&f, &p->cmp);
	p->reencoded = p->cmp.action == COMPARE_LEAVE;
	return ERR_OK;
}

/* --- settling --- */

static enum push_outcome
replicate_outcome(const struct push *p)
{
	switch (p->op.err.code) {
	case ERR_OK:
		return p->wrote ? PUSH_WRITTEN : PUSH_CURRENT;
	case ERR_LOCKED:
		return PUSH_WAITING;
	case ERR_CANCELLED:
		return PUSH_SKIPPED;
	case ERR_CONFLICT:
		return p->cmp.action == COMPARE_HOLD || p->refused.code == ERR_CONFLICT ? PUSH_HELD : PUSH_FAILED;
	default:
		return PUSH_FAILED;
	}
}

static void
replicate_record(struct push *p, struct replica_rec *r, enum push_outcome o)
{
	int64_t now = loop_wall(p->e->loop);

	r->error = p->op.err.msg;
	r->hint = p->op.err.hint;
	r->error_code = (int)p->op.err.code;
	replica_settle(r, o == PUSH_HELD ? REPLICA_HELD : o == PUSH_WRITTEN || o == PUSH_CURRENT ? REPLICA_CURRENT : REPLICA_FAILED, now);
	if (o == PUSH_HELD) { /* what was weighed against what: looked at again when either changes */
		r->version = p->want_version;
		r->etag = p->cur.etag;
		if (p->refused.code != ERR_OK) /* by the configuration: see sweep_weigh() */
			r->error_code = ERR_CONFIG;
	}
	if (p->torn) /* may be written over; push.c keeps it as a version first */
		r->resolved = p->cur.digest;
	if (o != PUSH_CURRENT && !p->wrote)
		return;
	r->digest = p->reencoded ? p->want : p->cur.digest;
	r->version = p->want_version;
	r->serial = p->next.info.serial;
	r->etag = p->cur.etag;
	r->verified = now;
	r->written = p->wrote ? now : r->written;
	r->reencoded = p->reencoded;
	memset(&r->resolved, 0, sizeof(r->resolved));
}

static void
replicate_queue(struct push *p, struct batch *b, struct store_txn *t, enum push_outcome o)
{
	struct queue_rec q, old = { .attempt = 0 };
	int64_t          now = loop_wall(p->e->loop);
	bool             queued = store_queued(t, p->edge, p->dst->label, p->state, &old);

	if (o == PUSH_WRITTEN || o == PUSH_CURRENT || o == PUSH_HELD) {
		batch_unqueue_if(b, p->edge, p->dst->label, p->state, &p->want);
		return;
	}
	q = (struct queue_rec){ .edge = p->edge, .target = p->dst->label, .state = p->state };
	if (o == PUSH_WAITING) {
		q.waiting_since = queued && old.waiting_since != 0 && old.waiting_since <= now ? old.waiting_since : now;
		q.attempt = old.attempt;
		q.due = now + retry_lock_wait_ms(p->e, now - q.waiting_since);
	} else {
		q.attempt = old.attempt + 1;
		q.due = now + retry_wait_ms(p->e, old.attempt, &p->op.err);
	}
	batch_queue(b, &q);
}

static void
replicate_log(struct push *p, enum push_outcome o)
{
	static const char *const what[] = { "written", "current", "held", "waits for a lock", "failed", "cancelled" };
	char op[ERR_MSG_MAX], hex[DIGEST_HEX];

	snprintf(op, sizeof(op), "replicate %s %s", p->edge, p->source);
	digest_hex(&p->want, hex)[12] = '\0';
	if (o == PUSH_WRITTEN)
		log_event(LOG_INFO, op, what[o], { "target", log_str(p->dst->label) }, { "serial", log_u64(p->next.info.serial) },
		    { "size", log_u64(p->next.info.size) }, { "sha256", log_str(hex) },
		    { "took", log_ms(loop_now(p->e->loop) - p->op.since) });
	else
		log_event(o == PUSH_CURRENT ? LOG_DEBUG : o == PUSH_HELD || o == PUSH_FAILED ? LOG_WARN : LOG_INFO, op, what[o],
		    { "target", log_str(p->dst->label) }, { "reason", log_str(p->op.err.code != ERR_OK ? p->op.err.msg : NULL) });
}

/* A state that stands in the way is kept, for whoever decides, because by then it may be gone. */
static bool
replicate_is_evidence(const struct push *p, enum push_outcome o)
{
	return o == PUSH_HELD && p->cmp.action == COMPARE_HOLD && state_is_good(&p->cur.info);
}

static void
replicate_hint(struct push *p, enum push_outcome o)
{
	if (o != PUSH_HELD || p->op.err.hint[0] != '\0')
		return;
	if (replicate_is_evidence(p, o))
		err_hint(&p->op.err, "stateferry log %s:%s shows what it holds; if the source is right: stateferry resolve %s %s --overwrite",
		    p->backend, p->source, p->edge, p->source);
	else
		err_hint(&p->op.err, "if the source is right: stateferry resolve %s %s --overwrite", p->edge, p->source);
}

static void
replicate_report(struct push *p, enum push_outcome o)
{
	p->ret->outcome = o;
	p->ret->bytes = o == PUSH_WRITTEN ? p->next.info.size : 0;
	p->ret->serial = p->next.info.serial;
	p->ret->probe = p->dry && o == PUSH_WRITTEN && place_asks_probe(engine_place(p->e, p->dst), p->name);
	p->ret->err = p->op.err;
	p->ret->target_down = o == PUSH_FAILED && retry_target_down(engine_place(p->e, p->dst), p->op.err.code);
	if (p->dry || p->follow)
		return;
	if (o == PUSH_WRITTEN)
		p->e->counters.pushes_ok++;
	else if (o == PUSH_FAILED)
		p->e->counters.pushes_failed++;
}

/* Longer than a run may take: a person should look whether the holder still lives. */
static bool
replicate_waited_long(const struct push *p, struct store_txn *t, int64_t *ret_since)
{
	struct queue_rec q;

	if (!store_queued(t, p->edge, p->dst->label, p->state, &q) || q.waiting_since == 0 ||
	    loop_wall(p->e->loop) - q.waiting_since < p->dst->common.lock_timeout_ms)
		return false;
	*ret_since = q.waiting_since;
	return true;
}

/* Of a lane that another agent writes: does what was read there say how the replica stands? One that is newer than our head may only
 * show that the writer has read the source since, and we have not: it is looked at first. */
static bool
replicate_follows(struct push *p, enum push_outcome o)
{
	struct bits  *doubted = &engine_track(p->e, p->lane)->doubted;
	struct place *source = engine_place(p->e, p->lane->edge->from);
	bool          newer = o == PUSH_HELD && state_is_good(&p->cur.info) && p->cur.info.serial > p->next.info.serial;

	if ((o != PUSH_CURRENT && o != PUSH_HELD) || p->refused.code != ERR_OK)
		return false;
	if (newer && (source->failing || !bits_get(doubted, p->state))) {
		bits_set(doubted, p->state);
		if (!source->failing)
			place_wake(source);
		return false;
	}
	bits_clear(doubted, p->state);
	return true;
}

/* It is not the head yet: whoever has the lease is to write it. Its bytes count as ours only if they are a version of the source. */
static void
replicate_record_behind(struct push *p, struct replica_rec *r, struct store_txn *t)
{
	struct version_rec v;

	r->error = r->hint = "";
	r->etag = p->absent ? "" : p->cur.etag;
	replica_settle(r, REPLICA_PENDING, loop_wall(p->e->loop));
	if (p->absent || !push_knows_current(p, true)) {
		memset(&r->digest, 0, sizeof(r->digest));
		r->version = r->serial = 0;
	} else if (store_version_find(t, p->state, &p->cur.digest, &v)) {
		r->digest = p->cur.digest;
		r->version = v.number;
		r->serial = v.serial;
	}
}

static void
replicate_settle(struct push *p, struct batch *b)
{
	enum push_outcome  o = replicate_outcome(p);
	struct store_txn  *t;
	struct replica_rec r;
	struct err         e;

	if (p->dry && o == PUSH_CURRENT && p->cmp.action == COMPARE_WRITE)
		o = PUSH_WRITTEN;
	replicate_hint(p, o);
	replicate_report(p, o);
	if (p->dry)
		return;
	if (p->follow && !replicate_follows(p, o))
		return;
	if (!p->follow || o == PUSH_HELD)
		replicate_log(p, o);
	if (o == PUSH_SKIPPED && p->want_version == 0 && !p->follow) /* nothing is to be written: whatever changes that queues it anew */
		batch_unqueue(b, p->edge, p->dst->label, p->state);
	if (o == PUSH_SKIPPED || store_read(p->e->store, &t, &e) != ERR_OK)
		return;
	if (!store_replica(t, p->edge, p->dst->label, p->state, &r))
		r = (struct replica_rec){ .edge = p->edge, .target = p->dst->label, .state = p->state, .etag = "", .error = "",
			.hint = "" };
	r.name = p->name;
	if (p->follow && p->cmp.action == COMPARE_WRITE) {
		replicate_record_behind(p, &r, t);
		batch_replica(b, &r);
		store_end(t);
		return;
	}
	if (o == PUSH_WAITING && r.status != REPLICA_HELD && replicate_waited_long(p, t, &r.troubled)) {
		push_lock_hint(p);
		r.error = p->op.err.msg;
		r.hint = p->op.err.hint;
		r.error_code = ERR_LOCKED;
		batch_replica(b, &r);
	}
	if (o != PUSH_WAITING) {
		if (o == PUSH_HELD && !(r.status == REPLICA_HELD && strcmp(r.error, p->op.err.msg) == 0))
			engine_event(b, p->e, "held", p->backend, p->source, p->edge, "%s: %s", p->dst->label, p->op.err.msg);
		replicate_record(p, &r, o);
		batch_replica(b, &r);
	}
	if (replicate_is_evidence(p, o))
		push_keep_current(p, b);
	if (p->wrote)
		engine_event(b, p->e, "written", p->backend, p->source, p->edge, "%s: serial %llu%s%s", p->dst->label,
		    (unsigned long long)p->next.info.serial, p->cmp.reason[0] != '\0' ? ", replaces " : "", p->cmp.reason);
	replicate_queue(p, b, t, o);
	store_end(t);
}

static const struct push_kind replicate_kind = { INTENT_PUSH, "replicate", replicate_weigh, replicate_needs_meaning, NULL,
	replicate_settle, NULL };

/* --- building --- */

/* Does any edge still carry that state to that name? Records of edges that were renamed or removed claim nothing. */
static bool
replicate_still_claims(struct engine *e, const struct push *p, const struct state_rec *s)
{
	struct buf name;
	struct err err;
	bool       claims = false;

	for (size_t i = 0; i < e->plan->nedges; i++) {
		struct edge *edge = &e->plan->edges[i];

		for (size_t j = 0; edge->kind == EDGE_REPLICATE && strcmp(edge->from->label, s->backend) == 0 && j < edge->nlanes; j++) {
			if (edge->lanes[j].to != p->dst)
				continue;
			buf_init(&name, 0);
			claims |= lane_map(e->plan, &edge->lanes[j], s->name, &name, &err) == MAP_YES && span_is(buf_span(&name), p->name);
			buf_free(&name);
		}
	}
	return claims;
}

bool
push_is_of_another(const struct push *p, struct store_txn *t, struct err *ret)
{
	uint64_t         owner = store_replica_owner(t, p->dst->label, p->name);
	struct state_rec s;

	if (owner == 0 || owner == p->state || !store_state_by_id(t, owner, &s) || !replicate_still_claims(p->e, p, &s))
		return false;
	err_set(ret, ERR_CONFLICT, 0, "%s is already the replica of %s:%s", p->name, s.backend, s.name);
	err_hint(ret, "give one of the two another key in the configuration");
	return true;
}

bool
push_meets_another(const struct push *p, struct err *ret)
{
	const struct push *other = p->lane != NULL ? engine_live_other(p->e, p->dst, p->name, p->state) : NULL;
	struct store_txn  *t;
	bool               meets = false;

	if (other != NULL && p->intent == 0) { /* once both are under way, the first one goes on */
		err_set(ret, ERR_LOCKED, 0, "%s is being written as the replica of %s:%s", p->name, other->backend, other->source);
		return err_hint(ret, "give one of the two another key in the configuration") != ERR_OK;
	}
	if (p->lane != NULL && store_read(p->e->store, &t, NULL) == ERR_OK) {
		meets = push_is_of_another(p, t, ret);
		store_end(t);
	}
	return meets;
}

static void
replicate_load(struct push *p, struct store_txn *t, const struct state_rec *s, const struct lane *l, const struct push_options *o)
{
	struct replica_rec r;
	struct buf         name;
	enum mapping       m;

	buf_init(&name, 0);
	m = lane_map(p->e->plan, l, s->name, &name, &p->refused);
	free(p->name);
	p->name = xstrdup(buf_str(&name));
	buf_free(&name);
	p->backend = xstrdup(s->backend);
	p->source = xstrdup(s->name);
	p->want = s->head_digest;
	p->want_version = s->head;
	p->released = digest_eq(&s->released, &s->head_digest);
	p->prelook = o->dry || o->follow;
	if (store_replica(t, p->edge, p->dst->label, p->state, &r))
		p->prelook |= r.status == REPLICA_HELD || (r.status == REPLICA_CURRENT && digest_eq(&r.digest, &p->want));
	else
		p->prelook |= bits_get(&engine_track(p->e, l)->present, p->state);
	if (!o->dry && !o->follow && inherit_by_push(engine_track(p->e, l), p->state))
		p->prelook = false;
	if (m == MAP_NO || m == MAP_PAUSED) {
		p->want_version = 0;
		err_set(&p->refused, ERR_CANCELLED, 0, "the edge does not carry it");
	} else if (m == MAP_ERROR)
		p->refused.code = ERR_CONFLICT;
	else if (s->head == 0 && o->next == NULL)
		err_set(&p->refused, ERR_CANCELLED, 0, "there is no good version yet");
	else if (place_may_act(engine_place(p->e, p->dst), &p->refused) && !push_is_of_another(p, t, &p->refused))
		place_writable(engine_place(p->e, p->dst), p->name, &p->refused);
}

struct op *
push_op(struct engine *e, struct lane *l, uint64_t state, const struct push_options *o, struct push_result *ret)
{
	struct push      *p = push_new(e, &replicate_kind, l->to, "");
	struct store_txn *t;
	struct state_rec  s;

	p->lane = l;
	p->edge = l->edge->name;
	p->state = state;
	p->dry = o->dry;
	p->follow = o->follow;
	p->ret = ret;
	memset(ret, 0, sizeof(*ret));
	if (store_read(e->store, &t, &p->refused) != ERR_OK)
		return &p->op;
	if (o->next != NULL && !store_state(t, l->edge->from->label, o->name, &s)) /* a dry run may know more than the store */
		s = (struct state_rec){ .backend = l->edge->from->label, .name = o->name };
	else if (o->next == NULL && !store_state_by_id(t, state, &s))
		err_set(&p->refused, ERR_CANCELLED, 0, "no such state");
	if (o->next != NULL) /* its replicas are its own, whatever its head is going to be */
		p->state = s.id;
	if (p->refused.code == ERR_OK)
		replicate_load(p, t, &s, l, o);
	store_end(t);
	snprintf(ret->name, sizeof(ret->name), "%s", p->source != NULL ? p->source : "");
	if (o->next != NULL) {
		p->want = o->next->digest;
		p->next = *o->next;
		body_ref(p->next.body);
	}
	return &p->op;
}
