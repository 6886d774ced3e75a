/* SPDX-License-Identifier: MIT */
#include "provider_rig.h"

#include <stdlib.h>

#include "base/log.h"
#include "test.h"

#define RIG_WALL  ((int64_t)1795000000000)
#define RIG_TURNS 2000000

static enum err_code
rig_open_block(struct provider_rig *r, const char *block, struct err *reterr)
{
	struct conf_block *root;

	if (conf_parse("test.hcl", "/", span_str(block), false, NULL, &r->conf, reterr) != ERR_OK)
		return reterr->code;
	root = conf_root(r->conf);
	CHECK_U64(root->nblocks, 1);
	return provider_open(&r->env, r->conf, &root->blocks[0], &r->b, reterr);
}

static void
rig_begin(struct provider_rig *r, bool real)
{
	memset(r, 0, sizeof(*r));
	CHECK_OK(crypto_init(&r->err), r->err);
	r->loop = real ? loop_new(&r->err) : loop_new_virtual(1, RIG_WALL);
	log_setup(LOG_ERROR, false, loop_clock(r->loop));
	r->work = work_new(r->loop);
	r->http = real ? NULL : scripted_http_new(r->loop);
	r->env = (struct provider_env){ .loop = r->loop, .work = r->work, .agent_name = "rig",
		.http = real ? NULL : scripted_http_client(r->http) };
}

static void
rig_end(struct provider_rig *r)
{
	conf_free(r->conf);
	if (r->http != NULL)
		scripted_http_free(r->http);
	work_free(r->work);
	loop_free(r->loop);
	memset(r, 0, sizeof(*r));
}

void
provider_rig_open(struct provider_rig *r, bool real, const char *block)
{
	rig_begin(r, real);
	CHECK_OK(rig_open_block(r, block, &r->err), r->err);
}

const char *
provider_rig_refuses(const char *block)
{
	static char         text[ERR_TEXT_MAX];
	struct err          e;
	struct provider_rig r;
	enum err_code       rc;

	rig_begin(&r, false);
	rc = rig_open_block(&r, block, &e);
	if (rc == ERR_OK)
		provider_close(r.b);
	rig_end(&r);
	return rc == ERR_OK ? NULL : err_text(&e, text);
}

void
provider_rig_close(struct provider_rig *r)
{
	provider_close(r->b);
	rig_end(r);
}

static void
rig_done(struct op *op, void *arg)
{
	(void)op;
	*(bool *)arg = true;
}

enum err_code
provider_rig_run_cancelled(struct provider_rig *r, struct op *op, unsigned cancel_after)
{
	bool     done = false;
	unsigned turns = 0;

	op_start(op, rig_done, &done);
	while (!done) {
		if (cancel_after != 0 && turns == cancel_after)
			op_cancel(op);
		CHECK(loop_turn(r->loop, !loop_is_virtual(r->loop)));
		CHECK(++turns < RIG_TURNS);
	}
	r->err = op->err;
	op_free(op);
	return r->err.code;
}

enum err_code
provider_rig_run(struct provider_rig *r, struct op *op)
{
	return provider_rig_run_cancelled(r, op, 0);
}

enum err_code
provider_rig_put(struct provider_rig *r, const struct state_ref *ref, struct span bytes, const struct put_condition *when,
    char ret_etag[ETAG_MAX])
{
	struct body    *body = body_copy(bytes);
	struct snapshot s;
	enum err_code   rc;

	CHECK(snapshot_of(&s, body, NULL) == ERR_OK);
	rc = provider_rig_run(r, provider_put(r->b, ref, &s, when, ret_etag));
	snapshot_free(&s);
	body_unref(body);
	return rc;
}
