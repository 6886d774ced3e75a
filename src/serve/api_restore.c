/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "body.h"

/* restore: one state, or all as they were at a time. */

#define RESTORE_AT_ONCE 4

struct restore_item {
	char                 *backend, *name;
	uint64_t              version;      /* 0: not chosen */
	uint64_t              state, head, newest; /* newest: the version to go on with */
	struct err            why;          /* how it ended */
	const struct op      *running;      /* NULL: it did not begin, or has ended */
	struct restore_result result;
};

struct restores {
	struct call          *c;
	struct restore_item  *items;
	size_t                n, next, cap; /* next: the first that was not begun */
	size_t                choosing, done, failed;
	bool                  has_at, all;
	int64_t               at;           /* wall ms */
	char                 *to_backend, *to_name;
};

static struct restore_item *
restores_add(struct restores *x, const char *backend, const char *name)
{
	if (x->n == x->cap) {
		x->cap = x->cap == 0 ? 16 : 2 * x->cap;
		x->items = xreallocarray(x->items, x->cap, sizeof(*x->items));
	}
	x->items[x->n] = (struct restore_item){ .backend = xstrdup(backend), .name = xstrdup(name) };
	err_set(&x->items[x->n].why, ERR_CANCELLED, 0, "it did not begin"); /* until it ends otherwise */
	return &x->items[x->n++];
}

static void
restores_free(void *arg)
{
	struct restores *x = arg;

	for (size_t i = 0; i < x->n; i++) {
		free(x->items[i].backend);
		free(x->items[i].name);
	}
	free(x->items);
	free(x->to_backend);
	free(x->to_name);
	free(x);
}

/* ---------------------------------------------------------------- which version */

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
	i->version = v->number;
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
	i->version = version;
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

/* ---------------------------------------------------------------- running them */

struct restore_run {
	struct op            op;
	struct restores     *x;
	struct restore_item *item;
};

enum restore_run_state { RUN_START, RUN_DONE };

static enum op_turn
restore_run_step(struct op *op)
{
	struct restore_run    *r = container_of(op, struct restore_run, op);
	struct restores       *x = r->x;
	struct restore_options o = { .backend = r->item->backend, .name = r->item->name, .version = r->item->version,
		.to_backend = x->to_backend, .to_name = x->to_name, .keep_serial = call_flag(x->c, "keep_serial"),
		.dry_run = call_flag(x->c, "dry_run") };

	switch ((enum restore_run_state)op->state) {
	case RUN_START:
		r->item->running = op;
		return op_await(op, RUN_DONE, engine_restore(x->c->e, &o, &r->item->result));
	case RUN_DONE:
		r->item->running = NULL;
		r->item->why = op->res;
		x->done += op->res.code == ERR_OK;
		x->failed += op->res.code != ERR_OK;
		return op_finish(op);
	}
	return OP_DONE;
}

static void
restore_run_free(struct op *op)
{
	free(container_of(op, struct restore_run, op));
}

static const struct op_class restore_run_class = { "restore one", restore_run_step, NULL, restore_run_free, NULL, 0 };

static struct op *
restores_next(void *arg)
{
	struct restores    *x = arg;
	struct restore_run *r;

	while (x->next < x->n && x->items[x->next].version == 0)
		x->next++;
	if (x->next == x->n)
		return NULL;
	r = xcalloc(1, sizeof(*r));
	op_init(&r->op, &restore_run_class, engine_loop(x->c->e));
	r->x = x;
	r->item = &x->items[x->next++];
	return &r->op;
}

/* ---------------------------------------------------------------- the document */

static void
restores_item(struct json_writer *w, const struct restore_item *i, bool plan)
{
	const struct restore_result *r = &i->result;

	json_obj(w);
	put_state(w, "state", i->backend, i->name);
	json_kv_u64(w, "from", i->version);
	put_text(w, "to", r->to);
	json_key(w, "serial_before");
	if (i->why.code == ERR_OK && r->had_before)
		json_u64(w, r->serial_before);
	else
		json_nil(w);
	json_key(w, "serial_after");
	if (i->why.code == ERR_OK)
		json_u64(w, r->serial_after);
	else
		json_nil(w);
	put_digest(w, "sha256", &r->digest);
	put_count(w, "changed_resources", i->why.code == ERR_OK ? (int64_t)r->changed_resources : -1);
	if (plan)
		json_kv_bool(w, "probe", r->probe);
	json_key(w, "error");
	if (i->why.code == ERR_OK) {
		json_nil(w);
	} else {
		json_obj(w);
		put_error(w, &i->why, "");
		json_obj_end(w);
	}
	json_obj_end(w);
}

/* ---------------------------------------------------------------- the operation */

enum restores_state { RESTORES_START, RESTORES_COLLECTED, RESTORES_CHOSEN, RESTORES_DONE };

static const char *const restores_states[] = { "start", "collected", "chosen", "done" };

struct restores_op {
	struct op        op;
	struct restores *x;
};

/* Of all states, those that had no version then were collected, too. */
static bool
restores_any(const struct restores *x)
{
	bool any = false;

	for (size_t i = 0; !any && i < x->n; i++)
		any = x->items[i].version != 0;
	return any;
}

static enum op_turn
restores_end(struct op *op, struct restores *x)
{
	struct call      *c = x->c;
	struct exit_tally tally = { .done = 0 };
	bool              plan = call_flag(c, "dry_run");

	/* One state alone fails as itself. */
	if (!x->all && x->items[0].why.code != ERR_OK) {
		op->res = x->items[0].why;
		return op_fail(op);
	}
	if (!restores_any(x)) {
		err_set(&op->res, ERR_NOT_FOUND, 0, "no state had a version then");
		err_hint(&op->res, "stateferry log STATE shows since when there are any");
		return op_fail(op);
	}
	json_key(&c->w, plan ? "plan" : "result");
	json_arr(&c->w);
	for (size_t i = 0; i < x->n; i++) {
		if (x->items[i].version == 0)
			continue;
		restores_item(&c->w, &x->items[i], plan);
		exit_tally_add(&tally, err_exit(x->items[i].why.code));
	}
	json_arr_end(&c->w);
	c->exit = exit_tally_code(&tally);
	return op_ok(op);
}

static enum op_turn
restores_step(struct op *op)
{
	struct restores *x = container_of(op, struct restores_op, op)->x;

	switch ((enum restores_state)op->state) {
	case RESTORES_START:
		return op_await(op, RESTORES_COLLECTED, x->all ? walk_op(x->c, NULL, &(struct walk){ restores_state, NULL, NULL, x }) : NULL);
	case RESTORES_COLLECTED:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, RESTORES_CHOSEN, x->has_at ? turns_op(x->c, &(struct turns){ restores_choose, NULL, x }) : NULL);
	case RESTORES_CHOSEN:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, RESTORES_DONE, op_each_of(op->loop, restores_next, NULL, x, RESTORE_AT_ONCE));
	case RESTORES_DONE:
		return restores_end(op, x);
	}
	return OP_DONE;
}

static void
restores_op_free(struct op *op)
{
	struct restores_op *o = container_of(op, struct restores_op, op);

	restores_free(o->x);
	free(o);
}

static const struct op_class restores_class = { "restore", restores_step, NULL, restores_op_free, restores_states,
	ARRAY_LEN(restores_states) };

bool
api_restore_progress(const struct op *op, struct restore_progress *ret)
{
	const struct restores *x;
	size_t                 i = 0;

	if (op->class != &restores_class)
		return false;
	x = container_of(op, struct restores_op, op)->x;
	*ret = (struct restore_progress){ op->state < RESTORES_DONE ? "choosing versions" : "restoring", 0, x->done, x->failed };
	for (size_t k = 0; op->state == RESTORES_DONE && k < x->n; k++)
		ret->total += x->items[k].version != 0;
	while (i < x->n && (x->items[i].running == NULL || x->items[i].running->child == NULL))
		i++;
	if (i < x->n)
		ret->step = engine_restore_doing(x->items[i].running->child);
	return true;
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
	x->to_name = xstrdup(plan_unalias(p, b->label, colon + 1));
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
	struct restores    *x = xcalloc(1, sizeof(*x));
	struct restores_op *o;

	x->c = c;
	if (restores_args(x, reterr) != ERR_OK) {
		restores_free(x);
		return NULL;
	}
	o = xcalloc(1, sizeof(*o));
	op_init(&o->op, &restores_class, engine_loop(c->e));
	o->x = x;
	return &o->op;
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
