/* SPDX-License-Identifier: MIT */
/* Which places are one: the same state, or states that differ in their names alone; and what to call them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "init.h"

#define INIT_LABEL_MAX  60

static const struct init_kind init_kinds[] = { { "s3", "key", "workspace_key_prefix", INIT_STATE }, { "azurerm", "key", "", INIT_STATE },
	{ "gcs", "prefix", "", INIT_FOLDER }, { "cloud", "workspaces", "", INIT_BLOCK }, { "remote", "workspaces", "", INIT_BLOCK },
	{ "http", "address", "", INIT_ADDRESS } };

const struct init_kind *
init_kind(const struct init_place *p)
{
	for (size_t i = 0; i < ARRAY_LEN(init_kinds); i++)
		if (strcmp(init_kinds[i].provider, p->provider->name) == 0)
			return &init_kinds[i];
	return NULL;
}

const struct init_platform *
init_platform(const struct init_place *p)
{
	static const struct init_platform platforms[] = {
		{ "/terraform-backend?accountIdentifier=", "harness", "A workspace of Harness, which is no backend \"harness\" because ", NULL },
		{ "/api/v4/projects/", NULL, "GitLab lists its states", "all of the project are found" },
		{ "/api/packages/", NULL, "Gitea and Forgejo keep several", "states = [\"...\"] takes as many" },
	};
	const char *address = strcmp(p->provider->name, "http") == 0 ? init_value(p, "address") : "";

	for (size_t i = 0; i < ARRAY_LEN(platforms); i++)
		if (strstr(address, platforms[i].mark) != NULL)
			return &platforms[i];
	return NULL;
}

static const char *
init_text_of(struct conf_block *b, const char *name)
{
	const struct conf_attr *a = conf_attr(b, name);

	return a != NULL && a->value.kind == CONF_TEXT ? a->value.text : "";
}

const char *
init_value(const struct init_place *p, const char *name)
{
	return init_text_of(p->block, name);
}

/* As GitLab and Gitea have it: ".../terraform/state/NAME". */
const char *const init_addresses[] = { "address", "lock_address", "unlock_address" };
#define INIT_BEFORE_NAME "/terraform/state/"

/* The name behind it; n 0: none that could be told from the address again. */
static struct span
init_end(const char *address)
{
	const char *at = strstr(address, INIT_BEFORE_NAME);
	size_t      n;

	if (at == NULL || strpbrk(address, "@?#{") != NULL)
		return span_of("", 0);
	at += strlen(INIT_BEFORE_NAME);
	n = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
	return span_of(at, at[n] == '\0' || at[n] == '/' ? n : 0);
}

const char *
init_template(const struct init *in, const char *address)
{
	struct span s = init_end(address);

	return s.n == 0 ? address : arena_printf(in->arena, "%.*s{name}%s", (int)(s.p - (const uint8_t *)address), address, (const char *)s.p + s.n);
}

static const char *
init_name(const struct init *in, const struct init_place *p)
{
	const struct init_kind *k = init_kind(p);

	if (k != NULL && k->names == INIT_ADDRESS)
		return arena_span(in->arena, init_end(init_value(p, k->argument)));
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

		if (strcmp(x->name, CONF_IMPORT) == 0 || strcmp(x->name, except) == 0 ||
		    (strcmp(except, init_addresses[0]) == 0 && span_ends(span_str(x->name), "_address")))
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

bool
init_is_listed(const struct init_place *p)
{
	const struct init_kind *k = init_kind(p);

	if (k != NULL && k->names == INIT_BLOCK) /* own credentials would come by the file, and its block of workspaces with them */
		return p->name[0] != '\0' && conf_attr(p->block, "token") == NULL;
	if (k != NULL && k->names == INIT_ADDRESS)
		return p->name[0] != '\0';
	return k != NULL && (k->names == INIT_FOLDER || p->found->whole || (span_ends(span_str(p->name), ".tfstate") && strchr(p->name, '%') == NULL));
}

/* With other credentials perhaps. Where an organization or a project is, is not yet which of its workspaces. */
static bool
init_is_same(const struct init_place *a, const struct init_place *b)
{
	const struct init_kind *k = init_kind(a);
	bool                    tells = a->provider == &provider_local || (k != NULL && k->names != INIT_BLOCK);

	if (a->provider != b->provider || strcmp(a->backend->where, b->backend->where) != 0)
		return false;
	return tells || (init_covers(a->block, b->block, "") && init_covers(b->block, a->block, ""));
}

static bool
init_is_beside(const struct init *in, const struct init_place *a, const struct init_place *b)
{
	for (size_t i = 0; i < ARRAY_LEN(init_addresses); i++) {
		const char *x = init_value(a, init_addresses[i]), *y = init_value(b, init_addresses[i]);

		if (strcmp(init_template(in, x), init_template(in, y)) != 0 || (x[0] != '\0' && !span_is(init_end(x), a->name)) ||
		    (y[0] != '\0' && !span_is(init_end(y), b->name)))
			return false;
	}
	return true;
}

static bool
init_fits(const struct init *in, const struct init_place *a, const struct init_place *b)
{
	const struct init_kind *k = init_kind(a);

	if (a->provider != b->provider)
		return false;
	if (init_is_same(a, b))
		return true;
	return k != NULL && init_is_listed(a) && init_is_listed(b) && init_covers(a->block, b->block, k->argument) &&
	    init_covers(b->block, a->block, k->argument) && (k->names != INIT_ADDRESS || init_is_beside(in, a, b));
}

static void
init_add(struct init *in, struct init_place *p)
{
	size_t g = 0;

	while (g < in->ngroups && !init_fits(in, in->groups[g].first, p))
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
		if (*text == '%' && text[1] != '\0' && text[2] != '\0')
			text += 2; /* a byte in a URL */
	}
	while (out->len > 0 && out->data[out->len - 1] == '-')
		out->data[--out->len] = '\0';
}

/* What a person would call it: the bucket, the account and container, the end of an address, the folder. */
static void
init_word_of(const struct init *in, const struct init_place *p, bool several, struct buf *out)
{
	static const char *const arguments[] = { "bucket", "storage_account_name", "organization", "hostname" };
	const char              *address = init_value(p, "address"), *base;
	size_t                   n = several && init_end(address).n > 0 ? (size_t)(strstr(address, INIT_BEFORE_NAME) - address) : strcspn(address, "?#");

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
	init_word_of(in, in->groups[g].first, in->groups[g].n > 1, &b);
	label = word = arena_strdup(in->arena, buf_str(&b));
	for (unsigned n = 2; init_is_taken(in, g, label); n++)
		label = arena_printf(in->arena, "%s-%u", word, n);
	in->groups[g].label = label;
	buf_free(&b);
}

void
init_group(struct init *in)
{
	in->groups = xcalloc(in->nplaces + 1, sizeof(*in->groups));
	init_plain_fields(in);
	for (size_t i = 0; i < in->nplaces; i++)
		in->places[i].name = init_name(in, &in->places[i]);
	for (size_t i = 0; i < in->nplaces; i++)
		init_add(in, &in->places[i]);
	for (size_t g = 0; g < in->ngroups; g++) {
		init_label(in, g);
		init_block(in, g);
	}
}
