/* SPDX-License-Identifier: MIT */
#include "http.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

/*
 * LOCK and UNLOCK. Only 200 means locked: terraform takes every other answer for a failure, so a server that answers 201 or 204 has
 * set a lock that nobody would release. The same body again is harmless, and tells what became of a lost one.
 */
struct hb_lock_call {
	struct op         op;
	struct hb        *h;
	char             *name;
	struct lock_info  lock;
	struct lock_info *ret;         /* lock: ours, as the caller has it */
	struct lock_info *ret_holder;  /* unlock: NULL when it is ours that goes, else a person breaks another's */
	struct body      *body;        /* the same bytes for lock and unlock */
	struct hb_answer  answer;
	int               odd;         /* the 2xx that says no lock: not 200, or with a page for people */
	struct hb_gitlab_state now;    /* GitLab says of an unlock only that it does not fit */
	bool              late, asked; /* lock: an attempt was lost; whether it is ours has been tried */
};

static struct op *
hb_lock_send(struct hb_lock_call *c, bool lock)
{
	struct hb_request r = { .name = c->name, .body = c->body, .again = HB_IDEMPOTENT };

	r.method = lock ? c->h->conf->lock_method : c->h->conf->unlock_method;
	r.address = lock ? c->h->lock_address : c->h->unlock_address;
	hb_answer_free(&c->answer);
	c->answer.doubt = false;
	return hb_send(c->h, &r, &c->answer);
}

/* Who holds it, as far as the answer says; false: it does not say. */
static bool
hb_holder(const struct hb_lock_call *c, struct lock_info *ret)
{
	const struct body *b = c->answer.res.body;

	memset(ret, 0, sizeof(*ret));
	if (c->h->dialect->mute || b == NULL || !body_in_memory(b) || lock_info_parse(body_span(b), ret, NULL) != ERR_OK || ret->id[0] == '\0')
		return false;
	if (c->h->dialect->echoes) /* else a stranger's would pass for one of this fleet */
		ret->operation[0] = ret->info[0] = ret->version[0] = ret->path[0] = '\0';
	return true;
}

/* A login or block page that something on the way answers to everything. */
static bool
hb_is_page(const struct http_response *r)
{
	static const char *const marks[] = { "<html", "<!doctype html" };
	struct span              s = r->body != NULL && body_in_memory(r->body) ? body_span(r->body) : (struct span){ NULL, 0 };

	for (; s.n > 0 && strchr(" \t\r\n", s.p[0]) != NULL; s.p++, s.n--)
		;
	for (size_t i = 0; i < ARRAY_LEN(marks); i++)
		if (s.n >= strlen(marks[i]) && strncasecmp((const char *)s.p, marks[i], strlen(marks[i])) == 0)
			return true;
	return false;
}

/* ---------------------------------------------------------------- lock */

enum hb_lock_state { START, LOCKED, UNDONE, TRIED };

static const char *const hb_lock_states[] = { "start", "locked", "undone", "tried" };

static enum err_code
hb_held(const struct hb_lock_call *c, struct err *reterr)
{
	err_set(reterr, ERR_LOCKED, c->answer.res.status, "%s is locked, and the server does not say by whom", c->name);
	if (c->h->dialect->busy != NULL)
		err_hint(reterr, "%s", c->h->dialect->busy);
	hb_explain(c->h, &c->answer.res, reterr);
	return ERR_LOCKED;
}

static void
hb_busy(struct hb_lock_call *c, struct err *reterr)
{
	int  status = c->answer.res.status;
	bool known = hb_holder(c, c->ret_holder);

	if (known && strcmp(c->ret_holder->id, c->lock.id) == 0)
		return; /* ours: an earlier request had arrived */
	if (!known && c->answer.doubt) {
		err_set(reterr, ERR_UNCERTAIN, status, "locking %s: it is locked, and the server does not say whether by us", c->name);
		return;
	}
	if (!known) {
		hb_held(c, reterr);
		return;
	}
	lock_info_refuse(c->ret_holder, ERR_LOCKED, status, c->name, reterr);
}

/* The lock may be that of our own request, lost or delivered twice, which the server does not say: an unlock of it tells, for it takes no
 * other one. */
static bool
hb_should_try(const struct hb_lock_call *c)
{
	int status = c->answer.res.status;

	return c->h->dialect->mute && !c->asked && (status == 409 || status == 423);
}

/* Unlocked: it was ours, or there is none, so that it can be had. Refused: it is another's. */
static enum op_turn
hb_lock_tried(struct hb_lock_call *c)
{
	struct op *op = &c->op;
	int        status = c->answer.res.status;

	if (!op_failed(op) && ((status >= 200 && status < 300) || status == 404 || status == 410))
		return op_go(op, START);
	if (!op_failed(op) && (status == 409 || status == 423)) {
		hb_held(c, &op->res);
		return op_finish(op);
	}
	err_set(&op->res, ERR_UNCERTAIN, status, "locking %s: it is locked, and the server does not say whether by us", c->name);
	return op_finish(op);
}

static enum op_turn
hb_lock_answered(struct hb_lock_call *c)
{
	struct op                  *op = &c->op;
	const struct http_response *r = &c->answer.res;

	c->ret->late = c->late |= c->answer.doubt;
	if (op_failed(op) || (r->status == 200 && !hb_is_page(r)))
		return op_finish(op);
	if (r->status >= 200 && r->status < 300) {
		c->odd = r->status;
		op_shield(op);
		return op_await(op, UNDONE, hb_lock_send(c, false));
	}
	if (hb_should_try(c)) {
		c->asked = true;
		return op_await(op, TRIED, hb_lock_send(c, false));
	}
	if (r->status == 409 || r->status == 423)
		hb_busy(c, &op->res);
	else
		hb_refused(c->h, r, "locking", c->name, true, &op->res);
	if (c->answer.doubt && op->res.code != ERR_OK && op->res.code != ERR_LOCKED && op->res.code != ERR_UNCERTAIN)
		err_set(&op->res, ERR_UNCERTAIN, r->status, "locking %s: an earlier request may have been carried out", c->name);
	return op_finish(op);
}

static enum op_turn
hb_lock_odd(struct hb_lock_call *c)
{
	struct op *op = &c->op;
	bool       undone = !op_failed(op) && c->answer.res.status < 300;

	if (c->odd == 200) {
		err_set(&op->res, undone ? ERR_UNSUPPORTED : ERR_UNCERTAIN, 200, "locking %s: the answer is a page for people, and no lock", c->name);
		err_hint(&op->res, "check lock_address, and that no proxy or login page answers in the server's place");
		return op_finish(op);
	}
	err_set(&op->res, undone ? ERR_UNSUPPORTED : ERR_UNCERTAIN, c->odd,
	    "locking %s: the server is incompatible, it answered %d where only 200 means locked%s", c->name, c->odd,
	    undone ? "" : ", and did not unlock");
	err_hint(&op->res, "terraform cannot lock here either: the server has to answer 200");
	return op_finish(op);
}

static enum op_turn
hb_lock_step(struct op *op)
{
	struct hb_lock_call *c = container_of(op, struct hb_lock_call, op);

	switch ((enum hb_lock_state)op->state) {
	case START:
		if (hb_name_check(c->h, c->name, &op->res) != ERR_OK)
			return op_finish(op);
		return op_await(op, LOCKED, hb_lock_send(c, true));
	case LOCKED:
		return hb_lock_answered(c);
	case UNDONE:
		return hb_lock_odd(c);
	case TRIED:
		return hb_lock_tried(c);
	}
	return OP_DONE;
}

static void
hb_lock_free(struct op *op)
{
	struct hb_lock_call *c = container_of(op, struct hb_lock_call, op);

	hb_answer_free(&c->answer);
	body_unref(c->body);
	free(c->name);
	free(c);
}

static const struct op_class hb_lock_class = { "http lock", hb_lock_step, NULL, hb_lock_free, hb_lock_states,
	ARRAY_LEN(hb_lock_states) };

static struct hb_lock_call *
hb_lock_call(struct backend *b, const struct op_class *class, const struct state_ref *ref, const struct lock_info *l)
{
	struct hb_lock_call *c = xcalloc(1, sizeof(*c));
	struct buf           text;

	c->h = hb_of(b);
	op_init(&c->op, class, c->h->env->loop);
	c->name = xstrdup(ref->name);
	c->lock = *l;
	if (l->created[0] == '\0') /* another's, of which only the ID is known: a server in Go takes no "" for a time, but its own zero */
		snprintf(c->lock.created, sizeof(c->lock.created), "0001-01-01T00:00:00Z");
	buf_init(&text, LOCK_BODY_MAX);
	lock_info_body(&c->lock, &text);
	c->body = body_new(&text);
	return c;
}

struct op *
hb_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct hb_lock_call *c = hb_lock_call(b, &hb_lock_class, ref, l);

	c->ret = l;
	c->ret_holder = ret_holder;
	return &c->op;
}

/* ---------------------------------------------------------------- unlock */

enum hb_unlock_state { UNLOCK_START, UNLOCK_ANSWERED, UNLOCK_READ, UNLOCK_TOLD };

static const char *const hb_unlock_states[] = { "start", "answered", "read", "told" };

/* A person named an id that this lock does not carry; unless an earlier request of ours had removed it. */
static enum op_turn
hb_not_that(struct hb_lock_call *c, int status, const struct lock_info *holder)
{
	struct err *e = &c->op.res;

	if (c->answer.doubt)
		return op_ok(&c->op);
	if (holder->id[0] == '\0') {
		err_set(e, ERR_CONFLICT, status, "the server has no lock with that ID on %s (%d)", c->name, status);
		return op_finish(&c->op);
	}
	*c->ret_holder = *holder;
	lock_info_refuse(holder, ERR_CONFLICT, status, c->name, e);
	err_hint(e, "if that run is really gone, break it by this ID");
	return op_finish(&c->op);
}

/* 404 and 410. */
static enum op_turn
hb_no_lock(struct hb_lock_call *c, int status)
{
	if (c->ret_holder != NULL && !c->answer.doubt)
		err_set(&c->op.res, ERR_NOT_FOUND, status, "%s is not locked (%d)", c->name, status);
	return op_finish(&c->op);
}

/* "Not ours" is what provider_unlock() wants to hear: the lock that we mean is gone. */
static enum op_turn
hb_not_ours(struct hb_lock_call *c)
{
	struct lock_info holder;
	int              status = c->answer.res.status;

	if (hb_holder(c, &holder) && strcmp(holder.id, c->lock.id) == 0) {
		err_set(&c->op.res, ERR_LOCKED, status, "unlocking %s: the server keeps that lock (%d)", c->name, status);
		return op_finish(&c->op);
	}
	if (c->ret_holder != NULL && c->h->api != NULL && !c->answer.doubt)
		return op_await(&c->op, UNLOCK_TOLD, hb_gitlab_ask(c->h, c->name, &c->now));
	if (c->ret_holder != NULL)
		return hb_not_that(c, status, &holder);
	log_at(LOG_INFO, "http unlock", "%s: nothing to release, the server says the lock is not ours (%d)", c->name, status);
	return op_ok(&c->op);
}

/* Another lock, or none: the API knows, though not the ID. */
static enum op_turn
hb_gitlab_told(struct hb_lock_call *c)
{
	struct err *e = &c->op.res;

	if (op_failed(&c->op))
		return hb_not_that(c, 409, &(struct lock_info){ .id = "" });
	if (c->now.locked_at[0] == '\0')
		err_set(e, ERR_NOT_FOUND, 409, "%s is not locked", c->name);
	else
		err_set(e, ERR_CONFLICT, 409, "%s is locked by %s since %s, by another ID", c->name,
		    c->now.locked_by[0] != '\0' ? c->now.locked_by : "somebody", c->now.locked_at);
	return op_finish(&c->op);
}

static enum op_turn
hb_unlock_answered(struct hb_lock_call *c)
{
	struct hb_request read = { .method = "GET", .address = c->h->address, .name = c->name, .again = HB_READ };
	struct op        *op = &c->op;
	int               status = c->answer.res.status;

	if (op_failed(op))
		return op_fail(op);
	switch (status) {
	case 201:
	case 204:
		log_at(LOG_WARN, "http unlock", "%s: status %d where terraform expects 200", c->name, status);
		return op_ok(op);
	case 200:
		return op_ok(op);
	case 404:
	case 410:
		return hb_no_lock(c, status);
	case 409:
	case 423:
		return hb_not_ours(c);
	case 401: /* a wrong ID on some servers, wrong credentials on the others: a read tells which */
		hb_answer_free(&c->answer);
		return op_await(op, UNLOCK_READ, hb_send(c->h, &read, &c->answer));
	case 202:
		err_set(&op->res, ERR_UNCERTAIN, 202, "unlocking %s: accepted, not yet done (202)", c->name);
		return op_finish(op);
	default:
		hb_refused(c->h, &c->answer.res, "unlocking", c->name, true, &op->res);
		return op_finish(op);
	}
}

static enum op_turn
hb_unlock_step(struct op *op)
{
	struct hb_lock_call *c = container_of(op, struct hb_lock_call, op);
	int                  status;

	switch ((enum hb_unlock_state)op->state) {
	case UNLOCK_START:
		if (hb_name_check(c->h, c->name, &op->res) != ERR_OK)
			return op_finish(op);
		return op_await(op, UNLOCK_ANSWERED, hb_lock_send(c, false));
	case UNLOCK_ANSWERED:
		return hb_unlock_answered(c);
	case UNLOCK_TOLD:
		return hb_gitlab_told(c);
	case UNLOCK_READ:
		status = c->answer.res.status;
		if (!op_failed(op) && (status == 200 || status == 204 || status == 404)) {
			if (c->ret_holder != NULL)
				return hb_not_that(c, 401, &(struct lock_info){ .id = "" });
			log_at(LOG_INFO, "http unlock", "%s: nothing to release, the lock is not ours (401)", c->name);
			return op_ok(op);
		}
		if (!op_failed(op))
			hb_refused(c->h, &c->answer.res, "unlocking", c->name, false, &op->res);
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class hb_unlock_class = { "http unlock", hb_unlock_step, NULL, hb_lock_free, hb_unlock_states,
	ARRAY_LEN(hb_unlock_states) };

struct op *
hb_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	return &hb_lock_call(b, &hb_unlock_class, ref, l)->op;
}

struct op *
hb_lock_break(struct backend *b, const struct state_ref *ref, const struct lock_info *l, struct lock_info *ret_holder)
{
	struct hb_lock_call *c = hb_lock_call(b, &hb_unlock_class, ref, l);

	c->ret_holder = ret_holder;
	return &c->op;
}
