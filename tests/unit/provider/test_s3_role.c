/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/s3_rig.h"
#include "../../lib/test.h"
#include "base/encode.h"
#include "provider/s3/s3_cred.h"

/* Credentials that are taken with others: roles, web identities, logins of IAM Identity Center, programs. The fake issuers check what
 * they are sent, signatures too; which credentials came of it is seen by the fake store. */
#define WHERE "bare bucket = \"acme\"\nregion = \"us-east-1\"\nendpoint = \"http://" FAKE_S3_HOST "\"\nuse_path_style = true\n" \
	"endpoints = { sts = \"http://" FAKE_STS_HOST "\", sso = \"http://sso.test\" }\n"
#define KEYS  "access_key = \"" FAKE_S3_ACCESS "\"\nsecret_key = \"" FAKE_S3_SECRET "\"\n"
#define ARN   "arn:aws:iam::123456789012:role/tfstate"
#define TOKEN "eyJhbGciOiJSUzI1NiJ9.CANARY-web-token.c2ln"

static struct s3_rig r;

static void
begin(void)
{
	s3_rig_init(&r);
	fake_s3_put(r.fake, "a", "{}");
	r.fake->access = "ASIAROLE1"; /* the store takes nobody but the first role */
	r.fake->session_token = "role1";
}

static enum err_code
get(void)
{
	struct snapshot s;
	enum err_code   rc = s3_rig_get(&r, "a", &s);

	snapshot_free(&s);
	return rc;
}

static void
works(const char *args, const char *form)
{
	s3_rig_open(&r, args);
	if (get() != ERR_OK)
		test_fail(__FILE__, __LINE__, "%s; %s", r.err.msg, r.err.hint);
	if (form != NULL)
		CHECK_STR(r.fake->sts_form, form);
	CHECK_U64(r.fake->wrong, 0);
	s3_rig_close(&r);
}

static void
fails(const char *args, enum err_code want, const char *msg, const char *hint)
{
	enum err_code rc;

	s3_rig_open(&r, args);
	rc = get();
	if (rc != want || strstr(r.err.msg, msg) == NULL || strstr(r.err.hint, hint) == NULL)
		test_fail(__FILE__, __LINE__, "%s: %s; %s", err_kind(rc), r.err.msg, r.err.hint);
	CHECK(strstr(r.err.msg, "CANARY") == NULL && strstr(r.err.hint, "CANARY") == NULL);
	CHECK(strstr(r.err.msg, FAKE_S3_SECRET) == NULL && strstr(r.err.hint, FAKE_S3_SECRET) == NULL);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- the block's role */

#define FULL_FORM "Action=AssumeRole&DurationSeconds=3600&ExternalId=ext-1&PolicyArns.member.1.arn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2F" \
	"ReadOnlyAccess&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Ftfstate&RoleSessionName=tf-session&Tags.member.1.Key=team&" \
	"Tags.member.1.Value=net&TransitiveTagKeys.member.1=team&Version=2011-06-15"

/* The body of a recorded request to STS. */
static char *
recorded(const char *file)
{
	json_error_t e;
	size_t       n, i;
	const char  *text = test_read(file, &n);
	json_t      *root = json_loadb(text, n, 0, &e), *x;
	char        *ret = NULL;

	json_array_foreach(json_object_get(root, "exchanges"), i, x) {
		const char *body = json_string_value(json_object_get(json_object_get(x, "request"), "body"));

		if (ret == NULL && body != NULL && strncmp(body, "Action=", 7) == 0)
			ret = xstrdup(body);
	}
	json_decref(root);
	CHECK(ret != NULL);
	return ret;
}

static void
takes_a_role_as_terraform_does(void)
{
	char *form = recorded("golden/s3/credentials/sts-assume-role.json");

	begin();
	CHECK_STR(form, FULL_FORM);
	works(WHERE KEYS "assume_role = {\nrole_arn = \"" ARN "\"\nduration = \"1h\"\nexternal_id = \"ext-1\"\nsession_name = \"tf-session\"\n"
	    "policy_arns = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]\ntags = { team = \"net\" }\ntransitive_tag_keys = [\"team\"]\n}", form);
	begin(); /* the same as a block */
	works(WHERE KEYS "assume_role {\nrole_arn = \"" ARN "\"\nduration = \"1h\"\nexternal_id = \"ext-1\"\nsession_name = \"tf-session\"\n"
	    "policy_arns = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]\ntags = { team = \"net\" }\ntransitive_tag_keys = [\"team\"]\n}", form);
	begin(); /* and as it was written before */
	works(WHERE KEYS "role_arn = \"" ARN "\"\nassume_role_duration_seconds = 3600\nexternal_id = \"ext-1\"\nsession_name = \"tf-session\"\n"
	    "assume_role_policy_arns = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]\nassume_role_tags = { team = \"net\" }\n"
	    "assume_role_transitive_tag_keys = [\"team\"]\n", form);
	free(form);
	begin();
	works(WHERE KEYS "assume_role = { role_arn = \"r\", policy = \"{}\", source_identity = \"me\" }",
	    "Action=AssumeRole&Policy=%7B%7D&RoleArn=r&RoleSessionName=stateferry%40edge-7&SourceIdentity=me&Version=2011-06-15");
}

static void
refuses_roles_that_say_too_little_or_too_much(void)
{
	static const char *const rows[][2] = {
		{ "assume_role = { session_name = \"x\" }", "\"role_arn\"" },
		{ "assume_role = { role_arn = \"r\", sesion_name = \"x\" }", "did you mean \"session_name\"" },
		{ "assume_role = { role_arn = \"\" }", "role_arn is empty" },
		{ "assume_role = \"r\"", "expected an object" },
		{ "assume_role = { role_arn = \"r\" }\nrole_arn = \"r\"", "either assume_role or role_arn" },
		{ "assume_role_with_web_identity = { role_arn = \"r\" }", "web_identity_token_file" },
		{ "allowed_account_ids = [\"1\"]\nforbidden_account_ids = [\"2\"]", "not both" },
		{ "allowed_account_ids = [\"1\"]\nskip_requesting_account_id = true", "skip_requesting_account_id" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *args = xasprintf(WHERE KEYS "%s", rows[i][0]);

		memset(&r, 0, sizeof(r));
		if (s3_rig_try(&r, args) != ERR_CONFIG || strstr(r.err.msg, rows[i][1]) == NULL)
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i][0], r.err.msg);
		s3_rig_close(&r);
		free(args);
	}
}

static void
says_why_a_role_is_not_given(void)
{
	static const struct {
		const char   *code;
		enum err_code want;
		const char   *hint;
	} rows[] = { { "AccessDenied", ERR_AUTH, "sts:AssumeRole" }, { "ExpiredTokenException", ERR_AUTH, "renew" },
		{ "InvalidClientTokenId", ERR_AUTH, "access key" }, { "SignatureDoesNotMatch", ERR_AUTH, "secret_key" },
		{ "ValidationError", ERR_CONFIG, "arguments" }, { "Throttling", ERR_BUSY, "" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		r.fake->sts_refuses = rows[i].code;
		fails(WHERE KEYS "assume_role = { role_arn = \"" ARN "\" }", rows[i].want, rows[i].want == ERR_BUSY ? "STS" : ARN, rows[i].hint);
	}
	begin();
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = FAKE_STS_HOST, .how = FAKE_ANSWER, .status = 200, .body = "<html/>", .times = 9 });
	fails(WHERE KEYS "assume_role = { role_arn = \"" ARN "\" }", ERR_CORRUPT, "no complete credentials", "endpoint of sts");
	begin();
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = FAKE_STS_HOST, .how = FAKE_ANSWER, .status = 503, .times = 99 });
	fails(WHERE KEYS "assume_role = { role_arn = \"" ARN "\" }", ERR_BUSY, ARN, "");
	begin();
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = FAKE_STS_HOST, .how = FAKE_CUT, .times = 1 });
	r.fake->access = "ASIAROLE2";
	r.fake->session_token = "role2";
	works(WHERE KEYS "assume_role = { role_arn = \"" ARN "\" }", NULL); /* asked again */
}

/* One request for many that wait; the next before the end. */
static void
renews_a_role_before_it_ends(void)
{
	begin();
	s3_rig_open(&r, WHERE KEYS "assume_role = { role_arn = \"r\" }");
	CHECK_OK(get(), r.err);
	CHECK_OK(get(), r.err);
	CHECK_U64(r.fake->roles, 1);
	s3_rig_run(&r, op_sleep(r.loop, (int64_t)57 * 60 * 1000));
	CHECK_OK(get(), r.err); /* with the old ones, while the new ones are fetched */
	s3_rig_run(&r, op_sleep(r.loop, 1000));
	CHECK_U64(r.fake->roles, 2);
	r.fake->access = "ASIAROLE2";
	r.fake->session_token = "role2";
	CHECK_OK(get(), r.err);
	r.fake->access = "ASIAROLE3"; /* revoked: refused by the store, and taken anew */
	r.fake->session_token = "role3";
	CHECK_OK(get(), r.err);
	CHECK_U64(r.fake->roles, 3);
	s3_rig_close(&r);
}

static void
asks_whose_they_are(void)
{
	begin();
	r.fake->access = FAKE_S3_ACCESS;
	r.fake->session_token = NULL;
	works(WHERE KEYS "allowed_account_ids = [\"1\", \"123456789012\"]", "Action=GetCallerIdentity&Version=2011-06-15");
	begin();
	fails(WHERE KEYS "allowed_account_ids = [\"1\"]", ERR_AUTH, "are of account 123456789012", "allowed_account_ids");
	begin();
	fails(WHERE KEYS "forbidden_account_ids = [\"123456789012\"]\nassume_role = { role_arn = \"r\" }", ERR_AUTH, "role r", "forbidden");
	begin();
	works(WHERE KEYS "forbidden_account_ids = [\"1\"]\nassume_role = { role_arn = \"r\" }", NULL);
}

/* ---------------------------------------------------------------- profiles */

static const char credentials[] = "[base]\naws_access_key_id = " FAKE_S3_ACCESS "\naws_secret_access_key = " FAKE_S3_SECRET "\n";
static const char config[] = "[profile one]\nrole_arn = arn:one\nsource_profile = base\nexternal_id = e\nrole_session_name = s\n"
    "duration_seconds = 1200\n[profile two]\nrole_arn = arn:two\nsource_profile = one\n"
    "[profile self]\nrole_arn = arn:self\nsource_profile = self\naws_access_key_id = " FAKE_S3_ACCESS "\naws_secret_access_key = "
    FAKE_S3_SECRET "\n[profile env]\nrole_arn = arn:env\ncredential_source = Environment\n"
    "[profile web]\nrole_arn = arn:web\nweb_identity_token_file = /run/token\n"
    "[profile container]\nrole_arn = arn:c\ncredential_source = EcsContainer\n";

static void
files(void)
{
	s3_rig_file(&r, "/home/u/.aws/credentials", credentials);
	s3_rig_file(&r, "/home/u/.aws/config", config);
	s3_rig_file(&r, "/run/token", TOKEN "\n");
}

static void
follows_profiles(void)
{
	begin();
	files();
	works(WHERE "profile = \"one\"",
	    "Action=AssumeRole&DurationSeconds=1200&ExternalId=e&RoleArn=arn%3Aone&RoleSessionName=s&Version=2011-06-15");
	begin();
	files();
	r.fake->access = "ASIAROLE3"; /* one, two, and the block's own on top */
	r.fake->session_token = "role3";
	works(WHERE "profile = \"two\"\nassume_role = { role_arn = \"arn:three\", session_name = \"s\" }",
	    "Action=AssumeRole&RoleArn=arn%3Athree&RoleSessionName=s&Version=2011-06-15");
	begin();
	files();
	works(WHERE "profile = \"self\"", NULL);
	begin();
	files();
	s3_rig_var(&r, "AWS_ACCESS_KEY_ID", FAKE_S3_ACCESS);
	s3_rig_var(&r, "AWS_SECRET_ACCESS_KEY", FAKE_S3_SECRET);
	works(WHERE "profile = \"env\"", NULL);
	begin();
	files();
	fails(WHERE "profile = \"container\"", ERR_CONFIG, "EcsContainer", "");
	begin();
	files();
	s3_rig_var(&r, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:8080/creds");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = "127.0.0.1:8080/creds", .how = FAKE_ANSWER, .status = 200,
	    .body = "{\"AccessKeyId\":\"" FAKE_S3_ACCESS "\",\"SecretAccessKey\":\"" FAKE_S3_SECRET "\"}" });
	works(WHERE "profile = \"container\"", NULL);
}

/* ---------------------------------------------------------------- web identities */

static void
takes_a_role_with_a_web_identity(void)
{
	char *form = recorded("golden/s3/credentials/sts-assume-role-with-web-identity.json");
	char *irsa = recorded("golden/s3/credentials/irsa-environment.json");
	char *token = xstrdup(strstr(form, "WebIdentityToken=") + strlen("WebIdentityToken="));
	char *args = xasprintf(WHERE "assume_role_with_web_identity = {\nrole_arn = \"" ARN "\"\nsession_name = \"web-session\"\n"
	    "web_identity_token = \"%s\"\n}", token);

	begin();
	works(args, form);
	begin(); /* instead of whatever there is */
	s3_rig_var(&r, "AWS_ACCESS_KEY_ID", "AKIDOTHER");
	s3_rig_var(&r, "AWS_SECRET_ACCESS_KEY", "x");
	s3_rig_file(&r, "/etc/sf/token", token);
	works(WHERE "assume_role_with_web_identity = {\nrole_arn = \"" ARN "\"\nsession_name = \"web-session\"\n"
	    "web_identity_token_file = \"token\"\n}", form);
	begin(); /* as a pod of EKS is given it */
	s3_rig_file(&r, "/run/token", token);
	s3_rig_var(&r, "AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token");
	s3_rig_var(&r, "AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/irsa");
	s3_rig_var(&r, "AWS_ROLE_SESSION_NAME", "irsa-sess");
	works(WHERE, irsa);
	begin();
	files();
	works(WHERE "profile = \"web\"", NULL);
	free(form);
	free(irsa);
	free(token);
	free(args);
}

static void
says_why_a_web_identity_is_refused(void)
{
	begin();
	files();
	r.fake->sts_refuses = "ExpiredTokenException";
	fails(WHERE "profile = \"web\"", ERR_AUTH, "web identity has expired", "issuer");
	begin();
	files();
	r.fake->sts_refuses = "InvalidIdentityToken";
	fails(WHERE "profile = \"web\"", ERR_AUTH, "is not accepted", "audience");
	begin();
	files();
	r.fake->sts_refuses = "AccessDenied";
	fails(WHERE "profile = \"web\"", ERR_AUTH, "arn:web is not allowed", "trust policy");
	begin();
	files();
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = FAKE_STS_HOST, .how = FAKE_ANSWER, .status = 400,
	    .body = "<ErrorResponse><Error><Code>ValidationError</Code><Message>Value '" TOKEN "' failed</Message></Error></ErrorResponse>" });
	fails(WHERE "profile = \"web\"", ERR_CONFIG, "400 ValidationError", "arguments of the role"); /* and no canary */
	begin();
	s3_rig_file(&r, "/home/u/.aws/config", config);
	fails(WHERE "profile = \"web\"", ERR_AUTH, "/run/token is not there", "web_identity_token_file");
	begin();
	files();
	s3_rig_file(&r, "/run/token", "\n");
	fails(WHERE "profile = \"web\"", ERR_AUTH, "is empty", "issues");
}

/* The token is read anew for each session. */
static void
reads_the_token_again(void)
{
	begin();
	files();
	s3_rig_open(&r, WHERE "profile = \"web\"");
	CHECK_OK(get(), r.err);
	s3_rig_file(&r, "/run/token", "second");
	s3_rig_run(&r, op_sleep(r.loop, (int64_t)57 * 60 * 1000));
	CHECK_OK(get(), r.err);
	s3_rig_run(&r, op_sleep(r.loop, 1000));
	CHECK(strstr(r.fake->sts_form, "WebIdentityToken=second") != NULL);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- IAM Identity Center */

static const char sso_config[] = "[profile new]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Reader\n"
    "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.awsapps.com/start\n"
    "[profile old]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\nsso_account_id = 123456789012\n"
    "sso_role_name = Reader\n[profile half]\nsso_session = corp\nsso_account_id = 1\n[profile none]\nsso_session = gone\n"
    "sso_account_id = 1\nsso_role_name = r\n";
static const char sso_answer[] = "{\"roleCredentials\":{\"accessKeyId\":\"ASIAROLE1\",\"secretAccessKey\":\"" FAKE_S3_SECRET "\","
    "\"sessionToken\":\"role1\",\"expiration\":1795316400000}}";

static void
login(const char *key, const char *until)
{
	static char text[4][256], path[4][128];
	static int  n;
	uint8_t     sum[SHA1_LEN];
	char        hex[2 * SHA1_LEN + 1];

	n = (n + 1) % 4;
	sha1_of(key, strlen(key), sum);
	hex_encode(sum, sizeof(sum), hex);
	snprintf(path[n], sizeof(path[n]), "/home/u/.aws/sso/cache/%s.json", hex);
	snprintf(text[n], sizeof(text[n]), "{\"startUrl\":\"x\",\"accessToken\":\"CANARY-sso\",\"expiresAt\":\"%s\"}", until);
	s3_rig_file(&r, path[n], text[n]);
}

static void
sso_answers(int status, const char *body)
{
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "GET", .how = FAKE_ANSWER, .status = status, .body = body,
	    .what = "http://sso.test/federation/credentials?account_id=123456789012&role_name=Reader" });
}

static void
uses_a_login(void)
{
	static const char *const profiles[][2] = { { "new", "corp" }, { "old", "https://corp.awsapps.com/start" } };

	for (size_t i = 0; i < ARRAY_LEN(profiles); i++) {
		char *args = xasprintf(WHERE "profile = \"%s\"", profiles[i][0]);

		begin();
		s3_rig_file(&r, "/home/u/.aws/config", sso_config);
		login(profiles[i][1], "2026-11-22T06:00:00Z");
		sso_answers(200, sso_answer);
		s3_rig_open(&r, args);
		CHECK_OK(get(), r.err);
		CHECK_STR(fake_s3_header(r.fake, 0, "x-amz-sso_bearer_token"), "CANARY-sso");
		CHECK(fake_s3_header(r.fake, 0, "authorization") == NULL);
		s3_rig_close(&r);
		free(args);
	}
}

static void
says_when_to_log_in(void)
{
	begin();
	s3_rig_file(&r, "/home/u/.aws/config", sso_config);
	fails(WHERE "profile = \"old\"", ERR_AUTH, "nobody has logged in", "aws sso login --profile old");
	begin();
	s3_rig_file(&r, "/home/u/.aws/config", sso_config);
	login("corp", "2026-11-21T23:00:00Z");
	fails(WHERE "profile = \"new\"", ERR_AUTH, "has expired", "aws sso login --sso-session corp");
	begin();
	s3_rig_file(&r, "/home/u/.aws/config", sso_config);
	login("corp", "2026-11-22T06:00:00Z");
	sso_answers(401, "{\"message\":\"Session token not found or invalid\",\"__type\":\"com.amazonaws.switchboard.portal#UnauthorizedException\"}");
	fails(WHERE "profile = \"new\"", ERR_AUTH, "401 UnauthorizedException", "aws sso login --sso-session corp");
	begin();
	s3_rig_file(&r, "/home/u/.aws/config", sso_config);
	login("corp", "2026-11-22T06:00:00Z");
	sso_answers(403, "{\"message\":\"No access\",\"__type\":\"x#ForbiddenException\"}");
	fails(WHERE "profile = \"new\"", ERR_AUTH, "has no role Reader", "sso_role_name");
	begin();
	s3_rig_file(&r, "/home/u/.aws/config", sso_config);
	fails(WHERE "profile = \"half\"", ERR_CONFIG, "expected sso_role_name", "");
	begin();
	s3_rig_file(&r, "/home/u/.aws/config", sso_config);
	fails(WHERE "profile = \"none\"", ERR_CONFIG, "no [sso-session gone]", "");
}

/* ---------------------------------------------------------------- programs */

static void
process(const char *command, enum err_code want, const char *msg)
{
	struct s3_keys keys = { 0 };
	struct err     e = { .code = ERR_OK };
	enum err_code  rc = s3_process_keys(command, NULL, &keys, &e);

	if (rc != want || (msg != NULL && rc == ERR_OK && strcmp(secret_str(keys.secret_key), msg) != 0) ||
	    (rc != ERR_OK && strstr(e.msg, msg) == NULL))
		test_fail(__FILE__, __LINE__, "%s: %s: %s, %s", command, err_kind(rc), e.msg, rc == ERR_OK ? secret_str(keys.secret_key) : "");
	CHECK(strstr(e.msg, "CANARY") == NULL);
	s3_keys_free(&keys);
}

static const char *
script(const char *name, const char *text)
{
	static char path[512];
	FILE       *f;

	snprintf(path, sizeof(path), "%s/%s", test_tmpdir(), name);
	f = fopen(path, "w");
	CHECK(f != NULL && fprintf(f, "#!/bin/sh\n%s\n", text) > 0 && fclose(f) == 0 && chmod(path, 0700) == 0);
	return path;
}

#define PRINTS "printf '{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"%s\",\"SessionToken\":\"t\"," \
	"\"Expiration\":\"2026-11-22T06:00:00Z\"}' \"$*\""

/* Words reach the program as written: no variable, no ";", no "$(...)" means anything. */
static void
runs_a_program_without_a_shell(void)
{
	static const char *const rows[][2] = { { "one two", "one two" }, { " 'a  b' \"c\\\" d\" e\\ f", "a  b c\\\" d e f" },
		{ "$HOME;`id` $(id) && x | y > z", "$HOME;`id` $(id) && x | y > z" } };
	const char    *path = script("with blank", PRINTS);
	struct s3_keys none = { 0 };
	struct err     e;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *command = xasprintf("  \"%s\" %s", path, rows[i][0]), *want = xstrdup(rows[i][1]);

		if (i == 1) { /* the quote inside is printed into JSON as it is: the answer is no JSON then */
			free(want);
			want = xstrdup("no");
			process(command, ERR_CORRUPT, "");
		} else {
			process(command, ERR_OK, want);
		}
		free(command);
		free(want);
	}
	process("\"unclosed", ERR_CONFIG, "quote");
	process("   ", ERR_CONFIG, "empty");
	CHECK(s3_process_keys("/nonexistent/program", NULL, &none, &e) != ERR_OK); /* told by the call, or by the child as 127 */
	CHECK(strstr(e.msg, "/nonexistent/program") != NULL || strstr(e.msg, "exit code 127") != NULL);
}

static void
bounds_a_program(void)
{
	process(script("fails", "echo CANARY >&2; echo CANARY; exit 3"), ERR_AUTH, "exit code 3");
	process(script("floods", "exec yes CANARY"), ERR_AUTH, "more than 65536 bytes");
	process(script("nothing", "exit 0"), ERR_CORRUPT, "");
	process(script("input", "read x && exit 9; set -- typed; " PRINTS), ERR_OK, "typed"); /* nobody types */
}

static void
takes_what_the_program_prints(void)
{
	char *args, *text;

	begin();
	text = xasprintf("[profile p]\ncredential_process = \"%s\"\n", script("prints", "printf '{\"Version\":1,\"AccessKeyId\":\"ASIAROLE1\","
	    "\"SecretAccessKey\":\"" FAKE_S3_SECRET "\",\"SessionToken\":\"role1\"}'"));
	s3_rig_file(&r, "/home/u/.aws/config", text);
	args = xasprintf(WHERE "profile = \"p\"");
	works(args, NULL);
	begin();
	free(text);
	text = xasprintf("[profile p]\ncredential_process = %s\n", script("dies", "exit 1"));
	s3_rig_file(&r, "/home/u/.aws/config", text);
	fails(args, ERR_AUTH, "profile \"p\": credential_process ended with exit code 1", "by hand");
	free(text);
	free(args);
}

/* A file that others may write names no program. */
static void
runs_nothing_that_others_could_have_written(void)
{
	struct s3_files   f = { .ncredentials = 0 };
	struct s3_profile p;
	struct err        e;
	const char       *path = script("config", "");
	FILE             *out = fopen(path, "w");

	CHECK(out != NULL && fprintf(out, "[profile p]\ncredential_process = x\n") > 0 && fclose(out) == 0);
	f.config[f.nconfig++] = xstrdup(path);
	for (int i = 0; i < 2; i++) {
		CHECK(chmod(path, i == 0 ? 0600 : 0620) == 0);
		CHECK_OK(s3_profile_read(NULL, &f, "p", &p, &e), e);
		CHECK(p.loose == (i == 1));
		s3_profile_free(&p);
	}
	s3_files_free(&f);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "takes_a_role_as_terraform_does", takes_a_role_as_terraform_does },
	    { "refuses_roles_that_say_too_little_or_too_much", refuses_roles_that_say_too_little_or_too_much },
	    { "says_why_a_role_is_not_given", says_why_a_role_is_not_given },
	    { "renews_a_role_before_it_ends", renews_a_role_before_it_ends },
	    { "asks_whose_they_are", asks_whose_they_are },
	    { "follows_profiles", follows_profiles },
	    { "takes_a_role_with_a_web_identity", takes_a_role_with_a_web_identity },
	    { "says_why_a_web_identity_is_refused", says_why_a_web_identity_is_refused },
	    { "reads_the_token_again", reads_the_token_again },
	    { "uses_a_login", uses_a_login },
	    { "says_when_to_log_in", says_when_to_log_in },
	    { "runs_a_program_without_a_shell", runs_a_program_without_a_shell },
	    { "bounds_a_program", bounds_a_program },
	    { "takes_what_the_program_prints", takes_what_the_program_prints },
	    { "runs_nothing_that_others_could_have_written", runs_nothing_that_others_could_have_written },
	    { NULL, NULL } });
}
