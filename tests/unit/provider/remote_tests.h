/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_PROVIDER_REMOTE_TESTS_H
#define TESTS_UNIT_PROVIDER_REMOTE_TESTS_H

#include "../../lib/fake_tfe.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "provider/remote/remote.h"

/* One backend "cloud" before the fake, and its calls in one line each: shared by the tests of remote. */
#define STATE(serial) "{\"version\":4,\"serial\":" #serial ",\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}"
#define HEAD(type) "backend \"" type "\" \"b\" {\n  organization = \"acme\"\n  token = \"" FAKE_TFE_TOKEN "\"\n  api_base = \"" FAKE_TFE_BASE "\"\n"

extern struct provider_rig r;
extern struct fake_tfe    *fake;

void begin(const char *more); /* arguments and blocks */
void end(void);
/* No message holds what is secret, whatever went wrong. */
enum err_code run(struct op *op);
enum err_code put(const char *name, const char *text, char ret[ETAG_MAX]);
enum err_code get(const char *name, const char *unless, struct snapshot *ret);
enum err_code lock(const char *name, struct lock_info *l, struct lock_info *holder);
enum err_code unlock(const char *name, const struct lock_info *l);
enum err_code list(char *ret, size_t size); /* "NAME=TAG NAME=TAG! ": ! is locked */
bool             holds(const char *name, const char *text);
struct state_ref ref(const char *name);

#define IS(call, want) \
	do { \
		enum err_code rc_ = (call); \
		if (rc_ != (want)) \
			test_fail(__FILE__, __LINE__, "%s: %s, not %s: %s", #call, err_kind(rc_), err_kind(want), r.err.msg); \
	} while (0)

#endif
