/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <strings.h>

#include "azurerm.h"
#include "net/xml.h"

/* One request with its signature, and what an answer means. */
#define AZURERM_VERSION  "2023-11-03"  /* terraform's */
#define AZURERM_TENANT_MAX 64
#define AZURERM_TRIES    6
#define AZURERM_PAUSE_MS 250
#define AZURERM_SKEW_MS  ((int64_t)5 * 60 * 1000) /* of the clocks, that is worth a word; Azure allows 15 minutes */

/* ---------------------------------------------------------------- addresses */

static void
azurerm_to(const struct azurerm *z, struct send_request *r, const char *method, const char *blob)
{
	struct buf path;

	send_request_free(r);
	buf_init(&path, 0);
	buf_printf(&path, "/%s", z->conf->container_name);
	if (blob != NULL) {
		buf_putc(&path, '/');
		url_escape(URL_S3_PATH, span_str(blob), &path);
	}
	r->method = method;
	r->path = buf_take(&path);
	r->object = xstrdup(blob);
	r->changing = strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

void
azurerm_to_blob(const struct azurerm *z, struct send_request *r, const char *method, const char *blob, const char *comp)
{
	azurerm_to(z, r, method, blob);
	if (comp != NULL)
		send_query(r, "comp", comp);
}

void
azurerm_to_container(const struct azurerm *z, struct send_request *r, const char *method)
{
	azurerm_to(z, r, method, NULL);
	send_query(r, "restype", "container");
}

/* ---------------------------------------------------------------- sending */

/* The endpoint's own path is signed with the rest: "http://127.0.0.1:10000/ACCOUNT" has one. */
static const char *
azurerm_path_of(const char *url)
{
	const char *host = strstr(url, "://");

	return host != NULL ? host + 3 + strcspn(host + 3, "/") : url;
}

static void
azurerm_own(struct http_header *own, size_t *n, const char *name, const char *value)
{
	own[(*n)++] = (struct http_header){ name, xstrdup(value) };
}

static struct op *
azurerm_ready(struct send *x)
{
	return azurerm_cred_ready(azurerm_of(x->b)->cred);
}

/* All headers are there before the signature is made; a repeated request is dated and signed anew. */
static void
azurerm_sign(struct azurerm *z, const struct send_request *r, const char *path, struct http_header *own, size_t *nown, struct buf *query)
{
	struct http_header all[SEND_HEADERS + SEND_OWN_HEADERS];
	size_t             n = 0;
	struct buf         auth;

	for (size_t i = 0; i < r->nheaders; i++)
		all[n++] = r->headers[i];
	for (size_t i = 0; i < *nown; i++)
		all[n++] = own[i];
	buf_init(&auth, 0);
	azurerm_cred_sign(z->cred, &(struct azurerm_signing){ .method = r->method, .path = path, .query = r->query, .headers = all,
	    .nheaders = n, .content_length = r->body != NULL ? body_size(r->body) : 0 }, &auth, query);
	if (auth.len > 0)
		azurerm_own(own, nown, "authorization", buf_str(&auth));
	buf_wipe_free(&auth);
}

static struct op *
azurerm_attempt(struct send *x, const struct send_request *r, struct send_answer *ret)
{
	struct azurerm    *z = azurerm_of(x->b);
	const char        *endpoint = azurerm_cred_endpoint(z->cred);
	struct http_header own[SEND_OWN_HEADERS];
	size_t             nown = 0;
	char               date[TIME_TEXT_MAX];
	struct buf         url, query;
	struct op         *op;

	x->generation = azurerm_cred_generation(z->cred);
	buf_init(&url, 0);
	buf_init(&query, 0);
	buf_printf(&url, "%s%s", endpoint != NULL ? endpoint : z->endpoint, r->path);
	azurerm_own(own, &nown, "x-ms-date", time_format_http(loop_wall(z->env->loop), date));
	azurerm_own(own, &nown, "x-ms-version", AZURERM_VERSION);
	azurerm_sign(z, r, azurerm_path_of(buf_str(&url)), own, &nown, &query);
	if (r->query != NULL)
		buf_printf(&url, "?%s", r->query);
	if (query.len > 0)
		buf_printf(&url, "%s%s", r->query != NULL ? "&" : "?", buf_str(&query));
	op = send_attempt(x, r, &(struct http_request){ .url = buf_str(&url), .headers = own, .nheaders = nown }, ret);
	buf_wipe_free(&query);
	buf_wipe_free(&url);
	return op;
}

static enum err_code
azurerm_error_element(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct send_answer *a = arg;
	struct span         line = text;

	(void)reterr;
	if (text.p != NULL && memchr(text.p, '\n', text.n) != NULL) /* "RequestId:" and "Time:" follow */
		line.n = (size_t)((const uint8_t *)memchr(text.p, '\n', text.n) - text.p);
	if (strcmp(path, "Error/Code") == 0 && a->code[0] == '\0')
		span_text(a->code, sizeof(a->code), text);
	else if (strcmp(path, "Error/Message") == 0)
		span_text(a->message, sizeof(a->message), line);
	return ERR_OK;
}

/* The answer to a HEAD has no body, so the code is a header too. */
static void
azurerm_answer_parse(struct send_answer *a)
{
	const char        *code = http_header_get(&a->http, "x-ms-error-code");
	struct xml_reader *xml;
	struct span        text;

	a->code[0] = a->message[0] = '\0';
	if (a->http.status < 300)
		return;
	if (code != NULL)
		span_text(a->code, sizeof(a->code), span_str(code));
	if (a->http.body == NULL || !body_in_memory(a->http.body))
		return;
	text = body_span(a->http.body);
	xml = xml_reader_new(azurerm_error_element, a);
	if (xml_feed(xml, text.p, text.n, NULL) != ERR_OK || xml_end(xml, NULL) != ERR_OK)
		a->message[0] = '\0';
	xml_reader_free(xml);
}

/* ServerBusy, and a 503 that names a time, are said before anything is done; should it have been done all the same, the condition of the
 * second try says so, and what is there is read. */
static enum send_verdict
azurerm_judge(struct send *x)
{
	struct send_answer *a = x->ret;

	azurerm_answer_parse(a);
	switch (a->http.status) {
	case 408:
	case 429:
		return SEND_LATER;
	case 503:
		return a->http.retry_after_ms > 0 || strcmp(a->code, "ServerBusy") == 0 ? SEND_LATER : SEND_DOWN;
	case 401:
		return SEND_RENEW;
	case 403:
		return strcmp(a->code, "AuthenticationFailed") == 0 ? SEND_RENEW : SEND_DONE;
	default:
		return a->http.status >= 500 ? SEND_DOWN : SEND_DONE;
	}
}

static bool
azurerm_renew(struct send *x)
{
	return azurerm_cred_renew(azurerm_of(x->b)->cred, x->generation);
}

static const struct send_driver azurerm_driver = { .pause_ms = AZURERM_PAUSE_MS, .ready = azurerm_ready, .attempt = azurerm_attempt,
	.judge = azurerm_judge, .renew = azurerm_renew };

static const struct op_class azurerm_send_class = { "azurerm", SEND_OP_CLASS };

struct op *
azurerm_send(struct azurerm *z, struct send_request *r, struct send_answer *ret)
{
	struct send *x = xcalloc(1, sizeof(*x));

	*x = (struct send){ .driver = &azurerm_driver, .b = &z->b, .where = xasprintf("container %s", z->conf->container_name),
		.most = AZURERM_TRIES };
	return send_init(x, &azurerm_send_class, r, ret);
}

/* ---------------------------------------------------------------- what an answer means */

bool
azurerm_answer_is(const struct send_answer *a, int status, const char *code)
{
	return a->http.status == status && strcmp(a->code, code) == 0;
}

bool
azurerm_no_such_blob(const struct send_answer *a)
{
	return azurerm_answer_is(a, 404, "BlobNotFound");
}

bool
azurerm_lease_is_lost(const struct send_answer *a)
{
	return a->http.status == 412 && strncmp(a->code, "Lease", 5) == 0 && strcmp(a->code, "LeaseIdMissing") != 0;
}

/* "Bearer authorization_uri=https://login.microsoftonline.com/TENANT/oauth2/authorize ...": whose tokens the account takes. */
static bool
azurerm_is_of_tenant(const struct azurerm *z, const struct send_answer *a, char ret[AZURERM_TENANT_MAX])
{
	const char *text = http_header_get(&a->http, "www-authenticate"), *ours = z->conf->tenant_id;
	const char *at = text != NULL ? strstr(text, "authorization_uri=") : NULL;

	at = at != NULL ? strstr(at, "://") : NULL;
	at = at != NULL ? strchr(at + 3, '/') : NULL;
	if (at == NULL)
		return false;
	span_text(ret, AZURERM_TENANT_MAX, span_of(at + 1, strcspn(at + 1, "/ \",")));
	return azurerm_is_uuid(ret) && (ours == NULL || strcasecmp(ours, ret) != 0);
}

/* 403, and 401: the signature, or what it allows. */
static enum err_code
azurerm_refused_denied(const struct azurerm *z, const struct send_answer *a, const char *what, struct err *reterr)
{
	const char *source = azurerm_cred_source(z->cred);
	int64_t     off = a->http.date_ms != 0 ? a->http.date_ms - loop_wall(z->env->loop) : 0;
	char        text[TIME_TEXT_MAX], tenant[AZURERM_TENANT_MAX];
	bool        signature = a->http.status == 401 || strcmp(a->code, "AuthenticationFailed") == 0;

	if (signature)
		err_set(reterr, ERR_AUTH, a->http.status, "container %s: the credentials from %s are refused (%d%s%s)", z->conf->container_name,
		    source, a->http.status, SEND_CODE(a));
	else
		err_set(reterr, ERR_AUTH, a->http.status, "container %s: %s is not allowed (%d%s%s)", z->conf->container_name, what,
		    a->http.status, SEND_CODE(a));
	if (off > AZURERM_SKEW_MS || off < -AZURERM_SKEW_MS)
		return err_hint(reterr, "the clock here is %s %s the server's: set it", duration_format(off < 0 ? -off : off, text),
		    off < 0 ? "ahead of" : "behind");
	if (strcmp(a->code, "KeyBasedAuthenticationNotPermitted") == 0)
		return err_hint(reterr, "the account takes no keys: sign in by Entra ID (use_azuread_auth), or allow shared keys there");
	if (strcmp(a->code, "AuthorizationFailure") == 0)
		return err_hint(reterr, "check %s, and whether the account's firewall lets this machine in", source);
	if (azurerm_is_of_tenant(z, a, tenant))
		return err_hint(reterr, "the account belongs to tenant %s: check tenant_id, or who is logged in", tenant);
	if (signature)
		return err_hint(reterr, "it is wrong for account %s, was rotated, or has expired", z->conf->storage_account_name);
	return err_hint(reterr, "needed are read, add, create, write, delete and list on the container: permissions of a SAS, or the role "
	    "Storage Blob Data Contributor");
}

enum err_code
azurerm_refused(const struct azurerm *z, const struct send_answer *a, const char *what, struct err *reterr)
{
	const char *container = z->conf->container_name;
	int         status = a->http.status;

	if (status == 401 || status == 403)
		return azurerm_refused_denied(z, a, what, reterr);
	if (azurerm_answer_is(a, 404, "ContainerNotFound")) {
		err_set(reterr, ERR_NOT_FOUND, 404, "container %s does not exist (404)", container);
		return provider_make_hint(&z->b, "check container_name and storage_account_name", reterr);
	}
	if (status == 407) {
		err_set(reterr, ERR_AUTH, 407, "container %s: %s: the proxy on the way wants credentials (407)", container, what);
		return err_hint(reterr, PROVIDER_PROXY_HINT);
	}
	if (azurerm_answer_is(a, 409, "ContainerBeingDeleted"))
		return err_set(reterr, ERR_BUSY, 409, "container %s is being deleted (409)", container);
	if (a->code[0] == '\0') {
		err_set(reterr, ERR_UNSUPPORTED, status, "container %s: %s: the answer %d is none of Blob Storage", container, what, status);
		return err_hint(reterr, AZURERM_OTHER_HINT);
	}
	err_set(reterr, ERR_UNSUPPORTED, status, "container %s: %s: %d %s%s%.100s", container, what, status, a->code,
	    a->message[0] != '\0' ? ": " : "", a->message);
	if (strcmp(a->code, "BlobImmutableDueToPolicy") == 0)
		return err_hint(reterr, "a policy or legal hold of the container forbids it: terraform could not lock there either");
	if (strcmp(a->code, "SnapshotsPresent") == 0)
		return err_hint(reterr, "it has snapshots, which would go too: az storage blob delete --delete-snapshots include");
	return ERR_UNSUPPORTED;
}
