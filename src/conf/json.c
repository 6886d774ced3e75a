/* SPDX-License-Identifier: MIT */
/*
 * HCL's JSON syntax (github.com/hashicorp/hcl, "HCL JSON Syntax Specification") for the same subset: a property is an argument, or,
 * for the names below, a block; blocks of one type are an array or properties named by label; "//" is a comment; a
 * string that is exactly "${env(...)}" or "${file(...)}" is that call. Jansson reads the text and keeps the order of keys;
 * it does not say where a value began, so a cursor follows over the text that it has found to be right.
 */
#include <assert.h>
#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "conf/tree.h"

/* JSON does not show whether an object is a block: these are, with as many labels. */
static const struct conf_json_type {
	const char *name;
	unsigned    labels;
} conf_json_types[] = {
	{ "agent", 0 }, { "architecture", 1 }, { "backend", 2 }, { "dynamodb", 0 }, { "etcd", 0 }, { "history", 0 }, { "keep", 0 },
	{ "lease", 0 }, { "replicate", 1 }, { "select", 0 }, { "serve", 0 }, { "snapshot", 1 }, { "state", 1 }, { "storage", 1 },
	{ "workspaces", 0 },
};

struct conf_json {
	struct conf    *c;
	const uint8_t  *p, *end;
	struct conf_pos pos; /* of *p */
	unsigned        depth;
	bool            literal; /* no string is a call or a template */
};

static enum err_code conf_json_value(struct conf_json *j, json_t *v, struct conf_value *ret, struct err *reterr);
static enum err_code conf_json_body(struct conf_json *j, json_t *v, struct conf_body *body, struct err *reterr);

/* --- the cursor ---------------------------------------------------------------------------------------------------- */

static void
conf_json_step(struct conf_json *j)
{
	if (*j->p == '\n') {
		j->pos.line++;
		j->pos.column = 1;
	} else if ((*j->p & 0xc0) != 0x80) {
		j->pos.column++;
	}
	j->p++;
}

static void
conf_json_string_end(struct conf_json *j)
{
	for (conf_json_step(j); *j->p != '"'; conf_json_step(j))
		if (*j->p == '\\')
			conf_json_step(j);
	conf_json_step(j);
}

/* To where the next token begins. Commas and colons are no tokens here. */
static struct conf_pos
conf_json_blanks(struct conf_json *j)
{
	while (j->p < j->end && strchr(" \t\r\n,:", *j->p) != NULL)
		conf_json_step(j);
	assert(j->p < j->end); /* jansson has read the same text to its end */
	return j->pos;
}

/* Past one token: a bracket, a string, a number or a word. */
static struct span
conf_json_token(struct conf_json *j, struct conf_pos *ret_pos)
{
	const uint8_t *start;

	*ret_pos = conf_json_blanks(j);
	start = j->p;
	if (*start == '"')
		conf_json_string_end(j);
	else if (strchr("{}[]", *start) != NULL)
		conf_json_step(j);
	else
		while (j->p < j->end && strchr(" \t\r\n,:]}", *j->p) == NULL)
			conf_json_step(j);
	return span_of(start, (size_t)(j->p - start));
}

/* The bracket that opens or closes a container. */
static struct conf_pos
conf_json_bracket(struct conf_json *j, char bracket)
{
	struct conf_pos pos;
	struct span     s = conf_json_token(j, &pos);

	assert(s.n == 1 && s.p[0] == (uint8_t)bracket);
	(void)s;
	return pos;
}

static struct conf_pos
conf_json_key(struct conf_json *j)
{
	struct conf_pos pos;
	struct span     s = conf_json_token(j, &pos);

	assert(s.p[0] == '"');
	(void)s;
	return pos;
}

/* Past a whole value that is not wanted. */
static void
conf_json_skip(struct conf_json *j)
{
	size_t          open = 0;
	struct conf_pos pos;

	do {
		struct span s = conf_json_token(j, &pos);

		if (s.p[0] == '{' || s.p[0] == '[')
			open++;
		else if (s.p[0] == '}' || s.p[0] == ']')
			open--;
	} while (open > 0);
}

static enum err_code
conf_json_deeper(struct conf_json *j, struct conf_pos pos, struct err *reterr)
{
	if (j->depth == CONF_DEPTH_MAX)
		return conf_error(reterr, pos, "expected at most %d levels of nesting (CONF_DEPTH_MAX)", CONF_DEPTH_MAX);
	j->depth++;
	return ERR_OK;
}

/* --- values -------------------------------------------------------------------------------------------------------- */

/* "$${" is "${"; a template that is more than one call is refused. */
static enum err_code
conf_json_literal(struct conf_json *j, const char *s, struct conf_value *ret, struct err *reterr)
{
	struct buf    out;
	enum err_code code = ERR_OK;

	buf_init(&out, CONF_FILE_MAX + 1);
	while (*s != '\0' && code == ERR_OK) {
		size_t run = strspn(s, *s == '$' ? "$" : *s == '%' ? "%" : "");

		if (run == 1 && s[1] == '{')
			code = conf_error(reterr, ret->pos, "interpolation is not supported; expected plain text ($${ is a literal ${) "
			    "or one call, \"${env(\\\"NAME\\\")}\"");
		buf_put(&out, s, run > 1 && s[run] == '{' ? run - 1 : run > 0 ? run : 1);
		s += run > 0 ? run : 1;
	}
	ret->kind = CONF_TEXT;
	if (code == ERR_OK)
		ret->text = conf_keep(j->c, buf_span(&out));
	buf_wipe_free(&out);
	return code;
}

static enum err_code
conf_json_text(struct conf_json *j, const char *s, struct conf_value *ret, struct err *reterr)
{
	struct span     text = span_str(s);
	struct conf_pos inner = ret->pos;

	if (!(span_starts(text, "${env(") || span_starts(text, "${file(")) || !span_ends(text, ")}"))
		return conf_json_literal(j, s, ret, reterr);
	inner.column += 3;
	return conf_parse_call(j->c, inner, span_of(text.p + 2, text.n - 3), ret, reterr);
}

static enum err_code
conf_json_list(struct conf_json *j, json_t *v, struct conf_value *ret, struct err *reterr)
{
	size_t  i;
	json_t *item;

	ret->kind = CONF_ARRAY;
	ret->pos = conf_json_bracket(j, '[');
	json_array_foreach(v, i, item) {
		ret->items = conf_grow(j->c, ret->items, ret->nitems, sizeof(*ret->items));
		if (conf_json_value(j, item, &ret->items[ret->nitems++], reterr) != ERR_OK)
			return ERR_CONFIG;
	}
	conf_json_bracket(j, ']');
	return ERR_OK;
}

static enum err_code
conf_json_object(struct conf_json *j, json_t *v, struct conf_value *ret, struct err *reterr)
{
	const char *key;
	json_t     *item;

	ret->kind = CONF_OBJECT;
	ret->pos = conf_json_bracket(j, '{');
	json_object_foreach(v, key, item) {
		struct conf_pos pos = conf_json_key(j);

		if (conf_object_key(j->c, ret, conf_keep(j->c, span_str(key)), pos, reterr) != ERR_OK ||
		    conf_json_value(j, item, &ret->items[ret->nitems], reterr) != ERR_OK)
			return ERR_CONFIG;
		ret->nitems++;
	}
	conf_json_bracket(j, '}');
	return ERR_OK;
}

static enum err_code
conf_json_number(struct conf_json *j, struct span token, struct conf_value *ret, struct err *reterr)
{
	ret->kind = CONF_NUM;
	ret->text = conf_keep(j->c, token);
	if (conf_number_plain(j->c, ret->text) == NULL)
		return conf_error(reterr, ret->pos, "expected a number of at most %d digits and an exponent up to %d (CONF_NUMBER_MAX)",
		    CONF_NUMBER_MAX, CONF_EXP_MAX);
	return ERR_OK;
}

static enum err_code
conf_json_value(struct conf_json *j, json_t *v, struct conf_value *ret, struct err *reterr)
{
	struct span   token;
	enum err_code code;

	*ret = (struct conf_value){ .kind = CONF_NULL };
	if (json_is_object(v) || json_is_array(v)) {
		if (conf_json_deeper(j, conf_json_blanks(j), reterr) != ERR_OK)
			return ERR_CONFIG;
		code = json_is_array(v) ? conf_json_list(j, v, ret, reterr) : conf_json_object(j, v, ret, reterr);
		j->depth--;
		return code;
	}
	token = conf_json_token(j, &ret->pos);
	if (json_is_string(v) && j->literal) {
		ret->kind = CONF_TEXT;
		ret->text = conf_keep(j->c, span_str(json_string_value(v)));
		return ERR_OK;
	}
	if (json_is_string(v))
		return conf_json_text(j, json_string_value(v), ret, reterr);
	if (json_is_number(v))
		return conf_json_number(j, token, ret, reterr);
	if (json_is_boolean(v)) {
		ret->kind = CONF_BOOLEAN;
		ret->boolean = json_is_true(v);
	}
	return ERR_OK;
}

/* --- bodies -------------------------------------------------------------------------------------------------------- */

/* The type of the blocks that v, called name, holds; NULL: it is an argument. */
static const struct conf_json_type *
conf_json_type(const char *name, json_t *v)
{
	for (size_t i = 0; i < ARRAY_LEN(conf_json_types); i++)
		if (strcmp(name, conf_json_types[i].name) == 0 && (json_is_object(v) ||
		    (json_is_array(v) && (json_array_size(v) == 0 || json_is_object(json_array_get(v, 0))))))
			return &conf_json_types[i];
	return NULL;
}

static enum err_code
conf_json_block(struct conf_json *j, json_t *v, const struct conf_block *head, struct conf_body *body, struct err *reterr)
{
	struct conf_block b = *head;
	struct conf_body  inner = { 0 };

	if (conf_json_deeper(j, b.pos, reterr) != ERR_OK || conf_json_body(j, v, &inner, reterr) != ERR_OK)
		return ERR_CONFIG;
	j->depth--;
	b.attrs = inner.attrs;
	b.nattrs = inner.nattrs;
	b.blocks = inner.blocks;
	b.nblocks = inner.nblocks;
	conf_body_block(j->c, body, &b);
	return ERR_OK;
}

/* v: an object named by label where labels are still due, else the body; or an array of those. head: type and labels so far. */
static enum err_code
conf_json_blocks(struct conf_json *j, json_t *v, unsigned due, const struct conf_block *head, struct conf_body *body,
    struct err *reterr)
{
	size_t      i;
	const char *label;
	json_t     *item;

	if (json_is_array(v)) {
		conf_json_bracket(j, '[');
		json_array_foreach(v, i, item) {
			if (json_is_array(item))
				return conf_error(reterr, conf_json_blanks(j), "expected an object for each %s, found an array", head->type);
			if (conf_json_blocks(j, item, due, head, body, reterr) != ERR_OK)
				return ERR_CONFIG;
		}
		conf_json_bracket(j, ']');
		return ERR_OK;
	}
	if (!json_is_object(v))
		return conf_error(reterr, head->pos, "expected an object %s of %s", due > 0 ? "named by label" : "with the arguments",
		    conf_title(j->c, head));
	if (due == 0)
		return conf_json_block(j, v, head, body, reterr);
	conf_json_bracket(j, '{');
	json_object_foreach(v, label, item) {
		struct conf_block b = *head;
		size_t            n = b.nlabels + 1;

		b.pos = conf_json_key(j);
		b.labels = arena_alloc(j->c->arena, n * sizeof(*b.labels));
		if (head->nlabels > 0)
			memcpy(b.labels, head->labels, head->nlabels * sizeof(*b.labels));
		b.labels[b.nlabels++] = arena_strdup(j->c->arena, label);
		if (conf_json_blocks(j, item, due - 1, &b, body, reterr) != ERR_OK)
			return ERR_CONFIG;
	}
	conf_json_bracket(j, '}');
	return ERR_OK;
}

static enum err_code
conf_json_property(struct conf_json *j, const char *name, struct conf_pos pos, json_t *v, struct conf_body *body,
    struct err *reterr)
{
	const struct conf_json_type *t = conf_json_type(name, v);
	struct conf_attr             a = { .name = name, .pos = pos };
	struct conf_block            b = { .type = name, .pos = pos };

	if (t != NULL)
		return conf_json_blocks(j, v, t->labels, &b, body, reterr);
	if (!conf_is_name(name))
		return conf_error(reterr, pos, "expected the name of an argument or block: letters, digits, _ and -");
	if (conf_json_value(j, v, &a.value, reterr) != ERR_OK)
		return ERR_CONFIG;
	return conf_body_attr(j->c, body, &a, reterr);
}

static enum err_code
conf_json_body(struct conf_json *j, json_t *v, struct conf_body *body, struct err *reterr)
{
	const char *name;
	json_t     *item;

	conf_json_bracket(j, '{');
	json_object_foreach(v, name, item) {
		struct conf_pos pos = conf_json_key(j);

		if (strcmp(name, "//") == 0)
			conf_json_skip(j);
		else if (conf_json_property(j, arena_strdup(j->c->arena, name), pos, item, body, reterr) != ERR_OK)
			return ERR_CONFIG;
	}
	conf_json_bracket(j, '}');
	return ERR_OK;
}

/* Overwrites the texts that jansson holds; what it used while reading is out of reach. */
static void
conf_json_wipe(json_t *v)
{
	size_t      i;
	const char *key;
	json_t     *item;

	if (json_is_string(v))
		mem_wipe((char *)(uintptr_t)json_string_value(v), json_string_length(v));
	json_array_foreach(v, i, item)
		conf_json_wipe(item);
	json_object_foreach(v, key, item)
		conf_json_wipe(item);
}

/* Jansson's "expected" without its "near ...", which quotes the file. */
static enum err_code
conf_json_syntax(const char *file, const json_error_t *e, struct err *reterr)
{
	struct conf_pos pos = { file, e->line > 0 ? (unsigned)e->line : 1, e->column > 0 ? (unsigned)e->column : 1 };
	const char     *near = strstr(e->text, " near ");

	return conf_error(reterr, pos, "expected JSON: %.*s", near == NULL ? (int)strlen(e->text) : (int)(near - e->text), e->text);
}

/* Reads the text, which j is at, with jansson. *ret NULL on failure. */
static enum err_code
conf_json_load(const struct conf_json *j, json_t **ret, struct err *reterr)
{
	struct span  text = span_of(j->p, (size_t)(j->end - j->p));
	json_error_t e;

	*ret = NULL;
	if (text.n > CONF_FILE_MAX)
		return conf_error(reterr, j->pos, "expected at most %zu bytes (CONF_FILE_MAX), found %zu", CONF_FILE_MAX, text.n);
	*ret = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e);
	return *ret != NULL ? ERR_OK : conf_json_syntax(j->pos.file, &e, reterr);
}

enum err_code
conf_parse_json(struct conf *c, const char *file, struct span text, struct conf_body *root, struct err *reterr)
{
	struct conf_json j = { .c = c, .p = text.p, .end = text.p + text.n, .pos = { arena_strdup(c->arena, file), 1, 1 } };
	struct conf_pos  start = j.pos;
	json_t          *v;
	enum err_code    code;

	if (conf_json_load(&j, &v, reterr) != ERR_OK)
		return ERR_CONFIG;
	code = json_is_object(v) ? conf_json_body(&j, v, root, reterr) :
	    conf_error(reterr, start, "expected an object with the blocks of a configuration, found an array");
	conf_json_wipe(v);
	json_decref(v);
	return code;
}

enum err_code
conf_parse_json_value(struct conf *c, const char *file, struct span text, struct conf_value *ret, struct err *reterr)
{
	struct conf_json j = { .c = c, .p = text.p, .end = text.p + text.n, .pos = { arena_strdup(c->arena, file), 1, 1 },
		.literal = true };
	json_t          *v;
	enum err_code    code;

	if (conf_json_load(&j, &v, reterr) != ERR_OK)
		return ERR_CONFIG;
	code = conf_json_value(&j, v, ret, reterr);
	conf_json_wipe(v);
	json_decref(v);
	return code;
}
