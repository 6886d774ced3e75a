/* SPDX-License-Identifier: MIT */
#include "serve.h"

/* ops: what runs in the agent, what it waits for and since when. */

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
