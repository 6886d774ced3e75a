/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_LOCAL_LOCAL_H
#define PROVIDER_LOCAL_LOCAL_H

#include <pthread.h>
#include <sys/stat.h>

#include "base/map.h"
#include "provider/provider.h"

/*
 * States as files. Everything that touches the disk runs on the work pool; the loop's thread only keeps the table of
 * held locks, which jobs read through the descriptor they are given.
 */
struct local_conf {
	const char *path, *workspace_dir, *dir;
};

struct local_held {
	int  fd;                /* carries the OFD lock: closing it is the unlock */
	char id[256];
};

struct local_watch;

struct local {
	struct backend             b;
	const struct provider_env *env;
	const struct local_conf   *conf;
	char                      *root;          /* folder that names are relative to, prefix included; real path when it exists */
	char                      *file;          /* with `path`: its file name; NULL: dir mode */
	char                      *workspace_dir; /* with `path`: absolute */
	char                      *workspace_label; /* its last segment: how its names begin */
	struct map                *held;          /* name -> struct local_held */
	struct local_watch        *watch;
};

/* One call: filled on the loop, worked on in a job, finished on the loop. */
struct local_call {
	struct op            op;
	struct local        *l;
	work_fn             *job;
	void               (*finish)(struct local_call *c); /* on the loop, after a job that ended OK or not; may set op.res */
	char                *name, *path;
	char                 etag[ETAG_MAX];
	struct put_condition when;
	struct lock_info     lock, holder;
	struct body         *body;
	void                *ret, *ret2;
	state_seen_fn       *seen;
	void                *arg;
	int                  held_fd;             /* the lock we hold on it; -1: none */
	int                  fd;                  /* lock: the descriptor that carries it */
	struct snapshot      now;
	struct state_tag     tag;
	struct local_entry  *entries;             /* list */
	size_t               nentries, next;
	uint64_t             max_size;
	bool                 create;
	int                  spool_fd;            /* read: where a large body goes, -1: memory */
};

struct local_entry {
	char    *name;
	char     etag[ETAG_MAX];
	uint64_t size;
	int64_t  modified;
	bool     locked;
	char    *problem;
};

/* local_path.c: names and paths */
char         *local_path_of(const struct local *l, const char *name);        /* NULL: no such name can be here */
void          local_workspace(const struct backend *b, const char *name, struct buf *ret);
void          local_path(const struct backend *b, const char *name, struct buf *ret);
void          local_address(const struct backend *b, const char *name, provider_argument_fn *put, void *arg);
void          local_named(const struct backend *b, const char *path, const char *workspace, struct buf *ret);
enum err_code local_no_folder(const struct local *l, const char *path, struct err *reterr);
void          local_locate(const struct backend *b, const char *name, struct buf *ret);
bool          local_fixed(const struct backend *b, const char *workspace, struct buf *ret);
char         *local_lock_path(const char *path);                             /* ".NAME.lock.info" beside it */
void          local_etag(const struct stat *st, char ret[ETAG_MAX]);
/* Opens below the root without leaving it by a symbolic link; with O_CREAT the folders are made too. ERR_NOT_FOUND,
 * ERR_UNSUPPORTED (leaves the folder), ERR_IO. */
enum err_code local_open_file(const struct local *l, const char *path, int flags, int *ret_fd, struct err *reterr);
/* For a path that local_open_file() found to be inside: folders between the root and the file; the root itself only by
 * provider_create(). */
enum err_code local_make_parents(const struct local *l, const char *path, struct err *reterr);
enum err_code local_sync_folder(const char *path, struct err *reterr);       /* of the file at path */

/* local_file.c, local_lock.c, local_list.c: jobs */
work_fn       local_read_job, local_write_job, local_delete_job, local_head_job, local_create_job;
work_fn       local_lock_job, local_unlock_job, local_peek_job;
work_fn       local_list_job;
bool          local_is_locked(int fd, pid_t *ret_pid);                         /* -1: the kernel does not tell by whom */
enum err_code local_read_lock_info(const char *path, struct lock_info *ret, struct err *reterr);

/* local_watch.c */
enum err_code local_watch_start(struct local *l, void (*changed)(void *arg, const char *name), void *arg, struct err *reterr);
void          local_watch_stop(struct local *l);

#endif
