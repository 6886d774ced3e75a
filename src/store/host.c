/* SPDX-License-Identifier: MIT */
/* The folder: its rights, its file system, its owner, and the host it belongs to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/internal.h"

#define HOST_TEXT_MAX   512
#define HOST_OVERLAYFS  0x794c7630u
#define HOST_FULL_BELOW ((uint64_t)1 << 20)
#define HOST_MACHINE_ID "/etc/machine-id"

/* f_type of statfs(2). A shared map and POSIX locks over a network, or through a user's process, are no ground for a
 * database. */
static const struct {
	uint32_t    type;
	const char *name;
} host_refused[] = {
	{ 0x6969, "nfs" },
	{ 0x517b, "smb" },
	{ 0xff534d42, "cifs" },
	{ 0xfe534d42, "smb2" },
	{ 0x01021997, "9p" },
	{ 0x65735546, "fuse" },
	{ 0x5346414f, "afs" },
	{ 0x6b414653, "kafs" },
	{ 0x73757245, "coda" },
	{ 0x564c, "ncpfs" },
	{ 0x00c36400, "ceph" },
	{ 0x0bd00bd0, "lustre" },
	{ 0x01161970, "gfs2" },
	{ 0x7461636f, "ocfs2" },
	{ 0x47504653, "gpfs" },
	{ 0x786f4256, "vboxsf" },
};

const char *
host_fs_refused(uint64_t f_type)
{
	for (size_t i = 0; i < ARRAY_LEN(host_refused); i++)
		if (host_refused[i].type == (uint32_t)f_type)
			return host_refused[i].name;
	return NULL;
}

static enum err_code
host_check_fs(struct store *s, struct err *reterr)
{
	struct statfs fs;
	const char   *name;

	if (fstatfs(s->dirfd, &fs) != 0)
		return err_errno(reterr, errno, "%s", s->dir);
	name = host_fs_refused((uint64_t)fs.f_type);
	if (name != NULL) {
		err_set(reterr, ERR_CONFIG, 0, "%s: the store cannot lie on %s: it needs a local file system", s->dir,
		    name);
		return err_hint(reterr, "set agent.store to a folder on a local disk");
	}
	if ((uint32_t)fs.f_type == HOST_OVERLAYFS)
		log_event(LOG_WARN, "store", "lies on overlayfs, the layer of a container: use a volume",
		    { "dir", log_str(s->dir) });
	return ERR_OK;
}

static enum err_code
host_sync_dir(const char *path, struct err *reterr)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return err_errno(reterr, errno, "%s", path);
	rc = fsync(fd);
	close(fd);
	return rc == 0 ? ERR_OK : err_errno(reterr, errno, "%s: fsync", path);
}

/* Makes path and what is missing above it, each one 0700 and on the disk. */
static enum err_code
host_make_dirs(char *path, struct err *reterr)
{
	for (char *p = path + 1;; p++) {
		char         *slash, end = *p;
		enum err_code code;

		if (end != '/' && end != '\0')
			continue;
		*p = '\0';
		if (mkdir(path, 0700) == 0) {
			slash = strrchr(path, '/');
			if (slash == NULL)
				code = host_sync_dir(".", reterr);
			else if (slash == path)
				code = host_sync_dir("/", reterr);
			else
				*slash = '\0', code = host_sync_dir(path, reterr), *slash = '/';
			if (code != ERR_OK)
				return code;
		} else if (errno != EEXIST) {
			return err_errno(reterr, errno, "%s", path);
		}
		*p = end;
		if (end == '\0')
			return ERR_OK;
	}
}

static enum err_code
host_check_mode(const struct store *s, const char *file, mode_t mode, struct err *reterr)
{
	const char *sep = file[0] == '\0' ? "" : "/";

	if ((mode & 077) == 0)
		return ERR_OK;
	err_set(reterr, ERR_CONFIG, 0, "%s%s%s: others may read or change it (mode %03o)", s->dir, sep, file,
	    (unsigned)(mode & 0777));
	if (file[0] == '\0') /* not a folder that many use, such as /tmp */
		return err_hint(reterr, "give the store a folder of its own, or chmod go= %s", s->dir);
	return err_hint(reterr, "chmod go= %s%s%s", s->dir, sep, file);
}

static enum err_code
host_check_modes(const struct store *s, struct err *reterr)
{
	static const char *const files[] = { "data.mdb", "lock.mdb", "owner", "host" };
	struct stat              st;

	if (fstat(s->dirfd, &st) != 0)
		return err_errno(reterr, errno, "%s", s->dir);
	if (host_check_mode(s, "", st.st_mode, reterr) != ERR_OK)
		return ERR_CONFIG;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		if (fstatat(s->dirfd, files[i], &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (!S_ISREG(st.st_mode))
			return err_set(reterr, ERR_CONFIG, 0, "%s/%s: not a regular file", s->dir, files[i]);
		if (host_check_mode(s, files[i], st.st_mode, reterr) != ERR_OK)
			return ERR_CONFIG;
	}
	return ERR_OK;
}

/* The file of a store is durable before its host file is: one without the other was lost, and a new store in its place would say
 * nothing of it. */
static enum err_code
host_check_kept(const struct store *s, struct err *reterr)
{
	struct stat st;

	if (faccessat(s->dirfd, "host", F_OK, 0) != 0 || (fstatat(s->dirfd, "data.mdb", &st, 0) == 0 && st.st_size > 0))
		return ERR_OK;
	err_set(reterr, ERR_CORRUPT, 0, "%s: a store was there, and its data.mdb is gone or empty", s->dir);
	return err_hint(reterr, STORE_LOST_HINT);
}

enum err_code
host_dir_open(struct store *s, const struct store_conf *conf, struct err *reterr)
{
	struct stat   st;
	enum err_code code;

	if (!conf->must_exist && (code = host_make_dirs(s->dir, reterr)) != ERR_OK)
		return code;
	s->dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd >= 0 && (code = host_check_kept(s, reterr)) != ERR_OK)
		return code;
	if (conf->must_exist &&
	    ((s->dirfd < 0 && errno == ENOENT) || (s->dirfd >= 0 && fstatat(s->dirfd, "data.mdb", &st, 0) != 0)))
		return err_set(reterr, ERR_NOT_FOUND, 0, "%s: no store there", s->dir);
	if (s->dirfd < 0)
		return err_errno(reterr, errno, "%s", s->dir);
	if ((code = host_check_modes(s, reterr)) != ERR_OK)
		return code;
	return host_check_fs(s, reterr);
}

/* ---------------------------------------------------------------- owner */

static int
host_owner_pid(int fd)
{
	char    text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (int)strtol(text, NULL, 10);
}

enum err_code
host_own(struct store *s, struct err *reterr)
{
	char text[32];
	int  n, pid;

	s->ownerfd = openat(s->dirfd, "owner", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->ownerfd < 0)
		return err_errno(reterr, errno, "%s/owner", s->dir);
	if (flock(s->ownerfd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK)
			return err_errno(reterr, errno, "%s/owner: flock", s->dir);
		pid = host_owner_pid(s->ownerfd);
		return err_set(reterr, ERR_LOCKED, pid, "%s: in use by process %d", s->dir, pid);
	}
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(s->ownerfd, 0) != 0 || pwrite(s->ownerfd, text, (size_t)n, 0) != n)
		return err_errno(reterr, errno, "%s/owner", s->dir);
	return ERR_OK;
}

/* ---------------------------------------------------------------- host */

static void
host_read(int dirfd, const char *path, char ret[HOST_TEXT_MAX])
{
	int     fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, ret, HOST_TEXT_MAX - 1);
		close(fd);
	}
	ret[n > 0 ? n : 0] = '\0';
}

/* The machine-id itself is not to be shown to others (machine-id(5)): its hash does. */
char *
host_binding(const struct store_conf *conf)
{
	char          id[HOST_TEXT_MAX], hex[DIGEST_HEX];
	struct digest d;
	char         *text;

	if (conf->agent_name != NULL)
		return xasprintf("name %s", conf->agent_name);
	if (conf->machine_id != NULL)
		snprintf(id, sizeof(id), "%s", conf->machine_id);
	else
		host_read(AT_FDCWD, HOST_MACHINE_ID, id);
	id[strcspn(id, "\n")] = '\0';
	if (id[0] == '\0' && gethostname(id, sizeof(id)) != 0)
		id[0] = '\0';
	id[sizeof(id) - 1] = '\0';
	text = xasprintf(STORE_STRING " host %s", id);
	sha256_of(text, strlen(text), &d);
	free(text);
	return xasprintf("machine %s", digest_hex(&d, hex));
}

/* Which file data.mdb is: a copy is another one, born later. */
struct host_file {
	char inode[24], birth[40]; /* birth "-": the file system does not tell; both "": nothing is known */
};

static void
host_look_file(const struct store *s, struct host_file *ret)
{
	struct statx x;

	*ret = (struct host_file){ "", "" };
	if (statx(s->dirfd, "data.mdb", AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &x) != 0)
		return;
	snprintf(ret->inode, sizeof(ret->inode), "%llu", (unsigned long long)x.stx_ino);
	snprintf(ret->birth, sizeof(ret->birth), "-");
	if ((x.stx_mask & STATX_BTIME) != 0)
		snprintf(ret->birth, sizeof(ret->birth), "%lld.%09u", (long long)x.stx_btime.tv_sec, x.stx_btime.tv_nsec);
}

/* Both have to differ: some file systems number their files anew when they are mounted, and some tell of no birth. */
static bool
host_is_other_file(const struct host_file *a, const struct host_file *b)
{
	return strcmp(a->inode, b->inode) != 0 && (a->birth[0] == '-' || strcmp(a->birth, b->birth) != 0);
}

bool
host_is_bound(const struct store *s, bool *ret_file)
{
	char             text[HOST_TEXT_MAX], *end;
	struct host_file was, now;

	host_read(s->dirfd, "host", text);
	host_look_file(s, &now);
	end = strchr(text, '\n');
	*ret_file = now.inode[0] == '\0' || (end != NULL && sscanf(end, "\nfile %23s %39s", was.inode, was.birth) == 2);
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, s->binding) == 0 && (now.inode[0] == '\0' || !*ret_file || !host_is_other_file(&was, &now));
}

static int
host_write_new(struct store *s)
{
	struct host_file file;
	char            *line;
	int              fd = openat(s->dirfd, "host.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), rc = 0;
	ssize_t          n;

	host_look_file(s, &file);
	line = file.inode[0] != '\0' ? xasprintf("%s\nfile %s %s\n", s->binding, file.inode, file.birth) : xasprintf("%s\n", s->binding);
	if (fd < 0 || (n = write(fd, line, strlen(line))) < 0 || fsync(fd) != 0)
		rc = errno;
	else if ((size_t)n != strlen(line))
		rc = ENOSPC; /* a short write says nothing else */
	if (fd >= 0)
		close(fd);
	free(line);
	return rc;
}

enum err_code
host_bind(struct store *s, struct err *reterr)
{
	int rc = host_write_new(s);

	if (rc == 0 && renameat(s->dirfd, "host.new", s->dirfd, "host") != 0)
		rc = errno;
	if (rc == 0 && fsync(s->dirfd) != 0)
		rc = errno;
	if (rc != 0)
		return err_errno(reterr, rc, "%s/host", s->dir);
	return ERR_OK;
}

/* ---------------------------------------------------------------- room */

static enum err_code
host_free_bytes(const struct store *s, uint64_t *ret, uint64_t *ret_size, struct err *reterr)
{
	struct statvfs fs;

	if (fstatvfs(s->dirfd, &fs) != 0)
		return err_errno(reterr, errno, "%s: statvfs", s->dir);
	*ret = (uint64_t)fs.f_bavail * fs.f_frsize;
	*ret_size = (uint64_t)fs.f_blocks * fs.f_frsize;
	return ERR_OK;
}

/* What has to be free before that many bytes are accepted: twice as much, and never less than the floor. */
static uint64_t
host_room(const struct store *s, uint64_t bytes, uint64_t disk)
{
	uint64_t floor = s->free_min;

	if (floor == 0)
		floor = disk / STORE_FREE_SHARE < STORE_FREE_MIN ? disk / STORE_FREE_SHARE : STORE_FREE_MIN;
	return 2 * bytes > floor ? 2 * bytes : floor;
}

enum err_code
host_check_room(const struct store *s, uint64_t bytes, struct err *reterr)
{
	uint64_t      free_bytes = 0, disk = 0, need;
	enum err_code code = host_free_bytes(s, &free_bytes, &disk, reterr);

	if (code != ERR_OK)
		return code;
	need = host_room(s, bytes, disk);
	if (free_bytes >= need)
		return ERR_OK;
	err_set(reterr, ERR_IO, ENOSPC, "store: the disk of %s is nearly full: %llu KiB free, %llu KiB wanted", s->dir,
	    (unsigned long long)(free_bytes >> 10), (unsigned long long)(need >> 10));
	return err_hint(reterr, "free space there, or move the store to a larger disk, where it is to be adopted");
}

/* LMDB says EIO, for it sees a short write. */
enum err_code
host_explain_full(const struct store *s, struct err *reterr)
{
	uint64_t free_bytes = 0, disk;

	if (host_free_bytes(s, &free_bytes, &disk, NULL) != ERR_OK || free_bytes >= HOST_FULL_BELOW)
		return reterr->code;
	err_set(reterr, ERR_IO, ENOSPC, "store: a commit failed because the disk of %s is full: %llu KiB free", s->dir,
	    (unsigned long long)(free_bytes >> 10));
	return err_hint(reterr, "free space there, or move the store to a larger disk, where it is to be adopted");
}

int
store_spool_open(struct store *s, struct err *reterr)
{
	return body_file(s->dir, reterr);
}
