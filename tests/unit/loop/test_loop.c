/* SPDX-License-Identifier: MIT */
#include "loop/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "../../lib/test.h"

/* The real loop. */

static struct loop    *loop;
static char            trace[256];
static struct deferred a, b, c;

#define S(s) ((void *)(uintptr_t)(s)) /* a name as an argument */

static void
start(void)
{
	struct err e;

	trace[0] = '\0';
	memset(&a, 0, sizeof(a)), memset(&b, 0, sizeof(b)), memset(&c, 0, sizeof(c));
	loop = loop_new(&e);
	CHECK(loop != NULL);
}

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

static bool
noted(void *arg)
{
	return strlen(trace) >= *(size_t *)arg;
}

static void
until_noted(size_t n)
{
	CHECK(loop_run_until(loop, noted, &n, 5000));
}

static void
spin(int64_t ms)
{
	struct timespec t0, t;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	do
		clock_gettime(CLOCK_MONOTONIC, &t);
	while ((t.tv_sec - t0.tv_sec) * 1000000000LL + t.tv_nsec - t0.tv_nsec < ms * 1000000LL);
}

/* --- deferred calls; a slow machine may need several turns for a batch, so turns are counted nowhere --- */

static void
defers_again(void *arg)
{
	note(arg);
	loop_defer(loop, &a, note, S("+"));
	note(S("|")); /* not from inside loop_defer() */
}

static void
deferred_keep_their_order(void)
{
	start();
	loop_defer(loop, &a, note, S("a"));
	loop_defer(loop, &b, note, S("b"));
	loop_defer(loop, &c, note, S("c"));
	loop_defer(loop, &a, note, S("x")); /* queued already */
	CHECK(deferred_pending(&a));
	CHECK_STR(trace, "");
	until_noted(3);
	CHECK_STR(trace, "abc");
	CHECK(!deferred_pending(&a));
	CHECK(!loop_turn(loop, true)); /* nothing is pending: no wait */
	loop_free(loop);
}

static void
a_call_deferred_by_a_call_waits_for_the_next_turn(void)
{
	start();
	loop_defer(loop, &a, defers_again, S("a"));
	loop_defer(loop, &b, note, S("b"));
	until_noted(4);
	CHECK_STR(trace, "a|b+");
	loop_free(loop);
}

static void
undefers_c(void *arg)
{
	note(arg);
	loop_undefer(loop, &c);
	loop_undefer(loop, &c);
}

static void
undeferred_do_not_run(void)
{
	start();
	loop_defer(loop, &a, note, S("a"));
	loop_undefer(loop, &a);
	CHECK(!loop_turn(loop, false));
	loop_defer(loop, &b, undefers_c, S("b")); /* from within the same batch */
	loop_defer(loop, &c, note, S("c"));
	CHECK(loop_turn(loop, false));
	CHECK(!loop_turn(loop, false));
	CHECK_STR(trace, "b");
	loop_free(loop);
}

static void
slow_note(void *arg)
{
	spin(1);
	note(arg);
}

static void
slow(void *arg)
{
	spin(8);
	note(arg);
}

static void
fd_note(int fd, int ready, void *arg)
{
	char byte;

	CHECK_U64(ready, LOOP_READ);
	CHECK(read(fd, &byte, 1) == 1);
	note(arg);
}

static void
a_long_batch_lets_descriptors_in(void)
{
	struct deferred  calls[20];
	struct fd_watch *w;
	int              p[2];

	start();
	memset(calls, 0, sizeof(calls));
	CHECK(pipe(p) == 0);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		loop_defer(loop, &calls[i], slow_note, S(i % 2 == 0 ? "a" : "b"));
	loop_turn(loop, true); /* ends early: the rest goes back */
	CHECK(strlen(trace) < 10);
	loop_defer(loop, &a, note, S("z"));
	w = fd_watch_new(loop, p[0], LOOP_READ, fd_note, S("F"));
	CHECK(write(p[1], "x", 1) == 1);
	until_noted(22);
	CHECK(strchr(trace, 'F') != NULL && strchr(trace, 'F') < trace + 10);
	CHECK(trace[21] == 'z'); /* and keeps its order */
	memmove(strchr(trace, 'F'), strchr(trace, 'F') + 1, strlen(strchr(trace, 'F')));
	CHECK_STR(trace, "ababababababababababz");
	fd_watch_free(w);
	close(p[0]), close(p[1]);
	loop_free(loop);
}

static void
what_a_long_batch_left_can_be_undeferred(void)
{
	start();
	loop_defer(loop, &a, slow, S("a"));
	loop_defer(loop, &b, note, S("b"));
	loop_defer(loop, &c, note, S("c"));
	loop_turn(loop, false);
	CHECK_STR(trace, "a"); /* too long to go on in the same turn */
	loop_undefer(loop, &b);
	until_noted(2);
	CHECK(!loop_turn(loop, false));
	CHECK_STR(trace, "ac");
	loop_free(loop);
}

/* --- time --- */

static void
timers_run_by_due_then_order_of_setting(void)
{
	struct timer t[5];
	static const char *const names[] = { "a", "b", "c", "d", "e" };

	start();
	for (int i = 0; i < 5; i++)
		timer_init(&t[i], loop, note, S(names[i]));
	timer_set(&t[0], 30);
	timer_set(&t[1], 1);
	timer_set(&t[2], 2);
	timer_set(&t[3], 15);
	timer_set(&t[4], 10);
	timer_set(&t[2], 20); /* moves */
	timer_stop(&t[3]);
	timer_stop(&t[3]);
	CHECK(timer_pending(&t[2]) && !timer_pending(&t[3]));
	until_noted(4);
	CHECK_STR(trace, "beca");
	CHECK(!timer_pending(&t[0]));
	CHECK(!loop_turn(loop, true));
	loop_free(loop);
}

static void
timers_of_one_moment_run_in_order_of_setting(void)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
	struct timer             t[ARRAY_LEN(names)];

	start();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		timer_init(&t[i], loop, note, S(names[i]));
		timer_set(&t[i], 5);
	}
	until_noted(ARRAY_LEN(names));
	CHECK_STR(trace, "abcdefgh");
	loop_free(loop);
}

static int64_t fired_at;

static void
note_time(void *arg)
{
	fired_at = loop_now(arg);
	note(S("t"));
}

static void
a_timer_is_never_early(void)
{
	struct timer t;

	start();
	timer_init(&t, loop, note_time, loop);
	for (int ms = 0; ms < 12; ms += 3) {
		int64_t set_at = loop_now(loop);

		timer_set(&t, ms);
		until_noted(strlen(trace) + 1);
		CHECK(fired_at >= set_at + ms);
		CHECK(fired_at < set_at + ms + 1000);
	}
	loop_free(loop);
}

static struct timer again;

static void
sets_itself(void *arg)
{
	note(arg);
	if (strlen(trace) < 5)
		timer_set(&again, 0);
}

static void
a_timer_for_now_waits_for_the_next_turn(void)
{
	start();
	timer_init(&again, loop, sets_itself, S("t"));
	timer_set(&again, -7); /* as 0 */
	CHECK(loop_turn(loop, true));
	CHECK_STR(trace, "t");
	until_noted(5);
	CHECK(!loop_turn(loop, false));
	loop_free(loop);
}

static int64_t seen[2];

static void
look_at_the_clock(void *arg)
{
	(void)arg;
	seen[0] = loop_now(loop);
	spin(12);
	CHECK(loop_now(loop) == seen[0]);                           /* cached within a turn */
	CHECK(loop_clock(loop)->mono_ms(loop_clock(loop)) > seen[0] + 10);
	timer_init(&again, loop, note_time, loop);
	timer_set(&again, 5);                                       /* from now, not from the cached time */
}

static void
time_is_cached_within_a_turn(void)
{
	int64_t wall;

	start();
	CHECK(!loop_is_virtual(loop));
	wall = loop_wall(loop);
	CHECK(llabs(wall - (int64_t)time(NULL) * 1000) < 5000);
	loop_defer(loop, &a, look_at_the_clock, NULL);
	until_noted(1);
	CHECK(fired_at >= seen[0] + 17);
	loop_free(loop);
}

static void
run_until_gives_up_in_time(void)
{
	int64_t t0;

	start();
	t0 = loop_now(loop);
	CHECK(!loop_run_until(loop, never, NULL, 20));
	CHECK(loop_now(loop) >= t0 + 20 && loop_now(loop) < t0 + 2000);
	loop_free(loop);
}

static void
stops(void *arg)
{
	note(arg);
	loop_stop(loop);
}

static void
run_ends_by_stop(void)
{
	struct timer t;

	start();
	timer_init(&t, loop, stops, S("s"));
	timer_set(&t, 5);
	loop_run(loop);
	CHECK_STR(trace, "s");
	loop_stop(loop);
	loop_run(loop); /* stopped before it ran: at once */
	timer_set(&t, 1);
	loop_run(loop); /* and only once */
	CHECK_STR(trace, "ss");
	loop_free(loop);
}

static void
slow_turns_are_counted(void)
{
	struct loop_delay d;
	struct timer      t;

	start();
	loop_delay(loop, &d);
	CHECK(d.turns == 0 && d.slow == 0 && d.max_s == 0 && d.last_max_s == 0);
	timer_init(&t, loop, note, S("t"));
	timer_set(&t, 0);
	until_noted(1);
	loop_delay(loop, &d);
	CHECK_U64(d.turns, 1);
	loop_defer(loop, &a, slow, S("s"));
	until_noted(2);
	loop_delay(loop, &d);
	CHECK_U64(d.turns, 2);
	CHECK(d.slow >= 1);
	CHECK(d.max_s >= 0.008 && d.last_max_s >= 0.008);
	loop_free(loop);
}

/* --- descriptors, signals, threads --- */

static struct fd_watch *watch;

static void
fd_once(int fd, int ready, void *arg)
{
	(void)fd;
	note(S(ready == LOOP_WRITE ? "w" : "?"));
	note(arg);
	fd_watch_free(watch); /* from its own call */
}

static void
descriptors_are_watched_and_paused(void)
{
	int p[2];

	start();
	CHECK(pipe(p) == 0);
	watch = fd_watch_new(loop, p[0], 0, fd_note, S("r"));
	CHECK(write(p[1], "xy", 2) == 2);
	CHECK(loop_turn(loop, false)); /* a paused watch is something pending, but does not call */
	CHECK_STR(trace, "");
	fd_watch_set(watch, LOOP_READ);
	CHECK(loop_turn(loop, true));
	CHECK_STR(trace, "r");
	fd_watch_set(watch, LOOP_READ);
	fd_watch_set(watch, 0);
	CHECK(!loop_run_until(loop, never, NULL, 5));
	CHECK_STR(trace, "r");
	fd_watch_free(watch);
	watch = fd_watch_new(loop, p[1], LOOP_WRITE, fd_once, S("!"));
	CHECK(loop_turn(loop, true));
	CHECK_STR(trace, "rw!");
	CHECK(!loop_turn(loop, false));
	fd_watch_free(NULL);
	close(p[0]), close(p[1]);
	loop_free(loop);
}

static void
signal_note(int signo, void *arg)
{
	CHECK(signo == SIGUSR1);
	note(arg);
}

static void
signals_come_as_calls(void)
{
	struct signal_watch *w;

	start();
	w = signal_watch_new(loop, SIGUSR1, signal_note, S("u"));
	raise(SIGUSR1);
	CHECK_STR(trace, "");
	until_noted(1);
	CHECK_STR(trace, "u");
	signal_watch_free(w);
	signal_watch_free(NULL);
	loop_free(loop);
}

#define POSTERS 4
#define POSTS   500

struct poster {
	pthread_t   thread;
	struct post posts[POSTS];
	size_t      next;
};

static struct poster posters[POSTERS];
static pthread_t     loop_thread;

static void
posted(void *arg)
{
	struct post   *p = arg;
	struct poster *owner = NULL;

	CHECK(pthread_equal(pthread_self(), loop_thread));
	for (int i = 0; i < POSTERS; i++) {
		if (p >= posters[i].posts && p < posters[i].posts + POSTS)
			owner = &posters[i];
	}
	CHECK(owner != NULL && p == &owner->posts[owner->next]); /* in order of posting */
	owner->next++;
}

static void *
poster_run(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < POSTS; i++)
		loop_post(loop, &p->posts[i], posted, &p->posts[i]);
	return NULL;
}

static bool
all_posted(void *arg)
{
	(void)arg;
	for (int i = 0; i < POSTERS; i++) {
		if (posters[i].next < POSTS)
			return false;
	}
	return true;
}

static void
threads_post_in_order(void)
{
	start();
	memset(posters, 0, sizeof(posters));
	loop_thread = pthread_self();
	for (int i = 0; i < POSTERS; i++)
		CHECK(pthread_create(&posters[i].thread, NULL, poster_run, &posters[i]) == 0);
	CHECK(loop_run_until(loop, all_posted, NULL, 20000));
	for (int i = 0; i < POSTERS; i++)
		pthread_join(posters[i].thread, NULL);
	loop_free(loop);
}

static void *
posts_later(void *arg)
{
	static struct post p;

	usleep(10000);
	loop_post(loop, &p, stops, arg);
	return NULL;
}

static void
a_post_ends_the_wait(void)
{
	pthread_t t;

	start();
	CHECK(pthread_create(&t, NULL, posts_later, S("p")) == 0);
	loop_run(loop); /* nothing of its own is pending */
	CHECK_STR(trace, "p");
	pthread_join(t, NULL);
	loop_free(loop);
}

static struct post slow_posts[6];

static void
long_batches_of_posts_are_cut(void)
{
	size_t n = ARRAY_LEN(slow_posts);

	start();
	for (size_t i = 0; i < n; i++)
		loop_post(loop, &slow_posts[i], slow_note, S("p"));
	CHECK(loop_turn(loop, true));
	CHECK(strlen(trace) < n);
	until_noted(n);
	CHECK(!loop_turn(loop, false));
	loop_free(loop);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "deferred_keep_their_order", deferred_keep_their_order },
	    { "a_call_deferred_by_a_call_waits_for_the_next_turn", a_call_deferred_by_a_call_waits_for_the_next_turn },
	    { "undeferred_do_not_run", undeferred_do_not_run },
	    { "a_long_batch_lets_descriptors_in", a_long_batch_lets_descriptors_in },
	    { "what_a_long_batch_left_can_be_undeferred", what_a_long_batch_left_can_be_undeferred },
	    { "timers_run_by_due_then_order_of_setting", timers_run_by_due_then_order_of_setting },
	    { "timers_of_one_moment_run_in_order_of_setting", timers_of_one_moment_run_in_order_of_setting },
	    { "a_timer_is_never_early", a_timer_is_never_early },
	    { "a_timer_for_now_waits_for_the_next_turn", a_timer_for_now_waits_for_the_next_turn },
	    { "time_is_cached_within_a_turn", time_is_cached_within_a_turn },
	    { "run_until_gives_up_in_time", run_until_gives_up_in_time },
	    { "run_ends_by_stop", run_ends_by_stop },
	    { "slow_turns_are_counted", slow_turns_are_counted },
	    { "descriptors_are_watched_and_paused", descriptors_are_watched_and_paused },
	    { "signals_come_as_calls", signals_come_as_calls },
	    { "threads_post_in_order", threads_post_in_order },
	    { "a_post_ends_the_wait", a_post_ends_the_wait },
	    { "long_batches_of_posts_are_cut", long_batches_of_posts_are_cut },
	    { NULL, NULL },
	});
}
