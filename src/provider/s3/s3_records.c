/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "provider/records.h"
#include "s3_table.h"

/*
 * Leases in a table of DynamoDB (docs/protocol/coordinators.md): a row for each, in a table with the key of terraform's lock tables, so that
 * one table can serve both. A condition on LeaseRevision, the SHA-256 of LeaseRecord, is the compare-and-set; reads are strongly consistent.
 */
#define ROW_RECORD         "LeaseRecord"
#define ROW_REVISION       "LeaseRevision"
#define RECORDS_TIMEOUT_MS ((int64_t)10 * 1000)

struct s3_records {
	struct records     r;
	struct s3_conf     conf;
	const char        *prefix, *endpoint;
	const char        *url;     /* where endpoint is, for the settings of the driver */
	struct s3          s;       /* a driver without a bucket */
};

#define AT(member) offsetof(struct s3_records, member)

static const struct conf_field dynamodb_fields[] = {
	{ .name = "table", .type = CONF_STR, .offset = AT(conf.dynamodb_table), .required = true,
	    .help = "its partition key is LockID, a String, as that of terraform's lock tables" },
	{ .name = "region", .type = CONF_STR, .offset = AT(conf.region), .env = "AWS_REGION AWS_DEFAULT_REGION", .help = "of the table" },
	{ .name = "endpoint", .type = CONF_STR, .offset = AT(conf.dynamodb_endpoint),
	    .env = "AWS_ENDPOINT_URL_DYNAMODB AWS_DYNAMODB_ENDPOINT AWS_ENDPOINT_URL", .help = "URL of another server of that protocol" },
	{ .name = "prefix", .type = CONF_STR, .offset = AT(prefix), .def = RECORD_PREFIX, .help = "of the rows; another one for each fleet" },
	{ .name = NULL },
};

#undef AT

static struct s3_records *
s3_records_of(struct records *r)
{
	return container_of(r, struct s3_records, r);
}

/* ---------------------------------------------------------------- one row, read or written */

struct s3_record_op {
	struct op          op;
	struct s3_records *x;
	struct s3_row_call call;
	char              *id;
	struct record     *ret;      /* a read's; NULL: a swap */
	json_t            *body;     /* a swap's, until it is sent */
	char               revision[DIGEST_HEX];
	char              *ret_revision;
};

enum s3_record_state { RECORD_START, RECORD_ANSWERED };

static const char *const s3_record_states[] = { "start", "answered" };

enum err_code
s3_record_of(json_t *answer, struct record *ret, struct err *reterr)
{
	json_t *item = json_object_get(answer, "Item");
	json_t *text = json_object_get(json_object_get(item, ROW_RECORD), "S");
	json_t *revision = json_object_get(json_object_get(item, ROW_REVISION), "S");
	size_t  n = json_string_length(text), nrevision = json_string_length(revision);

	if (json_object_size(item) == 0)
		return err_set(reterr, ERR_NOT_FOUND, 0, "no such row");
	if (n == 0 || n > sizeof(ret->text) || nrevision == 0 || nrevision >= sizeof(ret->revision) ||
	    memchr(json_string_value(revision), '\0', nrevision) != NULL)
		return err_set(reterr, ERR_CORRUPT, 0, "the row is none of a lease");
	memcpy(ret->text, json_string_value(text), n);
	ret->n = n;
	memcpy(ret->revision, json_string_value(revision), nrevision + 1);
	return ERR_OK;
}

static struct op *
s3_record_send(struct s3_record_op *o)
{
	struct s3 *s = &o->x->s;
	json_t    *body = o->body;

	if (o->ret != NULL)
		return s3_row_get(s, &o->call, o->id, ROW_RECORD ", " ROW_REVISION);
	if (body == NULL)
		return op_error(o->op.loop, ERR_CONFIG, 0, "the lease's key is not UTF-8");
	o->body = NULL;
	return s3_table_send(s, &o->call, "DynamoDB_20120810.PutItem", body, true);
}

static enum op_turn
s3_record_answered(struct s3_record_op *o)
{
	struct op  *op = &o->op;
	const char *table = o->x->conf.dynamodb_table;

	if (s3_row_condition_failed(&o->call) || s3_row_raced(&o->call)) {
		err_set(&op->res, ERR_CONFLICT, o->call.ans.send.http.status, "table %s: %.80s was changed meanwhile", table, o->id);
	} else if (o->call.ans.send.http.status != 200 || o->call.ans.json == NULL) {
		s3_row_refused(&o->x->s, &o->call, o->ret != NULL ? "reading a lease" : "writing a lease", o->ret != NULL ? "GetItem" : "PutItem",
		    &op->res);
	} else if (o->ret == NULL) {
		memcpy(o->ret_revision, o->revision, sizeof(o->revision));
	} else if (s3_record_of(o->call.ans.json, o->ret, &op->res) != ERR_OK) {
		err_prefix(&op->res, "table %s: %.80s", table, o->id);
		if (op->res.code == ERR_CORRUPT)
			err_hint(&op->res, "delete the row if nothing else needs it, or choose another prefix");
	}
	return op_finish(op);
}

static enum op_turn
s3_record_step(struct op *op)
{
	struct s3_record_op *o = container_of(op, struct s3_record_op, op);

	switch ((enum s3_record_state)op->state) {
	case RECORD_START:
		return op_await(op, RECORD_ANSWERED, s3_record_send(o));
	case RECORD_ANSWERED:
		return op_failed(op) ? op_fail(op) : s3_record_answered(o);
	}
	return OP_DONE;
}

static void
s3_record_free(struct op *op)
{
	struct s3_record_op *o = container_of(op, struct s3_record_op, op);

	s3_row_call_free(&o->call);
	json_decref(o->body);
	free(o->id);
	free(o);
}

static const struct op_class s3_record_class = { "s3 record", s3_record_step, NULL, s3_record_free, s3_record_states,
	ARRAY_LEN(s3_record_states) };

static struct s3_record_op *
s3_record_new(struct records *r, const char *key)
{
	struct s3_record_op *o = xcalloc(1, sizeof(*o));

	o->x = s3_records_of(r);
	op_init(&o->op, &s3_record_class, r->env->loop);
	o->op.about = o->id = xasprintf("%s%s", o->x->prefix, key);
	return o;
}

static struct op *
s3_records_read(struct records *r, const char *key, struct record *ret)
{
	struct s3_record_op *o = s3_record_new(r, key);

	o->ret = ret;
	return &o->op;
}

static struct op *
s3_records_swap(struct records *r, const char *key, struct span text, const char *revision, char ret_revision[ETAG_MAX])
{
	struct s3_record_op *o = s3_record_new(r, key);
	struct digest        d;

	sha256_of(text.p, text.n, &d);
	digest_hex(&d, o->revision);
	o->ret_revision = ret_revision;
	o->body = json_pack("{s:{s:{s:s}, s:{s:s%}, s:{s:s}}}", "Item", ROW_KEY, "S", o->id, ROW_RECORD, "S", (const char *)text.p, text.n,
	    ROW_REVISION, "S", o->revision);
	if (o->body == NULL) /* no UTF-8, which s3_record_send() tells */
		return &o->op;
	if (revision[0] != '\0')
		s3_row_condition(o->body, ROW_REVISION " = :expected", revision);
	else
		s3_row_condition(o->body, "attribute_not_exists(" ROW_KEY ")", NULL);
	return &o->op;
}

/* ---------------------------------------------------------------- opening and closing */

static void
s3_records_close(struct records *r)
{
	s3_clear(&s3_records_of(r)->s);
	free(r->where);
	free(s3_records_of(r));
}

/* What the block names comes before what the environment says, whose URLs may be told to be ignored. */
static void
s3_records_endpoint(struct s3_records *x, struct conf_block *block)
{
	static const char *service = "dynamodb";

	if (conf_attr(block, "endpoint") == NULL)
		return;
	x->url = x->conf.dynamodb_endpoint;
	x->conf.endpoints = (struct conf_map){ &service, &x->url, 1 };
}

static enum err_code
s3_records_set_up(struct s3_records *x, struct conf *c, struct conf_block *block, struct err *reterr)
{
	static const char *const       blocks[] = { "assume_role", "assume_role_with_web_identity", NULL };
	const struct conf_field *const tables[] = { dynamodb_fields, s3_aws_fields(), NULL };
	struct s3_profile              profile = { .region = NULL };
	enum err_code                  rc;

	if (conf_fields(c, block, dynamodb_fields, x, reterr) != ERR_OK || conf_fields(c, block, s3_aws_fields(), &x->conf, reterr) != ERR_OK ||
	    conf_finish(c, block, tables, blocks, reterr) != ERR_OK)
		return reterr->code;
	if (x->conf.dynamodb_table[0] == '\0')
		return conf_error(reterr, conf_where(block, "table"), "table is empty; expected the name of a table");
	s3_records_endpoint(x, block);
	rc = s3_set_aws(&x->s, c, block, &profile, reterr);
	s3_profile_free(&profile);
	if (rc != ERR_OK)
		return rc;
	aws_net_init(&x->s.net, x->r.env, &x->conf, RECORDS_TIMEOUT_MS);
	x->r.where = xasprintf("%s %s %s %s", x->s.table_endpoint, x->s.table_region, x->conf.dynamodb_table, x->prefix);
	return ERR_OK;
}

static enum err_code
s3_records_open(const struct provider_env *env, struct conf *c, struct conf_block *block, struct records **ret, struct err *reterr)
{
	struct s3_records *x = xcalloc(1, sizeof(*x));

	x->r = (struct records){ &records_dynamodb, env, NULL };
	x->s.env = env;
	x->s.conf = &x->conf;
	if (s3_records_set_up(x, c, block, reterr) != ERR_OK) {
		s3_records_close(&x->r);
		return reterr->code;
	}
	*ret = &x->r;
	return ERR_OK;
}

const struct records_class records_dynamodb = { "dynamodb", s3_records_open, s3_records_close, s3_records_read, s3_records_swap };
