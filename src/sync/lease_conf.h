/* SPDX-License-Identifier: MIT */
#ifndef SRC_SYNC_LEASE_CONF_H
#define SRC_SYNC_LEASE_CONF_H

#include "sync/plan.h"

/* e->lease from the block, whose lanes are known by now; e->lease.records is closed by whoever frees e. */
enum err_code lease_conf_read(struct conf *conf, const struct provider_env *env, struct edge *e, struct conf_block *b, struct err *reterr);

#endif
