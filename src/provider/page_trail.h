/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_PAGE_TRAIL_H
#define SRC_PROVIDER_PAGE_TRAIL_H

#include "base/err.h"

/*
 * Whether a listing comes to an end: each page names the next one by a marker, and a broken server, or a proxy that answers from its memory,
 * may name one that was there before. The marker of each page whose number is a power of two is remembered (Brent's way to find a cycle), so
 * that a circle of any length is found before it was gone round three times.
 */
#define PAGE_TRAIL_MAX 100000 /* pages of one listing */

struct page_trail {
	char    *mark;   /* owned */
	unsigned pages;
};

/* marker: of the page that is to come. ERR_CORRUPT: it was there before, or there are too many. what, name: "bucket", "NAME", for the message. */
enum err_code page_trail_go_on(struct page_trail *t, const char *what, const char *name, const char *marker,
    struct err *reterr);
void          page_trail_free(struct page_trail *t); /* contents */

#endif
