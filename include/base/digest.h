/* SPDX-License-Identifier: MIT */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * SHA-256 as the identity of bytes (FIPS 180-4), HMAC-SHA-256 (RFC 2104), and
 * MD5 where a protocol demands it (RFC 1864 Content-MD5). Through PSA; SHA-256
 * from libcrypto when built with DIGEST=openssl. crypto_init() comes first.
 */
#define DIGEST_LEN 32
#define DIGEST_HEX (2 * DIGEST_LEN + 1)
#define MD5_LEN    16
#define SHA1_LEN   20

struct digest {
	uint8_t b[DIGEST_LEN];
};

struct sha256;

/* Once per process, before anything here or in crypt.h; ERR_IO when the library refuses. */
enum err_code  crypto_init(struct err *reterr);

struct sha256 *sha256_new(void);
void           sha256_free(struct sha256 *h);
void           sha256_add(struct sha256 *h, const void *p, size_t n);
/* The digest of everything added so far; more may be added afterwards. */
void           sha256_peek(const struct sha256 *h, struct digest *ret);
void           sha256_of(const void *p, size_t n, struct digest *ret);

void           hmac_sha256(struct span key, struct span data, uint8_t ret[DIGEST_LEN]);
void           md5_of(const void *p, size_t n, uint8_t ret[MD5_LEN]);
void           sha1_of(const void *p, size_t n, uint8_t ret[SHA1_LEN]); /* names of files that others give so */
/* Several pieces as one message. */
struct md5;
struct md5    *md5_new(void);
void           md5_add(struct md5 *h, const void *p, size_t n);
void           md5_end(struct md5 *h, uint8_t ret[MD5_LEN]); /* frees h */

bool           digest_eq(const struct digest *a, const struct digest *b);
bool           digest_is_zero(const struct digest *d);
char          *digest_hex(const struct digest *d, char ret[DIGEST_HEX]); /* lower case; returns ret */
/* Exactly 64 hex digits of either case. */
bool           digest_parse(const char *hex, struct digest *ret);

#endif
