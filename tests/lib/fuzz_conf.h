/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FUZZ_CONF_H
#define TESTS_LIB_FUZZ_CONF_H

#include "conf/conf.h"

/* For targets that read configurations: whichever file is named holds what was given, and no variable is set. */
static struct span given;

static enum err_code
fuzz_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	(void)arg, (void)path;
	return buf_add(ret, given.p, given.n, reterr);
}

static const char *
fuzz_env(void *arg, const char *name)
{
	(void)arg, (void)name;
	return NULL;
}

static const struct conf_source source = { .env = fuzz_env, .file = fuzz_file };

#endif
