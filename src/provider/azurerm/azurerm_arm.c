/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "azurerm.h"
#include "azurerm_signin.h"
#include "base/json.h"

/* The account at Azure Resource Manager: where its blobs are, and its key. */
#define ARM_VERSION "2023-01-01" /* as terraform asks */
#define ARM_KEY_MAX 1024

static char arm_json[] = "application/json";

void
azurerm_account_clear(struct azurerm_account *a)
{
	free(a->subscription);
	free(a->group);
	free(a->name);
	free(a->endpoint);
	secret_free(a->key);
	memset(a, 0, sizeof(*a));
}

/* --- answers --------------------------------------------------------------------------------------------------------------- */

/* {"keys": [{"keyName": ..., "permissions": "FULL", "value": BASE64}]}: the first one that may do all, as terraform takes it. */
struct arm_keys {
	char           top[16], key[16];
	char           permissions[16];
	struct secret *value, *found;
};

static enum json_want
arm_keys_event(void *arg, const struct json_token *t)
{
	struct arm_keys *r = arg;

	if (t->event == JSON_EV_KEY && t->depth == 1)
		span_text(r->top, sizeof(r->top), t->text);
	else if (t->event == JSON_EV_KEY && t->depth == 3)
		span_text(r->key, sizeof(r->key), t->text);
	if (t->depth < 2 || strcmp(r->top, "keys") != 0)
		return JSON_WANT;
	if (t->event == JSON_EV_STRING && t->depth == 3 && strcmp(r->key, "permissions") == 0)
		span_text(r->permissions, sizeof(r->permissions), t->text);
	if (t->event == JSON_EV_STRING && t->depth == 3 && strcmp(r->key, "value") == 0 && !t->cut) {
		secret_free(r->value);
		r->value = secret_new(t->text);
	}
	if (t->event == JSON_EV_OBJECT_END && t->depth == 2) {
		if (r->found == NULL && strcasecmp(r->permissions, "full") == 0) {
			r->found = r->value;
			r->value = NULL;
		}
		r->permissions[0] = '\0';
	}
	return JSON_WANT;
}

enum err_code
azurerm_keys_parse(struct span json, struct secret **ret, struct err *reterr)
{
	struct arm_keys     r = { .top = "" };
	struct json_reader *reader = json_reader_new(arm_keys_event, &r);
	struct buf          raw;
	enum err_code       rc = json_feed(reader, json.p, json.n, reterr);

	if (rc == ERR_OK)
		rc = json_end(reader, reterr);
	json_reader_free(reader);
	buf_init(&raw, ARM_KEY_MAX);
	buf_reserve(&raw, ARM_KEY_MAX, NULL);
	if (rc == ERR_OK && r.found == NULL)
		rc = err_set(reterr, ERR_CORRUPT, 0, "the answer has no key with full permissions");
	else if (rc == ERR_OK && (!azurerm_base64(span_str(secret_str(r.found)), &raw) || raw.len == 0))
		rc = err_set(reterr, ERR_CORRUPT, 0, "the answer has a key that is no base64");
	if (rc == ERR_OK)
		*ret = secret_new(buf_span(&raw));
	buf_wipe_free(&raw);
	secret_free(r.value);
	secret_free(r.found);
	return rc;
}

static enum err_code
arm_endpoint(struct span json, char **ret, struct err *reterr)
{
	json_t     *root = json_loadb((const char *)json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
	json_t     *all = json_object_get(json_object_get(root, "properties"), "primaryEndpoints");
	const char *text = json_string_value(json_object_get(all, "blob"));
	size_t      n = text != NULL ? strlen(text) : 0;
	struct url  u;
	bool        ok = n > 0 && url_parse(text, &u, NULL) == ERR_OK;

	if (ok) {
		ok = strcmp(u.scheme, "https") == 0 || url_is_loopback(&u);
		url_free(&u);
	}
	while (n > 0 && text[n - 1] == '/')
		n--;
	if (ok)
		*ret = xstrndup(text, n);
	json_decref(root);
	return ok ? ERR_OK : err_set(reterr, ERR_CORRUPT, 0, "the answer names no endpoint of blobs");
}

/* --- the operation --------------------------------------------------------------------------------------------------------- */

struct arm {
	struct op                  op;
	const struct provider_env *env;
	struct azurerm_account    *a;
	const struct secret       *token;
	char                      *base, *url, *who, *authorization;
	struct bearer_request      rq;
	struct http_response       http;
};

enum arm_state { ARM_START, ARM_ACCOUNT, ARM_KEYS };

static const char *const arm_states[] = { "start", "account known", "keys listed" };

static struct op *
arm_send(struct arm *x, bool keys)
{
	free(x->url);
	x->url = xasprintf("%s%s?%sapi-version=" ARM_VERSION, x->base, keys ? "/listKeys" : "", keys ? "%24expand=kerb&" : "");
	body_unref(x->rq.body);
	http_response_free(&x->http);
	x->rq = (struct bearer_request){ .who = x->who, .method = keys ? "POST" : "GET", .url = x->url,
		.headers = { { "accept", arm_json }, { "authorization", x->authorization } }, .nheaders = 2,
		.body = keys ? body_copy(SPAN_LIT("")) : NULL, .secrets = { x->token } };
	return bearer_ask(x->env, &x->rq, &x->http);
}

static struct span
arm_body(const struct arm *x)
{
	return x->http.body != NULL ? body_span(x->http.body) : SPAN_LIT("");
}

static enum op_turn
arm_refused(struct arm *x, bool keys)
{
	struct err *e = &x->op.res;

	if (e->code != ERR_AUTH)
		return op_fail(&x->op);
	if (e->detail == 403)
		err_hint(e, keys ? "it needs listKeys on the account (role Storage Account Key Operator Service Role); or set use_azuread_auth = true "
		    "and give it Storage Blob Data Contributor" : "it needs the role Reader on the account; use_azuread_auth = true asks none of this");
	else if (e->detail == 404)
		err_hint(e, "check subscription_id, resource_group_name and storage_account_name");
	else
		err_hint(e, "check tenant_id and environment: the subscription may belong to another tenant or cloud");
	return op_fail(&x->op);
}

static enum op_turn
arm_step(struct op *op)
{
	struct arm *x = container_of(op, struct arm, op);
	struct err *e = &op->res;

	switch ((enum arm_state)op->state) {
	case ARM_START:
		return op_await(op, ARM_ACCOUNT, arm_send(x, false));
	case ARM_ACCOUNT:
		if (op_failed(op))
			return arm_refused(x, false);
		if (arm_endpoint(arm_body(x), &x->a->endpoint, e) != ERR_OK) {
			err_prefix(e, "%s", x->who);
			return op_fail(op);
		}
		return x->a->wants_key ? op_await(op, ARM_KEYS, arm_send(x, true)) : op_ok(op);
	case ARM_KEYS:
		if (op_failed(op))
			return arm_refused(x, true);
		if (azurerm_keys_parse(arm_body(x), &x->a->key, e) != ERR_OK) {
			err_prefix(e, "%s", x->who);
			return op_fail(op);
		}
		return op_ok(op);
	}
	return OP_DONE;
}

static void
arm_free(struct op *op)
{
	struct arm *x = container_of(op, struct arm, op);

	http_response_free(&x->http);
	body_unref(x->rq.body);
	mem_free_secret(x->authorization);
	free(x->base);
	free(x->url);
	free(x->who);
	free(x);
}

static const struct op_class arm_class = { "key of the account", arm_step, NULL, arm_free, arm_states, ARRAY_LEN(arm_states) };

struct op *
azurerm_account_ask(const struct provider_env *env, const char *arm, const struct secret *token, struct azurerm_account *a)
{
	struct arm *x = xcalloc(1, sizeof(*x));
	struct buf  base;

	op_init(&x->op, &arm_class, env->loop);
	x->env = env;
	x->a = a;
	x->token = token;
	x->authorization = xasprintf("Bearer %s", secret_str(token));
	x->who = xasprintf("account %.24s at %.80s", a->name, arm);
	buf_init(&base, 0);
	buf_printf(&base, "%s/subscriptions/", arm);
	url_escape(URL_SEGMENT, span_str(a->subscription), &base);
	buf_puts(&base, "/resourceGroups/");
	url_escape(URL_SEGMENT, span_str(a->group), &base);
	buf_puts(&base, "/providers/Microsoft.Storage/storageAccounts/");
	url_escape(URL_SEGMENT, span_str(a->name), &base);
	x->base = buf_take(&base);
	return &x->op;
}
