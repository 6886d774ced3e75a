/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "provider/reader.h"
#include "remote.h"

/*
 * A state as it is read: which version is current, then its bytes from the address that the answer names. That may be the API itself, a
 * relative path, or a store of blobs with a signed address: the token goes to the API alone, and redirects are followed one by one.
 */
#define REMOTE_REDIRECTS_MAX 5
#define REMOTE_FRESH_MS      ((int64_t)10000) /* what the server told of a workspace is not doubted so long */
#define REMOTE_READ_AGAIN    2   /* bytes that do not fit what is said of them are read so often again */

struct remote_reading {
	struct op           op;
	struct remote      *r;
	char               *name, *version; /* version NULL: the current one */
	struct remote_ask   ask;
	struct remote_item  found;
	bool                looked;         /* by name, lately: what is known is not stale */
	char               *url;            /* of the bytes; a secret */
	struct send_request req;
	struct send_answer  ans;
	unsigned            redirects, again;
	struct reader      *reader;
	struct snapshot    *ret;            /* NULL: only a look */
	struct state_tag   *ret_tag;
	char                unless[ETAG_MAX];
};

enum remote_reading_state { READ_START, READ_FOUND, READ_TOLD, READ_FETCH, READ_FETCHED };

static const char *const remote_reading_states[] = { "start", "found", "told", "fetch", "fetched" };

static void
remote_url_set(struct remote_reading *x, char *url)
{
	if (x->url != NULL)
		mem_wipe(x->url, strlen(x->url));
	free(x->url);
	x->url = url;
}

static void
remote_reading_free(struct op *op)
{
	struct remote_reading *x = container_of(op, struct remote_reading, op);

	remote_url_set(x, NULL);
	if (x->req.path != NULL)
		mem_wipe(x->req.path, strlen(x->req.path));
	send_request_free(&x->req);
	send_answer_free(&x->ans);
	remote_ask_free(&x->ask);
	reader_free(x->reader);
	free(x->name);
	free(x->version);
	free(x);
}

/* to as a link in what was found at from. NULL: it leads out of TLS, or nowhere. */
char *
remote_link(const char *from, const char *to)
{
	const char *host = strstr(from, "://") + 3, *slash = strchr(host, '/');
	size_t      scheme = (size_t)(host - 3 - from), root = slash != NULL ? (size_t)(slash - from) : strlen(from), dir = root;
	struct url  u;
	char       *ret;

	for (size_t i = root; from[i] != '\0' && from[i] != '?'; i++)
		if (from[i] == '/')
			dir = i;
	if (strstr(to, "://") != NULL)
		ret = xstrdup(to);
	else if (to[0] == '/' && to[1] == '/')
		ret = xasprintf("%.*s:%s", (int)scheme, from, to);
	else if (to[0] == '/')
		ret = xasprintf("%.*s%s", (int)root, from, to);
	else
		ret = xasprintf("%.*s/%s", (int)dir, from, to);
	if (url_parse(ret, &u, NULL) == ERR_OK) {
		bool safe = u.user == NULL && (strcmp(u.scheme, "https") == 0 || strncmp(from, "http:", 5) == 0);

		url_free(&u);
		if (safe)
			return ret;
	}
	mem_wipe(ret, strlen(ret));
	free(ret);
	return NULL;
}

/* ---------------------------------------------------------------- which version */

static struct op *
remote_ask_version(struct remote_reading *x)
{
	if (x->version != NULL) {
		char *id = remote_escaped(x->version);

		remote_to(&x->ask, "GET", "state-versions/%s", id);
		free(id);
	} else {
		remote_to(&x->ask, "GET", "workspaces/%s/current-state-version", x->found.id);
	}
	return remote_ask(x->r, &x->ask);
}

/* 404 is no state yet, no permission, or a workspace that is no longer the one that was known. */
static enum op_turn
remote_no_version(struct remote_reading *x)
{
	struct op                 *op = &x->op;
	const struct remote_known *k = remote_known(x->r, x->name);

	if (x->version == NULL && !x->looked) {
		remote_forget(x->r, x->name);
		return op_go(op, READ_START);
	}
	if (x->version == NULL && k != NULL && (k->has_state || (k->denied & REMOTE_READ_STATE) != 0))
		remote_refused(x->r, &x->ask, &op->res);
	else
		err_set(&op->res, ERR_NOT_FOUND, 404, "%s: %.90s has no %s", x->r->b.where, x->name, x->version == NULL ? "state" : "such version");
	return op_fail(op);
}

/* May its bytes be had? */
static enum err_code
remote_is_readable(const struct remote_reading *x, struct err *reterr)
{
	const struct remote_item *i = &x->ask.doc.item;
	const char               *where = x->r->b.where;

	if (strncmp(i->status, "backing_data_", strlen("backing_data_")) == 0) {
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s: %.90s: the bytes of its version %s were deleted there (%s)", where, x->name, i->id, i->status);
		return err_hint(reterr, "an administrator may restore them; or write the last version that is known here: stateferry restore");
	}
	if (i->download[0] == '\0' && i->encrypted) {
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s: %.90s is encrypted with a key that only its owner holds, and cannot be read here", where, x->name);
		return err_hint(reterr, "the server hands out the encrypted bytes alone: exclude this workspace");
	}
	if (strcmp(i->status, "pending") == 0)
		return err_set(reterr, ERR_BUSY, 0, "%s: %.90s: the bytes of its newest version are still on their way", where, x->name);
	if (i->download[0] == '\0')
		return remote_refused(x->r, &(struct remote_ask){ .ans.http.status = 403, .what = x->ask.what, .name = x->name,
		    .needs = x->ask.needs }, reterr);
	return ERR_OK;
}

static enum op_turn
remote_told(struct remote_reading *x)
{
	struct op                 *op = &x->op;
	const struct remote_item  *i = &x->ask.doc.item;
	const struct remote_access *a = token_value(x->r->access);

	if (op_failed(op))
		return op_fail(op);
	if (x->ask.ans.http.status == 404)
		return remote_no_version(x);
	if (i->id[0] == '\0') {
		err_set(&op->res, ERR_UNSUPPORTED, 200, "%s: the answer to a look at %.90s is no state version", x->r->b.where, x->name);
		return op_fail(op);
	}
	if (x->ret == NULL) {
		memset(x->ret_tag, 0, sizeof(*x->ret_tag));
		snprintf(x->ret_tag->etag, ETAG_MAX, "%s", i->id);
		x->ret_tag->size = i->size;
		if (!time_parse(i->created, &x->ret_tag->modified))
			x->ret_tag->modified = 0;
		return op_ok(op);
	}
	if (strcmp(i->id, x->unless) == 0)
		err_set(&op->res, ERR_UNCHANGED, 200, "unchanged");
	else
		remote_is_readable(x, &op->res);
	if (op_failed(op))
		return op_fail(op);
	remote_url_set(x, remote_link(a->base, i->download));
	x->redirects = 0;
	return op_go(op, READ_FETCH);
}

/* ---------------------------------------------------------------- its bytes */

static void
remote_fetch_restart(void *arg)
{
	struct remote_reading *x = arg;

	reader_free(x->reader);
	x->reader = reader_new();
}

static enum err_code
remote_fetch_piece(void *arg, const void *p, size_t n, struct err *reterr)
{
	(void)reterr;
	reader_feed(((struct remote_reading *)arg)->reader, p, n);
	return ERR_OK;
}

static enum op_turn
remote_fetch(struct remote_reading *x)
{
	if (x->url == NULL) {
		err_set(&x->op.res, ERR_UNSUPPORTED, 0, "%s: %.90s: the server sends us for its bytes to an address that is none, or without TLS",
		    x->r->b.where, x->name);
		return op_fail(&x->op);
	}
	send_request_free(&x->req);
	x->req = (struct send_request){ .method = "GET", .path = xstrdup(x->url), .max_body = x->r->b.common.max_state_size,
		.max_body_name = "max_state_size", .keep = true, .spool = true, .on_body = remote_fetch_piece, .restart = remote_fetch_restart,
		.arg = x };
	return op_await(&x->op, READ_FETCHED, remote_send(x->r, &x->req, &x->ans));
}

/* Are these the bytes that the server speaks of? */
static enum err_code
remote_is_whole(const struct remote_reading *x, const struct snapshot *s, struct err *reterr)
{
	const struct remote_item *i = &x->ask.doc.item;

	if (i->tells_size && i->size != s->info.size)
		return err_set(reterr, ERR_CORRUPT, 0, "%s: %.90s: %llu bytes came of a version of %llu", x->r->b.where, x->name,
		    (unsigned long long)s->info.size, (unsigned long long)i->size);
	if (i->tells_serial && s->info.kind == STATE_V4 && i->serial != s->info.serial)
		return err_set(reterr, ERR_CORRUPT, 0, "%s: %.90s: the bytes have serial %llu, the server calls it %llu", x->r->b.where, x->name,
		    (unsigned long long)s->info.serial, (unsigned long long)i->serial);
	return ERR_OK;
}

static enum op_turn
remote_received(struct remote_reading *x)
{
	struct op       *op = &x->op;
	struct snapshot *s = x->ret;

	if (x->ans.http.body_size == 0 && reader_size(x->reader) == 0) {
		err_set(&op->res, ERR_NOT_FOUND, 200, "%s: %.90s has no state: its version %s is empty", x->r->b.where, x->name, x->ask.doc.item.id);
		return op_fail(op);
	}
	s->body = body_ref(x->ans.http.body);
	reader_end(x->reader, s);
	x->reader = NULL;
	if (remote_is_whole(x, s, &op->res) == ERR_OK) {
		snprintf(s->etag, ETAG_MAX, "%s", x->ask.doc.item.id);
		snprintf(s->version, VERSION_ID_MAX, "%s", x->ask.doc.item.id);
		span_text(s->run, sizeof(s->run), span_str(x->ask.doc.item.run));
		if (!time_parse(x->ask.doc.item.created, &s->modified))
			s->modified = 0;
		return op_ok(op);
	}
	snapshot_free(s);
	if (x->again++ < REMOTE_READ_AGAIN)
		return op_await(op, READ_FETCH, op_sleep(op->loop, provider_backoff_ms(&x->r->b, x->again, 100)));
	return op_fail(op);
}

static enum op_turn
remote_fetched(struct remote_reading *x)
{
	struct op  *op = &x->op;
	int         status = x->ans.http.status;
	const char *to = http_header_get(&x->ans.http, "location");

	if (op_failed(op))
		return op_fail(op);
	if (status == 200)
		return remote_received(x);
	if (status == 204) {
		err_set(&op->res, ERR_NOT_FOUND, 204, "%s: %.90s has no state", x->r->b.where, x->name);
		return op_fail(op);
	}
	if (status / 100 == 3 && to != NULL && x->redirects++ < REMOTE_REDIRECTS_MAX) {
		remote_url_set(x, remote_link(x->url, to));
		return op_go(op, READ_FETCH);
	}
	if (status >= 400 && x->again++ == 0) /* its address may have run out: a new one is made with each look */
		return op_go(op, READ_START);
	remote_refused(x->r, &(struct remote_ask){ .ans.http.status = status, .what = x->ask.what, .name = x->name, .needs = x->ask.needs },
	    &op->res);
	return op_fail(op);
}

static enum op_turn
remote_reading_step(struct op *op)
{
	struct remote_reading *x = container_of(op, struct remote_reading, op);
	struct remote_known   *known;

	switch ((enum remote_reading_state)op->state) {
	case READ_START:
		known = remote_known(x->r, x->name);
		if (known != NULL) {
			memcpy(x->found.id, known->id, sizeof(x->found.id));
			x->looked |= !known->has_state && loop_now(op->loop) - known->seen < REMOTE_FRESH_MS;
		}
		if (x->version != NULL || known != NULL)
			return op_await(op, READ_FOUND, NULL);
		x->looked = true;
		return op_await(op, READ_FOUND, remote_find(x->r, x->name, false, &x->found));
	case READ_FOUND:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, READ_TOLD, remote_ask_version(x));
	case READ_TOLD:
		return remote_told(x);
	case READ_FETCH:
		return op_failed(op) ? op_fail(op) : remote_fetch(x);
	case READ_FETCHED:
		return remote_fetched(x);
	}
	return OP_DONE;
}

static const struct op_class remote_reading_class = { "remote read", remote_reading_step, NULL, remote_reading_free,
	remote_reading_states, ARRAY_LEN(remote_reading_states) };

static struct remote_reading *
remote_reading_new(struct backend *b, const struct state_ref *ref)
{
	struct remote_reading *x = xcalloc(1, sizeof(*x));

	x->r = remote_of(b);
	op_init(&x->op, &remote_reading_class, x->r->env->loop);
	x->ask.name = x->name = xstrdup(ref->name);
	x->ask.what = "reading";
	x->ask.needs = "read state versions, not outputs alone";
	return x;
}

struct op *
remote_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret)
{
	struct remote_reading *x = remote_reading_new(b, ref);

	x->ret_tag = ret;
	return &x->op;
}

struct op *
remote_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	struct remote_reading *x = remote_reading_new(b, ref);

	x->ret = ret;
	snprintf(x->unless, sizeof(x->unless), "%s", unless_etag != NULL ? unless_etag : "");
	return &x->op;
}

struct op *
remote_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret)
{
	struct remote_reading *x = remote_reading_new(b, ref);

	x->ret = ret;
	x->version = xstrdup(version);
	return &x->op;
}
