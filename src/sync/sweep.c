/* SPDX-License-Identifier: MIT */
#include "look.h"

/* Sweeping: what the listing says about states that the store knows. */

struct sweep {
	struct look  *l;
	struct batch *b;          /* NULL until something has to be stored */
	unsigned      n;
	uint64_t      last;
	struct lane  *lane;       /* NULL: as source */
	bool          queued;     /* the queue is not empty */
	struct store_txn *t;
};

static struct batch *
sweep_batch(struct sweep *s)
{
	if (s->b == NULL)
		s->b = batch_new(s->l->e->store);
	return s->b;
}

static bool
sweep_dry(const struct sweep *s)
{
	return s->l->pass != NULL && pass_is_dry(s->l->pass);
}

static void
sweep_gone(struct sweep *s, const struct state_rec *r)
{
	if ((r->flags & (STATE_GONE | STATE_TARGET)) != 0 || sweep_dry(s))
		return;
	renamed_gone(&s->l->renamed, s->t, r);
	s->l->ret->changed++;
}

/* Is what the source holds not the head, and waits for a person? Said by each pass until one decides. */
bool
look_is_quarantined(struct store_txn *t, const struct state_rec *r, struct err *ret)
{
	struct version_rec v;

	if (!state_quarantined(t, r, &v))
		return false;
	judge_held(r, &v, ret);
	return true;
}

/* With a head its lanes tell, one by one; without one there is nothing else to tell. */
static void
sweep_quarantine(struct sweep *s, const struct state_rec *r)
{
	struct err e;

	if (s->l->pass != NULL && r->head == 0 && look_is_quarantined(s->t, r, &e))
		look_tell(s->l, r->name, true, &e);
}

/* A replica of the head is as it should be; whether that is all depends on what the source holds now. */
static void
sweep_fine(struct sweep *s, const struct state_rec *r)
{
	struct err e;

	if (s->l->pass == NULL)
		return;
	if (look_is_quarantined(s->t, r, &e))
		pass_replica(s->l->pass, s->lane, PUSH_HELD, r->name, 0, &e);
	else
		pass_replica(s->l->pass, s->lane, PUSH_CURRENT, r->name, 0, NULL);
}

/* Nothing to read when the tag is the one whose bytes were judged. */
static bool
sweep_knows(const struct state_rec *r, const struct listed *x)
{
	if (x->uncovered != NULL)
		return (r->flags & STATE_INVENTORY) != 0 && strcmp(r->problem, x->uncovered) == 0;
	return x->etag[0] != '\0' && strcmp(r->etag, x->etag) == 0 && (r->flags & (STATE_GONE | STATE_UNCOVERED)) == 0 &&
	    r->last_read != 0;
}

/* A lock comes and goes without a new version; one that can be looked at is remembered with what it says. */
static void
sweep_lock(struct sweep *s, const struct state_rec *r, bool locked)
{
	struct sighting g = { .etag = r->etag, .flags = r->flags ^ STATE_IS_LOCKED, .problem = r->problem };
	bool            shown = look_lists_locks(s->l) && !(locked && provider_shows_locks(s->l->place->backend));

	if (shown && locked != ((r->flags & STATE_IS_LOCKED) != 0) && !sweep_dry(s))
		batch_seen(sweep_batch(s), r->backend, r->name, &g);
}

static bool
sweep_compare(void *arg, const struct state_rec *r)
{
	struct sweep  *s = arg;
	struct listed *x = map_get(s->l->names, span_str(r->name));

	s->last = r->id;
	s->l->headless |= r->head == 0;
	if (x != NULL) {
		x->met = (r->flags & STATE_GONE) == 0;
		x->was_locked = (r->flags & STATE_IS_LOCKED) != 0;
	}
	if (x != NULL && (x->known = sweep_knows(r, x)) && x->uncovered == NULL)
		sweep_lock(s, r, x->locked);
	else if (x == NULL && provider_selects(s->l->place->backend, r->name))
		sweep_gone(s, r);
	return ++s->n < SWEEP_CHUNK;
}

static bool
sweep_held(void *arg, const struct state_rec *r)
{
	struct sweep *s = arg;

	s->last = r->id;
	if (map_get(s->l->names, span_str(r->name)) != NULL)
		sweep_quarantine(s, r);
	return ++s->n < SWEEP_CHUNK;
}

/* A lock that others hold is asked for on its own schedule, however often the target is looked at. */
static bool
sweep_waits(const struct sweep *s, const struct state_rec *r)
{
	struct queue_rec q;

	return s->l->pass == NULL && store_queued(s->t, s->lane->edge->name, s->lane->to->label, r->id, &q) && q.waiting_since != 0 &&
	    q.due - loop_wall(s->l->e->loop) < 2 * RETRY_LOCK_WAIT_MAX_MS; /* else the clock was set back */
}

static void
sweep_enqueue(struct sweep *s, const struct state_rec *r)
{
	struct queue_rec q = { .due = loop_wall(s->l->e->loop), .edge = s->lane->edge->name, .target = s->lane->to->label,
		.state = r->id };

	if (sweep_dry(s))
		pass_would_write(s->l->pass, s->lane, r->id, r->name, NULL);
	else if (!sweep_waits(s, r))
		batch_enqueue(sweep_batch(s), &q);
}

enum sweep_sight { SIGHT_FINE, SIGHT_HELD, SIGHT_DO };

/* Without change tags a replica has to be read to be compared: by every pass, but not by every look of the agent. */
static bool
sweep_is_fresh(const struct sweep *s, const struct replica_rec *rep)
{
	return s->l->pass == NULL &&
	    loop_wall(s->l->e->loop) - rep->verified < UNTAGGED_LOOKS * s->l->place->backend->common.poll_ms;
}

/* What the configuration or the target itself held back is looked at again as soon as that may have changed. */
static bool
sweep_may_write(const struct sweep *s)
{
	struct err e;

	return place_writable(engine_place(s->l->e, s->lane->to), NULL, &e) == ERR_OK;
}

/* Whether what was held back is as it was. Without change tags only a read tells: by a pass, and by every tenth look. */
static enum sweep_sight
sweep_weigh_held(const struct sweep *s, const struct replica_rec *rep, bool tags)
{
	if (rep->error_code == ERR_CONFIG)
		return sweep_may_write(s) ? SIGHT_DO : SIGHT_HELD;
	return tags || (s->l->pass == NULL && s->l->place->nlooks % UNTAGGED_LOOKS != 0) ? SIGHT_HELD : SIGHT_DO;
}

/* How a replica stands against the head and against what the target lists under its name. */
static enum sweep_sight
sweep_weigh(struct sweep *s, const struct state_rec *r, const char *name, struct replica_rec *rep)
{
	const struct listed *there = map_get(s->l->names, span_str(name));
	struct track        *track = engine_track(s->l->e, s->lane);
	bool                 have = store_replica(s->t, s->lane->edge->name, s->lane->to->label, r->id, rep);
	bool                 tags = (provider_caps(s->lane->to) & PROVIDER_LIST) != 0;
	bool                 drift;
	struct queue_rec     q;

	if (!have || strcmp(rep->name, name) != 0) {
		if (there != NULL)
			bits_set(&track->present, r->id);
		return SIGHT_DO;
	}
	drift = tags && (there == NULL ? rep->etag[0] != '\0' : strcmp(there->etag, rep->etag) != 0);
	if (rep->status == REPLICA_HELD && rep->version == r->head && !drift && digest_is_zero(&rep->resolved))
		return sweep_weigh_held(s, rep, tags);
	if (rep->status != REPLICA_CURRENT || !digest_eq(&rep->digest, &r->head_digest) || drift)
		return SIGHT_DO;
	if (s->queued && store_queued(s->t, s->lane->edge->name, s->lane->to->label, r->id, &q)) /* it will be looked at, and counted then */
		return SIGHT_DO;
	return tags || sweep_is_fresh(s, rep) ? SIGHT_FINE : SIGHT_DO;
}

/* Another agent writes the lane: what it may have written there is read, but only where the listing shows something new. */
static void
sweep_follow(struct sweep *s, const struct state_rec *r, const char *name, const struct replica_rec *rep)
{
	const struct listed *there = map_get(s->l->names, span_str(name));
	struct track        *track = engine_track(s->l->e, s->lane);
	bool                 have = rep->name != NULL && strcmp(rep->name, name) == 0;
	bool                 news = there == NULL ? have && rep->etag[0] != '\0' : !have || strcmp(there->etag, rep->etag) != 0;

	if (s->l->pass != NULL || track_is_ours(track) || s->lane->edge->kind != EDGE_REPLICATE)
		return;
	if (news || (provider_caps(s->lane->to) & PROVIDER_LIST) == 0 || (have && rep->status == REPLICA_HELD && rep->version != r->head))
		bits_set(&track->unread, r->id);
}

static void
sweep_replica(struct sweep *s, const struct state_rec *r, const char *name)
{
	const struct listed *there = map_get(s->l->names, span_str(name));
	struct replica_rec   rep = { .name = "" };
	struct err           e;

	inherit_see(engine_track(s->l->e, s->lane), r->id, there != NULL && there->locked);
	switch (sweep_weigh(s, r, name, &rep)) {
	case SIGHT_FINE:
		sweep_fine(s, r);
		break;
	case SIGHT_HELD:
		err_set(&e, ERR_CONFLICT, 0, "%s", rep.error);
		err_hint(&e, "%s", rep.hint);
		if (s->l->pass != NULL)
			pass_replica(s->l->pass, s->lane, PUSH_HELD, r->name, 0, &e);
		break;
	case SIGHT_DO:
		sweep_follow(s, r, name, &rep);
		sweep_enqueue(s, r);
		break;
	}
}

static void
sweep_history(struct sweep *s, const struct state_rec *r)
{
	struct replica_rec rep = { .name = "" };

	if (store_replica(s->t, s->lane->edge->name, s->lane->to->label, r->id, &rep) && rep.version >= r->head &&
	    rep.status == REPLICA_CURRENT)
		sweep_fine(s, r);
	else
		sweep_enqueue(s, r);
}

static bool
sweep_target(void *arg, const struct state_rec *r)
{
	struct sweep *s = arg;
	struct buf    name;
	struct err    e;

	s->last = r->id;
	if (r->head == 0 || (r->flags & STATE_TARGET) != 0 || !edge_selects(s->lane->edge, r->name) ||
	    (sweep_dry(s) && pass_plans(s->l->pass, s->lane, r->name))) /* there its next head is weighed, not this one */
		return ++s->n < SWEEP_CHUNK;
	buf_init(&name, 0);
	switch (lane_map(s->l->e->plan, s->lane, r->name, &name, &e)) {
	case MAP_YES:
		if (s->lane->edge->kind == EDGE_SNAPSHOT)
			sweep_history(s, r);
		else
			sweep_replica(s, r, buf_str(&name));
		break;
	case MAP_ERROR:
		e.code = ERR_CONFLICT; /* held, whatever makes the name impossible */
		if (s->l->pass != NULL)
			pass_replica(s->l->pass, s->lane, PUSH_HELD, r->name, 0, &e);
		break;
	case MAP_NO:
	case MAP_PAUSED:
		break;
	}
	buf_free(&name);
	return ++s->n < SWEEP_CHUNK;
}

static bool
sweep_has_lane(const struct look *l, const struct lane *lane)
{
	return lane->to == l->place->backend && (l->pass == NULL || pass_has_edge(l->pass, lane->edge));
}

static struct lane *
sweep_lane(struct look *l)
{
	for (size_t n = 0, i = 0; i < l->e->plan->nedges; i++)
		for (size_t j = 0; j < l->e->plan->edges[i].nlanes; j++, n++)
			if (n == l->lane)
				return &l->e->plan->edges[i].lanes[j];
	return NULL;
}

/* The lane to sweep; NULL: all are. */
static struct lane *
sweep_next_lane(struct look *l)
{
	struct lane *lane;

	while ((lane = sweep_lane(l)) != NULL && !sweep_has_lane(l, lane))
		l->lane++;
	return lane;
}

struct op *
sweep_chunk(struct look *l)
{
	static bool (*const visit[])(void *arg, const struct state_rec *r) = { sweep_compare, NULL, sweep_held, sweep_target };
	struct sweep        s = { .l = l, .lane = l->sweep == SWEEP_LANES ? sweep_lane(l) : NULL };
	struct err          e;

	if (store_read(l->e->store, &s.t, &e) != ERR_OK)
		return op_result(l->op.loop, &e);
	s.queued = store_queue_length(s.t) > 0;
	store_states(s.t, s.lane != NULL ? s.lane->edge->from->label : l->place->backend->label, l->after, visit[l->sweep], &s);
	store_end(s.t);
	l->after = s.last;
	if (s.n < SWEEP_CHUNK) { /* that was the end of it */
		l->after = 0;
		if (l->sweep == SWEEP_LANES)
			l->lane++;
		else
			l->sweep++;
	}
	return s.b != NULL ? store_apply(l->e->store, s.b) : op_sleep(l->op.loop, 0);
}

struct op *
sweep_next(struct look *l)
{
	struct op *marks = l->sweep == SWEEP_GONE ? renamed_settle(&l->renamed, l->e, l->place->backend->label) : NULL;

	if (marks != NULL)
		return marks;
	if (l->sweep == SWEEP_GONE)
		l->sweep = SWEEP_HELD;
	if (l->sweep == SWEEP_HELD && (l->pass == NULL || !l->headless))
		l->sweep = SWEEP_LANES;
	return l->sweep == SWEEP_LANES && sweep_next_lane(l) == NULL ? NULL : sweep_chunk(l);
}
