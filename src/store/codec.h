/* SPDX-License-Identifier: MIT */
#ifndef STORE_CODEC_H
#define STORE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Records as bytes (FORMAT.md, "Records"). A record type is a table of the
 * members of a C struct in their order on disk; encoder, decoder and the fuzz target read the same
 * table. A member that came with a later format stands at the end and says so in since; records of an older
 * format leave it zero.
 */
enum rec_kind {
	REC_U64,    /* uint64_t */
	REC_I64,    /* int64_t */
	REC_UINT,   /* unsigned */
	REC_INT,    /* int */
	REC_ENUM,   /* an enum of int size, 0 .. max-1 */
	REC_BOOL,
	REC_STR,    /* const char *; NULL is written as "" */
	REC_DIGEST, /* struct digest */
	REC_LIST,   /* struct rec_list */
};

#define REC_LIST_MAX 64

struct rec_list {
	uint64_t n, v[REC_LIST_MAX];
};

struct rec_field {
	enum rec_kind kind;
	size_t        off;
	unsigned      max;   /* REC_ENUM */
	unsigned      since; /* 0 means 1 */
};

struct rec_type {
	const char             *name;
	unsigned                format; /* what is written; 1 .. format are read */
	size_t                  size;   /* of the struct */
	const struct rec_field *fields;
	size_t                  nfields;
};

#define REC_TYPE(var, label, fmt, type, table) \
	const struct rec_type var = { label, fmt, sizeof(type), table, sizeof(table) / sizeof((table)[0]) }

/* Appends the members of rec, without the format byte. */
void rec_encode(const struct rec_type *type, const void *rec, struct buf *out);
/* Clears *ret, then fills it; its strings point into data, where each ends with a NUL. false: data is no record
 * of that type and format, or has bytes left over. */
bool rec_decode(const struct rec_type *type, unsigned format, struct span data, void *ret);

extern const struct rec_type rec_state, rec_version, rec_replica, rec_intent, rec_queue, rec_run, rec_event, rec_blob,
    rec_counters, rec_number, rec_owner, rec_bytes;

/* Every type above, NULL at the end. */
extern const struct rec_type *const rec_types[];

#endif
