/* SPDX-License-Identifier: MIT */
#ifndef SRC_BASE_STATE_ADDRESS_H
#define SRC_BASE_STATE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Addresses as "terraform state list" prints them (docs/protocol/state.md, "Addresses"). Everything is
 * appended to out, whose limit must be STATE_ADDRESS_MAX. Invalid UTF-8 becomes U+FFFD.
 */
#define STATE_ADDRESS_MAX ((size_t)1 << 20)

/* [MODULE.][data.]TYPE.NAME; module is the text of the state, quoted already. */
void state_address_block(struct buf *out, struct span module, bool data, struct span type, struct span name);
/* [N] of count, ["KEY"] of for_each. */
void state_address_index(struct buf *out, int64_t index);
void state_address_key(struct buf *out, struct span key);
/* From a resource key of versions 1 to 3, "[data.]TYPE.NAME[.INDEX]". */
void state_address_v3(struct buf *out, struct span module, struct span entry);

#endif
