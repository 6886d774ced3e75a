/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/* What a pass came to: exit codes, next steps, and how several results are one. */

int
err_exit(enum err_code code)
{
	switch (code) {
	case ERR_OK:
		return 0;
	case ERR_USAGE:
		return 2;
	case ERR_CONFIG:
		return 10;
	case ERR_LOCKED:
		return 11;
	case ERR_AUTH:
		return 12;
	case ERR_CONFLICT:
		return 13;
	case ERR_CORRUPT:
		return 14;
	case ERR_CANCELLED:
		return 130;
	default:
		return 1;
	}
}

/* The next step, where nobody closer to the trouble knew a better one. */
const char *
pass_hint(const struct err *err)
{
	if (err->hint[0] != '\0')
		return err->hint;
	switch (err->code) {
	case ERR_LOCKED:
		return "wait for that run; if it is gone, \"stateferry locks\" shows the lock and \"stateferry unlock\" breaks it";
	case ERR_NETWORK:
	case ERR_TIMEOUT:
	case ERR_BUSY:
	case ERR_UNCERTAIN:
		return "it is tried again by itself; if it stays, check that the address can be reached from this host";
	case ERR_AUTH:
		return "check the credentials and permissions of that backend";
	case ERR_CONFLICT:
		return "it is looked at again in the next pass; \"stateferry status\" says what is held";
	case ERR_CONFIG:
		return "set it right in the configuration, or where that takes it from; \"stateferry config check --probe\" tries it";
	default:
		return "run it again with -v to see each request";
	}
}

void
pass_result_free(struct pass_result *r)
{
	for (size_t i = 0; i < r->nproblems; i++) {
		free(r->problems[i].edge);
		free(r->problems[i].state);
		free(r->problems[i].message);
		free(r->problems[i].hint);
	}
	for (size_t i = 0; i < r->nplanned; i++) {
		free(r->planned[i].edge);
		free(r->planned[i].state);
		free(r->planned[i].target);
	}
	free(r->planned);
	free(r->problems);
	free(r->edges);
	memset(r, 0, sizeof(*r));
}

void
exit_tally_add(struct exit_tally *t, int exit_code)
{
	if (exit_code == 0) {
		t->done++;
		return;
	}
	t->mixed |= t->reason != 0 && t->reason != exit_code;
	t->reason = exit_code;
	t->failed++;
}

int
exit_tally_code(const struct exit_tally *t)
{
	if (t->failed == 0)
		return 0;
	if (t->done > 0)
		return 3;
	return t->mixed || t->reason == 0 ? 1 : t->reason;
}

/* Counted are states, reasons are told once for many of them. */
int
pass_result_exit(const struct pass_result *r)
{
	struct exit_tally t = { .done = 0 };

	for (size_t i = 0; i < r->nedges; i++) {
		t.done += r->edges[i].written + r->edges[i].unchanged;
		t.failed += r->edges[i].held + r->edges[i].failed;
	}
	for (size_t i = 0; i < r->nproblems; i++)
		exit_tally_add(&t, r->problems[i].exit);
	return exit_tally_code(&t);
}
