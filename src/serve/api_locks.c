/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "serve.h"

/* locks and unlock. */

static void
locks_one(void *arg, const struct lock_seen *l)
{
	struct call        *c = arg;
	struct json_writer *w = &c->w;
	int64_t             created = 0;
	int64_t             now = loop_wall(engine_loop(c->e));

	json_obj(w);
	json_kv_str(w, "backend", l->backend);
	json_kv_str(w, "name", l->name);
	put_text(w, "id", l->lock.id);
	put_text(w, "who", l->lock.who);
	put_text(w, "operation", l->lock.operation);
	put_text(w, "created", l->lock.created);
	put_count(w, "age_seconds", time_parse(l->lock.created, &created) && now >= created ? (now - created) / 1000 : -1);
	json_kv_bool(w, "ours", l->ours);
	put_text(w, "info", l->lock.info);
	put_text(w, "terraform_version", l->lock.version);
	json_obj_end(w);
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

static void
unlock_done(struct call *c, void *arg, struct err *res)
{
	struct address *a = arg;

	if (res->code == ERR_OK)
		put_state(&c->w, "unlocked", a->backend, a->name);
}

void
address_release(void *arg)
{
	address_free(arg);
	free(arg);
}

struct op *
api_unlock(struct call *c, struct err *reterr)
{
	struct address a, *kept;
	const char    *id = call_arg(c, "id");

	if (call_address(c, &a, reterr) != ERR_OK)
		return NULL;
	if (a.has_version) {
		err_set(reterr, ERR_USAGE, 0, "a version has no lock");
		address_free(&a);
		return NULL;
	}
	kept = xmemdup(&a, sizeof(a));
	return then_op(c, engine_unlock(c->e, a.backend, a.name, id != NULL && id[0] != '\0' ? id : NULL), unlock_done, address_release,
	    kept);
}
