/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "serve.h"

/* list: every state with its replicas. */
struct list {
	struct call            *c;
	bool                    targets;   /* also what is known only because we write there */
};

static void
list_replica(void *arg, const struct replica_view *v)
{
	struct json_writer *w = &((struct list *)arg)->c->w;

	json_obj(w);
	json_kv_str(w, "edge", v->lane->edge->name);
	json_kv_str(w, "backend", v->lane->to->label);
	put_text(w, "name", v->name);
	json_kv_str(w, "status", replica_status_name(v->status));
	json_key(w, "serial");
	if (digest_is_zero(&v->rec.digest))
		json_nil(w);
	else
		json_u64(w, v->rec.serial);
	put_digest(w, "sha256", &v->rec.digest);
	json_kv_time(w, "written", v->rec.written);
	json_kv_time(w, "verified", v->rec.verified);
	json_key(w, "lag_seconds");
	if (v->lag_ms < 0)
		json_nil(w);
	else
		json_f64(w, (double)v->lag_ms / 1000);
	json_key(w, "flags");
	json_arr(w);
	if (v->rec.reencoded)
		json_str(w, "reencoded");
	json_arr_end(w);
	put_text(w, "error", v->why.msg);
	put_text(w, "hint", v->why.hint);
	json_obj_end(w);
}

static void
list_flags(struct json_writer *w, const struct state_rec *s, const struct version_rec *head)
{
	json_key(w, "flags");
	json_arr(w);
	if (head != NULL && head->kind == STATE_ENCRYPTED)
		json_str(w, "encrypted");
	if (head != NULL && head->kind == STATE_V3)
		json_str(w, "v3");
	if ((s->flags & STATE_UNCOVERED) != 0)
		json_str(w, "uncovered");
	if ((s->flags & STATE_GONE) != 0)
		json_str(w, "gone");
	if ((s->flags & STATE_IS_LOCKED) != 0)
		json_str(w, "locked");
	json_arr_end(w);
}

static void
list_head(struct json_writer *w, const struct version_rec *head)
{
	static const char *const absent[] = { "serial", "lineage", "size", "head", "sha256", "resources" };

	if (head == NULL) {
		for (size_t i = 0; i < ARRAY_LEN(absent); i++)
			json_kv_str(w, absent[i], NULL);
		return;
	}
	json_kv_u64(w, "serial", head->serial);
	put_text(w, "lineage", head->lineage);
	json_kv_u64(w, "size", head->size);
	json_kv_u64(w, "head", head->number);
	put_digest(w, "sha256", &head->digest);
	json_kv_u64(w, "resources", head->instances);
}

/* Listed counts as checked: its change tag was compared. */
static int64_t
list_checked(struct engine *e, const struct state_rec *s)
{
	struct place_health h = api_health_of(e, s->backend);

	return h.last_ok > s->last_read && (s->flags & STATE_TARGET) == 0 ? h.last_ok : s->last_read;
}

static void
list_lock(struct json_writer *w, struct store_txn *t, const struct state_rec *s)
{
	struct run_rec r;
	bool           known = store_run(t, s, &r);

	json_key(w, "lock");
	if ((s->flags & STATE_IS_LOCKED) == 0) {
		json_nil(w);
		return;
	}
	json_obj(w); /* not known: the listing shows that there is one, no more */
	put_text(w, "id", known ? r.lock : NULL);
	put_text(w, "who", known ? r.who : NULL);
	put_text(w, "operation", known ? r.operation : NULL);
	put_text(w, "created", known ? r.created : NULL);
	json_obj_end(w);
}

static bool
list_state(void *arg, struct store_txn *t, const struct state_rec *s)
{
	struct list                *x = arg;
	struct json_writer         *w = &x->c->w;
	struct plan                *p = engine_plan(x->c->e);
	const struct backend       *b = plan_backend(p, s->backend);
	struct version_rec          head;
	bool                        have = s->head != 0 && store_version(t, s->id, s->head, &head);
	struct buf                  ws;

	if ((s->flags & STATE_TARGET) != 0 && !x->targets)
		return true;
	buf_init(&ws, 0);
	if (b != NULL)
		provider_workspace(b, s->name, &ws);
	json_obj(w);
	json_kv_str(w, "backend", s->backend);
	json_kv_str(w, "name", s->name);
	json_kv_str(w, "alias", plan_alias(p, s->backend, s->name));
	put_text(w, "workspace", buf_str(&ws));
	list_head(w, have ? &head : NULL);
	json_kv_u64(w, "versions", s->versions);
	json_kv_time(w, "first_seen", s->first_seen);
	json_kv_time(w, "last_changed", s->last_changed);
	json_kv_time(w, "last_checked", list_checked(x->c->e, s));
	list_flags(w, s, have ? &head : NULL);
	list_lock(w, t, s);
	put_text(w, "problem", s->problem);
	json_key(w, "replicas");
	json_arr(w);
	engine_replicas(x->c->e, t, s, list_replica, x);
	json_arr_end(w);
	json_obj_end(w);
	buf_free(&ws);
	return true;
}

static enum err_code
list_ended(void *arg, struct err *reterr)
{
	(void)reterr;
	json_arr_end(&((struct list *)arg)->c->w);
	return ERR_OK;
}

struct op *
api_list(struct call *c, struct err *reterr)
{
	const char  *backend = call_arg(c, "backend");
	struct list *x;

	if (backend != NULL && plan_backend(engine_plan(c->e), backend) == NULL) {
		err_set(reterr, ERR_USAGE, 0, "no backend is called \"%s\"", backend);
		return NULL;
	}
	x = xcalloc(1, sizeof(*x));
	x->c = c;
	x->targets = backend != NULL;
	json_key(&c->w, "states");
	json_arr(&c->w);
	return walk_op(c, backend, &(struct walk){ list_state, list_ended, free, x });
}
