/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "provider/reach.h"
#include "remote.h"

/*
 * All workspaces that the block selects, one request per hundred, and what versions one had. The one that changed last comes first, so
 * that a change while pages are read shows as one that comes twice while another never came: then all is read again. Handed out when
 * it is whole: what is not listed counts as gone.
 */
#define REMOTE_PAGE        100
#define REMOTE_PAGE_TEXT   "100"
#define REMOTE_PAGE_MAX    ((uint64_t)32 << 20)
#define REMOTE_PAGES_MAX   10000
#define REMOTE_LIST_TRIES  4
#define REMOTE_LOOKS       8     /* at once, at workspaces whose version the listing does not tell */
#define REMOTE_SEEN_CHUNK  500   /* names handed out in one turn of the loop */

struct remote_listed {
	char     name[REMOTE_NAME_MAX]; /* of a workspace */
	char     state[REMOTE_ID_MAX];  /* a version: its current one, or this */
	uint64_t size;
	int64_t  modified;
	bool     locked, deleted;
	bool     asked;                 /* the listing did not say which version is current */
	struct state_tag tag;
};

struct remote_list {
	struct op             op;
	struct remote        *r;
	struct remote_ask     ask;
	char                 *name;     /* of the one whose versions these are; NULL: workspaces */
	char                 *scratch;  /* the workspace of a probe */
	struct remote_item    found;
	struct map           *ids;      /* of what was seen in this try */
	struct remote_listed *all;
	size_t                n, room, next;
	uint64_t              page, total;
	unsigned              tries;
	bool                  twice, looked;
	struct err            unread;   /* of a look that failed */
	state_seen_fn        *seen;
	version_seen_fn      *version;
	void                 *arg;
};

enum remote_list_state { LIST_START, LIST_ONE, LIST_PAGE, LIST_ANSWERED, LIST_LOOKED };

static const char *const remote_list_states[] = { "start", "one", "page", "answered", "looked" };

static void
remote_list_free(struct op *op)
{
	struct remote_list *l = container_of(op, struct remote_list, op);

	remote_ask_free(&l->ask);
	map_free(l->ids);
	free(l->all);
	free(l->name);
	free(l->scratch);
	free(l);
}

static int64_t
remote_time(const char *text)
{
	int64_t ms;

	return time_parse(text, &ms) ? ms : 0;
}

/* ---------------------------------------------------------------- one page */

static struct remote_listed *
remote_list_add(struct remote_list *l, const char *name, const char *state)
{
	struct remote_listed *x;

	if (l->n == l->room) {
		l->room = l->room == 0 ? REMOTE_PAGE : 2 * l->room;
		l->all = xrealloc(l->all, l->room * sizeof(*l->all));
	}
	x = &l->all[l->n++];
	memset(x, 0, sizeof(*x));
	snprintf(x->name, sizeof(x->name), "%s", name);
	snprintf(x->state, sizeof(x->state), "%s", state);
	return x;
}

/* A search for a prefix finds names that have it in the middle, too. */
static void
remote_saw_workspace(void *arg, const struct remote_item *i)
{
	struct remote_list   *l = arg;
	struct remote_listed *x;
	size_t                n = strlen(l->r->prefix);

	if (map_put(l->ids, span_str(i->id), l) != NULL) {
		l->twice = true;
		return;
	}
	if (strncmp(i->name, l->r->prefix, n) != 0 || i->name[n] == '\0' || strcmp(i->name, l->scratch) == 0)
		return;
	x = remote_list_add(l, i->name + n, i->state);
	x->locked = i->locked;
	x->asked = !i->tells_state;
	x->modified = remote_time(i->changed);
	remote_learn(l->r, x->name, i)->listed = true;
}

/* What never had bytes is no version. */
static void
remote_saw_version(void *arg, const struct remote_item *i)
{
	struct remote_list   *l = arg;
	struct remote_listed *x;

	if (strcmp(i->status, "pending") == 0 || strcmp(i->status, "discarded") == 0 || map_put(l->ids, span_str(i->id), l) != NULL)
		return;
	x = remote_list_add(l, "", i->id);
	x->size = i->size;
	x->modified = remote_time(i->created);
	x->deleted = strncmp(i->status, "backing_data_", strlen("backing_data_")) == 0;
}

static void
remote_list_select(struct remote_list *l)
{
	const struct remote_select *s = &l->r->select;
	struct buf                  text;
	char                        key[64];

	if (l->r->project_id[0] != '\0')
		send_query(&l->ask.req, "filter[project][id]", l->r->project_id);
	if (l->r->prefix[0] != '\0')
		send_query(&l->ask.req, "search[name]", l->r->prefix);
	buf_init(&text, 0);
	for (size_t i = 0; i < s->tags.n; i++)
		buf_printf(&text, "%s%s", i > 0 ? "," : "", s->tags.items[i]);
	if (s->tags.n > 0)
		send_query(&l->ask.req, "search[tags]", buf_str(&text));
	buf_free(&text);
	for (size_t i = 0; i < s->tag_pairs.n; i++) {
		snprintf(key, sizeof(key), "filter[tagged][%zu][key]", i);
		send_query(&l->ask.req, key, s->tag_pairs.keys[i]);
		snprintf(key, sizeof(key), "filter[tagged][%zu][value]", i);
		send_query(&l->ask.req, key, s->tag_pairs.values[i]);
	}
	send_query(&l->ask.req, "sort", "-latest-change-at");
}

static struct op *
remote_list_page(struct remote_list *l)
{
	char *org = remote_escaped(l->r->conf->organization), *full, page[24];

	if (l->name == NULL) {
		remote_to(&l->ask, "GET", "organizations/%s/workspaces", org);
		remote_list_select(l);
	} else {
		full = remote_full(l->r, l->name);
		remote_to(&l->ask, "GET", "state-versions");
		send_query(&l->ask.req, "filter[organization][name]", l->r->conf->organization);
		send_query(&l->ask.req, "filter[workspace][name]", full);
		free(full);
	}
	snprintf(page, sizeof(page), "%llu", (unsigned long long)l->page);
	send_query(&l->ask.req, "page[number]", page);
	send_query(&l->ask.req, "page[size]", REMOTE_PAGE_TEXT);
	l->ask.req.max_body = REMOTE_PAGE_MAX;
	l->ask.doc.each = l->name == NULL ? remote_saw_workspace : remote_saw_version;
	l->ask.doc.arg = l;
	free(org);
	return remote_ask(l->r, &l->ask);
}

/* Page by page, for they come newest first. false: enough of them. */
static bool
remote_list_tell_versions(struct remote_list *l)
{
	while (l->next < l->n) {
		const struct remote_listed *x = &l->all[l->next++];

		if (!l->version(l->arg, &(struct version_seen){ .id = x->state, .etag = x->state, .size = x->size, .modified = x->modified,
		        .latest = strcmp(x->state, l->found.state) == 0, .deleted = x->deleted }))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------- is it all? */

static enum op_turn
remote_list_again(struct remote_list *l)
{
	map_free(l->ids);
	l->ids = map_new();
	l->n = 0;
	l->page = 1;
	l->total = 0;
	l->twice = false;
	return op_await(&l->op, LIST_PAGE, l->tries++ > 0 ? op_sleep(l->op.loop, provider_backoff_ms(&l->r->b, l->tries, 250)) : NULL);
}

/* Did every workspace come, and each once? Some servers do not count them. */
static bool
remote_list_is_whole(const struct remote_list *l)
{
	return !l->twice && (!l->ask.doc.tells_total || l->ask.doc.total == map_count(l->ids));
}

/* Their versions are asked for one by one. */
static struct op *
remote_list_look(void *arg)
{
	struct remote_list   *l = arg;
	struct remote_listed *x;

	while (l->next < l->n) {
		x = &l->all[l->next++];
		if (x->asked)
			return remote_head(&l->r->b, &(struct state_ref){ x->name }, &x->tag);
	}
	return NULL;
}

static void
remote_list_looked(struct op *op, void *arg)
{
	struct remote_list *l = arg;

	if (op->err.code != ERR_OK && op->err.code != ERR_NOT_FOUND && l->unread.code == ERR_OK)
		l->unread = op->err;
}

static enum op_turn
remote_list_answered(struct remote_list *l)
{
	struct op               *op = &l->op;
	const struct remote_doc *d = &l->ask.doc;
	bool                     more;

	if (op_failed(op))
		return op_fail(op);
	if (l->ask.ans.http.status != 200 || !d->list) {
		remote_refused(l->r, &l->ask, &op->res);
		return op_fail(op);
	}
	l->twice |= l->page > 1 && d->total != l->total && l->name == NULL; /* one came or went */
	l->total = d->total;
	more = d->items > 0 && (d->next_page > l->page || d->total_pages > l->page);
	if (l->name != NULL)
		more = remote_list_tell_versions(l) && more;
	if (more && l->page++ < REMOTE_PAGES_MAX)
		return op_go(op, LIST_PAGE);
	if (l->name != NULL)
		return op_ok(op);
	if (!remote_list_is_whole(l)) {
		if (l->tries < REMOTE_LIST_TRIES)
			return remote_list_again(l);
		err_set(&op->res, ERR_BUSY, 0, "%s: workspaces change while they are listed, %u times", l->r->b.where, l->tries);
		return op_fail(op);
	}
	l->next = 0;
	return op_await(op, LIST_LOOKED, op_each_of(op->loop, remote_list_look, remote_list_looked, l, REMOTE_LOOKS));
}

/* ---------------------------------------------------------------- handing out */

/* Those that are not listed any more are looked for by name again, should anybody ask. */
static void
remote_list_forget(struct remote *r)
{
	struct span name;
	void       *v;

	for (size_t i = 0; map_next(r->known, &i, &name, &v);) {
		struct remote_known *k = v;

		if (!k->listed && k->lock[0] == '\0') {
			map_del(r->known, name);
			free(k);
		} else {
			k->listed = false;
		}
	}
}

/* A workspace without a state is none. */
static void
remote_list_tell(struct remote_list *l, const struct remote_listed *x)
{
	if (x->state[0] != '\0' || x->tag.etag[0] != '\0')
		l->seen(l->arg, &(struct state_seen){ .name = x->name, .etag = x->asked ? x->tag.etag : x->state, .modified = x->modified,
		    .locked = x->locked });
}

static enum op_turn
remote_list_hand_out(struct remote_list *l)
{
	struct op *op = &l->op;

	if (op_stopped(op))
		err_set(&op->res, ERR_CANCELLED, 0, "cancelled");
	else if (l->unread.code != ERR_OK)
		op->res = l->unread;
	else if (op->res.code == ERR_NOT_FOUND)
		err_clear(&op->res);
	if (op_failed(op))
		return op_fail(op);
	if (!l->looked) {
		l->looked = true;
		l->next = 0;
		if (l->r->select.name == NULL)
			remote_list_forget(l->r);
	}
	for (size_t n = 0; l->next < l->n && n < REMOTE_SEEN_CHUNK; n++)
		remote_list_tell(l, &l->all[l->next++]);
	return l->next < l->n ? op_await(op, LIST_LOOKED, op_sleep(op->loop, 0)) : op_ok(op);
}

static enum op_turn
remote_list_step(struct op *op)
{
	struct remote_list *l = container_of(op, struct remote_list, op);
	const char         *one = l->name != NULL ? l->name : l->r->select.name;

	switch ((enum remote_list_state)op->state) {
	case LIST_START: /* the one that the block names, or that whose versions are wanted; else all */
		return op_await(op, LIST_ONE, one != NULL ? remote_find(l->r, one, false, &l->found) : remote_project(l->r));
	case LIST_ONE:
		if (op_failed(op))
			return op_fail(op);
		if (one == NULL || l->name != NULL)
			return remote_list_again(l);
		remote_saw_workspace(l, &l->found);
		return op_await(op, LIST_LOOKED, op_each_of(op->loop, remote_list_look, remote_list_looked, l, 1));
	case LIST_PAGE:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, LIST_ANSWERED, remote_list_page(l));
	case LIST_ANSWERED:
		return remote_list_answered(l);
	case LIST_LOOKED:
		return remote_list_hand_out(l);
	}
	return OP_DONE;
}

static const struct op_class remote_list_class = { "remote list", remote_list_step, NULL, remote_list_free, remote_list_states,
	ARRAY_LEN(remote_list_states) };

static struct remote_list *
remote_list_new(struct backend *b, const char *what, const char *needs)
{
	struct remote_list *l = xcalloc(1, sizeof(*l));

	l->r = remote_of(b);
	op_init(&l->op, &remote_list_class, l->r->env->loop);
	l->scratch = remote_full(l->r, REACH_SCRATCH);
	l->ids = map_new();
	l->ask.what = what;
	l->ask.needs = needs;
	l->ask.name = "";
	return l;
}

struct op *
remote_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct remote_list *l = remote_list_new(b, "listing workspaces", "read workspaces");

	l->seen = seen;
	l->arg = arg;
	return &l->op;
}

struct op *
remote_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	struct remote_list *l = remote_list_new(b, "listing the versions of", "read state versions");

	l->ask.name = l->name = xstrdup(ref->name);
	l->version = seen;
	l->arg = arg;
	return &l->op;
}
