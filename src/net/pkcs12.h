/* SPDX-License-Identifier: MIT */
#ifndef SRC_NET_PKCS12_H
#define SRC_NET_PKCS12_H

#include "base/secret.h"

/* What an archive holds, decrypted: the first private key, and all certificates, each as DER. */
#define PKCS12_CERTS 16

struct pkcs12 {
	struct buf key;              /* PrivateKeyInfo */
	struct buf certs[PKCS12_CERTS];
	size_t     ncerts;
};

bool          pkcs12_is(struct span bytes);  /* looks like one: DER of SEQUENCE { 3, ... */
/* ret is to be wiped by pkcs12_wipe() on success. */
enum err_code pkcs12_read(struct span der, const struct secret *password, struct pkcs12 *ret, struct err *reterr);
void          pkcs12_wipe(struct pkcs12 *p);

#endif
