/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/state_server.h"
#include "../../lib/test.h"
#include "base/time.h"

/*
 * Locks of a protocol that cannot show them: what is told comes from our own intents and from refusals, and no lock is ever
 * taken just to look.
 */
static const char text[] = "backend \"mem\" \"a\" {}\n"
    "backend \"http\" \"b\" {\n  address = \"http://h.example/{name}\"\n  lock_address = \"http://h.example/{name}\"\n"
    "  unlock_address = \"http://h.example/{name}\"\n  lock_timeout = \"1s\"\n}\n"
    "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n";

static struct loop          *loop;
static struct scripted_http *net;
static struct state_server  *server;
static struct mem_world     *source;
static struct agent_rig      r;
static struct lock_info      theirs;

static void
begin(void)
{
	loop = loop_new_virtual(1, RIG_WALL);
	net = scripted_http_new(loop);
	server = state_server_new(net);
	r.http = scripted_http_client(net);
	agent_rig_join(&r, loop, NULL, text);
	source = agent_rig_world(&r, "a", mem_world_new());
	mem_world_put(source, "x.tfstate", rig_state(1, "L", 3, "one"));
}

static void
end(void)
{
	agent_rig_close(&r);
	mem_world_free(source);
	scripted_http_free(net);
	state_server_free(server);
	loop_free(loop);
}

static void
make_theirs(struct backend *b)
{
	provider_lock_new(b, &(struct state_ref){ "x.tfstate" }, "", &theirs);
	lock_id_make(loop_rand(r.loop), NULL, theirs.id);
}

/* A run of somebody else's. */
static void
lock_it(void)
{
	struct backend  *b = plan_backend(engine_plan(r.engine), "b");
	struct state_ref ref = { "x.tfstate" };
	struct lock_info holder;

	make_theirs(b);
	snprintf(theirs.who, sizeof(theirs.who), "ann@host");
	snprintf(theirs.operation, sizeof(theirs.operation), "OperationTypeApply");
	CHECK_U64(agent_rig_run(&r, provider_lock(b, &ref, &theirs, &holder), 60000), ERR_OK);
}

static struct lock_seen last;
static unsigned         nseen;
static struct kept      kept;

static void
seen(void *arg, const struct lock_seen *l)
{
	(void)arg;
	CHECK_STR(l->backend, "b");
	CHECK_STR(l->name, "x.tfstate");
	last = *l;
	nseen++;
}

static unsigned
locks(void)
{
	nseen = 0;
	CHECK_U64(agent_rig_run(&r, engine_locks(r.engine, "b", seen, NULL), 60000), ERR_OK);
	return nseen;
}

static enum err_code
unlock(const char *id)
{
	return agent_rig_run(&r, engine_unlock(r.engine, "b", "x.tfstate", id, &last, &kept), 60000);
}

static void
a_refusal_is_remembered(void)
{
	struct lock_seen look;

	begin();
	lock_it();
	CHECK_U64(locks(), 0);
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 0 1");
	CHECK_U64(locks(), 1);
	CHECK_STR(last.lock.id, theirs.id);
	CHECK_STR(last.lock.who, "ann@host");
	CHECK(!last.ours && last.as_of > RIG_WALL);
	CHECK(strstr(scripted_http_trace(net), "UNLOCK") == NULL);
	CHECK_U64(agent_rig_run(&r, engine_unlock_look(r.engine, "b", "x.tfstate", theirs.id, &look), 60000), ERR_OK);
	CHECK_STR(look.lock.who, "ann@host");
	CHECK(strstr(scripted_http_trace(net), "UNLOCK") == NULL);
	CHECK_U64(unlock(NULL), ERR_NOT_FOUND); /* it is not ours */
	CHECK_U64(unlock(theirs.id), ERR_OK);
	CHECK_STR(last.lock.who, "ann@host");
	CHECK_U64(locks(), 0);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	end();
}

static void
a_lock_that_went_by_itself_is_forgotten(void)
{
	begin();
	lock_it();
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 0 1");
	CHECK_U64(locks(), 1);
	CHECK_U64(agent_rig_run(&r, provider_unlock(plan_backend(engine_plan(r.engine), "b"), &(struct state_ref){ "x.tfstate" },
	    &theirs), 60000), ERR_OK);
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(locks(), 0);
	lock_it();
	CHECK_U64(unlock("wrong"), ERR_CONFLICT); /* and old news is no news */
	agent_rig_wait(&r, (int64_t)25 * 3600 * 1000);
	CHECK_U64(locks(), 0);
	end();
}

/* Of an id alone a body is made that a server in any language takes. */
static enum scripted_fault
whole_body(void *arg, const struct scripted_request *rq)
{
	struct lock_info l;
	int64_t          ms;

	if (strcmp(rq->method, "UNLOCK") == 0) {
		CHECK_U64(lock_info_parse(rq->body, &l, NULL), ERR_OK);
		CHECK_STR(l.id, "nobody");
		CHECK(time_parse(l.created, &ms));
		CHECK(l.who[0] != '\0' && l.operation[0] != '\0' && l.version[0] != '\0' && l.info[0] != '\0');
		++*(unsigned *)arg;
	}
	return SCRIPTED_OK;
}

static void
a_wrong_id_breaks_nothing_and_tells_the_holder(void)
{
	unsigned         unlocks = 0;
	struct lock_seen look;

	begin();
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	scripted_decide(net, whole_body, &unlocks);
	CHECK_U64(unlock("nobody"), ERR_NOT_FOUND);
	CHECK_U64(unlocks, 1);
	scripted_decide(net, NULL, NULL);
	lock_it();
	CHECK_U64(agent_rig_run(&r, engine_unlock_look(r.engine, "b", "x.tfstate", theirs.id, &look), 60000), ERR_OK);
	CHECK_STR(look.lock.id, "");
	CHECK_U64(unlock("wrong"), ERR_CONFLICT);
	CHECK(strstr(r.err.msg, "ann@host") != NULL);
	CHECK_U64(locks(), 1);
	CHECK_STR(last.lock.id, theirs.id);
	CHECK_U64(unlock(theirs.id), ERR_OK);
	CHECK_U64(unlock(theirs.id), ERR_NOT_FOUND);
	end();
}

/* The journal knows our own: in flight, and left behind by a server that did not answer the unlock. */
static enum scripted_fault
no_unlock(void *arg, const struct scripted_request *rq)
{
	(void)arg;
	return strcmp(rq->method, "UNLOCK") == 0 ? SCRIPTED_LOST_BEFORE : SCRIPTED_OK;
}

static void
our_own_needs_no_id(void)
{
	struct pass_result p;

	begin();
	scripted_decide(net, no_unlock, NULL);
	agent_rig_sync(&r, &p);
	pass_result_free(&p);
	CHECK_U64(locks(), 1);
	CHECK(last.ours);
	CHECK_STR(last.lock.who, "stateferry@rig");
	scripted_decide(net, NULL, NULL);
	CHECK_U64(unlock(NULL), ERR_OK);
	CHECK(last.ours);
	end();
}

/* However long the next try is away. */
static void
a_broken_lock_wakes_the_write_that_waits(void)
{
	begin();
	lock_it();
	engine_start(r.engine);
	agent_rig_wait(&r, 120000);
	CHECK_U64(locks(), 1);
	CHECK(state_server_get(server, "/x.tfstate").p == NULL);
	CHECK_U64(unlock(theirs.id), ERR_OK);
	agent_rig_wait(&r, 50);
	CHECK(state_server_get(server, "/x.tfstate").p != NULL);
	engine_stop(r.engine);
	agent_rig_wait(&r, 1000);
	end();
}

static void
lock_source(void)
{
	struct backend  *a = plan_backend(engine_plan(r.engine), "a");
	struct state_ref ref = { "x.tfstate" };
	struct lock_info holder;

	make_theirs(a);
	snprintf(theirs.who, sizeof(theirs.who), "ann@host");
	CHECK_U64(agent_rig_run(&r, provider_lock(a, &ref, &theirs, &holder), 60000), ERR_OK);
}

static uint64_t
versions(void)
{
	struct store_txn *t;
	struct state_rec  s = { .versions = 0 };

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x.tfstate", &s));
	store_end(t);
	return s.versions;
}

static void
ended(struct op *op, void *arg)
{
	*(struct err *)arg = op->err;
	op_free(op);
}

/* What the one whose lock is broken may have left is a version before; and if the lock is another's by then, it stays. */
static void
what_is_there_is_kept_first(void)
{
	struct backend *a;
	struct lock_info mine;
	struct err       e = { .code = ERR_BUSY };

	begin();
	a = plan_backend(engine_plan(r.engine), "a");
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	lock_source();
	mem_world_put(source, "x.tfstate", SPAN_LIT("{\"version\": 4, \"ser"));
	CHECK_U64(agent_rig_run(&r, engine_unlock_look(r.engine, "a", "x.tfstate", theirs.id, &last), 60000), ERR_OK);
	CHECK_U64(versions(), 1);
	CHECK_U64(agent_rig_run(&r, engine_unlock(r.engine, "a", "x.tfstate", theirs.id, &last, &kept), 60000), ERR_OK);
	CHECK_U64(versions(), 2);
	CHECK_U64(kept.version, 2);
	CHECK_STR(kept.state, "a:x.tfstate");
	CHECK_U64(mem_world_locks(source), 0);

	lock_source();
	mine = theirs;
	mem_world_put(source, "x.tfstate", SPAN_LIT("{\"version\": 4, \"other"));
	op_start(engine_unlock(r.engine, "a", "x.tfstate", mine.id, &last, NULL), ended, &e);
	agent_rig_wait(&r, 1000); /* what is no state is read again after 2 s */
	CHECK_U64(e.code, ERR_BUSY);
	CHECK_U64(agent_rig_run(&r, provider_unlock(a, &(struct state_ref){ "x.tfstate" }, &mine), 60000), ERR_OK);
	lock_source();
	agent_rig_wait(&r, 10000);
	CHECK_U64(e.code, ERR_CONFLICT);
	CHECK(strstr(e.msg, "the lock changed meanwhile") != NULL && strstr(e.hint, theirs.id) != NULL);
	CHECK_U64(mem_world_locks(source), 1);
	CHECK_U64(versions(), 3);
	CHECK_U64(agent_rig_run(&r, engine_unlock(r.engine, "a", "x.tfstate", theirs.id, &last, NULL), 60000), ERR_OK);
	end();
}

/* A target's is kept with the source whose replica it is, or else under its own name; what the store has is only told. */
static void
what_a_target_holds_is_kept_first(void)
{
	struct store_txn  *t;
	struct state_rec   s;
	struct version_rec v;

	begin();
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	lock_it();
	CHECK_U64(unlock(theirs.id), ERR_OK);
	CHECK_STR(kept.state, "a:x.tfstate");
	CHECK_U64(kept.version, 1);
	CHECK_U64(versions(), 1);
	lock_it();
	state_server_put(server, "/x.tfstate", rig_state(5, "L", 3, "theirs"));
	CHECK_U64(unlock(theirs.id), ERR_OK);
	CHECK_STR(kept.state, "a:x.tfstate");
	CHECK_U64(kept.version, 2);
	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	CHECK(store_state(t, "a", "x.tfstate", &s) && store_version(t, s.id, 2, &v));
	CHECK(s.head == 1 && v.serial == 5 && v.verdict == VERDICT_FORK && version_is_evidence(&v));
	CHECK_STR(v.origin, "target e b");
	store_end(t);
	CHECK_U64(unlock(theirs.id), ERR_NOT_FOUND);

	state_server_put(server, "/y.tfstate", rig_state(7, "M", 1, "nobody's"));
	CHECK_U64(agent_rig_run(&r, provider_lock(plan_backend(engine_plan(r.engine), "b"), &(struct state_ref){ "y.tfstate" }, &theirs,
	    &(struct lock_info){ .id = "" }), 60000), ERR_OK);
	CHECK_U64(agent_rig_run(&r, engine_unlock(r.engine, "b", "y.tfstate", theirs.id, &last, &kept), 60000), ERR_OK);
	CHECK_STR(kept.state, "b:y.tfstate");
	CHECK_U64(kept.version, 1);
	end();
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "a_refusal_is_remembered", a_refusal_is_remembered },
		{ "a_lock_that_went_by_itself_is_forgotten", a_lock_that_went_by_itself_is_forgotten },
		{ "a_wrong_id_breaks_nothing_and_tells_the_holder", a_wrong_id_breaks_nothing_and_tells_the_holder },
		{ "our_own_needs_no_id", our_own_needs_no_id },
		{ "what_a_target_holds_is_kept_first", what_a_target_holds_is_kept_first },
		{ "what_is_there_is_kept_first", what_is_there_is_kept_first },
		{ "a_broken_lock_wakes_the_write_that_waits", a_broken_lock_wakes_the_write_that_waits },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
