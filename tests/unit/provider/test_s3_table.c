/* SPDX-License-Identifier: MIT */
#include "../../lib/s3_rig.h"
#include "../../lib/test.h"
#include "base/encode.h"

/* The lock table: rows of locks and of digests, alone and beside the lock object; every answer, and what is made of it. */
#define KEY      "prod/a.tfstate"
#define ROW      "acme/" KEY
#define MD5_ROW  ROW "-md5"
#define LOCK_KEY KEY ".tflock"
#define TABLE    "dynamodb_table = \"" FAKE_DYNAMO_TABLE "\"\n  dynamodb_endpoint = \"http://" FAKE_DYNAMO_HOST "\"\n"
#define BOTH     "use_lockfile = true\n  " TABLE

static const char foreign[] = S3_RIG_FOREIGN("acme/" KEY);
static const char throttled[] = "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException\"}";
static const char conflict[] = "{\"__type\":\"com.amazonaws.dynamodb.v20120810#TransactionConflictException\"}";

/* What can become of a write to the table. */
static const struct fake_s3_rule ways[] = { { .how = FAKE_LOST }, { .how = FAKE_LOST_BEFORE }, { .how = FAKE_ANSWER, .status = 500, .body = "{}" },
	{ .how = FAKE_ANSWER, .status = 400, .body = throttled }, { .how = FAKE_ANSWER, .status = 400, .body = conflict }, { .how = FAKE_REFUSED },
	{ .how = FAKE_APPLY, .status = 500, .body = "{}" } };

static struct s3_rig    r;
static struct lock_info lock, holder;

static void
begin_as(const char *args)
{
	memset(&r, 0, sizeof(r));
	s3_rig_open(&r, args);
	provider_lock_new(r.b, &(struct state_ref){ KEY }, "edge \"e\"", &lock);
}

static void
begin(void)
{
	begin_as(TABLE);
}

static void
begin_both(void)
{
	begin_as(BOTH);
}

static enum err_code
take(void)
{
	return s3_rig_run(&r, provider_lock(r.b, &(struct state_ref){ KEY }, &lock, &holder));
}

static enum err_code
give_back(void)
{
	return s3_rig_run(&r, provider_unlock(r.b, &(struct state_ref){ KEY }, &lock));
}

static enum err_code
peek(struct lock_info *ret)
{
	return s3_rig_run(&r, provider_lock_peek(r.b, &(struct state_ref){ KEY }, ret));
}

static void
rule(const char *what, enum fake_s3_how how, int status, const char *body, unsigned times)
{
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .what = what, .how = how, .status = status, .body = body, .times = times });
}

static const char *
row(const char *id, const char *attribute)
{
	return fake_dynamo_get(r.fake->dynamo, id, attribute);
}

static bool
is_locked_by_us(void)
{
	const char *text = row(ROW, "Info");

	return text != NULL && strstr(text, lock.id) != NULL;
}

/* ---------------------------------------------------------------- locks */

static void
locks_and_unlocks(void)
{
	struct buf body;

	begin();
	CHECK((provider_caps(r.b) & (PROVIDER_LOCK | PROVIDER_LOCK_ID | PROVIDER_LOCK_UNLISTED)) != 0);
	CHECK_OK(take(), r.err);
	CHECK(!lock.late);
	CHECK_U64(r.fake->nlog, 1);
	CHECK_U64(r.b->requests, 1);
	CHECK_STR(fake_s3_header(r.fake, 0, "content-type"), "application/x-amz-json-1.0");
	buf_init(&body, 0);
	lock_info_body(&lock, &body);
	CHECK_STR(row(ROW, "Info"), buf_str(&body));
	buf_free(&body);
	CHECK_OK(take(), r.err); /* ours already */
	CHECK_OK(give_back(), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "GetItem"), 0);
	CHECK_U64(fake_dynamo_count(r.fake->dynamo), 0);
	CHECK_OK(give_back(), r.err); /* twice */
	CHECK_U64(r.fake->wrong, 0);
	s3_rig_close(&r);
}

static void
sees_who_holds_it(void)
{
	struct lock_info there;

	for (int bare = 0; bare < 2; bare++) {
		begin();
		r.fake->dynamo->bare = bare != 0; /* a refusal that does not show the row */
		CHECK_U64(peek(&there), ERR_NOT_FOUND);
		fake_dynamo_put(r.fake->dynamo, ROW, "Info", foreign);
		CHECK_OK(peek(&there), r.err);
		CHECK_STR(there.who, "root@vm");
		CHECK_U64(take(), ERR_LOCKED);
		CHECK_STR(holder.id, "28199e1c-3fc0-5817-efb1-6ca623fe2f7d");
		CHECK(strstr(r.err.msg, "root@vm (OperationTypeApply) since 2026-11-22T00:44:48.913724782Z") != NULL);
		CHECK_U64(fake_s3_seen(r.fake, "GetItem"), bare ? 3 : 2);
		CHECK_OK(give_back(), r.err); /* another id: ours is gone, and theirs stays */
		CHECK_STR(row(ROW, "Info"), foreign);
		fake_dynamo_put(r.fake->dynamo, ROW, "Info", "nonsense");
		CHECK_U64(take(), ERR_LOCKED);
		CHECK_U64(give_back(), ERR_UNCERTAIN); /* whose it is nobody can say */
		CHECK_STR(row(ROW, "Info"), "nonsense");
		CHECK_OK(peek(&there), r.err);
		CHECK(there.unnamed && there.who[0] != '\0');
		CHECK_U64(strlen(there.id), DIGEST_HEX - 1); /* by which a person can name it, and break it */
		lock = there;
		CHECK_OK(give_back(), r.err);
		CHECK_U64(fake_dynamo_count(r.fake->dynamo), 0);
		s3_rig_close(&r);
	}
}

/* By its id, whatever the spelling of its row. */
static void
breaks_a_foreign_lock(void)
{
	static const char odd[] = "{ \"Created\": \"2026-11-22T00:44:48+00:00\", \"ID\": \"x\", \"Extra\": 1 }";

	begin();
	for (int i = 0; i < 2; i++) {
		fake_dynamo_put(r.fake->dynamo, ROW, "Info", i == 0 ? foreign : odd);
		CHECK_OK(peek(&lock), r.err);
		CHECK_OK(give_back(), r.err);
		CHECK_U64(fake_dynamo_count(r.fake->dynamo), 0);
	}
	s3_rig_close(&r);
}

static void
knows_its_own_first_try(void)
{
	begin();
	rule("PutItem", FAKE_LOST, 0, NULL, 1); /* it arrived, the answer did not: the second try meets our own lock */
	CHECK_OK(take(), r.err);
	CHECK(is_locked_by_us() && lock.late);
	CHECK_U64(fake_s3_seen(r.fake, "PutItem"), 2);
	CHECK_OK(give_back(), r.err);
	rule("PutItem", FAKE_APPLY, 500, "{\"__type\":\"x#InternalServerError\"}", 1);
	CHECK_OK(take(), r.err);
	CHECK(is_locked_by_us());
	s3_rig_close(&r);
}

static void
is_in_doubt_only_without_any_answer(void)
{
	begin();
	rule("PutItem", FAKE_LOST_BEFORE, 0, NULL, 2);
	CHECK_OK(take(), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "PutItem"), 3);
	CHECK_OK(give_back(), r.err);
	rule("PutItem", FAKE_LOST_BEFORE, 0, NULL, 99);
	CHECK_U64(take(), ERR_UNCERTAIN); /* the row is absent, but a request may still arrive */
	fake_s3_no_rules(r.fake);
	rule("PutItem", FAKE_LOST, 0, NULL, 1);
	rule("PutItem", FAKE_REFUSED, 0, NULL, 99);
	CHECK_OK(take(), r.err); /* not one answer to a write, but the read finds our id */
	fake_s3_no_rules(r.fake);
	CHECK_OK(give_back(), r.err);
	rule("PutItem", FAKE_LOST, 0, NULL, 1);
	rule("PutItem", FAKE_ANSWER, 400, "{\"__type\":\"x#AccessDeniedException\"}", 9);
	CHECK_U64(take(), ERR_UNCERTAIN); /* a later refusal says nothing of the first */
	fake_s3_no_rules(r.fake);
	CHECK_OK(give_back(), r.err);
	rule("PutItem", FAKE_REFUSED, 0, NULL, 1);
	CHECK_U64(take(), ERR_NETWORK);
	CHECK_U64(fake_dynamo_count(r.fake->dynamo), 0);
	s3_rig_close(&r);
}

static void
waits_for_a_busy_table(void)
{
	begin();
	rule("PutItem", FAKE_ANSWER, 400, throttled, 3);
	CHECK_OK(take(), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "PutItem"), 4);
	rule("DeleteItem", FAKE_ANSWER, 400, throttled, 2);
	CHECK_OK(give_back(), r.err);
	rule("PutItem", FAKE_ANSWER, 400, conflict, 2);
	CHECK_OK(take(), r.err);
	CHECK_OK(give_back(), r.err);
	rule("PutItem", FAKE_ANSWER, 400, throttled, 99);
	CHECK_U64(take(), ERR_BUSY); /* refused for certain */
	s3_rig_close(&r);
}

static void
unlocks_whatever_happens_on_the_way(void)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		begin();
		CHECK_OK(take(), r.err);
		rule("DeleteItem", ways[i].how, ways[i].status, ways[i].body, 2);
		if (give_back() != ERR_OK)
			test_fail(__FILE__, __LINE__, "way %zu: %s", i, r.err.msg);
		CHECK_U64(fake_dynamo_count(r.fake->dynamo), 0);
		s3_rig_close(&r);
	}
	begin();
	CHECK_OK(take(), r.err);
	rule("DeleteItem", FAKE_LOST_BEFORE, 0, NULL, 99);
	CHECK_U64(give_back(), ERR_UNCERTAIN);
	s3_rig_close(&r);
}

static unsigned
parts(struct s3_rig *rig, const char *id)
{
	const char *text = fake_dynamo_get(rig->fake->dynamo, ROW, "Info"), *object = fake_s3_text(rig->fake, LOCK_KEY);

	return (text != NULL && strstr(text, id) != NULL ? 1u : 0) + (object != NULL && strstr(object, id) != NULL ? 1u : 0);
}

static void
excludes_whatever_the_network_does(void)
{
	struct s3_race sum = { 0 };

	for (uint64_t seed = 1; seed <= 200; seed++) {
		bool both = seed % 2 != 0;

		begin_as(both ? BOTH : TABLE);
		s3_rig_race(&r, KEY, seed, both ? 2 : 1, parts, &sum);
	}
	CHECK(sum.unknown > 0 && sum.unknown < 60 && sum.held > 120);
}

/* ---------------------------------------------------------------- both locks */

static void
takes_the_object_then_the_row(void)
{
	struct lock_info there;

	begin_both();
	CHECK_OK(take(), r.err);
	CHECK_U64(r.fake->nlog, 2);
	CHECK(strstr(r.fake->log[0], "PUT http://" FAKE_S3_HOST "/acme/" LOCK_KEY) == r.fake->log[0]);
	CHECK(strstr(r.fake->log[1], "PutItem") != NULL);
	CHECK_STR(lock.generation, fake_s3_get(r.fake, LOCK_KEY)->etag);
	CHECK_STR(fake_s3_text(r.fake, LOCK_KEY), row(ROW, "Info"));
	fake_s3_forget(r.fake);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(r.fake->nlog, 3);
	CHECK(strstr(r.fake->log[1], "DELETE ") == r.fake->log[1] && strstr(r.fake->log[2], "DeleteItem") != NULL);
	CHECK_U64(fake_s3_count(r.fake) + fake_dynamo_count(r.fake->dynamo), 0);

	fake_s3_put(r.fake, LOCK_KEY, foreign); /* held by a terraform that knows the object only */
	fake_s3_forget(r.fake);
	CHECK_U64(take(), ERR_LOCKED);
	CHECK_U64(fake_s3_seen(r.fake, "PutItem"), 0);
	CHECK_OK(peek(&there), r.err);
	CHECK_STR(there.who, "root@vm");
	fake_s3_del(r.fake, LOCK_KEY);

	fake_dynamo_put(r.fake->dynamo, ROW, "Info", foreign); /* or the row only: the object goes back */
	CHECK_U64(take(), ERR_LOCKED);
	CHECK_STR(holder.who, "root@vm");
	CHECK_U64(fake_s3_count(r.fake), 0);
	CHECK_OK(peek(&there), r.err);
	CHECK_STR(there.who, "root@vm");
	lock = there;
	CHECK_OK(give_back(), r.err); /* half a lock can be broken, too */
	CHECK_U64(fake_dynamo_count(r.fake->dynamo), 0);
	s3_rig_close(&r);
}

static void
never_says_not_held_of_half_a_lock(void)
{
	begin_both();
	fake_dynamo_put(r.fake->dynamo, ROW, "Info", foreign);
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "DELETE", .how = FAKE_LOST_BEFORE, .times = 99 });
	CHECK_U64(take(), ERR_UNCERTAIN);
	CHECK(fake_s3_text(r.fake, LOCK_KEY) != NULL);
	fake_s3_no_rules(r.fake);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(fake_s3_count(r.fake), 0);
	CHECK_STR(row(ROW, "Info"), foreign);
	fake_dynamo_del(r.fake->dynamo, ROW);

	rule("PutItem", FAKE_LOST, 0, NULL, 1); /* a row in doubt leaves the object to whoever unlocks */
	rule("dynamodb", FAKE_REFUSED, 0, NULL, 99);
	CHECK_U64(take(), ERR_UNCERTAIN);
	CHECK(lock.generation[0] != '\0');
	fake_s3_no_rules(r.fake);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(fake_s3_count(r.fake) + fake_dynamo_count(r.fake->dynamo), 0);

	CHECK_OK(take(), r.err); /* each half is tried, whatever becomes of the other */
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = "DELETE", .how = FAKE_ANSWER, .status = 403,
	    .body = "<Error><Code>AccessDenied</Code></Error>", .times = 9 });
	CHECK_U64(give_back(), ERR_AUTH);
	CHECK_U64(fake_dynamo_count(r.fake->dynamo), 0);
	fake_s3_no_rules(r.fake);
	CHECK_OK(give_back(), r.err);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- digests */

#define STATE "{\"version\":4,\"serial\":1,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}\n"
#define OTHER "{\"version\":4,\"serial\":2,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}\n"

static const char *
md5(const char *text)
{
	static char hex[2][2 * MD5_LEN + 1];
	static int  turn;
	uint8_t     sum[MD5_LEN];

	md5_of(text, strlen(text), sum);
	hex_encode(sum, sizeof(sum), hex[turn ^= 1]);
	return hex[turn];
}

static enum err_code
get(void)
{
	struct snapshot s;
	enum err_code   rc = s3_rig_get(&r, KEY, &s);

	CHECK((s.body != NULL) == (rc == ERR_OK || rc == ERR_CORRUPT));
	snapshot_free(&s);
	return rc;
}

static enum err_code
seal(const char *text)
{
	struct body    *body = body_copy(span_str(text));
	struct snapshot s;
	enum err_code   rc;

	snapshot_of(&s, body, NULL);
	body_unref(body);
	rc = s3_rig_run(&r, provider_seal(r.b, &(struct state_ref){ KEY }, &s));
	snapshot_free(&s);
	return rc;
}

static void
compares_what_it_reads(void)
{
	int64_t begun;
	char    upper[2 * MD5_LEN + 1];

	begin();
	fake_s3_put(r.fake, KEY, STATE);
	CHECK_OK(get(), r.err); /* no row */
	fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", md5(STATE));
	CHECK_OK(get(), r.err);
	snprintf(upper, sizeof(upper), "%s", md5(STATE));
	for (char *p = upper; *p != '\0'; p++)
		*p = *p >= 'a' ? (char)(*p - 32) : *p;
	fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", upper);
	CHECK_OK(get(), r.err);
	fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", "not a digest");
	CHECK_OK(get(), r.err);
	fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", md5(OTHER));
	fake_s3_forget(r.fake);
	begun = loop_now(r.loop);
	CHECK_U64(get(), ERR_CORRUPT);
	CHECK(strstr(r.err.msg, md5(STATE)) != NULL && strstr(r.err.msg, md5(OTHER)) != NULL);
	CHECK(strstr(r.err.hint, md5(STATE)) != NULL && strstr(r.err.hint, MD5_ROW) != NULL);
	CHECK(loop_now(r.loop) - begun >= 10000);
	CHECK_U64(fake_s3_seen(r.fake, "GetItem"), 6); /* as often as terraform */
	CHECK_STR(row(MD5_ROW, "Digest"), md5(OTHER));  /* not repaired: it is not ours */
	s3_rig_close(&r);
}

struct writer {
	struct timer t;
};

static void
write_digest(void *arg)
{
	(void)arg;
	fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", md5(STATE));
}

/* Somebody is between his two writes. */
static void
waits_for_the_second_write(void)
{
	struct writer w;

	begin();
	fake_s3_put(r.fake, KEY, STATE);
	fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", md5(OTHER));
	timer_init(&w.t, r.loop, write_digest, NULL);
	timer_set(&w.t, 3000);
	CHECK_OK(get(), r.err);
	s3_rig_close(&r);
}

/* Lock, look, write, read back, seal, unlock: seven requests, and ten seconds are waited for nowhere. */
static void
writes_the_digest_after_the_state(void)
{
	char    etag[ETAG_MAX];
	int64_t begun;

	begin();
	begun = loop_now(r.loop);
	CHECK_OK(take(), r.err);
	CHECK_U64(get(), ERR_NOT_FOUND);
	CHECK_OK(s3_rig_put(&r, KEY, STATE, PUT_ABSENT, NULL, etag), r.err);
	CHECK_OK(get(), r.err); /* the digest is still of what was there */
	CHECK(row(MD5_ROW, "Digest") == NULL);
	CHECK_OK(seal(STATE), r.err);
	CHECK_STR(row(MD5_ROW, "Digest"), md5(STATE));
	CHECK_OK(give_back(), r.err);
	CHECK_U64(r.fake->nlog, 7);

	CHECK_OK(take(), r.err);
	CHECK_OK(get(), r.err);
	CHECK_OK(s3_rig_put(&r, KEY, OTHER, PUT_MATCH, etag, etag), r.err);
	CHECK_OK(get(), r.err);
	CHECK_OK(seal(OTHER), r.err);
	CHECK_STR(row(MD5_ROW, "Digest"), md5(OTHER));
	CHECK_OK(give_back(), r.err);
	CHECK_U64(r.fake->nlog, 14);
	CHECK(loop_now(r.loop) - begun < 1000);

	CHECK_OK(take(), r.err); /* of bytes that were not sealed only the one who wrote them may make nothing */
	CHECK_OK(s3_rig_put(&r, KEY, STATE, PUT_MATCH, etag, etag), r.err);
	CHECK_OK(get(), r.err);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(get(), ERR_CORRUPT);
	s3_rig_close(&r);
}

static void
seals_whatever_happens_on_the_way(void)
{
	for (size_t i = 0; i < 2 * ARRAY_LEN(ways); i++) {
		char etag[ETAG_MAX];

		begin();
		CHECK_OK(take(), r.err);
		if (i % 2 == 0) {
			fake_s3_put(r.fake, KEY, OTHER);
			fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", md5(OTHER));
		}
		get();
		CHECK_OK(s3_rig_put(&r, KEY, STATE, PUT_UNDER_LOCK, NULL, etag), r.err);
		rule("PutItem", ways[i / 2].how, ways[i / 2].status, ways[i / 2].body, 2);
		if (seal(STATE) != ERR_OK)
			test_fail(__FILE__, __LINE__, "way %zu: %s", i, r.err.msg);
		CHECK_STR(row(MD5_ROW, "Digest"), md5(STATE));
		CHECK_OK(give_back(), r.err);
		CHECK_OK(get(), r.err);
		s3_rig_close(&r);
	}
	begin();
	CHECK_OK(take(), r.err);
	rule("PutItem", FAKE_LOST_BEFORE, 0, NULL, 99);
	CHECK_U64(seal(STATE), ERR_UNCERTAIN);
	CHECK(strstr(r.err.hint, md5(STATE)) != NULL);
	fake_s3_no_rules(r.fake);
	r.fake->dynamo->denies = "PutItem";
	CHECK_U64(seal(STATE), ERR_AUTH);
	CHECK(strstr(r.err.hint, "dynamodb:PutItem") != NULL);
	s3_rig_close(&r);
}

/* A digest that arrives a minute late, when somebody else has written, changes nothing. */
static void
a_late_digest_changes_nothing(void)
{
	begin();
	fake_s3_put(r.fake, KEY, OTHER);
	fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", md5(OTHER));
	CHECK_OK(take(), r.err);
	CHECK_OK(get(), r.err);
	scripted_late(r.fake->http, 60000);
	scripted_fail(r.fake->http, scripted_http_count(r.fake->http) + 1, SCRIPTED_LATE);
	CHECK_OK(seal(STATE), r.err);
	CHECK_OK(give_back(), r.err);
	fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", md5("third"));
	s3_rig_run(&r, op_sleep(r.loop, 120000));
	CHECK_STR(row(MD5_ROW, "Digest"), md5("third"));
	s3_rig_close(&r);
}

static void
deletes_the_digest_with_the_state(void)
{
	begin();
	fake_s3_put(r.fake, KEY, STATE);
	fake_dynamo_put(r.fake->dynamo, MD5_ROW, "Digest", md5(STATE));
	rule("DeleteItem", FAKE_LOST_BEFORE, 0, NULL, 1);
	CHECK_OK(s3_rig_run(&r, provider_del(r.b, &(struct state_ref){ KEY }, NULL)), r.err);
	CHECK_U64(fake_dynamo_count(r.fake->dynamo) + fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- refusals */

static void
says_what_is_wrong_with_the_table(void)
{
	struct lock_info there;

	begin();
	r.fake->dynamo->missing = true;
	CHECK_U64(take(), ERR_CONFIG); /* no such table is neither "locked" nor "not locked" */
	CHECK(strstr(r.err.msg, "table " FAKE_DYNAMO_TABLE " does not exist in region us-east-1") != NULL);
	CHECK(strstr(r.err.hint, "dynamodb_table") != NULL && strstr(r.err.hint, "create = true") != NULL);
	CHECK_U64(peek(&there), ERR_CONFIG);
	CHECK_U64(give_back(), ERR_CONFIG);
	fake_s3_put(r.fake, KEY, STATE);
	CHECK_U64(s3_rig_run(&r, provider_del(r.b, &(struct state_ref){ KEY }, NULL)), ERR_CONFIG);
	r.fake->dynamo->missing = false;
	r.fake->dynamo->other_key = true;
	CHECK_U64(take(), ERR_CONFIG);
	CHECK(strstr(r.err.hint, "partition key LockID of type String") != NULL);
	r.fake->dynamo->other_key = false;
	r.fake->dynamo->denies = "PutItem";
	CHECK_U64(take(), ERR_AUTH);
	CHECK(strstr(r.err.hint, "need dynamodb:PutItem on arn:aws:dynamodb:us-east-1:*:table/" FAKE_DYNAMO_TABLE) != NULL);
	r.fake->dynamo->denies = "GetItem";
	CHECK_U64(peek(&there), ERR_AUTH);
	CHECK(strstr(r.err.hint, "dynamodb:GetItem") != NULL);
	rule("PutItem", FAKE_ANSWER, 200, NULL, 1);
	s3_rig_close(&r);
}

static void
says_what_is_wrong_with_the_answer(void)
{
	struct lock_info there;

	begin();
	rule("GetItem", FAKE_ANSWER, 404, "<html>no</html>", 1);
	CHECK_U64(peek(&there), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.hint, "something other than DynamoDB") != NULL);
	rule("GetItem", FAKE_ANSWER, 200, "<html>portal</html>", 1);
	CHECK_U64(peek(&there), ERR_UNSUPPORTED); /* never "not locked" */
	rule("GetItem", FAKE_ANSWER, 200, "{\"Item\":{\"LockID\":{\"S\":\"", 1);
	CHECK_U64(peek(&there), ERR_UNSUPPORTED);
	rule("GetItem", FAKE_CUT, 0, NULL, 1);
	CHECK_U64(peek(&there), ERR_NOT_FOUND); /* a read is asked again */
	rule("GetItem", FAKE_ANSWER, 503, "", 99);
	CHECK_U64(peek(&there), ERR_BUSY);
	fake_s3_no_rules(r.fake);
	rule("GetItem", FAKE_ANSWER, 407, "", 1);
	CHECK_U64(peek(&there), ERR_AUTH);
	s3_rig_close(&r);
}

static void
says_whose_credentials_are_refused(void)
{
	struct lock_info there;

	begin();
	r.fake->access = "AKIDOTHER";
	CHECK_U64(peek(&there), ERR_AUTH);
	CHECK(strstr(r.err.msg, "the credentials from the backend block are refused") != NULL);
	CHECK(strstr(r.err.msg, FAKE_S3_SECRET) == NULL && strstr(r.err.hint, FAKE_S3_SECRET) == NULL);
	r.fake->access = FAKE_S3_ACCESS;
	r.fake->secret = "other";
	CHECK_U64(peek(&there), ERR_AUTH);
	CHECK(strstr(r.err.hint, "secret_key") != NULL);
	r.fake->secret = FAKE_S3_SECRET;
	r.fake->session_token = "tok";
	CHECK_U64(peek(&there), ERR_AUTH);
	CHECK(strstr(r.err.hint, "expired") != NULL);
	r.fake->session_token = NULL;
	r.fake->clock_ms = -(int64_t)20 * 60 * 1000;
	CHECK_U64(peek(&there), ERR_NOT_FOUND); /* the server's clock is learned, also for S3 */
	CHECK_OK(take(), r.err);
	s3_rig_close(&r);
}

static void
goes_where_the_configuration_says(void)
{
	static const struct {
		const char *args, *url;
	} rows[] = {
		{ "", "https://dynamodb.us-east-1.amazonaws.com/" },
		{ "use_fips_endpoint = true", "https://dynamodb-fips.us-east-1.amazonaws.com/" },
		{ "use_dualstack_endpoint = true", "https://dynamodb.us-east-1.api.aws/" },
		{ "region = \"cn-north-1\"", "https://dynamodb.cn-north-1.amazonaws.com.cn/" },
		{ "endpoints = { dynamodb = \"http://d.test/base\" }", "http://d.test/base/" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lock_info there;
		char            *args = xasprintf("bare bucket = \"acme\"\n%s%s\n  access_key = \"a\"\n  secret_key = \"b\"\n  dynamodb_table = \"t\"\n",
		    strstr(rows[i].args, "region") != NULL ? "" : "region = \"us-east-1\"\n", rows[i].args);

		memset(&r, 0, sizeof(r));
		s3_rig_open(&r, args);
		CHECK_U64(peek(&there), ERR_NETWORK);
		CHECK(strstr(r.fake->log[0], rows[i].url) == r.fake->log[0] + 5);
		s3_rig_close(&r);
		free(args);
	}
	memset(&r, 0, sizeof(r));
	CHECK_U64(s3_rig_try(&r, "dynamodb_table = \"t\"\n  dynamodb_endpoint = \"ftp://x\""), ERR_CONFIG);
	CHECK(strstr(r.err.msg, "endpoint of dynamodb") != NULL);
	s3_rig_close(&r);
}

/* ---------------------------------------------------------------- making what is missing */

#define AT_AWS "bare bucket = \"acme\"\nregion = \"us-east-1\"\naccess_key = \"" FAKE_S3_ACCESS "\"\nsecret_key = \"" FAKE_S3_SECRET "\"\n"

static void
makes_a_closed_bucket_that_keeps_versions(void)
{
	begin_as(AT_AWS "encrypt = true\nkms_key_id = \"alias/a&b\"");
	r.fake->bucket_missing = true;
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err);
	CHECK_STR(r.fake->settings, "publicAccessBlock=<PublicAccessBlockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
	    "<BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>"
	    "<RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>\n"
	    "encryption=<ServerSideEncryptionConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule>"
	    "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>alias/a&amp;b</KMSMasterKeyID>"
	    "</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>\n"
	    "versioning=<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>"
	    "</VersioningConfiguration>\n");
	r.fake->settings[0] = '\0';
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err); /* it is there: whoever made it has decided */
	CHECK_STR(r.fake->settings, "");
	s3_rig_close(&r);

	begin_as(AT_AWS);
	r.fake->bucket_missing = true;
	r.fake->denies_setting = "publicAccessBlock";
	rule("versioning=", FAKE_LOST, 0, NULL, 1);
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err); /* said, and used all the same */
	CHECK(strncmp(r.fake->settings, "versioning=", 11) == 0);
	s3_rig_close(&r);

	begin_as(""); /* another store keeps its own settings */
	r.fake->bucket_missing = true;
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err);
	CHECK(!r.fake->bucket_missing);
	CHECK_STR(r.fake->settings, "");
	s3_rig_close(&r);
}

static void
makes_the_table_with_the_bucket(void)
{
	begin();
	r.fake->bucket_missing = r.fake->dynamo->missing = true;
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err);
	CHECK(!r.fake->dynamo->missing && !r.fake->dynamo->creating);
	CHECK_OK(take(), r.err);
	s3_rig_close(&r);
	begin();
	r.fake->bucket_missing = r.fake->dynamo->missing = true;
	rule("CreateTable", FAKE_LOST, 0, NULL, 1);
	CHECK_OK(s3_rig_run(&r, provider_create(r.b)), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "CreateTable"), 1);
	s3_rig_close(&r);
	begin();
	r.fake->bucket_missing = r.fake->dynamo->missing = true;
	r.fake->dynamo->denies = "CreateTable";
	CHECK_U64(s3_rig_run(&r, provider_create(r.b)), ERR_AUTH);
	CHECK(strstr(r.err.hint, "dynamodb:CreateTable") != NULL);
	s3_rig_close(&r);
}

/* A bucket that is there, and no table: what is read has no rows yet, and the first lock makes it; nothing else does. */
static void
makes_the_table_with_the_first_lock(void)
{
	static const char *const styles[] = { TABLE "create = true\n", TABLE "create = true\n  use_lockfile = true\n" };
	struct lock_info         there;
	struct snapshot          now = { .etag = "" };

	for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
		begin_as(styles[i]);
		r.fake->dynamo->missing = true;
		fake_s3_put(r.fake, KEY, STATE);
		CHECK_U64(peek(&there), ERR_NOT_FOUND);
		CHECK_OK(s3_rig_run(&r, provider_get(r.b, &(struct state_ref){ KEY }, NULL, &now)), r.err);
		snapshot_free(&now);
		CHECK_U64(fake_s3_seen(r.fake, "CreateTable"), 0);
		CHECK_OK(take(), r.err);
		CHECK(!r.fake->dynamo->missing && !r.fake->dynamo->creating && is_locked_by_us());
		CHECK_OK(give_back(), r.err);
		CHECK_OK(take(), r.err);
		CHECK_U64(fake_s3_seen(r.fake, "CreateTable"), 1);
		s3_rig_close(&r);
	}
	begin_as(styles[0]);
	r.fake->dynamo->missing = true;
	r.fake->dynamo->denies = "CreateTable";
	CHECK_U64(take(), ERR_AUTH);
	CHECK(strstr(r.err.hint, "dynamodb:CreateTable") != NULL);
	r.fake->dynamo->denies = NULL;
	CHECK_U64(s3_rig_run(&r, provider_lock(r.b, &(struct state_ref){ ".stateferry/probe/x" }, &lock, &holder)), ERR_CONFIG);
	CHECK(r.fake->dynamo->missing && strstr(r.err.hint, "the first write makes it") != NULL);
	s3_rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "locks_and_unlocks", locks_and_unlocks },
	    { "sees_who_holds_it", sees_who_holds_it },
	    { "breaks_a_foreign_lock", breaks_a_foreign_lock },
	    { "knows_its_own_first_try", knows_its_own_first_try },
	    { "is_in_doubt_only_without_any_answer", is_in_doubt_only_without_any_answer },
	    { "waits_for_a_busy_table", waits_for_a_busy_table },
	    { "unlocks_whatever_happens_on_the_way", unlocks_whatever_happens_on_the_way },
	    { "excludes_whatever_the_network_does", excludes_whatever_the_network_does },
	    { "takes_the_object_then_the_row", takes_the_object_then_the_row },
	    { "never_says_not_held_of_half_a_lock", never_says_not_held_of_half_a_lock },
	    { "compares_what_it_reads", compares_what_it_reads },
	    { "waits_for_the_second_write", waits_for_the_second_write },
	    { "writes_the_digest_after_the_state", writes_the_digest_after_the_state },
	    { "seals_whatever_happens_on_the_way", seals_whatever_happens_on_the_way },
	    { "a_late_digest_changes_nothing", a_late_digest_changes_nothing },
	    { "deletes_the_digest_with_the_state", deletes_the_digest_with_the_state },
	    { "says_what_is_wrong_with_the_table", says_what_is_wrong_with_the_table },
	    { "says_what_is_wrong_with_the_answer", says_what_is_wrong_with_the_answer },
	    { "says_whose_credentials_are_refused", says_whose_credentials_are_refused },
	    { "goes_where_the_configuration_says", goes_where_the_configuration_says },
	    { "makes_a_closed_bucket_that_keeps_versions", makes_a_closed_bucket_that_keeps_versions },
	    { "makes_the_table_with_the_bucket", makes_the_table_with_the_bucket },
	    { "makes_the_table_with_the_first_lock", makes_the_table_with_the_first_lock },
	    { NULL, NULL } });
}
