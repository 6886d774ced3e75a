/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "azurerm_signin.h"
#include "net/url.h"

/*
 * Managed identities: the metadata service of a machine (IMDS), or the endpoint of App Service and Functions. Both are on the machine:
 * never asked through a proxy.
 */
#define MSI_VERSION         "2018-02-01"
#define MSI_VERSION_SERVICE "2019-08-01"
#define MSI_TIMEOUT_MS      5000

static char msi_json[] = "application/json";

struct msi {
	struct op                      op;
	const struct provider_env     *env;
	const struct azurerm_identity *id;
	const char                    *resource;
	struct secret                 *client_id; /* from its file */
	struct bearer_request          rq;
	char                          *url, *header;
	struct bearer                 *ret;
};

enum msi_state { MSI_START, MSI_LOADED, MSI_ANSWERED };

static const char *const msi_states[] = { "start", "loaded", "answered" };

static enum err_code
msi_load(struct work_job *job, void *arg, struct err *reterr)
{
	struct msi *x = arg;

	(void)job;
	return azurerm_file(x->env, "client_id_file_path", x->id->client_id_file, &x->client_id, reterr);
}

static struct op *
msi_send(struct msi *x)
{
	const struct azurerm_identity *i = x->id;
	const char                    *client_id = x->client_id != NULL ? secret_str(x->client_id) : i->client_id;
	struct buf                     query;

	buf_init(&query, 0);
	url_query_add(&query, "api-version", i->app_service ? MSI_VERSION_SERVICE : MSI_VERSION);
	if (client_id != NULL)
		url_query_add(&query, "client_id", client_id);
	url_query_add(&query, "resource", x->resource);
	x->url = xasprintf("%s%c%s", i->url, strchr(i->url, '?') == NULL ? '?' : '&', buf_str(&query));
	buf_free(&query);
	x->header = xstrdup(i->app_service ? secret_str(i->url_token) : "true");
	x->rq = (struct bearer_request){ .who = "the managed identity", .method = "GET", .url = x->url,
		.headers = { { "accept", msi_json }, { i->app_service ? "x-identity-header" : "metadata", x->header } }, .nheaders = 2,
		.no_proxy = true, .timeout_ms = MSI_TIMEOUT_MS, .later = { 404, 410 }, .secrets = { i->url_token } };
	return bearer_fetch(x->env, &x->rq, x->ret);
}

static enum op_turn
msi_failed(struct msi *x)
{
	struct err *e = &x->op.res;

	if (e->code == ERR_NETWORK || e->code == ERR_TIMEOUT)
		err_hint(e, "use_msi works on machines of Azure only: check that this is one, or set use_msi = false (ARM_USE_MSI)");
	else if (e->code == ERR_AUTH)
		err_hint(e, "give the machine an identity, or set client_id to that of an identity which it has");
	return op_fail(&x->op);
}

static enum op_turn
msi_step(struct op *op)
{
	struct msi *x = container_of(op, struct msi, op);

	switch ((enum msi_state)op->state) {
	case MSI_START:
		return op_await(op, MSI_LOADED, x->id->client_id_file != NULL ? work_run(x->env->work, msi_load, x) : NULL);
	case MSI_LOADED:
		return op_failed(op) ? op_fail(op) : op_await(op, MSI_ANSWERED, msi_send(x));
	case MSI_ANSWERED:
		return op_failed(op) ? msi_failed(x) : op_ok(op);
	}
	return OP_DONE;
}

static void
msi_free(struct op *op)
{
	struct msi *x = container_of(op, struct msi, op);

	if (x->header != NULL)
		mem_wipe(x->header, strlen(x->header));
	secret_free(x->client_id);
	free(x->header);
	free(x->url);
	free(x);
}

static const struct op_class msi_class = { "managed identity", msi_step, NULL, msi_free, msi_states, ARRAY_LEN(msi_states) };

struct op *
azurerm_msi_token(const struct provider_env *env, const struct azurerm_identity *i, const char *resource, struct bearer *ret)
{
	struct msi *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &msi_class, env->loop);
	x->env = env;
	x->id = i;
	x->resource = resource;
	x->ret = ret;
	return &x->op;
}
