/* SPDX-License-Identifier: MIT */
/* What files of terraform are about: which kind of backend they tell of, and where in them. */
#include "conf/terraform.h"

#include <string.h>

#include "conf/seek.h"

const struct conf_value *
terraform_member(const struct conf_value *o, const char *name)
{
	for (size_t i = 0; o != NULL && o->kind == CONF_OBJECT && i < o->nitems; i++)
		if (strcmp(o->keys[i], name) == 0)
			return &o->items[i];
	return NULL;
}

static void
terraform_seek_one(const char *type, const struct conf_value *body, struct conf_terraform *ret)
{
	if (body == NULL || ret->n++ > 0)
		return;
	ret->type = type;
	ret->body = body;
	ret->pos = body->pos;
}

/* The backend blocks inside v, which is the member "terraform" or "backend" of its parent, one or an array of them. */
static void
terraform_seek_json(const struct conf_value *v, bool is_backend, struct conf_terraform *ret)
{
	if (v == NULL)
		return;
	if (v->kind == CONF_ARRAY)
		for (size_t i = 0; i < v->nitems; i++)
			terraform_seek_json(&v->items[i], is_backend, ret);
	if (v->kind != CONF_OBJECT)
		return;
	if (!is_backend) {
		terraform_seek_json(terraform_member(v, "backend"), true, ret);
		terraform_seek_one("cloud", terraform_member(v, "cloud"), ret);
		return;
	}
	for (size_t i = 0; i < v->nitems; i++)
		if (strcmp(v->keys[i], "//") != 0)
			terraform_seek_one(v->keys[i], &v->items[i], ret);
}

void
terraform_seek(const struct conf_value *root, struct conf_terraform *ret)
{
	*ret = (struct conf_terraform){ .n = 0, .pos = root->pos };
	terraform_seek_json(terraform_member(root, "terraform"), false, ret);
	terraform_seek_json(terraform_member(root, "backend"), true, ret);
}

/* Without the mark that some editors put before UTF-8. */
struct span
terraform_unmarked(struct span text)
{
	return span_starts(text, "\xef\xbb\xbf") ? span_of(text.p + 3, text.n - 3) : text;
}

static bool
terraform_is_name(struct span line)
{
	static const char *const names[] = { "key", "prefix" };
	size_t                   n = 0, len;

	while (n < line.n && (line.p[n] == ' ' || line.p[n] == '\t' || line.p[n] == '"'))
		n++;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		len = strlen(names[i]);
		if (line.n - n <= len || memcmp(line.p + n, names[i], len) != 0)
			continue;
		for (n += len; n < line.n && (line.p[n] == ' ' || line.p[n] == '\t' || line.p[n] == '"');)
			n++;
		return n < line.n && line.p[n] == '=' && (memmem(line.p, line.n, "${", 2) != NULL || memchr(line.p, '(', line.n) != NULL);
	}
	return false;
}

struct span
terraform_unnamed(struct conf *c, struct span text, bool *ret_whole)
{
	uint8_t *copy = arena_alloc(c->arena, text.n + 1), *end = copy + text.n;

	memcpy(copy, text.p, text.n);
	*ret_whole = false;
	for (uint8_t *line = copy, *nl; line < end; line = nl + 1) {
		nl = memchr(line, '\n', (size_t)(end - line));
		nl = nl != NULL ? nl : end;
		if (!terraform_is_name(span_of(line, (size_t)(nl - line))))
			continue;
		memset(line, ' ', (size_t)(nl - line));
		*ret_whole = true;
	}
	return span_of(copy, text.n);
}

/* The type of a block that conf_seek() found; NULL: it says none. */
const char *
terraform_type(struct conf_block *b)
{
	const struct conf_attr *a;

	if (strcmp(b->type, CONF_REMOTE_STATE) == 0)
		return (a = conf_attr(b, "backend")) != NULL && a->value.kind == CONF_TEXT ? a->value.text : NULL;
	if (strcmp(b->type, "backend") == 0)
		return b->nlabels == 1 ? b->labels[0] : NULL;
	return b->type;
}

enum err_code
terraform_no_type(const struct conf_block *b, struct err *reterr)
{
	return conf_error(reterr, b->pos, strcmp(b->type, CONF_REMOTE_STATE) == 0 ? "expected the argument backend in remote_state, its type" :
	    "expected one label after backend, its type");
}

enum err_code
terraform_recorded(const struct conf_value *root, struct conf_terraform *ret, struct err *reterr)
{
	const struct conf_value *backend = terraform_member(root, "backend"), *type = terraform_member(backend, "type");

	*ret = (struct conf_terraform){ .n = 1, .pos = root->pos, .body = terraform_member(backend, "config") };
	if (type == NULL || type->kind != CONF_TEXT || ret->body == NULL) {
		conf_error(reterr, root->pos, "expected what \"terraform init\" writes to .terraform/terraform.tfstate, found no backend in it");
		return err_hint(reterr, "run terraform init where the backend block is, or name the .tf file");
	}
	ret->type = type->text;
	ret->pos = type->pos;
	return ERR_OK;
}

/* The head of the block is enough, so that expressions inside are no error yet; the type of remote_state is an argument. */
static enum err_code
terraform_type_hcl(struct conf *c, const struct conf_sought *at, struct conf_terraform *ret, struct err *reterr)
{
	const uint8_t   *brace = memchr(at->text.p, '{', at->text.n);
	struct conf_body root = { 0 };
	struct span      text = at->text;
	char            *head;

	if (!span_starts(text, CONF_REMOTE_STATE) && brace != NULL) {
		head = arena_printf(c->arena, "%.*s{}", (int)(brace - text.p), (const char *)text.p);
		text = span_str(head);
	} else {
		text = terraform_unnamed(c, text, &ret->whole);
	}
	ret->pos = at->pos;
	if (conf_parse_foreign(c, at->pos, text, &root, reterr) != ERR_OK)
		return ERR_CONFIG;
	ret->type = terraform_type(&root.blocks[0]);
	return ret->type != NULL ? ERR_OK : terraform_no_type(&root.blocks[0], reterr);
}

static enum err_code
terraform_type_json(struct conf *c, const char *path, struct span text, struct conf_terraform *ret, struct err *reterr)
{
	struct conf_value *root = arena_alloc(c->arena, sizeof(*root));

	if (conf_parse_json_value(c, path, text, root, reterr) != ERR_OK)
		return ERR_CONFIG;
	if (!span_ends(span_str(path), ".tfstate"))
		terraform_seek(root, ret);
	else if (terraform_member(root, "backend") != NULL)
		return terraform_recorded(root, ret, reterr);
	return ERR_OK;
}

enum err_code
conf_terraform(struct conf *c, const char *path, struct span text, struct conf_terraform *ret, struct err *reterr)
{
	struct conf_sought at;
	struct span        name = span_str(path);

	*ret = (struct conf_terraform){ .n = 0, .pos = { path, 1, 1 } };
	if (span_ends(name, ".json") || span_ends(name, ".tfstate"))
		return terraform_type_json(c, path, text.n > 0 ? text : SPAN_LIT(""), ret, reterr);
	ret->n = conf_seek(path, terraform_unmarked(text), &at);
	return ret->n > 0 ? terraform_type_hcl(c, &at, ret, reterr) : ERR_OK;
}

