/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "azurerm.h"

/* create = true: a container that is missing, closed to the public. */
struct azurerm_creating {
	struct op             op;
	struct azurerm       *z;
	struct azurerm_pages *pages;
	struct send_request   req;
	struct send_answer    ans;
};

enum azurerm_create_state { CREATE_START, CREATE_LISTED, CREATE_ANSWERED };

static const char *const azurerm_create_states[] = { "start", "listed", "answered" };

static void
azurerm_create_free(struct op *op)
{
	struct azurerm_creating *c = container_of(op, struct azurerm_creating, op);

	azurerm_pages_free(c->pages);
	send_request_free(&c->req);
	send_answer_free(&c->ans);
	free(c);
}

static enum op_turn
azurerm_create_step(struct op *op)
{
	struct azurerm_creating *c = container_of(op, struct azurerm_creating, op);

	switch ((enum azurerm_create_state)op->state) {
	case CREATE_START: /* who may list it may not be allowed to make one */
		return op_await(op, CREATE_LISTED, azurerm_pages_read(c->pages));
	case CREATE_LISTED:
		if (op_failed(op))
			return op_fail(op);
		if (azurerm_pages_check(c->pages, &op->res) == ERR_OK)
			return op_ok(op);
		if (op->res.code != ERR_NOT_FOUND)
			return op_fail(op);
		err_clear(&op->res);
		azurerm_to_container(c->z, &c->req, "PUT");
		return op_await(op, CREATE_ANSWERED, azurerm_send(c->z, &c->req, &c->ans));
	case CREATE_ANSWERED: /* somebody else may have made it meanwhile */
		if (op_failed(op))
			return op_fail(op);
		if (c->ans.http.status == 201 || azurerm_answer_is(&c->ans, 409, "ContainerAlreadyExists"))
			return op_ok(op);
		azurerm_refused(c->z, &c->ans, "making it", &op->res);
		return op_fail(op);
	}
	return OP_DONE;
}

static const struct op_class azurerm_create_class = { "azurerm create", azurerm_create_step, NULL, azurerm_create_free,
	azurerm_create_states, ARRAY_LEN(azurerm_create_states) };

struct op *
azurerm_create(struct backend *b)
{
	struct azurerm_creating *c = xcalloc(1, sizeof(*c));

	c->z = azurerm_of(b);
	c->pages = azurerm_pages_new(c->z, "", 1);
	op_init(&c->op, &azurerm_create_class, c->z->env->loop);
	return &c->op;
}
