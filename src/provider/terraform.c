/* SPDX-License-Identifier: MIT */
#include "provider/provider.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/*
 * What terraform calls a state: a place, which its block names by one argument (key, prefix, path), and a workspace in it. Each kind of
 * backend puts the two together in its own way; from one kind to another they are taken apart and put together again.
 */
#define TERRAFORM_ARGUMENTS 8 /* that depend on the name */
#define TERRAFORM_SUFFIX ".tfstate"

static void
provider_path(const struct backend *b, const char *name, struct buf *ret)
{
	size_t n = strlen(name), cut = strlen(TERRAFORM_SUFFIX);

	if (b->provider->path != NULL)
		b->provider->path(b, name, ret);
	else
		buf_put(ret, name, span_ends(span_str(name), TERRAFORM_SUFFIX) ? n - cut : n);
}

/* Where workspaces are unknown, each is a state of its own name. */
static void
provider_named(const struct backend *b, const char *path, const char *workspace, struct buf *ret)
{
	bool other = strcmp(workspace, "default") != 0;

	if (b->provider->named != NULL) {
		b->provider->named(b, path, workspace, ret);
		return;
	}
	if (path[0] == '\0')
		buf_puts(ret, workspace);
	else
		buf_printf(ret, "%s%s%s", path, other ? "-" : "", other ? workspace : "");
	if (b->provider->suffix != NULL)
		buf_puts(ret, b->provider->suffix);
}

void
provider_rename(const struct backend *from, const char *name, const struct backend *to, struct buf *ret)
{
	struct buf workspace, path, fixed;

	buf_init(&workspace, 0);
	buf_init(&path, 0);
	buf_init(&fixed, 0);
	provider_workspace(from, name, &workspace);
	if (!provider_fixed(to, buf_str(&workspace), ret)) {
		if (!provider_fixed(from, buf_str(&workspace), &fixed)) /* else there is one place only, whose name is the target's business */
			provider_path(from, name, &path);
		provider_named(to, buf_str(&path), buf_str(&workspace), ret);
	}
	buf_free(&workspace);
	buf_free(&path);
	buf_free(&fixed);
}

struct terraform_arguments {
	struct conf_given items[TERRAFORM_ARGUMENTS];
	size_t            n;
};

static void
provider_put_argument(void *arg, const char *name, const char *value, bool plain)
{
	struct terraform_arguments *a = arg;

	assert(a->n < TERRAFORM_ARGUMENTS);
	a->items[a->n++] = (struct conf_given){ name, xstrdup(value), plain };
}

static void
provider_block_behind(const struct backend *b, const char *name, struct buf *ret)
{
	struct backend *storage;
	struct buf      there;

	buf_init(&there, 0);
	storage = b->provider->behind(b, name, &there);
	if (storage != NULL)
		provider_block(storage, buf_str(&there), ret);
	else
		buf_printf(ret, "# where %s keeps %s, it knows only when it is asked\n", b->label, name);
	buf_free(&there);
}

void
provider_block(const struct backend *b, const char *name, struct buf *ret)
{
	const struct provider     *p = b->provider;
	struct terraform_arguments a = { .n = 0 };
	struct conf_export         x = { .fields = p->fields, .conf = b->conf, .hidden = p->hidden, .given = a.items };

	if (p->behind != NULL) {
		provider_block_behind(b, name, ret);
		return;
	}
	if (p->address != NULL)
		p->address(b, name, provider_put_argument, &a);
	x.ngiven = a.n;
	if (p == &provider_cloud)
		buf_puts(ret, "terraform {\n  cloud {\n");
	else
		buf_printf(ret, "terraform {\n  backend \"%s\" {\n", p->terraform != NULL ? p->terraform : p->name);
	if (b->block != NULL)
		conf_export(b->block, &x, 4, ret);
	if (p->inside != NULL)
		p->inside(b, name, ret);
	buf_puts(ret, "  }\n}\n");
	for (size_t i = 0; i < a.n; i++)
		free(a.items[i].value);
}
