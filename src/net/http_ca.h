/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_CA_H
#define NET_HTTP_CA_H

/*
 * Where the system keeps the certificates it trusts. A folder of hashed names is preferred to a bundle: libcurl
 * reads the whole bundle at the first connection (some 25 ms on the loop for 144 certificates), of a
 * folder only the one it needs (docs/protocol/http-client.md).
 */
struct http_ca {
	char *file, *dir; /* one of them, or none: nothing was found */
};

/* CURL_CA_BUNDLE, SSL_CERT_FILE, SSL_CERT_DIR, else the first bundle of the known places, or its folder if that
 * holds as much. Blocks: at start-up only. */
void http_ca_find(struct http_ca *ret);
/* A bundle and a folder that may stand for it. */
void http_ca_choose(const char *bundle, const char *dir, struct http_ca *ret);
void http_ca_free(struct http_ca *ca);

#endif
