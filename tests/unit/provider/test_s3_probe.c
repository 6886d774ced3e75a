/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/s3_rig.h"
#include "../../lib/test.h"

/* The probe: it tells stores apart, and leaves nothing behind. */
static struct s3_rig r;
static struct buf    said; /* "name+" or "name-" of each check */
static char          details[12][200];
static size_t        ndetails;

static void
seen(void *arg, const struct probe_check *c)
{
	(void)arg;
	buf_printf(&said, "%s%s ", c->name, c->ok ? "+" : "-");
	CHECK(ndetails < ARRAY_LEN(details));
	snprintf(details[ndetails++], sizeof(details[0]), "%s: %s", c->name, c->detail);
}

static void
begin(const char *args)
{
	memset(&r, 0, sizeof(r));
	buf_free(&said);
	buf_init(&said, 0);
	ndetails = 0;
	s3_rig_open(&r, args);
}

static enum err_code
probe(void)
{
	return s3_rig_run(&r, provider_probe(r.b, seen, NULL));
}

static bool
detail(const char *check, const char *text)
{
	for (size_t i = 0; i < ndetails; i++)
		if (strncmp(details[i], check, strlen(check)) == 0 && strstr(details[i], text) != NULL)
			return true;
	return false;
}

#define ALL_GOOD "reach+ clock+ auth+ list+ create_only+ read+ list_after_write+ checksum+ if_match+ racing_writes+ delete_create+ lock+ "

static void
finds_a_good_store_good(void)
{
	begin("prefix = \"states/\"");
	fake_s3_put(r.fake, "states/a.tfstate", "{}");
	CHECK_OK(probe(), r.err);
	CHECK_STR(buf_str(&said), ALL_GOOD);
	CHECK_U64(fake_s3_count(r.fake), 1);
	CHECK_U64(fake_s3_seen(r.fake, "/acme/states/.stateferry/probe/"), fake_s3_seen(r.fake, "probe/"));
	s3_rig_close(&r);
}

static void
stays_in_the_folder_of_the_key(void)
{
	begin("key = \"net/prod/terraform.tfstate\"");
	CHECK_OK(probe(), r.err);
	CHECK_STR(buf_str(&said), ALL_GOOD);
	CHECK(fake_s3_seen(r.fake, "/acme/net/prod/.stateferry/probe/") > 20);
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

static void
finds_out_stores_that_ignore_conditions(void)
{
	begin("");
	r.fake->ignores_conditions = true;
	CHECK_OK(probe(), r.err);
	CHECK(strstr(buf_str(&said), "create_only- ") != NULL && strstr(buf_str(&said), "if_match- ") != NULL);
	CHECK(strstr(buf_str(&said), "racing_writes- ") != NULL && strstr(buf_str(&said), "lock- ") != NULL);
	CHECK(detail("racing_writes", "8 of 8"));
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

static void
finds_out_stores_that_know_no_conditions(void)
{
	begin("");
	r.fake->no_conditions = true;
	CHECK_OK(probe(), r.err);
	CHECK(strstr(buf_str(&said), "create_only- ") != NULL && strstr(buf_str(&said), "lock- ") != NULL);
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

static void
finds_out_the_delete_marker_trap(void)
{
	begin("");
	r.fake->versioned = r.fake->marker_exists = true;
	CHECK_OK(probe(), r.err);
	CHECK(strstr(buf_str(&said), "delete_create- ") != NULL);
	CHECK(detail("delete_create", "delete marker"));
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
	begin("");
	r.fake->versioned = true;
	CHECK_OK(probe(), r.err);
	CHECK_STR(buf_str(&said), ALL_GOOD);
	s3_rig_close(&r);
}

static void
finds_out_a_store_that_does_not_verify(void)
{
	begin("");
	r.fake->ignores_checksum = true;
	CHECK_OK(probe(), r.err);
	CHECK(strstr(buf_str(&said), "checksum- ") != NULL);
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

static void
tells_what_an_unlock_cannot_rely_on(void)
{
	begin("use_lockfile = true");
	CHECK_OK(probe(), r.err);
	CHECK(!detail("lock", "DELETE ignores If-Match"));
	s3_rig_close(&r);
	begin("use_lockfile = true");
	r.fake->ignores_delete_match = true;
	CHECK_OK(probe(), r.err);
	CHECK_STR(buf_str(&said), ALL_GOOD);
	CHECK(detail("lock", "DELETE ignores If-Match here, so only the comparison of ids"));
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
}

/* A row excludes others wherever its table is, whatever the store of the states enforces. */
static void
tries_the_lock_that_is_configured(void)
{
	static const char table[] = "dynamodb_table = \"" FAKE_DYNAMO_TABLE "\"\ndynamodb_endpoint = \"http://" FAKE_DYNAMO_HOST "\"\n";
	char             *args;

	for (int both = 0; both < 2; both++) {
		args = xasprintf("%suse_lockfile = %s", table, both ? "true" : "false");
		begin(args);
		free(args);
		r.fake->ignores_conditions = true;
		r.env.agent_id = "0123";
		fake_dynamo_put(r.fake->dynamo, "acme/.stateferry/probe/0123.a6b98879/locked", "Info", "{\"ID\":\"x\"}"); /* of a killed one */
		CHECK_OK(probe(), r.err);
		CHECK(strstr(buf_str(&said), "create_only- ") != NULL && strstr(buf_str(&said), " lock+") != NULL);
		CHECK_U64(fake_s3_count(r.fake) + fake_dynamo_count(r.fake->dynamo), 0);
		s3_rig_close(&r);
	}
}

static void
tells_why_it_cannot_try(void)
{
	begin("");
	fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_REFUSED, .times = 99 });
	CHECK_U64(probe(), ERR_NETWORK);
	CHECK_STR(buf_str(&said), "reach- auth- clock- list- create_only- read- list_after_write- checksum- if_match- racing_writes- "
	    "delete_create- lock- ");
	s3_rig_close(&r);
	begin("");
	r.fake->access = "AKIDOTHER";
	CHECK_U64(probe(), ERR_AUTH);
	CHECK(strncmp(buf_str(&said), "reach+ clock+ auth- ", 20) == 0);
	s3_rig_close(&r);
	begin("");
	r.fake->denies_list = true;
	CHECK_OK(probe(), r.err);
	CHECK(strstr(buf_str(&said), "auth+ list- create_only+ ") != NULL);
	CHECK_U64(fake_s3_count(r.fake), 0);
	s3_rig_close(&r);
	begin("");
	r.fake->denies_put = true;
	CHECK_U64(probe(), ERR_AUTH);
	CHECK(detail("create_only", "not allowed") && detail("lock", "not tried"));
	s3_rig_close(&r);
	begin("");
	r.fake->bucket_missing = true;
	CHECK_U64(probe(), ERR_NOT_FOUND);
	s3_rig_close(&r);
}

static void
notices_a_clock_that_is_off(void)
{
	begin("");
	r.fake->clock_ms = (int64_t)-3600 * 1000;
	CHECK_OK(probe(), r.err);
	CHECK(strstr(buf_str(&said), "clock- ") != NULL);
	CHECK(detail("clock", "ahead of"));
	s3_rig_close(&r);
}

static void
says_what_it_could_not_delete(void)
{
	begin("");
	r.fake->denies_delete = true;
	CHECK_U64(probe(), ERR_AUTH);
	CHECK(strstr(r.err.msg, "the probe left") != NULL);
	s3_rig_close(&r);
}

/* Cancelled at any moment: what was written is deleted. */
static void
cleans_up_when_cancelled(void)
{
	for (int64_t ms = 0; ms < 500; ms += 3) {
		begin("");
		s3_rig_run_for(&r, provider_probe(r.b, seen, NULL), ms);
		if (fake_s3_count(r.fake) != 0)
			test_fail(__FILE__, __LINE__, "cancelled after %lld ms: %zu left", (long long)ms, fake_s3_count(r.fake));
		s3_rig_close(&r);
	}
}

/* What a killed probe left is deleted by a later one; one of another agent that is at work is left alone. */
static void
sweeps_what_a_killed_probe_left(void)
{
	begin("prefix = \"states/\"");
	fake_s3_put(r.fake, "states/.stateferry/probe/1/a", "{}");
	fake_s3_put(r.fake, "states/.stateferry/probe/1/locked.tflock", "{}");
	fake_s3_put(r.fake, "states/.stateferry/lease/e", "{}");
	fake_s3_put(r.fake, "other/.stateferry/probe/1/a", "{}");
	s3_rig_run(&r, op_sleep(r.loop, 20 * 60000));
	fake_s3_put(r.fake, "states/.stateferry/probe/2/a", "{}");
	CHECK_OK(probe(), r.err);
	CHECK_STR(buf_str(&said), ALL_GOOD);
	CHECK(fake_s3_text(r.fake, "states/.stateferry/probe/2/a") != NULL && fake_s3_text(r.fake, "states/.stateferry/lease/e") != NULL);
	CHECK_U64(fake_s3_count(r.fake), 3);
	s3_rig_close(&r);
}

/* Of the same agent they go at once, and no two agents share them. */
static void
sweeps_its_own_at_once(void)
{
	char  *line, *key, *end;
	size_t at = SIZE_MAX;

	begin("prefix = \"states/\"");
	r.env.agent_id = "agent-1";
	CHECK_OK(probe(), r.err);
	for (size_t i = 0; i < r.fake->nlog && at == SIZE_MAX; i++)
		if (strncmp(r.fake->log[i], "PUT", 3) == 0)
			at = i;
	CHECK(at != SIZE_MAX);
	line = xstrdup(r.fake->log[at]);
	key = strstr(line, "states/.stateferry/probe/agent-1.");
	CHECK(key != NULL && (end = strchr(key, '\n')) != NULL);
	*end = '\0';
	fake_s3_put(r.fake, key, "{}");
	ndetails = 0;
	r.env.agent_id = "agent-2";
	CHECK_OK(probe(), r.err);
	CHECK_U64(fake_s3_count(r.fake), 1);
	ndetails = 0;
	r.env.agent_id = "agent-1";
	CHECK_OK(probe(), r.err);
	CHECK_U64(fake_s3_count(r.fake), 0);
	free(line);
	s3_rig_close(&r);
}

/* No answer is no verdict: neither a failed check that would be remembered, nor one that went well. */
static void
ends_with_the_error_when_an_answer_is_missing(void)
{
	for (unsigned skip = 1; skip < 36; skip++) {
		begin("");
		fake_s3_rule(r.fake, &(struct fake_s3_rule){ .how = FAKE_ANSWER, .method = "PUT", .status = 500, .skip = skip, .times = 9 });
		if (skip < 21) {
			if (probe() != ERR_UNCERTAIN)
				test_fail(__FILE__, __LINE__, "after %u writes: %d, %s", skip, r.err.code, buf_str(&said));
			if (strstr(buf_str(&said), " lock+") != NULL)
				test_fail(__FILE__, __LINE__, "after %u writes: %s", skip, buf_str(&said));
		} else {
			probe();
		}
		CHECK_U64(ndetails, 12);
		CHECK_U64(fake_s3_count(r.fake), 0);
		s3_rig_close(&r);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "finds_a_good_store_good", finds_a_good_store_good },
	    { "stays_in_the_folder_of_the_key", stays_in_the_folder_of_the_key },
	    { "finds_out_stores_that_ignore_conditions", finds_out_stores_that_ignore_conditions },
	    { "finds_out_stores_that_know_no_conditions", finds_out_stores_that_know_no_conditions },
	    { "finds_out_the_delete_marker_trap", finds_out_the_delete_marker_trap },
	    { "finds_out_a_store_that_does_not_verify", finds_out_a_store_that_does_not_verify },
	    { "tells_what_an_unlock_cannot_rely_on", tells_what_an_unlock_cannot_rely_on },
	    { "tries_the_lock_that_is_configured", tries_the_lock_that_is_configured },
	    { "tells_why_it_cannot_try", tells_why_it_cannot_try },
	    { "notices_a_clock_that_is_off", notices_a_clock_that_is_off },
	    { "says_what_it_could_not_delete", says_what_it_could_not_delete },
	    { "cleans_up_when_cancelled", cleans_up_when_cancelled },
	    { "sweeps_what_a_killed_probe_left", sweeps_what_a_killed_probe_left },
	    { "sweeps_its_own_at_once", sweeps_its_own_at_once },
	    { "ends_with_the_error_when_an_answer_is_missing", ends_with_the_error_when_an_answer_is_missing },
	    { NULL, NULL } });
}
