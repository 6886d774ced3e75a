/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "local.h"

/* The driver: configuration, calls as operations around jobs, and the table of held locks. */
static const struct conf_field local_fields[] = {
	{ "path", CONF_PATH, offsetof(struct local_conf, path), NULL, "one state file, as terraform's local backend names it", NULL,
	    NULL, false, NULL },
	{ "workspace_dir", CONF_PATH, offsetof(struct local_conf, workspace_dir), NULL,
	    "folder of its workspaces (default: terraform.tfstate.d beside it, or where the terraform of from_file runs)", NULL, NULL, false, NULL },
	{ "dir", CONF_PATH, offsetof(struct local_conf, dir), NULL, "a folder: every *.tfstate below it", NULL, NULL, false, NULL },
	{ .name = NULL },
};

static struct local *
local_of(const struct backend *b)
{
	return container_of((struct backend *)(uintptr_t)b, struct local, b);
}

/* ---------------------------------------------------------------- calls */

enum local_call_state { START, WORKED, HANDED_OUT };

static const char *const local_call_states[] = { "start", "worked", "handed out" };

#define LOCAL_SEEN_CHUNK 500 /* names handed out in one turn of the loop */

static void
local_call_free(struct op *op)
{
	struct local_call *c = container_of(op, struct local_call, op);

	for (size_t i = 0; i < c->nentries; i++) {
		free(c->entries[i].name);
		free(c->entries[i].problem);
	}
	free(c->entries);
	body_unref(c->body);
	snapshot_free(&c->now);
	free(c->name);
	free(c->path);
	free(c);
}

static void
local_hand_out(struct local_call *c)
{
	for (size_t n = 0; n < LOCAL_SEEN_CHUNK && c->next < c->nentries; n++, c->next++) {
		const struct local_entry *e = &c->entries[c->next];

		c->seen(c->arg, &(struct state_seen){ .name = e->name, .etag = e->etag, .size = e->size, .modified = e->modified,
		    .locked = e->locked, .problem = e->problem });
	}
}

static enum op_turn
local_call_step(struct op *op)
{
	struct local_call *c = container_of(op, struct local_call, op);

	switch ((enum local_call_state)op->state) {
	case START:
		provider_sent(&c->l->b);
		return op_await(op, WORKED, work_run(c->l->env->work, c->job, c));
	case WORKED:
		if (c->finish != NULL)
			c->finish(c);
		if (op_failed(op) || c->seen == NULL)
			return op_finish(op);
		__attribute__((fallthrough));
	case HANDED_OUT:
		if (op_failed(op))
			return op_fail(op);
		local_hand_out(c);
		if (c->next < c->nentries)
			return op_await(op, HANDED_OUT, op_sleep(op->loop, 0));
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class local_call_class = { "local", local_call_step, NULL, local_call_free, local_call_states,
	ARRAY_LEN(local_call_states) };

static struct local_call *
local_call(struct backend *b, const struct state_ref *ref, work_fn *job)
{
	struct local_call       *c = xcalloc(1, sizeof(*c));
	const struct local_held *held;

	c->l = local_of(b);
	op_init(&c->op, &local_call_class, c->l->env->loop);
	c->job = job;
	c->held_fd = c->fd = c->spool_fd = -1;
	c->max_size = b->common.max_state_size;
	if (ref == NULL)
		return c;
	c->name = xstrdup(ref->name);
	c->path = local_path_of(c->l, ref->name);
	held = map_get(c->l->held, span_str(ref->name));
	if (held != NULL)
		c->held_fd = held->fd;
	return c;
}

/* A name that `path` cannot hold: nothing is there, and nothing can be. */
static struct op *
local_no_such(struct local_call *c)
{
	struct op *op = op_error(c->op.loop, ERR_NOT_FOUND, 0, "%s is neither the file of `path` nor one of its workspaces", c->name);

	op_free(&c->op);
	return op;
}

static struct op *
local_go(struct local_call *c)
{
	return c->path == NULL ? local_no_such(c) : &c->op;
}

static struct op *
local_create(struct backend *b)
{
	return &local_call(b, NULL, local_create_job)->op;
}

static struct op *
local_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct local_call *c = local_call(b, NULL, local_list_job);

	c->seen = seen;
	c->arg = arg;
	return &c->op;
}

static void
local_head_finish(struct local_call *c)
{
	if (!op_failed(&c->op))
		*(struct state_tag *)c->ret = c->tag;
}

static struct op *
local_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct local_call *c = local_call(b, ref, local_head_job);

	c->ret = ret;
	c->finish = local_head_finish;
	return local_go(c);
}

static void
local_get_finish(struct local_call *c)
{
	if (op_failed(&c->op))
		return;
	*(struct snapshot *)c->ret = c->now;
	memset(&c->now, 0, sizeof(c->now));
}

static struct op *
local_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct local_call *c = local_call(b, ref, local_read_job);

	snprintf(c->etag, sizeof(c->etag), "%s", unless_etag != NULL ? unless_etag : "");
	c->ret = ret;
	c->finish = local_get_finish;
	return local_go(c);
}

static void
local_put_finish(struct local_call *c)
{
	if (!op_failed(&c->op))
		memcpy(c->ret, c->tag.etag, ETAG_MAX);
}

static struct op *
local_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct local_call *c = local_call(b, ref, local_write_job);

	c->body = body_ref(body->body);
	c->when.when = when->when;
	snprintf(c->etag, sizeof(c->etag), "%s", when->etag != NULL ? when->etag : "");
	c->ret = ret_etag;
	c->finish = local_put_finish;
	return local_go(c);
}

static struct op *
local_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	struct local_call *c = local_call(b, ref, local_delete_job);

	snprintf(c->etag, sizeof(c->etag), "%s", if_etag != NULL ? if_etag : "");
	return local_go(c);
}

/* ---------------------------------------------------------------- locks */

static void
local_lock_finish(struct local_call *c)
{
	struct local_held *held;

	if (c->ret2 != NULL)
		*(struct lock_info *)c->ret2 = c->holder;
	if (c->fd < 0)
		return;
	held = xcalloc(1, sizeof(*held));
	held->fd = c->fd;
	snprintf(held->id, sizeof(held->id), "%s", c->lock.id);
	held = map_put(c->l->held, span_str(c->name), held);
	assert(held == NULL);
	err_clear(&c->op.res);
}

static struct op *
local_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct local      *local = local_of(b);
	struct local_held *held = map_get(local->held, span_str(ref->name));
	struct local_call *c;

	if (held != NULL && strcmp(held->id, l->id) == 0)
		return op_result(local->env->loop, &(struct err){ .code = ERR_OK });
	if (held != NULL) {
		snprintf(ret_holder->id, sizeof(ret_holder->id), "%s", held->id);
		snprintf(ret_holder->who, sizeof(ret_holder->who), "this agent");
		return op_error(local->env->loop, ERR_LOCKED, 0, "%s is locked by this agent", ref->name);
	}
	c = local_call(b, ref, local_lock_job);
	c->lock = *l;
	c->ret2 = ret_holder;
	c->finish = local_lock_finish;
	return local_go(c);
}

/* The descriptor is closed by the job; from then on the lock is gone. */
static struct op *
local_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	struct local      *local = local_of(b);
	struct local_held *held = map_get(local->held, span_str(ref->name));
	struct local_call *c;

	if (held != NULL && strcmp(held->id, l->id) != 0) /* what l names is gone: another of our writes holds it now */
		return op_result(local->env->loop, &(struct err){ .code = ERR_OK });
	c = local_call(b, ref, local_unlock_job);
	c->lock = *l;
	free(map_del(local->held, span_str(ref->name)));
	return local_go(c);
}

static void
local_peek_finish(struct local_call *c)
{
	*(struct lock_info *)c->ret = c->holder;
}

static struct op *
local_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct local_call *c = local_call(b, ref, local_peek_job);

	c->ret = ret;
	c->finish = local_peek_finish;
	return local_go(c);
}

static void
local_unlock_hint(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret)
{
	(void)b, (void)l;
	buf_printf(ret, "the lock of %s goes when the process that holds it ends", name);
}

/* ---------------------------------------------------------------- opening */

static unsigned
local_caps(const struct backend *b)
{
	(void)b;
	return PROVIDER_LIST | PROVIDER_IF_MATCH | PROVIDER_LOCK | PROVIDER_LOCK_ID | PROVIDER_CAS | PROVIDER_WATCH |
	    PROVIDER_IN_PLACE;
}

static char *
local_without_slash(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	return xstrndup(path, n);
}

static void
local_set_path(struct local *l, const char *path, const char *workspace_dir)
{
	char *whole = local_without_slash(path), *slash = strrchr(whole, '/');

	l->file = xstrdup(slash + 1);
	l->root = slash == whole ? xstrdup("/.") : xstrndup(whole, (size_t)(slash - whole));
	l->workspace_dir = workspace_dir != NULL ? local_without_slash(workspace_dir) : xasprintf("%s/terraform.tfstate.d", l->root);
	l->workspace_label = xstrdup(strrchr(l->workspace_dir, '/') + 1);
	free(whole);
}

static void
local_set_dir(struct local *l, const char *dir, const char *prefix)
{
	char *base = local_without_slash(dir), *joined = xasprintf("%s/%s", base, prefix);

	l->root = local_without_slash(joined);
	free(base);
	free(joined);
}

/* Where the terraform runs whose block was read, it has its defaults. */
static const struct local_conf *
local_complete(struct conf *c, const struct conf_block *block, const struct local_conf *lc)
{
	const char        *dir = block->terraform_dir;
	struct local_conf *full;

	if (dir == NULL || lc->dir != NULL)
		return lc;
	full = arena_alloc(conf_arena(c), sizeof(*full));
	*full = *lc;
	if (full->path == NULL)
		full->path = arena_printf(conf_arena(c), "%s/terraform.tfstate", dir);
	if (full->workspace_dir == NULL)
		full->workspace_dir = arena_printf(conf_arena(c), "%s/terraform.tfstate.d", dir);
	return full;
}

static enum err_code
local_open(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
    const struct backend_common *common, struct backend **ret, struct err *reterr)
{
	const struct local_conf *lc = local_complete(c, block, conf);
	struct local            *l;

	if (lc->path != NULL && lc->dir != NULL)
		return conf_error(reterr, conf_where(block, "dir"), "either `path` or `dir`, not both");
	if (lc->path == NULL && lc->dir == NULL)
		return conf_error(reterr, block->pos, "a local backend needs `path` (one state file) or `dir` (a folder of states)");
	if (lc->dir != NULL && lc->workspace_dir != NULL)
		return conf_error(reterr, conf_where(block, "workspace_dir"), "workspace_dir goes with `path`");
	if (lc->path != NULL && common->prefix[0] != '\0')
		return conf_error(reterr, conf_where(block, "prefix"), "prefix goes with `dir`");
	l = xcalloc(1, sizeof(*l));
	l->env = env;
	l->conf = lc;
	l->held = map_new();
	if (lc->path != NULL)
		local_set_path(l, lc->path, lc->workspace_dir);
	else
		local_set_dir(l, lc->dir, common->prefix);
	l->b.where = lc->path != NULL ? xasprintf("%s/%s", l->root, l->file) : xstrdup(l->root);
	*ret = &l->b;
	return ERR_OK;
}

static void
local_close(struct backend *b)
{
	struct local *l = local_of(b);
	void         *held;

	local_watch_stop(l);
	for (size_t i = 0; map_next(l->held, &i, NULL, &held);) {
		close(((struct local_held *)held)->fd);
		free(held);
	}
	map_free(l->held);
	free(l->root);
	free(l->file);
	free(l->workspace_dir);
	free(l->workspace_label);
	free(l);
}

static enum err_code
local_watch(struct backend *b, void (*changed)(void *arg, const char *name), void *arg, struct err *reterr)
{
	local_watch_stop(local_of(b));
	return changed == NULL ? ERR_OK : local_watch_start(local_of(b), changed, arg, reterr);
}

static const struct conf_hidden local_hidden[] = { { "dir", NULL }, { NULL, NULL } };

const struct provider provider_local = {
	.name = "local",
	.summary = "state files and folders of them",
	.suffix = ".tfstate",
	.segment_max = NAME_MAX - (sizeof("..lock.info") - 1),
	.fields = local_fields,
	.conf_size = sizeof(struct local_conf),
	.open = local_open,
	.close = local_close,
	.caps = local_caps,
	.workspace = local_workspace,
	.fixed = local_fixed,
	.path = local_path,
	.named = local_named,
	.address = local_address,
	.hidden = local_hidden,
	.locate = local_locate,
	.create = local_create,
	.list = local_list,
	.head = local_head,
	.get = local_get,
	.put = local_put,
	.del = local_del,
	.lock = local_lock,
	.unlock = local_unlock,
	.lock_peek = local_peek,
	.watch = local_watch,
	.unlock_hint = local_unlock_hint,
};
