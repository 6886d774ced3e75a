/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "sim.h"

#include "sync/core.h"

/*
 * The invariants, asked when something of an agent's takes effect, and after each of its turns:
 *
 *	I1  a version that a store acknowledged is still there after a death, and decodes to its digest
 *	I2  no write of ours takes a replica back within its lineage, or to another lineage, unless a person said so
 *	I3  what we write is, byte for byte, what terraform once wrote
 *	I4  two versions of one serial are never merged: the second does not replace the first
 *	I5  where there is a lock, no write without one that was granted to us
 *	I6  no lock but our own is removed, and none of ours stays
 *	I7  no write without a precondition where they are enforced
 *	I8  no secret in a log line
 *	I9  bounds: objects at a server, operations of an agent, turns of the whole
 *	I10 a request ends once (asserted in loop/op.c)
 *	lease: at no time two agents may act under it, nobody writes without it, and its epoch never falls
 */
#define CHECK_OPS_MAX      400
#define CHECK_FORGOTTEN_MS (45 * 60 * 1000) /* then a lock that is still there is one that nobody remembers */

static bool
is_ours(const char *name)
{
	return strncmp(name, ".stateferry", strlen(".stateferry")) == 0;
}

static bool
is_lock(const char *name)
{
	return strstr(name, ".tflock") != NULL;
}

static bool
digest_in(const struct map *m, const struct digest *d)
{
	return map_get(m, span_of(d->b, DIGEST_LEN)) != NULL;
}

/* --- locks --- */

static struct sim_grant *
grant_find(struct sim *s, const struct sim_server *v, const char *id)
{
	for (size_t i = s->ngrants; i-- > 0;)
		if (s->grants[i].at == v && strcmp(s->grants[i].id, id) == 0)
			return &s->grants[i];
	return NULL;
}

void
check_grant(struct sim *s, struct sim_server *v, int agent, const char *body)
{
	struct lock_info  l;
	struct sim_grant *g;
	const char       *epoch;

	if (s->ngrants == SIM_GRANTS)
		sim_fail(s, "I9", "more than %d locks were taken", SIM_GRANTS);
	lock_info_parse(span_str(body), &l, NULL);
	g = &s->grants[s->ngrants++];
	g->at = v;
	g->agent = agent;
	snprintf(g->id, sizeof(g->id), "%.63s", l.id);
	epoch = strstr(l.info, ", epoch ");
	g->epoch = epoch != NULL ? strtoull(epoch + strlen(", epoch "), NULL, 10) : 0;
	if (agent >= 0 && !lock_info_is_ours(&l))
		sim_fail(s, "I6", "agent %d takes a lock that does not say that it is ours: %s", agent, body);
}

void
check_lock_goes(struct sim_message *m, const char *name, const char *id)
{
	struct sim       *s = m->sim;
	struct sim_grant *g = grant_find(s, m->at, id);

	if (m->forced)
		return;
	if (g == NULL || g->agent < 0)
		sim_fail(s, "I6", "agent %u removes the lock %s of %s:%s, which is terraform's", m->from->index, id, m->at->label, name);
	if (g->agent == (int)m->from->index)
		return;
	if (g->epoch == 0 || g->epoch >= m->at->epoch)
		sim_fail(s, "I6", "agent %u removes the lock %s of %s:%s, which agent %d holds under epoch %" PRIu64 " of %" PRIu64,
		    m->from->index, id, m->at->label, name, g->agent, g->epoch, m->at->epoch);
}

/* --- writes --- */

static void
check_lease_put(struct sim_message *m, const struct body *after)
{
	struct lease_record r;

	if (lease_record_read(body_span(after), &r, NULL) != ERR_OK)
		sim_fail(m->sim, "lease", "agent %u writes a record that is none", m->from->index);
	if (r.epoch < m->at->epoch)
		sim_fail(m->sim, "lease", "its epoch goes back from %" PRIu64 " to %" PRIu64, m->at->epoch, r.epoch);
	m->at->epoch = r.epoch;
}

static void
check_lock_put(struct sim_message *m, const struct sim_object *before, const struct body *after)
{
	char *text = span_dup(body_span(after));

	if (before != NULL && before->body != NULL)
		sim_fail(m->sim, "I6", "agent %u overwrites the lock %s:%s", m->from->index, m->at->label, m->name);
	check_grant(m->sim, m->at, (int)m->from->index, text);
	free(text);
}

static void
check_may_replace(struct sim_message *m, const struct sim_object *before, const struct digest *d, const struct state_info *i)
{
	struct sim *s = m->sim;

	if (before == NULL || before->body == NULL || digest_eq(&before->digest, d))
		return;
	if (digest_in(s->released, d) || digest_in(s->resolved, &before->digest))
		return;
	if (strcmp(before->lineage, i->lineage) != 0) {
		if (before->resources != 0)
			sim_fail(s, "I2", "agent %u replaces lineage %s by %s at %s:%s", m->from->index, before->lineage, i->lineage,
			    m->at->label, m->name);
		return;
	}
	if (i->serial == before->serial)
		sim_fail(s, "I4", "agent %u replaces serial %" PRIu64 " by another of the same at %s:%s", m->from->index, i->serial,
		    m->at->label, m->name);
	if (i->serial < before->serial)
		sim_fail(s, "I2", "agent %u takes %s:%s back from serial %" PRIu64 " to %" PRIu64, m->from->index, m->at->label, m->name,
		    before->serial, i->serial);
}

static void
check_put_is_guarded(struct sim_message *m)
{
	const struct sim_grant *g;
	unsigned                caps = server_caps(m->at->kind);

	if ((caps & PROVIDER_IF_MATCH) != 0 && m->when == PUT_UNDER_LOCK)
		sim_fail(m->sim, "I7", "agent %u writes %s:%s without a precondition", m->from->index, m->at->label, m->name);
	if ((caps & PROVIDER_LOCK) == 0)
		return;
	g = grant_find(m->sim, m->at, m->lock_id);
	if (g == NULL || g->agent != (int)m->from->index)
		sim_fail(m->sim, "I5", "agent %u writes %s:%s without a lock that it was granted", m->from->index, m->at->label, m->name);
}

void
check_put(struct sim_message *m, const struct sim_object *before, const struct body *after)
{
	struct sim       *s = m->sim;
	struct state_info i;
	struct digest     d;

	if (is_lock(m->name)) {
		check_lock_put(m, before, after);
		return;
	}
	if (m->when == PUT_UNDER_LOCK || !is_ours(m->name))
		check_put_is_guarded(m);
	if (strcmp(m->name, SIM_LEASE) == 0) {
		check_lease_put(m, after);
		return;
	}
	if (m->at == &s->servers[0])
		sim_fail(s, "I3", "agent %u writes %s at the source", m->from->index, m->name);
	state_scan_all(body_span(after), &i);
	sha256_of(body_span(after).p, body_span(after).n, &d);
	if (!digest_in(s->written, &d))
		sim_fail(s, "I3", "agent %u writes %s:%s that terraform never wrote", m->from->index, m->at->label, m->name);
	check_may_replace(m, before, &d, &i);
	s->stats->writes++;
	sim_say(s, "agent %u writes serial %" PRIu64 " of %s to %s:%s", m->from->index, i.serial, i.lineage, m->at->label, m->name);
}

/* Who has lost its lease, or never had it, writes nothing more: but what a server has asked to be sent later is sent later. */
void
check_is_led(const struct backend *b, const struct sim_message *m)
{
	const struct sim_agent *a = m->from;
	size_t                  lane = (size_t)(m->at - m->sim->servers) - 1;

	if (!m->sim->lease || is_ours(m->name) || lease_holds(a->engine->tracks[lane].lease) || b->busy_until >= sim_local(a, a->held_at[lane]))
		return;
	sim_fail(m->sim, "lease", "agent %u writes %s:%s after it has lost it", a->index, m->at->label, m->name);
}

/* --- after each turn --- */

/* Two agents that both may act. A frozen one does not act, but its clock goes on, and what it believes when it wakes up counts. */
static unsigned
check_holders(struct sim *s, size_t lane, int *ret)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->nagents; i++) {
		struct sim_agent *a = &s->agents[i];

		if (!a->up || a->engine->tracks[lane].lease == NULL)
			continue;
		a->loop->mono_ms = sim_local(a, sim_now(s));
		if (!lease_holds(a->engine->tracks[lane].lease))
			continue;
		*ret = (int)i;
		n++;
	}
	return n;
}

/* For a trace only. */
static bool
intent_show(void *arg, const struct intent_rec *i)
{
	struct buf *b = arg;

	buf_printf(b, " [%s:%s lock %.8s looks %" PRIu64 "%s]", i->target, i->name, i->lock_id, i->tries, i->uncertain ? " uncertain" : "");
	return true;
}

static void
check_show_intents(struct sim_agent *a)
{
	static char       shown[SIM_AGENTS][4096];
	struct store_txn *t;
	struct buf        b;

	buf_init(&b, sizeof(shown[0]) - 1);
	if (store_read(a->store, &t, NULL) != ERR_OK)
		return;
	store_intents(t, intent_show, &b);
	store_end(t);
	if (strcmp(buf_str(&b), shown[a->index]) != 0)
		printf("          agent %u intends%s\n", a->index, buf_str(&b));
	snprintf(shown[a->index], sizeof(shown[0]), "%s", buf_str(&b));
	buf_free(&b);
}

void
check_turn(struct sim_agent *a)
{
	struct sim *s = a->sim;

	if (s->trace)
		check_show_intents(a);
	if (op_count(a->loop) > CHECK_OPS_MAX)
		sim_fail(s, "I9", "agent %u has %zu operations", a->index, op_count(a->loop));
	for (size_t i = 0; s->lease && i < a->engine->plan->nlanes; i++) {
		bool holds = lease_holds(a->engine->tracks[i].lease);
		int  who = -1;

		if (holds != a->holds[i])
			sim_say(s, "agent %u %s the lease of %s", a->index, holds ? "has" : "has no more", a->engine->tracks[i].lane->to->label);
		a->holds[i] = holds;
		if (holds)
			a->held_at[i] = sim_now(s);
		if (holds && check_holders(s, i, &who) > 1)
			sim_fail(s, "lease", "agents %u and %d both hold the lease of %s", a->index, who, a->engine->tracks[i].lane->to->label);
	}
}

/* --- the end --- */

static bool
replica_is_current(struct sim *s, struct sim_server *v, const char *name)
{
	struct sim_object *x = server_find(&s->servers[0], name), *y = server_find(v, name);

	return x != NULL && y != NULL && x->body != NULL && y->body != NULL && digest_eq(&x->digest, &y->digest);
}

/* NULL: everything is as it should be; else what is not. */
static const char *
check_converged(struct sim *s)
{
	static char text[400];
	char        id[256];
	int         who = -1;

	for (unsigned v = 1; v < s->nservers; v++) {
		for (unsigned i = 0; i < s->nstates; i++) {
			struct sim_object *x = server_find(&s->servers[0], s->states[i]), *y = server_find(&s->servers[v], s->states[i]);

			snprintf(text, sizeof(text), "%s:%s has serial %" PRId64 ", the source %" PRId64, s->servers[v].label, s->states[i],
			    y != NULL && y->body != NULL ? (int64_t)y->serial : -1, x != NULL && x->body != NULL ? (int64_t)x->serial : -1);
			if (!replica_is_current(s, &s->servers[v], s->states[i]))
				return text;
		}
		snprintf(text, sizeof(text), "nobody, or more than one, has the lease of %s", s->servers[v].label);
		if (s->lease && check_holders(s, v - 1, &who) != 1)
			return text;
	}
	for (unsigned v = 0; v < s->nservers; v++)
		for (unsigned i = 0; i < s->nstates; i++) {
			const char *lock = server_lock_of(&s->servers[v], s->states[i], id);

			snprintf(text, sizeof(text), "%s:%s is locked: %.250s", s->servers[v].label, s->states[i], lock != NULL ? lock : "");
			if (lock != NULL)
				return text;
		}
	return NULL;
}

static void
check_tick(void *arg)
{
	struct sim *s = arg;
	const char *why = check_converged(s);

	timer_set(&s->tick, 10000);
	if (net_is_late(s)) {
		s->quiet_since = 0;
		return;
	}
	if (s->locked_again) {
		s->locked_again = false;
		actors_write(s, true);
		return;
	}
	if (why == NULL && s->quiet_since == 0)
		s->quiet_since = sim_now(s);
	if (why == NULL && sim_now(s) - s->quiet_since >= 60000) {
		s->ended = true;
		return;
	}
	if (why == NULL)
		return;
	s->quiet_since = 0;
	if (sim_now(s) > s->bound_at)
		sim_fail(s, "liveness", "%s, %" PRId64 " s after everything was healed", why, (sim_now(s) - s->heal_at) / 1000);
	if (sim_now(s) % 60000 < 10000 && (s->odd || s->lost))
		operator_helps(s);
	if (sim_now(s) - s->heal_at > CHECK_FORGOTTEN_MS && s->lost && !s->lease)
		operator_unlocks(s);
}

void
check_heal_begin(struct sim *s)
{
	timer_init(&s->tick, s->world, check_tick, s);
	timer_set(&s->tick, 10000);
}

void
check_end(struct sim *s)
{
	for (unsigned i = 0; i < s->nagents; i++)
		agent_check_store(&s->agents[i]);
}
