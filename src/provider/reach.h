/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_REACH_H
#define PROVIDER_REACH_H

#include "provider/provider.h"

/* Whose lock is tried. Never listed as a state; always the same, so that a later probe meets a lock left behind. */
#define REACH_SCRATCH ".stateferry-probe"

/* One check of a probe, whose detail is made here. */
void probe_say(probe_fn *seen, void *arg, const char *check, bool ok, bool useless, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* The probe of a provider that has none of its own: provider_reach(), what it says of preconditions, and its lock. locks NULL: that of
 * a state is left alone. */
struct op *reach_probe(struct backend *b, struct probe_locks *locks, probe_fn *seen, void *arg);

#endif
