/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_TEST_H
#define TESTS_LIB_TEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * Unit tests: a table of named functions, TAP on stdout. A failed check ends
 * its test, not the program, and prints where and what.
 *
 *	static void adds(void) { CHECK_U64(1 + 1, 2); }
 *	int main(int argc, char **argv) { return test_main(argc, argv, (struct test[]){ { "adds", adds }, { NULL, NULL } }); }
 *
 * An argument runs only the tests whose name contains it.
 */
struct test {
	const char *name;
	void      (*fn)(void);
};

/* After crypto_init(). */
int  test_main(int argc, char **argv, const struct test *tests);
void test_fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4), noreturn));
/* Ends the test as skipped, with the reason: never silently. */
void test_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Skips where memcheck would see to the answer instead of us (TEST_VALGRIND is set): measures of time, of threads that run at once,
 * of the limit of descriptors, programs that start themselves. */
void test_not_under_valgrind(const char *what);
/* A fresh folder below $TMPDIR, removed when the program ends. Lives until then. */
const char *test_tmpdir(void);
/* Where a file or folder below tests/ is; valid until the next call. */
const char *test_path(const char *path_below_tests);
/* Does fn end the process? Tried in a child, whose output is thrown away. */
bool test_dies(void (*fn)(void));
/* A file below tests/, wherever the program is started from; the bytes are freed at the end of the program. */
const char *test_read(const char *path_below_tests, size_t *ret_n);

/* Is this a build with a sanitizer that replaces functions of the C library? */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED true
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED false
#endif

#define CHECK(cond) \
	do { \
		if (!(cond)) \
			test_fail(__FILE__, __LINE__, "%s", #cond); \
	} while (0)
#define CHECK_U64(a, b) \
	do { \
		uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b); \
		if (a_ != b_) \
			test_fail(__FILE__, __LINE__, "%s is %llu, not %llu", #a, (unsigned long long)a_, (unsigned long long)b_); \
	} while (0)
#define CHECK_STR(a, b) \
	do { \
		const char *a_ = (a), *b_ = (b); \
		if (a_ == NULL || b_ == NULL ? a_ != b_ : strcmp(a_, b_) != 0) \
			test_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #a, a_ ? a_ : "(null)", b_ ? b_ : "(null)"); \
	} while (0)
/* An enum err_code that should be ERR_OK; e is a struct err. */
#define CHECK_OK(call, e) \
	do { \
		if ((call) != 0) \
			test_fail(__FILE__, __LINE__, "%s: %s", #call, (e).msg); \
	} while (0)

#endif
