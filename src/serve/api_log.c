/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "serve.h"

/* log: the versions of one state, newest first. */
struct log {
	struct json_writer *w;
	struct address      a;
	uint64_t            state, head;
	uint64_t            next;      /* the number to go on with */
};

static void
log_version(const struct log *l, const struct version_rec *v)
{
	struct json_writer *w = l->w;

	json_obj(w);
	json_kv_u64(w, "version", v->number);
	json_kv_u64(w, "serial", v->serial);
	put_text(w, "lineage", v->lineage);
	put_digest(w, "sha256", &v->digest);
	json_kv_u64(w, "size", v->size);
	json_kv_time(w, "seen", v->seen);
	json_kv_str(w, "verdict", verdict_name(v->verdict));
	json_kv_bool(w, "head", v->number == l->head);
	put_text(w, "terraform_version", v->writer);
	put_text(w, "run", v->run);
	put_text(w, "who", v->who);
	put_text(w, "operation", v->operation);
	json_kv_u64(w, "resources", v->instances);
	put_count(w, "added", v->added);
	put_count(w, "changed", v->changed);
	put_count(w, "removed", v->removed);
	put_text(w, "reason", v->reason);
	put_text(w, "origin", v->origin);
	json_kv_bool(w, "dropped", v->dropped);
	json_obj_end(w);
}

static enum err_code
log_begin(struct log *l, struct store_txn *t, struct err *reterr)
{
	struct state_rec s;

	if (!store_state(t, l->a.backend, l->a.name, &s)) {
		if (store_txn_error(t, reterr) != ERR_OK)
			return reterr->code;
		err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s is not known", l->a.backend, l->a.name);
		return err_hint(reterr, "stateferry list shows the names");
	}
	l->state = s.id;
	l->head = s.head;
	l->next = s.versions;
	put_state(l->w, "state", s.backend, s.name);
	put_text(l->w, "problem", s.problem);
	json_key(l->w, "versions");
	json_arr(l->w);
	return ERR_OK;
}

static enum err_code
log_turn(void *arg, struct turn *t, struct err *reterr)
{
	struct log        *l = arg;
	struct version_rec v;

	if (l->state == 0 && log_begin(l, t->t, reterr) != ERR_OK)
		return reterr->code;
	for (; l->next > 0 && turn_room(t); l->next--)
		if (store_version(t->t, l->state, l->next, &v))
			log_version(l, &v);
	if (!t->more)
		json_arr_end(l->w);
	return ERR_OK;
}

static void
log_free(void *arg)
{
	struct log *l = arg;

	address_free(&l->a);
	free(l);
}

struct op *
api_log(struct call *c, struct err *reterr)
{
	struct log *l = xcalloc(1, sizeof(*l));

	if (call_address(c, &l->a, reterr) != ERR_OK) {
		free(l);
		return NULL;
	}
	l->w = &c->w;
	return turns_op(c, &(struct turns){ log_turn, log_free, l });
}
