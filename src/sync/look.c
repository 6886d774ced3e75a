/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "look.h"

/*
 * One look at a backend: a listing, then what follows from it. As a source: states whose change tag is new are read, then those that
 * vanished from a complete listing are marked gone, or as called otherwise now. As a target: every replica is compared with the change
 * tag that the listing shows, so that drift, loss and first contact are seen without reading a byte.
 */
enum look_state { START, LISTED, CREATED, LISTED_AGAIN, COMPARED, PULLED, SWEPT };

static const char *const look_states[] = { "start", "listed", "created", "listed again", "compared", "pulled", "swept" };

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
	look_free_wanted(l);
	free(l);
}

/* --- listing --- */

bool
look_is_source_of(const struct look *l, const struct edge *e)
{
	return e->from == l->place->backend && (l->pass == NULL || pass_has_edge(l->pass, e));
}

bool
look_lists_locks(const struct look *l)
{
	return (provider_caps(l->place->backend) & (PROVIDER_LIST | PROVIDER_LOCK_UNLISTED)) == PROVIDER_LIST;
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
	x->known = x->met = x->was_locked = false;
	memcpy(x->etag, etag, n);
	l->ret->locked |= s->locked && (!l->place->source || !provider_shows_locks(l->place->backend));
	if (map_put(l->names, span_str(s->name), x) != NULL)
		return;
	l->ret->seen++;
	l->ret->uncovered += x->uncovered != NULL;
}

/* Locks are looked at where the listing shows one; where it does not show all of them, where one was known. */
static void
look_want_listed(struct look *l, struct span name, const struct listed *x)
{
	bool             lists = look_lists_locks(l);
	struct look_pull want = { .size = x->size, .spare = x->known, .uncovered = x->uncovered };

	want.lock = lists ? x->locked ? LOCK_HELD : LOCK_FREE : LOCK_AS_BEFORE;
	want.ask = provider_shows_locks(l->place->backend) && x->uncovered == NULL && (l->pass == NULL || !pass_is_dry(l->pass)) &&
	    (x->locked || (!lists && x->was_locked));
	if (!x->known || want.ask)
		look_want(l, name, &want);
}

/* In the order of the listing. */
static void
look_want_unknown(struct look *l)
{
	struct span name;
	void       *v;

	if (!l->place->source || l->names == NULL)
		return;
	for (size_t i = 0; map_next(l->names, &i, &name, &v);)
		look_want_listed(l, name, v);
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
look_sweep(struct look *l)
{
	struct op *next = sweep_next(l);

	return next != NULL ? op_await(&l->op, SWEPT, next) : op_ok(&l->op);
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
			return op_await(op, COMPARED, sweep_chunk(l));
		look_want_unknown(l);
		return op_await(op, PULLED, look_read(l));
	case PULLED: /* single states may have failed: that was told where it happened */
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		err_clear(&op->res);
		look_read_ended(l);
		if (l->hinted)
			return op_ok(op);
		l->headless |= l->npulls > 0;
		if (l->pass != NULL && l->place->source)
			pass_seen(l->pass, l->place, l->ret);
		return look_sweep(l);
	case SWEPT:
		if (op_failed(op))
			return op_fail(op);
		return look_sweep(l);
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
	for (size_t i = 0; map_next(place->hints, &i, &name, NULL);) {
		char *text = span_dup(name);

		look_want(l, name, &(struct look_pull){ .ask = watch_wants(place, text) });
		free(text);
	}
	map_free(place->hints);
	place->hints = NULL;
	return op;
}

const struct backend *
look_place(const struct op *look)
{
	return container_of(look, struct look, op)->place->backend;
}
