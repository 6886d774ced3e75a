/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_AZURERM_CRED_H
#define SRC_PROVIDER_AZURERM_CRED_H

#include "provider/provider.h"

/* What requests to Azure Storage sign in with: the key of the account, or a shared access signature. */
struct azurerm_conf;
struct azurerm_cred;

/* A request as it is sent, but for what is to be added to it. */
struct azurerm_signing {
	const char               *method, *path; /* path: escaped */
	const char               *query;         /* escaped; NULL: none */
	const struct http_header *headers;       /* x-ms-date and x-ms-version among them */
	size_t                    nheaders;
	uint64_t                  content_length;
};

/* dir: relative paths of the configuration begin there. ERR_CONFIG: there is nothing to sign in with, or too much. */
enum err_code azurerm_cred_new(const struct provider_env *env, const struct azurerm_conf *conf, const char *dir, struct azurerm_cred **ret,
    struct err *reterr);
void          azurerm_cred_free(struct azurerm_cred *c);
/* An op after which the next call gives NULL, or that ends with what stands against it. NULL: all that signing needs is there. */
struct op    *azurerm_cred_ready(struct azurerm_cred *c);
/* Where the account's blobs are, without "/" at its end, once it is known; NULL: where the configuration says. */
const char   *azurerm_cred_endpoint(const struct azurerm_cred *c);
/* Ready. Appends the value of Authorization, and what the query needs, each nothing at all where it is not needed; both are secret. */
void          azurerm_cred_sign(const struct azurerm_cred *c, const struct azurerm_signing *s, struct buf *ret_header,
    struct buf *ret_query);
/* A request was refused for what it was signed with. true: there may be something else after the next azurerm_cred_ready(). */
bool          azurerm_cred_renew(struct azurerm_cred *c);
const char   *azurerm_cred_source(const struct azurerm_cred *c); /* for people */

#endif
