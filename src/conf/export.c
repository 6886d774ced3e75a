/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/tree.h"

/* A block for another program that knows the same arguments. No secret gets into it. */

static const struct conf_hidden *
export_hidden(const struct conf_export *x, const char *name)
{
	for (const struct conf_hidden *h = x->hidden; h != NULL && h->name != NULL; h++)
		if (strcmp(h->name, name) == 0)
			return h;
	return NULL;
}

static bool
export_is_given(const struct conf_export *x, const char *name)
{
	for (size_t i = 0; i < x->ngiven; i++)
		if (strcmp(x->given[i].name, name) == 0)
			return true;
	return false;
}

/* How that program learns what is not printed. ref: where ours has it from; NULL: it is written there, or in the environment. */
static void
export_comment(const char *name, const char *ref, const char *env, struct buf *notes)
{
	buf_printf(notes, "# %s: ", name);
	if (ref != NULL)
		buf_printf(notes, "the value of %s; ", ref);
	if (env != NULL)
		buf_printf(notes, "export %.*s\n", (int)strcspn(env, " "), env);
	else
		buf_printf(notes, "terraform init -backend-config=\"%s=...\"\n", name);
}

/* An object without what is secret in it. */
static void
export_object(const struct conf_export *x, const char *const *names, const struct conf_value *const *values, size_t n, struct buf *ret,
    struct buf *notes)
{
	const char *between = "";

	buf_puts(ret, "{ ");
	for (size_t i = 0; i < n; i++) {
		const struct conf_hidden *h = export_hidden(x, names[i]);

		if (h != NULL) {
			export_comment(names[i], values[i]->ref_masked, h->env, notes);
			continue;
		}
		buf_printf(ret, "%s%s = ", between, names[i]);
		conf_print_value(ret, values[i], CONF_SHOW_RESULT);
		between = ", ";
	}
	buf_puts(ret, " }");
}

static void
export_inner(const struct conf_export *x, const struct conf_value *v, struct buf *ret, struct buf *notes)
{
	const struct conf_value **values = xcalloc(v->nitems + 1, sizeof(*values));

	for (size_t i = 0; i < v->nitems; i++)
		values[i] = &v->items[i];
	export_object(x, v->keys, values, v->nitems, ret, notes);
	free(values);
}

static void
export_block(const struct conf_export *x, const struct conf_block *b, struct buf *ret, struct buf *notes)
{
	const struct conf_value **values = xcalloc(b->nattrs + 1, sizeof(*values));
	const char              **names = xcalloc(b->nattrs + 1, sizeof(*names));

	for (size_t i = 0; i < b->nattrs; i++) {
		names[i] = b->attrs[i].name;
		values[i] = &b->attrs[i].value;
	}
	export_object(x, names, values, b->nattrs, ret, notes);
	free(values);
	free(names);
}

/* false: it is a secret, or a part of it is. */
static bool
export_value(const struct conf_export *x, const struct conf_field *f, const struct conf_value *v, struct buf *ret, struct buf *notes)
{
	if (f->type == CONF_SECRET || f->type == CONF_SECRETS || export_hidden(x, f->name) != NULL)
		return false;
	if (f->type == CONF_INNER && v->kind == CONF_OBJECT)
		export_inner(x, v, ret, notes);
	else if (f->type == CONF_PATH)
		conf_quote(ret, *(const char *const *)((const char *)x->conf + f->offset));
	else
		conf_print_value(ret, v, CONF_SHOW_RESULT);
	return strstr(buf_str(ret), CONF_MASK) == NULL;
}

static void
export_attr(const struct conf_attr *a, const struct conf_export *x, struct conf_lines *l, struct buf *notes)
{
	const struct conf_field *const tables[] = { x->fields, NULL };
	const struct conf_field       *f = conf_find_field(tables, a->name);
	const struct conf_hidden      *h = export_hidden(x, a->name);
	struct buf                     value;

	if (f == NULL || a->value.kind == CONF_NULL || export_is_given(x, a->name) || (h != NULL && h->env == NULL))
		return;
	buf_init(&value, 0);
	if (export_value(x, f, &a->value, &value, notes))
		conf_line_add(l, a->name, &value, NULL, NULL);
	else
		export_comment(a->name, a->value.ref_masked, h != NULL ? h->env : f->env, notes);
	buf_wipe_free(&value);
}

/* Of an address it may turn out to be no more than where it is to be found. */
static void
export_given(const struct conf_export *x, const struct conf_given *g, struct conf_lines *l, struct buf *notes)
{
	const struct conf_field *const tables[] = { x->fields, NULL };
	const struct conf_field       *f = conf_find_field(tables, g->name);
	struct buf                     value;

	if (g->value == NULL)
		return;
	buf_init(&value, 0);
	if (f != NULL && f->type == CONF_BOOL)
		buf_puts(&value, g->value);
	else if (g->plain)
		conf_quote(&value, g->value);
	else
		conf_print_value(&value, &(struct conf_value){ .kind = CONF_TEXT, .text = g->value }, CONF_SHOW_RESULT);
	if (strstr(buf_str(&value), CONF_MASK) == NULL)
		conf_line_add(l, g->name, &value, NULL, NULL);
	else
		export_comment(g->name, NULL, f != NULL ? f->env : NULL, notes);
	buf_wipe_free(&value);
}

void
conf_export(const struct conf_block *b, const struct conf_export *x, unsigned indent, struct buf *ret)
{
	const struct conf_field *const tables[] = { x->fields, NULL };
	const struct conf_field       *f;
	const struct conf_hidden      *h;
	struct conf_lines              l = { 0 };
	struct buf                     value, notes;

	buf_init(&notes, 0);
	for (size_t i = 0; i < x->ngiven; i++)
		export_given(x, &x->given[i], &l, &notes);
	for (size_t i = 0; i < b->nattrs; i++)
		export_attr(&b->attrs[i], x, &l, &notes);
	for (size_t i = 0; i < b->nblocks; i++) {
		f = conf_find_field(tables, b->blocks[i].type);
		if (f == NULL || f->type != CONF_INNER)
			continue;
		buf_init(&value, 0);
		export_block(x, &b->blocks[i], &value, &notes);
		conf_line_add(&l, b->blocks[i].type, &value, NULL, NULL);
	}
	for (size_t i = 0; i < b->nfilled; i++) {
		h = export_hidden(x, b->filled[i].field->name);
		if (conf_find_field(tables, b->filled[i].field->name) != b->filled[i].field || export_is_given(x, b->filled[i].field->name) ||
		    (h != NULL && h->env == NULL))
			continue;
		export_comment(b->filled[i].field->name, NULL, h != NULL ? h->env : b->filled[i].env, &notes);
	}
	conf_print_lines(&l, indent, ret);
	for (const char *line = buf_str(&notes), *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
		buf_printf(ret, "%*s%.*s\n", (int)indent, "", (int)(end - line), line);
	conf_lines_free(&l);
	buf_free(&notes);
}
