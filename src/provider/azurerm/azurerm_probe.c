/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "azurerm.h"
#include "provider/scratch.h"

/* The probe: azurerm_steps is its plan, read it from top to bottom. What is not about Azure is in scratch.c. */
#define AZURERM_WRONG_TAG  "AAAAAAAAAAAAAAAAAAAAAA=="  /* an MD5 */
#define AZURERM_LEFTOVERS  1000

struct azurerm_probing {
	struct scratch        scratch;
	struct azurerm       *z;
	struct azurerm_pages *pages;
	struct send_request   req;
	struct send_answer    ans;
};

static struct azurerm_probing *
azurerm_probing_of(struct scratch *s)
{
	return container_of(s, struct azurerm_probing, scratch);
}

/* name: NULL for all. */
static struct op *
azurerm_probe_list(struct azurerm_probing *p, const char *name, unsigned max)
{
	char *prefix = azurerm_blob_of(p->z, name != NULL ? name : "");

	azurerm_pages_free(p->pages);
	p->pages = azurerm_pages_new(p->z, prefix, max);
	free(prefix);
	return azurerm_pages_read(p->pages);
}

static struct op *
azurerm_do_reach(struct scratch *s)
{
	return azurerm_probe_list(azurerm_probing_of(s), NULL, 1);
}

static enum scratch_verdict
azurerm_saw_reach(struct scratch *s)
{
	struct azurerm_probing *p = azurerm_probing_of(s);
	struct scratch_reach    r = { .e = s->op.res, .answered = !op_failed(&s->op), .source = azurerm_cred_source(p->z->cred),
		.call = "List Blobs" };

	if (r.answered) {
		azurerm_pages_check(p->pages, &r.e);
		r.denied = azurerm_answer_is(azurerm_pages_answer(p->pages), 403, "AuthorizationPermissionMismatch");
		r.date_ms = azurerm_pages_answer(p->pages)->http.date_ms;
	}
	return scratch_reached(s, &r);
}

static struct op *
azurerm_do_leftovers(struct scratch *s)
{
	return azurerm_probe_list(azurerm_probing_of(s), s->folder, AZURERM_LEFTOVERS);
}

static struct op *
azurerm_next_leftover(void *arg)
{
	struct azurerm_probing *p = arg;
	size_t                  n = strlen(p->z->b.common.prefix);
	struct azurerm_entry    e;
	int64_t                 now = azurerm_pages_answer(p->pages)->http.date_ms;

	while (azurerm_pages_next(p->pages, &e))
		if (!e.leased && strlen(e.blob) > n && scratch_is_leftover(&p->scratch, e.blob + n, e.modified, now))
			return azurerm_del(&p->z->b, &(struct state_ref){ e.blob + n }, NULL);
	return NULL;
}

static struct op *
azurerm_do_sweep(struct scratch *s)
{
	struct azurerm_probing *p = azurerm_probing_of(s);
	struct err              e;

	if (op_failed(&s->op) || azurerm_pages_check(p->pages, &e) != ERR_OK)
		return NULL;
	return op_each_of(s->op.loop, azurerm_next_leftover, NULL, p, SCRATCH_DELETES);
}

static struct op *
azurerm_do_list_written(struct scratch *s)
{
	return azurerm_probe_list(azurerm_probing_of(s), s->names[SCRATCH_A], 10);
}

static enum scratch_verdict
azurerm_saw_listed(struct scratch *s)
{
	struct azurerm_probing *p = azurerm_probing_of(s);
	struct azurerm_entry    e = { .blob = "" };
	struct err              why = s->op.res;
	char                   *blob = azurerm_blob_of(p->z, s->names[SCRATCH_A]);

	if (why.code == ERR_OK && azurerm_pages_check(p->pages, &why) == ERR_OK && !azurerm_pages_next(p->pages, &e))
		err_set(&why, ERR_CORRUPT, 0, "a blob is not listed after it was written");
	else if (why.code == ERR_OK && (strcmp(e.blob, blob) != 0 || strcmp(e.tag, s->etag) != 0))
		err_set(&why, ERR_CORRUPT, 0, "a blob is listed with another name or MD5 than it was written with");
	scratch_say(s, "list_after_write", why.code == ERR_OK, "%s", why.code == ERR_OK ? "listed at once" : why.msg);
	free(blob);
	return SCRATCH_NEXT;
}

static struct op *
azurerm_do_wrong_sum(struct scratch *s)
{
	struct azurerm_probing *p = azurerm_probing_of(s);
	char                   *blob = azurerm_blob_of(p->z, s->names[SCRATCH_SUM]);

	azurerm_to_blob(p->z, &p->req, "PUT", blob, NULL);
	p->req.body = body_ref(s->bodies[0].body);
	send_header(&p->req, "x-ms-blob-type", "BlockBlob");
	send_header(&p->req, "content-md5", "%s", AZURERM_WRONG_TAG);
	free(blob);
	return azurerm_send(p->z, &p->req, &p->ans);
}

static enum scratch_verdict
azurerm_saw_sum(struct scratch *s)
{
	const struct send_answer *a = &azurerm_probing_of(s)->ans;

	if (op_failed(&s->op))
		scratch_say_failed(s, "checksum");
	else if (a->http.status / 100 == 2)
		scratch_say(s, "checksum", false, "a blob with a wrong Content-MD5 was accepted");
	else
		scratch_say(s, "checksum", true, "a wrong one is refused (%d%s%s)", a->http.status, SEND_CODE(a));
	return SCRATCH_NEXT;
}

/* ---------------------------------------------------------------- the plan */

static const struct scratch_step azurerm_step_reach = { "reach", azurerm_do_reach, azurerm_saw_reach };
static const struct scratch_step azurerm_step_leftovers = { "reach", azurerm_do_leftovers, NULL };
static const struct scratch_step azurerm_step_sweep = { "reach", azurerm_do_sweep, NULL };
static const struct scratch_step azurerm_step_listed = { "list_after_write", azurerm_do_list_written, azurerm_saw_listed };
static const struct scratch_step azurerm_step_sum = { "checksum", azurerm_do_wrong_sum, azurerm_saw_sum };

static const struct scratch_step *const azurerm_steps[] = { &azurerm_step_reach, &azurerm_step_leftovers, &azurerm_step_sweep,
	&scratch_create, &scratch_create_again, &scratch_read, &azurerm_step_listed, &azurerm_step_sum, &scratch_match_wrong,
	&scratch_match, &scratch_race_create, &scratch_race_created, &scratch_race_replace, &scratch_race_replaced, &scratch_delete,
	&scratch_recreate, &scratch_lock_left, &scratch_lock_sweep, &scratch_lock, &scratch_lock_again, &scratch_unlock, &scratch_unlocked };

static const struct scratch_plan azurerm_plan = { azurerm_steps, ARRAY_LEN(azurerm_steps), AZURERM_WRONG_TAG, NULL };

static void
azurerm_probe_free(struct op *op)
{
	struct azurerm_probing *p = container_of(op, struct azurerm_probing, scratch.op);

	scratch_free(&p->scratch);
	azurerm_pages_free(p->pages);
	send_request_free(&p->req);
	send_answer_free(&p->ans);
	free(p);
}

static const struct op_class azurerm_probe_class = { "azurerm probe", scratch_run, NULL, azurerm_probe_free, scratch_states,
	SCRATCH_STATES };

struct op *
azurerm_probe(struct backend *b, probe_fn *seen, void *arg)
{
	struct azurerm_probing *p = xcalloc(1, sizeof(*p));
	const char             *slash;

	p->z = azurerm_of(b);
	slash = p->z->key != NULL ? strrchr(p->z->key, '/') : NULL;
	scratch_init(&p->scratch, &azurerm_probe_class, b, &azurerm_plan,
	    span_of(p->z->key, slash != NULL ? (size_t)(slash - p->z->key) + 1 : 0), seen, arg);
	return &p->scratch.op;
}
