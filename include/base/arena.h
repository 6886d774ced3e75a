/* SPDX-License-Identifier: MIT */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/buf.h"

/* Many small things that die together. */
struct arena;

struct arena *arena_new(void);
void          arena_free(struct arena *a);
void         *arena_alloc(struct arena *a, size_t n);            /* zeroed, aligned for anything */
char         *arena_strdup(struct arena *a, const char *s);      /* NULL gives NULL */
char         *arena_span(struct arena *a, struct span s);        /* NUL-terminated copy */
char         *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t        arena_bytes(const struct arena *a);

#endif
