/* SPDX-License-Identifier: MIT */
#include "gcs.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/name.h"
#include "provider/outside.h"

/* The driver: terraform's arguments, what follows from them, and the table of calls. */
#define GCS_JSON_PATH  "storage/v1/"  /* at the end of a custom endpoint, as terraform has it */
#define GCS_KEY_LEN    32
#define GCS_KEY_TEXT_MAX 16384
#define GCS_BUCKET_MIN 3
#define GCS_BUCKET_MAX 222

#define AT(member) offsetof(struct gcs_conf, member)

static const struct conf_field gcs_fields[] = {
	{ .name = "bucket", .type = CONF_STR, .offset = AT(bucket), .required = true, .help = "the bucket" },
	{ .name = "access_token", .type = CONF_SECRET, .offset = AT(access_token), .env = "GOOGLE_OAUTH_ACCESS_TOKEN",
	    .help = "a token that somebody else renews" },
	{ .name = "credentials", .type = CONF_SECRET, .offset = AT(credentials), .env = "GOOGLE_BACKEND_CREDENTIALS GOOGLE_CREDENTIALS",
	    .help = "credentials in JSON, or the path of a file with them" },
	{ .name = "impersonate_service_account", .type = CONF_STR, .offset = AT(impersonate_service_account),
	    .help = "act as this service account",
	    .env = "GOOGLE_BACKEND_IMPERSONATE_SERVICE_ACCOUNT GOOGLE_IMPERSONATE_SERVICE_ACCOUNT" },
	{ .name = "impersonate_service_account_delegates", .type = CONF_STRS, .offset = AT(impersonate_service_account_delegates),
	    .help = "accounts in between, the first one asked first" },
	{ .name = "encryption_key", .type = CONF_SECRET, .offset = AT(encryption_key), .env = "GOOGLE_ENCRYPTION_KEY",
	    .help = "encrypt states with this key, 32 bytes in base64, or the path of a file with them" },
	{ .name = "kms_encryption_key", .type = CONF_STR, .offset = AT(kms_encryption_key), .env = "GOOGLE_KMS_ENCRYPTION_KEY",
	    .help = "encrypt states with this key of Cloud KMS" },
	{ .name = "storage_custom_endpoint", .type = CONF_STR, .offset = AT(storage_custom_endpoint),
	    .env = "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT GOOGLE_STORAGE_CUSTOM_ENDPOINT",
	    .help = "another place than Google's: a URL that ends with \"/storage/v1/\"" },
	{ .name = "project", .type = CONF_STR, .offset = AT(project), .help = "where create = true makes the bucket" },
	{ .name = "location", .type = CONF_STR, .offset = AT(location), .def = "US", .help = "of a bucket that is made" },
	{ .name = "universe_domain", .type = CONF_STR, .offset = AT(universe_domain), .help = "another cloud of Google's make",
	    .env = "GOOGLE_BACKEND_UNIVERSE_DOMAIN" },
	{ .name = NULL },
};

static const struct conf_hidden gcs_hidden[] = { { "project", NULL }, { "location", NULL }, { "universe_domain", NULL }, { NULL, NULL } };

static bool
gcs_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* ---------------------------------------------------------------- names and objects */

/* "../", or several of them: nothing left to go up from. */
static bool
gcs_ends_above(const struct buf *b)
{
	return span_ends(buf_span(b), "../") && (b->len == 3 || b->data[b->len - 4] == '/');
}

/* As Go's path.Join does it, which terraform puts its names together with: no empty segment, "." or "..". */
static char *
gcs_clean_prefix(const char *text)
{
	struct buf out;
	size_t     n;

	buf_init(&out, 0);
	for (; *text != '\0'; text += n + (text[n] == '/')) {
		n = strcspn(text, "/");
		if (n == 0 || (n == 1 && text[0] == '.'))
			continue;
		if (n == 2 && strncmp(text, "..", 2) == 0 && out.len > 0 && !gcs_ends_above(&out)) {
			for (out.len--; out.len > 0 && out.data[out.len - 1] != '/'; out.len--)
				;
			continue;
		}
		buf_put(&out, text, n);
		buf_putc(&out, '/');
	}
	return buf_take(&out);
}

char *
gcs_object_of(const struct gcs *g, const char *name)
{
	return xasprintf("%s%s", g->prefix, name);
}

char *
gcs_lock_of(const struct gcs *g, const char *name)
{
	size_t n = strlen(name);

	if (span_ends(span_str(name), GCS_STATE))
		n -= strlen(GCS_STATE);
	return xasprintf("%s%.*s%s", g->prefix, (int)n, name, GCS_LOCK);
}

static void
gcs_workspace(const struct backend *b, const char *name, struct buf *ret)
{
	const char *slash = strrchr(name, '/'), *last = slash != NULL ? slash + 1 : name;
	size_t      n = strlen(last);

	(void)b;
	if (span_ends(span_str(last), GCS_STATE) && n > strlen(GCS_STATE))
		buf_put(ret, last, n - strlen(GCS_STATE));
	else
		buf_puts(ret, "default");
}

/* The prefix of terraform's block, below ours; a workspace is an object in it. */
static void
gcs_path(const struct backend *b, const char *name, struct buf *ret)
{
	const char *slash = strrchr(name, '/');

	(void)b;
	if (slash != NULL)
		buf_put(ret, name, (size_t)(slash - name));
}

static void
gcs_named(const struct backend *b, const char *path, const char *workspace, struct buf *ret)
{
	(void)b;
	buf_printf(ret, "%s%s%s" GCS_STATE, path, path[0] != '\0' ? "/" : "", workspace);
}

static void
gcs_address(const struct backend *b, const char *name, provider_argument_fn *put, void *arg)
{
	char *object = gcs_object_of(gcs_of(b), name), *slash = strrchr(object, '/');

	if (slash != NULL)
		*slash = '\0';
	put(arg, "prefix", slash != NULL ? object : NULL, false);
	free(object);
}

static const char *
gcs_signed_in(const struct backend *b)
{
	return gcs_cred_source(gcs_of(b)->cred);
}

static void
gcs_locate(const struct backend *b, const char *name, struct buf *ret)
{
	buf_puts(ret, gcs_of(b)->place);
	buf_puts(ret, name);
}

static void
gcs_lock_path(const struct backend *b, const char *name, struct buf *ret)
{
	char *lock = gcs_lock_of(gcs_of(b), name);

	buf_printf(ret, "gs://%s/%s", gcs_of(b)->conf->bucket, lock);
	free(lock);
}

/* Terraform knows the lock by its generation alone. */
static void
gcs_unlock_hint(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret)
{
	const char *id = l->generation[0] != '\0' ? l->generation : l->id;

	lock_info_unlock_by_both(b->label, name, id, ret);
}

/* ---------------------------------------------------------------- configuration */

static enum err_code
gcs_check(struct conf_block *block, const struct gcs_conf *c, struct err *reterr)
{
	size_t n = strlen(c->bucket);

	if (n < GCS_BUCKET_MIN || n > GCS_BUCKET_MAX || c->bucket[strspn(c->bucket, "abcdefghijklmnopqrstuvwxyz0123456789-_.")] != '\0')
		return conf_error(reterr, conf_where(block, "bucket"), "bucket: expected a bucket's name, 3 to 63 of a-z, 0-9, \"-\", \"_\" and \".\"");
	if (gcs_given(c->universe_domain) && c->universe_domain[strspn(c->universe_domain, "abcdefghijklmnopqrstuvwxyz0123456789-.")] != '\0')
		return conf_error(reterr, conf_where(block, "universe_domain"), "universe_domain: expected a domain, as \"" GCS_UNIVERSE "\" is one");
	if (gcs_given(secret_str(c->encryption_key)) && gcs_given(c->kms_encryption_key))
		return conf_error(reterr, conf_where(block, "encryption_key"), "either encryption_key or kms_encryption_key, not both");
	return ERR_OK;
}

static enum err_code
gcs_set_base(struct gcs *g, struct conf_block *block, struct err *reterr)
{
	const char *text = g->conf->storage_custom_endpoint;
	struct url  u = { .scheme = NULL };
	struct err  e;

	g->google = !gcs_given(text);
	if (g->google) {
		g->base = xasprintf("https://storage.%s/", gcs_given(g->conf->universe_domain) ? g->conf->universe_domain : GCS_UNIVERSE);
		return ERR_OK;
	}
	if (url_parse(text, &u, &e) != ERR_OK)
		return conf_error(reterr, conf_where(block, "storage_custom_endpoint"),
		    "storage_custom_endpoint: %s", e.msg);
	if (u.user != NULL || u.query != NULL || !span_ends(span_str(text), "/" GCS_JSON_PATH))
		conf_error(reterr, conf_where(block, "storage_custom_endpoint"),
		    "storage_custom_endpoint: expected a URL that ends with \"/%s\"", GCS_JSON_PATH);
	else
		g->base = xasprintf("%.*s", (int)(strlen(text) - strlen(GCS_JSON_PATH)), text);
	url_free(&u);
	return g->base != NULL ? ERR_OK : reterr->code;
}

static void
gcs_csek(struct gcs *g, const char *name, const char *value)
{
	g->csek[g->ncsek++] = (struct http_header){ name, xstrdup(value) };
}

/* Go's decoder passes over line ends. */
static bool
gcs_key_decode(const struct buf *text, struct buf *ret)
{
	struct buf line;
	bool       ok;

	buf_init(&line, GCS_KEY_TEXT_MAX);
	buf_reserve(&line, text->len, NULL);
	for (size_t i = 0; i < text->len; i++)
		if (text->data[i] != '\n' && text->data[i] != '\r')
			buf_putc(&line, (char)text->data[i]);
	ok = base64_decode(buf_span(&line), ret) && ret->len == GCS_KEY_LEN;
	buf_wipe_free(&line);
	return ok;
}

static enum err_code
gcs_set_key(struct gcs *g, struct conf *c, struct conf_block *block, struct err *reterr)
{
	const char   *given = secret_str(g->conf->encryption_key);
	struct buf    text, key, sum;
	struct digest d;
	struct err    e;
	enum err_code rc;

	if (!gcs_given(given))
		return ERR_OK;
	buf_init(&text, GCS_KEY_TEXT_MAX);
	buf_reserve(&text, GCS_KEY_TEXT_MAX, NULL);
	buf_init(&key, GCS_KEY_TEXT_MAX);
	buf_reserve(&key, GCS_KEY_TEXT_MAX, NULL);
	buf_init(&sum, 64);
	rc = outside_path_or_text(g->env, conf_dir(c), given, &text, &e);
	if (rc != ERR_OK) {
		rc = conf_error(reterr, conf_where(block, "encryption_key"), "encryption_key: %s", e.msg);
	} else if (!gcs_key_decode(&text, &key)) {
		rc = conf_error(reterr, conf_where(block, "encryption_key"),
		    "encryption_key: expected 32 bytes in base64 (44 characters), or a file with them");
	} else {
		sha256_of(key.data, key.len, &d);
		base64_encode(span_of(d.b, DIGEST_LEN), &sum);
		buf_reset(&text);
		base64_encode(buf_span(&key), &text);
		gcs_csek(g, "x-goog-encryption-algorithm", "AES256");
		gcs_csek(g, "x-goog-encryption-key", buf_str(&text));
		gcs_csek(g, "x-goog-encryption-key-sha256", buf_str(&sum));
	}
	buf_wipe_free(&text);
	buf_wipe_free(&key);
	buf_free(&sum);
	return rc;
}

static void
gcs_close(struct backend *b)
{
	struct gcs *g = gcs_of(b);

	for (size_t i = 0; i < g->ncsek; i++)
		mem_free_secret(g->csek[i].value);
	gcs_cred_free(g->cred);
	free(g->base);
	free(g->prefix);
	free(g->place);
	free(g);
}

static enum err_code
gcs_set_up(struct gcs *g, struct conf *c, struct conf_block *block, struct err *reterr)
{
	struct err e = { .code = ERR_OK };

	if (gcs_set_base(g, block, reterr) != ERR_OK || gcs_set_key(g, c, block, reterr) != ERR_OK)
		return reterr->code;
	if (gcs_cred_new(g->env, g->conf, conf_dir(c), &g->cred, &e) != ERR_OK) {
		conf_error(reterr, conf_where(block, e.msg), "%s", e.msg);
		return e.hint[0] != '\0' ? err_hint(reterr, "%s", e.hint) : reterr->code;
	}
	return ERR_OK;
}

static enum err_code
gcs_open(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
    const struct backend_common *common, struct backend **ret, struct err *reterr)
{
	struct gcs *g;
	bool        at_google;

	if (gcs_check(block, conf, reterr) != ERR_OK)
		return reterr->code;
	g = xcalloc(1, sizeof(*g));
	g->env = env;
	g->conf = conf;
	g->prefix = gcs_clean_prefix(common->prefix);
	if (gcs_set_up(g, c, block, reterr) != ERR_OK) {
		gcs_close(&g->b);
		return reterr->code;
	}
	at_google = strcmp(g->base, "https://storage." GCS_UNIVERSE "/") == 0;
	g->b.where = xasprintf("gs://%s%s%.*s%s%s", g->conf->bucket, g->prefix[0] != '\0' ? "/" : "",
	    g->prefix[0] != '\0' ? (int)strlen(g->prefix) - 1 : 0, g->prefix, at_google ? "" : " at ", at_google ? "" : g->base);
	g->place = xasprintf("%s %s/%s", at_google ? "" : g->base, g->conf->bucket, g->prefix);
	*ret = &g->b;
	return ERR_OK;
}

/* Preconditions of Google are known to hold; those of other servers have to be proven, and so has their lock. */
static unsigned
gcs_caps(const struct backend *b)
{
	return PROVIDER_LIST | PROVIDER_HISTORY | PROVIDER_LOCK | PROVIDER_LOCK_ID | PROVIDER_IF_MATCH | PROVIDER_CAS |
	    (gcs_of(b)->google ? 0u : (unsigned)(PROVIDER_UNPROVEN | PROVIDER_LOCK_UNPROVEN));
}

const struct provider provider_gcs = {
	.name = "gcs",
	.summary = "Google Cloud Storage",
	.suffix = GCS_STATE,
	.key_max = GCS_NAME_MAX,
	.fields = gcs_fields,
	.conf_size = sizeof(struct gcs_conf),
	.prefix_help = "terraform's own: the folder of the states in the bucket",
	.open = gcs_open,
	.close = gcs_close,
	.caps = gcs_caps,
	.workspace = gcs_workspace,
	.path = gcs_path,
	.named = gcs_named,
	.address = gcs_address,
	.hidden = gcs_hidden,
	.locate = gcs_locate,
	.create = gcs_create,
	.history = gcs_history,
	.get_version = gcs_get_version,
	.probe = gcs_probe,
	.list = gcs_list,
	.head = gcs_head,
	.get = gcs_get,
	.put = gcs_put,
	.del = gcs_del,
	.lock = gcs_lock,
	.unlock = gcs_unlock,
	.lock_peek = gcs_lock_peek,
	.lock_path = gcs_lock_path,
	.signed_in = gcs_signed_in,
	.unlock_hint = gcs_unlock_hint,
};
