/* SPDX-License-Identifier: MIT */
#ifndef SRC_CONF_SEEK_H
#define SRC_CONF_SEEK_H

#include "conf/tree.h"

/*
 * Finds the blocks that say where the state is in a file of terraform's, whatever else of HCL stands around them: only brackets,
 * strings, heredocs and comments are told apart. Terragrunt's remote_state is one of them.
 */
#define CONF_REMOTE_STATE "remote_state"

struct conf_sought {
	struct span     text; /* from the word backend, cloud or remote_state to its closing brace, or to the end of the file */
	struct conf_pos pos;  /* of its first byte */
};

#define SEEK_DEPTH_MAX 64 /* of strings in templates in strings */

/* How many there are, in `terraform` blocks or by themselves; the first of them in *ret. */
size_t conf_seek(const char *file, struct span text, struct conf_sought *ret);

#endif
