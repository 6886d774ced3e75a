/* SPDX-License-Identifier: MIT */
/* Names of states, keys of objects, workspaces of terraform: which is which, and the arguments by which terraform finds it again. */
#include <stdlib.h>
#include <string.h>

#include "s3.h"

char *
s3_key_of(const struct s3 *s, const char *name)
{
	return xasprintf("%s%s", s->b.common.prefix, name);
}

/* Go's path.Join, which terraform uses for workspaces, drops empty segments. */
static char *
s3_joined_key(const struct s3_conf *c, const char *workspace)
{
	char  *text = xasprintf("%s/%s/%s", c->workspace_key_prefix, workspace, c->key);
	size_t n = 0;

	for (size_t i = 0; text[i] != '\0'; i++)
		if (text[i] != '/' || (n > 0 && text[n - 1] != '/'))
			text[n++] = text[i];
	text[n] = '\0';
	return text;
}

/* The workspace of a key below workspace_key_prefix: up to the next "/"; n 0: none. rest: what follows. */
static struct span
s3_workspace_of(const struct s3_conf *c, const char *key, const char **rest)
{
	size_t      n = strlen(c->workspace_key_prefix);
	const char *slash;

	if (n > 0 && (strncmp(key, c->workspace_key_prefix, n) != 0 || key[n] != '/'))
		return (struct span){ NULL, 0 };
	key += n > 0 ? n + 1 : 0;
	slash = strchr(key, '/');
	if (slash == NULL || slash == key || slash[1] == '\0')
		return (struct span){ NULL, 0 };
	*rest = slash + 1;
	return span_of(key, (size_t)(slash - key));
}

bool
s3_key_is_state(const struct s3 *s, const char *key)
{
	const struct s3_conf *c = s->conf;
	struct span           ws;
	const char           *rest;
	char                 *name, *whole;
	bool                  is;

	if (!s3_given(c->key))
		return s->b.common.any_name || span_ends(span_str(key), S3_STATE);
	if (strcmp(key, c->key) == 0)
		return true;
	ws = s3_workspace_of(c, key, &rest);
	if (ws.n == 0 || span_is(ws, "default"))
		return false;
	name = span_dup(ws);
	whole = s3_joined_key(c, name);
	is = strcmp(key, whole) == 0;
	free(name);
	free(whole);
	return is;
}

/* The workspace of a name, n 0: none, and what follows it there. key: prefix and name. below: all of it lies below our prefix. */
static struct span
s3_split(const struct s3 *s, const char *name, const char *key, const char **rest, bool *below)
{
	struct span ws = { NULL, 0 };

	*rest = name;
	*below = false;
	if (s->conf->workspace_key_prefix[0] != '\0' || (s3_given(s->conf->key) && strcmp(key, s->conf->key) != 0 &&
	        s3_key_is_state(s, key)))
		ws = s3_workspace_of(s->conf, key, rest);
	if (ws.n == 0 && s->conf->workspace_key_prefix[0] != '\0') { /* a copy of another bucket below our prefix */
		ws = s3_workspace_of(s->conf, name, rest);
		*below = ws.n > 0;
	}
	return ws;
}

void
s3_workspace(const struct backend *b, const char *name, struct buf *ret)
{
	const struct s3 *s = s3_of(b);
	const char      *rest;
	char            *key = s3_key_of(s, name);
	bool             below;
	struct span      ws = s3_split(s, name, key, &rest, &below);

	if (ws.n > 0)
		buf_put(ret, ws.p, ws.n);
	else
		buf_puts(ret, "default");
	free(key);
}

/* Below a prefix, too, terraform's key of a workspace is the whole key of its default one: env:/W/PREFIX/PATH. */
void
s3_path(const struct backend *b, const char *name, struct buf *ret)
{
	const struct s3 *s = s3_of(b);
	const char      *rest, *prefix = b->common.prefix;
	char            *key = s3_key_of(s, name);
	size_t           n;
	bool             below;

	if (s3_split(s, name, key, &rest, &below).n > 0 && span_starts(span_str(rest), prefix))
		rest += strlen(prefix);
	n = strlen(rest);
	buf_put(ret, rest, span_ends(span_str(rest), S3_STATE) ? n - strlen(S3_STATE) : n);
	free(key);
}

/* Where terraform finds it, with the rest of its place: KEY, and WORKSPACE_KEY_PREFIX/W/KEY. */
static bool
s3_says(const struct s3 *s, const char *argument)
{
	for (size_t i = 0; s->b.block != NULL && i < s->b.block->nattrs; i++)
		if (strcmp(s->b.block->attrs[i].name, argument) == 0)
			return true;
	return false;
}

/* Where a store is not Amazon's terraform would ask Amazon all the same who it is, which regions there are, and call buckets by names of hosts. */
static void
s3_address_elsewhere(const struct s3 *s, provider_argument_fn *put, void *arg)
{
	const struct s3_conf *c = s->conf;
	bool                  accounts = c->allowed_account_ids.n + c->forbidden_account_ids.n > 0;
	const struct {
		const char *name;
		bool        wanted;
	} rows[] = { { "use_path_style", s->path_style && !c->force_path_style }, { "skip_credentials_validation", !accounts },
		{ "skip_requesting_account_id", !accounts }, { "skip_region_validation", true } };

	for (size_t i = 0; !s->aws && i < ARRAY_LEN(rows); i++)
		if (rows[i].wanted && !s3_says(s, rows[i].name))
			put(arg, rows[i].name, "true", true);
}

void
s3_address(const struct backend *b, const char *name, provider_argument_fn *put, void *arg)
{
	const struct s3_conf *c = s3_of(b)->conf;
	const char           *rest;
	char                 *key = s3_key_of(s3_of(b), name), *spaces;
	bool                  below, whole;

	if (s3_given(c->key)) {
		put(arg, "key", c->key, false);
	} else {
		whole = s3_split(s3_of(b), name, key, &rest, &below).n == 0;
		spaces = xasprintf("%s%s", whole || below ? b->common.prefix : "", c->workspace_key_prefix);
		put(arg, "key", whole ? key : rest, false);
		put(arg, "workspace_key_prefix", strcmp(spaces, S3_WORKSPACES) != 0 ? spaces : NULL, false);
		free(spaces);
	}
	s3_address_elsewhere(s3_of(b), put, arg);
	free(key);
}

void
s3_named(const struct backend *b, const char *path, const char *workspace, struct buf *ret)
{
	const struct s3_conf *c = s3_of(b)->conf;

	if (strcmp(workspace, "default") != 0)
		buf_printf(ret, "%s%s%s/%s", c->workspace_key_prefix, c->workspace_key_prefix[0] != '\0' ? "/" : "", workspace, b->common.prefix);
	buf_printf(ret, "%s" S3_STATE, path[0] != '\0' ? path : "terraform");
}

bool
s3_fixed(const struct backend *b, const char *workspace, struct buf *ret)
{
	const struct s3_conf *c = s3_of(b)->conf;
	char                 *key;

	if (!s3_given(c->key))
		return false;
	if (strcmp(workspace, "default") == 0) {
		buf_puts(ret, c->key);
		return true;
	}
	key = s3_joined_key(c, workspace);
	buf_puts(ret, key);
	free(key);
	return true;
}
