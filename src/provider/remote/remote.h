/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_REMOTE_REMOTE_H
#define PROVIDER_REMOTE_REMOTE_H

#include "base/map.h"
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
	char                      *host;    /* in normal form */
	char                      *prefix;  /* of workspaces; names are what follows it */
	struct http_tls            tls;
	struct token              *access;  /* a struct remote_access */
	struct map                *known;   /* name -> struct remote_known */
	char                       project_id[64]; /* of select.project; "": not yet asked for */
	int64_t                    slot_ms, slot_at; /* of a request, by the server's limit; loop_now() when the next one is due */
	bool                       one_step; /* the server wants a state inside the request that announces it */
};

struct remote *remote_of(const struct backend *b);

/* --- where the API is, and who we are there (remote_access.c) --- */

/* Found once, for all requests; again when the server refuses the token. */
struct remote_access {
	struct secret *token;
	char          *source;  /* "TF_TOKEN_app_terraform_io": where the token is from, for people */
	char          *base;    /* "https://app.terraform.io/api/v2/": of the API, with "/" at its end */
};
struct token *remote_access_new(struct remote *r);

/* remote_discovery.c: a host as the CLI compares it: lower case, ASCII, without ":443". ERR_CONFIG. */
enum err_code remote_host(const char *text, struct buf *ret, struct err *reterr);
/* Asks r->host for its services, or takes api_base. token may be NULL. *ret_base ends with "/", is the caller's, and set only when the
 * op ends OK. */
struct op    *remote_discover(struct remote *r, const struct secret *token, char **ret_base);
/* remote_signin.c: the token of the block, of the environment, of the CLI's files, or of its helper, in that order. Both results
 * are the caller's; ERR_AUTH with where it was looked for. May be called again: files and helpers are then read again. */
struct op    *remote_sign_in(struct remote *r, struct secret **ret, char **ret_source);
/* The host whose token a variable of that name holds, by its encoding: "TF_TOKEN_tfe_my__corp_example". false: it is none. */
bool          remote_token_host(struct span name, struct buf *ret);

#endif
