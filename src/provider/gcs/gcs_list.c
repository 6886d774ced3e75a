/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "gcs.h"

/*
 * Every "*.tfstate" below the prefix, page by page (gcs_page.c). What a page shows is handed out once it is whole, for
 * a page that breaks off is asked for again. "x.tflock" sorts before "x.tfstate": a lock is known when its state comes.
 */
#define GCS_PAGE_BODY_MAX ((uint64_t)16 << 20)
#define GCS_PAGE_KEYS     "1000"
#define GCS_SEEN_CHUNK    500   /* names handed out in one turn of the loop */

#define GCS_GENERATION_MAX 24

/* One of the versions of an object. */
struct gcs_version {
	char     generation[GCS_GENERATION_MAX];
	uint64_t size;
	int64_t  made;
	size_t   at;   /* in the listing */
};

struct gcs_list {
	struct op           op;
	struct gcs         *g;
	struct send_request req;
	struct send_answer  ans;
	struct gcs_page     page;
	struct map         *locks;  /* names of states whose lock was seen */
	state_seen_fn      *seen;
	void               *arg;
	char               *below;  /* one page of all that is there, not of states alone; NULL: states, all pages */
	const char         *keys;   /* of a page */
	int64_t            *ret_date;
	/* The versions of one object, oldest first: the order of the listing. */
	char               *object;
	struct gcs_version *versions;
	size_t              nversions;
	version_seen_fn    *version_seen;
};

enum gcs_list_state { LIST_READ, LIST_PAGE, LIST_HAND_OUT };

static const char *const gcs_list_states[] = { "read", "page", "hand out" };

static void
gcs_list_free(struct op *op)
{
	struct gcs_list *l = container_of(op, struct gcs_list, op);

	gcs_page_free(&l->page);
	free(l->below);
	free(l->object);
	free(l->versions);
	map_free(l->locks);
	send_request_free(&l->req);
	send_answer_free(&l->ans);
	free(l);
}

static enum err_code
gcs_list_feed(void *arg, const void *p, size_t n, struct err *reterr)
{
	return gcs_page_feed(&((struct gcs_list *)arg)->page, p, n, reterr);
}

static void
gcs_list_restart(void *arg)
{
	gcs_page_begin(&((struct gcs_list *)arg)->page);
}

static struct op *
gcs_list_send(struct gcs_list *l)
{
	gcs_to_objects(l->g, &l->req, "GET");
	send_query(&l->req, "prefix", l->object != NULL ? l->object : l->below != NULL ? l->below : l->g->prefix);
	send_query(&l->req, "maxResults", l->keys);
	send_query(&l->req, "fields", l->object != NULL ? "items(name,generation,size,timeCreated),nextPageToken" :
	    "items(name,generation,size,updated),nextPageToken");
	if (l->object != NULL)
		send_query(&l->req, "versions", "true");
	if (l->page.token[0] != '\0')
		send_query(&l->req, "pageToken", l->page.token);
	l->req.max_body = GCS_PAGE_BODY_MAX;
	l->req.on_body = gcs_list_feed;
	l->req.restart = gcs_list_restart;
	l->req.arg = l;
	return gcs_send(l->g, &l->req, &l->ans);
}

static bool
gcs_list_check(struct gcs_list *l, struct err *reterr)
{
	const char *bucket = l->g->conf->bucket;

	if (l->ans.http.status != 200) {
		gcs_refused(l->g, &l->req, &l->ans, l->object != NULL ? "listing versions" : "listing", reterr);
	} else if (!gcs_page_end(&l->page)) {
		err_set(reterr, ERR_UNSUPPORTED, 200, "bucket %s: the answer to a listing is none", bucket);
		err_hint(reterr, GCS_OTHER_HINT);
	} else if (l->page.token[0] == '\0' || l->below != NULL) {
		return true;
	} else {
		return list_page_go_on(&l->page.page, "bucket", bucket, l->page.token, reterr) == ERR_OK;
	}
	return false;
}

/* ---------------------------------------------------------------- handing out */

static void
gcs_list_version(struct gcs_list *l, const struct list_page_entry *i)
{
	const char *generation = list_page_str(&l->page.page, i->etag);

	if (strcmp(list_page_str(&l->page.page, i->name), l->object) != 0 || strlen(generation) >= GCS_GENERATION_MAX)
		return;
	if ((l->nversions & (l->nversions - 1)) == 0)
		l->versions = xreallocarray(l->versions, l->nversions > 0 ? 2 * l->nversions : 1, sizeof(*l->versions));
	snprintf(l->versions[l->nversions].generation, GCS_GENERATION_MAX, "%s", generation);
	l->versions[l->nversions].size = i->size;
	l->versions[l->nversions].at = l->nversions;
	l->versions[l->nversions++].made = i->modified;
}

/* Generations are in no promised order. */
static int
gcs_version_compare(const void *a, const void *b)
{
	const struct gcs_version *x = a, *y = b;

	if (x->made != y->made)
		return x->made < y->made ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static void
gcs_list_tell_versions(struct gcs_list *l)
{
	if (l->nversions > 0)
		qsort(l->versions, l->nversions, sizeof(*l->versions), gcs_version_compare);
	for (size_t n = l->nversions; n-- > 0;) {
		const struct gcs_version *v = &l->versions[n];

		if (!l->version_seen(l->arg, &(struct version_seen){ .id = v->generation, .etag = v->generation, .size = v->size,
		        .modified = v->made, .latest = n + 1 == l->nversions }))
			return;
	}
}

static void
gcs_list_item(struct gcs_list *l, const struct list_page_entry *i)
{
	size_t      n = strlen(l->g->prefix);
	const char *object = list_page_str(&l->page.page, i->name), *generation = list_page_str(&l->page.page, i->etag);
	struct span name;

	if (l->object != NULL) {
		gcs_list_version(l, i);
		return;
	}
	if (strncmp(object, l->g->prefix, n) != 0)
		return;
	name = span_str(object + n);
	if (l->below != NULL) {
		l->seen(l->arg, &(struct state_seen){ .name = object + n, .etag = generation, .size = i->size, .modified = i->modified });
		return;
	}
	if (span_ends(name, GCS_LOCK)) {
		char *state = xasprintf("%.*s%s", (int)(name.n - strlen(GCS_LOCK)), (const char *)name.p, GCS_STATE);

		map_put(l->locks, span_str(state), l);
		free(state);
		return;
	}
	if (!span_ends(name, GCS_STATE))
		return;
	l->seen(l->arg, &(struct state_seen){ .name = object + n, .etag = generation, .size = i->size, .modified = i->modified,
	    .locked = map_get(l->locks, name) != NULL,
	    .problem = i->broken || generation[0] == '\0' || strlen(generation) >= ETAG_MAX ? "its name or generation cannot be read" : NULL });
}

/* false: there is more to do in another turn. */
static bool
gcs_list_hand_out(struct gcs_list *l)
{
	const struct list_page_entry *i;

	for (int n = 0; n < GCS_SEEN_CHUNK; n++) {
		i = list_page_next(&l->page.page);
		if (i == NULL)
			return true;
		gcs_list_item(l, i);
	}
	return false;
}

static enum op_turn
gcs_list_step(struct op *op)
{
	struct gcs_list *l = container_of(op, struct gcs_list, op);

	switch ((enum gcs_list_state)op->state) {
	case LIST_READ:
		return op_await(op, LIST_PAGE, gcs_list_send(l));
	case LIST_PAGE:
		if (l->ret_date != NULL && !op_failed(op))
			*l->ret_date = l->ans.http.date_ms;
		if (op_failed(op) || !gcs_list_check(l, &op->res))
			return op_fail(op);
		__attribute__((fallthrough));
	case LIST_HAND_OUT:
		if (op_failed(op))
			return op_fail(op);
		if (!gcs_list_hand_out(l))
			return op_await(op, LIST_HAND_OUT, op_sleep(op->loop, 0));
		if (l->page.token[0] != '\0' && l->below == NULL)
			return op_go(op, LIST_READ);
		gcs_list_tell_versions(l);
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class gcs_list_class = { "gcs list", gcs_list_step, NULL, gcs_list_free, gcs_list_states,
	ARRAY_LEN(gcs_list_states) };

static struct gcs_list *
gcs_list_new(struct gcs *g, const char *keys, state_seen_fn *seen, void *arg)
{
	struct gcs_list *l = xcalloc(1, sizeof(*l));

	l->g = g;
	op_init(&l->op, &gcs_list_class, g->env->loop);
	gcs_page_init(&l->page);
	l->locks = map_new();
	l->keys = keys;
	l->seen = seen;
	l->arg = arg;
	return l;
}

struct op *
gcs_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	return &gcs_list_new(gcs_of(b), GCS_PAGE_KEYS, seen, arg)->op;
}

struct op *
gcs_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	struct gcs_list *l = gcs_list_new(gcs_of(b), GCS_PAGE_KEYS, NULL, arg);

	l->object = gcs_object_of(l->g, ref->name);
	l->version_seen = seen;
	return &l->op;
}

struct op *
gcs_list_page(struct gcs *g, const char *below, const char *keys, int64_t *ret_date, state_seen_fn *seen, void *arg)
{
	struct gcs_list *l = gcs_list_new(g, keys, seen, arg);

	l->below = gcs_object_of(g, below);
	l->ret_date = ret_date;
	*ret_date = GCS_NO_ANSWER;
	return &l->op;
}
