/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_REMOTE_ACCESS_RIG_H
#define TESTS_LIB_REMOTE_ACCESS_RIG_H

#include "provider/remote/remote.h"
#include "scripted_http.h"

/* A host of HCP Terraform by name alone, with an empty home folder and no variables that terraform reads: for signing in and discovery.
 * The network is scripted, the files are real. */
struct remote_access_rig {
	struct loop          *loop;
	struct work          *work;
	struct scripted_http *http;
	struct provider_env   env;
	struct remote_conf    conf;
	struct remote         r;
	char                 *home;
	struct err            err;    /* of the last op */
	struct secret        *token;  /* what it gave */
	char                 *source, *base;
};

void          remote_access_rig_open(struct remote_access_rig *g, const char *host);
void          remote_access_rig_close(struct remote_access_rig *g);
/* path below the home folder; folders are made. Returns the whole path, which lives until the next call. */
const char   *remote_access_rig_file(struct remote_access_rig *g, const char *path, unsigned mode, const char *text);
enum err_code remote_access_rig_sign_in(struct remote_access_rig *g);
enum err_code remote_access_rig_discover(struct remote_access_rig *g, const char *token);

#endif
