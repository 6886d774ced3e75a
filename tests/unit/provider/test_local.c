/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../lib/provider_rig.h"
#include "../../lib/test.h"

/* Folders with what does not belong there: links that lead out, depths nobody meant, folders that cannot be read. */
static struct provider_rig r;
static struct lock_info    mine, holder;
static char               *top, *inside, *outside;
static unsigned            listed;
static char                problem[200];

static void
begin(void)
{
	static unsigned n;
	char           *block;

	top = xasprintf("%s/local-%u", test_tmpdir(), n++);
	inside = xasprintf("%s/in", top);
	outside = xasprintf("%s/out", top);
	CHECK(mkdir(top, 0700) == 0 && mkdir(inside, 0700) == 0 && mkdir(outside, 0700) == 0);
	block = xasprintf("backend \"local\" \"b\" {\n  dir = \"%s\"\n}\n", inside);
	provider_rig_open(&r, true, block);
	free(block);
}

static void
end(void)
{
	provider_rig_close(&r);
	free(top);
	free(inside);
	free(outside);
}

static char *
path_of(const char *folder, const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void
make_link(const char *name, const char *to)
{
	char *path = path_of(inside, name);

	CHECK(symlink(to, path) == 0);
	free(path);
}

static bool
exists(const char *folder, const char *name)
{
	char *path = path_of(folder, name);
	bool  is = access(path, F_OK) == 0;

	free(path);
	return is;
}

static enum err_code
put(const char *name)
{
	struct body    *bytes = body_copy(span_str("{\"version\":4,\"serial\":1,\"lineage\":\"l\"}"));
	struct snapshot s;
	char            etag[ETAG_MAX];
	enum err_code   rc;

	snapshot_of(&s, bytes, NULL);
	rc = provider_rig_run(&r, provider_put(r.b, &(struct state_ref){ name }, &s, &(struct put_condition){ PUT_ABSENT, NULL, NULL },
	    etag));
	snapshot_free(&s);
	body_unref(bytes);
	return rc;
}

static enum err_code
lock(const char *name)
{
	struct state_ref ref = { name };

	provider_lock_new(r.b, &ref, "test", &mine);
	return provider_rig_run(&r, provider_lock(r.b, &ref, &mine, &holder));
}

static enum err_code
unlock(const char *name)
{
	return provider_rig_run(&r, provider_unlock(r.b, &(struct state_ref){ name }, &mine));
}

static enum err_code
get(const char *name)
{
	struct snapshot s = { .body = NULL };
	enum err_code   rc = provider_rig_run(&r, provider_get(r.b, &(struct state_ref){ name }, NULL, &s));

	snapshot_free(&s);
	return rc;
}

/* A folder that is a link to somewhere else: nothing is made behind it, neither files nor folders. */
static void
links_that_lead_out(void)
{
	begin();
	make_link("away", outside);
	CHECK_U64(put("away/x.tfstate"), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.msg, "leaves the folder") != NULL);
	CHECK_U64(put("away/deeper/x.tfstate"), ERR_UNSUPPORTED);
	CHECK_U64(lock("away/x.tfstate"), ERR_UNSUPPORTED);
	CHECK_U64(lock("away/deeper/x.tfstate"), ERR_UNSUPPORTED);
	CHECK_U64(get("away/x.tfstate"), ERR_UNSUPPORTED);
	CHECK(!exists(outside, "x.tfstate") && !exists(outside, "deeper") && !exists(outside, ".x.tfstate.lock.info"));
	end();
}

static void
links_to_nothing(void)
{
	char *to;

	begin();
	to = path_of(outside, "made.tfstate");
	make_link("x.tfstate", to);
	CHECK_U64(lock("x.tfstate"), ERR_UNSUPPORTED);
	CHECK(put("x.tfstate") != ERR_OK);
	CHECK(!exists(outside, "made.tfstate"));
	free(to);
	end();
}

/* The usual layout of a deployment: current -> releases/7, both of them below the folder. */
static void
links_inside(void)
{
	char *real;

	begin();
	real = path_of(inside, "releases");
	CHECK(mkdir(real, 0700) == 0);
	make_link("current", "releases");
	CHECK_U64(put("current/x.tfstate"), ERR_OK);
	CHECK(exists(real, "x.tfstate"));
	CHECK_U64(lock("current/x.tfstate"), ERR_OK);
	CHECK_U64(unlock("current/x.tfstate"), ERR_OK);
	CHECK_U64(get("current/x.tfstate"), ERR_OK);
	free(real);
	end();
}

static void
seen(void *arg, const struct state_seen *s)
{
	(void)arg;
	listed++;
	if (s->problem != NULL)
		snprintf(problem, sizeof(problem), "%s", s->problem);
}

static enum err_code
list(void)
{
	listed = 0;
	problem[0] = '\0';
	return provider_rig_run(&r, provider_list(r.b, seen, NULL));
}

static void
depth(void)
{
	struct buf name;

	begin();
	buf_init(&name, 0);
	for (int i = 0; i < 64; i++)
		buf_puts(&name, "d/");
	buf_puts(&name, "x.tfstate");
	CHECK_U64(put(buf_str(&name)), ERR_OK);
	CHECK_U64(list(), ERR_OK);
	CHECK_U64(listed, 1);
	CHECK_STR(problem, "");
	buf_free(&name);
	buf_init(&name, 0);
	for (int i = 0; i < 65; i++)
		buf_puts(&name, "d/");
	buf_puts(&name, "x.tfstate");
	CHECK_U64(put(buf_str(&name)), ERR_OK);
	CHECK_U64(list(), ERR_OK);
	CHECK_U64(listed, 2);
	CHECK(strstr(problem, "more than 64 folders deep") != NULL);
	buf_free(&name);
	end();
}

/* One folder that may not be read: an error, not fewer states. */
static void
a_part_that_cannot_be_read(void)
{
	char *shut;

	begin();
	CHECK_U64(put("a.tfstate"), ERR_OK);
	CHECK_U64(put("shut/b.tfstate"), ERR_OK);
	shut = path_of(inside, "shut");
	if (geteuid() != 0) {
		CHECK(chmod(shut, 0) == 0);
		CHECK_U64(list(), ERR_AUTH);
		CHECK(chmod(shut, 0700) == 0);
	}
	CHECK_U64(list(), ERR_OK);
	CHECK_U64(listed, 2);
	free(shut);
	end();
}

/* A file whose size and bytes never agree, as one that is written meanwhile: no half of it is taken for a state. */
static void
a_file_that_changes_while_it_is_read(void)
{
	provider_rig_open(&r, true, "backend \"local\" \"b\" {\n  dir = \"/proc/self\"\n}\n");
	CHECK_U64(get("limits"), ERR_BUSY);
	CHECK_STR(r.err.msg, "b: limits changes while it is read");
	provider_rig_close(&r);
}

static int
no_spool(void *arg, struct err *reterr)
{
	(void)arg;
	err_set(reterr, ERR_IO, 0, "no room for a temporary file");
	return -1;
}

static void
a_large_file_without_room_for_it(void)
{
	char *path;

	begin();
	path = path_of(inside, "x.tfstate");
	CHECK_U64(put("x.tfstate"), ERR_OK);
	CHECK(truncate(path, (off_t)BODY_SPOOL_ABOVE + 1) == 0);
	r.env.spool = no_spool;
	CHECK_U64(get("x.tfstate"), ERR_IO);
	CHECK_STR(r.err.msg, "b: no room for a temporary file");
	free(path);
	end();
}

/* In place of the C library's: a disk that fails when a folder is flushed. */
static bool folders_fail;

int
fsync(int fd)
{
	struct stat st;

	if (folders_fail && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

/* The name is there, or gone, and may not be after a power cut: neither "done" nor "did not happen". */
static void
a_folder_that_cannot_be_flushed(void)
{
	begin();
	folders_fail = true;
	CHECK_U64(put("x.tfstate"), ERR_UNCERTAIN);
	CHECK(strstr(r.err.msg, "could not be flushed") != NULL);
	CHECK(exists(inside, "x.tfstate"));
	CHECK_U64(provider_rig_run(&r, provider_del(r.b, &(struct state_ref){ "x.tfstate" }, NULL)), ERR_UNCERTAIN);
	CHECK(!exists(inside, "x.tfstate"));
	CHECK_U64(put("new/x.tfstate"), ERR_IO); /* its folder is in doubt, the state was not written */
	CHECK(!exists(inside, "new/x.tfstate"));
	folders_fail = false;
	CHECK_U64(put("x.tfstate"), ERR_OK);
	end();
}

/* The description cannot be read when the lock is released: the lock is ours, and so is that. */
static void
unlock_without_descriptors(void)
{
	struct rlimit before, none;

	test_not_under_valgrind("of the limit of descriptors");
	begin();
	CHECK_U64(put("x.tfstate"), ERR_OK);
	CHECK_U64(lock("x.tfstate"), ERR_OK);
	CHECK(exists(inside, ".x.tfstate.lock.info"));
	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
	none = before;
	none.rlim_cur = 0;
	CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	CHECK_U64(unlock("x.tfstate"), ERR_OK);
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
	CHECK(!exists(inside, ".x.tfstate.lock.info"));
	CHECK_U64(lock("x.tfstate"), ERR_OK);
	CHECK_U64(unlock("x.tfstate"), ERR_OK);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "links that lead out", links_that_lead_out }, { "links to nothing", links_to_nothing },
	    { "links inside", links_inside }, { "unlock without descriptors", unlock_without_descriptors },
	    { "depth", depth }, { "a part that cannot be read", a_part_that_cannot_be_read },
	    { "a file that changes while it is read", a_file_that_changes_while_it_is_read },
	    { "a large file without room for it", a_large_file_without_room_for_it },
	    { "a folder that cannot be flushed", a_folder_that_cannot_be_flushed }, { NULL, NULL } });
}
