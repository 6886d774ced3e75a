/* SPDX-License-Identifier: MIT */
#include "sync/lease.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "provider/lock_info.h"

/*
 * One lease, kept by one agent: it looks at the record until it may take it, takes it, renews it, and hands it over. Whether a swap
 * without an answer was carried out is seen in the record: no two records that were ever sent are alike.
 */
#define LEASE_POLL_MIN_MS    200
#define LEASE_POLL_MAX_MS    800   /* so that a successor sees within a second that it was handed over */
#define LEASE_POLL_SHARE_MS  100   /* for each agent that keeps some of those: what is asked for all of them is bounded */
#define LEASE_HURRY_MS       10000 /* an agent that ends hands over one lease after the other, as what was begun under them ends */
#define LEASE_REQUEST_MIN_MS 500
#define LEASE_YIELD_MAX_MS   600000
#define LEASE_YIELD_DOUBLINGS 10
#define LEASE_TROUBLES_SAID  3     /* in a row: what comes once or twice is over at the next look */
#define LEASE_GIVE_TRIES     3     /* then it is left to expire */

enum lease_state { LOOK, SEEN, PREPARED, INTENDED, TAKEN, RENEWED, GIVEN, RESTED };

static const char *const lease_states[] = { "look", "seen", "prepared", "intended", "taken", "renewed", "given", "rested" };

struct lease {
	struct op           op;          /* while it runs */
	struct loop        *loop;
	struct records     *at;
	char               *key, *target, *agent_id;
	const char         *name;        /* of key, without its folder */
	unsigned            max_failures;
	struct lease_group *group, own;  /* own: it is the only one */
	struct lease       *next;        /* of the group */
	void              (*changed)(void *arg);
	struct op        *(*prepare)(void *arg);
	struct op        *(*intend)(void *arg, const struct lease_record *was, uint64_t *epoch);
	uint64_t          (*commits)(void *arg);
	bool              (*busy)(void *arg);
	void               *arg;
	uint64_t           *requests;
	bool                running, leaving, pausing;
	bool                unable;      /* to do what it stands for */
	bool                released;    /* by a person */
	struct lease_record sent;        /* the last that was sent; before the first, who we are */
	int64_t             sent_at;     /* loop_now() when its request began */
	struct lease_seen   now;         /* what we know the record to be; epoch 0: there is none */
	struct record       answer;      /* of the running read; its revision also of a swap */
	int64_t             asked;       /* when the running read began */
	int64_t             unchanged;   /* since when it is known to be that */
	bool                moved;       /* another's, and renewed while we watched */
	int64_t             lost_ttl;    /* of a record of another that is gone, and whose holder may not know yet; 0: none is */
	int64_t             look_at;     /* another's: when it is looked at next */
	int64_t             hurry_until; /* its holder is handing over */
	bool                mine;
	bool                unsure;      /* mine, by a record of ours that is not the last we sent: that one may still arrive */
	bool                giving;      /* a hand-over was sent, and what came of it is not known yet */
	int64_t             from;        /* mine: when the request began that made it so */
	uint64_t            epoch;       /* of the last time that it was ours */
	uint64_t            top_epoch;   /* the highest that was seen: a record can be lost, and locks of its epochs stay */
	uint64_t            next_epoch;  /* of the take that is intended */
	struct err          trouble;     /* of the last request that failed */
	unsigned            troubles;    /* in a row */
	unsigned            failures, yields, gives;
	int64_t             yield_until;
};

/* --- how long --- */

/* Of the group, and not ours: those that one agent keeps. */
static bool
lease_is_beside(const struct lease *l, const struct lease *o, const char *holder)
{
	return o != l && o->running && !o->mine && strcmp(o->now.record.holder, holder) == 0;
}

/* From one look at any lease of an agent to the next: so often that a hand-over is seen within a second; less often where they are kept by
 * very many, because each look is a request. */
static int64_t
lease_watch_ms(const struct lease *l)
{
	int64_t  ms = l->sent.ttl_ms / 60, share;
	unsigned holders = 0;

	ms = ms < LEASE_POLL_MIN_MS ? LEASE_POLL_MIN_MS : ms > LEASE_POLL_MAX_MS ? LEASE_POLL_MAX_MS : ms;
	for (const struct lease *o = l->group->first; o != NULL; o = o->next) {
		const struct lease *twin = o->next;

		while (twin != NULL && !lease_is_beside(o, twin, o->now.record.holder))
			twin = twin->next;
		holders += o->running && !o->mine && twin == NULL;
	}
	share = holders * LEASE_POLL_SHARE_MS;
	return rand_jitter(loop_rand(l->loop), ms > share ? ms : share, 10);
}

/* In turn with those that the same agent keeps, but often enough to see in time that it renews this one too. */
static int64_t
lease_poll_ms(struct lease *l)
{
	int64_t now = loop_now(l->loop), last = now, ms = lease_watch_ms(l), most = l->sent.ttl_ms / 6;

	for (const struct lease *o = l->group->first; o != NULL && now >= l->hurry_until; o = o->next)
		if (lease_is_beside(l, o, l->now.record.holder) && o->look_at > last)
			last = o->look_at;
	l->look_at = last + ms < now + most ? last + ms : now + most;
	return l->look_at - now;
}

/* No request is waited for so long that the next one would come too late. */
static enum op_turn
lease_ask(struct lease *l, enum lease_state next, struct op *request)
{
	int64_t ms = l->sent.ttl_ms / 6;

	return op_await_for(&l->op, (int)next, request, ms < LEASE_REQUEST_MIN_MS ? LEASE_REQUEST_MIN_MS : ms);
}

static void
lease_poke(struct lease *l)
{
	if (l->running && (l->op.state == RESTED || l->op.state == PREPARED || l->op.state == INTENDED))
		op_cancel(l->op.child);
}

static void
lease_go_on(struct lease *l)
{
	if (l->running && l->op.state == RESTED)
		op_cancel(l->op.child);
}

/* That agent handed over a lease, or lost it: what becomes of its others? */
static void
lease_rouse(struct lease *l, const char *holder)
{
	int64_t now = loop_now(l->loop);

	for (struct lease *o = l->group->first; o != NULL; o = o->next) {
		if (!lease_is_beside(l, o, holder) || now < o->hurry_until)
			continue;
		o->hurry_until = now + LEASE_HURRY_MS;
		lease_go_on(o);
	}
}

/* Those that follow us look at one of our leases, and then at another: each tells that one was handed over. */
static void
lease_tell_given(struct lease *l)
{
	for (struct lease *o = l->group->first; o != NULL; o = o->next)
		if (o != l && o->mine)
			lease_go_on(o);
}

/* --- whose it is --- */

static bool
lease_yields(const struct lease *l)
{
	return l->unable || loop_now(l->loop) < l->yield_until;
}

static void
lease_say(const struct lease *l, enum log_level level, const char *what)
{
	log_event(level, "lease", what, { "key", log_str(l->name) }, { "target", log_str(l->target) }, { "epoch", log_u64(l->now.record.epoch) },
	    { "holder", log_str(l->now.record.name) });
}

static void
lease_set_mine(struct lease *l, bool mine)
{
	bool was = l->mine;

	l->mine = mine;
	if (mine == was)
		return;
	lease_say(l, LOG_INFO, mine ? "taken" : "not ours any more");
	if (l->changed != NULL)
		l->changed(l->arg);
}

/* The record is the one that we sent last. */
static void
lease_is_sent(struct lease *l, const char *revision)
{
	l->now.record = l->sent;
	snprintf(l->now.revision, sizeof(l->now.revision), "%s", revision);
	l->from = l->sent_at;
	l->unchanged = loop_now(l->loop);
	l->moved = l->unsure = l->giving = false;
	l->gives = 0;
	if (l->sent.holder[0] != '\0')
		l->epoch = l->top_epoch = l->sent.epoch;
	else if (l->mine)
		lease_tell_given(l);
	lease_set_mine(l, l->sent.holder[0] != '\0');
}

/* The holder's own, or ours: whatever is longer, nobody is taken for dead too early. */
static int64_t
lease_longest_ttl(const struct lease *l)
{
	return l->now.record.ttl_ms > l->sent.ttl_ms ? l->now.record.ttl_ms : l->sent.ttl_ms;
}

/* What a look found. Between two looks nothing changed from the end of the first to the beginning of the second. */
static void
lease_is_read(struct lease *l, const struct lease_seen *a)
{
	if (a->record.epoch > l->top_epoch)
		l->top_epoch = a->record.epoch;
	if (a->record.epoch != 0 && strcmp(a->record.nonce, l->sent.nonce) == 0 && a->record.counter == l->sent.counter) {
		lease_is_sent(l, a->revision);
		return;
	}
	/* A renewal was lost, or a late one came first: nobody else has it, but it holds no longer than it did. */
	l->unsure = l->mine && !l->giving && strcmp(a->record.nonce, l->sent.nonce) == 0 && a->record.holder[0] != '\0';
	if (strcmp(a->revision, l->now.revision) != 0) {
		struct lease_record was = l->now.record;

		l->moved = was.epoch != 0 && !l->unsure && a->record.holder[0] != '\0';
		if (a->record.epoch != 0)
			l->lost_ttl = 0;
		else if (!l->mine && was.holder[0] != '\0')
			l->lost_ttl = lease_longest_ttl(l);
		l->unchanged = loop_now(l->loop);
		l->now = *a;
		if (!l->mine && was.holder[0] != '\0' && (strcmp(was.holder, a->record.holder) != 0 || a->record.given > was.given))
			lease_rouse(l, was.holder);
	}
	if (l->unsure)
		return;
	l->giving = false;
	lease_set_mine(l, false);
}

static bool
lease_is_free(const struct lease *l)
{
	const struct lease_record *r = &l->now.record;

	if (strcmp(r->nonce, l->sent.nonce) == 0) /* what we sent once, and gave up since: nobody acts by it */
		return true;
	if (l->epoch == 0 && strcmp(r->holder, l->agent_id) == 0) /* of a process before us: two of one agent never run at once */
		return true;
	if (r->epoch == 0)
		return l->lost_ttl == 0 || l->asked - l->unchanged >= LEASE_EXPIRES(l->lost_ttl);
	return r->holder[0] == '\0' || l->asked - l->unchanged >= LEASE_EXPIRES(lease_longest_ttl(l));
}

static bool
lease_wants(const struct lease *l)
{
	return !l->mine && !l->leaving && !l->pausing && !l->released && !lease_yields(l);
}

static bool
lease_may_take(const struct lease *l)
{
	return lease_wants(l) && lease_is_free(l);
}

/* What another holds may be ours soon: what a take needs is found out while there is time. */
static bool
lease_may_prepare(const struct lease *l)
{
	return lease_wants(l) && l->now.record.holder[0] != '\0' && l->prepare != NULL;
}

static bool
lease_has_work(const struct lease *l)
{
	return l->mine && l->busy != NULL && l->busy(l->arg);
}

/* Is it to be handed over now? */
static bool
lease_gives(const struct lease *l)
{
	return l->mine && (l->leaving || ((l->released || lease_yields(l)) && !lease_has_work(l)));
}

/* A renewal has three tries before its half ttl is over. NULL: at once. */
static struct op *
lease_rest(struct lease *l)
{
	int64_t ms = l->mine ? l->sent.ttl_ms / 6 : lease_poll_ms(l);

	if (l->pausing || (l->leaving && !l->mine))
		return NULL;
	if (lease_gives(l))
		return l->troubles > 0 ? op_sleep(l->loop, LEASE_POLL_MIN_MS) : NULL;
	if (l->mine && l->unsure)
		ms /= 4;
	else if (l->troubles > 0)
		ms = l->mine ? ms / 2 : rand_backoff_ms(loop_rand(l->loop), l->troubles, ms, l->sent.ttl_ms / 4);
	return op_sleep(l->loop, ms);
}

/* --- requests --- */

static struct op *
lease_read(struct lease *l)
{
	l->answer.revision[0] = '\0';
	l->answer.n = 0;
	l->asked = loop_now(l->loop);
	return l->at->class->read(l->at, l->key, &l->answer);
}

/* Ours first, then those that the record knows of. */
static void
lease_note_stores(struct lease *l)
{
	const struct lease_store *was = l->now.record.stores;
	struct lease_store       *next = l->sent.stores;
	uint64_t                  commits = l->commits != NULL ? l->commits(l->arg) : 0;
	size_t                    n = 0;

	memset(next, 0, sizeof(l->sent.stores));
	if (commits != 0) {
		snprintf(next[n].agent, LEASE_HOLDER_MAX, "%s", l->agent_id);
		next[n++].commits = commits;
	}
	for (size_t i = 0; i < LEASE_STORES && n < LEASE_STORES; i++)
		if (was[i].agent[0] != '\0' && (commits == 0 || strcmp(was[i].agent, l->agent_id) != 0))
			next[n++] = was[i];
}

static struct op *
lease_swap(struct lease *l)
{
	struct buf text;
	struct op *op;

	l->sent.counter++;
	l->sent.given = l->group->given;
	lease_note_stores(l);
	l->sent_at = loop_now(l->loop);
	buf_init(&text, 0);
	lease_record_write(&l->sent, &text);
	op = l->at->class->swap(l->at, l->key, buf_span(&text), l->now.revision, l->answer.revision);
	buf_free(&text);
	return op;
}

static struct op *
lease_take(struct lease *l)
{
	const struct lease_record *was = &l->now.record;
	const char                *before = was->holder[0] != '\0' ? was->holder : was->stores[0].agent; /* who handed it over */

	l->sent.transitions = was->transitions + (was->epoch != 0 && strcmp(was->nonce, l->sent.nonce) != 0 && strcmp(before, l->agent_id) != 0);
	l->sent.epoch = l->next_epoch;
	l->sent.since = loop_wall(l->loop);
	snprintf(l->sent.holder, sizeof(l->sent.holder), "%s", l->agent_id);
	return lease_swap(l);
}

/* What a take will make ours is noted before it is sent. */
static struct op *
lease_intend(struct lease *l)
{
	l->next_epoch = l->top_epoch + 1;
	return l->intend != NULL ? l->intend(l->arg, &l->now.record, &l->next_epoch) : NULL;
}

static struct op *
lease_give(struct lease *l)
{
	l->gives++;
	l->group->given++;
	l->giving = true;
	l->sent.holder[0] = '\0';
	return lease_swap(l);
}

static void
lease_troubled(struct lease *l)
{
	l->trouble = l->op.res;
	if (++l->troubles == LEASE_TROUBLES_SAID)
		log_event(LOG_WARN, "lease", "neither read nor written", { "key", log_str(l->name) }, { "target", log_str(l->target) },
		    { "reason", log_str(l->trouble.msg) });
}

static void
lease_answered(struct lease *l)
{
	if (l->troubles >= LEASE_TROUBLES_SAID)
		lease_say(l, LOG_INFO, "answers again");
	l->troubles = 0;
}

/* Of a swap. A refusal, or no answer: the record tells. */
static enum op_turn
lease_swapped(struct lease *l)
{
	struct op *op = &l->op;

	if (op->res.code == ERR_OK) {
		lease_answered(l);
		lease_is_sent(l, l->answer.revision);
		return op_await(op, RESTED, lease_rest(l));
	}
	if (op->res.code == ERR_CONFLICT) /* somebody was faster; not at once again, where a store refuses whatever it holds */
		return l->mine ? op_go(op, LOOK) : op_await(op, RESTED, lease_rest(l));
	lease_troubled(l);
	return op->res.code == ERR_UNCERTAIN || op->res.code == ERR_TIMEOUT ? op_go(op, LOOK) : op_await(op, RESTED, lease_rest(l));
}

static enum op_turn
lease_seen(struct lease *l)
{
	struct op        *op = &l->op;
	struct lease_seen a = { .revision = "" };

	if (!op_failed(op) && lease_record_read(span_of(l->answer.text, l->answer.n), &a.record, &op->res) != ERR_OK)
		err_prefix(&op->res, "%s", l->key);
	if (op_failed(op) && op->res.code != ERR_NOT_FOUND) {
		lease_troubled(l);
		return op_await(op, RESTED, lease_rest(l));
	}
	memcpy(a.revision, l->answer.revision, sizeof(a.revision));
	lease_answered(l);
	lease_is_read(l, &a);
	if (lease_may_take(l))
		return op_await(op, INTENDED, lease_intend(l));
	return lease_may_prepare(l) ? op_await(op, PREPARED, l->prepare(l->arg)) : op_await(op, RESTED, lease_rest(l));
}

static enum op_turn
lease_intended(struct lease *l)
{
	struct op *op = &l->op;

	if (op_failed(op) && op->res.code != ERR_CANCELLED)
		lease_troubled(l);
	if (op_failed(op))
		return op_await(op, RESTED, lease_rest(l));
	return lease_may_take(l) ? lease_ask(l, TAKEN, lease_take(l)) : op_await(op, RESTED, NULL);
}

static enum op_turn
lease_step(struct op *op)
{
	struct lease *l = container_of(op, struct lease, op);

	if (op_stopped(op)) { /* what runs under it ends first, and then its owner leaves it */
		l->leaving |= !lease_has_work(l);
		op_shield(op);
	}
	switch ((enum lease_state)op->state) {
	case LOOK:
		return lease_ask(l, SEEN, lease_read(l));
	case SEEN:
		return lease_seen(l);
	case PREPARED: /* what it failed at, a take will tell */
		return op_await(op, RESTED, lease_rest(l));
	case INTENDED:
		return lease_intended(l);
	case TAKEN:
	case RENEWED:
	case GIVEN:
		return lease_swapped(l);
	case RESTED:
		if (lease_gives(l)) {
			if (l->gives < LEASE_GIVE_TRIES)
				return lease_ask(l, GIVEN, lease_give(l));
			lease_set_mine(l, false);
		}
		if (l->leaving || l->pausing)
			return op_ok(op);
		return l->mine ? lease_ask(l, RENEWED, lease_swap(l)) : op_go(op, LOOK);
	}
	return OP_DONE;
}

/* The lease outlives its op. */
static void
lease_ended(struct op *op)
{
	container_of(op, struct lease, op)->running = false;
}

static const struct op_class lease_class = { "lease", lease_step, NULL, lease_ended, lease_states, ARRAY_LEN(lease_states) };

/* --- what the owner does --- */

struct lease *
lease_new(const struct lease_conf *c)
{
	struct lease *l = xcalloc(1, sizeof(*l));
	char          nonce[37];

	assert(c->ttl_ms >= LEASE_TTL_MIN_MS);
	l->loop = c->loop;
	l->at = c->coordinator;
	l->key = xasprintf(LEASE_FOLDER "%s", c->key);
	l->name = l->key + strlen(LEASE_FOLDER);
	l->target = xstrdup(c->target != NULL ? c->target : "");
	l->agent_id = xstrdup(c->agent_id);
	l->max_failures = c->max_failures;
	l->group = c->group != NULL ? c->group : &l->own;
	l->next = l->group->first;
	l->group->first = l;
	l->changed = c->changed;
	l->prepare = c->prepare;
	l->intend = c->intend;
	l->commits = c->commits;
	l->busy = c->busy;
	l->arg = c->arg;
	l->requests = c->requests;
	l->sent.ttl_ms = c->ttl_ms;
	snprintf(l->sent.name, sizeof(l->sent.name), "%s", c->agent_name);
	snprintf(l->sent.nonce, sizeof(l->sent.nonce), "%s", rand_uuid(loop_rand(c->loop), nonce));
	return l;
}

void
lease_free(struct lease *l)
{
	struct lease **at;

	if (l == NULL)
		return;
	assert(!l->running);
	for (at = &l->group->first; *at != l;)
		at = &(*at)->next;
	*at = l->next;
	free(l->key);
	free(l->target);
	free(l->agent_id);
	free(l);
}

static void
lease_run(struct lease *l)
{
	if (l->running)
		return;
	l->running = true;
	l->gives = l->troubles = 0;
	memset(&l->op, 0, sizeof(l->op));
	op_init(&l->op, &lease_class, l->loop);
	l->op.about = l->name;
	l->op.tally = l->requests;
	op_start(&l->op, NULL, NULL);
}

void
lease_start(struct lease *l)
{
	l->leaving = l->pausing = false;
	lease_run(l);
}

void
lease_leave(struct lease *l)
{
	l->leaving = true;
	if (l->mine)
		lease_run(l);
	lease_poke(l);
}

void
lease_pause(struct lease *l)
{
	l->pausing = true;
	lease_run(l);
	lease_poke(l);
}

void
lease_move(struct lease *l, struct records *to, void *arg, uint64_t *requests)
{
	assert(!l->running);
	l->at = to;
	l->arg = arg;
	l->requests = requests;
}

void
lease_belongs_to(struct lease *l, const char *agent_id)
{
	if (strcmp(l->agent_id, agent_id) == 0)
		return;
	free(l->agent_id);
	l->agent_id = xstrdup(agent_id);
	l->epoch = 0;
}

void
lease_release(struct lease *l, bool released)
{
	l->released = released;
	lease_poke(l);
}

void
lease_work_ended(struct lease *l)
{
	if (lease_gives(l))
		lease_poke(l);
}

bool
lease_is_held(const struct lease *l)
{
	return l->mine;
}

bool
lease_idle(const struct lease *l)
{
	return !l->running;
}

static bool
lease_is_within(const struct lease *l, int64_t ms)
{
	const struct clock *c = loop_clock(l->loop); /* not the turn's: a process can be stopped in the middle of one */

	return l->mine && c->mono_ms(c) - l->from < ms;
}

bool
lease_holds(const struct lease *l)
{
	return lease_is_within(l, LEASE_HOLDS(l->sent.ttl_ms)) && !l->leaving && !l->giving && !l->released && !lease_yields(l);
}

bool
lease_is_ours_alone(const struct lease *l)
{
	return lease_is_within(l, LEASE_EXPIRES(l->sent.ttl_ms));
}

bool
lease_was_of(const struct lease *l, const char *lock_id)
{
	for (size_t i = 0; i < LEASE_STORES; i++)
		if (l->now.record.stores[i].agent[0] != '\0' && lock_id_is_of(lock_id, l->now.record.stores[i].agent))
			return true;
	return false;
}

uint64_t
lease_epoch(const struct lease *l)
{
	return l->epoch;
}

void
lease_worked(struct lease *l)
{
	l->failures = l->yields = 0;
}

void
lease_failed(struct lease *l)
{
	unsigned n = l->yields < LEASE_YIELD_DOUBLINGS ? l->yields : LEASE_YIELD_DOUBLINGS;
	int64_t  ms;

	if (l->max_failures == 0 || !l->mine || ++l->failures < l->max_failures)
		return;
	ms = l->sent.ttl_ms << n;
	l->failures = 0;
	l->yields++;
	l->yield_until = loop_now(l->loop) + (ms > LEASE_YIELD_MAX_MS ? LEASE_YIELD_MAX_MS : ms);
	lease_say(l, LOG_WARN, "given up for a while, the work under it keeps failing");
	lease_poke(l);
}

void
lease_able(struct lease *l, bool able)
{
	if (l->unable == !able)
		return;
	l->unable = !able;
	if (l->mine)
		lease_say(l, LOG_WARN, "given up, the work under it cannot be done here");
	lease_poke(l);
}

const char *
lease_standing_name(enum lease_standing s)
{
	static const char *const names[] = { [LEASE_WATCHING] = "watching", [LEASE_OURS] = "ours", [LEASE_THEIRS] = "theirs",
		[LEASE_YIELDED] = "yielded", [LEASE_RELEASED] = "released", [LEASE_UNREAD] = "unread" };

	return names[s];
}

static enum lease_standing
lease_standing(const struct lease *l)
{
	if (lease_holds(l))
		return LEASE_OURS;
	if (l->released)
		return LEASE_RELEASED;
	if (l->troubles > 0)
		return LEASE_UNREAD;
	return lease_yields(l) ? LEASE_YIELDED : l->moved ? LEASE_THEIRS : LEASE_WATCHING;
}

void
lease_look(const struct lease *l, struct lease_view *ret)
{
	const struct lease_record *r = &l->now.record;
	int64_t                    left;

	memset(ret, 0, sizeof(*ret));
	ret->seen = l->now;
	ret->standing = lease_standing(l);
	ret->expires_ms = -1;
	if (l->troubles > 0 && ret->standing != LEASE_OURS)
		ret->why = l->trouble;
	if (l->mine || r->epoch == 0 || r->holder[0] == '\0')
		return;
	left = LEASE_EXPIRES(lease_longest_ttl(l)) - (loop_now(l->loop) - l->unchanged);
	ret->expires_ms = left > 0 ? left : 0;
}
