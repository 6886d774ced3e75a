/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "serve.h"

/* events: the journal, newest first, some in each turn. */

#define EVENTS_DEFAULT 100
#define EVENTS_MAX     10000
#define EVENTS_TURN    1000

struct events {
	struct op          op;
	struct call       *c;
	uint64_t           before;    /* the number of the last one told; 0: none yet */
	unsigned long      left;
	unsigned           in_turn;
	bool               more;
};

enum events_state { EVENTS_START, EVENTS_PAUSED };

static const char *const events_states[] = { "looking", "looking" };

static bool
events_one(void *arg, const struct event_rec *e)
{
	struct events      *x = arg;
	struct json_writer *w = &x->c->w;

	x->more = x->left > 0 && x->in_turn == EVENTS_TURN;
	if (x->left == 0 || x->more)
		return false;
	x->left--;
	x->in_turn++;
	x->before = e->seq;
	json_obj(w);
	json_kv_u64(w, "seq", e->seq);
	json_kv_time(w, "time", e->time);
	json_kv_str(w, "kind", e->kind);
	put_text(w, "backend", e->backend);
	put_text(w, "name", e->name);
	put_text(w, "edge", e->edge);
	put_text(w, "text", e->text);
	json_obj_end(w);
	return true;
}

static enum op_turn
events_step(struct op *op)
{
	struct events    *x = container_of(op, struct events, op);
	struct store_txn *t;

	switch ((enum events_state)op->state) {
	case EVENTS_START:
	case EVENTS_PAUSED:
		if (op_failed(op) || store_read(engine_store(x->c->e), &t, &op->res) != ERR_OK)
			return op_fail(op);
		x->in_turn = 0;
		x->more = false;
		store_events(t, x->before, events_one, x);
		store_end(t);
		if (x->more)
			return op_await(op, EVENTS_PAUSED, op_sleep(op->loop, 0));
		json_arr_end(&x->c->w);
		return op_ok(op);
	}
	return OP_DONE;
}

static void
events_free(struct op *op)
{
	free(container_of(op, struct events, op));
}

static const struct op_class events_class = { "events", events_step, NULL, events_free, events_states, ARRAY_LEN(events_states) };

struct op *
api_events(struct call *c, struct err *reterr)
{
	const char    *limit = call_arg(c, "limit");
	unsigned long  left = EVENTS_DEFAULT;
	char          *end = NULL;
	struct events *x;

	if (limit != NULL) {
		left = strtoul(limit, &end, 10);
		if (limit[0] < '0' || limit[0] > '9' || *end != '\0' || left > EVENTS_MAX) {
			err_set(reterr, ERR_USAGE, 0, "limit: \"%s\" is no number up to %d", limit, EVENTS_MAX);
			return NULL;
		}
	}
	x = xcalloc(1, sizeof(*x));
	op_init(&x->op, &events_class, engine_loop(c->e));
	x->c = c;
	x->left = left;
	json_key(&c->w, "events");
	json_arr(&c->w);
	return &x->op;
}
