/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/mem.h"
#include "loop/loop_impl.h"
#include "../../lib/test.h"

/* The virtual twin. */

#define WALL ((int64_t)1790000000000)

static char trace[64];

#define S(s) ((void *)(uintptr_t)(s)) /* a name as an argument */

static void
note(void *arg)
{
	CHECK(strlen(trace) + strlen(arg) < sizeof(trace));
	strcat(trace, arg);
}

static bool
never(void *arg)
{
	(void)arg;
	return false;
}

static void
run_dry(struct loop *l)
{
	while (loop_turn(l, true))
		;
}

/* --- order --- */

static void
order_of_three(uint64_t seed, char ret[4])
{
	struct loop    *l = loop_new_virtual(seed, WALL);
	struct deferred a = { 0 }, b = { 0 };
	struct timer    t;

	trace[0] = '\0';
	timer_init(&t, l, note, S("t"));
	timer_set(&t, 0);
	loop_defer(l, &a, note, S("a"));
	loop_defer(l, &b, note, S("b"));
	CHECK(loop_turn(l, true));
	CHECK_U64(strlen(trace), 1); /* one thing per turn */
	run_dry(l);
	strcpy(ret, trace);
	loop_free(l);
}

static void
simultaneous_work_comes_in_every_order(void)
{
	static const char *const all[] = { "abt", "atb", "bat", "bta", "tab", "tba" };
	size_t                   count[ARRAY_LEN(all)] = { 0 };

	for (uint64_t seed = 0; seed < 200; seed++) {
		char one[4], other[4];

		order_of_three(seed, one);
		order_of_three(seed, other);
		CHECK_STR(one, other); /* replayed */
		for (size_t i = 0; i < ARRAY_LEN(all); i++)
			count[i] += strcmp(one, all[i]) == 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		CHECK(count[i] > 10);
}

static void
posts_keep_their_order(void)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct loop    *l = loop_new_virtual(seed, WALL);
		struct post     p[3];
		struct deferred d = { 0 };
		char           *x;

		trace[0] = '\0';
		loop_post(l, &p[0], note, S("1"));
		loop_post(l, &p[1], note, S("2"));
		loop_defer(l, &d, note, S("x"));
		loop_post(l, &p[2], note, S("3"));
		CHECK_STR(trace, "");
		run_dry(l);
		x = strchr(trace, 'x');
		CHECK(x != NULL);
		memmove(x, x + 1, strlen(x));
		CHECK_STR(trace, "123");
		loop_free(l);
	}
}

/* --- time --- */

struct alarm {
	struct timer timer;
	int64_t      due;
	bool         fired;
};

static int64_t last_fired;

static void
alarm_rings(void *arg)
{
	struct alarm *a = arg;
	struct loop  *l = a->timer.loop;

	CHECK(loop_now(l) == a->due); /* time stands still while there is something to do */
	CHECK(loop_wall(l) == WALL + a->due);
	CHECK(loop_clock(l)->mono_ms(loop_clock(l)) == a->due);
	CHECK(a->due >= last_fired && !a->fired);
	last_fired = a->due;
	a->fired = true;
}

/* Also the heap's test: thousands set, moved and stopped at random, and each fires when it should. */
static void
time_jumps_to_the_next_timer(void)
{
	enum { N = 500 };
	static struct alarm alarms[N];

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct loop *l = loop_new_virtual(seed, WALL);
		struct rand  r;

		rand_seeded(&r, seed);
		last_fired = 0;
		CHECK(loop_now(l) == 0);
		for (int i = 0; i < N; i++) {
			timer_init(&alarms[i].timer, l, alarm_rings, &alarms[i]);
			alarms[i].fired = false;
		}
		for (int i = 0; i < 4 * N; i++) {
			struct alarm *a = &alarms[rand_below(&r, N)];

			a->due = (int64_t)rand_below(&r, 100) * 86400000;
			timer_set(&a->timer, a->due);
			if (rand_below(&r, 3) == 0)
				timer_stop(&a->timer);
		}
		for (int i = 0; i < N; i++)
			alarms[i].fired = !timer_pending(&alarms[i].timer);
		run_dry(l);
		for (int i = 0; i < N; i++)
			CHECK(alarms[i].fired);
		loop_free(l);
	}
}

static void
the_sooner_of_two_wishes_wins(void)
{
	static const struct {
		int64_t first, second, due; /* first -1: not set */
	} cases[] = { { 1000, 2000, 1000 }, { 2000, 1000, 1000 }, { 1000, 1000, 1000 }, { -1, 1500, 1500 }, { 1000, -5, 0 } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct loop *l = loop_new_virtual(1, WALL);
		struct alarm a = { .due = cases[i].due };

		last_fired = 0;
		timer_init(&a.timer, l, alarm_rings, &a);
		if (cases[i].first >= 0)
			timer_set(&a.timer, cases[i].first);
		timer_sooner(&a.timer, cases[i].second);
		run_dry(l);
		CHECK(a.fired);
		loop_free(l);
	}
}

static int             chain_left;
static struct deferred chain;

static void
chain_on(void *arg)
{
	struct loop *l = arg;

	CHECK(loop_now(l) == 0);
	if (--chain_left > 0)
		loop_defer(l, &chain, chain_on, l);
}

static void
time_waits_for_deferred_calls(void)
{
	struct loop *l = loop_new_virtual(3, WALL);
	struct timer t;

	trace[0] = '\0';
	chain_left = 1000;
	timer_init(&t, l, note, S("t"));
	timer_set(&t, 1);
	loop_defer(l, &chain, chain_on, l);
	run_dry(l);
	CHECK(chain_left == 0 && loop_now(l) == 1);
	CHECK_STR(trace, "t");
	loop_free(l);
}

static void
the_wall_clock_can_be_wrong(void)
{
	struct loop *l = loop_new_virtual(1, WALL);
	struct timer t;

	trace[0] = '\0';
	timer_init(&t, l, note, S("t"));
	timer_set(&t, 60000);
	loop_wall_shift(l, -3600000);
	CHECK(loop_wall(l) == WALL - 3600000 && loop_now(l) == 0);
	run_dry(l);
	CHECK(loop_wall(l) == WALL - 3540000 && loop_now(l) == 60000);
	CHECK(loop_clock(l)->wall_ms(loop_clock(l)) == WALL - 3540000);
	loop_free(l);
}

static bool
now_is_late(void *arg)
{
	return loop_now(arg) >= 5000;
}

static void
run_until_does_not_pass_its_limit(void)
{
	struct loop *l = loop_new_virtual(1, WALL);
	struct timer t;

	trace[0] = '\0';
	CHECK(!loop_run_until(l, never, NULL, 1000)); /* nothing is pending: no time passes */
	CHECK(loop_now(l) == 0);
	timer_init(&t, l, note, S("t"));
	timer_set(&t, 5000);
	CHECK(!loop_run_until(l, never, NULL, 1000));
	CHECK(loop_now(l) == 1000);
	CHECK(loop_run_until(l, now_is_late, l, 60000));
	CHECK(loop_now(l) == 5000);
	run_dry(l);
	CHECK_STR(trace, "t");
	loop_free(l);
}

static void
run_ends_when_nothing_is_left(void)
{
	struct loop      *l = loop_new_virtual(1, WALL);
	struct loop_delay delay;
	struct timer      t;

	trace[0] = '\0';
	timer_init(&t, l, note, S("t"));
	timer_set(&t, 5);
	loop_run(l);
	CHECK_STR(trace, "t");
	loop_delay(l, &delay);
	CHECK(delay.turns == 1 && delay.slow == 0);
	loop_free(l);
}

/* A callback that takes long, which no other test of the virtual loop could have. */
static void
takes(struct loop *l, int64_t ms)
{
	loop_enter(l);
	l->mono_ms += ms;
	loop_leave(l);
}

static int
last_max_ms(struct loop *l)
{
	struct loop_delay d;

	loop_delay(l, &d);
	return (int)(d.last_max_s * 1000 + 0.5);
}

static void
delays_are_of_this_minute_and_the_last(void)
{
	struct loop      *l = loop_new_virtual(1, WALL);
	struct loop_delay d;

	takes(l, 6);
	takes(l, 9);
	takes(l, 5);
	CHECK_U64(last_max_ms(l), 9);
	loop_delay(l, &d);
	CHECK(d.turns == 3 && d.slow == 2); /* 5 ms are allowed */
	l->mono_ms = 60000;
	CHECK_U64(last_max_ms(l), 9);
	takes(l, 2);
	CHECK_U64(last_max_ms(l), 9);
	l->mono_ms = 120000;
	CHECK_U64(last_max_ms(l), 2);
	takes(l, 1);
	CHECK_U64(last_max_ms(l), 2);
	l->mono_ms = 240000;
	CHECK_U64(last_max_ms(l), 0);
	takes(l, 1);
	CHECK_U64(last_max_ms(l), 1);
	loop_delay(l, &d);
	CHECK(d.max_s > 0.0089 && d.max_s < 0.0091); /* of all time */
	loop_free(l);
}

static void
randomness_is_seeded(void)
{
	struct loop *a = loop_new_virtual(7, WALL), *b = loop_new_virtual(7, WALL), *c = loop_new_virtual(8, WALL);
	uint64_t     x = rand_u64(loop_rand(a));

	CHECK(loop_is_virtual(a));
	CHECK(x == rand_u64(loop_rand(b)));
	CHECK(x != rand_u64(loop_rand(c)));
	loop_free(a), loop_free(b), loop_free(c);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "simultaneous_work_comes_in_every_order", simultaneous_work_comes_in_every_order },
	    { "posts_keep_their_order", posts_keep_their_order },
	    { "time_jumps_to_the_next_timer", time_jumps_to_the_next_timer },
	    { "the_sooner_of_two_wishes_wins", the_sooner_of_two_wishes_wins },
	    { "time_waits_for_deferred_calls", time_waits_for_deferred_calls },
	    { "the_wall_clock_can_be_wrong", the_wall_clock_can_be_wrong },
	    { "run_until_does_not_pass_its_limit", run_until_does_not_pass_its_limit },
	    { "run_ends_when_nothing_is_left", run_ends_when_nothing_is_left },
	    { "delays_are_of_this_minute_and_the_last", delays_are_of_this_minute_and_the_last },
	    { "randomness_is_seeded", randomness_is_seeded },
	    { NULL, NULL },
	});
}
