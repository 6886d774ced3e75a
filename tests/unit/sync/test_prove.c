/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "sync/core.h"

#include "../../lib/agent_rig.h"
#include "../../lib/fake_s3.h"
#include "../../lib/test.h"

/* Before the first write to a target without a lock: one probe, remembered; no write where it does not prove enough. */
#define DR \
    "backend \"s3\" \"dr\" {\n  bucket = \"%s\"\n  region = \"us-east-1\"\n  endpoints = { s3 = \"http://" FAKE_S3_HOST "\" }\n" \
    "  use_path_style = true\n  access_key = \"" FAKE_S3_ACCESS "\"\n  secret_key = \"" FAKE_S3_SECRET "\"\n%s}\n"
#define EDGE "replicate \"e\" {\n  from = \"a\"\n  to = [\"dr\"]\n  lease {\n    ttl = \"60s\"\n  }\n}\n"
#define TARGET "backend \"mem\" \"a\" {}\n" DR \
    "replicate \"e\" {\n  from = \"a\"\n  to = [\"dr\"]\n}\n"

static struct agent_rig   r;
static struct loop       *loop;
static struct fake_s3    *s3;
static struct mem_world  *a;
static struct pass_result result;

static void
start(const char *dir, const char *bucket, const char *more)
{
	bool  alone = strstr(more, "read_only") != NULL; /* a target must not be that */
	char *text = alone ? xasprintf("backend \"mem\" \"a\" {}\n" DR, bucket, more) : xasprintf(TARGET, bucket, more);

	r.http = scripted_http_client(s3->http);
	agent_rig_join(&r, loop, dir, text);
	free(text);
	agent_rig_world(&r, "a", a);
}

static void
begin(const char *more)
{
	memset(&r, 0, sizeof(r));
	loop = loop_new_virtual(3, RIG_WALL);
	log_setup(LOG_ERROR, false, loop_clock(loop));
	s3 = fake_s3_new(loop);
	a = mem_world_new();
	start(NULL, "acme", more);
}

/* The same store under another configuration. */
static void
restart(const char *bucket, const char *more)
{
	char *dir = xstrdup(r.dir);

	agent_rig_close(&r);
	start(dir, bucket, more);
	free(dir);
}

static void
end(void)
{
	pass_result_free(&result);
	agent_rig_close(&r);
	mem_world_free(a);
	fake_s3_free(s3);
	loop_free(loop);
}

static const char *
sync_counts(void)
{
	pass_result_free(&result);
	agent_rig_sync(&r, &result);
	return agent_rig_counts(&result);
}

/* Of a dry run: what it would write, as "STATE SERIAL[ probe]" with commas, after the counts. */
static const char *
dry_plan(void)
{
	static char text[300];
	size_t      n;

	pass_result_free(&result);
	CHECK_OK(agent_rig_run(&r, engine_pass(r.engine, &(struct pass_options){ .dry_run = true }, &result), 600000), r.err);
	n = (size_t)snprintf(text, sizeof(text), "%d %d:", (int)result.edges[0].written, (int)result.edges[0].unchanged);
	for (size_t i = 0; i < result.nplanned; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s %s %d%s", i > 0 ? "," : "", result.planned[i].state,
		    (int)result.planned[i].serial, result.planned[i].probe ? " probe" : "");
	return text;
}

/* How many were made: each writes this object once and deletes it once. */
static size_t
probes(void)
{
	return fake_s3_seen(s3, "/sum") / 2;
}

static void
one_probe_for_all_states(void)
{
	begin("");
	for (char name[] = "a.tfstate"; name[0] < 'a' + 20; name[0]++)
		mem_world_put(a, name, rig_state(1, "L", 2, name));
	CHECK_STR(sync_counts(), "20 0 0 0");
	CHECK_U64(probes(), 1);
	CHECK_U64(fake_s3_count(s3), 20);
	fake_s3_forget(s3);
	mem_world_put(a, "a.tfstate", rig_state(2, "L", 2, "changed"));
	CHECK_STR(sync_counts(), "1 19 0 0");
	CHECK_U64(probes(), 0);
	restart("acme", "");   /* the store remembers */
	mem_world_put(a, "a.tfstate", rig_state(3, "L", 2, "again"));
	CHECK_STR(sync_counts(), "1 19 0 0");
	CHECK_U64(probes(), 0);
	end();
}

static void
no_write_where_conditions_are_ignored(void)
{
	begin("");
	s3->ignores_conditions = true;
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	mem_world_put(a, "y.tfstate", rig_state(1, "L", 2, "y"));
	CHECK_STR(sync_counts(), "0 0 2 0");
	CHECK(pass_result_exit(&result) == 13);
	for (size_t i = 0; i < result.nproblems; i++) {
		CHECK(strstr(result.problems[i].message, "create_only: a second creation was accepted") != NULL);
		CHECK(strstr(result.problems[i].hint, "stateferry probe dr") != NULL);
		CHECK(strstr(result.problems[i].hint, "exclusive = true") != NULL);
	}
	CHECK_U64(fake_s3_count(s3), 0);
	fake_s3_forget(s3);
	CHECK_STR(sync_counts(), "0 0 2 0");
	CHECK(pass_result_exit(&result) == 13);
	CHECK_U64(fake_s3_seen(s3, "PUT"), 0);
	restart("acme", "");
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 2, "changed"));
	CHECK_STR(sync_counts(), "0 0 2 0");
	CHECK_U64(fake_s3_seen(s3, "PUT"), 0);
	restart("acme", "  exclusive = true\n");
	CHECK_STR(sync_counts(), "2 0 0 0");
	CHECK_U64(probes(), 0);
	end();
}

/* A dry run asks nothing of a target but reads, and says that a probe would come before the write. */
static void
a_dry_run_says_that_it_would_probe(void)
{
	struct restore_options o = { .backend = "a", .name = "x.tfstate", .version = 1, .to_backend = "dr", .to_name = "y.tfstate",
		.dry_run = true };
	struct restore_result  ret;

	begin("");
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(dry_plan(), "1 0: x.tfstate 1 probe");
	CHECK_U64(fake_s3_seen(s3, "PUT") + fake_s3_seen(s3, "DELETE"), 0);
	fake_s3_rule(s3, &(struct fake_s3_rule){ .what = ".stateferry/probe/", .how = FAKE_ANSWER, .status = 503,
	    .body = "<Error><Code>SlowDown</Code></Error>", .times = 1000 });
	CHECK_STR(sync_counts(), "0 0 0 1");
	fake_s3_no_rules(s3);
	CHECK_STR(dry_plan(), "1 0: x.tfstate 1 probe");   /* its head is known by now, and still waits */
	CHECK_OK(agent_rig_run(&r, engine_restore(r.engine, &o, &ret), 60000), r.err);
	CHECK(ret.probe);
	CHECK_STR(sync_counts(), "1 0 0 0");
	CHECK_STR(dry_plan(), "0 1:");
	CHECK_OK(agent_rig_run(&r, engine_restore(r.engine, &o, &ret), 60000), r.err);
	CHECK(!ret.probe);
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 2, "x"));
	CHECK_STR(dry_plan(), "1 0: x.tfstate 2");
	restart("acme", "  exclusive = true\n");
	CHECK_STR(dry_plan(), "1 0: x.tfstate 2");
	end();
}

/* Snapshots whose interval has not passed are not due. */
static void
a_dry_run_knows_the_interval(void)
{
	begin("");
	agent_rig_close(&r);
	agent_rig_join(&r, loop, NULL, "backend \"mem\" \"a\" {}\nbackend \"mem\" \"b\" {}\n"
	    "snapshot \"s\" {\n  from = \"a\"\n  to = [\"b\"]\n  every = \"1h\"\n}\n");
	agent_rig_world(&r, "a", a);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(dry_plan(), "1 0: x.tfstate 1");
	CHECK_STR(sync_counts(), "1 0 0 0");
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 2, "x"));
	CHECK_STR(dry_plan(), "0 1:");
	agent_rig_wait(&r, 3600000);
	CHECK_STR(dry_plan(), "1 0: x.tfstate 2");
	end();
}

static void
nobody(void *arg, const struct probe_check *c)
{
	(void)c;
	++*(unsigned *)arg;
}

static void
a_persons_probe_is_remembered_too(void)
{
	struct proof found;
	unsigned     n = 0;

	begin("");
	s3->ignores_conditions = true;
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_OK(agent_rig_run(&r, engine_probe(r.engine, "dr", nobody, &n, &found), 60000), r.err);
	CHECK(found.known && !found.holds && n == 12);
	CHECK_STR(sync_counts(), "0 0 1 0");
	s3->ignores_conditions = false;
	CHECK_OK(agent_rig_run(&r, engine_probe(r.engine, "dr", nobody, &n, &found), 60000), r.err);
	CHECK(found.known && found.holds && found.when >= RIG_WALL && found.why[0] == '\0');
	fake_s3_forget(s3);
	CHECK_STR(sync_counts(), "1 0 0 0");   /* what was held is done now */
	CHECK_U64(probes(), 0);
	end();
}

/* A server may have been updated since it was found wanting: after a day the next write asks again, once. */
static void
a_no_expires(void)
{
	static const char *const more[] = { "", "  use_lockfile = true\n" };
	struct proof             found;
	unsigned                 n = 0;

	for (size_t i = 0; i < ARRAY_LEN(more); i++) {
		begin(more[i]);
		s3->ignores_conditions = true;
		mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
		mem_world_put(a, "y.tfstate", rig_state(1, "L", 2, "y"));
		CHECK_OK(agent_rig_run(&r, engine_probe(r.engine, "dr", nobody, &n, &found), 60000), r.err);
		CHECK_STR(sync_counts(), "0 0 2 0");
		agent_rig_wait(&r, (int64_t)23 * 3600 * 1000);
		fake_s3_forget(s3);
		CHECK_STR(sync_counts(), "0 0 2 0");
		CHECK_U64(probes(), 0);
		agent_rig_wait(&r, (int64_t)3600 * 1000);
		restart("acme", more[i]);
		CHECK(strstr(dry_plan(), "x.tfstate 1 probe") != NULL);
		CHECK_STR(sync_counts(), "0 0 2 0");
		CHECK_U64(probes(), 1);
		CHECK(fake_s3_text(s3, "x.tfstate") == NULL);
		CHECK_STR(sync_counts(), "0 0 2 0");
		CHECK_U64(probes(), 1);
		s3->ignores_conditions = false;
		agent_rig_wait(&r, (int64_t)24 * 3600 * 1000);
		CHECK_STR(sync_counts(), "2 0 0 0");
		CHECK_U64(probes(), 2);
		end();
	}
}

/* Neither does one that was noted by a clock ahead of ours keep a target closed. */
static void
a_no_of_a_wrong_clock(void)
{
	char         *record = xasprintf("1 NO %lld\ns3://acme at http://" FAKE_S3_HOST "/\n-create_only x\n", (long long)RIG_WALL + 9000000);
	struct batch *b;

	begin("");
	b = batch_new(r.store);
	batch_meta(b, "probe/dr", span_str(record));
	CHECK_OK(agent_rig_run(&r, store_apply(r.store, b), 1000), r.err);
	restart("acme", "");
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(sync_counts(), "1 0 0 0");
	CHECK_U64(probes(), 1);
	end();
	free(record);
}

static void
what_was_found_is_of_that_place(void)
{
	begin("");
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(sync_counts(), "1 0 0 0");
	s3->bucket = "other";
	fake_s3_forget(s3);
	restart("other", "");
	CHECK_OK(agent_rig_run(&r, engine_adopt(r.engine), 60000), r.err);
	fake_s3_del(s3, "x.tfstate");
	CHECK_STR(sync_counts(), "1 0 0 0");
	CHECK(fake_s3_seen(s3, "PUT http://" FAKE_S3_HOST "/other/.stateferry/probe/") > 0);
	fake_s3_forget(s3);
	restart("other", "  prefix = \"below/\"\n"); /* conditions may be a matter of a policy for some prefix */
	CHECK_OK(agent_rig_run(&r, engine_adopt(r.engine), 60000), r.err);
	CHECK_STR(sync_counts(), "1 0 0 0");
	CHECK(probes() == 1 && fake_s3_text(s3, "below/x.tfstate") != NULL);
	end();
}

/* No answer is no verdict: it is tried again, and nothing is remembered. */
static void
no_answer_is_no_verdict(void)
{
	static const enum fake_s3_how how[] = { FAKE_REFUSED, FAKE_LOST, FAKE_HANGS, FAKE_ANSWER };

	for (size_t i = 0; i < ARRAY_LEN(how); i++)
		for (unsigned skip = 0; skip < 40; skip += 3) {
			begin("  timeout = \"2s\"\n");
			fake_s3_rule(s3, &(struct fake_s3_rule){ .what = ".stateferry/probe/", .how = how[i], .status = 503, .skip = skip,
			    .body = "<Error><Code>SlowDown</Code></Error>", .times = 40 });
			mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
			if (strcmp(sync_counts(), "0 0 1 0") == 0)
				test_fail(__FILE__, __LINE__, "way %zu, after %u requests: held", i, skip);
			fake_s3_no_rules(s3);
			agent_rig_wait(&r, 600000);
			sync_counts();
			CHECK(fake_s3_text(s3, "x.tfstate") != NULL);
			CHECK_U64(result.edges[0].held + result.edges[0].failed, 0);
			end();
		}
}

/* A running agent takes up what was held as soon as a person's probe says that it may, long before the next poll. */
static void
a_running_agent_goes_on_after_a_probe(void)
{
	struct proof found;
	unsigned     n = 0;

	begin("  poll = \"1h\"\n");
	s3->ignores_conditions = true;
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	engine_start(r.engine);
	agent_rig_wait(&r, 600000);
	CHECK(fake_s3_text(s3, "x.tfstate") == NULL);
	CHECK_U64(probes(), 1);
	s3->ignores_conditions = false;
	CHECK_OK(agent_rig_run(&r, engine_probe(r.engine, "dr", nobody, &n, &found), 60000), r.err);
	agent_rig_wait(&r, 2000);
	CHECK(fake_s3_text(s3, "x.tfstate") != NULL);
	end();
}

/* Refused for what the configuration says now: nothing to remember. */
static void
read_only_is_no_verdict(void)
{
	struct proof found;
	unsigned     n = 0;

	begin("  read_only = true\n");
	CHECK_U64(agent_rig_run(&r, engine_probe(r.engine, "dr", nobody, &n, &found), 60000), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.hint, "config check --probe") != NULL && n == 0);
	CHECK_U64(agent_rig_run(&r, engine_probe(r.engine, "nobody", nobody, &n, &found), 60000), ERR_USAGE);
	restart("acme", "");
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(sync_counts(), "1 0 0 0");
	end();
}

/* A record that cannot be read, or is cut short anywhere, is as good as none. */
static void
a_damaged_record_is_none(void)
{
	static const char whole[] = "1 YES 1790000000000\ns3://acme at http://" FAKE_S3_HOST "/\n+create_only x\n";

	for (size_t n = 0; n + 1 < sizeof(whole); n++) {
		struct batch *b;
		bool          complete;

		begin("");
		b = batch_new(r.store);
		batch_meta(b, "probe/dr", span_of(whole, n));
		CHECK_OK(agent_rig_run(&r, store_apply(r.store, b), 1000), r.err);
		restart("acme", "");
		mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
		CHECK_STR(sync_counts(), "1 0 0 0");
		complete = n > (size_t)(strchr(strchr(whole, '\n') + 1, '\n') - whole);
		CHECK_U64(probes(), complete ? 0 : 1);
		end();
	}
}

/* Two edges to one target: one of them probes, the other waits for it. */
static void
two_edges_make_one_probe(void)
{
	char *text = xasprintf(TARGET "replicate \"f\" {\n  from = \"a\"\n  to = [\"dr\"]\n  key = \"f/{name}\"\n}\n", "acme", "");
	char *dir;

	begin("");
	dir = xstrdup(r.dir);
	agent_rig_close(&r);
	r.http = scripted_http_client(s3->http);
	agent_rig_join(&r, loop, dir, text);
	agent_rig_world(&r, "a", a);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	sync_counts();
	CHECK_U64(result.edges[0].written + result.edges[1].written, 2);
	CHECK_U64(probes(), 1);
	end();
	free(dir);
	free(text);
}

/* A lock is trusted until a probe shows that creations are not refused: then it excludes nobody, now and after a restart. */
static void
a_lock_that_excludes_nobody(void)
{
	struct proof found;
	unsigned     n = 0;

	begin("  use_lockfile = true\n");
	s3->ignores_conditions = true;
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(sync_counts(), "1 0 0 0");
	CHECK_OK(agent_rig_run(&r, engine_probe(r.engine, "dr", nobody, &n, &found), 60000), r.err);
	CHECK(found.no_lock);
	for (uint64_t serial = 2; serial < 4; serial++) {
		mem_world_put(a, "x.tfstate", rig_state(serial, "L", 2, "x"));
		CHECK_STR(sync_counts(), "0 0 1 0");
		CHECK(strstr(result.problems[0].message, "a lock that excludes nobody") != NULL);
		restart("acme", "  use_lockfile = true\n");
	}
	s3->ignores_conditions = false;
	CHECK_OK(agent_rig_run(&r, engine_probe(r.engine, "dr", nobody, &n, &found), 60000), r.err);
	CHECK_STR(sync_counts(), "1 0 0 0");
	end();
}

/* Rights to write but not to delete: that cannot be probed, and the user hears what would do. */
static void
without_the_right_to_delete(void)
{
	char *said;

	begin("");
	s3->denies_delete = true;
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(sync_counts(), "0 0 1 0");
	CHECK(pass_result_exit(&result) == 13);
	CHECK(strstr(result.problems[0].hint, "exclusive = true") != NULL);
	CHECK(fake_s3_text(s3, "x.tfstate") == NULL);
	said = xstrdup(result.problems[0].message);
	restart("acme", "");
	CHECK_STR(sync_counts(), "0 0 1 0");
	CHECK_STR(result.problems[0].message, said);   /* the reason is in the store, too */
	free(said);
	end();
	begin("");
	s3->denies_put = true;
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(sync_counts(), "0 0 0 1");
	CHECK(pass_result_exit(&result) == 12);
	end();
}

/* A lock, or the user's word, needs no probe; a restore does. */
static void
only_where_it_is_needed(void)
{
	struct restore_options o = { .backend = "a", .name = "x.tfstate", .version = 1, .to_backend = "dr", .to_name = "y.tfstate" };
	struct restore_result  ret;

	for (int i = 0; i < 2; i++) {
		begin(i == 0 ? "  use_lockfile = true\n" : "  exclusive = true\n");
		mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
		CHECK_STR(sync_counts(), "1 0 0 0");
		CHECK_U64(probes(), 0);
		end();
	}
	begin("");
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(sync_counts(), "1 0 0 0");
	fake_s3_forget(s3);
	CHECK_OK(agent_rig_run(&r, engine_restore(r.engine, &o, &ret), 60000), r.err);
	CHECK_U64(probes(), 0);
	end();
	begin("  exclusive = true\n");
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(sync_counts(), "1 0 0 0");
	restart("acme", "");
	s3->ignores_conditions = true;
	CHECK_U64(agent_rig_run(&r, engine_restore(r.engine, &o, &ret), 60000), ERR_CONFLICT);
	CHECK(strstr(r.err.hint, "stateferry probe dr") != NULL);
	CHECK(fake_s3_text(s3, "y.tfstate") == NULL);
	end();
}

/* Stopped in the middle: nothing stays, nothing is remembered, the next start asks again. */
static void
stopped_in_the_middle(void)
{
	for (int64_t ms = 0; ms < 400; ms += 7) {
		begin("");
		mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
		engine_start(r.engine);
		agent_rig_wait(&r, ms);
		restart("acme", "");
		if (fake_s3_count(s3) > (fake_s3_text(s3, "x.tfstate") != NULL))
			test_fail(__FILE__, __LINE__, "stopped after %lld ms: %zu left", (long long)ms, fake_s3_count(s3));
		sync_counts();
		CHECK(fake_s3_text(s3, "x.tfstate") != NULL);
		CHECK_U64(fake_s3_count(s3), 1);
		end();
	}
}

/* Who follows another agent has probed the target, once, by the time that it is to go on: a hand-over waits for no probe. */
static void
who_follows_has_probed_already(void)
{
	struct agent_rig other = { 0 };
	char            *text = xasprintf("backend \"mem\" \"a\" {}\n" DR EDGE, "acme", "");
	struct err       e;

	begin("");
	agent_rig_close(&r);
	r.http = scripted_http_client(s3->http);
	agent_rig_join(&r, loop, NULL, text);
	agent_rig_world(&r, "a", a);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "a"));
	engine_start(r.engine);
	agent_rig_wait(&r, 5000);
	CHECK_U64(probes(), 1);
	other.http = scripted_http_client(s3->http);
	agent_rig_join(&other, loop, NULL, text);
	agent_rig_world(&other, "a", a);
	engine_start(other.engine);
	agent_rig_wait(&r, 120000);
	CHECK(track_lease_refused(&other.engine->tracks[0], &e) && strstr(e.msg, "is held by") != NULL);
	CHECK_U64(probes(), 2);
	fake_s3_forget(s3);
	engine_stop(r.engine);
	agent_rig_wait(&r, 2000);
	CHECK(track_is_ours(&other.engine->tracks[0]));
	CHECK_U64(fake_s3_seen(s3, ".stateferry/probe/"), 0);
	agent_rig_close(&other);
	free(text);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "one_probe_for_all_states", one_probe_for_all_states },
	    { "no_write_where_conditions_are_ignored", no_write_where_conditions_are_ignored },
	    { "a_dry_run_says_that_it_would_probe", a_dry_run_says_that_it_would_probe },
	    { "a_dry_run_knows_the_interval", a_dry_run_knows_the_interval },
	    { "a_persons_probe_is_remembered_too", a_persons_probe_is_remembered_too },
	    { "a_no_expires", a_no_expires },
	    { "a_no_of_a_wrong_clock", a_no_of_a_wrong_clock },
	    { "what_was_found_is_of_that_place", what_was_found_is_of_that_place },
	    { "no_answer_is_no_verdict", no_answer_is_no_verdict },
	    { "a_running_agent_goes_on_after_a_probe", a_running_agent_goes_on_after_a_probe },
	    { "read_only_is_no_verdict", read_only_is_no_verdict },
	    { "a_damaged_record_is_none", a_damaged_record_is_none },
	    { "two_edges_make_one_probe", two_edges_make_one_probe },
	    { "a_lock_that_excludes_nobody", a_lock_that_excludes_nobody },
	    { "without_the_right_to_delete", without_the_right_to_delete },
	    { "only_where_it_is_needed", only_where_it_is_needed },
	    { "stopped_in_the_middle", stopped_in_the_middle },
	    { "who_follows_has_probed_already", who_follows_has_probed_already },
	    { NULL, NULL } });
}
