/* SPDX-License-Identifier: MIT */
#include "provider/provider.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/name.h"
#include "base/time.h"
#include "reach.h"
#include "reader.h"

/*
 * The wrappers: what is the same for every driver. Each call is an operation around the driver's own that first waits for
 * a free slot (requests_per_second, Retry-After) and afterwards adds the backend's label to errors and logs.
 */
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
		return conf_error(reterr, block->pos, "poll is at least 100ms");
	if (c->timeout_ms < 100)
		return conf_error(reterr, block->pos, "timeout is at least 100ms");
	if (c->requests_per_second < 0)
		return conf_error(reterr, block->pos, "requests_per_second is not negative");
	if (c->prefix[0] == '/' && p->prefix_help == NULL)
		return conf_error(reterr, block->pos, "prefix does not begin with \"/\"");
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
provider_finish(struct conf *c, struct conf_block *block, const struct provider *p, struct err *reterr)
{
	const struct conf_field *const tables[] = { p->fields, provider_common_fields, NULL };
	const char                    *blocks[32] = { "state" };
	size_t                         n = 1;

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

	return conf_import(c, block, p->name, tables, p->blocks, reterr);
}

enum err_code
provider_open(const struct provider_env *env, struct conf *c, struct conf_block *block, struct backend **ret, struct err *reterr)
{
	const struct provider *p = provider_find(block->labels[0]);
	struct backend_common  common = { .prefix = "" };
	struct backend        *b = NULL;
	void                  *conf;

	if (p == NULL)
		return provider_unknown(block, reterr);
	conf = arena_alloc(conf_arena(c), p->conf_size);
	if (provider_import(c, block, p, reterr) != ERR_OK || conf_fields(c, block, p->fields, conf, reterr) != ERR_OK ||
	    conf_fields(c, block, provider_common_fields, &common, reterr) != ERR_OK ||
	    provider_check_common(block, p, &common, reterr) != ERR_OK || provider_finish(c, block, p, reterr) != ERR_OK ||
	    p->open(env, c, block, conf, &common, &b, reterr) != ERR_OK)
		return reterr->code;
	b->provider = p;
	b->env = env;
	b->label = block->labels[1];
	b->common = common;
	b->conf = conf;
	b->caps = p->caps(b);
	assert(b->where != NULL);
	*ret = b;
	return ERR_OK;
}

void
provider_close(struct backend *b)
{
	char *where;

	if (b == NULL)
		return;
	where = b->where;
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
	b->requests++;
}

void
provider_heard(struct backend *b, int64_t date_ms)
{
	if (date_ms == 0)
		return;
	b->server_off = date_ms - loop_wall(b->env->loop);
	b->heard = true;
}

int64_t
provider_backoff_ms(const struct backend *b, unsigned n, int64_t base_ms)
{
	return rand_backoff_ms(loop_rand(b->env->loop), n, base_ms, PROVIDER_BACKOFF_MAX_MS);
}

void
provider_go_on(struct backend *b, const struct backend *before)
{
	b->requests = before->requests;
	memcpy(b->stats, before->stats, sizeof(b->stats));
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
provider_writable(const struct backend *b, struct err *reterr)
{
	if (b->common.read_only)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "%s is read_only", b->label);
	if ((b->caps & (PROVIDER_LOCK | PROVIDER_IF_MATCH)) == 0 && !b->common.exclusive) {
		err_set(reterr, ERR_CONFLICT, 0, "%s has neither a lock nor enforced preconditions, so a write could go back in time",
		    b->label);
		return err_hint(reterr, PROVIDER_UNWRITABLE_HINT, b->label);
	}
	return ERR_OK;
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

enum err_code
provider_holds_name(const struct backend *b, const char *name, struct err *reterr)
{
	const struct provider *p = b->provider;
	size_t                 whole = strlen(b->common.prefix) + strlen(name);

	if (p->key_max != 0 && whole > p->key_max)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "a name of %zu bytes with its prefix; %s holds at most %zu beside its lock", whole, p->name,
		    p->key_max);
	for (const char *s = name; p->segment_max != 0 && *s != '\0'; s += strspn(s, "/")) {
		size_t n = strcspn(s, "/");

		if (n > p->segment_max)
			return err_set(reterr, ERR_UNSUPPORTED, 0, "a name with %zu bytes between two slashes; %s holds at most %zu beside its lock", n,
			    p->name, p->segment_max);
		s += n;
	}
	return ERR_OK;
}

bool
provider_lists_name_of(const struct backend *from, const struct backend *to, const char *name, struct buf *ret)
{
	struct buf begin, place, workspace, fixed;
	bool       listed;

	if (from->provider->locate == NULL || from->provider != to->provider)
		return false;
	buf_init(&begin, 0);
	buf_init(&place, 0);
	buf_init(&workspace, 0);
	buf_init(&fixed, 0);
	from->provider->locate(from, "", &begin);
	to->provider->locate(to, name, &place);
	listed = place.len > begin.len && span_starts(buf_span(&place), buf_str(&begin));
	if (listed) {
		buf_puts(ret, buf_str(&place) + begin.len);
		listed = provider_selects(from, buf_str(ret));
	}
	if (listed) {
		provider_workspace(from, buf_str(ret), &workspace);
		listed = !provider_fixed(from, buf_str(&workspace), &fixed) || strcmp(buf_str(&fixed), buf_str(ret)) == 0;
	}
	buf_free(&begin);
	buf_free(&place);
	buf_free(&workspace);
	buf_free(&fixed);
	return listed;
}

bool
provider_same_name(const struct backend *a, const char *an, const struct backend *b, const char *bn)
{
	struct buf at, bt;
	bool       same;

	if (a == b)
		return strcmp(an, bn) == 0;
	if (a->provider->locate == NULL || a->provider != b->provider)
		return false;
	buf_init(&at, 0);
	buf_init(&bt, 0);
	a->provider->locate(a, an, &at);
	b->provider->locate(b, bn, &bt);
	same = strcmp(buf_str(&at), buf_str(&bt)) == 0;
	buf_free(&at);
	buf_free(&bt);
	return same;
}

void
provider_unlock_hint(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret)
{
	if (b->provider->unlock_hint != NULL)
		b->provider->unlock_hint(b, name, l, ret);
	else
		buf_printf(ret, "stateferry unlock %s:%s %s", b->label, name, l->id);
}

void
provider_lock_new(struct backend *b, const struct state_ref *ref, const char *info, struct lock_info *ret)
{
	struct buf path;

	buf_init(&path, 0);
	if (b->provider->lock_path != NULL)
		b->provider->lock_path(b, ref->name, &path);
	lock_info_make(ret, loop_rand(b->env->loop), loop_wall(b->env->loop), b->env->agent_name, info, buf_str(&path));
	buf_free(&path);
}

/* ---------------------------------------------------------------- one call */

/* Everything of the arguments is copied but bodies, which are referenced. */
struct call {
	struct op             op;
	struct backend       *b;
	enum request_kind     kind;
	char                 *about;       /* "read BACKEND:NAME" */
	const char           *name;        /* in about; NULL: of the whole backend */
	struct state_ref      ref;
	char                  etag[ETAG_MAX];
	struct put_condition  when;
	struct lock_info      lock;        /* unlock, put */
	struct snapshot       body;
	void                 *ret, *ret2;  /* the caller's outputs */
	state_seen_fn        *seen;
	probe_fn             *probe;
	void                 *arg;
	int64_t               begun;
};

enum call_state { START, WAITED, ANSWERED };

static const char *const call_states[] = { "start", "waited", "answered" };

static void
call_free(struct op *op)
{
	struct call *c = container_of(op, struct call, op);

	body_unref(c->body.body);
	free(c->about);
	free(c);
}

/* The remote wants to be left alone for longer than one request may take: so it is, but for a lock of ours that others wait for. */
static bool
call_is_off(struct call *c)
{
	struct backend *b = c->b;
	int64_t         wait = b->busy_until - loop_now(c->op.loop);
	char            text[TIME_TEXT_MAX];

	if (wait <= b->common.timeout_ms || c->kind == REQUEST_UNLOCK)
		return false;
	err_set(&c->op.res, ERR_BUSY, 0, "%s: the server asked not to be asked for %s", b->label, duration_format(wait, text));
	c->op.res.retry_after_ms = wait > UINT32_MAX ? UINT32_MAX : (uint32_t)wait;
	return true;
}

/* How long this call has to wait, and its place in the queue behind others. */
static int64_t
call_wait(struct call *c)
{
	struct backend *b = c->b;
	int64_t         now = loop_now(c->op.loop), at = now;

	if (b->busy_until > at)
		at = b->busy_until - now < b->common.timeout_ms ? b->busy_until : now + b->common.timeout_ms;
	if (b->common.requests_per_second > 0) {
		if (b->next_slot > at)
			at = b->next_slot;
		b->next_slot = at + (1000 + b->common.requests_per_second - 1) / b->common.requests_per_second;
	}
	return at - now;
}

/* Lists only what the configuration selects; a name that nobody could use is handed on with its problem. */
static void
call_seen(void *arg, const struct state_seen *s)
{
	struct call      *c = arg;
	struct state_seen out = *s;
	struct err        e;

	if (!provider_selects(c->b, s->name))
		return;
	if (out.problem == NULL && name_check(span_str(s->name), &e) != ERR_OK)
		out.problem = e.msg;
	c->seen(c->arg, &out);
}

static struct op *
call_driver(struct call *c)
{
	const struct provider *p = c->b->provider;

	switch (c->kind) {
	case REQUEST_CREATE:
		return p->create(c->b);
	case REQUEST_LIST:
		return p->list(c->b, call_seen, c);
	case REQUEST_HEAD:
		return p->head(c->b, &c->ref, c->ret);
	case REQUEST_READ:
		return p->get(c->b, &c->ref, c->etag[0] != '\0' ? c->etag : NULL, c->ret);
	case REQUEST_WRITE:
		return p->put(c->b, &c->ref, &c->body, &c->when, c->ret);
	case REQUEST_DELETE:
		return p->del(c->b, &c->ref, c->etag[0] != '\0' ? c->etag : NULL);
	case REQUEST_LOCK:
		return p->lock(c->b, &c->ref, c->ret, c->ret2);
	case REQUEST_UNLOCK:
		return c->ret != NULL ? p->lock_break(c->b, &c->ref, &c->lock, c->ret) : p->unlock(c->b, &c->ref, &c->lock);
	case REQUEST_SEAL:
		return p->seal(c->b, &c->ref, &c->body);
	case REQUEST_LOCK_PEEK:
		return p->lock_peek(c->b, &c->ref, c->ret);
	case REQUEST_PROBE:
		return p->probe(c->b, c->probe, c->arg);
	case REQUEST_KINDS:
		break;
	}
	return NULL;
}

static void
call_log(const struct call *c)
{
	char op[ERR_MSG_MAX];

	if (!log_on(LOG_DEBUG))
		return;
	snprintf(op, sizeof(op), "%s %s", c->b->label, request_kind_name(c->kind));
	log_event(LOG_DEBUG, op, c->op.res.code == ERR_OK ? "ok" : err_kind(c->op.res.code), { "name", log_str(c->name) },
	    { "took", log_ms(loop_now(c->op.loop) - c->begun) },
	    { "reason", log_str(c->op.res.code != ERR_OK ? c->op.res.msg : NULL) });
}

static enum op_turn
call_step(struct op *op)
{
	struct call *c = container_of(op, struct call, op);
	int64_t      wait;

	switch ((enum call_state)op->state) {
	case START:
		if (call_is_off(c))
			return op_fail(op);
		wait = call_wait(c);
		if (wait > 0)
			return op_await(op, WAITED, op_sleep(op->loop, wait));
		return op_go(op, WAITED);
	case WAITED:
		if (op_failed(op))
			return op_fail(op);
		c->begun = loop_now(op->loop);
		return op_await(op, ANSWERED, call_driver(c));
	case ANSWERED:
		request_count(&c->b->stats[c->kind], op->res.code, loop_now(op->loop) - c->begun);
		call_log(c);
		if (op->res.code == ERR_BUSY && op->res.retry_after_ms > 0)
			c->b->busy_until = loop_now(op->loop) + op->res.retry_after_ms;
		if (op_failed(op) && op->res.code != ERR_CANCELLED && op->res.code != ERR_UNCHANGED)
			err_prefix(&op->res, "%s", c->b->label);
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class call_class = { "request", call_step, NULL, call_free, call_states, ARRAY_LEN(call_states) };

/* By hand: it is put together for each request, and shown for few. */
static void
call_about(struct call *c, const char *name)
{
	const char *kind = request_kind_name(c->kind), *label = c->b->label;
	size_t      n = strlen(kind) + strlen(label) + (name != NULL ? strlen(name) : 0) + sizeof(" :");
	char       *p = c->about = xmalloc(n);

	p = stpcpy(stpcpy(stpcpy(p, kind), " "), label);
	c->op.about = c->about;
	if (name == NULL)
		return;
	assert(name_check(span_str(name), NULL) == ERR_OK);
	p = stpcpy(p, ":");
	memcpy(p, name, strlen(name) + 1);
	c->ref.name = c->name = p;
}

static struct call *
call_new(struct backend *b, enum request_kind kind, const struct state_ref *ref)
{
	struct call *c = xcalloc(1, sizeof(*c));

	op_init(&c->op, &call_class, b->env->loop);
	c->b = b;
	c->kind = kind;
	call_about(c, ref != NULL ? ref->name : NULL);
	return c;
}

static struct op *
call_refused(struct backend *b, const char *what)
{
	return op_error(b->env->loop, ERR_UNSUPPORTED, 0, "%s: %s cannot %s", b->label, b->provider->name, what);
}

static struct op *
call_read_only(struct backend *b)
{
	return op_error(b->env->loop, ERR_UNSUPPORTED, 0, "%s is read_only", b->label);
}

/* ---------------------------------------------------------------- the calls */

struct op *
provider_create(struct backend *b)
{
	if (b->common.read_only)
		return call_read_only(b);
	if (b->provider->create == NULL)
		return call_refused(b, "be created");
	return &call_new(b, REQUEST_CREATE, NULL)->op;
}

struct op *
provider_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct call *c = call_new(b, REQUEST_LIST, NULL);

	c->seen = seen;
	c->arg = arg;
	return &c->op;
}

struct op *
provider_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct call *c = call_new(b, REQUEST_HEAD, ref);

	c->ret = ret;
	return &c->op;
}

struct op *
provider_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct call *c = call_new(b, REQUEST_READ, ref);

	memset(ret, 0, sizeof(*ret));
	if (unless_etag != NULL)
		snprintf(c->etag, sizeof(c->etag), "%s", unless_etag);
	c->ret = ret;
	return &c->op;
}

struct op *
provider_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct call *c;

	if (b->common.read_only)
		return call_read_only(b);
	if (when->when != PUT_UNDER_LOCK && (b->caps & PROVIDER_IF_MATCH) == 0)
		return call_refused(b, "enforce a precondition");
	c = call_new(b, REQUEST_WRITE, ref);
	c->body = *body;
	body_ref(c->body.body);
	c->when = *when;
	if (when->etag != NULL) {
		snprintf(c->etag, sizeof(c->etag), "%s", when->etag);
		c->when.etag = c->etag;
	}
	if (when->lock != NULL) {
		c->lock = *when->lock;
		c->when.lock = &c->lock;
	}
	ret_etag[0] = '\0';
	c->ret = ret_etag;
	return &c->op;
}

struct op *
provider_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct call *c;

	if (b->common.read_only)
		return call_read_only(b);
	if (b->provider->del == NULL)
		return call_refused(b, "delete");
	c = call_new(b, REQUEST_DELETE, ref);
	if (if_etag != NULL)
		snprintf(c->etag, sizeof(c->etag), "%s", if_etag);
	return &c->op;
}

struct op *
provider_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct call *c;

	if (b->common.read_only)
		return call_read_only(b);
	if ((b->caps & PROVIDER_LOCK) == 0)
		return call_refused(b, "lock");
	assert(l->id[0] != '\0');
	c = call_new(b, REQUEST_LOCK, ref);
	c->ret = l;
	c->ret2 = ret_holder != NULL ? ret_holder : &c->lock;
	memset(c->ret2, 0, sizeof(struct lock_info));
	return &c->op;
}

struct op *
provider_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	struct call *c;

	if ((b->caps & PROVIDER_LOCK) == 0)
		return call_refused(b, "unlock");
	c = call_new(b, REQUEST_UNLOCK, ref);
	c->lock = *l;
	return &c->op;
}

struct op *
provider_seal(struct backend *b, const struct state_ref *ref, const struct snapshot *body)
{
	struct call *c;

	if (b->provider->seal == NULL)
		return op_result(b->env->loop, &(struct err){ .code = ERR_OK });
	c = call_new(b, REQUEST_SEAL, ref);
	c->body = *body;
	body_ref(c->body.body);
	return &c->op;
}

enum err_code
provider_findable(const struct backend *b, struct err *reterr)
{
	return b->provider->findable != NULL ? b->provider->findable(b, reterr) : ERR_OK;
}

bool
provider_shows_locks(const struct backend *b)
{
	return (b->caps & PROVIDER_LOCK) != 0 && b->provider->lock_peek != NULL;
}

struct op *
provider_lock_break(struct backend *b, const struct state_ref *ref, const struct lock_info *l, struct lock_info *ret_holder)
{
	struct call *c;

	if ((b->caps & PROVIDER_LOCK) == 0 || b->provider->lock_break == NULL)
		return call_refused(b, "break a lock that it cannot show");
	if (b->common.read_only)
		return call_read_only(b);
	c = call_new(b, REQUEST_UNLOCK, ref);
	c->lock = *l;
	memset(ret_holder, 0, sizeof(*ret_holder));
	c->ret = ret_holder;
	return &c->op;
}

struct op *
provider_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct call *c;

	if (!provider_shows_locks(b))
		return call_refused(b, "show locks");
	c = call_new(b, REQUEST_LOCK_PEEK, ref);
	memset(ret, 0, sizeof(*ret));
	c->ret = ret;
	return &c->op;
}

bool
provider_probe_state(const struct backend *b, struct buf *ret)
{
	return b->provider->probe == NULL && (provider_caps(b) & PROVIDER_LOCK) != 0 && provider_fixed(b, "default", ret);
}

struct op *
provider_probe(struct backend *b, probe_fn *seen, void *arg)
{
	return provider_probe_locking(b, NULL, seen, arg);
}

struct op *
provider_probe_locking(struct backend *b, struct probe_locks *locks, probe_fn *seen, void *arg)
{
	struct call *c;
	struct err   e;

	if (b->common.read_only) {
		err_set(&e, ERR_UNSUPPORTED, 0, "%s is read_only, and a probe writes", b->label);
		err_hint(&e, "\"stateferry config check --probe\" reaches it without writing");
		return op_result(b->env->loop, &e);
	}
	if (b->provider->probe == NULL)
		return reach_probe(b, locks, seen, arg);
	c = call_new(b, REQUEST_PROBE, NULL);
	c->probe = seen;
	c->arg = arg;
	return &c->op;
}

enum err_code
provider_watch(struct backend *b, void (*changed)(void *arg, const char *name), void *arg, struct err *reterr)
{
	if ((b->caps & PROVIDER_WATCH) == 0)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "%s does not tell of changes", b->label);
	return b->provider->watch(b, changed, arg, reterr);
}
