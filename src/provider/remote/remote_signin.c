/* SPDX-License-Identifier: MIT */
#include "remote.h"

struct op *
remote_sign_in(struct remote *r, struct secret **ret, char **ret_source)
{
	if (r->conf->token == NULL || secret_len(r->conf->token) == 0)
		return op_error(r->env->loop, ERR_AUTH, 0, "there is no token for %s", r->host);
	*ret = secret_new(span_str(secret_str(r->conf->token)));
	*ret_source = xstrdup("token of the block");
	return NULL;
}
