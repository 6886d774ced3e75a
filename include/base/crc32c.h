/* SPDX-License-Identifier: MIT */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli), as RFC 3720 section 12.1 has it: against faults of transfer and storage, not against people. Begins with 0;
 * pieces may be added one after the other. */
uint32_t crc32c_add(uint32_t crc, const void *p, size_t n);

#endif
