/* SPDX-License-Identifier: MIT */
/* What one folder says of its state: its backend block, what "terraform init" made of it, or a state without a backend. */
#include "conf/root.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define ROOT_CACHE         "/.terragrunt-cache/"
#define ROOT_WORKSPACE_MAX 90 /* bytes of a name, as HCP Terraform has it; longer ones are not shown */

void
root_name(struct discovery *d, struct discover_names *names, const char *path)
{
	names->items = conf_grow(d->conf, names->items, names->n, sizeof(*names->items));
	names->items[names->n++] = path;
}

/* --- files ----------------------------------------------------------------------------------------------------------- */

/* false: told, or not there (which is nothing to tell of). */
static bool
root_read(struct root *r, const char *path, struct buf *ret)
{
	struct err e;

	err_clear(&e);
	buf_init(ret, CONF_FILE_MAX);
	if (conf_read_source(r->d->conf, path, false, ret, &e) == ERR_OK) {
		r->d->files++;
		return true;
	}
	buf_wipe_free(ret);
	if (e.detail == ENOENT)
		return false;
	discover_not(r->d, path, 0, &e);
	r->broken = true;
	return false;
}

static bool
root_mentions(const struct buf *text, const char *word)
{
	return text->len > 0 && memmem(text->data, text->len, word, strlen(word)) != NULL;
}

/* What path is about. false: nothing, or told. */
static bool
root_about(struct root *r, const char *path, const struct buf *text, struct conf_terraform *ret)
{
	struct err e;

	err_clear(&e);
	if (conf_terraform(r->d->conf, path, buf_span(text), ret, &e) == ERR_OK)
		return ret->n > 0;
	discover_not(r->d, path, ret->pos.line, &e);
	r->broken = true;
	return false;
}

/* --- blocks in code -------------------------------------------------------------------------------------------------- */

static bool
root_is_override(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	size_t      n = strcspn(name, ".");

	return n >= 8 && strncmp(name + n - 8, "override", 8) == 0 && (n == 8 || name[n - 9] == '_');
}

/* OpenTofu reads x.tofu in the place of x.tf. */
static bool
root_is_replaced(const struct root *r, const char *path)
{
	const char *ends[][2] = { { ".tf", ".tofu" }, { ".tf.json", ".tofu.json" } };
	bool        found = false;

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		size_t n = strlen(path) - strlen(ends[i][0]);
		char  *other;

		if (!span_ends(span_str(path), ends[i][0]))
			continue;
		other = xasprintf("%.*s%s", (int)n, path, ends[i][1]);
		for (size_t k = 0; k < r->code.n; k++)
			found |= strcmp(r->code.items[k], other) == 0;
		free(other);
	}
	return found;
}

static void
root_twice(struct root *r, const char *path, const struct conf_terraform *t)
{
	struct err e;

	if (t->n > 1)
		err_set(&e, ERR_CONFIG, 0, "expected one backend block in the folder, found %zu in this file", t->n);
	else
		err_set(&e, ERR_CONFIG, 0, "expected one backend block in the folder; line %u of %s has another", r->block.pos.line,
		    strrchr(r->file, '/') + 1);
	discover_not(r->d, path, t->pos.line, &e);
	r->broken = true;
}

static void
root_code(struct root *r, const char *path, bool override)
{
	struct conf_terraform t;
	struct buf            text;

	if (!root_read(r, path, &text))
		return;
	if ((root_mentions(&text, "backend") || root_mentions(&text, "cloud")) && root_about(r, path, &text, &t)) {
		if (t.n > 1 || (r->file != NULL && !override)) {
			root_twice(r, path, &t);
		} else {
			r->file = path;
			r->block = t;
		}
	}
	if (strcmp(strrchr(path, '/') + 1, "backend.tf") == 0 && r->file == NULL && strcasestr(buf_str(&text), "brainboard") != NULL &&
	    strcasestr(buf_str(&text), "managed") != NULL)
		r->managed = path;
	buf_wipe_free(&text);
}

void
root_look(struct root *r)
{
	for (size_t pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < r->code.n; i++)
			if (root_is_override(r->code.items[i]) == (pass == 1) && !root_is_replaced(r, r->code.items[i]))
				root_code(r, r->code.items[i], pass == 1);
}

/* --- what is found --------------------------------------------------------------------------------------------------- */

static const char *
root_data(const struct root *r, const char *name)
{
	const char *dir = conf_env(r->d->conf, "TF_DATA_DIR");

	if (dir == NULL || dir[0] == '\0')
		dir = ".terraform";
	if (dir[0] == '/') /* of the one folder that terraform is run in */
		return r->depth == 0 ? arena_printf(r->d->conf->arena, "%s/%s", dir, name) : NULL;
	return arena_printf(r->d->conf->arena, "%s/%s/%s", r->dir, dir, name);
}

static const char *
root_workspace(struct root *r)
{
	const char *name = conf_env(r->d->conf, "TF_WORKSPACE"), *path = root_data(r, "environment");
	struct buf  text;

	if (name == NULL || name[0] == '\0') {
		if (path == NULL || !root_read(r, path, &text))
			return NULL;
		name = arena_span(r->d->conf->arena, buf_span(&text));
		buf_free(&text);
	}
	return name[0] == '\0' || strcmp(name, "default") == 0 || strlen(name) > ROOT_WORKSPACE_MAX ? NULL : name;
}

/* backend TYPE "" { from_file = [files] }, or { path = files[0] } for a state without a backend. */
static struct conf_block *
root_block(struct root *r, const char *type, struct conf_pos pos, const char *argument, const char *const *files, size_t n)
{
	struct arena      *a = r->d->conf->arena;
	struct conf_block *b = arena_alloc(a, sizeof(*b));
	struct conf_value *v = arena_alloc(a, n * sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = (struct conf_value){ .kind = CONF_TEXT, .pos = pos, .text = files[i] };
	b->type = "backend";
	b->labels = arena_alloc(a, 2 * sizeof(*b->labels));
	b->labels[0] = type;
	b->labels[1] = "";
	b->nlabels = 1; /* errors name the type alone */
	b->pos = pos;
	b->attrs = arena_alloc(a, sizeof(*b->attrs));
	b->nattrs = 1;
	b->attrs[0] = (struct conf_attr){ .name = argument, .pos = pos, .value = v[0] };
	if (strcmp(argument, CONF_IMPORT) == 0)
		b->attrs[0].value = (struct conf_value){ .kind = CONF_ARRAY, .pos = pos, .items = v, .nitems = n };
	return b;
}

static bool
root_is_newer(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_mtime >= y.st_mtime;
}

/* A unit of terragrunt may have several caches, of which the one used last counts. */
static struct discover_found *
root_slot(struct root *r, const char *file)
{
	struct discovery      *d = r->d;
	const char            *cache = strstr(r->dir, ROOT_CACHE);
	size_t                 unit = cache != NULL ? (size_t)(cache - r->dir) + strlen(ROOT_CACHE) : 0;
	struct discover_found *last = d->nfound > 0 ? &d->found[d->nfound - 1] : NULL;

	if (cache != NULL && last != NULL && strncmp(last->dir, r->dir, unit) == 0)
		return root_is_newer(file, last->pos.file) ? last : NULL;
	if (d->nfound == DISCOVER_FOUND_MAX)
		return NULL;
	d->found = conf_grow(d->conf, d->found, d->nfound, sizeof(*d->found));
	return &d->found[d->nfound++];
}

/* NULL: of one unit with another, or one too many. */
static struct discover_found *
root_found(struct root *r, const char *type, struct conf_pos pos, const char *argument, const char *file, const char *args)
{
	const char            *files[] = { file, args };
	struct discover_found *f = root_slot(r, pos.file);

	if (f != NULL)
		*f = (struct discover_found){ .dir = r->dir, .type = type, .pos = pos, .args = args, .workspace = root_workspace(r),
			.block = root_block(r, type, pos, argument, files, args != NULL ? 2 : 1) };
	return f;
}

/* What "terraform init" recorded: it is where terraform goes until the next init, whatever the block says now. */
static bool
root_recorded(struct root *r)
{
	const char           *path = root_data(r, "terraform.tfstate");
	struct conf_terraform t;
	struct buf            text;
	struct err            e;
	bool                  is;

	if (path == NULL || !root_read(r, path, &text))
		return false;
	is = root_about(r, path, &text, &t);
	buf_wipe_free(&text);
	if (!is)
		return false;
	if (r->file != NULL && strcmp(r->block.type, t.type) != 0) {
		err_set(&e, ERR_CONFIG, 0, "is backend \"%.40s\", but terraform init has recorded \"%.40s\", which was taken", r->block.type, t.type);
		err_hint(&e, "terraform init -migrate-state moves the state to where the block says");
		discover_not(r->d, r->file, r->block.pos.line, &e);
	}
	root_found(r, t.type, t.pos, CONF_IMPORT, path, NULL);
	return true;
}

static void
root_managed(struct root *r)
{
	struct err e;

	err_set(&e, ERR_UNSUPPORTED, 0, "says that Brainboard manages the state, which cannot be read from outside");
	err_hint(&e, "choose a storage of your own for it in Brainboard, then: backend \"brainboard\"");
	discover_not(r->d, r->managed, 0, &e);
}

/* Of terragrunt's own files only what is literal can be read; nothing is missed where it has left its files below. */
static void
root_terragrunt(struct root *r, const char *path, bool found_below)
{
	struct conf_terraform  t;
	struct discover_found *f;
	struct buf             text;
	struct err             e;

	if (!root_read(r, path, &text))
		return;
	if (root_mentions(&text, "remote_state") || root_mentions(&text, "generate \"backend\"")) {
		err_clear(&e);
		if (conf_terraform(r->d->conf, path, buf_span(&text), &t, &e) == ERR_OK && t.n == 1) {
			f = root_found(r, t.type, t.pos, CONF_IMPORT, path, NULL);
			if (f != NULL)
				f->whole = t.whole;
		} else if (!found_below) {
			err_set(&e, ERR_CONFIG, 0, "terragrunt makes a backend of this when it runs, which is not evaluated here");
			err_hint(&e, "\"terragrunt init\" leaves .terraform/terraform.tfstate, which is read");
			discover_not(r->d, path, t.n > 0 ? t.pos.line : 0, &e);
		}
	}
	buf_wipe_free(&text);
}

void
root_tell(struct root *r, size_t found_before)
{
	bool recorded = root_recorded(r), cached = strstr(r->dir, ROOT_CACHE) != NULL;

	if (r->file != NULL && !cached) {
		for (size_t i = 0; i < r->args.n; i++)
			root_found(r, r->block.type, r->block.pos, CONF_IMPORT, r->file, r->args.items[i]);
		if (r->args.n == 0 && !recorded)
			root_found(r, r->block.type, r->block.pos, CONF_IMPORT, r->file, NULL);
	} else if (r->file == NULL && !recorded && r->managed != NULL) {
		root_managed(r);
	} else if (r->file == NULL && !recorded && !r->broken && r->code.n > 0 && r->state != NULL) {
		root_found(r, "local", (struct conf_pos){ r->state, 0, 0 }, "path", arena_printf(r->d->conf->arena, "%s/terraform.tfstate", r->dir),
		    NULL);
	}
	for (size_t i = 0; !cached && i < r->terragrunt.n; i++)
		root_terragrunt(r, r->terragrunt.items[i], r->d->nfound > found_before);
}
