/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "remote.h"

enum err_code
remote_host(const char *text, struct buf *ret, struct err *reterr)
{
	(void)reterr;
	buf_puts(ret, text);
	return ERR_OK;
}

/* An address that is configured asks nobody. */
struct op *
remote_discover(struct remote *r, const struct secret *token, char **ret_base)
{
	const char *base = r->conf->api_base;

	(void)token;
	if (base == NULL || base[0] == '\0')
		return op_error(r->env->loop, ERR_UNSUPPORTED, 0, "%s: needs api_base", r->host);
	*ret_base = xasprintf("%s%s", base, base[strlen(base) - 1] == '/' ? "" : "/");
	return NULL;
}
