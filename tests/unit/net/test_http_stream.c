/* SPDX-License-Identifier: MIT */
#include "http_client_rig.h"

/* The curl client under load: large bodies, piece by piece or to a file, and many requests at once. */

struct sink {
	size_t     n, largest, turn, refuse_at;
	struct op *cancel;
};

static enum err_code
take(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct sink *k = arg;

	(void)p;
	k->n += n;
	k->turn += n;
	if (n > k->largest)
		k->largest = n;
	if (k->refuse_at > 0 && k->n >= k->refuse_at)
		return err_set(reterr, ERR_CORRUPT, 5, "not what I want");
	if (k->cancel != NULL)
		op_cancel(k->cancel);
	return ERR_OK;
}

static void
streams(void)
{
	struct fixed        f = { "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n", 5000000, false };
	struct raw_server  *s = raw_server_new(serve_fixed, &f);
	struct sink         k = { 0 };
	struct http_request req = { .method = "GET", .url = web_url(raw_server_port(s), "/"), .on_body = take,
	    .on_body_arg = &k,
		.max_body = 5000000 };

	web_setup();
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_OK);
	CHECK(k.n == 5000000 && k.largest <= 65536 && web.answer.body == NULL && web.answer.body_size == 5000000);
	k = (struct sink){ .refuse_at = 100000 };
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_CORRUPT);
	CHECK_STR(web.outcome.msg, "not what I want");
	CHECK(k.n >= 100000 && k.n < 200000);
	k = (struct sink){ 0 };
	k.cancel = web_begin(&req); /* from inside libcurl */
	CHECK_U64(web_finish(), ERR_CANCELLED);
	CHECK(k.n < 1000000);
	raw_server_free(s);

	f = (struct fixed){ "HTTP/1.1 404 No\r\nContent-Length: 500\r\n\r\n", 500, false };
	s = raw_server_new(serve_fixed, &f);
	req.url = web_url(raw_server_port(s), "/");
	k = (struct sink){ 0 };
	web_begin(&req);
	CHECK_U64(web_finish(), ERR_OK);
	CHECK(k.n == 0 && body_size(web.answer.body) == 500);
	raw_server_free(s);
	web_teardown();
}

/* However fast the peer sends: the loop turns between bites. */
static void
bites(void)
{
	struct fixed        f = { "HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n", 30000000, false };
	struct raw_server  *s = raw_server_new(serve_fixed, &f);
	struct sink         k = { 0 };
	size_t              most = 0;
	struct http_request req = { .method = "GET", .url = web_url(raw_server_port(s), "/"), .on_body = take,
	    .on_body_arg = &k,
		.max_body = 30000000 };

	web_setup();
	web_begin(&req);
	while (!web.ended) {
		usleep(300); /* the socket is always full */
		k.turn = 0;
		loop_turn(web.loop, true);
		if (k.turn > most)
			most = k.turn;
	}
	CHECK(web.outcome.code == ERR_OK && k.n == 30000000);
	printf("# most in one turn: %zu bytes\n", most);
	CHECK(most < 800000);
	raw_server_free(s);
	web_teardown();
}

/* --- spooling --- */

static bool
all_x(const struct body *b)
{
	char   piece[65536];
	size_t n = 0;

	for (uint64_t at = 0; at < body_size(b); at += n) {
		CHECK_OK(body_read(b, at, piece, sizeof(piece), &n, &web.e), web.e);
		for (size_t i = 0; i < n; i++)
			if (piece[i] != 'x')
				return false;
	}
	return true;
}

static void
check_spool(bool chunked, size_t n, bool in_file)
{
	char                head[100];
	struct fixed        f = { head, n, chunked };
	struct raw_server  *s;
	struct http_request req = { .method = "GET", .spool = true, .max_body = n };
	struct loop_delay   d;

	web_setup();
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n%s%zu\r\n\r\n", chunked
	    ? "Transfer-Encoding: chunked\r\nX-Size: " : "Content-Length: ", n);
	s = raw_server_new(serve_fixed, &f);
	req.url = web_url(raw_server_port(s), "/");
	web_begin(&req);
	CHECK_OK(web_finish(), web.outcome);
	CHECK_U64(body_size(web.answer.body), n);
	CHECK_U64(web.answer.body_size, n);
	CHECK(body_in_memory(web.answer.body) == !in_file);
	CHECK(all_x(web.answer.body));
	loop_delay(web.loop, &d);
	printf("# %s%zu bytes: longest turn %.1f ms\n", chunked ? "chunked " : "", n, d.max_s * 1e3);
	raw_server_free(s);
	web_teardown();
}

static void
spooled(void)
{
	check_spool(false, (size_t)BODY_SPOOL_ABOVE, false);
	check_spool(false, (size_t)BODY_SPOOL_ABOVE + 1, true);
	check_spool(false, 60000000, true);
	check_spool(true, (size_t)BODY_SPOOL_ABOVE, false);
	check_spool(true, (size_t)BODY_SPOOL_ABOVE + 1, true);
}

static void
spool_fails(void)
{
	struct fixed        f = { "HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n", 60000000, false };
	struct raw_server  *s = raw_server_new(serve_fixed, &f);
	struct http_request req = { .method = "GET", .url = web_url(raw_server_port(s), "/"), .spool = true,
	    .max_body = 60000000 };
	struct http_client *lost;
	struct op          *op;

	web_setup();
	CHECK_OK(http_client_curl(web.loop, web.work, "/nonexistent/folder", &lost, &web.e), web.e);
	http_response_free(&web.answer);
	op = http_request(lost, &req, &web.answer);
	web_start(op);
	CHECK_U64(web_finish(), ERR_IO);
	CHECK(strstr(web.outcome.msg, "cannot spool a body in /nonexistent/folder: No such file") != NULL);
	http_client_free(lost);
	raw_server_free(s);
	web_teardown();
}

static void
cancel_while_spooling(void)
{
	struct fixed        f = { "HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n", 60000000, false };
	struct raw_server  *s = raw_server_new(serve_fixed, &f);
	struct http_request req = { .method = "GET", .url = web_url(raw_server_port(s), "/"), .spool = true,
	    .max_body = 60000000 };

	web_setup();
	for (unsigned turns = 1; turns < 600; turns += 61) {
		struct op *op = web_begin(&req);

		for (unsigned i = 0; i < turns && !web.ended; i++)
			loop_turn(web.loop, true);
		if (!web.ended)
			op_cancel(op);
		web_finish();
		CHECK(web.outcome.code == ERR_CANCELLED || web.outcome.code == ERR_OK);
	}
	raw_server_free(s);
	web_teardown();
}

/* --- many at once --- */

struct gauge {
	atomic_int now, most;
};

static void
serve_slow(struct raw_conn *c, void *arg)
{
	struct gauge      *g = arg;
	struct raw_request r;

	while (raw_read_request(c, &r)) {
		int now = atomic_fetch_add(&g->now, 1) + 1, most = atomic_load(&g->most);

		raw_request_free(&r);
		while (now > most && !atomic_compare_exchange_weak(&g->most, &most, now))
			;
		usleep(2000);
		atomic_fetch_sub(&g->now, 1);
		raw_print(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	}
	raw_request_free(&r);
}

#define MANY 600

static void
many(void)
{
	test_not_under_valgrind("threads at once");

	struct gauge          g[2] = { { 0 }, { 0 } };
	struct raw_server    *s[2] = { raw_server_new(serve_slow, &g[0]), raw_server_new(serve_slow, &g[1]) };
	struct op            *ops[MANY];
	struct http_response *answers = calloc(MANY, sizeof(*answers));
	struct op            *all;

	web_setup();
	for (size_t i = 0; i < MANY; i++) {
		struct http_request req = { .method = "GET", .url = web_url(raw_server_port(s[i % 2]), "/") };

		ops[i] = http_request(web.client, &req, &answers[i]);
	}
	all = op_all(web.loop, ops, MANY, 0, NULL);
	web_start(all);
	CHECK_OK(web_finish(), web.outcome);
	for (size_t i = 0; i < MANY; i++) {
		CHECK_U64((uint64_t)answers[i].status, 200);
		http_response_free(&answers[i]);
	}
	free(answers);
	for (size_t i = 0; i < 2; i++) {
		CHECK(atomic_load(&g[i].most) > HTTP_PER_HOST_MAX / 2 && atomic_load(&g[i].most) <= HTTP_PER_HOST_MAX);
		CHECK(raw_server_connections(s[i]) <= HTTP_PER_HOST_MAX + 1);
		raw_server_free(s[i]);
	}
	CHECK_U64(web.client->requests, MANY);
	web_teardown();
}

/* Cancelled in the middle, waiting or not: each op ends once, and nothing is left. */
static void
many_cancelled(void)
{
	struct gauge          g = { 0 };
	struct raw_server    *s = raw_server_new(serve_slow, &g);
	struct op            *ops[MANY];
	struct http_response *answers = calloc(MANY, sizeof(*answers));
	struct op            *all;

	web_setup();
	for (size_t i = 0; i < MANY; i++) {
		struct http_request req = { .method = "DELETE", .url = web_url(raw_server_port(s), "/"),
		    .changing = true };

		ops[i] = http_request(web.client, &req, &answers[i]);
	}
	all = op_all(web.loop, ops, MANY, 0, NULL);
	web_start(all);
	loop_run_until(web.loop, web_ended, NULL, 30);
	op_cancel(all);
	CHECK(web_finish() != ERR_OK);
	for (size_t i = 0; i < MANY; i++)
		http_response_free(&answers[i]);
	free(answers);
	raw_server_free(s);
	web_teardown();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "streams", streams }, { "bites", bites }, { "spooled bodies", spooled },
		{ "a spool that fails", spool_fails }, { "cancel while spooling", cancel_while_spooling },
		{ "many at once", many }, { "many cancelled", many_cancelled },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
