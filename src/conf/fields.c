/* SPDX-License-Identifier: MIT */
/* Blocks into structs, by table. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/name.h"
#include "base/time.h"
#include "base/utf8.h"
#include "conf/tree.h"

#define CONF_SHOWN       40 /* bytes of a wrong value that an error shows */
#define CONF_SECONDS_MAX ((int64_t)100 * 365 * 24 * 3600)
#define CONF_LIST_SHOWN  90 /* bytes of a list of names that an error shows */

/* A value on its way into a field: where it came from is for errors. */
struct conf_want {
	struct conf             *c;
	const struct conf_field *f;
	const struct conf_value *v;
	const char              *origin; /* "argument \"poll\"", "environment variable AWS_REGION" */
};

static const char *
conf_one_of(struct conf *c, const char *const *names)
{
	struct buf  b;
	const char *text;

	buf_init(&b, 0);
	for (; *names != NULL; names++) {
		if (b.len + strlen(*names) > CONF_LIST_SHOWN) {
			buf_puts(&b, ", ...");
			break;
		}
		buf_printf(&b, "%s\"%s\"", b.len == 0 ? "" : ", ", *names);
	}
	text = arena_span(c->arena, buf_span(&b));
	buf_free(&b);
	return text;
}

static const char *
conf_wants(const struct conf_want *w)
{
	switch (w->f->type) {
	case CONF_STR:
	case CONF_SECRET:  return "a string";
	case CONF_PATH:    return "a path";
	case CONF_BOOL:    return "true or false";
	case CONF_INT:     return "a whole number";
	case CONF_MS:      return "a duration such as \"30s\", \"6h\" or \"7d\"";
	case CONF_SECONDS: return "a whole number of seconds";
	case CONF_SIZE:    return "a size such as \"64MiB\"";
	case CONF_PERCENT: return "a percentage from \"0%\" to \"100%\"";
	case CONF_STRS:    return "a list of strings such as [\"a\", \"b\"]";
	case CONF_MAP:
	case CONF_SECRETS: return "an object of strings such as { a = \"b\" }";
	case CONF_INNER:   return "an object such as { name = \"x\" }";
	case CONF_ENUM:    return arena_printf(w->c->arena, "one of %s", conf_one_of(w->c, w->f->choices));
	}
	return "";
}

/* A value may be shown when it is written in the file and is no credential. */
static const char *
conf_found_value(const struct conf_want *w)
{
	bool        hidden = w->v->from_ref || w->f->type == CONF_SECRET || w->f->type == CONF_STR || w->f->type == CONF_MAP ||
	    w->f->type == CONF_SECRETS || w->f->type == CONF_INNER;
	const char *text = w->v->text;

	switch (w->v->kind) {
	case CONF_NULL:    return "null";
	case CONF_BOOLEAN: return w->v->boolean ? "true" : "false";
	case CONF_ARRAY:   return "a list";
	case CONF_OBJECT:  return "an object";
	case CONF_NUM:     return hidden ? "a number" : arena_printf(w->c->arena, "the number %s", text);
	case CONF_TEXT:    break;
	}
	if (hidden || strlen(text) > CONF_SHOWN)
		return "a string";
	return arena_printf(w->c->arena, "\"%s\"", text);
}

static enum err_code
conf_mismatch(const struct conf_want *w, struct err *reterr)
{
	const char *near = NULL;

	if (w->f->type == CONF_ENUM && w->v->kind == CONF_TEXT)
		near = name_closest(w->v->text, w->f->choices);
	if (near != NULL)
		return conf_error(reterr, w->v->pos, "%s: expected %s, found %s, did you mean \"%s\"?", w->origin, conf_wants(w),
		    conf_found_value(w), near);
	return conf_error(reterr, w->v->pos, "%s: expected %s, found %s", w->origin, conf_wants(w), conf_found_value(w));
}

/* --- conversions, as terraform makes them: strings, numbers and bools become each other where the text fits ---------- */

/* NULL: a list, an object, or null. */
static const char *
conf_as_text(struct conf *c, const struct conf_value *v)
{
	switch (v->kind) {
	case CONF_TEXT:    return v->text;
	case CONF_NUM:     return conf_number_plain(c, v->text);
	case CONF_BOOLEAN: return v->boolean ? "true" : "false";
	default:           return NULL;
	}
}

static bool
conf_as_bool(const struct conf_value *v, bool *ret)
{
	const char *s = v->kind == CONF_TEXT ? v->text : "";

	if (v->kind == CONF_BOOLEAN) {
		*ret = v->boolean;
		return true;
	}
	*ret = strcmp(s, "true") == 0 || strcmp(s, "1") == 0;
	return *ret || strcmp(s, "false") == 0 || strcmp(s, "0") == 0;
}

static bool
conf_as_int(struct conf *c, const struct conf_value *v, int64_t *ret)
{
	const char *s = v->kind == CONF_TEXT || v->kind == CONF_NUM ? conf_number_plain(c, v->text) : NULL;
	char       *end;
	long long   n;

	if (s == NULL)
		return false;
	errno = 0;
	n = strtoll(s, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	*ret = n;
	return true;
}

static bool
conf_as_seconds(struct conf *c, const struct conf_value *v, int64_t *ret_ms)
{
	int64_t s;

	if (!conf_as_int(c, v, &s) || s < 0 || s > CONF_SECONDS_MAX)
		return false;
	*ret_ms = s * 1000;
	return true;
}

static bool
conf_as_percent(struct conf *c, const struct conf_value *v, int64_t *ret)
{
	struct conf_value digits = { .kind = CONF_TEXT };
	size_t            n = v->kind == CONF_TEXT ? strlen(v->text) : 0;

	if (n < 2 || v->text[n - 1] != '%')
		return false;
	digits.text = conf_keep(c, span_of(v->text, n - 1));
	return conf_as_int(c, &digits, ret) && *ret >= 0 && *ret <= 100;
}

bool
size_parse(const char *s, uint64_t *ret)
{
	static const struct {
		const char *unit;
		uint64_t    factor;
	} units[] = { { "", 1 }, { "B", 1 }, { "KiB", 1ULL << 10 }, { "MiB", 1ULL << 20 }, { "GiB", 1ULL << 30 },
		{ "TiB", 1ULL << 40 }, { "KB", 1000 }, { "MB", 1000000 }, { "GB", 1000000000 }, { "TB", 1000000000000 } };
	uint64_t n = 0;
	size_t   digits = strspn(s, "0123456789");

	if (digits == 0)
		return false;
	for (size_t i = 0; i < digits; i++)
		if (__builtin_mul_overflow(n, 10U, &n) || __builtin_add_overflow(n, (uint64_t)(s[i] - '0'), &n))
			return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcmp(s + digits, units[i].unit) == 0)
			return !__builtin_mul_overflow(n, units[i].factor, ret);
	return false;
}

static bool
conf_as_size(struct conf *c, const struct conf_value *v, uint64_t *ret)
{
	const char *s = v->kind == CONF_NUM ? conf_number_plain(c, v->text) : v->kind == CONF_TEXT ? v->text : NULL;

	return s != NULL && size_parse(s, ret);
}

static bool
conf_as_choice(const struct conf_value *v, const char *const *choices, int *ret)
{
	for (int i = 0; v->kind == CONF_TEXT && choices[i] != NULL; i++)
		if (strcmp(choices[i], v->text) == 0) {
			*ret = i;
			return true;
		}
	return false;
}

/* One item of a list or object as a string, in its own place. */
static enum err_code
conf_item_text(const struct conf_want *w, const struct conf_value *item, const char **ret, struct err *reterr)
{
	struct conf_field f = { .name = w->f->name, .type = CONF_STR };
	struct conf_want  one = { w->c, &f, item, arena_printf(w->c->arena, "an item of %s", w->origin) };

	*ret = conf_as_text(w->c, item);
	return *ret != NULL ? ERR_OK : conf_mismatch(&one, reterr);
}

static enum err_code
conf_store_list(const struct conf_want *w, struct conf_strs *ret, struct err *reterr)
{
	const struct conf_value *v = w->v;

	if (v->kind != CONF_ARRAY)
		return conf_mismatch(w, reterr);
	ret->items = arena_alloc(w->c->arena, (v->nitems + 1) * sizeof(*ret->items));
	for (ret->n = 0; ret->n < v->nitems; ret->n++)
		if (conf_item_text(w, &v->items[ret->n], &ret->items[ret->n], reterr) != ERR_OK)
			return ERR_CONFIG;
	return ERR_OK;
}

static enum err_code
conf_store_map(const struct conf_want *w, struct conf_map *ret, struct err *reterr)
{
	const struct conf_value *v = w->v;

	if (v->kind != CONF_OBJECT)
		return conf_mismatch(w, reterr);
	ret->keys = v->keys;
	ret->values = arena_alloc(w->c->arena, (v->nitems + 1) * sizeof(*ret->values));
	for (ret->n = 0; ret->n < v->nitems; ret->n++)
		if (conf_item_text(w, &v->items[ret->n], &ret->values[ret->n], reterr) != ERR_OK)
			return ERR_CONFIG;
	return ERR_OK;
}

static void
conf_store_secret(struct conf *c, const char *text, struct secret **ret)
{
	struct conf_owned *o = arena_alloc(c->arena, sizeof(*o));

	o->secret = secret_new(span_str(text));
	o->next = c->secrets;
	c->secrets = o;
	*ret = o->secret;
}

static enum err_code
conf_store_text(const struct conf_want *w, void *at, struct err *reterr)
{
	const char *text = conf_as_text(w->c, w->v);

	if (text == NULL)
		return conf_mismatch(w, reterr);
	if (w->f->type == CONF_SECRET)
		conf_store_secret(w->c, text, at);
	else
		*(const char **)at = w->f->type == CONF_PATH ? conf_absolute(w->c, text) : text;
	return ERR_OK;
}

static enum err_code
conf_store(const struct conf_want *w, void *at, struct err *reterr)
{
	const struct conf_value *v = w->v;
	bool                     ok = false;

	switch (w->f->type) {
	case CONF_STR:
	case CONF_SECRET:
	case CONF_PATH:    return conf_store_text(w, at, reterr);
	case CONF_STRS:    return conf_store_list(w, at, reterr);
	case CONF_MAP:
	case CONF_SECRETS: return conf_store_map(w, at, reterr);
	case CONF_BOOL:    ok = conf_as_bool(v, at); break;
	case CONF_INT:     ok = conf_as_int(w->c, v, at); break;
	case CONF_MS:      ok = v->kind == CONF_TEXT && duration_parse(v->text, at); break;
	case CONF_SECONDS: ok = conf_as_seconds(w->c, v, at); break;
	case CONF_SIZE:    ok = conf_as_size(w->c, v, at); break;
	case CONF_PERCENT: ok = conf_as_percent(w->c, v, at); break;
	case CONF_ENUM:    ok = conf_as_choice(v, w->f->choices, at); break;
	case CONF_INNER:
		ok = v->kind == CONF_OBJECT;
		*(const struct conf_value **)at = v;
		break;
	}
	return ok ? ERR_OK : conf_mismatch(w, reterr);
}

/* --- where a value comes from: the argument, the environment, the default -------------------------------------------- */

/* The first of the field's variables that is set. An empty one counts as not set, as in terraform. */
static const char *
conf_field_env(struct conf *c, const struct conf_field *f, const char **ret_name)
{
	const char *names = f->env == NULL ? "" : f->env, *text;

	for (; *names != '\0'; names += strspn(names, " ")) {
		size_t n = strcspn(names, " ");

		*ret_name = arena_span(c->arena, span_of(names, n));
		text = conf_env(c, *ret_name);
		if (text != NULL && text[0] != '\0')
			return text;
		names += n;
	}
	return NULL;
}

/* "a, b" as a list. */
static void
conf_split(struct conf *c, struct conf_value *v, const char *text)
{
	v->kind = CONF_ARRAY;
	while (*text != '\0') {
		size_t      n = strcspn(text, ",");
		struct span s = span_of(text, n);

		text += n + (text[n] == ',');
		for (; s.n > 0 && s.p[0] == ' '; s.n--)
			s.p++;
		while (s.n > 0 && s.p[s.n - 1] == ' ')
			s.n--;
		if (s.n == 0)
			continue;
		v->items = conf_grow(c, v->items, v->nitems, sizeof(*v->items));
		v->items[v->nitems++] = (struct conf_value){ .kind = CONF_TEXT, .pos = v->pos, .text = conf_keep(c, s), .from_ref = true };
	}
}

static enum err_code
conf_from_env(struct conf *c, struct conf_block *b, const struct conf_field *f, const char *env, const char *text, void *at,
    struct err *reterr)
{
	struct conf_value v = { .kind = CONF_TEXT, .pos = b->pos, .from_ref = true };
	struct conf_want  w = { c, f, &v, arena_printf(c->arena, "environment variable %s", env) };

	assert(f->type != CONF_MAP && f->type != CONF_SECRETS && f->type != CONF_INNER); /* no text form */
	if (!utf8_valid(span_str(text)))
		return conf_error(reterr, b->pos, "%s: expected text in UTF-8", w.origin);
	v.text = conf_keep(c, span_str(text));
	if (f->type == CONF_STRS)
		conf_split(c, &v, v.text);
	b->filled = conf_grow(c, b->filled, b->nfilled, sizeof(*b->filled));
	b->filled[b->nfilled++] = (struct conf_filled){ f, env };
	return conf_store(&w, at, reterr);
}

static enum err_code
conf_from_default(struct conf *c, struct conf_block *b, const struct conf_field *f, void *at, struct err *reterr)
{
	struct conf_value v = { .kind = CONF_TEXT, .pos = b->pos, .text = f->def };
	struct conf_want  w = { c, f, &v, arena_printf(c->arena, "default of \"%s\"", f->name) };

	if ((f->type == CONF_STRS || f->type == CONF_MAP) &&
	    conf_parse_value(c, b->pos, span_str(f->def), &v, reterr) != ERR_OK)
		return ERR_CONFIG;
	return conf_store(&w, at, reterr);
}

/* The argument that was probably meant to be this field, which is missing; no other field has its name. */
static const struct conf_attr *
conf_misspelt(const struct conf_block *b, const struct conf_field *f)
{
	const char *const names[] = { f->name, NULL };

	for (size_t i = 0; i < b->nattrs; i++) {
		bool known = false;

		for (size_t t = 0; t < CONF_TABLES_MAX && b->tables[t] != NULL; t++)
			for (const struct conf_field *o = b->tables[t]; o->name != NULL; o++)
				known |= strcmp(o->name, b->attrs[i].name) == 0;
		if (!known && name_closest(b->attrs[i].name, names) != NULL)
			return &b->attrs[i];
	}
	return NULL;
}

/* As terraform has it, "" is a path that is not given; it would lead to the folder of the configuration. */
static bool
conf_is_no_path(const struct conf_field *f, const struct conf_value *v)
{
	return f->type == CONF_PATH && v->kind == CONF_TEXT && v->text[0] == '\0';
}

const struct err *
conf_broken(const struct conf_value *v)
{
	const struct err *e = v->broken;

	for (size_t i = 0; e == NULL && i < v->nitems; i++)
		e = conf_broken(&v->items[i]);
	return e;
}

static enum err_code
conf_fill(struct conf *c, struct conf_block *b, const struct conf_field *f, void *at, struct err *reterr)
{
	struct conf_attr *a = conf_attr(b, f->name);
	const char       *env = NULL, *text;

	if (a != NULL)
		a->used = true;
	if (a != NULL && conf_broken(&a->value) != NULL) {
		*reterr = *conf_broken(&a->value);
		return reterr->code;
	}
	if (a != NULL && a->value.kind != CONF_NULL && !conf_is_no_path(f, &a->value)) {
		struct conf_want w = { c, f, &a->value, arena_printf(c->arena, "argument \"%s\"", f->name) };

		if (f->later != NULL)
			return conf_error(reterr, a->pos, "argument \"%s\" needs a later version of stateferry: %s", f->name, f->later);
		return conf_store(&w, at, reterr);
	}
	text = conf_field_env(c, f, &env);
	if (text != NULL && f->later != NULL)
		return conf_error(reterr, b->pos, "environment variable %s needs a later version of stateferry: %s", env, f->later);
	if (text != NULL)
		return conf_from_env(c, b, f, env, text, at, reterr);
	if (f->def != NULL)
		return conf_from_default(c, b, f, at, reterr);
	if (f->required && conf_misspelt(b, f) != NULL)
		return conf_error(reterr, conf_misspelt(b, f)->pos, "unknown argument \"%.40s\" in %s, did you mean \"%s\"?",
		    conf_misspelt(b, f)->name, conf_title(c, b), f->name);
	if (f->required)
		return conf_error(reterr, b->pos, "expected the argument \"%s\" in %s%s%s", f->name, conf_title(c, b),
		    f->env == NULL ? "" : ", or the environment variable ", f->env == NULL ? "" : f->env);
	return ERR_OK;
}

enum err_code
conf_fields(struct conf *c, struct conf_block *b, const struct conf_field *fields, void *ret, struct err *reterr)
{
	size_t        n = 0;
	enum err_code rc = ERR_OK;
	struct err    e;

	while (b->tables[n] != NULL && b->tables[n] != fields)
		n++;
	assert(n < CONF_TABLES_MAX);
	b->tables[n] = fields;
	for (const struct conf_field *f = fields; f->name != NULL; f++)
		if (conf_fill(c, b, f, (char *)ret + f->offset, &e) != ERR_OK && !conf_note(c, &e, &rc, reterr))
			break;
	return rc;
}

/* --- what is left over ----------------------------------------------------------------------------------------------- */

static bool
conf_listed(const char *const *list, const char *word)
{
	for (; list != NULL && *list != NULL; list++)
		if (strcmp(*list, word) == 0)
			return true;
	return false;
}

const char *const *
conf_names(struct conf *c, const struct conf_field *const *tables)
{
	size_t       n = 0;
	const char **names;

	for (const struct conf_field *const *t = tables; t != NULL && *t != NULL; t++)
		for (const struct conf_field *f = *t; f->name != NULL; f++)
			n++;
	names = arena_alloc(c->arena, (n + 1) * sizeof(*names));
	n = 0;
	for (const struct conf_field *const *t = tables; t != NULL && *t != NULL; t++)
		for (const struct conf_field *f = *t; f->name != NULL; f++)
			names[n++] = f->name;
	return names;
}

enum err_code
conf_unknown(struct conf *c, const struct conf_block *b, const char *is, const char *name, struct conf_pos pos,
    const char *const *fits, const char *const *other, struct err *reterr)
{
	bool        is_block = strcmp(is, "block") == 0;
	const char *near = fits == NULL ? NULL : name_closest(name, fits);

	if (conf_listed(other, name))
		return conf_error(reterr, pos, is_block ? "\"%s\" is an argument; expected %s = and a value" :
		    "\"%s\" is a block; expected %s { ... } without =", name, name);
	if (near == NULL && other != NULL)
		near = name_closest(name, other);
	if (near != NULL)
		return conf_error(reterr, pos, "unknown %s \"%.40s\" in %s, did you mean \"%s\"?", is, name, conf_title(c, b), near);
	if (fits == NULL || *fits == NULL)
		return conf_error(reterr, pos, "unknown %s \"%.40s\"; expected none in %s", is, name, conf_title(c, b));
	return conf_error(reterr, pos, "unknown %s \"%.40s\" in %s; expected %s", is, name, conf_title(c, b), conf_one_of(c, fits));
}

enum err_code
conf_finish(struct conf *c, struct conf_block *b, const struct conf_field *const *tables, const char *const *block_types,
    struct err *reterr)
{
	const char *const *names = conf_names(c, tables);
	enum err_code      rc = ERR_OK;
	struct err         e;

	for (size_t i = 0; i < b->nattrs; i++)
		if (!b->attrs[i].used && conf_unknown(c, b, "argument", b->attrs[i].name, b->attrs[i].pos, names, block_types, &e) != ERR_OK &&
		    !conf_note(c, &e, &rc, reterr))
			return rc;
	for (size_t i = 0; i < b->nblocks; i++)
		if (!conf_listed(block_types, b->blocks[i].type) &&
		    conf_unknown(c, b, "block", b->blocks[i].type, b->blocks[i].pos, block_types, names, &e) != ERR_OK &&
		    !conf_note(c, &e, &rc, reterr))
			return rc;
	return rc;
}

enum err_code
conf_filled(struct conf *c, struct conf_block *b, const struct conf_field *fields, void *ret, const struct conf_field *const *tables,
    const char *const *block_types, struct err *reterr)
{
	enum err_code rc = ERR_OK;
	struct err    e;

	if ((conf_fields(c, b, fields, ret, &e) == ERR_OK || conf_note(c, &e, &rc, reterr)) &&
	    conf_finish(c, b, tables, block_types, &e) != ERR_OK)
		conf_note(c, &e, &rc, reterr);
	return rc;
}

struct conf_block *
conf_inner(struct conf *c, const char *type, const struct conf_value *object)
{
	struct conf_block *b = arena_alloc(c->arena, sizeof(*b));

	memset(b, 0, sizeof(*b));
	b->type = type;
	b->pos = object->pos;
	b->attrs = arena_alloc(c->arena, (object->nitems + 1) * sizeof(*b->attrs));
	for (; b->nattrs < object->nitems; b->nattrs++)
		b->attrs[b->nattrs] = (struct conf_attr){ .name = object->keys[b->nattrs], .pos = object->items[b->nattrs].pos,
			.value = object->items[b->nattrs] };
	return b;
}
