/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_RECORDS_H
#define PROVIDER_RECORDS_H

#include "provider/provider.h"

/*
 * Places of small texts that are changed by compare-and-set only. Agents keep their leases there (sync/lease.h): at a target itself, or
 * where that has no preconditions of a write, or shall not carry them, in a table of DynamoDB or in etcd. What belongs to one fleet begins
 * with its prefix.
 */
#define RECORD_MAX    4096           /* bytes of a text; a longer one is none of ours */
#define RECORD_PREFIX ".stateferry/" /* unless the block says otherwise */

struct record {
	char   revision[ETAG_MAX];       /* which one it was; "": there is none */
	char   text[RECORD_MAX];
	size_t n;
};

struct records;
struct records_class {
	const char *name;                /* of the block */
	/* From a block 'NAME { ... }'; NULL: it has none. No I/O beyond reading files of credentials. ERR_CONFIG with the position. Texts of
	 * the configuration are used until it is closed. */
	enum err_code (*open)(const struct provider_env *env, struct conf *c, struct conf_block *block, struct records **ret, struct err *reterr);
	void          (*close)(struct records *r);  /* no op may be left */
	/* Sees all that was swapped before it began. ERR_NOT_FOUND: nothing has that key. ERR_CORRUPT: what has it is no record. */
	struct op    *(*read)(struct records *r, const char *key, struct record *ret);
	/* Only while it still is that revision ("": while there is none). ERR_CONFLICT: it is not; ERR_UNCERTAIN. Never sent twice unless
	 * the first was refused for certain. Other outcomes as those of http_client.h, and ERR_AUTH with what is missing. */
	struct op    *(*swap)(struct records *r, const char *key, struct span text, const char *revision, char ret_revision[ETAG_MAX]);
};
/* What an op is given but key, text and revision has to outlive it. */
struct records {
	const struct records_class *class;
	const struct provider_env  *env;
	char                       *where; /* place and prefix: its identity; no secrets */
};

extern const struct records_class records_dynamodb, records_etcd;
/* At a backend itself: objects .stateferry/KEY beside its states. b is borrowed; it has to enforce preconditions (PROVIDER_CAS). */
struct records *records_target(struct backend *b);

static inline void
records_close(struct records *r) /* NULL: no-op */
{
	if (r != NULL)
		r->class->close(r);
}

#endif
