/* SPDX-License-Identifier: MIT */
#ifndef NET_CERT_H
#define NET_CERT_H

#include <stdbool.h>

#include "base/secret.h"
#include "net/jwt.h"

/*
 * A certificate with its private key, as somebody signs in with them: PEM with both in it, or a PKCS #12 archive (PFX; RFC 7292).
 * Archives: DER, under a password, with the algorithms that openssl 3 and Windows write today (PBES2 with AES) or that both wrote
 * before (triple DES, RC2). Others are refused with the command that turns them into PEM.
 */
#define CERT_MAX            65536   /* bytes of it; longer: ERR_CONFIG */
#define CERT_ITERATIONS_MAX 1000000 /* of the hash of the password */

struct cert;

/* bytes: copied where needed. password NULL: none. Takes up to some seconds: not on the loop. ERR_CONFIG says what is wrong, with
 * nothing of it; a wrong password is told from damage where the archive has a MAC. */
enum err_code         cert_new(struct span bytes, const struct secret *password, struct cert **ret, struct err *reterr);
void                  cert_free(struct cert *c);
const struct jwt_key *cert_key(const struct cert *c);
const char           *cert_x5t(const struct cert *c);      /* thumbprints as struct jwt_header has them */
const char           *cert_x5t_s256(const struct cert *c);

#endif
