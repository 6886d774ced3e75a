/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_FAULT_H
#define PROVIDER_FAULT_H

#include "provider/provider.h"

/*
 * A backend around another one that fails its n-th call, before the call has an effect or after it: what callers do then is
 * tried against any provider. Capabilities, names and configuration are those of the inner one.
 */
struct backend *fault_new(struct backend *inner_owned);
/* Call n, counted from 1 over the life of f, ends with code. after: it has happened all the same. One fault at a time. */
void            fault_at(struct backend *f, unsigned n, enum err_code code, bool after);
unsigned        fault_calls(const struct backend *f);

#endif
