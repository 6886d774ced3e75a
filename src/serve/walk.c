/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "serve.h"

/* Going over many states without holding up the loop, and the parts that several documents share. */

enum walk_state { WALK_TURN, WALK_PAUSED };

static const char *const walk_states[] = { "looking", "looking" };

struct walking {
	struct op         op;
	struct call      *c;
	char             *backend;
	struct walk       walk;
	struct store_txn *t;       /* during a turn */
	uint64_t          after;
	unsigned          in_turn;
	int64_t           begun;      /* the turn, by the uncached clock */
	uint64_t          generation; /* of the plan */
	bool              more, stopped;
};

static int64_t
walk_clock(const struct walking *w)
{
	const struct clock *c = loop_clock(w->op.loop);

	return c->mono_ms(c);
}

/* Names and numbers of edges are those of the plan that it began with. */
static bool
walk_may_go_on(const struct walking *w, struct err *reterr)
{
	if (w->generation == engine_generation(w->c->e))
		return true;
	err_set(reterr, ERR_BUSY, 0, "the configuration was replaced meanwhile; ask again");
	return false;
}

static bool
walk_one(void *arg, const struct state_rec *s)
{
	struct walking *w = arg;

	if (w->in_turn == API_WALK_STATES || (w->in_turn > 0 && walk_clock(w) - w->begun >= API_WALK_MS)) {
		w->more = true;
		return false;
	}
	w->in_turn++;
	w->after = s->id;
	w->stopped = !w->walk.fn(w->walk.arg, w->t, s);
	return !w->stopped;
}

static enum err_code
walk_some(struct walking *w, struct err *reterr)
{
	enum err_code rc;

	if (store_read(engine_store(w->c->e), &w->t, reterr) != ERR_OK)
		return reterr->code;
	w->more = false;
	w->in_turn = 0;
	w->begun = walk_clock(w);
	store_states(w->t, w->backend, w->after, walk_one, w);
	rc = store_txn_error(w->t, reterr);
	store_end(w->t);
	return rc;
}

static enum op_turn
walk_step(struct op *op)
{
	struct walking *w = container_of(op, struct walking, op);

	switch ((enum walk_state)op->state) {
	case WALK_PAUSED:
	case WALK_TURN:
		if (op_failed(op) || !walk_may_go_on(w, &op->res) || walk_some(w, &op->res) != ERR_OK)
			return op_fail(op);
		err_clear(&op->res);
		if (w->more && !w->stopped)
			return op_await(op, WALK_PAUSED, op_sleep(op->loop, 0));
		if (w->walk.ended != NULL && w->walk.ended(w->walk.arg, &op->res) != ERR_OK)
			return op_fail(op);
		return op_ok(op);
	}
	return OP_DONE;
}

static void
walk_free(struct op *op)
{
	struct walking *w = container_of(op, struct walking, op);

	if (w->walk.free != NULL)
		w->walk.free(w->walk.arg);
	free(w->backend);
	free(w);
}

static const struct op_class walk_class = { "walk", walk_step, NULL, walk_free, walk_states, ARRAY_LEN(walk_states) };

struct op *
walk_op(struct call *c, const char *backend, const struct walk *walk)
{
	struct walking *w = xcalloc(1, sizeof(*w));

	op_init(&w->op, &walk_class, engine_loop(c->e));
	w->c = c;
	w->generation = engine_generation(c->e);
	w->backend = xstrdup(backend);
	w->walk = *walk;
	return &w->op;
}

/* ---------------------------------------------------------------- an op, then a document */

enum then_state { THEN_START, THEN_DONE };

static const char *const then_states[] = { "start", "running" };

struct then {
	struct op    op;
	struct call *c;
	struct op   *first;        /* NULL once awaited */
	void       (*done)(struct call *c, void *arg, struct err *res);
	void       (*release)(void *arg);
	void        *arg;
};

static enum op_turn
then_step(struct op *op)
{
	struct then *x = container_of(op, struct then, op);
	struct op   *child = x->first;

	switch ((enum then_state)op->state) {
	case THEN_START:
		x->first = NULL;
		return op_await(op, THEN_DONE, child);
	case THEN_DONE:
		x->done(x->c, x->arg, &op->res);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
then_free(struct op *op)
{
	struct then *x = container_of(op, struct then, op);

	op_free(x->first);
	if (x->release != NULL)
		x->release(x->arg);
	free(x);
}

static const struct op_class then_class = { "command", then_step, NULL, then_free, then_states, ARRAY_LEN(then_states) };

struct op *
then_op(struct call *c, struct op *child, void (*done)(struct call *c, void *arg, struct err *res), void (*release)(void *arg),
    void *arg)
{
	struct then *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &then_class, engine_loop(c->e));
	x->c = c;
	x->first = child;
	x->done = done;
	x->release = release;
	x->arg = arg;
	return &x->op;
}

/* ---------------------------------------------------------------- pieces */

void
put_digest(struct json_writer *w, const char *key, const struct digest *d)
{
	char hex[DIGEST_HEX];

	json_kv_str(w, key, digest_is_zero(d) ? NULL : digest_hex(d, hex));
}

void
put_text(struct json_writer *w, const char *key, const char *s)
{
	json_kv_str(w, key, s == NULL || s[0] == '\0' ? NULL : s);
}

void
put_count(struct json_writer *w, const char *key, int64_t n)
{
	json_key(w, key);
	if (n < 0)
		json_nil(w);
	else
		json_i64(w, n);
}

void
put_state(struct json_writer *w, const char *key, const char *backend, const char *name)
{
	char *text = xasprintf("%s:%s", backend, name);

	json_kv_str(w, key, text);
	free(text);
}

struct health_find {
	const char         *label;
	struct place_health found;
};

static void
health_match(void *arg, const struct place_health *h)
{
	struct health_find *f = arg;

	if (strcmp(h->label, f->label) == 0)
		f->found = *h;
}

struct place_health
api_health_of(struct engine *e, const char *label)
{
	struct health_find f = { .label = label, .found = { .label = label, .ok = true } };

	engine_health(e, health_match, &f);
	return f.found;
}
