/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_REMOTE_REMOTE_H
#define PROVIDER_REMOTE_REMOTE_H

#include "base/json.h"
#include "base/map.h"
#include "base/time.h"
#include "net/url.h"
#include "provider/send.h"
#include "provider/token.h"

/*
 * The workspaces of HCP Terraform (Terraform Cloud), Terraform Enterprise and servers that speak the same API: terraform's
 * `cloud` block and its backend "remote" (docs/protocol/remote.md). Two names, one driver.
 */
struct remote_conf {
	const char    *hostname, *organization, *api_base, *ca_file;
	struct secret *token;
};

/* What `workspaces { }` says. NULL, and none: not set. */
struct remote_select {
	const char      *name, *prefix, *project;
	struct conf_strs tags;
	struct conf_map  tag_pairs;
};

struct remote {
	struct backend             b;
	const struct provider_env *env;
	const struct remote_conf  *conf;
	struct remote_select       select;
	bool                       cloud;   /* the `cloud` block, not backend "remote" */
	char                      *host;    /* in normal form: whose token it is */
	char                      *at;      /* where the API is: the same, or that of api_base; for people */
	char                      *prefix;  /* of workspaces; names are what follows it */
	struct http_tls            tls;
	struct token              *access;  /* a struct remote_access */
	struct map                *known;   /* by name: struct remote_known, owned */
	char                       project_id[64]; /* of select.project; "": not yet asked for */
	char                       server[128]; /* what it says that it is; "": it has not answered, or does not say */
	int64_t                    slot_ms, slot_at; /* of a request, by the server's limit; loop_now() when the next one is due */
	bool                       warned;   /* of files of the CLI that cannot be read */
	bool                       plain;    /* the server refuses to say more of a workspace than is asked for */
	bool                       one_step; /* the server wants a state inside the request that announces it */
};

struct remote *remote_of(const struct backend *b);
#define REMOTE_OTHER_HINT \
	"check hostname, api_base, and that no proxy or login page answers in the server's place"

/* --- where the API is, and who we are there (remote_access.c) --- */

/* Found once, for all requests; again when the server refuses the token. */
struct remote_access {
	struct secret *token;
	char          *source;  /* "TF_TOKEN_app_terraform_io": where the token is from, for people */
	char          *base;    /* "https://app.terraform.io/api/v2/": of the API, with "/" at its end */
};
struct token *remote_access_new(struct remote *r);
/* "": before the first request. */
const char   *remote_token_source(const struct remote *r);

/* remote_discovery.c: a host as the CLI compares it: lower case, ASCII, without ":443". ERR_CONFIG. */
enum err_code remote_host(const char *text, struct buf *ret, struct err *reterr);
/* Asks r->host for its services, or takes api_base. token may be NULL; source is where it is from. *ret_base ends with "/", is the
 * caller's, and set only when the op ends OK. */
struct op    *remote_discover(struct remote *r, const struct secret *token, const char *source, char **ret_base);
/* What to do about a token from that source which the server refuses. */
enum err_code remote_token_hint(const struct remote *r, const char *source, struct err *reterr);
/* remote_signin.c: the token of the block, of the environment, of the CLI's files, or of its helper, in that order. Both results
 * are the caller's; ERR_AUTH with where it was looked for. May be called again: files and helpers are then read again. */
struct op    *remote_sign_in(struct remote *r, struct secret **ret, char **ret_source);
/* The host whose token a variable of that name holds, by its encoding: "TF_TOKEN_tfe_my__corp_example". false: it is none. */
bool          remote_token_host(struct span name, struct buf *ret);

/* --- documents of the API (remote_doc.c): JSON:API, read as they arrive --- */

#define REMOTE_ID_MAX   64
#define REMOTE_NAME_MAX 256  /* of a workspace: the vendor's limit is 90 */
#define REMOTE_TEXT_MAX 512

enum remote_permission { REMOTE_READ_STATE = 1, REMOTE_WRITE_STATE = 2, REMOTE_LOCK = 4, REMOTE_UNLOCK = 8, REMOTE_FORCE_UNLOCK = 16 };

/* A workspace, a state version, a project: whatever of it is there; the rest is empty. */
struct remote_item {
	char     id[REMOTE_ID_MAX], name[REMOTE_NAME_MAX];
	/* a workspace */
	char     state[REMOTE_ID_MAX];                        /* id of its current state version */
	bool     tells_state;                                 /* the document says which it is, or that there is none */
	bool     locked, tells_reason;                        /* tells_reason: the server shows reasons at all */
	char     reason[REMOTE_TEXT_MAX];
	char     holder_type[16], holder[REMOTE_ID_MAX], holder_name[128]; /* "users", "runs", "teams"; "": not told */
	unsigned denied;                                      /* of enum remote_permission, as far as told */
	char     changed[TIME_TEXT_MAX];                          /* latest-change-at */
	/* a state version */
	uint64_t serial, size;
	bool     tells_size, tells_serial, encrypted;         /* encrypted: with a key that only the customer has */
	char     status[48], created[TIME_TEXT_MAX];
	char     run[REMOTE_ID_MAX];                          /* of the server's own, that wrote it; "": none */
	char     download[URL_MAX + 1], upload[URL_MAX + 1];  /* secrets */
};

struct remote_doc {
	struct json_reader *json;
	void              (*each)(void *arg, const struct remote_item *i); /* item when it is whole; NULL: nobody waits for it */
	void               *arg;
	struct remote_item  item, included;                   /* the last one */
	size_t              items;
	uint64_t            next_page, total_pages, page, total; /* 0: not told */
	bool                list, tells_total;
	char                title[SEND_CODE_MAX], detail[SEND_MESSAGE_MAX]; /* of the first error */
	struct err          broken;
	char                path[160];
	size_t              ends[12];                         /* of path, by depth */
};
void          remote_doc_begin(struct remote_doc *d);     /* forgets what was read; each and arg stay */
enum err_code remote_doc_feed(struct remote_doc *d, const void *p, size_t n, struct err *reterr);
bool          remote_doc_end(struct remote_doc *d);       /* whole, and a document */
void          remote_doc_free(struct remote_doc *d);      /* wipes, for addresses are secrets; usable again */

/* --- requests (remote_send.c) --- */

/* One question: what is sent, and what came. Zeroed memory that outlives the op. */
struct remote_ask {
	struct send_request req;
	struct send_answer  ans;     /* code and message: the first error's title and detail */
	struct remote_doc   doc;     /* of an answer of 200 or 201 */
	/* For the message of a refusal: "reading", of which state ("": none), and what the token would have to be allowed. Borrowed */
	const char         *what, *name, *needs;
	bool                refused; /* every refusal is for the caller; else only 404 is, and others are errors */
};
void       remote_ask_free(struct remote_ask *a);            /* contents, usable again */
/* path: escaped, below the base, or a whole address. Frees what a->req held. */
void       remote_to(struct remote_ask *a, const char *method, const char *path_fmt, ...) __attribute__((format(printf, 3, 4)));
/* A JSON:API body. Takes the text. */
void       remote_body(struct remote_ask *a, struct buf *json);
/* Ends OK with an answer for the caller, its document read when it is 200 or 201; else as send_init() says. */
struct op *remote_ask(struct remote *r, struct remote_ask *a);
/* The same without a document: other bytes. */
struct op *remote_send(struct remote *r, struct send_request *req, struct send_answer *ans);
/* What a refusal means that its caller has no rule for. */
enum err_code remote_refused(const struct remote *r, const struct remote_ask *a, struct err *reterr);
bool       remote_says(const struct send_answer *a, const char *text); /* in title or detail, whatever the case */
char      *remote_escaped(const char *text);              /* as one segment of a path; owned */

/* --- workspaces (remote_workspace.c) --- */

struct remote_known {
	char     id[REMOTE_ID_MAX];
	char     lock[64];                                    /* of ours, held: for servers that do not show reasons */
	bool     has_state, listed;
	int64_t  seen;                                        /* loop_now(): when the server told of it by this name */
	unsigned denied;
};
/* The workspace's whole name: the prefix and that. Owned. */
char                *remote_full(const struct remote *r, const char *name);
bool                 remote_is_name(const char *text);    /* could a workspace be called so? */
struct remote_known *remote_known(struct remote *r, const char *name); /* NULL: not met yet */
struct remote_known *remote_learn(struct remote *r, const char *name, const struct remote_item *i);
void                 remote_forget(struct remote *r, const char *name);
/* Looks for it by name, and makes it if create = true and make is set. ERR_NOT_FOUND. */
struct op           *remote_find(struct remote *r, const char *name, bool make, struct remote_item *ret);
/* r->project_id. NULL: nothing to ask. */
struct op           *remote_project(struct remote *r);
struct op           *remote_create(struct backend *b);
struct op           *remote_expect(struct backend *b, const struct state_ref *ref);
struct op           *remote_remove(struct remote *r, const char *name); /* the workspace; OK when there is none */

/* to as a link in what was found at from; owned. NULL: it leads out of TLS, or nowhere. */
char      *remote_link(const char *from, const char *to);

/* --- the calls --- */

struct op *remote_list(struct backend *b, state_seen_fn *seen, void *arg);
struct op *remote_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg);
struct op *remote_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret);
struct op *remote_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
struct op *remote_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret);
struct op *remote_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX]);
struct op *remote_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *remote_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *remote_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret);
struct op *remote_probe(struct backend *b, probe_fn *seen, void *arg);
/* "Locked by" as our reasons say it, cut to what servers take, and back. false: not one of ours. */
#define REMOTE_REASON_MAX 250
void       remote_reason(const struct lock_info *l, char ret[REMOTE_REASON_MAX]);
bool       remote_reason_parse(const char *text, struct lock_info *ret);
/* "ORG/WORKSPACE", by which terraform names the lock. "Path" of ours has the workspace's id after it, as far as that is known: it is
 * journalled with the lock, and stays when the workspace is renamed. */
void       remote_lock_name(const struct backend *b, const char *name, struct buf *ret);
void       remote_lock_path(const struct backend *b, const char *name, struct buf *ret);

#endif
