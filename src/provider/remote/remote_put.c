/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "remote.h"

/*
 * A state as it is written: a version is announced with serial, lineage and MD5, its bytes go to the address in the answer, and it counts
 * when the server calls it finalized. A workspace stays locked while a version waits for its bytes, so that from the first request on
 * this is seen through: an answer that was lost is looked for among the newest versions, bytes are sent again only to a version that still waits
 * for them. Servers that know no upload get the bytes within the announcement.
 */
#define REMOTE_UPLOADS    3
#define REMOTE_POSTS      2    /* the second one when the newest versions do not show the first */
#define REMOTE_POLL_MS    200
#define REMOTE_NEWEST     "20" /* versions that are looked through for ours */
#define REMOTE_WITHIN_MAX BODY_SPOOL_ABOVE /* of bytes within an announcement, which lie in memory as a whole */

struct remote_putting {
	struct op           op;
	struct remote      *r;
	char               *name;
	struct body        *body;
	uint64_t            serial;
	char                lineage[STATE_LINEAGE_MAX], md5[2 * MD5_LEN + 1];
	struct buf          within;     /* the announcement, made where the bytes are read */
	struct remote_item  found;
	struct remote_ask   ask;
	char                id[REMOTE_ID_MAX], upload[URL_MAX + 1]; /* of the version; upload is a secret */
	unsigned            posts, uploads, polls, unseen;
	bool                looking, uploaded; /* uploaded: the bytes were taken */
	struct send_request req;
	struct send_answer  ans;
	int64_t             until;
	char               *ret_etag;
};

enum remote_putting_state { PUT_START, PUT_SUMMED, PUT_FOUND, PUT_POSTED, PUT_LISTED, PUT_UPLOADED, PUT_LOOK, PUT_LOOKED };

static const char *const remote_putting_states[] = { "start", "summed", "found", "announced", "listed", "uploaded", "look", "looked" };

static void
remote_putting_free(struct op *op)
{
	struct remote_putting *p = container_of(op, struct remote_putting, op);

	mem_wipe(p->upload, sizeof(p->upload));
	if (p->req.path != NULL)
		mem_wipe(p->req.path, strlen(p->req.path));
	send_request_free(&p->req);
	send_answer_free(&p->ans);
	remote_ask_free(&p->ask);
	buf_wipe_free(&p->within);
	body_unref(p->body);
	free(p->name);
	free(p);
}

/* ---------------------------------------------------------------- the announcement */

/* Nothing that a server might not know: some refuse attributes that they never heard of. */
static void
remote_announce(struct remote_putting *p, struct span state)
{
	struct json_writer w;
	struct buf         text;

	buf_reset(&p->within);
	buf_reserve(&p->within, 2 * state.n + 2048, NULL);
	json_begin(&w, &p->within);
	json_obj(&w);
	json_key(&w, "data");
	json_obj(&w);
	json_kv_str(&w, "type", "state-versions");
	json_key(&w, "attributes");
	json_obj(&w);
	json_kv_u64(&w, "serial", p->serial);
	json_kv_str(&w, "md5", p->md5);
	if (p->lineage[0] != '\0')
		json_kv_str(&w, "lineage", p->lineage);
	if (p->r->one_step) {
		buf_init(&text, 0);
		buf_reserve(&text, 2 * state.n + 8, NULL);
		base64_encode(state, &text);
		json_key(&w, "state");
		json_span(&w, buf_span(&text));
		buf_wipe_free(&text);
	}
	json_obj_end(&w);
	json_obj_end(&w);
	json_obj_end(&w);
}

static enum err_code
remote_put_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct remote_putting *p = arg;
	struct md5            *h = md5_new();
	uint8_t                piece[16384], sum[MD5_LEN];
	uint64_t               off = 0;
	size_t                 n = 0;
	enum err_code          rc;

	(void)job;
	while ((rc = body_read(p->body, off, piece, sizeof(piece), &n, reterr)) == ERR_OK && n > 0) {
		md5_add(h, piece, n);
		off += n;
	}
	md5_end(h, sum);
	mem_wipe(piece, sizeof(piece));
	hex_encode(sum, sizeof(sum), p->md5);
	if (rc == ERR_OK)
		remote_announce(p, p->r->one_step ? body_span(p->body) : span_str(""));
	return rc;
}

static struct op *
remote_post(struct remote_putting *p)
{
	p->posts++;
	remote_to(&p->ask, "POST", "workspaces/%s/state-versions", p->found.id);
	remote_body(&p->ask, &p->within);
	buf_init(&p->within, 0);
	p->ask.what = "writing";
	p->ask.needs = "read and write state versions";
	p->ask.refused = true;
	p->ask.doc.each = NULL;
	return remote_ask(p->r, &p->ask);
}

/* ---------------------------------------------------------------- refusals of it */

static enum err_code
remote_put_refused(struct remote_putting *p, struct err *reterr)
{
	const struct send_answer *a = &p->ask.ans;
	const char               *where = p->r->b.where, *why = NULL;
	unsigned long long        serial = p->serial;

	if (remote_says(a, "lineage"))
		why = "the workspace holds states of another lineage, and a server never lets that change";
	else if (remote_says(a, "MD5 hash") || remote_says(a, "same serial"))
		why = "the workspace has other bytes under the same serial";
	else if (remote_says(a, "greater than the serial") || remote_says(a, "serial"))
		why = "the workspace has a newer serial";
	else if (remote_says(a, "lock"))
		why = "the workspace is not locked by us any more";
	if (why == NULL && a->http.status != 409 && a->http.status != 412)
		return remote_refused(p->r, &p->ask, reterr);
	return err_set(reterr, ERR_CONFLICT, a->http.status, "%s: writing serial %llu of %.60s is refused (%d): %.80s", where, serial, p->name,
	    a->http.status, why != NULL ? why : a->message);
}

/* The bytes belong into the announcement: the CLI knows it by the same words. */
static bool
remote_wants_one_step(const struct remote_putting *p)
{
	return !p->r->one_step && remote_says(&p->ask.ans, "param is missing or the value is empty: state");
}

/* ---------------------------------------------------------------- what became of it */

/* The newest first: ours is one that waits for bytes of our serial, for nobody else writes under our lock. */
static void
remote_put_saw(void *arg, const struct remote_item *i)
{
	struct remote_putting *p = arg;

	if (p->id[0] == '\0' && i->serial == p->serial && i->tells_serial && strcmp(i->status, "pending") == 0)
		memcpy(p->id, i->id, sizeof(p->id));
}

static struct op *
remote_put_search(struct remote_putting *p)
{
	char *full = remote_full(p->r, p->name);

	remote_to(&p->ask, "GET", "state-versions");
	send_query(&p->ask.req, "filter[organization][name]", p->r->conf->organization);
	send_query(&p->ask.req, "filter[workspace][name]", full);
	send_query(&p->ask.req, "page[size]", REMOTE_NEWEST);
	p->ask.req.max_body = (uint64_t)8 << 20;
	p->ask.doc.each = remote_put_saw;
	p->ask.doc.arg = p;
	p->ask.refused = false;
	free(full);
	return remote_ask(p->r, &p->ask);
}

static struct op *
remote_put_look(struct remote_putting *p)
{
	remote_to(&p->ask, "GET", "state-versions/%s", p->id);
	p->ask.doc.each = NULL;
	p->ask.refused = false;
	return remote_ask(p->r, &p->ask);
}

static enum op_turn
remote_put_unsure(struct remote_putting *p, const char *why)
{
	err_set(&p->op.res, ERR_UNCERTAIN, p->op.res.detail, "%s: serial %llu of %.60s was announced, and %.70s", p->r->b.where,
	    (unsigned long long)p->serial, p->name, why);
	err_hint(&p->op.res, "while its version %.40s is pending, the workspace cannot be unlocked but by force", p->id);
	return op_fail(&p->op);
}

static enum op_turn
remote_put_wait(struct remote_putting *p)
{
	return op_await(&p->op, PUT_LOOK, op_sleep(p->op.loop, provider_backoff_ms(&p->r->b, p->polls++, REMOTE_POLL_MS)));
}

/* ---------------------------------------------------------------- the bytes */

static enum op_turn
remote_upload(struct remote_putting *p)
{
	const struct remote_access *a = token_value(p->r->access);
	char                       *url = remote_link(a->base, p->upload);

	if (url == NULL)
		return remote_put_unsure(p, "the address for its bytes is none, or without TLS");
	if (p->req.path != NULL)
		mem_wipe(p->req.path, strlen(p->req.path));
	send_request_free(&p->req);
	p->uploads++;
	p->req = (struct send_request){ .method = "PUT", .path = url, .body = body_ref(p->body), .changing = true, .max_body = 65536 };
	send_header(&p->req, "Content-Type", "application/octet-stream");
	return op_await(&p->op, PUT_UPLOADED, remote_send(p->r, &p->req, &p->ans));
}

/* The version as the server shows it now. */
static enum op_turn
remote_put_weigh(struct remote_putting *p)
{
	struct op                *op = &p->op;
	const struct remote_item *i = &p->ask.doc.item;

	if (strcmp(i->status, "finalized") == 0 || (i->status[0] == '\0' && (p->uploaded || p->r->one_step))) {
		snprintf(p->ret_etag, ETAG_MAX, "%s", p->id);
		return op_ok(op);
	}
	if (strcmp(i->status, "pending") != 0) {
		err_set(&op->res, ERR_CONFLICT, 0, "%s: serial %llu of %.60s was taken, then given up by the server (%.30s)", p->r->b.where,
		    (unsigned long long)p->serial, p->name, i->status);
		return op_fail(op);
	}
	if (i->upload[0] != '\0')
		memcpy(p->upload, i->upload, sizeof(p->upload));
	if (!p->uploaded && !p->r->one_step && p->upload[0] != '\0' && p->uploads < REMOTE_UPLOADS)
		return remote_upload(p);
	if (loop_now(op->loop) >= p->until || (!p->uploaded && !p->r->one_step && p->uploads >= REMOTE_UPLOADS))
		return remote_put_unsure(p, p->uploaded ? "its bytes were taken, but it is not finalized yet" : "its bytes could not be sent");
	return remote_put_wait(p);
}

static enum op_turn
remote_posted(struct remote_putting *p)
{
	struct op *op = &p->op;
	int        status = p->ask.ans.http.status;

	p->until = loop_now(op->loop) + p->r->b.common.timeout_ms;
	if (op->res.code == ERR_UNCERTAIN)
		return op_await(op, PUT_LISTED, remote_put_search(p));
	if (op_failed(op))
		return op_fail(op);
	if (status != 201 && status != 200) {
		if (remote_wants_one_step(p)) {
			p->r->one_step = true;
			p->posts = 0;
			return op_go(op, PUT_START);
		}
		remote_put_refused(p, &op->res);
		return op_fail(op);
	}
	memcpy(p->id, p->ask.doc.item.id, sizeof(p->id));
	if (p->id[0] == '\0')
		return remote_put_unsure(p, "the answer names no version");
	return remote_put_weigh(p);
}

static enum op_turn
remote_put_listed(struct remote_putting *p)
{
	struct op *op = &p->op;

	if (!op_failed(op) && p->ask.ans.http.status == 200 && p->id[0] != '\0')
		return op_await(op, PUT_LOOKED, remote_put_look(p));
	if (!op_failed(op) && p->ask.ans.http.status == 200 && p->posts < REMOTE_POSTS && !p->r->one_step)
		return op_go(op, PUT_START);
	return remote_put_unsure(p, "no answer came");
}

static enum op_turn
remote_putting_step(struct op *op)
{
	struct remote_putting *p = container_of(op, struct remote_putting, op);
	struct remote_known   *known;

	switch ((enum remote_putting_state)op->state) {
	case PUT_START:
		if (p->r->one_step && (!body_in_memory(p->body) || body_size(p->body) > REMOTE_WITHIN_MAX)) {
			err_set(&op->res, ERR_UNSUPPORTED, 0, "%s: %.90s is too large for a server that knows no upload", p->r->b.where, p->name);
			return op_fail(op);
		}
		return op_await(op, PUT_SUMMED, work_by_size(p->r->env->work, body_size(p->body), remote_put_job, p));
	case PUT_SUMMED:
		if (op_failed(op))
			return op_fail(op);
		known = remote_known(p->r, p->name);
		if (known != NULL)
			memcpy(p->found.id, known->id, sizeof(p->found.id));
		return op_await(op, PUT_FOUND, known != NULL ? NULL : remote_find(p->r, p->name, true, &p->found));
	case PUT_FOUND:
		if (op_stopped(op) && !op_failed(op))
			err_set(&op->res, ERR_CANCELLED, 0, "cancelled");
		if (op_failed(op))
			return op_fail(op);
		op_shield(op);
		return op_await(op, PUT_POSTED, remote_post(p));
	case PUT_POSTED:
		return remote_posted(p);
	case PUT_LISTED:
		return remote_put_listed(p);
	case PUT_UPLOADED: /* whatever was answered: how the version stands tells */
		p->uploaded |= !op_failed(op) && p->ans.http.status / 100 == 2;
		p->until = loop_now(op->loop) + p->r->b.common.timeout_ms;
		return p->uploaded ? op_go(op, PUT_LOOK) : remote_put_wait(p);
	case PUT_LOOK:
		return op_await(op, PUT_LOOKED, remote_put_look(p));
	case PUT_LOOKED:
		if (op_failed(op) && p->unseen++ == 0)
			return remote_put_wait(p);
		if (op_failed(op) || p->ask.ans.http.status != 200)
			return remote_put_unsure(p, "what became of it cannot be read");
		return remote_put_weigh(p);
	}
	return OP_DONE;
}

static const struct op_class remote_putting_class = { "remote put", remote_putting_step, NULL, remote_putting_free,
	remote_putting_states, ARRAY_LEN(remote_putting_states) };

struct op *
remote_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct remote_putting *p = xcalloc(1, sizeof(*p));

	(void)when; /* the lock it is, for no precondition is among the caps */
	p->r = remote_of(b);
	op_init(&p->op, &remote_putting_class, p->r->env->loop);
	p->ask.name = p->name = xstrdup(ref->name);
	p->body = body_ref(body->body);
	p->serial = body->info.serial;
	snprintf(p->lineage, sizeof(p->lineage), "%s", body->info.lineage);
	buf_init(&p->within, 2 * REMOTE_WITHIN_MAX);
	p->ret_etag = ret_etag;
	return &p->op;
}
