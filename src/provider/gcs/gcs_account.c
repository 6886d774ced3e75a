/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "gcs.h"

/*
 * Credentials as JSON, in the forms that Google hands out: what "type" says decides what else is needed. Members that are not known
 * here are passed over, as Google's own libraries do it.
 */
#define GCS_HOP_SECONDS     3600
#define GCS_HOP_SECONDS_MIN 600
#define GCS_HOP_SECONDS_MAX 43200
#define GCS_NESTED          1  /* source_credentials inside each other */
#define GCS_PATH_DEPTH      3
#define GCS_TOKEN_URL       "https://oauth2." GCS_UNIVERSE "/token"
#define GCS_HOP_PATH        "/serviceAccounts/"
#define GCS_HOP_VERB        ":generateAccessToken"
#define GCS_DELEGATE        "projects/-" GCS_HOP_PATH

void
gcs_hop_free(struct gcs_hop *h)
{
	free(h->url);
	for (size_t i = 0; i < h->ndelegates; i++)
		free(h->delegates[i]);
	memset(h, 0, sizeof(*h));
}

bool
gcs_hop_delegate(struct gcs_hop *h, struct span email)
{
	bool bare = memchr(email.p, '/', email.n) == NULL;

	if (h->ndelegates == GCS_DELEGATES)
		return false;
	h->delegates[h->ndelegates++] = xasprintf("%s%.*s", bare ? GCS_DELEGATE : "", (int)email.n, (const char *)email.p);
	return true;
}

void
gcs_hop_email(const struct gcs_hop *h, char *ret, size_t size)
{
	const char *at = strstr(h->url, GCS_HOP_PATH), *end;

	at = at != NULL ? at + strlen(GCS_HOP_PATH) : h->url;
	end = strstr(at, GCS_HOP_VERB);
	snprintf(ret, size, "%.*s", end != NULL ? (int)(end - at) : (int)strlen(at), at);
}

void
gcs_account_free(struct gcs_account *a)
{
	char *texts[] = { a->universe, a->project, a->token_url, a->email, a->key_id, a->client_id, a->audience, a->subject_type,
		a->user_project, a->source, a->member, a->region_url, a->verify_url };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free(texts[i]);
	for (size_t i = 0; i < a->nhops; i++)
		gcs_hop_free(&a->hops[i]);
	for (size_t i = 0; i < a->nheaders; i++) {
		free((char *)(uintptr_t)a->headers[i].name);
		mem_free_secret(a->headers[i].value);
	}
	jwt_key_free(a->key);
	secret_free(a->client_secret);
	secret_free(a->refresh_token);
	memset(a, 0, sizeof(*a));
}

/* ---------------------------------------------------------------- reading */

/* What a member of the JSON is, by the way to it. */
struct gcs_texts {
	char *type, *universe, *project, *token_uri, *token_url, *email, *key_id, *client_id, *audience, *subject_type, *user_project;
	char *file, *url, *region_url, *verify_url, *environment, *format, *member, *hop_url, *hop_seconds;
};

#define AT(member) offsetof(struct gcs_texts, member)

static const struct {
	const char *path;
	size_t      offset;
} gcs_texts[] = { { "type", AT(type) }, { "universe_domain", AT(universe) }, { "quota_project_id", AT(project) },
	{ "token_uri", AT(token_uri) }, { "token_url", AT(token_url) }, { "client_email", AT(email) }, { "private_key_id", AT(key_id) },
	{ "client_id", AT(client_id) }, { "audience", AT(audience) }, { "subject_token_type", AT(subject_type) },
	{ "workforce_pool_user_project", AT(user_project) }, { "credential_source.file", AT(file) }, { "credential_source.url", AT(url) },
	{ "credential_source.region_url", AT(region_url) }, { "credential_source.regional_cred_verification_url", AT(verify_url) },
	{ "credential_source.environment_id", AT(environment) }, { "credential_source.format.type", AT(format) },
	{ "credential_source.format.subject_token_field_name", AT(member) }, { "service_account_impersonation_url", AT(hop_url) },
	{ "service_account_impersonation.token_lifetime_seconds", AT(hop_seconds) } };

struct gcs_reader {
	struct gcs_account *a;
	struct gcs_texts    t;
	struct gcs_hop      hop;              /* its delegates */
	struct secret      *private_key;
	char                key[GCS_PATH_DEPTH][48];
	const char         *refused;          /* what it has that is not taken; NULL: nothing */
	bool                inside;           /* source_credentials: read by themselves */
	uint64_t            inner, inner_end; /* their bytes in the text; inner_end 0: none */
};

static char **
gcs_text(struct gcs_texts *t, size_t i)
{
	return (char **)(void *)((char *)t + gcs_texts[i].offset);
}

static void
gcs_reader_secret(struct secret **to, struct span text)
{
	secret_free(*to);
	*to = secret_new(text);
}

static void
gcs_reader_header(struct gcs_reader *r, struct span value)
{
	struct gcs_account *a = r->a;

	if (a->nheaders == GCS_SOURCE_HEADERS)
		r->refused = "more headers than are taken";
	else
		a->headers[a->nheaders++] = (struct http_header){ xstrdup(r->key[2]), span_dup(value) };
}

static void
gcs_reader_member(struct gcs_reader *r, const struct json_token *t)
{
	char path[160];
	bool known = true;

	snprintf(path, sizeof(path), "%s%s%s%s%s", r->key[0], r->key[1][0] != '\0' ? "." : "", r->key[1], r->key[2][0] != '\0' ? "." : "",
	    r->key[2]);
	if (strcmp(path, "private_key") == 0) {
		gcs_reader_secret(&r->private_key, t->text);
	} else if (strcmp(path, "client_secret") == 0) {
		gcs_reader_secret(&r->a->client_secret, t->text);
	} else if (strcmp(path, "refresh_token") == 0) {
		gcs_reader_secret(&r->a->refresh_token, t->text);
	} else if (strncmp(path, "credential_source.headers.", 26) == 0) {
		gcs_reader_header(r, t->text);
	} else if (strcmp(path, "delegates") == 0 && t->depth == 2) {
		if (!gcs_hop_delegate(&r->hop, t->text))
			r->refused = "more delegates than are taken";
	} else {
		known = false;
	}
	for (size_t i = 0; i < ARRAY_LEN(gcs_texts); i++) {
		if (strcmp(path, gcs_texts[i].path) != 0)
			continue;
		known = true;
		free(*gcs_text(&r->t, i));
		*gcs_text(&r->t, i) = span_dup(t->text);
	}
	if (known && t->cut)
		r->refused = "a text that is longer than any of these";
}

static void
gcs_reader_key(struct gcs_reader *r, const struct json_token *t)
{
	if (t->depth > GCS_PATH_DEPTH)
		return;
	span_text(r->key[t->depth - 1], sizeof(r->key[0]), t->text);
	for (unsigned d = t->depth; d < GCS_PATH_DEPTH; d++)
		r->key[d][0] = '\0';
	if (t->depth == 3 && strcmp(r->key[1], "headers") == 0 && t->text.n >= sizeof(r->key[0]))
		r->refused = "a header of a longer name than is taken";
	if (t->depth != 2 || strcmp(r->key[0], "credential_source") != 0)
		return;
	if (strcmp(r->key[1], "executable") == 0)
		r->refused = "credential_source.executable: programs are not run for credentials here, have it written to a file";
	else if (strcmp(r->key[1], "certificate") == 0)
		r->refused = "credential_source.certificate: client certificates are not sent";
}

static enum json_want
gcs_reader_event(void *arg, const struct json_token *t)
{
	struct gcs_reader *r = arg;

	if (t->event == JSON_EV_OBJECT && t->depth == 1 && strcmp(r->key[0], "source_credentials") == 0) {
		r->inside = true;
		r->inner = t->start;
	} else if (t->event == JSON_EV_OBJECT_END && t->depth == 1 && r->inside) {
		r->inside = false;
		r->inner_end = t->end;
	} else if (r->inside) {
		return JSON_WANT;
	} else if (t->event == JSON_EV_KEY) {
		gcs_reader_key(r, t);
	} else if ((t->event == JSON_EV_STRING || t->event == JSON_EV_NUMBER) && t->depth >= 1 && t->depth <= GCS_PATH_DEPTH) {
		gcs_reader_member(r, t);
	}
	return JSON_WANT;
}

/* ---------------------------------------------------------------- what it has to have */

static char *
gcs_take(char **from)
{
	char *text = *from != NULL && (*from)[0] != '\0' ? *from : NULL;

	if (text == NULL)
		free(*from);
	*from = NULL;
	return text;
}

static enum err_code
gcs_missing(const char *type, const char *what, struct err *reterr)
{
	return err_set(reterr, ERR_CONFIG, 0, "credentials of type %s without %s", type, what);
}

/* Secrets go there: nobody may listen on the way. */
static enum err_code
gcs_check_url(const char *what, const char *text, bool plain, struct err *reterr)
{
	struct url    u;
	struct err    e;
	enum err_code rc = ERR_OK;

	if (url_parse(text, &u, &e) != ERR_OK)
		return err_set(reterr, ERR_CONFIG, 0, "%s: %s", what, e.msg);
	if (!plain && strcmp(u.scheme, "https") != 0 && !url_is_loopback(&u))
		rc = err_set(reterr, ERR_CONFIG, 0, "%s: expected an https URL", what);
	url_free(&u);
	return rc;
}

static enum err_code
gcs_service_of(struct gcs_reader *r, struct err *reterr)
{
	struct gcs_account *a = r->a;

	a->kind = GCS_SERVICE;
	a->email = gcs_take(&r->t.email);
	a->key_id = gcs_take(&r->t.key_id);
	a->token_url = gcs_take(&r->t.token_uri);
	if (a->token_url == NULL)
		a->token_url = xstrdup(GCS_TOKEN_URL);
	if (a->email == NULL || r->private_key == NULL)
		return gcs_missing("service_account", a->email == NULL ? "client_email" : "private_key", reterr);
	if (jwt_key_new(span_str(secret_str(r->private_key)), &a->key, reterr) != ERR_OK)
		return err_prefix(reterr, "private_key");
	return gcs_check_url("token_uri", a->token_url, false, reterr);
}

static enum err_code
gcs_user_of(struct gcs_reader *r, struct err *reterr)
{
	struct gcs_account *a = r->a;

	a->kind = GCS_USER;
	a->client_id = gcs_take(&r->t.client_id);
	a->token_url = gcs_take(&r->t.token_uri);
	if (a->token_url == NULL)
		a->token_url = xstrdup(GCS_TOKEN_URL);
	if (a->client_id == NULL || a->client_secret == NULL || a->refresh_token == NULL)
		return gcs_missing("authorized_user", a->client_id == NULL ? "client_id" : a->client_secret == NULL ? "client_secret" :
		    "refresh_token", reterr);
	return gcs_check_url("token_uri", a->token_url, false, reterr);
}

static enum err_code
gcs_hop_of(struct gcs_reader *r, struct err *reterr)
{
	struct gcs_hop *h = &r->hop;

	h->url = gcs_take(&r->t.hop_url);
	h->seconds = r->t.hop_seconds != NULL ? strtoll(r->t.hop_seconds, NULL, 10) : GCS_HOP_SECONDS;
	if (h->seconds < GCS_HOP_SECONDS_MIN || h->seconds > GCS_HOP_SECONDS_MAX)
		return err_set(reterr, ERR_CONFIG, 0, "token_lifetime_seconds: expected %d to %d", GCS_HOP_SECONDS_MIN, GCS_HOP_SECONDS_MAX);
	if (gcs_check_url("service_account_impersonation_url", h->url, false, reterr) != ERR_OK)
		return reterr->code;
	r->a->hops[r->a->nhops++] = *h;
	memset(h, 0, sizeof(*h));
	return ERR_OK;
}

static enum err_code
gcs_source_of(struct gcs_reader *r, struct err *reterr)
{
	struct gcs_account *a = r->a;
	const char         *environment = r->t.environment;

	if (environment != NULL && strcmp(environment, "aws1") != 0)
		return err_set(reterr, ERR_CONFIG, 0, "credential_source.environment_id: expected \"aws1\", found \"%.20s\"", environment);
	a->kind = environment != NULL ? GCS_FEDERATED_AWS : r->t.file != NULL ? GCS_FEDERATED_FILE : GCS_FEDERATED_URL;
	a->source = a->kind == GCS_FEDERATED_FILE ? gcs_take(&r->t.file) : gcs_take(&r->t.url);
	if (a->kind == GCS_FEDERATED_AWS) {
		a->region_url = gcs_take(&r->t.region_url);
		a->verify_url = gcs_take(&r->t.verify_url);
		if (a->verify_url == NULL)
			return gcs_missing("external_account", "credential_source.regional_cred_verification_url", reterr);
		return ERR_OK;
	}
	if (a->source == NULL)
		return gcs_missing("external_account", "a file, url or environment_id in credential_source", reterr);
	if (r->t.format == NULL || strcmp(r->t.format, "text") == 0)
		a->member = xstrdup("");
	else if (strcmp(r->t.format, "json") != 0)
		return err_set(reterr, ERR_CONFIG, 0, "credential_source.format.type: expected \"text\" or \"json\"");
	else if ((a->member = gcs_take(&r->t.member)) == NULL || strlen(a->member) >= BEARER_MEMBER_MAX)
		return gcs_missing("external_account", "a usable subject_token_field_name in credential_source.format", reterr);
	return a->kind == GCS_FEDERATED_URL ? gcs_check_url("credential_source.url", a->source, true, reterr) : ERR_OK;
}

static enum err_code
gcs_federation_of(struct gcs_reader *r, struct err *reterr)
{
	struct gcs_account *a = r->a;

	a->audience = gcs_take(&r->t.audience);
	a->subject_type = gcs_take(&r->t.subject_type);
	a->user_project = gcs_take(&r->t.user_project);
	a->client_id = gcs_take(&r->t.client_id);
	a->token_url = gcs_take(&r->t.token_url);
	if (a->token_url == NULL)
		a->token_url = xasprintf("https://sts.%s/v1/token", a->universe != NULL ? a->universe : GCS_UNIVERSE);
	if (a->audience == NULL || a->subject_type == NULL)
		return gcs_missing("external_account", a->audience == NULL ? "audience" : "subject_token_type", reterr);
	if (gcs_check_url("token_url", a->token_url, false, reterr) != ERR_OK || gcs_source_of(r, reterr) != ERR_OK)
		return reterr->code;
	return r->t.hop_url != NULL ? gcs_hop_of(r, reterr) : ERR_OK;
}

static enum err_code gcs_account_read(struct span json, unsigned nested, struct gcs_account *ret, struct err *reterr);

/* What gcloud writes for "auth application-default login --impersonate-service-account". */
static enum err_code
gcs_impersonated_of(struct gcs_reader *r, struct span json, unsigned nested, struct err *reterr)
{
	static const char   type[] = "impersonated_service_account";
	struct gcs_account *a = r->a;
	char               *universe = a->universe, *project = a->project;
	enum err_code       rc;

	if (r->t.hop_url == NULL || r->inner_end == 0)
		return gcs_missing(type, r->t.hop_url == NULL ? "service_account_impersonation_url" : "source_credentials", reterr);
	if (nested == GCS_NESTED)
		return err_set(reterr, ERR_CONFIG, 0, "credentials of type %s inside each other", type);
	a->universe = a->project = NULL;
	rc = gcs_account_read(span_of(json.p + r->inner, (size_t)(r->inner_end - r->inner)), nested + 1, a, reterr);
	if (a->universe == NULL)
		a->universe = universe;
	else
		free(universe);
	if (project != NULL) {
		free(a->project);
		a->project = project;
	}
	return rc == ERR_OK ? gcs_hop_of(r, reterr) : err_prefix(reterr, "source_credentials");
}

static enum err_code
gcs_account_of(struct gcs_reader *r, struct span json, unsigned nested, struct err *reterr)
{
	const char *type = r->t.type;

	if (r->refused != NULL)
		return err_set(reterr, ERR_CONFIG, 0, "credentials with %s", r->refused);
	if (type == NULL)
		return err_set(reterr, ERR_CONFIG, 0, "credentials without a type");
	r->a->universe = gcs_take(&r->t.universe);
	r->a->project = gcs_take(&r->t.project);
	if (strcmp(type, "service_account") == 0)
		return gcs_service_of(r, reterr);
	if (strcmp(type, "authorized_user") == 0)
		return gcs_user_of(r, reterr);
	if (strcmp(type, "external_account") == 0)
		return gcs_federation_of(r, reterr);
	if (strcmp(type, "impersonated_service_account") == 0)
		return gcs_impersonated_of(r, json, nested, reterr);
	return err_set(reterr, ERR_CONFIG, 0, "credentials of type \"%.40s\": expected service_account, authorized_user, external_account or "
	    "impersonated_service_account", type);
}

static enum err_code
gcs_account_read(struct span json, unsigned nested, struct gcs_account *ret, struct err *reterr)
{
	struct gcs_reader   r = { .a = ret };
	struct json_reader *reader = json_reader_new(gcs_reader_event, &r);
	enum err_code       rc = ERR_OK;

	if (json_feed(reader, json.p, json.n, NULL) != ERR_OK || json_end(reader, NULL) != ERR_OK)
		rc = err_set(reterr, ERR_CONFIG, 0, "neither JSON nor a file with it");
	json_reader_free(reader);
	if (rc == ERR_OK)
		rc = gcs_account_of(&r, json, nested, reterr);
	for (size_t i = 0; i < ARRAY_LEN(gcs_texts); i++)
		free(*gcs_text(&r.t, i));
	gcs_hop_free(&r.hop);
	secret_free(r.private_key);
	return rc;
}

enum err_code
gcs_account_parse(struct span json, struct gcs_account *ret, struct err *reterr)
{
	struct gcs_account a = { .kind = GCS_MACHINE };
	enum err_code      rc = gcs_account_read(json, 0, &a, reterr);

	if (rc == ERR_OK)
		*ret = a;
	else
		gcs_account_free(&a);
	return rc;
}
