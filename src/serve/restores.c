/* SPDX-License-Identifier: MIT */
#include "restores.h"

#include <stdlib.h>

/* Writes that a person asked for: some at a time, then the document of what came of them. */
#define RESTORE_AT_ONCE 4

struct restore_item *
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

void
restores_free(struct restores *x)
{
	for (size_t i = 0; i < x->n; i++) {
		free(x->items[i].backend);
		free(x->items[i].name);
		free(x->items[i].to_name);
	}
	free(x->items);
	free(x->to_backend);
	free(x->to_name);
	free(x);
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
	struct restore_run *r = container_of(op, struct restore_run, op);
	struct restores    *x = r->x;

	switch ((enum restore_run_state)op->state) {
	case RUN_START:
		r->item->running = op;
		return op_await(op, RUN_DONE, x->begin(x, r->item));
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

/* It was chosen, and nothing that was known before speaks against it. */
static bool
restores_begins(const struct restore_item *i)
{
	return i->chosen && i->why.code == ERR_CANCELLED;
}

static struct op *
restores_next(void *arg)
{
	struct restores    *x = arg;
	struct restore_run *r;

	while (x->next < x->n && !restores_begins(&x->items[x->next]))
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
restores_item(struct json_writer *w, const struct restores *x, const struct restore_item *i, bool plan)
{
	const struct restore_result *r = &i->result;

	json_obj(w);
	put_state(w, "state", i->backend, i->name);
	json_kv_u64(w, "from", i->version != 0 ? i->version : r->from);
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
	if (x->more != NULL)
		x->more(w, x, i);
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

/* Those that are not meant were collected, too. */
static bool
restores_any(const struct restores *x)
{
	bool any = false;

	for (size_t i = 0; !any && i < x->n; i++)
		any = x->items[i].chosen;
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
		op->res = x->none;
		return op_fail(op);
	}
	json_key(&c->w, plan ? "plan" : "result");
	json_arr(&c->w);
	for (size_t i = 0; i < x->n; i++) {
		if (!x->items[i].chosen)
			continue;
		restores_item(&c->w, x, &x->items[i], plan);
		exit_tally_add(&tally, err_exit(x->items[i].why.code));
	}
	json_arr_end(&c->w);
	if (x->finish != NULL)
		x->finish(x);
	c->exit = exit_tally_code(&tally);
	return op_ok(op);
}

static enum op_turn
restores_step(struct op *op)
{
	struct restores *x = container_of(op, struct restores_op, op)->x;

	switch ((enum restores_state)op->state) {
	case RESTORES_START:
		return op_await(op, RESTORES_COLLECTED, x->collect(x));
	case RESTORES_COLLECTED:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, RESTORES_CHOSEN, x->choose != NULL ? x->choose(x) : NULL);
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
	*ret = (struct restore_progress){ x->kind, op->state < RESTORES_DONE ? "choosing" : x->verb, 0, x->done, x->failed };
	for (size_t k = 0; op->state == RESTORES_DONE && k < x->n; k++)
		ret->total += x->items[k].chosen;
	while (i < x->n && (x->items[i].running == NULL || x->items[i].running->child == NULL))
		i++;
	if (i < x->n)
		ret->step = x->doing(x->items[i].running->child);
	return true;
}

struct op *
restores_op(struct restores *x)
{
	struct restores_op *o = xcalloc(1, sizeof(*o));

	op_init(&o->op, &restores_class, engine_loop(x->c->e));
	o->op.about = x->kind;
	o->x = x;
	return &o->op;
}
