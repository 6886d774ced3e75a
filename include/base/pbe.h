/* SPDX-License-Identifier: MIT */
#ifndef BASE_PBE_H
#define BASE_PBE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Keys from passwords, as files with private keys want them: PBKDF2 (RFC 8018, 5.2) and the older way of PKCS #12 (RFC 7292,
 * appendix B), over SHA-1 or the SHA-2 that files use. Only to read what others made. crypto_init() comes first; any thread.
 */
enum pbe_hash { PBE_SHA1, PBE_SHA256, PBE_SHA512 };
#define PBE_HASH_MAX 64

size_t pbe_hash_len(enum pbe_hash h);
void   pbe_hmac(enum pbe_hash h, struct span key, struct span data, uint8_t ret[PBE_HASH_MAX]);
/* n bytes; iterations at least 1. */
void   pbe_pbkdf2(enum pbe_hash h, struct span password, struct span salt, uint32_t iterations, uint8_t *ret, size_t n);
/* id: what for, 1 a key, 2 an initial vector, 3 a MAC. password: UTF-16, big-endian, with its NUL. */
void   pbe_pkcs12(enum pbe_hash h, uint8_t id, struct span password, struct span salt, uint32_t iterations, uint8_t *ret, size_t n);

#endif
