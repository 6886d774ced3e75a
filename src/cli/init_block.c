/* SPDX-License-Identifier: MIT */
/* What becomes of places that are one: a block, with credentials left in the files that have them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "init.h"

#define INIT_LOCAL_FILE "terraform.tfstate"

/* Of nested blocks and objects: what is no credential. All else stays in its file. */
static const char *const init_plain[] = { "role_arn", "session_name", "external_id", "duration", "policy", "policy_arns", "source_identity",
	"tags", "transitive_tag_keys", "web_identity_token_file", "name", "prefix", "project" };

void
init_plain_fields(struct init *in)
{
	in->plain = arena_alloc(in->arena, (ARRAY_LEN(init_plain) + 1) * sizeof(*in->plain));
	for (size_t i = 0; i < ARRAY_LEN(init_plain); i++)
		in->plain[i].name = init_plain[i];
}

struct init_block {
	struct conf_block        block;
	struct conf_attr         attrs[256];
	const struct conf_field *tables[CONF_TABLES_MAX + 1];
};

static void
init_put(struct init_block *b, const char *name, struct conf_value v)
{
	for (size_t i = 0; i < b->block.nattrs; i++)
		if (strcmp(b->attrs[i].name, name) == 0) {
			b->attrs[i].value = v;
			return;
		}
	if (b->block.nattrs < ARRAY_LEN(b->attrs))
		b->attrs[b->block.nattrs++] = (struct conf_attr){ .name = name, .value = v };
}

static struct conf_value
init_text_value(const char *text)
{
	return (struct conf_value){ .kind = CONF_TEXT, .text = text };
}

static struct conf_value
init_list_value(const struct init *in, const char *const *texts, size_t n)
{
	struct conf_value *items = arena_alloc(in->arena, (n + 1) * sizeof(*items));

	for (size_t i = 0; i < n; i++)
		items[i] = init_text_value(texts[i]);
	return (struct conf_value){ .kind = CONF_ARRAY, .items = items, .nitems = n };
}

/* Terraform takes it from where it runs, which is not where our configuration is. */
static struct conf_value
init_absolute(const struct init *in, const struct init_place *p, const char *name, const struct conf_value *v)
{
	struct span       s = span_str(name);
	struct conf_value ret = *v;

	if (!span_ends(s, "_file") && !span_ends(s, "_files") && !span_ends(s, "_path"))
		return ret;
	if (v->kind == CONF_TEXT && v->text[0] != '\0' && v->text[0] != '/' && v->text[0] != '~')
		ret.text = arena_printf(in->arena, "%s/%s", p->found->dir, v->text);
	if (v->kind == CONF_ARRAY)
		ret.items = arena_alloc(in->arena, (v->nitems + 1) * sizeof(*v->items));
	for (size_t i = 0; v->kind == CONF_ARRAY && i < v->nitems; i++)
		ret.items[i] = init_absolute(in, p, name, &v->items[i]);
	return ret;
}

static const struct conf_field *
init_field(const struct init_place *p, const char *name)
{
	for (const struct conf_field *f = p->provider->fields; f->name != NULL; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

/* Objects such as assume_role print as blocks, whose members are known one by one. */
static void
init_inner(const struct init *in, struct init_block *b, const char *name, const struct conf_value *v)
{
	struct conf_block *blocks = arena_alloc(in->arena, (b->block.nblocks + 1) * sizeof(*blocks));

	if (b->block.nblocks > 0)
		memcpy(blocks, b->block.blocks, b->block.nblocks * sizeof(*blocks));
	blocks[b->block.nblocks] = *conf_inner(in->d->conf, name, v);
	memset(blocks[b->block.nblocks].tables, 0, sizeof(blocks->tables));
	blocks[b->block.nblocks].tables[0] = in->plain;
	b->block.blocks = blocks;
	b->block.nblocks++;
}

/* What init recorded names every argument. */
static void
init_drop_nulls(const struct init *in, struct conf_block *b)
{
	struct conf_attr *attrs = arena_alloc(in->arena, (b->nattrs + 1) * sizeof(*attrs));
	size_t            n = 0;

	for (size_t i = 0; i < b->nattrs; i++)
		if (b->attrs[i].value.kind != CONF_NULL)
			attrs[n++] = b->attrs[i];
	b->attrs = attrs;
	b->nattrs = n;
}

/* The arguments as they are, one by one. */
static void
init_copy(const struct init *in, const struct init_place *p, struct init_block *b, struct buf *left_out)
{
	struct conf_block *blocks = arena_alloc(in->arena, (p->block->nblocks + 1) * sizeof(*blocks));
	const char        *path = init_value(p, "path");

	b->block.blocks = blocks;
	for (size_t i = 0; i < p->block->nblocks; i++) {
		blocks[i] = p->block->blocks[i];
		if (blocks[i].tables[0] == NULL)
			blocks[i].tables[0] = in->plain;
		init_drop_nulls(in, &blocks[i]);
	}
	b->block.nblocks = p->block->nblocks;
	for (size_t i = 0; i < p->block->nattrs; i++) {
		const struct conf_attr  *a = &p->block->attrs[i];
		const struct conf_field *f = init_field(p, a->name);

		if (strcmp(a->name, CONF_IMPORT) == 0 || a->value.kind == CONF_NULL)
			continue;
		if (f != NULL && f->later != NULL) {
			buf_printf(left_out, "%s%s", left_out->len > 0 ? ", " : "", a->name);
			continue;
		}
		if (f != NULL && f->type == CONF_INNER && a->value.kind == CONF_OBJECT)
			init_inner(in, b, a->name, &a->value);
		else
			init_put(b, a->name, init_absolute(in, p, a->name, &a->value));
	}
	if (p->provider != &provider_local)
		return;
	if (path[0] == '\0')
		init_put(b, "path", init_text_value(arena_printf(in->arena, "%s/" INIT_LOCAL_FILE, p->found->dir)));
	else if (conf_attr(p->block, "workspace_dir") == NULL && !span_is(span_of(path, (size_t)(strrchr(path, '/') - path)), p->found->dir))
		init_put(b, "workspace_dir", init_text_value(arena_printf(in->arena, "%s/" INIT_LOCAL_FILE ".d", p->found->dir)));
}

/* The folder that all names of the group have in common, with "/" at its end. */
static const char *
init_common(const struct init *in, size_t g, bool folders)
{
	const char *common = NULL;

	for (size_t i = 0; i < in->nplaces; i++) {
		const struct init_place *p = &in->places[i];
		const char              *name = arena_printf(in->arena, "%s%s", p->name, folders && p->name[0] != '\0' ? "/" : "");
		size_t                   n = 0, end = 0;

		if (p->group != g || p->again)
			continue;
		for (; common != NULL && common[n] != '\0' && common[n] == name[n]; n++)
			end = name[n] == '/' ? n + 1 : end;
		common = common == NULL ? arena_span(in->arena, span_of(name, (size_t)(strrchr(name, '/') != NULL ?
		    strrchr(name, '/') + 1 - name : 0))) : arena_span(in->arena, span_of(name, end));
	}
	return common != NULL ? common : "";
}

/* The whole organization is listed, and these are taken; addresses list nothing by themselves. */
static void
init_narrow_names(const struct init *in, size_t g, struct init_block *b)
{
	const struct init_place *p = in->groups[g].first;
	bool                     addresses = init_kind(p)->names == INIT_ADDRESS;
	const char **names = arena_alloc(in->arena, (in->groups[g].n + 1) * sizeof(*names));
	size_t       n = 0, left = 0;

	for (size_t i = 0; i < in->nplaces; i++)
		if (in->places[i].group == g && !in->places[i].again)
			names[n++] = in->places[i].name;
	for (size_t i = 0; i < b->block.nblocks; i++)
		if (addresses || strcmp(b->block.blocks[i].type, init_kind(p)->argument) != 0)
			b->block.blocks[left++] = b->block.blocks[i];
	b->block.nblocks = left;
	for (size_t i = 0; addresses && i < ARRAY_LEN(init_addresses); i++)
		if (init_value(p, init_addresses[i])[0] != '\0')
			init_put(b, init_addresses[i], init_text_value(init_template(in, init_value(p, init_addresses[i]))));
	init_put(b, addresses ? "states" : "include", init_list_value(in, names, n));
}

/* Several states of one bucket: a listing finds them, below the folder that they share. */
static void
init_narrow(const struct init *in, size_t g, struct init_block *b)
{
	const struct init_place *p = in->groups[g].first;
	const struct init_kind  *k = init_kind(p);
	const char              *folder = init_common(in, g, k->names == INIT_FOLDER), *globs[2];
	const char              *other = k->workspaces[0] != '\0' ? init_value(p, k->workspaces) : "";
	size_t                   n = strlen(folder);

	if (k->names == INIT_BLOCK || k->names == INIT_ADDRESS) {
		init_narrow_names(in, g, b);
		return;
	}
	if (k->names == INIT_FOLDER) {
		in->groups[g].wide = n == 0;
		init_put(b, k->argument, init_text_value(n > 0 ? arena_span(in->arena, span_of(folder, n - 1)) : ""));
		return;
	}
	in->groups[g].wide = n == 0;
	init_put(b, k->argument, init_text_value("")); /* one of from_file does not count then */
	if (n == 0)
		return;
	if (k->workspaces[0] == '\0' || (other[0] != '\0' && strncmp(other, folder, n) == 0)) {
		init_put(b, "prefix", init_text_value(folder));
		return;
	}
	globs[0] = arena_printf(in->arena, "%s**", folder);
	globs[1] = arena_printf(in->arena, "%s/*/%s**", other[0] != '\0' ? other : "env:", folder);
	init_put(b, "include", init_list_value(in, globs, 2));
}

static void
init_drop_empty(struct init_block *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->block.nattrs; i++)
		if (b->attrs[i].value.kind != CONF_TEXT || b->attrs[i].value.text[0] != '\0')
			b->attrs[n++] = b->attrs[i];
	b->block.nattrs = n;
}

/* Would it be masked: a credential, or what may hold one. A key's id goes with the key. */
static bool
init_is_hidden(const struct init_block *b, struct conf_attr *attr, struct conf_block *block)
{
	struct conf_block one = b->block;
	struct buf        text;
	bool              is;

	one.attrs = attr;
	one.nattrs = attr != NULL;
	one.blocks = block;
	one.nblocks = block != NULL;
	buf_init(&text, 0);
	conf_print_written(&one, b->tables, &text);
	is = strstr(buf_str(&text), CONF_MASK) != NULL || (attr != NULL && strcmp(attr->name, "access_key") == 0);
	buf_wipe_free(&text);
	return is;
}

/* Takes out what is hidden; its names in ret. */
static void
init_hide(struct init_block *b, struct buf *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < b->block.nattrs; i++)
		if (init_is_hidden(b, &b->attrs[i], NULL))
			buf_printf(ret, "%s%s", ret->len > 0 ? ", " : "", b->attrs[i].name);
		else
			b->attrs[n++] = b->attrs[i];
	b->block.nattrs = n;
	n = 0;
	for (size_t i = 0; i < b->block.nblocks; i++)
		if (init_is_hidden(b, NULL, &b->block.blocks[i]))
			buf_printf(ret, "%s%s", ret->len > 0 ? ", " : "", b->block.blocks[i].type);
		else
			b->block.blocks[n++] = b->block.blocks[i];
	b->block.nblocks = n;
}

/* Credentials stay in the file that has them, which from_file names. */
void
init_block(struct init *in, size_t g)
{
	struct init_group *group = &in->groups[g];
	struct init_place *p = group->first;
	struct init_block *b = xcalloc(1, sizeof(*b));
	const char        *labels[] = { p->provider->name, group->label };
	struct buf         text, hidden, left_out;

	buf_init(&text, 0);
	buf_init(&hidden, 0);
	buf_init(&left_out, 0);
	b->block = (struct conf_block){ .type = "backend", .labels = labels, .nlabels = 2, .attrs = b->attrs };
	b->tables[0] = p->provider->fields;
	b->tables[1] = provider_common_fields;
	init_copy(in, p, b, &left_out);
	init_hide(b, &hidden);
	if (group->n > 1 || p->found->whole)
		init_narrow(in, g, b);
	else
		group->wide = init_kind(p) != NULL && (init_kind(p)->names == INIT_STATE || init_kind(p)->names == INIT_FOLDER) && p->name[0] == '\0';
	if (group->exclude.n > 0)
		init_put(b, "exclude", init_list_value(in, group->exclude.items, group->exclude.n));
	if (hidden.len > 0)
		init_put(b, CONF_IMPORT, conf_attr(p->block, CONF_IMPORT)->value);
	else
		init_drop_empty(b);
	conf_print_written(&b->block, b->tables, &text);
	group->text = arena_strdup(in->arena, buf_str(&text));
	group->hidden = arena_strdup(in->arena, buf_str(&hidden));
	buf_free(&text);
	group->left_out = arena_strdup(in->arena, buf_str(&left_out));
	buf_free(&hidden);
	buf_free(&left_out);
	free(b);
}
