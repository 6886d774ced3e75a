/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "gcs.h"
#include "provider/outside.h"

/* One exchange for a token: a signed claim of a service account, the login of a user, the machine's own, and acting as another account. */
#define GCS_TOKEN_SECONDS   3600
#define GCS_TOKEN_EARLY_S   10               /* the claim was made a moment ago: clocks are not the same */
#define GCS_SKEW_MS         ((int64_t)5 * 60 * 1000)
#define GCS_MACHINE_HOST    "metadata.google.internal"
#define GCS_MACHINE_PATH    "/computeMetadata/v1/instance/service-accounts/default/token"
#define GCS_MACHINE_TIMEOUT ((int64_t)3000)
#define GCS_JWT_ROOM        8192             /* of one with a key of 4096 bits, which leaves no pieces behind */
#define GCS_FORM_ROOM       4096             /* more than the names of a form's members take beside its secrets */

struct gcs_asking {
	struct op                  op;
	const struct provider_env *env;
	const struct gcs_account  *account;
	const struct gcs_hop      *hop;
	const struct bearer       *with;
	const char                *project, *scope;
	struct jwt_header          header;
	struct buf                 claims, jwt;
	struct secret             *signature;     /* the signed claim: as good as a token while it lasts */
	int64_t                    until, date;
	char                       who[160], *url;
	struct bearer_request      rq;
	struct bearer             *ret;
};

enum gcs_asking_state { ASK_START, ASK_SIGNED, ASK_ANSWERED };

static const char *const gcs_asking_states[] = { "start", "signed", "answered" };

static void
gcs_asking_free(struct op *op)
{
	struct gcs_asking *x = container_of(op, struct gcs_asking, op);

	for (size_t i = 0; i < x->rq.nheaders; i++)
		mem_free_secret(x->rq.headers[i].value);
	body_unref(x->rq.body);
	buf_free(&x->claims);
	buf_wipe_free(&x->jwt);
	secret_free(x->signature);
	free(x->url);
	free(x);
}

static struct gcs_asking *
gcs_asking_new(const struct op_class *class, const struct provider_env *env, const struct gcs_account *a, const char *scope,
    struct bearer *ret)
{
	struct gcs_asking *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, class, env->loop);
	x->env = env;
	x->account = a;
	x->scope = scope;
	x->ret = ret;
	x->rq.who = x->who;
	x->rq.ret_date = &x->date;
	buf_init(&x->claims, JWT_CLAIMS_MAX);
	buf_init(&x->jwt, 0);
	return x;
}

static void
gcs_ask_header(struct gcs_asking *x, const char *name, char *owned)
{
	x->rq.headers[x->rq.nheaders++] = (struct http_header){ name, owned };
}

/* Takes the form, wiped with its body. */
static struct op *
gcs_ask_form(struct gcs_asking *x, struct buf *form)
{
	x->rq.method = "POST";
	x->rq.url = x->account->token_url;
	x->rq.body = body_new(form);
	gcs_ask_header(x, "content-type", xstrdup(URL_FORM_TYPE));
	return bearer_fetch(x->env, &x->rq, x->ret);
}

/* ---------------------------------------------------------------- the key of a service account */

/* aud NULL: for the service itself, which takes the signed claim as a token. */
static void
gcs_service_claims(struct gcs_asking *x, const char *aud)
{
	int64_t            now = loop_wall(x->op.loop) / 1000 - GCS_TOKEN_EARLY_S;
	struct json_writer w;

	x->until = (now + GCS_TOKEN_SECONDS) * 1000;
	json_begin(&w, &x->claims);
	json_obj(&w);
	json_kv_str(&w, "iss", x->account->email);
	if (aud == NULL)
		json_kv_str(&w, "sub", x->account->email);
	json_kv_str(&w, "scope", x->scope);
	if (aud != NULL)
		json_kv_str(&w, "aud", aud);
	json_kv_i64(&w, "exp", now + GCS_TOKEN_SECONDS);
	json_kv_i64(&w, "iat", now);
	json_obj_end(&w);
}

static struct op *
gcs_service_send(struct gcs_asking *x)
{
	struct buf form;

	x->signature = secret_new(buf_span(&x->jwt));
	x->rq.secrets[0] = x->signature;
	buf_init(&form, 0);
	buf_reserve(&form, GCS_FORM_ROOM + x->jwt.len, NULL);
	url_form_add(&form, "assertion", secret_str(x->signature));
	url_form_add(&form, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
	return gcs_ask_form(x, &form);
}

/* Clouds beside Google's own have no such endpoint. */
static bool
gcs_service_alone(const struct gcs_account *a)
{
	return a->universe != NULL && strcmp(a->universe, GCS_UNIVERSE) != 0;
}

static enum op_turn
gcs_service_refused(struct gcs_asking *x)
{
	struct op *op = &x->op;
	int64_t    off = x->date != 0 ? loop_wall(op->loop) - x->date : 0;
	char       text[TIME_TEXT_MAX];

	if (op->res.code == ERR_AUTH && (off > GCS_SKEW_MS || off < -GCS_SKEW_MS))
		err_hint(&op->res, "the clock here is %s %s: set it, e.g. by NTP", duration_format(off < 0 ? -off : off, text),
		    off > 0 ? "fast" : "slow");
	else if (op->res.code == ERR_AUTH)
		err_hint(&op->res, "its key may have been deleted, or the account be disabled: \"gcloud iam service-accounts keys list\" shows them");
	return op_fail(op);
}

static enum op_turn
gcs_service_step(struct op *op)
{
	struct gcs_asking *x = container_of(op, struct gcs_asking, op);
	bool               alone = gcs_service_alone(x->account);

	switch ((enum gcs_asking_state)op->state) {
	case ASK_START:
		gcs_service_claims(x, alone ? NULL : x->account->token_url);
		return op_await(op, ASK_SIGNED, jwt_sign_run(op->loop, x->env->work, x->account->key, &x->header, buf_span(&x->claims),
		    &x->jwt));
	case ASK_SIGNED:
		if (op_failed(op))
			return op_fail(op);
		if (!alone)
			return op_await(op, ASK_ANSWERED, gcs_service_send(x));
		*x->ret = (struct bearer){ secret_new(buf_span(&x->jwt)), x->until };
		return op_ok(op);
	case ASK_ANSWERED:
		return op_failed(op) ? gcs_service_refused(x) : op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class gcs_service_class = { "service account", gcs_service_step, NULL, gcs_asking_free, gcs_asking_states,
	ARRAY_LEN(gcs_asking_states) };

struct op *
gcs_service_token(const struct provider_env *env, const struct gcs_account *a, const char *scope, struct bearer *ret)
{
	struct gcs_asking *x = gcs_asking_new(&gcs_service_class, env, a, scope, ret);

	snprintf(x->who, sizeof(x->who), "a token for service account %.90s", a->email);
	x->header.kid = a->key_id;
	buf_reserve(&x->jwt, GCS_JWT_ROOM, NULL);
	return &x->op;
}

/* ---------------------------------------------------------------- the login of a user */

static struct op *
gcs_user_send(struct gcs_asking *x)
{
	const struct gcs_account *a = x->account;
	struct buf                form;

	x->rq.secrets[0] = a->client_secret;
	x->rq.secrets[1] = a->refresh_token;
	buf_init(&form, 0);
	buf_reserve(&form, GCS_FORM_ROOM + 3 * (secret_len(a->client_secret) + secret_len(a->refresh_token)), NULL);
	url_form_add(&form, "client_id", a->client_id);
	url_form_add(&form, "client_secret", secret_str(a->client_secret));
	url_form_add(&form, "grant_type", "refresh_token");
	url_form_add(&form, "refresh_token", secret_str(a->refresh_token));
	return gcs_ask_form(x, &form);
}

static enum op_turn
gcs_user_step(struct op *op)
{
	struct gcs_asking *x = container_of(op, struct gcs_asking, op);

	if (op->state == ASK_START)
		return op_await(op, ASK_ANSWERED, gcs_user_send(x));
	if (op->res.code == ERR_AUTH)
		err_hint(&op->res, "the login has expired or was withdrawn: gcloud auth application-default login");
	return op_finish(op);
}

static const struct op_class gcs_user_class = { "user login", gcs_user_step, NULL, gcs_asking_free, gcs_asking_states,
	ARRAY_LEN(gcs_asking_states) };

struct op *
gcs_user_token(const struct provider_env *env, const struct gcs_account *a, struct bearer *ret)
{
	struct gcs_asking *x = gcs_asking_new(&gcs_user_class, env, a, NULL, ret);

	snprintf(x->who, sizeof(x->who), "a token for the login of gcloud");
	return &x->op;
}

/* ---------------------------------------------------------------- the machine's own */

static struct op *
gcs_machine_send(struct gcs_asking *x)
{
	const char *host = outside_env(x->env, "GCE_METADATA_HOST");
	struct buf  url;

	buf_init(&url, 0);
	buf_printf(&url, "http://%s" GCS_MACHINE_PATH "?scopes=", host != NULL ? host : GCS_MACHINE_HOST);
	url_escape(URL_QUERY, span_str(x->scope), &url);
	x->url = buf_take(&url);
	x->rq.method = "GET";
	x->rq.url = x->url;
	x->rq.no_proxy = true;
	x->rq.timeout_ms = GCS_MACHINE_TIMEOUT;
	x->rq.needs_header = "metadata-flavor";
	x->rq.needs_value = "Google";
	gcs_ask_header(x, "metadata-flavor", xstrdup("Google"));
	return bearer_fetch(x->env, &x->rq, x->ret);
}

static enum op_turn
gcs_machine_step(struct op *op)
{
	struct gcs_asking *x = container_of(op, struct gcs_asking, op);

	if (op->state == ASK_START)
		return op_await(op, ASK_ANSWERED, gcs_machine_send(x));
	if (op->res.code == ERR_AUTH && op->res.detail == 404)
		err_hint(&op->res, "the machine has no service account: give it one, or set credentials");
	return op_finish(op);
}

static const struct op_class gcs_machine_class = { "metadata server", gcs_machine_step, NULL, gcs_asking_free, gcs_asking_states,
	ARRAY_LEN(gcs_asking_states) };

struct op *
gcs_machine_token(const struct provider_env *env, const char *scope, struct bearer *ret)
{
	struct gcs_asking *x = gcs_asking_new(&gcs_machine_class, env, NULL, scope, ret);

	snprintf(x->who, sizeof(x->who), "a token of the metadata server");
	return &x->op;
}

/* ---------------------------------------------------------------- another account */

static struct op *
gcs_hop_send(struct gcs_asking *x)
{
	const struct gcs_hop *h = x->hop;
	struct json_writer    w;
	struct buf            text;
	char                  seconds[24];

	snprintf(seconds, sizeof(seconds), "%llds", (long long)h->seconds);
	buf_init(&text, 0);
	json_begin(&w, &text);
	json_obj(&w);
	if (h->ndelegates > 0) {
		json_key(&w, "delegates");
		json_arr(&w);
		for (size_t i = 0; i < h->ndelegates; i++)
			json_str(&w, h->delegates[i]);
		json_arr_end(&w);
	}
	json_kv_str(&w, "lifetime", seconds);
	json_key(&w, "scope");
	json_arr(&w);
	json_str(&w, x->scope);
	json_arr_end(&w);
	json_obj_end(&w);
	x->rq.method = "POST";
	x->rq.url = h->url;
	x->rq.body = body_new(&text);
	x->rq.secrets[0] = x->with->text;
	gcs_ask_header(x, "authorization", xasprintf("Bearer %s", secret_str(x->with->text)));
	gcs_ask_header(x, "content-type", xstrdup("application/json"));
	if (x->project != NULL)
		gcs_ask_header(x, "x-goog-user-project", xstrdup(x->project));
	return bearer_fetch(x->env, &x->rq, x->ret);
}

static enum op_turn
gcs_hop_refused(struct gcs_asking *x)
{
	struct op *op = &x->op;
	char       email[100];

	gcs_hop_email(x->hop, email, sizeof(email));
	if (op->res.code == ERR_AUTH && op->res.detail == 403)
		err_hint(&op->res, "who asks needs the role Service Account Token Creator on %s%s, and the IAM Service Account Credentials API has "
		    "to be enabled", email, x->hop->ndelegates > 0 ? ", over each of the delegates" : "");
	else if (op->res.code == ERR_AUTH && op->res.detail == 404)
		err_hint(&op->res, "there is no such service account: check impersonate_service_account");
	return op_fail(op);
}

static enum op_turn
gcs_hop_step(struct op *op)
{
	struct gcs_asking *x = container_of(op, struct gcs_asking, op);

	if (op->state == ASK_START)
		return op_await(op, ASK_ANSWERED, gcs_hop_send(x));
	return op_failed(op) ? gcs_hop_refused(x) : op_ok(op);
}

static const struct op_class gcs_hop_class = { "act as an account", gcs_hop_step, NULL, gcs_asking_free, gcs_asking_states,
	ARRAY_LEN(gcs_asking_states) };

struct op *
gcs_hop_token(const struct provider_env *env, const struct gcs_hop *h, const struct bearer *with, const char *project,
    const char *scope, struct bearer *ret)
{
	struct gcs_asking *x = gcs_asking_new(&gcs_hop_class, env, NULL, scope, ret);
	char               email[100];

	x->hop = h;
	x->with = with;
	x->project = project;
	gcs_hop_email(h, email, sizeof(email));
	snprintf(x->who, sizeof(x->who), "acting as service account %s", email);
	return &x->op;
}
