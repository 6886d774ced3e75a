/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_REACH_H
#define PROVIDER_REACH_H

#include "provider/provider.h"

/* The probe of a provider that has none of its own: provider_reach(), what it says of preconditions, and its lock. locks NULL: that of
 * a state is left alone. */
struct op *reach_probe(struct backend *b, struct probe_locks *locks, probe_fn *seen, void *arg);

#endif
