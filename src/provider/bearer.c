/* SPDX-License-Identifier: MIT */
#include "bearer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/utf8.h"

#define BEARER_TEXT_MAX   16384         /* of a token */
#define BEARER_LIFE_MAX_S ((int64_t)10 * 366 * 24 * 3600)

int64_t
bearer_ends(const void *value)
{
	return ((const struct bearer *)value)->ends;
}

void
bearer_wipe(void *value)
{
	struct bearer *b = value;

	secret_free(b->text);
	*b = (struct bearer){ 0 };
}

/* --- the answer ------------------------------------------------------------------------------------------------------- */

struct bearer_reader {
	struct span    json;
	const char    *member;              /* that holds the token; NULL: access_token, accessToken */
	char           key[2][BEARER_MEMBER_MAX]; /* of depth 1 and 2 */
	struct secret *text;
	bool           bad;
	int64_t        left_s, at_s;        /* expires_in, expires_on; -1: none */
	char           expire_time[TIME_TEXT_MAX];
	char           error[48], why[160];
};

static void
bearer_copy(char *to, size_t size, struct span text)
{
	struct buf b;

	buf_init(&b, 0);
	utf8_visible(&b, text, false);
	snprintf(to, size, "%s", buf_str(&b));
	buf_free(&b);
}

/* Of what may stand in a header. */
static void
bearer_take(struct bearer_reader *r, struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		r->bad |= s.p[i] <= ' ' || s.p[i] >= 0x7f;
	r->bad |= s.n == 0 || s.n > BEARER_TEXT_MAX;
	secret_free(r->text);
	r->text = r->bad ? NULL : secret_new(s);
}

/* A token may be longer than what the reader decodes: then it is taken as it stands, if nothing in it is escaped. */
static void
bearer_text(struct bearer_reader *r, const struct json_token *t)
{
	struct span s = t->text;

	if (t->cut) {
		s = span_of(r->json.p + t->start + 1, (size_t)(t->end - t->start) - 2);
		r->bad |= memchr(s.p, '\\', s.n) != NULL;
	}
	bearer_take(r, s);
}

static bool
bearer_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* All of it but blanks around it. */
static void
bearer_plain(struct bearer_reader *r, struct span s)
{
	r->left_s = r->at_s = -1;
	while (s.n > 0 && bearer_is_blank(s.p[s.n - 1]))
		s.n--;
	for (; s.n > 0 && bearer_is_blank(s.p[0]); s.n--)
		s.p++;
	bearer_take(r, s);
}

static void
bearer_seconds(struct bearer_reader *r, struct span text, int64_t *ret)
{
	char  digits[32], *end;
	long long v;

	bearer_copy(digits, sizeof(digits), text);
	errno = 0;
	v = strtoll(digits, &end, 10);
	if (errno != 0 || end == digits || v < 0 || (*end != '\0' && *end != '.'))
		r->bad = true;
	else
		*ret = v;
}

static bool
bearer_is_token(const struct bearer_reader *r, const char *key)
{
	if (r->member != NULL)
		return strcmp(key, r->member) == 0;
	return strcmp(key, "access_token") == 0 || strcmp(key, "accessToken") == 0;
}

static void
bearer_member(struct bearer_reader *r, const struct json_token *t)
{
	const char *k = r->key[0];

	if (bearer_is_token(r, k))
		bearer_text(r, t);
	else if (strcmp(k, "expires_in") == 0)
		bearer_seconds(r, t->text, &r->left_s);
	else if (strcmp(k, "expires_on") == 0)
		bearer_seconds(r, t->text, &r->at_s);
	else if (strcmp(k, "expireTime") == 0)
		bearer_copy(r->expire_time, sizeof(r->expire_time), t->text);
	else if (strcmp(k, "error") == 0)
		bearer_copy(r->error, sizeof(r->error), t->text);
	else if (strcmp(k, "error_description") == 0)
		bearer_copy(r->why, sizeof(r->why), t->text);
}

/* "error": { "code": 403, "message": ..., "status": ... }, or with the status as its code */
static void
bearer_error_member(struct bearer_reader *r, const struct json_token *t)
{
	if (strcmp(r->key[0], "error") != 0)
		return;
	if (strcmp(r->key[1], "status") == 0 || strcmp(r->key[1], "code") == 0)
		bearer_copy(r->error, sizeof(r->error), t->text);
	else if (strcmp(r->key[1], "message") == 0)
		bearer_copy(r->why, sizeof(r->why), t->text);
}

static enum json_want
bearer_event(void *arg, const struct json_token *t)
{
	struct bearer_reader *r = arg;

	if (t->event == JSON_EV_KEY && t->depth >= 1 && t->depth <= 2)
		bearer_copy(r->key[t->depth - 1], sizeof(r->key[0]), t->text);
	else if ((t->event == JSON_EV_STRING || t->event == JSON_EV_NUMBER) && t->depth == 1)
		bearer_member(r, t);
	else if (t->event == JSON_EV_STRING && t->depth == 2)
		bearer_error_member(r, t);
	else if ((t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY) && (t->depth > 1 || t->event == JSON_EV_ARRAY))
		return JSON_SKIP_TEXT;
	return JSON_WANT;
}

static enum err_code
bearer_read(struct bearer_reader *r, struct span json, struct err *reterr)
{
	struct json_reader *reader = json_reader_new(bearer_event, r);
	enum err_code       rc;

	r->json = json;
	r->left_s = r->at_s = -1;
	rc = json_feed(reader, json.p, json.n, reterr);
	if (rc == ERR_OK)
		rc = json_end(reader, reterr);
	json_reader_free(reader);
	return rc;
}

/* Whichever way the issuer says it; it may be none. A clock that is wrong here makes no difference to a span of time. */
static enum err_code
bearer_end(const struct bearer_reader *r, int64_t wall_ms, int64_t date_ms, int64_t *ret, struct err *reterr)
{
	int64_t at;

	*ret = 0;
	if (r->left_s >= 0) {
		*ret = wall_ms + 1000 * (r->left_s < BEARER_LIFE_MAX_S ? r->left_s : BEARER_LIFE_MAX_S);
		return ERR_OK;
	}
	if (r->expire_time[0] != '\0') {
		if (!time_parse(r->expire_time, &at))
			return err_set(reterr, ERR_CORRUPT, 0, "the answer has the expireTime \"%s\"", r->expire_time);
	} else if (r->at_s >= 0) {
		at = 1000 * (r->at_s < INT64_MAX / 2000 ? r->at_s : INT64_MAX / 2000);
	} else {
		return ERR_OK;
	}
	*ret = date_ms != 0 ? at - date_ms + wall_ms : at;
	return ERR_OK;
}

enum err_code
bearer_parse(struct span json, const char *member, int64_t wall_ms, int64_t date_ms, struct bearer *ret, struct err *reterr)
{
	struct bearer_reader r = { .member = member };
	struct bearer        b = { 0 };
	enum err_code        rc = ERR_OK;

	if (member != NULL && member[0] == '\0')
		bearer_plain(&r, json);
	else
		rc = bearer_read(&r, json, reterr);
	if (rc == ERR_OK && (r.bad || r.text == NULL))
		rc = err_set(reterr, ERR_CORRUPT, 0, "the answer has no usable access token");
	if (rc == ERR_OK)
		rc = bearer_end(&r, wall_ms, date_ms, &b.ends, reterr);
	if (rc == ERR_OK) {
		b.text = r.text;
		*ret = b;
		return ERR_OK;
	}
	secret_free(r.text);
	return rc;
}

bool
bearer_refusal(struct span json, char *ret, size_t size)
{
	struct bearer_reader r = { .bad = false };
	bool                 ok = bearer_read(&r, json, NULL) == ERR_OK && (r.error[0] != '\0' || r.why[0] != '\0');

	secret_free(r.text);
	for (size_t n = strlen(r.why); n > 0 && r.why[n - 1] == '.'; n--) /* more is said behind it */
		r.why[n - 1] = '\0';
	if (ok)
		snprintf(ret, size, "%s%s%s", r.error, r.error[0] != '\0' && r.why[0] != '\0' ? ": " : "", r.why);
	return ok;
}

/* --- one request, a few times ----------------------------------------------------------------------------------------- */

struct bearer_op {
	struct op                    op;
	const struct provider_env   *env;
	const struct bearer_request *r;
	struct bearer               *ret;   /* NULL: the answer itself is wanted */
	struct http_response        *http, own;
	unsigned                     tries;
};

enum bearer_state { BEARER_START, BEARER_ANSWERED };

static const char *const bearer_states[] = { "start", "answered" };

static struct op *
bearer_send(struct bearer_op *x)
{
	const struct bearer_request *r = x->r;
	int64_t                      ms = r->timeout_ms != 0 ? r->timeout_ms : BEARER_TIMEOUT_MS;

	http_response_free(x->http);
	if (r->ret_date != NULL)
		*r->ret_date = 0;
	return http_request(x->env->http, &(struct http_request){ .method = r->method, .url = r->url, .headers = r->headers,
	    .nheaders = r->nheaders, .body = r->body, .no_proxy = r->no_proxy, .timeout_ms = ms, .connect_timeout_ms = ms,
	    .max_body = BEARER_MAX, .tls = r->tls }, x->http);
}

/* Of those that mean it at this issuer only. */
static bool
bearer_is_later(const struct bearer_request *r, int status)
{
	for (size_t i = 0; i < BEARER_LATER; i++)
		if (r->later[i] != 0 && r->later[i] == status)
			return true;
	return false;
}

static bool
bearer_again(struct bearer_op *x)
{
	const struct op *op = &x->op;
	bool             own = op->res.code == ERR_OK && bearer_is_later(x->r, x->http->status);
	bool             later = op->res.code == ERR_NETWORK || op->res.code == ERR_TIMEOUT ||
	    (op->res.code == ERR_OK && (x->http->status >= 500 || x->http->status == 429 || x->http->status == 408));

	return (later || own) && !op_stopped(op) && ++x->tries < (own ? BEARER_TRIES_LATER : BEARER_TRIES);
}

static int64_t
bearer_pause(const struct bearer_op *x)
{
	int64_t ms = BEARER_PAUSE_MS << (x->tries - 1), asked = x->http->retry_after_ms;

	return asked > ms ? (asked < BEARER_TIMEOUT_MS ? asked : BEARER_TIMEOUT_MS) : ms;
}

static struct span
bearer_body(const struct bearer_op *x)
{
	return x->http->body != NULL ? body_span(x->http->body) : (struct span){ NULL, 0 };
}

/* An issuer that repeats a secret in its refusal is not quoted. */
static bool
bearer_quotes(const struct bearer_request *r, const char *text)
{
	for (size_t i = 0; i < BEARER_SECRETS; i++)
		if (r->secrets[i] != NULL && secret_len(r->secrets[i]) > 0 && strstr(text, secret_str(r->secrets[i])) != NULL)
			return true;
	return false;
}

static enum err_code
bearer_judge(struct bearer_op *x, struct err *reterr)
{
	const struct bearer_request *r = x->r;
	int                          status = x->http->status;
	char                         why[208];
	const char                  *header;
	bool                         busy = status >= 500 || status == 429 || status == 408 || bearer_is_later(r, status);
	enum err_code                code = busy ? ERR_BUSY : ERR_AUTH;

	header = r->needs_header != NULL ? http_header_get(x->http, r->needs_header) : NULL;
	if (r->needs_header != NULL && (header == NULL || strcasecmp(header, r->needs_value) != 0))
		return err_set(reterr, ERR_AUTH, status, "something else answers there (%d, without %s: %s)", status,
		    r->needs_header, r->needs_value);
	if (status == 200 && x->ret == NULL)
		return ERR_OK;
	if (status == 200)
		return bearer_parse(bearer_body(x), r->member, loop_wall(x->op.loop), x->http->date_ms, x->ret, reterr);
	if (!bearer_refusal(bearer_body(x), why, sizeof(why)) || bearer_quotes(r, why))
		return err_set(reterr, code, status, "it answers %d", status);
	return err_set(reterr, code, status, "it answers %d, %s", status, why);
}

static enum op_turn
bearer_step(struct op *op)
{
	struct bearer_op *x = container_of(op, struct bearer_op, op);

	switch ((enum bearer_state)op->state) {
	case BEARER_START:
		if (op_failed(op)) /* cancelled in a pause between two tries */
			return op_fail(op);
		return op_await(op, BEARER_ANSWERED, bearer_send(x));
	case BEARER_ANSWERED:
		if (x->r->ret_date != NULL && !op_failed(op))
			*x->r->ret_date = x->http->date_ms;
		if (bearer_again(x))
			return op_await(op, BEARER_START, op_sleep(op->loop, bearer_pause(x)));
		if (op_failed(op) || bearer_judge(x, &op->res) != ERR_OK) {
			err_prefix(&op->res, "%s", x->r->who);
			return op_fail(op);
		}
		return op_ok(op);
	}
	return OP_DONE;
}

static void
bearer_free(struct op *op)
{
	struct bearer_op *x = container_of(op, struct bearer_op, op);

	http_response_free(&x->own);
	free(x);
}

static const struct op_class bearer_class = { "token request", bearer_step, NULL, bearer_free, bearer_states,
	ARRAY_LEN(bearer_states) };

static struct bearer_op *
bearer_new(const struct provider_env *env, const struct bearer_request *r)
{
	struct bearer_op *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &bearer_class, env->loop);
	x->env = env;
	x->r = r;
	x->http = &x->own;
	return x;
}

struct op *
bearer_fetch(const struct provider_env *env, const struct bearer_request *r, struct bearer *ret)
{
	struct bearer_op *x = bearer_new(env, r);

	x->ret = ret;
	return &x->op;
}

struct op *
bearer_ask(const struct provider_env *env, const struct bearer_request *r, struct http_response *ret)
{
	struct bearer_op *x = bearer_new(env, r);

	x->http = ret;
	return &x->op;
}
