/* SPDX-License-Identifier: MIT */
/* Opening: rights, owner, host, format, key. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/store_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "store/internal.h"

static struct rig r;

static void
path_in(char *ret, size_t n, const char *dir, const char *file)
{
	snprintf(ret, n, "%s/%s", dir, file);
}

static mode_t
mode_of(const char *dir, const char *file)
{
	char        path[512];
	struct stat st;

	path_in(path, sizeof(path), dir, file);
	CHECK(stat(path, &st) == 0);
	return st.st_mode & 0777;
}

static enum err_code
open_code(const struct store_conf *c, struct err *e)
{
	enum err_code code = rig_try_open(&r, c, e);

	if (code == ERR_OK)
		rig_close(&r);
	return code;
}

/* ---------------------------------------------------------------- the folder */

static void
rights(void)
{
	static const char *const files[] = { "", "data.mdb", "lock.mdb", "owner", "host" };
	const char              *dir = rig_dir("rights/below/it");
	struct store_conf        c = { .dir = dir };
	struct err               e = { 0 };
	char                     path[512];

	umask(0);
	rig_open(&r, &c);
	rig_close(&r);
	umask(022);
	CHECK_U64(mode_of(dir, ""), 0700);
	for (size_t i = 1; i < ARRAY_LEN(files); i++)
		CHECK_U64(mode_of(dir, files[i]), 0600);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		path_in(path, sizeof(path), dir, files[i]);
		CHECK(chmod(path, i == 0 ? 0750 : 0604) == 0);
		CHECK_U64(open_code(&c, &e), ERR_CONFIG);
		CHECK(strstr(e.msg, dir) != NULL && strstr(e.hint, "chmod") != NULL);
		CHECK(chmod(path, i == 0 ? 0700 : 0600) == 0);
	}
	CHECK_OK(open_code(&c, &e), e);
}

static void
must_exist(void)
{
	struct store_conf c = { .dir = rig_dir("missing"), .must_exist = true };
	struct err        e = { 0 };

	CHECK_U64(open_code(&c, &e), ERR_NOT_FOUND);
	CHECK(mkdir(c.dir, 0700) == 0);
	CHECK_U64(open_code(&c, &e), ERR_NOT_FOUND);
	c.must_exist = false;
	CHECK_OK(open_code(&c, &e), e);
	c.must_exist = true;
	CHECK_OK(open_code(&c, &e), e);
}

static void
network_file_systems(void)
{
	CHECK_STR(host_fs_refused(0x6969), "nfs");
	CHECK_STR(host_fs_refused(0xff534d42), "cifs");
	CHECK_STR(host_fs_refused((uint64_t)(int64_t)(int32_t)0xff534d42), "cifs"); /* a signed f_type */
	CHECK_STR(host_fs_refused(0x01021997), "9p");
	CHECK_STR(host_fs_refused(0x65735546), "fuse");
	CHECK(host_fs_refused(0xef53) == NULL && host_fs_refused(0x01021994) == NULL); /* ext4, tmpfs */
}

/* No descriptor of the store reaches a program that is started. */
static void
close_on_exec(void)
{
	const char       *dir = rig_dir("cloexec");
	struct store_conf c = { .dir = dir };
	struct dirent    *d;
	DIR              *fds;
	int               ours = 0;

	rig_open(&r, &c);
	rig_put(&r, "live", "x", SPAN_LIT("one"), 1);
	fds = opendir("/proc/self/fd");
	CHECK(fds != NULL);
	while ((d = readdir(fds)) != NULL) {
		char    link[64], to[512];
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/self/fd/%.20s", d->d_name);
		n = readlink(link, to, sizeof(to) - 1);
		if (n <= 0)
			continue;
		to[n] = '\0';
		if (strncmp(to, dir, strlen(dir)) != 0)
			continue;
		ours++;
		CHECK((fcntl((int)strtol(d->d_name, NULL, 10), F_GETFD) & FD_CLOEXEC) != 0);
	}
	closedir(fds);
	CHECK(ours >= 4);
	rig_close(&r);
}

static void
garbage(void)
{
	struct store_conf c = { .dir = rig_dir("garbage") };
	struct err        e = { 0 };
	char              path[512];
	FILE             *f;

	CHECK(mkdir(c.dir, 0700) == 0);
	path_in(path, sizeof(path), c.dir, "data.mdb");
	f = fopen(path, "w");
	CHECK(f != NULL);
	for (int i = 0; i < 20000; i++)
		fputs("garbage ", f);
	fclose(f);
	CHECK(chmod(path, 0600) == 0);
	CHECK_U64(open_code(&c, &e), ERR_CORRUPT);
	CHECK(strstr(e.msg, c.dir) != NULL);
}

/* ---------------------------------------------------------------- owner */

static int
in_other_process(const char *dir)
{
	int   status;
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", "test_open", "--open", dir, (char *)NULL);
		_exit(127);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The other process: exits with the code of the error, 100 when it names the wrong owner. */
static int
open_there(const char *dir)
{
	struct store_conf c = { .dir = dir };
	struct err        e = { 0 };
	enum err_code     code = open_code(&c, &e);

	return code == ERR_LOCKED && e.detail != getppid() ? 100 : (int)code;
}

static void
one_owner(void)
{
	struct store_conf c = { .dir = rig_dir("owner") };
	struct rig        second;
	struct err        e = { 0 };

	test_not_under_valgrind("it starts itself");
	rig_open(&r, &c);
	CHECK_U64(rig_try_open(&second, &c, &e), ERR_LOCKED);
	CHECK_U64(e.detail, getpid());
	CHECK_U64(in_other_process(c.dir), ERR_LOCKED);
	rig_put(&r, "live", "x", SPAN_LIT("one"), 1);
	rig_close(&r);
	CHECK_U64(in_other_process(c.dir), ERR_OK);
	rig_open(&r, &c);
	CHECK(rig_holds(&r, SPAN_LIT("one")));
	rig_close(&r);
}

/* ---------------------------------------------------------------- host */

static bool
see_kind(void *arg, const struct event_rec *e)
{
	snprintf(arg, 128, "%s: %s", e->kind, e->text);
	return false;
}

static void
copied_to_another_host(void)
{
	const char       *dir = rig_dir("copied");
	struct store_conf c = { .dir = dir, .machine_id = "aaaa" };
	struct store_txn *t;
	struct err        e = { 0 };
	char              first[37], event[128] = "";

	rig_open(&r, &c);
	CHECK(!store_is_foreign(r.store));
	snprintf(first, sizeof(first), "%s", store_agent_id(r.store));
	CHECK_U64(strlen(first), 36);
	CHECK_STR(store_dir(r.store), dir);
	rig_close(&r);
	c.machine_id = "bbbb";
	rig_open(&r, &c);
	CHECK(store_is_foreign(r.store));
	CHECK_STR(store_agent_id(r.store), first);
	rig_close(&r);
	rig_open(&r, &c);
	CHECK(store_is_foreign(r.store)); /* looking does not adopt */
	CHECK_OK(rig_run(&r, store_adopt(r.store), &e), e);
	CHECK(!store_is_foreign(r.store) && strcmp(store_agent_id(r.store), first) != 0);
	t = rig_read(&r);
	store_events(t, 0, see_kind, event);
	store_end(t);
	CHECK(strncmp(event, "adopted: ", 9) == 0 && strstr(event, first) != NULL);
	snprintf(first, sizeof(first), "%s", store_agent_id(r.store));
	rig_close(&r);
	rig_open(&r, &c);
	CHECK(!store_is_foreign(r.store));
	CHECK_STR(store_agent_id(r.store), first);
	rig_close(&r);
}

static void
bound_to_a_name(void)
{
	const char       *dir = rig_dir("named");
	struct store_conf c = { .dir = dir, .agent_name = "edge-7", .machine_id = "aaaa" };
	char              path[512];

	rig_open(&r, &c);
	rig_close(&r);
	c.machine_id = "bbbb"; /* a container that was started anew */
	rig_open(&r, &c);
	CHECK(!store_is_foreign(r.store));
	rig_close(&r);
	c.agent_name = "edge-8";
	rig_open(&r, &c);
	CHECK(store_is_foreign(r.store));
	rig_close(&r);
	c.agent_name = "edge-7";
	path_in(path, sizeof(path), dir, "host");
	CHECK(unlink(path) == 0);
	rig_open(&r, &c);
	CHECK(store_is_foreign(r.store));
	rig_close(&r);
}

static bool
opens_foreign(const struct store_conf *c)
{
	bool foreign;

	rig_open(&r, c);
	foreign = store_is_foreign(r.store);
	rig_close(&r);
	return foreign;
}

static void
shell(const char *verb, const char *from, const char *to)
{
	char command[1200];

	snprintf(command, sizeof(command), "%s '%s' '%s'", verb, from, to);
	CHECK(system(command) == 0);
}

/* On the same host, or under the same name: two would act as one agent. */
static void
copied_beside_the_original(void)
{
	struct store_conf c = { .dir = rig_dir("beside"), .agent_name = "edge-7" }, copy = { .dir = rig_dir("beside.copy"), .agent_name = "edge-7" };
	struct store_conf moved = { .dir = rig_dir("beside.moved"), .agent_name = "edge-7" };
	struct err        e = { 0 };
	char              from[512], to[512];

	CHECK(!opens_foreign(&c));
	usleep(50000); /* births are told as exactly as the kernel's clock ticks */
	shell("cp -a", c.dir, copy.dir);
	CHECK(opens_foreign(&copy) && opens_foreign(&copy));
	CHECK(!opens_foreign(&c));
	rig_open(&r, &copy);
	CHECK_OK(rig_run(&r, store_adopt(r.store), &e), e);
	CHECK(!store_is_foreign(r.store));
	rig_close(&r);
	CHECK(!opens_foreign(&copy) && !opens_foreign(&c));
	shell("mv", c.dir, moved.dir);
	CHECK(!opens_foreign(&moved));
	path_in(from, sizeof(from), copy.dir, "data.mdb");
	path_in(to, sizeof(to), moved.dir, "data.mdb");
	shell("cp", from, to); /* put back over it: what it did since, its leases tell */
	CHECK(!opens_foreign(&moved));
}

static void
put_host(const char *dir, const char *text)
{
	char  path[512];
	FILE *f;

	path_in(path, sizeof(path), dir, "host");
	f = fopen(path, "w");
	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* The second line of STORE/host, of which either part is enough; without it an earlier version wrote it. */
static void
what_the_file_is_told_by(void)
{
	struct store_conf c = { .dir = rig_dir("told-by"), .agent_name = "edge-7" };
	char              path[512], inode[40], birth[40], text[200];
	FILE             *f;

	CHECK(!opens_foreign(&c));
	put_host(c.dir, "name edge-7\n");
	path_in(path, sizeof(path), c.dir, "host.new");
	CHECK(mkdir(path, 0700) == 0);
	CHECK(!opens_foreign(&c)); /* it cannot be noted now, as on a full disk */
	CHECK(rmdir(path) == 0);
	CHECK(!opens_foreign(&c));
	path_in(path, sizeof(path), c.dir, "host");
	f = fopen(path, "r");
	CHECK(f != NULL && fscanf(f, "name edge-7\nfile %39s %39s", inode, birth) == 2);
	fclose(f);
	snprintf(text, sizeof(text), "name edge-7\nfile %s 1.000000000\n", inode);
	put_host(c.dir, text);
	CHECK(!opens_foreign(&c));
	put_host(c.dir, "name edge-7\nfile 1 1.000000000\n");
	CHECK(opens_foreign(&c));
	put_host(c.dir, "name edge-7\nfile 1 -\n");
	CHECK(opens_foreign(&c));
	if (strcmp(birth, "-") == 0)
		return;
	snprintf(text, sizeof(text), "name edge-7\nfile 1 %s\n", birth);
	put_host(c.dir, text);
	CHECK(!opens_foreign(&c));
}

/* ---------------------------------------------------------------- format */

static void
put_plain(const char *name, struct span value)
{
	struct store_txn t;
	struct err       e = { 0 };

	CHECK_OK(txn_begin(r.store, TXN_WRITE, &t, &e), e);
	CHECK(meta_put_plain(&t, name, value));
	CHECK(txn_commit(&t) == 0);
}

static void
a_newer_format_is_refused(void)
{
	struct store_conf c = { .dir = rig_dir("newer"), .inline_commit = true };
	struct err        e = { 0 };

	rig_open(&r, &c);
	put_plain("format", SPAN_LIT("\0\0\0\2"));
	rig_close(&r);
	CHECK_U64(open_code(&c, &e), ERR_UNSUPPORTED);
	CHECK(strstr(e.msg, "newer") != NULL && e.detail == 2);
}

/* A format byte from the future in one record: not read, and not taken for absent. */
static void
a_newer_record_is_no_absence(void)
{
	struct store_conf c = { .dir = rig_dir("newrec"), .inline_commit = true };
	struct store_txn *t, w;
	struct state_rec  s;
	struct err        e = { 0 };
	struct key        k = key_u64(1);
	struct rec_type   newer = rec_state;

	rig_open(&r, &c);
	rig_put(&r, "live", "x", SPAN_LIT("one"), 1);
	t = rig_read(&r);
	CHECK(store_state(t, "live", "x", &s));
	newer.format = 2;
	CHECK_OK(txn_begin(r.store, TXN_WRITE, &w, &e), e);
	CHECK(rec_put(&w, DB_STATES, &k, &newer, &s));
	CHECK(txn_commit(&w) == 0);
	store_end(t);
	t = rig_read(&r);
	CHECK(!store_state(t, "live", "x", &s));
	CHECK_U64(store_txn_error(t, &e), ERR_CORRUPT);
	CHECK(strstr(e.msg, "newer") != NULL);
	store_end(t);
	CHECK_U64(rig_try_apply(&r, rig_put_batch(&r, "live", "x", SPAN_LIT("two"), 2), &e), ERR_CORRUPT);
	rig_close(&r);
}

/* ---------------------------------------------------------------- encryption */

static const uint8_t key_bytes[CRYPT_KEY_LEN] = { 1, 2, 3 };

static bool
file_has(const char *dir, const void *needle, size_t n)
{
	char        path[512];
	struct buf  all;
	struct stat st;
	FILE       *f;
	bool        has;

	path_in(path, sizeof(path), dir, "data.mdb");
	f = fopen(path, "rb");
	CHECK(f != NULL && fstat(fileno(f), &st) == 0);
	buf_init(&all, SIZE_MAX / 2);
	CHECK(buf_reserve(&all, (size_t)st.st_size + 1, NULL) == ERR_OK);
	CHECK(fread(all.data, 1, (size_t)st.st_size, f) == (size_t)st.st_size);
	fclose(f);
	has = memmem(all.data, (size_t)st.st_size, needle, n) != NULL;
	buf_free(&all);
	return has;
}

/* Whatever somebody named or wrote. */
static void
plant(void)
{
	struct batch *b;

	rig_put(&r, "planted-backend", "planted/name", SPAN_LIT("planted body of a state, which is a secret"), 1);
	b = batch_new(r.store);
	batch_for(b, "planted-backend", "planted/name");
	batch_replica(b, &(struct replica_rec){ .edge = "planted-edge", .target = "planted-target",
	    .name = "planted-there" });
	batch_queue(b, &(struct queue_rec){ .edge = "planted-edge", .target = "planted-target" });
	batch_intent(b, &(struct intent_rec){ .id = 5, .kind = INTENT_PUSH, .lock_body = "planted-lock" });
	batch_event(b, &(struct event_rec){ .kind = "planted-kind", .text = "planted-text" });
	batch_meta(b, "planted-mark", SPAN_LIT("planted-value"));
	rig_apply(&r, b);
}

static bool
anything_shows(const char *dir)
{
	static const char *const words[] = { "planted", "secret", "lineage", "OperationType", "ci@runner" };
	struct digest            d = rig_digest(SPAN_LIT("planted body of a state, which is a secret"));
	bool                     shows = false;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		shows = shows || file_has(dir, words[i], strlen(words[i]));
	return shows || file_has(dir, d.b, DIGEST_LEN) || file_has(dir, key_bytes, CRYPT_KEY_LEN);
}

static void
encrypted(void)
{
	struct crypt_key *k = crypt_key_new(key_bytes), *wrong = crypt_key_new((const uint8_t[CRYPT_KEY_LEN]){ 9 });
	struct store_conf c = { .dir = rig_dir("sealed"), .key = k };
	struct err        e = { 0 };

	rig_open(&r, &c);
	plant();
	rig_check_clean(&r);
	rig_close(&r);
	CHECK(!anything_shows(c.dir));
	c.key = wrong;
	CHECK_U64(open_code(&c, &e), ERR_CONFIG);
	CHECK(strstr(e.msg, "encryption key is not the one") != NULL);
	c.key = NULL;
	CHECK_U64(open_code(&c, &e), ERR_CONFIG);
	CHECK(strstr(e.msg, "no encryption key is configured") != NULL && e.hint[0] != '\0');
	c.key = k;
	rig_open(&r, &c);
	CHECK(rig_holds(&r, SPAN_LIT("planted body of a state, which is a secret")));
	rig_close(&r);
	crypt_key_free(k);
	crypt_key_free(wrong);
}

/* The same test finds all of it in a plain store: it looks in the right place. */
static void
plain(void)
{
	struct crypt_key *k = crypt_key_new(key_bytes);
	struct store_conf c = { .dir = rig_dir("plain") };
	struct digest     d = rig_digest(SPAN_LIT("planted body of a state, which is a secret"));
	struct err        e = { 0 };

	rig_open(&r, &c);
	plant();
	rig_close(&r);
	CHECK(anything_shows(c.dir) && file_has(c.dir, "planted-lock", 12) && file_has(c.dir, d.b, DIGEST_LEN));
	c.key = k;
	CHECK_U64(open_code(&c, &e), ERR_CONFIG);
	CHECK(strstr(e.msg, "not encrypted") != NULL && e.hint[0] != '\0');
	crypt_key_free(k);
}

/* A sealed record in another's place does not open: nobody can give one state the bytes of another. */
static void
sealed_records_stay_in_place(void)
{
	struct crypt_key *k = crypt_key_new(key_bytes);
	struct store_conf c = { .dir = rig_dir("moved"), .key = k, .inline_commit = true };
	struct store_txn  w, *t;
	struct state_rec  s;
	struct err        e = { 0 };
	MDB_val           one, two, value;
	uint8_t           be[2][8];

	rig_open(&r, &c);
	rig_put(&r, "live", "x", SPAN_LIT("one"), 1);
	rig_put(&r, "live", "y", SPAN_LIT("two"), 1);
	be64_put(be[0], 1);
	be64_put(be[1], 2);
	one = (MDB_val){ 8, be[0] };
	two = (MDB_val){ 8, be[1] };
	CHECK_OK(txn_begin(r.store, TXN_WRITE, &w, &e), e);
	CHECK(mdb_get(w.txn, r.store->dbi[DB_STATES], &one, &value) == 0);
	value.mv_data = xmemdup(value.mv_data, value.mv_size);
	CHECK(mdb_put(w.txn, r.store->dbi[DB_STATES], &two, &value, 0) == 0);
	free(value.mv_data);
	CHECK(txn_commit(&w) == 0);
	t = rig_read(&r);
	CHECK(store_state(t, "live", "x", &s) && !store_state(t, "live", "y", &s));
	CHECK_U64(store_txn_error(t, &e), ERR_CORRUPT);
	store_end(t);
	rig_close(&r);
	crypt_key_free(k);
}

int
main(int argc, char **argv)
{
	struct err e = { 0 };

	if (crypto_init(&e) != ERR_OK)
		return 1;
	if (argc == 3 && strcmp(argv[1], "--open") == 0)
		return open_there(argv[2]);
	return test_main(argc, argv, (struct test[]){
	    { "rights", rights },
	    { "must_exist", must_exist },
	    { "network_file_systems", network_file_systems },
	    { "close_on_exec", close_on_exec },
	    { "garbage", garbage },
	    { "one_owner", one_owner },
	    { "copied_to_another_host", copied_to_another_host },
	    { "bound_to_a_name", bound_to_a_name },
	    { "copied_beside_the_original", copied_beside_the_original },
	    { "what_the_file_is_told_by", what_the_file_is_told_by },
	    { "a_newer_format_is_refused", a_newer_format_is_refused },
	    { "a_newer_record_is_no_absence", a_newer_record_is_no_absence },
	    { "encrypted", encrypted },
	    { "plain", plain },
	    { "sealed_records_stay_in_place", sealed_records_stay_in_place },
	    { NULL, NULL } });
}
