/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_ALIAS_H
#define SRC_PROVIDER_ALIAS_H

#include "base/map.h"
#include "provider/provider.h"

void aliases_free(struct map *m);                                   /* NULL: no-op */
void aliases_copy(struct backend *to, const struct backend *from);  /* what `to` does not know itself */

#endif
