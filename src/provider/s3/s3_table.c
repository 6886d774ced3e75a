/* SPDX-License-Identifier: MIT */
#include "s3_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/encode.h"
#include "base/log.h"

/*
 * The table of DynamoDB that older configurations of terraform name: a row for each lock, and one for each state with the MD5 of
 * its bytes (docs/protocol/s3.md, "The lock table"). Here: calls, and the digests.
 */
#define ROW_DIGEST         "Digest"
#define ROW_DIGEST_SUFFIX  "-md5"
#define S3_HASH_PIECE      65536

/* ---------------------------------------------------------------- calls */

bool
s3_has_table(const struct s3 *s)
{
	return s->conf->dynamodb_table != NULL && s->conf->dynamodb_table[0] != '\0';
}

char *
s3_row_id(const struct s3 *s, const char *name, const char *suffix)
{
	return xasprintf("%s/%s%s%s", s->conf->bucket, s->b.common.prefix, name, suffix);
}

void
s3_row_call_free(struct s3_row_call *c)
{
	aws_request_free(&c->req);
	aws_answer_free(&c->ans);
}

struct op *
s3_table_send(struct s3 *s, struct s3_row_call *c, const char *target, json_t *body, bool changing)
{
	struct buf bytes;
	char      *text;

	json_object_set_new(body, "TableName", json_string(s->conf->dynamodb_table));
	text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	aws_request_free(&c->req);
	c->req.what = "DynamoDB";
	c->req.service = "dynamodb";
	c->req.region = s->table_region;
	c->req.cred = s->cred;
	c->req.send.method = "POST";
	c->req.base = xstrdup(s->table_endpoint);
	c->req.send.changing = changing;
	send_header(&c->req.send, "x-amz-target", "%s", target);
	buf_init(&bytes, 0);
	buf_puts(&bytes, text);
	free(text);
	aws_request_body(&c->req, "application/x-amz-json-1.0", &bytes);
	return aws_send(&s->net, &c->req, &c->ans);
}

struct op *
s3_row_get(struct s3 *s, struct s3_row_call *c, const char *id, const char *attribute)
{
	char   *what = xasprintf(ROW_KEY ", %s", attribute);
	json_t *body = json_pack("{s:{s:{s:s}}, s:b, s:s}", "Key", ROW_KEY, "S", id, "ConsistentRead", 1, "ProjectionExpression",
	    what);

	free(what);
	return s3_table_send(s, c, "DynamoDB_20120810.GetItem", body, false);
}

void
s3_row_condition(json_t *body, const char *condition, const char *expected)
{
	if (condition == NULL)
		return;
	json_object_set_new(body, "ConditionExpression", json_string(condition));
	json_object_set_new(body, "ReturnValuesOnConditionCheckFailure", json_string("ALL_OLD"));
	if (expected != NULL)
		json_object_set_new(body, "ExpressionAttributeValues", json_pack("{s:{s:s}}", ":expected", "S", expected));
}

struct op *
s3_row_put(struct s3 *s, struct s3_row_call *c, const char *id, const char *attribute, const char *value,
    const char *condition, const char *expected)
{
	json_t *body = json_pack("{s:{s:{s:s}, s:{s:s}}}", "Item", ROW_KEY, "S", id, attribute, "S", value);

	s3_row_condition(body, condition, expected);
	return s3_table_send(s, c, "DynamoDB_20120810.PutItem", body, true);
}

struct op *
s3_row_delete(struct s3 *s, struct s3_row_call *c, const char *id, const char *condition, const char *expected)
{
	json_t *body = json_pack("{s:{s:{s:s}}}", "Key", ROW_KEY, "S", id);

	s3_row_condition(body, condition, expected);
	return s3_table_send(s, c, "DynamoDB_20120810.DeleteItem", body, true);
}

bool
s3_row_item(const struct s3_row_call *c, const char *attribute, const char **ret)
{
	json_t *item = json_object_get(c->ans.json, "Item");

	*ret = json_string_value(json_object_get(json_object_get(item, attribute), "S"));
	return json_object_size(item) > 0;
}

bool
s3_row_condition_failed(const struct s3_row_call *c)
{
	return aws_answer_is(&c->ans, "ConditionalCheckFailedException");
}

bool
s3_row_raced(const struct s3_row_call *c)
{
	return aws_answer_is(&c->ans, "TransactionConflictException") || aws_answer_is(&c->ans, "ReplicatedWriteConflictException");
}

/* permission: "PutItem" ... */
enum err_code
s3_row_refused(const struct s3 *s, const struct s3_row_call *c, const char *doing, const char *permission, struct err *reterr)
{
	const struct send_answer *a = &c->ans.send;
	const char               *table = s->conf->dynamodb_table;
	char                     *where = xasprintf("table %s: %s", table, doing);

	if (aws_answer_is(&c->ans, "ResourceNotFoundException")) {
		err_set(reterr, ERR_CONFIG, a->http.status, "table %s does not exist in region %s (%d %s)", table, s->table_region,
		    a->http.status, a->code);
		if (s->b.provider == NULL) /* not of a backend */
			err_hint(reterr, "check table, region and endpoint, or make it: partition key " ROW_KEY " of type String, no sort key");
		else
			provider_make_hint(&s->b, "check dynamodb_table, region and endpoints, or make it: partition key " ROW_KEY
			    " of type String, no sort key", reterr);
	} else if (aws_answer_is(&c->ans, "ValidationException")) {
		err_set(reterr, ERR_CONFIG, a->http.status, "%s: %s: %.80s", where, a->code, a->message);
		err_hint(reterr, "a table for locks has the partition key " ROW_KEY " of type String, and no sort key");
	} else {
		aws_refused(&c->req, &c->ans, where, reterr);
		if (reterr->code == ERR_AUTH && reterr->hint[0] == '\0')
			err_hint(reterr, "the credentials from %s need dynamodb:%s on arn:aws:dynamodb:%s:*:table/%s",
			    s3_cred_source(s->cred), permission, s->table_region, table);
	}
	free(where);
	return reterr->code;
}

/* ---------------------------------------------------------------- what this process knows of states that it holds locked */

/* From lock to unlock: what the digest was, so that a late request cannot undo somebody's later one, and which bytes we wrote that
 * it does not know yet. */
struct s3_held {
	char         *digest;  /* as read, "": none */
	bool          known, written;
	struct digest wrote;
};

static struct s3_held *
s3_held_of(const struct s3 *s, const char *name)
{
	return s->held != NULL ? map_get(s->held, span_str(name)) : NULL;
}

static void
s3_held_free(struct s3_held *h)
{
	if (h != NULL)
		free(h->digest);
	free(h);
}

void
s3_held_begin(struct s3 *s, const char *name)
{
	if (s->held == NULL)
		s->held = map_new();
	s3_held_free(map_put(s->held, span_str(name), xcalloc(1, sizeof(struct s3_held))));
}

void
s3_held_end(struct s3 *s, const char *name)
{
	if (s->held != NULL)
		s3_held_free(map_del(s->held, span_str(name)));
}

void
s3_held_free_all(struct s3 *s)
{
	void *h;

	for (size_t i = 0; s->held != NULL && map_next(s->held, &i, NULL, &h);)
		s3_held_free(h);
	map_free(s->held);
}

void
s3_held_wrote(struct s3 *s, const char *name, const struct digest *d)
{
	struct s3_held *h = s3_held_of(s, name);

	if (h == NULL)
		return;
	h->written = true;
	h->wrote = *d;
}

bool
s3_is_unsealed(const struct s3 *s, const char *name, const struct digest *d)
{
	const struct s3_held *h = s3_held_of(s, name);

	return h != NULL && h->written && digest_eq(&h->wrote, d);
}

bool
s3_wants_digest(const struct s3 *s, const char *name)
{
	const struct s3_held *h = s3_held_of(s, name);

	return h != NULL && !h->known;
}

static void
s3_held_learn(struct s3 *s, const char *name, const char *digest)
{
	struct s3_held *h = s3_held_of(s, name);

	if (h == NULL)
		return;
	free(h->digest);
	h->digest = xstrdup(digest);
	h->known = true;
}

/* ---------------------------------------------------------------- the digest of a state: read */

bool
s3_has_digest(const struct s3 *s, const char *name)
{
	char *key;
	bool  has;

	if (!s3_has_table(s))
		return false;
	key = s3_key_of(s, name);
	has = s3_key_is_state(s, key);
	free(key);
	return has;
}

struct s3_digest {
	struct op           op;
	struct s3          *s;
	char               *name, *id;
	struct s3_row_call  call;
	char              **ret;       /* read */
	struct body        *body;      /* seal */
	char                hex[2 * MD5_LEN + 1];
	unsigned            tries;
};

static void
s3_digest_free(struct op *op)
{
	struct s3_digest *d = container_of(op, struct s3_digest, op);

	s3_row_call_free(&d->call);
	body_unref(d->body);
	free(d->name);
	free(d->id);
	free(d);
}

static struct s3_digest *
s3_digest_new(struct s3 *s, const struct op_class *class, const char *name)
{
	struct s3_digest *d = xcalloc(1, sizeof(*d));

	d->s = s;
	op_init(&d->op, class, s->env->loop);
	d->name = xstrdup(name);
	d->id = s3_row_id(s, name, ROW_DIGEST_SUFFIX);
	return d;
}

enum s3_digest_read_state { DIGEST_READ, DIGEST_ANSWERED };

static const char *const s3_digest_read_states[] = { "start", "answered" };

static enum op_turn
s3_digest_read_step(struct op *op)
{
	struct s3_digest *d = container_of(op, struct s3_digest, op);
	const char       *text;

	switch ((enum s3_digest_read_state)op->state) {
	case DIGEST_READ:
		return op_await(op, DIGEST_ANSWERED, s3_row_get(d->s, &d->call, d->id, ROW_DIGEST));
	case DIGEST_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (!s3_table_comes(d->s, &d->call) && (d->call.ans.send.http.status != 200 || d->call.ans.json == NULL)) {
			s3_row_refused(d->s, &d->call, "reading the digest", "GetItem", &op->res);
			return op_fail(op);
		}
		s3_row_item(&d->call, ROW_DIGEST, &text);
		s3_held_learn(d->s, d->name, text != NULL ? text : "");
		free(*d->ret);
		*d->ret = xstrdup(text != NULL ? text : "");
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class s3_digest_read_class = { "s3 digest", s3_digest_read_step, NULL, s3_digest_free,
	s3_digest_read_states, ARRAY_LEN(s3_digest_read_states) };

struct op *
s3_digest_read(struct s3 *s, const char *name, char **ret)
{
	struct s3_digest *d = s3_digest_new(s, &s3_digest_read_class, name);

	d->ret = ret;
	return &d->op;
}

/* Anything but 32 hex digits is no digest: terraform goes on then. */
bool
s3_digest_fits(struct s3 *s, const char *name, const char *row, const uint8_t md5[MD5_LEN], struct err *reterr)
{
	char  hex[2 * MD5_LEN + 1];
	char *id;

	if (row[0] == '\0')
		return true;
	if (strlen(row) != 2 * MD5_LEN || strspn(row, "0123456789abcdefABCDEF") != 2 * MD5_LEN) {
		log_at(LOG_WARN, s->b.label, "%s: its row in table %s holds no MD5 and is ignored, as terraform does", name,
		    s->conf->dynamodb_table);
		return true;
	}
	hex_encode(md5, MD5_LEN, hex);
	if (strcasecmp(hex, row) == 0)
		return true;
	id = s3_row_id(s, name, ROW_DIGEST_SUFFIX);
	err_set(reterr, ERR_CORRUPT, 200, "bucket %s: %.80s has the MD5 %s, but table %s says %s", s->conf->bucket, name, hex,
	    s->conf->dynamodb_table, row);
	err_hint(reterr, "a write was cut off, or bypassed the table; if the state is right, set Digest to %s in the row \"%.90s\"", hex, id);
	free(id);
	return false;
}

/* ---------------------------------------------------------------- the digest: written */

enum s3_seal_state { SEAL_START, SEAL_PUT, SEAL_ANSWERED, SEAL_LOOK, SEAL_LOOKED };

static const char *const s3_seal_states[] = { "start", "hashed", "answered", "look", "looked" };

static enum err_code
s3_seal_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct s3_digest *d = arg;
	struct md5       *h = md5_new();
	uint8_t          *piece = xmalloc(S3_HASH_PIECE), md5[MD5_LEN];
	uint64_t          size = body_size(d->body);
	enum err_code     rc = ERR_OK;
	size_t            n;

	(void)job;
	for (uint64_t at = 0; at < size && rc == ERR_OK; at += n) {
		rc = body_read(d->body, at, piece, S3_HASH_PIECE, &n, reterr);
		if (rc == ERR_OK && n == 0)
			rc = err_set(reterr, ERR_IO, 0, "%s: its bytes end early", d->name);
		else if (rc == ERR_OK)
			md5_add(h, piece, n);
	}
	md5_end(h, md5);
	hex_encode(md5, sizeof(md5), d->hex);
	free(piece);
	return rc;
}

/* Only over what it replaces, where that is known. */
static struct op *
s3_seal_put(struct s3_digest *d)
{
	const struct s3_held *h = s3_held_of(d->s, d->name);
	const char           *condition = NULL, *expected = NULL;

	if (h != NULL && h->known) {
		expected = h->digest[0] != '\0' ? h->digest : NULL;
		condition = expected != NULL ? ROW_DIGEST " = :expected" : "attribute_not_exists(" ROW_DIGEST ")";
	}
	return s3_row_put(d->s, &d->call, d->id, ROW_DIGEST, d->hex, condition, expected);
}

static enum op_turn
s3_seal_ok(struct s3_digest *d)
{
	struct s3_held *h = s3_held_of(d->s, d->name);

	s3_held_learn(d->s, d->name, d->hex);
	if (h != NULL)
		h->written = false;
	return op_ok(&d->op);
}

static enum op_turn
s3_seal_failed(struct s3_digest *d)
{
	err_prefix(&d->op.res, "%.80s is written, but its digest in table %s is not", d->name, d->s->conf->dynamodb_table);
	if (d->op.res.hint[0] == '\0')
		err_hint(&d->op.res, "it is tried again; by hand: set Digest to %s in the row \"%.90s\"", d->hex, d->id);
	return op_fail(&d->op);
}

static enum op_turn
s3_seal_answered(struct s3_digest *d)
{
	struct op *op = &d->op;
	bool       unsure = op->res.code == ERR_UNCERTAIN, later = op->res.code == ERR_BUSY || op->res.code == ERR_NETWORK ||
	    op->res.code == ERR_TIMEOUT;
	int64_t    pause = provider_backoff_ms(&d->s->b, d->tries, ROW_RETRY_MS);

	if (op->res.code == ERR_BUSY && op->res.retry_after_ms > pause)
		pause = op->res.retry_after_ms;
	if ((unsure || later || s3_row_raced(&d->call)) && ++d->tries < ROW_TRIES && pause <= d->s->b.common.timeout_ms &&
	    op->res.code != ERR_CANCELLED)
		return op_await(op, SEAL_PUT, op_sleep(op->loop, pause));
	if (unsure)
		return op_go(op, SEAL_LOOK);
	if (op_failed(op))
		return s3_seal_failed(d);
	if (d->call.ans.send.http.status == 200)
		return s3_seal_ok(d);
	if (s3_row_condition_failed(&d->call)) /* by our own first try, perhaps */
		return op_go(op, SEAL_LOOK);
	s3_row_refused(d->s, &d->call, "writing the digest", "PutItem", &op->res);
	return s3_seal_failed(d);
}

static enum op_turn
s3_seal_looked(struct s3_digest *d)
{
	struct op  *op = &d->op;
	const char *text;

	if (op_failed(op) || d->call.ans.send.http.status != 200) {
		err_set(&op->res, ERR_UNCERTAIN, op->res.detail, "no answer says whether it arrived");
		return s3_seal_failed(d);
	}
	if (s3_row_item(&d->call, ROW_DIGEST, &text) && text != NULL && strcasecmp(text, d->hex) == 0)
		return s3_seal_ok(d);
	if (d->tries >= ROW_TRIES)
		err_set(&op->res, ERR_UNCERTAIN, 0, "no answer to %u tries", d->tries);
	else
		err_set(&op->res, ERR_CONFLICT, 0, "somebody else changed it to %.40s meanwhile", text != NULL ? text : "nothing");
	return s3_seal_failed(d);
}

static enum op_turn
s3_seal_step(struct op *op)
{
	struct s3_digest *d = container_of(op, struct s3_digest, op);

	switch ((enum s3_seal_state)op->state) {
	case SEAL_START:
		return op_await(op, SEAL_PUT, work_by_size(d->s->env->work, body_size(d->body), s3_seal_job, d));
	case SEAL_PUT:
		if (op_failed(op))
			return s3_seal_failed(d);
		return op_await(op, SEAL_ANSWERED, s3_seal_put(d));
	case SEAL_ANSWERED:
		return s3_seal_answered(d);
	case SEAL_LOOK:
		err_clear(&op->res);
		return op_await(op, SEAL_LOOKED, s3_row_get(d->s, &d->call, d->id, ROW_DIGEST));
	case SEAL_LOOKED:
		return s3_seal_looked(d);
	}
	return OP_DONE;
}

static const struct op_class s3_seal_class = { "s3 seal", s3_seal_step, NULL, s3_digest_free, s3_seal_states,
	ARRAY_LEN(s3_seal_states) };

struct op *
s3_seal(struct backend *b, const struct state_ref *ref, const struct snapshot *body)
{
	struct s3        *s = s3_of(b);
	struct s3_digest *d;

	if (!s3_has_digest(s, ref->name))
		return op_result(s->env->loop, &(struct err){ .code = ERR_OK });
	d = s3_digest_new(s, &s3_seal_class, ref->name);
	d->body = body_ref(body->body);
	return &d->op;
}

/* ---------------------------------------------------------------- the digest: removed with its state */

enum s3_unseal_state { UNSEAL_START, UNSEAL_ANSWERED };

static const char *const s3_unseal_states[] = { "start", "answered" };

static enum op_turn
s3_unseal_step(struct op *op)
{
	struct s3_digest *d = container_of(op, struct s3_digest, op);

	switch ((enum s3_unseal_state)op->state) {
	case UNSEAL_START:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, UNSEAL_ANSWERED, s3_row_delete(d->s, &d->call, d->id, NULL, NULL));
	case UNSEAL_ANSWERED: /* the same again does no harm: the state is gone */
		if (op->res.code == ERR_UNCERTAIN && !op->cancelled && ++d->tries < ROW_TRIES)
			return op_await(op, UNSEAL_START, op_sleep(op->loop, provider_backoff_ms(&d->s->b, d->tries, ROW_RETRY_MS)));
		if (op_failed(op))
			return op_fail(op);
		if (d->call.ans.send.http.status == 200)
			return op_ok(op);
		s3_row_refused(d->s, &d->call, "deleting the digest", "DeleteItem", &op->res);
		return op_fail(op);
	}
	return OP_DONE;
}

static const struct op_class s3_unseal_class = { "s3 unseal", s3_unseal_step, NULL, s3_digest_free, s3_unseal_states,
	ARRAY_LEN(s3_unseal_states) };

struct op *
s3_unseal(struct s3 *s, const char *name)
{
	return &s3_digest_new(s, &s3_unseal_class, name)->op;
}
