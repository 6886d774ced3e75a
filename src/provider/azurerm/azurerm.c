/* SPDX-License-Identifier: MIT */
#include "azurerm.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/name.h"

/* The driver: terraform's arguments, what follows from them, and the table of calls. */
#define AZURERM_ACCOUNT_MIN   3
#define AZURERM_ACCOUNT_MAX   24
#define AZURERM_CONTAINER_MIN 3
#define AZURERM_CONTAINER_MAX 63
#define AZURERM_STATE         ".tfstate"
#define AZURERM_WORKSPACE     "env:"      /* between a key and the name of a workspace */

static const char *const azurerm_environments[] = { "public", "usgovernment", "china", NULL };
static const char *const azurerm_suffixes[] = { "core.windows.net", "core.usgovcloudapi.net", "core.chinacloudapi.cn" };

#define AT(member) offsetof(struct azurerm_conf, member)

static const struct conf_field azurerm_fields[] = {
	{ .name = "storage_account_name", .type = CONF_STR, .offset = AT(storage_account_name), .required = true, .help = "the account" },
	{ .name = "container_name", .type = CONF_STR, .offset = AT(container_name), .required = true, .help = "the container" },
	{ .name = "key", .type = CONF_STR, .offset = AT(key),
	    .help = "one state and its workspaces, as terraform names them; without it every *.tfstate below prefix" },
	{ .name = "access_key", .type = CONF_SECRET, .offset = AT(access_key), .env = "ARM_ACCESS_KEY",
	    .help = "a key of the account; better env() or file()" },
	{ .name = "sas_token", .type = CONF_SECRET, .offset = AT(sas_token), .env = "ARM_SAS_TOKEN",
	    .help = "a shared access signature for the container or the account" },
	{ .name = "snapshot", .type = CONF_BOOL, .offset = AT(snapshot), .def = "false", .env = "ARM_SNAPSHOT",
	    .help = "snapshot the blob of a state before each write" },
	{ .name = "environment", .type = CONF_ENUM, .offset = AT(environment), .def = "public", .env = "ARM_ENVIRONMENT",
	    .choices = azurerm_environments, .help = "which cloud" },
	{ .name = "blob_endpoint", .type = CONF_STR, .offset = AT(blob_endpoint),
	    .help = "where the account's blobs are, if not where the environment says: the URL that goes before /CONTAINER" },
	{ .name = "resource_group_name", .type = CONF_STR, .offset = AT(resource_group_name),
	    .help = "of the account: its key is looked up there, if nothing else signs" },
	{ .name = "subscription_id", .type = CONF_STR, .offset = AT(subscription_id), .env = "ARM_SUBSCRIPTION_ID",
	    .help = "of the account" },
	{ .name = "lookup_blob_endpoint", .type = CONF_BOOL, .offset = AT(lookup_blob_endpoint), .def = "false",
	    .env = "ARM_USE_DNS_ZONE_ENDPOINT", .help = "ask the management API where the account's blobs are" },
	{ .name = "metadata_host", .type = CONF_STR, .offset = AT(metadata_host), .env = "ARM_METADATA_HOSTNAME ARM_METADATA_HOST",
	    .help = "a cloud of its own: the host that describes it" },
	{ .name = "use_azuread_auth", .type = CONF_BOOL, .offset = AT(use_azuread_auth), .def = "false", .env = "ARM_USE_AZUREAD",
	    .help = "sign by a token of Entra ID" },
	{ .name = "tenant_id", .type = CONF_STR, .offset = AT(tenant_id), .env = "ARM_TENANT_ID", .help = "whose applications sign in" },
	{ .name = "client_id", .type = CONF_STR, .offset = AT(client_id), .env = "ARM_CLIENT_ID",
	    .help = "the application, or a managed identity of its own" },
	{ .name = "client_id_file_path", .type = CONF_STR, .offset = AT(client_id_file_path), .env = "ARM_CLIENT_ID_FILE_PATH",
	    .help = "the same from a file" },
	{ .name = "client_secret", .type = CONF_SECRET, .offset = AT(client_secret), .env = "ARM_CLIENT_SECRET",
	    .help = "of the application" },
	{ .name = "client_secret_file_path", .type = CONF_STR, .offset = AT(client_secret_file_path),
	    .env = "ARM_CLIENT_SECRET_FILE_PATH", .help = "the same from a file" },
	{ .name = "client_certificate", .type = CONF_SECRET, .offset = AT(client_certificate), .env = "ARM_CLIENT_CERTIFICATE",
	    .help = "of the application: PKCS #12 in base64" },
	{ .name = "client_certificate_path", .type = CONF_STR, .offset = AT(client_certificate_path),
	    .env = "ARM_CLIENT_CERTIFICATE_PATH", .help = "a file with it, or with a certificate and its key as PEM" },
	{ .name = "client_certificate_password", .type = CONF_SECRET, .offset = AT(client_certificate_password),
	    .env = "ARM_CLIENT_CERTIFICATE_PASSWORD", .help = "of that archive" },
	{ .name = "use_oidc", .type = CONF_BOOL, .offset = AT(use_oidc), .def = "false", .env = "ARM_USE_OIDC",
	    .help = "sign in by the token of another issuer" },
	{ .name = "oidc_token", .type = CONF_SECRET, .offset = AT(oidc_token), .env = "ARM_OIDC_TOKEN", .help = "that token" },
	{ .name = "oidc_token_file_path", .type = CONF_STR, .offset = AT(oidc_token_file_path), .env = "ARM_OIDC_TOKEN_FILE_PATH",
	    .help = "the same from a file, which somebody else renews" },
	{ .name = "oidc_request_url", .type = CONF_STR, .offset = AT(oidc_request_url),
	    .env = "ARM_OIDC_REQUEST_URL ACTIONS_ID_TOKEN_REQUEST_URL SYSTEM_OIDCREQUESTURI",
	    .help = "where GitHub or Azure DevOps gives one" },
	{ .name = "oidc_request_token", .type = CONF_SECRET, .offset = AT(oidc_request_token),
	    .env = "ARM_OIDC_REQUEST_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN SYSTEM_ACCESSTOKEN", .help = "what it is asked with" },
	{ .name = "ado_pipeline_service_connection_id", .type = CONF_STR, .offset = AT(ado_pipeline_service_connection_id),
	    .env = "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID ARM_OIDC_AZURE_SERVICE_CONNECTION_ID",
	    .help = "the connection of Azure DevOps" },
	{ .name = "use_msi", .type = CONF_BOOL, .offset = AT(use_msi), .def = "false", .env = "ARM_USE_MSI",
	    .help = "sign in as the machine's managed identity" },
	{ .name = "msi_endpoint", .type = CONF_STR, .offset = AT(msi_endpoint), .env = "ARM_MSI_ENDPOINT",
	    .help = "where that is, if not at 169.254.169.254" },
	{ .name = "endpoint", .type = CONF_STR, .offset = AT(endpoint), .help = "msi_endpoint under its old name" },
	{ .name = "use_aks_workload_identity", .type = CONF_BOOL, .offset = AT(use_aks_workload_identity), .def = "false",
	    .env = "ARM_USE_AKS_WORKLOAD_IDENTITY", .help = "sign in as a pod of AKS" },
	{ .name = "use_cli", .type = CONF_BOOL, .offset = AT(use_cli), .def = "true", .env = "ARM_USE_CLI",
	    .help = "if nothing else is given, as whoever logged in to az" },
	{ .name = "timeout_seconds", .type = CONF_SECONDS, .offset = AT(timeout_ms), .env = "ARM_TIMEOUT_SECONDS",
	    .help = "of one request (OpenTofu); timeout comes before it" },
	{ .name = "encryption_scope", .type = CONF_STR, .env = "ARM_ENCYRPTION_SCOPE" /* OpenTofu's spelling */,
	    .help = "encrypt under this scope (OpenTofu)", .later = "encryption scopes" },
	{ .name = "customer_provided_key", .type = CONF_SECRET, .help = "encrypt with this key (OpenTofu)", .later = "customer-provided keys" },
	{ .name = NULL },
};

static const struct conf_hidden azurerm_hidden[] = { { "blob_endpoint", NULL }, { NULL, NULL } };

/* ---------------------------------------------------------------- names and blobs */

char *
azurerm_blob_of(const struct azurerm *z, const char *name)
{
	return xasprintf("%s%s", z->b.common.prefix, name);
}

/* Microsoft advises against a dot at the end; some take a backslash for "/". */
static enum err_code
azurerm_holds(const struct backend *b, const char *name, struct err *reterr)
{
	size_t      segments = 1;
	const char *why = NULL;

	for (const char *p = b->common.prefix; *p != '\0'; p++)
		segments += *p == '/';
	for (const char *p = name; *p != '\0'; p++)
		segments += *p == '/';
	if (segments > AZURERM_SEGMENTS_MAX)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "a name of %zu segments with its prefix; azurerm holds at most %d", segments,
		    AZURERM_SEGMENTS_MAX);
	if (strchr(name, '\\') != NULL)
		why = "a backslash, which some take for \"/\"";
	else if (strstr(name, "./") != NULL || span_ends(span_str(name), "."))
		why = "a segment that ends with a dot, which some cut off";
	return why == NULL ? ERR_OK : err_set(reterr, ERR_UNSUPPORTED, 0, "a name with %s: not safe in Azure Blob Storage", why);
}

bool
azurerm_is_uuid(const char *id)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(id) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; form[i] != '\0'; i++)
		if (form[i] == '-' ? id[i] != '-' : hex_digit((uint8_t)id[i]) < 0)
			return false;
	return true;
}

/* The workspace that a name ends with, behind base and "env:"; n 0: none. Terraform's have no "/". */
static struct span
azurerm_workspace_behind(const char *name, const char *base)
{
	static const char between[] = AZURERM_WORKSPACE;
	struct span       ws = { NULL, 0 };
	size_t            n = strlen(base);

	for (const char *at = strstr(name, base); at != NULL; at = strstr(at + 1, base))
		if (strncmp(at + n, between, sizeof(between) - 1) == 0)
			ws = span_str(at + n + sizeof(between) - 1);
	return ws.n == 0 || memchr(ws.p, '/', ws.n) != NULL ? (struct span){ NULL, 0 } : ws;
}

static bool
azurerm_suits(const char *name)
{
	return azurerm_workspace_behind(name, AZURERM_STATE).n > 0;
}

static struct span
azurerm_workspace_of(const struct azurerm *z, const char *name)
{
	if (z->key == NULL)
		return azurerm_workspace_behind(name, AZURERM_STATE);
	return strncmp(name, z->key, strlen(z->key)) == 0 ? azurerm_workspace_behind(name, z->key) : (struct span){ NULL, 0 };
}

bool
azurerm_is_state(const struct azurerm *z, const char *name)
{
	if (z->key != NULL ? strcmp(name, z->key) == 0 : z->b.common.any_name || span_ends(span_str(name), AZURERM_STATE))
		return true;
	return azurerm_workspace_of(z, name).n > 0;
}

static void
azurerm_workspace(const struct backend *b, const char *name, struct buf *ret)
{
	struct span ws = azurerm_workspace_of(azurerm_of(b), name);

	if (ws.n > 0)
		buf_put(ret, ws.p, ws.n);
	else
		buf_puts(ret, "default");
}

/* The key of terraform's block without our prefix, n bytes of name. */
static size_t
azurerm_base(const struct azurerm *z, const char *name)
{
	struct span ws = azurerm_workspace_of(z, name);

	return ws.n > 0 ? strlen(name) - ws.n - strlen(AZURERM_WORKSPACE) : strlen(name);
}

static void
azurerm_path(const struct backend *b, const char *name, struct buf *ret)
{
	struct span base = span_of(name, azurerm_base(azurerm_of(b), name));

	buf_put(ret, base.p, span_ends(base, AZURERM_STATE) ? base.n - strlen(AZURERM_STATE) : base.n);
}

static void
azurerm_address(const struct backend *b, const char *name, provider_argument_fn *put, void *arg)
{
	char *blob = azurerm_blob_of(azurerm_of(b), name);

	blob[strlen(b->common.prefix) + azurerm_base(azurerm_of(b), name)] = '\0';
	put(arg, "key", blob, false);
	free(blob);
}

/* Terraform learns where blobs are from the environment, or from a metadata_host, alone. */
static void
azurerm_inside(const struct backend *b, const char *name, struct buf *ret)
{
	const struct azurerm_conf *c = azurerm_of(b)->conf;

	(void)name;
	if (azurerm_given(c->blob_endpoint))
		buf_printf(ret, "    # terraform has no blob_endpoint: it looks for the account at %s\n",
		    azurerm_given(c->metadata_host) ? "what metadata_host tells" : "the address that environment implies");
}

static void
azurerm_named(const struct backend *b, const char *path, const char *workspace, struct buf *ret)
{
	bool other = strcmp(workspace, "default") != 0;

	(void)b;
	buf_printf(ret, "%s" AZURERM_STATE "%s%s", path[0] != '\0' ? path : "terraform", other ? AZURERM_WORKSPACE : "", other ? workspace : "");
}

static bool
azurerm_fixed(const struct backend *b, const char *workspace, struct buf *ret)
{
	const struct azurerm *z = azurerm_of(b);

	if (z->key == NULL)
		return false;
	buf_puts(ret, z->key);
	if (strcmp(workspace, "default") != 0)
		buf_printf(ret, "%s%s", AZURERM_WORKSPACE, workspace);
	return true;
}

static const char *
azurerm_signed_in(const struct backend *b)
{
	return azurerm_cred_source(azurerm_of(b)->cred);
}

static void
azurerm_locate(const struct backend *b, const char *name, struct buf *ret)
{
	buf_puts(ret, azurerm_of(b)->place);
	buf_puts(ret, name);
}

static void
azurerm_lock_path(const struct backend *b, const char *name, struct buf *ret)
{
	buf_printf(ret, "%s/%s%s", azurerm_of(b)->conf->container_name, b->common.prefix, name);
}

/* A lease without terraform's words goes by the blob's ETag, which terraform does not take. */
static void
azurerm_unlock_hint(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret)
{
	(azurerm_is_uuid(l->id) ? lock_info_unlock_by_both : lock_info_unlock_by)(b->label, name, l->id, ret);
}

/* ---------------------------------------------------------------- configuration */

static bool
azurerm_only(const char *text, const char *more, size_t min, size_t max)
{
	size_t n = strlen(text);

	if (n < min || n > max)
		return false;
	for (; *text != '\0'; text++)
		if (!((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') || strchr(more, *text) != NULL))
			return false;
	return true;
}

static enum err_code
azurerm_check(struct conf_block *block, const struct azurerm_conf *c, const struct backend_common *common, struct err *reterr)
{
	if (!azurerm_only(c->storage_account_name, "", AZURERM_ACCOUNT_MIN, AZURERM_ACCOUNT_MAX))
		return conf_error(reterr, conf_where(block, "storage_account_name"),
		    "storage_account_name: expected an account's name, %d to %d of a-z and 0-9",
		    AZURERM_ACCOUNT_MIN, AZURERM_ACCOUNT_MAX);
	if (!azurerm_only(c->container_name, "-$", AZURERM_CONTAINER_MIN, AZURERM_CONTAINER_MAX))
		return conf_error(reterr, conf_where(block, "container_name"), "container_name: expected a container's name, %d to %d of a-z, 0-9 and \"-\"",
		    AZURERM_CONTAINER_MIN, AZURERM_CONTAINER_MAX);
	if (azurerm_given(c->key) && common->prefix[0] != '\0')
		return conf_error(reterr, conf_where(block, "key"), "either key (one state and its workspaces) or prefix, not both");
	return ERR_OK;
}

/* Terraform puts the key into a URL: "%XX" in it is that byte, and "?" or "#" would end it. */
static enum err_code
azurerm_set_key(struct azurerm *z, struct conf_block *block, struct err *reterr)
{
	const char *text = z->conf->key;
	struct buf  key;
	struct err  e;

	if (!azurerm_given(text))
		return ERR_OK;
	buf_init(&key, 0);
	if (strpbrk(text, "?#") != NULL)
		conf_error(reterr, conf_where(block, "key"), "key: terraform cuts it at \"?\" and \"#\"");
	else if (!url_unescape(span_str(text), false, &key))
		conf_error(reterr, conf_where(block, "key"), "key: \"%%\" stands before two hexadecimal digits, as in a URL");
	else if (span_ends(buf_span(&key), "/") || name_check(buf_span(&key), &e) != ERR_OK)
		conf_error(reterr, conf_where(block, "key"), "key: %s", span_ends(buf_span(&key), "/") ? "it does not end with \"/\"" : e.msg);
	else
		z->key = buf_take(&key);
	buf_free(&key);
	return z->key != NULL ? ERR_OK : err_hint(reterr, "a blob's name as terraform reads it: %%3F for \"?\", %%23 for \"#\", %%25 for \"%%\"");
}

static enum err_code
azurerm_set_endpoint(struct azurerm *z, struct conf_block *block, struct err *reterr)
{
	const char *text = z->conf->blob_endpoint;
	struct url  u = { .scheme = NULL };
	struct err  e;
	size_t      n;

	if (!azurerm_given(text) && azurerm_given(z->conf->metadata_host)) { /* it has to be asked first */
		z->endpoint = xasprintf("%s of %s", z->conf->storage_account_name, z->conf->metadata_host);
		return ERR_OK;
	}
	if (!azurerm_given(text)) {
		z->endpoint = xasprintf("https://%s.blob.%s", z->conf->storage_account_name, azurerm_suffixes[z->conf->environment]);
		z->azure = true;
		return ERR_OK;
	}
	if (url_parse(text, &u, &e) != ERR_OK)
		return conf_error(reterr, conf_where(block, "blob_endpoint"), "blob_endpoint: %s", e.msg);
	n = strlen(text);
	if (u.user != NULL || u.query != NULL)
		conf_error(reterr, conf_where(block, "blob_endpoint"), "blob_endpoint: expected scheme, host and perhaps a path, nothing else");
	else
		z->endpoint = xstrndup(text, text[n - 1] == '/' ? n - 1 : n);
	for (size_t i = 0; i < ARRAY_LEN(azurerm_suffixes); i++)
		z->azure |= span_ends(span_str(u.host), azurerm_suffixes[i]);
	url_free(&u);
	return z->endpoint != NULL ? ERR_OK : reterr->code;
}

static void
azurerm_close(struct backend *b)
{
	struct azurerm *z = azurerm_of(b);

	azurerm_cred_free(z->cred);
	azurerm_forget_all(z);
	free(z->endpoint);
	free(z->place);
	free(z->key);
	free(z);
}

static enum err_code
azurerm_set_up(struct azurerm *z, struct conf *c, struct conf_block *block, struct err *reterr)
{
	struct err e = { .code = ERR_OK };

	if (azurerm_set_key(z, block, reterr) != ERR_OK || azurerm_set_endpoint(z, block, reterr) != ERR_OK)
		return reterr->code;
	if (azurerm_cred_new(z->env, z->conf, conf_dir(c), &z->cred, &e) != ERR_OK) {
		conf_error(reterr, conf_where(block, e.msg), "%s", e.msg);
		return e.hint[0] != '\0' ? err_hint(reterr, "%s", e.hint) : reterr->code;
	}
	return ERR_OK;
}

static enum err_code
azurerm_open(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
    const struct backend_common *common, struct backend **ret, struct err *reterr)
{
	struct azurerm *z;
	const char     *what;

	if (azurerm_check(block, conf, common, reterr) != ERR_OK)
		return reterr->code;
	z = xcalloc(1, sizeof(*z));
	z->env = env;
	z->conf = conf;
	z->held = map_new();
	if (azurerm_set_up(z, c, block, reterr) != ERR_OK) {
		azurerm_close(&z->b);
		return reterr->code;
	}
	what = z->key != NULL ? z->key : common->prefix;
	z->b.where = xasprintf("%s/%s%s%s", z->endpoint, z->conf->container_name, what[0] != '\0' ? "/" : "", what);
	z->place = xasprintf("%s/%s/%s", z->endpoint, z->conf->container_name, common->prefix);
	*ret = &z->b;
	return ERR_OK;
}

/* What Azure enforces is known; whether others have leases that exclude anybody is to be seen. */
static unsigned
azurerm_caps(const struct backend *b)
{
	return PROVIDER_LIST | PROVIDER_HISTORY | PROVIDER_LOCK | PROVIDER_LOCK_ID | PROVIDER_IF_MATCH | PROVIDER_CAS |
	    (azurerm_of(b)->azure ? 0u : (unsigned)PROVIDER_LOCK_UNPROVEN);
}

const struct provider provider_azurerm = {
	.name = "azurerm",
	.summary = "Azure Blob Storage",
	.suffix = AZURERM_STATE,
	.suits = azurerm_suits,
	.key_max = AZURERM_NAME_MAX,
	.fields = azurerm_fields,
	.conf_size = sizeof(struct azurerm_conf),
	.timeout_at = AT(timeout_ms),
	.open = azurerm_open,
	.close = azurerm_close,
	.caps = azurerm_caps,
	.workspace = azurerm_workspace,
	.fixed = azurerm_fixed,
	.path = azurerm_path,
	.named = azurerm_named,
	.address = azurerm_address,
	.inside = azurerm_inside,
	.hidden = azurerm_hidden,
	.holds = azurerm_holds,
	.locate = azurerm_locate,
	.create = azurerm_create,
	.list = azurerm_list,
	.head = azurerm_head,
	.get = azurerm_get,
	.put = azurerm_put,
	.del = azurerm_del,
	.lock = azurerm_lock,
	.unlock = azurerm_unlock,
	.lock_peek = azurerm_lock_peek,
	.history = azurerm_history,
	.get_version = azurerm_get_version,
	.probe = azurerm_probe,
	.lock_path = azurerm_lock_path,
	.signed_in = azurerm_signed_in,
	.unlock_hint = azurerm_unlock_hint,
};
