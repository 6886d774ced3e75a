/* SPDX-License-Identifier: MIT */
#ifndef NET_JWT_H
#define NET_JWT_H

#include <stdbool.h>

#include "base/buf.h"
#include "loop/work.h"

/*
 * Signed tokens of claims (RFC 7515, RFC 7519) with RS256: RSASSA-PKCS1-v1_5 over SHA-256, the one form that OAuth issuers
 * take from service accounts and certificates. The same key, header and claims give the same bytes.
 */
#define JWT_PEM_MAX    65536 /* bytes of a PEM text; longer: ERR_CONFIG */
#define JWT_CLAIMS_MAX 16384

struct jwt_key; /* a private RSA key, in locked memory */

/* The first private key of a PEM text, whatever else is there: "PRIVATE KEY" (PKCS #8) or "RSA PRIVATE KEY" (PKCS #1).
 * ERR_CONFIG: there is none, it is encrypted, damaged, or no RSA key of 2048 to 4096 bits. The message holds nothing of it. */
enum err_code jwt_key_new(struct span pem, struct jwt_key **ret, struct err *reterr);
/* The same of a PrivateKeyInfo (PKCS #8) in DER. */
enum err_code jwt_key_of(struct span pkcs8, struct jwt_key **ret, struct err *reterr);
void          jwt_key_free(struct jwt_key *k);
/* Is it the private half of that RSAPublicKey (PKCS #1, DER)? */
bool          jwt_key_is_of(const struct jwt_key *k, struct span public_der);

struct jwt_header {
	const char *kid;      /* NULL: left out, as the others */
	const char *x5t;      /* thumbprint of the certificate, base64url of its SHA-1 */
	const char *x5t_s256; /* and of its SHA-256 */
};

/* Appends the compact form, and keeps no copy. claims: a JSON object. Takes some 10 ms with 2048 bits: not on the loop. */
enum err_code jwt_sign(const struct jwt_key *k, const struct jwt_header *h, struct span claims, struct buf *ret,
    struct err *reterr);
/* The same on the pool: all that is given outlives the op. */
struct op    *jwt_sign_run(struct loop *l, struct work *w, const struct jwt_key *k, const struct jwt_header *h, struct span claims,
    struct buf *ret);

#endif
