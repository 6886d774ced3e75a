/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/s3_rig.h"
#include "../../lib/test.h"
#include "provider/s3/s3_cred.h"
#include "provider/s3/s3_ini.h"

/* Credentials: which source wins, how each is read, and how they stay fresh. Which were used is seen by the fake store. */
#define BARE         "bare bucket = \"acme\"\nregion = \"us-east-1\"\nendpoint = \"http://" FAKE_S3_HOST "\"\nuse_path_style = true\n"
#define INSTANCE     "http://169.254.169.254"
#define INSTANCE_GET "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
#define MINUTE       ((int64_t)60 * 1000)

static struct s3_rig r;

static void
begin(void)
{
	s3_rig_init(&r);
	fake_s3_put(r.fake, "a", "{}");
}

static enum err_code
get(void)
{
	struct snapshot s;
	enum err_code   rc = s3_rig_get(&r, "a", &s);

	snapshot_free(&s);
	return rc;
}

/* The access key of the last request to the store. */
static const char *
used(void)
{
	static char text[128];
	const char *auth = NULL;

	for (size_t i = r.fake->nlog; i > 0 && auth == NULL; i--)
		if (strstr(r.fake->log[i - 1], FAKE_S3_HOST) != NULL)
			auth = fake_s3_header(r.fake, i - 1, "authorization");
	snprintf(text, sizeof(text), "%s", auth != NULL ? strstr(auth, "Credential=") + 11 : "none");
	text[strcspn(text, "/")] = '\0';
	return text;
}

static void
env_keys(const char *access)
{
	s3_rig_var(&r, "AWS_ACCESS_KEY_ID", access);
	s3_rig_var(&r, "AWS_SECRET_ACCESS_KEY", FAKE_S3_SECRET);
}

static void
expect(const char *args, const char *access)
{
	r.fake->access = access;
	s3_rig_open(&r, args);
	if (get() != ERR_OK)
		test_fail(__FILE__, __LINE__, "%s: %s", access, r.err.msg);
	CHECK_STR(used(), access);
	s3_rig_close(&r);
}

static const char credentials[] = "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = " FAKE_S3_SECRET "\n"
    "[prod]\naws_access_key_id=AKIDPROD\naws_secret_access_key=" FAKE_S3_SECRET "\naws_session_token = tok\n"
    "[half]\naws_access_key_id = AKIDHALF\n";
static const char config[] = "[default]\nregion = eu-west-3\n[profile conf]\naws_access_key_id = AKIDCONF\n"
    "aws_secret_access_key = " FAKE_S3_SECRET "\nregion = us-east-1\nendpoint_url = http://" FAKE_S3_HOST "\n"
    "[profile prod]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = x\n";

static void
files(void)
{
	s3_rig_file(&r, "/home/u/.aws/credentials", credentials);
	s3_rig_file(&r, "/home/u/.aws/config", config);
}

/* ---------------------------------------------------------------- order */

static void
prefers_the_block(void)
{
	begin();
	files();
	env_keys("AKIDENV");
	expect(BARE "access_key = \"AKIDBLOCK\"\nsecret_key = \"" FAKE_S3_SECRET "\"\nprofile = \"prod\"", "AKIDBLOCK");
}

static void
prefers_its_profile_to_the_environment(void)
{
	begin();
	files();
	env_keys("AKIDENV");
	r.fake->session_token = "tok";
	expect(BARE "profile = \"prod\"", "AKIDPROD");
}

static void
prefers_the_environment_to_a_profile_of_the_environment(void)
{
	begin();
	files();
	env_keys("AKIDENV");
	s3_rig_var(&r, "AWS_PROFILE", "prod");
	s3_rig_var(&r, "AWS_SESSION_TOKEN", "envtok");
	r.fake->session_token = "envtok";
	expect(BARE, "AKIDENV");
}

static void
takes_the_profile_of_the_environment(void)
{
	begin();
	files();
	s3_rig_var(&r, "AWS_PROFILE", "prod");
	r.fake->session_token = "tok";
	expect(BARE, "AKIDPROD");
	begin();
	files();
	expect(BARE, "AKIDDEFAULT");
}

static void
takes_a_profile_of_the_config_file(void)
{
	begin();
	files();
	expect("bare bucket = \"acme\"\nuse_path_style = true\nprofile = \"conf\"", "AKIDCONF"); /* region and endpoint too */
}

static void
finds_the_files_where_it_is_told(void)
{
	begin();
	s3_rig_file(&r, "/elsewhere/c", credentials);
	s3_rig_var(&r, "AWS_SHARED_CREDENTIALS_FILE", "/elsewhere/c");
	expect(BARE, "AKIDDEFAULT");
	begin();
	s3_rig_file(&r, "/etc/sf/c1", credentials);
	s3_rig_file(&r, "/home/u/c2", "[default]\naws_access_key_id = AKIDLATER\n");
	expect(BARE "shared_credentials_files = [\"c1\", \"~/c2\"]", "AKIDLATER");
	begin();
	s3_rig_file(&r, "/elsewhere/config", config);
	s3_rig_var(&r, "AWS_CONFIG_FILE", "/elsewhere/config");
	expect(BARE "profile = \"conf\"", "AKIDCONF");
}

static void
refuses_profiles_that_lead_nowhere(void)
{
	static const char *const profiles[][2] = { { "half", "other half" }, { "nobody", "no profile" }, { "orphan", "neither source_profile" },
		{ "mfa", "second factor" }, { "circle", "in a circle" }, { "oddsource", "credential_source is" }, { "lost", "no profile \"gone\"" } };
	static const char more[] = "[profile orphan]\nrole_arn = r\n[profile mfa]\nrole_arn = r\nsource_profile = prod\nmfa_serial = m\n"
	    "[profile circle]\nrole_arn = r\nsource_profile = circle2\n[profile circle2]\nrole_arn = r\nsource_profile = circle\n"
	    "[profile oddsource]\nrole_arn = r\ncredential_source = Somewhere\n[profile lost]\nrole_arn = r\nsource_profile = gone\n";

	for (size_t i = 0; i < ARRAY_LEN(profiles); i++) {
		char args[512];

		begin();
		files();
		s3_rig_file(&r, "/home/u/.aws/config", more);
		snprintf(args, sizeof(args), BARE "profile = \"%s\"", profiles[i][0]);
		if (s3_rig_try(&r, args) != ERR_CONFIG || strstr(r.err.msg, profiles[i][1]) == NULL)
			test_fail(__FILE__, __LINE__, "%s: %s", profiles[i][0], r.err.msg);
		s3_rig_close(&r);
	}
	begin();
	s3_rig_var(&r, "AWS_WEB_IDENTITY_TOKEN_FILE", "/x");
	CHECK_U64(s3_rig_try(&r, BARE), ERR_CONFIG);
	CHECK(strstr(r.err.msg, "without AWS_ROLE_ARN") != NULL);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- containers */

static const char container[] = "{\"RoleArn\":\"arn:aws:iam::1:role/t\",\"AccessKeyId\":\"ASIAECS\",\"SecretAccessKey\":\"" FAKE_S3_SECRET
    "\",\"Token\":\"ecstok\",\"Expiration\":\"2026-11-22T06:00:00Z\",\"Nested\":{\"AccessKeyId\":\"no\"}}";

static void
container_answers(const char *what, unsigned times)
{
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = what, .how = FAKE_ANSWER, .status = 200, .body = container, .times = times });
	r.fake->session_token = "ecstok";
}

static void
asks_the_container(void)
{
	begin();
	s3_rig_var(&r, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/abcd");
	container_answers("http://169.254.170.2/v2/credentials/abcd", 1);
	expect(BARE, "ASIAECS");
	begin();
	s3_rig_var(&r, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:8080/creds");
	s3_rig_var(&r, "AWS_CONTAINER_AUTHORIZATION_TOKEN", "sesame");
	container_answers("http://127.0.0.1:8080/creds", 1);
	r.fake->access = "ASIAECS";
	s3_rig_open(&r, BARE);
	CHECK_OK(get(), r.err);
	CHECK_STR(fake_s3_header(r.fake, 0, "authorization"), "sesame");
	s3_rig_close(&r);
}

static void
reads_the_token_of_the_container_each_time(void)
{
	char path[256];
	int  fd;

	snprintf(path, sizeof(path), "%s/token", test_tmpdir());
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK(write(fd, "from-file\n", 10) == 10);
	close(fd);
	begin();
	s3_rig_var(&r, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials");
	s3_rig_var(&r, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path);
	s3_rig_var(&r, "AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this");
	container_answers("http://169.254.170.23/v1/credentials", 1);
	r.fake->access = "ASIAECS";
	s3_rig_open(&r, BARE);
	CHECK_OK(get(), r.err);
	CHECK_STR(fake_s3_header(r.fake, 0, "authorization"), "from-file");
	s3_rig_close(&r);
}

static void
refuses_containers_that_others_can_hear(void)
{
	static const struct {
		const char *url;
		bool        ok;
	} rows[] = { { "http://10.0.0.1/c", false }, { "http://example.com/c", false }, { "http://169.254.170.22/c", false },
		{ "https://example.com/c", true }, { "http://localhost:1/c", true }, { "http://[::1]/c", true },
		{ "http://[fd00:ec2::23]/c", true }, { "http://127.9.9.9/c", true } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		s3_rig_var(&r, "AWS_CONTAINER_CREDENTIALS_FULL_URI", rows[i].url);
		container_answers(rows[i].url, 1);
		r.fake->access = "ASIAECS";
		s3_rig_open(&r, BARE);
		if (get() != (rows[i].ok ? ERR_OK : ERR_CONFIG))
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i].url, r.err.msg);
		s3_rig_close(&r);
	}
}

static void
says_why_the_container_refuses(void)
{
	begin();
	s3_rig_var(&r, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = "169.254.170.2", .how = FAKE_ANSWER, .status = 403, .times = 9,
	    .body = "{\"code\":\"AccessDenied\",\"message\":\"no role\"}" });
	s3_rig_open(&r, BARE);
	CHECK_U64(get(), ERR_AUTH);
	CHECK(strstr(r.err.msg, "AccessDenied: no role") != NULL);
	CHECK_U64(fake_s3_seen(r.fake, FAKE_S3_HOST), 0);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- instances */

static const char instance[] = "{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"ASIAIMDS\",\"SecretAccessKey\":\""
    FAKE_S3_SECRET "\",\"Token\":\"imdstok\",\"Expiration\":\"2026-11-22T01:00:00Z\"}";

static void
instance_answers(void)
{
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "PUT", .what = INSTANCE "/latest/api/token", .how = FAKE_ANSWER, .status = 200,
	    .body = "AQAEtoken==", .times = 9 });
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = INSTANCE_GET "my-role", .how = FAKE_ANSWER, .status = 200, .body = instance,
	    .times = 9 });
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = INSTANCE_GET, .how = FAKE_ANSWER, .status = 200, .body = "my-role\n",
	    .times = 9 });
	r.fake->session_token = "imdstok";
	r.fake->access = "ASIAIMDS";
}

static void
asks_the_instance(void)
{
	begin();
	instance_answers();
	s3_rig_open(&r, BARE);
	CHECK_OK(get(), r.err);
	CHECK_STR(used(), "ASIAIMDS");
	CHECK_U64(r.fake->nlog, 4);
	CHECK_STR(fake_s3_header(r.fake, 0, "x-aws-ec2-metadata-token-ttl-seconds"), "300");
	CHECK_STR(fake_s3_header(r.fake, 1, "x-aws-ec2-metadata-token"), "AQAEtoken==");
	CHECK_STR(fake_s3_header(r.fake, 2, "x-aws-ec2-metadata-token"), "AQAEtoken==");
	CHECK_OK(get(), r.err);
	CHECK_U64(r.fake->nlog, 5);
	s3_rig_close(&r);
}

static void
renews_the_session_with_the_instance(void)
{
	begin();
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = INSTANCE_GET, .how = FAKE_ANSWER, .status = 401 });
	instance_answers();
	s3_rig_open(&r, BARE);
	CHECK_OK(get(), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "api/token"), 2);
	s3_rig_close(&r);
}

static void
has_no_credentials_anywhere(void)
{
	begin();
	s3_rig_open(&r, BARE);
	CHECK_U64(get(), ERR_AUTH);
	CHECK(strstr(r.err.msg, "no credentials") != NULL && strstr(r.err.hint, "AWS_ACCESS_KEY_ID") != NULL);
	CHECK_U64(fake_s3_seen(r.fake, "api/token"), 3);
	CHECK(loop_now(r.loop) < 5000);
	s3_rig_close(&r);
	begin();
	s3_rig_var(&r, "AWS_EC2_METADATA_DISABLED", "TRUE");
	s3_rig_open(&r, BARE);
	CHECK_U64(get(), ERR_AUTH);
	CHECK_U64(r.fake->nlog, 0);
	s3_rig_close(&r);
	begin();
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = INSTANCE_GET, .how = FAKE_ANSWER, .status = 404 });
	instance_answers();
	s3_rig_open(&r, BARE);
	CHECK_U64(get(), ERR_AUTH);
	CHECK(strstr(r.err.msg, "the instance has no role") != NULL);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- staying fresh */

static void
pass(int64_t ms)
{
	s3_rig_run(&r, op_sleep(r.loop, ms));
}

static void
renews_before_the_end(void)
{
	begin();
	instance_answers();
	s3_rig_open(&r, BARE);
	CHECK_OK(get(), r.err);
	pass(50 * MINUTE);
	CHECK_OK(get(), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "api/token"), 1);
	pass(6 * MINUTE); /* less than five minutes are left */
	CHECK_OK(get(), r.err);
	pass(1000); /* while the old ones are in use */
	CHECK_U64(fake_s3_seen(r.fake, "api/token"), 2);
	s3_rig_close(&r);
}

static void
goes_on_with_good_ones_when_renewal_fails(void)
{
	begin();
	instance_answers();
	s3_rig_open(&r, BARE);
	CHECK_OK(get(), r.err);
	pass(56 * MINUTE);
	fake_s3_forget(r.fake);
	fake_s3_no_rules(r.fake); /* the instance falls silent */
	CHECK_OK(get(), r.err);
	pass(5000);
	CHECK_U64(fake_s3_seen(r.fake, "api/token"), 3);
	CHECK_OK(get(), r.err);
	pass(5000);
	CHECK_U64(fake_s3_seen(r.fake, "api/token"), 3); /* not asked again at once */
	pass(5 * MINUTE);
	CHECK_U64(get(), ERR_NETWORK); /* now they are over */
	s3_rig_close(&r);
}

struct many {
	size_t          n;
	struct snapshot got[20];
};

static struct op *
next_get(void *arg)
{
	struct many *m = arg;

	return m->n == ARRAY_LEN(m->got) ? NULL : provider_get(r.b, &(struct state_ref){ "a" }, NULL, &m->got[m->n++]);
}

static void
fetches_once_for_all(void)
{
	struct many m = { .n = 0 };

	begin();
	instance_answers();
	s3_rig_open(&r, BARE);
	CHECK_OK(s3_rig_run(&r, op_each_of(r.loop, next_get, NULL, &m, 0)), r.err);
	for (size_t i = 0; i < ARRAY_LEN(m.got); i++) {
		CHECK(m.got[i].body != NULL);
		snapshot_free(&m.got[i]);
	}
	CHECK_U64(fake_s3_seen(r.fake, "api/token"), 1);
	CHECK_U64(r.b->requests, 20);
	s3_rig_close(&r);
}

static void
renews_once_what_the_server_calls_expired(void)
{
	begin();
	instance_answers();
	s3_rig_open(&r, BARE);
	CHECK_OK(get(), r.err);
	fake_s3_forget(r.fake);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = FAKE_S3_HOST, .how = FAKE_ANSWER, .status = 400,
	    .body = "<Error><Code>ExpiredToken</Code></Error>" });
	CHECK_OK(get(), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "api/token"), 1);
	CHECK_U64(fake_s3_seen(r.fake, FAKE_S3_HOST), 2);
	fake_s3_forget(r.fake);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = FAKE_S3_HOST, .how = FAKE_ANSWER, .status = 400, .times = 9,
	    .body = "<Error><Code>ExpiredToken</Code></Error>" });
	CHECK_U64(get(), ERR_AUTH);
	CHECK_U64(fake_s3_seen(r.fake, FAKE_S3_HOST), 2);
	CHECK(strstr(r.err.msg, "the instance's metadata") != NULL);
	s3_rig_close(&r);
}

static void
reads_rotated_keys_from_the_file(void)
{
	begin();
	files();
	r.fake->access = "AKIDDEFAULT";
	s3_rig_open(&r, BARE);
	CHECK_OK(get(), r.err);
	r.fake->access = "AKIDNEW"; /* rotated: the old key is unknown, the file has the new one */
	s3_rig_file(&r, "/home/u/.aws/credentials", "[default]\naws_access_key_id = AKIDNEW\naws_secret_access_key = " FAKE_S3_SECRET);
	CHECK_OK(get(), r.err);
	CHECK_STR(used(), "AKIDNEW");
	s3_rig_close(&r);
	begin();
	env_keys("AKIDENV"); /* from the environment there are no others */
	s3_rig_open(&r, BARE);
	CHECK_U64(get(), ERR_AUTH);
	CHECK_U64(r.fake->nlog, 1);
	CHECK(strstr(r.err.msg, "the environment") != NULL);
	s3_rig_close(&r);
}

static void
is_cancelled_while_it_waits(void)
{
	struct snapshot s;

	begin();
	instance_answers();
	s3_rig_open(&r, BARE);
	CHECK_U64(s3_rig_run_for(&r, provider_get(r.b, &(struct state_ref){ "a" }, NULL, &s), 12), ERR_CANCELLED);
	s3_rig_close(&r); /* the backend goes while its credentials are still being fetched */
}

/* ---------------------------------------------------------------- answers and files */

static void
parses_answers(void)
{
	static const struct {
		const char   *json;
		enum err_code want;
	} rows[] = {
		{ "{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\"}", ERR_OK },
		{ "{\"Code\":\"Success\",\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\",\"Expiration\":\"2026-11-22T06:00:00.5Z\"}", ERR_OK },
		{ "{\"Code\":\"Failed\",\"Message\":\"why\"}", ERR_AUTH },
		{ "{\"AccessKeyId\":\"a\"}", ERR_CORRUPT },
		{ "{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"b\"}", ERR_CORRUPT },
		{ "{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\",\"Expiration\":\"soon\"}", ERR_CORRUPT },
		{ "{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\"", ERR_CORRUPT },
		{ "[\"AccessKeyId\"]", ERR_CORRUPT },
		{ "", ERR_CORRUPT },
		{ "<html>", ERR_CORRUPT },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct s3_keys k = { 0 };
		struct err     e = { .msg = "" };

		if (s3_keys_parse(span_str(rows[i].json), &k, &e) != rows[i].want)
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i].json, e.msg);
		CHECK((k.access_key != NULL) == (rows[i].want == ERR_OK));
		s3_keys_free(&k);
	}
}

static void
ini_pair(void *arg, struct span section, struct span parent, struct span key, struct span value)
{
	struct buf *b = arg;

	if (key.n == 0) {
		buf_printf(b, "[%.*s]", (int)section.n, (const char *)section.p);
		return;
	}
	buf_printf(b, "%.*s|%.*s|%.*s|%.*s;", (int)section.n, (const char *)section.p, (int)parent.n, (const char *)parent.p, (int)key.n,
	    (const char *)key.p, (int)value.n, (const char *)value.p);
}

static const struct {
	const char *text, *want;
} inis[] = {
	{ "", "" },
	{ "[a]\nk=v", "[a]a||k|v;" },
	{ "\xef\xbb\xbf[a]\r\nk = v\r\n", "[a]a||k|v;" },
	{ "[ profile  a ]  # c\n  k =  v w  \n", "[profile  a]profile  a||k|v w;" },
	{ "# c\n; c\n  # c\n[a]\nk = v # c\nl = v#no ;c\nm = #x\nn =; \n", "[a]a||k|v;a||l|v#no;a||m|;a||n|;;" },
	{ "[a]\nk = a=b==\n = v\nnothing\n[b]\n", "[a]a||k|a=b==;[b]" },
	{ "k = v\n[a\nk = v\n[]\nk = v\n[b]\nk = v", "[b]b||k|v;" },
	{ "[a]\ns3 =\n  x = 1\n  y = 2\nz = 3\n  w = 4\n", "[a]a||s3|;a|s3|x|1;a|s3|y|2;a||z|3;a||w|4;" },
	{ "[a]\ns3 =\n[b]\n  x = 1\n", "[a]a||s3|;[b]b||x|1;" },
	{ "[a]\n\tk\t=\tv\t;\tc\n", "[a]a||k|v;" },
};

static void
parses_the_dialect_of_the_shared_files(void)
{
	for (size_t i = 0; i < ARRAY_LEN(inis); i++) {
		struct buf b;

		buf_init(&b, 0);
		s3_ini_parse(span_str(inis[i].text), ini_pair, &b);
		if (strcmp(buf_str(&b), inis[i].want) != 0)
			test_fail(__FILE__, __LINE__, "%s: \"%s\", not \"%s\"", inis[i].text, buf_str(&b), inis[i].want);
		buf_free(&b);
	}
}

/* A word without anything that means something to the parser at its ends. */
static void
draw_word(struct rand *rand, struct buf *ret)
{
	static const char letters[] = "abcXYZ019_-./+=:@\"'\\";
	size_t            n = 1 + rand_below(rand, 12);

	buf_putc(ret, 'w');
	while (n-- > 0)
		buf_putc(ret, letters[rand_below(rand, sizeof(letters) - 1)]);
}

static void
draw_noise(struct rand *rand, struct buf *ret)
{
	static const char *const noise[] = { "", "", "\n", "# comment = no\n", "; [no]\n", "  \t\n", "line without a sign\n" };

	buf_puts(ret, noise[rand_below(rand, ARRAY_LEN(noise))]);
}

/* What is drawn comes back, whatever stands around it. */
static void
reads_back_what_is_drawn(void)
{
	static const char *const blanks[] = { "", " ", "\t", "  \t " }, *const ends[] = { "\n", "\r\n", " # c\n", "\t;c=d\n", " \n" };
	struct rand              rand;

	rand_seeded(&rand, 3);
	for (int i = 0; i < 2000; i++) {
		struct buf text, want, got, section, key, value;

		buf_init(&text, 0);
		buf_init(&want, 0);
		buf_init(&got, 0);
		for (uint64_t s = rand_below(&rand, 4); s > 0; s--) {
			buf_init(&section, 0);
			draw_word(&rand, &section);
			buf_printf(&want, "[%s]", buf_str(&section));
			buf_printf(&text, "[%s%s%s]%s", blanks[rand_below(&rand, 4)], buf_str(&section), blanks[rand_below(&rand, 4)],
			    ends[rand_below(&rand, 5)]);
			for (uint64_t k = rand_below(&rand, 5); k > 0; k--) {
				buf_init(&key, 0);
				buf_init(&value, 0);
				buf_printf(&key, "k%llu", (unsigned long long)rand_below(&rand, 100));
				draw_word(&rand, &value);
				draw_noise(&rand, &text);
				buf_printf(&text, "%s%s%s=%s%s%s", blanks[rand_below(&rand, 4)], buf_str(&key), blanks[rand_below(&rand, 4)],
				    blanks[rand_below(&rand, 4)], buf_str(&value), ends[rand_below(&rand, 5)]);
				buf_printf(&want, "%s||%s|%s;", buf_str(&section), buf_str(&key), buf_str(&value));
				buf_free(&key);
				buf_free(&value);
			}
			buf_free(&section);
		}
		s3_ini_parse(buf_span(&text), ini_pair, &got);
		if (strcmp(buf_str(&got), buf_str(&want)) != 0)
			test_fail(__FILE__, __LINE__, "%s\n\"%s\", not \"%s\"", buf_str(&text), buf_str(&got), buf_str(&want));
		buf_free(&text);
		buf_free(&want);
		buf_free(&got);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "prefers_the_block", prefers_the_block },
	    { "prefers_its_profile_to_the_environment", prefers_its_profile_to_the_environment },
	    { "prefers_the_environment_to_a_profile_of_the_environment", prefers_the_environment_to_a_profile_of_the_environment },
	    { "takes_the_profile_of_the_environment", takes_the_profile_of_the_environment },
	    { "takes_a_profile_of_the_config_file", takes_a_profile_of_the_config_file },
	    { "finds_the_files_where_it_is_told", finds_the_files_where_it_is_told },
	    { "refuses_profiles_that_lead_nowhere", refuses_profiles_that_lead_nowhere },
	    { "asks_the_container", asks_the_container },
	    { "reads_the_token_of_the_container_each_time", reads_the_token_of_the_container_each_time },
	    { "refuses_containers_that_others_can_hear", refuses_containers_that_others_can_hear },
	    { "says_why_the_container_refuses", says_why_the_container_refuses },
	    { "asks_the_instance", asks_the_instance },
	    { "renews_the_session_with_the_instance", renews_the_session_with_the_instance },
	    { "has_no_credentials_anywhere", has_no_credentials_anywhere },
	    { "renews_before_the_end", renews_before_the_end },
	    { "goes_on_with_good_ones_when_renewal_fails", goes_on_with_good_ones_when_renewal_fails },
	    { "fetches_once_for_all", fetches_once_for_all },
	    { "renews_once_what_the_server_calls_expired", renews_once_what_the_server_calls_expired },
	    { "reads_rotated_keys_from_the_file", reads_rotated_keys_from_the_file },
	    { "is_cancelled_while_it_waits", is_cancelled_while_it_waits },
	    { "parses_answers", parses_answers },
	    { "parses_the_dialect_of_the_shared_files", parses_the_dialect_of_the_shared_files },
	    { "reads_back_what_is_drawn", reads_back_what_is_drawn },
	    { NULL, NULL } });
}
