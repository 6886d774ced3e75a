/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/scripted_http.h"
#include "../../lib/test.h"
#include "provider/send.h"

/* The sender by itself, below a driver that knows six answers. */
#define WALL    ((int64_t)1795000000000)
#define URL     "https://store.example/"
#define TIMEOUT 30000
#define MOST    4

static struct {
	struct loop          *loop;
	struct scripted_http *http;
	struct provider_env   env;
	struct send_request   rq;
	struct send_answer    ans;
	struct err            err;
	unsigned              asked, renewed, others, restarts; /* others: credentials that are left */
	bool                  learned, unsigned_for;            /* unsigned_for: there are no credentials */
} r;

static struct op *
shop_ready(struct send *x)
{
	r.asked++;
	return r.unsigned_for ? op_error(x->op.loop, ERR_AUTH, 0, "nobody signs") : NULL;
}

static struct op *
shop_attempt(struct send *x, const struct send_request *rq, struct send_answer *ret)
{
	struct http_header  own = { "authorization", xasprintf("key %u", r.renewed) };
	char               *url = xasprintf(URL "%s", rq == &x->side ? "side" : rq->object);
	struct op          *op = send_attempt(x, rq, &(struct http_request){ .url = url, .headers = &own, .nheaders = 1 }, ret);

	free(url);
	return op;
}

static enum send_verdict
shop_judge(struct send *x)
{
	switch (x->ret->http.status) {
	case 401:
		return SEND_RENEW;
	case 403:
		x->side.method = "GET";
		return SEND_ASK;
	case 409:
		if (r.learned)
			return SEND_DONE;
		r.learned = true;
		return SEND_AGAIN;
	case 429:
		return SEND_LATER;
	default:
		return x->ret->http.status >= 500 ? SEND_DOWN : SEND_DONE;
	}
}

static enum send_verdict
shop_told(struct send *x)
{
	snprintf(x->ret->code, sizeof(x->ret->code), "%d", x->told.http.status);
	return SEND_DONE;
}

static bool
shop_renew(struct send *x)
{
	(void)x;
	if (r.others == 0)
		return false;
	r.others--;
	r.renewed++;
	return true;
}

static const struct send_driver shop = { .pause_ms = 100, .ready = shop_ready, .attempt = shop_attempt, .judge = shop_judge,
	.told = shop_told, .renew = shop_renew };

static const struct op_class shop_class = { "shop", SEND_OP_CLASS };

static void
shop_restart(void *arg)
{
	(void)arg;
	r.restarts++;
}

static void
begin(bool changing)
{
	memset(&r, 0, sizeof(r));
	r.loop = loop_new_virtual(5, WALL);
	r.http = scripted_http_new(r.loop);
	r.env = (struct provider_env){ .loop = r.loop, .http = scripted_http_client(r.http) };
	r.rq = (struct send_request){ .method = changing ? "PUT" : "GET", .changing = changing, .object = xstrdup("a"),
		.restart = shop_restart };
}

static void
end(void)
{
	scripted_http_check(r.http);
	send_request_free(&r.rq);
	send_answer_free(&r.ans);
	scripted_http_free(r.http);
	loop_free(r.loop);
}

static void
expect(int status, const char *headers)
{
	scripted_expect(r.http, r.rq.method, URL "a", status, headers, NULL);
}

static void
done(struct op *op, void *arg)
{
	(void)arg;
	r.err = op->err;
	op_free(op);
}

static struct op *
make(void)
{
	struct send *x = xcalloc(1, sizeof(*x));

	*x = (struct send){ .driver = &shop, .env = &r.env, .timeout_ms = TIMEOUT, .where = xstrdup("shop s"), .most = MOST };
	return send_init(x, &shop_class, &r.rq, &r.ans);
}

static enum err_code
run(struct op *op)
{
	op_start(op, done, NULL);
	while (loop_turn(r.loop, false))
		continue;
	return r.err.code;
}

static enum err_code
go(void)
{
	return run(make());
}

/* ---------------------------------------------------------------- what is repeated */

static void
repeats_a_read(void)
{
	begin(false);
	expect(500, NULL);
	expect(429, "Retry-After: 5");
	scripted_expect(r.http, "GET", URL "a", 200, NULL, NULL)->fault = SCRIPTED_LOST_ANSWER;
	expect(200, "Date: Wed, 18 Nov 2026 11:06:50 GMT"); /* there is no backend that would note it */
	CHECK_OK(go(), r.err);
	CHECK_U64(r.ans.http.status, 200);
	CHECK(loop_now(r.loop) >= 5000 && loop_now(r.loop) < 8000);
	CHECK_U64(r.asked, 4);    /* for credentials, before each */
	CHECK_U64(r.restarts, 4);
	end();
}

static void
ends_after_its_attempts(void)
{
	begin(false);
	for (int i = 0; i < MOST; i++)
		expect(503, NULL);
	CHECK_U64(go(), ERR_BUSY);
	CHECK_STR(r.err.msg, "shop s: the server answers 503");
	CHECK_U64(r.err.detail, 503);
	end();
}

static void
ends_when_its_time_is_over(void)
{
	begin(false);
	expect(429, "Retry-After: 31");
	CHECK_U64(go(), ERR_BUSY);
	CHECK_U64(r.err.retry_after_ms, 31000);
	CHECK_U64(loop_now(r.loop) < 1000, true);
	end();
}

static void
repeats_a_change_only_when_it_was_refused(void)
{
	begin(true);
	expect(429, NULL);
	expect(500, NULL);
	CHECK_U64(go(), ERR_UNCERTAIN);
	CHECK_STR(r.err.msg, "shop s: the server answers 500; the write may have been carried out");
	scripted_expect(r.http, "PUT", URL "a", 200, NULL, NULL)->fault = SCRIPTED_LOST_ANSWER;
	CHECK_U64(go(), ERR_UNCERTAIN);
	CHECK(strncmp(r.err.msg, "shop s: ", 8) == 0);
	scripted_expect(r.http, "PUT", URL "a", 200, NULL, NULL)->fault = SCRIPTED_LOST_BEFORE;
	CHECK_U64(go(), ERR_NETWORK);
	for (int i = 0; i < MOST; i++)
		expect(429, NULL);
	CHECK_U64(go(), ERR_BUSY);
	end();
}

/* ---------------------------------------------------------------- what an answer teaches */

static void
sends_again_what_taught_something(void)
{
	begin(true);
	expect(409, NULL);
	expect(409, NULL);
	CHECK_OK(go(), r.err);
	CHECK_U64(r.ans.http.status, 409); /* once: then it is the caller's */
	CHECK_U64(loop_now(r.loop) < 100, true);
	end();
}

static void
renews_credentials_once(void)
{
	begin(true);
	expect(401, NULL);
	CHECK_OK(go(), r.err); /* there are no others */
	CHECK_U64(r.ans.http.status, 401);
	r.others = 2;
	expect(401, NULL);
	expect(401, NULL);
	CHECK_OK(go(), r.err);
	CHECK_U64(r.ans.http.status, 401);
	CHECK_U64(r.renewed, 1);
	expect(401, NULL);
	expect(200, NULL);
	CHECK_OK(go(), r.err);
	CHECK_U64(r.ans.http.status, 200);
	end();
}

static void
sends_nothing_without_credentials(void)
{
	begin(false);
	r.unsigned_for = true;
	CHECK_U64(go(), ERR_AUTH);
	CHECK_U64(scripted_http_count(r.http), 0);
	end();
}

static void
asks_on_the_side(void)
{
	begin(false);
	expect(403, NULL);
	scripted_expect(r.http, "GET", URL "side", 418, NULL, NULL);
	CHECK_OK(go(), r.err);
	CHECK_U64(r.ans.http.status, 403);
	CHECK_STR(r.ans.code, "418");
	expect(403, NULL);
	scripted_expect(r.http, "GET", URL "side", 418, NULL, NULL)->fault = SCRIPTED_LOST_ANSWER;
	CHECK_OK(go(), r.err); /* without an answer to that, the first one stays */
	CHECK_U64(r.ans.http.status, 403);
	CHECK_STR(r.ans.code, "");
	end();
}

/* ---------------------------------------------------------------- the way out */

static void
cancel(void *arg)
{
	op_cancel(arg);
}

static void
cancels_in_a_pause(void)
{
	struct timer at;
	struct op   *op;

	begin(true);
	expect(429, "Retry-After: 20");
	op = make();
	timer_init(&at, r.loop, cancel, op);
	timer_set(&at, 5000);
	CHECK_U64(run(op), ERR_CANCELLED); /* refused for certain: nothing happened */
	CHECK_U64(loop_now(r.loop) <= 5000, true);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "repeats_a_read", repeats_a_read },
	    { "ends_after_its_attempts", ends_after_its_attempts },
	    { "ends_when_its_time_is_over", ends_when_its_time_is_over },
	    { "repeats_a_change_only_when_it_was_refused", repeats_a_change_only_when_it_was_refused },
	    { "sends_again_what_taught_something", sends_again_what_taught_something },
	    { "renews_credentials_once", renews_credentials_once },
	    { "sends_nothing_without_credentials", sends_nothing_without_credentials },
	    { "asks_on_the_side", asks_on_the_side },
	    { "cancels_in_a_pause", cancels_in_a_pause },
	    { NULL, NULL } });
}
