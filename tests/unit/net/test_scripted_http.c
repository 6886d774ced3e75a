/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/scripted_http.h"
#include "../../lib/test.h"
#include "base/mem.h"

/* The twin keeps what net/http_client.h promises, in virtual time. */
static struct loop          *loop;
static struct scripted_http *script;
static struct http_response  answer;
static struct err            outcome;
static bool                  ended;

static void
setup(void)
{
	loop = loop_new_virtual(7, 1000000);
	script = scripted_http_new(loop);
	http_response_init(&answer);
}

static void
teardown(void)
{
	http_response_free(&answer);
	scripted_http_free(script);
	loop_free(loop);
}

static void
on_done(struct op *op, void *arg)
{
	(void)arg;
	outcome = op->err;
	ended = true;
	op_free(op);
}

static bool
is_ended(void *arg)
{
	(void)arg;
	return ended;
}

static struct op *
begin(const struct http_request *req)
{
	struct op *op;

	http_response_free(&answer);
	op = http_request(scripted_http_client(script), req, &answer);
	ended = false;
	op_start(op, on_done, NULL);
	return op;
}

static enum err_code
finish(void)
{
	CHECK(loop_run_until(loop, is_ended, NULL, 24 * 3600 * 1000));
	return outcome.code;
}

static enum err_code
ask(const char *method, const char *url, bool changing)
{
	struct http_request req = { .method = method, .url = url, .changing = changing, .timeout_ms = 5000 };

	begin(&req);
	return finish();
}

static void
expectations(void)
{
	setup();
	scripted_expect(script, "GET", "https://h/b?x=1", 200, "ETag: \"a\"\nDate: Tue, 24 Nov 2026 10:00:00 GMT",
	    "body")->delay_ms = 30;
	scripted_expect(script, "PUT", "/b", 412, NULL, NULL);
	CHECK_U64(ask("GET", "https://h/b?x=1", false), ERR_OK);
	CHECK_U64((uint64_t)answer.status, 200);
	CHECK_STR(http_header_get(&answer, "etag"), "\"a\"");
	CHECK_STR(http_header_get(&answer, "content-length"), "4");
	CHECK(answer.body != NULL && span_is(body_span(answer.body), "body") && answer.body_size == 4);
	CHECK(answer.date_ms == INT64_C(1795514400000) && answer.sent);
	CHECK_U64((uint64_t)loop_now(loop), 30);
	CHECK_U64(ask("PUT", "https://h/b", true), ERR_OK);
	CHECK_U64((uint64_t)answer.status, 412);
	CHECK(answer.body == NULL);
	scripted_http_check(script);
	CHECK_STR(scripted_http_trace(script),
	    "30 ms #1 GET https://h/b?x=1 0 -> 200 4\n30 ms #2 PUT https://h/b 0 -> 412 0\n");
	CHECK_U64(scripted_http_client(script)->requests, 2);
	CHECK_U64(scripted_http_client(script)->failures, 0);
	teardown();
}

/* A one-object server. */
struct store {
	struct buf bytes;
	unsigned   puts;
};

static void
serve(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	struct store *s = arg;
	char         *name = scripted_query(rq, "na me");

	CHECK_STR(rq->at.path, "/o");
	CHECK_STR(name, "v=1&");
	free(name);
	ret->status = 200;
	if (strcmp(rq->method, "PUT") == 0) {
		CHECK_STR(scripted_header(rq, "x-a"), "b");
		s->puts++;
		buf_reset(&s->bytes);
		buf_put(&s->bytes, rq->body.p, rq->body.n);
	} else {
		scripted_set_body(ret, buf_span(&s->bytes));
	}
	scripted_add_header(ret, "X-Puts", "%u", s->puts);
}

#define URL "http://h/o?a=1&na%20me=v%3D1%26"

static enum err_code
put(const char *text)
{
	char                value[] = "b";
	struct http_header  h = { "X-A", value };
	struct http_request req = { .method = "PUT", .url = URL, .headers = &h, .nheaders = 1, .changing = true,
	    .timeout_ms = 5000,
		.body = body_copy(span_str(text)) };

	begin(&req);
	body_unref(req.body);
	return finish();
}

static void
handler(void)
{
	struct store s = { .puts = 0 };

	setup();
	buf_init(&s.bytes, 0);
	scripted_handle(script, serve, &s);
	CHECK_U64(put("one"), ERR_OK);
	CHECK_STR(http_header_get(&answer, "x-puts"), "1");
	CHECK_U64(ask("GET", URL, false), ERR_OK);
	CHECK(span_is(body_span(answer.body), "one"));
	buf_free(&s.bytes);
	teardown();
}

/* fault -> code of a GET, code of a PUT, is it applied, after how long */
static const struct {
	enum scripted_fault fault;
	enum err_code       get, put;
	unsigned            applied;
	int64_t             ms;
} matrix[] = {
	{ SCRIPTED_OK, ERR_OK, ERR_OK, 1, 0 },
	{ SCRIPTED_LOST_BEFORE, ERR_NETWORK, ERR_NETWORK, 0, 0 },
	{ SCRIPTED_LOST_REQUEST, ERR_NETWORK, ERR_UNCERTAIN, 0, 0 },
	{ SCRIPTED_LOST_ANSWER, ERR_NETWORK, ERR_UNCERTAIN, 1, 0 },
	{ SCRIPTED_TIMEOUT, ERR_TIMEOUT, ERR_UNCERTAIN, 0, 5000 },
	{ SCRIPTED_TIMEOUT_APPLIED, ERR_TIMEOUT, ERR_UNCERTAIN, 1, 5000 },
	{ SCRIPTED_LATE, ERR_NETWORK, ERR_UNCERTAIN, 0, 0 },
	{ SCRIPTED_CUT, ERR_NETWORK, ERR_UNCERTAIN, 1, 0 },
	{ SCRIPTED_BUSY, ERR_OK, ERR_OK, 0, 0 },
};

static void
faults(void)
{
	struct store s = { .puts = 0 };

	for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
		int64_t before;

		setup();
		buf_init(&s.bytes, 0);
		buf_puts(&s.bytes, "old");
		s.puts = 0;
		scripted_handle(script, serve, &s);
		scripted_fail(script, 1, matrix[i].fault);
		scripted_fail(script, 2, matrix[i].fault);
		CHECK_U64(ask("GET", URL, false), matrix[i].get);
		before = loop_now(loop);
		CHECK_U64(put("new"), matrix[i].put);
		CHECK_U64((uint64_t)(loop_now(loop) - before), (uint64_t)matrix[i].ms);
		CHECK_U64(s.puts, matrix[i].applied);
		CHECK(answer.sent == (matrix[i].fault != SCRIPTED_LOST_BEFORE));
		if (matrix[i].fault == SCRIPTED_BUSY)
			CHECK(answer.status == 503 && answer.retry_after_ms == 1000);
		if (outcome.code == ERR_UNCERTAIN)
			CHECK(strstr(outcome.msg, "h: ") == outcome.msg &&
			    strstr(outcome.msg, "may have been carried out") != NULL);
		while (loop_turn(loop, false))
			;
		CHECK_U64(s.puts, matrix[i].applied || matrix[i].fault == SCRIPTED_LATE);
		buf_free(&s.bytes);
		teardown();
	}
}

/* Cancelled after n turns, whatever those are: either nothing happened, or it is uncertain. */
static void
cancels(void)
{
	struct store s = { .puts = 0 };
	bool         unsent = false, sent = false;

	for (unsigned turns = 0; turns < 8; turns++) {
		struct http_request req = { .method = "DELETE", .url = URL, .changing = true };
		struct op          *op;

		setup();
		buf_init(&s.bytes, 0);
		scripted_handle(script, serve, &s);
		scripted_latency(script, 10, 20, turns);
		op = begin(&req);
		for (unsigned i = 0; i < turns; i++)
			loop_turn(loop, false);
		if (!ended)
			op_cancel(op);
		finish();
		if (outcome.code == ERR_CANCELLED) {
			CHECK(!answer.sent);
			unsent = true;
		} else if (outcome.code == ERR_UNCERTAIN) {
			CHECK(answer.sent);
			sent = true;
		} else {
			CHECK_U64(outcome.code, ERR_OK);
		}
		while (loop_turn(loop, false))
			;
		CHECK_U64(scripted_http_arrived(script), outcome.code != ERR_CANCELLED);
		buf_free(&s.bytes);
		teardown();
	}
	CHECK(unsent && sent);
}

/* --- bodies --- */

struct sink {
	struct buf bytes;
	size_t     largest, refuse_at;
	struct op *cancel;
};

static enum err_code
take(void *arg, const void *p, size_t n, struct err *reterr)
{
	struct sink *s = arg;

	if (n > s->largest)
		s->largest = n;
	buf_put(&s->bytes, p, n);
	if (s->refuse_at > 0 && s->bytes.len >= s->refuse_at)
		return err_set(reterr, ERR_CORRUPT, 1, "not what I want");
	if (s->cancel != NULL)
		op_cancel(s->cancel);
	return ERR_OK;
}

static void
big(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	size_t     n = *(size_t *)arg;
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < n; i++)
		buf_putc(&b, (char)('a' + i % 26));
	ret->status = strcmp(rq->method, "POST") == 0 ? 500 : 200;
	ret->body = body_new(&b);
}

static enum err_code
stream(const char *method, struct sink *k, uint64_t max)
{
	struct http_request req = { .method = method, .url = "http://h/", .on_body = take, .on_body_arg = k,
	    .max_body = max };
	struct op          *op = begin(&req);

	if (k->cancel != NULL)
		k->cancel = op;
	return finish();
}

static void
streams(void)
{
	struct sink k = { .largest = 0 };
	size_t      n = 300000;

	setup();
	buf_init(&k.bytes, 0);
	scripted_handle(script, big, &n);
	CHECK_U64(stream("GET", &k, 300000), ERR_OK);
	CHECK(k.bytes.len == n && k.largest == 65536 && answer.body == NULL && answer.body_size == n &&
	    k.bytes.data[n - 1] == 'a' + (n - 1) % 26);
	buf_reset(&k.bytes);
	CHECK_U64(stream("POST", &k, 300000), ERR_OK); /* not 200: into the answer */
	CHECK(k.bytes.len == 0 && answer.status == 500 && body_size(answer.body) == n);
	CHECK_U64(stream("GET", &k, 299999), ERR_UNSUPPORTED);
	CHECK(strstr(outcome.msg, "larger than 299999 bytes") != NULL && k.bytes.len == 0);
	k.refuse_at = 100000;
	CHECK_U64(stream("GET", &k, 300000), ERR_CORRUPT);
	CHECK_STR(outcome.msg, "not what I want");
	CHECK(k.bytes.len == 131072);
	buf_reset(&k.bytes);
	k.refuse_at = 0;
	k.cancel = (struct op *)&k;
	CHECK_U64(stream("GET", &k, 300000), ERR_CANCELLED);
	CHECK(k.bytes.len == 65536);
	n = 10; /* a cancel in the last piece: the answer is complete */
	CHECK_U64(stream("GET", &k, 300000), ERR_OK);
	buf_free(&k.bytes);
	teardown();
}

static void
spooled(void)
{
	struct http_request req = { .method = "GET", .url = "http://h/", .spool = true, .max_body = 1 << 20 };
	size_t              n = 5000;

	setup();
	scripted_handle(script, big, &n);
	scripted_spool_above(script, 5000);
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	CHECK(body_in_memory(answer.body));
	n = 5001;
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	CHECK(!body_in_memory(answer.body) && body_size(answer.body) == 5001);
	teardown();
}

/* A tap sees what the answer's body gets as well, in memory or in a file; what it refuses ends the request. */
static void
taps(void)
{
	struct sink         k = { .largest = 0 };
	struct http_request req = { .method = "GET", .url = "http://h/", .on_body = take, .on_body_arg = &k,
	    .keep = true, .spool = true,
		.max_body = 300000 };
	size_t              n = 200000;

	setup();
	buf_init(&k.bytes, 0);
	scripted_handle(script, big, &n);
	scripted_spool_above(script, 250000);
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	CHECK(k.largest == 65536 && body_in_memory(answer.body) && span_eq(body_span(answer.body), buf_span(&k.bytes)));
	CHECK_U64(answer.body_size, n);
	n = 300000;
	buf_reset(&k.bytes);
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	CHECK(!body_in_memory(answer.body) && body_size(answer.body) == n && k.bytes.len == n);
	buf_reset(&k.bytes);
	k.refuse_at = 100000;
	begin(&req);
	CHECK_U64(finish(), ERR_CORRUPT);
	CHECK(k.bytes.len == 131072 && answer.body == NULL);
	k.refuse_at = 0;
	n = 300001;
	begin(&req);
	CHECK_U64(finish(), ERR_UNSUPPORTED);
	req.method = "POST"; /* 500: not the tap's */
	n = 300000;
	buf_reset(&k.bytes);
	begin(&req);
	CHECK_U64(finish(), ERR_OK);
	CHECK(k.bytes.len == 0 && body_size(answer.body) == n);
	buf_free(&k.bytes);
	teardown();
}

static void
limits(void)
{
	struct scripted_answer *a;
	char                    large[2000];

	setup();
	a = scripted_expect(script, "GET", "/", 200, NULL, NULL);
	for (unsigned i = 0; i < HTTP_HEADERS_MAX; i++)
		scripted_add_header(a, "x", "%u", i);
	CHECK_U64(ask("GET", "http://h/", false), ERR_UNSUPPORTED);
	CHECK(strstr(outcome.msg, "more than 64 headers") != NULL);
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	a = scripted_expect(script, "PUT", "/", 200, NULL, NULL);
	for (unsigned i = 0; i < 40; i++)
		scripted_add_header(a, "x", "%s", large);
	CHECK_U64(ask("PUT", "http://h/", true), ERR_UNCERTAIN);
	CHECK(strstr(outcome.msg, "65536 bytes of headers") != NULL);
	scripted_expect(script, "GET", "/", 200, "Content-Length: 4\nContent-Length: 5", "body");
	CHECK_U64(ask("GET", "http://h/", false), ERR_UNSUPPORTED);
	CHECK(strstr(outcome.msg, "two lengths") != NULL);
	CHECK(answer.status == 0 && answer.nheaders == 0); /* nothing of a refused answer is left */
	teardown();
}

static void
refused_requests(void)
{
	char                bad[] = "a\r\nX-Evil: 1", good[] = "1";
	struct http_header  h[] = { { "X-A", bad }, { "Content-Length", good }, { "X B", good } };
	struct http_request req = { .method = "GET", .url = "http://h/", .nheaders = 1 };

	setup();
	for (size_t i = 0; i < ARRAY_LEN(h); i++) {
		req.headers = &h[i];
		begin(&req);
		CHECK_U64(finish(), ERR_CONFIG);
	}
	req = (struct http_request){ .method = "GE T", .url = "http://h/" };
	begin(&req);
	CHECK_U64(finish(), ERR_CONFIG);
	CHECK_U64(ask("GET", "http://user:canary@h/", false), ERR_CONFIG);
	CHECK(strstr(outcome.msg, "canary") == NULL);
	CHECK_U64(ask("GET", "ftp://h/", false), ERR_CONFIG);
	CHECK_U64(scripted_http_count(script), 0);
	teardown();
}

static void
retry_after(void)
{
	static const struct {
		const char *headers;
		uint32_t    ms;
	} rows[] = {
		{ "Retry-After: 120", 120000 }, { "Retry-After: 0", 0 }, { "Retry-After: 999999999999", 86400000 },
		{ "Retry-After: soon", 0 },
		{ "Retry-After: -5", 0 }, { "Date: Tue, 24 Nov 2026 10:00:00 GMT\nRetry-After: Tue, 24 Nov 2026 10:00:07 GMT", 7000 },
		{ "Date: Tue, 24 Nov 2026 10:00:00 GMT\nRetry-After: Tue, 24 Nov 2026 09:00:00 GMT", 0 },
		{ "Retry-After: Thu, 01 Jan 1970 00:16:45 GMT", 5000 },
		{ "Retry-After: Fri, 31 Dec 2099 00:00:00 GMT", 86400000 },
	};

	setup();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		scripted_expect(script, "GET", "/", 503, rows[i].headers, NULL);
		CHECK_U64(ask("GET", "http://h/", false), ERR_OK);
		CHECK_U64(answer.retry_after_ms, rows[i].ms);
	}
	teardown();
}

/* The same seeds, the same story. */
static char *
chaos_story(uint64_t seed)
{
	struct store s = { .puts = 0 };
	char        *story;

	setup();
	buf_init(&s.bytes, 0);
	scripted_handle(script, serve, &s);
	scripted_chaos(script, 500, 0, seed);
	scripted_latency(script, 1, 90, seed);
	for (unsigned i = 0; i < 60; i++)
		put("x");
	story = xstrdup(scripted_http_trace(script));
	buf_free(&s.bytes);
	teardown();
	return story;
}

static void
chaos(void)
{
	char *a = chaos_story(1), *b = chaos_story(1), *c = chaos_story(2);

	CHECK_STR(a, b);
	CHECK(strcmp(a, c) != 0);
	for (enum scripted_fault f = SCRIPTED_LOST_BEFORE; f < SCRIPTED_FAULTS; f++)
		if (f != SCRIPTED_TIMEOUT_APPLIED && f != SCRIPTED_LATE && f != SCRIPTED_BUSY &&
		    strstr(a, scripted_fault_name(f)) == NULL)
			test_fail(__FILE__, __LINE__, "no %s in:\n%s", scripted_fault_name(f), a);
	free(a);
	free(b);
	free(c);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "expectations", expectations }, { "a handler", handler }, { "faults", faults },
		{ "a cancel at each turn", cancels },
		{ "streamed bodies", streams }, { "spooled bodies", spooled }, { "taps", taps }, { "limits", limits },
		{ "requests that are not sent", refused_requests },
		{ "Retry-After", retry_after }, { "chaos from a seed", chaos }, { NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
