/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "provider/reach.h"
#include "remote.h"

/*
 * Workspaces: what is known of them, how one is found and made. What is asked of one goes by its id, which stays when it is renamed.
 */
#define REMOTE_NAME_LEN_MAX 90
#define REMOTE_SCRATCH      "stateferry-probe" /* of a probe: its workspace, which is never listed */

char *
remote_full(const struct remote *r, const char *name)
{
	return xasprintf("%s%s", r->prefix, strcmp(name, REACH_SCRATCH) == 0 ? REMOTE_SCRATCH : name);
}

bool
remote_is_name(const char *text)
{
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

	return n > 0 && n <= REMOTE_NAME_LEN_MAX && text[n] == '\0' && strcmp(text, REMOTE_SCRATCH) != 0;
}

/* ---------------------------------------------------------------- what is known */

struct remote_known *
remote_known(struct remote *r, const char *name)
{
	return map_get(r->known, span_str(name));
}

struct remote_known *
remote_learn(struct remote *r, const char *name, const struct remote_item *i)
{
	struct remote_known *k = remote_known(r, name);

	if (k == NULL) {
		k = xcalloc(1, sizeof(*k));
		map_put(r->known, span_str(name), k);
	}
	memcpy(k->id, i->id, sizeof(k->id));
	k->has_state = i->state[0] != '\0';
	k->denied = i->denied;
	k->seen = loop_now(r->env->loop);
	return k;
}

void
remote_forget(struct remote *r, const char *name)
{
	free(map_del(r->known, span_str(name)));
}

/* ---------------------------------------------------------------- one by its name, or a new one */

struct remote_find {
	struct op           op;
	struct remote      *r;
	char               *name;
	bool                make, made;
	struct remote_item *ret;
	struct remote_ask   ask;
	char                refused[SEND_MESSAGE_MAX]; /* why a new one was */
};

enum remote_find_state { FIND_START, FIND_ANSWERED, FIND_PLACED, FIND_MADE };

static const char *const remote_find_states[] = { "start", "answered", "placed", "made" };

static void
remote_find_free(struct op *op)
{
	struct remote_find *f = container_of(op, struct remote_find, op);

	remote_ask_free(&f->ask);
	free(f->name);
	free(f);
}

static void
remote_json_type(struct json_writer *w, const char *type)
{
	json_obj(w);
	json_kv_str(w, "type", type);
}

static void
remote_json_pair(struct json_writer *w, const char *type, const char *key, const char *value)
{
	remote_json_type(w, type);
	json_key(w, "attributes");
	json_obj(w);
	json_kv_str(w, value != NULL ? "key" : "name", key);
	if (value != NULL)
		json_kv_str(w, "value", value);
	json_obj_end(w);
	json_obj_end(w);
}

/* What makes it one of those that the block selects. */
static void
remote_json_relations(const struct remote *r, struct json_writer *w)
{
	const struct remote_select *s = &r->select;

	json_key(w, "relationships");
	json_obj(w);
	if (r->project_id[0] != '\0') {
		json_key(w, "project");
		json_obj(w);
		json_key(w, "data");
		remote_json_type(w, "projects");
		json_kv_str(w, "id", r->project_id);
		json_obj_end(w);
		json_obj_end(w);
	}
	if (s->tags.n + s->tag_pairs.n > 0) {
		json_key(w, s->tags.n > 0 ? "tags" : "tag-bindings");
		json_obj(w);
		json_key(w, "data");
		json_arr(w);
		for (size_t i = 0; i < s->tags.n; i++)
			remote_json_pair(w, "tags", s->tags.items[i], NULL);
		for (size_t i = 0; i < s->tag_pairs.n; i++)
			remote_json_pair(w, "tag-bindings", s->tag_pairs.keys[i], s->tag_pairs.values[i]);
		json_arr_end(w);
		json_obj_end(w);
	}
	json_obj_end(w);
}

/* It holds states and runs nothing: nobody starts a remote run on a replica by accident, and whoever writes needs no version of terraform. */
static struct op *
remote_make(struct remote_find *f)
{
	const struct remote *r = f->r;
	char                *org = remote_escaped(r->conf->organization), *full = remote_full(r, f->name);
	struct json_writer   w;
	struct buf           text;

	buf_init(&text, 0);
	json_begin(&w, &text);
	json_obj(&w);
	json_key(&w, "data");
	remote_json_type(&w, "workspaces");
	json_key(&w, "attributes");
	json_obj(&w);
	json_kv_str(&w, "name", full);
	json_kv_str(&w, "execution-mode", "local");
	json_kv_str(&w, "source-name", "stateferry");
	json_obj_end(&w);
	remote_json_relations(r, &w);
	json_obj_end(&w);
	json_obj_end(&w);
	remote_to(&f->ask, "POST", "organizations/%s/workspaces", org);
	remote_body(&f->ask, &text);
	f->ask.what = "making the workspace";
	f->ask.needs = "manage workspaces";
	f->ask.refused = true;
	free(org);
	free(full);
	return remote_ask(f->r, &f->ask);
}

static struct op *
remote_look(struct remote_find *f)
{
	char *org = remote_escaped(f->r->conf->organization), *full = remote_full(f->r, f->name), *segment = remote_escaped(full);

	remote_to(&f->ask, "GET", "organizations/%s/workspaces/%s", org, segment);
	if (!f->r->plain)
		send_query(&f->ask.req, "include", "locked_by");
	f->ask.what = "looking at";
	f->ask.needs = "read workspaces";
	f->ask.refused = true;
	free(org);
	free(full);
	free(segment);
	return remote_ask(f->r, &f->ask);
}

static enum op_turn
remote_found(struct remote_find *f)
{
	struct op                *op = &f->op;
	const struct remote_item *i = &f->ask.doc.item;

	if (f->ask.ans.http.status / 100 != 2) {
		remote_refused(f->r, &f->ask, &op->res);
		return op_fail(op);
	}
	if (f->ask.doc.items != 1 || f->ask.doc.list || i->id[0] == '\0') {
		err_set(&op->res, ERR_UNSUPPORTED, 200, "%s: the answer to a look at %.90s is no workspace", f->r->b.where, f->name);
		return op_fail(op);
	}
	remote_learn(f->r, f->name, i);
	*f->ret = *i;
	return op_ok(op);
}

static enum op_turn
remote_absent(struct remote_find *f)
{
	struct op *op = &f->op;

	remote_forget(f->r, f->name);
	if (f->make && f->r->b.common.create && !f->made)
		return op_await(op, FIND_PLACED, remote_project(f->r));
	if (f->refused[0] != '\0') {
		err_set(&op->res, ERR_UNSUPPORTED, 422, "%s: a workspace for %.60s is refused: %.80s", f->r->b.where, f->name, f->refused);
		return op_fail(op);
	}
	err_set(&op->res, ERR_NOT_FOUND, 404, "%s: there is no workspace for %.90s, or it may not be seen", f->r->b.where, f->name);
	err_hint(&op->res, "make it, or set create = true; and check that the token may read it: %s", remote_token_source(f->r));
	return op_fail(op);
}

/* No answer, or another was quicker (422): what is there now tells. */
static enum op_turn
remote_made(struct remote_find *f)
{
	struct op *op = &f->op;
	int        status = f->ask.ans.http.status;

	if (op_failed(op) ? op->res.code == ERR_UNCERTAIN && !op_stopped(op) : status == 422 || status == 409) {
		snprintf(f->refused, sizeof(f->refused), "%s", op_failed(op) ? "" : f->ask.ans.message);
		return op_go(op, FIND_START);
	}
	return op_failed(op) ? op_fail(op) : remote_found(f);
}

static enum op_turn
remote_find_step(struct op *op)
{
	struct remote_find *f = container_of(op, struct remote_find, op);

	switch ((enum remote_find_state)op->state) {
	case FIND_START:
		return op_await(op, FIND_ANSWERED, remote_look(f));
	case FIND_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (f->ask.ans.http.status == 400 && !f->r->plain) {
			f->r->plain = true;
			return op_go(op, FIND_START);
		}
		return f->ask.ans.http.status == 404 ? remote_absent(f) : remote_found(f);
	case FIND_PLACED:
		if (op_failed(op))
			return op_fail(op);
		f->made = true;
		return op_await(op, FIND_MADE, remote_make(f));
	case FIND_MADE:
		return remote_made(f);
	}
	return OP_DONE;
}

static const struct op_class remote_find_class = { "remote workspace", remote_find_step, NULL, remote_find_free, remote_find_states,
	ARRAY_LEN(remote_find_states) };

struct op *
remote_find(struct remote *r, const char *name, bool make, struct remote_item *ret)
{
	struct remote_find *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &remote_find_class, r->env->loop);
	f->r = r;
	f->ask.name = f->name = xstrdup(name);
	memset(ret, 0, sizeof(*ret));
	f->make = make;
	f->ret = ret;
	return &f->op;
}

/* ---------------------------------------------------------------- a project by its name; a workspace of ours goes */

struct remote_side {
	struct op           op;
	struct remote      *r;
	struct remote_ask   ask;
	struct remote_item  item; /* of a workspace that was made, or found */
	char               *name; /* of that; NULL: none */
};

static void
remote_side_free(struct op *op)
{
	struct remote_side *s = container_of(op, struct remote_side, op);

	remote_ask_free(&s->ask);
	free(s->name);
	free(s);
}

static struct remote_side *
remote_side_new(struct remote *r, const struct op_class *class)
{
	struct remote_side *s = xcalloc(1, sizeof(*s));

	op_init(&s->op, class, r->env->loop);
	s->r = r;
	s->ask.name = "";
	return s;
}

/* The filter of some servers finds more than what is called so. */
static void
remote_saw_project(void *arg, const struct remote_item *i)
{
	struct remote *r = arg;

	if (strcmp(i->name, r->select.project) == 0)
		memcpy(r->project_id, i->id, sizeof(r->project_id));
}

static enum op_turn
remote_project_step(struct op *op)
{
	struct remote_side *s = container_of(op, struct remote_side, op);
	char               *org;

	if (op->state == 0) {
		org = remote_escaped(s->r->conf->organization);
		remote_to(&s->ask, "GET", "organizations/%s/projects", org);
		free(org);
		send_query(&s->ask.req, "filter[names]", s->r->select.project);
		s->ask.doc.each = remote_saw_project;
		s->ask.doc.arg = s->r;
		s->ask.what = "looking for the project";
		s->ask.needs = "read projects";
		return op_await(op, 1, remote_ask(s->r, &s->ask));
	}
	if (op_failed(op))
		return op_fail(op);
	if (s->ask.ans.http.status == 404)
		remote_refused(s->r, &s->ask, &op->res);
	else if (s->r->project_id[0] == '\0') {
		err_set(&op->res, ERR_CONFIG, 0, "%s: there is no project \"%.90s\", or it may not be seen", s->r->b.where, s->r->select.project);
		err_hint(&op->res, "check its name: a project is never made; and that the token may see it: %s", remote_token_source(s->r));
	}
	return op_finish(op);
}

static const struct op_class remote_project_class = { "remote project", remote_project_step, NULL, remote_side_free, NULL, 0 };

struct op *
remote_project(struct remote *r)
{
	if (r->select.project == NULL || r->project_id[0] != '\0')
		return NULL;
	return &remote_side_new(r, &remote_project_class)->op;
}

static enum op_turn
remote_remove_step(struct op *op)
{
	struct remote_side *s = container_of(op, struct remote_side, op);

	if (op->state == 0)
		return op_await(op, 1, remote_ask(s->r, &s->ask));
	if (!op_failed(op) && s->ask.ans.http.status != 404 && s->ask.ans.http.status / 100 != 2)
		remote_refused(s->r, &s->ask, &op->res);
	return op_finish(op);
}

static const struct op_class remote_remove_class = { "remote removal", remote_remove_step, NULL, remote_side_free, NULL, 0 };

struct op *
remote_remove(struct remote *r, const char *name)
{
	struct remote_side *s = remote_side_new(r, &remote_remove_class);
	char               *org = remote_escaped(r->conf->organization), *full = remote_full(r, name), *segment = remote_escaped(full);

	remote_to(&s->ask, "DELETE", "organizations/%s/workspaces/%s", org, segment);
	s->ask.what = "deleting a workspace of ours";
	s->ask.needs = "delete workspaces";
	s->ask.refused = true;
	remote_forget(r, name);
	free(org);
	free(full);
	free(segment);
	return &s->op;
}

/* Nobody makes the workspace of a name that is not known: is there one? */
static enum op_turn
remote_expect_step(struct op *op)
{
	struct remote_side *s = container_of(op, struct remote_side, op);

	if (op->state == 0)
		return op_await(op, 1, remote_find(s->r, s->name, false, &s->item));
	if (op_failed(op))
		err_prefix(&op->res, "%s", s->r->b.label);
	return op_finish(op);
}

static const struct op_class remote_expect_class = { "remote expect", remote_expect_step, NULL, remote_side_free, NULL, 0 };

struct op *
remote_expect(struct backend *b, const struct state_ref *ref)
{
	struct remote      *r = remote_of(b);
	struct remote_side *s;

	if (b->common.create || remote_known(r, ref->name) != NULL)
		return NULL;
	s = remote_side_new(r, &remote_expect_class);
	s->name = xstrdup(ref->name);
	return &s->op;
}

/* The one that the block names; others are made with their first lock. */
static enum op_turn
remote_create_step(struct op *op)
{
	struct remote_side *s = container_of(op, struct remote_side, op);

	if (op->state == 0)
		return op_await(op, 1, s->r->select.name != NULL ? remote_find(s->r, s->r->select.name, true, &s->item) : NULL);
	return op_finish(op);
}

static const struct op_class remote_create_class = { "remote create", remote_create_step, NULL, remote_side_free, NULL, 0 };

struct op *
remote_create(struct backend *b)
{
	return &remote_side_new(remote_of(b), &remote_create_class)->op;
}
