/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "harness.h"
#include "net/url.h"

/* What is asked beside the state protocol: which workspaces there are, how one is, and that its lock be removed. */
#define HARNESS_LIMIT     "1000" /* workspaces of a page: the most that the API gives */
#define HARNESS_PAGES_MAX 1000

#define HARNESS_DATA_PAGES_MAX 100

/* Something that Harness keeps of a workspace. */
struct harness_artefact {
	char    id[HARNESS_DATA_MAX], type[HARNESS_DATA_MAX];
	int64_t created;
};

/* One request, whose answer is a workspace, several of them or artefacts, or nothing that matters. */
struct harness_call {
	struct op                 op;
	struct harness           *x;
	char                     *name;     /* of the workspace, or of what is listed: for messages */
	const char               *what;
	struct hb_answer          answer;
	struct harness_page       page;
	struct harness_workspace *ret;
	/* of a listing */
	state_seen_fn            *seen;
	void                     *arg;
	struct map               *names;    /* that were told */
	unsigned                  number;   /* of the page under way; the first is asked for once more at the end */
	bool                      last;
	/* of a state's versions */
	struct harness_workspace  now;
	struct harness_artefact  *artefacts;
	size_t                    nartefacts;
	version_seen_fn          *version_seen;
};

static enum err_code
harness_tap(void *arg, const void *p, size_t n, struct err *reterr)
{
	return harness_page_feed(&((struct harness_call *)arg)->page, p, n, reterr);
}

static void
harness_restart(void *arg)
{
	harness_page_begin(&((struct harness_call *)arg)->page);
}

static struct op *
harness_send(struct harness_call *c, const char *method, const char *path)
{
	char              *url = xasprintf("%s/workspaces%s", c->x->project, path);
	struct hb_request  r = { .method = method, .address = url, .name = c->name, .again = HB_READ, .api = true };
	struct op         *op;

	if (strcmp(method, "GET") == 0) {
		r.on_body = harness_tap;
		r.restart = harness_restart;
		r.arg = c;
	} else {
		r.again = HB_IDEMPOTENT;
	}
	hb_answer_free(&c->answer);
	op = hb_send(&c->x->h, &r, &c->answer);
	free(url);
	return op;
}

/* After an answer; false: op.res says what is wrong with it. */
static bool
harness_answered(struct harness_call *c)
{
	if (!op_failed(&c->op) && c->answer.res.status != 200)
		hb_refused(&c->x->h, &c->answer.res, c->what, c->name, c->answer.doubt, &c->op.res);
	return !op_failed(&c->op);
}

static void
harness_call_free(struct op *op)
{
	struct harness_call *c = container_of(op, struct harness_call, op);

	hb_answer_free(&c->answer);
	harness_page_free(&c->page);
	map_free(c->names);
	free(c->artefacts);
	free(c->name);
	free(c);
}

static struct harness_call *
harness_call(struct harness *x, const struct op_class *class, const char *what, const char *name)
{
	struct harness_call *c = xcalloc(1, sizeof(*c));

	op_init(&c->op, class, x->h.env->loop);
	c->x = x;
	c->what = what;
	c->name = xstrdup(name);
	c->page.arg = c;
	return c;
}

/* "/NAME", and behind it tail and the account; owned. */
static char *
harness_path(const struct harness *x, const char *name, const char *tail)
{
	struct buf path;

	buf_init(&path, 0);
	buf_putc(&path, '/');
	url_escape(URL_SEGMENT, span_str(name), &path);
	buf_printf(&path, "%s%s", tail, x->query);
	return buf_take(&path);
}

/* ---------------------------------------------------------------- one workspace */

enum harness_ask_state { ASK_START, ASK_ANSWERED };

static const char *const harness_ask_states[] = { "start", "answered" };

static void
harness_seen_it(void *arg, const struct harness_workspace *w)
{
	*((struct harness_call *)arg)->ret = *w;
}

static enum op_turn
harness_ask_step(struct op *op)
{
	struct harness_call *c = container_of(op, struct harness_call, op);
	bool                 ask = c->ret != NULL;
	struct span          name = span_str(c->name);
	enum op_turn         turn;
	char                *path;

	if ((enum harness_ask_state)op->state == ASK_START) {
		path = harness_path(c->x, c->name, ask ? "" : "/actions/force-unlock");
		turn = op_await(op, ASK_ANSWERED, harness_send(c, ask ? "GET" : "POST", path));
		free(path);
		return turn;
	}
	if (!harness_answered(c) || !ask || harness_page_end(&c->page, false, &op->res) != ERR_OK)
		return op_finish(op);
	if (c->ret->pruned)
		map_put(c->x->pruned, name, c->x);
	else
		map_del(c->x->pruned, name);
	return op_finish(op);
}

static const struct op_class harness_ask_class = { "harness workspace", harness_ask_step, NULL, harness_call_free, harness_ask_states,
	ARRAY_LEN(harness_ask_states) };

struct op *
harness_ask(struct harness *x, const char *workspace, struct harness_workspace *ret)
{
	struct harness_call *c = harness_call(x, &harness_ask_class, "asking Harness about", workspace);

	c->ret = ret;
	c->page.seen = harness_seen_it;
	return &c->op;
}

struct op *
harness_force_unlock(struct harness *x, const char *workspace)
{
	return &harness_call(x, &harness_ask_class, "removing the lock of", workspace)->op;
}

/* ---------------------------------------------------------------- all of them */

enum harness_list_state { LIST_START, LIST_PAGED };

static const char *const harness_list_states[] = { "start", "paged" };

/* A page that is sent again, or that changed between two requests, tells some of them twice. */
static void
harness_listed(void *arg, const struct harness_workspace *w)
{
	struct harness_call  *c = arg;
	struct harness_known *k = map_get(c->x->known, span_str(w->identifier));

	if (k == NULL) {
		k = xcalloc(1, sizeof(*k));
		map_put(c->x->known, span_str(w->identifier), k);
	}
	k->listed = w->updated;
	if (map_put(c->names, span_str(w->identifier), c) != NULL)
		return;
	c->seen(c->arg, &(struct state_seen){ .name = w->identifier, .etag = "", .modified = w->updated, .locked = w->locked,
	    .problem = w->odd ? "its identifier is none that Harness documents" : NULL });
}

static enum op_turn
harness_next_page(struct harness_call *c)
{
	char *path = xasprintf("%s&limit=" HARNESS_LIMIT "&page=%u&sort=updated,DESC", c->x->query, c->number);
	enum op_turn turn = op_await(&c->op, LIST_PAGED, harness_send(c, "GET", path));

	free(path);
	return turn;
}

static unsigned
harness_pages(const struct harness_call *c)
{
	const char *total = http_header_get(&c->answer.res, "x-total-pages");

	return total != NULL ? (unsigned)strtoul(total, NULL, 10) : 0;
}

static enum op_turn
harness_list_step(struct op *op)
{
	struct harness_call *c = container_of(op, struct harness_call, op);

	if ((enum harness_list_state)op->state == LIST_START)
		return harness_next_page(c);
	if (!harness_answered(c) || harness_page_end(&c->page, true, &op->res) != ERR_OK || c->last)
		return op_finish(op);
	if (c->number >= HARNESS_PAGES_MAX) {
		err_set(&op->res, ERR_UNSUPPORTED, 0, "the listing of %s does not end after %d pages", c->name, HARNESS_PAGES_MAX);
		return op_finish(op);
	}
	if (c->number >= harness_pages(c)) {
		if (c->number == 1)
			return op_finish(op);
		c->last = true; /* what changed meanwhile has moved to the front, past the pages that were still to come */
		c->number = 0;
	}
	c->number++;
	return harness_next_page(c);
}

static const struct op_class harness_list_class = { "harness list", harness_list_step, NULL, harness_call_free, harness_list_states,
	ARRAY_LEN(harness_list_states) };

struct op *
harness_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct harness      *x = harness_of(b);
	struct harness_call *c;

	if (x->workspaces.n > 0)
		return hb_list_given(&x->h, &x->workspaces, seen, arg);
	c = harness_call(x, &harness_list_class, "listing the workspaces of", x->place);
	c->number = 1;
	c->names = map_new();
	c->seen = seen;
	c->arg = arg;
	c->page.seen = harness_listed;
	return &c->op;
}

/* ---------------------------------------------------------------- what it keeps of one */

enum harness_history_state { HISTORY_START, HISTORY_ASKED, HISTORY_PAGED };

static const char *const harness_history_states[] = { "start", "asked", "paged" };

static void
harness_keeps(void *arg, const struct harness_workspace *w)
{
	struct harness_call     *c = arg;
	struct harness_artefact *a;

	if (w->id[0] == '\0')
		return;
	if ((c->nartefacts & (c->nartefacts - 1)) == 0)
		c->artefacts = xreallocarray(c->artefacts, c->nartefacts > 0 ? 2 * c->nartefacts : 1, sizeof(*c->artefacts));
	a = &c->artefacts[c->nartefacts++];
	memcpy(a->id, w->id, sizeof(a->id));
	memcpy(a->type, w->type, sizeof(a->type));
	a->created = w->created;
}

static int
harness_newer(const void *a, const void *b)
{
	int64_t x = ((const struct harness_artefact *)a)->created, y = ((const struct harness_artefact *)b)->created;

	return x > y ? -1 : x < y;
}

/* Plans and more lie there too. What states are called is not documented: as the current one is, whose id the workspace tells; else only
 * reading shows it. */
static void
harness_tell_states(struct harness_call *c)
{
	const char *type = NULL;

	if (c->nartefacts > 0)
		qsort(c->artefacts, c->nartefacts, sizeof(*c->artefacts), harness_newer);
	for (size_t i = 0; i < c->nartefacts && type == NULL; i++)
		if (strcmp(c->artefacts[i].id, c->now.state) == 0)
			type = c->artefacts[i].type;
	for (size_t i = 0; i < c->nartefacts; i++) {
		const struct harness_artefact *a = &c->artefacts[i];

		if ((type == NULL || strcmp(a->type, type) == 0) &&
		    !c->version_seen(c->arg, &(struct version_seen){ .id = a->id, .etag = "", .modified = a->created,
		        .latest = strcmp(a->id, c->now.state) == 0, .guessed = true }))
			return;
	}
}

static enum op_turn
harness_data_page(struct harness_call *c)
{
	char        *tail = xasprintf("/data%s&limit=" HARNESS_LIMIT "&page=%u", c->x->query, ++c->number), *path;
	struct buf   name;
	enum op_turn turn;

	buf_init(&name, 0);
	url_escape(URL_SEGMENT, span_str(c->name), &name);
	path = xasprintf("/%s%s", buf_str(&name), tail);
	turn = op_await(&c->op, HISTORY_PAGED, harness_send(c, "GET", path));
	buf_free(&name);
	free(path);
	free(tail);
	return turn;
}

static enum op_turn
harness_history_step(struct op *op)
{
	struct harness_call *c = container_of(op, struct harness_call, op);

	switch ((enum harness_history_state)op->state) {
	case HISTORY_START:
		return op_await(op, HISTORY_ASKED, harness_ask(c->x, c->name, &c->now));
	case HISTORY_ASKED:
		if (op_failed(op))
			return op_fail(op);
		return harness_data_page(c);
	case HISTORY_PAGED:
		if (!harness_answered(c) || harness_page_end(&c->page, true, &op->res) != ERR_OK)
			return op_finish(op);
		if (c->number < harness_pages(c) && c->number < HARNESS_DATA_PAGES_MAX)
			return harness_data_page(c);
		harness_tell_states(c);
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class harness_history_class = { "harness versions", harness_history_step, NULL, harness_call_free,
	harness_history_states, ARRAY_LEN(harness_history_states) };

struct op *
harness_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	struct harness_call *c = harness_call(harness_of(b), &harness_history_class, "listing what Harness keeps of", ref->name);

	c->version_seen = seen;
	c->arg = arg;
	c->page.seen = harness_keeps;
	return &c->op;
}
