/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_GCS_CRED_H
#define SRC_PROVIDER_GCS_CRED_H

#include "provider/provider.h"

/* What requests to Google sign in with: a bearer token. In this version that of access_token, which somebody else renews. */
struct gcs_conf;

/* ERR_CONFIG: there is none. */
enum err_code gcs_cred_check(const struct gcs_conf *c, struct err *reterr);
/* Appends "Bearer TOKEN". */
void          gcs_cred_bearer(const struct gcs_conf *c, struct buf *ret);
const char   *gcs_cred_source(const struct gcs_conf *c); /* for people */

#endif
