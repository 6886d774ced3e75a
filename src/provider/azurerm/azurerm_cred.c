/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "azurerm.h"
#include "base/encode.h"
#include "net/sharedkey.h"

/* The two credentials that need no issuer, in terraform's order: the account's key, then a shared access signature. */
#define AZURERM_KEY_MAX 1024

struct azurerm_cred {
	const struct provider_env *env;
	const struct azurerm_conf *conf;
	struct buf                 key;  /* decoded; empty: sas */
	const char                *sas;  /* the configuration's, without "?" */
};

static bool
azurerm_cred_given(const struct secret *s)
{
	return s != NULL && secret_len(s) > 0;
}

void
azurerm_cred_free(struct azurerm_cred *c)
{
	if (c == NULL)
		return;
	buf_wipe_free(&c->key);
	free(c);
}

static enum err_code
azurerm_cred_take(struct azurerm_cred *c, struct err *reterr)
{
	const struct azurerm_conf *conf = c->conf;

	if (azurerm_cred_given(conf->access_key)) {
		if (!base64_decode(span_str(secret_str(conf->access_key)), &c->key) || c->key.len == 0)
			return err_set(reterr, ERR_CONFIG, 0, "access_key: expected the account's key, in base64");
		return ERR_OK;
	}
	if (azurerm_cred_given(conf->sas_token)) {
		c->sas = secret_str(conf->sas_token);
		c->sas += c->sas[0] == '?';
		if (strstr(c->sas, "sig=") == NULL || c->sas[strcspn(c->sas, " #\r\n")] != '\0')
			return err_set(reterr, ERR_CONFIG, 0, "sas_token: expected a shared access signature, such as \"sv=...&sig=...\"");
		return ERR_OK;
	}
	err_set(reterr, ERR_CONFIG, 0, "expected the argument \"access_key\" or \"sas_token\", or the environment variable ARM_ACCESS_KEY or "
	    "ARM_SAS_TOKEN");
	return err_hint(reterr, "other ways to sign in need a later version; \"az storage account keys list\" prints the keys");
}

enum err_code
azurerm_cred_new(const struct provider_env *env, const struct azurerm_conf *conf, const char *dir, struct azurerm_cred **ret,
    struct err *reterr)
{
	struct azurerm_cred *c = xcalloc(1, sizeof(*c));

	(void)dir;
	c->env = env;
	c->conf = conf;
	buf_init(&c->key, AZURERM_KEY_MAX);
	buf_reserve(&c->key, AZURERM_KEY_MAX, NULL);
	if (azurerm_cred_take(c, reterr) != ERR_OK) {
		azurerm_cred_free(c);
		return reterr->code;
	}
	*ret = c;
	return ERR_OK;
}

struct op *
azurerm_cred_ready(struct azurerm_cred *c)
{
	(void)c;
	return NULL;
}

const char *
azurerm_cred_endpoint(const struct azurerm_cred *c)
{
	(void)c;
	return NULL;
}

void
azurerm_cred_sign(const struct azurerm_cred *c, const struct azurerm_signing *s, struct buf *ret_header, struct buf *ret_query)
{
	if (c->sas != NULL)
		buf_puts(ret_query, c->sas);
	else
		sharedkey_sign(c->conf->storage_account_name, buf_span(&c->key), &(struct sharedkey_request){ .method = s->method,
		    .path = s->path, .query = s->query, .headers = s->headers, .nheaders = s->nheaders, .content_length = s->content_length },
		    ret_header);
}

bool
azurerm_cred_renew(struct azurerm_cred *c)
{
	(void)c;
	return false;
}

const char *
azurerm_cred_source(const struct azurerm_cred *c)
{
	return c->sas != NULL ? "sas_token" : "access_key";
}
