/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "look.h"

/* What a look reads: states of a source whose change tag is new, or that a notice named, many at a time. */

void
look_want(struct look *l, struct span name, const struct look_pull *x)
{
	if (l->npulls == l->cap) {
		l->cap = l->cap == 0 ? 16 : 2 * l->cap;
		l->pulls = xreallocarray(l->pulls, l->cap, sizeof(*l->pulls));
	}
	l->pulls[l->npulls] = *x;
	l->pulls[l->npulls++].name = span_dup(name);
}

void
look_free_wanted(struct look *l)
{
	for (size_t i = 0; i < l->npulls; i++)
		free(l->pulls[i].name);
	free(l->pulls);
}

/* Its lock comes first: what is written before a lock goes is then read with it. */
struct look_child {
	struct op          op;
	struct look       *l;
	struct look_pull  *what;
	uint64_t           bytes;      /* its share of what is on its way from there */
	bool               admitted;
	bool               refused;    /* to look at its lock, for now; and nothing new is known to be there */
	struct lock_look   lock;
	struct pull_result result;
};

enum look_child_state { CHILD_START, CHILD_ADMITTED, CHILD_ASKED, CHILD_DONE, CHILD_SETTLED };

static const char *const look_child_states[] = { "start", "admitted", "lock looked at", "done", "settled" };

static struct op *
look_child_pull(struct look_child *c)
{
	struct look        *l = c->l;
	struct pull_options o = { .lock = &c->lock, .uncovered = c->what->uncovered };

	o.dry = o.keep = l->pass != NULL && pass_is_dry(l->pass);
	o.fill = !o.dry;
	/* who asks for every change pays for it: that is worth it only for one who comes often */
	o.ask = l->pass == NULL && c->lock.now == LOCK_AS_BEFORE && !c->what->ask && provider_shows_locks(l->place->backend);
	return pull_op(l->e, l->place, c->what->name, &o, &c->result);
}

static enum op_turn
look_child_step(struct op *op)
{
	struct look_child *c = container_of(op, struct look_child, op);
	struct place      *place = c->l->place;

	switch ((enum look_child_state)op->state) {
	case CHILD_START:
		return op_await(op, CHILD_ADMITTED, quota_take(&place->reading, c->bytes));
	case CHILD_ADMITTED:
		if (op_failed(op))
			return op_fail(op);
		c->admitted = true;
		c->lock.now = c->what->lock;
		return op_await(op, CHILD_ASKED, c->what->ask ? watch_op(place, c->what->name, &c->lock) : NULL);
	case CHILD_ASKED:
		c->refused = op_failed(op) && (c->what->spare || c->l->hinted);
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, CHILD_DONE, c->what->spare && c->lock.now != LOCK_FREE ? NULL : look_child_pull(c));
	case CHILD_DONE:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, CHILD_SETTLED, c->l->pass != NULL && pass_is_dry(c->l->pass) ? NULL :
		    watch_settle(place, c->what->name, &c->lock));
	case CHILD_SETTLED:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
look_child_free(struct op *op)
{
	struct look_child *c = container_of(op, struct look_child, op);

	if (c->admitted)
		quota_give(&c->l->place->reading, c->bytes);
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
	c->bytes = c->what->size > 0 && !c->what->spare ? c->what->size : PLACE_SIZE_UNKNOWN;
	return &c->op;
}

void
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

	if (op->err.code == ERR_CANCELLED || c->refused) /* the next look asks again */
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
	if (l->pass == NULL && watch_is_close(l->place, name, &c->lock)) {
		place_follow(l->place, name);
		l->follow++;
	}
	l->ret->changed += c->result.changed;
	if (look_is_new(l, name))
		renamed_come(&l->renamed, l->e, l->place->backend->label, name);
	if (l->pass != NULL && pass_is_dry(l->pass) && c->result.judged && c->result.changed &&
	    verdict_is_head(c->result.verdict))
		look_would_write(l, name, &c->result.now);
}

struct op *
look_read(struct look *l)
{
	return op_each_of(l->op.loop, look_next_pull, look_pulled, l, LOOK_PULLS);
}

/* A hint speaks of few states: what it found is news, that it found nothing is not. */
void
look_read_ended(struct look *l)
{
	place_follows(l->place, l->follow);
	if (l->pass != NULL && pass_is_dry(l->pass))
		return;
	if (!l->hinted || (l->unread.n > 0 && l->place->unread.n == 0))
		place_unread(l->place, &l->unread);
}
