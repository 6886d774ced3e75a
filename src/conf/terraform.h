/* SPDX-License-Identifier: MIT */
#ifndef SRC_CONF_TERRAFORM_H
#define SRC_CONF_TERRAFORM_H

#include "conf/tree.h"

/* What a file of terraform's, OpenTofu's or terragrunt's tells of a backend, before its arguments are read. */
struct conf_terraform {
	size_t                   n;    /* blocks, of which terraform takes one; 0: none */
	const char              *type; /* of the first: "s3", "cloud" */
	struct conf_pos          pos;
	const struct conf_value *body; /* JSON: its arguments */
	bool                     whole; /* terragrunt gives each unit a name of its own there: terraform_unnamed() */
};

/* By the end of path: HCL, JSON, or what "terraform init" recorded. What is found lives in the arena of c, and points to path. */
enum err_code conf_terraform(struct conf *c, const char *path, struct span text, struct conf_terraform *ret, struct err *reterr);

/* The same of a parsed file of JSON. */
void          terraform_seek(const struct conf_value *root, struct conf_terraform *ret);
enum err_code terraform_recorded(const struct conf_value *root, struct conf_terraform *ret, struct err *reterr);
/* The type of a block that conf_seek() found; NULL: it says none, which terraform_no_type() calls an error. */
const char   *terraform_type(struct conf_block *b);
enum err_code terraform_no_type(const struct conf_block *b, struct err *reterr);
/* NULL: o is no object, or has no such member. */
const struct conf_value *terraform_member(const struct conf_value *o, const char *name);
/* A remote_state without the line that names a state by an expression, which terragrunt evaluates for each of its units: what is left
 * is the bucket of all of them. Blanks stand in its place, so that positions hold; in the arena. */
struct span   terraform_unnamed(struct conf *c, struct span text, bool *ret_whole);
/* Without the mark that some editors put before UTF-8. */
struct span   terraform_unmarked(struct span text);

#endif
