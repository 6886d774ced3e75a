/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "serve.h"

/* events: the journal, newest first, some in each turn. */

#define EVENTS_DEFAULT 100
#define EVENTS_MAX     10000

struct events {
	struct json_writer *w;
	struct turn        *turn;
	uint64_t            before;    /* the number of the last one told; 0: none yet */
	unsigned long       left;
};

static bool
events_one(void *arg, const struct event_rec *e)
{
	struct events      *x = arg;
	struct json_writer *w = x->w;

	if (x->left == 0 || !turn_room(x->turn))
		return false;
	x->left--;
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

static enum err_code
events_turn(void *arg, struct turn *t, struct err *reterr)
{
	struct events *x = arg;

	(void)reterr;
	x->turn = t;
	store_events(t->t, x->before, events_one, x);
	if (!t->more)
		json_arr_end(x->w);
	return ERR_OK;
}

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
	x->w = &c->w;
	x->left = left;
	json_key(&c->w, "events");
	json_arr(&c->w);
	return turns_op(c, &(struct turns){ events_turn, free, x });
}
