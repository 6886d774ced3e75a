/* SPDX-License-Identifier: MIT */
#include "conf/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

#define CONF_FILE_SHOWN  80 /* bytes of a long path that an error shows: its end */
#define CONF_TITLE_SHOWN 60

struct conf *
conf_new(const struct conf_source *src, const char *dir)
{
	struct conf *c = xcalloc(1, sizeof(*c));

	c->arena = arena_new();
	if (src != NULL)
		c->src = *src;
	c->dir = arena_strdup(c->arena, dir);
	c->root.type = "";
	c->root.pos = (struct conf_pos){ "", 1, 1 };
	return c;
}

void
conf_free(struct conf *c)
{
	if (c == NULL)
		return;
	for (struct conf_text *t = c->texts; t != NULL; t = t->next)
		mem_wipe(t->p, t->n);
	for (struct conf_owned *o = c->secrets; o != NULL; o = o->next)
		secret_free(o->secret);
	arena_free(c->arena);
	free(c);
}

struct conf_block *
conf_root(struct conf *c)
{
	return &c->root;
}

struct arena *
conf_arena(struct conf *c)
{
	return c->arena;
}

const char *
conf_dir(const struct conf *c)
{
	return c->dir;
}

void
conf_adopt(struct conf_block *b)
{
	for (size_t i = 0; i < b->nblocks; i++) {
		b->blocks[i].parent = b;
		conf_adopt(&b->blocks[i]);
	}
}

void
conf_link(struct conf *c, const struct conf_body *root)
{
	c->root.attrs = root->attrs;
	c->root.nattrs = root->nattrs;
	c->root.blocks = root->blocks;
	c->root.nblocks = root->nblocks;
	conf_adopt(&c->root);
}

char *
conf_keep(struct conf *c, struct span s)
{
	struct conf_text *t = arena_alloc(c->arena, sizeof(*t));

	t->p = arena_span(c->arena, s);
	t->n = s.n;
	t->next = c->texts;
	c->texts = t;
	return t->p;
}

void *
conf_grow(struct conf *c, void *items, size_t n, size_t size)
{
	void *bigger;

	if (n != 0 && (n < 4 || (n & (n - 1)) != 0)) /* full at 0, 4, 8, 16 ... */
		return items;
	bigger = arena_alloc(c->arena, size * (n == 0 ? 4 : 2 * n));
	if (n != 0)
		memcpy(bigger, items, n * size);
	return bigger;
}

enum err_code
conf_body_attr(struct conf *c, struct conf_body *b, const struct conf_attr *a, struct err *reterr)
{
	for (size_t i = 0; i < b->nattrs; i++)
		if (strcmp(b->attrs[i].name, a->name) == 0)
			return conf_error(reterr, a->pos, "argument \"%.60s\" is already set on line %u; expected it once",
			    a->name, b->attrs[i].pos.line);
	if (b->nattrs == CONF_ITEMS_MAX)
		return conf_error(reterr, a->pos, "expected at most %d arguments in a block (CONF_ITEMS_MAX)", CONF_ITEMS_MAX);
	b->attrs = conf_grow(c, b->attrs, b->nattrs, sizeof(*a));
	b->attrs[b->nattrs++] = *a;
	return ERR_OK;
}

void
conf_body_block(struct conf *c, struct conf_body *b, const struct conf_block *child)
{
	b->blocks = conf_grow(c, b->blocks, b->nblocks, sizeof(*child));
	b->blocks[b->nblocks++] = *child;
}

enum err_code
conf_object_key(struct conf *c, struct conf_value *o, const char *key, struct conf_pos pos, struct err *reterr)
{
	for (size_t i = 0; i < o->nitems; i++)
		if (strcmp(o->keys[i], key) == 0)
			return conf_error(reterr, pos, "key \"%.60s\" is already in this object; expected it once", key);
	if (o->nitems == CONF_ITEMS_MAX)
		return conf_error(reterr, pos, "expected at most %d keys in an object (CONF_ITEMS_MAX)", CONF_ITEMS_MAX);
	o->keys = conf_grow(c, o->keys, o->nitems, sizeof(*o->keys));
	o->items = conf_grow(c, o->items, o->nitems, sizeof(*o->items));
	o->keys[o->nitems] = key;
	return ERR_OK;
}

struct conf_attr *
conf_attr(struct conf_block *b, const char *name)
{
	for (size_t i = 0; i < b->nattrs; i++)
		if (strcmp(b->attrs[i].name, name) == 0)
			return &b->attrs[i];
	return NULL;
}

const char *
conf_title(struct conf *c, const struct conf_block *b)
{
	char   s[CONF_TITLE_SHOWN + 8];
	size_t n = (size_t)snprintf(s, sizeof(s), "%s", b->type[0] == '\0' ? "the file" : b->type);

	for (size_t i = 0; i < b->nlabels && n < CONF_TITLE_SHOWN; i++)
		n += (size_t)snprintf(s + n, sizeof(s) - n, " \"%s\"", b->labels[i]);
	if (n <= CONF_TITLE_SHOWN)
		return arena_strdup(c->arena, s);
	for (n = CONF_TITLE_SHOWN; n > 0 && ((uint8_t)s[n] & 0xc0) == 0x80;)
		n--; /* whole characters */
	s[n] = '\0';
	return arena_printf(c->arena, "%s...", s);
}

struct conf_pos
conf_where(const struct conf_block *b, const char *argument)
{
	size_t n = strspn(argument, "abcdefghijklmnopqrstuvwxyz0123456789_");

	for (size_t i = 0; i < b->nattrs; i++)
		if (span_is(span_of(argument, n), b->attrs[i].name))
			return b->attrs[i].pos;
	return b->pos;
}

bool
conf_note(struct conf *c, const struct err *e, enum err_code *rc, struct err *reterr)
{
	struct conf_errors *all = c->src.errors;
	bool                known = false;

	if (*rc == ERR_OK && reterr != NULL)
		*reterr = *e;
	if (*rc == ERR_OK)
		*rc = e->code;
	for (size_t i = 0; all != NULL && i < all->n; i++)
		known |= strcmp(all->items[i].msg, e->msg) == 0;
	if (all != NULL && !known && all->n < CONF_ERRORS_MAX)
		all->items[all->n++] = *e;
	else if (all != NULL && !known)
		all->more++;
	return all != NULL;
}

const struct err *
conf_noted(const struct conf *c)
{
	return c->src.errors != NULL && c->src.errors->n > 0 ? &c->src.errors->items[0] : NULL;
}

/* A label or key may hold anything, and one that was cut may end inside a character. */
static void
conf_sanitise(char *msg)
{
	uint8_t *p = (uint8_t *)msg, *end = p + strlen(msg);

	while (p < end) {
		size_t n = conf_char(p);

		if (n > (size_t)(end - p) || !utf8_valid(span_of(p, n)) || *p < 0x20 || *p == 0x7f) {
			*p = '?';
			n = 1;
		}
		p += n;
	}
}

enum err_code
conf_error(struct err *reterr, struct conf_pos pos, const char *fmt, ...)
{
	const char *file = pos.file == NULL ? "" : pos.file;
	size_t      n = strlen(file);
	char        msg[ERR_MSG_MAX];
	va_list     ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	conf_sanitise(msg);
	if (n <= CONF_FILE_SHOWN)
		return err_set(reterr, ERR_CONFIG, 0, "%s:%u:%u: %s", file, pos.line, pos.column, msg);
	for (file += n - CONF_FILE_SHOWN; ((uint8_t)*file & 0xc0) == 0x80;)
		file++;
	return err_set(reterr, ERR_CONFIG, 0, "...%s:%u:%u: %s", file, pos.line, pos.column, msg);
}
