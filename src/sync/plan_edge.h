/* SPDX-License-Identifier: MIT */
#ifndef SRC_SYNC_PLAN_EDGE_H
#define SRC_SYNC_PLAN_EDGE_H

#include "sync/plan.h"

/* One more edge, of that block; its backends are open. */
enum err_code plan_add_edge(struct plan *p, const struct provider_env *env, struct conf_block *b, enum edge_kind kind, struct err *reterr);

/* A label in the one form that names have there; it lives as long as the configuration. */
const char *plan_label(const struct plan *p, const struct backend *b, const char *label);

#endif
