/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <time.h>

#include "http_server_rig.h"

/* Answers, at once and later, and peers that do not wait for them. */

/* --- answers --- */

static int64_t
cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Processor time of the longest turn: what else runs on the machine does not count. */
static void
big_answers_stream_and_nothing_blocks(void)
{
	test_not_under_valgrind("how fast a peer reads");
	for (int in_file = 0; in_file < 2; in_file++) {
		struct peer *p;
		int64_t      worst = 0;
		size_t       at;

		served_start(true);
		served_make_big(in_file);
		p = peer_new();
		peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
		CHECK(buf_reserve(&p->got, SERVED_BIG + 10000, &served.e) == ERR_OK);
		while (!p->eof) {
			int64_t t0 = cpu_us();

			CHECK(loop_turn(served.loop, true));
			worst = cpu_us() - t0 > worst ? cpu_us() - t0 : worst;
		}
		CHECK_STATUS(buf_str(&p->got), 200);
		CHECK(strstr(buf_str(&p->got), "\r\nContent-Length: 8388608\r\n") != NULL);
		at = (size_t)(strstr(buf_str(&p->got), "\r\n\r\n") - buf_str(&p->got)) + 4;
		CHECK_U64(p->got.len - at, SERVED_BIG);
		for (size_t i = 0; i < SERVED_BIG / 4; i++) {
			uint32_t v;

			memcpy(&v, p->got.data + at + 4 * i, 4);
			if (v != i)
				test_fail(__FILE__, __LINE__, "byte %zu", 4 * i);
		}
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		if (worst >= LOOP_TURN_MAX_MS * 1000)
			test_fail(__FILE__, __LINE__, "a turn took %lld us", (long long)worst);
#endif
		served_stop();
	}
}

static void
a_body_that_cannot_be_read_cuts_the_answer(void)
{
	struct peer *p;
	int          fd = open("/dev/null", O_RDONLY);

	served_start(true);
	served.big = body_from_fd(fd, 100000); /* ends at once */
	p = peer_new();
	peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK(loop_run_until(served.loop, peer_is_done, p, 5000));
	CHECK(p->got.len < 100000);
	CHECK_U64(served.gones, 1);
	served_stop();
}

static void
a_late_answer_arrives(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		served_start(over_tcp);
		p = peer_new();
		peer_send(p, "LOCK /late HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
		served_until(&served.late_count, 1);
		served_wait_ms(600); /* longer than any deadline: this time is the handler's */
		CHECK_U64(served.gones, 0);
		CHECK_U64(served.handles, 1);
		served_answer(served.late[0], 423, "held\n");
		CHECK_STATUS(peer_answer(p), 423);
		served_until(&served.gones, 1);
		CHECK_U64(served.handles, 1);
		served_stop();
	}
}

static void
several_late_answers_in_any_order(void)
{
	struct peer *p[4];

	served_start(false);
	for (int i = 0; i < 4; i++) {
		p[i] = peer_new();
		peer_send(p[i], "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		served_until(&served.late_count, (unsigned)i + 1);
	}
	served_answer(served.late[2], 202, "");
	served_answer(served.late[0], 200, "");
	served_answer(served.late[3], 203, "");
	served_answer(served.late[1], 201, "");
	for (int i = 0; i < 4; i++)
		CHECK_STATUS(peer_answer(p[i]), 200 + i);
	served_stop();
}

/* --- peers that leave --- */

static void
one_that_leaves_while_we_work_is_gone_once(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		served_start(over_tcp);
		p = peer_new();
		peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		served_until(&served.late_count, 1);
		peer_close(p);
		served_until(&served.gones, 1);
		served_wait_ms(50);
		CHECK_U64(served.gones, 1);
		CHECK_U64(served.late_count, 0);
		served_stop();
	}
}

/* The handler answers in the moment between our seeing it and gone(). */
static void
an_answer_to_one_that_left_is_dropped(void)
{
	struct http_call *c;
	struct peer      *p;

	served_start(false);
	p = peer_new();
	peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	served_until(&served.late_count, 1);
	c = served.late[0];
	peer_close(p);
	http_call_cut(c); /* as our look at the socket does */
	CHECK_U64(served.gones, 0);
	served_answer(c, 200, "too late");
	served_until(&served.gones, 1);
	served_wait_ms(20);
	CHECK_U64(served.gones, 1);
	served_stop();
}

static void
an_answer_before_we_see_it_is_harmless(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		served_start(over_tcp);
		p = peer_new();
		peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
		served_until(&served.late_count, 1);
		peer_close(p);
		served_answer(served.late[0], 200, "nobody hears it");
		served_until(&served.gones, 1);
		served_wait_ms(50);
		CHECK_U64(served.gones, 1);
		served_stop();
	}
}

static void
half_closed_is_not_gone_on_a_unix_socket(void)
{
	struct peer *p;

	served_start(false);
	p = peer_new();
	peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK(shutdown(p->fd, SHUT_WR) == 0);
	served_until(&served.late_count, 1);
	served_wait_ms(50);
	CHECK_U64(served.gones, 0);
	served_answer(served.late[0], 200, "heard\n");
	CHECK_STATUS(peer_answer(p), 200);
	served_stop();
}

/* TCP cannot tell it from leaving; an answer that is there at once still arrives. */
static void
half_closed_is_gone_over_tcp(void)
{
	struct peer *p;

	served_start(true);
	p = peer_new();
	peer_send(p, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK(shutdown(p->fd, SHUT_WR) == 0);
	served_until(&served.gones, 1);
	CHECK(loop_run_until(served.loop, peer_is_done, p, 5000));
	p = peer_new();
	peer_send(p, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK(shutdown(p->fd, SHUT_WR) == 0);
	CHECK_STATUS(peer_answer(p), 200);
	served_stop();
}

static void
one_that_leaves_in_a_body_is_gone_once(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		served_start(over_tcp);
		p = peer_new();
		peer_send(p, "PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
		served_until(&served.accepts, 1);
		peer_close(p);
		served_until(&served.gones, 1);
		CHECK_U64(served.handles, 0);
		served_stop();
	}
}

static void
one_that_leaves_in_an_answer_is_gone_once(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct peer *p;

		served_start(over_tcp);
		served_make_big(false);
		p = peer_new();
		fd_watch_set(p->watch, 0);
		peer_send(p, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
		served_until(&served.handles, 1);
		served_wait_ms(20);
		peer_close(p);
		served_until(&served.gones, 1);
		served_stop();
	}
}

static void
one_that_leaves_early_costs_nothing(void)
{
	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		struct http_limits l = served_limits();

		l.head_ms = 60000;
		served_start_with(over_tcp, &l);
		peer_close(peer_new());
		peer_send(peer_new(), "GET /now HT");
		peer_send(peer_new(), "GET /now HTTP/1.1\r\nHost: x\r\n\r\n"); /* does not wait for its answer */
		served_wait_ms(20);
		peer_close(&peers[1]);
		peer_close(&peers[2]);
		CHECK(loop_run_until(served.loop, served_is_empty, NULL, 5000));
		CHECK_U64(served.accepts, 1);
		served_stop();
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "big answers stream and nothing blocks", big_answers_stream_and_nothing_blocks },
	    { "a body that cannot be read cuts the answer", a_body_that_cannot_be_read_cuts_the_answer },
	    { "a late answer arrives", a_late_answer_arrives },
	    { "several late answers in any order", several_late_answers_in_any_order },
	    { "one that leaves while we work is gone once", one_that_leaves_while_we_work_is_gone_once },
	    { "an answer to one that left is dropped", an_answer_to_one_that_left_is_dropped },
	    { "an answer before we see it is harmless", an_answer_before_we_see_it_is_harmless },
	    { "half closed is not gone on a Unix socket", half_closed_is_not_gone_on_a_unix_socket },
	    { "half closed is gone over TCP", half_closed_is_gone_over_tcp },
	    { "one that leaves in a body is gone once", one_that_leaves_in_a_body_is_gone_once },
	    { "one that leaves in an answer is gone once", one_that_leaves_in_an_answer_is_gone_once },
	    { "one that leaves early costs nothing", one_that_leaves_early_costs_nothing },
	    { NULL, NULL } });
}
