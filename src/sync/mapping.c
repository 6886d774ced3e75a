/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/mem.h"
#include "base/name.h"
#include "sync/plan.h"

/*
 * Names at a target: the key template, what one state overrides, targets that hold one name only, and the folder of a
 * state's snapshots.
 */
bool
edge_selects(const struct edge *e, const char *name)
{
	bool in = e->include.n == 0;

	for (size_t i = 0; !in && i < e->include.n; i++)
		in = glob_match(e->include.items[i], span_str(name));
	for (size_t i = 0; in && i < e->exclude.n; i++)
		in = !glob_match(e->exclude.items[i], span_str(name));
	return in;
}

/* By its name, or by the alias that the inventory gives it alone. */
static const struct edge_override *
edge_override_of(const struct edge *e, const char *name)
{
	const char *alias = e->noverrides > 0 ? provider_alias(e->from, name) : NULL;

	for (size_t i = 0; i < e->noverrides; i++)
		if (strcmp(e->overrides[i].name, name) == 0)
			return &e->overrides[i];
	for (size_t i = 0; alias != NULL && i < e->noverrides; i++)
		if (strcmp(e->overrides[i].name, alias) == 0 && provider_unalias(e->from, alias) != NULL)
			return &e->overrides[i];
	return NULL;
}

/* Is this target among those of the state? */
static bool
lane_is_chosen(const struct lane *l, const struct edge_override *o)
{
	if (o == NULL || o->to.n == 0)
		return (size_t)(l - l->edge->lanes) < l->edge->nto;
	for (size_t i = 0; i < o->to.n; i++)
		if (strcmp(o->to.items[i], l->to->label) == 0)
			return true;
	return false;
}

/* --- the template --- */

struct mapping_facts {
	const struct plan *plan;
	const struct lane *lane;
	const char        *name;
};

static void
mapping_path(const char *name, struct buf *ret)
{
	size_t n = strlen(name), cut = strlen(".tfstate");

	if (n > cut && strcmp(name + n - cut, ".tfstate") == 0)
		n -= cut;
	buf_put(ret, name, n);
}

static enum err_code
mapping_value(const struct mapping_facts *f, const char *word, size_t n, struct buf *ret, struct err *reterr)
{
	char        uuid[UUID_LEN + 1];
	const char *alias = plan_alias(f->plan, f->lane->edge->from->label, f->name);

	if (strncmp(word, "name", n) == 0) {
		buf_puts(ret, f->name);
	} else if (strncmp(word, "path", n) == 0) {
		mapping_path(f->name, ret);
	} else if (strncmp(word, "workspace", n) == 0) {
		provider_workspace(f->lane->edge->from, f->name, ret);
	} else if (strncmp(word, "backend", n) == 0) {
		buf_puts(ret, f->lane->edge->from->label);
	} else if (strncmp(word, "alias", n) == 0) {
		if (alias == NULL)
			return err_set(reterr, ERR_UNSUPPORTED, 0, "key \"%s\" wants an alias, and %s has none", f->lane->edge->key, f->name);
		buf_puts(ret, alias);
	} else {
		if (!name_uuid(span_str(f->name), uuid))
			return err_set(reterr, ERR_UNSUPPORTED, 0, "key \"%s\" wants a UUID, and there is none in the name %s", f->lane->edge->key,
			    f->name);
		buf_puts(ret, uuid);
	}
	return ERR_OK;
}

static enum err_code
mapping_expand(const struct mapping_facts *f, const char *key, struct buf *ret, struct err *reterr)
{
	for (const char *p = key; *p != '\0';) {
		const char *end = *p == '{' ? strchr(p, '}') : NULL;

		if (end == NULL) {
			buf_putc(ret, *p++);
			continue;
		}
		if (mapping_value(f, p + 1, (size_t)(end - p - 1), ret, reterr) != ERR_OK)
			return reterr->code;
		p = end + 1;
	}
	return ERR_OK;
}

/* --- the whole --- */

/* Is it one of the names that the target gives, perhaps one without the end that a name without one got elsewhere? */
static bool
mapping_is_own(const struct backend *to, struct buf *name)
{
	const char *suffix = to->provider->suffix;
	char       *bare;
	bool        own = name->len > 0 && provider_gives_name(to, buf_str(name));

	if (own || suffix == NULL || !span_ends(buf_span(name), suffix))
		return own;
	bare = xstrndup(buf_str(name), name->len - strlen(suffix));
	own = provider_gives_name(to, bare);
	buf_reset(name);
	buf_puts(name, bare);
	free(bare);
	return own;
}

/*
 * A target of one state and its workspaces gives workspace W of the source its own W. But a name that it gives itself is taken as it is,
 * unless the template asks for workspaces: what went from there to free names comes back under the names that it had.
 */
static enum err_code
mapping_replicate(const struct mapping_facts *f, const struct edge_override *o, struct buf *ret, struct err *reterr)
{
	const struct backend *from = f->lane->edge->from, *to = f->lane->to;
	const char           *key = o != NULL && o->key != NULL ? o->key : f->lane->edge->key;
	struct buf            workspace, fixed;
	bool                  one;
	enum err_code         rc = ERR_OK;

	buf_init(&workspace, 0);
	buf_init(&fixed, 0);
	provider_workspace(from, f->name, &workspace);
	one = provider_fixed(to, buf_str(&workspace), &fixed);
	if (!one || strstr(key, "{workspace}") == NULL) {
		rc = mapping_expand(f, key, ret, reterr);
		provider_complete(from, to, ret);
	}
	if (one && (rc != ERR_OK || !mapping_is_own(to, ret))) {
		buf_reset(ret);
		buf_puts(ret, buf_str(&fixed));
		rc = ERR_OK;
	}
	buf_free(&workspace);
	buf_free(&fixed);
	return rc;
}

/* A copy that the source would list again is replicated again, without end. */
static bool
lane_leaves_source(const struct lane *l, const char *target_name, struct err *reterr)
{
	struct buf seen;
	bool       listed;

	if (l->edge->kind != EDGE_REPLICATE)
		return true;
	buf_init(&seen, 0);
	listed = provider_lists_name_of(l->edge->from, l->to, target_name, &seen) && edge_selects(l->edge, buf_str(&seen));
	if (listed) {
		err_set(reterr, ERR_CONFIG, 0, "%s would write into itself: %s:%s is the state %s of %s", l->edge->name, l->to->label,
		    target_name, buf_str(&seen), l->edge->from->label);
		err_hint(reterr, "exclude the target's place from %s, or move the target out of it", l->edge->from->label);
	}
	buf_free(&seen);
	return !listed;
}

enum mapping
lane_map(const struct plan *p, const struct lane *l, const char *name, struct buf *ret, struct err *reterr)
{
	const struct edge_override *o = edge_override_of(l->edge, name);
	struct mapping_facts        f = { p, l, name };
	enum err_code               rc = ERR_OK;

	if (!edge_selects(l->edge, name) || !lane_is_chosen(l, o))
		return MAP_NO;
	if (l->edge->kind == EDGE_SNAPSHOT)
		buf_printf(ret, "%s%s", l->edge->prefix, name);
	else
		rc = mapping_replicate(&f, o, ret, reterr);
	if (rc == ERR_OK)
		rc = name_check(buf_span(ret), reterr);
	if (rc == ERR_OK)
		rc = provider_holds_name(l->to, buf_str(ret), reterr);
	if (rc == ERR_OK && l->edge->kind == EDGE_REPLICATE && name_is_never_state(buf_span(ret)))
		rc = err_set(reterr, ERR_UNSUPPORTED, 0, "%s is never the name of a state", buf_str(ret));
	if (rc != ERR_OK) {
		err_hint(reterr, l->edge->kind == EDGE_SNAPSHOT ? "leave it out: exclude = [\"%s\"] in %s" :
		    "give it a key of its own: state \"%s\" { key = ... } in %s", name, l->edge->name);
		return MAP_ERROR;
	}
	if (!lane_leaves_source(l, buf_str(ret), reterr))
		return MAP_ERROR;
	return o != NULL && o->paused ? MAP_PAUSED : MAP_YES;
}
