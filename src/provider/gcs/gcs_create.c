/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/json.h"
#include "gcs.h"

/* create = true: a bucket that is missing, closed to the public, with one kind of permissions, and with versions. */
struct gcs_create {
	struct op           op;
	struct gcs         *g;
	struct send_request req;
	struct send_answer  ans;
	struct err          why;  /* it was not made, as far as that answer says */
};

enum gcs_create_state { CREATE_START, CREATE_LISTED, CREATE_ANSWERED, CREATE_LOOKED };

static const char *const gcs_create_states[] = { "start", "listed", "answered", "looked" };

static void
gcs_create_free(struct op *op)
{
	struct gcs_create *c = container_of(op, struct gcs_create, op);

	send_request_free(&c->req);
	send_answer_free(&c->ans);
	free(c);
}

/* Is it there? Who may list it may not be allowed to look at the bucket itself. */
static struct op *
gcs_create_look(struct gcs_create *c)
{
	gcs_to_objects(c->g, &c->req, "GET");
	send_query(&c->req, "maxResults", "1");
	send_query(&c->req, "fields", "nextPageToken");
	return gcs_send(c->g, &c->req, &c->ans);
}

static void
gcs_create_flag(struct json_writer *w, const char *group, const char *name)
{
	json_key(w, group);
	json_obj(w);
	json_kv_bool(w, name, true);
	json_obj_end(w);
}

static struct op *
gcs_create_send(struct gcs_create *c)
{
	struct json_writer w;
	struct buf         text;

	buf_init(&text, 0);
	json_begin(&w, &text);
	json_obj(&w);
	json_kv_str(&w, "name", c->g->conf->bucket);
	json_kv_str(&w, "location", c->g->conf->location);
	gcs_create_flag(&w, "versioning", "enabled");
	json_key(&w, "iamConfiguration");
	json_obj(&w);
	gcs_create_flag(&w, "uniformBucketLevelAccess", "enabled");
	json_kv_str(&w, "publicAccessPrevention", "enforced");
	json_obj_end(&w);
	json_obj_end(&w);
	send_request_free(&c->req);
	c->req.method = "POST";
	c->req.path = xstrdup("storage/v1/b");
	c->req.changing = true;
	c->req.body = body_new(&text);
	send_header(&c->req, "content-type", "application/json");
	send_query(&c->req, "project", c->g->conf->project);
	return gcs_send(c->g, &c->req, &c->ans);
}

static enum op_turn
gcs_create_listed(struct gcs_create *c)
{
	struct op *op = &c->op;

	if (op_failed(op))
		return op_fail(op);
	if (c->ans.http.status == 200)
		return op_ok(op);
	if (!gcs_no_such_bucket(&c->ans)) {
		gcs_refused(c->g, &c->req, &c->ans, "listing", &op->res);
		return op_fail(op);
	}
	if (c->g->conf->project == NULL || c->g->conf->project[0] == '\0') {
		err_set(&op->res, ERR_CONFIG, 404, "bucket %s does not exist, and to make it the project has to be known", c->g->conf->bucket);
		err_hint(&op->res, "set project in the block");
		return op_fail(op);
	}
	return op_await(op, CREATE_ANSWERED, gcs_create_send(c));
}

/* It may be there by now, made by us, whatever the answer was, or by another agent: is it one that we may list? */
static enum op_turn
gcs_create_answered(struct gcs_create *c)
{
	struct op *op = &c->op;

	if (!op_failed(op) && c->ans.http.status == 200)
		return op_ok(op);
	if (op_failed(op) && op->res.code != ERR_UNCERTAIN)
		return op_fail(op);
	if (!op_failed(op) && c->ans.http.status != 409) {
		gcs_refused(c->g, &c->req, &c->ans, "making it", &op->res);
		return op_fail(op);
	}
	c->why = op->res;
	if (c->why.code == ERR_OK) {
		err_set(&c->why, ERR_CONFIG, 409, "bucket %s belongs to somebody else", c->g->conf->bucket);
		err_hint(&c->why, "names of buckets are unique in all of Cloud Storage: choose another one");
	}
	return op_await(op, CREATE_LOOKED, gcs_create_look(c));
}

static enum op_turn
gcs_create_step(struct op *op)
{
	struct gcs_create *c = container_of(op, struct gcs_create, op);

	switch ((enum gcs_create_state)op->state) {
	case CREATE_START:
		return op_await(op, CREATE_LISTED, gcs_create_look(c));
	case CREATE_LISTED:
		return gcs_create_listed(c);
	case CREATE_ANSWERED:
		return gcs_create_answered(c);
	case CREATE_LOOKED:
		if (!op_failed(op) && c->ans.http.status == 200)
			return op_ok(op);
		op->res = c->why;
		return op_fail(op);
	}
	return OP_DONE;
}

static const struct op_class gcs_create_class = { "gcs create", gcs_create_step, NULL, gcs_create_free, gcs_create_states,
	ARRAY_LEN(gcs_create_states) };

struct op *
gcs_create(struct backend *b)
{
	struct gcs_create *c = xcalloc(1, sizeof(*c));

	c->g = gcs_of(b);
	op_init(&c->op, &gcs_create_class, c->g->env->loop);
	return &c->op;
}
