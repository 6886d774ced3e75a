/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/s3_rig.h"
#include "../../lib/test.h"
#include "base/encode.h"

/* Objects and listings of the S3 driver, against a fake store that checks what AWS checks. */
static const char state[] = "{\"version\":4,\"serial\":7,\"lineage\":\"l\",\"resources\":[]}";

/* ---------------------------------------------------------------- reading */

static void
reads_what_is_there(void)
{
	struct s3_rig   r = { 0 };
	struct snapshot s;
	struct digest   d;

	s3_rig_open(&r, "");
	fake_s3_put(r.fake, "prod/a.tfstate", state);
	CHECK_OK(s3_rig_get(&r, "prod/a.tfstate", &s), r.err);
	sha256_of(state, strlen(state), &d);
	CHECK(digest_eq(&s.digest, &d));
	CHECK(span_is(body_span(s.body), state));
	CHECK_U64(s.info.serial, 7);
	CHECK_STR(s.etag, fake_s3_get(r.fake, "prod/a.tfstate")->etag);
	CHECK(s.modified > 0);
	CHECK_U64(r.fake->nlog, 1);
	CHECK_STR(fake_s3_header(r.fake, 0, "x-amz-checksum-mode"), "ENABLED");
	snapshot_free(&s);
	s3_rig_close(&r);
}

static void
reads_only_what_has_changed(void)
{
	struct s3_rig   r = { 0 };
	struct snapshot s;
	char            etag[ETAG_MAX];

	s3_rig_open(&r, "");
	fake_s3_put(r.fake, "a", state);
	CHECK_OK(s3_rig_get(&r, "a", &s), r.err);
	snprintf(etag, sizeof(etag), "%s", s.etag);
	snapshot_free(&s);
	CHECK_U64(s3_rig_run(&r, provider_get(r.b, &(struct state_ref){ "a" }, etag, &s)), ERR_UNCHANGED);
	CHECK(s.body == NULL);
	fake_s3_put(r.fake, "a", "{}");
	CHECK_U64(s3_rig_run(&r, provider_get(r.b, &(struct state_ref){ "a" }, etag, &s)), ERR_OK);
	snapshot_free(&s);
	s3_rig_close(&r);
}

static void
reads_an_empty_object(void)
{
	struct s3_rig   r = { 0 };
	struct snapshot s;

	s3_rig_open(&r, "");
	fake_s3_put(r.fake, "a", "");
	CHECK_OK(s3_rig_get(&r, "a", &s), r.err);
	CHECK(s.body != NULL);
	CHECK_U64(body_size(s.body), 0);
	CHECK_U64(s.info.kind, STATE_EMPTY);
	snapshot_free(&s);
	s3_rig_close(&r);
}

static void
tells_absence_from_a_marker_and_a_page(void)
{
	struct s3_rig    r = { 0 };
	struct snapshot  s;
	struct state_tag tag;

	s3_rig_open(&r, "");
	CHECK_U64(s3_rig_get(&r, "a", &s), ERR_NOT_FOUND);
	CHECK_U64(s3_rig_run(&r, provider_head(r.b, &(struct state_ref){ "a" }, &tag)), ERR_NOT_FOUND);
	r.fake->versioned = true;
	fake_s3_put(r.fake, "a", state);
	fake_s3_del(r.fake, "a");
	CHECK_U64(s3_rig_get(&r, "a", &s), ERR_NOT_FOUND);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 404, .body = "<html>not here</html>" });
	CHECK_U64(s3_rig_get(&r, "a", &s), ERR_UNSUPPORTED);
	r.fake->bucket_missing = true;
	CHECK_U64(s3_rig_get(&r, "a", &s), ERR_CONFIG);
	s3_rig_close(&r);
}

static void
looks_at_it(void)
{
	struct s3_rig    r = { 0 };
	struct state_tag tag;

	s3_rig_open(&r, "");
	fake_s3_put(r.fake, "a", state);
	CHECK_OK(s3_rig_run(&r, provider_head(r.b, &(struct state_ref){ "a" }, &tag)), r.err);
	CHECK_STR(tag.etag, fake_s3_get(r.fake, "a")->etag);
	CHECK_U64(tag.size, strlen(state));
	CHECK_U64(tag.modified, fake_s3_get(r.fake, "a")->modified / 1000 * 1000);
	s3_rig_close(&r);
}

static void
reads_again_what_broke_off(void)
{
	struct s3_rig   r = { 0 };
	struct snapshot s;

	s3_rig_open(&r, "");
	fake_s3_put(r.fake, "a", state);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_SHORT, .times = 2 });
	CHECK_OK(s3_rig_get(&r, "a", &s), r.err);
	CHECK(span_is(body_span(s.body), state));
	snapshot_free(&s);
	CHECK_U64(r.fake->nlog, 3);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_SHORT, .times = 9 });
	CHECK_U64(s3_rig_get(&r, "a", &s), ERR_NETWORK);
	CHECK(s.body == NULL);
	CHECK_U64(r.fake->nlog, 6);
	s3_rig_close(&r);
}

static void
verifies_the_checksum(void)
{
	struct s3_rig   r = { 0 };
	struct snapshot s;

	s3_rig_open(&r, "");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 200, .body = state, .times = 3,
	    .headers = "etag: \"x\"\nx-amz-checksum-sha256: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" });
	CHECK_U64(s3_rig_get(&r, "a", &s), ERR_CORRUPT);
	CHECK(s.body == NULL);
	CHECK_U64(r.fake->nlog, 3);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 200, .body = state,
	    .headers = "etag: \"x-3\"\nx-amz-checksum-sha256: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=-3\n" });
	CHECK_OK(s3_rig_get(&r, "a", &s), r.err); /* of parts: says nothing about the whole */
	CHECK_STR(s.etag, "x-3");
	snapshot_free(&s);
	s3_rig_close(&r);
}

/* Hashed and scanned on its way into a file. */
static void
spools_what_is_large(void)
{
	struct s3_rig   r = { 0 };
	struct snapshot s;
	struct digest   d;
	struct buf      text;

	buf_init(&text, 0);
	buf_puts(&text, "{\"version\":4,\"serial\":9,\"lineage\":\"l\",\"x\":\"");
	for (int i = 0; i < 20000; i++)
		buf_puts(&text, "0123456789");
	buf_puts(&text, "\"}");
	s3_rig_open(&r, "");
	scripted_spool_above(r.fake->http, 100000);
	fake_s3_put(r.fake, "a", buf_str(&text));
	CHECK_OK(s3_rig_get(&r, "a", &s), r.err);
	sha256_of(text.data, text.len, &d);
	CHECK(digest_eq(&s.digest, &d));
	CHECK_U64(s.info.serial, 9);
	CHECK(!body_in_memory(s.body));
	CHECK_U64(body_size(s.body), text.len);
	snapshot_free(&s);
	buf_free(&text);
	s3_rig_close(&r);
}

static void
refuses_what_is_too_large(void)
{
	struct s3_rig   r = { 0 };
	struct snapshot s;
	char           *name = xcalloc(1, 1025);

	s3_rig_open(&r, "max_state_size = \"10\"\nprefix = \"p\"");
	fake_s3_put(r.fake, "pa", state);
	CHECK_U64(s3_rig_get(&r, "a", &s), ERR_UNSUPPORTED);
	memset(name, 'x', 1024);
	CHECK_U64(s3_rig_get(&r, name, &s), ERR_UNSUPPORTED);
	name[1023] = '\0';
	CHECK_U64(s3_rig_get(&r, name, &s), ERR_NOT_FOUND);
	free(name);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- writing */

static void
writes_under_preconditions(void)
{
	struct s3_rig r = { 0 };
	char          etag[ETAG_MAX], other[ETAG_MAX];

	s3_rig_open(&r, "");
	CHECK_OK(s3_rig_put(&r, "a", "1", PUT_ABSENT, NULL, etag), r.err);
	CHECK_STR(etag, fake_s3_get(r.fake, "a")->etag);
	CHECK_U64(s3_rig_put(&r, "a", "2", PUT_ABSENT, NULL, other), ERR_CONFLICT);
	CHECK_OK(s3_rig_put(&r, "a", "2", PUT_MATCH, etag, other), r.err);
	CHECK_U64(s3_rig_put(&r, "a", "3", PUT_MATCH, etag, other), ERR_CONFLICT);
	CHECK_U64(s3_rig_put(&r, "b", "3", PUT_MATCH, etag, other), ERR_CONFLICT); /* 404 NoSuchKey */
	CHECK_STR(fake_s3_text(r.fake, "a"), "2");
	CHECK_OK(s3_rig_put(&r, "a", "4", PUT_UNDER_LOCK, NULL, other), r.err);
	CHECK_STR(fake_s3_text(r.fake, "a"), "4");
	s3_rig_close(&r);
}

static void
sends_again_after_a_race(void)
{
	static const char race[] = "<Error><Code>ConditionalRequestConflict</Code></Error>";
	struct s3_rig     r = { 0 };
	char              etag[ETAG_MAX];

	s3_rig_open(&r, "");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "PUT", .how = FAKE_ANSWER, .status = 409, .body = race, .times = 3 });
	CHECK_OK(s3_rig_put(&r, "a", "1", PUT_ABSENT, NULL, etag), r.err);
	CHECK_U64(r.fake->nlog, 4);
	fake_s3_forget(r.fake);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "PUT", .how = FAKE_ANSWER, .status = 409, .body = race, .times = 9 });
	CHECK_U64(s3_rig_put(&r, "a", "2", PUT_MATCH, etag, etag), ERR_CONFLICT);
	CHECK_U64(r.fake->nlog, 5);
	s3_rig_close(&r);
}

static void
names_the_delete_marker_trap(void)
{
	struct s3_rig r = { 0 };
	char          etag[ETAG_MAX];

	s3_rig_open(&r, "");
	r.fake->versioned = r.fake->marker_exists = true;
	CHECK_OK(s3_rig_put(&r, "a", "1", PUT_ABSENT, NULL, etag), r.err);
	fake_s3_del(r.fake, "a");
	CHECK_U64(s3_rig_put(&r, "a", "1", PUT_ABSENT, NULL, etag), ERR_CONFLICT);
	CHECK(strstr(r.err.hint, "delete marker") != NULL);
	s3_rig_close(&r);
}

static void
sends_the_headers_of_the_block(void)
{
	struct s3_rig r = { 0 };
	struct digest d;
	struct buf    b64;
	char          etag[ETAG_MAX];

	s3_rig_open(&r, "encrypt = true\nkms_key_id = \"arn:aws:kms:us-east-1:1:key/mrk-1\"\nacl = \"bucket-owner-full-control\"");
	CHECK_OK(s3_rig_put(&r, "a", state, PUT_ABSENT, NULL, etag), r.err);
	buf_init(&b64, 0);
	sha256_of(state, strlen(state), &d);
	base64_encode(span_of(d.b, DIGEST_LEN), &b64);
	CHECK_STR(fake_s3_header(r.fake, 0, "content-type"), "application/json");
	CHECK_STR(fake_s3_header(r.fake, 0, "if-none-match"), "*");
	CHECK_STR(fake_s3_header(r.fake, 0, "x-amz-checksum-sha256"), buf_str(&b64));
	CHECK_STR(fake_s3_header(r.fake, 0, "x-amz-server-side-encryption"), "aws:kms");
	CHECK_STR(fake_s3_header(r.fake, 0, "x-amz-server-side-encryption-aws-kms-key-id"), "arn:aws:kms:us-east-1:1:key/mrk-1");
	CHECK_STR(fake_s3_header(r.fake, 0, "x-amz-acl"), "bucket-owner-full-control");
	buf_free(&b64);
	s3_rig_close(&r);
	s3_rig_open(&r, "skip_s3_checksum = true\nkms_key_id = \"k\""); /* without encrypt it means nothing, as in terraform */
	CHECK_OK(s3_rig_put(&r, "a", state, PUT_UNDER_LOCK, NULL, etag), r.err);
	CHECK(fake_s3_header(r.fake, 0, "x-amz-checksum-sha256") == NULL);
	CHECK(fake_s3_header(r.fake, 0, "x-amz-server-side-encryption") == NULL);
	CHECK(fake_s3_header(r.fake, 0, "if-none-match") == NULL && fake_s3_header(r.fake, 0, "if-match") == NULL);
	s3_rig_close(&r);
}

/* OpenTofu's: the state's on the state, the lock's on the lock, neither on what only reads. */
static void
sends_tags(void)
{
	struct s3_rig    r = { 0 };
	struct lock_info lock, holder;
	struct snapshot  got;
	char             etag[ETAG_MAX];

	s3_rig_open(&r, "use_lockfile = true\nstate_tags = { team = \"net & co\", \"a/b\" = \"\xc3\xbc=1+1\" }\nlock_tags = { kind = \"lock\" }");
	provider_lock_new(r.b, &(struct state_ref){ "a" }, "", &lock);
	CHECK_OK(s3_rig_run(&r, provider_lock(r.b, &(struct state_ref){ "a" }, &lock, &holder)), r.err);
	CHECK_STR(fake_s3_header(r.fake, 0, "x-amz-tagging"), "kind=lock");
	CHECK_OK(s3_rig_put(&r, "a", state, PUT_ABSENT, NULL, etag), r.err);
	CHECK_STR(fake_s3_header(r.fake, 1, "x-amz-tagging"), "team=net%20%26%20co&a%2Fb=%C3%BC%3D1%2B1");
	CHECK_OK(s3_rig_run(&r, provider_get(r.b, &(struct state_ref){ "a" }, NULL, &got)), r.err);
	CHECK(fake_s3_header(r.fake, 2, "x-amz-tagging") == NULL);
	snapshot_free(&got);
	s3_rig_close(&r);
	s3_rig_open(&r, "use_lockfile = true\nstate_tags = {}");
	CHECK_OK(s3_rig_put(&r, "a", state, PUT_ABSENT, NULL, etag), r.err);
	CHECK(fake_s3_header(r.fake, 0, "x-amz-tagging") == NULL);
	s3_rig_close(&r);
}

#define SSE_KEY "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

static void
sends_the_customer_key_with_every_request(void)
{
	struct s3_rig    r;
	struct snapshot  s;
	struct lock_info lock, holder;
	char             etag[ETAG_MAX];

	s3_rig_init(&r);
	s3_rig_var(&r, "AWS_SSE_CUSTOMER_KEY", SSE_KEY);
	s3_rig_open(&r, "encrypt = true\nuse_lockfile = true");
	CHECK_OK(s3_rig_put(&r, "a", state, PUT_ABSENT, NULL, etag), r.err);
	CHECK_OK(s3_rig_get(&r, "a", &s), r.err);
	snapshot_free(&s);
	provider_lock_new(r.b, &(struct state_ref){ "a" }, "", &lock);
	CHECK_OK(s3_rig_run(&r, provider_lock(r.b, &(struct state_ref){ "a" }, &lock, &holder)), r.err);
	CHECK_OK(s3_rig_run(&r, provider_unlock(r.b, &(struct state_ref){ "a" }, &lock)), r.err);
	CHECK_U64(r.fake->nlog, 5);
	for (size_t i = 0; i < 4; i++) {
		CHECK_STR(fake_s3_header(r.fake, i, "x-amz-server-side-encryption-customer-algorithm"), "AES256");
		CHECK_STR(fake_s3_header(r.fake, i, "x-amz-server-side-encryption-customer-key"), SSE_KEY);
		CHECK_STR(fake_s3_header(r.fake, i, "x-amz-server-side-encryption-customer-key-md5"), "KYvwGXoFFJ42a2u2GDWhwQ==");
	}
	CHECK(fake_s3_header(r.fake, 4, "x-amz-server-side-encryption-customer-key") == NULL); /* DELETE */
	s3_rig_close(&r);
}

static void
deletes(void)
{
	struct s3_rig r = { 0 };
	char          etag[ETAG_MAX];

	s3_rig_open(&r, "");
	CHECK_OK(s3_rig_put(&r, "a", "1", PUT_ABSENT, NULL, etag), r.err);
	r.fake->ignores_delete_match = true;
	CHECK_U64(s3_rig_run(&r, provider_del(r.b, &(struct state_ref){ "a" }, "other")), ERR_CONFLICT);
	CHECK(fake_s3_get(r.fake, "a") != NULL);
	CHECK_OK(s3_rig_run(&r, provider_del(r.b, &(struct state_ref){ "a" }, etag)), r.err);
	CHECK(fake_s3_get(r.fake, "a") == NULL);
	CHECK_U64(s3_rig_run(&r, provider_del(r.b, &(struct state_ref){ "a" }, NULL)), ERR_NOT_FOUND);
	r.fake->no_conditions = true;
	r.fake->ignores_delete_match = false;
	fake_s3_put(r.fake, "a", "1");
	CHECK_OK(s3_rig_run(&r, provider_del(r.b, &(struct state_ref){ "a" }, fake_s3_get(r.fake, "a")->etag)), r.err);
	CHECK(fake_s3_get(r.fake, "a") == NULL);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- listing */

struct seen {
	struct buf text;
	size_t     n;
};

static void
seen_state(void *arg, const struct state_seen *s)
{
	struct seen *seen = arg;

	seen->n++;
	if (seen->n <= 20)
		buf_printf(&seen->text, "%s%s%s ", s->name, s->locked ? "!" : "", s->problem != NULL ? "?" : "");
}

static enum err_code
list(struct s3_rig *r, struct seen *seen)
{
	buf_free(&seen->text);
	buf_init(&seen->text, 0);
	seen->n = 0;
	return s3_rig_run(r, provider_list(r->b, seen_state, seen));
}

static void
lists_states_below_the_prefix(void)
{
	struct s3_rig r = { 0 };
	struct seen   seen = { .n = 0 };

	s3_rig_open(&r, "prefix = \"states/\"");
	fake_s3_put(r.fake, "other/a.tfstate", "1");
	fake_s3_put(r.fake, "states/a b/\xc3\xa9+%&<.tfstate", "1");
	fake_s3_put(r.fake, "states/a.tfstate", "1");
	fake_s3_put(r.fake, "states/a.tfstate-old.tfstate", "1");
	fake_s3_put(r.fake, "states/a.tfstate.tflock", "{}");
	fake_s3_put(r.fake, "states/b.txt", "1");
	fake_s3_put(r.fake, "states/c.tfstate", "1");
	fake_s3_put(r.fake, "states/.stateferry/probe/x.tfstate", "1");
	fake_s3_put(r.fake, "states/d/../e.tfstate", "1");
	fake_s3_put(r.fake, "states/f\x01.tfstate", "1");
	CHECK_OK(list(&r, &seen), r.err);
	CHECK_STR(buf_str(&seen.text), "a b/\xc3\xa9+%&<.tfstate a.tfstate! a.tfstate-old.tfstate c.tfstate d/../e.tfstate? "
	    "f\x01.tfstate? ");
	CHECK_U64(r.fake->nlog, 1);
	fake_s3_del(r.fake, "states/f\x01.tfstate");
	r.fake->plain_list = true; /* does not know encoding-type: names come as they are, "+" included */
	CHECK_OK(list(&r, &seen), r.err);
	CHECK_STR(buf_str(&seen.text), "a b/\xc3\xa9+%&<.tfstate a.tfstate! a.tfstate-old.tfstate c.tfstate d/../e.tfstate? ");
	buf_free(&seen.text);
	s3_rig_close(&r);
}

static void
lists_page_by_page(void)
{
	struct s3_rig r = { 0 };
	struct seen   seen = { .n = 0 };
	char          key[64];

	s3_rig_open(&r, "");
	for (int i = 0; i < 2500; i++) {
		snprintf(key, sizeof(key), "s%04d.tfstate", i);
		fake_s3_put(r.fake, key, "{}");
	}
	CHECK_OK(list(&r, &seen), r.err);
	CHECK_U64(seen.n, 2500);
	CHECK_U64(r.fake->nlog, 3);
	r.fake->page = 7; /* short pages; a lock on the page after its state */
	fake_s3_put(r.fake, "s0006.tfstate.tflock", "{}");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = "continuation-token", .how = FAKE_CUT });
	CHECK_OK(list(&r, &seen), r.err);
	CHECK_U64(seen.n, 2500);
	CHECK(strstr(buf_str(&seen.text), "s0005.tfstate s0006.tfstate! s0007.tfstate ") != NULL);
	buf_free(&seen.text);
	s3_rig_close(&r);
}

static void
refuses_a_listing_that_is_none(void)
{
	static const char *const bodies[] = { "<html><body>hello</body></html>", "", "<ListBucketResult><Contents><Key>a.tfstate</Key>",
		"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "<ListAllMyBucketsResult/>", "{}" };

	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct s3_rig r = { 0 };
		struct seen   seen = { .n = 0 };

		s3_rig_open(&r, "");
		fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .status = 200, .body = bodies[i] });
		if (list(&r, &seen) != (i == 3 ? ERR_CORRUPT : ERR_UNSUPPORTED) || seen.n != 0) /* 3: begun as one, and broken off */
			test_fail(__FILE__, __LINE__, "%s: %d %s", bodies[i], (int)r.err.code, r.err.msg);
		buf_free(&seen.text);
		s3_rig_close(&r);
	}
}

static void
says_why_it_cannot_list(void)
{
	struct s3_rig r = { 0 };
	struct seen   seen = { .n = 0 };

	s3_rig_open(&r, "");
	r.fake->denies_list = true;
	CHECK_U64(list(&r, &seen), ERR_AUTH);
	CHECK(strstr(r.err.hint, "s3:ListBucket on arn:aws:s3:::acme") != NULL);
	r.fake->bucket_missing = true;
	CHECK_U64(list(&r, &seen), ERR_NOT_FOUND);
	buf_free(&seen.text);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- key and its workspaces */

static void
lists_a_key_and_its_workspaces(void)
{
	struct s3_rig r = { 0 };
	struct seen   seen = { .n = 0 };

	s3_rig_open(&r, "key = \"network/prod/terraform.tfstate\"");
	CHECK_OK(list(&r, &seen), r.err);
	CHECK_U64(seen.n, 0);
	fake_s3_put(r.fake, "network/prod/terraform.tfstate", "1");
	fake_s3_put(r.fake, "network/prod/terraform.tfstate.tflock", "1");
	fake_s3_put(r.fake, "network/prod/terraform.tfstate2", "1");
	fake_s3_put(r.fake, "env:/dev/network/prod/terraform.tfstate", "1");
	fake_s3_put(r.fake, "env:/dev/network/prod/terraform.tfstate.tflock", "1");
	fake_s3_put(r.fake, "env:/dev/other.tfstate", "1");
	fake_s3_put(r.fake, "env:/x/y/network/prod/terraform.tfstate", "1");
	fake_s3_put(r.fake, "env:/\xc3\xbc ber/network/prod/terraform.tfstate", "1");
	CHECK_OK(list(&r, &seen), r.err);
	CHECK_STR(buf_str(&seen.text), "network/prod/terraform.tfstate! env:/dev/network/prod/terraform.tfstate! "
	    "env:/\xc3\xbc ber/network/prod/terraform.tfstate ");
	r.fake->denies_list = true; /* may read the key, but not list: only the default workspace, as in terraform */
	CHECK_OK(list(&r, &seen), r.err);
	CHECK_STR(buf_str(&seen.text), "network/prod/terraform.tfstate! ");
	fake_s3_del(r.fake, "network/prod/terraform.tfstate");
	CHECK_OK(list(&r, &seen), r.err);
	CHECK_U64(seen.n, 0);
	r.fake->denies_get = true;
	CHECK_U64(list(&r, &seen), ERR_AUTH);
	buf_free(&seen.text);
	s3_rig_close(&r);
}

static void
lists_workspaces_without_a_prefix(void)
{
	struct s3_rig r = { 0 };
	struct seen   seen = { .n = 0 };

	s3_rig_open(&r, "key = \"net.tfstate\"\nworkspace_key_prefix = \"\"");
	fake_s3_put(r.fake, "net.tfstate", "1");
	fake_s3_put(r.fake, "dev/net.tfstate", "1");
	fake_s3_put(r.fake, "dev/x/net.tfstate", "1");
	CHECK_OK(list(&r, &seen), r.err);
	CHECK_STR(buf_str(&seen.text), "dev/net.tfstate net.tfstate ");
	CHECK_U64(r.fake->nlog, 1);
	r.fake->denies_list = true;
	CHECK_U64(list(&r, &seen), ERR_AUTH); /* terraform tolerates it only with its default prefix */
	buf_free(&seen.text);
	s3_rig_close(&r);
}

static void
creates_the_bucket(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "");
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "PUT"), 0);
	r.fake->bucket_missing = true;
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err);
	CHECK(!r.fake->bucket_missing);
	r.fake->bucket_missing = true;
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "PUT", .how = FAKE_LOST });
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err); /* looked again */
	r.fake->bucket_missing = true;
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "PUT", .how = FAKE_LOST_BEFORE });
	CHECK_U64(s3_rig_run(&r, provider_create(r.b)), ERR_UNCERTAIN);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "PUT", .how = FAKE_ANSWER, .status = 409,
	    .body = "<Error><Code>BucketAlreadyExists</Code></Error>" });
	CHECK_U64(s3_rig_run(&r, provider_create(r.b)), ERR_CONFLICT);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "PUT", .how = FAKE_ANSWER, .status = 400,
	    .body = "<Error><Code>IllegalLocationConstraintException</Code></Error>" });
	CHECK_U64(s3_rig_run(&r, provider_create(r.b)), ERR_CONFIG);
	s3_rig_close(&r);
}

static void
names_the_region_of_a_new_bucket(void)
{
	struct s3_rig r = { 0 };

	s3_rig_open(&r, "bare bucket = \"acme\"\nregion = \"eu-west-3\"\naccess_key = \"" FAKE_S3_ACCESS "\"\nsecret_key = \""
	    FAKE_S3_SECRET "\"");
	r.fake->region = "eu-west-3";
	r.fake->bucket_missing = true;
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "PUT https://acme.s3.eu-west-3.amazonaws.com/") -
	    fake_s3_seen(r.fake, "PUT https://acme.s3.eu-west-3.amazonaws.com/?"), 1);
	CHECK_STR(fake_s3_header(r.fake, 1, "content-type"), "application/xml");
	s3_rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "reads_what_is_there", reads_what_is_there },
	    { "reads_only_what_has_changed", reads_only_what_has_changed },
	    { "reads_an_empty_object", reads_an_empty_object },
	    { "tells_absence_from_a_marker_and_a_page", tells_absence_from_a_marker_and_a_page },
	    { "looks_at_it", looks_at_it },
	    { "reads_again_what_broke_off", reads_again_what_broke_off },
	    { "verifies_the_checksum", verifies_the_checksum },
	    { "spools_what_is_large", spools_what_is_large },
	    { "refuses_what_is_too_large", refuses_what_is_too_large },
	    { "writes_under_preconditions", writes_under_preconditions },
	    { "sends_again_after_a_race", sends_again_after_a_race },
	    { "names_the_delete_marker_trap", names_the_delete_marker_trap },
	    { "sends_the_headers_of_the_block", sends_the_headers_of_the_block },
	    { "sends_tags", sends_tags },
	    { "sends_the_customer_key_with_every_request", sends_the_customer_key_with_every_request },
	    { "deletes", deletes },
	    { "lists_states_below_the_prefix", lists_states_below_the_prefix },
	    { "lists_page_by_page", lists_page_by_page },
	    { "refuses_a_listing_that_is_none", refuses_a_listing_that_is_none },
	    { "says_why_it_cannot_list", says_why_it_cannot_list },
	    { "lists_a_key_and_its_workspaces", lists_a_key_and_its_workspaces },
	    { "lists_workspaces_without_a_prefix", lists_workspaces_without_a_prefix },
	    { "creates_the_bucket", creates_the_bucket },
	    { "names_the_region_of_a_new_bucket", names_the_region_of_a_new_bucket },
	    { NULL, NULL } });
}
