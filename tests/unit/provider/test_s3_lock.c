/* SPDX-License-Identifier: MIT */
#include "../../lib/s3_rig.h"
#include "../../lib/test.h"

/* The lock object: every answer that a conditional write can get, and what is made of it. */
#define KEY      "prod/a.tfstate"
#define LOCK_KEY KEY ".tflock"

static const char foreign[] = S3_RIG_FOREIGN("acme/" KEY);
static const char raced[] = "<Error><Code>ConditionalRequestConflict</Code></Error>";
static const char slow_down[] = "<Error><Code>SlowDown</Code></Error>";
static const char failed[] = "<Error><Code>PreconditionFailed</Code></Error>";

static struct s3_rig    r;
static struct lock_info lock, holder;

static void
begin(void)
{
	memset(&r, 0, sizeof(r));
	s3_rig_open(&r, "use_lockfile = true");
	provider_lock_new(r.b, &(struct state_ref){ KEY }, "edge \"e\"", &lock);
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

static void
rule(const char *method, enum fake_s3_how how, int status, const char *body, unsigned times)
{
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .method = method, .what = LOCK_KEY, .how = how, .status = status, .body = body,
	    .times = times });
}

static unsigned
parts(struct s3_rig *rig, const char *id)
{
	const char *text = fake_s3_text(rig->fake, LOCK_KEY);

	return text != NULL && strstr(text, id) != NULL;
}

static bool
is_locked_by_us(void)
{
	return parts(&r, lock.id) == 1;
}

static void
locks_and_unlocks(void)
{
	struct buf body;

	begin();
	CHECK_STR(lock.path, "acme/" KEY);
	CHECK_OK(take(), r.err);
	CHECK(!lock.late);
	CHECK_U64(r.fake->nlog, 1);
	CHECK_STR(lock.generation, fake_s3_get(r.fake, LOCK_KEY)->etag);
	CHECK_STR(fake_s3_header(r.fake, 0, "if-none-match"), "*");
	CHECK_STR(fake_s3_header(r.fake, 0, "content-type"), "application/json");
	buf_init(&body, 0);
	lock_info_body(&lock, &body);
	CHECK_STR(fake_s3_text(r.fake, LOCK_KEY), buf_str(&body));
	buf_free(&body);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(r.fake->nlog, 3);
	CHECK(fake_s3_header(r.fake, 2, "if-match") != NULL);
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

static void
sees_who_holds_it(void)
{
	struct lock_info there;

	begin();
	CHECK_U64(s3_rig_run(&r, provider_lock_peek(r.b, &(struct state_ref){ KEY }, &there)), ERR_NOT_FOUND);
	fake_s3_put(r.fake, LOCK_KEY, foreign);
	CHECK_OK(s3_rig_run(&r, provider_lock_peek(r.b, &(struct state_ref){ KEY }, &there)), r.err);
	CHECK_STR(there.who, "root@vm");
	CHECK_STR(there.generation, fake_s3_get(r.fake, LOCK_KEY)->etag);
	CHECK_U64(take(), ERR_LOCKED);
	CHECK_STR(holder.id, "28199e1c-3fc0-5817-efb1-6ca623fe2f7d");
	CHECK(strstr(r.err.msg, "root@vm (OperationTypeApply) since 2026-11-22T00:44:48.913724782Z") != NULL);
	CHECK_OK(give_back(), r.err); /* another id: ours is gone, and theirs stays */
	CHECK_STR(fake_s3_text(r.fake, LOCK_KEY), foreign);
	fake_s3_put(r.fake, LOCK_KEY, "<html>");
	CHECK_U64(take(), ERR_LOCKED);
	CHECK_U64(give_back(), ERR_UNCERTAIN); /* it stays, but nobody can say that ours is gone */
	CHECK_STR(fake_s3_text(r.fake, LOCK_KEY), "<html>");
	CHECK_OK(s3_rig_run(&r, provider_lock_peek(r.b, &(struct state_ref){ KEY }, &there)), r.err);
	CHECK(there.unnamed && there.who[0] != '\0');
	CHECK_STR(there.id, there.generation); /* by which a person can name it, and break it */
	CHECK_OK(s3_rig_run(&r, provider_unlock(r.b, &(struct state_ref){ KEY }, &there)), r.err);
	CHECK(fake_s3_get(r.fake, LOCK_KEY) == NULL);
	s3_rig_close(&r);
}

/* What comes in the place of our lock says nothing about it. */
static void
a_page_is_not_another_lock(void)
{
	begin();
	CHECK_OK(take(), r.err);
	lock.generation[0] = '\0'; /* as after a crash: it has to be looked at */
	rule("GET", FAKE_ANSWER, 200, "<html>please sign in</html>", 2);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(fake_s3_count(r.fake), 0);
	CHECK_OK(take(), r.err);
	rule("GET", FAKE_ANSWER, 200, "<html>please sign in</html>", 100);
	CHECK_U64(give_back(), ERR_UNCERTAIN);
	CHECK(is_locked_by_us());
	s3_rig_close(&r);
}

static void
knows_its_own_first_try(void)
{
	begin();
	rule("PUT", FAKE_LOST, 0, NULL, 1); /* it arrived, the answer did not: the second try meets our own lock */
	CHECK_OK(take(), r.err);
	CHECK(is_locked_by_us());
	CHECK_STR(lock.generation, fake_s3_get(r.fake, LOCK_KEY)->etag);
	CHECK_U64(fake_s3_seen(r.fake, "PUT"), 2);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(fake_s3_count(r.fake), 0);
	rule("PUT", FAKE_APPLY, 500, "<Error><Code>InternalError</Code></Error>", 1);
	CHECK_OK(take(), r.err);
	CHECK(is_locked_by_us());
	s3_rig_close(&r);
}

static void
repeats_what_may_not_have_arrived(void)
{
	begin();
	rule("PUT", FAKE_LOST_BEFORE, 0, NULL, 2);
	CHECK_OK(take(), r.err);
	CHECK(is_locked_by_us() && lock.late);
	CHECK_U64(fake_s3_seen(r.fake, "PUT"), 3);
	s3_rig_close(&r);
}

static void
finds_another_after_a_doubt(void)
{
	begin();
	rule("PUT", FAKE_LOST_BEFORE, 0, NULL, 1);
	fake_s3_put(r.fake, LOCK_KEY, foreign);
	CHECK_U64(take(), ERR_LOCKED);
	CHECK_STR(holder.who, "root@vm");
	s3_rig_close(&r);
}

static void
stays_uncertain_only_without_any_answer(void)
{
	begin();
	rule("PUT", FAKE_LOST_BEFORE, 0, NULL, 99);
	CHECK_U64(take(), ERR_UNCERTAIN); /* the lock is absent, but a request may still arrive */
	CHECK_U64(fake_s3_seen(r.fake, "PUT"), 4);
	CHECK_U64(fake_s3_seen(r.fake, "GET"), 1);
	s3_rig_close(&r);
	begin();
	rule("PUT", FAKE_LOST, 0, NULL, 1);
	rule("PUT", FAKE_REFUSED, 0, NULL, 99);
	CHECK_OK(take(), r.err); /* not one answer to a write, but the read finds our id */
	s3_rig_close(&r);
	begin();
	rule("PUT", FAKE_LOST, 0, NULL, 1);
	rule(NULL, FAKE_REFUSED, 0, NULL, 99);
	CHECK_U64(take(), ERR_UNCERTAIN);
	s3_rig_close(&r);
}

/* A proxy that delivers a request twice hands out the second answer: the lock that was met is ours, and nobody could look. */
static void
is_in_doubt_about_a_lock_that_it_could_not_look_at(void)
{
	begin();
	rule("PUT", FAKE_APPLY, 412, failed, 1);
	rule("GET", FAKE_REFUSED, 0, NULL, 99);
	CHECK_U64(take(), ERR_UNCERTAIN);
	fake_s3_no_rules(r.fake);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

static void
is_certain_when_nothing_was_sent(void)
{
	begin();
	rule("PUT", FAKE_REFUSED, 0, NULL, 1);
	CHECK_U64(take(), ERR_NETWORK);
	CHECK_U64(r.fake->nlog, 1);
	s3_rig_close(&r);
}

static void
tries_again_after_a_race(void)
{
	begin();
	rule("PUT", FAKE_ANSWER, 409, raced, 3);
	CHECK_OK(take(), r.err);
	CHECK_U64(fake_s3_seen(r.fake, "PUT"), 4);
	CHECK_U64(fake_s3_seen(r.fake, "GET"), 0);
	s3_rig_close(&r);
	begin();
	fake_s3_put(r.fake, LOCK_KEY, foreign);
	rule("PUT", FAKE_ANSWER, 409, raced, 99);
	CHECK_U64(take(), ERR_LOCKED);
	CHECK_U64(fake_s3_seen(r.fake, "PUT"), 5);
	s3_rig_close(&r);
}

static void
tries_again_when_the_lock_was_just_released(void)
{
	int64_t begun;

	begin();
	begun = loop_now(r.loop);
	rule("PUT", FAKE_ANSWER, 412, failed, 2);
	CHECK_OK(take(), r.err);
	CHECK(is_locked_by_us());
	CHECK_U64(fake_s3_seen(r.fake, "PUT"), 3);
	CHECK_U64(fake_s3_seen(r.fake, "GET"), 2);
	CHECK(loop_now(r.loop) - begun >= 2 * 50);
	s3_rig_close(&r);
}

static void
takes_304_for_412(void)
{
	begin();
	fake_s3_put(r.fake, LOCK_KEY, foreign);
	rule("PUT", FAKE_ANSWER, 304, NULL, 1);
	CHECK_U64(take(), ERR_LOCKED);
	s3_rig_close(&r);
}

static void
names_the_delete_marker_trap(void)
{
	begin();
	r.fake->versioned = r.fake->marker_exists = true;
	CHECK_OK(take(), r.err);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(take(), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.msg, "delete marker") != NULL);
	CHECK(strstr(r.err.hint, "versioning") != NULL);
	s3_rig_close(&r);
}

static void
works_with_versioning_as_aws_has_it(void)
{
	begin();
	r.fake->versioned = true;
	for (int i = 0; i < 3; i++) {
		CHECK_OK(take(), r.err);
		CHECK_OK(give_back(), r.err);
	}
	s3_rig_close(&r);
}

static void
waits_for_a_busy_store(void)
{
	begin();
	rule("PUT", FAKE_ANSWER, 503, slow_down, 3);
	CHECK_OK(take(), r.err);
	CHECK_OK(give_back(), r.err);
	rule("PUT", FAKE_ANSWER, 503, slow_down, 99);
	CHECK_U64(take(), ERR_BUSY); /* refused for certain */
	s3_rig_close(&r);
}

static void
says_that_the_store_cannot_lock(void)
{
	begin();
	r.fake->no_conditions = true;
	CHECK_U64(take(), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.hint, "conditional writes") != NULL);
	r.fake->bucket_missing = true;
	CHECK_U64(take(), ERR_CONFIG); /* not found would say of a lock that there is none */
	s3_rig_close(&r);
}

static void
says_which_permission_is_missing(void)
{
	begin();
	r.fake->denies_put = true;
	CHECK_U64(take(), ERR_AUTH);
	CHECK(strstr(r.err.hint, "s3:PutObject on arn:aws:s3:::acme/" LOCK_KEY) != NULL);
	r.fake->denies_put = false;
	CHECK_OK(take(), r.err);
	r.fake->denies_delete = true;
	CHECK_U64(give_back(), ERR_AUTH);
	CHECK(strstr(r.err.hint, "s3:DeleteObject") != NULL);
	r.fake->denies_get = true;
	CHECK_U64(give_back(), ERR_AUTH);
	s3_rig_close(&r);
}

static void
stays_in_doubt_after_a_later_refusal(void)
{
	begin();
	rule("PUT", FAKE_LOST, 0, NULL, 1);
	rule("PUT", FAKE_ANSWER, 403, "<Error><Code>AccessDenied</Code></Error>", 9);
	CHECK_U64(take(), ERR_UNCERTAIN);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

static void
is_in_doubt_when_cancelled_on_the_way(void)
{
	begin();
	CHECK_U64(s3_rig_run_for(&r, provider_lock(r.b, &(struct state_ref){ KEY }, &lock, &holder), 7), ERR_UNCERTAIN);
	s3_rig_run(&r, op_sleep(r.loop, 100)); /* it arrives although nobody waits for it any longer */
	CHECK(is_locked_by_us());
	CHECK_OK(give_back(), r.err);
	CHECK_U64(s3_rig_run_for(&r, provider_lock(r.b, &(struct state_ref){ KEY }, &lock, &holder), 0), ERR_CANCELLED);
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

static void
unlocks_whatever_happens_on_the_way(void)
{
	static const struct fake_s3_rule ways[] = { { .how = FAKE_LOST }, { .how = FAKE_LOST_BEFORE }, { .how = FAKE_ANSWER, .status = 500 },
		{ .how = FAKE_ANSWER, .status = 503, .body = slow_down }, { .how = FAKE_ANSWER, .status = 409, .body = raced },
		{ .how = FAKE_ANSWER, .status = 412, .body = failed }, { .how = FAKE_REFUSED }, { .how = FAKE_APPLY, .status = 500 } };

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		begin();
		CHECK_OK(take(), r.err);
		rule("DELETE", ways[i].how, ways[i].status, ways[i].body, 2);
		if (give_back() != ERR_OK)
			test_fail(__FILE__, __LINE__, "way %zu: %s", i, r.err.msg);
		CHECK_U64(fake_s3_count(r.fake), 0);
		s3_rig_close(&r);
	}
	begin();
	CHECK_OK(take(), r.err);
	rule("DELETE", FAKE_LOST_BEFORE, 0, NULL, 99);
	CHECK_U64(give_back(), ERR_UNCERTAIN);
	s3_rig_close(&r);
}

static void
unlocks_where_delete_knows_no_conditions(void)
{
	begin();
	CHECK_OK(take(), r.err);
	r.fake->no_conditions = true;
	CHECK_OK(give_back(), r.err);
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
	begin();
	CHECK_OK(take(), r.err);
	fake_s3_put(r.fake, LOCK_KEY, foreign); /* somebody has broken ours and taken it */
	r.fake->ignores_delete_match = true;
	CHECK_OK(give_back(), r.err);
	CHECK_STR(fake_s3_text(r.fake, LOCK_KEY), foreign);
	s3_rig_close(&r);
}

static void
excludes_whatever_the_network_does(void)
{
	struct s3_race sum = { 0 };

	for (uint64_t seed = 1; seed <= 400; seed++) {
		begin();
		s3_rig_race(&r, KEY, seed, 1, parts, &sum);
	}
	CHECK(sum.unknown > 0 && sum.unknown < 40 && sum.held > 300);
}

/* Unlocked is unlocked, however often the network fails on the way. */
static void
releases_whatever_the_network_does(void)
{
	unsigned released = 0;

	for (uint64_t seed = 1; seed <= 400; seed++) {
		enum err_code rc;

		begin();
		CHECK_OK(take(), r.err);
		scripted_chaos(r.fake->http, 300, ~(1u << SCRIPTED_LATE), seed);
		rc = give_back();
		if (rc == ERR_OK)
			CHECK_U64(fake_s3_count(r.fake), 0);
		released += rc == ERR_OK;
		s3_rig_close(&r);
	}
	CHECK(released > 330); /* the rest: no answer to a read in time */
}

static void
takes_six_requests_for_a_new_state(void)
{
	struct snapshot s;
	char            etag[ETAG_MAX];

	begin();
	CHECK_OK(take(), r.err);
	CHECK_U64(s3_rig_get(&r, KEY, &s), ERR_NOT_FOUND);
	CHECK_OK(s3_rig_put(&r, KEY, "{\"version\":4}", PUT_ABSENT, NULL, etag), r.err);
	CHECK_OK(s3_rig_get(&r, KEY, &s), r.err);
	snapshot_free(&s);
	CHECK_OK(give_back(), r.err);
	CHECK_U64(r.fake->nlog, 6);
	CHECK_U64(r.b->requests, 6);
	s3_rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "locks_and_unlocks", locks_and_unlocks },
	    { "sees_who_holds_it", sees_who_holds_it },
	    { "a_page_is_not_another_lock", a_page_is_not_another_lock }, { "knows_its_own_first_try", knows_its_own_first_try },
	    { "repeats_what_may_not_have_arrived", repeats_what_may_not_have_arrived },
	    { "finds_another_after_a_doubt", finds_another_after_a_doubt },
	    { "stays_uncertain_only_without_any_answer", stays_uncertain_only_without_any_answer },
	    { "is_in_doubt_about_a_lock_that_it_could_not_look_at", is_in_doubt_about_a_lock_that_it_could_not_look_at },
	    { "is_certain_when_nothing_was_sent", is_certain_when_nothing_was_sent },
	    { "tries_again_after_a_race", tries_again_after_a_race },
	    { "tries_again_when_the_lock_was_just_released", tries_again_when_the_lock_was_just_released },
	    { "takes_304_for_412", takes_304_for_412 },
	    { "names_the_delete_marker_trap", names_the_delete_marker_trap },
	    { "works_with_versioning_as_aws_has_it", works_with_versioning_as_aws_has_it },
	    { "waits_for_a_busy_store", waits_for_a_busy_store },
	    { "says_that_the_store_cannot_lock", says_that_the_store_cannot_lock },
	    { "says_which_permission_is_missing", says_which_permission_is_missing },
	    { "stays_in_doubt_after_a_later_refusal", stays_in_doubt_after_a_later_refusal },
	    { "is_in_doubt_when_cancelled_on_the_way", is_in_doubt_when_cancelled_on_the_way },
	    { "unlocks_whatever_happens_on_the_way", unlocks_whatever_happens_on_the_way },
	    { "unlocks_where_delete_knows_no_conditions", unlocks_where_delete_knows_no_conditions },
	    { "excludes_whatever_the_network_does", excludes_whatever_the_network_does },
	    { "releases_whatever_the_network_does", releases_whatever_the_network_does },
	    { "takes_six_requests_for_a_new_state", takes_six_requests_for_a_new_state },
	    { NULL, NULL } });
}
