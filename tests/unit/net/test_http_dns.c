/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http_client_rig.h"

/*
 * Name servers that do not answer must not stop the loop. libcurl looks names up by
 * getaddrinfo() in threads of its own; the one below takes its place, and hangs for names in ".hang".
 */
#define HANG_S 20

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  changed = PTHREAD_COND_INITIALIZER;
static bool            released;
static unsigned        lookups, hanging, most_hanging;

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	static int    (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	bool            is_here = strstr(name, ".here") != NULL;
	int             rc = EAI_NONAME;
	struct timespec give_up;

	pthread_mutex_lock(&lock);
	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	lookups++;
	if (strstr(name, ".hang") != NULL) {
		if (++hanging > most_hanging)
			most_hanging = hanging;
		clock_gettime(CLOCK_REALTIME, &give_up);
		give_up.tv_sec += HANG_S;
		while (!released && pthread_cond_timedwait(&changed, &lock, &give_up) != ETIMEDOUT)
			;
		hanging--;
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&lock);
	if (is_here || strcmp(name, "127.0.0.1") == 0)
		rc = real("127.0.0.1", service, hints, ret);
	return rc;
}

static unsigned
count(const unsigned *of)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = *of;
	pthread_mutex_unlock(&lock);
	return n;
}

static void
setup(void)
{
	web_setup();
	pthread_mutex_lock(&lock);
	lookups = most_hanging = 0;
	released = false;
	pthread_mutex_unlock(&lock);
}

static void
teardown(void)
{
	web_teardown();
	pthread_mutex_lock(&lock); /* the threads end before the next test, and before the program */
	released = true;
	pthread_cond_broadcast(&changed);
	while (hanging > 0)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

struct many {
	struct http_response *answers;
	struct err           *outcomes;
	struct op            *all;
	bool                  ended;
};

static void
on_done(struct op *op, void *arg)
{
	struct many *m = arg;

	m->ended = true;
	op_free(op);
}

static bool
is_ended(void *arg)
{
	return ((struct many *)arg)->ended;
}

/* n requests at once to "http://PREFIXi.SUFFIX:port/", i below hosts. */
static void
begin(struct many *m, size_t n, size_t hosts, const char *suffix, unsigned port, int64_t timeout_ms)
{
	struct op **ops = xcalloc(n, sizeof(struct op *));
	char        url[100];

	m->answers = xcalloc(n, sizeof(*m->answers));
	m->outcomes = xcalloc(n, sizeof(*m->outcomes));
	m->ended = false;
	for (size_t i = 0; i < n; i++) {
		struct http_request req = { .method = "DELETE", .url = url, .changing = true,
		    .timeout_ms = timeout_ms };

		snprintf(url, sizeof(url), "http://n%zu.%s:%u/", i % hosts, suffix, port);
		ops[i] = http_request(web.client, &req, &m->answers[i]);
	}
	m->all = op_all(web.loop, ops, n, 0, m->outcomes);
	op_start(m->all, on_done, m);
	free(ops);
}

static void
end(struct many *m, size_t n, enum err_code expect, const char *says)
{
	CHECK(loop_run_until(web.loop, is_ended, m, 30000));
	for (size_t i = 0; i < n; i++) {
		if (m->outcomes[i].code != expect || (expect != ERR_OK && strstr(m->outcomes[i].msg, says) == NULL))
			test_fail(__FILE__, __LINE__, "%zu: %d, \"%s\"", i, (int)m->outcomes[i].code,
			    m->outcomes[i].msg);
		CHECK(m->answers[i].sent == (expect == ERR_OK));
		http_response_free(&m->answers[i]);
	}
	free(m->answers);
	free(m->outcomes);
}

/* A turn that waited for a lookup is as long as that hangs, a turn on a busy machine is not. */
static bool
a_turn_waited(void)
{
	struct loop_delay d;

	loop_delay(web.loop, &d);
	printf("# longest turn %.1f ms\n", d.max_s * 1e3);
	return d.max_s > HANG_S / 2.0;
}

static void
serve_ok(struct raw_conn *c, void *arg)
{
	struct raw_request r;

	(void)arg;
	while (raw_read_request(c, &r)) {
		raw_request_free(&r);
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	}
	raw_request_free(&r);
}

/* 100 requests to one name that hangs: one thread, one timeout, and everybody has an answer. */
static void
one_name_hangs(void)
{
	struct many m;

	setup();
	begin(&m, 100, 1, "hang", 1, 300);
	end(&m, 100, ERR_TIMEOUT, "n0.hang:1: the name was not resolved within ");
	CHECK_U64(count(&most_hanging), 1);
	CHECK(!a_turn_waited());
	begin(&m, 5, 1, "hang", 1, 300); /* refused at once */
	end(&m, 5, ERR_TIMEOUT, "not resolved");
	CHECK_U64(count(&lookups), 1);
	teardown();
}

/* Others are served meanwhile; cancelling a hanging lookup does not wait for it either. */
static void
others_go_on(void)
{
	test_not_under_valgrind("threads at once");

	struct raw_server *s = raw_server_new(serve_ok, NULL);
	struct many        stuck, well;

	setup();
	begin(&stuck, 40, 4, "hang", 1, 20000);
	begin(&well, 100, 2, "here", raw_server_port(s), 5000);
	end(&well, 100, ERR_OK, "");
	CHECK(!stuck.ended);
	CHECK_U64(count(&most_hanging), 4);
	CHECK_U64(count(&lookups), 6); /* one for each name */
	op_cancel(stuck.all);
	end(&stuck, 40, ERR_CANCELLED, "cancelled");
	CHECK(!a_turn_waited());
	raw_server_free(s);
	teardown();
}

static void
never_more_than_eight(void)
{
	struct many m;

	test_not_under_valgrind("threads at once");
	setup();
	begin(&m, 60, 30, "hang", 1, 20000);
	loop_run_until(web.loop, is_ended, &m, 200);
	CHECK_U64(count(&most_hanging), 8);
	op_cancel(m.all);
	end(&m, 60, ERR_CANCELLED, "cancelled");
	CHECK(!a_turn_waited());
	teardown();
}

static void
unknown_name(void)
{
	struct many m;

	setup();
	begin(&m, 30, 1, "nowhere", 80, 5000);
	end(&m, 30, ERR_NETWORK, "n0.nowhere: the name cannot be resolved");
	teardown();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "one name hangs", one_name_hangs }, { "others go on", others_go_on },
		{ "never more than eight", never_more_than_eight },
		{ "unknown name", unknown_name }, { NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
