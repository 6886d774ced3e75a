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
			struct err advice;

			if (advice_other_workspace(p, &p->edges[i].lanes[j], &advice) || advice_one_place(&p->edges[i].lanes[j], &advice))
				say(arg, &advice);
		}
}
