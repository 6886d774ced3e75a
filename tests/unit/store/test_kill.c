/* SPDX-License-Identifier: MIT */
/*
 * kill -9 at any time. A worker writes versions whose bytes follow from their number, several states at once, and tells
 * through a pipe what was acknowledged. STORE_KILLS sets the number of kills.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/store_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "store/internal.h"

#define KILLS     50
#define STATES    4
#define PER_STORE 8    /* kills before a new folder */
#define DROP_EACH 5    /* the version three before every fifth is dropped */
#define LARGE     ((size_t)34 << 20)

static struct rig r;

/* The bytes of version n of a state. */
static void
text_of(uint64_t state, uint64_t n, struct series *s)
{
	series_init(s, 20000 + 100 * (size_t)(n % 50), state * 1000 + n / 10);
	s->serial = n;
	for (uint64_t i = 0; i <= n % 10; i++)
		series_next(s);
}

static bool
may_be_dropped(uint64_t n)
{
	return (n + 3) % DROP_EACH == 0;
}

static const char *
name_of(uint64_t state)
{
	static const char *const names[STATES] = { "s0", "s1", "s2", "s3" };

	return names[state];
}

/* ---------------------------------------------------------------- the worker */

struct working {
	uint64_t state, n;
	bool     done, drop;
};

static void
say(char kind, uint64_t state, uint64_t n)
{
	char line[64];
	int  len = snprintf(line, sizeof(line), "%c %llu %llu\n", kind, (unsigned long long)state,
	    (unsigned long long)n);

	if (write(STDOUT_FILENO, line, (size_t)len) != len)
		_exit(3);
}

static void
on_written(struct op *op, void *arg)
{
	struct working *w = arg;

	if (op->err.code != ERR_OK)
		_exit(4);
	say(w->drop ? 'd' : 'v', w->state, w->n);
	w->done = true;
	op_free(op);
}

static bool
all_written(void *arg)
{
	struct working *w = arg;

	for (int i = 0; i < STATES; i++)
		if (!w[i].done)
			return false;
	return true;
}

static void
worker_start(struct working *w, uint64_t state)
{
	struct store_txn *t = rig_read(&r);
	struct state_rec  st = { 0 };
	struct batch     *b;
	struct series     s;

	w->n = store_state(t, "live", name_of(state), &st) ? st.versions + 1 : 1;
	store_end(t);
	w->state = state;
	w->done = false;
	w->drop = !w->drop && w->n > 4 && (w->n - 1) % DROP_EACH == 0;
	if (w->drop) {
		w->n -= 4;
		b = batch_new(r.store);
		batch_drop(b, "live", name_of(state), w->n);
	} else {
		text_of(state, w->n, &s);
		b = rig_put_batch(&r, "live", name_of(state), buf_span(&s.text), w->n);
		series_free(&s);
	}
	op_start(store_apply(r.store, b), on_written, w);
}

static void
worker_large(uint64_t n)
{
	struct series s;

	series_init(&s, LARGE, n);
	series_scramble_all(&s);
	rig_put(&r, "live", "large", buf_span(&s.text), n);
	series_free(&s);
}

static int
worker(const char *dir, bool large)
{
	struct store_conf c = { .dir = dir, .map_size = (uint64_t)1 << 20 };
	struct working    w[STATES] = { { 0 } };

	rig_open(&r, &c);
	for (uint64_t n = 1;; n++) {
		for (uint64_t i = 0; i < STATES; i++)
			worker_start(&w[i], i);
		if (!loop_run_until(r.loop, all_written, w, 60000))
			return 5;
		if (large)
			worker_large(n);
	}
}

/* ---------------------------------------------------------------- the parent */

struct oracle {
	uint64_t version[STATES], dropped[STATES][4096];
	size_t   ndropped[STATES];
};

static void
hear(struct oracle *o, FILE *pipe)
{
	unsigned long long state, n;
	char               line[64], kind;

	while (fgets(line, sizeof(line), pipe) != NULL) {
		if (strchr(line, '\n') == NULL || sscanf(line, "%c %llu %llu", &kind, &state, &n) != 3 ||
		    state >= STATES)
			continue;
		if (kind == 'v')
			o->version[state] = n;
		else if (o->ndropped[state] < 4096)
			o->dropped[state][o->ndropped[state]++] = n;
	}
}

static void
check_version(struct store_txn *t, uint64_t state, uint64_t id, uint64_t n)
{
	struct version_rec v;
	struct series      s;
	struct buf         got;
	struct err         e = { 0 };

	CHECK(store_version(t, id, n, &v));
	if (v.dropped) {
		CHECK(may_be_dropped(n));
		return;
	}
	text_of(state, n, &s);
	buf_init(&got, 0);
	CHECK_OK(store_body(t, &v.digest, &got, &e), e);
	CHECK(span_eq(buf_span(&got), buf_span(&s.text)));
	buf_free(&got);
	series_free(&s);
}

static void
check_oracle(const char *dir, const struct oracle *o)
{
	struct store_conf c = { .dir = dir };
	struct store_txn *t;
	struct state_rec  st;

	rig_open(&r, &c);
	t = rig_read(&r);
	for (uint64_t i = 0; i < STATES; i++) {
		if (!store_state(t, "live", name_of(i), &st)) {
			CHECK_U64(o->version[i], 0);
			continue;
		}
		CHECK(st.versions >= o->version[i] && st.head == st.versions);
		for (uint64_t n = 1; n <= st.versions; n++)
			check_version(t, i, st.id, n);
		for (size_t d = 0; d < o->ndropped[i]; d++) {
			struct version_rec v;

			CHECK(store_version(t, st.id, o->dropped[i][d], &v) && v.dropped);
		}
	}
	CHECK_U64(rec_count(t, DB_STAGED), 0);
	store_end(t);
	rig_check_clean(&r);
	rig_close(&r);
}

static void
one_kill(const char *dir, struct oracle *o, bool large, unsigned after_ms)
{
	int   fds[2], status;
	pid_t pid;
	FILE *f;

	CHECK(pipe(fds) == 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execl("/proc/self/exe", "test_kill", large ? "--large" : "--worker", dir, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	CHECK(pid > 0);
	usleep(after_ms * 1000);
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	f = fdopen(fds[0], "r");
	hear(o, f);
	fclose(f);
}

static void
killed_at_any_time(void)
{
	const char    *wanted = getenv("STORE_KILLS");
	uint64_t       kills = wanted != NULL ? strtoull(wanted, NULL, 10) : KILLS, acked = 0;
	struct oracle *o = NULL;
	char          *dir = NULL;
	struct rand    rand;

	rand_seeded(&rand, 17);
	for (uint64_t i = 0; i < kills; i++) {
		bool large = i % 8 == 7;

		if (i % PER_STORE == 0) {
			free(dir);
			free(o);
			dir = xasprintf("%s/kill-%llu", test_tmpdir(), (unsigned long long)(i / PER_STORE));
			o = xcalloc(1, sizeof(*o));
		}
		one_kill(dir, o, large, (unsigned)(large ? 100 + rand_below(&rand, 900) : 10 + rand_below(&rand, 140)));
		check_oracle(dir, o);
		if ((i + 1) % PER_STORE == 0)
			for (int s = 0; s < STATES; s++)
				acked += o->version[s];
	}
	free(dir);
	free(o);
	printf("# %llu kills, %llu versions acknowledged\n", (unsigned long long)kills, (unsigned long long)acked);
	CHECK(kills < PER_STORE || acked > 0);
}

int
main(int argc, char **argv)
{
	struct err e = { 0 };

	if (crypto_init(&e) != ERR_OK)
		return 1;
	if (argc == 3 && strcmp(argv[1], "--worker") == 0)
		return worker(argv[2], false);
	if (argc == 3 && strcmp(argv[1], "--large") == 0)
		return worker(argv[2], true);
	return test_main(argc, argv, (struct test[]){ { "killed_at_any_time", killed_at_any_time }, { NULL, NULL } });
}
