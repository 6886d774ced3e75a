/* SPDX-License-Identifier: MIT */
/*
 * The disk fails, and the power. The functions by which LMDB writes are this program's own: they fail on demand, or
 * they record every write and flush, and from the record any state is built in which a power cut could have left the
 * file: all that was flushed, and of the rest some sectors. STORE_CRASHES sets how many of those are looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../lib/store_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "store/internal.h"

#define SECTOR      512
#define META_BYTES  8192
#define CRASHES     100

static struct rig r;

/* ---------------------------------------------------------------- what LMDB writes with */

enum fault { FAULT_NONE, FAULT_SYNC, FAULT_META, FAULT_META_LIE };

static _Atomic int fault;  /* enum fault */
static _Atomic int faults; /* how often one struck */

enum record_kind { REC_WRITE, REC_FLUSH, REC_ACK };

struct record {
	enum record_kind kind;
	off_t    off;
	size_t   n;
	uint8_t *data;
	uint64_t acked;
	bool     durable; /* written through O_DSYNC */
};
static struct record *records;
static size_t         nrecords, records_cap;
static bool           recording;

static bool
is_data_file(int fd)
{
	char    link[64], to[512];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, to, sizeof(to) - 1);
	return n > 9 && (memcmp(to + n - 9, "/data.mdb", 9) == 0 || memcmp(to + n - 9, "/away.mdb", 9) == 0);
}

static struct record *
record_add(enum record_kind kind)
{
	if (nrecords == records_cap) {
		records_cap = records_cap == 0 ? 1024 : 2 * records_cap;
		records = xreallocarray(records, records_cap, sizeof(*records));
	}
	records[nrecords] = (struct record){ .kind = kind };
	return &records[nrecords++];
}

static void
record_write(int fd, const void *p, size_t n, off_t off)
{
	struct record *w;

	if (!recording || !is_data_file(fd))
		return;
	w = record_add(REC_WRITE);
	w->off = off;
	w->n = n;
	w->data = xmemdup(p, n);
	w->durable = (fcntl(fd, F_GETFL) & O_DSYNC) == O_DSYNC;
}

static bool
strikes(int fd, enum fault kind)
{
	if (fault != (int)kind || !is_data_file(fd))
		return false;
	faults++;
	return true;
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
	if (off < META_BYTES && strikes(fd, FAULT_META))
		return io_error();
	/* it arrives, but nobody is told; what takes it back does not */
	if (off < META_BYTES && strikes(fd, FAULT_META_LIE)) {
		if (faults == 1)
			syscall(SYS_pwrite64, fd, p, n, off);
		return io_error();
	}
	record_write(fd, p, n, off);
	return syscall(SYS_pwrite64, fd, p, n, off);
}

ssize_t
writev(int fd, const struct iovec *v, int count)
{
	off_t off = recording ? lseek(fd, 0, SEEK_CUR) : 0;

	for (int i = 0; i < count; i++) {
		record_write(fd, v[i].iov_base, v[i].iov_len, off);
		off += (off_t)v[i].iov_len;
	}
	return syscall(SYS_writev, fd, v, count);
}

int
fdatasync(int fd)
{
	if (strikes(fd, FAULT_SYNC))
		return (int)io_error();
	if (recording && is_data_file(fd))
		record_add(REC_FLUSH);
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
	CHECK(rename(path, away) == 0);
	fault = FAULT_META;
	CHECK_U64(put_code("y", "two", &e), ERR_UNCERTAIN);
	fault = FAULT_NONE;
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

/* ---------------------------------------------------------------- power cuts */

static void
text_of(uint64_t n, struct series *s)
{
	series_init(s, 3000 + 40 * (size_t)n, 11);
	s->serial = n;
	for (uint64_t i = 0; i < n % 5; i++)
		series_next(s);
}

/* Versions, heads, queue entries, now and then a drop, which rewrites what stood on it. */
static void
workload(uint64_t count)
{
	for (uint64_t n = 1; n <= count; n++) {
		struct series s;
		struct batch *b;

		text_of(n, &s);
		b = rig_put_batch(&r, "live", "x", buf_span(&s.text), n);
		batch_queue(b, &(struct queue_rec){ .due = (int64_t)(n * 37 % 11), .edge = "e", .target = "t",
		    .state = 1 });
		if (n % 6 == 0)
			batch_drop(b, "live", "x", n - 3);
		rig_apply(&r, b);
		record_add(REC_ACK)->acked = n;
		series_free(&s);
	}
}

static void
image_write(int fd, const struct record *w, struct rand *rand, bool all)
{
	for (size_t at = 0; at < w->n; at += SECTOR) {
		size_t n = w->n - at < SECTOR ? w->n - at : SECTOR;

		if (all || rand_below(rand, 2) == 0)
			CHECK(syscall(SYS_pwrite64, fd, w->data + at, n, w->off + (off_t)at) == (long)n);
	}
}

/* The file after a power cut just behind record last; returns the number acknowledged until then. */
static uint64_t
image_build(const char *path, size_t last, struct rand *rand)
{
	size_t   flushed = 0;
	uint64_t acked = 0;
	int      fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	for (size_t i = 0; i <= last; i++) {
		if (records[i].kind == REC_FLUSH)
			flushed = i;
		else if (records[i].kind == REC_ACK)
			acked = records[i].acked;
	}
	for (size_t i = 0; i <= last; i++)
		if (records[i].kind == REC_WRITE)
			image_write(fd, &records[i], rand, i < flushed || records[i].durable);
	close(fd);
	return acked;
}

static void
image_check(const struct store_conf *c, uint64_t acked, uint64_t count)
{
	struct store_txn *t;
	struct state_rec  st = { 0 };
	struct err        e = { 0 };
	enum err_code     code = rig_try_open(&r, c, &e);

	if (code != ERR_OK && acked == 0)
		return; /* before the first commit was acknowledged there need not be a store */
	CHECK_OK(code, e);
	t = rig_read(&r);
	store_state(t, "live", "x", &st);
	CHECK(st.versions >= acked && st.versions <= count && st.head == st.versions);
	for (uint64_t n = 1; n <= st.versions; n++) {
		struct version_rec v;
		struct series      s;
		struct buf         got;

		CHECK(store_version(t, st.id, n, &v));
		if (v.dropped)
			continue;
		text_of(n, &s);
		buf_init(&got, 0);
		CHECK_OK(store_body(t, &v.digest, &got, &e), e);
		CHECK(span_eq(buf_span(&got), buf_span(&s.text)));
		buf_free(&got);
		series_free(&s);
	}
	store_end(t);
	rig_check_clean(&r);
	rig_put(&r, "live", "x", SPAN_LIT("goes on"), 1000); /* and the next commit works */
	rig_close(&r);
}

static void
power_cuts(void)
{
	struct store_conf c = conf_at("recorded"), image = conf_at("image");
	const char       *wanted = getenv("STORE_CRASHES");
	uint64_t          states = wanted != NULL ? strtoull(wanted, NULL, 10) : CRASHES, count = 60;
	struct rand       rand;
	char              path[512];

	c.inline_commit = image.inline_commit = true;
	c.machine_id = image.machine_id = "m";
	c.map_size = image.map_size = (uint64_t)16 << 20;
	rand_seeded(&rand, 3);
	recording = true;
	rig_open(&r, &c);
	workload(count);
	recording = false;
	rig_close(&r);
	rig_open(&r, &image); /* makes the folder and its host file */
	rig_close(&r);
	snprintf(path, sizeof(path), "%s/data.mdb", image.dir);
	for (uint64_t i = 0; i < states; i++) {
		size_t   last = (size_t)rand_below(&rand, nrecords);
		uint64_t acked = image_build(path, last, &rand);

		image_check(&image, acked, count);
	}
	printf("# %llu states from %zu records\n", (unsigned long long)states, nrecords);
	for (size_t i = 0; i < nrecords; i++)
		free(records[i].data);
	free(records);
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
	    { "power_cuts", power_cuts },
	    { NULL, NULL } });
}
