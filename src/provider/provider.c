/* SPDX-License-Identifier: MIT */
#include "provider/provider.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "alias.h"
#include "reader.h"

/* What is the same for every driver: its settings, opening it, what is known of it without asking; call.c: asking. */
/* Inside another backend only these may stand. */
const struct conf_field provider_inside_fields[] = {
	{ "from_file", CONF_STRS, offsetof(struct backend_common, from_file), NULL,
	    "what terraform already has: its files, or \"KEY=VALUE\"", NULL, NULL, false, NULL },
	{ "prefix", CONF_STR, offsetof(struct backend_common, prefix), "", "names are relative to this", NULL, NULL, false, NULL },
	{ .name = NULL },
};

const struct conf_field provider_common_fields[] = {
	{ "from_file", CONF_STRS, offsetof(struct backend_common, from_file), NULL,
	    "what terraform already has: its files, or \"KEY=VALUE\"", NULL, NULL, false, NULL },
	{ "prefix", CONF_STR, offsetof(struct backend_common, prefix), "", "names are relative to this", NULL, NULL, false, NULL },
	{ "include", CONF_STRS, offsetof(struct backend_common, include), NULL, "globs of the names to see (default: all)", NULL, NULL,
	    false, NULL },
	{ "exclude", CONF_STRS, offsetof(struct backend_common, exclude), NULL, "globs of the names to leave out", NULL, NULL, false,
	    NULL },
	{ "create", CONF_BOOL, offsetof(struct backend_common, create), "false", "make a missing bucket, container or folder", NULL,
	    NULL, false, NULL },
	{ "read_only", CONF_BOOL, offsetof(struct backend_common, read_only), "false", "refuse every write, also locks", NULL, NULL,
	    false, NULL },
	{ "exclusive", CONF_BOOL, offsetof(struct backend_common, exclusive), "false",
	    "nothing else writes here, so a target without lock and precondition is allowed", NULL, NULL, false, NULL },
	{ "max_shrink", CONF_PERCENT, offsetof(struct backend_common, max_shrink), "50%",
	    "a version that loses more instances than this is held back; 100% turns it off", NULL, NULL, false, NULL },
	{ "poll", CONF_MS, offsetof(struct backend_common, poll_ms), "30s", "how often to look for changes", NULL, NULL, false, NULL },
	{ "timeout", CONF_MS, offsetof(struct backend_common, timeout_ms), "30s", "of one request", NULL, NULL, false, NULL },
	{ "lock_timeout", CONF_MS, offsetof(struct backend_common, lock_timeout_ms), "2m", "how long a write waits for a held lock",
	    NULL, NULL, false, NULL },
	{ "requests_per_second", CONF_INT, offsetof(struct backend_common, requests_per_second), "0", "0: no limit of ours", NULL,
	    NULL, false, NULL },
	{ "max_state_size", CONF_SIZE, offsetof(struct backend_common, max_state_size), "512MiB", "larger states are an error", NULL,
	    NULL, false, NULL },
	{ .name = "backfill", .type = CONF_INT, .offset = offsetof(struct backend_common, backfill),
	    .help = "how many older versions are read at most when a state is new, or between two looks" },
	{ .name = NULL },
};

const struct provider *
provider_find(const char *name)
{
	for (size_t i = 0; provider_all[i] != NULL; i++)
		if (strcmp(provider_all[i]->name, name) == 0)
			return provider_all[i];
	return NULL;
}

/* ---------------------------------------------------------------- snapshots */

void
snapshot_free(struct snapshot *s)
{
	body_unref(s->body);
	memset(s, 0, sizeof(*s));
}

#define SNAPSHOT_PIECE ((size_t)64 << 10)

static enum err_code
snapshot_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct snapshot *s = arg;
	struct reader   *r = reader_new();
	uint8_t         *piece = NULL;
	size_t           n = 0;
	enum err_code    rc = ERR_OK;

	(void)job;
	if (body_in_memory(s->body)) {
		reader_feed(r, body_span(s->body).p, body_span(s->body).n);
	} else {
		piece = xmalloc(SNAPSHOT_PIECE);
		while ((rc = body_read(s->body, reader_size(r), piece, SNAPSHOT_PIECE, &n, reterr)) == ERR_OK && n > 0)
			reader_feed(r, piece, n);
		mem_wipe(piece, SNAPSHOT_PIECE);
	}
	reader_end(r, s);
	free(piece);
	return rc;
}

static void
snapshot_begin(struct snapshot *ret, struct body *body)
{
	memset(ret, 0, sizeof(*ret));
	ret->body = body_ref(body);
}

enum err_code
snapshot_of(struct snapshot *ret, struct body *body, struct err *reterr)
{
	snapshot_begin(ret, body);
	return snapshot_job(NULL, ret, reterr);
}

struct op *
snapshot_read(struct work *w, struct snapshot *ret, struct body *body)
{
	snapshot_begin(ret, body);
	return work_by_size(w, body_size(body), snapshot_job, ret);
}

/* ---------------------------------------------------------------- opening */

static enum err_code
provider_check_common(struct conf_block *block, const struct provider *p, const struct backend_common *c, struct err *reterr)
{
	if (c->poll_ms < 100)
		return conf_error(reterr, conf_where(block, "poll"), "poll is at least 100ms");
	if (c->timeout_ms < 100)
		return conf_error(reterr, conf_where(block, "timeout"), "timeout is at least 100ms");
	if (c->requests_per_second < 0)
		return conf_error(reterr, conf_where(block, "requests_per_second"), "requests_per_second is not negative");
	if (c->backfill < 0 || c->backfill > BACKFILL_MAX)
		return conf_error(reterr, conf_where(block, "backfill"), "backfill is a number of versions, from 0 to %d", BACKFILL_MAX);
	if (c->prefix[0] == '/' && p->prefix_help == NULL)
		return conf_error(reterr, conf_where(block, "prefix"), "prefix does not begin with \"/\"");
	return ERR_OK;
}

static enum err_code
provider_unknown(struct conf_block *block, struct err *reterr)
{
	const char *names[64], *close;
	size_t      n = 0;
	struct buf  known;

	buf_init(&known, 0);
	for (; provider_all[n] != NULL && n + 1 < ARRAY_LEN(names); n++) {
		names[n] = provider_all[n]->name;
		buf_printf(&known, "%s%s", n > 0 ? ", " : "", names[n]);
	}
	names[n] = NULL;
	close = name_closest(block->labels[0], names);
	conf_error(reterr, block->pos, "there is no kind of backend \"%s\"%s%s%s", block->labels[0],
	    close != NULL ? "; did you mean \"" : " in this version; expected one of ", close != NULL ? close : buf_str(&known),
	    close != NULL ? "\"?" : "");
	buf_free(&known);
	return ERR_CONFIG;
}

/* Nested blocks: what the provider knows, and those about single states. */
static enum err_code
provider_finish(struct conf *c, struct conf_block *block, const struct provider *p, const struct conf_field *common, struct err *reterr)
{
	const struct conf_field *const tables[] = { p->fields, common, NULL };
	const char                    *blocks[32] = { NULL };
	size_t                         n = 0;

	if (common == provider_common_fields)
		blocks[n++] = "state";
	for (size_t i = 0; p->blocks != NULL && p->blocks[i] != NULL && n + 1 < ARRAY_LEN(blocks); i++)
		blocks[n++] = p->blocks[i];
	return conf_finish(c, block, tables, blocks, reterr);
}

/* What terraform knows of such a backend. */
static enum err_code
provider_import(struct conf *c, struct conf_block *block, const struct provider *p, struct err *reterr)
{
	static const struct conf_field  prefix[] = { { .name = "prefix", .type = CONF_STR }, { .name = NULL } };
	const struct conf_field *const  tables[] = { p->fields, p->prefix_help != NULL ? prefix : NULL, NULL };

	return conf_import(c, block, p->imports != NULL ? p->imports : p->name, tables, p->blocks, reterr);
}

/* table: the agent's arguments that may stand there; common: what they are where they may not. */
static enum err_code
provider_open_as(const struct provider_env *env, struct conf *c, struct conf_block *block, const struct provider *p,
    const struct conf_field *table, struct backend_common *common, struct backend **ret, struct err *reterr)
{
	char         *conf = arena_alloc(conf_arena(c), p->conf_size);
	enum err_code rc = ERR_OK;
	struct err    e;

	if (provider_import(c, block, p, reterr) != ERR_OK)
		return reterr->code;
	if ((conf_fields(c, block, p->fields, conf, &e) != ERR_OK && !conf_note(c, &e, &rc, reterr)) ||
	    (conf_fields(c, block, table, common, &e) != ERR_OK && !conf_note(c, &e, &rc, reterr)) ||
	    (provider_finish(c, block, p, table, &e) != ERR_OK && !conf_note(c, &e, &rc, reterr)) || rc != ERR_OK)
		return rc;
	if (p->timeout_at != 0 && conf_attr(block, "timeout") == NULL && *(int64_t *)(void *)(conf + p->timeout_at) != 0)
		common->timeout_ms = *(int64_t *)(void *)(conf + p->timeout_at);
	if (provider_check_common(block, p, common, reterr) != ERR_OK || p->open(env, c, block, conf, common, ret, reterr) != ERR_OK)
		return reterr->code;
	(*ret)->provider = p;
	(*ret)->env = env;
	(*ret)->common = *common;
	(*ret)->conf = conf;
	(*ret)->block = block;
	return ERR_OK;
}

static void
provider_opened(struct backend *b, const char *label, struct backend *outer)
{
	b->label = label;
	b->outer = outer;
	b->caps = b->provider->caps(b);
	assert(b->where != NULL);
}

/* What is not asked for is as the provider has it, where it can be done. */
static enum err_code
provider_backfill(struct backend *b, struct conf_block *block, struct err *reterr)
{
	const struct conf_attr *given = conf_attr(block, "backfill");

	if (given == NULL)
		b->common.backfill = (b->caps & PROVIDER_HISTORY) != 0 ? b->provider->backfill : 0;
	if (b->common.backfill == 0 || (b->caps & PROVIDER_HISTORY) != 0)
		return ERR_OK;
	conf_error(reterr, given->pos, "backfill: \"%s\" keeps no older versions that could be read", b->label);
	return err_hint(reterr, "take the argument away: every version is kept from when it is seen here");
}

enum err_code
provider_open(const struct provider_env *env, struct conf *c, struct conf_block *block, struct backend **ret, struct err *reterr)
{
	const struct provider *p = provider_find(block->labels[0]);
	struct backend_common  common = { .prefix = "" };

	if (p == NULL)
		return provider_unknown(block, reterr);
	if (provider_open_as(env, c, block, p, provider_common_fields, &common, ret, reterr) != ERR_OK)
		return reterr->code;
	provider_opened(*ret, block->labels[1], NULL);
	if (provider_backfill(*ret, block, reterr) == ERR_OK)
		return ERR_OK;
	provider_close(*ret);
	return reterr->code;
}

enum err_code
provider_open_inside(struct backend *outer, const struct provider_env *env, struct conf *c, struct conf_block *block,
    struct backend **ret, struct err *reterr)
{
	const struct provider *p = block->nlabels == 1 ? provider_find(block->labels[0]) : NULL;
	struct backend_common  common = outer->common;

	if (block->nlabels != 1)
		return conf_error(reterr, block->pos, "%s takes one label, the kind of backend", block->type);
	if (p == NULL)
		return provider_unknown(block, reterr);
	if (p->behind != NULL)
		return conf_error(reterr, block->pos, "%s keeps its states elsewhere, and cannot be the %s of others", p->name, block->type);
	common.include = common.exclude = (struct conf_strs){ .n = 0 };
	common.from_file = (struct conf_strs){ .n = 0 };
	common.requests_per_second = 0; /* outer counts them */
	common.any_name = true;
	if (provider_open_as(env, c, block, p, provider_inside_fields, &common, ret, reterr) != ERR_OK)
		return reterr->code;
	provider_opened(*ret, outer->label, outer);
	return ERR_OK;
}

void
provider_close(struct backend *b)
{
	char *where;

	if (b == NULL)
		return;
	where = b->where;
	aliases_free(b->aliases);
	b->provider->close(b);
	free(where);
}

unsigned
provider_caps(const struct backend *b)
{
	return b->caps;
}

void
provider_sent(struct backend *b)
{
	op_counts_one();
	for (; b != NULL; b = b->outer)
		b->requests++;
}

void
provider_heard(struct backend *b, int64_t date_ms)
{
	if (date_ms == 0)
		return;
	for (; b != NULL; b = b->outer) {
		b->server_off = date_ms - loop_wall(b->env->loop);
		b->heard = true;
	}
}

int64_t
provider_backoff_ms(const struct backend *b, unsigned n, int64_t base_ms)
{
	return rand_backoff_ms(loop_rand(b->env->loop), n, base_ms, PROVIDER_BACKOFF_MAX_MS);
}

enum err_code
provider_make_hint(const struct backend *b, const char *check, struct err *reterr)
{
	if (b->common.create)
		return err_hint(reterr, "the first write makes it, for create = true is set");
	return err_hint(reterr, "%s; create = true makes what is missing of a target", check);
}

void
provider_go_on(struct backend *b, const struct backend *before)
{
	b->requests = before->requests;
	memcpy(b->stats, before->stats, sizeof(b->stats));
	aliases_copy(b, before);
}

bool
provider_selects(const struct backend *b, const char *name)
{
	struct span s = span_str(name);
	bool        in = b->common.include.n == 0;

	for (size_t i = 0; !in && i < b->common.include.n; i++)
		in = glob_match(b->common.include.items[i], s);
	for (size_t i = 0; in && i < b->common.exclude.n; i++)
		in = !glob_match(b->common.exclude.items[i], s);
	return in && !name_is_never_state(s);
}

enum err_code
provider_within_reach(const struct backend *b, struct err *reterr)
{
	struct buf only;
	bool       none;

	buf_init(&only, 0);
	none = b->provider->storage != NULL && b->provider->storage(b, 0, &only) == NULL;
	buf_free(&only);
	if (!none)
		return ERR_OK;
	err_set(reterr, ERR_UNSUPPORTED, 0, "%s: %s are out of reach: nothing outside can read or write them", b->label, b->where);
	return err_hint(reterr, "give the organization, or the architectures, storage of their own, and name it here");
}

enum err_code
provider_writable(const struct backend *b, struct err *reterr)
{
	if (provider_within_reach(b, reterr) != ERR_OK)
		return reterr->code;
	if (b->common.read_only)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "%s is read_only", b->label);
	if ((b->caps & (PROVIDER_LOCK | PROVIDER_IF_MATCH)) == 0 && !b->common.exclusive) {
		err_set(reterr, ERR_CONFLICT, 0, "%s has neither a lock nor enforced preconditions, so a write could go back in time",
		    b->label);
		return err_hint(reterr, PROVIDER_UNWRITABLE_HINT, b->label);
	}
	return ERR_OK;
}

enum err_code
provider_writable_in(const struct backend *b, const struct backend *storage, struct err *reterr)
{
	if (storage == b || b->common.read_only || b->common.exclusive || (storage->caps & PROVIDER_LOCK) != 0)
		return provider_writable(b, reterr);
	err_set(reterr, ERR_CONFLICT, 0, "%s: its storage has no lock, so %s takes none, and a write could go back in time", b->label,
	    b->provider->name);
	return err_hint(reterr, "configure a lock at both (a DynamoDB table, use_lockfile), or set exclusive = true if no run can happen meanwhile");
}

void
provider_workspace(const struct backend *b, const char *name, struct buf *ret)
{
	if (b->provider->workspace != NULL)
		b->provider->workspace(b, name, ret);
	else
		buf_puts(ret, "default");
}

bool
provider_fixed(const struct backend *b, const char *workspace, struct buf *ret)
{
	return b->provider->fixed != NULL && b->provider->fixed(b, workspace, ret);
}

bool
provider_gives_name(const struct backend *b, const char *name)
{
	struct buf workspace, fixed;
	bool       gives;

	buf_init(&workspace, 0);
	buf_init(&fixed, 0);
	provider_workspace(b, name, &workspace);
	gives = !provider_fixed(b, buf_str(&workspace), &fixed) || strcmp(buf_str(&fixed), name) == 0;
	buf_free(&workspace);
	buf_free(&fixed);
	return gives;
}

enum err_code
provider_holds_name(const struct backend *b, const char *name, struct err *reterr)
{
	const struct provider *p = b->provider;
	size_t                 whole = strlen(b->common.prefix) + strlen(name);

	if (p->holds != NULL && p->holds(b, name, reterr) != ERR_OK)
		return reterr->code;
	if (p->key_max != 0 && whole > p->key_max)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "a name of %zu bytes with its prefix; %s holds at most %zu beside its lock", whole, p->name,
		    p->key_max);
	if (p->segment_max != 0 && strstr(name, "//") != NULL)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "a name with \"//\": no folder of %s is without a name", p->name);
	for (const char *s = name; p->segment_max != 0 && *s != '\0'; s += strspn(s, "/")) {
		size_t n = strcspn(s, "/");

		if (n > p->segment_max)
			return err_set(reterr, ERR_UNSUPPORTED, 0, "a name with %zu bytes between two slashes; %s holds at most %zu beside its lock", n,
			    p->name, p->segment_max);
		s += n;
	}
	return ERR_OK;
}

/* Without what a place appended that knows no other end; NULL: nothing that was. */
static char *
provider_incomplete(const struct provider *from, const struct provider *to, struct buf *name)
{
	char *bare;

	if (from->suffix == NULL || from->suits == to->suits || to->suits == NULL || !span_ends(buf_span(name), from->suffix))
		return NULL;
	bare = xstrndup(buf_str(name), buf_span(name).n - strlen(from->suffix));
	if (to->suits(bare))
		return bare;
	free(bare);
	return NULL;
}

void
provider_fold(const struct backend *b, char *name)
{
	if (b->provider->fold != NULL)
		b->provider->fold(name);
}

void
provider_complete(const struct backend *from, const struct backend *to, struct buf *name)
{
	const struct provider *p = to->provider;
	char                  *bare = provider_incomplete(from->provider, p, name);

	if (bare != NULL) {
		buf_reset(name);
		buf_puts(name, bare);
	} else if (p->suffix != NULL && !span_ends(buf_span(name), p->suffix) && (p->suits == NULL || !p->suits(buf_str(name)))) {
		buf_puts(name, p->suffix);
	}
	free(bare);
	if (p->fold == NULL)
		return;
	bare = xstrdup(buf_str(name));
	p->fold(bare);
	buf_reset(name);
	buf_puts(name, bare);
	free(bare);
}

/* Follows a backend that keeps its states in others to the one that holds the name; ret: the name there. */
static const struct backend *
provider_behind(const struct backend *b, const char *name, struct buf *ret)
{
	if (b->provider->behind != NULL)
		return b->provider->behind(b, name, ret);
	buf_puts(ret, name);
	return b;
}

static bool
provider_lists_place(const struct backend *from, const struct backend *to, const char *name, struct buf *ret)
{
	struct buf begin, place;
	bool       listed;

	if (from->provider->locate == NULL || from->provider->locate != to->provider->locate)
		return false;
	buf_init(&begin, 0);
	buf_init(&place, 0);
	from->provider->locate(from, "", &begin);
	to->provider->locate(to, name, &place);
	listed = place.len > begin.len && span_starts(buf_span(&place), buf_str(&begin));
	if (listed) {
		buf_puts(ret, buf_str(&place) + begin.len);
		listed = provider_selects(from, buf_str(ret)) && provider_gives_name(from, buf_str(ret));
	}
	buf_free(&begin);
	buf_free(&place);
	return listed;
}

bool
provider_lists_name_of(const struct backend *from, const struct backend *to, const char *name, struct buf *ret)
{
	struct buf there;
	bool       listed;

	buf_init(&there, 0);
	to = provider_behind(to, name, &there);
	if (to == NULL)
		listed = false;
	else if (from->provider->lists != NULL)
		listed = from->provider->lists(from, to, buf_str(&there), ret);
	else
		listed = provider_lists_place(from, to, buf_str(&there), ret);
	buf_free(&there);
	return listed;
}

bool
provider_same_name(const struct backend *a, const char *an, const struct backend *b, const char *bn)
{
	struct buf at, bt, a_there, b_there;
	bool       same = false;

	if (a == b)
		return strcmp(an, bn) == 0;
	buf_init(&at, 0);
	buf_init(&bt, 0);
	buf_init(&a_there, 0);
	buf_init(&b_there, 0);
	a = provider_behind(a, an, &a_there);
	b = provider_behind(b, bn, &b_there);
	if (a != NULL && b != NULL && a->provider->locate != NULL && a->provider->locate == b->provider->locate) {
		a->provider->locate(a, buf_str(&a_there), &at);
		b->provider->locate(b, buf_str(&b_there), &bt);
		same = strcmp(buf_str(&at), buf_str(&bt)) == 0;
	}
	buf_free(&at);
	buf_free(&bt);
	buf_free(&a_there);
	buf_free(&b_there);
	return same;
}

const char *
provider_remark(const struct backend *b, const char *name)
{
	return b->provider->remark != NULL ? b->provider->remark(b, name) : NULL;
}

void
provider_unlock_hint(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret)
{
	if (b->provider->unlock_hint != NULL)
		b->provider->unlock_hint(b, name, l, ret);
	else
		lock_info_unlock_by(b->label, name, l->id, ret);
}

void
provider_lock_new(struct backend *b, const struct state_ref *ref, const char *info, struct lock_info *ret)
{
	struct buf path;

	buf_init(&path, 0);
	if (b->provider->lock_path != NULL)
		b->provider->lock_path(b, ref->name, &path);
	lock_info_make(ret, loop_rand(b->env->loop), loop_wall(b->env->loop), b->env->agent_id, b->env->agent_name, info, buf_str(&path));
	buf_free(&path);
}

enum err_code
provider_findable(const struct backend *b, struct err *reterr)
{
	return b->provider->findable != NULL ? b->provider->findable(b, reterr) : ERR_OK;
}

bool
provider_shows_locks(const struct backend *b)
{
	return (b->caps & (PROVIDER_LOCK | PROVIDER_LOCK_HIDDEN)) == PROVIDER_LOCK && b->provider->lock_peek != NULL;
}
