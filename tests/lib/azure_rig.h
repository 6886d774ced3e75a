/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_AZURE_RIG_H
#define TESTS_LIB_AZURE_RIG_H

#include "fake_azure.h"
#include "provider_rig.h"

/* A backend of Azure Blob Storage before a fake container, and one state in it. */
#define AZURE_STATE "{\"version\":4,\"serial\":1,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}"
#define AZURE_NAME  "x.tfstate"
#define OTHERS      "9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50" /* a lease */
#define STRANGE     "11111111-52ab-7d10-a3c4-5b1d2c3e4f50"

struct azure_rig {
	struct provider_rig r;
	struct fake_azure  *fake;
};
extern struct azure_rig azure;
extern struct state_ref azure_ref;

/* The block of a configuration, with those arguments more; until the next call. */
const char   *azure_block(const char *more);
void          azure_begin(const char *more);
void          azure_end(void);
enum err_code azure_put(const char *text, enum put_if when, const char *etag, const struct lock_info *lock, char ret[ETAG_MAX]);
enum err_code azure_get(struct snapshot *ret);
enum err_code azure_lock(struct lock_info *l);
enum err_code azure_unlock(const struct lock_info *l);
void          azure_unlock_at_last(const struct lock_info *l); /* one request fails; it may be one of these */
enum err_code azure_peek(struct lock_info *ret);
void          azure_words_of(const char *id);                  /* as terraform writes them */
bool          azure_nothing_locked(void);

#endif
