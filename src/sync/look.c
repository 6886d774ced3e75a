/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "renamed.h"

/*
 * One look at a backend: a listing, then what follows from it. As a source: states whose change tag is new are read, then those that
 * vanished from a complete listing are marked gone, or as called otherwise now. As a target: every replica is compared with the change
 * tag that the listing shows, so that drift, loss and first contact are seen without reading a byte.
 */
enum look_state { START, LISTED, CREATED, LISTED_AGAIN, COMPARED, PULLED, SWEPT };

static const char *const look_states[] = { "start", "listed", "created", "listed again", "compared", "pulled", "swept" };

/* The walks through what the store knows: what is new or gone at a source; after the reads, what was gone, what is held back there; each
 * lane. */
enum sweep_kind { SWEEP_COMPARE, SWEEP_GONE, SWEEP_HELD, SWEEP_LANES };

struct listed {
	uint64_t size; /* 0: the listing does not say */
	bool locked;
	bool known; /* the tag is the one whose bytes were judged */
	bool met; /* it was here before, as far as the store knows */
	const char *uncovered; /* its bytes are out of reach, and why; NULL: they can be read */
	char etag[];
};

struct look_pull {
	char    *name;
	uint64_t size;                 /* 0: not known */
	bool     locked;               /* the listing shows a lock on it */
	const char *uncovered;         /* as the listing has it */
};

struct look {
	struct op           op;
	struct engine      *e;
	struct place       *place;
	struct pass        *pass;
	struct look_result *ret;
	struct map         *names;     /* of struct listed: what the backend has now */
	struct arena       *listed;    /* where these lie */
	struct look_pull   *pulls;     /* what to read, npulls */
	size_t              npulls, cap, next;
	/* the sweep: which one, which lane, and the last state id done */
	enum sweep_kind     sweep;
	size_t              lane;
	uint64_t            after;
	bool                headless;  /* some states here have no good version: what holds them back is to be told */
	bool                hinted;    /* only pulls: no listing, nothing to compare, no sweep */
	struct renamed      renamed;   /* what is gone, and what is new */
	struct tally        refused;   /* names that cannot be used */
	struct tally        unread;    /* states that could not be read or kept, and of which no record tells that */
};

static void
look_forget_names(struct look *l)
{
	map_free(l->names);
	arena_free(l->listed);
	l->names = NULL;
	l->listed = NULL;
}

static void
look_free(struct op *op)
{
	struct look *l = container_of(op, struct look, op);

	look_forget_names(l);
	renamed_free(&l->renamed);
	for (size_t i = 0; i < l->npulls; i++)
		free(l->pulls[i].name);
	free(l->pulls);
	free(l);
}

/* --- listing --- */

static void
look_want(struct look *l, struct span name, uint64_t size, bool locked, const char *uncovered)
{
	if (l->npulls == l->cap) {
		l->cap = l->cap == 0 ? 16 : 2 * l->cap;
		l->pulls = xreallocarray(l->pulls, l->cap, sizeof(*l->pulls));
	}
	l->pulls[l->npulls++] = (struct look_pull){ span_dup(name), size, locked, uncovered };
}

static bool
look_is_source_of(const struct look *l, const struct edge *e)
{
	return e->from == l->place->backend && (l->pass == NULL || pass_has_edge(l->pass, e));
}

static void
look_bad_name(struct look *l, const struct state_seen *s)
{
	struct err e;

	err_set(&e, s->why != ERR_OK ? s->why : ERR_UNSUPPORTED, 0, "%s", s->problem);
	if (s->hint != NULL)
		err_hint(&e, "%s", s->hint);
	else
		err_hint(&e, "rename it at %s, or exclude it", l->place->backend->label);
	l->ret->failed++;
	if (tally_add(&l->refused, &e) && s->name[0] != '\0')
		err_prefix(&l->refused.first, "%s", s->name);
	log_at(LOG_WARN, l->place->backend->label, "%s%s%s", s->name, s->name[0] != '\0' ? ": " : "", s->problem);
	for (size_t i = 0; l->pass != NULL && i < l->e->plan->nedges; i++)
		if (look_is_source_of(l, &l->e->plan->edges[i]))
			pass_problem(l->pass, &l->e->plan->edges[i], s->name, false, &e);
}

static void
look_seen(void *arg, const struct state_seen *s)
{
	struct look   *l = arg;
	struct listed *x;
	const char    *etag = s->etag != NULL ? s->etag : "";
	size_t         n = strlen(etag) + 1;

	if (s->problem != NULL) {
		look_bad_name(l, s);
		return;
	}
	if (s->uncovered != NULL && !l->place->source) /* a target holds what it holds */
		return;
	x = arena_alloc(l->listed, sizeof(*x) + n);
	x->uncovered = s->uncovered != NULL ? arena_strdup(l->listed, s->uncovered) : NULL;
	x->size = s->size;
	x->locked = s->locked;
	x->known = x->met = false;
	memcpy(x->etag, etag, n);
	l->ret->locked |= s->locked;
	if (map_put(l->names, span_str(s->name), x) != NULL)
		return;
	l->ret->seen++;
	l->ret->uncovered += x->uncovered != NULL;
}

/* In the order of the listing. */
static void
look_want_unknown(struct look *l)
{
	struct span name;
	void       *v;

	if (!l->place->source || l->names == NULL)
		return;
	for (size_t i = 0; map_next(l->names, &i, &name, &v);) {
		const struct listed *x = v;

		if (!x->known)
			look_want(l, name, x->size, x->locked, x->uncovered);
	}
}

static struct op *
look_list(struct look *l)
{
	look_forget_names(l);
	l->names = map_new();
	l->listed = arena_new();
	l->ret->seen = l->ret->uncovered = 0;
	l->refused.n = 0;
	return provider_list(l->place->backend, look_seen, l);
}

/* --- reading --- */

struct look_child {
	struct op          op;
	struct look       *l;
	struct look_pull  *what;
	uint64_t           bytes;      /* its share of what is on its way from there */
	struct pull_result result;
};

enum look_child_state { CHILD_START, CHILD_ADMITTED, CHILD_DONE };

static const char *const look_child_states[] = { "start", "admitted", "done" };

static enum op_turn
look_child_step(struct op *op)
{
	struct look_child  *c = container_of(op, struct look_child, op);
	struct look        *l = c->l;
	struct pull_options o = { .locked = c->what->locked, .uncovered = c->what->uncovered };

	switch ((enum look_child_state)op->state) {
	case CHILD_START:
		return op_await(op, CHILD_ADMITTED, quota_take(&l->place->reading, c->bytes));
	case CHILD_ADMITTED:
		if (op_failed(op))
			return op_fail(op);
		o.dry = o.keep = l->pass != NULL && pass_is_dry(l->pass);
		o.fill = !o.dry;
		return op_await(op, CHILD_DONE, pull_op(l->e, l->place, c->what->name, &o, &c->result));
	case CHILD_DONE:
		quota_give(&l->place->reading, c->bytes);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
look_child_free(struct op *op)
{
	struct look_child *c = container_of(op, struct look_child, op);

	snapshot_free(&c->result.now);
	free(c);
}

static const struct op_class look_child_class = { "read", look_child_step, NULL, look_child_free, look_child_states,
	ARRAY_LEN(look_child_states) };

static struct op *
look_next_pull(void *arg)
{
	struct look       *l = arg;
	struct look_child *c;

	if (l->next == l->npulls || l->op.cancelled)
		return NULL;
	c = xcalloc(1, sizeof(*c));
	op_init(&c->op, &look_child_class, l->e->loop);
	c->l = l;
	c->what = &l->pulls[l->next++];
	c->bytes = c->what->size > 0 ? c->what->size : PLACE_SIZE_UNKNOWN;
	return &c->op;
}

/* Every edge that would carry the state hears of what keeps it back. */
static void
look_tell(struct look *l, const char *name, bool held, const struct err *e)
{
	for (size_t i = 0; l->pass != NULL && i < l->e->plan->nedges; i++) {
		const struct edge *edge = &l->e->plan->edges[i];

		if (look_is_source_of(l, edge) && edge_selects(edge, name))
			pass_problem(l->pass, edge, name, held, e);
	}
}

static void
look_would_write(struct look *l, const char *name, struct snapshot *now)
{
	for (size_t i = 0; i < l->e->plan->nedges; i++) {
		struct edge *edge = &l->e->plan->edges[i];

		for (size_t j = 0; look_is_source_of(l, edge) && edge_selects(edge, name) && j < edge->nlanes; j++)
			pass_would_write(l->pass, &edge->lanes[j], 0, name, now);
	}
}

/* What cannot be read at all is remembered with the state by the pull; the rest would be known to nobody but the log. */
static void
look_note_unread(struct look *l, const char *name, const struct err *e)
{
	if (e->code == ERR_UNSUPPORTED || !tally_add(&l->unread, e))
		return;
	err_hint(&l->unread.first, "%s", pass_hint(e));
	err_unprefix(&l->unread.first, l->place->backend->label);
	if (strstr(e->msg, name) == NULL)
		err_prefix(&l->unread.first, "%s", name);
}

/* The agent reads a state whose turn has not come when the server says that it will, not with the next look. A hint may be the only one. */
static void
look_again(struct look *l, const char *name, const struct err *e)
{
	int64_t wait = e->retry_after_ms > 0 ? (int64_t)e->retry_after_ms : l->hinted ? RETRY_MIN_MS : 0;

	if (l->pass == NULL && e->code == ERR_BUSY && wait > 0)
		place_read_again(l->place, name, wait);
}

/* A hint speaks of few states: what it found is news, that it found nothing is not. */
static void
look_tell_unread(struct look *l)
{
	if (l->pass != NULL && pass_is_dry(l->pass))
		return;
	if (!l->hinted || (l->unread.n > 0 && l->place->unread.n == 0))
		place_unread(l->place, &l->unread);
}

static bool
look_is_new(const struct look *l, const char *name)
{
	const struct listed *x = l->names != NULL ? map_get(l->names, span_str(name)) : NULL;

	return x != NULL && !x->met;
}

static void
look_pulled(struct op *op, void *arg)
{
	struct look       *l = arg;
	struct look_child *c = container_of(op, struct look_child, op);
	const char        *name = c->what->name;

	if (op->err.code == ERR_CANCELLED)
		return;
	if (op->err.code != ERR_OK) {
		struct err why = op->err;

		err_unprefix(&why, l->place->backend->label);
		l->ret->failed++;
		l->ret->unkept += c->result.judged;
		log_at(LOG_WARN, l->place->backend->label, "%s: %s", name, why.msg);
		look_tell(l, name, false, &op->err);
		look_note_unread(l, name, &op->err);
		look_again(l, name, &op->err);
		return;
	}
	l->ret->changed += c->result.changed;
	if (look_is_new(l, name))
		renamed_come(&l->renamed, l->e, l->place->backend->label, name);
	if (l->pass != NULL && pass_is_dry(l->pass) && c->result.judged && c->result.changed &&
	    verdict_is_head(c->result.verdict))
		look_would_write(l, name, &c->result.now);
}

/* --- sweeping: what the listing says about states that we know --- */

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

/* A lock comes and goes without a new version; one that is read is remembered with it. */
static void
sweep_lock(struct sweep *s, const struct state_rec *r, bool locked)
{
	struct sighting g = { .etag = r->etag, .flags = r->flags ^ STATE_IS_LOCKED, .problem = r->problem };

	if (locked != ((r->flags & STATE_IS_LOCKED) != 0) && !sweep_dry(s))
		batch_seen(sweep_batch(s), r->backend, r->name, &g);
}

static bool
sweep_compare(void *arg, const struct state_rec *r)
{
	struct sweep  *s = arg;
	struct listed *x = map_get(s->l->names, span_str(r->name));

	s->last = r->id;
	s->l->headless |= r->head == 0;
	if (x != NULL)
		x->met = (r->flags & STATE_GONE) == 0;
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

	if (s->l->pass != NULL || track_is_ours(track) || s->lane->edge->kind != EDGE_REPLICATE)
		return;
	if ((provider_caps(s->lane->to) & PROVIDER_LIST) == 0 || (have && rep->status == REPLICA_HELD && rep->version != r->head))
		bits_set(&track->unread, r->id);
	else if (there == NULL ? have && rep->etag[0] != '\0' : !have || strcmp(there->etag, rep->etag) != 0)
		bits_set(&track->unread, r->id);
}

static void
sweep_replica(struct sweep *s, const struct state_rec *r, const char *name)
{
	struct replica_rec rep = { .name = "" };
	struct err         e;

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
look_sweeps_lane(const struct look *l, const struct lane *lane)
{
	return lane->to == l->place->backend && (l->pass == NULL || pass_has_edge(l->pass, lane->edge));
}

static struct lane *
look_lane(struct look *l)
{
	for (size_t n = 0, i = 0; i < l->e->plan->nedges; i++)
		for (size_t j = 0; j < l->e->plan->edges[i].nlanes; j++, n++)
			if (n == l->lane)
				return &l->e->plan->edges[i].lanes[j];
	return NULL;
}

/* The lane to sweep; NULL: all are. */
static struct lane *
look_next_lane(struct look *l)
{
	struct lane *lane;

	while ((lane = look_lane(l)) != NULL && !look_sweeps_lane(l, lane))
		l->lane++;
	return lane;
}

/* One chunk of a sweep, at whose end the next one is due. What it awaits lets others have a turn. */
static struct op *
look_sweep(struct look *l)
{
	static bool (*const visit[])(void *arg, const struct state_rec *r) = { sweep_compare, NULL, sweep_held, sweep_target };
	struct sweep        s = { .l = l, .lane = l->sweep == SWEEP_LANES ? look_lane(l) : NULL };
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

static enum op_turn
look_sweep_on(struct look *l)
{
	struct op *marks = l->sweep == SWEEP_GONE ? renamed_settle(&l->renamed, l->e, l->place->backend->label) : NULL;

	if (marks != NULL)
		return op_await(&l->op, SWEPT, marks);
	if (l->sweep == SWEEP_GONE)
		l->sweep = SWEEP_HELD;
	if (l->sweep == SWEEP_HELD && (l->pass == NULL || !l->headless))
		l->sweep = SWEEP_LANES;
	if (l->sweep == SWEEP_LANES && look_next_lane(l) == NULL)
		return op_ok(&l->op);
	return op_await(&l->op, SWEPT, look_sweep(l));
}

static bool
look_creates(const struct look *l)
{
	return l->op.res.code == ERR_NOT_FOUND && l->place->target && l->place->backend->common.create &&
	    !l->place->backend->common.read_only;
}

static enum op_turn
look_listed(struct look *l)
{
	if (op_failed(&l->op))
		return op_fail(&l->op);
	if (l->pass == NULL || !pass_is_dry(l->pass)) {
		place_refused(l->place, &l->refused);
		place_keep_aliases(l->place);
	}
	l->sweep = l->place->source ? SWEEP_COMPARE : SWEEP_LANES;
	return op_go(&l->op, COMPARED);
}

static enum op_turn
look_step(struct op *op)
{
	struct look *l = container_of(op, struct look, op);

	switch ((enum look_state)op->state) {
	case START:
		if (!place_may_act(l->place, &op->res))
			return op_fail(op);
		return l->hinted ? op_go(op, COMPARED) : op_await(op, LISTED, look_list(l));
	case LISTED: /* an error listing a source is not an empty source */
		if (look_creates(l) && (l->pass == NULL || !pass_is_dry(l->pass)))
			return op_await(op, CREATED, provider_create(l->place->backend));
		if (look_creates(l)) /* it would be made, and be empty */
			err_clear(&op->res);
		return look_listed(l);
	case CREATED:
		if (op_failed(op))
			return op_fail(op);
		log_at(LOG_INFO, l->place->backend->label, "created %s", l->place->backend->where);
		return op_await(op, LISTED_AGAIN, look_list(l));
	case LISTED_AGAIN:
		return look_listed(l);
	case COMPARED:
		if (op_failed(op))
			return op_fail(op);
		if (l->sweep == SWEEP_COMPARE)
			return op_await(op, COMPARED, look_sweep(l));
		look_want_unknown(l);
		return op_await(op, PULLED, op_each_of(op->loop, look_next_pull, look_pulled, l, LOOK_PULLS));
	case PULLED: /* single states may have failed: that was told where it happened */
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		err_clear(&op->res);
		look_tell_unread(l);
		if (l->hinted)
			return op_ok(op);
		l->headless |= l->npulls > 0;
		if (l->pass != NULL && l->place->source)
			pass_seen(l->pass, l->place, l->ret);
		return look_sweep_on(l);
	case SWEPT:
		if (op_failed(op))
			return op_fail(op);
		return look_sweep_on(l);
	}
	return OP_DONE;
}

static const struct op_class look_class = { "look", look_step, NULL, look_free, look_states, ARRAY_LEN(look_states) };

struct op *
look_op(struct engine *e, struct place *place, struct pass *pass, struct look_result *ret)
{
	struct look *l = xcalloc(1, sizeof(*l));

	op_init(&l->op, &look_class, e->loop);
	l->e = e;
	l->op.about = place->backend->label;
	l->place = place;
	l->pass = pass;
	l->ret = ret;
	memset(ret, 0, sizeof(*ret));
	l->op.tally = &ret->requests;
	return &l->op;
}

struct op *
look_hinted_op(struct engine *e, struct place *place, struct look_result *ret)
{
	struct op   *op = look_op(e, place, NULL, ret);
	struct look *l = container_of(op, struct look, op);
	struct span  name;

	l->hinted = true;
	l->sweep = SWEEP_LANES;
	for (size_t i = 0; map_next(place->hints, &i, &name, NULL);)
		look_want(l, name, 0, false, NULL);
	map_free(place->hints);
	place->hints = NULL;
	return op;
}

const struct backend *
look_place(const struct op *look)
{
	return container_of(look, struct look, op)->place->backend;
}
