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

/* Of clouds and terraform; where a home is, is no news. */
static const char *
init_env(void *arg, const char *name)
{
	static const char *const others[] = { "HOME", "XDG_", "PATH", NULL };
	struct init             *in = arg;
	const char              *value = getenv(name);
	size_t                   n = strlen(name);
	bool                     skip = value == NULL || value[0] == '\0' || in->asked.len + n > INIT_VARIABLES_MAX;

	for (size_t i = 0; others[i] != NULL; i++)
		skip |= strncmp(name, others[i], strlen(others[i])) == 0;
	for (const char *p = buf_str(&in->asked); !skip && (p = strstr(p, name)) != NULL; p += n)
		skip = (p == buf_str(&in->asked) || p[-1] == ' ') && (p[n] == ',' || p[n] == '\0');
	if (!skip)
		buf_printf(&in->asked, "%s%s", in->asked.len > 0 ? ", " : "", name);
	return value;
}

/* ---------------------------------------------------------------- places */

static void
init_unknown(struct init *in, const struct discover_found *f)
{
	struct err e;

	err_set(&e, ERR_UNSUPPORTED, 0, "backend \"%.40s\" is not one that this version knows", f->type);
	discover_not(in->d, f->pos.file, f->pos.line, &e);
}

/* Fills p as a backend of that type has it. */
static enum err_code
init_try(struct init *in, struct init_place *p, const char *type, struct err *reterr)
{
	const struct conf_block found = *p->found->block;
	struct backend         *b;

	p->provider = provider_find(type);
	p->block = arena_alloc(in->arena, sizeof(*p->block));
	*p->block = found;
	p->block->labels = arena_alloc(in->arena, 2 * sizeof(*p->block->labels));
	p->block->labels[0] = type;
	p->block->labels[1] = "";
	buf_reset(&in->asked);
	err_clear(reterr);
	if (provider_open(&in->env, in->d->conf, p->block, &b, reterr) != ERR_OK)
		return reterr->code;
	p->where = arena_strdup(in->arena, b->where);
	p->variables = arena_strdup(in->arena, buf_str(&in->asked));
	provider_close(b);
	return ERR_OK;
}

/* Which provider knows more of an address than http does; NULL: none. */
static const char *
init_dialect(const struct init_place *p)
{
	static const char *const dialects[][2] = { { "/terraform-backend?accountIdentifier=", "harness" } };
	const struct conf_attr  *a = conf_attr(p->block, "address");

	for (size_t i = 0; i < ARRAY_LEN(dialects); i++)
		if (strcmp(p->provider->name, "http") == 0 && a != NULL && a->value.kind == CONF_TEXT &&
		    strstr(a->value.text, dialects[i][0]) != NULL)
			return dialects[i][1];
	return NULL;
}

static void
init_open(struct init *in, const struct discover_found *f)
{
	struct init_place p = { .found = f }, closer = { .found = f };
	const char       *dialect;
	struct err        e;

	if (provider_find(f->type) == NULL) {
		init_unknown(in, f);
		return;
	}
	if (init_try(in, &p, f->type, &e) != ERR_OK) {
		discover_not(in->d, f->pos.file, f->pos.line, &e);
		return;
	}
	dialect = init_dialect(&p);
	in->places[in->nplaces++] = dialect != NULL && init_try(in, &closer, dialect, &e) == ERR_OK ? closer : p;
}

/* ---------------------------------------------------------------- the check */

/* As "config check" would find it. */
static enum err_code
init_check(struct init *in, const char *text, struct err *reterr)
{
	struct plan *p;
	char        *cwd = getcwd(NULL, 0);

	err_clear(reterr);
	if (plan_parse("stateferry.hcl", cwd != NULL ? cwd : "/", span_str(text), NULL, &p, reterr) == ERR_OK) {
		plan_open(p, &in->env, reterr);
		plan_free(p);
	}
	free(cwd);
	return reterr->code;
}

/* Files that others may write to, a path that is no UTF-8: then it is not in the configuration, and told. */
static void
init_check_groups(struct init *in)
{
	struct err e;

	for (size_t g = 0; g < in->ngroups; g++) {
		struct init_group *group = &in->groups[g];

		group->dropped = init_check(in, group->text, &e) != ERR_OK;
		if (group->dropped)
			discover_not(in->d, group->first->found->pos.file, group->first->found->pos.line, &e);
	}
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
	if (init_check(in, buf_str(&text), &e) != ERR_OK)
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
	struct conf_source src = { init_env, NULL, &in };
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
		in.env.source = NULL; /* from here on as the agent has it */
		init_group(&in);
		init_check_groups(&in);
		rc = init_print(&in);
	}
	init_end(&in);
	return rc;
}
