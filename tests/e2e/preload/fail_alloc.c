/* SPDX-License-Identifier: MIT */
/*
 * Preloaded: fail_nth.c, and allocations by the kind alloc; with FAIL_LIBRARY only those that a library asks for whose path holds that.
 * Not beside an address sanitizer, which has these itself.
 */
#include "fail_nth.c"

#include <dlfcn.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t n);
extern void *__libc_realloc(void *p, size_t n);

static const char *library;

static __attribute__((constructor)) void
begin_alloc(void)
{
	library = getenv("FAIL_LIBRARY");
}

static int
fails_for(const void *caller)
{
	Dl_info i;

	if (library != NULL && (dladdr(caller, &i) == 0 || strstr(i.dli_fname, library) == NULL))
		return 0;
	return fails("alloc", ENOMEM);
}

void *
malloc(size_t n)
{
	return fails_for(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
}

void *
calloc(size_t count, size_t n)
{
	return fails_for(__builtin_return_address(0)) ? NULL : __libc_calloc(count, n);
}

void *
realloc(void *p, size_t n)
{
	return fails_for(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}
