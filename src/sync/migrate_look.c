/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/* What there is to migrate: the states of a backend, and what each is called at the other one, as terraform there would call it. */
enum migrate_look_state { START, RECOVERED, CREATED, LISTED };

static const char *const migrate_look_states[] = { "start", "recovered", "created", "listed" };

struct migrate_found {
	char      *name, *to_name;  /* to_name NULL: see why */
	struct err why;
};

struct migrate_look {
	struct op             op;
	struct engine        *e;
	struct backend       *from, *to;
	bool                  dry;
	struct migrate_found *found;
	size_t                n, cap;
	int64_t               next_intent;
	bool                  one;      /* that is asked for by name */
	struct state_tag      tag;
	migrate_fn           *fn;
	void                 *arg;
};

static void
migrate_look_free(struct op *op)
{
	struct migrate_look *m = container_of(op, struct migrate_look, op);

	for (size_t i = 0; i < m->n; i++) {
		free(m->found[i].name);
		free(m->found[i].to_name);
	}
	free(m->found);
	free(m);
}

static struct migrate_found *
migrate_look_add(struct migrate_look *m, const char *name)
{
	if (m->n == m->cap) {
		m->cap = m->cap == 0 ? 16 : 2 * m->cap;
		m->found = xreallocarray(m->found, m->cap, sizeof(*m->found));
	}
	m->found[m->n] = (struct migrate_found){ .name = xstrdup(name) };
	return &m->found[m->n++];
}

static void
migrate_look_map(struct migrate_look *m, struct migrate_found *f)
{
	struct buf to;

	buf_init(&to, 0);
	provider_rename(m->from, f->name, m->to, &to);
	if (name_check(buf_span(&to), &f->why) == ERR_OK && provider_holds_name(m->to, buf_str(&to), &f->why) == ERR_OK) {
		if (name_is_never_state(buf_span(&to)))
			err_set(&f->why, ERR_UNSUPPORTED, 0, "%s is never the name of a state", buf_str(&to));
		else
			f->to_name = xstrdup(buf_str(&to));
	}
	if (f->to_name == NULL)
		err_hint(&f->why, "give it another name: stateferry migrate %s:%s %s:NAME", m->from->label, f->name, m->to->label);
	buf_free(&to);
}

static void
migrate_look_seen(void *arg, const struct state_seen *s)
{
	struct migrate_look  *m = arg;
	struct migrate_found *f = migrate_look_add(m, s->name);

	if (s->problem != NULL)
		err_set(&f->why, s->why != ERR_OK ? s->why : ERR_UNSUPPORTED, 0, "%s", s->problem);
	else if (s->uncovered != NULL)
		err_set(&f->why, ERR_UNSUPPORTED, 0, "its bytes are out of reach: %s", s->uncovered);
	else
		migrate_look_map(m, f);
}

static void
migrate_look_collide(struct migrate_look *m, struct migrate_found *f, const struct migrate_found *other)
{
	err_set(&f->why, ERR_CONFLICT, 0, "%s would go to %s:%s, and so would %s", f->name, m->to->label, f->to_name, other->name);
	err_hint(&f->why, "give it another name: stateferry migrate %s:%s %s:NAME", m->from->label, f->name, m->to->label);
}

/* Of two that would have one name at the target neither goes there by itself. */
static void
migrate_look_check(struct migrate_look *m)
{
	struct map *names = map_new();

	for (size_t i = 0; i < m->n; i++) {
		struct migrate_found *f = &m->found[i], *first;

		if (f->to_name == NULL)
			continue;
		first = map_get(names, span_str(f->to_name));
		if (first == NULL) {
			map_put(names, span_str(f->to_name), f);
			continue;
		}
		migrate_look_collide(m, f, first);
		migrate_look_collide(m, first, f);
	}
	map_free(names);
}

static enum op_turn
migrate_look_end(struct migrate_look *m)
{
	if (m->one && m->op.res.code == ERR_NOT_FOUND)
		migrate_no_state(m->from, m->to, &m->found[0].why);
	migrate_look_check(m);
	for (size_t i = 0; i < m->n; i++)
		m->fn(m->arg, m->found[i].name, m->found[i].to_name, &m->found[i].why);
	return op_ok(&m->op);
}

/* In an agent that runs, recovery goes by itself. */
static struct op *
migrate_look_recover(struct migrate_look *m)
{
	struct engine *e = m->e;

	if (m->dry || e->started || e->recover != NULL || e->passes > 0 || !engine_acts(e))
		return NULL;
	return recover_op(e, true, &m->next_intent);
}

static struct op *
migrate_look_create(struct migrate_look *m)
{
	return m->dry || !m->to->common.create || m->to->common.read_only ? NULL : provider_create(m->to);
}

static enum op_turn
migrate_look_step(struct op *op)
{
	struct migrate_look *m = container_of(op, struct migrate_look, op);

	switch ((enum migrate_look_state)op->state) {
	case START:
		if (!place_may_act(engine_place(m->e, m->from), &op->res) || !place_may_act(engine_place(m->e, m->to), &op->res) ||
		    (!m->one && provider_findable(m->from, &op->res) != ERR_OK))
			return op_fail(op);
		return op_await(op, RECOVERED, migrate_look_recover(m));
	case RECOVERED: /* what could not be settled stands in the way of its own state only */
		return op_await(op, CREATED, migrate_look_create(m));
	case CREATED:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, LISTED, m->one ? provider_head(m->from, &(struct state_ref){ m->found[0].name }, &m->tag) :
		                                     provider_list(m->from, migrate_look_seen, m));
	case LISTED: /* of one that is there but cannot be looked at, the migration itself has more to say */
		return op_failed(op) && !m->one ? op_fail(op) : migrate_look_end(m);
	}
	return OP_DONE;
}

static const struct op_class migrate_look_class = { "migrate look", migrate_look_step, NULL, migrate_look_free, migrate_look_states,
	ARRAY_LEN(migrate_look_states) };

struct op *
engine_migrate_look(struct engine *e, const struct migrate_options *o, migrate_fn *fn, void *arg)
{
	struct migrate_look *m = xcalloc(1, sizeof(*m));
	struct migrate_found *f;

	op_init(&m->op, &migrate_look_class, e->loop);
	m->e = e;
	m->from = o->from;
	m->to = o->to;
	m->op.about = m->from->label;
	m->dry = o->dry_run;
	m->fn = fn;
	m->arg = arg;
	m->one = o->name != NULL;
	if (m->one) {
		f = migrate_look_add(m, o->name);
		if (o->to_name != NULL)
			f->to_name = xstrdup(o->to_name);
		else
			migrate_look_map(m, f);
	}
	return hold_op(e, &m->op);
}
