/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "push.h"

/*
 * One state moved to another backend: what its source kept of older versions is read first, for they stay there and a state that is known
 * is not asked for them again; then under the lock of the source it is read, judged and kept as every look does it (pull.c), then
 * written under the lock of the target as every guarded write is (push.c), and read once more at the source before that is unlocked. The
 * source is left in place. Both locks are journalled before they are asked for, each as an intent of its own, so that whoever comes
 * after a death releases them.
 */
enum migrate_state { START, FILLED, INTENDED, LOCKED, PULLED, PUSHED, READ_AGAIN, RELEASE, RELEASED, SETTLE, SETTLED };

static const char *const migrate_states[] = { "start", "filled", "intended", "locked", "pulled", "pushed", "read again", "release", "released",
	"settle", "settled" };

struct migrate {
	struct op              op;
	struct engine         *e;
	struct place          *from;
	struct backend        *dst;
	char                  *name, *to_name;
	bool                   dry, unlocked;  /* unlocked: the source has no lock that could be taken */
	struct restore_result *ret;
	struct err             refused;        /* known before the first request; OK: go on */
	struct lock_info       lock, holder;   /* of the source */
	uint64_t               intent;         /* 0: none open */
	bool                   lock_held, lock_doubt, lock_left;
	struct pull_result     pulled;
	struct digest          read;           /* what was pulled */
	struct snapshot        again;
};

/* --- the write --- */

static struct migrate *
migrate_of(struct push *p)
{
	return p->arg;
}

static void
migrate_facts(struct push *p, struct compare_facts *f)
{
	*f = (struct compare_facts){ .next = &p->next.info, .next_digest = &p->next.digest, .same_meaning = p->meaning.same };
	if (!p->absent) {
		f->now = &p->cur.info;
		f->now_digest = &p->cur.digest;
	}
}

static bool
migrate_needs_meaning(struct push *p)
{
	struct compare_facts f;

	bool                 counts = push_can_count(p);

	migrate_facts(p, &f);
	p->meaning.want_semantic = compare_needs_meaning(&f);
	return counts || p->meaning.want_semantic;
}

/* As a replica is compared, but nobody has decided anything here: newer or other content is never replaced. */
static enum err_code
migrate_weigh(struct push *p, struct err *reterr)
{
	struct restore_result *ret = migrate_of(p)->ret;
	struct compare_facts   f;
	struct store_txn      *t;
	struct replica_rec     torn; /* our own half-written bytes, of a write in place that broke off */

	migrate_facts(p, &f);
	if (store_read(p->e->store, &t, reterr) != ERR_OK)
		return reterr->code;
	f.resolved = store_replica(t, "", p->dst->label, p->state, &torn) && digest_eq(&torn.resolved, &p->cur.digest);
	store_end(t);
	compare(&f, &p->cmp);
	p->reencoded = p->cmp.action == COMPARE_LEAVE;
	ret->had_before = !p->absent && p->cur.info.kind != STATE_EMPTY;
	ret->serial_before = ret->had_before ? p->cur.info.serial : 0;
	ret->changed_resources = push_changes(p);
	return ERR_OK;
}

static void
migrate_hint(struct push *p)
{
	push_lock_hint(p);
	if (p->op.err.code == ERR_CONFLICT && p->cmp.action == COMPARE_HOLD) {
		err_hint(&p->op.err, "if what lies at %s:%s is right, nothing is to be migrated; if it may go: stateferry restore %s:%s@%" PRIu64
		    " --to %s:%s", p->dst->label, p->name, p->backend, p->source, p->want_version, p->dst->label, p->name);
	}
}

static void
migrate_settle(struct push *p, struct batch *b)
{
	struct migrate        *m = migrate_of(p);
	struct restore_result *ret = m->ret;
	char                   op[ERR_MSG_MAX];

	migrate_hint(p);
	if (p->op.err.code == ERR_OK) {
		ret->serial_after = p->cmp.action == COMPARE_WRITE ? p->next.info.serial : p->cur.info.serial;
		ret->digest = p->cmp.action == COMPARE_WRITE ? p->next.digest : p->cur.digest;
		ret->writes = p->cmp.action == COMPARE_WRITE;
		ret->probe = p->dry && ret->writes && place_asks_probe(engine_place(p->e, p->dst), p->name);
	}
	if (b == NULL)
		return;
	if (p->cmp.action == COMPARE_HOLD && state_is_good(&p->cur.info)) /* evidence for whoever decides */
		push_keep_current(p, b);
	if (p->torn)
		batch_replica(b, &(struct replica_rec){ .edge = "", .target = p->dst->label, .state = p->state, .name = p->name, .etag = "",
		    .error = "", .hint = "", .resolved = p->cur.digest });
	if (!p->wrote)
		return;
	batch_replica_del(b, "", p->dst->label, p->state);
	ret->written = true;
	engine_event(b, p->e, "migrated", p->backend, p->source, "", "version %" PRIu64 " to %s:%s, serial %" PRIu64 "%s%s",
	    p->want_version, p->dst->label, p->name, p->next.info.serial, p->cmp.reason[0] != '\0' ? ", replaces " : "", p->cmp.reason);
	snprintf(op, sizeof(op), "migrate %s:%s", p->backend, p->source);
	log_event(LOG_INFO, op, "written", { "target", log_str(p->dst->label) }, { "name", log_str(p->name) },
	    { "serial", log_u64(p->next.info.serial) }, { "size", log_u64(p->next.info.size) });
}

static const struct push_kind migrate_kind = { INTENT_MIGRATE, "migrate", migrate_weigh, migrate_needs_meaning, NULL, migrate_settle,
	NULL };

static struct op *
migrate_push(struct migrate *m)
{
	struct push       *p = push_new(m->e, &migrate_kind, m->dst, m->to_name);
	struct store_txn  *t;
	struct state_rec   s;
	struct version_rec v;

	p->backend = xstrdup(m->from->backend->label);
	p->source = xstrdup(m->name);
	p->arg = m;
	p->dry = m->dry;
	p->prelook = true;
	p->next = m->pulled.now;
	memset(&m->pulled.now, 0, sizeof(m->pulled.now));
	p->want = p->next.digest;
	if (store_read(m->e->store, &t, &p->refused) != ERR_OK)
		return &p->op;
	if (store_state(t, p->backend, p->source, &s)) {
		p->state = s.id;
		if (store_version_find(t, s.id, &p->want, &v))
			p->want_version = v.number;
	}
	m->ret->from = p->want_version;
	if (!push_is_of_another(p, t, &p->refused)) /* they would fight over that name */
		place_writable(engine_place(m->e, m->dst), m->to_name, &p->refused);
	store_end(t);
	return &p->op;
}

/* --- the source --- */

enum err_code
migrate_no_state(const struct backend *from, const struct backend *to, struct err *reterr)
{
	err_set(reterr, ERR_NOT_FOUND, 0, "%s has no such state", from->label);
	return err_hint(reterr, "what it holds, under which names: stateferry migrate %s %s --dry-run", from->label, to->label);
}

static bool
migrate_can_lock(const struct migrate *m)
{
	return (provider_caps(m->from->backend) & PROVIDER_LOCK) != 0 && !m->from->backend->common.read_only;
}

static struct op *
migrate_intend(struct migrate *m)
{
	struct batch *b;
	char          info[512];
	bool          remote = (provider_caps(m->from->backend) & PROVIDER_IN_PLACE) == 0;

	if (m->dry || m->unlocked)
		return NULL;
	snprintf(info, sizeof(info), "migrate to %s; if that host is gone, \"terraform force-unlock ID\" is safe", m->dst->label);
	provider_lock_new(m->from->backend, &(struct state_ref){ m->name }, info, &m->lock);
	m->intent = intent_new_id(m->e->store);
	engine_live_alone(m->e, m->intent);
	b = batch_new(m->e->store);
	lock_intend(b, m->e, m->intent, m->from->backend, m->name, &m->lock, remote);
	return store_apply(m->e->store, b);
}

/* Before the lock, for it may take a while. What goes wrong here the read under the lock tells. */
static struct op *
migrate_fill(struct migrate *m)
{
	if (m->dry || m->from->backend->common.backfill == 0)
		return NULL;
	return pull_op(m->e, m->from, m->name, &(struct pull_options){ .fill = true }, &m->pulled);
}

static struct op *
migrate_lock(struct migrate *m)
{
	return m->intent == 0 ? NULL : provider_lock(m->from->backend, &(struct state_ref){ m->name }, &m->lock, &m->holder);
}

static struct op *
migrate_pull(struct migrate *m)
{
	struct pull_options o = { .force = true, .dry = m->dry, .keep = true };

	return pull_op(m->e, m->from, m->name, &o, &m->pulled);
}

/* What holds a replica back holds this back, too. */
static enum err_code
migrate_judged(struct migrate *m, struct err *reterr)
{
	const char       *label = m->from->backend->label;
	struct store_txn *t;
	struct state_rec  s;
	bool              told;

	if (m->pulled.gone)
		return migrate_no_state(m->from->backend, m->dst, reterr);
	if (m->pulled.judged && verdict_is_head(m->pulled.verdict))
		return ERR_OK;
	if (!m->dry && store_read(m->e->store, &t, NULL) == ERR_OK) {
		told = store_state(t, label, m->name, &s) && look_is_quarantined(t, &s, reterr);
		store_end(t);
		if (told)
			return reterr->code;
	}
	err_set(reterr, ERR_CONFLICT, 0, "what %s holds is %s: %s", label, verdict_name(m->pulled.verdict), m->pulled.reason);
	return err_hint(reterr, "look at it with terraform first: nothing of it was written");
}

static enum op_turn
migrate_pulled(struct migrate *m)
{
	struct op *op = &m->op;

	if (op_failed(op) || migrate_judged(m, &op->res) != ERR_OK)
		return op_unwind(op, RELEASE);
	return op_await(op, PUSHED, migrate_push(m));
}

/* Did nobody write to the source meanwhile, who does not ask for locks? */
static struct op *
migrate_read_again(struct migrate *m)
{
	return m->dry ? NULL : provider_get(m->from->backend, &(struct state_ref){ m->name }, NULL, &m->again);
}

static enum err_code
migrate_compare_again(struct migrate *m, struct err *reterr)
{
	const char *label = m->from->backend->label;

	if (m->dry)
		return ERR_OK;
	if (m->op.res.code != ERR_OK) {
		err_prefix(reterr, "%s:%s was written, but whether %s changed meanwhile could not be read", m->dst->label, m->to_name, label);
		return err_hint(reterr, "run it again: what is equal is left alone");
	}
	if (digest_eq(&m->again.digest, &m->read))
		return ERR_OK;
	err_set(reterr, ERR_CONFLICT, 0, "%s changed it while it was migrated: %s:%s holds what was there before", label, m->dst->label,
	    m->to_name);
	return err_hint(reterr, "end what writes there, then run it again");
}

/* --- the end --- */

static struct op *
migrate_unlock(struct migrate *m)
{
	bool safe = m->lock_held || (m->lock_doubt && (provider_caps(m->from->backend) & PROVIDER_LOCK_ID) != 0);

	return safe ? provider_unlock(m->from->backend, &(struct state_ref){ m->name }, &m->lock) : NULL;
}

static void
migrate_released(struct migrate *m)
{
	struct err why = m->op.res;

	m->lock_left = (m->lock_held || m->lock_doubt) && why.code != ERR_OK;
	if (!m->lock_left || m->op.err.code != ERR_OK)
		return;
	err_set(&m->op.err, why.code, why.detail, "migrated, but its lock %s at %s could not be released: %s", m->lock.id,
	    m->from->backend->label, why.msg);
	err_hint(&m->op.err, "it is tried again; by hand: stateferry unlock %s:%s", m->from->backend->label, m->name);
}

/* The intent of the source's lock stays open while that is there, or may come to be. */
static struct op *
migrate_settled(struct migrate *m)
{
	struct batch *b;
	bool          late = m->lock_doubt || m->lock.late;

	if (m->intent == 0)
		return NULL;
	b = batch_new(m->e->store);
	engine_live(m->e, m->intent, NULL);
	if (m->lock_left || late) {
		lock_intend(b, m->e, m->intent, m->from->backend, m->name, &m->lock, late);
		engine_recover_soon(m->e);
	} else {
		batch_settle(b, m->intent);
	}
	m->intent = 0;
	if (m->op.err.code == ERR_LOCKED && !m->lock_held)
		recover_met(b, m->e, m->from->backend, m->name, &m->holder);
	lock_note(b, m->e, m->from->backend, m->name, m->lock_held ? NULL : &m->holder);
	return store_apply(m->e->store, b);
}

static enum op_turn
migrate_locked(struct migrate *m)
{
	struct op *op = &m->op;
	struct buf how;

	m->lock_held = m->intent != 0 && op->res.code == ERR_OK;
	m->lock_doubt = op->res.code == ERR_UNCERTAIN;
	if (op->res.code == ERR_LOCKED && op->res.hint[0] == '\0' && m->holder.id[0] != '\0') {
		buf_init(&how, 0);
		provider_unlock_hint(m->from->backend, m->name, &m->holder, &how);
		err_hint(&op->res, "wait for that run; if it is really gone: %s", buf_str(&how));
		buf_free(&how);
	}
	if (op_failed(op))
		return op_unwind(op, RELEASE);
	return op_await(op, PULLED, migrate_pull(m));
}

static enum op_turn
migrate_step(struct op *op)
{
	struct migrate *m = container_of(op, struct migrate, op);

	switch ((enum migrate_state)op->state) {
	case START:
		op->res = m->refused;
		if (op_failed(op))
			return op_fail(op);
		return op_await(op, FILLED, migrate_fill(m));
	case FILLED: /* the lock's id and body are on the disk before they are on the wire */
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		memset(&m->pulled, 0, sizeof(m->pulled));
		return op_await(op, INTENDED, migrate_intend(m));
	case INTENDED:
		if (op_failed(op)) { /* nothing was sent, and nothing of it is on the disk */
			if (m->intent != 0)
				engine_live(m->e, m->intent, NULL);
			m->intent = 0;
			return op_fail(op);
		}
		return op_await(op, LOCKED, migrate_lock(m));
	case LOCKED: /* held by others, or in doubt: nothing was read */
		return migrate_locked(m);
	case PULLED:
		m->read = m->pulled.now.digest;
		return migrate_pulled(m);
	case PUSHED:
		if (op_failed(op))
			return op_unwind(op, RELEASE);
		return op_await(op, READ_AGAIN, migrate_read_again(m));
	case READ_AGAIN:
		if (migrate_compare_again(m, &op->res) != ERR_OK)
			return op_unwind(op, RELEASE);
		op_shield(op);
		return op_go(op, RELEASE);
	case RELEASE:
		return op_await(op, RELEASED, migrate_unlock(m));
	case RELEASED:
		migrate_released(m);
		return op_go(op, SETTLE);
	case SETTLE:
		return op_await(op, SETTLED, migrate_settled(m));
	case SETTLED:
		if (m->ret->written && !m->e->stopping)
			place_wake(engine_place(m->e, m->dst));
		return op_finish(op);
	}
	return OP_DONE;
}

static void
migrate_free(struct op *op)
{
	struct migrate *m = container_of(op, struct migrate, op);

	if (m->intent != 0)
		engine_live(m->e, m->intent, NULL);
	snapshot_free(&m->pulled.now);
	snapshot_free(&m->again);
	free(m->name);
	free(m->to_name);
	free(m);
}

static const struct op_class migrate_class = { "migrate", migrate_step, NULL, migrate_free, migrate_states, ARRAY_LEN(migrate_states) };

static enum err_code
migrate_check(struct migrate *m, const struct migrate_options *o, struct err *reterr)
{
	struct backend *from = m->from->backend;

	if (name_check(span_str(m->to_name), reterr) != ERR_OK || provider_holds_name(m->dst, m->to_name, reterr) != ERR_OK)
		return reterr->code;
	if (!provider_gives_name(m->dst, m->to_name)) {
		err_set(reterr, ERR_USAGE, 0, "%s holds one state and its workspaces, and %s is none of them", m->dst->label, m->to_name);
		return err_hint(reterr, "leave out the name, and it is called as there: stateferry migrate %s:%s %s", from->label, m->name, m->dst->label);
	}
	if (provider_same_name(from, m->name, m->dst, m->to_name)) {
		err_set(reterr, ERR_USAGE, 0, "%s:%s is the same place", m->dst->label, m->to_name);
		return err_hint(reterr, "give it another name there, or name another backend");
	}
	if (!engine_acts(m->e) && !m->dry) {
		err_set(reterr, ERR_CONFIG, 0, "this store is not active on this host");
		return err_hint(reterr, "stateferry adopt");
	}
	if (!place_may_act(m->from, reterr) || !place_may_act(engine_place(m->e, m->dst), reterr))
		return reterr->code;
	if (!m->dry && provider_writable(m->dst, reterr) != ERR_OK)
		return reterr->code;
	if (m->unlocked && !m->dry && !o->yes) {
		err_set(reterr, ERR_USAGE, 0, "%s cannot be locked (%s), so nothing keeps terraform from applying there meanwhile", from->label,
		    from->common.read_only ? "read_only" : "it has no lock");
		return err_hint(reterr, "see that nobody does, then add --yes: at the end it is read again");
	}
	return ERR_OK;
}

struct op *
engine_migrate(struct engine *e, const struct migrate_options *o, struct restore_result *ret)
{
	struct migrate *m = xcalloc(1, sizeof(*m));

	op_init(&m->op, &migrate_class, e->loop);
	m->e = e;
	m->from = engine_place(e, o->from);
	m->dst = o->to;
	m->op.about = m->name = xstrdup(o->name);
	m->to_name = xstrdup(o->to_name);
	m->dry = o->dry_run;
	m->ret = ret;
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->to, sizeof(ret->to), "%s:%s", m->dst->label, m->to_name);
	m->unlocked = ret->unlocked = !migrate_can_lock(m);
	if (migrate_check(m, o, &m->refused) == ERR_OK)
		err_clear(&m->refused);
	return hold_op(e, &m->op);
}

const char *
engine_migrate_doing(const struct op *op)
{
	static const char *const doing[] = { "starting", "reading older versions", "noting what is to come", "locking the source", "reading the source",
		"writing", "reading the source again", "unlocking the source", "unlocking the source", "noting what came of it", "noting what came of it" };
	const struct op         *migrate = op->child; /* op is the hold_op() around it */

	_Static_assert(ARRAY_LEN(doing) == SETTLED + 1, "a word for each wait");
	if (migrate == NULL)
		return doing[START];
	return migrate->state == PUSHED && migrate->child != NULL ? push_doing(migrate->child) : doing[migrate->state];
}
