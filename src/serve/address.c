/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/name.h"
#include "serve.h"

/* BACKEND:NAME[@V]: what a person types, against the plan and the store. */

enum tail { TAIL_NONE, TAIL_NUMBER, TAIL_HEAD, TAIL_SERIAL };

static bool
address_digits(const char *s, uint64_t *ret, bool *ret_fits)
{
	uint64_t v = 0;

	*ret_fits = true;
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		unsigned d = (unsigned)(*s - '0');

		if (*s < '0' || *s > '9')
			return false;
		if (v > (UINT64_MAX - d) / 10)
			*ret_fits = false;
		v = v * 10 + d;
	}
	*ret = v;
	return true;
}

/* *ret_n: length of the name without it. */
static enum tail
address_tail(const char *text, size_t *ret_n, uint64_t *ret, bool *ret_fits)
{
	const char *at = strrchr(text, '@');

	*ret_n = strlen(text);
	*ret = 0;
	*ret_fits = true;
	if (at == NULL)
		return TAIL_NONE;
	if (strcmp(at + 1, "head") == 0) {
		*ret_n = (size_t)(at - text);
		return TAIL_HEAD;
	}
	if (address_digits(at + 1, ret, ret_fits)) {
		*ret_n = (size_t)(at - text);
		return TAIL_NUMBER;
	}
	if (strncmp(at + 1, "serial=", 7) == 0 && address_digits(at + 8, ret, ret_fits)) {
		*ret_n = (size_t)(at - text);
		return TAIL_SERIAL;
	}
	return TAIL_NONE;
}

/* Is it BACKEND:NAME of a label that was configured once? */
static bool
address_was(struct store_txn *t, const char *text)
{
	const char      *colon = strchr(text, ':');
	char            *label = colon != NULL ? xstrndup(text, (size_t)(colon - text)) : NULL;
	struct state_rec s;
	bool             was = label != NULL && label[0] != '\0' && store_state(t, label, colon + 1, &s);

	free(label);
	return was;
}

static bool
address_known(struct plan *p, struct store_txn *t, const struct backend *b, const char *name)
{
	struct state_rec s;
	char            *there = plan_unalias(p, b->label, name);
	bool             known = store_state(t, b->label, there, &s) && (s.flags & STATE_TARGET) == 0;

	free(there);
	return known;
}

static bool
address_configured(struct plan *p, const struct backend *b, const char *name)
{
	char *there = plan_unalias(p, b->label, name);
	bool  is = plan_state(p, b->label, there) != NULL;

	free(there);
	return is;
}

/* The only source that has it. A name that no source has, or several have, needs its BACKEND. */
static enum err_code
address_find_source(struct engine *e, struct store_txn *t, const char *name, const struct backend **ret, struct err *reterr)
{
	struct plan          *p = engine_plan(e);
	const struct backend *found = NULL, *only = NULL;
	size_t                sources = 0;

	for (size_t i = 0; i < p->nbackends; i++) {
		const struct backend *b = p->backends[i];

		if (!plan_is_source(p, b))
			continue;
		sources++;
		only = b;
		if (!address_known(p, t, b, name))
			continue;
		if (found != NULL) {
			err_set(reterr, ERR_USAGE, 0, "both %s and %s have a state %s", found->label, b->label, name);
			return err_hint(reterr, "write %s:%s or %s:%s", found->label, name, b->label, name);
		}
		found = b;
	}
	if (found == NULL && sources == 1 && address_configured(p, only, name))
		found = only;
	if (found == NULL && address_was(t, name)) {
		err_set(reterr, ERR_NOT_FOUND, 0, "%s: no backend of that label is configured any more", name);
		return err_hint(reterr, "what the store has of it can be reached when the label is configured again");
	}
	if (found == NULL) {
		err_set(reterr, ERR_NOT_FOUND, 0, "no source has a state %s", name);
		return err_hint(reterr, "stateferry list shows the names");
	}
	*ret = found;
	return ERR_OK;
}

/* ---------------------------------------------------------------- all of it */

static enum err_code
address_version(struct store_txn *t, enum tail tail, uint64_t n, struct address *a, struct err *reterr)
{
	struct state_rec s;

	if (tail == TAIL_NONE)
		return ERR_OK;
	a->has_version = true;
	a->has_serial = tail == TAIL_SERIAL;
	if (tail != TAIL_HEAD) {
		*(a->has_serial ? &a->serial : &a->version) = n;
		return ERR_OK;
	}
	if (!store_state(t, a->backend, a->name, &s))
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s is not known", a->backend, a->name);
	a->version = s.head;
	if (s.head == 0)
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s has no good version yet", a->backend, a->name);
	return ERR_OK;
}

static enum err_code
address_place(struct engine *e, struct store_txn *t, const char *name, const struct backend *b, struct address *a,
    struct err *reterr)
{
	if (b == NULL && address_find_source(e, t, name, &b, reterr) != ERR_OK)
		return reterr->code;
	assert(b != NULL);
	a->name = plan_unalias(engine_plan(e), b->label, name);
	if (name_check(span_str(a->name), reterr) != ERR_OK) {
		reterr->code = ERR_USAGE;
		return ERR_USAGE;
	}
	a->backend = xstrdup(b->label);
	return ERR_OK;
}

/* The backend in front of the first ":", when it is one; *text then begins after it. */
static const struct backend *
address_prefix(struct engine *e, const char **text)
{
	const char           *colon = strchr(*text, ':');
	const struct backend *b;
	char                 *label;

	if (colon == NULL)
		return NULL;
	label = xstrndup(*text, (size_t)(colon - *text));
	b = plan_backend(engine_plan(e), label);
	free(label);
	if (b != NULL)
		*text = colon + 1;
	return b;
}

size_t
address_is_serial(const char *text)
{
	size_t   len;
	uint64_t n;
	bool     fits;

	return address_tail(text, &len, &n, &fits) == TAIL_SERIAL && fits ? len : 0;
}

size_t
address_name_len(const char *text)
{
	size_t   len;
	uint64_t n;
	bool     fits;

	address_tail(text, &len, &n, &fits);
	return len;
}

enum err_code
address_resolve(struct engine *e, const char *text, const char *backend, bool raw, struct address *ret, struct err *reterr)
{
	const struct backend *b = NULL;
	struct address        a = { .backend = NULL };
	struct store_txn     *t;
	enum tail             tail = TAIL_NONE;
	uint64_t              n = 0;
	size_t                len;
	bool                  fits = true;
	char                 *name;

	if (!raw)
		b = address_prefix(e, &text);
	if (backend != NULL && backend[0] != '\0' && b == NULL &&
	    (b = plan_backend(engine_plan(e), backend)) == NULL)
		return err_set(reterr, ERR_USAGE, 0, "no backend is called \"%s\"", backend);
	len = strlen(text);
	if (!raw)
		tail = address_tail(text, &len, &n, &fits);
	if (len == 0)
		return err_set(reterr, ERR_USAGE, 0, "the name is empty");
	if (!fits || (tail == TAIL_NUMBER && n == 0))
		return err_set(reterr, ERR_USAGE, 0, "\"%s\" is no version: they count from 1", text + len + 1);
	if (store_read(engine_store(e), &t, reterr) != ERR_OK)
		return reterr->code;
	name = xstrndup(text, len);
	if (address_place(e, t, name, b, &a, reterr) == ERR_OK && address_version(t, tail, n, &a, reterr) == ERR_OK)
		*ret = a;
	else
		address_free(&a);
	store_end(t);
	free(name);
	return a.name != NULL ? ERR_OK : reterr->code;
}

void
address_free(struct address *a)
{
	free(a->backend);
	free(a->name);
	memset(a, 0, sizeof(*a));
}
