/* SPDX-License-Identifier: MIT */
#include "http.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

/* Reading, writing and deleting a state. Which status means what: docs/protocol/http-state.md. */
#define HB_REFUSAL_MAX 512 /* bytes of a refusal in which a word is looked for */

enum hb_kind { HB_HEAD, HB_GET, HB_PUT, HB_DEL };

struct hb_state_call {
	struct op         op;
	struct hb        *h;
	enum hb_kind      kind;
	char             *name, etag[ETAG_MAX], id[256];
	char             *address;      /* of a version; NULL: the backend's */
	bool              picky;        /* what is no state is not there */
	struct body      *body;
	void             *ret;
	struct hb_answer  answer;
};

enum hb_state_state { START, ANSWERED, READ };

static const char *const hb_state_states[] = { "start", "answered", "read" };

static enum err_code
hb_refused_redirect(const struct http_response *r, const char *what, const char *name, struct err *reterr)
{
	err_set(reterr, ERR_UNSUPPORTED, r->status, "%s %s: the server redirects to another place (%d)", what, name, r->status);
	return err_hint(reterr, "configure the address that it redirects to");
}

static enum err_code
hb_refused_auth(const struct hb *h, const struct http_response *r, const char *what, const char *name, struct err *reterr)
{
	if (r->status == 403) {
		err_set(reterr, ERR_AUTH, 403, "%s %s: the server does not permit it to these credentials (403)", what, name);
		return err_hint(reterr, "give this user the right to read, write and lock the state");
	}
	if (!hb_is_signed(h))
		err_set(reterr, ERR_AUTH, 401, "%s %s: the server wants credentials, and none are configured (401)", what, name);
	else
		err_set(reterr, ERR_AUTH, 401, "%s %s: the server does not accept the credentials (401)", what, name);
	return err_hint(reterr, "check username and password, or TF_HTTP_USERNAME and TF_HTTP_PASSWORD");
}

static enum err_code
hb_refusal(const struct hb *h, const struct http_response *r, const char *what, const char *name, bool write, struct err *reterr)
{
	if (r->status >= 300 && r->status < 400)
		return hb_refused_redirect(r, what, name, reterr);
	switch (r->status) {
	case 401:
	case 403:
		return hb_refused_auth(h, r, what, name, reterr);
	case 404:
	case 410:
		err_set(reterr, ERR_NOT_FOUND, r->status, "%s %s: there is nothing at this address (%d)", what, name, r->status);
		return err_hint(reterr, "check the addresses, and whether these credentials may see the state");
	case 405:
	case 501:
		err_set(reterr, ERR_UNSUPPORTED, r->status, "%s %s: the server does not know this method (%d)", what, name, r->status);
		return err_hint(reterr, "set update_method, lock_method and unlock_method as the server's documentation says");
	case 407:
		err_set(reterr, ERR_AUTH, 407, "%s %s: the proxy on the way wants credentials (407)", what, name);
		return err_hint(reterr, PROVIDER_PROXY_HINT);
	case 413:
		return err_set(reterr, ERR_UNSUPPORTED, 413, "%s %s: larger than the server accepts (413)", what, name);
	case 429:
		err_set(reterr, ERR_BUSY, 429, "%s %s: the server asks for fewer requests (429)", what, name);
		if (reterr != NULL)
			reterr->retry_after_ms = r->retry_after_ms;
		return ERR_BUSY;
	default:
		break;
	}
	if (hb_may_be_done(r->status) && write)
		return err_set(reterr, ERR_UNCERTAIN, r->status, "%s %s: the server failed on the way (%d)", what, name, r->status);
	if (hb_may_be_done(r->status)) {
		err_set(reterr, ERR_BUSY, r->status, "%s %s: the server is out of order (%d)", what, name, r->status);
		if (reterr != NULL)
			reterr->retry_after_ms = r->retry_after_ms;
		return ERR_BUSY;
	}
	err_set(reterr, ERR_UNSUPPORTED, r->status, "%s %s: the server refuses with status %d", what, name, r->status);
	return err_hint(reterr, "its log should say why");
}

enum err_code
hb_refused(const struct hb *h, const struct http_response *r, const char *what, const char *name, bool write, struct err *reterr)
{
	const struct hb_dialect *d = h->dialect;
	const char              *next = r->status == 401 ? d->sign_in : r->status == 403 ? d->permit : r->status == 404 ? d->nothing : NULL;
	enum err_code            rc = hb_refusal(h, r, what, name, write, reterr);

	if (r->status == 401 && d->no_credentials != NULL && !hb_is_signed(h))
		next = d->no_credentials;
	if (next != NULL)
		err_hint(reterr, "%s", next);
	hb_explain(h, r, reterr);
	return rc;
}

/* A place that is not there, or not for these credentials, is no empty one. */
static bool
hb_is_no_place(const struct hb *h, const struct http_response *r)
{
	const char *word = h->dialect->no_place;
	char        text[HB_REFUSAL_MAX];

	if (r->status != 404 || word == NULL || r->body == NULL || !body_in_memory(r->body))
		return false;
	span_text(text, sizeof(text), body_span(r->body));
	return strstr(text, word) != NULL;
}

/* "No state" has three spellings. */
static enum err_code
hb_got(struct hb_state_call *c, struct err *reterr)
{
	const struct http_response *r = &c->answer.res;

	if (hb_is_no_place(c->h, r)) {
		hb_refused(c->h, r, "reading", c->name, false, reterr);
		return reterr->code = ERR_AUTH;
	}
	if (r->status == 404 || r->status == 204 || (r->status == 200 && r->body_size == 0))
		return err_set(reterr, ERR_NOT_FOUND, r->status, "no state %s", c->name);
	if (r->status == 304 && c->etag[0] != '\0')
		return err_set(reterr, ERR_UNCHANGED, 304, "unchanged");
	if (r->status == 410) /* an error to terraform, so it must not read as "no state" */
		return err_set(reterr, ERR_UNSUPPORTED, 410, "reading %s: the address is no longer in use (410)", c->name);
	if (r->status != 200)
		return hb_refused(c->h, r, "reading", c->name, false, reterr);
	if (c->kind == HB_HEAD) {
		struct state_tag *tag = c->ret;

		memset(tag, 0, sizeof(*tag));
		memcpy(tag->etag, c->answer.now.etag, sizeof(tag->etag));
		tag->size = r->body_size;
		return ERR_OK;
	}
	if (c->picky && !state_is_good(&c->answer.now.info))
		return err_set(reterr, ERR_NOT_FOUND, 200, "what is there of %s is no state", c->name);
	*(struct snapshot *)c->ret = c->answer.now;
	memset(&c->answer.now, 0, sizeof(c->answer.now));
	if (c->h->api != NULL && state_is_good(&((struct snapshot *)c->ret)->info))
		snprintf(((struct snapshot *)c->ret)->version, VERSION_ID_MAX, "%llu",
		    (unsigned long long)((struct snapshot *)c->ret)->info.serial);
	return ERR_OK;
}

/* 409 and 422 are also what a version-keeping server says to the repetition of a write that did arrive: read back decides. */
static enum err_code
hb_written(struct hb_state_call *c, struct err *reterr)
{
	const struct http_response *r = &c->answer.res;
	struct lock_info            holder;
	const char                 *etag = http_header_get(r, "etag");

	switch (r->status) {
	case 200:
	case 201:
	case 204:
		if (etag != NULL && etag[0] == '"' && strlen(etag) < ETAG_MAX && !c->h->lists)
			snprintf(c->ret, ETAG_MAX, "%s", etag);
		return ERR_OK;
	case 409:
	case 412:
	case 422:
		return err_set(reterr, ERR_CONFLICT, r->status,
		    "writing %s: the server refuses it as locked or not newer than what it has (%d)", c->name, r->status);
	case 423:
		lock_info_parse(r->body != NULL && body_in_memory(r->body) ? body_span(r->body) : span_of("", 0), &holder, NULL);
		return err_set(reterr, ERR_LOCKED, 423, "writing %s: locked by %.100s", c->name,
		    holder.who[0] != '\0' ? holder.who : "somebody");
	default:
		break;
	}
	if (r->status > 200 && r->status < 300) /* e.g. 202: accepted, and nobody knows for what */
		return err_set(reterr, ERR_UNCERTAIN, r->status, "writing %s: status %d does not say that it is stored", c->name,
		    r->status);
	return hb_refused(c->h, r, "writing", c->name, true, reterr);
}

static enum err_code
hb_deleted(struct hb_state_call *c, struct err *reterr)
{
	const struct http_response *r = &c->answer.res;

	if (r->status == 200 || r->status == 204)
		return ERR_OK;
	if (r->status == 404 || r->status == 410)
		return err_set(reterr, ERR_NOT_FOUND, r->status, "no state %s", c->name);
	if (r->status == 409 || r->status == 423)
		return err_set(reterr, ERR_LOCKED, r->status, "deleting %s: it is locked (%d)", c->name, r->status);
	if (r->status == 202)
		return err_set(reterr, ERR_UNCERTAIN, 202, "deleting %s: accepted, not yet done (202)", c->name);
	return hb_refused(c->h, r, "deleting", c->name, true, reterr);
}

static struct op *
hb_state_send(struct hb_state_call *c)
{
	struct hb_request r = { .address = c->address != NULL ? c->address : c->h->address, .name = c->name, .body = c->body,
		.again = c->kind == HB_PUT || c->kind == HB_DEL ? HB_ONCE : HB_READ };

	r.method = c->kind == HB_PUT ? c->h->conf->update_method : c->kind == HB_DEL ? "DELETE" : "GET";
	r.id = c->id[0] != '\0' ? c->id : NULL;
	r.unless_etag = c->etag[0] != '\0' ? c->etag : NULL;
	return hb_send(c->h, &r, &c->answer);
}

/* A refused write with the ID of a lock: Forgejo says 401 to a wrong ID, all others to wrong credentials. A read tells which. */
static struct op *
hb_may_read(struct hb_state_call *c)
{
	struct hb_request r = { .method = "GET", .address = c->h->address, .name = c->name, .again = HB_READ };

	hb_answer_free(&c->answer);
	return hb_send(c->h, &r, &c->answer);
}

static enum op_turn
hb_state_step(struct op *op)
{
	struct hb_state_call *c = container_of(op, struct hb_state_call, op);

	switch ((enum hb_state_state)op->state) {
	case START:
		if (hb_name_check(c->h, c->name, &op->res) != ERR_OK)
			return op_finish(op);
		return op_await(op, ANSWERED, hb_state_send(c));
	case ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (c->kind == HB_PUT && c->answer.res.status == 401 && c->h->dialect->id_401)
			return op_await(op, READ, hb_may_read(c));
		if (c->kind == HB_PUT && (hb_written(c, &op->res) == ERR_CONFLICT || op->res.code == ERR_LOCKED))
			hb_explain(c->h, &c->answer.res, &op->res);
		else if (c->kind == HB_DEL)
			hb_deleted(c, &op->res);
		else if (c->kind != HB_PUT)
			hb_got(c, &op->res);
		return op_finish(op);
	case READ:
		if (!op_failed(op) && (c->answer.res.status == 200 || c->answer.res.status == 204 || c->answer.res.status == 404))
			err_set(&op->res, ERR_LOCKED, 401, "writing %s: our lock is no longer on it (401)", c->name);
		else if (!op_failed(op))
			hb_refused(c->h, &c->answer.res, "writing", c->name, true, &op->res);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
hb_state_free(struct op *op)
{
	struct hb_state_call *c = container_of(op, struct hb_state_call, op);

	hb_answer_free(&c->answer);
	body_unref(c->body);
	free(c->address);
	free(c->name);
	free(c);
}

static const struct op_class hb_state_class = { "http state", hb_state_step, NULL, hb_state_free, hb_state_states,
	ARRAY_LEN(hb_state_states) };

static struct hb_state_call *
hb_state_call(struct backend *b, enum hb_kind kind, const struct state_ref *ref, const char *etag, void *ret)
{
	struct hb_state_call *c = xcalloc(1, sizeof(*c));

	c->h = hb_of(b);
	op_init(&c->op, &hb_state_class, c->h->env->loop);
	c->kind = kind;
	c->name = xstrdup(ref->name);
	snprintf(c->etag, sizeof(c->etag), "%s", etag != NULL ? etag : "");
	c->ret = ret;
	return c;
}

struct op *
hb_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	return &hb_state_call(b, HB_HEAD, ref, NULL, ret)->op;
}

struct op *
hb_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	return &hb_state_call(b, HB_GET, ref, unless_etag, ret)->op;
}

struct op *
hb_get_at(struct backend *b, const struct state_ref *ref, char *address, struct snapshot *ret)
{
	struct hb_state_call *c = hb_state_call(b, HB_GET, ref, NULL, ret);

	c->address = address;
	c->picky = true;
	return &c->op;
}

struct op *
hb_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	return hb_get_at(b, ref, xasprintf("%s/versions/%s", hb_of(b)->address, version), ret);
}

struct op *
hb_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct hb_state_call *c = hb_state_call(b, HB_PUT, ref, NULL, ret_etag);

	c->body = body_ref(body->body);
	if (when->lock != NULL)
		snprintf(c->id, sizeof(c->id), "%s", when->lock->id);
	return &c->op;
}

struct op *
hb_del(struct backend *b, const struct state_ref *ref, const char *if_etag)
{
	if (if_etag != NULL)
		return op_error(hb_of(b)->env->loop, ERR_UNSUPPORTED, 0, "this protocol has no conditional delete");
	return &hb_state_call(b, HB_DEL, ref, NULL, NULL)->op;
}
