/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

#include "base/log.h"
#include "base/name.h"
#include "brainboard.h"

/*
 * The public API, as far as it says which architectures there are: GET /projects, /projects/U/environments where a project does not
 * tell its own, /environments/U/architectures. An inventory counts when it is whole; until then, and whenever it cannot be had, what
 * was known goes on.
 */
#define API_BODY_MAX  ((uint64_t)16 << 20)
#define API_ITEMS_MAX 100000 /* architectures of an organization, environments of it */
#define API_TRIES     4
#define API_PAUSE_MS  500

/* ---------------------------------------------------------------- answers */

static const char *
api_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

enum err_code
brainboard_items(const void *array, void (*fn)(void *arg, const struct brainboard_item *i), void *arg, struct err *reterr)
{
	const json_t *all = array;
	size_t        i;
	json_t       *x;

	if (!json_is_array(all))
		return err_set(reterr, ERR_CORRUPT, 200, "the answer is no list");
	json_array_foreach(all, i, x) {
		struct brainboard_item item = { .name = api_text(x, "name"), .status = api_text(x, "status") };
		const char            *uuid = api_text(x, "uuid");
		const json_t          *inner = json_object_get(x, "environments");

		if (!uuid_lower(span_str(uuid), item.uuid))
			return err_set(reterr, ERR_CORRUPT, 200, "item %zu of the answer has no UUID", i + 1);
		item.inner = json_is_array(inner) && json_array_size(inner) > 0 &&
		    json_string_value(json_object_get(json_array_get(inner, 0), "uuid")) != NULL ? inner : NULL;
		fn(arg, &item);
	}
	return ERR_OK;
}

enum err_code
brainboard_parse(struct span json, void (*fn)(void *arg, const struct brainboard_item *i), void *arg, struct err *reterr)
{
	json_t       *root = json_loadb((const char *)json.p, json.n, 0, NULL);
	enum err_code rc = root != NULL ? brainboard_items(root, fn, arg, reterr) : err_set(reterr, ERR_CORRUPT, 200, "the answer is no JSON");

	json_decref(root);
	return rc;
}

/* { "error_code": ..., "content": ... }, or the older { "error": ..., "details": ... }. */
static void
api_refusal(struct send_answer *a)
{
	struct span text = a->http.body != NULL && body_in_memory(a->http.body) ? body_span(a->http.body) : SPAN_LIT("");
	json_t     *root = json_loadb((const char *)text.p, text.n, 0, NULL);
	const char *code = api_text(root, "error_code"), *more = api_text(root, "details");

	if (code[0] == '\0')
		code = api_text(root, "error");
	if (more[0] == '\0')
		more = api_text(json_object_get(root, "content"), "message");
	span_text(a->code, sizeof(a->code), span_str(code));
	span_text(a->message, sizeof(a->message), span_str(more));
	json_decref(root);
}

/* ---------------------------------------------------------------- requests */

/* The key as it is, or with "Bearer ": both are accepted; the one that was not refused is kept. */
static struct op *
api_attempt(struct send *x, const struct send_request *r, struct send_answer *ret)
{
	struct brainboard *bb = brainboard_of(x->b);
	char              *url = xasprintf("%s%s", bb->api, r->path);
	struct http_header own[] = { { "accept", xstrdup("application/json") },
		{ "authorization", xasprintf("%s%s", bb->bearer ? "Bearer " : "", secret_str(bb->conf->token)) } };
	struct op         *op;

	x->generation = bb->bearer;
	op = send_attempt(x, r, &(struct http_request){ .url = url, .headers = own, .nheaders = ARRAY_LEN(own) }, ret);
	free(url);
	return op;
}

static enum send_verdict
api_judge(struct send *x)
{
	int status = x->ret->http.status;

	if (status != 200)
		api_refusal(x->ret);
	if (status == 401 || status == 403)
		return SEND_RENEW;
	if (status == 429)
		return SEND_LATER;
	return status >= 500 ? SEND_DOWN : SEND_DONE;
}

static bool
api_renew(struct send *x)
{
	brainboard_of(x->b)->bearer = x->generation == 0;
	return true;
}

static const struct send_driver api_driver = { .pause_ms = API_PAUSE_MS, .attempt = api_attempt, .judge = api_judge, .renew = api_renew };
static const struct op_class    api_send_class = { "brainboard api", SEND_OP_CLASS };

static struct op *
api_send(struct brainboard *bb, struct send_request *r, struct send_answer *ret)
{
	struct send *x = xcalloc(1, sizeof(*x));

	*x = (struct send){ .driver = &api_driver, .b = &bb->b, .where = xstrdup("Brainboard"), .most = API_TRIES };
	return send_init(x, &api_send_class, r, ret);
}

static enum err_code
api_refused(const struct brainboard *bb, const struct send_answer *a, struct err *reterr)
{
	int status = a->http.status;

	if (status == 401 || status == 403) {
		err_set(reterr, ERR_AUTH, status, "Brainboard refuses the token at %s (%d%s%s)", bb->api, status, SEND_CODE(a));
		return err_hint(reterr, "it is wrong, has expired, or is of the other region: make one in the user's settings, where the address of the API "
		    "stands beside it, and set token and region");
	}
	err_set(reterr, ERR_UNSUPPORTED, status, "Brainboard at %s answers %d%s%s%s%.80s", bb->api, status, SEND_CODE(a),
	    a->message[0] != '\0' ? ": " : "", a->message);
	return err_hint(reterr, "check region or api_base");
}

/* ---------------------------------------------------------------- the inventory */

struct api_env {
	char *uuid, *project, *name;
	bool  known; /* its own UUID and name; else those of a project whose environments have to be asked for */
};

struct api {
	struct op           op;
	struct brainboard  *bb;
	struct send_request req;
	struct send_answer  ans;
	struct api_env     *envs;
	size_t              nenvs, cap, next;
	const char         *project;  /* while its environments are read */
	struct map         *found;    /* UUIDs */
};

enum api_state { API_START, API_PROJECTS, API_NEXT, API_ENVIRONMENTS, API_ARCHITECTURES };

static const char *const api_states[] = { "start", "projects", "next", "environments", "architectures" };

static void
api_free(struct op *op)
{
	struct api *a = container_of(op, struct api, op);

	for (size_t i = 0; i < a->nenvs; i++) {
		free(a->envs[i].uuid);
		free(a->envs[i].project);
		free(a->envs[i].name);
	}
	free(a->envs);
	map_free(a->found);
	send_request_free(&a->req);
	send_answer_free(&a->ans);
	free(a);
}

static bool
api_selects(const char *pattern, const char *uuid, const char *name)
{
	return pattern == NULL || strcasecmp(pattern, uuid) == 0 || glob_match(pattern, span_str(name));
}

static void
api_add(struct api *a, const char *uuid, const char *project, const char *name)
{
	if (a->nenvs == a->cap) {
		a->cap = a->cap == 0 ? 16 : 2 * a->cap;
		a->envs = xreallocarray(a->envs, a->cap, sizeof(*a->envs));
	}
	a->envs[a->nenvs++] = (struct api_env){ xstrdup(uuid), xstrdup(project), xstrdup(name != NULL ? name : ""), name != NULL };
}

static void
api_environment(void *arg, const struct brainboard_item *i)
{
	struct api *a = arg;

	if (api_selects(a->bb->select.environment, i->uuid, i->name))
		api_add(a, i->uuid, a->project, i->name);
}

static void
api_project(void *arg, const struct brainboard_item *i)
{
	struct api *a = arg;

	if (!api_selects(a->bb->select.project, i->uuid, i->name))
		return;
	a->project = i->name;
	if (i->inner == NULL || brainboard_items(i->inner, api_environment, a, NULL) != ERR_OK)
		api_add(a, i->uuid, i->name, NULL);
}

static void
api_architecture(void *arg, const struct brainboard_item *i)
{
	struct api           *a = arg;
	const struct api_env *e = &a->envs[a->next];
	const char           *status = a->bb->select.status;
	char                 *alias;

	if (!api_selects(a->bb->select.name, i->uuid, i->name) || (status != NULL && strcasecmp(status, i->status) != 0)) {
		provider_set_alias(&a->bb->b, i->uuid, NULL); /* it was selected once */
		return;
	}
	map_put(a->found, span_str(i->uuid), a);
	alias = brainboard_alias(e->project, e->name, i->name);
	provider_set_alias(&a->bb->b, i->uuid, alias);
	free(alias);
}

static struct op *
api_get(struct api *a, const char *path, const char *uuid, const char *tail)
{
	send_request_free(&a->req);
	a->req = (struct send_request){ .method = "GET", .path = xasprintf("%s%s%s", path, uuid, tail), .max_body = API_BODY_MAX };
	return api_send(a->bb, &a->req, &a->ans);
}

static bool
api_read(struct api *a, void (*fn)(void *arg, const struct brainboard_item *i))
{
	struct err *e = &a->op.res;

	if (op_failed(&a->op))
		return false;
	if (a->ans.http.status != 200)
		return api_refused(a->bb, &a->ans, e) == ERR_OK;
	if (brainboard_parse(a->ans.http.body != NULL ? body_span(a->ans.http.body) : SPAN_LIT(""), fn, a, e) != ERR_OK) {
		err_prefix(e, "Brainboard at %s%s", a->bb->api, a->req.path);
		err_hint(e, "check region or api_base, and that no proxy or login page answers in its place");
		return false;
	}
	if (a->nenvs <= API_ITEMS_MAX && map_count(a->found) <= API_ITEMS_MAX)
		return true;
	err_set(e, ERR_UNSUPPORTED, 0, "Brainboard shows more than %d architectures or environments", API_ITEMS_MAX);
	return false;
}

static enum op_turn
api_ended(struct api *a)
{
	struct brainboard *bb = a->bb;
	struct err         e = a->op.res;
	int64_t            wait = BRAINBOARD_REFRESH_MS;

	if (e.code == ERR_CANCELLED)
		return op_fail(&a->op);
	if (e.code == ERR_OK) {
		map_free(bb->inventory);
		bb->inventory = a->found;
		a->found = NULL;
	} else {
		if (bb->trouble.code != e.code)
			log_at(LOG_WARN, bb->b.label, "the inventory is not renewed: %s", e.msg);
		wait = (int64_t)e.retry_after_ms > wait ? (int64_t)e.retry_after_ms : wait;
	}
	bb->trouble = e;
	bb->asked = loop_now(a->op.loop);
	bb->refresh_at = bb->asked + wait;
	return op_ok(&a->op);
}

static enum op_turn
api_step(struct op *op)
{
	struct api           *a = container_of(op, struct api, op);
	const struct api_env *e;

	switch ((enum api_state)op->state) {
	case API_START:
		return op_await(op, API_PROJECTS, api_get(a, "/projects", "", ""));
	case API_PROJECTS:
		if (!api_read(a, api_project))
			return api_ended(a);
		__attribute__((fallthrough));
	case API_NEXT:
		if (a->next == a->nenvs)
			return api_ended(a);
		e = &a->envs[a->next];
		if (!e->known)
			return op_await(op, API_ENVIRONMENTS, api_get(a, "/projects/", e->uuid, "/environments"));
		return op_await(op, API_ARCHITECTURES, api_get(a, "/environments/", e->uuid, "/architectures"));
	case API_ENVIRONMENTS:
		a->project = a->envs[a->next].project;
		if (!api_read(a, api_environment))
			return api_ended(a);
		a->next++;
		return op_go(op, API_NEXT);
	case API_ARCHITECTURES:
		if (!api_read(a, api_architecture))
			return api_ended(a);
		a->next++;
		return op_go(op, API_NEXT);
	}
	return OP_DONE;
}

static const struct op_class api_class = { "brainboard inventory", api_step, NULL, api_free, api_states, ARRAY_LEN(api_states) };

struct op *
brainboard_refresh(struct brainboard *bb)
{
	struct api *a = xcalloc(1, sizeof(*a));

	op_init(&a->op, &api_class, bb->env->loop);
	a->bb = bb;
	a->found = map_new();
	return &a->op;
}
