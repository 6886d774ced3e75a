/* SPDX-License-Identifier: MIT */
/* Room: the map grows under load with readers active; a full disk is refused before and survived after. */
#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/store_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "store/internal.h"

#define TINY_MAP ((uint64_t)256 << 10)

static struct rig r;

/* ---------------------------------------------------------------- a map that grows */

struct load {
	size_t        running, failed;
	struct body  *bodies[8];
	struct digest digest;
};

static void
load_done(struct op *op, void *arg)
{
	struct load *l = arg;

	l->running--;
	l->failed += op->err.code != ERR_OK;
	op_free(op);
}

static bool
load_ended(void *arg)
{
	return ((struct load *)arg)->running == 0;
}

/* Versions come in bunches while the loop reads in every turn and the pool decodes all the time. */
static void
grow_under_load(bool inline_commit)
{
	struct store_conf  c = { .dir = rig_dir(inline_commit ? "grow-inline" : "grow"), .map_size = TINY_MAP,
	    .inline_commit = inline_commit };
	struct store_stats st;
	struct series      s;
	struct load        l = { .running = 0 };
	struct digest      heads[4];

	rig_open(&r, &c);
	series_init(&s, 50 << 10, 1);
	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 4; i++) {
			char name[8];

			snprintf(name, sizeof(name), "s%d", i);
			series_scramble_all(&s); /* nothing to compress away */
			heads[i] = rig_digest(buf_span(&s.text));
			l.running++;
			op_start(store_apply(r.store, rig_put_batch(&r, "live", name, buf_span(&s.text),
			    (uint64_t)round + 1)), load_done, &l);
		}
		for (int i = 0; i < 4 && round > 0; i++) {
			l.running++;
			op_start(store_body_load(r.store, &l.digest, &l.bodies[i]), load_done, &l);
		}
		while (l.running > 0) {
			struct store_txn *t = rig_read(&r);
			struct state_rec  got;

			CHECK(round == 0 || store_state(t, "live", "s0", &got));
			store_end(t);
			loop_turn(r.loop, true);
		}
		CHECK_U64(l.failed, 0);
		for (int i = 0; i < 4; i++) {
			body_unref(l.bodies[i]);
			l.bodies[i] = NULL;
		}
		l.digest = heads[round % 4];
	}
	store_stats(r.store, &st);
	CHECK_U64(st.versions, 160);
	CHECK_STR(store_trouble(r.store), "");
	CHECK(st.map_bytes >= 16 * TINY_MAP && st.file_bytes > 4 << 20);
	rig_check_clean(&r);
	series_free(&s);
	rig_close(&r);
}

static void
map_grows(void)
{
	grow_under_load(false);
}

static void
map_grows_inline(void)
{
	grow_under_load(true);
}

/* A read of the loop that is still open when the store thread asks: it is answered when that has ended. */
static void
map_waits_for_a_reader(void)
{
	struct store_conf c = { .dir = rig_dir("waits"), .map_size = TINY_MAP };
	struct load       l = { .running = 1 };
	struct store_txn *t;
	struct series     s;
	struct state_rec  got;

	rig_open(&r, &c);
	series_init(&s, 1 << 20, 1);
	rig_put(&r, "live", "x", SPAN_LIT("one"), 1);
	series_scramble_all(&s);
	t = rig_read(&r);
	op_start(store_apply(r.store, rig_put_batch(&r, "live", "y", buf_span(&s.text), 1)), load_done, &l);
	for (int i = 0; i < 20; i++) {
		loop_turn(r.loop, false);
		usleep(2000);
	}
	CHECK_U64(l.running, 1);
	CHECK(store_state(t, "live", "x", &got));
	CHECK_STR(got.name, "x");
	store_end(t);
	CHECK(loop_run_until(r.loop, load_ended, &l, 10000));
	CHECK(l.failed == 0 && rig_holds(&r, buf_span(&s.text)));
	series_free(&s);
	rig_close(&r);
}

/* A staged body needs the map to grow in the middle of its stages. */
static void
map_grows_for_a_large_body(void)
{
	struct store_conf c = { .dir = rig_dir("large"), .map_size = TINY_MAP };
	struct series     s;

	rig_open(&r, &c);
	series_init(&s, 34 << 20, 1);
	series_scramble_all(&s);
	rig_put(&r, "live", "x", buf_span(&s.text), 1);
	CHECK(rig_holds(&r, buf_span(&s.text)));
	rig_check_clean(&r);
	rig_close(&r);
	c.map_size = TINY_MAP; /* the file is larger than this now */
	rig_open(&r, &c);
	CHECK(rig_holds(&r, buf_span(&s.text)));
	rig_put(&r, "live", "x", SPAN_LIT("small"), 2);
	rig_close(&r);
	series_free(&s);
}

/* ---------------------------------------------------------------- a disk that fills */

/* Below the limit new bodies are refused with a sentence; what settles work is not. */
static void
refused_before_it_is_full(void)
{
	struct store_conf c = { .dir = rig_dir("refused") };
	struct batch     *b;
	struct err        e = { 0 };

	rig_open(&r, &c);
	rig_put(&r, "live", "x", SPAN_LIT("one"), 1);
	rig_close(&r);
	c.free_min = UINT64_MAX / 2;
	rig_open(&r, &c);
	CHECK_U64(rig_try_apply(&r, rig_put_batch(&r, "live", "x", SPAN_LIT("two"), 2), &e), ERR_IO);
	CHECK(e.detail == ENOSPC && strstr(e.msg, "nearly full") != NULL && strstr(e.hint, "free space") != NULL);
	CHECK_STR(store_trouble(r.store), "");
	b = batch_new(r.store);
	batch_settle(b, 1);
	batch_event(b, &(struct event_rec){ .kind = "held", .text = "no room" });
	batch_seen(b, "live", "x", &(struct sighting){ .etag = "e" });
	rig_apply(&r, b);
	rig_apply(&r, rig_put_batch(&r, "live", "y", SPAN_LIT("one"), 1)); /* bytes that are there need no room */
	rig_check_clean(&r);
	rig_close(&r);
}

/* In a file system of 6 MB: until a commit fails, then everything acknowledged is there, and work goes on with what
 * fits. */
static int
fill_the_disk(const char *dir)
{
	struct store_conf c = { .dir = dir, .map_size = (uint64_t)64 << 20 };
	struct series     s;
	struct err        e = { 0 };
	struct batch     *b;
	uint64_t          n = 0;
	struct store_txn *t;
	struct span       got;
	char              name[32];
	enum err_code     code;

	rig_open(&r, &c);
	rig_put(&r, "live", "x", SPAN_LIT("one"), 1);
	series_init(&s, 60 << 10, 1);
	series_scramble_all(&s);
	for (;; n++) {
		b = batch_new(r.store);
		snprintf(name, sizeof(name), "m%llu", (unsigned long long)n);
		batch_meta(b, name, buf_span(&s.text));
		if ((code = rig_try_apply(&r, b, &e)) != ERR_OK)
			break;
	}
	printf("# after %llu: %s (%s)\n", (unsigned long long)n, e.msg, e.hint);
	if (code != ERR_IO || n < 20 || n > 200 || strstr(store_trouble(r.store), e.msg) == NULL)
		return 2;
	t = rig_read(&r);
	for (uint64_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "m%llu", (unsigned long long)i);
		if (!store_meta(t, name, &got) || !span_eq(got, buf_span(&s.text)))
			return 3;
	}
	snprintf(name, sizeof(name), "m%llu", (unsigned long long)n);
	if (store_meta(t, name, &got))
		return 4;
	store_end(t);
	b = batch_new(r.store); /* making room works on a full disk */
	for (uint64_t i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "m%llu", (unsigned long long)i);
		batch_meta(b, name, span_of(NULL, 0));
	}
	if (rig_try_apply(&r, b, &e) != ERR_OK)
		return 5;
	if (store_trouble(r.store)[0] != '\0')
		return 6;
	for (int i = 0; i < 3; i++) { /* freed pages are used again once a commit lies between */
		b = batch_new(r.store);
		batch_event(b, &(struct event_rec){ .kind = "held" });
		if (rig_try_apply(&r, b, &e) != ERR_OK)
			return 7;
	}
	b = batch_new(r.store);
	batch_meta(b, "again", buf_span(&s.text));
	if (rig_try_apply(&r, b, &e) != ERR_OK)
		return 8;
	rig_check_clean(&r);
	rig_close(&r);
	rig_open(&r, &c);
	rig_check_clean(&r);
	rig_close(&r);
	series_free(&s);
	return 0;
}

static void
survives_a_full_disk(void)
{
	const char *dir = rig_dir("full");
	char       *self = realpath("/proc/self/exe", NULL);
	char       *cmd;
	int         rc;

	if (system("unshare -Urm true 2>/dev/null") != 0)
		test_skip("unshare -Urm is not possible here, so no small file system");
	cmd = xasprintf("mkdir %s && unshare -Urm sh -c 'mount -t tmpfs -o size=6m,mode=700 none %s && "
	    "mkdir -m 700 %s/store && exec %s --fill %s/store'", dir, dir, dir, self, dir);
	rc = system(cmd);
	free(cmd);
	free(self);
	CHECK(WIFEXITED(rc));
	CHECK_U64(WEXITSTATUS(rc), 0);
}

static const char *fill_dir;

static void
on_fill(void)
{
	int rc = fill_the_disk(fill_dir);

	if (rc != 0)
		test_fail(__FILE__, __LINE__, "step %d", rc);
}

int
main(int argc, char **argv)
{
	struct err e = { 0 };

	if (crypto_init(&e) != ERR_OK)
		return 1;
	if (argc == 3 && strcmp(argv[1], "--fill") == 0) {
		fill_dir = argv[2];
		return test_main(1, argv, (struct test[]){ { "fill", on_fill }, { NULL, NULL } });
	}
	return test_main(argc, argv, (struct test[]){
	    { "map_grows", map_grows },
	    { "map_grows_inline", map_grows_inline },
	    { "map_waits_for_a_reader", map_waits_for_a_reader },
	    { "map_grows_for_a_large_body", map_grows_for_a_large_body },
	    { "refused_before_it_is_full", refused_before_it_is_full },
	    { "survives_a_full_disk", survives_a_full_disk },
	    { NULL, NULL } });
}
