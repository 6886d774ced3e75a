/* SPDX-License-Identifier: MIT */
#include "run_op.h"

#include "test.h"

struct run_op {
	bool       done;
	struct err err;
};

static void
run_op_done(struct op *op, void *arg)
{
	struct run_op *w = arg;

	w->done = true;
	w->err = op->err;
	op_free(op);
}

static bool
run_op_is_done(void *arg)
{
	return ((struct run_op *)arg)->done;
}

struct err
run_op(struct loop *l, struct op *op, int64_t ms)
{
	struct run_op w = { .done = false };

	op_start(op, run_op_done, &w);
	if (!loop_run_until(l, run_op_is_done, &w, ms))
		test_fail(__FILE__, __LINE__, "%s did not end", op->class->name);
	return w.err;
}
