/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_AZURERM_SIGNIN_H
#define SRC_PROVIDER_AZURERM_SIGNIN_H

#include "provider/bearer.h"

/*
 * Sign-in by Entra ID (docs/protocol/azurerm.md, "Sign-in"): who we are, where the cloud's issuer is, and the requests that get
 * tokens from it, and the account's key from the management API. azurerm_cred.c puts them together and keeps what comes of it.
 */
struct azurerm_conf;

/* --- azurerm_identity.c: who we are, and how that is shown --------------------------------------------------------------- */

enum azurerm_method {
	AZURERM_NOBODY,      /* nothing of this is configured */
	AZURERM_CERTIFICATE, /* of an application */
	AZURERM_SECRET,
	AZURERM_TOKEN,       /* of another issuer, which Entra ID trusts; fixed, or in a file that is renewed */
	AZURERM_DEVOPS,      /* the same, asked for at Azure DevOps, */
	AZURERM_GITHUB,      /* or GitHub */
	AZURERM_MSI,         /* a managed identity */
	AZURERM_CLI,         /* whoever logged in to the az command */
};

/* All copies: what is under way may outlive the configuration. Files are read when they are needed. */
struct azurerm_identity {
	enum azurerm_method method;
	char          *tenant_id, *client_id, *client_id_file; /* NULL: not given, as all others */
	struct secret *proof;             /* CERTIFICATE: in base64; SECRET, TOKEN */
	char          *proof_file;        /* if proof is given too, both say the same */
	struct secret *password;          /* CERTIFICATE */
	char          *url;               /* DEVOPS, GITHUB: of a token; MSI */
	struct secret *url_token;         /* DEVOPS, GITHUB: Authorization; MSI: X-IDENTITY-HEADER */
	char          *connection;        /* DEVOPS */
	bool           app_service;       /* MSI: that of App Service and Functions */
};

/* In terraform's order. dir: where relative paths begin. ERR_CONFIG: something is missing, or contradicts the environment. */
enum err_code azurerm_identity_init(struct azurerm_identity *ret, const struct provider_env *env, const struct azurerm_conf *conf,
    const char *dir, struct err *reterr);
void          azurerm_identity_clear(struct azurerm_identity *i);
const char   *azurerm_method_name(enum azurerm_method m); /* for people */

/* --- azurerm_cloud.c: where the issuer, the management API and the accounts are ------------------------------------------ */

struct azurerm_cloud {
	char *login, *arm;       /* "https://login.microsoftonline.com", "https://management.azure.com": no "/" at the end */
	char *suffix;            /* of accounts: "core.windows.net" */
};

void          azurerm_cloud_init(struct azurerm_cloud *ret, int environment); /* enum azurerm_environment */
void          azurerm_cloud_clear(struct azurerm_cloud *c);
/* What the metadata service at host says; all outlives the op. */
struct op    *azurerm_cloud_ask(const struct provider_env *env, const char *host, struct azurerm_cloud *ret);
enum err_code azurerm_cloud_parse(struct span json, struct azurerm_cloud *ret, struct err *reterr);

/* --- tokens: everything given outlives the op ----------------------------------------------------------------------------- */

#define AZURERM_STORAGE_RESOURCE "https://storage.azure.com" /* in every cloud */

/* resource: what the token is for; login: azurerm_cloud.login. */
struct op    *azurerm_token(const struct provider_env *env, const struct azurerm_identity *i, const char *login, const char *resource,
    struct bearer *ret);
struct op    *azurerm_entra_token(const struct provider_env *env, const struct azurerm_identity *i, const char *login,
    const char *resource, struct bearer *ret);                                                     /* azurerm_entra.c */
struct op    *azurerm_msi_token(const struct provider_env *env, const struct azurerm_identity *i, const char *resource,
    struct bearer *ret);                                                                           /* azurerm_msi.c */
struct op    *azurerm_cli_token(const struct provider_env *env, const struct azurerm_identity *i, const char *resource,
    struct bearer *ret);                                                                           /* azurerm_cli.c */
/* Base64 as terraform takes it: line ends count nothing. ret: bounded, reserved, and wiped by the caller. */
bool          azurerm_base64(struct span text, struct buf *ret);
/* The text of a small file without blanks around it; blocks. what: the argument that names it. */
enum err_code azurerm_file(const struct provider_env *env, const char *what, const char *path, struct secret **ret, struct err *reterr);

/* --- azurerm_arm.c: the account in the management API -------------------------------------------------------------------- */

struct azurerm_account {
	char          *subscription, *group, *name;
	bool           wants_key;
	/* What it answers: */
	char          *endpoint;      /* of blobs, without "/" at the end */
	struct secret *key;           /* decoded */
};

void          azurerm_account_clear(struct azurerm_account *a);
/* arm: azurerm_cloud.arm. token is for it. All outlives the op. */
struct op    *azurerm_account_ask(const struct provider_env *env, const char *arm, const struct secret *token, struct azurerm_account *a);
enum err_code azurerm_keys_parse(struct span json, struct secret **ret, struct err *reterr);

#endif
