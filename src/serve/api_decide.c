/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"
#include "sync/judge.h"

/* What only a person decides: quarantine, release, drop, resolve, adopt. */

/* ---------------------------------------------------------------- quarantine */

struct quarantine {
	struct json_writer *w;
	struct state_rec    s;         /* the one being looked at; its strings are those of the turn. id 0: none yet */
	uint64_t            next;      /* number of the version to go on with */
};

/* What a target held, or an older state put there, is a kept copy and waits for nobody. */
static void
quarantine_version(struct quarantine *x, const struct version_rec *v)
{
	const struct state_rec *s = &x->s;
	struct json_writer     *w = x->w;
	struct buf              hint;
	bool                    now = s->seen_version == v->number;

	if (verdict_is_head(v->verdict) || v->dropped || v->number == s->head || v->origin[0] != '\0' ||
	    digest_eq(&s->released, &v->digest) || digest_eq(&s->head_digest, &v->digest))
		return;
	buf_init(&hint, 0);
	judge_advice(s, v, now, &hint);
	json_obj(w);
	json_kv_str(w, "backend", s->backend);
	json_kv_str(w, "name", s->name);
	json_kv_u64(w, "version", v->number);
	json_kv_u64(w, "serial", v->serial);
	json_kv_str(w, "verdict", verdict_name(v->verdict));
	put_text(w, "reason", v->reason);
	json_kv_time(w, "seen", v->seen);
	json_kv_u64(w, "size", v->size);
	put_digest(w, "sha256", &v->digest);
	json_kv_bool(w, "at_source", now);
	json_kv_str(w, "hint", buf_str(&hint));
	json_obj_end(w);
	buf_free(&hint);
}

static bool
quarantine_state(void *arg, const struct state_rec *s)
{
	struct quarantine *x = arg;

	x->s = *s;
	x->next = s->versions;
	return false;
}

/* All versions of all states, newest first within each: a state may have many. */
static enum err_code
quarantine_turn(void *arg, struct turn *t, struct err *reterr)
{
	struct quarantine *x = arg;
	struct version_rec v;
	uint64_t           id = x->s.id;

	if (id != 0 && !store_state_by_id(t->t, id, &x->s))
		return store_txn_error(t->t, reterr) != ERR_OK ? reterr->code : err_set(reterr, ERR_CORRUPT, 0, "a state that was just read is gone");
	while (turn_room(t)) {
		if (x->next > 0) {
			if (store_version(t->t, x->s.id, x->next--, &v))
				quarantine_version(x, &v);
			continue;
		}
		id = x->s.id;
		store_states(t->t, NULL, id, quarantine_state, x);
		if (x->s.id == id)
			break;
	}
	if (!t->more)
		json_arr_end(x->w);
	return ERR_OK;
}

struct op *
api_quarantine(struct call *c, struct err *reterr)
{
	struct quarantine *x = xcalloc(1, sizeof(*x));

	(void)reterr;
	x->w = &c->w;
	json_key(&c->w, "quarantine");
	json_arr(&c->w);
	return turns_op(c, &(struct turns){ quarantine_turn, free, x });
}

/* ---------------------------------------------------------------- release, drop */

static void
release_done(struct call *c, void *arg, struct err *res)
{
	struct address   *a = arg;
	struct store_txn *t;
	struct state_rec  s;
	bool              have;

	if (res->code != ERR_OK || store_read(engine_store(c->e), &t, res) != ERR_OK)
		return;
	have = store_state(t, a->backend, a->name, &s);
	put_state(&c->w, "released", a->backend, a->name);
	json_key(&c->w, "head");
	if (have && s.head != 0)
		json_u64(&c->w, s.head);
	else
		json_nil(&c->w);
	put_digest(&c->w, "sha256", have ? &s.head_digest : &(struct digest){ { 0 } });
	store_end(t);
}

struct op *
api_release(struct call *c, struct err *reterr)
{
	struct address a;

	if (call_address(c, &a, reterr) != ERR_OK)
		return NULL;
	return then_op(c, engine_release(c->e, a.backend, a.name, a.version), release_done, address_release, xmemdup(&a, sizeof(a)));
}

static void
drop_done(struct call *c, void *arg, struct err *res)
{
	struct address *a = arg;

	if (res->code != ERR_OK)
		return;
	put_state(&c->w, "dropped", a->backend, a->name);
	json_kv_u64(&c->w, "version", a->version);
}

struct op *
api_drop(struct call *c, struct err *reterr)
{
	struct address a;

	if (call_address(c, &a, reterr) != ERR_OK)
		return NULL;
	if (!a.has_version) {
		err_set(reterr, ERR_USAGE, 0, "drop needs a version: %s:%s@V", a.backend, a.name);
		err_hint(reterr, "stateferry quarantine ls names them");
		address_free(&a);
		return NULL;
	}
	return then_op(c, engine_drop(c->e, a.backend, a.name, a.version), drop_done, address_release, xmemdup(&a, sizeof(a)));
}

/* ---------------------------------------------------------------- resolve */

struct resolve {
	struct edge   *edge;
	struct address a;
};

static void
resolve_release(void *arg)
{
	struct resolve *x = arg;

	address_free(&x->a);
	free(x);
}

/* The state, at the edge's source unless the address says otherwise. */
static struct resolve *
resolve_args(struct call *c, struct err *reterr)
{
	struct resolve *x;
	const char     *edge, *raw = call_arg(c, "name"), *text, *backend = call_arg(c, "backend");
	struct resolve  r = { .edge = NULL };

	if (call_need(c, "edge", &edge, reterr) != ERR_OK || call_need(c, raw != NULL ? "name" : "state", &text, reterr) != ERR_OK)
		return NULL;
	snprintf(c->where, sizeof(c->where), "%s", text);
	r.edge = plan_edge(engine_plan(c->e), edge);
	if (r.edge == NULL) {
		err_set(reterr, ERR_USAGE, 0, "no edge is called \"%s\"", edge);
		return NULL;
	}
	if (address_resolve(c->e, text, backend != NULL ? backend : r.edge->from->label, raw != NULL, &r.a, reterr) != ERR_OK)
		return NULL;
	if (strcmp(r.a.backend, r.edge->from->label) != 0 || r.a.has_version) {
		err_set(reterr, ERR_USAGE, 0, "%s copies states of %s, as they are now", edge, r.edge->from->label);
		address_free(&r.a);
		return NULL;
	}
	x = xmemdup(&r, sizeof(r));
	return x;
}

static void
resolve_done(struct call *c, void *arg, struct err *res)
{
	struct resolve *x = arg;

	if (res->code != ERR_OK)
		return;
	json_kv_str(&c->w, "edge", x->edge->name);
	put_state(&c->w, "resolved", x->a.backend, x->a.name);
}

struct op *
api_resolve(struct call *c, struct err *reterr)
{
	struct resolve *x = resolve_args(c, reterr);
	const char     *target = call_arg(c, "target");

	if (x == NULL)
		return NULL;
	return then_op(c, engine_resolve(c->e, x->edge->name, x->a.name, target), resolve_done, resolve_release, x);
}

struct resolve_plan {
	struct json_writer *w;
	const struct edge  *edge;
};

static void
resolve_held(void *arg, const struct replica_view *v)
{
	struct resolve_plan *x = arg;

	if (v->lane->edge != x->edge || v->status != REPLICA_HELD || v->quarantined)
		return;
	json_obj(x->w);
	json_kv_str(x->w, "backend", v->lane->to->label);
	put_text(x->w, "name", v->rec.name);
	json_key(x->w, "serial");
	if (digest_is_zero(&v->rec.digest))
		json_nil(x->w);
	else
		json_u64(x->w, v->rec.serial);
	put_text(x->w, "reason", v->why.msg);
	json_obj_end(x->w);
}

/* What would be overwritten, from what is known: nothing is asked. */
struct op *
api_resolve_plan(struct call *c, struct err *reterr)
{
	struct resolve   *x = resolve_args(c, reterr);
	struct store_txn *t;
	struct state_rec  s;

	if (x == NULL)
		return NULL;
	if (store_read(engine_store(c->e), &t, reterr) == ERR_OK) {
		json_key(&c->w, "held");
		json_arr(&c->w);
		if (store_state(t, x->a.backend, x->a.name, &s))
			engine_replicas(c->e, t, &s, resolve_held, &(struct resolve_plan){ &c->w, x->edge });
		else
			err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s is not known", x->a.backend, x->a.name);
		json_arr_end(&c->w);
		store_end(t);
	}
	resolve_release(x);
	return NULL;
}

/* ---------------------------------------------------------------- adopt */

static void
adopt_sentence(void *arg, const char *sentence)
{
	json_str(&((struct call *)arg)->w, sentence);
}

static void
adopt_changes(struct call *c)
{
	json_key(&c->w, "changes");
	json_arr(&c->w);
	engine_adopt_plan(c->e, adopt_sentence, c);
	json_arr_end(&c->w);
}

struct op *
api_adopt_plan(struct call *c, struct err *reterr)
{
	(void)reterr;
	adopt_changes(c);
	return NULL;
}

struct op *
api_adopt(struct call *c, struct err *reterr)
{
	(void)reterr;
	adopt_changes(c);
	return engine_adopt(c->e);
}
