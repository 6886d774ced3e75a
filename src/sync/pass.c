/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "pass.h"

/*
 * sync: one pass over some edges. First what an earlier run left open, then one look at every source, then at every target,
 * then the queue of each lane once; what happened is counted by edge.
 */
enum pass_state { START, QUIET, RECOVERED, SOURCES_SEEN, TARGETS_SEEN, DRY_COMPARED, LEASED, INHERITED, DRAINED, CLEANED, LEAVE, LEFT };

static const char *const pass_states[] = { "start", "quiet", "recovered", "sources seen", "targets seen", "compared", "leased",
	"inherited", "drained", "cleaned", "leave", "left" };

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

struct edge_result *
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

/* --- looking --- */

static bool
pass_wants(const struct pass *p, const struct place *place, bool as_source)
{
	for (size_t i = 0; i < p->e->plan->nedges; i++) {
		const struct edge *e = &p->e->plan->edges[i];

		if (pass_has_edge(p, e) && (as_source ? e->from == place->backend : edge_goes_to(e, place->backend)))
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
		} else if (edge_goes_to(e, place->backend)) {
			pass_add_problem(p, e->name, "", &err);
		}
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

/* An agent keeps what it has until it ends. */
static struct op *
pass_leave(struct pass *p)
{
	if (p->dry || (p->e->started && !p->e->stopping))
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

static void
pass_ignore(struct op *child, void *arg)
{
	(void)child, (void)arg;
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

	for (size_t b = 0; b < p->e->plan->nbackends; b++)
		if (e->from == p->e->plan->backends[b] || edge_goes_to(e, p->e->plan->backends[b]))
			n += p->looks[b].requests;
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

