/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim.h"

#include "store/internal.h"

/* One agent: its process, its store, and how they end. */

#define AGENT_STOP_MS     30000 /* then SIGKILL, as a service manager does */
#define AGENT_OTHER_UP_MS ((int64_t)100 * 3600 * 1000)

/* --- what its store has acknowledged --- */

struct agent_walk {
	struct sim_agent *a;
	struct store_txn *t;
	uint64_t          last;
};

static bool
agent_keep_version(void *arg, const struct version_rec *v)
{
	struct sim_agent *a = arg;

	a->kept = xreallocarray(a->kept, a->nkept + 1, sizeof(*a->kept));
	a->kept[a->nkept++] = v->digest;
	return true;
}

static bool
agent_keep_state(void *arg, const struct state_rec *r)
{
	struct agent_walk *w = arg;

	store_versions(w->t, r->id, agent_keep_version, w->a);
	return true;
}

static struct store_txn *
agent_read(struct sim_agent *a)
{
	struct store_txn *t;
	struct err        e;

	if (store_read(a->store, &t, &e) != ERR_OK)
		sim_fail(a->sim, "I1", "agent %u cannot read its store: %s", a->index, e.msg);
	return t;
}

static void
agent_note_kept(struct sim_agent *a)
{
	struct store_txn *t = agent_read(a);
	struct agent_walk w = { .a = a, .t = t };

	a->nkept = 0;
	store_states(t, NULL, 0, agent_keep_state, &w);
	store_end(t);
}

static void
agent_check_kept(struct sim_agent *a)
{
	struct store_txn *t = agent_read(a);
	char              hex[DIGEST_HEX];

	for (size_t i = 0; i < a->nkept; i++)
		if (!store_has_body(t, &a->kept[i]))
			sim_fail(a->sim, "I1", "agent %u has lost the version %.12s", a->index, digest_hex(&a->kept[i], hex));
	store_end(t);
	a->sim->stats->versions += a->nkept;
}

static void
agent_problem(void *arg, const char *text)
{
	struct sim_agent *a = arg;

	sim_fail(a->sim, "I1", "agent %u: %s", a->index, text);
}

static void
agent_checked(struct op *op, void *arg)
{
	*(bool *)arg = true;
	op_free(op);
}

void
agent_check_store(struct sim_agent *a)
{
	struct store_check c = { .problem = agent_problem, .arg = a };
	bool               done = false;

	if (!a->up)
		return;
	op_start(store_check(a->store, &c), agent_checked, &done);
	while (!done)
		loop_turn(a->loop, false);
}

/* --- its life --- */

static void
agent_plan(struct sim_agent *a, struct plan **ret)
{
	struct sim *s = a->sim;
	char       *text = xasprintf("agent {\n  store = \"%s\"\n  name = \"%s\"\n}\n%s", a->dir, a->name, s->conf);
	struct err  e;

	if (plan_parse("sim.hcl", s->dir, span_str(text), NULL, ret, &e) != ERR_OK || plan_open(*ret, &a->env, &e) != ERR_OK)
		sim_fail(s, "setup", "%s\n%s", e.msg, text);
	free(text);
}

/* The monotonic clock goes on in the next process; sometimes the host was started anew, or the store is on another one by now that has been
 * up for longer, and whose wall clock is no more ahead than that of the first. */
static int64_t
agent_uptime(const struct sim_agent *a)
{
	int64_t up = sim_local(a, sim_now(a->sim));

	switch (a->life % 8) {
	case 3:
	case 6:
		return 0;
	case 5:
		return a->wall_set ? up : up + AGENT_OTHER_UP_MS;
	default:
		return up;
	}
}

void
agent_open(struct sim_agent *a)
{
	struct sim       *s = a->sim;
	struct store_conf sc = { .dir = a->dir, .inline_commit = true, .free_min = 1, .map_size = (uint64_t)16 << 20,
		.machine_id = "sim" };
	struct plan      *plan;
	struct err        e;

	a->base_local = agent_uptime(a);
	a->base_world = sim_now(s);
	a->loop = loop_new_virtual(rand_u64(&s->rand), SIM_WALL + sim_now(s) + a->wall_off - a->base_local);
	a->loop->mono_ms = a->base_local;
	a->life++;
	a->work = work_new(a->loop);
	if (store_open(a->loop, a->work, &sc, &a->store, &e) != ERR_OK)
		sim_fail(s, "I1", "agent %u cannot open its store: %s", a->index, e.msg);
	a->env = (struct provider_env){ .loop = a->loop, .work = a->work, .agent_name = a->name, .agent_id = store_agent_id(a->store) };
	agent_plan(a, &plan);
	for (size_t i = 0; i < plan->nbackends; i++)
		driver_attach(plan->backends[i], a);
	a->engine = engine_new(&(struct engine_conf){ a->loop, a->work, a->store, plan });
	a->up = true;
	a->stopping = false;
	agent_check_kept(a);
	sim_say(s, "agent %u starts", a->index);
	engine_start(a->engine);
	if (s->healed && a->wall_off != 0) { /* set right while it runs, as a time service does */
		loop_wall_shift(a->loop, -a->wall_off);
		a->wall_off = 0;
	}
}

static void
agent_again(void *arg)
{
	agent_open(arg);
}

void
agent_back(struct sim_agent *a, int64_t ms)
{
	timer_init(&a->again, a->sim->world, agent_again, a);
	timer_set(&a->again, ms);
}

static void
agent_is_gone(struct sim_agent *a)
{
	timer_stop(&a->term);
	a->up = false;
	a->asked = NULL;
	a->frozen_until = 0;
	memset(a->holds, 0, sizeof(a->holds));
	memset(a->held_at, 0, sizeof(a->held_at));
}

/* What the kernel does: descriptors and locks on files go, memory goes; what was committed stays. Nothing of the process ever runs
 * again. Its memory is the simulator's until the seed ends. */
void
agent_kill(struct sim_agent *a)
{
	sim_say(a->sim, "agent %u is killed", a->index);
	agent_note_kept(a);
	store_env_close(a->store);
	close(a->store->ownerfd);
	close(a->store->dirfd);
	agent_is_gone(a);
}

static void
agent_term(void *arg)
{
	struct sim_agent *a = arg;

	agent_kill(a);
	agent_back(a, 1000);
}

void
agent_stop(struct sim_agent *a)
{
	sim_say(a->sim, "agent %u is stopped", a->index);
	a->stopping = true;
	engine_stop(a->engine);
	timer_init(&a->term, a->sim->world, agent_term, a);
	timer_set(&a->term, AGENT_STOP_MS);
}

static void
agent_close(struct sim_agent *a)
{
	sim_say(a->sim, "agent %u has stopped", a->index);
	agent_note_kept(a);
	engine_free(a->engine);
	store_close(a->store);
	work_free(a->work);
	loop_free(a->loop);
	agent_is_gone(a);
	agent_back(a, 1000 + (int64_t)sim_below(a->sim, 60000));
}

void
agent_turned(struct sim_agent *a)
{
	check_turn(a);
	if (a->stopping && a->asked == NULL && engine_idle(a->engine) && op_count(a->loop) == 0)
		agent_close(a);
}

/* --- its store --- */

static void
agent_path(const struct sim_agent *a, const char *what, char ret[600])
{
	snprintf(ret, 600, "%s%s", a->dir, what);
}

static void
agent_copy_file(struct sim_agent *a, const char *from, const char *to)
{
	char    in_path[600], out_path[600], piece[65536];
	ssize_t n;
	int     in, out;

	agent_path(a, from, in_path);
	agent_path(a, to, out_path);
	in = open(in_path, O_RDONLY | O_CLOEXEC);
	out = open(out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (in < 0 || out < 0)
		sim_fail(a->sim, "setup", "cannot copy %s", in_path);
	while ((n = read(in, piece, sizeof(piece))) > 0)
		if (write(out, piece, (size_t)n) != n)
			sim_fail(a->sim, "setup", "cannot write %s", out_path);
	close(in);
	close(out);
}

/* Between turns no commit is under way. */
void
agent_keep_copy(struct sim_agent *a)
{
	agent_copy_file(a, "/data.mdb", ".copy");
	a->copied = true;
}

bool
agent_put_back(struct sim_agent *a)
{
	if (!a->copied)
		return false;
	agent_copy_file(a, ".copy", "/data.mdb");
	a->nkept = 0;
	return true;
}

void
agent_lose_store(struct sim_agent *a)
{
	static const char *const files[] = { "/data.mdb", "/lock.mdb", "/owner", "/host" };
	char                     path[600];

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		agent_path(a, files[i], path);
		unlink(path);
	}
	a->nkept = 0;
}
