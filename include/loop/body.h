/* SPDX-License-Identifier: MIT */
#ifndef LOOP_BODY_H
#define LOOP_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "loop/work.h"

/*
 * Immutable bytes with a reference count: what a backend held, on its way to
 * the store and to other backends. Up to BODY_SPOOL_ABOVE they lie in memory, above it in an
 * unlinked file, written and read on the work pool or in bounded pieces. The count is atomic: a thread of the pool may read
 * and drop its reference while the loop holds another.
 */
#define BODY_SPOOL_ABOVE ((uint64_t)32 << 20)

struct body;

struct body *body_new(struct buf *owned);                /* takes the bytes, leaves an empty buf */
struct body *body_copy(struct span bytes);
struct body *body_from_fd(int fd_owned, uint64_t size);  /* closes it with the last reference */
struct body *body_ref(struct body *b);
void         body_unref(struct body *b);                 /* NULL: no-op; the last one wipes the memory */
/* Wiping much memory or closing a large unlinked file takes milliseconds: the last body_unref() leaves that to the pool. */
void         body_free_on(struct body *b, struct work *w);
/* An empty file in dir that has no name, for body_from_fd(). Blocks: for jobs of the pool. -1: *reterr. */
int          body_file(const char *dir, struct err *reterr);
enum err_code body_file_add(int fd, uint64_t *size, struct span bytes, struct err *reterr); /* at its end, *size, which grows */
uint64_t     body_size(const struct body *b);
bool         body_in_memory(const struct body *b);
struct span  body_span(const struct body *b);            /* in memory only (assert) */
/* Up to n bytes at off, whichever form; ret_n 0 at the end. From a file it blocks: pieces of at most 64 KB on the loop. */
enum err_code body_read(const struct body *b, uint64_t off, void *p, size_t n, size_t *ret_n, struct err *reterr);

#endif
