/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_AZURERM_H
#define SRC_PROVIDER_AZURERM_H

#include "base/map.h"
#include "net/url.h"
#include "provider/azurerm/azurerm_cred.h"
#include "provider/send.h"

/*
 * The driver of Azure Blob Storage (docs/protocol/azurerm.md). One topic per file: azurerm.c configuration and driver table,
 * azurerm_cred.c what it signs in with, azurerm_request.c one request with what may be repeated, azurerm_list.c, azurerm_blob.c,
 * azurerm_lease.c with azurerm_lock.c and azurerm_unlock.c, azurerm_create.c, azurerm_probe.c.
 *
 * A blob's ETag changes with every lock, for the lock's body is metadata. So the change tag of a state is its Content-MD5; a blob
 * that has none goes by its ETag. Writes compare the tag, and are then made on the ETag that came with it.
 */
#define AZURERM_NAME_MAX 1024
#define AZURERM_SEGMENTS_MAX 254
#define AZURERM_META_MAX 40   /* entries of a blob's metadata that we carry over: Azure counts bytes only, an answer has 64 headers here */
#define AZURERM_LOCK     "terraformlockid"

struct azurerm_conf {
	const char    *storage_account_name, *container_name, *key, *blob_endpoint;
	int            environment;
	bool           snapshot;
	struct secret *access_key, *sas_token;
	/* Sign-in by Entra ID, and the key of the account through the management API. */
	const char    *resource_group_name, *subscription_id, *tenant_id, *metadata_host;
	bool           lookup_blob_endpoint, use_azuread_auth;
	const char    *client_id, *client_id_file_path, *client_secret_file_path, *client_certificate_path;
	int64_t        timeout_ms;
	struct secret *client_secret, *client_certificate, *client_certificate_password;
	bool           use_oidc, use_msi, use_aks_workload_identity, use_cli;
	struct secret *oidc_token, *oidc_request_token;
	const char    *oidc_token_file_path, *oidc_request_url, *ado_pipeline_service_connection_id, *msi_endpoint, *endpoint;
};

enum azurerm_environment { AZURERM_PUBLIC, AZURERM_USGOVERNMENT, AZURERM_CHINA };

struct azurerm {
	struct backend             b;
	const struct provider_env *env;
	const struct azurerm_conf *conf;
	struct azurerm_cred       *cred;
	char                      *endpoint;  /* "https://ACCOUNT.blob.core.windows.net", as the configuration says; not where it is asked for */
	char                      *key;       /* decoded; NULL: all below the prefix */
	char                      *place;     /* where all names begin */
	bool                       azure;     /* the endpoint is Microsoft's */
	struct map                *held;      /* blob -> struct azurerm_held */
};

static inline struct azurerm *
azurerm_of(const struct backend *b)
{
	return container_of((struct backend *)(uintptr_t)b, struct azurerm, b);
}

/* An argument that is written, and not empty. */
static inline bool
azurerm_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* --- azurerm.c -------------------------------------------------------------------------------------------------------- */

/* The blob of a name, owned. */
char           *azurerm_blob_of(const struct azurerm *z, const char *name);
bool            azurerm_is_state(const struct azurerm *z, const char *name);
/* A lock of terraform's goes by the ID of its lease, which is a UUID, as the ID of a tenant is. */
bool            azurerm_is_uuid(const char *id);

/* --- azurerm_request.c ------------------------------------------------------------------------------------------------ */

/* Path and query of a blob, and of the container (r->object NULL). comp: what of it, NULL: itself. */
void            azurerm_to_blob(const struct azurerm *z, struct send_request *r, const char *method, const char *blob, const char *comp);
void            azurerm_to_container(const struct azurerm *z, struct send_request *r, const char *method);
/* As send.h says. The code of an answer is Azure's own, which a refusal of a HEAD has too. */
struct op      *azurerm_send(struct azurerm *z, struct send_request *r, struct send_answer *ret);
/* What an answer means that is no success, in one sentence about what. */
enum err_code   azurerm_refused(const struct azurerm *z, const struct send_answer *a, const char *what, struct err *reterr);
bool            azurerm_answer_is(const struct send_answer *a, int status, const char *code);
/* 404 of a blob; that of its container is another thing. */
bool            azurerm_no_such_blob(const struct send_answer *a);
/* 412: a lease that the request names is not the blob's, or there is none. */
bool            azurerm_lease_is_lost(const struct send_answer *a);
#define AZURERM_OTHER_HINT "check storage_account_name, blob_endpoint and proxy: something other than Blob Storage may listen there"

/* --- azurerm_props.c: what the headers of a blob say ------------------------------------------------------------------ */

struct azurerm_meta {
	char *name;            /* "x-ms-meta-..." */
	char *value;
};

struct azurerm_props {
	char                etag[ETAG_MAX]; /* without its quotes */
	char                tag[ETAG_MAX];  /* of its content: what the rest of the agent knows as etag */
	uint64_t            size;
	int64_t             modified;
	bool                leased;
	struct azurerm_meta meta[AZURERM_META_MAX]; /* without the lock's */
	size_t              nmeta;
	bool                more;           /* metadata than that: a write would lose it */
	bool                placed;         /* a place holder that we made ourselves, and nothing since */
	char               *lock;           /* as it stands there; NULL: none */
};

void            azurerm_props_free(struct azurerm_props *p); /* contents */
/* ERR_UNSUPPORTED: these are not the headers of a blob. */
enum err_code   azurerm_props_read(const struct azurerm *z, const struct send_answer *a, struct azurerm_props *ret, struct err *reterr);
/* ERR_UNSUPPORTED: there is more metadata than we carry over. */
enum err_code   azurerm_props_whole(const struct azurerm_props *p, const char *name, struct err *reterr);
/* Adds the metadata that is to stay; lock: terraform's, NULL: none. p outlives the request. */
void            azurerm_props_keep(const struct azurerm_props *p, const char *lock, struct send_request *r);
/* The change tag from Content-MD5, else the ETag. */
void            azurerm_tag(const char *md5, const char *etag, char ret[ETAG_MAX]);
void            azurerm_etag(const char *text, char ret[ETAG_MAX]); /* with or without quotes */

/*
 * What a blob was like when we last touched it under a lease of ours. Nobody else changes it while the lease is held, and who breaks it
 * is told of by the next request, which names the lease: so that one need not look before. A write takes it out and puts it back when
 * all went well; an unlock takes it out. p's contents move; without an ETag nothing is kept.
 */
void           azurerm_hold(struct azurerm *z, const char *blob, const char *lease, struct azurerm_props *p);
bool           azurerm_take(struct azurerm *z, const char *blob, const char *lease, struct azurerm_props *ret); /* false: not known */
void           azurerm_forget_all(struct azurerm *z);

/* --- azurerm_list.c: listings page by page ---------------------------------------------------------------------------- */

struct azurerm_pages;

struct azurerm_entry {
	const char *blob;      /* until the next page is read */
	char        tag[ETAG_MAX];
	uint64_t    size;
	int64_t     modified;
	bool        leased;
	const char *version;   /* of a listing of versions */
	bool        latest;
};

struct azurerm_pages     *azurerm_pages_new(struct azurerm *z, const char *prefix, unsigned max);
void                      azurerm_pages_free(struct azurerm_pages *p);
struct op                *azurerm_pages_read(struct azurerm_pages *p);  /* the first, or the next one */
enum err_code             azurerm_pages_check(struct azurerm_pages *p, struct err *reterr); /* after a read that ended OK */
void                      azurerm_pages_versions(struct azurerm_pages *p); /* of each blob, oldest first; before the first read */
bool                      azurerm_pages_next(struct azurerm_pages *p, struct azurerm_entry *ret);
bool                      azurerm_pages_more(const struct azurerm_pages *p);
const struct send_answer *azurerm_pages_answer(const struct azurerm_pages *p);

/* --- operations of the driver ----------------------------------------------------------------------------------------- */

struct op *azurerm_create(struct backend *b);
struct op *azurerm_list(struct backend *b, state_seen_fn *seen, void *arg);
struct op *azurerm_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg);
struct op *azurerm_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret);
struct op *azurerm_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret);
struct op *azurerm_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
struct op *azurerm_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX]);
struct op *azurerm_del(struct backend *b, const struct state_ref *ref, const char *if_etag);
struct op *azurerm_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *azurerm_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *azurerm_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret);
struct op *azurerm_probe(struct backend *b, probe_fn *seen, void *arg);

#endif
