/* SPDX-License-Identifier: MIT */
/*
 * Power cuts. A workload is recorded; at every place in the record a state is built in which a power cut could have left the
 * files: all that was flushed, and of what was written since some sectors of 512 bytes. A child opens the store in that state
 * through the store layer and looks whether it is what was acknowledged, or that and the batch under way, to the last byte;
 * whether each version decodes and the store's own check agrees; and whether it goes on.
 *
 *     explore [WORD]            a TAP program; WORD names a test
 *
 * CRASH_STATES (1500) in all, over workloads of different seeds; CRASH_SEED is that of the first. CRASH_FLAGS are added to
 * those with which LMDB is opened: less durability than the store asks for has to be found out.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/test.h"
#include "base/mem.h"
#include "store/internal.h"
#include "workload.h"

#define SECTOR         512
#define STATES         1500
#define PER_WORKLOAD   500
#define BATCHES        120
#define LARGE_BATCHES  6
#define LARGE_SHARE    50   /* of all states one in so many has large bodies, for they take long */
#define CHILD_SECONDS  120

/* In place of LMDB's: the flags of a store that is careless. */
int
mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
	static int (*real)(MDB_env *, const char *, unsigned, mdb_mode_t);
	const char *more = getenv("CRASH_FLAGS");

	if (real == NULL) /* ISO C knows no pointer that is both */
		*(void **)&real = dlsym(RTLD_NEXT, "mdb_env_open");
	return real(env, path, flags | (more != NULL ? (unsigned)strtoul(more, NULL, 0) : 0), mode);
}

/* ---------------------------------------------------------------- what lies on the disk */

/* All that the records before flushed make for certain, and the place of the next. */
struct disk {
	uint8_t *data;
	size_t   n, cap;
	size_t   flushed;    /* records before this one are in data */
	char     host[512];  /* "" none */
};

/* A state that is looked at. */
struct image {
	const char *dir;
	size_t      acked;   /* batches acknowledged before the cut */
	size_t      last;    /* the record under way */
	struct rand rand;
};

static void
disk_write(struct disk *d, const struct record *w)
{
	size_t end = (size_t)w->off + w->n;

	if (end > d->cap) {
		d->data = xrealloc(d->data, 2 * end);
		memset(d->data + d->cap, 0, 2 * end - d->cap);
		d->cap = 2 * end;
	}
	memcpy(d->data + w->off, w->data, w->n);
	d->n = end > d->n ? end : d->n;
}

/* The flush at record last has ended. Only data.mdb's; the host file's flushes are few, and looked through each time. */
static void
disk_flush(struct disk *d, const struct recording *rec, size_t last)
{
	for (size_t i = d->flushed; i < last; i++)
		if (rec->all[i].kind == REC_WRITE)
			disk_write(d, &rec->all[i]);
	d->flushed = last;
}

/* How likely a sector that was not flushed has arrived, in eighths: now and then none, or all. */
static void
image_write(int fd, const struct record *w, struct rand *rand, uint64_t eighths)
{
	for (size_t at = 0; at < w->n; at += SECTOR) {
		size_t n = w->n - at < SECTOR ? w->n - at : SECTOR;

		if (rand_below(rand, 8) < eighths)
			CHECK(syscall(SYS_pwrite64, fd, w->data + at, n, w->off + (off_t)at) == (long)n);
	}
}

static int
image_file(const struct image *m, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", m->dir, name);
	return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static void
image_data(struct image *m, const struct disk *d, const struct recording *rec)
{
	static const uint64_t chances[] = { 0, 1, 4, 7, 8 };
	uint64_t chance = chances[rand_below(&m->rand, ARRAY_LEN(chances))];
	int      fd = image_file(m, "data.mdb");

	CHECK(fd >= 0 && syscall(SYS_pwrite64, fd, d->data, d->n, 0) == (long)d->n);
	for (size_t i = d->flushed; i <= m->last; i++) {
		const struct record *w = &rec->all[i];

		if (w->kind == REC_WRITE) /* the one under way may be torn even where its return would be a promise */
			image_write(fd, w, &m->rand, w->durable && i < m->last ? 8 : chance);
	}
	close(fd);
}

static void
image_put_host(struct image *m, const char *text, size_t n)
{
	int fd = image_file(m, "host");

	CHECK(fd >= 0 && syscall(SYS_write, fd, text, n) == (long)n);
	close(fd);
}

/* A rename may have arrived before the folder was flushed; what it names is whole only if that was flushed before. */
static void
image_host(struct image *m, const struct recording *rec)
{
	const struct record *fresh = NULL, *named = NULL, *sure = NULL;
	bool                 fresh_synced = false, named_synced = false;
	char                 path[512];

	for (size_t i = 0; i < m->last; i++)
		switch (rec->all[i].kind) {
		case REC_HOST_WRITE:
			fresh = &rec->all[i], fresh_synced = false;
			break;
		case REC_HOST_SYNC:
			fresh_synced = true;
			break;
		case REC_HOST_RENAME:
			named = fresh, named_synced = fresh_synced;
			break;
		case REC_DIR_SYNC:
			sure = named_synced ? named : sure;
			break;
		default:
			break;
		}
	snprintf(path, sizeof(path), "%s/host", m->dir);
	unlink(path);
	if (named != sure && rand_below(&m->rand, 2) == 0)
		image_put_host(m, (char *)named->data, named_synced ? named->n : rand_below(&m->rand, named->n));
	else if (sure != NULL)
		image_put_host(m, (char *)sure->data, sure->n);
	if (fresh != NULL && rand_below(&m->rand, 4) == 0) { /* and one that was left lying */
		int fd = image_file(m, "host.new");

		CHECK(fd >= 0 && syscall(SYS_write, fd, fresh->data, fresh->n / 2) >= 0);
		close(fd);
	}
}

/* ---------------------------------------------------------------- what has to be true of it */

static const struct image   *looked;
static const struct history *known;
static bool                  deep; /* each version is decoded by us too, not by store_check() alone */

/* Which batch is the last one there? */
static size_t
state_of_store(const struct rig *r)
{
	struct digest d = workload_fingerprint(r->store);

	for (size_t k = looked->acked; k < looked->acked + 2 && k < known->n; k++)
		if (digest_eq(&known->after[k], &d))
			return k;
	test_fail(__FILE__, __LINE__, "what is there is neither what was acknowledged (batch %zu) nor that and the next one",
	    looked->acked);
}

static void
check_fact(struct store_txn *t, const struct fact *f, size_t now)
{
	struct state_rec   st;
	struct version_rec v;
	struct digest      d;
	struct buf         got;
	struct err         e = { 0 };

	CHECK(store_state(t, "live", workload_state(f->state), &st) && st.head >= f->number);
	CHECK(store_version(t, st.id, f->number, &v) && digest_eq(&v.digest, &f->digest));
	CHECK(v.dropped == (f->dropped <= now));
	if (v.dropped || !deep)
		return;
	buf_init(&got, SIZE_MAX / 2);
	CHECK_OK(store_body(t, &f->digest, &got, &e), e);
	d = rig_digest(buf_span(&got));
	buf_free(&got);
	CHECK(digest_eq(&d, &f->digest));
}

/* All that was done on the first host is acknowledged. */
static bool
is_after_the_move(void)
{
	return known->adopted != WORKLOAD_NEVER && looked->acked != WORKLOAD_NEVER && looked->acked + 1 >= known->adopted;
}

static void
check_agent(const struct rig *r, size_t now)
{
	const char *is = store_agent_id(r->store);

	if (known->adopted == WORKLOAD_NEVER)
		return;
	if (now >= known->adopted) {
		CHECK_STR(is, known->agent[1]);
		CHECK(!store_is_foreign(r->store) || looked->acked < known->adopted);
	} else {
		CHECK_STR(is, known->agent[0]);
		CHECK(store_is_foreign(r->store) == is_after_the_move());
	}
}

static void
goes_on(struct rig *r)
{
	rig_put(r, "live", "afterwards", SPAN_LIT("it goes on"), 1);
	CHECK(rig_holds(r, SPAN_LIT("it goes on")));
}

static void
check_image(void)
{
	bool              after = is_after_the_move();
	struct store_conf c = workload_conf(looked->dir, after ? WORKLOAD_AFTER : WORKLOAD_BEFORE);
	struct err        e = { 0 };
	struct store_txn *t;
	struct rig        r;
	size_t            now;

	if (rig_try_open_virtual(&r, &c, 7, &e) != ERR_OK) {
		if (looked->acked != WORKLOAD_NEVER)
			test_fail(__FILE__, __LINE__, "open: %s", e.msg);
		return; /* before the store's creation was acknowledged there need not be one */
	}
	if (looked->acked != WORKLOAD_NEVER) {
		now = state_of_store(&r);
		t = rig_read(&r);
		for (size_t i = 0; i < known->nfacts; i++)
			if (known->facts[i].born <= now)
				check_fact(t, &known->facts[i], now);
		CHECK_U64(rec_count(t, DB_STAGED), 0);
		store_end(t);
		check_agent(&r, now);
	}
	rig_check_clean(&r);
	goes_on(&r);
	rig_close(&r);
}

/* ---------------------------------------------------------------- one state after the other */

static uint64_t states_seen, states_bad, records_seen, batches_seen;

static void
child(int out)
{
	alarm(CHILD_SECONDS);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	_exit(test_main(1, NULL, (struct test[]){ { "state", check_image }, { NULL, NULL } }));
}

static void
look_at(struct image *m, const struct history *h, uint64_t seed)
{
	int   out = memfd_create("said", MFD_CLOEXEC), status = 0;
	char  said[2048];
	pid_t pid;

	looked = m;
	known = h;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		child(out);
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	states_seen++;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		ssize_t n = pread(out, said, sizeof(said) - 1, 0);

		said[n > 0 ? n : 0] = '\0';
		if (states_bad++ < 3)
			printf("# bad: seed %llu, cut in record %zu, status %x: %s\n", (unsigned long long)seed, m->last,
			    (unsigned)status, said);
	}
	close(out);
}

/* States at places that are as far from each other as from the ends. */
static void
explore(const char *recorded, const struct recording *rec, const struct history *h, uint64_t seed, uint64_t states)
{
	char        *dir = xasprintf("%s/image", test_tmpdir()), *from = xasprintf("%s/data.mdb", recorded), *to = xasprintf("%s/data.mdb", dir);
	struct image m = { .dir = dir, .acked = WORKLOAD_NEVER };
	struct disk  d = { 0 };
	size_t       at = 0;

	CHECK(mkdir(m.dir, 0700) == 0 || errno == EEXIST);
	unlink(to);
	CHECK(link(from, to) == 0); /* a store is bound to its very file */
	rand_seeded(&m.rand, seed);
	for (uint64_t i = 0; i < states; i++) {
		m.last = (size_t)(i * rec->n / states);
		for (; at < m.last; at++) {
			if (rec->all[at].kind == REC_FLUSH)
				disk_flush(&d, rec, at);
			else if (rec->all[at].kind == REC_ACK)
				m.acked = (size_t)rec->all[at].off;
		}
		image_data(&m, &d, rec);
		image_host(&m, rec);
		look_at(&m, h, seed);
	}
	free(d.data);
	free(dir);
	free(from);
	free(to);
}

static uint64_t
setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void
workload_explored(enum workload_kind kind, uint64_t seed, size_t batches, uint64_t states)
{
	struct recording rec = { 0 };
	struct history   h;
	char            *dir = xasprintf("%s/%llu-%d/recorded", test_tmpdir(), (unsigned long long)seed, (int)kind);

	workload_run(kind, seed, batches, dir, &rec, &h);
	CHECK(record_count(&rec, REC_ACK) == h.n && h.n > batches);
	CHECK(record_count(&rec, REC_WRITE) >= 2 * h.n);
	CHECK(record_count(&rec, REC_HOST_RENAME) >= 1);
	records_seen += rec.n;
	batches_seen += h.n;
	explore(dir, &rec, &h, seed, states);
	workload_free(&h);
	record_free(&rec);
	free(dir);
}

static void
tell(const char *what)
{
	printf("# %s: %llu states, %llu bad; %llu records, %llu batches\n", what, (unsigned long long)states_seen,
	    (unsigned long long)states_bad, (unsigned long long)records_seen, (unsigned long long)batches_seen);
	CHECK_U64(states_bad, 0);
	states_seen = states_bad = records_seen = batches_seen = 0;
}

static void
power_cuts(void)
{
	uint64_t seed = setting("CRASH_SEED", 1), states = setting("CRASH_STATES", STATES), n;

	for (deep = true; states > 0; states -= n) {
		n = states < PER_WORKLOAD ? states : PER_WORKLOAD;
		workload_explored(WORKLOAD_MIXED, seed++, BATCHES, n);
	}
	tell("power cuts");
}

/* Bodies above STORE_STAGE_ABOVE, which come in several commits. */
static void
power_cuts_in_a_large_body(void)
{
	deep = false; /* store_check() decodes them, and that is long enough */
	workload_explored(WORKLOAD_LARGE, setting("CRASH_SEED", 1), LARGE_BATCHES, setting("CRASH_STATES", STATES) / LARGE_SHARE);
	tell("power cuts in a large body");
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "power_cuts", power_cuts },
	    { "large_body", power_cuts_in_a_large_body },
	    { NULL, NULL } });
}
