/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "s3.h"

/*
 * What the store really does, shown by requests on objects of our own below .stateferry/probe/, where no state is looked
 * for. s3_steps is the plan: read it from top to bottom. The objects are deleted at the end, whatever happens; what a probe left that
 * was killed in the middle is deleted by the next one: of this agent at once, as it makes one at a time, of another when it is old.
 */
#define S3_PROBE_FOLDER   ".stateferry/probe/"
#define S3_PROBE_RACERS   8
#define S3_PROBE_SKEW_MS  ((int64_t)5 * 60 * 1000)
#define S3_PROBE_STALE_MS ((int64_t)15 * 60 * 1000) /* no probe takes that long: older objects are nobody's */
#define S3_PROBE_DELETES  8                          /* at once */

enum s3_scratch { SCRATCH_A, SCRATCH_RACE, SCRATCH_SUM, SCRATCH_LOCKED, SCRATCH_LOCK, SCRATCHES };

static const char *const s3_scratch[] = { "a", "race", "sum", "locked", "locked.tflock" };

/* After a step: the next one; the next one of another check; no more; no more, and nothing was written that has to be deleted. */
enum s3_verdict { STEP_NEXT, STEP_OTHER, STEP_CLEAN, STEP_END };

struct s3_probing {
	struct op         op;
	struct s3        *s;
	probe_fn         *seen;
	void             *arg;
	size_t            step;        /* in s3_steps */
	unsigned          said;        /* bits of checks, as in s3_checks */
	char             *folder, *own; /* of all probes, and of those of this agent, as names */
	char             *names[SCRATCHES];
	struct s3_pages  *pages;
	struct s3_request req;
	struct s3_answer  ans;
	struct snapshot   bodies[2 + 2 * S3_PROBE_RACERS], got; /* of ours; of each writer in the two races */
	char              etag[ETAG_MAX], etags[S3_PROBE_RACERS][ETAG_MAX];
	struct err        outcomes[S3_PROBE_RACERS]; /* of a race, or of cleaning */
	size_t            winner;      /* whose body */
	int               winners;
	bool              careless;    /* DELETE ignores If-Match */
	struct lock_info  locks[2], holder;
};

static const char *const s3_checks[] = { "reach", "auth", "clock", "list", "create_only", "read", "list_after_write", "checksum",
	"if_match", "racing_writes", "delete_create", "lock" };

static void
s3_tell(struct s3_probing *p, const struct probe_check *c)
{
	for (unsigned i = 0; i < ARRAY_LEN(s3_checks); i++)
		if (strcmp(s3_checks[i], c->name) == 0)
			p->said |= 1u << i;
	p->seen(p->arg, c);
}

static void __attribute__((format(printf, 4, 5)))
s3_say(struct s3_probing *p, const char *name, bool ok, const char *fmt, ...)
{
	char    detail[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	s3_tell(p, &(struct probe_check){ name, ok, detail, false });
}

static void
s3_say_failed(struct s3_probing *p, const char *name)
{
	s3_say(p, name, false, "%s", p->op.res.msg);
}

/* ---------------------------------------------------------------- what it works with */

static struct state_ref
s3_scratch_ref(const struct s3_probing *p, enum s3_scratch i)
{
	return (struct state_ref){ p->names[i] };
}

static void
s3_probe_prepare(struct s3_probing *p)
{
	const char   *key = p->s->conf->key, *slash = key != NULL ? strrchr(key, '/') : NULL, *agent = p->s->env->agent_id;
	char          id[37], text[64], hex[DIGEST_HEX];
	struct digest label;
	struct body  *body;

	rand_uuid(loop_rand(p->op.loop), id);
	sha256_of(p->s->b.label, strlen(p->s->b.label), &label);
	digest_hex(&label, hex)[8] = '\0';
	p->folder = xasprintf("%.*s" S3_PROBE_FOLDER, slash != NULL ? (int)(slash - key) + 1 : 0, key != NULL ? key : "");
	p->own = xasprintf("%s%s.%s/", p->folder, agent != NULL ? agent : id, hex);
	for (size_t i = 0; i < SCRATCHES; i++) {
		bool fixed = i >= SCRATCH_LOCKED && s3_has_table(p->s); /* no listing shows a lock row: it is found again by its name */

		p->names[i] = xasprintf("%s%s%s%s", p->own, fixed ? "" : id, fixed ? "" : "/", s3_scratch[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(p->bodies); i++) {
		snprintf(text, sizeof(text), "{\"probe\":\"%s\",\"writer\":%zu}", id, i);
		body = body_copy(span_str(text));
		snapshot_of(&p->bodies[i], body, NULL);
		body_unref(body);
	}
	for (size_t i = 0; i < ARRAY_LEN(p->locks); i++)
		lock_info_make(&p->locks[i], loop_rand(p->op.loop), loop_wall(p->op.loop), p->s->env->agent_name, "probe", "");
}

static struct op *
s3_probe_put(struct s3_probing *p, enum s3_scratch name, size_t body, enum put_if when, const char *etag, char ret_etag[ETAG_MAX])
{
	struct state_ref ref = s3_scratch_ref(p, name);

	return s3_put(&p->s->b, &ref, &p->bodies[body], &(struct put_condition){ .when = when, .etag = etag }, ret_etag);
}

static struct op *
s3_probe_get(struct s3_probing *p, enum s3_scratch name)
{
	struct state_ref ref = s3_scratch_ref(p, name);

	snapshot_free(&p->got);
	return s3_get(&p->s->b, &ref, NULL, &p->got);
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

/* ---------------------------------------------------------------- reach, auth, clock, list */

static struct op *
s3_do_reach(struct s3_probing *p)
{
	return s3_probe_list(p, p->s->b.common.prefix, 1);
}

static void
s3_say_clock(struct s3_probing *p)
{
	int64_t date = s3_pages_answer(p->pages)->http.date_ms, off = date - loop_wall(p->op.loop);
	char    text[TIME_TEXT_MAX];

	duration_format(off < 0 ? -off : off, text);
	if (date == 0)
		s3_say(p, "clock", true, "the server does not tell the time");
	else
		s3_say(p, "clock", off < S3_PROBE_SKEW_MS && off > -S3_PROBE_SKEW_MS, "%s %s the server's", text,
		    off < 0 ? "ahead of" : "behind");
}

/* Who may not list may write all the same. */
static enum s3_verdict
s3_saw_reach(struct s3_probing *p)
{
	struct op *op = &p->op;
	bool       answered = !op_failed(op), denied;
	struct err e = op->res;

	if (!answered && op->res.code != ERR_BUSY && op->res.code != ERR_CORRUPT) {
		s3_say_failed(p, op->res.code == ERR_AUTH ? "auth" : "reach");
		return STEP_END;
	}
	if (answered)
		s3_pages_check(p->pages, &e);
	denied = answered && strcmp(s3_pages_answer(p->pages)->code, "AccessDenied") == 0;
	s3_say(p, "reach", true, "%s", p->s->b.where);
	if (answered)
		s3_say_clock(p);
	op->res = e;
	if (e.code == ERR_AUTH && !denied) {
		s3_say_failed(p, "auth");
		return STEP_END;
	}
	if (e.code == ERR_OK || denied)
		s3_say(p, "auth", true, "credentials from %s", s3_cred_source(p->s->cred));
	s3_say(p, "list", e.code == ERR_OK, "%s", e.code == ERR_OK ? "ListObjectsV2" : e.msg);
	if (denied)
		return STEP_OTHER;
	return e.code == ERR_OK ? STEP_NEXT : STEP_END;
}

/* ---------------------------------------------------------------- what earlier probes left */

static struct op *
s3_do_leftovers(struct s3_probing *p)
{
	return s3_probe_list_name(p, p->folder, 1000);
}

/* A probe of another agent may be at work; old is by the server's own clock. */
static bool
s3_is_leftover(const struct s3_probing *p, const struct s3_entry *e, const char *name)
{
	if (strncmp(name, p->own, strlen(p->own)) == 0)
		return true;
	return e->modified != 0 && s3_now(p->s) - e->modified >= S3_PROBE_STALE_MS;
}

static struct op *
s3_next_leftover(void *arg)
{
	struct s3_probing *p = arg;
	struct s3_entry    e;
	size_t             prefix = strlen(p->s->b.common.prefix);

	while (s3_pages_next(p->pages, &e))
		if (!e.broken && strlen(e.key) > prefix && s3_is_leftover(p, &e, e.key + prefix))
			return s3_del(&p->s->b, &(struct state_ref){ e.key + prefix }, NULL);
	return NULL;
}

static struct op *
s3_do_sweep(struct s3_probing *p)
{
	struct err e;

	if (op_failed(&p->op) || s3_pages_check(p->pages, &e) != ERR_OK)
		return NULL;
	return op_each_of(p->op.loop, s3_next_leftover, NULL, p, S3_PROBE_DELETES);
}

/* ---------------------------------------------------------------- create_only, read, list_after_write, checksum */

static struct op *
s3_do_create(struct s3_probing *p)
{
	return s3_probe_put(p, SCRATCH_A, 0, PUT_ABSENT, NULL, p->etag);
}

static enum s3_verdict
s3_saw_create(struct s3_probing *p)
{
	if (!op_failed(&p->op))
		return STEP_NEXT;
	s3_say_failed(p, "create_only");
	if (p->op.res.code == ERR_UNSUPPORTED || p->op.res.code == ERR_CONFLICT) /* that is an answer, too */
		err_clear(&p->op.res);
	return STEP_CLEAN;
}

static struct op *
s3_do_create_again(struct s3_probing *p)
{
	return s3_probe_put(p, SCRATCH_A, 1, PUT_ABSENT, NULL, p->etags[0]);
}

/* A second write that must not be done: true when it was refused for that reason. */
static bool
s3_was_refused(struct s3_probing *p, const char *check, const char *how)
{
	if (!op_failed(&p->op))
		s3_say(p, check, false, "%s was accepted: the store ignores the precondition", how);
	else if (p->op.res.code != ERR_CONFLICT)
		s3_say_failed(p, check);
	return p->op.res.code == ERR_CONFLICT;
}

static enum s3_verdict
s3_saw_create_again(struct s3_probing *p)
{
	if (s3_was_refused(p, "create_only", "a second creation"))
		s3_say(p, "create_only", true, "a second creation is refused");
	return STEP_NEXT;
}

static struct op *
s3_do_read(struct s3_probing *p)
{
	return s3_probe_get(p, SCRATCH_A);
}

static enum s3_verdict
s3_saw_read(struct s3_probing *p)
{
	bool same = !op_failed(&p->op) && digest_eq(&p->got.digest, &p->bodies[0].digest);

	s3_say(p, "read", same, "%s", same ? "the bytes that were written" : op_failed(&p->op) ? p->op.res.msg :
	    "other bytes than were written");
	memcpy(p->etag, p->got.etag, ETAG_MAX);
	return STEP_NEXT;
}

static struct op *
s3_do_list_written(struct s3_probing *p)
{
	return s3_probe_list_name(p, p->names[SCRATCH_A], 10);
}

static enum s3_verdict
s3_saw_listed(struct s3_probing *p)
{
	struct s3_entry e = { .key = "" };
	struct err      why = p->op.res;
	char           *key = s3_key_of(p->s, p->names[SCRATCH_A]);

	if (why.code == ERR_OK && s3_pages_check(p->pages, &why) == ERR_OK && !s3_pages_next(p->pages, &e))
		err_set(&why, ERR_CORRUPT, 0, "an object is not listed after it was written");
	else if (why.code == ERR_OK && (strcmp(e.key, key) != 0 || strcmp(e.etag, p->etag) != 0))
		err_set(&why, ERR_CORRUPT, 0, "an object is listed with another name or change tag than it was written with");
	s3_say(p, "list_after_write", why.code == ERR_OK, "%s", why.code == ERR_OK ? "listed at once" : why.msg);
	free(key);
	return STEP_NEXT;
}

/* The bytes of one body with the checksum of another, signed as it is. */
static struct op *
s3_do_wrong_sum(struct s3_probing *p)
{
	struct buf sum;

	s3_request_free(&p->req);
	p->req.key = s3_key_of(p->s, p->names[SCRATCH_SUM]);
	s3_request_write(p->s, &p->req, "application/json", p->bodies[0].body, &p->bodies[0].digest);
	for (size_t i = 0; i < p->req.nheaders; i++)
		if (strcmp(p->req.headers[i].name, "x-amz-checksum-sha256") == 0)
			free(p->req.headers[i].value), p->req.headers[i] = p->req.headers[--p->req.nheaders];
	buf_init(&sum, 0);
	base64_encode(span_of(p->bodies[1].digest.b, DIGEST_LEN), &sum);
	s3_request_header(&p->req, "x-amz-checksum-sha256", "%s", buf_str(&sum));
	buf_free(&sum);
	return s3_send(p->s, &p->req, &p->ans);
}

static enum s3_verdict
s3_saw_sum(struct s3_probing *p)
{
	if (op_failed(&p->op))
		s3_say_failed(p, "checksum");
	else if (p->ans.http.status / 100 == 2)
		s3_say(p, "checksum", false, "an object with a wrong x-amz-checksum-sha256 was accepted");
	else
		s3_say(p, "checksum", true, "a wrong one is refused (%d %s)", p->ans.http.status, p->ans.code);
	return STEP_NEXT;
}

/* ---------------------------------------------------------------- if_match, racing_writes */

static struct op *
s3_do_match_wrong(struct s3_probing *p)
{
	return s3_probe_put(p, SCRATCH_A, 1, PUT_MATCH, "00000000000000000000000000000000", p->etags[0]);
}

static enum s3_verdict
s3_saw_match_wrong(struct s3_probing *p)
{
	return s3_was_refused(p, "if_match", "a write on another version") ? STEP_NEXT : STEP_OTHER;
}

static struct op *
s3_do_match(struct s3_probing *p)
{
	return s3_probe_put(p, SCRATCH_A, 1, PUT_MATCH, p->etag, p->etag);
}

static enum s3_verdict
s3_saw_match(struct s3_probing *p)
{
	s3_say(p, "if_match", !op_failed(&p->op), "%s", op_failed(&p->op) ? p->op.res.msg :
	    "a write on another version is refused");
	return STEP_NEXT;
}

/* What writer i of a race writes: bytes like no others, as change tags may be digests of them. */
static size_t
s3_race_body(enum put_if when, size_t i)
{
	return 2 + i + (when == PUT_MATCH ? (size_t)S3_PROBE_RACERS : 0);
}

/* Several writers at once, in separate requests; when: all create, or all replace the same version. */
static struct op *
s3_race(struct s3_probing *p, enum put_if when)
{
	struct op *ops[S3_PROBE_RACERS];

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		ops[i] = s3_probe_put(p, SCRATCH_RACE, s3_race_body(when, i), when, p->etag, p->etags[i]);
	return op_all(p->op.loop, ops, ARRAY_LEN(ops), 0, p->outcomes);
}

static struct op *
s3_do_race_create(struct s3_probing *p)
{
	return s3_race(p, PUT_ABSENT);
}

static struct op *
s3_do_race_replace(struct s3_probing *p)
{
	return s3_race(p, PUT_MATCH);
}

static enum s3_verdict
s3_count(struct s3_probing *p, enum put_if when)
{
	p->winners = 0;
	for (size_t i = 0; i < S3_PROBE_RACERS; i++)
		if (p->outcomes[i].code == ERR_OK) {
			p->winner = s3_race_body(when, i);
			p->winners++;
		}
	return STEP_NEXT;
}

static enum s3_verdict
s3_saw_race_create(struct s3_probing *p)
{
	return s3_count(p, PUT_ABSENT);
}

static enum s3_verdict
s3_saw_race_replace(struct s3_probing *p)
{
	return s3_count(p, PUT_MATCH);
}

static struct op *
s3_do_race_read(struct s3_probing *p)
{
	return s3_probe_get(p, SCRATCH_RACE);
}

/* One winner, and its bytes are what is there. */
static bool
s3_race_won(struct s3_probing *p, const char *what)
{
	if (p->winners != 1)
		s3_say(p, "racing_writes", false, "%d of %d %s at once were accepted", p->winners, S3_PROBE_RACERS, what);
	else if (op_failed(&p->op))
		s3_say_failed(p, "racing_writes");
	else if (!digest_eq(&p->got.digest, &p->bodies[p->winner].digest))
		s3_say(p, "racing_writes", false, "after %s at once the object is not the one whose write was accepted", what);
	else
		return true;
	return false;
}

static enum s3_verdict
s3_saw_created_race(struct s3_probing *p)
{
	memcpy(p->etag, p->got.etag, ETAG_MAX);
	return s3_race_won(p, "creations") ? STEP_NEXT : STEP_OTHER;
}

static enum s3_verdict
s3_saw_replaced_race(struct s3_probing *p)
{
	if (s3_race_won(p, "replacements"))
		s3_say(p, "racing_writes", true, "1 of %d wins", S3_PROBE_RACERS);
	return STEP_NEXT;
}

/* ---------------------------------------------------------------- delete_create, lock */

/* Unlocking does not rely on that precondition, so this is no verdict: it is told with the lock. */
static struct op *
s3_do_delete_wrong(struct s3_probing *p)
{
	s3_request_free(&p->req);
	p->req.method = "DELETE";
	p->req.key = s3_key_of(p->s, p->names[SCRATCH_RACE]);
	p->req.changing = true;
	s3_request_header(&p->req, "if-match", "\"00000000000000000000000000000000\"");
	return s3_send(p->s, &p->req, &p->ans);
}

static enum s3_verdict
s3_saw_delete_wrong(struct s3_probing *p)
{
	p->careless = !op_failed(&p->op) && p->ans.http.status / 100 == 2;
	return STEP_NEXT;
}

static struct op *
s3_do_delete(struct s3_probing *p)
{
	struct state_ref ref = s3_scratch_ref(p, SCRATCH_A);

	return s3_del(&p->s->b, &ref, NULL);
}

static enum s3_verdict
s3_saw_delete(struct s3_probing *p)
{
	if (!op_failed(&p->op))
		return STEP_NEXT;
	s3_say_failed(p, "delete_create");
	return STEP_OTHER;
}

static enum s3_verdict
s3_saw_recreate(struct s3_probing *p)
{
	if (p->op.res.code == ERR_CONFLICT)
		s3_say(p, "delete_create", false, "a deleted object cannot be created again: a delete marker counts as an object");
	else
		s3_say(p, "delete_create", !op_failed(&p->op), "%s", op_failed(&p->op) ? p->op.res.msg : "a deleted object is absent");
	return STEP_NEXT;
}

static struct op *
s3_do_lock_left(struct s3_probing *p)
{
	struct state_ref ref = s3_scratch_ref(p, SCRATCH_LOCKED);

	return s3_lock_peek(&p->s->b, &ref, &p->holder);
}

/* Of an earlier probe of ours that was killed. */
static struct op *
s3_do_lock_sweep(struct s3_probing *p)
{
	struct state_ref ref = s3_scratch_ref(p, SCRATCH_LOCKED);

	return p->holder.id[0] != '\0' ? s3_unlock(&p->s->b, &ref, &p->holder) : NULL;
}

static struct op *
s3_do_lock(struct s3_probing *p)
{
	struct state_ref ref = s3_scratch_ref(p, SCRATCH_LOCKED);

	return s3_lock(&p->s->b, &ref, &p->locks[0], &p->holder);
}

static enum s3_verdict
s3_saw_lock(struct s3_probing *p)
{
	if (!op_failed(&p->op))
		return STEP_NEXT;
	s3_say_failed(p, "lock");
	return STEP_OTHER;
}

static struct op *
s3_do_lock_again(struct s3_probing *p)
{
	struct state_ref ref = s3_scratch_ref(p, SCRATCH_LOCKED);

	return s3_lock(&p->s->b, &ref, &p->locks[1], &p->holder);
}

static enum s3_verdict
s3_saw_lock_again(struct s3_probing *p)
{
	if (p->op.res.code == ERR_LOCKED)
		return STEP_NEXT;
	if (op_failed(&p->op))
		s3_say(p, "lock", false, "a second lock was answered by an error");
	else
		s3_tell(p, &(struct probe_check){ "lock", false, "a second lock was granted", true });
	return STEP_OTHER;
}

static struct op *
s3_do_unlock(struct s3_probing *p)
{
	struct state_ref ref = s3_scratch_ref(p, SCRATCH_LOCKED);

	return s3_unlock(&p->s->b, &ref, &p->locks[0]);
}

static struct op *
s3_do_peek(struct s3_probing *p)
{
	struct state_ref ref = s3_scratch_ref(p, SCRATCH_LOCKED);

	return s3_lock_peek(&p->s->b, &ref, &p->holder);
}

static enum s3_verdict
s3_saw_peek(struct s3_probing *p)
{
	bool gone = p->op.res.code == ERR_NOT_FOUND;

	s3_say(p, "lock", gone, "%s%s", gone ? "held by one, refused to another, released" :
	    "the lock is still there after its release", gone && p->careless && p->s->conf->use_lockfile ?
	    "; DELETE ignores If-Match here, so only the comparison of ids just before it protects another's lock" : "");
	return STEP_NEXT;
}

/* ---------------------------------------------------------------- the plan */

struct s3_step {
	const char      *check;
	struct op       *(*act)(struct s3_probing *p);   /* NULL: nothing to do */
	enum s3_verdict (*judge)(struct s3_probing *p);  /* its outcome is op.res; NULL: it goes on, whatever that is */
};

static const struct s3_step s3_steps[] = {
	{ "reach", s3_do_reach, s3_saw_reach },
	{ "reach", s3_do_leftovers, NULL },
	{ "reach", s3_do_sweep, NULL },
	{ "create_only", s3_do_create, s3_saw_create },
	{ "create_only", s3_do_create_again, s3_saw_create_again },
	{ "read", s3_do_read, s3_saw_read },
	{ "list_after_write", s3_do_list_written, s3_saw_listed },
	{ "checksum", s3_do_wrong_sum, s3_saw_sum },
	{ "if_match", s3_do_match_wrong, s3_saw_match_wrong },
	{ "if_match", s3_do_match, s3_saw_match },
	{ "racing_writes", s3_do_race_create, s3_saw_race_create },
	{ "racing_writes", s3_do_race_read, s3_saw_created_race },
	{ "racing_writes", s3_do_race_replace, s3_saw_race_replace },
	{ "racing_writes", s3_do_race_read, s3_saw_replaced_race },
	{ "delete_create", s3_do_delete_wrong, s3_saw_delete_wrong },
	{ "delete_create", s3_do_delete, s3_saw_delete },
	{ "delete_create", s3_do_create_again, s3_saw_recreate },
	{ "lock", s3_do_lock_left, NULL },
	{ "lock", s3_do_lock_sweep, NULL },
	{ "lock", s3_do_lock, s3_saw_lock },
	{ "lock", s3_do_lock_again, s3_saw_lock_again },
	{ "lock", s3_do_unlock, NULL },
	{ "lock", s3_do_peek, s3_saw_peek },
};

/* An answer that did not come says nothing about the store: the probe ends there, and is no verdict. */
static bool
s3_is_no_answer(enum err_code code)
{
	return code == ERR_NETWORK || code == ERR_TIMEOUT || code == ERR_BUSY || code == ERR_UNCERTAIN || code == ERR_CANCELLED;
}

/* A race has eight outcomes, of which op_all() hands on the first. */
static bool
s3_step_unanswered(struct s3_probing *p)
{
	for (size_t i = 0; i < S3_PROBE_RACERS; i++)
		if (s3_is_no_answer(p->outcomes[i].code)) {
			p->op.res = p->outcomes[i];
			break;
		}
	return s3_is_no_answer(p->op.res.code);
}

static enum s3_verdict
s3_step_judge(struct s3_probing *p)
{
	const struct s3_step *s = &s3_steps[p->step];

	if (s->judge == NULL)
		return p->op.res.code == ERR_CANCELLED ? STEP_CLEAN : STEP_NEXT;
	if (p->step == 0 || !s3_step_unanswered(p))
		return s->judge(p);
	if (p->op.res.code != ERR_CANCELLED)
		s3_say_failed(p, s->check);
	return STEP_CLEAN;
}

/* The step after this one, as the verdict says; ARRAY_LEN(s3_steps): none. */
static size_t
s3_step_after(size_t step, enum s3_verdict v)
{
	const char *check = s3_steps[step].check;

	if (v == STEP_CLEAN)
		return ARRAY_LEN(s3_steps);
	do
		step++;
	while (v == STEP_OTHER && step < ARRAY_LEN(s3_steps) && strcmp(s3_steps[step].check, check) == 0);
	return step;
}

/* ---------------------------------------------------------------- the operation */

enum s3_probe_state { PROBE_START, PROBE_STEP, PROBE_STEPPED, PROBE_CLEAN, PROBE_CLEANED };

static const char *const s3_probe_states[] = { "start", "step", "stepped", "clean", "cleaned" };

static enum op_turn
s3_probe_end(struct s3_probing *p)
{
	for (unsigned i = 0; i < ARRAY_LEN(s3_checks); i++)
		if ((p->said & 1u << i) == 0)
			s3_say(p, s3_checks[i], false, "not tried");
	return op_finish(&p->op);
}

static struct op *
s3_probe_clean(struct s3_probing *p)
{
	struct op *ops[SCRATCHES];

	for (size_t i = 0; i < SCRATCHES; i++)
		ops[i] = s3_del(&p->s->b, &(struct state_ref){ p->names[i] }, NULL);
	return op_all(p->op.loop, ops, SCRATCHES, 0, p->outcomes);
}

static void
s3_probe_cleaned(struct s3_probing *p)
{
	struct err *e = &p->op.err;

	for (size_t i = 0; i < SCRATCHES && e->code == ERR_OK; i++) {
		if (p->outcomes[i].code == ERR_OK || p->outcomes[i].code == ERR_NOT_FOUND)
			continue;
		*e = p->outcomes[i];
		err_prefix(e, "the probe left objects below %.80s", p->own);
	}
	err_clear(&p->op.res);
}

static enum op_turn
s3_probe_stepped(struct s3_probing *p)
{
	struct op      *op = &p->op;
	enum s3_verdict v = s3_step_judge(p);

	if (v == STEP_END)
		return s3_probe_end(p);
	p->step = s3_step_after(p->step, v);
	if (v == STEP_CLEAN && op_failed(op))
		return op_unwind(op, PROBE_CLEAN);
	err_clear(&op->res);
	return op_go(op, p->step < ARRAY_LEN(s3_steps) ? PROBE_STEP : PROBE_CLEAN);
}

static enum op_turn
s3_probe_step(struct op *op)
{
	struct s3_probing *p = container_of(op, struct s3_probing, op);

	switch ((enum s3_probe_state)op->state) {
	case PROBE_START:
		s3_probe_prepare(p);
		__attribute__((fallthrough));
	case PROBE_STEP:
		memset(p->outcomes, 0, sizeof(p->outcomes));
		return op_await(op, PROBE_STEPPED, s3_steps[p->step].act(p));
	case PROBE_STEPPED:
		return s3_probe_stepped(p);
	case PROBE_CLEAN:
		op_shield(op);
		return op_await(op, PROBE_CLEANED, s3_probe_clean(p));
	case PROBE_CLEANED:
		s3_probe_cleaned(p);
		return s3_probe_end(p);
	}
	return OP_DONE;
}

static void
s3_probe_free(struct op *op)
{
	struct s3_probing *p = container_of(op, struct s3_probing, op);

	free(p->folder);
	free(p->own);
	for (size_t i = 0; i < SCRATCHES; i++)
		free(p->names[i]);
	for (size_t i = 0; i < ARRAY_LEN(p->bodies); i++)
		snapshot_free(&p->bodies[i]);
	snapshot_free(&p->got);
	s3_pages_free(p->pages);
	s3_request_free(&p->req);
	s3_answer_free(&p->ans);
	free(p);
}

static const struct op_class s3_probe_class = { "s3 probe", s3_probe_step, NULL, s3_probe_free, s3_probe_states,
	ARRAY_LEN(s3_probe_states) };

struct op *
s3_probe(struct backend *b, probe_fn *seen, void *arg)
{
	struct s3_probing *p = xcalloc(1, sizeof(*p));

	p->s = s3_of(b);
	op_init(&p->op, &s3_probe_class, p->s->env->loop);
	p->seen = seen;
	p->arg = arg;
	return &p->op;
}
