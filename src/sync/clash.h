/* SPDX-License-Identifier: MIT */
#ifndef SYNC_CLASH_H
#define SYNC_CLASH_H

#include "sync/plan.h"

/* Does the edge contradict itself or one before it? ERR_CONFIG with its position. Every edge of the plan is there, and its lanes
 * are numbered. */
enum err_code clash_check(const struct plan *p, const struct edge *e, struct err *reterr);

#endif
