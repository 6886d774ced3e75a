/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"

/*
 * STATE@serial=N, before the handler runs: all versions are looked at, in turns of the loop, and the argument becomes STATE@V. A serial
 * that several versions carry means the one on the way to the head.
 */
struct serial {
	struct call    *c;
	struct api_arg *arg;
	struct address  a;
	uint64_t        state, head;
	uint64_t        next;            /* of all versions: where to go on */
	struct digest   digest;          /* of the first found */
	uint64_t        first;           /* the newest */
	bool            several;         /* with different bytes */
	uint64_t        at;              /* then: from the head backwards; 0: its end */
	char            text[120];
};

static bool
serial_match(void *arg, const struct version_rec *v)
{
	struct serial *x = arg;
	size_t         n = strlen(x->text);

	if (v->serial != x->a.serial || v->dropped || v->kind == STATE_EMPTY || v->kind == STATE_DAMAGED)
		return true;
	snprintf(x->text + n, sizeof(x->text) - n, "%s%" PRIu64, n == 0 ? "" : ", ", v->number);
	if (x->first == 0) {
		x->first = v->number;
		x->digest = v->digest;
	} else if (!digest_eq(&x->digest, &v->digest)) {
		x->several = true;
	}
	return true;
}

static enum err_code
serial_begin(struct serial *x, struct store_txn *t, struct err *reterr)
{
	struct state_rec s;

	if (!store_state(t, x->a.backend, x->a.name, &s))
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s is not known", x->a.backend, x->a.name);
	x->state = s.id;
	x->head = x->at = s.head;
	x->next = s.versions;
	return ERR_OK;
}

/* From the head backwards: heads only. true: the end. */
static bool
serial_on_the_way(struct serial *x, struct turn *t)
{
	struct version_rec v;

	while (x->at != 0 && turn_room(t)) {
		if (!store_version(t->t, x->state, x->at, &v))
			return true;
		if (v.serial == x->a.serial && !v.dropped) {
			x->first = x->at;
			x->several = false;
			return true;
		}
		x->at = v.parent < x->at ? v.parent : 0;
	}
	return !t->more;
}

static enum err_code
serial_end(struct serial *x, struct err *reterr)
{
	char *text;

	if (x->first == 0)
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s has no version with serial %" PRIu64, x->a.backend, x->a.name, x->a.serial);
	if (x->several) {
		err_set(reterr, ERR_USAGE, 0, "serial %" PRIu64 " means several versions: %s", x->a.serial, x->text);
		return err_hint(reterr, "name one by its number: %s:%s@%" PRIu64, x->a.backend, x->a.name, x->first);
	}
	text = xasprintf("%.*s@%" PRIu64, (int)address_is_serial(x->arg->value), x->arg->value, x->first);
	free((void *)(uintptr_t)x->arg->value);
	x->arg->value = text;
	return ERR_OK;
}

static enum err_code
serial_turn(void *arg, struct turn *t, struct err *reterr)
{
	struct serial *x = arg;

	if (x->state == 0 && serial_begin(x, t->t, reterr) != ERR_OK)
		return reterr->code;
	if (!turn_versions(t, x->state, &x->next, serial_match, x) || (x->several && !serial_on_the_way(x, t)))
		return ERR_OK;
	t->more = false;
	return serial_end(x, reterr);
}

static void
serial_free(void *arg)
{
	struct serial *x = arg;

	address_free(&x->a);
	free(x);
}

struct op *
call_serial(struct call *c, struct err *reterr)
{
	struct api_arg *arg = NULL;
	struct serial  *x;

	for (size_t i = 0; arg == NULL && i < c->nargs; i++)
		if (strcmp(c->args[i].name, "state") == 0 && address_is_serial(c->args[i].value) > 0)
			arg = &c->args[i];
	if (arg == NULL)
		return NULL;
	x = xcalloc(1, sizeof(*x));
	x->c = c;
	x->arg = arg;
	snprintf(c->where, sizeof(c->where), "%s", arg->value);
	if (address_resolve(c->e, arg->value, call_arg(c, "backend"), false, &x->a, reterr) == ERR_OK)
		return turns_op(c, &(struct turns){ serial_turn, serial_free, x });
	free(x);
	return NULL;
}
