/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"

/* check, probe, events, ops. */

#define EVENTS_DEFAULT 100
#define EVENTS_MAX     10000

/* ---------------------------------------------------------------- check */

struct check {
	struct store_check result;
	struct buf         buf;         /* the array of problems */
	struct json_writer w;
	uint64_t           shown;
};

static void
check_problem(void *arg, const char *text)
{
	struct check *x = arg;

	if (x->shown++ < API_PROBLEMS_MAX)
		json_str(&x->w, text);
}

static void
check_done(struct call *c, void *arg, struct err *res)
{
	struct check *x = arg;

	json_arr_end(&x->w);
	if (res->code != ERR_OK)
		return;
	c->exit = x->result.problems > 0 ? err_exit(ERR_CORRUPT) : 0;
	json_kv_bool(&c->w, "ok", x->result.problems == 0);
	json_kv_u64(&c->w, "versions", x->result.versions);
	json_kv_u64(&c->w, "blobs", x->result.blobs);
	json_kv_u64(&c->w, "bytes", x->result.bytes);
	json_key(&c->w, "problems");
	json_raw(&c->w, buf_span(&x->buf));
	json_kv_u64(&c->w, "problems_omitted", x->shown > API_PROBLEMS_MAX ? x->shown - API_PROBLEMS_MAX : 0);
}

static void
check_release(void *arg)
{
	struct check *x = arg;

	buf_free(&x->buf);
	free(x);
}

struct op *
api_check(struct call *c, struct err *reterr)
{
	struct check *x = xcalloc(1, sizeof(*x));

	(void)reterr;
	buf_init(&x->buf, 0);
	json_begin(&x->w, &x->buf);
	json_arr(&x->w);
	x->result.problem = check_problem;
	x->result.arg = x;
	return then_op(c, store_check(engine_store(c->e), &x->result), check_done, check_release, x);
}

/* ---------------------------------------------------------------- probe */

struct probe {
	struct call *c;
	struct proof found;
};

static void
probe_seen(void *arg, const struct probe_check *p)
{
	struct json_writer *w = &((struct probe *)arg)->c->w;

	json_obj(w);
	json_kv_str(w, "name", p->name);
	json_kv_bool(w, "ok", p->ok);
	put_text(w, "detail", p->detail);
	json_obj_end(w);
}

static void
probe_done(struct call *c, void *arg, struct err *res)
{
	const struct probe *x = arg;

	if (res->code != ERR_OK)
		return;
	json_arr_end(&c->w);
	json_kv_bool(&c->w, "enforces", x->found.holds);
	json_kv_time(&c->w, "time", x->found.when);
	put_text(&c->w, "reason", x->found.why);
}

struct op *
api_probe(struct call *c, struct err *reterr)
{
	const char   *backend;
	struct probe *x;

	if (call_need(c, "backend", &backend, reterr) != ERR_OK)
		return NULL;
	snprintf(c->where, sizeof(c->where), "%s", backend);
	x = xcalloc(1, sizeof(*x));
	x->c = c;
	json_kv_str(&c->w, "backend", backend);
	json_key(&c->w, "checks");
	json_arr(&c->w);
	return then_op(c, engine_probe(c->e, backend, probe_seen, x, &x->found), probe_done, free, x);
}

/* ---------------------------------------------------------------- events */

struct events {
	struct json_writer *w;
	unsigned long       left;
};

static bool
events_one(void *arg, const struct event_rec *e)
{
	struct events      *x = arg;
	struct json_writer *w = x->w;

	if (x->left == 0)
		return false;
	x->left--;
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

struct op *
api_events(struct call *c, struct err *reterr)
{
	const char       *limit = call_arg(c, "limit");
	struct events     x = { &c->w, EVENTS_DEFAULT };
	struct store_txn *t;
	char             *end = NULL;

	if (limit != NULL) {
		x.left = strtoul(limit, &end, 10);
		if (limit[0] < '0' || limit[0] > '9' || *end != '\0' || x.left > EVENTS_MAX) {
			err_set(reterr, ERR_USAGE, 0, "limit: \"%s\" is no number up to %d", limit, EVENTS_MAX);
			return NULL;
		}
	}
	if (store_read(engine_store(c->e), &t, reterr) != ERR_OK)
		return NULL;
	json_key(&c->w, "events");
	json_arr(&c->w);
	store_events(t, events_one, &x);
	json_arr_end(&c->w);
	store_end(t);
	return NULL;
}

/* ---------------------------------------------------------------- ops */

static void
ops_one(const struct op *op, void *arg)
{
	struct call        *c = arg;
	struct json_writer *w = &c->w;
	const struct op    *leaf = op;

	while (leaf->child != NULL)
		leaf = leaf->child;
	json_obj(w);
	json_kv_str(w, "name", op->class->name);
	json_kv_str(w, "state", op_state_name(op));
	json_key(w, "age_seconds");
	json_f64(w, (double)(loop_now(op->loop) - op->since) / 1000);
	json_kv_str(w, "waits_for", leaf != op ? leaf->class->name : NULL);
	json_kv_bool(w, "cancelled", op->cancelled);
	json_obj_end(w);
}

struct op *
api_ops(struct call *c, struct err *reterr)
{
	(void)reterr;
	json_key(&c->w, "ops");
	json_arr(&c->w);
	op_list(engine_loop(c->e), ops_one, c);
	json_arr_end(&c->w);
	return NULL;
}
