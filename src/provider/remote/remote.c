/* SPDX-License-Identifier: MIT */
#include "remote.h"

#include <stdio.h>
#include <stdlib.h>

/* The driver: the arguments of both blocks, what follows from them, and the table of calls. */
#define AT(member) offsetof(struct remote_conf, member)

static const struct conf_field remote_fields[] = {
	{ .name = "hostname", .type = CONF_STR, .offset = AT(hostname), .def = "app.terraform.io", .help = "the server" },
	{ .name = "organization", .type = CONF_STR, .offset = AT(organization), .required = true,
	    .help = "whose workspaces" },
	{ .name = "token", .type = CONF_SECRET, .offset = AT(token), .help = "better where \"terraform login\" puts it, or in TF_TOKEN_..." },
	{ .name = "api_base", .type = CONF_STR, .offset = AT(api_base), .help = "URL of an API that service discovery does not tell" },
	{ .name = "ca_file", .type = CONF_PATH, .offset = AT(ca_file), .help = "PEM file that replaces the system's roots" },
	{ .name = NULL },
};

static const struct conf_field cloud_fields[] = {
	{ .name = "hostname", .type = CONF_STR, .offset = AT(hostname), .def = "app.terraform.io", .env = "TF_CLOUD_HOSTNAME", .help = "the server" },
	{ .name = "organization", .type = CONF_STR, .offset = AT(organization), .env = "TF_CLOUD_ORGANIZATION", .required = true,
	    .help = "whose workspaces" },
	{ .name = "token", .type = CONF_SECRET, .offset = AT(token), .help = "better where \"terraform login\" puts it, or in TF_TOKEN_..." },
	{ .name = "api_base", .type = CONF_STR, .offset = AT(api_base), .help = "URL of an API that service discovery does not tell" },
	{ .name = "ca_file", .type = CONF_PATH, .offset = AT(ca_file), .help = "PEM file that replaces the system's roots" },
	{ .name = NULL },
};

#undef AT
#define AT(member) offsetof(struct remote_select, member)

static const struct conf_field remote_workspaces_fields[] = {
	{ .name = "name", .type = CONF_STR, .offset = AT(name), .help = "the one workspace" },
	{ .name = "prefix", .type = CONF_STR, .offset = AT(prefix), .help = "all whose names begin with this; what follows it is the name here" },
	{ .name = NULL },
};

static const struct conf_field cloud_workspaces_fields[] = {
	{ .name = "name", .type = CONF_STR, .offset = AT(name), .env = "TF_WORKSPACE", .help = "the one workspace" },
	{ .name = "project", .type = CONF_STR, .offset = AT(project), .env = "TF_CLOUD_PROJECT", .help = "all of this project" },
	{ .name = NULL },
};

static const struct conf_field cloud_tags_fields[] = {
	{ .name = "tags", .type = CONF_STRS, .offset = AT(tags), .help = "all that have these" },
	{ .name = NULL },
};

static const struct conf_field cloud_pairs_fields[] = {
	{ .name = "tags", .type = CONF_MAP, .offset = AT(tag_pairs), .help = "all that have these keys, with these values" },
	{ .name = NULL },
};

struct remote *
remote_of(const struct backend *b)
{
	return container_of(b, struct remote, b);
}

static bool
remote_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* ---------------------------------------------------------------- names */

static bool
remote_fixed(const struct backend *b, const char *workspace, struct buf *ret)
{
	const char *name = remote_of(b)->select.name;

	(void)workspace; /* a workspace has one state */
	if (name != NULL)
		buf_puts(ret, name);
	return name != NULL;
}

/* Does one configuration of terraform have all of them as its workspaces? Else each is that of a configuration of its own. */
static bool
remote_is_shared(const struct backend *b)
{
	const struct remote *r = remote_of(b);

	return r->cloud ? r->prefix[0] == '\0' && r->select.tags.n + r->select.tag_pairs.n > 0 : r->prefix[0] != '\0';
}

static void
remote_workspace(const struct backend *b, const char *name, struct buf *ret)
{
	buf_puts(ret, remote_is_shared(b) ? name : "default");
}

static void
remote_path(const struct backend *b, const char *name, struct buf *ret)
{
	if (!remote_is_shared(b))
		buf_puts(ret, name);
}

static void
remote_named(const struct backend *b, const char *path, const char *workspace, struct buf *ret)
{
	bool other = strcmp(workspace, "default") != 0;

	if (path[0] == '\0' || (other && remote_is_shared(b)))
		buf_puts(ret, workspace);
	else
		buf_printf(ret, "%s%s%s", path, other ? "-" : "", other ? workspace : "");
}

static void
remote_inside_tags(const struct remote_select *s, struct buf *ret)
{
	bool list = s->tags.n > 0;

	buf_printf(ret, "      tags%s = %c", s->project != NULL ? "   " : "", list ? '[' : '{');
	for (size_t i = 0; i < s->tags.n; i++) {
		buf_puts(ret, i > 0 ? ", " : "");
		conf_quote(ret, s->tags.items[i]);
	}
	for (size_t i = 0; i < s->tag_pairs.n; i++) {
		buf_puts(ret, i > 0 ? ", " : " ");
		conf_quote(ret, s->tag_pairs.keys[i]);
		buf_puts(ret, " = ");
		conf_quote(ret, s->tag_pairs.values[i]);
	}
	buf_puts(ret, list ? "]\n" : " }\n");
	if (s->project == NULL)
		return;
	buf_puts(ret, "      project = ");
	conf_quote(ret, s->project);
	buf_putc(ret, '\n');
}

/* Those of the prefix, or of the tags, where terraform's block knows them; else the one state, whatever the block of ours selects. Where
 * that is of a server of one's own, what terraform needs to know of it stands elsewhere. */
static void
remote_inside(const struct backend *b, const char *name, struct buf *ret)
{
	const struct remote *r = remote_of(b);
	char                *full = remote_full(r, name);
	bool                 many = !r->cloud && r->prefix[0] != '\0';

	buf_printf(ret, "    # token: terraform login %s\n", r->host);
	if (remote_given(r->conf->api_base))
		buf_printf(ret, "    # terraform has no api_base: if %s does not tell where its API is, host \"%s\" in ~/.terraformrc says it\n",
		    r->host, r->host);
	if (r->tls.ca_file != NULL)
		buf_puts(ret, "    # terraform has no ca_file: export SSL_CERT_FILE, or let the system know the authority\n");
	buf_puts(ret, "\n    workspaces {\n");
	if (remote_is_shared(b) && r->cloud)
		remote_inside_tags(&r->select, ret);
	else
		buf_printf(ret, "      %s = \"%s\"\n", many ? "prefix" : "name", many ? r->prefix : full);
	buf_puts(ret, "    }\n");
	free(full);
}

static const struct conf_hidden remote_hidden[] = { { "token", NULL }, { "api_base", NULL }, { "ca_file", NULL }, { NULL, NULL } };

static enum err_code
remote_holds(const struct backend *b, const char *name, struct err *reterr)
{
	char *full = remote_full(remote_of(b), name);
	bool  ok = remote_is_name(full);

	free(full);
	if (ok && remote_is_shared(b) && strcmp(name, "default") == 0)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "terraform has no workspace \"default\" where a block has many of them");
	if (ok)
		return ERR_OK;
	return err_set(reterr, ERR_UNSUPPORTED, 0, "no workspace can be called %.60s: a name is 1 to 90 letters, digits, \"-\" and \"_\"; "
	    "key = \"{alias}\" names each by its alias", name);
}

static void
remote_locate(const struct backend *b, const char *name, struct buf *ret)
{
	const struct remote *r = remote_of(b);

	buf_printf(ret, "%s/%s/%s%s", r->at, r->conf->organization, r->prefix, name);
}

static void
remote_unlock_hint(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret)
{
	buf_puts(ret, "terraform force-unlock ");
	remote_lock_name(b, name, ret);
	buf_puts(ret, ", or ");
	lock_info_unlock_by(b->label, name, l->id, ret);
}

static const char *
remote_signed_in(const struct backend *b)
{
	const char *source = remote_token_source(remote_of(b));

	return source[0] != '\0' ? source : NULL;
}

static const char *
remote_server(const struct backend *b)
{
	const struct remote *r = remote_of(b);

	return r->server[0] != '\0' ? r->server : NULL;
}

/* ---------------------------------------------------------------- configuration */

static bool
remote_says_attr(struct conf_block *block, const char *name)
{
	const struct conf_attr *a = conf_attr(block, name);

	return a != NULL && a->value.kind != CONF_NULL;
}

static enum err_code
remote_check_select(struct remote *r, struct conf_block *inner, struct err *reterr)
{
	struct remote_select *s = &r->select;
	const char           *others[] = { "prefix", "tags" };

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (remote_says_attr(inner, "name") && remote_says_attr(inner, others[i]))
			return conf_error(reterr, inner->pos, "workspaces: either name or %s, not both", others[i]);
	if (!remote_given(s->name) || (!remote_says_attr(inner, "name") && (s->tags.n + s->tag_pairs.n > 0 || remote_says_attr(inner, "project"))))
		s->name = NULL; /* the variable alone names no other than what the block selects */
	if (!remote_given(s->project))
		s->project = NULL;
	if (remote_given(s->prefix) && remote_given(r->b.common.prefix))
		return conf_error(reterr, inner->pos, "either prefix in workspaces, or prefix of the backend, not both");
	r->prefix = xstrdup(remote_given(s->prefix) ? s->prefix : r->b.common.prefix);
	if (s->name != NULL && r->prefix[0] != '\0')
		return conf_error(reterr, inner->pos, "either the name of one workspace, or prefix, not both");
	if ((s->name != NULL && !remote_is_name(s->name)) || (r->prefix[0] != '\0' && !remote_is_name(r->prefix)))
		return conf_error(reterr, inner->pos, "workspaces: a name is 1 to 90 letters, digits, \"-\" and \"_\"");
	return ERR_OK;
}

static enum err_code
remote_read_select(struct remote *r, struct conf *c, struct conf_block *block, struct err *reterr)
{
	static const struct conf_value nothing = { .kind = CONF_OBJECT };
	static const char *const       none[] = { NULL };
	struct conf_block             *inner = NULL;
	const struct conf_attr        *tags;
	const struct conf_field       *tables[] = { remote_workspaces_fields, NULL, NULL };

	for (size_t i = 0; i < block->nblocks; i++)
		if (strcmp(block->blocks[i].type, "workspaces") == 0 && inner != NULL)
			return conf_error(reterr, block->blocks[i].pos, "expected one block workspaces");
		else if (strcmp(block->blocks[i].type, "workspaces") == 0)
			inner = &block->blocks[i];
	if (inner == NULL) { /* for the variables */
		inner = conf_inner(c, "workspaces", &nothing);
		inner->pos = block->pos;
	}
	tags = conf_attr(inner, "tags");
	if (r->cloud) {
		tables[0] = cloud_workspaces_fields;
		tables[1] = tags != NULL && tags->value.kind == CONF_OBJECT ? cloud_pairs_fields : cloud_tags_fields;
	}
	for (size_t i = 0; tables[i] != NULL; i++)
		if (conf_fields(c, inner, tables[i], &r->select, reterr) != ERR_OK)
			return reterr->code;
	if (conf_finish(c, inner, tables, none, reterr) != ERR_OK)
		return reterr->code;
	return remote_check_select(r, inner, reterr);
}

static enum err_code
remote_set_up(struct remote *r, struct conf *c, struct conf_block *block, struct err *reterr)
{
	struct buf host;
	struct url u;
	struct err e;

	if (!remote_given(r->conf->organization))
		return conf_error(reterr, conf_where(block, "organization"), "organization is empty");
	buf_init(&host, 0);
	if (remote_host(r->conf->hostname, &host, &e) != ERR_OK)
		conf_error(reterr, conf_where(block, "hostname"), "hostname: %s", e.msg);
	else if (remote_given(r->conf->api_base) && url_parse(r->conf->api_base, &u, &e) != ERR_OK)
		conf_error(reterr, conf_where(block, "api_base"), "api_base: %s", e.msg);
	r->host = buf_take(&host);
	if (reterr->code == ERR_OK && remote_given(r->conf->api_base)) {
		buf_init(&host, 0);
		url_host_header(&u, &host);
		r->at = buf_take(&host);
		url_free(&u);
	} else {
		r->at = xstrdup(r->host);
	}
	return reterr->code != ERR_OK ? reterr->code : remote_read_select(r, c, block, reterr);
}

static void
remote_close(struct backend *b)
{
	struct remote *r = remote_of(b);
	struct span    name;
	void          *k;

	for (size_t i = 0; map_next(r->known, &i, &name, &k);)
		free(k);
	map_free(r->known);
	token_free(r->access);
	free(r->host);
	free(r->at);
	free(r->prefix);
	free(r);
}

static enum err_code
remote_open(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
    const struct backend_common *common, struct backend **ret, struct err *reterr)
{
	struct remote *r = xcalloc(1, sizeof(*r));

	r->env = env;
	r->conf = conf;
	r->b.common = *common;
	r->cloud = strcmp(block->labels[0], "cloud") == 0;
	r->known = map_new();
	r->tls.ca_file = remote_given(r->conf->ca_file) ? r->conf->ca_file : NULL;
	err_clear(reterr);
	if (remote_set_up(r, c, block, reterr) != ERR_OK) {
		remote_close(&r->b);
		return reterr->code;
	}
	r->b.where = xasprintf("%s/%s%s%s%s", r->at, r->conf->organization, r->select.name != NULL || r->prefix[0] != '\0' ? "/" : "",
	    r->select.name != NULL ? r->select.name : r->prefix, r->prefix[0] != '\0' ? "*" : "");
	r->access = remote_access_new(r);
	*ret = &r->b;
	return ERR_OK;
}

/* A put has no precondition: the lock is the workspace's, and every server of this API refuses a second one. */
static unsigned
remote_caps(const struct backend *b)
{
	(void)b;
	return PROVIDER_LIST | PROVIDER_HISTORY | PROVIDER_SERIALS | PROVIDER_LOCK | PROVIDER_LOCK_ID | PROVIDER_LOCK_MOVES;
}

static const char *const remote_blocks[] = { "workspaces", NULL };

#define REMOTE_CALLS \
	.suits = remote_is_name, .holds = remote_holds, .blocks = remote_blocks, .conf_size = sizeof(struct remote_conf), \
	.open = remote_open, .close = remote_close, .caps = remote_caps, .workspace = remote_workspace, .fixed = remote_fixed, \
	.path = remote_path, .named = remote_named, .inside = remote_inside, .hidden = remote_hidden, .expect = remote_expect, \
	.locate = remote_locate, .create = remote_create, .list = remote_list, .head = remote_head, .get = remote_get, .put = remote_put, \
	.lock = remote_lock, .unlock = remote_unlock, .lock_peek = remote_lock_peek, .lock_path = remote_lock_path, \
	.history = remote_history, .get_version = remote_get_version, .probe = remote_probe, .signed_in = remote_signed_in, \
	.server = remote_server, .unlock_hint = remote_unlock_hint, .backfill = 100

const struct provider provider_remote = { .name = "remote", .summary = "Terraform Cloud and Enterprise, as backend \"remote\"",
	.fields = remote_fields, REMOTE_CALLS };
const struct provider provider_cloud = { .name = "cloud", .summary = "Terraform Cloud and Enterprise, as the cloud block",
	.fields = cloud_fields, REMOTE_CALLS };
