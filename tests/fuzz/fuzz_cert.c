/* SPDX-License-Identifier: MIT */
/* Certificates with their key, PEM and PKCS #12: any bytes, under the password that the corpus has, or none. */
#include <string.h>

#include "../lib/fuzz.h"
#include "base/digest.h"
#include "net/cert.h"

#define PASSWORD "CANARY-pfx-\xc3\xbc"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct secret *password;
	struct cert   *c = NULL;
	struct err     e = { .msg = "" };

	if (crypto_init(&e) != ERR_OK)
		abort();
	password = n % 2 == 0 ? NULL : secret_new(span_str(PASSWORD));
	if (cert_new(span_of(data, n), password, &c, &e) == ERR_OK) {
		FUZZ_CHECK(strlen(cert_x5t(c)) == 27 && strlen(cert_x5t_s256(c)) == 43);
		FUZZ_CHECK(cert_key(c) != NULL);
	} else {
		FUZZ_CHECK(e.code == ERR_CONFIG && e.msg[0] != '\0' && c == NULL);
		FUZZ_CHECK(strstr(e.msg, "CANARY") == NULL);
	}
	cert_free(c);
	secret_free(password);
	return 0;
}
