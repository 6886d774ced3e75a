/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <strings.h>

#include "provider/outside.h"
#include "s3_cred.h"
#include "s3_ini.h"

/* The sections of one kind of file that are about one name. */
struct s3_side {
	const char       *name;
	const char       *word;  /* in front of the name, "profile"; NULL: none */
	bool              bare;  /* "default" may stand alone */
	struct s3_profile p;
};

#define AT(member) offsetof(struct s3_profile, member)

static const struct {
	const char *key;
	size_t      offset;
} s3_profile_texts[] = { { "region", AT(region) }, { "endpoint_url", AT(endpoint_url) }, { "role_arn", AT(role_arn) },
	{ "external_id", AT(external_id) }, { "role_session_name", AT(role_session_name) }, { "duration_seconds", AT(duration_seconds) },
	{ "source_profile", AT(source_profile) }, { "credential_source", AT(credential_source) },
	{ "web_identity_token_file", AT(web_identity_token_file) }, { "mfa_serial", AT(mfa_serial) },
	{ "credential_process", AT(credential_process) }, { "sso_session", AT(sso_session) }, { "sso_start_url", AT(sso_start_url) },
	{ "sso_region", AT(sso_region) }, { "sso_account_id", AT(sso_account_id) }, { "sso_role_name", AT(sso_role_name) } };

static char **
s3_profile_text(struct s3_profile *p, size_t i)
{
	return (char **)(void *)((char *)p + s3_profile_texts[i].offset);
}

void
s3_keys_free(struct s3_keys *k)
{
	free(k->access_key);
	secret_free(k->secret_key);
	secret_free(k->token);
	*k = (struct s3_keys){ 0 };
}

static struct secret *
s3_secret_dup(const struct secret *s)
{
	return s == NULL || secret_len(s) == 0 ? NULL : secret_new(span_str(secret_str(s)));
}

void
s3_keys_copy(struct s3_keys *to, const struct s3_keys *from)
{
	*to = (struct s3_keys){ xstrdup(from->access_key), s3_secret_dup(from->secret_key), s3_secret_dup(from->token), from->expires };
}

void
s3_files_free(struct s3_files *f)
{
	for (size_t i = 0; i < f->ncredentials; i++)
		free(f->credentials[i]);
	for (size_t i = 0; i < f->nconfig; i++)
		free(f->config[i]);
	free(f->profile);
	*f = (struct s3_files){ 0 };
}

void
s3_profile_free(struct s3_profile *p)
{
	s3_keys_free(&p->keys);
	for (size_t i = 0; i < ARRAY_LEN(s3_profile_texts); i++)
		free(*s3_profile_text(p, i));
	memset(p, 0, sizeof(*p));
}

/* --- one file --- */

/* What follows "profile " in "[profile NAME]", quotes removed; in a credentials file the section is the name. */
static bool
s3_side_is(const struct s3_side *side, struct span section)
{
	size_t word = side->word != NULL ? strlen(side->word) : 0;

	if (span_is(section, side->name) && side->bare)
		return true;
	if (word == 0 || section.n <= word || !span_starts(section, side->word))
		return false;
	section = span_of(section.p + word, section.n - word);
	if (section.p[0] != ' ' && section.p[0] != '\t')
		return false;
	while (section.n > 0 && (section.p[0] == ' ' || section.p[0] == '\t'))
		section = span_of(section.p + 1, section.n - 1);
	if (section.n >= 2 && (section.p[0] == '"' || section.p[0] == '\'') && section.p[section.n - 1] == section.p[0])
		section = span_of(section.p + 1, section.n - 2);
	return span_is(section, side->name);
}

static bool
s3_key_is(struct span key, const char *name)
{
	return key.n == strlen(name) && strncasecmp((const char *)key.p, name, key.n) == 0;
}

static void
s3_take_text(char **to, struct span value)
{
	free(*to);
	*to = value.n > 0 ? span_dup(value) : NULL;
}

static void
s3_take_secret(struct secret **to, struct span value)
{
	secret_free(*to);
	*to = value.n > 0 ? secret_new(value) : NULL;
}

static void
s3_side_pair(void *arg, struct span section, struct span parent, struct span key, struct span value)
{
	struct s3_side *s = arg;

	if (parent.n > 0 || !s3_side_is(s, section))
		return;
	s->p.found = true;
	if (s3_key_is(key, "aws_access_key_id"))
		s3_take_text(&s->p.keys.access_key, value);
	else if (s3_key_is(key, "aws_secret_access_key"))
		s3_take_secret(&s->p.keys.secret_key, value);
	else if (s3_key_is(key, "aws_session_token"))
		s3_take_secret(&s->p.keys.token, value);
	for (size_t i = 0; i < ARRAY_LEN(s3_profile_texts); i++)
		if (s3_key_is(key, s3_profile_texts[i].key))
			s3_take_text(s3_profile_text(&s->p, i), value);
}

static enum err_code
s3_side_files(const struct conf_source *src, char *const *paths, size_t n, struct s3_side *s, struct err *reterr)
{
	enum err_code rc = ERR_OK;
	struct buf    text;
	bool          found, loose;

	for (size_t i = 0; i < n && rc == ERR_OK; i++) {
		buf_init(&text, S3_SHARED_FILE_MAX);
		buf_reserve(&text, 4096, NULL);
		err_clear(reterr);
		rc = outside_read(src, paths[i], &text, &found, &loose, reterr);
		s->p.loose |= loose;
		if (rc == ERR_OK)
			s3_ini_parse(buf_span(&text), s3_side_pair, s);
		buf_wipe_free(&text);
	}
	return rc;
}

/* --- both kinds together --- */

/* The credentials file wins, but for the endpoint, which belongs into the other. */
static enum err_code
s3_profile_merge(struct s3_side *cred, struct s3_side *config, struct s3_profile *ret, struct err *reterr)
{
	struct s3_side *with = cred->p.keys.access_key != NULL || cred->p.keys.secret_key != NULL ? cred : config;

	if ((with->p.keys.access_key != NULL) != (with->p.keys.secret_key != NULL))
		return err_set(reterr, ERR_CONFIG, 0, "profile \"%s\" has aws_%s without its other half", cred->name,
		    with->p.keys.access_key != NULL ? "access_key_id" : "secret_access_key");
	for (size_t i = 0; i < ARRAY_LEN(s3_profile_texts); i++) {
		struct s3_side *first = s3_profile_texts[i].offset == AT(endpoint_url) ? config : cred;
		struct s3_side *from = *s3_profile_text(&first->p, i) != NULL ? first : first == cred ? config : cred;

		*s3_profile_text(ret, i) = *s3_profile_text(&from->p, i);
		*s3_profile_text(&from->p, i) = NULL;
	}
	ret->keys = with->p.keys;
	with->p.keys = (struct s3_keys){ 0 };
	ret->found = cred->p.found || config->p.found;
	ret->loose = cred->p.loose || config->p.loose;
	return ERR_OK;
}

enum err_code
s3_profile_read(const struct conf_source *src, const struct s3_files *f, const char *name, struct s3_profile *ret,
    struct err *reterr)
{
	struct s3_side cred = { .name = name, .bare = true };
	struct s3_side config = { .name = name, .word = "profile", .bare = strcmp(name, "default") == 0 };
	enum err_code  rc;
	struct err     e = { .code = ERR_OK };

	memset(ret, 0, sizeof(*ret));
	rc = s3_side_files(src, f->credentials, f->ncredentials, &cred, &e);
	if (rc == ERR_OK)
		rc = s3_side_files(src, f->config, f->nconfig, &config, &e);
	if (rc == ERR_OK)
		rc = s3_profile_merge(&cred, &config, ret, &e);
	s3_profile_free(&cred.p);
	s3_profile_free(&config.p);
	if (rc != ERR_OK && reterr != NULL)
		*reterr = e;
	return rc;
}

enum err_code
s3_session_read(const struct conf_source *src, const struct s3_files *f, const char *name, struct s3_profile *ret,
    struct err *reterr)
{
	struct s3_side side = { .name = name, .word = "sso-session" };
	enum err_code  rc = s3_side_files(src, f->config, f->nconfig, &side, reterr);

	*ret = side.p;
	return rc;
}
