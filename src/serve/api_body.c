/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "body.h"

/* cat and show: what a version holds. */

enum err_code
call_version(struct call *c, struct wanted *ret, struct err *reterr)
{
	struct address     a = { 0 };
	struct store_txn  *t;
	struct state_rec   s;
	struct version_rec v;

	if (call_address(c, &a, reterr) != ERR_OK)
		return reterr->code;
	if (store_read(engine_store(c->e), &t, reterr) != ERR_OK) {
		address_free(&a);
		return reterr->code;
	}
	if (!store_state(t, a.backend, a.name, &s)) {
		err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s is not known", a.backend, a.name);
		err_hint(reterr, "stateferry list shows the names");
	} else if (!a.has_version && s.head == 0) {
		err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s has no good version yet", a.backend, a.name);
		err_hint(reterr, "stateferry log %s:%s shows what was seen", a.backend, a.name);
	} else if (!store_version(t, s.id, a.has_version ? a.version : s.head, &v)) {
		err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s has no version %" PRIu64, a.backend, a.name, a.has_version ? a.version : s.head);
		err_hint(reterr, "stateferry log %s:%s", a.backend, a.name);
	} else if (v.dropped || (v.size > 0 && !store_has_body(t, &v.digest))) {
		err_set(reterr, ERR_NOT_FOUND, 0, "the bytes of version %" PRIu64 " of %s:%s were dropped", v.number, a.backend, a.name);
	} else {
		*ret = (struct wanted){ xstrdup(a.backend), xstrdup(a.name), xstrdup(v.lineage), v.number, v.serial, v.size, v.digest, v.kind };
		store_end(t);
		address_free(&a);
		return ERR_OK;
	}
	store_end(t);
	address_free(&a);
	return reterr->code;
}

void
wanted_free(struct wanted *w)
{
	free(w->backend);
	free(w->name);
	free(w->lineage);
}

struct op *
api_cat(struct call *c, struct err *reterr)
{
	struct wanted w = { 0 };
	struct digest d;

	if (call_version(c, &w, reterr) != ERR_OK)
		return NULL;
	d = w.digest;
	wanted_free(&w);
	return store_body_load(engine_store(c->e), &d, &c->body);
}
