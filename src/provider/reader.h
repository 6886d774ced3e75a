/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_READER_H
#define PROVIDER_READER_H

#include "provider/provider.h"

/* Hash and scan of a body while it arrives: every driver reads once, in this pass. */
struct reader;

struct reader *reader_new(void);
void           reader_free(struct reader *r);
void           reader_feed(struct reader *r, const void *p, size_t n);
uint64_t       reader_size(const struct reader *r);
/* Fills digest and info; body, etag and modified are the driver's. Frees r. */
void           reader_end(struct reader *r, struct snapshot *ret);

#endif
