/* SPDX-License-Identifier: MIT */
#include "plan_edge.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/name.h"
#include "lease_conf.h"

/* From the blocks replicate and snapshot to edges and their lanes. */
static const char *const compressions[] = { "zstd", "none", NULL };

struct edge_conf {
	const char      *from, *key, *prefix;
	struct conf_strs to, include, exclude;
	int              compress;
	const char      *every, *deletes;
};

#define LATER_DELETES "only \"keep\" is known to this version"

const struct conf_field replicate_fields[] = {
	{ "from", CONF_STR, offsetof(struct edge_conf, from), NULL, "label of the backend whose states are replicated", NULL,
	    NULL, true, NULL },
	{ "to", CONF_STRS, offsetof(struct edge_conf, to), NULL, "labels of the targets", NULL, NULL, true, NULL },
	{ "include", CONF_STRS, offsetof(struct edge_conf, include), NULL, "globs of the names to carry (default: all)", NULL, NULL,
	    false, NULL },
	{ "exclude", CONF_STRS, offsetof(struct edge_conf, exclude), NULL, "globs of the names to leave out", NULL, NULL, false, NULL },
	{ "key", CONF_STR, offsetof(struct edge_conf, key), "{name}",
	    "name at the target: {name} {path} {workspace} {backend} {uuid} {alias}", NULL, NULL, false, NULL },
	{ "deletes", CONF_STR, offsetof(struct edge_conf, deletes), "keep", "what a vanished state means at the target: keep", NULL,
	    NULL, false, NULL },
	{ .name = "deletes_after", .type = CONF_STR, .help = "how long a vanished state stays", .later = "replicated deletes" },
	{ .name = NULL },
};

const struct conf_field snapshot_fields[] = {
	{ "from", CONF_STR, offsetof(struct edge_conf, from), NULL, "label of the backend whose states are kept", NULL, NULL, true,
	    NULL },
	{ "to", CONF_STRS, offsetof(struct edge_conf, to), NULL, "labels of the targets", NULL, NULL, true, NULL },
	{ "include", CONF_STRS, offsetof(struct edge_conf, include), NULL, "globs of the names to keep (default: all)", NULL, NULL,
	    false, NULL },
	{ "exclude", CONF_STRS, offsetof(struct edge_conf, exclude), NULL, "globs of the names to leave out", NULL, NULL, false, NULL },
	{ "prefix", CONF_STR, offsetof(struct edge_conf, prefix), "history/", "where, below the target's own prefix", NULL, NULL, false,
	    NULL },
	{ "every", CONF_STR, offsetof(struct edge_conf, every), "change", "\"change\", or a duration such as \"24h\"", NULL, NULL,
	    false, NULL },
	{ "compress", CONF_ENUM, offsetof(struct edge_conf, compress), "zstd", "zstd or none", NULL, compressions, false, NULL },
	{ .name = NULL },
};

struct override_conf {
	struct conf_strs to;
	const char      *key;
	bool             paused;
};

const struct conf_field override_fields[] = {
	{ "to", CONF_STRS, offsetof(struct override_conf, to), NULL, "targets of this state instead of the edge's", NULL, NULL, false,
	    NULL },
	{ "key", CONF_STR, offsetof(struct override_conf, key), NULL, "name at the target for this state", NULL, NULL, false, NULL },
	{ "paused", CONF_BOOL, offsetof(struct override_conf, paused), "false", "true: nothing of this state is written", NULL, NULL,
	    false, NULL },
	{ .name = NULL },
};

struct edge *
plan_edge(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->nedges; i++)
		if (strcmp(p->edges[i].name, name) == 0)
			return &p->edges[i];
	return NULL;
}

static bool
plan_declares(const struct plan *p, const char *backend)
{
	const struct conf_block *root = conf_root(p->conf);

	for (size_t i = 0; i < root->nblocks; i++)
		if (strcmp(root->blocks[i].type, "backend") == 0 && root->blocks[i].nlabels == 2 && strcmp(root->blocks[i].labels[1], backend) == 0)
			return true;
	return false;
}

static enum err_code
edge_no_backend(const struct plan *p, struct conf_pos pos, const char *label, struct err *reterr)
{
	const char **labels = xcalloc(p->nbackends + 1, sizeof(*labels)), *close;

	if (conf_noted(p->conf) != NULL && plan_declares(p, label)) { /* which is wrong itself, and was told */
		free(labels);
		*reterr = *conf_noted(p->conf);
		return reterr->code;
	}
	for (size_t i = 0; i < p->nbackends; i++)
		labels[i] = p->backends[i]->label;
	close = name_closest(label, labels);
	conf_error(reterr, pos, "no backend is called \"%s\"%s%s%s", label, close != NULL ? "; did you mean \"" : "",
	    close != NULL ? close : "", close != NULL ? "\"?" : "");
	free(labels);
	return reterr->code;
}

static enum err_code
edge_add_lane(struct plan *p, struct edge *edge, const char *label, struct conf_pos pos, struct err *reterr)
{
	struct backend *to = plan_backend(p, label);
	struct err      e;

	if (to == NULL)
		return edge_no_backend(p, pos, label, reterr);
	if (provider_within_reach(to, &e) != ERR_OK) {
		conf_error(reterr, pos, "%s", e.msg);
		return err_hint(reterr, "%s", e.hint);
	}
	if (to == edge->from)
		return conf_error(reterr, pos, "\"%s\" cannot be written from itself", label);
	if (to->common.read_only)
		return conf_error(reterr, pos, "\"%s\" is read_only", label);
	for (size_t i = 0; i < edge->nlanes; i++)
		if (edge->lanes[i].to == to)
			return ERR_OK;
	edge->lanes = xreallocarray(edge->lanes, edge->nlanes + 1, sizeof(*edge->lanes));
	edge->lanes[edge->nlanes++] = (struct lane){ NULL, to, 0 };
	return ERR_OK;
}

static enum err_code
edge_template(const char *key, struct conf_pos pos, struct err *reterr)
{
	static const char *const names[] = { "name", "path", "workspace", "backend", "uuid", "alias" };
	struct buf               sample;
	enum err_code            rc;

	buf_init(&sample, 0);
	for (const char *p = key; *p != '\0';) {
		const char *end = *p == '{' ? strchr(p, '}') : NULL;
		bool        known = false;

		if (*p != '{' && *p != '}') {
			buf_putc(&sample, *p++);
			continue;
		}
		for (size_t i = 0; end != NULL && i < ARRAY_LEN(names); i++)
			known |= strlen(names[i]) == (size_t)(end - p - 1) && strncmp(p + 1, names[i], strlen(names[i])) == 0;
		if (!known) {
			buf_free(&sample);
			return conf_error(reterr, pos,
			    "in key \"%s\": expected {name}, {path}, {workspace}, {backend}, {uuid} or {alias}", key);
		}
		buf_putc(&sample, 'x');
		p = end + 1;
	}
	rc = name_check(buf_span(&sample), reterr);
	buf_free(&sample);
	return rc == ERR_OK ? ERR_OK : conf_error(reterr, pos, "key \"%s\" gives no name: %s", key, reterr->msg);
}

static enum err_code
edge_override(struct plan *p, struct edge *e, struct conf_block *b, struct err *reterr)
{
	static const struct conf_field *const tables[] = { override_fields, NULL };
	static const char *const              none[] = { NULL };
	struct override_conf                  c = { .paused = false };
	char                                 *name;

	if (b->nlabels != 1)
		return conf_error(reterr, b->pos, "state takes one label, the name of the state");
	if (conf_filled(p->conf, b, override_fields, &c, tables, none, reterr) != ERR_OK)
		return reterr->code;
	if (c.key != NULL && edge_template(c.key, conf_where(b, "key"), reterr) != ERR_OK)
		return reterr->code;
	for (size_t i = 0; i < c.to.n; i++)
		if (edge_add_lane(p, e, c.to.items[i], conf_where(b, "to"), reterr) != ERR_OK)
			return reterr->code;
	e->overrides = xreallocarray(e->overrides, e->noverrides + 1, sizeof(*e->overrides));
	name = plan_unalias(p, e->from->label, b->labels[0]);
	e->overrides[e->noverrides++] = (struct edge_override){ plan_label(p, e->from, name), c.to, c.key, c.paused };
	free(name);
	return ERR_OK;
}

static enum err_code
edge_snapshot_conf(struct edge *e, const struct edge_conf *c, struct arena *a, struct conf_block *b, struct err *reterr)
{
	size_t n = strlen(c->prefix);

	e->prefix = n == 0 || c->prefix[n - 1] == '/' ? c->prefix : arena_printf(a, "%s/", c->prefix);
	e->compress = (enum edge_compress)c->compress;
	if (e->prefix[0] != '\0' && name_check(span_of(e->prefix, strlen(e->prefix) - 1), reterr) != ERR_OK)
		return conf_error(reterr, conf_where(b, "prefix"), "prefix: %s", reterr->msg);
	if (strcmp(c->every, "change") != 0 && (!duration_parse(c->every, &e->every_ms) || e->every_ms < 1000))
		return conf_error(reterr, conf_where(b, "every"), "every: expected \"change\" or a duration of at least 1s, found \"%s\"", c->every);
	for (size_t i = 0; i < e->nlanes; i++) {
		const struct backend *to = e->lanes[i].to;

		if (to->provider->behind != NULL)
			return conf_error(reterr, conf_where(b, "to"),
			    "\"%s\" cannot hold snapshots: %s has no room for other names than its states'; give them a backend of "
			    "their own", to->label, to->provider->name);
		if ((provider_caps(to) & PROVIDER_IF_MATCH) == 0)
			return conf_error(reterr, conf_where(b, "to"),
			    "\"%s\" cannot hold snapshots: it has no way to create a name only if it is free", to->label);
	}
	return ERR_OK;
}

static enum err_code
edge_fill(struct plan *p, const struct provider_env *env, struct edge *e, struct conf_block *b, const struct edge_conf *c, struct err *reterr)
{
	struct conf_attr *from = conf_attr(b, "from"), *to = conf_attr(b, "to");
	struct err        why;

	e->from = plan_backend(p, c->from);
	e->include = c->include;
	e->exclude = c->exclude;
	e->key = c->key;
	if (e->from == NULL)
		return edge_no_backend(p, from != NULL ? from->value.pos : b->pos, c->from, reterr);
	if (provider_findable(e->from, &why) != ERR_OK)
		return conf_error(reterr, from != NULL ? from->value.pos : b->pos, "\"%s\" cannot be a source: %s", c->from, why.msg);
	if (c->to.n == 0)
		return conf_error(reterr, conf_where(b, "to"), "`to` names no target");
	for (size_t i = 0; i < c->to.n; i++)
		if (edge_add_lane(p, e, c->to.items[i], to != NULL ? to->value.pos : b->pos, reterr) != ERR_OK)
			return reterr->code;
	e->nto = e->nlanes;
	if (e->kind == EDGE_SNAPSHOT)
		return edge_snapshot_conf(e, c, conf_arena(p->conf), b, reterr);
	if (strcmp(c->deletes, "keep") != 0)
		return conf_error(reterr, conf_where(b, "deletes"), "deletes = \"%s\": " LATER_DELETES, c->deletes);
	if (edge_template(e->key, conf_where(b, "key"), reterr) != ERR_OK)
		return reterr->code;
	for (size_t i = 0; i < b->nblocks; i++)
		if (strcmp(b->blocks[i].type, "state") == 0 && edge_override(p, e, &b->blocks[i], reterr) != ERR_OK)
			return reterr->code;
	for (size_t i = 0; i < b->nblocks; i++) {
		struct conf_block *lease = &b->blocks[i];

		if (strcmp(lease->type, "lease") != 0)
			continue;
		if (lease->nlabels != 0)
			return conf_error(reterr, lease->pos, "lease takes no label");
		if (lease_conf_read(p->conf, env, e, lease, reterr) != ERR_OK)
			return reterr->code;
	}
	return ERR_OK;
}

static enum err_code
plan_refuse_later(struct conf_block *b, struct err *reterr)
{
	static const char *const later[] = { "keep", NULL };

	for (size_t i = 0; i < b->nblocks; i++)
		for (size_t j = 0; later[j] != NULL; j++)
			if (strcmp(b->blocks[i].type, later[j]) == 0)
				return conf_error(reterr, b->blocks[i].pos, "a `%s` block needs a later version of stateferry", later[j]);
	return ERR_OK;
}

enum err_code
plan_add_edge(struct plan *p, const struct provider_env *env, struct conf_block *b, enum edge_kind kind, struct err *reterr)
{
	static const char *const replicate_blocks[] = { "state", "lease", NULL }, *const snapshot_blocks[] = { NULL };
	const struct conf_field *fields = kind == EDGE_SNAPSHOT ? snapshot_fields : replicate_fields;
	const struct conf_field *const tables[] = { fields, NULL };
	struct edge_conf         c = { .from = NULL };
	struct edge             *e;

	if (b->nlabels != 1)
		return conf_error(reterr, b->pos, "%s takes one label, the name of the edge", b->type);
	if (plan_edge(p, b->labels[0]) != NULL)
		return conf_error(reterr, b->pos, "a second edge called \"%s\"; replicate and snapshot share their names", b->labels[0]);
	if (plan_refuse_later(b, reterr) != ERR_OK || conf_filled(p->conf, b, fields, &c, tables,
	    kind == EDGE_SNAPSHOT ? snapshot_blocks : replicate_blocks, reterr) != ERR_OK)
		return reterr->code;
	p->edges = xreallocarray(p->edges, p->nedges + 1, sizeof(*p->edges));
	e = &p->edges[p->nedges++];
	*e = (struct edge){ .kind = kind, .name = b->labels[0], .pos = b->pos };
	return edge_fill(p, env, e, b, &c, reterr);
}
