/* SPDX-License-Identifier: MIT */
#include "token.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct token_waiter;

struct token {
	struct loop              *loop;
	const struct token_class *class;
	void                     *arg;
	const char               *who;
	void                     *value;       /* class->size bytes */
	bool                      has, rejected, closed;
	int64_t                   renew_at, edge_at, end; /* wall; 0: never */
	unsigned                  generation;
	int64_t                   pause_until; /* loop_now(): the last fetch failed */
	bool                      said;        /* that renewing fails */
	struct err                failure;     /* of that fetch; code ERR_OK: none */
	struct op                *fetch;       /* running */
	struct token_waiter      *waiters;
	unsigned                  refs;        /* owner, fetch */
};

struct token *
token_new(struct loop *l, const struct token_class *class, void *arg, const char *who)
{
	struct token *t = xcalloc(1, sizeof(*t));

	t->loop = l;
	t->class = class;
	t->arg = arg;
	t->who = who;
	t->value = xcalloc(1, class->size);
	t->refs = 1;
	return t;
}

static void
token_unref(struct token *t)
{
	if (--t->refs > 0)
		return;
	t->class->wipe(t->value);
	free(t->value);
	if (t->class->release != NULL)
		t->class->release(t->arg);
	free(t);
}

void
token_free(struct token *t)
{
	if (t == NULL)
		return;
	assert(t->waiters == NULL);
	t->closed = true;
	op_cancel(t->fetch);
	token_unref(t);
}

static int64_t
token_least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

void
token_set(struct token *t, void *value, int64_t wall_ms)
{
	int64_t end = t->class->ends(value), left = end > wall_ms ? end - wall_ms : 0;
	int64_t spread = (int64_t)rand_below(loop_rand(t->loop), (uint64_t)TOKEN_SPREAD_MS);

	t->class->wipe(t->value);
	memcpy(t->value, value, t->class->size);
	mem_wipe(value, t->class->size);
	t->has = true;
	t->rejected = t->said = false;
	t->pause_until = 0;
	err_clear(&t->failure);
	t->generation++;
	t->end = end;
	t->renew_at = end == 0 ? 0 : end - token_least(TOKEN_MARGIN_MS + spread, left / 2);
	t->edge_at = end == 0 ? 0 : end - token_least(TOKEN_EDGE_MS, left / 4);
}

void *
token_value(struct token *t)
{
	return t->has ? t->value : NULL;
}

unsigned
token_generation(const struct token *t)
{
	return t->generation;
}

void
token_reject(struct token *t, unsigned generation)
{
	if (t->generation == generation)
		t->rejected = true;
}

/* Works at that time, whether or not it is time to renew it. */
static bool
token_good(const struct token *t, int64_t wall_ms)
{
	return t->has && !t->rejected && (t->end == 0 || wall_ms < t->end);
}

/* --- fetching --------------------------------------------------------------------------------------------------------- */

/* Ends as the fetch does; its value lies here until then. */
struct token_fetch {
	struct op     op;
	struct token *t;
	void         *value;
};

enum token_fetch_state { FETCH_START, FETCH_ENDED };

static const char *const token_fetch_states[] = { "start", "ended" };

static enum op_turn
token_fetch_step(struct op *op)
{
	struct token_fetch *f = container_of(op, struct token_fetch, op);

	switch ((enum token_fetch_state)op->state) {
	case FETCH_START:
		return op_await(op, FETCH_ENDED, f->t->class->fetch(f->t->arg, f->value));
	case FETCH_ENDED:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
token_fetch_free(struct op *op)
{
	struct token_fetch *f = container_of(op, struct token_fetch, op);

	f->t->class->wipe(f->value);
	free(f->value);
	token_unref(f->t);
	free(f);
}

static const struct op_class token_fetch_class = { "sign in", token_fetch_step, NULL, token_fetch_free, token_fetch_states,
	ARRAY_LEN(token_fetch_states) };

struct token_waiter {
	struct op            op;
	struct token        *t;
	int64_t              wall_ms;
	struct token_waiter *next;
	bool                 waits;
};

static void
token_link(struct token_waiter *w)
{
	struct token_waiter **at = &w->t->waiters;

	while (*at != NULL)
		at = &(*at)->next;
	*at = w;
	w->next = NULL;
	w->waits = true;
}

static void
token_unlink(struct token_waiter *w)
{
	struct token_waiter **at = &w->t->waiters;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	w->waits = false;
}

/* No new value. Is the present one good, the log says so, once in a row of failures. */
static void
token_failed(struct token *t, const struct err *e)
{
	char text[ERR_TEXT_MAX];
	bool good = token_good(t, loop_wall(t->loop));

	t->failure = *e;
	t->pause_until = loop_now(t->loop) + (good ? TOKEN_PAUSE_MS : TOKEN_AGAIN_MS);
	if (!good || t->said || t->closed || e->code == ERR_CANCELLED)
		return;
	t->said = true;
	log_at(LOG_WARN, t->who, "%s cannot be renewed, the present one is good for %s: %s", t->class->what,
	    duration_format(t->end - loop_wall(t->loop), (char[TIME_TEXT_MAX]){ "" }), err_text(e, text));
}

static void
token_fetched(struct op *op, void *arg)
{
	struct token_fetch  *f = container_of(op, struct token_fetch, op);
	struct token        *t = arg;
	struct token_waiter *w;

	t->fetch = NULL;
	if (op->err.code == ERR_OK && !t->closed)
		token_set(t, f->value, loop_wall(op->loop));
	else
		token_failed(t, &op->err);
	while ((w = t->waiters) != NULL) {
		token_unlink(w);
		if (op->err.code != ERR_OK && !token_good(t, w->wall_ms))
			w->op.res = op->err;
		else
			err_clear(&w->op.res);
		op_wake(&w->op);
	}
	op_free(op);
}

static void
token_fetch_start(struct token *t)
{
	struct token_fetch *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &token_fetch_class, t->loop);
	f->t = t;
	f->value = xcalloc(1, t->class->size);
	t->refs++;
	t->fetch = &f->op;
	op_start(&f->op, token_fetched, t);
}

/* --- waiting for it --------------------------------------------------------------------------------------------------- */

enum token_waiter_state { WAITER_START, WAITER_TOLD };

static const char *const token_waiter_states[] = { "start", "told" };

/* There is no need to wait: a good value, or an error that is the answer for now. Sees to it that the next one is on its way. */
static bool
token_at_once(struct token *t, int64_t wall_ms, struct err *ret)
{
	bool good = token_good(t, wall_ms), paused = loop_now(t->loop) < t->pause_until;

	if (good && (t->end == 0 || wall_ms < t->renew_at || paused))
		return true;
	if (!good && paused && t->fetch == NULL && t->failure.code != ERR_OK) {
		*ret = t->failure;
		return true;
	}
	if (t->fetch == NULL)
		token_fetch_start(t);
	return good && wall_ms < t->edge_at;
}

static enum op_turn
token_waiter_step(struct op *op)
{
	struct token_waiter *w = container_of(op, struct token_waiter, op);

	switch ((enum token_waiter_state)op->state) {
	case WAITER_START:
		if (token_at_once(w->t, w->wall_ms, &op->res))
			return op_finish(op);
		token_link(w);
		op->state = WAITER_TOLD;
		return OP_WAIT;
	case WAITER_TOLD:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
token_waiter_cancel(struct op *op)
{
	struct token_waiter *w = container_of(op, struct token_waiter, op);

	if (w->waits)
		token_unlink(w);
	err_set(&op->res, ERR_CANCELLED, 0, "cancelled");
	op_wake(op);
}

static void
token_waiter_free(struct op *op)
{
	free(container_of(op, struct token_waiter, op));
}

static const struct op_class token_waiter_class = { "wait for credentials", token_waiter_step, token_waiter_cancel,
	token_waiter_free, token_waiter_states, ARRAY_LEN(token_waiter_states) };

struct op *
token_ready(struct token *t, int64_t wall_ms)
{
	struct token_waiter *w = xcalloc(1, sizeof(*w));

	op_init(&w->op, &token_waiter_class, t->loop);
	w->t = t;
	w->wall_ms = wall_ms;
	return &w->op;
}
