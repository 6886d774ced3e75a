/* SPDX-License-Identifier: MIT */
/* Preloaded: fail_nth.c, and allocations by the kind alloc. Not beside an address sanitizer, which has these itself. */
#include "fail_nth.c"

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t n);
extern void *__libc_realloc(void *p, size_t n);

void *
malloc(size_t n)
{
	return fails("alloc", ENOMEM) ? NULL : __libc_malloc(n);
}

void *
calloc(size_t count, size_t n)
{
	return fails("alloc", ENOMEM) ? NULL : __libc_calloc(count, n);
}

void *
realloc(void *p, size_t n)
{
	return fails("alloc", ENOMEM) ? NULL : __libc_realloc(p, n);
}
