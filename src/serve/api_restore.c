/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "body.h"
#include "restores.h"

/* restore: one state, or all as they were at a time. */

/* ---------------------------------------------------------------- which version */

static void
restores_take(struct restore_item *i, uint64_t version)
{
	i->version = version;
	i->chosen = version != 0;
}

/* The newest head that was there at that time. */
static bool
restore_at_version(void *arg, const struct version_rec *v)
{
	struct restores     *x = arg;
	struct restore_item *i = &x->items[x->choosing];

	/* head: what was released although judged otherwise */
	if (v->seen > x->at || v->dropped || (!verdict_is_head(v->verdict) && v->number != i->head) || v->kind == STATE_EMPTY ||
	    v->kind == STATE_DAMAGED || version_is_evidence(v))
		return true;
	restores_take(i, v->number);
	return false;
}

static enum err_code
restores_no_version(const struct restores *x, const struct restore_item *i, struct err *reterr)
{
	char when[TIME_TEXT_MAX];

	err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s has no good version %s%s", i->backend, i->name, x->has_at ? "from before " : "yet",
	    x->has_at ? time_format_s(x->at, when) : "");
	return err_hint(reterr, "stateferry log %s:%s", i->backend, i->name);
}

/* A state that did not exist at that time is left alone when all are restored. */
static enum err_code
restores_choose(void *arg, struct turn *t, struct err *reterr)
{
	struct restores *x = arg;

	for (; x->choosing < x->n; x->choosing++) {
		struct restore_item *i = &x->items[x->choosing];

		if (!turn_versions(t, i->state, &i->newest, restore_at_version, x))
			return ERR_OK;
		if (i->version == 0 && !x->all)
			return restores_no_version(x, i, reterr);
	}
	return ERR_OK;
}

static struct restore_item *
restores_add_state(struct restores *x, const struct state_rec *s, uint64_t version)
{
	struct restore_item *i = restores_add(x, s->backend, s->name);

	i->state = s->id;
	i->head = s->head;
	i->newest = s->versions;
	restores_take(i, version);
	return i;
}

static bool
restores_state(void *arg, struct store_txn *t, const struct state_rec *s)
{
	struct restores *x = arg;
	struct plan     *p = engine_plan(x->c->e);
	struct backend  *b = plan_backend(p, s->backend);

	(void)t;
	if ((s->flags & STATE_TARGET) == 0 && b != NULL && plan_is_source(p, b) && s->head != 0)
		restores_add_state(x, s, 0);
	return true;
}

/* The version that is named, or without one the head; by time it is chosen later. */
static enum err_code
restores_one(struct restores *x, const struct address *a, struct err *reterr)
{
	struct store_txn    *t;
	struct state_rec     s;
	struct restore_item *i;

	if (store_read(engine_store(x->c->e), &t, reterr) != ERR_OK)
		return reterr->code;
	err_clear(reterr);
	if (!store_state(t, a->backend, a->name, &s)) {
		err_set(reterr, ERR_NOT_FOUND, 0, "%s:%s is not known", a->backend, a->name);
		err_hint(reterr, "stateferry list shows the names");
	} else {
		i = restores_add_state(x, &s, a->has_version ? a->version : x->has_at ? 0 : s.head);
		if (i->version == 0 && !x->has_at)
			restores_no_version(x, i, reterr);
	}
	store_end(t);
	return reterr->code;
}

static struct op *
restores_begin(struct restores *x, struct restore_item *i)
{
	struct restore_options o = { .backend = i->backend, .name = i->name, .version = i->version, .to_backend = x->to_backend,
		.to_name = x->to_name, .keep_serial = call_flag(x->c, "keep_serial"), .dry_run = call_flag(x->c, "dry_run") };

	return engine_restore(x->c->e, &o, &i->result);
}

static struct op *
restores_collect(struct restores *x)
{
	return x->all ? walk_op(x->c, NULL, &(struct walk){ restores_state, NULL, NULL, x }) : NULL;
}

static struct op *
restores_choose_all(struct restores *x)
{
	return x->has_at ? turns_op(x->c, &(struct turns){ restores_choose, NULL, x }) : NULL;
}

/* BACKEND:NAME, the backend spelled out: it need not exist there. */
static enum err_code
restores_to(struct restores *x, const char *to, struct err *reterr)
{
	struct plan    *p = engine_plan(x->c->e);
	const char     *colon = strchr(to, ':');
	struct backend *b;

	if (x->all)
		return err_set(reterr, ERR_USAGE, 0, "to is for one state, not for all");
	x->to_backend = colon == NULL ? xstrdup(to) : xstrndup(to, (size_t)(colon - to));
	b = plan_backend(p, x->to_backend);
	if (b == NULL || colon == NULL || colon[1] == '\0') {
		err_set(reterr, ERR_USAGE, 0, "\"%s\" is no BACKEND:NAME", to);
		return err_hint(reterr, "the part before the colon is a label of the configuration");
	}
	x->to_name = plan_unalias(p, b->label, colon + 1);
	return ERR_OK;
}

static enum err_code
restores_args(struct restores *x, struct err *reterr)
{
	struct call   *c = x->c;
	const char    *at = call_arg(c, "at"), *to = call_arg(c, "to");
	struct address a;
	enum err_code  rc;

	x->all = call_flag(c, "all");
	x->has_at = at != NULL;
	if (x->all && (at == NULL || call_arg(c, "state") != NULL || call_arg(c, "name") != NULL))
		return err_set(reterr, ERR_USAGE, 0, "all needs \"at\", and no state");
	if (at != NULL && call_time(c, at, &x->at, reterr) != ERR_OK)
		return reterr->code;
	if (to != NULL && to[0] != '\0' && restores_to(x, to, reterr) != ERR_OK)
		return reterr->code;
	if (x->all)
		return ERR_OK;
	if (call_address(c, &a, reterr) != ERR_OK)
		return reterr->code;
	if (x->has_at ? a.has_version : !a.has_version && x->to_backend == NULL) { /* the head lies where it would be put */
		err_set(reterr, ERR_USAGE, 0, "restore needs a version, or a time, and not both");
		err_hint(reterr, "stateferry restore %s:%s@V; stateferry log shows the versions", a.backend, a.name);
		rc = ERR_USAGE;
	} else
		rc = restores_one(x, &a, reterr);
	address_free(&a);
	return rc;
}

struct op *
api_restore(struct call *c, struct err *reterr)
{
	struct restores *x = xcalloc(1, sizeof(*x));

	*x = (struct restores){ .c = c, .collect = restores_collect, .choose = restores_choose_all, .begin = restores_begin,
		.doing = engine_restore_doing, .kind = "restore", .verb = "restoring" };
	err_set(&x->none, ERR_NOT_FOUND, 0, "no state had a version then");
	err_hint(&x->none, "stateferry log STATE shows since when there are any");
	if (restores_args(x, reterr) == ERR_OK)
		return restores_op(x);
	restores_free(x);
	return NULL;
}

/* Into a file of whoever asks, who writes it from "cat" of just this version: it lies in no place of ours, so nothing is compared. */
struct op *
api_restore_out(struct call *c, struct err *reterr)
{
	struct json_writer *w = &c->w;
	struct wanted       v = { 0 };
	const char         *path;

	if (call_need(c, "path", &path, reterr) != ERR_OK || call_version(c, &v, reterr) != ERR_OK)
		return NULL;
	json_key(w, "result");
	json_arr(w);
	json_obj(w);
	put_state(w, "state", v.backend, v.name);
	json_kv_u64(w, "from", v.version);
	json_kv_str(w, "to", path);
	put_text(w, "serial_before", NULL);
	json_kv_u64(w, "serial_after", v.serial);
	put_digest(w, "sha256", &v.digest);
	put_count(w, "changed_resources", -1);
	put_text(w, "error", NULL);
	json_kv_u64(w, "version", v.version);
	json_kv_u64(w, "serial", v.serial);
	put_text(w, "lineage", v.lineage);
	json_kv_u64(w, "bytes", v.size);
	json_kv_str(w, "path", path);
	json_obj_end(w);
	json_arr_end(w);
	wanted_free(&v);
	return NULL;
}
