/* SPDX-License-Identifier: MIT */
#ifndef BASE_CRYPT_H
#define BASE_CRYPT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rand.h"

/*
 * AES-256-GCM (NIST SP 800-38D) through PSA: nonce ‖ ciphertext ‖ tag, a fresh
 * random 96-bit nonce for each message. Thread safe after crypto_init(), but
 * with mbedTLS before 3.6 one message at a time: what the loop thread shares
 * a key store with stays at 1 MB a message (4 ms).
 */
#define CRYPT_KEY_LEN  32
#define CRYPT_OVERHEAD (12 + 16)

struct crypt_key; /* in locked memory that is left out of core files */

struct crypt_key *crypt_key_new(const uint8_t key[CRYPT_KEY_LEN]);
void              crypt_key_free(struct crypt_key *k);
/* 32 bytes as 64 hex digits or base64, blanks around allowed; wipes nothing of text. */
enum err_code     crypt_key_parse(struct span text, uint8_t ret[CRYPT_KEY_LEN], struct err *reterr);
/* Appends CRYPT_OVERHEAD + plain.n bytes to ret. */
enum err_code     crypt_seal(const struct crypt_key *k, struct rand *r, struct span aad, struct span plain,
    struct buf *ret, struct err *reterr);
/* ERR_CORRUPT when the tag does not fit; ret has not changed then. */
enum err_code     crypt_open(const struct crypt_key *k, struct span aad, struct span sealed, struct buf *ret,
    struct err *reterr);
/* HMAC-SHA-256 under a key derived from k for the purpose named by label. */
void              crypt_mac(const struct crypt_key *k, const char *label, struct span data, uint8_t ret[32]);

/*
 * AES or triple DES in CBC mode with the padding of PKCS #7: only to read what others made, and nothing vouches for the result. key: 16,
 * 24 or 32 bytes, 24 for triple DES; iv: one block. Appends at most sealed.n bytes. ERR_CORRUPT: another key, or damaged;
 * ERR_UNSUPPORTED: the library was built without it.
 */
enum crypt_cbc { CRYPT_CBC_AES, CRYPT_CBC_3DES };
enum err_code     crypt_cbc_open(enum crypt_cbc how, struct span key, struct span iv, struct span sealed, struct buf *ret,
    struct err *reterr);

/*
 * Signatures by a private RSA key: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017). One takes some 10 ms, and with mbedTLS before 3.6
 * what is above waits for it: a few an hour, on the pool.
 */
#define CRYPT_RSA_MIN_BITS 2048
#define CRYPT_RSA_MAX_BITS 4096
#define CRYPT_RSA_MAX      (CRYPT_RSA_MAX_BITS / 8) /* bytes of a signature */

struct crypt_rsa; /* in locked memory, as the other */

/* der: RSAPrivateKey of PKCS #1, copied. ERR_CONFIG: it is none, or too short or long. */
enum err_code     crypt_rsa_new(struct span der, struct crypt_rsa **ret, struct err *reterr);
void              crypt_rsa_free(struct crypt_rsa *k);
struct span       crypt_rsa_der(const struct crypt_rsa *k); /* as it was given: a secret */
enum err_code     crypt_rsa_sign(const struct crypt_rsa *k, const uint8_t sha256[32], uint8_t ret[CRYPT_RSA_MAX], size_t *ret_n,
    struct err *reterr);

#endif
