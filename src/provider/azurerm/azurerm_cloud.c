/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>

#include "azurerm.h"
#include "azurerm_signin.h"

/* The clouds that terraform knows by name, and those that a metadata service describes. */
#define CLOUD_VERSION "2022-09-01"

static const struct azurerm_cloud azurerm_clouds[] = {
	[AZURERM_PUBLIC] = { (char[]){ "https://login.microsoftonline.com" }, (char[]){ "https://management.azure.com" },
	    (char[]){ "core.windows.net" } },
	[AZURERM_USGOVERNMENT] = { (char[]){ "https://login.microsoftonline.us" }, (char[]){ "https://management.usgovcloudapi.net" },
	    (char[]){ "core.usgovcloudapi.net" } },
	[AZURERM_CHINA] = { (char[]){ "https://login.chinacloudapi.cn" }, (char[]){ "https://management.chinacloudapi.cn" },
	    (char[]){ "core.chinacloudapi.cn" } },
};

void
azurerm_cloud_init(struct azurerm_cloud *ret, int environment)
{
	const struct azurerm_cloud *c = &azurerm_clouds[environment];

	*ret = (struct azurerm_cloud){ xstrdup(c->login), xstrdup(c->arm), xstrdup(c->suffix) };
}

void
azurerm_cloud_clear(struct azurerm_cloud *c)
{
	free(c->login);
	free(c->arm);
	free(c->suffix);
	*c = (struct azurerm_cloud){ NULL, NULL, NULL };
}

/* --- the metadata service ------------------------------------------------------------------------------------------------ */

/* A base of https, which secrets will be sent to; NULL: it is none. Without "/" at its end. */
static char *
azurerm_cloud_base(const char *text)
{
	struct url u;
	size_t     n = text != NULL ? strlen(text) : 0;
	bool       ok;

	if (n == 0 || url_parse(text, &u, NULL) != ERR_OK)
		return NULL;
	ok = strcmp(u.scheme, "https") == 0 && u.user == NULL && u.query == NULL;
	url_free(&u);
	while (n > 0 && text[n - 1] == '/')
		n--;
	return ok ? xstrndup(text, n) : NULL;
}

/* What stands behind "ACCOUNT.blob." in a URL: a name, perhaps with a port. */
static bool
azurerm_cloud_suffix(const char *text)
{
	return text != NULL && text[0] != '\0' && strlen(text) < 256 &&
	    text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:")] == '\0';
}

enum err_code
azurerm_cloud_parse(struct span json, struct azurerm_cloud *ret, struct err *reterr)
{
	json_t     *root = json_loadb((const char *)json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
	const char *login = json_string_value(json_object_get(json_object_get(root, "authentication"), "loginEndpoint"));
	const char *arm = json_string_value(json_object_get(root, "resourceManager"));
	const char *suffix = json_string_value(json_object_get(json_object_get(root, "suffixes"), "storage"));
	struct azurerm_cloud c = { azurerm_cloud_base(login), azurerm_cloud_base(arm), NULL };
	bool        ok = c.login != NULL && c.arm != NULL && azurerm_cloud_suffix(suffix);

	if (ok) {
		c.suffix = xstrdup(suffix);
		*ret = c;
	} else {
		azurerm_cloud_clear(&c);
	}
	json_decref(root);
	return ok ? ERR_OK : err_set(reterr, ERR_CORRUPT, 0, "the answer does not name loginEndpoint, resourceManager and suffixes.storage");
}

struct azurerm_cloud_op {
	struct op                  op;
	const struct provider_env *env;
	struct bearer_request      rq;
	struct http_response       http;
	char                      *who, *url;
	struct azurerm_cloud      *ret;
};

enum azurerm_cloud_state { CLOUD_START, CLOUD_ANSWERED };

static const char *const azurerm_cloud_states[] = { "start", "answered" };

static enum op_turn
azurerm_cloud_step(struct op *op)
{
	struct azurerm_cloud_op *x = container_of(op, struct azurerm_cloud_op, op);

	switch ((enum azurerm_cloud_state)op->state) {
	case CLOUD_START:
		return op_await(op, CLOUD_ANSWERED, bearer_ask(x->env, &x->rq, &x->http));
	case CLOUD_ANSWERED:
		if (!op_failed(op) && azurerm_cloud_parse(x->http.body != NULL ? body_span(x->http.body) : SPAN_LIT(""), x->ret, &op->res) != ERR_OK)
			err_prefix(&op->res, "%s", x->who);
		if (!op_failed(op))
			return op_ok(op);
		if (op->res.code != ERR_CANCELLED && op->res.hint[0] == '\0')
			err_hint(&op->res, "check metadata_host (ARM_METADATA_HOSTNAME); without it, environment names the cloud");
		return op_fail(op);
	}
	return OP_DONE;
}

static void
azurerm_cloud_free(struct op *op)
{
	struct azurerm_cloud_op *x = container_of(op, struct azurerm_cloud_op, op);

	http_response_free(&x->http);
	free(x->who);
	free(x->url);
	free(x);
}

static const struct op_class azurerm_cloud_class = { "cloud metadata", azurerm_cloud_step, NULL, azurerm_cloud_free,
	azurerm_cloud_states, ARRAY_LEN(azurerm_cloud_states) };

struct op *
azurerm_cloud_ask(const struct provider_env *env, const char *host, struct azurerm_cloud *ret)
{
	struct azurerm_cloud_op *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &azurerm_cloud_class, env->loop);
	x->env = env;
	x->ret = ret;
	x->who = xasprintf("the metadata service %.80s", host);
	x->url = xasprintf("https://%s/metadata/endpoints?api-version=" CLOUD_VERSION, host);
	x->rq = (struct bearer_request){ .who = x->who, .method = "GET", .url = x->url };
	return &x->op;
}
