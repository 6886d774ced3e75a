/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"

/* check, probe. */

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
	const char  *backend;
	struct proof found;
	bool         said;              /* a check was told */
};

static void
probe_seen(void *arg, const struct probe_check *p)
{
	struct probe       *x = arg;
	struct json_writer *w = &x->c->w;

	x->said = true;

	json_obj(w);
	json_kv_str(w, "name", p->name);
	json_kv_bool(w, "ok", p->ok);
	put_text(w, "detail", p->detail);
	json_obj_end(w);
}

/* What the next write there is going to meet, which is more than the checks say. */
static void
probe_put_write(const struct probe *x, struct json_writer *w)
{
	struct err  e;
	bool        locks, may = engine_writable(x->c->e, x->backend, &locks, &e) == ERR_OK;
	const char *how = locks && x->found.holds ? "takes the lock, and preconditions are enforced besides" :
	    locks                               ? "relies on the lock alone: preconditions are not enforced" :
	    x->found.holds                      ? "is safe without a lock: preconditions are enforced" :
	                                          "has neither a lock nor a precondition: exclusive = true says that nothing else writes";

	json_kv_bool(w, "writable", may);
	put_text(w, "write", may ? how : e.msg);
	put_text(w, "hint", may ? "" : e.hint);
}

static void
probe_done(struct call *c, void *arg, struct err *res)
{
	const struct probe *x = arg;

	json_arr_end(&c->w);
	json_kv_bool(&c->w, "enforces", x->found.holds);
	json_kv_time(&c->w, "time", x->found.when);
	put_text(&c->w, "reason", x->found.why);
	if (res->code == ERR_OK)
		probe_put_write(x, &c->w);
	if (res->code == ERR_OK || res->code == ERR_CANCELLED || !x->said)
		return;
	json_key(&c->w, "error"); /* beside the checks, which show how far it came */
	json_obj(&c->w);
	put_error(&c->w, res, "probe");
	json_obj_end(&c->w);
	c->exit = err_exit(res->code);
	err_clear(res);
}

struct op *
api_probe(struct call *c, struct err *reterr)
{
	const char   *backend;
	struct probe *x;

	if (call_need(c, "backend", &backend, reterr) != ERR_OK)
		return NULL;
	x = xcalloc(1, sizeof(*x));
	x->c = c;
	x->backend = backend;
	json_kv_str(&c->w, "backend", backend);
	json_key(&c->w, "checks");
	json_arr(&c->w);
	return then_op(c, engine_probe(c->e, backend, probe_seen, x, &x->found), probe_done, free, x);
}
