/* SPDX-License-Identifier: MIT */
#ifndef LOOP_OP_IMPL_H
#define LOOP_OP_IMPL_H

#include "loop/op.h"

/* Starts it at the next turn of the loop: below parent, or at the top (NULL). done NULL: its outcome goes to the parent that awaits
 * it, and it is freed. */
void op_launch(struct op *op, struct op *parent, void (*done)(struct op *op, void *arg), void *arg);

#endif
