/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "serve.h"

/* ops: what runs in the agent, what it waits for and since when; and how far a pass, a restore and a migration are. */

#define OPS_WAITS_MAX 200   /* of one operation; the rest is counted */
#define OPS_PATH_MAX  400

struct ops {
	struct json_writer *w;
	char                path[OPS_PATH_MAX]; /* names from the top down to the one being looked at */
	const char         *about;              /* of the nearest above that says it */
	unsigned            shown, omitted;
};

static void
ops_times(struct json_writer *w, const struct op *op)
{
	int64_t age = loop_now(op->loop) - op->since;

	json_kv_time(w, "since", loop_wall(op->loop) - age);
	json_key(w, "age_seconds");
	json_f64(w, (double)age / 1000);
}

static void
ops_leaf(struct ops *x, const struct op *op)
{
	if (x->shown == OPS_WAITS_MAX) {
		x->omitted++;
		return;
	}
	x->shown++;
	json_obj(x->w);
	json_kv_str(x->w, "name", op->class->name);
	put_text(x->w, "about", x->about);
	put_text(x->w, "within", x->path);
	ops_times(x->w, op);
	json_obj_end(x->w);
}

static void ops_down(const struct op *op, void *arg);

static void
ops_count(const struct op *child, void *arg)
{
	(void)child;
	++*(unsigned *)arg;
}

/* The ops at the bottom: those are waited for. */
static void
ops_down(const struct op *op, void *arg)
{
	struct ops *x = arg;
	const char *about = x->about;
	size_t      n = strlen(x->path);
	unsigned    below = 0;

	x->about = op->about != NULL ? op->about : about;
	op_children(op, ops_count, &below);
	if (below == 0) {
		ops_leaf(x, op);
	} else {
		snprintf(x->path + n, sizeof(x->path) - n, "%s%s", n > 0 ? "/" : "", op->class->name);
		op_children(op, ops_down, x);
		x->path[n] = '\0';
	}
	x->about = about;
}

static void
ops_one(const struct op *op, void *arg)
{
	struct call        *c = arg;
	struct json_writer *w = &c->w;
	struct ops          x = { .w = w };

	json_obj(w);
	json_kv_str(w, "name", op->class->name);
	put_text(w, "about", op->about);
	json_kv_str(w, "state", op_state_name(op));
	ops_times(w, op);
	json_kv_bool(w, "cancelled", op->cancelled);
	json_key(w, "waits_for");
	json_arr(w);
	if (op != &c->op) /* which waits for nothing but to be told */
		ops_down(op, &x);
	json_arr_end(w);
	json_kv_u64(w, "waits_omitted", x.omitted);
	json_obj_end(w);
}

static void
ops_pass(struct call *c)
{
	struct json_writer  *w = &c->w;
	struct pass_progress n;

	json_key(w, "pass");
	if (!engine_progress(c->e, &n)) {
		json_nil(w);
		return;
	}
	json_obj(w);
	json_kv_str(w, "step", n.step);
	json_kv_u64(w, "seen", n.seen);
	json_kv_u64(w, "changed", n.changed);
	json_kv_u64(w, "total", n.total);
	json_kv_u64(w, "done", n.done);
	json_kv_u64(w, "written", n.written);
	json_kv_u64(w, "held", n.held);
	json_kv_u64(w, "failed", n.failed);
	json_kv_u64(w, "bytes", n.bytes);
	json_obj_end(w);
}

struct ops_restore {
	const char             *kind;
	bool                    found;
	struct restore_progress n;
};

static void
ops_restore_child(const struct op *op, void *arg)
{
	struct ops_restore     *x = arg;
	struct restore_progress n;

	if (x->found || !api_restore_progress(op, &n) || strcmp(n.kind, x->kind) != 0)
		return;
	x->found = true;
	x->n = n;
}

static void
ops_restore_top(const struct op *op, void *arg)
{
	op_children(op, ops_restore_child, arg); /* it runs within the call that asked for it */
}

/* The oldest that runs. */
static void
ops_restore(struct call *c, const char *kind)
{
	struct json_writer *w = &c->w;
	struct ops_restore  x = { .kind = kind };

	json_key(w, kind);
	op_list(engine_loop(c->e), ops_restore_top, &x);
	if (!x.found) {
		json_nil(w);
		return;
	}
	json_obj(w);
	json_kv_str(w, "step", x.n.step);
	json_kv_u64(w, "total", x.n.total);
	json_kv_u64(w, "done", x.n.done);
	json_kv_u64(w, "failed", x.n.failed);
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
	ops_pass(c);
	ops_restore(c, "restore");
	ops_restore(c, "migrate");
	return NULL;
}
