/* SPDX-License-Identifier: MIT */
#include "agent_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run_op.h"
#include "test.h"

static char *
rig_write_conf(const char *store, const char *text)
{
	static unsigned n;
	char           *path = xasprintf("%s/agent-%u.hcl", test_tmpdir(), n++);
	FILE           *f = fopen(path, "w");

	fprintf(f, "agent {\n  store = \"%s\"\n}\n%s", store, text);
	fclose(f);
	chmod(path, 0600);
	return path;
}

static enum err_code
rig_plan(struct provider_env *env, const char *store, const char *text, struct plan **ret, struct err *reterr)
{
	char         *path = rig_write_conf(store, text);
	enum err_code rc = plan_read(path, NULL, ret, reterr);

	if (rc == ERR_OK && (rc = plan_open(*ret, env, reterr)) != ERR_OK)
		plan_free(*ret);
	free(path);
	return rc;
}

static void
rig_open(struct agent_rig *r, const char *dir, const char *text)
{
	static unsigned   n;
	struct store_conf sc = { .inline_commit = true, .free_min = 1, .map_size = (uint64_t)64 << 20, .machine_id = "rig" };
	struct plan      *plan;

	crypto_init(&r->err);
	r->dir = dir != NULL ? xstrdup(dir) : xasprintf("%s/store-%u", test_tmpdir(), n++);
	r->work = work_new(r->loop);
	sc.dir = r->dir;
	CHECK_OK(store_open(r->loop, r->work, &sc, &r->store, &r->err), r->err);
	r->env = (struct provider_env){ .loop = r->loop, .work = r->work, .http = r->http, .agent_name = "rig",
		.agent_id = store_agent_id(r->store) };
	CHECK_OK(rig_plan(&r->env, r->dir, text, &plan, &r->err), r->err);
	r->engine = engine_new(&(struct engine_conf){ r->loop, r->work, r->store, plan });
}

void
agent_rig_open(struct agent_rig *r, uint64_t seed, const char *dir, const char *text)
{
	struct http_client *http = r->http;

	memset(r, 0, sizeof(*r));
	r->http = http;
	r->loop = loop_new_virtual(seed, RIG_WALL);
	r->own_loop = true;
	log_setup(getenv("RIG_LOG") != NULL ? LOG_DEBUG : LOG_ERROR, false, loop_clock(r->loop));
	rig_open(r, dir, text);
}

void
agent_rig_join(struct agent_rig *r, struct loop *loop, const char *dir, const char *text)
{
	struct http_client *http = r->http;

	memset(r, 0, sizeof(*r));
	r->http = http;
	r->loop = loop;
	rig_open(r, dir, text);
}

const char *
agent_rig_plan_error(const char *text)
{
	static struct err   e;
	struct agent_rig    r = { .loop = loop_new_virtual(1, RIG_WALL) };
	struct plan        *plan;
	enum err_code       rc;

	r.work = work_new(r.loop);
	r.env = (struct provider_env){ .loop = r.loop, .work = r.work, .agent_name = "rig" };
	rc = rig_plan(&r.env, "/nowhere", text, &plan, &e);
	if (rc == ERR_OK)
		plan_free(plan);
	work_free(r.work);
	loop_free(r.loop);
	return rc == ERR_OK ? NULL : e.msg;
}

struct plan *
agent_rig_plan(struct agent_rig *r, const char *text)
{
	struct plan *plan = NULL;

	CHECK_OK(rig_plan(&r->env, r->dir, text, &plan, &r->err), r->err);
	return plan;
}

static bool
rig_is_idle(void *arg)
{
	struct agent_rig *r = arg;

	return engine_idle(r->engine) && op_count(r->loop) == 0;
}

void
agent_rig_close(struct agent_rig *r)
{
	engine_stop(r->engine);
	CHECK(loop_run_until(r->loop, rig_is_idle, r, 600000));
	engine_free(r->engine);
	store_close(r->store);
	work_free(r->work);
	if (r->own_loop)
		loop_free(r->loop);
	free(r->dir);
	memset(r, 0, sizeof(*r));
}

enum err_code
agent_rig_run(struct agent_rig *r, struct op *op, int64_t ms)
{
	r->err = run_op(r->loop, op, ms);
	return r->err.code;
}

void
agent_rig_wait(struct agent_rig *r, int64_t ms)
{
	agent_rig_run(r, op_sleep(r->loop, ms), ms + 1000);
}

void
agent_rig_sync(struct agent_rig *r, struct pass_result *ret)
{
	CHECK_OK(agent_rig_run(r, engine_pass(r->engine, &(struct pass_options){ .nedges = 0 }, ret), 3600000), r->err);
}

const char *
agent_rig_counts(const struct pass_result *p)
{
	static char               text[80];
	const struct edge_result *e = &p->edges[0];

	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, e->written, e->unchanged, e->held, e->failed);
	return text;
}

const char *
agent_rig_sync_counts(struct agent_rig *r)
{
	struct pass_result p;
	const char        *text;

	agent_rig_sync(r, &p);
	text = agent_rig_counts(&p);
	for (size_t i = 0; getenv("RIG_LOG") != NULL && i < p.nproblems; i++)
		fprintf(stderr, "problem %s %s: %s (%s)\n", p.problems[i].edge, p.problems[i].state, p.problems[i].message,
		    p.problems[i].hint);
	pass_result_free(&p);
	return text;
}

struct mem_world *
agent_rig_world(struct agent_rig *r, const char *label, struct mem_world *w)
{
	mem_attach(plan_backend(engine_plan(r->engine), label), w);
	return w;
}

void
agent_rig_pair(struct agent_rig *r, const char *text, struct mem_world **ret_a, struct mem_world **ret_b)
{
	*ret_a = mem_world_new();
	*ret_b = mem_world_new();
	agent_rig_open(r, 1, NULL, text);
	agent_rig_world(r, "a", *ret_a);
	agent_rig_world(r, "b", *ret_b);
}

void
agent_rig_pair_end(struct agent_rig *r, struct mem_world *a, struct mem_world *b)
{
	agent_rig_close(r);
	CHECK_U64(mem_world_locks(a) + mem_world_locks(b), 0);
	mem_world_free(a);
	mem_world_free(b);
}

void
agent_rig_pair_equal(struct mem_world *a, struct mem_world *b, const char *name)
{
	struct span x, y;

	CHECK(mem_world_get(a, name, &x));
	CHECK(mem_world_get(b, name, &y));
	CHECK(span_eq(x, y));
}

struct span
rig_state(uint64_t serial, const char *lineage, unsigned n, const char *tweak)
{
	static char     text[16][16384];
	static unsigned turn;
	char           *out = text[turn++ % 16];
	size_t          at, size = sizeof(text[0]);

	at = (size_t)snprintf(out, size, "{\n  \"version\": 4,\n  \"terraform_version\": \"1.11.4\",\n  \"serial\": %" PRIu64
	    ",\n  \"lineage\": \"%s\",\n  \"outputs\": {},\n  \"resources\": [", serial, lineage);
	for (unsigned i = 0; i < n; i++)
		at += (size_t)snprintf(out + at, size - at, "%s\n    {\"mode\": \"managed\", \"type\": \"terraform_data\", \"name\": \"r%u\", "
		    "\"provider\": \"provider[\\\"terraform.io/builtin/terraform\\\"]\", \"instances\": [{\"schema_version\": 0, "
		    "\"attributes\": {\"id\": \"%u\", \"input\": \"%s\"}}]}", i > 0 ? "," : "", i, i, i == 0 ? tweak : "");
	snprintf(out + at, size - at, "\n  ],\n  \"check_results\": null\n}\n");
	return span_str(out);
}
