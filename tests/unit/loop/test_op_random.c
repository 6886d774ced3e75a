/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/mem.h"
#include "loop/op.h"
#include "loop/work.h"

#include "../../lib/test.h"

/*
 * Random trees of operations on the virtual loop, with random failures,
 * cancels, shields and deadlines. Whatever happens: every op ends once and is
 * freed, a cancel never hides something that happened, an error is never lost
 * on the way up, a cleanup always runs; and a seed replays to the last turn.
 */
#define SEEDS     2000
#define DEPTH_MAX 4

static struct loop *loop;
static struct work *work;
static uint64_t     seed_now;
static uint64_t     hash;      /* of everything that happened, in order */
static int          nodes, live;
static int          seen_codes[ERR_IO + 1], seen_cleanups, seen_happened_after_cancel;

static uint64_t
roll(uint64_t n)
{
	return rand_below(loop_rand(loop), n);
}

static void
trace(int node, int what, int value)
{
	uint64_t words[4] = { (uint64_t)node, (uint64_t)what, (uint64_t)value, (uint64_t)loop_now(loop) };

	for (size_t i = 0; i < sizeof(words); i++)
		hash = (hash ^ ((const uint8_t *)words)[i]) * 1099511628211u;
}

enum { BUILT = 1, BEGUN, TOLD, HAPPENED, WAITED, CLEANUP, ENDED, FREED };

/* What every op of the tree begins with. */
struct node {
	struct op op;
	int       id;
	int       begun, ended;
	bool      happened;      /* a leaf: what it was asked for took effect */
	bool     *ret_begun;     /* the parent's; may be NULL */
};

static struct op *tree(int depth);

static void
node_init(struct node *n, const struct op_class *class)
{
	op_init(&n->op, class, loop);
	n->id = ++nodes;
	live++;
	trace(n->id, BUILT, 0);
}

static void
node_begin(struct node *n)
{
	CHECK(n->begun++ == 0);
	if (n->ret_begun != NULL)
		*n->ret_begun = true;
	trace(n->id, BEGUN, 0);
}

static void
node_free(struct node *n)
{
	CHECK(!n->op.started || n->op.finished);
	if (n->op.finished) {
		trace(n->id, ENDED, (int)n->op.err.code);
		seen_codes[n->op.err.code]++;
		CHECK(n->op.err.code != ERR_CANCELLED || !n->happened); /* rule 4 */
		seen_happened_after_cancel += n->happened && n->op.cancelled;
	}
	trace(n->id, FREED, 0);
	live--;
}

/* --- leaves: a write whose effect comes after a while, and whose answer comes later still --- */

struct leaf {
	struct node  n;
	struct timer effect, answer;
	bool         fails, polite; /* polite: ends a cancel at once */
};

static void
leaf_effect(void *arg)
{
	struct leaf *f = arg;

	f->n.happened = !f->fails;
	trace(f->n.id, HAPPENED, f->n.happened);
}

static void
leaf_answer(void *arg)
{
	struct leaf *f = arg;

	timer_stop(&f->effect);
	if (f->fails)
		err_set(&f->n.op.res, ERR_BUSY, 503, "%d", f->n.id);
	else
		f->n.happened = true;
	op_wake(&f->n.op);
}

static enum op_turn
leaf_step(struct op *op)
{
	struct leaf *f = container_of(op, struct leaf, n.op);

	if (op->state == 1)
		return op_finish(op);
	node_begin(&f->n);
	op->state = 1;
	timer_set(&f->effect, (int64_t)roll(20));
	timer_set(&f->answer, 20 + (int64_t)roll(20));
	return OP_WAIT;
}

static void
leaf_cancel(struct op *op)
{
	struct leaf *f = container_of(op, struct leaf, n.op);

	trace(f->n.id, TOLD, f->n.happened);
	CHECK(timer_pending(&f->answer)); /* never when the answer is on its way */
	if (!f->polite)
		return;
	timer_stop(&f->answer);
	timer_stop(&f->effect);
	err_set(&op->res, f->n.happened ? ERR_UNCERTAIN : ERR_CANCELLED, 0, "%d", f->n.id);
	op_wake(op);
}

static void
leaf_free(struct op *op)
{
	struct leaf *f = container_of(op, struct leaf, n.op);

	CHECK(!timer_pending(&f->effect) && !timer_pending(&f->answer));
	node_free(&f->n);
	free(f);
}

static const struct op_class leaf_class = { "leaf", leaf_step, leaf_cancel, leaf_free, NULL, 0 };

static struct op *
leaf_new(void)
{
	struct leaf *f = xcalloc(1, sizeof(*f));

	node_init(&f->n, &leaf_class);
	timer_init(&f->effect, loop, leaf_effect, f);
	timer_init(&f->answer, loop, leaf_answer, f);
	f->fails = roll(4) == 0;
	f->polite = roll(3) != 0;
	return &f->n.op;
}

/* --- several steps, then a cleanup --- */

struct chain {
	struct node   n;
	int           depth, steps;
	enum err_code first;   /* what the outcome must be, if it is an error */
	bool          cleanup_begun;
};

enum chain_state { CHAIN_START, CHAIN_WAITED, CHAIN_CLEANUP, CHAIN_CLEANED };

static enum op_turn
chain_wait(struct chain *c)
{
	struct op *child = roll(10) == 0 ? NULL : tree(c->depth - 1);

	if (roll(4) == 0)
		return op_await_for(&c->n.op, CHAIN_WAITED, child, (int64_t)roll(60));
	return op_await(&c->n.op, CHAIN_WAITED, child);
}

static enum op_turn
chain_waited(struct chain *c)
{
	struct op *op = &c->n.op;

	trace(c->n.id, WAITED, (int)op->res.code);
	CHECK(op->child == NULL);
	if (op_stopped(op) || (op_failed(op) && roll(3) != 0)) {
		c->first = op->res.code != ERR_OK ? op->res.code : ERR_CANCELLED;
		return op_unwind(op, CHAIN_CLEANUP);
	}
	if (roll(8) == 0)
		op_shield(op);
	if (--c->steps > 0)
		return chain_wait(c);
	return op_unwind(op, CHAIN_CLEANUP);
}

static enum op_turn
chain_step(struct op *op)
{
	struct chain *c = container_of(op, struct chain, n.op);
	struct op    *leaf;

	switch ((enum chain_state)op->state) {
	case CHAIN_START:
		node_begin(&c->n);
		return chain_wait(c);
	case CHAIN_WAITED:
		return chain_waited(c);
	case CHAIN_CLEANUP:
		trace(c->n.id, CLEANUP, 0);
		leaf = leaf_new();
		container_of(leaf, struct leaf, n.op)->n.ret_begun = &c->cleanup_begun;
		return op_await(op, CHAIN_CLEANED, leaf);
	case CHAIN_CLEANED:
		CHECK(c->cleanup_begun && op->res.code != ERR_CANCELLED); /* whoever cancelled, and when */
		seen_cleanups++;
		return op_finish(op);
	}
	abort();
}

static void
chain_free(struct op *op)
{
	struct chain *c = container_of(op, struct chain, n.op);

	if (op->finished && c->first != ERR_OK)
		CHECK(op->err.code == c->first);
	node_free(&c->n);
	free(c);
}

static const struct op_class chain_class = { "chain", chain_step, NULL, chain_free, NULL, 0 };

static struct op *
chain_new(int depth)
{
	struct chain *c = xcalloc(1, sizeof(*c));

	node_init(&c->n, &chain_class);
	c->depth = depth;
	c->steps = 1 + (int)roll(4);
	return &c->n.op;
}

/* --- fans: an op around op_all() or op_each_of(), which checks what they report --- */

#define FAN_MAX 6

struct fan {
	struct node n;
	int         depth, left, ended, running, children;
	size_t      count, limit;
	bool        each;
	struct err  outcomes[FAN_MAX];
	struct err  first_ended;
};

static struct op *
fan_next(void *arg)
{
	struct fan *f = arg;

	CHECK(f->limit == 0 || (size_t)f->running < f->limit);
	if (f->left == 0)
		return NULL;
	f->left--;
	f->running++;
	return tree(f->depth - 1);
}

static void
fan_ended(struct op *child, void *arg)
{
	struct fan *f = arg;

	CHECK(child->finished);
	f->running--;
	f->ended++;
	if (f->first_ended.code == ERR_OK)
		f->first_ended = child->err;
}

static struct op *
fan_all(struct fan *f)
{
	struct op *children[FAN_MAX];

	for (size_t i = 0; i < f->count; i++) {
		children[i] = roll(10) == 0 ? NULL : tree(f->depth - 1);
		f->children += children[i] != NULL;
	}
	return op_all(loop, children, f->count, f->limit, f->outcomes);
}

static void
fan_check_all(const struct fan *f)
{
	const struct err *first = NULL;

	for (size_t i = 0; i < f->count && first == NULL; i++) {
		if (f->outcomes[i].code != ERR_OK)
			first = &f->outcomes[i];
	}
	if (first != NULL)
		CHECK(f->n.op.res.code == first->code);
	else if (f->n.op.res.code == ERR_CANCELLED) /* before op_all() began, and it had nothing to do */
		CHECK(f->n.op.cancelled && f->children == 0);
	else
		CHECK(f->n.op.res.code == ERR_OK);
}

static void
fan_check_each(const struct fan *f)
{
	CHECK(f->running == 0 && f->left + f->ended == (int)f->count);
	if (f->first_ended.code != ERR_OK)
		CHECK(f->n.op.res.code == f->first_ended.code);
	else
		CHECK(f->n.op.res.code == ERR_OK || (f->n.op.res.code == ERR_CANCELLED && f->n.op.cancelled));
	CHECK(f->left == 0 || f->n.op.cancelled);
}

static enum op_turn
fan_step(struct op *op)
{
	struct fan *f = container_of(op, struct fan, n.op);

	if (op->state == 0) {
		node_begin(&f->n);
		f->left = (int)f->count;
		return op_await(op, 1,
		    f->each ? op_each_of(loop, fan_next, fan_ended, f, f->limit) : fan_all(f));
	}
	if (f->each)
		fan_check_each(f);
	else
		fan_check_all(f);
	return op_finish(op);
}

static void
fan_free(struct op *op)
{
	struct fan *f = container_of(op, struct fan, n.op);

	node_free(&f->n);
	free(f);
}

static const struct op_class fan_class = { "fan", fan_step, NULL, fan_free, NULL, 0 };

static struct op *
fan_new(int depth)
{
	struct fan *f = xcalloc(1, sizeof(*f));

	node_init(&f->n, &fan_class);
	f->depth = depth;
	f->count = (size_t)roll(FAN_MAX + 1);
	f->limit = (size_t)roll(4);
	f->each = roll(2) == 0;
	return &f->n.op;
}

/* --- trees --- */

static enum err_code
job(struct work_job *j, void *arg, struct err *reterr)
{
	CHECK(arg == NULL);
	if (work_cancelled(j) || roll(3) == 0)
		return err_set(reterr, ERR_IO, 5, "job");
	return ERR_OK;
}

static struct op *
tree(int depth)
{
	switch (roll(depth > 0 ? 10 : 5)) {
	case 0:
		return op_sleep(loop, (int64_t)roll(50));
	case 1:
		return op_error(loop, roll(2) == 0 ? ERR_OK : ERR_AUTH, 0, "known");
	case 2:
		return work_run(work, job, NULL);
	case 3:
	case 4:
		return leaf_new();
	case 5:
	case 6:
		return fan_new(depth);
	default:
		return chain_new(depth);
	}
}

struct top {
	struct op   *op;
	struct timer cancel;
	int          done;
};

static void
top_done(struct op *op, void *arg)
{
	struct top *t = arg;

	CHECK(t->done++ == 0 && op == t->op && op->finished);
	timer_stop(&t->cancel);
	trace(0, ENDED, (int)op->err.code);
	op_free(op);
	t->op = NULL;
}

static void
top_cancel(void *arg)
{
	op_cancel(((struct top *)arg)->op);
}

static uint64_t
run(uint64_t seed)
{
	struct top tops[3] = { 0 };

	seed_now = seed;
	loop = loop_new_virtual(seed, 1790000000000);
	work = work_new(loop);
	hash = 14695981039346656037u;
	nodes = 0;
	for (size_t i = 0; i < ARRAY_LEN(tops); i++) {
		tops[i].op = tree(DEPTH_MAX);
		timer_init(&tops[i].cancel, loop, top_cancel, &tops[i]);
		if (roll(2) == 0)
			timer_set(&tops[i].cancel, (int64_t)roll(120));
		op_start(tops[i].op, top_done, &tops[i]);
		if (roll(20) == 0)
			op_cancel(tops[i].op);
	}
	loop_run(loop);
	for (size_t i = 0; i < ARRAY_LEN(tops); i++)
		CHECK(tops[i].done == 1);
	CHECK(op_count(loop) == 0 && live == 0);
	trace(0, 0, nodes);
	work_free(work);
	loop_free(loop); /* asserts that nothing is pending */
	return hash;
}

static void
random_trees_keep_the_rules_and_replay(void)
{
	uint64_t other = 0;
	int      different = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		uint64_t first = run(seed);

		if (run(seed) != first)
			test_fail(__FILE__, __LINE__, "seed %llu does not replay", (unsigned long long)seed);
		different += first != other;
		other = first;
	}
	CHECK_U64(different, SEEDS);
	/* The trees went where it matters. */
	CHECK(seen_codes[ERR_OK] > 1000 && seen_codes[ERR_CANCELLED] > 1000 && seen_codes[ERR_BUSY] > 1000);
	CHECK(seen_codes[ERR_UNCERTAIN] > 50 && seen_codes[ERR_TIMEOUT] > 50 && seen_codes[ERR_IO] > 50);
	CHECK(seen_cleanups > 1000 && seen_happened_after_cancel > 100);
}

int
main(int argc, char **argv)
{
	int rc = test_main(argc, argv, (struct test[]){
	    { "random_trees_keep_the_rules_and_replay", random_trees_keep_the_rules_and_replay },
	    { NULL, NULL },
	});

	if (rc != 0)
		printf("# seed %llu\n", (unsigned long long)seed_now);
	return rc;
}
