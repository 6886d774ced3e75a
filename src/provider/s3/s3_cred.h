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
void s3_keys_copy(struct s3_keys *to, const struct s3_keys *from);

/* --- s3_profile.c: the shared files --------------------------------------------------------------------------------- */

#define S3_SHARED_FILE_MAX ((size_t)1 << 20)
#define S3_SHARED_FILES    8

struct s3_files {
	char  *credentials[S3_SHARED_FILES], *config[S3_SHARED_FILES];
	size_t ncredentials, nconfig;
	char  *profile;
	bool   named;        /* profile was asked for by name: it is an error when it is missing */
};

/* One profile, of both kinds of files together; NULL: does not say. */
struct s3_profile {
	struct s3_keys keys;  /* access_key NULL: it has none */
	char          *region, *endpoint_url, *role_arn, *external_id, *role_session_name, *duration_seconds, *source_profile,
	    *credential_source, *web_identity_token_file, *mfa_serial, *credential_process, *sso_session, *sso_start_url, *sso_region,
	    *sso_account_id, *sso_role_name;
	bool           found;
	bool           loose; /* a file that others may write says so: no program is run that it names */
};

void          s3_files_free(struct s3_files *f);
void          s3_profile_free(struct s3_profile *p);
/* Reads; blocks. Missing files are empty ones, and a missing profile is an empty one, not found. ERR_CONFIG: its keys are incomplete;
 * ERR_IO: a file is there, but cannot be read. src may be NULL. */
enum err_code s3_profile_read(const struct conf_source *src, const struct s3_files *f, const char *name, struct s3_profile *ret,
    struct err *reterr);
/* The same for the section [sso-session NAME]. */
enum err_code s3_session_read(const struct conf_source *src, const struct s3_files *f, const char *name, struct s3_profile *ret,
    struct err *reterr);

struct s3_conf;

/* --- s3_chain.c: where the first credentials come from, and which roles are taken with them -------------------------- */

#define S3_CHAIN_MAX 6

struct s3_role {
	const char     *arn, *session_name, *external_id, *policy, *source_identity; /* NULL: none */
	int64_t         seconds;          /* 0: as STS has it */
	struct conf_strs policy_arns, transitive_tag_keys;
	struct conf_map tags;
	const char     *token_file;       /* of a web identity */
	const struct secret *token;
};

enum s3_base { BASE_MACHINE, BASE_KEYS, BASE_WEB, BASE_SSO, BASE_PROCESS, BASE_CONTAINER, BASE_INSTANCE };

struct s3_chain {
	enum s3_base      base;
	char              source[96];     /* for messages */
	struct s3_keys    keys;           /* KEYS, PROCESS */
	struct s3_role    web;            /* WEB */
	struct s3_role    roles[S3_CHAIN_MAX];
	size_t            nroles;
	const struct s3_profile *last;    /* SSO, PROCESS: the profile that says so */
	const char       *last_name;
	char             *sso_region;
	struct secret    *token;          /* WEB, SSO: as it is now */
	struct s3_profile profiles[S3_CHAIN_MAX]; /* what the texts above point into */
	size_t            nprofiles;
};

struct s3_sources {
	const struct provider_env *env;
	const struct s3_files     *files;
	const struct s3_conf      *conf;
	const struct s3_role      *web, *role;    /* of the block; NULL: none */
	int64_t                    now;           /* wall clock; set before each job: the loop's is not for the pool */
};

void          s3_chain_free(struct s3_chain *c);
/* From the environment and files; blocks, but runs nothing and reads no token. May be called again. */
enum err_code s3_chain_find(const struct s3_sources *s, struct s3_chain *ret, struct err *reterr);
/* Reads the token, or runs the program, that it needs; blocks. job: to see that nobody waits any longer; may be NULL. */
enum err_code s3_chain_load(const struct s3_sources *s, struct s3_chain *c, struct work_job *job, struct err *reterr);
/* Runs a program as credential_process says, without a shell, and reads what it prints. */
enum err_code s3_process_keys(const char *command, struct work_job *job, struct s3_keys *ret, struct err *reterr);

/* --- s3_sts.c: requests for other credentials ------------------------------------------------------------------------ */

struct aws_net;

struct s3_sts {
	struct aws_net *net;
	char           *region, *endpoint, *sso_endpoint; /* sso_endpoint NULL: AWS */
	const char     *agent_name;                       /* for session names */
};

/* role and keys outlive the op. token: of a web identity; then keys are not needed. */
struct op *s3_take_role(struct s3_sts *s, const struct s3_role *role, const struct s3_keys *keys, const struct secret *token,
    struct s3_keys *ret);
struct op *s3_sso_keys(struct s3_sts *s, const struct s3_chain *c, struct s3_keys *ret);
/* Whose they are: the number of the account. */
#define S3_ACCOUNT_MAX 32
struct op *s3_account_of(struct s3_sts *s, const struct s3_keys *keys, char ret[S3_ACCOUNT_MAX]);

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

struct s3_cred;

/* May read the shared files; dir: what relative paths are relative to. *ret_profile is what the profile says of region and
 * endpoint; freed by the caller. web, role: of the block, NULL: none. Nothing of the arguments is
 * needed afterwards but env. */
enum err_code  s3_cred_new(const struct provider_env *env, const struct s3_conf *conf, const char *dir, const struct s3_role *web,
    const struct s3_role *role, struct s3_cred **ret, struct s3_profile *ret_profile, struct err *reterr);
/* Where STS and SSO are; takes the texts. Before the first request. */
void           s3_cred_place(struct s3_cred *c, struct s3_sts *owned);
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
