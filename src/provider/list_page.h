/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_LIST_PAGE_H
#define SRC_PROVIDER_LIST_PAGE_H

#include "net/xml.h"

/*
 * A listing page by page. A page is parsed as it arrives, by our reader of XML or the driver's own: what it shows is for the driver once it is
 * whole, for one that breaks off begins anew. The driver puts the elements of an entry into cur, and pushes it at its end.
 *
 * Each page names the next one by a marker, and a broken server, or a proxy that answers from its memory, may name one that was there before.
 * The marker of each page whose number is a power of two is remembered (Brent's way to find a cycle), so that a circle of any length is found
 * before it was gone round three times.
 */
#define LIST_PAGES_MAX    100000            /* pages of one listing */
#define LIST_PAGE_MAX      10000             /* entries, whatever the server makes of the number it was asked for */
#define LIST_PAGE_TEXT_MAX ((size_t)16 << 20) /* bytes of all strings */

/* Strings are offsets into the page's text, each with a NUL at its end; 0: there is none. */
struct list_page_entry {
	size_t   name, name_len, etag, md5, version;
	uint64_t size;     /* bytes */
	int64_t  modified; /* wall clock, ms; 0: not told */
	bool     leased, broken; /* broken: the name is cut, or holds a NUL */
	bool     latest, deleted; /* of versions */
};

struct list_page {
	struct list_page_entry cur;     /* whose elements come in */
	bool                  listing; /* the driver's: the root was that of a listing */
	const char           *hint;    /* what to do about an answer that is no listing, static */
	/* --- the page's own --- */
	xml_fn               *fn;
	void                 *arg;
	struct xml_reader    *xml;
	struct buf            text;
	struct list_page_entry *entries;
	size_t                nentries, room, next;
	char                 *mark;    /* a marker that was */
	unsigned              pages;
};

/* fn, called with arg, which outlives the page: the driver's callback; NULL: it is not XML. */
void          list_page_init(struct list_page *p, xml_fn *fn, void *arg, const char *hint);
void          list_page_free(struct list_page *p);
void          list_page_begin(struct list_page *p); /* before each attempt */
/* What is no XML is somebody else's answer: ERR_UNSUPPORTED. */
enum err_code list_page_feed(struct list_page *p, const void *data, size_t n, struct err *reterr);
bool          list_page_end(struct list_page *p); /* was that a whole listing? */
/* For the callback. */
enum err_code list_page_text(struct list_page *p, struct span text, size_t *ret, struct err *reterr);
enum err_code list_page_push(struct list_page *p, struct err *reterr); /* cur, unless it has no name */
/* marker: of the page that is to come. ERR_CORRUPT: it was there before, or there are too many. what, name: "bucket", "NAME", for the message. */
enum err_code list_page_go_on(struct list_page *p, const char *what, const char *name, const char *marker, struct err *reterr);
/* The entries in the order of the answer; NULL: no more. */
const struct list_page_entry *list_page_next(struct list_page *p);
const char   *list_page_str(const struct list_page *p, size_t at); /* until the next list_page_begin() */

#endif
