/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"

/* The whole interface, one line for each route. */
const struct route routes[] = {
	{ "GET", "status", api_status, { NULL } },
	{ "GET", "agent", api_agent, { NULL } },
	{ "GET", "list", api_list, { "backend", NULL } },
	{ "GET", "states", api_list, { "backend", NULL } },
	{ "GET", "log", api_log, { "state", "backend", "name", NULL } },
	{ "GET", "versions", api_log, { "state", "backend", "name", NULL } },
	{ "GET", "runs", api_runs, { "state", "backend", "name", NULL } },
	{ "GET", "cat", api_cat, { "state", "backend", "name", NULL } },
	{ "POST", "sync", api_sync, { "edge", "dry_run", "max_age", NULL } },
	{ "GET", "show", api_show, { "state", "backend", "name", "address", "reveal", NULL } },
	{ "POST", "restore", api_restore,
	    { "state", "backend", "name", "at", "all", "to", "keep_serial", "dry_run", NULL } },
	{ "POST", "migrate", api_migrate, { "from", "to", "dry_run", "yes", NULL } },
	{ "GET", "restore", api_restore_out, { "state", "backend", "name", "path", NULL } },
	{ "GET", "locks", api_locks, { "backend", NULL } },
	{ "GET", "unlock", api_unlock_look, { "state", "backend", "name", "id", NULL } },
	{ "POST", "unlock", api_unlock, { "state", "backend", "name", "id", NULL } },
	{ "GET", "lease", api_lease, { NULL } },
	{ "POST", "lease", api_lease_release, { "edge", "back", NULL } },
	{ "GET", "quarantine", api_quarantine, { NULL } },
	{ "POST", "release", api_release, { "state", "backend", "name", NULL } },
	{ "POST", "drop", api_drop, { "state", "backend", "name", NULL } },
	{ "GET", "resolve", api_resolve_plan, { "edge", "state", "backend", "name", NULL } },
	{ "POST", "resolve", api_resolve, { "edge", "state", "backend", "name", "target", NULL } },
	{ "GET", "adopt", api_adopt_plan, { NULL } },
	{ "POST", "adopt", api_adopt, { NULL } },
	{ "POST", "check", api_check, { NULL } },
	{ "POST", "probe", api_probe, { "backend", NULL } },
	{ "GET", "events", api_events, { "limit", NULL } },
	{ "GET", "ops", api_ops, { NULL } },
	{ "GET", "metrics", api_metrics, { NULL } },
	{ NULL, NULL, NULL, { NULL } },
};

static const struct route *
route_find(const struct api_request *req, struct err *reterr)
{
	bool known = false;

	for (const struct route *r = routes; r->name != NULL; r++) {
		if (strcmp(r->name, req->route) != 0)
			continue;
		if (strcmp(r->method, req->method) == 0)
			return r;
		known = true;
	}
	if (known)
		err_set(reterr, ERR_UNSUPPORTED, 405, "%s does not take %s", req->route, req->method);
	else
		err_set(reterr, ERR_UNSUPPORTED, 404, "this version has no %s %s", req->method, req->route);
	return NULL;
}

static enum err_code
route_check_args(const struct call *c, struct err *reterr)
{
	for (size_t i = 0; i < c->nargs; i++) {
		const char *const *known = c->route->args;

		while (*known != NULL && strcmp(*known, c->args[i].name) != 0)
			known++;
		if (*known == NULL)
			return err_set(reterr, ERR_USAGE, 0, "%s has no argument \"%s\"", c->route->name, c->args[i].name);
	}
	return ERR_OK;
}

/* ---------------------------------------------------------------- arguments */

const char *
call_arg(const struct call *c, const char *name)
{
	for (size_t i = 0; i < c->nargs; i++)
		if (strcmp(c->args[i].name, name) == 0)
			return c->args[i].value;
	return NULL;
}

bool
call_flag(const struct call *c, const char *name)
{
	const char *v = call_arg(c, name);

	return v != NULL && (v[0] == '\0' || strcmp(v, "1") == 0 || strcmp(v, "true") == 0);
}

enum err_code
call_need(const struct call *c, const char *name, const char **ret, struct err *reterr)
{
	const char *v = call_arg(c, name);

	if (v == NULL)
		return err_set(reterr, ERR_USAGE, 0, "%s needs \"%s\"", c->route->name, name);
	if (v[0] == '\0')
		return err_set(reterr, ERR_USAGE, 0, "\"%s\" is empty", name);
	*ret = v;
	return ERR_OK;
}

enum err_code
call_address(struct call *c, struct address *ret, struct err *reterr)
{
	const char *raw = call_arg(c, "name"), *text = "";

	if (call_need(c, raw != NULL ? "name" : "state", &text, reterr) != ERR_OK)
		return reterr->code;
	snprintf(c->where, sizeof(c->where), "%s", text);
	return address_resolve(c->e, text, call_arg(c, "backend"), raw != NULL, ret, reterr);
}

enum err_code
call_time(const struct call *c, const char *text, int64_t *ret_wall, struct err *reterr)
{
	int64_t age;

	if (time_parse(text, ret_wall))
		return ERR_OK;
	if (!duration_parse(text, &age)) {
		err_set(reterr, ERR_USAGE, 0, "\"%s\" is neither a time nor an age", text);
		return err_hint(reterr, "write it like 2026-11-23T12:00:00Z or 2h");
	}
	*ret_wall = loop_wall(engine_loop(c->e)) - age;
	return ERR_OK;
}

/* ---------------------------------------------------------------- the call */

enum call_state { CALL_START, CALL_ASKED, CALL_FOUND, CALL_DONE };

static const char *const call_states[] = { "start", "asking for the name", "finding the version", "running" };

static int
call_status(const struct err *e)
{
	switch (e->code) {
	case ERR_USAGE:
		return 400;
	case ERR_NOT_FOUND:
		return 404;
	case ERR_CONFLICT:
	case ERR_LOCKED:
		return 409;
	case ERR_UNSUPPORTED:
		return e->detail == 404 || e->detail == 405 ? e->detail : 422;
	case ERR_NETWORK:
	case ERR_AUTH:
		return 502;
	case ERR_TIMEOUT:
		return 504;
	case ERR_BUSY:
	case ERR_CANCELLED:
		return 503;
	default:
		return 500;
	}
}

void
put_error(struct json_writer *w, const struct err *e, const char *where)
{
	json_kv_i64(w, "code", err_exit(e->code));
	json_kv_str(w, "kind", err_kind(e->code));
	put_text(w, "where", where);
	json_kv_str(w, "message", e->msg);
	put_text(w, "hint", e->hint);
}

void
api_error_json(const struct err *e, const char *where, struct buf *ret)
{
	struct json_writer w;

	json_begin(&w, ret);
	json_obj(&w);
	json_kv_str(&w, "format_version", "1.0");
	json_key(&w, "error");
	json_obj(&w);
	put_error(&w, e, where == NULL ? "" : where);
	json_obj_end(&w);
	json_obj_end(&w);
}

static void
call_reply_error(struct call *c, const struct err *e)
{
	struct buf out;

	buf_init(&out, 0);
	api_error_json(e, c->where, &out);
	body_unref(c->body);
	c->body = NULL;
	*c->ret = (struct api_reply){ call_status(e), err_exit(e->code), "application/json", body_new(&out) };
}

static void
call_reply(struct call *c)
{
	if (c->body != NULL) {
		*c->ret = (struct api_reply){ 200, 0, c->type, c->body };
		c->body = NULL;
		return;
	}
	if (c->exit != 0 && c->route->fn != api_status)
		json_kv_i64(&c->w, "exit_code", c->exit);
	json_obj_end(&c->w);
	*c->ret = (struct api_reply){ 200, c->exit, "application/json", body_new(&c->out) };
}

static enum op_turn
call_step(struct op *op)
{
	struct call *c = container_of(op, struct call, op);
	struct op   *child;

	switch ((enum call_state)op->state) {
	case CALL_START:
		if (c->refused.code != ERR_OK) {
			call_reply_error(c, &c->refused);
			return op_ok(op);
		}
		return op_await(op, CALL_ASKED, call_ask(c));
	case CALL_ASKED:
		if (op_failed(op) && (c->asks_alias || op->res.code == ERR_CANCELLED)) {
			call_reply_error(c, &op->res);
			return op_ok(op);
		}
		err_clear(&op->res);
		snprintf(c->where, sizeof(c->where), "%s", c->route->name);
		child = call_serial(c, &op->res);
		return child != NULL ? op_await(op, CALL_FOUND, child) : op_go(op, CALL_FOUND);
	case CALL_FOUND:
		if (op_failed(op)) {
			call_reply_error(c, &op->res);
			return op_ok(op);
		}
		json_begin(&c->w, &c->out);
		json_obj(&c->w);
		json_kv_str(&c->w, "format_version", "1.0");
		child = c->route->fn(c, &op->res);
		return child != NULL ? op_await(op, CALL_DONE, child) : op_go(op, CALL_DONE);
	case CALL_DONE:
		if (op_failed(op))
			call_reply_error(c, &op->res);
		else
			call_reply(c);
		return op_ok(op);
	}
	return OP_DONE;
}

static void
call_free(struct op *op)
{
	struct call *c = container_of(op, struct call, op);

	for (size_t i = 0; i < c->nargs; i++) {
		free((void *)(uintptr_t)c->args[i].name);
		free((void *)(uintptr_t)c->args[i].value);
	}
	free(c->args);
	buf_free(&c->out);
	body_unref(c->body);
	free(c);
}

static const struct op_class call_class = { "api", call_step, NULL, call_free, call_states, ARRAY_LEN(call_states) };

struct op *
api_call(struct engine *e, const struct api_request *req, struct api_reply *ret)
{
	struct call *c = xcalloc(1, sizeof(*c));

	op_init(&c->op, &call_class, engine_loop(e));
	c->e = e;
	c->ret = ret;
	c->type = "application/octet-stream";
	memset(ret, 0, sizeof(*ret));
	buf_init(&c->out, API_REPLY_MAX);
	snprintf(c->where, sizeof(c->where), "%s", req->route);
	c->args = xcalloc(req->nargs + 1, sizeof(*c->args));
	for (; c->nargs < req->nargs; c->nargs++)
		c->args[c->nargs] = (struct api_arg){ xstrdup(req->args[c->nargs].name), xstrdup(req->args[c->nargs].value) };
	c->route = route_find(req, &c->refused);
	if (c->route != NULL) {
		c->op.about = c->route->name;
		route_check_args(c, &c->refused);
	}
	return &c->op;
}

void
api_reply_free(struct api_reply *r)
{
	body_unref(r->body);
	memset(r, 0, sizeof(*r));
}
