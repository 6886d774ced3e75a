/* SPDX-License-Identifier: MIT */
#include "clash.h"

#include <stdlib.h>

/* Edges that contradict each other, or themselves; what only a listing can show is found when the state comes. */

static bool
clash_reaches(const struct plan *p, const struct backend *from, const struct backend *to, size_t depth)
{
	if (from == to)
		return true;
	for (size_t i = 0; depth > 0 && i < p->nedges; i++)
		for (size_t j = 0; p->edges[i].kind == EDGE_REPLICATE && p->edges[i].from == from && j < p->edges[i].nlanes; j++)
			if (clash_reaches(p, p->edges[i].lanes[j].to, to, depth - 1))
				return true;
	return false;
}

static bool
clash_same_globs(const struct conf_strs *a, const struct conf_strs *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

/* The same names into the same place; what only the listing can show is found when the second state comes. */
static bool
clash_same_names(const struct edge *a, const struct edge *b)
{
	if (a->kind != b->kind || a->from != b->from)
		return false;
	if (a->kind == EDGE_REPLICATE ? strcmp(a->key, b->key) != 0 : strcmp(a->prefix, b->prefix) != 0)
		return false;
	if (!clash_same_globs(&a->include, &b->include) || !clash_same_globs(&a->exclude, &b->exclude))
		return false;
	for (size_t i = 0; i < a->nto; i++)
		for (size_t j = 0; j < b->nto; j++)
			if (a->lanes[i].to == b->lanes[j].to)
				return true;
	return false;
}

static bool
clash_same_place(const struct backend *a, const struct backend *b)
{
	return a != b && strcmp(a->where, b->where) == 0;
}

/* Names that any source might list: if what they map to is listed by the source again, the edge feeds itself. */
static enum err_code
clash_into_itself(const struct plan *p, const struct edge *e, const struct lane *l, struct err *reterr)
{
	static const char *const samples[] = { "a.tfstate", "a/b.tfstate" };
	struct buf               fixed, to;
	struct err               why = { .code = ERR_OK };

	buf_init(&fixed, 0);
	buf_init(&to, 0);
	provider_fixed(e->from, "default", &fixed);
	for (size_t i = 0; why.code != ERR_CONFIG && i < ARRAY_LEN(samples); i++) {
		buf_reset(&to);
		lane_map(p, l, fixed.len > 0 ? buf_str(&fixed) : samples[i], &to, &why);
	}
	buf_free(&fixed);
	buf_free(&to);
	if (why.code != ERR_CONFIG)
		return ERR_OK;
	conf_error(reterr, e->pos, "%s", why.msg);
	err_hint(reterr, "%s", why.hint);
	return ERR_CONFIG;
}

/* --- snapshots: a state's own lie in a folder of its name --- */

/* A name that the glob matches (NULL: any), as the backend has it; letter: for what the glob leaves open. */
static char *
clash_sample(const struct backend *from, const char *glob, char letter)
{
	const char open[] = { letter, '\0' };
	struct buf name;

	buf_init(&name, 0);
	for (const char *p = glob != NULL ? glob : open; *p != '\0'; p++)
		if (*p != '*')
			buf_putc(&name, *p == '?' ? letter : *p);
		else if (p == glob || p[-1] != '*')
			buf_putc(&name, letter);
	provider_complete(from, from, &name);
	return buf_take(&name);
}

/* Does the replication write the state where its folder of snapshots is to be? */
static bool
clash_with_replica(const struct plan *p, const struct edge *o, const char *name, const struct backend *to, const char *folder)
{
	struct buf replica;
	struct err err;
	bool       yes = false;

	for (size_t i = 0; o->kind == EDGE_REPLICATE && !yes && i < o->nlanes; i++) {
		buf_init(&replica, 0);
		yes = lane_map(p, &o->lanes[i], name, &replica, &err) == MAP_YES &&
		    provider_same_name(o->lanes[i].to, buf_str(&replica), to, folder);
		buf_free(&replica);
	}
	return yes;
}

/* What lies where the snapshots of that state are to be, for people; NULL: nothing that the configuration tells of. */
static const char *
clash_in_the_way(const struct plan *p, const struct lane *l, const char *name)
{
	const char *found = NULL;
	struct buf  folder;
	struct err  err;

	buf_init(&folder, 0);
	if (lane_map(p, l, name, &folder, &err) == MAP_YES) {
		if (provider_same_name(l->edge->from, name, l->to, buf_str(&folder)))
			found = l->edge->from->label;
		for (size_t i = 0; found == NULL && i < p->nedges; i++)
			if (clash_with_replica(p, &p->edges[i], name, l->to, buf_str(&folder)))
				found = p->edges[i].name;
	}
	buf_free(&folder);
	return found;
}

static enum err_code
clash_snapshots(const struct plan *p, const struct edge *e, const struct lane *l, struct err *reterr)
{
	const char *found = NULL;

	for (size_t i = 0; e->kind == EDGE_SNAPSHOT && found == NULL && i <= e->include.n; i++) {
		char *name = clash_sample(e->from, i < e->include.n ? e->include.items[i] : NULL, 'a');

		found = clash_in_the_way(p, l, name);
		if (found != NULL) {
			conf_error(reterr, e->pos, "prefix = \"%s\": a state of \"%s\" is in the way of its snapshots, which lie in a folder of "
			    "its name at \"%s\"", e->prefix, found, l->to->label);
			err_hint(reterr, "give \"%s\" a prefix below which no states are, such as \"history/\"", e->name);
		}
		free(name);
	}
	return found != NULL ? ERR_CONFIG : ERR_OK;
}

/* --- two states, one name ------------------------------------------------------------------------------------------------ */

/* Under which name the lane writes the state; false: it does not. */
static bool
clash_name(const struct plan *p, const struct lane *l, const char *name, struct buf *ret)
{
	struct err why;

	buf_reset(ret);
	return l->edge->kind == EDGE_REPLICATE && lane_map(p, l, name, ret, &why) == MAP_YES;
}

/* Do all names that the edge may see become one? Samples differ in folder, name and workspace, whichever way a source shows that. */
static bool
clash_maps_to_one(const struct plan *p, const struct lane *l)
{
	static const char *const any[] = { "a", "b", "a/b", "env:/a/b", "terraform.tfstate.d/a/b", "a.tfstateenv:b" };
	const struct edge       *e = l->edge;
	size_t                   nany = e->include.n > 0 ? 2 * e->include.n : ARRAY_LEN(any), seen = 0;
	struct buf               first, next;
	char                    *last = NULL;
	bool                     one = true;

	buf_init(&first, 0);
	buf_init(&next, 0);
	for (size_t i = 0; one && i < nany; i++) {
		char *name = clash_sample(e->from, e->include.n > 0 ? e->include.items[i / 2] : any[i], i % 2 == 0 ? 'a' : 'b');

		if (clash_name(p, l, name, seen == 0 ? &first : &next) && (last == NULL || strcmp(last, name) != 0))
			one = seen++ == 0 || strcmp(buf_str(&first), buf_str(&next)) == 0;
		free(last);
		last = name;
	}
	free(last);
	buf_free(&first);
	buf_free(&next);
	return one && seen > 1;
}

/* A source or target of one name and its workspaces: what there are, only the listing shows. */
static bool
clash_is_fixed(const struct backend *b)
{
	struct buf name;
	bool       fixed;

	buf_init(&name, 0);
	fixed = provider_fixed(b, "default", &name);
	buf_free(&name);
	return fixed;
}

/* The state of an override at the places where another one is written by an override, too. */
static enum err_code
clash_with_override(const struct plan *p, const struct edge *e, const struct edge_override *o, const struct lane *l,
    const struct edge *e2, struct err *reterr)
{
	struct buf    name, other;
	enum err_code rc = ERR_OK;

	buf_init(&name, 0);
	buf_init(&other, 0);
	for (size_t i = 0; clash_name(p, l, o->name, &name) && rc == ERR_OK && i < e2->noverrides; i++)
		for (size_t j = 0; rc == ERR_OK && j < e2->nlanes; j++)
			if ((e2 != e || strcmp(e2->overrides[i].name, o->name) != 0) &&
			    clash_name(p, &e2->lanes[j], e2->overrides[i].name, &other) &&
			    provider_same_name(l->to, buf_str(&name), e2->lanes[j].to, buf_str(&other)))
				rc = conf_error(reterr, e->pos, "the states \"%s\" and \"%s\" would both be written to %s:%s", e2->overrides[i].name,
				    o->name, l->to->label, buf_str(&name));
	buf_free(&name);
	buf_free(&other);
	return rc;
}

static enum err_code
clash_names(const struct plan *p, const struct edge *e, struct err *reterr)
{
	for (size_t i = 0; e->kind == EDGE_REPLICATE && i < e->nlanes; i++) {
		const struct lane *l = &e->lanes[i];

		if (i < e->nto && !clash_is_fixed(e->from) && !clash_is_fixed(l->to) && clash_maps_to_one(p, l)) {
			conf_error(reterr, e->pos, "key = \"%s\" gives every state of \"%s\" the same name", e->key, e->from->label);
			return err_hint(reterr, "put {name} or {path} into it, or give the states keys of their own: state \"NAME\" { key = ... }");
		}
		for (size_t o = 0; o < e->noverrides; o++)
			for (const struct edge *e2 = p->edges; e2 <= e; e2++)
				if (clash_with_override(p, e, &e->overrides[o], l, e2, reterr) != ERR_OK)
					return reterr->code;
	}
	return ERR_OK;
}

enum err_code
clash_check(const struct plan *p, const struct edge *e, struct err *reterr)
{
	for (size_t i = 0; i < e->nlanes; i++) {
		if (clash_same_place(e->from, e->lanes[i].to))
			return conf_error(reterr, e->pos, "\"%s\" and \"%s\" are the same place (%s): it would write into itself",
			    e->from->label, e->lanes[i].to->label, e->from->where);
		if (clash_into_itself(p, e, &e->lanes[i], reterr) != ERR_OK || clash_snapshots(p, e, &e->lanes[i], reterr) != ERR_OK)
			return reterr->code;
		if (e->kind == EDGE_REPLICATE && clash_reaches(p, e->lanes[i].to, e->from, p->nedges))
			return conf_error(reterr, e->pos, "a cycle: what \"%s\" gets comes back to \"%s\"", e->lanes[i].to->label,
			    e->from->label);
	}
	if (clash_names(p, e, reterr) != ERR_OK)
		return reterr->code;
	for (const struct edge *o = p->edges; o < e; o++)
		if (clash_same_names(o, e))
			return conf_error(reterr, e->pos, "edges \"%s\" and \"%s\" write the same names to the same target", o->name, e->name);
	return ERR_OK;
}
