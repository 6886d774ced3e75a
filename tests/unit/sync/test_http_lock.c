/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/state_server.h"
#include "../../lib/test.h"
#include "base/log.h"
#include "provider/brainboard/brainboard.h"

/* An http target has nothing but its lock: before the first write a second lock has to be refused there. */
#define WEB(ADDRESS, MORE) \
	"backend \"mem\" \"a\" {}\nbackend \"http\" \"web\" {\n  address = \"http://h.example/" ADDRESS "\"\n" \
	"  lock_address = \"http://h.example/" ADDRESS "\"\n  unlock_address = \"http://h.example/" ADDRESS "\"\n" MORE "}\n" \
	"replicate \"e\" {\n  from = \"a\"\n  to = [\"web\"]\n}\n"

static struct loop          *loop;
static struct scripted_http *net;
static struct state_server  *server;
static struct mem_world     *a;
static struct agent_rig      r;
static struct pass_result    result;

static void
start(const char *dir, const char *text)
{
	r.http = scripted_http_client(net);
	agent_rig_join(&r, loop, dir, text);
	agent_rig_world(&r, "a", a);
}

static void
begin(const char *text)
{
	memset(&r, 0, sizeof(r));
	loop = loop_new_virtual(3, RIG_WALL);
	log_setup(LOG_ERROR, false, loop_clock(loop));
	net = scripted_http_new(loop);
	server = state_server_new(net);
	a = mem_world_new();
	start(NULL, text);
}

static void
restart(const char *text)
{
	char *dir = xstrdup(r.dir);

	agent_rig_close(&r);
	start(dir, text);
	free(dir);
}

static void
end(void)
{
	pass_result_free(&result);
	agent_rig_close(&r);
	CHECK_U64(state_server_locks(server), 0);
	mem_world_free(a);
	state_server_free(server);
	scripted_http_free(net);
	loop_free(loop);
}

static const char *
sync_counts(void)
{
	pass_result_free(&result);
	agent_rig_sync(&r, &result);
	return agent_rig_counts(&result);
}

static void
ignore(void *arg, const struct probe_check *c)
{
	(void)arg, (void)c;
}

static void
a_lock_that_excludes_is_tried_once(void)
{
	static const char text[] = WEB("{name}", "");

	begin(text);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	mem_world_put(a, "y.tfstate", rig_state(1, "M", 2, "y"));
	CHECK_STR(sync_counts(), "2 0 0 0");
	CHECK_U64(state_server_lockings(server), 4);    /* two of the states' writes, two of the trial */
	restart(text);
	mem_world_put(a, "x.tfstate", rig_state(2, "L", 2, "x"));
	CHECK_STR(sync_counts(), "1 1 0 0");
	CHECK_U64(state_server_lockings(server), 5);
	end();
}

static void
check_nothing_is_written(const char *path)
{
	CHECK_STR(sync_counts(), "0 0 1 0");
	CHECK_U64((uint64_t)pass_result_exit(&result), 13);
	CHECK(strstr(result.problems[0].message, "a lock that excludes nobody") != NULL);
	CHECK(strstr(result.problems[0].hint, "stateferry probe web") != NULL);
	CHECK(state_server_get(server, path).p == NULL);
}

static void
a_lock_that_excludes_nobody(void)
{
	static const char *const texts[] = { WEB("{name}", ""), WEB("x.tfstate", "") };
	struct proof             found;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		begin(texts[i]);
		state_server_lock_nobody(server, true);
		mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
		check_nothing_is_written("/x.tfstate");
		restart(texts[i]);
		check_nothing_is_written("/x.tfstate");
		state_server_lock_nobody(server, false);
		CHECK_OK(agent_rig_run(&r, engine_probe(r.engine, "web", ignore, NULL, &found), 60000), r.err);
		CHECK(!found.no_lock);
		CHECK_STR(sync_counts(), "1 0 0 0");
		end();
	}
	begin(WEB("{name}", "  exclusive = true\n"));
	state_server_lock_nobody(server, true);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	CHECK_STR(sync_counts(), "1 0 0 0");
	end();
}

/* What was found is forgotten after a day: a server may have been mended. */
static void
a_no_expires(void)
{
	begin(WEB("{name}", ""));
	state_server_lock_nobody(server, true);
	mem_world_put(a, "x.tfstate", rig_state(1, "L", 2, "x"));
	check_nothing_is_written("/x.tfstate");
	state_server_lock_nobody(server, false);
	agent_rig_wait(&r, INT64_C(25) * 3600 * 1000);
	CHECK_STR(sync_counts(), "1 0 0 0");
	end();
}

/* ---------------------------------------------------------------- two places behind one label */

#define ONE "a0000000-0000-4000-8000-000000000001"
#define TWO "a0000000-0000-4000-8000-000000000002"
#define BRAINBOARD \
	"backend \"mem\" \"a\" {}\nbackend \"brainboard\" \"web\" {\n  key = \"{uuid}\"\n  storage \"mem\" {}\n" \
	"  architecture \"" TWO "\" {\n    storage \"http\" {\n      address = \"http://h.example/own\"\n" \
	"      lock_address = \"http://h.example/own\"\n      unlock_address = \"http://h.example/own\"\n    }\n  }\n}\n" \
	"replicate \"e\" {\n  from = \"a\"\n  to = [\"web\"]\n}\n"

static struct mem_world *common;

static void
attach(void)
{
	mem_attach(brainboard_of(plan_backend(engine_plan(r.engine), "web"))->storages[0].b, common);
}

static void
put_both(uint64_t serial)
{
	mem_world_put(a, ONE, rig_state(serial, "L", 2, "x"));
	mem_world_put(a, TWO, rig_state(serial, "M", 2, "x"));
}

static void
count(void *arg, const struct probe_check *c)
{
	unsigned *n = arg;

	n[0] += strcmp(c->name, "lock") == 0;
	n[1] += strstr(c->detail, "h.example") != NULL;
}

/* What one storage enforces says nothing of the other, and each is remembered. */
static void
each_storage_is_tried_for_itself(void)
{
	struct proof found;
	unsigned     told[2] = { 0, 0 };

	common = mem_world_new();
	begin(BRAINBOARD);
	attach();
	state_server_lock_nobody(server, true);
	put_both(1);
	CHECK_STR(sync_counts(), "1 0 1 0");
	CHECK_STR(result.problems[0].state, TWO);
	CHECK(strstr(result.problems[0].message, "web (") != NULL && strstr(result.problems[0].message, "a lock that excludes nobody") != NULL);
	CHECK(state_server_get(server, "/own").p == NULL);
	CHECK_U64(state_server_lockings(server), 2);
	restart(BRAINBOARD);
	attach();
	put_both(2);
	CHECK_STR(sync_counts(), "1 0 1 0");
	CHECK_U64(state_server_lockings(server), 2); /* remembered */
	state_server_lock_nobody(server, false);
	CHECK_OK(agent_rig_run(&r, engine_probe(r.engine, "web", count, told, &found), 60000), r.err);
	CHECK(told[0] == 2 && told[1] > 0 && !found.no_lock);
	CHECK_STR(sync_counts(), "1 1 0 0");
	CHECK(state_server_get(server, "/own").p != NULL);
	CHECK_U64(state_server_lockings(server), 2 + 2 + 1);
	restart(BRAINBOARD);
	attach();
	put_both(3);
	CHECK_STR(sync_counts(), "2 0 0 0");
	CHECK_U64(state_server_lockings(server), 2 + 2 + 1 + 1); /* remembered, too */
	CHECK_U64(mem_world_locks(common), 0);
	end();
	mem_world_free(common);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "a_lock_that_excludes_is_tried_once", a_lock_that_excludes_is_tried_once },
		{ "a_lock_that_excludes_nobody", a_lock_that_excludes_nobody },
		{ "a_no_expires", a_no_expires },
		{ "each_storage_is_tried_for_itself", each_storage_is_tried_for_itself },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
