/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"

/* Whose work each lane is, where agents share it: lease, and the same within status and locks. */

struct lease_list {
	struct call *c;
	const char  *edge;    /* NULL: all */
};

static void
lease_one(void *arg, const struct lane *l, const struct lease_view *v)
{
	const struct lease_list   *x = arg;
	const struct lease_record *r = &v->seen.record;
	struct json_writer        *w = &x->c->w;

	if (x->edge != NULL && strcmp(l->edge->name, x->edge) != 0)
		return;
	json_obj(w);
	json_kv_str(w, "edge", l->edge->name);
	json_kv_str(w, "backend", l->to->label);
	json_kv_str(w, "standing", lease_standing_name(v->standing));
	put_text(w, "holder", r->holder);
	put_text(w, "name", r->holder[0] != '\0' ? r->name : "");
	json_kv_u64(w, "epoch", r->epoch);
	json_kv_u64(w, "transitions", r->transitions);
	json_kv_time(w, "since", r->holder[0] != '\0' ? r->since : 0);
	put_count(w, "expires_seconds", v->expires_ms >= 0 ? (v->expires_ms + 999) / 1000 : -1);
	put_text(w, "why", v->why.msg);
	put_text(w, "hint", v->why.hint);
	json_obj_end(w);
}

void
put_leases(struct call *c, const char *edge)
{
	json_key(&c->w, "leases");
	json_arr(&c->w);
	engine_leases(c->e, lease_one, &(struct lease_list){ c, edge });
	json_arr_end(&c->w);
}

static void
lease_listed(struct call *c, void *arg, struct err *res)
{
	(void)arg;
	if (res->code == ERR_OK)
		put_leases(c, NULL);
}

struct op *
api_lease(struct call *c, struct err *reterr)
{
	(void)reterr;
	return then_op(c, engine_leases_read(c->e), lease_listed, NULL, NULL);
}

/* --- release --- */

struct releasing {
	char                 *edge;
	struct lease_released what;
};

static void
releasing_done(struct call *c, void *arg, struct err *res)
{
	struct releasing *r = arg;

	if (res->code != ERR_OK)
		return;
	put_leases(c, r->edge);
	json_key(&c->w, "problems");
	json_arr(&c->w);
	if (r->what.others > 0) {
		json_obj(&c->w);
		put_error(&c->w, &r->what.first, r->edge);
		json_obj_end(&c->w);
		c->exit = 3;
	}
	json_arr_end(&c->w);
}

static void
releasing_free(void *arg)
{
	struct releasing *r = arg;

	free(r->edge);
	free(r);
}

struct op *
api_lease_release(struct call *c, struct err *reterr)
{
	const char       *edge;
	struct releasing *r;

	if (call_need(c, "edge", &edge, reterr) != ERR_OK)
		return NULL;
	snprintf(c->where, sizeof(c->where), "%s", edge);
	r = xcalloc(1, sizeof(*r));
	r->edge = xstrdup(edge);
	return then_op(c, engine_lease_release(c->e, edge, call_flag(c, "back"), &r->what), releasing_done, releasing_free, r);
}
