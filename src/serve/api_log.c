/* SPDX-License-Identifier: MIT */
#include "serve.h"

/* log: the versions of one state, newest first. */
struct log {
	struct json_writer *w;
	uint64_t            head;
};

static bool
log_version(void *arg, const struct version_rec *v)
{
	struct log         *l = arg;
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
	return true;
}

static enum err_code
log_write(struct call *c, const struct address *a, struct err *reterr)
{
	struct store_txn *t;
	struct state_rec  s;
	struct log        l = { .w = &c->w };
	enum err_code     rc;

	if (store_read(engine_store(c->e), &t, reterr) != ERR_OK)
		return reterr->code;
	if (store_state(t, a->backend, a->name, &s)) {
		l.head = s.head;
		put_state(&c->w, "state", s.backend, s.name);
		json_key(&c->w, "versions");
		json_arr(&c->w);
		store_versions(t, s.id, log_version, &l);
		json_arr_end(&c->w);
	} else {
		err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s is not known", a->backend, a->name);
		err_hint(reterr, "stateferry list shows the names");
		store_end(t);
		return ERR_NOT_FOUND;
	}
	rc = store_txn_error(t, reterr);
	store_end(t);
	return rc;
}

struct op *
api_log(struct call *c, struct err *reterr)
{
	struct address a;

	if (call_address(c, &a, reterr) != ERR_OK)
		return NULL;
	log_write(c, &a, reterr);
	address_free(&a);
	return NULL;
}
