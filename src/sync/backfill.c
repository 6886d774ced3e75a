/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/time.h"
#include "core.h"

/*
 * The versions that a source kept between two looks, or before the first: each becomes a version here, in their order, before the one
 * that is there now. None of them becomes the head by itself: that moves once, with the pull that asked for them, to the newest good
 * one. How far they are known is a mark in the store, which moves in the commit that keeps a version: a death in between loses and
 * doubles none.
 */
#define FILL_HOLD_MS   ((int64_t)10 * 60 * 1000) /* a source that refused to list them is not asked again before */
#define FILL_TRIES     3                         /* of one version, against others that write to the same state of the store */
#define FILL_NUMBERS   160                       /* bytes before the id in a mark */
#define FILL_KEY       "kept"

/* ---------------------------------------------------------------- the mark */

static void
fill_key(const struct place *p, const char *name, struct buf *ret)
{
	place_key(p, FILL_KEY, ret);
	buf_printf(ret, "/%s", name);
}

bool
fill_recall(const struct place *p, const char *name, struct store_txn *t, struct fill_mark *ret)
{
	struct span value;
	struct buf  key;
	char       *text, *at;
	bool        has;

	memset(ret, 0, sizeof(*ret));
	if (p->backend->common.backfill == 0)
		return false;
	fill_key(p, name, &key);
	has = store_meta(t, buf_str(&key), &value) && value.n < sizeof(ret->id) + FILL_NUMBERS;
	buf_free(&key);
	if (!has)
		return false;
	text = span_dup(value);
	ret->open = strtoull(text, &at, 10) != 0;
	ret->number = strtoull(at, &at, 10);
	ret->last = strtoull(at, &at, 10);
	ret->best = strtoull(at, &at, 10);
	ret->from = strtoull(at, &at, 10);
	ret->base = strtoull(at, &at, 10);
	ret->top = strtoull(at, &at, 10);
	if (*at == ' ')
		snprintf(ret->id, sizeof(ret->id), "%s", at + 1);
	free(text);
	return ret->id[0] != '\0';
}

void
fill_note(const struct place *p, const char *name, struct batch *b, const struct fill_mark *m)
{
	struct buf key, value;

	buf_init(&value, 0);
	buf_printf(&value, "%d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %s", m->open, m->number, m->last, m->best,
	    m->from, m->base, m->top, m->id);
	fill_key(p, name, &key);
	batch_meta(b, buf_str(&key), buf_span(&value));
	buf_free(&key);
	buf_free(&value);
}

/* Where serials only rise there is nothing between two that follow each other. */
static bool
fill_follows(const struct place *p, struct store_txn *t, const struct state_rec *s, const struct fill_mark *m, const struct snapshot *now)
{
	struct version_rec head;

	return (provider_caps(p->backend) & PROVIDER_SERIALS) != 0 && !m->open && (m->id[0] == '\0' || m->number == s->versions) &&
	    s->head != 0 && s->head == s->seen_version &&
	    store_version(t, s->id, s->head, &head) && now->info.serial == head.serial + 1 && strcmp(now->info.lineage, head.lineage) == 0;
}

bool
fill_is_due(const struct place *p, const char *name, const struct snapshot *now)
{
	struct store_txn *t;
	struct state_rec  s;
	struct fill_mark  m;
	bool              due = true;

	if (p->backend->common.backfill == 0 || store_read(p->engine->store, &t, NULL) != ERR_OK)
		return false;
	fill_recall(p, name, t, &m);
	if (!store_state(t, p->backend->label, name, &s))
		due = true;
	else if (m.id[0] != '\0' && now->version[0] != '\0')
		due = strcmp(m.id, now->version) != 0 && !fill_follows(p, t, &s, &m, now);
	else if (s.last_read != 0)
		due = !digest_eq(&s.seen_digest, &now->digest) && !fill_follows(p, t, &s, &m, now);
	store_end(t);
	return due;
}

/* ---------------------------------------------------------------- which ones */

enum fill_state { START, LISTED, NEXT, READ };

static const char *const fill_states[] = { "start", "listed", "next", "read" };

struct fill_version {
	char    id[VERSION_ID_MAX];
	int64_t made;
	bool    guessed;
};

struct fill {
	struct op             op;
	struct engine        *e;
	struct place         *place;
	char                 *name;
	const struct snapshot *now;
	bool                 *ret_whole;
	struct fill_mark      mark;
	char                  etag[ETAG_MAX]; /* of what was read last, should the mark tell nothing */
	int64_t               floor;         /* when the last one that is known was made */
	struct fill_version  *all;           /* newest first, n, those that were made before now */
	size_t                n, max;
	char                  tail[ETAG_MAX]; /* of the oldest in all */
	bool                  met_any, met_now, met_known, more;
	struct pull_result    one;
	unsigned              tries;
	uint64_t              kept, unread;
	struct err            why;           /* the first that could not be read, or what ended it */
	bool                  stopped;
};

static void
fill_free(struct op *op)
{
	struct fill *f = container_of(op, struct fill, op);

	free(f->all);
	free(f->name);
	free(f);
}

static bool
fill_is_now(const struct fill *f, const struct version_seen *v)
{
	if (f->now->version[0] != '\0')
		return strcmp(v->id, f->now->version) == 0;
	if (f->now->etag[0] != '\0' && v->etag != NULL && v->etag[0] != '\0')
		return strcmp(v->etag, f->now->etag) == 0;
	return v->latest;
}

static bool
fill_is_known(const struct fill *f, const struct version_seen *v)
{
	if (f->mark.id[0] != '\0')
		return strcmp(v->id, f->mark.id) == 0;
	return f->etag[0] != '\0' && v->etag != NULL && strcmp(v->etag, f->etag) == 0;
}

/* From what is there now down to what is known. One more than may be read says that there are more. */
static bool
fill_seen(void *arg, const struct version_seen *v)
{
	struct fill *f = arg;

	f->met_any = true;
	if (!f->met_now) {
		f->met_now = fill_is_now(f, v);
		return true;
	}
	if (fill_is_known(f, v)) {
		f->met_known = true;
		return false;
	}
	if (v->deleted)
		return true;
	if (f->n > 0 && v->etag != NULL && v->etag[0] != '\0' && strcmp(v->etag, f->tail) == 0)
		f->n--; /* the same bytes twice in a row: the first time counts */
	if (f->n == f->max) {
		f->more = true;
		return false;
	}
	if ((f->n & (f->n - 1)) == 0)
		f->all = xreallocarray(f->all, f->n > 0 ? 2 * f->n : 1, sizeof(*f->all));
	snprintf(f->tail, sizeof(f->tail), "%s", v->etag != NULL ? v->etag : "");
	snprintf(f->all[f->n].id, sizeof(f->all[f->n].id), "%s", v->id);
	f->all[f->n].guessed = v->guessed;
	f->all[f->n++].made = v->modified;
	return true;
}

/* The one that was known is not listed any more, or it is another place: what is not younger is known by other means. */
static void
fill_drop_known(struct fill *f)
{
	size_t n = 0;

	if (f->met_known)
		return;
	while (n < f->n && (f->floor == 0 || f->all[n].made == 0 || f->all[n].made >= f->floor))
		n++;
	if (!f->more || n < f->n)
		f->mark.base = 0; /* whatever is known may come again */
	f->more = f->more && n == f->n;
	f->n = n;
}

/* What is known before the first of them. */
static void
fill_open(struct fill *f, const struct state_rec *s)
{
	struct fill_mark *m = &f->mark;

	if (m->open)
		return;
	m->open = true;
	m->last = s->seen_version;
	m->best = m->from = s->head;
	m->base = m->id[0] != '\0' ? m->number : s->seen_version;
	m->top = s->versions;
}

static enum err_code
fill_begin(struct fill *f, struct err *reterr)
{
	struct store_txn  *t;
	struct state_rec   s;
	struct version_rec v;

	if (store_read(f->e->store, &t, reterr) != ERR_OK)
		return reterr->code;
	fill_recall(f->place, f->name, t, &f->mark);
	if (store_state(t, f->place->backend->label, f->name, &s)) {
		fill_open(f, &s);
		if (s.last_read != 0)
			snprintf(f->etag, sizeof(f->etag), "%s", s.etag);
		if (store_version(t, s.id, f->mark.last, &v))
			f->floor = v.seen;
	} else {
		f->mark.open = true;
	}
	store_end(t);
	return ERR_OK;
}

/* ---------------------------------------------------------------- telling */

/* One warning when it begins, for the source as a whole; asked again later when it was a refusal. */
static enum op_turn
fill_not_listed(struct fill *f)
{
	struct place *p = f->place;
	struct err    why = f->op.res;
	struct batch *b;

	err_clear(&f->op.res);
	if (why.code == ERR_AUTH || why.code == ERR_UNSUPPORTED)
		p->fill_after = loop_now(f->e->loop) + FILL_HOLD_MS;
	if (p->fill_failed)
		return op_ok(&f->op);
	p->fill_failed = true;
	err_unprefix(&why, p->backend->label);
	log_at(LOG_WARN, p->backend->label, "%s: older versions cannot be listed, what is there now is taken without them: %s%s%s; or set backfill = 0",
	    f->name, why.msg, why.hint[0] != '\0' ? "; " : "", why.hint);
	b = batch_new(f->e->store);
	engine_event(b, f->e, "backfill", p->backend->label, f->name, "", "older versions cannot be listed: %s", why.msg);
	engine_note(f->e, b);
	return op_ok(&f->op);
}

static void
fill_sentence(const struct fill *f, struct buf *ret)
{
	buf_printf(ret, "%" PRIu64 " older versions were read", f->kept);
	if (f->more)
		buf_printf(ret, "; those before the newest %zu stay at the remote alone (backfill)", f->max);
	if (f->unread > 0)
		buf_printf(ret, "; %" PRIu64 " could not be read, the first because of: %s", f->unread, f->why.msg);
	if (f->stopped)
		buf_printf(ret, "; %zu are left for the next change: %s", f->n, f->why.msg);
}

/* One event for all of them. */
static enum op_turn
fill_told(struct fill *f)
{
	struct buf    text;
	struct batch *b;
	char          op[ERR_MSG_MAX];

	*f->ret_whole = !f->stopped;
	err_clear(&f->op.res);
	if (f->kept == 0 && f->unread == 0 && !f->stopped)
		return op_ok(&f->op);
	buf_init(&text, 0);
	fill_sentence(f, &text);
	snprintf(op, sizeof(op), "watch %s %s", f->place->backend->label, f->name);
	log_at(f->unread > 0 || f->stopped ? LOG_WARN : LOG_INFO, op, "%s", buf_str(&text));
	b = batch_new(f->e->store);
	engine_event(b, f->e, "backfill", f->place->backend->label, f->name, "", "%s", buf_str(&text));
	engine_note(f->e, b);
	buf_free(&text);
	return op_ok(&f->op);
}

/* ---------------------------------------------------------------- one after the other */

static struct op *
fill_pull(struct fill *f)
{
	const struct fill_version *v = &f->all[f->n - 1];

	return pull_op(f->e, f->place, f->name, &(struct pull_options){ .version = v->id, .made = v->made, .mark = &f->mark }, &f->one);
}

/* Is this version's own fault, or would the next one fail as well? */
static bool
fill_skips(enum err_code code)
{
	return code == ERR_NOT_FOUND || code == ERR_UNSUPPORTED || code == ERR_CORRUPT;
}

static enum op_turn
fill_read(struct fill *f)
{
	struct op *op = &f->op;

	if (op->res.code == ERR_CANCELLED)
		return op_fail(op);
	if (op->res.code == ERR_CONFLICT && ++f->tries < FILL_TRIES) /* another version came in between */
		return op_go(op, NEXT);
	f->tries = 0;
	if (op->res.code == ERR_NOT_FOUND && f->all[f->n - 1].guessed)
		err_clear(&op->res);
	if (op_failed(op) && f->why.code == ERR_OK)
		f->why = op->res;
	if (op_failed(op) && !fill_skips(op->res.code)) {
		f->stopped = true;
		f->why = op->res;
		return fill_told(f);
	}
	f->unread += op_failed(op);
	f->kept += !op_failed(op) && f->one.kept;
	f->n--;
	return op_go(op, NEXT);
}

static enum op_turn
fill_listed(struct fill *f)
{
	struct op *op = &f->op;

	if (op->res.code == ERR_CANCELLED)
		return op_fail(op);
	if (!op_failed(op) && f->met_any && !f->met_now)
		err_set(&op->res, ERR_BUSY, 0, "what has just been read is not among them");
	if (op_failed(op))
		return fill_not_listed(f);
	f->place->fill_failed = false;
	fill_drop_known(f);
	return op_go(op, NEXT);
}

static enum op_turn
fill_step(struct op *op)
{
	struct fill *f = container_of(op, struct fill, op);

	switch ((enum fill_state)op->state) {
	case START:
		if (loop_now(op->loop) < f->place->fill_after)
			return op_ok(op);
		if (fill_begin(f, &op->res) != ERR_OK)
			return op_fail(op);
		return op_await(op, LISTED, provider_history(f->place->backend, &(struct state_ref){ f->name }, fill_seen, f));
	case LISTED:
		return fill_listed(f);
	case NEXT:
		err_clear(&op->res);
		return f->n == 0 ? fill_told(f) : op_await(op, READ, fill_pull(f));
	case READ:
		return fill_read(f);
	}
	return OP_DONE;
}

static const struct op_class fill_class = { "older versions", fill_step, NULL, fill_free, fill_states, ARRAY_LEN(fill_states) };

struct op *
fill_op(struct engine *e, struct place *p, const char *name, const struct snapshot *now, bool *ret_whole)
{
	struct fill *f = xcalloc(1, sizeof(*f));

	op_init(&f->op, &fill_class, e->loop);
	f->e = e;
	f->place = p;
	f->op.about = f->name = xstrdup(name);
	f->now = now;
	f->max = (size_t)p->backend->common.backfill;
	f->ret_whole = ret_whole;
	*ret_whole = false;
	return &f->op;
}
