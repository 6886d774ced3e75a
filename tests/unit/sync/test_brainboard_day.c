/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/fake_brainboard.h"
#include "../../lib/test.h"
#include "base/log.h"
#include "provider/brainboard/brainboard.h"

/*
 * A day of an organization with 200 architectures, in virtual time: runs apply, architectures come, vanish and move to storage of
 * their own; the API is down for hours, its token expires, a storage is down. Whatever happens: replicas follow, never go
 * back, no lock is left, and what is out of reach is counted.
 */
#define ARCHS      200
#define LATER      20      /* come during the day */
#define MOVED_FROM 30      /* these get a storage of their own at noon */
#define MOVED_TO   40
#define UNDEPLOYED 10      /* the first ones never have a state */
#define HOUR_MS    INT64_C(3600000)
#define STEP_MS    INT64_C(600000)

static struct loop           *loop;
static struct scripted_http  *net;
static struct fake_brainboard fake;
static struct agent_rig       r;
static struct mem_world      *common, *own[MOVED_TO - MOVED_FROM], *dr;
static uint64_t               serials[FAKE_BRAINBOARD_MAX], seen[FAKE_BRAINBOARD_MAX];
static bool                   moved;

static const char *
uuid(unsigned n)
{
	return fake_brainboard_uuid('a', n);
}

/* ---------------------------------------------------------------- the configuration */

static char *
text(bool own_storages)
{
	struct buf out;

	buf_init(&out, 0);
	buf_puts(&out, "backend \"mem\" \"dr\" {\n  poll = \"10m\"\n}\nreplicate \"e\" {\n  from = \"live\"\n  to = [\"dr\"]\n}\n"
	    "backend \"brainboard\" \"live\" {\n  poll = \"60s\"\n  token = \"" FAKE_BRAINBOARD_TOKEN "\"\n  storage \"mem\" {}\n");
	for (unsigned n = MOVED_FROM; own_storages && n < MOVED_TO; n++)
		buf_printf(&out, "  architecture \"%s\" {\n    storage \"mem\" {}\n  }\n", uuid(n));
	buf_puts(&out, "}\n");
	return buf_take(&out);
}

static void
attach(struct plan *plan, bool own_storages)
{
	struct brainboard *bb = brainboard_of(plan_backend(plan, "live"));

	mem_attach(plan_backend(plan, "dr"), dr);
	mem_attach(bb->storages[0].b, common);
	CHECK_U64(bb->nstorages, own_storages ? 1 + MOVED_TO - MOVED_FROM : 1);
	for (size_t i = 1; i < bb->nstorages; i++)
		mem_attach(bb->storages[i].b, own[i - 1]);
}

static void
begin(const char *dir, bool own_storages)
{
	char *conf = text(own_storages);

	r.http = scripted_http_client(net);
	agent_rig_join(&r, loop, dir, conf);
	attach(engine_plan(r.engine), own_storages);
	free(conf);
}

/* ---------------------------------------------------------------- what happens outside */

static struct mem_world *
world_of(unsigned n)
{
	return moved && n >= MOVED_FROM && n < MOVED_TO ? own[n - MOVED_FROM] : common;
}

/* Some are files, some lie in folders. */
static const char *
key_of(unsigned n)
{
	static const char *const forms[] = { "", "/terraform.tfstate", ".tfstate", "/default.tfstate" };
	static char              key[100];

	snprintf(key, sizeof(key), "%s%s", uuid(n), forms[n % 4]);
	return key;
}

static void
apply(unsigned n)
{
	char lineage[24], tweak[24];

	snprintf(lineage, sizeof(lineage), "line-%u", n);
	snprintf(tweak, sizeof(tweak), "%llu", (unsigned long long)++serials[n]);
	mem_world_put(world_of(n), key_of(n), rig_state(serials[n], lineage, 2, tweak));
}

static void
arrive(unsigned n)
{
	char name[40];

	snprintf(name, sizeof(name), "arch-%u", n);
	fake_brainboard_put(&fake, n, n % 8, name);
}

/* The organization gives ten of them storage of their own: what was there moves, and the configuration follows. */
static void
move(void)
{
	struct span body;
	char       *conf = text(true);
	struct plan *plan = agent_rig_plan(&r, conf);

	free(conf);
	for (unsigned n = MOVED_FROM; n < MOVED_TO; n++) {
		CHECK(mem_world_get(common, key_of(n), &body));
		mem_world_put(own[n - MOVED_FROM], key_of(n), body); /* a copy is left behind, and must not be taken for the state */
	}
	moved = true;
	attach(plan, true);
	CHECK_OK(agent_rig_run(&r, engine_reload(r.engine, plan), HOUR_MS), r.err);
}

static void
at_hour(unsigned hour)
{
	switch (hour) {
	case 3: /* the API is down */
		fake.refuse = 503;
		break;
	case 5:
		fake.refuse = 429;
		fake.retry_after = 1800;
		break;
	case 7:
		fake.refuse = 0;
		fake.retry_after = 0;
		break;
	case 8: /* deleted there; their states stay where they are */
		fake.arch[50].there = fake.arch[51].there = false;
		break;
	case 12:
		move();
		break;
	case 13: /* the token expires */
		fake.raw = fake.bearer = false;
		break;
	case 15:
		fake.raw = true;
		mem_world_down(own[0], ERR_NETWORK);
		break;
	case 17:
		mem_world_down(own[0], ERR_OK);
		mem_world_down(dr, ERR_BUSY);
		break;
	case 18:
		mem_world_down(dr, ERR_OK);
		break;
	}
}

/* ---------------------------------------------------------------- what must hold */

static uint64_t
serial_of(struct span body)
{
	char       *all = span_dup(body);
	const char *at = strstr(all, "\"serial\": ");
	uint64_t    n = at != NULL ? strtoull(at + 10, NULL, 10) : 0;

	free(all);
	return n;
}

static void
check_ascending(void)
{
	struct span body;

	for (unsigned n = 0; n < ARCHS + LATER; n++) {
		uint64_t now = mem_world_get(dr, uuid(n), &body) ? serial_of(body) : 0;

		if (now < seen[n])
			test_fail(__FILE__, __LINE__, "%s went back from %llu to %llu", uuid(n), (unsigned long long)seen[n], (unsigned long long)now);
		seen[n] = now;
	}
}

static void
check_equal(void)
{
	struct span want, got;

	for (unsigned n = 0; n < ARCHS + LATER; n++) {
		if (serials[n] == 0) {
			CHECK(!mem_world_get(dr, uuid(n), &got));
			continue;
		}
		CHECK(mem_world_get(world_of(n), key_of(n), &want));
		if (!mem_world_get(dr, uuid(n), &got) || !span_eq(want, got))
			test_fail(__FILE__, __LINE__, "the replica of %s is not the state", uuid(n));
	}
}

static bool
count_state(void *arg, const struct state_rec *s)
{
	struct engine_totals *n = arg;

	n->states++;
	n->uncovered += (s->flags & STATE_INVENTORY) != 0;
	n->unusable += (s->flags & (STATE_UNCOVERED | STATE_INVENTORY)) == STATE_UNCOVERED;
	n->quarantined += (s->flags & STATE_GONE) != 0;
	return true;
}

static struct engine_totals
totals(void)
{
	struct engine_totals n = { .states = 0 };
	struct store_txn    *t;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	store_states(t, "live", 0, count_state, &n);
	store_end(t);
	return n;
}

static void
the_day(void)
{
	struct rand          dice;
	struct engine_totals n;
	uint64_t             writes;
	char                *dir, *name;

	rand_seeded(&dice, 11);
	loop = loop_new_virtual(5, RIG_WALL);
	log_setup(LOG_ERROR, false, loop_clock(loop));
	net = scripted_http_new(loop);
	fake_brainboard_init(&fake, net);
	fake.projects = 3;
	fake.environments = 8;
	common = mem_world_new();
	dr = mem_world_new();
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		own[i] = mem_world_new();
	for (unsigned i = 0; i < ARCHS; i++) {
		arrive(i);
		if (i >= UNDEPLOYED)
			apply(i);
	}
	begin(NULL, false);
	engine_start(r.engine);
	for (int64_t at = 0; at < 24 * HOUR_MS; at += STEP_MS) {
		if (at % HOUR_MS == 0)
			at_hour((unsigned)(at / HOUR_MS));
		for (unsigned i = 0; i < 5; i++)
			apply(UNDEPLOYED + (unsigned)rand_below(&dice, ARCHS - UNDEPLOYED));
		if (at % HOUR_MS == 0 && at / HOUR_MS < LATER) {
			arrive(ARCHS + (unsigned)(at / HOUR_MS));
			if (at / HOUR_MS % 2 == 0) /* every other is deployed at once */
				apply(ARCHS + (unsigned)(at / HOUR_MS));
		}
		agent_rig_wait(&r, STEP_MS);
		check_ascending();
	}
	agent_rig_wait(&r, HOUR_MS);
	check_equal();
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		CHECK_U64(mem_world_locks(own[i]), 0);
	CHECK_U64(mem_world_locks(common) + mem_world_locks(dr), 0);
	n = totals();
	CHECK_U64(n.states, ARCHS + LATER);
	CHECK_U64(n.uncovered, UNDEPLOYED + LATER / 2);
	CHECK_U64(n.unusable, 0);
	CHECK_U64(n.quarantined, 0); /* nothing was taken for gone */
	/* 25 hours, six refreshes in each, of one request for the projects and one for each environment; refused ones are tried again */
	CHECK(fake.requests < 25 * 6 * (1 + 8) + 400);
	CHECK(fake.requests > 15 * 6 * (1 + 8));

	/* A command of tomorrow, with the API down: names and aliases are known, and nothing is written again. */
	engine_stop(r.engine);
	writes = mem_world_writes(dr);
	dir = xstrdup(r.dir);
	agent_rig_close(&r);
	fake.refuse = 500;
	begin(dir, true);
	CHECK_STR(provider_alias(plan_backend(engine_plan(r.engine), "live"), uuid(60)), "project-1/env-4/arch-60");
	name = plan_unalias(engine_plan(r.engine), "live", "project-1/env-4/arch-60");
	CHECK_STR(name, uuid(60));
	free(name);
	CHECK_STR(agent_rig_sync_counts(&r), "0 200 0 1"); /* the API itself */
	CHECK_U64(mem_world_writes(dr), writes);
	n = totals();
	CHECK_U64(n.uncovered, UNDEPLOYED + LATER / 2);
	CHECK_U64(n.quarantined, 0);
	free(dir);
	agent_rig_close(&r);
	mem_world_free(common);
	mem_world_free(dr);
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		mem_world_free(own[i]);
	scripted_http_free(net);
	loop_free(loop);
}

/* ---------------------------------------------------------------- the other way */

/* A state from elsewhere into the folder named after its UUID, and the copies back to where they came from. */
static void
into_brainboard(void)
{
	struct mem_world *old = mem_world_new(), *storage = mem_world_new();
	struct span       body, got;
	char             *conf, *key = xasprintf("%s/terraform.tfstate", uuid(1));

	memset(&r, 0, sizeof(r));
	conf = xasprintf("backend \"mem\" \"old\" {}\nbackend \"brainboard\" \"bb\" {\n  key = \"{uuid}/terraform.tfstate\"\n  storage \"mem\" {}\n}\n"
	    "replicate \"e\" {\n  from = \"old\"\n  to = [\"bb\"]\n  key = \"{uuid}\"\n  state \"prod/net.tfstate\" {\n    key = \"%s\"\n  }\n}\n", uuid(1));
	agent_rig_open(&r, 1, NULL, conf);
	agent_rig_world(&r, "old", old);
	mem_attach(brainboard_of(plan_backend(engine_plan(r.engine), "bb"))->storages[0].b, storage);
	body = rig_state(4, "L", 2, "x");
	mem_world_put(old, "prod/net.tfstate", body);
	mem_world_put(old, "copies/a0000000-0000-4000-8000-000000000002/terraform.tfstate", rig_state(1, "M", 2, "y"));
	mem_world_put(old, "stray", rig_state(1, "N", 2, "z"));
	CHECK_STR(agent_rig_sync_counts(&r), "2 0 1 0"); /* stray has no UUID to go to */
	CHECK(mem_world_get(storage, key, &got) && span_eq(got, body));
	CHECK(mem_world_get(storage, "a0000000-0000-4000-8000-000000000002/terraform.tfstate", &got));
	CHECK_U64(mem_world_locks(storage), 0);
	CHECK(mem_world_get(old, "prod/net.tfstate", &got)); /* the source is left in place */
	mem_world_lock(storage, key, "{\"ID\":\"t-1\",\"Who\":\"brainboard runner\"}");
	mem_world_put(old, "prod/net.tfstate", rig_state(5, "L", 2, "x"));
	CHECK_STR(agent_rig_sync_counts(&r), "0 1 1 1"); /* its run goes first */
	mem_world_lock(storage, key, NULL);
	CHECK_STR(agent_rig_sync_counts(&r), "1 1 1 0");
	agent_rig_close(&r);
	mem_world_free(old);
	mem_world_free(storage);
	free(conf);
	free(key);
}

/* A target inside the very storage would be read as an architecture's state again. */
static void
into_itself(void)
{
	const char *why = agent_rig_plan_error("backend \"brainboard\" \"bb\" {\n  storage \"s3\" {\n    bucket = \"acme\"\n    region = \"eu-west-1\"\n  }\n}\n"
	    "backend \"s3\" \"dr\" {\n  bucket = \"acme\"\n  region = \"eu-west-1\"\n  use_lockfile = true\n}\n"
	    "replicate \"e\" {\n  from = \"bb\"\n  to = [\"dr\"]\n  key = \"9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f/terraform.tfstate\"\n"
	    "}\n");

	CHECK(why != NULL && (strstr(why, "into itself") != NULL || strstr(why, "one name") != NULL));
}

/* Its names are those of architectures. */
static void
no_snapshots(void)
{
	const char *why = agent_rig_plan_error("backend \"mem\" \"a\" {}\nbackend \"brainboard\" \"bb\" {\n  key = \"{uuid}\"\n  storage \"mem\" {}\n}\n"
	    "snapshot \"s\" {\n  from = \"a\"\n  to = [\"bb\"]\n}\n");

	CHECK(why != NULL && strstr(why, "cannot hold snapshots") != NULL && strstr(why, "a backend of their own") != NULL);
}

/* What one architecture needs otherwise, by its UUID in any case, or by its alias. */
static void
overrides(void)
{
	struct mem_world *storage = mem_world_new(), *cold = mem_world_new(), *dr_ = mem_world_new();
	struct span       got;

	memset(&r, 0, sizeof(r));
	agent_rig_open(&r, 1, NULL, "backend \"mem\" \"dr\" {}\nbackend \"mem\" \"cold\" {}\n"
	    "backend \"brainboard\" \"bb\" {\n  storage \"mem\" {}\n  state \"A0000000-0000-4000-8000-000000000003\" {\n    alias = \"three\"\n  }\n}\n"
	    "replicate \"e\" {\n  from = \"bb\"\n  to = [\"dr\"]\n  key = \"{uuid}\"\n  state \"project/env/two\" {\n    to = [\"cold\"]\n  }\n"
	    "  state \"A0000000-0000-4000-8000-000000000001\" {\n    key = \"first\"\n  }\n  state \"three\" {\n    key = \"third\"\n  }\n}\n");
	agent_rig_world(&r, "dr", dr_);
	agent_rig_world(&r, "cold", cold);
	mem_attach(brainboard_of(plan_backend(engine_plan(r.engine), "bb"))->storages[0].b, storage);
	for (unsigned n = 1; n <= 3; n++)
		mem_world_put(storage, uuid(n), rig_state(1, n == 1 ? "L" : n == 2 ? "M" : "N", 2, "x"));
	provider_set_alias(plan_backend(engine_plan(r.engine), "bb"), uuid(2), "project/env/two"); /* as the API would */
	CHECK_STR(agent_rig_sync_counts(&r), "3 0 0 0");
	CHECK(mem_world_get(dr_, "first", &got) && mem_world_get(dr_, "third", &got) && mem_world_get(cold, uuid(2), &got));
	CHECK(!mem_world_get(dr_, uuid(2), &got));
	agent_rig_close(&r);
	mem_world_free(storage);
	mem_world_free(cold);
	mem_world_free(dr_);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "a day of 200 architectures", the_day }, { "into brainboard", into_brainboard },
	    { "into itself", into_itself }, { "no snapshots", no_snapshots }, { "overrides", overrides }, { NULL, NULL } });
}
