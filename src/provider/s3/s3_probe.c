/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/encode.h"
#include "provider/scratch.h"
#include "s3.h"

/* The probe: s3_steps is its plan, read it from top to bottom. What is not about S3 is in scratch.c. */
#define S3_WRONG_ETAG "00000000000000000000000000000000"

struct s3_probing {
	struct scratch      scratch;
	struct s3          *s;
	struct s3_pages    *pages;
	struct send_request req;
	struct send_answer  ans;
};

static struct s3_probing *
s3_probing_of(struct scratch *s)
{
	return container_of(s, struct s3_probing, scratch);
}

/* prefix: a whole key. */
static struct op *
s3_probe_list(struct s3_probing *p, const char *prefix, unsigned max_keys)
{
	s3_pages_free(p->pages);
	p->pages = s3_pages_new(p->s, prefix, max_keys);
	return s3_pages_read(p->pages);
}

static struct op *
s3_probe_list_name(struct s3_probing *p, const char *name, unsigned max_keys)
{
	char      *key = s3_key_of(p->s, name);
	struct op *op = s3_probe_list(p, key, max_keys);

	free(key);
	return op;
}

static struct op *
s3_do_reach(struct scratch *s)
{
	struct s3_probing *p = s3_probing_of(s);

	return s3_probe_list(p, p->s->b.common.prefix, 1);
}

static enum scratch_verdict
s3_saw_reach(struct scratch *s)
{
	struct s3_probing        *p = s3_probing_of(s);
	const struct send_answer *a = s3_pages_answer(p->pages);
	struct scratch_reach      r = { .e = s->op.res, .answered = !op_failed(&s->op), .source = s3_cred_source(p->s->cred),
		.call = "ListObjectsV2" };

	if (r.answered) {
		s3_pages_check(p->pages, &r.e);
		r.denied = strcmp(a->code, "AccessDenied") == 0;
		r.date_ms = a->http.date_ms;
	}
	return scratch_reached(s, &r);
}

static struct op *
s3_do_leftovers(struct scratch *s)
{
	struct s3_probing *p = s3_probing_of(s);

	return s3_probe_list_name(p, p->scratch.folder, 1000);
}

static struct op *
s3_next_leftover(void *arg)
{
	struct s3_probing *p = arg;
	struct s3_entry    e;
	size_t             prefix = strlen(p->s->b.common.prefix);

	while (s3_pages_next(p->pages, &e))
		if (!e.broken && strlen(e.key) > prefix && scratch_is_leftover(&p->scratch, e.key + prefix, e.modified, s3_now(p->s)))
			return s3_del(&p->s->b, &(struct state_ref){ e.key + prefix }, NULL);
	return NULL;
}

static struct op *
s3_do_sweep(struct scratch *s)
{
	struct s3_probing *p = s3_probing_of(s);
	struct err e;

	if (op_failed(&p->scratch.op) || s3_pages_check(p->pages, &e) != ERR_OK)
		return NULL;
	return op_each_of(p->scratch.op.loop, s3_next_leftover, NULL, p, SCRATCH_DELETES);
}

static struct op *
s3_do_list_written(struct scratch *s)
{
	struct s3_probing *p = s3_probing_of(s);

	return s3_probe_list_name(p, p->scratch.names[SCRATCH_A], 10);
}

static enum scratch_verdict
s3_saw_listed(struct scratch *s)
{
	struct s3_probing *p = s3_probing_of(s);
	struct s3_entry e = { .key = "" };
	struct err      why = p->scratch.op.res;
	char           *key = s3_key_of(p->s, p->scratch.names[SCRATCH_A]);

	if (why.code == ERR_OK && s3_pages_check(p->pages, &why) == ERR_OK && !s3_pages_next(p->pages, &e))
		err_set(&why, ERR_CORRUPT, 0, "an object is not listed after it was written");
	else if (why.code == ERR_OK && (strcmp(e.key, key) != 0 || strcmp(e.etag, p->scratch.etag) != 0))
		err_set(&why, ERR_CORRUPT, 0, "an object is listed with another name or change tag than it was written with");
	scratch_say(s, "list_after_write", why.code == ERR_OK, "%s", why.code == ERR_OK ? "listed at once" : why.msg);
	free(key);
	return SCRATCH_NEXT;
}

/* The bytes of one body with the checksum of another, signed as it is. */
static struct op *
s3_do_wrong_sum(struct scratch *s)
{
	struct s3_probing *p = s3_probing_of(s);
	struct buf sum;

	send_request_free(&p->req);
	p->req.object = s3_key_of(p->s, p->scratch.names[SCRATCH_SUM]);
	s3_request_write(p->s, &p->req, "application/json", p->scratch.bodies[0].body, &p->scratch.bodies[0].digest);
	for (size_t i = 0; i < p->req.nheaders; i++)
		if (strcmp(p->req.headers[i].name, "x-amz-checksum-sha256") == 0)
			free(p->req.headers[i].value), p->req.headers[i] = p->req.headers[--p->req.nheaders];
	buf_init(&sum, 0);
	base64_encode(span_of(p->scratch.bodies[1].digest.b, DIGEST_LEN), &sum);
	send_header(&p->req, "x-amz-checksum-sha256", "%s", buf_str(&sum));
	buf_free(&sum);
	return s3_send(p->s, &p->req, &p->ans);
}

static enum scratch_verdict
s3_saw_sum(struct scratch *s)
{
	struct s3_probing *p = s3_probing_of(s);

	if (op_failed(&p->scratch.op))
		scratch_say_failed(s, "checksum");
	else if (p->ans.http.status / 100 == 2)
		scratch_say(s, "checksum", false, "an object with a wrong x-amz-checksum-sha256 was accepted");
	else
		scratch_say(s, "checksum", true, "a wrong one is refused (%d %s)", p->ans.http.status, p->ans.code);
	return SCRATCH_NEXT;
}

/* Unlocking does not rely on that precondition, so this is no verdict: it is told with the lock. */
static struct op *
s3_do_delete_wrong(struct scratch *s)
{
	struct s3_probing *p = s3_probing_of(s);

	send_request_free(&p->req);
	p->req.method = "DELETE";
	p->req.object = s3_key_of(p->s, p->scratch.names[SCRATCH_RACE]);
	p->req.changing = true;
	send_header(&p->req, "if-match", "\"%s\"", S3_WRONG_ETAG);
	return s3_send(p->s, &p->req, &p->ans);
}

static enum scratch_verdict
s3_saw_delete_wrong(struct scratch *s)
{
	struct s3_probing *p = s3_probing_of(s);

	if (!op_failed(&p->scratch.op) && p->ans.http.status / 100 == 2 && p->s->conf->use_lockfile)
		s->lock_remark = "; DELETE ignores If-Match here, so only the comparison of ids just before it protects another's lock";
	return SCRATCH_NEXT;
}

/* ---------------------------------------------------------------- the plan */

static const struct scratch_step s3_step_reach = { "reach", s3_do_reach, s3_saw_reach };
static const struct scratch_step s3_step_leftovers = { "reach", s3_do_leftovers, NULL };
static const struct scratch_step s3_step_sweep = { "reach", s3_do_sweep, NULL };
static const struct scratch_step s3_step_listed = { "list_after_write", s3_do_list_written, s3_saw_listed };
static const struct scratch_step s3_step_sum = { "checksum", s3_do_wrong_sum, s3_saw_sum };
static const struct scratch_step s3_step_delete_wrong = { "delete_create", s3_do_delete_wrong, s3_saw_delete_wrong };

static const struct scratch_step *const s3_steps[] = { &s3_step_reach, &s3_step_leftovers, &s3_step_sweep, &scratch_create,
	&scratch_create_again, &scratch_read, &s3_step_listed, &s3_step_sum, &scratch_match_wrong, &scratch_match, &scratch_race_create,
	&scratch_race_created, &scratch_race_replace, &scratch_race_replaced, &s3_step_delete_wrong, &scratch_delete, &scratch_recreate,
	&scratch_lock_left, &scratch_lock_sweep, &scratch_lock, &scratch_lock_again, &scratch_unlock, &scratch_unlocked };

static const struct scratch_plan s3_plan = { s3_steps, ARRAY_LEN(s3_steps), S3_WRONG_ETAG, S3_LOCK_SUFFIX };

static void
s3_probe_free(struct op *op)
{
	struct s3_probing *p = container_of(op, struct s3_probing, scratch.op);

	scratch_free(&p->scratch);
	s3_pages_free(p->pages);
	send_request_free(&p->req);
	send_answer_free(&p->ans);
	free(p);
}

static const struct op_class s3_probe_class = { "s3 probe", scratch_run, NULL, s3_probe_free, scratch_states, SCRATCH_STATES };

struct op *
s3_probe(struct backend *b, probe_fn *seen, void *arg)
{
	struct s3_probing *p = xcalloc(1, sizeof(*p));
	const char        *key, *slash;

	p->s = s3_of(b);
	key = p->s->conf->key;
	slash = key != NULL ? strrchr(key, '/') : NULL;
	scratch_init(&p->scratch, &s3_probe_class, b, &s3_plan, span_of(key, slash != NULL ? (size_t)(slash - key) + 1 : 0), seen, arg);
	return &p->scratch.op;
}
