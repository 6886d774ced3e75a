/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/map.h"
#include "gcs.h"

/*
 * Every "*.tfstate" below the prefix, page by page. The page is parsed as it arrives; what it shows is handed out once it is whole, for
 * a page that breaks off is asked for again. "x.tflock" sorts before "x.tfstate": a lock is known when its state comes.
 */
#define GCS_PAGE_BODY_MAX ((uint64_t)16 << 20)
#define GCS_PAGE_MAX      10000 /* entries of one page, whatever the server makes of maxResults */
#define GCS_PAGE_KEYS     "1000"
#define GCS_TOKEN_MAX     2048
#define GCS_SEEN_CHUNK    500   /* names handed out in one turn of the loop */

struct gcs_item {
	char    *name;
	char     generation[24];
	uint64_t size;
	int64_t  modified;
	bool     broken;     /* its name is cut, or holds a NUL */
};

struct gcs_list {
	struct op           op;
	struct gcs         *g;
	struct send_request req;
	struct send_answer  ans;
	struct json_reader *json;
	char                key[24];
	bool                in_items, listing;
	struct gcs_item    *items, cur;
	size_t              nitems, room, next;
	char                token[GCS_TOKEN_MAX], last_token[GCS_TOKEN_MAX];
	struct map         *locks;  /* names of states whose lock was seen */
	state_seen_fn      *seen;
	void               *arg;
	char               *below;  /* one page of all that is there, not of states alone; NULL: states, all pages */
	const char         *keys;   /* of a page */
	int64_t            *ret_date;
	struct err          broken; /* what the page's reader stopped for */
};

enum gcs_list_state { LIST_READ, LIST_PAGE, LIST_HAND_OUT };

static const char *const gcs_list_states[] = { "read", "page", "hand out" };

static void
gcs_list_forget(struct gcs_list *l)
{
	for (size_t i = 0; i < l->nitems; i++)
		free(l->items[i].name);
	free(l->cur.name);
	l->cur = (struct gcs_item){ .name = NULL };
	l->nitems = l->next = 0;
}

static void
gcs_list_free(struct op *op)
{
	struct gcs_list *l = container_of(op, struct gcs_list, op);

	gcs_list_forget(l);
	free(l->items);
	free(l->below);
	map_free(l->locks);
	json_reader_free(l->json);
	send_request_free(&l->req);
	send_answer_free(&l->ans);
	free(l);
}

/* ---------------------------------------------------------------- a page */

static bool
gcs_list_push(struct gcs_list *l)
{
	if (l->cur.name == NULL)
		return true;
	if (l->nitems == GCS_PAGE_MAX)
		return false;
	if (l->nitems == l->room) {
		l->room = l->room == 0 ? 64 : 2 * l->room;
		l->items = xreallocarray(l->items, l->room, sizeof(*l->items));
	}
	l->items[l->nitems++] = l->cur;
	l->cur = (struct gcs_item){ .name = NULL };
	return true;
}

/* Cut where it does not fit. */
static void
gcs_list_text(char *to, size_t size, struct span text)
{
	size_t n = text.n < size ? text.n : size - 1;

	memcpy(to, text.p, n);
	to[n] = '\0';
}

static void
gcs_list_member(struct gcs_list *l, const struct json_token *t)
{
	char text[TIME_TEXT_MAX];

	gcs_list_text(text, sizeof(text), t->text);
	if (strcmp(l->key, "name") == 0 && l->cur.name == NULL) {
		l->cur.name = span_dup(t->text);
		l->cur.broken = t->cut || memchr(t->text.p, '\0', t->text.n) != NULL;
	} else if (strcmp(l->key, "generation") == 0) {
		gcs_list_text(l->cur.generation, sizeof(l->cur.generation), t->text);
	} else if (strcmp(l->key, "size") == 0) {
		l->cur.size = strtoull(text, NULL, 10);
	} else if (strcmp(l->key, "updated") == 0 && !time_parse(text, &l->cur.modified)) {
		l->cur.modified = 0;
	}
}

static enum json_want
gcs_list_token(struct gcs_list *l, const struct json_token *t)
{
	if (!t->cut && t->text.n < sizeof(l->token)) {
		gcs_list_text(l->token, sizeof(l->token), t->text);
		return JSON_WANT;
	}
	err_set(&l->broken, ERR_UNSUPPORTED, 0, "the token of the listing's next page is longer than %d bytes", GCS_TOKEN_MAX - 1);
	return JSON_STOP;
}

static enum json_want
gcs_list_event(void *arg, const struct json_token *t)
{
	struct gcs_list *l = arg;

	if (t->depth == 0 && t->event == JSON_EV_OBJECT)
		l->listing = true;
	if (t->depth == 1 && t->event == JSON_EV_STRING && strcmp(l->key, "nextPageToken") == 0)
		return gcs_list_token(l, t);
	if (t->event == JSON_EV_KEY && (t->depth == 1 || t->depth == 3))
		gcs_list_text(l->key, sizeof(l->key), t->text);
	else if (t->depth == 1 && (t->event == JSON_EV_ARRAY || t->event == JSON_EV_ARRAY_END))
		l->in_items = t->event == JSON_EV_ARRAY && strcmp(l->key, "items") == 0;
	else if (l->in_items && t->depth == 3 && (t->event == JSON_EV_STRING || t->event == JSON_EV_NUMBER))
		gcs_list_member(l, t);
	else if (l->in_items && t->depth == 2 && t->event == JSON_EV_OBJECT_END && !gcs_list_push(l)) {
		err_set(&l->broken, ERR_UNSUPPORTED, 0, "a page of the listing has more than %d entries", GCS_PAGE_MAX);
		return JSON_STOP;
	} else if (t->depth >= 3 && (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY))
		return JSON_SKIP_TEXT;
	return JSON_WANT;
}

static enum err_code
gcs_list_feed(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct gcs_list *l = arg;
	struct err       e;

	if (json_feed(l->json, p, n, &e) == ERR_OK)
		return ERR_OK;
	if (l->broken.code != ERR_OK)
		*reterr = l->broken;
	else
		err_set(reterr, ERR_UNSUPPORTED, 200, "the answer to a listing is none (%s)", e.msg);
	return err_hint(reterr, GCS_OTHER_HINT);
}

static void
gcs_list_restart(void *arg)
{
	struct gcs_list *l = arg;

	gcs_list_forget(l);
	json_reader_free(l->json);
	l->json = json_reader_new(gcs_list_event, l);
	l->key[0] = l->token[0] = '\0';
	l->in_items = l->listing = false;
}

static struct op *
gcs_list_send(struct gcs_list *l)
{
	memcpy(l->last_token, l->token, sizeof(l->last_token));
	gcs_to_objects(l->g, &l->req, "GET");
	send_query(&l->req, "prefix", l->below != NULL ? l->below : l->g->prefix);
	send_query(&l->req, "maxResults", l->keys);
	send_query(&l->req, "fields", "items(name,generation,size,updated),nextPageToken");
	if (l->last_token[0] != '\0')
		send_query(&l->req, "pageToken", l->last_token);
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
		gcs_refused(l->g, &l->req, &l->ans, "listing", reterr);
	} else if (json_end(l->json, reterr) != ERR_OK || !l->listing) {
		err_set(reterr, ERR_CORRUPT, 200, "bucket %s: the answer to a listing is none", bucket);
		err_hint(reterr, GCS_OTHER_HINT);
	} else if (l->token[0] != '\0' && strcmp(l->token, l->last_token) == 0) {
		err_set(reterr, ERR_CORRUPT, 200, "bucket %s: the listing goes round in a circle", bucket);
	} else {
		return true;
	}
	return false;
}

/* ---------------------------------------------------------------- handing out */

static void
gcs_list_item(struct gcs_list *l, const struct gcs_item *i)
{
	size_t      n = strlen(l->g->prefix);
	struct span name;

	if (strncmp(i->name, l->g->prefix, n) != 0)
		return;
	name = span_str(i->name + n);
	if (l->below != NULL) {
		l->seen(l->arg, &(struct state_seen){ .name = i->name + n, .etag = i->generation, .size = i->size, .modified = i->modified });
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
	l->seen(l->arg, &(struct state_seen){ .name = i->name + n, .etag = i->generation, .size = i->size, .modified = i->modified,
	    .locked = map_get(l->locks, name) != NULL,
	    .problem = i->broken || i->generation[0] == '\0' ? "its name or generation cannot be read" : NULL });
}

/* false: there is more to do in another turn. */
static bool
gcs_list_hand_out(struct gcs_list *l)
{
	for (int n = 0; n < GCS_SEEN_CHUNK; n++) {
		if (l->next == l->nitems)
			return true;
		gcs_list_item(l, &l->items[l->next++]);
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
		return l->token[0] != '\0' && l->below == NULL ? op_go(op, LIST_READ) : op_ok(op);
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
gcs_list_page(struct gcs *g, const char *below, const char *keys, int64_t *ret_date, state_seen_fn *seen, void *arg)
{
	struct gcs_list *l = gcs_list_new(g, keys, seen, arg);

	l->below = gcs_object_of(g, below);
	l->ret_date = ret_date;
	*ret_date = GCS_NO_ANSWER;
	return &l->op;
}
