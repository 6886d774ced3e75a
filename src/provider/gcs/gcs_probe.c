/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "gcs.h"
#include "provider/scratch.h"

/* The probe: gcs_steps is its plan, read it from top to bottom. What is not about Cloud Storage is in scratch.c. */
#define GCS_WRONG_GENERATION "1"
#define GCS_PROBE_KEYS       "1000" /* as many leftovers are deleted, at most, */
#define GCS_LEFTOVERS        1000

struct gcs_probing {
	struct scratch      scratch;
	struct gcs         *g;
	struct send_request req;
	struct send_answer  ans;
	int64_t             date;
	char               *left[GCS_LEFTOVERS];
	size_t              nleft, next;
	char               *listed, etag[ETAG_MAX]; /* the first one */
};

static struct gcs_probing *
gcs_probing_of(struct scratch *s)
{
	return container_of(s, struct gcs_probing, scratch);
}

/* ---------------------------------------------------------------- the way there, and what was left behind */

static void
gcs_saw_any(void *arg, const struct state_seen *s)
{
	(void)arg;
	(void)s;
}

static struct op *
gcs_do_reach(struct scratch *s)
{
	struct gcs_probing *p = gcs_probing_of(s);

	return gcs_list_page(p->g, "", "1", &p->date, gcs_saw_any, p);
}

static enum scratch_verdict
gcs_saw_reach(struct scratch *s)
{
	struct gcs_probing *p = gcs_probing_of(s);
	const struct err   *e = &s->op.res;
	bool                answered = p->date != GCS_NO_ANSWER;

	return scratch_reached(s, &(struct scratch_reach){ .e = *e, .answered = answered, .date_ms = p->date,
	    .denied = answered && e->code == ERR_AUTH && e->detail == 403, .source = gcs_cred_source(p->g->cred), .call = "objects.list" });
}

static void
gcs_saw_leftover(void *arg, const struct state_seen *o)
{
	struct gcs_probing *p = arg;
	int64_t             now = p->date > 0 ? p->date : loop_wall(p->scratch.op.loop);

	if (p->nleft < GCS_LEFTOVERS && scratch_is_leftover(&p->scratch, o->name, o->modified, now))
		p->left[p->nleft++] = xstrdup(o->name);
}

static struct op *
gcs_do_leftovers(struct scratch *s)
{
	struct gcs_probing *p = gcs_probing_of(s);

	return gcs_list_page(p->g, s->folder, GCS_PROBE_KEYS, &p->date, gcs_saw_leftover, p);
}

static struct op *
gcs_next_leftover(void *arg)
{
	struct gcs_probing *p = arg;

	return p->next == p->nleft ? NULL : gcs_del(&p->g->b, &(struct state_ref){ p->left[p->next++] }, NULL);
}

static struct op *
gcs_do_sweep(struct scratch *s)
{
	return op_each_of(s->op.loop, gcs_next_leftover, NULL, gcs_probing_of(s), SCRATCH_DELETES);
}

/* ---------------------------------------------------------------- listing after a write, sums, deletions */

static void
gcs_saw_written(void *arg, const struct state_seen *o)
{
	struct gcs_probing *p = arg;

	if (p->listed != NULL)
		return;
	p->listed = xstrdup(o->name);
	snprintf(p->etag, sizeof(p->etag), "%s", o->etag);
}

static struct op *
gcs_do_list_written(struct scratch *s)
{
	struct gcs_probing *p = gcs_probing_of(s);

	return gcs_list_page(p->g, s->names[SCRATCH_A], "10", &p->date, gcs_saw_written, p);
}

static enum scratch_verdict
gcs_saw_listed(struct scratch *s)
{
	struct gcs_probing *p = gcs_probing_of(s);
	const char         *why = NULL;

	if (op_failed(&s->op))
		why = s->op.res.msg;
	else if (p->listed == NULL)
		why = "an object is not listed after it was written";
	else if (strcmp(p->listed, s->names[SCRATCH_A]) != 0 || strcmp(p->etag, s->etag) != 0)
		why = "an object is listed with another name or generation than it was written with";
	scratch_say(s, "list_after_write", why == NULL, "%s", why == NULL ? "listed at once" : why);
	return SCRATCH_NEXT;
}

/* The bytes of one body with the sum of another. */
static struct op *
gcs_do_wrong_sum(struct scratch *s)
{
	struct gcs_probing *p = gcs_probing_of(s);
	struct span         other = body_span(s->bodies[1].body);
	char               *object = gcs_object_of(p->g, s->names[SCRATCH_SUM]), *sum = gcs_sum_text(crc32c_add(0, other.p, other.n));

	gcs_to_upload(p->g, &p->req, object, "application/json", s->bodies[0].body);
	send_header(&p->req, "x-goog-hash", "%s", sum);
	free(sum);
	free(object);
	return gcs_send(p->g, &p->req, &p->ans);
}

static enum scratch_verdict
gcs_saw_sum(struct scratch *s)
{
	struct gcs_probing *p = gcs_probing_of(s);

	if (op_failed(&s->op))
		scratch_say_failed(s, "checksum");
	else if (p->ans.http.status / 100 == 2)
		scratch_say(s, "checksum", false, "an object with a wrong x-goog-hash was accepted");
	else
		scratch_say(s, "checksum", true, "a wrong one is refused (%d%s%s)", p->ans.http.status, SEND_CODE(&p->ans));
	return SCRATCH_NEXT;
}

/* Unlocking does not rely on that precondition, so this is no verdict: it is told with the lock. */
static struct op *
gcs_do_delete_wrong(struct scratch *s)
{
	struct gcs_probing *p = gcs_probing_of(s);
	char               *object = gcs_object_of(p->g, s->names[SCRATCH_RACE]);

	gcs_to_object(p->g, &p->req, "DELETE", object);
	send_query(&p->req, "ifGenerationMatch", GCS_WRONG_GENERATION);
	free(object);
	return gcs_send(p->g, &p->req, &p->ans);
}

static enum scratch_verdict
gcs_saw_delete_wrong(struct scratch *s)
{
	if (!op_failed(&s->op) && gcs_probing_of(s)->ans.http.status / 100 == 2)
		s->lock_remark = "; DELETE ignores ifGenerationMatch here, so only the comparison of ids just before it protects another's lock";
	return SCRATCH_NEXT;
}

/* ---------------------------------------------------------------- the plan */

static const struct scratch_step gcs_step_reach = { "reach", gcs_do_reach, gcs_saw_reach };
static const struct scratch_step gcs_step_leftovers = { "reach", gcs_do_leftovers, NULL };
static const struct scratch_step gcs_step_sweep = { "reach", gcs_do_sweep, NULL };
static const struct scratch_step gcs_step_listed = { "list_after_write", gcs_do_list_written, gcs_saw_listed };
static const struct scratch_step gcs_step_sum = { "checksum", gcs_do_wrong_sum, gcs_saw_sum };
static const struct scratch_step gcs_step_delete_wrong = { "delete_create", gcs_do_delete_wrong, gcs_saw_delete_wrong };

static const struct scratch_step *const gcs_steps[] = { &gcs_step_reach, &gcs_step_leftovers, &gcs_step_sweep, &scratch_create,
	&scratch_create_again, &scratch_read, &gcs_step_listed, &gcs_step_sum, &scratch_match_wrong, &scratch_match, &scratch_race_create,
	&scratch_race_created, &scratch_race_replace, &scratch_race_replaced, &gcs_step_delete_wrong, &scratch_delete, &scratch_recreate,
	&scratch_lock_left, &scratch_lock_sweep, &scratch_lock, &scratch_lock_again, &scratch_unlock, &scratch_unlocked };

static const struct scratch_plan gcs_plan = { gcs_steps, ARRAY_LEN(gcs_steps), GCS_WRONG_GENERATION, GCS_LOCK };

static void
gcs_probe_free(struct op *op)
{
	struct gcs_probing *p = container_of(op, struct gcs_probing, scratch.op);

	scratch_free(&p->scratch);
	send_request_free(&p->req);
	send_answer_free(&p->ans);
	for (size_t i = 0; i < p->nleft; i++)
		free(p->left[i]);
	free(p->listed);
	free(p);
}

static const struct op_class gcs_probe_class = { "gcs probe", scratch_run, NULL, gcs_probe_free, scratch_states, SCRATCH_STATES };

struct op *
gcs_probe(struct backend *b, probe_fn *seen, void *arg)
{
	struct gcs_probing *p = xcalloc(1, sizeof(*p));

	p->g = gcs_of(b);
	scratch_init(&p->scratch, &gcs_probe_class, b, &gcs_plan, span_of(NULL, 0), seen, arg);
	return &p->scratch.op;
}
