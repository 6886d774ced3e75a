/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "azurerm_signin.h"
#include "provider/process.h"

/* A token of whoever logged in to the Azure CLI as the user of the agent: asked from the az command, as terraform does. */
#define CLI_WHAT "az account get-access-token"

struct cli {
	struct op                  op;
	const struct provider_env *env;
	const char                *tenant_id;
	char                      *scope;
	int64_t                    now;   /* wall clock, for the job */
	struct bearer             *ret;
};

enum cli_state { CLI_START, CLI_ENDED };

static const char *const cli_states[] = { "start", "ended" };

static enum err_code
cli_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct cli   *x = arg;
	const char   *words[] = { "az", "account", "get-access-token", "--output", "json", "--scope", x->scope,
		x->tenant_id != NULL ? "--tenant" : NULL, x->tenant_id, NULL };
	struct buf    text;
	enum err_code rc;

	buf_init(&text, PROCESS_OUTPUT_MAX);
	buf_reserve(&text, PROCESS_OUTPUT_MAX, NULL);
	rc = process_run(CLI_WHAT, words, job, &text, reterr);
	if (rc == ERR_OK && bearer_parse(buf_span(&text), NULL, x->now, 0, x->ret, reterr) != ERR_OK)
		rc = err_prefix(reterr, CLI_WHAT);
	buf_wipe_free(&text);
	return rc;
}

static enum op_turn
cli_step(struct op *op)
{
	struct cli *x = container_of(op, struct cli, op);

	switch ((enum cli_state)op->state) {
	case CLI_START:
		x->now = loop_wall(op->loop);
		return op_await(op, CLI_ENDED, work_run(x->env->work, cli_job, x));
	case CLI_ENDED:
		if (!op_failed(op))
			return op_ok(op);
		if (op->res.code == ERR_IO)
			err_hint(&op->res, "install the Azure CLI, or sign in otherwise: client_id with client_secret, use_oidc, use_msi");
		else if (op->res.code == ERR_AUTH)
			err_hint(&op->res, "az login as the user of the agent, or sign in otherwise: client_id with client_secret, use_oidc, use_msi");
		return op_fail(op);
	}
	return OP_DONE;
}

static void
cli_free(struct op *op)
{
	struct cli *x = container_of(op, struct cli, op);

	free(x->scope);
	free(x);
}

static const struct op_class cli_class = { "az", cli_step, NULL, cli_free, cli_states, ARRAY_LEN(cli_states) };

struct op *
azurerm_cli_token(const struct provider_env *env, const struct azurerm_identity *i, const char *resource, struct bearer *ret)
{
	struct cli *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &cli_class, env->loop);
	x->env = env;
	x->tenant_id = i->tenant_id;
	x->scope = xasprintf("%s/.default", resource);
	x->ret = ret;
	return &x->op;
}
