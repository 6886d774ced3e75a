/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_REMOTE_REMOTE_CLI_H
#define PROVIDER_REMOTE_REMOTE_CLI_H

#include "remote.h"

/*
 * What terraform and OpenTofu are configured with apart from their projects, as far as it is about one host: `credentials`,
 * `credentials_helper` and `host` in their main file and in the *.tfrc and *.tfrc.json of their folder
 * (developer.hashicorp.com/terraform/cli/config/config-file, opentofu.org/docs/cli/config/config-file). The file that is read later
 * comes first. HCL as conf/conf.h reads it, or JSON. What cannot be read says nothing, and stops nobody: in the same way terraform goes on
 * with what it understood. Of a file with more of HCL than that the blocks are tried one by one.
 */
#define REMOTE_CLI_FILES_MAX 64  /* in a folder */
#define REMOTE_CLI_WORDS_MAX 32  /* of a helper: its arguments */

struct remote_cli {
	struct secret *token;     /* of the host's `credentials`; NULL: none */
	char          *service;   /* of its `host`: where the API is, as that says it; NULL: it says nothing */
	char          *helper;    /* of credentials_helper; NULL: none */
	char          *words[REMOTE_CLI_WORDS_MAX + 1]; /* its arguments */
	char          *token_file, *service_file, *helper_file; /* where that was said */
	bool           service_loose, helper_loose; /* others than root and the agent's user may write it */
	const char    *only;      /* the variable that names the one file, no folder was looked into; NULL: none does */
	char          *only_file; /* which that is */
	bool           gone;      /* it is not there */
	char          *trouble;   /* "FILE:LINE:COLUMN: ...": what was met first that could not be read; NULL: nothing */
};

/* host in normal form. Blocks. ret: zeroed memory, freed by the caller. */
void          remote_cli_read(const struct provider_env *env, const char *host, struct remote_cli *ret);
void          remote_cli_free(struct remote_cli *c);  /* contents */
/* Once for each backend: what of the files could not be read. On the loop's thread. */
void          remote_cli_warn(struct remote *r, const struct remote_cli *c);
/* The order in which names of services are taken, the first is 0; -1: not one of them. */
int           remote_service_rank(struct span name);

#endif
