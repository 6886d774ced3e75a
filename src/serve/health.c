/* SPDX-License-Identifier: MIT */
#include "serve.h"

/* Ready: every source was looked at once, whether it answered or not, and the store is usable. */

struct ready {
	struct plan *plan;
	bool         all;
};

static void
health_place(void *arg, const struct place_health *h)
{
	struct ready         *x = arg;
	const struct backend *b = plan_backend(x->plan, h->label);

	if (plan_is_source(x->plan, b) && h->last_try == 0 && !h->moved)
		x->all = false;
}

bool
health_ready(struct engine *e)
{
	struct ready x = { engine_plan(e), true };

	if (store_trouble(engine_store(e))[0] != '\0')
		return false;
	engine_health(e, health_place, &x);
	return x.all;
}
