/* SPDX-License-Identifier: MIT */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <lmdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/crypt.h"
#include "base/encode.h"
#include "base/rand.h"
#include "loop/loop.h"
#include "store/codec.h"
#include "store/store.h"

#define STORE_FORMAT   1   /* of the whole: an older binary refuses a newer store */
#define STORE_READERS  126 /* slots of the lock file, which is written out in full before it is mapped */
#define STORE_STRING   "stateferry"

/* FORMAT.md describes them in this order. */
enum db {
	DB_META, DB_STATES, DB_STATE_NAMES, DB_STATE_BACKENDS, DB_VERSIONS, DB_VERSION_DIGESTS, DB_DIGESTS, DB_BLOBS,
	DB_PIECES, DB_STAGED, DB_REPLICAS, DB_REPLICA_NAMES, DB_INTENTS, DB_QUEUE, DB_QUEUE_KEYS, DB_EVENTS, DB_MARKS,
	DB_RUNS, DB_COUNT
};
extern const char *const store_db_names[DB_COUNT];

struct number_rec {
	uint64_t v;
};

/* Who writes to a name at a target: how many replicas of that state do, through different edges. */
struct owner_rec {
	uint64_t state, holders;
};

/* One record, rewritten by every commit: commits tells after a failed one whether it happened. */
struct counters {
	uint64_t commits, state_id, blob_id, event_seq, raw_bytes, blob_bytes;
};

/* --- keys --- */

struct key {
	uint8_t b[56];
	size_t  n;
};

struct key key_u64(uint64_t v);
struct key key_u64_u64(uint64_t a, uint64_t b);
struct key key_text(const char *name);                                                  /* of meta: our own words */
struct key key_piece(uint64_t blob, uint32_t n);
struct key key_digest(const struct store *s, const struct digest *d);
struct key key_version_digest(const struct store *s, uint64_t state, const struct digest *d);
struct key key_name(const struct store *s, const char *backend, const char *name);
struct key key_backend(struct store_txn *t, const char *backend, uint64_t state);
struct key key_target(struct store_txn *t, const char *edge, const char *target, uint64_t state);
struct key key_target_name(const struct store *s, const char *target, const char *name);
struct key key_due(int64_t due, const struct key *target);
struct key key_mark(const struct store *s, const char *name);
#define KEY_DIGEST 20 /* bytes of a digest in a key: records have all of them, and are compared */
#define KEY_HASH 16 /* length of a shortened name hash: the prefix of key_backend() and key_target() */
#define KEY_WORDS 4 /* hashed words that a transaction remembers */
#define KEY_WORD_MAX 64

struct key_word {
	const char *label;
	char        word[KEY_WORD_MAX];
	uint8_t     hash[KEY_HASH];
};

/* --- the environment and who uses it (env.c, gate.c) --- */

enum ask { ASK_NOTHING, ASK_GROW, ASK_REOPEN };

/*
 * Who may touch the environment. The store thread asks the loop for what no transaction may see: a larger map,
 * closing and opening again. It waits while the loop finds a moment without readers. The loop's own reads end within
 * a turn; reads of the work pool are counted here and held back while something is asked.
 */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t  change;
	enum ask        ask;
	bool            posted;       /* post is on its way to the loop */
	bool            ok;           /* answer */
	struct err      why;          /* when not */
	unsigned        pool_readers;
	struct post     post;
	unsigned        loop_readers; /* the loop's own, without the lock */
};

/* The store thread (apply.c). */
struct writer {
	pthread_t       thread;
	bool            running;
	pthread_mutex_t lock;
	pthread_cond_t  work;
	struct batch   *head, *tail;  /* waiting */
	bool            stop, gathers;
	uint64_t        commits, batches, last_group;
	struct deferred turn;         /* inline commits */
	struct blob_coder *coder;
	struct rand     own, *rand;   /* nonces: the kernel's, or the virtual loop's */
};

struct store {
	struct loop  *loop;
	struct work  *work;
	char         *dir, *binding;   /* binding: the first line of STORE/host */
	int           dirfd, ownerfd;
	bool          inline_commit;
	uint64_t      free_min;
	uint64_t      events_max;

	MDB_env      *env;             /* NULL after a failed reopen */
	uint64_t      data_dev, data_ino; /* of data.mdb, once it was open: only that file is opened again */
	MDB_dbi       dbi[DB_COUNT];
	uint64_t      map_size;
	struct crypt_key *key;         /* the data key; NULL: plain */

	char          agent_id[37];
	bool          foreign;
	char          trouble[ERR_MSG_MAX];
	struct gate   gate;
	struct writer writer;
};

enum err_code store_lmdb_err(struct err *reterr, int rc, const char *what);
enum err_code store_env_open(struct store *s, struct err *reterr);
/* The file that is open still is the one that lies there. */
enum err_code store_env_check(const struct store *s, struct err *reterr);
void          store_env_close(struct store *s);
/* Outside any transaction: doubles the map. */
enum err_code store_env_grow(struct store *s, struct err *reterr);

void gate_init(struct gate *g);
void gate_free(struct gate *g);
/* On the store thread, or on the loop while there is none: returns when it is done. */
enum err_code gate_ask(struct store *s, enum ask what, struct err *reterr);
/* A read of the loop's begins and ends. */
void gate_loop_enter(struct store *s);
void gate_loop_leave(struct store *s);
/* A read on the work pool: waits while something is asked. */
void gate_pool_enter(struct store *s);
void gate_pool_leave(struct store *s);

/* --- transactions (txn.c) and records in them (record.c) --- */

enum txn_place { TXN_LOOP, TXN_POOL, TXN_WRITE, TXN_ENDED };

struct store_txn {
	struct store   *s;
	MDB_txn        *txn;
	enum txn_place  place;
	struct arena   *arena;   /* copies of records; NULL until one is needed */
	struct buf      scratch;
	int             rc;      /* first failure of LMDB, 0: none */
	struct err      err;     /* first failure */
	struct counters n;       /* TXN_WRITE */
	bool            dirty;   /* TXN_WRITE: something was put */
	struct key_word words[KEY_WORDS];
	size_t          next_word;
	bool            forget;  /* a walk drops copies of records after each call: for those that see everything */
};

/* A write also has its counters read. */
enum err_code txn_begin(struct store *s, enum txn_place place, struct store_txn *t, struct err *reterr);
void          txn_abort(struct store_txn *t);
/* Ends a read and begins another: nothing that it returned is valid any more. On failure t is over (txn_abort() may
 * follow). */
enum err_code txn_renew(struct store_txn *t, struct err *reterr);
/* Writes the counters; 0 or LMDB's answer. t is over either way. */
int           txn_commit(struct store_txn *t);
bool          txn_read_counters(struct store_txn *t, struct counters *ret);
static inline bool
txn_failed(const struct store_txn *t)
{
	return t->err.code != ERR_OK;
}
/* Notes the first failure of t; as expressions they are false, for "return txn_fail(...)". */
void txn_note(struct store_txn *t, enum err_code code, int rc, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void txn_note_err(struct store_txn *t, const struct err *e);
void txn_note_lmdb(struct store_txn *t, int rc, enum db db, const char *what);
static inline bool
txn_no(void)
{
	return false;
}
#define txn_fail(...)      (txn_note(__VA_ARGS__), txn_no())
#define txn_fail_err(...)  (txn_note_err(__VA_ARGS__), txn_no())
#define txn_fail_lmdb(...) (txn_note_lmdb(__VA_ARGS__), txn_no())
/* Forgets a failure that a caller has dealt with: a read's only, for a put's ends the transaction. */
void txn_pardon(struct store_txn *t);

/* false: absent, or txn_failed(). Strings of *ret live as long as t. */
bool rec_get(struct store_txn *t, enum db db, const struct key *k, const struct rec_type *type, void *ret);
bool rec_has(struct store_txn *t, enum db db, const struct key *k);
bool rec_put(struct store_txn *t, enum db db, const struct key *k, const struct rec_type *type, const void *rec);
bool rec_del(struct store_txn *t, enum db db, const struct key *k); /* one that is gone is fine */
/* Plain bytes as the value. */
bool rec_get_bytes(struct store_txn *t, enum db db, const struct key *k, struct span *ret);
bool rec_put_bytes(struct store_txn *t, enum db db, const struct key *k, struct span value);
/* Behind what out holds, and no copy is kept in t. */
bool rec_append_bytes(struct store_txn *t, enum db db, const struct key *k, struct buf *out);
/* In place of a cursor's value. */
bool rec_open(struct store_txn *t, enum db db, struct span key, struct span value, const struct rec_type *type,
    void *ret);
bool rec_open_bytes(struct store_txn *t, enum db db, struct span key, struct span value, struct span *ret);
uint64_t rec_count(struct store_txn *t, enum db db);

/* The value of meta that says how the others are sealed: never sealed itself. */
bool meta_get_plain(struct store_txn *t, const char *name, struct span *ret);
bool meta_put_plain(struct store_txn *t, const char *name, struct span value);

/*
 * Walks keys that begin with prefix from the key at or after from, upwards; with down, from the last one at or
 * before from (from NULL: the end). fn returns false to stop. It may not write.
 */
struct walk {
	enum db     db;
	struct span prefix;
	const struct key *from;
	bool        down;
	bool      (*fn)(void *arg, struct store_txn *t, struct span key, struct span value);
	void       *arg;
};
void rec_walk(struct store_txn *t, const struct walk *w);

/* --- pieces of open (host.c) --- */

/* What is left to do about a store that cannot be read. */
#define STORE_LOST_HINT "bring it back from a backup, or move it away: a new store begins with what the backends hold now"

enum err_code host_dir_open(struct store *s, const struct store_conf *conf, struct err *reterr);
enum err_code host_own(struct store *s, struct err *reterr);
char         *host_binding(const struct store_conf *conf); /* the first line of STORE/host for this host */
/* STORE/host says what binding says, and no other file than data.mdb is. *ret_file: it need not be told which file that is. */
bool          host_is_bound(const struct store *s, bool *ret_file);
enum err_code host_bind(struct store *s, struct err *reterr);
/* ERR_IO with a hint when there is no room for that many bytes more. */
enum err_code host_check_room(const struct store *s, uint64_t bytes, struct err *reterr);
/* A commit failed with *reterr: says so if the disk is full. Returns reterr->code. */
enum err_code host_explain_full(const struct store *s, struct err *reterr);
/* The name of a file system on which LMDB is not safe, by f_type of statfs(); NULL: fine. */
const char   *host_fs_refused(uint64_t f_type);

#endif
