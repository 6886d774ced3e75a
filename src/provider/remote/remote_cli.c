/* SPDX-License-Identifier: MIT */
#include "remote_cli.h"

#include <dirent.h>
#include <stdlib.h>

#include "base/log.h"
#include "provider/outside.h"

/* The result, and the file that is being read. */
struct remote_cli_reading {
	const struct provider_env *env;
	const char                *host, *path;
	bool                       loose;
	struct remote_cli         *ret;
};

void
remote_cli_free(struct remote_cli *c)
{
	secret_free(c->token);
	free(c->service);
	free(c->helper);
	for (char **w = c->words; *w != NULL; w++)
		free(*w);
	free(c->token_file);
	free(c->service_file);
	free(c->helper_file);
	free(c->only_file);
	free(c->trouble);
	memset(c, 0, sizeof(*c));
}

static void
remote_cli_text(char **to, const char *text)
{
	free(*to);
	*to = xstrdup(text);
}

static void
remote_cli_trouble(struct remote_cli_reading *x, const struct err *e)
{
	if (x->ret->trouble == NULL)
		x->ret->trouble = xstrdup(e->msg);
}

/* ---------------------------------------------------------------- one file */

static bool
remote_cli_is_host(const struct remote_cli_reading *x, const char *name)
{
	struct buf host;
	bool       same;

	buf_init(&host, 0);
	same = remote_host(name, &host, NULL) == ERR_OK && strcmp(buf_str(&host), x->host) == 0;
	buf_free(&host);
	return same;
}

static const char *
remote_cli_string(struct conf_block *b, const char *name)
{
	const struct conf_attr *a = conf_attr(b, name);

	return a != NULL && a->value.kind == CONF_TEXT && a->value.text[0] != '\0' ? a->value.text : NULL;
}

int
remote_service_rank(struct span name)
{
	static const char *const names[] = { "tfe.v2", "tfe.v2.2", "tfe.v2.1", "state.v2" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (span_is(name, names[i]))
			return (int)i;
	return -1;
}

static void
remote_cli_services(struct remote_cli_reading *x, const struct conf_value *v)
{
	int best = -1, rank;

	for (size_t i = 0; v->kind == CONF_OBJECT && i < v->nitems; i++) {
		rank = v->items[i].kind == CONF_TEXT ? remote_service_rank(span_str(v->keys[i])) : -1;
		if (rank < 0 || (best >= 0 && rank > best))
			continue;
		best = rank;
		remote_cli_text(&x->ret->service, v->items[i].text);
		remote_cli_text(&x->ret->service_file, x->path);
		x->ret->service_loose = x->loose;
	}
}

static enum err_code
remote_cli_helper(struct remote_cli_reading *x, const char *name, const struct conf_attr *args, struct err *reterr)
{
	struct remote_cli *c = x->ret;
	size_t             n = args != NULL && args->value.kind == CONF_ARRAY ? args->value.nitems : 0;

	if (n > REMOTE_CLI_WORDS_MAX)
		return conf_error(reterr, args->pos, "a credentials helper with more than %d arguments", REMOTE_CLI_WORDS_MAX);
	for (char **w = c->words; *w != NULL; w++) {
		free(*w);
		*w = NULL;
	}
	for (size_t i = 0; i < n; i++)
		c->words[i] = xstrdup(args->value.items[i].text != NULL ? args->value.items[i].text : "");
	remote_cli_text(&c->helper, name);
	remote_cli_text(&c->helper_file, x->path);
	c->helper_loose = x->loose;
	return ERR_OK;
}

/* One block, or in JSON one member of such an object. */
static enum err_code
remote_cli_block(struct remote_cli_reading *x, const char *type, const char *label, struct conf_block *b, struct err *reterr)
{
	const char *token;

	if (strcmp(type, "credentials_helper") == 0)
		return remote_cli_helper(x, label, conf_attr(b, "args"), reterr);
	if (!remote_cli_is_host(x, label))
		return ERR_OK;
	if (strcmp(type, "host") == 0 && conf_attr(b, "services") != NULL)
		remote_cli_services(x, &conf_attr(b, "services")->value);
	token = strcmp(type, "credentials") == 0 ? remote_cli_string(b, "token") : NULL;
	if (token != NULL) {
		secret_free(x->ret->token);
		x->ret->token = secret_new(span_str(token));
		remote_cli_text(&x->ret->token_file, x->path);
	}
	return ERR_OK;
}

static const char *const remote_cli_types[] = { "credentials", "credentials_helper", "host" };

static void
remote_cli_body(struct remote_cli_reading *x, struct conf *c)
{
	const char *const *types = remote_cli_types;
	struct conf_block *root = conf_root(c);
	struct err         e;

	for (size_t i = 0; i < root->nblocks; i++)
		for (size_t t = 0; t < ARRAY_LEN(remote_cli_types); t++)
			if (strcmp(root->blocks[i].type, types[t]) == 0 && root->blocks[i].nlabels == 1 &&
			    remote_cli_block(x, types[t], root->blocks[i].labels[0], &root->blocks[i], &e) != ERR_OK)
				remote_cli_trouble(x, &e);
	for (size_t t = 0; t < ARRAY_LEN(remote_cli_types); t++) {
		const struct conf_attr *a = conf_attr(root, types[t]);

		for (size_t i = 0; a != NULL && a->value.kind == CONF_OBJECT && i < a->value.nitems; i++)
			if (a->value.items[i].kind == CONF_OBJECT && remote_cli_block(x, types[t], a->value.keys[i],
			    conf_inner(c, types[t], &a->value.items[i]), &e) != ERR_OK)
				remote_cli_trouble(x, &e);
	}
}

static bool
remote_cli_parse(struct remote_cli_reading *x, struct span text, bool json)
{
	const char  *slash = strrchr(x->path, '/');
	char        *dir = slash != NULL ? span_dup(span_of(x->path, (size_t)(slash - x->path) + 1)) : xstrdup(".");
	struct conf *c = NULL;
	struct err   e;
	bool         ok = conf_parse(x->path, dir, text, json, x->env->source, &c, &e) == ERR_OK;

	if (ok)
		remote_cli_body(x, c);
	else
		remote_cli_trouble(x, &e);
	conf_free(c);
	free(dir);
	return ok;
}

/* A block by itself, where it stands, out of a file that as a whole is more than we read. */
static void
remote_cli_salvage(void *arg, struct span type, struct span text, struct conf_pos pos)
{
	struct buf alone;
	bool       wanted = false;

	for (size_t t = 0; t < ARRAY_LEN(remote_cli_types); t++)
		wanted |= span_is(type, remote_cli_types[t]);
	if (!wanted)
		return;
	buf_init(&alone, 0);
	for (unsigned line = 1; line < pos.line; line++)
		buf_putc(&alone, '\n');
	for (unsigned column = 1; column < pos.column; column++)
		buf_putc(&alone, ' ');
	buf_put(&alone, text.p, text.n);
	buf_putc(&alone, '\n');
	remote_cli_parse(arg, buf_span(&alone), false);
	buf_wipe_free(&alone);
}

static bool
remote_cli_is_json(struct span text)
{
	while (text.n > 0 && strchr(" \t\r\n", text.p[0]) != NULL && text.p[0] != '\0')
		text = span_of(text.p + 1, text.n - 1);
	return text.n > 0 && text.p[0] == '{';
}

/* A file that is not there says nothing, unless it was asked for by name. */
static void
remote_cli_file(struct remote_cli_reading *x, const char *path)
{
	struct buf text;
	struct err e;
	bool       found = false, json;

	buf_init(&text, CONF_FILE_MAX);
	x->path = path;
	if (outside_read(x->env->source, path, &text, &found, &x->loose, &e) != ERR_OK) {
		remote_cli_trouble(x, &e);
	} else if (found) {
		json = remote_cli_is_json(buf_span(&text));
		if (!remote_cli_parse(x, buf_span(&text), json) && !json)
			conf_each_block(path, buf_span(&text), remote_cli_salvage, x);
	} else {
		x->ret->gone = x->ret->only != NULL; /* a warning to terraform */
	}
	buf_wipe_free(&text);
}

void
remote_cli_warn(struct remote *r, const struct remote_cli *c)
{
	if (c->trouble == NULL || r->warned)
		return;
	r->warned = true;
	log_at(LOG_WARN, r->b.label != NULL ? r->b.label : r->host, "%s: of terraform's configuration this is passed over", c->trouble);
}

/* ---------------------------------------------------------------- which files */

static int
remote_cli_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those of a folder, by name. */
static void
remote_cli_folder(struct remote_cli_reading *x, const char *path)
{
	DIR                 *d = opendir(path);
	const struct dirent *e;
	char                *names[REMOTE_CLI_FILES_MAX];
	size_t               n = 0;
	struct err           many;

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		if (!span_ends(span_str(e->d_name), ".tfrc") && !span_ends(span_str(e->d_name), ".tfrc.json"))
			continue;
		if (n == REMOTE_CLI_FILES_MAX) {
			err_set(&many, ERR_CONFIG, 0, "%s has more than %d files of terraform's configuration", path, REMOTE_CLI_FILES_MAX);
			remote_cli_trouble(x, &many);
			break;
		}
		names[n++] = xasprintf("%s/%s", path, e->d_name);
	}
	closedir(d);
	qsort(names, n, sizeof(names[0]), remote_cli_order);
	for (size_t i = 0; i < n; i++) {
		remote_cli_file(x, names[i]);
		free(names[i]);
	}
}

/* Both programs' files, in the order in which the later comes first: terraform's own last, and folders after the main files. */
static void
remote_cli_usual(struct remote_cli_reading *x)
{
	static const struct {
		const char *base, *path;
		bool        folder;
	} places[] = { { "XDG_CONFIG_HOME", "opentofu/tofurc", false }, { "HOME", ".tofurc", false }, { "HOME", ".terraformrc", false },
		{ "XDG_CONFIG_HOME", "opentofu", true }, { "HOME", ".terraform.d", true } };

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		const char *base = outside_env(x->env, places[i].base);
		char       *path = base != NULL ? xasprintf("%s/%s", base, places[i].path) : NULL;

		if (path != NULL && places[i].folder)
			remote_cli_folder(x, path);
		else if (path != NULL)
			remote_cli_file(x, path);
		free(path);
	}
}

void
remote_cli_read(const struct provider_env *env, const char *host, struct remote_cli *ret)
{
	static const char *const  names[] = { "TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG" };
	struct remote_cli_reading x = { .env = env, .host = host, .ret = ret };
	const char               *only = NULL;

	for (size_t i = 0; only == NULL && i < ARRAY_LEN(names); i++)
		if ((only = outside_env(env, names[i])) != NULL)
			ret->only = names[i];
	if (only == NULL) {
		remote_cli_usual(&x);
		return;
	}
	ret->only_file = xstrdup(only);
	remote_cli_file(&x, only);
}
