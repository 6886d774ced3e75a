/* SPDX-License-Identifier: MIT */
#include "fake_etcd.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"

struct fake_etcd *
fake_etcd_new(void)
{
	struct fake_etcd *e = xcalloc(1, sizeof(*e));

	e->kvs = json_object();
	e->revision = 1;
	return e;
}

void
fake_etcd_free(struct fake_etcd *e)
{
	json_decref(e->kvs);
	free(e);
}

static char *
etcd_encoded(const char *text)
{
	struct buf b;

	buf_init(&b, 0);
	base64_encode(span_str(text), &b);
	return buf_take(&b);
}

static char *
etcd_decoded(const char *text)
{
	struct buf b;

	assert(text != NULL);
	buf_init(&b, 0);
	assert(base64_decode(span_str(text), &b));
	return buf_take(&b);
}

static void
etcd_store(struct fake_etcd *e, const char *key, const char *value)
{
	char revision[24];

	snprintf(revision, sizeof(revision), "%llu", (unsigned long long)++e->revision);
	json_object_set_new(e->kvs, key, json_pack("{s:s, s:s, s:s, s:s, s:s}", "key", key, "create_revision", revision, "mod_revision", revision,
	    "version", "1", "value", value));
}

char *
fake_etcd_get(const struct fake_etcd *e, const char *key)
{
	char       *name = etcd_encoded(key);
	const char *value = json_string_value(json_object_get(json_object_get(e->kvs, name), "value"));

	free(name);
	return value != NULL ? etcd_decoded(value) : NULL;
}

void
fake_etcd_put(struct fake_etcd *e, const char *key, const char *value)
{
	char *name = etcd_encoded(key), *bytes = etcd_encoded(value);

	etcd_store(e, name, bytes);
	free(name);
	free(bytes);
}

/* Takes body. */
static void
etcd_says(struct scripted_answer *ret, int status, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);

	ret->status = status;
	scripted_add_header(ret, "content-type", "application/json");
	scripted_set_body(ret, span_str(text));
	free(text);
	json_decref(body);
}

static void
etcd_error(struct fake_etcd *e, struct scripted_answer *ret, int status, int code, const char *what)
{
	char   *text = xasprintf("etcdserver: %s", what);
	json_t *body = json_pack("{s:s, s:i}", "message", text, "code", code);

	if (!e->plain)
		json_object_set_new(body, "error", json_string(text));
	etcd_says(ret, status, body);
	free(text);
}

static json_t *
etcd_header(const struct fake_etcd *e)
{
	char revision[24];

	snprintf(revision, sizeof(revision), "%llu", (unsigned long long)e->revision);
	return json_pack("{s:{s:s, s:s, s:s}}", "header", "cluster_id", "324952591200643719", "revision", revision, "raft_term", "2");
}

static void
etcd_login(struct fake_etcd *e, json_t *body, struct scripted_answer *ret)
{
	const char *name = json_string_value(json_object_get(body, "name")), *password = json_string_value(json_object_get(body, "password"));
	char        token[32];
	json_t     *answer;

	assert(json_object_size(body) == 2 && name != NULL && password != NULL);
	if (e->user == NULL) {
		etcd_error(e, ret, 412, 9, "authentication is not enabled");
	} else if (strcmp(name, e->user) != 0 || strcmp(password, e->password) != 0) {
		etcd_error(e, ret, 400, 3, "authentication failed, invalid user ID or password");
	} else {
		answer = etcd_header(e);
		snprintf(token, sizeof(token), "CANARYtoken.%u", ++e->logins);
		json_object_set_new(answer, "token", json_string(token));
		etcd_says(ret, 200, answer);
	}
}

static bool
etcd_admits(struct fake_etcd *e, const struct scripted_request *rq, const char *key, struct scripted_answer *ret)
{
	const char *token = scripted_header(rq, "authorization");
	char        good[32], *name;
	bool        may;

	if (e->user == NULL)
		return true;
	snprintf(good, sizeof(good), "CANARYtoken.%u", e->logins);
	if (token == NULL) {
		etcd_error(e, ret, 400, 3, "user name is empty");
		return false;
	}
	if (strcmp(token, good) != 0) {
		etcd_error(e, ret, 401, 16, "invalid auth token");
		return false;
	}
	name = etcd_decoded(key);
	may = e->denied == NULL || strncmp(name, e->denied, strlen(e->denied)) == 0;
	free(name);
	if (!may)
		etcd_error(e, ret, 403, 7, "permission denied");
	return may;
}

static void
etcd_range(struct fake_etcd *e, const struct scripted_request *rq, json_t *body, struct scripted_answer *ret)
{
	const char *key = json_string_value(json_object_get(body, "key"));
	json_t     *kv, *answer;

	assert(json_object_size(body) == 1 && key != NULL); /* nothing of "serializable" */
	if (!etcd_admits(e, rq, key, ret))
		return;
	e->ranges++;
	answer = etcd_header(e);
	kv = json_object_get(e->kvs, key);
	if (kv != NULL) {
		json_object_set_new(answer, "kvs", json_pack("[O]", kv));
		json_object_set_new(answer, "count", json_string("1"));
	}
	etcd_says(ret, 200, answer);
}

static void
etcd_txn(struct fake_etcd *e, const struct scripted_request *rq, json_t *body, struct scripted_answer *ret)
{
	json_t     *compare = json_array_get(json_object_get(body, "compare"), 0);
	json_t     *put = json_object_get(json_array_get(json_object_get(body, "success"), 0), "request_put");
	const char *key = json_string_value(json_object_get(put, "key")), *value = json_string_value(json_object_get(put, "value"));
	const char *want = json_string_value(json_object_get(compare, "mod_revision")), *is;
	json_t     *answer;
	bool        holds;

	assert(json_object_size(body) == 2 && json_array_size(json_object_get(body, "compare")) == 1 && key != NULL && value != NULL);
	assert(strcmp(json_string_value(json_object_get(compare, "key")), key) == 0);
	assert(strcmp(json_string_value(json_object_get(compare, "target")), "MOD") == 0);
	assert(strcmp(json_string_value(json_object_get(compare, "result")), "EQUAL") == 0);
	if (!etcd_admits(e, rq, key, ret))
		return;
	e->txns++;
	is = json_string_value(json_object_get(json_object_get(e->kvs, key), "mod_revision"));
	holds = strcmp(is != NULL ? is : "0", want) == 0;
	if (holds)
		etcd_store(e, key, value);
	answer = etcd_header(e);
	if (holds)
		json_object_set_new(answer, "succeeded", json_true());
	etcd_says(ret, 200, answer);
}

void
fake_etcd_answer(struct fake_etcd *e, const struct scripted_request *rq, struct scripted_answer *ret)
{
	json_t *body = json_loadb((const char *)rq->body.p, rq->body.n, JSON_REJECT_DUPLICATES, NULL);

	assert(strcmp(rq->method, "POST") == 0 && body != NULL);
	if (e->status != 0) {
		if (e->refusal != NULL)
			etcd_error(e, ret, e->status, e->code, e->refusal);
		else
			ret->status = e->status;
		if (--e->refusals == 0)
			e->status = 0;
	} else if (strcmp(rq->at.path, "/v3/auth/authenticate") == 0) {
		etcd_login(e, body, ret);
	} else if (strcmp(rq->at.path, "/v3/kv/range") == 0) {
		etcd_range(e, rq, body, ret);
	} else {
		assert(strcmp(rq->at.path, "/v3/kv/txn") == 0);
		etcd_txn(e, rq, body, ret);
	}
	json_decref(body);
}
