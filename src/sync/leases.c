/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/*
 * Which lanes are this agent's, where an edge has a lease: each of its lanes has one of its own, kept at the coordinator that the edge
 * names. An agent keeps them as long as it runs; a pass of its own takes them for as long as it lasts.
 */
#define LEASES_LOOK_MS   100
#define LEASES_SLACK_MS  10000  /* beyond the time in which a dead holder's lease expires */
#define LEASES_PROVE_MS  60000  /* until a target that could not be probed is probed again */
#define LEASES_EPOCH_MAX 24     /* digits of one, in the store */

/* --- one lane --- */

static void
track_lease_changed(void *arg)
{
	struct track *t = arg;

	if (!lease_holds(t->lease))
		return;
	inherit_begin(t, t->handed_over);
	engine_kick(t->engine, t->lane->edge->from);
}

/* Is anything on its way to the target? Also what a person asked for. */
static bool
track_lease_busy(void *arg)
{
	const struct track *t = arg;

	return (t->drain != NULL && !t->follows) || t->inherit != NULL || engine_live_in(t->engine, t->lane);
}

/* --- what is noted of a take --- */

static char *
track_epoch_key(const struct track *t)
{
	return xasprintf("lease %s %s", t->lane->edge->name, t->lane->to->label);
}

/* The highest epoch that this agent ever meant to take; 0: none. */
static enum err_code
track_epoch_noted(const struct track *t, uint64_t *ret, struct err *reterr)
{
	char              text[LEASES_EPOCH_MAX] = "", *key = track_epoch_key(t);
	struct store_txn *txn;
	struct span       v;
	enum err_code     code = store_read(t->engine->store, &txn, reterr);

	if (code == ERR_OK) {
		if (store_meta(txn, key, &v))
			snprintf(text, sizeof(text), "%.*s", (int)v.n, (const char *)v.p);
		store_end(txn);
	}
	*ret = strtoull(text, NULL, 10);
	free(key);
	return code;
}

static uint64_t
track_commits(void *arg)
{
	const struct track *t = arg;
	struct store_txn   *txn;
	uint64_t            n = 0;

	if (store_read(t->engine->store, &txn, NULL) == ERR_OK) {
		n = store_commits(txn);
		store_end(txn);
	}
	return n;
}

/* Whoever may write nothing is in the way of those who can: also under the leases whose records say nothing of it. */
static void
leases_are_outrun(struct engine *e, const struct err *why)
{
	if (!e->outrun)
		log_event(LOG_WARN, "lease", "nothing is written until the store is adopted", { "reason", log_str(why->msg) });
	e->outrun = true;
	for (size_t i = 0; i < e->plan->nlanes; i++)
		if (e->tracks[i].lease != NULL)
			lease_able(e->tracks[i].lease, false);
}

/* The record tells more of this very agent than its store knows: a higher epoch than any that it noted, or more commits. The store is
 * older than what its agent did, or another one goes by its name. Nothing is written until a person has seen that. */
static bool
track_is_outrun(struct track *t, const struct lease_record *was, uint64_t noted, struct err *reterr)
{
	const char *us = store_agent_id(t->engine->store);
	uint64_t    done = lease_record_commits(was, us), now = track_commits(t);

	if (strcmp(was->holder, us) == 0 && was->epoch > noted)
		err_set(reterr, ERR_CONFIG, 0, "this agent has held it at epoch %llu already, and its store knows of %llu: the store was put back "
		    "from a backup, or is a copy", (unsigned long long)was->epoch, (unsigned long long)noted);
	else if (now != 0 && done > now)
		err_set(reterr, ERR_CONFIG, 0, "when this agent last had it, its store had made %llu commits, and now it knows of %llu: it was put "
		    "back from a backup, or is a copy", (unsigned long long)done, (unsigned long long)now);
	else
		return false;
	err_hint(reterr, "if it shall be active here: stateferry adopt");
	leases_are_outrun(t->engine, reterr);
	return true;
}

/* --- before one is taken --- */

struct take {
	struct op     op;
	struct track *track;
	uint64_t      epoch;       /* 0: proven alone, not taken yet */
};

enum take_state { START, PROVEN, NOTED };

static const char *const take_states[] = { "start", "proven", "noted" };

static struct op *
take_note(struct take *k)
{
	char          text[LEASES_EPOCH_MAX], *key = track_epoch_key(k->track);
	struct batch *b = batch_new(k->track->engine->store);

	snprintf(text, sizeof(text), "%llu", (unsigned long long)k->epoch);
	batch_meta(b, key, span_str(text));
	free(key);
	return store_apply(k->track->engine->store, b);
}

/* What the lease rests on is proven, then the take is on the disk before it is on the wire. */
static enum op_turn
take_step(struct op *op)
{
	struct take  *k = container_of(op, struct take, op);
	struct track *t = k->track;

	switch ((enum take_state)op->state) {
	case START:
		op->res = t->unproven;
		if (t->unproven.code != ERR_OK && loop_now(op->loop) < t->prove_after)
			return op_fail(op);
		return op_await(op, PROVEN, t->lane->edge->lease.records != NULL ? NULL : prove_conditions_op(engine_place(t->engine, t->lane->to)));
	case PROVEN:
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		if (k->epoch != 0 || !op_failed(op)) /* what fails while another holds it need not when it is to be taken */
			t->unproven = op->res;
		t->prove_after = loop_now(op->loop) + LEASES_PROVE_MS;
		return op_failed(op) ? op_fail(op) : op_await(op, NOTED, k->epoch != 0 ? take_note(k) : NULL);
	case NOTED:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
take_free(struct op *op)
{
	free(container_of(op, struct take, op));
}

static const struct op_class take_class = { "take a lease", take_step, NULL, take_free, take_states, ARRAY_LEN(take_states) };

static struct op *
take_op(struct track *t, uint64_t epoch)
{
	struct take *k = xcalloc(1, sizeof(*k));

	op_init(&k->op, &take_class, t->engine->loop);
	k->track = t;
	k->epoch = epoch;
	return &k->op;
}

/* An agent that follows will be asked to go on within a second: there is no time for a probe then. */
static struct op *
track_lease_prepare(void *arg)
{
	struct track *t = arg;

	if (!t->engine->started || t->engine->stopping || !engine_acts(t->engine) || loop_now(t->engine->loop) < t->prove_after)
		return NULL;
	return take_op(t, 0);
}

static struct op *
track_lease_intend(void *arg, const struct lease_record *was, uint64_t *epoch)
{
	struct track *t = arg;
	uint64_t      noted;
	struct err    e;

	t->handed_over = was->epoch == 0 || was->holder[0] == '\0' || strcmp(was->holder, store_agent_id(t->engine->store)) == 0;
	if (track_epoch_noted(t, &noted, &e) != ERR_OK)
		return op_result(t->engine->loop, &e);
	if (track_is_outrun(t, was, noted, &e)) {
		t->unproven = e;
		return op_result(t->engine->loop, &e);
	}
	if (*epoch <= noted) /* the record was lost; locks of earlier epochs are still told from ours */
		*epoch = noted + 1;
	return take_op(t, *epoch);
}

void
track_lease_init(struct track *t)
{
	const struct edge *e = t->lane->edge;
	char              *key;
	struct lease_conf  c = { .loop = t->engine->loop, .agent_id = store_agent_id(t->engine->store),
		.agent_name = t->engine->plan->settings.name, .ttl_ms = e->lease.ttl_ms, .max_failures = (unsigned)e->lease.max_failures,
		.target = t->lane->to->label, .changed = track_lease_changed, .prepare = track_lease_prepare, .intend = track_lease_intend,
		.commits = track_commits, .busy = track_lease_busy, .arg = t, .requests = &t->requests, .group = &t->engine->leases };

	if (!e->lease.on)
		return;
	if (e->lease.records != NULL) /* a label holds no "@" */
		key = xasprintf("%s@%s", e->name, t->lane->to->label);
	else
		key = xstrdup(e->name);
	c.key = key;
	c.coordinator = t->coordinator = e->lease.records != NULL ? e->lease.records : records_target(t->lane->to);
	t->lease = lease_new(&c);
	free(key);
}

void
track_lease_free(struct track *t)
{
	lease_free(t->lease);
	if (t->coordinator != t->lane->edge->lease.records)
		records_close(t->coordinator);
}

bool
track_is_ours(const struct track *t)
{
	return t->lease == NULL || lease_holds(t->lease);
}

/* Nothing may be under way under it. */
static void
track_lease_leave(struct track *t)
{
	if (t->lease == NULL || t->drain != NULL || t->keeps_lease || track_lease_busy(t))
		return;
	lease_leave(t->lease);
}

void
track_lease_rested(struct track *t)
{
	if (t->lease != NULL)
		lease_work_ended(t->lease);
	if (t->engine->stopping)
		leases_leave(t->engine);
}

/* --- all of them --- */

void
leases_start(struct engine *e)
{
	for (size_t i = 0; i < e->plan->nlanes && engine_acts(e); i++)
		if (e->tracks[i].lease != NULL)
			lease_start(e->tracks[i].lease);
}

void
leases_leave(struct engine *e)
{
	for (size_t i = 0; i < e->plan->nlanes; i++)
		track_lease_leave(&e->tracks[i]);
}

bool
leases_idle(const struct engine *e)
{
	for (size_t i = 0; i < e->plan->nlanes; i++)
		if (e->tracks[i].lease != NULL && !e->tracks[i].keeps_lease && !lease_idle(e->tracks[i].lease))
			return false;
	return true;
}

static bool
queue_is_not_empty(void *arg, const struct queue_rec *r)
{
	(void)r;
	*(bool *)arg = true;
	return false;
}

/* Does anything wait for the target that needs the source no more? */
static bool
track_has_work(const struct track *t)
{
	struct store_txn *txn;
	bool              has = false;

	if (store_read(t->engine->store, &txn, NULL) != ERR_OK)
		return false;
	store_queue(txn, t->lane->edge->name, t->lane->to->label, queue_is_not_empty, &has);
	store_end(txn);
	return has;
}

/* A source that this agent alone does not reach, or a store that takes nothing more: others may do better. */
void
leases_looked(const struct place *p)
{
	const struct engine *e = p->engine;

	for (size_t i = 0; i < e->plan->nlanes; i++) {
		struct track *t = &e->tracks[i];
		int64_t       most = t->lane->edge->lease.max_failures;

		if (t->lease != NULL && t->lane->edge->from == p->backend && !e->outrun)
			lease_able(t->lease, most == 0 || (p->looked.unkept == 0 && (p->failures < most || track_has_work(t))));
	}
}

void
leases_adopted(struct engine *e)
{
	e->outrun = false;
	for (size_t i = 0; i < e->plan->nlanes; i++) {
		err_clear(&e->tracks[i].unproven);
		if (e->tracks[i].lease == NULL)
			continue;
		lease_belongs_to(e->tracks[i].lease, store_agent_id(e->store));
		lease_able(e->tracks[i].lease, true);
	}
	if (e->started)
		leases_start(e);
}

/* --- over a reload --- */

/* The lane of the new plan that is that one still, as far as its lease goes. */
static struct lane *
lane_again(const struct lane *l, const struct plan *old, const struct plan *new)
{
	struct edge *e = plan_edge(new, l->edge->name);

	if (e == NULL || !edge_lease_same(&e->lease, &l->edge->lease) || strcmp(old->settings.name, new->settings.name) != 0)
		return NULL;
	for (size_t i = 0; i < e->nlanes; i++)
		if (strcmp(e->lanes[i].to->label, l->to->label) == 0 && strcmp(e->lanes[i].to->where, l->to->where) == 0)
			return &e->lanes[i];
	return NULL;
}

void
leases_keep(struct engine *e, const struct plan *next)
{
	for (size_t i = 0; i < e->plan->nlanes; i++) {
		struct track *t = &e->tracks[i];

		t->keeps_lease = next != NULL && t->lease != NULL && !lease_idle(t->lease) &&
		    lane_again(t->lane, e->plan, next) != NULL;
	}
}

bool
leases_paused(struct engine *e)
{
	bool paused = true;

	for (size_t i = 0; i < e->plan->nlanes; i++) {
		struct track *t = &e->tracks[i];

		if (!t->keeps_lease || lease_idle(t->lease))
			continue;
		lease_pause(t->lease);
		paused = false;
	}
	return paused;
}

struct lease **
leases_carry(struct engine *e, const struct plan *next)
{
	struct lease **kept = xcalloc(next->nlanes + 1, sizeof(struct lease *));

	for (size_t i = 0; i < e->plan->nlanes; i++) {
		struct track *t = &e->tracks[i];
		struct lane  *again = t->keeps_lease ? lane_again(t->lane, e->plan, next) : NULL;

		if (again == NULL)
			continue;
		kept[again->index] = t->lease;
		t->lease = NULL;
	}
	return kept;
}

void
leases_carried(struct engine *e, struct lease **owned)
{
	for (size_t i = 0; i < e->plan->nlanes; i++) {
		if (owned[i] == NULL)
			continue;
		lease_free(e->tracks[i].lease);
		e->tracks[i].lease = owned[i];
		lease_move(owned[i], e->tracks[i].coordinator, &e->tracks[i], &e->tracks[i].requests);
	}
	free(owned);
}

/* --- of a pass --- */

struct leases_wait {
	struct op           op;
	struct engine      *e;
	const struct pass  *pass;   /* NULL: until all are idle */
	const struct track *track;  /* that one alone; NULL: as pass says */
	int64_t             begun;
};

/* Is it known by now whose it is? A dead holder's expires within 1.5 of its own ttl. */
static bool
leases_is_decided(const struct leases_wait *w, const struct track *t)
{
	struct lease_view v;
	int64_t           ttl = t->lane->edge->lease.ttl_ms;

	if (t->lease == NULL || (w->pass != NULL && !pass_has_edge(w->pass, t->lane->edge)) || t->unproven.code != ERR_OK)
		return true;
	lease_look(t->lease, &v);
	if (v.standing == LEASE_UNREAD &&
	    (v.why.code == ERR_AUTH || v.why.code == ERR_CONFIG || v.why.code == ERR_UNSUPPORTED || v.why.code == ERR_CORRUPT))
		return true; /* refused, or no record: time does not help */
	if (v.seen.record.ttl_ms > ttl)
		ttl = v.seen.record.ttl_ms;
	return v.standing == LEASE_OURS || v.standing == LEASE_THEIRS || v.standing == LEASE_YIELDED || v.standing == LEASE_RELEASED ||
	    loop_now(w->e->loop) - w->begun > LEASE_EXPIRES(ttl) + LEASES_SLACK_MS;
}

static bool
leases_wait_is_over(const struct leases_wait *w)
{
	if (w->track != NULL)
		return leases_is_decided(w, w->track);
	if (w->pass == NULL)
		return leases_idle(w->e);
	for (size_t i = 0; i < w->e->plan->nlanes; i++)
		if (!leases_is_decided(w, &w->e->tracks[i]))
			return false;
	return true;
}

static enum op_turn
leases_wait_step(struct op *op)
{
	struct leases_wait *w = container_of(op, struct leases_wait, op);

	if (op->res.code == ERR_CANCELLED)
		return op_fail(op);
	return leases_wait_is_over(w) ? op_ok(op) : op_await(op, 0, op_sleep(op->loop, LEASES_LOOK_MS));
}

static void
leases_wait_free(struct op *op)
{
	free(container_of(op, struct leases_wait, op));
}

static const char *const      leases_wait_states[] = { "waiting" };
static const struct op_class leases_wait_class = { "leases", leases_wait_step, NULL, leases_wait_free, leases_wait_states, 1 };

static struct leases_wait *
leases_wait_new(struct engine *e)
{
	struct leases_wait *w = xcalloc(1, sizeof(*w));

	op_init(&w->op, &leases_wait_class, e->loop);
	w->e = e;
	w->begun = loop_now(e->loop);
	return w;
}

struct op *
leases_settled_op(struct engine *e, const struct pass *pass)
{
	struct leases_wait *w = leases_wait_new(e);

	w->pass = pass;
	return &w->op;
}

struct op *
track_settled_op(struct track *t)
{
	struct leases_wait *w;

	if (track_is_ours(t))
		return NULL;
	if (!t->engine->started && engine_acts(t->engine))
		lease_start(t->lease);
	w = leases_wait_new(t->engine);
	w->track = t;
	return &w->op;
}

/* --- who has them --- */

bool
track_lease_refused(const struct track *t, struct err *ret)
{
	struct lease_view v;

	if (track_is_ours(t))
		return false;
	lease_look(t->lease, &v);
	if (t->unproven.code != ERR_OK && v.standing != LEASE_THEIRS && v.standing != LEASE_RELEASED) {
		*ret = t->unproven;
	} else if (v.standing == LEASE_UNREAD) {
		*ret = v.why;
		err_prefix(ret, "the lease at %s", t->lane->to->label);
	} else if (v.standing == LEASE_RELEASED) {
		err_set(ret, ERR_LOCKED, 0, "the lease at %s was released here by a person", t->lane->to->label);
		err_hint(ret, "to have it taken again: stateferry lease release --back %s", t->lane->edge->name);
	} else if (v.standing == LEASE_YIELDED) {
		err_set(ret, ERR_LOCKED, 0, "the lease at %s is left to other agents for a while, because the work under it kept failing",
		    t->lane->to->label);
	} else {
		err_set(ret, ERR_LOCKED, 0, "the lease at %s is held by %s (epoch %llu)", t->lane->to->label,
		    v.seen.record.holder[0] != '\0' ? v.seen.record.name : "nobody yet", (unsigned long long)v.seen.record.epoch);
		err_hint(ret, "that agent replicates it, and hands it over when it ends");
	}
	return true;
}

void
engine_leases(struct engine *e, void (*fn)(void *arg, const struct lane *l, const struct lease_view *v), void *arg)
{
	struct lease_view v;

	for (size_t i = 0; i < e->plan->nlanes; i++) {
		const struct track *t = &e->tracks[i];

		if (t->lease == NULL)
			continue;
		lease_look(t->lease, &v);
		if (e->outrun && v.standing == LEASE_YIELDED) {
			v.standing = LEASE_UNREAD;
			err_set(&v.why, ERR_CONFIG, 0, "the store is older than what its agent did, or a copy");
			err_hint(&v.why, "if it shall be active here: stateferry adopt");
		}
		if (t->unproven.code != ERR_OK && (v.standing == LEASE_WATCHING || v.standing == LEASE_UNREAD)) {
			v.standing = LEASE_UNREAD;
			v.why = t->unproven;
		}
		fn(arg, t->lane, &v);
	}
}
