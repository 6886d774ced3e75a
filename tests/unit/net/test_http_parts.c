/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/test.h"
#include "base/mem.h"
#include "net/http_ca.h"
#include "net/http_client.h"
#include "net/http_queue.h"

/* What the curl client is made of, each for itself: the queue, and where certificates are found. */
static struct loop      *loop;
static struct http_queue queue;
static unsigned          kicks;

static void
on_kick(void *arg)
{
	(void)arg;
	kicks++;
}

static void
setup(void)
{
	loop = loop_new_virtual(1, 0);
	http_queue_init(&queue, loop, on_kick, NULL);
	kicks = 0;
}

static void
teardown(void)
{
	http_queue_free(&queue);
	loop_free(loop);
}

static void
pass(int64_t ms)
{
	struct timer t;

	timer_init(&t, loop, on_kick, NULL);
	timer_set(&t, ms);
	while (timer_pending(&t))
		loop_turn(loop, false);
	kicks--; /* ours */
}

static unsigned
start_all(void)
{
	unsigned n = 0;

	while (http_queue_next(&queue) != NULL)
		n++;
	return n;
}

#define MANY 200

static void
queue_limits(void)
{
	struct http_slot s[MANY], *first;
	char             host[20];

	setup();
	memset(s, 0, sizeof(s));
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(host, sizeof(host), "10.0.0.%u", i % 2 == 0 ? 0 : i % 10);
		http_queue_add(&queue, &s[i], host, false);
	}
	first = http_queue_next(&queue);
	CHECK(first == &s[0]);
	CHECK(http_queue_next(&queue) != &s[2]); /* the next host's turn */
	CHECK_U64(start_all() + 2, HTTP_TRANSFERS_MAX);
	http_queue_remove(&queue, &s[0]);
	CHECK_U64(start_all(), 1);
	for (unsigned i = 0; i < MANY; i++)
		http_queue_remove(&queue, &s[i]);
	CHECK(queue.active == 0 && queue.waiting == 0);

	for (unsigned i = 0; i < MANY; i++)
		http_queue_add(&queue, &s[i], "10.0.0.1", false);
	CHECK_U64(start_all(), HTTP_PER_HOST_MAX);
	for (unsigned i = 0; i < MANY; i++)
		http_queue_remove(&queue, &s[i]);
	teardown();
}

/* One looks up, the others wait for it. */
static void
queue_lookup(void)
{
	struct http_slot s[MANY], *first;

	setup();
	memset(s, 0, sizeof(s));
	for (unsigned i = 0; i < MANY; i++)
		http_queue_add(&queue, &s[i], "a.example", true);
	first = http_queue_next(&queue);
	CHECK(first == &s[0] && http_queue_looking(first) && http_queue_next(&queue) == NULL);
	http_queue_connected(&queue, first, true);
	CHECK(!http_queue_looking(first));
	CHECK_U64(start_all() + 1, HTTP_PER_HOST_MAX);
	for (unsigned i = 0; i < HTTP_PER_HOST_MAX; i++)
		http_queue_remove(&queue, &s[i]);
	pass(HTTP_KNOWN_MS);
	CHECK_U64(start_all(), 1); /* it may have moved: again only one */
	CHECK_U64(queue.lookups, 1);
	for (unsigned i = 0; i < MANY; i++)
		http_queue_remove(&queue, &s[i]);
	CHECK_U64(queue.lookups, 0);
	teardown();
}

static void
queue_lookup_fails(void)
{
	struct http_slot s[4] = { { 0 } }, late = { 0 };
	struct err       e, got;

	setup();
	for (unsigned i = 0; i < 3; i++)
		http_queue_add(&queue, &s[i], "a.example", true);
	http_queue_add(&queue, &s[3], "b.example", true);
	CHECK_U64(start_all(), 2);
	err_set(&e, ERR_NETWORK, 6, "no such name");
	http_queue_lost(&queue, &s[0], &e, false);
	http_queue_remove(&queue, &s[0]);
	CHECK(http_queue_refused(&queue, &got) == &s[1] && strcmp(got.msg, "no such name") == 0);
	CHECK(http_queue_refused(&queue, &got) == &s[2] && http_queue_refused(&queue, &got) == NULL);
	http_queue_add(&queue, &late, "a.example", true); /* asked for later: a new lookup */
	CHECK(http_queue_next(&queue) == &late);
	http_queue_remove(&queue, &late);
	http_queue_remove(&queue, &s[3]);
	teardown();
}

/* Lookups that hang hold their threads: eight, then others wait until one is surely over. */
static void
queue_lookups_hang(void)
{
	struct http_slot s[HTTP_LOOKUPS_MAX], more = { 0 }, same = { 0 };
	struct err       e, got;
	char             host[20];

	setup();
	memset(s, 0, sizeof(s));
	err_set(&e, ERR_TIMEOUT, 28, "no answer");
	for (unsigned i = 0; i < HTTP_LOOKUPS_MAX; i++) {
		snprintf(host, sizeof(host), "%u.example", i);
		http_queue_add(&queue, &s[i], host, true);
	}
	http_queue_add(&queue, &more, "more.example", true);
	CHECK_U64(start_all(), HTTP_LOOKUPS_MAX);
	for (unsigned i = 0; i < HTTP_LOOKUPS_MAX; i++) {
		http_queue_lost(&queue, &s[i], &e, true);
		http_queue_remove(&queue, &s[i]);
	}
	CHECK(http_queue_next(&queue) == NULL);
	http_queue_add(&queue, &same, "0.example", true); /* refused without trying */
	CHECK(http_queue_refused(&queue, &got) == &same && got.code == ERR_TIMEOUT);
	pass(HTTP_HANGING_MS - 1);
	CHECK(kicks == 0 && http_queue_next(&queue) == NULL);
	pass(1);
	CHECK(kicks == 1 && http_queue_next(&queue) == &more);
	http_queue_remove(&queue, &more);
	http_queue_add(&queue, &same, "0.example", true);
	CHECK(http_queue_next(&queue) == &same);
	http_queue_remove(&queue, &same);
	teardown();
}

static void
queue_forgets_hosts(void)
{
	struct http_slot s = { 0 };
	char             host[20];

	setup();
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(host, sizeof(host), "%u.example", i);
		http_queue_add(&queue, &s, host, true);
		CHECK(http_queue_next(&queue) == &s);
		http_queue_remove(&queue, &s);
		CHECK(queue.nhosts <= HTTP_HOSTS_MAX);
	}
	teardown();
}

/* --- certificates --- */

static const char *
file_with(const char *name, const char *text)
{
	static char path[300];
	FILE       *f;

	snprintf(path, sizeof(path), "%s/%s", test_tmpdir(), name);
	f = fopen(path, "w");
	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
	return path;
}

#define ONE "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"

static bool
chooses_dir(const char *bundle, const char *dir)
{
	struct http_ca ca;
	bool           is;

	http_ca_choose(bundle, dir, &ca);
	is = ca.dir != NULL;
	CHECK(is ? strcmp(ca.dir, dir) == 0 && ca.file == NULL : strcmp(ca.file, bundle) == 0);
	http_ca_free(&ca);
	return is;
}

static void
certificates(void)
{
	char  dir[300], bundle[300];
	char *target;

	snprintf(dir, sizeof(dir), "%s/hashed", test_tmpdir());
	CHECK(mkdir(dir, 0700) == 0);
	snprintf(bundle, sizeof(bundle), "%s", file_with("bundle.pem", "# roots\n" ONE "\n" ONE));
	CHECK(!chooses_dir(bundle, dir));
	CHECK(!chooses_dir(bundle, "/nonexistent"));
	file_with("hashed/0a1b2c3d.0", ONE);
	file_with("hashed/readable.pem", ONE);
	CHECK(!chooses_dir(bundle, dir)); /* one of two is missing */
	target = xasprintf("%s/hashed/0a1b2c3e.10", test_tmpdir());
	CHECK(symlink("gone.pem", target) == 0);
	CHECK(!chooses_dir(bundle, dir)); /* a link to nothing */
	file_with("hashed/gone.pem", ONE);
	CHECK(chooses_dir(bundle, dir));
	file_with("bundle.pem", "no certificates");
	CHECK(!chooses_dir(bundle, dir));
	free(target);
}

static void
environment(void)
{
	struct http_ca ca;

	unsetenv("SSL_CERT_DIR");
	setenv("SSL_CERT_FILE", "/a.pem", 1);
	setenv("CURL_CA_BUNDLE", "", 1); /* empty is as if unset */
	http_ca_find(&ca);
	CHECK(strcmp(ca.file, "/a.pem") == 0 && ca.dir == NULL);
	http_ca_free(&ca);
	setenv("CURL_CA_BUNDLE", "/b.pem", 1);
	http_ca_find(&ca);
	CHECK(strcmp(ca.file, "/b.pem") == 0 && ca.dir == NULL);
	http_ca_free(&ca);
	unsetenv("CURL_CA_BUNDLE");
	unsetenv("SSL_CERT_FILE");
	setenv("SSL_CERT_DIR", "/d", 1);
	http_ca_find(&ca);
	CHECK(ca.file == NULL && strcmp(ca.dir, "/d") == 0);
	http_ca_free(&ca);
	unsetenv("SSL_CERT_DIR");
	http_ca_find(&ca);
	CHECK(ca.file == NULL || ca.dir == NULL);
	http_ca_free(&ca);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "queue: limits", queue_limits }, { "queue: one lookup per host", queue_lookup },
		{ "queue: a lookup fails", queue_lookup_fails }, { "queue: lookups hang", queue_lookups_hang },
		{ "queue: hosts are forgotten", queue_forgets_hosts },
		{ "certificates: bundle or folder", certificates },
		{ "certificates: environment", environment }, { NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
