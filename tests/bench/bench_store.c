/* SPDX-License-Identifier: MIT */
/*
 * What history costs and how fast it is: rows of "name TAB value TAB unit". Versions are small edits of a text like a
 * real state (tests/lib/store_rig.h).
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../lib/store_rig.h"
#include "../lib/test.h"
#include "base/mem.h"

#define IN_FLIGHT 50

static struct rig r;

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
row(const char *name, double value, const char *unit)
{
	printf("%s\t%.4g\t%s\n", name, value, unit);
}

static void
open_at(const char *name)
{
	struct store_conf c = { .dir = rig_dir(name) };

	rig_open(&r, &c);
}

static double
file_bytes(void)
{
	char        path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/data.mdb", store_dir(r.store));
	if (stat(path, &st) != 0)
		test_fail(__FILE__, __LINE__, "no file");
	return (double)st.st_size;
}

/* ---------------------------------------------------------------- many batches in flight */

struct flight {
	size_t running;
};

static void
landed(struct op *op, void *arg)
{
	if (op->err.code != ERR_OK)
		test_fail(__FILE__, __LINE__, "%s", op->err.msg);
	((struct flight *)arg)->running--;
	op_free(op);
}

static bool
has_room(void *arg)
{
	return ((struct flight *)arg)->running < IN_FLIGHT;
}

static bool
is_empty(void *arg)
{
	return ((struct flight *)arg)->running == 0;
}

static void
fly(struct flight *f, struct batch *b)
{
	loop_run_until(r.loop, has_room, f, 60000);
	f->running++;
	op_start(store_apply(r.store, b), landed, f);
}

/* One version after the other of one state, as the agent writes them: version, head, sighting, event. */
static struct batch *
version_batch(struct span text, uint64_t serial, const struct digest *from, struct digest *ret)
{
	struct batch *b = batch_new(r.store);
	struct body  *body = body_copy(text);
	char          run[37], line[64];

	*ret = rig_digest(text);
	batch_body(b, body, ret, from);
	batch_version(b, "live", "prod/vpc/terraform.tfstate", &(struct version_rec){ .digest = *ret, .serial = serial,
	    .size = text.n, .lineage = "b5f192d6-9f16-0679-e1d3-580d1e722adf", .writer = "1.11.4", .kind = STATE_V4,
	    .verdict = from == NULL ? VERDICT_FIRST : VERDICT_ADVANCE, .run = rand_uuid(loop_rand(r.loop), run),
	    .who = "ci@runner-7",
	    .operation = "OperationTypeApply", .instances = 120, .resources = 80, .added = 1, .changed = 2 });
	batch_head(b, "live", "prod/vpc/terraform.tfstate", from, ret);
	batch_seen(b, "live", "prod/vpc/terraform.tfstate",
	    &(struct sighting){ .etag = "\"5d41402abc4b2a76b9719d911017c592\"", .digest = ret,
	    .read = loop_wall(r.loop) });
	snprintf(line, sizeof(line), "serial %llu", (unsigned long long)serial);
	batch_event(b, &(struct event_rec){ .kind = "verdict", .backend = "live", .name = "prod/vpc/terraform.tfstate",
	    .text = line });
	body_unref(body);
	return b;
}

/* Writes count versions of about size bytes; the digests of all of them. */
static struct digest *
write_history(size_t size, uint64_t count, double *ret_raw)
{
	struct digest *all = xcalloc((size_t)count, sizeof(*all));
	struct flight  f = { 0 };
	struct series  s;

	*ret_raw = 0;
	series_init(&s, size, 1);
	for (uint64_t i = 0; i < count; i++) {
		fly(&f, version_batch(buf_span(&s.text), i + 1, i == 0 ? NULL : &all[i - 1], &all[i]));
		*ret_raw += (double)s.text.len;
		series_next(&s);
	}
	loop_run_until(r.loop, is_empty, &f, 600000);
	series_free(&s);
	return all;
}

static double
read_s(const struct digest *d)
{
	struct store_txn *t;
	struct buf        got;
	double            start = now_s();
	struct err        e = { 0 };

	buf_init(&got, SIZE_MAX / 2);
	t = rig_read(&r);
	if (store_body(t, d, &got, &e) != ERR_OK)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	store_end(t);
	start = now_s() - start;
	buf_free(&got);
	return start;
}

/* ---------------------------------------------------------------- rows */

static void
history(const char *size_name, size_t size, uint64_t count)
{
	struct store_stats st;
	char               name[80];
	double             raw, start, worst = 0, sum = 0;
	struct digest     *all;

	snprintf(name, sizeof(name), "history-%s-%llu", size_name, (unsigned long long)count);
	open_at(name);
	start = now_s();
	all = write_history(size, count, &raw);
	start = now_s() - start;
	store_stats(r.store, &st);
	snprintf(name, sizeof(name), "store_frames_%s_%llu_versions", size_name, (unsigned long long)count);
	row(name, (double)st.blob_bytes / (double)count, "bytes/version");
	row(name, 100 * (double)st.blob_bytes / raw, "percent of raw");
	snprintf(name, sizeof(name), "store_file_%s_%llu_versions", size_name, (unsigned long long)count);
	row(name, file_bytes(), "bytes");
	row(name, 100 * file_bytes() / raw, "percent of raw");
	snprintf(name, sizeof(name), "store_write_%s_%llu_versions", size_name, (unsigned long long)count);
	row(name, 1000 * start / (double)count, "ms/version");
	for (uint64_t i = 0; i < 200; i++) {
		double one = read_s(&all[i * 7919 % count]);

		sum += one;
		worst = one > worst ? one : worst;
	}
	snprintf(name, sizeof(name), "store_read_any_%s_of_%llu", size_name, (unsigned long long)count);
	row(name, 1000 * sum / 200, "ms, mean of 200");
	row(name, 1000 * worst, "ms, worst of 200");
	snprintf(name, sizeof(name), "store_read_first_%s_of_%llu", size_name, (unsigned long long)count);
	row(name, 1000 * read_s(&all[0]), "ms");
	free(all);
	rig_close(&r);
}

static void
commits(void)
{
	struct store_stats before, after;
	struct flight      f = { 0 };
	double             start;

	open_at("commits");
	start = now_s();
	for (int i = 0; i < 500; i++) {
		struct batch *b = batch_new(r.store);

		batch_event(b, &(struct event_rec){ .kind = "bench", .text = "one at a time" });
		rig_apply(&r, b);
	}
	row("store_commits_one_at_a_time", 500 / (now_s() - start), "commits/s");
	store_stats(r.store, &before);
	start = now_s();
	for (int i = 0; i < 10000; i++) {
		struct batch *b = batch_new(r.store);

		batch_event(b, &(struct event_rec){ .kind = "bench", .text = "many in flight" });
		fly(&f, b);
	}
	loop_run_until(r.loop, is_empty, &f, 60000);
	start = now_s() - start;
	store_stats(r.store, &after);
	row("store_batches_50_in_flight", 10000 / start, "batches/s");
	row("store_batches_50_in_flight",
	    (double)(after.batches - before.batches) / (double)(after.commits - before.commits), "batches/commit");
	rig_close(&r);
}

static double
anon_kb(void)
{
	char   line[128];
	double kb = 0;
	FILE  *f = fopen("/proc/self/status", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "RssAnon:", 8) == 0)
			kb = strtod(line + 8, NULL);
	if (f != NULL)
		fclose(f);
	return kb;
}

static struct body *
spooled(size_t size)
{
	struct series s;
	struct err    e = { 0 };
	int           fd = store_spool_open(r.store, &e);

	series_init(&s, 1 << 20, 1);
	for (size_t n = 0; n < size; n += s.text.len) {
		if (fd < 0 || write(fd, s.text.data, s.text.len) != (ssize_t)s.text.len)
			test_fail(__FILE__, __LINE__, "spool");
		for (int i = 0; i < 400; i++)
			series_next(&s);
		buf_reserve(&s.text, 1, &e);
		while (s.text.len < 1 << 20)
			buf_putc(&s.text, ' ');
		s.text.len = 1 << 20;
	}
	series_free(&s);
	return body_from_fd(fd, size);
}

static struct digest
digest_of_body(const struct body *b)
{
	struct sha256 *h = sha256_new();
	static uint8_t part[64 << 10];
	struct digest  d;
	struct err     e = { 0 };
	size_t         n;

	for (uint64_t off = 0; body_read(b, off, part, sizeof(part), &n, &e) == ERR_OK && n > 0; off += n)
		sha256_add(h, part, n);
	sha256_peek(h, &d);
	sha256_free(h);
	return d;
}

static double
watch_memory(struct op *op)
{
	struct flight f = { 1 };
	double        base = anon_kb(), peak = base, kb;

	op_start(op, landed, &f);
	while (f.running > 0) {
		loop_turn(r.loop, false);
		usleep(1000);
		kb = anon_kb();
		peak = kb > peak ? kb : peak;
	}
	return (peak - base) / 1024;
}

static void
large(void)
{
	struct body  *b, *back = NULL;
	struct digest d;
	struct batch *batch;
	double        start;

	open_at("large");
	b = spooled((size_t)100 << 20);
	d = digest_of_body(b);
	batch = batch_new(r.store);
	batch_body(batch, b, &d, NULL);
	batch_version(batch, "live", "large", &(struct version_rec){ .digest = d, .size = body_size(b) });
	start = now_s();
	row("store_put_100mb_peak", watch_memory(store_apply(r.store, batch)), "MB anonymous");
	row("store_put_100mb", now_s() - start, "s");
	start = now_s();
	row("store_load_100mb_peak", watch_memory(store_body_load(r.store, &d, &back)), "MB anonymous");
	row("store_load_100mb", now_s() - start, "s");
	body_unref(back);
	body_unref(b);
	rig_close(&r);
}

/* 10,000 states: opening, and the memory that knowing them takes. */
static void
many_states(void)
{
	const char       *dir = rig_dir("states");
	struct store_conf c = { .dir = dir };
	double            start, base;

	rig_open(&r, &c);
	for (int n = 0; n < 100; n++) {
		struct batch *b = batch_new(r.store);

		for (int i = 0; i < 100; i++) {
			char name[64];

			snprintf(name, sizeof(name), "team-%d/service-%d/terraform.tfstate", n, i);
			batch_seen(b, "live", name,
			    &(struct sighting){ .etag = "\"5d41402abc4b2a76b9719d911017c592\"" });
		}
		rig_apply(&r, b);
	}
	rig_close(&r);
	base = anon_kb();
	start = now_s();
	rig_open(&r, &c);
	row("store_open_10000_states", 1000 * (now_s() - start), "ms");
	row("store_open_10000_states", (anon_kb() - base) / 1024, "MB anonymous");
	rig_close(&r);
}

static void
small_history(void)
{
	history("50k", 50 << 10, 100);
	history("50k", 50 << 10, 1000);
	history("50k", 50 << 10, 10000);
}

static void
big_history(void)
{
	history("0.8m", 800 << 10, 100);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "commits", commits },
	    { "small_history", small_history },
	    { "big_history", big_history },
	    { "large", large },
	    { "many_states", many_states },
	    { NULL, NULL } });
}
