/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "s3.h"

/*
 * What the store really does, shown by requests on objects of our own below .stateferry/probe/, where no state is looked
 * for. They are deleted at the end, whatever happens.
 */
#define S3_PROBE_RACERS  8
#define S3_PROBE_SKEW_MS ((int64_t)5 * 60 * 1000)

static const char *const s3_checks[] = { "reach", "auth", "clock", "list", "create_only", "read", "list_after_write", "checksum",
	"if_match", "racing_writes", "delete_create", "lock" };

enum s3_scratch { SCRATCH_A, SCRATCH_RACE, SCRATCH_SUM, SCRATCH_LOCKED, SCRATCH_LOCK, SCRATCHES };

static const char *const s3_scratch[] = { "a", "race", "sum", "locked", "locked.tflock" };

struct s3_probing {
	struct op         op;
	struct s3        *s;
	probe_fn         *seen;
	void             *arg;
	bool              said[ARRAY_LEN(s3_checks)];
	char             *names[SCRATCHES];
	struct s3_pages  *pages;
	struct s3_request req;
	struct s3_answer  ans;
	struct snapshot   bodies[2 + 2 * S3_PROBE_RACERS], got; /* of ours; of each writer in the two races */
	char              etag[ETAG_MAX], etags[S3_PROBE_RACERS][ETAG_MAX];
	struct err        outcomes[S3_PROBE_RACERS];
	size_t            winner;  /* whose body */
	int               winners;
	struct lock_info  locks[2], holder;
	unsigned          clean;
};

static void __attribute__((format(printf, 4, 5)))
s3_say(struct s3_probing *p, const char *name, bool ok, const char *fmt, ...)
{
	char    detail[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < ARRAY_LEN(s3_checks); i++)
		if (strcmp(s3_checks[i], name) == 0)
			p->said[i] = true;
	p->seen(p->arg, &(struct probe_check){ name, ok, detail });
}

static struct state_ref
s3_scratch_ref(const struct s3_probing *p, enum s3_scratch i)
{
	return (struct state_ref){ p->names[i] };
}

static void
s3_probe_prepare(struct s3_probing *p)
{
	const char *key = p->s->conf->key, *slash = key != NULL ? strrchr(key, '/') : NULL;
	char        id[37], text[64];
	struct body *body;

	rand_uuid(loop_rand(p->op.loop), id);
	for (size_t i = 0; i < SCRATCHES; i++)
		p->names[i] = xasprintf("%.*s.stateferry/probe/%s/%s", slash != NULL ? (int)(slash - key) + 1 : 0,
		    key != NULL ? key : "", id, s3_scratch[i]);
	for (size_t i = 0; i < ARRAY_LEN(p->bodies); i++) {
		snprintf(text, sizeof(text), "{\"probe\":\"%s\",\"writer\":%zu}", id, i);
		body = body_copy(span_str(text));
		snapshot_of(&p->bodies[i], body);
		body_unref(body);
	}
	for (size_t i = 0; i < ARRAY_LEN(p->locks); i++)
		lock_info_make(&p->locks[i], loop_rand(p->op.loop), loop_wall(p->op.loop), p->s->env->agent_name, "probe", "");
}

/* ---------------------------------------------------------------- reaching it */

static struct op *
s3_probe_list(struct s3_probing *p, const char *prefix, unsigned max_keys)
{
	s3_pages_free(p->pages);
	p->pages = s3_pages_new(p->s, prefix, max_keys);
	return s3_pages_read(p->pages);
}

static void
s3_probe_clock(struct s3_probing *p)
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

/* false: nothing more can be tried; op->res says why. */
static bool
s3_probe_reached(struct s3_probing *p)
{
	struct op *op = &p->op;
	bool       answered = !op_failed(op), denied;
	struct err e = op->res;

	if (!answered && op->res.code != ERR_BUSY && op->res.code != ERR_CORRUPT) {
		s3_say(p, op->res.code == ERR_AUTH ? "auth" : "reach", false, "%s", op->res.msg);
		return false;
	}
	if (answered)
		s3_pages_check(p->pages, &e);
	denied = answered && strcmp(s3_pages_answer(p->pages)->code, "AccessDenied") == 0;
	s3_say(p, "reach", true, "%s", p->s->b.where);
	if (answered)
		s3_probe_clock(p);
	if (e.code == ERR_AUTH && !denied) {
		s3_say(p, "auth", false, "%s", e.msg);
		op->res = e;
		return false;
	}
	if (e.code == ERR_OK || denied)
		s3_say(p, "auth", true, "credentials from %s", s3_cred_source(p->s->cred));
	s3_say(p, "list", e.code == ERR_OK, "%s", e.code == ERR_OK ? "ListObjectsV2" : e.msg);
	op->res = e;
	return e.code == ERR_OK || denied;
}

/* ---------------------------------------------------------------- what it enforces */

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

/* A second write that must not be done: true when it was refused for that reason. */
static bool
s3_probe_refused(struct s3_probing *p, const char *check, const char *how)
{
	enum err_code rc = p->op.res.code;

	if (rc == ERR_OK)
		s3_say(p, check, false, "%s was accepted: the store ignores the precondition", how);
	else if (rc != ERR_CONFLICT)
		s3_say(p, check, false, "%s", p->op.res.msg);
	return rc == ERR_CONFLICT;
}

static void
s3_probe_listed(struct s3_probing *p)
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
}

/* The bytes of one body with the checksum of another, signed as it is. */
static struct op *
s3_probe_wrong_sum(struct s3_probing *p)
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

static void
s3_probe_summed(struct s3_probing *p)
{
	if (op_failed(&p->op))
		s3_say(p, "checksum", false, "%s", p->op.res.msg);
	else if (p->ans.http.status / 100 == 2)
		s3_say(p, "checksum", false, "an object with a wrong x-amz-checksum-sha256 was accepted");
	else
		s3_say(p, "checksum", true, "a wrong one is refused (%d %s)", p->ans.http.status, p->ans.code);
}

/* What writer i of a race writes: bytes like no others, as change tags may be digests of them. */
static size_t
s3_probe_body(enum put_if when, size_t i)
{
	return 2 + i + (when == PUT_MATCH ? (size_t)S3_PROBE_RACERS : 0);
}

/* Several writers at once, in separate requests; when: all create, or all replace the same version. */
static struct op *
s3_probe_race(struct s3_probing *p, enum put_if when)
{
	struct op *ops[S3_PROBE_RACERS];

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		ops[i] = s3_probe_put(p, SCRATCH_RACE, s3_probe_body(when, i), when, p->etag, p->etags[i]);
	return op_all(p->op.loop, ops, ARRAY_LEN(ops), 0, p->outcomes);
}

static void
s3_probe_count(struct s3_probing *p, enum put_if when)
{
	p->winners = 0;
	for (size_t i = 0; i < S3_PROBE_RACERS; i++)
		if (p->outcomes[i].code == ERR_OK) {
			p->winner = s3_probe_body(when, i);
			p->winners++;
		}
}

/* One winner, and its bytes are what is there. */
static bool
s3_probe_won(struct s3_probing *p, const char *what)
{
	struct op *op = &p->op;

	if (p->winners != 1)
		s3_say(p, "racing_writes", false, "%d of %d %s at once were accepted", p->winners, S3_PROBE_RACERS, what);
	else if (op_failed(op))
		s3_say(p, "racing_writes", false, "%s", op->res.msg);
	else if (!digest_eq(&p->got.digest, &p->bodies[p->winner].digest))
		s3_say(p, "racing_writes", false, "after %s at once the object is not the one whose write was accepted", what);
	else
		return true;
	return false;
}

/* ---------------------------------------------------------------- the operation */

enum s3_probe_state { PROBE_START, PROBE_LISTED, PROBE_CREATED, PROBE_CREATED_AGAIN, PROBE_READ, PROBE_LISTED_AFTER, PROBE_SUMMED,
	PROBE_MATCHED_WRONG, PROBE_MATCHED, PROBE_RACE, PROBE_RACED, PROBE_RACE_READ, PROBE_UPDATED, PROBE_UPDATE_READ,
	PROBE_DELETE, PROBE_DELETED, PROBE_RECREATED, PROBE_LOCK, PROBE_LOCKED, PROBE_LOCKED_TWICE, PROBE_UNLOCKED, PROBE_PEEKED,
	PROBE_CLEAN, PROBE_CLEANED };

static const char *const s3_probe_states[] = { "start", "listed", "created", "created again", "read", "listed after", "checksum",
	"wrong match", "matched", "race", "raced", "race read", "updated", "update read", "delete", "deleted", "created once more",
	"lock", "locked", "locked twice", "unlocked", "looked", "clean", "cleaned" };

static enum op_turn
s3_probe_end(struct s3_probing *p)
{
	for (size_t i = 0; i < ARRAY_LEN(s3_checks); i++)
		if (!p->said[i])
			s3_say(p, s3_checks[i], false, "not tried");
	return op_finish(&p->op);
}

static enum op_turn
s3_probe_created(struct s3_probing *p)
{
	if (op_failed(&p->op)) {
		s3_say(p, "create_only", false, "%s", p->op.res.msg);
		if (p->op.res.code == ERR_UNSUPPORTED || p->op.res.code == ERR_CONFLICT) /* that is an answer, too */
			err_clear(&p->op.res);
		return op_unwind(&p->op, PROBE_CLEAN);
	}
	return op_await(&p->op, PROBE_CREATED_AGAIN, s3_probe_put(p, SCRATCH_A, 1, PUT_ABSENT, NULL, p->etags[0]));
}

static void
s3_probe_read(struct s3_probing *p)
{
	bool same = !op_failed(&p->op) && digest_eq(&p->got.digest, &p->bodies[0].digest);

	s3_say(p, "read", same, "%s", same ? "the bytes that were written" : op_failed(&p->op) ? p->op.res.msg :
	    "other bytes than were written");
}

static void
s3_probe_matched(struct s3_probing *p)
{
	s3_say(p, "if_match", !op_failed(&p->op), "%s", op_failed(&p->op) ? p->op.res.msg :
	    "a write on another version is refused");
}

static void
s3_probe_recreated(struct s3_probing *p)
{
	const struct err *e = &p->op.res;

	if (e->code == ERR_CONFLICT)
		s3_say(p, "delete_create", false, "a deleted object cannot be created again: a delete marker counts as an object");
	else
		s3_say(p, "delete_create", e->code == ERR_OK, "%s", e->code != ERR_OK ? e->msg : "a deleted object is absent");
}

static void
s3_probe_peeked(struct s3_probing *p)
{
	bool gone = p->op.res.code == ERR_NOT_FOUND;

	s3_say(p, "lock", gone, "%s", gone ? "held by one, refused to another, released" :
	    "the lock is still there after its release");
}

static enum op_turn
s3_probe_clean(struct s3_probing *p)
{
	struct state_ref ref = s3_scratch_ref(p, (enum s3_scratch)p->clean);

	p->clean++;
	return op_await(&p->op, PROBE_CLEANED, s3_del(&p->s->b, &ref, NULL));
}

static enum op_turn
s3_probe_step(struct op *op)
{
	struct s3_probing *p = container_of(op, struct s3_probing, op);
	struct backend    *b = &p->s->b;
	struct state_ref   locked = { p->names[SCRATCH_LOCKED] };
	char              *key;
	enum op_turn       turn;

	if (op->cancelled && !op->shielded && op->state > PROBE_LISTED && op->state < PROBE_CLEAN)
		return op_unwind(op, PROBE_CLEAN);
	switch ((enum s3_probe_state)op->state) {
	case PROBE_START:
		s3_probe_prepare(p);
		return op_await(op, PROBE_LISTED, s3_probe_list(p, b->common.prefix, 1));
	case PROBE_LISTED:
		if (!s3_probe_reached(p))
			return s3_probe_end(p);
		return op_await(op, PROBE_CREATED, s3_probe_put(p, SCRATCH_A, 0, PUT_ABSENT, NULL, p->etag));
	case PROBE_CREATED:
		return s3_probe_created(p);
	case PROBE_CREATED_AGAIN:
		if (s3_probe_refused(p, "create_only", "a second creation"))
			s3_say(p, "create_only", true, "a second creation is refused");
		return op_await(op, PROBE_READ, s3_probe_get(p, SCRATCH_A));
	case PROBE_READ:
		s3_probe_read(p);
		memcpy(p->etag, p->got.etag, ETAG_MAX);
		key = s3_key_of(p->s, p->names[SCRATCH_A]);
		turn = op_await(op, PROBE_LISTED_AFTER, s3_probe_list(p, key, 10));
		free(key);
		return turn;
	case PROBE_LISTED_AFTER:
		s3_probe_listed(p);
		return op_await(op, PROBE_SUMMED, s3_probe_wrong_sum(p));
	case PROBE_SUMMED:
		s3_probe_summed(p);
		return op_await(op, PROBE_MATCHED_WRONG,
		    s3_probe_put(p, SCRATCH_A, 1, PUT_MATCH, "00000000000000000000000000000000", p->etags[0]));
	case PROBE_MATCHED_WRONG:
		if (!s3_probe_refused(p, "if_match", "a write on another version"))
			return op_go(op, PROBE_RACE);
		return op_await(op, PROBE_MATCHED, s3_probe_put(p, SCRATCH_A, 1, PUT_MATCH, p->etag, p->etag));
	case PROBE_MATCHED:
		s3_probe_matched(p);
		__attribute__((fallthrough));
	case PROBE_RACE:
		return op_await(op, PROBE_RACED, s3_probe_race(p, PUT_ABSENT));
	case PROBE_RACED:
		s3_probe_count(p, PUT_ABSENT);
		return op_await(op, PROBE_RACE_READ, s3_probe_get(p, SCRATCH_RACE));
	case PROBE_RACE_READ:
		if (!s3_probe_won(p, "creations"))
			return op_go(op, PROBE_DELETE);
		memcpy(p->etag, p->got.etag, ETAG_MAX);
		return op_await(op, PROBE_UPDATED, s3_probe_race(p, PUT_MATCH));
	case PROBE_UPDATED:
		s3_probe_count(p, PUT_MATCH);
		return op_await(op, PROBE_UPDATE_READ, s3_probe_get(p, SCRATCH_RACE));
	case PROBE_UPDATE_READ:
		if (s3_probe_won(p, "replacements"))
			s3_say(p, "racing_writes", true, "1 of %d wins", S3_PROBE_RACERS);
		__attribute__((fallthrough));
	case PROBE_DELETE:
		return op_await(op, PROBE_DELETED, s3_del(b, &(struct state_ref){ p->names[SCRATCH_A] }, NULL));
	case PROBE_DELETED:
		if (op_failed(op)) {
			s3_say(p, "delete_create", false, "%s", op->res.msg);
			return op_go(op, PROBE_LOCK);
		}
		return op_await(op, PROBE_RECREATED, s3_probe_put(p, SCRATCH_A, 1, PUT_ABSENT, NULL, p->etag));
	case PROBE_RECREATED:
		s3_probe_recreated(p);
		__attribute__((fallthrough));
	case PROBE_LOCK:
		return op_await(op, PROBE_LOCKED, s3_lock(b, &locked, &p->locks[0], &p->holder));
	case PROBE_LOCKED:
		if (op_failed(op)) {
			s3_say(p, "lock", false, "%s", op->res.msg);
			return op_unwind(op, PROBE_CLEAN);
		}
		return op_await(op, PROBE_LOCKED_TWICE, s3_lock(b, &locked, &p->locks[1], &p->holder));
	case PROBE_LOCKED_TWICE:
		if (op->res.code != ERR_LOCKED) {
			s3_say(p, "lock", false, "a second lock was %s", op_failed(op) ? "answered by an error" : "granted");
			return op_go(op, PROBE_CLEAN);
		}
		return op_await(op, PROBE_UNLOCKED, s3_unlock(b, &locked, &p->locks[0]));
	case PROBE_UNLOCKED:
		return op_await(op, PROBE_PEEKED, s3_lock_peek(b, &locked, &p->holder));
	case PROBE_PEEKED:
		s3_probe_peeked(p);
		err_clear(&op->res);
		__attribute__((fallthrough));
	case PROBE_CLEAN:
		op_shield(op);
		return s3_probe_clean(p);
	case PROBE_CLEANED:
		if (op_failed(op) && op->res.code != ERR_NOT_FOUND && op->err.code == ERR_OK) {
			op->err = op->res;
			err_prefix(&op->err, "the probe left %.60s behind", p->names[p->clean - 1]);
		}
		err_clear(&op->res);
		return p->clean < SCRATCHES ? s3_probe_clean(p) : s3_probe_end(p);
	}
	return OP_DONE;
}

static void
s3_probe_free(struct op *op)
{
	struct s3_probing *p = container_of(op, struct s3_probing, op);

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
