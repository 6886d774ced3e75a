/* SPDX-License-Identifier: MIT */
#ifndef BASE_NAME_H
#define BASE_NAME_H

#include <stdbool.h>

#include "base/buf.h"

/*
 * Names of states: UTF-8, 1 to NAME_MAX_LEN bytes, no control characters, no "."
 * or ".." segment, no leading "/"; an empty segment inside ("a//b") is allowed.
 */
#define NAME_MAX_LEN 1024

enum err_code name_check(struct span name, struct err *reterr); /* ERR_UNSUPPORTED says what is wrong */
/* Globs of include and exclude: "*" and "?" stay within a segment, "**" crosses; "[" is literal. */
bool          glob_match(const char *pattern, struct span name);
/* Edit distance for "did you mean"; the closest of the NULL-terminated list within 2 (3 for words over 8), or NULL. */
const char   *name_closest(const char *word, const char *const *list);
/* Is this never a state, whatever lists it? Lock files, .stateferry/, .terraform/, .terragrunt-cache/,
 * errored.tfstate, backups, snapshots. */
bool          name_is_never_state(struct span name);

#define UUID_LEN 36
/* Is it a UUID? ret: in lower case. */
bool          uuid_lower(struct span text, char ret[UUID_LEN + 1]);
/* The first UUID that is a whole segment of the name, or one up to its first dot; false: there is none. */
bool          name_uuid(struct span name, char ret[UUID_LEN + 1]);

#endif
