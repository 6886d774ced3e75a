/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_RUN_OP_H
#define TESTS_LIB_RUN_OP_H

#include "loop/op.h"

/* Runs op to its end and frees it; its outcome. The test fails when that takes more than ms of the loop's time. */
struct err run_op(struct loop *l, struct op *op, int64_t ms);

#endif
