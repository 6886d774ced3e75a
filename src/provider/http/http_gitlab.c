/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "http.h"
#include "net/url.h"
#include "provider/outside.h"
#include "provider/reach.h"

/*
 * What GitLab has beside terraform's protocol: an API (GraphQL) that lists the states of a project, with the version of each that is shown
 * and whether it is locked. A version is a serial, uploaded once; deleted and uploaded again it has another time.
 */
#define GITLAB_PAGE      "100"  /* states: the most that the API gives at once */
#define GITLAB_PAGES_MAX 1000
#define GITLAB_SWEEP_MS  1000   /* between looks at a row that is being deleted, */
#define GITLAB_SWEEP_MAX 20     /* so often */
#define GITLAB_STATE     "{name lockedAt lockedByUser{username} latestVersion{serial createdAt}}"

void
hb_gitlab_init(struct hb *h)
{
	static const char    mark[] = "/api/v4/projects/";
	const char          *at = strstr(h->address, mark), *id = at + strlen(mark), *user = h->conf->username;
	const char          *token = outside_env(h->env, "CI_JOB_TOKEN"), *ci = outside_env(h->env, "CI_API_V4_URL");
	struct span          s = { (const uint8_t *)id, strcspn(id, "/") };
	struct buf           path, query;
	struct json_writer   w;

	buf_init(&path, 0);
	buf_init(&query, 0);
	url_unescape(s, false, &path);
	h->api = xasprintf("%.*s/api/graphql", (int)(at - h->address), h->address);
	if (id[strspn(id, "0123456789")] == '/') {
		buf_printf(&query, "projects(ids:[\"gid://gitlab/Project/%s\"]){nodes", buf_str(&path));
	} else {
		buf_puts(&query, "project(fullPath:");
		json_begin(&w, &query);
		json_str(&w, buf_str(&path));
		buf_puts(&query, ")");
	}
	h->project = buf_take(&query);
	at = strstr(id, "/terraform/state/") + strlen("/terraform/state/");
	if (!h->free_names) {
		buf_reset(&path);
		url_unescape(span_of(at, strcspn(at, "/?")), false, &path);
		h->state = buf_take(&path);
	}
	h->lists = h->free_names && h->conf->states.n == 0;
	if (user != NULL && user[0] != '\0' && strcmp(user, "gitlab-ci-token") != 0)
		h->api_token = h->conf->password;
	if (h->basic == NULL && h->conf->headers.n == 0 && token != NULL && ci != NULL && strncmp(h->address, ci, strlen(ci)) == 0)
		h->basic = hb_basic("gitlab-ci-token", token); /* a job of that very GitLab */
	buf_free(&path);
}

/* ---------------------------------------------------------------- one question */

struct gitlab_call {
	struct op               op;
	struct hb              *h;
	char                   *name;     /* of a state; of a listing, for messages */
	struct body            *body;
	struct hb_answer        answer;
	struct hb_gitlab_state *ret;
	state_seen_fn          *seen;
	void                   *arg;
	unsigned                pages;
};

/* what: terraformState(name:"N"), or terraformStates(first:100,after:"A"), and what is wanted of them. */
static struct op *
gitlab_send(struct gitlab_call *c, const char *what)
{
	struct hb_request  r = { .method = "POST", .address = c->h->api, .name = c->name, .again = HB_READ, .api = true };
	char              *query = xasprintf("query{%s{%s}}%s", c->h->project, what, strchr(c->h->project, '{') != NULL ? "}" : "");
	struct buf         body;
	struct json_writer w;

	buf_init(&body, 0);
	json_begin(&w, &body);
	json_obj(&w);
	json_kv_str(&w, "query", query);
	json_obj_end(&w);
	free(query);
	body_unref(c->body);
	r.body = c->body = body_new(&body);
	hb_answer_free(&c->answer);
	return hb_send(c->h, &r, &c->answer);
}

/* Appends NAME:"VALUE" to a query. */
static void
gitlab_argument(struct buf *q, const char *name, const char *value)
{
	struct json_writer w;

	buf_puts(q, name);
	json_begin(&w, q);
	json_str(&w, value);
}

static const char *
gitlab_text(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text != NULL ? text : "";
}

static void
gitlab_read(const json_t *node, struct hb_gitlab_state *ret)
{
	const json_t *version = json_object_get(node, "latestVersion"), *serial = json_object_get(version, "serial");

	memset(ret, 0, sizeof(*ret));
	if (json_is_integer(serial)) {
		ret->serial = (uint64_t)json_integer_value(serial);
		snprintf(ret->etag, sizeof(ret->etag), "%llu@%.48s", (unsigned long long)ret->serial, gitlab_text(version, "createdAt"));
	}
	span_text(ret->locked_at, sizeof(ret->locked_at), span_str(gitlab_text(node, "lockedAt")));
	span_text(ret->locked_by, sizeof(ret->locked_by), span_str(gitlab_text(json_object_get(node, "lockedByUser"), "username")));
}

/* The project in an answer, which *root owns; NULL: op.res says why there is none. */
static const json_t *
gitlab_answered(struct gitlab_call *c, json_t **root)
{
	const struct http_response *r = &c->answer.res;
	struct span                 body = r->body != NULL && body_in_memory(r->body) ? body_span(r->body) : SPAN_LIT("");
	const json_t               *data, *project;

	*root = NULL;
	if (op_failed(&c->op))
		return NULL;
	if (r->status != 200) {
		hb_refused(c->h, r, "asking GitLab about", c->name, false, &c->op.res);
		return NULL;
	}
	*root = json_loadb((const char *)body.p, body.n, 0, NULL);
	data = json_object_get(*root, "data");
	project = json_object_get(data, "project");
	if (project == NULL)
		project = json_array_get(json_object_get(json_object_get(data, "projects"), "nodes"), 0);
	if (json_is_object(project))
		return project;
	if (!json_is_object(data)) {
		err_set(&c->op.res, ERR_UNSUPPORTED, 200, "asking GitLab about %s: the answer is none of its API", c->name);
		err_hint(&c->op.res, "check address, and that no proxy or login page answers in its place");
	} else {
		err_set(&c->op.res, ERR_AUTH, 200, "asking GitLab about %s: it shows no such project to this token", c->name);
		err_hint(&c->op.res, "the API wants a personal, project or group access token with scope read_api, not that of a job; "
		    "or name the states: states = [\"...\"]");
	}
	return NULL;
}

static void
gitlab_call_free(struct op *op)
{
	struct gitlab_call *c = container_of(op, struct gitlab_call, op);

	hb_answer_free(&c->answer);
	body_unref(c->body);
	free(c->name);
	free(c);
}

static struct gitlab_call *
gitlab_call(struct hb *h, const struct op_class *class, const char *name)
{
	struct gitlab_call *c = xcalloc(1, sizeof(*c));

	op_init(&c->op, class, h->env->loop);
	c->h = h;
	c->name = xstrdup(name);
	return c;
}

enum gitlab_state { START, ANSWERED };

static const char *const gitlab_states[] = { "start", "answered" };

static enum op_turn
gitlab_ask_step(struct op *op)
{
	struct gitlab_call *c = container_of(op, struct gitlab_call, op);
	const json_t       *project, *node;
	enum op_turn        turn;
	json_t             *root;
	struct buf          q;

	if ((enum gitlab_state)op->state == START) {
		buf_init(&q, 0);
		gitlab_argument(&q, "terraformState(name:", c->name);
		buf_puts(&q, ")" GITLAB_STATE);
		turn = op_await(op, ANSWERED, gitlab_send(c, buf_str(&q)));
		buf_free(&q);
		return turn;
	}
	project = gitlab_answered(c, &root);
	node = json_object_get(project, "terraformState");
	if (json_is_object(node))
		gitlab_read(node, c->ret);
	else if (project != NULL)
		err_set(&op->res, ERR_NOT_FOUND, 200, "GitLab has no state %s", c->name);
	json_decref(root);
	return op_finish(op);
}

static const struct op_class gitlab_ask_class = { "gitlab state", gitlab_ask_step, NULL, gitlab_call_free, gitlab_states,
	ARRAY_LEN(gitlab_states) };

struct op *
hb_gitlab_ask(struct hb *h, const char *name, struct hb_gitlab_state *ret)
{
	struct gitlab_call *c = gitlab_call(h, &gitlab_ask_class, h->free_names ? name : h->state);

	c->ret = ret;
	return &c->op;
}

/* ---------------------------------------------------------------- the listing */

static enum op_turn
gitlab_page(struct gitlab_call *c, const char *after)
{
	enum op_turn turn;
	struct buf   q;

	buf_init(&q, 0);
	buf_puts(&q, "terraformStates(first:" GITLAB_PAGE);
	if (after != NULL)
		gitlab_argument(&q, ",after:", after);
	buf_puts(&q, "){nodes" GITLAB_STATE " pageInfo{hasNextPage endCursor}}");
	turn = op_await(&c->op, ANSWERED, gitlab_send(c, buf_str(&q)));
	buf_free(&q);
	return turn;
}

/* What was only locked, and never written, has a row but no version. */
static void
gitlab_tell(struct gitlab_call *c, const json_t *node)
{
	struct hb_gitlab_state now;

	gitlab_read(node, &now);
	if (now.etag[0] != '\0')
		c->seen(c->arg, &(struct state_seen){ .name = gitlab_text(node, "name"), .etag = now.etag, .locked = now.locked_at[0] != '\0' });
}

static enum op_turn
gitlab_list_step(struct op *op)
{
	struct gitlab_call *c = container_of(op, struct gitlab_call, op);
	const json_t       *states, *info, *node;
	enum op_turn        turn;
	json_t             *root;
	size_t              i;

	if ((enum gitlab_state)op->state == START)
		return gitlab_page(c, NULL);
	states = json_object_get(gitlab_answered(c, &root), "terraformStates");
	info = json_object_get(states, "pageInfo");
	if (!op_failed(op) && (!json_is_array(json_object_get(states, "nodes")) || !json_is_object(info))) {
		err_set(&op->res, ERR_UNSUPPORTED, 200, "this GitLab does not list its states");
		err_hint(&op->res, "name them: states = [\"...\"]");
	} else if (!op_failed(op)) {
		json_array_foreach(json_object_get(states, "nodes"), i, node)
			gitlab_tell(c, node);
	}
	if (op_failed(op) || !json_is_true(json_object_get(info, "hasNextPage")))
		turn = op_finish(op);
	else if (++c->pages < GITLAB_PAGES_MAX)
		turn = gitlab_page(c, gitlab_text(info, "endCursor"));
	else {
		err_set(&op->res, ERR_UNSUPPORTED, 0, "the listing does not end after %d pages", GITLAB_PAGES_MAX);
		turn = op_finish(op);
	}
	json_decref(root);
	return turn;
}

static const struct op_class gitlab_list_class = { "gitlab list", gitlab_list_step, NULL, gitlab_call_free, gitlab_states,
	ARRAY_LEN(gitlab_states) };

struct op *
hb_gitlab_list(struct hb *h, state_seen_fn *seen, void *arg)
{
	struct gitlab_call *c = gitlab_call(h, &gitlab_list_class, "the states of a project");

	c->seen = seen;
	c->arg = arg;
	return &c->op;
}

/* ---------------------------------------------------------------- a read with the tag */

struct gitlab_get {
	struct op              op;
	struct hb             *h;
	char                  *name, unless[ETAG_MAX];
	struct hb_gitlab_state now;
	struct snapshot       *ret;
};

enum gitlab_get_state { GET_START, GET_ASKED, GET_READ };

static const char *const gitlab_get_states[] = { "start", "asked", "read" };

static enum op_turn
gitlab_get_step(struct op *op)
{
	struct gitlab_get *g = container_of(op, struct gitlab_get, op);

	switch ((enum gitlab_get_state)op->state) {
	case GET_START:
		return op_await(op, GET_ASKED, hb_gitlab_ask(g->h, g->name, &g->now));
	case GET_ASKED: /* no tag then: it is read again next time */
		if (op_failed(op) || g->now.etag[0] == '\0' || strcmp(g->now.etag, g->unless) != 0)
			return op_await(op, GET_READ, hb_get(&g->h->b, &(struct state_ref){ g->name }, NULL, g->ret));
		err_set(&op->res, ERR_UNCHANGED, 0, "unchanged");
		return op_finish(op);
	case GET_READ: /* another version came in between: its tag is not known */
		if (!op_failed(op))
			snprintf(g->ret->etag, ETAG_MAX, "%s", g->now.serial == g->ret->info.serial ? g->now.etag : "");
		return op_finish(op);
	}
	return OP_DONE;
}

static void
gitlab_get_free(struct op *op)
{
	struct gitlab_get *g = container_of(op, struct gitlab_get, op);

	free(g->name);
	free(g);
}

static const struct op_class gitlab_get_class = { "gitlab read", gitlab_get_step, NULL, gitlab_get_free, gitlab_get_states,
	ARRAY_LEN(gitlab_get_states) };

struct op *
hb_gitlab_get(struct hb *h, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct gitlab_get *g = xcalloc(1, sizeof(*g));

	op_init(&g->op, &gitlab_get_class, h->env->loop);
	g->h = h;
	g->name = xstrdup(ref->name);
	snprintf(g->unless, sizeof(g->unless), "%s", unless_etag != NULL ? unless_etag : "");
	g->ret = ret;
	return &g->op;
}

/* ---------------------------------------------------------------- what a probe leaves */

struct gitlab_sweep {
	struct op        op;
	struct hb       *h;
	struct hb_answer answer;
	unsigned         looks;
};

enum gitlab_sweep_state { SWEEP_START, SWEEP_DELETED, SWEEP_LOOK, SWEEP_LOOKED };

static const char *const gitlab_sweep_states[] = { "start", "deleted", "look", "looked" };

static struct op *
gitlab_sweep_send(struct gitlab_sweep *g, const char *method)
{
	hb_answer_free(&g->answer);
	return hb_send(g->h, &(struct hb_request){ .method = method, .address = g->h->address, .name = REACH_SCRATCH, .again = HB_IDEMPOTENT },
	    &g->answer);
}

static enum op_turn
gitlab_sweep_refused(struct gitlab_sweep *g, const char *doing)
{
	if (!op_failed(&g->op))
		hb_refused(g->h, &g->answer.res, doing, "the row " REACH_SCRATCH " that the probe's lock has made", true, &g->op.res);
	err_hint(&g->op.res, "remove it by hand, in the project: Operate, Terraform states; it holds no state");
	return op_fail(&g->op);
}

static enum op_turn
gitlab_sweep_step(struct op *op)
{
	struct gitlab_sweep *g = container_of(op, struct gitlab_sweep, op);
	int                  status = g->answer.res.status;

	switch ((enum gitlab_sweep_state)op->state) {
	case SWEEP_START:
		return op_await(op, SWEEP_DELETED, gitlab_sweep_send(g, "DELETE"));
	case SWEEP_DELETED:
		if (op_failed(op) || (status != 200 && status != 404 && status != 422)) /* 422: by an earlier one, and not yet done */
			return gitlab_sweep_refused(g, "deleting");
		return op_go(op, SWEEP_LOOK);
	case SWEEP_LOOK:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, SWEEP_LOOKED, gitlab_sweep_send(g, "GET"));
	case SWEEP_LOOKED:
		if (!op_failed(op) && status == 404)
			return op_ok(op);
		if (!op_failed(op) && status == 422 && ++g->looks == GITLAB_SWEEP_MAX) /* it goes without us */
			return op_ok(op);
		if (op_failed(op) || status != 422)
			return gitlab_sweep_refused(g, "deleting");
		return op_await(op, SWEEP_LOOK, op_sleep(op->loop, GITLAB_SWEEP_MS));
	}
	return OP_DONE;
}

static void
gitlab_sweep_free(struct op *op)
{
	struct gitlab_sweep *g = container_of(op, struct gitlab_sweep, op);

	hb_answer_free(&g->answer);
	free(g);
}

static const struct op_class gitlab_sweep_class = { "gitlab sweep", gitlab_sweep_step, NULL, gitlab_sweep_free, gitlab_sweep_states,
	ARRAY_LEN(gitlab_sweep_states) };

struct op *
hb_gitlab_sweep(struct hb *h)
{
	struct gitlab_sweep *g = xcalloc(1, sizeof(*g));

	op_init(&g->op, &gitlab_sweep_class, h->env->loop);
	g->h = h;
	return &g->op;
}

/* ---------------------------------------------------------------- older versions */

struct gitlab_history {
	struct op        op;
	struct hb       *h;
	char            *name;
	struct snapshot  now;
	version_seen_fn *seen;
	void            *arg;
};

static void
gitlab_walk(struct gitlab_history *g)
{
	char id[24];

	for (uint64_t serial = g->now.info.serial;; serial--) {
		snprintf(id, sizeof(id), "%llu", (unsigned long long)serial);
		if (!g->seen(g->arg, &(struct version_seen){ .id = id, .etag = "", .latest = serial == g->now.info.serial, .guessed = true }) ||
		    serial == 0)
			return;
	}
}

static enum op_turn
gitlab_history_step(struct op *op)
{
	struct gitlab_history *g = container_of(op, struct gitlab_history, op);

	if ((enum gitlab_state)op->state == START)
		return op_await(op, ANSWERED, hb_get(&g->h->b, &(struct state_ref){ g->name }, NULL, &g->now));
	if (!op_failed(op) && state_is_good(&g->now.info))
		gitlab_walk(g);
	return op_finish(op);
}

static void
gitlab_history_free(struct op *op)
{
	struct gitlab_history *g = container_of(op, struct gitlab_history, op);

	snapshot_free(&g->now);
	free(g->name);
	free(g);
}

static const struct op_class gitlab_history_class = { "gitlab versions", gitlab_history_step, NULL, gitlab_history_free, gitlab_states,
	ARRAY_LEN(gitlab_states) };

struct op *
hb_gitlab_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	struct gitlab_history *g = xcalloc(1, sizeof(*g));

	op_init(&g->op, &gitlab_history_class, b->env->loop);
	g->h = hb_of(b);
	g->name = xstrdup(ref->name);
	g->seen = seen;
	g->arg = arg;
	return &g->op;
}
