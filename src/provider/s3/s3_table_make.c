/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "s3_table.h"

/* Makes the lock table when it is missing, as terraform's users have it: its one key is LockID, and it is paid by request. */
#define TABLE_LOOK_MS  1000   /* between looks at one that is being made, */
#define TABLE_LOOK_MAX 60     /* so often */

struct s3_tabling {
	struct op          op;
	struct s3         *s;
	struct s3_row_call call;
	unsigned           looks;
	bool               asked;
};

enum s3_tabling_state { TABLE_LOOK, TABLE_LOOKED, TABLE_MADE };

static const char *const s3_tabling_states[] = { "look", "looked", "made" };

static struct op *
s3_table_make(struct s3_tabling *t)
{
	json_t *body = json_pack("{s:[{s:s, s:s}], s:[{s:s, s:s}], s:s}", "AttributeDefinitions", "AttributeName", ROW_KEY, "AttributeType", "S",
	    "KeySchema", "AttributeName", ROW_KEY, "KeyType", "HASH", "BillingMode", "PAY_PER_REQUEST");

	t->asked = true;
	return s3_table_send(t->s, &t->call, "DynamoDB_20120810.CreateTable", body, true);
}

static enum op_turn
s3_table_looked(struct s3_tabling *t)
{
	struct op  *op = &t->op;
	const char *status;

	if (op_failed(op))
		return op_fail(op);
	if (aws_answer_is(&t->call.ans, "ResourceNotFoundException") && !t->asked)
		return op_await(op, TABLE_MADE, s3_table_make(t));
	status = json_string_value(json_object_get(json_object_get(t->call.ans.json, "Table"), "TableStatus"));
	if (t->call.ans.send.http.status == 200 && status != NULL && (strcmp(status, "ACTIVE") == 0 || strcmp(status, "UPDATING") == 0)) {
		if (t->asked)
			log_at(LOG_INFO, t->s->b.label, "created table %s in region %s", t->s->conf->dynamodb_table, t->s->table_region);
		return op_ok(op);
	}
	if ((t->call.ans.send.http.status == 200 || t->asked) && t->looks++ < TABLE_LOOK_MAX)
		return op_await(op, TABLE_LOOK, op_sleep(op->loop, TABLE_LOOK_MS));
	if (t->call.ans.send.http.status == 200)
		err_set(&op->res, ERR_BUSY, 0, "table %s is still not ready", t->s->conf->dynamodb_table);
	else
		s3_row_refused(t->s, &t->call, "looking at it", "DescribeTable", &op->res);
	return op_fail(op);
}

static enum op_turn
s3_tabling_step(struct op *op)
{
	struct s3_tabling *t = container_of(op, struct s3_tabling, op);

	switch ((enum s3_tabling_state)op->state) {
	case TABLE_LOOK:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, TABLE_LOOKED, s3_table_send(t->s, &t->call, "DynamoDB_20120810.DescribeTable", json_object(), false));
	case TABLE_LOOKED:
		return s3_table_looked(t);
	case TABLE_MADE: /* a lost answer, or another's table meanwhile: the next look tells */
		if (op_failed(op) && op->res.code != ERR_UNCERTAIN)
			return op_fail(op);
		if (!op_failed(op) && t->call.ans.send.http.status != 200 && !aws_answer_is(&t->call.ans, "ResourceInUseException")) {
			s3_row_refused(t->s, &t->call, "making it", "CreateTable", &op->res);
			return op_fail(op);
		}
		err_clear(&op->res);
		return op_go(op, TABLE_LOOK);
	}
	return OP_DONE;
}

static void
s3_tabling_free(struct op *op)
{
	struct s3_tabling *t = container_of(op, struct s3_tabling, op);

	s3_row_call_free(&t->call);
	free(t);
}

static const struct op_class s3_tabling_class = { "s3 table", s3_tabling_step, NULL, s3_tabling_free, s3_tabling_states,
	ARRAY_LEN(s3_tabling_states) };

bool
s3_table_comes(const struct s3 *s, const struct s3_row_call *c)
{
	return s->b.common.create && aws_answer_is(&c->ans, "ResourceNotFoundException");
}

struct op *
s3_table_create(struct s3 *s)
{
	struct s3_tabling *t = xcalloc(1, sizeof(*t));

	t->s = s;
	op_init(&t->op, &s3_tabling_class, s->env->loop);
	return &t->op;
}
