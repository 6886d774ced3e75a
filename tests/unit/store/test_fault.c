/* SPDX-License-Identifier: MIT */
/* The disk fails: the functions by which LMDB writes are this program's own, and fail on demand. Power cuts are in tests/crash. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../lib/store_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "store/internal.h"

#define META_BYTES 8192

static struct rig r;

/* ---------------------------------------------------------------- what LMDB writes with */

enum fault { FAULT_NONE, FAULT_SYNC, FAULT_META, FAULT_META_LIE, FAULT_NTH };

static _Atomic int fault;  /* enum fault */
static _Atomic int faults; /* how often one struck */
static _Atomic int calls;  /* FAULT_NTH: writes and flushes so far */
static int         nth;    /* this one of them fails, */
static bool        ever;   /* and each one after it */
static const char *moved, *moved_to; /* a file that is given another name when the first one strikes */

static bool
is_data_file(int fd)
{
	char    link[64], to[512];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, to, sizeof(to) - 1);
	return n > 9 && (memcmp(to + n - 9, "/data.mdb", 9) == 0 || memcmp(to + n - 9, "/away.mdb", 9) == 0);
}

static bool
strikes(int fd, enum fault kind)
{
	if (fault != (int)kind || !is_data_file(fd))
		return false;
	if (faults++ == 0 && moved != NULL)
		rename(moved, moved_to);
	return true;
}

/* Each write and flush is asked. */
static bool
nth_strikes(int fd)
{
	int n;

	if (fault != FAULT_NTH || !is_data_file(fd))
		return false;
	n = ++calls;
	return n == nth || (ever && n > nth);
}

static ssize_t
io_error(void)
{
	errno = EIO;
	return -1;
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (nth_strikes(fd) || (off < META_BYTES && strikes(fd, FAULT_META)))
		return io_error();
	/* it arrives, but nobody is told; what takes it back does not */
	if (off < META_BYTES && strikes(fd, FAULT_META_LIE)) {
		if (faults == 1)
			syscall(SYS_pwrite64, fd, p, n, off);
		return io_error();
	}
	return syscall(SYS_pwrite64, fd, p, n, off);
}

ssize_t
writev(int fd, const struct iovec *v, int count)
{
	return nth_strikes(fd) ? io_error() : syscall(SYS_writev, fd, v, count);
}

int
fdatasync(int fd)
{
	if (nth_strikes(fd) || strikes(fd, FAULT_SYNC))
		return (int)io_error();
	return (int)syscall(SYS_fdatasync, fd);
}

/* ---------------------------------------------------------------- commits that fail */

static struct store_conf
conf_at(const char *name)
{
	return (struct store_conf){ .dir = rig_dir(name) };
}

static enum err_code
put_code(const char *name, const char *text, struct err *e)
{
	err_clear(e);
	return rig_try_apply(&r, rig_put_batch(&r, "live", name, span_str(text), 1), e);
}

static void
a_failed_flush(bool inline_commit)
{
	struct store_conf c = conf_at(inline_commit ? "flush-inline" : "flush");
	struct err        e = { 0 };

	c.inline_commit = inline_commit;
	rig_open(&r, &c);
	CHECK_OK(put_code("x", "one", &e), e);
	faults = 0;
	fault = FAULT_SYNC;
	CHECK_U64(put_code("y", "two", &e), ERR_IO);
	CHECK(faults > 0 && strstr(e.msg, "nothing of it was kept") != NULL);
	CHECK_STR(store_trouble(r.store), e.msg);
	fault = FAULT_NONE;
	CHECK(rig_holds(&r, SPAN_LIT("one")) && !rig_holds(&r, SPAN_LIT("two")));
	CHECK_OK(put_code("y", "two", &e), e);
	CHECK_STR(store_trouble(r.store), "");
	CHECK(rig_holds(&r, SPAN_LIT("two")));
	rig_check_clean(&r);
	rig_close(&r);
}

static void
failed_flush(void)
{
	a_failed_flush(false);
}

static void
failed_flush_inline(void)
{
	a_failed_flush(true);
}

/* LMDB gives the environment up after this one: it is opened again, and asked. */
static void
failed_meta_write(void)
{
	struct store_conf c = conf_at("meta");
	struct err        e = { 0 };

	rig_open(&r, &c);
	CHECK_OK(put_code("x", "one", &e), e);
	faults = 0;
	fault = FAULT_META;
	CHECK_U64(put_code("y", "two", &e), ERR_IO);
	CHECK(faults > 0);
	fault = FAULT_NONE;
	CHECK(!rig_holds(&r, SPAN_LIT("two")));
	CHECK_OK(put_code("y", "two", &e), e);
	rig_check_clean(&r);
	rig_close(&r);
}

/* The write is reported as failed and has happened: the answer is the truth. */
static void
meta_write_that_happened(void)
{
	struct store_conf c = conf_at("lie");
	struct err        e = { 0 };

	rig_open(&r, &c);
	CHECK_OK(put_code("x", "one", &e), e);
	faults = 0;
	fault = FAULT_META_LIE;
	CHECK_OK(put_code("y", "two", &e), e);
	CHECK(faults == 2);
	fault = FAULT_NONE;
	CHECK_STR(store_trouble(r.store), "");
	CHECK(rig_holds(&r, SPAN_LIT("two")));
	CHECK_OK(put_code("y", "three", &e), e);
	rig_check_clean(&r);
	rig_close(&r);
	rig_open(&r, &c);
	CHECK(rig_holds(&r, SPAN_LIT("two")) && rig_holds(&r, SPAN_LIT("three")));
	rig_close(&r);
}

/* Not even opening again works: uncertain, reads fail with a sentence, and the store comes back with the disk. */
static void
cannot_be_opened_again(void)
{
	struct store_conf c = conf_at("away");
	struct store_txn *t;
	struct err        e = { 0 };
	char              path[512], away[512];

	snprintf(path, sizeof(path), "%s/data.mdb", c.dir);
	snprintf(away, sizeof(away), "%s/away.mdb", c.dir);
	rig_open(&r, &c);
	CHECK_OK(put_code("x", "one", &e), e);
	moved = path;
	moved_to = away;
	faults = 0;
	fault = FAULT_META;
	CHECK_U64(put_code("y", "two", &e), ERR_UNCERTAIN);
	fault = FAULT_NONE;
	moved = NULL;
	CHECK(store_trouble(r.store)[0] != '\0');
	CHECK_U64(store_read(r.store, &t, &e), ERR_IO);
	CHECK(strstr(e.msg, "could not be opened again") != NULL);
	CHECK_U64(rig_try_apply(&r, batch_new(r.store), &e), ERR_IO);
	CHECK(access(path, F_OK) != 0); /* no new, empty store in its place */
	CHECK(rename(away, path) == 0);
	CHECK_OK(rig_try_apply(&r, batch_new(r.store), &e), e);
	CHECK(rig_holds(&r, SPAN_LIT("one")));
	CHECK_OK(put_code("y", "three", &e), e);
	rig_check_clean(&r);
	rig_close(&r);
}

/* Its name gone, or somebody else's: what would be written is lost when the process ends, so nothing is acknowledged. */
static void
removed_under_the_agent(void)
{
	struct store_conf c = conf_at("removed");
	struct err        e = { 0 };
	char              path[512], away[512];
	FILE             *other;

	snprintf(path, sizeof(path), "%s/data.mdb", c.dir);
	snprintf(away, sizeof(away), "%s/away.mdb", c.dir);
	rig_open(&r, &c);
	CHECK_OK(put_code("x", "one", &e), e);
	CHECK(rename(path, away) == 0);
	CHECK_U64(put_code("y", "two", &e), ERR_IO);
	CHECK(strstr(e.msg, "removed while it was in use") != NULL);
	CHECK_STR(store_trouble(r.store), e.msg);
	CHECK((other = fopen(path, "w")) != NULL && fclose(other) == 0);
	CHECK_U64(put_code("y", "two", &e), ERR_IO);
	CHECK(strstr(e.msg, "replaced by another file") != NULL);
	CHECK(rename(away, path) == 0);
	CHECK_OK(put_code("y", "two", &e), e);
	rig_check_clean(&r);
	rig_close(&r);
}

/* ---------------------------------------------------------------- each call */

#define BATCHES 8

/* Batches of which one of the calls fails; which of them were acknowledged. */
static unsigned
batches_while_it_fails(void)
{
	unsigned   acked = 0;
	struct err e = { 0 };

	fault = FAULT_NTH;
	calls = 0;
	for (unsigned i = 0; i < BATCHES; i++) {
		char text[32];

		snprintf(text, sizeof(text), "version %u", i);
		if (put_code("x", text, &e) == ERR_OK)
			acked |= 1u << i;
		else
			CHECK(e.code == ERR_IO && strstr(e.msg, "nothing of it was kept") != NULL);
	}
	fault = FAULT_NONE;
	return acked;
}

/* What was acknowledged is there, what was refused is not, and it goes on: as it stands, and opened anew. */
static void
check_batches(unsigned acked)
{
	for (unsigned i = 0; i < BATCHES; i++) {
		char text[32];

		snprintf(text, sizeof(text), "version %u", i);
		CHECK(rig_holds(&r, span_str(text)) == ((acked >> i & 1) != 0));
	}
	rig_check_clean(&r);
}

/* The number of calls that there are. */
static int
one_call_fails(int n)
{
	char             *dir = xasprintf("%s/nth-%d-%d", test_tmpdir(), ever, n);
	struct store_conf c = { .dir = dir };
	struct err        e = { 0 };
	unsigned          acked;

	rig_open(&r, &c);
	nth = n;
	acked = batches_while_it_fails();
	CHECK((acked == (1u << BATCHES) - 1) == (calls < n));
	check_batches(acked);
	CHECK_OK(put_code("y", "goes on", &e), e);
	rig_close(&r);
	rig_open(&r, &c);
	check_batches(acked);
	CHECK(rig_holds(&r, SPAN_LIT("goes on")));
	rig_close(&r);
	free(dir);
	return calls;
}

static void
each_call_fails(void)
{
	for (int once = 1; once >= 0; once--) {
		int total;

		ever = once == 0;
		total = one_call_fails(INT_MAX);
		CHECK(total >= 2 * BATCHES);
		for (int n = 1; n <= total; n++)
			one_call_fails(n);
		printf("# %d calls failed, %s\n", total, ever ? "each with all after it" : "one at a time");
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "failed_flush", failed_flush },
	    { "failed_flush_inline", failed_flush_inline },
	    { "failed_meta_write", failed_meta_write },
	    { "meta_write_that_happened", meta_write_that_happened },
	    { "cannot_be_opened_again", cannot_be_opened_again },
	    { "removed_under_the_agent", removed_under_the_agent },
	    { "each_call_fails", each_call_fails },
	    { NULL, NULL } });
}
