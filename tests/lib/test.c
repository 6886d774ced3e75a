/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"

#ifndef TESTS_DIR
#define TESTS_DIR "tests"
#endif

/* Everything that test_read() gave out, kept until the end. */
struct file {
	struct file *next;
	char         data[];
};

static jmp_buf      at_fail;
static char         tmpdir[256];
static struct file *files;

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void
remove_tmpdir(void)
{
	nftw(tmpdir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void
test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("# %s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	longjmp(at_fail, 1);
}

void
test_skip(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	longjmp(at_fail, 2);
}

void
test_not_under_valgrind(const char *what)
{
	if (getenv("TEST_VALGRIND") != NULL)
		test_skip("not under valgrind: %s", what);
}

const char *
test_tmpdir(void)
{
	const char *base = getenv("TMPDIR");

	if (tmpdir[0] != '\0')
		return tmpdir;
	snprintf(tmpdir, sizeof(tmpdir), "%s/stateferry-test.XXXXXX", base != NULL ? base : "/tmp");
	if (mkdtemp(tmpdir) == NULL) {
		perror(tmpdir);
		exit(1);
	}
	atexit(remove_tmpdir);
	return tmpdir;
}

const char *
test_path(const char *path_below_tests)
{
	static char path[1024];

	snprintf(path, sizeof(path), "%s/%s", TESTS_DIR, path_below_tests);
	return path;
}

bool
test_dies(void (*fn)(void))
{
	int   status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (freopen("/dev/null", "w", stderr) == NULL || freopen("/dev/null", "w", stdout) == NULL)
			_exit(0);
		fn();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("fork");
		exit(1);
	}
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

const char *
test_read(const char *path_below_tests, size_t *ret_n)
{
	const char  *path = test_path(path_below_tests);
	struct file *file;
	FILE        *f = fopen(path, "rb");
	long         n;

	if (f == NULL)
		test_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	fseek(f, 0, SEEK_END);
	n = ftell(f);
	rewind(f);
	file = malloc(sizeof(*file) + (size_t)n + 1);
	if (file == NULL || fread(file->data, 1, (size_t)n, f) != (size_t)n)
		test_fail(__FILE__, __LINE__, "%s: cannot read", path);
	fclose(f);
	file->data[n] = '\0';
	file->next = files;
	files = file;
	*ret_n = (size_t)n;
	return file->data;
}

/* On its own, because a variable that changes around setjmp() is undefined after longjmp(). */
static int
test_run(const struct test *t)
{
	switch (setjmp(at_fail)) {
	case 0:
		t->fn();
		return 0;
	case 2:
		return 2;
	default:
		return 1;
	}
}

int
test_main(int argc, char **argv, const struct test *tests)
{
	int        n = 0, failed = 0;
	struct err e;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (crypto_init(&e) != ERR_OK) {
		printf("# %s\n", e.msg);
		return 1;
	}
	for (const struct test *t = tests; t->name != NULL; t++) {
		if (argc > 1 && strstr(t->name, argv[1]) == NULL)
			continue;
		n++;
		switch (test_run(t)) {
		case 0:
			printf("ok %d %s\n", n, t->name);
			break;
		case 2:
			printf("ok %d %s # SKIP\n", n, t->name);
			break;
		default:
			failed++;
			printf("not ok %d %s\n", n, t->name);
			break;
		}
	}
	printf("1..%d\n", n);
	return failed != 0;
}
