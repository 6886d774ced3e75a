/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "serve.h"

/* runs: what was seen of locks on states of the sources, newest first, and which versions were written under them. */
#define RUNS_OF_EACH 10 /* without a state: of each the newest ones */

struct runs {
	struct json_writer *w;
	struct address      a;         /* of one state */
	struct state_rec    s;         /* whose runs are written */
	uint64_t            before;    /* go on below that number; 0: at the newest */
	struct turn        *turn;      /* of one state; else NULL */
	unsigned            left;
};

static void
runs_versions(struct json_writer *w, const struct run_rec *r)
{
	static const char *const keys[] = { "first_version", "last_version", "first_serial", "last_serial" };
	const uint64_t           values[] = { r->first_version, r->last_version, r->first_serial, r->last_serial };

	json_kv_u64(w, "versions", r->versions);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		json_key(w, keys[i]);
		if (r->versions > 0)
			json_u64(w, values[i]);
		else
			json_nil(w);
	}
}

static bool
runs_one(void *arg, const struct run_rec *r)
{
	struct runs        *x = arg;
	struct json_writer *w = x->w;

	if (x->turn != NULL ? !turn_room(x->turn) : x->left-- == 0)
		return false;
	x->before = r->number;
	json_obj(w);
	json_kv_str(w, "backend", x->s.backend);
	json_kv_str(w, "name", x->s.name);
	put_text(w, "id", r->lock);
	put_text(w, "who", r->who);
	put_text(w, "operation", r->operation);
	put_text(w, "created", r->created);
	put_text(w, "terraform_version", r->program);
	json_kv_time(w, "begun", r->begun);
	json_kv_time(w, "last_seen", r->seen);
	json_kv_time(w, "ended", r->ended);
	runs_versions(w, r);
	json_obj_end(w);
	return true;
}

static enum err_code
runs_turn(void *arg, struct turn *t, struct err *reterr)
{
	struct runs *x = arg;

	if (!store_state(t->t, x->a.backend, x->a.name, &x->s)) {
		if (store_txn_error(t->t, reterr) != ERR_OK)
			return reterr->code;
		err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s is not known", x->a.backend, x->a.name);
		return err_hint(reterr, "stateferry list shows the names");
	}
	x->turn = t;
	store_runs(t->t, x->s.id, x->before, runs_one, x);
	if (!t->more)
		json_arr_end(x->w);
	return ERR_OK;
}

static bool
runs_state(void *arg, struct store_txn *t, const struct state_rec *s)
{
	struct runs *x = arg;

	x->s = *s;
	x->left = RUNS_OF_EACH;
	store_runs(t, s->id, 0, runs_one, x);
	return true;
}

static enum err_code
runs_ended(void *arg, struct err *reterr)
{
	struct runs *x = arg;

	(void)reterr;
	json_arr_end(x->w);
	return ERR_OK;
}

static void
runs_free(void *arg)
{
	struct runs *x = arg;

	address_free(&x->a);
	free(x);
}

struct op *
api_runs(struct call *c, struct err *reterr)
{
	bool         all = call_arg(c, "state") == NULL && call_arg(c, "name") == NULL;
	struct runs *x = xcalloc(1, sizeof(*x));

	if (!all && call_address(c, &x->a, reterr) != ERR_OK) {
		free(x);
		return NULL;
	}
	x->w = &c->w;
	json_key(x->w, "runs");
	json_arr(x->w);
	return all ? walk_op(c, NULL, &(struct walk){ runs_state, runs_ended, runs_free, x }) :
	    turns_op(c, &(struct turns){ runs_turn, runs_free, x });
}
