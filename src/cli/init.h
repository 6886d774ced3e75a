/* SPDX-License-Identifier: MIT */
#ifndef SRC_CLI_INIT_H
#define SRC_CLI_INIT_H

#include "conf/discover.h"
#include "internal.h"
#include "provider/provider.h"

/* A state that was found, read as its provider reads it. */
struct init_place {
	const struct discover_found *found;
	const struct provider       *provider;
	struct conf_block           *block; /* with all arguments */
	const char *where;                  /* of the backend, as provider_open() has it */
	const char *name;                   /* its argument that tells states in one bucket apart, "" for none */
	const char *variables;              /* of the environment, that were read and set; "" for none */
	size_t      group;
	bool        again;                  /* an earlier place of the group is the same state */
};

/* What becomes one block: one place, or several that differ in their names alone. */
struct init_group {
	struct init_place *first;
	const char *label;
	const char *text;      /* the block in HCL */
	size_t      n;         /* different states */
	const char *hidden;    /* arguments that are not printed, for text names the file that has them; "" for none */
	bool        dropped;
};

struct init {
	const struct cli    *c;
	struct discovery    *d;
	struct provider_env  env;
	struct arena        *arena;
	struct init_place   *places;
	size_t               nplaces;
	struct init_group   *groups;
	size_t               ngroups;
	struct conf_field   *plain;  /* what may be printed of a block whose arguments no table tells */
	struct buf           asked;  /* variables, while a place is opened */
};

#define INIT_TARGET "copies" /* label of the target that is printed */

/* Groups of the places, with labels and blocks. */
void        init_group(struct init *in);
/* The configuration of all groups that are not dropped. */
void        init_text(const struct init *in, struct buf *ret);
/* path below the folder that was searched. */
const char *init_relative(const struct init *in, const char *path);

#endif
