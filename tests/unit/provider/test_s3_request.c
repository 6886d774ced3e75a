/* SPDX-License-Identifier: MIT */
#include "../../lib/s3_rig.h"
#include "../../lib/test.h"

/* One signed request: addresses, regions, clocks, what is repeated and what is not. */
#define KEYS "  access_key = \"" FAKE_S3_ACCESS "\"\n  secret_key = \"" FAKE_S3_SECRET "\"\n"

static const char slow_down[] = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";

static enum err_code
get(struct s3_rig *r, const char *name)
{
	struct snapshot s;
	enum err_code   rc = s3_rig_get(r, name, &s);

	snapshot_free(&s);
	return rc;
}

static enum err_code
put(struct s3_rig *r, const char *name)
{
	char etag[ETAG_MAX];

	return s3_rig_put(r, name, "{}", PUT_ABSENT, NULL, etag);
}

/* ---------------------------------------------------------------- addresses */

static const struct {
	const char *args, *url;
} addresses[] = {
	{ "region = \"us-east-1\"", "https://acme.s3.us-east-1.amazonaws.com/a" },
	{ "region = \"eu-west-3\"\nuse_path_style = true", "https://s3.eu-west-3.amazonaws.com/acme/a" },
	{ "region = \"eu-west-3\"\nforce_path_style = true", "https://s3.eu-west-3.amazonaws.com/acme/a" },
	{ "region = \"eu-west-3\"\nuse_dualstack_endpoint = true", "https://acme.s3.dualstack.eu-west-3.amazonaws.com/a" },
	{ "region = \"us-west-2\"\nuse_fips_endpoint = true", "https://acme.s3-fips.us-west-2.amazonaws.com/a" },
	{ "region = \"us-west-2\"\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true",
	    "https://acme.s3-fips.dualstack.us-west-2.amazonaws.com/a" },
	{ "region = \"cn-north-1\"", "https://acme.s3.cn-north-1.amazonaws.com.cn/a" },
	{ "region = \"us-gov-west-1\"", "https://acme.s3.us-gov-west-1.amazonaws.com/a" },
	{ "region = \"r\"\nendpoints = { s3 = \"https://store.example\" }", "https://acme.store.example/a" },
	{ "region = \"r\"\nendpoint = \"https://store.example:8443/s3/\"\nuse_path_style = true", "https://store.example:8443/s3/acme/a" },
	{ "region = \"r\"\nendpoint = \"http://127.0.0.1:9000\"", "http://127.0.0.1:9000/acme/a" },
	{ "region = \"r\"\nendpoint = \"http://[::1]:9000\"", "http://[::1]:9000/acme/a" },
};

static void
goes_where_the_block_says(void)
{
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		struct s3_rig r = { 0 };
		char          args[512], line[256];

		snprintf(args, sizeof(args), "bare bucket = \"acme\"\n%s\n" KEYS, addresses[i].args);
		s3_rig_open(&r, args);
		fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 200, .headers = "etag: \"1\"\n", .body = "{}" });
		if (get(&r, "a") != ERR_OK)
			test_fail(__FILE__, __LINE__, "%s: %s", addresses[i].args, r.err.msg);
		snprintf(line, sizeof(line), "GET %s\n", addresses[i].url);
		if (strncmp(r.fake->log[0], line, strlen(line)) != 0)
			test_fail(__FILE__, __LINE__, "%.*s instead of %s", (int)strcspn(r.fake->log[0], "\n"), r.fake->log[0],
			    addresses[i].url);
		s3_rig_close(&r);
	}
}

static void
puts_a_bucket_with_dots_into_the_path(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "bare bucket = \"acme.states\"\nregion = \"us-east-1\"\n" KEYS);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 200, .headers = "etag: \"1\"\n", .body = "{}" });
	CHECK_U64(get(&r, "a"), ERR_OK);
	CHECK_U64(fake_s3_seen(r.fake, "https://s3.us-east-1.amazonaws.com/acme.states/a"), 1);
	s3_rig_close(&r);
}

static void
signs_names_of_every_kind(void)
{
	static const char *const names[] = { "odd dir/a+b=c&d,\xc3\xa9~(1)'!*$@;:/terraform.tfstate", "a#b?c%d/100%.tfstate", "a//b.tfstate",
		"env:/dev/x.tfstate", "\xe2\x82\xac \"q\" <t>\\.tfstate", ".hidden/..x/...tfstate" };
	struct s3_rig            r = { 0 };
	char                     etag[ETAG_MAX];

	s3_rig_open(&r, "");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		CHECK_OK(s3_rig_put(&r, names[i], "{\"version\":4}", PUT_ABSENT, NULL, etag), r.err);
		CHECK_STR(fake_s3_text(r.fake, names[i]), "{\"version\":4}");
		CHECK_OK(get(&r, names[i]), r.err);
	}
	CHECK_U64(r.fake->wrong, 0);
	s3_rig_close(&r);
}

static void
takes_the_endpoint_from_the_environment(void)
{
	struct s3_rig r;

	s3_rig_init(&r);
	s3_rig_var(&r, "AWS_ENDPOINT_URL_S3", "http://" FAKE_S3_HOST);
	s3_rig_var(&r, "AWS_REGION", "us-east-1");
	s3_rig_open(&r, "bare bucket = \"acme\"\nuse_path_style = true\n" KEYS);
	fake_s3_put(r.fake, "a", "{}");
	CHECK_OK(get(&r, "a"), r.err);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- what is learned */

static void
learns_the_region(bool with_301)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "");
	r.fake->region = "eu-west-1";
	r.fake->region_301 = with_301;
	fake_s3_put(r.fake, "a", "{}");
	CHECK_OK(get(&r, "a"), r.err);
	CHECK_U64(r.fake->nlog, 2);
	CHECK_OK(get(&r, "a"), r.err);
	CHECK_U64(r.fake->nlog, 3);
	r.fake->region = "eu-west-2"; /* and again, for a write: it was refused before anything was done */
	CHECK_OK(put(&r, "b"), r.err);
	CHECK_U64(r.fake->nlog, 5);
	CHECK_STR(fake_s3_text(r.fake, "b"), "{}");
	s3_rig_close(&r);
}

static void
learns_the_region_from_400(void)
{
	learns_the_region(false);
}

static void
learns_the_region_from_301(void)
{
	learns_the_region(true);
}

static void
asks_where_the_bucket_is_when_head_says_nothing(void)
{
	struct s3_rig    r = { 0 };
	struct state_tag tag;

	s3_rig_open(&r, "");
	r.fake->region = "eu-west-1";
	r.fake->silent_head = true;
	fake_s3_put(r.fake, "a", "{}");
	CHECK_OK(s3_rig_run(&r, provider_head(r.b, &(struct state_ref){ "a" }, &tag)), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "GET http://" FAKE_S3_HOST "/acme?location="), 1);
	CHECK_U64(r.fake->nlog, 3);
	s3_rig_close(&r);
}

static void
moves_to_the_host_of_the_region(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "bare bucket = \"acme\"\nregion = \"us-east-1\"\n" KEYS);
	r.fake->region = "eu-west-1";
	r.fake->region_301 = true;
	fake_s3_put(r.fake, "a", "{}");
	CHECK_OK(get(&r, "a"), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "https://acme.s3.eu-west-1.amazonaws.com/a"), 1);
	s3_rig_close(&r);
}

static void
takes_the_region_from_an_endpoint_in_the_body(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "bare bucket = \"acme\"\nregion = \"us-east-1\"\n" KEYS);
	r.fake->region = "eu-west-1";
	fake_s3_put(r.fake, "a", "{}");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 301, .body =
	    "<Error><Code>PermanentRedirect</Code><Endpoint>acme.s3-eu-west-1.amazonaws.com</Endpoint></Error>" });
	CHECK_OK(get(&r, "a"), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "https://acme.s3.eu-west-1.amazonaws.com/a"), 1);
	s3_rig_close(&r);
}

static void
gives_up_when_the_place_stays_wrong(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 301, .times = 9, .body =
	    "<Error><Code>PermanentRedirect</Code><Endpoint>elsewhere.example</Endpoint></Error>" });
	CHECK_U64(get(&r, "a"), ERR_CONFIG);
	CHECK(strstr(r.err.hint, "elsewhere.example") != NULL);
	CHECK_U64(r.fake->nlog, 1);
	s3_rig_close(&r);
}

static void
learns_the_clock_of_the_server(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "");
	r.fake->clock_ms = (int64_t)160 * 60 * 1000;
	fake_s3_put(r.fake, "a", "{}");
	CHECK_OK(put(&r, "b"), r.err);
	CHECK_U64(r.fake->nlog, 2);
	CHECK_OK(get(&r, "a"), r.err);
	CHECK_U64(r.fake->nlog, 3);
	loop_wall_shift(r.loop, (int64_t)160 * 60 * 1000); /* somebody has set our clock right */
	r.fake->clock_ms = 1000;
	CHECK_OK(get(&r, "a"), r.err);
	CHECK_U64(r.fake->nlog, 5);
	s3_rig_close(&r);
}

static void
learns_the_clock_from_head(void)
{
	struct s3_rig    r = { 0 };
	struct state_tag tag;

	s3_rig_open(&r, "");
	r.fake->clock_ms = -(int64_t)90 * 60 * 1000;
	fake_s3_put(r.fake, "a", "{}");
	CHECK_OK(s3_rig_run(&r, provider_head(r.b, &(struct state_ref){ "a" }, &tag)), r.err);
	CHECK_U64(r.fake->nlog, 2);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- what is repeated */

static void
repeats_reads(void)
{
	static const struct fake_s3_rule failures[] = {
		{ .how = FAKE_ANSWER, .status = 500, .body = "<Error><Code>InternalError</Code></Error>" },
		{ .how = FAKE_ANSWER, .status = 503, .body = slow_down },
		{ .how = FAKE_ANSWER, .status = 502, .body = "<html>bad gateway</html>" },
		{ .how = FAKE_ANSWER, .status = 429 },
		{ .how = FAKE_ANSWER, .status = 400, .body = "<Error><Code>RequestTimeout</Code></Error>" },
		{ .how = FAKE_LOST },
		{ .how = FAKE_CUT },
		{ .how = FAKE_REFUSED },
	};
	for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
		struct s3_rig       r = { 0 };
		struct fake_s3_rule rule = failures[i];

		s3_rig_open(&r, "");
		fake_s3_put(r.fake, "a", "{\"version\":4,\"serial\":1}");
		rule.times = 3;
		fake_s3_rule(r.fake, &rule);
		if (get(&r, "a") != ERR_OK)
			test_fail(__FILE__, __LINE__, "failure %zu: %s", i, r.err.msg);
		CHECK_U64(r.fake->nlog, 4);
		s3_rig_close(&r);
	}
}

static void
ends_reads_after_max_retries(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "max_retries = 3");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 503, .headers = "retry-after: 2\n", .body = slow_down,
	    .times = 9 });
	CHECK_U64(get(&r, "a"), ERR_BUSY);
	CHECK_U64(r.fake->nlog, 3);
	CHECK_U64(r.err.retry_after_ms, 2000);
	CHECK(strstr(r.err.msg, "503 SlowDown") != NULL);
	CHECK(loop_now(r.loop) >= 4000);
	s3_rig_close(&r);
}

static void
does_not_wait_longer_than_a_request_may_take(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "timeout = \"10s\"");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 503, .headers = "retry-after: 60\n", .body = slow_down,
	    .times = 9 });
	CHECK_U64(get(&r, "a"), ERR_BUSY);
	CHECK_U64(r.fake->nlog, 1);
	CHECK_U64(r.err.retry_after_ms, 60000);
	s3_rig_close(&r);
}

static void
notices_a_stalled_answer(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "timeout = \"5s\"\nmax_retries = 1");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_HANGS });
	CHECK_U64(get(&r, "a"), ERR_TIMEOUT);
	CHECK(loop_now(r.loop) < 6000);
	s3_rig_close(&r);
}

static void
repeats_a_write_only_when_it_was_refused(void)
{
	static const struct {
		struct fake_s3_rule rule;
		enum err_code       want;
		unsigned            sent;
	} rows[] = {
		{ { .how = FAKE_ANSWER, .status = 500 }, ERR_UNCERTAIN, 1 },
		{ { .how = FAKE_ANSWER, .status = 503, .body = "<Error><Code>ServiceUnavailable</Code></Error>" }, ERR_UNCERTAIN, 1 },
		{ { .how = FAKE_LOST }, ERR_UNCERTAIN, 1 },
		{ { .how = FAKE_LOST_BEFORE }, ERR_UNCERTAIN, 1 },
		{ { .how = FAKE_HANGS }, ERR_UNCERTAIN, 1 },
		{ { .how = FAKE_REFUSED }, ERR_NETWORK, 1 },
		{ { .how = FAKE_ANSWER, .status = 503, .body = slow_down }, ERR_OK, 2 },
		{ { .how = FAKE_ANSWER, .status = 429, .headers = "retry-after: 3\n" }, ERR_OK, 2 },
		{ { .how = FAKE_ANSWER, .status = 400, .body = "<Error><Code>RequestTimeout</Code></Error>" }, ERR_OK, 2 },
		{ { .how = FAKE_ANSWER, .status = 503, .body = slow_down, .times = 9 }, ERR_BUSY, 5 },
		{ { .how = FAKE_ANSWER, .status = 429, .headers = "retry-after: 60\n" }, ERR_BUSY, 1 }, /* longer than timeout */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct s3_rig r = { 0 };

		s3_rig_open(&r, "");
		fake_s3_rule(r.fake, &rows[i].rule);
		if (put(&r, "a") != rows[i].want)
			test_fail(__FILE__, __LINE__, "row %zu: %s (%d)", i, r.err.msg, (int)r.err.code);
		CHECK_U64(r.fake->nlog, rows[i].sent);
		s3_rig_close(&r);
	}
}

/* ---------------------------------------------------------------- refusals */

static const struct {
	int           status;
	const char   *code;
	bool          write;
	enum err_code want;
	const char   *in_msg, *in_hint;
} refusals[] = {
	{ 403, "AccessDenied", false, ERR_AUTH, "403 AccessDenied", "s3:GetObject on arn:aws:s3:::acme/a" },
	{ 403, "AccessDenied", true, ERR_AUTH, "writing a is not allowed", "s3:PutObject on arn:aws:s3:::acme/a" },
	{ 403, "InvalidAccessKeyId", false, ERR_AUTH, "the backend block", "access_key" },
	{ 404, "XAdminUserNotFound", false, ERR_AUTH, "XAdminUserNotFound", "access_key" },
	{ 403, "SignatureDoesNotMatch", true, ERR_AUTH, "SignatureDoesNotMatch", "secret_key" },
	{ 400, "ExpiredToken", false, ERR_AUTH, "ExpiredToken", "renew" },
	{ 403, "RequestTimeTooSkewed", false, ERR_AUTH, "clock", "clock" },
	{ 404, "NoSuchBucket", true, ERR_NOT_FOUND, "bucket acme does not exist", "create = true" },
	{ 404, "NoSuchBucket", false, ERR_CONFIG, "bucket acme does not exist", "create = true" },
	{ 404, "", false, ERR_UNSUPPORTED, "none of S3", "something other than S3" },
	{ 400, "KMS.NotFoundException", true, ERR_CONFIG, "KMS key cannot be used", "kms_key_id" },
	{ 400, "KMS.DisabledException", false, ERR_CONFIG, "KMS key cannot be used", "enabled" },
	{ 403, "InvalidObjectState", false, ERR_UNSUPPORTED, "archived", "" },
	{ 501, "NotImplemented", true, ERR_UNSUPPORTED, "501 NotImplemented", "probe" },
	{ 400, "KeyTooLongError", true, ERR_UNSUPPORTED, "400 KeyTooLongError: no more", "" },
};

static void
names_the_permission_on_a_key_of_kms(void)
{
	static const char body[] = "<Error><Code>AccessDenied</Code><Message>User: arn:aws:sts::123456789012:assumed-role/reader/session is not "
	    "authorized to perform: kms:Decrypt on the resource because no policy allows it</Message></Error>";
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 403, .body = body, .times = 2 });
	CHECK_U64(get(&r, "a"), ERR_AUTH);
	CHECK(strstr(r.err.hint, "need kms:Decrypt on the KMS key") != NULL);
	CHECK_U64(put(&r, "a"), ERR_AUTH);
	CHECK(strstr(r.err.hint, "need kms:GenerateDataKey on the KMS key") != NULL);
	s3_rig_close(&r);
}

static void
says_what_a_refusal_means(void)
{
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		struct s3_rig r = { 0 };
		char          body[256];

		s3_rig_open(&r, "");
		snprintf(body, sizeof(body), refusals[i].code[0] != '\0' ? "<Error><Code>%s</Code><Message>no more</Message></Error>" :
		    "<html>%s</html>", refusals[i].code);
		fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = refusals[i].status, .body = body, .times = 3 });
		if ((refusals[i].write ? put(&r, "a") : get(&r, "a")) != refusals[i].want ||
		    strstr(r.err.msg, refusals[i].in_msg) == NULL || strstr(r.err.hint, refusals[i].in_hint) == NULL)
			test_fail(__FILE__, __LINE__, "%d %s: %d %s; %s", refusals[i].status, refusals[i].code, (int)r.err.code, r.err.msg,
			    r.err.hint);
		CHECK(strstr(r.err.msg, FAKE_S3_SECRET) == NULL);
		s3_rig_close(&r);
	}
}

static void
cancels(void)
{
	struct s3_rig   r = { 0 };
	struct snapshot s;
	char            etag[ETAG_MAX];
	struct body    *body = body_copy(SPAN_LIT("{}"));
	struct snapshot out;

	s3_rig_open(&r, "");
	snapshot_of(&out, body, NULL);
	CHECK_U64(s3_rig_run_for(&r, provider_get(r.b, &(struct state_ref){ "a" }, NULL, &s), 5), ERR_CANCELLED);
	CHECK_U64(s3_rig_run_for(&r, provider_put(r.b, &(struct state_ref){ "a" }, &out, &(struct put_condition){ .when = PUT_ABSENT }, etag),
	    7), ERR_UNCERTAIN);
	snapshot_free(&out);
	body_unref(body);
	s3_rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "goes_where_the_block_says", goes_where_the_block_says },
	    { "puts_a_bucket_with_dots_into_the_path", puts_a_bucket_with_dots_into_the_path },
	    { "signs_names_of_every_kind", signs_names_of_every_kind },
	    { "takes_the_endpoint_from_the_environment", takes_the_endpoint_from_the_environment },
	    { "learns_the_region_from_400", learns_the_region_from_400 },
	    { "learns_the_region_from_301", learns_the_region_from_301 },
	    { "asks_where_the_bucket_is_when_head_says_nothing", asks_where_the_bucket_is_when_head_says_nothing },
	    { "moves_to_the_host_of_the_region", moves_to_the_host_of_the_region },
	    { "takes_the_region_from_an_endpoint_in_the_body", takes_the_region_from_an_endpoint_in_the_body },
	    { "gives_up_when_the_place_stays_wrong", gives_up_when_the_place_stays_wrong },
	    { "learns_the_clock_of_the_server", learns_the_clock_of_the_server },
	    { "learns_the_clock_from_head", learns_the_clock_from_head },
	    { "repeats_reads", repeats_reads },
	    { "ends_reads_after_max_retries", ends_reads_after_max_retries },
	    { "does_not_wait_longer_than_a_request_may_take", does_not_wait_longer_than_a_request_may_take },
	    { "notices_a_stalled_answer", notices_a_stalled_answer },
	    { "repeats_a_write_only_when_it_was_refused", repeats_a_write_only_when_it_was_refused },
	    { "says_what_a_refusal_means", says_what_a_refusal_means },
	    { "names_the_permission_on_a_key_of_kms", names_the_permission_on_a_key_of_kms },
	    { "cancels", cancels },
	    { NULL, NULL } });
}
