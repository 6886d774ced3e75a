/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_PROVIDER_H
#define PROVIDER_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/state_scan.h"
#include "conf/conf.h"
#include "loop/body.h"
#include "loop/op.h"
#include "loop/work.h"
#include "net/http_client.h"
#include "provider/lock_info.h"
#include "provider/requests.h"

/*
 * The contract between the agent and a kind of place where states live. A driver fills one
 * struct provider; callers use only the provider_*() wrappers, which ask caps once, check arguments and results,
 * bound the request rate, count, log, and refuse what is missing. Every driver passes one conformance suite
 * (tests/unit/provider/conformance.h).
 */
enum provider_cap {
	PROVIDER_LIST     = 1 << 0,  /* cheap: one request per page, with a change tag for each state */
	PROVIDER_HISTORY  = 1 << 1,  /* the remote keeps old versions that we can read */
	PROVIDER_IF_MATCH = 1 << 2,  /* the remote enforces put preconditions */
	PROVIDER_LOCK     = 1 << 3,  /* a lock that terraform honours too */
	PROVIDER_LOCK_ID  = 1 << 4,  /* and unlock compares ids, the remote or we */
	PROVIDER_CAS      = 1 << 5,  /* small records by compare-and-set: can carry a lease */
	PROVIDER_WATCH    = 1 << 6,  /* tells of changes by itself (inotify) */
	PROVIDER_LOCK_UNLISTED = 1 << 9, /* a listing does not show every lock (state_seen.locked): each state has to be asked for */
	PROVIDER_IN_PLACE = 1 << 8,  /* a put under the lock overwrites in place: a crash can tear it */
	PROVIDER_UNPROVEN = 1 << 7,  /* preconditions are promised, but a probe has to prove them before a write without a lock */
	PROVIDER_LOCK_UNPROVEN = 1 << 10, /* nothing but a promised lock: a probe has to see it refused before the first write */
	PROVIDER_LOCK_HIDDEN = 1 << 11, /* locks of some states cannot be read, though lock_peek is there */
	PROVIDER_LOCK_MOVES = 1 << 12, /* a state may be renamed under its lock: unlock finds ours by its "Path", whatever the name says */
	PROVIDER_SERIALS  = 1 << 13, /* the remote refuses a serial that is not higher: between two neighbours nothing was */
};

enum put_if {
	PUT_ABSENT,      /* ERR_CONFLICT when something is there */
	PUT_MATCH,       /* ERR_CONFLICT unless the change tag still is etag */
	PUT_UNDER_LOCK,  /* no precondition at the remote: the lock taken before protects it */
};

struct put_condition {
	enum put_if      when;
	const char      *etag;     /* PUT_MATCH */
	const struct lock_info *lock; /* the lock we hold on it, NULL: none */
};

#define ETAG_MAX 128
#define VERSION_ID_MAX 256 /* of what a remote calls a version; a longer id is unknown */

/* A state at a backend. name as the backend lists it, relative to its prefix. Borrowed for the call; ops copy it. */
struct state_ref {
	const char *name;
};

/* What a backend held: released with snapshot_free(). */
struct snapshot {
	struct body      *body;      /* NULL: nothing was read */
	struct digest     digest;    /* SHA-256 of the bytes */
	struct state_info info;      /* scanned in the same pass */
	char              etag[ETAG_MAX]; /* as the list shows it; "" when the backend has none */
	int64_t           modified;  /* wall ms; 0: unknown */
	char              run[64];   /* what the remote calls the run that wrote it; "" : it does not tell */
	char              version[VERSION_ID_MAX]; /* which of the versions that the backend keeps, as history tells them; "" : unknown */
};
void snapshot_free(struct snapshot *s);    /* contents; zeroes them */
/* Of bytes from elsewhere, hashed and scanned on the caller's thread: they may be few, or the thread one of the pool. Takes a
 * reference; ret is to be freed whatever the outcome. In memory it cannot fail. */
enum err_code snapshot_of(struct snapshot *ret, struct body *body, struct err *reterr);
/* The same, on the pool when they are many: an op, or NULL: done. ret belongs to it until it ends. */
struct op *snapshot_read(struct work *w, struct snapshot *ret, struct body *body);

struct state_seen {
	const char *name;            /* relative to the prefix; "" with problem: of the listing as a whole, which goes on without */
	const char *etag;            /* "" : no change tag, must be read to know */
	uint64_t    size;
	int64_t     modified;
	bool        locked;          /* the listing shows a lock on it */
	const char *problem;         /* not NULL: a listed name that cannot be used, and why */
	const char *hint;            /* of problem; NULL: rename or exclude it */
	enum err_code why;           /* of problem; ERR_OK: ERR_UNSUPPORTED */
	const char *uncovered;       /* not NULL: known from an inventory, its bytes are out of reach, and why. No failure */
};
typedef void state_seen_fn(void *arg, const struct state_seen *s);

struct state_tag {
	char     etag[ETAG_MAX];
	uint64_t size;
	int64_t  modified;
};

struct version_seen {
	const char *id;              /* for get_version, and of no other version of the state */
	const char *etag;
	uint64_t    size;
	int64_t     modified;        /* wall ms when it was made; 0: unknown */
	bool        latest, deleted; /* deleted: it has no bytes (any more) */
	bool        guessed;         /* only a read tells whether it is there */
};
typedef bool version_seen_fn(void *arg, const struct version_seen *v); /* false: enough, older ones need not be asked for */

struct probe_check {
	const char *name;            /* reach auth list read create_only if_match racing_writes delete_create
	                              * list_after_write checksum lock clock inventory */
	bool        ok;
	const char *detail;          /* one clause */
	bool        useless;         /* lock: granted to a second one, it excludes nobody */
};
typedef void probe_fn(void *arg, const struct probe_check *c);

/* What the agent lends to every backend. Outlives them. */
struct provider_env {
	struct loop        *loop;
	struct work        *work;
	struct http_client *http;
	const struct conf_source *source;  /* the environment and files, as the configuration saw them */
	const char         *agent_name;    /* for "Who" of locks */
	const char         *agent_id;      /* of the store; names what is only ours at a remote. NULL: no store */
	int               (*spool)(void *arg, struct err *reterr); /* an unlinked file for a large body; NULL: keep in memory */
	void               *spool_arg;
};

/* The agent's arguments, the same for every provider (provider_common_fields). */
struct backend_common {
	struct conf_strs from_file;            /* has been read: conf_import() */
	const char      *prefix;
	struct conf_strs include, exclude;
	bool             create, read_only, exclusive;
	int64_t          max_shrink;           /* percent */
	int64_t          poll_ms, timeout_ms, lock_timeout_ms;
	int64_t          requests_per_second;  /* 0: no limit */
	uint64_t         max_state_size;
	int64_t          backfill;             /* older versions that are read at most when a state is new, or between two looks */
	bool             any_name;             /* of provider_open_inside(): who asked for it tells states by themselves */
};
extern const struct conf_field provider_common_fields[];

struct backend;
/* value NULL: it is left out. plain: no secret is in it, although it may be an address with a query. */
typedef void provider_argument_fn(void *arg, const char *name, const char *value, bool plain);

struct provider {
	const char *name, *summary;
	const char *suffix;                    /* that names of states end with here, replicas made to; NULL: any */
	bool      (*suits)(const char *name);  /* does it end as names do here, though not with suffix? NULL: never */
	const char *imports;                   /* types of terraform's whose blocks from_file takes, as conf_import(); NULL: its name */
	bool        no_scratch;                /* nobody can make up a name: a lock is tried on a state, if there is one only */
	size_t      key_max, segment_max;      /* bytes of prefix and name, and of one segment, which leave room for its lock; 0: any */
	const struct conf_field *fields;       /* the provider's own: terraform's arguments */
	const char *const *blocks;             /* nested block types it accepts, NULL-terminated; NULL: none */
	size_t      conf_size;
	size_t      timeout_at;                /* offset in conf of a timeout by terraform's own name, int64_t ms; 0: it has none */
	const char *prefix_help;               /* NULL: prefix is the agent's argument; else prefix is terraform's own here */
	/* conf: conf_size bytes filled by fields, lives as long as b; block: for nested blocks and positions. Must not do I/O
	 * beyond reading credential files. */
	enum err_code (*open)(const struct provider_env *env, struct conf *c, struct conf_block *block, const void *conf,
	    const struct backend_common *common, struct backend **ret, struct err *reterr);
	void          (*close)(struct backend *b);
	unsigned      (*caps)(const struct backend *b);
	/* The workspace of a name ("default" if none), and for a backend with one fixed name (key, path, address without
	 * {name}) the name of a workspace's state there; fixed returns false when names are free. */
	void          (*workspace)(const struct backend *b, const char *name, struct buf *ret);
	bool          (*fixed)(const struct backend *b, const char *workspace, struct buf *ret);
	/* The same in two parts, as terraform's block has them: path, what is left of a name without its workspace and without ".tfstate"
	 * ("": terraform's own choice), and the name of a workspace's state at such a path. NULL: the whole name, and PATH-WORKSPACE. */
	void      (*path)(const struct backend *b, const char *name, struct buf *ret);
	void      (*named)(const struct backend *b, const char *path, const char *workspace, struct buf *ret);
	/* The arguments of terraform's block that say where the state of that name is; what b's own block says of them does not count. */
	void      (*address)(const struct backend *b, const char *name, provider_argument_fn *put, void *arg);
	/* What stands in terraform's block beside its arguments: blocks, indented by four. NULL: nothing. */
	void      (*inside)(const struct backend *b, const char *name, struct buf *ret);
	const char *terraform;                 /* the type of that block; NULL: name */
	int64_t     backfill;                  /* of that argument: its default, where older versions are kept */
	const struct conf_hidden *hidden;      /* of fields: credentials that terraform reads from variables, and what it does not know */
	/* Can its states be found, as a source needs it? NULL: always. */
	enum err_code (*findable)(const struct backend *b, struct err *reterr);
	struct op *(*create)(struct backend *b);        /* bucket, container, folder, workspace; OK when it is there */
	struct op *(*list)(struct backend *b, state_seen_fn *seen, void *arg);
	struct op *(*head)(struct backend *b, const struct state_ref *ref, struct state_tag *ret);
	struct op *(*get)(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
	struct op *(*put)(struct backend *b, const struct state_ref *ref, const struct snapshot *body,
	    const struct put_condition *when, char ret_etag[ETAG_MAX]);
	struct op *(*del)(struct backend *b, const struct state_ref *ref, const char *if_etag);
	struct op *(*lock)(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
	struct op *(*unlock)(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
	struct op *(*seal)(struct backend *b, const struct state_ref *ref, const struct snapshot *body); /* sidecars; NULL: none */
	struct op *(*lock_peek)(struct backend *b, const struct state_ref *ref, struct lock_info *ret); /* NULL: locks cannot be read */
	struct op *(*lock_break)(struct backend *b, const struct state_ref *ref, const struct lock_info *l,
	    struct lock_info *ret_holder); /* where lock_peek is NULL */
	/* Newest first, the current one included. Both NULL: none are kept, or they cannot be read. */
	struct op *(*history)(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg);
	struct op *(*get_version)(struct backend *b, const struct state_ref *ref, const char *remote_version, struct snapshot *ret);
	struct op *(*probe)(struct backend *b, probe_fn *seen, void *arg);     /* leaves nothing behind */
	/* For providers without probe: removes what a released lock of the made-up state leaves there. NULL: nothing. */
	struct op *(*sweep)(struct backend *b);
	/* PROVIDER_WATCH: changed(arg, name or NULL for "look at all") until close; NULL changed stops it. */
	enum err_code (*watch)(struct backend *b, void (*changed)(void *arg, const char *name), void *arg, struct err *reterr);
	/* "Path" of our lock bodies: "BUCKET/KEY" for S3; NULL: "". */
	void          (*lock_path)(const struct backend *b, const char *name, struct buf *ret);
	/* Where a name lies, written in one way only, so that places of two backends can be compared; "" is where names begin. NULL:
	 * places cannot be compared. No I/O. */
	void          (*locate)(const struct backend *b, const char *name, struct buf *ret);
	/* Backends that keep their states in others: which of them holds that name, and under which name there; NULL: not known without
	 * asking. No I/O. NULL: it keeps them itself. */
	struct backend *(*behind)(const struct backend *b, const char *name, struct buf *ret);
	/* With behind: the i-th place that it keeps states in; NULL: no more. only: the one name of its own that it has there, if the place has
	 * no other. */
	struct backend *(*storage)(const struct backend *b, size_t i, struct buf *only);
	/* With behind: would it list what lies in `to` as name, and as what? No I/O. */
	bool          (*lists)(const struct backend *b, const struct backend *to, const char *name, struct buf *ret);
	/* ERR_UNSUPPORTED: no state can have that name here. NULL: any may. */
	enum err_code (*holds)(const struct backend *b, const char *name, struct err *reterr);
	/* Ends OK when a state of that name may be written, and it is known where it would lie; for want of an architecture, a workspace or
	 * a lock it refuses with the words of a lock or a put. Locks and writes nothing. */
	struct op *(*expect)(struct backend *b, const struct state_ref *ref);
	/* Where an inventory says which names there are: asks it anew, when that name, or alias, is none that it is known to have. NULL:
	 * there is nothing to ask. Ends with why no answer came; what the answer says of the name, holds and the aliases tell. */
	struct op *(*ask)(struct backend *b, const char *name);
	/* Names that mean the same become the one form that they have here, in place. NULL: each is one of its own. */
	void          (*fold)(char *name);
	/* Where the credentials come from, for people, once a request was signed; NULL: there are none. No secret. */
	const char *  (*signed_in)(const struct backend *b);
	/* What the server says that it is, for people, once it has answered: "Terraform Enterprise v202502-1, API 2.6". NULL: nothing. */
	const char *  (*server)(const struct backend *b);
	/* A write was answered as done, and what is read is something else: why that may be; static. NULL: no idea. */
	const char *  (*remark)(const struct backend *b, const char *name);
	/* What an operator can do about a lock that stays: "terraform force-unlock ID" in this provider's words. */
	void          (*unlock_hint)(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret);
};

/* First member of every driver's own struct; the wrappers' side of it is filled by provider_open(). */
struct backend {
	const struct provider     *provider;
	const struct provider_env *env;
	const char                *label;       /* of the configuration block */
	struct backend_common      common;
	char                      *where;       /* "s3://bucket/prefix at ENDPOINT": identity and for people; no secrets. Set by open */
	unsigned                   caps;
	uint64_t                   requests;    /* sent; drivers count each with provider_sent() */
	struct request_stats       stats[REQUEST_KINDS]; /* of the wrappers' calls */
	int64_t                    busy_until;  /* loop_now(): throttled, nothing new before */
	int64_t                    next_slot;   /* requests_per_second */
	int64_t                    server_off;  /* its clock, by its last answer: ms before ours is behind it */
	bool                       heard;       /* server_off is known */
	struct backend            *outer;       /* which keeps its states here; NULL: none */
	struct map                *aliases;     /* of names, as the remote's inventory has them: owned; NULL: none */
	bool                       aliases_new; /* since they were kept last */
	void                      *conf;
	const struct conf_block   *block;       /* that it was opened from; NULL: none */
};

extern const struct provider provider_azurerm, provider_brainboard, provider_cloud, provider_gcs, provider_harness, provider_http,
    provider_local, provider_mem, provider_remote, provider_s3;
/* All drivers, NULL-terminated. */
extern const struct provider *const provider_all[];
const struct provider *provider_find(const char *name);

/* From a block 'backend "TYPE" "LABEL" { ... }'. ERR_CONFIG with the position. */
enum err_code provider_open(const struct provider_env *env, struct conf *c, struct conf_block *block, struct backend **ret,
    struct err *reterr);
void          provider_close(struct backend *b);   /* no op may be left */
/* For a driver that keeps its states in others: from a block 'TYPE { ... }' inside its own, whose labels end with TYPE. The agent's
 * arguments are those of outer but prefix and from_file. */
enum err_code provider_open_inside(struct backend *outer, const struct provider_env *env, struct conf *c, struct conf_block *block,
    struct backend **ret, struct err *reterr);
/* b takes the place of before (a reload): its counters go on. */
void          provider_go_on(struct backend *b, const struct backend *before);

/*
 * The wrappers. Outcomes, beside those of http_client.h:
 *	get       ERR_NOT_FOUND no such state; ERR_UNCHANGED still unless_etag; ERR_UNSUPPORTED larger than max_state_size;
 *	          ERR_CORRUPT: it contradicts a sidecar, and ret then holds it all the same: a writer can tell its own bytes,
 *	          and seal them; or, with ret empty, its own checksum
 *	put, del  ERR_CONFLICT the precondition did not hold; ERR_UNCERTAIN; ERR_UNSUPPORTED read_only, or not enforced here
 *	lock      ERR_LOCKED and *ret_holder; ERR_UNCERTAIN only when even asking again gave no answer. l->generation is filled.
 *	          A lock that turns out to be ours (same id) is OK.
 *	unlock    OK when the lock is gone or carries another id
 *	lock_peek ERR_NOT_FOUND: not locked
 *	lock_break for a person, where locks cannot be read: removes the lock with the id of l. ERR_NOT_FOUND: not locked;
 *	          ERR_CONFLICT: it carries another id, and *ret_holder says whose it is, as far as the remote tells
 *	create    OK when it exists already
 *	history   newest first, deleted ones included; ERR_UNSUPPORTED none are kept here; ERR_AUTH they may not be listed
 *	get_version ERR_NOT_FOUND no such version (any more); ERR_UNSUPPORTED its bytes cannot be had; else as get
 * name and condition are checked and copied; outputs must outlive the op.
 */
unsigned   provider_caps(const struct backend *b);
struct op *provider_create(struct backend *b);
struct op *provider_list(struct backend *b, state_seen_fn *seen, void *arg);  /* include and exclude applied */
struct op *provider_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret);
struct op *provider_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
struct op *provider_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body,
    const struct put_condition *when, char ret_etag[ETAG_MAX]);
struct op *provider_del(struct backend *b, const struct state_ref *ref, const char *if_etag);
/* A fresh lock of ours for that state; info: why, for whoever meets it. Journal its body before provider_lock(). */
void       provider_lock_new(struct backend *b, const struct state_ref *ref, const char *info, struct lock_info *ret);
struct op *provider_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *provider_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *provider_seal(struct backend *b, const struct state_ref *ref, const struct snapshot *body); /* NULL sidecars: OK */
struct op *provider_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret);
/* false: lock_peek ends with ERR_UNSUPPORTED, and a lock is known only from a refusal. */
bool       provider_shows_locks(const struct backend *b);
struct op *provider_lock_break(struct backend *b, const struct state_ref *ref, const struct lock_info *l,
    struct lock_info *ret_holder);
struct op *provider_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg);
struct op *provider_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret);
#define BACKFILL_MAX 10000 /* of the argument "backfill" */
struct op *provider_probe(struct backend *b, probe_fn *seen, void *arg);
/* NULL: nothing has to be asked, whether it may be written the write itself tells. */
struct op *provider_expect(struct backend *b, const struct state_ref *ref);
struct op *provider_ask(struct backend *b, const char *name);                /* NULL: see the driver's */
/* A backend that has one name only, and no other lock than that of the state itself. Its name: a probe takes the lock of a state only
 * when the caller has journalled both locks; it sets sent before the first request that may take one. */
struct probe_locks {
	const char      *name;       /* of the state; copied */
	struct lock_info lock[2];
	bool             sent;
};
bool       provider_probe_state(const struct backend *b, struct buf *ret);
struct op *provider_probe_locking(struct backend *b, struct probe_locks *locks, probe_fn *seen, void *arg);
/* Of the probe's checks only those that write nothing: reach, auth, list, read, lock (can its place be read?), and clock where answers
 * tell the time. Ends with what went wrong. */
struct op *provider_reach(struct backend *b, probe_fn *seen, void *arg);
enum err_code provider_watch(struct backend *b, void (*changed)(void *arg, const char *name), void *arg, struct err *reterr);
void       provider_workspace(const struct backend *b, const char *name, struct buf *ret);
bool       provider_fixed(const struct backend *b, const char *workspace, struct buf *ret);
/* Is this a name that states have there: any where names are free, else that of a workspace. */
bool       provider_gives_name(const struct backend *b, const char *name);
/* What terraform at `to` would call what it calls name at `from`: the same workspace of the same path. */
void       provider_rename(const struct backend *from, const char *name, const struct backend *to, struct buf *ret);
/* A whole "terraform" block for that state and the other workspaces of its place. No secret is in it: see conf_export(). */
void       provider_block(const struct backend *b, const char *name, struct buf *ret);
/* ERR_UNSUPPORTED: such a backend cannot hold the name, lock included, or not safely; provider_put() and provider_lock() refuse it. */
enum err_code provider_holds_name(const struct backend *b, const char *name, struct err *reterr);
void       provider_fold(const struct backend *b, char *name);
/* Makes a name that comes from `from` one of `to`, in its form, and with the end that names have there; back at a place where it ended
 * well without, what was appended goes. */
void       provider_complete(const struct backend *from, const struct backend *to, struct buf *name);
/* Would from list what is written to `to` as name? As which name: ret. */
bool       provider_lists_name_of(const struct backend *from, const struct backend *to, const char *name, struct buf *ret);
/* Are these two names one place, as far as that can be told without asking? */
bool       provider_same_name(const struct backend *a, const char *an, const struct backend *b, const char *bn);
const char *provider_remark(const struct backend *b, const char *name); /* NULL: nothing is known */
void       provider_unlock_hint(const struct backend *b, const char *name, const struct lock_info *l, struct buf *ret);
/* ERR_UNSUPPORTED: it keeps its states where nothing outside comes to, all of them. */
enum err_code provider_within_reach(const struct backend *b, struct err *reterr);
/* Can it be a source: ERR_CONFIG when nothing says which states it holds. */
enum err_code provider_findable(const struct backend *b, struct err *reterr);
/* May this be written at all: a lock, or preconditions, or exclusive = true, and not read_only. */
#define PROVIDER_UNWRITABLE_HINT "\"stateferry probe %s\" shows what it enforces; configure a lock, or set exclusive = true " \
	"if nothing else writes there"
enum err_code provider_writable(const struct backend *b, struct err *reterr);
/* The same of what b keeps in that one of its storages, or in itself: where only others of them have a lock, it has none. */
enum err_code provider_writable_in(const struct backend *b, const struct backend *storage, struct err *reterr);
#define PROVIDER_PROXY_HINT "give user and password in the proxy's URL: http://USER:PASSWORD@HOST:PORT" /* of a 407 */
/* The checks of a probe that a write without a lock rests on. */
#define PROBE_CONDITIONS 4
extern const char *const probe_conditions[PROBE_CONDITIONS];
/* Whether a name passes include and exclude and is one that can be a state. */
bool       provider_selects(const struct backend *b, const char *name);

/*
 * Aliases as an inventory gives them: names for people. They are kept with the store, so that a command knows them without asking.
 */
const char *provider_alias(const struct backend *b, const char *name);       /* NULL: none */
const char *provider_unalias(const struct backend *b, const char *alias);    /* NULL: nobody's, or that of several */
void        provider_set_alias(struct backend *b, const char *name, const char *alias); /* copied; NULL: forgets it */
void        provider_aliases_write(const struct backend *b, struct buf *ret);
void        provider_aliases_read(struct backend *b, struct span text);      /* adds what it does not know */

/* For drivers. */
extern const struct conf_field provider_inside_fields[];
void       provider_sent(struct backend *b);
void       provider_heard(struct backend *b, int64_t date_ms); /* what an answer says of the time; 0: nothing */
/* Of a place that is not there: what to check, and that create = true makes it; or that it is about to. Returns reterr->code. */
enum err_code provider_make_hint(const struct backend *b, const char *check, struct err *reterr);
/* rand_backoff_ms() of the loop's own. */
#define PROVIDER_BACKOFF_MAX_MS 20000
int64_t    provider_backoff_ms(const struct backend *b, unsigned n, int64_t base_ms);

#endif
