/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"

/*
 * Before a handler runs: what a person calls a state may be an alias that only the backend's inventory knows, or the name of one that it
 * has had since it was last asked. What the store knows needs no question.
 */
#define ASK_MAX 8 /* questions at once; what is unknown all the same, the handler says */

struct ask {
	struct call *c;
	struct op   *ops[ASK_MAX];
	size_t       n;
};

static bool
ask_is_stored(const struct ask *x, const struct backend *b, const char *name)
{
	struct store_txn *t;
	struct state_rec  s;
	bool              known;

	if (store_read(engine_store(x->c->e), &t, NULL) != ERR_OK)
		return false;
	known = store_state(t, b->label, name, &s);
	store_end(t);
	return known;
}

/* No state can have the name of an alias: without an answer there is nothing to go on with. Any other has to be asked for only where a
 * state is to be written, and who writes it says what came of that. */
static void
ask_of(struct ask *x, struct backend *b, const char *text, bool writes)
{
	char      *name = plan_unalias(engine_plan(x->c->e), b->label, text);
	struct err e;
	bool       alias = provider_holds_name(b, name, &e) != ERR_OK;
	struct op *op = NULL;

	if (x->n < ASK_MAX && (alias || writes) && !ask_is_stored(x, b, name))
		op = engine_ask(x->c->e, b, name);
	if (op != NULL) {
		x->ops[x->n++] = op;
		x->c->asks_alias |= alias;
		snprintf(x->c->where, sizeof(x->c->where), "%s", text);
	}
	free(name);
}

/* BACKEND:NAME, or NAME at any source. */
static void
ask_for(struct ask *x, const char *text, const char *backend, bool writes)
{
	struct plan    *p = engine_plan(x->c->e);
	const char     *colon = strchr(text, ':');
	char           *label = colon != NULL && backend == NULL ? xstrndup(text, (size_t)(colon - text)) : NULL;
	struct backend *b = plan_backend(p, backend != NULL ? backend : label != NULL ? label : "");
	char           *name = xstrndup(b != NULL && label != NULL ? colon + 1 : text,
	               address_name_len(b != NULL && label != NULL ? colon + 1 : text));

	if (b != NULL)
		ask_of(x, b, name, writes);
	for (size_t i = 0; b == NULL && !writes && i < p->nbackends; i++)
		if (plan_is_source(p, p->backends[i]))
			ask_of(x, p->backends[i], name, false);
	free(label);
	free(name);
}

struct op *
call_ask(struct call *c)
{
	static const struct { const char *name; bool writes; } args[] = { { "state", false }, { "from", false }, { "to", true } };
	struct ask  x = { .c = c };
	const char *text;

	for (size_t i = 0; i < ARRAY_LEN(args); i++)
		if ((text = call_arg(c, args[i].name)) != NULL && text[0] != '\0' && (i == 0 || strchr(text, ':') != NULL))
			ask_for(&x, text, i == 0 ? call_arg(c, "backend") : NULL, args[i].writes);
	return x.n > 0 ? op_all(engine_loop(c->e), x.ops, x.n, 0, NULL) : NULL;
}
