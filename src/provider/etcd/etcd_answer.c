/* SPDX-License-Identifier: MIT */
#include "etcd.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"

/* What the gateway answers. int64 come as strings, and what is zero, false or empty is left out. */
#define ETCD_SAYS "etcdserver: "

static bool
etcd_says(const struct etcd_answer *a, const char *what)
{
	return strstr(a->send.message, what) != NULL;
}

void
etcd_answer_read(struct etcd_answer *a)
{
	struct send_answer *s = &a->send;
	struct span         body = s->http.body != NULL ? body_span(s->http.body) : (struct span){ NULL, 0 };
	const char         *text;

	json_decref(a->json);
	a->json = body.n > 0 ? json_loadb((const char *)body.p, body.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	a->grpc = (int)json_integer_value(json_object_get(a->json, "code"));
	text = json_string_value(json_object_get(a->json, "message"));
	if (text == NULL)
		text = json_string_value(json_object_get(a->json, "error"));
	if (s->http.status < 300)
		return;
	if (text == NULL) { /* it, or whoever stands before it, answers in plain text */
		span_text(s->message, sizeof(s->message), body);
		return;
	}
	if (strncmp(text, ETCD_SAYS, strlen(ETCD_SAYS)) == 0)
		text += strlen(ETCD_SAYS);
	span_text(s->code, sizeof(s->code), span_str(text));
	span_text(s->message, sizeof(s->message), span_str(text));
}

bool
etcd_wants_token(const struct etcd_answer *a)
{
	return a->grpc == GRPC_UNAUTHENTICATED || etcd_says(a, "invalid auth token") || etcd_says(a, "revision of auth store is old");
}

/* An int64, as the text that it is sent back as. */
static bool
etcd_number(json_t *v, char ret[ETAG_MAX])
{
	const char *text = json_string_value(v);
	size_t      n = json_string_length(v);

	if (json_is_integer(v)) {
		snprintf(ret, ETAG_MAX, "%lld", (long long)json_integer_value(v));
		return json_integer_value(v) > 0;
	}
	if (text == NULL || n == 0 || n >= 20 || strspn(text, "0123456789") != n || text[0] == '0')
		return false;
	memcpy(ret, text, n + 1);
	return true;
}

enum err_code
etcd_range_of(json_t *answer, struct record *ret, struct err *reterr)
{
	json_t     *kv = json_array_get(json_object_get(answer, "kvs"), 0), *value = json_object_get(kv, "value");
	struct buf  text;
	bool        fits;

	if (!json_is_object(json_object_get(answer, "header")))
		return err_set(reterr, ERR_CORRUPT, 0, "the answer is none of etcd's");
	if (kv == NULL)
		return err_set(reterr, ERR_NOT_FOUND, 0, "no such key");
	buf_init(&text, sizeof(ret->text) + 4);
	fits = json_string_length(value) / 4 * 3 <= sizeof(ret->text) &&
	    base64_decode(span_of(json_string_value(value), json_string_length(value)), &text) && text.len > 0 && text.len <= sizeof(ret->text) &&
	    etcd_number(json_object_get(kv, "mod_revision"), ret->revision);
	if (fits) {
		memcpy(ret->text, text.data, text.len);
		ret->n = text.len;
	}
	buf_free(&text);
	return fits ? ERR_OK : err_set(reterr, ERR_CORRUPT, 0, "the key's value is none of a lease");
}

enum err_code
etcd_txn_of(json_t *answer, char ret_revision[ETAG_MAX], struct err *reterr)
{
	json_t *header = json_object_get(answer, "header");
	char    revision[ETAG_MAX];

	if (!json_is_object(header))
		return err_set(reterr, ERR_UNCERTAIN, 0, "the answer is none of etcd's");
	if (!json_is_true(json_object_get(answer, "succeeded")))
		return err_set(reterr, ERR_CONFLICT, 0, "it was changed meanwhile");
	if (!etcd_number(json_object_get(header, "revision"), revision))
		return err_set(reterr, ERR_UNCERTAIN, 0, "the answer to the write holds no revision");
	memcpy(ret_revision, revision, sizeof(revision));
	return ERR_OK;
}

/* --- refusals --- */

static enum err_code
etcd_refused_user(const struct etcd *e, const struct etcd_answer *a, const char *where, struct err *reterr)
{
	int status = a->send.http.status;

	if (e->user == NULL && a->grpc != GRPC_DENIED) {
		err_set(reterr, ERR_AUTH, status, "%s: it wants a user (%d %s)", where, status, a->send.code);
		return err_hint(reterr, "set username and password; the JSON gateway does not take a client certificate for one");
	}
	if (a->grpc == GRPC_DENIED) {
		err_set(reterr, ERR_AUTH, status, "%s: user %s may not (%d %s)", where, e->user != NULL ? e->user : "(none)", status, a->send.code);
		return err_hint(reterr, "etcdctl role grant-permission ROLE readwrite --prefix=true %s", e->prefix);
	}
	err_set(reterr, ERR_AUTH, status, "%s: user %s is refused (%d %s)", where, e->user, status, a->send.code);
	return err_hint(reterr, "check username and password");
}

enum err_code
etcd_refused(const struct etcd *e, const struct etcd_answer *a, const char *doing, struct err *reterr)
{
	int   status = a->send.http.status;
	char *where = xasprintf("etcd: %s", doing);

	if (a->grpc == GRPC_DENIED || etcd_wants_token(a) || etcd_says(a, "user name is empty") || etcd_says(a, "authentication failed")) {
		etcd_refused_user(e, a, where, reterr);
	} else if (status == 407) {
		err_set(reterr, ERR_AUTH, status, "%s: the proxy on the way wants credentials (407)", where);
		err_hint(reterr, PROVIDER_PROXY_HINT);
	} else if (etcd_says(a, "CommonName of client")) {
		err_set(reterr, ERR_AUTH, status, "%s: its gateway takes no client certificate with a common name where there are users (%d)", where,
		    status);
		err_hint(reterr, "name in cert_file a certificate without CN in its subject");
	} else if (etcd_says(a, "authentication is not enabled")) {
		err_set(reterr, ERR_CONFIG, status, "%s: it has no users (%d %s)", where, status, a->send.code);
		err_hint(reterr, "leave out username and password, or \"etcdctl auth enable\"");
	} else if (a->grpc == GRPC_EXHAUSTED) {
		err_set(reterr, ERR_BUSY, status, "%s: %d %s", where, status, a->send.code);
		err_hint(reterr, "\"etcdctl alarm list\"; where its database is full: compact, defragment, then \"etcdctl alarm disarm\"");
	} else if (a->grpc == 0) {
		err_set(reterr, ERR_UNSUPPORTED, status, "%s: the answer %d is none of etcd", where, status);
		err_hint(reterr, "check endpoints (http or https?) and proxy; etcd 3.4 or later, with its gRPC gateway enabled");
	} else {
		err_set(reterr, ERR_UNSUPPORTED, status, "%s: %d %.80s", where, status, a->send.message);
	}
	free(where);
	return reterr->code;
}
