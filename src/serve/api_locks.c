/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

/* locks and unlock. as_of: what is told was known then; null: it was just read. */

static void
locks_members(struct call *c, const struct lock_seen *l)
{
	struct json_writer *w = &c->w;
	struct store_txn   *t = NULL;
	struct lock_view    v;

	if (store_read(engine_store(c->e), &t, NULL) != ERR_OK)
		t = NULL;
	engine_lock_view(c->e, t, l, &v);
	if (t != NULL)
		store_end(t);

	put_text(w, "id", l->lock.id);
	put_text(w, "who", l->lock.who);
	put_text(w, "operation", l->lock.operation);
	put_text(w, "created", l->lock.created);
	put_count(w, "age_seconds", v.age_ms >= 0 ? v.age_ms / 1000 : -1);
	json_kv_bool(w, "ours", l->ours);
	put_text(w, "info", l->lock.info);
	put_text(w, "terraform_version", l->lock.version);
	json_kv_time(w, "as_of", l->as_of);
	json_kv_i64(w, "patience_seconds", v.patience_ms / 1000);
	json_kv_bool(w, "patience_over", v.over);
	json_kv_bool(w, "suspect", v.suspect);
	put_text(w, "diagnosis", v.text);
}

static void
locks_one(void *arg, const struct lock_seen *l)
{
	struct call *c = arg;

	json_obj(&c->w);
	json_kv_str(&c->w, "backend", l->backend);
	json_kv_str(&c->w, "name", l->name);
	locks_members(c, l);
	json_obj_end(&c->w);
}

/* Of these a lock is known from a refusal alone: that none is told means nothing. */
static void
locks_put_unseen(struct call *c)
{
	const struct plan *p = engine_plan(c->e);
	const char        *only = call_arg(c, "backend");

	json_key(&c->w, "unseen");
	json_arr(&c->w);
	for (size_t i = 0; i < p->nbackends; i++)
		if ((provider_caps(p->backends[i]) & PROVIDER_LOCK) != 0 && p->backends[i]->provider->lock_peek == NULL &&
		    (only == NULL || strcmp(only, p->backends[i]->label) == 0))
			json_str(&c->w, p->backends[i]->label);
	json_arr_end(&c->w);
}

/* A backend that does not answer must not read as "no locks"; what the others said is shown all the same. */
static void
locks_done(struct call *c, void *arg, struct err *res)
{
	(void)arg;
	if (res->code == ERR_CANCELLED || res->code == ERR_USAGE)
		return;
	json_arr_end(&c->w);
	json_key(&c->w, "problems");
	json_arr(&c->w);
	if (res->code != ERR_OK) {
		json_obj(&c->w);
		put_error(&c->w, res, "");
		json_obj_end(&c->w);
		c->exit = err_exit(res->code);
	}
	json_arr_end(&c->w);
	locks_put_unseen(c);
	put_leases(c, NULL);
	err_clear(res);
}

struct op *
api_locks(struct call *c, struct err *reterr)
{
	(void)reterr;
	json_key(&c->w, "locks");
	json_arr(&c->w);
	return then_op(c, engine_locks(c->e, call_arg(c, "backend"), locks_one, c), locks_done, NULL, NULL);
}

struct unlocking {
	struct address   a;
	bool             look;
	struct lock_seen lock;
	struct kept      kept;
};

/* Which version what it held is. */
static void
unlock_kept(struct json_writer *w, const struct kept *k)
{
	json_key(w, "kept");
	if (k->version == 0) {
		json_nil(w);
		return;
	}
	json_obj(w);
	json_kv_str(w, "state", k->state);
	json_kv_u64(w, "version", k->version);
	json_obj_end(w);
}

static void
unlock_done(struct call *c, void *arg, struct err *res)
{
	struct unlocking *u = arg;

	if (res->code != ERR_OK)
		return;
	put_state(&c->w, u->look ? "state" : "unlocked", u->a.backend, u->a.name);
	if (!u->look)
		unlock_kept(&c->w, &u->kept);
	json_key(&c->w, "lock");
	if (u->lock.lock.id[0] == '\0' && u->lock.lock.who[0] == '\0') {
		json_nil(&c->w);
		return;
	}
	u->lock.backend = u->a.backend;
	u->lock.name = u->a.name;
	json_obj(&c->w);
	locks_members(c, &u->lock);
	json_obj_end(&c->w);
}

void
address_release(void *arg)
{
	address_free(arg);
	free(arg);
}

static void
unlock_release(void *arg)
{
	struct unlocking *u = arg;

	address_free(&u->a);
	free(u);
}

static struct op *
unlock_call(struct call *c, bool look, struct err *reterr)
{
	struct unlocking *u = xcalloc(1, sizeof(*u));
	const char       *id = call_arg(c, "id");
	struct op        *op;

	if (call_address(c, &u->a, reterr) != ERR_OK) {
		free(u);
		return NULL;
	}
	if (u->a.has_version) {
		err_set(reterr, ERR_USAGE, 0, "a version has no lock");
		unlock_release(u);
		return NULL;
	}
	if (id != NULL && id[0] == '\0')
		id = NULL;
	u->look = look;
	op = look ? engine_unlock_look(c->e, u->a.backend, u->a.name, id, &u->lock) :
	    engine_unlock(c->e, u->a.backend, u->a.name, id, &u->lock, &u->kept);
	return then_op(c, op, unlock_done, unlock_release, u);
}

/* What unlock would break. */
struct op *
api_unlock_look(struct call *c, struct err *reterr)
{
	return unlock_call(c, true, reterr);
}

struct op *
api_unlock(struct call *c, struct err *reterr)
{
	return unlock_call(c, false, reterr);
}
