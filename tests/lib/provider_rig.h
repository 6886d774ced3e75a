/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_PROVIDER_RIG_H
#define TESTS_LIB_PROVIDER_RIG_H

#include "provider/provider.h"
#include "scripted_http.h"

/* One loop and one backend from a configuration text: virtual with a scripted network, or real for what touches files. */
struct provider_rig {
	struct loop          *loop;
	struct work          *work;
	struct scripted_http *http;    /* virtual only */
	struct provider_env   env;
	struct conf          *conf;
	struct backend       *b;
	struct err            err;     /* outcome of the last call */
};

/* block: 'backend "TYPE" "b" {...}'. */
void          provider_rig_open(struct provider_rig *r, bool real, const char *block);
/* NULL, or the text of the error that the configuration gives. */
const char   *provider_rig_refuses(const char *block);
void          provider_rig_close(struct provider_rig *r);
/* Runs op to its end; cancel_after turns of the loop (0: never) it is cancelled. */
enum err_code provider_rig_run(struct provider_rig *r, struct op *op);
enum err_code provider_rig_run_cancelled(struct provider_rig *r, struct op *op, unsigned cancel_after);
/* provider_put() of these bytes. */
enum err_code provider_rig_put(struct provider_rig *r, const struct state_ref *ref, struct span bytes, const struct put_condition *when,
    char ret_etag[ETAG_MAX]);

#endif
