/* SPDX-License-Identifier: MIT */
#include "init.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"
#include "sync/plan.h"

/*
 * init: what terraform has on the disk, as a configuration of ours. Each place is opened as the agent would open it, without a
 * request, and so is the text that comes out: what would not pass "config check" is not printed.
 */
#define INIT_VARIABLES_MAX 1000 /* bytes of names */

/* ---------------------------------------------------------------- the environment */

/* Where a home is, is no news. */
static bool
init_is_home(const char *name)
{
	return strncmp(name, "HOME", 4) == 0 || strncmp(name, "XDG_", 4) == 0 || strncmp(name, "PATH", 4) == 0;
}

/* Does name stand in a list with ", " between? */
static bool
init_names(const struct buf *list, const char *name)
{
	const char *all = buf_str(list);
	size_t      n = strlen(name);

	for (const char *p = all; (p = strstr(p, name)) != NULL; p += n)
		if ((p == all || p[-1] == ' ') && (p[n] == ',' || p[n] == '\0'))
			return true;
	return false;
}

/* While a place is opened: of clouds and terraform, in in->asked. */
static const char *
init_env(void *arg, const char *name)
{
	struct init *in = arg;
	const char  *value = getenv(name);

	if (value != NULL && value[0] != '\0' && in->asked.len + strlen(name) <= INIT_VARIABLES_MAX && !init_is_home(name) &&
	    !init_names(&in->asked, name))
		buf_printf(&in->asked, "%s%s", in->asked.len > 0 ? ", " : "", name);
	return value;
}

/* For the check: what the comments name, which is in in->asked then, and nothing else. */
static const char *
init_told_env(void *arg, const char *name)
{
	const struct init *in = arg;

	return init_is_home(name) || init_names(&in->asked, name) ? getenv(name) : NULL;
}

/* ---------------------------------------------------------------- places */

static void
init_unknown(struct init *in, const struct discover_found *f)
{
	struct err e;

	err_set(&e, ERR_UNSUPPORTED, 0, "backend \"%.40s\" is not one that this version knows", f->type);
	err_hint(&e, "\"stateferry version\" lists those; terraform init -migrate-state moves a state to one of them");
	discover_not(in->d, f->pos.file, f->pos.line, &e);
}

/* Fills p as a backend of that type has it. */
static enum err_code
init_try(struct init *in, struct init_place *p, const char *type, struct err *reterr)
{
	const struct conf_block found = *p->found->block;

	p->provider = provider_find(type);
	p->block = arena_alloc(in->arena, sizeof(*p->block));
	*p->block = found;
	p->block->labels = arena_alloc(in->arena, 2 * sizeof(*p->block->labels));
	p->block->labels[0] = type;
	p->block->labels[1] = "";
	buf_reset(&in->asked);
	err_clear(reterr);
	if (provider_open(&in->env, in->d->conf, p->block, &p->backend, reterr) != ERR_OK)
		return reterr->code;
	p->variables = arena_strdup(in->arena, buf_str(&in->asked));
	return ERR_OK;
}

static void
init_open(struct init *in, const struct discover_found *f)
{
	struct init_place           p = { .found = f }, closer = { .found = f };
	const struct init_platform *platform;
	struct err                  e;

	if (provider_find(f->type) == NULL) {
		init_unknown(in, f);
		return;
	}
	if (init_try(in, &p, f->type, &e) != ERR_OK) {
		discover_not(in->d, f->pos.file, f->pos.line, &e);
		return;
	}
	platform = init_platform(&p);
	if (platform != NULL && platform->provider != NULL && init_try(in, &closer, platform->provider, &e) == ERR_OK) {
		provider_close(p.backend);
		p = closer;
	} else if (platform != NULL && platform->provider != NULL) {
		p.farther = arena_strdup(in->arena, e.msg);
	}
	in->places[in->nplaces++] = p;
}

/* ---------------------------------------------------------------- the check */

/* As "config check" would find it, with those variables alone. ret: the plan; NULL: not wanted. */
static enum err_code
init_check(struct init *in, const char *text, const char *variables, struct plan **ret, struct err *reterr)
{
	struct conf_source told = { .env = init_told_env, .arg = in };
	struct plan       *p = NULL;
	char              *cwd = getcwd(NULL, 0);

	err_clear(reterr);
	buf_reset(&in->asked);
	buf_puts(&in->asked, variables);
	in->env.source = &told;
	if (plan_parse("stateferry.hcl", cwd != NULL ? cwd : "/", span_str(text), &told, &p, reterr) == ERR_OK)
		plan_open(p, &in->env, reterr);
	in->env.source = NULL;
	free(cwd);
	if (ret != NULL && reterr->code == ERR_OK)
		*ret = p;
	else if (p != NULL)
		plan_free(p);
	return reterr->code;
}

static void
init_check_group(struct init *in, struct init_group *group)
{
	const struct discover_found *f = group->first->found;
	struct err                   e;

	group->dropped = init_check(in, group->text, group->first->variables, NULL, &e) != ERR_OK;
	if (group->dropped)
		discover_not(in->d, f->pos.file, f->pos.line, &e);
}

/* A listing finds what another block is for: there it is taken as that one says, and left out here. Workspace "*": all but the default. */
static void
init_exclude(struct init *in, struct init_group *group, const struct backend *lists, const struct init_place *p, const char *workspace)
{
	struct buf   there, name;
	const char **items;

	buf_init(&there, 0);
	buf_init(&name, 0);
	if (!provider_fixed(p->backend, workspace, &there))
		buf_printf(&there, "%s%s", workspace, p->provider->suffix != NULL ? p->provider->suffix : "");
	if (provider_lists_name_of(lists, p->backend, buf_str(&there), &name)) {
		items = arena_alloc(in->arena, (group->exclude.n + 1) * sizeof(*items));
		for (size_t i = 0; i < group->exclude.n; i++)
			items[i] = group->exclude.items[i];
		items[group->exclude.n] = arena_strdup(in->arena, buf_str(&name));
		group->exclude = (struct conf_strs){ items, group->exclude.n + 1 };
	}
	buf_free(&there);
	buf_free(&name);
}

/* One bucket in two blocks, which say of it how it is locked or by whom it is read: no state shall be in both. */
static void
init_part(struct init *in, size_t g)
{
	struct init_group *group = &in->groups[g];
	struct plan       *plan;
	struct err         e;

	if (group->dropped || (group->n < 2 && !group->wide) || init_check(in, group->text, group->first->variables, &plan, &e) != ERR_OK)
		return;
	for (size_t i = 0; i < in->nplaces; i++) {
		const struct init_place *p = &in->places[i];

		if (p->group == g || p->again || !init_is_listed(p) || in->groups[p->group].dropped || p->provider != group->first->provider)
			continue;
		init_exclude(in, group, plan->backends[0], p, "default");
		init_exclude(in, group, plan->backends[0], p, "*");
	}
	plan_free(plan);
	if (group->exclude.n == 0)
		return;
	init_block(in, g);
	init_check_group(in, group);
}

/* Files that others may write to, a path that is no UTF-8: then it is not in the configuration, and told. */
static void
init_check_groups(struct init *in)
{
	for (size_t g = 0; g < in->ngroups; g++)
		init_check_group(in, &in->groups[g]);
	for (size_t g = 0; g < in->ngroups; g++)
		init_part(in, g);
}

/* Of all groups. */
static enum err_code
init_check_all(struct init *in, const char *text, struct err *reterr)
{
	struct buf variables;

	buf_init(&variables, 0);
	for (size_t g = 0; g < in->ngroups; g++)
		if (!in->groups[g].dropped)
			buf_printf(&variables, "%s%s", variables.len > 0 ? ", " : "", in->groups[g].first->variables);
	init_check(in, text, buf_str(&variables), NULL, reterr);
	buf_free(&variables);
	return reterr->code;
}

/* ---------------------------------------------------------------- what is said */

static json_t *
init_number(unsigned line)
{
	return line > 0 ? json_integer(line) : json_null();
}

static json_t *
init_state(const struct init_place *p)
{
	const struct discover_found *f = p->found;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "folder", cli_string(f->dir), "file", cli_string(f->pos.file), "line",
	    init_number(f->pos.line), "arguments", f->args != NULL ? cli_string(f->args) : json_null(), "name", cli_string(p->name),
	    "workspace", cli_string(f->workspace != NULL ? f->workspace : "default"));
}

static json_t *
init_backend(const struct init *in, size_t g)
{
	const struct init_group *group = &in->groups[g];
	json_t                  *doc = json_pack("{s:s, s:s, s:b, s:o, s:[]}", "label", group->label, "type", group->first->provider->name,
	                     "from_file", group->hidden[0] != '\0', "variables", cli_string(group->first->variables), "states");

	for (size_t i = 0; i < in->nplaces; i++)
		if (in->places[i].group == g)
			json_array_append_new(json_object_get(doc, "states"), init_state(&in->places[i]));
	return doc;
}

static void
init_json(const struct init *in, const char *text)
{
	json_t *doc = json_pack("{s:s, s:o, s:{s:I, s:I}, s:o, s:[], s:[]}", "format_version", "1.0", "folder", cli_string(in->d->dir),
	    "looked", "folders", (json_int_t)in->d->folders, "files", (json_int_t)in->d->files, "configuration", cli_string(text),
	    "backends", "unread");

	for (size_t g = 0; g < in->ngroups; g++)
		if (!in->groups[g].dropped)
			json_array_append_new(json_object_get(doc, "backends"), init_backend(in, g));
	for (size_t i = 0; i < in->d->nunread; i++) {
		const struct discover_unread *u = &in->d->unread[i];

		json_array_append_new(json_object_get(doc, "unread"), json_pack("{s:o, s:o, s:o, s:o}", "path", cli_string(u->path), "line",
		    init_number(u->line), "message", cli_string(u->message), "hint", cli_string(u->hint)));
	}
	json_dumpf(doc, stdout, 0);
	putchar('\n');
	json_decref(doc);
}

static void
init_say(const struct init *in)
{
	for (size_t i = 0; i < in->d->nunread; i++) {
		const struct discover_unread *u = &in->d->unread[i];
		char                         *where = u->line > 0 ? xasprintf("%s:%u", u->path, u->line) : xstrdup(u->path);

		cli_say(where, u->message, u->hint);
		free(where);
	}
}

static int
init_nothing(const struct init *in)
{
	struct err e;

	err_set(&e, ERR_NOT_FOUND, 0, "found no state of terraform's: looked at %zu folders and read %zu files of it below", in->d->folders,
	    in->d->files);
	err_hint(&e, "name the folder of a project that \"terraform init\" has been run in, or begin with conf/stateferry.hcl");
	return cli_error(in->c, &e, in->d->dir);
}

static int
init_print(struct init *in)
{
	struct buf text;
	struct err e;
	size_t     n = 0;
	int        rc = in->d->nunread > 0 ? 3 : 0;

	init_say(in);
	for (size_t g = 0; g < in->ngroups; g++)
		n += !in->groups[g].dropped;
	if (n == 0)
		return init_nothing(in);
	buf_init(&text, 0);
	init_text(in, &text);
	if (init_check_all(in, buf_str(&text), &e) != ERR_OK)
		rc = cli_error(in->c, &e, "what was found makes no configuration");
	else if (in->c->json)
		init_json(in, buf_str(&text));
	else
		printf("%s", buf_str(&text));
	buf_free(&text);
	return rc;
}

/* ---------------------------------------------------------------- the command */

static enum err_code
init_begin(struct init *in, struct err *reterr)
{
	if (crypto_init(reterr) != ERR_OK || (in->env.loop = loop_new(reterr)) == NULL)
		return reterr->code;
	in->env.work = work_new(in->env.loop);
	in->env.agent_name = "init";
	return http_client_curl(in->env.loop, in->env.work, NULL, &in->env.http, reterr);
}

static void
init_end(struct init *in)
{
	for (size_t i = 0; i < in->nplaces; i++)
		provider_close(in->places[i].backend);
	free(in->groups);
	free(in->places);
	arena_free(in->arena);
	discovery_free(in->d);
	buf_free(&in->asked);
	if (in->env.http != NULL)
		http_client_free(in->env.http);
	if (in->env.work != NULL)
		work_free(in->env.work);
	if (in->env.loop != NULL)
		loop_free(in->env.loop);
}

int
cli_init(struct cli *c)
{
	struct init        in = { .c = c };
	struct conf_source src = { .env = init_env, .arg = &in };
	const char        *dir = c->nwords > 0 ? c->words[0] : ".";
	struct err         e;
	int                rc;

	err_clear(&e);
	buf_init(&in.asked, 0);
	in.arena = arena_new();
	in.env.source = &src;
	if (init_begin(&in, &e) != ERR_OK || discover(dir, &src, &in.d, &e) != ERR_OK) {
		rc = cli_error(c, &e, "init");
	} else {
		in.places = xcalloc(in.d->nfound + 1, sizeof(*in.places));
		for (size_t i = 0; i < in.d->nfound; i++)
			init_open(&in, &in.d->found[i]);
		init_group(&in);
		init_check_groups(&in);
		rc = init_print(&in);
	}
	init_end(&in);
	return rc;
}
