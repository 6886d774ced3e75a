/* SPDX-License-Identifier: MIT */
/* The LMDB environment itself: opened, closed, made larger. The durability is LMDB's default, never less. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

#define ENV_LOCK_BYTES 8192 /* what LMDB's lock file takes for STORE_READERS slots */
#if SIZE_MAX > UINT32_MAX
#define ENV_MAP_LIMIT ((uint64_t)1 << 46)
#define ENV_MAP_START STORE_MAP_DEFAULT
#else
#define ENV_MAP_LIMIT ((uint64_t)1 << 30)
#define ENV_MAP_START ((uint64_t)512 << 20)
#endif

const char *const store_db_names[DB_COUNT] = {
	[DB_META] = "meta",
	[DB_STATES] = "states",
	[DB_STATE_NAMES] = "state_names",
	[DB_STATE_BACKENDS] = "state_backends",
	[DB_VERSIONS] = "versions",
	[DB_VERSION_DIGESTS] = "version_digests",
	[DB_DIGESTS] = "digests",
	[DB_BLOBS] = "blobs",
	[DB_PIECES] = "pieces",
	[DB_STAGED] = "staged",
	[DB_REPLICAS] = "replicas",
	[DB_REPLICA_NAMES] = "replica_names",
	[DB_INTENTS] = "intents",
	[DB_QUEUE] = "queue",
	[DB_QUEUE_KEYS] = "queue_keys",
	[DB_EVENTS] = "events",
	[DB_MARKS] = "marks",
	[DB_RUNS] = "runs",
};

enum err_code
store_lmdb_err(struct err *reterr, int rc, const char *what)
{
	switch (rc) {
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_BAD_VALSIZE:
		err_set(reterr, ERR_CORRUPT, rc, "store: %s: %s", what, mdb_strerror(rc));
		return err_hint(reterr, STORE_LOST_HINT);
	case MDB_VERSION_MISMATCH:
		return err_set(reterr, ERR_UNSUPPORTED, rc, "store: %s: %s", what, mdb_strerror(rc));
	default:
		return err_set(reterr, ERR_IO, rc, "store: %s: %s", what, mdb_strerror(rc));
	}
}

/* The lock file is a shared map: on a full disk a page of it that has no block yet would be a SIGBUS. Nobody has the
 * environment open now, so that opening and closing the file takes no lock away. */
static enum err_code
env_reserve_lock(struct store *s, struct err *reterr)
{
	int fd = openat(s->dirfd, "lock.mdb", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0)
		return err_errno(reterr, errno, "%s/lock.mdb", s->dir);
	rc = posix_fallocate(fd, 0, ENV_LOCK_BYTES);
	close(fd);
	if (rc != 0)
		return err_errno(reterr, rc, "%s/lock.mdb: no room", s->dir);
	return ERR_OK;
}

static int
env_open_dbs(struct store *s)
{
	MDB_txn *txn;
	int      rc = mdb_txn_begin(s->env, NULL, 0, &txn);

	if (rc != 0)
		return rc;
	for (int i = 0; i < DB_COUNT && rc == 0; i++)
		rc = mdb_dbi_open(txn, store_db_names[i], MDB_CREATE, &s->dbi[i]);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static int
env_set_up(struct store *s)
{
	int rc, dead, fd;

	if ((rc = mdb_env_create(&s->env)) != 0)
		return rc;
	if ((rc = mdb_env_set_maxdbs(s->env, DB_COUNT)) != 0 ||
	    (rc = mdb_env_set_maxreaders(s->env, STORE_READERS)) != 0 ||
	    (rc = mdb_env_set_mapsize(s->env, (size_t)s->map_size)) != 0)
		return rc;
	if ((rc = mdb_env_open(s->env, s->dir, MDB_NOTLS, 0600)) != 0)
		return rc;
	if ((rc = mdb_env_get_fd(s->env, &fd)) != 0)
		return rc;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return errno;
	if ((rc = mdb_reader_check(s->env, &dead)) != 0)
		return rc;
	return env_open_dbs(s);
}

/* LMDB would make a new file where the old one has vanished, and write on to one that has no name any more. */
enum err_code
store_env_check(const struct store *s, struct err *reterr)
{
	struct stat st;
	char       *path;
	int         rc;

	if (s->data_ino == 0)
		return ERR_OK;
	path = xasprintf("%s/data.mdb", s->dir);
	rc = lstat(path, &st) != 0 ? errno : 0;
	free(path);
	if (rc == 0 && st.st_ino == s->data_ino && st.st_dev == s->data_dev)
		return ERR_OK;
	if (rc != 0 && rc != ENOENT)
		return err_errno(reterr, rc, "%s/data.mdb", s->dir);
	err_set(reterr, ERR_IO, rc, "%s/data.mdb: %s while it was in use", s->dir, rc != 0 ? "removed" : "replaced by another file");
	return err_hint(reterr, "end the agent; the next one goes on with what is there by then, or begins anew with what the backends hold");
}

static void
env_note_file(struct store *s)
{
	struct stat st;

	if (fstatat(s->dirfd, "data.mdb", &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	s->data_dev = st.st_dev;
	s->data_ino = st.st_ino;
}

/* The map that LMDB really made: a file may be larger than what was asked for. */
static void
env_note_size(struct store *s)
{
	MDB_envinfo info;

	if (mdb_env_info(s->env, &info) == 0)
		s->map_size = info.me_mapsize;
}

enum err_code
store_env_open(struct store *s, struct err *reterr)
{
	enum err_code code;
	int           rc;

	if (s->map_size == 0)
		s->map_size = ENV_MAP_START;
	if (s->map_size > ENV_MAP_LIMIT)
		s->map_size = ENV_MAP_LIMIT;
	if ((code = store_env_check(s, reterr)) != ERR_OK || (code = env_reserve_lock(s, reterr)) != ERR_OK)
		return code;
	rc = env_set_up(s);
	if (rc != 0) {
		store_env_close(s);
		return store_lmdb_err(reterr, rc, s->dir);
	}
	env_note_size(s);
	env_note_file(s);
	return ERR_OK;
}

void
store_env_close(struct store *s)
{
	if (s->env != NULL)
		mdb_env_close(s->env);
	s->env = NULL;
}

enum err_code
store_env_grow(struct store *s, struct err *reterr)
{
	uint64_t want = s->map_size * 2;
	int      rc, dead;

	if (want > ENV_MAP_LIMIT)
		return err_set(reterr, ERR_IO, MDB_MAP_FULL, "store: the memory map has reached its limit of %llu MiB",
		    (unsigned long long)(ENV_MAP_LIMIT >> 20));
	if ((rc = mdb_reader_check(s->env, &dead)) == 0)
		rc = mdb_env_set_mapsize(s->env, (size_t)want);
	if (rc == 0) {
		s->map_size = want;
		return ERR_OK;
	}
	store_lmdb_err(reterr, rc, "memory map");
	/* The old map is gone already: only opening again brings one back. */
	store_env_close(s);
	store_env_open(s, NULL);
	return ERR_IO;
}
