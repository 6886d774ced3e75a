/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <stdlib.h>

#include "net/url.h"

#define HARNESS_ENDPOINT "https://app.harness.io/gateway"
#define HARNESS_USER     "harness"
#define HARNESS_API      "/iacm/api" /* below the endpoint */
#define HARNESS_ID       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$-"

#define AT(member) offsetof(struct harness_conf, member)

static const struct conf_field harness_fields[] = {
	{ "endpoint", CONF_STR, AT(endpoint), .def = HARNESS_ENDPOINT, .env = "HARNESS_ENDPOINT", .help = "of the platform" },
	{ "account_id", CONF_STR, AT(account_id), .env = "HARNESS_ACCOUNT_ID", .help = "identifier of the account" },
	{ "org_id", CONF_STR, AT(org_id), .help = "identifier of the organization" },
	{ "project_id", CONF_STR, AT(project_id), .help = "identifier of the project" },
	{ "workspaces", CONF_STRS, AT(workspaces), .help = "identifiers of the workspaces (default: every one of the project)" },
	{ "api_key", CONF_SECRET, AT(api_key), .env = "HARNESS_PLATFORM_API_KEY HARNESS_API_KEY",
	    .help = "personal or service account token; better env() or file()" },
	{ "address", CONF_STR, AT(address), .help = "of one workspace's state, in place of endpoint and identifiers" },
	{ "lock_address", CONF_STR, AT(lock_address), .help = "goes with address" },
	{ "lock_method", CONF_STR, AT(lock_method), .help = "goes with address: POST" },
	{ "unlock_address", CONF_STR, AT(unlock_address), .help = "goes with address" },
	{ "unlock_method", CONF_STR, AT(unlock_method), .help = "goes with address: DELETE" },
	{ "update_method", CONF_STR, AT(update_method), .help = "goes with address: POST" },
	{ "username", CONF_STR, AT(username), .def = HARNESS_USER, .help = "goes with password" },
	{ "password", CONF_SECRET, AT(password), .env = "TF_HTTP_PASSWORD", .help = "the token, sent as Basic authentication, without api_key" },
	{ "skip_cert_verification", CONF_BOOL, AT(skip_cert_verification), .def = "false", .help = "trust any server certificate" },
	{ "client_ca_certificate_pem", CONF_STR, AT(client_ca_certificate_pem), .help = "PEM text that replaces the system's roots" },
	{ "retry_max", CONF_INT, AT(retry_max), .def = "2", .help = "how often a request is repeated where that is safe" },
	{ "retry_wait_min", CONF_SECONDS, AT(retry_wait_min), .def = "1", .help = "seconds before the first repetition; doubled each time" },
	{ "retry_wait_max", CONF_SECONDS, AT(retry_wait_max), .def = "30", .help = "seconds, at most" },
	{ .name = NULL },
};

#undef AT

static enum err_code
harness_error(struct err *reterr, struct conf_block *block, const char *argument, const char *what)
{
	return conf_error(reterr, conf_where(block, argument), "%s %s", argument, what);
}

/* ---------------------------------------------------------------- address */

/* Behind literal, which at begins with: *ret an identifier, and what follows it. NULL: not so. */
static const char *
harness_part(struct conf *c, const char *at, const char *literal, const char **ret)
{
	size_t n = strlen(literal);

	if (at == NULL || strncmp(at, literal, n) != 0)
		return NULL;
	at += n;
	n = strspn(at, HARNESS_ID);
	*ret = arena_span(conf_arena(c), span_of(at, n));
	return n > 0 ? at + n : NULL;
}

/* "ENDPOINT/orgs/O/projects/P/workspaces/W/terraform-backend?accountIdentifier=A", and the lock beside it, say it all. */
static enum err_code
harness_take_address(struct conf *c, struct conf_block *block, struct harness_conf *hc, struct err *reterr)
{
	static const char *const own[] = { "endpoint", "account_id", "org_id", "project_id" };
	const char              *at = strstr(hc->address, "/orgs/"), **workspace = arena_alloc(conf_arena(c), sizeof(*workspace));
	const char              *lock;
	struct { const char *name, *is, *want; } rest[] = { { "lock_address", hc->lock_address, NULL },
		{ "unlock_address", hc->unlock_address, NULL }, { "lock_method", hc->lock_method, "POST" },
		{ "unlock_method", hc->unlock_method, "DELETE" }, { "update_method", hc->update_method, "POST" } };

	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (conf_attr(block, own[i]) != NULL)
			return harness_error(reterr, block, own[i], "is what address says already: one of them is enough");
	hc->endpoint = at == NULL ? "" : arena_span(conf_arena(c), span_of(hc->address, (size_t)(at - hc->address)));
	at = harness_part(c, at, "/orgs/", &hc->org_id);
	at = harness_part(c, at, "/projects/", &hc->project_id);
	at = harness_part(c, at, "/workspaces/", workspace);
	at = harness_part(c, at, "/terraform-backend?accountIdentifier=", &hc->account_id);
	if (at == NULL || *at != '\0') {
		harness_error(reterr, block, "address", "is not that of a Harness workspace");
		return err_hint(reterr, "expected ENDPOINT/orgs/ORG/projects/PROJECT/workspaces/WORKSPACE/terraform-backend"
		    "?accountIdentifier=ACCOUNT, as the workspace's CLI integration shows it");
	}
	if (hc->workspaces.items == NULL)
		hc->workspaces = (struct conf_strs){ workspace, 1 };
	lock = arena_printf(conf_arena(c), "%.*s/lock%s", (int)strcspn(hc->address, "?"), hc->address, strchr(hc->address, '?'));
	rest[0].want = rest[1].want = lock;
	for (size_t i = 0; i < ARRAY_LEN(rest); i++)
		if (rest[i].is != NULL && strcmp(rest[i].is, rest[i].want) != 0)
			return harness_error(reterr, block, rest[i].name, "is not the one that goes with address at Harness");
	return ERR_OK;
}

/* ---------------------------------------------------------------- the rest of the configuration */

static enum err_code
harness_check(struct conf_block *block, const struct harness_conf *hc, struct err *reterr)
{
	const struct { const char *name, *is; } ids[] = { { "account_id", hc->account_id }, { "org_id", hc->org_id },
		{ "project_id", hc->project_id } };
	static const char *const rest[] = { "lock_address", "lock_method", "unlock_address", "unlock_method", "update_method" };

	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		if (ids[i].is == NULL || ids[i].is[0] == '\0')
			return harness_error(reterr, block, ids[i].name, "is missing, and address does not say it either");
		if (ids[i].is[strspn(ids[i].is, HARNESS_ID)] != '\0')
			return harness_error(reterr, block, ids[i].name, "is an identifier, not the name that people see");
	}
	for (size_t i = 0; i < ARRAY_LEN(rest) && hc->address == NULL; i++)
		if (conf_attr(block, rest[i]) != NULL)
			return harness_error(reterr, block, rest[i], "goes with address, which is not set");
	for (size_t i = 0; i < hc->workspaces.n; i++)
		if (!hb_harness.fits(hc->workspaces.items[i]))
			return harness_error(reterr, block, "workspaces", "are identifiers, not the names that people see");
	if (hc->api_key == NULL && hc->address == NULL) { /* a block of terraform's is right without, and told when it is used */
		conf_error(reterr, block->pos, "there is no API key of Harness");
		return err_hint(reterr, "%s", hb_harness.no_credentials);
	}
	return ERR_OK;
}

static enum err_code
harness_check_common(struct conf_block *block, const struct backend_common *common, struct err *reterr)
{
	if (common->prefix[0] != '\0')
		return harness_error(reterr, block, "prefix", "is of no use here: workspaces have no folders");
	if (common->create)
		return harness_error(reterr, block, "create", "cannot be: a workspace needs a repository, and is made in Harness");
	return ERR_OK;
}

/* The endpoint is that of the platform, or of its API as examples write it. */
static const char *
harness_base(struct conf *c, const char *endpoint)
{
	struct span s = span_str(endpoint);

	while (span_ends(s, "/"))
		s.n--;
	if (span_ends(s, HARNESS_API))
		s.n -= strlen(HARNESS_API);
	return arena_printf(conf_arena(c), "%.*s" HARNESS_API, (int)s.n, (const char *)s.p);
}

/* What an http backend would have to say for it. */
static struct hb_conf *
harness_http(struct conf *c, const struct harness *x, const struct harness_conf *hc)
{
	struct arena   *a = conf_arena(c);
	struct hb_conf *h = arena_alloc(a, sizeof(*h));
	size_t          n = 0;

	h->address = arena_printf(a, "%s/workspaces/{name}/terraform-backend%s", x->project, x->query);
	h->lock_address = h->unlock_address = arena_printf(a, "%s/workspaces/{name}/terraform-backend/lock%s", x->project, x->query);
	h->update_method = h->lock_method = "POST";
	h->unlock_method = "DELETE";
	h->insecure = hc->skip_cert_verification;
	h->ca_pem = hc->client_ca_certificate_pem;
	h->retry_max = hc->retry_max;
	h->retry_wait_min_ms = hc->retry_wait_min;
	h->retry_wait_max_ms = hc->retry_wait_max;
	h->headers.keys = arena_alloc(a, 2 * sizeof(*h->headers.keys));
	h->headers.values = arena_alloc(a, 2 * sizeof(*h->headers.values));
	h->headers.keys[n] = HB_HARNESS_ACCOUNT;
	h->headers.values[n++] = hc->account_id;
	if (hc->api_key != NULL) {
		h->headers.keys[n] = "x-api-key";
		h->headers.values[n++] = arena_strdup(a, secret_str(hc->api_key));
	} else if (hc->password != NULL) {
		h->username = hc->username;
		h->password = hc->password;
	}
	h->headers.n = n;
	return h;
}

/* ---------------------------------------------------------------- the driver */

static void
harness_close(struct backend *b)
{
	struct harness *x = harness_of(b);
	void           *known;

	hb_free(&x->h);
	for (size_t i = 0; map_next(x->known, &i, NULL, &known);)
		free(known);
	map_free(x->known);
	map_free(x->pruned);
	free(x->project);
	free(x->query);
	free(x->place);
	free(x);
}

static enum err_code
harness_open(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
    const struct backend_common *common, struct backend **ret, struct err *reterr)
{
	struct harness_conf hc = *(const struct harness_conf *)conf;
	struct harness     *x;

	if (harness_check_common(block, common, reterr) != ERR_OK ||
	    (hc.address != NULL && harness_take_address(c, block, &hc, reterr) != ERR_OK) || harness_check(block, &hc, reterr) != ERR_OK)
		return reterr->code;
	x = xcalloc(1, sizeof(*x));
	x->pruned = map_new();
	x->known = map_new();
	x->workspaces = hc.workspaces;
	x->project = xasprintf("%s/orgs/%s/projects/%s", harness_base(c, hc.endpoint), hc.org_id, hc.project_id);
	x->query = xasprintf("?accountIdentifier=%s", hc.account_id);
	x->place = xasprintf("%s/%s/%s/", hc.account_id, hc.org_id, hc.project_id);
	if (hb_init(&x->h, env, block, harness_http(c, x, &hc), common, reterr) != ERR_OK) {
		harness_close(&x->h.b);
		return reterr->code;
	}
	x->h.b.where = xasprintf("%s of account %s", x->project, hc.account_id);
	*ret = &x->h.b;
	return ERR_OK;
}

/* The protocol is the vendor's own, and known. Whether a workspace is locked says no listing. */
static unsigned
harness_caps(const struct backend *b)
{
	(void)b;
	return PROVIDER_HISTORY | PROVIDER_LOCK | PROVIDER_LOCK_ID | PROVIDER_LOCK_UNLISTED;
}

static bool
harness_fixed(const struct backend *b, const char *workspace, struct buf *ret)
{
	const struct harness *x = harness_of(b);

	if (x->workspaces.n != 1 || strcmp(workspace, "default") != 0)
		return false;
	buf_puts(ret, x->workspaces.items[0]);
	return true;
}

static enum err_code
harness_holds(const struct backend *b, const char *name, struct err *reterr)
{
	return hb_name_check(&harness_of(b)->h, name, reterr);
}

static void
harness_locate(const struct backend *b, const char *name, struct buf *ret)
{
	buf_printf(ret, "%s/%s", b->where, name);
}

static const char *
harness_signed_in(const struct backend *b)
{
	const struct hb *h = &harness_of(b)->h;

	return h->basic != NULL ? "password" : hb_is_signed(h) ? "api_key" : NULL;
}

/* As the platform writes it for a workspace: terraform has no other header than the one of a password. */
static void
harness_address(const struct backend *b, const char *name, provider_argument_fn *put, void *arg)
{
	const struct hb *h = &harness_of(b)->h;
	char            *state = hb_url(h->address, name, NULL, false), *lock = hb_url(h->lock_address, name, NULL, false);

	put(arg, "address", state, true);
	put(arg, "lock_address", lock, true);
	put(arg, "unlock_address", lock, true);
	put(arg, "update_method", h->conf->update_method, true);
	put(arg, "lock_method", h->conf->lock_method, true);
	put(arg, "unlock_method", h->conf->unlock_method, true);
	put(arg, "username", HARNESS_USER, true);
	free(state);
	free(lock);
}

static const struct conf_hidden harness_hidden[] = { { "endpoint", NULL }, { "account_id", NULL }, { "org_id", NULL }, { "project_id", NULL },
	{ "workspaces", NULL }, { "api_key", "TF_HTTP_PASSWORD" }, { NULL, NULL } };

const struct provider provider_harness = {
	.name = "harness",
	.summary = "workspaces of Harness Infrastructure as Code Management",
	.imports = "harness http",
	.fields = harness_fields,
	.conf_size = sizeof(struct harness_conf),
	.no_scratch = true,
	.open = harness_open,
	.close = harness_close,
	.caps = harness_caps,
	.fixed = harness_fixed,
	.holds = harness_holds,
	.address = harness_address,
	.terraform = "http",
	.hidden = harness_hidden,
	.list = harness_list,
	.head = hb_head,
	.get = harness_get,
	.put = hb_put,
	.lock = harness_lock,
	.unlock = harness_unlock,
	.lock_peek = harness_lock_peek,
	.history = harness_history,
	.get_version = harness_get_version,
	.backfill = 100,
	.locate = harness_locate,
	.signed_in = harness_signed_in,
	.remark = harness_remark,
};
