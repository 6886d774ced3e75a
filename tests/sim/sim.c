/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/*
 * One world: who there is, what befalls them, and whose turn it is. Every agent has a loop of its own with a clock of its own; the
 * world's loop carries messages and actors. The next turn is of whoever is due first; of several, one is drawn.
 */
#define SIM_TURNS_MAX  1500000
#define SIM_STRIKES    8               /* of 1000 writes, after which their agent dies or stands still */
#define SIM_STRIKE_MS  120
#define SIM_BOUND_MS   (90 * 60 * 1000) /* from healed to converged: recovery looks after 1, 5 and 20 minutes, back-off is up to 10 */

const char *const sim_fault_names[FAULT_COUNT] = { "refused", "lost-request", "lost-answer", "late", "twice", "cut", "busy", "raced",
	"partition", "down", "drift", "wall", "freeze", "kill", "old-store", "no-store", "stop", "tf-crash", "tf-half", "tf-late",
	"tf-force", "tf-target", "operator" };

/* --- chance, time, and what is told --- */

int64_t
sim_now(const struct sim *s)
{
	return s->world->mono_ms;
}

bool
sim_on(const struct sim *s, enum sim_fault f)
{
	return !s->healed && (s->faults & 1u << f) != 0;
}

void
sim_hit(struct sim *s, enum sim_fault f)
{
	s->stats->hits[f]++;
}

uint64_t
sim_below(struct sim *s, uint64_t n)
{
	return rand_below(&s->rand, n);
}

bool
sim_chance(struct sim *s, unsigned per_mille)
{
	return rand_below(&s->rand, 1000) < per_mille;
}

int64_t
sim_local(const struct sim_agent *a, int64_t world)
{
	return a->base_local + (world - a->base_world) * a->rate / 10000;
}

static void
sim_mix(struct sim *s, const char *text)
{
	for (; *text != '\0'; text++)
		s->hash = (s->hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
}

void
sim_say(struct sim *s, const char *fmt, ...)
{
	char    text[700];
	int     n = snprintf(text, sizeof(text), "%9.3f ", (double)sim_now(s) / 1000);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	sim_mix(s, text);
	if (s->trace)
		puts(text);
}

void
sim_fail(struct sim *s, const char *invariant, const char *fmt, ...)
{
	va_list ap;
	char    text[1500];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("seed %" PRIu64 ": %s: %s, at %.3f s\n", s->seed, invariant, text, (double)sim_now(s) / 1000);
	fflush(stdout);
	_exit(1);
}

static void
sim_log(void *arg, const char *line)
{
	struct sim *s = arg;

	if (strstr(line, SIM_CANARY) != NULL)
		sim_fail(s, "I8", "a log line holds what a state holds: %s", line);
	if (s->trace)
		printf("          log: %s\n", line);
}

/* --- who there is --- */

static void
sim_conf_backend(struct buf *b, const struct sim_server *v, unsigned poll_s)
{
	unsigned caps = server_caps(v->kind);

	buf_printf(b, "backend \"mem\" \"%s\" {\n  poll = \"%us\"\n  lock = %s\n  if_match = %s\n  list = %s\n}\n", v->label, poll_s,
	    (caps & PROVIDER_LOCK) != 0 ? "true" : "false", (caps & PROVIDER_IF_MATCH) != 0 ? "true" : "false",
	    (caps & PROVIDER_LIST) != 0 ? "true" : "false");
}

static void
sim_make_conf(struct sim *s)
{
	struct buf b;
	unsigned   poll_s = 10 + (unsigned)sim_below(s, 30);

	buf_init(&b, 0);
	for (unsigned i = 0; i < s->nservers; i++)
		sim_conf_backend(&b, &s->servers[i], poll_s);
	buf_printf(&b, "replicate \"" SIM_EDGE "\" {\n  from = \"a\"\n  to = [\"b\"%s]\n", s->nservers > 2 ? ", \"c\"" : "");
	if (s->lease)
		buf_printf(&b, "  lease {\n    ttl = \"%us\"\n  }\n", (unsigned)(s->ttl_ms / 1000));
	buf_puts(&b, "}\n");
	s->conf = buf_take(&b);
	sim_say(s, "%u agents, %u states, %u in 1000 messages meet trouble, from %s to %s%s%s%s", s->nagents, s->nstates, s->trouble,
	    sim_kind_name(s->servers[0].kind), sim_kind_name(s->servers[1].kind), s->nservers > 2 ? " and " : "",
	    s->nservers > 2 ? sim_kind_name(s->servers[2].kind) : "", s->lease ? ", with a lease" : "");
}

static void
sim_make_servers(struct sim *s)
{
	static const char *const labels[SIM_SERVERS] = { "a", "b", "c" };
	bool                     cas = true;

	s->nservers = 2 + (sim_chance(s, 250) ? 1 : 0);
	for (unsigned i = 0; i < s->nservers; i++) {
		s->servers[i].label = labels[i];
		s->servers[i].kind = (enum sim_kind)sim_below(s, SIM_KINDS);
		s->stats->kinds[s->servers[i].kind]++;
		cas = cas && (i == 0 || (server_caps(s->servers[i].kind) & PROVIDER_CAS) != 0);
	}
	s->lease = cas && sim_chance(s, 700);
	s->ttl_ms = 1000 * (int64_t)(10 + sim_below(s, 30));
}

static void sim_struck(void *arg);

static void
sim_make_agents(struct sim *s)
{
	s->nagents = 1 + (unsigned)sim_below(s, sim_chance(s, 300) ? SIM_AGENTS : 3);
	for (unsigned i = 0; i < s->nagents; i++) {
		struct sim_agent *a = &s->agents[i];

		a->sim = s;
		a->index = i;
		a->rate = 10000;
		if (sim_on(s, FAULT_DRIFT)) {
			a->rate += (int64_t)sim_below(s, 201) - 100;
			sim_hit(s, FAULT_DRIFT);
		}
		if (sim_on(s, FAULT_WALL) && sim_chance(s, 300))
			a->wall_off = (int64_t)sim_below(s, 6 * 3600000) - 3 * 3600000;
		snprintf(a->name, sizeof(a->name), "agent-%u", i);
		a->dir = xasprintf("%s/%s", s->dir, a->name);
		timer_init(&a->again, s->world, NULL, a);
		timer_init(&a->term, s->world, NULL, a);
		timer_init(&a->struck, s->world, sim_struck, a);
	}
}

/* --- what befalls them --- */

static int64_t
sim_some_ms(struct sim *s, int64_t most)
{
	return 1000 + (int64_t)sim_below(s, (uint64_t)(sim_chance(s, 300) ? most : most / 10));
}

static void
sim_shift(struct sim *s, struct sim_agent *a, int64_t ms)
{
	sim_say(s, "agent %u finds its wall clock %" PRId64 " ms off", a->index, ms);
	if (a->up)
		loop_wall_shift(a->loop, ms - a->wall_off);
	a->wall_off = ms;
	a->wall_set = true;
}

static int64_t
sim_some_wall(struct sim *s)
{
	return (int64_t)sim_below(s, 7200000) - 3600000;
}

/* Its host is set right, or wrong, before it starts again. */
static void
sim_shift_between(struct sim *s, struct sim_agent *a)
{
	if (!sim_on(s, FAULT_WALL) || !sim_chance(s, 250))
		return;
	sim_hit(s, FAULT_WALL);
	sim_shift(s, a, sim_some_wall(s));
}

static void
sim_lose_agent(struct sim *s, struct sim_agent *a)
{
	bool old = sim_on(s, FAULT_OLD_STORE) && sim_chance(s, 100), gone = sim_on(s, FAULT_NO_STORE) && sim_chance(s, 30);

	sim_hit(s, FAULT_KILL);
	agent_kill(a);
	if (gone) {
		sim_hit(s, FAULT_NO_STORE);
		sim_say(s, "agent %u loses its store", a->index);
		agent_lose_store(a);
		s->lost = true;
	} else if (old && agent_put_back(a)) {
		sim_hit(s, FAULT_OLD_STORE);
		sim_say(s, "agent %u gets an older copy of its store", a->index);
		s->lost = true;
	}
	sim_shift_between(s, a);
	agent_back(a, sim_some_ms(s, 300000));
}

static void
sim_freeze(struct sim *s, struct sim_agent *a)
{
	int64_t ms = sim_some_ms(s, 600000);

	sim_hit(s, FAULT_FREEZE);
	sim_say(s, "agent %u is frozen for %" PRId64 " ms", a->index, ms);
	a->frozen_until = sim_now(s) + ms;
	a->freezing = true;
}

static void
sim_struck(void *arg)
{
	struct sim_agent *a = arg;
	struct sim       *s = a->sim;

	if (!a->up || a->stopping)
		return;
	if (sim_on(s, FAULT_KILL) && sim_chance(s, 600))
		sim_lose_agent(s, a);
	else if (sim_on(s, FAULT_FREEZE))
		sim_freeze(s, a);
}

void
sim_strike(struct sim_agent *a)
{
	if (!a->sim->healed && rand_below(&a->sim->luck, 1000) < SIM_STRIKES)
		timer_sooner(&a->struck, (int64_t)rand_below(&a->sim->luck, SIM_STRIKE_MS));
}

static void
sim_cut(struct sim *s, struct sim_agent *a)
{
	sim_hit(s, FAULT_PARTITION);
	a->cut_mask = sim_chance(s, 500) ? ~0u : 1u << sim_below(s, s->nservers);
	a->cut_until = sim_now(s) + sim_some_ms(s, 600000);
	sim_say(s, "agent %u is cut off until %" PRId64, a->index, a->cut_until);
}

static void
sim_bring_down(struct sim *s)
{
	struct sim_server *v = &s->servers[sim_below(s, s->nservers)];

	sim_hit(s, FAULT_DOWN);
	v->stalls = sim_chance(s, 300);
	v->down_until = sim_now(s) + sim_some_ms(s, 400000);
	sim_say(s, "%s is down until %" PRId64, v->label, v->down_until);
}


static void
sim_befall(struct sim *s, struct sim_agent *a)
{
	unsigned what = (unsigned)sim_below(s, 8);

	if (what == 0 && sim_on(s, FAULT_DOWN))
		sim_bring_down(s);
	if (!a->up || a->stopping)
		return;
	if ((what == 1 || what == 2) && sim_on(s, FAULT_KILL))
		sim_lose_agent(s, a);
	else if (what == 3 && sim_on(s, FAULT_FREEZE))
		sim_freeze(s, a);
	else if (what == 4 && sim_on(s, FAULT_PARTITION))
		sim_cut(s, a);
	else if (what == 5 && sim_on(s, FAULT_WALL)) {
		sim_hit(s, FAULT_WALL);
		sim_shift(s, a, sim_some_wall(s));
	} else if (what == 6 && sim_on(s, FAULT_STOP)) {
		sim_hit(s, FAULT_STOP);
		agent_stop(a);
	} else if (what == 7 && sim_on(s, FAULT_OLD_STORE))
		agent_keep_copy(a);
}

static void sim_heal(struct sim *s);

static void
sim_tick(void *arg)
{
	struct sim *s = arg;

	if (sim_now(s) >= s->heal_at) {
		sim_heal(s);
		return;
	}
	sim_befall(s, &s->agents[sim_below(s, s->nagents)]);
	timer_set(&s->tick, 2000 + (int64_t)sim_below(s, s->lease ? 40000 : 90000));
}

static void
sim_heal(struct sim *s)
{
	sim_say(s, "everything is healed");
	s->healed = true;
	s->trouble = 0;
	s->bound_at = sim_now(s) + SIM_BOUND_MS;
	for (unsigned i = 0; i < s->nservers; i++)
		s->servers[i].down_until = 0;
	for (unsigned i = 0; i < s->nagents; i++) {
		struct sim_agent *a = &s->agents[i];

		a->frozen_until = a->cut_until = 0;
		if (a->up && a->wall_off != 0)
			sim_shift(s, a, 0);
		if (!a->up && timer_pending(&a->again))
			timer_set(&a->again, 1000);
	}
	net_heal(s);
	actors_heal(s);
	check_heal_begin(s);
}

/* --- whose turn it is --- */

/* When it has something to do, by the world's clock; INT64_MAX: never. */
static int64_t
sim_agent_due(struct sim_agent *a, int64_t now)
{
	struct loop  *l = a->loop;
	struct timer *t;
	int64_t       due;

	if (!a->up)
		return INT64_MAX;
	if (l->ndeferred > 0 || loop_post_pending(l)) {
		due = now;
	} else {
		if ((t = timer_top(l)) == NULL)
			return INT64_MAX;
		due = a->base_world + ((t->due - a->base_local) * 10000 + a->rate - 1) / a->rate;
		due = due < now ? now : due;
	}
	a->freezing = a->freezing && l->ndeferred > 0;
	return due < a->frozen_until && !a->freezing ? a->frozen_until : due;
}

static int64_t
sim_world_due(const struct sim *s, int64_t now)
{
	struct timer *t = timer_top(s->world);

	if (s->world->ndeferred > 0)
		return now;
	return t == NULL ? INT64_MAX : t->due < now ? now : t->due;
}

static void
sim_turn(struct sim *s)
{
	int64_t  due[SIM_AGENTS + 1], now = sim_now(s), next = INT64_MAX;
	unsigned n = 0, pick;

	for (unsigned i = 0; i <= s->nagents; i++) {
		due[i] = i < s->nagents ? sim_agent_due(&s->agents[i], now) : sim_world_due(s, now);
		next = due[i] < next ? due[i] : next;
	}
	if (next == INT64_MAX)
		sim_fail(s, "liveness", "nobody has anything to do any more");
	for (unsigned i = 0; i <= s->nagents; i++)
		n += due[i] == next;
	pick = (unsigned)rand_below(&s->luck, n);
	for (n = 0; due[n] != next || pick-- > 0; n++)
		;
	s->world->mono_ms = next;
	if (n == s->nagents) {
		loop_turn(s->world, false);
		return;
	}
	s->agents[n].loop->mono_ms = sim_local(&s->agents[n], next);
	loop_turn(s->agents[n].loop, false);
	agent_turned(&s->agents[n]);
}

void
sim_run(uint64_t seed, unsigned faults, bool trace, const char *dir, struct sim_stats *stats)
{
	static struct sim world;
	struct sim       *s = &world;

	s->seed = seed;
	s->faults = faults;
	s->trace = trace;
	s->stats = stats;
	s->hash = UINT64_C(0xcbf29ce484222325);
	s->dir = xstrdup(dir);
	rand_seeded(&s->rand, seed);
	rand_seeded(&s->luck, ~seed);
	s->world = loop_new_virtual(seed, SIM_WALL);
	s->written = map_new();
	s->released = map_new();
	s->resolved = map_new();
	s->states[0] = "x.tfstate";
	s->states[1] = "team/y.tfstate";
	s->states[2] = "z.tfstate";
	s->nstates = 1 + (unsigned)sim_below(s, SIM_STATES);
	s->trouble = (unsigned[]){ 0, 5, 20, 60, 150 }[sim_below(s, 5)];
	s->late_for_long = sim_chance(s, 500);
	s->lock_again = sim_chance(s, 300);
	sim_make_servers(s);
	log_setup(trace ? LOG_INFO : seed % 16 == 0 ? LOG_DEBUG : LOG_WARN, false, loop_clock(s->world));
	log_sink(sim_log, s);
	sim_make_agents(s);
	sim_make_conf(s);
	s->heal_at = s->lease ? 60000 + (int64_t)sim_below(s, 5 * 60000) : 120000 + (int64_t)sim_below(s, 20 * 60000);
	for (unsigned i = 0; i < s->nagents; i++)
		agent_back(&s->agents[i], 1 + (int64_t)sim_below(s, 20000));
	actors_begin(s);
	timer_init(&s->tick, s->world, sim_tick, s);
	timer_set(&s->tick, 20000);
	while (!s->ended) {
		if (++s->turns > SIM_TURNS_MAX)
			sim_fail(s, "I9", "more than %d turns", SIM_TURNS_MAX);
		sim_turn(s);
	}
	check_end(s);
	stats->hash = s->hash;
	stats->turns += s->turns;
	stats->sent += s->sent;
	stats->virtual_ms += (uint64_t)sim_now(s);
}
