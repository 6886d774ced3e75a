/* SPDX-License-Identifier: MIT */
#ifndef SRC_SERVE_BODY_H
#define SRC_SERVE_BODY_H

#include "serve.h"

/* The version that a request names, its bytes still there. */
struct wanted {
	char           *backend, *name, *lineage;
	uint64_t        version, serial, size;
	struct digest   digest;
	enum state_kind kind;
};
enum err_code call_version(struct call *c, struct wanted *ret, struct err *reterr);
void          wanted_free(struct wanted *w);

#endif
