/* SPDX-License-Identifier: MIT */
#include "sync/plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/crypt.h"
#include "base/mem.h"
#include "base/name.h"
#include "clash.h"
#include "plan_edge.h"
#include "provider/records.h"

/*
 * From a parsed configuration to settings, backends and edges. Everything that contradicts itself is found here, with
 * the position of the argument that is wrong.
 */
static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };
static const char *const log_formats[] = { "text", "json", NULL };

struct agent_conf {
	const char          *store, *socket, *name;
	int                  log, log_format;
	const struct secret *encryption_key;
};

const struct conf_field agent_fields[] = {
	{ "store", CONF_PATH, offsetof(struct agent_conf, store), NULL, "folder of the local store", NULL, NULL, false, NULL },
	{ "socket", CONF_PATH, offsetof(struct agent_conf, socket), NULL, "Unix socket that commands ask (default STORE/agent.sock)",
	    NULL, NULL, false, NULL },
	{ "name", CONF_STR, offsetof(struct agent_conf, name), NULL, "shown in locks (default: the host's name)", NULL, NULL, false,
	    NULL },
	{ "log", CONF_ENUM, offsetof(struct agent_conf, log), "info", "error, warn, info or debug", NULL, log_levels, false, NULL },
	{ "log_format", CONF_ENUM, offsetof(struct agent_conf, log_format), "text", "text or json", NULL, log_formats, false, NULL },
	{ "encryption_key", CONF_SECRET, offsetof(struct agent_conf, encryption_key), NULL,
	    "32 bytes, hex or base64: everything in the store is encrypted", NULL, NULL, false, NULL },
	{ .name = NULL },
};

#define PLAN_COMMON_MAX 32 /* arguments that all backends have */

struct state_conf {
	const char *alias;
	int64_t     max_shrink;
};

const struct conf_field state_fields[] = {
	{ "alias", CONF_STR, offsetof(struct state_conf, alias), NULL, "another name for it", NULL, NULL, false, NULL },
	{ "max_shrink", CONF_PERCENT, offsetof(struct state_conf, max_shrink), NULL,
	    "a version that loses more instances than this is held back", NULL, NULL, false, NULL },
	{ .name = NULL },
};

/* ---------------------------------------------------------------- settings */

static const char *
plan_env(const struct conf_source *src, const char *name)
{
	const char *v = src != NULL && src->env != NULL ? src->env(src->arg, name) : getenv(name);

	return v != NULL && v[0] != '\0' ? v : NULL;
}

/* Where the store lies when nothing says so: systemd's folder, the system's, the user's. */
static const char *
plan_default_store(struct arena *a, const struct conf_source *src)
{
	const char *v;

	if ((v = plan_env(src, "STATE_DIRECTORY")) != NULL)
		return arena_strdup(a, v);
	if (geteuid() == 0)
		return "/var/lib/stateferry";
	if ((v = plan_env(src, "XDG_STATE_HOME")) != NULL)
		return arena_printf(a, "%s/stateferry", v);
	v = plan_env(src, "HOME");
	return arena_printf(a, "%s/.local/state/stateferry", v != NULL ? v : "");
}

static const char *
plan_host_name(struct arena *a)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
		return "localhost";
	return arena_strdup(a, name);
}

/* What the key is, only the store learns; that it is one, the configuration's check has to say. */
static enum err_code
plan_check_key(struct conf_block *agent, const struct secret *key, struct err *reterr)
{
	uint8_t           raw[CRYPT_KEY_LEN];
	struct conf_attr *attr = agent != NULL ? conf_attr(agent, "encryption_key") : NULL;
	enum err_code     rc;

	if (key == NULL || attr == NULL)
		return ERR_OK;
	rc = crypt_key_parse(span_of(secret_str(key), secret_len(key)), raw, reterr);
	mem_wipe(raw, sizeof(raw));
	return rc == ERR_OK ? ERR_OK : conf_error(reterr, attr->value.pos, "encryption_key: %s", reterr->msg);
}

static enum err_code
plan_settings(struct plan *p, const struct agent_conf *c, const struct conf_source *src, struct conf_pos pos, struct err *reterr)
{
	struct arena    *a = conf_arena(p->conf);
	struct settings *s = &p->settings;

	s->store = c->store != NULL ? c->store : plan_default_store(a, src);
	s->socket = c->socket != NULL ? c->socket : arena_printf(a, "%s/agent.sock", s->store);
	s->name = c->name != NULL ? c->name : plan_host_name(a);
	s->name_given = c->name != NULL;
	s->log = (enum log_level)c->log;
	s->log_json = c->log_format == 1;
	s->encryption_key = c->encryption_key;
	if (strlen(s->socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		conf_error(reterr, pos, "the path of the socket is longer than %zu bytes: set a shorter `socket`",
		    sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
		return ERR_CONFIG;
	}
	return ERR_OK;
}

static enum err_code
plan_agent(struct plan *p, const struct conf_source *src, struct err *reterr)
{
	static const struct conf_field *const tables[] = { agent_fields, NULL };
	static const char *const              none[] = { NULL };
	struct conf_block                    *root = conf_root(p->conf), *agent = NULL;
	struct agent_conf                     c = { .log = LOG_INFO };
	struct conf_pos                       pos = root->pos;

	for (size_t i = 0; i < root->nblocks; i++) {
		struct conf_block *b = &root->blocks[i];

		if (strcmp(b->type, "agent") != 0)
			continue;
		if (agent != NULL)
			return conf_error(reterr, b->pos, "a second agent block; the first is at %s:%u", agent->pos.file, agent->pos.line);
		if (b->nlabels != 0)
			return conf_error(reterr, b->pos, "agent takes no label");
		agent = b;
		pos = b->pos;
	}
	if (agent != NULL && conf_filled(p->conf, agent, agent_fields, &c, tables, none, reterr) != ERR_OK)
		return reterr->code;
	if (plan_check_key(agent, c.encryption_key, reterr) != ERR_OK)
		return reterr->code;
	return plan_settings(p, &c, src, pos, reterr);
}

/* ---------------------------------------------------------------- where the configuration is */

static bool
plan_try(const char *path, struct buf *looked)
{
	buf_printf(looked, "%s%s", looked->len > 0 ? ", " : "", path);
	return access(path, F_OK) == 0;
}

static enum err_code
plan_find(const struct conf_source *src, struct buf *ret, struct err *reterr)
{
	const char *env = plan_env(src, "STATEFERRY_CONFIG"), *xdg = plan_env(src, "XDG_CONFIG_HOME"), *home = plan_env(src, "HOME");
	struct buf  looked;
	bool        found = true;

	buf_init(&looked, 0);
	if (env != NULL) {
		buf_puts(ret, env);
	} else if (plan_try("stateferry.hcl", &looked)) {
		buf_puts(ret, "stateferry.hcl");
	} else {
		if (xdg != NULL)
			buf_printf(ret, "%s/stateferry/stateferry.hcl", xdg);
		else if (home != NULL)
			buf_printf(ret, "%s/.config/stateferry/stateferry.hcl", home);
		if (ret->len == 0 || !plan_try(buf_str(ret), &looked)) {
			buf_reset(ret);
			buf_puts(ret, "/etc/stateferry/stateferry.hcl");
			found = plan_try(buf_str(ret), &looked);
		}
	}
	if (!found) {
		err_set(reterr, ERR_CONFIG, 0, "no configuration: looked for %s", buf_str(&looked));
		err_hint(reterr, "name one with -c, or begin with \"stateferry help\"");
	}
	buf_free(&looked);
	return found ? ERR_OK : ERR_CONFIG;
}

/* Takes c. */
static enum err_code
plan_begin(struct conf *c, const char *path, const struct conf_source *src, struct plan **ret, struct err *reterr)
{
	struct plan  *p = xcalloc(1, sizeof(*p));
	enum err_code rc = ERR_OK;
	struct err    e;

	p->conf = c;
	p->path = arena_strdup(conf_arena(c), path);
	if (conf_root(c)->nblocks == 0) { /* a file that was emptied is no order to do nothing */
		err_set(reterr, ERR_CONFIG, 0, "%s: expected blocks such as backend and replicate, found none", path);
		err_hint(reterr, "bring the configuration back");
	} else if (plan_agent(p, src, &e) == ERR_OK || conf_note(c, &e, &rc, reterr)) { /* noted: plan_open() will fail */
		*ret = p;
		return ERR_OK;
	}
	plan_free(p);
	return reterr->code;
}

enum err_code
plan_parse(const char *name, const char *dir, struct span text, const struct conf_source *src, struct plan **ret, struct err *reterr)
{
	struct conf *c;

	return conf_parse(name, dir, text, false, src, &c, reterr) == ERR_OK ? plan_begin(c, name, src, ret, reterr) : reterr->code;
}

enum err_code
plan_read(const char *path, const struct conf_source *src, struct plan **ret, struct err *reterr)
{
	struct conf  *c;
	struct buf    found;
	enum err_code rc = ERR_OK;

	buf_init(&found, 0);
	if (path == NULL)
		rc = plan_find(src, &found, reterr);
	else
		buf_puts(&found, path);
	if (rc == ERR_OK)
		rc = conf_load(buf_str(&found), src, &c, reterr);
	if (rc == ERR_OK)
		rc = plan_begin(c, buf_str(&found), src, ret, reterr);
	buf_free(&found);
	return rc;
}

void
plan_free(struct plan *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->nbackends; i++)
		provider_close(p->backends[i]);
	for (size_t i = 0; i < p->nedges; i++) {
		records_close(p->edges[i].lease.records);
		free(p->edges[i].lanes);
		free(p->edges[i].overrides);
	}
	free(p->backends);
	free(p->edges);
	free(p->states);
	conf_free(p->conf);
	free(p);
}

/* ---------------------------------------------------------------- backends */

struct backend *
plan_backend(const struct plan *p, const char *label)
{
	for (size_t i = 0; label != NULL && i < p->nbackends; i++)
		if (strcmp(p->backends[i]->label, label) == 0)
			return p->backends[i];
	return NULL;
}

const char *
plan_label(const struct plan *p, const struct backend *b, const char *label)
{
	char *name = arena_strdup(conf_arena(p->conf), label);

	provider_fold(b, name);
	return name;
}

static enum err_code
plan_state_block(struct plan *p, struct conf_block *b, const struct backend *of, struct err *reterr)
{
	static const struct conf_field *const tables[] = { state_fields, NULL };
	static const char *const              none[] = { NULL };
	struct state_conf                     c = { .max_shrink = -1 };
	const char                           *name;

	if (b->nlabels != 1)
		return conf_error(reterr, b->pos, "state takes one label, the name of the state");
	name = plan_label(p, of, b->labels[0]);
	if (conf_filled(p->conf, b, state_fields, &c, tables, none, reterr) != ERR_OK)
		return reterr->code;
	if (conf_attr(b, "max_shrink") == NULL)
		c.max_shrink = -1;
	for (size_t i = 0; i < p->nstates; i++) {
		const struct state_setting *s = &p->states[i];

		if (strcmp(s->backend, of->label) != 0)
			continue;
		if (strcmp(s->name, name) == 0)
			return conf_error(reterr, b->pos, "a second block for the state \"%s\"", s->name);
		if (s->alias != NULL && c.alias != NULL && strcmp(s->alias, c.alias) == 0)
			return conf_error(reterr, conf_where(b, "alias"), "the alias \"%s\" is already that of \"%s\"", s->alias, s->name);
	}
	p->states = xreallocarray(p->states, p->nstates + 1, sizeof(*p->states));
	p->states[p->nstates++] = (struct state_setting){ of->label, name, c.alias, c.max_shrink };
	return ERR_OK;
}

static enum err_code
plan_add_backend(struct plan *p, const struct provider_env *env, struct conf_block *b, struct err *reterr)
{
	struct backend *backend;

	if (b->nlabels != 2)
		return conf_error(reterr, b->pos, "backend takes two labels, a type and a name: backend \"s3\" \"main\" { ... }");
	if (plan_backend(p, b->labels[1]) != NULL)
		return conf_error(reterr, b->pos, "a second backend called \"%s\"", b->labels[1]);
	if (b->labels[1][0] == '\0')
		return conf_error(reterr, b->pos, "the name of a backend is empty; expected one that addresses can begin with");
	if (strchr(b->labels[1], ':') != NULL || strchr(b->labels[1], '@') != NULL)
		return conf_error(reterr, b->pos, "the name \"%s\" may hold neither \":\" nor \"@\", which addresses need", b->labels[1]);
	if (provider_open(env, p->conf, b, &backend, reterr) != ERR_OK)
		return reterr->code;
	p->backends = xreallocarray(p->backends, p->nbackends + 1, sizeof(*p->backends));
	p->backends[p->nbackends++] = backend;
	for (size_t i = 0; i < b->nblocks; i++)
		if (strcmp(b->blocks[i].type, "state") == 0 && plan_state_block(p, &b->blocks[i], backend, reterr) != ERR_OK)
			return reterr->code;
	return ERR_OK;
}

const struct state_setting *
plan_state(const struct plan *p, const char *backend, const char *name)
{
	for (size_t i = 0; i < p->nstates; i++)
		if (strcmp(p->states[i].backend, backend) == 0 && strcmp(p->states[i].name, name) == 0)
			return &p->states[i];
	return NULL;
}

int64_t
plan_max_shrink(const struct plan *p, const struct backend *b, const char *name)
{
	const struct state_setting *s = plan_state(p, b->label, name);

	return s != NULL && s->max_shrink >= 0 ? s->max_shrink : b->common.max_shrink;
}

const char *
plan_alias(const struct plan *p, const char *backend, const char *name)
{
	const struct state_setting *s = plan_state(p, backend, name);
	const struct backend       *b = plan_backend(p, backend);

	return s != NULL && s->alias != NULL ? s->alias : b != NULL ? provider_alias(b, name) : NULL;
}

char *
plan_unalias(const struct plan *p, const char *backend, const char *name)
{
	const struct backend *b = plan_backend(p, backend);
	const char           *given = NULL;
	char                 *ret;

	for (size_t i = 0; i < p->nstates && given == NULL; i++)
		if (p->states[i].alias != NULL && strcmp(p->states[i].backend, backend) == 0 && strcmp(p->states[i].alias, name) == 0)
			given = p->states[i].name;
	if (given == NULL && b != NULL)
		given = provider_unalias(b, name);
	ret = xstrdup(given != NULL ? given : name);
	if (b != NULL)
		provider_fold(b, ret);
	return ret;
}

bool
edge_goes_to(const struct edge *e, const struct backend *b)
{
	for (size_t i = 0; i < e->nlanes; i++)
		if (e->lanes[i].to == b)
			return true;
	return false;
}

bool
plan_is_source(const struct plan *p, const struct backend *b)
{
	for (size_t i = 0; i < p->nedges; i++)
		if (p->edges[i].from == b)
			return true;
	return false;
}

bool
plan_is_target(const struct plan *p, const struct backend *b)
{
	for (size_t i = 0; i < p->nedges; i++)
		if (edge_goes_to(&p->edges[i], b))
			return true;
	return false;
}

/* ---------------------------------------------------------------- the whole */

static void
plan_number_lanes(struct plan *p)
{
	for (size_t i = 0; i < p->nedges; i++)
		for (size_t j = 0; j < p->edges[i].nlanes; j++) {
			p->edges[i].lanes[j].edge = &p->edges[i];
			p->edges[i].lanes[j].index = p->nlanes++;
		}
}

static enum err_code
plan_root_block(struct conf_block *b, struct err *reterr)
{
	static const char *const known[] = { "agent", "backend", "replicate", "snapshot", NULL };
	static const char *const later[] = { "serve", "history", NULL };
	const char              *close;

	for (size_t i = 0; known[i] != NULL; i++)
		if (strcmp(b->type, known[i]) == 0)
			return ERR_OK;
	for (size_t i = 0; later[i] != NULL; i++)
		if (strcmp(b->type, later[i]) == 0)
			return conf_error(reterr, b->pos, "a `%s` block needs a later version of stateferry", later[i]);
	close = name_closest(b->type, known);
	return conf_error(reterr, b->pos, "there is no block `%s`%s%s%s", b->type, close != NULL ? "; did you mean `" : "",
	    close != NULL ? close : "", close != NULL ? "`?" : "");
}

static enum err_code
plan_root(struct plan *p, struct err *reterr)
{
	static const struct conf_field *const none[] = { NULL };
	static const char *const              blocks[] = { "agent", "backend", "replicate", "snapshot", NULL };
	struct conf_block                    *root = conf_root(p->conf);
	enum err_code                         rc = ERR_OK;
	struct err                            e;

	for (size_t i = 0; i < root->nblocks; i++)
		if (plan_root_block(&root->blocks[i], &e) != ERR_OK && !conf_note(p->conf, &e, &rc, reterr))
			return rc;
	if (rc == ERR_OK && conf_finish(p->conf, root, none, blocks, &e) != ERR_OK)
		conf_note(p->conf, &e, &rc, reterr);
	return rc;
}

static enum err_code
plan_blocks(struct plan *p, const struct provider_env *env, struct err *reterr)
{
	struct conf_block *root = conf_root(p->conf);
	enum err_code      rc = ERR_OK;
	struct err         e;

	if (plan_root(p, &e) != ERR_OK && !conf_note(p->conf, &e, &rc, reterr))
		return rc;
	for (size_t i = 0; i < root->nblocks; i++)
		if (strcmp(root->blocks[i].type, "backend") == 0 && plan_add_backend(p, env, &root->blocks[i], &e) != ERR_OK &&
		    !conf_note(p->conf, &e, &rc, reterr))
			return rc;
	for (size_t i = 0; i < root->nblocks; i++) {
		struct conf_block *b = &root->blocks[i];
		bool               snapshot = strcmp(b->type, "snapshot") == 0;

		if ((snapshot || strcmp(b->type, "replicate") == 0) &&
		    plan_add_edge(p, env, b, snapshot ? EDGE_SNAPSHOT : EDGE_REPLICATE, &e) != ERR_OK && !conf_note(p->conf, &e, &rc, reterr))
			return rc;
	}
	if (rc == ERR_OK && conf_noted(p->conf) != NULL)
		conf_note(p->conf, conf_noted(p->conf), &rc, reterr);
	return rc;
}

enum err_code
plan_open(struct plan *p, const struct provider_env *env, struct err *reterr)
{
	if (plan_blocks(p, env, reterr) != ERR_OK)
		return reterr->code;
	plan_number_lanes(p);
	for (size_t i = 0; i < p->nedges; i++)
		if (clash_check(p, &p->edges[i], reterr) != ERR_OK)
			return reterr->code;
	return ERR_OK;
}

/* The agent's arguments, with what a default depends on. */
static void
plan_common(const struct backend *b, char number[24], struct conf_field ret[PLAN_COMMON_MAX])
{
	size_t n = 0;

	for (; provider_common_fields[n].name != NULL; n++) {
		assert(n + 1 < PLAN_COMMON_MAX);
		ret[n] = provider_common_fields[n];
		if (ret[n].offset == offsetof(struct backend_common, backfill) && b != NULL) {
			snprintf(number, 24, "%lld", (long long)b->common.backfill);
			ret[n].def = number;
		}
	}
	ret[n] = provider_common_fields[n];
}

void
plan_print(const struct plan *p, struct buf *ret)
{
	const struct conf_block *root = conf_root(p->conf);

	for (size_t i = 0; i < root->nblocks; i++) {
		const struct conf_block       *b = &root->blocks[i];
		const struct conf_field       *tables[3] = { NULL, NULL, NULL };
		const struct provider         *provider;
		struct conf_field              common[PLAN_COMMON_MAX];
		char                           number[24];

		if (strcmp(b->type, "agent") == 0) {
			tables[0] = agent_fields;
		} else if (strcmp(b->type, "replicate") == 0) {
			tables[0] = replicate_fields;
		} else if (strcmp(b->type, "snapshot") == 0) {
			tables[0] = snapshot_fields;
		} else if (b->nlabels == 2 && (provider = provider_find(b->labels[0])) != NULL) {
			tables[0] = provider->fields;
			plan_common(plan_backend(p, b->labels[1]), number, common);
			tables[1] = common;
		}
		if (ret->len > 0)
			buf_putc(ret, '\n');
		conf_print(b, tables, 0, ret);
	}
}
