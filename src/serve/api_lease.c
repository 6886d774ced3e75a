/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"

/* Whose work each lane is, where agents share it: lease, and the same within status and locks. */

struct lease_list {
	struct call *c;
	const char  *edge;    /* NULL: all */
	bool         unasked; /* nobody looks at them: the store is not active here */
	struct err   unread;  /* the first that could not be read */
	const char  *where;   /* its target */
};

static void
lease_one(void *arg, const struct lane *l, const struct lease_view *v)
{
	struct lease_list         *x = arg;
	const struct lease_record *r = &v->seen.record;
	struct json_writer        *w = &x->c->w;

	if (x->edge != NULL && strcmp(l->edge->name, x->edge) != 0)
		return;
	json_obj(w);
	json_kv_str(w, "edge", l->edge->name);
	json_kv_str(w, "backend", l->to->label);
	json_kv_str(w, "standing", lease_standing_name(x->unasked && r->epoch == 0 ? LEASE_UNREAD : v->standing));
	put_text(w, "holder", r->holder);
	put_text(w, "name", r->holder[0] != '\0' ? r->name : "");
	json_kv_u64(w, "epoch", r->epoch);
	json_kv_u64(w, "transitions", r->transitions);
	json_kv_time(w, "since", r->holder[0] != '\0' ? r->since : 0);
	put_count(w, "expires_seconds", v->expires_ms >= 0 ? (v->expires_ms + 999) / 1000 : -1);
	put_text(w, "why", v->why.msg);
	put_text(w, "hint", v->why.hint);
	json_obj_end(w);
	if (v->standing != LEASE_UNREAD || x->unread.code != ERR_OK)
		return;
	x->unread = v->why;
	x->where = l->to->label;
}

static void
put_lease_list(struct lease_list *x)
{
	json_key(&x->c->w, "leases");
	json_arr(&x->c->w);
	engine_leases(x->c->e, lease_one, x);
	json_arr_end(&x->c->w);
}

void
put_leases(struct call *c, const char *edge)
{
	put_lease_list(&(struct lease_list){ .c = c, .edge = edge, .unasked = store_is_foreign(engine_store(c->e)) });
}

static void
lease_problem(struct call *c, const struct err *e, const char *where, int exit)
{
	json_key(&c->w, "problems");
	json_arr(&c->w);
	if (e->code != ERR_OK) {
		json_obj(&c->w);
		put_error(&c->w, e, where);
		json_obj_end(&c->w);
		c->exit = exit;
	}
	json_arr_end(&c->w);
}

/* A coordinator that does not answer must not read as "nobody's". */
static void
lease_listed(struct call *c, void *arg, struct err *res)
{
	struct lease_list x = { .c = c };

	(void)arg;
	if (res->code != ERR_OK)
		return;
	put_lease_list(&x);
	lease_problem(c, &x.unread, x.where, err_exit(x.unread.code));
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
	lease_problem(c, &r->what.first, r->edge, 3);
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
