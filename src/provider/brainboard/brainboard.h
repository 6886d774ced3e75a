/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_BRAINBOARD_BRAINBOARD_H
#define PROVIDER_BRAINBOARD_BRAINBOARD_H

#include "base/map.h"
#include "base/name.h"
#include "provider/provider.h"
#include "provider/send.h"

/*
 * Brainboard publishes which architectures there are, but no state (docs/protocol/brainboard.md): this driver asks the public API for
 * the inventory, and keeps nothing itself. Each state is that of one architecture, named by its UUID in lower case, and lies in the
 * storage that the organization or the architecture was given: another backend, opened inside this one.
 */
#define BRAINBOARD_REFRESH_MS ((int64_t)10 * 60 * 1000)
#define BRAINBOARD_ASK_MS     ((int64_t)60 * 1000) /* the inventory that does not know a name has to be so new, or is asked again first */

struct brainboard_conf {
	int              region;
	const char      *api_base;
	struct secret   *token;
	const char      *key;
	struct conf_strs architectures;
};

struct brainboard_select {
	const char *project, *environment, *name, *status; /* NULL: any */
};

/* A storage block. */
struct brainboard_storage {
	struct backend *b;      /* NULL: managed by Brainboard, out of reach */
	char           *fixed;  /* the only name that it has; NULL: any */
	bool            listed; /* its states can be found by asking it */
};

/* An architecture block. */
struct brainboard_own {
	char                      *uuid;
	struct brainboard_storage *storage; /* NULL: that of all */
	const char                *key;     /* NULL: that of all */
	char                      *pinned;  /* the name there; NULL: it has to be found */
};

/* Where a state was seen by the last listing. */
struct brainboard_object {
	char    *name;          /* in its storage; NULL: that could not be listed, and trouble says why */
	struct err *trouble;
	char     etag[ETAG_MAX];
	uint64_t size;
	int64_t  modified;
	bool     locked;
	char    *other;         /* an older object that could be it as well; NULL: none */
};

struct brainboard {
	struct backend                  b;
	const struct provider_env      *env;
	const struct brainboard_conf   *conf;
	char                           *api;        /* without "/" at its end; NULL: no token, the API is not asked */
	bool                            selects;
	struct brainboard_select        select;
	struct brainboard_storage      *storages;   /* the first is that of all */
	size_t                          nstorages;
	struct brainboard_own          *own;
	size_t                          nown;
	struct map                     *objects;    /* by UUID, struct brainboard_object; NULL: never listed */
	int64_t                         scanned;    /* loop_now() of that */
	struct map                     *inventory;  /* UUIDs that the API shows and that are selected; NULL: it never answered */
	int64_t                         refresh_at; /* loop_now(); 0: at once */
	int64_t                         asked;      /* loop_now() of the last refresh, whatever became of it */
	struct err                      trouble;    /* of the last refresh */
	bool                            bearer;     /* which spelling of the credentials is tried */
};

struct brainboard *brainboard_of(const struct backend *b);

/* --- brainboard_name.c: the keys of their objects --- */
/* The UUID that a key belongs to by one of the forms U, U.tfstate, U/FILE; false: it is no state of an architecture. */
bool brainboard_key_uuid(const char *key, char ret[UUID_LEN + 1]);
/* The same by a template with one {uuid}. */
bool brainboard_key_matches(const char *template, const char *key, char ret[UUID_LEN + 1]);
char *brainboard_key_of(const char *template, const char *uuid);
/* What is for people: "project/environment/name", without what a path could not hold. */
char *brainboard_alias(const char *project, const char *environment, const char *name);

/* --- brainboard_api.c --- */
/* Refreshes the inventory; ends OK whatever became of it: trouble says. */
struct op *brainboard_refresh(struct brainboard *bb);
/* An answer of the API: a bare array of objects with a UUID each. For fuzzing too. */
struct brainboard_item {
	char        uuid[UUID_LEN + 1];
	const char *name, *status; /* "" : none */
	const void *inner;         /* of a project: its environments, for brainboard_items(); NULL: not told */
};
enum err_code brainboard_items(const void *array, void (*fn)(void *arg, const struct brainboard_item *i), void *arg, struct err *reterr);
enum err_code brainboard_parse(struct span json, void (*fn)(void *arg, const struct brainboard_item *i), void *arg, struct err *reterr);

/* --- brainboard_list.c --- */
struct op *brainboard_list(struct backend *b, state_seen_fn *seen, void *arg);
/* Only lists the storages: objects is new afterwards. */
struct op *brainboard_scan(struct brainboard *bb);
/* The block of an architecture; NULL: none. */
const struct brainboard_own *brainboard_own(const struct brainboard *bb, const char *uuid);
struct brainboard_storage *brainboard_storage_of(const struct brainboard *bb, const char *uuid);
/* May a state of it be written: the inventory shows it, or showed it once, or the configuration names it, or the last listing found it.
 * Without token nobody says which there are. */
bool  brainboard_known(const struct brainboard *bb, const char *uuid);
/* The name there as far as the configuration says it, owned by the caller; NULL: it has to be found. */
char *brainboard_pinned(const struct brainboard *bb, const char *uuid);
void  brainboard_pin_own(struct brainboard *bb, struct brainboard_own *own); /* own->pinned, when storage and key are known */
/* The architecture whose state the storage holds under that name; false: none's. */
bool  brainboard_name_uuid(const struct brainboard *bb, const struct brainboard_storage *s, const char *name,
    char ret[UUID_LEN + 1]);
void  brainboard_objects_free(struct map *m);

struct backend *brainboard_behind(const struct backend *b, const char *name, struct buf *ret);

/* --- brainboard_call.c: each call for the storage that holds the state --- */
struct op *brainboard_expect(struct backend *b, const struct state_ref *ref);
struct op *brainboard_ask(struct backend *b, const char *name);
struct op *brainboard_head(struct backend *b, const struct state_ref *ref, struct state_tag *ret);
struct op *brainboard_get(struct backend *b, const struct state_ref *ref, const char *unless_etag, struct snapshot *ret);
struct op *brainboard_put(struct backend *b, const struct state_ref *ref, const struct snapshot *body, const struct put_condition *when,
    char ret_etag[ETAG_MAX]);
struct op *brainboard_del(struct backend *b, const struct state_ref *ref, const char *if_etag);
struct op *brainboard_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder);
struct op *brainboard_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l);
struct op *brainboard_seal(struct backend *b, const struct state_ref *ref, const struct snapshot *body);
struct op *brainboard_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret);
struct op *brainboard_lock_break(struct backend *b, const struct state_ref *ref, const struct lock_info *l, struct lock_info *ret_holder);
struct op *brainboard_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg);
struct op *brainboard_get_version(struct backend *b, const struct state_ref *ref, const char *version, struct snapshot *ret);
/* Of every storage, one after the other. */
struct op *brainboard_create(struct backend *b);

#endif
