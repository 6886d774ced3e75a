/* SPDX-License-Identifier: MIT */
#include "gcs.h"

enum err_code
gcs_cred_check(const struct gcs_conf *c, struct err *reterr)
{
	if (c->access_token != NULL && secret_len(c->access_token) > 0)
		return ERR_OK;
	err_set(reterr, ERR_CONFIG, 0, "expected the argument \"access_token\", or the environment variable GOOGLE_OAUTH_ACCESS_TOKEN");
	return err_hint(reterr, "other credentials need a later version; \"gcloud auth print-access-token\" prints a token that lasts an hour");
}

void
gcs_cred_bearer(const struct gcs_conf *c, struct buf *ret)
{
	buf_printf(ret, "Bearer %s", secret_str(c->access_token));
}

const char *
gcs_cred_source(const struct gcs_conf *c)
{
	(void)c;
	return "access_token";
}
