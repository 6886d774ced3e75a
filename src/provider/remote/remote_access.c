/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "remote.h"

/* The token, then the API, whose discovery document may want the token: once for all requests that wait. */
struct remote_finding {
	struct op             op;
	struct remote        *r;
	struct remote_access *ret, found;
};

enum remote_finding_state { FIND_TOKEN, FIND_API, FIND_DONE };

static const char *const remote_finding_states[] = { "token", "api", "done" };

static void
remote_access_wipe(void *value)
{
	struct remote_access *a = value;

	secret_free(a->token);
	free(a->source);
	free(a->base);
	memset(a, 0, sizeof(*a));
}

/* The files and the helper are read again when the server refuses the token: nothing else ends it. */
static int64_t
remote_access_ends(const void *value)
{
	(void)value;
	return 0;
}

static enum op_turn
remote_finding_step(struct op *op)
{
	struct remote_finding *f = container_of(op, struct remote_finding, op);

	if (op_failed(op))
		return op_fail(op);
	switch ((enum remote_finding_state)op->state) {
	case FIND_TOKEN:
		return op_await(op, FIND_API, remote_sign_in(f->r, &f->found.token, &f->found.source));
	case FIND_API:
		return op_await(op, FIND_DONE, remote_discover(f->r, f->found.token, f->found.source, &f->found.base));
	case FIND_DONE:
		*f->ret = f->found;
		memset(&f->found, 0, sizeof(f->found));
		return op_ok(op);
	}
	return OP_DONE;
}

static void
remote_finding_free(struct op *op)
{
	struct remote_finding *f = container_of(op, struct remote_finding, op);

	remote_access_wipe(&f->found);
	free(f);
}

static const struct op_class remote_finding_class = { "remote access", remote_finding_step, NULL, remote_finding_free,
	remote_finding_states, ARRAY_LEN(remote_finding_states) };

static struct op *
remote_access_find(void *arg, void *ret)
{
	struct remote_finding *f = xcalloc(1, sizeof(*f));

	f->r = arg;
	f->ret = ret;
	op_init(&f->op, &remote_finding_class, f->r->env->loop);
	return &f->op;
}

static const struct token_class remote_access_class = { .what = "the token", .size = sizeof(struct remote_access),
	.fetch = remote_access_find, .ends = remote_access_ends, .wipe = remote_access_wipe };

struct token *
remote_access_new(struct remote *r)
{
	return token_new(r->env->loop, &remote_access_class, r, r->b.where);
}

const char *
remote_token_source(const struct remote *r)
{
	const struct remote_access *a = token_value(r->access);

	return a != NULL && a->source != NULL ? a->source : "";
}
