/* SPDX-License-Identifier: MIT */
#ifndef BASE_STATE_SCAN_H
#define BASE_STATE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * What we know of a state without ever rewriting it: one streaming pass over
 * its bytes, cut anywhere, with bounded memory. What terraform cannot read is
 * not good for us either; docs/protocol/state.md describes the format, and
 * where we are stricter or more lenient.
 */
enum state_kind {
	STATE_EMPTY,       /* zero bytes or blanks */
	STATE_DAMAGED,     /* not JSON, not an object, no version, bad serial ...: no state at all */
	STATE_UNREADABLE,  /* a state of a version or envelope that we do not know, or beyond a limit of ours */
	STATE_V4,
	STATE_V3,          /* versions 1 to 3 */
	STATE_ENCRYPTED,   /* OpenTofu envelope: serial and lineage only */
};

#define STATE_LINEAGE_MAX 256  /* longer: STATE_UNREADABLE */
#define STATE_WRITER_MAX  64   /* terraform_version, cut */

struct state_info {
	enum state_kind kind;
	char            why[120];                    /* EMPTY, DAMAGED, UNREADABLE: one clause for a person */
	unsigned        version;                     /* format version; 0 for an envelope */
	uint64_t        serial;                      /* missing: 0 */
	bool            has_serial;
	char            lineage[STATE_LINEAGE_MAX];  /* "" when absent */
	char            writer[STATE_WRITER_MAX];    /* terraform_version */
	uint64_t        resources;                   /* resource blocks. This and the next three only for V4 and V3, else 0 */
	uint64_t        instances;                   /* objects of all modes, without deposed: what max_shrink counts */
	uint64_t        deposed;
	uint64_t        outputs;                     /* of the root module */
	uint64_t        size;                        /* bytes seen */
	uint64_t        serial_start, serial_end;    /* byte range of the top-level serial token; equal: none */
	uint64_t        lineage_start, lineage_end;  /* with its quotes */
};

/* One instance object while it passes. Strings are valid during the call. */
struct state_object {
	struct span address;       /* as "terraform state list" prints it: module path, data., type, name, [key] */
	struct span deposed;       /* empty: the current object */
	bool        tainted;
	uint64_t    fingerprint;   /* of the raw bytes of the instance object: equal bytes, equal value */
};
typedef void state_object_fn(void *arg, const struct state_object *o);

struct state_scan;

/* fn (may be NULL, and then addresses are not even built) sees every instance object of a v4 or v3 state, block by
 * block, while it is not yet known whether the rest is good: use what it saw only when the verdict is. An index_key
 * longer than JSON_TEXT_MAX shows its beginning. When "resources" is there twice (no writer does that), fn sees both,
 * the counts are those of the last. */
struct state_scan *state_scan_new(state_object_fn *fn, void *arg);
void               state_scan_free(struct state_scan *s);
void               state_scan_feed(struct state_scan *s, const void *p, size_t n);
/* The verdict over all bytes fed. No more may be fed. */
void               state_scan_end(struct state_scan *s, struct state_info *ret);
/* All in one call. */
void               state_scan_all(struct span body, struct state_info *ret);

/* May it be a head at all: v4, v3 or encrypted. */
static inline bool
state_is_good(const struct state_info *i)
{
	return i->kind == STATE_V4 || i->kind == STATE_V3 || i->kind == STATE_ENCRYPTED;
}

/*
 * The semantic digest: equal for states that mean the same although their bytes differ (formatting, key
 * order, terraform_version, the order of check_results; docs/protocol/state.md, "Equality"). Serial and lineage are
 * left out. ERR_UNSUPPORTED for anything but v4. Memory: a small multiple of the body; above 256 KB on the work pool.
 */
struct digest;
enum err_code state_semantic_digest(struct span body, struct digest *ret, struct err *reterr);

#endif
