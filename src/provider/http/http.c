/* SPDX-License-Identifier: MIT */
#include "http.h"

#include <stdlib.h>
#include <strings.h>

#include "base/encode.h"
#include "net/url.h"

static const struct conf_field hb_fields[] = {
	{ .name = "address", .type = CONF_STR, .offset = offsetof(struct hb_conf, address), .env = "TF_HTTP_ADDRESS",
	    .help = "where the state is read and written; {name} stands for the state's name", .required = true },
	{ .name = "update_method", .type = CONF_STR, .offset = offsetof(struct hb_conf, update_method), .def = "POST",
	    .env = "TF_HTTP_UPDATE_METHOD", .help = "method of a write" },
	{ .name = "lock_address", .type = CONF_STR, .offset = offsetof(struct hb_conf, lock_address),
	    .env = "TF_HTTP_LOCK_ADDRESS", .help = "where the state is locked (default: no locking)" },
	{ .name = "lock_method", .type = CONF_STR, .offset = offsetof(struct hb_conf, lock_method), .def = "LOCK",
	    .env = "TF_HTTP_LOCK_METHOD", .help = "method of a lock" },
	{ .name = "unlock_address", .type = CONF_STR, .offset = offsetof(struct hb_conf, unlock_address),
	    .env = "TF_HTTP_UNLOCK_ADDRESS", .help = "where the state is unlocked; goes with lock_address" },
	{ .name = "unlock_method", .type = CONF_STR, .offset = offsetof(struct hb_conf, unlock_method), .def = "UNLOCK",
	    .env = "TF_HTTP_UNLOCK_METHOD", .help = "method of an unlock" },
	{ .name = "username", .type = CONF_STR, .offset = offsetof(struct hb_conf, username), .env = "TF_HTTP_USERNAME",
	    .help = "for Basic authentication" },
	{ .name = "password", .type = CONF_SECRET, .offset = offsetof(struct hb_conf, password), .env = "TF_HTTP_PASSWORD",
	    .help = "for Basic authentication; better env() or file()" },
	{ .name = "skip_cert_verification", .type = CONF_BOOL, .offset = offsetof(struct hb_conf, insecure), .def = "false",
	    .help = "trust any server certificate" },
	{ .name = "client_ca_certificate_pem", .type = CONF_STR, .offset = offsetof(struct hb_conf, ca_pem),
	    .env = "TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", .help = "PEM text that replaces the system's roots" },
	{ .name = "client_certificate_pem", .type = CONF_STR, .offset = offsetof(struct hb_conf, cert_pem),
	    .env = "TF_HTTP_CLIENT_CERTIFICATE_PEM", .help = "PEM text of our certificate" },
	{ .name = "client_private_key_pem", .type = CONF_SECRET, .offset = offsetof(struct hb_conf, key_pem),
	    .env = "TF_HTTP_CLIENT_PRIVATE_KEY_PEM", .help = "PEM text of its key" },
	{ .name = "retry_max", .type = CONF_INT, .offset = offsetof(struct hb_conf, retry_max), .def = "2",
	    .env = "TF_HTTP_RETRY_MAX", .help = "how often a request is repeated where that is safe" },
	{ .name = "retry_wait_min", .type = CONF_SECONDS, .offset = offsetof(struct hb_conf, retry_wait_min_ms), .def = "1",
	    .env = "TF_HTTP_RETRY_WAIT_MIN", .help = "seconds before the first repetition; doubled each time" },
	{ .name = "retry_wait_max", .type = CONF_SECONDS, .offset = offsetof(struct hb_conf, retry_wait_max_ms), .def = "30",
	    .env = "TF_HTTP_RETRY_WAIT_MAX", .help = "seconds, at most" },
	{ .name = "headers", .type = CONF_SECRETS, .offset = offsetof(struct hb_conf, headers),
	    .help = "added to every request" },
	{ .name = "states", .type = CONF_STRS, .offset = offsetof(struct hb_conf, states),
	    .help = "names of the states to read, when address has {name}" },
	{ .name = "unix_socket", .type = CONF_PATH, .offset = offsetof(struct hb_conf, unix_socket),
	    .help = "connect to this socket, whatever host the addresses name" },
	{ .name = NULL },
};

#define HB_RETRY_MAX 100

struct hb *
hb_of(const struct backend *b)
{
	return container_of(b, struct hb, b);
}

/* ---------------------------------------------------------------- configuration */

static bool
hb_set(const char *s)
{
	return s != NULL && s[0] != '\0';
}

struct secret *
hb_basic(const char *user, const char *password)
{
	struct buf     plain, text;
	struct secret *s;

	buf_init(&plain, 0);
	buf_init(&text, 0);
	buf_reserve(&plain, strlen(user) + strlen(password) + 2, NULL);
	buf_printf(&plain, "%s:%s", user, password);
	buf_reserve(&text, 2 * plain.len + 16, NULL);
	buf_puts(&text, "Basic ");
	base64_encode(buf_span(&plain), &text);
	s = secret_new(buf_span(&text));
	buf_wipe_free(&plain);
	buf_wipe_free(&text);
	return s;
}

/* The address without user and password, which become credentials unless username is set, as Go does it. */
static enum err_code
hb_address(struct hb *h, struct conf_block *block, const char *argument, const char *text, char **ret, struct err *reterr)
{
	struct url u;
	struct err why;
	struct buf out;

	if (!hb_set(text))
		return ERR_OK;
	if (url_parse(text, &u, &why) != ERR_OK)
		return conf_error(reterr, conf_where(block, argument), "%s: %s", argument, why.msg);
	if (u.user != NULL && h->basic == NULL)
		h->basic = hb_basic(u.user, u.password != NULL ? u.password : "");
	buf_init(&out, 0);
	url_print(&u, &out);
	*ret = buf_take(&out);
	url_free(&u);
	return ERR_OK;
}

static bool
hb_has_name(const char *address)
{
	return address != NULL && strstr(address, "{name}") != NULL;
}

static enum err_code
hb_check_addresses(struct hb *h, struct conf_block *block, struct err *reterr)
{
	h->free_names = hb_has_name(h->address);
	if (h->lock_address != NULL && hb_has_name(h->lock_address) != h->free_names)
		return conf_error(reterr, conf_where(block, "lock_address"), "{name} stands in address and lock_address, or in neither");
	if (h->unlock_address != NULL && hb_has_name(h->unlock_address) != h->free_names)
		return conf_error(reterr, conf_where(block, "unlock_address"),
		    "{name} stands in address and unlock_address, or in neither");
	if (h->conf->states.n > 0 && !h->free_names)
		return conf_error(reterr, conf_where(block, "states"), "states needs {name} in address");
	if (h->b.common.prefix != NULL && h->b.common.prefix[0] != '\0')
		return conf_error(reterr, conf_where(block, "prefix"), "an http backend has no prefix: put it into address");
	return ERR_OK;
}

static bool
hb_is_word(const char *s)
{
	return s[0] != '\0' &&
	    s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")] == '\0';
}

static enum err_code
hb_check_headers(const struct hb_conf *hc, struct conf_block *block, struct err *reterr)
{
	struct conf_pos pos = conf_where(block, "headers");

	if (hc->headers.n > HB_HEADERS_MAX)
		return conf_error(reterr, pos, "headers has %zu entries, at most %d are sent", hc->headers.n, HB_HEADERS_MAX);
	for (size_t i = 0; i < hc->headers.n; i++) {
		const char *name = hc->headers.keys[i];

		if (!hb_is_word(name))
			return conf_error(reterr, pos, "a name in headers has characters other than letters, digits, \"-\" and \"_\"");
		if (strcasecmp(name, "content-type") == 0 || strcasecmp(name, "content-md5") == 0)
			return conf_error(reterr, pos, "headers cannot set %s", name);
		if (strcasecmp(name, "authorization") == 0 && hb_set(hc->username))
			return conf_error(reterr, pos, "either username or an Authorization header, not both");
		for (const char *p = hc->headers.values[i]; *p != '\0'; p++)
			if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
				return conf_error(reterr, pos, "the value of %s in headers is not printable ASCII", name);
	}
	return ERR_OK;
}

static enum err_code
hb_check(const struct hb_conf *hc, struct conf_block *block, struct err *reterr)
{
	const struct { const char *argument, *method; } methods[] = { { "update_method", hc->update_method },
		{ "lock_method", hc->lock_method }, { "unlock_method", hc->unlock_method } };

	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (!hb_is_word(methods[i].method))
			return conf_error(reterr, conf_where(block, methods[i].argument), "%s is not a word", methods[i].argument);
	if (hb_set(hc->cert_pem) != (hc->key_pem != NULL && secret_len(hc->key_pem) > 0))
		return conf_error(reterr, conf_where(block, "client_certificate_pem"),
		    "client_certificate_pem and client_private_key_pem go together");
	if (hc->retry_max < 0 || hc->retry_max > HB_RETRY_MAX)
		return conf_error(reterr, conf_where(block, "retry_max"), "retry_max is from 0 to %d", HB_RETRY_MAX);
	if (hc->retry_wait_min_ms < 0 || hc->retry_wait_max_ms < hc->retry_wait_min_ms)
		return conf_error(reterr, conf_where(block, "retry_wait_max"), "retry_wait_max is not below retry_wait_min");
	return hb_check_headers(hc, block, reterr);
}

enum err_code
hb_name_check(const struct hb *h, const char *name, struct err *reterr)
{
	const struct hb_dialect *d = h->dialect;

	if (h->free_names && d->fits != NULL && !d->fits(name)) {
		err_set(reterr, ERR_UNSUPPORTED, 0, "%s has no such name: %s", d->name, d->names);
		return err_hint(reterr, "as a target, give the state an alias that fits, and the edge key = \"{alias}\"");
	}
	if (h->free_names || strcmp(name, "default") == 0)
		return ERR_OK;
	err_set(reterr, ERR_UNSUPPORTED, 0, "there is one state behind this address, and its name is default");
	return err_hint(reterr, "put {name} into address, lock_address and unlock_address");
}

/* ---------------------------------------------------------------- the driver */

void
hb_free(struct hb *h)
{
	free(h->api);
	free(h->project);
	free(h->state);
	free(h->address);
	free(h->lock_address);
	free(h->unlock_address);
	secret_free(h->basic);
}

static void
hb_close(struct backend *b)
{
	hb_free(hb_of(b));
	free(hb_of(b));
}

/* A query may hold a signature: of it the identity shows a short digest only. */
static char *
hb_where(const char *address)
{
	const char   *query = strchr(address, '?');
	struct digest d;
	char          hex[DIGEST_HEX];

	if (query == NULL)
		return xstrdup(address);
	sha256_of(query, strlen(query), &d);
	return xasprintf("%.*s (query %.8s)", (int)(query - address), address, digest_hex(&d, hex));
}

enum err_code
hb_init(struct hb *h, const struct provider_env *env, struct conf_block *block, const struct hb_conf *hc,
    const struct backend_common *common, struct err *reterr)
{
	h->env = env;
	h->conf = hc;
	h->dialect = &hb_plain;
	h->b.common = *common;
	h->tls = (struct http_tls){ .ca_pem = hb_set(hc->ca_pem) ? hc->ca_pem : NULL,
		.cert_pem = hb_set(hc->cert_pem) ? hc->cert_pem : NULL, .key_pem = hb_set(hc->cert_pem) ? hc->key_pem : NULL,
		.insecure = hc->insecure };
	if (hb_check(hc, block, reterr) != ERR_OK)
		return reterr->code;
	if (hb_set(hc->username))
		h->basic = hb_basic(hc->username, hc->password != NULL ? secret_str(hc->password) : "");
	if (hb_address(h, block, "address", hc->address, &h->address, reterr) != ERR_OK ||
	    hb_address(h, block, "lock_address", hc->lock_address, &h->lock_address, reterr) != ERR_OK ||
	    hb_address(h, block, "unlock_address", hc->unlock_address, &h->unlock_address, reterr) != ERR_OK ||
	    hb_check_addresses(h, block, reterr) != ERR_OK)
		return reterr->code;
	h->dialect = hb_dialect_of(h->address);
	if (h->dialect == &hb_gitlab)
		hb_gitlab_init(h);
	return ERR_OK;
}

static enum err_code
hb_open(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
    const struct backend_common *common, struct backend **ret, struct err *reterr)
{
	struct hb *h = xcalloc(1, sizeof(*h));

	(void)c;
	if (hb_init(h, env, block, conf, common, reterr) != ERR_OK) {
		hb_close(&h->b);
		return reterr->code;
	}
	h->b.where = hb_where(h->address);
	*ret = &h->b;
	return ERR_OK;
}

unsigned
hb_caps(const struct backend *b)
{
	const struct hb *h = hb_of(b);

	unsigned caps = h->lists ? PROVIDER_LIST : 0u;

	if (h->lock_address != NULL && h->unlock_address != NULL) /* GitLab's is known, and a made-up name leaves a row there */
		caps |= PROVIDER_LOCK | PROVIDER_LOCK_ID | (h->api == NULL ? PROVIDER_LOCK_UNPROVEN : 0u);
	if (h->api != NULL && strchr(h->address, '?') == NULL)
		caps |= PROVIDER_HISTORY | PROVIDER_SERIALS;
	return caps;
}

static bool
hb_fixed(const struct backend *b, const char *workspace, struct buf *ret)
{
	(void)workspace; /* the protocol has none */
	if (hb_of(b)->free_names)
		return false;
	buf_puts(ret, "default");
	return true;
}

static void
hb_put_address(const char *argument, const char *address, const char *name, provider_argument_fn *put, void *arg)
{
	char *url = hb_set(address) ? hb_url(address, name, NULL, false) : NULL;

	put(arg, argument, url, false);
	free(url);
}

static void
hb_place(const struct backend *b, const char *name, provider_argument_fn *put, void *arg)
{
	const struct hb_conf *c = hb_of(b)->conf;

	hb_put_address("address", c->address, name, put, arg);
	hb_put_address("lock_address", c->lock_address, name, put, arg);
	hb_put_address("unlock_address", c->unlock_address, name, put, arg);
}

static enum err_code
hb_findable(const struct backend *b, struct err *reterr)
{
	const struct hb *h = hb_of(b);

	if (!h->free_names || h->conf->states.n > 0 || h->lists)
		return ERR_OK;
	return err_set(reterr, ERR_CONFIG, 0, "the protocol cannot list what is behind {name}: set states = [\"...\"] in the backend");
}

/* A state appears with its first write. */
static struct op *
hb_create(struct backend *b)
{
	return op_result(hb_of(b)->env->loop, &(struct err){ .code = ERR_OK });
}

/* Seen from the loop, as every answer is. */
struct hb_names {
	struct op               op;
	const struct conf_strs *names;
	state_seen_fn          *seen;
	void                   *arg;
};

static enum op_turn
hb_names_step(struct op *op)
{
	struct hb_names *n = container_of(op, struct hb_names, op);

	for (size_t i = 0; i < n->names->n; i++)
		n->seen(n->arg, &(struct state_seen){ .name = n->names->items[i], .etag = "" });
	return op_ok(op);
}

static void
hb_names_free(struct op *op)
{
	free(container_of(op, struct hb_names, op));
}

static const struct op_class hb_names_class = { "http list", hb_names_step, NULL, hb_names_free, NULL, 0 };

struct op *
hb_list_given(struct hb *h, const struct conf_strs *names, state_seen_fn *seen, void *arg)
{
	struct hb_names *n = xcalloc(1, sizeof(*n));

	op_init(&n->op, &hb_names_class, h->env->loop);
	n->names = names;
	n->seen = seen;
	n->arg = arg;
	return &n->op;
}

/* The protocol cannot list. */
static struct op *
hb_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	static const char            *one[] = { "default" };
	static const struct conf_strs fixed = { one, 1 };
	struct hb                    *h = hb_of(b);

	if (h->lists)
		return hb_gitlab_list(h, seen, arg);
	return hb_list_given(h, h->free_names ? &h->conf->states : &fixed, seen, arg);
}

static struct op *
hb_read(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret)
{
	return hb_of(b)->lists ? hb_gitlab_get(hb_of(b), ref, unless_etag, ret) : hb_get(b, ref, unless_etag, ret);
}

static enum err_code
hb_holds(const struct backend *b, const char *name, struct err *reterr)
{
	return hb_name_check(hb_of(b), name, reterr);
}

static struct op *
hb_sweep(struct backend *b)
{
	return hb_of(b)->dialect == &hb_gitlab ? hb_gitlab_sweep(hb_of(b)) : NULL;
}

static const char *
hb_remark(const struct backend *b, const char *name)
{
	(void)name;
	return hb_of(b)->dialect->remark;
}

static const struct conf_hidden hb_hidden[] = { { "headers", NULL }, { "states", NULL }, { NULL, NULL } };

const struct provider provider_http = {
	.name = "http",
	.holds = hb_holds,
	.summary = "any server of terraform's HTTP state protocol",
	.fields = hb_fields,
	.conf_size = sizeof(struct hb_conf),
	.open = hb_open,
	.close = hb_close,
	.caps = hb_caps,
	.fixed = hb_fixed,
	.address = hb_place,
	.hidden = hb_hidden,
	.findable = hb_findable,
	.create = hb_create,
	.list = hb_list,
	.head = hb_head,
	.get = hb_read,
	.put = hb_put,
	.del = hb_del,
	.lock = hb_lock,
	.unlock = hb_unlock,
	.lock_break = hb_lock_break,
	.sweep = hb_sweep,
	.history = hb_gitlab_history,
	.get_version = hb_get_version,
	.backfill = 100,
	.remark = hb_remark,
};
