/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "provider/reach.h"
#include "remote.h"

/*
 * The probe: what needs no write, then the lock, tried on a workspace of its own that goes at the end; one that a killed probe left goes
 * before. Where none may be made (create = false), the lock is not tried.
 */
struct remote_probing {
	struct op      op;
	struct remote *r;
	probe_fn      *seen;
	void          *arg;
};

enum remote_probing_state { PROBE_START, PROBE_REACHED, PROBE_SWEPT, PROBE_TRIED, PROBE_CLEAN, PROBE_CLEANED };

/* Of the workspaces that were seen: how many the token may not take as a target. */
static size_t
remote_probing_denied(const struct remote *r, size_t *ret_all)
{
	size_t denied = 0;
	void  *k;

	*ret_all = map_count(r->known);
	for (size_t i = 0; map_next(r->known, &i, NULL, &k);)
		denied += (((struct remote_known *)k)->denied & (REMOTE_WRITE_STATE | REMOTE_LOCK | REMOTE_UNLOCK)) != 0;
	return denied;
}

static const char *const remote_probing_states[] = { "start", "reached", "swept", "tried", "clean", "cleaned" };

/* That the place of locks can be read is no answer to whether the lock excludes another one. */
static void
remote_probing_seen(void *arg, const struct probe_check *k)
{
	struct remote_probing *p = arg;

	if (!k->ok || strcmp(k->name, "lock") != 0)
		p->seen(p->arg, k);
}

static enum op_turn
remote_probing_step(struct op *op)
{
	struct remote_probing *p = container_of(op, struct remote_probing, op);
	struct backend        *b = &p->r->b;
	size_t                 all, denied = remote_probing_denied(p->r, &all);

	switch ((enum remote_probing_state)op->state) {
	case PROBE_START:
		if (!b->common.create)
			return op_await(op, PROBE_REACHED, provider_reach(b, remote_probing_seen, p));
		return op_await(op, PROBE_SWEPT, remote_remove(p->r, REACH_SCRATCH));
	case PROBE_REACHED:
		if (!op_failed(op))
			probe_say(p->seen, p->arg, "lock", false, false,
			    "not tried: it is a workspace's own; create = true lets a probe make one for itself; the token may not lock and "
			    "write %zu of %zu workspaces", denied, all);
		return op_finish(op);
	case PROBE_SWEPT: /* who may not delete is told of all else before that */
		return op_await(op, PROBE_TRIED, reach_probe(b, NULL, p->seen, p->arg));
	case PROBE_TRIED:
		return op_unwind(op, PROBE_CLEAN);
	case PROBE_CLEAN:
		return op_await(op, PROBE_CLEANED, remote_known(p->r, REACH_SCRATCH) != NULL ? remote_remove(p->r, REACH_SCRATCH) : NULL);
	case PROBE_CLEANED:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
remote_probing_free(struct op *op)
{
	free(container_of(op, struct remote_probing, op));
}

static const struct op_class remote_probing_class = { "remote probe", remote_probing_step, NULL, remote_probing_free,
	remote_probing_states, ARRAY_LEN(remote_probing_states) };

struct op *
remote_probe(struct backend *b, probe_fn *seen, void *arg)
{
	struct remote_probing *p = xcalloc(1, sizeof(*p));

	p->r = remote_of(b);
	op_init(&p->op, &remote_probing_class, p->r->env->loop);
	p->seen = seen;
	p->arg = arg;
	return &p->op;
}
