/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/azure_rig.h"
#include "../../lib/test.h"

/* The lock on a blob: whatever becomes of a request, and whoever else holds it. */

/* --- the lock, whatever becomes of a request --- */

/* What was answered is so: held, in doubt and then released, or not held at all. */
static void
a_lock_is_ours_or_nobodys(void)
{
	struct lock_info l;

	for (int there = 0; there < 2; there++)
		for (unsigned n = 1; n <= 7; n++)
			for (enum scripted_fault f = SCRIPTED_LOST_BEFORE; f < SCRIPTED_FAULTS; f++) {
				enum err_code rc;

				azure_begin("");
				if (there)
					fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
				scripted_late(azure.r.http, 100);
				scripted_fail(azure.r.http, n, f);
				rc = azure_lock(&l);
				if (rc == ERR_OK) {
					CHECK_STR(fake_azure_lease(azure.fake, AZURE_NAME), l.id);
					CHECK(fake_azure_meta(azure.fake, AZURE_NAME, "terraformlockid")[0] != '\0');
				} else if (rc != ERR_UNCERTAIN && fake_azure_leases(azure.fake) != 0) {
					test_fail(__FILE__, __LINE__, "%s at request %u: %s, and it is held", scripted_fault_name(f), n, azure.r.err.msg);
				}
				if (rc == ERR_OK || rc == ERR_UNCERTAIN)
					azure_unlock_at_last(&l);
				if (!azure_nothing_locked())
					test_fail(__FILE__, __LINE__, "%s at request %u: a lock is left", scripted_fault_name(f), n);
				azure_end();
			}
}

static void
an_unlock_is_done_or_repeated(void)
{
	struct lock_info l;

	for (unsigned n = 1; n <= 4; n++)
		for (enum scripted_fault f = SCRIPTED_LOST_BEFORE; f < SCRIPTED_FAULTS; f++) {
			azure_begin("");
			fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
			CHECK_U64(azure_lock(&l), ERR_OK);
			scripted_late(azure.r.http, 100);
			scripted_fail(azure.r.http, scripted_http_count(azure.r.http) + n, f);
			if (azure_unlock(&l) == ERR_OK && !azure_nothing_locked())
				test_fail(__FILE__, __LINE__, "%s at request %u: said to be released", scripted_fault_name(f), n);
			azure_unlock_at_last(&l);
			CHECK(azure_nothing_locked());
			azure_end();
		}
}

/* And told to be late, when the request may still arrive. */
static void
a_lease_whose_answer_is_lost_is_asked_for_again(void)
{
	struct lock_info l;

	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	scripted_fail(azure.r.http, 1, SCRIPTED_LOST_ANSWER);
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK(l.late);
	CHECK_STR(fake_azure_lease(azure.fake, AZURE_NAME), l.id);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	azure_end();
}

/* Terraform's own first lock has no condition. */
static void
the_first_lock_wipes_nothing(void)
{
	struct lock_info l;
	struct span      there;

	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE)); /* came after the answer below */
	scripted_expect(azure.r.http, "PUT", "comp=lease", 404, "x-ms-error-code: BlobNotFound", NULL);
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK(fake_azure_get(azure.fake, AZURE_NAME, &there) && span_is(there, AZURE_STATE));
	CHECK_U64(azure_unlock(&l), ERR_OK);
	azure_end();
}

/* The lease is ours, but its words are refused: then rather no lock. */
static void
a_lock_that_nobody_could_read_is_let_go(void)
{
	struct lock_info l;
	struct snapshot  s;
	char             etag[ETAG_MAX];

	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	for (int i = 0; i < 41; i++) {
		char key[16];

		snprintf(key, sizeof(key), "m%d", i);
		fake_azure_set_meta(azure.fake, AZURE_NAME, key, "v");
	}
	CHECK_U64(azure_lock(&l), ERR_UNSUPPORTED);
	CHECK(strstr(azure.r.err.msg, "metadata") != NULL);
	CHECK_U64(fake_azure_leases(azure.fake), 0);
	scripted_fail(azure.r.http, scripted_http_count(azure.r.http) + 1, SCRIPTED_LATE); /* the lease that was let go may come once more */
	CHECK_U64(azure_lock(&l), ERR_UNCERTAIN);
	CHECK(strstr(azure.r.err.msg, "metadata") != NULL);
	azure_unlock_at_last(&l);
	CHECK_U64(azure_put(AZURE_STATE " ", PUT_UNDER_LOCK, NULL, NULL, etag), ERR_UNSUPPORTED);
	CHECK_U64(azure_get(&s), ERR_OK);
	snapshot_free(&s);
	azure_words_of(OTHERS);
	fake_azure_set_lease(azure.fake, AZURE_NAME, OTHERS);
	CHECK_U64(azure_peek(&l), ERR_OK);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK_U64(fake_azure_leases(azure.fake), 0);
	CHECK_STR(fake_azure_meta(azure.fake, AZURE_NAME, "m9"), "v");
	azure_end();
}

static void
a_lock_that_was_broken_writes_nothing(void)
{
	struct lock_info l;
	struct span      there;
	char             etag[ETAG_MAX];

	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	CHECK_U64(azure_lock(&l), ERR_OK);
	fake_azure_set_lease(azure.fake, AZURE_NAME, "");
	CHECK_U64(azure_put(AZURE_STATE " ", PUT_UNDER_LOCK, NULL, &l, etag), ERR_CONFLICT);
	fake_azure_set_lease(azure.fake, AZURE_NAME, OTHERS);
	CHECK_U64(azure_put(AZURE_STATE " ", PUT_UNDER_LOCK, NULL, &l, etag), ERR_CONFLICT);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK_STR(fake_azure_lease(azure.fake, AZURE_NAME), OTHERS);
	CHECK(fake_azure_get(azure.fake, AZURE_NAME, &there) && span_is(there, AZURE_STATE));
	azure_end();
}

/* --- what is known under the lease is not asked --- */

/* Look, write, read back, as a push does it. */
static unsigned
requests_of_a_write(const char *there)
{
	struct lock_info l;
	struct snapshot  s;
	char             etag[ETAG_MAX];
	unsigned         n;

	azure_begin("");
	if (there != NULL)
		fake_azure_put(azure.fake, AZURE_NAME, span_str(there));
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK_U64(azure_get(&s), there != NULL ? ERR_OK : ERR_NOT_FOUND);
	CHECK_U64(azure_put(AZURE_STATE " ", there != NULL ? PUT_MATCH : PUT_ABSENT, s.etag, &l, etag), ERR_OK);
	snapshot_free(&s);
	CHECK_U64(azure_get(&s), ERR_OK);
	CHECK_STR(s.etag, etag);
	snapshot_free(&s);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK(azure_nothing_locked());
	n = scripted_http_count(azure.r.http);
	azure_end();
	return n;
}

static void
a_write_takes_few_requests(void)
{
	CHECK_U64(requests_of_a_write(AZURE_STATE), 8);
	CHECK_U64(requests_of_a_write(NULL), 9);
}

/* Somebody touches the blob in spite of our lease: then a look tells what may be written, and what has to stay. */
static void
what_is_known_is_not_trusted_blindly(void)
{
	struct lock_info l;
	struct snapshot  s;
	struct span      there;
	char             etag[ETAG_MAX];

	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK_U64(azure_get(&s), ERR_OK);
	fake_azure_set_meta(azure.fake, AZURE_NAME, "owner", "ann");
	CHECK_U64(azure_put(AZURE_STATE " ", PUT_MATCH, s.etag, &l, etag), ERR_OK);
	CHECK_STR(fake_azure_meta(azure.fake, AZURE_NAME, "owner"), "ann");
	fake_azure_put(azure.fake, AZURE_NAME, span_str("theirs"));
	CHECK_U64(azure_put(AZURE_STATE, PUT_MATCH, etag, &l, etag), ERR_CONFLICT);
	CHECK(fake_azure_get(azure.fake, AZURE_NAME, &there) && span_is(there, "theirs"));
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK(azure_nothing_locked());
	snapshot_free(&s);
	azure_end();
}

/* Broken behind our back, and taken by another: both stay away from it, also without a look. */
static void
a_lease_that_is_lost_is_told(void)
{
	struct lock_info l;
	struct span      there;
	char             etag[ETAG_MAX];

	for (int writes = 0; writes < 2; writes++) {
		azure_begin("");
		fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
		CHECK_U64(azure_lock(&l), ERR_OK);
		fake_azure_set_lease(azure.fake, AZURE_NAME, OTHERS);
		if (writes) {
			CHECK_U64(azure_put(AZURE_STATE " ", PUT_UNDER_LOCK, NULL, &l, etag), ERR_CONFLICT);
			CHECK(strstr(azure.r.err.msg, "our lock on") != NULL);
		}
		CHECK_U64(azure_unlock(&l), ERR_OK);
		CHECK_STR(fake_azure_lease(azure.fake, AZURE_NAME), OTHERS);
		CHECK(fake_azure_meta(azure.fake, AZURE_NAME, "terraformlockid")[0] != '\0');
		CHECK(fake_azure_get(azure.fake, AZURE_NAME, &there) && span_is(there, AZURE_STATE));
		azure_end();
	}
}

/* A tag that is known ends the read with its headers. */
static void
what_is_unchanged_is_one_request(void)
{
	struct snapshot s;
	char            etag[ETAG_MAX];

	azure_begin("");
	CHECK_U64(azure_put(AZURE_STATE, PUT_ABSENT, NULL, NULL, etag), ERR_OK);
	for (int md5 = 0; md5 < 2; md5++) {
		azure.fake->without_md5 = md5 == 0;
		CHECK_U64(azure_get(&s), ERR_OK);
		memcpy(etag, s.etag, ETAG_MAX);
		snapshot_free(&s);
		unsigned before = scripted_http_count(azure.r.http);
		CHECK_U64(provider_rig_run(&azure.r, provider_get(azure.r.b, &azure_ref, etag, &s)), ERR_UNCHANGED);
		CHECK(s.body == NULL);
		CHECK_U64(scripted_http_count(azure.r.http) - before, 1);
	}
	azure_end();
}

/* --- a place holder that nobody wrote to --- */

/* Ours goes with our lease where the first write was refused; another's stays, and so does what may not be deleted. */
static void
a_place_holder_goes_when_nothing_was_written(void)
{
	struct lock_info l;
	struct span      there;
	char             etag[ETAG_MAX];

	for (int may = 0; may < 2; may++) {
		azure_begin("");
		CHECK_U64(azure_lock(&l), ERR_OK);
		scripted_expect(azure.r.http, "PUT", AZURE_NAME, 403, "x-ms-error-code: AuthorizationPermissionMismatch", NULL);
		CHECK_U64(azure_put(AZURE_STATE, PUT_ABSENT, NULL, &l, etag), ERR_AUTH);
		if (!may)
			scripted_expect(azure.r.http, "DELETE", AZURE_NAME, 403, "x-ms-error-code: AuthorizationPermissionMismatch", NULL);
		CHECK_U64(azure_unlock(&l), ERR_OK);
		CHECK(azure_nothing_locked());
		CHECK(fake_azure_get(azure.fake, AZURE_NAME, &there) != may);
		azure_end();
	}
	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(""));
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK(fake_azure_get(azure.fake, AZURE_NAME, &there) && azure_nothing_locked());
	azure_end();
	azure_begin("");
	CHECK_U64(azure_lock(&l), ERR_OK);
	fake_azure_put(azure.fake, AZURE_NAME, span_str("theirs")); /* in spite of the lease */
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK(fake_azure_get(azure.fake, AZURE_NAME, &there) && span_is(there, "theirs") && azure_nothing_locked());
	azure_end();
	azure_begin("");
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK_U64(azure_put(AZURE_STATE, PUT_ABSENT, NULL, &l, etag), ERR_OK);
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK(fake_azure_get(azure.fake, AZURE_NAME, &there) && span_is(there, AZURE_STATE));
	azure_end();
}

/* The lease of a place holder that we made is ours, but its words are refused. */
static void
a_first_lock_that_fails_leaves_nothing(void)
{
	struct lock_info l;
	struct span      there;

	azure_begin("");
	scripted_expect(azure.r.http, "PUT", "comp=lease", 404, "x-ms-error-code: BlobNotFound", NULL);
	scripted_expect(azure.r.http, "PUT", AZURE_NAME, 201, "ETag: \"0x1\"", NULL);
	scripted_expect(azure.r.http, "PUT", "comp=lease", 201, "ETag: \"0x1\"", NULL);
	scripted_expect(azure.r.http, "PUT", "comp=metadata", 403, "x-ms-error-code: AuthorizationPermissionMismatch", NULL);
	scripted_expect(azure.r.http, "DELETE", AZURE_NAME, 202, NULL, NULL);
	CHECK_U64(azure_lock(&l), ERR_AUTH);
	scripted_http_check(azure.r.http);
	CHECK(!fake_azure_get(azure.fake, AZURE_NAME, &there));
	azure_end();
}

/* A server that refuses who has the lease already: ours is told from another's by what it takes. */
static void
our_lease_is_no_strangers(void)
{
	struct lock_info l;

	azure_begin("");
	azure.fake->asks_once = true;
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	scripted_fail(azure.r.http, 1, SCRIPTED_LOST_ANSWER);
	CHECK_U64(azure_lock(&l), ERR_OK);
	CHECK(l.late);
	CHECK(fake_azure_meta(azure.fake, AZURE_NAME, "terraformlockid")[0] != '\0');
	CHECK_U64(azure_unlock(&l), ERR_OK);
	CHECK(azure_nothing_locked());
	fake_azure_set_lease(azure.fake, AZURE_NAME, STRANGE);
	scripted_fail(azure.r.http, scripted_http_count(azure.r.http) + 1, SCRIPTED_LOST_ANSWER);
	CHECK_U64(azure_lock(&l), ERR_LOCKED);
	CHECK(l.late);
	CHECK_STR(fake_azure_lease(azure.fake, AZURE_NAME), STRANGE);
	azure_end();
}

/* --- others' locks --- */

static void
a_foreign_lock_goes_by_its_id(void)
{
	struct lock_info l, holder, other = { .id = STRANGE };

	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	azure_words_of(OTHERS);
	CHECK_U64(azure_peek(&holder), ERR_NOT_FOUND); /* words alone are no lock */
	fake_azure_set_lease(azure.fake, AZURE_NAME, OTHERS);
	CHECK_U64(azure_peek(&holder), ERR_OK);
	CHECK_STR(holder.id, OTHERS);
	CHECK(!holder.unnamed);
	CHECK_STR(holder.who, "ann@desk");
	CHECK_U64(azure_lock(&l), ERR_LOCKED);
	CHECK(strstr(azure.r.err.msg, "ann@desk") != NULL);
	CHECK_U64(azure_unlock(&other), ERR_OK);
	CHECK_STR(fake_azure_lease(azure.fake, AZURE_NAME), OTHERS); /* another id: it stays */
	CHECK_U64(azure_unlock(&holder), ERR_OK);
	CHECK(azure_nothing_locked());
	azure_end();
}

static void
a_lease_without_words_goes_by_the_etag(void)
{
	struct lock_info l, holder, old;

	azure_begin("");
	fake_azure_put(azure.fake, AZURE_NAME, span_str(AZURE_STATE));
	fake_azure_set_lease(azure.fake, AZURE_NAME, STRANGE);
	CHECK_U64(azure_lock(&l), ERR_LOCKED);
	CHECK_U64(azure_peek(&old), ERR_OK);
	CHECK(strncmp(old.id, "0x", 2) == 0 && old.unnamed);
	azure_words_of(OTHERS); /* those of a lease that was broken: not this one's */
	CHECK_U64(azure_peek(&holder), ERR_OK);
	CHECK(strncmp(holder.id, "0x", 2) == 0 && strcmp(holder.id, old.id) != 0);
	CHECK_U64(azure_unlock(&old), ERR_OK);
	CHECK_STR(fake_azure_lease(azure.fake, AZURE_NAME), STRANGE); /* it is not the blob that was seen */
	CHECK_U64(azure_unlock(&holder), ERR_OK);
	CHECK_STR(fake_azure_lease(azure.fake, AZURE_NAME), "");
	azure_end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "a lock is ours or nobody's", a_lock_is_ours_or_nobodys },
	    { "an unlock is done or repeated", an_unlock_is_done_or_repeated },
	    { "a lease whose answer is lost is asked for again", a_lease_whose_answer_is_lost_is_asked_for_again },
	    { "the first lock wipes nothing", the_first_lock_wipes_nothing },
	    { "a lock that nobody could read is let go", a_lock_that_nobody_could_read_is_let_go },
	    { "a lock that was broken writes nothing", a_lock_that_was_broken_writes_nothing },
	    { "a foreign lock goes by its ID", a_foreign_lock_goes_by_its_id },
	    { "a lease without words goes by the ETag", a_lease_without_words_goes_by_the_etag },
	    { "a write takes few requests", a_write_takes_few_requests },
	    { "what is known is not trusted blindly", what_is_known_is_not_trusted_blindly },
	    { "a lease that is lost is told", a_lease_that_is_lost_is_told },
	    { "what is unchanged is one request", what_is_unchanged_is_one_request },
	    { "a place holder goes when nothing was written", a_place_holder_goes_when_nothing_was_written },
	    { "a first lock that fails leaves nothing", a_first_lock_that_fails_leaves_nothing },
	    { "our lease is no stranger's", our_lease_is_no_strangers },
	    { NULL, NULL } });
}
