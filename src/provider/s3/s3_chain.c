/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/json.h"
#include "provider/outside.h"
#include "s3.h"

/*
 * Where credentials begin, in terraform's order, and which roles are taken with them, one after the other: those of the profiles,
 * from the innermost, then the block's own.
 */
#define S3_TOKEN_MAX ((size_t)64 << 10)

void
s3_chain_free(struct s3_chain *c)
{
	s3_keys_free(&c->keys);
	secret_free(c->token);
	free(c->sso_region);
	for (size_t i = 0; i < c->nprofiles; i++)
		s3_profile_free(&c->profiles[i]);
	memset(c, 0, sizeof(*c));
}

/* ---------------------------------------------------------------- finding */

static bool
s3_env_keys(const struct provider_env *env, struct s3_chain *ret)
{
	const char *id = outside_env(env, "AWS_ACCESS_KEY_ID"), *key = outside_env(env, "AWS_SECRET_ACCESS_KEY");
	const char *token = outside_env(env, "AWS_SESSION_TOKEN");

	id = id != NULL ? id : outside_env(env, "AWS_ACCESS_KEY");
	key = key != NULL ? key : outside_env(env, "AWS_SECRET_KEY");
	if (id == NULL || key == NULL)
		return false;
	s3_keys_free(&ret->keys);
	ret->keys = (struct s3_keys){ xstrdup(id), secret_new(span_str(key)), token != NULL ? secret_new(span_str(token)) : NULL, 0 };
	ret->base = BASE_KEYS;
	snprintf(ret->source, sizeof(ret->source), "the environment");
	return true;
}

static void
s3_chain_web(struct s3_chain *ret, const struct s3_role *role, const char *source)
{
	ret->web = *role;
	ret->base = BASE_WEB;
	snprintf(ret->source, sizeof(ret->source), "%s", source);
}

static enum err_code
s3_profile_sources(const struct s3_sources *s, const char *name, const struct s3_profile *p, struct s3_chain *ret,
    struct err *reterr)
{
	const char *from = p->credential_source;

	if (strcmp(from, "Environment") == 0) {
		if (s3_env_keys(s->env, ret))
			return ERR_OK;
		return err_set(reterr, ERR_CONFIG, 0, "profile \"%s\" wants credentials from the environment, which has none", name);
	}
	if (strcmp(from, "Ec2InstanceMetadata") == 0)
		ret->base = BASE_INSTANCE;
	else if (strcmp(from, "EcsContainer") == 0)
		ret->base = BASE_CONTAINER;
	else
		return err_set(reterr, ERR_CONFIG, 0, "profile \"%s\": credential_source is Environment, Ec2InstanceMetadata or EcsContainer, "
		    "not \"%.40s\"", name, from);
	return ERR_OK;
}

static void
s3_profile_keys(const char *name, struct s3_profile *p, struct s3_chain *ret)
{
	ret->last = p;
	ret->last_name = name;
	snprintf(ret->source, sizeof(ret->source), "profile \"%.80s\"", name);
	if (p->keys.access_key != NULL) {
		ret->base = BASE_KEYS;
		s3_keys_free(&ret->keys);
		s3_keys_copy(&ret->keys, &p->keys);
	} else if (p->sso_account_id != NULL || p->sso_session != NULL || p->sso_start_url != NULL) {
		ret->base = BASE_SSO;
	} else if (p->credential_process != NULL) {
		ret->base = BASE_PROCESS;
	}
}

static enum err_code s3_chain_profile(const struct s3_sources *s, const char *name, bool needed, struct s3_chain *ret,
    struct err *reterr);

static enum err_code
s3_profile_role(const struct s3_sources *s, const char *name, struct s3_profile *p, struct s3_chain *ret, struct err *reterr)
{
	struct s3_role role = { .arn = p->role_arn, .session_name = p->role_session_name, .external_id = p->external_id,
		.token_file = p->web_identity_token_file, .seconds = p->duration_seconds != NULL ? strtoll(p->duration_seconds, NULL, 10) : 0 };
	char           source[96];
	enum err_code  rc;

	if (p->mfa_serial != NULL) {
		err_set(reterr, ERR_CONFIG, 0, "profile \"%s\" wants a code of a second factor (mfa_serial), and nobody is here to type one", name);
		return err_hint(reterr, "use a role that needs none for this agent");
	}
	if (role.token_file != NULL) {
		snprintf(source, sizeof(source), "profile \"%.80s\"", name);
		s3_chain_web(ret, &role, source);
		return ERR_OK;
	}
	if (p->source_profile != NULL && strcmp(p->source_profile, name) == 0) {
		s3_profile_keys(name, p, ret);
		rc = ret->base == BASE_KEYS ? ERR_OK : err_set(reterr, ERR_CONFIG, 0, "profile \"%s\" is its own source, and has no keys", name);
	} else if (p->source_profile != NULL) {
		rc = s3_chain_profile(s, p->source_profile, true, ret, reterr);
	} else if (p->credential_source != NULL) {
		rc = s3_profile_sources(s, name, p, ret, reterr);
	} else {
		return err_set(reterr, ERR_CONFIG, 0, "profile \"%s\" has role_arn, but neither source_profile nor credential_source", name);
	}
	if (rc == ERR_OK)
		ret->roles[ret->nroles++] = role;
	return rc;
}

static enum err_code
s3_chain_profile(const struct s3_sources *s, const char *name, bool needed, struct s3_chain *ret, struct err *reterr)
{
	struct s3_profile *p = &ret->profiles[ret->nprofiles];

	if (ret->nprofiles + 1 >= S3_CHAIN_MAX)
		return err_set(reterr, ERR_CONFIG, 0, "profile \"%s\": source_profile leads over more than %d profiles, or in a circle", name,
		    S3_CHAIN_MAX - 1);
	if (s3_profile_read(s->env->source, s->files, name, p, reterr) != ERR_OK)
		return reterr->code;
	ret->nprofiles++;
	if (!p->found && needed) {
		err_set(reterr, ERR_CONFIG, 0, "there is no profile \"%s\" in %s", name,
		    s->files->ncredentials > 0 ? s->files->credentials[0] : "the shared files");
		return err_hint(reterr, "aws configure --profile %s makes one", name);
	}
	if (p->role_arn != NULL)
		return s3_profile_role(s, name, p, ret, reterr);
	s3_profile_keys(name, p, ret);
	return ERR_OK;
}

static enum err_code
s3_chain_env(const struct s3_sources *s, struct s3_chain *ret, struct err *reterr)
{
	const char    *file = outside_env(s->env, "AWS_WEB_IDENTITY_TOKEN_FILE");
	struct s3_role role = { .token_file = file, .arn = outside_env(s->env, "AWS_ROLE_ARN"),
		.session_name = outside_env(s->env, "AWS_ROLE_SESSION_NAME") };

	bool           first = s->conf->profile != NULL && s->conf->profile[0] != '\0'; /* the block's profile, before the environment */

	if (!first && s3_env_keys(s->env, ret))
		return ERR_OK;
	if (!first && file != NULL) {
		if (role.arn == NULL)
			return err_set(reterr, ERR_CONFIG, 0, "AWS_WEB_IDENTITY_TOKEN_FILE without AWS_ROLE_ARN");
		s3_chain_web(ret, &role, "AWS_WEB_IDENTITY_TOKEN_FILE");
		return ERR_OK;
	}
	return s3_chain_profile(s, s->files->profile, s->files->named, ret, reterr);
}

static bool
s3_block_keys(const struct s3_sources *s, struct s3_chain *ret)
{
	struct s3_keys own = { (char *)(uintptr_t)s->conf->access_key, s->conf->secret_key, s->conf->token, 0 };

	if (own.access_key == NULL || own.access_key[0] == '\0')
		return false;
	s3_keys_copy(&ret->keys, &own);
	ret->base = BASE_KEYS;
	snprintf(ret->source, sizeof(ret->source), "the backend block");
	return true;
}

enum err_code
s3_chain_find(const struct s3_sources *s, struct s3_chain *ret, struct err *reterr)
{
	memset(ret, 0, sizeof(*ret));
	if (s->web != NULL)
		s3_chain_web(ret, s->web, "assume_role_with_web_identity");
	else if (!s3_block_keys(s, ret) && s3_chain_env(s, ret, reterr) != ERR_OK)
		return reterr->code;
	if (s->role != NULL)
		ret->roles[ret->nroles++] = *s->role;
	return ERR_OK;
}

/* ---------------------------------------------------------------- loading */

/* A token on one line. */
static enum err_code
s3_chain_web_token(const struct s3_sources *s, struct s3_chain *c, struct err *reterr)
{
	const char   *path = c->web.token_file;
	struct buf    text;
	struct span   t;
	bool          found = true, loose;
	enum err_code rc;

	if (c->web.token != NULL && secret_len(c->web.token) > 0) {
		c->token = secret_new(span_str(secret_str(c->web.token)));
		return ERR_OK;
	}
	buf_init(&text, S3_TOKEN_MAX);
	buf_reserve(&text, 4096, NULL);
	rc = outside_read(s->env->source, path, &text, &found, &loose, reterr);
	t = buf_span(&text);
	while (t.n > 0 && strchr("\r\n\t ", t.p[t.n - 1]) != NULL)
		t.n--;
	if (rc == ERR_OK && (!found || t.n == 0)) {
		rc = err_set(reterr, ERR_AUTH, 0, "the token of the web identity: %s %s", path, found ? "is empty" : "is not there");
		err_hint(reterr, "whoever issues it has to put it there: check web_identity_token_file or AWS_WEB_IDENTITY_TOKEN_FILE");
	}
	if (rc == ERR_OK)
		c->token = secret_new(t);
	buf_wipe_free(&text);
	return rc;
}

/* {"accessToken": ..., "expiresAt": ...} of the cache. */
struct s3_sso_reader {
	char           key[32], expires[40];
	struct secret *token;
};

static enum json_want
s3_sso_event(void *arg, const struct json_token *t)
{
	struct s3_sso_reader *r = arg;

	if (t->event == JSON_EV_KEY && t->depth == 1) {
		snprintf(r->key, sizeof(r->key), "%.*s", (int)t->text.n, (const char *)t->text.p);
	} else if (t->event == JSON_EV_STRING && t->depth == 1 && strcmp(r->key, "accessToken") == 0) {
		secret_free(r->token);
		r->token = t->text.n > 0 && !t->cut ? secret_new(t->text) : NULL;
	} else if (t->event == JSON_EV_STRING && t->depth == 1 && strcmp(r->key, "expiresAt") == 0) {
		snprintf(r->expires, sizeof(r->expires), "%.*s", (int)t->text.n, (const char *)t->text.p);
	} else if (t->depth >= 1 && (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY)) {
		return JSON_SKIP_TEXT;
	}
	return JSON_WANT;
}

static enum err_code
s3_sso_expired(const struct s3_chain *c, const char *what, const char *name, struct err *reterr)
{
	err_set(reterr, ERR_AUTH, 0, "%s: %s", c->source, what);
	return err_hint(reterr, "aws sso login --%s %s", c->last->sso_session != NULL ? "sso-session" : "profile", name);
}

static enum err_code
s3_sso_cache(const struct s3_sources *s, struct s3_chain *c, const char *key, const char *name, struct err *reterr)
{
	const char          *home = outside_env(s->env, "HOME");
	uint8_t              sum[SHA1_LEN];
	char                 hex[2 * SHA1_LEN + 1], *path;
	struct s3_sso_reader r = { .key = "" };
	struct json_reader  *reader;
	struct buf           text;
	int64_t              ends;
	bool                 found = false, loose;
	enum err_code        rc;

	sha1_of(key, strlen(key), sum);
	hex_encode(sum, sizeof(sum), hex);
	path = xasprintf("%s/.aws/sso/cache/%s.json", home != NULL ? home : "", hex);
	buf_init(&text, S3_TOKEN_MAX);
	buf_reserve(&text, 4096, NULL);
	rc = outside_read(s->env->source, path, &text, &found, &loose, reterr);
	free(path);
	reader = json_reader_new(s3_sso_event, &r);
	if (rc == ERR_OK && found && (json_feed(reader, text.data, text.len, NULL) != ERR_OK || json_end(reader, NULL) != ERR_OK)) {
		secret_free(r.token);
		r.token = NULL;
	}
	json_reader_free(reader);
	buf_wipe_free(&text);
	if (rc == ERR_OK && r.token == NULL)
		rc = s3_sso_expired(c, "nobody has logged in to AWS IAM Identity Center for it", name, reterr);
	else if (rc == ERR_OK && (!time_parse(r.expires, &ends) || ends <= s->now))
		rc = s3_sso_expired(c, "the login to AWS IAM Identity Center has expired", name, reterr);
	if (rc == ERR_OK)
		c->token = r.token;
	else
		secret_free(r.token);
	return rc;
}

static enum err_code
s3_chain_sso(const struct s3_sources *s, struct s3_chain *c, struct err *reterr)
{
	const struct s3_profile *p = c->last;
	struct s3_profile        session = { .found = false };
	const char              *region = p->sso_region, *key = p->sso_start_url, *name = c->last_name, *missing;
	enum err_code            rc = ERR_OK;

	if (p->sso_session != NULL) {
		rc = s3_session_read(s->env->source, s->files, p->sso_session, &session, reterr);
		if (rc == ERR_OK && !session.found)
			rc = err_set(reterr, ERR_CONFIG, 0, "%s: there is no [sso-session %s]", c->source, p->sso_session);
		region = session.sso_region;
		key = name = p->sso_session;
	}
	missing = region == NULL ? "sso_region" : key == NULL ? "sso_start_url" : p->sso_account_id == NULL ? "sso_account_id" :
	    p->sso_role_name == NULL ? "sso_role_name" : NULL;
	if (rc == ERR_OK && missing != NULL) {
		rc = err_set(reterr, ERR_CONFIG, 0, "%s: expected %s beside its other sso arguments", c->source, missing);
	} else if (rc == ERR_OK) {
		c->sso_region = xstrdup(region);
		rc = s3_sso_cache(s, c, key, name, reterr);
	}
	s3_profile_free(&session);
	return rc;
}

enum err_code
s3_chain_load(const struct s3_sources *s, struct s3_chain *c, struct work_job *job, struct err *reterr)
{
	enum err_code rc;

	switch (c->base) {
	case BASE_WEB:
		return s3_chain_web_token(s, c, reterr);
	case BASE_SSO:
		return s3_chain_sso(s, c, reterr);
	case BASE_PROCESS:
		if (c->last->loose) {
			err_set(reterr, ERR_CONFIG, 0, "%s names a program (credential_process), but others may write its file", c->source);
			return err_hint(reterr, "chmod go-w the shared files, and let them belong to root or to the user of the agent");
		}
		rc = s3_process_keys(c->last->credential_process, job, &c->keys, reterr);
		return rc == ERR_OK ? ERR_OK : err_prefix(reterr, "%s", c->source);
	default:
		return ERR_OK;
	}
}
