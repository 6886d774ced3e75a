/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/name.h"
#include "restores.h"

/*
 * migrate: one state, or all of a backend, to another one; then the blocks that terraform needs there. States of one place, which
 * differ in their workspace only, have one block.
 */
static struct backend *
migrate_to(const struct restores *x)
{
	return plan_backend(engine_plan(x->c->e), x->to_backend);
}

static struct migrate_options
migrate_options(const struct restores *x, const struct restore_item *i)
{
	struct plan *p = engine_plan(x->c->e);

	return (struct migrate_options){ .from = plan_backend(p, i->backend), .to = migrate_to(x), .name = i->name, .to_name = i->to_name,
		.dry_run = call_flag(x->c, "dry_run"), .yes = call_flag(x->c, "yes") };
}

static struct op *
migrate_begin(struct restores *x, struct restore_item *i)
{
	struct migrate_options o = migrate_options(x, i);

	return engine_migrate(x->c->e, &o, &i->result);
}

/* ---------------------------------------------------------------- which states */

static void
migrate_found(void *arg, const char *name, const char *to_name, const struct err *why)
{
	struct restores     *x = arg;
	struct restore_item *i = x->all ? restores_add(x, x->items[0].backend, name) : &x->items[0];

	i->chosen = true;
	free(i->to_name);
	i->to_name = xstrdup(to_name);
	if (to_name != NULL)
		snprintf(i->result.to, sizeof(i->result.to), "%s:%s", x->to_backend, to_name);
	if (why->code != ERR_OK)
		i->why = *why;
}

/* The first item says what is asked for; of a whole backend it is none of the results. */
static struct op *
migrate_collect(struct restores *x)
{
	struct migrate_options o = migrate_options(x, &x->items[0]);

	if (x->all)
		o.name = o.to_name = NULL;
	return engine_migrate_look(x->c->e, &o, migrate_found, x);
}

/* ---------------------------------------------------------------- the document */

static void
migrate_more(struct json_writer *w, const struct restores *x, const struct restore_item *i)
{
	struct buf workspace;

	buf_init(&workspace, 0);
	if (i->to_name != NULL)
		provider_workspace(migrate_to(x), i->to_name, &workspace);
	put_text(w, "workspace", buf_str(&workspace));
	json_kv_bool(w, "writes", i->result.writes);
	json_kv_bool(w, "source_locked", !i->result.unlocked);
	buf_free(&workspace);
}

/* The states of one place, in the order of the results. */
struct migrate_place {
	size_t first, last;
};

struct migrate_places {
	struct map           *by_block;  /* the block's text -> struct migrate_place */
	struct migrate_place *places;    /* in the order in which they were found */
	size_t                n;
	size_t               *next;      /* by item: the next one of its place; 0: none */
};

static void
migrate_places(const struct restores *x, struct migrate_places *ret)
{
	*ret = (struct migrate_places){ .by_block = map_new(), .places = xcalloc(x->n, sizeof(*ret->places)),
		.next = xcalloc(x->n, sizeof(*ret->next)) };
	for (size_t i = 0; i < x->n; i++) {
		struct migrate_place *p;
		struct buf            text;

		if (!x->items[i].chosen || x->items[i].to_name == NULL || x->items[i].why.code != ERR_OK)
			continue;
		buf_init(&text, 0);
		provider_block(migrate_to(x), x->items[i].to_name, &text);
		p = map_get(ret->by_block, buf_span(&text));
		if (p == NULL) {
			p = &ret->places[ret->n++];
			p->first = i;
			map_put(ret->by_block, buf_span(&text), p);
		} else {
			ret->next[p->last] = i;
		}
		p->last = i;
		buf_free(&text);
	}
}

static void
migrate_place(struct json_writer *w, const struct restores *x, const struct migrate_places *all, const struct migrate_place *p)
{
	struct buf text;

	json_obj(w);
	buf_init(&text, 0);
	provider_block(migrate_to(x), x->items[p->first].to_name, &text);
	json_kv_str(w, "hcl", buf_str(&text));
	json_key(w, "workspaces");
	json_arr(w);
	for (size_t i = p->first;; i = all->next[i]) {
		buf_reset(&text);
		provider_workspace(migrate_to(x), x->items[i].to_name, &text);
		json_str(w, buf_str(&text));
		if (i == p->last)
			break;
	}
	json_arr_end(w);
	json_key(w, "states");
	json_arr(w);
	for (size_t i = p->first;; i = all->next[i]) {
		json_str(w, x->items[i].name);
		if (i == p->last)
			break;
	}
	json_arr_end(w);
	json_obj_end(w);
	buf_free(&text);
}

/* Who still takes what was moved from where it was. */
static void
migrate_edges(struct json_writer *w, const struct restores *x)
{
	const struct plan *p = engine_plan(x->c->e);

	json_key(w, "edges_from_source");
	json_arr(w);
	for (size_t i = 0; i < p->nedges; i++)
		if (strcmp(p->edges[i].from->label, x->items[0].backend) == 0)
			json_str(w, p->edges[i].name);
	json_arr_end(w);
}

static void
migrate_finish(struct restores *x)
{
	struct json_writer   *w = &x->c->w;
	struct migrate_places all;
	const struct backend *src = plan_backend(engine_plan(x->c->e), x->items[0].backend);
	bool                  cloud = migrate_to(x)->provider == &provider_cloud;

	migrate_places(x, &all);
	json_key(w, "blocks");
	json_arr(w);
	for (size_t i = 0; i < all.n; i++)
		migrate_place(w, x, &all, &all.places[i]);
	json_arr_end(w);
	json_key(w, "commands");
	json_arr(w);
	if (cloud) /* the CLI refuses -reconfigure there, and would move what is moved already */
		json_str(w, "rm -f .terraform/terraform.tfstate");
	json_str(w, cloud ? "terraform init" : "terraform init -reconfigure");
	json_str(w, "terraform plan");
	json_arr_end(w);
	migrate_edges(w, x);
	json_kv_bool(w, "older_versions_stay", (provider_caps(src) & PROVIDER_HISTORY) != 0);
	json_kv_i64(w, "backfill", src->common.backfill);
	map_free(all.by_block);
	free(all.places);
	free(all.next);
}

/* ---------------------------------------------------------------- arguments */

/* BACKEND, or BACKEND:NAME: then *ret_name is what follows, owned by the caller. */
static struct backend *
migrate_backend(const struct restores *x, const char *argument, const char *text, char **ret_name, struct err *reterr)
{
	struct plan    *p = engine_plan(x->c->e);
	const char     *colon = strchr(text, ':');
	char           *label = xstrndup(text, colon != NULL ? (size_t)(colon - text) : strlen(text));
	struct backend *b = plan_backend(p, label);

	*ret_name = colon != NULL && b != NULL ? plan_unalias(p, b->label, colon + 1) : NULL;
	if (b == NULL) {
		err_set(reterr, ERR_USAGE, 0, "%s: no backend is called \"%s\"", argument, label);
		err_hint(reterr, "write BACKEND or BACKEND:NAME, with a label of the configuration");
	} else if (*ret_name != NULL && name_check(span_str(*ret_name), reterr) != ERR_OK) {
		reterr->code = ERR_USAGE;
		b = NULL;
	}
	free(label);
	return b;
}

static void
migrate_item(struct restores *x, const struct backend *src, const struct backend *dst, const char *name, const char *to_name,
    struct err *reterr)
{
	if (name == NULL && to_name != NULL) {
		err_set(reterr, ERR_USAGE, 0, "%s is a whole backend, and %s:%s is one state", src->label, dst->label, to_name);
		err_hint(reterr, "give both a name, or leave out that of TO");
		return;
	}
	if (src == dst && to_name == NULL) {
		err_set(reterr, ERR_USAGE, 0, "FROM and TO are one backend: nothing would move");
		if (name != NULL)
			err_hint(reterr, "name another one as TO; or for another name in it: stateferry migrate %s:%s %s:NAME", src->label, name, src->label);
		else
			err_hint(reterr, "name another one as TO");
		return;
	}
	x->all = name == NULL;
	x->to_backend = xstrdup(dst->label);
	restores_add(x, src->label, name != NULL ? name : "")->to_name = xstrdup(to_name);
	err_set(&x->none, ERR_NOT_FOUND, 0, "%s holds no state", src->label);
}

static enum err_code
migrate_args(struct restores *x, struct err *reterr)
{
	const char     *from, *to;
	char           *name = NULL, *to_name = NULL;
	struct backend *src, *dst;

	if (call_need(x->c, "from", &from, reterr) != ERR_OK || call_need(x->c, "to", &to, reterr) != ERR_OK)
		return reterr->code;
	snprintf(x->c->where, sizeof(x->c->where), "%s", from);
	err_clear(reterr);
	src = migrate_backend(x, "FROM", from, &name, reterr);
	dst = src != NULL ? migrate_backend(x, "TO", to, &to_name, reterr) : NULL;
	if (dst != NULL)
		migrate_item(x, src, dst, name, to_name, reterr);
	free(name);
	free(to_name);
	return reterr->code;
}

struct op *
api_migrate(struct call *c, struct err *reterr)
{
	struct restores *x = xcalloc(1, sizeof(*x));

	*x = (struct restores){ .c = c, .collect = migrate_collect, .begin = migrate_begin, .doing = engine_migrate_doing,
		.more = migrate_more, .finish = migrate_finish, .kind = "migrate", .verb = "migrating" };
	if (migrate_args(x, reterr) == ERR_OK)
		return restores_op(x);
	restores_free(x);
	return NULL;
}
