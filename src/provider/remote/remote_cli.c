/* SPDX-License-Identifier: MIT */
#include "remote_cli.h"

#include <dirent.h>
#include <stdlib.h>

#include "provider/outside.h"
#include "remote.h"

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
	memset(c, 0, sizeof(*c));
}

static void
remote_cli_text(char **to, const char *text)
{
	free(*to);
	*to = xstrdup(text);
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

static enum err_code
remote_cli_body(struct remote_cli_reading *x, struct conf *c, struct err *reterr)
{
	static const char *const types[] = { "credentials", "credentials_helper", "host" };
	struct conf_block       *root = conf_root(c);

	for (size_t i = 0; i < root->nblocks; i++)
		for (size_t t = 0; t < ARRAY_LEN(types); t++)
			if (strcmp(root->blocks[i].type, types[t]) == 0 && root->blocks[i].nlabels == 1 &&
			    remote_cli_block(x, types[t], root->blocks[i].labels[0], &root->blocks[i], reterr) != ERR_OK)
				return reterr->code;
	for (size_t t = 0; t < ARRAY_LEN(types); t++) {
		const struct conf_attr *a = conf_attr(root, types[t]);

		for (size_t i = 0; a != NULL && a->value.kind == CONF_OBJECT && i < a->value.nitems; i++)
			if (a->value.items[i].kind == CONF_OBJECT && remote_cli_block(x, types[t], a->value.keys[i],
			    conf_inner(c, types[t], &a->value.items[i]), reterr) != ERR_OK)
				return reterr->code;
	}
	return ERR_OK;
}

static bool
remote_cli_is_json(struct span text)
{
	while (text.n > 0 && strchr(" \t\r\n", text.p[0]) != NULL && text.p[0] != '\0')
		text = span_of(text.p + 1, text.n - 1);
	return text.n > 0 && text.p[0] == '{';
}

/* A file that is not there says nothing, unless it was asked for by name. */
static enum err_code
remote_cli_file(struct remote_cli_reading *x, const char *path, struct err *reterr)
{
	const char   *slash = strrchr(path, '/');
	char         *dir = slash != NULL ? span_dup(span_of(path, (size_t)(slash - path) + 1)) : xstrdup(".");
	struct conf  *c = NULL;
	struct buf    text;
	bool          found = false;
	enum err_code rc;

	buf_init(&text, CONF_FILE_MAX);
	rc = outside_read(x->env->source, path, &text, &found, &x->loose, reterr);
	x->path = path;
	x->ret->gone = x->ret->only && !found; /* a warning to terraform */
	if (rc == ERR_OK && found &&
	    conf_parse(path, dir, buf_span(&text), remote_cli_is_json(buf_span(&text)), x->env->source, &c, reterr) != ERR_OK)
		rc = err_hint(reterr, "the token may come from a TF_TOKEN_... variable, which is read first, but this file has to be right all the same");
	if (rc == ERR_OK && c != NULL)
		rc = remote_cli_body(x, c, reterr);
	conf_free(c);
	buf_wipe_free(&text);
	free(dir);
	return rc;
}

/* ---------------------------------------------------------------- which files */

static int
remote_cli_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those of a folder, by name. */
static enum err_code
remote_cli_folder(struct remote_cli_reading *x, const char *path, struct err *reterr)
{
	DIR                 *d = opendir(path);
	const struct dirent *e;
	char                *names[REMOTE_CLI_FILES_MAX];
	size_t               n = 0;
	enum err_code        rc = ERR_OK;

	if (d == NULL)
		return ERR_OK;
	while ((e = readdir(d)) != NULL) {
		if (!span_ends(span_str(e->d_name), ".tfrc") && !span_ends(span_str(e->d_name), ".tfrc.json"))
			continue;
		if (n == REMOTE_CLI_FILES_MAX) {
			rc = err_set(reterr, ERR_CONFIG, 0, "%s has more than %d files of terraform's configuration", path, REMOTE_CLI_FILES_MAX);
			break;
		}
		names[n++] = xasprintf("%s/%s", path, e->d_name);
	}
	closedir(d);
	qsort(names, n, sizeof(names[0]), remote_cli_order);
	for (size_t i = 0; i < n; i++) {
		if (rc == ERR_OK)
			rc = remote_cli_file(x, names[i], reterr);
		free(names[i]);
	}
	return rc;
}

/* Both programs' files, in the order in which the later comes first: terraform's own last, and folders after the main files. */
static enum err_code
remote_cli_usual(struct remote_cli_reading *x, struct err *reterr)
{
	static const struct {
		const char *base, *path;
		bool        folder;
	} places[] = { { "XDG_CONFIG_HOME", "opentofu/tofurc", false }, { "HOME", ".tofurc", false }, { "HOME", ".terraformrc", false },
		{ "XDG_CONFIG_HOME", "opentofu", true }, { "HOME", ".terraform.d", true } };
	enum err_code rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < ARRAY_LEN(places); i++) {
		const char *base = outside_env(x->env, places[i].base);
		char       *path = base != NULL ? xasprintf("%s/%s", base, places[i].path) : NULL;

		if (path != NULL && places[i].folder)
			rc = remote_cli_folder(x, path, reterr);
		else if (path != NULL)
			rc = remote_cli_file(x, path, reterr);
		free(path);
	}
	return rc;
}

enum err_code
remote_cli_read(const struct provider_env *env, const char *host, struct remote_cli *ret, struct err *reterr)
{
	struct remote_cli_reading x = { .env = env, .host = host, .ret = ret };
	const char               *only = outside_env(env, "TF_CLI_CONFIG_FILE");

	if (only == NULL)
		only = outside_env(env, "TERRAFORM_CONFIG");
	if (only == NULL)
		return remote_cli_usual(&x, reterr);
	ret->only = true;
	return remote_cli_file(&x, only, reterr);
}
