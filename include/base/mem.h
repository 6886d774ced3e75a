/* SPDX-License-Identifier: MIT */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))

/*
 * Small allocations never fail: these end the process with a message, and the
 * store and its intents survive that. Sizes that a peer or a file decides are
 * bounded before they come here (see buf.h).
 */
void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t n);           /* overflow of the product ends the process too */
void *xrealloc(void *p, size_t n);
void *xreallocarray(void *p, size_t count, size_t n);
void *xmemdup(const void *p, size_t n);
char *xstrdup(const char *s);                    /* NULL gives NULL */
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* How these end the process, for what a library could not allocate: n bytes, 0 unknown. */
void  mem_exhausted(size_t n) __attribute__((noreturn));

/* Overwrites and is never optimised away. */
void  mem_wipe(void *p, size_t n);
void  mem_forget(void *p);                       /* free() of what may hold a secret, for libraries: overwritten first */
void  mem_free_secret(char *text);               /* overwritten, then freed; NULL: no-op */
/* Time depends on n only. */
int   mem_equal_ct(const void *a, const void *b, size_t n);

#endif
