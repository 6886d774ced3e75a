/* SPDX-License-Identifier: MIT */
#include "sync/plan.h"

/* What a configuration may say, and perhaps does not mean: names that terraform would look for elsewhere. */

/* The default workspace of the source, written where terraform takes that name for another workspace (gcs: W.tfstate). */
static bool
advice_other_workspace(const struct plan *p, const struct lane *l, struct err *ret)
{
	struct buf name, there, workspace;
	struct err why;
	bool       other;

	buf_init(&name, 0);
	buf_init(&there, 0);
	buf_init(&workspace, 0);
	other = provider_fixed(l->edge->from, "default", &name) && lane_map(p, l, buf_str(&name), &there, &why) == MAP_YES;
	if (other)
		provider_workspace(l->to, buf_str(&there), &workspace);
	other = other && strcmp(buf_str(&workspace), "default") != 0;
	if (other) {
		const char *path = buf_str(&name);
		size_t      n = name.len - (span_ends(buf_span(&name), ".tfstate") ? strlen(".tfstate") : 0);

		err_set(ret, ERR_CONFIG, 0, "%s: terraform would find \"%s\" of \"%s\" at \"%s\" as its workspace \"%s\", not as default", l->edge->name,
		    path, l->edge->from->label, l->to->label, buf_str(&workspace));
		err_hint(ret, "to use the copies there as they are: prefix = \"%s%.*s\" in \"%s\", and key = \"{workspace}.tfstate\" in \"%s\"",
		    l->to->common.prefix, (int)n, path, l->to->label, l->edge->name);
	}
	buf_free(&name);
	buf_free(&there);
	buf_free(&workspace);
	return other;
}

static bool
advice_takes_key(const struct backend *b)
{
	const struct conf_field *f = b->provider->fields;

	while (f->name != NULL && strcmp(f->name, "key") != 0)
		f++;
	return f->name != NULL;
}

/* One state and its workspaces, to free names of a kind that spells workspaces otherwise: KEYenv:W, env:/W/KEY. */
static bool
advice_lost_workspaces(const struct plan *p, const struct lane *l, struct err *ret)
{
	const struct backend *from = l->edge->from, *to = l->to;
	struct buf            name, w, there, there_w, path;
	struct err            why;
	bool                  lost;

	buf_init(&name, 0), buf_init(&w, 0), buf_init(&there, 0), buf_init(&there_w, 0), buf_init(&path, 0);
	lost = provider_fixed(from, "default", &name) && provider_fixed(from, "W", &w) && strcmp(buf_str(&name), buf_str(&w)) != 0 &&
	    advice_takes_key(to) && to->provider->named != NULL && to->provider->path != NULL && !provider_fixed(to, "W", &path) &&
	    lane_map(p, l, buf_str(&name), &there, &why) == MAP_YES && lane_map(p, l, buf_str(&w), &there_w, &why) == MAP_YES;
	if (lost) {
		buf_reset(&path);
		to->provider->path(to, buf_str(&there), &path);
		buf_reset(&w);
		to->provider->named(to, buf_str(&path), "W", &w);
		lost = strcmp(buf_str(&w), buf_str(&there_w)) != 0;
	}
	if (lost) {
		err_set(ret, ERR_CONFIG, 0, "%s: terraform would look for workspace W of \"%s\" at \"%s\" as \"%s\", not as \"%s\"", l->edge->name,
		    buf_str(&name), to->label, buf_str(&w), buf_str(&there_w));
		err_hint(ret, "to use the copies there as they are: key = \"%s%s\" in \"%s\"%s", to->common.prefix, buf_str(&there), to->label,
		    to->common.prefix[0] != '\0' ? ", instead of its prefix" : "");
	}
	buf_free(&name), buf_free(&w), buf_free(&there), buf_free(&there_w), buf_free(&path);
	return lost;
}

/* Any number of states, of which the target takes one and its workspaces. */
static bool
advice_one_place(const struct lane *l, struct err *ret)
{
	struct buf name;
	bool       one;

	buf_init(&name, 0);
	one = !provider_fixed(l->edge->from, "default", &name) && l->edge->include.n == 0 && strstr(l->edge->key, "{workspace}") == NULL &&
	    provider_fixed(l->to, "default", &name);
	if (one) {
		err_set(ret, ERR_CONFIG, 0, "%s: \"%s\" has one state, \"%s\", and its workspaces; any other name of \"%s\" is written there as the "
		    "workspace that it tells", l->edge->name, l->to->label, buf_str(&name), l->edge->from->label);
		err_hint(ret, "key = \"{workspace}\" if all of them are workspaces of one state, else include = [...] with its names");
	}
	buf_free(&name);
	return one;
}

void
plan_advise(const struct plan *p, void (*say)(void *arg, const struct err *advice), void *arg)
{
	for (size_t i = 0; i < p->nedges; i++)
		for (size_t j = 0; p->edges[i].kind == EDGE_REPLICATE && j < p->edges[i].nto; j++) {
			const struct lane *l = &p->edges[i].lanes[j];
			struct err         advice;

			if (advice_other_workspace(p, l, &advice) || advice_one_place(l, &advice) || advice_lost_workspaces(p, l, &advice))
				say(arg, &advice);
		}
}
