/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_SPOOL_H
#define NET_HTTP_SPOOL_H

#include <stdbool.h>

#include "loop/body.h"
#include "loop/work.h"

/*
 * A body on its way to an unlinked file: bytes are taken on the loop and written on the work
 * pool, one job at a time, at most two pieces of HTTP_SPOOL_PIECE in memory.
 */
#define HTTP_SPOOL_PIECE ((size_t)512 << 10)

struct http_spool;

/* moved(arg), from the loop: a job has ended, so there is room again, or all is written, or it failed. */
struct http_spool *http_spool_new(struct work *w, const char *dir, void (*moved)(void *arg), void *arg);
/* Not while a job runs. */
void               http_spool_free(struct http_spool *s);
/* false: no room, nothing was taken; moved() comes. n at most HTTP_SPOOL_PIECE. */
bool               http_spool_add(struct http_spool *s, const void *p, size_t n);
/* More than fits at once: what lay in memory until now. The first call only. */
void               http_spool_begin(struct http_spool *s, struct buf *owned);
/* No more comes: writes the rest. */
void               http_spool_end(struct http_spool *s);
/* Drops what is not written, e.g. because the transfer ended. */
void               http_spool_cancel(struct http_spool *s);
bool               http_spool_busy(const struct http_spool *s); /* a job runs */
enum err_code      http_spool_error(const struct http_spool *s, struct err *reterr);
/* The whole, once it is no longer busy and without error. */
struct body       *http_spool_take(struct http_spool *s);

#endif
