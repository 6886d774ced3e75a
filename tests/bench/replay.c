/* SPDX-License-Identifier: MIT */
/*
 * replay HOST:PORT REGION FROM TO NAMES LANES STEPS [LANES STEPS]...
 *
 * The bare loop that the agent's first replication is compared with: the same signed requests at the same concurrency, and
 * nothing else (no store, no judgement, no locks that would be waited for). For every name of the file NAMES it sends each stage's STEPS, e.g.
 * "GetObject:from PutObject:to.tflock GetObject:to PutObject:to"; each stage has LANES states under way at once, and hands a
 * state on to the next. What was read "from" is what is put "to". Credentials: REPLAY_ACCESS, REPLAY_SECRET.
 * Prints "requests TAB seconds". An answer of 5xx, or none, ends it with 1.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/time.h"
#include "net/sigv4.h"
#include "net/url.h"

#define STAGES_MAX 4
#define STEPS_MAX  16
#define NAME_LINE  1200
#define LOCK_SUFFIX ".tflock"

struct step {
	const char *method;
	bool        to, lock;    /* which bucket; the lock object beside the state */
};

struct item {
	char      *name;
	struct buf body;
};

struct stage {
	struct step   steps[STEPS_MAX];
	size_t        nsteps, lanes;
	struct item **ready;     /* a queue: each item passes once */
	size_t        head, tail;
};

struct lane {
	struct stage      *stage;
	struct item       *item;
	size_t             step, sent;
	CURL              *easy;
	struct curl_slist *headers;
	struct buf         url, got;
	struct span        body;
};

static struct {
	const char      *host, *region, *from, *to;
	struct sigv4_key key;
	struct sigv4_day day;
	struct item     *items;
	size_t           nitems, nstages, done;
	struct stage     stages[STAGES_MAX];
	CURLM           *multi;
	unsigned long    requests;
} all;

static const char lock_text[] = "{\"ID\":\"00000000-0000-4000-8000-000000000000\",\"Operation\":\"stateferry\",\"Info\":\""
	"the bare loop of the bench; it is as long as the agent's lock is, and it is released a moment later\",\"Who\":"
	"\"stateferry@bench\",\"Version\":\"0.1.0\",\"Created\":\"2026-11-24T12:00:00.000000Z\",\"Path\":\"\"}";

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "replay: %s: %s\n", what, why);
	exit(1);
}

/* ---- one request ---- */

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	buf_put(&((struct lane *)arg)->got, p, size * n);
	return size * n;
}

static size_t
on_read(char *p, size_t size, size_t n, void *arg)
{
	struct lane *l = arg;
	size_t       left = l->body.n - l->sent, give = left < size * n ? left : size * n;

	memcpy(p, l->body.p + l->sent, give);
	l->sent += give;
	return give;
}

static void
add_header(struct lane *l, const char *name, const char *value)
{
	struct buf line;

	buf_init(&line, 0);
	buf_printf(&line, "%s: %s", name, value);
	l->headers = curl_slist_append(l->headers, buf_str(&line));
	buf_free(&line);
}

static void
sign(struct lane *l, const struct step *s)
{
	struct http_header   more[SIGV4_HEADERS_MAX], own[] = { { "if-none-match", (char[]){ "*" } } };
	struct sigv4_request r = { .method = s->method, .host = all.host, .region = all.region, .service = "s3",
		.wall_ms = clock_system.wall_ms(&clock_system), .content_sha256 = true, .headers = own };
	struct digest        d;
	char                 hex[DIGEST_HEX];
	size_t               n;

	r.nheaders = strcmp(s->method, "PUT") == 0;
	sha256_of(l->body.p, l->body.n, &d);
	r.payload_hash = digest_hex(&d, hex);
	r.path = strchr(buf_str(&l->url) + strlen("http://"), '/');
	sigv4_sign(&all.key, &r, more, &n);
	curl_slist_free_all(l->headers);
	l->headers = NULL;
	add_header(l, "expect", "");
	if (r.nheaders > 0)
		add_header(l, own[0].name, own[0].value);
	for (size_t i = 0; i < n; i++) {
		add_header(l, more[i].name, more[i].value);
		free(more[i].value);
	}
}

static void
send_step(struct lane *l)
{
	const struct step *s = &l->stage->steps[l->step];
	bool               put = strcmp(s->method, "PUT") == 0;

	buf_reset(&l->url);
	buf_printf(&l->url, "http://%s/%s/", all.host, s->to ? all.to : all.from);
	url_escape(URL_S3_PATH, span_str(l->item->name), &l->url);
	buf_puts(&l->url, s->lock ? LOCK_SUFFIX : "");
	buf_reset(&l->got);
	l->sent = 0;
	l->body = !put ? span_str("") : s->lock ? span_str(lock_text) : buf_span(&l->item->body);
	sign(l, s);
	curl_easy_reset(l->easy);
	curl_easy_setopt(l->easy, CURLOPT_URL, buf_str(&l->url));
	curl_easy_setopt(l->easy, CURLOPT_PRIVATE, l);
	curl_easy_setopt(l->easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(l->easy, CURLOPT_HTTPHEADER, l->headers);
	curl_easy_setopt(l->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(l->easy, CURLOPT_WRITEDATA, l);
	curl_easy_setopt(l->easy, CURLOPT_NOBODY, strcmp(s->method, "HEAD") == 0 ? 1L : 0L);
	if (put) {
		curl_easy_setopt(l->easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(l->easy, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(l->easy, CURLOPT_READDATA, l);
		curl_easy_setopt(l->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)l->body.n);
	} else if (strcmp(s->method, "DELETE") == 0) {
		curl_easy_setopt(l->easy, CURLOPT_CUSTOMREQUEST, s->method);
	}
	curl_multi_add_handle(all.multi, l->easy);
	all.requests++;
}

/* ---- states go through the stages ---- */

static void
lane_next(struct lane *l)
{
	struct stage *st = l->stage;

	if (l->item == NULL && st->head < st->tail) {
		l->item = st->ready[st->head++];
		l->step = 0;
		send_step(l);
	}
}

static void
answered(struct lane *l, CURLcode how)
{
	const struct step *s = &l->stage->steps[l->step];
	long               status = 0;
	struct stage      *next = l->stage + 1;

	curl_easy_getinfo(l->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_multi_remove_handle(all.multi, l->easy);
	if (how != CURLE_OK || status >= 500 || (status >= 400 && strcmp(s->method, "GET") != 0 && strcmp(s->method, "HEAD") != 0))
		die(buf_str(&l->url), how != CURLE_OK ? curl_easy_strerror(how) : buf_str(&l->got));
	if (!s->to && !s->lock && strcmp(s->method, "GET") == 0) {
		buf_reset(&l->item->body);
		buf_put(&l->item->body, l->got.data, l->got.len);
	}
	if (++l->step < l->stage->nsteps) {
		send_step(l);
		return;
	}
	if (next < all.stages + all.nstages) {
		next->ready[next->tail++] = l->item;
	} else {
		buf_free(&l->item->body);
		all.done++;
	}
	l->item = NULL;
}

static void
run(struct lane *lanes, size_t nlanes)
{
	int running, left;

	while (all.done < all.nitems) {
		CURLMsg *m;

		for (size_t i = 0; i < nlanes; i++)
			lane_next(&lanes[i]);
		curl_multi_perform(all.multi, &running);
		while ((m = curl_multi_info_read(all.multi, &left)) != NULL) {
			char *l;

			curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &l);
			answered((struct lane *)(void *)l, m->data.result);
		}
		for (size_t i = 0; i < nlanes; i++)
			lane_next(&lanes[i]);
		curl_multi_perform(all.multi, &running);
		if (all.done < all.nitems)
			curl_multi_poll(all.multi, NULL, 0, 1000, NULL);
	}
}

/* ---- arguments ---- */

static void
read_step(const char *word, struct step *ret)
{
	static const char *const names[][2] = { { "GetObject", "GET" }, { "HeadObject", "HEAD" }, { "PutObject", "PUT" },
		{ "DeleteObject", "DELETE" } };
	const char *colon = strchr(word, ':');

	for (size_t i = 0; colon != NULL && i < ARRAY_LEN(names); i++)
		if (strncmp(word, names[i][0], (size_t)(colon - word)) == 0)
			ret->method = names[i][1];
	if (ret->method == NULL)
		die(word, "no step");
	ret->to = strncmp(colon + 1, "to", 2) == 0;
	ret->lock = strstr(colon, LOCK_SUFFIX) != NULL;
}

static void
read_stage(char *lanes, char *steps)
{
	struct stage *st = &all.stages[all.nstages++];
	char         *save = NULL;

	st->lanes = strtoul(lanes, NULL, 10);
	st->ready = xcalloc(all.nitems, sizeof(struct item *));
	for (char *w = strtok_r(steps, " ", &save); w != NULL && st->nsteps < STEPS_MAX; w = strtok_r(NULL, " ", &save))
		read_step(w, &st->steps[st->nsteps++]);
	if (st->lanes == 0 || st->nsteps == 0)
		die(lanes, "a stage needs lanes and steps");
}

static void
read_names(const char *path)
{
	FILE  *f = fopen(path, "r");
	char   line[NAME_LINE];
	size_t room = 0;

	if (f == NULL)
		die(path, "cannot be read");
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = 0;
		if (all.nitems == room) {
			room = room == 0 ? 1024 : 2 * room;
			all.items = xrealloc(all.items, room * sizeof(struct item));
		}
		all.items[all.nitems].name = xstrdup(line);
		buf_init(&all.items[all.nitems++].body, 0);
	}
	fclose(f);
}

static struct lane *
make_lanes(size_t *ret_n)
{
	struct lane *lanes;
	size_t       n = 0;

	for (size_t i = 0; i < all.nstages; i++)
		n += all.stages[i].lanes;
	lanes = xcalloc(n, sizeof(*lanes));
	*ret_n = n;
	for (size_t i = 0; i < all.nstages; i++)
		for (size_t k = 0; k < all.stages[i].lanes; k++) {
			struct lane *l = &lanes[--n];

			l->stage = &all.stages[i];
			l->easy = curl_easy_init();
			buf_init(&l->url, 0);
			buf_init(&l->got, 0);
		}
	return lanes;
}

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	const char  *access = getenv("REPLAY_ACCESS"), *secret = getenv("REPLAY_SECRET");
	struct lane *lanes;
	size_t       nlanes;
	double       begun;

	if (argc < 8 || argc % 2 != 0 || argc > 6 + 2 * STAGES_MAX || access == NULL || secret == NULL)
		die("arguments", "HOST:PORT REGION FROM TO NAMES LANES STEPS [LANES STEPS]..., REPLAY_ACCESS, REPLAY_SECRET");
	if (crypto_init(NULL) != ERR_OK || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		die("libraries", "refuse");
	all.host = argv[1], all.region = argv[2], all.from = argv[3], all.to = argv[4];
	all.key = (struct sigv4_key){ .access_key = access, .secret_key = secret_new(span_str(secret)), .day = &all.day };
	read_names(argv[5]);
	for (int i = 6; i < argc; i += 2)
		read_stage(argv[i], argv[i + 1]);
	for (size_t i = 0; i < all.nitems; i++)
		all.stages[0].ready[all.stages[0].tail++] = &all.items[i];
	all.multi = curl_multi_init();
	lanes = make_lanes(&nlanes);
	curl_multi_setopt(all.multi, CURLMOPT_MAXCONNECTS, (long)nlanes);
	begun = now_s();
	run(lanes, nlanes);
	printf("%lu\t%.4f\n", all.requests, now_s() - begun);
	return 0;
}
