/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/scripted_http.h"
#include "../../lib/test.h"
#include "provider/bearer.h"

#define WALL ((int64_t)1795000000000) /* 2026-11-18T11:06:40Z */
#define URL  "https://issuer.example/token"

static const struct {
	const char   *json, *token; /* NULL: the code */
	int64_t       ends;
	enum err_code code;
	const char   *says;
} answers[] = {
	{ "{\"access_token\":\"ya29.t\",\"expires_in\":3599,\"token_type\":\"Bearer\"}", "ya29.t", WALL + 3599000, ERR_OK, NULL },
	{ "{\"access_token\":\"a\",\"expires_in\":\"60\",\"expires_on\":\"9\"}", "a", WALL + 60000, ERR_OK, NULL },
	{ "{\"access_token\":\"a\",\"expires_on\":\"1795000100\"}", "a", WALL + 90000, ERR_OK, NULL },
	{ "{\"accessToken\":\"a\",\"expireTime\":\"2026-11-18T12:06:50Z\"}", "a", WALL + 3600000, ERR_OK, NULL },
	{ "{\"access_token\":\"a\"}", "a", 0, ERR_OK, NULL },
	{ "{\"access_token\":\"a\",\"expires_in\":99999999999999}", "a", WALL + (int64_t)10 * 366 * 24 * 3600 * 1000, ERR_OK, NULL },
	{ "{\"x\":{\"access_token\":\"no\"},\"access_token\":\"a\",\"l\":[{\"access_token\":\"no\"}]}", "a", 0, ERR_OK, NULL },
	{ "{\"access_token\":\"a\",\"expires_in\":-1}", NULL, 0, ERR_CORRUPT, "no usable access token" },
	{ "{\"access_token\":\"a\",\"expires_in\":\"soon\"}", NULL, 0, ERR_CORRUPT, "no usable access token" },
	{ "{\"accessToken\":\"a\",\"expireTime\":\"soon\"}", NULL, 0, ERR_CORRUPT, "expireTime \"soon\"" },
	{ "{\"access_token\":\"\"}", NULL, 0, ERR_CORRUPT, "no usable access token" },
	{ "{\"access_token\":\"a b\"}", NULL, 0, ERR_CORRUPT, "no usable access token" },
	{ "{\"access_token\":\"a\\r\\nx: y\"}", NULL, 0, ERR_CORRUPT, "no usable access token" },
	{ "{\"access_token\":null}", NULL, 0, ERR_CORRUPT, "no usable access token" },
	{ "{\"token_type\":\"Bearer\"}", NULL, 0, ERR_CORRUPT, "no usable access token" },
	{ "<html>", NULL, 0, ERR_CORRUPT, "" },
	{ "", NULL, 0, ERR_CORRUPT, "" },
	{ "{\"access_token\":\"a\"", NULL, 0, ERR_CORRUPT, "" },
};

static void
reads_answers(void)
{
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct bearer b = { 0 };
		struct err    e = { .msg = "" };
		enum err_code rc = bearer_parse(span_str(answers[i].json), NULL, WALL, WALL + 10000, &b, &e);

		if (rc != answers[i].code || (rc != ERR_OK && strstr(e.msg, answers[i].says) == NULL))
			test_fail(__FILE__, __LINE__, "%s: %s", answers[i].json, e.msg);
		CHECK_STR(secret_str(b.text), answers[i].token);
		CHECK_U64(bearer_ends(&b), answers[i].ends);
		bearer_wipe(&b);
	}
}

/* Longer than what the reader of JSON decodes. */
static void
reads_a_long_token(void)
{
	static char   token[9000], json[9100];
	struct bearer b = { 0 };
	struct err    e;

	memset(token, 'x', sizeof(token) - 1);
	snprintf(json, sizeof(json), "{\"access_token\":\"%s\"}", token);
	CHECK_OK(bearer_parse(span_str(json), NULL, WALL, 0, &b, &e), e);
	CHECK_STR(secret_str(b.text), token);
	bearer_wipe(&b);
	json[5000] = '\\';
	json[5001] = '/';
	CHECK_U64(bearer_parse(span_str(json), NULL, WALL, 0, &b, &e), ERR_CORRUPT);
}

/* Issuers of tokens for other issuers call it otherwise. */
static void
reads_a_named_member(void)
{
	struct bearer b = { 0 };
	struct err    e;

	CHECK_OK(bearer_parse(SPAN_LIT("{\"access_token\":\"no\",\"value\":\"e.f.g\",\"count\":1}"), "value", WALL, 0, &b, &e), e);
	CHECK_STR(secret_str(b.text), "e.f.g");
	bearer_wipe(&b);
	CHECK_U64(bearer_parse(SPAN_LIT("{\"access_token\":\"no\"}"), "value", WALL, 0, &b, &e), ERR_CORRUPT);
}

static void
reads_a_bare_text(void)
{
	struct bearer b = { 0 };
	struct err    e;

	CHECK_OK(bearer_parse(SPAN_LIT("\n e.f.g \r\n"), "", WALL, 0, &b, &e), e);
	CHECK_STR(secret_str(b.text), "e.f.g");
	CHECK_U64(bearer_ends(&b), 0);
	bearer_wipe(&b);
	CHECK_U64(bearer_parse(SPAN_LIT(" \n"), "", WALL, 0, &b, &e), ERR_CORRUPT);
	CHECK_U64(bearer_parse(SPAN_LIT("<html> </html>"), "", WALL, 0, &b, &e), ERR_CORRUPT);
}

static void
reads_refusals(void)
{
	static const char *const rows[][2] = {
		{ "{\"error\":\"invalid_grant\",\"error_description\":\"Bad \\u001b[2J signature\"}",
		    "invalid_grant: Bad \\x1b[2J signature" },
		{ "{\"error\":\"invalid_client\"}", "invalid_client" },
		{ "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}", "invalid_grant: Invalid JWT Signature" },
		{ "{\"error\":{\"code\":403,\"message\":\"Permission denied\",\"status\":\"PERMISSION_DENIED\",\"details\":[{\"message\":\"no\"}]}}",
		    "PERMISSION_DENIED: Permission denied" },
		{ "{}", NULL }, { "[]", NULL }, { "x", NULL }, { "{\"error\":{\"a\":{\"message\":\"no\"}}}", NULL },
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool ok = bearer_refusal(span_str(rows[i][0]), text, sizeof(text));

		CHECK_STR(ok ? text : NULL, rows[i][1]);
	}
}

/* --- the request --- */

static struct {
	struct loop          *loop;
	struct scripted_http *http;
	struct provider_env   env;
	struct bearer_request rq;
	struct bearer         got;
	struct err            err;
} r;

static void
begin(void)
{
	memset(&r, 0, sizeof(r));
	r.loop = loop_new_virtual(5, WALL);
	r.http = scripted_http_new(r.loop);
	r.env = (struct provider_env){ .loop = r.loop, .http = scripted_http_client(r.http) };
	r.rq = (struct bearer_request){ .who = "the issuer", .method = "POST", .url = URL, .body = body_copy(SPAN_LIT("secret=CANARY")) };
}

static void
done(struct op *op, void *arg)
{
	(void)arg;
	r.err = op->err;
	op_free(op);
}

static enum err_code
fetch(void)
{
	bearer_wipe(&r.got);
	op_start(bearer_fetch(&r.env, &r.rq, &r.got), done, NULL);
	while (loop_turn(r.loop, false))
		continue;
	CHECK(strstr(r.err.msg, "CANARY") == NULL);
	return r.err.code;
}

static void
end(void)
{
	scripted_http_check(r.http);
	bearer_wipe(&r.got);
	body_unref(r.rq.body);
	scripted_http_free(r.http);
	loop_free(r.loop);
}

static void
asks_again_when_nobody_answers(void)
{
	begin();
	scripted_expect(r.http, "POST", URL, 503, NULL, NULL);
	scripted_expect(r.http, "POST", URL, 200, NULL, NULL)->fault = SCRIPTED_LOST_ANSWER;
	scripted_expect(r.http, "POST", URL, 200, NULL, "{\"access_token\":\"t\",\"expires_in\":100}");
	CHECK_OK(fetch(), r.err);
	CHECK_STR(secret_str(r.got.text), "t");
	CHECK(loop_now(r.loop) >= 1500);
	for (int i = 0; i < BEARER_TRIES; i++)
		scripted_expect(r.http, "POST", URL, 429, "Retry-After: 3", NULL);
	CHECK_U64(fetch(), ERR_BUSY);
	CHECK_STR(r.err.msg, "the issuer: it answers 429");
	CHECK(loop_now(r.loop) >= 7500);
	end();
}

/* A service of the machine that is not there yet says so by a status that others mean for good. */
static void
waits_where_a_status_means_later(void)
{
	begin();
	scripted_expect(r.http, "POST", URL, 404, NULL, NULL);
	CHECK_U64(fetch(), ERR_AUTH);
	r.rq.later[0] = 404;
	r.rq.later[1] = 410;
	for (int i = 0; i < BEARER_TRIES_LATER - 1; i++)
		scripted_expect(r.http, "POST", URL, i % 2 == 0 ? 410 : 404, NULL, NULL);
	scripted_expect(r.http, "POST", URL, 200, NULL, "{\"access_token\":\"t\"}");
	CHECK_OK(fetch(), r.err);
	CHECK(loop_now(r.loop) >= 60000);
	for (int i = 0; i < BEARER_TRIES_LATER; i++)
		scripted_expect(r.http, "POST", URL, 410, NULL, NULL);
	CHECK_U64(fetch(), ERR_BUSY);
	CHECK_STR(r.err.msg, "the issuer: it answers 410");
	end();
}

static void
says_why_it_is_refused(void)
{
	struct secret *canary = secret_new(SPAN_LIT("CANARY"));
	int64_t        date = -1;

	begin();
	r.rq.ret_date = &date;
	scripted_expect(r.http, "POST", URL, 400, "Date: Wed, 18 Nov 2026 11:06:40 GMT", "{\"error\":\"invalid_grant\",\"error_description\":\"expired\"}");
	CHECK_U64(fetch(), ERR_AUTH);
	CHECK_STR(r.err.msg, "the issuer: it answers 400, invalid_grant: expired");
	CHECK_U64(date, WALL);
	scripted_expect(r.http, "POST", URL, 200, NULL, "<html>CANARY</html>");
	CHECK_U64(fetch(), ERR_CORRUPT);
	r.rq.secrets[0] = canary;
	scripted_expect(r.http, "POST", URL, 401, NULL, "{\"error\":\"invalid_client\",\"error_description\":\"no CANARY here\"}");
	CHECK_U64(fetch(), ERR_AUTH);
	CHECK_STR(r.err.msg, "the issuer: it answers 401");
	end();
	secret_free(canary);
}

static void
trusts_only_who_names_itself(void)
{
	begin();
	r.rq.needs_header = "metadata-flavor";
	r.rq.needs_value = "Google";
	scripted_expect(r.http, "POST", URL, 200, "Metadata-Flavor: Google", "{\"access_token\":\"t\"}");
	CHECK_OK(fetch(), r.err);
	scripted_expect(r.http, "POST", URL, 200, NULL, "{\"access_token\":\"t\"}");
	CHECK_U64(fetch(), ERR_AUTH);
	CHECK(strstr(r.err.msg, "something else answers there (200, without metadata-flavor: Google)") != NULL);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "reads_answers", reads_answers },
	    { "reads_a_long_token", reads_a_long_token },
	    { "reads_a_named_member", reads_a_named_member },
	    { "reads_a_bare_text", reads_a_bare_text },
	    { "reads_refusals", reads_refusals },
	    { "asks_again_when_nobody_answers", asks_again_when_nobody_answers },
	    { "waits_where_a_status_means_later", waits_where_a_status_means_later },
	    { "says_why_it_is_refused", says_why_it_is_refused },
	    { "trusts_only_who_names_itself", trusts_only_who_names_itself },
	    { NULL, NULL } });
}
