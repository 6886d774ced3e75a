/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "serve.h"

/* Going over many states without holding up the loop, and the parts that several documents share. */

enum turns_state { TURNS_START, TURNS_PAUSED };

static const char *const turns_states[] = { "looking", "looking" };

struct turns_run {
	struct op    op;
	struct turns turns;
	struct turn  turn;
	uint64_t     generation; /* of the plan */
};

static int64_t
turn_clock(const struct turn *t)
{
	const struct clock *c = loop_clock(engine_loop(t->c->e));

	return c->mono_ms(c);
}

bool
turn_room(struct turn *t)
{
	t->more = t->n >= API_TURN_RECORDS || (t->n > 0 && turn_clock(t) - t->begun >= API_TURN_MS);
	t->n++;
	return !t->more;
}

bool
turn_versions(struct turn *t, uint64_t state, uint64_t *next, bool (*fn)(void *arg, const struct version_rec *v), void *arg)
{
	struct version_rec v;

	while (*next > 0 && turn_room(t)) {
		--*next;
		if (store_version(t->t, state, *next + 1, &v) && !fn(arg, &v))
			return true;
	}
	return !t->more;
}

static enum err_code
turns_one(struct turns_run *r, struct err *reterr)
{
	struct engine *e = r->turn.c->e;
	enum err_code  rc;

	if (r->generation != engine_generation(e))
		return err_set(reterr, ERR_BUSY, 0, "the configuration was replaced meanwhile; ask again");
	if (store_read(engine_store(e), &r->turn.t, reterr) != ERR_OK)
		return reterr->code;
	r->turn.more = false;
	r->turn.n = 0;
	r->turn.begun = turn_clock(&r->turn);
	rc = r->turns.fn(r->turns.arg, &r->turn, reterr);
	if (rc == ERR_OK)
		rc = store_txn_error(r->turn.t, reterr);
	store_end(r->turn.t);
	return rc;
}

static enum op_turn
turns_step(struct op *op)
{
	struct turns_run *r = container_of(op, struct turns_run, op);

	switch ((enum turns_state)op->state) {
	case TURNS_PAUSED:
	case TURNS_START:
		if (op_failed(op) || turns_one(r, &op->res) != ERR_OK)
			return op_fail(op);
		err_clear(&op->res);
		return r->turn.more ? op_await(op, TURNS_PAUSED, op_sleep(op->loop, 0)) : op_ok(op);
	}
	return OP_DONE;
}

static void
turns_free(struct op *op)
{
	struct turns_run *r = container_of(op, struct turns_run, op);

	if (r->turns.free != NULL)
		r->turns.free(r->turns.arg);
	free(r);
}

static const struct op_class turns_class = { "turns", turns_step, NULL, turns_free, turns_states, ARRAY_LEN(turns_states) };

struct op *
turns_op(struct call *c, const struct turns *t)
{
	struct turns_run *r = xcalloc(1, sizeof(*r));

	op_init(&r->op, &turns_class, engine_loop(c->e));
	r->turns = *t;
	r->turn.c = c;
	r->generation = engine_generation(c->e);
	return &r->op;
}

/* ---------------------------------------------------------------- all states */

struct walking {
	char        *backend;
	struct walk  walk;
	struct turn *turn;
	uint64_t     after;
};

static bool
walk_one(void *arg, const struct state_rec *s)
{
	struct walking *w = arg;

	if (!turn_room(w->turn))
		return false;
	w->after = s->id;
	return w->walk.fn(w->walk.arg, w->turn->t, s);
}

static enum err_code
walk_turn(void *arg, struct turn *t, struct err *reterr)
{
	struct walking *w = arg;

	w->turn = t;
	store_states(t->t, w->backend, w->after, walk_one, w);
	if (t->more)
		return ERR_OK;
	if (store_txn_error(t->t, reterr) != ERR_OK)
		return reterr->code;
	return w->walk.ended != NULL ? w->walk.ended(w->walk.arg, reterr) : ERR_OK;
}

static void
walk_free(void *arg)
{
	struct walking *w = arg;

	if (w->walk.free != NULL)
		w->walk.free(w->walk.arg);
	free(w->backend);
	free(w);
}

struct op *
walk_op(struct call *c, const char *backend, const struct walk *walk)
{
	struct walking *w = xcalloc(1, sizeof(*w));

	w->backend = xstrdup(backend);
	w->walk = *walk;
	return turns_op(c, &(struct turns){ walk_turn, walk_free, w });
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
