/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_LOOP_OP_RIG_H
#define TESTS_UNIT_LOOP_OP_RIG_H

#include <stdlib.h>

#include "loop/op.h"
#include "../../lib/test.h"

/* Ops of every kind, each test on both kinds of loop. */
extern struct loop *rig_loop;
extern int          rig_frees; /* of questions and flows */

/* A leaf, as every leaf is written: somebody answers later. */
struct question {
	struct op op;
	int      *ret_asked, *ret_cancels; /* may be NULL */
	bool      deaf;                    /* a cancel changes nothing */
};
struct question *question_new(int *ret_asked, int *ret_cancels);
void             question_answer(struct question *q, enum err_code code);
void             question_cancel(struct op *op);
void             question_free(struct op *op);

/* An op of several steps, whose switch the test brings. */
struct flow {
	struct op     op;
	enum op_turn (*fn)(struct flow *f);
	struct op    *child;   /* taken by the first await */
	struct op    *cleanup;
	struct err    seen;    /* what the first wait ended with */
	int           steps;
};
struct flow *flow_new(enum op_turn (*fn)(struct flow *f), struct op *child);
enum op_turn flow_await(struct flow *f, int next);

/* The end of an op. */
struct end {
	int           calls;
	enum err_code code;
	struct err    err;
};
void rig_ended(struct op *op, void *arg); /* arg: struct end */
bool rig_end_seen(void *arg);             /* arg: struct end */
bool rig_not_zero(void *arg);             /* arg: int */
void rig_wait(struct end *end);           /* it ends once, and nothing is left */
void rig_wait_int(int *n);

void rig_begin(bool virtual);
void rig_on_both(void (*fn)(void));

#define RIG_ON_BOTH(fn) \
	static void \
	both_##fn(void) \
	{ \
		rig_on_both(fn); \
	}
#define RIG_ROW(fn) { #fn, both_##fn },

#endif
