/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "net/url.h"
#include "s3_cred.h"

/*
 * Credentials from the machine: the container endpoint of ECS and EKS, and IMDSv2 of EC2. Both are reached without any
 * proxy; what they answer is small and comes at once or not at all.
 */
#define S3_META_MAX           65536
#define S3_META_TRIES         3
#define S3_META_PAUSE_MS      200
#define S3_CONTAINER_TIMEOUT  5000
#define S3_INSTANCE_TIMEOUT   1000
#define S3_INSTANCE_TOKEN_TTL "300"
#define S3_ROLE_MAX           256

void
s3_metadata_free(struct s3_metadata *m)
{
	free(m->container_url);
	free(m->container_token_file);
	secret_free(m->container_token);
	free(m->instance_url);
	*m = (struct s3_metadata){ 0 };
}

/* --- the answer ------------------------------------------------------------------------------------------------------- */

struct s3_keys_reader {
	struct s3_keys keys;
	char           key[32];
	char           code[64], message[128], expiration[40];
	bool           cut;
};

static void
s3_keys_member(struct s3_keys_reader *r, const struct json_token *t)
{
	const char *k = r->key;

	if (strcmp(k, "AccessKeyId") == 0) {
		free(r->keys.access_key);
		r->keys.access_key = span_dup(t->text);
		r->cut |= t->cut;
	} else if (strcmp(k, "SecretAccessKey") == 0) {
		secret_free(r->keys.secret_key);
		r->keys.secret_key = secret_new(t->text);
		r->cut |= t->cut;
	} else if (strcmp(k, "Token") == 0 || strcmp(k, "SessionToken") == 0) { /* of an endpoint, of a program */
		secret_free(r->keys.token);
		r->keys.token = t->text.n > 0 ? secret_new(t->text) : NULL;
		r->cut |= t->cut;
	} else if (strcmp(k, "Expiration") == 0) {
		span_text(r->expiration, sizeof(r->expiration), t->text);
	} else if (strcmp(k, "Code") == 0 || strcmp(k, "code") == 0) {
		span_text(r->code, sizeof(r->code), t->text);
	} else if (strcmp(k, "Message") == 0 || strcmp(k, "message") == 0) {
		span_text(r->message, sizeof(r->message), t->text);
	}
}

static enum json_want
s3_keys_event(void *arg, const struct json_token *t)
{
	struct s3_keys_reader *r = arg;

	if (t->event == JSON_EV_KEY && t->depth == 1)
		span_text(r->key, sizeof(r->key), t->text);
	else if (t->event == JSON_EV_STRING && t->depth == 1)
		s3_keys_member(r, t);
	else if (t->depth >= 1 && (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY))
		return JSON_SKIP_TEXT;
	return JSON_WANT;
}

static enum err_code
s3_keys_check(struct s3_keys_reader *r, struct err *reterr)
{
	if (r->code[0] != '\0' && strcmp(r->code, "Success") != 0)
		return err_set(reterr, ERR_AUTH, 0, "no credentials: %s%s%s", r->code, r->message[0] != '\0' ? ": " : "",
		    r->message);
	if (r->keys.access_key == NULL || r->keys.access_key[0] == '\0' || r->keys.secret_key == NULL || r->cut ||
	    secret_len(r->keys.secret_key) == 0)
		return err_set(reterr, ERR_CORRUPT, 0, "the answer has no complete credentials");
	if (r->expiration[0] != '\0' && !time_parse(r->expiration, &r->keys.expires))
		return err_set(reterr, ERR_CORRUPT, 0, "the answer has the expiration \"%s\"", r->expiration);
	return ERR_OK;
}

enum err_code
s3_keys_parse(struct span json, struct s3_keys *ret, struct err *reterr)
{
	struct s3_keys_reader r = { .key = "" };
	struct json_reader   *reader = json_reader_new(s3_keys_event, &r);
	enum err_code         rc = json_feed(reader, json.p, json.n, reterr);

	if (rc == ERR_OK)
		rc = json_end(reader, reterr);
	json_reader_free(reader);
	if (rc == ERR_OK)
		rc = s3_keys_check(&r, reterr);
	if (rc == ERR_OK)
		*ret = r.keys;
	else
		s3_keys_free(&r.keys);
	return rc;
}

/* --- one request, a few times ----------------------------------------------------------------------------------------- */

struct s3_meta {
	struct op                  op;
	const struct provider_env *env;
	const struct s3_metadata  *m;
	struct s3_keys            *ret;
	struct http_response       http;
	unsigned                   tries;
	struct secret             *token;       /* container: Authorization; instance: of the session */
	char                       role[S3_ROLE_MAX];
	bool                       token_again; /* the session's token was renewed once */
};

static void
s3_meta_free(struct op *op)
{
	struct s3_meta *x = container_of(op, struct s3_meta, op);

	http_response_free(&x->http);
	secret_free(x->token);
	free(x);
}

static struct s3_meta *
s3_meta_new(const struct op_class *class, const struct provider_env *env, const struct s3_metadata *m, struct s3_keys *ret)
{
	struct s3_meta *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, class, env->loop);
	x->env = env;
	x->m = m;
	x->ret = ret;
	return x;
}

static struct op *
s3_meta_send(struct s3_meta *x, const char *method, const char *base, const char *path, const char *header, const char *value,
    int64_t timeout_ms)
{
	char              *url = xasprintf("%s%s", base, path), *copy = xstrdup(value);
	struct http_header headers[2] = { { "accept", (char[]){ "application/json" } }, { header, copy } };
	struct op         *op;

	http_response_free(&x->http);
	op = http_request(x->env->http, &(struct http_request){ .method = method, .url = url, .headers = headers,
	    .nheaders = value != NULL ? 2 : 1, .no_proxy = true, .timeout_ms = timeout_ms, .connect_timeout_ms = timeout_ms,
	    .max_body = S3_META_MAX }, &x->http);
	mem_free_secret(copy);
	free(url);
	return op;
}

static struct span
s3_meta_body(const struct s3_meta *x)
{
	return x->http.body != NULL ? body_span(x->http.body) : (struct span){ NULL, 0 };
}

/* No answer, or one that says "later": once more after a pause? */
static bool
s3_meta_again(struct s3_meta *x)
{
	const struct op *op = &x->op;
	bool             later = op->res.code == ERR_NETWORK || op->res.code == ERR_TIMEOUT ||
	    (op->res.code == ERR_OK && (x->http.status >= 500 || x->http.status == 429));

	return later && !op_stopped(op) && ++x->tries < S3_META_TRIES;
}

static enum op_turn
s3_meta_fail(struct s3_meta *x, const char *who)
{
	if (!op_failed(&x->op))
		err_set(&x->op.res, x->http.status >= 500 ? ERR_BUSY : ERR_AUTH, x->http.status, "it answers %d", x->http.status);
	err_prefix(&x->op.res, "credentials from %s", who);
	return op_fail(&x->op);
}

static enum op_turn
s3_meta_parse(struct s3_meta *x, const char *who)
{
	if (s3_keys_parse(s3_meta_body(x), x->ret, &x->op.res) != ERR_OK)
		return s3_meta_fail(x, who);
	return op_ok(&x->op);
}

/* --- containers: Amazon ECS, EKS Pod Identity ------------------------------------------------------------------------- */

/* Plain http may carry credentials only where nobody else listens. */
static enum err_code
s3_container_check(const char *text, struct err *reterr)
{
	static const char *const hosts[] = { "169.254.170.2", "169.254.170.23", "fd00:ec2::23" };
	struct url               u;
	enum err_code            rc = url_parse(text, &u, reterr);
	bool                     ok;

	if (rc != ERR_OK)
		return err_prefix(reterr, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
	ok = strcmp(u.scheme, "https") == 0 || url_is_loopback(&u);
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		ok = ok || strcmp(u.host, hosts[i]) == 0;
	if (!ok)
		err_set(reterr, ERR_CONFIG, 0, "AWS_CONTAINER_CREDENTIALS_FULL_URI: http to %s is refused, only https, loopback and the "
		    "addresses of ECS and EKS are allowed", u.host);
	url_free(&u);
	return ok ? ERR_OK : reterr->code;
}

/* The token may have been renewed since: read for each request. */
static enum err_code
s3_container_token_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct s3_meta *x = arg;
	char            text[16384];
	int             fd = open(x->m->container_token_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t         n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	enum err_code   rc = ERR_OK;

	(void)job;
	if (n < 0)
		rc = err_errno(reterr, errno, "cannot read %s", x->m->container_token_file);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	for (ssize_t i = 0; i < n && rc == ERR_OK; i++)
		if (text[i] == '\n' || text[i] == '\r' || text[i] == '\0')
			rc = err_set(reterr, ERR_CONFIG, 0, "%s holds more than one line", x->m->container_token_file);
	if (rc == ERR_OK && n > 0)
		x->token = secret_new(span_of(text, (size_t)n));
	mem_wipe(text, sizeof(text));
	if (fd >= 0)
		close(fd);
	return rc;
}

enum s3_container_state { CONTAINER_START, CONTAINER_TOKEN, CONTAINER_ANSWERED };

static const char *const s3_container_states[] = { "start", "token read", "answered" };

static enum op_turn
s3_container_step(struct op *op)
{
	struct s3_meta *x = container_of(op, struct s3_meta, op);
	const char     *who = "the container's endpoint", *token;

	switch ((enum s3_container_state)op->state) {
	case CONTAINER_START:
		if (op_failed(op) || s3_container_check(x->m->container_url, &op->res) != ERR_OK)
			return s3_meta_fail(x, who);
		secret_free(x->token);
		x->token = NULL;
		if (x->m->container_token_file == NULL)
			return op_go(op, CONTAINER_TOKEN);
		return op_await(op, CONTAINER_TOKEN, work_run(x->env->work, s3_container_token_job, x));
	case CONTAINER_TOKEN:
		if (op_failed(op))
			return s3_meta_fail(x, who);
		token = secret_str(x->token != NULL ? x->token : x->m->container_token);
		return op_await(op, CONTAINER_ANSWERED, s3_meta_send(x, "GET", x->m->container_url, "", "authorization", token,
		    S3_CONTAINER_TIMEOUT));
	case CONTAINER_ANSWERED:
		if (s3_meta_again(x))
			return op_await(op, CONTAINER_START, op_sleep(op->loop, S3_META_PAUSE_MS));
		if (!op_failed(op) && x->http.status != 200 && s3_meta_body(x).n > 0) { /* {"code": ..., "message": ...} */
			s3_keys_parse(s3_meta_body(x), x->ret, &op->res);
			if (op->res.code != ERR_AUTH)
				err_clear(&op->res);
		}
		if (op_failed(op) || x->http.status != 200)
			return s3_meta_fail(x, who);
		return s3_meta_parse(x, who);
	}
	return OP_DONE;
}

static const struct op_class s3_container_class = { "container credentials", s3_container_step, NULL, s3_meta_free,
	s3_container_states, ARRAY_LEN(s3_container_states) };

struct op *
s3_container_keys(const struct provider_env *env, const struct s3_metadata *m, struct s3_keys *ret)
{
	return &s3_meta_new(&s3_container_class, env, m, ret)->op;
}

/* --- instances: IMDSv2, a session token first ------------------------------------------------------------------------- */

#define S3_INSTANCE_ROLES "/latest/meta-data/iam/security-credentials/"

/* The first line: an instance has one role. Anything that is no role's name does not become part of a URL. */
static bool
s3_instance_role(struct s3_meta *x)
{
	struct span    s = s3_meta_body(x);
	const uint8_t *end = s.n > 0 ? memchr(s.p, '\n', s.n) : NULL;
	size_t         n = end != NULL ? (size_t)(end - s.p) : s.n;

	if (n > 0 && s.p[n - 1] == '\r')
		n--;
	if (n == 0 || n >= sizeof(x->role))
		return false;
	for (size_t i = 0; i < n; i++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@_-", s.p[i]) == NULL ||
		    s.p[i] == '\0')
			return false;
	memcpy(x->role, s.p, n);
	x->role[n] = '\0';
	return true;
}

enum s3_instance_state { INSTANCE_START, INSTANCE_TOKEN, INSTANCE_ROLE, INSTANCE_KEYS };

static const char *const s3_instance_states[] = { "start", "token", "role", "keys" };

static enum op_turn
s3_instance_get(struct s3_meta *x, int next, const char *what)
{
	char           *path = xasprintf("%s%s", S3_INSTANCE_ROLES, what);
	struct op      *op = s3_meta_send(x, "GET", x->m->instance_url, path, "x-aws-ec2-metadata-token", secret_str(x->token),
	         S3_INSTANCE_TIMEOUT);

	free(path);
	return op_await(&x->op, next, op);
}

/* 401: the session is over. */
static bool
s3_instance_expired(struct s3_meta *x)
{
	bool again = !op_failed(&x->op) && x->http.status == 401 && !x->token_again;

	x->token_again = x->token_again || again;
	return again;
}

static enum op_turn
s3_instance_step(struct op *op)
{
	struct s3_meta *x = container_of(op, struct s3_meta, op);
	const char     *who = "the instance's metadata";

	switch ((enum s3_instance_state)op->state) {
	case INSTANCE_START:
		if (op_failed(op))
			return s3_meta_fail(x, who);
		return op_await(op, INSTANCE_TOKEN, s3_meta_send(x, "PUT", x->m->instance_url, "/latest/api/token",
		    "x-aws-ec2-metadata-token-ttl-seconds", S3_INSTANCE_TOKEN_TTL, S3_INSTANCE_TIMEOUT));
	case INSTANCE_TOKEN:
		if (s3_meta_again(x))
			return op_await(op, INSTANCE_START, op_sleep(op->loop, S3_META_PAUSE_MS));
		if (op_failed(op) || x->http.status != 200 || s3_meta_body(x).n == 0)
			return s3_meta_fail(x, who);
		secret_free(x->token);
		x->token = secret_new(s3_meta_body(x));
		return s3_instance_get(x, INSTANCE_ROLE, "");
	case INSTANCE_ROLE:
		if (s3_instance_expired(x) || s3_meta_again(x))
			return op_await(op, INSTANCE_START, op_sleep(op->loop, S3_META_PAUSE_MS));
		if (!op_failed(op) && (x->http.status == 404 || (x->http.status == 200 && !s3_instance_role(x))))
			err_set(&op->res, ERR_AUTH, x->http.status, "the instance has no role");
		if (op_failed(op) || x->http.status != 200)
			return s3_meta_fail(x, who);
		return s3_instance_get(x, INSTANCE_KEYS, x->role);
	case INSTANCE_KEYS:
		if (s3_instance_expired(x) || s3_meta_again(x))
			return op_await(op, INSTANCE_START, op_sleep(op->loop, S3_META_PAUSE_MS));
		if (op_failed(op) || x->http.status != 200)
			return s3_meta_fail(x, who);
		return s3_meta_parse(x, who);
	}
	return OP_DONE;
}

static const struct op_class s3_instance_class = { "instance credentials", s3_instance_step, NULL, s3_meta_free,
	s3_instance_states, ARRAY_LEN(s3_instance_states) };

struct op *
s3_instance_keys(const struct provider_env *env, const struct s3_metadata *m, struct s3_keys *ret)
{
	return &s3_meta_new(&s3_instance_class, env, m, ret)->op;
}
