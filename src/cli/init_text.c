/* SPDX-License-Identifier: MIT */
/* What "stateferry init" prints: states of one bucket in one block, credentials left where they are, comments that say from where. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "init.h"

#define INIT_LABEL_MAX  60
#define INIT_SHOWN_MAX  20     /* states that the comment above a block names */
#define INIT_LOCAL_FILE "terraform.tfstate"

/* Of nested blocks and objects: what is no credential. All else stays in its file. */
static const char *const init_plain[] = { "role_arn", "session_name", "external_id", "duration", "policy", "policy_arns", "source_identity",
	"tags", "transitive_tag_keys", "web_identity_token_file", "name", "prefix", "project" };

/* What names a state in its bucket or organization. */
static const struct init_kind {
	const char *provider, *argument;
	const char *workspaces; /* the argument of another folder that holds the states of workspaces, "" for none */
	enum { INIT_STATE, INIT_FOLDER, INIT_BLOCK } names; /* the argument names a state, or a folder of them; a block's "name" does */
} init_kinds[] = { { "s3", "key", "workspace_key_prefix", INIT_STATE }, { "azurerm", "key", "", INIT_STATE },
	{ "gcs", "prefix", "", INIT_FOLDER }, { "cloud", "workspaces", "", INIT_BLOCK }, { "remote", "workspaces", "", INIT_BLOCK } };

static const struct init_kind *
init_kind(const struct init_place *p)
{
	for (size_t i = 0; i < ARRAY_LEN(init_kinds); i++)
		if (strcmp(init_kinds[i].provider, p->provider->name) == 0)
			return &init_kinds[i];
	return NULL;
}

static const char *
init_text_of(struct conf_block *b, const char *name)
{
	const struct conf_attr *a = conf_attr(b, name);

	return a != NULL && a->value.kind == CONF_TEXT ? a->value.text : "";
}

static const char *
init_value(const struct init_place *p, const char *name)
{
	return init_text_of(p->block, name);
}

static const char *
init_name(const struct init_place *p)
{
	const struct init_kind *k = init_kind(p);

	for (size_t i = 0; k != NULL && k->names == INIT_BLOCK && i < p->block->nblocks; i++)
		if (strcmp(p->block->blocks[i].type, k->argument) == 0)
			return init_text_of(&p->block->blocks[i], "name");
	return k != NULL ? init_value(p, k->argument) : "";
}

/* --- which places are one ------------------------------------------------------------------------------------------- */

static bool
init_same_value(const struct conf_value *a, const struct conf_value *b)
{
	if (a->kind != b->kind || a->nitems != b->nitems || a->boolean != b->boolean)
		return false;
	if ((a->kind == CONF_TEXT || a->kind == CONF_NUM) && strcmp(a->text, b->text) != 0)
		return false;
	for (size_t i = 0; i < a->nitems; i++)
		if ((a->kind == CONF_OBJECT && strcmp(a->keys[i], b->keys[i]) != 0) || !init_same_value(&a->items[i], &b->items[i]))
			return false;
	return true;
}

/* Every argument of a but except and from_file stands in b too. */
static bool
init_covers(struct conf_block *a, struct conf_block *b, const char *except)
{
	for (size_t i = 0; i < a->nattrs; i++) {
		const struct conf_attr *x = &a->attrs[i], *y = conf_attr(b, x->name);

		if (strcmp(x->name, CONF_IMPORT) == 0 || strcmp(x->name, except) == 0)
			continue;
		if (y == NULL || !init_same_value(&x->value, &y->value))
			return false;
	}
	for (size_t i = 0, k; i < a->nblocks; i++) {
		if (strcmp(a->blocks[i].type, except) == 0)
			continue;
		for (k = 0; k < b->nblocks; k++)
			if (strcmp(a->blocks[i].type, b->blocks[k].type) == 0 && init_covers(&a->blocks[i], &b->blocks[k], "") &&
			    init_covers(&b->blocks[k], &a->blocks[i], ""))
				break;
		if (k == b->nblocks)
			return false;
	}
	return true;
}

/* A listing finds it, so that it needs no block of its own. */
static bool
init_is_listed(const struct init_place *p)
{
	const struct init_kind *k = init_kind(p);

	if (k != NULL && k->names == INIT_BLOCK) /* own credentials would come by the file, and its block of workspaces with them */
		return p->name[0] != '\0' && conf_attr(p->block, "token") == NULL;
	return k != NULL && (k->names == INIT_FOLDER || p->found->whole || (span_ends(span_str(p->name), ".tfstate") && strchr(p->name, '%') == NULL));
}

/* With other credentials perhaps. Where an organization is, is not yet which of its workspaces. */
static bool
init_is_same(const struct init_place *a, const struct init_place *b)
{
	const struct init_kind *k = init_kind(a);

	if (a->provider != b->provider || strcmp(a->where, b->where) != 0)
		return false;
	return k == NULL || k->names != INIT_BLOCK || (init_covers(a->block, b->block, "token") && init_covers(b->block, a->block, "token"));
}

static bool
init_fits(const struct init_place *a, const struct init_place *b)
{
	const struct init_kind *k = init_kind(a);

	if (a->provider != b->provider)
		return false;
	if (init_is_same(a, b))
		return true;
	return k != NULL && init_is_listed(a) && init_is_listed(b) && init_covers(a->block, b->block, k->argument) &&
	    init_covers(b->block, a->block, k->argument);
}

static void
init_add(struct init *in, struct init_place *p)
{
	size_t g = 0;

	while (g < in->ngroups && !init_fits(in->groups[g].first, p))
		g++;
	for (struct init_place *q = in->places; q < p && !p->again; q++)
		if (init_is_same(q, p)) {
			p->again = true;
			g = q->group;
		}
	p->group = g;
	if (g == in->ngroups)
		in->groups[in->ngroups++] = (struct init_group){ .first = p };
	in->groups[g].n += !p->again;
}

/* --- labels ---------------------------------------------------------------------------------------------------------- */

/* Letters, digits, "-", "_" and "." of text; the rest is "-", never two of them. */
static void
init_word(struct buf *out, const char *text)
{
	for (; *text != '\0' && out->len < INIT_LABEL_MAX; text++) {
		bool fits = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.", *text) != NULL;

		if (fits)
			buf_putc(out, *text);
		else if (out->len > 0 && out->data[out->len - 1] != '-')
			buf_putc(out, '-');
	}
	while (out->len > 0 && out->data[out->len - 1] == '-')
		out->data[--out->len] = '\0';
}

/* What a person would call it: the bucket, the account and container, the end of an address, the folder. */
static void
init_word_of(const struct init *in, const struct init_place *p, struct buf *out)
{
	static const char *const arguments[] = { "bucket", "storage_account_name", "organization", "hostname" };
	const char              *address = init_value(p, "address"), *base;
	size_t                   n = strcspn(address, "?#");

	for (size_t i = 0; i < ARRAY_LEN(arguments) && out->len == 0; i++)
		init_word(out, init_value(p, arguments[i]));
	if (out->len > 0 && init_value(p, "container_name")[0] != '\0') {
		buf_putc(out, '-');
		init_word(out, init_value(p, "container_name"));
	}
	if (out->len == 0 && n > 0) {
		n -= span_ends(span_of(address, n), "/terraform-backend") ? strlen("/terraform-backend") : 0; /* Harness */
		while (n > 0 && address[n - 1] == '/')
			n--;
		for (base = address + n; base > address && base[-1] != '/';)
			base--;
		init_word(out, arena_span(in->arena, span_of(base, (size_t)(address + n - base))));
	}
	if (out->len == 0)
		init_word(out, init_relative(in, p->found->dir));
	if (out->len == 0)
		init_word(out, p->provider->name);
}

static bool
init_is_taken(const struct init *in, size_t g, const char *label)
{
	bool taken = strcmp(label, INIT_TARGET) == 0;

	for (size_t i = 0; i < g && !taken; i++)
		taken = strcmp(in->groups[i].label, label) == 0;
	return taken;
}

static void
init_label(struct init *in, size_t g)
{
	struct buf  b;
	const char *word, *label;

	buf_init(&b, 0);
	init_word_of(in, in->groups[g].first, &b);
	label = word = arena_strdup(in->arena, buf_str(&b));
	for (unsigned n = 2; init_is_taken(in, g, label); n++)
		label = arena_printf(in->arena, "%s-%u", word, n);
	in->groups[g].label = label;
	buf_free(&b);
}

/* --- one block ------------------------------------------------------------------------------------------------------- */

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
init_copy(const struct init *in, const struct init_place *p, struct init_block *b)
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

		if (strcmp(a->name, CONF_IMPORT) == 0 || (f != NULL && f->later != NULL) || a->value.kind == CONF_NULL)
			continue;
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

/* The whole organization is listed, and these are taken. */
static void
init_narrow_names(const struct init *in, size_t g, struct init_block *b)
{
	const char **names = arena_alloc(in->arena, (in->groups[g].n + 1) * sizeof(*names));
	size_t       n = 0, left = 0;

	for (size_t i = 0; i < in->nplaces; i++)
		if (in->places[i].group == g && !in->places[i].again)
			names[n++] = in->places[i].name;
	for (size_t i = 0; i < b->block.nblocks; i++)
		if (strcmp(b->block.blocks[i].type, init_kind(in->groups[g].first)->argument) != 0)
			b->block.blocks[left++] = b->block.blocks[i];
	b->block.nblocks = left;
	init_put(b, "include", init_list_value(in, names, n));
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

	if (k->names == INIT_BLOCK) {
		init_narrow_names(in, g, b);
		return;
	}
	if (k->names == INIT_FOLDER) {
		init_put(b, k->argument, init_text_value(n > 0 ? arena_span(in->arena, span_of(folder, n - 1)) : ""));
		return;
	}
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
static void
init_block(struct init *in, size_t g)
{
	struct init_group *group = &in->groups[g];
	struct init_place *p = group->first;
	struct init_block *b = xcalloc(1, sizeof(*b));
	const char        *labels[] = { p->provider->name, group->label };
	struct buf         text, hidden;

	buf_init(&text, 0);
	buf_init(&hidden, 0);
	b->block = (struct conf_block){ .type = "backend", .labels = labels, .nlabels = 2, .attrs = b->attrs };
	b->tables[0] = p->provider->fields;
	b->tables[1] = provider_common_fields;
	init_copy(in, p, b);
	init_hide(b, &hidden);
	if (group->n > 1)
		init_narrow(in, g, b);
	if (hidden.len > 0)
		init_put(b, CONF_IMPORT, conf_attr(p->block, CONF_IMPORT)->value);
	else
		init_drop_empty(b);
	conf_print_written(&b->block, b->tables, &text);
	group->text = arena_strdup(in->arena, buf_str(&text));
	group->hidden = arena_strdup(in->arena, buf_str(&hidden));
	buf_free(&text);
	buf_free(&hidden);
	free(b);
}

void
init_group(struct init *in)
{
	in->groups = xcalloc(in->nplaces + 1, sizeof(*in->groups));
	in->plain = arena_alloc(in->arena, (ARRAY_LEN(init_plain) + 1) * sizeof(*in->plain));
	for (size_t i = 0; i < ARRAY_LEN(init_plain); i++)
		in->plain[i].name = init_plain[i];
	for (size_t i = 0; i < in->nplaces; i++)
		in->places[i].name = init_name(&in->places[i]);
	for (size_t i = 0; i < in->nplaces; i++)
		init_add(in, &in->places[i]);
	for (size_t g = 0; g < in->ngroups; g++) {
		init_label(in, g);
		init_block(in, g);
	}
}

/* --- the whole ------------------------------------------------------------------------------------------------------- */

const char *
init_relative(const struct init *in, const char *path)
{
	size_t n = strlen(in->d->dir);

	if (strncmp(path, in->d->dir, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return path;
	return path[n] == '/' ? path + n + 1 : strrchr(path, '/') + 1;
}

/* Names come from files of others: no line of a comment ends before we end it. */
static void
init_comment(struct buf *out, const char *text)
{
	uint8_t  utf8[4];
	uint32_t c;

	for (struct span s = span_str(text); s.n > 0;) {
		size_t n = utf8_next(s.p, s.n, &c);

		buf_put(out, utf8, utf8_put(utf8, c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ? '?' : c));
		s = span_of(s.p + n, s.n - n);
	}
}

static void
init_at(const struct init *in, struct buf *out, const char *path, unsigned line)
{
	init_comment(out, init_relative(in, path));
	if (line > 0)
		buf_printf(out, ":%u", line);
}

static void
init_states(const struct init *in, size_t g, struct buf *out)
{
	size_t shown = 0, more = 0;

	for (size_t i = 0; i < in->nplaces; i++) {
		const struct init_place *p = &in->places[i];

		if (p->group != g)
			continue;
		if (shown++ >= INIT_SHOWN_MAX) {
			more++;
			continue;
		}
		buf_puts(out, "# ");
		init_at(in, out, p->found->pos.file, p->found->pos.line);
		if (p->found->args != NULL) {
			buf_puts(out, " with ");
			init_at(in, out, p->found->args, 0);
		}
		if (p->name[0] != '\0') {
			buf_puts(out, ": ");
			init_comment(out, p->name);
		}
		if (p->found->workspace != NULL) {
			buf_puts(out, ", workspace ");
			init_comment(out, p->found->workspace);
		}
		buf_putc(out, '\n');
	}
	if (more > 0)
		buf_printf(out, "# and %zu more, which --json names\n", more);
}

/* What a reader has to know before the block is used. */
static void
init_remarks(const struct init *in, size_t g, struct buf *out)
{
	const struct init_group *group = &in->groups[g];
	const struct init_place *p = group->first;

	for (size_t i = 0; i < p->block->nattrs; i++) {
		const struct conf_field *f = init_field(p, p->block->attrs[i].name);

		if (f != NULL && f->later != NULL && p->block->attrs[i].value.kind != CONF_NULL)
			buf_printf(out, "# Left out, for this version does not do it: %s\n", f->name);
	}
	if (group->hidden[0] != '\0')
		buf_printf(out, "# Read from the file that has it: %s. Better here, as env(\"...\") or file(\"...\"), and from_file away.\n",
		    group->hidden);
	if ((group->n > 1 || p->found->whole) && init_kind(p) != NULL && init_kind(p)->names != INIT_BLOCK &&
	    init_common(in, g, init_kind(p)->names == INIT_FOLDER)[0] == '\0')
		buf_puts(out, "# All states of the bucket, whoever keeps them there; \"include\" would narrow it.\n");
	if (p->variables[0] != '\0')
		buf_printf(out, "# From the environment, which the agent needs too: %s\n", p->variables);
}

static void
init_edges(const struct init *in, struct buf *out)
{
	for (size_t g = 0; g < in->ngroups; g++) {
		if (in->groups[g].dropped)
			continue;
		buf_puts(out, "\nreplicate ");
		conf_quote(out, in->groups[g].label);
		buf_puts(out, " {\n  from = ");
		conf_quote(out, in->groups[g].label);
		buf_puts(out, "\n  to   = [\"" INIT_TARGET "\"]\n  key  = \"{backend}/{name}\"\n}\n");
	}
}

void
init_text(const struct init *in, struct buf *ret)
{
	buf_puts(ret, "# From \"stateferry init\": where terraform keeps the states of ");
	init_comment(ret, in->d->dir);
	buf_puts(ret, "\n# This passes \"stateferry config check\"; with --probe that also asks each place. \"stateferry sync\" copies.\n");
	for (size_t g = 0; g < in->ngroups; g++) {
		if (in->groups[g].dropped)
			continue;
		buf_putc(ret, '\n');
		init_states(in, g, ret);
		init_remarks(in, g, ret);
		buf_puts(ret, in->groups[g].text);
	}
	if (in->d->nunread > 0)
		buf_puts(ret, "\n# Not in this configuration:\n");
	for (size_t i = 0; i < in->d->nunread; i++) {
		const struct discover_unread *u = &in->d->unread[i];

		buf_puts(ret, "# ");
		init_at(in, ret, u->path, u->line);
		buf_puts(ret, ": ");
		init_comment(ret, u->message);
		buf_puts(ret, u->hint[0] != '\0' ? "; " : "");
		init_comment(ret, u->hint);
		buf_putc(ret, '\n');
	}
	buf_puts(ret, "\n# Where the copies go. A folder beside this file is enough to see it work; what helps on a bad day is another account:\n"
	    "#\n# backend \"s3\" \"" INIT_TARGET "\" {\n#   bucket       = \"...\"\n#   region       = \"...\"\n#   profile      = \"...\"\n"
	    "#   use_lockfile = true\n#   create       = true\n# }\n"
	    "backend \"local\" \"" INIT_TARGET "\" {\n  dir    = \"" INIT_TARGET "\"\n  create = true\n}\n");
	init_edges(in, ret);
}
