/* SPDX-License-Identifier: MIT */
#include "brainboard.h"

#include <stdlib.h>

#include "net/url.h"

/* The driver: its blocks, what follows from the storages behind it, and the table of calls. */
static const char *const brainboard_regions[] = { "us1", "apac1", NULL };

#define AT(member) offsetof(struct brainboard_conf, member)

static const struct conf_field brainboard_fields[] = {
	{ .name = "region", .type = CONF_ENUM, .offset = AT(region), .def = "us1", .choices = brainboard_regions,
	    .help = "of the API: us1 or apac1" },
	{ .name = "api_base", .type = CONF_STR, .offset = AT(api_base), .help = "address of the API, instead of region" },
	{ .name = "token", .type = CONF_SECRET, .offset = AT(token),
	    .help = "of the API, for the inventory; without it architectures are those that the storage shows" },
	{ .name = "key", .type = CONF_STR, .offset = AT(key),
	    .help = "name of a state in its storage, with {uuid}; without it the form is found by listing" },
	{ .name = "architectures", .type = CONF_STRS, .offset = AT(architectures), .help = "only these UUIDs" },
	{ .name = NULL },
};

#undef AT
#define AT(member) offsetof(struct brainboard_select, member)

static const struct conf_field brainboard_select_fields[] = {
	{ .name = "project", .type = CONF_STR, .offset = AT(project), .help = "UUID, or a glob of the name" },
	{ .name = "environment", .type = CONF_STR, .offset = AT(environment), .help = "the same" },
	{ .name = "name", .type = CONF_STR, .offset = AT(name), .help = "UUID of an architecture, or a glob of its name" },
	{ .name = "status", .type = CONF_STR, .offset = AT(status), .help = "such as \"Deployed\"" },
	{ .name = NULL },
};

struct brainboard_own_conf {
	const char *key;
};

static const struct conf_field brainboard_own_fields[] = {
	{ .name = "key", .type = CONF_STR, .offset = offsetof(struct brainboard_own_conf, key),
	    .help = "name of this one's state in its storage, such as a workspace" },
	{ .name = NULL },
};

struct brainboard *
brainboard_of(const struct backend *b)
{
	return container_of(b, struct brainboard, b);
}

/* ---------------------------------------------------------------- blocks */

/* {uuid} stands in addresses where the http backend has {name}: names are UUIDs here. */
static void
brainboard_addresses(struct conf *c, struct conf_block *block)
{
	for (size_t i = 0; i < block->nattrs; i++) {
		struct conf_value *v = &block->attrs[i].value;

		for (const char *at; v->kind == CONF_TEXT && (at = strstr(v->text, "{uuid}")) != NULL;)
			v->text = arena_printf(conf_arena(c), "%.*s{name}%s", (int)(at - v->text), v->text, at + strlen("{uuid}"));
	}
}

static enum err_code
brainboard_managed(struct conf *c, struct conf_block *block, struct err *reterr)
{
	static const struct conf_field *const tables[] = { NULL };
	static const char *const              none[] = { NULL };

	return conf_finish(c, block, tables, none, reterr);
}

static enum err_code
brainboard_storage(struct brainboard *bb, struct conf *c, struct conf_block *block, struct err *reterr)
{
	struct brainboard_storage *s;
	struct buf                 fixed;

	bb->storages = xreallocarray(bb->storages, bb->nstorages + 1, sizeof(*s));
	s = &bb->storages[bb->nstorages];
	memset(s, 0, sizeof(*s));
	bb->nstorages++;
	if (block->nlabels == 1 && strcmp(block->labels[0], "managed") == 0)
		return brainboard_managed(c, block, reterr);
	brainboard_addresses(c, block);
	if (provider_open_inside(&bb->b, bb->env, c, block, &s->b, reterr) != ERR_OK)
		return reterr->code;
	buf_init(&fixed, 0);
	if (provider_fixed(s->b, "default", &fixed))
		s->fixed = buf_take(&fixed);
	buf_free(&fixed);
	s->listed = provider_findable(s->b, NULL) == ERR_OK;
	return ERR_OK;
}

static enum err_code
brainboard_check_key(const char *key, bool needs_uuid, struct conf_pos pos, struct err *reterr)
{
	const char *word = key != NULL ? strstr(key, "{uuid}") : NULL;

	if (key == NULL)
		return ERR_OK;
	if (needs_uuid && (word == NULL || strstr(word + 1, "{uuid}") != NULL))
		return conf_error(reterr, pos, "key: expected one {uuid} in it, as in \"{uuid}/terraform.tfstate\"");
	if (key[0] == '\0' || key[0] == '/')
		return conf_error(reterr, pos, "key neither is empty nor begins with \"/\"");
	return ERR_OK;
}

/* architecture "UUID" { key, storage }; its storage, if there is one, was opened last. */
static enum err_code
brainboard_architecture(struct brainboard *bb, struct conf *c, struct conf_block *block, struct err *reterr)
{
	static const struct conf_field *const tables[] = { brainboard_own_fields, NULL };
	static const char *const              blocks[] = { "storage", NULL };
	struct brainboard_own_conf            oc = { .key = NULL };
	struct brainboard_own                 own = { .uuid = NULL };
	char                                  uuid[UUID_LEN + 1];

	if (block->nlabels != 1 || !uuid_lower(span_str(block->labels[0]), uuid))
		return conf_error(reterr, block->pos, "architecture takes one label, its UUID");
	if (brainboard_own(bb, uuid) != NULL)
		return conf_error(reterr, block->pos, "a second block for the architecture %s", uuid);
	if (block->nblocks > 1)
		return conf_error(reterr, block->blocks[1].pos, "an architecture has one storage");
	if (conf_fields(c, block, brainboard_own_fields, &oc, reterr) != ERR_OK || conf_finish(c, block, tables, blocks, reterr) != ERR_OK ||
	    brainboard_check_key(oc.key, false, conf_where(block, "key"), reterr) != ERR_OK)
		return reterr->code;
	if (block->nblocks == 0 && oc.key == NULL)
		return conf_error(reterr, block->pos, "expected a storage block or the argument key in an architecture block");
	if (block->nblocks > 0 && brainboard_storage(bb, c, &block->blocks[0], reterr) != ERR_OK)
		return reterr->code;
	own.uuid = xstrdup(uuid);
	own.key = oc.key;
	bb->own = xreallocarray(bb->own, bb->nown + 1, sizeof(own));
	bb->own[bb->nown++] = own;
	return ERR_OK;
}

static enum err_code
brainboard_blocks(struct brainboard *bb, struct conf *c, struct conf_block *block, struct err *reterr)
{
	static const struct conf_field *const tables[] = { brainboard_select_fields, NULL };
	static const char *const              none[] = { NULL };
	struct conf_block                    *x;

	for (size_t i = 0; i < block->nblocks; i++) { /* that of all comes first */
		x = &block->blocks[i];
		if (strcmp(x->type, "storage") != 0)
			continue;
		if (bb->nstorages > 0)
			return conf_error(reterr, x->pos, "a second storage block; one architecture's own stands in architecture \"UUID\" { ... }");
		if (brainboard_storage(bb, c, x, reterr) != ERR_OK)
			return reterr->code;
	}
	if (bb->nstorages == 0)
		return conf_error(reterr, block->pos, "expected a block storage \"TYPE\" { ... }: where Brainboard keeps the states; TYPE is s3, "
		    "azurerm, gcs, remote, cloud, http or managed");
	for (size_t i = 0; i < block->nblocks; i++) {
		x = &block->blocks[i];
		if (strcmp(x->type, "architecture") == 0 && brainboard_architecture(bb, c, x, reterr) != ERR_OK)
			return reterr->code;
		if (strcmp(x->type, "select") != 0)
			continue;
		if (bb->selects)
			return conf_error(reterr, x->pos, "a second select block");
		bb->selects = true;
		if (conf_fields(c, x, brainboard_select_fields, &bb->select, reterr) != ERR_OK || conf_finish(c, x, tables, none, reterr) != ERR_OK)
			return reterr->code;
	}
	return ERR_OK;
}

/* ---------------------------------------------------------------- opening and closing */

static void
brainboard_close(struct backend *b)
{
	struct brainboard *bb = brainboard_of(b);

	for (size_t i = 0; i < bb->nstorages; i++) {
		provider_close(bb->storages[i].b);
		free(bb->storages[i].fixed);
	}
	for (size_t i = 0; i < bb->nown; i++) {
		free(bb->own[i].uuid);
		free(bb->own[i].pinned);
	}
	free(bb->storages);
	free(bb->own);
	brainboard_objects_free(bb->objects);
	map_free(bb->inventory);
	free(bb->api);
	free(bb);
}

static enum err_code
brainboard_set_api(struct brainboard *bb, struct conf_block *block, struct err *reterr)
{
	const char *base = bb->conf->api_base;
	struct url  u;
	struct err  e;
	size_t      n;

	if (base != NULL && conf_attr(block, "region") != NULL)
		return conf_error(reterr, conf_attr(block, "region")->pos, "either region or api_base, not both");
	if (base != NULL) {
		if (url_parse(base, &u, &e) != ERR_OK)
			return conf_error(reterr, conf_attr(block, "api_base")->pos, "api_base: %s", e.msg);
		n = strlen(base);
		if (u.user != NULL || u.query != NULL || (strcmp(u.scheme, "https") != 0 && !url_is_loopback(&u))) {
			url_free(&u);
			return conf_error(reterr, conf_attr(block, "api_base")->pos, "api_base: expected https, a host and perhaps a path, nothing else");
		}
		url_free(&u);
		while (n > 0 && base[n - 1] == '/')
			n--;
		bb->api = xstrndup(base, n);
	} else {
		bb->api = xasprintf("https://api.%s.brainboard.co", brainboard_regions[bb->conf->region]);
	}
	if (bb->conf->token != NULL && secret_len(bb->conf->token) > 0)
		return ERR_OK;
	free(bb->api);
	bb->api = NULL;
	return ERR_OK;
}

static enum err_code
brainboard_check(struct brainboard *bb, struct conf_block *block, struct err *reterr)
{
	const struct brainboard_conf *bc = bb->conf;
	struct conf_attr             *only = conf_attr(block, "architectures");
	char                          uuid[UUID_LEN + 1];

	if (bb->selects && bb->api == NULL)
		return conf_error(reterr, conf_where(block, "token"), "select asks Brainboard's API: expected the argument token");
	if (bb->selects && bc->architectures.n > 0)
		return conf_error(reterr, only->pos, "either architectures or select, not both");
	for (size_t i = 0; i < bc->architectures.n; i++)
		if (!uuid_lower(span_str(bc->architectures.items[i]), uuid))
			return conf_error(reterr, only->pos, "architectures: \"%.60s\" is no UUID", bc->architectures.items[i]);
	if (bb->storages[0].fixed != NULL)
		return conf_error(reterr, block->pos, "the storage of all architectures has room for one state, %s: put {uuid} into the address, leave "
		    "out key, or write it into architecture \"UUID\" { ... }", bb->storages[0].fixed);
	if (bb->b.common.prefix[0] != '\0')
		return conf_error(reterr, conf_attr(block, "prefix")->pos, "a brainboard backend has no prefix: put it into the storage block");
	return brainboard_check_key(bc->key, true, conf_where(block, "key"), reterr);
}

static enum err_code
brainboard_open(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
    const struct backend_common *common, struct backend **ret, struct err *reterr)
{
	struct brainboard *bb = xcalloc(1, sizeof(*bb));
	struct backend    *all;
	size_t             next = 1;

	bb->env = bb->b.env = env;
	bb->conf = conf;
	bb->b.common = *common;
	bb->asked = -BRAINBOARD_ASK_MS;
	bb->b.label = block->labels[1];
	bb->b.provider = &provider_brainboard;
	if (brainboard_set_api(bb, block, reterr) != ERR_OK || brainboard_blocks(bb, c, block, reterr) != ERR_OK ||
	    brainboard_check(bb, block, reterr) != ERR_OK) {
		brainboard_close(&bb->b);
		return reterr->code;
	}
	for (size_t i = 0, n = 0; i < block->nblocks; i++) { /* now that the array stays where it is */
		const struct conf_block *x = &block->blocks[i];

		if (strcmp(x->type, "architecture") == 0 && x->nblocks > 0)
			bb->own[n].storage = &bb->storages[next++];
		n += strcmp(x->type, "architecture") == 0;
	}
	for (size_t i = 0; i < bb->nown; i++)
		brainboard_pin_own(bb, &bb->own[i]);
	all = bb->storages[0].b;
	bb->b.where = xasprintf("architectures of Brainboard in %s", all != NULL ? all->where : "its managed storage");
	*ret = &bb->b;
	return ERR_OK;
}

/* ---------------------------------------------------------------- what the storages make of it */

/*
 * What all of them have, and what any of them leaves in doubt. A lock counts where one storage has it: in another without, only
 * exclusive lets anything be written. Without any lock Brainboard takes none either, and a precondition that we keep is no help when
 * the runner's write keeps none: then there is nothing to rely on.
 */
static unsigned
brainboard_caps(const struct backend *b)
{
	const unsigned     all = PROVIDER_LIST | PROVIDER_IF_MATCH | PROVIDER_LOCK_ID | PROVIDER_SERIALS;
	const unsigned     any = PROVIDER_LOCK | PROVIDER_LOCK_UNLISTED | PROVIDER_IN_PLACE | PROVIDER_UNPROVEN | PROVIDER_LOCK_UNPROVEN |
	    PROVIDER_LOCK_HIDDEN | PROVIDER_HISTORY;
	struct brainboard *bb = brainboard_of(b);
	unsigned           caps = all;

	for (size_t i = 0; i < bb->nstorages; i++) {
		const struct backend *s = bb->storages[i].b;
		unsigned              has = s != NULL ? provider_caps(s) : 0;

		if (s == NULL)
			continue;
		caps = (caps & ~all) | (caps & has & all) | ((caps | has) & any);
		if ((has & PROVIDER_LOCK) != 0 && !provider_shows_locks(s))
			caps |= PROVIDER_LOCK_HIDDEN;
	}
	if ((caps & PROVIDER_LOCK) == 0)
		caps &= ~(unsigned)PROVIDER_LOCK_ID;
	if ((caps & PROVIDER_LOCK) == 0 && !b->common.exclusive)
		caps &= ~(unsigned)(PROVIDER_IF_MATCH | PROVIDER_UNPROVEN);
	return caps;
}

static bool
brainboard_suits(const char *name)
{
	char uuid[UUID_LEN + 1];

	return uuid_lower(span_str(name), uuid);
}

static void
brainboard_fold(char *name)
{
	char uuid[UUID_LEN + 1];

	if (uuid_lower(span_str(name), uuid))
		memcpy(name, uuid, sizeof(uuid));
}

static enum err_code
brainboard_holds(const struct backend *b, const char *name, struct err *reterr)
{
	char uuid[UUID_LEN + 1];

	if (uuid_lower(span_str(name), uuid) && strcmp(uuid, name) == 0)
		return ERR_OK;
	err_set(reterr, ERR_UNSUPPORTED, 0, "%.80s is no architecture's: names at Brainboard are UUIDs", name);
	return err_hint(reterr, brainboard_of(b)->api != NULL ?
	    "PROJECT/ENVIRONMENT/NAME stands for one that the API shows by just these names; else its information panel shows the UUID" :
	    "its information panel shows the UUID; with token, PROJECT/ENVIRONMENT/NAME stands for it, too");
}

static enum err_code
brainboard_findable(const struct backend *b, struct err *reterr)
{
	const struct brainboard *bb = brainboard_of(b);

	if (bb->api != NULL || bb->conf->architectures.n > 0 || bb->nown > 0 || bb->storages[0].listed)
		return ERR_OK;
	return err_set(reterr, ERR_CONFIG, 0, "nothing says which architectures there are: set token, or architectures = [\"UUID\"]");
}

struct backend *
brainboard_behind(const struct backend *b, const char *name, struct buf *ret)
{
	const struct brainboard        *bb = brainboard_of(b);
	struct brainboard_storage      *s = brainboard_storage_of(bb, name);
	const struct brainboard_object *o = bb->objects != NULL ? map_get(bb->objects, span_str(name)) : NULL;
	char                           *pinned = brainboard_pinned(bb, name);

	if (pinned != NULL || (o != NULL && o->name != NULL))
		buf_puts(ret, pinned != NULL ? pinned : o->name);
	free(pinned);
	return ret->len > 0 ? s->b : NULL;
}

static struct backend *
brainboard_storage_at(const struct backend *b, size_t i, struct buf *only)
{
	const struct brainboard *bb = brainboard_of(b);
	size_t                   n = 0;

	while (n < bb->nstorages && (bb->storages[n].b == NULL || i-- > 0))
		n++;
	if (n == bb->nstorages)
		return NULL;
	for (size_t k = 0; k < bb->nown && bb->storages[n].fixed != NULL; k++)
		if (bb->own[k].storage == &bb->storages[n])
			buf_puts(only, bb->own[k].uuid);
	return bb->storages[n].b;
}

static bool
brainboard_lists(const struct backend *b, const struct backend *to, const char *name, struct buf *ret)
{
	const struct brainboard *bb = brainboard_of(b);
	char                     uuid[UUID_LEN + 1];
	struct buf               there;
	bool                     lists = false;

	buf_init(&there, 0);
	for (size_t i = 0; i < bb->nstorages && !lists; i++) {
		buf_reset(&there);
		lists = bb->storages[i].b != NULL && provider_lists_name_of(bb->storages[i].b, to, name, &there) &&
		    brainboard_name_uuid(bb, &bb->storages[i], buf_str(&there), uuid) && provider_selects(b, uuid);
	}
	if (lists)
		buf_puts(ret, uuid);
	buf_free(&there);
	return lists;
}

/* --- of the storage that holds a name, with the name there --- */

static void
brainboard_lock_path(const struct backend *b, const char *name, struct buf *ret)
{
	struct buf      there;
	struct backend *s;

	buf_init(&there, 0);
	s = brainboard_behind(b, name, &there);
	if (s != NULL && s->provider->lock_path != NULL)
		s->provider->lock_path(s, buf_str(&there), ret);
	buf_free(&there);
}

static const char *
brainboard_remark(const struct backend *b, const char *name)
{
	struct buf      there;
	struct backend *s;
	const char     *remark;

	buf_init(&there, 0);
	s = brainboard_behind(b, name, &there);
	remark = s != NULL ? provider_remark(s, buf_str(&there)) : NULL;
	buf_free(&there);
	return remark;
}

static const char *
brainboard_signed_in(const struct backend *b)
{
	const struct backend *s = brainboard_of(b)->storages[0].b;

	return s != NULL && s->provider->signed_in != NULL ? s->provider->signed_in(s) : NULL;
}

static const char *const brainboard_block_types[] = { "storage", "select", "architecture", NULL };

const struct provider provider_brainboard = {
	.name = "brainboard",
	.summary = "the architectures of Brainboard, in storage of your own",
	.suits = brainboard_suits,
	.no_scratch = true,
	.fields = brainboard_fields,
	.blocks = brainboard_block_types,
	.conf_size = sizeof(struct brainboard_conf),
	.open = brainboard_open,
	.close = brainboard_close,
	.caps = brainboard_caps,
	.findable = brainboard_findable,
	.create = brainboard_create,
	.list = brainboard_list,
	.head = brainboard_head,
	.get = brainboard_get,
	.put = brainboard_put,
	.del = brainboard_del,
	.lock = brainboard_lock,
	.unlock = brainboard_unlock,
	.seal = brainboard_seal,
	.lock_peek = brainboard_lock_peek,
	.lock_break = brainboard_lock_break,
	.history = brainboard_history,
	.get_version = brainboard_get_version,
	.lock_path = brainboard_lock_path,
	.behind = brainboard_behind,
	.storage = brainboard_storage_at,
	.lists = brainboard_lists,
	.holds = brainboard_holds,
	.expect = brainboard_expect,
	.ask = brainboard_ask,
	.fold = brainboard_fold,
	.signed_in = brainboard_signed_in,
	.remark = brainboard_remark,
};
