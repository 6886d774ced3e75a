/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "provider/fault.h"
#include "provider/mem.h"

static struct provider_rig r;
static struct mem_world   *world;
static struct state_ref    ref = { "x" };

static void
begin(void)
{
	provider_rig_open(&r, false, "backend \"mem\" \"b\" {}\n");
	world = mem_world_new();
	mem_attach(r.b, world);
	r.b = fault_new(r.b);
}

static void
end(void)
{
	provider_rig_close(&r);
	mem_world_free(world);
}

static enum err_code
put(const char *text)
{
	struct body    *bytes = body_copy(span_str(text));
	struct snapshot s;
	char            etag[ETAG_MAX];
	enum err_code   rc;

	snapshot_of(&s, bytes, NULL);
	rc = provider_rig_run(&r, provider_put(r.b, &ref, &s, &(struct put_condition){ PUT_UNDER_LOCK, NULL, NULL }, etag));
	snapshot_free(&s);
	body_unref(bytes);
	return rc;
}

static void
check_holds(const char *text)
{
	struct span s;

	CHECK(mem_world_get(world, "x", &s));
	CHECK(span_is(s, text));
}

static void
before_and_after(void)
{
	struct snapshot  s;
	struct lock_info l, holder;

	begin();
	CHECK_U64(put("1"), ERR_OK);
	fault_at(r.b, 2, ERR_NETWORK, false);
	CHECK_U64(put("2"), ERR_NETWORK);
	check_holds("1");
	CHECK_U64(put("3"), ERR_OK); /* the next one goes through */
	fault_at(r.b, 4, ERR_UNCERTAIN, true);
	CHECK_U64(put("4"), ERR_UNCERTAIN);
	check_holds("4");
	fault_at(r.b, 5, ERR_TIMEOUT, true);
	CHECK_U64(provider_rig_run(&r, provider_get(r.b, &ref, NULL, &s)), ERR_TIMEOUT);
	CHECK(s.body == NULL);
	provider_lock_new(r.b, &ref, "", &l);
	fault_at(r.b, 6, ERR_UNCERTAIN, true);
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &ref, &l, &holder)), ERR_UNCERTAIN);
	CHECK_U64(mem_world_locks(world), 1);
	CHECK_U64(provider_rig_run(&r, provider_unlock(r.b, &ref, &l)), ERR_OK);
	CHECK_U64(mem_world_locks(world), 0);
	CHECK_U64(fault_calls(r.b), 7);
	end();
}

/* A call that fails by itself keeps its own error. */
static void
own_errors_stay(void)
{
	struct snapshot s;

	begin();
	fault_at(r.b, 1, ERR_TIMEOUT, true);
	CHECK_U64(provider_rig_run(&r, provider_get(r.b, &ref, NULL, &s)), ERR_NOT_FOUND);
	end();
}

static void
is_like_the_inner_one(void)
{
	begin();
	CHECK((provider_caps(r.b) & PROVIDER_LIST) != 0);
	CHECK_STR(r.b->label, "b");
	CHECK(r.b->provider->seal == NULL && r.b->provider->lock_path == NULL);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "before and after", before_and_after },
	    { "own errors stay", own_errors_stay }, { "is like the inner one", is_like_the_inner_one }, { NULL, NULL } });
}
