/* SPDX-License-Identifier: MIT */
#include "s3.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/name.h"
#include "provider/outside.h"

/* The driver: what follows from its arguments, and the table of calls. */
#define S3_BUCKET_MIN     3
#define S3_BUCKET_MAX     255
#define S3_BUCKET_DNS_MAX 63
#define S3_REGION_MAX     63
#define S3_SSE_KEY_LEN    32

static const struct conf_hidden s3_hidden[] = { { "access_key", "AWS_ACCESS_KEY_ID" }, { "secret_key", "AWS_SECRET_ACCESS_KEY" },
	{ "token", "AWS_SESSION_TOKEN" }, { "web_identity_token", NULL }, { NULL, NULL } };

static const char *
s3_signed_in(const struct backend *b)
{
	return s3_cred_source(s3_of(b)->cred);
}

static void
s3_locate(const struct backend *b, const char *name, struct buf *ret)
{
	buf_puts(ret, s3_of(b)->place);
	buf_puts(ret, name);
}

static void
s3_lock_path(const struct backend *b, const char *name, struct buf *ret)
{
	buf_printf(ret, "%s/%s%s", s3_of(b)->conf->bucket, b->common.prefix, name);
}

static void
s3_unlock_hint(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret)
{
	lock_info_unlock_by_both(b->label, name, l->id, ret);
}

/* ---------------------------------------------------------------- checks of the configuration */

static bool
s3_only(const char *text, const char *more)
{
	for (; *text != '\0'; text++)
		if (!((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') || strchr(more, *text) != NULL))
			return false;
	return true;
}

/* What a host name takes as a label that the wildcard of the certificate covers. */
static bool
s3_bucket_fits_host(const char *bucket)
{
	size_t n = strlen(bucket);

	return n <= S3_BUCKET_DNS_MAX && s3_only(bucket, "-") && bucket[0] != '-' && bucket[n - 1] != '-';
}

static enum err_code
s3_check_names(struct conf_block *block, const struct s3_conf *c, const struct backend_common *common, struct err *reterr)
{
	static const char upper[] = "-._ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t            n = strlen(c->bucket), w = strlen(c->workspace_key_prefix);
	struct err        e;

	if (n < S3_BUCKET_MIN || n > S3_BUCKET_MAX || !s3_only(c->bucket, upper) || strcmp(c->bucket, "..") == 0)
		return conf_error(reterr, conf_where(block, "bucket"), "bucket: expected a bucket's name, 3 to 63 of a-z, 0-9, \"-\" and \".\"");
	if (w > 0 && (c->workspace_key_prefix[0] == '/' || c->workspace_key_prefix[w - 1] == '/'))
		return conf_error(reterr, conf_where(block, "workspace_key_prefix"), "workspace_key_prefix neither begins nor ends with \"/\"");
	if (!s3_given(c->key))
		return ERR_OK;
	if (c->key[0] == '/' || span_ends(span_str(c->key), "/"))
		return conf_error(reterr, conf_where(block, "key"), "key neither begins nor ends with \"/\"");
	if (name_check(span_str(c->key), &e) != ERR_OK)
		return conf_error(reterr, conf_where(block, "key"), "key: %s", e.msg);
	if (common->prefix[0] != '\0')
		return conf_error(reterr, conf_where(block, "key"), "either key (one state and its workspaces) or prefix, not both");
	return ERR_OK;
}

static enum err_code
s3_check_blocks(struct conf_block *block, struct err *reterr)
{
	for (size_t i = 0; i < block->nblocks; i++) {
		const struct conf_block *inner = &block->blocks[i];

		if (strcmp(inner->type, "endpoints") == 0)
			return conf_error(reterr, inner->pos,
			    "\"endpoints\" is an argument; expected endpoints = { s3 = \"URL\" }");
	}
	return ERR_OK;
}

/* A service of "endpoints", and the older argument of the same meaning; those of services that are never asked may stand there. */
struct s3_service {
	const char *name, *argument;
	size_t      offset; /* in struct s3_conf, of the argument */
};

#define AT(member) offsetof(struct s3_conf, member)

static const struct s3_service s3_services[] = { { "s3", "endpoint", AT(endpoint) },
	{ "dynamodb", "dynamodb_endpoint", AT(dynamodb_endpoint) }, { "sts", "sts_endpoint", AT(sts_endpoint) },
	{ "iam", "iam_endpoint", AT(iam_endpoint) }, { "sso", NULL, 0 } };

static enum err_code
s3_unknown_service(struct conf_pos pos, const char *key, struct err *reterr)
{
	static const char *const names[] = { "dynamodb", "iam", "s3", "sso", "sts", NULL };
	const char              *near = name_closest(key, names);

	return conf_error(reterr, pos, "endpoints: unknown service \"%.40s\"%s%s%s", key, near != NULL ? ", did you mean \"" :
	    "; expected s3", near != NULL ? near : "", near != NULL ? "\"?" : "");
}

static enum err_code
s3_check_endpoints(struct conf_block *block, const struct s3_conf *c, struct err *reterr)
{
	struct conf_attr *attr = conf_attr(block, "endpoints");

	for (size_t i = 0; i < c->endpoints.n; i++) {
		size_t k = 0;

		while (k < ARRAY_LEN(s3_services) && strcmp(s3_services[k].name, c->endpoints.keys[i]) != 0)
			k++;
		if (k == ARRAY_LEN(s3_services))
			return s3_unknown_service(attr->value.items[i].pos, c->endpoints.keys[i], reterr);
		if (s3_services[k].argument != NULL && conf_attr(block, s3_services[k].argument) != NULL &&
		    s3_given(*(const char *const *)((const char *)c + s3_services[k].offset)))
			return conf_error(reterr, conf_where(block, "endpoints"), "either endpoints = { %s = URL } or %s, not both", s3_services[k].name,
			    s3_services[k].argument);
	}
	return ERR_OK;
}

/* The block's own, the environment's, the profile's; NULL: AWS. u: parsed, if there is one. */
static enum err_code
s3_endpoint_of(struct s3 *s, struct conf_block *block, const struct s3_profile *profile, const char *service, struct url *u,
    const char **ret, struct err *reterr)
{
	const struct s3_conf    *c = s->conf;
	const struct s3_service *at = s3_services;
	const char              *text = NULL, *old = NULL, *ignore = outside_env(s->env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	struct err               e;

	while (strcmp(at->name, service) != 0)
		at++;
	if (at->argument != NULL)
		old = *(const char *const *)((const char *)c + at->offset);
	else
		old = outside_env(s->env, "AWS_ENDPOINT_URL_SSO");
	for (size_t i = 0; i < c->endpoints.n; i++)
		if (strcmp(c->endpoints.keys[i], service) == 0)
			text = c->endpoints.values[i];
	if (text == NULL && ((at->argument != NULL && conf_attr(block, at->argument) != NULL) || ignore == NULL || strcmp(ignore, "true") != 0))
		text = s3_given(old) ? old : profile->endpoint_url;
	*ret = s3_given(text) ? text : NULL;
	if (*ret == NULL)
		return ERR_OK;
	if (url_parse(text, u, &e) != ERR_OK)
		return conf_error(reterr, conf_where(block, "endpoints"), "endpoint of %s: %s", service, e.msg);
	if (u->user != NULL || u->query != NULL)
		return conf_error(reterr, conf_where(block, "endpoints"), "endpoint of %s: expected scheme, host and perhaps a path, nothing else", service);
	return ERR_OK;
}

/* The table's region is the configured one, wherever the bucket turns out to be. */
static enum err_code
s3_set_table(struct s3 *s, struct conf_block *block, const struct s3_profile *profile, struct err *reterr)
{
	struct url  u = { .scheme = NULL };
	const char *text;
	char       *host;

	if (!s3_has_table(s))
		return ERR_OK;
	if (s3_endpoint_of(s, block, profile, "dynamodb", &u, &text, reterr) != ERR_OK) {
		url_free(&u);
		return reterr->code;
	}
	url_free(&u);
	s->table_region = xstrdup(s->region);
	host = text == NULL ? aws_host(s->conf, "dynamodb", s->region) : NULL;
	s->table_endpoint = text == NULL ? xasprintf("https://%s", host) : xstrdup(text);
	free(host);
	return ERR_OK;
}

/* No bucket can stand before an address. */
static bool
s3_is_address(const char *host)
{
	return strchr(host, ':') != NULL || strspn(host, "0123456789.") == strlen(host);
}

static enum err_code
s3_set_region(struct s3 *s, struct conf_block *block, const struct s3_profile *profile, struct err *reterr)
{
	const char *region = s3_given(s->conf->region) ? s->conf->region : profile->region;

	if (!s3_given(region))
		return conf_error(reterr, block->pos, "expected the argument \"region\", or the environment variable AWS_REGION");
	if (!s3_only(region, "-_ABCDEFGHIJKLMNOPQRSTUVWXYZ") || strlen(region) > S3_REGION_MAX)
		return conf_error(reterr, conf_where(block, "region"), "region: expected a region's name such as \"eu-west-3\"");
	s->region = xstrdup(region);
	return ERR_OK;
}

/* Where roles are taken: regional, as all current SDKs have it. */
static enum err_code
s3_set_sts(struct s3 *s, struct conf_block *block, const struct s3_profile *profile, struct err *reterr)
{
	struct s3_sts sts = { .region = xstrdup(s3_given(s->conf->sts_region) ? s->conf->sts_region : s->region) };
	struct url    u[2] = { { .scheme = NULL }, { .scheme = NULL } };
	const char   *text, *sso = NULL;
	char         *host = aws_host(s->conf, "sts", sts.region);
	enum err_code rc = s3_endpoint_of(s, block, profile, "sts", &u[0], &text, reterr);

	if (rc == ERR_OK)
		rc = s3_endpoint_of(s, block, profile, "sso", &u[1], &sso, reterr);
	if (rc == ERR_OK) {
		sts.endpoint = text != NULL ? xstrdup(text) : xasprintf("https://%s", host);
		sts.sso_endpoint = xstrdup(sso);
	}
	free(host);
	url_free(&u[0]);
	url_free(&u[1]);
	s3_cred_place(s->cred, &sts);
	return rc;
}

static void
s3_sse(struct http_header *list, size_t *n, const char *name, const char *value)
{
	assert(*n < S3_SSE_HEADERS);
	list[(*n)++] = (struct http_header){ name, xstrdup(value) };
}

/* SSE-C: the key goes with every read too. */
static enum err_code
s3_set_customer_key(struct s3 *s, struct conf_block *block, struct err *reterr)
{
	const char       *text = secret_str(s->conf->sse_customer_key);
	struct buf        key, sum;
	uint8_t           md5[MD5_LEN];
	bool              ok;

	buf_init(&key, 64);
	buf_init(&sum, 64);
	buf_reserve(&key, 64, NULL);
	ok = base64_decode(span_str(text), &key) && key.len == S3_SSE_KEY_LEN;
	if (ok) {
		md5_of(key.data, key.len, md5);
		base64_encode(span_of(md5, sizeof(md5)), &sum);
		for (int i = 0; i < 2; i++) {
			struct http_header *list = i == 0 ? s->sse_write : s->sse_read;
			size_t             *n = i == 0 ? &s->nsse_write : &s->nsse_read;

			s3_sse(list, n, "x-amz-server-side-encryption-customer-algorithm", "AES256");
			s3_sse(list, n, "x-amz-server-side-encryption-customer-key", text);
			s3_sse(list, n, "x-amz-server-side-encryption-customer-key-md5", buf_str(&sum));
		}
	}
	buf_wipe_free(&key);
	buf_free(&sum);
	return ok ? ERR_OK : conf_error(reterr, conf_where(block, "sse_customer_key"), "sse_customer_key: expected 32 bytes in base64 (44 characters)");
}

static enum err_code
s3_set_encryption(struct s3 *s, struct conf_block *block, struct err *reterr)
{
	const struct s3_conf *c = s->conf;
	bool                  customer = c->sse_customer_key != NULL && secret_len(c->sse_customer_key) > 0;

	if (customer && s3_given(c->kms_key_id))
		return conf_error(reterr, conf_where(block, "kms_key_id"), "either kms_key_id or sse_customer_key, not both");
	if (!c->encrypt)
		return ERR_OK;
	if (customer)
		return s3_set_customer_key(s, block, reterr);
	s3_sse(s->sse_write, &s->nsse_write, "x-amz-server-side-encryption", s3_given(c->kms_key_id) ? "aws:kms" : "AES256");
	if (s3_given(c->kms_key_id))
		s3_sse(s->sse_write, &s->nsse_write, "x-amz-server-side-encryption-aws-kms-key-id", c->kms_key_id);
	return ERR_OK;
}

/* ---------------------------------------------------------------- opening and closing */

static void
s3_wipe_headers(struct http_header *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mem_free_secret(list[i].value);
}

void
s3_clear(struct s3 *s)
{
	s3_cred_free(s->cred);
	s3_wipe_headers(s->sse_write, s->nsse_write);
	s3_wipe_headers(s->sse_read, s->nsse_read);
	url_free(&s->endpoint);
	s3_held_free_all(s);
	free(s->region);
	free(s->table_region);
	free(s->table_endpoint);
	free(s->place);
}

static void
s3_close(struct backend *b)
{
	s3_clear(s3_of(b));
	free(s3_of(b));
}

static void
s3_set_where(struct s3 *s, const struct backend_common *common)
{
	const char *what = s3_given(s->conf->key) ? s->conf->key : common->prefix;
	struct buf  endpoint;

	buf_init(&endpoint, 0);
	if (s->endpoint.scheme != NULL)
		url_print(&s->endpoint, &endpoint);
	s->b.where = xasprintf("s3://%s%s%s%s%s", s->conf->bucket, what[0] != '\0' ? "/" : "", what, endpoint.len > 0 ? " at " : "",
	    buf_str(&endpoint));
	s->place = xasprintf("%s %s/%s", buf_str(&endpoint), s->conf->bucket, common->prefix);
	buf_free(&endpoint);
}

static enum err_code
s3_check_accounts(struct conf_block *block, const struct s3_conf *c, struct err *reterr)
{
	if (c->max_retries < 0)
		return conf_error(reterr, conf_where(block, "max_retries"), "max_retries is not negative");
	if (c->allowed_account_ids.n > 0 && c->forbidden_account_ids.n > 0)
		return conf_error(reterr, conf_where(block, "allowed_account_ids"), "either allowed_account_ids or forbidden_account_ids, not both");
	if (c->skip_requesting_account_id && (c->allowed_account_ids.n > 0 || c->forbidden_account_ids.n > 0))
		return conf_error(reterr, conf_where(block, "skip_requesting_account_id"),
		    "skip_requesting_account_id = true cannot stand beside allowed_account_ids or "
		    "forbidden_account_ids");
	return ERR_OK;
}

enum err_code
s3_set_aws(struct s3 *s, struct conf *c, struct conf_block *block, struct s3_profile *profile, struct err *reterr)
{
	struct err e = { .code = ERR_OK };

	if (s3_check_accounts(block, s->conf, reterr) != ERR_OK || s3_roles_read(s, c, block, reterr) != ERR_OK)
		return reterr->code;
	if (s3_cred_new(s->env, s->conf, conf_dir(c), s->web.arn != NULL ? &s->web : NULL, s->role.arn != NULL ? &s->role : NULL, &s->cred,
	        profile, &e) != ERR_OK) {
		conf_error(reterr, conf_where(block, e.msg), "%s", e.msg);
		return e.hint[0] != '\0' ? err_hint(reterr, "%s", e.hint) : reterr->code;
	}
	if (s3_set_region(s, block, profile, reterr) != ERR_OK || s3_set_table(s, block, profile, reterr) != ERR_OK)
		return reterr->code;
	return s3_set_sts(s, block, profile, reterr);
}

static enum err_code
s3_set_up(struct s3 *s, struct conf *c, struct conf_block *block, struct s3_profile *profile, struct err *reterr)
{
	const char *validation = outside_env(s->env, "AWS_RESPONSE_CHECKSUM_VALIDATION"), *text;
	struct span host;

	if (s3_check_endpoints(block, s->conf, reterr) != ERR_OK || s3_set_aws(s, c, block, profile, reterr) != ERR_OK ||
	    s3_endpoint_of(s, block, profile, "s3", &s->endpoint, &text, reterr) != ERR_OK ||
	    s3_set_encryption(s, block, reterr) != ERR_OK)
		return reterr->code;
	host = span_str(s->endpoint.host);
	s->aws = host.n == 0 || span_ends(host, ".amazonaws.com") || span_ends(host, ".amazonaws.com.cn");
	s->path_style = s->conf->use_path_style || s->conf->force_path_style || !s3_bucket_fits_host(s->conf->bucket) ||
	    (host.n > 0 && s3_is_address(s->endpoint.host));
	s->checksum_mode = validation == NULL || strcmp(validation, "when_required") != 0;
	return ERR_OK;
}

static enum err_code
s3_open(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
    const struct backend_common *common, struct backend **ret, struct err *reterr)
{
	struct s3_profile profile = { .region = NULL };
	struct s3        *s;
	enum err_code     rc;

	if (s3_check_blocks(block, reterr) != ERR_OK || s3_check_names(block, conf, common, reterr) != ERR_OK)
		return reterr->code;
	s = xcalloc(1, sizeof(*s));
	s->env = env;
	s->conf = conf;
	aws_net_init(&s->net, env, conf, common->timeout_ms);
	s->net.b = &s->b;
	rc = s3_set_up(s, c, block, &profile, reterr);
	s3_profile_free(&profile);
	if (rc != ERR_OK) {
		s3_close(&s->b);
		return rc;
	}
	s3_set_where(s, common);
	*ret = &s->b;
	return ERR_OK;
}

/* Preconditions of AWS are known to hold; those of others have to be proven. */
static unsigned
s3_caps(const struct backend *b)
{
	const struct s3 *s = s3_of(b);
	bool             table = s3_has_table(s);

	return PROVIDER_LIST | PROVIDER_HISTORY | PROVIDER_IF_MATCH | PROVIDER_CAS |
	    (s->conf->use_lockfile || table ? PROVIDER_LOCK | PROVIDER_LOCK_ID : 0u) | (table ? PROVIDER_LOCK_UNLISTED : 0u) |
	    (s->aws ? 0u : (unsigned)PROVIDER_UNPROVEN);
}

static const char *const s3_blocks[] = { "assume_role", "assume_role_with_web_identity", "endpoints", NULL };

const struct provider provider_s3 = {
	.name = "s3",
	.summary = "Amazon S3 and stores that speak its protocol",
	.suffix = S3_STATE,
	.key_max = S3_KEY_MAX - (sizeof(S3_LOCK_SUFFIX) - 1),
	.fields = s3_fields,
	.blocks = s3_blocks,
	.conf_size = sizeof(struct s3_conf),
	.open = s3_open,
	.close = s3_close,
	.caps = s3_caps,
	.workspace = s3_workspace,
	.fixed = s3_fixed,
	.path = s3_path,
	.named = s3_named,
	.address = s3_address,
	.hidden = s3_hidden,
	.locate = s3_locate,
	.create = s3_create,
	.list = s3_list,
	.head = s3_head,
	.get = s3_get,
	.put = s3_put,
	.del = s3_del,
	.lock = s3_lock,
	.unlock = s3_unlock,
	.seal = s3_seal,
	.lock_peek = s3_lock_peek,
	.history = s3_history,
	.get_version = s3_get_version,
	.probe = s3_probe,
	.lock_path = s3_lock_path,
	.signed_in = s3_signed_in,
	.unlock_hint = s3_unlock_hint,
};
