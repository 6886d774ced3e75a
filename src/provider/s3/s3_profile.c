/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "s3_cred.h"
#include "s3_ini.h"

/* One kind of file, credentials or config, as far as the profile is concerned. */
struct s3_side {
	const char    *profile;
	bool           config;      /* sections are called "profile NAME" */
	bool           found;
	struct s3_keys keys;
	char          *region, *endpoint_url;
	bool           role_arn;
	const char    *other;       /* another way to credentials that we do not go; NULL: none */
};

/* Ways to credentials that need requests or programs which this version does not know. */
static const char *const s3_profile_later[] = { "credential_source", "web_identity_token_file", "sso_session", "sso_start_url",
	"credential_process" };

void
s3_keys_free(struct s3_keys *k)
{
	free(k->access_key);
	secret_free(k->secret_key);
	secret_free(k->token);
	*k = (struct s3_keys){ 0 };
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
	free(p->region);
	free(p->endpoint_url);
	*p = (struct s3_profile){ 0 };
}

static void
s3_side_free(struct s3_side *s)
{
	s3_keys_free(&s->keys);
	free(s->region);
	free(s->endpoint_url);
}

/* --- one file --- */

/* What follows "profile " in "[profile NAME]", quotes removed; in a credentials file the section is the name. */
static bool
s3_side_is(const struct s3_side *side, struct span section)
{
	size_t word = strlen("profile");

	if (span_is(section, side->profile))
		return !side->config || strcmp(side->profile, "default") == 0;
	if (!side->config || section.n <= word || !span_starts(section, "profile"))
		return false;
	section = span_of(section.p + word, section.n - word);
	if (section.p[0] != ' ' && section.p[0] != '\t')
		return false;
	while (section.n > 0 && (section.p[0] == ' ' || section.p[0] == '\t'))
		section = span_of(section.p + 1, section.n - 1);
	if (section.n >= 2 && (section.p[0] == '"' || section.p[0] == '\'') && section.p[section.n - 1] == section.p[0])
		section = span_of(section.p + 1, section.n - 2);
	return span_is(section, side->profile);
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
	s->found = true;
	if (s3_key_is(key, "aws_access_key_id"))
		s3_take_text(&s->keys.access_key, value);
	else if (s3_key_is(key, "aws_secret_access_key"))
		s3_take_secret(&s->keys.secret_key, value);
	else if (s3_key_is(key, "aws_session_token"))
		s3_take_secret(&s->keys.token, value);
	else if (s3_key_is(key, "region"))
		s3_take_text(&s->region, value);
	else if (s3_key_is(key, "endpoint_url"))
		s3_take_text(&s->endpoint_url, value);
	else if (s3_key_is(key, "role_arn"))
		s->role_arn = s->role_arn || value.n > 0;
	for (size_t i = 0; value.n > 0 && i < ARRAY_LEN(s3_profile_later); i++)
		if (s3_key_is(key, s3_profile_later[i]))
			s->other = s3_profile_later[i];
}

static enum err_code
s3_file_read(const char *path, struct buf *ret, struct err *reterr)
{
	int     fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = 1;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return ERR_OK;
	if (fd < 0)
		return err_errno(reterr, errno, "cannot open %s", path);
	while (n > 0 && buf_reserve(ret, 4096, reterr) == ERR_OK) {
		n = read(fd, ret->data + ret->len, 4096);
		ret->len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (n < 0)
		return err_errno(reterr, errno, "cannot read %s", path);
	return n == 0 ? ERR_OK : err_prefix(reterr, "%s", path);
}

static enum err_code
s3_side_file(const struct conf_source *src, const char *path, struct s3_side *s, struct err *reterr)
{
	struct buf    text;
	enum err_code rc;

	buf_init(&text, S3_SHARED_FILE_MAX);
	buf_reserve(&text, 4096, NULL);
	if (src != NULL && src->file != NULL)
		rc = src->file(src->arg, path, &text, reterr) == ERR_OK || reterr->detail == ENOENT ? ERR_OK : reterr->code;
	else
		rc = s3_file_read(path, &text, reterr);
	if (rc == ERR_OK)
		s3_ini_parse(buf_span(&text), s3_side_pair, s);
	buf_wipe_free(&text);
	return rc;
}

/* --- both kinds together --- */

static void
s3_profile_region(struct s3_side *a, struct s3_side *b, struct s3_profile *ret)
{
	ret->region = xstrdup(a->region != NULL ? a->region : b->region);
	ret->endpoint_url = xstrdup(b->endpoint_url != NULL ? b->endpoint_url : a->endpoint_url);
}

static enum err_code
s3_profile_role(const struct s3_files *f, const char *key, struct err *reterr)
{
	err_set(reterr, ERR_CONFIG, 0, "profile \"%s\" gets its credentials by %s, which needs a later version of stateferry",
	    f->profile, key);
	return err_hint(reterr, "give a profile with aws_access_key_id, or keys in the environment");
}

/* The credentials file wins; role_arn wins over keys, which are only its source then. */
static enum err_code
s3_profile_merge(const struct s3_files *f, struct s3_side *cred, struct s3_side *config, struct s3_profile *ret,
    struct err *reterr)
{
	struct s3_side *with = cred->keys.access_key != NULL || cred->keys.secret_key != NULL ? cred : config;
	const char     *other = cred->other != NULL ? cred->other : config->other;

	if (f->named && !cred->found && !config->found) {
		err_set(reterr, ERR_CONFIG, 0, "there is no profile \"%s\" in %s", f->profile,
		    f->ncredentials > 0 ? f->credentials[0] : "the shared files");
		return err_hint(reterr, "aws configure --profile %s makes one", f->profile);
	}
	if (cred->role_arn || config->role_arn)
		return s3_profile_role(f, "role_arn", reterr);
	if ((with->keys.access_key != NULL) != (with->keys.secret_key != NULL))
		return err_set(reterr, ERR_CONFIG, 0, "profile \"%s\" has aws_%s without its other half", f->profile,
		    with->keys.access_key != NULL ? "access_key_id" : "secret_access_key");
	if (with->keys.access_key == NULL && other != NULL)
		return s3_profile_role(f, other, reterr);
	s3_profile_region(cred, config, ret);
	ret->keys = with->keys;
	with->keys = (struct s3_keys){ 0 };
	return ERR_OK;
}

enum err_code
s3_profile_read(const struct conf_source *src, const struct s3_files *f, struct s3_profile *ret, struct err *reterr)
{
	struct s3_side cred = { .profile = f->profile }, config = { .profile = f->profile, .config = true };
	enum err_code  rc = ERR_OK;
	struct err     e = { .code = ERR_OK };

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; rc == ERR_OK && i < f->ncredentials; i++)
		rc = s3_side_file(src, f->credentials[i], &cred, &e);
	for (size_t i = 0; rc == ERR_OK && i < f->nconfig; i++)
		rc = s3_side_file(src, f->config[i], &config, &e);
	if (rc == ERR_OK)
		rc = s3_profile_merge(f, &cred, &config, ret, &e);
	s3_side_free(&cred);
	s3_side_free(&config);
	if (rc != ERR_OK && reterr != NULL)
		*reterr = e;
	return rc;
}
