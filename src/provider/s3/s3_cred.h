/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_S3_CRED_H
#define SRC_PROVIDER_S3_CRED_H

#include "conf/conf.h"
#include "net/sigv4.h"
#include "provider/provider.h"

/*
 * Where credentials come from, in terraform's order (docs/protocol/s3.md, "Credentials"): the block, its profile, the
 * environment, the shared files, a container's endpoint, an instance's metadata. The first that has some is used.
 */
struct s3_keys {
	char          *access_key;  /* NULL: none */
	struct secret *secret_key, *token;
	int64_t        expires;     /* wall ms; 0: never */
};
void s3_keys_free(struct s3_keys *k); /* contents */

/* --- s3_profile.c: the shared files --------------------------------------------------------------------------------- */

#define S3_SHARED_FILE_MAX ((size_t)1 << 20)
#define S3_SHARED_FILES    8

struct s3_files {
	char  *credentials[S3_SHARED_FILES], *config[S3_SHARED_FILES];
	size_t ncredentials, nconfig;
	char  *profile;
	bool   named;        /* profile was asked for by name: it is an error when it is missing */
};

struct s3_profile {
	struct s3_keys keys; /* access_key NULL: the profile has none, or does not exist */
	char          *region, *endpoint_url;
};

void          s3_files_free(struct s3_files *f);
void          s3_profile_free(struct s3_profile *p);
/* Reads; blocks. Missing files are empty ones. ERR_CONFIG: a named profile is in none of them, its keys are incomplete, or it
 * takes a role, which this version does not; ERR_IO: a file is there, but cannot be read. src may be NULL. */
enum err_code s3_profile_read(const struct conf_source *src, const struct s3_files *f, struct s3_profile *ret, struct err *reterr);

/* --- s3_metadata.c: endpoints that hand out credentials -------------------------------------------------------------- */

struct s3_metadata {
	char          *container_url;  /* NULL: no container */
	char          *container_token_file;
	struct secret *container_token;
	char          *instance_url;   /* NULL: turned off */
};

void       s3_metadata_free(struct s3_metadata *m);
/* ret is filled on success. m outlives the op. */
struct op *s3_container_keys(const struct provider_env *env, const struct s3_metadata *m, struct s3_keys *ret);
struct op *s3_instance_keys(const struct provider_env *env, const struct s3_metadata *m, struct s3_keys *ret);
/* {"AccessKeyId": ...} of either; ERR_AUTH with its own message when it is a refusal, ERR_CORRUPT. */
enum err_code s3_keys_parse(struct span json, struct s3_keys *ret, struct err *reterr);

/* --- s3_cred.c: which of them, and keeping them fresh ---------------------------------------------------------------- */

struct s3_conf;
struct s3_cred;

/* May read the shared files; dir: what relative paths are relative to. *ret_profile is what the profile says of region and
 * endpoint; freed by the caller. */
enum err_code  s3_cred_new(const struct provider_env *env, const struct s3_conf *conf, const char *dir, struct s3_cred **ret,
    struct s3_profile *ret_profile, struct err *reterr);
void           s3_cred_free(struct s3_cred *c);
/* Ends OK when there are credentials to sign with; they are renewed as token.h says. */
struct op     *s3_cred_ready(struct s3_cred *c, int64_t wall_ms);
/* After that, until the next turn of the loop. */
void           s3_cred_key(struct s3_cred *c, struct sigv4_key *ret);
unsigned       s3_cred_generation(const struct s3_cred *c);
/* The server refused those of that generation as expired or unknown: the next s3_cred_ready() gets new ones. false: there
 * is nowhere to get others from. */
bool           s3_cred_reject(struct s3_cred *c, unsigned generation);
/* "the backend block", "profile prod" ...: for messages. */
const char    *s3_cred_source(const struct s3_cred *c);

#endif
