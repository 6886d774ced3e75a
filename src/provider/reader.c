/* SPDX-License-Identifier: MIT */
#include "reader.h"

#include <stdlib.h>

struct reader {
	struct sha256     *hash;
	struct state_scan *scan;
	uint64_t           size;
};

struct reader *
reader_new(void)
{
	struct reader *r = xcalloc(1, sizeof(*r));

	r->hash = sha256_new();
	r->scan = state_scan_new(NULL, NULL);
	return r;
}

void
reader_free(struct reader *r)
{
	if (r == NULL)
		return;
	sha256_free(r->hash);
	state_scan_free(r->scan);
	free(r);
}

void
reader_feed(struct reader *r, const void *p, size_t n)
{
	sha256_add(r->hash, p, n);
	state_scan_feed(r->scan, p, n);
	r->size += n;
}

uint64_t
reader_size(const struct reader *r)
{
	return r->size;
}

void
reader_end(struct reader *r, struct snapshot *ret)
{
	sha256_peek(r->hash, &ret->digest);
	state_scan_end(r->scan, &ret->info);
	reader_free(r);
}
