/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"

/* sync: one pass, and its result. */

#define SYNC_EXIT_STALE 14

struct sync {
	struct call       *c;
	struct pass_result result;
	int64_t            max_age;    /* ms; -1: not asked for */
	const char       **edges;
	size_t             nedges;
	bool               stale;
	/* of the state being looked at */
	struct store_txn       *t;
	const struct state_rec *s;
	int64_t                 newest; /* when the newest verified replica was the state: wall ms, 0: none */
	bool                    current, carried;
};

static void
sync_edges(struct json_writer *w, const struct pass_result *r)
{
	json_key(w, "edges");
	json_arr(w);
	for (size_t i = 0; i < r->nedges; i++) {
		const struct edge_result *e = &r->edges[i];

		json_obj(w);
		json_kv_str(w, "name", e->name);
		json_kv_str(w, "kind", e->kind);
		json_kv_u64(w, "seen", e->seen);
		json_kv_u64(w, "changed", e->changed);
		json_kv_u64(w, "uncovered", e->uncovered);
		json_kv_u64(w, "written", e->written);
		json_kv_u64(w, "unchanged", e->unchanged);
		json_kv_u64(w, "held", e->held);
		json_kv_u64(w, "failed", e->failed);
		json_kv_u64(w, "bytes", e->bytes);
		json_kv_u64(w, "requests", e->requests);
		json_key(w, "seconds");
		json_f64(w, e->seconds);
		json_obj_end(w);
	}
	json_arr_end(w);
}

static void
sync_problem(struct json_writer *w, const char *edge, const char *state, int code, const char *message, const char *hint)
{
	json_obj(w);
	put_text(w, "edge", edge);
	put_text(w, "state", state);
	json_kv_i64(w, "code", code);
	json_kv_str(w, "message", message);
	put_text(w, "hint", hint);
	json_obj_end(w);
}

/* What a dry run would write. */
static void
sync_plan(struct json_writer *w, const struct pass_result *r)
{
	json_key(w, "plan");
	json_arr(w);
	for (size_t i = 0; i < r->nplanned; i++) {
		const struct planned *p = &r->planned[i];

		json_obj(w);
		json_kv_str(w, "edge", p->edge);
		json_kv_str(w, "state", p->state);
		json_kv_str(w, "target", p->target);
		json_kv_u64(w, "serial", p->serial);
		json_kv_u64(w, "bytes", p->bytes);
		json_kv_bool(w, "probe", p->probe);
		json_obj_end(w);
	}
	json_arr_end(w);
}

static void
sync_write(struct call *c, void *arg, struct err *res)
{
	struct sync *x = arg;

	if (res->code != ERR_OK)
		return;
	sync_edges(&c->w, &x->result);
	c->exit = pass_result_exit(&x->result);
	if (call_flag(c, "dry_run"))
		sync_plan(&c->w, &x->result);
	json_key(&c->w, "problems");
	json_arr(&c->w);
	for (size_t i = 0; i < x->result.nproblems; i++) {
		const struct problem *p = &x->result.problems[i];

		sync_problem(&c->w, p->edge, p->state, p->exit, p->message, p->hint);
	}
	if (x->max_age < 0)
		json_arr_end(&c->w);
}

/* ---------------------------------------------------------------- --max-age */

static bool
sync_wants(const struct sync *x, const struct lane *l)
{
	for (size_t i = 0; i < x->nedges; i++)
		if (strcmp(x->edges[i], l->edge->name) == 0)
			return true;
	return x->nedges == 0;
}

static void
sync_age_replica(void *arg, const struct replica_view *view)
{
	struct sync              *x = arg;
	const struct replica_rec *r = &view->rec;
	struct version_rec        v;

	if (!sync_wants(x, view->lane) || view->status == REPLICA_PAUSED)
		return;
	x->carried = true;
	if (view->status == REPLICA_CURRENT || (x->s->head == r->version && !digest_is_zero(&r->digest)))
		x->current = true;
	if (r->version != 0 && !digest_is_zero(&r->digest) && store_version(x->t, x->s->id, r->version, &v) && v.seen > x->newest)
		x->newest = v.seen;
}

/* A replica is as old as the change it lacks, or as the time for which it has lacked it, whichever is more. */
static int64_t
sync_age(const struct sync *x, const struct version_rec *head)
{
	int64_t now = loop_wall(engine_loop(x->c->e)), waits = now - head->seen;

	if (x->newest == 0)
		return now - x->s->first_seen;
	return head->seen - x->newest > waits ? head->seen - x->newest : waits;
}

static bool
sync_age_state(void *arg, struct store_txn *t, const struct state_rec *s)
{
	struct sync       *x = arg;
	struct version_rec head;
	char              *text, age[TIME_TEXT_MAX], message[ERR_MSG_MAX];

	if (!state_counts(engine_plan(x->c->e), s) || s->head == 0 || !store_version(t, s->id, s->head, &head))
		return true;
	x->t = t;
	x->s = s;
	x->newest = 0;
	x->current = x->carried = false;
	engine_replicas(x->c->e, t, s, sync_age_replica, x);
	if (!x->carried || x->current || sync_age(x, &head) <= x->max_age)
		return true;
	x->stale = true;
	duration_format(sync_age(x, &head), age);
	snprintf(message, sizeof(message), x->newest == 0 ? "no verified replica after %s" : "its newest verified replica is %s behind",
	    age);
	text = xasprintf("%s:%s", s->backend, s->name);
	sync_problem(&x->c->w, "", text, SYNC_EXIT_STALE, message, "");
	free(text);
	return true;
}

static enum err_code
sync_age_ended(void *arg, struct err *reterr)
{
	struct sync *x = arg;

	(void)reterr;
	json_arr_end(&x->c->w);
	if (x->stale)
		x->c->exit = SYNC_EXIT_STALE;
	return ERR_OK;
}

/* ---------------------------------------------------------------- the request */

static void
sync_free(void *arg)
{
	struct sync *x = arg;

	pass_result_free(&x->result);
	free(x->edges);
	free(x);
}

enum sync_state { SYNC_START, SYNC_PASSED, SYNC_AGED };

static const char *const sync_states[] = { "start", "passed", "aged" };

struct sync_op {
	struct op    op;
	struct sync *x;
	struct op   *pass;
};

static enum op_turn
sync_step(struct op *op)
{
	struct sync_op *o = container_of(op, struct sync_op, op);
	struct op      *pass = o->pass;

	switch ((enum sync_state)op->state) {
	case SYNC_START:
		o->pass = NULL;
		return op_await(op, SYNC_PASSED, pass);
	case SYNC_PASSED:
		sync_write(o->x->c, o->x, &op->res);
		if (op_failed(op) || o->x->max_age < 0)
			return op_finish(op);
		return op_await(op, SYNC_AGED,
		    walk_op(o->x->c, NULL, &(struct walk){ sync_age_state, sync_age_ended, NULL, o->x }));
	case SYNC_AGED:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
sync_op_free(struct op *op)
{
	struct sync_op *o = container_of(op, struct sync_op, op);

	op_free(o->pass);
	sync_free(o->x);
	free(o);
}

static const struct op_class sync_class = { "sync", sync_step, NULL, sync_op_free, sync_states, ARRAY_LEN(sync_states) };

struct op *
api_sync(struct call *c, struct err *reterr)
{
	const char         *age = call_arg(c, "max_age");
	int64_t             max_age = -1;
	struct sync_op     *o;
	struct sync        *x;
	struct pass_options p = { .dry_run = call_flag(c, "dry_run") };

	if (age != NULL && !duration_parse(age, &max_age)) {
		err_set(reterr, ERR_USAGE, 0, "the maximal age \"%s\" is no duration", age);
		err_hint(reterr, "write it like 90s, 2h or 7d");
		return NULL;
	}
	x = xcalloc(1, sizeof(*x));
	x->c = c;
	x->max_age = max_age;
	x->edges = xcalloc(c->nargs + 1, sizeof(*x->edges));
	for (size_t i = 0; i < c->nargs; i++)
		if (strcmp(c->args[i].name, "edge") == 0)
			x->edges[x->nedges++] = c->args[i].value;
	p.edges = x->nedges > 0 ? x->edges : NULL;
	p.nedges = x->nedges;
	o = xcalloc(1, sizeof(*o));
	op_init(&o->op, &sync_class, engine_loop(c->e));
	o->x = x;
	o->pass = engine_pass(c->e, &p, &x->result);
	return &o->op;
}
