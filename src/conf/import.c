/* SPDX-License-Identifier: MIT */
/*
 * What terraform already has, as arguments of a block of ours: a backend block in a .tf file, files and KEY=VALUE words as
 * "terraform init" takes them by -backend-config, and what init made of all of it in .terraform/terraform.tfstate.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "conf/root.h"
#include "conf/seek.h"
#include "conf/terraform.h"
#include "conf/tree.h"

#define IMPORT_ITEMS_MAX 32 /* in one from_file */

struct import {
	struct conf                    *c;
	struct conf_block              *b;
	const char                     *type;   /* of the backend; behind a blank another that is taken for it */
	const struct conf_field *const *tables; /* what terraform knows */
	const char *const              *block_types;
	struct conf_body                got;    /* of all items so far, later over earlier */
	const char                     *dir;    /* where terraform runs, as far as an item told; NULL: not yet */
	const char                     *root;   /* the same, where the item is that folder */
};

static bool
import_takes_block(const struct import *im, const char *type)
{
	for (const char *const *t = im->block_types; t != NULL && *t != NULL; t++)
		if (strcmp(*t, type) == 0)
			return true;
	return false;
}

/* --- one argument, one block, one body ------------------------------------------------------------------------------- */

/* Terraform writes an unset member as null, which means the same as absent. */
static void
import_drop_nulls(struct conf_value *v)
{
	size_t n = 0;

	for (size_t i = 0; i < v->nitems; i++) {
		import_drop_nulls(&v->items[i]);
		if (v->kind == CONF_OBJECT && v->items[i].kind == CONF_NULL)
			continue;
		if (v->kind == CONF_OBJECT)
			v->keys[n] = v->keys[i];
		v->items[n++] = v->items[i];
	}
	v->nitems = n;
}

/* path as terraform takes it, which runs in dir. */
static const char *
import_path(struct conf *c, const char *dir, const char *path)
{
	if (path[0] == '/' || path[0] == '\0')
		return path;
	return arena_printf(c->arena, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, path);
}

/* Takes the place of what an earlier item said under that name. */
static void
import_forget(struct import *im, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < im->got.nattrs; i++)
		if (strcmp(im->got.attrs[i].name, name) != 0)
			im->got.attrs[n++] = im->got.attrs[i];
	im->got.nattrs = n;
	n = 0;
	for (size_t i = 0; i < im->got.nblocks; i++)
		if (strcmp(im->got.blocks[i].type, name) != 0)
			im->got.blocks[n++] = im->got.blocks[i];
	im->got.nblocks = n;
}

static enum err_code
import_attr(struct import *im, const struct conf_attr *attr, const char *dir, struct err *reterr)
{
	const struct conf_field *f = conf_find_field(im->tables, attr->name);
	struct conf_attr         a = *attr;

	if (a.value.kind == CONF_NULL)
		return ERR_OK;
	if (f == NULL)
		return conf_unknown(im->c, im->b, "argument", a.name, a.pos, conf_names(im->c, im->tables), im->block_types, reterr);
	a.imported = true;
	import_drop_nulls(&a.value);
	if (f->type == CONF_PATH && a.value.kind == CONF_TEXT)
		a.value.text = import_path(im->c, dir, a.value.text);
	import_forget(im, a.name);
	return conf_body_attr(im->c, &im->got, &a, reterr);
}

static enum err_code
import_body(struct import *im, const struct conf_body *body, const char *dir, struct err *reterr)
{
	for (size_t i = 0; i < body->nattrs; i++)
		if (import_attr(im, &body->attrs[i], dir, reterr) != ERR_OK)
			return ERR_CONFIG;
	for (size_t i = 0; i < body->nblocks; i++) {
		const struct conf_block *b = &body->blocks[i];

		if (!import_takes_block(im, b->type))
			return conf_unknown(im->c, im->b, "block", b->type, b->pos, im->block_types, conf_names(im->c, im->tables), reterr);
		import_forget(im, b->type);
	}
	for (size_t i = 0; i < body->nblocks; i++)
		conf_body_block(im->c, &im->got, &body->blocks[i]);
	return ERR_OK;
}

static enum err_code
import_inner(struct import *im, const char *type, const struct conf_value *v, struct conf_body *body, struct err *reterr)
{
	for (size_t i = 0; i < v->nitems; i++)
		if (!conf_is_name(v->keys[i]))
			return conf_error(reterr, v->items[i].pos, "expected the name of an argument: letters, digits, _ and -");
	conf_body_block(im->c, body, conf_inner(im->c, type, v));
	return ERR_OK;
}

/* JSON does not show whether an object is a block. */
static enum err_code
import_object(struct import *im, const struct conf_value *v, const char *dir, struct err *reterr)
{
	struct conf_body body = { 0 };

	if (v->kind != CONF_OBJECT)
		return conf_error(reterr, v->pos, "expected an object with arguments");
	for (size_t i = 0; i < v->nitems; i++) {
		const struct conf_value *item = &v->items[i];
		struct conf_attr         a = { .name = v->keys[i], .pos = item->pos, .value = *item };
		bool                     inner = item->kind == CONF_OBJECT && conf_find_field(im->tables, a.name) == NULL &&
		    import_takes_block(im, a.name);

		if ((inner ? import_inner(im, a.name, item, &body, reterr) : conf_body_attr(im->c, &body, &a, reterr)) != ERR_OK)
			return ERR_CONFIG;
	}
	return import_body(im, &body, dir, reterr);
}

static enum err_code
import_is_type(const struct import *im, const char *type, struct conf_pos pos, struct err *reterr)
{
	int n = (int)strcspn(im->type, " ");

	if (span_is(span_of(im->type, (size_t)n), type) || (im->type[n] == ' ' && strcmp(im->type + n + 1, type) == 0))
		return ERR_OK;
	return conf_error(reterr, pos, "this is backend \"%.40s\"; expected backend \"%.*s\", which %s:%u wants to fill", type, n, im->type,
	    im->b->pos.file, im->b->pos.line);
}

/* --- files of HCL ---------------------------------------------------------------------------------------------------- */

static const char *
import_folder(struct conf *c, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return ".";
	return slash == path ? "/" : arena_span(c->arena, span_of(path, (size_t)(slash - path)));
}

/* Terragrunt takes what is its own out of "config" before terraform sees it. */
static enum err_code
import_remote_state(struct import *im, struct conf_block *b, struct err *reterr)
{
	const struct conf_attr *a = conf_attr(b, "config");
	struct conf_value       v = a != NULL ? a->value : (struct conf_value){ .kind = CONF_OBJECT };
	size_t                  n = 0;

	for (size_t i = 0; v.kind == CONF_OBJECT && i < v.nitems; i++) {
		if (conf_find_field(im->tables, v.keys[i]) == NULL && !import_takes_block(im, v.keys[i]))
			continue;
		v.keys[n] = v.keys[i];
		v.items[n++] = v.items[i];
	}
	v.nitems = v.kind == CONF_OBJECT ? n : v.nitems;
	return import_object(im, &v, im->dir, reterr);
}

/* The block that conf_seek() found, alone. */
static enum err_code
import_block(struct import *im, const struct conf_sought *at, struct err *reterr)
{
	bool               is_remote_state = span_starts(at->text, CONF_REMOTE_STATE), whole;
	struct span        text = is_remote_state ? terraform_unnamed(im->c, at->text, &whole) : at->text;
	struct conf_body   root = { 0 };
	struct conf_block *b;
	const char        *type;

	if (conf_parse_foreign(im->c, at->pos, text, &root, reterr) != ERR_OK)
		return ERR_CONFIG;
	b = &root.blocks[0];
	type = terraform_type(b);
	if (type == NULL)
		return terraform_no_type(b, reterr);
	if (import_is_type(im, type, b->pos, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (is_remote_state)
		return import_remote_state(im, b, reterr);
	return import_body(im, &(struct conf_body){ b->attrs, b->blocks, b->nattrs, b->nblocks }, im->dir, reterr);
}

static enum err_code
import_hcl(struct import *im, const char *path, struct span text, struct err *reterr)
{
	struct conf_pos    start = { path, 1, 1 };
	struct conf_sought at;
	struct conf_body   root = { 0 };
	size_t             n;

	text = terraform_unmarked(text);
	n = conf_seek(path, text, &at);
	if (n > 1)
		return conf_error(reterr, at.pos, "expected one backend block in the file, found %zu", n);
	if (n == 1) {
		im->dir = import_folder(im->c, path);
		return import_block(im, &at, reterr);
	}
	if (span_ends(span_str(path), ".tf") || span_ends(span_str(path), ".tofu"))
		return conf_error(reterr, start, "expected a backend block in a terraform block, found none");
	if (conf_parse_foreign(im->c, start, text, &root, reterr) != ERR_OK)
		return ERR_CONFIG;
	return import_body(im, &root, im->dir != NULL ? im->dir : import_folder(im->c, path), reterr);
}

/* --- files of JSON --------------------------------------------------------------------------------------------------- */

/* Strings of terraform's JSON are templates, of which only plain text can be read. */
static enum err_code
import_is_plain(const struct conf_value *v, struct err *reterr)
{
	if (v->kind == CONF_TEXT && (strstr(v->text, "${") != NULL || strstr(v->text, "%{") != NULL)) {
		conf_error(reterr, v->pos, "interpolation is not supported; expected plain text");
		return err_hint(reterr, CONF_FOREIGN_HINT);
	}
	for (size_t i = 0; i < v->nitems; i++)
		if (import_is_plain(&v->items[i], reterr) != ERR_OK)
			return ERR_CONFIG;
	return ERR_OK;
}

static enum err_code
import_json(struct import *im, const char *path, const struct conf_value *root, struct err *reterr)
{
	struct conf_terraform    at;
	const struct conf_value *body;

	terraform_seek(root, &at);
	if (at.n > 1)
		return conf_error(reterr, root->pos, "expected one backend block in the file, found %zu", at.n);
	if (at.n == 0 && (span_ends(span_str(path), ".tf.json") || span_ends(span_str(path), ".tofu.json")))
		return conf_error(reterr, root->pos, "expected a backend block in a terraform block, found none");
	if (at.n == 1 && import_is_type(im, at.type, at.pos, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (at.n == 1)
		im->dir = import_folder(im->c, path);
	body = at.n == 1 ? at.body : root;
	if (body->kind == CONF_ARRAY && body->nitems == 1)
		body = &body->items[0];
	if (import_is_plain(body, reterr) != ERR_OK)
		return ERR_CONFIG;
	return import_object(im, body, im->dir != NULL ? im->dir : import_folder(im->c, path), reterr);
}

/* What "terraform init" left: the block and all that was merged into it, nothing to be evaluated any more. */
static enum err_code
import_resolved(struct import *im, const char *path, const struct conf_value *root, struct err *reterr)
{
	struct conf_terraform at;

	if (terraform_recorded(root, &at, reterr) != ERR_OK || import_is_type(im, at.type, at.pos, reterr) != ERR_OK)
		return ERR_CONFIG;
	im->dir = im->root != NULL ? im->root : import_folder(im->c, import_folder(im->c, path));
	return import_object(im, at.body, im->dir, reterr);
}

/* --- the items of from_file ------------------------------------------------------------------------------------------ */

static enum err_code
import_text(struct import *im, const char *path, struct span text, struct err *reterr)
{
	struct conf_value root;
	bool              resolved = span_ends(span_str(path), ".tfstate");

	if (text.n == 0)
		text = SPAN_LIT("");
	if (!resolved && !span_ends(span_str(path), ".json"))
		return import_hcl(im, path, text, reterr);
	if (conf_parse_json_value(im->c, path, text, &root, reterr) != ERR_OK)
		return ERR_CONFIG;
	return resolved ? import_resolved(im, path, &root, reterr) : import_json(im, path, &root, reterr);
}

static enum err_code
import_file(struct import *im, const struct conf_value *item, struct err *reterr)
{
	const char   *path = conf_absolute(im->c, item->text);
	struct stat   st;
	struct buf    b;
	struct err    e;
	enum err_code code;

	buf_init(&b, CONF_FILE_MAX);
	err_clear(&e);
	im->root = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? path : NULL;
	if ((im->root == NULL || root_file(im->c, im->root, &path, &e) == ERR_OK) && conf_read_source(im->c, path, true, &b, &e) == ERR_OK) {
		code = import_text(im, path, buf_span(&b), reterr);
	} else {
		code = conf_error(reterr, item->pos, "%s", e.msg);
		err_hint(reterr, "%s", e.hint);
	}
	buf_wipe_free(&b);
	return code;
}

/* What is printed of a word that may be a credential. */
static void
import_mask(struct import *im, struct conf_value *item, const char *name, const struct conf_field *f)
{
	struct buf b;

	if (item->ref != NULL || (f != NULL && f->type != CONF_SECRET && f->type != CONF_SECRETS && f->type != CONF_INNER))
		return;
	buf_init(&b, 0);
	conf_quote(&b, arena_printf(im->c->arena, "%s=" CONF_MASK, name));
	item->ref = item->ref_masked = arena_span(im->c->arena, buf_span(&b));
	buf_free(&b);
}

/* "KEY=VALUE": a string stands as it is, another value as it would in the block. */
static enum err_code
import_word(struct import *im, struct conf_value *item, const char *equals, struct err *reterr)
{
	struct conf_attr         a = { .pos = item->pos };
	const struct conf_field *f;
	bool                     plain;

	a.name = arena_span(im->c->arena, span_of(item->text, (size_t)(equals - item->text)));
	f = conf_find_field(im->tables, a.name);
	import_mask(im, item, a.name, f);
	plain = f == NULL || (f->type != CONF_STRS && f->type != CONF_MAP && f->type != CONF_SECRETS && f->type != CONF_INNER);
	if (plain)
		a.value = (struct conf_value){ .kind = CONF_TEXT, .text = conf_keep(im->c, span_str(equals + 1)) };
	else if (conf_parse_value(im->c, item->pos, span_str(equals + 1), &a.value, reterr) != ERR_OK)
		return ERR_CONFIG;
	a.value.pos = item->pos;
	a.value.from_ref |= item->from_ref;
	return import_attr(im, &a, im->dir != NULL ? im->dir : conf_dir(im->c), reterr);
}

static enum err_code
import_item(struct import *im, struct conf_value *item, struct err *reterr)
{
	const char *equals = item->kind == CONF_TEXT ? strpbrk(item->text, "=/") : NULL;

	if (equals != NULL && *equals == '/') /* what follows in a path is part of it */
		equals = NULL;
	if (item->kind != CONF_TEXT || item->text[0] == '\0')
		return conf_error(reterr, item->pos, "argument \"from_file\": expected the path of a file, or \"KEY=VALUE\"");
	return equals != NULL ? import_word(im, item, equals, reterr) : import_file(im, item, reterr);
}

static bool
import_is_own(const struct conf_block *b, size_t nattrs, size_t nblocks, const char *name)
{
	for (size_t i = 0; i < nattrs; i++)
		if (strcmp(b->attrs[i].name, name) == 0)
			return true;
	for (size_t i = 0; i < nblocks; i++)
		if (strcmp(b->blocks[i].type, name) == 0)
			return true;
	return false;
}

/* The block's own arguments come first; one that is null is none. */
static enum err_code
import_merge(struct import *im, struct err *reterr)
{
	struct conf_block *b = im->b;
	struct conf_body   all = { .blocks = b->blocks, .nblocks = b->nblocks };
	size_t             nattrs, nblocks = b->nblocks;

	for (size_t i = 0; i < b->nattrs; i++)
		if (b->attrs[i].value.kind != CONF_NULL && conf_body_attr(im->c, &all, &b->attrs[i], reterr) != ERR_OK)
			return ERR_CONFIG;
	b->attrs = all.attrs;
	b->nattrs = nattrs = all.nattrs;
	for (size_t i = 0; i < im->got.nattrs; i++)
		if (!import_is_own(b, nattrs, nblocks, im->got.attrs[i].name) &&
		    conf_body_attr(im->c, &all, &im->got.attrs[i], reterr) != ERR_OK)
			return ERR_CONFIG;
	for (size_t i = 0; i < im->got.nblocks; i++)
		if (!import_is_own(b, nattrs, nblocks, im->got.blocks[i].type))
			conf_body_block(im->c, &all, &im->got.blocks[i]);
	b->attrs = all.attrs;
	b->nattrs = all.nattrs;
	b->blocks = all.blocks;
	b->nblocks = all.nblocks;
	b->terraform_dir = im->dir;
	conf_adopt(b);
	return ERR_OK;
}

enum err_code
conf_import(struct conf *c, struct conf_block *b, const char *type, const struct conf_field *const *tables,
    const char *const *block_types, struct err *reterr)
{
	struct import     im = { .c = c, .b = b, .type = type, .tables = tables, .block_types = block_types };
	struct conf_attr *a = conf_attr(b, CONF_IMPORT);
	struct conf_value one;

	if (a == NULL || a->value.kind == CONF_NULL)
		return ERR_OK;
	if (conf_broken(&a->value) != NULL) {
		*reterr = *conf_broken(&a->value);
		return reterr->code;
	}
	if (a->value.kind != CONF_ARRAY) {
		one = a->value;
		a->value = (struct conf_value){ .kind = CONF_ARRAY, .pos = one.pos, .nitems = 1 };
		a->value.items = arena_alloc(c->arena, sizeof(one));
		a->value.items[0] = one;
	}
	if (a->value.nitems > IMPORT_ITEMS_MAX)
		return conf_error(reterr, a->pos, "expected at most %d files (IMPORT_ITEMS_MAX)", IMPORT_ITEMS_MAX);
	for (size_t i = 0; i < a->value.nitems; i++)
		if (import_item(&im, &a->value.items[i], reterr) != ERR_OK)
			return ERR_CONFIG;
	return import_merge(&im, reterr);
}
