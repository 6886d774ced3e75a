/* SPDX-License-Identifier: MIT */
#ifndef CONF_DISCOVER_H
#define CONF_DISCOVER_H

#include "conf/conf.h"

/*
 * Where terraform, OpenTofu and terragrunt keep their states, as what lies below a folder tells: blocks, files of arguments beside
 * them, what "terraform init" recorded, states without a backend. Nothing is evaluated or asked, and no link to a folder followed.
 */
#define DISCOVER_DEPTH_MAX   32      /* folders below the first */
#define DISCOVER_ENTRIES_MAX 1000000 /* files and folders whose names are read */
#define DISCOVER_FOUND_MAX   4096    /* states, and things that could not be read */

/* The state of one root. Texts live as long as the discovery. */
struct discover_found {
	const char        *dir;       /* where terraform runs */
	const char        *type;      /* of the backend */
	struct conf_pos    pos;       /* what says so; line 0: a state file itself */
	const char        *args;      /* a file as -backend-config takes it, which is one of several or may be; NULL: none */
	bool               whole;     /* a bucket in which terragrunt names each state when it runs */
	const char        *workspace; /* selected there; NULL: the default one */
	struct conf_block *block;     /* backend TYPE "": from_file or path alone, for provider_open() */
};

/* What is there, but says nothing that a configuration could hold. */
struct discover_unread {
	const char *path;
	unsigned    line;           /* 0: of no line */
	const char *message, *hint; /* without path; hint "": none */
};

struct discovery {
	struct conf            *conf;
	const char             *dir;      /* absolute */
	struct discover_found  *found;    /* in the order of their folders */
	struct discover_unread *unread;
	size_t                  nfound, nunread, folders, files;
};

/* src as for conf_load(), but files of others than the caller are read too, for nothing in them is run. An error: dir cannot be read
 * at all. */
enum err_code discover(const char *dir, const struct conf_source *src, struct discovery **ret, struct err *reterr);
void          discovery_free(struct discovery *d);
/* For callers that look closer at what was found: one more thing that cannot be read. */
void          discover_not(struct discovery *d, const char *path, unsigned line, const struct err *why);

#endif
