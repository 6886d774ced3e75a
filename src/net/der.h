/* SPDX-License-Identifier: MIT */
#ifndef SRC_NET_DER_H
#define SRC_NET_DER_H

#include "base/buf.h"

/* What keys and certificates come in: DER (X.690) with definite lengths, and PEM around it (RFC 7468). Spans point into the input. */
enum {
	DER_INTEGER = 0x02, DER_BITS = 0x03, DER_OCTETS = 0x04, DER_OID = 0x06, DER_SEQUENCE = 0x30, DER_SET = 0x31,
	DER_CONTEXT_0 = 0xa0,            /* [0] with elements in it */
	DER_CONTEXT_0_BYTES = 0x80,      /* [0] of bytes */
};

/* Takes one element of that tag from the front of *in; false: there is none, *in is unchanged. */
bool der_take(struct span *in, uint8_t tag, struct span *ret);
/* Whatever it is. */
bool der_skip(struct span *in);
/* A number of at most 31 bits. */
bool der_take_small(struct span *in, uint32_t *ret);

/* Of the PEM texts that are read whole. */
#define PEM_MAX 65536

/* The next block from *pem on: its label and what stands between its lines. */
bool pem_next(struct span *pem, struct span *label, struct span *text);
/* Base64 with blanks and line ends anywhere; ret: buf_init(PEM_MAX), wiped by the caller. */
bool pem_decode(struct span text, struct buf *ret);

#endif
