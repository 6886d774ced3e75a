/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/*
 * sync: one pass over some edges. First what an earlier run left open, then one look at every source, then at every target,
 * then the queue of each lane once; what happened is counted by edge.
 */
enum pass_state { START, QUIET, RECOVERED, SOURCES_SEEN, TARGETS_SEEN, DRY_COMPARED, LEASED, INHERITED, DRAINED, CLEANED, LEAVE, LEFT };

static const char *const pass_states[] = { "start", "quiet", "recovered", "sources seen", "targets seen", "compared", "leased",
	"inherited", "drained", "cleaned", "leave", "left" };

struct would_write {
	struct lane        *lane;
	uint64_t            state;     /* the head of which it is; 0: next */
	char               *name;
	struct snapshot     next;
	struct push_result  result;
};

struct pass {
	struct op           op;
	struct engine      *e;
	char              **edges;     /* names asked for, nedges; 0: all */
	size_t              nedges;
	bool                dry;
	struct pass_result *ret;
	size_t             *result_of; /* by index of the plan's edge; SIZE_MAX: not of this pass */
	uint64_t           *requests;  /* by lane: at the start */
	int64_t             begun;
	size_t              next;      /* place or lane to go on with */
	struct look_result *looks;     /* by place */
	struct would_write *would;
	size_t              nwould;
	struct map         *plans;     /* lane and name of each: its index and 1 */
	struct map         *targets;   /* dry: place and name at it: who would be written there */
	struct map         *fine;      /* dry: lane and name of what a sweep found current, perhaps before its source was read */
	int64_t             next_intent;
	uint64_t            total;     /* known when writing begins: state × target to be settled; 0: not yet */
};

static void
pass_free(struct op *op)
{
	struct pass *p = container_of(op, struct pass, op);

	if (p->e->pass == p)
		p->e->pass = NULL;
	p->e->passes -= p->result_of != NULL;
	for (size_t i = 0; i < p->nedges; i++)
		free(p->edges[i]);
	for (size_t i = 0; i < p->nwould; i++) {
		free(p->would[i].name);
		snapshot_free(&p->would[i].next);
	}
	map_free(p->plans);
	map_free(p->targets);
	map_free(p->fine);
	free(p->edges);
	free(p->would);
	free(p->result_of);
	free(p->requests);
	free(p->looks);
	free(p);
}

/* --- what the parts report --- */

static struct edge_result *
pass_edge(const struct pass *p, const struct edge *e)
{
	size_t i = p->result_of[e - p->e->plan->edges];

	return i == SIZE_MAX ? NULL : &p->ret->edges[i];
}

bool
pass_has_edge(const struct pass *p, const struct edge *e)
{
	return pass_edge(p, e) != NULL;
}

bool
pass_is_dry(const struct pass *p)
{
	return p->dry;
}

void
pass_seen(struct pass *p, const struct place *source, const struct look_result *found)
{
	for (size_t i = 0; i < p->e->plan->nedges; i++) {
		struct edge_result *r = pass_edge(p, &p->e->plan->edges[i]);

		if (r == NULL || p->e->plan->edges[i].from != source->backend)
			continue;
		r->seen += found->seen;
		r->changed += found->changed;
		r->uncovered += found->uncovered;
	}
}

int
err_exit(enum err_code code)
{
	switch (code) {
	case ERR_OK:
		return 0;
	case ERR_USAGE:
		return 2;
	case ERR_CONFIG:
		return 10;
	case ERR_LOCKED:
		return 11;
	case ERR_AUTH:
		return 12;
	case ERR_CONFLICT:
		return 13;
	case ERR_CORRUPT:
		return 14;
	case ERR_CANCELLED:
		return 130;
	default:
		return 1;
	}
}

/* The next step, where nobody closer to the trouble knew a better one. */
const char *
pass_hint(const struct err *err)
{
	if (err->hint[0] != '\0')
		return err->hint;
	switch (err->code) {
	case ERR_LOCKED:
		return "wait for that run; if it is gone, \"stateferry locks\" shows the lock and \"stateferry unlock\" breaks it";
	case ERR_NETWORK:
	case ERR_TIMEOUT:
	case ERR_BUSY:
	case ERR_UNCERTAIN:
		return "it is tried again by itself; if it stays, check that the address can be reached from this host";
	case ERR_AUTH:
		return "check the credentials and permissions of that backend";
	case ERR_CONFLICT:
		return "it is looked at again in the next pass; \"stateferry status\" says what is held";
	case ERR_CONFIG:
		return "set it right in the configuration, or where that takes it from; \"stateferry config check --probe\" tries it";
	default:
		return "run it again with -v to see each request";
	}
}

static void
pass_add_problem(struct pass *p, const char *edge, const char *state, const struct err *err)
{
	struct pass_result *r = p->ret;

	for (size_t i = 0; i < r->nproblems; i++)
		if (strcmp(r->problems[i].edge, edge) == 0 && strcmp(r->problems[i].state, state) == 0 &&
		    strcmp(r->problems[i].message, err->msg) == 0)
			return;
	r->problems = xreallocarray(r->problems, r->nproblems + 1, sizeof(*r->problems));
	r->problems[r->nproblems++] = (struct problem){ .edge = xstrdup(edge), .state = xstrdup(state),
		.message = xstrdup(err->msg), .hint = xstrdup(pass_hint(err)), .code = err->code, .exit = err_exit(err->code) };
}

static char *
pass_plan_key(const struct lane *l, const char *name)
{
	return xasprintf("%zu %s", l->index, name);
}

static void
pass_note_fine(struct pass *p, const struct lane *l, const char *state)
{
	char *key = pass_plan_key(l, state);

	map_put(p->fine, span_str(key), p);
	free(key);
}

void
pass_replica(struct pass *p, const struct lane *l, enum push_outcome o, const char *state, uint64_t bytes, const struct err *err)
{
	struct edge_result *r = pass_edge(p, l->edge);

	if (r == NULL)
		return;
	switch (o) {
	case PUSH_WRITTEN:
		r->written++;
		r->bytes += bytes;
		return;
	case PUSH_CURRENT:
		r->unchanged++;
		if (p->dry)
			pass_note_fine(p, l, state);
		return;
	case PUSH_HELD:
		r->held++;
		break;
	case PUSH_WAITING:
	case PUSH_FAILED:
		r->failed++;
		break;
	case PUSH_SKIPPED:
		return;
	}
	if (err != NULL)
		pass_add_problem(p, l->edge->name, state, err);
}

void
pass_problem(struct pass *p, const struct edge *e, const char *state, bool held, const struct err *err)
{
	struct edge_result *r = pass_edge(p, e);

	if (r == NULL)
		return;
	if (held)
		r->held += e->nto;
	else
		r->failed += e->nto;
	pass_add_problem(p, e->name, state, err);
}

bool
pass_plans(const struct pass *p, const struct lane *l, const char *name)
{
	char *key = pass_plan_key(l, name);
	bool  yes = map_get(p->plans, span_str(key)) != NULL;

	free(key);
	return yes;
}

void
pass_would_write(struct pass *p, const struct lane *l, uint64_t state, const char *name, struct snapshot *next)
{
	struct would_write *w;
	char               *key = pass_plan_key(l, name);
	uintptr_t           at = (uintptr_t)map_get(p->plans, span_str(key));

	/* A place that is source and target compares what it holds while its source is still read: what is read last counts, once. */
	if (map_get(p->fine, span_str(key)) != NULL && pass_edge(p, l->edge) != NULL)
		pass_edge(p, l->edge)->unchanged--;
	map_del(p->fine, span_str(key));
	if (at == 0) {
		p->would = xreallocarray(p->would, p->nwould + 1, sizeof(*p->would));
		at = ++p->nwould;
		map_put(p->plans, span_str(key), (void *)at); /* NOLINT(performance-no-int-to-ptr) */
	} else {
		free(p->would[at - 1].name);
		snapshot_free(&p->would[at - 1].next);
	}
	free(key);
	w = &p->would[at - 1];
	memset(w, 0, sizeof(*w));
	w->lane = &l->edge->lanes[l - l->edge->lanes];
	w->state = state;
	w->name = xstrdup(name);
	if (next == NULL)
		return;
	w->next = *next;
	body_ref(w->next.body);
}

/* --- looking --- */

static bool
pass_wants(const struct pass *p, const struct place *place, bool as_source)
{
	for (size_t i = 0; i < p->e->plan->nedges; i++) {
		const struct edge *e = &p->e->plan->edges[i];

		if (!pass_has_edge(p, e))
			continue;
		if (as_source && e->from == place->backend)
			return true;
		for (size_t j = 0; !as_source && j < e->nlanes; j++)
			if (e->lanes[j].to == place->backend)
				return true;
	}
	return false;
}

/* A place that is both is looked at once, as source: its own listing serves both, but what it holds as
 * target is compared only after the sources above it were read. */
static struct op *
pass_next_source(void *arg)
{
	struct pass *p = arg;

	for (; p->next < p->e->plan->nbackends; p->next++) {
		struct place *place = &p->e->places[p->next];

		if (pass_wants(p, place, true))
			return look_op(p->e, place, p, &p->looks[p->next++]);
	}
	return NULL;
}

static struct op *
pass_next_target(void *arg)
{
	struct pass *p = arg;

	for (; p->next < p->e->plan->nbackends; p->next++) {
		struct place *place = &p->e->places[p->next];

		if (pass_wants(p, place, false) && !pass_wants(p, place, true))
			return look_op(p->e, place, p, &p->looks[p->next++]);
	}
	return NULL;
}

static void
pass_looked(struct op *look, void *arg)
{
	struct pass  *p = arg;
	struct place *place = engine_place(p->e, look_place(look));
	struct err    err = look->err;

	place_result(place, &err);
	if (err.code == ERR_OK || err.code == ERR_CANCELLED)
		return;
	for (size_t i = 0; i < p->e->plan->nedges; i++) {
		struct edge *e = &p->e->plan->edges[i];

		if (!pass_has_edge(p, e))
			continue;
		if (e->from == place->backend) {
			pass_edge(p, e)->failed++;
			pass_add_problem(p, e->name, "", &err);
		}
		for (size_t j = 0; j < e->nlanes; j++)
			if (e->lanes[j].to == place->backend && e->from != place->backend)
				pass_add_problem(p, e->name, "", &err);
	}
}

/* --- leases --- */

/* What another agent replicates, or nobody can as long as nobody can be told from another. */
static void
pass_tell_leases(struct pass *p)
{
	for (size_t i = 0; i < p->e->plan->nlanes; i++) {
		const struct track *t = &p->e->tracks[i];
		struct err          why;

		if (!pass_has_edge(p, t->lane->edge) || !track_lease_refused(t, &why))
			continue;
		pass_edge(p, t->lane->edge)->unchanged = 0; /* it is not for us to say */
		pass_add_problem(p, t->lane->edge->name, "", &why);
	}
}

/* An agent keeps what it has. */
static struct op *
pass_leave(struct pass *p)
{
	if (p->dry || p->e->started)
		return NULL;
	leases_leave(p->e);
	return leases_settled_op(p->e, NULL);
}

/* --- writing --- */

static struct op *
pass_next_lane(void *arg)
{
	struct pass *p = arg;

	for (; p->next < p->e->plan->nlanes; p->next++) {
		struct track *t = &p->e->tracks[p->next];

		if (pass_has_edge(p, t->lane->edge)) {
			p->next++;
			return drain_op(p->e, t, p);
		}
	}
	return NULL;
}

/* A snapshot: nothing is there to be compared with. */
static struct op *
pass_would_keep(struct pass *p, struct would_write *w)
{
	struct version_rec v;
	struct state_rec   s;
	struct store_txn  *t;

	w->result.outcome = history_is_due(p->e, w->lane, w->name) ? PUSH_WRITTEN : PUSH_CURRENT;
	w->result.serial = w->next.info.serial;
	w->result.bytes = w->next.info.size;
	if (w->state != 0 && store_read(p->e->store, &t, NULL) == ERR_OK) {
		if (store_state_by_id(t, w->state, &s) && store_version(t, s.id, s.head, &v)) {
			w->result.serial = v.serial;
			w->result.bytes = v.size;
		}
		store_end(t);
	}
	return op_result(p->e->loop, &(struct err){ .code = ERR_OK });
}

/* Two states that would get one name: the second one of a dry run would be held. */
static bool
pass_would_clash(struct pass *p, struct would_write *w)
{
	const struct would_write *first = NULL;
	struct buf                at;
	struct err                err;

	buf_init(&at, 0);
	if (lane_map(p->e->plan, w->lane, w->name, &at, &err) == MAP_YES) {
		buf_printf(&at, " %s", w->lane->to->label);
		first = map_get(p->targets, buf_span(&at));
		if (first == NULL)
			map_put(p->targets, buf_span(&at), w);
	}
	if (first != NULL && (first->lane->edge->from != w->lane->edge->from || strcmp(first->name, w->name) != 0)) {
		w->result.outcome = PUSH_HELD;
		err_set(&w->result.err, ERR_CONFLICT, 0, "%.*s would be the replica of %s:%s", (int)(at.len - strlen(w->lane->to->label) - 1),
		    buf_str(&at), first->lane->edge->from->label, first->name);
		err_hint(&w->result.err, "give one of the two another key in the configuration");
	} else {
		first = NULL;
	}
	buf_free(&at);
	return first != NULL;
}

static struct op *
pass_next_would(void *arg)
{
	struct pass        *p = arg;
	struct would_write *w;
	struct op          *push;

	if (p->next == p->nwould)
		return NULL;
	w = &p->would[p->next++];
	if (w->lane->edge->kind == EDGE_SNAPSHOT)
		return pass_would_keep(p, w);
	if (pass_would_clash(p, w))
		return op_result(p->e->loop, &(struct err){ .code = ERR_OK });
	push = push_op(p->e, w->lane, w->state, &(struct push_options){ .dry = true, .next = w->state == 0 ? &w->next : NULL,
	    .name = w->name }, &w->result);
	push->tally = &engine_track(p->e, w->lane)->requests;
	return push;
}

static void
pass_ignore(struct op *child, void *arg)
{
	(void)child, (void)arg;
}

static void
pass_count_would(struct pass *p)
{
	struct pass_result *r = p->ret;

	r->planned = xcalloc(p->nwould + 1, sizeof(*r->planned));
	for (size_t i = 0; i < p->nwould; i++) {
		struct would_write *w = &p->would[i];

		pass_replica(p, w->lane, w->result.outcome, w->name, w->result.bytes, &w->result.err);
		if (w->result.outcome == PUSH_WRITTEN)
			r->planned[r->nplanned++] = (struct planned){ .edge = xstrdup(w->lane->edge->name), .state = xstrdup(w->name),
				.target = xstrdup(w->lane->to->label), .serial = w->result.serial, .bytes = w->result.bytes,
				.probe = w->result.probe };
	}
}

/* --- beginning and end --- */

static enum err_code
pass_choose(struct pass *p, struct err *reterr)
{
	struct plan *plan = p->e->plan;
	size_t       n = 0;

	for (size_t i = 0; i < p->nedges; i++)
		if (plan_edge(plan, p->edges[i]) == NULL)
			return err_set(reterr, ERR_USAGE, 0, "no edge is called \"%s\"", p->edges[i]);
	p->ret->edges = xcalloc(plan->nedges + 1, sizeof(*p->ret->edges));
	p->result_of = xcalloc(plan->nedges + 1, sizeof(*p->result_of));
	p->requests = xcalloc(plan->nlanes + 1, sizeof(*p->requests));
	p->looks = xcalloc(plan->nbackends + 1, sizeof(*p->looks));
	p->e->passes++;
	p->e->pass = p;
	for (size_t i = 0; i < plan->nedges; i++) {
		bool mine = p->nedges == 0;

		for (size_t j = 0; j < p->nedges; j++)
			mine |= strcmp(p->edges[j], plan->edges[i].name) == 0;
		p->result_of[i] = mine ? n : SIZE_MAX;
		if (mine)
			p->ret->edges[n++] = (struct edge_result){ .name = plan->edges[i].name,
				.kind = plan->edges[i].kind == EDGE_SNAPSHOT ? "snapshot" : "replicate" };
	}
	p->ret->nedges = n;
	for (size_t i = 0; i < plan->nlanes; i++)
		p->requests[i] = p->e->tracks[i].requests;
	return ERR_OK;
}

/* A look serves every edge that comes from there or goes there. */
static uint64_t
pass_edge_requests(const struct pass *p, const struct edge *e)
{
	uint64_t n = 0;

	for (size_t b = 0; b < p->e->plan->nbackends; b++) {
		bool used = e->from == p->e->plan->backends[b];

		for (size_t j = 0; j < e->nlanes; j++)
			used |= e->lanes[j].to == p->e->plan->backends[b];
		n += used ? p->looks[b].requests : 0;
	}
	for (size_t j = 0; j < e->nlanes; j++)
		n += engine_track(p->e, &e->lanes[j])->requests - p->requests[e->lanes[j].index];
	return n;
}

static void
pass_finish_counts(struct pass *p)
{
	struct plan *plan = p->e->plan;

	for (size_t i = 0; i < plan->nedges; i++) {
		struct edge_result *r = pass_edge(p, &plan->edges[i]);

		if (r == NULL)
			continue;
		r->requests = pass_edge_requests(p, &plan->edges[i]);
		/* what was not looked at cannot be called unchanged */
		if (engine_place(p->e, plan->edges[i].from)->failing)
			r->unchanged = 0;
		r->seconds = (double)(loop_now(p->e->loop) - p->begun) / 1000;
	}
}

/* What the looks have settled, and what they left to do. */
static void
pass_count_total(struct pass *p)
{
	struct pass_progress n;
	struct store_txn    *t;

	engine_progress(p->e, &n);
	p->total = n.done + p->nwould;
	if (p->dry || store_read(p->e->store, &t, NULL) != ERR_OK)
		return;
	p->total += store_queue_length(t);
	store_end(t);
}

bool
engine_progress(const struct engine *e, struct pass_progress *ret)
{
	static const char *const steps[] = { "starting", "waiting for writes under way", "settling what was left open", "looking at sources",
		"looking at targets", "comparing", "waiting for leases", "releasing what was left locked", "writing", "cleaning up", "handing over leases",
		"handing over leases" };
	const struct pass *p = e->pass;

	memset(ret, 0, sizeof(*ret));
	if (p == NULL)
		return false;
	_Static_assert(ARRAY_LEN(steps) == LEFT + 1, "a word for each wait");
	ret->step = steps[p->op.state];
	ret->total = p->total;
	for (size_t i = 0; i < e->plan->nbackends; i++) {
		ret->seen += pass_wants(p, &e->places[i], true) ? p->looks[i].seen : 0;
		ret->changed += pass_wants(p, &e->places[i], true) ? p->looks[i].changed : 0;
	}
	for (size_t i = 0; i < p->ret->nedges; i++) {
		const struct edge_result *r = &p->ret->edges[i];

		ret->done += r->written + r->unchanged + r->held + r->failed;
		ret->written += r->written;
		ret->held += r->held;
		ret->failed += r->failed;
		ret->bytes += r->bytes;
	}
	return true;
}

/* The agent's own writes in these lanes begin nothing new while a pass is there; those under way are let end. */
static bool
pass_must_wait(const struct pass *p)
{
	for (size_t i = 0; i < p->e->plan->nlanes; i++)
		if ((p->e->tracks[i].drain != NULL || p->e->tracks[i].inherit != NULL) && pass_has_edge(p, p->e->tracks[i].lane->edge))
			return true;
	return p->e->recover != NULL;
}

static struct op *
pass_recover(struct pass *p)
{
	return p->dry || !engine_acts(p->e) ? NULL : recover_op(p->e, true, &p->next_intent);
}

static struct op *
pass_each(struct pass *p, struct op *(*next)(void *arg), void (*ended)(struct op *op, void *arg), size_t limit)
{
	p->next = 0;
	return op_each_of(p->op.loop, next, ended, p, limit);
}

static enum op_turn
pass_step(struct op *op)
{
	struct pass *p = container_of(op, struct pass, op);

	switch ((enum pass_state)op->state) {
	case START:
		p->begun = loop_now(op->loop);
		if (p->e->passes > 0) {
			err_set(&op->res, ERR_LOCKED, 0, "another sync is running");
			err_hint(&op->res, "wait for it, or look at \"stateferry status\"");
			return op_fail(op);
		}
		if (!engine_acts(p->e) && !p->dry) {
			err_set(&op->res, ERR_CONFIG, 0, "this store belongs to another host or is older than what its agent did");
			err_hint(&op->res, "if it shall be active here: stateferry adopt");
			return op_fail(op);
		}
		if (pass_choose(p, &op->res) != ERR_OK)
			return op_fail(op);
		return op_go(op, QUIET);
	case QUIET:
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		if (pass_must_wait(p))
			return op_await(op, QUIET, op_sleep(op->loop, ENDED_LOOK_MS));
		return op_await(op, RECOVERED, pass_recover(p));
	case RECOVERED: /* what could not be settled is told by its intent, and blocks nothing else */
		if (op->res.code == ERR_CANCELLED)
			return op_unwind(op, LEAVE);
		if (!p->dry)
			leases_start(p->e);
		return op_await(op, SOURCES_SEEN, pass_each(p, pass_next_source, pass_looked, 0));
	case SOURCES_SEEN:
		if (op->res.code == ERR_CANCELLED)
			return op_unwind(op, LEAVE);
		return op_await(op, TARGETS_SEEN, pass_each(p, pass_next_target, pass_looked, 0));
	case TARGETS_SEEN:
		if (op->res.code == ERR_CANCELLED)
			return op_unwind(op, LEAVE);
		pass_count_total(p);
		if (p->dry)
			return op_await(op, DRY_COMPARED, pass_each(p, pass_next_would, pass_ignore, PLACE_LOCKS));
		return op_await(op, LEASED, leases_settled_op(p->e, p));
	case LEASED:
		if (op->res.code == ERR_CANCELLED)
			return op_unwind(op, LEAVE);
		pass_tell_leases(p);
		return op_await(op, INHERITED, inherit_lanes_op(p->e, p));
	case INHERITED: /* what could not be read or released is told where it happened */
		if (op->res.code == ERR_CANCELLED)
			return op_unwind(op, LEAVE);
		return op_await(op, DRAINED, pass_each(p, pass_next_lane, pass_ignore, 0));
	case DRY_COMPARED:
		pass_count_would(p);
		__attribute__((fallthrough));
	case DRAINED: /* a lock that could not be released is tried again before the pass ends */
		if (op->res.code == ERR_CANCELLED)
			return op_unwind(op, LEAVE);
		return op_await(op, CLEANED, p->e->open_intents && engine_acts(p->e) ? recover_op(p->e, true, &p->next_intent) : NULL);
	case CLEANED:
		if (op->res.code == ERR_CANCELLED)
			return op_unwind(op, LEAVE);
		pass_finish_counts(p);
		return op_go(op, LEAVE);
	case LEAVE: /* a successor need not wait for what we held to expire */
		op_shield(op);
		return op_await(op, LEFT, pass_leave(p));
	case LEFT:
		err_clear(&op->res);
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class pass_class = { "sync", pass_step, NULL, pass_free, pass_states, ARRAY_LEN(pass_states) };

struct op *
engine_pass(struct engine *e, const struct pass_options *o, struct pass_result *ret)
{
	struct pass *p = xcalloc(1, sizeof(*p));

	op_init(&p->op, &pass_class, e->loop);
	p->e = e;
	p->dry = o->dry_run;
	p->plans = map_new();
	p->targets = map_new();
	p->fine = map_new();
	p->nedges = o->nedges;
	p->edges = xcalloc(o->nedges + 1, sizeof(*p->edges));
	for (size_t i = 0; i < o->nedges; i++)
		p->edges[i] = xstrdup(o->edges[i]);
	p->ret = ret;
	memset(ret, 0, sizeof(*ret));
	return &p->op;
}

/* --- results --- */

void
pass_result_free(struct pass_result *r)
{
	for (size_t i = 0; i < r->nproblems; i++) {
		free(r->problems[i].edge);
		free(r->problems[i].state);
		free(r->problems[i].message);
		free(r->problems[i].hint);
	}
	for (size_t i = 0; i < r->nplanned; i++) {
		free(r->planned[i].edge);
		free(r->planned[i].state);
		free(r->planned[i].target);
	}
	free(r->planned);
	free(r->problems);
	free(r->edges);
	memset(r, 0, sizeof(*r));
}

void
exit_tally_add(struct exit_tally *t, int exit_code)
{
	if (exit_code == 0) {
		t->done++;
		return;
	}
	t->mixed |= t->reason != 0 && t->reason != exit_code;
	t->reason = exit_code;
	t->failed++;
}

int
exit_tally_code(const struct exit_tally *t)
{
	if (t->failed == 0)
		return 0;
	if (t->done > 0)
		return 3;
	return t->mixed || t->reason == 0 ? 1 : t->reason;
}

/* Counted are states, reasons are told once for many of them. */
int
pass_result_exit(const struct pass_result *r)
{
	struct exit_tally t = { .done = 0 };

	for (size_t i = 0; i < r->nedges; i++) {
		t.done += r->edges[i].written + r->edges[i].unchanged;
		t.failed += r->edges[i].held + r->edges[i].failed;
	}
	for (size_t i = 0; i < r->nproblems; i++)
		exit_tally_add(&t, r->problems[i].exit);
	return exit_tally_code(&t);
}
