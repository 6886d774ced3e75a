/* SPDX-License-Identifier: MIT */
#include "fake_dynamo.h"

#include <assert.h>
#include <stdlib.h>

struct fake_dynamo *
fake_dynamo_new(void)
{
	struct fake_dynamo *d = xcalloc(1, sizeof(*d));

	d->items = json_object();
	return d;
}

void
fake_dynamo_free(struct fake_dynamo *d)
{
	json_decref(d->items);
	free(d);
}

static const char *
dynamo_text(json_t *item, const char *attribute)
{
	return json_string_value(json_object_get(json_object_get(item, attribute), "S"));
}

const char *
fake_dynamo_get(const struct fake_dynamo *d, const char *id, const char *attribute)
{
	return dynamo_text(json_object_get(d->items, id), attribute);
}

void
fake_dynamo_put(struct fake_dynamo *d, const char *id, const char *attribute, const char *value)
{
	json_object_set_new(d->items, id, json_pack("{s:{s:s}, s:{s:s}}", "LockID", "S", id, attribute, "S", value));
}

void
fake_dynamo_del(struct fake_dynamo *d, const char *id)
{
	json_object_del(d->items, id);
}

size_t
fake_dynamo_count(const struct fake_dynamo *d)
{
	return json_object_size(d->items);
}

static void
dynamo_error(struct fake_dynamo *d, struct scripted_answer *ret, const char *code, const char *text, json_t *item)
{
	json_t *body = json_object();
	char   *type = xasprintf("%s%s", d->bare ? "" : "com.amazonaws.dynamodb.v20120810#", code), *bytes;

	json_object_set_new(body, "__type", json_string(type));
	json_object_set_new(body, d->bare ? "Message" : "message", json_string(text));
	if (item != NULL && !d->bare)
		json_object_set(body, "Item", item);
	bytes = json_dumps(body, JSON_COMPACT);
	ret->status = 400;
	scripted_set_body(ret, span_str(bytes));
	free(bytes);
	free(type);
	json_decref(body);
}

/* The expressions that are known here, and no others. */
static bool
dynamo_holds(json_t *body, json_t *item)
{
	const char *text = json_string_value(json_object_get(body, "ConditionExpression"));
	const char *want = dynamo_text(json_object_get(body, "ExpressionAttributeValues"), ":expected"), *is;
	char       *attribute;

	if (text == NULL)
		return true;
	if (strcmp(text, "attribute_not_exists(LockID)") == 0)
		return item == NULL;
	if (strcmp(text, "attribute_not_exists(Digest)") == 0)
		return dynamo_text(item, "Digest") == NULL;
	assert(strcmp(text, "Digest = :expected") == 0 || strcmp(text, "Info = :expected") == 0 ||
	    strcmp(text, "LeaseRevision = :expected") == 0);
	assert(want != NULL);
	attribute = xstrndup(text, strcspn(text, " "));
	is = dynamo_text(item, attribute);
	free(attribute);
	return is != NULL && strcmp(is, want) == 0;
}

static void
dynamo_table(struct fake_dynamo *d, const char *call, json_t *body, struct scripted_answer *ret)
{
	char *bytes;

	if (strcmp(call, "CreateTable") == 0) {
		bytes = json_dumps(json_object_get(body, "KeySchema"), JSON_COMPACT);
		assert(strcmp(bytes, "[{\"AttributeName\":\"LockID\",\"KeyType\":\"HASH\"}]") == 0);
		free(bytes);
		if (!d->missing) {
			dynamo_error(d, ret, "ResourceInUseException", "Table already exists", NULL);
			return;
		}
		d->missing = false;
		d->creating = true;
	} else if (d->missing) {
		dynamo_error(d, ret, "ResourceNotFoundException", "Requested resource not found", NULL);
		return;
	}
	ret->status = 200;
	bytes = xasprintf("{\"%s\":{\"TableName\":\"" FAKE_DYNAMO_TABLE "\",\"TableStatus\":\"%s\",\"KeySchema\":[{\"AttributeName\":\"%s\","
	    "\"KeyType\":\"HASH\"}]}}", strcmp(call, "CreateTable") == 0 ? "TableDescription" : "Table", d->creating ? "CREATING" : "ACTIVE",
	    d->other_key ? "id" : "LockID");
	d->creating = d->creating && strcmp(call, "CreateTable") == 0;
	scripted_set_body(ret, span_str(bytes));
	free(bytes);
}

static void
dynamo_item(struct fake_dynamo *d, const char *call, json_t *body, struct scripted_answer *ret)
{
	bool        put = strcmp(call, "PutItem") == 0;
	const char *id = dynamo_text(json_object_get(body, put ? "Item" : "Key"), "LockID");
	json_t     *item, *answer = json_object();
	char       *bytes;

	assert(id != NULL);
	item = json_object_get(d->items, id);
	ret->status = 200;
	if (strcmp(call, "GetItem") == 0) {
		assert(json_is_true(json_object_get(body, "ConsistentRead")));
		if (item != NULL)
			json_object_set(answer, "Item", item);
	} else if (!dynamo_holds(body, item)) {
		dynamo_error(d, ret, "ConditionalCheckFailedException", "The conditional request failed",
		    json_object_get(body, "ReturnValuesOnConditionCheckFailure") != NULL ? item : NULL);
	} else if (put) {
		json_object_set(d->items, id, json_object_get(body, "Item"));
	} else {
		assert(strcmp(call, "DeleteItem") == 0);
		json_object_del(d->items, id);
	}
	if (ret->status == 200) {
		bytes = json_dumps(answer, JSON_COMPACT);
		scripted_set_body(ret, span_str(bytes));
		free(bytes);
	}
	json_decref(answer);
}

void
fake_dynamo_answer(struct fake_dynamo *d, const struct scripted_request *rq, struct scripted_answer *ret)
{
	const char *target = scripted_header(rq, "x-amz-target"), *type = scripted_header(rq, "content-type"), *call;
	json_t     *body = json_loadb((const char *)rq->body.p, rq->body.n, JSON_REJECT_DUPLICATES, NULL);

	assert(strcmp(rq->method, "POST") == 0 && target != NULL && strncmp(target, "DynamoDB_20120810.", 18) == 0);
	assert(type != NULL && strcmp(type, "application/x-amz-json-1.0") == 0);
	assert(strcmp(json_string_value(json_object_get(body, "TableName")), FAKE_DYNAMO_TABLE) == 0);
	call = target + 18;
	if (d->denies != NULL && strcmp(d->denies, call) == 0)
		dynamo_error(d, ret, "AccessDeniedException", "User is not authorized", NULL);
	else if (strstr(call, "Table") != NULL)
		dynamo_table(d, call, body, ret);
	else if (d->missing)
		dynamo_error(d, ret, "ResourceNotFoundException", "Requested resource not found", NULL);
	else if (d->other_key)
		dynamo_error(d, ret, "ValidationException", "The provided key element does not match the schema", NULL);
	else
		dynamo_item(d, call, body, ret);
	json_decref(body);
}
