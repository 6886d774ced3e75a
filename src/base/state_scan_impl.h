/* SPDX-License-Identifier: MIT */
#ifndef SRC_BASE_STATE_SCAN_IMPL_H
#define SRC_BASE_STATE_SCAN_IMPL_H

#include "base/json.h"
#include "base/state_address.h"
#include "base/state_hash.h"
#include "base/state_scan.h"
#include "base/state_twins.h"

/*
 * Between state_scan.c (what is where in a state), state_old.c (the same of versions before 4), state_waiting.c (instance objects on their way to the
 * caller) and state_verdict.c (what to make of it all).
 *
 * Memory is bounded: an object waits until the end of its block, because keys may come in any order, but
 * only up to STATE_WAITING_MAX.
 */
#define STATE_WAITING_MAX  ((size_t)8 << 20)
#define STATE_WAITING_COST 64
#define STATE_PATH_MAX     16384
#define STATE_HEAD_MAX     512
#define STATE_DEPOSED_LEN  8

enum place {
	TOP, OUTPUTS, RESOURCES, RESOURCE, INSTANCES, INSTANCE,                                    /* version 4 */
	MODULES, MODULE, PATH, MODULE_OUTPUTS, ENTRIES, ENTRY, PRIMARY, DEPOSED_LIST, DEPOSED,     /* versions 1 to 3 */
	NOWHERE,
};

/* Whose reading of the file a fault spoils: which version it has may turn out later. */
enum scope { IN_VERSION, IN_HEADER, IN_V4, IN_V3, IN_ENVELOPE, SCOPES };

enum key_kind { KEY_NONE, KEY_INDEX, KEY_STRING, KEY_ENTRY };
enum mode { MODE_NONE, MODE_MANAGED, MODE_DATA, MODE_OTHER };

/* An instance object, complete but for the address of its block. */
struct waiting {
	enum key_kind kind;
	bool          tainted;
	bool          key_cut;
	char          deposed[STATE_DEPOSED_LEN + 1];
	int64_t       index;
	size_t        key_at, key_n; /* in waiting_keys */
	uint64_t      fingerprint;
};

struct counts {
	uint64_t resources, instances, deposed, outputs;
};

struct field;

struct state_scan {
	state_object_fn    *fn;
	void               *arg;
	struct json_reader *reader;
	struct state_info   info;
	uint8_t             head[STATE_HEAD_MAX];
	size_t              head_n;
	bool                blank;                  /* nothing but blanks so far */
	enum json_event     top;                    /* what the top value is */

	enum place          place;
	const struct field *field;                  /* whose value comes next, in an object */
	char                faults[SCOPES][sizeof(((struct state_info *)0)->why)];
	bool                has_version, has_modules, lineage_odd, looks_like_error, unnamed;
	enum { ENVELOPE_NONE, ENVELOPE_V0, ENVELOPE_OTHER } envelope;
	bool                has_ciphertext;
	struct counts       v4, v3;

	/* The block at hand: a resource of version 4, a module of version 3. */
	struct counts       block;
	enum mode           mode;
	struct buf          module, type, name;
	size_t              path_steps;
	struct waiting     *waiting;
	size_t              waiting_n, waiting_cap, waiting_cost;
	struct buf          waiting_keys;
	uint64_t           *keys;                   /* hashes of the keys of its instances */
	size_t              keys_n, keys_cap;
	struct state_twins  twins;                  /* of all blocks */

	/* The object at hand. */
	struct waiting      obj;
	struct buf          key;
	struct state_hash   hash;
	bool                hashing;
	const uint8_t      *hash_from;
	const uint8_t      *piece;
	uint64_t            piece_at;

	/* The entry at hand (version 3). */
	bool                has_primary;
	struct waiting      primary;
	uint64_t            entry_deposed;
	struct buf          address;
};

struct field {
	const char *key;
	size_t      n;
	unsigned    types;    /* of TYPE_*; null is always right and changes nothing, unless it is one of them */
	enum scope  scope;
	enum place  opens;    /* for a container: where its content is */
	void      (*take)(struct state_scan *s, const struct json_token *t);
	const char *fault;    /* what to say about another type */
};

#define TYPE(event) (1u << (event))
#define TYPE_BOOL   (TYPE(JSON_EV_TRUE) | TYPE(JSON_EV_FALSE))
#define TYPE_ALL    (~0u)
#define FIELD(key)  key, sizeof(key) - 1
#define ITEM(name, type, scope, opens, take, fault) \
	static const struct field item_##name = { NULL, 0, TYPE(type), scope, opens, take, fault }

/* A container whose content matters. */
struct place_info {
	enum place          parent;
	const struct field *fields;  /* an object: these keys. Or ... */
	void              (*any)(struct state_scan *s, const struct json_token *key); /* ... every key */
	const struct field *item;    /* what every value is, in an array and behind any key */
	void              (*enter)(struct state_scan *s, const struct json_token *t);
	void              (*leave)(struct state_scan *s, const struct json_token *t);
};

extern const struct place_info state_old_places[]; /* from MODULES on */

static inline void
state_set(struct buf *b, struct span s)
{
	buf_reset(b);
	buf_put(b, s.p, s.n);
}

/* The first fault of a scope is the one that is reported. */
void state_fault(struct state_scan *s, enum scope scope, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The fingerprint of the bytes from the start of one token to the end of another; 0 when there is nobody to tell. */
void     state_hash_starts(struct state_scan *s, const struct json_token *t);
uint64_t state_hash_stops(struct state_scan *s, const struct json_token *t);

/* An object waits for the end of its block, where the address is known: then all that wait are checked and told. */
void state_wait(struct state_scan *s, const struct waiting *w, struct span key);
void state_settle_waiting(struct state_scan *s);
void state_forget_waiting(struct state_scan *s);

/* Over everything that was fed; fills info.why. */
enum state_kind state_verdict(struct state_scan *s);

#endif
