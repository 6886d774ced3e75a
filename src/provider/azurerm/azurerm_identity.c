/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "azurerm.h"
#include "azurerm_signin.h"
#include "base/encode.h"
#include "provider/outside.h"

/* Which of the ways to sign in is meant: the first of terraform's order that is given in full. */
#define MSI_URL "http://169.254.169.254/metadata/identity/oauth2/token"

const char *
azurerm_method_name(enum azurerm_method m)
{
	static const char *const names[] = { "nothing", "client_certificate", "client_secret", "oidc_token",
		"ado_pipeline_service_connection_id", "oidc_request_url", "use_msi", "use_cli" };

	return names[m];
}

void
azurerm_identity_clear(struct azurerm_identity *i)
{
	free(i->tenant_id);
	free(i->client_id);
	free(i->client_id_file);
	secret_free(i->proof);
	free(i->proof_file);
	secret_free(i->password);
	free(i->url);
	secret_free(i->url_token);
	free(i->connection);
	memset(i, 0, sizeof(*i));
}

static bool
azurerm_secret_given(const struct secret *s)
{
	return s != NULL && secret_len(s) > 0;
}

static struct secret *
azurerm_secret_copy(const struct secret *s)
{
	return azurerm_secret_given(s) ? secret_new(span_of(secret_str(s), secret_len(s))) : NULL;
}

bool
azurerm_base64(struct span text, struct buf *ret)
{
	struct buf digits;
	bool       ok;

	buf_init(&digits, 0);
	buf_reserve(&digits, text.n, NULL);
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] != '\r' && text.p[i] != '\n')
			buf_putc(&digits, (char)text.p[i]);
	ok = digits.len > 0 && base64_decode(buf_span(&digits), ret);
	buf_wipe_free(&digits);
	return ok;
}

/* Without blanks around it, which are none of an id. */
static char *
azurerm_trimmed(const char *text)
{
	size_t n;

	if (!azurerm_given(text))
		return NULL;
	text += strspn(text, " \t\r\n");
	for (n = strlen(text); n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL; n--)
		continue;
	return n > 0 ? xstrndup(text, n) : NULL;
}

/* --- ids ------------------------------------------------------------------------------------------------------------------ */

/* What the webhook of AKS put into the environment of a pod counts, and must not be contradicted. */
static enum err_code
azurerm_id_of_aks(const struct provider_env *env, const char *what, const char *variable, char **id, struct err *reterr)
{
	const char *text = outside_env(env, variable);

	if (text == NULL)
		return ERR_OK;
	if (*id != NULL && strcmp(*id, text) != 0) {
		err_set(reterr, ERR_CONFIG, 0, "%s and %s, which AKS sets, differ", what, variable);
		return err_hint(reterr, "remove %s, or set use_aks_workload_identity = false", what);
	}
	free(*id);
	*id = xstrdup(text);
	return ERR_OK;
}

static enum err_code
azurerm_ids(struct azurerm_identity *i, const struct provider_env *env, const struct azurerm_conf *conf, const char *dir,
    struct err *reterr)
{
	i->tenant_id = azurerm_trimmed(conf->tenant_id);
	i->client_id = azurerm_trimmed(conf->client_id);
	if (azurerm_given(conf->client_id_file_path))
		i->client_id_file = outside_path(env, dir, conf->client_id_file_path);
	if (!conf->use_aks_workload_identity)
		return ERR_OK;
	if (azurerm_id_of_aks(env, "client_id", "AZURE_CLIENT_ID", &i->client_id, reterr) != ERR_OK)
		return ERR_CONFIG;
	return azurerm_id_of_aks(env, "tenant_id", "AZURE_TENANT_ID", &i->tenant_id, reterr);
}

/* --- ways ----------------------------------------------------------------------------------------------------------------- */

static void
azurerm_prove(struct azurerm_identity *i, enum azurerm_method method, const struct provider_env *env, const char *dir,
    const struct secret *proof, const char *file)
{
	i->method = method;
	i->proof = azurerm_secret_copy(proof);
	if (azurerm_given(file))
		i->proof_file = outside_path(env, dir, file);
}

/* The tokens of other issuers. false: none is given. */
static bool
azurerm_federated(struct azurerm_identity *i, const struct provider_env *env, const struct azurerm_conf *conf, const char *dir)
{
	const char *file = conf->oidc_token_file_path;

	if (!conf->use_oidc && !conf->use_aks_workload_identity)
		return false;
	if (conf->use_aks_workload_identity && !azurerm_given(file))
		file = outside_env(env, "AZURE_FEDERATED_TOKEN_FILE");
	if (azurerm_secret_given(conf->oidc_token) || azurerm_given(file)) {
		azurerm_prove(i, AZURERM_TOKEN, env, dir, conf->oidc_token, file);
		return true;
	}
	if (!azurerm_given(conf->oidc_request_url) || !azurerm_secret_given(conf->oidc_request_token))
		return false;
	i->method = azurerm_given(conf->ado_pipeline_service_connection_id) ? AZURERM_DEVOPS : AZURERM_GITHUB;
	i->url = xstrdup(conf->oidc_request_url);
	i->url_token = azurerm_secret_copy(conf->oidc_request_token);
	i->connection = xstrdup(conf->ado_pipeline_service_connection_id);
	return true;
}

/* An application proves itself: by certificate, secret, or another issuer's token. false: none of them is given. */
static bool
azurerm_application(struct azurerm_identity *i, const struct provider_env *env, const struct azurerm_conf *conf, const char *dir)
{
	if (azurerm_secret_given(conf->client_certificate) || azurerm_given(conf->client_certificate_path)) {
		azurerm_prove(i, AZURERM_CERTIFICATE, env, dir, conf->client_certificate,
		    azurerm_secret_given(conf->client_certificate) ? NULL : conf->client_certificate_path);
		i->password = azurerm_secret_copy(conf->client_certificate_password);
		return true;
	}
	if (azurerm_secret_given(conf->client_secret) || azurerm_given(conf->client_secret_file_path)) {
		azurerm_prove(i, AZURERM_SECRET, env, dir, conf->client_secret, conf->client_secret_file_path);
		return true;
	}
	return azurerm_federated(i, env, conf, dir);
}

static void
azurerm_managed(struct azurerm_identity *i, const struct provider_env *env, const struct azurerm_conf *conf)
{
	const char *endpoint = outside_env(env, "IDENTITY_ENDPOINT"), *header = outside_env(env, "IDENTITY_HEADER");
	const char *own = azurerm_given(conf->msi_endpoint) ? conf->msi_endpoint : conf->endpoint;

	i->method = AZURERM_MSI;
	i->app_service = !azurerm_given(own) && endpoint != NULL && header != NULL;
	if (i->app_service)
		i->url_token = secret_new(span_str(header));
	i->url = xstrdup(azurerm_given(own) ? own : i->app_service ? endpoint : MSI_URL);
}

enum err_code
azurerm_identity_init(struct azurerm_identity *ret, const struct provider_env *env, const struct azurerm_conf *conf, const char *dir,
    struct err *reterr)
{
	bool ids;

	memset(ret, 0, sizeof(*ret));
	if (azurerm_ids(ret, env, conf, dir, reterr) != ERR_OK) {
		azurerm_identity_clear(ret);
		return ERR_CONFIG;
	}
	ids = ret->tenant_id != NULL && (ret->client_id != NULL || ret->client_id_file != NULL);
	if (azurerm_application(ret, env, conf, dir) && ids)
		return ERR_OK;
	if (ret->method != AZURERM_NOBODY && !conf->use_msi) {
		err_set(reterr, ERR_CONFIG, 0, "%s without %s", azurerm_method_name(ret->method), ret->tenant_id == NULL ?
		    "tenant_id (ARM_TENANT_ID)" : "client_id (ARM_CLIENT_ID)");
		azurerm_identity_clear(ret);
		return ERR_CONFIG;
	}
	if (conf->use_msi)
		azurerm_managed(ret, env, conf);
	else if (conf->use_cli)
		ret->method = AZURERM_CLI;
	return ERR_OK;
}

struct op *
azurerm_token(const struct provider_env *env, const struct azurerm_identity *i, const char *login, const char *resource,
    struct bearer *ret)
{
	if (i->method == AZURERM_MSI)
		return azurerm_msi_token(env, i, resource, ret);
	if (i->method == AZURERM_CLI)
		return azurerm_cli_token(env, i, resource, ret);
	return azurerm_entra_token(env, i, login, resource, ret);
}
