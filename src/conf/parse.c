/* SPDX-License-Identifier: MIT */
/*
 * The subset of HCL native syntax. The grammar is line-based where HCL's is: an argument ends with its line, "{" of a block stands
 * on the line of its type, a block on one line holds one argument; inside [ ] and ( ) newlines mean nothing.
 */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "conf/lex.h"

struct conf_parser {
	struct conf      *c;
	struct conf_lex   lex;
	struct conf_token tok; /* the one looked at */
	unsigned          depth;
};

static enum err_code conf_value(struct conf_parser *p, struct conf_value *ret, struct err *reterr);
static enum err_code conf_body(struct conf_parser *p, struct conf_body *body, const struct conf_block *within,
    struct err *reterr);

static enum err_code
conf_next(struct conf_parser *p, struct err *reterr)
{
	return conf_lex_next(&p->lex, &p->tok, reterr);
}

static bool
conf_is(const struct conf_parser *p, const char *mark)
{
	return p->tok.kind == TOKEN_MARK && strcmp(p->tok.text, mark) == 0;
}

static enum err_code
conf_skip_newlines(struct conf_parser *p, struct err *reterr)
{
	while (p->tok.kind == TOKEN_NEWLINE)
		if (conf_next(p, reterr) != ERR_OK)
			return ERR_CONFIG;
	return ERR_OK;
}

/* What stands at the token, for "found ...". Words and strings may be secrets that lost their quotes: never shown. */
static const char *
conf_found(const struct conf_parser *p)
{
	switch (p->tok.kind) {
	case TOKEN_END:     return "the end of the file";
	case TOKEN_NEWLINE: return "the end of the line";
	case TOKEN_NAME:    return "a word";
	case TOKEN_NUMBER:  return "a number";
	case TOKEN_STRING:  return "a string";
	case TOKEN_HEREDOC: return "a heredoc";
	case TOKEN_MARK:    return arena_printf(p->c->arena, "%s", p->tok.text);
	}
	return "";
}

static enum err_code
conf_expected(struct conf_parser *p, const char *what, struct err *reterr)
{
	return conf_error(reterr, p->tok.pos, "expected %s, found %s", what, conf_found(p));
}

/* A construct of HCL that is outside the subset. */
static enum err_code
conf_refuse(struct conf_parser *p, struct conf_pos pos, const char *construct, struct err *reterr)
{
	conf_error(reterr, pos, p->lex.foreign ? "%s not supported; expected a plain value" :
	    "%s not supported; expected a plain value, env(\"NAME\") or file(\"PATH\")", construct);
	return p->lex.foreign ? err_hint(reterr, CONF_FOREIGN_HINT) : ERR_CONFIG;
}

/* What HCL would make of the token after a complete value; NULL: nothing. */
static const char *
conf_construct(const struct conf_parser *p)
{
	static const char *const operators[] = { "+", "-", "*", "/", "%", "==", "!=", "<", ">", "<=", ">=", "&&", "||", "!" };

	if (p->tok.kind != TOKEN_MARK)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(operators); i++)
		if (conf_is(p, operators[i]))
			return arena_printf(p->c->arena, "an expression with the operator %s is", p->tok.text);
	if (conf_is(p, "?"))
		return "a conditional expression with ? is";
	if (conf_is(p, ".*") || (conf_is(p, "[") && p->lex.p < p->lex.end && *p->lex.p == '*'))
		return "a splat expression is";
	if (conf_is(p, "[") || conf_is(p, "."))
		return "an index or attribute of a value is";
	if (conf_is(p, "("))
		return "a function call is";
	if (conf_is(p, "..."))
		return "an expansion with ... is";
	return NULL;
}

/* The token after a value is none of those that may be there. */
static enum err_code
conf_no_end(struct conf_parser *p, const char *what, struct err *reterr)
{
	const char *construct = conf_construct(p);

	return construct != NULL ? conf_refuse(p, p->tok.pos, construct, reterr) : conf_expected(p, what, reterr);
}

static enum err_code
conf_deeper(struct conf_parser *p, struct conf_pos pos, struct err *reterr)
{
	if (p->depth == CONF_DEPTH_MAX)
		return conf_error(reterr, pos, "expected at most %d levels of nesting (CONF_DEPTH_MAX)", CONF_DEPTH_MAX);
	p->depth++;
	return ERR_OK;
}

/* --- env() and file() ---------------------------------------------------------------------------------------------- */

struct conf_call {
	bool              is_env;
	struct conf_pos   pos, arg_pos;
	const char       *arg;
	bool              has_def;
	struct conf_value def;
};

/* The value after the comma of env("NAME", DEFAULT). */
static enum err_code
conf_call_default(struct conf_parser *p, struct conf_call *call, struct err *reterr)
{
	if (conf_skip_newlines(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (conf_is(p, ")"))
		return ERR_OK;
	if (!call->is_env)
		return conf_expected(p, ") after the path", reterr);
	if (conf_is(p, "[") || conf_is(p, "{"))
		return conf_expected(p, "a string, number or bool as the default", reterr);
	call->has_def = true;
	if (conf_value(p, &call->def, reterr) != ERR_OK || conf_skip_newlines(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (!conf_is(p, ","))
		return ERR_OK;
	return conf_next(p, reterr) != ERR_OK ? ERR_CONFIG : conf_skip_newlines(p, reterr);
}

/* From "(" to after ")". */
static enum err_code
conf_call_args(struct conf_parser *p, struct conf_call *call, struct err *reterr)
{
	if (conf_next(p, reterr) != ERR_OK || conf_skip_newlines(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (p->tok.kind != TOKEN_STRING)
		return conf_expected(p, call->is_env ? "the name of a variable in quotes" : "a path in quotes", reterr);
	if (p->tok.text[0] == '\0' || (call->is_env && strchr(p->tok.text, '=') != NULL))
		return conf_error(reterr, p->tok.pos, "expected %s", call->is_env ? "the name of a variable" : "the path of a file");
	call->arg = p->tok.text;
	call->arg_pos = p->tok.pos;
	if (conf_next(p, reterr) != ERR_OK || conf_skip_newlines(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (conf_is(p, ",") && (conf_next(p, reterr) != ERR_OK || conf_call_default(p, call, reterr) != ERR_OK))
		return ERR_CONFIG;
	if (!conf_is(p, ")"))
		return conf_no_end(p, call->is_env ? ") or a comma and a default" : ")", reterr);
	return conf_next(p, reterr);
}

/* The call as text, with the default (masked: without its text). */
static const char *
conf_call_text(struct conf_parser *p, const struct conf_call *call, bool masked)
{
	const struct conf_value *d = &call->def;
	struct buf               b;
	const char              *text;

	buf_init(&b, 0);
	buf_puts(&b, call->is_env ? "env(" : "file(");
	conf_quote(&b, call->arg);
	if (call->has_def) {
		buf_puts(&b, ", ");
		if (d->from_ref)
			buf_puts(&b, masked ? d->ref_masked : d->ref);
		else if (d->kind == CONF_TEXT)
			conf_quote(&b, masked ? CONF_MASK : d->text);
		else if (d->kind == CONF_NUM)
			buf_puts(&b, masked ? "0" : d->text);
		else
			buf_puts(&b, d->kind == CONF_NULL ? "null" : d->boolean ? "true" : "false");
	}
	buf_puts(&b, ")");
	text = conf_keep(p->c, buf_span(&b));
	buf_wipe_free(&b);
	return text;
}

static enum err_code
conf_call_env(struct conf_parser *p, const struct conf_call *call, struct conf_value *ret, struct err *reterr)
{
	const char *text = conf_env(p->c, call->arg);
	struct span s = span_str(text);

	if (text == NULL && call->has_def) {
		ret->kind = call->def.kind;
		ret->text = call->def.text;
		ret->boolean = call->def.boolean;
		return ERR_OK;
	}
	if (text == NULL) {
		conf_error(reterr, call->pos, "environment variable %.80s is not set; expected it, or a default in env()", call->arg);
		return ERR_CONFIG;
	}
	if (s.n > CONF_FILE_MAX || !utf8_valid(s))
		return conf_error(reterr, call->pos, "environment variable %.80s: expected UTF-8 of at most %zu bytes", call->arg,
		    CONF_FILE_MAX);
	ret->kind = CONF_TEXT;
	ret->text = conf_keep(p->c, s);
	return ERR_OK;
}

/* A variable that is not set is no end of the text: what follows may be wrong, too. */
static enum err_code
conf_call_value(struct conf_parser *p, const struct conf_call *call, struct conf_value *ret, struct err *reterr)
{
	struct err   *e = arena_alloc(p->c->arena, sizeof(*e));
	enum err_code rc = ERR_OK;

	ret->kind = CONF_TEXT;
	ret->text = "";
	if ((call->is_env ? conf_call_env(p, call, ret, e) : conf_file(p->c, call->arg_pos, call->arg, &ret->text, e)) == ERR_OK)
		return ERR_OK;
	if (!conf_note(p->c, e, &rc, reterr))
		return rc;
	ret->broken = e;
	return ERR_OK;
}

static enum err_code
conf_call(struct conf_parser *p, struct conf_pos pos, bool is_env, struct conf_value *ret, struct err *reterr)
{
	struct conf_call call = { .is_env = is_env, .pos = pos };

	/* a default may be a call */
	if (conf_deeper(p, pos, reterr) != ERR_OK || conf_call_args(p, &call, reterr) != ERR_OK)
		return ERR_CONFIG;
	p->depth--;
	ret->from_ref = true;
	ret->ref = conf_call_text(p, &call, false);
	ret->ref_masked = conf_call_text(p, &call, true);
	return conf_call_value(p, &call, ret, reterr);
}

/* --- values -------------------------------------------------------------------------------------------------------- */

static enum err_code
conf_list(struct conf_parser *p, struct conf_value *ret, struct err *reterr)
{
	ret->kind = CONF_ARRAY;
	if (conf_next(p, reterr) != ERR_OK || conf_skip_newlines(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (p->tok.kind == TOKEN_NAME && strcmp(p->tok.text, "for") == 0)
		return conf_refuse(p, p->tok.pos, "a for expression is", reterr);
	while (!conf_is(p, "]")) {
		ret->items = conf_grow(p->c, ret->items, ret->nitems, sizeof(*ret->items));
		if (conf_value(p, &ret->items[ret->nitems++], reterr) != ERR_OK || conf_skip_newlines(p, reterr) != ERR_OK)
			return ERR_CONFIG;
		if (conf_is(p, "]"))
			break;
		if (!conf_is(p, ","))
			return conf_no_end(p, ", or ] after an item of a list", reterr);
		if (conf_next(p, reterr) != ERR_OK || conf_skip_newlines(p, reterr) != ERR_OK)
			return ERR_CONFIG;
	}
	return conf_next(p, reterr);
}

static enum err_code
conf_key(struct conf_parser *p, struct conf_value *o, struct err *reterr)
{
	if (p->tok.kind == TOKEN_NAME && strcmp(p->tok.text, "for") == 0)
		return conf_refuse(p, p->tok.pos, "a for expression (or a key for without quotes) is", reterr);
	if (conf_is(p, "("))
		return conf_refuse(p, p->tok.pos, "an expression as a key is", reterr);
	if (p->tok.kind != TOKEN_NAME && p->tok.kind != TOKEN_STRING)
		return conf_expected(p, "a key, or } at the end of the object", reterr);
	if (conf_object_key(p->c, o, p->tok.text, p->tok.pos, reterr) != ERR_OK || conf_next(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (!conf_is(p, "=") && !conf_is(p, ":"))
		return conf_no_end(p, "= or : after a key", reterr);
	return conf_next(p, reterr);
}

/* Keys are separated by one comma or by newlines, as in HCL. */
static enum err_code
conf_object(struct conf_parser *p, struct conf_value *ret, struct err *reterr)
{
	ret->kind = CONF_OBJECT;
	if (conf_next(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	for (;;) {
		if (conf_skip_newlines(p, reterr) != ERR_OK)
			return ERR_CONFIG;
		if (conf_is(p, "}"))
			return conf_next(p, reterr);
		if (conf_key(p, ret, reterr) != ERR_OK || conf_value(p, &ret->items[ret->nitems], reterr) != ERR_OK)
			return ERR_CONFIG;
		ret->nitems++;
		if (conf_is(p, "}"))
			return conf_next(p, reterr);
		if (!conf_is(p, ",") && p->tok.kind != TOKEN_NEWLINE)
			return conf_no_end(p, "a comma, a newline or } after a value in an object", reterr);
		if (conf_next(p, reterr) != ERR_OK)
			return ERR_CONFIG;
	}
}

static enum err_code
conf_reference(struct conf_parser *p, const struct conf_token *word, struct err *reterr)
{
	static const char *const roots[] = { "var", "local", "each", "count", "data", "module", "path", "terraform", "self" };

	if (conf_is(p, "."))
		for (size_t i = 0; i < ARRAY_LEN(roots); i++)
			if (strcmp(word->text, roots[i]) == 0)
				return conf_refuse(p, word->pos, arena_printf(p->c->arena, "a reference to %s.* is", roots[i]), reterr);
	return conf_refuse(p, word->pos, "a word without quotes is a reference to a variable, which is", reterr);
}

/* true, false, null, a call, or something to refuse. */
static enum err_code
conf_word(struct conf_parser *p, struct conf_value *ret, struct err *reterr)
{
	struct conf_token word = p->tok;
	bool              is_env = strcmp(word.text, "env") == 0;

	if (conf_next(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (conf_is(p, "(") && !p->lex.foreign && (is_env || strcmp(word.text, "file") == 0))
		return conf_call(p, word.pos, is_env, ret, reterr);
	if (conf_is(p, "(") || conf_is(p, "::"))
		return conf_refuse(p, word.pos, arena_printf(p->c->arena, "the function %.40s is", word.text), reterr);
	ret->kind = CONF_BOOLEAN;
	ret->boolean = strcmp(word.text, "true") == 0;
	if (strcmp(word.text, "null") == 0)
		ret->kind = CONF_NULL;
	else if (!ret->boolean && strcmp(word.text, "false") != 0)
		return conf_reference(p, &word, reterr);
	return ERR_OK;
}

static enum err_code
conf_negative(struct conf_parser *p, struct conf_value *ret, struct err *reterr)
{
	if (p->lex.p == p->lex.end || *p->lex.p < '0' || *p->lex.p > '9')
		return conf_refuse(p, p->tok.pos, "an expression with the operator - is", reterr);
	if (conf_next(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	ret->kind = CONF_NUM;
	ret->text = conf_keep(p->c, span_str(arena_printf(p->c->arena, "-%s", p->tok.text)));
	return conf_next(p, reterr);
}

static enum err_code
conf_container(struct conf_parser *p, struct conf_value *ret, struct err *reterr)
{
	enum err_code code;

	if (conf_deeper(p, p->tok.pos, reterr) != ERR_OK)
		return ERR_CONFIG;
	code = conf_is(p, "[") ? conf_list(p, ret, reterr) : conf_object(p, ret, reterr);
	p->depth--;
	return code;
}

static enum err_code
conf_value(struct conf_parser *p, struct conf_value *ret, struct err *reterr)
{
	*ret = (struct conf_value){ .pos = p->tok.pos };
	if (p->tok.kind == TOKEN_NAME)
		return conf_word(p, ret, reterr);
	if (conf_is(p, "-"))
		return conf_negative(p, ret, reterr);
	if (conf_is(p, "[") || conf_is(p, "{"))
		return conf_container(p, ret, reterr);
	if (conf_is(p, "("))
		return conf_refuse(p, p->tok.pos, "an expression in parentheses is", reterr);
	if (conf_is(p, "!"))
		return conf_refuse(p, p->tok.pos, "an expression with the operator ! is", reterr);
	if (conf_is(p, "'"))
		return conf_expected(p, "a value in double quotes", reterr);
	if (p->tok.kind != TOKEN_STRING && p->tok.kind != TOKEN_HEREDOC && p->tok.kind != TOKEN_NUMBER)
		return conf_expected(p, "a value", reterr);
	ret->kind = p->tok.kind == TOKEN_NUMBER ? CONF_NUM : CONF_TEXT;
	ret->text = p->tok.text;
	return conf_next(p, reterr);
}

/* --- bodies -------------------------------------------------------------------------------------------------------- */

/* name is read, "=" is the token. Ends at what follows the value. */
static enum err_code
conf_argument(struct conf_parser *p, struct conf_body *body, const struct conf_token *name, struct err *reterr)
{
	struct conf_attr a = { .name = name->text, .pos = name->pos };

	if (conf_next(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (p->tok.kind == TOKEN_NEWLINE || p->tok.kind == TOKEN_END)
		return conf_expected(p, "a value after = on the same line", reterr);
	if (conf_value(p, &a.value, reterr) != ERR_OK)
		return ERR_CONFIG;
	return conf_body_attr(p->c, body, &a, reterr);
}

static enum err_code
conf_labels(struct conf_parser *p, struct conf_block *b, struct err *reterr)
{
	while (p->tok.kind == TOKEN_STRING || p->tok.kind == TOKEN_NAME) {
		if (b->nlabels == CONF_LABELS_MAX)
			return conf_error(reterr, p->tok.pos, "expected at most %d labels (CONF_LABELS_MAX)", CONF_LABELS_MAX);
		b->labels = conf_grow(p->c, b->labels, b->nlabels, sizeof(*b->labels));
		b->labels[b->nlabels++] = p->tok.text;
		if (conf_next(p, reterr) != ERR_OK)
			return ERR_CONFIG;
	}
	return ERR_OK;
}

/* "{ NAME = VALUE }", from NAME to the closing brace. */
static enum err_code
conf_one_line(struct conf_parser *p, struct conf_body *body, struct err *reterr)
{
	struct conf_token name = p->tok;

	if (name.kind != TOKEN_NAME)
		return conf_expected(p, "an argument, a newline or } after {", reterr);
	if (conf_next(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (!conf_is(p, "="))
		return conf_expected(p, "= (a block on one line holds one argument and no block)", reterr);
	if (conf_argument(p, body, &name, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (!conf_is(p, "}"))
		return conf_no_end(p, "} (a block on one line holds one argument)", reterr);
	return ERR_OK;
}

/* type is read, its labels or "{" come next. Ends after the closing brace. */
static enum err_code
conf_nested(struct conf_parser *p, struct conf_body *body, const struct conf_token *type, struct err *reterr)
{
	struct conf_block b = { .type = type->text, .pos = type->pos };
	struct conf_body  inner = { 0 };
	enum err_code     code;

	if (conf_deeper(p, type->pos, reterr) != ERR_OK || conf_labels(p, &b, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (!conf_is(p, "{"))
		return conf_expected(p, b.nlabels > 0 ? "{ or a label on the line of the block" :
		    "= and a value, or { and a block", reterr);
	if (conf_next(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (p->tok.kind == TOKEN_NEWLINE || p->tok.kind == TOKEN_END || conf_is(p, "}"))
		code = conf_body(p, &inner, &b, reterr);
	else
		code = conf_one_line(p, &inner, reterr);
	if (code != ERR_OK || conf_next(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	p->depth--;
	b.attrs = inner.attrs;
	b.nattrs = inner.nattrs;
	b.blocks = inner.blocks;
	b.nblocks = inner.nblocks;
	conf_body_block(p->c, body, &b);
	return ERR_OK;
}

/* An argument or a block, with the end of its line. */
static enum err_code
conf_item(struct conf_parser *p, struct conf_body *body, struct err *reterr)
{
	struct conf_token name = p->tok;
	bool              argument;

	if (name.kind == TOKEN_STRING)
		return conf_error(reterr, name.pos, "expected an argument or a block, whose name has no quotes; found a string");
	if (name.kind != TOKEN_NAME)
		return conf_expected(p, "an argument or a block", reterr);
	if (conf_next(p, reterr) != ERR_OK)
		return ERR_CONFIG;
	argument = conf_is(p, "=");
	if ((argument ? conf_argument(p, body, &name, reterr) : conf_nested(p, body, &name, reterr)) != ERR_OK)
		return ERR_CONFIG;
	if (p->tok.kind == TOKEN_NEWLINE || p->tok.kind == TOKEN_END)
		return ERR_OK;
	return argument ? conf_no_end(p, "a newline after the value", reterr) :
	    conf_expected(p, "a newline after }", reterr);
}

/* To the closing brace of within (left as the token), or to the end of the file. */
static enum err_code
conf_body(struct conf_parser *p, struct conf_body *body, const struct conf_block *within, struct err *reterr)
{
	for (;;) {
		if (conf_skip_newlines(p, reterr) != ERR_OK)
			return ERR_CONFIG;
		if (p->tok.kind == TOKEN_END && within == NULL)
			return ERR_OK;
		if (p->tok.kind == TOKEN_END)
			return conf_error(reterr, within->pos, "%s is never closed; expected } before the end of the file",
			    conf_title(p->c, within));
		if (conf_is(p, "}") && within != NULL)
			return ERR_OK;
		if (conf_item(p, body, reterr) != ERR_OK)
			return ERR_CONFIG;
	}
}

/* --- entry points -------------------------------------------------------------------------------------------------- */

static enum err_code
conf_parser_init(struct conf_parser *p, struct conf *c, struct conf_pos pos, struct span text, bool foreign, struct err *reterr)
{
	*p = (struct conf_parser){ .c = c };
	if (conf_check_text(pos, text, reterr) != ERR_OK)
		return ERR_CONFIG;
	conf_lex_init(&p->lex, c, text, pos);
	p->lex.foreign = foreign;
	return conf_next(p, reterr);
}

enum err_code
conf_parse_hcl(struct conf *c, const char *file, struct span text, struct conf_body *root, struct err *reterr)
{
	struct conf_pos    pos = { arena_strdup(c->arena, file), 1, 1 };
	struct conf_parser p;

	if (span_starts(text, "\xef\xbb\xbf")) /* a byte order mark, which terraform skips too */
		text = span_of(text.p + 3, text.n - 3);
	if (conf_parser_init(&p, c, pos, text, false, reterr) != ERR_OK)
		return ERR_CONFIG;
	return conf_body(&p, root, NULL, reterr);
}

enum err_code
conf_parse_foreign(struct conf *c, struct conf_pos pos, struct span text, struct conf_body *root, struct err *reterr)
{
	struct conf_parser p;

	if (conf_parser_init(&p, c, pos, text, true, reterr) != ERR_OK)
		return ERR_CONFIG;
	return conf_body(&p, root, NULL, reterr);
}

enum err_code
conf_parse_value(struct conf *c, struct conf_pos pos, struct span text, struct conf_value *ret, struct err *reterr)
{
	struct conf_parser p;

	if (conf_parser_init(&p, c, pos, text, false, reterr) != ERR_OK || conf_value(&p, ret, reterr) != ERR_OK)
		return ERR_CONFIG;
	return p.tok.kind == TOKEN_END ? ERR_OK : conf_no_end(&p, "the end of the value", reterr);
}

enum err_code
conf_parse_call(struct conf *c, struct conf_pos pos, struct span text, struct conf_value *ret, struct err *reterr)
{
	enum err_code code = conf_parse_value(c, pos, text, ret, reterr);

	if (code == ERR_OK && !ret->from_ref)
		code = conf_error(reterr, pos, "interpolation ${...} is not supported; expected a plain value, env(\"NAME\") or file(\"PATH\")");
	return code;
}
