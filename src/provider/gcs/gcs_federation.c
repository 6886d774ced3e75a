/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/json.h"
#include "gcs.h"
#include "provider/outside.h"

/*
 * Workload identity federation: the token of another issuer, read anew each time since it does not last, is exchanged at Google's STS for
 * one of theirs (RFC 8693).
 */
#define GCS_STS_GRANT  "urn:ietf:params:oauth:grant-type:token-exchange"
#define GCS_STS_WANTED "urn:ietf:params:oauth:token-type:access_token"
#define GCS_STS_ROOM   8192

struct gcs_federation {
	struct op                  op;
	const struct provider_env *env;
	const struct gcs_account  *account;
	const char                *scope;
	int64_t                    now; /* wall clock, for what runs on the pool */
	struct bearer              subject;
	struct bearer_request      from, rq; /* for the token of the other issuer; for ours */
	struct bearer             *ret;
};

enum gcs_federation_state { FEDERATION_START, FEDERATION_SUBJECT, FEDERATION_ANSWERED };

static const char *const gcs_federation_states[] = { "start", "other token", "answered" };

static void
gcs_federation_free(struct op *op)
{
	struct gcs_federation *f = container_of(op, struct gcs_federation, op);

	for (size_t i = 0; i < f->rq.nheaders; i++)
		mem_free_secret(f->rq.headers[i].value);
	body_unref(f->rq.body);
	bearer_wipe(&f->subject);
	free(f);
}

/* ---------------------------------------------------------------- the other issuer's token */

static enum err_code
gcs_subject_file(struct work_job *job, void *arg, struct err *reterr)
{
	struct gcs_federation    *f = arg;
	const struct gcs_account *a = f->account;
	struct buf                text;
	bool                      found, loose;
	enum err_code             rc;

	(void)job;
	buf_init(&text, 2 * GCS_ACCOUNT_MAX);
	buf_reserve(&text, GCS_ACCOUNT_MAX, NULL);
	rc = outside_read(f->env->source, a->source, &text, &found, &loose, reterr);
	if (rc == ERR_OK && !found)
		rc = err_set(reterr, ERR_AUTH, 0, "the token to exchange: %s is not there", a->source);
	else if (rc == ERR_OK && bearer_parse(buf_span(&text), a->member, f->now, 0, &f->subject, reterr) != ERR_OK)
		rc = err_set(reterr, ERR_AUTH, 0, "the token to exchange: %s holds none%s%s", a->source, a->member[0] != '\0' ? " as its member " :
		    "", a->member);
	if (rc == ERR_AUTH)
		err_hint(reterr, "whoever issues it has to put it there, and again before it expires: see credential_source of the credentials");
	buf_wipe_free(&text);
	return rc;
}

static struct op *
gcs_subject_url(struct gcs_federation *f)
{
	const struct gcs_account *a = f->account;

	f->from.who = "the token to exchange";
	f->from.method = "GET";
	f->from.url = a->source;
	f->from.member = a->member;
	f->from.no_proxy = strncmp(a->source, "http:", 5) == 0; /* a service of the machine: nobody else may be asked without TLS */
	memcpy(f->from.headers, a->headers, a->nheaders * sizeof(a->headers[0]));
	f->from.nheaders = a->nheaders;
	return bearer_fetch(f->env, &f->from, &f->subject);
}

static struct op *
gcs_subject(struct gcs_federation *f)
{
	switch (f->account->kind) {
	case GCS_FEDERATED_FILE:
		return work_run(f->env->work, gcs_subject_file, f);
	case GCS_FEDERATED_AWS:
		return gcs_aws_subject(f->env, f->account, &f->subject);
	default:
		return gcs_subject_url(f);
	}
}

/* ---------------------------------------------------------------- and ours for it */

/* Who may ask at all, where the pool wants to know. */
static void
gcs_sts_client(struct gcs_federation *f)
{
	const struct gcs_account *a = f->account;
	size_t                    room = strlen(a->client_id) + secret_len(a->client_secret) + 2;
	struct buf                plain, value;

	buf_init(&plain, 0);
	buf_reserve(&plain, room, NULL);
	buf_printf(&plain, "%s:%s", a->client_id, a->client_secret != NULL ? secret_str(a->client_secret) : "");
	buf_init(&value, 0);
	buf_reserve(&value, 16 + 2 * room, NULL);
	buf_puts(&value, "Basic ");
	base64_encode(buf_span(&plain), &value);
	buf_wipe_free(&plain);
	f->rq.headers[f->rq.nheaders++] = (struct http_header){ "authorization", buf_take(&value) };
}

static void
gcs_sts_options(struct buf *form, const char *project)
{
	struct json_writer w;
	struct buf         text;

	buf_init(&text, 0);
	json_begin(&w, &text);
	json_obj(&w);
	json_kv_str(&w, "userProject", project);
	json_obj_end(&w);
	url_form_add(form, "options", buf_str(&text));
	buf_free(&text);
}

static struct op *
gcs_sts_send(struct gcs_federation *f)
{
	const struct gcs_account *a = f->account;
	struct buf                form;

	buf_init(&form, 0);
	buf_reserve(&form, GCS_STS_ROOM + 3 * secret_len(f->subject.text), NULL);
	url_form_add(&form, "audience", a->audience);
	url_form_add(&form, "grant_type", GCS_STS_GRANT);
	if (a->user_project != NULL && a->client_id == NULL)
		gcs_sts_options(&form, a->user_project);
	url_form_add(&form, "requested_token_type", GCS_STS_WANTED);
	url_form_add(&form, "scope", f->scope);
	url_form_add(&form, "subject_token", secret_str(f->subject.text));
	url_form_add(&form, "subject_token_type", a->subject_type);
	f->rq.who = "exchanging the token of the workload identity";
	f->rq.method = "POST";
	f->rq.url = a->token_url;
	f->rq.body = body_new(&form);
	f->rq.secrets[0] = f->subject.text;
	f->rq.secrets[1] = a->client_secret;
	f->rq.headers[f->rq.nheaders++] = (struct http_header){ "content-type", xstrdup(URL_FORM_TYPE) };
	if (a->client_id != NULL)
		gcs_sts_client(f);
	return bearer_fetch(f->env, &f->rq, f->ret);
}

static enum op_turn
gcs_federation_step(struct op *op)
{
	struct gcs_federation *f = container_of(op, struct gcs_federation, op);

	switch ((enum gcs_federation_state)op->state) {
	case FEDERATION_START:
		f->now = loop_wall(op->loop);
		return op_await(op, FEDERATION_SUBJECT, gcs_subject(f));
	case FEDERATION_SUBJECT:
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, FEDERATION_ANSWERED, gcs_sts_send(f));
	case FEDERATION_ANSWERED:
		if (op->res.code == ERR_AUTH)
			err_hint(&op->res, "see that the pool's provider trusts this issuer, its audience and its attributes, and that the token is fresh");
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class gcs_federation_class = { "workload identity", gcs_federation_step, NULL, gcs_federation_free,
	gcs_federation_states, ARRAY_LEN(gcs_federation_states) };

struct op *
gcs_federated_token(const struct provider_env *env, const struct gcs_account *a, const char *scope, struct bearer *ret)
{
	struct gcs_federation *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &gcs_federation_class, env->loop);
	f->env = env;
	f->account = a;
	f->scope = scope;
	f->ret = ret;
	return &f->op;
}
