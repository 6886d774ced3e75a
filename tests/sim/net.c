/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "sim.h"

/*
 * The network. A request that has left arrives whether or not somebody still waits, or lives: once, twice, late, or never. An
 * answer reaches a process that is frozen when it runs again, and one that has died never.
 */
#define NET_LATE_MS     (15 * 60 * 1000)  /* as a proxy that keeps a request in its queue */
#define NET_LATE_HEALED_MS 30000
#define NET_SLOW_MS     4000
#define NET_RETRY_AFTER_MS 20000

bool
verb_writes(enum sim_verb v)
{
	return v == VERB_PUT || v == VERB_DEL || v == VERB_LOCK || v == VERB_UNLOCK;
}

static const char *
verb_name(enum sim_verb v)
{
	static const char *const names[] = { "list", "head", "get", "put", "delete", "lock", "unlock", "peek" };

	return names[v];
}

/* --- its life --- */

static void
message_drop(struct sim_message *m)
{
	if (--m->refs > 0)
		return;
	if (m->prev != NULL)
		m->prev->next = m->next;
	else
		m->sim->messages = m->next;
	if (m->next != NULL)
		m->next->prev = m->prev;
	for (size_t i = 0; i < m->nlist; i++)
		free(m->list[i].name);
	free(m->list);
	body_unref(m->got);
	body_unref(m->body);
	free(m->got_lock);
	free(m->lock);
	free(m->name);
	free(m);
}

struct sim_message *
message_new(struct sim_agent *a, struct sim_server *v, enum sim_verb verb, const char *name)
{
	struct sim_message *m = xcalloc(1, sizeof(*m));

	m->sim = a->sim;
	m->from = a;
	m->life = a->life;
	m->at = v;
	m->verb = verb;
	m->name = name != NULL ? xstrdup(name) : NULL;
	m->refs = 1;
	m->next = a->sim->messages;
	if (m->next != NULL)
		m->next->prev = m;
	a->sim->messages = m;
	return m;
}

static bool
message_locks(const struct sim_message *m)
{
	return m->verb == VERB_LOCK || (m->verb == VERB_PUT && m->when == PUT_ABSENT);
}

static bool
message_is_awaited(const struct sim_message *m)
{
	return m->arg != NULL && m->from->up && m->from->life == m->life;
}

void
message_forget(struct sim_message *m)
{
	loop_undefer(m->from->loop, &m->deferred);
	m->arg = NULL;
	message_drop(m);
}

/* --- the answer --- */

static void
message_hand_over(void *arg)
{
	struct sim_message *m = arg;

	m->answered(m->arg);
}

static void
message_say(const struct sim_message *m, const char *how)
{
	sim_say(m->sim, "agent %u %s %s:%s %s%s", m->from->index, verb_name(m->verb), m->at->label, m->name != NULL ? m->name : "", how,
	    m->outcome.code == ERR_OK ? "" : err_kind(m->outcome.code));
}

static void
message_returns(void *arg)
{
	struct sim_message *m = arg;

	if (m->reset) {
		err_set(&m->outcome, m->sent && verb_writes(m->verb) ? ERR_UNCERTAIN : ERR_NETWORK, 0, "the connection broke off");
	} else if (m->cut && !verb_writes(m->verb)) {
		err_set(&m->outcome, ERR_NETWORK, 0, "the answer was cut off");
	} else if (m->cut) {
		err_set(&m->outcome, ERR_UNCERTAIN, 0, "the answer was cut off");
	}
	if (message_is_awaited(m)) {
		if (m->outcome.code != ERR_OK || verb_writes(m->verb))
			message_say(m, "-> ");
		loop_defer(m->from->loop, &m->deferred, message_hand_over, m);
	}
	message_drop(m);
}

static void
message_answer_in(struct sim_message *m, int64_t ms)
{
	m->refs++;
	timer_init(&m->answers, m->sim->world, message_returns, m);
	timer_set(&m->answers, ms);
}

/* --- the way there --- */

static int64_t
net_latency(struct sim *s)
{
	int64_t ms = 1 + (int64_t)rand_below(&s->luck, 20);

	return rand_below(&s->luck, 100) == 0 && !s->healed ? ms + (int64_t)rand_below(&s->luck, NET_SLOW_MS) : ms;
}

static bool
server_is_down(const struct sim_message *m)
{
	return m->at->down_until > sim_now(m->sim);
}

static void
message_arrive(void *arg)
{
	struct sim_message *m = arg;

	if (server_is_down(m)) {
		message_say(m, "reaches nobody ");
		m->reset = true;
		if (!m->at->stalls && !m->told)
			message_answer_in(m, net_latency(m->sim));
	} else {
		message_apply(m);
		if (m->again)
			message_apply(m);
		if (!message_is_awaited(m) || verb_writes(m->verb))
			message_say(m, message_is_awaited(m) ? "arrives " : "arrives, and nobody waits ");
		if (!m->told)
			message_answer_in(m, net_latency(m->sim));
	}
	message_drop(m);
}

/* Its second delivery, by a proxy that tried again: whoever sent it knows of one. */
static void
message_arrive_twice(void *arg)
{
	struct sim_message *m = arg, *copy;

	if (!server_is_down(m)) {
		copy = message_new(m->from, m->at, m->verb, m->name);
		copy->life = m->life;
		copy->forced = m->forced;
		copy->lock = m->lock != NULL ? xstrdup(m->lock) : NULL;
		memcpy(copy->tag, m->tag, sizeof(m->tag));
		memcpy(copy->lock_id, m->lock_id, sizeof(m->lock_id));
		copy->body = m->body != NULL ? body_ref(m->body) : NULL;
		copy->when = m->when;
		message_apply(copy);
		message_say(copy, "arrives a second time ");
		m->sim->locked_again |= message_locks(copy) && copy->outcome.code == ERR_OK;
		message_drop(copy);
	}
	message_drop(m);
}

static void
message_arrive_in(struct sim_message *m, int64_t ms)
{
	m->refs++;
	timer_init(&m->arrives, m->sim->world, message_arrive, m);
	timer_set(&m->arrives, ms);
}

/* A lock that is made twice is made while its sender still waits, who is told the second answer. In some worlds it may also come to be long after
 * it was released, and is then met by the next write; but not at HTTP, where nothing but the lock guards a write: a second fault lets one through. */
static void
message_twice(struct sim_message *m, int64_t first)
{
	int64_t later;

	m->again = message_locks(m) && (!m->sim->lock_again || m->at->kind == SIM_HTTP || rand_below(&m->sim->luck, 2) == 0);
	if (m->again)
		return;
	later = (int64_t)rand_below(&m->sim->luck, rand_below(&m->sim->luck, 2) == 0 ? NET_SLOW_MS : NET_LATE_MS);

	m->refs++;
	timer_init(&m->twice, m->sim->world, message_arrive_twice, m);
	timer_set(&m->twice, first + later);
}

/* Nothing of it arrives; sometimes the sender is told. */
static void
message_lose(struct sim_message *m, bool told)
{
	m->reset = true;
	m->told = told;
	if (told)
		message_answer_in(m, net_latency(m->sim));
}

static void
message_busy(struct sim_message *m)
{
	err_set(&m->outcome, ERR_BUSY, 503, "slow down");
	m->outcome.retry_after_ms = (uint32_t)rand_below(&m->sim->luck, NET_RETRY_AFTER_MS);
	message_answer_in(m, net_latency(m->sim));
}

static void
message_meets(struct sim_message *m, enum sim_fault f)
{
	struct sim *s = m->sim;
	int64_t     ms = net_latency(s);
	bool        coin = rand_below(&s->luck, 2) == 0;

	sim_hit(s, f);
	switch (f) {
	case FAULT_REFUSED:
		m->sent = false;
		message_lose(m, true);
		break;
	case FAULT_LOST_REQUEST:
		message_lose(m, coin);
		break;
	case FAULT_LATE: /* the sender gives up first, or is told that it broke off */
		message_lose(m, coin);
		message_arrive_in(m, (int64_t)rand_below(&s->luck, NET_LATE_MS));
		break;
	case FAULT_LOST_ANSWER:
		m->reset = true;
		message_arrive_in(m, ms);
		break;
	case FAULT_CUT:
		m->cut = true;
		message_arrive_in(m, ms);
		break;
	case FAULT_TWICE:
		message_arrive_in(m, ms);
		message_twice(m, ms);
		break;
	case FAULT_BUSY:
		message_busy(m);
		break;
	case FAULT_RACED:
		if (m->verb == VERB_PUT && m->when != PUT_UNDER_LOCK) {
			err_set(&m->outcome, ERR_CONFLICT, 409, "a conditional request was in the act");
			message_answer_in(m, ms);
			break;
		}
		__attribute__((fallthrough));
	default:
		message_arrive_in(m, ms);
	}
}

static bool
net_is_cut(const struct sim_message *m)
{
	const struct sim_agent *a = m->from;

	return a->cut_until > sim_now(m->sim) && (a->cut_mask & 1u << (m->at - m->sim->servers)) != 0;
}

void
message_send(struct sim_message *m, void (*answered)(void *arg), void *arg)
{
	struct sim    *s = m->sim;
	enum sim_fault f = (enum sim_fault)rand_below(&s->luck, FAULT_RACED + 1);
	bool           bad = rand_below(&s->luck, 1000) < s->trouble;

	s->sent++;
	m->sent = true;
	m->forced = m->from->asked != NULL;
	m->answered = answered;
	m->arg = arg;
	if (verb_writes(m->verb))
		sim_strike(m->from);
	if (net_is_cut(m)) {
		m->sent = rand_below(&s->luck, 2) == 0;
		message_lose(m, !m->sent);
	} else if (bad && sim_on(s, f)) {
		sim_say(s, "agent %u %s %s:%s meets %s", m->from->index, verb_name(m->verb), m->at->label, m->name != NULL ? m->name : "",
		    sim_fault_names[f]);
		message_meets(m, f);
	} else {
		message_arrive_in(m, net_latency(s));
	}
}

void
net_heal(struct sim *s)
{
	if (s->late_for_long)
		return;
	for (struct sim_message *m = s->messages; m != NULL; m = m->next) {
		if (timer_pending(&m->arrives) && m->arrives.due - sim_now(s) > NET_LATE_HEALED_MS)
			timer_set(&m->arrives, (int64_t)rand_below(&s->luck, NET_LATE_HEALED_MS));
		if (timer_pending(&m->twice) && m->twice.due - sim_now(s) > NET_LATE_HEALED_MS)
			timer_set(&m->twice, (int64_t)rand_below(&s->luck, NET_LATE_HEALED_MS));
	}
}

bool
net_is_late(const struct sim *s)
{
	for (const struct sim_message *m = s->messages; m != NULL; m = m->next)
		if (!message_is_awaited(m) && (timer_pending(&m->arrives) || timer_pending(&m->twice)))
			return true;
	return false;
}
