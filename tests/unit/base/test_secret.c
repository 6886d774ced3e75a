/* SPDX-License-Identifier: MIT */
#include "base/secret.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rand.h"
#include "../../lib/test.h"

static void
keeps_text(void)
{
	struct secret *s = secret_new(SPAN_LIT("pa55word")), *nothing = secret_new(span_of(NULL, 0)),
	    *binary = secret_new(SPAN_LIT("a\0b"));

	CHECK_STR(secret_str(s), "pa55word");
	CHECK_U64(secret_len(s), 8);
	CHECK_STR(secret_str(nothing), "");
	CHECK_U64(secret_len(nothing), 0);
	CHECK(secret_len(binary) == 3 && memcmp(secret_str(binary), "a\0b", 4) == 0);
	CHECK(secret_str(NULL) == NULL && secret_len(NULL) == 0);
	secret_free(s), secret_free(nothing), secret_free(binary);
	secret_free(NULL);
}

/* The line VmFlags of the mapping that holds p; "" where the kernel does not tell. */
static const char *
vm_flags(const void *p)
{
	static char   line[512];
	unsigned long from, to;
	bool          here = false;
	FILE         *f = fopen("/proc/self/smaps", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (uintptr_t)p >= from && (uintptr_t)p < to;
		if (here && strncmp(line, "VmFlags:", 8) == 0) {
			fclose(f);
			return line;
		}
	}
	if (f != NULL)
		fclose(f);
	return "";
}

static void
pages_are_guarded(void)
{
	struct secret *s = secret_new(SPAN_LIT("guarded"));
	const char    *flags = vm_flags(secret_str(s));

	if (*flags == '\0') {
		secret_free(s);
		test_skip("this kernel shows no VmFlags");
	}
	CHECK(strstr(flags, " dd") != NULL); /* not in core files */
	CHECK(strstr(flags, " wf") != NULL); /* wiped on fork */
	secret_free(s);
}

/* Address and thread sanitizer replace mlock() by nothing that says yes. */
static void
locked_where_it_says_so(void)
{
	struct secret *s = secret_new(SPAN_LIT("locked"));
	const char    *flags = vm_flags(secret_str(s));
	bool           locked = strstr(flags, " lo") != NULL;

	secret_free(s);
	if (*flags == '\0' || TEST_SANITIZED)
		test_skip("mlock() cannot be seen here");
	CHECK(locked == secret_all_locked());
}

static void
child_sees_nothing(void)
{
	struct secret *s = secret_new(SPAN_LIT("for the parent only"));
	int            status;
	pid_t          pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		bool wiped = secret_str(s)[0] == '\0' && memcmp(secret_str(s), "\0\0\0\0\0\0\0\0", 8) == 0;

		secret_free(s);
		_exit(wiped ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	CHECK_U64(WEXITSTATUS(status), 0);
	CHECK_STR(secret_str(s), "for the parent only");
	secret_free(s);
}

static void
freed_is_wiped(void)
{
	struct secret       *stays = secret_new(SPAN_LIT("stays")),
	    *goes = secret_new(SPAN_LIT("this text goes, also its second half"));
	const volatile char *was = secret_str(goes);
	size_t               n = secret_len(goes);

	secret_free(goes);
	for (size_t i = 0; i < n; i++) /* the region is still mapped */
		CHECK(was[i] == '\0');
	CHECK_STR(secret_str(stays), "stays");
	secret_free(stays);
}

/* Hundreds of credentials fit into what a low RLIMIT_MEMLOCK allows. */
static void
small_ones_share_pages(void)
{
	struct secret *s[500];
	const char    *low = NULL, *high = NULL;

	for (size_t i = 0; i < ARRAY_LEN(s); i++) {
		s[i] = secret_new(SPAN_LIT("AKIAIOSFODNN7EXAMPLE"));
		low = low == NULL || secret_str(s[i]) < low ? secret_str(s[i]) : low;
		high = high == NULL || secret_str(s[i]) > high ? secret_str(s[i]) : high;
	}
	CHECK(high - low < 32768);
	for (size_t i = 0; i < ARRAY_LEN(s); i++)
		secret_free(s[i]);
}

static void
property_texts_stay_apart(void)
{
	enum { N = 400 };
	struct secret *s[N] = { NULL };
	char          *want[N] = { NULL };
	struct rand    r;

	rand_seeded(&r, 19);
	for (int i = 0; i < 20000; i++) {
		size_t k = (size_t)rand_below(&r, N), n = (size_t)rand_below(&r, rand_below(&r, 50) == 0 ? 50000 : 100);

		if (s[k] != NULL) {
			CHECK_STR(secret_str(s[k]), want[k]);
			CHECK_U64(secret_len(s[k]), strlen(want[k]));
			secret_free(s[k]);
			free(want[k]);
			s[k] = NULL;
			continue;
		}
		want[k] = xmalloc(n + 1);
		memset(want[k], 'a' + (int)(k % 26), n);
		want[k][n] = '\0';
		s[k] = secret_new(span_str(want[k]));
	}
	for (size_t k = 0; k < N; k++)
		if (s[k] != NULL) {
			CHECK_STR(secret_str(s[k]), want[k]);
			secret_free(s[k]);
			free(want[k]);
		}
}

/* A low limit costs the lock, not the secret, and it shows. Root may always lock, so the child
 * becomes somebody else. */
static void
limit_is_survived(void)
{
	static char   big[100000];
	struct rlimit none = { 0, 0 };
	int           status;
	pid_t         pid;

	if (TEST_SANITIZED)
		test_skip("mlock() never fails under a sanitizer");
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		memset(big, 'x', sizeof(big) - 1);
		if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && setuid(65534) != 0))
			_exit(77);
		struct secret *s = secret_new(span_str(big));

		_exit(strcmp(secret_str(s), big) == 0 && !secret_all_locked() ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		test_skip("cannot give up the right to lock memory");
	CHECK_U64(WEXITSTATUS(status), 0);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "keeps text", keeps_text },
		{ "pages are guarded", pages_are_guarded },
		{ "locked where it says so", locked_where_it_says_so },
		{ "a child sees nothing", child_sees_nothing },
		{ "freed is wiped", freed_is_wiped },
		{ "small ones share pages", small_ones_share_pages },
		{ "property: texts stay apart", property_texts_stay_apart },
		{ "a limit is survived", limit_is_survived },
		{ NULL, NULL },
	    });
}
