/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "gcs.h"
#include "net/sigv4.h"
#include "provider/outside.h"
#include "provider/s3/s3_cred.h"

/*
 * What proves an AWS identity to Google: a request to AWS's STS, GetCallerIdentity, which is signed but not sent. Google sends it and
 * learns whose it is. The keys are those of the environment, else of the instance, as Google's own libraries have it.
 */
#define GCS_AWS_ROLES       "/latest/meta-data/iam/security-credentials"
#define GCS_AWS_SESSION     "/latest/api/token"
#define GCS_AWS_SESSION_TTL "300"
#define GCS_AWS_TIMEOUT     ((int64_t)2000)
#define GCS_AWS_REGION_MAX  40

struct gcs_aws {
	struct op                  op;
	const struct provider_env *env;
	const struct gcs_account  *account;
	char                       region[GCS_AWS_REGION_MAX];
	char                      *session_url;
	char                       ttl[sizeof(GCS_AWS_SESSION_TTL)];
	struct s3_metadata         meta;
	struct s3_keys             keys;
	struct bearer              session, zone; /* of the instance's metadata */
	struct bearer_request      rq;
	char                      *session_text;
	struct bearer             *ret;
};

enum gcs_aws_state { AWS_START, AWS_SESSION, AWS_ZONE, AWS_REGION, AWS_KEYS };

static const char *const gcs_aws_states[] = { "start", "session", "zone", "region", "keys" };

static void
gcs_aws_free(struct op *op)
{
	struct gcs_aws *x = container_of(op, struct gcs_aws, op);

	mem_free_secret(x->session_text);
	free(x->session_url);
	free(x->meta.instance_url);
	s3_keys_free(&x->keys);
	bearer_wipe(&x->session);
	bearer_wipe(&x->zone);
	free(x);
}

/* ---------------------------------------------------------------- region and keys */

static const char *
gcs_aws_env_region(const struct provider_env *env)
{
	const char *region = outside_env(env, "AWS_REGION");

	return region != NULL ? region : outside_env(env, "AWS_DEFAULT_REGION");
}

static bool
gcs_aws_env_keys(struct gcs_aws *x)
{
	const char *id = outside_env(x->env, "AWS_ACCESS_KEY_ID"), *key = outside_env(x->env, "AWS_SECRET_ACCESS_KEY");
	const char *token = outside_env(x->env, "AWS_SESSION_TOKEN");

	if (id == NULL || key == NULL)
		return false;
	x->keys = (struct s3_keys){ xstrdup(id), secret_new(span_str(key)), token != NULL ? secret_new(span_str(token)) : NULL, 0 };
	return true;
}

/* Of "http://169.254.169.254/latest/meta-data/iam/security-credentials" what is before the path. */
static bool
gcs_aws_base(struct gcs_aws *x)
{
	const char *url = x->account->source, *at = url != NULL ? strstr(url, GCS_AWS_ROLES) : NULL;

	if (at == NULL)
		return false;
	x->meta.instance_url = xstrndup(url, (size_t)(at - url));
	return true;
}

/* value NULL: without the header. */
static struct op *
gcs_aws_ask(struct gcs_aws *x, const char *method, const char *url, const char *header, char *value, struct bearer *ret)
{
	x->rq = (struct bearer_request){ .who = "the instance's metadata", .method = method, .url = url, .no_proxy = true, .member = "",
		.timeout_ms = GCS_AWS_TIMEOUT, .headers = { { header, value } }, .nheaders = value != NULL };
	return bearer_fetch(x->env, &x->rq, ret);
}

static enum op_turn
gcs_aws_start(struct gcs_aws *x)
{
	struct op  *op = &x->op;
	const char *region = gcs_aws_env_region(x->env);
	bool        keys = gcs_aws_env_keys(x);

	snprintf(x->region, sizeof(x->region), "%s", region != NULL ? region : "");
	if ((!keys && !gcs_aws_base(x)) || (region == NULL && x->account->region_url == NULL)) {
		err_set(&op->res, ERR_CONFIG, 0, "no %s of AWS: neither in the environment, nor does credential_source say where the instance has "
		    "it", keys ? "region" : "credentials");
		err_hint(&op->res, "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or use credentials that "
		    "\"gcloud iam workload-identity-pools create-cred-config --aws\" made");
		return op_fail(op);
	}
	if (region != NULL)
		return op_go(op, AWS_REGION);
	if (x->meta.instance_url == NULL && !gcs_aws_base(x))
		return op_go(op, AWS_SESSION); /* the region without a session */
	x->session_url = xasprintf("%s" GCS_AWS_SESSION, x->meta.instance_url);
	memcpy(x->ttl, GCS_AWS_SESSION_TTL, sizeof(x->ttl));
	return op_await(op, AWS_SESSION, gcs_aws_ask(x, "PUT", x->session_url, "x-aws-ec2-metadata-token-ttl-seconds",
	    x->ttl, &x->session));
}

/* "us-east-1b": a zone is its region and a letter. */
static enum op_turn
gcs_aws_zoned(struct gcs_aws *x)
{
	const char *zone = secret_str(x->zone.text);
	size_t      n = strlen(zone);

	if (n < 2 || n >= sizeof(x->region)) {
		err_set(&x->op.res, ERR_CORRUPT, 0, "the instance's metadata names no zone");
		return op_fail(&x->op);
	}
	snprintf(x->region, sizeof(x->region), "%.*s", (int)n - 1, zone);
	return op_go(&x->op, AWS_REGION);
}

/* ---------------------------------------------------------------- the signed request */

static void
gcs_aws_pair(struct json_writer *w, const char *name, const char *value)
{
	json_obj(w);
	json_kv_str(w, "key", name);
	json_kv_str(w, "value", value);
	json_obj_end(w);
}

/* Where {region} stands in it, ours. Owned. */
static char *
gcs_aws_verify_url(const struct gcs_aws *x)
{
	const char *url = x->account->verify_url, *at = strstr(url, "{region}");

	if (at == NULL)
		return xstrdup(url);
	return xasprintf("%.*s%s%s", (int)(at - url), url, x->region, at + strlen("{region}"));
}

static void
gcs_aws_put(const struct gcs_aws *x, const char *url, const struct url *u, struct buf *ret)
{
	struct http_header audience = { "x-goog-cloud-target-resource", x->account->audience }, made[SIGV4_HEADERS_MAX];
	struct sigv4_key   key = { x->keys.access_key, x->keys.secret_key, x->keys.token, NULL };
	struct digest      empty;
	char               hex[DIGEST_HEX];
	size_t             n;
	struct json_writer w;
	struct buf         host;

	buf_init(&host, 0);
	url_host_header(u, &host);
	sha256_of("", 0, &empty);
	sigv4_sign(&key, &(struct sigv4_request){ .method = "POST", .host = buf_str(&host), .path = u->path, .query = u->query,
	    .headers = &audience, .nheaders = 1, .payload_hash = digest_hex(&empty, hex), .region = x->region, .service = "sts",
	    .wall_ms = loop_wall(x->op.loop) }, made, &n);
	json_begin(&w, ret);
	json_obj(&w);
	json_kv_str(&w, "url", url);
	json_kv_str(&w, "method", "POST");
	json_key(&w, "headers");
	json_arr(&w);
	for (size_t i = 0; i < n; i++) {
		gcs_aws_pair(&w, made[i].name, made[i].value);
		mem_free_secret(made[i].value);
	}
	gcs_aws_pair(&w, "host", buf_str(&host));
	gcs_aws_pair(&w, audience.name, audience.value);
	json_arr_end(&w);
	json_obj_end(&w);
	buf_free(&host);
}

static enum op_turn
gcs_aws_sign(struct gcs_aws *x)
{
	struct op *op = &x->op;
	char      *url = gcs_aws_verify_url(x);
	struct url u = { .scheme = NULL };
	struct buf text, form;

	if (url_parse(url, &u, &op->res) != ERR_OK) {
		err_prefix(&op->res, "regional_cred_verification_url");
		free(url);
		return op_fail(op);
	}
	buf_init(&text, 0);
	buf_reserve(&text, GCS_ACCOUNT_MAX, NULL);
	buf_init(&form, 0);
	buf_reserve(&form, GCS_ACCOUNT_MAX, NULL);
	gcs_aws_put(x, url, &u, &text);
	url_escape(URL_FORM, buf_span(&text), &form);
	*x->ret = (struct bearer){ secret_new(buf_span(&form)), 0 };
	buf_wipe_free(&text);
	buf_wipe_free(&form);
	url_free(&u);
	free(url);
	return op_ok(op);
}

static enum op_turn
gcs_aws_step(struct op *op)
{
	struct gcs_aws *x = container_of(op, struct gcs_aws, op);

	switch ((enum gcs_aws_state)op->state) {
	case AWS_START:
		return gcs_aws_start(x);
	case AWS_SESSION:
		if (op_failed(op))
			return op_fail(op);
		x->session_text = xstrdup(secret_str(x->session.text));
		return op_await(op, AWS_ZONE, gcs_aws_ask(x, "GET", x->account->region_url, "x-aws-ec2-metadata-token", x->session_text, &x->zone));
	case AWS_ZONE:
		return op_failed(op) ? op_fail(op) : gcs_aws_zoned(x);
	case AWS_REGION:
		if (x->keys.access_key != NULL)
			return op_go(op, AWS_KEYS);
		return op_await(op, AWS_KEYS, s3_instance_keys(x->env, &x->meta, &x->keys));
	case AWS_KEYS:
		return op_failed(op) ? op_fail(op) : gcs_aws_sign(x);
	}
	return OP_DONE;
}

static const struct op_class gcs_aws_class = { "identity of AWS", gcs_aws_step, NULL, gcs_aws_free, gcs_aws_states,
	ARRAY_LEN(gcs_aws_states) };

struct op *
gcs_aws_subject(const struct provider_env *env, const struct gcs_account *a, struct bearer *ret)
{
	struct gcs_aws *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &gcs_aws_class, env->loop);
	x->env = env;
	x->account = a;
	x->ret = ret;
	return &x->op;
}
