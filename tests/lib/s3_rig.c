/* SPDX-License-Identifier: MIT */
#include "s3_rig.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "test.h"

#define RIG_WALL ((int64_t)1795305600000) /* 2026-11-22 */

static const char *
rig_env(void *arg, const char *name)
{
	struct s3_rig *r = arg;

	return map_get(r->vars, span_str(name));
}

static enum err_code
rig_file(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	struct s3_rig *r = arg;
	const char    *text = map_get(r->files, span_str(path));

	if (text == NULL)
		return err_set(reterr, ERR_CONFIG, ENOENT, "%s: there is no such file", path);
	buf_puts(ret, text);
	return ERR_OK;
}

void
s3_rig_var(struct s3_rig *r, const char *name, const char *value)
{
	map_put(r->vars, span_str(name), (void *)(uintptr_t)value);
}

void
s3_rig_file(struct s3_rig *r, const char *path, const char *text)
{
	map_put(r->files, span_str(path), (void *)(uintptr_t)text);
}

void
s3_rig_init(struct s3_rig *r)
{
	struct err e;

	memset(r, 0, sizeof(*r));
	if (crypto_init(&e) != ERR_OK)
		abort();
	r->loop = loop_new_virtual(7, RIG_WALL);
	r->work = work_new(r->loop);
	r->fake = fake_s3_new(r->loop);
	r->vars = map_new();
	r->files = map_new();
	s3_rig_var(r, "HOME", "/home/u");
	r->source = (struct conf_source){ .env = rig_env, .file = rig_file, .arg = r };
	r->env = (struct provider_env){ .loop = r->loop, .work = r->work, .http = scripted_http_client(r->fake->http), .source = &r->source,
		.agent_name = "edge-7" };
}

enum err_code
s3_rig_try(struct s3_rig *r, const char *args)
{
	static const char defaults[] = "  bucket = \"acme\"\n  region = \"us-east-1\"\n  endpoints = { s3 = \"http://" FAKE_S3_HOST "\" }\n"
	    "  use_path_style = true\n  access_key = \"" FAKE_S3_ACCESS "\"\n  secret_key = \"" FAKE_S3_SECRET "\"\n";
	bool  bare = strncmp(args, "bare", 4) == 0;
	char *text;

	if (r->loop == NULL)
		s3_rig_init(r);
	text = xasprintf("backend \"s3\" \"dr\" {\n%s%s\n}\n", bare ? "" : defaults, bare ? args + 4 : args);
	if (conf_parse("t.hcl", "/etc/sf", span_str(text), false, &r->source, &r->conf, &r->err) == ERR_OK &&
	    provider_open(&r->env, r->conf, &conf_root(r->conf)->blocks[0], &r->b, &r->err) == ERR_OK)
		err_clear(&r->err);
	free(text);
	return r->err.code;
}

void
s3_rig_open(struct s3_rig *r, const char *args)
{
	if (s3_rig_try(r, args) != ERR_OK) {
		fprintf(stderr, "%s\n", r->err.msg);
		abort();
	}
}

void
s3_rig_close(struct s3_rig *r)
{
	provider_close(r->b);
	while (loop_turn(r->loop, false))
		continue;
	conf_free(r->conf);
	map_free(r->vars);
	map_free(r->files);
	fake_s3_free(r->fake);
	work_free(r->work);
	loop_free(r->loop);
	memset(r, 0, sizeof(*r));
}

struct rig_wait {
	struct s3_rig *r;
	bool           done;
};

static void
rig_done(struct op *op, void *arg)
{
	struct rig_wait *w = arg;

	w->r->err = op->err;
	w->done = true;
	op_free(op);
}

static bool
rig_is_done(void *arg)
{
	return ((struct rig_wait *)arg)->done;
}

enum err_code
s3_rig_run_for(struct s3_rig *r, struct op *op, int64_t ms)
{
	struct rig_wait w = { .r = r };

	op_start(op, rig_done, &w);
	if (!loop_run_until(r->loop, rig_is_done, &w, ms))
		op_cancel(op);
	loop_run_until(r->loop, rig_is_done, &w, (int64_t)3600 * 1000);
	assert(w.done);
	return r->err.code;
}

enum err_code
s3_rig_run(struct s3_rig *r, struct op *op)
{
	return s3_rig_run_for(r, op, (int64_t)3600 * 1000);
}

enum err_code
s3_rig_get(struct s3_rig *r, const char *name, struct snapshot *ret)
{
	return s3_rig_run(r, provider_get(r->b, &(struct state_ref){ name }, NULL, ret));
}

enum err_code
s3_rig_put(struct s3_rig *r, const char *name, const char *text, enum put_if when, const char *etag, char ret[ETAG_MAX])
{
	struct body    *body = body_copy(span_str(text));
	struct snapshot s;
	enum err_code   rc;

	snapshot_of(&s, body, NULL);
	body_unref(body);
	rc = s3_rig_run(r, provider_put(r->b, &(struct state_ref){ name }, &s, &(struct put_condition){ .when = when, .etag = etag }, ret));
	snapshot_free(&s);
	return rc;
}

void
s3_rig_race(struct s3_rig *r, const char *name, uint64_t seed, unsigned whole, unsigned (*parts)(struct s3_rig *r, const char *id),
    struct s3_race *sum)
{
	const struct state_ref ref = { name };
	struct lock_info       locks[2], holders[2];
	struct err             outcomes[2];
	struct op             *ops[2];
	unsigned               winners = 0, doubts = 0;

	scripted_chaos(r->fake->http, 250, ~(1u << SCRIPTED_LATE), seed);
	scripted_latency(r->fake->http, 1, 200, seed);
	for (int i = 0; i < 2; i++) {
		provider_lock_new(r->b, &ref, "", &locks[i]);
		ops[i] = provider_lock(r->b, &ref, &locks[i], &holders[i]);
	}
	s3_rig_run(r, op_all(r->loop, ops, 2, 0, outcomes));
	for (int i = 0; i < 2; i++) {
		unsigned there = parts(r, locks[i].id);

		winners += outcomes[i].code == ERR_OK;
		doubts += outcomes[i].code == ERR_UNCERTAIN;
		if (outcomes[i].code == ERR_OK && there != whole)
			test_fail(__FILE__, __LINE__, "seed %llu: held, but in %u of %u places", (unsigned long long)seed, there, whole);
		if (outcomes[i].code != ERR_OK && outcomes[i].code != ERR_UNCERTAIN && there != 0)
			test_fail(__FILE__, __LINE__, "seed %llu: %s, but it is there", (unsigned long long)seed, outcomes[i].msg);
	}
	CHECK(winners <= 1);
	scripted_chaos(r->fake->http, 0, 0, seed);
	for (int i = 0; i < 2; i++) {
		CHECK_OK(s3_rig_run(r, provider_unlock(r->b, &ref, &locks[i])), r->err);
		CHECK_U64(parts(r, locks[i].id), 0);
	}
	sum->unknown += doubts > 0;
	sum->held += winners;
	s3_rig_close(r);
}
