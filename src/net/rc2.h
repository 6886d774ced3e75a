/* SPDX-License-Identifier: MIT */
#ifndef SRC_NET_RC2_H
#define SRC_NET_RC2_H

#include "base/buf.h"

/*
 * RC2 (RFC 2268) in CBC mode with the padding of PKCS #7, only to open what archives of certificates hold that OpenSSL 1 and others
 * wrote: mbedTLS does not have it, nothing is ever encrypted with it here. key: 5 or 16 bytes, as many as its effective bits.
 * Appends at most sealed.n bytes; ERR_CORRUPT: another key, or damaged.
 */
#define RC2_BLOCK 8

enum err_code rc2_cbc_open(struct span key, const uint8_t iv[RC2_BLOCK], struct span sealed, struct buf *ret, struct err *reterr);

#endif
