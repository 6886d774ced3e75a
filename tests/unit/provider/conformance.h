/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_PROVIDER_CONFORMANCE_H
#define TESTS_UNIT_PROVIDER_CONFORMANCE_H

#include "../../lib/provider_rig.h"

/* What every provider has to do, whatever is behind it: as its capabilities say. */
struct conformance {
	bool        real;                 /* touches files: the loop is real */
	const char *(*block)(void);       /* a fresh, empty place: 'backend "TYPE" "b" { ... }' */
	void      (*begin)(struct provider_rig *r);  /* after opening; may be NULL */
	void      (*end)(struct provider_rig *r);    /* before closing; may be NULL */
	void      (*other)(struct provider_rig *r, const char *name, struct span body); /* another party writes */
	const char *first, *second;       /* two names that it can hold */
	const char *const *odd;           /* and harder ones, NULL-terminated */
	bool        no_delete;
	bool        mute_locks;           /* nobody tells whose a lock is, ours or not */
	bool        guarded;              /* takes only what is newer, and under the lock */
};

void conformance_run(const struct conformance *c);

#endif
