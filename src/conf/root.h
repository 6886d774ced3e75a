/* SPDX-License-Identifier: MIT */
#ifndef SRC_CONF_ROOT_H
#define SRC_CONF_ROOT_H

#include "conf/discover.h"
#include "conf/terraform.h"

/* One folder in which terraform may run, as the walk of discover() sees it. */
struct discover_names {
	const char **items;
	size_t       n;
};

struct root {
	struct discovery     *d;
	struct root          *above;       /* the nearest folder above with a backend block; NULL: none */
	const char           *dir;
	unsigned              depth;
	struct discover_names code, args, terragrunt; /* files of terraform's, of -backend-config, *.hcl: paths, in order */
	const char           *state;       /* terraform.tfstate, or one of a workspace; NULL: none */
	const char           *file;        /* with the block; NULL: none */
	struct conf_terraform block;
	bool                  broken;      /* something here could not be read: what it says is not known */
	const char           *managed;     /* a file that says that Brainboard keeps the state; NULL: none */
};

void root_name(struct discovery *d, struct discover_names *names, const char *path);
/* Before the folders below: which block is here. */
void root_look(struct root *r);
/* After them, which may have brought files of arguments: what is found here goes to the discovery. */
void root_tell(struct root *r, size_t found_before);

/* One folder without those below it: the file that says most, what "terraform init" recorded before the block. */
enum err_code root_file(struct conf *c, const char *dir, const char **ret, struct err *reterr);

#endif
