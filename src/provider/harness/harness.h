/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_HARNESS_HARNESS_H
#define SRC_PROVIDER_HARNESS_HARNESS_H

#include "base/json.h"
#include "base/map.h"
#include "provider/http/http.h"

/*
 * Workspaces of Harness IaCM (docs/protocol/harness.md): each has one state behind terraform's HTTP protocol, which ../http speaks in
 * Harness's dialect; beside it an API lists the workspaces and tells of each. harness.c configuration and driver table,
 * harness_page.c what the API answers, harness_api.c asking it, harness_state.c the calls.
 */
struct harness_conf {
	const char      *endpoint, *account_id, *org_id, *project_id;
	struct conf_strs workspaces;
	struct secret   *api_key;
	/* of a backend "http" block, as Harness makes it for a workspace */
	const char      *address, *update_method, *lock_address, *lock_method, *unlock_address, *unlock_method, *username;
	struct secret   *password;
	const char      *client_ca_certificate_pem;
	bool             skip_cert_verification;
	int64_t          retry_max, retry_wait_min, retry_wait_max; /* waits in ms */
};

/* When a workspace was last changed, by the last listing and when it was last asked about; when that was (loop_now()), and its
 * checksum then. */
struct harness_known {
	int64_t listed, asked, when;
	char    checksum[DIGEST_HEX];
};

struct harness {
	struct hb        h;           /* first: what ../http works on */
	char            *project;     /* "https://app.harness.io/gateway/iacm/api/orgs/ORG/projects/PROJECT" */
	char            *query;       /* "?accountIdentifier=ACCOUNT" */
	char            *place;       /* "ACCOUNT/ORG/PROJECT/" */
	struct conf_strs workspaces;
	struct map      *pruned;      /* workspaces that were seen with prune_sensitive_data */
	struct map      *known;       /* harness_known by workspace, owned */
	bool             silent;      /* a state changed, and the listing did not tell */
	unsigned         sums, other_sums; /* how often state_checksum was the SHA-256 of the bytes, and how often something else */
};

static inline struct harness *
harness_of(const struct backend *b)
{
	return container_of((struct backend *)(uintptr_t)b, struct harness, h.b);
}

/* --- harness_page.c --------------------------------------------------------------------------------------------------- */

#define HARNESS_NAME_MAX 128
#define HARNESS_DATA_MAX 64 /* names around what Harness keeps of a workspace's runs: states, plans and more */

/* What the API tells of one. */
struct harness_workspace {
	char    identifier[HARNESS_NAME_MAX + 1], status[32];
	char    checksum[DIGEST_HEX]; /* of its state, "": none is told */
	char    state[HARNESS_DATA_MAX]; /* which of its artefacts is the current state; "": not told */
	/* of an artefact */
	char    id[HARNESS_DATA_MAX], type[HARNESS_DATA_MAX];
	int64_t created;              /* wall ms */
	int64_t updated;              /* wall ms */
	bool    locked, pruned, odd;  /* odd: the identifier is none that can be used */
};

/* One workspace, or an array of them or of artefacts, read as it arrives; zeroed memory before its first begin. */
struct harness_page {
	struct json_reader      *json;
	char                     key[24];
	unsigned                 level, n;   /* depth of the objects; how many there were */
	struct harness_workspace cur;
	void                   (*seen)(void *arg, const struct harness_workspace *w);
	void                    *arg;
};

void          harness_page_begin(struct harness_page *p);
enum err_code harness_page_feed(struct harness_page *p, const void *bytes, size_t n, struct err *reterr);
enum err_code harness_page_end(struct harness_page *p, bool array, struct err *reterr);
void          harness_page_free(struct harness_page *p); /* contents */

/* --- harness_api.c ---------------------------------------------------------------------------------------------------- */

struct op *harness_list(struct backend *b, state_seen_fn *seen, void *arg);
/* The artefacts that are states, as far as one can tell before reading them. */
struct op *harness_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg);
/* ERR_NOT_FOUND: no such workspace, or none that these credentials see. */
struct op *harness_ask(struct harness *x, const char *workspace, struct harness_workspace *ret);
/* Removes whatever lock there is, as the button in Harness does. */
struct op *harness_force_unlock(struct harness *x, const char *workspace);

/* --- harness_state.c -------------------------------------------------------------------------------------------------- */

struct op *harness_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
struct op *harness_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret);
struct op *harness_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *harness_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *harness_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret);
const char *harness_remark(const struct backend *b, const char *name);

#endif
