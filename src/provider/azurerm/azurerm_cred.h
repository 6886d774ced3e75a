/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_AZURERM_CRED_H
#define SRC_PROVIDER_AZURERM_CRED_H

#include "provider/provider.h"

/*
 * What requests to Azure Storage sign in with (docs/protocol/azurerm.md, "Sign-in"): the key of the account, a shared access
 * signature, or a token of Entra ID. What is fetched is kept and renewed as token.h says.
 */
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
void          azurerm_cred_free(struct azurerm_cred *c); /* nobody may wait */
/* An op that ends OK when all that signing needs is there, else with what stands against it. NULL: it always is. */
struct op    *azurerm_cred_ready(struct azurerm_cred *c);
/* After that, until the next turn of the loop, as what follows. */
/* Where the account's blobs are, without "/" at its end; NULL: where the configuration says. */
const char   *azurerm_cred_endpoint(const struct azurerm_cred *c);
/* Appends the value of Authorization, and what the query needs, each nothing at all where it is not needed; both are secret. */
void          azurerm_cred_sign(const struct azurerm_cred *c, const struct azurerm_signing *s, struct buf *ret_header,
    struct buf *ret_query);
unsigned      azurerm_cred_generation(const struct azurerm_cred *c);
/* A request was refused for what it was signed with, which is of that generation. true: there may be something else after the next
 * azurerm_cred_ready(). */
bool          azurerm_cred_renew(struct azurerm_cred *c, unsigned generation);
const char   *azurerm_cred_source(const struct azurerm_cred *c); /* for people */

#endif
