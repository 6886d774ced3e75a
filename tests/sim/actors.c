/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "sim.h"

#include "sync/core.h"

/*
 * Terraform, and people. Each terraform works on one state of one server, as the CLI does: lock, read, write serial + 1 without any
 * precondition, unlock; and as it goes wrong: killed with the lock in its hand, unlocked by force while it was paused and writing
 * all the same, pushed by force.
 */
#define TF_BODY_MAX 4096

enum tf_state { TF_IDLE, TF_LOCKED, TF_HALF, TF_DEAD };

struct terraform {
	struct sim        *sim;
	struct sim_server *at;
	const char        *name;
	enum tf_state      state;
	bool               writes;     /* at the source; at a target it only plans, unless it must not */
	bool               locked;
	char               id[32];
	uint64_t           serial;     /* of what it has in its memory */
	char               lineage[64];
	unsigned           left;
	struct timer       timer, late;
	struct body       *late_body;
	char               late_id[32];
};

static struct terraform tfs[SIM_SERVERS * SIM_STATES];
static unsigned         ntfs, nlineages, nlocks, nbodies;
static struct timer     person;

/* --- what it writes --- */

static struct body *
tf_body(struct sim *s, uint64_t serial, const char *lineage)
{
	struct buf   text;
	struct body *body;
	struct digest d;
	unsigned     n = 1 + (unsigned)sim_below(s, 3);

	buf_init(&text, 0);
	buf_printf(&text, "{\n  \"version\": 4,\n  \"terraform_version\": \"1.11.4\",\n  \"serial\": %" PRIu64 ",\n  \"lineage\": \"%s\",\n"
	    "  \"outputs\": {},\n  \"resources\": [", serial, lineage);
	for (unsigned i = 0; i < n; i++)
		buf_printf(&text, "%s\n    {\"mode\": \"managed\", \"type\": \"terraform_data\", \"name\": \"r%u\", "
		    "\"provider\": \"provider[\\\"terraform.io/builtin/terraform\\\"]\", \"instances\": [{\"schema_version\": 0, "
		    "\"attributes\": {\"id\": \"%u\", \"input\": \"" SIM_CANARY "-%u\"}}]}", i > 0 ? "," : "", i, i, nbodies);
	buf_puts(&text, "\n  ],\n  \"check_results\": null\n}\n");
	nbodies++;
	body = body_new(&text);
	sha256_of(body_span(body).p, body_span(body).n, &d);
	map_put(s->written, span_of(d.b, DIGEST_LEN), s);
	return body;
}

/* Azure lets nobody write under another's lease, nor with one that is gone; HTTP as GitLab does. */
static bool
tf_is_let(struct sim_server *v, const char *name, const char *lock_id)
{
	char id[256];

	server_lock_of(v, name, id);
	return (v->kind != SIM_AZURE && v->kind != SIM_HTTP) || strcmp(id, lock_id) == 0;
}

static void
tf_put(struct terraform *t, struct body *body, const char *lock_id, const char *what)
{
	struct sim_object *o = server_find(t->at, t->name);
	struct state_info  i;

	state_scan_all(body_span(body), &i);
	if (!tf_is_let(t->at, t->name, lock_id)) {
		sim_say(t->sim, "%s of serial %" PRIu64 " to %s:%s is refused", what, i.serial, t->at->label, t->name);
		return;
	}
	sim_say(t->sim, "%s of serial %" PRIu64 " of %s to %s:%s", what, i.serial, i.lineage, t->at->label, t->name);
	if (o != NULL && o->body != NULL && (i.serial <= o->serial || strcmp(i.lineage, o->lineage) != 0))
		t->sim->odd = true;
	if (t->at != t->sim->servers)
		t->sim->odd = true;
	server_put(t->sim, t->at, t->name, body);
}

static void
tf_read(struct terraform *t)
{
	struct sim_object *o = server_find(t->at, t->name);

	if (o != NULL && o->body != NULL) {
		t->serial = o->serial;
		snprintf(t->lineage, sizeof(t->lineage), "%s", o->lineage);
	} else {
		t->serial = 0;
		snprintf(t->lineage, sizeof(t->lineage), "lineage-%u", nlineages++);
	}
}

static void
tf_write(struct terraform *t)
{
	struct body *b = tf_body(t->sim, ++t->serial, t->lineage);

	tf_put(t, b, t->locked ? t->id : "", "terraform's write");
	body_unref(b);
}

/* --- its lock --- */

static bool
tf_lock(struct terraform *t)
{
	char  id[256];
	char *body;

	if (!server_locks(t->at) || server_lock_of(t->at, t->name, id) != NULL)
		return false;
	snprintf(t->id, sizeof(t->id), "terraform-%u", nlocks++);
	body = xasprintf("{\"ID\":\"%s\",\"Operation\":\"OperationTypeApply\",\"Info\":\"\",\"Who\":\"ci@runner\",\"Version\":\"1.11.4\","
	    "\"Created\":\"2026-11-23T12:00:00Z\",\"Path\":\"\"}", t->id);
	check_grant(t->sim, t->at, -1, body);
	server_lock(t->sim, t->at, t->name, body, t->id);
	sim_say(t->sim, "%s locks %s:%s", t->id, t->at->label, t->name);
	free(body);
	t->locked = true;
	return true;
}

static void
tf_unlock(struct terraform *t, const char *who)
{
	char id[256];

	if (t->locked && server_lock_of(t->at, t->name, id) != NULL && strcmp(id, t->id) == 0) {
		sim_say(t->sim, "%s unlocks %s:%s of %s", who, t->at->label, t->name, t->id);
		server_unlock(t->sim, t->at, t->name);
	}
	t->locked = false;
}

/* --- its runs --- */

static void
tf_late_write(void *arg)
{
	struct terraform *t = arg;

	tf_put(t, t->late_body, t->late_id, "a late write");
	body_unref(t->late_body);
	t->late_body = NULL;
}

/* Paused, taken for dead, unlocked by a person; it writes what it has when it wakes up. */
static void
tf_pause(struct terraform *t)
{
	sim_hit(t->sim, FAULT_TF_LATE);
	t->late_body = tf_body(t->sim, t->serial + 1, t->lineage);
	snprintf(t->late_id, sizeof(t->late_id), "%s", t->locked ? t->id : "");
	tf_unlock(t, "a person");
	timer_init(&t->late, t->sim->world, tf_late_write, t);
	timer_set(&t->late, (int64_t)sim_below(t->sim, 600000));
	t->state = TF_IDLE;
}

/* Dies in the middle of a write where a write is not atomic: half of it is there, until a person has it written again. */
static void
tf_break_off(struct terraform *t)
{
	struct body *whole = tf_body(t->sim, t->serial + 1, t->lineage), *half;
	struct span  text = body_span(whole);

	sim_hit(t->sim, FAULT_TF_HALF);
	sim_say(t->sim, "%s breaks off a write to %s:%s", t->id, t->at->label, t->name);
	half = body_copy(span_of(text.p, sim_below(t->sim, text.n / 2)));
	server_put(t->sim, t->at, t->name, half);
	body_unref(half);
	body_unref(whole);
	t->state = TF_HALF;
}

static void
tf_push_force(struct terraform *t)
{
	struct body *b;

	sim_hit(t->sim, FAULT_TF_FORCE);
	tf_read(t);
	if (sim_chance(t->sim, 500))
		snprintf(t->lineage, sizeof(t->lineage), "lineage-%u", nlineages++);
	else
		t->serial = t->serial > 3 ? t->serial - 3 : 1;
	b = tf_body(t->sim, t->serial, t->lineage);
	t->sim->odd = true;
	tf_put(t, b, t->locked ? t->id : "", "a push by force");
	body_unref(b);
}

static int64_t
tf_begin(struct terraform *t)
{
	struct sim *s = t->sim;

	if (!tf_lock(t) && server_locks(t->at))
		return 2000 + (int64_t)sim_below(s, 10000);
	tf_read(t);
	t->left = t->writes ? 1 + (unsigned)sim_below(s, 3) : 0;
	if (!t->writes && sim_on(s, FAULT_TF_TARGET) && sim_chance(s, 100)) {
		sim_hit(s, FAULT_TF_TARGET);
		t->left = 1;
	}
	if (t->left > 0 && sim_on(s, FAULT_TF_FORCE) && sim_chance(s, 20)) {
		tf_push_force(t);
		t->left = 0;
	}
	t->state = TF_LOCKED;
	return 500 + (int64_t)sim_below(s, 20000);
}

static int64_t
tf_go_on(struct terraform *t)
{
	struct sim *s = t->sim;

	if (t->locked && sim_on(s, FAULT_TF_CRASH) && sim_chance(s, 40)) {
		sim_hit(s, FAULT_TF_CRASH);
		sim_say(s, "%s dies", t->id);
		t->state = TF_DEAD;
		return 30000 + (int64_t)sim_below(s, 300000);
	}
	if (t->left > 0 && t->late_body == NULL && sim_on(s, FAULT_TF_LATE) && sim_chance(s, 40)) {
		tf_pause(t);
		return 1000;
	}
	if (t->left > 0 && t->writes && sim_on(s, FAULT_TF_HALF) && sim_chance(s, 30)) {
		tf_break_off(t);
		return 5000 + (int64_t)sim_below(s, 60000);
	}
	if (t->left > 0) {
		tf_write(t);
		t->left--;
		return 500 + (int64_t)sim_below(s, 8000);
	}
	tf_unlock(t, "terraform");
	t->state = TF_IDLE;
	return t->writes ? 5000 + (int64_t)sim_below(s, 90000) : 20000 + (int64_t)sim_below(s, 120000);
}

static void
tf_tick(void *arg)
{
	struct terraform *t = arg;
	int64_t           ms = 0;

	switch (t->state) {
	case TF_IDLE:
		ms = tf_begin(t);
		break;
	case TF_LOCKED:
		ms = tf_go_on(t);
		break;
	case TF_HALF:
		tf_write(t);
		t->left = 0;
		t->state = TF_LOCKED;
		ms = 1000;
		break;
	case TF_DEAD:
		tf_unlock(t, "a person");
		t->state = TF_IDLE;
		ms = 1000;
		break;
	}
	timer_set(&t->timer, ms);
}

/* --- people --- */

bool
person_asks(const struct sim *s)
{
	for (unsigned i = 0; i < s->nagents; i++)
		if (s->agents[i].asked != NULL)
			return true;
	return false;
}

static void
person_has_answer(struct op *op, void *arg)
{
	struct sim_agent *a = arg;

	sim_say(a->sim, "agent %u did what it was asked: %s", a->index, err_kind(op->err.code));
	a->asked = NULL;
	op_free(op);
}

/* What is there now may be let go, and be overwritten, from now on; and whatever comes while it is done (server_put()). */
static void
person_lets(struct sim *s, const char *name)
{
	for (unsigned i = 0; i < s->nservers; i++) {
		struct sim_object *o = server_find(&s->servers[i], name);

		if (o != NULL && o->body != NULL)
			map_put(i == 0 ? s->released : s->resolved, span_of(o->digest.b, DIGEST_LEN), s);
	}
}

static void
person_ask(struct sim_agent *a, const char *what, const char *name, struct op *op)
{
	sim_say(a->sim, "a person asks agent %u: %s %s", a->index, what, name);
	person_lets(a->sim, name);
	a->asked = op;
	op_start(op, person_has_answer, a);
}

static void
person_does(struct sim_agent *a)
{
	static struct lock_seen lock;
	struct sim             *s = a->sim;
	const char             *name = s->states[sim_below(s, s->nstates)];
	struct sim_server      *v = &s->servers[1 + sim_below(s, s->nservers - 1)];
	char                    id[256];

	sim_hit(s, FAULT_OPERATOR);
	switch (sim_below(s, 3)) {
	case 0:
		person_ask(a, "release", name, engine_release(a->engine, "a", name, 0));
		break;
	case 1:
		person_ask(a, "resolve", name, engine_resolve(a->engine, SIM_EDGE, name, v->label));
		break;
	default:
		if (server_lock_of(v, name, id) != NULL)
			person_ask(a, "unlock", name, engine_unlock(a->engine, v->label, name, id, &lock, NULL));
	}
}

static void
person_tick(void *arg)
{
	struct sim       *s = arg;
	struct sim_agent *a = &s->agents[sim_below(s, s->nagents)];

	timer_set(&person, 60000 + (int64_t)sim_below(s, 300000));
	if (a->up && !a->stopping && a->asked == NULL && !person_asks(s))
		person_does(a);
}

/* --- the healed world --- */

static bool
person_knows_head(struct sim_agent *a, const char *name)
{
	struct sim_object *o = server_find(&a->sim->servers[0], name);
	struct store_txn  *t;
	struct state_rec   r;
	bool               same;

	if (o == NULL || o->body == NULL || store_read(a->store, &t, NULL) != ERR_OK)
		return true;
	same = store_state(t, "a", name, &r) && digest_eq(&r.head_digest, &o->digest);
	store_end(t);
	return same;
}

static void
person_helps(struct sim_agent *a)
{
	struct sim *s = a->sim;

	for (unsigned i = 0; i < s->nstates; i++)
		if (!person_knows_head(a, s->states[i])) {
			person_ask(a, "release", s->states[i], engine_release(a->engine, "a", s->states[i], 0));
			return;
		}
	for (unsigned i = 0; i < s->nstates; i++)
		for (unsigned v = 1; v < s->nservers; v++) {
			struct sim_object *x = server_find(s->servers, s->states[i]), *y = server_find(&s->servers[v], s->states[i]);

			if (x == NULL || y == NULL || y->body == NULL || digest_eq(&x->digest, &y->digest))
				continue;
			person_ask(a, "resolve", s->states[i], engine_resolve(a->engine, SIM_EDGE, s->states[i], s->servers[v].label));
			return;
		}
}

void
operator_helps(struct sim *s)
{
	for (unsigned i = 0; i < s->nagents; i++) {
		struct sim_agent *a = &s->agents[i];

		if (!a->up || a->stopping || a->asked != NULL)
			continue;
		if (!engine_acts(a->engine)) /* it has seen that its store is older than what it did */
			person_ask(a, "adopt", "", engine_adopt(a->engine));
		else if (s->odd)
			person_helps(a);
	}
}

void
operator_unlocks(struct sim *s)
{
	char id[256];

	for (unsigned v = 1; v < s->nservers; v++)
		for (unsigned i = 0; i < s->nstates; i++)
			if (server_lock_of(&s->servers[v], s->states[i], id) != NULL) {
				sim_say(s, "a person unlocks %s:%s of %s", s->servers[v].label, s->states[i], id);
				server_unlock(s, &s->servers[v], s->states[i]);
			}
}

static bool
tf_has_written(const struct terraform *t)
{
	const struct sim_object *o = server_find(t->at, t->name);

	return o != NULL && o->body != NULL;
}

void
actors_write(struct sim *s, bool all)
{
	for (unsigned i = 0; i < ntfs; i++) {
		struct terraform *t = &tfs[i];

		if (!t->writes || (!all && tf_has_written(t) && sim_chance(s, 500)))
			continue;
		tf_lock(t);
		tf_read(t);
		tf_write(t);
		tf_unlock(t, "terraform");
	}
}

void
actors_heal(struct sim *s)
{
	timer_stop(&person);
	for (unsigned i = 0; i < ntfs; i++) {
		timer_stop(&tfs[i].timer);
		timer_stop(&tfs[i].late);
		if (tfs[i].state == TF_HALF)
			tf_write(&tfs[i]);
		tf_unlock(&tfs[i], "a person");
	}
	actors_write(s, false);
}

static void
tf_begin_at(struct sim *s, struct sim_server *v, unsigned state, bool writes)
{
	struct terraform *t = &tfs[ntfs++];

	*t = (struct terraform){ .sim = s, .at = v, .name = s->states[state], .writes = writes };
	timer_init(&t->timer, s->world, tf_tick, t);
	timer_init(&t->late, s->world, tf_late_write, t);
	timer_set(&t->timer, 1 + (int64_t)sim_below(s, 20000));
}

void
actors_begin(struct sim *s)
{
	for (unsigned i = 0; i < s->nstates; i++)
		tf_begin_at(s, &s->servers[0], i, true);
	for (unsigned v = 1; v < s->nservers; v++)
		for (unsigned i = 0; i < s->nstates; i++)
			if (server_locks(&s->servers[v]) && sim_chance(s, 300))
				tf_begin_at(s, &s->servers[v], i, false);
	timer_init(&person, s->world, person_tick, s);
	if (sim_on(s, FAULT_OPERATOR) && sim_chance(s, 200))
		timer_set(&person, 30000 + (int64_t)sim_below(s, 120000));
}
