/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/state_scan.h"
#include "../lib/test.h"

/*
 * What a byte of a state costs: the scan alone, the hash alone, and both over the same pieces, as a download
 * does it. The state is golden/state/large.tfstate with its resources repeated under other modules.
 * Each row is the median of BENCH_ROUNDS.
 *
 *     bench_scan [FILE]        FILE: the state is written there, for others to read
 */
#define BENCH_SIZE   ((size_t)50 << 20)
#define BENCH_PIECE  65536
#define BENCH_ROUNDS 7

static struct buf body;
static uint64_t   objects;

static void
put_module(int k, const char *block, size_t n)
{
	static const char module[] = "module.node[";
	const char       *end = block + n, *at;

	while ((at = memmem(block, (size_t)(end - block), module, sizeof(module) - 1)) != NULL) {
		buf_put(&body, block, (size_t)(at - block));
		buf_printf(&body, "module.region%d.", k);
		buf_put(&body, at, sizeof(module) - 1);
		block = at + sizeof(module) - 1;
	}
	buf_put(&body, block, (size_t)(end - block));
}

static void
make_body(void)
{
	static const char head[] = "\"resources\": [", tail[] = "\n  ],\n  \"check_results\"";
	size_t            n;
	const char       *text = test_read("golden/state/large.tfstate", &n);
	const char       *from = strstr(text, head) + sizeof(head) - 1, *to = strstr(text, tail);

	buf_init(&body, 2 * BENCH_SIZE);
	buf_put(&body, text, (size_t)(from - text));
	for (int k = 0; body.len < BENCH_SIZE; k++) {
		if (k > 0)
			buf_putc(&body, ',');
		put_module(k, from, (size_t)(to - from));
	}
	buf_puts(&body, to);
}

static void
count_object(void *arg, const struct state_object *o)
{
	(void)arg;
	objects += o->fingerprint != 0;
}

/* ---- what is measured ---- */

static void
run_both(state_object_fn *fn, bool scan, bool hash)
{
	struct state_scan *s = scan ? state_scan_new(fn, NULL) : NULL;
	struct sha256     *h = hash ? sha256_new() : NULL;
	struct state_info  info = { .kind = STATE_V4 };
	struct digest      d;

	for (size_t at = 0; at < body.len; at += BENCH_PIECE) {
		size_t n = body.len - at < BENCH_PIECE ? body.len - at : BENCH_PIECE;

		if (hash)
			sha256_add(h, body.data + at, n);
		if (scan)
			state_scan_feed(s, body.data + at, n);
	}
	if (scan)
		state_scan_end(s, &info);
	if (hash)
		sha256_peek(h, &d);
	if (info.kind != STATE_V4) {
		fprintf(stderr, "bench_scan: %s\n", info.why);
		exit(1);
	}
	sha256_free(h);
	state_scan_free(s);
}

static void
run_json(void)
{
	struct json_reader *r = json_reader_new(NULL, NULL);

	for (size_t at = 0; at < body.len; at += BENCH_PIECE)
		json_feed(r, body.data + at, body.len - at < BENCH_PIECE ? body.len - at : BENCH_PIECE, NULL);
	if (json_end(r, NULL) != ERR_OK)
		exit(1);
	json_reader_free(r);
}

static void
run_scan(void)
{
	run_both(NULL, true, false);
}

static void
run_objects(void)
{
	run_both(count_object, true, false);
}

static void
run_hash(void)
{
	run_both(NULL, false, true);
}

static void
run_scan_and_hash(void)
{
	run_both(NULL, true, true);
}

static void
run_meaning(void)
{
	struct digest d;

	if (state_semantic_digest(buf_span(&body), &d, NULL) != ERR_OK)
		exit(1);
}

static int
cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool
write_body(const char *path)
{
	FILE *f = fopen(path, "w");
	bool  ok = f != NULL && fwrite(body.data, 1, body.len, f) == body.len;

	return f != NULL && fclose(f) == 0 && ok;
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void      (*run)(void);
	} rows[] = {
		{ "json reader alone", run_json },
		{ "scan alone", run_scan },
		{ "scan with objects", run_objects },
		{ "sha256 alone", run_hash },
		{ "scan and sha256 in one pass", run_scan_and_hash },
		{ "semantic digest", run_meaning },
	};
	double rate[ARRAY_LEN(rows)][BENCH_ROUNDS];
	double hash = 0, both = 0;

	if (crypto_init(NULL) != ERR_OK)
		return 1;
	make_body();
	if (argc > 1 && !write_body(argv[1])) {
		perror(argv[1]);
		return 1;
	}
	printf("state\t%.1f\tMB\n", (double)body.len / 1e6);
	/* Round by round, so that a disturbance meets every row. */
	for (int round = 0; round < BENCH_ROUNDS; round++)
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			double begin = now();

			rows[i].run();
			rate[i][round] = (double)body.len / 1e6 / (now() - begin);
		}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		qsort(rate[i], BENCH_ROUNDS, sizeof(double), cmp_double);
		printf("%s\t%.0f\tMB/s\n", rows[i].name, rate[i][BENCH_ROUNDS / 2]);
		if (rows[i].run == run_hash)
			hash = rate[i][BENCH_ROUNDS / 2];
		if (rows[i].run == run_scan_and_hash)
			both = rate[i][BENCH_ROUNDS / 2];
	}
	printf("one pass as a share of the hash alone\t%.0f\t%%\n", 100 * both / hash);
	buf_free(&body);
	return 0;
}
