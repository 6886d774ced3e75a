/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_AZURERM_H
#define SRC_PROVIDER_AZURERM_H

#include "net/url.h"
#include "provider/azurerm/azurerm_cred.h"
#include "provider/provider.h"

/*
 * The driver of Azure Blob Storage (docs/protocol/azurerm.md). One topic per file: azurerm.c configuration and driver table,
 * azurerm_cred.c what it signs in with, azurerm_request.c one request with what may be repeated, azurerm_list.c, azurerm_blob.c,
 * azurerm_lease.c, azurerm_create.c, azurerm_probe.c.
 *
 * A blob's ETag changes with every lock, for the lock's body is metadata. So the change tag of a state is its Content-MD5; a blob
 * that has none goes by its ETag. Writes compare the tag, and are then made on the ETag that came with it.
 */
#define AZURERM_NAME_MAX 1024
#define AZURERM_META_MAX 12   /* entries of a blob's metadata that we carry over */
#define AZURERM_LOCK     "terraformlockid"

struct azurerm_conf {
	const char    *storage_account_name, *container_name, *key, *blob_endpoint;
	int            environment;
	bool           snapshot;
	struct secret *access_key, *sas_token;
	/* Sign-in by Entra ID, and the key of the account through the management API. */
	const char    *resource_group_name, *subscription_id, *tenant_id, *metadata_host;
	bool           lookup_blob_endpoint, use_azuread_auth;
	const char    *client_id, *client_id_file_path, *client_secret_file_path, *client_certificate_path;
	struct secret *client_secret, *client_certificate, *client_certificate_password;
	bool           use_oidc, use_msi, use_aks_workload_identity, use_cli;
	struct secret *oidc_token, *oidc_request_token;
	const char    *oidc_token_file_path, *oidc_request_url, *ado_pipeline_service_connection_id, *msi_endpoint;
};

enum azurerm_environment { AZURERM_PUBLIC, AZURERM_USGOVERNMENT, AZURERM_CHINA };

struct azurerm {
	struct backend             b;
	const struct provider_env *env;
	const struct azurerm_conf *conf;
	struct azurerm_cred       *cred;
	char                      *endpoint;  /* "https://ACCOUNT.blob.core.windows.net", as the configuration says */
	char                      *key;       /* decoded; NULL: all below the prefix */
	char                      *place;     /* where all names begin */
	bool                       azure;     /* the endpoint is Microsoft's */
};

static inline struct azurerm *
azurerm_of(const struct backend *b)
{
	return container_of((struct backend *)(uintptr_t)b, struct azurerm, b);
}

/* An argument that is written, and not empty. */
static inline bool
azurerm_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

#endif
