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
	struct backend              *backend; /* open; owned */
	struct conf_block           *block; /* with all arguments */
	const char *name;                   /* its argument that tells states in one bucket apart, "" for none */
	const char *variables;              /* of the environment, that were read and set; "" for none */
	const char *farther;                /* why it is not what its platform's own provider could take; NULL: it was not tried */
	size_t      group;
	bool        again;                  /* an earlier place of the group is the same state */
};

/* What becomes one block: one place, or several that differ in their names alone. */
struct init_group {
	struct init_place *first;
	const char *label;
	const char *text;      /* the block in HCL */
	size_t      n;         /* different states */
	const char *left_out;  /* arguments that this version refuses; "" for none */
	bool        wide;      /* every state of the bucket */
	const char *hidden;    /* arguments that are not printed, for text names the file that has them; "" for none */
	struct conf_strs exclude; /* names that it would list, and which have another block */
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

/* A platform behind addresses of the http backend. */
struct init_platform {
	const char *mark;      /* in the address */
	const char *provider;  /* which knows more of it than http does; NULL: none */
	const char *does;      /* what it can do beyond that one address, */
	const char *several;   /* and what comes of {name} in it; NULL: it takes no names */
};
const struct init_platform *init_platform(const struct init_place *p); /* NULL: none */

/* What names a state in its bucket. */
struct init_kind {
	const char *provider, *argument;
	const char *workspaces; /* the argument of another folder that holds the states of workspaces, "" for none */
	enum { INIT_STATE, INIT_FOLDER, INIT_BLOCK, INIT_ADDRESS } names; /* it names a state, a folder, a block with "name", ends with a name */
};
/* Would a listing of its bucket find it, so that it needs no block of its own? */
bool                    init_is_listed(const struct init_place *p);
const struct init_kind *init_kind(const struct init_place *p); /* NULL: every place is one by itself */
/* The argument as text; "" for none. */
const char *init_value(const struct init_place *p, const char *name);
/* Of INIT_ADDRESS: the arguments that hold a name, and one of them with {name} there. */
extern const char *const init_addresses[3];
const char *init_template(const struct init *in, const char *address);

void        init_plain_fields(struct init *in);
/* The text of a group that has its label. */
void        init_block(struct init *in, size_t g);
/* Groups of the places, with labels and blocks. */
void        init_group(struct init *in);
/* The configuration of all groups that are not dropped. */
void        init_text(const struct init *in, struct buf *ret);
/* path below the folder that was searched. */
const char *init_relative(const struct init *in, const char *path);

#endif
