/* SPDX-License-Identifier: MIT */
#include "loop/body.h"
#include "loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#include "../../lib/test.h"

/* An unlinked file with those bytes, as a spool has. */
static int
file_of(struct span bytes)
{
	char path[300];
	int  fd;

	snprintf(path, sizeof(path), "%s/body.XXXXXX", test_tmpdir());
	fd = mkstemp(path);
	CHECK(fd >= 0 && unlink(path) == 0);
	CHECK(write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
	return fd;
}

static void
takes_the_bytes_of_a_buf(void)
{
	struct buf     b;
	struct body   *body;
	const uint8_t *data;

	buf_init(&b, 100);
	buf_puts(&b, "{\"version\": 4}");
	data = b.data;
	body = body_new(&b);
	CHECK(b.data == NULL && b.len == 0 && b.max == 100); /* empty, and of use again */
	CHECK(body_in_memory(body) && body_size(body) == 14);
	CHECK(body_span(body).p == data); /* no copy */
	CHECK(span_is(body_span(body), "{\"version\": 4}"));
	body_unref(body);
	buf_free(&b);
}

static void
an_empty_body_is_one(void)
{
	struct buf   b;
	struct body *bodies[3];
	struct err   e;
	char         c;

	buf_init(&b, 0);
	bodies[0] = body_new(&b);
	bodies[1] = body_copy(SPAN_LIT(""));
	bodies[2] = body_from_fd(file_of(SPAN_LIT("")), 0);
	for (int i = 0; i < 3; i++) {
		size_t n = 9;

		CHECK_U64(body_size(bodies[i]), 0);
		CHECK_OK(body_read(bodies[i], 0, &c, 1, &n, &e), e);
		CHECK_U64(n, 0);
		body_unref(bodies[i]);
	}
	body_unref(NULL);
}

static void
reads_alike_from_memory_and_file(void)
{
	struct span  text = SPAN_LIT("0123456789");
	struct body *bodies[2] = { body_copy(text), body_from_fd(file_of(text), text.n) };
	struct err   e;

	CHECK(body_in_memory(bodies[0]) && !body_in_memory(bodies[1]));
	for (uint64_t off = 0; off < 13; off++) {
		for (size_t want = 0; want < 13; want++) {
			for (int i = 0; i < 2; i++) {
				size_t left = off < text.n ? text.n - (size_t)off : 0, n = 99;
				char   got[16] = "";

				CHECK_OK(body_read(bodies[i], off, got, want, &n, &e), e);
				CHECK_U64(n, want < left ? want : left);
				CHECK(n == 0 || memcmp(got, text.p + off, n) == 0);
				CHECK(got[n] == '\0');
			}
		}
	}
	CHECK_OK(body_read(bodies[1], UINT64_MAX, NULL, 5, &(size_t){ 0 }, &e), e);
	body_unref(bodies[0]);
	body_unref(bodies[1]);
}

static void
a_file_that_lost_bytes_is_an_error(void)
{
	int          fd = file_of(SPAN_LIT("0123456789"));
	struct body *b = body_from_fd(fd, 12);
	struct err   e;
	char         got[16];
	size_t       n = 99;

	CHECK(body_read(b, 4, got, sizeof(got), &n, &e) == ERR_IO);
	CHECK_STR(e.msg, "a spooled body ends at 10 of 12 bytes");
	CHECK_U64(n, 99);
	CHECK_OK(body_read(b, 4, got, 6, &n, &e), e);
	CHECK_U64(n, 6);
	body_unref(b);
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fd >= 0);
	b = body_from_fd(fd, 12);
	CHECK(body_read(b, 0, got, 1, &n, &e) == ERR_IO && e.detail == EISDIR);
	body_unref(b);
}

static void
the_last_reference_closes_the_file(void)
{
	int          fd = file_of(SPAN_LIT("x"));
	struct body *b = body_from_fd(fd, 1);

	CHECK(body_ref(b) == b);
	body_unref(b);
	CHECK(fcntl(fd, F_GETFD) >= 0);
	body_unref(b);
	CHECK(fcntl(fd, F_GETFD) < 0 && errno == EBADF);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void
pass_gate(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
}

/* While the pool has no time, a large body stays; a small one goes at once. */
static void
a_large_one_is_let_go_of_on_the_pool(void)
{
	struct err   e;
	struct loop *loop = loop_new(&e);
	struct work *work = work_new(loop);
	int          large = file_of(SPAN_LIT("x")), small = file_of(SPAN_LIT("x"));
	struct body *bodies[2] = { body_from_fd(large, BODY_SPOOL_ABOVE + 1), body_from_fd(small, 1) };

	pthread_mutex_lock(&gate);
	for (int i = 0; i < WORK_THREADS; i++)
		work_later(work, pass_gate, NULL);
	for (int i = 0; i < 2; i++) {
		body_free_on(bodies[i], work);
		body_unref(bodies[i]);
	}
	CHECK(fcntl(large, F_GETFD) >= 0 && fcntl(small, F_GETFD) < 0);
	pthread_mutex_unlock(&gate);
	work_free(work);
	CHECK(fcntl(large, F_GETFD) < 0);
	loop_free(loop);
}

#define READERS 4

static void *
reader(void *arg)
{
	struct body *b = arg;
	char         got[64];
	size_t       n;

	for (int i = 0; i < 2000; i++) {
		struct body *mine = body_ref(b);

		if (body_read(mine, 0, got, sizeof(got), &n, NULL) != ERR_OK || n != 10 || memcmp(got, "0123456789", 10) != 0)
			return arg;
		body_unref(mine);
	}
	body_unref(b);
	return NULL;
}

static void
threads_may_hold_references(void)
{
	struct body *b = body_copy(SPAN_LIT("0123456789"));
	pthread_t    t[READERS];

	for (int i = 0; i < READERS; i++)
		CHECK(pthread_create(&t[i], NULL, reader, body_ref(b)) == 0);
	body_unref(b); /* whoever is last frees it */
	for (int i = 0; i < READERS; i++) {
		void *failed;

		pthread_join(t[i], &failed);
		CHECK(failed == NULL);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "takes_the_bytes_of_a_buf", takes_the_bytes_of_a_buf },
	    { "an_empty_body_is_one", an_empty_body_is_one },
	    { "reads_alike_from_memory_and_file", reads_alike_from_memory_and_file },
	    { "a_file_that_lost_bytes_is_an_error", a_file_that_lost_bytes_is_an_error },
	    { "the_last_reference_closes_the_file", the_last_reference_closes_the_file },
	    { "a_large_one_is_let_go_of_on_the_pool", a_large_one_is_let_go_of_on_the_pool },
	    { "threads_may_hold_references", threads_may_hold_references },
	    { NULL, NULL },
	});
}
