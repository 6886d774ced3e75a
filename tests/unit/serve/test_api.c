/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "../../lib/api_rig.h"
#include "../../lib/test.h"

/* Documents of the interface, on memory backends in virtual time. */
static const char one_edge[] =
    "backend \"mem\" \"a\" {\n  state \"y.tfstate\" {\n    alias = \"why\"\n  }\n}\n"
    "backend \"mem\" \"b\" {}\n"
    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n";

static struct agent_rig  r;
static struct mem_world *wa, *wb;
static struct api_answer a;

static void
begin(void)
{
	agent_rig_pair(&r, one_edge, &wa, &wb);
}

static void
end(void)
{
	api_answer_free(&a);
	agent_rig_pair_end(&r, wa, wb);
}

static void
never_looked_is_behind(void)
{
	begin();
	API_GET(&r, &a, "status", NULL);
	CHECK_STR(api_text(&a, "verdict"), "behind");
	CHECK_U64(a.exit, 3);
	CHECK_STR(api_text(&a, "exit_code"), "3");
	CHECK_STR(api_text(&a, "agent.running"), "false");
	CHECK_STR(api_text(&a, "agent.pid"), "null");
	CHECK_STR(api_text(&a, "problems.0.kind"), "never_looked");
	end();
}

/* A problem stands beside its backend and its state: its sentence does not begin with them again, nor with a word of ours. */
static void
nothing_is_said_twice(void)
{
	const char *cause;

	begin();
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	mem_world_fault(wa, 2, ERR_AUTH, false);
	API_POST(&r, &a, "sync", NULL);
	API_GET(&r, &a, "status", NULL);
	CHECK_STR(api_text(&a, "problems.0.kind"), "unread");
	CHECK_STR(api_text(&a, "problems.0.backend"), "a");
	cause = api_text(&a, "problems.0.cause");
	CHECK(strncmp(cause, "x.tfstate: ", 11) == 0 && strstr(cause, "a: ") == NULL && strstr(cause, "cannot be read") == NULL);
	mem_world_down(wa, ERR_AUTH);
	API_POST(&r, &a, "sync", NULL);
	CHECK_U64(json_array_size(api_at(&a, "problems")), 1);
	CHECK(strncmp(api_text(&a, "problems.0.message"), "a: ", 3) == 0); /* beside its edge */
	API_GET(&r, &a, "status", NULL);
	CHECK_STR(api_text(&a, "problems.0.kind"), "source");
	CHECK(strncmp(api_text(&a, "problems.0.cause"), "a: ", 3) != 0);
	end();
}

static void
sync_then_status(void)
{
	begin();
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	mem_world_put(wa, "y.tfstate", rig_state(UINT64_MAX - 1, "M", 2, "one"));
	API_POST(&r, &a, "sync", NULL);
	CHECK_U64(a.exit, 0);
	CHECK_STR(api_text(&a, "edges.0.name"), "e");
	CHECK_STR(api_text(&a, "edges.0.kind"), "replicate");
	CHECK_STR(api_text(&a, "edges.0.seen"), "2");
	CHECK_STR(api_text(&a, "edges.0.written"), "2");
	CHECK_STR(api_text(&a, "problems"), "[]");
	CHECK_STR(api_text(&a, "exit_code"), "(absent)");
	API_GET(&r, &a, "status", NULL);
	CHECK_STR(api_text(&a, "verdict"), "ok");
	CHECK_STR(api_text(&a, "states"), "2");
	CHECK_STR(api_text(&a, "replicas.current"), "2");
	CHECK_STR(api_text(&a, "problems"), "[]");
	CHECK_STR(api_text(&a, "oldest_lag_seconds"), "0");
	end();
}

static void
target_down_is_failing(void)
{
	begin();
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	mem_world_down(wb, ERR_NETWORK);
	API_POST(&r, &a, "sync", NULL);
	CHECK_U64(a.exit, 1);
	API_GET(&r, &a, "status", NULL);
	CHECK_STR(api_text(&a, "verdict"), "failing");
	CHECK_U64(a.exit, 1);
	CHECK_STR(api_text(&a, "problems.0.kind"), "target");
	CHECK_STR(api_text(&a, "problems.0.backend"), "b");
	CHECK(strlen(api_text(&a, "problems.0.cause")) > 0 && strlen(api_text(&a, "problems.0.next")) > 0);
	CHECK_STR(api_text(&a, "replicas.failed"), "1");
	end();
}

static void
list_has_all_members(void)
{
	static const char *const members[] = { "backend", "name", "alias", "workspace", "serial", "lineage", "size", "versions", "head",
		"sha256", "first_seen", "last_changed", "last_checked", "resources", "flags", "lock", "replicas" };
	static const char *const of_replica[] = { "edge", "backend", "name", "status", "serial", "sha256", "written", "verified",
		"lag_seconds", "flags", "error" };

	begin();
	mem_world_put(wa, "y.tfstate", rig_state(UINT64_MAX - 1, "M", 2, "one"));
	API_POST(&r, &a, "sync", NULL);
	API_GET(&r, &a, "list", NULL);
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		if (json_object_get(api_at(&a, "states.0"), members[i]) == NULL)
			test_fail(__FILE__, __LINE__, "no %s", members[i]);
	for (size_t i = 0; i < ARRAY_LEN(of_replica); i++)
		if (json_object_get(api_at(&a, "states.0.replicas.0"), of_replica[i]) == NULL)
			test_fail(__FILE__, __LINE__, "no %s", of_replica[i]);
	CHECK(strstr(a.bytes, "\"serial\":18446744073709551614,") != NULL);
	CHECK_STR(api_text(&a, "states.0.alias"), "why");
	CHECK_STR(api_text(&a, "states.0.head"), "1.0");
	CHECK_STR(api_text(&a, "states.0.resources"), "2.0");
	CHECK_STR(api_text(&a, "states.0.lock"), "null");
	CHECK_STR(api_text(&a, "states.0.replicas.0.status"), "current");
	CHECK_STR(api_text(&a, "states.0.replicas.0.error"), "null");
	API_GET(&r, &a, "list", "backend=none", NULL);
	CHECK_U64(a.exit, 2);
	CHECK_STR(api_text(&a, "error.kind"), "usage");
	end();
}

static void
log_and_cat(void)
{
	struct span old = rig_state(1, "M", 2, "one"), now = rig_state(2, "M", 3, "one");

	begin();
	mem_world_put(wa, "y.tfstate", old);
	API_POST(&r, &a, "sync", NULL);
	mem_world_put(wa, "y.tfstate", now);
	API_POST(&r, &a, "sync", NULL);
	API_GET(&r, &a, "log", "state=why", NULL);
	CHECK_STR(api_text(&a, "state"), "a:y.tfstate");
	CHECK_STR(api_text(&a, "versions.0.version"), "2");
	CHECK_STR(api_text(&a, "versions.0.head"), "true");
	CHECK_STR(api_text(&a, "versions.1.head"), "false");
	CHECK_STR(api_text(&a, "versions.1.verdict"), "first");
	CHECK_STR(api_text(&a, "versions.0.terraform_version"), "1.11.4");
	CHECK_STR(api_text(&a, "versions.0.run"), "null");
	API_GET(&r, &a, "cat", "state=a:y.tfstate@1", NULL);
	CHECK(a.doc == NULL && span_eq(span_of(a.bytes, a.size), old));
	API_GET(&r, &a, "cat", "state=y.tfstate@serial=2", NULL);
	CHECK(a.doc == NULL && span_eq(span_of(a.bytes, a.size), now));
	API_GET(&r, &a, "cat", "state=why@head", NULL);
	CHECK(a.doc == NULL && span_eq(span_of(a.bytes, a.size), now));
	API_GET(&r, &a, "cat", "state=why@9", NULL);
	CHECK_STR(api_text(&a, "error.kind"), "not_found");
	CHECK_STR(api_text(&a, "error.where"), "why@9");
	CHECK_U64(a.status, 404);
	API_GET(&r, &a, "cat", "name=y.tfstate", "backend=a", NULL);
	CHECK(a.doc == NULL && span_eq(span_of(a.bytes, a.size), now));
	API_GET(&r, &a, "cat", "name=y.tfstate@1", "backend=a", NULL);
	CHECK_STR(api_text(&a, "error.kind"), "not_found");
	end();
}

static void
what_is_not_there_is_refused(void)
{
	begin();
	API_GET(&r, &a, "nothing", NULL);
	CHECK_STR(api_text(&a, "error.kind"), "unsupported");
	CHECK_U64(a.status, 404);
	API_GET(&r, &a, "sync", NULL);
	CHECK_U64(a.status, 405);
	API_GET(&r, &a, "list", "colour=red", NULL);
	CHECK_U64(a.exit, 2);
	API_POST(&r, &a, "sync", "edge=none", NULL);
	CHECK_U64(a.exit, 2);
	API_POST(&r, &a, "sync", "max_age=soon", NULL);
	CHECK_U64(a.exit, 2);
	end();
}

static void
max_age_is_14(void)
{
	begin();
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	API_POST(&r, &a, "sync", "max_age=1h", NULL);
	CHECK_U64(a.exit, 0);
	agent_rig_wait(&r, 7200000);
	mem_world_put(wa, "x.tfstate", rig_state(2, "L", 3, "two"));
	mem_world_down(wb, ERR_NETWORK);
	API_POST(&r, &a, "sync", "max_age=1h", NULL);
	CHECK_U64(a.exit, 14);
	CHECK_STR(api_text(&a, "exit_code"), "14");
	API_POST(&r, &a, "sync", "max_age=9h", NULL);
	CHECK_U64(a.exit, 1);
	end();
}

static void
restores_and_decides(void)
{
	begin();
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 6, "one"));
	API_POST(&r, &a, "sync", NULL);
	agent_rig_wait(&r, 3600000);
	mem_world_put(wa, "x.tfstate", rig_state(2, "L", 6, "two"));
	API_POST(&r, &a, "sync", NULL);
	API_POST(&r, &a, "restore", "state=a:x.tfstate@1", "dry_run=1", NULL);
	CHECK_STR(api_text(&a, "plan.0.from"), "1");
	CHECK_STR(api_text(&a, "plan.0.serial_after"), "3");
	API_POST(&r, &a, "restore", "at=30m", "all=1", NULL);
	CHECK_U64(a.exit, 0);
	CHECK_STR(api_text(&a, "result.0.from"), "1");
	CHECK_STR(api_text(&a, "result.0.to"), "a:x.tfstate");
	CHECK_STR(api_text(&a, "result.0.serial_before"), "2");
	CHECK_STR(api_text(&a, "result.0.serial_after"), "3");
	API_POST(&r, &a, "restore", "state=x.tfstate", NULL);
	CHECK_U64(a.exit, 2);
	API_POST(&r, &a, "restore", "state=x.tfstate@77", NULL);
	CHECK_STR(api_text(&a, "error.kind"), "not_found");
	mem_world_put(wa, "x.tfstate", rig_state(4, "L", 1, "one"));
	API_POST(&r, &a, "sync", NULL);
	API_GET(&r, &a, "quarantine", NULL);
	CHECK_STR(api_text(&a, "quarantine.0.verdict"), "shrunk");
	CHECK(api_at(&a, "quarantine.1") == NULL);
	API_POST(&r, &a, "release", "state=x.tfstate", NULL);
	CHECK_U64(a.exit, 0);
	API_GET(&r, &a, "quarantine", NULL);
	CHECK_STR(api_text(&a, "quarantine"), "[]");
	end();
}

static void
locks_and_care(void)
{
	static const char lock[] = "{\"ID\":\"abc\",\"Operation\":\"OperationTypeApply\",\"Info\":\"\",\"Who\":\"ann@host\","
	    "\"Version\":\"1.11.4\",\"Created\":\"2026-09-21T14:00:00Z\",\"Path\":\"\"}";

	begin();
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	API_POST(&r, &a, "sync", NULL);
	mem_world_lock(wa, "x.tfstate", lock);
	API_GET(&r, &a, "locks", "backend=a", NULL);
	CHECK_STR(api_text(&a, "locks.0.id"), "abc");
	CHECK_STR(api_text(&a, "locks.0.who"), "ann@host");
	CHECK_STR(api_text(&a, "locks.0.ours"), "false");
	API_POST(&r, &a, "unlock", "state=a:x.tfstate", NULL);
	CHECK_U64(a.exit, 13);
	API_GET(&r, &a, "unlock", "state=a:x.tfstate", "id=abd", NULL);
	CHECK_U64(a.exit, 13);
	API_GET(&r, &a, "unlock", "state=a:x.tfstate", "id=abc", NULL);
	CHECK_STR(api_text(&a, "lock.who"), "ann@host");
	CHECK_STR(api_text(&a, "lock.as_of"), "null");
	CHECK(mem_world_locked(wa, "x.tfstate") != NULL);
	API_POST(&r, &a, "unlock", "state=a:x.tfstate", "id=abc", NULL);
	CHECK_U64(a.exit, 0);
	CHECK_STR(api_text(&a, "unlocked"), "a:x.tfstate");
	CHECK_STR(api_text(&a, "lock.id"), "abc");
	CHECK(mem_world_locked(wa, "x.tfstate") == NULL);
	API_POST(&r, &a, "check", NULL);
	CHECK_STR(api_text(&a, "ok"), "true");
	CHECK_STR(api_text(&a, "versions"), "1");
	API_GET(&r, &a, "events", "limit=1", NULL);
	CHECK_U64(json_array_size(api_at(&a, "events")), 1);
	API_GET(&r, &a, "ops", NULL);
	CHECK_STR(api_text(&a, "ops.0.name"), "api");
	API_GET(&r, &a, "adopt", NULL);
	CHECK_STR(api_text(&a, "changes"), "[]");
	API_GET(&r, &a, "resolve", "edge=e", "state=x.tfstate", NULL);
	CHECK_STR(api_text(&a, "held"), "[]");
	end();
}

static void
lock_at(struct mem_world *w, const char *who)
{
	char created[TIME_TEXT_MAX], body[256];

	snprintf(body, sizeof(body), "{\"ID\":\"abc\",\"Operation\":\"OperationTypeApply\",\"Who\":\"%s\",\"Created\":\"%s\"}", who,
	    time_format(loop_wall(r.loop), created));
	mem_world_lock(w, "x.tfstate", body);
}

/* What locks says of one at the source by now. */
static bool
says(const char *suspect, const char *text)
{
	API_GET(&r, &a, "locks", "backend=a", NULL);
	CHECK_STR(api_text(&a, "locks.0.suspect"), suspect);
	return strstr(api_text(&a, "locks.0.diagnosis"), text) != NULL;
}

/* Young, then at work, then with nothing new for longer than a write would wait. */
static void
a_lock_that_stays(void)
{
	begin();
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	API_POST(&r, &a, "sync", NULL);
	lock_at(wa, "ann@ci-1");
	agent_rig_wait(&r, 60000);
	API_POST(&r, &a, "sync", NULL);
	CHECK(says("false", "held for 60 s, within the 2 min"));
	CHECK_STR(api_text(&a, "locks.0.age_seconds"), "60");
	CHECK_STR(api_text(&a, "locks.0.patience_over"), "false");
	CHECK_STR(api_text(&a, "locks.0.patience_seconds"), "120");
	agent_rig_wait(&r, 120000);
	CHECK(says("true", "held for 3 min, longer than the 2 min that a write waits for one, and nothing has come of it; "
	    "whether its run is at work is to be seen on ci-1"));
	CHECK_STR(api_text(&a, "locks.0.patience_over"), "true");
	API_GET(&r, &a, "status", NULL);
	CHECK_STR(api_text(&a, "verdict"), "ok"); /* everything is replicated */
	CHECK_STR(api_text(&a, "problems.0.kind"), "lock");
	CHECK(strstr(api_text(&a, "problems.0.cause"), "ann@ci-1 (OperationTypeApply)") != NULL);
	CHECK(strstr(api_text(&a, "problems.0.next"), "stateferry unlock a:x.tfstate abc") != NULL);
	mem_world_put(wa, "x.tfstate", rig_state(2, "L", 3, "two"));
	API_POST(&r, &a, "sync", NULL);
	CHECK(says("false", "at work: serial 2 came "));
	CHECK_STR(api_text(&a, "locks.0.patience_over"), "true");
	API_GET(&r, &a, "status", NULL);
	CHECK_STR(api_text(&a, "problems"), "[]");
	agent_rig_wait(&r, 130000);
	CHECK(says("true", "and nothing came of it lately"));
	mem_world_lock(wa, "x.tfstate", "{\"ID\":\"abc\"}"); /* since when, by whom: its run knows the one */
	CHECK(says("true", "on which host it was taken is not told"));
	mem_world_lock(wa, "x.tfstate", "{\"ID\":\"abd\",\"Operation\":\"stateferry\",\"Who\":\"stateferry@peer\"}");
	CHECK(says("false", "another agent's"));
	mem_world_lock(wa, "x.tfstate", NULL);
	end();
}

/* The pass, the status and the list count a replica alike whose source holds what nobody may have yet. */
static void
quarantine_holds_the_replica(void)
{
	begin();
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	API_POST(&r, &a, "sync", NULL);
	CHECK_U64(a.exit, 0);
	mem_world_put(wa, "x.tfstate", span_str("<html>sorry</html>"));
	mem_world_put(wa, "new.tfstate", span_str("<html>sorry</html>"));
	for (int i = 0; i < 2; i++) {
		API_POST(&r, &a, "sync", NULL);
		CHECK_U64(a.exit, 13);
		CHECK_STR(api_text(&a, "edges.0.held"), "2");
		CHECK_STR(api_text(&a, "edges.0.unchanged"), "0");
	}
	API_GET(&r, &a, "status", NULL);
	CHECK_U64(a.exit, 3);
	CHECK_STR(api_text(&a, "replicas.held"), "2");
	CHECK_STR(api_text(&a, "replicas.current"), "0");
	CHECK_STR(api_text(&a, "quarantined"), "2");
	CHECK_U64(json_array_size(api_at(&a, "problems")), 2);
	CHECK_STR(api_text(&a, "oldest_lag_seconds"), "0");
	API_GET(&r, &a, "list", NULL);
	CHECK_STR(api_text(&a, "states.0.replicas.0.status"), "held");
	CHECK_STR(api_text(&a, "states.1.replicas.0.status"), "held");
	CHECK_STR(api_text(&a, "states.0.replicas.0.error"), "version 2 is damaged: HTML page");
	CHECK_STR(api_text(&a, "states.0.replicas.0.lag_seconds"), "0");
	API_GET(&r, &a, "resolve", "edge=e", "state=x.tfstate", NULL);
	CHECK_STR(api_text(&a, "held"), "[]");
	API_GET(&r, &a, "metrics", NULL);
	CHECK(strstr(a.bytes, "\nstateferry_replica_status{edge=\"e\",status=\"held\"} 2\n") != NULL);
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	mem_world_put(wa, "new.tfstate", rig_state(1, "N", 3, "one"));
	API_POST(&r, &a, "sync", NULL);
	CHECK_STR(api_text(&a, "edges.0.held"), "0");
	API_GET(&r, &a, "status", NULL);
	CHECK_STR(api_text(&a, "verdict"), "ok");
	end();
}

static void
sync_ended(struct op *op, void *arg)
{
	*(bool *)arg = true;
	op_free(op);
}

/* What a pass does that waits for somebody's lock, seen from beside. */
static void
ops_say_what_is_waited_for(void)
{
	struct api_reply reply;
	bool             ended = false;
	json_t          *op = NULL;

	begin();
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	mem_world_lock(wb, "x.tfstate", "{\"ID\":\"somebody\"}");
	API_GET(&r, &a, "ops", NULL);
	CHECK_STR(api_text(&a, "pass"), "null");
	op_start(api_call(r.engine, &(struct api_request){ .method = "POST", .route = "sync" }, &reply), sync_ended, &ended);
	agent_rig_wait(&r, 5000);
	CHECK(!ended);
	API_GET(&r, &a, "ops", NULL);
	CHECK_U64(json_array_size(api_at(&a, "ops")), 2);
	op = api_at(&a, "ops.0");
	CHECK_STR(json_string_value(json_object_get(op, "about")), "sync");
	CHECK(json_number_value(json_object_get(op, "age_seconds")) >= 4.9);
	CHECK_STR(api_text(&a, "ops.0.waits_for.0.name"), "sleep");
	CHECK_STR(api_text(&a, "ops.0.waits_for.0.about"), "e");
	CHECK_STR(api_text(&a, "ops.0.waits_for.0.within"), "api/sync/sync/each/lane");
	CHECK_STR(api_text(&a, "ops.0.waits_omitted"), "0");
	CHECK_STR(api_text(&a, "ops.1.about"), "ops");
	CHECK_STR(api_text(&a, "pass.step"), "writing");
	CHECK_STR(api_text(&a, "pass.seen"), "1");
	CHECK_STR(api_text(&a, "pass.total"), "1");
	CHECK_STR(api_text(&a, "pass.done"), "0");
	mem_world_lock(wb, "x.tfstate", NULL);
	agent_rig_wait(&r, 60000);
	CHECK(ended && reply.exit == 0);
	api_reply_free(&reply);
	API_GET(&r, &a, "ops", NULL);
	CHECK_STR(api_text(&a, "pass"), "null");
	end();
}

/* Told over several turns, none twice and none left out. */
static void
many_events(void)
{
	struct batch *b;
	json_t       *events;

	begin();
	b = batch_new(r.store);
	for (int i = 0; i < 2500; i++)
		batch_event(b, &(struct event_rec){ .kind = "held", .text = "x" });
	CHECK(agent_rig_run(&r, store_apply(r.store, b), 1000) == ERR_OK);
	API_GET(&r, &a, "events", "limit=2400", NULL);
	events = api_at(&a, "events");
	CHECK_U64(json_array_size(events), 2400);
	for (size_t i = 1; i < json_array_size(events); i++)
		CHECK(json_number_value(json_object_get(json_array_get(events, i), "seq")) ==
		    json_number_value(json_object_get(json_array_get(events, i - 1), "seq")) - 1);
	API_GET(&r, &a, "events", "limit=2000", NULL);
	CHECK_U64(json_array_size(api_at(&a, "events")), 2000);
	end();
}

static void
add_version(struct batch *b, uint64_t serial)
{
	struct span          text = rig_state(serial, "L", 1, "one");
	struct body         *body = body_copy(text);
	struct snapshot      sn;
	struct version_rec   v = { .serial = serial, .size = text.n, .lineage = "L", .writer = "1", .verdict = VERDICT_OLDER,
		.reason = "", .run = "", .who = "", .operation = "", .origin = "" };

	snapshot_of(&sn, body, NULL);
	v.digest = sn.digest;
	v.kind = sn.info.kind;
	batch_body(b, body, &sn.digest, NULL);
	batch_version(b, "a", "x.tfstate", &v);
	snapshot_free(&sn);
	body_unref(body);
}

static void
many_versions(void)
{
	struct batch *b;
	json_t       *versions;

	begin();
	mem_world_put(wa, "x.tfstate", rig_state(5000, "L", 3, "one"));
	API_POST(&r, &a, "sync", NULL);
	b = batch_new(r.store);
	for (uint64_t i = 1; i <= 2500; i++)
		add_version(b, i);
	CHECK(agent_rig_run(&r, store_apply(r.store, b), 1000) == ERR_OK);
	API_GET(&r, &a, "log", "state=a:x.tfstate", NULL);
	versions = api_at(&a, "versions");
	CHECK_U64(json_array_size(versions), 2501);
	for (size_t i = 0; i < json_array_size(versions); i++)
		CHECK(json_number_value(json_object_get(json_array_get(versions, i), "version")) == (double)(2501 - i));
	CHECK_STR(api_text(&a, "versions.2500.head"), "true");
	end();
}

static void
probe_is_a_document(void)
{
	begin();
	API_POST(&r, &a, "probe", "backend=b", NULL);
	CHECK(a.status == 200 && a.exit == 0);
	CHECK_STR(api_text(&a, "backend"), "b");
	CHECK_STR(api_text(&a, "checks.0.name"), "create_only");
	CHECK_STR(api_text(&a, "checks.0.ok"), "true");
	CHECK_STR(api_text(&a, "enforces"), "true");
	CHECK_STR(api_text(&a, "reason"), "null");
	CHECK(strncmp(api_text(&a, "time"), "20", 2) == 0);
	API_POST(&r, &a, "probe", "backend=nobody", NULL);
	CHECK(a.exit == 2);
	mem_world_down(wa, ERR_NETWORK);
	API_POST(&r, &a, "probe", "backend=a", NULL);
	CHECK(a.exit == 1);
	CHECK_STR(api_text(&a, "checks"), "(absent)");
	end();
}

static uint64_t
turns_of(const char *route, size_t states)
{
	struct loop_delay before, after;

	loop_delay(r.loop, &before);
	API_GET(&r, &a, route, NULL);
	CHECK_U64(a.status, 200);
	if (strcmp(route, "list") == 0)
		CHECK_U64(json_array_size(api_at(&a, "states")), states);
	loop_delay(r.loop, &after);
	return after.turns - before.turns;
}

static void
add_states(int from, int to)
{
	struct batch *b = batch_new(r.store);
	char          name[40];

	for (int i = from; i < to; i++) {
		snprintf(name, sizeof(name), "s%05d.tfstate", i);
		batch_state(b, "a", name);
	}
	CHECK(agent_rig_run(&r, store_apply(r.store, b), 1000) == ERR_OK);
}

/* Nothing goes over all states in one turn of the loop: with more of them it takes more turns. */
static void
many_states_are_many_turns(void)
{
	static const char *const asked[] = { "list", "status", "metrics", "quarantine" };
	uint64_t                 few[ARRAY_LEN(asked)];

	begin();
	add_states(0, 100);
	for (size_t i = 0; i < ARRAY_LEN(asked); i++)
		few[i] = turns_of(asked[i], 100);
	add_states(100, 5500);
	for (size_t i = 0; i < ARRAY_LEN(asked); i++)
		CHECK(turns_of(asked[i], 5500) >= few[i] + 5);
	end();
}

static void
metrics_and_ready(void)
{
	begin();
	CHECK(!health_ready(r.engine));
	mem_world_put(wa, "x.tfstate", rig_state(1, "L", 3, "one"));
	API_POST(&r, &a, "sync", NULL);
	CHECK(health_ready(r.engine));
	API_GET(&r, &a, "metrics", NULL);
	CHECK(strstr(a.bytes, "\nstateferry_states 1\n") != NULL);
	CHECK(strstr(a.bytes, "\nstateferry_replica_status{edge=\"e\",status=\"current\"} 1\n") != NULL);
	CHECK(strstr(a.bytes, "\nstateferry_replica_lag_seconds{edge=\"e\",quantile=\"1\"} 0.000\n") != NULL);
	CHECK(strstr(a.bytes, "\nstateferry_versions_total{verdict=\"first\"} 1\n") != NULL);
	CHECK(strstr(a.bytes, "\nstateferry_requests_total{backend=\"b\",operation=\"write\",result=\"ok\"} 1\n") != NULL);
	CHECK(strstr(a.bytes, "\nstateferry_requests_total{backend=\"b\",operation=\"write\",result=\"unknown\"} 0\n") != NULL);
	CHECK(strstr(a.bytes, "\nstateferry_request_seconds_bucket{backend=\"b\",operation=\"write\",le=\"+Inf\"} 1\n") != NULL);
	CHECK(strstr(a.bytes, "\nstateferry_request_seconds_count{backend=\"b\",operation=\"write\"} 1\n") != NULL);
	CHECK(strstr(a.bytes, "backend=\"a\",operation=\"write\"") == NULL);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "never_looked_is_behind", never_looked_is_behind },
	    { "nothing_is_said_twice", nothing_is_said_twice },
	    { "sync_then_status", sync_then_status },
	    { "target_down_is_failing", target_down_is_failing },
	    { "list_has_all_members", list_has_all_members },
	    { "log_and_cat", log_and_cat },
	    { "what_is_not_there_is_refused", what_is_not_there_is_refused },
	    { "max_age_is_14", max_age_is_14 },
	    { "restores_and_decides", restores_and_decides },
	    { "locks_and_care", locks_and_care },
	    { "a_lock_that_stays", a_lock_that_stays },
	    { "quarantine_holds_the_replica", quarantine_holds_the_replica },
	    { "ops_say_what_is_waited_for", ops_say_what_is_waited_for },
	    { "many_events", many_events },
	    { "many_versions", many_versions },
	    { "probe_is_a_document", probe_is_a_document },
	    { "many_states_are_many_turns", many_states_are_many_turns },
	    { "metrics_and_ready", metrics_and_ready },
	    { NULL, NULL } });
}
