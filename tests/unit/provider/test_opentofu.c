/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/azure_rig.h"
#include "../../lib/fake_gcs.h"
#include "../../lib/s3_rig.h"
#include "../../lib/test.h"
#include "base/encode.h"
#include "base/time.h"
#include "provider/azurerm/azurerm_signin.h"

/* Where OpenTofu differs from Terraform: docs/protocol/opentofu.md, a test for each row that another test does not show. */
#define S3     "backend \"s3\" \"b\" {\n  bucket = \"acme\"\n  region = \"eu-west-3\"\n  access_key = \"a\"\n  secret_key = \"CANARY\"\n"
#define GCS    "backend \"gcs\" \"b\" {\n  bucket = \"" FAKE_GCS_BUCKET "\"\n  access_token = \"CANARY\"\n"
#define AZURE  "backend \"azurerm\" \"b\" {\n  storage_account_name = \"acmestates\"\n  container_name = \"tfstate\"\n  access_key = \"YQ==\"\n"
#define HTTP   "backend \"http\" \"b\" {\n  address = \"https://h.example/state\"\n"
#define LOCK   "  lock_address = \"https://h.example/lock\"\n  unlock_address = \"https://h.example/unlock\"\n"

static const char state[] = "{\"version\":4,\"serial\":3,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}\n";

/* What OpenTofu takes and Terraform refuses or does not know; says NULL: taken. No message repeats a value. */
static const struct {
	const char *block, *more, *says;
} rows[] = {
	{ S3, "  key = \"a//b.tfstate\"\n", NULL },
	{ S3, "  key = \"a/b.tfstate/\"\n", "key neither begins nor ends" },
	{ S3, "  role_arn = \"arn:aws:iam::1:role/r\"\n  session_name = \"s\"\n  external_id = \"e\"\n  assume_role_policy = \"{}\"\n"
	      "  assume_role_duration_seconds = 900\n  assume_role_policy_arns = [\"p\"]\n  assume_role_tags = { a = \"b\" }\n"
	      "  assume_role_transitive_tag_keys = [\"a\"]\n", NULL },
	{ S3, "  state_tags = { a = \"b\" }\n  lock_tags = {}\n", NULL },
	{ S3, "  http_proxy = \"http://p:1\"\n  https_proxy = \"http://q:1\"\n  no_proxy = \"h\"\n", NULL },
	{ S3, "  dynamodb_table = \"t\"\n  use_lockfile = true\n", NULL },
	{ GCS, "  universe_domain = \"cloud.example\"\n", NULL },
	{ GCS, "  universe_domain = \"https://CANARY/\"\n", "universe_domain" },
	{ AZURE, "  timeout_seconds = 300\n", NULL },
	{ AZURE, "  encryption_scope = \"CANARY\"\n", "encryption_scope" },
	{ AZURE, "  customer_provided_key = \"CANARY\"\n", "customer_provided_key" },
	{ HTTP, "  lock_address = \"\"\n  unlock_address = \"\"\n", NULL },
	{ HTTP, "  headers = { X-Api_Key-1 = \"CANARY !~\" }\n", NULL },
	{ HTTP, "  headers = { Authorization = \"Bearer CANARY\" }\n", NULL },
	{ HTTP, "  username = \"\"\n  headers = { Authorization = \"Bearer CANARY\" }\n", NULL },
	{ HTTP, "  username = \"u\"\n  headers = { AUTHORIZATION = \"Bearer CANARY\" }\n", "not both" },
	{ HTTP, "  headers = { content-type = \"CANARY\" }\n", "content-type" },
	{ HTTP, "  headers = { Content-MD5 = \"CANARY\" }\n", "Content-MD5" },
	{ HTTP, "  headers = { \"\" = \"CANARY\" }\n", "a name in headers" },
	{ HTTP, "  headers = { \"X Y\" = \"CANARY\" }\n", "a name in headers" },
	{ HTTP, "  headers = { \"X:Y\" = \"CANARY\" }\n", "a name in headers" },
	{ HTTP, "  headers = { \"X\xc3\xa4\" = \"CANARY\" }\n", "a name in headers" },
	{ HTTP, "  headers = { X = \"CANARY\xc3\xa4\" }\n", "not printable ASCII" },
	{ HTTP, "  headers = { X = \"CANARY\\r\\nY: z\" }\n", "not printable ASCII" },
};

static void
takes_the_arguments(void)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char       *block = xasprintf("%s%s}\n", rows[i].block, rows[i].more);
		const char *why = provider_rig_refuses(block);

		if ((why == NULL) != (rows[i].says == NULL) || (why != NULL && (strstr(why, rows[i].says) == NULL || strstr(why, "CANARY") != NULL)))
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i].more, why != NULL ? why : "accepted");
		free(block);
	}
}

/* ---------------------------------------------------------------- s3 */

/* The path goes out as it is written, the lock beside it, and its Path names the same. */
static void
keeps_two_slashes_in_a_key(void)
{
	struct state_ref ref = { "a//b.tfstate" };
	struct s3_rig    r = { 0 };
	struct lock_info l, holder;
	char             etag[ETAG_MAX];

	s3_rig_open(&r, "key = \"a//b.tfstate\"\nuse_lockfile = true");
	provider_lock_new(r.b, &ref, "", &l);
	CHECK_STR(l.path, "acme/a//b.tfstate");
	CHECK_OK(s3_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), r.err);
	CHECK(fake_s3_get(r.fake, "a//b.tfstate.tflock") != NULL);
	CHECK_OK(s3_rig_put(&r, ref.name, state, PUT_ABSENT, NULL, etag), r.err);
	CHECK_STR(fake_s3_text(r.fake, "a//b.tfstate"), state);
	CHECK_OK(s3_rig_run(&r, provider_unlock(r.b, &ref, &l)), r.err);
	CHECK_U64(fake_s3_count(r.fake), 1);
	CHECK_U64(r.fake->wrong, 0);
	s3_rig_close(&r);
}

/* With it no write has any checksum, the lock's included; without it each has. */
static void
sends_no_checksum_if_told_so(void)
{
	struct state_ref ref = { "a" };

	for (int skip = 0; skip < 2; skip++) {
		struct s3_rig    r = { 0 };
		struct lock_info l, holder;
		char             etag[ETAG_MAX];

		s3_rig_open(&r, skip ? "use_lockfile = true\nskip_s3_checksum = true" : "use_lockfile = true");
		provider_lock_new(r.b, &ref, "", &l);
		CHECK_OK(s3_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), r.err);
		CHECK_OK(s3_rig_put(&r, "a", state, PUT_ABSENT, NULL, etag), r.err);
		CHECK_U64(r.fake->nlog, 2);
		for (size_t i = 0; i < r.fake->nlog; i++) {
			CHECK((strstr(r.fake->log[i], "\nx-amz-checksum-sha256: ") == NULL) == (skip == 1));
			CHECK(skip == 0 || strstr(r.fake->log[i], "checksum") == NULL);
		}
		s3_rig_close(&r);
	}
}

/* Terraform cannot show whose lock it is where a key of the customer encrypts it: it reads it without the key. */
static void
shows_a_lock_under_a_customers_key(void)
{
	struct state_ref ref = { "a" };
	struct s3_rig    r = { 0 };
	struct lock_info l, holder;

	s3_rig_open(&r, "use_lockfile = true\nencrypt = true\nsse_customer_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"");
	fake_s3_put(r.fake, "a.tflock", "{\"ID\":\"" OTHERS "\",\"Who\":\"ann@desk\"}");
	provider_lock_new(r.b, &ref, "", &l);
	CHECK_U64(s3_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), ERR_LOCKED);
	CHECK_STR(holder.who, "ann@desk");
	CHECK_U64(fake_s3_seen(r.fake, "GET http://" FAKE_S3_HOST "/acme/a.tflock"), 1);
	for (size_t i = 0; i < r.fake->nlog; i++)
		CHECK(fake_s3_header(r.fake, i, "x-amz-server-side-encryption-customer-key") != NULL);
	s3_rig_close(&r);
}

/* OpenTofu removes a row if Info is what its own encoder makes of the lock that it read: ours has to survive that. */
static void
writes_a_row_that_can_be_removed(void)
{
	struct state_ref ref = { "a & b/<c>.tfstate" };
	struct s3_rig    r = { 0 };
	struct lock_info l, holder, read;
	struct buf       again;
	const char      *info;

	s3_rig_open(&r, "dynamodb_table = \"" FAKE_DYNAMO_TABLE "\"\n  dynamodb_endpoint = \"http://" FAKE_DYNAMO_HOST "\"\n");
	provider_lock_new(r.b, &ref, "edge \"a\" <b> & \\ \xc3\xa9\n", &l);
	CHECK_OK(s3_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), r.err);
	info = fake_dynamo_get(r.fake->dynamo, "acme/a & b/<c>.tfstate", "Info");
	CHECK(info != NULL);
	CHECK_OK(lock_info_parse(span_str(info), &read, &r.err), r.err);
	buf_init(&again, 0);
	lock_info_body(&read, &again);
	CHECK_STR(buf_str(&again), info);
	CHECK(strstr(info, "\"Path\":\"acme/a \\u0026 b/\\u003cc\\u003e.tfstate\"}") != NULL); /* as encoding/json spells it */
	CHECK(strpbrk(info, "<>&") == NULL);
	buf_free(&again);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- gcs */

static struct provider_rig r;

static void
gcs_begin(void)
{
	provider_rig_open(&r, false, "backend \"gcs\" \"b\" {\n  bucket = \"" FAKE_GCS_BUCKET "\"\n  access_token = \"" FAKE_GCS_TOKEN
	    "\"\n  storage_custom_endpoint = \"" FAKE_GCS_BASE "storage/v1/\"\n}\n");
}

/* Terraform gives up there. */
static void
tries_again_when_the_lock_vanished(void)
{
	struct state_ref ref = { "x.tfstate" };
	struct lock_info l, holder;
	struct fake_gcs *fake;
	struct span      text;

	gcs_begin();
	fake = fake_gcs_behind(r.http);
	scripted_expect(r.http, "POST", "/upload/storage/v1/", 412, "Content-Type: application/json",
	    "{\"error\":{\"code\":412,\"errors\":[{\"reason\":\"conditionNotMet\"}]}}");
	scripted_expect(r.http, "GET", "x.tflock", 404, "Content-Type: application/json",
	    "{\"error\":{\"code\":404,\"errors\":[{\"reason\":\"notFound\"}]}}");
	provider_lock_new(r.b, &ref, "", &l);
	CHECK_OK((provider_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), r.err.code), r.err);
	scripted_http_check(r.http);
	CHECK(fake_gcs_get(fake, "x.tflock", &text));
	CHECK_OK((provider_rig_run(&r, provider_unlock(r.b, &ref, &l)), r.err.code), r.err);
	CHECK(!fake_gcs_get(fake, "x.tflock", &text));
	fake_gcs_free(fake);
	provider_rig_close(&r);
}

/* An encrypted state is bytes: they come as they are, and serial and lineage are known. */
static void
reads_an_envelope(void)
{
	static const char envelope[] = "{\"serial\":15,\"lineage\":\"b15d\",\"meta\":{\"key_provider.pbkdf2.main\":\"e30=\"},"
	                               "\"encrypted_data\":\"Q0FOQVJZ\",\"encryption_version\":\"v0\"}";
	struct fake_gcs  *fake;
	struct snapshot   s = { 0 };

	gcs_begin();
	fake = fake_gcs_behind(r.http);
	fake_gcs_put(fake, "x.tfstate", span_str(envelope));
	CHECK_OK((provider_rig_run(&r, provider_get(r.b, &(struct state_ref){ "x.tfstate" }, NULL, &s)), r.err.code), r.err);
	CHECK_U64(s.info.kind, STATE_ENCRYPTED);
	CHECK_U64(s.info.serial, 15);
	CHECK_STR(s.info.lineage, "b15d");
	CHECK(span_eq(body_span(s.body), span_str(envelope)));
	snapshot_free(&s);
	fake_gcs_free(fake);
	provider_rig_close(&r);
}

/* ---------------------------------------------------------------- azurerm */

/* From 1.11 on Path is the URL of the blob, which may be signed. The lock is shown, refused and broken without it. */
static void
cuts_the_signature_of_a_lock(void)
{
	static const char words[] = "{\"ID\":\"" OTHERS "\",\"Operation\":\"OperationTypeApply\",\"Info\":\"\",\"Who\":\"ann@desk\","
	    "\"Version\":\"1.11.0\",\"Created\":\"2026-11-22T00:44:48.9Z\",\"Path\":\"https://acmestates.blob.core.windows.net/tfstate/"
	    "x.tfstate?sv=2023-11-03\\u0026sig=CANARY%3D\"}";
	struct lock_info l, holder;
	struct buf       text;

	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	buf_init(&text, 0);
	base64_encode(span_str(words), &text);
	fake_azure_set_meta(azure.fake, AZURE_NAME, "terraformlockid", buf_str(&text));
	buf_free(&text);
	fake_azure_set_lease(azure.fake, AZURE_NAME, OTHERS);
	CHECK_U64(azure_peek(&holder), ERR_OK);
	CHECK_STR(holder.path, "https://acmestates.blob.core.windows.net/tfstate/x.tfstate");
	CHECK_U64(azure_lock(&l), ERR_LOCKED);
	CHECK(strstr(azure.r.err.msg, "ann@desk") != NULL && strstr(azure.r.err.msg, "CANARY") == NULL);
	CHECK_U64(azure_unlock(&holder), ERR_OK);
	CHECK(azure_nothing_locked());
	azure_end();
}

/* A slash may be written "%2F" in a key and in a URL: it is one blob, and what is decoded is decoded once. */
static void
decodes_a_key_once(void)
{
	static const char *const keys[][3] = { /* key, name, path of the request */
		{ "a/b.tfstate", "a/b.tfstate", "/tfstate/a/b.tfstate" }, { "a%2Fb.tfstate", "a/b.tfstate", "/tfstate/a/b.tfstate" },
		{ "a%2fb.tfstate", "a/b.tfstate", "/tfstate/a/b.tfstate" }, { "a%252Fb.tfstate", "a%2Fb.tfstate", "/tfstate/a%252Fb.tfstate" } };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		char           *more = xasprintf("  access_key = \"" FAKE_AZURE_KEY "\"\n  key = \"%s\"\n", keys[i][0]);
		struct buf      name;
		struct snapshot s = { 0 };

		provider_rig_open(&r, false, azure_block(more));
		buf_init(&name, 0);
		CHECK(provider_fixed(r.b, "default", &name));
		CHECK_STR(buf_str(&name), keys[i][1]);
		scripted_expect(r.http, "GET", keys[i][2], 404, "x-ms-error-code: BlobNotFound", NULL);
		CHECK_U64(provider_rig_run(&r, provider_get(r.b, &(struct state_ref){ buf_str(&name) }, NULL, &s)), ERR_NOT_FOUND);
		scripted_http_check(r.http);
		buf_free(&name);
		provider_rig_close(&r);
		free(more);
	}
}

#define KEYS(first, second) "{\"keys\":[{\"keyName\":\"key1\",\"permissions\":\"" first "\",\"value\":\"YQ==\"}," \
	"{\"value\":\"Yg==\",\"keyName\":\"key2\",\"permissions\":\"" second "\"}]}"

/* Terraform takes the first key that may do all, OpenTofu the first: that is one key wherever OpenTofu could write. */
static void
picks_a_key_that_may_write(void)
{
	static const char *const answers[][2] = { { KEYS("FULL", "FULL"), "a" }, { KEYS("Full", "Read"), "a" }, { KEYS("full", "READ"), "a" },
		{ KEYS("Read", "Full"), "b" }, { KEYS("READ", "Read"), NULL }, { "{\"keys\":[]}", NULL } };

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct secret *key = NULL;
		struct err     e = { 0 };
		enum err_code  rc = azurerm_keys_parse(span_str(answers[i][0]), &key, &e);

		if (rc != (answers[i][1] != NULL ? ERR_OK : ERR_CORRUPT) || (rc == ERR_OK && strcmp(secret_str(key), answers[i][1]) != 0))
			test_fail(__FILE__, __LINE__, "%s: %s", answers[i][0], rc == ERR_OK ? "another key" : e.msg);
		secret_free(key);
	}
}

/* ---------------------------------------------------------------- http */

static const char *const requests[] = { "LOCK", "POST", "GET", "UNLOCK" };
static unsigned          step;

static void
with_headers(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	(void)arg;
	CHECK(step < ARRAY_LEN(requests));
	CHECK_STR(rq->method, requests[step++]);
	CHECK(scripted_header(rq, "X-Api_Key") != NULL && scripted_header(rq, "Authorization") != NULL);
	CHECK_STR(scripted_header(rq, "X-Api_Key"), "CANARY");
	CHECK_STR(scripted_header(rq, "Authorization"), "Bearer CANARY");
	ret->status = 200;
	if (strcmp(rq->method, "GET") == 0)
		scripted_set_body(ret, span_str(state));
}

static void
sends_headers_with_every_request(void)
{
	struct state_ref     ref = { "default" };
	struct lock_info     l, holder;
	struct snapshot      s = { 0 }, got = { 0 };
	struct body         *bytes = body_copy(span_str(state));
	struct put_condition under = { .when = PUT_UNDER_LOCK, .lock = &l };
	char                 etag[ETAG_MAX];

	provider_rig_open(&r, false, HTTP LOCK "  headers = { X-Api_Key = \"CANARY\", Authorization = \"Bearer CANARY\" }\n}\n");
	CHECK(strstr(r.b->where, "CANARY") == NULL);
	scripted_handle(r.http, with_headers, NULL);
	step = 0;
	provider_lock_new(r.b, &ref, "", &l);
	snapshot_of(&s, bytes, NULL);
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), ERR_OK);
	CHECK_U64(provider_rig_run(&r, provider_put(r.b, &ref, &s, &under, etag)), ERR_OK);
	CHECK_U64(provider_rig_run(&r, provider_get(r.b, &ref, NULL, &got)), ERR_OK);
	CHECK_U64(provider_rig_run(&r, provider_unlock(r.b, &ref, &l)), ERR_OK);
	CHECK_U64(step, ARRAY_LEN(requests));
	snapshot_free(&got);
	snapshot_free(&s);
	body_unref(bytes);
	provider_rig_close(&r);
}

static void
breaks(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	struct lock_info l;
	int64_t          ms;
	char            *id = scripted_query(rq, "ID");

	step++;
	CHECK_STR(rq->method, "UNLOCK");
	CHECK(id == NULL); /* terraform and OpenTofu add it to a write alone */
	CHECK_U64(lock_info_parse(rq->body, &l, NULL), ERR_OK);
	CHECK_STR(l.id, OTHERS);
	CHECK(time_parse(l.created, &ms) || strcmp(l.created, "0001-01-01T00:00:00Z") == 0); /* "" is no time to a server written in Go, which refuses the whole then */
	CHECK_STR(l.who, ((const struct lock_info *)arg)->who);
	free(id);
	ret->status = 200;
}

/* OpenTofu sends the ID with all else empty, Created as 0001-01-01T00:00:00Z; Terraform nothing at all. */
static void
breaks_a_lock_with_a_whole_body(void)
{
	struct state_ref ref = { "default" };
	struct lock_info l, bare = { .id = OTHERS }, holder; /* bare: as a server tells of it that keeps nothing but IDs */

	provider_rig_open(&r, false, HTTP LOCK "}\n");
	step = 0;
	provider_lock_new(r.b, &ref, "unlocked by a person", &l);
	snprintf(l.id, sizeof(l.id), "%s", OTHERS); /* all that the person knows */
	scripted_handle(r.http, breaks, &l);
	CHECK_U64(provider_rig_run(&r, provider_lock_break(r.b, &ref, &l, &holder)), ERR_OK);
	scripted_handle(r.http, breaks, &bare);
	CHECK_U64(provider_rig_run(&r, provider_lock_break(r.b, &ref, &bare, &holder)), ERR_OK);
	CHECK_U64(step, 2);
	provider_rig_close(&r);
}

/* A lock as OpenTofu left it, bare but for the ID, still tells whose it is to whom is refused. */
static void
knows_a_bare_lock(void)
{
	struct state_ref ref = { "default" };
	struct lock_info l, holder;

	provider_rig_open(&r, false, HTTP LOCK "}\n");
	provider_lock_new(r.b, &ref, "", &l);
	scripted_expect(r.http, "LOCK", "/lock", 423, NULL, "{\"ID\":\"" OTHERS "\",\"Operation\":\"\",\"Info\":\"\",\"Who\":\"\","
	    "\"Version\":\"\",\"Created\":\"0001-01-01T00:00:00Z\",\"Path\":\"\"}");
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), ERR_LOCKED);
	CHECK_STR(holder.id, OTHERS);
	CHECK(strstr(r.err.msg, OTHERS) != NULL);
	scripted_expect(r.http, "LOCK", "/lock", 423, NULL, "busy"); /* no body that can be read: locked all the same, so it is waited for */
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), ERR_LOCKED);
	CHECK_STR(holder.id, "");
	scripted_http_check(r.http);
	provider_rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "takes_the_arguments", takes_the_arguments },
	    { "keeps_two_slashes_in_a_key", keeps_two_slashes_in_a_key },
	    { "sends_no_checksum_if_told_so", sends_no_checksum_if_told_so },
	    { "shows_a_lock_under_a_customers_key", shows_a_lock_under_a_customers_key },
	    { "writes_a_row_that_can_be_removed", writes_a_row_that_can_be_removed },
	    { "tries_again_when_the_lock_vanished", tries_again_when_the_lock_vanished },
	    { "reads_an_envelope", reads_an_envelope },
	    { "cuts_the_signature_of_a_lock", cuts_the_signature_of_a_lock },
	    { "decodes_a_key_once", decodes_a_key_once },
	    { "picks_a_key_that_may_write", picks_a_key_that_may_write },
	    { "sends_headers_with_every_request", sends_headers_with_every_request },
	    { "breaks_a_lock_with_a_whole_body", breaks_a_lock_with_a_whole_body },
	    { "knows_a_bare_lock", knows_a_bare_lock },
	    { NULL, NULL },
	});
}
