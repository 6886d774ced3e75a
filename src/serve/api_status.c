/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "serve.h"
#include "sync/judge.h"

/* status: one verdict, and what is wrong: since when, why, what to do. */

#define STATUS_LOOP_SLOW_S 1.0  /* a loop that hangs for so long is in trouble */

struct status {
	struct call        *c;
	struct buf          buf;       /* the array of problems */
	struct json_writer  w;
	uint64_t            problems;
	bool                failing;   /* something cannot be reached or refuses us */
	bool                waiting;   /* work or a decision is outstanding */
	bool                looked;    /* at least one source was looked at, ever */
	struct engine_totals totals;
	const struct state_rec *s;     /* being looked at */
};

struct status_problem {
	const char *kind, *edge, *backend, *state; /* "" none */
	int         code;              /* the exit code of its reason */
	int64_t     since;             /* wall ms, 0: unknown */
	const char *cause, *next;
};

static void
status_add(struct status *x, const struct status_problem *p)
{
	if (x->problems++ >= API_PROBLEMS_MAX)
		return;
	json_obj(&x->w);
	json_kv_str(&x->w, "kind", p->kind);
	put_text(&x->w, "edge", p->edge);
	put_text(&x->w, "backend", p->backend);
	put_text(&x->w, "state", p->state);
	json_kv_i64(&x->w, "code", p->code);
	json_kv_time(&x->w, "since", p->since);
	json_kv_str(&x->w, "message", p->cause); /* the two names that the problems of a sync have */
	put_text(&x->w, "hint", p->next);
	json_kv_str(&x->w, "cause", p->cause);
	put_text(&x->w, "next", p->next);
	json_obj_end(&x->w);
}

/* ---------------------------------------------------------------- places */

/* Waiting for a lock, or for the outcome of a write, is the normal course; any other failure is a refusal. */
static bool
status_is_refusal(enum err_code code)
{
	return code != ERR_LOCKED && code != ERR_UNCERTAIN && code != ERR_CANCELLED && code != ERR_OK;
}

/* Names that a source lists and that nobody can keep: no record of a state tells of them. */
static void
status_refused(struct status *x, const struct place_health *h)
{
	const struct tally *r = &h->refused;
	char *cause = r->n > 1 ? xasprintf("%" PRIu64 " listed names cannot be used, the first is %s", r->n, r->first.msg) :
	                         xstrdup(r->first.msg);

	status_add(x, &(struct status_problem){ .kind = "unusable", .backend = h->label, .code = 1, .cause = cause,
	    .next = r->first.hint });
	x->waiting = true;
	free(cause);
}

/* States of a source that could not be read, or not be kept: their newest bytes are safe nowhere. */
static void
status_unread(struct status *x, const struct place_health *h)
{
	const struct tally *u = &h->unread;
	char *cause = u->n > 1 ? xasprintf("%" PRIu64 " states cannot be read or kept, the first is %s", u->n, u->first.msg) :
	                         xstrdup(u->first.msg);

	status_add(x, &(struct status_problem){ .kind = "unread", .backend = h->label, .code = err_exit(u->first.code),
	    .cause = cause, .next = u->first.hint });
	if (status_is_refusal(u->first.code) && u->first.code != ERR_BUSY)
		x->failing = true;
	x->waiting = true;
	free(cause);
}

static void
status_place(void *arg, const struct place_health *h)
{
	struct status        *x = arg;
	struct plan          *p = engine_plan(x->c->e);
	const struct backend *b = plan_backend(p, h->label);
	struct status_problem q = { .backend = h->label, .since = h->since, .code = err_exit(h->trouble.code),
		.cause = h->trouble.msg, .next = h->trouble.hint };
	char                  next[ERR_MSG_MAX];

	if (plan_is_source(p, b) && h->last_ok != 0)
		x->looked = true;
	if (plan_is_source(p, b) && h->refused.n > 0)
		status_refused(x, h);
	if (plan_is_source(p, b) && h->unread.n > 0 && h->ok)
		status_unread(x, h);
	if (h->ok)
		return;
	x->failing = true;
	q.kind = h->moved ? "moved" : plan_is_source(p, b) ? "source" : "target";
	if (q.next[0] == '\0') {
		snprintf(next, sizeof(next), h->moved ? "stateferry adopt" : "stateferry probe %s", h->label);
		q.next = next;
	}
	if (q.cause[0] == '\0')
		q.cause = "the label points elsewhere than before";
	status_add(x, &q);
}

static void
status_store(struct status *x)
{
	struct store     *s = engine_store(x->c->e);
	struct loop_delay d;
	char              cause[100];

	if (store_is_foreign(s)) {
		x->failing = true;
		status_add(x, &(struct status_problem){ .kind = "foreign_store", .code = 10,
		    .cause = "the store came from another host or a backup, or is a copy: it is shown, nothing is written", .next = "stateferry adopt" });
	} else if (engine_is_outrun(x->c->e)) { /* also when nothing is to be said of that lease any more, because another agent has it */
		x->failing = true;
		status_add(x, &(struct status_problem){ .kind = "foreign_store", .code = 10,
		    .cause = "a lease shows that the store is older than what its agent did, or a copy: nothing is written", .next = "stateferry adopt" });
	}
	if (store_trouble(s)[0] != '\0') {
		x->failing = true;
		status_add(x, &(struct status_problem){ .kind = "store", .code = 1, .cause = store_trouble(s),
		    .next = "stateferry check, and room on the disk" });
	}
	loop_delay(engine_loop(x->c->e), &d);
	if (d.last_max_s <= STATUS_LOOP_SLOW_S)
		return;
	x->failing = true;
	snprintf(cause, sizeof(cause), "the agent did not react for %.1f s within the last two minutes", d.last_max_s);
	status_add(x, &(struct status_problem){ .kind = "loop", .code = 1, .cause = cause });
}

/* ---------------------------------------------------------------- states */

static void
status_replica(void *arg, const struct replica_view *v)
{
	struct status        *x = arg;
	char                 *text = NULL, *next = NULL;
	struct status_problem q = { .edge = v->lane->edge->name, .backend = v->lane->to->label,
		.since = v->rec.troubled != 0 ? v->rec.troubled : x->s->last_changed };
	bool                  waits = (v->status == REPLICA_BEHIND || v->status == REPLICA_PENDING) && v->why.code == ERR_LOCKED;

	totals_replica(&x->totals, x->s, v);
	if (v->quarantined || (v->status != REPLICA_HELD && !waits && (v->status != REPLICA_FAILED || x->s->head == 0)))
		return;
	text = xasprintf("%s:%s", x->s->backend, x->s->name);
	q.kind = waits ? "locked" : replica_status_name(v->status);
	q.state = x->s->name;
	q.code = err_exit(v->why.code);
	q.cause = v->why.msg[0] != '\0' ? v->why.msg : "the target cannot carry this state";
	q.next = v->why.hint;
	if (v->status == REPLICA_HELD && q.next[0] == '\0')
		q.next = next = xasprintf("stateferry resolve %s %s --overwrite", v->lane->edge->name, text);
	if (v->status == REPLICA_FAILED && status_is_refusal(v->why.code))
		x->failing = true;
	status_add(x, &q);
	free(text);
	free(next);
}

static void
status_version(struct status *x, const struct version_rec *v)
{
	struct err why;

	judge_held(x->s, v, &why);
	status_add(x, &(struct status_problem){ .kind = "quarantined", .backend = x->s->backend, .state = x->s->name,
	    .code = err_exit(why.code), .since = v->seen, .cause = why.msg, .next = why.hint });
	x->waiting = true;
}

/* A lock at a source that may have been left behind keeps nothing from being replicated; it keeps terraform from working. */
static void
status_lock(struct status *x, struct store_txn *t, const struct state_rec *s)
{
	struct run_rec   r;
	struct lock_seen l = { .backend = s->backend, .name = s->name };
	struct lock_view v;
	struct buf       cause, next;

	if (!store_run(t, s, &r))
		return;
	snprintf(l.lock.id, sizeof(l.lock.id), "%s", r.lock);
	snprintf(l.lock.who, sizeof(l.lock.who), "%s", r.who);
	snprintf(l.lock.operation, sizeof(l.lock.operation), "%s", r.operation);
	snprintf(l.lock.created, sizeof(l.lock.created), "%s", r.created);
	engine_lock_view(x->c->e, t, &l, &v);
	if (!v.suspect)
		return;
	buf_init(&cause, 0);
	buf_puts(&cause, "locked by ");
	lock_info_print(&l.lock, &cause);
	buf_printf(&cause, ": %s", v.text);
	buf_init(&next, 0);
	buf_puts(&next, "if that run is gone: ");
	lock_info_unlock_by(s->backend, s->name, r.lock, &next);
	status_add(x, &(struct status_problem){ .kind = "lock", .backend = s->backend, .state = s->name, .code = err_exit(ERR_LOCKED),
	    .since = r.begun, .cause = buf_str(&cause), .next = buf_str(&next) });
	buf_free(&cause);
	buf_free(&next);
}

static bool
status_state(void *arg, struct store_txn *t, const struct state_rec *s)
{
	struct status        *x = arg;
	struct version_rec    v;
	struct status_problem q = { .backend = s->backend, .since = s->last_changed != 0 ? s->last_changed : s->first_seen };
	bool                  held;

	if (!state_counts(engine_plan(x->c->e), s))
		return true;
	x->s = s;
	x->looked = true;
	totals_state(&x->totals, t, s);
	q.state = x->s->name;
	held = state_quarantined(t, s, &v);
	if (held)
		status_version(x, &v);
	if ((s->flags & STATE_INVENTORY) != 0 && s->head == 0) { /* it never was covered: counted, and no trouble */
		;
	} else if (s->problem[0] != '\0' || (s->flags & STATE_UNCOVERED) != 0) {
		x->waiting = true;
		q.kind = (s->flags & STATE_INVENTORY) != 0 ? "uncovered" : "unusable";
		q.code = 1;
		q.cause = s->problem[0] != '\0' ? s->problem : "it is listed, but its bytes cannot be had";
		status_add(x, &q);
	} else if (s->head == 0 && !held) {
		x->waiting = true;
		q.kind = "no_version";
		q.code = 13;
		q.cause = "no good version was ever seen";
		status_add(x, &q);
	}
	status_lock(x, t, s);
	engine_replicas(x->c->e, t, s, status_replica, x);
	return true;
}

/* ---------------------------------------------------------------- the document */

static const char *
status_verdict(const struct status *x)
{
	const uint64_t *n = x->totals.by_status;

	if (x->failing || engine_in_trouble(x->c->e))
		return "failing";
	if (x->waiting || !x->looked || n[REPLICA_BEHIND] + n[REPLICA_PENDING] + n[REPLICA_HELD] + n[REPLICA_FAILED] > 0 ||
	    n[REPLICA_UNKNOWN] + x->totals.quarantined + x->totals.unusable > 0)
		return "behind";
	return "ok";
}

static void
status_agent(struct call *c)
{
	int64_t since = engine_since(c->e);

	json_key(&c->w, "agent");
	json_obj(&c->w);
	json_kv_bool(&c->w, "running", since != 0);
	json_key(&c->w, "pid");
	if (since != 0)
		json_i64(&c->w, getpid());
	else
		json_nil(&c->w);
	json_kv_time(&c->w, "since", since);
	json_kv_str(&c->w, "version", SF_VERSION);
	json_obj_end(&c->w);
}

/* The first four are all of them but the paused ones; the rest say which of these. */
static void
status_replicas(struct call *c, const uint64_t *n)
{
	json_key(&c->w, "replicas");
	json_obj(&c->w);
	json_kv_u64(&c->w, "current", n[REPLICA_CURRENT]);
	json_kv_u64(&c->w, "behind", n[REPLICA_BEHIND] + n[REPLICA_PENDING]);
	json_kv_u64(&c->w, "held", n[REPLICA_HELD]);
	json_kv_u64(&c->w, "failed", n[REPLICA_FAILED] + n[REPLICA_UNKNOWN]);
	json_kv_u64(&c->w, "pending", n[REPLICA_PENDING]);
	json_kv_u64(&c->w, "unknown", n[REPLICA_UNKNOWN]);
	json_kv_u64(&c->w, "paused", n[REPLICA_PAUSED]);
	json_obj_end(&c->w);
}

/* What a backend is for, and what the last probe found: null where it was never asked. */
static void
status_about(void *arg, const struct place_health *h)
{
	struct call          *c = arg;
	const struct backend *b = plan_backend(engine_plan(c->e), h->label);
	unsigned              promised = provider_caps(b) & (PROVIDER_UNPROVEN | PROVIDER_LOCK_UNPROVEN);
	struct err            e;
	bool                  locks, may = b->common.read_only || engine_writable(c->e, h->label, &locks, &e) == ERR_OK;
	const char           *why = !h->proof->known ? "" : !may ? e.msg : h->proof->holds ? "" : h->proof->why;

	json_obj(&c->w);
	json_kv_str(&c->w, "backend", h->label);
	json_kv_bool(&c->w, "ok", h->ok);
	json_kv_bool(&c->w, "source", plan_is_source(engine_plan(c->e), b));
	json_kv_bool(&c->w, "target", plan_is_target(engine_plan(c->e), b));
	json_kv_bool(&c->w, "unproven", promised != 0 && !b->common.exclusive);
	json_kv_time(&c->w, "probed", h->proof->known ? h->proof->when : 0);
	json_key(&c->w, "enforces");
	if (h->proof->known)
		json_bool(&c->w, may && (h->proof->holds || ((promised & PROVIDER_LOCK_UNPROVEN) != 0 && !h->proof->no_lock)));
	else
		json_nil(&c->w);
	json_kv_str(&c->w, "why", why);
	json_obj_end(&c->w);
}

/* Nobody replicates there, or nobody knows whether somebody does. */
static void
status_lease(void *arg, const struct lane *l, const struct lease_view *v)
{
	struct status        *x = arg;
	char                  cause[ERR_MSG_MAX], next[ERR_MSG_MAX];
	struct status_problem p = { .kind = "lease", .edge = l->edge->name, .backend = l->to->label, .cause = cause, .next = next };
	bool                  nobody = v->seen.record.holder[0] == '\0';

	if (v->standing == LEASE_UNREAD) {
		x->failing = true;
		p.code = err_exit(v->why.code);
		p.cause = v->why.msg;
		snprintf(next, sizeof(next), "stateferry probe %s", l->to->label);
		p.next = v->why.hint[0] != '\0' ? v->why.hint : next;
	} else if (v->standing == LEASE_RELEASED && nobody) {
		p.code = 3;
		snprintf(cause, sizeof(cause), "its lease was released here, and no other agent has taken it");
		snprintf(next, sizeof(next), "stateferry lease release --back %s", l->edge->name);
	} else if (v->standing == LEASE_YIELDED && nobody) {
		p.code = 3;
		snprintf(cause, sizeof(cause), "its lease was given up because the work under it kept failing, and no other agent has taken it");
		snprintf(next, sizeof(next), "it is taken again by itself; stateferry probe %s tells what fails", l->to->label);
	} else {
		return;
	}
	x->waiting |= v->standing != LEASE_UNREAD;
	status_add(x, &p);
}

/* A part that is out of reach is counted; when it is all there is, nothing is kept or replicated at all. */
static void
status_coverage(struct status *x)
{
	char cause[ERR_MSG_MAX];

	if (x->totals.states == 0 || x->totals.uncovered < x->totals.states)
		return;
	x->waiting = true;
	snprintf(cause, sizeof(cause), "nothing is kept or replicated: of all %" PRIu64 " states that are known the bytes are out of reach",
	    x->totals.states);
	status_add(x, &(struct status_problem){ .kind = "uncovered", .code = 1, .cause = cause, .next = "stateferry list says of each why" });
}

static enum err_code
status_ended(void *arg, struct err *reterr)
{
	struct status       *x = arg;
	struct call         *c = x->c;
	struct loop_delay    d;
	const char          *verdict;

	(void)reterr;
	loop_delay(engine_loop(c->e), &d);
	if (engine_plan(c->e)->nedges == 0)
		status_add(x, &(struct status_problem){ .kind = "never_looked", .code = 3,
		    .cause = "nothing is watched: the configuration has no replicate and no snapshot block", .next = "add one" });
	else if (!x->looked)
		status_add(x, &(struct status_problem){ .kind = "never_looked", .code = 3, .cause = "no state was seen yet",
		    .next = "stateferry sync, or stateferry run; where that finds none: do the addresses of the sources hold states?" });
	status_coverage(x);
	json_arr_end(&x->w);
	verdict = status_verdict(x);
	c->exit = strcmp(verdict, "ok") == 0 ? 0 : strcmp(verdict, "behind") == 0 ? 3 : 1;
	json_kv_str(&c->w, "verdict", verdict);
	json_kv_i64(&c->w, "exit_code", c->exit);
	status_agent(c);
	json_kv_u64(&c->w, "states", x->totals.states);
	status_replicas(c, x->totals.by_status);
	json_kv_u64(&c->w, "quarantined", x->totals.quarantined);
	json_kv_u64(&c->w, "uncovered", x->totals.uncovered);
	json_key(&c->w, "oldest_lag_seconds");
	json_f64(&c->w, (double)x->totals.oldest_lag_ms / 1000);
	json_key(&c->w, "loop_delay_seconds");
	json_f64(&c->w, d.last_max_s);
	json_key(&c->w, "problems");
	json_raw(&c->w, buf_span(&x->buf));
	json_key(&c->w, "places");
	json_arr(&c->w);
	engine_health(c->e, status_about, c);
	json_arr_end(&c->w);
	put_leases(c, NULL);
	json_kv_u64(&c->w, "problems_omitted", x->problems > API_PROBLEMS_MAX ? x->problems - API_PROBLEMS_MAX : 0);
	return ERR_OK;
}

static void
status_free(void *arg)
{
	struct status *x = arg;

	totals_free(&x->totals);
	buf_free(&x->buf);
	free(x);
}

struct op *
api_status(struct call *c, struct err *reterr)
{
	struct status *x = xcalloc(1, sizeof(*x));

	(void)reterr;
	x->c = c;
	totals_begin(c->e, &x->totals);
	buf_init(&x->buf, API_REPLY_MAX);
	json_begin(&x->w, &x->buf);
	json_arr(&x->w);
	status_store(x);
	engine_health(c->e, status_place, x);
	engine_leases(c->e, status_lease, x);
	return walk_op(c, NULL, &(struct walk){ status_state, status_ended, status_free, x });
}

/* Who the owner is, without a look at any state. */
struct op *
api_agent(struct call *c, struct err *reterr)
{
	(void)reterr;
	status_agent(c);
	return NULL;
}
