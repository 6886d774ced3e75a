/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "../../lib/golden.h"
#include "../../lib/s3_rig.h"
#include "../../lib/test.h"
#include "provider/s3/s3_cred.h"

/*
 * Recordings of terraform (tests/golden/s3): our requests for the same thing go to the same path with the same headers, and the
 * recorded answers mean the same to us.
 */
#define HOST "127.0.0.1:18402"
#define BARE "bare bucket = \"tfstate-demo\"\nregion = \"us-east-1\"\naccess_key = \"a\"\nsecret_key = \"b\"\n"
#define TABLED ARGS_PLAIN "dynamodb_table = \"tf-locks\"\ndynamodb_endpoint = \"http://" HOST "\"\n"
#define ARGS_PLAIN BARE "endpoint = \"http://" HOST "\"\nuse_path_style = true\n"
#define ARGS BARE "endpoint = \"http://" HOST "\"\nuse_path_style = true\nuse_lockfile = true\n"

static struct {
	struct s3_rig         r;
	struct golden         golden;
	struct scripted_http *http;
	struct buf            wrong;   /* what did not fit */
	size_t                requests;
} g;

/* Bodies over https are framed in one chunk there; ours never are. */
static struct span
body_of(const struct scripted_request *theirs)
{
	const char *coding = scripted_header(theirs, "content-encoding");
	char       *data;
	size_t      n;

	if (coding == NULL || strcmp(coding, "aws-chunked") != 0)
		return theirs->body;
	n = strtoul((const char *)theirs->body.p, &data, 16);
	assert(strncmp(data, "\r\n", 2) == 0);
	return span_of(data + 2, n);
}

/* What terraform sends beside what we leave out on purpose. */
static bool
matters(const struct scripted_request *rq, const struct http_header *h)
{
	static const char *const not[] = { "x-amz-date", "x-amz-sdk-checksum-algorithm", "x-amz-trailer", "x-amz-decoded-content-length",
		"x-amz-security-token", "x-amz-checksum-mode" };

	for (size_t i = 0; i < ARRAY_LEN(not); i++)
		if (strcasecmp(h->name, not[i]) == 0)
			return false;
	(void)rq;
	if (strncmp(h->value, "STREAMING", 9) == 0)
		return false;
	return strncasecmp(h->name, "x-amz-", 6) == 0 || strncasecmp(h->name, "if-", 3) == 0 || strcasecmp(h->name, "content-type") == 0;
}

/* The same call but for its condition, where ours are stricter, and for our wish to see what refused it. */
static void
compare_calls(const struct scripted_request *rq, struct span body)
{
	const char *text = (const char *)body.p;
	json_t     *ours = json_loadb((const char *)rq->body.p, rq->body.n, 0, NULL), *theirs = json_loadb(text, body.n, 0, NULL);
	const char *condition = json_string_value(json_object_get(theirs, "ConditionExpression"));

	if (condition != NULL && strcmp(condition, json_string_value(json_object_get(ours, "ConditionExpression"))) != 0)
		buf_printf(&g.wrong, "%s: another condition\n", text);
	for (int i = 0; i < 2; i++) {
		json_object_del(i == 0 ? ours : theirs, "ConditionExpression");
		json_object_del(i == 0 ? ours : theirs, "ExpressionAttributeValues");
		json_object_del(i == 0 ? ours : theirs, "ReturnValuesOnConditionCheckFailure");
	}
	if (!json_equal(ours, theirs))
		buf_printf(&g.wrong, "%s is sent as %.*s\n", text, (int)rq->body.n, (const char *)rq->body.p);
	json_decref(ours);
	json_decref(theirs);
}

static void
compare(const struct scripted_request *rq, const struct scripted_request *theirs)
{
	golden_headers(rq, theirs, matters);
	if (scripted_header(rq, "x-amz-target") != NULL)
		compare_calls(rq, body_of(theirs));
	else if (rq->body.n != body_of(theirs).n || (rq->body.n > 0 && memcmp(rq->body.p, body_of(theirs).p, rq->body.n) != 0))
		buf_printf(&g.wrong, "%s %s: another body\n", rq->method, rq->url);
}

static bool
same_call(const struct scripted_request *ours, const struct scripted_request *theirs)
{
	const char *call = scripted_header(theirs, "x-amz-target");

	return strcmp(ours->method, theirs->method) == 0 && strcmp(ours->at.path, theirs->at.path) == 0 &&
	    (call == NULL || strcmp(call, scripted_header(ours, "x-amz-target")) == 0);
}

static void
handle(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	(void)arg;
	g.requests++;
	golden_handle(&g.golden, rq, ret);
}

static void
begin(const char *file, const char *args)
{
	memset(&g, 0, sizeof(g));
	golden_open(&g.golden, "s3", file);
	g.golden.same = same_call;
	g.golden.compare = compare;
	buf_init(&g.wrong, 0);
	s3_rig_init(&g.r);
	g.http = scripted_http_new(g.r.loop);
	scripted_handle(g.http, handle, NULL);
	g.r.env.http = scripted_http_client(g.http);
	s3_rig_open(&g.r, args);
}

static void
end(void)
{
	struct loop *l = g.r.loop;
	char        *wrong = xstrdup(buf_str(&g.wrong));

	provider_close(g.r.b);
	while (loop_turn(l, false))
		continue;
	g.r.b = NULL;
	scripted_http_free(g.http);
	s3_rig_close(&g.r);
	golden_close(&g.golden);
	buf_free(&g.wrong);
	if (wrong[0] != '\0')
		test_fail(__FILE__, __LINE__, "%s", wrong);
	free(wrong);
}

/* The body of the first recorded request that puts something of that name. Owned. */
static char *
recorded_body(const char *suffix)
{
	for (size_t i = 0; i < g.golden.n; i++) {
		const struct scripted_request *theirs = &g.golden.requests[i];

		if (strcmp(theirs->method, "PUT") == 0 && span_ends(span_str(theirs->at.path), suffix))
			return span_dup(body_of(theirs));
	}
	test_fail(__FILE__, __LINE__, "no PUT of *%s recorded", suffix);
}

static void
recorded_lock(struct lock_info *ret)
{
	char      *body = recorded_body(".tflock");
	struct err e;

	CHECK_OK(lock_info_parse(span_str(body), ret, &e), e);
	free(body);
}

/* ---------------------------------------------------------------- the life of a first write */

/* lock, write the same bytes, unlock: four requests like terraform's. */
static void
writes_like_terraform(const char *file, const char *args, const char *name)
{
	struct state_ref ref = { name };
	struct lock_info lock, holder;
	char            *body, etag[ETAG_MAX];

	begin(file, args);
	recorded_lock(&lock);
	if (s3_rig_run(&g.r, provider_lock(g.r.b, &ref, &lock, &holder)) != ERR_OK)
		test_fail(__FILE__, __LINE__, "%s: %s\n%s", file, g.r.err.msg, buf_str(&g.wrong));
	body = recorded_body(".tfstate");
	CHECK_OK(s3_rig_put(&g.r, name, body, PUT_UNDER_LOCK, NULL, etag), g.r.err);
	CHECK_U64(strlen(etag), 32);
	CHECK_OK(s3_rig_run(&g.r, provider_unlock(g.r.b, &ref, &lock)), g.r.err);
	CHECK_U64(g.requests, 4);
	free(body);
	end();
}

static void
writes_a_first_state(void)
{
	writes_like_terraform("lockfile/apply-first", ARGS, "network/prod/terraform.tfstate");
	writes_like_terraform("lockfile/odd-key-characters", ARGS, "odd dir/a+b=c&d,\xc3\xa9~(1)'!*$@;:/terraform.tfstate");
	writes_like_terraform("addressing/virtual-hosted", BARE "use_lockfile = true", "c/v.tfstate");
}

static void
writes_workspaces(void)
{
	static const struct {
		const char *file, *args, *workspace;
	} rows[] = {
		{ "lockfile/workspace-new", ARGS "key = \"network/prod/terraform.tfstate\"", "dev" },
		{ "lockfile/workspace-prefix-custom", ARGS "key = \"app/pfx.tfstate\"\nworkspace_key_prefix = \"ws/dir\"", "stage" },
		{ "lockfile/workspace-prefix-empty", ARGS "key = \"app/pfxe.tfstate\"\nworkspace_key_prefix = \"\"", "stage" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct s3_rig r = { 0 };
		struct buf    name;

		buf_init(&name, 0);
		s3_rig_open(&r, rows[i].args);
		CHECK(provider_fixed(r.b, rows[i].workspace, &name));
		s3_rig_close(&r);
		writes_like_terraform(rows[i].file, rows[i].args, buf_str(&name));
		buf_free(&name);
	}
}

static void
encrypts_like_terraform(void)
{
	char args[512];

	begin("encryption/sse-kms", ARGS);
	snprintf(args, sizeof(args), ARGS "encrypt = true\nkms_key_id = \"%s\"", scripted_header(
	    &g.golden.requests[1], "x-amz-server-side-encryption-aws-kms-key-id"));
	end();
	writes_like_terraform("encryption/sse-kms", args, "enc/kms.tfstate");
	begin("encryption/sse-c-https", ARGS);
	snprintf(args, sizeof(args), ARGS "encrypt = true\nsse_customer_key = \"%s\"", scripted_header(
	    &g.golden.requests[1], "x-amz-server-side-encryption-customer-key"));
	end();
	writes_like_terraform("encryption/sse-c-https", args, "enc/ssec.tfstate");
	writes_like_terraform("encryption/sse-s3-acl", ARGS "encrypt = true\nacl = \"bucket-owner-full-control\"", "enc/sse.tfstate");
}

/* ---------------------------------------------------------------- locks that meet others */

static enum err_code
lock_as_recorded(const char *file, struct lock_info *holder)
{
	struct lock_info lock;

	begin(file, ARGS);
	recorded_lock(&lock);
	return s3_rig_run(&g.r, provider_lock(g.r.b, &(struct state_ref){ "network/prod/terraform.tfstate" }, &lock, holder));
}

static void
meets_other_locks(void)
{
	struct lock_info holder;

	CHECK_U64(lock_as_recorded("lockfile/contention", &holder), ERR_LOCKED);
	CHECK(strstr(g.r.err.msg, "OperationType") != NULL && holder.id[0] != '\0');
	end();
	CHECK_OK(lock_as_recorded("lockfile/lock-503-retried", &holder), g.r.err);
	end();
	/* Where terraform locks itself out, we find that the lock is ours. */
	CHECK_OK(lock_as_recorded("lockfile/lock-500-orphans-own-lock", &holder), g.r.err);
	end();
}

/* ---------------------------------------------------------------- with a table */

/* "Info" of the first recorded PutItem. */
static void
recorded_row(struct lock_info *ret)
{
	for (size_t i = 0; i < g.golden.n; i++) {
		json_t     *body = json_loads((const char *)g.golden.requests[i].body.p, 0, NULL);
		json_t     *info = json_object_get(json_object_get(json_object_get(body, "Item"), "Info"), "S");
		bool        found = info != NULL && lock_info_parse(span_str(json_string_value(info)), ret, NULL) == ERR_OK;

		json_decref(body);
		if (found)
			return;
	}
	test_fail(__FILE__, __LINE__, "no lock row recorded");
}

/* The rows have the very bytes that terraform puts there, also those of the digest. */
static void
writes_rows_like_terraform(void)
{
	static const struct {
		const char *file, *args, *name;
	} rows[] = { { "dynamodb/apply-first", TABLED, "app/ddb.tfstate" },
		{ "both/apply-first", TABLED "use_lockfile = true\n", "app/both.tfstate" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct state_ref ref = { rows[i].name };
		struct lock_info lock, holder;
		struct snapshot  s;
		struct body     *bytes;
		char            *body, etag[ETAG_MAX];

		begin(rows[i].file, rows[i].args);
		recorded_row(&lock);
		CHECK_OK(s3_rig_run(&g.r, provider_lock(g.r.b, &ref, &lock, &holder)), g.r.err);
		body = recorded_body(".tfstate");
		CHECK_OK(s3_rig_put(&g.r, ref.name, body, PUT_UNDER_LOCK, NULL, etag), g.r.err);
		bytes = body_copy(span_str(body));
		snapshot_of(&s, bytes, NULL);
		CHECK_OK(s3_rig_run(&g.r, provider_seal(g.r.b, &ref, &s)), g.r.err);
		CHECK_OK(s3_rig_run(&g.r, provider_unlock(g.r.b, &ref, &lock)), g.r.err);
		snapshot_free(&s);
		body_unref(bytes);
		free(body);
		end();
	}
}

static void
meets_other_rows(void)
{
	static const struct {
		const char *file, *args, *name;
	} rows[] = { { "dynamodb/contention", TABLED, "app/ddb.tfstate" },
		{ "both/contention-on-row", TABLED "use_lockfile = true\n", "app/both.tfstate" } };
	struct lock_info lock, holder, there;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin(rows[i].file, rows[i].args);
		recorded_row(&lock);
		CHECK_U64(s3_rig_run(&g.r, provider_lock(g.r.b, &(struct state_ref){ rows[i].name }, &lock, &holder)), ERR_LOCKED);
		CHECK(strncmp(holder.id, "aaaaaaaa-bbbb-", 14) == 0);
		end();
	}
	begin("dynamodb/force-unlock", TABLED);
	CHECK_OK(s3_rig_run(&g.r, provider_lock_peek(g.r.b, &(struct state_ref){ "app/ddb.tfstate" }, &there)), g.r.err);
	CHECK_OK(s3_rig_run(&g.r, provider_unlock(g.r.b, &(struct state_ref){ "app/ddb.tfstate" }, &there)), g.r.err);
	CHECK_U64(g.requests, 2);
	end();
}

/* ---------------------------------------------------------------- answers one by one */

/* Exchange i of the recording answers the next request of that method, whatever its place. */
static void
next_answer(size_t i, const char *method)
{
	struct scripted_answer *a = scripted_expect(g.http, method, "/", 0, NULL, NULL);

	golden_answer(&g.golden, i, a);
}

static size_t nseen;
static char   first_seen[256], last_seen[256];

static void
seen(void *arg, const struct state_seen *s)
{
	(void)arg;
	snprintf(nseen++ == 0 ? first_seen : last_seen, sizeof(last_seen), "%s", s->name);
	CHECK(s->etag[0] != '"' && strlen(s->etag) == 32 && s->modified > 0);
}

static enum err_code
list(void)
{
	nseen = 0;
	return s3_rig_run(&g.r, provider_list(g.r.b, seen, NULL));
}

static void
reads_recorded_listings(void)
{
	begin("listing/two-pages", ARGS);
	next_answer(0, "GET");
	next_answer(1, "GET");
	CHECK_OK(list(), g.r.err);
	CHECK(nseen >= 6);
	CHECK_STR(first_seen, "env:/w1/odd dir/a+b=c&d,\xc3\xa9~(1)'!*$@;:/terraform.tfstate");
	CHECK_U64(scripted_http_count(g.http), 2);
	CHECK(strstr(scripted_http_trace(g.http), "continuation-token=2d8cacdd1f4d320ae2098ed4db7f9b50") != NULL);
	end();
	begin("lockfile/list-access-denied", ARGS "key = \"network/prod/terraform.tfstate\"");
	next_answer(0, "GET");  /* denied: */
	next_answer(1, "HEAD"); /* the key itself, */
	scripted_expect(g.http, "HEAD", ".tflock", 404, NULL, NULL);
	next_answer(0, "GET");  /* and no workspaces */
	CHECK_OK(list(), g.r.err);
	CHECK_U64(nseen, 1);
	scripted_http_check(g.http);
	end();
	begin("lockfile/list-access-denied", ARGS "workspace_key_prefix = \"ws\"\nkey = \"network/prod/terraform.tfstate\"");
	next_answer(0, "GET");
	next_answer(1, "HEAD");
	scripted_expect(g.http, "HEAD", ".tflock", 404, NULL, NULL);
	next_answer(0, "GET"); /* who names a folder for workspaces means to have some: as in terraform, not as in OpenTofu */
	CHECK_U64(list(), ERR_AUTH);
	CHECK(strstr(g.r.err.hint, "s3:ListBucket") != NULL);
	end();
}

static void
reads_recorded_errors(void)
{
	static const char empty[] = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
	struct state_tag  tag;

	begin("errors/region-301", BARE);
	next_answer(0, "GET");
	scripted_expect(g.http, "GET", "https://tfstate-demo.s3.eu-west-1.amazonaws.com/?encoding-type=url&list-type=2&max-keys=1000&prefix=",
	    200, NULL, empty);
	CHECK_OK(list(), g.r.err);
	end();
	begin("errors/region-400", ARGS);
	next_answer(0, "GET");
	scripted_expect(g.http, "GET", "/", 200, NULL, empty);
	CHECK_OK(list(), g.r.err);
	end();
	begin("errors/clock-skew", ARGS);
	next_answer(0, "GET");
	scripted_expect(g.http, "GET", "/", 200, NULL, empty);
	CHECK_OK(list(), g.r.err);
	end();
	begin("errors/head-403", ARGS);
	next_answer(2, "HEAD");
	scripted_expect(g.http, "GET", "?location=", 403, NULL, "<Error><Code>AccessDenied</Code></Error>");
	CHECK_U64(s3_rig_run(&g.r, provider_head(g.r.b, &(struct state_ref){ "app/lin.tfstate" }, &tag)), ERR_AUTH);
	CHECK(strstr(g.r.err.hint, "s3:GetObject") != NULL);
	end();
}

static void
reads_recorded_conditions(void)
{
	static const struct {
		size_t        i;
		const char   *method;
		enum put_if   when;
		enum err_code want;
	} puts[] = { { 0, "PUT", PUT_ABSENT, ERR_OK }, { 2, "PUT", PUT_MATCH, ERR_CONFLICT }, { 3, "PUT", PUT_MATCH, ERR_OK },
		{ 4, "PUT", PUT_MATCH, ERR_CONFLICT } };
	struct snapshot s;
	char            etag[ETAG_MAX];

	begin("conditional/put-get-delete", ARGS);
	for (size_t i = 0; i < ARRAY_LEN(puts); i++) {
		next_answer(puts[i].i, puts[i].method);
		CHECK_U64(s3_rig_put(&g.r, "a", "{}", puts[i].when, "831e8c059d3cab92258db45450409e4b", etag), puts[i].want);
	}
	next_answer(5, "GET");
	CHECK_U64(s3_rig_run(&g.r, provider_get(g.r.b, &(struct state_ref){ "a" }, "x", &s)), ERR_UNCHANGED);
	end();
	begin("lockfile/state-pull", ARGS);
	next_answer(2, "GET");
	CHECK_U64(s3_rig_get(&g.r, "a", &s), ERR_UNSUPPORTED); /* 206 to a request without Range is nothing we take */
	end();
}

/* ---------------------------------------------------------------- credentials */

static void
reads_recorded_credentials(void)
{
	static const char *const files[] = { "credentials/imdsv2", "credentials/ecs-full-uri-token", "credentials/eks-pod-identity-style" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct s3_keys     keys = { 0 };
		struct s3_metadata m = { 0 };
		const char        *token, *place = i == 0 ? "/latest/" : "credentials";

		begin(files[i], ARGS);
		while (strstr(g.golden.requests[g.golden.next].url, place) == NULL) /* those of the store come before and after */
			CHECK(++g.golden.next < g.golden.n);
		token = scripted_header(&g.golden.requests[g.golden.next], "authorization");
		m.instance_url = xstrdup("http://169.254.169.254");
		m.container_url = xasprintf("http://127.0.0.1:18404%s", g.golden.requests[g.golden.next].at.path);
		m.container_token = token != NULL ? secret_new(span_str(token)) : NULL;
		CHECK_OK(s3_rig_run(&g.r, i == 0 ? s3_instance_keys(&g.r.env, &m, &keys) : s3_container_keys(&g.r.env, &m, &keys)), g.r.err);
		CHECK_STR(keys.access_key, i == 0 ? "ASIAIMDSEXAMPLE" : "ASIAECSEXAMPLE");
		CHECK_STR(secret_str(keys.secret_key), i == 0 ? "imdssecret" : "ecssecret");
		CHECK(keys.token != NULL && keys.expires > 0);
		s3_keys_free(&keys);
		s3_metadata_free(&m);
		end();
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "writes_a_first_state", writes_a_first_state },
	    { "writes_workspaces", writes_workspaces },
	    { "encrypts_like_terraform", encrypts_like_terraform },
	    { "meets_other_locks", meets_other_locks },
	    { "writes_rows_like_terraform", writes_rows_like_terraform },
	    { "meets_other_rows", meets_other_rows },
	    { "reads_recorded_listings", reads_recorded_listings },
	    { "reads_recorded_errors", reads_recorded_errors },
	    { "reads_recorded_conditions", reads_recorded_conditions },
	    { "reads_recorded_credentials", reads_recorded_credentials },
	    { NULL, NULL } });
}
