/* SPDX-License-Identifier: MIT */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * Credentials: kept in pages that are locked (best effort), left out of core
 * files and wiped on fork and on free. Never print one: the text comes out
 * only through secret_str(), which a reader can search for. Any thread.
 */
struct secret;

struct secret *secret_new(struct span text);
void           secret_free(struct secret *s);
const char    *secret_str(const struct secret *s);  /* NUL-terminated; lives as long as s; NULL gives NULL */
size_t         secret_len(const struct secret *s);
/* false: RLIMIT_MEMLOCK was too low for some, which may be swapped out. */
bool           secret_all_locked(void);

#endif
