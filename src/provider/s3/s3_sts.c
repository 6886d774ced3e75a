/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "net/xml.h"
#include "s3.h"

/* Credentials for credentials: roles of STS, the portal of IAM Identity Center (SSO), and whose they are. */
#define STS_VERSION  "2011-06-15"
#define S3_FORM_ROOM 8192 /* more than a role's arguments take beside a policy */

struct s3_asking {
	struct op             op;
	struct s3_sts        *s;
	const struct s3_role *role;     /* role */
	const struct s3_chain *chain;   /* SSO */
	const struct s3_keys *keys;
	const struct secret  *token;
	struct aws_request    req;
	struct aws_answer     ans;
	struct s3_keys        got;
	char                  expires[40];
	struct s3_keys       *ret;
	char                 *ret_account;
};

enum s3_asking_state { ASK_START, ASK_ANSWERED };

static const char *const s3_asking_states[] = { "start", "answered" };

static void
s3_asking_free(struct op *op)
{
	struct s3_asking *x = container_of(op, struct s3_asking, op);

	aws_request_free(&x->req);
	aws_answer_free(&x->ans);
	s3_keys_free(&x->got);
	free(x);
}

static struct s3_asking *
s3_asking_new(struct s3_sts *s, const struct op_class *class)
{
	struct s3_asking *x = xcalloc(1, sizeof(*x));

	x->s = s;
	op_init(&x->op, class, s->net->env->loop);
	return x;
}

/* ---------------------------------------------------------------- STS */

static void
s3_sts_add(struct buf *form, const char *name, const char *value)
{
	if (value != NULL && value[0] != '\0')
		url_form_add(form, name, value);
}

static void
s3_sts_list(struct buf *form, const char *fmt, const struct conf_strs *list)
{
	char name[64];

	for (size_t i = 0; i < list->n; i++) {
		snprintf(name, sizeof(name), "%s.member.%zu", fmt, i + 1);
		s3_sts_add(form, name, list->items[i]);
	}
}

static void
s3_sts_arns(struct buf *form, const struct conf_strs *list)
{
	char name[64];

	for (size_t i = 0; i < list->n; i++) {
		snprintf(name, sizeof(name), "PolicyArns.member.%zu.arn", i + 1);
		s3_sts_add(form, name, list->items[i]);
	}
}

static void
s3_sts_tags(struct buf *form, const struct conf_map *tags)
{
	char name[64];

	for (size_t i = 0; i < tags->n; i++) {
		snprintf(name, sizeof(name), "Tags.member.%zu.Key", i + 1);
		url_form_add(form, name, tags->keys[i]);
		snprintf(name, sizeof(name), "Tags.member.%zu.Value", i + 1);
		url_form_add(form, name, tags->values[i]);
	}
}

/* "stateferry@NAME" of the characters that a session's name may have: it is what the account's audit log shows. */
static void
s3_session_name(const struct s3_sts *s, const struct s3_role *role, char *ret, size_t size)
{
	if (role->session_name != NULL && role->session_name[0] != '\0') {
		snprintf(ret, size, "%s", role->session_name);
		return;
	}
	snprintf(ret, size, "stateferry@%.50s", s->agent_name != NULL ? s->agent_name : "");
	for (char *p = ret; *p != '\0'; p++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-", *p) == NULL)
			*p = '-';
}

/* Takes the form, wiped with its body. */
static struct op *
s3_sts_send(struct s3_asking *x, struct buf *form)
{
	struct aws_request *r = &x->req;

	aws_request_free(r);
	r->what = "STS";
	r->service = x->keys != NULL ? "sts" : NULL;
	r->region = x->s->region;
	r->keys = x->keys;
	r->send.method = "POST";
	r->base = xstrdup(x->s->endpoint);
	aws_request_body(r, URL_FORM_TYPE, form);
	return aws_send(x->s->net, r, &x->ans);
}

static struct op *
s3_role_send(struct s3_asking *x)
{
	const struct s3_role *role = x->role;
	struct buf            form;
	char                  session[128], seconds[24] = "";

	s3_session_name(x->s, role, session, sizeof(session));
	if (role->seconds > 0)
		snprintf(seconds, sizeof(seconds), "%lld", (long long)role->seconds);
	buf_init(&form, 0);
	if (x->token != NULL) /* all of it at once: growing would leave pieces behind */
		buf_reserve(&form, S3_FORM_ROOM + 3 * secret_len(x->token), NULL);
	s3_sts_add(&form, "Action", x->token != NULL ? "AssumeRoleWithWebIdentity" : "AssumeRole");
	s3_sts_add(&form, "DurationSeconds", seconds);
	s3_sts_add(&form, "ExternalId", x->token != NULL ? NULL : role->external_id);
	s3_sts_add(&form, "Policy", role->policy);
	s3_sts_arns(&form, &role->policy_arns);
	s3_sts_add(&form, "RoleArn", role->arn);
	s3_sts_add(&form, "RoleSessionName", session);
	s3_sts_add(&form, "SourceIdentity", x->token != NULL ? NULL : role->source_identity);
	s3_sts_tags(&form, &role->tags);
	s3_sts_list(&form, "TransitiveTagKeys", &role->transitive_tag_keys);
	s3_sts_add(&form, "Version", STS_VERSION);
	s3_sts_add(&form, "WebIdentityToken", secret_str(x->token));
	return s3_sts_send(x, &form);
}

static enum err_code
s3_role_element(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct s3_asking *x = arg;
	const char       *at = strstr(path, "Result/Credentials/");

	(void)reterr;
	if (at == NULL)
		return ERR_OK;
	at += strlen("Result/Credentials/");
	if (strcmp(at, "AccessKeyId") == 0) {
		free(x->got.access_key);
		x->got.access_key = span_dup(text);
	} else if (strcmp(at, "SecretAccessKey") == 0) {
		secret_free(x->got.secret_key);
		x->got.secret_key = secret_new(text);
	} else if (strcmp(at, "SessionToken") == 0) {
		secret_free(x->got.token);
		x->got.token = text.n > 0 ? secret_new(text) : NULL;
	} else if (strcmp(at, "Expiration") == 0) {
		snprintf(x->expires, sizeof(x->expires), "%.*s", (int)text.n, (const char *)text.p);
	}
	return ERR_OK;
}

static bool
s3_sts_parse(struct s3_asking *x, xml_fn *fn)
{
	struct span        body = { NULL, 0 };
	struct xml_reader *reader;
	bool               whole;

	if (x->ans.send.http.body != NULL)
		body = body_span(x->ans.send.http.body);
	reader = xml_reader_new(fn, x);
	whole = xml_feed(reader, body.p, body.n, NULL) == ERR_OK && xml_end(reader, NULL) == ERR_OK;
	xml_reader_free(reader);
	return whole;
}

static enum op_turn
s3_role_refused(struct s3_asking *x)
{
	struct op  *op = &x->op;
	const char *arn = x->role->arn;
	char       *where = xasprintf("role %.80s", arn);

	if (x->token != NULL) /* it may be quoted */
		mem_wipe(x->ans.send.message, sizeof(x->ans.send.message));
	aws_refused(&x->req, &x->ans, where, &op->res);
	if (x->token != NULL && (aws_answer_is(&x->ans, "ExpiredTokenException") || aws_answer_is(&x->ans, "InvalidIdentityToken"))) {
		err_set(&op->res, ERR_AUTH, x->ans.send.http.status, "%s: the token of the web identity %s (%d %s)", where,
		    aws_answer_is(&x->ans, "ExpiredTokenException") ? "has expired" : "is not accepted", x->ans.send.http.status, x->ans.send.code);
		err_hint(&op->res, "see that its issuer renews it, and that the account trusts this issuer and its audience");
	} else if (aws_answer_is(&x->ans, "AccessDenied")) {
		err_hint(&op->res, x->token != NULL ? "its trust policy has to name this identity" :
		    "the credentials before it need sts:AssumeRole on it, and its trust policy has to name them");
	} else if (aws_answer_is(&x->ans, "ValidationError")) {
		op->res.code = ERR_CONFIG;
		err_hint(&op->res, "check the arguments of the role");
	}
	free(where);
	return op_fail(op);
}

static enum op_turn
s3_role_step(struct op *op)
{
	struct s3_asking *x = container_of(op, struct s3_asking, op);

	switch ((enum s3_asking_state)op->state) {
	case ASK_START:
		return op_await(op, ASK_ANSWERED, s3_role_send(x));
	case ASK_ANSWERED:
		if (op_failed(op)) {
			if (op->res.code != ERR_CANCELLED)
				err_prefix(&op->res, "role %.80s", x->role->arn);
			return op_fail(op);
		}
		if (x->ans.send.http.status != 200)
			return s3_role_refused(x);
		if (!s3_sts_parse(x, s3_role_element) || x->got.access_key == NULL || x->got.secret_key == NULL ||
		    !time_parse(x->expires, &x->got.expires)) {
			err_set(&op->res, ERR_CORRUPT, 200, "role %.80s: the answer of STS has no complete credentials", x->role->arn);
			err_hint(&op->res, "check the endpoint of sts: something else may listen there");
			return op_fail(op);
		}
		*x->ret = x->got;
		x->got = (struct s3_keys){ 0 };
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class s3_role_class = { "take role", s3_role_step, NULL, s3_asking_free, s3_asking_states,
	ARRAY_LEN(s3_asking_states) };

struct op *
s3_take_role(struct s3_sts *s, const struct s3_role *role, const struct s3_keys *keys, const struct secret *token,
    struct s3_keys *ret)
{
	struct s3_asking *x = s3_asking_new(s, &s3_role_class);

	x->role = role;
	x->keys = token == NULL ? keys : NULL;
	x->token = token;
	x->ret = ret;
	return &x->op;
}

/* ---------------------------------------------------------------- whose they are */

static enum err_code
s3_account_element(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct s3_asking *x = arg;

	(void)reterr;
	if (strcmp(path, "GetCallerIdentityResponse/GetCallerIdentityResult/Account") == 0)
		snprintf(x->ret_account, S3_ACCOUNT_MAX, "%.*s", (int)text.n, (const char *)text.p);
	return ERR_OK;
}

static enum op_turn
s3_account_step(struct op *op)
{
	struct s3_asking *x = container_of(op, struct s3_asking, op);
	struct buf        form;

	switch ((enum s3_asking_state)op->state) {
	case ASK_START:
		buf_init(&form, 0);
		s3_sts_add(&form, "Action", "GetCallerIdentity");
		s3_sts_add(&form, "Version", STS_VERSION);
		return op_await(op, ASK_ANSWERED, s3_sts_send(x, &form));
	case ASK_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		x->ret_account[0] = '\0';
		if (x->ans.send.http.status != 200)
			aws_refused(&x->req, &x->ans, "asking whose credentials these are", &op->res);
		else if (!s3_sts_parse(x, s3_account_element) || x->ret_account[0] == '\0')
			err_set(&op->res, ERR_CORRUPT, 200, "the answer of STS names no account");
		return op_failed(op) ? op_fail(op) : op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class s3_account_class = { "account", s3_account_step, NULL, s3_asking_free, s3_asking_states,
	ARRAY_LEN(s3_asking_states) };

struct op *
s3_account_of(struct s3_sts *s, const struct s3_keys *keys, char ret[S3_ACCOUNT_MAX])
{
	struct s3_asking *x = s3_asking_new(s, &s3_account_class);

	x->keys = keys;
	x->ret_account = ret;
	return &x->op;
}

/* ---------------------------------------------------------------- SSO */

static struct op *
s3_sso_send(struct s3_asking *x)
{
	const struct s3_profile *p = x->chain->last;
	struct aws_request      *r = &x->req;
	struct buf               query;
	char                    *host;

	buf_init(&query, 0);
	url_query_add(&query, "account_id", p->sso_account_id);
	url_query_add(&query, "role_name", p->sso_role_name);
	host = aws_host(x->s->net->conf, "portal.sso", x->chain->sso_region);
	r->what = "IAM Identity Center";
	r->send.method = "GET";
	r->base = x->s->sso_endpoint != NULL ? xstrdup(x->s->sso_endpoint) : xasprintf("https://%s", host);
	r->send.path = xstrdup("/federation/credentials");
	r->send.query = buf_take(&query);
	send_header(&r->send, "x-amz-sso_bearer_token", "%s", secret_str(x->token));
	free(host);
	return aws_send(x->s->net, r, &x->ans);
}

static bool
s3_sso_parse(struct s3_asking *x)
{
	json_t     *c = json_object_get(x->ans.json, "roleCredentials");
	const char *id = json_string_value(json_object_get(c, "accessKeyId")), *key = json_string_value(json_object_get(c,
	    "secretAccessKey")), *token = json_string_value(json_object_get(c, "sessionToken"));

	if (id == NULL || key == NULL)
		return false;
	x->got = (struct s3_keys){ xstrdup(id), secret_new(span_str(key)), token != NULL && token[0] != '\0' ? secret_new(span_str(token)) : NULL,
		json_integer_value(json_object_get(c, "expiration")) };
	return true;
}

static enum op_turn
s3_sso_refused(struct s3_asking *x)
{
	struct op               *op = &x->op;
	const struct s3_profile *p = x->chain->last;
	int                      status = x->ans.send.http.status;

	aws_refused(&x->req, &x->ans, x->chain->source, &op->res);
	if (status == 401) {
		err_set(&op->res, ERR_AUTH, status, "%s: the login to AWS IAM Identity Center is not accepted any more (401 %s)",
		    x->chain->source, x->ans.send.code);
		err_hint(&op->res, "aws sso login%s%s", p->sso_session != NULL ? " --sso-session " : "", p->sso_session != NULL ?
		    p->sso_session : "");
	} else if (status == 403 || aws_answer_is(&x->ans, "ResourceNotFoundException")) {
		err_set(&op->res, ERR_AUTH, status, "%s: account %.32s has no role %.64s for who logged in (%d %s)", x->chain->source,
		    p->sso_account_id, p->sso_role_name, status, x->ans.send.code);
		err_hint(&op->res, "check sso_account_id and sso_role_name");
	}
	return op_fail(op);
}

static enum op_turn
s3_sso_step(struct op *op)
{
	struct s3_asking *x = container_of(op, struct s3_asking, op);

	switch ((enum s3_asking_state)op->state) {
	case ASK_START:
		return op_await(op, ASK_ANSWERED, s3_sso_send(x));
	case ASK_ANSWERED:
		if (op_failed(op))
			return op_fail(op);
		if (x->ans.send.http.status != 200)
			return s3_sso_refused(x);
		if (!s3_sso_parse(x)) {
			err_set(&op->res, ERR_CORRUPT, 200, "%s: the answer of IAM Identity Center has no credentials", x->chain->source);
			return op_fail(op);
		}
		*x->ret = x->got;
		x->got = (struct s3_keys){ 0 };
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class s3_sso_class = { "sso", s3_sso_step, NULL, s3_asking_free, s3_asking_states,
	ARRAY_LEN(s3_asking_states) };

struct op *
s3_sso_keys(struct s3_sts *s, const struct s3_chain *c, struct s3_keys *ret)
{
	struct s3_asking *x = s3_asking_new(s, &s3_sso_class);

	x->chain = c;
	x->token = c->token;
	x->ret = ret;
	return &x->op;
}
