/* SPDX-License-Identifier: MIT */
/* A block back as HCL, laid out as "terraform fmt" would, without its secrets. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/tree.h"

const struct conf_field *
conf_find_field(const struct conf_field *const *tables, const char *name)
{
	for (; tables != NULL && *tables != NULL; tables++)
		for (const struct conf_field *f = *tables; f->name != NULL; f++)
			if (strcmp(f->name, name) == 0)
				return f;
	return NULL;
}

/* A URL may carry a password or a signature: what stands before "@" of the authority and after "?" is left out. */
static void
conf_print_text(struct buf *out, const char *text)
{
	const char *authority = strstr(text, "://"), *at, *query;
	struct buf  b;

	if (authority == NULL) {
		conf_quote(out, text);
		return;
	}
	authority += 3;
	at = authority + strcspn(authority, "/?#");
	while (at > authority && at[-1] != '@')
		at--;
	query = strchr(at, '?');
	buf_init(&b, CONF_FILE_MAX + 64);
	buf_put(&b, text, (size_t)(authority - text));
	if (at > authority)
		buf_puts(&b, CONF_MASK "@");
	buf_put(&b, at, query == NULL ? strlen(at) : (size_t)(query + 1 - at));
	if (query != NULL && query[1] != '\0')
		buf_puts(&b, CONF_MASK);
	conf_quote(out, buf_str(&b));
	buf_wipe_free(&b);
}

void
conf_print_value(struct buf *out, const struct conf_value *v, enum conf_show show)
{
	bool open = show != CONF_SHOW_MASKED;

	if (v->ref != NULL && show != CONF_SHOW_RESULT) {
		buf_puts(out, open ? v->ref : v->ref_masked);
		return;
	}
	switch (v->kind) {
	case CONF_NULL:
		buf_puts(out, "null");
		return;
	case CONF_BOOLEAN:
		buf_puts(out, v->boolean ? "true" : "false");
		return;
	case CONF_NUM:
	case CONF_TEXT:
		if (!open || (v->from_ref && show != CONF_SHOW_RESULT))
			conf_quote(out, CONF_MASK);
		else if (v->kind == CONF_NUM)
			buf_puts(out, v->text);
		else
			conf_print_text(out, v->text);
		return;
	case CONF_ARRAY:
		buf_puts(out, "[");
		break;
	case CONF_OBJECT:
		buf_puts(out, v->nitems == 0 ? "{" : "{ ");
		break;
	}
	for (size_t i = 0; i < v->nitems; i++) {
		buf_puts(out, i == 0 ? "" : ", ");
		if (v->kind == CONF_OBJECT && conf_is_name(v->keys[i]) && strcmp(v->keys[i], "for") != 0)
			buf_printf(out, "%s = ", v->keys[i]);
		else if (v->kind == CONF_OBJECT) {
			conf_quote(out, v->keys[i]);
			buf_puts(out, " = ");
		}
		conf_print_value(out, &v->items[i], show);
	}
	buf_puts(out, v->kind == CONF_ARRAY ? "]" : v->nitems == 0 ? "}" : " }");
}

void
conf_line_add(struct conf_lines *l, const char *name, struct buf *value, const char *note, const char *file)
{
	l->items = xreallocarray(l->items, l->n + 1, sizeof(*l->items));
	l->items[l->n++] = (struct conf_line){ name, buf_take(value), note, file };
}

static void
conf_lines_attrs(const struct conf_block *b, const struct conf_field *const *tables, struct conf_lines *l)
{
	for (size_t i = 0; i < b->nattrs; i++) {
		const struct conf_field *f = conf_find_field(tables, b->attrs[i].name);
		struct buf               value;

		buf_init(&value, 0);
		conf_print_value(&value, &b->attrs[i].value, f != NULL && f->type != CONF_SECRET && f->type != CONF_SECRETS &&
		    f->type != CONF_INNER ? CONF_SHOW_WRITTEN : CONF_SHOW_MASKED);
		conf_line_add(l, b->attrs[i].name, &value, b->attrs[i].imported ? "from" : NULL, b->attrs[i].pos.file);
	}
}

const char *
conf_filled_by(const struct conf_block *b, const struct conf_field *f)
{
	for (size_t i = 0; i < b->nfilled; i++)
		if (b->filled[i].field == f)
			return b->filled[i].env;
	return NULL;
}

static void
conf_line_default(const struct conf_block *b, const struct conf_field *f, struct conf_lines *l)
{
	const char *env = conf_filled_by(b, f);
	bool        bare = f->type == CONF_BOOL || f->type == CONF_INT || f->type == CONF_SECONDS || f->type == CONF_STRS ||
	    f->type == CONF_MAP;
	struct buf value;

	if (env == NULL && (f->def == NULL || f->later != NULL))
		return;
	buf_init(&value, CONF_FILE_MAX);
	if (env != NULL)
		buf_printf(&value, "env(\"%s\")", env);
	else if (f->type == CONF_SECRET)
		conf_quote(&value, CONF_MASK);
	else if (bare)
		buf_puts(&value, f->def);
	else
		conf_quote(&value, f->def);
	conf_line_add(l, f->name, &value, env != NULL ? "environment" : "default", NULL);
}

static bool
conf_is_written(const struct conf_block *b, const char *name)
{
	for (size_t i = 0; i < b->nattrs; i++)
		if (strcmp(b->attrs[i].name, name) == 0)
			return true;
	return false;
}

/* What is not written, but has a value all the same. */
static void
conf_lines_defaults(const struct conf_block *b, const struct conf_field *const *tables, struct conf_lines *l)
{
	for (; tables != NULL && *tables != NULL; tables++)
		for (const struct conf_field *f = *tables; f->name != NULL; f++)
			if (!conf_is_written(b, f->name))
				conf_line_default(b, f, l);
}

/* Characters, as columns are counted. */
static size_t
conf_width(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((uint8_t)*s & 0xc0) != 0x80;
	return n;
}

static void
conf_pad(struct buf *out, size_t n)
{
	while (n-- > 0)
		buf_putc(out, ' ');
}

void
conf_print_lines(const struct conf_lines *l, unsigned indent, struct buf *out)
{
	size_t names = 0, values = 0;

	for (size_t i = 0; i < l->n; i++) {
		size_t name = conf_width(l->items[i].name), value = conf_width(l->items[i].value);

		names = name > names ? name : names;
		if (l->items[i].note != NULL)
			values = value > values ? value : values;
	}
	for (size_t i = 0; i < l->n; i++) {
		const struct conf_line *x = &l->items[i];

		conf_pad(out, indent);
		buf_puts(out, x->name);
		conf_pad(out, names - conf_width(x->name));
		buf_printf(out, " = %s", x->value);
		if (x->note != NULL) {
			conf_pad(out, values - conf_width(x->value));
			buf_printf(out, " # %s%s%s", x->note, x->file != NULL ? " " : "", x->file != NULL ? x->file : "");
		}
		buf_putc(out, '\n');
	}
}

void
conf_lines_free(struct conf_lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		mem_free_secret(l->items[i].value);
	free(l->items);
}

static void conf_print_block(const struct conf_block *b, const struct conf_field *const *tables, bool defaults, unsigned indent,
    struct buf *ret);

static void
conf_print_blocks(const struct conf_block *b, bool defaults, bool first, unsigned indent, struct buf *out)
{
	for (size_t i = 0; i < b->nblocks; i++) {
		if (i > 0 || !first)
			buf_putc(out, '\n');
		conf_print_block(&b->blocks[i], NULL, defaults, indent, out);
	}
}

static void
conf_print_head(const struct conf_block *b, unsigned indent, struct buf *out)
{
	conf_pad(out, indent);
	buf_puts(out, b->type);
	for (size_t i = 0; i < b->nlabels; i++) {
		buf_putc(out, ' ');
		conf_quote(out, b->labels[i]);
	}
	buf_puts(out, " {");
}

static void
conf_print_block(const struct conf_block *b, const struct conf_field *const *tables, bool defaults, unsigned indent, struct buf *ret)
{
	struct conf_lines l = { 0 };
	bool              file = b->type[0] == '\0', empty;

	if (tables == NULL)
		tables = b->tables;
	conf_lines_attrs(b, tables, &l);
	if (defaults)
		conf_lines_defaults(b, tables, &l);
	empty = l.n == 0 && b->nblocks == 0;
	if (!file) {
		conf_print_head(b, indent, ret);
		buf_puts(ret, empty ? "}\n" : "\n");
	}
	conf_print_lines(&l, file ? indent : indent + 2, ret);
	conf_print_blocks(b, defaults, l.n == 0, file ? indent : indent + 2, ret);
	if (!file && !empty) {
		conf_pad(ret, indent);
		buf_puts(ret, "}\n");
	}
	conf_lines_free(&l);
}

void
conf_print(const struct conf_block *b, const struct conf_field *const *tables, unsigned indent, struct buf *ret)
{
	conf_print_block(b, tables, true, indent, ret);
}

void
conf_print_written(const struct conf_block *b, const struct conf_field *const *tables, struct buf *ret)
{
	conf_print_block(b, tables, false, 0, ret);
}
