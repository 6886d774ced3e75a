/* SPDX-License-Identifier: MIT */
#include "scratch.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const scratch_names[] = { "a", "race", "sum", "locked" };

static const char *const scratch_checks[] = { "reach", "auth", "clock", "list", "create_only", "read", "list_after_write", "checksum",
	"if_match", "racing_writes", "delete_create", "lock" };

void
scratch_tell(void *arg, const struct probe_check *c)
{
	struct scratch *s = arg;

	for (unsigned i = 0; i < ARRAY_LEN(scratch_checks); i++)
		if (strcmp(scratch_checks[i], c->name) == 0)
			s->said |= 1u << i;
	s->seen(s->arg, c);
}

void
scratch_say_failed(struct scratch *s, const char *check)
{
	scratch_say(s, check, false, "%s", s->op.res.msg);
}

enum scratch_verdict
scratch_reached(struct scratch *s, const struct scratch_reach *r)
{
	const struct err *e = &r->e;

	s->op.res = *e;
	if (!r->answered && e->code != ERR_BUSY && e->code != ERR_CORRUPT) {
		scratch_say_failed(s, e->code == ERR_AUTH ? "auth" : "reach");
		return SCRATCH_END;
	}
	scratch_say(s, "reach", true, "%s", s->b->where);
	if (r->answered)
		scratch_say_clock(s, r->date_ms);
	if (e->code == ERR_AUTH && !r->denied) {
		scratch_say_failed(s, "auth");
		return SCRATCH_END;
	}
	if (e->code == ERR_OK || r->denied)
		scratch_say(s, "auth", true, "credentials from %s", r->source);
	scratch_say(s, "list", e->code == ERR_OK, "%s", e->code == ERR_OK ? r->call : e->msg);
	if (r->denied)
		return SCRATCH_OTHER;
	return e->code == ERR_OK ? SCRATCH_NEXT : SCRATCH_END;
}

/* ---------------------------------------------------------------- what it works with */

static void
scratch_name_all(struct scratch *s, const char *id, struct span dir)
{
	const struct provider_env *env = s->b->env;
	char                       hex[DIGEST_HEX];
	struct digest              label;

	sha256_of(s->b->label, strlen(s->b->label), &label);
	digest_hex(&label, hex)[8] = '\0';
	s->folder = xasprintf("%.*s" SCRATCH_FOLDER, (int)dir.n, (const char *)dir.p);
	s->own = xasprintf("%s%s.%s/", s->folder, env->agent_id != NULL ? env->agent_id : id, hex);
	for (size_t i = 0; i < SCRATCHES; i++) {
		bool        fixed = i >= SCRATCH_LOCKED && ((s->b->caps & PROVIDER_LOCK_UNLISTED) != 0 ||
		           s->plan->lock_suffix == NULL); /* found again by its name */
		const char *suffix = i == SCRATCH_LOCK ? s->plan->lock_suffix : "";

		if (suffix != NULL)
			s->names[i] = xasprintf("%s%s%s%s%s", s->own, fixed ? "" : id, fixed ? "" : "/",
			    scratch_names[i == SCRATCH_LOCK ? SCRATCH_LOCKED : i], suffix);
	}
}

void
scratch_init(struct scratch *s, const struct op_class *class, struct backend *b, const struct scratch_plan *plan, struct span dir,
    probe_fn *seen, void *arg)
{
	struct loop *l = b->env->loop;
	char         id[37], text[64];
	struct body *body;

	op_init(&s->op, class, l);
	s->b = b;
	s->plan = plan;
	s->seen = seen;
	s->arg = arg;
	rand_uuid(loop_rand(l), id);
	scratch_name_all(s, id, dir);
	for (size_t i = 0; i < ARRAY_LEN(s->bodies); i++) {
		snprintf(text, sizeof(text), "{\"probe\":\"%s\",\"writer\":%zu}", id, i);
		body = body_copy(span_str(text));
		snapshot_of(&s->bodies[i], body, NULL);
		body_unref(body);
	}
	for (size_t i = 0; i < ARRAY_LEN(s->locks); i++)
		lock_info_make(&s->locks[i], loop_rand(l), loop_wall(l), b->env->agent_id, b->env->agent_name, "probe", "");
}

void
scratch_free(struct scratch *s)
{
	free(s->folder);
	free(s->own);
	for (size_t i = 0; i < SCRATCHES; i++)
		free(s->names[i]);
	for (size_t i = 0; i < ARRAY_LEN(s->bodies); i++)
		snapshot_free(&s->bodies[i]);
	snapshot_free(&s->got);
}

void
scratch_say_clock(struct scratch *s, int64_t date_ms)
{
	int64_t off = date_ms - loop_wall(s->op.loop);
	char    text[TIME_TEXT_MAX];

	duration_format(off < 0 ? -off : off, text);
	if (date_ms == 0)
		scratch_say(s, "clock", true, "the server does not tell the time");
	else
		scratch_say(s, "clock", off < SCRATCH_SKEW_MS && off > -SCRATCH_SKEW_MS, "%s %s the server's", text,
		    off < 0 ? "ahead of" : "behind");
}

/* A probe of another agent may be at work. */
bool
scratch_is_leftover(const struct scratch *s, const char *name, int64_t modified, int64_t now)
{
	if (strncmp(name, s->own, strlen(s->own)) == 0)
		return true;
	return modified != 0 && now - modified >= SCRATCH_STALE_MS;
}

static struct state_ref
scratch_ref(const struct scratch *s, enum scratch_name i)
{
	return (struct state_ref){ s->names[i] };
}

static struct op *
scratch_put(struct scratch *s, enum scratch_name name, size_t body, enum put_if when, const char *etag, char ret_etag[ETAG_MAX])
{
	struct state_ref ref = scratch_ref(s, name);

	return s->b->provider->put(s->b, &ref, &s->bodies[body], &(struct put_condition){ .when = when, .etag = etag }, ret_etag);
}

static struct op *
scratch_get(struct scratch *s, enum scratch_name name)
{
	struct state_ref ref = scratch_ref(s, name);

	snapshot_free(&s->got);
	return s->b->provider->get(s->b, &ref, NULL, &s->got);
}

/* ---------------------------------------------------------------- create_only, read */

static struct op *
scratch_do_create(struct scratch *s)
{
	return scratch_put(s, SCRATCH_A, 0, PUT_ABSENT, NULL, s->etag);
}

static enum scratch_verdict
scratch_saw_create(struct scratch *s)
{
	if (!op_failed(&s->op))
		return SCRATCH_NEXT;
	scratch_say_failed(s, "create_only");
	if (s->op.res.code == ERR_UNSUPPORTED || s->op.res.code == ERR_CONFLICT) /* that is an answer, too */
		err_clear(&s->op.res);
	return SCRATCH_CLEAN;
}

static struct op *
scratch_do_create_again(struct scratch *s)
{
	return scratch_put(s, SCRATCH_A, 1, PUT_ABSENT, NULL, s->etags[0]);
}

/* A second write that must not be done: true when it was refused for that reason. */
static bool
scratch_was_refused(struct scratch *s, const char *check, const char *how)
{
	if (!op_failed(&s->op))
		scratch_say(s, check, false, "%s was accepted: the store ignores the precondition", how);
	else if (s->op.res.code != ERR_CONFLICT)
		scratch_say_failed(s, check);
	return s->op.res.code == ERR_CONFLICT;
}

static enum scratch_verdict
scratch_saw_create_again(struct scratch *s)
{
	if (scratch_was_refused(s, "create_only", "a second creation"))
		scratch_say(s, "create_only", true, "a second creation is refused");
	return SCRATCH_NEXT;
}

static struct op *
scratch_do_read(struct scratch *s)
{
	return scratch_get(s, SCRATCH_A);
}

static enum scratch_verdict
scratch_saw_read(struct scratch *s)
{
	bool same = !op_failed(&s->op) && digest_eq(&s->got.digest, &s->bodies[0].digest);

	scratch_say(s, "read", same, "%s", same ? "the bytes that were written" : op_failed(&s->op) ? s->op.res.msg :
	    "other bytes than were written");
	memcpy(s->etag, s->got.etag, ETAG_MAX);
	return SCRATCH_NEXT;
}

/* ---------------------------------------------------------------- if_match, racing_writes */

static struct op *
scratch_do_match_wrong(struct scratch *s)
{
	return scratch_put(s, SCRATCH_A, 1, PUT_MATCH, s->plan->wrong_etag, s->etags[0]);
}

static enum scratch_verdict
scratch_saw_match_wrong(struct scratch *s)
{
	return scratch_was_refused(s, "if_match", "a write on another version") ? SCRATCH_NEXT : SCRATCH_OTHER;
}

static struct op *
scratch_do_match(struct scratch *s)
{
	return scratch_put(s, SCRATCH_A, 1, PUT_MATCH, s->etag, s->etag);
}

static enum scratch_verdict
scratch_saw_match(struct scratch *s)
{
	scratch_say(s, "if_match", !op_failed(&s->op), "%s", op_failed(&s->op) ? s->op.res.msg :
	    "a write on another version is refused");
	return SCRATCH_NEXT;
}

/* What writer i of a race writes: bytes like no others, as change tags may be digests of them. */
static size_t
scratch_race_body(enum put_if when, size_t i)
{
	return 2 + i + (when == PUT_MATCH ? (size_t)SCRATCH_RACERS : 0);
}

/* Several writers at once, in separate requests; when: all create, or all replace the same version. */
static struct op *
scratch_race(struct scratch *s, enum put_if when)
{
	struct op *ops[SCRATCH_RACERS];

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		ops[i] = scratch_put(s, SCRATCH_RACE, scratch_race_body(when, i), when, s->etag, s->etags[i]);
	return op_all(s->op.loop, ops, ARRAY_LEN(ops), 0, s->outcomes);
}

static struct op *
scratch_do_race_create(struct scratch *s)
{
	return scratch_race(s, PUT_ABSENT);
}

static struct op *
scratch_do_race_replace(struct scratch *s)
{
	return scratch_race(s, PUT_MATCH);
}

static enum scratch_verdict
scratch_count(struct scratch *s, enum put_if when)
{
	s->winners = 0;
	for (size_t i = 0; i < SCRATCH_RACERS; i++)
		if (s->outcomes[i].code == ERR_OK) {
			s->winner = scratch_race_body(when, i);
			s->winners++;
		}
	return SCRATCH_NEXT;
}

static enum scratch_verdict
scratch_saw_race_create(struct scratch *s)
{
	return scratch_count(s, PUT_ABSENT);
}

static enum scratch_verdict
scratch_saw_race_replace(struct scratch *s)
{
	return scratch_count(s, PUT_MATCH);
}

static struct op *
scratch_do_race_read(struct scratch *s)
{
	return scratch_get(s, SCRATCH_RACE);
}

/* One winner, and its bytes are what is there. */
static bool
scratch_race_won(struct scratch *s, const char *what)
{
	if (s->winners != 1)
		scratch_say(s, "racing_writes", false, "%d of %d %s at once were accepted", s->winners, SCRATCH_RACERS, what);
	else if (op_failed(&s->op))
		scratch_say_failed(s, "racing_writes");
	else if (!digest_eq(&s->got.digest, &s->bodies[s->winner].digest))
		scratch_say(s, "racing_writes", false, "after %s at once the object is not the one whose write was accepted", what);
	else
		return true;
	return false;
}

static enum scratch_verdict
scratch_saw_created_race(struct scratch *s)
{
	memcpy(s->etag, s->got.etag, ETAG_MAX);
	return scratch_race_won(s, "creations") ? SCRATCH_NEXT : SCRATCH_OTHER;
}

static enum scratch_verdict
scratch_saw_replaced_race(struct scratch *s)
{
	if (scratch_race_won(s, "replacements"))
		scratch_say(s, "racing_writes", true, "1 of %d wins", SCRATCH_RACERS);
	return SCRATCH_NEXT;
}

/* ---------------------------------------------------------------- delete_create, lock */

static struct op *
scratch_do_delete(struct scratch *s)
{
	struct state_ref ref = scratch_ref(s, SCRATCH_A);

	return s->b->provider->del(s->b, &ref, NULL);
}

static enum scratch_verdict
scratch_saw_delete(struct scratch *s)
{
	if (!op_failed(&s->op))
		return SCRATCH_NEXT;
	scratch_say_failed(s, "delete_create");
	return SCRATCH_OTHER;
}

static enum scratch_verdict
scratch_saw_recreate(struct scratch *s)
{
	if (s->op.res.code == ERR_CONFLICT)
		scratch_say(s, "delete_create", false, "a deleted object cannot be created again: a delete marker counts as an object");
	else
		scratch_say(s, "delete_create", !op_failed(&s->op), "%s", op_failed(&s->op) ? s->op.res.msg : "a deleted object is absent");
	return SCRATCH_NEXT;
}

static struct op *
scratch_do_lock_left(struct scratch *s)
{
	struct state_ref ref = scratch_ref(s, SCRATCH_LOCKED);

	return s->b->provider->lock_peek(s->b, &ref, &s->holder);
}

/* Of an earlier probe of ours that was killed. */
static struct op *
scratch_do_lock_sweep(struct scratch *s)
{
	struct state_ref ref = scratch_ref(s, SCRATCH_LOCKED);

	return s->holder.id[0] != '\0' ? s->b->provider->unlock(s->b, &ref, &s->holder) : NULL;
}

static struct op *
scratch_do_lock(struct scratch *s)
{
	struct state_ref ref = scratch_ref(s, SCRATCH_LOCKED);

	s->locking = true;
	return s->b->provider->lock(s->b, &ref, &s->locks[0], &s->holder);
}

static enum scratch_verdict
scratch_saw_lock(struct scratch *s)
{
	if (!op_failed(&s->op))
		return SCRATCH_NEXT;
	scratch_say_failed(s, "lock");
	return SCRATCH_OTHER;
}

static struct op *
scratch_do_lock_again(struct scratch *s)
{
	struct state_ref ref = scratch_ref(s, SCRATCH_LOCKED);

	return s->b->provider->lock(s->b, &ref, &s->locks[1], &s->holder);
}

static enum scratch_verdict
scratch_saw_lock_again(struct scratch *s)
{
	if (s->op.res.code == ERR_LOCKED)
		return SCRATCH_NEXT;
	if (op_failed(&s->op))
		scratch_say(s, "lock", false, "a second lock was answered by an error");
	else
		scratch_tell(s, &(struct probe_check){ "lock", false, "a second lock was granted", true });
	return SCRATCH_OTHER;
}

static struct op *
scratch_do_unlock(struct scratch *s)
{
	struct state_ref ref = scratch_ref(s, SCRATCH_LOCKED);

	return s->b->provider->unlock(s->b, &ref, &s->locks[0]);
}

static struct op *
scratch_do_peek(struct scratch *s)
{
	struct state_ref ref = scratch_ref(s, SCRATCH_LOCKED);

	return s->b->provider->lock_peek(s->b, &ref, &s->holder);
}

static enum scratch_verdict
scratch_saw_peek(struct scratch *s)
{
	bool gone = s->op.res.code == ERR_NOT_FOUND;

	scratch_say(s, "lock", gone, "%s%s", gone ? "held by one, refused to another, released" :
	    "the lock is still there after its release",
	    gone && s->lock_remark != NULL ? s->lock_remark : "");
	return SCRATCH_NEXT;
}

/* ---------------------------------------------------------------- the steps */

const struct scratch_step scratch_create = { "create_only", scratch_do_create, scratch_saw_create };
const struct scratch_step scratch_create_again = { "create_only", scratch_do_create_again, scratch_saw_create_again };
const struct scratch_step scratch_read = { "read", scratch_do_read, scratch_saw_read };
const struct scratch_step scratch_match_wrong = { "if_match", scratch_do_match_wrong, scratch_saw_match_wrong };
const struct scratch_step scratch_match = { "if_match", scratch_do_match, scratch_saw_match };
const struct scratch_step scratch_race_create = { "racing_writes", scratch_do_race_create, scratch_saw_race_create };
const struct scratch_step scratch_race_created = { "racing_writes", scratch_do_race_read, scratch_saw_created_race };
const struct scratch_step scratch_race_replace = { "racing_writes", scratch_do_race_replace, scratch_saw_race_replace };
const struct scratch_step scratch_race_replaced = { "racing_writes", scratch_do_race_read, scratch_saw_replaced_race };
const struct scratch_step scratch_delete = { "delete_create", scratch_do_delete, scratch_saw_delete };
const struct scratch_step scratch_recreate = { "delete_create", scratch_do_create_again, scratch_saw_recreate };
const struct scratch_step scratch_lock_left = { "lock", scratch_do_lock_left, NULL };
const struct scratch_step scratch_lock_sweep = { "lock", scratch_do_lock_sweep, NULL };
const struct scratch_step scratch_lock = { "lock", scratch_do_lock, scratch_saw_lock };
const struct scratch_step scratch_lock_again = { "lock", scratch_do_lock_again, scratch_saw_lock_again };
const struct scratch_step scratch_unlock = { "lock", scratch_do_unlock, NULL };
const struct scratch_step scratch_unlocked = { "lock", scratch_do_peek, scratch_saw_peek };

/* An answer that did not come says nothing about the store: the probe ends there, and is no verdict. */
static bool
scratch_is_no_answer(enum err_code code)
{
	return code == ERR_NETWORK || code == ERR_TIMEOUT || code == ERR_BUSY || code == ERR_UNCERTAIN || code == ERR_CANCELLED;
}

/* A race has eight outcomes, of which op_all() hands on the first. */
static bool
scratch_step_unanswered(struct scratch *s)
{
	for (size_t i = 0; i < SCRATCH_RACERS; i++)
		if (scratch_is_no_answer(s->outcomes[i].code)) {
			s->op.res = s->outcomes[i];
			break;
		}
	return scratch_is_no_answer(s->op.res.code);
}

static enum scratch_verdict
scratch_step_judge(struct scratch *s)
{
	const struct scratch_step *step = s->plan->steps[s->step];

	if (step->judge == NULL)
		return s->op.res.code == ERR_CANCELLED ? SCRATCH_CLEAN : SCRATCH_NEXT;
	if (s->step == 0 || !scratch_step_unanswered(s))
		return step->judge(s);
	if (s->op.res.code != ERR_CANCELLED)
		scratch_say_failed(s, step->check);
	return SCRATCH_CLEAN;
}

/* The step after this one, as the verdict says; nsteps: none. */
static size_t
scratch_step_after(const struct scratch_plan *p, size_t step, enum scratch_verdict v)
{
	const char *check = p->steps[step]->check;

	if (v == SCRATCH_CLEAN)
		return p->nsteps;
	do
		step++;
	while (v == SCRATCH_OTHER && step < p->nsteps && strcmp(p->steps[step]->check, check) == 0);
	return step;
}

/* ---------------------------------------------------------------- the operation */

enum scratch_state { STEP, STEPPED, CLEAN, UNLOCKED, CLEANED };

const char *const scratch_states[SCRATCH_STATES] = { "step", "stepped", "clean", "unlocked", "cleaned" };

static enum op_turn
scratch_end(struct scratch *s)
{
	for (unsigned i = 0; i < ARRAY_LEN(scratch_checks); i++)
		if ((s->said & 1u << i) == 0)
			scratch_say(s, scratch_checks[i], false, "not tried");
	return op_finish(&s->op);
}

/* A lock that is no object of its own keeps its object from being deleted. */
static struct op *
scratch_let_go(struct scratch *s)
{
	struct state_ref ref = scratch_ref(s, SCRATCH_LOCKED);
	struct op       *ops[ARRAY_LEN(s->locks)];

	if (s->plan->lock_suffix != NULL || !s->locking)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		ops[i] = s->b->provider->unlock(s->b, &ref, &s->locks[i]);
	return op_all(s->op.loop, ops, ARRAY_LEN(ops), 1, NULL);
}

static struct op *
scratch_clean(struct scratch *s)
{
	struct op *ops[SCRATCHES];
	size_t     n = 0;

	for (size_t i = 0; i < SCRATCHES; i++)
		if (s->names[i] != NULL)
			ops[n++] = s->b->provider->del(s->b, &(struct state_ref){ s->names[i] }, NULL);
	return op_all(s->op.loop, ops, n, 0, s->outcomes);
}

static void
scratch_cleaned(struct scratch *s)
{
	struct err *e = &s->op.err;

	for (size_t i = 0; i < SCRATCHES && e->code == ERR_OK; i++) {
		if (s->outcomes[i].code == ERR_OK || s->outcomes[i].code == ERR_NOT_FOUND)
			continue;
		*e = s->outcomes[i];
		err_prefix(e, "the probe left objects below %.80s", s->own);
	}
	err_clear(&s->op.res);
}

static enum op_turn
scratch_stepped(struct scratch *s)
{
	struct op           *op = &s->op;
	enum scratch_verdict v = scratch_step_judge(s);

	if (v == SCRATCH_END)
		return scratch_end(s);
	s->step = scratch_step_after(s->plan, s->step, v);
	if (v == SCRATCH_CLEAN && op_failed(op))
		return op_unwind(op, CLEAN);
	err_clear(&op->res);
	return op_go(op, s->step < s->plan->nsteps ? STEP : CLEAN);
}

enum op_turn
scratch_run(struct op *op)
{
	struct scratch *s = container_of(op, struct scratch, op);

	switch ((enum scratch_state)op->state) {
	case STEP:
		memset(s->outcomes, 0, sizeof(s->outcomes));
		return op_await(op, STEPPED, s->plan->steps[s->step]->act(s));
	case STEPPED:
		return scratch_stepped(s);
	case CLEAN:
		op_shield(op);
		return op_await(op, UNLOCKED, scratch_let_go(s));
	case UNLOCKED: /* a lock that stays is told by the deletion */
		err_clear(&op->res);
		return op_await(op, CLEANED, scratch_clean(s));
	case CLEANED:
		scratch_cleaned(s);
		return scratch_end(s);
	}
	return OP_DONE;
}
