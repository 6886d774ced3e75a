/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

/*
 * One state from its source into the store: read, judge, keep. A read that is empty or no state at all is read again
 * before any verdict, because terraform truncates first and writes then.
 */
enum pull_state { START, READ, TORN, READ_AGAIN, LOCK_LOOKED, FILLED, HEAD_LOADED, MEANT, COMMITTED };

static const char *const pull_states[] = { "start", "read", "torn", "read again", "lock looked at",
	"older ones read", "head loaded", "meant", "committed" };

struct pull {
	struct op           op;
	struct engine      *e;
	struct place       *place;
	char               *name, *version; /* version NULL: what is there now */
	struct pull_options opt;
	struct pull_result *ret;
	char                known_etag[ETAG_MAX];
	struct snapshot     now;
	struct body        *head_body;
	struct meaning      meaning;
	char                run[256], who[128], operation[64]; /* who wrote what is new; "" unknown */
	/* what the store knew when the bytes came; checked again by the batch's precondition */
	bool                has_state, has_from, has_head, known_bytes, seen_again, released, restored, must_fits, was_locked;
	struct version_rec  head, before;  /* strings are not kept: only numbers and digests are used later */
	struct digest       from;          /* the state's head; head is a newer one while older versions are read */
	uint64_t            from_number, seen_version, versions;
	int64_t             seen_last;     /* of the newest version */
	struct fill_mark    mark;
	bool                whole;         /* nothing is left out that the remote kept before this */
	struct judgement    judgement;
};

static void
pull_free(struct op *op)
{
	struct pull *p = container_of(op, struct pull, op);

	snapshot_free(&p->now);
	body_unref(p->head_body);
	free(p->name);
	free(p->version);
	free(p);
}

static const char *
pull_label(const struct pull *p)
{
	return p->place->backend->label;
}

/* The change tag that makes a conditional read possible: only when the bytes behind it were judged. */
static enum err_code
pull_recall(struct pull *p, struct err *reterr)
{
	struct store_txn *t;
	struct state_rec  s;

	if (store_read(p->e->store, &t, reterr) != ERR_OK)
		return reterr->code;
	p->has_state = store_state(t, pull_label(p), p->name, &s);
	p->was_locked = p->has_state && (s.flags & STATE_IS_LOCKED) != 0;
	if (!p->opt.force && !p->opt.release && p->has_state && s.last_read != 0 && s.problem[0] == '\0')
		snprintf(p->known_etag, sizeof(p->known_etag), "%s", s.etag);
	store_end(t);
	return ERR_OK;
}

static struct op *
pull_get(struct pull *p)
{
	struct state_ref ref = { p->name };

	snapshot_free(&p->now);
	if (p->version != NULL)
		return provider_get_version(p->place->backend, &ref, p->version, &p->now);
	return provider_get(p->place->backend, &ref, p->known_etag[0] != '\0' ? p->known_etag : NULL, &p->now);
}

/* --- judging --- */

/* What is judged against: the head, unless newer ones were read and it did not move yet. */
static uint64_t
pull_recall_fill(struct pull *p, struct store_txn *t, const struct state_rec *s)
{
	struct fill_mark  *m = &p->mark;
	struct version_rec v;

	if (p->version == NULL)
		fill_recall(p->place, p->name, t, m);
	p->seen_last = store_version(t, s->id, s->versions, &v) ? v.seen : 0;
	if (m->open)
		p->known_bytes = m->last != 0 && store_version(t, s->id, m->last, &v) && digest_eq(&v.digest, &p->now.digest);
	return m->open && m->from == s->head ? m->best : s->head;
}

/* What was seen here while the remote could not be asked for it, or was written by us, comes again. */
static bool
pull_was_seen(const struct pull *p, const struct judge_facts *f)
{
	return f->seen_before != NULL && !version_is_evidence(f->seen_before) && f->seen_before->number > p->mark.base &&
	    f->seen_before->number <= p->mark.top;
}

/* Of older versions only when they were made, and that of a lock that lasted then as now. */
static void
pull_ascribe(struct pull *p, struct store_txn *t, const struct state_rec *s)
{
	const struct lock_look since = { .first = true };
	struct run_rec         r;

	if (p->version != NULL ? p->opt.made == 0 || !watch_author(p->place, t, s, &since, p->opt.made, &r) :
	    !watch_author(p->place, t, s, p->opt.lock, p->now.modified, &r))
		return;
	snprintf(p->run, sizeof(p->run), "%s", r.lock);
	snprintf(p->who, sizeof(p->who), "%s", r.who);
	snprintf(p->operation, sizeof(p->operation), "%s", r.operation);
}

static void
pull_facts(struct pull *p, struct store_txn *t, struct judge_facts *f)
{
	struct state_rec   s;
	struct version_rec must;
	uint64_t           best;

	memset(f, 0, sizeof(*f));
	f->now = &p->now.info;
	f->digest = &p->now.digest;
	f->max_shrink = plan_max_shrink(p->e->plan, p->place->backend, p->name);
	p->has_state = store_state(t, pull_label(p), p->name, &s);
	f->current = p->version == NULL;
	p->has_from = p->has_head = false;
	snprintf(p->run, sizeof(p->run), "%s", p->now.run); /* unless a lock tells more */
	p->who[0] = p->operation[0] = '\0';
	if (!p->has_state)
		return;
	p->has_from = s.head != 0;
	p->from = s.head_digest;
	p->from_number = s.head;
	p->seen_version = s.seen_version;
	p->versions = s.versions;
	p->known_bytes = s.last_read != 0 && digest_eq(&s.seen_digest, &p->now.digest);
	p->was_locked = (s.flags & STATE_IS_LOCKED) != 0;
	pull_ascribe(p, t, &s);
	best = pull_recall_fill(p, t, &s);
	p->has_head = best != 0 && store_version(t, s.id, best, &p->head);
	f->unwatched = !p->has_from && s.last_read == 0;
	p->released = digest_eq(&s.released, &p->now.digest);
	f->head = p->has_head ? &p->head : NULL;
	f->released = p->released || (p->opt.release && state_is_good(&p->now.info));
	f->same_meaning = p->meaning.same;
	if (store_version_find(t, s.id, &p->now.digest, &p->before))
		f->seen_before = &p->before;
	if (p->version != NULL) {
		p->seen_again = !p->known_bytes && pull_was_seen(p, f);
		f->released = false;
	}
	p->must_fits = store_version(t, s.id, p->opt.must_be, &must) && digest_eq(&must.digest, &p->now.digest);
}

struct pull_restore {
	const struct pull *p;
	bool               found;
};

static bool
pull_is_restore(void *arg, const struct intent_rec *i)
{
	struct pull_restore *x = arg;

	x->found = i->kind == INTENT_RESTORE && digest_eq(&i->digest, &x->p->now.digest) && strcmp(i->name, x->p->name) == 0 &&
	    strcmp(i->target, pull_label(x->p)) == 0;
	return !x->found;
}

/* Bytes that a restore was to write here and that are not known to be there yet: it runs, or died. A person decided on them. */
static bool
pull_was_restored(const struct pull *p, struct store_txn *t)
{
	struct pull_restore x = { .p = p };

	store_intents(t, pull_is_restore, &x);
	return x.found;
}

/* Judges; *ret_load says that the head's bytes are needed before the verdict or the counts can be had. */
static enum err_code
pull_judge(struct pull *p, bool *ret_load, struct err *reterr)
{
	struct store_txn  *t;
	struct judge_facts f;

	if (store_read(p->e->store, &t, reterr) != ERR_OK)
		return reterr->code;
	pull_facts(p, t, &f);
	judge(&f, &p->judgement);
	p->restored = f.current && !verdict_is_head(p->judgement.verdict) && state_is_good(&p->now.info) && pull_was_restored(p, t);
	if (p->restored) {
		f.released = true;
		judge(&f, &p->judgement);
	}
	p->meaning.want_semantic = judge_needs_meaning(&f);
	p->meaning.want_counts = p->has_head && state_is_good(&p->now.info) && !p->known_bytes &&
	    p->judgement.verdict != VERDICT_SAME && p->now.info.kind != STATE_ENCRYPTED && p->head.kind != STATE_ENCRYPTED;
	*ret_load = (p->meaning.want_semantic || p->meaning.want_counts) && store_has_body(t, &p->head.digest);
	store_end(t);
	return ERR_OK;
}

/* With the meaning known the verdict may become another one. */
static enum err_code
pull_rejudge(struct pull *p, struct err *reterr)
{
	bool load;

	return pull_judge(p, &load, reterr);
}

/* --- keeping --- */

static unsigned
pull_flags(const struct pull *p)
{
	const struct lock_look *l = p->opt.lock;

	return (l == NULL || l->now == LOCK_AS_BEFORE ? p->was_locked : l->now == LOCK_HELD) ? STATE_IS_LOCKED : 0;
}

/* When it was made, where the remote tells that and may be asked for older ones: they stand in one row. In order, and not to come. */
static int64_t
pull_seen(const struct pull *p)
{
	int64_t now = loop_wall(p->e->loop), made = p->version != NULL ? p->opt.made : p->opt.fill ? p->now.modified : 0;

	if (p->place->backend->common.backfill == 0 || made == 0 || made > now)
		return now;
	return made < p->seen_last ? p->seen_last : made;
}

/* The number is given where the store must not take it for the one that was seen last, from which others were read. */
static void
pull_version(const struct pull *p, struct version_rec *v)
{
	memset(v, 0, sizeof(*v));
	v->digest = p->now.digest;
	v->semantic = p->meaning.semantic_b;
	v->serial = p->now.info.serial;
	v->size = p->now.info.size;
	v->instances = p->now.info.instances;
	v->resources = p->now.info.resources;
	v->lineage = p->now.info.lineage;
	v->writer = p->now.info.writer;
	v->kind = p->now.info.kind;
	v->verdict = p->judgement.verdict;
	v->reason = p->judgement.reason;
	v->seen = pull_seen(p);
	v->run = p->run;
	v->who = p->who;
	v->operation = p->operation;
	v->origin = p->version != NULL ? VERSION_FROM_HISTORY : "";
	v->number = p->mark.open ? p->versions + 1 : 0;
	v->added = p->meaning.added;
	v->changed = p->meaning.changed;
	v->removed = p->meaning.removed;
	v->parent = p->has_head ? p->head.number : 0;
}

static bool
pull_moves_head(const struct pull *p)
{
	enum verdict v = p->judgement.verdict;

	return v == VERDICT_FIRST || v == VERDICT_ADVANCE || v == VERDICT_REENCODED;
}

static void
pull_report_verdict(struct pull *p, struct batch *b)
{
	char op[ERR_MSG_MAX];

	engine_event(b, p->e, "verdict", pull_label(p), p->name, "", "%s: serial %llu%s%s", verdict_name(p->judgement.verdict),
	    (unsigned long long)p->now.info.serial, p->judgement.reason[0] != '\0' ? ": " : "", p->judgement.reason);
	p->e->counters.verdicts[p->judgement.verdict]++;
	snprintf(op, sizeof(op), "watch %s %s", pull_label(p), p->name);
	log_event(pull_moves_head(p) || p->judgement.verdict == VERDICT_SAME ? LOG_INFO : LOG_WARN, op,
	    verdict_name(p->judgement.verdict), { "serial", log_u64(p->now.info.serial) }, { "size", log_u64(p->now.info.size) },
	    { "reason", log_str(p->judgement.reason[0] != '\0' ? p->judgement.reason : NULL) });
}

/* Bytes that were seen last time already need no new version, unless a person released them meanwhile. */
static bool
pull_is_news(const struct pull *p)
{
	if (p->judgement.verdict == VERDICT_SAME)
		return false;
	if (p->judgement.verdict == VERDICT_EMPTY && !p->has_head)
		return false;
	if (p->version != NULL)
		return !p->known_bytes && !p->seen_again;
	return !p->known_bytes || (p->seen_version == 0 && !p->mark.open) || pull_moves_head(p);
}

/* The newest good version becomes the head: what was read, or of the older ones the last that is not held back. */
static void
pull_move_head(struct pull *p, struct batch *b)
{
	bool          now = pull_moves_head(p), older = p->has_head && p->head.number != p->from_number;
	struct digest to = now ? p->now.digest : p->head.digest;

	if (!now && !older)
		return;
	batch_head(b, pull_label(p), p->name, p->has_from ? &p->from : NULL, &to);
	batch_high_serial(b, pull_label(p), p->name, now ? p->now.info.serial : p->head.serial);
	engine_enqueue(p->e, b, p->place->backend, p->name);
	p->ret->changed = true;
}

/* Which version the bytes are that were read, once this is committed; 0: none. */
static uint64_t
pull_number(const struct pull *p)
{
	if (p->ret->kept)
		return p->versions + 1;
	if (p->judgement.verdict == VERDICT_SAME)
		return p->head.number;
	if (p->seen_again)
		return p->before.number;
	return !p->known_bytes ? 0 : p->mark.open ? p->mark.last : p->seen_version;
}

/* The remote's versions are known up to what is there now; or only as far as they were, and what came since will come again. */
static void
pull_note_fill(const struct pull *p, struct batch *b)
{
	struct fill_mark m = { .open = false };

	if (p->place->backend->common.backfill == 0)
		return;
	if (p->whole && p->now.version[0] != '\0') {
		m.number = p->versions + p->ret->kept;
		snprintf(m.id, sizeof(m.id), "%s", p->now.version);
	} else if (p->mark.open) {
		m.number = p->mark.base < p->mark.top ? p->mark.base : p->mark.number;
		snprintf(m.id, sizeof(m.id), "%s", p->mark.id);
	}
	if (m.id[0] != '\0')
		fill_note(p->place, p->name, b, &m);
}

/* An older version: nothing but itself, and how far they are known. */
static struct batch *
pull_old_batch(struct pull *p)
{
	struct batch      *b = batch_new(p->e->store);
	struct fill_mark  *m = &p->mark;
	struct version_rec v;

	p->ret->changed = p->ret->kept = pull_is_news(p);
	if (p->ret->kept) {
		pull_version(p, &v);
		batch_body(b, p->now.body, &p->now.digest, p->has_head ? &p->head.digest : NULL);
		batch_version(b, pull_label(p), p->name, &v);
		p->e->counters.verdicts[v.verdict]++;
	}
	m->best = p->ret->kept && verdict_is_head(v.verdict) ? v.number : p->has_head ? p->head.number : 0;
	m->from = p->from_number;
	m->last = pull_number(p);
	m->number = p->versions + p->ret->kept;
	snprintf(m->id, sizeof(m->id), "%s", p->version);
	fill_note(p->place, p->name, b, m);
	return b;
}

static struct batch *
pull_batch(struct pull *p)
{
	struct batch      *b = batch_new(p->e->store);
	struct version_rec v;
	struct sighting    s = { .etag = p->now.etag, .digest = &p->now.digest, .read = loop_wall(p->e->loop),
		.flags = pull_flags(p), .problem = "" };

	batch_state(b, pull_label(p), p->name);
	p->ret->changed = p->ret->kept = pull_is_news(p);
	if (p->ret->kept) {
		pull_version(p, &v);
		batch_body(b, p->now.body, &p->now.digest, p->has_head ? &p->head.digest : NULL);
		batch_version(b, pull_label(p), p->name, &v);
		pull_report_verdict(p, b);
	}
	pull_move_head(p, b);
	pull_note_fill(p, b);
	if (p->opt.release || p->restored)
		batch_release(b, pull_label(p), p->name, &p->now.digest);
	batch_seen(b, pull_label(p), p->name, &s);
	return b;
}

/* The source has no such state (any more): the versions stay, and nothing is deleted anywhere. */
static struct batch *
pull_gone_batch(struct pull *p)
{
	struct batch    *b = batch_new(p->e->store);
	struct sighting  s = { .etag = "", .flags = STATE_GONE, .problem = "" };

	batch_seen(b, pull_label(p), p->name, &s);
	engine_event(b, p->e, "gone", pull_label(p), p->name, "", "the source has no such state any more; its versions stay");
	return b;
}

static bool
pull_was_there(struct pull *p)
{
	struct store_txn *t;
	struct state_rec  s;
	bool              there;

	if (store_read(p->e->store, &t, NULL) != ERR_OK)
		return false;
	there = store_state(t, pull_label(p), p->name, &s) && (s.flags & STATE_GONE) == 0;
	store_end(t);
	return there;
}

/* Where names are given and nobody lists them, one that is misspelt looks like one that is yet to come. An agent would say it at each look. */
static void
pull_never_there(const struct pull *p)
{
	const struct backend *b = p->place->backend;

	if (!p->has_state && !p->e->started && (provider_caps(b) & PROVIDER_LIST) == 0 && b->provider->findable != NULL && b->provider->behind == NULL)
		log_at(LOG_WARN, pull_label(p), "%s: nothing is there: it was never written yet, or its name or address is misspelt", p->name);
}

static enum op_turn
pull_gone(struct pull *p)
{
	bool was = pull_was_there(p);

	pull_never_there(p);
	p->ret->gone = true;
	p->ret->changed = was;
	err_clear(&p->op.res);
	if (!was || p->opt.dry)
		return op_ok(&p->op);
	return op_await(&p->op, COMMITTED, store_apply(p->e->store, pull_gone_batch(p)));
}

/* A source that cannot be read: remembered with the state, so that status can say it. */
static enum op_turn
pull_unreadable(struct pull *p)
{
	struct err      why = p->op.res;
	struct sighting s = { .etag = "", .flags = STATE_UNCOVERED | pull_flags(p), .problem = why.msg };
	struct batch   *b;

	p->op.err = why;
	if (p->opt.dry || why.code != ERR_UNSUPPORTED) /* others are the source's trouble, not this state's */
		return op_finish(&p->op);
	b = batch_new(p->e->store);
	batch_state(b, pull_label(p), p->name);
	batch_seen(b, pull_label(p), p->name, &s);
	return op_await(&p->op, COMMITTED, store_apply(p->e->store, b));
}

/* Known from an inventory, and out of reach: nobody failed. What was kept of it earlier stays. */
static enum op_turn
pull_uncovered(struct pull *p)
{
	struct sighting s = { .etag = "", .flags = STATE_UNCOVERED | STATE_INVENTORY, .problem = p->opt.uncovered };
	struct batch   *b;

	p->ret->changed = true;
	if (p->opt.dry)
		return op_ok(&p->op);
	b = batch_new(p->e->store);
	batch_state(b, pull_label(p), p->name);
	batch_seen(b, pull_label(p), p->name, &s);
	engine_event(b, p->e, "uncovered", pull_label(p), p->name, "", "%s", s.problem);
	log_at(LOG_WARN, pull_label(p), "%s: not covered: %s", p->name, s.problem);
	return op_await(&p->op, COMMITTED, store_apply(p->e->store, b));
}

static enum op_turn
pull_keep(struct pull *p)
{
	p->ret->verdict = p->judgement.verdict;
	p->ret->judged = true;
	snprintf(p->ret->reason, sizeof(p->ret->reason), "%s", p->judgement.reason);
	if (p->opt.release && !state_is_good(&p->now.info)) {
		err_set(&p->op.res, ERR_CONFLICT, 0, "%s:%s: what the source holds is no state (%s)", pull_label(p), p->name,
		    p->judgement.reason);
		err_hint(&p->op.res, "look at it with \"cat\", or remove it with \"quarantine drop\"");
		return op_fail(&p->op);
	}
	if (p->opt.release && p->opt.must_be != 0 && !p->must_fits) {
		err_set(&p->op.res, ERR_CONFLICT, 0, "%s:%s: the source does not hold version %llu now", pull_label(p), p->name,
		    (unsigned long long)p->opt.must_be);
		err_hint(&p->op.res, "bring it back with \"restore %s:%s@%llu\"", pull_label(p), p->name,
		    (unsigned long long)p->opt.must_be);
		return op_fail(&p->op);
	}
	if (p->opt.dry) {
		p->ret->changed = pull_is_news(p);
		return op_ok(&p->op);
	}
	if (p->version != NULL)
		return op_await(&p->op, COMMITTED, store_apply(p->e->store, pull_old_batch(p)));
	p->e->counters.pulls++;
	return op_await(&p->op, COMMITTED, store_apply(p->e->store, pull_batch(p)));
}

static struct op *
pull_load_head(struct pull *p)
{
	return store_body_load(p->e->store, &p->head.digest, &p->head_body);
}

static enum op_turn
pull_arrived(struct pull *p)
{
	bool load = false;

	if (pull_judge(p, &load, &p->op.res) != ERR_OK)
		return op_fail(&p->op);
	if (load)
		return op_await(&p->op, HEAD_LOADED, pull_load_head(p));
	p->meaning.added = p->meaning.changed = p->meaning.removed = -1;
	return pull_keep(p);
}

/* Before it is judged: what the remote kept since the last look comes first. */
static enum op_turn
pull_fill(struct pull *p)
{
	if (p->opt.ask && watch_asks(p->place, p->name, &p->now.digest)) {
		p->opt.ask = false;
		return op_await(&p->op, LOCK_LOOKED, watch_op(p->place, p->name, p->opt.lock));
	}
	if (p->opt.fill && fill_is_due(p->place, p->name, &p->now))
		return op_await(&p->op, FILLED, fill_op(p->e, p->place, p->name, &p->now, &p->whole));
	p->whole = p->opt.fill;
	return pull_arrived(p);
}

static enum op_turn
pull_step(struct op *op)
{
	struct pull *p = container_of(op, struct pull, op);

	switch ((enum pull_state)op->state) {
	case START:
		if (p->opt.uncovered != NULL)
			return pull_uncovered(p);
		if (pull_recall(p, &op->res) != ERR_OK)
			return op_fail(op);
		return op_await(op, READ, pull_get(p));
	case READ:
		if (p->version != NULL)
			return op_failed(op) ? op_fail(op) : pull_arrived(p);
		if (op->res.code == ERR_UNCHANGED)
			return op_ok(op);
		if (op->res.code == ERR_NOT_FOUND)
			return pull_gone(p);
		if (op_failed(op))
			return pull_unreadable(p);
		if (judge_is_torn(&p->now.info))
			return op_await(op, TORN, op_sleep(op->loop, TORN_WAIT_MS));
		return pull_fill(p);
	case TORN:
		if (op_failed(op))
			return op_fail(op);
		p->known_etag[0] = '\0';
		return op_await(op, READ_AGAIN, pull_get(p));
	case READ_AGAIN:
		if (op->res.code == ERR_NOT_FOUND)
			return pull_gone(p);
		if (op_failed(op))
			return pull_unreadable(p);
		return pull_fill(p);
	case LOCK_LOOKED:
		return op_failed(op) ? op_fail(op) : pull_fill(p);
	case FILLED:
		return op_failed(op) ? op_fail(op) : pull_arrived(p);
	case HEAD_LOADED:
		if (op_failed(op))
			return op_fail(op);
		p->meaning.a = p->head_body;
		p->meaning.b = p->now.body;
		return op_await(op, MEANT, meaning_run(p->e->work, &p->meaning));
	case MEANT:
		if (op_failed(op) || pull_rejudge(p, &op->res) != ERR_OK)
			return op_fail(op);
		return pull_keep(p);
	case COMMITTED:
		if (op_failed(op))
			return op_fail(op);
		if (p->version != NULL)
			*p->opt.mark = p->mark;
		else if (p->ret->changed)
			engine_kick(p->e, p->place->backend);
		return op_finish(op);
	}
	return OP_DONE;
}

static void
pull_hand_out(struct op *op)
{
	struct pull *p = container_of(op, struct pull, op);

	if (p->opt.keep && p->now.body != NULL) {
		p->ret->now = p->now;
		memset(&p->now, 0, sizeof(p->now));
	}
	pull_free(op);
}

static const struct op_class pull_class = { "pull", pull_step, NULL, pull_hand_out, pull_states, ARRAY_LEN(pull_states) };

struct op *
pull_op(struct engine *e, struct place *place, const char *name, const struct pull_options *o, struct pull_result *ret)
{
	struct pull *p = xcalloc(1, sizeof(*p));

	op_init(&p->op, &pull_class, e->loop);
	p->e = e;
	p->place = place;
	p->op.about = p->name = xstrdup(name);
	if (o->version != NULL) {
		p->version = xstrdup(o->version);
		p->mark = *o->mark;
	}
	p->opt = *o;
	p->ret = ret;
	memset(ret, 0, sizeof(*ret));
	return &p->op;
}
